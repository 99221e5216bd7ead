/* Substitution on bound definitions.
 *
 * One walk does it all: an expression of the definition `from` is written anew in the axes of the definition `to`, where every
 * axis of `from` is an affine function of the axes of `to`: itself (renaming), inner * a + b (splitting an axis), the index that
 * a reader has at this place (inlining). Affine indices compose; a gather's index is an expression and is rewritten as one.
 *
 * Between a producer and its reader may lie a reshape (reshape.c): where one axis of the reader runs over several dims of the
 * producer it is split, everywhere in the reader: n of 768 becomes 64*h + d. */
#include "kernel/rewrite.h"

#include <string.h>

#include "kernel/reshape.h"

enum { MAX_PLACES = 4 }; /* different places at which one reader reads one producer */

typedef struct Inliner Inliner;

typedef struct Rewriter {
    Arena *arena;
    const Definition *from;
    Definition *to;
    const Affine *map;  /* an axis of `from` in the axes of `to` */
    Expr **done;        /* by id in `from` */
    const int *tensors; /* new numbers; NULL: the same */
    Inliner *inliner;   /* NULL: nothing is inlined */
    const Expr *guard;  /* the read that stands around all this and may be outside; NULL: none */
    int replaced;       /* a tensor whose reads become `number`; -1: none */
    const Expr *number;
    const RewriteTensors *shapes; /* NULL: indices that turn out to be affine are left as they are */
    bool rounds;                  /* products are rounded: rewrite_round_products */
    const int *twin;              /* rewrite_take_rounded; NULL: nothing is taken */
    int stored;                   /* kernel_store_narrower: the tensor, and the type it has now */
    DType narrower;               /* NONE: none */
    bool rounded;                 /* kernel_round_tensor: it keeps its own, and is rounded to that where it is read */
    int inside;                   /* so many reductions */
    int width;                    /* axes that `to` has in the end, at most */
    const char *why;
} Rewriter;

static Expr *rewrite(Rewriter *r, const Expr *e);

static Expr *fail(Rewriter *r, const char *why) {
    if (!r->why)
        r->why = why;
    return NULL;
}

/* ---- Affine functions ---- */

static Affine axis_of(int axis) {
    Affine out = {0};
    out.coef[axis] = 1;
    return out;
}

static Affine compose(const Rewriter *r, const Index *index) {
    Affine out = {.offset = index->offset};
    for (int a = 0; a < r->from->axis_count; a++) {
        int64_t c = index->coef[a];
        if (!c)
            continue;
        out.offset += c * r->map[a].offset;
        for (int b = 0; b < KERNEL_MAX_AXES; b++)
            out.coef[b] += c * r->map[a].coef[b];
    }
    return out;
}

static bool set_index(const Rewriter *r, Index *index, const Affine *affine) {
    *index = (Index){.affine = true, .offset = affine->offset};
    index->coef = arena_copy(r->arena, affine->coef, (size_t)r->width * sizeof *affine->coef);
    return index->coef != NULL;
}

/* ---- Expressions ---- */

static Expr *new_expr(Rewriter *r, ExprOp op, DType type) {
    Expr *e = expr_new(r->arena, op, 0);
    if (e)
        e->type = type;
    return e;
}

static Expr *measured(Rewriter *r, Expr *e) {
    return e && !expr_measure(e) ? fail(r, "an expression larger than a kernel takes") : e;
}

static Expr *new_integer(Rewriter *r, int64_t value) {
    Expr *e = new_expr(r, EXPR_NUMBER, DT_S64);
    if (e) {
        e->integer = value;
        e->number = (double)value;
    }
    return e;
}

static Expr *new_binary(Rewriter *r, ExprOp op, Expr *x, Expr *y) {
    Expr *e = x && y ? new_expr(r, op, x->type) : NULL;
    if (!e)
        return NULL;
    e->arg[0] = x;
    e->arg[1] = y;
    return measured(r, e);
}

static Expr *new_cast(Rewriter *r, DType type, Expr *x) {
    Expr *e = x ? new_expr(r, EXPR_CAST, type) : NULL;
    if (e)
        e->arg[0] = x;
    return measured(r, e);
}

/* An affine function as an s64 expression. */
static Expr *affine_expr(Rewriter *r, const Affine *f) {
    Expr *sum = NULL;
    for (int a = 0; a < KERNEL_MAX_AXES; a++) {
        if (!f->coef[a])
            continue;
        Expr *term = new_expr(r, EXPR_AXIS, DT_S64);
        if (!term)
            return NULL;
        term->axis = a;
        if (f->coef[a] != 1)
            term = new_binary(r, EXPR_MUL, new_integer(r, f->coef[a]), term);
        sum = sum ? new_binary(r, EXPR_ADD, sum, term) : term;
        if (!sum)
            return NULL;
    }
    if (!sum)
        return new_integer(r, f->offset);
    return f->offset ? new_binary(r, EXPR_ADD, sum, new_integer(r, f->offset)) : sum;
}

/* An index that has become affine where numbers took the place of reads, if it stays inside. */
static bool settle_index(const Rewriter *r, int64_t dim, Index *index) {
    Affine f;
    int64_t least, most;
    if (!affine_of(r->to, index->expr, &f) || !affine_range(r->to, &f, &least, &most) || least < 0 || most >= dim)
        return true;
    return set_index(r, index, &f);
}

static bool rewrite_index(Rewriter *r, const Index *index, Index *out) {
    if (index->affine) {
        Affine f = compose(r, index);
        return set_index(r, out, &f);
    }
    *out = (Index){.expr = rewrite(r, index->expr)};
    return out->expr != NULL;
}

static bool is_one(const Expr *e) {
    return e->op == EXPR_NUMBER && dtype_kind(e->type) == KIND_FLOAT && e->number == 1;
}

/* A float times 1, or by 1, is itself: scales that passes have moved elsewhere leave such behind. */
static Expr *without_one(const Expr *e) {
    if ((e->op == EXPR_MUL || e->op == EXPR_DIV) && is_one(e->arg[1]))
        return e->arg[0];
    return e->op == EXPR_MUL && is_one(e->arg[0]) ? e->arg[1] : NULL;
}

static Expr *rewrite_args(Rewriter *r, const Expr *e) {
    Expr *out = arena_copy(r->arena, e, sizeof *e);
    bool numbers = e->arg[0] != NULL;
    for (int i = 0; out && i < 3; i++) {
        if (e->arg[i] && !(out->arg[i] = rewrite(r, e->arg[i])))
            return NULL;
        numbers &= !e->arg[i] || out->arg[i]->op == EXPR_NUMBER;
    }
    if (out && numbers)
        return fold_operation(r->arena, out);
    Expr *same = out ? without_one(out) : NULL;
    return same ? same : measured(r, out);
}

/* x[..], or f32(x[..]) of an x that is stored narrower. */
static const Expr *stored_read(const Expr *e) {
    const Expr *read = e->op == EXPR_CAST && e->type == DT_F32 ? e->arg[0] : e;
    return read->op == EXPR_READ && (read == e || dtype_is_half(read->type)) ? read : NULL;
}

/* Is it a sum of products of two reads? Squares are none. */
static bool is_product_of_f32(const Expr *e) {
    const Expr *product = e->arg[0];
    if (e->reduce != REDUCE_SUM || e->type != DT_F32 || product->op != EXPR_MUL)
        return false;
    return product->arg[0] != product->arg[1] && stored_read(product->arg[0]) && stored_read(product->arg[1]);
}

static Expr *rounded_product(Rewriter *r, const Expr *product) {
    Expr *out = arena_copy(r->arena, product, sizeof *product);
    for (int i = 0; out && i < 2; i++) {
        bool is_rounded = product->arg[i]->op == EXPR_CAST && product->arg[i]->arg[0]->type == DT_BF16;
        if (!is_rounded && !(out->arg[i] = new_cast(r, DT_F32, new_cast(r, DT_BF16, product->arg[i]))))
            return NULL;
    }
    return measured(r, out);
}

static Expr *rewrite_reduce(Rewriter *r, const Expr *e) {
    int axes[KERNEL_MAX_AXES], count = 0;
    for (int i = 0; i < e->axis_count; i++) {
        const Affine *f = &r->map[e->axes[i]];
        int found = 0;
        for (int a = 0; a < KERNEL_MAX_AXES; a++)
            if (f->coef[a]) {
                int at = count++; /* in the order of axes, so that the text has that order too */
                for (; at > 0 && axes[at - 1] > a; at--)
                    axes[at] = axes[at - 1];
                axes[at] = a;
                found++;
            }
        if (found != 1 && (e->reduce == REDUCE_ARGMAX || e->reduce == REDUCE_ARGMIN))
            return fail(r, "a place of an extremum along an axis that would be split");
    }
    r->inside++;
    Expr *operand = rewrite(r, e->arg[0]);
    r->inside--;
    if (r->rounds && operand && is_product_of_f32(e))
        operand = rounded_product(r, operand);
    Expr *out = operand ? arena_copy(r->arena, e, sizeof *e) : NULL;
    if (!out)
        return NULL;
    out->arg[0] = operand;
    out->axes = arena_copy(r->arena, axes, (size_t)count * sizeof *axes);
    out->axis_count = count;
    return out->axes ? measured(r, out) : NULL;
}

static Expr *inline_read(Rewriter *r, const Expr *read, const Index *index);
static bool inlines(const Rewriter *r, const Expr *read);

static Expr *rewrite_read(Rewriter *r, const Expr *e) {
    if (e->tensor == r->replaced)
        return arena_copy(r->arena, r->number, sizeof *r->number);
    Index *index = ARENA_ARRAY(r->arena, Index, (size_t)e->index_count);
    for (int i = 0; i < e->index_count; i++) {
        if (!index || !rewrite_index(r, &e->index[i], &index[i]))
            return NULL;
        if (r->shapes && !index[i].affine && !settle_index(r, r->shapes->shape(r->shapes->context, e->tensor).dims[i], &index[i]))
            return NULL;
    }
    if (inlines(r, e))
        return inline_read(r, e, index);
    Expr *out = arena_copy(r->arena, e, sizeof *e);
    if (!out)
        return NULL;
    out->tensor = r->tensors ? r->tensors[e->tensor] : e->tensor;
    out->index = index;
    const Expr *guard = e->guarded ? e : r->guard;
    out->guarded = guard != NULL;
    out->arg[0] = guard && guard->arg[0] ? arena_copy(r->arena, guard->arg[0], sizeof **guard->arg) : NULL;
    if (r->narrower == DT_NONE || e->tensor != r->stored)
        return measured(r, out);
    if (r->rounded)
        return new_cast(r, e->type, new_cast(r, r->narrower, measured(r, out)));
    out->type = r->narrower;
    return new_cast(r, e->type, measured(r, out));
}

/* bf16(x[...]) of a tensor that has a twin: a read of that, which holds x rounded. */
static Expr *rewrite_cast(Rewriter *r, const Expr *e) {
    const Expr *read = e->arg[0];
    bool taken = r->twin && e->type == DT_BF16 && read->op == EXPR_READ && read->type == DT_F32 && r->twin[read->tensor] >= 0;
    if (!taken || read->arg[0])
        return rewrite_args(r, e);
    Expr *out = rewrite_read(r, read);
    if (out) {
        out->type = DT_BF16;
        out->tensor = r->twin[read->tensor];
    }
    return out;
}

static Expr *rewrite_new(Rewriter *r, const Expr *e) {
    switch (e->op) {
    case EXPR_CAST: return rewrite_cast(r, e);
    case EXPR_NUMBER: return arena_copy(r->arena, e, sizeof *e);
    case EXPR_AXIS: return affine_expr(r, &r->map[e->axis]);
    case EXPR_READ: return rewrite_read(r, e);
    case EXPR_REDUCE: return rewrite_reduce(r, e);
    default: return rewrite_args(r, e);
    }
}

static Expr *rewrite(Rewriter *r, const Expr *e) {
    if (!r->done[e->id])
        r->done[e->id] = rewrite_new(r, e);
    return r->done[e->id];
}

/* ---- Definitions ---- */

/* A definition with the axes of `d`, room for `width`, and nothing else. */
static Definition *like(Arena *arena, const Definition *d, int width) {
    Definition *out = arena_copy(arena, d, sizeof *d);
    if (!out)
        return NULL;
    out->axes = ARENA_ARRAY(arena, Axis, (size_t)width);
    if (!out->axes)
        return NULL;
    memcpy(out->axes, d->axes, (size_t)d->axis_count * sizeof *d->axes);
    return out;
}

static bool start(Rewriter *r) {
    r->done = ARENA_ARRAY(r->arena, Expr *, (size_t)r->from->expr_count);
    return r->done != NULL;
}

/* Left side and value, from `from`. */
static Definition *finish(Rewriter *r) {
    const Definition *d = r->from;
    Definition *to = r->to;
    to->tensor = r->tensors ? r->tensors[d->tensor] : d->tensor;
    to->left = ARENA_ARRAY(r->arena, Index, (size_t)d->left_count);
    for (int i = 0; i < d->left_count; i++)
        if (!to->left || !rewrite_index(r, &d->left[i], &to->left[i]))
            return NULL;
    to->value = rewrite(r, d->value);
    return to->value && bind_share(r->arena, to) ? to : NULL;
}

static Affine *same_axes(Arena *arena, const Definition *d) {
    Affine *map = ARENA_ARRAY(arena, Affine, (size_t)d->axis_count);
    for (int a = 0; map && a < d->axis_count; a++)
        map[a] = axis_of(a);
    return map;
}

static Definition *rewrite_same(Arena *arena, const Definition *d, Rewriter *r, const char **why) {
    r->arena = arena;
    r->from = d;
    r->width = d->axis_count;
    r->to = like(arena, d, r->width);
    r->map = same_axes(arena, d);
    if (!r->to || !r->map || !start(r))
        return NULL;
    Definition *out = finish(r);
    if (!out && why)
        *why = r->why;
    return out;
}

Definition *rewrite_rename(Arena *arena, const Definition *d, const int *tensors) {
    return rewrite_same(arena, d, &(Rewriter){.tensors = tensors, .replaced = -1}, NULL);
}

Definition *rewrite_number(Arena *arena, const RewriteTensors *tensors, const Definition *d, int tensor, const Expr *number) {
    return rewrite_same(arena, d, &(Rewriter){.shapes = tensors, .replaced = tensor, .number = number}, NULL);
}

static Definition *rewrite_round_products(Arena *arena, const Definition *d) {
    return rewrite_same(arena, d, &(Rewriter){.rounds = true, .replaced = -1}, NULL);
}

Definition *rewrite_take_rounded(Arena *arena, const Definition *d, const int *twin) {
    return rewrite_same(arena, d, &(Rewriter){.twin = twin, .replaced = -1}, NULL);
}

bool kernel_round_products(Kernel *kernel) {
    for (int i = 0; i < kernel->definition_count; i++) {
        const Definition *d = rewrite_round_products(kernel->arena, &kernel->definitions[i]);
        if (!d)
            return false;
        kernel->definitions[i] = *d;
    }
    return true;
}

static bool read_narrower(Kernel *kernel, int tensor, DType type, bool rounded) {
    for (int i = 0; i < kernel->definition_count; i++) {
        Rewriter r = {.stored = tensor, .narrower = type, .rounded = rounded, .replaced = -1};
        const Definition *d = rewrite_same(kernel->arena, &kernel->definitions[i], &r, NULL);
        if (!d)
            return false;
        kernel->definitions[i] = *d;
    }
    return true;
}

bool kernel_store_narrower(Kernel *kernel, int tensor, DType type) {
    if (!read_narrower(kernel, tensor, type, false))
        return false;
    kernel->tensors[tensor].type = type;
    return true;
}

bool kernel_round_tensor(Kernel *kernel, int tensor) {
    return read_narrower(kernel, tensor, DT_BF16, true);
}

const Expr *expr_rounded_read(const Expr *e) {
    const Expr *half = e->op == EXPR_CAST && e->type == DT_F32 ? e->arg[0] : NULL;
    return half && half->op == EXPR_CAST && half->type == DT_BF16 && half->arg[0]->type == DT_F32 ? stored_read(half->arg[0])
                                                                                                  : NULL;
}

Definition *rewrite_permute(Arena *arena, const Definition *d, const int *order) {
    Rewriter r = {.arena = arena, .from = d, .to = like(arena, d, d->axis_count), .width = d->axis_count, .replaced = -1};
    Affine *map = ARENA_ARRAY(arena, Affine, (size_t)d->axis_count);
    if (!r.to || !map || !start(&r))
        return NULL;
    for (int a = 0; a < d->axis_count; a++) {
        r.to->axes[a] = d->axes[order[a]];
        map[order[a]] = axis_of(a);
    }
    r.map = map;
    return finish(&r);
}

Definition *rewrite_drop_units(Arena *arena, const Definition *d) {
    Rewriter r = {.arena = arena, .from = d, .to = like(arena, d, d->axis_count), .width = d->axis_count, .replaced = -1};
    Affine *map = ARENA_ARRAY(arena, Affine, (size_t)d->axis_count);
    int count = 0;
    if (!r.to || !map || !start(&r))
        return NULL;
    r.to->axis_count = r.to->parallel_count = 0;
    for (int a = 0; a < d->axis_count; a++) {
        if (a < d->parallel_count && d->axes[a].extent == 1)
            continue;
        r.to->axes[count] = d->axes[a];
        map[a] = axis_of(count++);
        r.to->parallel_count += a < d->parallel_count;
    }
    r.to->axis_count = count;
    r.map = map;
    return finish(&r);
}

/* A guarded index that moves by taps alone: its place is one, and was left out. */
static bool lacks_place(const Definition *d, const Index *index) {
    bool place = false, tap = false;
    for (int a = 0; index->affine && a < d->axis_count; a++)
        *(a < d->parallel_count ? &place : &tap) |= index->coef[a] != 0;
    return tap && !place;
}

static int most_lacking(const Definition *d) {
    int most = 0;
    for (int i = 0; i < d->expr_count; i++) {
        int count = 0;
        for (int k = 0; d->exprs[i]->guarded && k < d->exprs[i]->index_count; k++)
            count += lacks_place(d, &d->exprs[i]->index[k]);
        most = count > most ? count : most;
    }
    return most;
}

const Definition *rewrite_add_places(Arena *arena, const Definition *d) {
    int count = most_lacking(d), first = d->parallel_count;
    if (!count || d->axis_count + count > KERNEL_MAX_AXES)
        return d;
    Rewriter r = {.arena = arena, .from = d, .width = d->axis_count + count, .replaced = -1};
    Affine *map = ARENA_ARRAY(arena, Affine, (size_t)d->axis_count);
    r.to = like(arena, d, r.width);
    if (!r.to || !map || !start(&r))
        return NULL;
    Axis *axes = r.to->axes;
    memmove(&axes[first + count], &axes[first], (size_t)(d->axis_count - first) * sizeof *axes);
    for (int a = 0; a < d->axis_count; a++)
        map[a] = axis_of(a < first ? a : a + count);
    for (int i = 0; i < count; i++)
        axes[first + i] = (Axis){.name = "place", .extent = 1};
    r.to->axis_count += count;
    r.to->parallel_count += count;
    r.map = map;
    Definition *out = finish(&r);
    for (int i = 0; out && i < out->expr_count; i++)
        for (int k = 0, at = first; out->exprs[i]->guarded && k < out->exprs[i]->index_count; k++)
            if (lacks_place(out, &out->exprs[i]->index[k]))
                out->exprs[i]->index[k].coef[at++] = 1;
    return out;
}

/* Axis `axis` becomes inner * (axis) + (axis + 1). */
static Definition *split_axis(Arena *arena, const Definition *d, int axis, int64_t inner, const char **why) {
    if (d->axis_count == KERNEL_MAX_AXES) {
        *why = "more axes than a definition takes";
        return NULL;
    }
    Rewriter r = {.arena = arena, .from = d, .width = d->axis_count + 1, .replaced = -1};
    Affine *map = ARENA_ARRAY(arena, Affine, (size_t)d->axis_count);
    r.to = like(arena, d, r.width);
    if (!r.to || !map || !start(&r))
        return NULL;
    Axis *axes = r.to->axes;
    memmove(&axes[axis + 1], &axes[axis], (size_t)(d->axis_count - axis) * sizeof *axes);
    axes[axis].extent /= inner;
    axes[axis + 1].extent = inner;
    r.to->axis_count++;
    r.to->parallel_count += axis < d->parallel_count;
    for (int a = 0; a < d->axis_count; a++)
        map[a] = axis_of(a + (a > axis));
    map[axis].coef[axis] = inner;
    map[axis].coef[axis + 1] = 1;
    r.map = map;
    Definition *out = finish(&r);
    if (!out)
        *why = r.why;
    return out;
}

/* ---- Inlining ---- */

/* A producer as the dense tensor of its own parallel axes, in the order in which they lie in memory. */
typedef struct Natural {
    int rank;
    int64_t dims[KERNEL_MAX_AXES];
    int axis[KERNEL_MAX_AXES];
} Natural;

static bool natural_of(const Definition *p, Shape shape, Natural *out) {
    Affine left;
    if (!reshape_flatten(p, shape.dims, p->left, 0, p->left_count, &left) || left.offset)
        return false;
    int64_t stride = 1;
    int count = 0;
    for (int a = 0; a < p->parallel_count; a++)
        count += p->axes[a].extent != 1;
    out->rank = count;
    while (count > 0) {
        int found = -1;
        for (int a = 0; a < p->parallel_count; a++)
            if (left.coef[a] == stride && p->axes[a].extent != 1)
                found = a;
        if (found < 0)
            return false;
        out->axis[--count] = found;
        out->dims[count] = p->axes[found].extent;
        stride *= p->axes[found].extent;
    }
    int64_t elements = 1;
    for (int i = 0; i < shape.rank; i++)
        elements *= shape.dims[i];
    return stride == elements && elements > 0;
}

typedef struct Place {
    Affine *index; /* one a dim of the producer */
    Expr *value;
} Place;

struct Inliner {
    const RewriteTensors *tensors;
    const Definition *producer;
    Natural natural;
    int root;
    bool reduces;
    Place places[MAX_PLACES];
    int count;
};

static bool inlines(const Rewriter *r, const Expr *read) {
    return r->inliner && r->inliner->tensors->root(r->inliner->tensors->context, read->tensor) == r->inliner->root;
}

static Shape natural_shape(const Natural *n) {
    return (Shape){n->rank, n->dims};
}

static bool is_inside(const Definition *d, const Affine *f, int64_t dim) {
    int64_t least, most;
    return affine_range(d, f, &least, &most) && least >= 0 && most < dim;
}

/* Where dim k of the producer is read outside, the one read that it consists of must be outside too. */
static bool guard_goes_through(const Definition *p, const RewriteTensors *tensors, int axis, int64_t extent) {
    const Expr *x = p->value;
    Shape shape = tensors->shape(tensors->context, x->tensor);
    for (int i = 0; i < x->index_count; i++) {
        const Index *index = &x->index[i];
        bool plain = index->affine && index->coef[axis] == 1;
        for (int a = 0; plain && a < p->axis_count; a++)
            plain = a == axis || index->coef[a] == 0;
        if (plain && index->offset <= 0 && extent + index->offset >= shape.dims[i])
            return true;
    }
    return false;
}

static bool same_outside(const Expr *x, const Expr *y) {
    double a = x->arg[0] ? x->arg[0]->number : 0, b = y->arg[0] ? y->arg[0]->number : 0;
    return a == b && (!x->arg[0] || !y->arg[0] || x->arg[0]->integer == y->arg[0]->integer);
}

/* A read with `?` of something computed: only of something moved, whose own index leaves its tensor as well. */
static bool may_guard(Rewriter *r, const Expr *read, const Affine *index, const int *direct) {
    const Inliner *in = r->inliner;
    const Definition *p = in->producer;
    if (p->value->op != EXPR_READ || (p->value->guarded && !same_outside(p->value, read)))
        return false;
    for (int i = 0; i < p->value->index_count; i++)
        if (!p->value->index[i].affine)
            return false;
    for (int k = 0; k < in->natural.rank; k++)
        if (!is_inside(r->to, &index[k], in->natural.dims[k]) &&
            (direct[k] < 0 || !guard_goes_through(p, in->tensors, in->natural.axis[k], in->natural.dims[k])))
            return false;
    return true;
}

static Expr *produce(Rewriter *r, const Expr *read, const Affine *index, bool outside) {
    Inliner *in = r->inliner;
    const Definition *p = in->producer;
    Affine *map = ARENA_ARRAY(r->arena, Affine, (size_t)p->axis_count);
    Rewriter sub = {
        .arena = r->arena, .from = p, .to = r->to, .map = map, .width = r->width, .replaced = -1, .guard = outside ? read : NULL};
    if (!map || !start(&sub))
        return NULL;
    if (r->to->axis_count + p->axis_count - p->parallel_count > KERNEL_MAX_AXES)
        return fail(r, "more axes than a definition takes");
    for (int k = 0; k < in->natural.rank; k++) /* an axis of one element is 0 */
        map[in->natural.axis[k]] = index[k];
    for (int a = p->parallel_count; a < p->axis_count; a++) {
        map[a] = axis_of(r->to->axis_count);
        r->to->axes[r->to->axis_count++] = p->axes[a];
    }
    Expr *value = rewrite(&sub, p->value);
    return value ? value : fail(r, sub.why);
}

static bool same_place(const Place *place, const Affine *index, int rank) {
    return memcmp(place->index, index, (size_t)rank * sizeof *index) == 0;
}

static Expr *inline_read(Rewriter *r, const Expr *read, const Index *index) {
    Inliner *in = r->inliner;
    Affine at[KERNEL_MAX_AXES];
    int direct[KERNEL_MAX_AXES];
    Split split;
    const char *why;
    Shape shape = in->tensors->shape(in->tensors->context, read->tensor);
    if (!reshape_index(r->to, shape, index, natural_shape(&in->natural), at, direct, &split, &why))
        return fail(r, why);
    bool outside = false;
    for (int k = 0; k < in->natural.rank; k++)
        outside |= !is_inside(r->to, &at[k], in->natural.dims[k]);
    if (outside && !may_guard(r, read, at, direct))
        return fail(r, "a read with a value outside of what is computed");
    for (int i = 0; i < in->count; i++)
        if (!outside && same_place(&in->places[i], at, in->natural.rank))
            return in->places[i].value;
    if (in->reduces && (in->count || r->inside))
        return fail(r, "a reduction that is read at several places or below another one");
    if (in->count == MAX_PLACES)
        return fail(r, "a value that is read at many places");
    Expr *value = produce(r, read, at, outside);
    if (!outside) {
        in->places[in->count].index = arena_copy(r->arena, at, (size_t)in->natural.rank * sizeof *at);
        if (!in->places[in->count].index)
            return NULL;
        in->places[in->count++].value = value;
    }
    return value;
}

/* The reader with its axes split such that reads of the producer meet its axes. */
static Definition *split_to_meet(Arena *arena, const Definition *d, const Inliner *in, const char **why) {
    for (int i = 0; d && i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (e->op != EXPR_READ || in->tensors->root(in->tensors->context, e->tensor) != in->root)
            continue;
        Affine at[KERNEL_MAX_AXES];
        int direct[KERNEL_MAX_AXES];
        Split split;
        Shape shape = in->tensors->shape(in->tensors->context, e->tensor);
        if (reshape_index(d, shape, e->index, natural_shape(&in->natural), at, direct, &split, why))
            continue;
        if (split.axis < 0)
            return NULL;
        d = split_axis(arena, d, split.axis, split.inner, why);
        i = -1; /* from the start, in the new axes */
    }
    return (Definition *)d;
}

/* A `?` that can no longer matter goes. True: one did. */
static bool drop_guards(const RewriteTensors *tensors, Definition *d) {
    bool dropped = false;
    for (int i = 0; i < d->expr_count; i++) {
        Expr *e = d->exprs[i];
        if (e->op != EXPR_READ || !e->guarded)
            continue;
        Shape shape = tensors->shape(tensors->context, e->tensor);
        bool inside = true;
        for (int k = 0; inside && k < e->index_count; k++) {
            Affine f = {0};
            inside = e->index[k].affine;
            if (inside)
                f = reshape_affine(d, &e->index[k]);
            inside = inside && is_inside(d, &f, shape.dims[k]);
        }
        if (inside) {
            e->guarded = false;
            e->arg[0] = NULL;
            dropped = true;
        }
    }
    return dropped;
}

Definition *rewrite_inline(Arena *arena, const RewriteTensors *tensors, const Definition *reader, const Definition *producer,
                           const char **why) {
    Inliner *in = ARENA_NEW(arena, Inliner);
    *why = NULL;
    if (!in)
        return NULL;
    in->tensors = tensors;
    in->producer = producer;
    in->root = tensors->root(tensors->context, producer->tensor);
    in->reduces = producer->axis_count > producer->parallel_count;
    if (!natural_of(producer, tensors->shape(tensors->context, producer->tensor), &in->natural)) {
        *why = "a result that is written in parts";
        return NULL;
    }
    const Definition *d = split_to_meet(arena, reader, in, why);
    if (!d)
        return NULL;
    int more = d->axis_count + producer->axis_count - producer->parallel_count;
    int width = more > KERNEL_MAX_AXES ? KERNEL_MAX_AXES : more;
    Rewriter r = {.arena = arena, .from = d, .width = width, .inliner = in, .replaced = -1};
    r.to = like(arena, d, width);
    r.map = same_axes(arena, d);
    if (!r.to || !r.map || !start(&r))
        return NULL;
    Definition *out = finish(&r);
    *why = r.why;
    if (!out)
        return NULL;
    return !drop_guards(tensors, out) || bind_share(arena, out) ? out : NULL;
}

/* ---- Copying ---- */

static bool copy_indices(Arena *arena, const Definition *d, const Index *from, int count, Expr *const *copies, Index **out) {
    Index *to = *out = arena_copy(arena, from, (size_t)count * sizeof *from);
    for (int i = 0; to && i < count; i++) {
        if (from[i].affine)
            to[i] = (Index){.affine = true,
                            .offset = from[i].offset,
                            .coef = arena_copy(arena, from[i].coef, (size_t)d->axis_count * sizeof *from->coef)};
        else
            to[i].expr = copies[from[i].expr->id];
    }
    return to && !arena->failed;
}

/* Operands stand before their users, so the copies are there when they are asked for. */
static bool copy_exprs(Arena *arena, const Definition *d, Definition *to) {
    to->exprs = ARENA_ARRAY(arena, Expr *, (size_t)d->expr_count);
    for (int i = 0; to->exprs && i < d->expr_count; i++) {
        Expr *e = to->exprs[i] = arena_copy(arena, d->exprs[i], sizeof *e);
        if (!e)
            return false;
        for (int k = 0; k < 3; k++)
            e->arg[k] = e->arg[k] ? to->exprs[e->arg[k]->id] : NULL;
        if (e->axis_count)
            e->axes = arena_copy(arena, e->axes, (size_t)e->axis_count * sizeof *e->axes);
        if (e->index_count && !copy_indices(arena, d, e->index, e->index_count, to->exprs, &e->index))
            return false;
    }
    return !arena->failed;
}

static bool copy_definition(Arena *arena, const Definition *d, Definition *to) {
    *to = *d;
    to->axes = arena_copy(arena, d->axes, (size_t)d->axis_count * sizeof *d->axes);
    for (int a = 0; to->axes && a < d->axis_count; a++)
        to->axes[a].name = arena_string(arena, d->axes[a].name, strlen(d->axes[a].name));
    if (!to->axes || !copy_exprs(arena, d, to) || !copy_indices(arena, d, d->left, d->left_count, to->exprs, &to->left))
        return false;
    to->value = to->exprs[d->value->id];
    return true;
}

Kernel *kernel_copy(Arena *arena, const Kernel *kernel) {
    Kernel *out = arena_copy(arena, kernel, sizeof *kernel);
    if (!out)
        return NULL;
    out->arena = arena;
    out->text = arena_string(arena, kernel->text, strlen(kernel->text));
    out->tensors = arena_copy(arena, kernel->tensors, (size_t)kernel->tensor_count * sizeof *kernel->tensors);
    out->definitions = ARENA_ARRAY(arena, Definition, (size_t)kernel->definition_count);
    for (int t = 0; out->tensors && t < kernel->tensor_count; t++) {
        KernelTensor *tensor = &out->tensors[t];
        tensor->name = arena_string(arena, tensor->name, strlen(tensor->name));
        tensor->dims = arena_copy(arena, tensor->dims, (size_t)tensor->rank * sizeof *tensor->dims);
    }
    for (int i = 0; out->definitions && i < kernel->definition_count; i++)
        if (!copy_definition(arena, &kernel->definitions[i], &out->definitions[i]))
            return NULL;
    return arena->failed ? NULL : out;
}
