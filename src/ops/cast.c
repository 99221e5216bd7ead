/* Cast, CastLike and BitCast.
 *
 * Between the types that kernels compute on, a cast is notation; storage-only floats, types below a byte and strings are
 * converted here. What the standard leaves undefined: floats outside an integer type's range saturate, for 4- and 2-bit integers
 * they wrap, as its reference does.
 */
#include "ops/native.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static whet_status cast_to(OpCall *call, DType to) {
    DType from = call->in[0]->type;
    if (dtype_kind(to) == KIND_COMPLEX || dtype_kind(from) == KIND_COMPLEX || (to == DT_STRING && from != DT_STRING))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "casts from %s to %s are not supported", dtype_name(from), dtype_name(to));
    call->out[0].type = to;
    const Dim *values;
    int64_t count;
    bool ints = (from == DT_S64 || from == DT_S32) && (to == DT_S64 || to == DT_S32);
    if (ints && call->in[0]->rank >= 0 && call->in[0]->rank <= 1 && !call->in[0]->constant &&
        op_content(call, 0, &values, &count)) {
        call->out[0].content = values;
        call->out[0].content_count = count;
    }
    return op_same_shape(call, 0, 0);
}

static whet_status cast_shape(OpCall *call) {
    DType to = native_dtype(call, "to", op_int(call, "to"));
    return to == DT_NONE ? WHET_ERROR_FORMAT : cast_to(call, to);
}

static whet_status cast_like_shape(OpCall *call) {
    return cast_to(call, call->in[1]->type);
}

static whet_status cast_build(OpCall *call, Text *out) {
    DType from = call->in[0]->type, to = call->out[0].type;
    if (!kernel_computes(from) || !kernel_computes(to))
        return WHET_OK;
    if (from == to)
        text_put(out, "output[..] = input[..]");
    else if (to == DT_BOOL)
        text_put(out, "output[..] = input[..] != 0");
    else
        text_printf(out, "output[..] = %s(input[..])", dtype_name(to));
    return WHET_OK;
}

/* A power of two, rounded as attribute round_mode says. */
static uint8_t to_e8m0(double value, int mode, bool saturate) {
    enum { UP, DOWN, NEAREST };
    int exponent;
    double fraction = frexp(value, &exponent); /* [0.5, 1) */
    if (!(value > 0) || isinf(value))
        return isinf(value) && value > 0 && saturate ? 254 : value == 0 ? 0 : 255;
    int code = exponent - 1 + 127;
    if ((mode == UP && fraction > 0.5) || (mode == NEAREST && fraction >= 0.75))
        code++;
    return code < 0 ? (saturate ? 0 : 255) : code > 254 ? (saturate ? 254 : 255) : (uint8_t)code;
}

/* A number spelled out; false if it is none. strtod knows inf and nan in any case. */
static bool parse_number(Str text, double *out) {
    char buffer[64], *end;
    if (text.length >= sizeof buffer || !text.length)
        return false;
    memcpy(buffer, text.data, text.length);
    buffer[text.length] = 0;
    *out = strtod(buffer, &end);
    return *end == 0;
}

static whet_status strings_to_numbers(OpRun *run, DType to, void *data) {
    const Tensor *x = op_input(run, 0);
    const Str *strings = x->data;
    for (int64_t i = 0, count = whet_tensor_count(x); i < count; i++) {
        double value;
        char *end, buffer[32] = {0};
        if (!parse_number(strings[i], &value))
            return native_error(run, WHET_ERROR_DATA, "'%.*s' is no number",
                                (int)(strings[i].length < 40 ? strings[i].length : 40), strings[i].data);
        if (to == DT_S64 && strings[i].length < sizeof buffer) { /* beyond 2^53 a double is not exact */
            memcpy(buffer, strings[i].data, strings[i].length);
            long long exact = strtoll(buffer, &end, 10);
            if (!*end) {
                ((int64_t *)data)[i] = exact;
                continue;
            }
        }
        native_from_f64(to, &value, 1, (char *)data + (size_t)i * native_size(to));
    }
    return WHET_OK;
}

static uint8_t to_code(DType to, double value, int mode, bool saturate) {
    if (to == DT_F8E8M0)
        return to_e8m0(value, mode, saturate);
    if (dtype_kind(to) == KIND_FLOAT)
        return f32_to_small(to, (float)value, saturate);
    return value > -0x1p62 && value < 0x1p62 ? (uint8_t)(int64_t)value : 0;
}

/* Types below a byte are converted to a byte each, then packed. */
static whet_status numbers_to_numbers(OpRun *run, DType to, void *data) {
    const Tensor *x = op_input(run, 0);
    int64_t count = whet_tensor_count(x);
    bool narrow = dtype_bits(to) <= 8 && !kernel_computes(to);
    const double *values = native_f64(run, 0);
    uint8_t *codes = narrow && values ? op_scratch(run, (size_t)count + 1) : NULL;
    if (!values || (narrow && !codes))
        return native_failed(run);
    if (!narrow) {
        native_from_f64(to, values, count, data);
        return WHET_OK;
    }
    int mode = op_choice(run->call, "round_mode");
    bool saturate = !op_attr(run->call, "saturate") || op_attr(run->call, "saturate")->i;
    for (int64_t i = 0; i < count; i++)
        codes[i] = to_code(to, values[i], mode, saturate);
    if (dtype_bits(to) == 8)
        memcpy(data, codes, (size_t)count);
    else
        native_pack(to, codes, count, data);
    return WHET_OK;
}

static whet_status cast_run(OpRun *run) {
    DType from = run->call->in[0]->type, to = run->call->out[0].type;
    const Type *x = run->call->in[0];
    if (from == to)
        return op_output_alias(run, 0, 0, x->rank, x->dims);
    void *data = native_output(run, 0);
    if (!data)
        return native_failed(run);
    if (from != DT_STRING)
        return numbers_to_numbers(run, to, data);
    if (dtype_bits(to) < 8)
        return native_error(run, WHET_ERROR_UNSUPPORTED, "casts from string to %s are not supported", dtype_name(to));
    return strings_to_numbers(run, to, data);
}

/* ---- BitCast ------------------------------------------------------------------------------------------------------------- */

static whet_status bit_cast_shape(OpCall *call) {
    DType from = call->in[0]->type, to = native_dtype(call, "to", op_int(call, "to"));
    if (to == DT_NONE)
        return WHET_ERROR_FORMAT;
    if (dtype_bits(from) != dtype_bits(to) || to == DT_STRING)
        return op_error(call, WHET_ERROR_FORMAT, "to is %s, of %d bits; wanted a type of %d bits, as %s", dtype_name(to),
                        dtype_bits(to), dtype_bits(from), dtype_name(from));
    call->out[0].type = to;
    return op_same_shape(call, 0, 0);
}

static whet_status bit_cast_run(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    void *data = native_output(run, 0);
    if (!data)
        return native_failed(run);
    if (x->bytes)
        memcpy(data, x->data, x->bytes);
    return WHET_OK;
}

#define CAST(name, since, signature, attrs, shape)                                                                               \
    { "", name, since, signature, "", attrs, shape, .build = cast_build, .run = cast_run }

// clang-format off
const OpRow ops_cast[] = {
    {"", "BitCast", 26, "input:T -> output:*", "T=any", "to:i!", bit_cast_shape, .run = bit_cast_run},
    CAST("Cast",     6,  "input:* -> output:*",                "to:i!", cast_shape),
    CAST("Cast",     19, "input:* -> output:*",                "saturate:i=1 to:i!", cast_shape),
    CAST("Cast",     24, "input:* -> output:*",                "round_mode:s=up|down|nearest saturate:i=1 to:i!", cast_shape),
    CAST("CastLike", 15, "input:*, target_type:* -> output:*", "", cast_like_shape),
    CAST("CastLike", 19, "input:*, target_type:* -> output:*", "saturate:i=1", cast_like_shape),
    CAST("CastLike", 24, "input:*, target_type:* -> output:*", "round_mode:s=up|down|nearest saturate:i=1", cast_like_shape),
};
// clang-format on
const size_t ops_cast_count = COUNT(ops_cast);
