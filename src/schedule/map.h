/* Inside of the map template: definitions without reductions, each a pass over memory.
 *
 *     definition --nest.c--> loops, accesses --map_plan.c--> axes for lanes, rows and the driver; boxes in which every guard is
 *     decided --map_emit.c--> vector functions --map_run.c--> tasks
 *
 * map.c is the door. */
#ifndef WHET_MAP_H
#define WHET_MAP_H

#include "schedule/schedule.h"

enum {
    MAP_MOST_BOXES = 512,
    MAP_CHUNK = 4096,
    MAP_TASK = 1 << 14,
    MAP_MOST_APART = 32, /* vectors of a row that are each written for itself */
    MAP_MOST_UNROLL = 16 /* vectors of a round */
};

/* A run of columns in which every guarded read is inside or outside. */
typedef struct MapSegment {
    int64_t begin, extent;
    uint32_t outside; /* by access: reads that give what is outside */
} MapSegment;

/* A part of the iteration space. */
typedef struct MapBox {
    int64_t begin[NEST_MAX_AXES], extent[NEST_MAX_AXES]; /* by axis */
    int row, outer[NEST_MAX_AXES], outer_count;          /* axes: the rows of a call; those that the driver walks */
    MapSegment *segments;                                /* of the columns */
    int segment_count;
    int function;
    const int32_t *lanes;                      /* of its function: places that lanes take from, for PERMUTE and PICK */
    bool tiled;                                /* rows are walked in squares, which are transposed */
    bool counted;                              /* one row: how many columns there are is an argument, from a vector on */
    int64_t outer_total, row_tasks, rows_each; /* row_tasks: an outer index; the last takes what is left */
} MapBox;

/* A gathered read: where its offsets come from. */
typedef struct MapGather {
    int access, offsets;  /* of the nest */
    int64_t total;        /* offsets */
    int64_t place;        /* of the table in the pass's memory for tables, in bytes; not if fixed */
    bool lanes;           /* they differ between columns: numbers of 32 bits, which vector code reads */
    bool fixed;           /* they depend on no data: computed once */
    const void *table;    /* if fixed */
    const Kernel **index; /* by dimension of the tensor: what computes it into its last tensor; NULL: it is not of these */
    int *function;        /* by dimension: code that does so, and checks; -1: none */
} MapGather;

/* Where the lanes of a read lie that is not contiguous: column j at table[j] + (j % split) * inner + (j / split) * outer. */
typedef struct MapLanes {
    bool permuted; /* it is read so; else as the strides say */
    int64_t split, inner, outer;
    const int32_t *table; /* NULL: none */
} MapLanes;

typedef struct MapPass {
    Nest nest;
    int column, row;     /* axes; -1: extent 1. Boxes of one row may have other rows */
    uint32_t transposed; /* by access: contiguous along the rows */
    MapLanes lanes[NEST_MAX_ACCESSES];
    int64_t split;  /* more than 1: columns are two axes, of which the inner one is so long */
    bool permutes;  /* some lanes are permuted: functions have a parameter more, MapBox.lanes */
    bool scattered; /* written element by element */
    bool moves;     /* the value is a read: its bits go as they are */
    DType bits;     /* in lanes of this type, moved or computed; DT_NONE: lanes of 32 bits */
    bool wide;      /* lanes of 64 bits: wide.h */
    MapBox *boxes;
    int box_count;
    MapGather gathers[NEST_MAX_ACCESSES];
    int gather_count;
    int64_t table_bytes;    /* of all tables that are not fixed */
    const int32_t *numbers; /* 0, 1, 2 ... for axes that are used as numbers */
    bool clears;            /* its tensor is set to zero before */
    bool joins;             /* may run beside the pass before it */
} MapPass;

typedef struct MapPlan {
    MapPass *passes;
    int pass_count, unroll;
    /* By tensor: temporaries that depend on no data (places and weights of a resized picture), computed when compiling; NULL:
     * others, or there are none at all. */
    const void **known;
} MapPlan;

static inline int64_t map_column_stride(const MapPass *m, int access) {
    return m->column < 0 ? 0 : m->nest.access[access].stride[m->column];
}

static inline int64_t map_row_stride(const MapPass *m, const MapBox *box, int access) {
    return box->row < 0 ? 0 : m->nest.access[access].stride[box->row];
}

/* The access with the offsets of a gathered read that differ between columns, or with those that do not; 0: none. */
static inline int map_offsets_along(const MapPass *m, int access, bool columns) {
    for (int k = 0; k < 2; k++) {
        int offsets = m->nest.access[access].offsets[k];
        if (offsets && (map_column_stride(m, offsets) != 0) == columns)
            return offsets;
    }
    return 0;
}

/* The offsets that move a read from row to row; 0: none. Where there are any, all boxes have the rows of the pass. */
static inline int map_row_offsets(const MapPass *m, int access) {
    int offsets = map_offsets_along(m, access, false);
    return offsets && m->row >= 0 && m->nest.access[offsets].stride[m->row] ? offsets : 0;
}

static inline int64_t map_extent(const MapBox *box, int axis) {
    return axis < 0 ? 1 : box->extent[axis];
}

static inline int64_t map_begin(const MapBox *box, int axis) {
    return axis < 0 ? 0 : box->begin[axis];
}

static inline int map_bytes(DType type) {
    return dtype_bits(type) / 8;
}

/* Of a vector. */
static inline int map_lanes(const MapPass *m, int bytes) {
    return bytes / (m->bits ? map_bytes(m->bits) : m->wide ? 8 : 4);
}

/* Rows and columns that change places in registers. */
static inline int map_square(const MapPass *m, int bytes) {
    return bytes / (m->bits == DT_F64 ? 8 : 4);
}

/* map_plan.c */
bool map_plan_pass(MapPass *pass, const Kernel *kernel, int definition, const Target *target, bool tiles, Arena *arena,
                   const char **why);
/* Which passes clear, and which need not wait. */
void map_plan_order(MapPlan *plan, const Kernel *kernel);

/* map_narrow.c: bytes computed in lanes of their own width, four times as many: extremes, and logic of booleans. */
DType map_narrow_type(const MapPass *pass); /* of the lanes; DT_NONE: it does not do */
/* A value in such lanes; `read` gives that of a read as it lies. */
int map_emit_narrow(ExprEmitter *emitter, const Expr *expr, int (*read)(ExprEmitter *emitter, const Expr *read));

/* map_gather.c */
bool map_plan_gathers(MapPass *pass, const void *const *known, Arena *arena, const char **why, whet_error *err);
/* Fills plan->known. False: out of memory. */
bool map_plan_known(MapPlan *plan, const Kernel *kernel, Arena *arena);
/* Adds functions that compute offsets of indices as they usually are. False: out of memory. */
bool map_emit_offsets(MapPass *pass, Compiled *c, whet_error *err);
/* Computes and checks the offsets of one run, in memory of `options`. `c`: NULL while there is no code yet. */
whet_status map_offsets(const Compiled *c, const MapPass *pass, const MapGather *gather, void *const *data,
                        const EvalOptions *options, void *out, whet_error *err);

/* map_lanes.c */
/* Where the result runs through a short axis and then a longer one they become the columns together. */
void map_merge_columns(MapPass *pass, const Target *target);
/* Which reads are permuted, once axes and tables of gathers are known. */
void map_plan_lanes(MapPass *pass, const Target *target);
static inline int64_t map_lane_place(const MapLanes *l, int64_t column) {
    int64_t place = l->table ? l->table[column] : 0;
    return place + (l->split > 1 ? column % l->split * l->inner + column / l->split * l->outer : column * l->outer);
}
/* The least number of vectors after which all permuted reads of the segment go on as they began, by as many elements each time;
 * 0: there is none up to `most`. `tables`: those by tables too. */
int map_lanes_period(const MapPass *pass, const MapSegment *segment, int lanes, int most, bool tables);

/* Runs of memory that hold the lanes of one vector, and how to take them: the first of several is as it lies, and each further
 * one is picked by numbers of what was taken before and, behind that, of it. One alone is permuted. */
enum { MAP_MOST_WINDOWS = 8 };
typedef struct MapWindows {
    int count;                       /* 0: there are too many */
    int64_t start[MAP_MOST_WINDOWS]; /* elements from the read's place at column 0 */
    int length[MAP_MOST_WINDOWS];    /* to be loaded; less than all lanes where more could leave the tensor */
    bool plain;                      /* one run, in order */
    int32_t take[MAP_MOST_WINDOWS][VECTOR_MAX_BYTES / 4];
} MapWindows;
/* The columns that are computed together with those of a vector: what lies between their elements may be loaded. */
typedef struct MapRound {
    int64_t from, columns;
} MapRound;
/* Of `columns` from `column` on; lanes beyond them hold anything. Of the `loaded` runs, all lanes long, those that hold what a
 * new one would are taken instead. */
void map_find_windows(const MapLanes *lanes, int64_t column, int columns, int count, int most, const MapRound *round,
                      const int64_t *loaded, int loaded_count, MapWindows *out);

/* map_emit.c: pointers of all accesses are parameters, then that of lanes if any are permuted, then the number of rows; counted:
 * columns in whole rounds, columns behind them in whole vectors, lanes of the last vector if there are others, and where it
 * begins.
 */
const VectorFunction *map_emit(const MapPass *pass, MapBox *box, const ScheduleOptions *options, Compiled *c, int unroll,
                               const char **why, whet_error *err);

/* map_run.c */
whet_status map_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);

/* c/map.c */
bool map_has_c(const Compiled *c);
void map_print_c(const Compiled *c, const CDriver *driver);

#endif
