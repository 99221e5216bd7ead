/* Strip operations that are not arithmetic: types, casts, selection, loads and stores; and the way to the arithmetic. */
#include "kernel/strip.h"

#include <math.h>
#include <string.h>

#include "kernel/strip_loops.h"

/* notation type, C type, least and largest value as a double (2^63 and 2^64 stand for the largest, which no double is) */
#define INT_TYPES(X)                                                                                                             \
    X(S8, int8_t, INT8_MIN, INT8_MAX)                                                                                            \
    X(S16, int16_t, INT16_MIN, INT16_MAX)                                                                                        \
    X(S32, int32_t, INT32_MIN, INT32_MAX)                                                                                        \
    X(S64, int64_t, INT64_MIN, INT64_MAX)                                                                                        \
    X(U8, uint8_t, 0, UINT8_MAX)                                                                                                 \
    X(U16, uint16_t, 0, UINT16_MAX)                                                                                              \
    X(U32, uint32_t, 0, UINT32_MAX)                                                                                              \
    X(U64, uint64_t, 0, UINT64_MAX)

DType strip_type(DType type) {
    return dtype_is_half(type) ? DT_F32 : type;
}

bool kernel_computes(DType type) {
    switch (type) {
    case DT_F32:
    case DT_F64:
    case DT_F16:
    case DT_BF16:
    case DT_BOOL:
#define X(name, T, least, most) case DT_##name:
        INT_TYPES(X)
#undef X
        return true;
    default: return false;
    }
}

size_t strip_size(DType type) {
    return (size_t)dtype_bits(strip_type(type)) / 8;
}

static bool is_float(DType type) {
    return dtype_kind(type) == KIND_FLOAT;
}

StripUnary strip_unary(ExprOp op, DType type) {
    return is_float(type) ? strip_float_unary(op, strip_type(type)) : strip_int_unary(op, type);
}

StripBinary strip_binary(ExprOp op, DType type) {
    return is_float(type) ? strip_float_binary(op, strip_type(type)) : strip_int_binary(op, type);
}

/* ---- Rounding to f16 and bf16 ---- */

/* To bf16 in one rounding: the float keeps, in its last bit, whether anything was cut off (rounding to odd). */
static float round_bf16(double value) {
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (isfinite(f) && (double)f != value && !(bits & 1)) {
        bool away = fabs((double)f) < fabs(value);
        bits += away ? 1 : (uint32_t)-1;
        memcpy(&f, &bits, sizeof f);
    }
    return bf16_to_f32(f32_to_bf16(f));
}

void strip_round(DType type, void *strip, size_t n) {
    float *x = strip;
    if (type == DT_F16)
        for (size_t i = 0; i < n; i++)
            x[i] = f16_to_f32(f32_to_f16(x[i]));
    else if (type == DT_BF16)
        for (size_t i = 0; i < n; i++)
            x[i] = bf16_to_f32(f32_to_bf16(x[i]));
}

/* ---- Casts ---- */

/* Float to integer: towards zero, saturating, NaN to 0. */
#define SATURATE(T, x, least, most)                                                                                              \
    ((x) != (x) ? (T)0 : (double)(x) <= (double)(least) ? (T)(least) : (double)(x) >= (double)(most) ? (T)(most) : (T)(x))

#define X(name, T, least, most)                                                                                                  \
    UNARY(f32_to_##name, T, float, SATURATE(T, x, least, most))                                                                  \
    UNARY(f64_to_##name, T, double, SATURATE(T, x, least, most))                                                                 \
    UNARY(name##_to_f32, float, T, x)                                                                                            \
    UNARY(name##_to_f64, double, T, x)                                                                                           \
    UNARY(name##_to_f16, float, T, f16_to_f32(f64_to_f16((double)x)))                                                            \
    UNARY(name##_to_bf16, float, T, round_bf16((double)x))                                                                       \
    UNARY(name##_to_bool, uint8_t, T, x != 0)                                                                                    \
    UNARY(name##_to_s8, int8_t, T, x)                                                                                            \
    UNARY(name##_to_s16, int16_t, T, x)                                                                                          \
    UNARY(name##_to_s32, int32_t, T, x)                                                                                          \
    UNARY(name##_to_s64, int64_t, T, x)
INT_TYPES(X)
#undef X
UNARY(f32_copy, float, float, x)
UNARY(f64_copy, double, double, x)
UNARY(f32_to_f64, double, float, x)
UNARY(f64_to_f32, float, double, x)
UNARY(f32_to_f16_strip, float, float, f16_to_f32(f32_to_f16(x)))
UNARY(f32_to_bf16_strip, float, float, bf16_to_f32(f32_to_bf16(x)))
UNARY(f64_to_f16_strip, float, double, f16_to_f32(f64_to_f16(x)))
UNARY(f64_to_bf16_strip, float, double, round_bf16(x))
UNARY(f32_to_bool, uint8_t, float, x != 0)
UNARY(f64_to_bool, uint8_t, double, x != 0)

/* Integers wrap, so the unsigned type of a width serves as the signed one. */
static StripUnary int_to_int(DType from, DType to) {
    int column = dtype_bits(to) == 8 ? 0 : dtype_bits(to) == 16 ? 1 : dtype_bits(to) == 32 ? 2 : 3;
    static const StripUnary table[][4] = {
#define X(name, T, least, most) [DT_##name] = {name##_to_s8, name##_to_s16, name##_to_s32, name##_to_s64},
        INT_TYPES(X)
#undef X
    };
    return table[from == DT_BOOL ? DT_U8 : from][column];
}

static StripUnary int_to_float(DType from, DType to) {
    static const StripUnary table[][4] = {
#define X(name, T, least, most) [DT_##name] = {name##_to_f32, name##_to_f64, name##_to_f16, name##_to_bf16},
        INT_TYPES(X)
#undef X
    };
    int column = to == DT_F32 ? 0 : to == DT_F64 ? 1 : to == DT_F16 ? 2 : 3;
    return table[from == DT_BOOL ? DT_U8 : from][column];
}

static StripUnary float_to_float(DType from, DType to) {
    bool wide = from == DT_F64;
    if (from == to || (!wide && to == DT_F32))
        return wide ? f64_copy : f32_copy;
    switch (to) {
    case DT_F32: return f64_to_f32;
    case DT_F64: return f32_to_f64;
    case DT_F16: return wide ? f64_to_f16_strip : f32_to_f16_strip;
    default: return wide ? f64_to_bf16_strip : f32_to_bf16_strip;
    }
}

static StripUnary float_to_int(DType from, DType to) {
    static const StripUnary table[][2] = {
#define X(name, T, least, most) [DT_##name] = {f32_to_##name, f64_to_##name},
        INT_TYPES(X)
#undef X
    };
    return table[to][from == DT_F64];
}

static StripUnary to_bool(DType from) {
    static const StripUnary table[] = {
#define X(name, T, least, most) [DT_##name] = name##_to_bool,
        INT_TYPES(X)
#undef X
    };
    return is_float(from) ? (from == DT_F64 ? f64_to_bool : f32_to_bool) : table[from == DT_BOOL ? DT_U8 : from];
}

StripUnary strip_cast(DType from, DType to) {
    if (to == DT_BOOL)
        return to_bool(from);
    if (is_float(from))
        return is_float(to) ? float_to_float(from, to) : float_to_int(from, to);
    return is_float(to) ? int_to_float(from, to) : int_to_int(from, to);
}

/* ---- Selection and filling, by element size ---- */

#define SELECT(T)                                                                                                                \
    do {                                                                                                                         \
        T *restrict r = out;                                                                                                     \
        const T *x = a, *y = b;                                                                                                  \
        if (!one_a && !one_b)                                                                                                    \
            for (size_t i = 0; i < n; i++)                                                                                       \
                r[i] = c[i] ? x[i] : y[i];                                                                                       \
        else                                                                                                                     \
            for (size_t i = 0; i < n; i++)                                                                                       \
                r[i] = c[i] ? x[one_a ? 0 : i] : y[one_b ? 0 : i];                                                               \
    } while (0)

void strip_select(size_t size, void *out, const void *condition, const void *a, const void *b, size_t n, bool one_a, bool one_b) {
    const uint8_t *c = condition;
    switch (size) {
    case 1: SELECT(uint8_t); break;
    case 2: SELECT(uint16_t); break;
    case 4: SELECT(uint32_t); break;
    default: SELECT(uint64_t); break;
    }
}

#define FILL(T)                                                                                                                  \
    do {                                                                                                                         \
        T x, *r = out;                                                                                                           \
        memcpy(&x, value, sizeof x);                                                                                             \
        for (size_t i = 0; i < n; i++)                                                                                           \
            r[i] = x;                                                                                                            \
    } while (0)

void strip_fill(size_t size, void *out, const void *value, size_t n) {
    switch (size) {
    case 1: FILL(uint8_t); break;
    case 2: FILL(uint16_t); break;
    case 4: FILL(uint32_t); break;
    default: FILL(uint64_t); break;
    }
}

void strip_zero(DType type, void *out, size_t n) {
    memset(out, 0, n * strip_size(type));
}

/* ---- Memory ---- */

#define GATHER(T)                                                                                                                \
    do {                                                                                                                         \
        T *restrict r = out;                                                                                                     \
        const T *p = from;                                                                                                       \
        for (size_t i = 0; i < n; i++)                                                                                           \
            r[i] = p[(int64_t)i * stride];                                                                                       \
    } while (0)

static void load_half(DType type, float *out, const uint16_t *from, int64_t stride, size_t n) {
    if (type == DT_F16)
        for (size_t i = 0; i < n; i++)
            out[i] = f16_to_f32(from[(int64_t)i * stride]);
    else
        for (size_t i = 0; i < n; i++)
            out[i] = bf16_to_f32(from[(int64_t)i * stride]);
}

void strip_load(DType type, void *out, const void *from, int64_t stride, size_t n) {
    if (strip_type(type) != type) {
        load_half(type, out, from, stride, n);
        return;
    }
    size_t size = strip_size(type);
    if (stride == 1) {
        memcpy(out, from, n * size);
        return;
    }
    switch (size) {
    case 1: GATHER(uint8_t); break;
    case 2: GATHER(uint16_t); break;
    case 4: GATHER(uint32_t); break;
    default: GATHER(uint64_t); break;
    }
}

#define SCATTER(T)                                                                                                               \
    do {                                                                                                                         \
        const T *p = strip;                                                                                                      \
        T *r = to;                                                                                                               \
        for (size_t i = 0; i < n; i++)                                                                                           \
            r[(int64_t)i * stride] = p[i];                                                                                       \
    } while (0)

void strip_store(DType type, void *to, int64_t stride, const void *strip, size_t n) {
    if (strip_type(type) != type) {
        const float *x = strip;
        uint16_t *r = to;
        for (size_t i = 0; i < n; i++)
            r[(int64_t)i * stride] = type == DT_F16 ? f32_to_f16(x[i]) : f32_to_bf16(x[i]);
        return;
    }
    size_t size = strip_size(type);
    if (stride == 1) {
        memcpy(to, strip, n * size);
        return;
    }
    switch (size) {
    case 1: SCATTER(uint8_t); break;
    case 2: SCATTER(uint16_t); break;
    case 4: SCATTER(uint32_t); break;
    default: SCATTER(uint64_t); break;
    }
}
