/* QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear: per tensor, per axis and blocked.
 *
 * Between f32/f16/bf16 and 8- and 16-bit integers they are notation, so that they fuse and QDQ pairs can be seen; 4- and 2-bit
 * integers and narrow floats are converted here.
 */
#include "ops/native.h"

#include <math.h>
#include <string.h>

typedef enum Grain { GRAIN_TENSOR, GRAIN_AXIS, GRAIN_BLOCK, GRAIN_BAD } Grain;

typedef struct Quantization {
    Grain grain;
    int axis;
    int64_t block;
} Quantization;

static Grain grain_error(OpCall *call, const char *what) {
    op_error(call, WHET_ERROR_DATA, "%s", what);
    return GRAIN_BAD;
}

/* How scales are spread over x. Requires ranks; extents are checked where they are known. */
static Quantization quantization_of(OpCall *call) {
    const Type *x = call->in[0], *scale = call->in[1];
    Quantization q = {GRAIN_TENSOR, 0, 0};
    q.block = call->row->since >= 21 ? op_int(call, "block_size") : 0;
    if (scale->rank == 0 || (scale->rank == 1 && scale->dims[0] == 1 && !q.block))
        return q;
    int axis = call->row->since >= 13 && x->rank > 0 ? op_axis(call, op_int(call, "axis"), x->rank) : -1;
    if (axis < 0) {
        q.grain = call->row->since >= 13 && x->rank > 0 ? GRAIN_BAD : grain_error(call, "the scale must be one number");
        return q;
    }
    q.axis = axis;
    if (!q.block) {
        q.grain = scale->rank == 1 ? GRAIN_AXIS : grain_error(call, "the scale must have one dimension");
        if (scale->rank == 1 && dim_is_extent(scale->dims[0]) && dim_is_extent(x->dims[axis]) && scale->dims[0] != x->dims[axis])
            q.grain = grain_error(call, "the scale has not as many elements as the axis");
        return q;
    }
    q.grain = GRAIN_BLOCK;
    if (q.block < 0 || scale->rank != x->rank)
        q.grain = grain_error(call, "block_size and the ranks of x and scale do not fit");
    for (int d = 0; q.grain == GRAIN_BLOCK && d < x->rank; d++) {
        Dim wanted = x->dims[d];
        if (!dim_is_extent(wanted) || !dim_is_extent(scale->dims[d]))
            continue;
        if (d == axis)
            wanted = wanted / q.block + (wanted % q.block != 0);
        if (scale->dims[d] != wanted)
            q.grain = grain_error(call, "the shape of the scale does not fit that of x and block_size");
    }
    return q;
}

static whet_status check_zero_point(OpCall *call) {
    const Type *scale = call->in[1], *zero = op_has(call, 2) ? call->in[2] : NULL;
    if (!zero || zero->rank < 0 || scale->rank < 0)
        return WHET_OK;
    int64_t scales, zeros;
    bool known = checked_count(scale->dims, scale->rank, &scales) && checked_count(zero->dims, zero->rank, &zeros);
    if (known && scales != zeros)
        return op_error(call, WHET_ERROR_DATA, "the zero point has %lld elements; wanted %lld, as the scale", (long long)zeros,
                        (long long)scales);
    return WHET_OK;
}

static whet_status check_quantization(OpCall *call) {
    if (call->in[0]->rank >= 0 && call->in[1]->rank >= 0 && quantization_of(call).grain == GRAIN_BAD)
        return call->err && call->err->status ? call->err->status : WHET_ERROR_DATA;
    whet_status status = check_zero_point(call);
    return status == WHET_OK ? op_same_shape(call, 0, 0) : status;
}

static DType output_type(OpCall *call, DType otherwise) {
    const Attr *given = call->row->since >= 21 ? op_attr(call, "output_dtype") : NULL;
    return given && given->i ? native_dtype(call, "output_dtype", given->i) : otherwise;
}

/* "scale[i1]", or as the grain has it. */
static void hole_operand(OpHoles *holes, char hole, const char *name, const Type *type, Quantization q, int rank) {
    Text text;
    text_init(&text);
    text_printf(&text, "%s[", name);
    if (q.grain == GRAIN_TENSOR)
        text_put(&text, type->rank ? "0" : "");
    else if (q.grain == GRAIN_AXIS)
        text_printf(&text, "i%d", q.axis);
    for (int d = 0; q.grain == GRAIN_BLOCK && d < rank; d++) {
        text_printf(&text, "%si%d", d ? ", " : "", d);
        if (d == q.axis)
            text_printf(&text, " // %lld", (long long)q.block);
    }
    text_char(&text, ']');
    op_hole_text(holes, hole, &text);
}

/* $I an element's indices; $s and $z its scale and zero point. */
static OpHoles quantization_holes(OpCall *call, const char *scale, const char *zero) {
    const int rank = call->in[0]->rank;
    Quantization q = quantization_of(call);
    OpHoles holes = op_holes(call);
    op_hole_indices(&holes, 'I', rank, NULL, 0);
    hole_operand(&holes, 's', scale, call->in[1], q, rank);
    if (op_has(call, 2))
        hole_operand(&holes, 'z', zero, call->in[2], q, rank);
    return holes;
}

static bool is_plain_float(DType type) {
    return dtype_kind(type) == KIND_FLOAT && kernel_computes(type);
}

static bool is_plain_int(DType type) {
    return type == DT_U8 || type == DT_S8 || type == DT_U16 || type == DT_S16;
}

/* Which element of the scale belongs to element (outer, k, inner) of x. */
typedef struct Spread {
    int64_t outer, extent, inner, blocks;
    Quantization q;
} Spread;

static Spread spread_of(OpCall *call) {
    const Type *x = call->in[0];
    Spread s = {1, 1, 1, 1, quantization_of(call)};
    if (x->rank == 0)
        return s;
    s.outer = native_count(s.q.axis, x->dims);
    s.extent = x->dims[s.q.axis];
    s.inner = native_count(x->rank - s.q.axis - 1, x->dims + s.q.axis + 1);
    s.blocks = s.q.grain == GRAIN_BLOCK ? s.extent / s.q.block + (s.extent % s.q.block != 0) : 1;
    return s;
}

static int64_t spread_at(const Spread *s, int64_t o, int64_t k, int64_t i) {
    if (s->q.grain == GRAIN_TENSOR)
        return 0;
    return s->q.grain == GRAIN_AXIS ? k : (o * s->blocks + k / s->q.block) * s->inner + i;
}

/* ---- QuantizeLinear ------------------------------------------------------------------------------------------------------ */

static whet_status quantize_shape(OpCall *call) {
    DType type = output_type(call, op_has(call, 2) ? call->in[2]->type : DT_U8);
    if (type == DT_NONE)
        return op_has(call, 2) && call->in[2]->type == DT_NONE ? WHET_OK : WHET_ERROR_FORMAT;
    Kind kind = dtype_kind(type);
    if (dtype_bits(type) > 16 || kind == KIND_BOOL || (kind == KIND_FLOAT && (kernel_computes(type) || type == DT_F8E8M0)))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "quantizing to %s is not supported", dtype_name(type));
    if (op_has(call, 2) && call->in[2]->type != type)
        return op_error(call, WHET_ERROR_FORMAT, "output_dtype is %s; wanted %s, as the zero point", dtype_name(type),
                        dtype_name(call->in[2]->type));
    call->out[0].type = type;
    return check_quantization(call);
}

static whet_status quantize_build(OpCall *call, Text *out) {
    const Type *x = call->in[0], *y = &call->out[0];
    if (!is_plain_int(y->type) || !is_plain_float(call->in[1]->type) || native_empty(x))
        return WHET_OK;
    OpHoles holes = quantization_holes(call, "y_scale", "y_zero_point");
    op_put_filled(out, &holes, "y[$I] = $T(round(f32(x[$I]) / f32($s))");
    op_put_filled(out, &holes, op_has(call, 2) ? " + f32($z))" : ")");
    return WHET_OK;
}

static uint8_t narrow_code(DType type, float value, float zero, bool saturate) {
    if (dtype_kind(type) == KIND_FLOAT)
        return f32_to_small(type, value + zero, saturate);
    int bits = dtype_bits(type);
    bool is_signed = dtype_kind(type) == KIND_SIGNED;
    float low = is_signed ? -(float)(1 << (bits - 1)) : 0, high = (float)((1 << (is_signed ? bits - 1 : bits)) - 1);
    float rounded = nearbyintf(value) + zero;
    return (uint8_t)(int)(!(rounded > low) ? low : rounded > high ? high : rounded);
}

static whet_status quantize_run(OpRun *run) {
    const Type *y = &run->call->out[0];
    Spread s = spread_of(run->call);
    int64_t count = s.outer * s.extent * s.inner;
    bool saturate = run->call->row->since < 19 || op_int(run->call, "saturate"), wide = dtype_bits(y->type) == 16;
    const float *x = native_f32(run, 0), *scale = x ? native_f32(run, 1) : NULL;
    const float *zero = scale && op_input(run, 2) ? native_f32(run, 2) : NULL;
    uint8_t *to = scale ? native_output(run, 0) : NULL;
    uint8_t *codes = to && dtype_bits(y->type) < 8 ? op_scratch(run, (size_t)count + 1) : to;
    if (!codes)
        return native_failed(run);
    for (int64_t at = 0; at < count; at++) {
        int64_t place = spread_at(&s, at / s.inner / s.extent, at / s.inner % s.extent, at % s.inner);
        float value = x[at] / scale[place], offset = zero ? zero[place] : 0;
        if (wide)
            native_from_f32(y->type, &(float){nearbyintf(value) + offset}, 1, to + 2 * at);
        else
            codes[at] = narrow_code(y->type, value, offset, saturate);
    }
    if (codes != to)
        native_pack(y->type, codes, count, to);
    return WHET_OK;
}

/* ---- DequantizeLinear ---------------------------------------------------------------------------------------------------- */

static whet_status dequantize_shape(OpCall *call) {
    DType scale = call->in[1]->type, type = output_type(call, scale == DT_F8E8M0 ? DT_F32 : scale);
    if (type == DT_NONE)
        return scale == DT_NONE ? WHET_OK : WHET_ERROR_FORMAT;
    if (!is_plain_float(type))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "dequantizing to %s is not supported", dtype_name(type));
    call->out[0].type = type;
    return check_quantization(call);
}

static whet_status dequantize_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    if ((!is_plain_int(x->type) && x->type != DT_S32) || !is_plain_float(call->in[1]->type) || native_empty(x))
        return WHET_OK;
    OpHoles holes = quantization_holes(call, "x_scale", "x_zero_point");
    op_put_filled(out, &holes,
                  op_has(call, 2) ? "y[$I] = $T(f32(s32(x[$I]) - s32($z)) * f32($s))" : "y[$I] = $T(f32(x[$I]) * f32($s))");
    return WHET_OK;
}

static whet_status dequantize_run(OpRun *run) {
    const Type *y = &run->call->out[0];
    Spread s = spread_of(run->call);
    int64_t count = s.outer * s.extent * s.inner;
    const float *x = native_f32(run, 0), *scale = x ? native_f32(run, 1) : NULL;
    const float *zero = scale && op_input(run, 2) ? native_f32(run, 2) : NULL;
    char *to = scale ? native_output(run, 0) : NULL;
    if (!to)
        return native_failed(run);
    for (int64_t at = 0; at < count; at++) {
        int64_t place = spread_at(&s, at / s.inner / s.extent, at / s.inner % s.extent, at % s.inner);
        float value = (x[at] - (zero ? zero[place] : 0)) * scale[place];
        native_from_f32(y->type, &value, 1, to + (size_t)at * native_size(y->type));
    }
    return WHET_OK;
}

/* ---- DynamicQuantizeLinear ----------------------------------------------------------------------------------------------- */

static whet_status dynamic_shape(OpCall *call) {
    for (int i = 1; i < call->out_count; i++)
        op_set_shape(call, i, 0, NULL);
    return op_same_shape(call, 0, 0);
}

/* The range always holds zero; of a tensor of zeros the scale is 1. */
static whet_status dynamic_build(OpCall *call, Text *out) {
    int rank = call->in[0]->rank;
    Text axes;
    text_init(&axes);
    op_put_indices(&axes, "i", 0, rank);
    if (rank) {
        text_printf(out, "low[] = min(min(%s) x[%s], 0)\n", axes.data, axes.data);
        text_printf(out, "high[] = max(max(%s) x[%s], 0)\n", axes.data, axes.data);
    } else {
        text_put(out, "low[] = min(x[], 0)\nhigh[] = max(x[], 0)\n");
    }
    text_put(out, "out y_scale[] = select(high[] == low[], 1, (high[] - low[]) / 255)\n"
                  "out y_zero_point[] = u8(round(-low[] / y_scale[]))\n");
    text_printf(out, "y[%s] = u8(round(x[%s] / y_scale[]) + f32(y_zero_point[]))", axes.data, axes.data);
    text_free(&axes);
    return WHET_OK;
}

#define LINEAR(name, since, signature, types, attrs, family)                                                                     \
    { "", name, since, signature, types, attrs, family##_shape, .build = family##_build, .run = family##_run }
#define QUANTIZE   "x:X, y_scale:S, y_zero_point?:* -> y:*"
#define DEQUANTIZE "x:X, x_scale:S, x_zero_point?:X -> y:*"
#define FROM       "X=f32|f16|bf16|s32 S=f32|f16|bf16|s32|f8e8m0"
#define TO         "X=any S=f32|f16|bf16|f8e8m0"

// clang-format off
const OpRow ops_quantize[] = {
    LINEAR("DequantizeLinear", 10, DEQUANTIZE, TO, "", dequantize),
    LINEAR("DequantizeLinear", 13, DEQUANTIZE, TO, "axis:i=1", dequantize),
    LINEAR("DequantizeLinear", 21, DEQUANTIZE, TO, "axis:i=1 block_size:i=0 output_dtype:i=0", dequantize),
    {"", "DynamicQuantizeLinear", 11, "x:f32 -> y:u8, y_scale:f32, y_zero_point:u8", "", "", dynamic_shape, .build = dynamic_build},
    LINEAR("QuantizeLinear", 10, QUANTIZE, FROM, "", quantize),
    LINEAR("QuantizeLinear", 13, QUANTIZE, FROM, "axis:i=1", quantize),
    LINEAR("QuantizeLinear", 19, QUANTIZE, FROM, "axis:i=1 saturate:i=1", quantize),
    LINEAR("QuantizeLinear", 21, QUANTIZE, FROM, "axis:i=1 block_size:i=0 output_dtype:i=0 precision:i=0 saturate:i=1", quantize),
};
// clang-format on
const size_t ops_quantize_count = COUNT(ops_quantize);
