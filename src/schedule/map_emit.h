/* The code of one box while it is made: what map_emit.c (rows), map_squares.c (squares) and map_read.c (reads of both) share. */
#ifndef WHET_MAP_EMIT_H
#define WHET_MAP_EMIT_H

#include "schedule/map.h"

enum {
    MAP_MOST_EVEN = 8, /* values that a row keeps in registers */
    MAP_MOST_RUNS = 6,
    MAP_MOST_SLOTS = 256 /* of lanes that are permuted */
};

/* Where code stands: row + row_offset, and columns from at + block + column * unit on. */
typedef struct MapPlace {
    int row, column, block; /* counters of loops; -1: none */
    int64_t unit;           /* columns that `column` counts as one */
    int64_t at, row_offset;
} MapPlace;

/* Orders of lanes that permuted reads take, each once: MapBox.lanes. */
typedef struct MapTaken {
    int pointer; /* the parameter */
    int32_t (*slots)[VECTOR_MAX_BYTES / 4];
    int count;
    bool tables; /* reads by tables are permuted too */
} MapTaken;

/* Runs of memory that a round of vectors has in registers, whole ones, the latest. */
typedef struct MapRuns {
    int access[MAP_MOST_RUNS], value[MAP_MOST_RUNS], count, next;
    int64_t start[MAP_MOST_RUNS];
} MapRuns;

/* Expressions that stay as they are along a row. */
typedef struct MapEven {
    const Expr *expr[MAP_MOST_EVEN];
    int value[MAP_MOST_EVEN], count, most;
} MapEven;

typedef struct MapEmitter {
    const MapPass *m;
    const MapBox *box;
    const MapSegment *segment;
    VectorFunction *f;
    ExprEmitter e;
    int pointer[NEST_MAX_ACCESSES];
    int64_t shift[NEST_MAX_ACCESSES]; /* elements from there: several reads share a pointer */
    int moved[NEST_MAX_ACCESSES];     /* the pointer of this row where a gather moves it */
    bool moves_late;                  /* which is made wherever it is used: for rows of one vector, or few registers */
    int steps[NEST_MAX_ACCESSES];     /* iota times the stride, for reads with gaps; -1. In both halves of wide lanes */
    int backwards;                    /* the lanes in reverse; -1 */
    DType bits;                       /* see MapPass; DT_NONE: lanes of 32 bits */
    int lanes, unroll;
    int mask, half_mask;            /* of lanes; of the halves of wide ones */
    int used;                       /* lanes that are stored */
    bool single;                    /* one element in all lanes */
    bool one_by_one;                /* elements are stored each for itself */
    bool *varies;                   /* by expression: along the columns */
    int rounds, rest, ragged, last; /* parameters of counted code */
    MapPlace place;
    MapTaken taken;
    MapRuns runs;
    MapRound round; /* no columns: each vector is one of its own */
    MapEven even;
} MapEmitter;

/* map_read.c */
VectorAddress map_place(const MapEmitter *p, int access, int64_t columns, int64_t rows);
DType map_memory_type(DType type);
DType map_raw_type(DType type); /* as loaded: bools as numbers */
int map_from_raw(MapEmitter *p, DType type, int x);
int map_read_value(ExprEmitter *e, const Expr *expr);
void map_prepare_indices(MapEmitter *p);
void map_share_pointers(MapEmitter *p);
void map_move_rows(MapEmitter *p); /* once a row */

/* map_emit.c */
int map_mask_of(MapEmitter *p, int64_t columns);
void map_store(MapEmitter *p); /* the value at the place */

/* map_squares.c */
void map_emit_squares(MapEmitter *p, int rows);

#endif
