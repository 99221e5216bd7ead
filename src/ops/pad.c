/* Pad (constant, edge, reflect, wrap; amounts by attribute or input) and CenterCropPad.
 *
 * A constant pad is a guarded read; the other modes are index arithmetic on the padded axes alone.
 */
#include "ops/native.h"

#include <stdio.h>
#include <string.h>

typedef enum PadMode { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_WRAP } PadMode; /* in the order of the rows */

static PadMode pad_mode(const OpCall *call) {
    return (PadMode)op_choice(call, "mode");
}

/* Amounts before and after each axis, of any sign; *known false where they are not known yet. */
static whet_status pad_amounts(OpCall *call, int64_t *before, int64_t *after, bool *known) {
    int rank = call->in[0]->rank, given = 0;
    const int64_t *pads, *axes = NULL;
    int64_t count = 0, axis_count = rank;
    *known = true;
    if (call->row->since < 11) {
        pads = op_ints(call, "pads", &given);
        count = given;
    } else if (!op_content_ints(call, 1, &pads, &count)) {
        *known = false;
    }
    if (call->row->since >= 18 && op_has(call, 3) && !op_content_ints(call, 3, &axes, &axis_count))
        *known = false;
    if (!*known)
        return WHET_OK;
    if (count != 2 * axis_count)
        return op_error(call, WHET_ERROR_DATA, "%lld pads are given; wanted %lld, two an axis", (long long)count,
                        2 * (long long)axis_count);
    memset(before, 0, (size_t)rank * sizeof *before);
    memset(after, 0, (size_t)rank * sizeof *after);
    for (int64_t i = 0; i < axis_count; i++) {
        int axis = op_axis(call, axes ? axes[i] : i, rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        before[axis] = pads[i];
        after[axis] = pads[axis_count + i];
    }
    return WHET_OK;
}

static whet_status pad_dim(OpCall *call, PadMode mode, int d, int64_t before, int64_t after) {
    Dim extent = call->in[0]->dims[d];
    int64_t total, padded;
    if (!checked_add(before, after, &total) || before == INT64_MIN || after == INT64_MIN ||
        (dim_is_extent(extent) && (!checked_add(extent, total, &padded) || padded < 0)))
        return op_error(call, WHET_ERROR_DATA, "dimension %d, %lld, cannot be padded by %lld and %lld", d, (long long)extent,
                        (long long)before, (long long)after);
    if (mode != PAD_CONSTANT && extent == 0 && total > 0)
        return op_error(call, WHET_ERROR_DATA, "dimension %d is 0: there is nothing to pad with", d);
    call->out[0].dims[d] = total ? dim_add(call->symbols, extent, dim_const(call->symbols, total)) : extent;
    return WHET_OK;
}

static whet_status pad_shape(OpCall *call) {
    const Type *x = call->in[0];
    PadMode mode = pad_mode(call);
    int64_t before[WHET_MAX_RANK], after[WHET_MAX_RANK];
    bool known;
    whet_status status = native_whole_bytes(call, x->type);
    if (status != WHET_OK || x->rank < 0)
        return status;
    status = pad_amounts(call, before, after, &known);
    for (int d = 0; status == WHET_OK && d < x->rank; d++) {
        if (known)
            status = pad_dim(call, mode, d, before[d], after[d]);
        else
            call->out[0].dims[d] = DIM_UNKNOWN;
    }
    call->out[0].rank = x->rank;
    return status;
}

static void put_source(Text *out, PadMode mode, int d, int64_t before, int64_t extent) {
    char at[64];
    snprintf(at, sizeof at, before ? "i%d %c %lld" : "i%d", d, before > 0 ? '-' : '+',
             (long long)(before > 0 ? before : -before));
    long long last = (long long)extent - 1;
    if (extent == 1 && mode != PAD_CONSTANT)
        text_put(out, "0");
    else if (mode == PAD_EDGE)
        text_printf(out, "max(min(%s, %lld), 0)", at, last);
    else if (mode == PAD_REFLECT)
        text_printf(out, "%lld - abs(%lld - (%s) %% %lld)", last, last, at, 2 * last);
    else if (mode == PAD_WRAP)
        text_printf(out, "(%s) %% %lld", at, (long long)extent);
    else
        text_put(out, at);
}

/* The constant as a double; false where a double (or the notation) cannot say it. */
static bool pad_value(OpCall *call, double *value) {
    const Tensor *given = call->row->since >= 11 && op_has(call, 2) ? call->in[2]->constant : NULL;
    *value = call->row->since < 11 ? op_float(call, "value") : 0;
    if (given && whet_tensor_count(given) > 0)
        *value = whet_tensor_get(given, 0);
    DType type = call->in[0]->type;
    if (*value == 0)
        return true;
    return type == DT_F32 || type == DT_F16 || type == DT_BF16 || type == DT_F64 || (*value > -0x1p53 && *value < 0x1p53);
}

static whet_status pad_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    PadMode mode = pad_mode(call);
    int64_t before[WHET_MAX_RANK], after[WHET_MAX_RANK];
    bool known;
    double value = 0;
    whet_status status = pad_amounts(call, before, after, &known);
    if (status != WHET_OK || !known || (mode == PAD_CONSTANT && !pad_value(call, &value)))
        return status;
    op_put_element(out, "output", x->rank);
    text_put(out, " = data[");
    bool padded = false;
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "");
        padded |= before[d] || after[d];
        if (before[d] || after[d])
            put_source(out, mode, d, before[d], x->dims[d]);
        else
            text_printf(out, "i%d", d);
    }
    text_put(out, padded && mode == PAD_CONSTANT ? "]?" : "]");
    if (padded && value != 0) {
        text_put(out, "(");
        if (dtype_kind(x->type) == KIND_FLOAT)
            text_double(out, value);
        else if (x->type == DT_BOOL)
            text_put(out, "true");
        else
            text_printf(out, "%lld", (long long)value);
        text_put(out, ")");
    }
    return WHET_OK;
}

/* ---- CenterCropPad ------------------------------------------------------------------------------------------------------- */

static whet_status crop_shape(OpCall *call) {
    const Type *x = call->in[0];
    const Dim *wanted;
    int64_t length, number;
    int axes[WHET_MAX_RANK], count;
    whet_status status = native_whole_bytes(call, x->type);
    if (status != WHET_OK || x->rank < 0)
        return status;
    status = op_axes(call, op_ints(call, "axes", &count), x->rank, axes, &count);
    if (status != WHET_OK)
        return status;
    bool known = op_content(call, 1, &wanted, &length);
    if (known && length != count)
        return op_error(call, WHET_ERROR_DATA, "the shape has %lld elements; %d are wanted", (long long)length, count);
    op_set_shape(call, 0, x->rank, x->dims);
    for (int i = 0; i < count; i++) {
        if (known && dim_number(call->symbols, wanted[i], &number) && number < 0)
            return op_error(call, WHET_ERROR_DATA, "element %d of the shape is %lld", i, (long long)number);
        call->out[0].dims[axes[i]] = known ? wanted[i] : DIM_UNKNOWN;
    }
    return WHET_OK;
}

/* Cropping drops floor of half the surplus in front, padding adds floor of half the lack. */
static int64_t crop_shift(int64_t from, int64_t to) {
    return to >= from ? (to - from) / 2 : -((from - to) / 2);
}

static whet_status crop_build(OpCall *call, Text *out) {
    const Type *x = call->in[0], *y = &call->out[0];
    op_put_element(out, "output_data", x->rank);
    text_put(out, " = input_data[");
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "");
        put_source(out, PAD_CONSTANT, d, crop_shift(x->dims[d], y->dims[d]), x->dims[d]);
    }
    text_put(out, "]?");
    return WHET_OK;
}

#define PAD(since, signature, types, attrs)                                                                                      \
    { "", "Pad", since, signature, types, attrs, pad_shape, .build = pad_build, .run = native_move, .moves = true }

// clang-format off
const OpRow ops_pad[] = {
    {"", "CenterCropPad", 18, "input_data:T, shape#:I -> output_data:T", "T=all I=s32|s64", "axes:I", crop_shape, .build = crop_build, .run = native_move, .moves = true},
    PAD(2,  "data:T -> output:T", "T=float", "mode:s=constant|edge|reflect pads:I! value:f=0"),
    PAD(11, "data:T, pads#:s64, constant_value?#:T -> output:T", "T=all", "mode:s=constant|edge|reflect"),
    PAD(18, "data:T, pads#:s64, constant_value?#:T, axes?#:I -> output:T", "T=all I=s32|s64", "mode:s=constant|edge|reflect"),
    PAD(19, "data:T, pads#:s64, constant_value?#:T, axes?#:I -> output:T", "T=all I=s32|s64", "mode:s=constant|edge|reflect|wrap"),
};
// clang-format on
const size_t ops_pad_count = COUNT(ops_pad);
