/* SparseTensorProto -> a dense Tensor. Few bytes of a file can stand for many, so what all sparse tensors of a model expand to
 * has a limit. */
#include "onnx/tensor.h"

#include <inttypes.h>
#include <string.h>

typedef struct Sparse {
    Tensor *values, *indices;
    int64_t count;
} Sparse;

static Tensor *read_part(Store *store, Str message, const char *part, Str *name) {
    TensorProto proto;
    if (!message.data) {
        wire_error(&store->wire, WHET_ERROR_FORMAT, "a sparse tensor without %s", part);
        return NULL;
    }
    Tensor *tensor = READ(&store->wire, TensorProto, message, &proto) ? tensor_read(store, &proto) : NULL;
    if (!tensor)
        wire_error_in(&store->wire, "%s of a sparse tensor", part);
    if (name)
        *name = proto.name;
    return tensor;
}

/* The position of value `i` among the dense elements; -1: out of range. */
static int64_t position(const Sparse *sparse, const Tensor *dense, int64_t elements, int64_t i) {
    const char *at = sparse->indices->data;
    int64_t index;
    if (sparse->indices->rank == 1) {
        memcpy(&index, at + i * 8, 8);
        return index >= 0 && index < elements ? index : -1;
    }
    int64_t flat = 0;
    for (int d = 0; d < dense->rank; d++) {
        memcpy(&index, at + (i * dense->rank + d) * 8, 8);
        if (index < 0 || index >= dense->dims[d])
            return -1;
        flat = flat * dense->dims[d] + index;
    }
    return flat;
}

static bool check_parts(const Wire *wire, const Sparse *sparse, const Tensor *dense) {
    const Tensor *values = sparse->values, *indices = sparse->indices;
    if (values->rank != 1)
        return wire_fail(wire, WHET_ERROR_FORMAT, "a sparse tensor's values have rank %d, not 1", values->rank);
    if (dtype_bits((DType)values->type) < 8 || values->type == WHET_STRING)
        return wire_fail(wire, WHET_ERROR_UNSUPPORTED, "a sparse tensor of %s is not supported",
                         dtype_onnx_name((DType)values->type));
    bool linear = indices->rank == 1;
    bool by_axis = indices->rank == 2 && indices->dims[1] == dense->rank;
    if (indices->type != WHET_S64 || (!linear && !by_axis) || indices->dims[0] != values->dims[0])
        return wire_fail(wire, WHET_ERROR_FORMAT, "a sparse tensor's indices do not fit its values and dims");
    return true;
}

static bool scatter(const Wire *wire, const Sparse *sparse, Tensor *dense, int64_t elements) {
    size_t size = (size_t)dtype_bits((DType)dense->type) / 8;
    int64_t last = -1;
    for (int64_t i = 0; i < sparse->values->dims[0]; i++) {
        int64_t at = position(sparse, dense, elements, i);
        if (at < 0)
            return wire_fail(wire, WHET_ERROR_FORMAT, "index %" PRId64 " of a sparse tensor is out of range", i);
        if (at <= last)
            return wire_fail(wire, WHET_ERROR_FORMAT, "the indices of a sparse tensor do not ascend at %" PRId64, i);
        last = at;
        memcpy((char *)dense->data + (size_t)at * size, (const char *)sparse->values->data + (size_t)i * size, size);
    }
    return true;
}

static bool read_dense_shape(const Wire *wire, const Many *dims, Tensor *dense, int64_t *elements) {
    if (dims->count == 0 || dims->count > WHET_MAX_RANK)
        return wire_fail(wire, WHET_ERROR_UNSUPPORTED, "a sparse tensor of rank %zu, 1 to %d are supported", dims->count,
                         WHET_MAX_RANK);
    many_ints(dims, dense->dims);
    dense->rank = (int)dims->count;
    if (!checked_count(dense->dims, dense->rank, elements) || !dtype_bytes((DType)dense->type, *elements, &dense->bytes))
        return wire_fail(wire, WHET_ERROR_FORMAT, "a sparse tensor's dims are negative or too large");
    return true;
}

Tensor *tensor_read_sparse(Store *store, Str message, Str *name) {
    const Wire *wire = &store->wire;
    SparseTensorProto proto;
    Sparse sparse = {0};
    int64_t elements;
    if (!READ(wire, SparseTensorProto, message, &proto) || !(sparse.values = read_part(store, proto.values, "values", name)) ||
        !(sparse.indices = read_part(store, proto.indices, "indices", NULL)))
        return NULL;
    Tensor *dense = ARENA_NEW(store->arena, Tensor);
    if (!dense) {
        wire_error_memory(wire);
        return NULL;
    }
    dense->type = sparse.values->type;
    if (!read_dense_shape(wire, &proto.dims, dense, &elements) || !check_parts(wire, &sparse, dense))
        return NULL;
    if (dense->bytes > store->sparse_left) {
        wire_error(wire, WHET_ERROR_UNSUPPORTED, "sparse tensors expand to more than %d bytes", SPARSE_LIMIT);
        return NULL;
    }
    store->sparse_left -= dense->bytes;
    dense->data = arena_alloc(store->arena, dense->bytes, 1); /* zeroed */
    if (!dense->data) {
        wire_error_memory(wire);
        return NULL;
    }
    return scatter(wire, &sparse, dense, elements) ? dense : NULL;
}
