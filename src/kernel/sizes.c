/* The sizes in a bound kernel: all numbers in it that may follow from the shapes of what comes in, in a fixed order. Kernels of
 * one structure differ in these alone, so a kernel for other shapes is a copy with other sizes. */
#include <math.h>
#include <string.h>

#include "kernel/bind.h"
#include "kernel/rewrite.h"

static void visit(KernelSizes *s, int64_t *size) {
    if (s->set && !s->at) {
        *size = 0;
    } else if (s->set) {
        *size = s->next < s->count ? s->at[s->next] : *size;
    } else if (arena_grow(s->arena, &s->at, &s->capacity, s->count + 1, sizeof *s->at)) {
        s->at[s->count++] = *size;
    }
    s->next++;
}

static void visit_index(KernelSizes *s, const Definition *d, Index *index) {
    if (!index->affine)
        return;
    visit(s, &index->offset);
    for (int a = 0; a < d->axis_count; a++)
        visit(s, &index->coef[a]);
}

/* Floats count where they are whole: an extent may stand among them, as the divisor of a mean. */
static void visit_number(KernelSizes *s, Expr *e) {
    const double whole = 9007199254740992.0; /* 2^53 */
    bool is_float = dtype_kind(e->type) == KIND_FLOAT;
    if (is_float && (!(fabs(e->number) <= whole) || floor(e->number) != e->number || (e->number == 0 && signbit(e->number))))
        return;
    int64_t was = is_float ? (int64_t)e->number : e->integer, now = was;
    visit(s, &now);
    if (now == was)
        return;
    e->number = (double)now;
    if (!is_float)
        e->integer = now;
}

static void visit_definition(KernelSizes *s, Definition *d) {
    for (int a = 0; a < d->axis_count; a++)
        visit(s, &d->axes[a].extent);
    for (int i = 0; i < d->left_count; i++)
        visit_index(s, d, &d->left[i]);
    for (int i = 0; i < d->expr_count; i++) {
        Expr *e = d->exprs[i];
        if (e->op == EXPR_NUMBER)
            visit_number(s, e);
        for (int k = 0; e->op == EXPR_READ && k < e->index_count; k++)
            visit_index(s, d, &e->index[k]);
    }
}

static void visit_all(Kernel *kernel, KernelSizes *s) {
    for (int t = 0; t < kernel->tensor_count; t++)
        for (int i = 0; i < kernel->tensors[t].rank; i++)
            visit(s, &kernel->tensors[t].dims[i]);
    for (int i = 0; i < kernel->definition_count; i++)
        visit_definition(s, &kernel->definitions[i]);
}

bool kernel_sizes(const Kernel *kernel, KernelSizes *sizes) {
    sizes->set = false;
    visit_all((Kernel *)kernel, sizes); /* only read */
    return !sizes->arena->failed;
}

void kernel_clear_sizes(Kernel *kernel) {
    visit_all(kernel, &(KernelSizes){.set = true});
}

static bool is_inside(const Definition *d, const Index *index, int64_t dim) {
    Affine f = {.offset = index->offset};
    int64_t least, most;
    memcpy(f.coef, index->coef, (size_t)d->axis_count * sizeof *f.coef);
    return affine_range(d, &f, &least, &most) && least >= 0 && most < dim;
}

static bool definition_is_inside(const Kernel *kernel, const Definition *d) {
    for (int a = 0; a < d->axis_count; a++)
        if (d->axes[a].extent < 1)
            return false;
    for (int i = 0; i < d->left_count; i++)
        if (!is_inside(d, &d->left[i], kernel->tensors[d->tensor].dims[i]))
            return false;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        for (int k = 0; e->op == EXPR_READ && !e->guarded && k < e->index_count; k++)
            if (e->index[k].affine && !is_inside(d, &e->index[k], kernel->tensors[e->tensor].dims[k]))
                return false;
    }
    return true;
}

bool kernel_set_sizes(Kernel *kernel, KernelSizes *sizes, whet_error *err) {
    sizes->set = true;
    visit_all(kernel, sizes);
    if (sizes->next > sizes->count)
        return false;
    for (int t = 0; t < kernel->tensor_count; t++) {
        KernelTensor *tensor = &kernel->tensors[t];
        if (!checked_count(tensor->dims, tensor->rank, &tensor->count) || tensor->count < 1)
            return false;
    }
    for (int i = 0; i < kernel->definition_count; i++)
        if (!definition_is_inside(kernel, &kernel->definitions[i]))
            return false;
    return kernel_seal(kernel, "setting sizes", err) == WHET_OK;
}
