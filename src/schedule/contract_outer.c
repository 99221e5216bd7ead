/* Tiles of a matrix unit: SME's, Apple's AMX, Intel's, whatever adds products to a square of sums. Everything is in terms of the
 * target's limits (TargetTiles): `count` squares of `bytes / 4` rows and columns.
 *
 * A tile of a contraction is a grid of squares, 2 x 2 mostly, since one step of depth then loads two operands of each side for
 * four products. B's panels are what they are for sums in vectors, so that few rows, which are not worth a square, read the same
 * weights.
 *
 *     rows of A --> strip --contract_tiles_RxC (strip, panel)--> [row][nr] sums --the end of a tile--> C
 *
 * Outer products want the rows of A as columns: a vector is one step (or group of steps) of `bytes / 4` rows. So rows are
 * gathered as they are for plain tiles, and each tile's are turned, 32 bits at a time, into a strip [depth][mr]
 * (contract_interleave).
 *
 * Products of tiles (TargetTiles.deep) take the rows themselves, where they lie if nothing speaks against it, gathered otherwise.
 * They go through as many groups of depth at once as a square has rows; behind the last group, gathered rows and panels are zero.
 *
 * Functions of tiles load, multiply and store, nothing else. That is what lets one mechanism serve all units: what comes behind
 * the sums (zero points, epilogue, edges) is done in the target's own vectors, by contract_emit.c. A unit that several cores
 * share (Apple's M4) does vector arithmetic at a small part of a core's speed, so nothing is lost but a trip through the cache.
 *
 * Sums run over the depth in order, in one block, so they are the same bits as in vectors: but for bf16 in tiles of depth, which
 * are summed by halves. Whether it goes there must not depend on the rows then. */
#include "schedule/contract.h"

/* Issue slots of a core, as cost.c counts them: a product of a group of depth, a load of its unit, a product that waits for the
 * one before, turning or copying a vector of A, writing and reading one of the sums; of entering and leaving a unit's mode. Outer
 * products: the latency of four is measured on M1 and M4 alike. Tiles of depth: Intel's optimization manual says that a product
 * of 16 groups takes 16 cycles, and 52 until its sum is there, a load 8, a store 16, a configuration 204. */
typedef struct Rates {
    int product, load, latency, turn, end, enter;
} Rates;
static const Rates of_outer = {4, 2, 16, 4, 2, 200}, of_deep = {2, 1, 7, 1, 4, 450};
enum { BLOCK_ROWS = 256, FALLBACK_L2 = 512 << 10, UNROLL = 4 };

/* Rows or columns of a square. */
static int side_of(const Target *target) {
    return target->tiles.bytes / 4;
}

static const Rates *rates_of(const Target *target) {
    return target->tiles.deep ? &of_deep : &of_outer;
}

/* The product as the unit has it, by the signs with which bytes are multiplied. */
static VectorCode product_code(const Contract *k, const TargetTiles *tiles) {
    bool a_unsigned = (k->fa.type == DT_U8) != k->fa.flip, b_unsigned = (k->fb.type == DT_U8) != k->fb.flip;
    if (k->dot == VECTOR_FMA)
        return VECTOR_OUTER;
    if (k->dot == VECTOR_DOT2)
        return tiles->deep ? VECTOR_TILE_DOT2 : VECTOR_OUTER2;
    return (VectorCode)((tiles->deep ? VECTOR_TILE_DOT4_SS : VECTOR_OUTER4_SS) + a_unsigned + 2 * b_unsigned);
}
_Static_assert(VECTOR_OUTER4_US == VECTOR_OUTER4_SS + 1 && VECTOR_OUTER4_SU == VECTOR_OUTER4_SS + 2 &&
                   VECTOR_OUTER4_UU == VECTOR_OUTER4_SS + 3 && VECTOR_TILE_DOT4_US == VECTOR_TILE_DOT4_SS + 1 &&
                   VECTOR_TILE_DOT4_SU == VECTOR_TILE_DOT4_SS + 2 && VECTOR_TILE_DOT4_UU == VECTOR_TILE_DOT4_SS + 3,
               "signs of products are in order");

/* ---- the choice ---- */

static bool served(const Contract *k, const Target *target) {
    const TargetTiles *t = &target->tiles;
    bool type = (k->dot == VECTOR_FMA && t->floats) || (k->dot == VECTOR_DOT2 && t->pairs) ||
                ((k->dot == VECTOR_DOT4_SS || k->dot == VECTOR_DOT4_US || k->dot == VECTOR_DOT4_UU) && t->quads);
    return type && !k->fb.scaled && k->n_count && k->depth > 0 && t->bytes >= target->bytes;
}

/* A grid of r x c squares over the whole product. */
static double grid_slots(const Contract *k, const Target *target, int64_t rows, int r, int c) {
    const Rates *rates = rates_of(target);
    int64_t down = ceiling(rows, side_of(target)), across = ceiling(k->columns, side_of(target));
    double products = (double)(down * across * rates->product);
    double loads = rates->load * ((double)(down * ceiling(across, c)) + (double)(across * ceiling(down, r)));
    double waits = (double)(ceiling(down, r) * ceiling(across, c) * rates->latency);
    return (double)k->depth * ((products > waits ? products : waits) + loads);
}

static double whole_slots(const Contract *k, const Target *target, int64_t rows, int r, int c) {
    const Rates *rates = rates_of(target);
    const int lanes = target->bytes / 4;
    double vectors = lanes, panels = (double)ceiling(k->columns, c * side_of(target));
    return grid_slots(k, target, rows, r, c) + rates->turn * (double)rows * (double)k->depth / vectors +
           rates->end * (double)rows * (double)k->columns / vectors + rates->enter * panels * (double)ceiling(rows, BLOCK_ROWS);
}

/* So many rows that grids of any shape divide them. */
static int64_t many_rows(const Target *target) {
    return (int64_t)side_of(target) * target->tiles.count * target->tiles.count;
}

/* Squares side by side: for many rows, since panels serve any number of them. */
static int choose_columns(const Contract *k, const Target *target) {
    int best = 1;
    for (int c = 2; c <= target->tiles.count && c * side_of(target) <= CONTRACT_MAX_WIDTH; c++) {
        int64_t many = many_rows(target);
        if (grid_slots(k, target, many, target->tiles.count / c, c) <
            grid_slots(k, target, many, target->tiles.count / best, best))
            best = c;
    }
    return best;
}

static int choose_rows(const Contract *k, const Target *target, int64_t rows, int c) {
    int best = 1;
    for (int r = 2; r <= target->tiles.count / c; r++)
        if (whole_slots(k, target, rows, r, c) < whole_slots(k, target, rows, best, c))
            best = r;
    return best;
}

static void take_grid(Contract *k, const Target *target, int r, int c, ContractKnobs *given) {
    int64_t l2 = (int64_t)target->cache_bytes[1] > 0 ? (int64_t)target->cache_bytes[1] : FALLBACK_L2;
    int64_t most = l2 / 2 / (4 * k->depth), mr = r * side_of(target);
    k->on_tiles = true;
    if (target->tiles.deep)
        k->fa.flip = false; /* rows are multiplied as they are */
    given->mr = (int)mr;
    given->nv = c * target->tiles.bytes / target->bytes;
    given->kc = k->depth;
    most = least(most, BLOCK_ROWS);
    given->mc = given->mc ? given->mc : most > mr ? most / mr * mr : mr;
}

/* The knobs name a grid of squares. */
static bool is_grid(const Target *target, const ContractKnobs *given, int *r, int *c) {
    int side = side_of(target), width = given->nv * target->bytes / 4;
    *r = given->mr / side;
    *c = width / side;
    return given->mr && given->nv && given->mr % side == 0 && width % side == 0 && *r * *c <= target->tiles.count;
}

void contract_choose_tiles(Contract *k, const Target *target, int64_t rows, int spare, ContractKnobs *given) {
    int r, c, file = target->registers[CLASS_VECTOR];
    k->on_tiles = false;
    k->tile_depth = k->depth;
    if (!target->tiles.count)
        return;
    bool serves = served(k, target), deep = target->tiles.deep,
         fits = serves && spare < file / 4; /* one that wants more registers did not fit behind tiles */
    if (serves && deep) {
        k->tile_depth = ceiling(k->depth, side_of(target)) * side_of(target);
        /* Panels have what rows ask for, whether they are flipped (in vectors) or not. */
        k->column_sums = k->column_sums || (k->fa.flip && !(k->fa.zero_known && k->fa.zero_value == 0));
    }
    if (given->mr || given->nv) {
        if (fits && is_grid(target, given, &r, &c))
            take_grid(k, target, r, c, given);
        else if (is_grid(target, given, &r, &c) && given->mr * given->nv >= file)
            given->mr = given->nv = 0; /* meant for tiles */
        return;
    }
    if (!serves)
        return;
    c = choose_columns(k, target);
    r = choose_rows(k, target, rows, c);
    if (deep && k->dot == VECTOR_DOT2)
        rows = many_rows(target);
    ContractShape shape = {
        .rows = rows, .columns = k->columns, .depth = k->depth, .packed_once = k->constant, .first_spare = k->first_spare};
    ContractKnobs vectors = {.nv = k->constant ? c * target->tiles.bytes / target->bytes : 0};
    double slots = cost_contract(target, shape, 4, 0, spare, &vectors);
    if (fits && whole_slots(k, target, rows, r, c) < slots)
        take_grid(k, target, r, c, given);
    else if (k->constant) { /* the same panels, whole in depth where their sums lie behind each block */
        given->nv = vectors.nv;
        given->kc = k->column_sums ? k->depth : given->kc;
    }
}

/* Whole steps of the unit, without a gap, and nothing outside. */
bool contract_rows_may_lie(const Contract *k, const Target *target) {
    const Access *a = &k->nest.access[k->a];
    int64_t stride = 1;
    if (!target->tiles.deep || a->guard_count || k->steps % k->group || k->tile_depth != k->depth)
        return false;
    for (int i = k->k_count - 1; i >= 0; i--) {
        if (a->stride[k->k_axis[i]] != stride)
            return false;
        stride *= k->nest.axis[k->k_axis[i]].extent;
    }
    return true;
}

/* ---- vector code ---- */

/* One block of rows after the other, `lanes` steps of depth at a time. Rows are gathered with room behind them, so the last steps
 * may be more than there are. */
static const VectorFunction *emit_interleave(Contract *k, Compiled *c, whet_error *err) {
    VectorFunction *f = vector_new(c->vectors, "contract_interleave", c->target.bytes);
    if (!f)
        return error_memory(err), NULL;
    int rows = vector_parameter(f, CLASS_POINTER, "rows"), to = vector_parameter(f, CLASS_POINTER, "to");
    int64_t size = contract_size(k, k->a), step = size * k->group, pitch = size * k->a_pitch, mr = k->knobs.mr;
    DType memory = k->group > 1 ? k->sum : k->fa.type;
    int row = vector_loop(f, -1, mr, k->lanes, NULL, NULL, 0);
    int at = vector_loop(f, -1, k->depth, k->lanes, NULL, NULL, 0);
    VectorAddress from = vector_plus(vector_plus(vector_at(rows, 0), row, pitch), at, step);
    VectorAddress out = vector_plus(vector_plus(vector_at(to, 0), row, 4), at, 4 * mr);
    int v[VECTOR_MAX_BYTES / 4];
    for (int i = 0; i < k->lanes; i++)
        v[i] = vector_load(f, k->sum, memory, vector_offset(from, i * pitch), -1);
    vector_transpose(f, v);
    for (int i = 0; i < k->lanes; i++) {
        if (k->fa.flip)
            v[i] = vector_binary(f, VECTOR_XOR, v[i], vector_const(f, DT_S32, (int32_t)0x80808080));
        vector_store(f, k->sum, v[i], vector_offset(out, i * 4 * mr), -1);
    }
    vector_end(f, NULL, NULL);
    vector_end(f, NULL, NULL);
    return vector_finish(f, err) ? f : NULL;
}

/* A grid of squares as its function is made: r x c of them, of `rows` rows each, for `height` rows. */
typedef struct Grid {
    VectorFunction *f;
    const Contract *k;
    VectorCode code;
    int r, c, side, rows, height;
    int64_t row_bytes; /* of A, from a row to the next, where it is taken by rows */
} Grid;

/* The first row of squares number i. Where they have more rows together than there are, the last ones are made twice. */
static int64_t row_of(const Grid *g, int i) {
    return least((int64_t)i * g->rows, g->height - g->rows);
}

/* `unroll` steps of depth, the next of which begin at these addresses. */
static void emit_products(const Grid *g, VectorAddress a, VectorAddress b, int unroll, int *tiles) {
    const Contract *k = g->k;
    int x[CONTRACT_MAX_SUMS], y[CONTRACT_MAX_SUMS];
    for (int step = 0; step < unroll; step++) {
        for (int i = 0; i < g->r; i++)
            x[i] = vector_load(g->f, k->sum, k->sum, vector_offset(a, 4 * (step * (int64_t)k->knobs.mr + i * g->side)), -1);
        for (int j = 0; j < g->c; j++)
            y[j] = vector_load(g->f, k->sum, k->sum, vector_offset(b, 4 * (step * (int64_t)k->nr + j * g->side)), -1);
        for (int i = 0; i < g->r; i++)
            for (int j = 0; j < g->c; j++)
                tiles[i * g->c + j] = vector_ternary(g->f, g->code, x[i], y[j], tiles[i * g->c + j]);
    }
}

static void emit_all_products(const Grid *g, VectorAddress strip, VectorAddress panel, int *tiles) {
    int64_t whole = g->k->depth / UNROLL * UNROLL, pitch = 4 * (int64_t)g->k->nr, row = 4 * (int64_t)g->k->knobs.mr;
    int inside[CONTRACT_MAX_SUMS];
    if (whole) {
        int step = vector_loop(g->f, -1, whole, UNROLL, tiles, inside, g->r * g->c);
        emit_products(g, vector_plus(strip, step, row), vector_plus(panel, step, pitch), UNROLL, inside);
        vector_end(g->f, inside, tiles);
    }
    emit_products(g, vector_offset(strip, whole * row), vector_offset(panel, whole * pitch), (int)(g->k->depth - whole), tiles);
}

/* Products of tiles: `side` groups of depth a round. */
static void emit_deep(const Grid *g, VectorAddress strip, VectorAddress panel, int *tiles) {
    const Contract *k = g->k;
    int64_t pitch = 4 * (int64_t)k->nr;
    int inside[CONTRACT_MAX_SUMS], y[CONTRACT_MAX_SUMS];
    int step = vector_loop(g->f, -1, k->tile_depth, g->side, tiles, inside, g->r * g->c);
    VectorAddress a = vector_plus(strip, step, 4), b = vector_plus(panel, step, pitch);
    for (int i = 0; i < g->r; i++) {
        int x = vector_tile_load(g->f, k->sum, vector_offset(a, row_of(g, i) * g->row_bytes), g->row_bytes, g->rows);
        for (int j = 0; j < g->c; j++) {
            y[j] = i ? y[j] : vector_tile_load(g->f, k->sum, vector_offset(b, 4 * (int64_t)j * g->side), pitch, 0);
            inside[i * g->c + j] = vector_ternary(g->f, g->code, x, y[j], inside[i * g->c + j]);
        }
    }
    vector_end(g->f, inside, tiles);
}

static const VectorFunction *emit_grid(Contract *k, Compiled *c, int height, int columns, whet_error *err) {
    const TargetTiles *unit = &c->target.tiles;
    int side = unit->bytes / 4, r = (int)ceiling(height, side), tiles[CONTRACT_MAX_SUMS], count = r * columns;
    VectorFunction *f =
        vector_new(c->vectors, arena_printf(c->vectors, "contract_tiles_%dx%d", r * side, columns * side), unit->bytes);
    if (!f)
        return error_memory(err), NULL;
    Grid g = {
        .f = f, .k = k, .code = product_code(k, unit), .r = r, .c = columns, .side = side, .rows = side, .height = r * side};
    if (unit->deep) {
        g.height = height;
        g.rows = (int)ceiling(height, r);
        g.row_bytes = k->strip_bytes / k->knobs.mr;
    }
    int a = vector_parameter(f, CLASS_POINTER, "a"), b = vector_parameter(f, CLASS_POINTER, "b");
    int to = vector_parameter(f, CLASS_POINTER, "to"), limit = vector_parameter(f, CLASS_INDEX, "tiles");
    int tile = vector_loop(f, limit, 0, 1, NULL, NULL, 0);
    VectorAddress strip = vector_plus(vector_at(a, 0), tile, k->strip_bytes), panel = vector_at(b, 0);
    int64_t pitch = 4 * (int64_t)k->nr;
    for (int i = 0; i < count; i++)
        tiles[i] = vector_tile_zero(f, k->sum, g.rows);
    if (unit->deep)
        emit_deep(&g, strip, panel, tiles);
    else
        emit_all_products(&g, strip, panel, tiles);
    for (int i = 0; i < count; i++) {
        VectorAddress at = vector_plus(vector_at(to, row_of(&g, i / columns) * pitch + i % columns * (int64_t)unit->bytes), tile,
                                       k->knobs.mr * pitch);
        vector_tile_store(f, tiles[i], at, pitch, g.rows);
    }
    vector_end(f, NULL, NULL);
    return vector_finish(f, err) ? f : NULL;
}

static bool add(Compiled *c, const VectorFunction *f, int *index) {
    *index = c->function_count;
    c->functions[c->function_count++] = f;
    return f != NULL;
}

bool contract_emit_tiles(Contract *k, Compiled *c, whet_error *err) {
    int side = side_of(&c->target), last = (int)(k->columns % k->nr);
    int64_t row = contract_size(k, k->a) * (k->rows_lie ? contract_line_stride(k, k->a) : k->a_pitch);
    k->interleave_function = -1;
    k->strip_bytes = c->target.tiles.deep ? row * k->knobs.mr : ceiling(k->depth, k->lanes) * k->lanes * 4 * k->knobs.mr;
    if (!c->target.tiles.deep && !add(c, emit_interleave(k, c, err), &k->interleave_function))
        return false;
    for (int p = 0; p < k->pattern_count; p++)
        for (int edge = 0; edge < 2; edge++) {
            int columns = edge ? (int)ceiling(last, side) : k->nr / side;
            k->tile_function[p][edge] = -1;
            if ((edge ? last > 0 : k->columns >= k->nr) &&
                !add(c, emit_grid(k, c, k->pattern[p].rows, columns, err), &k->tile_function[p][edge]))
                return false;
        }
    return true;
}

/* ---- calls ---- */

void contract_interleave(const Compiled *c, const void *rows, void *strip) {
    const Contract *k = c->state;
    int64_t arguments[] = {(int64_t)(intptr_t)rows, (int64_t)(intptr_t)strip};
    schedule_call(c, k->interleave_function, arguments);
}

void contract_multiply(const Compiled *c, int pattern, bool edge, const void *strips, const void *panel, void *sums,
                       int64_t count) {
    const Contract *k = c->state;
    int64_t arguments[] = {(int64_t)(intptr_t)strips, (int64_t)(intptr_t)panel, (int64_t)(intptr_t)sums, count};
    schedule_call(c, k->tile_function[pattern][edge], arguments);
}
