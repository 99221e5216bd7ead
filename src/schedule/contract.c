/* Contractions: c[..., m, n] = f(sum(k) a[..., m, k] * b[..., k, n], ...), f32.
 *
 * What is what follows from strides alone: the axis along which the result is contiguous is N and runs over the lanes; the
 * factor that moves along N is B, the other is A. Of the axes that A and the result have without B, the longest is M; all
 * others are walked by the driver.
 *
 * B is packed into panels of nr = nv vectors, [batch][panel][k][nr], zeros behind its last column; constant factors once, when
 * compiling. A is read where it lies, one element at a time spread over a vector. A tile keeps mr x nv accumulators in
 * registers over a whole block of depth:
 *
 *     for block of depth kc:          C holds the sums so far between blocks
 *       for block of rows mc:         A's block stays in L2
 *         for panel:                  B's panel stays in L2
 *           vector code: for tile of mr rows: accumulate over kc, apply the epilogue after the last block, store
 *
 * Rows that are left over get a function of their own with fewer rows, columns that are left over one with fewer vectors, the
 * last of them masked. So the sum of one element runs over k in order, whatever the tile, the block and the number of threads:
 * the same bits for any batch size. */
#include "schedule/contract.h"

#include <string.h>

enum { MAX_ACCUMULATORS = 64 };

/* ---- recognition ---- */

static const Expr *find_reduction(const Expr *expr, int *count) {
    const Expr *found = NULL;
    if (expr->op == EXPR_REDUCE) {
        (*count)++;
        return expr;
    }
    for (int i = 0; i < 3; i++)
        if (expr->arg[i]) {
            const Expr *inner = find_reduction(expr->arg[i], count);
            found = found ? found : inner;
        }
    return found;
}

static bool find_factors(Contract *k, const char **why) {
    int count = 0;
    k->reduction = find_reduction(k->nest.definition->value, &count);
    if (count != 1 || k->reduction->reduce != REDUCE_SUM) {
        *why = "not one sum";
        return false;
    }
    const Expr *product = k->reduction->arg[0];
    if (product->op != EXPR_MUL || product->arg[0]->op != EXPR_READ || product->arg[1]->op != EXPR_READ) {
        *why = "not a sum of products of two tensors";
        return false;
    }
    k->a = nest_find(&k->nest, product->arg[0]);
    k->b = nest_find(&k->nest, product->arg[1]);
    for (int i = 0; i < k->nest.access_count; i++)
        if (k->nest.access[i].type != DT_F32) {
            *why = "a contraction of a type other than f32";
            return false;
        }
    return true;
}

static bool find_axes(Contract *k, const char **why) {
    const Nest *nest = &k->nest;
    k->m_axis = k->n_axis = -1;
    for (int x = 0; x < nest->parallel_count; x++)
        if (nest->access[0].stride[x] == 1)
            k->n_axis = x;
    if (k->n_axis >= 0 && nest->access[k->a].stride[k->n_axis] && !nest->access[k->b].stride[k->n_axis]) {
        int swap = k->a;
        k->a = k->b;
        k->b = swap;
    }
    const int64_t *a = nest->access[k->a].stride, *b = nest->access[k->b].stride;
    if (k->n_axis >= 0 && (a[k->n_axis] || !b[k->n_axis])) {
        *why = "both or neither of the factors move along the contiguous axis of the result";
        return false;
    }
    for (int x = 0; x < nest->parallel_count; x++)
        if (x != k->n_axis && !b[x] && (k->m_axis < 0 || nest->axis[x].extent > nest->axis[k->m_axis].extent))
            k->m_axis = x;
    for (int x = 0; x < nest->parallel_count; x++)
        if (x != k->n_axis && x != k->m_axis)
            k->outer[k->outer_count++] = x;
    k->depth = 1;
    for (int x = nest->parallel_count; x < nest->axis_count; x++) {
        k->k_axis[k->k_count++] = x;
        k->depth *= nest->axis[x].extent;
    }
    if (k->k_count > CONTRACT_MAX_DEPTH) {
        *why = "more axes of depth than a contraction takes";
        return false;
    }
    k->rows = k->m_axis >= 0 ? nest->axis[k->m_axis].extent : 1;
    k->columns = k->n_axis >= 0 ? nest->axis[k->n_axis].extent : 1;
    return true;
}

static int64_t stride_of(const Contract *k, int access, int axis) {
    return axis < 0 ? 0 : k->nest.access[access].stride[axis];
}

static bool find_epilogue(Contract *k, const char **why) {
    for (int i = 1; i < k->nest.access_count; i++) {
        if (i == k->a || i == k->b)
            continue;
        int64_t n = stride_of(k, i, k->n_axis);
        if (n != 0 && n != 1) {
            *why = "an operand of the epilogue that is not contiguous along the result's contiguous axis";
            return false;
        }
        for (int x = k->nest.parallel_count; x < k->nest.axis_count; x++)
            if (k->nest.access[i].stride[x]) {
                *why = "an operand of the epilogue that moves with the sum";
                return false;
            }
        k->epilogue[k->epilogue_count++] = i;
    }
    return true;
}

/* ---- the tile, as vector code ---- */

typedef struct Tile {
    const Contract *k;
    VectorFunction *f;
    int mr, nv, mask; /* mask: of the last vector, -1: none */
    int64_t depth;    /* of the innermost depth axis in this block */
    int pointer[NEST_MAX_ACCESSES];
    int row_counter; /* the loop over tiles */
    int depth_counter[CONTRACT_MAX_DEPTH];
    int row, vector; /* where the epilogue is */
} Tile;

static VectorAddress place(const Tile *t, int access, int row, int vector) {
    const Contract *k = t->k;
    int64_t m = 4 * stride_of(k, access, k->m_axis), n = 4 * stride_of(k, access, k->n_axis);
    VectorAddress address = vector_at(t->pointer[access], row * m + vector * n * k->lanes);
    return vector_plus(address, t->row_counter, m);
}

static void emit_step(Tile *t, int64_t step, int *sums) {
    const Contract *k = t->k;
    int b[MAX_ACCUMULATORS], last = k->k_count - 1;
    int64_t a_step = k->k_count ? 4 * stride_of(k, k->a, k->k_axis[last]) : 0, b_row = 4 * (int64_t)k->nr;
    VectorAddress b_at = vector_at(t->pointer[k->b], step * b_row), a_at = vector_at(t->pointer[k->a], step * a_step);
    int64_t below = 1; /* steps of depth in one round of the level */
    for (int level = last; level >= 0; level--) {
        if (t->depth_counter[level] >= 0) {
            b_at = vector_plus(b_at, t->depth_counter[level], below * b_row);
            a_at = vector_plus(a_at, t->depth_counter[level], 4 * stride_of(k, k->a, k->k_axis[level]));
        }
        below *= level == last ? t->depth : k->nest.axis[k->k_axis[level]].extent;
    }
    int64_t m = 4 * stride_of(k, k->a, k->m_axis);
    a_at = vector_plus(a_at, t->row_counter, m);
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
    int inside[MAX_ACCUMULATORS];
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
    if (level >= t->k->k_count - 1) {
        emit_innermost(t, level, sums);
        return;
    }
    int inside[MAX_ACCUMULATORS], count = t->mr * t->nv;
    t->depth_counter[level] = vector_loop(t->f, -1, t->k->nest.axis[t->k->k_axis[level]].extent, 1, sums, inside, count);
    emit_depth(t, level + 1, inside);
    vector_end(t->f, inside, sums);
}

static int mask_of(const Tile *t) {
    return t->vector == t->nv - 1 ? t->mask : -1;
}

static int read_operand(ExprEmitter *e, int access) {
    Tile *t = e->context;
    VectorAddress at = place(t, access, t->row, t->vector);
    if (stride_of(t->k, access, t->k->n_axis))
        return vector_load(t->f, DT_F32, DT_F32, at, mask_of(t));
    return vector_splat(t->f, DT_F32, DT_F32, at);
}

static void emit_stores(Tile *t, const int *sums, bool last, const char **why) {
    for (t->row = 0; t->row < t->mr; t->row++)
        for (t->vector = 0; t->vector < t->nv; t->vector++) {
            int value = sums[t->row * t->nv + t->vector];
            if (last) {
                ExprEmitter e = {.f = t->f, .nest = &t->k->nest, .read = read_operand, .context = t};
                e.reduction = t->k->reduction;
                e.reduced = value;
                value = expr_emit(&e, t->k->nest.definition->value);
                if (e.refused) {
                    *why = e.refused;
                    return;
                }
            }
            vector_store(t->f, DT_F32, value, place(t, 0, t->row, t->vector), mask_of(t));
        }
}

static const VectorFunction *emit_tile(const Contract *k, Compiled *c, const ContractVariant *v, const char **why,
                                       whet_error *err) {
    Tile t = {.k = k, .mr = v->mr, .nv = v->nv, .depth = v->depth, .mask = -1};
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
    if (v->edge_lanes)
        t.mask = vector_mask_first(t.f, DT_F32, v->edge_lanes);
    t.row_counter = vector_loop(t.f, rows, 0, v->mr, NULL, NULL, 0);
    int sums[MAX_ACCUMULATORS];
    for (int i = 0; i < v->mr; i++)
        for (int j = 0; j < v->nv; j++) {
            int mask = j == v->nv - 1 ? t.mask : -1;
            sums[i * v->nv + j] =
                v->first ? vector_const(t.f, DT_F32, 0) : vector_load(t.f, DT_F32, DT_F32, place(&t, 0, i, j), mask);
        }
    emit_depth(&t, 0, sums);
    emit_stores(&t, sums, v->last, why);
    vector_end(t.f, NULL, NULL);
    if (*why || !vector_finish(t.f, err))
        return NULL;
    return t.f;
}

/* Every function the shape needs: {first, middle, last, only} block x {whole tiles, rows left over} x {whole panels, the edge}.
 */
static bool emit_all(Contract *k, Compiled *c, const char **why, whet_error *err) {
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

/* ---- the door ---- */

static void print_contract(const Compiled *c, Text *out) {
    const Contract *k = c->state;
    text_printf(
        out,
        "contract m=%lld n=%lld k=%lld: tile %d x %d, depth in blocks of %lld, rows in blocks of %lld, unrolled %d times, %s\n",
        (long long)k->rows, (long long)k->columns, (long long)k->depth, k->knobs.mr, k->nr, (long long)k->knobs.kc,
        (long long)k->knobs.mc, k->knobs.unroll, k->constant ? "B packed once" : "B packed in each run");
}

static bool plan(Contract *k, Compiled *c, const ScheduleOptions *options) {
    k->lanes = c->target.bytes / 4;
    k->inner_depth = k->k_count ? k->nest.axis[k->k_axis[k->k_count - 1]].extent : 1;
    k->knobs = (ContractKnobs){.mr = options->mr, .nv = options->nv, .kc = options->kc, .unroll = options->unroll};
    bool several = k->k_count > 1;
    if (several) /* blocks are cut from one axis alone */
        k->knobs.kc = k->inner_depth;
    cost_contract(&c->target, (ContractShape){k->rows, k->columns, k->depth}, 4, &k->knobs);
    if (k->knobs.mr * k->knobs.nv > MAX_ACCUMULATORS)
        return false;
    if (k->knobs.kc < 1 || k->knobs.kc > k->inner_depth)
        k->knobs.kc = k->inner_depth > 0 ? k->inner_depth : 1;
    k->blocks = several || !k->inner_depth ? 1 : (k->inner_depth + k->knobs.kc - 1) / k->knobs.kc;
    k->nr = k->knobs.nv * k->lanes;
    k->panels = (k->columns + k->nr - 1) / k->nr;
    k->batches = 1;
    for (int i = 0; i < k->outer_count; i++)
        if (k->nest.access[k->b].stride[k->outer[i]])
            k->batches *= k->nest.axis[k->outer[i]].extent;
    int64_t count;
    const int64_t dims[] = {k->batches, k->panels, k->depth, k->nr, 4};
    if (!checked_count(dims, 5, &count))
        return false;
    k->packed_bytes = (size_t)count;
    return true;
}

bool schedule_contract(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Contract *k = ARENA_NEW(&c->arena, Contract);
    if (!k)
        return error_memory(err), false;
    if (c->kernel->definition_count != 1) {
        *why = "more than one definition";
        return false;
    }
    if (!nest_of(c->kernel, &c->kernel->definitions[0], &k->nest, why) || !find_factors(k, why) || !find_axes(k, why) ||
        !find_epilogue(k, why))
        return false;
    if (!plan(k, c, options)) {
        *why = "a contraction too large";
        return false;
    }
    const void *b = options->constant ? options->constant[k->nest.access[k->b].tensor] : NULL;
    if (!emit_all(k, c, why, err))
        return false;
    if (b) {
        c->packed_bytes = k->packed_bytes;
        c->packed = memory_alloc(c->allocator, c->packed_bytes);
        if (!c->packed)
            return error_memory(err), false;
        for (int64_t p = 0; p < k->batches * k->panels; p++)
            contract_pack_panel(k, b, c->packed, p);
        k->constant = true;
    }
    c->template = "contract";
    c->state = k;
    c->run = contract_run;
    c->print = print_contract;
    return true;
}
