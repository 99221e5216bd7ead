/* Equal expressions of a definition become one, so that nothing is computed twice, however it was written. */
#include <string.h>

#include "kernel/bind.h"

/* In line, for there is one for each field of each expression. */
static inline uint64_t mix(uint64_t hash, uint64_t value) {
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static uint64_t number_bits(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Operands are shared already, so their ids tell them apart. */
static uint64_t hash_expr(const Definition *d, const Expr *e) {
    uint64_t hash = mix((uint64_t)e->op, (uint64_t)e->type);
    for (int i = 0; i < 3; i++)
        hash = mix(hash, e->arg[i] ? (uint64_t)e->arg[i]->id + 1 : 0);
    if (e->op == EXPR_NUMBER)
        return mix(mix(hash, number_bits(e->number)), (uint64_t)e->integer);
    hash = mix(mix(hash, (uint64_t)(e->axis + 1)), (uint64_t)(e->tensor + 1));
    for (int i = 0; i < e->index_count; i++) {
        const Index *index = &e->index[i];
        hash = mix(hash, index->affine ? (uint64_t)index->offset : (uint64_t)index->expr->id);
        if (index->affine)
            for (int a = 0; a < d->axis_count; a++)
                hash = mix(hash, (uint64_t)index->coef[a]);
    }
    for (int i = 0; i < e->axis_count; i++)
        hash = mix(hash, (uint64_t)e->axes[i]);
    return mix(hash, (uint64_t)e->reduce * 2 + e->guarded);
}

static bool same_index(const Definition *d, const Index *x, const Index *y) {
    return x->affine || y->affine ? index_equals(d, x, y) : x->expr == y->expr;
}

static bool same(const Definition *d, const Expr *x, const Expr *y) {
    if (x->op != y->op || x->type != y->type)
        return false;
    for (int i = 0; i < 3; i++)
        if (x->arg[i] != y->arg[i])
            return false;
    if (x->op == EXPR_NUMBER)
        return number_bits(x->number) == number_bits(y->number) && x->integer == y->integer;
    if (x->axis != y->axis || x->tensor != y->tensor || x->guarded != y->guarded || x->reduce != y->reduce ||
        x->axis_count != y->axis_count || x->index_count != y->index_count)
        return false;
    for (int i = 0; i < x->axis_count; i++)
        if (x->axes[i] != y->axes[i])
            return false;
    for (int i = 0; i < x->index_count; i++)
        if (!same_index(d, &x->index[i], &y->index[i]))
            return false;
    return true;
}

bool bind_share(Arena *arena, Definition *d) {
    if (!definition_collect(arena, d))
        return false;
    size_t slots = 16;
    while (slots < (size_t)d->expr_count * 2)
        slots *= 2;
    Expr **table = ARENA_ARRAY(arena, Expr *, slots);
    Expr **one = ARENA_ARRAY(arena, Expr *, (size_t)d->expr_count);
    if (!table || !one)
        return false;
    for (int i = 0; i < d->expr_count; i++) {
        Expr *e = d->exprs[i];
        for (int k = 0; k < 3; k++)
            e->arg[k] = e->arg[k] ? one[e->arg[k]->id] : NULL;
        for (int k = 0; k < e->index_count; k++)
            if (!e->index[k].affine)
                e->index[k].expr = one[e->index[k].expr->id];
        size_t slot = hash_expr(d, e) & (slots - 1);
        while (table[slot] && !same(d, table[slot], e))
            slot = (slot + 1) & (slots - 1);
        if (!table[slot])
            table[slot] = e;
        one[i] = table[slot];
    }
    d->value = one[d->value->id];
    return definition_collect(arena, d);
}
