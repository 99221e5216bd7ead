/* The canonical text of a kernel: one form for equal kernels, which parses to the same kernel again.
 *
 * A bound kernel has a head line a tensor, the extents of reductions, indices in normal form, and numbers such that their types
 * follow from where they stand (or from a cast around them). */
#include <math.h>

#include "kernel/internal.h"

enum { REDUCE_PRECEDENCE = 55, PRODUCT_PRECEDENCE = 60, UNARY_PRECEDENCE = 70, CALL_PRECEDENCE = 100 };

typedef struct Printer {
    const Kernel *kernel;
    const Definition *definition;
    Text *out;
    bool left; /* in a left side before bind: axes with the extents that were written */
} Printer;

static void print(const Printer *p, const Expr *expr, int least, bool typed);

/* ---- Numbers ---- */

static bool is_float_number(const Expr *expr) {
    return expr->type == DT_NONE ? expr->is_float : dtype_kind(expr->type) == KIND_FLOAT;
}

static void print_float(const Printer *p, const Expr *expr) {
    if (isnan(expr->number))
        text_put(p->out, "nan"); /* whatever its sign */
    else if (expr->type == DT_F64 || expr->type == DT_NONE)
        text_double(p->out, expr->number);
    else
        text_float(p->out, (float)expr->number);
}

static void print_value(const Printer *p, const Expr *expr) {
    if (expr->type == DT_BOOL)
        text_put(p->out, expr->integer ? "true" : "false");
    else if (is_float_number(expr))
        print_float(p, expr);
    else if (expr->number < 0)
        text_printf(p->out, "%lld", (long long)expr->integer);
    else
        text_printf(p->out, "%llu", (unsigned long long)expr->integer);
}

/* `typed`: the place decides the type. Otherwise a number is f32 or s64 by its form, and others bear a cast. */
static void print_number(const Printer *p, const Expr *expr, bool typed) {
    bool plain = typed || expr->type == DT_NONE || expr->type == DT_F32 || expr->type == DT_S64 || expr->type == DT_BOOL;
    if (!plain)
        text_printf(p->out, "%s(", dtype_name(expr->type));
    print_value(p, expr);
    if (!plain)
        text_char(p->out, ')');
}

/* ---- Indices ---- */

static void print_term(const Printer *p, int64_t coef, const char *name, bool first) {
    bool minus = coef < 0;
    uint64_t size = minus ? 0 - (uint64_t)coef : (uint64_t)coef;
    text_put(p->out, first ? (minus ? "-" : "") : minus ? " - " : " + ");
    if (!name)
        text_printf(p->out, "%llu", (unsigned long long)size);
    else if (size == 1)
        text_put(p->out, name);
    else
        text_printf(p->out, "%llu*%s", (unsigned long long)size, name);
}

/* An index that is an axis says that the axis is as long as the dimension; where it is not, `+ 0` is added. */
static void print_affine(const Printer *p, const Index *index, int64_t dim, bool left) {
    const Definition *d = p->definition;
    bool first = true;
    int64_t extent = -1;
    int terms = 0, axes = 0;
    for (int a = 0; a < d->axis_count; a++)
        axes += index->coef[a] != 0;
    for (int a = 0; a < d->axis_count; a++) {
        if (index->coef[a] == 0)
            continue;
        print_term(p, index->coef[a], d->axes[a].name, first);
        if (left && (index->coef[a] != 1 || index->offset != 0 || axes > 1 || d->axes[a].extent != dim))
            text_printf(p->out, ":%lld", (long long)d->axes[a].extent);
        extent = index->coef[a] == 1 ? d->axes[a].extent : -1;
        first = false;
        terms++;
    }
    if (terms == 0 || index->offset != 0 || (terms == 1 && extent >= 0 && extent != dim))
        print_term(p, index->offset, NULL, first);
}

static void print_indices(const Printer *p, int tensor, const Index *index, int count, bool leading, bool left) {
    const int64_t *dims = p->kernel->tensors[tensor].dims;
    text_char(p->out, '[');
    if (leading)
        text_put(p->out, count ? ".., " : "..");
    for (int i = 0; i < count; i++) {
        if (i)
            text_put(p->out, ", ");
        if (index[i].affine)
            print_affine(p, &index[i], dims[i], left);
        else
            print(p, index[i].expr, 0, false);
    }
    text_char(p->out, ']');
}

/* ---- Expressions ---- */

static void print_read(const Printer *p, const Expr *expr) {
    text_put(p->out, p->kernel->tensors[expr->tensor].name);
    print_indices(p, expr->tensor, expr->index, expr->index_count, expr->leading, false);
    if (!expr->guarded)
        return;
    text_char(p->out, '?');
    if (expr->arg[0]) {
        text_char(p->out, '(');
        print(p, expr->arg[0], 0, true);
        text_char(p->out, ')');
    }
}

static void print_axis_extent(const Printer *p, const Axis *axis) {
    if (axis->extent_name)
        text_printf(p->out, ":%s", axis->extent_name);
    else if (axis->extent >= 0)
        text_printf(p->out, ":%lld", (long long)axis->extent);
}

static void print_axis(const Printer *p, const Axis *axis, bool with_extent) {
    text_put(p->out, axis->name);
    if (with_extent)
        print_axis_extent(p, axis);
}

/* Would the printed operand begin with a sign? A NaN is printed without its own. */
static bool begins_with_sign(const Expr *expr) {
    while (expr->op < EXPR_OP_COUNT && expr_info[expr->op].arity == 2 && expr_info[expr->op].precedence >= PRODUCT_PRECEDENCE)
        expr = expr->arg[0];
    return expr->op == EXPR_NEG || expr->op == EXPR_NOT ||
           (expr->op == EXPR_NUMBER && signbit(expr->number) && !isnan(expr->number));
}

static void print_reduce(const Printer *p, const Expr *expr) {
    text_printf(p->out, "%s(", reduce_name[expr->reduce]);
    for (int i = 0; i < expr->axis_count; i++) {
        text_put(p->out, i ? ", " : "");
        print_axis(p, &p->definition->axes[expr->axes[i]], true);
    }
    text_put(p->out, ") ");
    /* max(k) -x would be the function max; behind parentheses it cannot be. */
    bool function_too = expr->reduce == REDUCE_MAX || expr->reduce == REDUCE_MIN;
    bool parentheses = function_too && begins_with_sign(expr->arg[0]);
    print(p, expr->arg[0], parentheses ? CALL_PRECEDENCE + 1 : PRODUCT_PRECEDENCE, false);
}

static void print_call(const Printer *p, const Expr *expr, const char *name, int arity) {
    text_printf(p->out, "%s(", name);
    bool typed[3] = {false, false, false}; /* a number takes the type of the others */
    int from = expr->op == EXPR_SELECT;
    for (int i = from; i < arity; i++)
        for (int j = from; j < arity; j++)
            typed[i] |= i != j && expr->arg[j]->op != EXPR_NUMBER;
    for (int i = 0; i < arity; i++) {
        if (i)
            text_put(p->out, ", ");
        print(p, expr->arg[i], 0, typed[i]);
    }
    text_char(p->out, ')');
}

static void print_operator(const Printer *p, const Expr *expr) {
    const ExprInfo *info = &expr_info[expr->op];
    if (!*info->symbol) {
        print_call(p, expr, info->name, info->arity);
    } else if (info->arity == 1) {
        text_put(p->out, info->symbol);
        print(p, expr->arg[0], UNARY_PRECEDENCE, false);
    } else {
        print(p, expr->arg[0], info->precedence, expr->arg[1]->op != EXPR_NUMBER);
        text_printf(p->out, " %s ", info->symbol);
        print(p, expr->arg[1], info->precedence + 1, expr->arg[0]->op != EXPR_NUMBER);
    }
}

static int precedence(const Expr *expr) {
    if (expr->op == EXPR_REDUCE)
        return REDUCE_PRECEDENCE;
    if (expr->op >= EXPR_OP_COUNT || !*expr_info[expr->op].symbol)
        return CALL_PRECEDENCE;
    return expr_info[expr->op].precedence;
}

static void print_bare(const Printer *p, const Expr *expr, bool typed) {
    switch (expr->op) {
    case EXPR_NUMBER: print_number(p, expr, typed); break;
    case EXPR_AXIS: print_axis(p, &p->definition->axes[expr->axis], p->left); break;
    case EXPR_EXTENT: text_printf(p->out, "size(%s)", p->definition->axes[expr->axis].name); break;
    case EXPR_NAME: text_put(p->out, expr->name); break;
    case EXPR_READ: print_read(p, expr); break;
    case EXPR_CAST: print_call(p, expr, dtype_name(expr->type), 1); break;
    case EXPR_REDUCE: print_reduce(p, expr); break;
    default: print_operator(p, expr); break;
    }
}

static void print(const Printer *p, const Expr *expr, int least, bool typed) {
    bool parentheses = precedence(expr) < least;
    if (parentheses)
        text_char(p->out, '(');
    print_bare(p, expr, typed);
    if (parentheses)
        text_char(p->out, ')');
}

/* ---- Definitions ---- */

static void print_head(const KernelTensor *tensor, Text *out) {
    static const char *const words[] = {"in", "tmp", "out"}; /* in the order of Role */
    text_printf(out, "%s %s: %s[", words[tensor->role], tensor->name, dtype_name(tensor->type));
    for (int i = 0; i < tensor->rank; i++)
        text_printf(out, "%s%lld", i ? ", " : "", (long long)tensor->dims[i]);
    text_put(out, "]\n");
}

/* In text without heads, `out` stands before the first definition of an output that is read. */
static bool needs_out(const Kernel *kernel, int index) {
    int t = kernel->definitions[index].tensor;
    if (!kernel->tensors[t].exported || kernel->tensors[t].type != DT_NONE)
        return false;
    for (int d = 0; d < index; d++)
        if (kernel->definitions[d].tensor == t)
            return false;
    return true;
}

static void print_left(const Printer *p, const Definition *d) {
    text_put(p->out, p->kernel->tensors[d->tensor].name);
    if (p->kernel->bound) {
        print_indices(p, d->tensor, d->left, d->left_count, false, true);
        return;
    }
    print_indices(&(Printer){p->kernel, d, p->out, true}, d->tensor, d->left, d->left_count, d->leading, true);
}

void kernel_print(const Kernel *kernel, Text *out) {
    for (int t = 0; t < kernel->tensor_count; t++)
        if (kernel->tensors[t].type != DT_NONE && kernel->tensors[t].rank >= 0)
            print_head(&kernel->tensors[t], out);
    for (int i = 0; i < kernel->definition_count; i++) {
        const Definition *d = &kernel->definitions[i];
        Printer p = {kernel, d, out, false};
        if (needs_out(kernel, i))
            text_put(out, "out ");
        print_left(&p, d);
        if (d->declared != DT_NONE && !kernel->bound)
            text_printf(out, ": %s", dtype_name(d->declared));
        text_put(out, " = ");
        print(&p, d->value, 0, kernel->bound);
        text_char(out, '\n');
    }
}
