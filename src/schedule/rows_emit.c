/* The vector code of a row kernel: for so many rows at once (`copies`) pass after pass over the columns, with the values of one
 * a row between them in registers.
 *
 * What does not depend on the column is computed before the pass, and a quotient by such a value becomes a
 * product with its reciprocal (1.5 ULP instead of 0.5), scaled by a power of two so that it neither overflows nor vanishes. */
#include "schedule/rows_emit.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- reads ---- */

static int columnwise_value(Emitting *p, int index);

static int read_operand(ExprEmitter *e, const Expr *read) {
    const Slot *slot = e->context;
    Emitting *p = slot->p;
    int source = rows_source(p->r, read->tensor);
    if (source < 0)
        return rows_load(p, nest_find(&p->r->nest, read));
    if (!p->r->item[source].columnwise)
        return p->slot[source].row[p->copy];
    int value = columnwise_value(p, source);
    if (p->refused && !e->refused)
        e->refused = p->refused;
    return value;
}

static int axis_operand(ExprEmitter *e, const Expr *axis) {
    const Slot *slot = e->context;
    return rows_load(slot->p, nest_find(&slot->p->r->nest, axis));
}

int rows_emit_in(Emitting *p, Slot *slot, const Expr *expr) {
    int value = p->refused ? -1 : expr_emit(&slot->e, expr);
    if (slot->e.refused && !p->refused)
        p->refused = slot->e.refused;
    return value;
}

static void store_columns(Emitting *p, const RowDefinition *item, int value) {
    if (item->write >= 0)
        rows_store(p, item->write, value, false);
    if (item->scratch >= 0)
        rows_store_scratch(p, item, value);
}

/* In its own pass it is computed and kept; later it is found where it was kept, or computed again. */
static int columnwise_value(Emitting *p, int index) {
    const RowDefinition *item = &p->r->item[index];
    Slot *slot = &p->slot[index];
    if (slot->here >= 0)
        return slot->here;
    bool kept = item->pass < p->pass && !item->again;
    if (kept && item->scratch >= 0)
        slot->here = rows_load_scratch(p, item);
    else if (kept && item->write >= 0)
        slot->here = rows_load(p, item->write);
    else
        slot->here = rows_emit_in(p, slot, item->definition->value);
    if (item->pass == p->pass && !p->refused && !p->aside)
        store_columns(p, item, slot->here);
    return slot->here;
}

/* ---- what is the same for all columns ---- */

static bool even_quotient(const Slot *slot, const Expr *expr) {
    return expr->op == EXPR_DIV && expr->type == DT_F32 && !slot->p->r->exact && !slot->even[expr->arg[0]->id] &&
           slot->even[expr->arg[1]->id];
}

static void find_even(Slot *slot) {
    const Definition *d = slot->e.definition;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *x = d->exprs[i];
        bool even = (x->op != EXPR_READ && x->op != EXPR_AXIS) || rows_read_is_even(slot->p->r, x);
        for (int k = 0; k < 3 && x->op != EXPR_REDUCE && x->op != EXPR_READ; k++)
            even = even && (!x->arg[k] || slot->even[x->arg[k]->id]);
        slot->even[i] = even;
        for (int k = 0; k < 3; k++)
            if (x->arg[k])
                slot->uses[x->arg[k]->id]++;
    }
}

/* 1 / x in two factors: x is brought near 1 by 2^64 or 2^-64 first, if it is far from it. */
void rows_reciprocal(VectorFunction *f, int x, int *reciprocal, int *scale) {
    int one = vector_const(f, DT_F32, 1), large = vector_const(f, DT_F32, 0x1p64), small = vector_const(f, DT_F32, 0x1p-64);
    int size = vector_binary(f, VECTOR_AND_NOT, vector_const(f, DT_F32, -0.0), x);
    *scale = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, size, small), large, one);
    *scale = vector_ternary(f, VECTOR_SELECT, vector_binary(f, VECTOR_LT, large, size), small, *scale);
    *reciprocal = vector_binary(f, VECTOR_DIV, one, vector_binary(f, VECTOR_MUL, x, *scale));
}

/* To each row what is known of all at once. */
static void spread(const Emitting *p, const Slot *slot, const Expr *expr, int *rows) {
    for (int copy = p->base; copy < p->base + p->shape->copies && slot->packing[expr->id] == PACKING_SAME; copy++)
        rows[copy] = rows[TOGETHER];
    rows_spread(p, rows);
}

static void hoist_even(Emitting *p, Slot *slot, const Expr *expr) {
    int source = expr->op == EXPR_READ ? rows_source(p->r, expr->tensor) : -1;
    bool worth = expr->op != EXPR_NUMBER && expr->op != EXPR_REDUCE && expr->op != EXPR_EXTENT && source < 0;
    int *before = rows_at_copy(slot->before, expr, 0);
    if (p->copy == TOGETHER && expr->op == EXPR_REDUCE)
        spread(p, slot, expr, rows_at_copy(slot->reduced, expr, 0));
    if (p->copy == TOGETHER && source >= 0)
        spread(p, slot, expr, p->slot[source].row);
    if (!worth || (expr->op == EXPR_READ && p->r->spread_late))
        return;
    if (before[p->copy] < 0)
        before[p->copy] = rows_emit_in(p, slot, expr);
    if (p->copy == TOGETHER)
        spread(p, slot, expr, before);
}

static void hoist_quotient(Emitting *p, Slot *slot, const Expr *expr) {
    int *reciprocal = rows_at_copy(slot->reciprocal, expr, 0), *scale = rows_at_copy(slot->scale, expr, 0);
    bool known = reciprocal[p->copy] >= 0;
    int divisor = known ? -1 : rows_emit_in(p, slot, expr->arg[1]);
    if (!known && divisor >= 0 && rows_plain_divisor(p->r, slot->index, expr->arg[1]))
        reciprocal[p->copy] = vector_binary(p->f, VECTOR_DIV, rows_number(p, 1), divisor);
    else if (divisor >= 0)
        rows_reciprocal(p->f, divisor, &reciprocal[p->copy], &scale[p->copy]);
    if (p->copy != TOGETHER || reciprocal[TOGETHER] < 0)
        return;
    spread(p, slot, expr->arg[1], reciprocal);
    if (scale[TOGETHER] >= 0)
        spread(p, slot, expr->arg[1], scale);
}

/* The largest even expressions below `expr`, for the copy in question; for all rows together those that can be had so. */
static void hoist(Emitting *p, Slot *slot, const Expr *expr, bool *seen) {
    if (seen[expr->id] || p->refused)
        return;
    seen[expr->id] = true;
    bool together = p->copy == TOGETHER;
    if (slot->even[expr->id] && (!together || rows_packs(slot, expr))) {
        hoist_even(p, slot, expr);
        return;
    }
    if (expr->op == EXPR_READ || expr->op == EXPR_REDUCE || !expr->arg[0]) /* a leaf: an axis */
        return;
    hoist(p, slot, expr->arg[0], seen);
    if (even_quotient(slot, expr) && expr->arg[1]->op != EXPR_NUMBER && !p->r->spread_late &&
        (!together || rows_packs(slot, expr->arg[1]))) {
        hoist_quotient(p, slot, expr);
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

/* a * b + c or c - a * b with one rounding, where the product is used for nothing else. -1: it is none. */
static int fused(ExprEmitter *e, const Expr *expr) {
    const Slot *slot = e->context;
    if ((expr->op != EXPR_ADD && expr->op != EXPR_SUB) || expr->type != DT_F32 || slot->p->r->exact || slot->even[expr->id])
        return -1;
    int which = expr->op == EXPR_ADD && expr->arg[0]->op == EXPR_MUL ? 0 : 1;
    const Expr *product = expr->arg[which];
    if (product->op != EXPR_MUL || slot->even[product->id] || e->known[product->id] >= 0 || slot->uses[product->id] > 1)
        return -1;
    int a = expr_emit(e, product->arg[0]), b = expr_emit(e, product->arg[1]), c = expr_emit(e, expr->arg[!which]);
    return e->refused ? -1 : vector_ternary(e->f, expr->op == EXPR_ADD ? VECTOR_FMA : VECTOR_FNMA, a, b, c);
}

static int special(ExprEmitter *e, const Expr *expr) {
    const Slot *slot = e->context;
    const Emitting *p = slot->p;
    int source = expr->op == EXPR_READ && expr->type == DT_S64 ? rows_source(p->r, expr->tensor) : -1;
    if (source >= 0 && !p->r->item[source].columnwise) /* places, which fit 32 bits */
        return p->slot[source].row[p->copy];
    if (expr->op == EXPR_EXP && expr->type == DT_F32 && rows_never_positive(p->r, slot->index, expr->arg[0]))
        return exp_below(e, expr);
    int part = rows_moment_part(slot->p, slot->index, expr);
    if (part >= 0)
        return part;
    if (!even_quotient(slot, expr))
        return fused(e, expr);
    int reciprocal = *rows_at_copy(slot->reciprocal, expr, p->copy), scale = *rows_at_copy(slot->scale, expr, p->copy);
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
        if (values[i * PLACES + copy] >= 0)
            slot->e.known[i] = values[i * PLACES + copy];
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
    memset(p->deviation, -1, sizeof p->deviation);
}

static void go_before_columns(Emitting *p, int copy) {
    go_to(p, copy);
    p->offset = 0;
    p->mask = rows_row_mask(p);
}

void rows_go_to(Emitting *p, int copy, int64_t offset) {
    go_before_columns(p, copy);
    p->offset = offset;
    memset(p->shared, -1, sizeof p->shared);
}

/* The rows of each pass are other ones where passes go side by side, the first pass ahead. */
static void go_to_pass(Emitting *p, int pass) {
    int stages = p->shape->stages;
    p->pass = pass;
    p->base = pass < stages ? (stages - 1 - pass) * p->shape->copies : 0;
    assert(p->base + p->shape->copies <= MAX_COPIES);
}

/* All that one pass does with one step of columns. */
static void emit_pass_step(Emitting *p, int64_t offset, int step, int *sums) {
    const Rows *r = p->r;
    int64_t left = r->lane_extent - offset;
    p->offset = offset;
    memset(p->shared, -1, sizeof p->shared);
    for (int copy = p->base; copy < p->base + p->shape->copies && !p->refused; copy++) {
        p->chain[p->chain_count++] = p->f->op_count;
        go_to(p, copy);
        if (r->across)
            p->mask = rows_row_mask(p);
        else if (r->counted)
            p->mask = p->narrow ? vector_mask_below(p->f, DT_F32, p->last) : -1;
        else
            p->mask = left < r->lanes ? vector_mask_first(p->f, DT_F32, (int)left) : -1;
        if (r->heavy[p->pass] && p->shape->stages == 1)
            rows_fetch_next(p);
        for (int i = 0; i < r->count; i++)
            if (r->item[i].columnwise && r->item[i].pass == p->pass && (r->item[i].write >= 0 || r->item[i].scratch >= 0))
                columnwise_value(p, i);
        for (int n = 0; n < p->reduction_count; n++)
            if (p->reduction[n].pass == p->pass)
                rows_accumulate(p, &p->reduction[n], step, sums);
    }
}

static void emit_step(Emitting *p, int64_t offset, int step, int *sums) {
    for (int pass = p->from; pass <= p->to; pass++) {
        go_to_pass(p, pass);
        emit_pass_step(p, offset, step % p->r->steps[pass], sums);
    }
}

/* Rows and steps side by side where they are long chains, for then the CPU does not see the next; short ones are better left in
 * the order in which memory is read. */
static void interleave(Emitting *p) {
    bool heavy = false;
    for (int pass = p->from; pass <= p->to; pass++)
        heavy = heavy || p->r->heavy[pass];
    if (!p->refused && heavy && !p->r->shrunk)
        vector_interleave(p->f, p->chain, p->chain_count);
    p->chain_count = 0;
}

/* `steps` vectors of columns a round, as many as the index value `limit` says, from the one `start` (-1: the first) on. */
static void emit_counted_loop(Emitting *p, int limit, int start, int steps, int *sums) {
    int last = p->r->column_count - 1, inside[MAX_ACCUMULATORS];
    int counter = vector_loop(p->f, limit, 0, (int64_t)steps * p->r->lanes, sums, inside, p->accumulators);
    p->start = start;
    p->counter[last] = p->narrow ? -1 : counter;
    for (int step = 0; step < steps; step++)
        emit_step(p, (int64_t)step * p->r->lanes, step, inside);
    interleave(p);
    vector_end(p->f, inside, sums);
    p->counter[last] = p->start = -1;
}

/* As many columns as the arguments say: whole vectors, then at most one that is not. */
static void emit_counted(Emitting *p, int *sums) {
    if (p->r->lone)
        emit_counted_loop(p, p->rounds, -1, p->r->steps[p->from], sums);
    emit_counted_loop(p, p->r->lone ? p->rest : p->full, p->r->lone ? p->rounds : -1, 1, sums);
    p->narrow = true;
    emit_counted_loop(p, p->last, p->full, 1, sums);
    p->narrow = false;
}

static void emit_innermost(Emitting *p, int *sums) {
    const Rows *r = p->r;
    if (r->counted) {
        emit_counted(p, sums);
        return;
    }
    int last = r->column_count - 1, count = p->accumulators, steps = 1, inside[MAX_ACCUMULATORS];
    for (int pass = p->from; pass <= p->to; pass++)
        steps = r->steps[pass] > steps ? r->steps[pass] : steps;
    int64_t extent = last < 0 ? 1 : r->nest.axis[r->column[last]].extent, unit = r->across ? 1 : r->lanes;
    int64_t group = unit * steps, whole = extent / group * group;
    if (whole <= group)
        whole = 0;
    if (whole) {
        p->counter[last] = vector_loop(p->f, -1, whole, group, sums, inside, count);
        for (int step = 0; step < steps; step++)
            emit_step(p, step * unit, step, inside);
        interleave(p);
        vector_end(p->f, inside, sums);
        p->counter[last] = -1;
    }
    for (int64_t at = whole; at < extent; at += unit) {
        emit_step(p, at, (int)((at - whole) / unit % steps), sums);
        if (p->chain_count + p->shape->copies * (p->to - p->from + 1) > ROWS_MAX_CHAINS || at + unit >= extent)
            interleave(p);
    }
}

static void emit_columns(Emitting *p, int axis, int *sums) {
    const Rows *r = p->r;
    int inside[MAX_ACCUMULATORS], count = p->accumulators;
    if (axis >= r->column_count - 1) {
        emit_innermost(p, sums);
        return;
    }
    p->counter[axis] = vector_loop(p->f, -1, r->nest.axis[r->column[axis]].extent, 1, sums, inside, count);
    emit_columns(p, axis + 1, inside);
    vector_end(p->f, inside, sums);
    p->counter[axis] = -1;
}

/* ---- passes ---- */

/* Of 64 bits only what is known to be a number from 0 to 2^31 - 1 is served. */
static bool fits_half(const Slot *slot) {
    const Expr *value = slot->e.definition->value;
    ExprRange range = slot->e.range[value->id];
    return value->type != DT_S64 || (range.low >= 0 && range.high <= INT32_MAX);
}

/* A value of one a row, that of all rows at once where it can be had so. */
static void emit_row_value(Emitting *p, int index, bool *seen) {
    const RowDefinition *item = &p->r->item[index];
    const Expr *value = item->definition->value;
    Slot *slot = &p->slot[index];
    bool together = rows_packs(slot, value);
    go_before_columns(p, TOGETHER);
    if (together)
        slot->row[TOGETHER] = rows_emit_in(p, slot, value);
    else if (!p->r->across)
        hoist(p, slot, value, seen);
    if (together && item->write >= 0 && !p->refused)
        spread(p, slot, value, slot->row);
    for (int copy = p->base; copy < p->base + p->shape->copies && !p->refused; copy++) {
        go_before_columns(p, copy);
        if (!together)
            slot->row[copy] = rows_emit_in(p, slot, value);
        if (!p->refused && !fits_half(slot))
            p->refused = "an element type of 64 bits";
        if (!p->refused && item->write >= 0)
            rows_store(p, item->write, slot->row[copy], !p->r->across);
    }
}

bool rows_emit_values(Emitting *p, Arena *arena, int pass) {
    go_to_pass(p, pass);
    for (int i = 0; i < p->r->count && !p->refused; i++) {
        if (p->r->item[i].columnwise || p->r->item[i].pass != p->pass)
            continue;
        bool *seen = ARENA_ARRAY(arena, bool, p->slot[i].e.definition->expr_count + 1);
        if (!seen)
            return false;
        emit_row_value(p, i, seen);
    }
    return true;
}

static void hoist_copy(Emitting *p, int copy, bool *const *seen) {
    const Rows *r = p->r;
    go_before_columns(p, copy);
    for (int i = 0; i < r->count; i++) {
        bool wanted = r->item[i].columnwise && (r->item[i].pass == p->pass || (r->item[i].again && r->item[i].pass < p->pass));
        memset(seen[i], 0, (size_t)p->slot[i].e.definition->expr_count);
        if (wanted)
            hoist(p, &p->slot[i], p->slot[i].e.definition->value, seen[i]);
    }
    for (int n = 0; n < p->reduction_count; n++) {
        const Reduction *reduction = &p->reduction[n];
        if (reduction->pass != p->pass)
            continue;
        int item = reduction->moments ? reduction->moments->item : reduction->slot->index;
        hoist(p, &p->slot[item], rows_reduced(r, reduction->expr), seen[item]);
    }
}

/* Of rows that other passes were over. */
static void forget_rows(Emitting *p) {
    for (int i = 0; i < p->r->count; i++) {
        Slot *slot = &p->slot[i];
        size_t bytes = sizeof(int) * PLACES * (size_t)slot->e.definition->expr_count;
        memset(slot->before, -1, bytes);
        memset(slot->reciprocal, -1, bytes);
        memset(slot->scale, -1, bytes);
        for (int k = 0; k < slot->e.definition->expr_count && p->shape->stages > 1; k++)
            memset(&slot->reduced[k * PLACES], -1, TOGETHER * sizeof(int));
        if (p->shape->stages > 1)
            memset(slot->row, -1, sizeof slot->row);
    }
}

static bool begin_pass(Emitting *p, Arena *arena) {
    const Rows *r = p->r;
    bool *seen[ROWS_MAX_DEFINITIONS];
    for (int i = 0; i < r->count; i++)
        if (!(seen[i] = ARENA_ARRAY(arena, bool, p->slot[i].e.definition->expr_count + 1)))
            return false;
    rows_find_reductions(p);
    if (!r->across && !p->refused)
        hoist_copy(p, TOGETHER, seen);
    for (int copy = p->base; copy < p->base + p->shape->copies && !p->refused; copy++)
        hoist_copy(p, copy, seen);
    if (!p->refused)
        rows_start_moments(p);
    return true;
}

bool rows_emit_passes(Emitting *p, Arena *arena, int from, int to) {
    int sums[MAX_ACCUMULATORS];
    p->from = from;
    p->to = to;
    p->reduction_count = p->accumulators = 0;
    forget_rows(p);
    for (int pass = from; pass <= to && !p->refused; pass++)
        if (!rows_emit_values(p, arena, pass) || !begin_pass(p, arena))
            return false;
    if (p->refused)
        return true;
    rows_start_reductions(p, sums);
    if (p->r->columns)
        emit_columns(p, 0, sums);
    for (int pass = from; pass <= to && !p->refused; pass++) {
        go_to_pass(p, pass);
        rows_fold_reductions(p, sums);
    }
    return true;
}

/* ---- the function ---- */

static bool start_slots(Emitting *p, Arena *arena, const void *const *constant) {
    for (int i = 0; i < p->r->count; i++) {
        Slot *slot = &p->slot[i];
        const Definition *d = p->r->item[i].definition;
        size_t count = (size_t)d->expr_count * PLACES;
        *slot = (Slot){.p = p, .index = i, .here = -1};
        slot->e = (ExprEmitter){.f = p->f,
                                .definition = d,
                                .kernel = p->r->nest.kernel,
                                .constant = constant,
                                .read = read_operand,
                                .axis = axis_operand,
                                .special = special,
                                .context = slot};
        slot->even = ARENA_ARRAY(arena, bool, d->expr_count + 1);
        slot->uses = ARENA_ARRAY(arena, int, d->expr_count + 1);
        slot->packing = ARENA_ARRAY(arena, RowPacking, d->expr_count + 1);
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
        memset(slot->row, -1, sizeof slot->row);
        find_even(slot);
        rows_find_packing(slot);
    }
    return true;
}

static bool emit_row(Emitting *p, Arena *arena) {
    for (int pass = 0; pass < p->r->pass_count && !p->refused; pass++)
        if (!rows_emit_passes(p, arena, pass, pass))
            return false;
    return p->refused || rows_emit_values(p, arena, p->r->pass_count);
}

/* Group of rows after group of rows, and (across) of whole vectors of them. */
static bool emit_rows(Emitting *p, Arena *arena, int rows, int lanes, bool blocks) {
    p->row = vector_loop(p->f, rows, 0, p->r->across ? 1 : p->shape->copies, NULL, NULL, 0);
    if (blocks)
        p->block = vector_loop(p->f, lanes, 0, (int64_t)p->shape->copies * p->r->lanes, NULL, NULL, 0);
    if (!emit_row(p, arena))
        return false;
    if (blocks)
        vector_end(p->f, NULL, NULL);
    vector_end(p->f, NULL, NULL);
    return true;
}

static void add_parameters(Emitting *p, Arena *arena, int *rows, int *lanes) {
    const Rows *r = p->r;
    for (int i = 0; i < r->nest.access_count; i++)
        if (r->leader[i] == i)
            p->pointer[i] =
                vector_parameter(p->f, CLASS_POINTER, arena_printf(arena, "%s%d", r->nest.access[i].read ? "x" : "y", i));
    for (int i = 0; i < r->scratch_count; i++)
        p->scratch[i] = vector_parameter(p->f, CLASS_POINTER, arena_printf(arena, "scratch%d", i));
    *rows = vector_parameter(p->f, CLASS_INDEX, "rows");
    *lanes = vector_parameter(p->f, CLASS_INDEX, "lanes");
    p->full = r->counted ? vector_parameter(p->f, CLASS_INDEX, "full") : -1;
    p->last = r->counted ? vector_parameter(p->f, CLASS_INDEX, "last") : -1;
    p->rounds = r->lone ? vector_parameter(p->f, CLASS_INDEX, "rounds") : -1;
    p->rest = r->lone ? vector_parameter(p->f, CLASS_INDEX, "rest") : -1;
    p->start = -1;
}

const VectorFunction *rows_emit(const Rows *r, int function, Compiled *c, const char **why, whet_error *err) {
    Arena *arena = c->vectors;
    Emitting *p = ARENA_NEW(arena, Emitting);
    if (p) {
        *p = (Emitting){.r = r,
                        .shape = &r->function[function],
                        .row = -1,
                        .turn = -1,
                        .block = -1,
                        .mask = -1,
                        .shares = r->lanes * 4 != 32 && !r->shrunk};
        p->f = schedule_function(arena, arena_printf(arena, "rows%d_%lld", function, (long long)r->columns), &r->target);
    }
    if (!p || !p->f || !start_slots(p, arena, r->known)) {
        error_memory(err);
        return NULL;
    }
    int rows, lanes;
    for (int k = 0; k < NEST_MAX_AXES; k++)
        p->counter[k] = -1;
    add_parameters(p, arena, &rows, &lanes);
    bool fine = p->shape->stages > 1 ? rows_emit_overlapped(p, arena, rows)
                                     : emit_rows(p, arena, rows, lanes, r->across && function == r->whole);
    if (!fine || p->refused) {
        *why = p->refused;
        if (!fine)
            error_memory(err);
        return NULL;
    }
    return vector_finish(p->f, err) ? p->f : NULL;
}
