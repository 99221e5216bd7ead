/* Running by plans: runs of steps whose shapes are all known when the first of them is reached.
 *
 *     steps from s on --segment.c--> Planned (kernels fused, tensors placed) --planned.c--> values of those that live on
 *
 * A plan holds for types and shapes of what comes in, and for the content of what decides shapes. Each step at which a plan began
 * keeps the last few. What cannot be planned (subgraphs, shapes that depend on data) runs step by step, as without plans.
 */
#ifndef WHET_PLANNED_H
#define WHET_PLANNED_H

#include "plan/plan.h"
#include "run/run.h"

/* Where a kernel finds a tensor. */
typedef enum Home { HOME_NONE, HOME_ARENA, HOME_FIXED, HOME_VALUE } Home;
typedef struct Place {
    Home home;
    size_t offset;      /* in the arena */
    const void *fixed;  /* constants */
    const Value *value; /* in its slot */
} Place;

/* A value that an item makes sure of: a new tensor to write to, a view, a copy of something known. */
typedef struct Made {
    const Value *value, *of; /* of: a view of that */
    const Tensor *known;
    DType type;
    int rank;
    int64_t dims[WHET_MAX_RANK];
} Made;

enum { ITEM_KERNEL = -1, ITEM_END = -2 }; /* the end only makes sure of values that live on */
typedef struct Item {
    int step; /* or one of the above */
    Executable executable;
    Place *place; /* one a tensor of the kernel */
    bool partial;
    const Node **nodes; /* for messages */
    int node_count;
    Made *before, *after; /* values to be there before it runs; what C has made is checked against `after` */
    int before_count, after_count;
    const Value **dead; /* values that go after it */
    int dead_count;
} Item;

typedef struct LiveIn {
    const Value *value;
    DType type;
    int rank;
    int64_t dims[WHET_MAX_RANK];
    const Tensor *content; /* it decides shapes; NULL: it does not */
} LiveIn;

struct Planned {
    Arena arena;
    size_t steps; /* covered; 0: the first of them cannot be planned */
    LiveIn *live_in;
    int live_in_count;
    Item *items;
    int item_count;
    size_t arena_bytes;
    double flops;
};

/* scale.c: the plan for what is in the activation's slots, from step `at` on: put together from what earlier plans have in common
 * (NULL: it cannot be), or planned from the start (NULL: an error). */
Planned *scale_plan(Runner *runner, const GraphProgram *program, size_t at, Activation *activation, PlanCache *cache);
Planned *scale_learn(Runner *runner, const GraphProgram *program, size_t at, Activation *activation, PlanCache *cache,
                     whet_error *err);

/* inplace.c: the input, of those that die with the kernel, that it may write over; -1: none. `template`: of its code; NULL: none.
 */
int planned_over(const Kernel *kernel, const char *template, const bool *dies);

/* place.c: offsets such that what lives at one time does not overlap; greedy, largest first. Returns the bytes needed. */
typedef struct Interval {
    int first, last; /* items */
    size_t bytes, offset;
} Interval;
size_t place_intervals(Interval *intervals, int count, Arena *scratch);

#endif
