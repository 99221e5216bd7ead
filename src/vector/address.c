/* Lowers addresses for machines: pointer + affine terms + constant becomes pointer + constant.
 *
 * Requires: any function. Recreates: every address has no terms (or the one that may stay); constants that are to be hoisted
 * stand before the first loop. Breaks: nothing.
 *
 * Addresses that differ in their constant alone share one pointer. Terms are sorted from the outermost counter to the
 * innermost; each prefix of an address is a pointer of its own, which the loop of its last counter carries and steps by
 * coef * step. So `[a + 3072*m + 4*k + 64]` costs one addition a round of m and one a round of k, whatever the coefficients. */
#include "vector/copy.h"

#include <string.h>

enum { MAX_GROUPS = 128 };

typedef struct Group {
    int base, terms;
    struct {
        int index;
        int64_t coef;
    } term[VECTOR_MAX_TERMS];
    int parent;  /* the group without the last term; -1: the base itself */
    int current; /* the pointer in the new function, where its loop is open */
} Group;

typedef struct Lowering {
    VectorCopy copy;
    Group *group;
    size_t group_capacity;
    int group_count;
    int *group_of; /* by operation: the group of its address, -1: the base alone */
    int *index_of; /* by operation: the counter that stays in its address, times coef_of; -1: none */
    int *coef_of;
    const VectorHoisted *hoisted;
    int constant[VECTOR_MAX_HOISTED]; /* the values of these */
    int innermost_end;                /* of the innermost loop that is open or was */
    bool indexed, too_many;
} Lowering;

static int depth_key(const VectorFunction *f, int index) {
    return f->values[index].op; /* parameters: -1, before every loop; otherwise the position of the loop */
}

/* Of the base and the first `terms` terms. */
static int find_group(Lowering *l, const Group *g, int terms) {
    for (int i = 0; i < l->group_count; i++) {
        const Group *h = &l->group[i];
        bool same = h->base == g->base && h->terms == terms;
        for (int t = 0; same && t < terms; t++)
            same = h->term[t].index == g->term[t].index && h->term[t].coef == g->term[t].coef;
        if (same)
            return i;
    }
    return -1;
}

/* The same, made with its prefixes if new. */
static int intern(Lowering *l, const Group *g, int terms) {
    int found = terms ? find_group(l, g, terms) : -1;
    if (!terms || found >= 0)
        return found;
    int parent = intern(l, g, terms - 1);
    Arena *arena = l->copy.to->arena;
    if (l->group_count == MAX_GROUPS) {
        l->too_many = true;
        return -1;
    }
    if (!arena_grow(arena, &l->group, &l->group_capacity, (size_t)l->group_count + 1, sizeof *l->group))
        return -1; /* the arena's failure is sticky, and vector_finish asks it */
    Group *own = &l->group[l->group_count];
    *own = *g;
    own->terms = terms;
    own->parent = parent;
    own->current = -1;
    return l->group_count++;
}

/* A term that instructions can say: an index times 1, 2, 4 or 8. */
static bool stays(const Lowering *l, int64_t coef) {
    return l->indexed && (coef == 1 || coef == 2 || coef == 4 || coef == 8);
}

static void group_address(Lowering *l, int op, const VectorAddress *a) {
    const VectorFunction *f = l->copy.from;
    Group g; /* only its terms are set: it is copied where it is new */
    g.base = a->base;
    g.terms = 0;
    for (int t = 0; t < a->terms; t++) {
        if (!a->term[t].coef)
            continue;
        int at = g.terms++;
        for (; at > 0 && depth_key(f, g.term[at - 1].index) > depth_key(f, a->term[t].index); at--)
            g.term[at] = g.term[at - 1];
        g.term[at].index = a->term[t].index;
        g.term[at].coef = a->term[t].coef;
    }
    bool may = g.terms && f->ops[op].code != VECTOR_GATHER;
    int last = g.terms - 1;
    if (may && g.term[last].index >= f->parameter_count && stays(l, g.term[last].coef)) {
        g.terms--;
        l->index_of[op] = g.term[last].index;
        l->coef_of[op] = (int)g.term[last].coef;
    } else if (may && g.term[0].index < f->parameter_count && stays(l, g.term[0].coef)) { /* a parameter: sorted first */
        l->index_of[op] = g.term[0].index;
        l->coef_of[op] = (int)g.term[0].coef;
        memmove(g.term, g.term + 1, (size_t)--g.terms * sizeof *g.term);
    }
    l->group_of[op] = intern(l, &g, g.terms);
}

static bool same_terms(const VectorAddress *a, const VectorAddress *b) {
    bool same = a->base == b->base && a->terms == b->terms;
    for (int t = 0; same && t < a->terms; t++)
        same = a->term[t].index == b->term[t].index && a->term[t].coef == b->term[t].coef;
    return same;
}

/* Most addresses differ from the one before in their constant alone. */
static void group_addresses(Lowering *l) {
    const VectorFunction *f = l->copy.from;
    for (int i = 0, last = -1; i < f->op_count; i++) {
        l->group_of[i] = l->index_of[i] = -1;
        l->coef_of[i] = 0;
        if (!vector_has(f->ops[i].code, 'A'))
            continue;
        bool gather = f->ops[i].code == VECTOR_GATHER;
        if (last >= 0 && !gather && same_terms(&f->ops[last].address, &f->ops[i].address)) {
            l->group_of[i] = l->group_of[last];
            l->index_of[i] = l->index_of[last];
            l->coef_of[i] = l->coef_of[last];
            continue;
        }
        group_address(l, i, &f->ops[i].address);
        last = gather ? -1 : i;
    }
}

static int pointer_of(const Lowering *l, int group, int base) {
    return group < 0 ? l->copy.map[base] : l->group[group].current;
}

/* Terms of parameters are added once, where the function begins. */
static void start_parameters(Lowering *l) {
    VectorFunction *to = l->copy.to;
    for (int i = 0; i < l->group_count; i++) {
        Group *g = &l->group[i];
        int last = g->term[g->terms - 1].index;
        if (last >= l->copy.from->parameter_count)
            continue;
        VectorOp op = {.code = VECTOR_POINTER_INDEX, .arg = {pointer_of(l, g->parent, g->base), l->copy.map[last], -1}};
        op.number = (double)g->term[g->terms - 1].coef;
        op.mask = op.limit = op.address.base = -1;
        g->current = vector_append(to, &op);
    }
}

static void start_constants(Lowering *l) {
    for (int k = 0; k < l->hoisted->count; k++) {
        const VectorOp *op = &l->copy.from->ops[l->hoisted->op[k]];
        l->constant[k] = vector_const(l->copy.to, op->type, op->number);
    }
}

static void open_loop(Lowering *l, int at) {
    int counter = l->copy.from->ops[at].result;
    if (l->hoisted->count && vector_is_innermost(l->copy.from, at))
        l->innermost_end = l->copy.from->ops[at].other;
    int which[MAX_GROUPS], initial[MAX_GROUPS] = {0}, inside[MAX_GROUPS], count = 0;
    for (int i = 0; i < l->group_count; i++) {
        Group *g = &l->group[i];
        if (g->term[g->terms - 1].index != counter)
            continue;
        which[count] = i;
        initial[count++] = pointer_of(l, g->parent, g->base);
    }
    vector_copy_loop(&l->copy, at, initial, inside, count);
    for (int i = 0; i < count; i++)
        l->group[which[i]].current = inside[i];
}

static void close_loop(Lowering *l, int at) {
    const VectorOp *head = &l->copy.from->ops[l->copy.from->ops[at].other];
    int next[MAX_GROUPS] = {0}, count = 0;
    for (int i = 0; i < l->group_count; i++) {
        Group *g = &l->group[i];
        if (g->term[g->terms - 1].index == head->result)
            next[count++] =
                vector_immediate(l->copy.to, VECTOR_POINTER_ADD, g->current, (double)(g->term[g->terms - 1].coef * head->step));
    }
    vector_copy_end(&l->copy, at, next, count);
}

static void copy_plain(Lowering *l, int at) {
    const VectorOp *from = &l->copy.from->ops[at];
    int constant = from->code == VECTOR_CONST && at < l->innermost_end ? vector_hoisted(l->copy.from, l->hoisted, from) : -1;
    if (constant >= 0) {
        l->copy.map[from->result] = l->constant[constant];
        return;
    }
    VectorOp *op = vector_copy_whole(&l->copy, at);
    if (!op || !vector_has(op->code, 'A'))
        return;
    const VectorAddress *old = &from->address;
    op->address = vector_at(pointer_of(l, l->group_of[at], old->base), old->offset + old->scaled * l->copy.from->bytes);
    if (l->index_of[at] >= 0)
        op->address = vector_plus(op->address, l->copy.map[l->index_of[at]], l->coef_of[at]);
    if (!l->copy.from->bytes)
        op->address.scaled = old->scaled, op->address.offset = old->offset;
}

VectorFunction *vector_lower_addresses(const VectorFunction *f, bool indexed, const VectorHoisted *hoisted, whet_error *err) {
    static const VectorHoisted none = {0};
    Lowering *l = ARENA_NEW(f->arena, Lowering);
    int *places = arena_take(f->arena, 3 * ((size_t)f->op_count + 1), sizeof *places);
    if (!l || !places)
        return error_memory(err), NULL;
    l->group_of = places;
    l->index_of = places + f->op_count;
    l->coef_of = places + 2 * f->op_count;
    l->indexed = indexed;
    l->hoisted = hoisted ? hoisted : &none;
    if (!vector_copy_start(&l->copy, f, err))
        return NULL;
    group_addresses(l);
    if (l->too_many) {
        error_set(err, WHET_ERROR_UNSUPPORTED, "vector code '%s' uses more than %d different addresses", f->name, MAX_GROUPS);
        return NULL;
    }
    start_parameters(l);
    start_constants(l);
    for (int i = 0; i < f->op_count; i++) {
        if (f->ops[i].code == VECTOR_LOOP)
            open_loop(l, i);
        else if (f->ops[i].code == VECTOR_END)
            close_loop(l, i);
        else
            copy_plain(l, i);
    }
    return vector_finish(l->copy.to, err) ? l->copy.to : NULL;
}
