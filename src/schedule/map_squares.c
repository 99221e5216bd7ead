/* Squares of rows and columns: reads that are contiguous along the rows are loaded so, and change places in registers.
 *
 * What is read and written in a block stays in few pages and comes in long runs. Bytes and halves that are moved as they are lie
 * 4 and 2 to a lane: as many times more columns change places at once. */
#include "schedule/map_emit.h"

enum { SQUARES = 8 /* of a block */ };

/* What lane by lane becomes the next `packed` columns of one read that is contiguous along the rows: the first in the lowest
 * bits. */
static int load_columns(MapEmitter *p, int access, int64_t column, int packed) {
    DType type = p->m->nest.access[access].type, raw = p->bits ? p->bits : map_raw_type(type);
    int all = -1;
    for (int k = 0; k < packed; k++) {
        int one = vector_load(p->f, raw, p->bits ? p->bits : map_memory_type(type), map_place(p, access, column + k, 0), -1);
        if (k)
            one = vector_immediate(p->f, VECTOR_SHL, one, 8 * map_bytes(type) * k);
        all = k ? vector_binary(p->f, VECTOR_OR, all, one) : one;
    }
    return all;
}

/* Rows of the square at the place. `columns`: how many of them there are. */
static void load_square(MapEmitter *p, int access, int64_t columns, int packed, int *rows) {
    for (int j = 0; j < p->lanes; j++)
        rows[j] = j * packed >= columns ? rows[j - 1] : load_columns(p, access, j * packed, packed);
    vector_transpose(p->f, rows);
}

static void emit_square(MapEmitter *p, int64_t column, int64_t columns, int packed) {
    int rows[NEST_MAX_ACCESSES][VECTOR_MAX_BYTES / 4];
    const Nest *nest = &p->m->nest;
    p->place.at = column;
    p->place.row_offset = 0;
    for (int i = 1; i < nest->access_count; i++)
        if (p->m->transposed >> i & 1 && !(p->segment->outside >> i & 1))
            load_square(p, i, columns, packed, rows[i]);
    p->mask = columns < p->lanes ? map_mask_of(p, columns) : -1;
    for (int r = 0; r < p->lanes; r++) {
        p->place.row_offset = r;
        expr_forget(&p->e);
        for (int i = 1; i < nest->access_count; i++)
            if (p->m->transposed >> i & 1 && !(p->segment->outside >> i & 1))
                expr_know(&p->e, nest->access[i].read, map_from_raw(p, nest->access[i].type, rows[i][r]));
        if (packed > 1)
            vector_store(p->f, DT_S32, rows[1][r], map_place(p, 0, 0, 0), -1); /* whole lanes are their bits, in order */
        else
            map_store(p);
    }
    p->place.row_offset = 0;
    p->mask = -1;
}

/* Squares after which permuted reads go on as they began, of `count`: all where they never do. */
static int64_t squares_a_round(const MapEmitter *p, int64_t count, int packed) {
    int each = p->m->permutes ? map_lanes_period(p->m, p->segment, p->lanes * packed, MAP_MOST_UNROLL, true) : 1;
    return each ? each : count;
}

/* `count` squares beside each other, for all rows. */
static void emit_beside(MapEmitter *p, int rows, int64_t begin, int64_t count, int64_t columns, int packed) {
    int64_t wide = (int64_t)p->lanes * packed, each = count > 1 ? squares_a_round(p, count, packed) : 1;
    int64_t looped = count / each > 1 ? count / each * each : 0;
    p->place.row = vector_loop(p->f, rows, 0, p->lanes, NULL, NULL, 0);
    if (looped) {
        p->place.unit = p->m->permutes ? each * wide : 1;
        p->place.column = vector_loop(p->f, -1, looped * wide / p->place.unit, each * wide / p->place.unit, NULL, NULL, 0);
        for (int64_t k = 0; k < each; k++)
            emit_square(p, begin + k * wide, columns, packed);
        vector_end(p->f, NULL, NULL);
        p->place.column = -1;
        p->place.unit = 1;
    }
    for (int64_t k = looped; k < count; k++)
        emit_square(p, begin + k * wide, columns, packed);
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
static int packed_in(const MapEmitter *p, const MapSegment *segment) {
    int size = map_bytes(p->m->nest.access[0].type), packed = size < 4 ? 4 / size : 1;
    bool fine = p->m->moves && !segment->outside && segment->extent >= packed * p->lanes;
    return fine && p->m->transposed == 1 << 1 ? packed : 1;
}

/* Blocks of columns outside, rows inside, then the squares of a block: what is read comes in long runs, what is written in runs
 * of a few lines, and few pages are in use at a time. */
void map_emit_squares(MapEmitter *p, int rows) {
    for (int s = 0; s < p->box->segment_count; s++) {
        const MapSegment *segment = &p->box->segments[s];
        int packed = packed_in(p, segment);
        int64_t wide = (int64_t)p->lanes * packed, whole = segment->extent / wide, left = segment->extent % wide;
        /* permuted reads have no stride that a loop over blocks could take */
        int64_t most = p->m->permutes && whole ? whole : squares_each(whole, SQUARES / packed), blocks = whole / most;
        p->segment = segment;
        if (blocks > 1)
            p->place.block = vector_loop(p->f, -1, blocks * most * wide, most * wide, NULL, NULL, 0);
        if (blocks)
            emit_beside(p, rows, segment->begin, most, wide, packed);
        if (blocks > 1)
            vector_end(p->f, NULL, NULL);
        p->place.block = -1;
        if (whole % most)
            emit_beside(p, rows, segment->begin + blocks * most * wide, whole % most, wide, packed);
        if (left && whole)
            emit_beside(p, rows, segment->begin + segment->extent - wide, 1, wide, packed);
        else if (left)
            emit_beside(p, rows, segment->begin, 1, left, packed);
    }
}
