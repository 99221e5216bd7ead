/* Shape arithmetic: the content of small whole-number vectors, element by element, on symbolic dimensions.
 *
 * Exporters write reshapes as Shape -> Gather -> Mul -> Concat -> Reshape; followed symbolically, the shape that comes out at
 * the end is known for every batch size at once. One function an operator, in the table at the end; each gets the call after
 * its shape rule has run, and may leave the content unknown, whole or in parts.
 */
#include "graph/infer.h"

#include <string.h>

#define MAX_ELEMENTS 1024

typedef struct Content {
    const Dim *at;
    int64_t count;
    int rank; /* 0 or 1 */
} Content;

static bool is_whole(DType type) {
    Kind kind = dtype_kind(type);
    return kind == KIND_SIGNED || kind == KIND_UNSIGNED || kind == KIND_BOOL;
}

/* The content of input `index`, if it is a small vector of whole numbers of which anything is known. */
static bool get_content(OpCall *call, int index, Content *out) {
    const Type *type = op_has(call, index) ? call->in[index] : NULL;
    if (!type || type->rank < 0 || type->rank > 1 || !is_whole(type->type))
        return false;
    if (type->constant ? whet_tensor_count(type->constant) > MAX_ELEMENTS : !type->content)
        return false;
    out->rank = type->rank;
    return op_content(call, index, &out->at, &out->count) && out->count <= MAX_ELEMENTS;
}

/* A number that the type wraps around to another is not known here. */
static Dim fit(const OpCall *call, DType type, Dim d) {
    int bits = dtype_bits(type);
    if (dtype_kind(type) != KIND_SIGNED && !dim_never_negative(call->symbols, d))
        return DIM_UNKNOWN;
    if (!dim_is_number(d))
        return bits >= 32 ? d : DIM_UNKNOWN;
    if (bits >= 64)
        return d;
    int64_t high = dtype_kind(type) == KIND_SIGNED ? ((int64_t)1 << (bits - 1)) - 1 : ((int64_t)1 << bits) - 1;
    int64_t low = dtype_kind(type) == KIND_SIGNED ? -high - 1 : 0;
    if (dtype_kind(type) == KIND_BOOL)
        high = 1;
    return d >= low && d <= high ? d : DIM_UNKNOWN;
}

/* Gives output `index` its content, and its shape where the rule left it open. */
static void set_content(OpCall *call, int index, int rank, const Dim *values, int64_t count) {
    Type *out = &call->out[index];
    if (!is_whole(out->type) || (out->rank >= 0 && out->rank != rank))
        return;
    Dim *copy = ARENA_ARRAY(call->arena, Dim, (size_t)count);
    if (!copy)
        return;
    for (int64_t i = 0; i < count; i++)
        copy[i] = values[i] == DIM_UNKNOWN ? DIM_UNKNOWN : fit(call, out->type, values[i]);
    out->rank = rank;
    if (rank == 1)
        out->dims[0] = count;
    out->content = copy;
    out->content_count = count;
}

/* ---- Where contents come from -------------------------------------------------------------------------------------------- */

static int64_t clamp_index(int64_t index, int64_t length) {
    return within(index < 0 ? index + length : index, 0, length);
}

static void fold_shape(OpCall *call) {
    const Type *in = call->in[0];
    if (in->rank < 0)
        return;
    int64_t start = clamp_index(node_int(call->node, "start", 0), in->rank);
    int64_t end = clamp_index(node_int(call->node, "end", in->rank), in->rank);
    set_content(call, 0, 1, in->dims + start, end > start ? end - start : 0);
}

static void fold_size(OpCall *call) {
    Dim size = call->in[0]->rank < 0 ? DIM_UNKNOWN : 1;
    for (int i = 0; i < call->in[0]->rank; i++)
        size = dim_mul(call->symbols, size, call->in[0]->dims[i]);
    set_content(call, 0, 0, &size, 1);
}

static void fill(OpCall *call, Dim value, int64_t count) {
    Dim values[MAX_ELEMENTS];
    for (int64_t i = 0; i < count; i++)
        values[i] = value;
    set_content(call, 0, 1, values, count);
}

static void fold_constant_of_shape(OpCall *call) {
    const Type *out = &call->out[0];
    const Attr *attr = node_attr(call->node, "value");
    if (out->rank != 1 || !dim_is_extent(out->dims[0]) || out->dims[0] > MAX_ELEMENTS || !attr || !attr->tensor)
        return;
    const Tensor *tensor = attr->tensor;
    if (is_whole((DType)tensor->type) && tensor->type != WHET_U64 && whet_tensor_count(tensor) == 1 && tensor->data) {
        int64_t value = tensor->type == WHET_S64 ? *(const int64_t *)tensor->data : (int64_t)whet_tensor_get(tensor, 0);
        fill(call, dim_const(call->symbols, value), out->dims[0]);
    }
}

/* ---- Movement ------------------------------------------------------------------------------------------------------------ */

/* The same elements under the output's shape: Identity, Cast, Reshape, Squeeze, Unsqueeze. */
static void fold_same(OpCall *call) {
    Content in;
    const Type *out = &call->out[0];
    if (get_content(call, 0, &in) && (out->rank == 1 || (out->rank == 0 && in.count == 1)))
        set_content(call, 0, out->rank, in.at, in.count);
}

static void fold_expand(OpCall *call) {
    Content in;
    const Type *out = &call->out[0];
    if (!get_content(call, 0, &in) || out->rank != 1 || !dim_is_extent(out->dims[0]) || out->dims[0] > MAX_ELEMENTS)
        return;
    if (in.count == 1)
        fill(call, in.at[0], out->dims[0]);
    else if (in.count == out->dims[0])
        set_content(call, 0, 1, in.at, in.count);
}

static void fold_gather(OpCall *call) {
    Content data, indices;
    if (!get_content(call, 0, &data) || !get_content(call, 1, &indices) || data.rank != 1)
        return;
    Dim values[MAX_ELEMENTS];
    for (int64_t i = 0; i < indices.count; i++) {
        int64_t at = indices.at[i];
        if (dim_is_number(at) && at < 0)
            at += data.count;
        values[i] = at >= 0 && at < data.count ? data.at[at] : DIM_UNKNOWN;
    }
    set_content(call, 0, indices.rank, values, indices.count);
}

static void fold_concat(OpCall *call) {
    Dim values[MAX_ELEMENTS];
    int64_t count = 0;
    for (int i = 0; i < call->in_count; i++) {
        const Type *in = call->in[i];
        Content part;
        if (!in || in->rank != 1)
            return;
        if (get_content(call, i, &part)) {
            if (part.count > MAX_ELEMENTS - count)
                return;
            memcpy(values + count, part.at, (size_t)part.count * sizeof *values);
            count += part.count;
        } else { /* of known length, at least */
            if (!dim_is_extent(in->dims[0]) || in->dims[0] > MAX_ELEMENTS - count)
                return;
            for (int64_t k = 0; k < in->dims[0]; k++)
                values[count++] = DIM_UNKNOWN;
        }
    }
    set_content(call, 0, 1, values, count);
}

/* One number: an input (opset 10 on) or an attribute of one element (before); `otherwise` if it is not given. */
static bool slice_number(OpCall *call, int input, const char *attr, int64_t otherwise, int64_t *out) {
    *out = otherwise;
    int count;
    const int64_t *ints = node_ints(call->node, attr, &count);
    Content content;
    if (ints) {
        *out = ints[0];
        return count == 1;
    }
    if (!op_has(call, input))
        return true;
    if (!get_content(call, input, &content) || content.count != 1 || !dim_is_number(content.at[0]))
        return false;
    *out = content.at[0];
    return true;
}

static void fold_slice(OpCall *call) {
    Content data;
    int64_t start, end, axis, step;
    if (!get_content(call, 0, &data) || data.rank != 1 || !slice_number(call, 1, "starts", 0, &start) ||
        !slice_number(call, 2, "ends", INT64_MAX, &end) || !slice_number(call, 3, "axes", 0, &axis) ||
        !slice_number(call, 4, "steps", 1, &step) || (axis != 0 && axis != -1) || step == 0 || step <= -MAX_ELEMENTS)
        return;
    int64_t length = data.count, low = step > 0 ? 0 : -1, high = step > 0 ? length : length - 1;
    start = start < 0 ? start + length : start;
    end = end < 0 ? end + length : end;
    start = start < low ? low : start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    Dim values[MAX_ELEMENTS];
    int64_t count = 0;
    for (int64_t i = start; step > 0 ? i < end : i > end; i += step < MAX_ELEMENTS ? step : MAX_ELEMENTS)
        values[count++] = data.at[i];
    set_content(call, 0, 1, values, count);
}

static void fold_split(OpCall *call) {
    Content data;
    if (!get_content(call, 0, &data) || data.rank != 1)
        return;
    int64_t at = 0;
    for (int i = 0; i < call->out_count; i++) {
        const Type *out = &call->out[i];
        if (out->rank != 1 || !dim_is_extent(out->dims[0]) || out->dims[0] > data.count - at)
            return;
        set_content(call, i, 1, data.at + at, out->dims[0]);
        at += out->dims[0];
    }
}

/* ---- Arithmetic ---------------------------------------------------------------------------------------------------------- */

static Dim divide(Symbols *symbols, Dim a, Dim b) { /* towards zero */
    if (dim_is_number(a) && dim_is_number(b))
        return b == 0 ? DIM_UNKNOWN : a / b;
    bool floors = dim_never_negative(symbols, a) && dim_never_negative(symbols, b);
    return floors ? dim_floordiv(symbols, a, b) : DIM_UNKNOWN;
}

static Dim modulo(Symbols *symbols, Dim a, Dim b) {
    if (!dim_never_negative(symbols, a) || !dim_never_negative(symbols, b))
        return DIM_UNKNOWN;
    return dim_sub(symbols, a, dim_mul(symbols, b, dim_floordiv(symbols, a, b)));
}

/* Comparisons give 1, 0 or unknown. */
static Dim less_or_equal(Symbols *symbols, Dim a, Dim b) {
    if (a == DIM_UNKNOWN || b == DIM_UNKNOWN)
        return DIM_UNKNOWN;
    if (dim_never_negative(symbols, dim_sub(symbols, b, a)))
        return 1;
    Dim beyond = dim_sub(symbols, dim_sub(symbols, a, b), 1);
    return dim_never_negative(symbols, beyond) ? 0 : DIM_UNKNOWN;
}

static Dim negate(Dim truth) {
    return truth == DIM_UNKNOWN ? DIM_UNKNOWN : !truth;
}

static Dim less(Symbols *symbols, Dim a, Dim b) {
    return negate(less_or_equal(symbols, b, a));
}

static Dim greater(Symbols *symbols, Dim a, Dim b) {
    return less(symbols, b, a);
}

static Dim greater_or_equal(Symbols *symbols, Dim a, Dim b) {
    return less_or_equal(symbols, b, a);
}

static Dim equal(Symbols *symbols, Dim a, Dim b) {
    if (a == DIM_UNKNOWN || b == DIM_UNKNOWN)
        return DIM_UNKNOWN;
    if (a == b)
        return 1;
    return less(symbols, a, b) == 1 || less(symbols, b, a) == 1 ? 0 : DIM_UNKNOWN;
}

static Dim both(Symbols *symbols, Dim a, Dim b) {
    (void)symbols;
    return a == 0 || b == 0 ? 0 : a == 1 && b == 1 ? 1 : DIM_UNKNOWN;
}

static Dim either(Symbols *symbols, Dim a, Dim b) {
    (void)symbols;
    return a == 1 || b == 1 ? 1 : a == 0 && b == 0 ? 0 : DIM_UNKNOWN;
}

typedef struct Binary {
    const char *op;
    Dim (*apply)(Symbols *, Dim, Dim);
} Binary;

static const Binary binaries[] = {
    {"Add", dim_add},     {"Sub", dim_sub},
    {"Mul", dim_mul},     {"Div", divide},
    {"Mod", modulo},      {"Min", dim_min},
    {"Max", dim_max},     {"Equal", equal},
    {"Less", less},       {"And", both},
    {"Greater", greater}, {"LessOrEqual", less_or_equal},
    {"Or", either},       {"GreaterOrEqual", greater_or_equal},
};

/* Elements of several inputs side by side; a single one stands for all. */
static bool broadcast(const Content *parts, int count, int *rank, int64_t *length) {
    *rank = 0;
    *length = 1;
    for (int i = 0; i < count; i++) {
        *rank = parts[i].rank > *rank ? parts[i].rank : *rank;
        if (parts[i].count != 1) {
            if (*length != 1 && *length != parts[i].count)
                return false;
            *length = parts[i].count;
        }
    }
    return true;
}

static Dim element(const Content *part, int64_t i) {
    return part->at[part->count == 1 ? 0 : i];
}

static void fold_binary(OpCall *call) {
    const Binary *binary = binaries;
    while (strcmp(binary->op, call->node->op) != 0)
        binary++;
    Content parts[2];
    int rank;
    int64_t length;
    if (call->in_count != 2 || !get_content(call, 0, &parts[0]) || !get_content(call, 1, &parts[1]) ||
        !broadcast(parts, 2, &rank, &length))
        return;
    Dim values[MAX_ELEMENTS];
    for (int64_t i = 0; i < length; i++)
        values[i] = binary->apply(call->symbols, element(&parts[0], i), element(&parts[1], i));
    set_content(call, 0, rank, values, length);
}

static void fold_where(OpCall *call) {
    Content parts[3];
    int rank;
    int64_t length;
    if (!get_content(call, 0, &parts[0]) || !get_content(call, 1, &parts[1]) || !get_content(call, 2, &parts[2]) ||
        !broadcast(parts, 3, &rank, &length))
        return;
    Dim values[MAX_ELEMENTS];
    for (int64_t i = 0; i < length; i++) {
        Dim condition = element(&parts[0], i), x = element(&parts[1], i), y = element(&parts[2], i);
        values[i] = condition == 1 ? x : condition == 0 ? y : x == y ? x : DIM_UNKNOWN;
    }
    set_content(call, 0, rank, values, length);
}

static void fold_unary(OpCall *call) {
    Content in;
    if (!get_content(call, 0, &in))
        return;
    bool not = strcmp(call->node->op, "Not") == 0, abs = strcmp(call->node->op, "Abs") == 0;
    Dim values[MAX_ELEMENTS];
    for (int64_t i = 0; i < in.count; i++) {
        Dim d = in.at[i];
        if (not )
            values[i] = negate(d);
        else if (abs && dim_never_negative(call->symbols, d))
            values[i] = d;
        else
            values[i] = !abs || dim_is_number(d) ? dim_sub(call->symbols, 0, d) : DIM_UNKNOWN;
    }
    set_content(call, 0, in.rank, values, in.count);
}

/* Over the whole vector: Reduce*(x) without axes, or along axis 0. */
static void fold_reduce(OpCall *call) {
    Content in, axes;
    int count;
    const int64_t *ints = node_ints(call->node, "axes", &count);
    bool along = !ints || (count == 1 && (ints[0] == 0 || ints[0] == -1));
    if (op_has(call, 1))
        along = get_content(call, 1, &axes) && axes.count == 1 && (axes.at[0] == 0 || axes.at[0] == -1);
    const Type *out = &call->out[0];
    if (!along || node_int(call->node, "noop_with_empty_axes", 0) || !get_content(call, 0, &in) || in.rank != 1 ||
        out->rank < 0 || out->rank > 1 || in.count == 0)
        return;
    const char *kind = call->node->op + strlen("Reduce");
    Dim total = in.at[0];
    for (int64_t i = 1; i < in.count; i++) {
        if (strcmp(kind, "Prod") == 0)
            total = dim_mul(call->symbols, total, in.at[i]);
        else if (strcmp(kind, "Sum") == 0)
            total = dim_add(call->symbols, total, in.at[i]);
        else if (strcmp(kind, "Max") == 0)
            total = dim_max(call->symbols, total, in.at[i]);
        else
            total = dim_min(call->symbols, total, in.at[i]);
    }
    set_content(call, 0, out->rank, &total, 1);
}

static const struct {
    const char *op;
    void (*fold)(OpCall *);
} folds[] = {
    {"Abs", fold_unary},         {"Add", fold_binary},       {"And", fold_binary},
    {"Cast", fold_same},         {"Concat", fold_concat},    {"ConstantOfShape", fold_constant_of_shape},
    {"Div", fold_binary},        {"Equal", fold_binary},     {"Expand", fold_expand},
    {"Gather", fold_gather},     {"Greater", fold_binary},   {"GreaterOrEqual", fold_binary},
    {"Identity", fold_same},     {"Less", fold_binary},      {"LessOrEqual", fold_binary},
    {"Max", fold_binary},        {"Min", fold_binary},       {"Mod", fold_binary},
    {"Mul", fold_binary},        {"Neg", fold_unary},        {"Not", fold_unary},
    {"Or", fold_binary},         {"ReduceMax", fold_reduce}, {"ReduceMin", fold_reduce},
    {"ReduceProd", fold_reduce}, {"ReduceSum", fold_reduce}, {"Reshape", fold_same},
    {"Shape", fold_shape},       {"Size", fold_size},        {"Slice", fold_slice},
    {"Split", fold_split},       {"Squeeze", fold_same},     {"Sub", fold_binary},
    {"Unsqueeze", fold_same},    {"Where", fold_where},
};

void graph_fold_content(OpCall *call) {
    for (size_t i = 0; i < COUNT(folds) && call->out_count && call->in_count && call->in[0]; i++) {
        if (strcmp(folds[i].op, call->node->op) == 0) {
            folds[i].fold(call);
            return;
        }
    }
}
