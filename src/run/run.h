/* Running: a model bound to threads, memory and a clock.
 *
 *     Model --program_new--> Program (steps, lifetimes; immutable, shared) --Runner--> answers
 *
 * A step is one node. It is lowered when it first meets its input shapes (and the contents that decide shapes), and keeps the
 * last few of them, so that models whose shapes depend on data run like any other: there is one path, not a static and a
 * dynamic one. Values are reference-counted and go as soon as their last reader is done.
 */
#ifndef WHET_RUN_H
#define WHET_RUN_H

#include "graph/graph.h"
#include "kernel/kernel.h"
#include "ops/ops.h"
#include "run/profile.h"
#include "run/shared.h"
#include "schedule/schedule.h"

/* memory.c: where the values of a run live. Memory that is given back is kept for the next value of about its size, up to as
 * much again as was ever in use at one time; so a second run asks the system for next to nothing. */
typedef struct Block {
    void *data;
    size_t bytes;
} Block;
enum { POOL_KEPT = 64 };
typedef struct Pool {
    const whet_allocator *allocator;
    size_t limit, used, peak, most; /* bytes in use; their peak since pool_mark, and ever */
    Block kept[POOL_KEPT];          /* free blocks, oldest first */
    int kept_count;
    size_t kept_bytes;
} Pool;
void pool_init(Pool *pool, const whet_allocator *allocator, size_t limit);
void pool_free(Pool *pool);
/* Whole blocks, aligned to 64 bytes, not cleared. WHET_ERROR_MEMORY says what was asked for and what the limit is. */
whet_status pool_take(Pool *pool, size_t bytes, Block *out, whet_error *err);
void pool_give(Pool *pool, Block block);
void pool_mark(Pool *pool);  /* starts a new peak */
size_t machine_memory(void); /* bytes of this machine or of its cgroup, the smaller */

/* threads.c: a pool of threads behind kernel.h's Parallel. */
typedef struct Threads Threads;
Threads *threads_new(int count, whet_error *err); /* 0: whet_cpu_query's number; NULL: error */
void threads_free(Threads *threads);
void threads_rest(Threads *threads); /* after a run: workers go to sleep soon */
/* What workers may do while the caller does something else, until their next call or rest: tasks that nobody has begun by then
 * are left, those begun are waited for. */
void threads_meanwhile(Threads *threads, size_t count, void (*task)(void *context, size_t i), void *context);
const Parallel *threads_parallel(const Threads *threads); /* NULL: one thread */

/* value.c: one value of a run: a tensor and the block it lies in, or the value it is a view of. */
struct OpValue {
    int references;
    Tensor tensor;
    Block block;     /* data NULL: not its own */
    OpValue *viewed; /* whose memory it is; NULL: its own, or borrowed from outside (constants, inputs) */
    Pool *pool;
};
OpValue *value_new(Pool *pool, DType type, int rank, const int64_t *dims, whet_error *err);
OpValue *value_borrow(Pool *pool, const Tensor *tensor, whet_error *err); /* the data must outlive it */
OpValue *value_view(OpValue *of, int rank, const int64_t *dims, whet_error *err);
OpValue *value_keep(OpValue *value); /* one more reference */
void value_drop(OpValue *value);     /* NULL is fine */

/* program.c: the steps of a graph and of the graphs inside it. */
typedef struct Step {
    const Node *node;
    size_t cache;       /* index of its caches in a Runner */
    bool *decides;      /* by input: its content decides shapes */
    const Value **dead; /* values of this graph that nobody reads after it */
    int dead_count;
} Step;
typedef struct GraphProgram {
    const Graph *graph;
    Step *steps;
    size_t step_count;
} GraphProgram;
typedef struct Program {
    GraphProgram *graphs; /* the main graph first */
    size_t graph_count;
    size_t cache_count;
} Program;
Program *program_new(Arena *arena, const Graph *graph, whet_error *err);
const GraphProgram *program_find(const Program *program, const Graph *graph);

/* executable.c: a bound kernel that runs: as machine code where a schedule takes it, by the evaluator otherwise. */
struct Executable {
    const Kernel *kernel;
    const Compiled *compiled; /* NULL: the evaluator runs it */
    const char *why;          /* it does */
    Compiled *own;            /* where nothing is shared */
    Shared *shared;           /* with what is used of it: */
    Code *code;
    Weight *weight;         /* NULL: no packed constant */
    const Tensor *constant; /* that it is the packing of */
};
/* Chooses the target of whet_options; *found is false where the evaluator runs everything. `must_run`: one that this machine
 * cannot run is refused, not only an unknown one. */
whet_status executable_target(const whet_options *options, bool must_run, Target *out, bool *found, whet_error *err);
/* `target` NULL: the evaluator. Of `options`: constants, which are packed here, knobs and the allocator. */
whet_status executable_init(Executable *executable, const Kernel *kernel, const Target *target, const ScheduleOptions *options,
                            whet_error *err);
/* The same with code and weights of `shared`. constant[t]: input t of the kernel where it is constant, or NULL. */
whet_status executable_share(Executable *executable, Shared *shared, const Kernel *kernel, const Target *target,
                             const Tensor *const *constant, whet_error *err);
/* The same with code that is known: the reference becomes the executable's. */
whet_status executable_share_code(Executable *executable, Shared *shared, const Kernel *kernel, Code *code,
                                  const Tensor *const *constant, whet_error *err);
void executable_free(Executable *executable);
/* What a session's run may do for those after it. */
typedef struct Spare {
    double seconds; /* that it may still spend on packing: less by what it took */
    uint64_t run;   /* a number of its own among all runs of the model */
} Spare;
/* Before each run: makes code executable, and packs the constant where there is time to spare, where code cannot do without, and
 * where the same run has used it before (a body of a loop). */
whet_status executable_ready(const Executable *executable, const Parallel *parallel, Spare *spare, whet_error *err);
whet_status executable_run(const Executable *executable, void *const *data, const EvalOptions *options, whet_error *err);

/* step.c: what ops.h promises. */
struct OpKernel {
    Kernel *kernel;
    Executable executable;
};

/* lowering.c: a step, lowered for one set of input types, shapes and contents that decide shapes. */
typedef enum StepKind { STEP_KERNEL, STEP_VIEW, STEP_C } StepKind;
typedef struct Lowering {
    Arena arena; /* what follows lives in it */
    unsigned char *key;
    size_t key_length, whole_length; /* the key of a step; with what else decides, that of all steps (share.c) */
    int references;                  /* steps that keep it */
    struct Lowering *next_shared;    /* in its bucket of Runner.shared; NULL if it is the last, or not shared */
    bool shared;
    bool once; /* no step keeps it: it runs once */
    StepKind kind;
    OpCall call; /* its input types are this lowering's own; `constant` is set anew for each run of a STEP_C */
    Type *in;
    Lowered lowered;
    Executable executable;         /* of a STEP_KERNEL */
    OpKernel *kernels[OP_KERNELS]; /* of a STEP_C; NULL: not asked for */
} Lowering;
enum { LOWERINGS_KEPT = 4 }; /* a step keeps these many */
typedef struct StepCache {
    Lowering *kept[LOWERINGS_KEPT]; /* the latest first */
} StepCache;

/* planned.h: plans for several steps at once, kept by the step that they begin at. */
typedef struct Planned Planned;
typedef struct Form Form; /* form.h: what plans of different sizes have in common */
enum {
    PLANS_KEPT = 8,
    PLAN_BYTES = 16 << 20, /* that they take together, but for the latest */
    MOST_AHEAD = 32,       /* plans made ahead */
};
typedef struct PlanCache {
    Planned *kept[PLANS_KEPT]; /* the latest first */
    Form *forms;               /* the latest first */
    int ahead;
    size_t planned, scaled; /* plans made from the start, and put together for other sizes */
} PlanCache;
void form_free(Form *form); /* all of the list */

/* share.c: one lowering for all steps that would make the same: equal layers of a network, a chain of 50,000 Relus. */
enum { SHARE_BUCKETS = 512 };

/* runner.c: what runs a program: one to a session. */
typedef struct Runner {
    const Program *program; /* NULL: single nodes alone (folding) */
    Shared *shared_model;   /* NULL: the same */
    Pool pool;
    Threads *threads;
    Arena arena; /* symbols */
    Symbols *symbols;
    StepCache *caches;
    PlanCache *plans;   /* NULL: node by node */
    Text *explain;      /* plans are printed here when they are made; NULL: they are not */
    Lowering **shared;  /* SHARE_BUCKETS lists; NULL: nothing is shared (folding) */
    unsigned char *key; /* of the step under way, see lowering.c */
    size_t key_capacity;
    double deadline; /* of the run under way; 0: none */
    double flops;    /* of the run under way */
    double took;     /* the last run, without packing; 0: there was none */
    Spare spare;     /* of the run under way */
    Block *touched;  /* by touch.c, while the first run is under way */
    size_t touched_bytes;
    Profile *profile; /* NULL: off */
    Target target;
    bool has_target; /* false: the evaluator runs all kernels */
} Runner;
/* The lowering for these inputs (NULL: omitted), from the cache (NULL: none) or made. Released by lowering_free if the cache is
 * NULL. NULL: error. */
Lowering *lowering_get(Runner *runner, StepCache *cache, const Node *node, const Tensor *const *inputs, whet_error *err);
void lowering_free(Runner *runner, Lowering *lowering); /* gives up one reference */
bool lowering_key_put(Runner *runner, size_t *length, const void *data, size_t bytes);
/* Extends the step's key in runner->key to one that holds for all steps; false: out of memory. */
bool share_key(Runner *runner, const Node *node, size_t *length);
bool share_key_node(Runner *runner, const Node *node, size_t *length); /* the operator, its attributes, which operands it has */
Lowering *share_find(const Runner *runner, size_t length);             /* one of the key in runner->key; NULL: there is none */
void share_add(Runner *runner, Lowering *lowering);
void share_remove(Runner *runner, Lowering *lowering);

/* runner.c */
/* `program` and `shared` NULL: for single nodes. */
whet_status runner_init(Runner *runner, const Program *program, Shared *shared, const whet_options *options, whet_error *err);
void runner_free(Runner *runner);
/* Runs a graph once. `inputs` are borrowed, one an input of the graph (NULL where a constant stands for it); `outputs` receive
 * references. `outer`: the activation that a subgraph sees outer values in; NULL for the main graph. */
typedef struct Activation {
    const Graph *graph;
    struct Activation *outer;
    OpValue **slots; /* one a value of the graph; NULL: not there (yet, or any more) */
} Activation;
whet_status runner_run(Runner *runner, const Graph *graph, Activation *outer, OpValue *const *inputs, OpValue **outputs,
                       whet_error *err);
/* Runs one node on inputs whose content is known (folding). outputs: references. */
whet_status runner_node(Runner *runner, const Node *node, const Tensor *const *inputs, OpValue **outputs, whet_error *err);
/* Makes sure that the value may be read through a pointer to its type: large constants need not lie so. */
whet_status runner_align(Runner *runner, OpValue *value, whet_error *err);
/* The value's slot, in the activation of the graph that defines it. NULL: an error. */
OpValue *runner_value(Runner *runner, Activation *activation, const Value *value, whet_error *err);
whet_status runner_step(Runner *runner, const Step *step, Activation *activation, whet_error *err); /* one step on the slots */
whet_status runner_interrupted(const Runner *runner, whet_error *err); /* WHET_ERROR_LIMIT after the deadline */

/* touch.c: before the first run of a model; after each */
void runner_touch(Runner *runner, const Graph *graph);
void runner_rest(Runner *runner);

/* planned.c: runs the plan that begins at step `at`, made unless it is there; *steps: so many are done, 0: the step is to be run
 * by itself. `err` is not NULL. */
whet_status planned_run(Runner *runner, const GraphProgram *program, size_t at, Activation *activation, size_t *steps,
                        whet_error *err);
void planned_free(Runner *runner, Planned *planned); /* segment.c */

/* step.c: one node on its inputs; outputs: references, NULL where omitted. */
whet_status step_run(Runner *runner, Lowering *lowering, Activation *activation, OpValue *const *inputs, OpValue **outputs,
                     whet_error *err);

#endif
