/* Extents. Facts flow both ways until nothing new is learned:
 *
 *     dimension of a tensor <-> axis that indexes it plainly, without `?`
 *     constants by name, extents written at an axis -> axis
 *     axes of a left side -> shape of the tensor it fills
 *
 * `..` is written out as soon as the shapes of its operands are known. When all stands still, weaker facts are used: the shape of
 * an output that several definitions fill, and for a tensor of unknown shape what is read of it. */
#include "kernel/bind.h"

#include <string.h>

/* ---- Facts ---- */

static const char *dim_source(Binder *b, int t, int dim) {
    return arena_printf(b->arena, "dimension %d of '%s'", dim, b->kernel->tensors[t].name);
}

/* The axis has this extent; `source` says why. */
static whet_status set_extent(Binder *b, Definition *d, int a, int64_t extent, const char *source, int column, bool *changed) {
    Axis *axis = &d->axes[a];
    if (axis->extent == extent)
        return WHET_OK;
    if (axis->extent >= 0)
        return bind_error(b, column, WHET_ERROR_DATA, "axis '%s' is %lld by %s and %lld by %s", axis->name,
                          (long long)axis->extent, axis->source ? axis->source : "?", (long long)extent, source ? source : "?");
    axis->extent = extent;
    axis->source = source;
    *changed = true;
    return WHET_OK;
}

static whet_status set_rank(Binder *b, int t, int rank, int column) {
    KernelTensor *tensor = &b->kernel->tensors[t];
    if (tensor->rank == rank)
        return WHET_OK;
    if (tensor->rank >= 0)
        return bind_error(b, column, WHET_ERROR_DATA, "'%s' has %d dimension%s and %d ind%s here", tensor->name, tensor->rank,
                          tensor->rank == 1 ? "" : "s", rank, rank == 1 ? "ex" : "ices");
    tensor->rank = rank;
    tensor->dims = ARENA_ARRAY(b->arena, int64_t, (size_t)rank);
    for (int i = 0; tensor->dims && i < rank; i++)
        tensor->dims[i] = -1;
    return tensor->dims ? WHET_OK : error_memory(b->err);
}

static bool shape_known(const KernelTensor *tensor) {
    bool known = tensor->rank >= 0;
    for (int i = 0; known && i < tensor->rank; i++)
        known = tensor->dims[i] >= 0;
    return known;
}

/* ---- `..` ---- */

static bool uses_leading(const Definition *d) {
    bool used = d->leading;
    for (int i = 0; i < d->expr_count; i++)
        used |= d->exprs[i]->leading;
    return used;
}

/* Can it be written out? If not, *missing is the tensor whose shape is not known. */
static bool leading_ready(const Binder *b, const Definition *d, int *missing) {
    for (int i = 0; i < d->expr_count; i++)
        if (d->exprs[i]->leading && !shape_known(&b->kernel->tensors[d->exprs[i]->tensor])) {
            *missing = d->exprs[i]->tensor;
            return false;
        }
    return true;
}

typedef struct Leading {
    int rank;
    int64_t extent[WHET_MAX_RANK];
    const char *source[WHET_MAX_RANK];
} Leading;

/* Aligns the leading dims of an operand with the trailing ends of `..`. */
static whet_status broadcast(Binder *b, Leading *leading, const Expr *read) {
    const KernelTensor *tensor = &b->kernel->tensors[read->tensor];
    int rank = tensor->rank - read->index_count, shift = leading->rank - rank;
    for (int i = 0; i < rank; i++) {
        int64_t *extent = &leading->extent[shift + i];
        const char *source = dim_source(b, read->tensor, i);
        if (tensor->dims[i] == 1 || tensor->dims[i] == *extent)
            continue;
        if (*extent != 1)
            return bind_error(b, read->column, WHET_ERROR_DATA, "%lld (%s) does not broadcast with %lld (%s)",
                              (long long)tensor->dims[i], source ? source : "?", (long long)*extent, leading->source[shift + i]);
        *extent = tensor->dims[i];
        leading->source[shift + i] = source ? source : "?";
    }
    return WHET_OK;
}

static whet_status leading_rank(Binder *b, const Definition *d, Leading *leading) {
    const KernelTensor *output = &b->kernel->tensors[d->tensor];
    bool given = d->leading && shape_known(output);
    int most = given ? output->rank - d->left_count : -1;
    if (given && most < 0)
        return set_rank(b, d->tensor, d->left_count, d->column);
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *read = d->exprs[i];
        if (!read->leading)
            continue;
        int rank = b->kernel->tensors[read->tensor].rank - read->index_count;
        if (rank < 0)
            return set_rank(b, read->tensor, read->index_count, read->column);
        if (!d->leading)
            return bind_error(b, read->column, WHET_ERROR_FORMAT, "'..' is used here, but not in the left side");
        if (given && rank > most)
            return bind_error(b, read->column, WHET_ERROR_DATA, "'..' stands for %d dimensions here and for %d in the output",
                              rank, most);
        if (rank > most)
            most = rank;
    }
    if (most < 0)
        return bind_error(b, d->column, WHET_ERROR_FORMAT, "nothing says how many axes '..' stands for");
    leading->rank = most;
    return WHET_OK;
}

static whet_status leading_extents(Binder *b, const Definition *d, Leading *leading) {
    whet_status status = leading_rank(b, d, leading);
    if (status)
        return status;
    const KernelTensor *output = &b->kernel->tensors[d->tensor];
    bool given = shape_known(output);
    for (int i = 0; i < leading->rank; i++) {
        leading->extent[i] = given ? output->dims[i] : 1;
        leading->source[i] = given ? dim_source(b, d->tensor, i) : "1";
    }
    for (int i = 0; !status && i < d->expr_count; i++)
        if (d->exprs[i]->leading)
            status = broadcast(b, leading, d->exprs[i]);
    for (int i = 0; !status && given && i < leading->rank; i++)
        if (leading->extent[i] != output->dims[i])
            status = bind_error(b, d->column, WHET_ERROR_DATA, "%lld (%s) does not fit into %lld (dimension %d of '%s')",
                                (long long)leading->extent[i], leading->source[i], (long long)output->dims[i], i, output->name);
    return status;
}

/* The axes of `..` are i0, i1, ..., passing over names that are taken. */
static const char *fresh_name(Binder *b, const Definition *d, int *number) {
    for (;;) {
        const char *name = arena_printf(b->arena, "i%d", (*number)++);
        bool taken = false;
        for (int a = 0; name && a < d->axis_count; a++)
            taken |= strcmp(d->axes[a].name, name) == 0;
        if (!taken)
            return name;
    }
}

static bool add_axes(Binder *b, Definition *d, const Leading *leading) {
    int count = d->axis_count + leading->rank;
    Axis *axes = ARENA_ARRAY(b->arena, Axis, (size_t)count);
    if (!axes)
        return false;
    int number = 0;
    for (int i = 0; i < leading->rank; i++)
        axes[i] = (Axis){fresh_name(b, d, &number), leading->extent[i], false, NULL, leading->source[i], d->column};
    memcpy(axes + leading->rank, d->axes, (size_t)d->axis_count * sizeof *axes);
    d->axes = axes;
    d->axis_count = count;
    d->parallel_count += leading->rank;
    return !b->arena->failed;
}

static void renumber(Expr *expr, int by) {
    if (expr->axis >= 0)
        expr->axis += by;
    for (int i = 0; i < expr->axis_count; i++)
        expr->axes[i] += by;
}

static void renumber_left(Expr *expr, int by) {
    renumber(expr, by);
    for (int i = 0; i < 3; i++)
        if (expr->arg[i])
            renumber_left(expr->arg[i], by);
}

static Expr *axis_expr(Binder *b, int axis, int column) {
    Expr *expr = expr_new(b->arena, EXPR_AXIS, column);
    if (expr)
        expr->axis = axis;
    return expr;
}

/* `rank` leading indices in front of those there are; a dimension of 1 against a longer axis is indexed 0. */
static bool add_indices(Binder *b, const Leading *leading, int rank, const int64_t *dims, int column, Index **index, int *count) {
    Index *grown = ARENA_ARRAY(b->arena, Index, (size_t)(rank + *count));
    if (!grown)
        return false;
    for (int i = 0; i < rank; i++) {
        int axis = leading->rank - rank + i;
        bool stretched = dims && dims[i] == 1 && leading->extent[axis] != 1;
        grown[i].expr = stretched ? bind_integer(b, 0, column) : axis_expr(b, axis, column);
    }
    if (*count)
        memcpy(grown + rank, *index, (size_t)*count * sizeof *grown);
    *index = grown;
    *count += rank;
    return !b->arena->failed;
}

static whet_status expand_leading(Binder *b, Definition *d) {
    Leading leading = {0};
    whet_status status = leading_extents(b, d, &leading);
    if (status)
        return status;
    if (d->axis_count + leading.rank > KERNEL_MAX_AXES)
        return bind_error(b, d->column, WHET_ERROR_UNSUPPORTED, "more than %d axes in one definition", KERNEL_MAX_AXES);
    for (int i = 0; i < d->expr_count; i++)
        renumber(d->exprs[i], leading.rank);
    for (int i = 0; i < d->left_count; i++)
        renumber_left(d->left[i].expr, leading.rank);
    bool fine = add_axes(b, d, &leading);
    for (int i = 0; fine && i < d->expr_count; i++) {
        Expr *read = d->exprs[i];
        const KernelTensor *tensor = read->leading ? &b->kernel->tensors[read->tensor] : NULL;
        if (tensor)
            fine = add_indices(b, &leading, tensor->rank - read->index_count, tensor->dims, read->column, &read->index,
                               &read->index_count);
        read->leading = false;
    }
    fine = fine && add_indices(b, &leading, leading.rank, NULL, d->column, &d->left, &d->left_count);
    d->leading = false;
    return fine && definition_collect(b->arena, d) ? WHET_OK : error_memory(b->err);
}

/* ---- Inference ---- */

/* An axis and a dimension that it indexes plainly are of one length. */
static whet_status tie(Binder *b, Definition *d, int axis, int t, int dim, int column, bool *changed) {
    int64_t *length = &b->kernel->tensors[t].dims[dim];
    if (*length >= 0)
        return set_extent(b, d, axis, *length, dim_source(b, t, dim), column, changed);
    if (d->axes[axis].extent >= 0 && b->kernel->tensors[t].role == ROLE_INPUT) {
        *length = d->axes[axis].extent;
        *changed = true;
    }
    return WHET_OK;
}

static whet_status learn_from_reads(Binder *b, Definition *d, bool *changed) {
    whet_status status = WHET_OK;
    for (int i = 0; !status && i < d->expr_count; i++) {
        const Expr *read = d->exprs[i];
        if (read->op != EXPR_READ)
            continue;
        status = set_rank(b, read->tensor, read->index_count, read->column);
        for (int k = 0; !status && !read->guarded && k < read->index_count; k++)
            if (read->index[k].expr->op == EXPR_AXIS)
                status = tie(b, d, read->index[k].expr->axis, read->tensor, k, read->column, changed);
    }
    return status;
}

/* A left side that alone fills a tensor of known shape. */
static whet_status learn_from_left(Binder *b, Definition *d, bool weak, bool *changed) {
    const KernelTensor *tensor = &b->kernel->tensors[d->tensor];
    whet_status status = set_rank(b, d->tensor, d->left_count, d->column);
    if (status || !shape_known(tensor) || (!weak && b->writers[d->tensor] > 1))
        return status;
    for (int k = 0; !status && k < d->left_count; k++) {
        const Expr *index = d->left[k].expr;
        if (index->op == EXPR_AXIS && (!weak || d->axes[index->axis].extent < 0))
            status = set_extent(b, d, index->axis, tensor->dims[k], dim_source(b, d->tensor, k), d->column, changed);
    }
    return status;
}

/* One more than the largest index, 0 for an empty definition; false: not known (yet). */
static bool cover(const Definition *d, const Expr *index, int64_t *out) {
    Affine affine;
    int64_t least, most;
    if (!affine_of(d, index, &affine))
        return false;
    *out = 0;
    for (int a = 0; a < d->axis_count; a++)
        if (affine.coef[a] != 0 && d->axes[a].extent < 0)
            return false;
    for (int a = 0; a < d->axis_count; a++)
        if (affine.coef[a] != 0 && d->axes[a].extent == 0)
            return true;
    return affine_range(d, &affine, &least, &most) && checked_add(most, 1, out);
}

/* The shape of a tensor is what its definitions cover. */
static void learn_shape(Binder *b, int t, bool *changed) {
    KernelTensor *tensor = &b->kernel->tensors[t];
    if (tensor->role == ROLE_INPUT || tensor->rank < 0 || shape_known(tensor))
        return;
    int64_t dims[WHET_MAX_RANK] = {0};
    for (int i = 0; i < b->kernel->definition_count; i++) {
        const Definition *d = &b->kernel->definitions[i];
        for (int k = 0; d->tensor == t && k < d->left_count; k++) {
            int64_t length;
            if (d->leading || !cover(d, d->left[k].expr, &length))
                return;
            if (dims[k] < length)
                dims[k] = length;
        }
        if (d->tensor == t && d->left_count != tensor->rank)
            return;
    }
    memcpy(tensor->dims, dims, (size_t)tensor->rank * sizeof *dims);
    *changed = true;
}

/* Constants with an axis's name, or the name written behind it. */
static whet_status learn_from_consts(Binder *b, Definition *d) {
    bool changed;
    for (int a = 0; a < d->axis_count; a++) {
        Axis *axis = &d->axes[a];
        const KernelConst *value = bind_const(b, axis->extent_name ? axis->extent_name : axis->name);
        if (!value && axis->extent_name)
            return bind_error(b, axis->column, WHET_ERROR_ARGUMENT, "no constant '%s'", axis->extent_name);
        if (!value)
            continue;
        if (value->is_float || value->integer < 0)
            return bind_error(b, axis->column, WHET_ERROR_ARGUMENT, "constant '%s' is no extent", value->name);
        const char *source = arena_printf(b->arena, "constant '%s'", value->name);
        whet_status status = set_extent(b, d, a, value->integer, source, axis->column, &changed);
        if (status)
            return status;
        axis->extent_name = NULL;
    }
    return WHET_OK;
}

/* What is read of an input of unknown shape, where the index is more than an axis. */
static bool learn_covers(Binder *b) {
    bool changed = false;
    for (int i = 0; i < b->kernel->definition_count; i++) {
        const Definition *d = &b->kernel->definitions[i];
        for (int e = 0; e < d->expr_count; e++) {
            const Expr *read = d->exprs[e];
            if (read->op != EXPR_READ || read->guarded || b->kernel->tensors[read->tensor].role != ROLE_INPUT)
                continue;
            if (read->leading || b->kernel->tensors[read->tensor].rank < 0) /* not yet: its definition waits for `..` */
                continue;
            for (int k = 0; k < read->index_count; k++) {
                int64_t *dim = &b->kernel->tensors[read->tensor].dims[k], length;
                if (b->given[read->tensor] || read->index[k].expr->op == EXPR_AXIS || !cover(d, read->index[k].expr, &length))
                    continue;
                if (*dim < length) {
                    *dim = length;
                    changed = true;
                }
            }
        }
    }
    return changed;
}

static whet_status learn(Binder *b, bool weak, bool *changed) {
    whet_status status = WHET_OK;
    for (int i = 0; !status && i < b->kernel->definition_count; i++) {
        Definition *d = &b->kernel->definitions[i];
        int missing;
        if (uses_leading(d)) {
            if (!leading_ready(b, d, &missing))
                continue;
            *changed = true;
            status = expand_leading(b, d);
        }
        if (!status)
            status = learn_from_reads(b, d, changed);
        if (!status)
            status = learn_from_left(b, d, weak, changed);
        if (!status)
            learn_shape(b, d->tensor, changed);
    }
    return status;
}

/* ---- What is missing ---- */

static whet_status check_definition(Binder *b, const Definition *d) {
    int missing;
    if (uses_leading(d) && !leading_ready(b, d, &missing))
        return bind_error(b, d->column, WHET_ERROR_ARGUMENT, "the shape of '%s' is not known, and '..' needs it",
                          b->kernel->tensors[missing].name);
    for (int a = 0; a < d->axis_count; a++)
        if (d->axes[a].extent < 0)
            return bind_error(b, d->axes[a].column, WHET_ERROR_ARGUMENT,
                              "nothing gives the extent of axis '%s' (give a shape, or write %s:N)", d->axes[a].name,
                              d->axes[a].name);
    Affine affine;
    for (int k = 0; k < d->left_count; k++)
        if (!affine_of(d, d->left[k].expr, &affine))
            return bind_error(b, d->left[k].expr->column, WHET_ERROR_FORMAT,
                              "an index of a left side is a sum of axes times constants");
    return WHET_OK;
}

static whet_status check_tensor(Binder *b, KernelTensor *tensor) {
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->dims[i] < 0)
            return bind_error(b, tensor->column, WHET_ERROR_ARGUMENT, "nothing gives dimension %d of '%s' (give its shape)", i,
                              tensor->name);
    size_t bytes;
    if (tensor->rank > WHET_MAX_RANK || !checked_count(tensor->dims, tensor->rank, &tensor->count) ||
        !dtype_bytes(DT_F64, tensor->count, &bytes) || bytes > INT64_MAX)
        return bind_error(b, tensor->column, WHET_ERROR_DATA, "'%s' is too large", tensor->name);
    return WHET_OK;
}

whet_status bind_extents(Binder *b) {
    whet_status status = WHET_OK;
    for (int i = 0; !status && i < b->kernel->definition_count; i++)
        status = learn_from_consts(b, &b->kernel->definitions[i]);
    for (bool changed = true; !status && changed;) {
        changed = false;
        status = learn(b, false, &changed);
        if (!status && !changed)
            status = learn(b, true, &changed);
        if (!status && !changed)
            changed = learn_covers(b);
    }
    for (int i = 0; !status && i < b->kernel->definition_count; i++)
        status = check_definition(b, &b->kernel->definitions[i]);
    for (int t = 0; !status && t < b->kernel->tensor_count; t++)
        status = check_tensor(b, &b->kernel->tensors[t]);
    return status;
}
