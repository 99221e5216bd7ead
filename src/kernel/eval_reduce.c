/* Reductions of strips: element by element into a strip of accumulators, or across a strip into one.
 *
 * Sums and products of floats accumulate in f64 (see reduce_sum_type) and are rounded once, in reduce_end. Across a strip, sums
 * of floats run in eight lanes, so that compilers may use vectors without reordering anything themselves. */
#include "kernel/eval.h"

#include <math.h>
#include <string.h>

enum { LANES = 8 };

// clang-format off
#define INTS(X)                                                                                                                  \
    X(S8, int8_t, INT8_MIN, INT8_MAX) X(S16, int16_t, INT16_MIN, INT16_MAX) X(S32, int32_t, INT32_MIN, INT32_MAX)                \
    X(S64, int64_t, INT64_MIN, INT64_MAX) X(U8, uint8_t, 0, UINT8_MAX) X(U16, uint16_t, 0, UINT16_MAX)                           \
    X(U32, uint32_t, 0, UINT32_MAX) X(U64, uint64_t, 0, UINT64_MAX)
#define FLOATS(X) X(F32, float, -INFINITY, INFINITY) X(F64, double, -INFINITY, INFINITY)
// clang-format on

typedef void (*Combine)(void *sums, const void *strip, size_t n);

/* `s` is the accumulator, `x` the element. */
#define COMBINE(name, S, T, expression)                                                                                          \
    static void name##_strip(void *sums, const void *strip, size_t n) {                                                          \
        S *restrict acc = sums;                                                                                                  \
        const T *restrict v = strip;                                                                                             \
        for (size_t i = 0; i < n; i++) {                                                                                         \
            S s = acc[i];                                                                                                        \
            T x = v[i];                                                                                                          \
            acc[i] = (S)(expression);                                                                                            \
        }                                                                                                                        \
    }                                                                                                                            \
    static void name##_across(void *sum, const void *strip, size_t n) {                                                          \
        const T *restrict v = strip;                                                                                             \
        S s = *(S *)sum;                                                                                                         \
        for (size_t i = 0; i < n; i++) {                                                                                         \
            T x = v[i];                                                                                                          \
            s = (S)(expression);                                                                                                 \
        }                                                                                                                        \
        *(S *)sum = s;                                                                                                           \
    }

#define X(name, T, least, most)                                                                                                  \
    COMBINE(SUM_##name, T, T, (uint64_t)s + (uint64_t)x)                                                                         \
    COMBINE(PROD_##name, T, T, (uint64_t)s *(uint64_t)x)                                                                         \
    COMBINE(MAX_##name, T, T, x > s ? x : s)                                                                                     \
    COMBINE(MIN_##name, T, T, x < s ? x : s)
INTS(X)
#undef X
#define X(name, T, least, most)                                                                                                  \
    COMBINE(PROD_##name, double, T, s *(double)x)                                                                                \
    COMBINE(MAX_##name, T, T, x != x || x > s ? x : s)                                                                           \
    COMBINE(MIN_##name, T, T, x != x || x < s ? x : s)
FLOATS(X)
#undef X
COMBINE(ANY_BOOL, uint8_t, uint8_t, s | x)
COMBINE(ALL_BOOL, uint8_t, uint8_t, s &x)

static double join_lanes(const double *lane) {
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

#define SUM_FLOATS(name, T)                                                                                                      \
    static void SUM_##name##_strip(void *sums, const void *strip, size_t n) {                                                    \
        double *restrict acc = sums;                                                                                             \
        const T *restrict v = strip;                                                                                             \
        for (size_t i = 0; i < n; i++)                                                                                           \
            acc[i] += (double)v[i];                                                                                              \
    }                                                                                                                            \
    static void SUM_##name##_across(void *sum, const void *strip, size_t n) {                                                    \
        const T *v = strip;                                                                                                      \
        double lane[LANES] = {0};                                                                                                \
        size_t i = 0;                                                                                                            \
        for (; i + LANES <= n; i += LANES)                                                                                       \
            for (size_t k = 0; k < LANES; k++)                                                                                   \
                lane[k] += (double)v[i + k];                                                                                     \
        for (; i < n; i++)                                                                                                       \
            lane[i % LANES] += (double)v[i];                                                                                     \
        *(double *)sum += join_lanes(lane);                                                                                      \
    }
SUM_FLOATS(F32, float)
SUM_FLOATS(F64, double)

typedef struct Row {
    Combine strip, across;
} Row;

#define FOUR(name)                                                                                                               \
    [DT_##name] = {                                                                                                              \
        [REDUCE_SUM] = {SUM_##name##_strip, SUM_##name##_across},                                                                \
        [REDUCE_PROD] = {PROD_##name##_strip, PROD_##name##_across},                                                             \
        [REDUCE_MAX] = {MAX_##name##_strip, MAX_##name##_across},                                                                \
        [REDUCE_MIN] = {MIN_##name##_strip, MIN_##name##_across},                                                                \
    },

static const Row rows[DT_COUNT][REDUCE_COUNT] = {
#define X(name, T, least, most) FOUR(name)
    INTS(X) FLOATS(X)
#undef X
        [DT_BOOL] = {[REDUCE_ANY] = {ANY_BOOL_strip, ANY_BOOL_across}, [REDUCE_ALL] = {ALL_BOOL_strip, ALL_BOOL_across}},
};

DType reduce_sum_type(ReduceOp op, DType type) {
    bool wide = (op == REDUCE_SUM || op == REDUCE_PROD) && dtype_kind(type) == KIND_FLOAT;
    return wide ? DT_F64 : strip_type(type);
}

bool reduce_is_arg(ReduceOp op) {
    return op == REDUCE_ARGMAX || op == REDUCE_ARGMIN;
}

void reduce_strip(ReduceOp op, DType type, void *sums, const void *strip, size_t n) {
    rows[strip_type(type)][op].strip(sums, strip, n);
}

void reduce_across(ReduceOp op, DType type, void *sum, const void *strip, size_t n) {
    rows[strip_type(type)][op].across(sum, strip, n);
}

/* The accumulator over zero elements. */
static void first_value(ReduceOp op, DType type, void *out) {
    static const struct {
        DType type;
        uint64_t least, most;
    } limits[] = {
#define X(name, T, least, most) {DT_##name, (uint64_t)(int64_t)(least), (uint64_t)(most)},
        INTS(X)
#undef X
    };
    bool high = op == REDUCE_MIN || op == REDUCE_ARGMIN;
    DType sum = reduce_sum_type(op, type);
    double infinity = high ? (double)INFINITY : -(double)INFINITY;
    int64_t whole = op == REDUCE_PROD || op == REDUCE_ALL;
    if (op <= REDUCE_PROD || op == REDUCE_ANY || op == REDUCE_ALL) {
        strip_cast(DT_S64, sum)(out, &whole, 1);
    } else if (dtype_kind(sum) == KIND_FLOAT) {
        strip_cast(DT_F64, sum)(out, &infinity, 1);
    } else {
        for (size_t i = 0; i < COUNT(limits); i++)
            if (limits[i].type == sum)
                strip_cast(DT_U64, sum)(out, high ? &limits[i].most : &limits[i].least, 1);
    }
}

void reduce_begin(ReduceOp op, DType type, void *sums, size_t n) {
    uint64_t first = 0;
    first_value(op, type, &first);
    strip_fill(strip_size(reduce_sum_type(op, type)), sums, &first, n);
}

void reduce_end(ReduceOp op, DType type, void *out, const void *sums, size_t n) {
    strip_cast(reduce_sum_type(op, type), type)(out, sums, n);
}

/* ---- argmax, argmin: NaN comes before everything, so that the first NaN is the answer ---- */

#define ARG(name, T, better)                                                                                                     \
    static void name##_strip(T *restrict best, int64_t *restrict index, const T *restrict v, size_t n, int64_t at) {             \
        for (size_t i = 0; i < n; i++) {                                                                                         \
            T x = v[i], s = best[i];                                                                                             \
            if (better) {                                                                                                        \
                best[i] = x;                                                                                                     \
                index[i] = at;                                                                                                   \
            }                                                                                                                    \
        }                                                                                                                        \
    }                                                                                                                            \
    static void name##_across(T *restrict best, int64_t *restrict index, const T *restrict v, size_t n, int64_t first) {         \
        T s = *best;                                                                                                             \
        for (size_t i = 0; i < n; i++) {                                                                                         \
            T x = v[i];                                                                                                          \
            if (better) {                                                                                                        \
                s = x;                                                                                                           \
                *index = first + (int64_t)i;                                                                                     \
            }                                                                                                                    \
        }                                                                                                                        \
        *best = s;                                                                                                               \
    }

#define X(name, T, least, most) ARG(ARGMAX_##name, T, x > s) ARG(ARGMIN_##name, T, x < s)
INTS(X)
#undef X
#define X(name, T, least, most)                                                                                                  \
    ARG(ARGMAX_##name, T, x > s || (x != x && s == s)) ARG(ARGMIN_##name, T, x < s || (x != x && s == s))
FLOATS(X)
#undef X

void reduce_arg_strip(ReduceOp op, DType type, void *best, int64_t *index, const void *strip, size_t n, int64_t at) {
    switch (strip_type(type)) {
#define X(name, T, least, most)                                                                                                  \
    case DT_##name: (op == REDUCE_ARGMAX ? ARGMAX_##name##_strip : ARGMIN_##name##_strip)(best, index, strip, n, at); break;
        INTS(X)
        FLOATS(X)
#undef X
    default: break;
    }
}

void reduce_arg_across(ReduceOp op, DType type, void *best, int64_t *index, const void *strip, size_t n, int64_t first) {
    switch (strip_type(type)) {
#define X(name, T, least, most)                                                                                                  \
    case DT_##name: (op == REDUCE_ARGMAX ? ARGMAX_##name##_across : ARGMIN_##name##_across)(best, index, strip, n, first); break;
        INTS(X)
        FLOATS(X)
#undef X
    default: break;
    }
}

/* ---- Sums of products ---- */

bool reduce_can_multiply(ReduceOp op, DType type) {
    return op == REDUCE_SUM && (type == DT_F32 || type == DT_F64 || type == DT_S32); /* f16 products would have to be rounded */
}

#define MULTIPLY_STRIP(name, S, T)                                                                                               \
    static void multiply_strip_##name(S *restrict sums, const T *a, const T *b, size_t n, StripForm form) {                      \
        if (form == FORM_VV) {                                                                                                   \
            for (size_t i = 0; i < n; i++)                                                                                       \
                sums[i] += (S)(T)(a[i] * b[i]);                                                                                  \
            return;                                                                                                              \
        }                                                                                                                        \
        T one = form == FORM_SV ? *a : *b;                                                                                       \
        const T *v = form == FORM_SV ? b : a;                                                                                    \
        for (size_t i = 0; i < n; i++)                                                                                           \
            sums[i] += (S)(T)(one * v[i]);                                                                                       \
    }

#define MULTIPLY_ACROSS(name, S, T)                                                                                              \
    static void multiply_across_##name(S *sum, const T *a, const T *b, size_t n, StripForm form) {                               \
        S lane[LANES] = {0};                                                                                                     \
        size_t i = 0, sa = form != FORM_SV, sb = form != FORM_VS;                                                                \
        if (form == FORM_VV)                                                                                                     \
            for (; i + LANES <= n; i += LANES)                                                                                   \
                for (size_t k = 0; k < LANES; k++)                                                                               \
                    lane[k] += (S)(T)(a[i + k] * b[i + k]);                                                                      \
        for (; i < n; i++)                                                                                                       \
            lane[i % LANES] += (S)(T)(a[i * sa] * b[i * sb]);                                                                    \
        S total = ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));                     \
        *sum += total;                                                                                                           \
    }

MULTIPLY_STRIP(f32, double, float)
MULTIPLY_STRIP(f64, double, double)
MULTIPLY_STRIP(s32, uint32_t, uint32_t) /* the same bits as signed, and wrapping is defined */
MULTIPLY_ACROSS(f32, double, float)
MULTIPLY_ACROSS(f64, double, double)
MULTIPLY_ACROSS(s32, uint32_t, uint32_t)

void reduce_multiply_strip(DType type, void *sums, const void *a, const void *b, size_t n, StripForm form) {
    if (type == DT_F32)
        multiply_strip_f32(sums, a, b, n, form);
    else if (type == DT_F64)
        multiply_strip_f64(sums, a, b, n, form);
    else
        multiply_strip_s32(sums, a, b, n, form);
}

void reduce_multiply_across(DType type, void *sum, const void *a, const void *b, size_t n, StripForm form) {
    if (type == DT_F32)
        multiply_across_f32(sum, a, b, n, form);
    else if (type == DT_F64)
        multiply_across_f64(sum, a, b, n, form);
    else
        multiply_across_s32(sum, a, b, n, form);
}
