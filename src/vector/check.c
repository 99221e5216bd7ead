/* The rules that every function keeps between passes. What breaks one is our own bug; the message names the pass and the place.
 */
#include "vector/vector.h"

#include <string.h>

typedef struct Checker {
    const VectorFunction *f;
    const char *pass;
    whet_error *err;
    bool *visible; /* by value: defined, and its loop is still open */
    int at;
} Checker;

static bool wrong(const Checker *c, const char *what) {
    error_set(c->err, WHET_ERROR_INTERNAL, "after %s, vector code '%s', operation %d (%s): %s", c->pass, c->f->name, c->at,
              c->at < c->f->op_count ? vector_info[c->f->ops[c->at].code].name : "end", what);
    return false;
}

static bool check_use(const Checker *c, int value, RegisterClass class, DType type) {
    if (value < 0 || value >= c->f->value_count)
        return wrong(c, "an operand that does not exist");
    if (!c->visible[value])
        return wrong(c, "an operand that is not defined here");
    if (c->f->values[value].class != class)
        return wrong(c, "an operand of the wrong class");
    if (type != DT_NONE && c->f->values[value].type != type)
        return wrong(c, "an operand of the wrong type");
    return true;
}

static bool type_allowed(char types, const VectorOp *op) {
    switch (types) {
    case 'F': return op->type == DT_F32 || op->type == DT_F64;
    case 'I': return op->type == DT_S32 || op->type == DT_S16;
    case 'S': return op->type == DT_S32;
    case 'L': return op->type == DT_S64;
    case 'K': return op->type == DT_S32 || op->type == DT_S16 || op->type == DT_S64;
    case 'W': return op->type == DT_S32 || op->type == DT_S64;
    case 'N': return dtype_bits(op->type) <= 64 && op->type != DT_F16 && op->type != DT_BF16 && op->type != DT_NONE;
    case '-': return op->type == DT_NONE;
    default: return op->type != DT_NONE;
    }
}

static bool check_address(const Checker *c, const VectorAddress *a) {
    if (!check_use(c, a->base, CLASS_POINTER, DT_NONE))
        return false;
    for (int t = 0; t < a->terms; t++)
        if (!check_use(c, a->term[t].index, CLASS_INDEX, DT_NONE))
            return false;
    return true;
}

static bool check_plain(const Checker *c, const VectorOp *op) {
    const VectorInfo *info = &vector_info[op->code];
    if (!type_allowed(info->types[0], op))
        return wrong(c, "an element type the operation does not have");
    for (int k = 0, args = vector_arg_count(op->code); k < args; k++) {
        RegisterClass class = VECTOR_CLASS(info->args[k]);
        DType type = info->args[k] == 'V' ? op->type : DT_NONE; /* W operands may differ among each other (u8 * s8) */
        if (op->code == VECTOR_GATHER || (op->code == VECTOR_PERMUTE && k == 1) || (op->code == VECTOR_PICK && k == 2) ||
            op->code == VECTOR_LOOKUP || op->code == VECTOR_LOOKUP_PAIR)
            type = DT_S32;
        if (!check_use(c, op->arg[k], class, type))
            return false;
    }
    int tables = op->code == VECTOR_LOOKUP_PAIR ? 2 : op->code == VECTOR_LOOKUP;
    if (tables && (op->type != DT_F32 || !(op->number >= 0 && op->number <= VECTOR_TABLE_COUNT - tables)))
        return wrong(c, "a table that does not exist");
    if (vector_has(op->code, 'A') && !check_address(c, &op->address))
        return false;
    if (vector_has(op->code, '*') && (op->step < 0 || op->step > VECTOR_MAX_BYTES / 4))
        return wrong(c, "a tile of more rows than there are");
    if (op->mask >= 0 && (!vector_has(op->code, '?') || !check_use(c, op->mask, CLASS_MASK, DT_NONE) ||
                          dtype_bits(c->f->values[op->mask].type) != dtype_bits(op->type)))
        return wrong(c, "a mask that does not fit");
    return true;
}

static bool check_loop(Checker *c, const VectorOp *op) {
    const VectorFunction *f = c->f;
    if (op->step <= 0 || op->other <= c->at || op->other >= f->op_count || f->ops[op->other].code != VECTOR_END ||
        f->ops[op->other].other != c->at || f->ops[op->other].carry_count != op->carry_count)
        return wrong(c, "a loop that does not match its end");
    if (op->limit >= 0 && !check_use(c, op->limit, CLASS_INDEX, DT_NONE))
        return false;
    const int *ids = f->ids + op->carried, n = op->carry_count;
    for (int i = 0; i < n; i++) {
        const VectorValue *inside = &f->values[ids[n + i]];
        if (!check_use(c, ids[i], inside->class, inside->type))
            return false;
    }
    c->visible[op->result] = true;
    for (int i = 0; i < n; i++)
        c->visible[ids[n + i]] = true;
    return true;
}

static bool check_end(Checker *c, const VectorOp *op) {
    const VectorFunction *f = c->f;
    const VectorOp *head = &f->ops[op->other];
    const int *ids = f->ids + op->carried, *inside = f->ids + head->carried, n = op->carry_count;
    for (int i = 0; i < n; i++)
        if (!check_use(c, ids[i], f->values[inside[n + i]].class, f->values[inside[n + i]].type))
            return false;
    for (int v = 0; v < f->value_count; v++) /* what the body defined is gone */
        if (f->values[v].op >= op->other && f->values[v].op < c->at)
            c->visible[v] = false;
    for (int i = 0; i < n; i++)
        c->visible[ids[n + i]] = true;
    return true;
}

whet_status vector_check(const VectorFunction *f, const char *pass, whet_error *err) {
    whet_error mine;
    Arena arena;
    arena_init(&arena, NULL);
    Checker c = {
        .f = f, .pass = pass, .err = err ? err : &mine, .visible = ARENA_ARRAY(&arena, bool, (size_t)f->value_count + 1)};
    bool ok = c.visible != NULL;
    if (!ok)
        error_memory(c.err);
    for (int v = 0; ok && v < f->parameter_count; v++)
        c.visible[v] = true;
    for (c.at = 0; ok && c.at < f->op_count; c.at++) {
        const VectorOp *op = &f->ops[c.at];
        ok = op->code == VECTOR_LOOP ? check_loop(&c, op) : op->code == VECTOR_END ? check_end(&c, op) : check_plain(&c, op);
        if (ok && op->result >= 0)
            c.visible[op->result] = true;
    }
    arena_free(&arena);
    return ok ? WHET_OK : c.err->status;
}
