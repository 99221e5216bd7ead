/* Trigonometric and hyperbolic functions, their inverses, and powers, as vector code, f32. Coefficients are those of
 * tools/fit.py.
 *
 * Errors are largest where tests/math_test.c finds them, which prints them; docs/internals/map.md has the list. */
#include "schedule/math.h"

#include <math.h>

static int s32_bits(VectorFunction *f, int x) {
    return vector_convert(f, VECTOR_BITS, DT_S32, x);
}

static int select(VectorFunction *f, int mask, int yes, int no) {
    return vector_ternary(f, VECTOR_SELECT, mask, yes, no);
}

static int less(VectorFunction *f, int a, int b) {
    return vector_binary(f, VECTOR_LT, a, b);
}

static int equal(VectorFunction *f, int a, int b) {
    return vector_binary(f, VECTOR_EQ, a, b);
}

static int divide(VectorFunction *f, int a, int b) {
    return vector_binary(f, VECTOR_DIV, a, b);
}

static int root(VectorFunction *f, int x) {
    return vector_unary(f, VECTOR_SQRT, x);
}

static int change_sign(VectorFunction *f, int x, int sign_bits) {
    return vector_binary(f, VECTOR_XOR, x, sign_bits);
}

static int sign_bit(VectorFunction *f, int x) {
    return vector_binary(f, VECTOR_AND, x, math_number(f, -0.0));
}

/* ---- sine, cosine, tangent ----
 *
 * x = (n + f) pi / 2 with f in [-1/2, 1/2], for any x: 2 / pi is cut into numbers of 24 bits, whose products with x are exact as
 * two floats each. Those that are whole multiples of 4 for so large an x are left out, which is a choice of constants by the size
 * of x. Products are taken modulo 4 and added as integers, in units of 2^-29, where 8 is what wraps around; what is below goes
 * along as a float, exact to 2^-54. No float but 0 is nearer to a multiple of pi / 2 than 2^-30. */

enum { CHUNKS = 5, RANGES = 5 };

typedef struct Angle {
    int turns;  /* n, modulo 8, an s32 */
    int f, low; /* low: what f is too small by */
} Angle;

static void add_product(VectorFunction *f, int term, int *whole, int *rest) {
    int units = vector_convert(f, VECTOR_CVT_ROUND, DT_S32, math_mul(f, term, math_number(f, 0x1p29)));
    int left = vector_ternary(f, VECTOR_FNMA, vector_convert(f, VECTOR_CVT, DT_F32, units), math_number(f, 0x1p-29), term);
    *whole = *whole < 0 ? units : math_add(f, *whole, units);
    *rest = *rest < 0 ? left : math_add(f, *rest, left);
}

static int modulo_4(VectorFunction *f, int x) {
    int quarters = vector_unary(f, VECTOR_ROUND, math_mul(f, x, math_number(f, 0.25)));
    return vector_ternary(f, VECTOR_FNMA, quarters, math_number(f, 4), x);
}

static Angle reduce_angle(VectorFunction *f, int x) {
    static const int bits[CHUNKS + RANGES - 1] = {0xa2f983, 0x6e4e44, 0x1529fc, 0x2757d1, 0xf534dd,
                                                  0xc0db62, 0x95993c, 0x439041, 0xfe5163};
    int size = math_absolute(f, x), over[RANGES], chunk[CHUNKS], scale = math_number(f, 1), p[CHUNKS], e[CHUNKS];
    for (int r = 1; r < RANGES; r++)
        over[r] = vector_binary(f, VECTOR_LE, math_number(f, ldexp(1, 25 + 24 * r)), size);
    for (int r = 1; r < RANGES; r++)
        scale = select(f, over[r], math_number(f, ldexp(1, -24 * r)), scale);
    for (int j = 0; j < CHUNKS; j++) {
        chunk[j] = math_number(f, ldexp(bits[j], -24 * (j + 1)));
        for (int r = 1; r < RANGES; r++)
            chunk[j] = select(f, over[r], math_number(f, ldexp(bits[r + j], -24 * (j + 1))), chunk[j]);
    }
    int y = math_mul(f, x, scale), whole = -1, rest = -1;
    for (int j = 0; j < CHUNKS; j++) {
        p[j] = math_mul(f, y, chunk[j]);
        e[j] = j < 3 ? vector_ternary(f, VECTOR_FNMA, y, chunk[j], p[j]) : -1; /* what p is too large by */
    }
    add_product(f, modulo_4(f, p[0]), &whole, &rest);
    add_product(f, modulo_4(f, change_sign(f, e[0], math_number(f, -0.0))), &whole, &rest);
    add_product(f, modulo_4(f, p[1]), &whole, &rest);
    add_product(f, change_sign(f, e[1], math_number(f, -0.0)), &whole, &rest);
    add_product(f, p[2], &whole, &rest);
    rest = math_add(f, rest, math_add(f, math_sub(f, p[3], e[2]), p[4]));
    int turns = vector_immediate(f, VECTOR_SAR, math_add(f, whole, math_integer(f, 1 << 28)), 29);
    int fraction = math_sub(f, whole, vector_immediate(f, VECTOR_SHL, turns, 29));
    int high = vector_convert(f, VECTOR_CVT, DT_F32, fraction);
    int low = math_sub(f, fraction, vector_convert(f, VECTOR_CVT, DT_S32, high));
    rest = math_fma(f, vector_convert(f, VECTOR_CVT, DT_F32, low), math_number(f, 0x1p-29), rest);
    int sum = math_fma(f, high, math_number(f, 0x1p-29), rest);
    return (Angle){turns, sum,
                   math_add(f, math_fma(f, high, math_number(f, 0x1p-29), change_sign(f, sum, math_number(f, -0.0))), rest)};
}

/* `*lost` (NULL: not wanted) is what the result is too small by. */
static int sine_of(VectorFunction *f, int x, int z, int *lost) {
    static const double p[] = {0.000154604524, -0.00467954064, 0.0796923339, -0.645964086};
    int low = math_fma(f, z, math_polynomial(f, z, p, COUNT(p)), math_number(f, -4.371138828673793e-08));
    int slope = math_number(f, 1.5707963705062866), rest = math_mul(f, x, low), y = math_fma(f, x, slope, rest);
    if (lost)
        *lost = math_add(f, math_fma(f, x, slope, change_sign(f, y, math_number(f, -0.0))), rest);
    return y;
}

static int cosine_of(VectorFunction *f, int z, int *lost) {
    static const double p[] = {0.000894488068, -0.0208555963, 0.253668547, -1.23370051};
    int series = math_polynomial(f, z, p, COUNT(p)), one = math_number(f, 1), y = math_fma(f, z, series, one);
    if (lost)
        *lost = math_fma(f, z, series, math_sub(f, one, y));
    return y;
}

static int is_odd(VectorFunction *f, int n) {
    return vector_binary(f, VECTOR_NE, vector_binary(f, VECTOR_AND, n, math_integer(f, 1)), math_integer(f, 0));
}

/* The sign of quadrants 2 and 3, as a float's bits. */
static int half_turn(VectorFunction *f, int n) {
    int bit = vector_immediate(f, VECTOR_SHL, vector_immediate(f, VECTOR_SHR, n, 1), 31);
    return vector_convert(f, VECTOR_BITS, DT_F32, bit);
}

static int emit_sin(VectorFunction *f, int x) {
    Angle a = reduce_angle(f, x);
    int z = math_mul(f, a.f, a.f);
    int y = select(f, is_odd(f, a.turns), cosine_of(f, z, NULL), sine_of(f, a.f, z, NULL));
    y = change_sign(f, y, half_turn(f, a.turns));
    return select(f, less(f, math_absolute(f, x), math_number(f, 0x1p-12)), x, y);
}

static int emit_cos(VectorFunction *f, int x) {
    Angle a = reduce_angle(f, x);
    int z = math_mul(f, a.f, a.f), n = math_add(f, a.turns, math_integer(f, 1));
    int y = select(f, is_odd(f, n), cosine_of(f, z, NULL), sine_of(f, a.f, z, NULL));
    return change_sign(f, y, half_turn(f, n));
}

/* The quotient, and what its parts and the angle lost by rounding: (over' - y under') / under, and the slope pi / 2 (1 + y^2). */
static int emit_tan(VectorFunction *f, int x) {
    Angle a = reduce_angle(f, x);
    int z = math_mul(f, a.f, a.f), s_lost, c_lost, s = sine_of(f, a.f, z, &s_lost), c = cosine_of(f, z, &c_lost);
    int odd = is_odd(f, a.turns), minus = math_number(f, -0.0);
    int over = select(f, odd, change_sign(f, c, minus), s), under = select(f, odd, s, c), y = divide(f, over, under);
    int left = math_add(f, vector_ternary(f, VECTOR_FNMA, y, under, over), select(f, odd, change_sign(f, c_lost, minus), s_lost));
    left = vector_ternary(f, VECTOR_FNMA, y, select(f, odd, s_lost, c_lost), left);
    int turned = math_mul(f, a.low, math_number(f, 1.5707963705062866));
    int more = math_fma(f, turned, math_fma(f, y, y, math_number(f, 1)), divide(f, left, under));
    return select(f, less(f, math_absolute(f, x), math_number(f, 0x1p-12)), x, math_add(f, y, more));
}

/* ---- their inverses ---- */

static const double atan_terms[] = {0.0804975405, -0.138765469, 0.199776143, -0.333329469};

/* What a + b or a - b lost by rounding, |a| >= |b|. */
static int lost_of_sum(VectorFunction *f, int a, int b, int sum) {
    return math_sub(f, b, math_sub(f, sum, a));
}

static int lost_of_difference(VectorFunction *f, int a, int b, int difference) {
    return math_sub(f, math_sub(f, a, difference), b);
}

/* What (over - under) / (over + under) is too small by; where it is not `around` 1 top / bottom, whose parts are exact. */
static int lost_of_quotient(VectorFunction *f, int over, int under, int around, int top, int bottom, int t) {
    int larger = vector_binary(f, VECTOR_MAX_OR, over, under), smaller = vector_binary(f, VECTOR_MIN_OR, over, under);
    int zero = math_number(f, 0), top_lost = lost_of_difference(f, larger, smaller, math_sub(f, larger, smaller));
    top_lost = select(f, less(f, over, under), change_sign(f, top_lost, math_number(f, -0.0)), top_lost);
    top_lost = select(f, around, top_lost, zero);
    int bottom_lost = select(f, around, lost_of_sum(f, larger, smaller, bottom), zero);
    int left = math_add(f, vector_ternary(f, VECTOR_FNMA, t, bottom, top), top_lost);
    int lost = divide(f, vector_ternary(f, VECTOR_FNMA, t, bottom_lost, left), bottom);
    return select(f, vector_binary(f, VECTOR_UNORDERED, lost, lost), zero, lost); /* beside an infinity nothing is */
}

/* The arc tangent of over / under, both not negative: in [0, tan(pi/8)], around pi/4, around pi/2. */
static int arc_of(VectorFunction *f, int over, int under) {
    int low = less(f, math_mul(f, under, math_number(f, 0.41421356)), over);
    int high = less(f, math_mul(f, under, math_number(f, 2.4142135)), over);
    int around = vector_binary(f, VECTOR_MASK_XOR, low, high);
    int top = select(f, low, math_sub(f, over, under), over), bottom = select(f, low, math_add(f, over, under), under);
    top = select(f, high, change_sign(f, under, math_number(f, -0.0)), top);
    bottom = select(f, high, over, bottom);
    int t = divide(f, top, bottom), z = math_mul(f, t, t), more = lost_of_quotient(f, over, under, around, top, bottom, t);
    more = vector_ternary(f, VECTOR_FNMA, more, z, more); /* the slope is about 1 - z */
    int series = math_fma(f, math_mul(f, z, math_polynomial(f, z, atan_terms, COUNT(atan_terms))), t, more);
    int base = select(f, high, math_number(f, 1.5707963705062866),
                      select(f, low, math_number(f, 0.7853981852531433), math_number(f, 0)));
    int rest = select(f, high, math_number(f, -4.371138828673793e-08),
                      select(f, low, math_number(f, -2.1855694143368964e-08), math_number(f, 0)));
    int sum = math_add(f, base, t);
    return math_add(f, sum, math_add(f, series, math_add(f, rest, lost_of_sum(f, base, t, sum))));
}

static int emit_atan(VectorFunction *f, int x) {
    int t = math_absolute(f, x), most = vector_binary(f, VECTOR_MIN_OR, math_number(f, 0x1p100), t);
    int y = math_with_sign(f, arc_of(f, most, math_number(f, 1)), x);
    return select(f, less(f, t, math_number(f, 0x1p-12)), x, y);
}

/* Both are scaled to the middle of the range, so that no quotient is lost; two infinities are as two equal numbers. */
int math_atan2(VectorFunction *f, int y, int x) {
    int ay = math_absolute(f, y), ax = math_absolute(f, x), infinity = math_number(f, INFINITY);
    int both = vector_binary(f, VECTOR_MASK_AND, equal(f, ay, infinity), equal(f, ax, infinity));
    int larger = vector_binary(f, VECTOR_MAX_OR, ay, ax), huge = less(f, math_number(f, 0x1p100), larger);
    int tiny = less(f, larger, math_number(f, 0x1p-60));
    int scale = select(f, huge, math_number(f, 0x1p-60), select(f, tiny, math_number(f, 0x1p80), math_number(f, 1)));
    int over = select(f, both, math_number(f, 1), math_mul(f, ay, scale));
    int under = select(f, both, math_number(f, 1), math_mul(f, ax, scale));
    int none = equal(f, larger, math_number(f, 0));
    under = select(f, none, math_number(f, 1), under);
    int a = arc_of(f, over, under);
    int left = less(f, s32_bits(f, x), math_integer(f, 0));
    a = select(f, left, math_add(f, math_number(f, 3.1415927410125732), math_sub(f, math_number(f, -8.742277657347586e-08), a)),
               a);
    int nan = vector_binary(f, VECTOR_UNORDERED, x, y);
    return select(f, nan, math_add(f, x, y), math_with_sign(f, a, y));
}

/* asin(x) - x for |x| <= 1/2 */
static int asin_rest(VectorFunction *f, int x, int z) {
    static const double p[] = {0.0421449691, 0.0241915211, 0.0454680808, 0.0749531463, 0.166667521};
    return math_mul(f, math_mul(f, math_polynomial(f, z, p, COUNT(p)), z), x);
}

/* asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)) above 1/2 */
static int emit_asin(VectorFunction *f, int x) {
    int t = math_absolute(f, x), far = less(f, math_number(f, 0.5), t);
    int half = math_mul(f, math_sub(f, math_number(f, 1), t), math_number(f, 0.5));
    int z = select(f, far, half, math_mul(f, t, t)), s = select(f, far, root(f, half), t);
    int rest = asin_rest(f, s, z);
    int twice = math_add(f, math_add(f, rest, rest), math_number(f, 4.371138828673793e-08));
    int right = math_number(f, 1.5707963705062866), both = math_add(f, s, s), sum = math_sub(f, right, both);
    int above = math_add(f, sum, math_sub(f, lost_of_difference(f, right, both, sum), twice));
    return math_with_sign(f, select(f, far, above, math_add(f, s, rest)), x);
}

/* pi/2 - asin(x) in the middle; 2 asin(sqrt((1 - x) / 2)) above 1/2, and what that lacks to pi below -1/2. */
static int emit_acos(VectorFunction *f, int x) {
    int t = math_absolute(f, x), far = less(f, math_number(f, 0.5), t);
    int half = math_mul(f, math_sub(f, math_number(f, 1), t), math_number(f, 0.5));
    int z = select(f, far, half, math_mul(f, x, x)), s = select(f, far, root(f, half), x);
    int rest = asin_rest(f, s, z), minus = math_number(f, -4.371138828673793e-08);
    int middle = math_sub(f, math_number(f, 1.5707963705062866), math_add(f, s, math_sub(f, rest, minus)));
    int above = math_fma(f, s, math_number(f, 2), math_add(f, rest, rest));
    int below = math_sub(f, math_number(f, 3.1415927410125732), math_sub(f, above, math_add(f, minus, minus)));
    int ends = select(f, less(f, x, math_number(f, 0)), below, above);
    return select(f, far, ends, middle);
}

/* ---- hyperbolic ---- */

/* e^|x| / 2, which overflows no sooner than what it is for. */
static int half_exp(VectorFunction *f, int t) {
    return math_exp_scaled(f, t, -1);
}

static int emit_sinh(VectorFunction *f, int x) {
    static const double p[] = {2.50521084e-8, 2.75573192e-6, 1.98412698e-4, 8.33333333e-3, 1.66666667e-1};
    int t = math_absolute(f, x), h = half_exp(f, t), z = math_mul(f, x, x);
    int far = math_with_sign(f, math_sub(f, h, divide(f, math_number(f, 0.25), h)), x);
    int near = math_fma(f, math_mul(f, z, math_polynomial(f, z, p, COUNT(p))), x, x);
    return select(f, less(f, t, math_number(f, 1)), near, far);
}

static int emit_cosh(VectorFunction *f, int x) {
    int h = half_exp(f, math_absolute(f, x));
    return math_add(f, h, divide(f, math_number(f, 0.25), h));
}

/* log1p(t + t^2 / (1 + sqrt(1 + t^2))); far out log(t) + log(2). */
static int emit_asinh(VectorFunction *f, int x) {
    int t = math_absolute(f, x), far = less(f, math_number(f, 0x1p30), t), z = math_mul(f, t, t);
    int sum = math_add(f, math_number(f, 1), root(f, math_add(f, z, math_number(f, 1))));
    int more = divide(f, z, sum), in = math_add(f, t, more);
    int lost = divide(f, lost_of_sum(f, t, more, in), math_add(f, in, math_number(f, 1))), near = math_log1p_more(f, in, lost);
    int y = select(f, far, math_add(f, math_emit(f, EXPR_LOG, t), math_number(f, 0.6931471805599453)), near);
    return math_with_sign(f, y, x);
}

static int emit_acosh(VectorFunction *f, int x) {
    int far = less(f, math_number(f, 0x1p30), x), t = math_sub(f, x, math_number(f, 1));
    int near = math_emit(f, EXPR_LOG1P, math_add(f, t, root(f, math_fma(f, t, t, math_add(f, t, t)))));
    int y = select(f, far, math_add(f, math_emit(f, EXPR_LOG, x), math_number(f, 0.6931471805599453)), near);
    return select(f, less(f, x, math_number(f, 1)), math_number(f, NAN), y);
}

/* log1p(2t / (1 - t)) / 2. What the quotient is too small by, left / (1 - t), moves the logarithm by left / (1 + t). */
static int emit_atanh(VectorFunction *f, int x) {
    int t = math_absolute(f, x), twice = math_add(f, t, t), one = math_number(f, 1), under = math_sub(f, one, t);
    int quotient = divide(f, twice, under), lost = math_sub(f, math_sub(f, one, under), t);
    int left = vector_ternary(f, VECTOR_FNMA, quotient, lost, vector_ternary(f, VECTOR_FNMA, quotient, under, twice));
    int y = math_log1p_more(f, quotient, divide(f, left, math_add(f, one, t)));
    return math_with_sign(f, math_mul(f, y, math_number(f, 0.5)), x);
}

/* ---- powers ---- */

/* log2 of a positive normal number as two floats: e + 2 / ln 2 * atanh((m - 1) / (m + 1)). */
static void log2_of(VectorFunction *f, int x, int *high, int *low) {
    static const double p[] = {0.26230815, 0.32059890, 0.41219859, 0.57707802}; /* of the series, behind t^3 */
    int tiny = less(f, x, math_number(f, 0x1p-126));
    int scaled = select(f, tiny, math_mul(f, x, math_number(f, 0x1p23)), x);
    int from = math_sub(f, s32_bits(f, scaled), math_integer(f, 0x3f3504f3));
    int e = vector_convert(f, VECTOR_CVT, DT_F32, vector_immediate(f, VECTOR_SAR, from, 23));
    e = math_sub(f, e, select(f, tiny, math_number(f, 23), math_number(f, 0)));
    int bits = math_add(f, vector_binary(f, VECTOR_AND, from, math_integer(f, 0x7fffff)), math_integer(f, 0x3f3504f3));
    int m = vector_convert(f, VECTOR_BITS, DT_F32, bits), one = math_number(f, 1);
    int over = math_sub(f, m, one), under = math_add(f, m, one);
    int lost = math_sub(f, m, math_sub(f, under, one)); /* by rounding the sum */
    int t = divide(f, over, under);
    int left = vector_ternary(f, VECTOR_FNMA, t, lost, vector_ternary(f, VECTOR_FNMA, t, under, over));
    int t_low = divide(f, left, under), z = math_mul(f, t, t), c = math_number(f, 2.885390043258667);
    /* t and t^3 to twice the precision, each in two floats */
    int first = math_mul(f, t, c), rest = vector_ternary(f, VECTOR_FNMA, t, c, first);
    int minus_z_low = vector_ternary(f, VECTOR_FNMA, t, t, z), cube = math_mul(f, z, t),
        third = math_number(f, 0.9617967009544373);
    int minus_low = math_fma(f, minus_z_low, t, vector_ternary(f, VECTOR_FNMA, z, t, cube));
    int second = math_mul(f, cube, third);
    rest = math_add(f, rest, vector_ternary(f, VECTOR_FNMA, cube, third, second)); /* what both are too large by */
    rest = math_fma(f, minus_low, third, rest);
    int more = math_fma(f, z, math_polynomial(f, z, p, COUNT(p)), math_number(f, -7.028461590508073e-09));
    more = math_fma(f, t, math_number(f, 3.851926067000022e-08), math_mul(f, cube, more));
    rest = math_fma(f, t_low, math_fma(f, c, z, c), math_sub(f, more, rest)); /* the slope is c / (1 - t^2) */
    int both = math_add(f, first, second);
    rest = math_add(f, rest, math_add(f, math_sub(f, first, both), second));
    first = both;
    int sum = math_add(f, e, first);
    rest = math_add(f, rest, math_add(f, math_sub(f, e, sum), first)); /* |e| > |first|, or e is 0 */
    *high = math_add(f, sum, rest);
    *low = math_add(f, math_sub(f, sum, *high), rest);
}

/* Where y is whole the sign of x counts: odd powers keep it. */
static int power_sign(VectorFunction *f, int x, int y, int *whole) {
    int half = math_mul(f, y, math_number(f, 0.5));
    *whole = equal(f, vector_unary(f, VECTOR_TRUNC, y), y);
    int odd = vector_binary(f, VECTOR_MASK_AND, *whole, vector_binary(f, VECTOR_NE, vector_unary(f, VECTOR_TRUNC, half), half));
    return select(f, odd, sign_bit(f, x), math_number(f, 0));
}

int math_pow(VectorFunction *f, int x, int y) {
    int t = math_absolute(f, x), high, low, whole, one = math_number(f, 1), zero = math_number(f, 0);
    int infinity = math_number(f, INFINITY), sign = power_sign(f, x, y, &whole);
    log2_of(f, t, &high, &low);
    int product = math_mul(f, y, high);
    int rest = math_fma(f, y, low, math_fma(f, y, high, change_sign(f, product, math_number(f, -0.0))));
    int clamped = vector_binary(f, VECTOR_MAX_OR, math_number(f, -200), product);
    clamped = vector_binary(f, VECTOR_MIN_OR, math_number(f, 200), clamped);
    rest = select(f, equal(f, clamped, product), rest, zero);
    int n = vector_unary(f, VECTOR_ROUND, clamped);
    int r = math_mul(f, math_add(f, math_sub(f, clamped, n), rest), math_number(f, 0.6931471805599453));
    int more, q = math_exp_less_one(f, r, &more);
    int result = vector_binary(f, VECTOR_SCALE, math_add(f, q, one), math_add(f, n, more));
    /* zeros and infinities of x: which of the two depends on the sign of y alone */
    int falls = vector_binary(f, VECTOR_MASK_XOR, less(f, y, zero), equal(f, t, infinity));
    int ends = vector_binary(f, VECTOR_MASK_OR, equal(f, t, zero), equal(f, t, infinity));
    result = select(f, ends, select(f, falls, infinity, zero), result);
    /* y infinite */
    int endless = equal(f, math_absolute(f, y), infinity);
    int grows = vector_binary(f, VECTOR_MASK_XOR, less(f, t, one), less(f, zero, y));
    result = select(f, endless, select(f, equal(f, t, one), one, select(f, grows, infinity, zero)), result);
    result = vector_binary(f, VECTOR_OR, result, sign);
    int negative = vector_binary(f, VECTOR_MASK_AND, less(f, x, zero), less(f, t, infinity));
    int open = vector_binary(f, VECTOR_MASK_AND, negative, vector_binary(f, VECTOR_NE, vector_unary(f, VECTOR_TRUNC, y), y));
    result = select(f, open, math_number(f, NAN), result);
    result = select(f, vector_binary(f, VECTOR_UNORDERED, x, y), math_add(f, x, y), result);
    int certain = vector_binary(f, VECTOR_MASK_OR, equal(f, y, zero), equal(f, x, one));
    return select(f, certain, one, result);
}

int math_emit_more(VectorFunction *f, ExprOp op, int x) {
    switch (op) {
    case EXPR_SIN: return emit_sin(f, x);
    case EXPR_COS: return emit_cos(f, x);
    case EXPR_TAN: return emit_tan(f, x);
    case EXPR_ATAN: return emit_atan(f, x);
    case EXPR_ASIN: return emit_asin(f, x);
    case EXPR_ACOS: return emit_acos(f, x);
    case EXPR_SINH: return emit_sinh(f, x);
    case EXPR_COSH: return emit_cosh(f, x);
    case EXPR_ASINH: return emit_asinh(f, x);
    case EXPR_ACOSH: return emit_acosh(f, x);
    case EXPR_ATANH: return emit_atanh(f, x);
    default: return -1;
    }
}
