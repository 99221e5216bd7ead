/* A plan in the making: what segment.c, items.c and scale.c have in common. */
#ifndef WHET_SEGMENT_H
#define WHET_SEGMENT_H

#include "run/planned.h"

typedef struct Built {
    Kernel *kernel; /* NULL: a step in C */
    int *tensor;
    Code *code; /* NULL: not known yet */
} Built;

typedef struct Segment {
    Runner *runner;
    const GraphProgram *program;
    size_t at;
    Activation *activation;
    Planned *out;
    Arena arena; /* of the plan before it is one */
    Plan plan;
    int *of;          /* plan tensors of the graph's values; -1: none */
    const bool *dead; /* values of the graph that nobody reads behind the segment */
    struct Outer {
        const Value *value;
        int tensor;
    } * outer; /* those of the graphs around it */
    size_t outer_count, outer_capacity, live_in_capacity;
    Map lowered;  /* what equal nodes were lowered to */
    int *alike;   /* by step: an earlier one that was lowered alike, or is likely to be where only sizes are wanted; -1: none */
    Code **codes; /* kept until the plan's kernels have them */
    size_t code_count, code_capacity;
    whet_error *err;
    /* Put together from a form: steps are listed for the shapes of their values alone, and these are known where they follow. */
    const Form *form;
    const int64_t *numbers;
    int64_t symbol, size;  /* symbol not 0: planned as if this symbol of what comes in were of that size */
    struct Record *record; /* of what becomes of it; NULL: none is wanted */
    Group **groups;        /* items.c: those that are left, */
    Built *built;          /* and their kernels */
    int built_count;
    Code **group_codes;  /* by group, where the code is known; NULL: for none */
    size_t placed_bytes; /* of all tensors in the arena, without sharing */
    bool refused;        /* the code of a kernel could not be made, although a template took it */
    bool failed;         /* out of memory or an error: not the end of a segment */
} Segment;

/* Lists up to `most` steps; false: an error, s->failed. */
bool segment_list(Segment *s, size_t most);
/* `make` fills s->out, false: s->failed, or no plan; the plan, or NULL. */
Planned *segment_plan(Segment *s, bool (*make)(Segment *s, void *context), void *context);
void segment_free(Segment *s);
/* Plans from the start; what covers `least` steps becomes a sample of the cache's forms. Frees the segment. */
Planned *planned_learn(Segment *s, PlanCache *cache, size_t least);
/* The code of a form's kernel, as long as the segment lives. */
bool segment_code(Segment *s, const Kernel *kernel, const void *const *constant, Code **out);
const Tensor *segment_keep(Segment *s, const Tensor *t);  /* a copy that lives as long as the plan; NULL: out of memory */
bool segment_fail(Segment *s);                            /* false, and an error that is out of memory unless there is one */
int segment_tensor(const Segment *s, const Value *value); /* -1: none */
int segment_read(Segment *s, const Value *value);         /* the same, made where it is not there yet; -1: an error */

/* items.c: from the plan's groups to Planned.items. */
bool segment_items(Segment *s);

#endif
