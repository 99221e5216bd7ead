/* What the parts of the contraction template share: contract.c recognises and plans, contract_rows.c finds the rows of tiles,
 * contract_emit.c makes vector code, contract_outer.c that of matrix units, contract_run.c drives it. docs/internals/contract.md
 * describes all of it. */
#ifndef WHET_SCHEDULE_CONTRACT_H
#define WHET_SCHEDULE_CONTRACT_H

#include "schedule/cost.h"
#include "schedule/schedule.h"

#include <string.h>

enum {
    CONTRACT_MAX_DEPTH = 5,
    CONTRACT_MAX_SUMS = 64,
    CONTRACT_MAX_TAPS = 32,    /* that a pattern tells apart */
    CONTRACT_MAX_PATTERNS = 8, /* of tiles */
    CONTRACT_MAX_PIECES = 16,  /* of a line */
    CONTRACT_WRITTEN_OUT = 8,  /* steps of depth that are better written out than looped over */
    CONTRACT_MAX_WIDTH = 128,  /* columns of a panel */
    CONTRACT_SCALAR_BYTES = 4,
    CONTRACT_LANES = 4 /* of 128 bits of A */
};

/* One side of the product: contract_types.c. */
typedef struct ContractFactor {
    int access;
    DType type;   /* in memory */
    bool rounded; /* f32 or f16 in memory, bf16 as it is multiplied: f32(bf16(b[k, n])). Of B alone: where it is packed */
    int zero;     /* the access of its zero point; -1: there is none, or it is a number */
    bool zero_known;
    int64_t zero_value;
    bool centred; /* outside, a guarded read gives the zero point */
    bool flip;    /* its bytes are multiplied with the sign bit turned: 128 more, or less */
    bool scaled;  /* (f32(b[n, c, j]) - beside[c, 1, n]) * beside[c, 0, n]: whole numbers in panels, made f32 where they are
                     loaded. Of B alone */
    int scale;    /* its access; `zero`, of f32, is one of the same tensor */
} ContractFactor;

/* One loop of the depth as A walks it, and B where it is read as it lies. The innermost one counts groups. */
typedef struct ContractLevel {
    int64_t extent, a_stride, b_stride, scale_stride;
    int64_t steps; /* of depth, in one round */
    int guard;     /* of A, that this level's counter is part of; -1: none */
    int64_t coef;  /* and its factor there */
} ContractLevel;

/* Tiles that need the same code: how many rows they have, and which of them each tap of the level `patterned` finds inside. */
typedef struct ContractPattern {
    int rows;
    bool inside; /* all of them, always: taps are not told apart */
    signed char first[CONTRACT_MAX_TAPS], end[CONTRACT_MAX_TAPS];
} ContractPattern;

typedef struct Contract {
    const void *const *known; /* while vector code is made: ScheduleOptions.constant */
    Nest nest;
    const Expr *reduction;
    int a, b;                              /* accesses */
    ContractFactor fa, fb;                 /* what they are */
    DType sum;                             /* of the accumulators: f32 or s32 */
    VectorCode dot;                        /* what multiplies and adds, a group of steps of depth at once, */
    int group, unit;                       /* which lie side by side in `unit` bytes of a panel */
    bool by_lane;                          /* A is multiplied by lane (Target.by_lane) */
    bool paired;                           /* two rows by two columns at once (MMLA): A is gathered by pairs of rows */
    bool direct;                           /* B is read as it lies: its columns are contiguous, it is not packed */
    bool b_first;                          /* the dot takes B as its first, unsigned operand */
    bool column_sums, row_sums;            /* what zero points ask for */
    int first_spare;                       /* registers that every tile leaves free, whatever its epilogue (ContractShape) */
    int n_axis[NEST_MAX_AXES], n_count;    /* outermost first; one axis to all accesses but B */
    int outer[NEST_MAX_AXES], outer_count; /* of batches: walked by the driver around everything else */
    int k_axis[NEST_MAX_AXES], k_count;    /* outermost first, as B is packed */

    /* Rows: `lines` lines of `line` rows. The rows of a line are at a constant distance in all accesses; the driver walks lines.
     */
    int m_axis;                               /* along which the rows of a line lie; -1: one row */
    int line_axis[NEST_MAX_AXES], line_count; /* outermost first */
    int row_axis[NEST_MAX_AXES], row_count;   /* the same, then those of a line */
    int64_t line, lines, rows;
    bool streams;    /* A is one piece, row behind row, and large: those of the next tile are fetched early */
    bool gathered;   /* rows of A are copied, a block at a time, to [row][pitch] */
    int64_t a_pitch; /* elements */
    ContractLevel level[CONTRACT_MAX_DEPTH];
    int level_count, patterned; /* patterned: the level whose guard moves along the line; -1: none */
    ContractPattern pattern[CONTRACT_MAX_PATTERNS];
    int pattern_count;
    bool single; /* a call is one tile: its code has no general register left for a loop over tiles */
    struct {
        int64_t tile, tiles;
        int pattern;
    } piece[CONTRACT_MAX_PIECES]; /* of a line, in order */
    int piece_count;

    int64_t columns, steps, depth;               /* of the sum; the same in groups, rounded up: the unit of kc and levels */
    int scalar[NEST_MAX_ACCESSES], scalar_count; /* accesses that stand still in a tile come through one pointer: place; -1 */
    bool apart;           /* the epilogue is a loop of its own over a tile's sums, which lie in memory for it */
    const Target *target; /* the machine's, or that of shorter vectors */
    int lanes, nr;
    bool on_tiles;                               /* sums are tiles of a matrix unit: contract_outer.c. Rows are gathered, */
    int interleave_function;                     /* turned into columns (-1: the unit takes rows, */
    bool rows_lie;                               /* where they lie if they can be), */
    int tile_function[CONTRACT_MAX_PATTERNS][2]; /* multiplied to [row][nr] sums (pattern, edge of the columns), */
    int64_t strip_bytes;                         /* (from the rows of a tile to those of the next) which functions read as A */
    int64_t tile_depth;                          /* groups as the unit takes them: with what is zero behind the last */
    ContractKnobs knobs;
    int64_t tiles; /* of a line */
    int64_t blocks, panels, batches;
    size_t panel_bytes, packed_bytes;
    bool constant;                             /* B is packed once, before all runs */
    bool next_panel;                           /* of B: fetched while this one is multiplied */
    int ahead;                                 /* bytes, that B is fetched ahead of its use; 0: it is left to the machine */
    int pack_function;                         /* rows of B side by side, or wider; -1: they are copied */
    int function[4][CONTRACT_MAX_PATTERNS][2]; /* first, middle, last, only block; pattern; edge of the columns */
} Contract;

/* The stride of an access along N. */
static inline int64_t contract_n_stride(const Contract *k, int access) {
    return k->n_count ? k->nest.access[access].stride[k->n_axis[k->n_count - 1]] : 0;
}

/* From a row of a line to the next; in the tensor itself. */
static inline int64_t contract_line_stride(const Contract *k, int access) {
    return k->m_axis < 0 ? 0 : k->nest.access[access].stride[k->m_axis];
}

/* The same of what functions read. */
static inline int contract_size(const Contract *k, int access);
static inline int64_t contract_m_stride(const Contract *k, int access) {
    if (access == k->a && k->on_tiles)
        return 4 * k->nr / contract_size(k, access);
    if (access == k->a && k->gathered)
        return k->a_pitch;
    return contract_line_stride(k, access);
}

/* From a round of a level to the next, in bytes of B. */
static inline int64_t contract_b_step(const Contract *k, const ContractLevel *level) {
    return k->direct ? contract_size(k, k->b) * level->b_stride : k->unit * level->steps * k->nr;
}

/* Rounds of two levels, one in the other, follow each other at the distance of the inner one. */
static inline bool contract_levels_join(const Contract *k, const ContractLevel *outer, const ContractLevel *inner) {
    return outer->a_stride == inner->a_stride * inner->extent &&
           (!k->direct || outer->b_stride == inner->b_stride * inner->extent) &&
           outer->scale_stride == inner->scale_stride * inner->extent;
}

/* B moves along an axis. */
static inline bool contract_b_moves(const Contract *k, int axis) {
    const Access *b = &k->nest.access[k->b];
    bool any = b->stride[axis] != 0;
    for (int g = 0; g < b->guard_count; g++)
        any = any || b->guard[g].coef[axis];
    return any;
}

static inline int contract_size(const Contract *k, int access) {
    return dtype_bits(k->nest.access[access].type) / 8;
}

/* What turning the sign bit adds to a zero point. */
static inline int64_t contract_zero_offset(const ContractFactor *f) {
    return !f->flip ? 0 : f->type == DT_S8 ? 128 : -128;
}

/* A factor's zero point is known to be none, as it is multiplied. */
static inline bool contract_no_zero(const ContractFactor *f) {
    return f->zero_known && contract_zero_offset(f) + f->zero_value == 0;
}

/* contract_types.c: the nest, the factors and the sum; then (once it is known which is A) how they are multiplied. False: *why.
 */
bool contract_find_factors(Contract *k, const Kernel *kernel, const char **why);
bool contract_choose_types(Contract *k, const Target *target, const char **why);

/* contract_rows.c: chooses rows and knobs, and lays out the depth. `axis`: those that are rows. */
bool contract_plan_rows(Contract *k, const Target *target, const ContractKnobs *given, int64_t panel_limit, int spare,
                        const int *axis, int count, const char **why);
/* The values [*from, *end) of a level's counter whose taps are inside, where the rest of the guarded index is `position`. */
void contract_taps_inside(const Contract *k, int level, int64_t position, int64_t *from, int64_t *end);
typedef struct ContractSource { /* A, at the corner of one outer index */
    const void *data;
    int64_t offset;          /* elements */
    const int64_t *position; /* in each guarded dimension */
    const void *outside;     /* an element: what reads outside give */
} ContractSource;
/* Rows [row, row + count) of a line and all lines behind each other (row / line, row % line), groups [from, end) of depth, to
 * [row][a_pitch], zeros behind the last step. offset: of the batch, in elements; position: the same in each guarded dimension;
 * `outside`: what reads outside give, an element. */
void contract_gather_rows(const Contract *k, const ContractSource *a, int64_t row, int64_t count, int64_t from, int64_t end,
                          void *to);
/* The loops of a tile of `pattern` over `depth` steps: neighbours as one where nothing tells them apart there. *patterned: the
 * level whose taps are written out, each for its rows; -1: none. Gives the number of levels. */
int contract_tile_levels(const Contract *k, const ContractPattern *pattern, int64_t depth,
                         ContractLevel level[CONTRACT_MAX_DEPTH], int *patterned);
/* Rows of a line that a panel of B is multiplied with in one go, rounded down to three bits, so that code is not made anew for
 * every length. */
static inline int64_t contract_rows_a_block(const Contract *k) {
    int64_t rows = least(k->knobs.mc, k->line);
    int dropped = whole_log2(rows) - 2;
    return dropped > 0 ? rows >> dropped << dropped : rows;
}
/* What is written is larger than L2. */
static inline bool contract_writes_far(const Contract *k) {
    double bytes = (double)k->nest.kernel->tensors[k->nest.access[0].tensor].count * (double)contract_size(k, 0);
    return bytes > (double)k->target->cache_bytes[1];
}
static inline bool contract_written_out(const ContractLevel *level, int at) {
    return at > 0 && level->guard < 0 && level->extent * level->steps <= CONTRACT_WRITTEN_OUT;
}
/* contract_emit.c: all functions that the shape needs, into c->functions and k->function. */
bool contract_emit(Contract *k, Compiled *c, const char **why, whet_error *err);
/* contract_outer.c. Chooses between tiles of the target's matrix unit and sums in vectors, and the panels for both; `given`:
 * knobs that are set are kept. Then the functions: true, or *why. */
void contract_choose_tiles(Contract *k, const Target *target, int64_t rows, int spare, ContractKnobs *given);
bool contract_emit_tiles(Contract *k, Compiled *c, whet_error *err);
/* Whether the unit may take A's rows where they lie, as far as the depth goes. */
bool contract_rows_may_lie(const Contract *k, const Target *target);
/* Rows [row][a_pitch] of one tile, all its mr, as columns. */
void contract_interleave(const Compiled *c, const void *rows, void *strip);
/* `count` tiles of a line, one under the other: strips by a panel to [row][nr] sums. */
void contract_multiply(const Compiled *c, int pattern, bool edge, const void *strips, const void *panel, void *sums,
                       int64_t count);
/* contract_pack.c: one block of depth of panel `panel` of batch `batch`, from B as it lies to [depth][nr][group] elements; with
 * column_sums, the sums of its columns behind it, [nr] of s32. `outside`: an element. */
void contract_pack_block(const Compiled *c, const void *b, int64_t batch, int64_t panel, int64_t block, const void *outside,
                         void *to);
/* Elements of 4 bytes the other way round: to[s * pitch + c] is element s of column c, zero from `columns` to `pitch`; `column`:
 * bytes from one column to the next. */
void contract_turn(const char *from, int64_t column, int64_t columns, int64_t steps, int64_t pitch, char *to);
/* What tiles read behind the last block: zeros behind its end, of whose number its sums are some. */
static inline size_t contract_tail_bytes(const Contract *k) {
    return (size_t)((k->tile_depth - k->depth) * k->unit * k->nr);
}
static inline size_t contract_block_bytes(const Contract *k) {
    return (size_t)(k->knobs.kc * k->unit + 4 * k->column_sums) * (size_t)k->nr;
}
/* What guarded reads of a factor give outside: an element, to `to`. `data`: of the kernel; NULL: the zero point is known. */
void contract_outside(const Contract *k, const ContractFactor *f, void *const *data, char to[4]);
/* Where row `row` of all lines lies among gathered ones that begin with row `first`, in elements. Pairs of rows lie group by
 * group side by side, and a line is of whole pairs. */
static inline int64_t contract_gathered_at(const Contract *k, int64_t first, int64_t row) {
    if (!k->paired)
        return (row - first) * k->a_pitch;
    int64_t line = k->line + k->line % 2, from = first / k->line * line + first % k->line;
    row = row / k->line * line + row % k->line - from;
    return row / 2 * 2 * k->a_pitch + row % 2 * k->group;
}
/* The sum of a row of A over the whole depth. `row`: as it lies, or gathered. */
int64_t contract_row_sum(const Contract *k, const void *row);
int64_t contract_integer(DType type, const void *data, int64_t at); /* element `at` of u8, s8 or s32 */
/* contract_run.c. The second: tiles [from, to) of the rows of the first batch by `panels` panels from `panel` on, on this thread;
 * B is packed, from that panel on. */
whet_status contract_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);
whet_status contract_run_tiles(const Compiled *c, void *const *data, int64_t from, int64_t to, int64_t panel, int64_t panels,
                               const EvalOptions *options, whet_error *err);

/* Runs are short: a call would cost more than the copy. Pieces of 16 bytes, the last of which overlaps the one before. */
static inline void contract_copy_bytes(char *to, const char *from, int64_t bytes) {
    enum { PIECE = 16, SMALL = 4 };
    int64_t i = 0;
    if (bytes < SMALL) {
        for (; i < bytes; i++)
            to[i] = from[i];
    } else if (bytes < PIECE) {
        for (; i + SMALL <= bytes; i += SMALL)
            memcpy(to + i, from + i, SMALL);
        memcpy(to + bytes - SMALL, from + bytes - SMALL, SMALL);
    } else {
        for (; i + PIECE <= bytes; i += PIECE)
            memcpy(to + i, from + i, PIECE);
        memcpy(to + bytes - PIECE, from + bytes - PIECE, PIECE);
    }
}

#endif
