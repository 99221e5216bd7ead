/* The tile of a contraction as vector code: sums of mr rows by nv vectors over a block of depth, then the epilogue. contract.c
 * opens with how tiles are put together. */
#include "schedule/contract.h"

typedef struct Tile {
    const Contract *k;
    VectorFunction *f;
    int mr, nv, edge_lanes; /* of the last vector; 0: all */
    int mask;               /* the same, where it is needed; -1: none */
    int64_t depth;          /* of the innermost depth axis in this block */
    int pointer[NEST_MAX_ACCESSES];
    int row_counter; /* the loop over tiles */
    int depth_counter[CONTRACT_MAX_DEPTH];
    int row, vector; /* where the epilogue is */
} Tile;

static VectorAddress place(const Tile *t, int access, int row, int vector) {
    const Contract *k = t->k;
    int64_t m = 4 * contract_m_stride(k, access), n = 4 * contract_n_stride(k, access);
    VectorAddress address = vector_at(t->pointer[access], row * m + vector * n * k->lanes);
    return vector_plus(address, t->row_counter, m);
}

static void emit_step(Tile *t, int64_t step, int *sums) {
    const Contract *k = t->k;
    int b[CONTRACT_MAX_SUMS], last = k->level_count - 1;
    int64_t b_row = 4 * (int64_t)k->nr, m = 4 * contract_m_stride(k, k->a);
    VectorAddress b_at = vector_at(t->pointer[k->b], step * b_row);
    VectorAddress a_at = vector_plus(vector_at(t->pointer[k->a], 4 * step * k->level[last].a_stride), t->row_counter, m);
    int64_t below = 1; /* steps of depth in one round of the level */
    for (int level = last; level >= 0; level--) {
        if (t->depth_counter[level] >= 0) {
            b_at = vector_plus(b_at, t->depth_counter[level], below * b_row);
            a_at = vector_plus(a_at, t->depth_counter[level], 4 * k->level[level].a_stride);
        }
        below *= level == last ? t->depth : k->level[level].extent;
    }
    for (int j = 0; j < t->nv; j++)
        b[j] = vector_load(t->f, DT_F32, DT_F32, vector_offset(b_at, (int64_t)j * t->f->bytes), -1);
    for (int i = 0; i < t->mr; i++) {
        int a = vector_splat(t->f, DT_F32, DT_F32, vector_offset(a_at, i * m));
        for (int j = 0; j < t->nv; j++)
            sums[i * t->nv + j] = vector_ternary(t->f, VECTOR_FMA, a, b[j], sums[i * t->nv + j]);
    }
}

/* The innermost axis of depth: `unroll` steps a round, what is left over behind the loop. */
static void emit_innermost(Tile *t, int level, int *sums) {
    int count = t->mr * t->nv, unroll = t->k->knobs.unroll;
    int64_t whole = t->depth / unroll * unroll;
    int inside[CONTRACT_MAX_SUMS];
    if (whole) {
        t->depth_counter[level] = vector_loop(t->f, -1, whole, unroll, sums, inside, count);
        for (int u = 0; u < unroll; u++)
            emit_step(t, u, inside);
        vector_end(t->f, inside, sums);
    }
    t->depth_counter[level] = -1; /* behind the loop the counter is a constant, part of the step */
    for (int64_t s = whole; s < t->depth; s++)
        emit_step(t, s, sums);
}

static void emit_depth(Tile *t, int level, int *sums) {
    if (level == t->k->level_count - 1) {
        emit_innermost(t, level, sums);
        return;
    }
    int inside[CONTRACT_MAX_SUMS], count = t->mr * t->nv;
    t->depth_counter[level] = vector_loop(t->f, -1, t->k->level[level].extent, 1, sums, inside, count);
    emit_depth(t, level + 1, inside);
    vector_end(t->f, inside, sums);
}

/* Made anew on either side of the depth, where every register is taken. */
static void make_mask(Tile *t) {
    t->mask = t->edge_lanes ? vector_mask_first(t->f, DT_F32, t->edge_lanes) : -1;
}

static int mask_of(const Tile *t) {
    return t->vector == t->nv - 1 ? t->mask : -1;
}

static int read_operand(ExprEmitter *e, const Expr *read) {
    Tile *t = e->context;
    int access = nest_find(&t->k->nest, read);
    VectorAddress at = place(t, access, t->row, t->vector);
    if (contract_n_stride(t->k, access))
        return vector_load(t->f, DT_F32, DT_F32, at, mask_of(t));
    return vector_splat(t->f, DT_F32, DT_F32, at);
}

static void emit_stores(Tile *t, const int *sums, bool last, const char **why) {
    ExprEmitter e = {.f = t->f,
                     .definition = t->k->nest.definition,
                     .kernel = t->k->nest.kernel,
                     .constant = t->k->known,
                     .read = read_operand,
                     .context = t};
    if (!expr_start(&e, t->f->arena))
        return; /* the arena's failure is sticky */
    for (t->row = 0; t->row < t->mr; t->row++)
        for (t->vector = 0; t->vector < t->nv; t->vector++) {
            int value = sums[t->row * t->nv + t->vector];
            if (last) {
                expr_forget(&e);
                expr_know(&e, t->k->reduction, value);
                value = expr_emit(&e, t->k->nest.definition->value);
            }
            if (e.refused) {
                *why = e.refused;
                return;
            }
            vector_store(t->f, DT_F32, value, place(t, 0, t->row, t->vector), mask_of(t));
        }
}

static const VectorFunction *emit_tile(const Contract *k, Compiled *c, const ContractVariant *v, const char **why,
                                       whet_error *err) {
    Tile t = {.k = k, .mr = v->mr, .nv = v->nv, .edge_lanes = v->edge_lanes, .depth = v->depth};
    t.f = vector_new(
        &c->arena,
        arena_printf(&c->arena, "contract_%dx%d%s%s", v->mr, v->nv * k->lanes, v->first ? "" : "_add", v->last ? "" : "_part"),
        c->target.bytes);
    if (!t.f) {
        error_memory(err);
        return NULL;
    }
    for (int i = 0; i < k->nest.access_count; i++) /* the write, A and B, and what the epilogue reads */
        t.pointer[i] = vector_parameter(t.f, CLASS_POINTER,
                                        arena_printf(&c->arena, "%s%d",
                                                     i == k->a   ? "a"
                                                     : i == k->b ? "b"
                                                     : i         ? "e"
                                                                 : "c",
                                                     i));
    int rows = vector_parameter(t.f, CLASS_INDEX, "rows");
    t.row_counter = vector_loop(t.f, rows, 0, v->mr, NULL, NULL, 0);
    int sums[CONTRACT_MAX_SUMS];
    if (!v->first)
        make_mask(&t);
    for (int i = 0; i < v->mr; i++)
        for (int j = 0; j < v->nv; j++) {
            int mask = j == v->nv - 1 ? t.mask : -1;
            sums[i * v->nv + j] =
                v->first ? vector_const(t.f, DT_F32, 0) : vector_load(t.f, DT_F32, DT_F32, place(&t, 0, i, j), mask);
        }
    emit_depth(&t, 0, sums);
    make_mask(&t);
    emit_stores(&t, sums, v->last, why);
    vector_end(t.f, NULL, NULL);
    if (*why || !vector_finish(t.f, err))
        return NULL;
    return t.f;
}

/* Every function the shape needs: {first, middle, last, only} block x {whole tiles, rows left over} x {whole panels, the edge}.
 */
bool contract_emit(Contract *k, Compiled *c, const char **why, whet_error *err) {
    c->functions = ARENA_ARRAY(&c->arena, const VectorFunction *, CONTRACT_VARIANTS);
    if (!c->functions)
        return error_memory(err), false;
    int vectors = (int)((k->columns + k->lanes - 1) / k->lanes % k->knobs.nv), edge_lanes = (int)(k->columns % k->lanes);
    bool some_whole = k->columns >= k->nr, some_edge = k->columns % k->nr != 0;
    if (!vectors)
        vectors = k->knobs.nv; /* the last panel has all its vectors, the last of them masked */
    int64_t last_depth = k->inner_depth - (k->blocks - 1) * k->knobs.kc;
    for (int block = 0; block < 4; block++) {
        bool first = block == 0 || block == 3, last = block >= 2;
        if (block == 3 ? k->blocks != 1 : k->blocks == 1 || (block == 1 && k->blocks < 3))
            continue;
        for (int rest = 0; rest < 2; rest++)
            for (int edge = 0; edge < 2; edge++) {
                ContractVariant v = {.mr = rest ? (int)(k->rows % k->knobs.mr) : k->knobs.mr,
                                     .nv = edge ? vectors : k->knobs.nv,
                                     .edge_lanes = edge ? edge_lanes : 0,
                                     .depth = last ? last_depth : k->knobs.kc,
                                     .first = first,
                                     .last = last};
                bool wanted = (edge ? some_edge : some_whole) && (rest ? v.mr > 0 : k->rows >= k->knobs.mr);
                k->function[block][rest][edge] = -1;
                if (!wanted)
                    continue;
                const VectorFunction *f = emit_tile(k, c, &v, why, err);
                if (!f)
                    return false;
                k->function[block][rest][edge] = c->function_count;
                c->functions[c->function_count++] = f;
            }
    }
    return true;
}
