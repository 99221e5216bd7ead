/* Operators that give the same memory another shape: Reshape, Flatten, Squeeze, Unsqueeze, Identity.
 *
 * Nothing is computed, so all that counts is the shape rule. The rules also pass integer content on, for shape arithmetic.
 */
#include "ops/native.h"

#include <string.h>

/* The elements of a view are those of its input, in order. */
static void pass_content(OpCall *call) {
    Type *out = &call->out[0];
    const Dim *values;
    int64_t count;
    if (out->rank < 0 || out->rank > 1 || !op_content(call, 0, &values, &count))
        return;
    out->content = values;
    out->content_count = count;
}

static whet_status identity_shape(OpCall *call) {
    whet_status status = op_same_shape(call, 0, 0);
    pass_content(call);
    return status;
}

/* ---- Reshape ------------------------------------------------------------------------------------------------------------- */

/* The dimension that -1 stands for: what is left of the input's elements. Equal dims on both sides cancel, so that symbols do. */
static Dim inferred_dim(OpCall *call, const Type *x, const Type *out, int hole) {
    bool used[WHET_MAX_RANK] = {false};
    Dim above = 1, below = 1;
    for (int i = 0; i < out->rank; i++) {
        if (i == hole)
            continue;
        int match = -1;
        for (int j = 0; j < x->rank && match < 0; j++)
            if (!used[j] && x->dims[j] == out->dims[i] && out->dims[i] != DIM_UNKNOWN)
                match = j;
        if (match >= 0)
            used[match] = true;
        else
            below = dim_mul(call->symbols, below, out->dims[i]);
    }
    for (int j = 0; j < x->rank; j++)
        if (!used[j])
            above = dim_mul(call->symbols, above, x->dims[j]);
    if (below == 0 || above == DIM_UNKNOWN || below == DIM_UNKNOWN)
        return DIM_UNKNOWN;
    return below == 1 ? above : dim_floordiv(call->symbols, above, below);
}

/* With all extents known, both sides must have the same number of elements. */
static whet_status check_counts(OpCall *call, const Type *x, const Type *out) {
    int64_t wanted, seen;
    for (int d = 0; d < x->rank; d++)
        if (!dim_is_extent(x->dims[d]))
            return WHET_OK;
    for (int d = 0; d < out->rank; d++)
        if (!dim_is_extent(out->dims[d]))
            return WHET_OK;
    if (!checked_count(x->dims, x->rank, &seen) || !checked_count(out->dims, out->rank, &wanted) || seen != wanted) {
        Text text;
        text_init(&text);
        for (int d = 0; d < out->rank; d++)
            text_printf(&text, "%s%lld", d ? ", " : "", (long long)out->dims[d]);
        text_put(&text, "] from [");
        for (int d = 0; d < x->rank; d++)
            text_printf(&text, "%s%lld", d ? ", " : "", (long long)x->dims[d]);
        op_error(call, WHET_ERROR_DATA, "the shape [%s] was asked for; wanted one of as many elements as the input has",
                 text.data);
        text_free(&text);
        return WHET_ERROR_DATA;
    }
    return WHET_OK;
}

/* One element of the shape operand; *hole becomes its place where it is -1. */
static whet_status reshape_dim(OpCall *call, Dim value, int d, int *hole) {
    const Type *x = call->in[0];
    Type *out = &call->out[0];
    int64_t number;
    out->dims[d] = value;
    if (value == DIM_UNKNOWN || !dim_number(call->symbols, value, &number))
        return WHET_OK;
    if (number == 0 && !op_int(call, "allowzero")) {
        if (x->rank >= 0 && d >= x->rank)
            return op_error(call, WHET_ERROR_DATA, "dimension %d of the shape is 0 (keep), but the input has rank %d", d,
                            x->rank);
        out->dims[d] = x->rank < 0 ? DIM_UNKNOWN : x->dims[d];
    } else if (number == -1) {
        if (*hole >= 0)
            return op_error(call, WHET_ERROR_DATA, "dimensions %d and %d of the shape are both -1; wanted one at most", *hole, d);
        *hole = d;
        out->dims[d] = DIM_UNKNOWN;
    } else if (number < 0) {
        return op_error(call, WHET_ERROR_DATA, "dimension %d of the shape is %lld; wanted -1 or more", d, (long long)number);
    }
    return WHET_OK;
}

static whet_status reshape_shape(OpCall *call) {
    const Type *x = call->in[0], *shape = call->in[1];
    Type *out = &call->out[0];
    const Dim *values;
    int64_t count;
    int hole = -1;
    if (shape->rank >= 0 && shape->rank != 1)
        return op_error(call, WHET_ERROR_DATA, "the shape has rank %d; 1 is wanted", shape->rank);
    if (!op_content(call, 1, &values, &count))
        return native_shape_from_content(call, 0, 1);
    if (count > WHET_MAX_RANK)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "the shape has %lld dimensions; %d is the most", (long long)count,
                        WHET_MAX_RANK);
    out->rank = (int)count;
    for (int d = 0; d < out->rank; d++) {
        whet_status status = reshape_dim(call, values[d], d, &hole);
        if (status != WHET_OK)
            return status;
    }
    if (x->rank < 0)
        return WHET_OK;
    if (hole >= 0)
        out->dims[hole] = inferred_dim(call, x, out, hole);
    pass_content(call);
    return check_counts(call, x, out);
}

/* ---- Flatten ------------------------------------------------------------------------------------------------------------- */

static whet_status flatten_shape(OpCall *call) {
    const Type *x = call->in[0];
    Dim dims[2] = {DIM_UNKNOWN, DIM_UNKNOWN};
    if (x->rank >= 0) {
        int64_t axis = op_int(call, "axis");
        if (axis < -x->rank || axis > x->rank)
            return op_error(call, WHET_ERROR_FORMAT, "axis %lld is outside [%d, %d]", (long long)axis, -x->rank, x->rank);
        axis = axis < 0 ? axis + x->rank : axis;
        dims[0] = dims[1] = 1;
        for (int d = 0; d < x->rank; d++)
            dims[d >= axis] = dim_mul(call->symbols, dims[d >= axis], x->dims[d]);
    }
    op_set_shape(call, 0, 2, dims);
    return WHET_OK;
}

/* ---- Squeeze, Unsqueeze -------------------------------------------------------------------------------------------------- */

/* The axes, from the attribute (until opset 12) or the input; false: not known yet. *axes is NULL where they are not given. */
static bool axes_of(OpCall *call, const int64_t **axes, int64_t *count) {
    *axes = NULL;
    *count = 0;
    if (call->row->since < 13) {
        int given;
        *axes = op_ints(call, "axes", &given);
        *count = given;
        return true;
    }
    return !op_has(call, 1) || op_content_ints(call, 1, axes, count);
}

/* Marks the axes in a set of `rank`; refuses what is outside or given twice. */
static whet_status mark_axes(OpCall *call, const int64_t *axes, int64_t count, int rank, bool *marked) {
    for (int64_t i = 0; i < count; i++) {
        int axis = op_axis(call, axes[i], rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        if (marked[axis])
            return op_error(call, WHET_ERROR_FORMAT, "axis %d is given twice", axis);
        marked[axis] = true;
    }
    return WHET_OK;
}

static whet_status squeeze_shape(OpCall *call) {
    const Type *x = call->in[0];
    const int64_t *axes;
    int64_t count;
    bool drop[WHET_MAX_RANK] = {false};
    if (!axes_of(call, &axes, &count) || x->rank < 0)
        return WHET_OK;
    if (!axes)
        for (int d = 0; d < x->rank; d++) {
            if (!dim_is_extent(x->dims[d]))
                return WHET_OK;
            drop[d] = x->dims[d] == 1;
        }
    whet_status status = mark_axes(call, axes, count, x->rank, drop);
    if (status != WHET_OK)
        return status;
    Type *out = &call->out[0];
    out->rank = 0;
    for (int d = 0; d < x->rank; d++) {
        if (drop[d] && dim_is_extent(x->dims[d]) && x->dims[d] != 1) {
            out->rank = -1;
            return op_error(call, WHET_ERROR_DATA, "axis %d to be squeezed has extent %lld; 1 is wanted", d,
                            (long long)x->dims[d]);
        }
        if (!drop[d])
            out->dims[out->rank++] = x->dims[d];
    }
    pass_content(call);
    return WHET_OK;
}

static whet_status unsqueeze_shape(OpCall *call) {
    const Type *x = call->in[0];
    const int64_t *axes;
    int64_t count;
    bool added[WHET_MAX_RANK] = {false};
    if (!axes_of(call, &axes, &count) || x->rank < 0)
        return WHET_OK;
    if (count > WHET_MAX_RANK - x->rank)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "%lld axes added to rank %d; rank %d is the most", (long long)count,
                        x->rank, WHET_MAX_RANK);
    int rank = x->rank + (int)count, from = 0;
    whet_status status = mark_axes(call, axes, count, rank, added);
    if (status != WHET_OK)
        return status;
    Type *out = &call->out[0];
    out->rank = rank;
    for (int d = 0; d < rank; d++)
        out->dims[d] = added[d] ? 1 : x->dims[from++];
    pass_content(call);
    return WHET_OK;
}

#define VIEW(name, since, signature, attrs, shape)                                                                               \
    { "", name, since, signature, "T=all", attrs, shape, .view = true }

// clang-format off
const OpRow ops_view[] = {
    VIEW("Flatten",   1,  "input:T -> output:T",                  "axis:i=1",      flatten_shape),
    VIEW("Identity",  1,  "input:T -> output:T",                  "",              identity_shape),
    VIEW("Reshape",   5,  "data:T, shape#:s64 -> reshaped:T",     "allowzero:i=0", reshape_shape),
    VIEW("Squeeze",   1,  "data:T -> squeezed:T",                 "axes:I",        squeeze_shape),
    VIEW("Squeeze",   13, "data:T, axes?#:s64 -> squeezed:T",     "",              squeeze_shape),
    VIEW("Unsqueeze", 1,  "data:T -> expanded:T",                 "axes:I!",       unsqueeze_shape),
    VIEW("Unsqueeze", 13, "data:T, axes#:s64 -> expanded:T",      "",              unsqueeze_shape),
};
// clang-format on
const size_t ops_view_count = COUNT(ops_view);
