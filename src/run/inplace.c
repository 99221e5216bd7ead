/* Kernels that may write over what they read: elementwise, each element of the input used for the one at its own place.
 *
 * Code of maps computes the last vector of a row again, from its input, where a row is no whole number of vectors. So rows must
 * be whole vectors of the widest machine, and whatever else is read must be read in the order of the result. */
#include <string.h>

#include "run/planned.h"

enum { WIDEST_BYTES = 64 };

/* The index of the result, or one place for all (a broadcast). */
static bool in_order(const Definition *d, const Expr *read, bool whole) {
    int shift = d->left_count - read->index_count; /* dimensions that the read has not */
    if (read->guarded || shift < 0 || (whole && shift))
        return false;
    for (int i = 0; i < read->index_count; i++) {
        const Index *x = &read->index[i], *y = &d->left[i + shift];
        if (!x->affine)
            return false;
        bool same = index_equals(d, x, y);
        bool still = true;
        for (int a = 0; a < d->axis_count; a++)
            still = still && !x->coef[a];
        if (!same && (whole || !still))
            return false;
    }
    return true;
}

/* Dimension by dimension the result is one axis, all of it. */
static bool is_plain(const Definition *d, const KernelTensor *y) {
    for (int i = 0; i < d->left_count; i++) {
        if (!d->left[i].affine || d->left[i].offset)
            return false;
        int64_t extent = 1;
        for (int a = 0; a < d->axis_count; a++)
            if (d->left[i].coef[a]) {
                if (d->left[i].coef[a] != 1 || extent != 1)
                    return false;
                extent = d->axes[a].extent;
            }
        if (extent != y->dims[i])
            return false;
    }
    return true;
}

int planned_over(const Kernel *kernel, const char *template, const bool *dies) {
    const Definition *d = &kernel->definitions[0];
    if (!template || strcmp(template, "map") != 0 || kernel->definition_count != 1 || d->axis_count > d->parallel_count)
        return -1;
    const KernelTensor *y = &kernel->tensors[d->tensor];
    int found = -1, bits = dtype_bits(y->type);
    if (!y->rank || y->dims[y->rank - 1] * bits % (8 * WIDEST_BYTES) || !is_plain(d, y))
        return -1;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (e->op != EXPR_READ)
            continue;
        if (!in_order(d, e, false))
            return -1;
        const KernelTensor *x = &kernel->tensors[e->tensor];
        bool fits = dies[e->tensor] && dtype_bits(x->type) == bits && x->count == y->count && in_order(d, e, true);
        if (fits && found < 0)
            found = e->tensor;
    }
    for (int i = 0; found >= 0 && i < d->expr_count; i++) /* no other read of it at other places */
        if (d->exprs[i]->op == EXPR_READ && d->exprs[i]->tensor == found && !in_order(d, d->exprs[i], true))
            return -1;
    return found;
}
