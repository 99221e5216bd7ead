/* Affine indices: index = offset + sum(coef * axis). All arithmetic is checked. */
#include <stdlib.h>

#include "kernel/bind.h"

Expr *bind_integer(Binder *b, int64_t value, int column) {
    Expr *expr = expr_new(b->arena, EXPR_NUMBER, column);
    if (expr) {
        expr->integer = value;
        expr->number = (double)value;
    }
    return expr;
}

/* out += factor * x */
static bool add_scaled(Affine *out, const Affine *x, int64_t factor, int axes) {
    int64_t product;
    bool fine = checked_mul(x->offset, factor, &product) && checked_add(out->offset, product, &out->offset);
    for (int a = 0; fine && a < axes; a++)
        fine = checked_mul(x->coef[a], factor, &product) && checked_add(out->coef[a], product, &out->coef[a]);
    return fine;
}

static bool is_constant(const Affine *x, int axes) {
    for (int a = 0; a < axes; a++)
        if (x->coef[a] != 0)
            return false;
    return true;
}

static bool multiply(const Affine *x, const Affine *y, int axes, Affine *out) {
    if (is_constant(y, axes))
        return add_scaled(out, x, y->offset, axes);
    return is_constant(x, axes) && add_scaled(out, y, x->offset, axes);
}

static bool leaf(const Definition *d, const Expr *expr, Affine *out) {
    switch (expr->op) {
    case EXPR_NUMBER:
        out->offset = expr->integer;
        return !expr->is_float && (expr->number < 0) == (expr->integer < 0) && expr->type != DT_BOOL;
    case EXPR_AXIS: out->coef[expr->axis] = 1; return true;
    case EXPR_EXTENT: out->offset = d->axes[expr->axis].extent; return out->offset >= 0;
    default: return false;
    }
}

bool affine_of(const Definition *d, const Expr *expr, Affine *out) {
    *out = (Affine){0};
    int axes = d->axis_count;
    Affine x, y;
    switch (expr->op) {
    case EXPR_ADD:
    case EXPR_SUB:
    case EXPR_MUL:
        if (!affine_of(d, expr->arg[0], &x) || !affine_of(d, expr->arg[1], &y))
            return false;
        if (expr->op == EXPR_MUL)
            return multiply(&x, &y, axes, out);
        return add_scaled(out, &x, 1, axes) && add_scaled(out, &y, expr->op == EXPR_ADD ? 1 : -1, axes);
    case EXPR_NEG: return affine_of(d, expr->arg[0], &x) && add_scaled(out, &x, -1, axes);
    default: return leaf(d, expr, out);
    }
}

bool affine_range(const Definition *d, const Affine *affine, int64_t *least, int64_t *most) {
    *least = *most = affine->offset;
    for (int a = 0; a < d->axis_count; a++) {
        int64_t reach;
        if (affine->coef[a] == 0)
            continue;
        if (!checked_mul(affine->coef[a], d->axes[a].extent - 1, &reach))
            return false;
        int64_t *end = reach < 0 ? least : most;
        if (!checked_add(*end, reach, end))
            return false;
    }
    return true;
}

static bool never_runs(const Definition *d, const Affine *affine) {
    for (int a = 0; a < d->axis_count; a++)
        if (d->axes[a].extent == 0 && (a < d->parallel_count || affine->coef[a] != 0))
            return true;
    return false;
}

static whet_status set_affine(Binder *b, const Definition *d, Index *index, const Affine *affine) {
    index->affine = true;
    index->offset = affine->offset;
    index->coef = arena_copy(b->arena, affine->coef, (size_t)d->axis_count * sizeof *affine->coef);
    return index->coef ? WHET_OK : error_memory(b->err);
}

static whet_status out_of_range(Binder *b, int t, int dim, int column, int64_t least, int64_t most) {
    const KernelTensor *tensor = &b->kernel->tensors[t];
    long long bad = least < 0 ? least : most;
    return bind_error(b, column, WHET_ERROR_DATA, "index %lld is outside dimension %d of '%s', which is %lld long", bad, dim,
                      tensor->name, (long long)tensor->dims[dim]);
}

/* ---- Reads ---- */

static whet_status bind_read_index(Binder *b, const Definition *d, Expr *read, int k, bool *inside) {
    Affine affine;
    int64_t least, most, dim = b->kernel->tensors[read->tensor].dims[k];
    Index *index = &read->index[k];
    *inside = false;
    if (!affine_of(d, index->expr, &affine))
        return WHET_OK;
    if (never_runs(d, &affine)) {
        *inside = true;
        return set_affine(b, d, index, &affine);
    }
    if (!affine_range(d, &affine, &least, &most))
        return bind_error(b, index->expr->column, WHET_ERROR_DATA, "the index goes beyond 64 bits");
    *inside = least >= 0 && most < dim;
    if (!*inside && !read->guarded)
        return out_of_range(b, read->tensor, k, index->expr->column, least, most);
    return set_affine(b, d, index, &affine);
}

static bool is_zero(const Expr *number) {
    return dtype_kind(number->type) == KIND_FLOAT ? number->number == 0 && 1 / number->number > 0 : number->integer == 0;
}

static whet_status bind_read(Binder *b, const Definition *d, Expr *read) {
    bool all_inside = true;
    for (int k = 0; k < read->index_count; k++) {
        bool inside;
        whet_status status = bind_read_index(b, d, read, k, &inside);
        if (status)
            return status;
        all_inside &= inside;
    }
    if (all_inside)
        read->guarded = false;
    if (!read->guarded || (read->arg[0] && is_zero(read->arg[0])))
        read->arg[0] = NULL;
    return WHET_OK;
}

/* ---- Left sides ---- */

/* Is there an axis in it that its own terms take away again, as in i - i? Printing would lose it, and with it the order of axes.
 */
static const Expr *cancelled(const Expr *expr, const Affine *affine) {
    if (!expr || (expr->op == EXPR_AXIS && affine->coef[expr->axis] == 0))
        return expr;
    const Expr *found = NULL;
    for (int i = 0; !found && i < 3; i++)
        found = cancelled(expr->arg[i], affine);
    return found;
}

static whet_status bind_left_index(Binder *b, const Definition *d, int k) {
    Affine affine;
    int64_t least, most, dim = b->kernel->tensors[d->tensor].dims[k];
    Index *index = &d->left[k];
    if (!affine_of(d, index->expr, &affine)) /* bind_extents has seen that it is */
        return error_set(b->err, WHET_ERROR_INTERNAL, "a left side that is not affine");
    const Expr *axis = cancelled(index->expr, &affine);
    if (axis)
        return bind_error(b, axis->column, WHET_ERROR_FORMAT, "axis '%s' cancels out of the index", d->axes[axis->axis].name);
    if (!never_runs(d, &affine)) {
        if (!affine_range(d, &affine, &least, &most))
            return bind_error(b, index->expr->column, WHET_ERROR_DATA, "the index goes beyond 64 bits");
        if (least < 0 || most >= dim)
            return out_of_range(b, d->tensor, k, index->expr->column, least, most);
    }
    return set_affine(b, d, index, &affine);
}

/* Do different values of its axes give different indices? True if every coefficient is larger than all that the smaller ones
 * reach together (like digits of a number). */
static bool separates(const Definition *d, const Index *index, uint32_t *axes) {
    uint32_t left = 0;
    int64_t reach = 0;
    for (int a = 0; a < d->parallel_count; a++)
        left |= (uint32_t)(index->coef[a] != 0 && d->axes[a].extent > 1) << a;
    *axes = left;
    while (left) {
        int least = -1;
        for (int a = 0; a < d->parallel_count; a++)
            if ((left >> a & 1) && (least < 0 || llabs(index->coef[a]) < llabs(index->coef[least])))
                least = a;
        int64_t size = llabs(index->coef[least]), more;
        if (size <= reach || !checked_mul(size, d->axes[least].extent - 1, &more) || !checked_add(reach, more, &reach))
            return false;
        left &= ~((uint32_t)1 << least);
    }
    return true;
}

static whet_status check_written_once(Binder *b, const Definition *d) {
    uint32_t told = 0, used = 0;
    for (int k = 0; k < d->left_count; k++) {
        uint32_t axes;
        if (separates(d, &d->left[k], &axes))
            told |= axes;
        for (int a = 0; a < d->parallel_count; a++)
            used |= (uint32_t)(d->left[k].coef[a] != 0) << a;
    }
    for (int a = 0; a < d->parallel_count; a++)
        if (!(used >> a & 1) || (d->axes[a].extent > 1 && !(told >> a & 1)))
            return bind_error(b, d->column, WHET_ERROR_FORMAT, "different values of axis '%s' may write the same element",
                              d->axes[a].name);
    return WHET_OK;
}

whet_status bind_indices(Binder *b, Definition *d) {
    whet_status status = WHET_OK;
    for (int k = 0; !status && k < d->left_count; k++)
        status = bind_left_index(b, d, k);
    if (!status)
        status = check_written_once(b, d);
    if (!status && !definition_collect(b->arena, d))
        status = error_memory(b->err);
    for (int i = 0; !status && i < d->expr_count; i++)
        if (d->exprs[i]->op == EXPR_READ)
            status = bind_read(b, d, d->exprs[i]);
    return status;
}
