/* Types, literals and constant folding, in one walk over a definition's expressions, operands first.
 *
 * A literal, and what is computed of literals alone, has no type (DT_NONE) until something next to it has one; it is then
 * computed in that type. What stays without is f32 if a float literal is in it, s64 otherwise. Nothing else is converted. */
#include "kernel/bind.h"
#include "kernel/strip.h"

typedef struct Typer {
    Binder *b;
    Definition *definition;
    Expr **now; /* what each expression of the list became */
} Typer;

static bool has_float(const Expr *expr) {
    bool found = expr->op == EXPR_NUMBER && expr->is_float;
    for (int i = 0; !found && i < 3 && expr->arg[i]; i++)
        found = has_float(expr->arg[i]);
    return found;
}

static bool takes(const Expr *expr, DType type) {
    Kind kind = dtype_kind(type);
    switch (expr_info[expr->op].types[0]) {
    case 'N': return kind == KIND_FLOAT || kind == KIND_SIGNED || kind == KIND_UNSIGNED;
    case 'F': return kind == KIND_FLOAT;
    case 'I': {
        bool shift = expr->op == EXPR_SHL || expr->op == EXPR_SHR;
        return kind == KIND_SIGNED || kind == KIND_UNSIGNED || (kind == KIND_BOOL && !shift);
    }
    default: return true;
    }
}

static const char *what_takes(const Expr *expr) {
    switch (expr_info[expr->op].types[0]) {
    case 'N': return "numbers";
    case 'F': return "floats";
    default: return "integers or bools";
    }
}

static const char *operation_name(const Expr *expr) {
    const ExprInfo *info = &expr_info[expr->op];
    return *info->symbol ? info->symbol : info->name;
}

static Expr *no_memory(Typer *t) {
    error_memory(t->b->err);
    return NULL;
}

static Expr *literal_as(Typer *t, const Expr *literal, DType type) {
    Expr *number = expr_new(t->b->arena, EXPR_NUMBER, literal->column);
    if (!number)
        return no_memory(t);
    int column = number->column;
    *number = *literal;
    number->column = column;
    if (number_set_type(number, type))
        return number;
    if (literal->is_float)
        bind_error(t->b, column, WHET_ERROR_FORMAT, "%g cannot be %s", literal->number, dtype_name(type));
    else
        bind_error(t->b, column, WHET_ERROR_FORMAT, "%.0f cannot be %s", literal->number, dtype_name(type));
    return NULL;
}

/* Literals, or operations on them, computed in `type`. Weight is limited, so this may visit shared ones again. */
static Expr *give_type(Typer *t, const Expr *expr, DType type) {
    if (expr->type != DT_NONE || expr->op == EXPR_NUMBER)
        return expr->type != DT_NONE ? (Expr *)expr : literal_as(t, expr, type);
    if (!takes(expr, type)) {
        bind_error(t->b, expr->column, WHET_ERROR_FORMAT, "'%s' takes %s, not %s", operation_name(expr), what_takes(expr),
                   dtype_name(type));
        return NULL;
    }
    Expr typed = *expr;
    typed.type = type;
    for (int i = 0; i < 3 && expr->arg[i]; i++)
        if (!(typed.arg[i] = give_type(t, expr->arg[i], type)))
            return NULL;
    Expr *folded = fold_operation(t->b->arena, &typed);
    return folded ? folded : no_memory(t);
}

static Expr *give_default(Typer *t, Expr *expr) {
    return expr->type != DT_NONE ? expr : give_type(t, expr, has_float(expr) ? DT_F32 : DT_S64);
}

static bool all_numbers(const Expr *expr) {
    bool numbers = true;
    for (int i = 0; i < 3 && expr->arg[i]; i++)
        numbers &= expr->arg[i]->op == EXPR_NUMBER;
    return numbers;
}

static Expr *folded(Typer *t, Expr *expr) {
    if (!all_numbers(expr))
        return expr;
    Expr *number = fold_operation(t->b->arena, expr);
    return number ? number : no_memory(t);
}

/* Makes the operands from `from` on agree. *type is DT_NONE if none has one. */
static bool agree(Typer *t, Expr *expr, int from, DType *type) {
    *type = DT_NONE;
    for (int i = from; i < 3 && expr->arg[i]; i++) {
        DType other = expr->arg[i]->type;
        if (other != DT_NONE && *type != DT_NONE && other != *type)
            return bind_error(t->b, expr->column, WHET_ERROR_FORMAT, "'%s' of %s and %s: a cast is wanted", operation_name(expr),
                              dtype_name(*type), dtype_name(other)),
                   false;
        if (other != DT_NONE)
            *type = other;
    }
    for (int i = from; *type != DT_NONE && i < 3 && expr->arg[i]; i++)
        if (!(expr->arg[i] = give_type(t, expr->arg[i], *type)))
            return false;
    return true;
}

static Expr *type_select(Typer *t, Expr *expr) {
    DType type;
    if (expr->arg[0]->type != DT_BOOL) {
        bind_error(t->b, expr->arg[0]->column, WHET_ERROR_FORMAT, "the condition of 'select' is a bool, not %s",
                   expr->arg[0]->type == DT_NONE ? "a number" : dtype_name(expr->arg[0]->type));
        return NULL;
    }
    if (!agree(t, expr, 1, &type))
        return NULL;
    if (type == DT_NONE) { /* select(c, 1, 0): the default of the two together */
        type = has_float(expr->arg[1]) || has_float(expr->arg[2]) ? DT_F32 : DT_S64;
        for (int i = 1; i < 3; i++)
            if (!(expr->arg[i] = give_type(t, expr->arg[i], type)))
                return NULL;
    }
    expr->type = type;
    return folded(t, expr);
}

static Expr *type_operation(Typer *t, Expr *expr) {
    DType type;
    bool comparison = expr_info[expr->op].result == 'B';
    if (expr->op == EXPR_SELECT)
        return type_select(t, expr);
    if (!agree(t, expr, 0, &type))
        return NULL;
    if (type == DT_NONE && comparison) {
        type = has_float(expr) ? DT_F32 : DT_S64;
        for (int i = 0; i < 3 && expr->arg[i]; i++)
            if (!(expr->arg[i] = give_type(t, expr->arg[i], type)))
                return NULL;
    }
    if (type == DT_NONE)
        return expr; /* literals alone */
    if (!takes(expr, type)) {
        bind_error(t->b, expr->column, WHET_ERROR_FORMAT, "'%s' takes %s, not %s", operation_name(expr), what_takes(expr),
                   dtype_name(type));
        return NULL;
    }
    expr->type = comparison ? DT_BOOL : type;
    return folded(t, expr);
}

/* A literal is converted at once: f64(0.1) is the double nearest to 0.1. */
static Expr *type_cast(Typer *t, Expr *expr) {
    Expr *operand = expr->arg[0];
    if (!kernel_computes(expr->type)) {
        bind_error(t->b, expr->column, WHET_ERROR_UNSUPPORTED, "kernels do not compute with %s", dtype_name(expr->type));
        return NULL;
    }
    if (operand->type == DT_NONE && dtype_kind(expr->type) == KIND_FLOAT)
        return give_type(t, operand, expr->type);
    if (operand->type == DT_NONE)
        operand = give_type(t, operand, has_float(operand) ? DT_F64 : DT_S64);
    if (!operand || operand->type == expr->type)
        return operand;
    expr->arg[0] = operand;
    return folded(t, expr);
}

static Expr *type_reduce(Typer *t, Expr *expr) {
    Expr *operand = expr->arg[0] = give_default(t, expr->arg[0]);
    if (!operand)
        return NULL;
    bool logical = expr->reduce == REDUCE_ANY || expr->reduce == REDUCE_ALL;
    if (logical != (operand->type == DT_BOOL)) {
        bind_error(t->b, expr->column, WHET_ERROR_FORMAT, "'%s' takes %s, not %s", reduce_name[expr->reduce],
                   logical ? "bools" : "numbers", dtype_name(operand->type));
        return NULL;
    }
    expr->type = expr->reduce == REDUCE_ARGMAX || expr->reduce == REDUCE_ARGMIN ? DT_S64 : operand->type;
    return expr;
}

static bool type_index(Typer *t, Index *index) {
    Expr *expr = index->expr;
    if (expr->type == DT_NONE && !(expr = index->expr = give_type(t, expr, DT_S64)))
        return false;
    Kind kind = dtype_kind(expr->type);
    if (kind != KIND_SIGNED && kind != KIND_UNSIGNED)
        return bind_error(t->b, expr->column, WHET_ERROR_FORMAT, "an index is an integer, not %s", dtype_name(expr->type)), false;
    return true;
}

static Expr *type_read(Typer *t, Expr *expr) {
    DType type = t->b->kernel->tensors[expr->tensor].type;
    expr->type = type;
    for (int i = 0; i < expr->index_count; i++)
        if (!type_index(t, &expr->index[i]))
            return NULL;
    Expr *outside = expr->arg[0];
    if (!outside)
        return expr;
    if (outside->type == DT_NONE)
        outside = give_type(t, outside, type);
    if (outside && (outside->op != EXPR_NUMBER || outside->type != type)) {
        bind_error(t->b, outside->column, WHET_ERROR_FORMAT, "the value behind '?' is a constant of type %s", dtype_name(type));
        return NULL;
    }
    expr->arg[0] = outside;
    return outside ? expr : NULL;
}

static Expr *type_expr(Typer *t, Expr *expr) {
    switch (expr->op) {
    case EXPR_NUMBER: return expr;
    case EXPR_AXIS: expr->type = DT_S64; return expr;
    case EXPR_EXTENT:
        expr->op = EXPR_NUMBER;
        expr->integer = t->definition->axes[expr->axis].extent;
        expr->number = (double)expr->integer;
        expr->axis = -1;
        return expr;
    case EXPR_READ: return type_read(t, expr);
    case EXPR_CAST: return type_cast(t, expr);
    case EXPR_REDUCE: return type_reduce(t, expr);
    default: return type_operation(t, expr);
    }
}

static whet_status type_result(Typer *t, Expr *value) {
    Definition *d = t->definition;
    KernelTensor *tensor = &t->b->kernel->tensors[d->tensor];
    if (d->declared != DT_NONE && tensor->type != DT_NONE && tensor->type != d->declared)
        return bind_error(t->b, d->column, WHET_ERROR_FORMAT, "'%s' is %s here and %s elsewhere", tensor->name,
                          dtype_name(d->declared), dtype_name(tensor->type));
    DType wanted = tensor->type != DT_NONE ? tensor->type : d->declared;
    if (wanted != DT_NONE && value->type == DT_NONE)
        value = give_type(t, value, wanted);
    else
        value = give_default(t, value);
    if (!value)
        return t->b->err ? t->b->err->status : WHET_ERROR_FORMAT;
    if (wanted != DT_NONE && wanted != value->type)
        return bind_error(t->b, d->value->column, WHET_ERROR_FORMAT, "'%s' is %s and its value is %s: a cast is wanted",
                          tensor->name, dtype_name(wanted), dtype_name(value->type));
    tensor->type = d->declared = value->type;
    d->value = value;
    return WHET_OK;
}

static whet_status check_types(Typer *t) {
    for (int i = 0; i < t->b->kernel->tensor_count; i++) {
        const KernelTensor *tensor = &t->b->kernel->tensors[i];
        if (tensor->type != DT_NONE && !kernel_computes(tensor->type))
            return bind_error(t->b, tensor->column, WHET_ERROR_UNSUPPORTED, "'%s' is %s: kernels do not compute with it",
                              tensor->name, dtype_name(tensor->type));
    }
    return WHET_OK;
}

whet_status bind_types(Binder *b, Definition *d) {
    Typer t = {b, d, ARENA_ARRAY(b->arena, Expr *, (size_t)d->expr_count)};
    if (!t.now)
        return error_memory(b->err);
    whet_status status = check_types(&t);
    if (status)
        return status;
    for (int i = 0; i < d->expr_count; i++) {
        Expr *expr = d->exprs[i];
        for (int k = 0; k < 3 && expr->arg[k]; k++)
            expr->arg[k] = t.now[expr->arg[k]->id];
        for (int k = 0; k < expr->index_count; k++)
            expr->index[k].expr = t.now[expr->index[k].expr->id];
        t.now[i] = type_expr(&t, expr);
        if (!t.now[i])
            return b->err ? b->err->status : WHET_ERROR_FORMAT;
    }
    return type_result(&t, t.now[d->value->id]);
}
