/* What the parts that write the vector code of a row kernel share: rows_emit.c walks passes and columns, rows_access.c reads and
 * writes memory, rows_reduce.c has the reductions. */
#ifndef WHET_SCHEDULE_ROWS_EMIT_H
#define WHET_SCHEDULE_ROWS_EMIT_H

#include "schedule/rows.h"

enum { ROWS_MAX_CHAINS = 64 };
enum { MAX_ACCUMULATORS = 64, MAX_REDUCTIONS = 8, MAX_COPIES = 8 };
/* Values of one a row, of all rows at once: in each 128 bits the lanes are those of the rows, see rows_spread. */
enum { TOGETHER = MAX_COPIES, PLACES = MAX_COPIES + 1 };

/* How a value that is the same for all columns is computed: for each row, for all rows in the lanes of one register, or it is the
 * same for all rows. */
typedef enum RowPacking { PACKING_NONE, PACKING_ROWS, PACKING_SAME } RowPacking;

/* One definition while code is made. */
typedef struct Slot {
    struct Emitting *p;
    int index;
    ExprEmitter e;
    bool *even;              /* by Expr.id: the same for all columns */
    int *uses;               /* by Expr.id: how many expressions have it for an operand */
    RowPacking *packing;     /* by Expr.id */
    int *reduced;            /* by Expr.id * PLACES + copy: values of reductions; -1: not yet */
    int *before;             /* the same of what was computed before the pass */
    int *reciprocal, *scale; /* the same of quotients by something even */
    int row[PLACES];         /* the value, if one a row */
    int here;                /* the value for the columns in question, if columnwise; -1: not yet */
} Slot;

typedef struct Reduction {
    Slot *slot;
    const Expr *expr;
    int pass;
    DType type;         /* of its accumulators: DT_F32 or DT_S32 */
    VectorCode combine; /* of arguments (argmax): LT with its operands so that true means better */
    double start;
    bool argument;             /* argmax, argmin: a second accumulator holds the place */
    bool flipped;              /* u32: compared as s32 with the highest bit turned */
    bool plain;                /* a maximum that need not carry NaN */
    const RowMoments *moments; /* one of these sums; NULL: none */
    int first;                 /* its first accumulator */
} Reduction;

typedef struct Emitting {
    const Rows *r;
    VectorFunction *f;
    const RowsFunction *shape;
    Slot slot[ROWS_MAX_DEFINITIONS];
    int pointer[NEST_MAX_ACCESSES], scratch[ROWS_MAX_DEFINITIONS + 1];
    int row, block;             /* counters; block -1: none */
    int full, last, start;      /* counted: columns in whole vectors, and behind them; where a loop over columns begins, or -1 */
    int rounds, rest;           /* lone: columns in whole rounds, and behind them in whole vectors; -1 */
    bool narrow;                /* of the last columns, which are no whole vector */
    int counter[NEST_MAX_AXES]; /* of column axes; -1: no loop is open */
    int pass, copy;
    int from, to;                  /* passes that go side by side */
    int base;                      /* the first copy of the pass: copies of several passes are those of all their rows */
    int64_t behind;                /* row 0 of the pointers, as seen from copy 0 */
    int turn;                      /* counts rows behind `row`; -1: none */
    int64_t offset;                /* along the innermost column axis */
    int shared[NEST_MAX_ACCESSES]; /* what all rows read at this step; -1: not yet */
    bool shares;                   /* there are registers for it */
    int chain[ROWS_MAX_CHAINS], chain_count;              /* operations at which each row's part of a step begins */
    int mask;                                             /* of the columns, or of the rows; -1: all */
    int shift[ROWS_MAX_MOMENTS][PLACES];                  /* of moments: k, */
    int deviation[ROWS_MAX_MOMENTS];                      /* e - k of the columns in question; -1: not yet */
    int apart[ROWS_MAX_MOMENTS], total[ROWS_MAX_MOMENTS]; /* t and the sum, of all rows at once, */
    int mean[ROWS_MAX_MOMENTS];                           /* and m; -1: it is not the mean */
    bool aside;                                           /* the columns are looked at out of turn: nothing is stored */
    Reduction reduction[MAX_REDUCTIONS];
    int reduction_count, accumulators;
    const char *refused;
} Emitting;

static inline int rows_number(const Emitting *p, double value) {
    return vector_const(p->f, DT_F32, value);
}

/* rows_access.c */
int rows_row_mask(const Emitting *p);
int rows_load(Emitting *p, int access); /* what a read is, guards and all, in registers as expr_emit has it */
/* A value of the columns in question, or (`first`) of the row alone. */
void rows_store(Emitting *p, int access, int value, bool first);
void rows_store_scratch(const Emitting *p, const RowDefinition *item, int value);
int rows_load_scratch(const Emitting *p, const RowDefinition *item);

/* Passes with functions bring the next rows from the second cache to the first. */
void rows_fetch_next(const Emitting *p);

/* rows_emit.c: an expression of a definition, at the place in question; passes [from, to] side by side, with what is known before
 * them; what is known behind the last. False: no memory. */
int rows_emit_in(Emitting *p, Slot *slot, const Expr *expr);
bool rows_emit_passes(Emitting *p, Arena *arena, int from, int to);
bool rows_emit_values(Emitting *p, Arena *arena, int pass);

/* rows_overlap.c: all rows, `rows` the argument. False: no memory. */
bool rows_emit_overlapped(Emitting *p, Arena *arena, int rows);

/* rows_packing.c */
void rows_find_packing(Slot *slot); /* of definitions in order */
bool rows_packs(const Slot *slot, const Expr *expr);
/* rows[0 .. copies) as one value in rows[TOGETHER]: what `combine` makes of the lanes of each. And back: to every lane. */
void rows_fold_together(const Emitting *p, VectorCode combine, int *rows);
void rows_spread(const Emitting *p, int *rows);

/* All columns from `offset` of one row on, forgetting all but what holds for the whole row. */
void rows_go_to(Emitting *p, int copy, int64_t offset);

/* rows_moments.c */
void rows_start_moments(Emitting *p);
int rows_deviation(Emitting *p, const RowMoments *m);
/* What `sum` is where the deviations, or their squares, add up to x. */
int rows_finish_moment(Emitting *p, const RowMoments *m, const Expr *sum, int x);
/* The mean, or the mean of the squares, if `e` is one of them; -1: it is neither. */
int rows_moment_part(Emitting *p, int item, const Expr *e);

/* rows_reduce.c */
void rows_find_reductions(Emitting *p); /* those of the pass; sets `accumulators` */
void rows_start_reductions(const Emitting *p, int *sums);
void rows_accumulate(Emitting *p, const Reduction *reduction, int step, int *sums);
void rows_fold_reductions(Emitting *p, int *sums); /* into Slot.reduced */

static inline int *rows_at_copy(int *values, const Expr *expr, int copy) {
    return &values[expr->id * PLACES + copy];
}

#endif
