/* The front door of onnx/: bytes of a file to a graph. */
#ifndef WHET_ONNX_READER_H
#define WHET_ONNX_READER_H

#include "graph/graph.h"

/* Maps the file and reads it without copying weights; the model keeps the mapping. NULL: `err` says why. */
Model *onnx_read(const char *path, const whet_allocator *allocator, whet_error *err);
/* The same from memory, which must outlive the model. External data is looked for in `folder`; NULL: refused. */
Model *onnx_read_memory(const void *data, size_t size, const char *folder, const whet_allocator *allocator, whet_error *err);
/* Releases Model.maps; called by model_free. */
void onnx_unmap(Model *model);

#endif
