/* ONNX files -> graphs. See docs/internals/onnx.md. */
#ifndef WHET_ONNX_READER_H
#define WHET_ONNX_READER_H

#include "graph/graph.h"

/* Maps the file and uses it where it lies. Everything the file says about itself is checked; what operators mean is not known
 * here (graph_resolve). NULL: error set; messages begin with the path. */
Model *onnx_read(const char *path, const whet_allocator *allocator, whet_error *err);
/* The same from memory, which must outlive the model. External data is looked for in `folder`; NULL: refused. */
Model *onnx_read_memory(const void *data, size_t size, const char *folder, const whet_allocator *allocator, whet_error *err);
/* Large constants of a file may be misaligned for their type (small ones are copied when they are read): whoever reads one
 * through a pointer to its type asks first. onnx_aligned: the tensor itself, or an aligned copy in the arena. NULL: out of
 * memory. */
bool onnx_is_aligned(const Tensor *tensor);
const Tensor *onnx_aligned(const Tensor *tensor, Arena *arena);
/* Gives back the pages of the file that hold the tensor. It can still be read. */
void onnx_forget(const Model *model, const Tensor *tensor);
/* Unmaps the files and frees the copies. For model_free alone: every tensor of the model dies. */
void onnx_unmap(Model *model);

#endif
