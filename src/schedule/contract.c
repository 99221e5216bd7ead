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
 * last of them masked. Where a matrix unit adds outer products, tiles may be the unit's: contract_outer.c. So the sum of one
 * element runs over k in order, whatever the tile, the block and the number of threads: the same bits for any batch size. */
#include "schedule/contract.h"
#include "schedule/c/c_kernel.h"

#include <string.h>

/* A block that is packed in each run should stay in L2 and come from the allocator's small end. */
enum { PACKED_BLOCK_BYTES = 96 << 10, GATHERED_BYTES = 96 << 10 };
enum { AHEAD_LEAST = 64 << 10 }; /* smaller weights stay in a cache nearby */
/* Registers of a tile whose bytes or bf16 are widened: those of A and of two vectors of B, and one for products. */
enum { SPARE_OF_PAIRS = 7, SHORT_SUM = 64, LEAST_NARROW = 8 };

/* ---- recognition ---- */

static int64_t magnitude(int64_t x) {
    return x < 0 ? -x : x;
}

static bool index_moves(const Expr *read, int axis) {
    for (int i = 0; i < read->index_count; i++)
        if (read->index[i].affine && read->index[i].coef[axis])
            return true;
    return false;
}

static bool is_constant(const Contract *k, const ScheduleOptions *options, int access) {
    return options->constant && options->constant[k->nest.access[access].tensor];
}

/* All accesses but B (it too, where it is read as it lies) walk `outer` and the outermost axis of N as one. */
static bool joins_columns(const Contract *k, int outer) {
    for (int i = 0; i < k->nest.access_count; i++)
        if ((i != k->b || k->direct) &&
            !access_merges(&k->nest.access[i], outer, k->n_axis[0], k->nest.axis[k->n_axis[0]].extent))
            return false;
    return k->nest.access[k->b].stride[outer] != 0;
}

static void find_columns(Contract *k, bool taken[NEST_MAX_AXES]) {
    const Nest *nest = &k->nest;
    int first = -1;
    k->n_count = 0;
    k->columns = 1;
    for (int x = 0; x < nest->parallel_count; x++)
        if (nest->access[0].stride[x] == 1)
            first = x;
    if (first < 0)
        return; /* one column */
    if (nest->access[k->a].stride[first]) {
        ContractFactor swap = k->fa;
        k->fa = k->fb;
        k->fb = swap;
        k->a = k->fa.access;
        k->b = k->fb.access;
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

/* Depth, the steps that are longest to A outermost: that is the order in which it lies in memory. */
static void find_depth(Contract *k) {
    const Nest *nest = &k->nest;
    k->k_count = 0;
    k->steps = 1;
    for (int x = nest->parallel_count; x < nest->axis_count; x++) {
        int at = k->k_count++;
        for (; at > 0 && magnitude(nest->access[k->a].stride[k->k_axis[at - 1]]) < magnitude(nest->access[k->a].stride[x]); at--)
            k->k_axis[at] = k->k_axis[at - 1];
        k->k_axis[at] = x;
        k->steps *= nest->axis[x].extent;
    }
}

/* Of the parallel axes that are no columns, those along which B stands still are rows; the others are batches. */
static int find_rows(Contract *k, const bool taken[NEST_MAX_AXES], int *rows) {
    int count = 0;
    k->outer_count = 0;
    for (int x = 0; x < k->nest.parallel_count; x++)
        if (!taken[x] && !contract_b_moves(k, x))
            rows[count++] = x;
        else if (!taken[x])
            k->outer[k->outer_count++] = x;
    return count;
}

/* Functions of many operations: written out for every vector of a tile they would be most of the code. */
static bool is_heavy(const Definition *definition) {
    for (int i = 0; i < definition->expr_count; i++)
        switch (definition->exprs[i]->op) {
        case EXPR_EXP:
        case EXPR_EXPM1:
        case EXPR_LOG:
        case EXPR_LOG1P:
        case EXPR_TANH:
        case EXPR_ERF: return true;
        default: break;
        }
    return false;
}

/* Is a factor read behind the sum as well? Then it stands still along the sum, and is where it lies, while tiles read panels. */
static bool reads_factor(const Contract *k, const Expr *e) {
    if (e == k->reduction)
        return false;
    if (e->op == EXPR_READ && (e == k->nest.access[k->a].read || e == k->nest.access[k->b].read))
        return true;
    for (int i = 0; i < 3; i++)
        if (e->arg[i] && reads_factor(k, e->arg[i]))
            return true;
    return false;
}

/* Operands that stand still along rows and columns are scalars of a tile. */
static bool find_epilogue(Contract *k, const int *rows, int count, const char **why) {
    if (reads_factor(k, k->nest.definition->value)) {
        *why = "a factor that is an operand of the epilogue too";
        return false;
    }
    for (int i = 0; i < k->nest.access_count; i++)
        k->scalar[i] = -1;
    for (int i = 1; i < k->nest.access_count; i++) {
        const Access *access = &k->nest.access[i];
        if (i == k->a || i == k->b || (k->fb.scaled && (i == k->fb.scale || i == k->fb.zero)))
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
        bool moves = n != 0;
        for (int r = 0; r < count; r++)
            moves = moves || access->stride[rows[r]];
        if (!moves && contract_size(k, i) <= CONTRACT_SCALAR_BYTES)
            k->scalar[i] = k->scalar_count++;
    }
    k->apart = is_heavy(k->nest.definition);
    return true;
}

/* ---- the door ---- */

static void print_contract(const Compiled *c, Text *out) {
    const Contract *k = c->state;
    text_printf(out, "contract m=%lld", (long long)k->rows);
    if (k->lines > 1)
        text_printf(out, " (%lld lines of %lld)", (long long)k->lines, (long long)k->line);
    text_printf(
        out,
        " n=%lld k=%lld, %s x %s%s: tile %d x %d, depth in blocks of %lld, rows in blocks of %lld, unrolled %d times, %s%s\n",
        (long long)k->columns, (long long)k->steps, dtype_name(k->fa.type), dtype_name(k->fb.type),
        k->fb.rounded ? " as bf16" : "", k->knobs.mr, k->nr, (long long)k->knobs.kc * k->group, (long long)k->knobs.mc,
        k->knobs.unroll,
        k->constant ? "B packed once"
        : k->direct ? "B as it lies"
                    : "B packed panel by panel",
        k->rows_lie   ? ", tiles"
        : k->on_tiles ? k->interleave_function < 0 ? ", tiles, rows of A gathered" : ", outer products"
        : k->gathered ? ", rows of A gathered"
                      : "");
}

/* Rows that are gathered stay in L2 beside a panel; a pitch that is no power of two spreads them over L1's sets. */
static void plan_gather(Contract *k) {
    if (!k->gathered)
        return;
    int64_t most = GATHERED_BYTES / k->unit / k->knobs.kc, tiles = most / k->knobs.mr;
    k->a_pitch = ((k->knobs.kc + 15) / 16 * 16 + 16) * k->group;
    if (k->on_tiles)
        return;
    k->knobs.mc = (tiles < 1 ? 1 : tiles < k->lines * k->tiles ? tiles : k->lines * k->tiles) * k->knobs.mr;
}

/* How far ahead weights are fetched: what was measured on Zen 4, weights from memory. For fewer rows, and where many share a
 * panel, the machine itself is as good or better. */
static int bytes_ahead(int64_t rows, bool far) {
    return rows >= 8 && rows <= 32 ? 8 << 10 : rows == 1 && far ? 6 << 10 : 0;
}

/* Each tile fetches a share of the next panel, for which that one's first tile would wait, where tiles are so few that this
 * shows. The machine foresees a large one that follows the one at hand, but in its first tile it cannot keep up. */
static bool fetches_next(const Contract *k) {
    enum { TILES = 64 };
    return k->packed_bytes >= AHEAD_LEAST && k->lines == 1 && k->tiles > 1 && k->tiles <= TILES && k->level_count == 1 &&
           k->level[0].guard < 0;
}

static bool plan(Contract *k, const ScheduleOptions *options, const int *axis, int count, const char **why) {
    ContractKnobs given = {.mr = options->mr,
                           .nv = options->nv,
                           .kc = (options->kc + k->group - 1) / k->group,
                           .mc = options->mc,
                           .unroll = options->unroll};
    k->lanes = k->target->bytes / 4;
    k->constant = is_constant(k, options, k->b) && (!k->fb.centred || k->fb.zero_known);
    int spare = options->spare_registers;
    bool pairs = k->dot == VECTOR_DOT2 ? !k->target->dot2 : k->group == 4 && !k->target->dot4_us && !k->target->dot4_ss;
    k->first_spare = pairs ? SPARE_OF_PAIRS : 0;
    spare = spare < k->first_spare ? k->first_spare : spare;
    int64_t rows = 1;
    for (int i = 0; i < count; i++)
        rows *= k->nest.axis[axis[i]].extent;
    contract_choose_tiles(k, k->target, rows, options->spare_registers, &given);
    if (!contract_plan_rows(k, k->target, &given, k->constant ? 0 : PACKED_BLOCK_BYTES, spare, axis, count, why))
        return false;
    plan_gather(k);
    k->nr = k->knobs.nv * k->lanes;
    k->panels = (k->columns + k->nr - 1) / k->nr;
    k->batches = 1;
    for (int i = 0; i < k->outer_count; i++)
        if (contract_b_moves(k, k->outer[i]))
            k->batches *= k->nest.axis[k->outer[i]].extent;
    int64_t panel, whole;
    *why = "a contraction too large";
    int64_t sums = k->column_sums ? 4 * k->blocks : 0;
    if (!checked_mul(k->depth, k->unit, &panel) || !checked_mul(panel + sums, k->nr, &panel) ||
        !checked_add(panel, (int64_t)contract_tail_bytes(k), &panel) || !checked_mul(panel, k->batches * k->panels, &whole))
        return false;
    k->panel_bytes = k->direct ? 0 : (size_t)panel;
    k->packed_bytes = k->direct ? 0 : (size_t)whole;
    k->next_panel = k->constant && fetches_next(k);
    k->ahead = k->constant && !k->next_panel && k->packed_bytes >= AHEAD_LEAST ? bytes_ahead(k->rows, options->far) : 0;
    return true;
}

/* A piece is a panel. */
static void pack_piece(const Compiled *c, const void *b, size_t piece, void *to) {
    const Contract *k = c->state;
    int64_t p = (int64_t)piece;
    char outside[4];
    contract_outside(k, &k->fb, NULL, outside);
    for (int64_t block = 0; block < k->blocks; block++)
        contract_pack_block(c, b, p / k->panels, p % k->panels, block, outside,
                            (char *)to + piece * k->panel_bytes + (size_t)block * contract_block_bytes(k));
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
    const int64_t head[] = {k->nr,          k->n_count,   k->k_count,     k->outer_count,
                            b->guard_count, b->offset,    b->type,        k->group,
                            k->fb.flip,     k->b_first,   k->column_sums, k->column_sums ? k->knobs.kc : 0,
                            k->fb.rounded,  k->tile_depth};
    char outside[4];
    contract_outside(k, &k->fb, NULL, outside);
    put(key, "contract", 8);
    put(key, head, sizeof head);
    put(key, outside, sizeof outside);
    for (int g = 0; g < b->guard_count; g++) {
        put(key, &b->guard[g].offset, sizeof(int64_t));
        put(key, &b->guard[g].extent, sizeof(int64_t));
    }
    for (int i = 0; i < k->n_count; i++)
        put_axis(k, key, k->n_axis[i]);
    for (int i = 0; i < k->k_count; i++)
        put_axis(k, key, k->k_axis[i]);
    for (int i = 0; i < k->outer_count; i++)
        if (contract_b_moves(k, k->outer[i]))
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
    c->takes_unpacked = k->dot != VECTOR_DOT2; /* pairs are made slowly: twice would be slower than packing at once */
    bool fine = !key.failed && c->packing.key;
    text_free(&key);
    return fine;
}

/* Columns, depth, rows and batches; the number of rows' axes. */
static int find_loops(Contract *k, int rows[NEST_MAX_AXES]) {
    bool taken[NEST_MAX_AXES] = {false};
    find_columns(k, taken);
    find_depth(k);
    return find_rows(k, taken, rows);
}

/* ---- B as it lies ---- */

static int64_t extent_of(const Contract *k, const int *axis, int count) {
    int64_t extent = 1;
    for (int i = 0; i < count; i++)
        extent *= k->nest.axis[axis[i]].extent;
    return extent;
}

/* Its columns lie side by side, f32 and never outside. */
static bool may_be_direct(const Contract *k, const Compiled *c, const ScheduleOptions *options) {
    const Access *b = &k->nest.access[k->b];
    return !options->whole && k->group == 1 && k->fb.type == DT_F32 && !k->fb.rounded && k->sum == DT_F32 &&
           !c->target.tiles.floats && k->n_count && contract_n_stride(k, k->b) == 1 && !b->guard_count &&
           !k->nest.access[k->a].guard_count && !is_constant(k, options, k->b);
}

/* A is one row now, and may have been taken out of a batch: an axis of one element, around the columns, that A has and B has not.
 */
static bool may_be_of_batch(const Contract *k) {
    const Definition *d = k->nest.definition;
    const Expr *a = k->nest.access[k->a].read, *b = k->nest.access[k->b].read;
    bool around = false; /* columns lie further in, going outwards */
    for (int i = d->left_count - 1; i >= 0; i--) {
        int axis = index_plain_axis(d, &d->left[i]);
        if (axis < 0 || d->axes[axis].extent != 1) {
            around = true;
            continue;
        }
        if (around && index_moves(a, axis) && !index_moves(b, axis))
            return true;
    }
    return false;
}

/* A vector A, and a B that would be packed for it alone: transposed, if what lies side by side in it are steps of depth, or made
 * wider. Each element of the result is a sum that the template of rows makes as the elements come, that of a single column too.
 * Not where A is no constant and may be one row of a batch: with more of them it would be a product, which sums in another
 * order, and answers must not depend on who else is in a batch. */
static bool is_matrix_by_vector(const Contract *k, const ScheduleOptions *options, const int rows[NEST_MAX_AXES], int count) {
    const Access *a = &k->nest.access[k->a], *b = &k->nest.access[k->b];
    bool whole = k->nest.covers && !k->nest.kernel->partial && k->nest.kernel->definition_count == 1; /* as rows want it */
    if (!whole || k->fb.scaled || extent_of(k, rows, count) > 1 || !k->n_count || !k->k_count || is_constant(k, options, k->b) ||
        a->guard_count || b->guard_count)
        return false;
    int inner = k->k_axis[k->k_count - 1];
    int64_t least = contract_size(k, k->b) < 4 ? LEAST_NARROW : 1;
    bool along = a->stride[inner] == 1 && b->stride[inner] == 1 && k->nest.axis[inner].extent >= least;
    bool wider = contract_n_stride(k, k->b) == 1 && contract_size(k, k->b) < 4;
    return (along || wider) && (is_constant(k, options, k->a) || !may_be_of_batch(k));
}

/* B as it lies may have fewer columns in a piece, but nothing is packed. `rows`: set anew if that is cheaper. */
static int choose_direct(Contract *k, const Compiled *c, const ScheduleOptions *options, int rows[NEST_MAX_AXES], int count) {
    if (!may_be_direct(k, c, options))
        return count;
    ContractKnobs knobs[2] = {{0}, {0}};
    ContractShape packed = {.rows = extent_of(k, rows, count), .columns = k->columns, .depth = k->steps}, direct = packed;
    double pieces = (double)extent_of(k, k->outer, k->outer_count);
    double slots = pieces * (cost_contract(&c->target, packed, 4, PACKED_BLOCK_BYTES, 0, &knobs[0]) +
                             cost_pack(&c->target, k->steps, k->columns, 1));
    k->direct = true;
    count = find_loops(k, rows);
    direct.columns = k->columns;
    pieces = (double)extent_of(k, k->outer, k->outer_count);
    if (pieces * cost_contract(&c->target, direct, 4, 0, 0, &knobs[1]) < slots)
        return count;
    k->direct = false;
    return find_loops(k, rows);
}

/* Shorter vectors, where the machine loses nothing by them and columns fill them better. False: out of memory. */
static bool choose_width(Contract *k, Compiled *c, const ScheduleOptions *options, int64_t rows) {
    k->target = &c->target;
    bool constant = is_constant(k, options, k->b);
    if (!c->target.halve || options->whole || options->mr || options->nv || k->group > 1 || k->sum != DT_F32)
        return true;
    if (!constant && is_heavy(k->nest.definition)) /* functions round by the vectors' length, which must not follow from rows */
        return true;
    Target *half = ARENA_NEW(&c->arena, Target);
    if (!half)
        return false;
    ContractShape shape = {.rows = rows, .columns = k->columns, .depth = k->steps, .packed_once = constant};
    if (c->target.halve(&c->target, half) && cost_prefers_half(&c->target, half, shape))
        k->target = half;
    return true;
}

/* All that functions have in common: neither how many rows tiles or all have nor where lines and batches of them lie. */
static void put_plan(const Contract *k, Compiled *c) {
    for (int i = 0; i < k->nest.access_count; i++) {
        const Access *access = &k->nest.access[i];
        const int64_t of[] = {access->source, access->tensor,          access->type,
                              access->offset, contract_m_stride(k, i), contract_n_stride(k, i)};
        recall_put(c, of, sizeof of);
        recall_put_expr(c, access->read);
    }
    recall_put_expr(c, k->reduction);
    RECALL_PUT_FIELDS(c, k, a, line);
    RECALL_PUT_FIELDS(c, k, streams, pattern);
    recall_put_number(c, k->single);
    RECALL_PUT_FIELDS(c, k, columns, target);
    recall_put_number(c, k->target->bytes);
    RECALL_PUT_FIELDS(c, k, lanes, on_tiles);
    const int64_t of[] = {k->knobs.nv, k->knobs.kc, k->knobs.unroll,       k->blocks, (int64_t)k->panel_bytes,
                          k->constant, k->ahead,    contract_writes_far(k)};
    recall_put(c, of, sizeof of);
}

static bool make_functions(Contract *k, Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    if (!k->on_tiles && recall_begin(c, options, "contract"))
        put_plan(k, c);
    return contract_emit(k, c, why, err);
}

bool schedule_contract(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err) {
    Contract *k = NEST_PLAN(&c->arena, Contract);
    if (!k)
        return error_memory(err), false;
    k->known = options->constant;
    int rows[NEST_MAX_AXES];
    if (!contract_find_factors(k, c->kernel, why))
        return false;
    int count = find_loops(k, rows);
    if (!contract_choose_types(k, &c->target, why))
        return false;
    if (is_matrix_by_vector(k, options, rows, count)) {
        *why = "a matrix times a vector, which reads each element once";
        return false;
    }
    count = choose_direct(k, c, options, rows, count);
    if (!choose_width(k, c, options, extent_of(k, rows, count)))
        return error_memory(err), false;
    bool for_rows = k->group == 1 ? k->nest.covers && !c->kernel->partial : k->outer_count && k->steps < SHORT_SUM;
    if (!count && !k->n_count && for_rows) { /* each sum would be a tile of one element */
        *why = "sums of products with neither rows nor columns";
        return false;
    }
    k->depth = (k->steps + k->group - 1) / k->group;
    if (!find_epilogue(k, rows, count, why) || !plan(k, options, rows, count, why) || !make_functions(k, c, options, why, err))
        return false;
    c->template = "contract";
    c->knobs = (ScheduleKnobs){k->knobs.mr,
                               k->knobs.nv,
                               (int)(k->knobs.kc < KNOB_MOST / k->group ? k->knobs.kc * k->group : KNOB_MOST),
                               (int)(k->knobs.mc < KNOB_MOST ? k->knobs.mc : KNOB_MOST),
                               k->knobs.unroll,
                               0};
    c->state = k;
    if (!describe_packing(k, c))
        return error_memory(err), false;
    c->run = contract_run;
    c->print = print_contract;
    c->print_c = k->gathered || k->single || k->direct || k->fb.scaled || (k->sum == DT_F32 && k->pack_function >= 0)
                     ? NULL
                     : contract_print_c; /* the C target: plain loops instead */
    return true;
}
