/* Operators that read at indices which are data: Gather, GatherElements, GatherND, OneHot, TensorScatter.
 *
 * The gathers are notation: a read whose index is itself a read, checked against the extent when it runs. Negative indices count
 * from the end, as a select in the index.
 */
#include "ops/native.h"

#include <string.h>

static whet_status index_axis(OpCall *call, int *axis) {
    *axis = op_axis(call, op_int(call, "axis"), call->in[0]->rank);
    return *axis < 0 ? WHET_ERROR_FORMAT : native_whole_bytes(call, call->in[0]->type);
}

/* "select(idx[i] < 0, idx[i] + n, idx[i])", where `read` is the read. */
static void put_wrapped(Text *out, const char *read, int64_t extent) {
    text_printf(out, "select(%s < 0, %s + %lld, %s)", read, read, (long long)extent, read);
}

/* ---- Gather -------------------------------------------------------------------------------------------------------------- */

static void gather_content(OpCall *call) {
    Type *out = &call->out[0];
    const Dim *values;
    const int64_t *indices;
    int64_t count, wanted;
    if (call->in[0]->rank != 1 || out->rank > 1 || !op_content(call, 0, &values, &count) ||
        !op_content_ints(call, 1, &indices, &wanted) || wanted > 1024)
        return;
    Dim *content = ARENA_ARRAY(call->arena, Dim, (size_t)wanted);
    for (int64_t i = 0; content && i < wanted; i++) {
        int64_t index = indices[i] < 0 ? indices[i] + count : indices[i];
        if (index < 0 || index >= count)
            return; /* an error when it runs */
        content[i] = values[index];
    }
    out->content = content;
    out->content_count = content ? wanted : 0;
}

static whet_status gather_shape(OpCall *call) {
    const Type *x = call->in[0], *indices = call->in[1];
    Type *out = &call->out[0];
    int axis;
    if (!op_ranks_known(call))
        return WHET_OK;
    whet_status status = index_axis(call, &axis);
    if (status != WHET_OK)
        return status;
    if (x->rank - 1 + indices->rank > WHET_MAX_RANK)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "the result has rank %d; %d is the most", x->rank - 1 + indices->rank,
                        WHET_MAX_RANK);
    out->rank = 0;
    for (int d = 0; d < axis; d++)
        out->dims[out->rank++] = x->dims[d];
    for (int d = 0; d < indices->rank; d++)
        out->dims[out->rank++] = indices->dims[d];
    for (int d = axis + 1; d < x->rank; d++)
        out->dims[out->rank++] = x->dims[d];
    gather_content(call);
    return WHET_OK;
}

static whet_status gather_build(OpCall *call, Text *out) {
    const Type *x = call->in[0], *indices = call->in[1], *y = &call->out[0];
    int axis;
    whet_status status = index_axis(call, &axis);
    if (status != WHET_OK)
        return status;
    Text read;
    text_init(&read);
    text_put(&read, "indices[");
    op_put_indices(&read, "i", axis, axis + indices->rank);
    text_put(&read, "]");
    op_put_element(out, "output", y->rank);
    text_put(out, " = data[");
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "");
        if (d == axis)
            put_wrapped(out, read.data, x->dims[axis]);
        else
            text_printf(out, "i%d", d < axis ? d : d - 1 + indices->rank);
    }
    text_put(out, "]");
    text_free(&read);
    return WHET_OK;
}

/* ---- GatherElements ------------------------------------------------------------------------------------------------------ */

static whet_status gather_elements_shape(OpCall *call) {
    const Type *x = call->in[0], *indices = call->in[1];
    int axis;
    if (!op_ranks_known(call))
        return WHET_OK;
    whet_status status = index_axis(call, &axis);
    if (status != WHET_OK)
        return status;
    if (x->rank != indices->rank)
        return op_error(call, WHET_ERROR_DATA, "the indices have rank %d; %d is wanted, as of the data", indices->rank, x->rank);
    for (int d = 0; d < x->rank; d++)
        if (d != axis && dim_is_extent(x->dims[d]) && dim_is_extent(indices->dims[d]) && indices->dims[d] > x->dims[d])
            return op_error(call, WHET_ERROR_DATA, "dimension %d of the indices is %lld; at most %lld is wanted", d,
                            (long long)indices->dims[d], (long long)x->dims[d]);
    return op_same_shape(call, 0, 1);
}

static whet_status gather_elements_build(OpCall *call, Text *out) {
    const Type *x = call->in[0], *y = &call->out[0];
    int axis;
    whet_status status = index_axis(call, &axis);
    if (status != WHET_OK)
        return status;
    Text read;
    text_init(&read);
    op_put_element(&read, "indices", y->rank);
    op_put_element(out, "output", y->rank);
    text_put(out, " = data[");
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "");
        if (d == axis)
            put_wrapped(out, read.data, x->dims[axis]);
        else /* with `+ 0` the axis does not take its extent from the data */
            text_printf(out, x->dims[d] == y->dims[d] ? "i%d" : "i%d + 0", d);
    }
    text_put(out, "]");
    text_free(&read);
    return WHET_OK;
}

/* ---- GatherND ------------------------------------------------------------------------------------------------------------ */

static whet_status gather_nd_shape(OpCall *call) {
    const Type *x = call->in[0], *indices = call->in[1];
    Type *out = &call->out[0];
    whet_status status = native_whole_bytes(call, x->type);
    if (status != WHET_OK || !op_ranks_known(call))
        return status;
    int64_t batch = op_int(call, "batch_dims");
    Dim depth = indices->rank ? indices->dims[indices->rank - 1] : 0;
    if (x->rank < 1 || indices->rank < 1 || batch < 0 || batch >= indices->rank || batch >= x->rank)
        return op_error(call, WHET_ERROR_DATA,
                        "batch_dims is %lld; wanted 0 or more, below the ranks of data, %d, and indices, %d", (long long)batch,
                        x->rank, indices->rank);
    if (!dim_is_extent(depth))
        return WHET_OK;
    if (depth < 1 || depth > x->rank - batch)
        return op_error(call, WHET_ERROR_DATA, "indices have %lld elements; wanted 1 to %d by the rank of the data",
                        (long long)depth, (int)(x->rank - batch));
    int rank = indices->rank - 1 + x->rank - (int)batch - (int)depth;
    if (rank > WHET_MAX_RANK)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "the result has rank %d; %d is the most", rank, WHET_MAX_RANK);
    for (int d = 0; d < batch; d++)
        if (dim_is_extent(x->dims[d]) && dim_is_extent(indices->dims[d]) && x->dims[d] != indices->dims[d])
            return op_error(call, WHET_ERROR_DATA,
                            "batch dimension %d is %lld in the data and %lld in the indices; wanted the same", d,
                            (long long)x->dims[d], (long long)indices->dims[d]);
    out->rank = 0;
    for (int d = 0; d < indices->rank - 1; d++)
        out->dims[out->rank++] = indices->dims[d];
    for (int d = (int)batch + (int)depth; d < x->rank; d++)
        out->dims[out->rank++] = x->dims[d];
    return WHET_OK;
}

static whet_status gather_nd_build(OpCall *call, Text *out) {
    const Type *x = call->in[0], *indices = call->in[1], *y = &call->out[0];
    int outer = indices->rank - 1, batch = (int)op_int(call, "batch_dims"), depth = (int)indices->dims[outer];
    op_put_element(out, "output", y->rank);
    text_put(out, " = data[");
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "");
        if (d < batch || d >= batch + depth) {
            text_printf(out, "i%d", d < batch ? d : outer + d - batch - depth);
            continue;
        }
        Text read;
        text_init(&read);
        text_put(&read, "indices[");
        op_put_indices(&read, "i", 0, outer);
        text_printf(&read, "%s%d]", outer ? ", " : "", d - batch);
        put_wrapped(out, read.data, x->dims[d]);
        text_free(&read);
    }
    text_put(out, "]");
    return WHET_OK;
}

/* ---- OneHot -------------------------------------------------------------------------------------------------------------- */

static whet_status one_hot_axis(OpCall *call, int *axis) {
    int rank = call->in[0]->rank + 1;
    if (rank > WHET_MAX_RANK)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "the result has rank %d; %d is the most", rank, WHET_MAX_RANK);
    *axis = op_axis(call, op_int(call, "axis"), rank);
    return *axis < 0 ? WHET_ERROR_FORMAT : WHET_OK;
}

static whet_status one_hot_shape(OpCall *call) {
    const Type *x = call->in[0];
    const Tensor *depth = call->in[1]->constant;
    int axis;
    whet_status status = native_whole_bytes(call, call->in[2]->type);
    if (status != WHET_OK || x->rank < 0)
        return status;
    status = one_hot_axis(call, &axis);
    if (status != WHET_OK)
        return status;
    Dim extent = DIM_UNKNOWN;
    if (depth) {
        if (whet_tensor_count(depth) != 1 || !(whet_tensor_get(depth, 0) >= 0))
            return op_error(call, WHET_ERROR_DATA, "depth has %lld elements, the first %g; wanted one number, 0 or more",
                            (long long)whet_tensor_count(depth), whet_tensor_count(depth) ? whet_tensor_get(depth, 0) : 0);
        extent = native_int_at(depth, 0);
    }
    if (call->in[2]->rank >= 0 && (call->in[2]->rank != 1 || (dim_is_extent(call->in[2]->dims[0]) && call->in[2]->dims[0] != 2)))
        return op_error(call, WHET_ERROR_DATA, "values have a wrong shape; wanted two elements");
    call->out[0].rank = x->rank + 1;
    for (int d = 0; d <= x->rank; d++)
        call->out[0].dims[d] = d < axis ? x->dims[d] : d == axis ? extent : x->dims[d - 1];
    return WHET_OK;
}

static whet_status one_hot_run(OpRun *run) {
    const Tensor *x = op_input(run, 0), *values = op_input(run, 2);
    const Type *y = &run->call->out[0];
    size_t size = native_size(y->type);
    int axis;
    whet_status status = one_hot_axis(run->call, &axis);
    const int64_t *indices = status == WHET_OK ? native_s64(run, 0) : NULL;
    char *to = indices ? native_output(run, 0) : NULL;
    if (!to)
        return native_failed(run);
    int64_t depth = y->dims[axis], inner = native_count(x->rank - axis, x->dims + axis), count = whet_tensor_count(x);
    native_fill(to, values->data, size, native_count(y->rank, y->dims));
    for (int64_t i = 0; i < count; i++) {
        int64_t index = indices[i] < 0 ? indices[i] + depth : indices[i];
        if (index >= 0 && index < depth)
            memcpy(to + (size_t)((i / inner * depth + index) * inner + i % inner) * size, (const char *)values->data + size,
                   size);
    }
    return WHET_OK;
}

#define GATHER(name, since, signature, types, attrs, family)                                                                     \
    { "", name, since, signature, types, attrs, family##_shape, .build = family##_build, .run = native_move, .moves = true }

// clang-format off
const OpRow ops_index[] = {
    GATHER("Gather",         1,  "data:T, indices:I -> output:T", "T=all I=s32|s64", "axis:i=0", gather),
    GATHER("GatherElements", 11, "data:T, indices:I -> output:T", "T=all I=s32|s64", "axis:i=0", gather_elements),
    GATHER("GatherND",       11, "data:T, indices:s64 -> output:T", "T=all", "batch_dims:i=0", gather_nd),
    {"", "OneHot", 9, "indices:I, depth#:D, values:T -> output:T", "I=num D=num T=all", "axis:i=-1", one_hot_shape, .run = one_hot_run},
};
// clang-format on
const size_t ops_index_count = COUNT(ops_index);
