/* What is known of the values of a row kernel by how they are made. The facts are softmax's:
 *
 *     x - (max(j) x)      is never above zero, so its exp needs no guard against overflow;
 *     sum(j) exp(that)    is at least 1 and at most the number of columns, or NaN: its reciprocal is a plain number;
 *     max(j) x            need not carry NaN where every output is NaN anyway, by a sum that the NaN is in.
 *
 * And of norms: a square root is far from both ends of its type, so its reciprocal is a plain number too. */
#include "schedule/rows.h"

enum { MOST_NODES = 200 }; /* of a walk: expressions are graphs, and facts are not worth more */

/* ---- equal expressions of two definitions ---- */

static bool same_index(const Rows *r, const RowDefinition *a, const Index *x, const RowDefinition *b, const Index *y) {
    int64_t coef[NEST_MAX_AXES] = {0};
    if (!x->affine || !y->affine || x->offset != y->offset)
        return false;
    for (int k = 0; k < a->definition->axis_count; k++)
        if (x->coef[k] && a->definition->axes[k].extent != 1) {
            if (a->map[k] < 0)
                return false;
            coef[a->map[k]] += x->coef[k];
        }
    for (int k = 0; k < b->definition->axis_count; k++)
        if (y->coef[k] && b->definition->axes[k].extent != 1) {
            if (b->map[k] < 0)
                return false;
            coef[b->map[k]] -= y->coef[k];
        }
    for (int k = 0; k < NEST_MAX_AXES; k++)
        if (coef[k])
            return false;
    (void)r;
    return true;
}

static bool same(const Rows *r, const RowDefinition *a, const Expr *x, const RowDefinition *b, const Expr *y, int *left) {
    if (x->op != y->op || x->type != y->type || (*left)-- <= 0)
        return false;
    if (x->op == EXPR_READ) {
        if (x->tensor != y->tensor || x->guarded != y->guarded || x->index_count != y->index_count)
            return false;
        for (int i = 0; i < x->index_count; i++)
            if (!same_index(r, a, &x->index[i], b, &y->index[i]))
                return false;
    }
    if (x->op == EXPR_NUMBER)
        return x->number == y->number && x->integer == y->integer;
    if (x->op == EXPR_REDUCE || x->op == EXPR_AXIS || x->op == EXPR_EXTENT)
        return false;
    for (int i = 0; i < 3; i++)
        if ((x->arg[i] != NULL) != (y->arg[i] != NULL) || (x->arg[i] && !same(r, a, x->arg[i], b, y->arg[i], left)))
            return false;
    return true;
}

/* A read of a definition is what the definition says. */
static const Expr *meaning(const Rows *r, const RowDefinition **item, const Expr *e) {
    for (int source; e->op == EXPR_READ && !e->guarded && (source = rows_source(r, e->tensor)) >= 0;) {
        *item = &r->item[source];
        e = (*item)->definition->value;
    }
    return e;
}

static bool same_meaning(const Rows *r, const RowDefinition *a, const Expr *x, const RowDefinition *b, const Expr *y) {
    int left = MOST_NODES;
    if (same(r, a, x, b, y, &left))
        return true;
    left = MOST_NODES;
    x = meaning(r, &a, x);
    y = meaning(r, &b, y);
    return same(r, a, x, b, y, &left);
}

const Expr *rows_meaning(const Rows *r, int *item, const Expr *e) {
    const RowDefinition *of = &r->item[*item];
    e = meaning(r, &of, e);
    *item = (int)(of - r->item);
    return e;
}

const Expr *rows_factor(const Expr *e, int which) {
    bool square = e->op == EXPR_POW && e->arg[1]->op == EXPR_NUMBER && e->arg[1]->number == 2;
    return e->type != DT_F32 ? NULL : e->op == EXPR_MUL ? e->arg[which] : square ? e->arg[0] : NULL;
}

bool rows_same(const Rows *r, int item, const Expr *x, int other, const Expr *y) {
    return same_meaning(r, &r->item[item], x, &r->item[other], y);
}

bool rows_never_positive(const Rows *r, int item, const Expr *e) {
    const RowDefinition *here = &r->item[item], *of = here;
    e = meaning(r, &here, e);
    if (e->op != EXPR_SUB)
        return false;
    of = here;
    const Expr *top = meaning(r, &of, e->arg[1]);
    if (top->op == EXPR_MAX) /* of the columns so far, and those before them */
        top = top->arg[0]->op == EXPR_REDUCE ? top->arg[0] : top->arg[1];
    return top->op == EXPR_REDUCE && top->reduce == REDUCE_MAX && top->type == DT_F32 &&
           same_meaning(r, here, e->arg[0], of, top->arg[0]);
}

static bool at_least_one(const Rows *r, const RowDefinition *here, const Expr *e) {
    if (e->op != EXPR_REDUCE || e->reduce != REDUCE_SUM || e->type != DT_F32)
        return false;
    e = meaning(r, &here, e->arg[0]);
    return e->op == EXPR_EXP && e->type == DT_F32 && rows_never_positive(r, (int)(here - r->item), e->arg[0]);
}

bool rows_plain_divisor(const Rows *r, int item, const Expr *e) {
    const RowDefinition *here = &r->item[item];
    e = meaning(r, &here, e);
    return (e->op == EXPR_SQRT && e->type == DT_F32) || at_least_one(r, here, e);
}

/* ---- NaN ---- */

typedef struct Poison {
    const Rows *r;
    const RowDefinition *of; /* the definition with the maximum, */
    const Expr *max;         /* the maximum */
    int left;
} Poison;

static bool strict(ExprOp op) {
    return (op >= EXPR_ADD && op <= EXPR_DIV) || op == EXPR_NEG || op == EXPR_ABS || (op >= EXPR_SQRT && op <= EXPR_EXPM1);
}

/* Whether an expression is NaN for all columns (`everywhere`), or at least for that where the maximum's operand is. */
static bool poisoned(Poison *p, const RowDefinition *item, const Expr *e, bool everywhere) {
    if (p->left-- <= 0)
        return false;
    if (!everywhere && same_meaning(p->r, item, e, p->of, p->max->arg[0]))
        return true;
    e = meaning(p->r, &item, e);
    if (e->op == EXPR_REDUCE)
        return e->reduce == REDUCE_SUM && poisoned(p, item, e->arg[0], false);
    for (int i = 0; i < 3 && strict(e->op) && dtype_kind(e->type) == KIND_FLOAT; i++)
        if (e->arg[i] && poisoned(p, item, e->arg[i], everywhere))
            return true;
    return false;
}

bool rows_nan_spreads(const Rows *r, int item, const Expr *max) {
    if (r->nan_summed)
        return true;
    Poison p = {.r = r, .of = &r->item[item], .max = max, .left = MOST_NODES};
    for (int i = 0; i < r->count; i++)
        if (!r->item[i].temporary && !poisoned(&p, &r->item[i], r->item[i].definition->value, true))
            return false;
    return true;
}
