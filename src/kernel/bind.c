/* kernel_bind: a kernel as parsed, and what is known of its tensors, to a kernel in which everything is known.
 *
 *     names -> extents (with `..` written out) -> types and folding -> indices -> sharing -> flops -> check
 *
 * Types and indices go definition by definition, in order, so that a temporary is known where it is read. */
#include "kernel/bind.h"
#include "kernel/rewrite.h"

#include <string.h>

whet_status bind_error(Binder *b, int column, whet_status status, const char *format, ...) {
    const char *text = b->kernel->text;
    va_list args;
    va_start(args, format);
    kernel_verror_at(text, strlen(text), (size_t)column, b->err, status, format, args);
    va_end(args);
    return status;
}

const KernelConst *bind_const(const Binder *b, const char *name) {
    for (int i = 0; i < b->const_count; i++)
        if (b->consts[i].name && strcmp(b->consts[i].name, name) == 0)
            return &b->consts[i];
    return NULL;
}

bool expr_gathers(const Expr *e) {
    for (int i = 0; e->op == EXPR_READ && i < e->index_count; i++)
        if (!e->index[i].affine)
            return true;
    return false;
}

int64_t index_stride(const int64_t *dims, int rank, const Index *index, int axis) {
    int64_t stride = 1, sum = 0;
    for (int i = rank - 1; i >= 0; i--) {
        sum += index[i].affine ? stride * index[i].coef[axis] : 0;
        stride *= dims[i];
    }
    return sum;
}

bool index_equals(const Definition *d, const Index *x, const Index *y) {
    return x->affine && y->affine && x->offset == y->offset &&
           memcmp(x->coef, y->coef, (size_t)d->axis_count * sizeof *x->coef) == 0;
}

int kernel_find_tensor(const Kernel *kernel, const char *name) {
    for (int t = 0; t < kernel->tensor_count; t++)
        if (strcmp(kernel->tensors[t].name, name) == 0)
            return t;
    return -1;
}

/* ---- Names ---- */

static void become_number(Expr *expr, const KernelConst *value) {
    expr->op = EXPR_NUMBER;
    expr->tensor = -1;
    expr->is_float = value->is_float;
    expr->integer = value->integer;
    expr->number = value->is_float ? value->number : (double)value->integer;
}

/* Constants become numbers; other bare names are tensors of rank 0. */
static void resolve_names(Binder *b) {
    for (int d = 0; d < b->kernel->definition_count; d++) {
        Definition *definition = &b->kernel->definitions[d];
        for (int i = 0; i < definition->expr_count; i++) {
            Expr *expr = definition->exprs[i];
            if (expr->op != EXPR_NAME)
                continue;
            const KernelConst *value = bind_const(b, expr->name);
            if (value) {
                become_number(expr, value);
            } else {
                expr->op = EXPR_READ;
                b->kernel->tensors[expr->tensor].maybe = false;
            }
        }
    }
}

/* A name that became a constant is no read, so what seemed a temporary may be an output. */
static void set_roles(Kernel *kernel) {
    bool read[KERNEL_MAX_TENSORS] = {false};
    for (int d = 0; d < kernel->definition_count; d++)
        for (int i = 0; i < kernel->definitions[d].expr_count; i++)
            if (kernel->definitions[d].exprs[i]->tensor >= 0)
                read[kernel->definitions[d].exprs[i]->tensor] = true;
    for (int t = kernel->input_count; t < kernel->tensor_count; t++)
        kernel->tensors[t].role = read[t] && !kernel->tensors[t].exported ? ROLE_TEMPORARY : ROLE_OUTPUT;
}

static whet_status take_arg(Binder *b, int t, const KernelArg *arg) {
    KernelTensor *tensor = &b->kernel->tensors[t];
    if (arg->type != DT_NONE && tensor->type != DT_NONE && tensor->type != arg->type)
        return bind_error(b, tensor->column, WHET_ERROR_ARGUMENT, "'%s' is %s in the text and %s in the arguments", tensor->name,
                          dtype_name(tensor->type), dtype_name(arg->type));
    if (arg->type != DT_NONE)
        tensor->type = arg->type;
    if (arg->rank < 0)
        return WHET_OK;
    int64_t count;
    if (arg->rank > WHET_MAX_RANK || !checked_count(arg->dims, arg->rank, &count))
        return bind_error(b, tensor->column, WHET_ERROR_ARGUMENT, "the shape given for '%s' is not valid", tensor->name);
    bool same = tensor->rank < 0 || tensor->rank == arg->rank;
    for (int i = 0; same && tensor->rank >= 0 && i < arg->rank; i++)
        same = tensor->dims[i] == arg->dims[i];
    if (!same)
        return bind_error(b, tensor->column, WHET_ERROR_ARGUMENT, "'%s' has another shape in the text than in the arguments",
                          tensor->name);
    tensor->rank = arg->rank;
    tensor->dims = arena_copy(b->arena, arg->dims, (size_t)arg->rank * sizeof *arg->dims);
    return tensor->dims ? WHET_OK : error_memory(b->err);
}

static whet_status take_args(Binder *b, const KernelArg *args, int count) {
    for (int i = 0; i < count; i++) {
        int t = args[i].name ? kernel_find_tensor(b->kernel, args[i].name) : -1;
        whet_status status = t < 0 ? WHET_OK : take_arg(b, t, &args[i]);
        if (status)
            return status;
    }
    for (int t = 0; t < b->kernel->tensor_count; t++) {
        b->given[t] = b->kernel->tensors[t].rank >= 0;
        if (b->kernel->tensors[t].type == DT_NONE && b->kernel->tensors[t].role == ROLE_INPUT)
            b->kernel->tensors[t].type = DT_F32;
    }
    return WHET_OK;
}

/* ---- Order ---- */

/* A tensor is complete before it is read. */
static whet_status check_order(Binder *b) {
    const Kernel *kernel = b->kernel;
    int last[KERNEL_MAX_TENSORS];
    memset(last, -1, sizeof last);
    for (int d = 0; d < kernel->definition_count; d++) {
        last[kernel->definitions[d].tensor] = d;
        b->writers[kernel->definitions[d].tensor]++;
    }
    for (int d = 0; d < kernel->definition_count; d++)
        for (int i = 0; i < kernel->definitions[d].expr_count; i++) {
            const Expr *expr = kernel->definitions[d].exprs[i];
            if (expr->tensor >= 0 && last[expr->tensor] >= d)
                return bind_error(b, expr->column, WHET_ERROR_FORMAT, "'%s' is read before it is completely defined",
                                  kernel->tensors[expr->tensor].name);
        }
    return WHET_OK;
}

/* ---- Work ---- */

static double axes_product(const Definition *d, uint32_t axes) {
    double product = 1;
    for (int a = 0; a < d->axis_count; a++)
        if (axes >> a & 1)
            product *= (double)d->axes[a].extent;
    return product;
}

static uint32_t expr_axes(const Definition *d, const Expr *expr, const uint32_t *of) {
    uint32_t axes = expr->op == EXPR_AXIS ? (uint32_t)1 << expr->axis : 0;
    for (int i = 0; i < 3; i++)
        if (expr->arg[i])
            axes |= of[expr->arg[i]->id];
    for (int i = 0; i < expr->index_count; i++) {
        if (!expr->index[i].affine)
            axes |= of[expr->index[i].expr->id];
        for (int a = 0; expr->index[i].affine && a < d->axis_count; a++)
            axes |= (uint32_t)(expr->index[i].coef[a] != 0) << a;
    }
    return axes;
}

/* Each operation runs once for every value of the axes it depends on. */
static bool count_flops(Kernel *kernel, const Definition *d) {
    uint32_t *of = ARENA_ARRAY(kernel->arena, uint32_t, (size_t)d->expr_count);
    if (!of)
        return false;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *expr = d->exprs[i];
        uint32_t axes = expr_axes(d, expr, of);
        if (expr->op < EXPR_OP_COUNT)
            kernel->flops += expr_info[expr->op].flops * axes_product(d, axes);
        uint32_t bound = 0;
        for (int k = 0; expr->op == EXPR_REDUCE && k < expr->axis_count; k++)
            bound |= (uint32_t)1 << expr->axes[k];
        if (expr->op == EXPR_REDUCE)
            kernel->flops += axes_product(d, axes | bound);
        of[i] = axes & ~bound;
    }
    return true;
}

static bool name_taken(const Definition *d, const char *name, int count) {
    for (int a = 0; a < count; a++)
        if (strcmp(d->axes[a].name, name) == 0)
            return true;
    return false;
}

/* An axis that hides another of its name gets one of its own: the second j is j2. */
static bool rename_axes(Arena *arena, Definition *d) {
    for (int a = 0; a < d->axis_count; a++) {
        if (!name_taken(d, d->axes[a].name, a))
            continue;
        const char *name = NULL;
        for (int number = 2; !name || name_taken(d, name, d->axis_count); number++)
            if (!(name = arena_printf(arena, "%s%d", d->axes[a].name, number)))
                return false;
        d->axes[a].name = name;
    }
    return true;
}

static whet_status bind_definition(Binder *b, Definition *definition) {
    whet_status status = bind_types(b, definition);
    if (!status)
        status = bind_indices(b, definition);
    if (status)
        return status;
    if (!rename_axes(b->arena, definition) || !bind_share(b->arena, definition) || !count_flops(b->kernel, definition))
        return error_memory(b->err);
    return WHET_OK;
}

whet_status kernel_bind(Kernel *kernel, const KernelArg *args, int arg_count, const KernelConst *consts, int const_count,
                        whet_error *err) {
    if (kernel->bound)
        return error_set(err, WHET_ERROR_INTERNAL, "the kernel is bound already");
    Binder *b = ARENA_NEW(kernel->arena, Binder);
    if (!b)
        return error_memory(err);
    *b = (Binder){.kernel = kernel, .arena = kernel->arena, .consts = consts, .const_count = const_count, .err = err};
    resolve_names(b);
    kernel->bound = true; /* names that became constants leave the list of tensors */
    kernel_sort_tensors(kernel);
    set_roles(kernel);
    whet_status status = take_args(b, args, arg_count);
    if (!status)
        status = check_order(b);
    if (!status)
        status = bind_extents(b);
    for (int d = 0; !status && d < kernel->definition_count; d++)
        status = bind_definition(b, &kernel->definitions[d]);
    if (!status && kernel->arena->failed)
        status = error_memory(err);
    return status ? status : kernel_check(kernel, "bind", err);
}

whet_status kernel_seal(Kernel *kernel, const char *pass, whet_error *err) {
    kernel->flops = 0;
    for (int i = 0; i < kernel->definition_count; i++)
        if (!bind_share(kernel->arena, &kernel->definitions[i]) || !count_flops(kernel, &kernel->definitions[i]))
            return error_memory(err);
    return kernel_check(kernel, pass, err);
}

/* ---- Kernels that passes have made ---- */

static bool is_inside(const Kernel *kernel, const Definition *d, const Expr *read) {
    for (int k = 0; k < read->index_count; k++) {
        const Index *index = &read->index[k];
        Affine f = {.offset = index->offset};
        int64_t least, most;
        if (!index->affine)
            return false;
        memcpy(f.coef, index->coef, (size_t)d->axis_count * sizeof *f.coef);
        if (!affine_range(d, &f, &least, &most) || least < 0 || most >= kernel->tensors[read->tensor].dims[k])
            return false;
    }
    return true;
}

static bool is_settled(const Kernel *kernel, const Definition *d, const Expr *e) {
    Affine f;
    bool numbers = e->arg[0] && e->op != EXPR_READ;
    for (int i = 0; numbers && i < 3 && e->arg[i]; i++)
        numbers = e->arg[i]->op == EXPR_NUMBER;
    if (numbers || (e->op == EXPR_CAST && e->arg[0]->type == e->type) || (e->guarded && is_inside(kernel, d, e)))
        return false;
    for (int k = 0; k < e->index_count; k++)
        if (!e->index[k].affine && affine_of(d, e->index[k].expr, &f))
            return false;
    return true;
}

bool kernel_is_settled(const Kernel *kernel) {
    for (int i = 0; i < kernel->definition_count; i++)
        for (int k = 0; k < kernel->definitions[i].expr_count; k++)
            if (!is_settled(kernel, &kernel->definitions[i], kernel->definitions[i].exprs[k]))
                return false;
    return true;
}
