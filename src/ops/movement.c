/* Operators that move elements without computing: Transpose, Concat, Split, Expand, Tile, Where and the like.
 *
 * Each is an affine map of indices, so most have a builder that writes it as notation, from where it fuses with its neighbours.
 * Element types that the notation lacks (strings, complex, 8-bit floats) are moved by the same text (move.c). Concat and Split
 * may have more operands than a kernel has tensors: these are copied in C, whatever their type.
 */
#include "ops/native.h"

#include <string.h>

/* Room for outputs, and what else a kernel may need. */
#define MOST_PARTS (KERNEL_MAX_TENSORS - 4)

/* ---- Transpose ----------------------------------------------------------------------------------------------------------- */

static whet_status get_perm(OpCall *call, int rank, int *perm) {
    int count;
    const int64_t *given = op_ints(call, "perm", &count);
    bool seen[WHET_MAX_RANK] = {false};
    if (given && count != rank)
        return op_error(call, WHET_ERROR_FORMAT, "perm has %d elements; wanted %d, as the rank", count, rank);
    for (int d = 0; d < rank; d++) {
        int64_t from = given ? given[d] : rank - 1 - d;
        int axis = given && from >= 0 && from < rank ? (int)from : given ? op_axis(call, from, rank) : (int)from;
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        if (seen[axis])
            return op_error(call, WHET_ERROR_FORMAT, "perm has %d twice; wanted each axis once", axis);
        seen[axis] = true;
        perm[d] = axis;
    }
    return WHET_OK;
}

static whet_status transpose_shape(OpCall *call) {
    const Type *x = call->in[0];
    int perm[WHET_MAX_RANK];
    whet_status status = native_whole_bytes(call, x->type);
    if (status == WHET_OK && x->rank >= 0)
        status = get_perm(call, x->rank, perm);
    if (status != WHET_OK || x->rank < 0)
        return status;
    call->out[0].rank = x->rank;
    for (int d = 0; d < x->rank; d++)
        call->out[0].dims[d] = x->dims[perm[d]];
    return WHET_OK;
}

static whet_status transpose_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int perm[WHET_MAX_RANK], place[WHET_MAX_RANK];
    whet_status status = get_perm(call, x->rank, perm);
    if (status != WHET_OK)
        return status;
    for (int d = 0; d < x->rank; d++)
        place[perm[d]] = d;
    op_put_element(out, "transposed", x->rank);
    text_put(out, " = data[");
    for (int d = 0; d < x->rank; d++)
        text_printf(out, "%si%d", d ? ", " : "", place[d]);
    text_put(out, "]");
    return WHET_OK;
}

/* ---- Concat -------------------------------------------------------------------------------------------------------------- */

/* The content of inputs of rank 1 (or 0 elements), one after another. */
static void concat_content(OpCall *call) {
    int64_t total = call->out[0].dims[0], at = 0, count;
    const Dim *values;
    if (call->out[0].rank != 1 || !dim_is_extent(total) || total > 1024)
        return;
    Dim *content = ARENA_ARRAY(call->arena, Dim, (size_t)total);
    for (int i = 0; content && i < call->in_count; i++) {
        int64_t extent = call->in[i]->dims[0];
        bool known = op_content(call, i, &values, &count);
        bool is_int = dtype_is_integer(call->in[i]->type);
        if (!is_int || !dim_is_extent(extent) || (known && count != extent))
            return;
        for (int64_t k = 0; k < extent; k++)
            content[at++] = known ? values[k] : DIM_UNKNOWN;
    }
    call->out[0].content = content;
    call->out[0].content_count = content ? total : 0;
}

static whet_status concat_shape(OpCall *call) {
    Type *out = &call->out[0];
    whet_status status = native_whole_bytes(call, call->in[0]->type);
    if (status != WHET_OK || !op_ranks_known(call))
        return status;
    int rank = call->in[0]->rank, axis = op_axis(call, op_int(call, "axis"), rank);
    if (axis < 0)
        return WHET_ERROR_FORMAT;
    Dim dims[WHET_MAX_RANK];
    memcpy(dims, call->in[0]->dims, sizeof dims);
    for (int i = 1; i < call->in_count; i++) {
        const Type *x = call->in[i];
        if (x->rank != rank)
            return op_error(call, WHET_ERROR_DATA, "input %d has rank %d; %d is wanted, as of input 0", i, x->rank, rank);
        for (int d = 0; d < rank; d++) {
            if (d == axis)
                dims[d] = dim_add(call->symbols, dims[d], x->dims[d]);
            else if (dim_is_extent(dims[d]) && dim_is_extent(x->dims[d]) && dims[d] != x->dims[d])
                return op_error(call, WHET_ERROR_DATA, "dimension %d of input %d is %lld; %lld is wanted, as of input 0", d, i,
                                (long long)x->dims[d], (long long)dims[d]);
            else if (!dim_is_extent(dims[d]))
                dims[d] = dims[d] == DIM_UNKNOWN || dim_is_extent(x->dims[d]) ? x->dims[d] : dims[d];
        }
    }
    out->rank = rank;
    memcpy(out->dims, dims, sizeof dims);
    concat_content(call);
    return WHET_OK;
}

/* One definition an input: y[i0, i1 + offset] = x[i0, i1]. */
static whet_status concat_build(OpCall *call, Text *out) {
    const Type *y = &call->out[0];
    int axis = op_axis(call, op_int(call, "axis"), y->rank);
    int64_t offset = 0;
    if (!kernel_computes(y->type) || native_empty(y) || call->in_count > MOST_PARTS)
        return WHET_OK;
    for (int i = 0; i < call->in_count; i++) {
        if (call->in[i]->dims[axis] == 0)
            continue;
        text_put(out, "concat_result[");
        for (int d = 0; d < y->rank; d++) {
            text_printf(out, "%si%d", d ? ", " : "", d);
            if (d == axis && offset)
                text_printf(out, " + %lld", (long long)offset);
        }
        text_printf(out, "] = inputs%d[", i);
        op_put_indices(out, "i", 0, y->rank);
        text_put(out, "]\n");
        offset += call->in[i]->dims[axis];
    }
    return WHET_OK;
}

static whet_status concat_run(OpRun *run) {
    const Type *y = &run->call->out[0];
    int axis = op_axis(run->call, op_int(run->call, "axis"), y->rank);
    int64_t to[WHET_MAX_RANK], from[WHET_MAX_RANK];
    char *data = native_output(run, 0);
    if (!data)
        return native_failed(run);
    native_strides(y->rank, y->dims, to);
    for (int i = 0; i < run->call->in_count; i++) {
        const Tensor *x = op_input(run, i);
        native_strides(x->rank, x->dims, from);
        native_copy(native_size(y->type), x->rank, x->dims, data, to, x->data, from);
        data += x->dims[axis] * to[axis] * (int64_t)native_size(y->type);
    }
    return WHET_OK;
}

/* ---- Split --------------------------------------------------------------------------------------------------------------- */

/* The sizes that are given, by attribute (until opset 12) or input; NULL: equal parts. *known false: an input not known yet. */
static const int64_t *split_sizes(OpCall *call, int64_t *count, bool *known) {
    const int64_t *sizes = NULL;
    *count = 0;
    *known = true;
    if (call->row->since < 13) {
        int given;
        sizes = op_ints(call, "split", &given);
        *count = given;
    } else if (op_has(call, 1)) {
        *known = op_content_ints(call, 1, &sizes, count);
    }
    return sizes;
}

static whet_status check_split(OpCall *call, const int64_t *sizes, int64_t count, Dim extent, int axis) {
    int64_t total = 0;
    if (count != call->out_count)
        return op_error(call, WHET_ERROR_DATA, "%lld sizes are given for %d outputs", (long long)count, call->out_count);
    for (int64_t i = 0; i < count; i++)
        if (sizes[i] < 0 || !checked_add(total, sizes[i], &total))
            return op_error(call, WHET_ERROR_DATA, "the size of part %lld is %lld", (long long)i, (long long)sizes[i]);
    if (dim_is_extent(extent) && total != extent)
        return op_error(call, WHET_ERROR_DATA, "the sizes add up to %lld; dimension %d is %lld", (long long)total, axis,
                        (long long)extent);
    return WHET_OK;
}

/* Equal parts, of which from opset 18 on the last may be smaller. */
static whet_status equal_parts(OpCall *call, Dim extent, int axis, Dim *sizes) {
    int parts = call->out_count;
    bool uneven = call->row->since >= 18;
    if (uneven && op_attr(call, "num_outputs") && op_int(call, "num_outputs") != parts)
        return op_error(call, WHET_ERROR_FORMAT, "num_outputs is %lld; the node has %d outputs",
                        (long long)op_int(call, "num_outputs"), parts);
    if (!uneven && dim_is_extent(extent) && extent % parts)
        return op_error(call, WHET_ERROR_DATA, "dimension %d, %lld, does not split into %d equal parts", axis, (long long)extent,
                        parts);
    Dim part = dim_is_extent(extent) ? extent / parts + (extent % parts != 0)
               : uneven              ? DIM_UNKNOWN
                                     : dim_floordiv(call->symbols, extent, parts);
    for (int i = 0; i < parts; i++) {
        sizes[i] = part;
        if (dim_is_extent(extent)) {
            int64_t before, left = checked_mul(part, i, &before) && before < extent ? extent - before : 0;
            sizes[i] = left < part ? left : part;
        }
    }
    return WHET_OK;
}

/* The size of each output on the axis. */
static whet_status split_parts(OpCall *call, int axis, Dim *sizes) {
    Dim extent = call->in[0]->dims[axis];
    int64_t count;
    bool known;
    const int64_t *given = split_sizes(call, &count, &known);
    if (known && !given)
        return equal_parts(call, extent, axis, sizes);
    whet_status status = known ? check_split(call, given, count, extent, axis) : WHET_OK;
    for (int i = 0; status == WHET_OK && i < call->out_count; i++)
        sizes[i] = known ? given[i] : DIM_UNKNOWN;
    return status;
}

static whet_status split_shape(OpCall *call) {
    const Type *x = call->in[0];
    whet_status status = native_whole_bytes(call, x->type);
    if (status != WHET_OK || x->rank < 0)
        return status;
    int axis = op_axis(call, op_int(call, "axis"), x->rank);
    Dim *sizes = ARENA_ARRAY(call->arena, Dim, (size_t)call->out_count);
    if (axis < 0 || !sizes)
        return axis < 0 ? WHET_ERROR_FORMAT : error_memory(call->err);
    status = split_parts(call, axis, sizes);
    for (int i = 0; status == WHET_OK && i < call->out_count; i++) {
        op_set_shape(call, i, x->rank, x->dims);
        call->out[i].dims[axis] = sizes[i];
    }
    return status;
}

static whet_status split_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    int axis = op_axis(call, op_int(call, "axis"), x->rank);
    int64_t offset = 0;
    if (!kernel_computes(x->type) || call->out_count > MOST_PARTS)
        return WHET_OK;
    for (int i = 0; i < call->out_count; i++)
        if (native_empty(&call->out[i]))
            return WHET_OK;
    for (int i = 0; i < call->out_count; i++) {
        if (op_wants(call, i)) {
            text_printf(out, "outputs%d[", i);
            op_put_indices(out, "i", 0, x->rank);
            text_put(out, "] = input[");
            for (int d = 0; d < x->rank; d++) {
                text_printf(out, "%si%d", d ? ", " : "", d);
                if (d == axis) /* with `+ 0` the axis does not take its extent from the input */
                    text_printf(out, " + %lld", (long long)offset);
            }
            text_put(out, "]\n");
        }
        offset += call->out[i].dims[axis];
    }
    return WHET_OK;
}

static whet_status split_run(OpRun *run) {
    const Tensor *x = op_input(run, 0);
    int axis = op_axis(run->call, op_int(run->call, "axis"), x->rank);
    int64_t from[WHET_MAX_RANK];
    const char *data = x->data;
    native_strides(x->rank, x->dims, from);
    for (int i = 0; i < run->call->out_count; i++) {
        const Type *y = &run->call->out[i];
        void *part = native_output(run, i);
        if (!part)
            return native_failed(run);
        native_copy_dense(native_size(y->type), y->rank, y->dims, part, data, from);
        data += y->dims[axis] * from[axis] * (int64_t)native_size(y->type);
    }
    return WHET_OK;
}

/* ---- Expand, Tile, Where ------------------------------------------------------------------------------------------------- */

static whet_status expand_shape(OpCall *call) {
    whet_status status = native_whole_bytes(call, call->in[0]->type);
    if (status == WHET_OK)
        status = native_shape_from_content(call, 0, 1);
    if (status != WHET_OK || call->out[0].rank < 0)
        return status;
    Type wanted = call->out[0];
    return op_broadcast(call, &call->out[0], call->in[0], &wanted);
}

static whet_status expand_build(OpCall *call, Text *out) {
    const Type *x = call->in[0], *y = &call->out[0];
    op_put_element(out, "output", y->rank);
    text_put(out, " = ");
    op_put_read(out, "input", x, "i", y->rank);
    return WHET_OK;
}

static whet_status tile_shape(OpCall *call) {
    const Type *x = call->in[0];
    const Dim *repeats;
    int64_t count, number;
    whet_status status = native_whole_bytes(call, x->type);
    if (status != WHET_OK || x->rank < 0)
        return status;
    bool known = op_content(call, 1, &repeats, &count);
    if (known && count != x->rank)
        return op_error(call, WHET_ERROR_DATA, "%lld repeats are given for rank %d", (long long)count, x->rank);
    call->out[0].rank = x->rank;
    for (int d = 0; d < x->rank; d++) {
        if (known && dim_number(call->symbols, repeats[d], &number) && number < 0)
            return op_error(call, WHET_ERROR_DATA, "repeat %d is %lld", d, (long long)number);
        call->out[0].dims[d] = known ? dim_mul(call->symbols, x->dims[d], repeats[d]) : DIM_UNKNOWN;
    }
    return WHET_OK;
}

/* What is repeated is written as runs, one behind the other: nothing is looked up. */
static bool tile_repeats(const Type *x, const Type *y, int axis) {
    return x->dims[axis] > 1 && x->dims[axis] != y->dims[axis];
}

static whet_status tile_build(OpCall *call, Text *out) {
    const Type *x = call->in[0], *y = &call->out[0];
    text_put(out, "output[");
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "");
        if (tile_repeats(x, y, d))
            text_printf(out, "%lld*r%d:%lld + i%d:%lld", (long long)x->dims[d], d, (long long)(y->dims[d] / x->dims[d]), d,
                        (long long)x->dims[d]);
        else
            text_printf(out, "i%d", d);
    }
    text_put(out, "] = input[");
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "");
        if (x->dims[d] == 1)
            text_put(out, "0");
        else
            text_printf(out, "i%d", d);
    }
    text_put(out, "]");
    return WHET_OK;
}

static whet_status where_shape(OpCall *call) {
    whet_status status = native_whole_bytes(call, call->in[1]->type);
    if (status == WHET_OK)
        status = shape_broadcast(call);
    const Tensor *condition = call->in[0]->constant;
    const Dim *x, *y;
    int64_t x_count, y_count, count = condition ? whet_tensor_count(condition) : 0;
    Type *out = &call->out[0];
    if (status != WHET_OK || !condition || out->rank < 0 || out->rank > 1 || !op_content(call, 1, &x, &x_count) ||
        !op_content(call, 2, &y, &y_count))
        return status;
    int64_t total = out->rank ? out->dims[0] : 1;
    if (!dim_is_extent(total) || total > 1024 || (x_count != 1 && x_count != total) || (y_count != 1 && y_count != total) ||
        (count != 1 && count != total))
        return status;
    Dim *content = ARENA_ARRAY(call->arena, Dim, (size_t)total);
    for (int64_t i = 0; content && i < total; i++) {
        bool first = ((const uint8_t *)condition->data)[count == 1 ? 0 : i] != 0;
        content[i] = first ? x[x_count == 1 ? 0 : i] : y[y_count == 1 ? 0 : i];
    }
    out->content = content;
    out->content_count = content ? total : 0;
    return status;
}

#define MOVE(name, since, signature, attrs, family)                                                                              \
    { "", name, since, signature, "T=all", attrs, family##_shape, .build = family##_build, .run = native_move, .moves = true }
#define PARTS(name, since, signature, attrs, family)                                                                             \
    { "", name, since, signature, "T=all", attrs, family##_shape, .build = family##_build, .run = family##_run }

// clang-format off
const OpRow ops_movement[] = {
    PARTS("Concat",   4,  "inputs...:T -> concat_result:T",             "axis:i!", concat),
    MOVE("Expand",    8,  "input:T, shape#:s64 -> output:T",            "", expand),
    PARTS("Split",    2,  "input:T -> outputs...:T",                    "axis:i=0 split:I", split),
    PARTS("Split",    13, "input:T, split?#:s64 -> outputs...:T",       "axis:i=0", split),
    PARTS("Split",    18, "input:T, split?#:s64 -> outputs...:T",       "axis:i=0 num_outputs:i", split),
    MOVE("Tile",      6,  "input:T, repeats#:s64 -> output:T",          "", tile),
    MOVE("Transpose", 1,  "data:T -> transposed:T",                     "perm:I", transpose),
    {"", "Where",     9,  "condition:bool, X:T, Y:T -> output:T", "T=all", "", where_shape, .text = "output[..] = select(condition[..], X[..], Y[..])", .run = native_move, .moves = true},
};
// clang-format on
const size_t ops_movement_count = COUNT(ops_movement);
