/* What the files of functions share: vector code of f32, in few letters. */
#ifndef WHET_MATH_H
#define WHET_MATH_H

#include "schedule/schedule.h"

static inline int math_number(VectorFunction *f, double value) {
    return vector_const(f, DT_F32, value);
}

static inline int math_integer(VectorFunction *f, int value) {
    return vector_const(f, DT_S32, value);
}

static inline int math_add(VectorFunction *f, int a, int b) {
    return vector_binary(f, VECTOR_ADD, a, b);
}

static inline int math_sub(VectorFunction *f, int a, int b) {
    return vector_binary(f, VECTOR_SUB, a, b);
}

static inline int math_mul(VectorFunction *f, int a, int b) {
    return vector_binary(f, VECTOR_MUL, a, b);
}

static inline int math_fma(VectorFunction *f, int a, int b, int addend) {
    return vector_ternary(f, VECTOR_FMA, a, b, addend);
}

static inline int math_absolute(VectorFunction *f, int x) {
    return vector_binary(f, VECTOR_AND_NOT, math_number(f, -0.0), x);
}

/* |magnitude| with the sign of `sign`; the magnitude is not negative. */
static inline int math_with_sign(VectorFunction *f, int magnitude, int sign) {
    return vector_binary(f, VECTOR_OR, magnitude, vector_binary(f, VECTOR_AND, sign, math_number(f, -0.0)));
}

/* Horner's rule, the highest coefficient first. */
static inline int math_polynomial(VectorFunction *f, int x, const double *coefficient, size_t count) {
    int y = math_number(f, coefficient[0]);
    for (size_t i = 1; i < count; i++)
        y = math_fma(f, y, x, math_number(f, coefficient[i]));
    return y;
}

/* math.c: e^x 2^powers for x that is not below -100; e^x as (1 + result) 2^*powers. */
int math_exp_scaled(VectorFunction *f, int x, int powers);
int math_exp_less_one(VectorFunction *f, int x, int *powers);

/* log(1 + x) + more, for |more| far below the result. */
int math_log1p_more(VectorFunction *f, int x, int more);

/* math_more.c: -1: there is none. */
int math_emit_more(VectorFunction *f, ExprOp op, int x);

#endif
