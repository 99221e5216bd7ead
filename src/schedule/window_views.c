/* Definitions that only say a tensor's elements in another way, d[..] = s32(x[..]) - s32(zero[]): windows read the tensor itself
 * and compute what they need of it, place by place, so that nothing is stored in between. */
#include "schedule/window.h"

static bool is_view(const Kernel *kernel, const Definition *d, const Expr **main) {
    const KernelTensor *tensor = &kernel->tensors[d->tensor];
    *main = NULL;
    if (tensor->role != ROLE_TEMPORARY || d->parallel_count != d->axis_count || d->value->type != tensor->type)
        return false;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (e->op == EXPR_REDUCE)
            return false;
        if (e->op != EXPR_READ)
            continue;
        if (e->guarded || kernel->tensors[e->tensor].role != ROLE_INPUT || expr_gathers(e))
            return false;
        *main = !*main && nest_copies(kernel, d, e) ? e : *main;
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
static bool add_inner(Nest *nest, const Definition *view, const Expr *inner, const Expr *outer, const char **why) {
    int map[NEST_MAX_AXES];
    for (int a = 0; a < nest->axis_count; a++)
        map[a] = a;
    Index *index = nest_composed(nest->kernel, view, nest->definition, inner, outer);
    if (!index)
        *why = "out of memory";
    return index && nest_add_at(nest, nest->definition, map, inner, index, why);
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
        Index *index = nest_copied_index(nest->kernel, view->definition, view->main, outer);
        if (!index || !nest_read_instead(nest, i, view->main->tensor, index, why))
            return false;
        for (int k = 0; k < view->definition->expr_count; k++) {
            const Expr *inner = view->definition->exprs[k];
            if (inner->op == EXPR_READ && inner != view->main && !add_inner(nest, view->definition, inner, outer, why))
                return false;
        }
    }
    return true;
}
