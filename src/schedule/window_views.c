/* Definitions that only say a tensor's elements in another way, d[..] = s32(x[..]) - s32(zero[]): windows read the tensor itself
 * and compute what they need of it, place by place, so that nothing is stored in between. */
#include "schedule/window.h"

static bool is_axis(const Index *index, int axis, int axis_count) {
    if (!index->affine || index->offset)
        return false;
    for (int a = 0; a < axis_count; a++)
        if (index->coef[a] != (a == axis))
            return false;
    return true;
}

/* The read of a tensor of the same shape, at the same place. */
static bool is_main(const Kernel *kernel, const Definition *d, const Expr *read) {
    const KernelTensor *from = &kernel->tensors[read->tensor], *to = &kernel->tensors[d->tensor];
    if (from->rank != to->rank || to->rank == 0)
        return false;
    for (int i = 0; i < from->rank; i++)
        if (from->dims[i] != to->dims[i] || !is_axis(&read->index[i], i, d->axis_count))
            return false;
    return true;
}

static bool is_view(const Kernel *kernel, const Definition *d, const Expr **main) {
    const KernelTensor *tensor = &kernel->tensors[d->tensor];
    *main = NULL;
    if (tensor->role != ROLE_TEMPORARY || d->left_count != d->axis_count || d->parallel_count != d->axis_count ||
        d->value->type != tensor->type)
        return false;
    for (int i = 0; i < d->left_count; i++)
        if (!is_axis(&d->left[i], i, d->axis_count) || d->axes[i].extent != tensor->dims[i])
            return false;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (e->op == EXPR_REDUCE)
            return false;
        if (e->op != EXPR_READ)
            continue;
        if (e->guarded || kernel->tensors[e->tensor].role != ROLE_INPUT)
            return false;
        for (int k = 0; k < e->index_count; k++)
            if (!e->index[k].affine)
                return false;
        *main = !*main && is_main(kernel, d, e) ? e : *main;
    }
    return *main != NULL;
}

void window_find_views(Window *w, const Kernel *kernel) {
    for (int i = 0; i + 1 < kernel->definition_count; i++) {
        const Definition *d = &kernel->definitions[i];
        const Expr *main;
        bool again = w->view[d->tensor].definition != NULL; /* several definitions of one tensor */
        if (is_view(kernel, d, &main) && !again)
            w->view[d->tensor] = (WindowView){d, main};
        else if (again)
            w->view[d->tensor] = (WindowView){NULL, NULL};
    }
}

/* The read `inner` of a view that is read at `outer`: indices put into indices. */
static bool add_inner(Nest *nest, const Expr *inner, const Expr *outer, const char **why) {
    const KernelTensor *tensor = &nest->kernel->tensors[inner->tensor];
    if (nest->access_count == NEST_MAX_ACCESSES) {
        *why = "more reads than a template takes";
        return false;
    }
    Access *access = &nest->access[nest->access_count++];
    *access = (Access){.read = inner, .tensor = inner->tensor, .type = tensor->type};
    int64_t stride = 1;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        access->offset += stride * inner->index[d].offset;
        for (int i = 0; i < outer->index_count; i++) {
            int64_t step = stride * inner->index[d].coef[i];
            access->offset += step * outer->index[i].offset;
            for (int a = 0; a < nest->axis_count; a++)
                if (nest->axis[a].extent > 1)
                    access->stride[a] += step * outer->index[i].coef[a];
        }
        stride *= tensor->dims[d];
    }
    return true;
}

bool window_add_views(Window *w, const char **why) {
    Nest *nest = &w->nest;
    int count = nest->access_count;
    for (int i = 1; i < count; i++) {
        const WindowView *view = &w->view[nest->access[i].tensor];
        if (!view->definition)
            continue;
        for (int k = 1; k < i; k++)
            if (nest->access[k].read->tensor == nest->access[i].read->tensor) {
                *why = "several reads of a definition with inputs";
                return false;
            }
        const Expr *outer = nest->access[i].read;
        nest->access[i].tensor = view->main->tensor;
        nest->access[i].type = nest->kernel->tensors[view->main->tensor].type;
        for (int k = 0; k < view->definition->expr_count; k++) {
            const Expr *inner = view->definition->exprs[k];
            if (inner->op == EXPR_READ && inner != view->main && !add_inner(nest, inner, outer, why))
                return false;
        }
    }
    return true;
}
