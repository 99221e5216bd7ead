/* Reductions of row kernels. Each carries copies * steps accumulators through its pass; they are folded together in a tree, and
 * over the lanes where lanes are columns.
 *
 * Floats are added in f32 and rounded to their type at the end; integers wrap in 32 bits, of which their type keeps its own.
 * any and all are the largest and smallest of 0 and 1. argmax and argmin carry the best value and where it was; the first of
 * equals wins, and the first NaN wins over all. */
#include "schedule/rows_emit.h"

#include <math.h>

enum { NOWHERE = INT32_MAX };

/* The ends of a type, as its registers have them. */
static double end_of(DType type, bool most, bool flipped) {
    int bits = dtype_bits(type);
    if (dtype_kind(type) == KIND_FLOAT)
        return most ? (double)INFINITY : -(double)INFINITY;
    if (flipped || dtype_kind(type) == KIND_SIGNED)
        return most ? (double)((INT64_C(1) << (bits - 1)) - 1) : -(double)(INT64_C(1) << (bits - 1));
    return most ? (double)((INT64_C(1) << bits) - 1) : 0;
}

static const char *set_kind(Reduction *n) {
    ReduceOp op = n->expr->reduce;
    DType type = n->expr->arg[0]->type;
    bool most = op == REDUCE_MIN || op == REDUCE_ARGMIN;
    if (dtype_bits(type) > 32)
        return "a reduction of 64 bits";
    n->type = type == DT_BOOL ? DT_S32 : expr_register(type);
    n->flipped = type == DT_U32 && op != REDUCE_SUM && op != REDUCE_PROD;
    n->argument = op == REDUCE_ARGMAX || op == REDUCE_ARGMIN;
    switch (op) {
    case REDUCE_SUM: n->combine = VECTOR_ADD, n->start = 0; break;
    case REDUCE_PROD: n->combine = VECTOR_MUL, n->start = 1; break;
    case REDUCE_ANY: n->combine = VECTOR_MAX, n->start = 0; break;
    case REDUCE_ALL: n->combine = VECTOR_MIN, n->start = 1; break;
    case REDUCE_MAX:
    case REDUCE_MIN: n->combine = most ? VECTOR_MIN : VECTOR_MAX, n->start = end_of(type, most, n->flipped); break;
    default: n->combine = VECTOR_LT, n->start = end_of(type, most, n->flipped); break;
    }
    return type == DT_BOOL && op != REDUCE_ANY && op != REDUCE_ALL ? "a reduction of booleans as numbers" : NULL;
}

static int parts(const Reduction *n) {
    return n->argument ? 2 : 1;
}

static void add_reduction(Emitting *p, int item, const Expr *expr) {
    Reduction *n = &p->reduction[p->reduction_count];
    if (p->reduction_count == MAX_REDUCTIONS) {
        p->refused = "more reductions in one pass than a row kernel takes";
        return;
    }
    *n = (Reduction){
        .slot = &p->slot[item], .expr = expr, .pass = p->pass, .first = p->accumulators, .moments = rows_moments(p->r, expr)};
    p->refused = set_kind(n);
    n->plain = n->combine == VECTOR_MAX && n->type == DT_F32 && rows_nan_spreads(p->r, item, expr);
    n->combine = n->plain ? VECTOR_MAX_OR : n->combine;
    p->accumulators += parts(n) * p->shape->copies * p->r->steps[p->pass];
    p->reduction_count++;
    if (!p->refused && p->accumulators > MAX_ACCUMULATORS)
        p->refused = "more reductions in one pass than a row kernel takes";
}

void rows_find_reductions(Emitting *p) {
    for (int i = 0; i < p->r->count; i++) {
        const Definition *d = p->r->item[i].definition;
        for (int k = 0; k < d->expr_count && !p->refused; k++)
            if (d->exprs[k]->op == EXPR_REDUCE && rows_pass_of(p->r, d->exprs[k]) - 1 == p->pass)
                add_reduction(p, i, d->exprs[k]);
    }
}

static int *accumulator(const Emitting *p, int *all, const Reduction *n, int part, int copy, int step) {
    return &all[n->first + (part * p->shape->copies + copy - p->base) * p->r->steps[n->pass] + step];
}

void rows_start_reductions(const Emitting *p, int *sums) {
    for (int i = 0; i < p->reduction_count; i++) {
        const Reduction *n = &p->reduction[i];
        int each = p->shape->copies * p->r->steps[n->pass];
        for (int k = 0; k < each * parts(n); k++)
            sums[n->first + k] = k < each ? vector_const(p->f, n->type, n->start) : vector_const(p->f, DT_S32, 0);
    }
}

/* ---- one step ---- */

static int turn(const Emitting *p, int x) {
    return vector_binary(p->f, VECTOR_XOR, x, vector_const(p->f, DT_S32, INT32_MIN));
}

/* What is reduced: masks as 0 and 1. */
static int operand(Emitting *p, const Reduction *n) {
    const Expr *x = n->expr->arg[0];
    int value = rows_emit_in(p, n->slot, x);
    if (p->refused)
        return -1;
    if (x->type == DT_BOOL)
        return vector_ternary(p->f, VECTOR_SELECT, value, vector_const(p->f, DT_S32, 1), vector_const(p->f, DT_S32, 0));
    return n->flipped ? turn(p, value) : value;
}

static int put_where(const Emitting *p, int to, int old) {
    bool partial = !p->r->across && p->mask >= 0;
    return partial ? vector_ternary(p->f, VECTOR_SELECT, p->mask, to, old) : to;
}

static int is_nan(const Emitting *p, int x) {
    return vector_binary(p->f, VECTOR_UNORDERED, x, x);
}

/* Lanes where x is better than the best so far. */
static int better(const Emitting *p, const Reduction *n, int x, int best) {
    VectorFunction *f = p->f;
    bool greatest = n->expr->reduce == REDUCE_ARGMAX;
    int mask = vector_binary(f, VECTOR_LT, greatest ? best : x, greatest ? x : best);
    if (n->type != DT_F32)
        return mask;
    int ordered = vector_binary(f, VECTOR_EQ, best, best);
    return vector_binary(f, VECTOR_MASK_OR, mask, vector_binary(f, VECTOR_MASK_AND, ordered, is_nan(p, x)));
}

static void accumulate_argument(Emitting *p, const Reduction *n, int *best, int *at) {
    int x = operand(p, n);
    if (p->refused)
        return;
    int here = rows_load(p, p->r->argument_access[n->slot->index]), mask = better(p, n, x, *best);
    if (!p->r->across && p->mask >= 0)
        mask = vector_binary(p->f, VECTOR_MASK_AND, mask, p->mask);
    *best = vector_ternary(p->f, VECTOR_SELECT, mask, x, *best);
    *at = vector_ternary(p->f, VECTOR_SELECT, mask, here, *at);
}

static void accumulate_moment(Emitting *p, const Reduction *n, int *sum) {
    int x = rows_deviation(p, n->moments);
    if (!p->refused)
        *sum = put_where(p,
                         n->expr == n->moments->sum ? vector_binary(p->f, VECTOR_ADD, *sum, x)
                                                    : vector_ternary(p->f, VECTOR_FMA, x, x, *sum),
                         *sum);
}

void rows_accumulate(Emitting *p, const Reduction *n, int step, int *sums) {
    const Expr *x = n->expr->arg[0];
    int *sum = accumulator(p, sums, n, 0, p->copy, step);
    if (n->argument) {
        accumulate_argument(p, n, sum, accumulator(p, sums, n, 1, p->copy, step));
        return;
    }
    if (n->moments) {
        accumulate_moment(p, n, sum);
        return;
    }
    bool product = n->combine == VECTOR_ADD && rows_factor(x, 0) && !n->slot->even[x->id];
    int a = product ? rows_emit_in(p, n->slot, rows_factor(x, 0)) : operand(p, n);
    int b = product ? rows_emit_in(p, n->slot, rows_factor(x, 1)) : -1;
    if (p->refused)
        return;
    int to = product ? vector_ternary(p->f, VECTOR_FMA, a, b, *sum) : vector_binary(p->f, n->combine, *sum, a);
    *sum = put_where(p, to, *sum);
}

/* ---- folding ---- */

/* Over the lanes by halves, through memory. */
static int fold_product(const Emitting *p, DType type, int x) {
    VectorFunction *f = p->f;
    VectorAddress at = vector_at(p->scratch[p->r->fold_scratch], 0);
    for (int lanes = p->r->lanes / 2; lanes >= 1; lanes /= 2) {
        vector_store(f, type, x, at, -1);
        x = vector_binary(f, VECTOR_MUL, x, vector_load(f, type, type, vector_offset(at, 4 * lanes), -1));
    }
    vector_store(f, type, x, at, -1);
    return vector_splat(f, type, type, at);
}

/* REDUCE_MIN and REDUCE_MAX do not carry NaN, so it is looked for. */
static int fold_lanes(const Emitting *p, const Reduction *n, int x) {
    VectorFunction *f = p->f;
    if (n->combine == VECTOR_ADD)
        return vector_unary(f, VECTOR_REDUCE_ADD, x);
    if (n->combine == VECTOR_MUL)
        return fold_product(p, n->type, x);
    int y = vector_unary(f, n->combine == VECTOR_MIN ? VECTOR_REDUCE_MIN : VECTOR_REDUCE_MAX, x);
    if (n->plain || n->type != DT_F32)
        return y;
    int flags = vector_ternary(f, VECTOR_SELECT, is_nan(p, x), rows_number(p, 1), rows_number(p, 0));
    int any = vector_binary(f, VECTOR_NE, vector_unary(f, VECTOR_REDUCE_ADD, flags), rows_number(p, 0));
    return vector_ternary(f, VECTOR_SELECT, any, rows_number(p, NAN), y);
}

/* The least place among the lanes with a NaN, or else with the best value. */
static int fold_argument(const Emitting *p, const Reduction *n, int best, int at) {
    VectorFunction *f = p->f;
    int nowhere = vector_const(f, DT_S32, NOWHERE);
    int y = vector_unary(f, n->expr->reduce == REDUCE_ARGMAX ? VECTOR_REDUCE_MAX : VECTOR_REDUCE_MIN, best);
    int here = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_EQ, best, y), at, nowhere);
    here = vector_unary(f, VECTOR_REDUCE_MIN, here);
    if (n->type != DT_F32)
        return here;
    int nan = vector_unary(f, VECTOR_REDUCE_MIN, vector_ternary(f, VECTOR_SELECT, is_nan(p, best), at, nowhere));
    return vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_EQ, nan, nowhere), here, nan);
}

/* From the accumulator to the value of the expression. */
static int finish(const Emitting *p, const Reduction *n, int x) {
    DType type = n->expr->type;
    if (type == DT_BOOL)
        return vector_binary(p->f, VECTOR_NE, x, vector_const(p->f, DT_S32, 0));
    if (n->flipped)
        return turn(p, x);
    return n->combine == VECTOR_ADD || n->combine == VECTOR_MUL ? convert_fit(&n->slot->e, type, x) : x;
}

/* The accumulators of a row into one; of argmax, whose steps are one a round, the places. */
static int fold_steps(const Emitting *p, const Reduction *n, int copy, int *sums) {
    int steps = p->r->steps[p->pass], *sum = accumulator(p, sums, n, 0, copy, 0);
    if (n->argument)
        return *accumulator(p, sums, n, 1, copy, 0);
    for (int step = 1; step < steps; step *= 2)
        for (int u = 0; u + step < steps; u += 2 * step)
            sum[u] = vector_binary(p->f, n->combine, sum[u], sum[u + step]);
    return sum[0];
}

static int fold_row(const Emitting *p, const Reduction *n, int copy, int *sums) {
    int x = fold_steps(p, n, copy, sums);
    if (n->argument)
        return p->r->across ? x : fold_argument(p, n, *accumulator(p, sums, n, 0, copy, 0), x);
    return finish(p, n, p->r->across ? x : fold_lanes(p, n, x));
}

void rows_fold_reductions(Emitting *p, int *sums) {
    for (int i = 0; i < p->reduction_count; i++) {
        const Reduction *n = &p->reduction[i];
        if (n->pass != p->pass)
            continue;
        bool together = rows_packs(n->slot, n->expr);
        int rows[PLACES], end = p->base + p->shape->copies;
        for (int copy = p->base; copy < end; copy++)
            rows[copy] = together ? fold_steps(p, n, copy, sums) : fold_row(p, n, copy, sums);
        if (together) {
            rows_fold_together(p, n->combine, rows);
            *rows_at_copy(n->slot->reduced, n->expr, TOGETHER) =
                n->moments ? rows_finish_moment(p, n->moments, n->expr, rows[TOGETHER]) : finish(p, n, rows[TOGETHER]);
        }
        for (int copy = p->base; copy < end && !together; copy++)
            *rows_at_copy(n->slot->reduced, n->expr, copy) = rows[copy];
    }
}
