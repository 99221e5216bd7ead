/* Vector code of one box: for each row, its segments of columns, in groups of vectors; or squares (map_squares.c).
 *
 * Columns are constants, or, of one row alone, arguments. The vector that is left over at a segment's end begins earlier and
 * computes some elements again; only where a segment is shorter than a vector are there masks. What does not change along the
 * columns is computed once a row. */
#include "schedule/map_emit.h"
#include "schedule/wide.h"

#include <string.h>

/* ---- one vector ---- */

static void forget(MapEmitter *p) {
    expr_forget(&p->e);
    for (int i = 0; i < p->even.count; i++)
        expr_know(&p->e, p->even.expr[i], p->even.value[i]);
}

void map_store(MapEmitter *p) {
    const Expr *expr = p->m->nest.definition->value;
    int known = p->e.known[expr->id];
    bool narrow = p->bits && !p->m->moves;
    int value = narrow         ? map_emit_narrow(&p->e, expr, map_read_value)
                : !p->m->moves ? expr_emit_to_store(&p->e, expr)
                : known >= 0   ? known
                               : map_read_value(&p->e, expr);
    DType type = p->m->nest.access[0].type;
    if (p->e.refused)
        return;
    if (p->m->wide && p->single)
        wide_store_first(p->f, type, value, map_place(p, 0, 0, 0));
    else if (p->m->wide)
        wide_store(p->f, type, value, map_place(p, 0, 0, 0), p->mask);
    else if (p->bits && p->single)
        vector_store_first(p->f, p->bits, value, map_place(p, 0, 0, 0));
    else if (p->bits)
        vector_store(p->f, p->bits, value, map_place(p, 0, 0, 0), p->mask);
    else if (p->single)
        expr_store_first(p->f, type, value, map_place(p, 0, 0, 0));
    else
        expr_store(p->f, type, value, map_place(p, 0, 0, 0), p->mask);
}

static void emit_vector(MapEmitter *p, int64_t column) {
    p->place.at = column;
    forget(p);
    map_store(p);
}

/* ---- what a row knows ---- */

static void find_varying(MapEmitter *p) {
    const Definition *d = p->m->nest.definition;
    for (int i = 0; i < d->expr_count; i++) {
        const Expr *expr = d->exprs[i];
        int access = expr->op == EXPR_READ || expr->op == EXPR_AXIS ? nest_find(&p->m->nest, expr) : -1;
        bool varies = false;
        for (int k = 0; k < 3; k++)
            varies = varies || (expr->arg[k] && p->varies[expr->arg[k]->id]);
        if (access >= 0) {
            const Access *a = &p->m->nest.access[access];
            varies = varies || map_column_stride(p->m, access) || map_offsets_along(p->m, access, true) ||
                     p->m->lanes[access].split > 1;
            for (int g = 0; g < a->guard_count && p->m->column >= 0; g++)
                varies = varies || a->guard[g].coef[p->m->column];
        }
        p->varies[i] = varies;
    }
}

/* Whole expressions that stay as they are along the columns; not what an instruction reads from memory as cheaply. */
static void know_even(MapEmitter *p, const Expr *expr, bool *seen) {
    if (seen[expr->id] || p->even.count == p->even.most || expr->op == EXPR_NUMBER)
        return;
    seen[expr->id] = true;
    if (!p->varies[expr->id]) {
        bool cheap = expr->op == EXPR_READ && expr->type == DT_F32 && p->f->bytes == 64;
        if (cheap)
            return;
        p->even.value[p->even.count] = expr_emit(&p->e, expr);
        p->even.expr[p->even.count++] = expr;
        return;
    }
    for (int k = 0; k < 3 && expr->op != EXPR_READ; k++)
        if (expr->arg[k])
            know_even(p, expr->arg[k], seen);
}

static void start_row(MapEmitter *p) {
    Arena arena;
    const Definition *d = p->m->nest.definition;
    p->even.count = 0;
    p->place.at = p->place.row_offset = 0;
    p->mask = p->half_mask = -1;
    p->segment = &p->box->segments[0];
    if (p->box->segment_count > 1 || p->m->moves || p->bits)
        return; /* what is outside differs along the row */
    arena_init(&arena, NULL);
    bool *seen = ARENA_ARRAY(&arena, bool, (size_t)d->expr_count + 1);
    expr_forget(&p->e);
    if (seen)
        know_even(p, d->value, seen);
    arena_free(&arena);
}

/* ---- rows ---- */

/* Columns [from, end) in lanes of 32 bits where the type's own cannot be masked. */
static void emit_short(MapEmitter *p, int64_t from, int64_t columns) {
    DType bits = p->bits;
    int lanes = p->lanes;
    if (bits && map_bytes(bits) < 4 && p->f->bytes < 64) {
        p->bits = DT_NONE;
        p->lanes = p->used = vector_lanes(p->f, DT_F32);
    }
    int64_t whole = columns / p->lanes * p->lanes;
    for (int64_t at = 0; at < whole; at += p->lanes)
        emit_vector(p, from + at);
    if (columns > whole) {
        p->mask = whole && p->lanes <= columns ? -1 : map_mask_of(p, columns - whole);
        if (p->m->wide && p->mask >= 0)
            p->half_mask = vector_mask_first(p->f, DT_F32, 2 * (int)(columns - whole));
        p->used = p->mask < 0 ? p->lanes : (int)(columns - whole);
        p->single = p->used == 1 && p->m->moves && !map_offsets_along(p->m, 1, true); /* cheaper than under a mask */
        emit_vector(p, p->mask < 0 ? from + columns - p->lanes : from + whole);
        p->mask = p->half_mask = -1;
        p->used = p->lanes;
        p->single = false;
    }
    p->bits = bits;
    p->lanes = p->used = lanes;
}

static void emit_scattered(MapEmitter *p, const MapSegment *segment) {
    p->single = true;
    p->place.column = vector_loop(p->f, -1, segment->extent, 1, NULL, NULL, 0);
    emit_vector(p, segment->begin);
    vector_end(p->f, NULL, NULL);
    p->place.column = -1;
    p->single = false;
}

/* Vectors of a round: as many as permuted reads take to begin again; 0: all for themselves. */
static int vectors_each(MapEmitter *p, const MapSegment *segment) {
    p->taken.tables = true;
    if (!p->m->permutes)
        return p->unroll;
    bool moved = false;
    for (int i = 1; i < p->m->nest.access_count; i++)
        moved = moved || map_row_offsets(p->m, i);
    int vectors = map_lanes_period(p->m, segment, p->lanes, MAP_MOST_UNROLL, true);
    if ((!vectors || moved) && segment->extent / p->lanes <= MAP_MOST_APART) /* a loop would want more pointers */
        return 0;
    if (!vectors) {
        p->taken.tables = false;
        vectors = map_lanes_period(p->m, segment, p->lanes, MAP_MOST_UNROLL, false);
    }
    int rounds = vectors < p->unroll ? p->unroll / vectors : 1;
    return segment->extent >= (int64_t)2 * rounds * vectors * p->lanes ? rounds * vectors : vectors;
}

static void emit_segment(MapEmitter *p, const MapSegment *segment) {
    int vectors = vectors_each(p, segment);
    int64_t group = (int64_t)vectors * p->lanes, whole = group ? segment->extent / group * group : 0;
    p->segment = segment;
    if (p->m->permutes && whole < 2 * group)
        whole = 0;
    int64_t left = segment->extent - whole;
    if (p->one_by_one) {
        emit_scattered(p, segment);
        return;
    }
    if (segment->extent < p->lanes) {
        emit_short(p, segment->begin, segment->extent);
        return;
    }
    if (whole) {
        p->place.unit = p->m->permutes ? group : 1; /* permuted reads go on by elements a round, not a column */
        p->place.column = vector_loop(p->f, -1, whole / p->place.unit, group / p->place.unit, NULL, NULL, 0);
        int start[MAP_MOST_UNROLL];
        p->round = (MapRound){segment->begin, group};
        p->runs.count = p->runs.next = 0;
        for (int u = 0; u < vectors; u++) {
            start[u] = p->f->op_count;
            emit_vector(p, segment->begin + (int64_t)u * p->lanes);
        }
        vector_interleave(p->f, start, vectors);
        vector_end(p->f, NULL, NULL);
        p->place.column = -1;
        p->place.unit = 1;
        p->round.columns = 0;
        p->runs.count = p->runs.next = 0;
    }
    for (int64_t at = segment->begin + whole; left > 0; at += p->lanes, left -= p->lanes)
        emit_vector(p, left < p->lanes ? at + left - p->lanes : at);
}

/* Rounds of `vectors`, of as many columns as `limit` says, from `start` (-1: the first) on. */
static void emit_rounds(MapEmitter *p, int limit, int start, int vectors) {
    int at[MAP_MOST_UNROLL];
    p->place.block = start;
    p->place.column = vector_loop(p->f, limit, 0, (int64_t)vectors * p->lanes, NULL, NULL, 0);
    for (int u = 0; u < vectors; u++) {
        at[u] = p->f->op_count;
        emit_vector(p, p->segment->begin + (int64_t)u * p->lanes);
    }
    vector_interleave(p->f, at, vectors);
    vector_end(p->f, NULL, NULL);
    p->place.column = p->place.block = -1;
}

static void emit_counted(MapEmitter *p) {
    p->segment = &p->box->segments[0];
    emit_rounds(p, p->rounds, -1, p->unroll);
    emit_rounds(p, p->rest, p->rounds, 1);
    emit_rounds(p, p->ragged, p->last, 1);
}

static void emit_rows(MapEmitter *p, int rows) {
    if (p->box->row >= 0)
        p->place.row = vector_loop(p->f, rows, 0, 1, NULL, NULL, 0);
    map_move_rows(p);
    if (!p->one_by_one)
        start_row(p);
    if (p->box->counted)
        emit_counted(p);
    for (int s = 0; s < p->box->segment_count && !p->box->counted; s++)
        emit_segment(p, &p->box->segments[s]);
    if (p->box->row >= 0)
        vector_end(p->f, NULL, NULL);
}

int map_mask_of(MapEmitter *p, int64_t columns) {
    return vector_mask_first(p->f, p->bits ? p->bits : p->m->wide ? DT_F64 : DT_F32, (int)columns);
}

/* ---- the whole ---- */

static bool start(MapEmitter *p, const ScheduleOptions *options, Compiled *c) {
    const Nest *nest = &p->m->nest;
    p->f = schedule_function(c->vectors, p->box->tiled ? "map_squares" : "map", &c->target);
    p->varies = ARENA_ARRAY(c->vectors, bool, (size_t)nest->definition->expr_count + 1);
    p->e = (ExprEmitter){.f = p->f,
                         .definition = nest->definition,
                         .kernel = nest->kernel,
                         .constant = options->constant,
                         .read = map_read_value,
                         .axis = map_read_value,
                         .context = p,
                         .wide = p->m->wide};
    if (p->m->permutes)
        p->taken.slots = arena_alloc(c->vectors, MAP_MOST_SLOTS, sizeof *p->taken.slots);
    if (p->m->permutes && !p->taken.slots)
        return false;
    if (!p->f || !p->varies || !expr_start(&p->e, c->vectors))
        return false;
    find_varying(p);
    return true;
}

/* The table of lanes goes where the template's data is: one vector behind the other. */
static bool keep_lanes(const MapEmitter *p, MapBox *box, Compiled *c) {
    size_t lanes = (size_t)vector_lanes(p->f, DT_S32);
    int32_t *table = ARENA_ARRAY(&c->arena, int32_t, (size_t)p->taken.count * lanes + 1);
    for (int s = 0; table && s < p->taken.count; s++)
        memcpy(table + (size_t)s * lanes, p->taken.slots[s], lanes * sizeof *table);
    box->lanes = table;
    return table != NULL;
}

const VectorFunction *map_emit(const MapPass *m, MapBox *box, const ScheduleOptions *options, Compiled *c, int unroll,
                               const char **why, whet_error *err) {
    static const char *const letters[] = {[ACCESS_TENSOR] = "x", [ACCESS_NUMBERS] = "n", [ACCESS_OFFSETS] = "at"};
    MapEmitter p = {.m = m,
                    .box = box,
                    .bits = m->bits,
                    .one_by_one = m->scattered || (m->bits == DT_F64 && m->transposed && !box->tiled),
                    .unroll = unroll < MAP_MOST_UNROLL ? unroll : MAP_MOST_UNROLL,
                    .place = {.row = -1, .column = -1, .block = -1, .unit = 1},
                    .mask = -1,
                    .half_mask = -1};
    if (!start(&p, options, c)) {
        error_memory(err);
        return NULL;
    }
    p.moves_late = options->spare_registers || map_extent(box, m->column) <= c->target.bytes / 4;
    p.lanes = p.used = vector_lanes(p.f, p.bits ? p.bits : m->wide ? DT_F64 : DT_F32);
    p.even.most = options->spare_registers ? 0 : c->target.bytes == 64 ? MAP_MOST_EVEN : 3;
    for (int i = 0; i < m->nest.access_count; i++)
        p.pointer[i] = vector_parameter(p.f, CLASS_POINTER,
                                        arena_printf(c->vectors, "%s%d", i ? letters[m->nest.access[i].source] : "y", i));
    map_share_pointers(&p);
    p.taken.pointer = m->permutes ? vector_parameter(p.f, CLASS_POINTER, "lanes") : -1;
    int rows = vector_parameter(p.f, CLASS_INDEX, "rows"), *counts[] = {&p.rounds, &p.rest, &p.ragged, &p.last};
    static const char *const names[] = {"rounds", "rest", "ragged", "last"};
    for (size_t i = 0; i < COUNT(counts) && box->counted; i++)
        *counts[i] = vector_parameter(p.f, CLASS_INDEX, names[i]);
    map_prepare_indices(&p);
    if (box->tiled)
        map_emit_squares(&p, rows);
    else
        emit_rows(&p, rows);
    *why = p.e.refused;
    if (m->permutes && !keep_lanes(&p, box, c)) {
        error_memory(err);
        return NULL;
    }
    return !p.e.refused && vector_finish(p.f, err) ? p.f : NULL;
}
