/* Values of a run: reference-counted tensors. A session is one-threaded, so plain counters do. */
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

static OpValue *new_header(Pool *pool, whet_error *err) {
    OpValue *value = memory_alloc(pool->allocator, sizeof *value);
    if (!value) {
        error_memory(err);
        return NULL;
    }
    *value = (OpValue){.references = 1, .pool = pool};
    return value;
}

static void set_shape(Tensor *tensor, int rank, const int64_t *dims) {
    tensor->rank = rank;
    if (rank) /* a scalar's dims may be NULL */
        memcpy(tensor->dims, dims, (size_t)rank * sizeof *dims);
}

OpValue *value_new(Pool *pool, DType type, int rank, const int64_t *dims, whet_error *err) {
    int64_t count;
    size_t bytes;
    if (rank < 0 || rank > WHET_MAX_RANK || !checked_count(dims, rank, &count) || !dtype_bytes(type, count, &bytes)) {
        error_set(err, WHET_ERROR_MEMORY, "a tensor of rank %d whose size overflows", rank);
        return NULL;
    }
    OpValue *value = new_header(pool, err);
    if (!value)
        return NULL;
    if (pool_take(pool, bytes, &value->block, err)) {
        memory_free(pool->allocator, value, sizeof *value);
        return NULL;
    }
    value->tensor = (Tensor){.type = (whet_type)type, .data = value->block.data, .bytes = bytes};
    set_shape(&value->tensor, rank, dims);
    if (type == DT_STRING) /* so that an operator that fails half-way leaves no wild pointers */
        memset(value->tensor.data, 0, bytes);
    return value;
}

OpValue *value_borrow(Pool *pool, const Tensor *tensor, whet_error *err) {
    OpValue *value = new_header(pool, err);
    if (value)
        value->tensor = *tensor;
    return value;
}

OpValue *value_view(OpValue *of, int rank, const int64_t *dims, whet_error *err) {
    OpValue *value = new_header(of->pool, err);
    if (!value)
        return NULL;
    value->tensor = of->tensor;
    set_shape(&value->tensor, rank, dims);
    value->viewed = value_keep(of);
    return value;
}

OpValue *value_keep(OpValue *value) {
    if (value)
        value->references++;
    return value;
}

void value_drop(OpValue *value) {
    while (value && --value->references == 0) {
        OpValue *viewed = value->viewed;
        if (value->block.data)
            pool_give(value->pool, value->block);
        memory_free(value->pool->allocator, value, sizeof *value);
        value = viewed;
    }
}
