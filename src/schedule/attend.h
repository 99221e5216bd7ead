/* What the parts of the attention template share: attend.c recognises, attend_split.c takes the kernel apart, attend_emit.c makes
 * vector code, attend_run.c drives it. docs/internals/attend.md tells the whole. */
#ifndef WHET_SCHEDULE_ATTEND_H
#define WHET_SCHEDULE_ATTEND_H

#include "schedule/rows.h"

enum {
    ATTEND_MAX_DEFINITIONS = ROWS_MAX_DEFINITIONS + 4,
    ATTEND_MAX_ROW_VALUES = 4,
    ATTEND_MAX_FUNCTIONS = ROWS_MAX_FUNCTIONS + 21,
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
    int access;       /* read as it lies: a tensor of f32; -1: packed */
    int from, end;    /* its accesses */
    int lanes, rows;  /* axes of the packed form: [rows][lanes] */
    bool turned;      /* contiguous along `rows`: transposed on its way */
    int group;        /* rows side by side in 32 bits: 2 of bf16 that are multiplied so, otherwise 1 */
    int64_t together; /* vectors of lanes that one call packs, side by side */
    int whole, part;  /* functions: for so many, and for what is left; -1: none */
} AttendFactor;

/* A value of one a row that the result reads: from the rows. */
typedef struct AttendRowValue {
    int tensor;         /* of the rows' kernel */
    const Expr *reduce; /* where the result spells it out; NULL: a read */
} AttendRowValue;

/* Keys that a query does not see, as causal masks have them: where key * j + query * i + offset > 0, the score is `score`. */
typedef struct AttendHidden {
    int tensor; /* of rows_kernel, whose definition says so; -1: all are seen, or it is not known which */
    int64_t coef[KERNEL_MAX_AXES], offset; /* by the axes of the definition, */
    int64_t key, query;                    /* and of the nest */
    double score;
} AttendHidden;

/* Which keys a function adds to the result: the first ones start sums, the last ones end them. */
enum { ATTEND_FIRST = 1, ATTEND_LAST = 2, ATTEND_KINDS = 4 };

/* What the rows read and write one a row lies behind one another, so that one pointer serves for all: values of the keys at hand,
 * and where keys come in blocks attend_softmax.c's. An access of these: its `tensor`. */
enum { ATTEND_HERE, ATTEND_TOP = ATTEND_MAX_ROW_VALUES, ATTEND_BEFORE, ATTEND_FACTOR, ATTEND_ROW_SLOTS };
enum { ATTEND_ROW_VALUES = -2 };

enum { ATTEND_ROWS_AHEAD = 2 }; /* of the next head, that a tile of scores fetches */

typedef struct Attend {
    const void *const *known; /* while code is made */
    Kernel rows_kernel;       /* what lies between the products: scores in, weights out */
    Rows *rows;
    int rows_function;   /* of the rows' functions the first */
    int scores, weights; /* tensors of rows_kernel */
    int multiplied;      /* what the product reads in the kernel as it came: the weights, or their quotient (see `divided`) */
    AttendRowValue value[ATTEND_MAX_ROW_VALUES];
    int value_count;
    /* attend_softmax.c: */
    int divided;             /* of `definition`: the weights are its value less its divisor, by which sums are divided; -1 */
    bool merges;             /* keys may come in blocks: */
    int top, before, factor; /* tensors of rows_kernel: the maximum so far, that without this block, what sums shrink by; -1 */
    AttendHidden hidden;

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
    int64_t block;      /* queries at once */
    int64_t key_block;  /* keys at once: what code is made for, however many there are */
    int64_t key_blocks; /* 1: all at once */
    int64_t pitch;      /* of a row of scores or weights */
    int64_t slot;       /* queries at once, and a few more: from one of ATTEND_ROW_SLOTS to the next */
    int64_t panels;     /* of packed keys: [panel][depth][tile_vectors * lanes] */
    int64_t value_pitch;
    int64_t
        ahead_step;  /* bytes from key to key, and from values to values: those of the next head are fetched; 0: they are not */
    int ahead_lines; /* of each */
    int64_t width_panels;                    /* of whole tiles without a mask; what is left is one more */
    bool divides;                            /* the result may be a product with a reciprocal */
    int scores_function[2][2];               /* [rows: whole tiles, the rest][vectors: whole, the rest]; -1: none */
    int values_function[ATTEND_KINDS][2][2]; /* the same of each kind */
} Attend;

/* attend_split.c: fills rows_kernel, definition, dot, mix, factors' expressions, row values. False: *why, or out of memory. */
bool attend_split(Attend *t, const Kernel *kernel, Arena *arena, const char **why);
/* What copies of definitions are made with: a new one like `from`, into *to, with one expression replaced by the read of a tensor
 * at the same place. */
typedef struct AttendCopy {
    Arena *arena;
    const Definition *from;
    Definition *to;
    const Expr *cut;
    int tensor;
    Expr **made; /* by Expr.id */
} AttendCopy;
bool attend_copy_definition(AttendCopy *copy, const Expr *value);
int attend_add_tensor(Kernel *k, const char *name, Role role, const KernelTensor *like);
int attend_definition_of(const Kernel *kernel, int tensor);
/* attend_softmax.c. First, before rows_kernel is filled: the weights without the division by a value of their row. Then whether
 * keys may come in blocks; and that they do. False: out of memory. */
bool attend_find_division(Attend *t, const Kernel *kernel, Arena *arena);
void attend_find_maximum(Attend *t, const Kernel *kernel);
bool attend_merge(Attend *t, Arena *arena);
/* Once axes are known: which of them hide keys. */
void attend_map_hidden(Attend *t);
/* The definition of an original tensor that is computed where it is read; -1: none. */
int attend_source(const Attend *t, int tensor);

/* attend_emit.c: all functions. Parameters: a pointer an access, then those of the function. */
bool attend_emit(Attend *t, Compiled *c, const char **why, whet_error *err);

/* attend_run.c */
whet_status attend_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err);

#endif
