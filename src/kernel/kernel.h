/* The notation: what a kernel computes, and nothing of how. docs/notation.md defines it; this is its form in memory.
 *
 *     text --kernel_parse--> Kernel (names, untyped) --kernel_bind--> Kernel (typed, every extent known) --kernel_eval--> numbers
 *                                                                     `--- kernel_print: the canonical text
 *
 * A kernel is a list of definitions, evaluated in order. A definition fills one tensor:
 *
 *     c[m, n] = sum(k) a[m, k] * b[k, n] + bias[n]
 *     y[n, h, w, o] = max(sum(i, j, c) x[n, 2*h + i - 3, 2*w + j - 3, c]? * f[i, j, c, o] + b[o], 0)
 *
 * What follows is the whole language; the parser, printer, checker and evaluator are driven by EXPR_OPS.
 */
#ifndef WHET_KERNEL_H
#define WHET_KERNEL_H

#include "base/base.h"

#define KERNEL_MAX_AXES        32 /* of one definition, reductions included */
#define KERNEL_MAX_TENSORS     64 /* of one kernel */
#define KERNEL_MAX_DEFINITIONS 1024
#define KERNEL_MAX_DEPTH       256   /* of an expression */
#define KERNEL_MAX_WEIGHT      65536 /* nodes of a definition's expression, shared ones counted as often as they are reached */

/* One row an operation:
 *   name          enum name EXPR_name and, in lower case, its name in text form `f(x, y)` unless it has a symbol
 *   symbol        infix or prefix symbol, "" for function-call form
 *   precedence    of infix forms (higher binds tighter), 0 for calls
 *   arity         number of operands
 *   types         N numeric (int or float), F float only, I integer (bool too), B bool only, A any; all operands of one type
 *   result        = as the operands, B bool, 1 as operand 1 (SELECT)
 *   flops         what one evaluation counts as
 * Legend of exact meanings: docs/notation.md. */
/*     name       symbol prec arity types result flops */
// clang-format off
#define EXPR_OPS(X)                                                                                                              \
    X(ADD,        "+",  50, 2, "N", '=', 1)                                                                                      \
    X(SUB,        "-",  50, 2, "N", '=', 1)                                                                                      \
    X(MUL,        "*",  60, 2, "N", '=', 1)                                                                                      \
    X(DIV,        "/",  60, 2, "N", '=', 1) /* integers: towards zero; by zero: 0 */                                            \
    X(FLOORDIV,   "//", 60, 2, "N", '=', 1) /* floor(x / y); integers by zero: 0 */                                             \
    X(MOD,        "%",  60, 2, "N", '=', 1) /* x - y * (x // y): the sign of y; integers by zero: 0 */                          \
    X(FMOD,       "",    0, 2, "N", '=', 1) /* C's fmod and %: the sign of x */                                                 \
    X(POW,        "",    0, 2, "N", '=', 1)                                                                                      \
    X(MIN,        "",    0, 2, "N", '=', 1) /* NaN if either is */                                                              \
    X(MAX,        "",    0, 2, "N", '=', 1)                                                                                      \
    X(ATAN2,      "",    0, 2, "F", '=', 1)                                                                                      \
    X(EQ,         "==", 30, 2, "A", 'B', 1)                                                                                      \
    X(NE,         "!=", 30, 2, "A", 'B', 1)                                                                                      \
    X(LT,         "<",  40, 2, "A", 'B', 1)                                                                                      \
    X(LE,         "<=", 40, 2, "A", 'B', 1)                                                                                      \
    X(GT,         ">",  40, 2, "A", 'B', 1)                                                                                      \
    X(GE,         ">=", 40, 2, "A", 'B', 1)                                                                                      \
    X(AND,        "&",  24, 2, "I", '=', 1) /* bitwise, and logical on bool; both sides are evaluated */                        \
    X(XOR,        "^",  22, 2, "I", '=', 1)                                                                                      \
    X(OR,         "|",  20, 2, "I", '=', 1)                                                                                      \
    X(SHL,        "<<", 45, 2, "I", '=', 1) /* by the type's width or more: 0 */                                                \
    X(SHR,        ">>", 45, 2, "I", '=', 1) /* arithmetic on signed; by the width or more: 0 or -1 */                           \
    X(NEG,        "-",  70, 1, "N", '=', 1)                                                                                      \
    X(NOT,        "!",  70, 1, "I", '=', 1) /* bitwise; logical on bool */                                                      \
    X(ABS,        "",    0, 1, "N", '=', 1)                                                                                      \
    X(SIGN,       "",    0, 1, "N", '=', 1) /* NaN stays NaN, zeros give 0 */                                                   \
    X(FLOOR,      "",    0, 1, "F", '=', 1)                                                                                      \
    X(CEIL,       "",    0, 1, "F", '=', 1)                                                                                      \
    X(TRUNC,      "",    0, 1, "F", '=', 1)                                                                                      \
    X(ROUND,      "",    0, 1, "F", '=', 1) /* ties to even */                                                                  \
    X(SQRT,       "",    0, 1, "F", '=', 1)                                                                                      \
    X(EXP,        "",    0, 1, "F", '=', 1)                                                                                      \
    X(LOG,        "",    0, 1, "F", '=', 1)                                                                                      \
    X(LOG1P,      "",    0, 1, "F", '=', 1)                                                                                      \
    X(EXPM1,      "",    0, 1, "F", '=', 1)                                                                                      \
    X(SIN,        "",    0, 1, "F", '=', 1)                                                                                      \
    X(COS,        "",    0, 1, "F", '=', 1)                                                                                      \
    X(TAN,        "",    0, 1, "F", '=', 1)                                                                                      \
    X(ASIN,       "",    0, 1, "F", '=', 1)                                                                                      \
    X(ACOS,       "",    0, 1, "F", '=', 1)                                                                                      \
    X(ATAN,       "",    0, 1, "F", '=', 1)                                                                                      \
    X(SINH,       "",    0, 1, "F", '=', 1)                                                                                      \
    X(COSH,       "",    0, 1, "F", '=', 1)                                                                                      \
    X(TANH,       "",    0, 1, "F", '=', 1)                                                                                      \
    X(ASINH,      "",    0, 1, "F", '=', 1)                                                                                      \
    X(ACOSH,      "",    0, 1, "F", '=', 1)                                                                                      \
    X(ATANH,      "",    0, 1, "F", '=', 1)                                                                                      \
    X(ERF,        "",    0, 1, "F", '=', 1)                                                                                      \
    X(ISNAN,      "",    0, 1, "F", 'B', 1)                                                                                      \
    X(ISINF,      "",    0, 1, "F", 'B', 1)                                                                                      \
    X(SELECT,     "",    0, 3, "A", '1', 1) /* select(bool, x, y): x where true */
// clang-format on

typedef enum ExprOp {
#define X(name, symbol, precedence, arity, types, result, flops) EXPR_##name,
    EXPR_OPS(X)
#undef X
        EXPR_OP_COUNT,
    EXPR_NUMBER = EXPR_OP_COUNT, /* literal; untyped until bound to the type of its neighbour */
    EXPR_AXIS,                   /* an axis as an s64 number */
    EXPR_EXTENT,                 /* size(k): the extent of an axis, an s64; a number once bound */
    EXPR_READ,                   /* x[...], x[...]?, x[...]?(value) */
    EXPR_CAST,                   /* f32(x): float to int rounds towards zero and saturates (NaN: 0); int to int wraps */
    EXPR_REDUCE,                 /* sum(k, j:3) operand; binds a product: sum(k) a * b + c is (sum(k) a * b) + c */
    EXPR_NAME                    /* before bind only: `alpha`, a constant or a tensor of rank 0 */
} ExprOp;

/* With its value over zero elements. */
typedef enum ReduceOp {
    REDUCE_SUM,    /* 0 */
    REDUCE_PROD,   /* 1 */
    REDUCE_MAX,    /* -inf, or the type's smallest */
    REDUCE_MIN,    /* +inf, or the type's largest */
    REDUCE_ANY,    /* false */
    REDUCE_ALL,    /* true */
    REDUCE_ARGMAX, /* s64, the first of equals; one axis only; over zero elements: 0 */
    REDUCE_ARGMIN,
    REDUCE_COUNT
} ReduceOp;

typedef struct Expr Expr;

/* One index of a read or of a left side. Every index is an integer expression; when it is affine in the axes,
 * index = offset + sum(coef[a] * a), and that form decides; otherwise it is evaluated and checked at run time. */
typedef struct Index {
    Expr *expr;
    bool affine;    /* after bind */
    int64_t offset; /* after bind, if affine */
    int64_t *coef;  /* one an axis of the definition; after bind, if affine */
} Index;

struct Expr {
    ExprOp op;
    DType type;        /* after bind */
    int column;        /* where in the text, in bytes from its start; for errors */
    int id;            /* after bind: place in Definition.exprs */
    int depth, weight; /* of the tree below, as limited by KERNEL_MAX_DEPTH and KERNEL_MAX_WEIGHT */
    Expr *arg[3];      /* operands; CAST and REDUCE: arg[0]; READ with a value outside: arg[0] is a NUMBER, NULL otherwise */
    /* NUMBER: */
    bool is_float;   /* written with '.', 'e', inf or nan */
    double number;   /* the value as a float */
    int64_t integer; /* the value as an integer (u64 as its bits) */
    /* AXIS, EXTENT: */
    int axis; /* in Definition.axes */
    /* EXTENT before bind, NAME: */
    const char *name;
    /* READ, NAME: */
    int tensor; /* in Kernel.tensors */
    /* READ: */
    Index *index;
    int index_count;
    bool leading; /* before bind: the indices begin with `..` */
    bool guarded; /* `?`: outside reads zero, or arg[0] */
    /* REDUCE: */
    ReduceOp reduce;
    int *axes;
    int axis_count;
};

typedef struct Axis {
    const char *name;
    int64_t extent;          /* -1 until known */
    bool reduced;            /* bound by a reduction, not by the left side */
    const char *extent_name; /* before bind: `k:taps`; NULL otherwise */
    const char *source;      /* where the extent comes from; for errors */
    int column;
} Axis;

typedef enum Role { ROLE_INPUT, ROLE_TEMPORARY, ROLE_OUTPUT } Role;

/* Inputs are read and never defined. A definition nobody reads is an output; `out` in front makes one that is read an output
 * too; the others are temporaries, which live inside the kernel. */
typedef struct KernelTensor {
    const char *name;
    Role role;
    DType type; /* DT_NONE until bound */
    int rank;   /* -1 until known (only where [..] is used) */
    int64_t *dims;
    int64_t count; /* elements, after bind */
    bool exported; /* `out` in front of it */
    bool maybe;    /* before bind: named without [], so it may be a constant */
    int column;
} KernelTensor;

/* tensor[left...] = value. Axes of the left side come first, in order; several definitions may write one tensor
 * (elements that none writes are zero). */
typedef struct Definition {
    int tensor;
    Index *left; /* always affine */
    int left_count;
    Axis *axes;
    int axis_count, parallel_count; /* the first parallel_count axes are bound by the left side */
    Expr *value;
    DType declared; /* `y[i]: f16 = ...` gives the type; DT_NONE: that of the value */
    bool leading;   /* before bind: the left side begins with `..` */
    int column;
    /* After bind: every expression below `value`, those of non-affine indices too, operands before users, `value` last. Equal
     * expressions are one (pointers compare), so this is a graph; expr->id is the place here. */
    Expr **exprs;
    int expr_count;
} Definition;

typedef struct Kernel {
    Arena *arena;
    const char *text;      /* as parsed, for errors */
    KernelTensor *tensors; /* inputs in order of first appearance, then the others in order of definition */
    int tensor_count, input_count;
    Definition *definitions;
    int definition_count;
    bool bound;
    bool partial; /* other kernels write the rest of its outputs: what this one leaves is not zeroed */
    double flops; /* of one evaluation, after bind: a sum of products counts 2 an element */
} Kernel;

/* parse.c: text to kernel. Errors name line and column and show the place. */
Kernel *kernel_parse(Arena *arena, const char *text, size_t length, whet_error *err);

/* bind.c: what is known of tensors and names from outside. A tensor that is not named is f32 of a shape to be inferred. */
typedef struct KernelArg {
    const char *name; /* a tensor */
    DType type;       /* outputs: DT_NONE takes the type of the value */
    int rank;         /* -1: shape not given */
    const int64_t *dims;
} KernelArg;
typedef struct KernelConst { /* a name used as a value, `alpha`, or as an extent, `sum(k:taps)`; an axis by name gets that extent
                              */
    const char *name;
    bool is_float;
    double number;
    int64_t integer;
} KernelConst;
/* Expands [..], gives every tensor its type and shape and every axis its extent, folds constants, finds affine indices, checks
 * types and that affine indices without `?` stay inside; drops a `?` that cannot matter. Args and consts whose names the kernel
 * does not have are ignored. The kernel is changed in place, and of no use after an error. */
whet_status kernel_bind(Kernel *kernel, const KernelArg *args, int arg_count, const KernelConst *consts, int const_count,
                        whet_error *err);
bool kernel_computes(DType type); /* all but strings, complex numbers and what is only stored; strip.c */
int kernel_find_tensor(const Kernel *kernel, const char *name); /* -1: absent */
/* Of one definition, after bind: both affine, and the same. */
bool index_equals(const Definition *d, const Index *x, const Index *y);
/* Elements of a dense tensor that these indices, one a dimension, move along an axis; those that are not affine do not count. */
int64_t index_stride(const int64_t *dims, int rank, const Index *index, int axis);
bool expr_gathers(const Expr *e); /* a read, after bind, of a place that is no sum of axes */
static inline const Expr *expr_without_cast(const Expr *e) {
    return e->op == EXPR_CAST ? e->arg[0] : e;
}

/* print.c: the canonical text. Parsing it gives the same kernel again; equal kernels print the same. A bound kernel prints
 * with types and extents in a head, one line a tensor ("in x: f32[2, 3]"), which the parser reads too. */
void kernel_print(const Kernel *kernel, Text *out);

/* identity.c: all of a bound kernel but its names, appended as bytes: equal kernels give the same. */
void kernel_identity(const Kernel *kernel, Text *out);
/* The same of kernels, or definitions, that may differ in lengths: of extents above 1 only which of them are equal is told. */
enum { KERNEL_MAX_EXTENTS = 32 };
typedef struct KernelExtents {
    int64_t seen[KERNEL_MAX_EXTENTS]; /* in the order in which they came */
    int count;
} KernelExtents;
void kernel_identity_but(const Kernel *kernel, KernelExtents *extents, Text *out);
void kernel_definition_identity(const Definition *d, KernelExtents *extents, Text *out);

/* check.c: the rules every kernel keeps between passes (ids in range, types agree, extents known when bound). Our own bugs:
 * WHET_ERROR_INTERNAL, naming `pass`. */
whet_status kernel_check(const Kernel *kernel, const char *pass, whet_error *err);

/* The table, as data. */
typedef struct ExprInfo {
    const char *name; /* lower case */
    const char *symbol;
    int precedence, arity;
    const char *types;
    char result;
    int flops;
} ExprInfo;
extern const ExprInfo expr_info[EXPR_OP_COUNT];
extern const char *const reduce_name[REDUCE_COUNT];

/* eval.c: the evaluator: what a kernel means. Plain, and everything else is tested against it; sums of floats accumulate in
 * f64 and are rounded once. Runs at hundreds of millions of multiply-adds a second by working on strips of one axis.
 *
 * A way to spread independent tasks over threads; `run` calls task(context, i) for every i below count, in any order, and
 * returns when all are done. */
typedef struct Parallel {
    void *self;
    int threads;
    void (*run)(void *self, size_t count, void (*task)(void *context, size_t i), void *context);
} Parallel;
typedef struct EvalOptions {
    const Parallel *parallel;        /* NULL: this thread alone */
    double deadline;                 /* seconds of CLOCK_MONOTONIC, 0: none; checked at least every few milliseconds */
    const whet_allocator *allocator; /* for temporaries */
    bool keep;                       /* elements of outputs that no definition writes stay as they are */
    bool unpacked;                   /* of machine code: see compiled_takes_unpacked */
} EvalOptions;
/* data[t] for tensor t of the kernel: inputs and outputs given, temporaries ignored. Errors: a gathered index outside
 * (WHET_ERROR_DATA, naming tensor, dimension, index and extent), memory, deadline (WHET_ERROR_LIMIT). */
whet_status kernel_eval(const Kernel *kernel, void *const *data, const EvalOptions *options, whet_error *err);

#endif
