/* The vector code of a row kernel: for every row, each definition in turn; a reduction is a loop over the columns that carries
 * `unroll` partial results, which are then folded together and over the lanes. */
#include "schedule/rows.h"

#include <math.h>
#include <string.h>

enum { MAX_UNROLL = 8 };

typedef struct Emitting {
    const Rows *r;
    VectorFunction *f;
    int pointer[NEST_MAX_ACCESSES], scratch[ROWS_MAX_DEFINITIONS];
    int row, column; /* counters; column -1: behind the loop */
    int64_t offset;  /* columns */
    int mask;
    int value[ROWS_MAX_DEFINITIONS]; /* of definitions with one value a row */
    int lanes;
    const char *refused;
} Emitting;

static VectorAddress place(const Emitting *p, int access) {
    int64_t stride = 4 * rows_column_stride(p->r, access);
    VectorAddress a = vector_plus(vector_at(p->pointer[access], p->offset * stride), p->row, 4 * rows_row_stride(p->r, access));
    return p->column < 0 ? a : vector_plus(a, p->column, stride);
}

static VectorAddress scratch_place(const Emitting *p, int scratch) {
    VectorAddress a = vector_at(p->scratch[scratch], 4 * p->offset);
    return p->column < 0 ? a : vector_plus(a, p->column, 4);
}

static int read_operand(ExprEmitter *e, const Expr *read) {
    Emitting *p = e->context;
    int source = rows_source(p->r, read->tensor);
    if (source >= 0 && !p->r->item[source].columnwise)
        return p->value[source];
    if (source >= 0)
        return vector_load(p->f, DT_F32, DT_F32, scratch_place(p, p->r->item[source].scratch), p->mask);
    int access = nest_find(&p->r->nest, read);
    if (rows_column_stride(p->r, access))
        return vector_load(p->f, DT_F32, DT_F32, place(p, access), p->mask);
    return vector_splat(p->f, DT_F32, DT_F32, place(p, access));
}

/* ---- reductions ---- */

static bool reduction_of(ReduceOp op, VectorCode *combine, double *start) {
    switch (op) {
    case REDUCE_SUM: *combine = VECTOR_ADD, *start = 0; return true;
    case REDUCE_MAX: *combine = VECTOR_MAX, *start = -INFINITY; return true;
    case REDUCE_MIN: *combine = VECTOR_MIN, *start = INFINITY; return true;
    default: return false;
    }
}

/* Over the lanes. REDUCE_MIN and REDUCE_MAX do not carry NaN, so it is looked for. */
static int fold_lanes(const Emitting *p, VectorCode combine, int x) {
    VectorFunction *f = p->f;
    if (combine == VECTOR_ADD)
        return vector_unary(f, VECTOR_REDUCE_ADD, x);
    int nan = vector_binary(f, VECTOR_UNORDERED, x, x);
    int flags = vector_ternary(f, VECTOR_SELECT, nan, vector_const(f, DT_F32, 1), vector_const(f, DT_F32, 0));
    int y = vector_unary(f, combine == VECTOR_MAX ? VECTOR_REDUCE_MAX : VECTOR_REDUCE_MIN, x);
    int any = vector_binary(f, VECTOR_NE, vector_unary(f, VECTOR_REDUCE_ADD, flags), vector_const(f, DT_F32, 0));
    return vector_ternary(f, VECTOR_SELECT, any, vector_const(f, DT_F32, NAN), y);
}

static void reduce_step(Emitting *p, ExprEmitter *e, const Expr *reduce, VectorCode combine, double start, int64_t offset,
                        int64_t left, int *sum) {
    p->offset = offset;
    p->mask = left < p->lanes ? vector_mask_first(p->f, DT_F32, (int)left) : -1;
    expr_forget(e);
    int x = expr_emit(e, reduce->arg[0]);
    if (e->refused)
        return;
    if (p->mask >= 0)
        x = vector_ternary(p->f, VECTOR_SELECT, p->mask, x, vector_const(p->f, DT_F32, start));
    *sum = vector_binary(p->f, combine, *sum, x);
}

static int emit_reduction(Emitting *p, ExprEmitter *e, const Expr *reduce) {
    VectorCode combine;
    double start;
    int sum[MAX_UNROLL], inside[MAX_UNROLL], unroll = p->r->unroll < MAX_UNROLL ? p->r->unroll : MAX_UNROLL;
    if (!reduction_of(reduce->reduce, &combine, &start)) {
        e->refused = "a reduction other than sum, max and min";
        return -1;
    }
    int64_t columns = p->r->columns, group = (int64_t)unroll * p->lanes, whole = columns / group * group;
    for (int u = 0; u < unroll; u++)
        sum[u] = vector_const(p->f, DT_F32, start);
    if (whole) {
        p->column = vector_loop(p->f, -1, whole, group, sum, inside, unroll);
        for (int u = 0; u < unroll; u++)
            reduce_step(p, e, reduce, combine, start, (int64_t)u * p->lanes, p->lanes, &inside[u]);
        vector_end(p->f, inside, sum);
        p->column = -1;
    }
    for (int64_t at = whole; at < columns; at += p->lanes)
        reduce_step(p, e, reduce, combine, start, at, columns - at, &sum[(at - whole) / p->lanes]);
    for (int step = 1; step < unroll; step *= 2)
        for (int u = 0; u + step < unroll; u += 2 * step)
            sum[u] = vector_binary(p->f, combine, sum[u], sum[u + step]);
    p->offset = 0;
    p->mask = -1;
    return e->refused ? -1 : fold_lanes(p, combine, sum[0]);
}

/* ---- definitions ---- */

static void store_columns(Emitting *p, ExprEmitter *e, const RowDefinition *item, int64_t offset, int64_t left,
                          const int *reduced) {
    const Definition *d = item->definition;
    p->offset = offset;
    p->mask = left < p->lanes ? vector_mask_first(p->f, DT_F32, (int)left) : -1;
    expr_forget(e);
    for (int k = 0, n = 0; k < d->expr_count; k++)
        if (d->exprs[k]->op == EXPR_REDUCE)
            expr_know(e, d->exprs[k], reduced[n++]);
    int value = expr_emit(e, d->value);
    if (!e->refused)
        vector_store(p->f, DT_F32, value, item->scratch >= 0 ? scratch_place(p, item->scratch) : place(p, item->write), p->mask);
}

static void emit_columns(Emitting *p, ExprEmitter *e, const RowDefinition *item, const int *reduced) {
    int64_t columns = p->r->columns, group = (int64_t)p->r->unroll * p->lanes, whole = columns / group * group;
    if (whole) {
        p->column = vector_loop(p->f, -1, whole, group, NULL, NULL, 0);
        for (int u = 0; u < p->r->unroll; u++)
            store_columns(p, e, item, (int64_t)u * p->lanes, p->lanes, reduced);
        vector_end(p->f, NULL, NULL);
        p->column = -1;
    }
    for (int64_t at = whole; at < columns; at += p->lanes)
        store_columns(p, e, item, at, columns - at, reduced);
    p->offset = 0;
    p->mask = -1;
}

static bool emit_definition(Emitting *p, int index, Arena *arena) {
    enum { MAX_REDUCTIONS = 8 };
    const RowDefinition *item = &p->r->item[index];
    const Definition *d = item->definition;
    ExprEmitter e = {
        .f = p->f, .definition = d, .kernel = p->r->nest.kernel, .constant = p->r->known, .read = read_operand, .context = p};
    int reduced[MAX_REDUCTIONS], count = 0;
    if (!expr_start(&e, arena))
        return false;
    for (int k = 0; k < d->expr_count && !e.refused; k++)
        if (d->exprs[k]->op == EXPR_REDUCE) {
            if (count == MAX_REDUCTIONS)
                e.refused = "more reductions in one definition than a row kernel takes";
            else
                reduced[count++] = emit_reduction(p, &e, d->exprs[k]);
        }
    if (item->columnwise && !e.refused)
        emit_columns(p, &e, item, reduced);
    else if (!e.refused) {
        expr_forget(&e);
        for (int k = 0, n = 0; k < d->expr_count; k++)
            if (d->exprs[k]->op == EXPR_REDUCE)
                expr_know(&e, d->exprs[k], reduced[n++]);
        p->value[index] = expr_emit(&e, d->value);
        if (!e.refused && item->write >= 0)
            vector_store_first(p->f, DT_F32, p->value[index], place(p, item->write));
    }
    p->refused = e.refused;
    return !e.refused;
}

const VectorFunction *rows_emit(const Rows *r, Compiled *c, const char **why, whet_error *err) {
    Emitting p = {.r = r, .column = -1, .mask = -1, .lanes = c->target.bytes / 4};
    p.f = vector_new(&c->arena, arena_printf(&c->arena, "rows_%lld", (long long)r->columns), c->target.bytes);
    if (!p.f) {
        error_memory(err);
        return NULL;
    }
    for (int i = 0; i < r->nest.access_count; i++)
        p.pointer[i] =
            vector_parameter(p.f, CLASS_POINTER, arena_printf(&c->arena, "%s%d", r->nest.access[i].read ? "x" : "y", i));
    for (int i = 0; i < r->scratch_count; i++)
        p.scratch[i] = vector_parameter(p.f, CLASS_POINTER, arena_printf(&c->arena, "scratch%d", i));
    int rows = vector_parameter(p.f, CLASS_INDEX, "rows");
    p.row = vector_loop(p.f, rows, 0, 1, NULL, NULL, 0);
    for (int i = 0; i < r->count; i++)
        if (!emit_definition(&p, i, &c->arena)) {
            *why = p.refused;
            if (!p.refused)
                error_memory(err);
            return NULL;
        }
    vector_end(p.f, NULL, NULL);
    return vector_finish(p.f, err) ? p.f : NULL;
}
