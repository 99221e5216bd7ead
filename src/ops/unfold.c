/* Operators that put windows back together: Col2Im and MaxUnpool. */
#include "ops/native.h"

#include <string.h>

/* ---- Col2Im -------------------------------------------------------------------------------------------------------------- */

typedef struct Column {
    int axes;
    int64_t image[WHET_MAX_RANK], block[WHET_MAX_RANK], blocks[WHET_MAX_RANK]; /* blocks: places of the window along an axis */
    int64_t stride[WHET_MAX_RANK], dilation[WHET_MAX_RANK], before[WHET_MAX_RANK];
    int64_t block_count, place_count;
} Column;

static whet_status column_list(OpCall *call, const char *name, int count, int64_t otherwise, int64_t least, int64_t *out) {
    int given;
    const int64_t *values = op_ints(call, name, &given);
    if (values && given != count)
        return op_error(call, WHET_ERROR_FORMAT, "%s has %d elements; %d are wanted", name, given, count);
    for (int i = 0; i < count; i++) {
        out[i] = values ? values[i] : otherwise;
        if (out[i] < least || out[i] > INT32_MAX)
            return op_error(call, WHET_ERROR_FORMAT, "%s[%d] is %lld", name, i, (long long)out[i]);
    }
    return WHET_OK;
}

/* *known false: the shapes are not known yet. */
static whet_status get_column(OpCall *call, Column *out, bool *known) {
    const int64_t *image, *block;
    int64_t images, blocks, pads[2 * WHET_MAX_RANK];
    *known = op_content_ints(call, 1, &image, &images) && op_content_ints(call, 2, &block, &blocks);
    if (!*known)
        return WHET_OK;
    if (images != blocks || images < 1 || images > WHET_MAX_RANK - 2)
        return op_error(call, WHET_ERROR_DATA, "image_shape has %lld and block_shape %lld elements; wanted as many",
                        (long long)images, (long long)blocks);
    int axes = out->axes = (int)images;
    whet_status status = column_list(call, "strides", axes, 1, 1, out->stride);
    if (status == WHET_OK)
        status = column_list(call, "dilations", axes, 1, 1, out->dilation);
    if (status == WHET_OK)
        status = column_list(call, "pads", 2 * axes, 0, 0, pads);
    out->block_count = out->place_count = 1;
    for (int d = 0; status == WHET_OK && d < axes; d++) {
        out->image[d] = image[d];
        out->block[d] = block[d];
        out->before[d] = pads[d];
        if (image[d] < 0 || image[d] > INT32_MAX || block[d] < 1 || block[d] > INT32_MAX)
            return op_error(call, WHET_ERROR_DATA, "dimension %d is %lld of the image and %lld of the block", d,
                            (long long)image[d], (long long)block[d]);
        int64_t room = image[d] + pads[d] + pads[axes + d] - out->dilation[d] * (block[d] - 1) - 1;
        out->blocks[d] = room < 0 ? 0 : room / out->stride[d] + 1;
        if (!checked_mul(out->block_count, block[d], &out->block_count) ||
            !checked_mul(out->place_count, out->blocks[d], &out->place_count))
            return op_error(call, WHET_ERROR_DATA, "the block or the image is too large");
    }
    return status;
}

static whet_status column_shape(OpCall *call) {
    const Type *x = call->in[0];
    Column column = {0};
    bool known;
    whet_status status = get_column(call, &column, &known);
    if (status != WHET_OK || !known || x->rank < 0)
        return status;
    if (x->rank != 3)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; 3 is wanted", x->rank);
    if (dim_is_extent(x->dims[1]) && x->dims[1] % column.block_count)
        return op_error(call, WHET_ERROR_DATA, "dimension 1 is %lld; wanted a multiple of the block's %lld elements",
                        (long long)x->dims[1], (long long)column.block_count);
    if (dim_is_extent(x->dims[2]) && x->dims[2] != column.place_count)
        return op_error(call, WHET_ERROR_DATA, "dimension 2 is %lld; %lld is wanted", (long long)x->dims[2],
                        (long long)column.place_count);
    Dim dims[WHET_MAX_RANK] = {x->dims[0], dim_floordiv(call->symbols, x->dims[1], column.block_count)};
    memcpy(dims + 2, column.image, (size_t)column.axes * sizeof *dims);
    op_set_shape(call, 0, column.axes + 2, dims);
    return WHET_OK;
}

/* Adds one row (an element of the block, at every place) into a plane. */
static void add_row(const Column *s, const float *row, int64_t element, float *plane) {
    int64_t within[WHET_MAX_RANK], at[WHET_MAX_RANK] = {0};
    for (int d = s->axes - 1; d >= 0; d--) {
        within[d] = element % s->block[d];
        element /= s->block[d];
    }
    for (int64_t p = 0; p < s->place_count; p++) {
        int64_t place = 0;
        bool inside = true;
        for (int d = 0; d < s->axes; d++) {
            int64_t i = at[d] * s->stride[d] + within[d] * s->dilation[d] - s->before[d];
            inside &= i >= 0 && i < s->image[d];
            place = place * s->image[d] + i;
        }
        if (inside)
            plane[place] += row[p];
        for (int d = s->axes - 1; d >= 0 && ++at[d] == s->blocks[d]; d--)
            at[d] = 0;
    }
}

static whet_status column_run(OpRun *run) {
    const Type *out = &run->call->out[0];
    Column column = {0};
    NativeArena arena;
    bool known;
    native_arena_enter(run, &arena);
    whet_status status = get_column(run->call, &column, &known);
    native_arena_leave(run, &arena);
    const float *x = status == WHET_OK ? native_f32(run, 0) : NULL;
    void *memory = x ? native_output(run, 0) : NULL;
    int64_t count = native_count(out->rank, out->dims), plane = native_count(column.axes, column.image);
    float *to = memory && out->type != DT_F32 ? op_scratch(run, (size_t)count * sizeof *to + 1) : memory;
    if (!to)
        return native_failed(run);
    memset(to, 0, (size_t)count * sizeof *to);
    int64_t planes = out->dims[0] * out->dims[1];
    for (int64_t i = 0; i < planes * column.block_count; i++) {
        add_row(&column, x + i * column.place_count, i % column.block_count, to + i / column.block_count * plane);
        if ((i & 255) == 255 && op_interrupted(run) != WHET_OK)
            return native_failed(run);
    }
    if ((void *)to != memory)
        native_from_f32(out->type, to, count, memory);
    return WHET_OK;
}

/* ---- MaxUnpool ----------------------------------------------------------------------------------------------------------- */

/* The shape that undoes the pooling: (x - 1) * stride - pads + kernel. */
static whet_status pooled_shape(OpCall *call, Dim *dims) {
    const Type *x = call->in[0];
    int axes = x->rank - 2;
    int64_t kernel[WHET_MAX_RANK], strides[WHET_MAX_RANK], pads[2 * WHET_MAX_RANK];
    whet_status status = column_list(call, "kernel_shape", axes, 1, 1, kernel);
    if (status == WHET_OK)
        status = column_list(call, "strides", axes, 1, 1, strides);
    if (status == WHET_OK)
        status = column_list(call, "pads", 2 * axes, 0, 0, pads);
    for (int d = 0; status == WHET_OK && d < axes; d++) {
        Dim wide = dim_mul(call->symbols, dim_sub(call->symbols, x->dims[2 + d], 1), strides[d]);
        int64_t add = kernel[d] - pads[d] - pads[axes + d], number;
        dims[2 + d] = dim_add(call->symbols, wide, dim_const(call->symbols, add));
        if (dim_is_extent(x->dims[2 + d]) && dim_number(call->symbols, dims[2 + d], &number) && number < 0)
            return op_error(call, WHET_ERROR_DATA, "dimension %d of the output would be %lld", 2 + d, (long long)number);
    }
    return status;
}

static whet_status unpool_shape(OpCall *call) {
    const Type *x = call->in[0], *indices = call->in[1];
    if (x->rank < 0)
        return WHET_OK;
    if (x->rank < 3)
        return op_error(call, WHET_ERROR_DATA, "the input has rank %d; at least 3 is wanted", x->rank);
    for (int d = 0; d < x->rank && indices->rank >= 0; d++)
        if (indices->rank != x->rank ||
            (dim_is_extent(x->dims[d]) && dim_is_extent(indices->dims[d]) && x->dims[d] != indices->dims[d]))
            return op_error(call, WHET_ERROR_DATA, "the indices have another shape than the input; wanted the same");
    Dim dims[WHET_MAX_RANK];
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    whet_status status = pooled_shape(call, dims);
    if (status != WHET_OK)
        return status;
    if (!op_has(call, 2)) {
        op_set_shape(call, 0, x->rank, dims);
        return WHET_OK;
    }
    status = native_shape_from_content(call, 0, 2);
    if (status == WHET_OK && call->out[0].rank >= 0 && call->out[0].rank != x->rank)
        status = op_error(call, WHET_ERROR_DATA, "output_shape has %d elements; %d are wanted", call->out[0].rank, x->rank);
    return status;
}

/* Indices count in the shape that undoes the pooling; a larger output shape holds it in its corner. */
static whet_status unpool_run(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    const Type *out = &run->call->out[0];
    const int64_t *indices = native_s64(run, 1);
    char *to = indices ? native_output(run, 0) : NULL;
    if (!to)
        return native_failed(run);
    Dim inner[WHET_MAX_RANK] = {x->dims[0], x->dims[1]};
    whet_status status = pooled_shape(run->call, inner);
    if (status != WHET_OK)
        return status;
    size_t size = native_size(out->type);
    int64_t total = native_count(x->rank, inner), strides[WHET_MAX_RANK];
    native_strides(out->rank, out->dims, strides);
    memset(to, 0, (size_t)native_count(out->rank, out->dims) * size);
    for (int64_t i = 0, count = whet_tensor_count(x); i < count; i++) {
        int64_t rest = indices[i], place = 0;
        bool inside = rest >= 0 && rest < total;
        for (int d = x->rank - 1; inside && d >= 0; d--) {
            int64_t at = rest % inner[d];
            rest /= inner[d];
            inside = at < out->dims[d];
            place += at * strides[d];
        }
        if (!inside)
            return native_error(run, WHET_ERROR_DATA, "index %lld is outside the output", (long long)indices[i]);
        memcpy(to + (size_t)place * size, (const char *)x->data + (size_t)i * size, size);
    }
    return WHET_OK;
}

// clang-format off
const OpRow ops_unfold[] = {
    {"", "Col2Im", 18, "input:T, image_shape#:s64, block_shape#:s64 -> output:T", "T=float", "dilations:I pads:I strides:I", column_shape, .run = column_run},
    {"", "MaxUnpool", 9, "X:T, I:s64, output_shape?#:s64 -> output:T", "T=float", "kernel_shape:I! pads:I strides:I", unpool_shape, .run = unpool_run},
};
// clang-format on
const size_t ops_unfold_count = COUNT(ops_unfold);
