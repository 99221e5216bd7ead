/* From definitions with dimensions and indices to loops with strides: all that templates want to know of a definition.
 *
 * Dense row-major tensors and affine indices make every access offset + sum(stride * axis). Axes of extent 1 go; neighbours that
 * every access walks as one (stride of the outer = stride of the inner * its extent) become one. So [batch, sequence, hidden]
 * times [hidden, n] is the same nest as a plain matrix product. */
#include "schedule/schedule.h"

#include <stdlib.h>
#include <string.h>

/* What a guarded index must be checked for; nothing if it cannot leave its dimension. */
static bool add_guard(const Definition *definition, const int *map, const Index *index, int64_t extent, Access *access,
                      const char **why) {
    int64_t least = index->offset, most = index->offset;
    for (int a = 0; a < definition->axis_count; a++) {
        int64_t reach = index->coef[a] * (definition->axes[a].extent - 1);
        *(reach < 0 ? &least : &most) += reach;
    }
    if (least >= 0 && most < extent)
        return true;
    if (access->guard_count == NEST_MAX_GUARDS) {
        *why = "more guarded indices than a template takes";
        return false;
    }
    Guard *guard = &access->guard[access->guard_count++];
    *guard = (Guard){.offset = index->offset, .extent = extent};
    for (int a = 0; a < definition->axis_count; a++)
        if (index->coef[a] && map[a] >= 0)
            guard->coef[map[a]] += index->coef[a];
    return true;
}

/* Templates count in bytes, and may look some vectors beyond the last element. */
#define FARTHEST (INT64_C(1) << 56)

/* Adds coef * stride to *total, and how far `extent` such steps lead to *reach. */
static bool add_step(int64_t coef, int64_t stride, int64_t extent, int64_t *total, int64_t *reach) {
    int64_t step, way;
    return checked_mul(coef, stride, &step) && step > -FARTHEST && step < FARTHEST && checked_mul(llabs(step), extent, &way) &&
           checked_add(*reach, way, reach) && checked_add(*total, step, total) && *reach < FARTHEST;
}

static bool flatten(const KernelTensor *tensor, const Definition *definition, const int *map, const Index *index, bool guarded,
                    Access *access, const char **why) {
    int64_t stride = 1, reach = 0;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        if (!index[d].affine) {
            if (access->offsets[0] && !guarded) {
                stride *= tensor->dims[d];
                continue;
            }
            *why = guarded ? "a guarded gather" : "an index that is not affine";
            return false;
        }
        bool near = add_step(index[d].offset, stride, 1, &access->offset, &reach);
        for (int a = 0; a < definition->axis_count; a++)
            if (index[d].coef[a] && definition->axes[a].extent != 1) {
                if (map[a] < 0) {
                    *why = "a read along an axis of another definition";
                    return false;
                }
                near = near && add_step(index[d].coef[a], stride, definition->axes[a].extent, &access->stride[map[a]], &reach);
            }
        if (!near) {
            *why = "an index further away than memory reaches";
            return false;
        }
        stride *= tensor->dims[d];
        if (guarded && !add_guard(definition, map, &index[d], tensor->dims[d], access, why))
            return false;
    }
    return true;
}

void *nest_plan(void *plan, size_t bytes, size_t nest_at) {
    const size_t before = nest_at + offsetof(Nest, access), after = nest_at + offsetof(Nest, access_count);
    if (plan) {
        memset(plan, 0, before);
        memset((char *)plan + after, 0, bytes - after);
    }
    return plan;
}

static Access *new_access(Nest *nest, const char **why) {
    if (nest->access_count == NEST_MAX_ACCESSES) {
        *why = "more reads than a template takes";
        return NULL;
    }
    Access *access = &nest->access[nest->access_count++];
    *access = (Access){.tensor = -1};
    return access;
}

static bool add_access(Nest *nest, const Definition *definition, const int *map, const Expr *read, const Index *index,
                       const int offsets[2], const char **why) {
    Access *access = new_access(nest, why);
    if (!access)
        return false;
    int t = read ? read->tensor : definition->tensor;
    const KernelTensor *tensor = &nest->kernel->tensors[t];
    *access = (Access){.read = read, .tensor = t, .type = tensor->type, .offsets = {offsets[0], offsets[1]}};
    access->outside = read && read->arg[0] ? read->arg[0]->number : 0;
    return flatten(tensor, definition, map, index, read && read->guarded, access, why);
}

bool nest_add_at(Nest *nest, const Definition *definition, const int *map, const Expr *read, const Index *index,
                 const char **why) {
    return add_access(nest, definition, map, read, index, (int[2]){0, 0}, why);
}

bool nest_read_instead(Nest *nest, int access, int tensor, const Index *index, const char **why) {
    Access *a = &nest->access[access];
    int map[NEST_MAX_AXES];
    for (int i = 0; i < nest->axis_count; i++)
        map[i] = i;
    *a = (Access){.read = a->read, .tensor = tensor, .type = nest->kernel->tensors[tensor].type, .outside = a->outside};
    return flatten(&nest->kernel->tensors[tensor], nest->definition, map, index, a->read->guarded, a, why);
}

bool nest_add(Nest *nest, const Definition *definition, const int *map, const Expr *read, const char **why) {
    return nest_add_at(nest, definition, map, read, read ? read->index : definition->left, why);
}

static void remove_axis(Nest *nest, int axis) {
    nest->parallel_count -= axis < nest->parallel_count;
    nest->axis_count--;
    for (int a = axis; a < nest->axis_count; a++)
        nest->axis[a] = nest->axis[a + 1];
    size_t bytes = (size_t)(nest->axis_count - axis) * sizeof(int64_t);
    for (int i = 0; i < nest->access_count; i++) {
        Access *access = &nest->access[i];
        memmove(&access->stride[axis], &access->stride[axis + 1], bytes);
        for (int g = 0; g < access->guard_count; g++)
            memmove(&access->guard[g].coef[axis], &access->guard[g].coef[axis + 1], bytes);
    }
}

bool access_merges(const Access *access, int outer, int inner, int64_t inner_extent) {
    if (access->stride[outer] != access->stride[inner] * inner_extent)
        return false;
    for (int g = 0; g < access->guard_count; g++)
        if (access->guard[g].coef[outer] || access->guard[g].coef[inner])
            return false;
    return true;
}

static bool walks_as_one(const Nest *nest, int outer) {
    if (nest->axis[outer].reduced != nest->axis[outer + 1].reduced)
        return false;
    for (int i = 0; i < nest->access_count; i++)
        if (!access_merges(&nest->access[i], outer, outer + 1, nest->axis[outer + 1].extent))
            return false;
    return true;
}

void nest_simplify(Nest *nest) {
    for (int a = nest->axis_count - 1; a >= 0; a--)
        if (nest->axis[a].extent == 1)
            remove_axis(nest, a);
    for (int a = nest->axis_count - 2; a >= 0; a--)
        if (walks_as_one(nest, a)) {
            nest->axis[a + 1].extent *= nest->axis[a].extent;
            remove_axis(nest, a);
        }
}

/* Strides that count through the tensor without a gap, in any order of axes. */
static bool fills(const Nest *nest) {
    const Access *write = &nest->access[0];
    int64_t next = 1;
    bool used[NEST_MAX_AXES] = {false};
    for (int round = 0; round < nest->parallel_count; round++) {
        int found = -1;
        for (int a = 0; a < nest->parallel_count; a++)
            if (!used[a] && write->stride[a] == next)
                found = a;
        if (found < 0)
            return false;
        used[found] = true;
        next *= nest->axis[found].extent;
    }
    return write->offset == 0 && next == nest->kernel->tensors[write->tensor].count;
}

static bool start(Nest *out, const Kernel *kernel, const Definition *definition, int *map, const char **why) {
    out->kernel = kernel; /* accesses are cleared as they are added: the whole of a nest is 20 KB */
    out->definition = definition;
    out->access_count = 0;
    out->covers = false;
    if (definition->axis_count > NEST_MAX_AXES) {
        *why = "more axes than a template takes";
        return false;
    }
    out->axis_count = definition->axis_count;
    out->parallel_count = definition->parallel_count;
    for (int a = 0; a < definition->axis_count; a++) {
        out->axis[a] = (NestAxis){definition->axes[a].extent, a >= definition->parallel_count};
        map[a] = a;
    }
    return nest_add(out, definition, map, NULL, why);
}

static bool has_work(const Nest *nest, const char **why) {
    for (int a = 0; a < nest->axis_count; a++)
        if (nest->axis[a].extent == 0 && !nest->axis[a].reduced) {
            *why = "nothing to do"; /* the evaluator does that as fast */
            return false;
        }
    return true;
}

bool nest_begin(const Kernel *kernel, const Definition *definition, Nest *out, const char **why) {
    int map[NEST_MAX_AXES];
    if (!start(out, kernel, definition, map, why))
        return false;
    for (int i = 0; i < definition->expr_count; i++)
        if (definition->exprs[i]->op == EXPR_READ && !nest_add(out, definition, map, definition->exprs[i], why))
            return false;
    return has_work(out, why);
}

void nest_end(Nest *nest) {
    nest_simplify(nest);
    nest->covers = nest->kernel->partial || fills(nest);
}

bool nest_of(const Kernel *kernel, const Definition *definition, Nest *out, const char **why) {
    if (!nest_begin(kernel, definition, out, why))
        return false;
    nest_end(out);
    return true;
}

/* ---- gathers and axes as numbers ---- */

/* Marks what the value needs, but not what only an index does. */
static void mark_needed(const Expr *expr, bool *needed) {
    if (needed[expr->id])
        return;
    needed[expr->id] = true;
    for (int k = 0; k < 3; k++)
        if (expr->arg[k])
            mark_needed(expr->arg[k], needed);
}

static void mark_axes(const Definition *definition, const Expr *expr, bool *seen, bool *axes) {
    if (seen[expr->id])
        return;
    seen[expr->id] = true;
    if (expr->op == EXPR_AXIS)
        axes[expr->axis] = true;
    for (int k = 0; k < 3; k++)
        if (expr->arg[k])
            mark_axes(definition, expr->arg[k], seen, axes);
    for (int d = 0; expr->op == EXPR_READ && d < expr->index_count; d++) {
        if (!expr->index[d].affine)
            mark_axes(definition, expr->index[d].expr, seen, axes);
        for (int a = 0; expr->index[d].affine && a < definition->axis_count; a++)
            axes[a] = axes[a] || expr->index[d].coef[a];
    }
}

/* Dense over the axes in question, in the order in which the result has them in memory. `dims`: of the read, whose indices they
 * are made of. */
static bool add_offsets(Nest *nest, const Definition *definition, const Expr *read, uint32_t dims, const char **why) {
    bool seen[KERNEL_MAX_AXES * 32], axes[KERNEL_MAX_AXES] = {false};
    Access *access = new_access(nest, why);
    if (!access)
        return false;
    if (definition->expr_count > (int)COUNT(seen)) {
        *why = "a gather in an expression of many operations";
        return false;
    }
    memset(seen, 0, sizeof seen);
    for (int d = 0; d < read->index_count; d++)
        if (dims >> d & 1)
            mark_axes(definition, read->index[d].expr, seen, axes);
    *access = (Access){.read = read, .source = ACCESS_OFFSETS, .tensor = -1, .type = DT_S64, .dims = dims};
    int64_t next = 1;
    for (;;) {
        int inner = -1;
        for (int a = 0; a < definition->parallel_count; a++)
            if (axes[a] && (inner < 0 || llabs(nest->access[0].stride[a]) <= llabs(nest->access[0].stride[inner])))
                inner = a;
        if (inner < 0)
            break;
        axes[inner] = false;
        access->dense[access->dense_count++] = inner;
        if (definition->axes[inner].extent != 1)
            access->stride[inner] = next;
        if (!checked_mul(next, definition->axes[inner].extent, &next)) {
            *why = "a gather by too many indices";
            return false;
        }
    }
    for (int a = definition->parallel_count; a < definition->axis_count; a++)
        if (axes[a]) {
            *why = "a gather by a reduction";
            return false;
        }
    return true;
}

static bool add_numbers(Nest *nest, const Definition *definition, const Expr *axis, const char **why) {
    Access *access = new_access(nest, why);
    if (!access)
        return false;
    *access = (Access){.read = axis, .source = ACCESS_NUMBERS, .tensor = -1, .type = DT_S32};
    if (definition->axes[axis->axis].extent != 1)
        access->stride[axis->axis] = 1;
    return true;
}

/* Dimensions of a read whose index is computed: [1] changes along the axis on which the result is contiguous, [0] does not. Where
 * there are but the ones or the others they are [0]. */
static void split_dims(const Nest *nest, const Definition *definition, const Expr *read, uint32_t dims[2]) {
    int column = -1;
    dims[0] = dims[1] = 0;
    for (int a = 0; a < definition->parallel_count; a++)
        if (nest->access[0].stride[a] == 1 && definition->axes[a].extent != 1)
            column = a;
    for (int d = 0; d < read->index_count; d++) {
        bool seen[KERNEL_MAX_AXES * 32] = {false}, axes[KERNEL_MAX_AXES] = {false};
        if (read->index[d].affine)
            continue;
        if (definition->expr_count <= (int)COUNT(seen))
            mark_axes(definition, read->index[d].expr, seen, axes);
        dims[column >= 0 && axes[column]] |= UINT32_C(1) << d;
    }
    if (!dims[0]) {
        dims[0] = dims[1];
        dims[1] = 0;
    }
}

/* Offsets that another read of the tensor has already; 0: none. */
static int same_offsets(const Nest *nest, const Expr *read, uint32_t dims) {
    for (int i = 1; dims && i < nest->access_count; i++) {
        const Access *a = &nest->access[i];
        bool same = a->source == ACCESS_OFFSETS && a->dims == dims && a->read->tensor == read->tensor;
        for (int d = 0; same && d < read->index_count; d++)
            same = !(dims >> d & 1) || a->read->index[d].expr == read->index[d].expr;
        if (same)
            return i;
    }
    return 0;
}

static bool add_needed(Nest *nest, const Definition *definition, const int *map, const Expr *expr, const char **why) {
    uint32_t dims[2];
    if (expr->op == EXPR_AXIS)
        return add_numbers(nest, definition, expr, why);
    if (expr->op != EXPR_READ)
        return true;
    split_dims(nest, definition, expr, dims);
    int offsets[2], next = nest->access_count + 1;
    for (int k = 0; k < 2; k++) {
        offsets[k] = same_offsets(nest, expr, dims[k]);
        if (offsets[k])
            dims[k] = 0;
        else if (dims[k])
            offsets[k] = next++;
    }
    bool fine = add_access(nest, definition, map, expr, expr->index, offsets, why);
    for (int k = 0; fine && k < 2; k++)
        fine = !dims[k] || add_offsets(nest, definition, expr, dims[k], why);
    return fine;
}

bool nest_of_map(const Kernel *kernel, const Definition *definition, Nest *out, const char **why) {
    int map[NEST_MAX_AXES];
    if (definition->axis_count > definition->parallel_count) {
        *why = "a reduction";
        return false;
    }
    Arena arena;
    arena_init(&arena, NULL);
    bool *needed = ARENA_ARRAY(&arena, bool, (size_t)definition->expr_count + 1);
    bool fine = needed && start(out, kernel, definition, map, why);
    if (!needed)
        *why = "out of memory";
    else
        mark_needed(definition->value, needed);
    for (int i = 0; fine && i < definition->expr_count; i++)
        if (needed[i])
            fine = add_needed(out, definition, map, definition->exprs[i], why);
    arena_free(&arena);
    if (!fine || !has_work(out, why))
        return false;
    nest_end(out);
    return true;
}

int nest_find(const Nest *nest, const Expr *read) {
    for (int i = 0; i < nest->access_count; i++)
        if (nest->access[i].read == read && nest->access[i].source != ACCESS_OFFSETS)
            return i;
    return -1;
}

int index_plain_axis(const Definition *d, const Index *index) {
    int found = -1;
    if (!index->affine || index->offset)
        return -2;
    for (int a = 0; a < d->axis_count; a++)
        if (index->coef[a]) {
            if (index->coef[a] != 1 || found >= 0)
                return -2;
            found = a;
        }
    return found;
}
