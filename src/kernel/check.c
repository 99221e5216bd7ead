/* The rules that a kernel keeps between passes. A broken one is a bug of ours, in the pass that is named. */
#include "kernel/internal.h"

typedef struct Checker {
    const Kernel *kernel;
    const Definition *definition;
    const char *broken; /* the first rule that is */
} Checker;

static void require(Checker *c, bool kept, const char *rule) {
    if (!kept && !c->broken)
        c->broken = rule;
}

static void check_index(Checker *c, const Index *index) {
    if (!c->kernel->bound)
        require(c, index->expr != NULL, "an index has an expression");
    else if (index->affine)
        require(c, index->coef != NULL, "an affine index has coefficients");
    else
        require(c, index->expr && dtype_is_integer(index->expr->type), "an index is an integer");
}

static void check_read(Checker *c, const Expr *e) {
    require(c, e->tensor >= 0 && e->tensor < c->kernel->tensor_count, "a read names a tensor");
    if (c->broken)
        return;
    const KernelTensor *tensor = &c->kernel->tensors[e->tensor];
    for (int i = 0; i < e->index_count; i++)
        check_index(c, &e->index[i]);
    if (!c->kernel->bound)
        return;
    require(c, !e->leading, "'..' is written out");
    require(c, tensor->rank == e->index_count, "a read has an index for every dimension");
    require(c, tensor->type == e->type, "a read has the type of its tensor");
    require(c, !e->arg[0] || (e->guarded && e->arg[0]->op == EXPR_NUMBER && e->arg[0]->type == e->type),
            "the value behind '?' is a number of the tensor's type");
}

static void check_operation(Checker *c, const Expr *e) {
    const ExprInfo *info = &expr_info[e->op];
    for (int i = 0; i < 3; i++)
        require(c, (e->arg[i] != NULL) == (i < info->arity), "an operation has all its operands");
    if (!c->kernel->bound || c->broken)
        return;
    int from = e->op == EXPR_SELECT;
    for (int i = from + 1; i < info->arity; i++)
        require(c, e->arg[i]->type == e->arg[from]->type, "operands are of one type");
    require(c, e->op != EXPR_SELECT || e->arg[0]->type == DT_BOOL, "a condition is a bool");
    require(c, e->type == (info->result == 'B' ? DT_BOOL : e->arg[from]->type), "an operation has the type of its row");
}

static void check_reduce(Checker *c, const Expr *e) {
    require(c, e->arg[0] && e->axis_count > 0 && e->reduce < REDUCE_COUNT, "a reduction has axes and an operand");
    for (int i = 0; i < e->axis_count; i++)
        require(c, e->axes[i] >= c->definition->parallel_count && e->axes[i] < c->definition->axis_count,
                "a reduction's axes are reduced ones");
}

static void check_expr(Checker *c, const Expr *e, int place) {
    require(c, e->depth <= KERNEL_MAX_DEPTH, "expressions are not too deep");
    if (c->kernel->bound) {
        require(c, e->id == place, "an expression knows its place");
        require(c, e->type != DT_NONE, "every expression has a type");
        for (int i = 0; i < 3; i++)
            require(c, !e->arg[i] || e->op == EXPR_READ || e->arg[i]->id < place, "operands come before users");
    }
    if (e->op == EXPR_READ)
        check_read(c, e);
    else if (e->op == EXPR_REDUCE)
        check_reduce(c, e);
    else if (e->op < EXPR_OP_COUNT)
        check_operation(c, e);
    else if (e->op == EXPR_AXIS)
        require(c, e->axis >= 0 && e->axis < c->definition->axis_count, "an axis is one of the definition's");
    else if (c->kernel->bound)
        require(c, e->op == EXPR_NUMBER || e->op == EXPR_CAST, "names and sizes are resolved");
}

static void check_definition(Checker *c) {
    const Definition *d = c->definition;
    require(c, d->tensor >= c->kernel->input_count && d->tensor < c->kernel->tensor_count, "no input is defined");
    require(c, d->axis_count <= KERNEL_MAX_AXES && d->parallel_count <= d->axis_count, "axes are counted");
    for (int a = 0; a < d->axis_count; a++) {
        require(c, d->axes[a].reduced == (a >= d->parallel_count), "the left side's axes come first");
        require(c, !c->kernel->bound || d->axes[a].extent >= 0, "extents are known");
    }
    for (int k = 0; k < d->left_count; k++) {
        check_index(c, &d->left[k]);
        require(c, !c->kernel->bound || d->left[k].affine, "a left side is affine");
    }
    for (int i = 0; i < d->expr_count; i++)
        check_expr(c, d->exprs[i], i);
    if (!c->kernel->bound || c->broken)
        return;
    require(c, d->left_count == c->kernel->tensors[d->tensor].rank, "a left side has an index for every dimension");
    require(c, d->value->type == c->kernel->tensors[d->tensor].type, "a definition has the type of its tensor");
}

static void check_tensor(Checker *c, int t) {
    const KernelTensor *tensor = &c->kernel->tensors[t];
    require(c, tensor->name != NULL, "a tensor has a name");
    require(c, (tensor->role == ROLE_INPUT) == (t < c->kernel->input_count), "inputs come first");
    if (!c->kernel->bound)
        return;
    int64_t count;
    require(c, tensor->type != DT_NONE && tensor->rank >= 0, "tensors have types and shapes");
    require(c, tensor->rank < 0 || (checked_count(tensor->dims, tensor->rank, &count) && count == tensor->count),
            "a tensor knows its count");
}

whet_status kernel_check(const Kernel *kernel, const char *pass, whet_error *err) {
    Checker c = {kernel, NULL, NULL};
    for (int t = 0; t < kernel->tensor_count; t++)
        check_tensor(&c, t);
    for (int d = 0; !c.broken && d < kernel->definition_count; d++) {
        c.definition = &kernel->definitions[d];
        check_definition(&c);
    }
    if (c.broken)
        return error_set(err, WHET_ERROR_INTERNAL, "after %s, a kernel breaks the rule: %s", pass, c.broken);
    return WHET_OK;
}
