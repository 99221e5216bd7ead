/* Reads of one box: where they lie, and how their lanes come into a register: loaded, permuted, gathered, in lanes of 64 bits. */
#include "schedule/map_emit.h"
#include "schedule/wide.h"

#include <string.h>

/* Where a gather moves a read that it moves from row to row. */
static int moved_pointer(const MapEmitter *p, int access) {
    int offsets = map_row_offsets(p->m, access), pointer = p->pointer[access];
    int64_t size = map_bytes(p->m->nest.access[access].type), stride = map_row_stride(p->m, p->box, access),
            each = map_bytes(DT_S64);
    VectorAddress at = vector_at(p->pointer[offsets], each * p->shift[offsets]);
    if (stride)
        pointer = vector_pointer_index(p->f, pointer, p->place.row, size * stride);
    int offset = vector_load_index(p->f, vector_plus(at, p->place.row, each * map_row_stride(p->m, p->box, offsets)));
    return vector_pointer_index(p->f, pointer, offset, size);
}

/* So many bytes behind where the read is in this row. */
static VectorAddress row_place(const MapEmitter *p, int access, int64_t bytes) {
    int64_t size = map_bytes(p->m->nest.access[access].type);
    bytes += p->shift[access] * size;
    if (map_row_offsets(p->m, access))
        return vector_at(p->moves_late ? moved_pointer(p, access) : p->moved[access], bytes);
    return vector_plus(vector_at(p->pointer[access], bytes), p->place.row, size * map_row_stride(p->m, p->box, access));
}

/* `bytes` further for each that the counter of columns counts. A pointer that is made in the loop is no base of its terms. */
static VectorAddress plus_column(const MapEmitter *p, int access, VectorAddress a, int64_t bytes) {
    if (p->place.column < 0)
        return a;
    if (!p->moves_late || !map_row_offsets(p->m, access))
        return vector_plus(a, p->place.column, bytes);
    a.base = vector_pointer_index(p->f, a.base, p->place.column, bytes);
    return a;
}

VectorAddress map_place(const MapEmitter *p, int access, int64_t columns, int64_t rows) {
    int64_t size = map_bytes(p->m->nest.access[access].type), stride = size * map_column_stride(p->m, access);
    int64_t row_stride = size * map_row_stride(p->m, p->box, access);
    VectorAddress a = row_place(p, access, (p->place.at + columns) * stride + (p->place.row_offset + rows) * row_stride);
    if (p->place.block >= 0)
        a = vector_plus(a, p->place.block, stride);
    return plus_column(p, access, a, stride * p->place.unit);
}

/* Of a permuted read: where a run begins. */
static VectorAddress place_of_run(const MapEmitter *p, int access, int64_t start) {
    const MapLanes *l = &p->m->lanes[access];
    int64_t size = map_bytes(p->m->nest.access[access].type);
    VectorAddress a = row_place(p, access, (start + p->place.row_offset * map_row_stride(p->m, p->box, access)) * size);
    int64_t step = map_lane_place(l, p->place.at + p->place.unit) - map_lane_place(l, p->place.at);
    return plus_column(p, access, a, size * step);
}

/* ---- reads ---- */

/* The bits of 64, as a number that has them. */
static double outside_f64(const MapEmitter *p, const Access *a) {
    double bits = a->outside;
    if (a->read->type != DT_F64)
        memcpy(&bits, &(int64_t){a->read->arg[0] ? a->read->arg[0]->integer : 0}, 8);
    (void)p;
    return bits;
}

static int outside_value(MapEmitter *p, const Access *a) {
    if (p->bits)
        return vector_const(p->f, p->bits, p->bits == DT_F64 ? outside_f64(p, a) : (double)(int64_t)a->outside);
    if (a->type == DT_BOOL)
        return vector_mask_first(p->f, DT_F32, a->outside != 0 ? p->lanes : 0);
    DType lane = expr_register(a->type);
    return vector_const(p->f, lane, lane == DT_F32 ? a->outside : (double)(int32_t)(uint32_t)(int64_t)a->outside);
}

DType map_memory_type(DType type) {
    return type == DT_BOOL ? DT_U8 : type == DT_U32 ? DT_S32 : type;
}

/* As loaded: bools as numbers. */
DType map_raw_type(DType type) {
    return type == DT_BOOL ? DT_S32 : expr_register(type);
}

int map_from_raw(MapEmitter *p, DType type, int x) {
    return type == DT_BOOL ? vector_binary(p->f, VECTOR_NE, x, vector_const(p->f, DT_S32, 0)) : x;
}

/* A vector of the table of lanes. */
static int load_lanes(MapEmitter *p, const int32_t *lanes) {
    int slot = 0;
    size_t bytes = sizeof(int32_t) * (size_t)p->lanes;
    while (slot < p->taken.count && memcmp(p->taken.slots[slot], lanes, bytes) != 0)
        slot++;
    if (slot == p->taken.count)
        memcpy(p->taken.slots[p->taken.count++], lanes, bytes);
    return vector_load(p->f, DT_S32, DT_S32, vector_at(p->taken.pointer, (int64_t)(bytes * (size_t)slot)), -1);
}

/* Where the runs of one read begin that the round has loaded. */
static int loaded_runs(const MapEmitter *p, int access, int64_t start[MAP_MOST_RUNS]) {
    int count = 0;
    for (int i = 0; i < p->runs.count; i++)
        if (p->runs.access[i] == access)
            start[count++] = p->runs.start[i];
    return count;
}

static int load_run(MapEmitter *p, int access, int64_t start, int length) {
    DType type = p->m->nest.access[access].type;
    MapRuns *r = &p->runs;
    for (int i = 0; i < r->count && length == p->lanes; i++)
        if (r->access[i] == access && r->start[i] == start)
            return r->value[i];
    int mask = length < p->lanes ? vector_mask_first(p->f, DT_F32, length) : -1;
    int x = vector_load(p->f, map_raw_type(type), map_memory_type(type), place_of_run(p, access, start), mask);
    if (mask < 0 && p->round.columns) {
        const int most = p->f->bytes == 64 ? MAP_MOST_RUNS : MAP_MOST_RUNS / 2, at = r->next;
        r->access[at] = access;
        r->start[at] = start;
        r->value[at] = x;
        r->next = (at + 1) % most;
        r->count = r->count < most ? r->count + 1 : most;
    }
    return x;
}

/* -1: its lanes lie in too many runs. */
static int read_permuted(MapEmitter *p, int access) {
    const Access *a = &p->m->nest.access[access];
    int most = p->f->bytes == 64 ? MAP_MOST_WINDOWS : 4;
    MapWindows w;
    int64_t loaded[MAP_MOST_RUNS];
    MapRound alone = {p->place.at, p->used}, *round = p->round.columns ? &p->round : &alone;
    map_find_windows(&p->m->lanes[access], p->place.at, p->used, p->lanes, most, round, loaded, loaded_runs(p, access, loaded),
                     &w);
    if (!w.count || p->taken.count + w.count > MAP_MOST_SLOTS)
        return -1;
    int x = load_run(p, access, w.start[0], w.length[0]);
    if (w.count == 1 && !w.plain)
        x = vector_binary(p->f, VECTOR_PERMUTE, x, load_lanes(p, w.take[0]));
    for (int k = 1; k < w.count; k++)
        x = vector_pick(p->f, x, load_run(p, access, w.start[k], w.length[k]), load_lanes(p, w.take[k]));
    return map_from_raw(p, a->type, x);
}

/* The same by a gather, where columns are two axes. */
static int read_apart(MapEmitter *p, int access) {
    const Access *a = &p->m->nest.access[access];
    int32_t lanes[VECTOR_MAX_BYTES / 4] = {0};
    int64_t first = map_lane_place(&p->m->lanes[access], p->place.at);
    if (p->taken.count == MAP_MOST_SLOTS)
        return expr_refuse(&p->e, "too many different orders of lanes");
    for (int l = 0; l < p->used; l++) {
        int64_t place = map_lane_place(&p->m->lanes[access], p->place.at + l) - first;
        lanes[l] = (int32_t)place;
        if (place > INT32_MAX / 8 || place < INT32_MIN / 8)
            return expr_refuse(&p->e, "a read whose elements lie too far from each other");
    }
    int x = vector_gather(p->f, map_raw_type(a->type), map_memory_type(a->type), place_of_run(p, access, first),
                          map_bytes(a->type), load_lanes(p, lanes), p->mask);
    return map_from_raw(p, a->type, x);
}

static int read_gathered(MapEmitter *p, int access, int index, VectorAddress at) {
    DType type = p->m->nest.access[access].type;
    return map_from_raw(p, type,
                        vector_gather(p->f, map_raw_type(type), map_memory_type(type), at, map_bytes(type), index, p->mask));
}

/* By offsets that lie along the columns. */
static int read_by_offsets(MapEmitter *p, int access) {
    if (p->single || p->bits)
        return expr_refuse(&p->e, "a gather along the lanes of a result with gaps, or of 64 bits");
    int index = vector_load(p->f, DT_S32, DT_S32, map_place(p, map_offsets_along(p->m, access, true), 0, 0), p->mask);
    if (map_column_stride(p->m, access) == 0)
        return read_gathered(p, access, index, map_place(p, access, 0, 0));
    return read_gathered(p, access, vector_binary(p->f, VECTOR_ADD, index, p->steps[access]), map_place(p, access, 0, 0));
}

static int read_backwards(MapEmitter *p, int access) {
    DType type = p->m->nest.access[access].type;
    int x = vector_load(p->f, map_raw_type(type), map_memory_type(type), map_place(p, access, p->lanes - 1, 0), -1);
    return map_from_raw(p, type, vector_binary(p->f, VECTOR_PERMUTE, x, p->backwards));
}

static int wide_outside(MapEmitter *p, const Access *a) {
    if (!wide_type(a->type))
        return outside_value(p, a);
    const Expr *outside = a->read->arg[0];
    return outside ? wide_number(&p->e, outside) : vector_const(p->f, a->type == DT_F64 ? DT_F64 : DT_S64, 0);
}

/* Offsets that lie along the columns, and what the columns add. */
static int wide_index(MapEmitter *p, int access) {
    int table = map_offsets_along(p->m, access, true);
    if (!table)
        return p->steps[access];
    VectorAddress at = map_place(p, table, 0, 0);
    int offsets = p->single ? vector_splat(p->f, DT_S64, DT_S32, at) : vector_load(p->f, DT_S64, DT_S32, at, p->mask);
    int index = wide_twice(p->f, offsets);
    return p->steps[access] < 0 || p->single ? index : vector_binary(p->f, VECTOR_ADD, index, p->steps[access]);
}

/* In lanes of 64 bits. */
static int read_wide(MapEmitter *p, int access) {
    const Access *a = &p->m->nest.access[access];
    bool by_lane = map_offsets_along(p->m, access, true);
    int64_t stride = map_column_stride(p->m, access);
    VectorAddress at = map_place(p, access, 0, 0);
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

int map_read_value(ExprEmitter *e, const Expr *expr) {
    MapEmitter *p = e->context;
    int access = nest_find(&p->m->nest, expr);
    const Access *a = &p->m->nest.access[access];
    int64_t stride = map_column_stride(p->m, access);
    if (p->m->wide)
        return read_wide(p, access);
    if (p->segment->outside >> access & 1)
        return outside_value(p, a);
    const MapLanes *l = &p->m->lanes[access];
    int x = l->permuted && (p->taken.tables || !l->table) ? read_permuted(p, access) : -1;
    if (x >= 0 || l->split > 1)
        return x >= 0 ? x : read_apart(p, access);
    if (map_offsets_along(p->m, access, true))
        return read_by_offsets(p, access);
    if (p->single || stride == 0)
        return p->bits ? vector_splat(p->f, p->bits, p->bits, map_place(p, access, 0, 0))
                       : expr_splat(p->f, a->type, map_place(p, access, 0, 0));
    if (stride == 1)
        return p->bits ? vector_load(p->f, p->bits, p->bits, map_place(p, access, 0, 0), p->mask)
                       : expr_load(p->f, a->type, map_place(p, access, 0, 0), p->mask);
    if (stride == -1 && p->mask < 0)
        return read_backwards(p, access);
    return read_gathered(p, access, p->steps[access], map_place(p, access, 0, 0));
}

/* ---- before rows, and of one ---- */

void map_prepare_indices(MapEmitter *p) {
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

static const MapGather *gather_of(const MapPass *m, int offsets) {
    for (int g = 0; g < m->gather_count; g++)
        if (m->gathers[g].offsets == offsets)
            return &m->gathers[g];
    return NULL;
}

/* Do both walk alike, so that one pointer serves the two? Columns may differ, and gathers from row to row if `rows`. *shift:
 * elements from the earlier one to the other. */
static bool walk_alike(const MapPass *m, int access, int earlier, bool rows, int64_t *shift) {
    enum { FARTHEST = 1 << 27 };
    const Access *a = &m->nest.access[access], *b = &m->nest.access[earlier];
    if (a->source != b->source || a->source == ACCESS_NUMBERS || a->type != b->type)
        return false;
    if (a->source == ACCESS_TENSOR) {
        bool moved = map_offsets_along(m, access, false) == map_offsets_along(m, earlier, false) ||
                     (rows && map_row_offsets(m, access) && map_row_offsets(m, earlier));
        if (a->tensor != b->tensor || !moved)
            return false;
        *shift = a->offset - b->offset;
    } else {
        const MapGather *g = gather_of(m, access), *h = gather_of(m, earlier);
        if (g->fixed || h->fixed || a->offset != b->offset)
            return false;
        *shift = (g->place - h->place) / map_bytes(a->type);
    }
    for (int x = 0; x < m->nest.axis_count; x++)
        if (a->stride[x] != b->stride[x] && (x != m->column || a->source != ACCESS_TENSOR))
            return false;
    return *shift<FARTHEST && * shift> - FARTHEST;
}

void map_share_pointers(MapEmitter *p) {
    for (int i = 1; i < p->m->nest.access_count; i++)
        for (int k = 1; k < i; k++)
            if (walk_alike(p->m, i, k, true, &p->shift[i])) {
                p->pointer[i] = p->pointer[k];
                p->shift[i] += p->shift[k];
                break;
            } else
                p->shift[i] = 0;
}

/* An earlier read that the same gather moves, on the same pointer. -1: none. */
static int moved_before(const MapEmitter *p, int access) {
    int64_t shift;
    for (int i = 1; i < access; i++)
        if (map_row_offsets(p->m, i) && walk_alike(p->m, access, i, false, &shift))
            return i;
    return -1;
}

void map_move_rows(MapEmitter *p) {
    for (int i = 1; i < p->m->nest.access_count; i++) {
        int same = moved_before(p, i);
        if (map_row_offsets(p->m, i) && !p->moves_late)
            p->moved[i] = same >= 0 ? p->moved[same] : moved_pointer(p, i);
    }
}
