/* Bytes in lanes of bytes. All else of narrow types is computed in lanes of 32 bits, beside wider ones; but where a pass knows
 * one type alone, and its operations give what that type holds, four times as many go at once: relu and clip of quantized values,
 * masks of booleans, which any number but 0 says. */
#include "schedule/map.h"

static bool is_narrow(const Expr *expr, DType type) {
    bool logic = expr->op == EXPR_NOT || expr->op == EXPR_AND || expr->op == EXPR_OR || expr->op == EXPR_XOR;
    bool extreme = expr->op == EXPR_MIN || expr->op == EXPR_MAX;
    if (expr->type != type)
        return false;
    if (expr->op == EXPR_READ)
        return !expr->guarded;
    if (expr->op == EXPR_NUMBER)
        return type != DT_BOOL;
    if (!(type == DT_BOOL ? logic : extreme))
        return false;
    for (int k = 0; k < 3; k++)
        if (expr->arg[k] && !is_narrow(expr->arg[k], type))
            return false;
    return true;
}

DType map_narrow_type(const MapPass *m) {
    const Access *write = &m->nest.access[0];
    const Expr *value = m->nest.definition->value;
    DType type = value->type;
    int column = -1;
    if (type != DT_U8 && type != DT_S8 && type != DT_BOOL)
        return DT_NONE;
    for (int x = 0; x < m->nest.axis_count; x++)
        if (write->stride[x] == 1)
            column = x;
    if (column < 0 || value->op == EXPR_READ || !is_narrow(value, type))
        return DT_NONE;
    for (int i = 1; i < m->nest.access_count; i++) {
        const Access *a = &m->nest.access[i];
        if (a->source != ACCESS_TENSOR || a->offsets[0] || (a->stride[column] != 0 && a->stride[column] != 1))
            return DT_NONE;
    }
    return type == DT_BOOL ? DT_U8 : type;
}

static int emit(ExprEmitter *e, const Expr *expr, int (*read)(ExprEmitter *, const Expr *)) {
    double value;
    DType lane = expr->type == DT_BOOL ? DT_U8 : expr->type;
    if (expr_known_number(e, expr, &value))
        return vector_const(e->f, lane, value);
    if (expr->op == EXPR_READ) {
        int x = read(e, expr);
        return expr->type == DT_BOOL ? vector_binary(e->f, VECTOR_MIN, x, vector_const(e->f, DT_U8, 1)) : x;
    }
    int a = map_emit_narrow(e, expr->arg[0], read);
    if (expr->op == EXPR_NOT)
        return vector_binary(e->f, VECTOR_XOR, a, vector_const(e->f, DT_U8, 1));
    int b = map_emit_narrow(e, expr->arg[1], read);
    VectorCode code = expr->op == EXPR_MIN   ? VECTOR_MIN
                      : expr->op == EXPR_MAX ? VECTOR_MAX
                      : expr->op == EXPR_AND ? VECTOR_AND
                      : expr->op == EXPR_OR  ? VECTOR_OR
                                             : VECTOR_XOR;
    return vector_binary(e->f, code, a, b);
}

int map_emit_narrow(ExprEmitter *e, const Expr *expr, int (*read)(ExprEmitter *, const Expr *)) {
    int *known = &e->known[expr->id];
    if (*known < 0)
        *known = emit(e, expr, read);
    return *known;
}
