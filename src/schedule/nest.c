/* From definitions with dimensions and indices to loops with strides: all that templates want to know of a definition.
 *
 * Dense row-major tensors and affine indices make every access offset + sum(stride * axis). Axes of extent 1 go; neighbours that
 * every access walks as one (stride of the outer = stride of the inner * its extent) become one. So [batch, sequence, hidden]
 * times [hidden, n] is the same nest as a plain matrix product. */
#include "schedule/schedule.h"

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

static bool flatten(const KernelTensor *tensor, const Definition *definition, const int *map, const Index *index, bool guarded,
                    Access *access, const char **why) {
    int64_t stride = 1;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        if (!index[d].affine) {
            *why = "an index that is not affine";
            return false;
        }
        access->offset += index[d].offset * stride;
        for (int a = 0; a < definition->axis_count; a++)
            if (index[d].coef[a] && definition->axes[a].extent != 1) {
                if (map[a] < 0) {
                    *why = "a read along an axis of another definition";
                    return false;
                }
                access->stride[map[a]] += index[d].coef[a] * stride;
            }
        stride *= tensor->dims[d];
        if (guarded && !add_guard(definition, map, &index[d], tensor->dims[d], access, why))
            return false;
    }
    return true;
}

bool nest_add_at(Nest *nest, const Definition *definition, const int *map, const Expr *read, const Index *index,
                 const char **why) {
    if (nest->access_count == NEST_MAX_ACCESSES) {
        *why = "more reads than a template takes";
        return false;
    }
    int t = read ? read->tensor : definition->tensor;
    const KernelTensor *tensor = &nest->kernel->tensors[t];
    Access *access = &nest->access[nest->access_count++];
    *access = (Access){.read = read, .tensor = t, .type = tensor->type};
    access->outside = read && read->arg[0] ? read->arg[0]->number : 0;
    return flatten(tensor, definition, map, index, read && read->guarded, access, why);
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

bool nest_begin(const Kernel *kernel, const Definition *definition, Nest *out, const char **why) {
    memset(out, 0, sizeof *out);
    out->kernel = kernel;
    out->definition = definition;
    if (definition->axis_count > NEST_MAX_AXES) {
        *why = "more axes than a template takes";
        return false;
    }
    out->axis_count = definition->axis_count;
    out->parallel_count = definition->parallel_count;
    for (int a = 0; a < definition->axis_count; a++)
        out->axis[a] = (NestAxis){definition->axes[a].extent, a >= definition->parallel_count};
    int map[NEST_MAX_AXES];
    for (int a = 0; a < definition->axis_count; a++)
        map[a] = a;
    if (!nest_add(out, definition, map, NULL, why))
        return false;
    for (int i = 0; i < definition->expr_count; i++)
        if (definition->exprs[i]->op == EXPR_READ && !nest_add(out, definition, map, definition->exprs[i], why))
            return false;
    for (int a = 0; a < out->axis_count; a++)
        if (out->axis[a].extent == 0 && !out->axis[a].reduced) {
            *why = "nothing to do"; /* the evaluator does that as fast */
            return false;
        }
    return true;
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

int nest_find(const Nest *nest, const Expr *read) {
    for (int i = 0; i < nest->access_count; i++)
        if (nest->access[i].read == read)
            return i;
    return -1;
}
