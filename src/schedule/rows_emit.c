/* The vector code of a row kernel: for so many rows at once (`copies`) pass after pass over the columns, with the values of one
 * a row between them in registers.
 *
 * A reduction carries copies * steps accumulators through its pass; they are folded together in a tree, and over the lanes where
 * lanes are columns. What does not depend on the column is computed before the pass, and a quotient by such a value becomes a
 * product with its reciprocal (1.5 ULP instead of 0.5), scaled by a power of two so that it neither overflows nor vanishes. */
#include "schedule/rows.h"

#include <math.h>
#include <string.h>

enum { MAX_ACCUMULATORS = 64, MAX_REDUCTIONS = 8, MAX_COPIES = 8 };

/* One definition while code is made. */
typedef struct Slot {
    struct Emitting *p;
    int index;
    ExprEmitter e;
    bool *even;              /* by Expr.id: the same for all columns */
    int *reduced;            /* by Expr.id * MAX_COPIES + copy: values of reductions; -1: not yet */
    int *before;             /* the same of what was computed before the pass */
    int *reciprocal, *scale; /* the same of quotients by something even */
    int row[MAX_COPIES];     /* the value, if one a row */
    int here;                /* the value for the columns in question, if columnwise; -1: not yet */
} Slot;

typedef struct Reduction {
    Slot *slot;
    const Expr *expr;
    VectorCode combine;
    double start;
    bool plain; /* a maximum or minimum that need not carry NaN */
} Reduction;

typedef struct Emitting {
    const Rows *r;
    VectorFunction *f;
    const RowsFunction *shape;
    Slot slot[ROWS_MAX_DEFINITIONS];
    int pointer[NEST_MAX_ACCESSES], scratch[ROWS_MAX_DEFINITIONS + 1];
    int row, block;             /* counters; block -1: none */
    int counter[NEST_MAX_AXES]; /* of column axes; -1: no loop is open */
    int pass, copy;
    int64_t offset; /* along the innermost column axis */
    int mask;       /* of the columns, or of the rows; -1: all */
    Reduction reduction[MAX_REDUCTIONS];
    int reduction_count;
    const char *refused;
} Emitting;

static int number(const Emitting *p, double value) {
    return vector_const(p->f, DT_F32, value);
}

static int row_mask(const Emitting *p) {
    bool last = p->r->across && p->copy == p->shape->copies - 1 && p->shape->last_lanes < p->r->lanes;
    return last ? vector_mask_first(p->f, DT_F32, p->shape->last_lanes) : -1;
}

/* ---- places ---- */

/* stride(axis) in elements along column axes; the rest is said already. */
static VectorAddress over_columns(const Emitting *p, VectorAddress a, const int64_t *stride) {
    int last = p->r->column_count - 1;
    for (int k = 0; k <= last; k++)
        if (p->counter[k] >= 0)
            a = vector_plus(a, p->counter[k], 4 * stride[k]);
    return last < 0 ? a : vector_offset(a, 4 * p->offset * stride[last]);
}

static VectorAddress place(const Emitting *p, int access) {
    const Rows *r = p->r;
    int64_t row = rows_row_stride(r, access), lane = r->across ? rows_lane_stride(r, access) : 0, stride[NEST_MAX_AXES];
    VectorAddress a = vector_at(p->pointer[access], 4 * p->copy * (r->across ? r->lanes * lane : row));
    a = vector_plus(a, p->row, 4 * row);
    if (p->block >= 0)
        a = vector_plus(a, p->block, 4 * lane);
    for (int k = 0; k < r->column_count; k++)
        stride[k] = r->nest.access[access].stride[r->column[k]];
    return over_columns(p, a, stride);
}

static VectorAddress scratch_place(const Emitting *p, int scratch) {
    const Rows *r = p->r;
    int64_t unit = r->across ? (int64_t)p->shape->copies * r->lanes : 1, stride[NEST_MAX_AXES];
    int64_t copy = r->across ? r->lanes : (r->columns + 63) / 64 * 64;
    for (int k = r->column_count - 1; k >= 0; k--) {
        stride[k] = unit;
        unit *= r->nest.axis[r->column[k]].extent;
    }
    return over_columns(p, vector_at(p->scratch[scratch], 4 * p->copy * copy), stride);
}

/* ---- reads ---- */

static int columnwise_value(Emitting *p, int index);

static int read_input(const Emitting *p, const Expr *read) {
    int access = nest_find(&p->r->nest, read);
    if (rows_lane_stride(p->r, access))
        return vector_load(p->f, DT_F32, DT_F32, place(p, access), p->mask);
    return vector_splat(p->f, DT_F32, DT_F32, place(p, access));
}

static int read_operand(ExprEmitter *e, const Expr *read) {
    const Slot *slot = e->context;
    Emitting *p = slot->p;
    int source = rows_source(p->r, read->tensor);
    if (source < 0)
        return read_input(p, read);
    if (!p->r->item[source].columnwise)
        return p->slot[source].row[p->copy];
    int value = columnwise_value(p, source);
    if (p->refused && !e->refused)
        e->refused = p->refused;
    return value;
}

static int emit_in(Emitting *p, Slot *slot, const Expr *expr) {
    int value = p->refused ? -1 : expr_emit(&slot->e, expr);
    if (slot->e.refused && !p->refused)
        p->refused = slot->e.refused;
    return value;
}

static void store_columns(const Emitting *p, const RowDefinition *item, int value) {
    if (item->write >= 0)
        vector_store(p->f, DT_F32, value, place(p, item->write), p->mask);
    if (item->scratch >= 0)
        vector_store(p->f, DT_F32, value, scratch_place(p, item->scratch), p->mask);
}

/* In its own pass it is computed and kept; later it is found where it was kept, or computed again. */
static int columnwise_value(Emitting *p, int index) {
    const RowDefinition *item = &p->r->item[index];
    Slot *slot = &p->slot[index];
    if (slot->here >= 0)
        return slot->here;
    bool kept = item->pass < p->pass && !item->again;
    if (kept && item->scratch >= 0)
        slot->here = vector_load(p->f, DT_F32, DT_F32, scratch_place(p, item->scratch), p->mask);
    else if (kept && item->write >= 0)
        slot->here = vector_load(p->f, DT_F32, DT_F32, place(p, item->write), p->mask);
    else
        slot->here = emit_in(p, slot, item->definition->value);
    if (item->pass == p->pass && !p->refused)
        store_columns(p, item, slot->here);
    return slot->here;
}

/* ---- what is the same for all columns ---- */

static int *at_copy(int *values, const Expr *expr, int copy) {
    return &values[expr->id * MAX_COPIES + copy];
}

static bool even_quotient(const Slot *slot, const Expr *expr) {
    return expr->op == EXPR_DIV && expr->type == DT_F32 && !slot->even[expr->arg[0]->id] && slot->even[expr->arg[1]->id];
}

static void find_even(Slot *slot) {
    const Definition *d = slot->e.definition;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *x = d->exprs[i];
        bool even = x->op == EXPR_READ ? rows_read_is_even(slot->p->r, x) : x->op != EXPR_AXIS;
        for (int k = 0; k < 3 && x->op != EXPR_REDUCE && x->op != EXPR_READ; k++)
            even = even && (!x->arg[k] || slot->even[x->arg[k]->id]);
        slot->even[i] = even;
    }
}

/* 1 / x in two factors: x is brought near 1 by 2^64 or 2^-64 first, if it is far from it. */
static void emit_reciprocal(const Emitting *p, int x, int *reciprocal, int *scale) {
    VectorFunction *f = p->f;
    int size = vector_binary(f, VECTOR_AND_NOT, number(p, -0.0), x), one = number(p, 1);
    *scale = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, size, number(p, 0x1p-64)), number(p, 0x1p64), one);
    *scale = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, number(p, 0x1p64), size), number(p, 0x1p-64), *scale);
    *reciprocal = vector_binary(f, VECTOR_DIV, one, vector_binary(f, VECTOR_MUL, x, *scale));
}

/* The largest even expressions below `expr`, for the copy in question. */
static void hoist(Emitting *p, Slot *slot, const Expr *expr, bool *seen) {
    if (seen[expr->id] || p->refused)
        return;
    seen[expr->id] = true;
    if (slot->even[expr->id]) {
        bool worth = expr->op != EXPR_NUMBER && expr->op != EXPR_REDUCE && expr->op != EXPR_EXTENT;
        if (worth && !(expr->op == EXPR_READ && p->r->spread_late))
            *at_copy(slot->before, expr, p->copy) = emit_in(p, slot, expr);
        return;
    }
    if (expr->op == EXPR_READ || !expr->arg[0]) /* a leaf: an axis */
        return;
    hoist(p, slot, expr->arg[0], seen);
    if (even_quotient(slot, expr) && expr->arg[1]->op != EXPR_NUMBER && !p->r->spread_late) {
        int divisor = emit_in(p, slot, expr->arg[1]);
        if (!p->refused)
            emit_reciprocal(p, divisor, at_copy(slot->reciprocal, expr, p->copy), at_copy(slot->scale, expr, p->copy));
        return;
    }
    for (int k = 1; k < 3; k++)
        if (expr->arg[k])
            hoist(p, slot, expr->arg[k], seen);
}

static int exp_below(ExprEmitter *e, const Expr *expr) {
    int x = expr_emit(e, expr->arg[0]);
    return e->refused ? -1 : math_exp_below(e->f, x);
}

static int special(ExprEmitter *e, const Expr *expr) {
    const Slot *slot = e->context;
    const Emitting *p = slot->p;
    if (expr->op == EXPR_EXP && expr->type == DT_F32 && rows_never_positive(p->r, slot->index, expr->arg[0]))
        return exp_below(e, expr);
    if (!even_quotient(slot, expr))
        return -1;
    int reciprocal = *at_copy(slot->reciprocal, expr, p->copy), scale = *at_copy(slot->scale, expr, p->copy);
    double divisor = expr->arg[1]->number;
    if (expr->arg[1]->op == EXPR_NUMBER && fabs(divisor) > 0x1p-64 && fabs(divisor) < 0x1p64)
        reciprocal = vector_const(p->f, DT_F32, 1 / divisor);
    if (reciprocal < 0)
        return -1;
    int x = expr_emit(e, expr->arg[0]);
    if (e->refused)
        return -1;
    if (scale >= 0)
        x = vector_binary(p->f, VECTOR_MUL, x, scale);
    return vector_binary(p->f, VECTOR_MUL, x, reciprocal);
}

/* ---- a place: so many columns of so many rows ---- */

static void know(Slot *slot, const int *values, int copy) {
    for (int i = 0; i < slot->e.definition->expr_count; i++)
        if (values[i * MAX_COPIES + copy] >= 0)
            slot->e.known[i] = values[i * MAX_COPIES + copy];
}

/* Forgets all but what holds for a whole row. */
static void go_to(Emitting *p, int copy) {
    p->copy = copy;
    for (int i = 0; i < p->r->count; i++) {
        Slot *slot = &p->slot[i];
        expr_forget(&slot->e);
        know(slot, slot->reduced, copy);
        know(slot, slot->before, copy);
        slot->here = -1;
    }
}

/* ---- reductions ---- */

static bool reduction_of(ReduceOp op, Reduction *out) {
    switch (op) {
    case REDUCE_SUM: out->combine = VECTOR_ADD, out->start = 0; return true;
    case REDUCE_PROD: out->combine = VECTOR_MUL, out->start = 1; return true;
    case REDUCE_MAX: out->combine = VECTOR_MAX, out->start = -INFINITY; return true;
    case REDUCE_MIN: out->combine = VECTOR_MIN, out->start = INFINITY; return true;
    default: return false;
    }
}

/* The pass whose columns a reduction reads: one before that which may use it. */
static int pass_of_reduction(const Rows *r, const Expr *e) {
    int pass = 0;
    if (e->op == EXPR_READ) {
        int source = rows_source(r, e->tensor);
        return source < 0 ? 0 : r->item[source].pass;
    }
    for (int i = 0; i < 3; i++)
        if (e->arg[i]) {
            int below = pass_of_reduction(r, e->arg[i]) + (e->arg[i]->op == EXPR_REDUCE);
            pass = below > pass ? below : pass;
        }
    return pass;
}

static void find_reductions(Emitting *p) {
    p->reduction_count = 0;
    for (int i = 0; i < p->r->count; i++) {
        const Definition *d = p->r->item[i].definition;
        for (int k = 0; k < d->expr_count; k++) {
            if (d->exprs[k]->op != EXPR_REDUCE || pass_of_reduction(p->r, d->exprs[k]) != p->pass)
                continue;
            Reduction *n = &p->reduction[p->reduction_count];
            if (p->reduction_count == MAX_REDUCTIONS)
                p->refused = "more reductions in one pass than a row kernel takes";
            else if (!reduction_of(d->exprs[k]->reduce, n))
                p->refused = "a reduction other than sum, prod, max and min";
            if (p->refused)
                return;
            n->plain = n->combine == VECTOR_MAX && rows_nan_spreads(p->r, i, d->exprs[k]);
            n->combine = n->plain ? VECTOR_MAX_OR : n->combine;
            n->slot = &p->slot[i];
            n->expr = d->exprs[k];
            p->reduction_count++;
        }
    }
}

static int accumulator_count(const Emitting *p) {
    return p->reduction_count * p->shape->copies * p->r->steps[p->pass];
}

static int *accumulator(const Emitting *p, int *all, int reduction, int copy, int step) {
    return &all[(reduction * p->shape->copies + copy) * p->r->steps[p->pass] + step];
}

static void accumulate(Emitting *p, const Reduction *n, int *sum) {
    const Expr *x = n->expr->arg[0];
    bool product = n->combine == VECTOR_ADD && x->op == EXPR_MUL && !n->slot->even[x->id];
    int a = emit_in(p, n->slot, product ? x->arg[0] : x), b = product ? emit_in(p, n->slot, x->arg[1]) : -1;
    if (p->refused)
        return;
    int to = product ? vector_ternary(p->f, VECTOR_FMA, a, b, *sum) : vector_binary(p->f, n->combine, *sum, a);
    bool partial = !p->r->across && p->mask >= 0;
    *sum = partial ? vector_ternary(p->f, VECTOR_SELECT, p->mask, to, *sum) : to;
}

/* All that one pass does with one step of columns. */
static void emit_step(Emitting *p, int64_t offset, int step, int *sums) {
    const Rows *r = p->r;
    int64_t left = r->lane_extent - offset;
    p->offset = offset;
    for (int copy = 0; copy < p->shape->copies && !p->refused; copy++) {
        go_to(p, copy);
        if (r->across)
            p->mask = row_mask(p);
        else
            p->mask = left < r->lanes ? vector_mask_first(p->f, DT_F32, (int)left) : -1;
        for (int i = 0; i < r->count; i++)
            if (r->item[i].columnwise && r->item[i].pass == p->pass && (r->item[i].write >= 0 || r->item[i].scratch >= 0))
                columnwise_value(p, i);
        for (int n = 0; n < p->reduction_count; n++)
            accumulate(p, &p->reduction[n], accumulator(p, sums, n, copy, step));
    }
}

static void emit_innermost(Emitting *p, int *sums) {
    const Rows *r = p->r;
    int last = r->column_count - 1, count = accumulator_count(p), inside[MAX_ACCUMULATORS];
    int64_t extent = last < 0 ? 1 : r->nest.axis[r->column[last]].extent, unit = r->across ? 1 : r->lanes;
    int64_t group = unit * r->steps[p->pass], whole = extent / group * group;
    if (whole <= group)
        whole = 0;
    if (whole) {
        p->counter[last] = vector_loop(p->f, -1, whole, group, sums, inside, count);
        for (int step = 0; step < r->steps[p->pass]; step++)
            emit_step(p, step * unit, step, inside);
        vector_end(p->f, inside, sums);
        p->counter[last] = -1;
    }
    for (int64_t at = whole; at < extent; at += unit)
        emit_step(p, at, (int)((at - whole) / unit % r->steps[p->pass]), sums);
}

static void emit_columns(Emitting *p, int axis, int *sums) {
    const Rows *r = p->r;
    int inside[MAX_ACCUMULATORS], count = accumulator_count(p);
    if (axis >= r->column_count - 1) {
        emit_innermost(p, sums);
        return;
    }
    p->counter[axis] = vector_loop(p->f, -1, r->nest.axis[r->column[axis]].extent, 1, sums, inside, count);
    emit_columns(p, axis + 1, inside);
    vector_end(p->f, inside, sums);
    p->counter[axis] = -1;
}

/* ---- folding ---- */

/* Over the lanes by halves, through memory. */
static int fold_product(const Emitting *p, int x) {
    VectorFunction *f = p->f;
    VectorAddress at = vector_at(p->scratch[p->r->fold_scratch], 0);
    for (int lanes = p->r->lanes / 2; lanes >= 1; lanes /= 2) {
        vector_store(f, DT_F32, x, at, -1);
        x = vector_binary(f, VECTOR_MUL, x, vector_load(f, DT_F32, DT_F32, vector_offset(at, 4 * lanes), -1));
    }
    vector_store(f, DT_F32, x, at, -1);
    return vector_splat(f, DT_F32, DT_F32, at);
}

/* Over the lanes. REDUCE_MIN and REDUCE_MAX do not carry NaN, so it is looked for. */
static int fold_lanes(const Emitting *p, VectorCode combine, int x) {
    VectorFunction *f = p->f;
    if (combine == VECTOR_MAX_OR)
        return vector_unary(f, VECTOR_REDUCE_MAX, x);
    if (combine == VECTOR_ADD)
        return vector_unary(f, VECTOR_REDUCE_ADD, x);
    if (combine == VECTOR_MUL)
        return fold_product(p, x);
    int nan = vector_binary(f, VECTOR_UNORDERED, x, x);
    int flags = vector_ternary(f, VECTOR_SELECT, nan, number(p, 1), number(p, 0));
    int y = vector_unary(f, combine == VECTOR_MAX ? VECTOR_REDUCE_MAX : VECTOR_REDUCE_MIN, x);
    int any = vector_binary(f, VECTOR_NE, vector_unary(f, VECTOR_REDUCE_ADD, flags), number(p, 0));
    return vector_ternary(f, VECTOR_SELECT, any, number(p, NAN), y);
}

static void fold_reduction(Emitting *p, int index, int *sums) {
    const Reduction *n = &p->reduction[index];
    int steps = p->r->steps[p->pass];
    for (int copy = 0; copy < p->shape->copies; copy++) {
        int *sum = accumulator(p, sums, index, copy, 0);
        for (int step = 1; step < steps; step *= 2)
            for (int u = 0; u + step < steps; u += 2 * step)
                sum[u] = vector_binary(p->f, n->combine, sum[u], sum[u + step]);
        *at_copy(n->slot->reduced, n->expr, copy) = p->r->across ? sum[0] : fold_lanes(p, n->combine, sum[0]);
    }
}

/* ---- passes ---- */

/* Values of one a row that are known before this pass. */
static void emit_row_values(Emitting *p) {
    const Rows *r = p->r;
    for (int i = 0; i < r->count; i++) {
        const RowDefinition *item = &r->item[i];
        for (int copy = 0; copy < p->shape->copies && !item->columnwise && item->pass == p->pass && !p->refused; copy++) {
            go_to(p, copy);
            p->offset = 0;
            p->mask = row_mask(p);
            int value = p->slot[i].row[copy] = emit_in(p, &p->slot[i], item->definition->value);
            if (p->refused || item->write < 0)
                continue;
            if (r->across)
                vector_store(p->f, DT_F32, value, place(p, item->write), p->mask);
            else
                vector_store_first(p->f, DT_F32, value, place(p, item->write));
        }
    }
}

static bool begin_pass(Emitting *p, Arena *arena) {
    const Rows *r = p->r;
    bool *seen[ROWS_MAX_DEFINITIONS];
    for (int i = 0; i < r->count; i++) {
        Slot *slot = &p->slot[i];
        size_t bytes = sizeof(int) * MAX_COPIES * (size_t)slot->e.definition->expr_count;
        memset(slot->before, -1, bytes);
        memset(slot->reciprocal, -1, bytes);
        memset(slot->scale, -1, bytes);
        seen[i] = ARENA_ARRAY(arena, bool, slot->e.definition->expr_count + 1);
        if (!seen[i])
            return false;
    }
    for (int copy = 0; copy < p->shape->copies; copy++) {
        go_to(p, copy);
        p->offset = 0;
        p->mask = row_mask(p);
        for (int i = 0; i < r->count; i++) {
            bool wanted =
                r->item[i].columnwise && (r->item[i].pass == p->pass || (r->item[i].again && r->item[i].pass < p->pass));
            memset(seen[i], 0, (size_t)p->slot[i].e.definition->expr_count);
            if (wanted)
                hoist(p, &p->slot[i], p->slot[i].e.definition->value, seen[i]);
        }
        for (int n = 0; n < p->reduction_count; n++)
            hoist(p, p->reduction[n].slot, p->reduction[n].expr->arg[0], seen[p->reduction[n].slot->index]);
    }
    return true;
}

static bool emit_pass(Emitting *p, Arena *arena) {
    int sums[MAX_ACCUMULATORS];
    find_reductions(p);
    if (!p->refused && accumulator_count(p) > MAX_ACCUMULATORS)
        p->refused = "more reductions in one pass than a row kernel takes";
    if (p->refused)
        return true;
    if (!begin_pass(p, arena))
        return false;
    for (int n = 0; n < p->reduction_count; n++)
        for (int k = 0; k < p->shape->copies * p->r->steps[p->pass]; k++)
            *accumulator(p, sums, n, 0, k) = number(p, p->reduction[n].start);
    if (p->r->columns)
        emit_columns(p, 0, sums);
    for (int n = 0; n < p->reduction_count && !p->refused; n++)
        fold_reduction(p, n, sums);
    return true;
}

/* ---- the function ---- */

static bool start_slots(Emitting *p, Arena *arena, const void *const *constant) {
    for (int i = 0; i < p->r->count; i++) {
        Slot *slot = &p->slot[i];
        const Definition *d = p->r->item[i].definition;
        size_t count = (size_t)d->expr_count * MAX_COPIES;
        *slot = (Slot){.p = p, .index = i, .here = -1};
        slot->e = (ExprEmitter){.f = p->f,
                                .definition = d,
                                .kernel = p->r->nest.kernel,
                                .constant = constant,
                                .read = read_operand,
                                .special = special,
                                .context = slot};
        slot->even = ARENA_ARRAY(arena, bool, d->expr_count + 1);
        slot->reduced = ARENA_ARRAY(arena, int, count);
        slot->before = ARENA_ARRAY(arena, int, count);
        slot->reciprocal = ARENA_ARRAY(arena, int, count);
        slot->scale = ARENA_ARRAY(arena, int, count);
        if (arena->failed || !expr_start(&slot->e, arena))
            return false;
        memset(slot->reduced, -1, count * sizeof(int));
        memset(slot->before, -1, count * sizeof(int));
        memset(slot->reciprocal, -1, count * sizeof(int));
        memset(slot->scale, -1, count * sizeof(int));
        find_even(slot);
    }
    return true;
}

static bool emit_row(Emitting *p, Arena *arena) {
    for (p->pass = 0; p->pass <= p->r->pass_count && !p->refused; p->pass++) {
        emit_row_values(p);
        if (p->pass < p->r->pass_count && !p->refused && !emit_pass(p, arena))
            return false;
    }
    return true;
}

static void add_parameters(Emitting *p, Arena *arena, int *rows, int *lanes) {
    const Rows *r = p->r;
    for (int i = 0; i < r->nest.access_count; i++)
        p->pointer[i] = vector_parameter(p->f, CLASS_POINTER, arena_printf(arena, "%s%d", r->nest.access[i].read ? "x" : "y", i));
    for (int i = 0; i < r->scratch_count; i++)
        p->scratch[i] = vector_parameter(p->f, CLASS_POINTER, arena_printf(arena, "scratch%d", i));
    *rows = vector_parameter(p->f, CLASS_INDEX, "rows");
    *lanes = vector_parameter(p->f, CLASS_INDEX, "lanes");
}

const VectorFunction *rows_emit(const Rows *r, int function, Compiled *c, const char **why, whet_error *err) {
    Arena *arena = &c->vectors;
    Emitting *p = ARENA_NEW(arena, Emitting);
    if (p) {
        *p = (Emitting){.r = r, .shape = &r->function[function], .block = -1, .mask = -1};
        p->f = vector_new(arena, arena_printf(arena, "rows%d_%lld", function, (long long)r->columns), c->target.bytes);
    }
    if (!p || !p->f || !start_slots(p, arena, r->known)) {
        error_memory(err);
        return NULL;
    }
    int rows, lanes;
    for (int k = 0; k < NEST_MAX_AXES; k++)
        p->counter[k] = -1;
    add_parameters(p, arena, &rows, &lanes);
    bool blocks = r->across && function == r->whole;
    p->row = vector_loop(p->f, rows, 0, r->across ? 1 : p->shape->copies, NULL, NULL, 0);
    if (blocks)
        p->block = vector_loop(p->f, lanes, 0, (int64_t)p->shape->copies * r->lanes, NULL, NULL, 0);
    bool fine = emit_row(p, arena);
    if (!fine || p->refused) {
        *why = p->refused;
        if (!fine)
            error_memory(err);
        return NULL;
    }
    if (blocks)
        vector_end(p->f, NULL, NULL);
    vector_end(p->f, NULL, NULL);
    return vector_finish(p->f, err) ? p->f : NULL;
}
