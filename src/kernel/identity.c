/* A bound kernel as bytes: equal bytes, equal kernels but for names. Made where kernels are looked for by what they are, which
 * happens for each of a model's nodes: printing the canonical text takes ten times as long.
 *
 * With `extents`, sizes of tensors and axes are told apart by which of them are equal alone, and 0 and 1 are themselves: kernels
 * of equal bytes then differ in lengths alone. */
#include "kernel/kernel.h"

static void put(Text *out, const void *data, size_t bytes) {
    if (bytes)
        text_put_n(out, data, bytes);
}

/* As which of those that were seen before; those that find no room there are told by themselves. */
static int64_t name_of(KernelExtents *extents, int64_t extent) {
    if (!extents || extent < 2)
        return extent;
    for (int i = 0; i < extents->count; i++)
        if (extents->seen[i] == extent)
            return 2 + i;
    if (extents->count == KERNEL_MAX_EXTENTS)
        return -extent;
    extents->seen[extents->count] = extent;
    return 2 + extents->count++;
}

static void put_extent(KernelExtents *extents, int64_t extent, Text *out) {
    int64_t name = name_of(extents, extent);
    put(out, &name, sizeof name);
}

static void put_index(const Definition *d, const Index *index, Text *out) {
    const int64_t head[] = {index->affine, index->affine ? index->offset : index->expr->id};
    put(out, head, sizeof head);
    if (index->affine)
        put(out, index->coef, (size_t)d->axis_count * sizeof *index->coef);
}

static void put_expr(const Definition *d, const Expr *e, Text *out) {
    const short head[] = {(short)e->op, (short)e->type};
    int args[3];
    put(out, head, sizeof head);
    for (int i = 0; i < 3; i++)
        args[i] = e->arg[i] ? e->arg[i]->id : -1;
    put(out, args, sizeof args);
    switch (e->op) {
    case EXPR_NUMBER:
        put(out, &e->number, sizeof e->number);
        put(out, &e->integer, sizeof e->integer);
        break;
    case EXPR_AXIS: put(out, &e->axis, sizeof e->axis); break;
    case EXPR_READ:
        put(out, (int[]){e->tensor, e->index_count, e->guarded}, 3 * sizeof(int));
        for (int i = 0; i < e->index_count; i++)
            put_index(d, &e->index[i], out);
        break;
    case EXPR_REDUCE:
        put(out, (int[]){(int)e->reduce, e->axis_count}, 2 * sizeof(int));
        put(out, e->axes, (size_t)e->axis_count * sizeof *e->axes);
        break;
    default: break;
    }
}

void kernel_definition_identity(const Definition *d, KernelExtents *extents, Text *out) {
    put(out, (int[]){d->tensor, d->left_count, d->axis_count, d->parallel_count, d->expr_count, d->value->id}, 6 * sizeof(int));
    for (int a = 0; a < d->axis_count; a++)
        put_extent(extents, d->axes[a].extent, out);
    for (int i = 0; i < d->left_count; i++)
        put_index(d, &d->left[i], out);
    for (int i = 0; i < d->expr_count; i++)
        put_expr(d, d->exprs[i], out);
}

void kernel_identity_but(const Kernel *kernel, KernelExtents *extents, Text *out) {
    put(out, (int[]){kernel->tensor_count, kernel->input_count, kernel->definition_count, kernel->partial}, 4 * sizeof(int));
    for (int t = 0; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        put(out, (int[]){(int)tensor->role, (int)tensor->type, tensor->rank, tensor->exported}, 4 * sizeof(int));
        for (int d = 0; d < tensor->rank; d++)
            put_extent(extents, tensor->dims[d], out);
    }
    for (int i = 0; i < kernel->definition_count; i++)
        kernel_definition_identity(&kernel->definitions[i], extents, out);
}

void kernel_identity(const Kernel *kernel, Text *out) {
    kernel_identity_but(kernel, NULL, out);
}
