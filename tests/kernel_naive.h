/* The meaning of a bound kernel by direct recursion, one element at a time: what the evaluator is tested against. It shares no
 * code with the evaluator beyond the conversions of half floats. */
#ifndef KERNEL_NAIVE_H
#define KERNEL_NAIVE_H

#include <math.h>
#include <string.h>

#include "kernel/kernel.h"

typedef struct Number {
    DType type;
    double f;  /* floats */
    int64_t i; /* integers: sign- or zero-extended; u64 as its bits */
} Number;

typedef struct Naive {
    const Kernel *kernel;
    const Definition *definition;
    void *const *data;
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
    return (Number){type, naive_round(type, value), 0};
}

static Number naive_int(DType type, int64_t value) {
    return (Number){type, 0, naive_wrap(type, value)};
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

static Number naive_operation(Naive *n, const Expr *e) {
    Number a = naive_expr(n, e->arg[0]), b = a;
    if (e->arg[1])
        b = naive_expr(n, e->arg[1]);
    if (e->op == EXPR_SELECT) {
        Number c = naive_expr(n, e->arg[2]);
        return a.i ? b : c;
    }
    if (e->op == EXPR_MIN || e->op == EXPR_MAX) {
        if (naive_nan(a) || naive_nan(b))
            return naive_float(e->type, (double)NAN);
        return (e->op == EXPR_MIN ? naive_less(a, b) : naive_less(b, a)) ? a : b;
    }
    if (expr_info[e->op].result == 'B')
        return naive_compare(e->op, a, b);
    if (!naive_is_float(e->type))
        return naive_int(e->type, naive_int_op(e->op, e->type, a.i, b.i));
    if (e->op == EXPR_FLOORDIV) /* the quotient is rounded before it is cut */
        return naive_float(e->type, floor(e->type == DT_F64 ? a.f / b.f : (double)(float)(a.f / b.f)));
    return naive_float(e->type, naive_float_op(e->op, a.f, b.f));
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

/* False: outside. */
static bool naive_index(Naive *n, const Index *index, int64_t extent, int64_t *out) {
    if (index->affine) {
        *out = index->offset;
        for (int a = 0; a < n->definition->axis_count; a++)
            *out += index->coef[a] * n->at[a];
    } else {
        Number value = naive_expr(n, index->expr);
        *out = value.i;
    }
    return *out >= 0 && *out < extent;
}

static Number naive_read(Naive *n, const Expr *e) {
    const KernelTensor *tensor = &n->kernel->tensors[e->tensor];
    int64_t flat = 0;
    for (int k = 0; k < e->index_count; k++) {
        int64_t index;
        if (!naive_index(n, &e->index[k], tensor->dims[k], &index)) {
            n->failed |= !e->guarded;
            return e->arg[0] ? naive_expr(n, e->arg[0]) : (Number){e->type, 0, 0};
        }
        flat = flat * tensor->dims[k] + index;
    }
    return naive_get(e->type, n->data[e->tensor], flat);
}

typedef struct NaiveSum {
    Number best;
    double sum;
    int64_t index;
    bool any;
} NaiveSum;

static bool naive_better(ReduceOp op, Number value, Number best) {
    if (naive_nan(value))
        return !naive_nan(best);
    bool less = op == REDUCE_MIN || op == REDUCE_ARGMIN;
    return less ? naive_less(value, best) : naive_less(best, value);
}

static void naive_accumulate(const Expr *e, NaiveSum *s, Number value, int64_t at) {
    bool is_float = naive_is_float(value.type);
    switch (e->reduce) {
    case REDUCE_SUM:
        s->sum += value.f;
        s->best.i = (int64_t)((uint64_t)s->best.i + (uint64_t)value.i);
        break;
    case REDUCE_PROD:
        s->sum = is_float ? s->sum * value.f : 0;
        s->best.i = (int64_t)((uint64_t)s->best.i * (uint64_t)value.i);
        break;
    case REDUCE_ANY: s->best.i |= value.i; break;
    case REDUCE_ALL: s->best.i &= value.i; break;
    default:
        if (!s->any || naive_better(e->reduce, value, s->best)) {
            s->best = value;
            s->index = at;
        }
        break;
    }
    s->any = true;
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
    NaiveSum s = {.best = {type, 0, one}, .sum = one};
    naive_loop(n, e, 0, &s);
    if (e->reduce == REDUCE_ARGMAX || e->reduce == REDUCE_ARGMIN)
        return naive_int(DT_S64, s.index);
    if (e->reduce == REDUCE_MAX || e->reduce == REDUCE_MIN)
        return s.any ? s.best : naive_extreme(type, e->reduce == REDUCE_MIN);
    return naive_is_float(type) ? naive_float(type, s.sum) : naive_int(type, s.best.i);
}

static Number naive_expr(Naive *n, const Expr *e) {
    switch (e->op) {
    case EXPR_NUMBER: return naive_is_float(e->type) ? naive_float(e->type, e->number) : naive_int(e->type, e->integer);
    case EXPR_AXIS: return naive_int(DT_S64, n->at[e->axis]);
    case EXPR_READ: return naive_read(n, e);
    case EXPR_CAST: return naive_cast(e->type, naive_expr(n, e->arg[0]));
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
    for (int k = 0; k < d->left_count; k++) {
        n->failed |= !naive_index(n, &d->left[k], tensor->dims[k], &index);
        flat = flat * tensor->dims[k] + index;
    }
    if (!n->failed)
        naive_set(tensor->type, n->data[d->tensor], flat, naive_expr(n, d->value));
}

/* data[] for every tensor, temporaries too. False: an index was outside. */
static bool naive_eval(const Kernel *kernel, void *const *data) {
    for (int t = kernel->input_count; t < kernel->tensor_count; t++) {
        size_t bytes = 0;
        if (dtype_bytes(kernel->tensors[t].type, kernel->tensors[t].count, &bytes) && bytes)
            memset(data[t], 0, bytes);
    }
    for (int d = 0; d < kernel->definition_count; d++) {
        Naive n = {.kernel = kernel, .definition = &kernel->definitions[d], .data = data};
        naive_store(&n, 0);
        if (n.failed)
            return false;
    }
    return true;
}

#endif
