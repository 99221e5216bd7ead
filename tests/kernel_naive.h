/* The meaning of a bound kernel by direct recursion, one element at a time: what the evaluator and machine code are tested
 * against. It shares no code with the evaluator beyond the conversions of half floats.
 *
 * Beside each value goes what docs/notation.md and docs/internals leave open about it: how far another right implementation may
 * be from it, by the sizes of the kernel's own sums, and whether a zero (or the infinity that it divided to) may have the other
 * sign. Operations pass that on by being done at the ends of their operands' ranges. So exact kernels must be exact, and a bound
 * is as wide as the additions behind it make it. */
#ifndef KERNEL_NAIVE_H
#define KERNEL_NAIVE_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "kernel/kernel.h"

/* What is left open about a value. */
typedef struct Doubt {
    double slack; /* right answers are within it */
    bool sign;    /* or have the other sign (of zeros and infinities) */
    bool open;    /* or are anything: a sum that may overflow, a floor of what is about whole */
} Doubt;

typedef struct Number {
    DType type;
    double f;  /* floats */
    int64_t i; /* integers: sign- or zero-extended; u64 as its bits */
    Doubt doubt;
} Number;

typedef struct Naive {
    const Kernel *kernel;
    const Definition *definition;
    void *const *data;
    Doubt *const *doubt; /* of the elements of tensors that the kernel makes; NULL: not wanted */
    int64_t at[KERNEL_MAX_AXES];
    bool failed; /* an index outside */
} Naive;

static Number naive_expr(Naive *n, const Expr *e);

static bool naive_is_float(DType type) {
    return dtype_kind(type) == KIND_FLOAT;
}

static int64_t naive_wrap(DType type, int64_t value) {
    switch (type) {
    case DT_S8: return (int8_t)value;
    case DT_S16: return (int16_t)value;
    case DT_S32: return (int32_t)value;
    case DT_U8: return (uint8_t)value;
    case DT_U16: return (uint16_t)value;
    case DT_U32: return (uint32_t)value;
    default: return value;
    }
}

static double naive_round(DType type, double value) {
    switch (type) {
    case DT_F64: return value;
    case DT_F16: return (double)f16_to_f32(f32_to_f16((float)value));
    case DT_BF16: return (double)bf16_to_f32(f32_to_bf16((float)value));
    default: return (double)(float)value;
    }
}

static Number naive_float(DType type, double value) {
    return (Number){.type = type, .f = naive_round(type, value)};
}

static Number naive_int(DType type, int64_t value) {
    return (Number){.type = type, .i = naive_wrap(type, value)};
}

static Number naive_get(DType type, const void *data, int64_t index) {
    switch (type) {
    case DT_F32: return naive_float(type, (double)((const float *)data)[index]);
    case DT_F64: return naive_float(type, ((const double *)data)[index]);
    case DT_F16: return naive_float(type, (double)f16_to_f32(((const uint16_t *)data)[index]));
    case DT_BF16: return naive_float(type, (double)bf16_to_f32(((const uint16_t *)data)[index]));
    case DT_S8: return naive_int(type, ((const int8_t *)data)[index]);
    case DT_S16: return naive_int(type, ((const int16_t *)data)[index]);
    case DT_S32: return naive_int(type, ((const int32_t *)data)[index]);
    case DT_U16: return naive_int(type, ((const uint16_t *)data)[index]);
    case DT_U32: return naive_int(type, ((const uint32_t *)data)[index]);
    case DT_S64:
    case DT_U64: return naive_int(type, ((const int64_t *)data)[index]);
    default: return naive_int(type, ((const uint8_t *)data)[index]);
    }
}

static void naive_set(DType type, void *data, int64_t index, Number value) {
    switch (type) {
    case DT_F32: ((float *)data)[index] = (float)value.f; break;
    case DT_F64: ((double *)data)[index] = value.f; break;
    case DT_F16: ((uint16_t *)data)[index] = f32_to_f16((float)value.f); break;
    case DT_BF16: ((uint16_t *)data)[index] = f32_to_bf16((float)value.f); break;
    case DT_S16:
    case DT_U16: ((uint16_t *)data)[index] = (uint16_t)value.i; break;
    case DT_S32:
    case DT_U32: ((uint32_t *)data)[index] = (uint32_t)value.i; break;
    case DT_S64:
    case DT_U64: ((int64_t *)data)[index] = value.i; break;
    default: ((uint8_t *)data)[index] = (uint8_t)value.i; break;
    }
}

static bool naive_less(Number a, Number b) {
    if (naive_is_float(a.type))
        return a.f < b.f;
    return dtype_kind(a.type) == KIND_SIGNED ? a.i < b.i : (uint64_t)a.i < (uint64_t)b.i;
}

static bool naive_equal(Number a, Number b) {
    return naive_is_float(a.type) ? a.f == b.f : a.i == b.i;
}

static bool naive_nan(Number a) {
    return naive_is_float(a.type) && isnan(a.f);
}

/* ---- Integers ---- */

static int64_t naive_divide(DType type, int64_t a, int64_t b, bool floor_it, bool remainder) {
    if (b == 0)
        return 0;
    if (dtype_kind(type) != KIND_SIGNED)
        return remainder ? (int64_t)((uint64_t)a % (uint64_t)b) : (int64_t)((uint64_t)a / (uint64_t)b);
    if (b == -1)
        return remainder ? 0 : (int64_t)(0 - (uint64_t)a);
    int64_t q = a / b, r = a % b;
    bool adjust = floor_it && r != 0 && (r < 0) != (b < 0);
    return remainder ? r + (adjust ? b : 0) : q - (adjust ? 1 : 0);
}

static int64_t naive_power(DType type, int64_t a, int64_t b) {
    if (dtype_kind(type) == KIND_SIGNED && b < 0)
        return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
    uint64_t result = 1, base = (uint64_t)a;
    for (uint64_t left = (uint64_t)b; left; left >>= 1) {
        if (left & 1)
            result *= base;
        base *= base;
    }
    return (int64_t)result;
}

static int64_t naive_shift(DType type, ExprOp op, int64_t a, int64_t b) {
    uint64_t by = (uint64_t)b;
    bool far = by >= (uint64_t)dtype_bits(type);
    if (op == EXPR_SHL)
        return far ? 0 : (int64_t)((uint64_t)a << by);
    if (dtype_kind(type) != KIND_SIGNED)
        return far ? 0 : (int64_t)((uint64_t)a >> by);
    return far ? (a < 0 ? -1 : 0) : a >> by;
}

static int64_t naive_int_op(ExprOp op, DType type, int64_t a, int64_t b) {
    bool is_signed = dtype_kind(type) == KIND_SIGNED;
    switch (op) {
    case EXPR_ADD: return (int64_t)((uint64_t)a + (uint64_t)b);
    case EXPR_SUB: return (int64_t)((uint64_t)a - (uint64_t)b);
    case EXPR_MUL: return (int64_t)((uint64_t)a * (uint64_t)b);
    case EXPR_DIV: return naive_divide(type, a, b, false, false);
    case EXPR_FLOORDIV: return naive_divide(type, a, b, true, false);
    case EXPR_MOD: return naive_divide(type, a, b, true, true);
    case EXPR_FMOD: return naive_divide(type, a, b, false, true);
    case EXPR_POW: return naive_power(type, a, b);
    case EXPR_AND: return a & b;
    case EXPR_OR: return a | b;
    case EXPR_XOR: return a ^ b;
    case EXPR_SHL:
    case EXPR_SHR: return naive_shift(type, op, a, b);
    case EXPR_NEG: return (int64_t)(0 - (uint64_t)a);
    case EXPR_NOT: return type == DT_BOOL ? !a : ~a;
    case EXPR_ABS: return is_signed && a < 0 ? (int64_t)(0 - (uint64_t)a) : a;
    default: return is_signed && a < 0 ? -1 : a != 0; /* SIGN */
    }
}

/* ---- Floats: computed in double; f32 and narrower results are rounded by the caller ---- */

static double naive_float_op(ExprOp op, double a, double b) {
    switch (op) {
    case EXPR_ADD: return a + b;
    case EXPR_SUB: return a - b;
    case EXPR_MUL: return a * b;
    case EXPR_DIV: return a / b;
    case EXPR_FMOD: return fmod(a, b);
    case EXPR_MOD: {
        double r = fmod(a, b);
        return r == 0 ? copysign(0, b) : (r < 0) != (b < 0) ? r + b : r;
    }
    case EXPR_POW: return pow(a, b);
    case EXPR_ATAN2: return atan2(a, b);
    case EXPR_NEG: return -a;
    case EXPR_ABS: return fabs(a);
    case EXPR_SIGN: return isnan(a) ? a : (a > 0) - (a < 0);
    case EXPR_FLOOR: return floor(a);
    case EXPR_CEIL: return ceil(a);
    case EXPR_TRUNC: return trunc(a);
    case EXPR_ROUND: return nearbyint(a);
    case EXPR_SQRT: return sqrt(a);
    case EXPR_EXP: return exp(a);
    case EXPR_LOG: return log(a);
    case EXPR_LOG1P: return log1p(a);
    case EXPR_EXPM1: return expm1(a);
    case EXPR_SIN: return sin(a);
    case EXPR_COS: return cos(a);
    case EXPR_TAN: return tan(a);
    case EXPR_ASIN: return asin(a);
    case EXPR_ACOS: return acos(a);
    case EXPR_ATAN: return atan(a);
    case EXPR_SINH: return sinh(a);
    case EXPR_COSH: return cosh(a);
    case EXPR_TANH: return tanh(a);
    case EXPR_ASINH: return asinh(a);
    case EXPR_ACOSH: return acosh(a);
    case EXPR_ATANH: return atanh(a);
    default: return erf(a);
    }
}

/* ---- Expressions ---- */

static Number naive_compare(ExprOp op, Number a, Number b) {
    bool result;
    switch (op) {
    case EXPR_EQ: result = naive_equal(a, b); break;
    case EXPR_NE: result = !naive_equal(a, b); break;
    case EXPR_LT: result = naive_less(a, b); break;
    case EXPR_GT: result = naive_less(b, a); break;
    case EXPR_LE: result = naive_less(a, b) || naive_equal(a, b); break;
    case EXPR_GE: result = naive_less(b, a) || naive_equal(a, b); break;
    case EXPR_ISNAN: result = isnan(a.f); break;
    default: result = isinf(a.f) != 0; break;
    }
    return naive_int(DT_BOOL, result);
}

static int64_t naive_saturate(DType type, double value) {
    if (isnan(value))
        return 0;
    if (type == DT_U64)
        return value <= 0 ? 0 : value >= 18446744073709551616.0 ? -1 : (int64_t)(uint64_t)value;
    int bits = dtype_bits(type);
    bool is_signed = dtype_kind(type) == KIND_SIGNED;
    double least = is_signed ? -ldexp(1, bits - 1) : 0, beyond = ldexp(1, is_signed ? bits - 1 : bits);
    if (value <= least)
        return (int64_t)least;
    if (value >= beyond)
        return bits == 64 ? INT64_MAX : (int64_t)beyond - 1;
    return (int64_t)value;
}

static Number naive_cast(DType type, Number a) {
    if (type == DT_BOOL)
        return naive_int(type, naive_is_float(a.type) ? a.f != 0 : a.i != 0);
    if (naive_is_float(a.type))
        return naive_is_float(type) ? naive_float(type, a.f) : naive_int(type, naive_saturate(type, a.f));
    if (!naive_is_float(type))
        return naive_int(type, a.i);
    if (type == DT_F32) /* once, not by way of a double */
        return naive_float(type, a.type == DT_U64 ? (double)(float)(uint64_t)a.i : (double)(float)a.i);
    return naive_float(type, a.type == DT_U64 ? (double)(uint64_t)a.i : (double)a.i);
}

static Number naive_extreme_of(const Expr *e, Number a, Number b) {
    if (naive_nan(a) || naive_nan(b))
        return naive_float(e->type, (double)NAN);
    Number picked = (e->op == EXPR_MIN ? naive_less(a, b) : naive_less(b, a)) ? a : b;
    picked.doubt.sign = naive_is_float(a.type) && a.f == 0 && b.f == 0 && signbit(a.f) != signbit(b.f);
    return picked;
}

/* On numbers without doubts; `*raw` is what a float was before it was rounded. */
static Number naive_apply(const Expr *e, const Number *arg, double *raw) {
    Number a = arg[0], b = arg[1];
    if (e->op == EXPR_MIN || e->op == EXPR_MAX) {
        Number picked = naive_extreme_of(e, a, b);
        *raw = picked.f;
        return picked;
    }
    if (e->op == EXPR_CAST) {
        *raw = a.f;
        return naive_cast(e->type, a);
    }
    if (expr_info[e->op].result == 'B')
        return naive_compare(e->op, a, b);
    if (!naive_is_float(e->type))
        return naive_int(e->type, naive_int_op(e->op, e->type, a.i, b.i));
    if (e->op == EXPR_FLOORDIV) /* the quotient is rounded before it is cut */
        *raw = floor(e->type == DT_F64 ? a.f / b.f : (double)(float)(a.f / b.f));
    else
        *raw = naive_float_op(e->op, a.f, b.f);
    return naive_float(e->type, *raw);
}

/* ---- Doubts ---- */

/* The relative error that docs/internals/map.md and rows.md allow an operation, beyond its rounding. */
static double naive_own_error(ExprOp op, DType type) {
    double unit = type == DT_F64 ? DBL_EPSILON : (double)FLT_EPSILON;
    switch (op) {
    case EXPR_DIV: return 1.5 * unit; /* by the reciprocal, where rows share the divisor */
    case EXPR_EXP:
    case EXPR_LOG:
    case EXPR_LOG1P:
    case EXPR_EXPM1:
    case EXPR_POW:
    case EXPR_ATAN2:
    case EXPR_SIN:
    case EXPR_COS:
    case EXPR_TAN:
    case EXPR_ASIN:
    case EXPR_ACOS:
    case EXPR_ATAN:
    case EXPR_SINH:
    case EXPR_COSH:
    case EXPR_TANH:
    case EXPR_ASINH:
    case EXPR_ACOSH:
    case EXPR_ATANH:
    case EXPR_ERF: return 2 * unit;
    default: return 0;
    }
}

/* `y` may as well be what `raw` is rounded to, or anything between. */
static void naive_widen(Number *y, double raw) {
    double other = naive_round(y->type, raw);
    if (isnan(y->f) && isnan(other))
        return;
    if (other == y->f)
        y->doubt.sign |= signbit(other) != signbit(y->f);
    else if (other == -y->f && isinf(other))
        y->doubt.sign = true;
    else if (!isfinite(other) || !isfinite(y->f))
        y->doubt.open = true;
    else
        y->doubt.slack = fmax(y->doubt.slack, fabs(other - y->f));
}

/* A range of divisors or of bases of powers that has zero in it. */
static bool naive_around_pole(ExprOp op, const Number *arg) {
    const Number *a = &arg[op == EXPR_POW ? 0 : 1];
    bool pole = op == EXPR_DIV || op == EXPR_FLOORDIV || op == EXPR_MOD || op == EXPR_FMOD || op == EXPR_POW;
    return pole && naive_is_float(a->type) && a->doubt.slack > 0 && fabs(a->f) <= a->doubt.slack;
}

/* Both ends of the range of an operand, or both signs. */
static Number naive_end(Number a, bool upper) {
    if (a.doubt.slack > 0)
        a.f += upper ? a.doubt.slack : -a.doubt.slack;
    else if (a.doubt.sign && upper)
        a.f = -a.f;
    a.doubt = (Doubt){0};
    return a;
}

static bool naive_doubtful(Doubt d) {
    return d.slack > 0 || d.sign || d.open;
}

/* The operation at every corner of the ranges of its operands. */
static void naive_corners(const Expr *e, const Number *arg, int count, double error, Number *y) {
    for (int corner = 0; corner < 1 << count; corner++) {
        Number at[2] = {naive_end(arg[0], corner & 1), naive_end(arg[1], corner & 2)};
        double raw = 0;
        Number other = naive_apply(e, at, &raw);
        if (!naive_is_float(e->type)) {
            y->doubt.open |= other.i != y->i;
            continue;
        }
        y->doubt.sign |= other.doubt.sign;
        double wide = error * fabs(raw) + (error > 0 ? 0x1p-148 : 0);
        naive_widen(y, isfinite(raw) ? raw - wide : raw);
        naive_widen(y, isfinite(raw) ? raw + wide : raw);
    }
}

static Number naive_doubted(const Expr *e, const Number *arg, int count) {
    double raw = 0, error = naive_own_error(e->op, e->type);
    Number y = naive_apply(e, arg, &raw);
    bool plain = true, is_float = naive_is_float(e->type);
    y.doubt.slack = 0;
    y.doubt.open = naive_around_pole(e->op, arg);
    for (int i = 0; i < count; i++) {
        plain &= !naive_doubtful(arg[i].doubt);
        y.doubt.open |= arg[i].doubt.open;
    }
    if (!plain || (error > 0 && is_float && raw != 0))
        naive_corners(e, arg, count, error, &y);
    if (e->op == EXPR_MUL && is_float && isfinite(raw)) { /* it may be part of a multiply-add */
        double lost = e->type == DT_F64 ? fabs(fma(arg[0].f, arg[1].f, -raw)) : e->type == DT_F32 ? fabs(raw - y.f) : 0;
        y.doubt.slack = fmax(y.doubt.slack, lost);
    }
    return y;
}

static Number naive_operation(Naive *n, const Expr *e) {
    Number arg[3];
    int count = 0;
    memset(arg, 0, sizeof arg);
    for (; count < 3 && e->arg[count]; count++)
        arg[count] = naive_expr(n, e->arg[count]);
    if (e->op == EXPR_SELECT) {
        Number picked = arg[arg[0].i ? 1 : 2];
        picked.doubt.open |= arg[0].doubt.open;
        return picked;
    }
    return naive_doubted(e, arg, count);
}

/* False: outside. */
static bool naive_index(Naive *n, const Index *index, int64_t extent, int64_t *out, Doubt *doubt) {
    if (index->affine) {
        *out = index->offset;
        for (int a = 0; a < n->definition->axis_count; a++)
            *out += index->coef[a] * n->at[a];
    } else {
        Number value = naive_expr(n, index->expr);
        *out = value.i;
        doubt->open |= value.doubt.open;
    }
    return *out >= 0 && *out < extent;
}

static Number naive_read(Naive *n, const Expr *e) {
    const KernelTensor *tensor = &n->kernel->tensors[e->tensor];
    int64_t flat = 0;
    Doubt doubt = {0};
    for (int k = 0; k < e->index_count; k++) {
        int64_t index;
        if (!naive_index(n, &e->index[k], tensor->dims[k], &index, &doubt)) {
            n->failed |= !e->guarded;
            return e->arg[0] ? naive_expr(n, e->arg[0]) : (Number){.type = e->type};
        }
        flat = flat * tensor->dims[k] + index;
    }
    Number value = naive_get(e->type, n->data[e->tensor], flat);
    if (n->doubt && n->doubt[e->tensor])
        value.doubt = n->doubt[e->tensor][flat];
    value.doubt.open |= doubt.open;
    return value;
}

/* ---- Reductions ---- */

typedef struct NaiveSum {
    Number best;
    double sum;
    int64_t index, count;
    bool any;
    Doubt doubt;         /* of terms */
    double magnitude;    /* of sums: of the finite terms; of products: of the factors above 1 */
    double smallest;     /* of products: of the factors below 1 */
    int low;             /* the place of the last bit: the least of the terms, or the sum over the factors */
    double lower, upper; /* extremes of the ends of ranges */
    double second;       /* argmax, argmin: the next best */
    bool zero[2];        /* extremes: has there been one of this sign? */
} NaiveSum;

static bool naive_better(ReduceOp op, Number value, Number best) {
    if (naive_nan(value))
        return !naive_nan(best);
    bool less = op == REDUCE_MIN || op == REDUCE_ARGMIN;
    return less ? naive_less(value, best) : naive_less(best, value);
}

/* The place of the last bit of a finite number that is not zero. */
static int naive_last_bit(double f) {
    int exponent;
    double part = frexp(f, &exponent);
    for (exponent -= 53, part = ldexp(part, 53); fmod(part, 2) == 0; part /= 2)
        exponent++;
    return exponent;
}

static void naive_note_term(NaiveSum *s, Number value) {
    if (!isfinite(value.f) || value.f == 0) {
        s->doubt.open |= value.doubt.sign && value.f != 0;
        return;
    }
    int low = naive_last_bit(value.f);
    s->low = s->magnitude == 0 || low < s->low ? low : s->low;
    s->magnitude += fabs(value.f);
}

static void naive_note_factor(NaiveSum *s, Number value) {
    if (value.f == 0 || !isfinite(value.f)) {
        s->doubt.open |= value.doubt.slack > 0;
        s->doubt.sign |= value.doubt.sign;
        return;
    }
    s->low += naive_last_bit(value.f);
    s->doubt.slack += value.doubt.slack / fabs(value.f) - value.doubt.slack; /* relative; the caller adds the other */
    s->magnitude *= fmax(1, fabs(value.f));
    s->smallest *= fmin(1, fabs(value.f));
}

static void naive_note_extreme(const Expr *e, NaiveSum *s, Number value) {
    bool least = e->reduce == REDUCE_MIN || e->reduce == REDUCE_ARGMIN;
    double lower = value.f - value.doubt.slack, upper = value.f + value.doubt.slack;
    if (value.f == 0)
        s->zero[signbit(value.f) != 0] = true;
    if (value.f == 0 && value.doubt.sign)
        s->zero[0] = s->zero[1] = true;
    s->doubt.open |= isinf(value.f) && value.doubt.sign;
    s->lower = !s->any ? lower : least ? fmin(s->lower, lower) : fmax(s->lower, lower);
    s->upper = !s->any ? upper : least ? fmin(s->upper, upper) : fmax(s->upper, upper);
    if (!s->any || naive_better(e->reduce, value, s->best))
        s->second = s->any ? s->best.f : least ? (double)INFINITY : -(double)INFINITY;
    else if (least ? value.f < s->second : value.f > s->second)
        s->second = value.f;
}

static void naive_accumulate(const Expr *e, NaiveSum *s, Number value, int64_t at) {
    bool is_float = naive_is_float(value.type);
    s->doubt.open |= value.doubt.open;
    s->doubt.slack += value.doubt.slack;
    s->count++;
    switch (e->reduce) {
    case REDUCE_SUM:
        naive_note_term(s, value);
        s->sum += value.f;
        s->best.i = (int64_t)((uint64_t)s->best.i + (uint64_t)value.i);
        break;
    case REDUCE_PROD:
        naive_note_factor(s, value);
        s->sum = is_float ? s->sum * value.f : 0;
        s->best.i = (int64_t)((uint64_t)s->best.i * (uint64_t)value.i);
        break;
    case REDUCE_ANY: s->best.i |= value.i; break;
    case REDUCE_ALL: s->best.i &= value.i; break;
    default:
        if (is_float)
            naive_note_extreme(e, s, value);
        if (!s->any || naive_better(e->reduce, value, s->best)) {
            s->best = value;
            s->index = at;
        }
        break;
    }
    s->any = true;
}

/* Sums and products of floats run in f32 at least, in any order, and are rounded once: (n + 8) roundings
 * (docs/internals/rows.md), of which there are none where every sum or product of some of the terms has room. */
static Number naive_rounded(DType type, const NaiveSum *s, bool sum) {
    Number y = naive_float(type, s->sum);
    double unit = type == DT_F64 ? DBL_EPSILON : (double)FLT_EPSILON / 2, most = type == DT_F64 ? DBL_MAX : (double)FLT_MAX;
    double bits = ldexp(sum ? s->magnitude : fabs(s->sum), -s->low), own = 0;
    y.doubt.open = s->doubt.open || s->magnitude > most;
    y.doubt.sign = s->doubt.sign;
    if (!isfinite(s->sum))
        return y;
    if (bits * unit > 1)
        own = (double)(s->count + 8) * unit * (sum ? s->magnitude : fabs(s->sum));
    own += sum ? s->doubt.slack : s->doubt.slack * fabs(s->sum) * 1.01; /* the products of relative errors */
    y.doubt.open |= !sum && (s->smallest < 0x1p-120 || s->doubt.slack > 0.01);
    if (own > 0) {
        naive_widen(&y, s->sum - own);
        naive_widen(&y, s->sum + own);
    }
    return y;
}

static void naive_loop(Naive *n, const Expr *e, int k, NaiveSum *s) {
    if (k == e->axis_count) {
        naive_accumulate(e, s, naive_expr(n, e->arg[0]), n->at[e->axes[0]]);
        return;
    }
    int axis = e->axes[k];
    for (int64_t i = 0; i < n->definition->axes[axis].extent; i++) {
        n->at[axis] = i;
        naive_loop(n, e, k + 1, s);
    }
}

/* Of a reduction over nothing. */
static Number naive_extreme(DType type, bool largest) {
    if (naive_is_float(type))
        return naive_float(type, largest ? (double)INFINITY : -(double)INFINITY);
    return naive_int(type, naive_saturate(type, largest ? 1e30 : -1e30));
}

static Number naive_reduce(Naive *n, const Expr *e) {
    DType type = e->arg[0]->type;
    bool one = e->reduce == REDUCE_PROD || e->reduce == REDUCE_ALL;
    NaiveSum s = {.best = {.type = type, .i = one}, .sum = one, .magnitude = one, .smallest = 1};
    naive_loop(n, e, 0, &s);
    Number y;
    if (e->reduce == REDUCE_ARGMAX || e->reduce == REDUCE_ARGMIN) {
        y = naive_int(DT_S64, s.index);
        s.doubt.open |= s.doubt.slack > 0 && !(fabs(s.best.f - s.second) > 2 * s.doubt.slack);
    } else if (e->reduce == REDUCE_MAX || e->reduce == REDUCE_MIN) {
        y = s.any ? s.best : naive_extreme(type, e->reduce == REDUCE_MIN);
        y.doubt = (Doubt){.sign = y.f == 0 && s.zero[0] && s.zero[1]};
        if (s.doubt.slack > 0 && isfinite(y.f))
            y.doubt.slack = fmax(s.upper - y.f, y.f - s.lower);
    } else if (naive_is_float(type)) {
        return naive_rounded(type, &s, e->reduce == REDUCE_SUM);
    } else {
        y = naive_int(type, s.best.i);
    }
    y.doubt.open |= s.doubt.open;
    return y;
}

static Number naive_expr(Naive *n, const Expr *e) {
    switch (e->op) {
    case EXPR_NUMBER: return naive_is_float(e->type) ? naive_float(e->type, e->number) : naive_int(e->type, e->integer);
    case EXPR_AXIS: return naive_int(DT_S64, n->at[e->axis]);
    case EXPR_READ: return naive_read(n, e);
    case EXPR_REDUCE: return naive_reduce(n, e);
    default: return naive_operation(n, e);
    }
}

static void naive_store(Naive *n, int axis) {
    const Definition *d = n->definition;
    if (axis < d->parallel_count) {
        for (int64_t i = 0; i < d->axes[axis].extent; i++) {
            n->at[axis] = i;
            naive_store(n, axis + 1);
        }
        return;
    }
    const KernelTensor *tensor = &n->kernel->tensors[d->tensor];
    int64_t flat = 0, index;
    Doubt none = {0};
    for (int k = 0; k < d->left_count; k++) {
        n->failed |= !naive_index(n, &d->left[k], tensor->dims[k], &index, &none);
        flat = flat * tensor->dims[k] + index;
    }
    if (n->failed)
        return;
    Number value = naive_expr(n, d->value);
    naive_set(tensor->type, n->data[d->tensor], flat, value);
    if (n->doubt && n->doubt[d->tensor])
        n->doubt[d->tensor][flat] = value.doubt;
}

/* data[] for every tensor, temporaries too; doubt[] (NULL: not wanted) zeroed, or NULL for a tensor. False: an index was outside.
 */
static bool naive_eval(const Kernel *kernel, void *const *data, Doubt *const *doubt) {
    for (int t = kernel->input_count; t < kernel->tensor_count; t++) {
        size_t bytes = 0;
        if (dtype_bytes(kernel->tensors[t].type, kernel->tensors[t].count, &bytes) && bytes)
            memset(data[t], 0, bytes);
    }
    for (int d = 0; d < kernel->definition_count; d++) {
        Naive n = {.kernel = kernel, .definition = &kernel->definitions[d], .data = data, .doubt = doubt};
        naive_store(&n, 0);
        if (n.failed)
            return false;
    }
    return true;
}

static bool naive_same(double a, double b, const Doubt *doubt) {
    bool sure_zero = a == 0 && b == 0 && doubt->slack == 0 && !doubt->sign;
    return sure_zero ? signbit(a) == signbit(b) : a == b || (isnan(a) && isnan(b));
}

/* The first element that is not what direct recursion gives, within its doubt, or -1. */
static inline int64_t naive_compare_data(const KernelTensor *tensor, const void *got, const void *want, const Doubt *doubt) {
    for (int64_t i = 0; i < tensor->count; i++) {
        Number a = naive_get(tensor->type, got, i), b = naive_get(tensor->type, want, i);
        const Doubt *d = &doubt[i];
        bool same = naive_is_float(tensor->type) ? naive_same(a.f, b.f, d) : a.i == b.i;
        if (!(same || d->open || (d->sign && a.f == -b.f) || (isfinite(b.f) && fabs(a.f - b.f) <= d->slack)))
            return i;
    }
    return -1;
}

#endif
