/* Casts, as docs/notation.md has them, and what keeps a value within its type: floats to integers go towards zero, stop at the
 * type's ends and give 0 for NaN; integers wrap around; halves are rounded to the nearest. */
#include "schedule/schedule.h"

static int number(ExprEmitter *e, double value) {
    return vector_const(e->f, DT_F32, value);
}

static int integer(ExprEmitter *e, int64_t value) {
    return vector_const(e->f, DT_S32, (double)value);
}

static int select(ExprEmitter *e, int mask, int yes, int no) {
    return vector_ternary(e->f, VECTOR_SELECT, mask, yes, no);
}

int convert_bf16_bits(VectorFunction *f, int x) {
    return vector_binary(f, VECTOR_AND, vector_bf16_bits(f, x), vector_const(f, DT_S32, -0x10000));
}

static int round_bf16(ExprEmitter *e, int x) {
    return vector_convert(e->f, VECTOR_BITS, DT_F32, convert_bf16_bits(e->f, x));
}

int convert_fit(ExprEmitter *e, DType type, int x) {
    int gap = 32 - dtype_bits(type);
    switch (type) {
    case DT_BF16: return round_bf16(e, x);
    case DT_F16: return vector_round_to(e->f, DT_F16, x);
    case DT_U8:
    case DT_U16: return vector_binary(e->f, VECTOR_AND, x, integer(e, (INT64_C(1) << dtype_bits(type)) - 1));
    case DT_S8:
    case DT_S16: return vector_immediate(e->f, VECTOR_SAR, vector_immediate(e->f, VECTOR_SHL, x, gap), gap);
    default: return x;
    }
}

/* Numbers of 8 and 16 bits: the ends are floats, so what is left is whole and in range. MAX_OR gives its second operand for NaN:
 * 0 where that is the lower end; elsewhere NaN is taken out first. */
static int narrow_from_float(ExprEmitter *e, DType type, int x) {
    int bits = dtype_bits(type);
    bool is_signed = dtype_kind(type) == KIND_SIGNED;
    double low = is_signed ? -(double)(1 << (bits - 1)) : 0, high = (1 << (is_signed ? bits - 1 : bits)) - 1;
    if (is_signed)
        x = select(e, vector_binary(e->f, VECTOR_UNORDERED, x, x), number(e, 0), x);
    x = vector_binary(e->f, VECTOR_MAX_OR, x, number(e, low));
    return vector_convert(e->f, VECTOR_CVT, DT_S32, vector_binary(e->f, VECTOR_MIN_OR, x, number(e, high)));
}

/* CVT gives INT32_MIN beyond the range, which is right below it. */
static int s32_from_float(ExprEmitter *e, int x) {
    int y = vector_convert(e->f, VECTOR_CVT, DT_S32, x);
    y = select(e, vector_binary(e->f, VECTOR_LE, number(e, 0x1p31), x), integer(e, INT32_MAX), y);
    return select(e, vector_binary(e->f, VECTOR_UNORDERED, x, x), integer(e, 0), y);
}

/* The upper half of the range is converted 2^31 lower; then its highest bit is set. */
static int u32_from_float(ExprEmitter *e, int x) {
    int p = vector_binary(e->f, VECTOR_MAX_OR, x, number(e, 0)); /* NaN: 0 */
    int upper = vector_binary(e->f, VECTOR_LE, number(e, 0x1p31), p);
    int lowered = select(e, upper, vector_binary(e->f, VECTOR_SUB, p, number(e, 0x1p31)), p);
    int y = vector_convert(e->f, VECTOR_CVT, DT_S32, lowered);
    y = vector_binary(e->f, VECTOR_XOR, y, select(e, upper, integer(e, INT32_MIN), integer(e, 0)));
    return select(e, vector_binary(e->f, VECTOR_LE, number(e, 0x1p32), p), integer(e, -1), y);
}

static int integer_from_float(ExprEmitter *e, DType type, int x) {
    if (dtype_bits(type) < 32)
        return narrow_from_float(e, type, x);
    return type == DT_S32   ? s32_from_float(e, x)
           : type == DT_U32 ? u32_from_float(e, x)
                            : expr_refuse(e, "a conversion of a float to 64 bits");
}

/* Two halves of 16 bits, which are exact; their sum is rounded once. */
static int float_from_u32(ExprEmitter *e, int x) {
    int high = vector_convert(e->f, VECTOR_CVT, DT_F32, vector_immediate(e->f, VECTOR_SHR, x, 16));
    int low = vector_convert(e->f, VECTOR_CVT, DT_F32, vector_binary(e->f, VECTOR_AND, x, integer(e, 0xffff)));
    return vector_ternary(e->f, VECTOR_FMA, high, number(e, 65536), low);
}

/* A bf16 is rounded once where f32 holds the integer exactly. f16 has no finite values beyond that. */
static int float_from_integer(ExprEmitter *e, const Expr *expr, int x) {
    const Expr *from = expr->arg[0];
    ExprRange range = e->range[from->id];
    if (expr->type == DT_BF16 && (range.low < -(1 << 24) || range.high > 1 << 24))
        return expr_refuse(e, "a conversion of 32 bits to bf16");
    int y = from->type == DT_U32 ? float_from_u32(e, x) : vector_convert(e->f, VECTOR_CVT, DT_F32, x);
    return expr == e->unrounded ? y : convert_fit(e, expr->type, y);
}

static bool fits(ExprRange range, DType type) {
    int bits = dtype_bits(type);
    bool is_signed = dtype_kind(type) == KIND_SIGNED;
    if (bits >= 32)
        return true; /* the bits are the same */
    return range.low >= (is_signed ? -(INT64_C(1) << (bits - 1)) : 0) && range.high < INT64_C(1) << (is_signed ? bits - 1 : bits);
}

int convert_emit(ExprEmitter *e, const Expr *expr, int x) {
    DType to = expr->type, from = expr->arg[0]->type;
    bool to_float = dtype_kind(to) == KIND_FLOAT, from_float = dtype_kind(from) == KIND_FLOAT;
    if (to == from)
        return x;
    if (from == DT_BOOL)
        return to_float ? select(e, x, number(e, 1), number(e, 0)) : select(e, x, integer(e, 1), integer(e, 0));
    if (to == DT_BOOL)
        return vector_binary(e->f, VECTOR_NE, x, from_float ? number(e, 0) : integer(e, 0));
    if (from_float && to_float)
        return to == DT_F32 || expr == e->unrounded ? x : convert_fit(e, to, x);
    if (from_float)
        return integer_from_float(e, to, x);
    if (to_float)
        return float_from_integer(e, expr, x);
    return fits(e->range[expr->arg[0]->id], to) ? x : convert_fit(e, to, x);
}
