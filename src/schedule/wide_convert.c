/* Casts in lanes of 64 bits, as docs/notation.md has them, of operations that every CPU has: numbers beside 2^52 show their bits
 * in a double's lowest ones. */
#include "schedule/wide.h"

#include <math.h>

enum { HALF = 32 };
#define UNIT_52 0x1p52   /* its unit is 1: 2^52 + x holds x in its lowest bits */
#define MIDDLE  0x1.8p52 /* the same for x of both signs, below 2^51 */

static int bits_of(ExprEmitter *e, double value) {
    return vector_convert(e->f, VECTOR_BITS, DT_S64, wide_double(e, value));
}

static int as_double(ExprEmitter *e, int bits) {
    return vector_convert(e->f, VECTOR_BITS, DT_F64, bits);
}

static int as_bits(ExprEmitter *e, int x) {
    return vector_convert(e->f, VECTOR_BITS, DT_S64, x);
}

static int lower(ExprEmitter *e, int x) {
    return vector_binary(e->f, VECTOR_AND, x, vector_const(e->f, DT_S64, (double)UINT32_MAX));
}

int wide_extend(ExprEmitter *e, DType type, int x) {
    int y = lower(e, as_bits(e, x));
    if (dtype_kind(type) != KIND_SIGNED)
        return y;
    int sign = vector_const(e->f, DT_S64, 0x1p31);
    return vector_binary(e->f, VECTOR_SUB, vector_binary(e->f, VECTOR_XOR, y, sign), sign);
}

/* A double of s64 from 0 to 2^52, and of those between -2^51 and 2^51. */
static int small_unsigned(ExprEmitter *e, int x) {
    return vector_binary(e->f, VECTOR_SUB, as_double(e, vector_binary(e->f, VECTOR_OR, x, bits_of(e, UNIT_52))),
                         wide_double(e, UNIT_52));
}

static int small_signed(ExprEmitter *e, int x) {
    return vector_binary(e->f, VECTOR_SUB, as_double(e, vector_binary(e->f, VECTOR_ADD, x, bits_of(e, MIDDLE))),
                         wide_double(e, MIDDLE));
}

/* Both halves are exact; their sum is rounded once. Turned to x + 2^63, what is signed has an upper half that is not; the turn is
 * taken off again in double, where it is exact. */
int wide_to_double(ExprEmitter *e, DType type, int x) {
    VectorFunction *f = e->f;
    if (f->longs && type == DT_S64)
        return vector_convert(f, VECTOR_CVT, DT_F64, x);
    int up = type == DT_U64 ? x : vector_binary(f, VECTOR_XOR, x, wide_long(e, INT64_MIN));
    int high = small_unsigned(e, vector_immediate(f, VECTOR_SHR, up, HALF));
    if (type != DT_U64)
        high = vector_binary(f, VECTOR_SUB, high, wide_double(e, 0x1p31));
    return vector_ternary(f, VECTOR_FMA, high, wide_double(e, 0x1p32), small_unsigned(e, lower(e, x)));
}

int wide_from_whole(ExprEmitter *e, int x) {
    VectorFunction *f = e->f;
    int high = vector_unary(f, VECTOR_FLOOR, vector_binary(f, VECTOR_MUL, x, wide_double(e, 0x1p-32)));
    int low = vector_ternary(f, VECTOR_FNMA, high, wide_double(e, 0x1p32), x);
    high = as_bits(e, vector_binary(f, VECTOR_ADD, high, wide_double(e, MIDDLE))); /* what is above its 32 bits is shifted out */
    low = lower(e, as_bits(e, vector_binary(f, VECTOR_ADD, low, wide_double(e, UNIT_52))));
    return vector_binary(f, VECTOR_OR, vector_immediate(f, VECTOR_SHL, high, HALF), low);
}

/* ---- floats to whole numbers ---- */

static int long_from_double(ExprEmitter *e, DType type, int x) {
    VectorFunction *f = e->f;
    bool is_signed = type == DT_S64;
    double low = is_signed ? -0x1p63 : 0, high = is_signed ? 0x1p63 : 0x1p64;
    int y = wide_from_whole(e, vector_unary(f, VECTOR_TRUNC, x));
    y = wide_pick(e, vector_binary(f, VECTOR_LE, wide_double(e, high), x), wide_long(e, is_signed ? INT64_MAX : -1), y);
    y = wide_pick(e, vector_binary(f, VECTOR_LE, x, wide_double(e, low)), wide_long(e, is_signed ? INT64_MIN : 0), y);
    return wide_pick(e, vector_binary(f, VECTOR_UNORDERED, x, x), wide_long(e, 0), y);
}

static int short_from_double(ExprEmitter *e, DType type, int x) {
    VectorFunction *f = e->f;
    int bits = dtype_bits(type);
    bool is_signed = dtype_kind(type) == KIND_SIGNED;
    double low = is_signed ? -ldexp(1, bits - 1) : 0, high = ldexp(1, is_signed ? bits - 1 : bits) - 1;
    x = wide_pick(e, vector_binary(f, VECTOR_UNORDERED, x, x), wide_double(e, 0), x);
    x = vector_binary(f, VECTOR_MIN, vector_binary(f, VECTOR_MAX, x, wide_double(e, low)), wide_double(e, high));
    x = vector_binary(f, VECTOR_ADD, vector_unary(f, VECTOR_TRUNC, x), wide_double(e, MIDDLE));
    return vector_convert(f, VECTOR_BITS, DT_S32, as_bits(e, x));
}

/* ---- whole numbers to floats ---- */

/* Beyond 2^53 what lies below the 53rd bit becomes one bit that says whether there is anything: so the double is exact, and
 * rounding it to f32 is rounding the number. */
static int single_from_long(ExprEmitter *e, DType type, int x) {
    VectorFunction *f = e->f;
    if (f->longs && type == DT_S64)
        return vector_convert(f, VECTOR_CVT, DT_F32, x);
    int rest = vector_binary(f, VECTOR_ADD, vector_binary(f, VECTOR_AND, x, wide_long(e, 0x7ff)), wide_long(e, 0x7ff));
    int odd = vector_binary(f, VECTOR_AND, vector_binary(f, VECTOR_OR, x, rest), wide_long(e, -0x800));
    int64_t most = INT64_C(1) << 53;
    int shifted = type == DT_U64 ? x : vector_binary(f, VECTOR_ADD, x, wide_long(e, most));
    int far = wide_less(e, DT_U64, wide_long(e, type == DT_U64 ? most : 2 * most), shifted);
    return vector_convert(f, VECTOR_CVT, DT_F32, wide_to_double(e, type, wide_pick(e, far, odd, x)));
}

static int float_from_long(ExprEmitter *e, const Expr *cast, int x) {
    DType from = cast->arg[0]->type;
    ExprRange range = e->range[cast->arg[0]->id];
    if (cast->type == DT_F64)
        return wide_to_double(e, from, x);
    if (cast->type == DT_BF16 && (range.low < -(1 << 24) || range.high > 1 << 24))
        return expr_refuse(e, "a conversion of 64 bits to bf16");
    return convert_fit(e, cast->type, single_from_long(e, from, x));
}

static int double_from_short(ExprEmitter *e, DType from, int x) {
    int y = wide_extend(e, from, x);
    return dtype_kind(from) == KIND_SIGNED ? small_signed(e, y) : small_unsigned(e, y);
}

/* ---- the whole ---- */

static int from_bool(ExprEmitter *e, DType to, int mask) {
    return to == DT_F64 ? wide_select(e, mask, wide_double(e, 1), wide_double(e, 0))
                        : wide_select(e, mask, wide_long(e, 1), wide_long(e, 0));
}

static int to_bool(ExprEmitter *e, DType from, int x) {
    return wide_mask_out(e, vector_binary(e->f, VECTOR_NE, x, from == DT_F64 ? wide_double(e, 0) : wide_long(e, 0)));
}

static int from_double(ExprEmitter *e, DType to, int x) {
    if (to == DT_F32)
        return vector_convert(e->f, VECTOR_CVT, DT_F32, x);
    if (dtype_kind(to) == KIND_FLOAT)
        return expr_refuse(e, "a conversion of f64 to a half");
    return wide_type(to) ? long_from_double(e, to, x) : short_from_double(e, to, x);
}

int wide_cast(ExprEmitter *e, const Expr *cast, int x) {
    DType to = cast->type, from = cast->arg[0]->type;
    bool from_float = dtype_kind(from) == KIND_FLOAT, to_float = dtype_kind(to) == KIND_FLOAT;
    if (to == from)
        return x;
    if (from == DT_BOOL)
        return from_bool(e, to, x);
    if (to == DT_BOOL)
        return to_bool(e, from, x);
    if (from == DT_F64)
        return from_double(e, to, x);
    if (from_float) { /* halves and f32 */
        x = vector_convert(e->f, VECTOR_CVT, DT_F64, x);
        return to == DT_F64 ? x : long_from_double(e, to, x);
    }
    if (to_float)
        return wide_type(from) ? float_from_long(e, cast, x) : double_from_short(e, from, x);
    if (wide_type(to))
        return wide_type(from) ? x : wide_extend(e, from, x);
    return convert_fit(e, to, vector_convert(e->f, VECTOR_BITS, DT_S32, x));
}
