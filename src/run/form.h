/* Forms: what plans have in common that differ in their sizes alone. form.c records and predicts, scale.c makes plans of them. */
#ifndef WHET_FORM_H
#define WHET_FORM_H

#include "run/segment.h"

typedef struct FormGroup {
    int kernel; /* of the form's; -1: a step in C, */
    int step;   /* this one */
    bool partial;
    const Node **nodes;
    int node_count;
    int *tensor; /* one a tensor of the kernel: the id of a value, or -1 - the number of one that no value is; temporaries: 0 */
} FormGroup;

typedef struct FormTensor { /* that no value of the graph is */
    DType type;
    int rank;
    const Tensor *known; /* constants side by side; NULL: it is computed */
    bool constant;       /* these are the model's own */
} FormTensor;

/* A value as it is listed, by its id: what it was in the structure, and which of the plan's numbers are its dims and content. */
typedef struct FormValue {
    DType type;
    int rank, root; /* rank -1: it is not listed, or a constant */
    bool decides;   /* shapes, by its content */
    size_t at, bytes, number, numbers;
} FormValue;

typedef struct FormSample {
    int64_t *dims;    /* of all that comes in */
    int64_t *numbers; /* all sizes of the plan */
    size_t used;      /* when */
} FormSample;

enum { FORM_SAMPLES = 16, FORMS_KEPT = 4 };
struct Form {
    Form *next;
    Arena arena; /* all below but the samples' numbers */
    const whet_allocator *allocator;
    const char *structure; /* what is no size, as bytes; first that of the values */
    size_t structure_bytes, value_bytes;
    size_t number_count, value_numbers;
    size_t steps;
    int *alike;        /* segment.h */
    bool *follows;     /* by step: its outputs are as predicted if those of the one it is like are */
    const bool *dead;  /* by value: nobody reads it behind the plan */
    FormValue *values; /* by id */
    LiveIn *live_in;
    int live_in_count;
    int64_t *declared; /* the dims of what comes in as the graph has them; equal symbols are equal numbers here */
    int dim_count;
    FormGroup *groups;
    int group_count;
    Kernel **kernels;
    const char **templates;
    int kernel_count;
    FormTensor *tensors;
    int tensor_count;
    FormSample samples[FORM_SAMPLES], *latest;
    int sample_count;
    size_t clock; /* of their use */
};

/* What is recorded of one plan. */
typedef struct Record {
    Arena arena;
    Text structure;
    KernelSizes sizes;
    FormValue *values; /* by id */
    bool *follows;     /* by step */
    size_t value_bytes, value_numbers;
    bool failed; /* the plan is one that no form describes, or memory is out */
} Record;
void record_init(Record *record, const whet_allocator *allocator);
void record_free(Record *record);
/* The values as they are listed, before anything is fused. */
void record_values(Record *record, const Segment *s);
/* Those that were listed now are what was predicted of them. */
bool form_agrees(const Form *form, const int64_t *numbers, const Segment *s);
/* The finished plan: a sample of one of `forms`, or of a new one, which comes first in the list. NULL: it is none. */
Form *form_learn(Form **forms, Record *record, const Segment *s);

bool form_has_input(const Form *form, const Value *value); /* it comes in from outside */
/* The dims of what comes in now, in form->dim_count numbers; false: other values or types. */
bool form_dims(const Form *form, Runner *runner, Activation *activation, int64_t *dims);
/* All sizes for these dims, which differ from those of three samples in one symbol that lies between theirs. */
bool form_predict(Form *form, const int64_t *dims, int64_t *numbers);
/* After learning: another extent of a symbol (as in `declared`), to be planned for as well so that more lengths lie between
 * samples: far above the greatest, or the least that there is. Later attempts are nearer, where models have limits. 0: none. */
int64_t form_wants(const Form *form, int attempt, int64_t *symbol);

#endif
