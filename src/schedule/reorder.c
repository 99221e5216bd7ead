/* Results that lie in another order than they are computed in. Sums and windows are fast along the axis that is contiguous in
 * what they read, or along all outputs of a product at once; where the result has other neighbours (channels on the other side
 * of pixels, or the outputs of a transposed convolution between its pixels), they write an order of their own, and a map places
 * it:
 *
 *     y[2*q + r, 2*p + s] = sum(c) x[q, p, c] * w[c, r, s]       of 2 columns each: s
 *
 *     u[q, p, r, s] = sum(c) x[q, p, c] * w[c, r, s]             of 4
 *     y[2*q + r, 2*p + s] = u[q, p, r, s]
 *
 * Results whose pixels lie side by side are left to relayout.c. */
#include "kernel/rewrite.h"
#include "schedule/cost.h"
#include "schedule/schedule.h"

static const double WORTH_MOVING = .8;  /* of the cost without it */
static const double STAGE_SLOTS = 8000; /* that it saves at the least: plans of all small sizes are alike (run/form.c) */

typedef struct Reorder {
    const Definition *d;
    const Expr *image;
    bool window; /* it slides along a dimension and is summed over there */
    int order[KERNEL_MAX_AXES];
} Reorder;

static bool is_parallel(const Reorder *r, int axis) {
    return axis < r->d->parallel_count && r->d->axes[axis].extent > 1;
}

static int64_t image_stride(const Kernel *kernel, const Reorder *r, int axis) {
    const KernelTensor *t = &kernel->tensors[r->image->tensor];
    return index_stride(t->dims, t->rank, r->image->index, axis);
}

static bool is_window(const Definition *d, const Expr *read) {
    for (int i = 0; i < read->index_count; i++) {
        bool slides = false, sums = false;
        for (int a = 0; a < d->axis_count; a++)
            *(a < d->parallel_count ? &slides : &sums) |= d->axes[a].extent > 1 && read->index[i].coef[a];
        if (slides && sums)
            return true;
    }
    return false;
}

/* The largest that is read and no constant, a window before others. False: there is none, or a gather. */
static bool find_image(const Kernel *kernel, const ScheduleOptions *options, Reorder *r) {
    for (int i = 0; i < r->d->expr_count; i++) {
        const Expr *e = r->d->exprs[i];
        if (e->op != EXPR_READ)
            continue;
        if (expr_gathers(e))
            return false;
        bool window = is_window(r->d, e);
        if (options->constant && options->constant[e->tensor])
            continue;
        if (!r->image || window > r->window ||
            (window == r->window && kernel->tensors[e->tensor].count > kernel->tensors[r->image->tensor].count)) {
            r->image = e;
            r->window = window;
        }
    }
    return r->image != NULL;
}

/* An axis of the result along which the image's elements lie side by side; -1: none. */
static int along_image(const Kernel *kernel, const Reorder *r) {
    for (int a = 0; a < r->d->parallel_count; a++)
        if (is_parallel(r, a) && image_stride(kernel, r, a) == 1)
            return a;
    return -1;
}

/* As the image lies; outputs, which it knows nothing of, around pixels that lie side by side, within them otherwise. */
static void find_order(Reorder *r, const Kernel *kernel, int along) {
    int64_t stride[KERNEL_MAX_AXES];
    for (int a = 0; a < r->d->axis_count; a++) {
        r->order[a] = a;
        stride[a] = image_stride(kernel, r, a);
        stride[a] = stride[a] || along < 0 ? stride[a] : INT64_MAX;
    }
    for (int a = 1; a < r->d->parallel_count; a++) /* insertion: stable */
        for (int b = a; b > 0 && stride[r->order[b - 1]] < stride[r->order[b]]; b--) {
            int swap = r->order[b];
            r->order[b] = r->order[b - 1];
            r->order[b - 1] = swap;
        }
}

static bool has_outputs(const Kernel *kernel, const Reorder *r) {
    for (int a = 0; a < r->d->parallel_count; a++)
        if (is_parallel(r, a) && !image_stride(kernel, r, a))
            return true;
    return false;
}

/* It sums over a dimension of the image in which no pixels are: a contraction. */
static bool has_channels(const Reorder *r) {
    for (int i = 0; i < r->image->index_count; i++) {
        bool pixels = false, sums = false;
        for (int a = 0; a < r->d->axis_count; a++) {
            bool moves = r->d->axes[a].extent > 1 && r->image->index[i].coef[a];
            *(a < r->d->parallel_count ? &pixels : &sums) |= moves;
        }
        if (sums && !pixels)
            return true;
    }
    return false;
}

/* Outputs of a product, which the image has no part in, are more columns where they lie side by side. */
static bool pays(const Kernel *kernel, const Reorder *r, const Target *target, const char **why) {
    const KernelTensor *y = &kernel->tensors[r->d->tensor];
    int64_t rows = 1, depth = 1, outputs = 1, columns = 1;
    for (int a = 0; a < r->d->axis_count; a++) {
        int64_t *to = a >= r->d->parallel_count ? &depth : image_stride(kernel, r, a) ? &rows : &outputs;
        *to *= r->d->axes[a].extent;
        if (to == &rows && is_parallel(r, a) && index_stride(y->dims, y->rank, r->d->left, a) == 1)
            return refuse(why, "pixels side by side");
    }
    for (int a = 0; a < r->d->parallel_count; a++)
        if (is_parallel(r, a) && !image_stride(kernel, r, a) && index_stride(y->dims, y->rank, r->d->left, a) == columns) {
            columns *= r->d->axes[a].extent;
            a = -1; /* from the start: those that lie on top of it */
        }
    ContractKnobs knobs = {0}, other = {0};
    ContractShape now = {.rows = rows, .columns = columns, .depth = depth}, then = now;
    then.columns = outputs;
    const int64_t times = outputs / columns;
    double before = (double)times * cost_contract(target, now, 4, 0, 0, &knobs);
    double after = cost_contract(target, then, 4, 0, 0, &other) + cost_copy(target, y->count, true);
    return (after < WORTH_MOVING * before && after + STAGE_SLOTS < before) ||
           refuse(why, "outputs that fill as many columns as they could");
}

static bool find(const Kernel *kernel, const Target *target, const ScheduleOptions *options, Reorder *r, const char **why) {
    const KernelTensor *y = &kernel->tensors[r->d->tensor];
    int64_t writes = 1;
    for (int a = 0; a < r->d->parallel_count; a++)
        writes *= r->d->axes[a].extent; /* no more than the tensor has */
    if (r->d->axis_count == r->d->parallel_count || writes != y->count || r->d->parallel_count > WHET_MAX_RANK)
        return refuse(why, "no sums, or not of all elements");
    if (!find_image(kernel, options, r))
        return refuse(why, "a gather");
    int along = along_image(kernel, r);
    find_order(r, kernel, along);
    if (has_outputs(kernel, r))
        return has_channels(r) ? pays(kernel, r, target, why) : refuse(why, "no sum over channels");
    if (along < 0 || index_stride(y->dims, y->rank, r->d->left, along) == 1 || !r->window)
        return refuse(why, "neighbours that stay");
    return true;
}

/* y[2*i0 + i2, 2*i1 + i3] = u[i0, i1, i2, i3], in axes of the ordered definition. */
static bool add_map(Kernel *kernel, const Definition *d, int tensor, int own, whet_error *err) {
    const KernelTensor *y = &kernel->tensors[tensor], *u = &kernel->tensors[own];
    KernelArg args[] = {{"y", y->type, y->rank, y->dims}, {"u", u->type, u->rank, u->dims}};
    const int numbers[2] = {own, tensor};
    Text text;
    text_init(&text);
    text_put(&text, "y[");
    for (int k = 0; k < d->left_count; k++) {
        text_printf(&text, "%s%lld", k ? ", " : "", (long long)d->left[k].offset);
        for (int a = 0; a < d->parallel_count; a++)
            if (d->left[k].coef[a])
                text_printf(&text, " + %lld*i%d", (long long)d->left[k].coef[a], a);
    }
    text_put(&text, "] = u[");
    for (int a = 0; a < d->parallel_count; a++)
        text_printf(&text, "%si%d", a ? ", " : "", a);
    text_put(&text, "]");
    bool fine = schedule_add_stage(kernel, &text, args, numbers, err);
    text_free(&text);
    return fine;
}

static bool add_own(Kernel *to, const Definition *d, int own) {
    KernelTensor *u = &to->tensors[own];
    const KernelTensor *y = &to->tensors[d->tensor];
    *u = *y;
    u->name = arena_printf(to->arena, "%s_own", y->name);
    u->role = ROLE_TEMPORARY;
    u->rank = d->parallel_count;
    u->dims = ARENA_ARRAY(to->arena, int64_t, (size_t)u->rank);
    for (int a = 0; u->dims && a < u->rank; a++)
        u->dims[a] = d->axes[a].extent;
    return u->name && u->dims;
}

static bool write_own(Arena *arena, Definition *d, int own) {
    d->tensor = own;
    d->left_count = d->parallel_count;
    d->left = ARENA_ARRAY(arena, Index, (size_t)d->left_count);
    for (int a = 0; d->left && a < d->left_count; a++) {
        d->left[a] = (Index){.affine = true, .coef = ARENA_ARRAY(arena, int64_t, (size_t)d->axis_count)};
        if (!d->left[a].coef)
            return false;
        d->left[a].coef[a] = 1;
    }
    return d->left != NULL;
}

static Kernel *build(const Kernel *from, const Reorder *r, Arena *arena, whet_error *err) {
    enum { SUM_AND_MAP = 2 };
    Kernel *to = schedule_begin_stages(from, SUM_AND_MAP, arena);
    Definition *d = to ? rewrite_permute(arena, r->d, r->order) : NULL;
    d = d ? rewrite_drop_units(arena, d) : NULL;
    if (!d)
        return NULL;
    const int tensor = d->tensor, own = to->tensor_count++;
    const Definition placed = *d;
    if (!add_own(to, d, own) || !write_own(arena, d, own))
        return NULL;
    to->definitions[to->definition_count++] = *d;
    return add_map(to, &placed, tensor, own, err) ? to : NULL;
}

bool schedule_reorder(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    const Kernel *whole = c->kernel;
    if (options->whole)
        return refuse(why, "no stages are wanted");
    if (whole->definition_count != 1 || whole->tensor_count >= KERNEL_MAX_TENSORS)
        return refuse(why, "several definitions");
    Reorder r = {.d = &whole->definitions[0]};
    if (!find(whole, &c->target, options, &r, why))
        return false;
    return schedule_stages(c, build(whole, &r, &c->arena, err), options, why, err);
}
