/* Operators that reorder or pick out elements by rule: DepthToSpace, SpaceToDepth, Trilu, ReverseSequence, Compress. */
#include "ops/native.h"

#include <stdio.h>
#include <string.h>

/* ---- DepthToSpace, SpaceToDepth ------------------------------------------------------------------------------------------ */

static whet_status block_check(OpCall *call, int64_t *block) {
    const Type *x = call->in[0];
    *block = op_int(call, "blocksize");
    if (*block < 1 || *block > INT32_MAX)
        return op_error(call, WHET_ERROR_FORMAT, "blocksize is %lld; wanted 1 or more, below 2^31", (long long)*block);
    if (x->rank >= 0 && x->rank != 4)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; 4 is wanted", x->rank);
    return native_whole_bytes(call, x->type);
}

static whet_status divide(OpCall *call, int d, int64_t by, Dim *out) {
    Dim extent = call->in[0]->dims[d];
    if (dim_is_extent(extent) && extent % by)
        return op_error(call, WHET_ERROR_DATA, "dimension %d is %lld; wanted a multiple of %lld", d, (long long)extent,
                        (long long)by);
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

/* An axis in an index; on the left side it says its extent. */
static void put_axis(Text *out, bool left, long long stride, char axis, long long extent) {
    if (stride != 1)
        text_printf(out, "%lld*", stride);
    text_char(out, axis);
    if (left)
        text_printf(out, ":%lld", extent);
}

/* Places in the deep form. Row i and column j within a block are axes of their own. */
static void put_deep(OpCall *call, Text *out, bool left, long long channels) {
    long long block = op_int(call, "blocksize");
    bool dcr = op_choice(call, "mode") == 0;
    text_put(out, "[n, ");
    put_axis(out, left, dcr ? block * channels : block, 'i', block);
    text_put(out, " + ");
    put_axis(out, left, dcr ? channels : 1, 'j', block);
    text_put(out, " + ");
    put_axis(out, left, dcr ? 1 : block * block, 'c', channels);
    text_put(out, ", h, w]");
}

static void put_flat(OpCall *call, Text *out, bool left) {
    long long block = op_int(call, "blocksize");
    text_printf(out, "[n, c, %lld*h + ", block);
    put_axis(out, left, 1, 'i', block);
    text_printf(out, ", %lld*w + ", block);
    put_axis(out, left, 1, 'j', block);
    text_put(out, "]");
}

static whet_status depth_to_space_build(OpCall *call, Text *out) {
    text_put(out, "output");
    put_flat(call, out, true);
    text_put(out, " = input");
    put_deep(call, out, false, call->out[0].dims[1]);
    return WHET_OK;
}

static whet_status space_to_depth_build(OpCall *call, Text *out) {
    text_put(out, "output");
    put_deep(call, out, true, call->in[0]->dims[1]);
    text_put(out, " = input");
    put_flat(call, out, false);
    return WHET_OK;
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
    if (status != WHET_OK)
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

#define BLOCK_ATTRS "blocksize:i! mode:s=DCR|CRD"

// clang-format off
const OpRow ops_rearrange[] = {
    {"", "Compress", 9, "input:T, condition:bool -> output:T", "T=all", "axis:i", compress_shape, .run = compress_run},
    {"", "DepthToSpace", 1, "input:T -> output:T", "T=all", BLOCK_ATTRS, depth_to_space_shape, .build = depth_to_space_build, .run = native_move, .moves = true},
    {"", "ReverseSequence", 10, "input:T, sequence_lens:s64 -> Y:T", "T=all", "batch_axis:i=1 time_axis:i=0", reverse_shape, .build = reverse_build, .run = native_move, .moves = true},
    {"", "SpaceToDepth", 1, "input:T -> output:T", "T=all", BLOCK_ATTRS, space_to_depth_shape, .build = space_to_depth_build, .run = native_move, .moves = true},
    {"", "Trilu", 14, "input:T, k?#:s64 -> output:T", "T=num|bool", "upper:i=1", trilu_shape, .build = trilu_build},
};
// clang-format on
const size_t ops_rearrange_count = COUNT(ops_rearrange);
