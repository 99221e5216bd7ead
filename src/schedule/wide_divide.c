/* Quotients and remainders in lanes of 64 bits, exact.
 *
 * Whole numbers are divided in double. Below 2^53 both operands are exact, and the quotient rounded to the nearest cannot reach
 * the next whole number: cut off, it is the quotient. Beyond, it is off by at most 2^12; what is left over is then small, and
 * divided once more. That may reach one too far, where what is left over has the wrong sign. */
#include "schedule/wide.h"

#include <math.h>

static int add(ExprEmitter *e, int a, int b) {
    return vector_binary(e->f, VECTOR_ADD, a, b);
}

static int subtract(ExprEmitter *e, int a, int b) {
    return vector_binary(e->f, VECTOR_SUB, a, b);
}

static int multiply(ExprEmitter *e, int a, int b) {
    return vector_binary(e->f, VECTOR_MUL_LONG, a, b);
}

static int negative(ExprEmitter *e, int x) {
    return vector_binary(e->f, VECTOR_LT, x, wide_long(e, 0));
}

static int is_zero(ExprEmitter *e, int x) {
    return vector_binary(e->f, VECTOR_EQ, x, wide_long(e, 0));
}

static bool is_exact(ExprRange r) {
    return r.low > -(INT64_C(1) << 53) && r.high < INT64_C(1) << 53;
}

typedef struct Division {
    int a, b; /* s64 */
    int quotient, rest;
} Division;

static int cut_quotient(ExprEmitter *e, int a, int double_b) {
    int q = vector_binary(e->f, VECTOR_DIV, wide_to_double(e, DT_S64, a), double_b);
    return wide_from_whole(e, vector_unary(e->f, VECTOR_TRUNC, q));
}

/* Towards zero, of signed numbers; INT64_MIN / -1 wraps around. What is divided by zero is anything. */
static void divide_signed(ExprEmitter *e, Division *d, bool exact) {
    int b = wide_to_double(e, DT_S64, d->b);
    d->quotient = cut_quotient(e, d->a, b);
    d->rest = subtract(e, d->a, multiply(e, d->quotient, d->b));
    if (exact)
        return;
    int more = cut_quotient(e, d->rest, b);
    d->quotient = add(e, d->quotient, more);
    d->rest = subtract(e, d->rest, multiply(e, more, d->b));
    int zero = wide_long(e, 0), opposite = negative(e, vector_binary(e->f, VECTOR_XOR, d->a, d->b));
    int wrong = vector_binary(e->f, VECTOR_MASK_XOR, negative(e, d->a), negative(e, d->rest));
    wrong = vector_binary(e->f, VECTOR_MASK_AND, wrong, vector_binary(e->f, VECTOR_NE, d->rest, zero));
    int one = wide_pick(e, opposite, wide_long(e, -1), wide_long(e, 1));
    int step = wide_pick(e, opposite, subtract(e, zero, d->b), d->b);
    d->quotient = subtract(e, d->quotient, wide_pick(e, wrong, one, zero));
    d->rest = add(e, d->rest, wide_pick(e, wrong, step, zero));
}

/* Half of a, which is not negative as a signed number, is divided; the last bit is one comparison. A divisor with its highest bit
 * set goes once or not at all. */
static void divide_unsigned(ExprEmitter *e, Division *d) {
    int one = wide_long(e, 1), zero = wide_long(e, 0);
    Division half = {.a = vector_immediate(e->f, VECTOR_SHR, d->a, 1), .b = d->b};
    divide_signed(e, &half, false);
    int q = vector_immediate(e->f, VECTOR_SHL, half.quotient, 1);
    q = wide_pick(e, negative(e, d->b), zero, q);
    int rest = subtract(e, d->a, multiply(e, q, d->b)), less = wide_less(e, DT_U64, rest, d->b);
    d->quotient = add(e, q, wide_pick(e, less, zero, one));
    d->rest = subtract(e, rest, wide_pick(e, less, zero, d->b));
}

/* From towards zero to what `op` wants of it. */
static int finish(ExprEmitter *e, ExprOp op, bool is_signed, const Division *d) {
    bool floored = is_signed && (op == EXPR_FLOORDIV || op == EXPR_MOD), quotient = op == EXPR_DIV || op == EXPR_FLOORDIV;
    int zero = wide_long(e, 0), y = quotient ? d->quotient : d->rest;
    if (floored) {
        int lower = negative(e, vector_binary(e->f, VECTOR_XOR, d->rest, d->b));
        lower = vector_binary(e->f, VECTOR_MASK_AND, lower, vector_binary(e->f, VECTOR_NE, d->rest, zero));
        y = quotient ? subtract(e, y, wide_pick(e, lower, wide_long(e, 1), zero)) : add(e, y, wide_pick(e, lower, d->b, zero));
    }
    return wide_pick(e, is_zero(e, d->b), zero, y);
}

int wide_divide(ExprEmitter *e, const Expr *expr, int a, int b) {
    ExprRange ra = e->range[expr->arg[0]->id], rb = e->range[expr->arg[1]->id];
    bool is_signed = expr->type == DT_S64, exact = is_exact(ra) && is_exact(rb);
    Division d = {.a = a, .b = b};
    if (is_signed || exact)
        divide_signed(e, &d, exact);
    else
        divide_unsigned(e, &d);
    return finish(e, expr->op, is_signed, &d);
}

int wide_divide_32(ExprEmitter *e, const Expr *expr, int a, int b) {
    Division d = {.a = wide_extend(e, expr->type, a), .b = wide_extend(e, expr->type, b)};
    divide_signed(e, &d, true);
    int y = finish(e, expr->op, dtype_kind(expr->type) == KIND_SIGNED, &d);
    return vector_convert(e->f, VECTOR_BITS, DT_S32, y);
}

/* ---- floats ---- */

/* |x| modulo |y|: a quotient of 53 bits is taken off as often as it takes until what is left is below y. Each time that is exact:
 * operands have 24 bits, and so has what is left, for the quotient is the nearest or cut off. */
static int remainder_of(ExprEmitter *e, DType type, int x, int y) {
    enum { HALVES = 1, SINGLES = 6 }; /* exponents of f16 are at most 2^40 apart, of others 2^277 */
    VectorFunction *f = e->f;
    int rest = x, zero = wide_double(e, 0);
    for (int i = 0; i < (type == DT_F16 ? HALVES : SINGLES); i++) {
        int q = vector_unary(f, VECTOR_TRUNC, vector_binary(f, VECTOR_DIV, rest, y));
        rest = vector_ternary(f, VECTOR_FNMA, q, y, rest);
        rest = wide_pick(e, vector_binary(f, VECTOR_LT, rest, zero), vector_binary(f, VECTOR_ADD, rest, y), rest);
    }
    int infinity = wide_double(e, INFINITY); /* of a finite number by an infinite one: all of it */
    int whole =
        vector_binary(f, VECTOR_MASK_AND, vector_binary(f, VECTOR_EQ, y, infinity), vector_binary(f, VECTOR_LT, x, infinity));
    return wide_pick(e, whole, x, rest);
}

/* Both have f32's lanes: the remainder is a number of that type, with the sign of a; MOD's has that of b. */
int wide_remainder(ExprEmitter *e, const Expr *expr, int a, int b) {
    VectorFunction *f = e->f;
    int minus = vector_const(f, DT_F32, -0.0);
    int x = vector_convert(f, VECTOR_CVT, DT_F64, vector_binary(f, VECTOR_AND_NOT, minus, a));
    int y = vector_convert(f, VECTOR_CVT, DT_F64, vector_binary(f, VECTOR_AND_NOT, minus, b));
    int rest = vector_convert(f, VECTOR_CVT, DT_F32, remainder_of(e, expr->type, x, y));
    int sign_a = vector_binary(f, VECTOR_AND, a, minus), sign_b = vector_binary(f, VECTOR_AND, b, minus);
    int r = vector_binary(f, VECTOR_OR, rest, sign_a);
    if (expr->op == EXPR_FMOD)
        return r;
    int zero = vector_const(f, DT_F32, 0);
    int differ = vector_binary(f, VECTOR_MASK_XOR, vector_binary(f, VECTOR_LT, r, zero), vector_binary(f, VECTOR_LT, b, zero));
    int moved = vector_ternary(f, VECTOR_SELECT, differ, vector_binary(f, VECTOR_ADD, r, b), r);
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_EQ, r, zero), sign_b, moved);
}
