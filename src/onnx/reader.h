/* ONNX files -> graphs. See docs/internals/onnx.md. */
#ifndef WHET_ONNX_READER_H
#define WHET_ONNX_READER_H

#include "graph/graph.h"

/* Maps the file and uses it where it lies. Everything the file says about itself is checked; what operators mean is not known
 * here (graph_resolve). NULL: error set; messages begin with the path. */
Model *onnx_read(const char *path, const whet_allocator *allocator, whet_error *err);
/* The same from memory, which must outlive the model. External data is looked for in `folder`; NULL: refused. */
Model *onnx_read_memory(const void *data, size_t size, const char *folder, const whet_allocator *allocator, whet_error *err);
/* Copies what is misaligned for its type, so that every constant may be read through a pointer to its type. Small tensors are
 * aligned from the start. Call it before a model runs; a model that is only looked at needs no copy of its weights. */
whet_status onnx_align(Model *model, whet_error *err);
/* The same for one tensor: itself, or an aligned copy in the arena. NULL: out of memory. */
const Tensor *onnx_aligned(const Tensor *tensor, Arena *arena);
/* Unmaps the files and frees the copies. For model_free alone: every tensor of the model dies. */
void onnx_unmap(Model *model);

#endif
