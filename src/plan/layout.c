/* Layout: images between convolutions, pools and what is elementwise are stored channels last.
 *
 * Kernels address tensors by index, so a layout is an order of a tensor's stored dims, and a rewrite of the reads and left sides
 * that name them. Nothing is transposed: what lies at the rim of an island reads or writes the model's own order on one side and
 * channels last on the other.
 *
 * An island is what convolutions, pools and what moves whole channels connect: elementwise nodes, slices, concatenations, and the
 * transposes of channels in groups of a channel shuffle. Each convolution votes with its work: one whose channels fill vectors
 * for channels last, one with few for the order of the model. Tensors that something outside of the plan sees stay as they are.
 *
 * One memory may be seen under several shapes, as [n, 116, 28, 28] and [n, 2, 58, 28, 28]: it is an image if all of them have a
 * block of dims for the channels and one behind it for the pixels. Then all of them change together:
 *
 *     x: [n, c, h, w]  view: [n, g, c/g, h, w]      ->      x: [n, h, w, c]  view: [n, h, w, g, c/g]
 *
 * Before fusion; requires groups as nodes gave them. */
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"

enum { FULL_CHANNELS = 16, FEW_CHANNELS = 4, GATHERED = 16 };

/* Which dims of a tensor are channels; those behind them are pixels. */
typedef struct Block {
    int first, count;
} Block;

typedef struct Islands {
    Plan *plan;
    int *parent;   /* union-find over the roots of tensors; a view's parent is its root */
    double *votes; /* of an island's root: for channels last, less those against */
    bool *fixed;   /* of roots of tensors: their order must stay, or they are no images */
    Block *block;  /* of tensors whose root is not fixed */
    int *views;    /* the next tensor of the same root; -1: none */
    bool *seen;    /* of roots: a convolution or pool has to do with it */
    bool moved;    /* something was fixed */
} Islands;

static int find(const Islands *s, int t) {
    while (s->parent[t] != t)
        t = s->parent[t] = s->parent[s->parent[t]];
    return t;
}

static void join(const Islands *s, int x, int y) {
    s->parent[find(s, x)] = find(s, y);
}

static int root_of(const Islands *s, int tensor) {
    return s->plan->tensors[tensor].root;
}

static bool is_image(const Islands *s, int tensor) {
    return !s->fixed[root_of(s, tensor)];
}

/* ---- Images ---- */

static int64_t product(const int64_t *dims, int from, int to) {
    int64_t out = 1;
    for (int i = from; i < to; i++)
        out *= dims[i];
    return out;
}

/* Dims from the last one before `end` down that hold so many elements; -1: none do. */
static int dims_of(const PlanTensor *t, int end, int64_t elements) {
    int64_t held = 1;
    while (end > 0 && held < elements)
        held *= t->dims[--end];
    return held == elements ? end : -1;
}

/* The tensor as [.., channels, pixels]. */
static bool find_block(const PlanTensor *t, int64_t channels, int64_t pixels, Block *out) {
    *out = (Block){1, 1};
    if (t->rank > 1 && t->dims[1] == channels && product(t->dims, 2, t->rank) == pixels)
        return true;
    int end = dims_of(t, t->rank, pixels), first = end < 0 ? -1 : dims_of(t, end, channels);
    *out = (Block){first, end - first};
    return first >= 0;
}

/* All tensors of one memory as [.., channels, pixels]. */
static bool set_blocks(const Islands *s, int root, int64_t channels, int64_t pixels) {
    for (int v = root; v >= 0; v = s->views[v])
        if (!find_block(&s->plan->tensors[v], channels, pixels, &s->block[v]))
            return false;
    return true;
}

/* As the first of them that all others fit to. False: there is none. */
static bool find_blocks(const Islands *s, int root) {
    for (int as = root; as >= 0; as = s->views[as]) {
        const PlanTensor *t = &s->plan->tensors[as];
        if (t->rank >= 3 && t->rank <= 5 && set_blocks(s, root, t->dims[1], product(t->dims, 2, t->rank)))
            return true;
    }
    return false;
}

static bool may_change(const Islands *s, int root) {
    const PlanTensor *t = &s->plan->tensors[root];
    return !t->known && !t->kept && t->count;
}

/* Roots that are no images are fixed. */
static void find_images(const Islands *s) {
    int count = s->plan->tensor_count;
    for (int t = count - 1; t >= 0; t--)
        s->views[t] = -1;
    for (int t = count - 1; t >= 0; t--) {
        int root = root_of(s, t);
        s->parent[t] = root;
        if (root != t) {
            s->views[t] = s->views[root];
            s->views[root] = t;
        }
    }
    for (int t = 0; t < count; t++)
        s->fixed[t] = root_of(s, t) == t && !(may_change(s, t) && find_blocks(s, t));
}

/* As [n, c, ..], which is how convolutions and pools read and write. */
static bool is_plain(const Islands *s, int tensor) {
    const Block *b = &s->block[tensor];
    return is_image(s, tensor) && b->first == 1 && b->count == 1;
}

/* Convolutions, pools: what ONNX defines on [n, c, ...]. */
static bool is_windowed(const Group *g) {
    static const char *const names[] = {"Conv",          "ConvInteger", "QLinearConv",       "FusedConv",
                                        "ConvTranspose", "MaxPool",     "AveragePool",       "GlobalAveragePool",
                                        "GlobalMaxPool", "LpPool",      "BatchNormalization"};
    const char *op = g->node_count == 1 ? g->nodes[0]->op : "";
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(op, names[i]) == 0)
            return true;
    return false;
}

static bool reduces(const Definition *d) {
    return d->axis_count > d->parallel_count;
}

static void see(Islands *s, const Group *g, const Definition *d) {
    bool windowed = is_windowed(g);
    s->seen[root_of(s, d->tensor)] |= windowed;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ)
            s->seen[root_of(s, d->exprs[i]->tensor)] |= windowed;
}

/* The largest image that the definition reads; -1: none. */
static int largest_image(const Islands *s, const Definition *d) {
    int best = -1;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (e->op == EXPR_READ && is_image(s, e->tensor) &&
            (best < 0 || s->plan->tensors[e->tensor].count > s->plan->tensors[best].count))
            best = e->tensor;
    }
    return best;
}

/* What no convolution has to do with has channels and pixels as that which it is made of: [24, 2, 1936], which was [1, 48, 44,
 * 44], is no 24 images of 2 channels. */
static void follow(Islands *s, const Group *g, const Definition *d) {
    int root = root_of(s, d->tensor), from = largest_image(s, d);
    if (is_windowed(g) || reduces(d) || s->seen[root] || from < 0 || !may_change(s, root))
        return;
    const PlanTensor *x = &s->plan->tensors[from];
    const Block *b = &s->block[from];
    int64_t outer = product(x->dims, 0, b->first), pixels = product(x->dims, b->first + b->count, x->rank);
    int64_t count = s->plan->tensors[root].count;
    if (pixels == 1 || count % (outer * pixels))
        return;
    s->fixed[root] = !set_blocks(s, root, count / outer / pixels, pixels) && !find_blocks(s, root);
}

/* Does the axis move one of the dims from `from` on, before `to`? */
static bool moves(const Definition *d, const Index *index, int from, int to, int axis) {
    for (int i = from; i < to; i++)
        if (d->axes[axis].extent != 1 && index[i].coef[axis])
            return true;
    return false;
}

/* Pixels of the read are those of the result, or one for all; whatever else is read, pixels have no part in it. */
static bool keeps_pixels(const Islands *s, const Definition *d, const Expr *read) {
    const Block *x = &s->block[read->tensor], *y = &s->block[d->tensor];
    int from = x->first + x->count, to = y->first + y->count, pixels = d->left_count - to;
    if (read->index_count - from != pixels)
        return false;
    for (int i = 0; i < read->index_count; i++)
        if (!read->index[i].affine)
            return false;
    for (int a = 0; a < d->axis_count; a++) {
        for (int i = 0; i < pixels; i++) {
            int64_t coef = read->index[from + i].coef[a];
            if (d->axes[a].extent != 1 && coef && coef != d->left[to + i].coef[a])
                return false;
        }
        if (moves(d, d->left, to, d->left_count, a) && moves(d, read->index, 0, from, a))
            return false;
    }
    return true;
}

/* Sums of whole numbers: bytes are multiplied by fours of channels, which lie side by side only where channels are last. */
static bool sums_integers(const Definition *d) {
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_REDUCE)
            return d->exprs[i]->reduce == REDUCE_SUM && dtype_kind(d->exprs[i]->type) == KIND_SIGNED;
    return false;
}

/* Outputs of one place of the image: channels, and where a transposed convolution writes between its pixels, times these. */
static int64_t outputs_of(const Definition *d, int64_t channels) {
    for (int i = 2; i < d->left_count; i++)
        for (int a = 0; a < d->parallel_count; a++)
            for (int b = 0; b < d->parallel_count; b++)
                if (d->left[i].coef[a] == 1 && d->left[i].coef[b] > 1)
                    channels *= d->axes[a].extent;
    return channels;
}

/* What a definition of a convolution or pool wants: its work, against if channels are few; where there are but some, much
 * against, for their pixels would be gathered. */
static double vote(const Islands *s, const Definition *d) {
    const PlanTensor *y = &s->plan->tensors[d->tensor];
    int64_t full = sums_integers(d) ? FEW_CHANNELS : FULL_CHANNELS;
    double work = 1;
    for (int a = 0; a < d->axis_count; a++)
        work *= (double)d->axes[a].extent;
    int64_t outputs = outputs_of(d, y->dims[1]);
    return outputs >= full ? work : outputs >= FEW_CHANNELS ? -work : -GATHERED * work;
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
        bool *to = &s->fixed[root_of(s, d->tensor)], *from = &s->fixed[x->root], stays = *to || *from;
        any |= stays && (!*to || !*from);
        *to |= stays;
        *from |= stays;
    }
    return any;
}

/* What a convolution or pool sees otherwise than as [n, c, ..]. */
static void fix_not_plain(const Islands *s, const Definition *d) {
    if (!is_plain(s, d->tensor))
        s->fixed[root_of(s, d->tensor)] = true;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (e->op == EXPR_READ && e->index_count == d->left_count && !is_plain(s, e->tensor))
            s->fixed[root_of(s, e->tensor)] = true;
    }
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
        if (e->op != EXPR_READ || !is_image(s, e->tensor))
            continue;
        if (windowed ? e->index_count == d->left_count : !reduces(d) && keeps_pixels(s, d, e))
            join(s, e->tensor, d->tensor);
    }
}

/* ---- Changing the order ---- */

/* Where a dim is when those of channels are behind those of pixels. */
static int place_of(const Block *b, int rank, int dim) {
    int end = b->first + b->count;
    return dim < b->first ? dim : dim < end ? dim + rank - end : dim - b->count;
}

static void rotate(const Islands *s, int tensor, Index **index, int count) {
    Index *out = ARENA_ARRAY(s->plan->arena, Index, (size_t)count);
    for (int i = 0; out && i < count; i++) /* the arena's failure is sticky */
        out[place_of(&s->block[tensor], count, i)] = (*index)[i];
    if (out)
        *index = out;
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
        stride[a] = parallel ? plan_stride(plan, d->tensor, d->left, a)
                    : read   ? plan_stride(plan, read->tensor, read->index, a)
                             : 0;
    }
    for (int a = 1; a < d->axis_count; a++) /* insertion: stable */
        for (int b = a; b > 0 && b != d->parallel_count && stride[order[b - 1]] < stride[order[b]]; b--) {
            int swap = order[b];
            order[b] = order[b - 1];
            order[b - 1] = swap;
        }
    return rewrite_permute(plan->arena, d, order);
}

static bool is_chosen(const Islands *s, int tensor) {
    return is_image(s, tensor) && s->votes[find(s, tensor)] > 0;
}

static bool change_definition(const Islands *s, Definition **definition, bool *changed) {
    Definition *d = *definition;
    bool any = is_chosen(s, d->tensor);
    if (any)
        rotate(s, d->tensor, &d->left, d->left_count);
    for (int i = 0; i < d->expr_count; i++) {
        Expr *e = d->exprs[i];
        if (e->op == EXPR_READ && is_chosen(s, e->tensor)) {
            rotate(s, e->tensor, &e->index, e->index_count);
            any = true;
        }
    }
    *changed |= any;
    if (any)
        *definition = order_axes(s->plan, d);
    return *definition != NULL;
}

static void change_tensor(const Islands *s, int tensor) {
    PlanTensor *t = &s->plan->tensors[tensor];
    const PlanTensor before = *t;
    for (int i = 0; i < t->rank; i++)
        t->dims[place_of(&s->block[tensor], t->rank, i)] = before.dims[i];
}

static bool apply(const Islands *s) {
    for (int t = 0; t < s->plan->tensor_count; t++)
        if (is_chosen(s, t))
            change_tensor(s, t);
    for (int g = 0; g < s->plan->group_count; g++) {
        Group *group = s->plan->groups[g];
        bool changed = false;
        for (int i = 0; i < group->count; i++)
            if (!change_definition(s, &group->definitions[i], &changed))
                return false;
        if (changed)
            group->given = NULL;
    }
    return true;
}

/* ---- All of it ---- */

typedef void DefinitionVisit(Islands *s, const Group *g, const Definition *d);

static void each_definition(Islands *s, DefinitionVisit *visit) {
    for (int g = 0; g < s->plan->group_count; g++)
        for (int i = 0; i < s->plan->groups[g]->count; i++)
            visit(s, s->plan->groups[g], s->plan->groups[g]->definitions[i]);
}

static void fix_definition(Islands *s, const Group *g, const Definition *d) {
    if (is_of_constants(s->plan, d))
        s->fixed[root_of(s, d->tensor)] = true;
    if (is_windowed(g))
        fix_not_plain(s, d);
}

static void fix_along(Islands *s, const Group *g, const Definition *d) {
    if (is_windowed(g) && reduces(d))
        s->moved |= fix_by_channel(s, d);
}

static void count_vote(Islands *s, const Group *g, const Definition *d) {
    if (is_windowed(g) && reduces(d) && is_image(s, d->tensor))
        s->votes[find(s, d->tensor)] += vote(s, d);
}

bool plan_layout(Plan *plan) {
    size_t count = (size_t)plan->tensor_count;
    Islands s = {.plan = plan,
                 .parent = ARENA_ARRAY(plan->arena, int, count),
                 .votes = ARENA_ARRAY(plan->arena, double, count),
                 .fixed = ARENA_ARRAY(plan->arena, bool, count),
                 .block = ARENA_ARRAY(plan->arena, Block, count),
                 .views = ARENA_ARRAY(plan->arena, int, count),
                 .seen = ARENA_ARRAY(plan->arena, bool, count)};
    if (!s.parent || !s.votes || !s.fixed || !s.block || !s.views || !s.seen)
        return error_memory(plan->err), false;
    find_images(&s);
    each_definition(&s, see);
    each_definition(&s, follow);
    each_definition(&s, fix_definition);
    do {
        s.moved = false;
        each_definition(&s, fix_along);
    } while (s.moved);
    each_definition(&s, join_definition);
    each_definition(&s, count_vote);
    return apply(&s) || (error_memory(plan->err), false);
}
