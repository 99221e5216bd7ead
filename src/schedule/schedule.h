/* Schedules: from a bound kernel to vector code, and from there to something that runs.
 *
 *     Kernel --nest.c--> loops and accesses --template (contract.c, map.c, rows.c ...)--> vector functions --Target--> code
 *                                                                              `--- a driver in C walks tiles, blocks and threads
 *
 * Templates are tried in order; each takes the whole kernel or refuses it with a reason. Vector functions are leaves: they
 * allocate nothing, know no threads, and get pointers to where their tile begins. */
#ifndef WHET_SCHEDULE_H
#define WHET_SCHEDULE_H

#include <stdatomic.h>

#include "kernel/kernel.h"
#include "target/target.h"

/* ---- compile.c: the door ---------------------------------------------------------------------------------------------- */

typedef struct ScheduleOptions {
    const whet_allocator *allocator; /* NULL: the C library's */
    /* constant[t]: the data of tensor t where it is known now and will never change (weights): packed here, once, and not read
     * again. The array or an entry may be NULL. */
    const void *const *constant;
    Arena *scratch;     /* where vector functions are made, which are not kept then for compiled_print_vector: one for many
                           kernels spares them fresh pages. NULL: they are kept */
    TargetCodes *codes; /* where code is looked for before it is made; must outlive the result. NULL: it is made */
    bool perf_map;      /* names of code for `perf`: perf.c */
    bool pack_later;    /* the caller packs, see compiled_packing; here constants are only known to be constant */
    int mr, nv, kc, mc,
        unroll;          /* knobs of contractions: rows and vectors of a tile, depth and rows of a block; 0: the cost model's */
    bool exact;          /* sums of products as they are written: no Winograd */
    bool far;            /* constants are read from memory: no cache holds all that a run reads of them */
    bool whole;          /* one template alone, nothing in stages (C text) */
    int winograd;        /* outputs of a Winograd tile in each direction; -1: none of them; 0: the cost model's choice */
    int spare_registers; /* vector registers a tile leaves free for its epilogue; raised by the door itself when code does not fit
                          */
    uint64_t seed;       /* not 0: registers in random order (tests) */
} ScheduleOptions;

/* knobs.c: knobs as text, "mr=8 nv=3 kc=256": those of ScheduleOptions, 0 where they are the cost model's. */
enum { KNOB_MOST = 1 << 30 };
typedef struct ScheduleKnobs {
    int mr, nv, kc, mc, unroll, winograd;
} ScheduleKnobs;
whet_status schedule_parse_knobs(const char *text, ScheduleKnobs *out, whet_error *err); /* names the knob that is wrong */
void schedule_print_knobs(const ScheduleKnobs *knobs, Text *out);

typedef struct Compiled Compiled; /* immutable, may run in any number of threads at once */

/* WHET_ERROR_UNSUPPORTED: no template takes the kernel, and *why (static or in the kernel's arena) says why the most fitting
 * one refused; the caller then uses the evaluator. Other errors are errors. `kernel` must outlive the result. */
whet_status schedule_compile(const Kernel *kernel, const Target *target, const ScheduleOptions *options, Compiled **out,
                             const char **why, whet_error *err);
/* The template that would take it, without its code; *why is static or lives in the kernel's arena. `room` is for what the
 * template plans, and empty again. Of code that no tile makes small enough for the registers only schedule_compile knows. */
whet_status schedule_ask(const Kernel *kernel, const Target *target, const ScheduleOptions *options, Arena *room,
                         const char **template, const char **why, whet_error *err);
/* A constant that code reads packed. The packing depends on the constant's content and on `key` alone: kernels of equal keys read
 * the same bytes, whatever their other shapes are, so that one copy serves all of them. */
typedef struct Packing {
    int tensor;
    size_t bytes;
    size_t pieces; /* that may be packed at once */
    const void *key;
    size_t key_bytes;
} Packing;
/* NULL: nothing is packed, or (without pack_later) it is already. */
const Packing *compiled_packing(const Compiled *compiled);
/* Packs piece `piece` of the tensor, which lies at `constant`, aligned or not, into `to`: all `bytes`, aligned to 64. */
void compiled_pack(const Compiled *compiled, const void *constant, size_t piece, void *to);
/* With EvalOptions.unpacked, compiled_run may be given the constant as it lies instead of its packing: panels are packed as they
 * are used. Slower than from the packing, faster than packing it all for one run; the same bits. */
bool compiled_takes_unpacked(const Compiled *compiled);

/* data[t] for tensor t, as for kernel_eval; data[compiled_packing()->tensor] is the packing, entries of other constant tensors
 * are as they lie. Outputs must not overlap inputs. */
whet_status compiled_run(const Compiled *compiled, void *const *data, const EvalOptions *options, whet_error *err);
void compiled_free(Compiled *compiled);
/* What was made, for people: the template and its knobs in one line; the vector code; the assembly text. */
void compiled_print_schedule(const Compiled *compiled, Text *out);
void compiled_print_vector(const Compiled *compiled, Text *out);
void compiled_print_code(const Compiled *compiled, Text *out);

/* c/: a kernel as a C file, of a function `name`. `bytes` of a vector: 32 or 64. */
whet_status schedule_print_c(const Kernel *kernel, int bytes, const ScheduleOptions *options, const char *name, Text *out,
                             whet_error *err);

/* How a template says why not. */
static inline bool refuse(const char **why, const char *reason) {
    *why = reason;
    return false;
}

/* A template's driver on its way to C text. */
typedef struct CDriver {
    const Kernel *kernel;
    const char *name;          /* of the function; other functions begin with it */
    const char *const *tensor; /* C names */
    Text *helpers;             /* functions that the driver calls go here, */
    Text *body;                /* and its statements here */
} CDriver;

/* ---- nest.c: loops and accesses, free of dimensions ------------------------------------------------------------------- */

#define NEST_MAX_ACCESSES 24
#define NEST_MAX_AXES     16

#define NEST_MAX_GUARDS 4

/* A guarded index that can leave its dimension: inside where 0 <= offset + sum(coef[axis] * axis) < extent. */
typedef struct Guard {
    int64_t offset, extent;
    int64_t coef[NEST_MAX_AXES];
} Guard;

/* What elements of an access are. */
typedef enum AccessSource {
    ACCESS_TENSOR,
    ACCESS_NUMBERS, /* 0, 1, 2 ... along one axis: an axis as a number */
    ACCESS_OFFSETS, /* elements that a gather adds to the place of its read, dense over the axes that the indices depend on */
} AccessSource;

/* One read, or the write: elements at offset + sum(stride[axis] * axis) of a tensor. */
typedef struct Access {
    const Expr *read; /* NULL: the write. Of offsets: the read they are for */
    AccessSource source;
    /* Of a gathered read: accesses with its offsets, those of indices that do not change along the axis on which the result is
     * contiguous by themselves; 0: none. */
    int offsets[2];
    int tensor;
    DType type;
    int64_t offset;
    int64_t stride[NEST_MAX_AXES];
    Guard guard[NEST_MAX_GUARDS];
    int guard_count;
    double outside; /* what a guarded read gives there */
    /* Of offsets: the definition's axes that they are dense over, innermost first. */
    int dense[NEST_MAX_AXES], dense_count;
    uint32_t dims; /* of offsets: the dimensions of the read whose indices they are made of */
} Access;

typedef struct NestAxis {
    int64_t extent;
    bool reduced;
} NestAxis;

/* One definition. Neighbouring axes that every access walks as one are merged; axes of extent 1 are dropped. */
typedef struct Nest {
    const Kernel *kernel;
    const Definition *definition;
    NestAxis axis[NEST_MAX_AXES]; /* parallel ones first, outermost first */
    int axis_count, parallel_count;
    Access access[NEST_MAX_ACCESSES]; /* access[0] is the write */
    int access_count;
    bool covers; /* the write fills its whole tensor, or others fill the rest */
} Nest;

/* What a template plans in, with a nest in it: cleared but for the nest's accesses, which are cleared as they are added. Those
 * are 20 KB, nearly all of which no kernel touches. NULL: out of memory. */
#define NEST_PLAN(arena, type) ((type *)nest_plan(arena_take(arena, 1, sizeof(type)), sizeof(type), offsetof(type, nest)))
void *nest_plan(void *plan, size_t bytes, size_t nest_at);

/* False: *why says what cannot be described (a gather, too many reads or axes). */
bool nest_of(const Kernel *kernel, const Definition *definition, Nest *out, const char **why);
/* The same in two steps, so that a template may add accesses before axes are dropped and merged. */
bool nest_begin(const Kernel *kernel, const Definition *definition, Nest *out, const char **why);
void nest_end(Nest *nest);
/* The same for definitions without reductions that may gather and use axes as numbers: reads that only serve an index are left
 * out. */
bool nest_of_map(const Kernel *kernel, const Definition *definition, Nest *out, const char **why);
/* For templates that put a nest together themselves: adds a read or (index `left`) a write whose axis a of `definition` is axis
 * map[a] of the nest; then drops and merges axes. Axes of different `reduced` are never merged. */
bool nest_add(Nest *nest, const Definition *definition, const int *map, const Expr *read, const char **why);
/* The same with other indices than the read's own, one a dimension of its tensor, in axes of `definition`. */
bool nest_add_at(Nest *nest, const Definition *definition, const int *map, const Expr *read, const Index *index,
                 const char **why);
/* Before axes are dropped: the access of a guarded or plain read becomes one of `tensor`, at these indices. */
bool nest_read_instead(Nest *nest, int access, int tensor, const Index *index, const char **why);
void nest_simplify(Nest *nest);
int nest_find(const Nest *nest, const Expr *read); /* the access of a read; -1: none */
/* The axis that an index of a read or a left side is, alone; -1: the constant 0; -2: something else. */
int index_plain_axis(const Definition *d, const Index *index);
/* nest_copy.c. d[..] = f(x[..], ...): `read` is of a tensor of as many elements, element for element, in whatever order of
 * dimensions. Then, where d is read at `outer`: the index of x, one a dimension (those of one element that have no axis are
 * paired as they come), and the place of another read in d, `inner`. NULL: out of memory. */
bool nest_copies(const Kernel *kernel, const Definition *d, const Expr *read);
Index *nest_copied_index(const Kernel *kernel, const Definition *d, const Expr *read, const Expr *outer);
Index *nest_composed(const Kernel *kernel, const Definition *of, const Definition *in, const Expr *inner, const Expr *outer);
/* The access walks `outer` and `inner` as one axis, and neither is guarded. */
bool access_merges(const Access *access, int outer, int inner, int64_t inner_extent);

/* ---- expr.c: expressions as vector code ------------------------------------------------------------------------------- */

typedef struct ExprRange { /* of an integer expression */
    int64_t low, high;
} ExprRange;

typedef struct ExprEmitter {
    VectorFunction *f;
    const Definition *definition;
    int (*read)(struct ExprEmitter *emitter, const Expr *read); /* the vector, or mask, at the place in question */
    void *context;
    const Kernel *kernel;
    const void *const *constant; /* ScheduleOptions.constant: known tensors of one element become numbers */
    const char *refused;         /* the first thing that cannot be said; NULL: none */
    int *known;                  /* by Expr.id: what is emitted already, so that shared expressions are computed once */
    int (*special)(struct ExprEmitter *emitter, const Expr *expr); /* asked first: -1: emit it as usual; may be NULL */
    int (*axis)(struct ExprEmitter *emitter, const Expr *axis);    /* an axis as s32; NULL: refused */
    ExprRange *range;                                              /* by Expr.id, of integers */
    const Expr *unrounded; /* its last rounding, or saturation, is left to what stores it */
    bool wide;             /* lanes have 64 bits: wide.h */
} ExprEmitter;
bool expr_start(ExprEmitter *emitter, Arena *arena); /* false: out of memory. Call before the first expr_emit */
void expr_forget(ExprEmitter *emitter);              /* the place has changed: nothing is known any more */
/* `expr` is that vector: reductions must be given so, everything else may be. */
void expr_know(ExprEmitter *emitter, const Expr *expr, int value);
/* A vector of expr_register(expr->type), or a mask for bool; -1 once refused. Every lane has 32 bits, see expr.c; or 64, see
 * wide.h. */
int expr_emit(ExprEmitter *emitter, const Expr *expr);
/* The same, for expr_store alone, which rounds halves and saturates integers itself. */
int expr_emit_to_store(ExprEmitter *emitter, const Expr *expr);
/* A number, a tensor of one element that is known now, or a small integer of these converted. */
bool expr_known_number(const ExprEmitter *emitter, const Expr *expr, double *value);
bool expr_exact_in_f32(const ExprEmitter *emitter, const Expr *expr); /* an integer, whatever it is */
int expr_refuse(ExprEmitter *emitter, const char *why);               /* -1 */
DType expr_register(DType type);                                      /* of the lanes: DT_F32 or DT_S32; DT_NONE: a mask */
/* Memory of any type of up to 32 bits, in registers as expr_emit has it. */
int expr_load(VectorFunction *f, DType type, VectorAddress address, int mask);
int expr_splat(VectorFunction *f, DType type, VectorAddress address);
void expr_store(VectorFunction *f, DType type, int value, VectorAddress address, int mask);
void expr_store_first(VectorFunction *f, DType type, int value, VectorAddress address);

/* convert.c: a CAST of what is in `value`; and a value that an operation gave, made to fit its type again. */
int convert_emit(ExprEmitter *emitter, const Expr *cast, int value);
int convert_fit(ExprEmitter *emitter, DType type, int value);
/* A f32 rounded to bf16: its bits in the upper half of s32, zeros below. */
int convert_bf16_bits(VectorFunction *f, int value);

/* quantize.c: a CAST that quantizes, or takes apart what was quantized; -1: it is neither. */
int quantize_emit(ExprEmitter *emitter, const Expr *cast);

/* math.c: functions as vector code, f32. Errors below 2 ULP; see docs/internals/vector.md. -1: there is none. */
int math_emit(VectorFunction *f, ExprOp op, int x);
int math_pow(VectorFunction *f, int x, int y);
int math_atan2(VectorFunction *f, int y, int x);
int math_one_and_exp(VectorFunction *f, int x, bool negated); /* 1 + exp(x), or 1 + exp(-x): one rounding is felt */
int math_exp_below(VectorFunction *f, int x); /* exp of what is at most 0, or NaN: fewer operations, the same bound */

/* ---- templates -------------------------------------------------------------------------------------------------------- */

typedef struct Recall Recall;

struct Compiled {
    const Kernel *kernel; /* the caller's, or what a template made of it, in `arena`: tensors of its own behind the caller's */
    Target target;
    const whet_allocator *allocator;
    const char *template;
    ScheduleKnobs knobs; /* that it was made with */
    TargetCode *code;
    TargetCodes *codes; /* where each function's code is from, */
    MadeCode **made;    /* as these; NULL: all are in `code` */
    int made_count;
    bool recalls;                /* a whole kernel, whose code may be that of an earlier one */
    Recall *recall;              /* how it is found, and kept; NULL: it is not */
    Arena arena;                 /* the template's data */
    Arena *vectors, own_vectors; /* vector functions and what is needed to make them: own, or the caller's scratch */
    const VectorFunction **functions;
    int function_count;
    int first_function; /* of a part: the place of its functions in the whole's code */
    Packing packing;    /* bytes 0: nothing is packed */
    void (*pack)(const Compiled *compiled, const void *constant, size_t piece, void *to);
    void *packed;                        /* by schedule_compile; NULL: by the caller, or not at all */
    bool takes_unpacked;                 /* EvalOptions.unpacked is looked at */
    void *state;                         /* the template's, in `arena` */
    void (*release)(Compiled *compiled); /* what of it is not in `arena`; NULL: nothing */
    whet_status (*run)(const Compiled *compiled, void *const *data, const EvalOptions *options, whet_error *err);
    void (*print)(const Compiled *compiled, Text *out);
    void (*print_c)(const Compiled *compiled, const CDriver *driver); /* what `run` does, as C text; NULL: there is none */
};

/* Each fills `c` (arena, target and allocator are set): functions, state, run, print. False: *why or `err` says why not; an
 * `err` whose status is set is an error, not a refusal. */
typedef bool ScheduleTemplate(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err);
ScheduleTemplate schedule_reorder, schedule_window, schedule_round, schedule_relayout, schedule_winograd, schedule_contract,
    schedule_round_all, schedule_map, schedule_rows, schedule_attend, schedule_map_chain, schedule_parts;

/* parts.c: several definitions. */
bool schedule_has_parts(const Kernel *kernel);
/* What templates that run in stages make of a kernel: it, with room for as many tensors as there may be and for so many
 * definitions, of which it has none yet (NULL: out of memory); and one more definition, by its text, of two tensors, whose
 * numbers are those of the one that is read and of the one that is written. schedule_stages, last, is a ScheduleTemplate of such
 * a `kernel`, each definition a part of its own; where it does not fit, `c` has the kernel it had. NULL: out of memory, or `err`
 * says what. */
Kernel *schedule_begin_stages(const Kernel *from, int definitions, Arena *arena);
bool schedule_add_stage(Kernel *kernel, const Text *text, const KernelArg args[2], const int numbers[2], whet_error *err);
bool schedule_stages(Compiled *c, const Kernel *kernel, const ScheduleOptions *options, const char **why, whet_error *err);
/* compile.c: all templates but schedule_parts in turn; `c` is empty again where none takes its kernel. */
bool schedule_try(Compiled *c, const ScheduleOptions *options, const char **why, whet_error *err);

/* recall.c: code of an earlier kernel that differs in lengths alone, without making its vector functions anew. A template, when
 * it has planned: begins, puts all that its functions are made of behind what begin puts (the kernel, but for its lengths), and
 * asks for its functions part by part. */
bool recall_begin(Compiled *c, const ScheduleOptions *options, const char *template); /* false: not of this kernel */
void recall_put(Compiled *c, const void *data, size_t bytes);
void recall_put_number(Compiled *c, int64_t number);
void recall_put_expr(Compiled *c, const Expr *e); /* by its place in its definition; NULL: none */
void recall_put_definition(Compiled *c, const Definition *d);
void recall_put_kernel(Compiled *c, const Kernel *kernel);
/* Of the functions that come next, up to the next part: `own` is what they have besides what was put. True: they are there, and
 * nothing is to be made. */
enum { RECALL_MOST_PARTS = 32 };
bool recall_part(Compiled *c, const void *own, size_t bytes);
/* compile.c: to c->made the code that was found, of functions that are NULL; keeps that which was made now. */
void recall_take(Compiled *c);
void recall_keep(Compiled *c);
#define RECALL_PUT_FIELDS(c, from, first, end) /* of a struct: from `first` to before `end` */                                   \
    recall_put(c, (const char *)&(from)->first, (size_t)((const char *)&(from)->end - (const char *)&(from)->first))

/* perf.c: adds the code's functions to /tmp/perf-PID.map; WHET_ERROR_FILE: it cannot be written. */
whet_status schedule_perf_map(const Compiled *c, whet_error *err);

/* Helpers of drivers. */
/* Runs one of the functions: its code, or the interpreter where the target is not this machine (tests). */
/* A function for a target's registers, that may use what the target has beyond what every one has. */
static inline VectorFunction *schedule_function(Arena *arena, const char *name, const Target *target) {
    VectorFunction *f = vector_new(arena, name, target->bytes);
    if (f)
        f->lookup = f->roomy = f->longs = target->lookup; /* AVX-512 has all */
    return f;
}

TargetEntry schedule_entry(const Compiled *c, int function); /* NULL: the target is not this machine */
void schedule_call(const Compiled *c, int function, const int64_t *arguments);

/* Drivers get options that are never NULL, with an allocator: compiled_run sees to it. */
int schedule_threads(const EvalOptions *options); /* NULL: one, here and below */
/* Does `work` (rough nanoseconds of one thread, all tasks together) repay waking threads? */
bool schedule_divides(const EvalOptions *options, double work);
/* Runs tasks on all threads, or here when their work would not repay it. */
void schedule_parallel(const EvalOptions *options, double work, size_t count, void (*task)(void *context, size_t i),
                       void *context);
/* Why a run ends early: one thread finds it, all see it. {0}: go on. */
typedef struct Stop {
    atomic_bool late, no_memory;
} Stop;
bool stop_asked(const Stop *stop);
bool stop_look(Stop *stop, const EvalOptions *options); /* and at the clock */
void stop_no_memory(Stop *stop);
whet_status stop_status(const Stop *stop, whet_error *err);

#endif
