/* Inside of the map template: definitions without reductions, each a pass over memory.
 *
 *     definition --nest.c--> loops, accesses --map_plan.c--> axes for lanes, rows and the driver; boxes in which every guard is
 *     decided --map_emit.c--> vector functions --map_run.c--> tasks
 *
 * map.c is the door. */
#ifndef WHET_MAP_H
#define WHET_MAP_H

#include "schedule/schedule.h"

enum { MAP_MOST_BOXES = 512, MAP_CHUNK = 4096, MAP_TASK = 1 << 14 };

/* A run of columns in which every guarded read is inside or outside. */
typedef struct MapSegment {
    int64_t begin, extent;
    uint32_t outside; /* by access: reads that give what is outside */
} MapSegment;

/* A part of the iteration space. */
typedef struct MapBox {
    int64_t begin[NEST_MAX_AXES], extent[NEST_MAX_AXES]; /* by axis */
    MapSegment *segments;                                /* of the columns */
    int segment_count;
    int function;
    bool tiled;                                /* rows are walked in squares, which are transposed */
    int64_t outer_total, row_tasks, rows_each; /* row_tasks: an outer index; the last takes what is left */
} MapBox;

/* A gathered read: where its offsets come from. */
typedef struct MapGather {
    int access, offsets;  /* of the nest */
    int64_t total;        /* offsets */
    bool lanes;           /* they differ between columns: numbers of 32 bits, which vector code reads */
    bool fixed;           /* they depend on no data: computed once */
    const void *table;    /* if fixed */
    const Kernel **index; /* by dimension of the tensor: what computes it into its last tensor; NULL: affine */
} MapGather;

typedef struct MapPass {
    Nest nest;
    int column, row; /* axes; -1: extent 1 */
    int outer[NEST_MAX_AXES], outer_count;
    uint32_t transposed; /* by access: contiguous along the rows */
    bool row_by_row;     /* the driver goes to each row by itself: a gather moves it */
    bool scattered;      /* written element by element */
    bool moves;          /* the value is a read: its bits go as they are */
    DType bits;          /* in lanes of this type; DT_NONE: lanes of 32 bits */
    bool wide;           /* lanes of 64 bits: wide.h */
    MapBox *boxes;
    int box_count;
    MapGather gathers[NEST_MAX_ACCESSES];
    int gather_count;
    const int32_t *numbers; /* 0, 1, 2 ... for axes that are used as numbers */
    bool clears;            /* its tensor is set to zero before */
    bool joins;             /* may run beside the pass before it */
} MapPass;

typedef struct MapPlan {
    MapPass *passes;
    int pass_count, unroll;
    bool stored; /* temporaries are in memory */
} MapPlan;

static inline int64_t map_column_stride(const MapPass *m, int access) {
    return m->column < 0 ? 0 : m->nest.access[access].stride[m->column];
}

static inline int64_t map_row_stride(const MapPass *m, int access) {
    return m->row < 0 ? 0 : m->nest.access[access].stride[m->row];
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

/* map_plan.c */
bool map_plan_pass(MapPass *pass, const Kernel *kernel, int definition, const Target *target, bool tiles, Arena *arena,
                   const char **why);
/* Which passes clear, and which need not wait. */
void map_plan_order(MapPlan *plan, const Kernel *kernel);

/* map_gather.c */
bool map_plan_gathers(MapPass *pass, Arena *arena, const char **why, whet_error *err);
/* Computes and checks the offsets of one run, in memory of `options`. */
whet_status map_offsets(const MapPass *pass, const MapGather *gather, void *const *data, const EvalOptions *options, void *out,
                        whet_error *err);

/* map_emit.c: pointers of all accesses are parameters, then the number of rows. */
const VectorFunction *map_emit(const MapPass *pass, const MapBox *box, const ScheduleOptions *options, Compiled *c, int unroll,
                               const char **why, whet_error *err);

/* map_run.c */
whet_status map_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);

/* c/map.c */
bool map_has_c(const Compiled *c);
void map_print_c(const Compiled *c, const CDriver *driver);

#endif
