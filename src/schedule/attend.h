/* What the parts of the attention template share: attend.c recognises, attend_split.c takes the kernel apart, attend_emit.c makes
 * vector code, attend_run.c drives it. docs/internals/attend.md tells the whole. */
#ifndef WHET_SCHEDULE_ATTEND_H
#define WHET_SCHEDULE_ATTEND_H

#include "schedule/rows.h"

enum {
    ATTEND_MAX_DEFINITIONS = ROWS_MAX_DEFINITIONS + 4,
    ATTEND_MAX_ROW_VALUES = 4,
    ATTEND_MAX_FUNCTIONS = ROWS_MAX_FUNCTIONS + 13,
};

/* A definition as it stands in the nest: the two with the products, and those that are computed where they are read. */
typedef struct AttendDefinition {
    const Definition *definition;
    bool here;                /* reads of its tensor become its value */
    int map[KERNEL_MAX_AXES]; /* its axes -> axes of the nest; -1: extent 1 */
} AttendDefinition;

/* A factor of one of the products. */
typedef struct AttendFactor {
    int definition; /* of Attend.definition */
    const Expr *expr;
    int access;      /* read as it lies: a tensor of f32; -1: packed */
    int lanes, rows; /* axes of the packed form: [rows][lanes] */
    bool turned;     /* contiguous along `rows`: transposed on its way */
    int whole, part; /* functions: for a vector of lanes, and for the last, narrower one; -1: none */
} AttendFactor;

/* A value of one a row that the result reads: from the rows. */
typedef struct AttendRowValue {
    int tensor;         /* of the rows' kernel */
    const Expr *reduce; /* where the result spells it out; NULL: a read */
} AttendRowValue;

typedef struct Attend {
    const void *const *known; /* while code is made */
    Kernel rows_kernel;       /* what lies between the products: scores in, weights out */
    Rows *rows;
    int rows_function;   /* of the rows' functions the first */
    int scores, weights; /* tensors of rows_kernel */
    AttendRowValue value[ATTEND_MAX_ROW_VALUES];
    int value_count;

    AttendDefinition definition[ATTEND_MAX_DEFINITIONS];
    int first, result;     /* the definitions with the products: of the scores, and the last one */
    const Expr *dot, *mix; /* their sums */
    const Expr *weights_read;
    DType weights_type; /* f32, or halves that are widened as they are read */
    AttendFactor query, key, values;
    Nest nest;                                 /* axes of the rows' nest, then depth and width */
    int query_end, key_end, values_end, write; /* accesses: the query's, the key's, the values', the result */

    int query_axis, key_axis, depth_axis, width_axis; /* query_axis -1: one query */
    int outer[NEST_MAX_AXES], outer_count;            /* heads: what keys or values depend on, */
    int inner[NEST_MAX_AXES], inner_count;            /* and what shares them */
    int64_t queries, keys, depth, width, heads, shared;

    int lanes, tile_rows, tile_vectors;
    int64_t block;  /* queries at once */
    int64_t pitch;  /* of a row of scores or weights: keys in whole vectors */
    int64_t panels; /* of packed keys: [panel][depth][tile_vectors * lanes] */
    int64_t value_pitch;
    int64_t width_panels;                             /* of whole tiles without a mask; what is left is one more */
    bool divides;                                     /* the result may be a product with a reciprocal */
    int scores_function[2][2], values_function[2][2]; /* [rows: whole tiles, the rest][vectors: whole, the rest]; -1: none */
} Attend;

/* attend_split.c: fills rows_kernel, definition, dot, mix, factors' expressions, row values. False: *why, or out of memory. */
bool attend_split(Attend *t, const Kernel *kernel, Arena *arena, const char **why);
/* The definition of an original tensor that is computed where it is read; -1: none. */
int attend_source(const Attend *t, int tensor);

/* attend_emit.c: all functions. Parameters: a pointer an access, then those of the function. */
bool attend_emit(Attend *t, Compiled *c, const char **why, whet_error *err);

/* attend_run.c */
whet_status attend_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);

#endif
