/* The evaluator's own forms. kernel_eval works definition by definition:
 *
 *     Definition -> Work (eval_access.c: axes merged, every read an offset and strides)
 *                -> Program (eval_compile.c: steps on strips, each in the outermost loop it can be in)
 *                -> numbers (eval_run.c, eval_load.c, eval_reduce.c)
 *
 * A strip is a block of one or two axes (rows of columns), STRIP elements at most, of which every step computes one value. What
 * does not depend on the strip's axes is uniform: one element. */
#ifndef WHET_KERNEL_EVAL_H
#define WHET_KERNEL_EVAL_H

#include "kernel/kernel.h"
#include "kernel/strip.h"

enum { STRIP = 512 };

typedef uint32_t AxisSet;

/* An affine index that may be outside of its dimension. */
typedef struct Check {
    int64_t extent, offset;
    const int64_t *coef;
} Check;

/* A dimension whose index is itself computed. */
typedef struct Gather {
    const Expr *index;
    int dim;
    int64_t extent;
    uint64_t stride;
    int value; /* of the compiled index, as s64 */
} Gather;

typedef struct Term {
    int axis;
    uint64_t stride;
} Term;

/* A read or the left side: element = offset + sum(stride[axis] * axis), in wrapping arithmetic: where all indices are inside, the
 * result is exact. */
typedef struct Access {
    int tensor;
    DType type;
    size_t size, stored; /* bytes of an element in strips and in memory */
    bool native;         /* the same in both */
    uint64_t offset, *stride;
    Term *terms; /* the strides that count */
    int term_count;
    Check *checks;
    int check_count;
    Gather *gathers;
    int gather_count;
    bool guarded;
    uint64_t outside; /* an element, as in strips */
} Access;

typedef struct Work {
    const Kernel *kernel;
    const Definition *definition;
    Arena *arena;
    int64_t extent[KERNEL_MAX_AXES]; /* after merging: 1 for an axis that is gone */
    AxisSet parallel;                /* those of the left side that are left */
    AxisSet *axes;                   /* by expression: what it depends on */
    Access **access;                 /* by expression: of reads */
    Access output;
    AxisSet pinned; /* axes that cannot be merged */
} Work;

/* eval_access.c */
uint64_t eval_number_bits(const Expr *number, DType type); /* an element as in strips; NULL: zero */
bool eval_work_init(Work *work, const Kernel *kernel, const Definition *definition, Arena *arena); /* false: out of memory */

/* ---- Programs ---- */

typedef enum StepKind { STEP_CONST, STEP_AXIS, STEP_LOAD, STEP_UNARY, STEP_BINARY, STEP_SELECT, STEP_REDUCE } StepKind;

typedef struct Nest Nest;

typedef struct Step {
    StepKind kind;
    DType type; /* of the result */
    ExprOp op;
    int out, in[3];  /* values */
    bool vector;     /* is the result? */
    bool uniform[3]; /* are the operands, where the result is a vector? */
    bool round;
    StripUnary unary;
    StripBinary binary;
    const Access *access;
    int axis;
    uint64_t number;
    Nest *nest;
} Step;

typedef struct Level {
    Step *steps;
    size_t count, capacity;
} Level;

/* What is done with the innermost value of a nest. */
typedef enum Finish { FINISH_STORE, FINISH_ACCUMULATE, FINISH_MULTIPLY_ADD } Finish;

/* Loops, outermost first, and within them a strip, the nest's own or that of the nest around it. Steps of level l run when loop
 * l - 1 has moved on; those of level loop_count + 1 for every strip. */
struct Nest {
    Nest *parent;
    int id;
    AxisSet bound; /* axes of the loops and of the own strip */
    AxisSet reach; /* `bound` of this and all nests around */
    int loop_count, loop[KERNEL_MAX_AXES];
    bool owns_strip;
    const Nest *owner; /* of the strip in force */
    AxisSet strip;     /* the axes of the strip in force */
    int row, col;      /* of the strip in force; -1: none */
    int64_t row_block, col_block;
    Level *levels;
    Finish finish;
    /* Reductions: */
    ReduceOp reduce;
    DType type;     /* of the operand */
    bool vector;    /* a strip of results, not one */
    int operand[2]; /* values */
    StripForm form;
    int result; /* value */
    int sums;   /* value: the accumulators (the best so far of argmax and argmin); may be the result itself */
    int axis;   /* of argmax and argmin */
};

typedef struct Value {
    DType type;
    size_t bytes; /* of its buffer, 0: needs none */
    size_t offset;
    const Nest *nest;
    int level;
    size_t last;  /* the last step of its level that reads it */
    bool escapes; /* read elsewhere too */
} Value;

typedef struct Program {
    const Work *work;
    Arena *arena;
    Nest *top;
    Value *values;
    size_t value_count, value_capacity;
    size_t buffer_bytes;
    int nest_count;
    int root;
    bool direct; /* the root is computed where it is to be stored */
    struct Memo *memo;
    size_t memo_count, memo_capacity;
} Program;

/* eval_compile.c: the program with the strip that costs least. NULL: out of memory. */
Program *eval_program_new(const Work *work, Arena *arena);
double eval_program_cost(const Program *program); /* rough nanoseconds */
int64_t eval_nest_count(const Work *work, const Nest *nest,
                        int64_t counts[KERNEL_MAX_AXES + 2]); /* strips in all; and of each loop */

/* ---- Running ---- */

typedef struct Strip {
    size_t rows, cols, count;
} Strip;

typedef struct Fault {
    whet_status status; /* WHET_ERROR_DATA: an index */
    int tensor, dim;
    int64_t index;
} Fault;

typedef struct Context {
    const Program *program;
    void *const *data; /* of the kernel's tensors */
    void **at_value;   /* by value: its elements now */
    char *buffers;
    int64_t at[KERNEL_MAX_AXES]; /* by axis: its value now; of strip axes the strip's first */
    Strip strip;
    double deadline;
    int64_t budget; /* elements until the clock is looked at again */
    Fault fault;
} Context;

/* eval_run.c: strips begin .. end - 1 of the program. False: see context->fault. */
bool eval_program_run(Context *context, int64_t begin, int64_t end);

/* eval_load.c */
bool eval_load_strip(Context *context, const Step *step, const Nest *nest);
bool eval_load_one(Context *context, const Step *step);
void eval_store_strip(Context *context, const Access *access, const Nest *nest, int value, bool uniform);
void *eval_output_address(const Context *context, const Access *access);

/* eval_reduce.c */
DType reduce_sum_type(ReduceOp op, DType type); /* of the accumulators */
bool reduce_is_arg(ReduceOp op);
void reduce_begin(ReduceOp op, DType type, void *sums, size_t n);
void reduce_strip(ReduceOp op, DType type, void *sums, const void *strip, size_t n); /* sums[i] with strip[i] */
void reduce_across(ReduceOp op, DType type, void *sum, const void *strip, size_t n); /* one sum with all of the strip */
void reduce_end(ReduceOp op, DType type, void *out, const void *sums, size_t n);     /* rounds once */
void reduce_arg_strip(ReduceOp op, DType type, void *best, int64_t *index, const void *strip, size_t n, int64_t at);
void reduce_arg_across(ReduceOp op, DType type, void *best, int64_t *index, const void *strip, size_t n, int64_t first);
/* Sums of products; `type` must be one that reduce_can_multiply takes. */
bool reduce_can_multiply(ReduceOp op, DType type);
void reduce_multiply_strip(DType type, void *sums, const void *a, const void *b, size_t n, StripForm form);
void reduce_multiply_across(DType type, void *sum, const void *a, const void *b, size_t n, StripForm form);

#endif
