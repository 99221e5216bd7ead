/* Parts of a concatenation that are one movement of data become one definition: those that read the same tensor, from one to the
 * next always the same step further, and lie as evenly in what they write. So the slices by which an image's pixels become
 * channels are one transpose:
 *
 *     y[i, j, c] = x[c, 2*i, 2*j]            y[i, j, c + 3] = x[c, 2*i + 1, 2*j]
 *     y[i, j, c + 6] = x[c, 2*i, 2*j + 1]    y[i, j, c + 9] = x[c, 2*i + 1, 2*j + 1]
 *
 *     y[i, j, 6*a + 3*b + c] = x[c, 2*i + b, 2*j + a]
 *
 * Parts side by side join first (b), and what came of them then (a).
 *
 * Requires: what only moves data is inlined where parts read it. Recreates: readers and writers. Breaks: nothing. */
#include <string.h>

#include "plan/plan.h"

enum { MOST_PARTS = 64 };

/* A part that joins others: it moves data from affine places that are all there. */
static bool is_move(const Group *g) {
    const Definition *d = g->definitions[0];
    if (g->gone || g->step >= 0 || !g->partial || g->count != 1 || d->value->op != EXPR_READ || d->value->guarded ||
        d->axis_count != d->parallel_count || d->axis_count == KERNEL_MAX_AXES)
        return false;
    return !expr_gathers(d->value);
}

static const Index *index_of(const Definition *d, int i) {
    return i < d->left_count ? &d->left[i] : &d->value->index[i - d->left_count];
}

/* The same movement, from elsewhere to elsewhere. */
static bool is_alike(const Definition *x, const Definition *y) {
    bool same = x->tensor == y->tensor && x->value->tensor == y->value->tensor && x->axis_count == y->axis_count;
    for (int a = 0; same && a < x->axis_count; a++)
        same = x->axes[a].extent == y->axes[a].extent;
    for (int i = 0; same && i < x->left_count + x->value->index_count; i++)
        same = memcmp(index_of(x, i)->coef, index_of(y, i)->coef, (size_t)x->axis_count * sizeof(int64_t)) == 0;
    return same;
}

/* From y to z it is as far as from x to y. */
static bool is_even(const Definition *x, const Definition *y, const Definition *z) {
    bool even = true;
    for (int i = 0; even && i < x->left_count + x->value->index_count; i++)
        even = index_of(y, i)->offset - index_of(x, i)->offset == index_of(z, i)->offset - index_of(y, i)->offset;
    return even;
}

/* How far apart in memory the two parts lie in what they write. */
static int64_t distance(const PlanTensor *t, const Definition *x, const Definition *y) {
    int64_t stride = 1, sum = 0;
    for (int i = t->rank - 1; i >= 0; i--) {
        sum += stride * (y->left[i].offset - x->left[i].offset);
        stride *= t->dims[i];
    }
    return sum < 0 ? -sum : sum;
}

/* Axes are in the order of their steps in memory: in front of which one does that from x to y belong? */
static int place_of(const Plan *plan, const Definition *x, const Definition *y) {
    int64_t far = distance(&plan->tensors[x->tensor], x, y);
    for (int a = 0; a < x->axis_count; a++)
        if (plan_stride(plan, x->tensor, x->left, a) < far)
            return a;
    return x->axis_count;
}

/* `count` indices with an axis more in front of axis `at` of `axes`, along which they move as far as to `next`. */
static Index *widened(Arena *arena, const Index *index, const Index *next, int count, int axes, int at) {
    Index *out = arena_copy(arena, index, (size_t)count * sizeof *index);
    for (int i = 0; out && i < count; i++) {
        if (!(out[i].coef = ARENA_ARRAY(arena, int64_t, (size_t)axes + 1)))
            return NULL;
        memcpy(out[i].coef, index[i].coef, (size_t)at * sizeof(int64_t));
        memcpy(out[i].coef + at + 1, index[i].coef + at, (size_t)(axes - at) * sizeof(int64_t));
        out[i].coef[at] = next[i].offset - index[i].offset;
    }
    return out;
}

/* x, y and so on, `count` of them, as one. NULL: out of memory. */
static Definition *joined(Plan *plan, const Definition *x, const Definition *y, int count) {
    Arena *arena = plan->arena;
    Definition *out = arena_copy(arena, x, sizeof *x);
    Expr *read = arena_copy(arena, x->value, sizeof *x->value);
    Expr **exprs = ARENA_ARRAY(arena, Expr *, 1);
    int n = x->axis_count, at = place_of(plan, x, y);
    Axis *axes = ARENA_ARRAY(arena, Axis, (size_t)n + 1);
    if (!out || !read || !exprs || !axes)
        return NULL;
    for (int a = 0; a < n; a++)
        axes[a + (a >= at)] = x->axes[a];
    axes[at] = (Axis){.name = "i", .extent = count};
    read->index = widened(arena, x->value->index, y->value->index, read->index_count, n, at);
    out->left = widened(arena, x->left, y->left, out->left_count, n, at);
    exprs[0] = read;
    out->axes = axes;
    out->axis_count = out->parallel_count = n + 1;
    out->value = read;
    out->exprs = exprs;
    out->expr_count = 1;
    return read->index && out->left ? out : NULL;
}

static bool fills(const PlanTensor *t, const Definition *d) {
    int64_t elements = 1;
    for (int a = 0; a < d->axis_count; a++)
        elements *= d->axes[a].extent; /* no more than the tensor has */
    return elements == t->count;
}

/* Groups part[0] to part[count - 1] as the first of them, if the template that takes parts takes that. 1: done, 0: not, -1:
 * error. */
static int join(Plan *plan, const int *part, int count) {
    Group *first = plan->groups[part[0]];
    const Definition *x = first->definitions[0], *y = plan->groups[part[1]]->definitions[0];
    PlanTensor *t = &plan->tensors[plan->tensors[x->tensor].root];
    Definition *whole = joined(plan, x, y, count);
    Definition **definitions = ARENA_ARRAY(plan->arena, Definition *, 1);
    if (!whole || !definitions)
        return error_memory(plan->err), -1;
    Group probe = {.definitions = &whole, .count = 1, .step = -1, .partial = true};
    const Verdict *now = group_verdict(plan, &probe), *was = group_verdict(plan, first);
    if (!now || !was)
        return -1;
    if (!now->template != !was->template)
        return 0;
    for (int i = 1; i < count; i++) {
        Group *g = plan->groups[part[i]];
        if (!group_take_nodes(plan, first, g))
            return error_memory(plan->err), -1;
        plan_drop_reader(plan, x->value->tensor, part[i]);
        g->gone = true;
    }
    definitions[0] = whole;
    group_change(first, definitions, 1);
    t->writer_count -= count - 1;
    if (t->writer_count == 1)
        t->writer = part[0];
    first->partial = !fills(t, whole);
    return 1;
}

/* Parts of the tensor that group `from` writes, of those that move data, in order. */
static int find_parts(const Plan *plan, int from, int *part) {
    int count = 0, tensor = plan->groups[from]->definitions[0]->tensor;
    for (int g = from; g < plan->group_count && count < MOST_PARTS; g++)
        if (plan->groups[g]->step < 0 && is_move(plan->groups[g]) && plan->groups[g]->definitions[0]->tensor == tensor)
            part[count++] = g;
    return count;
}

/* Joins runs of parts that lie evenly; how many there are then. -1: error. */
static int join_runs(Plan *plan, int *part, int count) {
    int left = 0;
    for (int i = 0, run; i < count; i += run) {
        const Definition *d[MOST_PARTS];
        run = 0;
        while (i + run < count) {
            d[run] = plan->groups[part[i + run]]->definitions[0];
            if (run && (!is_alike(d[0], d[run]) || (run > 1 && !is_even(d[run - 2], d[run - 1], d[run]))))
                break;
            run++;
        }
        int done = run > 1 ? join(plan, part + i, run) : 0;
        if (done < 0)
            return -1;
        for (int k = 0; k < (done ? 1 : run); k++)
            part[left++] = part[i + k];
    }
    return left;
}

bool plan_join_parts(Plan *plan) {
    for (int g = 0; g < plan->group_count; g++) {
        int part[MOST_PARTS], count = 0, left;
        if (plan->groups[g]->step >= 0 || !is_move(plan->groups[g]))
            continue;
        for (left = find_parts(plan, g, part); left > 1 && left != count;) {
            count = left;
            if ((left = join_runs(plan, part, count)) < 0)
                return false;
        }
    }
    return true;
}
