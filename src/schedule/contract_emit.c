/* The tile of a contraction as vector code: sums of mr rows by nv vectors over a block of depth, then the epilogue. contract.c
 * opens with how tiles are put together. */
#include "schedule/contract.h"

#include <assert.h>
#include <string.h>

typedef struct Tile {
    const Contract *k;
    VectorFunction *f;
    const ContractPattern *pattern;
    int mr, nv, edge_lanes; /* of the last vector; 0: all */
    int mask;               /* the same, where it is needed; -1: none */
    ContractLevel level[CONTRACT_MAX_DEPTH];
    int level_count, patterned;   /* patterned: the level that tells rows apart, written out; -1: none */
    int taps[CONTRACT_MAX_DEPTH]; /* parameters: counts of levels with guards; -1: the level's extent */
    int pointer[NEST_MAX_ACCESSES], scalars, row_sums, sums;
    int rows, row_counter; /* the loop over tiles; -1: there is one */
    int64_t depth;         /* of the block, */
    int64_t fetched;       /* and its steps before the stretch at hand */
    int row, vector;       /* where the epilogue is, */
    int row_inner;         /* and the counter of rows that it loops over; -1: none, rows are written out */
} Tile;

/* The first element of a row of the tile. */
static VectorAddress row_at(const Tile *t, int access, int row) {
    int64_t m = contract_size(t->k, access) * contract_m_stride(t->k, access);
    VectorAddress address = vector_at(t->pointer[access], row * m);
    address = t->row_counter < 0 ? address : vector_plus(address, t->row_counter, m);
    return t->row_inner < 0 ? address : vector_plus(address, t->row_inner, m);
}

static VectorAddress place(const Tile *t, int access, int row, int vector) {
    const Contract *k = t->k;
    if (k->scalar[access] >= 0)
        return vector_at(t->scalars, k->scalar[access] * CONTRACT_SCALAR_BYTES);
    return vector_offset(row_at(t, access, row), contract_size(k, access) * contract_n_stride(k, access) * vector * k->lanes);
}

/* ---- depth ---- */

/* Where a step of depth is in A (at the tile's first row) and B, and the rows [from, end) it is for. */
typedef struct Step {
    VectorAddress a, b, scale; /* the last of columns of f32 */
    int from, end;
} Step;

static Step step_to(const Tile *t, Step step, int level, int64_t by) {
    step.a = vector_offset(step.a, contract_size(t->k, t->k->a) * by * t->level[level].a_stride);
    step.b = vector_offset(step.b, by * contract_b_step(t->k, &t->level[level]));
    step.scale = vector_offset(step.scale, 4 * by * t->level[level].scale_stride);
    return step;
}

static Step step_along(const Tile *t, Step step, int level, int counter) {
    step.a = vector_plus(step.a, counter, contract_size(t->k, t->k->a) * t->level[level].a_stride);
    step.b = vector_plus(step.b, counter, contract_b_step(t->k, &t->level[level]));
    step.scale = vector_plus(step.scale, counter, 4 * t->level[level].scale_stride);
    return step;
}

static int flip_a(const Tile *t, int a) {
    return t->k->fa.flip ? vector_binary(t->f, VECTOR_XOR, a, vector_const(t->f, DT_S32, (int32_t)0x80808080)) : a;
}

/* An element of A, or a group of them, in every lane. */
static int splat_a(const Tile *t, VectorAddress at) {
    const Contract *k = t->k;
    return flip_a(t, vector_splat(t->f, k->sum, k->group > 1 ? k->sum : k->fa.type, at));
}

static int mask_of(const Tile *t, int vector) {
    return vector == t->nv - 1 ? t->mask : -1;
}

/* Vector j of a step of B; of columns as they lie, no more than there are. */
static int load_b(const Tile *t, VectorAddress step, int j) {
    return vector_load(t->f, t->k->sum, t->k->sum, vector_offset(step, (int64_t)j * t->f->bytes),
                       t->k->direct ? mask_of(t, j) : -1);
}

/* What lies beside B at a step, a number a column: scales, and at a distance of them the zero points. */
static int load_beside(const Tile *t, VectorAddress scale, int access, int j) {
    int64_t apart = t->k->nest.access[access].offset - t->k->nest.access[t->k->fb.scale].offset;
    return vector_load(t->f, DT_F32, DT_F32, vector_offset(scale, 4 * apart + (int64_t)j * t->f->bytes), mask_of(t, j));
}

/* Whole numbers of a step, as they are multiplied: (number - zero) * scale. */
static void load_scaled(const Tile *t, Step step, int part, const int *bytes, int *b) {
    const ContractFactor *own = &t->k->fb;
    VectorFunction *f = t->f;
    int bits = 8 / t->k->group;
    for (int j = 0; j < t->nv; j++) {
        int x = bytes[j];
        if (part)
            x = vector_immediate(f, VECTOR_SHR, x, bits * part);
        if (part + 1 < t->k->group)
            x = vector_binary(f, VECTOR_AND, x, vector_const(f, DT_S32, (1 << bits) - 1));
        x = vector_convert(f, VECTOR_CVT, DT_F32, x);
        x = vector_binary(f, VECTOR_SUB, x, load_beside(t, step.scale, own->zero, j));
        b[j] = vector_binary(f, VECTOR_MUL, x, load_beside(t, step.scale, own->scale, j));
    }
}

static void emit_scaled(const Tile *t, Step step, int *sums) {
    const Contract *k = t->k;
    int bytes[CONTRACT_MAX_SUMS], b[CONTRACT_MAX_SUMS];
    int64_t size = contract_size(k, k->a), m = size * contract_m_stride(k, k->a);
    for (int j = 0; j < t->nv; j++)
        bytes[j] = vector_load(t->f, DT_S32, DT_U8, vector_offset(step.b, (int64_t)j * k->lanes), -1);
    for (int part = 0; part < k->group; part++) {
        load_scaled(t, step, part, bytes, b);
        for (int i = step.from; i < step.end; i++) {
            int a = vector_splat(t->f, DT_F32, k->fa.type, vector_offset(step.a, i * m + part * size));
            for (int j = 0; j < t->nv; j++)
                sums[i * t->nv + j] = vector_ternary(t->f, VECTOR_FMA, a, b[j], sums[i * t->nv + j]);
        }
    }
}

static void emit_step(const Tile *t, Step step, int *sums) {
    const Contract *k = t->k;
    int b[CONTRACT_MAX_SUMS];
    int64_t m = contract_size(k, k->a) * contract_m_stride(k, k->a);
    for (int j = 0; j < t->nv; j++)
        b[j] = load_b(t, step.b, j);
    for (int i = step.from; i < step.end; i++) {
        int a = splat_a(t, vector_offset(step.a, i * m));
        for (int j = 0; j < t->nv; j++)
            sums[i * t->nv + j] = vector_ternary(t->f, k->dot, k->b_first ? b[j] : a, k->b_first ? a : b[j], sums[i * t->nv + j]);
    }
}

/* Two rows by two columns at once: a vector of columns of B is two, of pairs of columns. Sums of rows r and r + 1 are those of
 * the first and the second half of the columns of both (swap_blocks). */
static void emit_pairs(const Tile *t, Step step, int *sums) {
    const Contract *k = t->k;
    int a[CONTRACT_MAX_SUMS];
    int64_t m = contract_size(k, k->a) * contract_m_stride(k, k->a);
    for (int i = step.from; i < step.end; i += 2)
        a[i] = flip_a(t, vector_load_block(t->f, k->sum, vector_offset(step.a, i * m)));
    for (int v = 0; v < 2 * t->nv; v++) {
        int b = vector_load(t->f, k->sum, k->sum, vector_offset(step.b, (int64_t)v * t->f->bytes), -1);
        for (int i = step.from; i < step.end; i += 2) {
            int *sum = &sums[(i + v % 2) * t->nv + v / 2];
            *sum = vector_ternary(t->f, k->dot, a[i], b, *sum);
        }
    }
}

/* Of each 128 bits: two pieces of two rows become the first and the second half of the columns of both, and the other way. */
static void swap_blocks(const Tile *t, int *sums) {
    VectorFunction *f = t->f;
    for (int row = 0; row < t->mr; row += 2)
        for (int j = 0; j < t->nv; j++) {
            int *first = &sums[row * t->nv + j], *second = first + t->nv;
            int a = vector_convert(f, VECTOR_BITS, DT_F64, *first), b = vector_convert(f, VECTOR_BITS, DT_F64, *second);
            *first = vector_convert(f, VECTOR_BITS, t->k->sum, vector_binary(f, VECTOR_ZIP_LOW, a, b));
            *second = vector_convert(f, VECTOR_BITS, t->k->sum, vector_binary(f, VECTOR_ZIP_HIGH, a, b));
        }
}

/* As many steps as 128 bits of A hold, where they lie side by side: each row's are loaded at once and multiplied lane by lane. A
 * vector of B is loaded while the one before it is multiplied, for two registers are all there is for them. */
static void emit_lanes(const Tile *t, Step step, int *sums) {
    const Contract *k = t->k;
    VectorCode code = k->dot == VECTOR_FMA       ? VECTOR_FMA_LANE
                      : k->dot == VECTOR_DOT4_UU ? VECTOR_DOT4_UU_LANE
                                                 : VECTOR_DOT4_SS_LANE;
    int a[CONTRACT_MAX_SUMS], total = CONTRACT_LANES * t->nv;
    int64_t m = contract_size(k, k->a) * contract_m_stride(k, k->a);
    int64_t deeper = contract_b_step(k, &t->level[t->level_count - 1]);
    int next = load_b(t, step.b, 0);
    for (int i = step.from; i < step.end; i++)
        a[i] = flip_a(t, vector_load(t->f, k->sum, k->sum, vector_offset(step.a, i * m), -1));
    for (int v = 0; v < total; v++) {
        int b = next, lane = v / t->nv, j = v % t->nv;
        if (v + 1 < total)
            next = load_b(t, vector_offset(step.b, (v + 1) / t->nv * deeper), (v + 1) % t->nv);
        for (int i = step.from; i < step.end; i++)
            sums[i * t->nv + j] = vector_by_lane(t->f, code, b, a[i], sums[i * t->nv + j], lane);
    }
}

static void emit_level(Tile *t, int level, Step step, int *sums);

/* Values [from, end) of a level's counter, one behind the other. */
static void emit_values(Tile *t, int level, int64_t from, int64_t end, Step step, int *sums) {
    const ContractLevel *own = &t->level[level];
    bool lanes = t->k->by_lane && level + 1 == t->level_count && own->a_stride == t->k->group && own->steps == 1;
    while (from < end) {
        Step to = step_to(t, step, level, from);
        bool several = lanes && end - from >= CONTRACT_LANES;
        if (several)
            emit_lanes(t, to, sums);
        else
            emit_level(t, level + 1, to, sums);
        from += several ? CONTRACT_LANES : 1;
    }
}

/* The taps of the level that tells rows apart, each for its rows; those that are for the same ones are one loop with the level
 * below where A lets them. Border tiles are few: what is inside is not unrolled. */
static void emit_taps(Tile *t, int level, Step step, int *sums) {
    ContractLevel *own = &t->level[level], *below = level + 1 < t->level_count ? &t->level[level + 1] : NULL;
    bool merges = below && below->guard < 0 && contract_levels_join(t->k, own, below);
    for (int64_t tap = 0, count; tap < own->extent; tap += count) {
        const ContractPattern *p = t->pattern;
        Step to = step_to(t, step, level, tap);
        to.from = p->first[tap];
        to.end = p->end[tap];
        for (count = 1; merges && tap + count < own->extent && p->first[tap + count] == to.from && p->end[tap + count] == to.end;)
            count++;
        if (to.from >= to.end)
            continue;
        int64_t extent = below ? below->extent : 0;
        if (below)
            below->extent *= count;
        emit_level(t, level + 1, to, sums);
        if (below)
            below->extent = extent;
    }
}

/* Weights come from far away, once a run: so early that they are in L2 when a few rows want them, and with no regard to the end
 * of the panel, behind which the next one lies. */
static void emit_ahead(const Tile *t, VectorAddress b, int64_t bytes) {
    enum { LINE = 64 };
    for (int64_t done = 0; done < bytes; done += LINE)
        vector_prefetch_l2(t->f, vector_offset(b, t->k->ahead + done));
}

/* `bytes` that are wanted later, while the depth passes: lines of eight bytes a step, as many as it takes. */
static void emit_later(const Tile *t, VectorAddress from, int64_t bytes, int counter) {
    enum { EACH = 8 };
    from = vector_plus(vector_offset(from, EACH * t->fetched), counter, EACH);
    for (int64_t done = 0; done < bytes; done += EACH * t->depth)
        vector_prefetch_l2(t->f, vector_offset(from, done));
}

/* Of the next panel of B, that a row of a tile fetches. The last tile, of fewer rows, is for any number of rows. */
static int64_t next_bytes(const Contract *k, int tile_rows) {
    int64_t rows = contract_rows_a_block(k);
    return k->next_panel && tile_rows == k->knobs.mr ? ((int64_t)contract_block_bytes(k) + rows - 1) / rows : 0;
}

/* The rows of A that the next tile reads, where they lie behind this one's; of the next panel of B, each tile's share. */
static void emit_next(const Tile *t, int counter) {
    const Contract *k = t->k;
    if (k->streams && t->rows >= 0)
        emit_later(t, row_at(t, k->a, t->mr), t->mr * contract_size(k, k->a) * contract_m_stride(k, k->a), counter);
    int64_t row = next_bytes(k, t->mr);
    if (row && t->rows >= 0)
        emit_later(t, vector_plus(vector_at(t->pointer[k->b], (int64_t)k->panel_bytes), t->row_counter, row), t->mr * row,
                   counter);
}

/* `unroll` values a round, what is left over behind the loop; only the sums of the rows in question are carried. */
static void emit_loop(Tile *t, int level, int64_t extent, int unroll, Step step, int *sums) {
    int inside[CONTRACT_MAX_SUMS], from = step.from * t->nv, count = (step.end - step.from) * t->nv;
    int64_t whole = extent / unroll * unroll;
    if (whole) {
        int limit = t->taps[level];
        int counter = vector_loop(t->f, limit, whole, unroll, sums + from, inside + from, count);
        Step round = step_along(t, step, level, counter);
        if (t->k->ahead && level == t->level_count - 1)
            emit_ahead(t, round.b, unroll * t->level[level].steps * t->k->unit * t->k->nr);
        emit_next(t, counter);
        emit_values(t, level, 0, unroll, round, inside);
        vector_end(t->f, inside + from, sums + from);
    }
    emit_values(t, level, whole, extent, step, sums);
}

static void emit_level(Tile *t, int level, Step step, int *sums) {
    if (level == t->level_count) {
        if (t->k->paired)
            emit_pairs(t, step, sums);
        else if (t->k->fb.scaled)
            emit_scaled(t, step, sums);
        else
            emit_step(t, step, sums);
        return;
    }
    int64_t extent = t->level[level].extent;
    if (level == t->patterned)
        emit_taps(t, level, step, sums);
    else if (t->taps[level] >= 0)
        emit_loop(t, level, 1, 1, step, sums); /* its extent is the parameter */
    else if (contract_written_out(&t->level[level], level))
        emit_loop(t, level, extent, extent > 0 ? (int)extent + 1 : 1, step, sums);
    else
        emit_loop(t, level, extent, level < t->level_count - 1 || t->patterned >= 0 ? 1 : t->k->knobs.unroll, step, sums);
}

/* ---- beginning and end ---- */

/* Made anew on either side of the depth, where every register is taken. */
static void make_mask(Tile *t) {
    t->mask = t->edge_lanes ? vector_mask_first(t->f, DT_F32, t->edge_lanes) : -1;
}

static int read_operand(ExprEmitter *e, const Expr *read) {
    Tile *t = e->context;
    int access = nest_find(&t->k->nest, read);
    VectorAddress at = place(t, access, t->row, t->vector);
    DType type = t->k->nest.access[access].type;
    if (contract_n_stride(t->k, access))
        return expr_load(t->f, type, at, mask_of(t, t->vector));
    return expr_splat(t->f, type, at);
}

/* The epilogue of a sum at the tile's row and vector, or (no `e`) the sum as it is. */
static void store_sum(Tile *t, ExprEmitter *e, int value) {
    const Contract *k = t->k;
    if (e) {
        expr_forget(e);
        expr_know(e, k->reduction, value);
        value = expr_emit_to_store(e, k->nest.definition->value);
        if (e->refused)
            return;
    }
    expr_store(t->f, e ? k->nest.access[0].type : k->sum, value, place(t, 0, t->row, t->vector), mask_of(t, t->vector));
}

/* Rows of a heavy epilogue that go side by side, for functions are long chains of operations: at least CHAINS vectors, where
 * the tile's rows come out even. */
static int rows_beside(const Tile *t) {
    enum { CHAINS = 4 };
    int rows = 1;
    while (rows < t->mr && (rows * t->nv < CHAINS || t->mr % rows))
        rows++;
    return rows;
}

/* Where the sum at the tile's row and vector lies meanwhile. */
static VectorAddress place_of_sum(const Tile *t) {
    int64_t row = (int64_t)t->nv * t->f->bytes;
    VectorAddress at = vector_at(t->sums, t->row * row + (int64_t)t->vector * t->f->bytes);
    return t->row_inner < 0 ? at : vector_plus(at, t->row_inner, row);
}

/* A heavy epilogue is a loop over rows, for which every register is free. Its sums lie one behind the other: rows of the result
 * may be any power of two apart, and push each other out of L1. */
static void emit_row_loop(Tile *t, ExprEmitter *e) {
    int start[CONTRACT_MAX_SUMS], count = 0, each = rows_beside(t);
    t->row_inner = vector_loop(t->f, -1, t->mr, each, NULL, NULL, 0);
    make_mask(t);
    for (t->row = 0; t->row < each; t->row++)
        for (t->vector = 0; t->vector < t->nv; t->vector++) {
            start[count++] = t->f->op_count;
            store_sum(t, e, vector_load(t->f, t->k->sum, t->k->sum, place_of_sum(t), -1));
        }
    vector_interleave(t->f, start, count);
    vector_end(t->f, NULL, NULL);
    t->row_inner = -1;
}

static void emit_stores(Tile *t, const int *sums, bool last, const char **why) {
    const Nest *nest = &t->k->nest;
    ExprEmitter e = {.f = t->f,
                     .definition = nest->definition,
                     .kernel = nest->kernel,
                     .constant = t->k->known,
                     .read = read_operand,
                     .context = t};
    if (!expr_start(&e, t->f->arena))
        return; /* the arena's failure is sticky */
    bool apart = last && t->mr > 1 && t->k->apart;
    for (t->row = 0; t->row < t->mr && !e.refused; t->row++)
        for (t->vector = 0; t->vector < t->nv; t->vector++)
            if (apart)
                vector_store(t->f, t->k->sum, sums[t->row * t->nv + t->vector], place_of_sum(t), -1);
            else
                store_sum(t, last ? &e : NULL, sums[t->row * t->nv + t->vector]);
    if (apart)
        emit_row_loop(t, &e);
    if (e.refused)
        *why = e.refused;
}

typedef struct Variant {
    const ContractPattern *pattern;
    int nv, edge_lanes; /* of the last vector; 0: all */
    int64_t depth;      /* of the block */
    bool first, last;   /* block of depth: sums start from zero; the epilogue is applied */
} Variant;

/* ---- where sums start ---- */

/* A zero point as its factor is multiplied. */
static int zero_point(Tile *t, const ContractFactor *f) {
    int64_t offset = contract_zero_offset(f);
    if (f->zero_known)
        return vector_const(t->f, DT_S32, (double)(f->zero_value + offset));
    VectorAddress at = place(t, f->zero, t->row, t->vector);
    DType type = t->k->nest.access[f->zero].type;
    int zero = contract_n_stride(t->k, f->zero) ? vector_load(t->f, DT_S32, type, at, mask_of(t, t->vector))
                                                : vector_splat(t->f, DT_S32, type, at);
    return offset ? vector_binary(t->f, VECTOR_ADD, zero, vector_const(t->f, DT_S32, (double)offset)) : zero;
}

static int minus_product(Tile *t, int from, int a, int b) {
    return vector_binary(t->f, VECTOR_SUB, from, vector_binary(t->f, VECTOR_MUL, a, b));
}

/* One vector of all rows: zero, the sums so far or (as A) those that tiles have made, less what zero points ask for
 * (contract_types.c). */
static void emit_start(Tile *t, const Variant *v, int *sums) {
    const Contract *k = t->k;
    int64_t behind = (int64_t)k->unit * k->nr * v->depth;
    bool rows = k->row_sums && v->first, subtracts = k->column_sums && !contract_no_zero(&k->fa);
    bool moves = subtracts && k->fa.zero >= 0 && contract_m_stride(k, k->fa.zero), zeros = v->first && !k->on_tiles;
    int columns = -1, zero_b = -1, start = -1;
    if (zeros && (subtracts || rows))
        start = vector_const(t->f, k->sum, 0);
    t->row = 0;
    if (subtracts)
        columns = vector_load(t->f, DT_S32, DT_S32, vector_at(t->pointer[k->b], behind + (int64_t)t->vector * t->f->bytes), -1);
    if (subtracts && !moves)
        columns = vector_binary(t->f, VECTOR_MUL, zero_point(t, &k->fa), columns);
    if (rows)
        zero_b = zero_point(t, &k->fb);
    for (t->row = 0; t->row < t->mr; t->row++) {
        int value = start;
        if (k->on_tiles)
            value =
                vector_load(t->f, k->sum, k->sum, vector_offset(row_at(t, k->a, t->row), (int64_t)t->vector * t->f->bytes), -1);
        else if (!v->first)
            value = vector_load(t->f, k->sum, k->sum, place(t, 0, t->row, t->vector), mask_of(t, t->vector));
        if (subtracts)
            value =
                moves ? minus_product(t, value, zero_point(t, &k->fa), columns) : vector_binary(t->f, VECTOR_SUB, value, columns);
        if (rows) {
            VectorAddress at = vector_at(t->row_sums, 4 * t->row);
            at = t->row_counter < 0 ? at : vector_plus(at, t->row_counter, 4);
            value = minus_product(t, value, zero_b, vector_splat(t->f, DT_S32, DT_S32, at));
        }
        sums[t->row * t->nv + t->vector] = zeros && value == start ? vector_const(t->f, k->sum, 0) : value;
    }
    if (k->paired && t->mr % 2)
        sums[t->mr * t->nv + t->vector] = vector_const(t->f, k->sum, 0); /* of half a pair */
}

/* What a tile's end writes, or (of the last block) reads along the rows. */
static bool is_far(const Contract *k, int access, bool last) {
    return access != k->a && access != k->b && contract_n_stride(k, access) == 1 && contract_m_stride(k, access) &&
           (!access || last);
}

/* That of rows [from, end) is on its way while sums are made. Into L2: rows of a power of two apart would push each other out of
 * L1. Sums of the blocks before are wanted when a tile begins: those of the next one are fetched. */
static void emit_prefetches(Tile *t, const Variant *v, int from, int end) {
    const Contract *k = t->k;
    for (int i = 0; i < k->nest.access_count; i++) {
        if (!is_far(k, i, v->last))
            continue;
        int next = i || v->first ? 0 : t->mr;
        int64_t bytes = contract_size(k, i) * k->lanes, step = bytes < 64 ? 64 / bytes : 1;
        for (int row = from; row < end; row++)
            for (int vector = 0; vector < t->nv; vector += (int)step)
                vector_prefetch_l2(t->f, place(t, i, row + next, vector));
    }
}

/* Fetching repays: sums take a while, or what they write is larger than L2, so that it is far away for certain. */
static bool repays_fetching(const Tile *t, const Variant *v) {
    enum { LONG = 64, LEAST = 9 };
    const Contract *k = t->k;
    return v->depth >= LONG || (v->depth >= LEAST && contract_writes_far(k));
}

/* The whole depth; a plain one in stretches where there is much to fetch, or it is far away for certain, which all at once would
 * keep other loads waiting. */
static void emit_depth(Tile *t, const Variant *v, Step step, int *sums) {
    enum { MULTIPLE = 16, FAR = 4 };
    int far = 0, stretches;
    int64_t extent = t->level[0].extent, each;
    for (int i = 0; i < t->k->nest.access_count; i++)
        far += is_far(t->k, i, v->last);
    bool plain = t->level_count == 1 && t->taps[0] < 0 && t->patterned < 0;
    stretches = !plain ? 1 : contract_writes_far(t->k) ? FAR : far > 1 ? 2 : 1;
    each = extent / stretches / MULTIPLE * MULTIPLE;
    bool worth = repays_fetching(t, v);
    stretches = worth ? stretches : 1;
    for (int i = 0; i < stretches; i++) {
        t->fetched = i * each;
        if (worth)
            emit_prefetches(t, v, t->mr * i / stretches, t->mr * (i + 1) / stretches);
        t->level[0].extent = i + 1 < stretches ? each : extent - t->fetched;
        emit_level(t, 0, step_to(t, step, 0, t->fetched), sums);
    }
    t->level[0].extent = extent;
}

/* The write, A and B, and what the epilogue reads, scalars, sums of rows; rows; counts of taps. */
static void add_parameters(Tile *t, Arena *arena) {
    const Contract *k = t->k;
    for (int i = 0; i < k->nest.access_count; i++) {
        const char *role = i == k->a ? "a" : i == k->b ? "b" : i ? "e" : "c";
        t->pointer[i] = k->scalar[i] >= 0 ? -1 : vector_parameter(t->f, CLASS_POINTER, arena_printf(arena, "%s%d", role, i));
    }
    t->scalars = k->scalar_count ? vector_parameter(t->f, CLASS_POINTER, "scalars") : -1;
    t->row_sums = k->row_sums ? vector_parameter(t->f, CLASS_POINTER, "r") : -1;
    t->sums = k->apart ? vector_parameter(t->f, CLASS_POINTER, "sums") : -1;
    t->rows = t->k->single ? -1 : vector_parameter(t->f, CLASS_INDEX, "rows");
    int parameter[CONTRACT_MAX_DEPTH], own = 0;
    for (int l = 0; l < k->level_count; l++)
        if (k->level[l].guard >= 0 && l != k->patterned)
            parameter[own++] = vector_parameter(t->f, CLASS_INDEX, arena_printf(arena, "taps%d", l));
    own = 0;
    for (int l = 0; l < t->level_count; l++)
        t->taps[l] = t->level[l].guard >= 0 && l != t->patterned ? parameter[own++] : -1;
}

/* From where sums start, the whole depth. */
static void emit_sums(Tile *t, const Variant *v, int *sums) {
    const Contract *k = t->k;
    Step step = {.a = row_at(t, k->a, 0),
                 .b = vector_at(t->pointer[k->b], 0),
                 .scale = vector_at(k->fb.scaled ? t->pointer[k->fb.scale] : -1, 0),
                 .end = t->mr + (k->paired ? t->mr % 2 : 0)};
    if (k->paired && !(v->first && !k->column_sums && !k->row_sums))
        swap_blocks(t, sums);
    emit_depth(t, v, step, sums);
    if (k->paired)
        swap_blocks(t, sums);
}

static const VectorFunction *emit_tile(const Contract *k, Compiled *c, const Variant *v, const char **why, whet_error *err) {
    Tile t = {.k = k,
              .pattern = v->pattern,
              .mr = k->on_tiles ? 1 : v->pattern->rows,
              .nv = v->nv,
              .edge_lanes = v->edge_lanes,
              .depth = v->depth,
              .row_inner = -1};
    t.f = schedule_function(c->vectors,
                            arena_printf(c->vectors, "contract_%dx%d%s%s%s%s", t.mr, v->nv * k->lanes,
                                         v->pattern->inside ? "" : "_border", v->first ? "" : "_add", v->last ? "" : "_part",
                                         k->on_tiles ? "_end" : ""),
                            k->target);
    if (!t.f) {
        error_memory(err);
        return NULL;
    }
    t.level_count = contract_tile_levels(k, v->pattern, v->depth, t.level, &t.patterned);
    add_parameters(&t, c->vectors);
    t.row_counter = t.rows < 0 ? -1 : vector_loop(t.f, t.rows, 0, t.mr, NULL, NULL, 0);
    int sums[CONTRACT_MAX_SUMS];
    if (!v->first || k->row_sums || k->direct || k->fb.scaled)
        make_mask(&t);
    for (t.vector = 0; t.vector < t.nv; t.vector++)
        emit_start(&t, v, sums);
    if (!k->on_tiles)
        emit_sums(&t, v, sums);
    make_mask(&t);
    emit_stores(&t, sums, v->last, why);
    if (t.rows >= 0)
        vector_end(t.f, NULL, NULL);
    if (*why || !vector_finish(t.f, err))
        return NULL;
    return t.f;
}

/* ---- panels ---- */

/* A vector of a row of B: bytes or halves, in the lower bits of 32; of what is rounded, at bit `shift`. */
static int load_narrow(VectorFunction *f, const Contract *k, VectorAddress rows, int64_t element, int shift) {
    VectorAddress at = vector_offset(rows, element * contract_size(k, k->b));
    if (k->fb.rounded) {
        int upper = convert_bf16_bits(f, vector_load(f, DT_F32, k->fb.type, at, -1));
        return shift ? upper : vector_immediate(f, VECTOR_SHR, upper, 16);
    }
    int x = vector_load(f, DT_S32, contract_size(k, k->b) == 1 ? DT_U8 : DT_U16, at, -1);
    return shift ? vector_immediate(f, VECTOR_SHL, x, shift) : x;
}

/* Vector j of a group of a panel: its columns of the rows of bytes or halves from `first` on that make up 32 bits, side by side.
 */
static int emit_side_by_side(VectorFunction *f, const Contract *k, VectorAddress rows, int first, int j) {
    int bits = k->sum == DT_F32 ? 16 : 8, value = -1;
    for (int r = 0; r < 32 / bits; r++) {
        int x = load_narrow(f, k, rows, (int64_t)(first + r) * k->nr + (int64_t)j * k->lanes, bits * r);
        value = r ? vector_binary(f, VECTOR_OR, value, x) : x;
    }
    return k->fb.flip ? vector_binary(f, VECTOR_XOR, value, vector_const(f, DT_S32, (int32_t)0x80808080)) : value;
}

static void emit_column_sums(VectorFunction *f, const Contract *k, const int *value, int pieces, int *sum) {
    int ones = vector_const(f, DT_S32, 0x01010101);
    VectorCode dot = k->paired ? VECTOR_DOT4_SS : k->dot; /* columns of pairs are signed */
    for (int i = 0; i < pieces; i++)
        *sum = vector_ternary(f, dot, k->b_first ? value[i] : ones, k->b_first ? ones : value[i], *sum);
}

/* rows: [groups][group][nr] elements as they lie; to: a panel; sums: of its columns so far. */
static const VectorFunction *emit_pack(const Contract *k, Compiled *c, whet_error *err) {
    VectorFunction *f = schedule_function(c->vectors, "contract_pack", k->target);
    if (!f)
        return error_memory(err), NULL;
    int rows = vector_parameter(f, CLASS_POINTER, "rows"), to = vector_parameter(f, CLASS_POINTER, "to");
    int sums = vector_parameter(f, CLASS_POINTER, "sums"), groups = vector_parameter(f, CLASS_INDEX, "groups");
    int before[CONTRACT_MAX_SUMS], inside[CONTRACT_MAX_SUMS], nv = k->knobs.nv, count = k->column_sums ? nv : 0;
    for (int j = 0; j < count; j++)
        before[j] = vector_load(f, DT_S32, DT_S32, vector_at(sums, (int64_t)j * f->bytes), -1);
    int counter = vector_loop(f, groups, 0, 1, before, inside, count);
    VectorAddress from = vector_plus(vector_at(rows, 0), counter, (int64_t)k->group * k->nr * contract_size(k, k->b));
    for (int j = 0; j < nv; j++) {
        int pieces = k->unit / 4, value[2];
        VectorAddress out = vector_plus(vector_at(to, (int64_t)j * pieces * f->bytes), counter, k->unit * (int64_t)k->nr);
        if (k->group == 1) {
            VectorAddress at = vector_offset(from, (int64_t)j * k->lanes * contract_size(k, k->b));
            vector_store(f, DT_F32, vector_load(f, DT_F32, k->fb.type, at, -1), out, -1);
            continue;
        }
        for (int i = 0; i < pieces; i++)
            value[i] = emit_side_by_side(f, k, from, k->group / pieces * i, j);
        if (count)
            emit_column_sums(f, k, value, pieces, &inside[j]);
        if (pieces > 1) { /* pairs of columns */
            vector_store(f, DT_S32, vector_binary(f, VECTOR_ZIP_LOW, value[0], value[1]), out, -1);
            vector_store(f, DT_S32, vector_binary(f, VECTOR_ZIP_HIGH, value[0], value[1]), vector_offset(out, f->bytes), -1);
        } else
            vector_store(f, DT_S32, value[0], out, -1);
    }
    vector_end(f, inside, before);
    for (int j = 0; j < count; j++)
        vector_store(f, DT_S32, before[j], vector_at(sums, (int64_t)j * f->bytes), -1);
    return vector_finish(f, err) ? f : NULL;
}

/* What functions hold of the plan is told in contract.c (put_plan), and here of a pattern: recall.c finds them by it. */
static bool recall_pattern(const Contract *k, Compiled *c, int p) {
    int64_t next = next_bytes(k, k->pattern[p].rows);
    char own[sizeof k->pattern[p] + sizeof next];
    memcpy(own, &k->pattern[p], sizeof k->pattern[p]);
    memcpy(own + sizeof k->pattern[p], &next, sizeof next);
    return recall_part(c, own, sizeof own);
}

/* Functions of tiles of pattern `p`: {first, middle, last, only} block x {whole panels, the edge}. */
static bool emit_pattern(Contract *k, Compiled *c, int p, const char **why, whet_error *err) {
    int next = c->function_count;
    bool found = c->recall && recall_pattern(k, c, p);
    int vectors = (int)((k->columns + k->lanes - 1) / k->lanes % k->knobs.nv), edge_lanes = (int)(k->columns % k->lanes);
    bool some_whole = k->columns >= k->nr, some_edge = k->columns % k->nr != 0;
    if (!vectors)
        vectors = k->knobs.nv; /* the last panel has all its vectors, the last of them masked */
    int64_t last_depth = k->depth - (k->blocks - 1) * k->knobs.kc;
    for (int block = 0; block < 4; block++) {
        bool first = block == 0 || block == 3, last = block >= 2;
        if (block == 3 ? k->blocks != 1 : k->blocks == 1 || (block == 1 && k->blocks < 3))
            continue;
        for (int edge = 0; edge < 2; edge++) {
            Variant v = {.pattern = &k->pattern[p],
                         .nv = edge ? vectors : k->knobs.nv,
                         .edge_lanes = edge ? edge_lanes : 0,
                         .depth = last ? last_depth : k->knobs.kc,
                         .first = first,
                         .last = last};
            k->function[block][p][edge] = -1;
            if (!(edge ? some_edge : some_whole))
                continue;
            k->function[block][p][edge] = next++;
            if (found)
                continue;
            const VectorFunction *f = emit_tile(k, c, &v, why, err);
            if (!f)
                return false;
            c->functions[c->function_count++] = f;
        }
    }
    assert(next == c->function_count);
    return true;
}

bool contract_emit(Contract *k, Compiled *c, const char **why, whet_error *err) {
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, 8 * CONTRACT_MAX_PATTERNS + 2);
    if (!c->functions)
        return error_memory(err), false;
    *why = NULL;
    k->pack_function = -1;
    if (!k->fb.scaled && (k->group > 1 || k->fb.type != DT_F32)) {
        k->pack_function = c->function_count;
        if (!(c->recall && recall_part(c, "pack", 4)) && !(c->functions[c->function_count++] = emit_pack(k, c, err)))
            return false;
    }
    if (k->on_tiles && !contract_emit_tiles(k, c, err))
        return false;
    int own = k->on_tiles ? 1 : k->pattern_count; /* rows of any tile of the unit end alike */
    for (int p = 0; p < own; p++)
        if (!emit_pattern(k, c, p, why, err))
            return false;
    for (int block = 0; block < 4; block++)
        for (int p = own; p < k->pattern_count; p++)
            memcpy(k->function[block][p], k->function[block][0], sizeof k->function[block][0]);
    return true;
}
