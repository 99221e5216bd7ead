/* Default knobs of contractions.
 *
 * Measured on Zen 4, every tile with 20-28 accumulators runs at the same 98-99 % of peak once it divides the shape (8 x 3, 6 x 4,
 * 12 x 2, 9 x 3, 14 x 2 vectors), so what matters is how rows and columns are cut up. The model counts issue slots of the whole
 * product: a tile of r rows and v vectors takes, for each step of depth,
 *
 *     max(r v, the slots a chain of FMAs needs to hide its latency, the slots to bring v vectors from L2) + a little for each
 * load
 *
 * and some slots for its beginning and end. Loads of B count twice those of A, as YNNPACK's authors found by regression. */
#include "schedule/cost.h"

enum {
    HIDE_LATENCY = 8,   /* latency 4 on two ports, */
    ENOUGH_SUMS = 12,   /* and so many sums for none to wait: 8 on AVX2 reach 91 % where 12 reach 95 */
    L2_SLOTS = 2,       /* per vector: half a vector a slot */
    TILE_SLOTS = 20,    /* of a tile's beginning and end, besides its stores */
    CALL_SLOTS = 100,   /* of a call */
    MANY_ROWS = 360360, /* a multiple of every height of a tile up to 15 */
    PANEL_ROWS = 8,     /* tiles of more want panels that are too narrow for few rows */
    MANY_PANELS = 64,   /* the last of so many, packed once, does not show */
    SET_PERIOD = 4096,  /* bytes after which L1's sets come again */
    WAYS_FOR_ROWS = 8,
    MOST_VECTORS = 6, /* of a tile; */
    MOST_OF_ONE = 8,  /* of one row, which hides its latency by them alone */
    FALLBACK_L2 = 512 << 10
};
static const double FEW_SUMS = 1.04;
static const double CROWDED = 1.25; /* measured: 14 rows of 4096 bytes */
static const double CROWDED_RESULT = .015;
/* Of 64 bytes of B: tiles of 4 rows reach 89 % where those of 6 and 8 reach 97, from L2; from L1 they are as good. */
static const double LOAD_SLOTS = 0.3, NEAR_SLOTS = 0.02;
/* Of two multiply-adds a cycle: elements of two rows, mostly a multiple of 64 bytes apart, are not loaded in one. 12 x 1 vectors
 * reach 57 %, 6 x 2 88, 4 x 3 90. */
static const double PAIRED_SLOTS = 1.7;
/* A step of B as it lies that falls into the same sets as the one before: 4096 bytes apart, of 2 to 6 vectors. */
static const double CROWDED_STEP = 32;
static const double SPLAT_SLOTS = 0.1; /* of an element of A, where that is an instruction: by cycle models of Arm's cores */

static double largest(double a, double b) {
    return a > b ? a : b;
}

/* The places of L1's sets that rows so far apart begin at: few, as of rows of 4096 bytes, push each other out. 0: all. */
static int places_of(int64_t row_bytes) {
    int64_t step = row_bytes < 0 ? -row_bytes : row_bytes, unit = step & -step; /* the power of two that divides it */
    return !step ? 0 : unit >= SET_PERIOD ? 1 : (int)(SET_PERIOD / unit);
}

/* What a step of depth loads, in slots besides the room it takes. */
typedef struct Loads {
    double a, b;  /* an element of A, a vector of B */
    double apart; /* those of A take so many slots beside the multiply-adds, and a vector of B one; 0: they cost nothing */
    double step;  /* a step of depth at the least: of a B as it lies whose steps meet in few sets */
    double near;  /* a vector of B whose panel stays in L1 with the tile's rows of A */
    int64_t l1;   /* what there is for them, in elements */
    int lanes;
} Loads;

static Loads loads_of(const Target *target, const ContractShape *s) {
    int lanes = target->bytes / 4;
    bool halves = lanes == 8 && !s->by_lane && !s->paired;
    int places = places_of(s->step_bytes);
    return (Loads){.a = s->apart ? SPLAT_SLOTS : 0.02,
                   .b = LOAD_SLOTS * lanes / 16,
                   .near = NEAR_SLOTS * lanes / 16,
                   .l1 = (int64_t)target->cache_bytes[0] / 4 * 3 / 4,
                   .lanes = lanes,
                   .step = places ? CROWDED_STEP / places : 0,
                   .apart = s->apart ? 1
                            : halves ? PAIRED_SLOTS
                                     : 0};
}

static double tile_slots(int64_t rows, int64_t vectors, int64_t depth, const Loads *load) {
    if (!rows || !vectors)
        return 0;
    bool near = depth * (vectors * load->lanes + rows) <= load->l1;
    double step = largest((double)(rows * vectors), largest(HIDE_LATENCY, (double)(near ? 1 : L2_SLOTS) * (double)vectors));
    if (rows * vectors < ENOUGH_SUMS)
        step *= FEW_SUMS;
    step = largest(step, load->step);
    if (load->apart > 0)
        step = largest(step, load->apart * (double)rows + (double)vectors);
    return (double)depth * (step + load->a * (double)rows + (near ? load->near : load->b) * (double)vectors + 0.04) + TILE_SLOTS +
           0.5 * (double)(rows * vectors);
}

static double product_slots(const ContractShape *s, const Loads *load, int mr, int nv, int lanes) {
    int64_t vectors = (s->columns + lanes - 1) / lanes, panels = vectors / nv, edge = vectors % nv;
    int64_t tiles = s->rows / mr, rest = s->rows % mr;
    rest += s->paired ? rest % 2 : 0; /* half of the last pair is for nothing */
    double column = (double)tiles * tile_slots(mr, nv, s->depth, load) + tile_slots(rest, nv, s->depth, load);
    double last = (double)tiles * tile_slots(mr, edge, s->depth, load) + tile_slots(rest, edge, s->depth, load);
    double ragged = rest ? 1.01 : 1; /* another function to make, and an interruption of the steady state */
    ragged *= edge && !(s->packed_once && panels >= MANY_PANELS) ? 1.02 : 1;
    double calls = (double)(panels + (edge > 0)) * (double)((tiles > 0) + (rest > 0));
    return ragged * ((double)panels * column + last) + CALL_SLOTS * calls;
}

/* How many of so many rows fall into one set. */
static int share_of_set(int places, int rows) {
    return places && rows ? (rows + places - 1) / places : 1;
}

static double crowding(const ContractShape *s, int row_places, int result_places, int rows) {
    double results = (double)share_of_set(result_places, rows * s->results) / WAYS_FOR_ROWS - 1;
    double factor = 1 + CROWDED_RESULT * (results < 0 ? 0 : results > 2 ? 2 : results);
    return share_of_set(row_places, rows) > WAYS_FOR_ROWS ? CROWDED * factor : factor;
}

static double choose_tile(const Target *target, ContractShape shape, int lanes, int spare, int most_rows, ContractKnobs *knobs) {
    int registers = target->registers[CLASS_VECTOR];
    int row_places = places_of(shape.row_bytes), result_places = places_of(shape.result_bytes);
    Loads load = loads_of(target, &shape);
    double best = -1;
    int best_mr = 1, best_nv = 1;
    int most_vectors = shape.rows == 1 ? MOST_OF_ONE : MOST_VECTORS;
    for (int nv = knobs->nv ? knobs->nv : 1; nv <= (knobs->nv ? knobs->nv : most_vectors); nv++)
        for (int mr = knobs->mr ? knobs->mr : 1; mr <= (knobs->mr ? knobs->mr : most_rows); mr++) {
            int factors = shape.by_lane ? mr + 2 : shape.paired ? (mr + 1) / 2 + 2 : nv + 1;
            factors += shape.masked && !target->registers[CLASS_MASK];
            if (shape.paired && mr % 2 && mr < shape.rows && !knobs->mr)
                continue; /* tiles begin with whole pairs */
            if ((shape.paired ? mr + mr % 2 : mr) * nv + (factors > spare ? factors : spare) > registers &&
                !(knobs->mr && knobs->nv))
                continue;
            double slots = product_slots(&shape, &load, mr, nv, lanes) * crowding(&shape, row_places, result_places, mr);
            if (best < 0 || slots < best) {
                best = slots;
                best_mr = mr;
                best_nv = nv;
            }
        }
    knobs->mr = best_mr;
    knobs->nv = best_nv;
    return best;
}

/* B that is packed once is packed for any number of rows: how wide its panels are follows from the columns alone, and where code
 * did not fit, tiles have fewer rows. A residual may be read beside the result. */
static double choose_for_panels(const Target *target, ContractShape shape, int lanes, int spare, ContractKnobs *knobs) {
    if (shape.packed_once && !knobs->nv) {
        ContractKnobs many = {.mr = knobs->mr};
        ContractShape large = shape;
        large.rows = MANY_ROWS;
        large.result_bytes = 4 * shape.columns;
        large.results = 2;
        choose_tile(target, large, lanes, shape.first_spare, PANEL_ROWS, &many);
        int room = target->registers[CLASS_VECTOR] - spare;
        knobs->nv = many.nv < room ? many.nv : room > 1 ? room : 1;
    }
    return choose_tile(target, shape, lanes, spare, target->registers[CLASS_VECTOR], knobs);
}

/* The whole depth where one tile has all rows, or where they stay in L2 beside a panel: each block behind the first begins with
 * sums that the one before has stored, and jumps in B. Otherwise blocks of equal depth, a panel of three eighths of L2 at most.
 */
static int64_t block_depth(const ContractShape *s, const ContractKnobs *knobs, int64_t panel_step, int64_t row_step,
                           int64_t panel_limit, int64_t l2) {
    enum { MOST = 2048 };
    bool few = s->all_rows <= knobs->mr || (panel_step + s->all_rows * row_step) * s->depth <= l2;
    if (few && !panel_limit && !s->even_blocks)
        return s->depth;
    int64_t panel = panel_limit && panel_limit < l2 / 8 * 3 ? panel_limit : l2 / 8 * 3, most = least(MOST, panel / panel_step);
    int64_t blocks = (s->depth + most - 1) / (most > 0 ? most : 1);
    return blocks > 1 ? round_up((s->depth + blocks - 1) / blocks, knobs->unroll) : s->depth;
}

double cost_contract(const Target *target, ContractShape shape, int element_bytes, int64_t panel_limit, int spare,
                     ContractKnobs *knobs) {
    int lanes = target->bytes / 4;
    Loads load = loads_of(target, &shape);
    double slots = knobs->mr && knobs->nv ? product_slots(&shape, &load, knobs->mr, knobs->nv, lanes)
                                          : choose_for_panels(target, shape, lanes, spare, knobs);
    if (!knobs->unroll) /* enough that counting does not show: ten FMAs a pointer step at the least */
        knobs->unroll = knobs->mr * knobs->nv >= 16 && !shape.by_lane ? 2 : 4;
    int64_t l2 = (int64_t)target->cache_bytes[1] > 0 ? (int64_t)target->cache_bytes[1] : FALLBACK_L2;
    if (!knobs->kc)
        knobs->kc =
            block_depth(&shape, knobs, (int64_t)knobs->nv * target->bytes * element_bytes / 4, element_bytes, panel_limit, l2);
    if (!knobs->mc) { /* a block of A in three quarters of it, blocks of equal height: all panels pass for each of them */
        int64_t most = l2 / 4 * 3 / (knobs->kc > 0 ? knobs->kc * element_bytes : 1);
        most = most > knobs->mr ? most / knobs->mr * knobs->mr : knobs->mr;
        int64_t blocks = (shape.rows + most - 1) / most;
        knobs->mc = blocks > 1 ? round_up((shape.rows + blocks - 1) / blocks, knobs->mr) : most;
    }
    return slots;
}

bool cost_prefers_half(const Target *target, const Target *half, ContractShape shape) {
    static const double WORTH_IT = 0.96;
    ContractKnobs whole = {0}, parts = {0};
    if (shape.packed_once)
        shape.rows = MANY_ROWS;
    return cost_contract(half, shape, 4, 0, 0, &parts) / 2 < WORTH_IT * cost_contract(target, shape, 4, 0, 0, &whole);
}

/* Measured: a vector of a row costs 25 slots, copied in pieces of 16 bytes; apart, an element costs 6. A vector is transposed in
 * 5 where it comes from L2, in twice as many from L3. */
double cost_pack(const Target *target, int64_t depth, int64_t columns, int64_t step) {
    enum { COPIED = 25, APART = 6 };
    int64_t lanes = target->bytes / 4;
    int64_t row = step == 1 ? COPIED * ((columns + lanes - 1) / lanes) : APART * columns;
    return (double)depth * (double)row;
}

double cost_transpose(const Target *target, int64_t elements) {
    enum { FROM_L2 = 5 };
    double l2 = target->cache_bytes[1] > 0 ? (double)target->cache_bytes[1] : FALLBACK_L2;
    int lanes = target->bytes / 4;
    return (double)elements / lanes * FROM_L2 * ((double)elements * 8 > l2 ? 2 : 1);
}

/* Scores and weights of a block of queries in an eighth of L2, beside the keys that they come from: from 128 to 2048 keys hardly
 * differ where there are many queries. */
int64_t cost_attend_keys(const Target *target) {
    enum { QUERIES = 32, LEAST = 128, MOST = 1024 };
    int64_t l2 = target->cache_bytes[1] > 0 ? (int64_t)target->cache_bytes[1] : FALLBACK_L2;
    int64_t keys = LEAST;
    while (keys < MOST && 2 * keys * QUERIES * 2 * 4 <= l2 / 8)
        keys *= 2;
    return keys;
}

double cost_copy(const Target *target, int64_t elements, bool apart) {
    enum { SLOTS = 6, APART = 2 };
    int lanes = target->bytes / 4;
    return apart ? (double)elements * APART : (double)elements / lanes * SLOTS;
}
