/* Values of one a row of several rows in the lanes of one register: folding them takes half the shuffles, and what is computed of
 * them (a division, a square root) is computed once instead of once a row. So a row's end waits for less.
 *
 * Of rows a, b, c, d each 128 bits hold a b c d; of two rows a a b b; of one a a a a. The lanes of a row are added in one order,
 * however many rows there are: first within 128 bits, then over them by halves. */
#include "schedule/rows_emit.h"

/* ---- which values ---- */

static RowPacking packing_of_read(const Slot *slot, const Expr *read) {
    const Rows *r = slot->p->r;
    int source = rows_source(r, read->tensor);
    if (read->guarded)
        return PACKING_NONE;
    if (source >= 0) {
        const Expr *value = r->item[source].definition->value;
        bool known = !r->item[source].columnwise && source < slot->index && rows_packs(&slot->p->slot[source], value);
        return known ? slot->p->slot[source].packing[value->id] : PACKING_NONE;
    }
    return rows_read_is_even(r, read) && !rows_row_stride(r, nest_find(&r->nest, read)) ? PACKING_SAME : PACKING_NONE;
}

/* Products are folded in memory, places one by one; masks have no lanes to move. */
static RowPacking packing_of_reduction(const Expr *e) {
    bool folds = e->reduce == REDUCE_SUM || e->reduce == REDUCE_MAX || e->reduce == REDUCE_MIN;
    return folds && e->type != DT_BOOL ? PACKING_ROWS : PACKING_NONE;
}

void rows_find_packing(Slot *slot) {
    const Definition *d = slot->e.definition;
    for (int i = 0; i < d->expr_count && !slot->p->r->across; i++) {
        const Expr *x = d->exprs[i];
        RowPacking least = x->op == EXPR_READ     ? packing_of_read(slot, x)
                           : x->op == EXPR_REDUCE ? packing_of_reduction(x)
                           : x->op == EXPR_AXIS   ? PACKING_NONE
                                                  : PACKING_SAME;
        for (int k = 0; k < 3 && x->op != EXPR_REDUCE && x->op != EXPR_READ; k++)
            if (x->arg[k] && slot->packing[x->arg[k]->id] < least)
                least = slot->packing[x->arg[k]->id];
        slot->packing[i] = least;
    }
}

/* Whether a value can be had for all rows at once, and then for each. */
bool rows_packs(const Slot *slot, const Expr *expr) {
    RowPacking packing = slot->packing[expr->id];
    return packing == PACKING_SAME || (packing == PACKING_ROWS && expr->type != DT_BOOL);
}

/* ---- to and fro ---- */

static int zip(const Emitting *p, bool high, int a, int b) {
    return vector_binary(p->f, high ? VECTOR_ZIP_HIGH : VECTOR_ZIP_LOW, a, b);
}

/* Lanes of 128 bits: a0 + a2, b0 + b2, a1 + a3, b1 + b3. */
static int fold_pair(const Emitting *p, VectorCode combine, int a, int b) {
    return vector_binary(p->f, combine, zip(p, false, a, b), zip(p, true, a, b));
}

void rows_fold_together(const Emitting *p, VectorCode combine, int *rows) {
    int copies = p->shape->copies, *row = rows + p->base;
    int left = fold_pair(p, combine, row[0], row[copies == 1 ? 0 : copies / 2]), right = left;
    if (copies == 4)
        right = fold_pair(p, combine, row[1], row[3]);
    int x = fold_pair(p, combine, left, right);
    for (int blocks = p->r->lanes / 4; blocks > 1; blocks /= 2)
        x = vector_binary(p->f, combine, vector_binary(p->f, VECTOR_BLOCK_EVEN, x, x),
                          vector_binary(p->f, VECTOR_BLOCK_ODD, x, x));
    rows[TOGETHER] = x;
}

void rows_spread(const Emitting *p, int *rows) {
    int copies = p->shape->copies, x = rows[TOGETHER], *row = rows + p->base;
    if (row[0] >= 0)
        return;
    int half[2] = {copies == 4 ? zip(p, false, x, x) : x, copies == 4 ? zip(p, true, x, x) : x};
    for (int k = 0; k < copies; k++)
        row[k] = copies == 1 ? x : zip(p, k % 2, half[k / 2], half[k / 2]);
}
