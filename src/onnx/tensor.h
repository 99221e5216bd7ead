/* Tensors of a file: TensorProto and SparseTensorProto, wherever their data lies. */
#ifndef WHET_ONNX_TENSOR_H
#define WHET_ONNX_TENSOR_H

#include "graph/graph.h"
#include "onnx/map.h"
#include "onnx/schema.h"

/* Where tensors' bytes come from and go to. */
typedef struct Store {
    Wire wire;
    Arena *arena; /* of tensors, and of data that is small or had to be unpacked */
    FileMap **maps;
    Folder folder;
    Map files;          /* FileMap of external data, by location */
    size_t sparse_left; /* bytes that sparse tensors may still expand to */
    size_t copy_below;  /* misaligned data of fewer bytes is copied at once; the rest stays, see onnx_aligned */
} Store;

enum { ALIGN_LATER = 64 << 10, SPARSE_LIMIT = 256 << 20 };

/* A message that was read -> a tensor in the store's arena. NULL: error set, naming the field but not the tensor. */
Tensor *tensor_read(Store *store, const TensorProto *proto);
Tensor *tensor_read_sparse(Store *store, Str message, Str *name);
bool tensor_is_aligned(const Tensor *tensor);

/* external.c: the bytes of a tensor that lie in another file, `bytes` of them. */
bool external_find(Store *store, const TensorProto *proto, size_t bytes, Str *out);

#endif
