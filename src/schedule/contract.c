/* Contractions: c[..., m, n] = f(sum(k) a[..., m, k] * b[..., k, n], ...), f32.
 *
 * What is what follows from strides alone: the axis along which the result is contiguous is N and runs over the lanes; the
 * factor that moves along N is B, the other is A. Of the axes that A and the result have without B, the longest is M; all
 * others are walked by the driver.
 *
 * B is packed into panels of nr = nv vectors, [batch][panel][k][nr], zeros behind its last column: a constant once, when
 * compiling; what changes panel by panel just before it is used, so that there is never more than one panel a thread. Packing
 * follows any strides and guards, which makes a convolution of channels-first images (weights are A, pixels are N) a
 * contraction like any other. A is read where it lies, one element at a time spread over a vector. A tile keeps mr x nv
 * accumulators in registers over a whole block of depth:
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
#include "schedule/c/c_kernel.h"

#include <string.h>

/* A block that is packed in each run should stay in L2 and come from the allocator's small end. */
enum { MAX_ACCUMULATORS = 64, PACKED_BLOCK_BYTES = 96 << 10 };

/* ---- recognition ---- */

static bool find_factors(Contract *k, const char **why) {
    const Definition *definition = k->nest.definition;
    int count = 0;
    for (int i = 0; i < definition->expr_count; i++)
        if (definition->exprs[i]->op == EXPR_REDUCE) {
            k->reduction = definition->exprs[i];
            count++;
        }
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
    if (k->a == k->b) {
        *why = "a sum of squares";
        return false;
    }
    return true;
}

/* All accesses but B walk `outer` and the outermost axis of N as one. */
static bool joins_columns(const Contract *k, int outer) {
    for (int i = 0; i < k->nest.access_count; i++)
        if (i != k->b && !access_merges(&k->nest.access[i], outer, k->n_axis[0], k->nest.axis[k->n_axis[0]].extent))
            return false;
    return k->nest.access[k->b].stride[outer] != 0;
}

static void find_columns(Contract *k, bool taken[NEST_MAX_AXES]) {
    const Nest *nest = &k->nest;
    int first = -1;
    k->columns = 1;
    for (int x = 0; x < nest->parallel_count; x++)
        if (nest->access[0].stride[x] == 1)
            first = x;
    if (first < 0)
        return; /* one column */
    if (nest->access[k->a].stride[first]) {
        int swap = k->a;
        k->a = k->b;
        k->b = swap;
    }
    if (nest->access[k->a].stride[first] || !nest->access[k->b].stride[first])
        return; /* both factors or neither move along it: it is an axis of batches, and there is one column */
    taken[first] = true;
    k->n_axis[k->n_count++] = first;
    k->columns = nest->axis[first].extent;
    for (int x = nest->parallel_count - 1; x >= 0; x--)
        if (!taken[x] && joins_columns(k, x)) {
            taken[x] = true;
            memmove(&k->n_axis[1], &k->n_axis[0], (size_t)k->n_count++ * sizeof(int));
            k->n_axis[0] = x;
            k->columns *= nest->axis[x].extent;
            x = nest->parallel_count; /* an outer one may join now */
        }
}

/* Depth as A walks it: neighbours that are one axis to A are one level, whatever B does, for B is packed. */
static bool find_levels(Contract *k, const char **why) {
    const Nest *nest = &k->nest;
    k->depth = 1;
    for (int x = nest->parallel_count; x < nest->axis_count; x++) {
        int64_t extent = nest->axis[x].extent, stride = nest->access[k->a].stride[x];
        k->k_axis[k->k_count++] = x;
        k->depth *= extent;
        if (k->level_count && k->level[k->level_count - 1].a_stride == stride * extent) {
            k->level[k->level_count - 1].extent *= extent;
            k->level[k->level_count - 1].a_stride = stride;
            continue;
        }
        if (k->level_count == CONTRACT_MAX_DEPTH) {
            *why = "more axes of depth than a contraction takes";
            return false;
        }
        k->level[k->level_count].extent = extent;
        k->level[k->level_count++].a_stride = stride;
    }
    if (!k->level_count) /* one step */
        k->level[k->level_count++].extent = 1;
    k->inner_depth = k->level[k->level_count - 1].extent;
    return true;
}

static bool find_axes(Contract *k, const char **why) {
    const Nest *nest = &k->nest;
    bool taken[NEST_MAX_AXES] = {false};
    k->m_axis = -1;
    find_columns(k, taken);
    if (nest->access[k->a].guard_count) {
        *why = "a guarded read of the factor that is not packed";
        return false;
    }
    for (int x = 0; x < nest->parallel_count; x++)
        if (!taken[x] && !nest->access[k->b].stride[x] && (k->m_axis < 0 || nest->axis[x].extent > nest->axis[k->m_axis].extent))
            k->m_axis = x;
    for (int x = 0; x < nest->parallel_count; x++)
        if (!taken[x] && x != k->m_axis)
            k->outer[k->outer_count++] = x;
    k->rows = k->m_axis >= 0 ? nest->axis[k->m_axis].extent : 1;
    return find_levels(k, why);
}

static bool find_epilogue(Contract *k, const char **why) {
    for (int i = 1; i < k->nest.access_count; i++) {
        const Access *access = &k->nest.access[i];
        if (i == k->a || i == k->b)
            continue;
        int64_t n = contract_n_stride(k, i);
        if (n != 0 && n != 1) {
            *why = "an operand of the epilogue that is not contiguous along the result's contiguous axis";
            return false;
        }
        if (access->guard_count) {
            *why = "a guarded read in the epilogue";
            return false;
        }
        for (int x = k->nest.parallel_count; x < k->nest.axis_count; x++)
            if (access->stride[x]) {
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
    int b[MAX_ACCUMULATORS], last = k->level_count - 1;
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
    if (level == t->k->level_count - 1) {
        emit_innermost(t, level, sums);
        return;
    }
    int inside[MAX_ACCUMULATORS], count = t->mr * t->nv;
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
    int sums[MAX_ACCUMULATORS];
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
        (long long)k->knobs.mc, k->knobs.unroll, k->constant ? "B packed once" : "B packed panel by panel");
}

static bool plan(Contract *k, Compiled *c, const ScheduleOptions *options) {
    k->lanes = c->target.bytes / 4;
    k->knobs =
        (ContractKnobs){.mr = options->mr, .nv = options->nv, .kc = options->kc, .mc = options->mc, .unroll = options->unroll};
    bool several = k->level_count > 1;
    k->constant = options->constant && options->constant[k->nest.access[k->b].tensor];
    if (several) /* blocks are cut from one level alone */
        k->knobs.kc = k->inner_depth;
    cost_contract(&c->target, (ContractShape){k->rows, k->columns, k->depth}, 4, k->constant ? 0 : PACKED_BLOCK_BYTES,
                  options->spare_registers, &k->knobs);
    if (k->knobs.mr * k->knobs.nv > MAX_ACCUMULATORS)
        return false;
    if (k->knobs.kc < 1 || k->knobs.kc > k->inner_depth)
        k->knobs.kc = k->inner_depth > 0 ? k->inner_depth : 1;
    k->knobs.mc = (k->knobs.mc + k->knobs.mr - 1) / k->knobs.mr * k->knobs.mr;
    k->blocks = several || !k->inner_depth ? 1 : (k->inner_depth + k->knobs.kc - 1) / k->knobs.kc;
    k->nr = k->knobs.nv * k->lanes;
    k->panels = (k->columns + k->nr - 1) / k->nr;
    k->batches = 1;
    for (int i = 0; i < k->outer_count; i++)
        if (k->nest.access[k->b].stride[k->outer[i]])
            k->batches *= k->nest.axis[k->outer[i]].extent;
    int64_t panel, whole;
    if (!checked_mul(k->depth, 4 * (int64_t)k->nr, &panel) || !checked_mul(panel, k->batches * k->panels, &whole))
        return false;
    k->panel_bytes = (size_t)panel;
    k->packed_bytes = (size_t)whole;
    return true;
}

/* A piece is a panel. */
static void pack_piece(const Compiled *c, const void *b, size_t piece, void *to) {
    const Contract *k = c->state;
    int64_t p = (int64_t)piece;
    contract_pack_panel(k, b, p / k->panels, p % k->panels, 0, k->depth, (float *)to + piece * k->panel_bytes / 4);
}

static void put(Text *key, const void *data, size_t bytes) {
    text_put_n(key, data, bytes);
}

static void put_axis(const Contract *k, Text *key, int axis) {
    const Access *b = &k->nest.access[k->b];
    put(key, &k->nest.axis[axis].extent, sizeof(int64_t));
    put(key, &b->stride[axis], sizeof(int64_t));
    for (int g = 0; g < b->guard_count; g++)
        put(key, &b->guard[g].coef[axis], sizeof(int64_t));
}

/* All that panels depend on: how B is walked, and how wide panels are. */
static void put_key(const Contract *k, Text *key) {
    const Access *b = &k->nest.access[k->b];
    const int64_t head[] = {k->nr, k->n_count, k->k_count, k->outer_count, b->guard_count, b->offset};
    put(key, "contract", 8);
    put(key, head, sizeof head);
    put(key, &b->outside, sizeof b->outside);
    for (int g = 0; g < b->guard_count; g++) {
        put(key, &b->guard[g].offset, sizeof(int64_t));
        put(key, &b->guard[g].extent, sizeof(int64_t));
    }
    for (int i = 0; i < k->n_count; i++)
        put_axis(k, key, k->n_axis[i]);
    for (int i = 0; i < k->k_count; i++)
        put_axis(k, key, k->k_axis[i]);
    for (int i = 0; i < k->outer_count; i++)
        if (b->stride[k->outer[i]])
            put_axis(k, key, k->outer[i]);
}

static bool describe_packing(const Contract *k, Compiled *c) {
    if (!k->constant)
        return true;
    Text key;
    text_init(&key);
    put_key(k, &key);
    c->packing = (Packing){.tensor = k->nest.access[k->b].tensor,
                           .bytes = k->packed_bytes,
                           .pieces = (size_t)(k->batches * k->panels),
                           .key = arena_copy(&c->arena, key.data, key.length),
                           .key_bytes = key.length};
    c->pack = pack_piece;
    bool fine = !key.failed && c->packing.key;
    text_free(&key);
    return fine;
}
bool schedule_contract(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Contract *k = ARENA_NEW(&c->arena, Contract);
    if (!k)
        return error_memory(err), false;
    k->known = options->constant;
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
    if (!emit_all(k, c, why, err))
        return false;
    c->template = "contract";
    c->knobs = (ScheduleKnobs){k->knobs.mr, k->knobs.nv, (int)(k->knobs.kc < KNOB_MOST ? k->knobs.kc : KNOB_MOST),
                               (int)(k->knobs.mc < KNOB_MOST ? k->knobs.mc : KNOB_MOST), k->knobs.unroll};
    c->state = k;
    if (!describe_packing(k, c))
        return error_memory(err), false;
    c->run = contract_run;
    c->print = print_contract;
    c->print_c = contract_print_c;
    return true;
}
