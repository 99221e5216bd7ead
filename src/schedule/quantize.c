/* Quantization inside an expression: fewer operations for what stands everywhere in quantized models, the same results.
 *
 *     u8(round(t) + f32(z))                 a number of 8 or 16 bits, made of a float
 *     f32(s32(u8(round(t) + f32(z))) - s32(z))    and taken apart again: a product that is quantized before it is scaled
 *
 * The ends of a type are whole numbers, so cutting off before rounding gives what cutting off behind it gives, and one conversion
 * rounds: max, min, cvt_round. Where a store follows, which saturates, the ends below are its business. The second form never
 * leaves floats: round(t) between the ends less z.
 *
 * NaN gives 0, as in all conversions: MAX_OR and MIN_OR give their second operand where either is NaN, so the order of operands
 * below matters; types with a sign take NaN out first. */
#include "schedule/schedule.h"

#include <math.h>

/* A narrow integer of a float that is rounded: round(term) + zero. */
typedef struct Rounded {
    DType type;
    const Expr *term, *zero; /* of f32; zero NULL: none, or it is known */
    double offset;           /* zero, where it is known; else 0 */
} Rounded;

static int number(ExprEmitter *e, double value) {
    return vector_const(e->f, DT_F32, value);
}

static double low_of(DType type) {
    return dtype_kind(type) == KIND_SIGNED ? -ldexp(1, dtype_bits(type) - 1) : 0;
}

static double high_of(DType type) {
    return ldexp(1, dtype_bits(type) - (dtype_kind(type) == KIND_SIGNED)) - 1;
}

static bool is_whole(const ExprEmitter *e, const Expr *expr, double *value) {
    return expr_known_number(e, expr, value) && fabs(*value) <= 65536 && *value == floor(*value);
}

/* f32(z[]), of 8 or 16 bits: whole, and small beside 2^24. */
static bool is_small_integer(const Expr *expr) {
    return expr->op == EXPR_CAST && dtype_kind(expr->arg[0]->type) != KIND_FLOAT && dtype_bits(expr->arg[0]->type) <= 16;
}

static bool find(const ExprEmitter *e, const Expr *expr, Rounded *out) {
    if (expr->op != EXPR_CAST || expr->arg[0]->type != DT_F32 || dtype_kind(expr->type) == KIND_FLOAT || expr->type == DT_BOOL ||
        dtype_bits(expr->type) > 16)
        return false;
    const Expr *value = expr->arg[0], *zero = NULL;
    if (value->op == EXPR_ADD) {
        zero = value->arg[1];
        value = value->arg[0];
    }
    *out = (Rounded){.type = expr->type, .zero = zero};
    if (value->op != EXPR_ROUND)
        return false;
    out->term = value->arg[0];
    if (zero && is_whole(e, zero, &out->offset))
        out->zero = NULL;
    return !out->zero || is_small_integer(zero);
}

/* What gives 0 in the place of NaN, where the least number of the type is not 0. */
static int not_nan(ExprEmitter *e, DType type, int x, double offset) {
    if (dtype_kind(type) != KIND_SIGNED)
        return x;
    return vector_ternary(e->f, VECTOR_SELECT, vector_binary(e->f, VECTOR_UNORDERED, x, x), number(e, -offset), x);
}

/* Between the ends of the type less `offset`. */
static int clamp(ExprEmitter *e, DType type, int x, double offset) {
    x = vector_binary(e->f, VECTOR_MAX_OR, x, number(e, low_of(type) - offset));
    return vector_binary(e->f, VECTOR_MIN_OR, x, number(e, high_of(type) - offset));
}

/* A term and its zero point as one whole float, which may lie outside of the type. */
static int whole(ExprEmitter *e, const Rounded *r) {
    int x = expr_emit(e, r->term), zero = r->zero ? expr_emit(e, r->zero) : -1;
    if (e->refused)
        return -1;
    x = vector_unary(e->f, VECTOR_ROUND, x);
    return not_nan(e, r->type, r->zero ? vector_binary(e->f, VECTOR_ADD, x, zero) : x, r->offset);
}

/* As s32. What is stored need not be cut off below: beyond the range CVT_ROUND gives the least number of all, NaN included, and
 * a zero point that is not negative leaves that negative. */
static int as_integer(ExprEmitter *e, const Expr *expr, const Rounded *r) {
    if (r->zero) {
        int x = whole(e, r);
        return e->refused ? -1 : vector_convert(e->f, VECTOR_CVT, DT_S32, clamp(e, r->type, x, 0));
    }
    int x = expr_emit(e, r->term);
    if (e->refused)
        return -1;
    x = not_nan(e, r->type, x, r->offset);
    if (expr == e->unrounded && r->offset >= 0)
        x = vector_binary(e->f, VECTOR_MIN_OR, number(e, high_of(r->type) - r->offset), x);
    else
        x = clamp(e, r->type, x, r->offset);
    x = vector_convert(e->f, VECTOR_CVT_ROUND, DT_S32, x);
    return r->offset == 0 ? x : vector_binary(e->f, VECTOR_ADD, x, vector_const(e->f, DT_S32, r->offset));
}

/* f32 of it, less `less`. */
static int as_float(ExprEmitter *e, const Rounded *r, const Expr *less) {
    double known = 0, offset = r->zero ? 0 : r->offset;
    int x = whole(e, r);
    if (e->refused)
        return -1;
    if (!less || is_whole(e, less, &known)) {
        x = clamp(e, r->type, x, offset);
        return known == offset ? x : vector_binary(e->f, VECTOR_ADD, x, number(e, offset - known));
    }
    int minus = expr_emit(e, less);
    if (e->refused)
        return -1;
    x = clamp(e, r->type, x, offset);
    if (offset != 0)
        x = vector_binary(e->f, VECTOR_ADD, x, number(e, offset));
    return vector_binary(e->f, VECTOR_SUB, x, vector_convert(e->f, VECTOR_CVT, DT_F32, minus));
}

int quantize_emit(ExprEmitter *e, const Expr *expr) {
    Rounded r;
    if (find(e, expr, &r))
        return as_integer(e, expr, &r);
    const Expr *from = expr->type == DT_F32 ? expr->arg[0] : NULL, *less = NULL;
    if (from && from->op == EXPR_SUB && from->type == DT_S32 &&
        (is_whole(e, from->arg[1], &r.offset) || is_small_integer(from->arg[1]))) {
        less = from->arg[1];
        from = from->arg[0];
    }
    if (from && from->op == EXPR_CAST && from->type == DT_S32)
        from = from->arg[0];
    return from && find(e, from, &r) ? as_float(e, &r, less) : -1;
}
