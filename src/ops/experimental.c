/* Operators that exporters wrote into ONNX's own domain before version 10, without their being in any released version of it:
 * Core ML's, WinML's and Caffe2's converters. ONNX Runtime runs them as its "experimental" operators, whose meaning holds here.
 */
#include "ops/ops.h"

/* ---- ImageScaler: y = scale * x + bias of its channel -------------------------------------------------------------------- */

#define MOST_CHANNELS 256 /* each is a line of its own */

static whet_status scaler_shape(OpCall *call) {
    const Type *x = call->in[0];
    const Attr *bias = op_attr(call, "bias");
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank != 4)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; 4 is wanted", x->rank);
    if (bias && bias->count > MOST_CHANNELS)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "bias has %zu elements; up to %d are supported", bias->count,
                        MOST_CHANNELS);
    if (bias && dim_is_extent(x->dims[1]) && (uint64_t)x->dims[1] != bias->count)
        return op_error(call, WHET_ERROR_DATA, "bias has %zu elements; %lld are wanted, one a channel", bias->count,
                        (long long)x->dims[1]);
    return op_same_shape(call, 0, 0);
}

static whet_status scaler_build(OpCall *call, Text *out) {
    const Attr *bias = op_attr(call, "bias");
    if (!bias || !bias->count)
        text_put(out, "y[..] = x[..] * scale\n");
    for (size_t c = 0; bias && c < bias->count; c++) {
        text_printf(out, "y[n, %zu, h, w] = x[n, %zu, h, w] * scale + (", c, c);
        text_double(out, (double)bias->floats[c]);
        text_put(out, ")\n");
    }
    return WHET_OK;
}

/* ---- Crop: the border off, left, top, right and bottom; then, if a scale is given, that height and width ------------------- */

static whet_status crop_extents(OpCall *call, int64_t *left, int64_t *top, Dim *height, Dim *width) {
    const Type *x = call->in[0];
    int borders, scales;
    const int64_t *border = op_ints(call, "border", &borders), *scale = op_ints(call, "scale", &scales);
    if (borders != 4 || (scales != 0 && scales != 2))
        return op_error(call, WHET_ERROR_FORMAT, "border has %d elements and scale %d; wanted 4, and none or 2", borders, scales);
    for (int i = 0; i < 4; i++)
        if (border[i] < 0 || border[i] > INT32_MAX)
            return op_error(call, WHET_ERROR_FORMAT, "border[%d] is %lld; wanted 0 or more, below 2^31", i, (long long)border[i]);
    for (int i = 0; i < scales; i++)
        if (scale[i] < 0 || scale[i] > INT32_MAX)
            return op_error(call, WHET_ERROR_FORMAT, "scale[%d] is %lld; wanted 0 or more, below 2^31", i, (long long)scale[i]);
    *left = border[0];
    *top = border[1];
    Symbols *symbols = call->symbols;
    Dim rows = dim_sub(symbols, x->dims[2], border[1] + border[3]), columns = dim_sub(symbols, x->dims[3], border[0] + border[2]);
    *height = scales ? scale[0] : rows;
    *width = scales ? scale[1] : columns;
    int64_t high, wide;
    if ((dim_number(symbols, rows, &high) && (high < 0 || (scales && high < *height))) ||
        (dim_number(symbols, columns, &wide) && (wide < 0 || (scales && wide < *width))))
        return op_error(call, WHET_ERROR_DATA, "the input is %lld x %lld; wanted no less than border and scale take",
                        (long long)x->dims[2], (long long)x->dims[3]);
    return WHET_OK;
}

static whet_status crop_shape(OpCall *call) {
    const Type *x = call->in[0];
    int64_t left, top;
    Dim height, width;
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank != 4)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; 4 is wanted", x->rank);
    whet_status status = crop_extents(call, &left, &top, &height, &width);
    if (!status)
        op_set_shape(call, 0, 4, (const Dim[]){x->dims[0], x->dims[1], height, width});
    return status;
}

static whet_status crop_build(OpCall *call, Text *out) {
    int64_t left, top;
    Dim height, width;
    whet_status status = crop_extents(call, &left, &top, &height, &width);
    if (!status)
        text_printf(out, "y[n, c, h:%lld, w:%lld] = x[n, c, h + %lld, w + %lld]", (long long)height, (long long)width,
                    (long long)top, (long long)left);
    return status;
}

#define GONE "experimental, and gone since version 10"
#define ROW(name, attrs, line)                                                                                                   \
    {"", name, 1, "x:T -> y:T", "T=float", attrs, shape_same, .text = "y[..] = " line}, {                                        \
        "", name, 10, .refused = GONE                                                                                            \
    }

// clang-format off
const OpRow ops_experimental[] = {
    ROW("Affine", "alpha:f=1 beta:f=0", "alpha * x[..] + beta"),
    {"", "Crop", 1, "x:T -> y:T", "T=float", "border:I! scale:I", crop_shape, .build = crop_build},
    {"", "Crop", 10, .refused = GONE},
    {"", "ImageScaler", 1, "x:T -> y:T", "T=float", "bias:F scale:f=1", scaler_shape, .build = scaler_build},
    {"", "ImageScaler", 10, .refused = GONE},
    ROW("ParametricSoftplus", "alpha:f=1 beta:f=1", "alpha * softplus(beta * x[..])"),
    ROW("Scale", "scale:f=1", "scale * x[..]"),
    ROW("ScaledTanh", "alpha:f=1 beta:f=1", "alpha * tanh(beta * x[..])"),
};
// clang-format on
const size_t ops_experimental_count = COUNT(ops_experimental);
