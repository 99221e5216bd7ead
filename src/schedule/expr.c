/* Expressions of the notation as vector code, f32 and bool. Every operation rounds by itself, as in the evaluator. */
#include "schedule/schedule.h"

#include <math.h>

static int refuse(ExprEmitter *e, const char *why) {
    if (!e->refused)
        e->refused = why;
    return -1;
}

static int number(ExprEmitter *e, double value) {
    return vector_const(e->f, DT_F32, value);
}

static int absolute(ExprEmitter *e, int x) {
    return vector_binary(e->f, VECTOR_AND_NOT, number(e, -0.0), x);
}

static const struct {
    ExprOp op;
    VectorCode code;
    bool swapped;
} binaries[] = {
    {EXPR_ADD, VECTOR_ADD, false}, {EXPR_SUB, VECTOR_SUB, false}, {EXPR_MUL, VECTOR_MUL, false}, {EXPR_DIV, VECTOR_DIV, false},
    {EXPR_MIN, VECTOR_MIN, false}, {EXPR_MAX, VECTOR_MAX, false}, {EXPR_EQ, VECTOR_EQ, false},   {EXPR_NE, VECTOR_NE, false},
    {EXPR_LT, VECTOR_LT, false},   {EXPR_LE, VECTOR_LE, false},   {EXPR_GT, VECTOR_LT, true},    {EXPR_GE, VECTOR_LE, true},
};
static const struct {
    ExprOp op;
    VectorCode code;
} unaries[] = {
    {EXPR_SQRT, VECTOR_SQRT},   {EXPR_FLOOR, VECTOR_FLOOR}, {EXPR_CEIL, VECTOR_CEIL},
    {EXPR_TRUNC, VECTOR_TRUNC}, {EXPR_ROUND, VECTOR_ROUND},
};

static int emit_mask(ExprEmitter *e, const Expr *expr) {
    static const struct {
        ExprOp op;
        VectorCode code;
    } logic[] = {{EXPR_AND, VECTOR_MASK_AND}, {EXPR_OR, VECTOR_MASK_OR}, {EXPR_XOR, VECTOR_MASK_XOR}, {EXPR_NE, VECTOR_MASK_XOR}};
    for (size_t i = 0; i < COUNT(logic); i++)
        if (expr->op == logic[i].op) {
            int a = expr_emit(e, expr->arg[0]), b = expr_emit(e, expr->arg[1]);
            return e->refused ? -1 : vector_binary(e->f, logic[i].code, a, b);
        }
    return refuse(e, "an operation on booleans");
}

static int emit_not(ExprEmitter *e, const Expr *expr) {
    if (expr->op != EXPR_NOT)
        return refuse(e, "an operation on booleans");
    int mask = expr_emit(e, expr->arg[0]);
    return e->refused ? -1
                      : vector_binary(e->f, VECTOR_MASK_XOR, mask, vector_mask_first(e->f, DT_F32, vector_lanes(e->f, DT_F32)));
}

static int emit_unary(ExprEmitter *e, const Expr *expr) {
    int x = expr_emit(e, expr->arg[0]);
    if (e->refused)
        return -1;
    for (size_t i = 0; i < COUNT(unaries); i++)
        if (unaries[i].op == expr->op)
            return vector_unary(e->f, unaries[i].code, x);
    switch (expr->op) {
    case EXPR_NEG: return vector_binary(e->f, VECTOR_XOR, x, number(e, -0.0));
    case EXPR_ABS: return absolute(e, x);
    case EXPR_ISNAN: return vector_binary(e->f, VECTOR_UNORDERED, x, x);
    case EXPR_ISINF: return vector_binary(e->f, VECTOR_EQ, absolute(e, x), number(e, INFINITY));
    default: break;
    }
    int y = math_emit(e->f, expr->op, x);
    return y >= 0 || e->f->failed ? y : refuse(e, expr_info[expr->op].name);
}

/* A number, or a tensor of one element that is known now. */
static bool known_number(const ExprEmitter *e, const Expr *expr, double *out) {
    if (expr->op == EXPR_NUMBER) {
        *out = expr->number;
        return true;
    }
    if (expr->op != EXPR_READ || expr->type != DT_F32 || expr->guarded || !e->constant || !e->constant[expr->tensor] ||
        e->kernel->tensors[expr->tensor].count != 1)
        return false;
    *out = *(const float *)e->constant[expr->tensor];
    return true;
}

/* Powers that are written for what they are. Others would need a logarithm of more than 24 bits. */
static int emit_power(ExprEmitter *e, const Expr *expr) {
    double power;
    if (!known_number(e, expr->arg[1], &power))
        return refuse(e, "pow");
    if (power != 2 && power != 3 && power != 1 && power != -1)
        return refuse(e, "pow");
    int x = expr_emit(e, expr->arg[0]);
    if (e->refused || power == 1)
        return x;
    if (power == -1)
        return vector_binary(e->f, VECTOR_DIV, number(e, 1), x);
    int square = vector_binary(e->f, VECTOR_MUL, x, x);
    return power == 2 ? square : vector_binary(e->f, VECTOR_MUL, square, x);
}

static int emit_select(ExprEmitter *e, const Expr *expr) {
    int mask = expr_emit(e, expr->arg[0]), yes = expr_emit(e, expr->arg[1]), no = expr_emit(e, expr->arg[2]);
    return e->refused ? -1 : vector_ternary(e->f, VECTOR_SELECT, mask, yes, no);
}

static bool type_served(const Expr *expr) {
    if (expr->type == DT_BOOL)
        return expr->op < EXPR_OP_COUNT;
    return expr->type == DT_F32;
}

bool expr_start(ExprEmitter *e, Arena *arena) {
    e->known = ARENA_ARRAY(arena, int, (size_t)e->definition->expr_count + 1);
    if (e->known)
        expr_forget(e);
    return e->known != NULL;
}

void expr_forget(ExprEmitter *e) {
    for (int i = 0; i < e->definition->expr_count; i++)
        e->known[i] = -1;
}

void expr_know(ExprEmitter *e, const Expr *expr, int value) {
    e->known[expr->id] = value;
}

static int emit(ExprEmitter *e, const Expr *expr);

int expr_emit(ExprEmitter *e, const Expr *expr) {
    if (e->refused)
        return -1;
    int *known = &e->known[expr->id];
    if (*known < 0 && e->special)
        *known = e->special(e, expr);
    if (*known < 0 && !e->refused)
        *known = emit(e, expr);
    return *known;
}

static int emit(ExprEmitter *e, const Expr *expr) {
    if (!type_served(expr))
        return refuse(e, "an element type other than f32");
    double value;
    switch (expr->op) {
    case EXPR_NUMBER: return number(e, expr->number);
    case EXPR_READ: return known_number(e, expr, &value) ? number(e, value) : e->read(e, expr);
    case EXPR_SELECT: return emit_select(e, expr);
    case EXPR_POW: return emit_power(e, expr);
    case EXPR_REDUCE: return refuse(e, "more than one reduction");
    case EXPR_CAST: return expr->arg[0]->type == expr->type ? expr_emit(e, expr->arg[0]) : refuse(e, "a conversion of types");
    case EXPR_AXIS:
    case EXPR_EXTENT: return refuse(e, "an axis used as a number");
    default: break;
    }
    if (expr_info[expr->op].arity == 1)
        return expr->arg[0]->type == DT_BOOL ? emit_not(e, expr) : emit_unary(e, expr);
    if (expr->arg[0]->type == DT_BOOL)
        return emit_mask(e, expr);
    for (size_t i = 0; i < COUNT(binaries); i++)
        if (binaries[i].op == expr->op) {
            int a = expr_emit(e, expr->arg[0]), b = expr_emit(e, expr->arg[1]);
            if (e->refused)
                return -1;
            return binaries[i].swapped ? vector_binary(e->f, binaries[i].code, b, a)
                                       : vector_binary(e->f, binaries[i].code, a, b);
        }
    return refuse(e, expr_info[expr->op].name);
}
