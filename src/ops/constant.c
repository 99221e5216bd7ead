/* Operators that make tensors out of attributes, shapes and numbers: Constant, Shape, Range, windows and the like.
 *
 * Shape and Size also give their symbolic content, which is what shape arithmetic is folded from.
 */
#include "ops/native.h"

#include <math.h>
#include <string.h>

/* ---- Constant ------------------------------------------------------------------------------------------------------------ */

static Tensor *new_tensor(OpCall *call, DType type, int rank, int64_t count, const void *data) {
    Tensor *tensor = ARENA_NEW(call->arena, Tensor);
    if (!tensor) {
        error_memory(call->err);
        return NULL;
    }
    tensor->type = (whet_type)type;
    tensor->rank = rank;
    tensor->dims[0] = count;
    tensor->data = (void *)data; /* never written through */
    if (!dtype_bytes(type, count, &tensor->bytes))
        return NULL;
    return tensor;
}

static const Tensor *constant_tensor(OpCall *call) {
    const Attr *a;
    if ((a = op_attr(call, "value")) && a->tensor)
        return a->tensor;
    if ((a = op_attr(call, "value_float")))
        return new_tensor(call, DT_F32, 0, 1, &a->f);
    if ((a = op_attr(call, "value_int")))
        return new_tensor(call, DT_S64, 0, 1, &a->i);
    if ((a = op_attr(call, "value_string")))
        return new_tensor(call, DT_STRING, 0, 1, &a->s);
    if ((a = op_attr(call, "value_floats")))
        return new_tensor(call, DT_F32, 1, (int64_t)a->count, a->floats);
    if ((a = op_attr(call, "value_ints")))
        return new_tensor(call, DT_S64, 1, (int64_t)a->count, a->ints);
    if ((a = op_attr(call, "value_strings")))
        return new_tensor(call, DT_STRING, 1, (int64_t)a->count, a->strings);
    op_error(call, WHET_ERROR_FORMAT,
             "no attribute is given; wanted one of value, value_int, value_float, value_string and their lists");
    return NULL;
}

static whet_status constant_shape(OpCall *call) {
    const Tensor *value = constant_tensor(call);
    if (!value)
        return call->err ? call->err->status : WHET_ERROR_MEMORY;
    call->out[0].type = (DType)value->type;
    call->out[0].constant = value;
    op_set_shape(call, 0, value->rank, value->dims);
    return WHET_OK;
}

static whet_status constant_run(OpRun *run) {
    const Tensor *made = run->call->out[0].constant, *value = made ? made : constant_tensor(run->call);
    void *to = value ? op_output(run, 0, (DType)value->type, value->rank, value->dims) : NULL;
    if (!to)
        return native_failed(run);
    if (value->bytes)
        memcpy(to, value->data, value->bytes);
    return WHET_OK;
}

/* ---- ConstantOfShape ----------------------------------------------------------------------------------------------------- */

static whet_status constant_of_shape_shape(OpCall *call) {
    const Attr *value = op_attr(call, "value");
    if (value && (!value->tensor || whet_tensor_count(value->tensor) != 1))
        return op_error(call, WHET_ERROR_FORMAT, "attribute value must be a tensor of one element");
    Type *out = &call->out[0];
    out->type = value ? (DType)value->tensor->type : DT_F32;
    whet_status status = native_whole_bytes(call, out->type);
    if (status == WHET_OK)
        status = native_shape_from_content(call, 0, 0);
    bool is_int = dtype_is_integer(out->type);
    if (status != WHET_OK || out->rank != 1 || !is_int || !dim_is_extent(out->dims[0]) || out->dims[0] > 64)
        return status;
    Dim *content = ARENA_ARRAY(call->arena, Dim, (size_t)out->dims[0]);
    for (int64_t i = 0; content && i < out->dims[0]; i++)
        content[i] = dim_const(call->symbols, native_int_at(value->tensor, 0));
    out->content = content;
    out->content_count = content ? out->dims[0] : 0;
    return WHET_OK;
}

static whet_status constant_of_shape_run(OpRun *run) {
    const Attr *value = op_attr(run->call, "value");
    static const float zero = 0;
    void *to = native_output(run, 0);
    if (!to)
        return native_failed(run);
    const Type *out = &run->call->out[0];
    native_fill(to, value ? value->tensor->data : &zero, native_size(out->type), native_count(out->rank, out->dims));
    return WHET_OK;
}

/* ---- Shape, Size --------------------------------------------------------------------------------------------------------- */

static whet_status shape_shape(OpCall *call) {
    const Type *x = call->in[0];
    if (x->rank < 0) {
        op_set_shape(call, 0, 1, (const Dim[]){DIM_UNKNOWN});
        return WHET_OK;
    }
    int64_t start = op_int(call, "start"), end = op_attr(call, "end") ? op_int(call, "end") : x->rank;
    start = start < 0 ? start + x->rank : start;
    end = end < 0 ? end + x->rank : end;
    start = start < 0 ? 0 : start > x->rank ? x->rank : start;
    end = end < start ? start : end > x->rank ? x->rank : end;
    op_set_shape(call, 0, 1, (const Dim[]){end - start});
    call->out[0].content = arena_copy(call->arena, x->dims + start, (size_t)(end - start) * sizeof(Dim));
    call->out[0].content_count = call->out[0].content ? end - start : 0;
    return WHET_OK;
}

static whet_status size_shape(OpCall *call) {
    const Type *x = call->in[0];
    op_set_shape(call, 0, 0, NULL);
    if (x->rank < 0)
        return WHET_OK;
    Dim product = 1;
    for (int d = 0; d < x->rank; d++)
        product = dim_mul(call->symbols, product, x->dims[d]);
    call->out[0].content = arena_copy(call->arena, &product, sizeof product);
    call->out[0].content_count = call->out[0].content ? 1 : 0;
    return WHET_OK;
}

/* Writes the integers that the shape rule found. */
static whet_status content_run(OpRun *run) {
    const Type *out = &run->call->out[0];
    int64_t *to = native_output(run, 0);
    if (!to)
        return native_failed(run);
    for (int64_t i = 0; i < out->content_count; i++)
        to[i] = out->content[i];
    return WHET_OK;
}

/* ---- Range --------------------------------------------------------------------------------------------------------------- */

static const Tensor *known(const OpCall *call, int index) {
    const Tensor *tensor = call->in[index] ? call->in[index]->constant : NULL;
    return tensor && whet_tensor_count(tensor) == 1 ? tensor : NULL;
}

static whet_status range_count_ints(OpCall *call, int64_t *out) {
    int64_t start = native_int_at(known(call, 0), 0), limit = native_int_at(known(call, 1), 0);
    int64_t delta = native_int_at(known(call, 2), 0), span;
    if (delta == 0)
        return op_error(call, WHET_ERROR_DATA, "delta is 0; wanted another number");
    if (!checked_sub(limit, start, &span))
        return op_error(call, WHET_ERROR_DATA, "the range from %lld to %lld is too long; wanted below 2^63", (long long)start,
                        (long long)limit);
    if (span == 0 || (span > 0) != (delta > 0))
        *out = 0;
    else
        *out = delta == -1 ? -span : span / delta + (span % delta != 0);
    return WHET_OK;
}

static whet_status range_count(OpCall *call, int64_t *out) {
    if (dtype_kind(call->in[0]->type) != KIND_FLOAT)
        return range_count_ints(call, out);
    double start = whet_tensor_get(known(call, 0), 0), limit = whet_tensor_get(known(call, 1), 0);
    double delta = whet_tensor_get(known(call, 2), 0), count = ceil((limit - start) / delta);
    if (!(count < 0x1p62) || delta == 0)
        return op_error(call, WHET_ERROR_DATA, "no range goes from %g to %g by %g; wanted a finite one", start, limit, delta);
    *out = count > 0 ? (int64_t)count : 0;
    return WHET_OK;
}

static whet_status range_shape(OpCall *call) {
    Dim count = DIM_UNKNOWN;
    const Dim *start, *limit, *delta;
    int64_t n;
    for (int i = 0; i < 3; i++)
        if (call->in[i]->constant && whet_tensor_count(call->in[i]->constant) != 1)
            return op_error(call, WHET_ERROR_DATA, "operand %d has %lld elements; 1 is wanted", i,
                            (long long)whet_tensor_count(call->in[i]->constant));
    if (known(call, 0) && known(call, 1) && known(call, 2)) {
        whet_status status = range_count(call, &count);
        if (status != WHET_OK)
            return status;
    } else if (op_content(call, 0, &start, &n) && n == 1 && op_content(call, 1, &limit, &n) && n == 1 &&
               op_content(call, 2, &delta, &n) && n == 1 && delta[0] == 1) {
        count = dim_max(call->symbols, 0, dim_sub(call->symbols, limit[0], start[0]));
        count = start[0] == 0 && dim_symbol_name(call->symbols, limit[0]) ? limit[0] : count;
    }
    op_set_shape(call, 0, 1, &count);
    return WHET_OK;
}

/* Integers step exactly (wrapping as the type does); floats are start + i * delta, each rounded once. */
static whet_status range_run(OpRun *run) {
    OpCall *call = run->call;
    int64_t count = call->out[0].dims[0];
    DType type = call->in[0]->type;
    void *to = native_output(run, 0);
    if (!to)
        return native_failed(run);
    if (dtype_kind(type) == KIND_FLOAT) {
        double start = whet_tensor_get(known(call, 0), 0), delta = whet_tensor_get(known(call, 2), 0);
        for (int64_t i = 0; i < count; i++) {
            double value = start + (double)i * delta;
            native_from_f64(type, &value, 1, (char *)to + (size_t)i * native_size(type));
        }
        return WHET_OK;
    }
    uint64_t value = (uint64_t)native_int_at(known(call, 0), 0), delta = (uint64_t)native_int_at(known(call, 2), 0);
    for (int64_t i = 0; i < count; i++, value += delta) {
        switch (native_size(type)) {
        case 1: ((uint8_t *)to)[i] = (uint8_t)value; break;
        case 2: ((uint16_t *)to)[i] = (uint16_t)value; break;
        case 4: ((uint32_t *)to)[i] = (uint32_t)value; break;
        default: ((uint64_t *)to)[i] = value; break;
        }
    }
    return WHET_OK;
}

/* ---- EyeLike ------------------------------------------------------------------------------------------------------------- */

/* The output's type: attribute dtype, or the input's. */
static whet_status dtype_like_shape(OpCall *call) {
    call->out[0].type = call->in[0]->type;
    if (op_attr(call, "dtype")) {
        call->out[0].type = native_dtype(call, "dtype", op_int(call, "dtype"));
        if (call->out[0].type == DT_NONE)
            return WHET_ERROR_FORMAT;
    }
    if (call->out[0].type != DT_NONE && !kernel_computes(call->out[0].type))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "outputs of type %s are not supported here", dtype_name(call->out[0].type));
    return op_same_shape(call, 0, 0);
}

static whet_status eye_shape(OpCall *call) {
    if (call->in[0]->rank >= 0 && call->in[0]->rank != 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; 2 is wanted", call->in[0]->rank);
    return dtype_like_shape(call);
}

static whet_status eye_run(OpRun *run) {
    const Type *out = &run->call->out[0];
    size_t size = native_size(out->type);
    char *to = native_output(run, 0);
    if (!to)
        return native_failed(run);
    int64_t rows = out->dims[0], columns = out->dims[1], k = op_int(run->call, "k");
    memset(to, 0, (size_t)(rows * columns) * size);
    uint64_t one = 0;
    native_from_f64(out->type, &(double){1}, 1, &one);
    if (k >= columns || k <= -rows)
        return WHET_OK;
    for (int64_t i = k < 0 ? -k : 0; i < rows && i + k < columns; i++)
        memcpy(to + (size_t)(i * columns + i + k) * size, &one, size);
    return WHET_OK;
}

/* ---- Random numbers ------------------------------------------------------------------------------------------------------ */

/* A splitmix64 sequence: from attribute seed, or else from the node's name, so that a model gives the same answer each time. */
typedef struct Random {
    uint64_t state;
} Random;

static Random random_of(OpCall *call) {
    const Attr *seed = op_attr(call, "seed");
    double value = !seed ? 0 : seed->kind == ATTR_INT ? (double)seed->i : (double)seed->f;
    const char *name = call->node && call->node->name ? call->node->name : "";
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return (Random){seed ? hash_bytes(&bits, sizeof bits, 1) : hash_bytes(name, strlen(name), 2)};
}

static double random_unit(Random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static double random_normal(Random *random) {
    double a = 1 - random_unit(random), b = random_unit(random);
    return sqrt(-2 * log(a)) * cos(6.283185307179586 * b);
}

static whet_status random_shape(OpCall *call) {
    int count;
    const int64_t *dims = op_ints(call, "shape", &count);
    if (count > WHET_MAX_RANK)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "the shape has %d dimensions; %d is the most", count, WHET_MAX_RANK);
    for (int d = 0; d < count; d++)
        if (dims[d] < 0)
            return op_error(call, WHET_ERROR_FORMAT, "dimension %d of the shape is %lld; wanted 0 or more", d,
                            (long long)dims[d]);
    call->out[0].type = native_dtype(call, "dtype", op_int(call, "dtype"));
    if (dtype_kind(call->out[0].type) != KIND_FLOAT || !kernel_computes(call->out[0].type))
        return op_error(call, WHET_ERROR_FORMAT, "attribute dtype is %lld; a float type is wanted",
                        (long long)op_int(call, "dtype"));
    op_set_shape(call, 0, count, dims);
    return WHET_OK;
}

static whet_status random_fill(OpRun *run, bool normal) {
    OpCall *call = run->call;
    const Type *out = &call->out[0];
    Random random = random_of(call);
    char *to = native_output(run, 0);
    if (!to)
        return native_failed(run);
    double base = op_float(call, normal ? "mean" : "low");
    double scale = normal ? op_float(call, "scale") : op_float(call, "high") - base;
    int64_t count = native_count(out->rank, out->dims);
    for (int64_t i = 0; i < count; i++) {
        double value = base + scale * (normal ? random_normal(&random) : random_unit(&random));
        native_from_f64(out->type, &value, 1, to + (size_t)i * native_size(out->type));
    }
    return WHET_OK;
}

static whet_status random_uniform_run(OpRun *run) {
    return random_fill(run, false);
}
static whet_status random_normal_run(OpRun *run) {
    return random_fill(run, true);
}

static whet_status bernoulli_run(OpRun *run) {
    const Type *out = &run->call->out[0];
    Random random = random_of(run->call);
    const float *p = native_f32(run, 0);
    char *to = p ? native_output(run, 0) : NULL;
    if (!to)
        return native_failed(run);
    int64_t count = native_count(out->rank, out->dims);
    for (int64_t i = 0; i < count; i++)
        native_from_f64(out->type, &(double){random_unit(&random) < (double)p[i]}, 1, to + (size_t)i * native_size(out->type));
    return WHET_OK;
}

static whet_status multinomial_shape(OpCall *call) {
    int64_t dtype = op_int(call, "dtype"), samples = op_int(call, "sample_size");
    if (dtype != DT_S32 && dtype != DT_S64)
        return op_error(call, WHET_ERROR_FORMAT, "attribute dtype is %lld; int32 or int64 is wanted", (long long)dtype);
    if (samples < 0)
        return op_error(call, WHET_ERROR_FORMAT, "attribute sample_size is %lld; wanted 0 or more", (long long)samples);
    if (call->in[0]->rank >= 0 && call->in[0]->rank != 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; 2 is wanted", call->in[0]->rank);
    call->out[0].type = (DType)dtype;
    op_set_shape(call, 0, 2, (const Dim[]){call->in[0]->rank == 2 ? call->in[0]->dims[0] : DIM_UNKNOWN, samples});
    return WHET_OK;
}

/* The inputs are unnormalised log-probabilities; the largest of logit + Gumbel noise is a draw from them. */
static whet_status multinomial_run(OpRun *run) {
    const Type *out = &run->call->out[0];
    Random random = random_of(run->call);
    const float *logits = native_f32(run, 0);
    char *to = logits ? native_output(run, 0) : NULL;
    if (!to)
        return native_failed(run);
    int64_t classes = run->call->in[0]->dims[1], draws = native_count(2, out->dims);
    for (int64_t i = 0; i < draws; i++) {
        const float *row = logits + i / out->dims[1] * classes;
        double best = -INFINITY;
        int64_t at = 0;
        for (int64_t c = 0; c < classes; c++) {
            double value = (double)row[c] - log(-log(1 - random_unit(&random) + 1e-300) + 1e-300);
            if (value > best) {
                best = value;
                at = c;
            }
        }
        if (out->type == DT_S32)
            ((int32_t *)(void *)to)[i] = (int32_t)at;
        else
            ((int64_t *)(void *)to)[i] = at;
    }
    return WHET_OK;
}

/* ---- Dropout ------------------------------------------------------------------------------------------------------------- */

static whet_status dropout_shape(OpCall *call) {
    whet_status status = op_same_shape(call, 0, 0);
    if (status == WHET_OK && call->out_count > 1) {
        call->out[1].type = call->opset < 10 ? call->in[0]->type : DT_BOOL;
        status = op_same_shape(call, 1, 0);
    }
    return status;
}

/* At inference the data passes and the mask keeps everything. Training mode (opset 12) drops for real. */
static whet_status dropout_run(OpRun *run) {
    OpCall *call = run->call;
    const Type *x = call->in[0];
    int64_t count = native_count(x->rank, x->dims);
    bool training = native_number(run, 2, 0) != 0;
    double ratio = native_number(run, 1, 0.5);
    bool want_mask = call->out_count > 1 && op_wanted(run, 1);
    void *mask = want_mask ? native_output(run, 1) : NULL;
    if (want_mask && !mask)
        return native_failed(run);
    if (!training || ratio == 0) {
        uint64_t one = 0;
        native_from_f64(want_mask ? call->out[1].type : DT_BOOL, &(double){1}, 1, &one);
        if (want_mask)
            native_fill(mask, &one, native_size(call->out[1].type), count);
        return op_output_alias(run, 0, 0, x->rank, x->dims);
    }
    if (!(ratio >= 0 && ratio < 1))
        return native_error(run, WHET_ERROR_DATA, "ratio is %g; [0, 1) is wanted", ratio);
    const double *from = native_f64(run, 0);
    char *to = from ? native_output(run, 0) : NULL;
    if (!to)
        return native_failed(run);
    Random random = random_of(call);
    for (int64_t i = 0; i < count; i++) {
        bool keep = random_unit(&random) >= ratio;
        native_from_f64(x->type, &(double){keep ? from[i] / (1 - ratio) : 0}, 1, to + (size_t)i * native_size(x->type));
        if (want_mask)
            ((uint8_t *)mask)[i] = keep;
    }
    return WHET_OK;
}

/* ---- Windows ------------------------------------------------------------------------------------------------------------- */

static whet_status window_shape(OpCall *call) {
    Dim length;
    whet_status status = op_number(call, 0, 0, &length);
    if (status != WHET_OK)
        return status;
    call->out[0].type = native_dtype(call, "output_datatype", op_int(call, "output_datatype"));
    if (!kernel_computes(call->out[0].type))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "windows of type %s are not supported", dtype_name(call->out[0].type));
    op_set_shape(call, 0, 1, &length);
    return WHET_OK;
}

/* a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N), N the size, or one less where the window is symmetric. */
static whet_status window_run(OpRun *run, double a0, double a1, double a2) {
    const Type *out = &run->call->out[0];
    char *to = native_output(run, 0);
    if (!to)
        return native_failed(run);
    double period = (double)(op_int(run->call, "periodic") ? out->dims[0] : out->dims[0] - 1);
    for (int64_t n = 0; n < out->dims[0]; n++) {
        double angle = period > 0 ? 6.283185307179586 * (double)n / period : 0;
        double value = a0 - a1 * cos(angle) + a2 * cos(2 * angle);
        native_from_f64(out->type, &value, 1, to + (size_t)n * native_size(out->type));
    }
    return WHET_OK;
}

static whet_status hann_run(OpRun *run) {
    return window_run(run, 0.5, 0.5, 0);
}
static whet_status hamming_run(OpRun *run) {
    return window_run(run, 25.0 / 46, 21.0 / 46, 0);
}
static whet_status blackman_run(OpRun *run) {
    return window_run(run, 0.42, 0.5, 0.08);
}

#define CONSTANT_ATTRS "value:t value_float:f value_floats:F value_int:i value_ints:I value_string:s value_strings:S"
#define WINDOW_ATTRS   "output_datatype:i=1 periodic:i=1"
#define ROW(name, since, signature, types, attrs, shape, function)                                                               \
    { "", name, since, signature, types, attrs, shape, .run = function }

// clang-format off
const OpRow ops_constant[] = {
    ROW("Bernoulli", 15, "input:T -> output:*", "T=float", "dtype:i seed:f", dtype_like_shape, bernoulli_run),
    ROW("BlackmanWindow", 17, "size#:T -> output:*", "T=s32|s64", WINDOW_ATTRS, window_shape, blackman_run),
    ROW("Constant", 1, "-> output:*", "", CONSTANT_ATTRS, constant_shape, constant_run),
    ROW("ConstantOfShape", 9, "shape#:s64 -> output:*", "", "value:t", constant_of_shape_shape, constant_of_shape_run),
    ROW("Dropout", 7, "data:T -> output:T, mask?:*", "T=float", "ratio:f=0.5", dropout_shape, dropout_run),
    ROW("Dropout", 12, "data:T, ratio?:U, training_mode?:bool -> output:T, mask?:bool", "T=float U=float", "seed:i", dropout_shape, dropout_run),
    ROW("EyeLike", 9, "input:* -> output:*", "", "dtype:i k:i=0", eye_shape, eye_run),
    ROW("HammingWindow", 17, "size#:T -> output:*", "T=s32|s64", WINDOW_ATTRS, window_shape, hamming_run),
    ROW("HannWindow", 17, "size#:T -> output:*", "T=s32|s64", WINDOW_ATTRS, window_shape, hann_run),
    ROW("Multinomial", 7, "input:T -> output:*", "T=float", "dtype:i=6 sample_size:i=1 seed:f", multinomial_shape, multinomial_run),
    ROW("RandomNormal", 1, "-> output:*", "", "dtype:i=1 mean:f=0 scale:f=1 seed:f shape:I!", random_shape, random_normal_run),
    ROW("RandomNormalLike", 1, "input:* -> output:*", "", "dtype:i mean:f=0 scale:f=1 seed:f", dtype_like_shape, random_normal_run),
    ROW("RandomUniform", 1, "-> output:*", "", "dtype:i=1 high:f=1 low:f=0 seed:f shape:I!", random_shape, random_uniform_run),
    ROW("RandomUniformLike", 1, "input:* -> output:*", "", "dtype:i high:f=1 low:f=0 seed:f", dtype_like_shape, random_uniform_run),
    ROW("Range", 11, "start#:T, limit#:T, delta#:T -> output:T", "T=f16|bf16|f32|f64|s16|s32|s64", "stash_type:i=1", range_shape, range_run),
    ROW("Shape", 1, "data:* -> shape:s64", "", "start:i=0 end:i", shape_shape, content_run),
    ROW("Size", 1, "data:* -> size:s64", "", "", size_shape, content_run),
};
// clang-format on
const size_t ops_constant_count = COUNT(ops_constant);
