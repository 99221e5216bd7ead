/* Layout: images between convolutions, pools and what is elementwise are stored channels last.
 *
 * Kernels address tensors by index, so a layout is an order of a tensor's stored dims, and a rewrite of the reads and left sides
 * that name them. Nothing is transposed: what lies at the rim of an island reads or writes the model's own order on one side and
 * channels last on the other.
 *
 * An island is what convolutions, pools and elementwise nodes connect. Each votes with its work: a convolution whose channels
 * fill vectors for channels last, one with few for the order of the model. Tensors that something outside of the plan sees, and
 * those that are viewed under other dims, stay as they are.
 *
 * Before fusion; requires groups as nodes gave them. */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

enum { FULL_CHANNELS = 16, FEW_CHANNELS = 4, GATHERED = 16 };

typedef struct Islands {
    Plan *plan;
    int *parent;   /* union-find over tensors */
    double *votes; /* of roots: for channels last, less those against */
    bool *fixed;   /* tensors whose order must stay */
} Islands;

static int find(const Islands *s, int t) {
    while (s->parent[t] != t)
        t = s->parent[t] = s->parent[s->parent[t]];
    return t;
}

static void join(const Islands *s, int x, int y) {
    s->parent[find(s, x)] = find(s, y);
}

static bool is_image(const Islands *s, int tensor) {
    const PlanTensor *t = &s->plan->tensors[tensor];
    return t->rank >= 3 && t->rank <= 5 && !t->known && t->root == tensor && !s->fixed[tensor];
}

/* Convolutions, pools: what ONNX defines on [n, c, ...]. */
static bool is_windowed(const Group *g) {
    static const char *const names[] = {"Conv",        "ConvInteger",       "QLinearConv",   "FusedConv", "MaxPool",
                                        "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool",    "BatchNormalization"};
    const char *op = g->node_count == 1 ? g->nodes[0]->op : "";
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(op, names[i]) == 0)
            return true;
    return false;
}

/* Index i of the read is axis a alone, and a is index i of the left side. */
static bool is_elementwise(const Definition *d, const Expr *read) {
    if (read->index_count != d->left_count)
        return false;
    for (int i = 0; i < d->left_count; i++) {
        if (!read->index[i].affine)
            return false;
        for (int a = 0; a < d->axis_count; a++)
            if (read->index[i].coef[a] != d->left[i].coef[a] && d->axes[a].extent != 1 && read->index[i].coef[a] != 0)
                return false;
    }
    return true;
}

static bool reduces(const Definition *d) {
    return d->axis_count > d->parallel_count;
}

/* What a definition of a convolution or pool wants: its work, against if channels are few; where there are but some, much
 * against, for their pixels would be gathered. */
static double vote(const Islands *s, const Definition *d) {
    const PlanTensor *y = &s->plan->tensors[d->tensor];
    double work = 1;
    for (int a = 0; a < d->axis_count; a++)
        work *= (double)d->axes[a].extent;
    return y->dims[1] >= FULL_CHANNELS ? work : y->dims[1] >= FEW_CHANNELS ? -work : -GATHERED * work;
}

/* The channel of the result is that of the read: depthwise convolutions, pools. */
static bool is_by_channel(const Definition *d, const Expr *read) {
    bool same = false;
    if (!read->index[1].affine)
        return false;
    for (int a = 0; a < d->axis_count; a++)
        if (read->index[1].coef[a] && d->axes[a].extent != 1)
            same = a < d->parallel_count && d->left[1].coef[a] == read->index[1].coef[a];
    return same;
}

/* What goes channel by channel cannot change the order on its way: if one side has to stay, so has the other. True: something was
 * fixed. */
static bool fix_by_channel(Islands *s, const Definition *d) {
    bool any = false;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        const PlanTensor *x = e->op == EXPR_READ ? &s->plan->tensors[e->tensor] : NULL;
        if (!x || x->rank != d->left_count || x->rank < 3 || s->plan->tensors[x->root].known || !is_by_channel(d, e))
            continue;
        bool stays = s->fixed[d->tensor] || s->fixed[e->tensor] || x->root != e->tensor;
        any |= stays && (!s->fixed[d->tensor] || !s->fixed[e->tensor]);
        if (stays)
            s->fixed[d->tensor] = s->fixed[e->tensor] = true;
    }
    return any;
}

/* Weights on their way into a product. */
static bool is_of_constants(const Plan *plan, const Definition *d) {
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && !plan->tensors[plan->tensors[d->exprs[i]->tensor].root].known)
            return false;
    return true;
}

static void join_definition(Islands *s, const Group *g, const Definition *d) {
    bool windowed = is_windowed(g);
    if (!is_image(s, d->tensor))
        return;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (e->op != EXPR_READ || !is_image(s, e->tensor) || e->index_count != d->left_count)
            continue;
        if (windowed || (!reduces(d) && is_elementwise(d, e)))
            join(s, e->tensor, d->tensor);
    }
}

/* ---- Changing the order ---- */

static void rotate(Plan *plan, Index **index, int count) {
    Index *out = ARENA_ARRAY(plan->arena, Index, (size_t)count);
    if (!out)
        return; /* the arena's failure is sticky */
    out[0] = (*index)[0];
    for (int i = 2; i < count; i++)
        out[i - 1] = (*index)[i];
    out[count - 1] = (*index)[1];
    *index = out;
}

static int64_t stride_of(const Plan *plan, int tensor, const Index *index, int axis) {
    const PlanTensor *t = &plan->tensors[tensor];
    int64_t stride = 1, sum = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        sum += index[i].affine ? stride * index[i].coef[axis] : 0;
        stride *= t->dims[i];
    }
    return sum;
}

/* The read that decides the order of reduced axes: the largest that is not known. */
static const Expr *main_read(const Plan *plan, const Definition *d) {
    const Expr *best = NULL;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (e->op == EXPR_READ && !plan->tensors[plan->tensors[e->tensor].root].known &&
            (!best || plan->tensors[e->tensor].count > plan->tensors[best->tensor].count))
            best = e;
    }
    return best;
}

/* Parallel axes in the order of the left side, reduced ones in that of the main read, outermost first. */
static Definition *order_axes(Plan *plan, const Definition *d) {
    int order[KERNEL_MAX_AXES];
    int64_t stride[KERNEL_MAX_AXES];
    const Expr *read = main_read(plan, d);
    for (int a = 0; a < d->axis_count; a++) {
        bool parallel = a < d->parallel_count;
        order[a] = a;
        stride[a] = parallel ? stride_of(plan, d->tensor, d->left, a) : read ? stride_of(plan, read->tensor, read->index, a) : 0;
    }
    for (int a = 1; a < d->axis_count; a++) /* insertion: stable */
        for (int b = a; b > 0 && b != d->parallel_count && stride[order[b - 1]] < stride[order[b]]; b--) {
            int swap = order[b];
            order[b] = order[b - 1];
            order[b - 1] = swap;
        }
    return rewrite_permute(plan->arena, d, order);
}

static bool change_definition(Plan *plan, Definition **definition, const bool *chosen, bool *changed) {
    Definition *d = *definition;
    bool any = chosen[d->tensor];
    for (int i = 0; i < d->expr_count; i++)
        any |= d->exprs[i]->op == EXPR_READ && chosen[d->exprs[i]->tensor];
    if (!any)
        return true;
    if (chosen[d->tensor])
        rotate(plan, &d->left, d->left_count);
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ && chosen[d->exprs[i]->tensor])
            rotate(plan, &d->exprs[i]->index, d->exprs[i]->index_count);
    *changed = true;
    *definition = order_axes(plan, d);
    return *definition != NULL;
}

static void change_tensor(PlanTensor *t) {
    int64_t channels = t->dims[1];
    memmove(&t->dims[1], &t->dims[2], (size_t)(t->rank - 2) * sizeof *t->dims);
    t->dims[t->rank - 1] = channels;
}

static bool apply(Plan *plan, const bool *chosen) {
    for (int t = 0; t < plan->tensor_count; t++)
        if (chosen[t])
            change_tensor(&plan->tensors[t]);
    for (int g = 0; g < plan->group_count; g++) {
        Group *group = plan->groups[g];
        bool changed = false;
        for (int i = 0; i < group->count; i++)
            if (!change_definition(plan, &group->definitions[i], chosen, &changed))
                return error_memory(plan->err), false;
        if (changed)
            group->given = NULL;
    }
    return true;
}

bool plan_layout(Plan *plan) {
    size_t count = (size_t)plan->tensor_count;
    Islands s = {plan, ARENA_ARRAY(plan->arena, int, count), ARENA_ARRAY(plan->arena, double, count),
                 ARENA_ARRAY(plan->arena, bool, count)};
    bool *chosen = ARENA_ARRAY(plan->arena, bool, count);
    if (!s.parent || !s.votes || !s.fixed || !chosen)
        return error_memory(plan->err), false;
    for (int t = 0; t < plan->tensor_count; t++) {
        s.parent[t] = t;
        s.fixed[t] = s.fixed[t] || plan->tensors[t].kept;
        if (plan->tensors[t].root != t)
            s.fixed[plan->tensors[t].root] = true;
    }
    for (int g = 0; g < plan->group_count; g++)
        for (int i = 0; i < plan->groups[g]->count; i++)
            if (is_of_constants(plan, plan->groups[g]->definitions[i]))
                s.fixed[plan->groups[g]->definitions[i]->tensor] = true;
    for (bool moved = true; moved;) {
        moved = false;
        for (int g = 0; g < plan->group_count; g++)
            for (int i = 0; is_windowed(plan->groups[g]) && i < plan->groups[g]->count; i++)
                moved |= reduces(plan->groups[g]->definitions[i]) && fix_by_channel(&s, plan->groups[g]->definitions[i]);
    }
    for (int g = 0; g < plan->group_count; g++)
        for (int i = 0; i < plan->groups[g]->count; i++)
            join_definition(&s, plan->groups[g], plan->groups[g]->definitions[i]);
    for (int g = 0; g < plan->group_count; g++)
        for (int i = 0; i < plan->groups[g]->count; i++) {
            const Definition *d = plan->groups[g]->definitions[i];
            if (is_windowed(plan->groups[g]) && reduces(d) && is_image(&s, d->tensor))
                s.votes[find(&s, d->tensor)] += vote(&s, d);
        }
    bool any = false;
    for (int t = 0; t < plan->tensor_count; t++) {
        chosen[t] = is_image(&s, t) && !s.fixed[t] && s.votes[find(&s, t)] > 0;
        any |= chosen[t];
    }
    return !any || apply(plan, chosen);
}
