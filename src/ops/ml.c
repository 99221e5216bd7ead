/* Domain ai.onnx.ml: features made, scaled and chosen, linear models, labels. (Trees are in ml_trees.c.)
 *
 * These come from scikit-learn and its like: small matrices, attributes that hold the model, labels that may be strings. Where
 * the specification says little (two classes with one score), ONNX Runtime's answers hold.
 */
#include "ops/ml.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Shared -------------------------------------------------------------------------------------------------------------- */

whet_status ml_matrix_shape(OpCall *call, Dim *rows, Dim *columns) {
    const Type *x = call->in[0];
    *rows = *columns = DIM_UNKNOWN;
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank != 1 && x->rank != 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; wanted 1 or 2", x->rank);
    *rows = x->rank == 2 ? x->dims[0] : 1;
    *columns = x->dims[x->rank - 1];
    return WHET_OK;
}

MlPost ml_post(const OpCall *call) {
    return (MlPost)op_choice(call, "post_transform");
}

double ml_logistic(double score) {
    double value = 1 / (1 + exp(-fabs(score)));
    return score < 0 ? 1 - value : value;
}

/* Winitzki's approximation of the inverse error function, as ONNX Runtime has it. */
double ml_probit(double score) {
    double x = 2 * score - 1, sign = x < 0 ? -1 : 1, lg = log((1 - x) * (1 + x));
    double v = 2 / (3.14159 * 0.147) + 0.5 * lg;
    return sqrt(2) * sign * sqrt(-v + sqrt(v * v - lg / 0.147));
}

static void softmax(double *scores, int64_t count, bool keep_zero) {
    double top = -INFINITY, total = 0;
    for (int64_t i = 0; i < count; i++)
        top = scores[i] > top ? scores[i] : top;
    for (int64_t i = 0; i < count; i++) {
        bool zero = keep_zero && fabs(scores[i]) <= 1e-7;
        scores[i] = zero ? scores[i] * exp(-top) : exp(scores[i] - top);
        total += zero ? 0 : scores[i];
    }
    for (int64_t i = 0; i < count; i++)
        scores[i] /= total;
}

void ml_transform(MlPost post, double *scores, int64_t count) {
    if (post == ML_SOFTMAX || post == ML_SOFTMAX_ZERO)
        softmax(scores, count, post == ML_SOFTMAX_ZERO);
    for (int64_t i = 0; i < count && (post == ML_LOGISTIC || post == ML_PROBIT); i++)
        scores[i] = post == ML_PROBIT ? ml_probit(scores[i]) : ml_logistic(scores[i]);
}

whet_status ml_labels(OpCall *call, const char *ints, const char *strings, MlLabels *out) {
    int count;
    const Attr *attr = op_attr(call, strings);
    *out = (MlLabels){.ints = op_ints(call, ints, &count)};
    out->count = count;
    if (attr && attr->count) {
        if (count)
            return op_error(call, WHET_ERROR_FORMAT, "%s and %s are both given", ints, strings);
        *out = (MlLabels){.count = (int64_t)attr->count, .strings = attr->strings};
    }
    return out->count ? WHET_OK : op_error(call, WHET_ERROR_FORMAT, "neither %s nor %s is given", ints, strings);
}

void ml_put_label(const MlLabels *labels, int64_t class_index, void *out, int64_t row) {
    if (labels->strings)
        ((Str *)out)[row] = labels->strings[class_index];
    else
        ((int64_t *)out)[row] = labels->ints[class_index];
}

const double *ml_numbers(OpRun *run, const char *name, int64_t *count) {
    char as_tensor[64];
    snprintf(as_tensor, sizeof as_tensor, "%s_as_tensor", name);
    const Attr *list = op_attr(run->call, name), *tensor = op_attr(run->call, as_tensor);
    bool whole = tensor && tensor->tensor && tensor->tensor->data;
    int64_t n = whole ? whet_tensor_count(tensor->tensor) : list ? (int64_t)list->count : 0;
    *count = n > 0 ? n : 0;
    double *out = op_scratch(run, (size_t)(*count + 1) * sizeof *out);
    for (int64_t i = 0; out && i < *count; i++)
        out[i] = whole ? whet_tensor_get(tensor->tensor, i) : (double)list->floats[i];
    return out;
}

static whet_status matrix_like(OpCall *call) {
    Dim rows, columns;
    whet_status status = ml_matrix_shape(call, &rows, &columns);
    return status ? status : op_same_shape(call, 0, 0);
}

/* ---- Scaler, Normalizer, Binarizer, Imputer ------------------------------------------------------------------------------- */

typedef struct Matrix {
    int64_t rows, columns;
    const double *x;
} Matrix;

static whet_status read_matrix(OpRun *run, Matrix *m) {
    whet_status status = ml_matrix_shape(run->call, &m->rows, &m->columns);
    if (status)
        return status;
    m->x = native_f64(run, 0);
    return m->x ? WHET_OK : native_failed(run);
}

/* One number for all columns or one a column. */
static whet_status one_or_columns(OpRun *run, const char *name, int64_t count, int64_t columns) {
    if (count <= 1 || count == columns)
        return WHET_OK;
    return native_error(run, WHET_ERROR_DATA, "%s has %lld elements; wanted 1 or %lld", name, (long long)count,
                        (long long)columns);
}

static double of_column(const double *list, int64_t count, int64_t column, double otherwise) {
    return count == 0 ? otherwise : list[count == 1 ? 0 : column];
}

static whet_status scaler_run(OpRun *run) {
    Matrix m;
    int64_t scales, offsets;
    whet_status status = read_matrix(run, &m);
    if (status)
        return status;
    const double *scale = ml_numbers(run, "scale", &scales), *offset = ml_numbers(run, "offset", &offsets);
    float *y = native_output(run, 0);
    if (!scale || !offset || !y)
        return native_failed(run);
    status = one_or_columns(run, "scale", scales, m.columns);
    if (!status)
        status = one_or_columns(run, "offset", offsets, m.columns);
    for (int64_t i = 0; !status && i < m.rows * m.columns; i++)
        y[i] = (float)((m.x[i] - of_column(offset, offsets, i % m.columns, 0)) * of_column(scale, scales, i % m.columns, 1));
    return status;
}

static whet_status binarizer_build(OpCall *call, Text *out) {
    const char *type = dtype_name(call->in[0]->type);
    text_printf(out, "y[..] = select(f64(x[..]) > f64(threshold), %s(1), %s(0))", type, type);
    return WHET_OK;
}

static double row_norm(const double *row, int64_t count, char kind) {
    double norm = 0;
    for (int64_t i = 0; i < count; i++) {
        if (kind == 'M')
            norm = fabs(row[i]) > norm ? fabs(row[i]) : norm;
        else
            norm += kind == '1' ? fabs(row[i]) : row[i] * row[i];
    }
    return kind == '2' ? sqrt(norm) : norm;
}

static whet_status normalizer_run(OpRun *run) {
    Matrix m;
    char kind = "M12"[op_choice(run->call, "norm")];
    whet_status status = read_matrix(run, &m);
    float *y = status ? NULL : native_output(run, 0);
    if (!y)
        return status ? status : native_failed(run);
    for (int64_t r = 0; r < m.rows; r++) {
        double norm = row_norm(m.x + r * m.columns, m.columns, kind);
        for (int64_t i = r * m.columns; i < (r + 1) * m.columns; i++)
            y[i] = (float)(norm != 0 ? m.x[i] / norm : m.x[i]);
    }
    return WHET_OK;
}

static whet_status imputer_run(OpRun *run) {
    OpCall *call = run->call;
    bool whole = dtype_kind(call->in[0]->type) != KIND_FLOAT;
    int64_t count;
    Matrix m;
    whet_status status = read_matrix(run, &m);
    if (status)
        return status;
    const double *imputed = ml_numbers(run, "imputed_value_floats", &count);
    double replaced = whole ? (double)op_int(call, "replaced_value_int64") : op_float(call, "replaced_value_float");
    double *list = (double *)imputed;
    if (whole) {
        int ints;
        const int64_t *values = op_ints(call, "imputed_value_int64s", &ints);
        count = ints;
        list = op_scratch(run, (size_t)(ints + 1) * sizeof *list);
        for (int i = 0; list && i < ints; i++)
            list[i] = (double)values[i];
    }
    void *y = native_output(run, 0);
    double *out = op_scratch(run, (size_t)(m.rows * m.columns + 1) * sizeof *out);
    if (!list || !y || !out)
        return native_failed(run);
    status = count ? one_or_columns(run, "imputed_value", count, m.columns)
                   : native_error(run, WHET_ERROR_FORMAT, "there is no value to impute");
    if (status)
        return status;
    for (int64_t i = 0; i < m.rows * m.columns; i++) {
        bool missing = isnan(replaced) ? isnan(m.x[i]) : m.x[i] == replaced;
        out[i] = missing ? of_column(list, count, i % m.columns, 0) : m.x[i];
    }
    native_from_f64(call->in[0]->type, out, m.rows * m.columns, y);
    return WHET_OK;
}

/* ---- ArrayFeatureExtractor, FeatureVectorizer ------------------------------------------------------------------------------ */

static whet_status extractor_shape(OpCall *call) {
    const Type *x = call->in[0], *y = call->in[1];
    if (x->rank < 0 || y->rank < 0)
        return WHET_OK;
    if (x->rank < 1)
        return op_error(call, WHET_ERROR_DATA, "the input has rank 0; wanted 1 or more");
    Dim count = 1;
    for (int d = 0; d < y->rank; d++)
        count = dim_mul(call->symbols, count, y->dims[d]);
    Dim dims[WHET_MAX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank - 1] = count;
    if (x->rank == 1)
        op_set_shape(call, 0, 2, (const Dim[]){1, count});
    else
        op_set_shape(call, 0, x->rank, dims);
    return WHET_OK;
}

static whet_status extractor_run(OpRun *run) {
    const Tensor *x = op_input(run, 0), *y = op_input(run, 1);
    int64_t columns = x->dims[x->rank - 1], wanted = whet_tensor_count(y), rows = columns ? whet_tensor_count(x) / columns : 0;
    size_t size = x->type == WHET_STRING ? sizeof(Str) : native_size((DType)x->type);
    const int64_t *index = y->data;
    char *out = native_output(run, 0);
    if (!out)
        return native_failed(run);
    for (int64_t i = 0; i < wanted; i++)
        if (index[i] < 0 || index[i] >= columns)
            return native_error(run, WHET_ERROR_DATA, "Y[%lld] is %lld; wanted 0 to %lld", (long long)i, (long long)index[i],
                                (long long)columns - 1);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < wanted; i++)
            memcpy(out + (size_t)(r * wanted + i) * size, (const char *)x->data + (size_t)(r * columns + index[i]) * size, size);
    return WHET_OK;
}

static whet_status vectorizer_shape(OpCall *call) {
    int count;
    const int64_t *sizes = op_ints(call, "inputdimensions", &count);
    int64_t total = 0;
    if (count != call->in_count)
        return op_error(call, WHET_ERROR_FORMAT, "inputdimensions has %d elements; wanted %d, one an input", count,
                        call->in_count);
    for (int i = 0; i < count; i++)
        if (sizes[i] < 0 || sizes[i] > INT32_MAX || !checked_add(total, sizes[i], &total))
            return op_error(call, WHET_ERROR_FORMAT, "inputdimensions[%d] is %lld; wanted 0 or more, below 2^31", i,
                            (long long)sizes[i]);
    if (!op_ranks_known(call))
        return WHET_OK;
    for (int i = 0; i < count; i++)
        if (call->in[i]->rank < 1 || call->in[i]->rank > 2)
            return op_error(call, WHET_ERROR_DATA, "input %d has rank %d; wanted 1 or 2", i, call->in[i]->rank);
    Dim rows = call->in[0]->rank == 2 ? call->in[0]->dims[0] : 1;
    op_set_shape(call, 0, 2, (const Dim[]){rows, total});
    return WHET_OK;
}

/* What an input has more than its size is left out; what it lacks is 0. */
static whet_status vectorizer_run(OpRun *run) {
    int count;
    const int64_t *sizes = op_ints(run->call, "inputdimensions", &count);
    float *y = native_output(run, 0);
    if (!y)
        return native_failed(run);
    int64_t rows = run->call->out[0].dims[0], width = run->call->out[0].dims[1], at = 0;
    memset(y, 0, (size_t)(rows * width) * sizeof *y);
    for (int i = 0; i < count; at += sizes[i++]) {
        const Tensor *x = op_input(run, i);
        const float *from = native_f32(run, i);
        int64_t columns = x->dims[x->rank - 1], have = x->rank == 2 ? x->dims[0] : 1;
        if (!from)
            return native_failed(run);
        if (have != rows)
            return native_error(run, WHET_ERROR_DATA, "input %d has %lld rows; wanted %lld", i, (long long)have, (long long)rows);
        for (int64_t r = 0; r < rows; r++)
            memcpy(y + r * width + at, from + r * columns, (size_t)(columns < sizes[i] ? columns : sizes[i]) * sizeof *y);
    }
    return WHET_OK;
}

/* ---- Linear models ------------------------------------------------------------------------------------------------------- */

/* Scores of one row: coefficients[k, column] . x + intercepts[k]. */
static void linear_scores(const Matrix *m, int64_t row, const double *weights, const double *bias, int64_t biases, int64_t count,
                          double *out) {
    for (int64_t k = 0; k < count; k++) {
        double sum = 0;
        for (int64_t c = 0; c < m->columns; c++)
            sum += m->x[row * m->columns + c] * weights[k * m->columns + c];
        out[k] = sum + (k < biases ? bias[k] : 0);
    }
}

whet_status ml_target_count(OpCall *call, const char *name, int64_t *out) {
    *out = op_int(call, name);
    return *out >= 1 && *out <= 1 << 20
               ? WHET_OK
               : op_error(call, WHET_ERROR_FORMAT, "%s is %lld; wanted 1 to 2^20", name, (long long)*out);
}

whet_status ml_targets_shape(OpCall *call, const char *name) {
    Dim rows, columns;
    int64_t targets;
    whet_status status = ml_matrix_shape(call, &rows, &columns);
    if (!status)
        status = ml_target_count(call, name, &targets);
    if (!status && call->in[0]->rank >= 0)
        op_set_shape(call, 0, 2, (const Dim[]){rows, targets});
    return status;
}

static whet_status linear_shape(OpCall *call) {
    return ml_targets_shape(call, "targets");
}

typedef struct Linear {
    const double *weights, *bias;
    double *scores; /* of a row, room for two at least */
    int64_t biases;
} Linear;

static whet_status read_linear(OpRun *run, const Matrix *m, int64_t count, Linear *out) {
    int64_t weights;
    out->weights = ml_numbers(run, "coefficients", &weights);
    out->bias = ml_numbers(run, "intercepts", &out->biases);
    out->scores = op_scratch(run, (size_t)(count + 2) * sizeof *out->scores);
    int64_t wanted;
    if (!out->weights || !out->bias || !out->scores)
        return native_failed(run);
    if (!checked_mul(count, m->columns, &wanted) || weights != wanted || (out->biases && out->biases != count))
        return native_error(run, WHET_ERROR_DATA, "%lld coefficients and %lld intercepts; wanted %lld times %lld and %lld",
                            (long long)weights, (long long)out->biases, (long long)count, (long long)m->columns,
                            (long long)count);
    return WHET_OK;
}

static whet_status linear_run(OpRun *run) {
    Matrix m;
    Linear linear;
    MlPost post = ml_post(run->call);
    int64_t targets;
    whet_status status = read_matrix(run, &m);
    if (!status)
        status = ml_target_count(run->call, "targets", &targets);
    if (!status)
        status = read_linear(run, &m, targets, &linear);
    if (status)
        return status;
    float *y = native_output(run, 0);
    if (!y)
        return native_failed(run);
    for (int64_t r = 0; r < m.rows; r++) {
        linear_scores(&m, r, linear.weights, linear.bias, linear.biases, targets, linear.scores);
        if (targets > 1)
            ml_transform(post, linear.scores, targets);
        else if (post == ML_PROBIT)
            linear.scores[0] = ml_probit(linear.scores[0]);
        native_from_f64(DT_F32, linear.scores, targets, y + r * targets);
    }
    return WHET_OK;
}

/* Scores of a row: as many as there are intercepts; without any, as there are labels. */
static whet_status class_scores(OpCall *call, MlLabels *labels, int64_t *scores, int64_t *columns) {
    whet_status status = ml_labels(call, "classlabels_ints", "classlabels_strings", labels);
    const Attr *intercepts = op_attr(call, "intercepts");
    *scores = intercepts && intercepts->count ? (int64_t)intercepts->count : labels->count;
    *columns = *scores == 1 && labels->count == 2 ? 2 : *scores;
    if (!status && *scores > 1 && *scores != labels->count)
        return op_error(call, WHET_ERROR_FORMAT, "%lld intercepts for %lld labels; wanted as many", (long long)*scores,
                        (long long)labels->count);
    return status;
}

static whet_status linear_classifier_shape(OpCall *call) {
    Dim rows, columns;
    MlLabels labels;
    int64_t scores, width;
    whet_status status = ml_matrix_shape(call, &rows, &columns);
    if (!status)
        status = class_scores(call, &labels, &scores, &width);
    if (status)
        return status;
    call->out[0].type = labels.strings ? DT_STRING : DT_S64;
    if (call->in[0]->rank >= 0) {
        op_set_shape(call, 0, 1, (const Dim[]){rows});
        op_set_shape(call, 1, 2, (const Dim[]){rows, width});
    }
    return WHET_OK;
}

static int64_t best_of(const double *scores, int64_t count) {
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        best = scores[i] > scores[best] ? i : best;
    return best;
}

static void finish_scores(MlPost post, double *scores, int64_t count, int64_t width) {
    if (count > 1) {
        ml_transform(post, scores, count);
    } else if (width == 2) {
        scores[1] = post == ML_PROBIT ? ml_probit(scores[0]) : post == ML_LOGISTIC ? ml_logistic(scores[0]) : scores[0];
        scores[0] = 1 - scores[1];
    } else if (post == ML_PROBIT || post == ML_LOGISTIC) {
        ml_transform(post, scores, 1);
    }
}

static whet_status linear_classifier_run(OpRun *run) {
    Matrix m;
    Linear linear;
    MlLabels labels;
    MlPost post = ml_post(run->call);
    int64_t count, width;
    whet_status status = read_matrix(run, &m);
    if (!status)
        status = class_scores(run->call, &labels, &count, &width);
    if (!status)
        status = read_linear(run, &m, count, &linear);
    if (status)
        return status;
    void *out = op_output(run, 0, run->call->out[0].type, 1, (const int64_t[]){m.rows});
    float *z = op_output(run, 1, DT_F32, 2, (const int64_t[]){m.rows, width});
    if (!out || !z)
        return native_failed(run);
    for (int64_t r = 0; r < m.rows; r++) {
        linear_scores(&m, r, linear.weights, linear.bias, linear.biases, count, linear.scores);
        int64_t best = count > 1 ? best_of(linear.scores, count) : linear.scores[0] > 0;
        if (labels.count == 1 && !labels.strings)
            ((int64_t *)out)[r] = best;
        else
            ml_put_label(&labels, best < labels.count ? best : 0, out, r);
        finish_scores(post, linear.scores, count, width);
        native_from_f64(DT_F32, linear.scores, width, z + r * width);
    }
    return WHET_OK;
}

/* ---- Rows ---------------------------------------------------------------------------------------------------------------- */

#define NUMBERS "T=f32|f64|s32|s64"
#define LINEAR  "coefficients:F! intercepts:F " ML_POST
#define NO_MAPS "maps and sequences of maps are not supported"

// clang-format off
const OpRow ops_ml[] = {
    {ML_DOMAIN, "ArrayFeatureExtractor", 1, "X:T, Y:s64 -> Z:T", "T=f32|f64|s32|s64|string", "", extractor_shape, .run = extractor_run},
    {ML_DOMAIN, "Binarizer", 1, "x:T -> y:T", NUMBERS, "threshold:f=0", shape_same, .build = binarizer_build},
    {ML_DOMAIN, "CastMap", 1, .refused = NO_MAPS},
    {ML_DOMAIN, "DictVectorizer", 1, .refused = NO_MAPS},
    {ML_DOMAIN, "FeatureVectorizer", 1, "X...:* -> Y:f32", "", "inputdimensions:I!", vectorizer_shape, .run = vectorizer_run},
    {ML_DOMAIN, "Imputer", 1, "X:T -> Y:T", NUMBERS, "imputed_value_floats:F imputed_value_int64s:I replaced_value_float:f=0 replaced_value_int64:i=0", matrix_like, .run = imputer_run},
    {ML_DOMAIN, "LinearClassifier", 1, "X:T -> Y:*, Z?:f32", NUMBERS, LINEAR " classlabels_ints:I classlabels_strings:S multi_class:i=0", linear_classifier_shape, .run = linear_classifier_run},
    {ML_DOMAIN, "LinearRegressor", 1, "X:T -> Y:f32", NUMBERS, LINEAR " targets:i=1", linear_shape, .run = linear_run},
    {ML_DOMAIN, "Normalizer", 1, "X:T -> Y:f32", NUMBERS, "norm:s=MAX|L1|L2", matrix_like, .run = normalizer_run},
    {ML_DOMAIN, "Scaler", 1, "X:T -> Y:f32", NUMBERS, "offset:F scale:F", matrix_like, .run = scaler_run},
    {ML_DOMAIN, "ZipMap", 1, .refused = NO_MAPS},
};
// clang-format on
const size_t ops_ml_count = COUNT(ops_ml);
