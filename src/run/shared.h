/* What the sessions of a model share. All functions may be called from any thread. */
#ifndef WHET_SHARED_H
#define WHET_SHARED_H

#include "graph/graph.h"
#include "schedule/schedule.h"

typedef struct Shared Shared;
/* NULL: out of memory. `exact`, `perf_map`: of all code, as in ScheduleOptions. */
Shared *shared_new(Model *model, const whet_allocator *allocator, bool exact, bool perf_map);
/* Target.flushes: what the model stores as bf16 is there for products. */
bool shared_flushes(const Shared *shared);
/* For a kernel of the model. constant[t]: as in ScheduleOptions. */
ScheduleOptions shared_options(const Shared *shared, const Target *target, const void *const *constant);
void shared_free(Shared *shared); /* after all code and weights were dropped */

/* The machine code of a kernel, made unless it is there: a reference. `options` as for schedule_compile; nothing is packed. A
 * kernel that no template takes is no error: its Code says why. `kernel` need not outlive it. `ready`: it was a Code's kernel,
 * but for its sizes. */
typedef struct Code Code;
/* The same without code, for those who only want to know who takes the kernel: the planner asks of many kernels, and runs few. */
whet_status shared_ask(Shared *shared, const Kernel *kernel, const Target *target, const ScheduleOptions *options, Code **out,
                       whet_error *err);
const char *code_template(Shared *shared, const Code *code, const char **why); /* NULL: *why */
whet_status shared_code(Shared *shared, const Kernel *kernel, bool ready, const Target *target, const ScheduleOptions *options,
                        Code **out, whet_error *err);
whet_status shared_seal(Shared *shared, whet_error *err);          /* before code is run: all that was made becomes executable */
const Compiled *code_compiled(const Code *code, const char **why); /* NULL: *why */
const Kernel *code_kernel(const Code *code);                       /* what it was made of: its own copy */
void shared_keep_code(Shared *shared, Code *code);                 /* one more reference */
size_t shared_code_made(Shared *shared);                           /* how often machine code was made so far */
void shared_drop_code(Shared *shared, Code *code);                 /* NULL is fine */

/* The constant as code reads it, by its packing: a reference. Nothing is packed yet. */
typedef struct Weight Weight;
whet_status shared_weight(Shared *shared, const Packing *packing, const Tensor *constant, Weight **out, whet_error *err);
void *weight_data(const Weight *weight);         /* NULL: it is not packed yet */
uint64_t shared_next_run(Shared *shared);        /* from 1 on */
bool weight_again(Weight *weight, uint64_t run); /* the run has asked for it before */
/* Packs it, unless it is. The constant is read at any alignment, and its pages of the file are given back. */
whet_status shared_pack(Shared *shared, Weight *weight, const Compiled *compiled, const Tensor *constant,
                        const Parallel *parallel, whet_error *err);
void shared_drop_weight(Shared *shared, Weight *weight); /* NULL is fine */

/* What getting ready takes, summed over sessions. */
typedef enum Phase {
    PHASE_READ,
    PHASE_ANALYSE,
    PHASE_PLAN,  /* with the code of its kernels */
    PHASE_LOWER, /* what runs without a plan */
    PHASE_COMPILE,
    PHASE_PACK,
    PHASE_COUNT
} Phase;
void shared_note(Shared *shared, Phase phase, double seconds, double bytes);
void shared_noted(Shared *shared, Phase phase, whet_event *out); /* all but `name`; flops: how often it was noted */

/* Constants side by side along dimension `dim`, as a constant that lives as long as the model: the same for the same parts. It
 * has no content of its own; shared_weight makes it and lets it go, shared_aligned keeps a copy. `whole` is its type. NULL: out
 * of memory. */
const Tensor *shared_join(Shared *shared, const Tensor *whole, const Tensor *const *part, int count, int dim, whet_error *err);
bool shared_is_joined(Shared *shared, const Tensor *constant);
/* The content, to whole->data. */
void tensor_join(const Tensor *whole, const Tensor *const *part, int count, int dim, const Parallel *parallel);
/* The content where it lies; of constants side by side a copy, *own, for shared_drop_content. NULL: out of memory. */
const void *shared_content(Shared *shared, const Tensor *constant, const Parallel *parallel, void **own);
void shared_drop_content(Shared *shared, const Tensor *constant, void *own); /* NULL is fine */
void shared_settle(Shared *shared); /* nothing is packed for now: what that needed is let go */

/* A constant's elements where they are aligned for their type: where they lie, or a copy that lives as long as the model. NULL:
 * out of memory. */
const void *shared_aligned(Shared *shared, const Tensor *constant, whet_error *err);

#endif
