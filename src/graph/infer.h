/* Shared by the files of inference: resolve.c, infer.c, control.c, fold.c, prune.c, report.c. */
#ifndef WHET_GRAPH_INFER_H
#define WHET_GRAPH_INFER_H

#include "graph/graph.h"
#include "ops/ops.h"

#define GRAPH_MAX_NESTING 64 /* subgraphs inside subgraphs */

/* ---- refusals: everything unsupported, gathered before it is said -------------------------------------------------------- */

/* Nodes refused for one reason. */
typedef struct Refusal {
    const char *op, *domain, *reason;
    int opset;
    const Node *first;
    int nodes;
} Refusal;

typedef struct Refusals {
    Arena arena;
    Map by_key;
    Refusal **list;
    size_t count, capacity;
} Refusals;

void refusals_init(Refusals *refusals, const whet_allocator *allocator);
void refusals_free(Refusals *refusals);
bool refusals_add(Refusals *refusals, const Node *node, const char *reason); /* false: out of memory */
/* One line a reason: "operator Foo (domain ai.onnx, opset 13): 3 nodes, first Foo 'name' (#12): reason". */
void refusals_print(const Refusals *refusals, const char *indent, Text *out);
/* WHET_OK if there are none, WHET_ERROR_UNSUPPORTED with the list as the message otherwise. */
whet_status refusals_status(const Refusals *refusals, whet_error *err);

/* resolve.c: rows of all nodes; what is unsupported is added and is no error. */
whet_status resolve_nodes(Model *model, Refusals *refusals, whet_error *err);

/* ---- inference ---------------------------------------------------------------------------------------------------------- */

typedef struct NodeList {
    Node **nodes;
    size_t count, capacity;
} NodeList;

typedef struct Infer {
    Model *model;
    Refusals *refusals;
    Arena scratch; /* of one node */
    whet_error err;
    size_t fold_limit;   /* bytes that folding may still make */
    double fold_work;    /* elementary operations that folding may still do */
    double fold_seconds; /* that it has taken */
    bool keep_quantized; /* dequantized weights are not folded */
    const Graph *named;  /* the graph that `names` is of; NULL: none yet */
    Map names;
    Arena name_arena;
    int renamed;
} Infer;

/* infer.c: types of all values, folding as it goes; refusals are added and are no error. Nodes without a row are passed over.
 * `fold_limit`: bytes that folded constants may take. */
whet_status infer_model(Model *model, Refusals *refusals, size_t fold_limit, bool keep_quantized, whet_error *err);
whet_status infer_graph(Infer *infer, Graph *graph, int nesting);

/* control.c: If, Loop and Scan. */
bool control_has_graphs(const Node *node);
/* The branch of an If whose condition is a constant; NULL otherwise. */
Graph *control_branch(const Node *node);
/* Makes values and nodes of `branch` those of `graph`. The nodes are put into no list. */
bool control_adopt(Infer *infer, Graph *graph, Graph *branch);
/* Gives the inputs of the node's subgraphs types and infers the subgraphs. */
whet_status control_infer_bodies(Infer *infer, Node *node, int nesting);
/* Types of outputs that follow from the subgraphs, where the row's rule did not say them. */
void control_set_outputs(OpCall *call);

/* fold.c: contents of outputs, from constants by the kernels, from symbols by arithmetic. Sets out[i].constant or content,
 * in the model's arena. What cannot be folded is left alone. */
void fold_call(Infer *infer, OpCall *call);

/* prune.c: drops nodes that no output needs, and values that nobody makes or reads. */
void graph_prune(Graph *graph);

#endif
