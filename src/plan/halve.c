/* Tensors whose products take them rounded to bf16 are kept rounded: whatever makes `x` shall write it so, once, rather than every
 * product round it while it reads.
 *
 *     y[m, n] = sum(k) f32(bf16(x[m, k])) * f32(bf16(w[k, n]))
 *
 *     t[m, k] = bf16(x[m, k])                                     its twin, one for all that read x rounded
 *     y[m, n] = sum(k) f32(t[m, k]) * f32(bf16(w[k, n]))
 *
 * The twin is a map like any other: the rules of fuse.c put it behind the product, or into the rows, that make x. A constant stays
 * as it is, for it is rounded where it is packed. Where x is only another place of something else (a transpose, a part), the
 * twin is that of the other: rounding goes up through moves, to where numbers are made.
 *
 * Requires groups as nodes gave them, merged (merge.c) and laid out; before the rules of fuse.c. */
#include <string.h>

#include "plan/plan.h"

enum { MOVES_FOLLOWED = 8 };

typedef struct Halves {
    Plan *plan;
    int *twin; /* of roots: the tensor that holds it rounded; -1: none */
    int count; /* tensors that `twin` knows */
} Halves;

static bool fail(const Halves *h) {
    return error_memory(h->plan->err), false;
}

/* A definition that moves its tensor as `like` moves an f32 one: bf16, and of other tensors. */
static Definition *as_half(Plan *plan, const Definition *like, int from, int to) {
    int *names = ARENA_ARRAY(plan->arena, int, (size_t)plan->tensor_count);
    for (int t = 0; names && t < plan->tensor_count; t++)
        names[t] = t == like->tensor ? to : t == like->value->tensor ? from : t;
    Definition *d = names ? rewrite_rename(plan->arena, like, names) : NULL;
    if (d)
        d->value->type = DT_BF16;
    return d;
}

/* to[..] = bf16(from[..]) */
static Definition *rounding(Plan *plan, int from, int to) {
    Definition *d = plan_copy_of(plan, from);
    Expr *cast = ARENA_NEW(plan->arena, Expr);
    if (!d || !cast)
        return NULL;
    *cast = (Expr){.op = EXPR_CAST, .type = DT_BF16, .arg = {d->value}, .axis = -1, .tensor = -1, .id = 1, .depth = 2, .weight = 2};
    d->exprs = ARENA_ARRAY(plan->arena, Expr *, 2);
    if (!d->exprs)
        return NULL;
    d->exprs[0] = d->value;
    d->exprs[1] = d->value = cast;
    d->expr_count = 2;
    d->tensor = to;
    return d;
}

/* A group of one definition in front of those from `at` on. */
static bool insert(Plan *plan, int at, Definition *d, const Group *nodes) {
    Group *g = d ? plan_insert_group(plan, at) : NULL;
    if (!g || !(g->definitions = ARENA_ARRAY(plan->arena, Definition *, 1)))
        return false;
    g->definitions[0] = d;
    g->count = 1;
    g->nodes = nodes->nodes;
    g->node_count = nodes->node_count;
    PlanTensor *to = &plan->tensors[d->tensor];
    to->writer = at;
    to->writer_count = 1;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && !plan_add_reader(plan, d->exprs[i]->tensor, at))
            return false;
    return true;
}

/* The group that does nothing but move data into the tensor, all of it; NULL: it is made otherwise. */
static const Group *mover_of(const Plan *plan, const PlanTensor *t) {
    const Group *g = t->writer_count == 1 && t->writer >= 0 ? plan->groups[t->writer] : NULL;
    if (!g || g->gone || g->step >= 0 || g->partial || g->count != 1)
        return NULL;
    const Definition *d = g->definitions[0];
    bool moves = d->value->op == EXPR_READ && d->value->type == DT_F32 && !d->value->arg[0] && d->tensor == t->root;
    for (int i = 0; moves && i < d->value->index_count; i++)
        moves = d->value->index[i].affine;
    return moves ? g : NULL;
}

static bool is_known(const Plan *plan, int tensor) {
    return plan->tensors[plan->tensors[tensor].root].known != NULL;
}

/* Memory `of` under the shape of tensor `like`. */
static int viewed(Plan *plan, int of, int like) {
    const PlanTensor *t = &plan->tensors[like];
    if (t->root == like)
        return of;
    int64_t dims[WHET_MAX_RANK];
    memcpy(dims, t->dims, sizeof dims);
    return plan_view(plan, of, t->rank, dims, NULL);
}

/* The twin of a root, read by group `reader`; -1: an error. It stands behind whatever writes the tensor. */
static int twin_of(Halves *h, int root, int reader, int followed) {
    Plan *plan = h->plan;
    if (root < h->count && h->twin[root] >= 0)
        return h->twin[root];
    const Group *mover = followed < MOVES_FOLLOWED ? mover_of(plan, &plan->tensors[root]) : NULL;
    int source = mover ? mover->definitions[0]->value->tensor : -1, from = -1;
    if (mover && is_known(plan, source))
        mover = NULL;
    if (mover) {
        from = twin_of(h, plan->tensors[source].root, plan->tensors[root].writer, followed + 1);
        from = from < 0 ? -1 : viewed(plan, from, source);
        if (from < 0)
            return -1;
        mover = mover_of(plan, &plan->tensors[root]);
    }
    const PlanTensor *t = &plan->tensors[root];
    int64_t dims[WHET_MAX_RANK];
    memcpy(dims, t->dims, sizeof dims);
    int writer = t->writer, twin = plan_tensor(plan, DT_BF16, t->rank, dims, NULL);
    if (twin < 0)
        return -1;
    const Group *nodes = plan->groups[writer >= 0 ? writer : reader];
    Definition *d = mover ? as_half(plan, mover->definitions[0], from, twin) : rounding(plan, root, twin);
    if (root < h->count)
        h->twin[root] = twin;
    return insert(plan, plan->tensors[root].writer + 1, d, nodes) ? twin : -1;
}

/* Inside of a kernel of several definitions the schedule finds its own way. */
static bool is_own(const Plan *plan, const Group *g, int tensor) {
    for (int i = 0; i < g->count; i++)
        if (plan->tensors[g->definitions[i]->tensor].root == plan->tensors[tensor].root)
            return true;
    return false;
}

/* Group g, with reads of twins in place of what it rounds. */
static bool halve(Halves *h, Group *g, Definition **definition) {
    Plan *plan = h->plan;
    const Definition *d = *definition;
    int known = plan->tensor_count, *twin = ARENA_ARRAY(plan->arena, int, (size_t)known);
    bool any = false;
    if (!twin)
        return fail(h);
    memset(twin, -1, (size_t)known * sizeof *twin);
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *read = expr_rounded_read(d->exprs[i]);
        if (!read || read->arg[0] || twin[read->tensor] >= 0 || is_known(plan, read->tensor) ||
            is_own(plan, g, read->tensor))
            continue;
        int at = 0;
        while (plan->groups[at] != g)
            at++;
        int of = twin_of(h, plan->tensors[read->tensor].root, at, 0);
        twin[read->tensor] = of < 0 ? -1 : viewed(plan, of, read->tensor);
        if (twin[read->tensor] < 0)
            return fail(h);
        any = true;
    }
    if (!any)
        return true;
    Definition *new = rewrite_take_rounded(plan->arena, d, twin);
    if (!new)
        return fail(h);
    int at = 0;
    while (plan->groups[at] != g)
        at++;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ)
            plan_drop_reader(plan, d->exprs[i]->tensor, at);
    *definition = new;
    g->given = NULL;
    g->verdict = NULL;
    for (int k = 0; k < g->count; k++)
        for (int i = 0; i < g->definitions[k]->expr_count; i++)
            if (g->definitions[k]->exprs[i]->op == EXPR_READ && !plan_add_reader(plan, g->definitions[k]->exprs[i]->tensor, at))
                return fail(h);
    return true;
}

bool plan_halve(Plan *plan) {
    Halves h = {plan, ARENA_ARRAY(plan->arena, int, (size_t)plan->tensor_count), plan->tensor_count};
    if (!h.twin)
        return fail(&h);
    memset(h.twin, -1, (size_t)h.count * sizeof *h.twin);
    for (int i = 0; i < plan->group_count; i++) {
        Group *g = plan->groups[i];
        if (g->gone || g->step >= 0 || g->partial)
            continue;
        for (int k = 0; k < g->count; k++)
            if (!halve(&h, g, &g->definitions[k]))
                return false;
        while (plan->groups[i] != g)
            i++;
    }
    return true;
}
