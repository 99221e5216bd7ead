/* Tensors whose products take them rounded to bf16 are kept rounded: whatever makes `x` shall write it so, once, rather than
 * every product round it while it reads.
 *
 *     y[m, n] = sum(k) f32(bf16(x[m, k])) * f32(bf16(w[k, n]))
 *
 *     t[m, k] = bf16(x[m, k])                                     its twin, one for all that read x rounded
 *     y[m, n] = sum(k) f32(t[m, k]) * f32(bf16(w[k, n]))
 *
 * The twin is a map like any other: the rules of fuse.c put it behind the product, or into the rows, that make x. A constant
 * stays as it is, for it is rounded where it is packed. Where all that is read of something are rounded places of it (transposes,
 * parts), plan_lift_halves rounds it first and moves it then:
 *
 *     q[h, m, d] = bf16(y[m, 64*h + d])   k[h, m, d] = bf16(y[m, 64*h + d + 768])
 *     t[m, n] = bf16(y[m, n])   q[h, m, d] = t[m, 64*h + d]   k[h, m, d] = t[m, 64*h + d + 768]
 *
 * plan_halve requires groups as nodes gave them, laid out, before the rules of fuse.c; plan_lift_halves that maps have met (rule
 * 1).
 */
#include <string.h>

#include "plan/plan.h"

typedef struct Halves {
    Plan *plan;
    int *twin; /* of roots: the tensor that holds it rounded; -1: none */
    int count; /* tensors that `twin` knows */
} Halves;

static bool fail(const Halves *h) {
    return error_memory(h->plan->err), false;
}

/* to[..] = bf16(from[..]) */
static Definition *rounding(Plan *plan, int from, int to) {
    Definition *d = plan_copy_of(plan, from);
    Expr *cast = ARENA_NEW(plan->arena, Expr);
    if (!d || !cast)
        return NULL;
    *cast =
        (Expr){.op = EXPR_CAST, .type = DT_BF16, .arg = {d->value}, .axis = -1, .tensor = -1, .id = 1, .depth = 2, .weight = 2};
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
static int twin_of(Halves *h, int root, int reader) {
    Plan *plan = h->plan;
    if (root < h->count && h->twin[root] >= 0)
        return h->twin[root];
    const PlanTensor *t = &plan->tensors[root];
    int64_t dims[WHET_MAX_RANK];
    memcpy(dims, t->dims, sizeof dims);
    int writer = t->writer, twin = plan_tensor(plan, DT_BF16, t->rank, dims, NULL);
    if (twin < 0)
        return -1;
    if (root < h->count)
        h->twin[root] = twin;
    return insert(plan, writer + 1, rounding(plan, root, twin), plan->groups[writer >= 0 ? writer : reader]) ? twin : -1;
}

/* Inside of a kernel of several definitions the schedule finds its own way. */
static bool is_own(const Plan *plan, const Group *g, int tensor) {
    for (int i = 0; i < g->count; i++)
        if (plan->tensors[g->definitions[i]->tensor].root == plan->tensors[tensor].root)
            return true;
    return false;
}

static int place_of(const Plan *plan, const Group *g) {
    int at = 0;
    while (plan->groups[at] != g)
        at++;
    return at;
}

static bool rounds_reads(const Definition *d) {
    for (int i = 0; i < d->expr_count; i++)
        if (expr_rounded_read(d->exprs[i]))
            return true;
    return false;
}

/* Group g, with reads of twins in place of what it rounds. */
static bool halve(Halves *h, Group *g, Definition **definition) {
    Plan *plan = h->plan;
    const Definition *d = *definition;
    if (!rounds_reads(d))
        return true;
    int known = plan->tensor_count, *twin = ARENA_ARRAY(plan->arena, int, (size_t)known);
    bool any = false;
    if (!twin)
        return fail(h);
    memset(twin, -1, (size_t)known * sizeof *twin);
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *read = expr_rounded_read(d->exprs[i]);
        if (!read || read->arg[0] || read->type != DT_F32 || twin[read->tensor] >= 0 || is_known(plan, read->tensor) ||
            is_own(plan, g, read->tensor))
            continue;
        int of = twin_of(h, plan->tensors[read->tensor].root, place_of(plan, g));
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
    const int at = place_of(plan, g);
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
        i = place_of(plan, g);
    }
    return true;
}

/* The read in `bf16(x[..])`, all that the group does; NULL: it is something else. */
static Expr *rounded_place(const Group *g) {
    const Definition *d = g->count == 1 && g->step < 0 && !g->gone && !g->partial ? g->definitions[0] : NULL;
    if (!d || d->value->op != EXPR_CAST || d->value->type != DT_BF16 || d->axis_count > d->parallel_count)
        return NULL;
    Expr *read = d->value->arg[0];
    return read->op == EXPR_READ && read->type == DT_F32 && !read->arg[0] ? read : NULL;
}

/* The tensor in its own order. */
static bool is_whole(const Plan *plan, const Group *g, const Expr *read) {
    const Definition *d = g->definitions[0];
    if (plan->tensors[read->tensor].root != read->tensor || read->index_count != d->left_count)
        return false;
    for (int i = 0; i < d->left_count; i++)
        if (!index_equals(d, &read->index[i], &d->left[i]))
            return false;
    return true;
}

static bool wants_lift(const Plan *plan, int root) {
    const PlanTensor *t = &plan->tensors[root];
    bool whole = t->reader_count == 1;
    if (t->root != root || t->kept || t->known || t->type != DT_F32 || !t->reader_count || t->writer_count != 1)
        return false;
    for (int i = 0; i < t->reader_count; i++) {
        const Expr *read = rounded_place(plan->groups[t->readers[i]]);
        if (!read)
            return false;
        whole = whole && is_whole(plan, plan->groups[t->readers[i]], read);
    }
    return !whole;
}

static bool lift(Halves *h, int root) {
    Plan *plan = h->plan;
    const PlanTensor *t = &plan->tensors[root];
    int count = t->reader_count, *readers = arena_copy(plan->arena, t->readers, (size_t)count * sizeof *readers);
    int twin = readers ? twin_of(h, root, readers[0]) : -1;
    if (twin < 0)
        return fail(h);
    for (int i = 0; i < count; i++) {
        int at = readers[i] + (readers[i] > plan->tensors[root].writer); /* the twin's group came in between */
        Group *g = plan->groups[at];
        int known = plan->tensor_count, *names = ARENA_ARRAY(plan->arena, int, (size_t)known);
        int from = viewed(plan, twin, rounded_place(g)->tensor);
        if (!names || from < 0)
            return fail(h);
        memset(names, -1, (size_t)known * sizeof *names);
        names[rounded_place(g)->tensor] = from;
        Definition *d = rewrite_take_rounded(plan->arena, g->definitions[0], names);
        if (!d || !(g->definitions = ARENA_ARRAY(plan->arena, Definition *, 1)))
            return fail(h);
        g->definitions[0] = d;
        g->given = NULL;
        g->verdict = NULL;
        plan_drop_reader(plan, root, at);
        if (!plan_add_reader(plan, from, at))
            return fail(h);
    }
    return true;
}

bool plan_lift_halves(Plan *plan) {
    Halves h = {plan, NULL, 0};
    for (int t = 0, count = plan->tensor_count; t < count; t++)
        if (wants_lift(plan, t) && !lift(&h, t))
            return false;
    return true;
}
