/* From a definition to offsets and strides; axes that are contiguous in everything become one, so that strips are long. */
#include <string.h>

#include "kernel/eval.h"

static AxisSet bit(int axis) {
    return (AxisSet)1 << axis;
}

/* ---- Accesses ---- */

static bool can_leave(const Definition *d, const Index *index, int64_t extent) {
    int64_t least = index->offset, most = index->offset;
    for (int a = 0; a < d->axis_count; a++) { /* kernel_bind has seen that this does not overflow */
        int64_t reach = d->axes[a].extent > 0 ? index->coef[a] * (d->axes[a].extent - 1) : 0;
        if (reach < 0)
            least += reach;
        else
            most += reach;
    }
    return least < 0 || most >= extent;
}

static void add_affine(const Definition *d, Access *access, const Index *index, uint64_t stride) {
    access->offset += (uint64_t)index->offset * stride;
    for (int a = 0; a < d->axis_count; a++)
        access->stride[a] += (uint64_t)index->coef[a] * stride;
}

static bool access_init(Work *work, Access *access, int tensor, const Index *index, int count, bool guarded) {
    const Definition *d = work->definition;
    const KernelTensor *t = &work->kernel->tensors[tensor];
    *access = (Access){.tensor = tensor, .type = t->type, .guarded = guarded};
    access->size = strip_size(t->type);
    access->stored = (size_t)dtype_bits(t->type) / 8;
    access->native = strip_type(t->type) == t->type;
    access->stride = ARENA_ARRAY(work->arena, uint64_t, (size_t)d->axis_count);
    access->checks = ARENA_ARRAY(work->arena, Check, (size_t)count);
    access->gathers = ARENA_ARRAY(work->arena, Gather, (size_t)count);
    if (work->arena->failed)
        return false;
    uint64_t stride = 1;
    for (int k = count - 1; k >= 0; k--) {
        if (!index[k].affine) {
            access->gathers[access->gather_count++] = (Gather){index[k].expr, k, t->dims[k], stride, -1};
        } else {
            add_affine(d, access, &index[k], stride);
            if (guarded && can_leave(d, &index[k], t->dims[k])) {
                access->checks[access->check_count++] = (Check){t->dims[k], index[k].offset, index[k].coef};
                for (int a = 0; a < d->axis_count; a++)
                    work->pinned |= index[k].coef[a] ? bit(a) : 0;
            }
        }
        stride *= (uint64_t)t->dims[k];
    }
    return true;
}

uint64_t eval_number_bits(const Expr *number, DType type) {
    uint64_t bits = 0;
    if (strip_type(type) == DT_F32) {
        float value = number ? (float)number->number : 0;
        memcpy(&bits, &value, sizeof value);
    } else if (type == DT_F64) {
        double value = number ? number->number : 0;
        memcpy(&bits, &value, sizeof value);
    } else if (number) { /* the low bytes, wherever this machine keeps them */
        int64_t s64 = number->integer;
        strip_cast(DT_S64, type)(&bits, &s64, 1);
    }
    return bits;
}

static bool add_accesses(Work *work) {
    const Definition *d = work->definition;
    if (!access_init(work, &work->output, d->tensor, d->left, d->left_count, false))
        return false;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        if (e->op != EXPR_READ)
            continue;
        Access *access = work->access[i] = ARENA_NEW(work->arena, Access);
        if (!access || !access_init(work, access, e->tensor, e->index, e->index_count, e->guarded))
            return false;
        access->outside = eval_number_bits(e->arg[0], e->type);
    }
    return true;
}

/* ---- Merging ---- */

static bool adjoin(const Work *work, const Access *access, int outer, int inner) {
    return access->stride[outer] == access->stride[inner] * (uint64_t)work->extent[inner];
}

/* Are both axes reduced together, wherever one is? */
static bool same_reductions(const Definition *d, int a, int b) {
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        int found = 0;
        for (int k = 0; e->op == EXPR_REDUCE && k < e->axis_count; k++)
            found += (e->axes[k] == a) + (e->axes[k] == b);
        if (found == 1)
            return false;
    }
    return true;
}

static bool can_merge(const Work *work, int outer, int inner) {
    const Definition *d = work->definition;
    int64_t product;
    if (outer == inner || work->extent[outer] <= 1 || work->extent[inner] <= 1 ||
        d->axes[outer].reduced != d->axes[inner].reduced)
        return false;
    if ((work->pinned & (bit(outer) | bit(inner))) || !checked_mul(work->extent[outer], work->extent[inner], &product))
        return false;
    if (!adjoin(work, &work->output, outer, inner))
        return false;
    for (int i = 0; i < d->expr_count; i++)
        if (work->access[i] && !adjoin(work, work->access[i], outer, inner))
            return false;
    return !d->axes[outer].reduced || same_reductions(d, outer, inner);
}

static void merge_axes(Work *work) {
    int count = work->definition->axis_count;
    for (int inner = count - 1; inner >= 0; inner--)
        for (int outer = count - 1; outer >= 0; outer--)
            if (can_merge(work, outer, inner)) {
                work->extent[inner] *= work->extent[outer];
                work->extent[outer] = 1;
                outer = count; /* look at all again: the inner one has grown */
            }
}

/* ---- What depends on what ---- */

static void pin_axes(Work *work) {
    const Definition *d = work->definition;
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_AXIS)
            work->pinned |= bit(d->exprs[i]->axis);
}

static AxisSet access_axes(const Work *work, const Access *access) {
    AxisSet axes = 0;
    for (int a = 0; a < work->definition->axis_count; a++) {
        bool counts = access->stride[a] != 0;
        for (int k = 0; k < access->check_count; k++)
            counts |= access->checks[k].coef[a] != 0;
        if (counts && work->extent[a] != 1)
            axes |= bit(a);
    }
    for (int k = 0; k < access->gather_count; k++)
        axes |= work->axes[access->gathers[k].index->id];
    return axes;
}

static void find_axes(Work *work) {
    const Definition *d = work->definition;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *e = d->exprs[i];
        AxisSet axes = e->op == EXPR_AXIS && work->extent[e->axis] != 1 ? bit(e->axis) : 0;
        for (int k = 0; k < 3; k++)
            axes |= e->arg[k] ? work->axes[e->arg[k]->id] : 0;
        if (work->access[i])
            axes |= access_axes(work, work->access[i]);
        for (int k = 0; e->op == EXPR_REDUCE && k < e->axis_count; k++)
            axes &= ~bit(e->axes[k]);
        work->axes[i] = axes;
    }
}

static bool add_terms(Work *work, Access *access) {
    int count = work->definition->axis_count;
    access->terms = ARENA_ARRAY(work->arena, Term, (size_t)count);
    for (int a = 0; access->terms && a < count; a++)
        if (access->stride[a] != 0 && work->extent[a] != 1)
            access->terms[access->term_count++] = (Term){a, access->stride[a]};
    return access->terms != NULL;
}

bool eval_work_init(Work *work, const Kernel *kernel, const Definition *definition, Arena *arena) {
    *work = (Work){.kernel = kernel, .definition = definition, .arena = arena};
    work->axes = ARENA_ARRAY(arena, AxisSet, (size_t)definition->expr_count);
    work->access = ARENA_ARRAY(arena, Access *, (size_t)definition->expr_count);
    if (arena->failed)
        return false;
    for (int a = 0; a < definition->axis_count; a++)
        work->extent[a] = definition->axes[a].extent;
    if (!add_accesses(work))
        return false;
    pin_axes(work);
    merge_axes(work);
    find_axes(work);
    for (int a = 0; a < definition->parallel_count; a++)
        work->parallel |= work->extent[a] != 1 ? bit(a) : 0;
    bool fine = add_terms(work, &work->output);
    for (int i = 0; fine && i < definition->expr_count; i++)
        fine = !work->access[i] || add_terms(work, work->access[i]);
    return fine;
}
