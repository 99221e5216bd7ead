/* The domain com.microsoft, quantized: QLinear operators, QGemm, and products with float results.
 *
 * All are notation of one pattern: dequantize, compute in f32, quantize. Scales and zero points are single numbers (rank 0, or
 * rank 1 with one element), or of weights one a column.
 */
#include "ops/native.h"
#include "ops/window.h"

#include <stdio.h>
#include <string.h>

static whet_status one_number(OpCall *call, int input) {
    if (!op_has(call, input) || call->in[input]->rank < 0)
        return WHET_OK;
    const Type *x = call->in[input];
    if (x->rank > 1 || (x->rank == 1 && dim_is_extent(x->dims[0]) && x->dims[0] != 1))
        return op_error(call, WHET_ERROR_DATA, "input %d must be one number", input);
    return WHET_OK;
}

static whet_status one_number_each(OpCall *call, const int *inputs, size_t count) {
    whet_status status = WHET_OK;
    for (size_t i = 0; status == WHET_OK && i < count; i++)
        status = one_number(call, inputs[i]);
    return status;
}

/* "[]" or "[0]", or "[n]" where there is one a column. */
static const char *at(const Type *x) {
    if (x->rank == 0)
        return "[]";
    return x->dims[0] == 1 ? "[0]" : "[n]";
}

/* "(f32(s32(A[..]) - s32(A_zero_point[])) * A_scale[])": its scale and zero point are inputs `scale` and `zero`. */
static void hole_dequantized(const OpCall *call, OpHoles *holes, char hole, const char *element, int scale,
                             const char *scale_name, int zero, const char *zero_name) {
    Text text;
    text_init(&text);
    text_printf(&text, "(f32(s32(%s)", element);
    if (op_has(call, zero))
        text_printf(&text, " - s32(%s%s)", zero_name, at(call->in[zero]));
    text_printf(&text, ") * %s%s)", scale_name, at(call->in[scale]));
    op_hole_text(holes, hole, &text);
}

/* "$T(round((VALUE$Q" is VALUE quantized: round(VALUE / scale) + zero, cast to the type. */
static void hole_quantized(const OpCall *call, OpHoles *holes, int scale, const char *scale_name, int zero,
                           const char *zero_name) {
    Text text;
    text_init(&text);
    text_printf(&text, ") / %s%s)", scale_name, at(call->in[scale]));
    if (op_has(call, zero))
        text_printf(&text, " + f32(%s%s)", zero_name, at(call->in[zero]));
    text_char(&text, ')');
    op_hole_text(holes, 'Q', &text);
}

/* ---- Elementwise --------------------------------------------------------------------------------------------------------- */

static whet_status binary_shape(OpCall *call) {
    static const int numbers[] = {1, 2, 4, 5, 6, 7};
    whet_status status = one_number_each(call, numbers, COUNT(numbers));
    return status == WHET_OK ? op_broadcast(call, &call->out[0], call->in[0], call->in[3]) : status;
}

/* The row's text of $A and $B. */
static whet_status binary_build(OpCall *call, Text *out) {
    OpHoles holes = op_holes(call);
    hole_dequantized(call, &holes, 'A', "A[..]", 1, "A_scale", 2, "A_zero_point");
    hole_dequantized(call, &holes, 'B', "B[..]", 4, "B_scale", 5, "B_zero_point");
    hole_quantized(call, &holes, 6, "C_scale", 7, "C_zero_point");
    op_put_filled(out, &holes, call->row->text);
    return WHET_OK;
}

static const int unary_numbers[] = {1, 2, 3, 4};

static whet_status unary_shape(OpCall *call) {
    whet_status status = one_number_each(call, unary_numbers, COUNT(unary_numbers));
    return status == WHET_OK ? op_same_shape(call, 0, 0) : status;
}

/* Those of an operand and a result; $E is element $i of the operand. */
static void unary_holes(const OpCall *call, OpHoles *holes) {
    op_hole_filled(holes, 'E', "X[$i]");
    hole_dequantized(call, holes, 'E', op_filling(holes, 'E'), 1, "X_scale", 2, "X_zero_point");
    hole_quantized(call, holes, 3, "Y_scale", 4, "Y_zero_point");
}

/* The row's text of z[..]. */
static whet_status unary_build(OpCall *call, Text *out) {
    OpHoles holes = op_holes(call);
    op_hole(&holes, 'i', "..");
    unary_holes(call, &holes);
    op_put_filled(out, &holes, "z[..] = $E\nY[..] = $T(round((");
    op_put_filled(out, &holes, call->row->text);
    op_put_filled(out, &holes, "$Q");
    return WHET_OK;
}

/* ---- Softmax ------------------------------------------------------------------------------------------------------------- */

static whet_status softmax_shape(OpCall *call) {
    const Type *x = call->in[0];
    if (x->rank >= 0) {
        int axis = op_axis(call, op_int(call, "axis"), x->rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        if (op_int(call, "opset") < 13 && axis != x->rank - 1)
            return op_error(call, WHET_ERROR_UNSUPPORTED, "axis %d of rank %d with opset %lld; only the last axis is supported",
                            axis, x->rank, (long long)op_int(call, "opset"));
    }
    return unary_shape(call);
}

static whet_status softmax_build(OpCall *call, Text *out) {
    int rank = call->in[0]->rank, axis = op_axis(call, op_int(call, "axis"), rank);
    bool reduced[WHET_MAX_RANK] = {false};
    reduced[axis] = true;
    OpHoles holes = op_holes(call);
    op_hole(&holes, 'a', "i%d", axis);
    op_hole_indices(&holes, 'i', rank, NULL, 0);
    op_hole_indices(&holes, 'r', rank, reduced, 0);
    unary_holes(call, &holes);
    op_put_filled(out, &holes,
                  "z[$i] = $E\n"
                  "top[$r] = max($a) z[$i]\n"
                  "e[$i] = exp(z[$i] - top[$r])\n"
                  "total[$r] = sum($a) e[$i]\n"
                  "Y[$i] = $T(round((e[$i] / total[$r]$Q");
    return WHET_OK;
}

/* ---- Pooling ------------------------------------------------------------------------------------------------------------- */

static whet_status global_shape(OpCall *call) {
    const Type *x = call->in[0];
    bool last = op_int(call, "channels_last") != 0;
    whet_status status = one_number_each(call, unary_numbers, COUNT(unary_numbers));
    if (status != WHET_OK || x->rank < 0)
        return status;
    if (x->rank < 3)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; at least 3 is wanted", x->rank);
    op_same_shape(call, 0, 0);
    for (int d = 1; d < x->rank; d++)
        if (d != (last ? x->rank - 1 : 1))
            call->out[0].dims[d] = 1;
    return WHET_OK;
}

static whet_status global_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int channel = op_int(call, "channels_last") ? x->rank - 1 : 1;
    bool pixels[WHET_MAX_RANK];
    int64_t count = 1;
    for (int d = 0; d < x->rank; d++) {
        pixels[d] = d != 0 && d != channel;
        count *= pixels[d] ? x->dims[d] : 1;
    }
    OpHoles holes = op_holes_reduced(call, pixels);
    op_hole_indices(&holes, 'i', x->rank, pixels, 'j');
    op_hole_indices(&holes, 'r', x->rank, pixels, 0);
    op_hole(&holes, 'n', "%lld.0", (long long)count);
    unary_holes(call, &holes);
    op_put_filled(out, &holes, "z[$r] = ($S$E) / $n\nY[$K] = $T(round((z[$r]$Q");
    return WHET_OK;
}

/* Channels may be the last dimension; windows are read as if they were the second. */
static whet_status average_window(OpCall *call, Window *window) {
    const Type *x = call->in[0];
    if (x->rank < 3)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; at least 3 is wanted", x->rank);
    Type plain = *x;
    if (op_int(call, "channels_last"))
        for (int d = 2; d < x->rank; d++)
            plain.dims[d] = x->dims[d - 1];
    whet_status status = window_read(call, x->rank - 2, NULL, window);
    return status ? status : window_forward(call, &plain, op_int(call, "ceil_mode") != 0, window);
}

static whet_status average_shape(OpCall *call) {
    const Type *x = call->in[0];
    Window window;
    whet_status status = one_number_each(call, unary_numbers, COUNT(unary_numbers));
    if (status != WHET_OK || x->rank < 0)
        return status;
    status = average_window(call, &window);
    if (status != WHET_OK)
        return status;
    bool last = op_int(call, "channels_last") != 0;
    op_same_shape(call, 0, 0);
    for (int i = 0; i < window.axes; i++)
        call->out[0].dims[i + (last ? 1 : 2)] = window.out[i];
    return WHET_OK;
}

static whet_status average_build(OpCall *call, Text *out) {
    Window window;
    whet_status status = average_window(call, &window);
    if (status)
        return status;
    bool last = op_int(call, "channels_last") != 0;
    const Type *y = &call->out[0];
    OpHoles holes = op_holes(call);
    window_holes(&holes, &window, "");
    window_put_counts(out, &holes, &window, op_int(call, "count_include_pad") != 0, DT_F32);
    op_hole_more(&holes, 'I', 'i', 0, window.axes);
    op_hole_more(&holes, 'P', 'p', 0, window.axes);
    op_hole(&holes, 'n', "n:%lld", (long long)y->dims[0]);
    op_hole(&holes, 'c', "c:%lld", (long long)y->dims[last ? y->rank - 1 : 1]);
    op_hole_filled(&holes, 'i', last ? "n$I, c" : "n, c$I");
    op_hole_filled(&holes, 'p', last ? "n$P, c" : "n, c$P");
    unary_holes(call, &holes);
    op_put_filled(out, &holes, "d[$i] = $E\n");
    op_put_filled(out, &holes,
                  last ? "z[$n$M, $c] = (sum($Z) d[n$X, c]$G) / $N\n" : "z[$n, $c$M] = (sum($Z) d[n, c$X]$G) / $N\n");
    op_put_filled(out, &holes, "Y[$p] = $T(round((z[$p]$Q");
    return WHET_OK;
}

/* ---- Concat -------------------------------------------------------------------------------------------------------------- */

/* Inputs: Y_scale, Y_zero_point, then tensor, scale, zero point for each part. */
static whet_status concat_shape(OpCall *call) {
    int parts = (call->in_count - 2) / 3;
    if (call->in_count < 5 || (call->in_count - 2) % 3)
        return op_error(call, WHET_ERROR_FORMAT, "has %d inputs; 2 and three for each part are wanted", call->in_count);
    if (3 * parts + 3 > KERNEL_MAX_TENSORS)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "%d parts are too many; %d is the most", parts, KERNEL_MAX_TENSORS / 3 - 1);
    if (!op_ranks_known(call))
        return WHET_OK;
    const Type *first = call->in[2];
    int axis = op_axis(call, op_int(call, "axis"), first->rank);
    if (axis < 0)
        return WHET_ERROR_FORMAT;
    call->out[0].type = call->in[1]->type;
    op_set_shape(call, 0, first->rank, first->dims);
    for (int p = 0; p < parts; p++) {
        const Type *x = call->in[2 + 3 * p];
        whet_status status = one_number_each(call, (const int[]){3 + 3 * p, 4 + 3 * p}, 2);
        if (status != WHET_OK)
            return status;
        if (x->rank != first->rank || (x->type != DT_U8 && x->type != DT_S8))
            return op_error(call, WHET_ERROR_DATA, "part %d is %s of rank %d; wanted u8 or s8 of rank %d", p, dtype_name(x->type),
                            x->rank, first->rank);
        for (int d = 0; d < x->rank; d++)
            if (d != axis && dim_is_extent(x->dims[d]) && dim_is_extent(first->dims[d]) && x->dims[d] != first->dims[d])
                return op_error(call, WHET_ERROR_DATA, "dimension %d of part %d is %lld; %lld is wanted", d, p,
                                (long long)x->dims[d], (long long)first->dims[d]);
        if (p)
            call->out[0].dims[axis] = dim_add(call->symbols, call->out[0].dims[axis], x->dims[axis]);
    }
    return one_number_each(call, (const int[]){0, 1}, 2);
}

static whet_status concat_build(OpCall *call, Text *out) {
    int rank = call->out[0].rank, axis = op_axis(call, op_int(call, "axis"), rank), parts = (call->in_count - 2) / 3;
    int64_t offset = 0;
    OpHoles holes = op_holes(call);
    hole_quantized(call, &holes, 0, "Y_scale", 1, "Y_zero_point");
    op_hole_indices(&holes, 'i', rank, NULL, 0);
    op_hole_indices(&holes, 'a', axis + 1, NULL, 0);
    op_hole_more(&holes, 'b', 'i', axis + 1, rank);
    for (int p = 0; p < parts; p++) {
        char x[24], scale[24], zero[24];
        snprintf(x, sizeof x, "inputs%d", 3 * p);
        snprintf(scale, sizeof scale, "inputs%d", 3 * p + 1);
        snprintf(zero, sizeof zero, "inputs%d", 3 * p + 2);
        int64_t extent = call->in[2 + 3 * p]->dims[axis];
        if (extent == 0)
            continue;
        op_hole(&holes, 'X', "%s[%s]", x, op_filling(&holes, 'i'));
        hole_dequantized(call, &holes, 'X', op_filling(&holes, 'X'), 3 + 3 * p, scale, 4 + 3 * p, zero);
        op_hole_number(&holes, 'o', offset);
        op_put_filled(out, &holes, offset ? "Y[$a + $o$b] = $T(round(($X$Q\n" : "Y[$i] = $T(round(($X$Q\n");
        offset += extent;
    }
    return WHET_OK;
}

/* ---- Products ------------------------------------------------------------------------------------------------------------ */

static whet_status column_or_one(OpCall *call, int input, Dim columns) {
    if (!op_has(call, input) || call->in[input]->rank < 0)
        return WHET_OK;
    const Type *x = call->in[input];
    if (x->rank > 1 ||
        (x->rank == 1 && dim_is_extent(x->dims[0]) && dim_is_extent(columns) && x->dims[0] != 1 && x->dims[0] != columns))
        return op_error(call, WHET_ERROR_DATA, "input %d must be one number, or one a column", input);
    return WHET_OK;
}

/* A[.., m, k] by B[k, n], or swapped. */
static whet_status product_shape(OpCall *call, int b_input, bool swap_a, bool swap_b, Dim *columns) {
    const Type *a = call->in[0], *b = call->in[b_input];
    *columns = DIM_UNKNOWN;
    if (a->rank < 0 || b->rank < 0)
        return WHET_OK;
    if (a->rank < 2 || b->rank != 2)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "ranks %d and %d; 2 or more and 2 are supported", a->rank, b->rank);
    Dim k = a->dims[a->rank - 1 - swap_a], other = b->dims[swap_b];
    if (dim_is_extent(k) && dim_is_extent(other) && k != other)
        return op_error(call, WHET_ERROR_DATA, "columns of A: %lld, rows of B: %lld; wanted the same", (long long)k,
                        (long long)other);
    *columns = b->dims[!swap_b];
    op_set_shape(call, 0, a->rank, a->dims);
    call->out[0].dims[a->rank - 2] = a->dims[a->rank - 2 + swap_a];
    call->out[0].dims[a->rank - 1] = *columns;
    return WHET_OK;
}

static whet_status gemm_shape(OpCall *call) {
    Dim columns;
    whet_status status = product_shape(call, 3, op_int(call, "transA") != 0, op_int(call, "transB") != 0, &columns);
    if (status == WHET_OK && call->in[0]->rank > 2)
        status = op_error(call, WHET_ERROR_DATA, "A has rank %d; 2 is wanted", call->in[0]->rank);
    for (int i = 4; status == WHET_OK && i < 6; i++)
        status = column_or_one(call, i, columns);
    call->out[0].type = op_has(call, 7) ? call->in[0]->type : DT_F32;
    return status == WHET_OK ? one_number_each(call, (const int[]){1, 2, 7, 8}, 4) : status;
}

static whet_status gemm_build(OpCall *call, Text *out) {
    const char *a = op_int(call, "transA") ? "k, m" : "m, k", *b = op_int(call, "transB") ? "n, k" : "k, n";
    text_printf(out, "s[m, n] = sum(k) (s32(A[%s]) - s32(a_zero_point%s)) * (s32(B[%s]) - s32(b_zero_point%s))\n", a,
                at(call->in[2]), b, at(call->in[5]));
    text_put(out, "z[m, n] = f32(s[m, n]");
    if (op_has(call, 6))
        text_printf(out, " + %s",
                    call->in[6]->rank == 2                               ? (call->in[6]->dims[0] == 1 ? "C[0, n]" : "C[m, n]")
                    : call->in[6]->rank == 1 && call->in[6]->dims[0] > 1 ? "C[n]"
                    : call->in[6]->rank == 1                             ? "C[0]"
                                                                         : "C[]");
    text_printf(out, ") * a_scale%s * b_scale%s * alpha\n", at(call->in[1]), at(call->in[4]));
    text_put(out, "Y[m, n] = ");
    if (!op_has(call, 7)) {
        text_put(out, "z[m, n]");
        return WHET_OK;
    }
    OpHoles holes = op_holes(call);
    hole_quantized(call, &holes, 7, "y_scale", 8, "y_zero_point");
    op_put_filled(out, &holes, "$T(round((z[m, n]$Q");
    return WHET_OK;
}

static whet_status to_float_shape(OpCall *call) {
    Dim columns;
    whet_status status = product_shape(call, 1, false, false, &columns);
    if (status == WHET_OK)
        status = one_number_each(call, (const int[]){2, 4}, 2);
    for (int i = 3; status == WHET_OK && i < 7; i += i == 3 ? 2 : 1)
        status = column_or_one(call, i, columns);
    return status;
}

static void put_bias(OpCall *call, Text *out, int input) {
    if (op_has(call, input))
        text_printf(out, " + bias%s", at(call->in[input]));
}

static whet_status to_float_build(OpCall *call, Text *out) {
    text_put(out, "Y[.., m, n] = f32(sum(k) ");
    text_put(out, op_has(call, 4) ? "(s32(A[.., m, k]) - s32(a_zero_point" : "s32(A[.., m, k])");
    if (op_has(call, 4))
        text_printf(out, "%s))", at(call->in[4]));
    text_put(out, op_has(call, 5) ? " * (s32(B[k, n]) - s32(b_zero_point" : " * s32(B[k, n])");
    if (op_has(call, 5))
        text_printf(out, "%s))", at(call->in[5]));
    text_printf(out, ") * a_scale%s * b_scale%s", at(call->in[2]), at(call->in[3]));
    put_bias(call, out, 6);
    return WHET_OK;
}

static whet_status dynamic_shape(OpCall *call) {
    Dim columns;
    whet_status status = product_shape(call, 1, false, false, &columns);
    for (int i = 2; status == WHET_OK && i < 5; i++)
        status = column_or_one(call, i, columns);
    return status;
}

/* A is quantized as DynamicQuantizeLinear does it, over the whole tensor. */
static whet_status dynamic_build(OpCall *call, Text *out) {
    int rank = call->in[0]->rank;
    Text axes;
    text_init(&axes);
    op_put_indices(&axes, "i", 0, rank);
    text_printf(out, "low[] = min(min(%s) A[%s], 0)\nhigh[] = max(max(%s) A[%s], 0)\n", axes.data, axes.data, axes.data,
                axes.data);
    text_free(&axes);
    text_put(out, "scale[] = select(high[] == low[], 1, (high[] - low[]) / 255)\n"
                  "zero[] = round(-low[] / scale[])\n"
                  "q[.., m, k] = s32(max(min(round(A[.., m, k] / scale[]) + zero[], 255), 0)) - s32(zero[])\n"
                  "Y[.., m, n] = f32(sum(k) q[.., m, k] * ");
    if (op_has(call, 3))
        text_printf(out, "(s32(B[k, n]) - s32(b_zero_point%s)))", at(call->in[3]));
    else
        text_put(out, "s32(B[k, n]))");
    text_printf(out, " * scale[] * b_scale%s", at(call->in[2]));
    put_bias(call, out, 4);
    return WHET_OK;
}

#define MICROSOFT "com.microsoft"
#define BINARY    "A:T, A_scale:f32, A_zero_point?:T, B:T, B_scale:f32, B_zero_point?:T, C_scale:f32, C_zero_point?:T -> C:T"
#define UNARY     "X:T, X_scale:f32, X_zero_point?:T, Y_scale:f32, Y_zero_point?:T -> Y:T"
#define GEMM      "A:A, a_scale:f32, a_zero_point:A, B:B, b_scale:f32, b_zero_point:B, C?:s32, y_scale?:f32, y_zero_point?:A -> Y:*"
#define BYTES     "T=u8|s8"

// clang-format off
const OpRow ops_contrib_quantized[] = {
    {MICROSOFT, "DynamicQuantizeMatMul", 1, "A:f32, B:T, b_scale:f32, b_zero_point?:T, bias?:f32 -> Y:f32", BYTES, "", dynamic_shape, .build = dynamic_build},
    {MICROSOFT, "MatMulIntegerToFloat", 1, "A:A, B:B, a_scale:f32, b_scale:f32, a_zero_point?:A, b_zero_point?:B, bias?:f32 -> Y:f32", "A=u8|s8 B=u8|s8", "", to_float_shape, .build = to_float_build},
    {MICROSOFT, "QGemm", 1, GEMM, "A=u8|s8 B=u8|s8", "alpha:f=1 transA:i=0 transB:i=0", gemm_shape, .build = gemm_build},
    {MICROSOFT, "QLinearAdd", 1, BINARY, BYTES, "", binary_shape, .text = "C[..] = $T(round(($A + $B$Q", .build = binary_build},
    {MICROSOFT, "QLinearAveragePool", 1, UNARY, BYTES, AUTO_PAD " ceil_mode:i=0 channels_last:i=0 count_include_pad:i=0 kernel_shape:I! pads:I strides:I", average_shape, .build = average_build},
    {MICROSOFT, "QLinearConcat", 1, "Y_scale:f32, Y_zero_point:T, inputs...:* -> Y:T", BYTES, "axis:i!", concat_shape, .build = concat_build},
    {MICROSOFT, "QLinearGlobalAveragePool", 1, UNARY, BYTES, "channels_last:i=0", global_shape, .build = global_build},
    {MICROSOFT, "QLinearLeakyRelu", 1, UNARY, BYTES, "alpha:f=0.01", unary_shape, .text = "select(z[..] >= 0, z[..], alpha * z[..])", .build = unary_build},
    {MICROSOFT, "QLinearMul", 1, BINARY, BYTES, "", binary_shape, .text = "C[..] = $T(round(($A * $B$Q", .build = binary_build},
    {MICROSOFT, "QLinearSigmoid", 1, UNARY, BYTES, "", unary_shape, .text = "1 / (1 + exp(-z[..]))", .build = unary_build},
    {MICROSOFT, "QLinearSoftmax", 1, UNARY, BYTES, "axis:i=-1 opset:i!", softmax_shape, .build = softmax_build},
};
// clang-format on
const size_t ops_contrib_quantized_count = COUNT(ops_contrib_quantized);
