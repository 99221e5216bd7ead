/* Vector code of one box: for each row, its segments of columns, in groups of vectors; or squares of rows and columns, whose
 * transposed reads change places in registers.
 *
 * Columns are constants. The vector that is left over at a segment's end begins earlier and computes some elements again; only
 * where a segment is shorter than a vector are there masks. What does not change along the columns is computed once a row. */
#include "schedule/map.h"
#include "schedule/wide.h"

#include <string.h>

enum {
    MOST_EVEN = 8, /* values that a row keeps in registers */
    SQUARES = 8,   /* of a block */
    MOST_UNROLL = 16,
    MOST_SLOTS = 256 /* of lanes that are permuted */
};

typedef struct Emitting {
    const MapPass *m;
    const MapBox *box;
    VectorFunction *f;
    ExprEmitter e;
    int pointer[NEST_MAX_ACCESSES];
    int steps[NEST_MAX_ACCESSES]; /* by access: iota times its stride, for reads with gaps; -1. In both halves of wide lanes */
    int lane_table;               /* the parameter with MapBox.lanes */
    int32_t (*slots)[VECTOR_MAX_BYTES / 4]; /* what it points to */
    int slot_count;
    int moved[NEST_MAX_ACCESSES]; /* by access: the pointer of this row where a gather moves it; -1 */
    int backwards;                /* the lanes in reverse; -1 */
    DType bits;                   /* see MapPass; DT_NONE: lanes of 32 bits */
    int lanes, unroll;
    int packed; /* elements of a lane in squares: of narrow types that are moved as they are */
    /* the place: columns from `begin` + counter + offset on, of a row counter + row_offset */
    int row, column, block; /* block: of columns, in squares */
    int64_t unit;           /* columns that the counter counts as one */
    int64_t at, row_offset;
    int mask, half_mask; /* of lanes; of the halves of wide ones */
    int used;            /* lanes that are stored */
    bool single;         /* one element in all lanes */
    bool one_by_one;     /* elements are stored each for itself */
    bool tables;         /* reads by tables are permuted */
    const MapSegment *segment;
    /* what is known of a row */
    const Expr *even[MOST_EVEN];
    int even_value[MOST_EVEN], even_count, even_most;
    bool *varies; /* by expression: along the columns */
} Emitting;

static VectorAddress place(const Emitting *p, int access, int64_t columns, int64_t rows) {
    int64_t size = map_bytes(p->m->nest.access[access].type), stride = size * map_column_stride(p->m, access);
    int64_t row_stride = size * map_row_stride(p->m, access);
    VectorAddress a = vector_at(p->pointer[access], (p->at + columns) * stride + (p->row_offset + rows) * row_stride);
    if (p->moved[access] >= 0)
        a.base = p->moved[access];
    else
        a = vector_plus(a, p->row, row_stride);
    if (p->block >= 0)
        a = vector_plus(a, p->block, stride);
    return p->column < 0 ? a : vector_plus(a, p->column, stride * p->unit);
}

/* Of a permuted read: where a run begins. */
static VectorAddress place_of_run(const Emitting *p, int access, int64_t start) {
    const MapLanes *l = &p->m->lanes[access];
    int64_t size = map_bytes(p->m->nest.access[access].type), row_stride = size * map_row_stride(p->m, access);
    bool moved = p->moved[access] >= 0;
    VectorAddress a = vector_at(moved ? p->moved[access] : p->pointer[access], start * size);
    if (!moved)
        a = vector_plus(a, p->row, row_stride);
    if (p->column < 0)
        return a;
    return vector_plus(a, p->column, size * (map_lane_place(l, p->at + p->unit) - map_lane_place(l, p->at)));
}

/* ---- reads ---- */

/* The bits of 64, as a number that has them. */
static double outside_f64(const Emitting *p, const Access *a) {
    double bits = a->outside;
    if (a->read->type != DT_F64)
        memcpy(&bits, &(int64_t){a->read->arg[0] ? a->read->arg[0]->integer : 0}, 8);
    (void)p;
    return bits;
}

static int outside_value(Emitting *p, const Access *a) {
    if (p->bits)
        return vector_const(p->f, p->bits, p->bits == DT_F64 ? outside_f64(p, a) : (double)(int64_t)a->outside);
    if (a->type == DT_BOOL)
        return vector_mask_first(p->f, DT_F32, a->outside != 0 ? p->lanes : 0);
    DType lane = expr_register(a->type);
    return vector_const(p->f, lane, lane == DT_F32 ? a->outside : (double)(int32_t)(uint32_t)(int64_t)a->outside);
}

static DType memory_type(DType type) {
    return type == DT_BOOL ? DT_U8 : type == DT_U32 ? DT_S32 : type;
}

/* As loaded: bools as numbers. */
static DType raw_type(DType type) {
    return type == DT_BOOL ? DT_S32 : expr_register(type);
}

static int from_raw(Emitting *p, DType type, int x) {
    return type == DT_BOOL ? vector_binary(p->f, VECTOR_NE, x, vector_const(p->f, DT_S32, 0)) : x;
}

/* A vector of the table of lanes. */
static int load_lanes(Emitting *p, const int32_t *lanes) {
    int slot = 0;
    size_t bytes = sizeof(int32_t) * (size_t)p->lanes;
    while (slot < p->slot_count && memcmp(p->slots[slot], lanes, bytes) != 0)
        slot++;
    if (slot == p->slot_count)
        memcpy(p->slots[p->slot_count++], lanes, bytes);
    return vector_load(p->f, DT_S32, DT_S32, vector_at(p->lane_table, (int64_t)(bytes * (size_t)slot)), -1);
}

static int load_run(Emitting *p, int access, int64_t start, int length) {
    DType type = p->m->nest.access[access].type;
    int mask = length < p->lanes ? vector_mask_first(p->f, DT_F32, length) : -1;
    return vector_load(p->f, raw_type(type), memory_type(type), place_of_run(p, access, start), mask);
}

/* -1: its lanes lie in too many runs. */
static int read_permuted(Emitting *p, int access) {
    const Access *a = &p->m->nest.access[access];
    int most = p->f->bytes == 64 ? MAP_MOST_WINDOWS : 4;
    MapWindows w;
    map_find_windows(&p->m->lanes[access], p->at, p->used, p->lanes, most, &w);
    if (!w.count || p->slot_count + w.count > MOST_SLOTS)
        return -1;
    int x = load_run(p, access, w.start[0], w.length[0]);
    if (w.count == 1 && !w.plain)
        x = vector_binary(p->f, VECTOR_PERMUTE, x, load_lanes(p, w.take[0]));
    for (int k = 1; k < w.count; k++)
        x = vector_pick(p->f, x, load_run(p, access, w.start[k], w.length[k]), load_lanes(p, w.take[k]));
    return from_raw(p, a->type, x);
}

/* The same by a gather, where columns are two axes. */
static int read_apart(Emitting *p, int access) {
    const Access *a = &p->m->nest.access[access];
    int32_t lanes[VECTOR_MAX_BYTES / 4] = {0};
    int64_t first = map_lane_place(&p->m->lanes[access], p->at);
    if (p->slot_count == MOST_SLOTS)
        return expr_refuse(&p->e, "too many different orders of lanes");
    for (int l = 0; l < p->used; l++) {
        int64_t place = map_lane_place(&p->m->lanes[access], p->at + l) - first;
        lanes[l] = (int32_t)place;
        if (place > INT32_MAX / 8 || place < INT32_MIN / 8)
            return expr_refuse(&p->e, "a read whose elements lie too far from each other");
    }
    int x = vector_gather(p->f, raw_type(a->type), memory_type(a->type), place_of_run(p, access, first), map_bytes(a->type),
                          load_lanes(p, lanes), p->mask);
    return from_raw(p, a->type, x);
}

static int read_gathered(Emitting *p, int access, int index, VectorAddress at) {
    DType type = p->m->nest.access[access].type;
    return from_raw(p, type, vector_gather(p->f, raw_type(type), memory_type(type), at, map_bytes(type), index, p->mask));
}

/* By offsets that lie along the columns. */
static int read_by_offsets(Emitting *p, int access) {
    if (p->single || p->bits)
        return expr_refuse(&p->e, "a gather along the lanes of a result with gaps, or of 64 bits");
    int index = vector_load(p->f, DT_S32, DT_S32, place(p, map_offsets_along(p->m, access, true), 0, 0), p->mask);
    if (map_column_stride(p->m, access) == 0)
        return read_gathered(p, access, index, place(p, access, 0, 0));
    return read_gathered(p, access, vector_binary(p->f, VECTOR_ADD, index, p->steps[access]), place(p, access, 0, 0));
}

static int read_backwards(Emitting *p, int access) {
    DType type = p->m->nest.access[access].type;
    int x = vector_load(p->f, raw_type(type), memory_type(type), place(p, access, p->lanes - 1, 0), -1);
    return from_raw(p, type, vector_binary(p->f, VECTOR_PERMUTE, x, p->backwards));
}

static int wide_outside(Emitting *p, const Access *a) {
    if (!wide_type(a->type))
        return outside_value(p, a);
    const Expr *outside = a->read->arg[0];
    return outside ? wide_number(&p->e, outside) : vector_const(p->f, a->type == DT_F64 ? DT_F64 : DT_S64, 0);
}

/* Offsets that lie along the columns, and what the columns add. */
static int wide_index(Emitting *p, int access) {
    int table = map_offsets_along(p->m, access, true);
    if (!table)
        return p->steps[access];
    VectorAddress at = place(p, table, 0, 0);
    int offsets = p->single ? vector_splat(p->f, DT_S64, DT_S32, at) : vector_load(p->f, DT_S64, DT_S32, at, p->mask);
    int index = wide_twice(p->f, offsets);
    return p->steps[access] < 0 || p->single ? index : vector_binary(p->f, VECTOR_ADD, index, p->steps[access]);
}

/* In lanes of 64 bits. */
static int read_wide(Emitting *p, int access) {
    const Access *a = &p->m->nest.access[access];
    bool by_lane = map_offsets_along(p->m, access, true);
    int64_t stride = map_column_stride(p->m, access);
    VectorAddress at = place(p, access, 0, 0);
    int x;
    if (p->segment->outside >> access & 1)
        return wide_outside(p, a);
    if (by_lane || (!p->single && stride != 0 && stride != 1))
        x = wide_gather(p->f, a->type, at, wide_index(p, access), p->half_mask);
    else if (p->single || stride == 0)
        x = wide_splat(p->f, a->type, at);
    else
        x = wide_load(p->f, a->type, at, p->mask);
    return a->source == ACCESS_NUMBERS ? wide_extend(&p->e, DT_U32, x) : x;
}

static int read_value(ExprEmitter *e, const Expr *expr) {
    Emitting *p = e->context;
    int access = nest_find(&p->m->nest, expr);
    const Access *a = &p->m->nest.access[access];
    int64_t stride = map_column_stride(p->m, access);
    if (p->m->wide)
        return read_wide(p, access);
    if (p->segment->outside >> access & 1)
        return outside_value(p, a);
    const MapLanes *l = &p->m->lanes[access];
    int x = l->permuted && (p->tables || !l->table) ? read_permuted(p, access) : -1;
    if (x >= 0 || l->split > 1)
        return x >= 0 ? x : read_apart(p, access);
    if (map_offsets_along(p->m, access, true))
        return read_by_offsets(p, access);
    if (p->single || stride == 0)
        return p->bits ? vector_splat(p->f, p->bits, p->bits, place(p, access, 0, 0))
                       : expr_splat(p->f, a->type, place(p, access, 0, 0));
    if (stride == 1)
        return p->bits ? vector_load(p->f, p->bits, p->bits, place(p, access, 0, 0), p->mask)
                       : expr_load(p->f, a->type, place(p, access, 0, 0), p->mask);
    if (stride == -1 && p->mask < 0)
        return read_backwards(p, access);
    return read_gathered(p, access, p->steps[access], place(p, access, 0, 0));
}

/* ---- one vector ---- */

static void forget(Emitting *p) {
    expr_forget(&p->e);
    for (int i = 0; i < p->even_count; i++)
        expr_know(&p->e, p->even[i], p->even_value[i]);
}

static void store(Emitting *p) {
    const Expr *expr = p->m->nest.definition->value;
    int known = p->e.known[expr->id];
    bool narrow = p->bits && !p->m->moves;
    int value = narrow         ? map_emit_narrow(&p->e, expr, read_value)
                : !p->m->moves ? expr_emit_to_store(&p->e, expr)
                : known >= 0   ? known
                               : read_value(&p->e, expr);
    DType type = p->m->nest.access[0].type;
    if (p->e.refused)
        return;
    if (p->m->wide && p->single)
        wide_store_first(p->f, type, value, place(p, 0, 0, 0));
    else if (p->m->wide)
        wide_store(p->f, type, value, place(p, 0, 0, 0), p->mask);
    else if (p->bits && p->single)
        vector_store_first(p->f, p->bits, value, place(p, 0, 0, 0));
    else if (p->bits)
        vector_store(p->f, p->bits, value, place(p, 0, 0, 0), p->mask);
    else if (p->single)
        expr_store_first(p->f, type, value, place(p, 0, 0, 0));
    else
        expr_store(p->f, type, value, place(p, 0, 0, 0), p->mask);
}

static void emit_vector(Emitting *p, int64_t column) {
    p->at = column;
    forget(p);
    store(p);
}

/* ---- what a row knows ---- */

static void find_varying(Emitting *p) {
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
static void know_even(Emitting *p, const Expr *expr, bool *seen) {
    if (seen[expr->id] || p->even_count == p->even_most || expr->op == EXPR_NUMBER)
        return;
    seen[expr->id] = true;
    if (!p->varies[expr->id]) {
        bool cheap = expr->op == EXPR_READ && expr->type == DT_F32 && p->f->bytes == 64;
        if (cheap)
            return;
        p->even_value[p->even_count] = expr_emit(&p->e, expr);
        p->even[p->even_count++] = expr;
        return;
    }
    for (int k = 0; k < 3 && expr->op != EXPR_READ; k++)
        if (expr->arg[k])
            know_even(p, expr->arg[k], seen);
}

static void start_row(Emitting *p) {
    Arena arena;
    const Definition *d = p->m->nest.definition;
    p->even_count = 0;
    p->at = p->row_offset = 0;
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

static int mask_of(Emitting *p, int64_t columns) {
    return vector_mask_first(p->f, p->bits ? p->bits : p->m->wide ? DT_F64 : DT_F32, (int)columns);
}

/* Columns [from, end) in lanes of 32 bits where the type's own cannot be masked. */
static void emit_short(Emitting *p, int64_t from, int64_t columns) {
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
        p->mask = whole && p->lanes <= columns ? -1 : mask_of(p, columns - whole);
        if (p->m->wide && p->mask >= 0)
            p->half_mask = vector_mask_first(p->f, DT_F32, 2 * (int)(columns - whole));
        p->used = p->mask < 0 ? p->lanes : (int)(columns - whole);
        emit_vector(p, p->mask < 0 ? from + columns - p->lanes : from + whole);
        p->mask = p->half_mask = -1;
        p->used = p->lanes;
    }
    p->bits = bits;
    p->lanes = p->used = lanes;
}

static void emit_scattered(Emitting *p, const MapSegment *segment) {
    p->single = true;
    p->column = vector_loop(p->f, -1, segment->extent, 1, NULL, NULL, 0);
    emit_vector(p, segment->begin);
    vector_end(p->f, NULL, NULL);
    p->column = -1;
    p->single = false;
}

/* Vectors of a round: as many as permuted reads take to begin again; 0: all for themselves. */
static int vectors_each(Emitting *p, const MapSegment *segment) {
    p->tables = true;
    if (!p->m->permutes)
        return p->unroll;
    bool moved = false;
    for (int i = 1; i < p->m->nest.access_count; i++)
        moved = moved || p->moved[i] >= 0;
    int vectors = map_lanes_period(p->m, segment, p->lanes, MOST_UNROLL, true);
    if ((!vectors || moved) && segment->extent / p->lanes <= MAP_MOST_APART) /* a loop would want more pointers */
        return 0;
    if (!vectors) {
        p->tables = false;
        vectors = map_lanes_period(p->m, segment, p->lanes, MOST_UNROLL, false);
    }
    int rounds = vectors < p->unroll ? p->unroll / vectors : 1;
    return segment->extent >= (int64_t)2 * rounds * vectors * p->lanes ? rounds * vectors : vectors;
}

static void emit_segment(Emitting *p, const MapSegment *segment) {
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
        p->unit = p->m->permutes ? group : 1; /* permuted reads go on by elements a round, not a column */
        p->column = vector_loop(p->f, -1, whole / p->unit, group / p->unit, NULL, NULL, 0);
        int start[MOST_UNROLL];
        for (int u = 0; u < vectors; u++) {
            start[u] = p->f->op_count;
            emit_vector(p, segment->begin + (int64_t)u * p->lanes);
        }
        vector_interleave(p->f, start, vectors);
        vector_end(p->f, NULL, NULL);
        p->column = -1;
        p->unit = 1;
    }
    for (int64_t at = segment->begin + whole; left > 0; at += p->lanes, left -= p->lanes)
        emit_vector(p, left < p->lanes ? at + left - p->lanes : at);
}

/* An earlier read of the same elements but for what differs between columns, and but for gathers from row to row if `rows`: the
 * same pointer serves both. -1: none. */
static int same_place(const MapPass *m, int access, bool rows) {
    const Access *a = &m->nest.access[access];
    for (int i = 1; i < access && a->source == ACCESS_TENSOR; i++) {
        const Access *b = &m->nest.access[i];
        bool moved = map_offsets_along(m, access, false) == map_offsets_along(m, i, false) ||
                     (rows && map_row_offsets(m, access) && map_row_offsets(m, i));
        bool same = b->source == ACCESS_TENSOR && a->tensor == b->tensor && a->offset == b->offset && moved;
        for (int x = 0; same && x < m->nest.axis_count; x++)
            same = x == m->column || a->stride[x] == b->stride[x];
        if (same)
            return i;
    }
    return -1;
}

/* Pointers of reads that a gather moves from row to row. */
static void move_rows(Emitting *p) {
    for (int i = 1; i < p->m->nest.access_count; i++) {
        int offsets = map_row_offsets(p->m, i), pointer = p->pointer[i];
        if (!offsets)
            continue;
        int same = same_place(p->m, i, false);
        if (same >= 0) {
            p->moved[i] = p->moved[same];
            continue;
        }
        int64_t size = map_bytes(p->m->nest.access[i].type), stride = map_row_stride(p->m, i);
        if (stride)
            pointer = vector_pointer_index(p->f, pointer, p->row, size * stride);
        int offset = vector_load_index(
            p->f, vector_plus(vector_at(p->pointer[offsets], 0), p->row, map_bytes(DT_S64) * map_row_stride(p->m, offsets)));
        p->moved[i] = vector_pointer_index(p->f, pointer, offset, size);
    }
}

static void emit_rows(Emitting *p, int rows) {
    if (p->m->row >= 0)
        p->row = vector_loop(p->f, rows, 0, 1, NULL, NULL, 0);
    move_rows(p);
    if (!p->one_by_one)
        start_row(p);
    for (int s = 0; s < p->box->segment_count; s++)
        emit_segment(p, &p->box->segments[s]);
    if (p->m->row >= 0)
        vector_end(p->f, NULL, NULL);
}

/* ---- squares ---- */

/* What lane by lane becomes the next `packed` columns of one read that is contiguous along the rows: the first in the lowest
 * bits. */
static int load_columns(Emitting *p, int access, int64_t column) {
    DType type = p->m->nest.access[access].type, raw = p->bits ? p->bits : raw_type(type);
    int all = -1;
    for (int k = 0; k < p->packed; k++) {
        int one = vector_load(p->f, raw, p->bits ? p->bits : memory_type(type), place(p, access, column + k, 0), -1);
        if (k)
            one = vector_immediate(p->f, VECTOR_SHL, one, 8 * map_bytes(type) * k);
        all = k ? vector_binary(p->f, VECTOR_OR, all, one) : one;
    }
    return all;
}

/* Rows of the square at the place. `columns`: how many of them there are. */
static void load_square(Emitting *p, int access, int64_t columns, int *rows) {
    for (int j = 0; j < p->lanes; j++)
        rows[j] = j * p->packed >= columns ? rows[j - 1] : load_columns(p, access, j * p->packed);
    vector_transpose(p->f, rows);
}

static void emit_square(Emitting *p, int64_t column, int64_t columns) {
    int rows[NEST_MAX_ACCESSES][VECTOR_MAX_BYTES / 4];
    const Nest *nest = &p->m->nest;
    p->at = column;
    p->row_offset = 0;
    for (int i = 1; i < nest->access_count; i++)
        if (p->m->transposed >> i & 1 && !(p->segment->outside >> i & 1))
            load_square(p, i, columns, rows[i]);
    p->mask = columns < p->lanes ? mask_of(p, columns) : -1;
    for (int r = 0; r < p->lanes; r++) {
        p->row_offset = r;
        expr_forget(&p->e);
        for (int i = 1; i < nest->access_count; i++)
            if (p->m->transposed >> i & 1 && !(p->segment->outside >> i & 1))
                expr_know(&p->e, nest->access[i].read, from_raw(p, nest->access[i].type, rows[i][r]));
        if (p->packed > 1)
            vector_store(p->f, DT_S32, rows[1][r], place(p, 0, 0, 0), -1); /* whole lanes are their bits, in order */
        else
            store(p);
    }
    p->row_offset = 0;
    p->mask = -1;
}

/* Squares after which permuted reads go on as they began, of `count`: all where they never do. */
static int64_t squares_a_round(const Emitting *p, int64_t count) {
    int each = p->m->permutes ? map_lanes_period(p->m, p->segment, p->lanes * p->packed, MOST_UNROLL, true) : 1;
    return each ? each : count;
}

/* `count` squares beside each other, for all rows. */
static void emit_squares_of(Emitting *p, int rows, int64_t begin, int64_t count, int64_t columns) {
    int64_t wide = (int64_t)p->lanes * p->packed, each = count > 1 ? squares_a_round(p, count) : 1;
    int64_t looped = count / each > 1 ? count / each * each : 0;
    p->row = vector_loop(p->f, rows, 0, p->lanes, NULL, NULL, 0);
    if (looped) {
        p->unit = p->m->permutes ? each * wide : 1;
        p->column = vector_loop(p->f, -1, looped * wide / p->unit, each * wide / p->unit, NULL, NULL, 0);
        for (int64_t k = 0; k < each; k++)
            emit_square(p, begin + k * wide, columns);
        vector_end(p->f, NULL, NULL);
        p->column = -1;
        p->unit = 1;
    }
    for (int64_t k = looped; k < count; k++)
        emit_square(p, begin + k * wide, columns);
    vector_end(p->f, NULL, NULL);
}

/* Squares of a block: as many as divide `whole` if so many squares can be cut without a rest, which would need code of its own.
 */
static int64_t squares_each(int64_t whole, int64_t most) {
    for (int64_t each = most; each >= most / 2 + 1; each--)
        if (whole % each == 0)
            return each;
    return most;
}

/* Elements that a lane holds while they change places: a whole lane of them where their bits are all that counts. */
static int packed_in(const Emitting *p, const MapSegment *segment) {
    int size = map_bytes(p->m->nest.access[0].type), packed = size < 4 ? 4 / size : 1;
    bool fine = p->m->moves && !segment->outside && segment->extent >= packed * p->lanes;
    return fine && p->m->transposed == 1 << 1 ? packed : 1;
}

/* Blocks of columns outside, rows inside, then the squares of a block: what is read comes in long runs, what is written in runs
 * of a few lines, and few pages are in use at a time. */
static void emit_squares(Emitting *p, int rows) {
    for (int s = 0; s < p->box->segment_count; s++) {
        const MapSegment *segment = &p->box->segments[s];
        p->packed = packed_in(p, segment);
        int64_t wide = (int64_t)p->lanes * p->packed, whole = segment->extent / wide, left = segment->extent % wide;
        /* permuted reads have no stride that a loop over blocks could take */
        int64_t most = p->m->permutes && whole ? whole : squares_each(whole, SQUARES / p->packed), blocks = whole / most;
        p->segment = segment;
        if (blocks > 1)
            p->block = vector_loop(p->f, -1, blocks * most * wide, most * wide, NULL, NULL, 0);
        if (blocks)
            emit_squares_of(p, rows, segment->begin, most, wide);
        if (blocks > 1)
            vector_end(p->f, NULL, NULL);
        p->block = -1;
        if (whole % most)
            emit_squares_of(p, rows, segment->begin + blocks * most * wide, whole % most, wide);
        if (left && whole)
            emit_squares_of(p, rows, segment->begin + segment->extent - wide, 1, wide);
        else if (left)
            emit_squares_of(p, rows, segment->begin, 1, left);
    }
}

/* ---- the whole ---- */

static void prepare_indices(Emitting *p) {
    p->backwards = -1;
    for (int i = 1; i < p->m->nest.access_count; i++) {
        const Access *a = &p->m->nest.access[i];
        int64_t stride = map_column_stride(p->m, i);
        bool by_lane = map_offsets_along(p->m, i, true);
        p->steps[i] = -1;
        bool plain = stride == 0 || p->one_by_one || (stride == 1 && !by_lane);
        if (p->m->wide && !plain && wide_type(a->type) && p->m->nest.kernel->tensors[a->read->tensor].count >= INT32_MAX / 4)
            expr_refuse(&p->e, "a read of 64 bits whose elements lie too far from each other");
        if (p->bits || plain || (p->box->tiled && p->m->transposed >> i & 1))
            continue;
        if (stride > INT32_MAX / 1024 || stride < -INT32_MAX / 1024)
            expr_refuse(&p->e, "a read whose elements lie too far from each other");
        p->steps[i] = p->m->wide ? wide_steps(p->f, stride) : vector_iota(p->f, DT_S32, stride);
        if (p->m->wide)
            continue;
        if (stride == -1 && p->backwards < 0)
            p->backwards = vector_binary(p->f, VECTOR_ADD, p->steps[i], vector_const(p->f, DT_S32, p->lanes - 1));
    }
}

static bool start(Emitting *p, const ScheduleOptions *options, Compiled *c) {
    const Nest *nest = &p->m->nest;
    p->f = schedule_function(c->vectors, p->box->tiled ? "map_squares" : "map", &c->target);
    p->varies = ARENA_ARRAY(c->vectors, bool, (size_t)nest->definition->expr_count + 1);
    p->e = (ExprEmitter){.f = p->f,
                         .definition = nest->definition,
                         .kernel = nest->kernel,
                         .constant = options->constant,
                         .read = read_value,
                         .axis = read_value,
                         .context = p,
                         .wide = p->m->wide};
    for (int i = 0; i < NEST_MAX_ACCESSES; i++)
        p->moved[i] = -1;
    if (p->m->permutes)
        p->slots = arena_alloc(c->vectors, MOST_SLOTS, sizeof *p->slots);
    if (p->m->permutes && !p->slots)
        return false;
    if (!p->f || !p->varies || !expr_start(&p->e, c->vectors))
        return false;
    find_varying(p);
    return true;
}

/* The table of lanes goes where the template's data is: one vector behind the other. */
static bool keep_lanes(const Emitting *p, MapBox *box, Compiled *c) {
    size_t lanes = (size_t)vector_lanes(p->f, DT_S32);
    int32_t *table = ARENA_ARRAY(&c->arena, int32_t, (size_t)p->slot_count * lanes + 1);
    for (int s = 0; table && s < p->slot_count; s++)
        memcpy(table + (size_t)s * lanes, p->slots[s], lanes * sizeof *table);
    box->lanes = table;
    return table != NULL;
}

const VectorFunction *map_emit(const MapPass *m, MapBox *box, const ScheduleOptions *options, Compiled *c, int unroll,
                               const char **why, whet_error *err) {
    static const char *const letters[] = {[ACCESS_TENSOR] = "x", [ACCESS_NUMBERS] = "n", [ACCESS_OFFSETS] = "at"};
    Emitting p = {.m = m,
                  .box = box,
                  .bits = m->bits,
                  .one_by_one = m->scattered || (m->bits == DT_F64 && m->transposed && !box->tiled),
                  .unroll = unroll < MOST_UNROLL ? unroll : MOST_UNROLL,
                  .column = -1,
                  .row = -1,
                  .block = -1,
                  .unit = 1,
                  .mask = -1,
                  .half_mask = -1};
    if (!start(&p, options, c)) {
        error_memory(err);
        return NULL;
    }
    p.lanes = p.used = vector_lanes(p.f, p.bits ? p.bits : m->wide ? DT_F64 : DT_F32);
    p.even_most = options->spare_registers ? 0 : c->target.bytes == 64 ? MOST_EVEN : 3;
    for (int i = 0; i < m->nest.access_count; i++)
        p.pointer[i] = vector_parameter(p.f, CLASS_POINTER,
                                        arena_printf(c->vectors, "%s%d", i ? letters[m->nest.access[i].source] : "y", i));
    for (int i = 1; i < m->nest.access_count; i++) {
        int same = same_place(m, i, true);
        if (same >= 0)
            p.pointer[i] = p.pointer[same];
    }
    p.lane_table = m->permutes ? vector_parameter(p.f, CLASS_POINTER, "lanes") : -1;
    int rows = vector_parameter(p.f, CLASS_INDEX, "rows");
    prepare_indices(&p);
    if (box->tiled)
        emit_squares(&p, rows);
    else
        emit_rows(&p, rows);
    *why = p.e.refused;
    if (m->permutes && !keep_lanes(&p, box, c)) {
        error_memory(err);
        return NULL;
    }
    return !p.e.refused && vector_finish(p.f, err) ? p.f : NULL;
}
