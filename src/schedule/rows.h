/* What the parts of the row template share: rows.c recognises, rows_plan.c decides, rows_emit.c makes vector code, rows_run.c
 * drives it. docs/internals/rows.md tells the whole. */
#ifndef WHET_SCHEDULE_ROWS_H
#define WHET_SCHEDULE_ROWS_H

#include "schedule/schedule.h"

enum { ROWS_MAX_DEFINITIONS = 16, ROWS_MAX_FUNCTIONS = 2, ROWS_MAX_MOMENTS = 4 };

typedef struct RowDefinition {
    const Definition *definition;
    int map[KERNEL_MAX_AXES]; /* its axes -> axes of the nest before merging; -1: not known */
    bool columnwise;          /* has a value for every column; otherwise one a row */
    bool temporary;
    int write;   /* access; of a temporary, the output it is kept in; -1: none */
    int scratch; /* columnwise temporaries that a later pass reads: which row of scratch; -1: none */
    int pass;    /* columnwise: the first pass that can compute it; otherwise it is known before this pass */
    bool again;  /* columnwise and cheap: later passes compute it again */
    bool kept;   /* a temporary that is not: later passes find it in `write` or `scratch` */
} RowDefinition;

/* One function: so many rows (across: vectors of rows) at once. */
typedef struct RowsFunction {
    int copies;
    int last_lanes; /* across: of the last vector, the others are whole */
    int stages;     /* 1: pass after pass. Otherwise as many as there are passes, which go side by side, each over other rows:
                     * rows_overlap.c */
    int apart;      /* by how many rounds over rows a pass is behind the one before it, 1 or 2 */
} RowsFunction;

/* A sum and the squares of the deviations from its mean m, summed in the same pass: rows_moments.c. */
typedef struct RowMoments {
    const Expr *sum, *squares; /* sum(j) e and sum(j) (e - m) * (e - m) */
    const Expr *value;         /* e, as definition `item` has it */
    int item;
    double factor; /* m = sum * factor, but for rounding */
} RowMoments;

typedef struct Rows {
    const void *const *known; /* while vector code is made: ScheduleOptions.constant */
    Nest nest;                /* rows, then columns (marked `reduced`), over all definitions; temporaries have no access */
    RowDefinition item[ROWS_MAX_DEFINITIONS];
    int count, main, scratch_count, pass_count;
    RowMoments moment[ROWS_MAX_MOMENTS];
    int moment_count;
    int64_t counted; /* how many columns there are is an argument of the code, which takes this many at most; 0: it is known */
    bool lone;       /* one row, a whole tensor, of any number of columns: counted, in rounds of several vectors */
    bool nan_summed; /* a NaN among the columns ends in a sum that all that is made of the row goes through */
    bool fixed;      /* row_axis is set, and lanes are columns: the rows are those of another template's tiles */
    bool overlaps;   /* passes may go side by side, each over other rows */
    bool across;     /* lanes are rows; otherwise columns */
    int lane_axis;   /* -1: extent 1 */
    int row_axis;    /* -1: extent 1 */
    int outer[NEST_MAX_AXES], outer_count;   /* other axes of rows: the driver's */
    int column[NEST_MAX_AXES], column_count; /* outermost first; along: the last one is the axis of lanes */
    int64_t rows, columns, outer_total, lane_extent;
    int steps[ROWS_MAX_DEFINITIONS +
              1]; /* by pass: columns (along: vectors of columns) a round, and accumulators of one reduction */
    bool heavy[ROWS_MAX_DEFINITIONS + 2]; /* passes with functions, whose steps are long */
    Target target;                        /* Compiled.target, or its half */
    int lanes;
    int shrunk;       /* how often larger tiles did not fit: 0 .. 3 */
    bool spread_late; /* short of registers: values of one a row are read where they are used */
    bool exact;       /* something is rounded or compared, so quotients must be what they are: no products with reciprocals */
    int guard[NEST_MAX_ACCESSES][NEST_MAX_GUARDS]; /* the accesses of the table that guarded indices are read with */
    int argument_access[ROWS_MAX_DEFINITIONS];     /* the same of the places of argmax and argmin */
    int leader[NEST_MAX_ACCESSES];                 /* the first access that walks the same tensor alike: they share a pointer */
    int32_t *table;                                /* table_low, table_low + 1 ...: axes and indices as numbers; NULL: none */
    int64_t table_low, table_high;
    int fold_scratch; /* a row of scratch for folding products over lanes; -1: none */
    RowsFunction function[ROWS_MAX_FUNCTIONS];
    int function_count, whole, tail; /* across: which function does whole blocks, and which the rest; -1: none */
    size_t scratch_floats;           /* of one row of scratch */
} Rows;

/* rows.c: fills definitions, axes and accesses; then (the nest may be changed between the two) passes and lanes; then code,
 * behind c->functions[c->function_count]. False: *why or err. */
bool rows_recognize(Rows *r, const Kernel *kernel, const char **why);
bool rows_prepare(Rows *r, Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err);
bool rows_make(Rows *r, Compiled *c, const char **why, whet_error *err);
bool rows_put_plan(const Rows *r, Compiled *c); /* recall.c; false: not of these */
/* The definition that makes a tensor that is read; -1: an input. */
int rows_source(const Rows *r, int tensor);
bool rows_reduces(const Definition *d);
int64_t rows_lane_stride(const Rows *r, int access);
int64_t rows_row_stride(const Rows *r, int access);
int64_t rows_element_bytes(const Rows *r, int access);
int rows_round(const Rows *r); /* lone: columns of one */
/* An access of Rows.table: its `tensor`. */
enum { ROWS_TABLE = -1 };
/* A read, or an axis, whose value is the same for all columns. */
bool rows_read_is_even(const Rows *r, const Expr *read);

/* rows_plan.c: passes, axes, tiles. False: *why. */
bool rows_plan(Rows *r, const Compiled *c, const ScheduleOptions *options, const char **why);
/* The first pass before or in which an expression can be computed; what is reduced below counts one more. */
int rows_pass_of(const Rows *r, const Expr *e);

/* rows_moments.c: finds them, when axes and lanes are known; those of one of their sums, or NULL; what a reduction reads in its
 * pass. */
void rows_find_moments(Rows *r);
const RowMoments *rows_moments(const Rows *r, const Expr *sum);
const Expr *rows_reduced(const Rows *r, const Expr *reduction);
bool rows_is_mean(const Rows *r, const RowMoments *m); /* m is the mean of the columns, as it is but for wrong models */

/* rows_overlap.c: whether the passes over some rows may go beside those over others; the function for it, where there are rows
 * enough; how many of so many rows a function takes, and what its argument `rows` then is. */
bool rows_may_overlap(const Rows *r);
RowsFunction rows_overlapped(const Rows *r, bool heavy, RowsFunction otherwise);
bool rows_leave_some(const Rows *r, const RowsFunction *many); /* for a function of one row at once */
int64_t rows_taken(const RowsFunction *f, int64_t rows);
int64_t rows_argument(const RowsFunction *f, int64_t rows);

/* rows_facts.c */
/* What an expression of definition *item is, reads of definitions followed; *item becomes whose it is. */
const Expr *rows_meaning(const Rows *r, int *item, const Expr *e);
/* The factors 0 and 1 of a product of f32, or of a square; NULL: it is neither. */
const Expr *rows_factor(const Expr *e, int which);
/* Expressions of two definitions that mean the same. */
bool rows_same(const Rows *r, int item, const Expr *x, int other, const Expr *y);
/* `e` of definition `item` is x - max(x): at most 0, or NaN. */
bool rows_never_positive(const Rows *r, int item, const Expr *e);
/* 1 / e neither overflows nor loses bits: a square root, or the sum of exp of such, which is at least 1 and no more than there
 * are columns. */
bool rows_plain_divisor(const Rows *r, int item, const Expr *e);
/* Where the operand of a maximum is NaN, every output of its row is: the maximum need not carry it. */
bool rows_nan_spreads(const Rows *r, int item, const Expr *max);

/* rows_emit.c. Parameters: a pointer an access, a pointer a row of scratch, the number of rows, and (across, whole vectors) the
 * number of rows along the axis of lanes; counted: columns in whole vectors, and those of the last, narrower one; lone: columns
 * in whole rounds, and behind them in whole vectors. */
const VectorFunction *rows_emit(const Rows *r, int function, Compiled *c, const char **why, whet_error *err);

/* 1 / x as a product of two factors, of which `reciprocal` neither overflows nor vanishes. */
void rows_reciprocal(VectorFunction *f, int x, int *reciprocal, int *scale);

/* rows_run.c */
int64_t rows_of_task(const Rows *r, int copies); /* along: of each but the last */
whet_status rows_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);

#endif
