/* What graph/infer.c asks of run/: the value of a node whose inputs are constants, by the kernels that would run. */
#ifndef WHET_FOLD_H
#define WHET_FOLD_H

#include "graph/graph.h"

/* `in[i]->constant` is set for every input given; `out[i]` receives a tensor in `arena` for each output of the node (data NULL:
 * omitted). Nodes with subgraphs: WHET_ERROR_UNSUPPORTED. Memory beyond 64 MiB and the inputs' size: WHET_ERROR_MEMORY; more than
 * half a second: WHET_ERROR_LIMIT. */
whet_status run_fold_node(const Node *node, const Type *const *in, Tensor *out, Arena *arena, const whet_allocator *allocator,
                          whet_error *err);

#endif
