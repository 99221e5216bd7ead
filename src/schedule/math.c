/* Functions as expressions in vector code, f32: argument reduction, a polynomial, reconstruction. Right at infinities, NaN,
 * zeros and subnormals; tests/math_test.c prints the largest error of each over all exponents.
 *
 * A clamp written MIN_OR(limit, x) lets NaN through, since MIN_OR gives its second operand when either is NaN. */
#include "schedule/math.h"

#include <math.h>

/* 2^n as a float, for n in [-126, 127] as an integer. */
static int power_of_two(VectorFunction *f, int n) {
    return vector_convert(f, VECTOR_BITS, DT_F32, vector_immediate(f, VECTOR_SHL, math_add(f, n, math_integer(f, 127)), 23));
}

/* x - t ln 2, or x + t ln 2 if `less` is FMA. ln 2 is two numbers, the first of which t multiplies exactly. */
static int less_powers(VectorFunction *f, VectorCode less, int t, int x) {
    x = vector_ternary(f, less, t, math_number(f, 0.693145751953125), x);
    return vector_ternary(f, less, t, math_number(f, 1.428606765330187e-6), x);
}

/* x = n ln 2 + r, |r| <= ln 2 / 2; exp(r) = 1 + r + r^2 p(r) within 2^-28 (minimax). The polynomial is folded by
 * pairs: a chain of operations is what bounds this function. `*q` is exp(r) - 1, `*n` a float. */
static void reduce_exp(VectorFunction *f, int x, int *n, int *q) {
    static const double p[] = {0.49999994, 0.16666521, 0.04166839, 0.008368745, 0.001381454};
    int whole = vector_unary(f, VECTOR_ROUND, math_mul(f, x, math_number(f, 1.44269504088896341)));
    int r = less_powers(f, VECTOR_FNMA, whole, x);
    *n = whole;
    int square = math_mul(f, r, r), low = math_fma(f, math_number(f, p[1]), r, math_number(f, p[0])),
        high = math_fma(f, math_number(f, p[3]), r, math_number(f, p[2]));
    high = math_fma(f, math_number(f, p[4]), square, high);
    *q = math_fma(f, math_fma(f, high, square, low), square, r);
}

/* Where tables are fast: x = t ln 2 + r, t in sixteenths, which adding a number rounds to; its last four bits are the fraction's,
 * 2^fraction is `*power`. e^r is 1 + r + 0.50001625 r^2 + r^3/6 within 2^-29, |r| < 0.0217 (minimax); `*p` is that less 1, and
 * what the table's powers lack is in another table. With `sign` -1 it is e^-x: r changes its sign. */
static void reduce_exp_pieces(VectorFunction *f, int x, double sign, int *t, int *power, int *p) {
    int magic = math_number(f, 0x1.8p19), m = math_fma(f, x, math_number(f, sign * 1.44269504088896341), magic);
    int piece = vector_convert(f, VECTOR_BITS, DT_S32, m);
    *t = math_sub(f, m, magic);
    int r = less_powers(f, sign < 0 ? VECTOR_FMA : VECTOR_FNMA, *t, x);
    *power = vector_lookup(f, VECTOR_TABLE_EXP2, piece);
    int q = math_fma(f, math_number(f, sign / 6), r, math_number(f, 0.50001625));
    q = math_fma(f, q, r, math_number(f, sign));
    *p = math_fma(f, q, r, vector_lookup(f, VECTOR_TABLE_EXP2 + 1, piece));
}

static int exp_pieces(VectorFunction *f, int x) {
    int t, power, p;
    reduce_exp_pieces(f, x, 1, &t, &power, &p);
    return vector_binary(f, VECTOR_SCALE, math_fma(f, power, p, power), t);
}

/* 2^n is applied last, so that results reach down to the subnormals and up to infinity. */
static int emit_exp(VectorFunction *f, int x) {
    int n, q;
    x = vector_binary(f, VECTOR_MIN_OR, math_number(f, 89), x);
    x = vector_binary(f, VECTOR_MAX_OR, math_number(f, -104), x);
    if (f->lookup)
        return exp_pieces(f, x);
    reduce_exp(f, x, &n, &q);
    return vector_binary(f, VECTOR_SCALE, math_add(f, q, math_number(f, 1)), n);
}

/* exp(x) is power (1 + p): the smaller of power and 1 is what power p is added to, and the larger comes last, so that it is this
 * addition alone whose rounding is felt. Infinite powers may have a p below 0, which must not make them NaN. */
int math_one_and_exp(VectorFunction *f, int x, bool negated) {
    int one = math_number(f, 1), n, power, p;
    bool turned = negated && f->lookup;
    if (negated && !turned)
        x = vector_binary(f, VECTOR_XOR, x, math_number(f, -0.0));
    x = vector_binary(f, VECTOR_MIN_OR, math_number(f, turned ? 80 : 89), x);
    x = vector_binary(f, VECTOR_MAX_OR, math_number(f, turned ? -89 : -80), x);
    if (f->lookup) {
        reduce_exp_pieces(f, x, turned ? -1 : 1, &n, &power, &p);
        power = vector_binary(f, VECTOR_SCALE, power, n);
    } else {
        reduce_exp(f, x, &n, &p);
        power = power_of_two(f, vector_convert(f, VECTOR_CVT, DT_S32, n));
    }
    int low = math_fma(f, power, p, vector_binary(f, VECTOR_MIN_OR, one, power));
    return math_add(f, vector_binary(f, VECTOR_MAX_OR, one, power),
                    vector_binary(f, VECTOR_MAX_OR, math_number(f, -0x1p127), low));
}

/* The same in pieces half as long, so that a square is enough: e^r is 1 + 1.0000147 r + r^2/2 within 2^-24, |r| < 0.0109. That,
 * and what the table's powers lack, leave 1.75 ULP at the most. */
static int exp_pairs(VectorFunction *f, int x) {
    int magic = math_number(f, 0x1.8p18), m = math_fma(f, x, math_number(f, 1.44269504088896341), magic);
    int t = math_sub(f, m, magic), r = less_powers(f, VECTOR_FNMA, t, x);
    int power = vector_lookup_pair(f, VECTOR_TABLE_EXP2_PAIR, vector_convert(f, VECTOR_BITS, DT_S32, m));
    int p = math_mul(f, math_fma(f, math_number(f, 0.49999997), r, math_number(f, 1.0000147)), r);
    return vector_binary(f, VECTOR_SCALE, math_fma(f, power, p, power), t);
}

int math_exp_below(VectorFunction *f, int x) {
    static const double p[] = {0.001381454, 0.008368745, 0.04166839, 0.16666521, 0.49999994, 1, 1};
    x = vector_binary(f, VECTOR_MAX_OR, math_number(f, -104), x);
    if (f->lookup)
        return exp_pairs(f, x);
    int whole = vector_unary(f, VECTOR_ROUND, math_mul(f, x, math_number(f, 1.44269504088896341)));
    int r = less_powers(f, VECTOR_FNMA, whole, x);
    return vector_binary(f, VECTOR_SCALE, math_polynomial(f, r, p, COUNT(p)), whole);
}

/* 2 (2^(n-1) q + 2^(n-1) - 1/2): nothing cancels near zero, where n is 0. */
static int emit_expm1(VectorFunction *f, int x) {
    int n, q, in = x;
    x = vector_binary(f, VECTOR_MIN_OR, math_number(f, 89), x);
    x = vector_binary(f, VECTOR_MAX_OR, math_number(f, -18), x);
    reduce_exp(f, x, &n, &q);
    int scale = power_of_two(f, math_sub(f, vector_convert(f, VECTOR_CVT, DT_S32, n), math_integer(f, 1)));
    int y = math_fma(f, scale, q, math_sub(f, scale, math_number(f, 0.5)));
    y = math_add(f, y, y);
    int small =
        vector_binary(f, VECTOR_LT, math_absolute(f, in), math_number(f, 0x1p-60)); /* keeps subnormals and the sign of zero */
    return vector_ternary(f, VECTOR_SELECT, small, in, y);
}

/* x = 2^e m, sqrt(1/2) <= m < sqrt(2); the coefficients are those of Cephes' logf. */
static int emit_log(VectorFunction *f, int x) {
    static const double p[] = {7.0376836292e-2,  -1.1514610310e-1, 1.1676998740e-1,  -1.2420140846e-1, 1.4249322787e-1,
                               -1.6668057665e-1, 2.0000714765e-1,  -2.4999993993e-1, 3.3333331174e-1};
    int tiny = vector_binary(f, VECTOR_LT, x, math_number(f, 0x1p-126));
    int scaled = vector_ternary(f, VECTOR_SELECT, tiny, math_mul(f, x, math_number(f, 0x1p23)), x);
    int bits = vector_convert(f, VECTOR_BITS, DT_S32, scaled);
    /* Counting from sqrt(1/2) makes m's range symmetric. */
    int from = math_sub(f, bits, math_integer(f, 0x3f3504f3));
    int e = vector_convert(f, VECTOR_CVT, DT_F32, vector_immediate(f, VECTOR_SAR, from, 23));
    e = math_sub(f, e, vector_ternary(f, VECTOR_SELECT, tiny, math_number(f, 23), math_number(f, 0)));
    int m =
        vector_convert(f, VECTOR_BITS, DT_F32,
                       math_add(f, vector_binary(f, VECTOR_AND, from, math_integer(f, 0x7fffff)), math_integer(f, 0x3f3504f3)));
    int r = math_sub(f, m, math_number(f, 1)), z = math_mul(f, r, r);
    int y = math_mul(f, math_mul(f, math_polynomial(f, r, p, COUNT(p)), r), z);
    y = math_fma(f, e, math_number(f, -2.12194440e-4), y);
    y = math_fma(f, z, math_number(f, -0.5), y);
    y = math_fma(f, e, math_number(f, 0.693359375), math_add(f, r, y));
    int plain = vector_binary(f, VECTOR_LT, x, math_number(f, INFINITY)); /* infinity and NaN give themselves */
    y = vector_ternary(f, VECTOR_SELECT, plain, y, x);
    y = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_EQ, x, math_number(f, 0)), math_number(f, -INFINITY), y);
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, x, math_number(f, 0)), math_number(f, NAN), y);
}

/* log(u) + (x - (u - 1)) / u with u = 1 + x rounded: the second term is what rounding lost. Where it is not a number (at -1 and
 * infinity) the first is the answer. `more` (-1: nothing) is added to what was lost. */
int math_log1p_more(VectorFunction *f, int x, int more) {
    int u = math_add(f, x, math_number(f, 1));
    int lost = vector_binary(f, VECTOR_DIV, math_sub(f, x, math_sub(f, u, math_number(f, 1))), u), y = emit_log(f, u);
    if (more >= 0)
        lost = math_add(f, lost, more);
    y = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_UNORDERED, lost, lost), y, math_add(f, y, lost));
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_EQ, x, math_number(f, 0)), x, y); /* keeps the sign of zero */
}

/* Where tables are fast: functions that are odd and tend to 1, in pieces: c0 + c1 r + ... by the tables from `table` on. The
 * first piece's table has f(r) - r, and r is the larger of r and the other pieces' c0 there alone. */
static int odd_pieces(VectorFunction *f, int x, int r, int piece, int table, int degree) {
    int y = vector_lookup(f, table + degree, piece);
    for (int k = degree - 1; k >= 1; k--)
        y = math_fma(f, y, r, vector_lookup(f, table + k, piece));
    y = math_fma(f, y, r, vector_binary(f, VECTOR_MAX_OR, r, vector_lookup(f, table, piece)));
    return math_with_sign(f, y, x);
}

/* Pieces of |x| around multiples of 1/4, which adding a number rounds to; its last bits are the piece. */
static int emit_erf_pieces(VectorFunction *f, int x) {
    int magic = math_number(f, 0x1.8p21);
    int t = vector_binary(f, VECTOR_MIN_OR, math_number(f, 0x1.effffep1), math_absolute(f, x)), m = math_add(f, t, magic);
    int piece = vector_convert(f, VECTOR_BITS, DT_S32, m), r = math_sub(f, t, math_sub(f, m, magic));
    return odd_pieces(f, x, r, piece, VECTOR_TABLE_ERF, 5);
}

/* Four pieces for each power of two that |x| + 1 is in; the one beyond 9 is 1. */
static int emit_tanh_pieces(VectorFunction *f, int x) {
    int t = vector_binary(f, VECTOR_MIN_OR, math_number(f, 10.5), math_absolute(f, x)), m = math_add(f, t, math_number(f, 1));
    int piece = vector_immediate(f, VECTOR_SHR, vector_convert(f, VECTOR_BITS, DT_S32, m), 21);
    return odd_pieces(f, x, math_sub(f, t, vector_lookup(f, VECTOR_TABLE_TANH, piece)), piece, VECTOR_TABLE_TANH + 1, 6);
}

/* 1 - 2 / (exp(2|x|) + 1), and Cephes' polynomial in x^2 below 0.625. */
static int emit_tanh(VectorFunction *f, int x) {
    static const double p[] = {-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1};
    if (f->lookup)
        return emit_tanh_pieces(f, x);
    int t = math_absolute(f, x), z = math_mul(f, x, x);
    int near = math_fma(f, math_mul(f, math_polynomial(f, z, p, COUNT(p)), z), t, t);
    int e = emit_exp(f, math_add(f, t, t));
    int far = math_sub(f, math_number(f, 1), vector_binary(f, VECTOR_DIV, math_number(f, 2), math_add(f, e, math_number(f, 1))));
    int y = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, t, math_number(f, 0.625)), near, far);
    return math_with_sign(f, y, x); /* of zeros too */
}

/* Two ranges: a polynomial in x^2 below 0.9277, and 1 - exp(polynomial in |x|) above. */
static int emit_erf(VectorFunction *f, int x) {
    static const double low[] = {-5.96761703e-4, 4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1};
    if (f->lookup)
        return emit_erf_pieces(f, x);
    int t = math_absolute(f, x), s = math_mul(f, x, x);
    int r = math_fma(f, math_number(f, -1.72853470e-5), t, math_number(f, 3.83197126e-4));
    int u = math_fma(f, math_number(f, -3.88396438e-3), t, math_number(f, 2.42546219e-2));
    r = math_fma(f, r, s, u);
    r = math_fma(f, r, t, math_number(f, -1.06777877e-1));
    r = math_fma(f, r, t, math_number(f, -6.34846687e-1));
    r = math_fma(f, r, t, math_number(f, -1.28717512e-1));
    r = vector_ternary(f, VECTOR_FMA, r, t, vector_binary(f, VECTOR_XOR, t, math_number(f, -0.0)));
    int far = math_with_sign(f, math_sub(f, math_number(f, 1), emit_exp(f, r)), x);
    int near = math_fma(f, math_polynomial(f, s, low, COUNT(low)), x, x); /* last, when the other's registers are free */
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, math_number(f, 0.927734375), t), far, near);
}

static int emit_sign(VectorFunction *f, int x) {
    int y = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_UNORDERED, x, x), x, math_number(f, 0));
    y = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, math_number(f, 0), x), math_number(f, 1), y);
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, x, math_number(f, 0)), math_number(f, -1), y);
}

int math_emit(VectorFunction *f, ExprOp op, int x) {
    switch (op) {
    case EXPR_EXP: return emit_exp(f, x);
    case EXPR_EXPM1: return emit_expm1(f, x);
    case EXPR_LOG: return emit_log(f, x);
    case EXPR_LOG1P: return math_log1p_more(f, x, -1);
    case EXPR_TANH: return emit_tanh(f, x);
    case EXPR_ERF: return emit_erf(f, x);
    case EXPR_SIGN: return emit_sign(f, x);
    default: return math_emit_more(f, op, x);
    }
}

int math_exp_scaled(VectorFunction *f, int x, int powers) {
    int n, q;
    x = vector_binary(f, VECTOR_MIN_OR, math_number(f, 91), x);
    reduce_exp(f, x, &n, &q);
    return vector_binary(f, VECTOR_SCALE, math_add(f, q, math_number(f, 1)), math_add(f, n, math_number(f, powers)));
}

int math_exp_less_one(VectorFunction *f, int x, int *powers) {
    int q;
    reduce_exp(f, x, powers, &q);
    return q;
}
