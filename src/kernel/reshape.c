/* Indices through a reshape, by matching extents from the innermost outwards (mixed radix): dims of one shape that together have
 * as many elements as dims of the other are flattened to one number, which is cut into digits of the other's. */
#include "kernel/reshape.h"

#include <string.h>

Affine reshape_affine(const Definition *d, const Index *index) {
    Affine out = {.offset = index->offset};
    memcpy(out.coef, index->coef, (size_t)d->axis_count * sizeof *index->coef);
    return out;
}

bool reshape_flatten(const Definition *d, const int64_t *dims, const Index *index, int from, int to, Affine *out) {
    int64_t stride = 1;
    *out = (Affine){0};
    for (int i = to - 1; i >= from; i--) {
        int64_t least, most;
        if (!index[i].affine)
            return false;
        Affine f = {.offset = index[i].offset};
        memcpy(f.coef, index[i].coef, (size_t)d->axis_count * sizeof *f.coef);
        if (!affine_range(d, &f, &least, &most) || least < 0 || most >= dims[i])
            return false;
        out->offset += stride * f.offset;
        for (int a = 0; a < d->axis_count; a++)
            out->coef[a] += d->axes[a].extent == 1 ? 0 : stride * f.coef[a];
        stride *= dims[i];
    }
    return true;
}

/* The dim that a step of `coef` moves along; -1: none does so evenly. */
static int dim_of_step(const int64_t *dims, int from, int to, int64_t coef, int64_t *stride) {
    *stride = 1;
    for (int i = to - 1; i >= from; i--) {
        if (coef < *stride * dims[i])
            return coef % *stride == 0 ? i : -1;
        *stride *= dims[i];
    }
    return -1;
}

/* The number `flat` as digits of dims[from..to): an affine function each. False: not without a split (then *split), or not. */
static bool unflatten(const Definition *d, const Affine *flat, const int64_t *dims, int from, int to, Affine *out, Split *split) {
    int64_t most[KERNEL_MAX_AXES] = {0}, rest = flat->offset, stride;
    for (int i = from; i < to; i++)
        out[i] = (Affine){0};
    for (int i = to - 1; i >= from; i--) {
        out[i].offset = most[i] = rest % dims[i];
        rest /= dims[i];
    }
    for (int a = 0; a < d->axis_count; a++) {
        int64_t coef = flat->coef[a], extent = d->axes[a].extent;
        if (!coef)
            continue;
        int i = coef < 0 ? -1 : dim_of_step(dims, from, to, coef, &stride);
        if (i < 0)
            return false;
        int64_t step = coef / stride, over = stride * dims[i];
        if (step * (extent - 1) >= dims[i]) {
            if (over % coef == 0 && extent % (over / coef) == 0 && over / coef > 1)
                *split = (Split){a, over / coef};
            return false;
        }
        out[i].coef[a] = step;
        most[i] += step * (extent - 1);
    }
    for (int i = from; i < to; i++)
        if (most[i] >= dims[i])
            return false;
    return true;
}

bool reshape_index(const Definition *d, Shape from, const Index *index, Shape to, Affine *out, int *direct, Split *split,
                   const char **why) {
    int f = from.rank, t = to.rank;
    split->axis = -1;
    *why = NULL;
    while (f > 0 || t > 0) {
        if (f > 0 && from.dims[f - 1] == 1) {
            f--;
            Affine none;
            if (!reshape_flatten(d, from.dims, index, f, f + 1, &none))
                *why = "a guarded read of a dimension that a reshape drops";
            if (*why)
                return false;
            continue;
        }
        if (t > 0 && to.dims[t - 1] == 1) {
            out[--t] = (Affine){0};
            direct[t] = -1;
            continue;
        }
        if (f == 0 || t == 0)
            return *why = "shapes that do not match", false;
        int f_end = f--, t_end = t--;
        int64_t x = from.dims[f], y = to.dims[t];
        while (x != y && (x < y ? f : t) > 0)
            *(x < y ? &x : &y) *= x < y ? from.dims[--f] : to.dims[--t];
        if (x != y)
            return *why = "shapes that do not match", false;
        if (f_end - f == 1 && t_end - t == 1) {
            if (!index[f].affine)
                return *why = "a gather of what is computed", false;
            out[t] = reshape_affine(d, &index[f]);
            direct[t] = f;
            continue;
        }
        Affine flat;
        for (int i = t; i < t_end; i++)
            direct[i] = -1;
        if (!reshape_flatten(d, from.dims, index, f, f_end, &flat))
            return *why = "a guarded read or a gather through a reshape", false;
        if (!unflatten(d, &flat, to.dims, t, t_end, out, split))
            return *why = "a reshape that cuts through its axes", false;
    }
    return true;
}
