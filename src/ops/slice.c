/* Slice, in the form with attributes (until opset 9) and the one with inputs.
 *
 * Every axis becomes offset + step * i. Clamping of starts and ends follows NumPy; with symbolic extents the shape rule answers
 * where it can be exact and leaves the rest unknown until run.
 */
#include <assert.h>

#include "ops/native.h"

typedef struct Part {
    Dim start, end, step; /* as the node gives them; numbers but perhaps symbolic */
    bool given;
} Part;

typedef struct Range {
    int64_t start, step, count;
} Range;

/* Python's slice of `extent` elements. */
static Range clamp_range(int64_t extent, int64_t start, int64_t end, int64_t step) {
    assert(step != 0);
    Range range = {0, step < -INT64_MAX ? -INT64_MAX : step, 0};
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? extent : extent - 1;
    start = start < 0 ? start + extent : start;
    end = end < 0 ? end + extent : end;
    start = start < 0 && step < 0 && extent > 0 ? -1 : start < 0 ? 0 : start > high ? high : start;
    end = end < low ? low : end > high ? high : end;
    int64_t span = step > 0 ? end - start : start - end, stride = range.step > 0 ? range.step : -range.step;
    range.start = start;
    range.count = span > 0 ? (span - 1) / stride + 1 : 0;
    return range;
}

#define FAR INT32_MAX /* exporters write this, or more, for "to the end" */

/* The extent of a slice by 1 from a known start, of a symbolic extent. */
static Dim symbolic_by_one(Symbols *s, Dim extent, int64_t start, Dim end) {
    int64_t e;
    bool number = dim_number(s, end, &e);
    if (!number && end != extent && !dim_symbol_name(s, end))
        return DIM_UNKNOWN;
    bool whole = end == extent || (number && e >= FAR);
    if (whole && start >= 0)
        return start == 0 ? extent : dim_max(s, 0, dim_sub(s, extent, start));
    if (whole)
        return start < -FAR ? extent : dim_min(s, extent, -start);
    Dim stop = number && e < 0 ? dim_max(s, 0, dim_add(s, extent, end)) : dim_min(s, end, extent);
    if (start == 0)
        return stop;
    Dim first = start > 0 ? dim_min(s, start, extent) : dim_max(s, 0, dim_add(s, extent, dim_const(s, start)));
    return dim_max(s, 0, dim_sub(s, stop, first));
}

static Dim sliced_dim(Symbols *s, Dim extent, const Part *part) {
    int64_t start, end, step;
    if (extent == DIM_UNKNOWN || part->start == DIM_UNKNOWN || part->end == DIM_UNKNOWN || part->step == DIM_UNKNOWN)
        return DIM_UNKNOWN;
    if (!dim_number(s, part->start, &start) || !dim_number(s, part->step, &step))
        return DIM_UNKNOWN;
    bool number = dim_number(s, part->end, &end);
    if (dim_is_extent(extent) && number)
        return clamp_range(extent, start, end, step).count;
    if (step == 1)
        return symbolic_by_one(s, extent, start, part->end);
    if (step == -1 && start == -1 && number && end <= -FAR)
        return extent;
    if (step > 1 && start == 0 && number && end >= FAR)
        return dim_floordiv(s, dim_add(s, extent, step - 1), step);
    return DIM_UNKNOWN;
}

/* Starts, ends, axes and steps from attributes or inputs 1 .. 4; *count -1: not known. */
typedef struct Lists {
    const Dim *starts, *ends, *steps;
    const int64_t *axes;
    int64_t count;
} Lists;

static whet_status attribute_lists(OpCall *call, Lists *out) {
    int starts, ends, axes;
    const int64_t *first = op_ints(call, "starts", &starts), *last = op_ints(call, "ends", &ends);
    out->axes = op_ints(call, "axes", &axes);
    if (starts != ends || (out->axes && axes != starts))
        return op_error(call, WHET_ERROR_FORMAT, "starts, ends and axes have %d, %d and %d elements; wanted as many", starts,
                        ends, axes);
    Dim *copy = ARENA_ARRAY(call->arena, Dim, (size_t)starts * 2);
    if (!copy)
        return error_memory(call->err);
    for (int i = 0; i < starts; i++) {
        copy[i] = dim_const(call->symbols, first[i]);
        copy[starts + i] = dim_const(call->symbols, last[i]);
    }
    out->starts = copy;
    out->ends = copy + starts;
    out->count = starts;
    return WHET_OK;
}

static whet_status input_lists(OpCall *call, Lists *out) {
    int64_t starts, ends, axes, steps;
    out->count = -1;
    if (!op_content(call, 1, &out->starts, &starts))
        return WHET_OK;
    if (!op_content(call, 2, &out->ends, &ends))
        ends = starts, out->ends = NULL;
    if (op_has(call, 3) && !op_content_ints(call, 3, &out->axes, &axes))
        return WHET_OK;
    if (op_has(call, 4) && !op_content(call, 4, &out->steps, &steps))
        return WHET_OK;
    if (starts != ends || (out->axes && axes != starts) || (out->steps && steps != starts))
        return op_error(call, WHET_ERROR_DATA,
                        "starts, ends, axes and steps have different lengths (%lld starts, %lld ends); wanted the same",
                        (long long)starts, (long long)ends);
    out->count = starts;
    return WHET_OK;
}

/* One Part an axis of the input; *known false if even the axes are not known. */
static whet_status slice_parts(OpCall *call, Part *parts, bool *known) {
    const Type *x = call->in[0];
    Lists lists = {0};
    whet_status status = call->row->since < 10 ? attribute_lists(call, &lists) : input_lists(call, &lists);
    *known = lists.count >= 0;
    for (int d = 0; d < x->rank; d++)
        parts[d] = (Part){0, FAR, 1, false};
    for (int64_t i = 0; status == WHET_OK && i < lists.count; i++) {
        int64_t step;
        int axis = op_axis(call, lists.axes ? lists.axes[i] : i, x->rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        if (parts[axis].given)
            return op_error(call, WHET_ERROR_FORMAT, "axis %d is given twice", axis);
        parts[axis] = (Part){lists.starts[i], lists.ends ? lists.ends[i] : DIM_UNKNOWN, lists.steps ? lists.steps[i] : 1, true};
        if (dim_number(call->symbols, parts[axis].step, &step) && step == 0)
            return op_error(call, WHET_ERROR_DATA, "the step of axis %d is 0; wanted another number", axis);
    }
    return status;
}

static void slice_content(OpCall *call, const Part *part) {
    Type *out = &call->out[0];
    const Dim *values;
    int64_t count, start, end, step;
    if (out->rank != 1 || !op_content(call, 0, &values, &count) || !dim_number(call->symbols, part->start, &start) ||
        !dim_number(call->symbols, part->end, &end) || !dim_number(call->symbols, part->step, &step))
        return;
    Range range = clamp_range(count, start, end, step);
    Dim *content = ARENA_ARRAY(call->arena, Dim, (size_t)range.count);
    for (int64_t i = 0; content && i < range.count; i++)
        content[i] = values[range.start + i * range.step];
    out->content = content;
    out->content_count = content ? range.count : 0;
}

static whet_status slice_shape(OpCall *call) {
    const Type *x = call->in[0];
    Part parts[WHET_MAX_RANK];
    bool known;
    if (x->rank < 0)
        return native_whole_bytes(call, x->type);
    whet_status status = slice_parts(call, parts, &known);
    if (status != WHET_OK)
        return status;
    Type *out = &call->out[0];
    out->rank = x->rank;
    for (int d = 0; d < x->rank; d++)
        out->dims[d] = !known ? DIM_UNKNOWN : parts[d].given ? sliced_dim(call->symbols, x->dims[d], &parts[d]) : x->dims[d];
    if (known)
        slice_content(call, &parts[0]);
    return native_whole_bytes(call, x->type);
}

/* The ranges, once everything is known. */
static whet_status slice_ranges(OpCall *call, Range *ranges) {
    const Type *x = call->in[0];
    Part parts[WHET_MAX_RANK];
    bool known;
    whet_status status = slice_parts(call, parts, &known);
    for (int d = 0; status == WHET_OK && d < x->rank; d++) {
        int64_t start, end, step;
        if (!parts[d].given)
            ranges[d] = (Range){0, 1, x->dims[d]};
        else if (known && dim_number(call->symbols, parts[d].start, &start) && dim_number(call->symbols, parts[d].end, &end) &&
                 dim_number(call->symbols, parts[d].step, &step))
            ranges[d] = clamp_range(x->dims[d], start, end, step);
        else
            return op_error(call, WHET_ERROR_INTERNAL, "starts, ends or steps are not known");
    }
    return status;
}

static whet_status slice_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    Range ranges[WHET_MAX_RANK];
    whet_status status = slice_ranges(call, ranges);
    if (status != WHET_OK)
        return status;
    op_put_element(out, "output", x->rank);
    text_put(out, " = data[");
    for (int d = 0; d < x->rank; d++) {
        Range r = ranges[d];
        text_put(out, d ? ", " : "");
        if (r.count == x->dims[d] && r.step == 1)
            text_printf(out, "i%d", d);
        else if (r.step == 1 || r.count == 1) /* with `+ 0` the axis does not take its extent from the data */
            text_printf(out, "i%d + %lld", d, (long long)r.start);
        else
            text_printf(out, "%lld %c %lld*i%d", (long long)r.start, r.step < 0 ? '-' : '+',
                        (long long)(r.step < 0 ? -r.step : r.step), d);
    }
    text_put(out, "]");
    return WHET_OK;
}

// clang-format off
const OpRow ops_slice[] = {
    {"", "Slice", 1, "data:T -> output:T", "T=all", "axes:I ends:I! starts:I!", slice_shape, .build = slice_build, .run = native_move, .moves = true},
    {"", "Slice", 10, "data:T, starts#:I, ends#:I, axes?#:I, steps?#:I -> output:T", "T=all I=s32|s64", "", slice_shape, .build = slice_build, .run = native_move, .moves = true},
};
// clang-format on
const size_t ops_slice_count = COUNT(ops_slice);
