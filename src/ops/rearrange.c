/* Operators that reorder or pick out elements by rule: DepthToSpace, SpaceToDepth, Trilu, ReverseSequence, Compress. */
#include "ops/native.h"

#include <stdio.h>
#include <string.h>

/* ---- DepthToSpace, SpaceToDepth ------------------------------------------------------------------------------------------ */

#define MOST_BLOCK 8 /* the kernel has a definition for each place in the block; larger blocks are copied in C */

static whet_status block_check(OpCall *call, int64_t *block) {
    const Type *x = call->in[0];
    *block = op_int(call, "blocksize");
    if (*block < 1 || *block > INT32_MAX)
        return op_error(call, WHET_ERROR_FORMAT, "blocksize is %lld", (long long)*block);
    if (!op_string_is(call, "mode", "DCR") && !op_string_is(call, "mode", "CRD"))
        return op_error(call, WHET_ERROR_FORMAT, "mode is neither DCR nor CRD");
    if (x->rank >= 0 && x->rank != 4)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; 4 is wanted", x->rank);
    return native_whole_bytes(call, x->type);
}

static whet_status divide(OpCall *call, int d, int64_t by, Dim *out) {
    Dim extent = call->in[0]->dims[d];
    if (dim_is_extent(extent) && extent % by)
        return op_error(call, WHET_ERROR_DATA, "dimension %d, %lld, is no multiple of %lld", d, (long long)extent, (long long)by);
    *out = dim_floordiv(call->symbols, extent, by);
    return WHET_OK;
}

static whet_status depth_to_space_shape(OpCall *call) {
    const Type *x = call->in[0];
    int64_t block;
    Dim channels;
    whet_status status = block_check(call, &block);
    if (status != WHET_OK || x->rank < 0)
        return status;
    status = divide(call, 1, block * block, &channels);
    op_set_shape(call, 0, 4,
                 (const Dim[]){x->dims[0], channels, dim_mul(call->symbols, x->dims[2], block),
                               dim_mul(call->symbols, x->dims[3], block)});
    return status;
}

static whet_status space_to_depth_shape(OpCall *call) {
    const Type *x = call->in[0];
    int64_t block;
    Dim rows, columns;
    whet_status status = block_check(call, &block);
    if (status != WHET_OK || x->rank < 0)
        return status;
    status = divide(call, 2, block, &rows);
    if (status == WHET_OK)
        status = divide(call, 3, block, &columns);
    if (status == WHET_OK)
        op_set_shape(call, 0, 4, (const Dim[]){x->dims[0], dim_mul(call->symbols, x->dims[1], block * block), rows, columns});
    return status;
}

/* For each place (i, j) in the block one definition that moves a plane of channels. */
static whet_status block_build(OpCall *call, Text *out, bool to_space) {
    const Type *deep = to_space ? call->in[0] : &call->out[0], *flat = to_space ? &call->out[0] : call->in[0];
    long long block = op_int(call, "blocksize"), channels = flat->dims[1];
    bool dcr = op_string_is(call, "mode", "DCR");
    if (!native_in_notation(deep->type) || native_empty(deep) || block > MOST_BLOCK)
        return WHET_OK;
    for (long long i = 0; i < block; i++)
        for (long long j = 0; j < block; j++) {
            char deep_at[96], flat_at[96];
            if (dcr)
                snprintf(deep_at, sizeof deep_at, "[n, c + %lld, h, w]", (i * block + j) * channels);
            else
                snprintf(deep_at, sizeof deep_at, "[n, %lld*c + %lld, h, w]", block * block, i * block + j);
            snprintf(flat_at, sizeof flat_at, "[n, c, %lld*h + %lld, %lld*w + %lld]", block, i, block, j);
            text_printf(out, "output%s = input%s\n", to_space ? flat_at : deep_at, to_space ? deep_at : flat_at);
        }
    return WHET_OK;
}

static whet_status depth_to_space_build(OpCall *call, Text *out) {
    return block_build(call, out, true);
}
static whet_status space_to_depth_build(OpCall *call, Text *out) {
    return block_build(call, out, false);
}

/* As a copy of six axes: batch, channel, row, row in block, column, column in block. */
static whet_status block_run(OpRun *run, bool to_space) {
    OpCall *call = run->call;
    const Type *deep = to_space ? call->in[0] : &call->out[0], *flat = to_space ? &call->out[0] : call->in[0];
    int64_t b = op_int(call, "blocksize"), channels = flat->dims[1], rows = deep->dims[2], columns = deep->dims[3];
    int64_t plane = rows * columns, dims[6] = {flat->dims[0], channels, rows, b, columns, b};
    int64_t wide = columns * b, flat_plane = rows * b * wide;
    bool dcr = op_string_is(call, "mode", "DCR");
    int64_t spread = dcr ? channels * plane : plane; /* between neighbours in a block, in the deep form */
    int64_t deep_strides[6] = {channels * b * b * plane, dcr ? plane : b * b * plane, columns, b * spread, 1, spread};
    int64_t flat_strides[6] = {channels * flat_plane, flat_plane, b * wide, wide, b, 1};
    void *to = native_output(run, 0);
    if (!to)
        return native_failed(run);
    native_copy(native_size(deep->type), 6, dims, to, to_space ? flat_strides : deep_strides, op_input(run, 0)->data,
                to_space ? deep_strides : flat_strides);
    return WHET_OK;
}

static whet_status depth_to_space_run(OpRun *run) {
    return block_run(run, true);
}
static whet_status space_to_depth_run(OpRun *run) {
    return block_run(run, false);
}

/* ---- Trilu --------------------------------------------------------------------------------------------------------------- */

static whet_status trilu_shape(OpCall *call) {
    if (call->in[0]->rank >= 0 && call->in[0]->rank < 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; at least 2 is wanted", call->in[0]->rank);
    return op_same_shape(call, 0, 0);
}

static whet_status trilu_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    const int64_t *given;
    int64_t k = 0, count;
    int rank = x->rank;
    if (op_has(call, 1) && op_content_ints(call, 1, &given, &count)) {
        if (count != 1)
            return op_error(call, WHET_ERROR_DATA, "k has %lld elements; 1 is wanted", (long long)count);
        k = given[0];
    }
    int64_t rows = x->dims[rank - 2], columns = x->dims[rank - 1];
    k = k < -rows ? -rows : k > columns ? columns : k;
    op_put_element(out, "output", rank);
    text_put(out, " = select(");
    text_printf(out, "i%d %s i%d %c %lld, input[", rank - 1, op_int(call, "upper") ? ">=" : "<=", rank - 2, k < 0 ? '-' : '+',
                (long long)(k < 0 ? -k : k));
    op_put_indices(out, "i", 0, rank);
    text_put(out, x->type == DT_BOOL ? "], false)" : "], 0)");
    return WHET_OK;
}

/* ---- ReverseSequence ----------------------------------------------------------------------------------------------------- */

static whet_status reverse_axes(OpCall *call, int64_t *time, int64_t *batch) {
    const Type *x = call->in[0];
    *time = op_int(call, "time_axis");
    *batch = op_int(call, "batch_axis");
    if (!(*time == 0 && *batch == 1) && !(*time == 1 && *batch == 0))
        return op_error(call, WHET_ERROR_FORMAT, "time_axis is %lld and batch_axis %lld; one is 0, the other 1 by the standard",
                        (long long)*time, (long long)*batch);
    if (x->rank >= 0 && x->rank < 2)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; at least 2 is wanted", x->rank);
    return WHET_OK;
}

static whet_status reverse_shape(OpCall *call) {
    const Type *x = call->in[0], *lens = call->in[1];
    int64_t time, batch;
    whet_status status = reverse_axes(call, &time, &batch);
    if (status != WHET_OK)
        return status;
    if (lens->rank >= 0 && lens->rank != 1)
        return op_error(call, WHET_ERROR_DATA, "sequence_lens has rank %d; 1 is wanted", lens->rank);
    if (lens->rank == 1 && x->rank >= 0 && dim_is_extent(lens->dims[0]) && dim_is_extent(x->dims[batch]) &&
        lens->dims[0] != x->dims[batch])
        return op_error(call, WHET_ERROR_DATA, "sequence_lens has %lld elements; %lld are wanted", (long long)lens->dims[0],
                        (long long)x->dims[batch]);
    return native_whole_bytes(call, x->type) == WHET_OK ? op_same_shape(call, 0, 0) : WHET_ERROR_UNSUPPORTED;
}

static whet_status reverse_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int64_t time, batch;
    whet_status status = reverse_axes(call, &time, &batch);
    if (status != WHET_OK || !native_in_notation(x->type) || native_empty(x))
        return status;
    op_put_element(out, "Y", x->rank);
    text_put(out, " = input[");
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "");
        if (d == time)
            text_printf(out, "select(i%d < sequence_lens[i%lld], sequence_lens[i%lld] - 1 - i%d, i%d)", d, (long long)batch,
                        (long long)batch, d, d);
        else
            text_printf(out, "i%d", d);
    }
    text_put(out, "]");
    return WHET_OK;
}

static whet_status reverse_run(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    int64_t time, batch, strides[WHET_MAX_RANK];
    whet_status status = reverse_axes(run->call, &time, &batch);
    const int64_t *lens = native_s64(run, 1);
    char *to = status == WHET_OK && lens ? native_output(run, 0) : NULL;
    if (!to)
        return native_failed(run);
    native_strides(x->rank, x->dims, strides);
    size_t bytes = (size_t)strides[1] * native_size((DType)x->type);
    for (int64_t b = 0; b < x->dims[batch]; b++) {
        if (lens[b] < 0 || lens[b] > x->dims[time])
            return native_error(run, WHET_ERROR_DATA, "sequence length %lld is outside [0, %lld]", (long long)lens[b],
                                (long long)x->dims[time]);
        for (int64_t t = 0; t < x->dims[time]; t++) {
            int64_t from = t < lens[b] ? lens[b] - 1 - t : t;
            size_t target = (size_t)(t * strides[time] + b * strides[batch]);
            size_t source = (size_t)(from * strides[time] + b * strides[batch]);
            memcpy(to + target * native_size((DType)x->type), (const char *)x->data + source * native_size((DType)x->type),
                   bytes);
        }
    }
    return WHET_OK;
}

/* ---- Compress ------------------------------------------------------------------------------------------------------------ */

static whet_status compress_shape(OpCall *call) {
    const Type *x = call->in[0];
    whet_status status = native_whole_bytes(call, x->type);
    if (status != WHET_OK)
        return status;
    if (call->in[1]->rank >= 0 && call->in[1]->rank != 1)
        return op_error(call, WHET_ERROR_DATA, "the condition has rank %d; 1 is wanted", call->in[1]->rank);
    if (!op_attr(call, "axis")) {
        op_set_shape(call, 0, 1, (const Dim[]){DIM_UNKNOWN});
    } else if (x->rank >= 0) {
        int axis = op_axis(call, op_int(call, "axis"), x->rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        op_set_shape(call, 0, x->rank, x->dims);
        call->out[0].dims[axis] = DIM_UNKNOWN;
    }
    return WHET_OK;
}

static whet_status compress_run(OpRun *run) {
    const Tensor *x = op_input(run, 0), *condition = op_input(run, 1);
    bool flat = !op_attr(run->call, "axis");
    int axis = flat ? 0 : op_axis(run->call, op_int(run->call, "axis"), x->rank);
    int64_t dims[WHET_MAX_RANK], outer = 1, inner = 1, kept = 0;
    int64_t extent = flat ? whet_tensor_count(x) : x->dims[axis], flags = condition->dims[0];
    const uint8_t *keep = condition->data;
    if (flags > extent)
        return native_error(run, WHET_ERROR_DATA, "the condition has %lld elements; at most %lld are wanted", (long long)flags,
                            (long long)extent);
    for (int64_t i = 0; i < flags; i++)
        kept += keep[i] != 0;
    for (int d = 0; !flat && d < x->rank; d++) {
        dims[d] = x->dims[d];
        outer *= d < axis ? x->dims[d] : 1;
        inner *= d > axis ? x->dims[d] : 1;
    }
    dims[axis] = kept;
    char *to = op_output(run, 0, (DType)x->type, flat ? 1 : x->rank, dims);
    if (!to)
        return native_failed(run);
    size_t line = (size_t)inner * native_size((DType)x->type);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < flags; i++)
            if (keep[i]) {
                memcpy(to, (const char *)x->data + (size_t)(o * extent + i) * line, line);
                to += line;
            }
    return WHET_OK;
}

#define BLOCK_ATTRS "blocksize:i! mode:s=DCR"

// clang-format off
const OpRow ops_rearrange[] = {
    {"", "Compress", 9, "input:T, condition:bool -> output:T", "T=all", "axis:i", compress_shape, .run = compress_run},
    {"", "DepthToSpace", 1, "input:T -> output:T", "T=all", BLOCK_ATTRS, depth_to_space_shape, .build = depth_to_space_build, .run = depth_to_space_run},
    {"", "ReverseSequence", 10, "input:T, sequence_lens:s64 -> Y:T", "T=all", "batch_axis:i=1 time_axis:i=0", reverse_shape, .build = reverse_build, .run = reverse_run},
    {"", "SpaceToDepth", 1, "input:T -> output:T", "T=all", BLOCK_ATTRS, space_to_depth_shape, .build = space_to_depth_build, .run = space_to_depth_run},
    {"", "Trilu", 14, "input:T, k?#:s64 -> output:T", "T=num|bool", "upper:i=1", trilu_shape, .build = trilu_build},
};
// clang-format on
const size_t ops_rearrange_count = COUNT(ops_rearrange);
