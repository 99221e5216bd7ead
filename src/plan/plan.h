/* Plans: what becomes of a run of nodes whose shapes are all known. A plan begins as one group of definitions a node; rules join
 * groups by substitution; every group that is left is one kernel, or a step in C.
 *
 *     nodes --plan_add_*--> groups of definitions over plan tensors --fuse.c--> fewer groups --group.c--> kernels
 *
 * Plans know no memory, no threads and no weights; run/ places tensors and runs what is here.
 */
#ifndef WHET_PLAN_H
#define WHET_PLAN_H

#include "graph/graph.h"
#include "kernel/rewrite.h"
#include "schedule/schedule.h"

typedef struct PlanTensor {
    DType type;
    int rank;
    int64_t dims[WHET_MAX_RANK];
    int64_t count;
    int root;            /* the tensor whose memory this is a view of; itself otherwise */
    const Tensor *known; /* of roots: its content; NULL: known when it runs */
    bool constant;       /* the content is the model's own, and lies where it lies */
    const Value *value;  /* in the graph; NULL: inside a node */
    bool kept;           /* of roots: something outside of the plan's kernels reads or writes it, so it must be there */
    int *readers;        /* of roots: groups */
    int reader_count, writer_count, writer; /* of roots; the writer if there is one */
    size_t reader_capacity;
} PlanTensor;

/* What a schedule says of a kernel. */
typedef struct Verdict {
    const char *template; /* NULL: refused */
    const char *why;      /* it was */
    bool impossible;      /* it is no kernel at all */
} Verdict;

typedef struct Group {
    Definition **definitions; /* over plan tensors */
    int count;
    const Node **nodes;
    int node_count;
    int step;      /* C: which step of the caller's; -1: a kernel */
    bool gone;     /* joined into another */
    bool partial;  /* other groups write other parts of its tensor: what it does not write stays as it is */
    Kernel *given; /* the node's own, as it was lowered; NULL: the definitions have changed */
    int *given_tensor;
    const Verdict *verdict; /* on the kernel; NULL: not asked yet */
    Text *notes;            /* why it was not joined with others; NULL: nobody asked */
} Group;

/* Asks a schedule. constant[t]: the data of input t if it is a constant of the model. Fills *out, `why` of which must live as
 * long as the plans that may ask; false: an error, which is in the plan's `err`. */
typedef struct Schedules {
    void *self;
    bool (*ask)(void *self, const Kernel *kernel, const void *const *constant, Verdict *out, whet_error *err);
    /* Known tensors side by side along dimension `dim`, living as long as what the plan becomes. *constant: it is as a constant
     * of the model, whose content is only there where it is packed. NULL: products are not merged. */
    const Tensor *(*join)(void *self, const Tensor *const *part, int count, int dim, bool *constant, whet_error *err);
    /* Elements as a vector: element[i] as often as times[i] says. */
    const Tensor *(*spread)(void *self, const Tensor *const *element, const int64_t *times, int count, whet_error *err);
} Schedules;

typedef struct NodeNames {
    const Node **nodes;
    int count;
    size_t capacity;
} NodeNames;

typedef struct Plan {
    Arena *arena;
    Arena scratch;       /* of kernels that are only shown to schedules */
    Schedules schedules; /* ask NULL: the evaluator runs everything */
    PlanTensor *tensors;
    Group **groups; /* in an order in which they can run */
    int tensor_count, group_count;
    int *local; /* group.c: of the kernel in the making */
    size_t tensor_capacity, group_capacity, local_capacity;
    bool explain;           /* gather notes, and: */
    NodeNames views, ahead; /* nodes that are no kernels: another shape of the same memory; computed while planning */
    RewriteTensors rewrite;
    whet_error *err;
} Plan;

/* list.c: all false: out of memory, or `err` says what. */
void plan_init(Plan *plan, Arena *arena, Schedules schedules, whet_error *err);
void plan_free(Plan *plan); /* notes; the rest lives in the arena */
int plan_tensor(Plan *plan, DType type, int rank, const int64_t *dims, const Value *value); /* -1: out of memory */
int plan_view(Plan *plan, int of, int rank, const int64_t *dims, const Value *value);
int64_t plan_stride(const Plan *plan, int tensor, const Index *index, int axis); /* index_stride */
/* A node's kernel; tensor[t]: the plan tensor of the kernel's input or output t. With `split`, what does not hang together
 * becomes groups of their own: the parts of a concatenation, the outputs of a split. */
bool plan_add_kernel(Plan *plan, Kernel *kernel, const int *tensor, const Node *node, bool split);
bool plan_add_step(Plan *plan, int step, const Node *node, const int *reads, int read_count, const int *writes, int write_count);
bool plan_add_reader(Plan *plan, int tensor, int group);
void plan_drop_reader(Plan *plan, int tensor, int group);
Group *plan_group(Plan *plan);
Group *plan_insert_group(Plan *plan, int at); /* in front of those from `at` on */
/* The tensor as a definition that reads itself: inlined, it turns reads of views into reads of the tensor. */
Definition *plan_copy_of(Plan *plan, int tensor);

/* group.c */
/* A group as a kernel in `arena`, and the plan tensors of the kernel's. NULL: an error, or *why it is none. */
Kernel *group_kernel(Plan *plan, const Group *group, Arena *arena, int **tensor, const char **why);
const Verdict *group_verdict(Plan *plan, Group *group); /* NULL: an error */
/* What schedules may know of a tensor: that it is the model's own constant. A float of one element that is still read, and no
 * number, is meant to be read (list.c). */
const Tensor *plan_constant(const Plan *plan, int tensor);
bool group_take_nodes(Plan *plan, Group *to, const Group *from);  /* in front of its own; false: out of memory */
void group_change(Group *g, Definition **definitions, int count); /* `definitions` in place of its own */
bool group_note(Plan *plan, Group *group, const char *format, ...) PRINTF_LIKE(3, 4);
void group_label(const Group *group, char *buffer, size_t size); /* its nodes, for messages */

/* layout.c: images channels last. Before plan_fuse. */
bool plan_layout(Plan *plan);

/* fuse.c: the rules. What only scales, shifts and converts a product, as its bias does: the tensor that it ends in; puts it
 * behind the product, at once. */
bool plan_fuse(Plan *plan);
int plan_finished(const Plan *plan, int product);
bool plan_finish(Plan *plan, int product);

/* merge.c */
bool plan_merge_products(Plan *plan);

/* concat.c: parts that are one movement of data. */
bool plan_join_parts(Plan *plan);

/* halve.c: what products take rounded to bf16 is kept so. */
bool plan_halve(Plan *plan);
bool plan_lift_halves(Plan *plan);

/* show.c */
bool plan_name(Plan *plan, NodeNames *names, const Node *node); /* false: out of memory */
void plan_print(Plan *plan, Text *out);

#endif
