/* What passes share: walking, counting uses, making nodes and constants. */
#ifndef WHET_GRAPH_PASS_H
#define WHET_GRAPH_PASS_H

#include "graph/graph.h"

/* Calls `visit` for the graph and those inside it; false: one of them said so. The reader bounds the nesting. */
bool pass_each_graph(Graph *graph, bool (*visit)(Graph *graph, void *context), void *context);
/* Sets Value.mark of all values to zero. */
void pass_clear_marks(Graph *main);
/* Sets Value.mark of all values to how often they are read, by nodes, subgraphs and as outputs. */
void pass_count_uses(Graph *main);
/* A node of ONNX's own domain, of version PASS_OPSET and resolved, that makes one new value; both are named after `after`.
 * NULL: out of memory. */
enum { PASS_OPSET = 21 };
Node *pass_node(Graph *graph, const char *op, int input_count, int attr_count, const Node *after);
/* The node makes `value` in place of whatever made it. */
void pass_take_output(Node *node, Value *value);
/* A constant in the model's arena, data not set. NULL: out of memory. */
Value *pass_constant(Graph *graph, const char *stem, DType type, int rank, const int64_t *dims, void **data);
/* The same of f32 for `channels` along the second of `rank + 1` axes: [channels, 1, 1 ...]. */
Value *pass_channels(Graph *graph, const char *stem, int64_t channels, int rank, float **data);
/* Is it that operator of ONNX's own domain? NULL is none. */
bool pass_is(const Node *node, const char *op);
/* The content of a value whose elements are f32, if it is known: NULL otherwise. It may be misaligned: use pass_f32. */
const Tensor *pass_known(const Value *value, DType type);
float pass_f32(const Tensor *tensor, int64_t index);

/* Constant factors and terms along one axis: base * s + t, in double precision. */
typedef struct PassChain {
    Arena *arena;
    double *s, *t;
    int64_t channels; /* 1 while axis is -1 */
    int rank, axis;   /* axis -1: the same for all; the first constant that varies sets it */
} PassChain;
/* s = 1, t = 0 for a value of that rank. When out of memory, `arena` remembers. */
void pass_chain_start(PassChain *chain, Arena *arena, int rank, int axis, int64_t channels);
/* From `base` up through Mul and Add by constants, as long as nothing else reads what is absorbed: the new base. Requires
 * pass_count_uses. */
Value *pass_chain_absorb(PassChain *chain, const Graph *graph, Value *base);
/* The last of the new nodes that compute base * s + t; NULL: out of memory. */
Node *pass_chain_end(const PassChain *chain, Value *base, const Node *after);

/* The passes behind graph_simplify, one a file. Each sets *changed where it changed anything. */
bool pass_integer(Model *model, bool *changed); /* integer.c */
bool pass_affine(Model *model, bool *changed);  /* affine.c */
bool pass_nbits(Model *model, bool *changed);   /* nbits.c */
bool pass_rescale(Model *model, bool *changed); /* rescale.c */
bool pass_repeat(Model *model, bool *changed);  /* repeat.c */

#endif
