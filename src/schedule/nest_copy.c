/* Definitions that say a tensor another way, d[n, h, w, c] = s32(x[n, c, h, w]) - s32(zero[]): templates read the tensor itself
 * and compute what they need of it, place by place, so that nothing is stored in between. */
#include "schedule/schedule.h"

/* Every axis is one index; dimensions of one element may have none. */
static bool is_one_by_one(const Definition *d, const Index *index, int count, const int64_t *dims) {
    bool seen[KERNEL_MAX_AXES] = {false};
    int axes = 0;
    for (int i = 0; i < count; i++) {
        int axis = index_plain_axis(d, &index[i]);
        if (axis == -2 || (axis < 0 ? dims[i] != 1 : seen[axis]))
            return false;
        axes += axis >= 0;
        if (axis >= 0)
            seen[axis] = true;
    }
    return axes == d->axis_count && d->parallel_count == d->axis_count;
}

/* The index of the left side that is axis `axis`. */
static int dim_of_axis(const Definition *d, int axis) {
    int dim = 0;
    while (dim < d->left_count - 1 && !d->left[dim].coef[axis])
        dim++;
    return dim;
}

bool nest_copies(const Kernel *kernel, const Definition *d, const Expr *read) {
    const KernelTensor *to = &kernel->tensors[d->tensor], *from = &kernel->tensors[read->tensor];
    int64_t elements = 1;
    if (read->guarded || to->rank != from->rank || !is_one_by_one(d, d->left, d->left_count, to->dims) ||
        !is_one_by_one(d, read->index, read->index_count, from->dims))
        return false;
    for (int i = 0; i < to->rank; i++) {
        int axis = index_plain_axis(d, &read->index[i]);
        if (axis >= 0 && from->dims[i] != to->dims[dim_of_axis(d, axis)])
            return false;
    }
    for (int a = 0; a < d->axis_count; a++)
        elements *= d->axes[a].extent;
    return elements == to->count;
}

Index *nest_copied_index(const Kernel *kernel, const Definition *d, const Expr *read, const Expr *outer) {
    Index *out = ARENA_ARRAY(kernel->arena, Index, (size_t)read->index_count + 1);
    int next = 0;
    for (int i = 0; out && i < read->index_count; i++) {
        int axis = index_plain_axis(d, &read->index[i]);
        while (axis < 0 && index_plain_axis(d, &d->left[next]) >= 0)
            next++;
        out[i] = outer->index[axis < 0 ? next++ : dim_of_axis(d, axis)];
    }
    return out;
}

Index *nest_composed(const Kernel *kernel, const Definition *of, const Definition *in, const Expr *inner, const Expr *outer) {
    Index *out = ARENA_ARRAY(kernel->arena, Index, (size_t)inner->index_count + 1);
    for (int i = 0; out && i < inner->index_count; i++) {
        const Index *from = &inner->index[i];
        out[i].coef = ARENA_ARRAY(kernel->arena, int64_t, (size_t)in->axis_count + 1);
        if (!out[i].coef)
            return NULL;
        out[i].affine = from->affine;
        out[i].offset = from->offset;
        for (int t = 0; from->affine && t < of->axis_count; t++) {
            if (!from->coef[t])
                continue;
            const Index *at = &outer->index[dim_of_axis(of, t)];
            out[i].affine = out[i].affine && at->affine && !outer->guarded;
            out[i].offset += from->coef[t] * at->offset;
            for (int a = 0; at->affine && a < in->axis_count; a++)
                out[i].coef[a] += from->coef[t] * at->coef[a];
        }
    }
    return out;
}
