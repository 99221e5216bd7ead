/* Functions as expressions in vector code, f32: argument reduction, a polynomial, reconstruction. Right at infinities, NaN,
 * zeros and subnormals; tests/math_test.c prints the largest error of each over all exponents.
 *
 * A clamp written MIN_OR(limit, x) lets NaN through, since MIN_OR gives its second operand when either is NaN. */
#include "schedule/schedule.h"

#include <math.h>

static int c(VectorFunction *f, double value) {
    return vector_const(f, DT_F32, value);
}

static int ci(VectorFunction *f, int value) {
    return vector_const(f, DT_S32, value);
}

static int add(VectorFunction *f, int a, int b) {
    return vector_binary(f, VECTOR_ADD, a, b);
}

static int sub(VectorFunction *f, int a, int b) {
    return vector_binary(f, VECTOR_SUB, a, b);
}

static int mul(VectorFunction *f, int a, int b) {
    return vector_binary(f, VECTOR_MUL, a, b);
}

static int fma_(VectorFunction *f, int a, int b, int addend) {
    return vector_ternary(f, VECTOR_FMA, a, b, addend);
}

static int absolute(VectorFunction *f, int x) {
    return vector_binary(f, VECTOR_AND_NOT, c(f, -0.0), x);
}

/* |magnitude| with the sign of `sign`; the magnitude is not negative. */
static int with_sign(VectorFunction *f, int magnitude, int sign) {
    return vector_binary(f, VECTOR_OR, magnitude, vector_binary(f, VECTOR_AND, sign, c(f, -0.0)));
}

/* Horner's rule, the highest coefficient first. */
static int polynomial(VectorFunction *f, int x, const double *coefficient, size_t count) {
    int y = c(f, coefficient[0]);
    for (size_t i = 1; i < count; i++)
        y = fma_(f, y, x, c(f, coefficient[i]));
    return y;
}

/* 2^n as a float, for n in [-126, 127] as an integer. */
static int power_of_two(VectorFunction *f, int n) {
    return vector_convert(f, VECTOR_BITS, DT_F32, vector_immediate(f, VECTOR_SHL, add(f, n, ci(f, 127)), 23));
}

/* x = n ln 2 + r, |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 p(r) within 2^-28 (minimax). The polynomial is folded by
 * pairs: a chain of operations is what bounds this function. `*q` is exp(r) - 1, `*n` a float. */
static void reduce_exp(VectorFunction *f, int x, int *n, int *q) {
    static const double p[] = {0.49999994, 0.16666521, 0.04166839, 0.008368745, 0.001381454};
    int whole = vector_unary(f, VECTOR_ROUND, mul(f, x, c(f, 1.44269504088896341)));
    int r = vector_ternary(f, VECTOR_FNMA, whole, c(f, 0.693145751953125), x);
    r = vector_ternary(f, VECTOR_FNMA, whole, c(f, 1.428606765330187e-6), r);
    *n = whole;
    int square = mul(f, r, r), low = fma_(f, c(f, p[1]), r, c(f, p[0])), high = fma_(f, c(f, p[3]), r, c(f, p[2]));
    high = fma_(f, c(f, p[4]), square, high);
    *q = fma_(f, fma_(f, high, square, low), square, r);
}

/* 2^n is applied last, so that results reach down to the subnormals and up to infinity. */
static int emit_exp(VectorFunction *f, int x) {
    int n, q;
    x = vector_binary(f, VECTOR_MIN_OR, c(f, 89), x);
    x = vector_binary(f, VECTOR_MAX_OR, c(f, -104), x);
    reduce_exp(f, x, &n, &q);
    return vector_binary(f, VECTOR_SCALE, add(f, q, c(f, 1)), n);
}

int math_exp_below(VectorFunction *f, int x) {
    static const double p[] = {0.001381454, 0.008368745, 0.04166839, 0.16666521, 0.49999994, 1, 1};
    x = vector_binary(f, VECTOR_MAX_OR, c(f, -104), x);
    int whole = vector_unary(f, VECTOR_ROUND, mul(f, x, c(f, 1.44269504088896341)));
    int r = vector_ternary(f, VECTOR_FNMA, whole, c(f, 0.693145751953125), x);
    r = vector_ternary(f, VECTOR_FNMA, whole, c(f, 1.428606765330187e-6f), r);
    return vector_binary(f, VECTOR_SCALE, polynomial(f, r, p, COUNT(p)), whole);
}

/* 2 (2^(n-1) q + 2^(n-1) - 1/2): nothing cancels near zero, where n is 0. */
static int emit_expm1(VectorFunction *f, int x) {
    int n, q, in = x;
    x = vector_binary(f, VECTOR_MIN_OR, c(f, 89), x);
    x = vector_binary(f, VECTOR_MAX_OR, c(f, -18), x);
    reduce_exp(f, x, &n, &q);
    int scale = power_of_two(f, sub(f, vector_convert(f, VECTOR_CVT, DT_S32, n), ci(f, 1)));
    int y = fma_(f, scale, q, sub(f, scale, c(f, 0.5)));
    y = add(f, y, y);
    int small = vector_binary(f, VECTOR_LT, absolute(f, in), c(f, 0x1p-60)); /* keeps subnormals and the sign of zero */
    return vector_ternary(f, VECTOR_SELECT, small, in, y);
}

/* x = 2^e m, sqrt(1/2) <= m < sqrt(2); the coefficients are those of Cephes' logf. */
static int emit_log(VectorFunction *f, int x) {
    static const double p[] = {7.0376836292e-2,  -1.1514610310e-1, 1.1676998740e-1,  -1.2420140846e-1, 1.4249322787e-1,
                               -1.6668057665e-1, 2.0000714765e-1,  -2.4999993993e-1, 3.3333331174e-1};
    int tiny = vector_binary(f, VECTOR_LT, x, c(f, 0x1p-126));
    int scaled = vector_ternary(f, VECTOR_SELECT, tiny, mul(f, x, c(f, 0x1p23)), x);
    int bits = vector_convert(f, VECTOR_BITS, DT_S32, scaled);
    /* Counting from sqrt(1/2) makes m's range symmetric. */
    int from = sub(f, bits, ci(f, 0x3f3504f3));
    int e = vector_convert(f, VECTOR_CVT, DT_F32, vector_immediate(f, VECTOR_SAR, from, 23));
    e = sub(f, e, vector_ternary(f, VECTOR_SELECT, tiny, c(f, 23), c(f, 0)));
    int m =
        vector_convert(f, VECTOR_BITS, DT_F32, add(f, vector_binary(f, VECTOR_AND, from, ci(f, 0x7fffff)), ci(f, 0x3f3504f3)));
    int r = sub(f, m, c(f, 1)), z = mul(f, r, r);
    int y = mul(f, mul(f, polynomial(f, r, p, COUNT(p)), r), z);
    y = fma_(f, e, c(f, -2.12194440e-4), y);
    y = fma_(f, z, c(f, -0.5), y);
    y = fma_(f, e, c(f, 0.693359375), add(f, r, y));
    int plain = vector_binary(f, VECTOR_LT, x, c(f, INFINITY)); /* infinity and NaN give themselves */
    y = vector_ternary(f, VECTOR_SELECT, plain, y, x);
    y = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_EQ, x, c(f, 0)), c(f, -INFINITY), y);
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, x, c(f, 0)), c(f, NAN), y);
}

/* log(u) + (x - (u - 1)) / u with u = 1 + x rounded: the second term is what rounding lost. Where it is not a number (at -1 and
 * infinity) the first is the answer. */
static int emit_log1p(VectorFunction *f, int x) {
    int u = add(f, x, c(f, 1));
    int lost = vector_binary(f, VECTOR_DIV, sub(f, x, sub(f, u, c(f, 1))), u), y = emit_log(f, u);
    y = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_UNORDERED, lost, lost), y, add(f, y, lost));
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_EQ, x, c(f, 0)), x, y); /* keeps the sign of zero */
}

/* 1 - 2 / (exp(2|x|) + 1), and Cephes' polynomial in x^2 below 0.625. */
static int emit_tanh(VectorFunction *f, int x) {
    static const double p[] = {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1};
    int t = absolute(f, x), z = mul(f, x, x);
    int near = fma_(f, mul(f, polynomial(f, z, p, COUNT(p)), z), x, x);
    int e = emit_exp(f, add(f, t, t));
    int far = sub(f, c(f, 1), vector_binary(f, VECTOR_DIV, c(f, 2), add(f, e, c(f, 1))));
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, t, c(f, 0.625)), near, with_sign(f, far, x));
}

/* Two ranges: a polynomial in x^2 below 0.9277, and 1 - exp(polynomial in |x|) above. */
static int emit_erf(VectorFunction *f, int x) {
    static const double low[] = {-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1};
    int t = absolute(f, x), s = mul(f, x, x);
    int r = fma_(f, c(f, -1.72853470e-5), t, c(f, 3.83197126e-4));
    int u = fma_(f, c(f, -3.88396438e-3), t, c(f, 2.42546219e-2));
    r = fma_(f, r, s, u);
    r = fma_(f, r, t, c(f, -1.06777877e-1));
    r = fma_(f, r, t, c(f, -6.34846687e-1));
    r = fma_(f, r, t, c(f, -1.28717512e-1));
    r = vector_ternary(f, VECTOR_FMA, r, t, vector_binary(f, VECTOR_XOR, t, c(f, -0.0)));
    int far = with_sign(f, sub(f, c(f, 1), emit_exp(f, r)), x);
    int near = fma_(f, polynomial(f, s, low, COUNT(low)), x, x); /* last, when the other's registers are free */
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, c(f, 0.927734375), t), far, near);
}

static int emit_sign(VectorFunction *f, int x) {
    int y = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_UNORDERED, x, x), x, c(f, 0));
    y = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, c(f, 0), x), c(f, 1), y);
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, x, c(f, 0)), c(f, -1), y);
}

int math_emit(VectorFunction *f, ExprOp op, int x) {
    switch (op) {
    case EXPR_EXP: return emit_exp(f, x);
    case EXPR_EXPM1: return emit_expm1(f, x);
    case EXPR_LOG: return emit_log(f, x);
    case EXPR_LOG1P: return emit_log1p(f, x);
    case EXPR_TANH: return emit_tanh(f, x);
    case EXPR_ERF: return emit_erf(f, x);
    case EXPR_SIGN: return emit_sign(f, x);
    default: return -1;
    }
}
