/* Strip operations on f32 and f64. f16 and bf16 use those of f32.
 *
 * f32 functions whose float form in common C libraries is off by more than 1 ULP go through double. */
#include <math.h>

#include "kernel/strip_loops.h"

#define SIGN_OF(x)  ((x) != (x) ? (x) : ((x) > 0) - ((x) < 0))
#define LEAST(x, y) ((x) != (x) || (x) < (y) ? (x) : (y))
#define MOST(x, y)  ((x) != (x) || (x) > (y) ? (x) : (y))

/* The remainder with the sign of y. */
static inline double floor_mod(double x, double y) {
    double r = fmod(x, y);
    return r == 0 ? copysign(r, y) : (r < 0) != (y < 0) ? r + y : r;
}

static inline float floor_modf(float x, float y) {
    float r = fmodf(x, y);
    return r == 0 ? copysignf(r, y) : (r < 0) != (y < 0) ? r + y : r;
}

/* What is written the same for both types. */
// clang-format off
#define F32_BINARY(X)                                                                                                            \
    X(FLOORDIV, floorf(x / y)) X(MOD, floor_modf(x, y)) X(FMOD, fmodf(x, y)) X(POW, powf(x, y)) X(ATAN2, atan2((double)x, (double)y))
#define F64_BINARY(X)                                                                                                            \
    X(FLOORDIV, floor(x / y)) X(MOD, floor_mod(x, y)) X(FMOD, fmod(x, y)) X(POW, pow(x, y)) X(ATAN2, atan2(x, y))
#define F32_UNARY(X)                                                                                                             \
    X(NEG, -x) X(ABS, fabsf(x)) X(SIGN, SIGN_OF(x)) X(FLOOR, floorf(x)) X(CEIL, ceilf(x)) X(TRUNC, truncf(x))                    \
    X(ROUND, rintf(x)) X(SQRT, sqrtf(x)) X(EXP, expf(x)) X(LOG, logf(x)) X(SIN, sinf(x)) X(COS, cosf(x))                         \
    X(LOG1P, log1p((double)x)) X(EXPM1, expm1((double)x)) X(TAN, tan((double)x)) X(ASIN, asin((double)x))                        \
    X(ACOS, acos((double)x)) X(ATAN, atan((double)x)) X(SINH, sinh((double)x)) X(COSH, cosh((double)x))                          \
    X(TANH, tanh((double)x)) X(ASINH, asinh((double)x)) X(ACOSH, acosh((double)x)) X(ATANH, atanh((double)x))                    \
    X(ERF, erff(x))
#define F64_UNARY(X)                                                                                                             \
    X(NEG, -x) X(ABS, fabs(x)) X(SIGN, SIGN_OF(x)) X(FLOOR, floor(x)) X(CEIL, ceil(x)) X(TRUNC, trunc(x))                        \
    X(ROUND, rint(x)) X(SQRT, sqrt(x)) X(EXP, exp(x)) X(LOG, log(x)) X(SIN, sin(x)) X(COS, cos(x))                               \
    X(LOG1P, log1p(x)) X(EXPM1, expm1(x)) X(TAN, tan(x)) X(ASIN, asin(x)) X(ACOS, acos(x)) X(ATAN, atan(x))                      \
    X(SINH, sinh(x)) X(COSH, cosh(x)) X(TANH, tanh(x)) X(ASINH, asinh(x)) X(ACOSH, acosh(x)) X(ATANH, atanh(x))                  \
    X(ERF, erf(x))
#define ARITHMETIC(X)                                                                                                            \
    X(ADD, x + y) X(SUB, x - y) X(MUL, x * y) X(DIV, x / y) X(MIN, LEAST(x, y)) X(MAX, MOST(x, y))
#define COMPARISONS(X)                                                                                                           \
    X(EQ, x == y) X(NE, x != y) X(LT, x < y) X(LE, x <= y) X(GT, x > y) X(GE, x >= y)
#define CLASSES(X)                                                                                                               \
    X(ISNAN, x != x) X(ISINF, isinf(x) != 0)
// clang-format on

#define X(op, expression) BINARY(op##_f32, float, float, expression)
ARITHMETIC(X)
F32_BINARY(X)
#undef X
#define X(op, expression) BINARY(op##_f64, double, double, expression)
ARITHMETIC(X)
F64_BINARY(X)
#undef X
#define X(op, expression) BINARY(op##_f32, uint8_t, float, expression) BINARY(op##_f64, uint8_t, double, expression)
COMPARISONS(X)
#undef X
#define X(op, expression) UNARY(op##_f32, float, float, expression)
F32_UNARY(X)
#undef X
#define X(op, expression) UNARY(op##_f64, double, double, expression)
F64_UNARY(X)
#undef X
#define X(op, expression) UNARY(op##_f32, uint8_t, float, expression) UNARY(op##_f64, uint8_t, double, expression)
CLASSES(X)
#undef X

StripUnary strip_float_unary(ExprOp op, DType type) {
#define X(op, expression) [EXPR_##op] = {op##_f32, op##_f64},
    static const StripUnary table[EXPR_OP_COUNT][2] = {F32_UNARY(X) CLASSES(X)};
#undef X
    return table[op][type == DT_F64];
}

StripBinary strip_float_binary(ExprOp op, DType type) {
#define X(op, expression) [EXPR_##op] = {op##_f32, op##_f64},
    static const StripBinary table[EXPR_OP_COUNT][2] = {ARITHMETIC(X) F32_BINARY(X) COMPARISONS(X)};
#undef X
    return table[op][type == DT_F64];
}
