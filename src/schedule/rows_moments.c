/* The mean and the squares of the deviations from it in one pass instead of two. For any number k
 *
 *     t = sum(j) (e[j] - k)        q = sum(j) (e[j] - k)^2
 *     sum(j) e[j] = n k + t        sum(j) (e[j] - m)^2 = q + (m - k) (n (m - k) - 2 t)
 *
 * The second is exact for any m, and stands still where m is the mean, so that a rounded mean costs as little as it does in two
 * passes. What cancels is q, which is larger than the squares about the mean by n (m - k)^2. Here k is the mean of the first
 * LEADING columns, so that this is at most n / LEADING times the squares (a part of the row cannot deviate by more), and usually
 * a few hundredths of them. Long rows, where it could be much, take two passes. */
#include "schedule/rows_emit.h"

#include <math.h>

enum { LEADING = 64, MOST_COLUMNS = 4096, MOST_NODES = 64 };

/* ---- which sums ---- */

/* Computed twice in the first columns, so without functions. */
static bool is_light(const Rows *r, const Expr *e, int *left) {
    if ((*left)-- <= 0 || (e->op >= EXPR_SQRT && e->op <= EXPR_ERF) || e->op == EXPR_REDUCE || e->op == EXPR_DIV)
        return false;
    int source = e->op == EXPR_READ ? rows_source(r, e->tensor) : -1;
    if (source >= 0)
        return !r->item[source].columnwise || is_light(r, r->item[source].definition->value, left);
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && !is_light(r, e->arg[i], left))
            return false;
    return true;
}

static bool is_sum(const Expr *e) {
    return e->op == EXPR_REDUCE && e->reduce == REDUCE_SUM && e->type == DT_F32 && e->arg[0]->type == DT_F32;
}

/* m as a sum by a number, or over one; then not to the last bit, which makes no difference. */
static bool find_mean(const Rows *r, RowMoments *m, int *item, const Expr *mean) {
    mean = rows_meaning(r, item, mean);
    if ((mean->op != EXPR_DIV && mean->op != EXPR_MUL) || mean->arg[1]->op != EXPR_NUMBER || mean->arg[1]->number == 0)
        return false;
    m->factor = mean->op == EXPR_DIV ? 1 / mean->arg[1]->number : mean->arg[1]->number;
    m->sum = rows_meaning(r, item, mean->arg[0]);
    return is_sum(m->sum);
}

/* Whether e is sum(j) (x - m) * (x - m). */
static bool find_squares(const Rows *r, RowMoments *m, int item, const Expr *e) {
    int left = MOST_NODES, mean_item;
    const Expr *root = is_sum(e) ? rows_factor(e->arg[0], 0) : NULL;
    if (!root || !rows_same(r, item, root, item, rows_factor(e->arg[0], 1)))
        return false;
    const Expr *difference = rows_meaning(r, &item, root);
    if (difference->op != EXPR_SUB || difference->type != DT_F32)
        return false;
    m->squares = e;
    m->item = mean_item = item;
    m->value = difference->arg[0];
    return find_mean(r, m, &mean_item, difference->arg[1]) && is_light(r, m->value, &left) &&
           rows_same(r, item, m->value, mean_item, m->sum->arg[0]);
}

void rows_find_moments(Rows *r) {
    bool fits = !r->across && !r->counted && !r->fixed && r->lane_extent >= r->lanes && r->columns <= MOST_COLUMNS;
    for (int i = 0; i < r->count && fits; i++)
        for (int k = 0; k < r->item[i].definition->expr_count && r->moment_count < ROWS_MAX_MOMENTS; k++)
            if (find_squares(r, &r->moment[r->moment_count], i, r->item[i].definition->exprs[k]))
                r->moment_count++;
}

const RowMoments *rows_moments(const Rows *r, const Expr *sum) {
    for (int i = 0; i < r->moment_count; i++)
        if (r->moment[i].sum == sum || r->moment[i].squares == sum)
            return &r->moment[i];
    return NULL;
}

const Expr *rows_reduced(const Rows *r, const Expr *reduction) {
    const RowMoments *m = rows_moments(r, reduction);
    return m ? m->value : reduction->arg[0];
}

/* ---- their code ---- */

static int value_here(Emitting *p, const RowMoments *m) {
    return rows_emit_in(p, &p->slot[m->item], m->value);
}

/* k of each row, before the pass. */
static void start(Emitting *p, const RowMoments *m, int *shift) {
    const Rows *r = p->r;
    int64_t vectors = r->lane_extent / r->lanes, most = LEADING / r->lanes > 1 ? LEADING / r->lanes : 1;
    int count = (int)(vectors < most ? vectors : most), rows[PLACES];
    p->aside = true;
    for (int copy = p->base; copy < p->base + p->shape->copies && !p->refused; copy++)
        for (int v = 0; v < count && !p->refused; v++) {
            rows_go_to(p, copy, (int64_t)v * r->lanes);
            int x = value_here(p, m);
            rows[copy] = v ? vector_binary(p->f, VECTOR_ADD, rows[copy], x) : x;
        }
    p->aside = false;
    if (p->refused)
        return;
    rows_fold_together(p, VECTOR_ADD, rows);
    for (int copy = p->base; copy < p->base + p->shape->copies; copy++)
        shift[copy] = -1;
    int mean = vector_binary(p->f, VECTOR_MUL, rows[TOGETHER], rows_number(p, 1.0 / (count * r->lanes)));
    int size = vector_binary(p->f, VECTOR_AND_NOT, rows_number(p, -0.0), mean), zero = rows_number(p, 0);
    int small =
        vector_binary(p->f, VECTOR_LT, size, rows_number(p, 0x1p60)); /* neither infinite nor NaN, or sums would be so too */
    shift[TOGETHER] = vector_ternary(p->f, VECTOR_SELECT, small, mean, zero);
    rows_spread(p, shift);
}

void rows_start_moments(Emitting *p) {
    for (int i = 0; i < p->r->moment_count && !p->refused; i++)
        if (rows_pass_of(p->r, p->r->moment[i].sum) - 1 == p->pass)
            start(p, &p->r->moment[i], p->shift[i]);
}

int rows_deviation(Emitting *p, const RowMoments *m) {
    int *deviation = &p->deviation[m - p->r->moment];
    int x = *deviation < 0 ? value_here(p, m) : -1;
    if (x >= 0)
        *deviation = vector_binary(p->f, VECTOR_SUB, x, p->shift[m - p->r->moment][p->copy]);
    return *deviation;
}

bool rows_is_mean(const Rows *r, const RowMoments *m) {
    return fabs(m->factor * (double)r->columns - 1) < 0x1p-20;
}

int rows_finish_moment(Emitting *p, const RowMoments *m, const Expr *sum, int x) {
    VectorFunction *f = p->f;
    int i = (int)(m - p->r->moment), shift = p->shift[i][TOGETHER], count = rows_number(p, (double)p->r->columns);
    if (sum == m->sum) {
        p->apart[i] = x;
        p->mean[i] = rows_is_mean(p->r, m) ? vector_ternary(f, VECTOR_FMA, x, rows_number(p, m->factor), shift) : -1;
        return p->total[i] = vector_ternary(f, VECTOR_FMA, count, shift, x);
    }
    int off, by;
    if (rows_is_mean(p->r, m)) { /* q + t / n (t - 2 t) */
        off = vector_binary(f, VECTOR_MUL, p->apart[i], rows_number(p, -m->factor));
        by = p->apart[i];
    } else {
        off = vector_binary(f, VECTOR_SUB, vector_binary(f, VECTOR_MUL, p->total[i], rows_number(p, m->factor)), shift);
        int twice = vector_binary(f, VECTOR_ADD, p->apart[i], p->apart[i]);
        by = vector_binary(f, VECTOR_SUB, vector_binary(f, VECTOR_MUL, count, off), twice);
    }
    return vector_binary(f, VECTOR_MAX, vector_ternary(f, VECTOR_FMA, off, by, x), rows_number(p, 0));
}

int rows_moment_part(Emitting *p, int item, const Expr *e) {
    if (p->copy != TOGETHER || p->r->exact || e->type != DT_F32 || (e->op != EXPR_DIV && e->op != EXPR_MUL) ||
        e->arg[1]->op != EXPR_NUMBER)
        return -1;
    const Expr *sum = rows_meaning(p->r, &item, e->arg[0]);
    const RowMoments *m = rows_moments(p->r, sum);
    double factor = e->op == EXPR_DIV ? 1 / e->arg[1]->number : e->arg[1]->number;
    if (!m || factor != m->factor)
        return -1;
    int i = (int)(m - p->r->moment), *squares = rows_at_copy(p->slot[item].reduced, sum, TOGETHER);
    if (sum == m->sum)
        return p->mean[i];
    return *squares < 0 ? -1 : vector_binary(p->f, VECTOR_MUL, *squares, rows_number(p, factor));
}
