/* Reductions: Reduce*, ArgMax and ArgMin, Softmax and its kin, running sums.
 *
 * Axes are attributes or contents, so builders write the text. Axis d of the input is called i<d> where it is kept and j<d>
 * where it is reduced: ReduceSum of axis 1 of three, kept as 1, is
 *
 *     y[i0, 0, i2] = sum(j1) x[i0, j1, i2]
 *
 * which the row says as "y[$O] = $T($S$W(x[$J]))" with holes (template.c). f16 and bf16 are computed in f32 and rounded once. */
#include <math.h>
#include <string.h>

#include "ops/native.h"
#include "ops/ops.h"

/* ---- Which axes -------------------------------------------------------------------------------------------------- */

typedef struct Axes {
    bool known;
    bool reduced[WHET_MAX_RANK];
    int count; /* of reduced ones */
} Axes;

static void reduce_all(Axes *axes, int rank) {
    axes->count = rank;
    for (int d = 0; d < rank; d++)
        axes->reduced[d] = true;
}

/* The axes of a Reduce*: an attribute in old versions, an input in new ones. Not known (yet) is no error. */
static whet_status get_axes(OpCall *call, Axes *axes) {
    *axes = (Axes){0};
    int rank = call->in[0]->rank;
    AttrSpec spec;
    bool as_input = !signature_find_attr(call->row->attrs, "axes", &spec);
    const int64_t *list = NULL;
    int64_t count = 0;
    if (as_input && op_has(call, 1) && !op_content_ints(call, 1, &list, &count))
        return WHET_OK;
    if (!as_input) {
        int given;
        list = op_ints(call, "axes", &given);
        count = given;
    }
    axes->known = true;
    if (!count) {
        if (!(as_input && op_int(call, "noop_with_empty_axes")))
            reduce_all(axes, rank);
        return WHET_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        int axis = op_axis(call, list[i], rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        if (axes->reduced[axis])
            return op_error(call, WHET_ERROR_FORMAT, "axis %d is given twice", axis);
        axes->reduced[axis] = true;
        axes->count++;
    }
    return WHET_OK;
}

static void set_reduced_shape(OpCall *call, const Axes *axes, bool keep) {
    const Type *x = call->in[0];
    Dim dims[WHET_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < x->rank; d++)
        if (!axes->reduced[d])
            dims[rank++] = x->dims[d];
        else if (keep)
            dims[rank++] = 1;
    op_set_shape(call, 0, rank, dims);
}

static whet_status shape_reduce(OpCall *call) {
    Axes axes;
    if (call->in[0]->rank < 0)
        return WHET_OK;
    whet_status status = get_axes(call, &axes);
    if (!status && axes.known)
        set_reduced_shape(call, &axes, op_int(call, "keepdims") != 0);
    return status;
}

/* ---- Text -------------------------------------------------------------------------------------------------------- */

/* The row's text with these holes, besides those of op_holes_reduced: $O the result's indices, axes kept or not; $F the type that
 * roots and logarithms are computed in. */
static whet_status build_reduce(OpCall *call, Text *out) {
    Axes axes;
    whet_status status = get_axes(call, &axes);
    if (status)
        return status;
    const Type *x = call->in[0];
    OpHoles holes = op_holes_reduced(call, axes.reduced);
    op_hole_indices(&holes, 'O', x->rank, axes.reduced, op_int(call, "keepdims") ? '0' : 0);
    op_hole(&holes, 'F', "%s", dtype_name(dtype_kind(x->type) == KIND_FLOAT ? op_wide(x->type) : DT_F64));
    op_put_filled(out, &holes, call->row->text);
    return WHET_OK;
}

/* About the largest element, so that nothing overflows; an infinite one is left where it is. */
#define LOG_SUM_EXP                                                                                                              \
    "top[$K] = $M$F(x[$J])\nshift[$K] = select(isinf(top[$K]), 0, top[$K])\n"                                                    \
    "y[$O] = $T(log($Sexp($F(x[$J]) - shift[$K])) + shift[$K])"

/* ---- ArgMax and ArgMin ------------------------------------------------------------------------------------------- */

static whet_status arg_axis(OpCall *call, Axes *axes, int *axis) {
    *axes = (Axes){0};
    *axis = op_axis(call, op_int(call, "axis"), call->in[0]->rank);
    if (*axis < 0)
        return WHET_ERROR_FORMAT;
    axes->reduced[*axis] = true;
    axes->count = 1;
    return WHET_OK;
}

static whet_status shape_arg(OpCall *call) {
    Axes axes;
    int axis;
    if (call->in[0]->rank < 0)
        return WHET_OK;
    whet_status status = arg_axis(call, &axes, &axis);
    if (!status)
        set_reduced_shape(call, &axes, op_int(call, "keepdims") != 0);
    return status;
}

/* The last of equals is the first one seen from the end. */
static whet_status build_arg(OpCall *call, Text *out, const char *function) {
    Axes axes;
    int axis;
    whet_status status = arg_axis(call, &axes, &axis);
    if (status)
        return status;
    const Type *x = call->in[0];
    long long last = (long long)x->dims[axis] - 1;
    if (last < 0)
        return op_error(call, WHET_ERROR_DATA, "axis %d is empty: it has no largest element", axis);
    bool from_end = op_int(call, "select_last_index") != 0;
    OpHoles holes = op_holes_reduced(call, axes.reduced);
    op_hole_indices(&holes, 'O', x->rank, axes.reduced, op_int(call, "keepdims") ? '0' : 0);
    op_put_filled(out, &holes, "y[$O] = ");
    if (from_end)
        text_printf(out, "%lld - ", last);
    text_printf(out, "(%s(j%d:%lld) x[", function, axis, last + 1);
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "");
        if (d == axis && from_end)
            text_printf(out, "%lld - j%d", last, d);
        else
            text_printf(out, "%c%d", d == axis ? 'j' : 'i', d);
    }
    text_put(out, "])");
    return WHET_OK;
}

static whet_status build_argmax(OpCall *call, Text *out) {
    return build_arg(call, out, "argmax");
}

static whet_status build_argmin(OpCall *call, Text *out) {
    return build_arg(call, out, "argmin");
}

/* ---- Softmax and its kin ----------------------------------------------------------------------------------------- */

/* From version 13 one axis; before, the input counts as a matrix whose rows begin at `axis`. */
static whet_status softmax_axes(OpCall *call, Axes *axes) {
    *axes = (Axes){0};
    int rank = call->in[0]->rank;
    if (rank == 0)
        return WHET_OK;
    int64_t given = op_int(call, "axis");
    bool rows = call->row->since < 13;
    if (rows && given == rank) /* rows of one element */
        return WHET_OK;
    int axis = op_axis(call, given, rank);
    if (axis < 0)
        return WHET_ERROR_FORMAT;
    for (int d = axis; d < (rows ? rank : axis + 1); d++) {
        axes->reduced[d] = true;
        axes->count++;
    }
    return WHET_OK;
}

static whet_status shape_softmax(OpCall *call) {
    Axes axes;
    if (call->in[0]->rank < 0)
        return WHET_OK;
    whet_status status = softmax_axes(call, &axes);
    return status ? status : op_same_shape(call, 0, 0);
}

/* y is made of these. */
#define EXPONENTIALS "top[$K] = $M$W(x[$J])\ne[$I] = exp($W(x[$I]) - top[$K])\ntotal[$K] = $Se[$J]\n"

static whet_status build_softmax(OpCall *call, Text *out) {
    Axes axes;
    whet_status status = softmax_axes(call, &axes);
    if (status || call->in[0]->type == DT_BF16) /* which run_softmax_bf16 does */
        return status;
    OpHoles holes = op_holes_reduced(call, axes.reduced);
    if (call->row->since >= 13) /* it is a function of several steps, each rounded to the type */
        op_hole(&holes, 'W', "%s", op_filling(&holes, 'T'));
    op_put_filled(out, &holes, EXPONENTIALS "y[$I] = $T(e[$I] / total[$K])\n");
    return WHET_OK;
}

static float rounded(float value) {
    return bf16_to_f32(f32_to_bf16(value));
}

/* One row of n elements, `stride` apart. */
static void softmax_row_bf16(const uint16_t *x, uint16_t *y, int64_t n, int64_t stride) {
    float top = -INFINITY, total = 0;
    for (int64_t j = 0; j < n; j++) {
        float value = bf16_to_f32(x[j * stride]);
        top = value > top || isnan(value) ? value : top;
    }
    for (int64_t j = 0; j < n; j++) {
        float e = rounded(expf(rounded(bf16_to_f32(x[j * stride]) - top)));
        y[j * stride] = f32_to_bf16(e);
        total = rounded(total + e);
    }
    for (int64_t j = 0; j < n; j++)
        y[j * stride] = f32_to_bf16(bf16_to_f32(y[j * stride]) / total);
}

/* The specification's answers for bf16 round the sum after every addition, in order, which no kernel does: so it is C. Models
 * whose weights are bf16 do not come here, for they are computed in f32 (graph/passes/widen.c). */
static whet_status run_softmax_bf16(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    Axes axes;
    whet_status status = softmax_axes(run->call, &axes);
    if (status)
        return status;
    uint16_t *y = op_output(run, 0, DT_BF16, x->rank, x->dims);
    if (!y)
        return WHET_ERROR_MEMORY;
    int64_t outer = 1, n = 1, inner = 1; /* the reduced axes are neighbours */
    for (int d = 0, behind = 0; d < x->rank; d++) {
        behind |= axes.reduced[d];
        *(axes.reduced[d] ? &n : behind ? &inner : &outer) *= x->dims[d];
    }
    for (int64_t row = 0; n && row < outer * inner; row++) {
        int64_t at = row / inner * n * inner + row % inner;
        softmax_row_bf16((const uint16_t *)x->data + at, y + at, n, inner);
        if (row % 1024 == 0 && (status = op_interrupted(run)))
            return status;
    }
    return WHET_OK;
}

static whet_status build_log_softmax(OpCall *call, Text *out) {
    Axes axes;
    whet_status status = softmax_axes(call, &axes);
    if (status)
        return status;
    OpHoles holes = op_holes_reduced(call, axes.reduced);
    op_put_filled(out, &holes, EXPONENTIALS "y[$I] = $T($W(x[$I]) - top[$K] - log(total[$K]))\n");
    return WHET_OK;
}

/* The position within a row, as a number: "i1*12 + i2*4 + i3*1" */
static void hole_position(OpHoles *holes, char name, const Type *x, const Axes *axes, char stem) {
    Text text;
    text_init(&text);
    long long stride = 1;
    for (int d = x->rank - 1; d >= 0; d--)
        if (axes->reduced[d]) {
            text_printf(&text, "%s%c%d*%lld", text.length ? " + " : "", stem, d, stride);
            stride *= x->dims[d];
        }
    op_hole(holes, name, "%s", text.length ? text.data : "0");
    text_free(&text);
}

/* 1 at the first of the largest elements of each row, 0 elsewhere. */
static whet_status build_hardmax(OpCall *call, Text *out) {
    Axes axes;
    whet_status status = softmax_axes(call, &axes);
    if (status)
        return status;
    OpHoles holes = op_holes_reduced(call, axes.reduced);
    hole_position(&holes, 'p', call->in[0], &axes, 'i');
    hole_position(&holes, 'q', call->in[0], &axes, 'j');
    op_put_filled(out, &holes,
                  "top[$K] = $Mx[$J]\n"
                  "first[$K] = $Lselect(x[$J] == top[$K], s64($q), s64(9223372036854775807))\n"
                  "y[$I] = select(first[$K] == s64($p), $T(1), $T(0))\n");
    return WHET_OK;
}

/* ---- Running sums and products: in C, for a kernel would look at every element again for each result ------------- */

typedef struct Scan {
    int64_t outer, length, inner;
    bool exclusive, reverse, product;
} Scan;

static int64_t scan_step(const Scan *scan, int64_t step) {
    return (scan->reverse ? scan->length - 1 - step : step) * scan->inner;
}

/* Accumulates in A; integers wrap as unsigned. */
#define SCAN(name, T, A, load, store)                                                                                            \
    static void scan_##name(const Scan *scan, const T *x, T *y) {                                                                \
        for (int64_t o = 0; o < scan->outer; o++)                                                                                \
            for (int64_t i = 0; i < scan->inner; i++) {                                                                          \
                int64_t base = o * scan->length * scan->inner + i;                                                               \
                A total = scan->product ? 1 : 0;                                                                                 \
                for (int64_t step = 0; step < scan->length; step++) {                                                            \
                    int64_t at = base + scan_step(scan, step);                                                                   \
                    A value = load(x[at]);                                                                                       \
                    A next = scan->product ? (A)(total * value) : (A)(total + value);                                            \
                    y[at] = store(scan->exclusive ? total : next);                                                               \
                    total = next;                                                                                                \
                }                                                                                                                \
            }                                                                                                                    \
    }
SCAN(f32, float, float, , )
SCAN(f64, double, double, , )
SCAN(u32, uint32_t, uint32_t, , )
SCAN(u64, uint64_t, uint64_t, , )
SCAN(f16, uint16_t, float, f16_to_f32, f32_to_f16)
SCAN(bf16, uint16_t, float, bf16_to_f32, f32_to_bf16)

static whet_status run_scan(OpRun *run, bool product) {
    const Tensor *x = op_input(run, 0);
    const Tensor *given = op_input(run, 1);
    if (whet_tensor_count(given) != 1)
        return op_error(run->call, WHET_ERROR_DATA, "the axis has %lld elements; wanted one",
                        (long long)whet_tensor_count(given));
    int axis = op_axis(run->call, native_int_at(given, 0), x->rank);
    if (axis < 0)
        return WHET_ERROR_DATA;
    Scan scan = {.outer = 1, .length = x->dims[axis], .inner = 1, .product = product};
    scan.exclusive = op_int(run->call, "exclusive") != 0;
    scan.reverse = op_int(run->call, "reverse") != 0;
    for (int d = 0; d < x->rank; d++)
        *(d < axis ? &scan.outer : &scan.inner) *= d == axis ? 1 : x->dims[d];
    void *y = op_output(run, 0, (DType)x->type, x->rank, x->dims);
    if (!y)
        return native_failed(run);
    switch ((DType)x->type) {
    case DT_F32: scan_f32(&scan, x->data, y); break;
    case DT_F64: scan_f64(&scan, x->data, y); break;
    case DT_S32:
    case DT_U32: scan_u32(&scan, x->data, y); break;
    case DT_S64:
    case DT_U64: scan_u64(&scan, x->data, y); break;
    case DT_F16: scan_f16(&scan, x->data, y); break;
    default: scan_bf16(&scan, x->data, y); break;
    }
    return WHET_OK;
}

static whet_status run_cumsum(OpRun *run) {
    return run_scan(run, false);
}

static whet_status run_cumprod(OpRun *run) {
    return run_scan(run, true);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

// clang-format off
#define REDUCE(name, since, types, text_)                                                                                        \
    {"", name, 1, "x:T -> y:T", "T=" types, "axes:I keepdims:i=1", shape_reduce, .text = text_, .build = build_reduce},          \
    {"", name, since, "x:T, axes?#:s64 -> y:T", "T=" types, "keepdims:i=1 noop_with_empty_axes:i=0", shape_reduce,               \
     .text = text_, .build = build_reduce}
#define ARG(name, function)                                                                                                      \
    {"", name, 1, "x:T -> y:s64", "T=num", "axis:i=0 keepdims:i=1 select_last_index:i=0", shape_arg, .build = function}
#define SOFTMAX(name, types, function)                                                                                           \
    {"", name, 1, "x:T -> y:T", "T=" types, "axis:i=1", shape_softmax, .build = function},                                       \
    {"", name, 13, "x:T -> y:T", "T=" types, "axis:i=-1", shape_softmax, .build = function}
#define SCANNING(name, since, function)                                                                                          \
    {"", name, since, "x:T, axis#:U -> y:T", "T=float|s32|s64|u32|u64 U=s32|s64", "exclusive:i=0 reverse:i=0", shape_same,       \
     .run = function}

const OpRow ops_reduce[] = {
    ARG("ArgMax", build_argmax),
    ARG("ArgMin", build_argmin),
    SCANNING("CumProd", 26, run_cumprod),
    SCANNING("CumSum", 11, run_cumsum),
    SOFTMAX("Hardmax", "float", build_hardmax),
    SOFTMAX("LogSoftmax", "float", build_log_softmax),
    REDUCE("ReduceL1", 18, "num", "y[$O] = $T($Sabs($W(x[$J])))"),
    REDUCE("ReduceL2", 18, "num", "y[$O] = $T(sqrt($S$F(x[$J]) * $F(x[$J])))"),
    REDUCE("ReduceLogSum", 18, "num", "y[$O] = $T(log($S$F(x[$J])))"),
    REDUCE("ReduceLogSumExp", 18, "num", LOG_SUM_EXP),
    REDUCE("ReduceMax", 18, "num|bool", "y[$O] = $T($M$W(x[$J]))"),
    REDUCE("ReduceMean", 18, "num", "y[$O] = $T(($S$W(x[$J])) / $N)"),
    REDUCE("ReduceMin", 18, "num|bool", "y[$O] = $T($L$W(x[$J]))"),
    REDUCE("ReduceProd", 18, "num", "y[$O] = $T($P$W(x[$J]))"),
    REDUCE("ReduceSum", 13, "num", "y[$O] = $T($S$W(x[$J]))"),
    REDUCE("ReduceSumSquare", 18, "num", "y[$O] = $T($S$W(x[$J]) * $W(x[$J]))"),
    {"", "Softmax", 1, "x:T -> y:T", "T=float", "axis:i=1", shape_softmax, .build = build_softmax, .run = run_softmax_bf16},
    {"", "Softmax", 13, "x:T -> y:T", "T=float", "axis:i=-1", shape_softmax, .build = build_softmax, .run = run_softmax_bf16},
};
// clang-format on
const size_t ops_reduce_count = COUNT(ops_reduce);
