/* Resize (opsets 10, 11, 13, 18, 19) and Upsample (7, 9).
 *
 * Resizing is separable: each axis has, for every place of the output, a few places of the input with weights. All of it is text:
 * nearest reads one place, linear mixes two an axis where they are read, and what has other weights (cubic, filters against
 * aliasing) passes over one axis after another. The choice of neighbours and weights follows ONNX's reference (op_resize.py),
 * coordinates are computed in f32 as ONNX Runtime does.
 */
#include "ops/native.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct ResizeAxis {
    int64_t in, out;
    float scale, from, to; /* from, to: the region of interest, as fractions */
    bool resized;
} ResizeAxis;

typedef enum ResizeMode { MODE_NEAREST, MODE_LINEAR, MODE_CUBIC } ResizeMode;

typedef enum Transform { HALF_PIXEL, SYMMETRIC, PYTORCH, ALIGN, ASYMMETRIC, TF_HALF, CROP } Transform; /* as in the rows */
/* In the order of the rows. */
typedef enum NearestMode { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL } NearestMode;
typedef enum AspectPolicy { STRETCH, NOT_LARGER, NOT_SMALLER } AspectPolicy;

typedef enum Source { ROI, SCALES, SIZES } Source;

/* The input that is it; -1: the version has none. */
static int input_of(const OpCall *call, Source what) {
    if (call->row->since < 11)
        return what == SCALES ? 1 : -1;
    return 1 + (int)what;
}

/* What the operand gives; NULL if it is omitted or empty. *known false: not known yet. */
static const Tensor *given_tensor(OpCall *call, Source what, bool *known) {
    int input = input_of(call, what);
    if (input < 0 || !op_has(call, input))
        return NULL;
    const Type *type = call->in[input];
    if (!type->constant) {
        if (type->rank != 1 || type->dims[0] != 0)
            *known = false;
        return NULL;
    }
    return whet_tensor_count(type->constant) > 0 ? type->constant : NULL;
}

static ResizeMode resize_mode(const OpCall *call) {
    static const ResizeMode modes[] = {MODE_NEAREST, MODE_LINEAR, MODE_CUBIC, MODE_LINEAR};
    return modes[op_choice(call, "mode")];
}

/* The axes that scales, sizes and roi speak of. */
static whet_status resize_axes(OpCall *call, int rank, int *axes, int *count) {
    return op_axes(call, call->row->since >= 18 ? op_ints(call, "axes", count) : NULL, rank, axes, count);
}

static bool is_crop(const OpCall *call) {
    return op_choice(call, "coordinate_transformation_mode") == CROP;
}

static whet_status axes_from_scales(OpCall *call, ResizeAxis *plan, const int *axes, int count, const Tensor *scales) {
    const Attr *listed = call->row->since < 9 ? op_attr(call, "scales") : NULL;
    int64_t length = listed ? (int64_t)listed->count : whet_tensor_count(scales);
    if (length != count)
        return op_error(call, WHET_ERROR_DATA, "%lld scales are given; %d are wanted", (long long)length, count);
    for (int i = 0; i < count; i++) {
        ResizeAxis *axis = &plan[axes[i]];
        axis->scale = listed ? listed->floats[i] : (float)whet_tensor_get(scales, i);
        float span = is_crop(call) ? axis->to - axis->from : 1, out = axis->scale * span * (float)axis->in;
        if (!(axis->scale > 0) || !(out < 0x1p62f) || !(out >= 0))
            return op_error(call, WHET_ERROR_DATA, "scale %d is %g", i, (double)axis->scale);
        axis->out = (int64_t)out;
        axis->resized = axis->out != axis->in || axis->scale != 1 || axis->from != 0 || axis->to != 1;
    }
    return WHET_OK;
}

static whet_status axes_from_sizes(OpCall *call, ResizeAxis *plan, const int *axes, int count, const Tensor *sizes) {
    AspectPolicy policy = (AspectPolicy)op_choice(call, "keep_aspect_ratio_policy");
    float common = 0;
    if (whet_tensor_count(sizes) != count)
        return op_error(call, WHET_ERROR_DATA, "%lld sizes are given; %d are wanted", (long long)whet_tensor_count(sizes), count);
    for (int i = 0; i < count; i++) {
        ResizeAxis *axis = &plan[axes[i]];
        axis->out = native_int_at(sizes, i);
        if (axis->out < 0)
            return op_error(call, WHET_ERROR_DATA, "size %d is %lld", i, (long long)axis->out);
        axis->scale = (float)axis->out / (float)axis->in;
        axis->resized = axis->out != axis->in || axis->from != 0 || axis->to != 1;
        if (!i || (policy == NOT_SMALLER ? axis->scale > common : axis->scale < common))
            common = axis->scale;
    }
    for (int i = 0; policy != STRETCH && i < count; i++) {
        ResizeAxis *axis = &plan[axes[i]];
        double out = floor((double)common * (double)axis->in + 0.5);
        if (!(out < 0x1p62)) /* or no number at all: an axis of nothing has no scale */
            return op_error(call, WHET_ERROR_DATA, "the scale that keeps the aspect ratio is %g; dimension %d has %lld elements",
                            (double)common, axes[i], (long long)axis->in);
        axis->out = (int64_t)out;
        axis->scale = common;
        axis->resized = axis->out != axis->in || common != 1;
    }
    return WHET_OK;
}

/* The whole plan, once everything is known. */
static whet_status resize_plan(OpCall *call, ResizeAxis *plan) {
    const Type *x = call->in[0];
    int axes[WHET_MAX_RANK], count;
    bool known = true;
    whet_status status = resize_axes(call, x->rank, axes, &count);
    if (status != WHET_OK)
        return status;
    const Tensor *roi = given_tensor(call, ROI, &known), *scales = given_tensor(call, SCALES, &known);
    const Tensor *sizes = given_tensor(call, SIZES, &known);
    for (int d = 0; d < x->rank; d++)
        plan[d] = (ResizeAxis){x->dims[d], x->dims[d], 1, 0, 1, false};
    if (roi && is_crop(call)) {
        if (whet_tensor_count(roi) != 2 * count)
            return op_error(call, WHET_ERROR_DATA, "roi has %lld elements; %d are wanted", (long long)whet_tensor_count(roi),
                            2 * count);
        for (int i = 0; i < count; i++) {
            plan[axes[i]].from = (float)whet_tensor_get(roi, i);
            plan[axes[i]].to = (float)whet_tensor_get(roi, count + i);
            if (!(fabsf(plan[axes[i]].from) < 1e9f && fabsf(plan[axes[i]].to) < 1e9f))
                return op_error(call, WHET_ERROR_DATA, "roi is %g to %g on axis %d; wanted numbers below 1e9",
                                (double)plan[axes[i]].from, (double)plan[axes[i]].to, axes[i]);
        }
    }
    if (sizes)
        status = axes_from_sizes(call, plan, axes, count, sizes);
    else if (scales || call->row->since < 9)
        status = axes_from_scales(call, plan, axes, count, scales);
    else
        return op_error(call, WHET_ERROR_DATA, "wanted scales or sizes");
    for (int d = 0; status == WHET_OK && d < x->rank; d++) {
        if (plan[d].in == 0 && plan[d].out > 0)
            return op_error(call, WHET_ERROR_DATA, "dimension %d is 0; wanted 1 or more to be resized", d);
        if (plan[d].resized && (plan[d].in > INT32_MAX || plan[d].out > INT32_MAX))
            return op_error(call, WHET_ERROR_UNSUPPORTED, "dimension %d, %lld to %lld, is too large; wanted below 2^31", d,
                            (long long)plan[d].in, (long long)plan[d].out);
    }
    return status;
}

/* With symbolic extents: whole scales multiply, sizes that are known are the extents. */
static void symbolic_shape(OpCall *call) {
    const Type *x = call->in[0];
    Type *out = &call->out[0];
    const Dim *sizes;
    int axes[WHET_MAX_RANK], count;
    int64_t length;
    bool known = true;
    if (resize_axes(call, x->rank, axes, &count) != WHET_OK)
        return;
    op_set_shape(call, 0, x->rank, x->dims);
    const Tensor *scales = given_tensor(call, SCALES, &known);
    const Attr *listed = call->row->since < 9 ? op_attr(call, "scales") : NULL;
    bool stretch = op_choice(call, "keep_aspect_ratio_policy") == STRETCH;
    int sizes_input = input_of(call, SIZES);
    bool from_sizes = sizes_input > 0 && stretch && op_content(call, sizes_input, &sizes, &length) && length == count;
    for (int i = 0; i < count; i++) {
        Dim *dim = &out->dims[axes[i]];
        double scale = listed && (int64_t)listed->count == count                        ? (double)listed->floats[i]
                       : scales && whet_tensor_count(scales) == count && !is_crop(call) ? whet_tensor_get(scales, i)
                                                                                        : 0.5;
        if (from_sizes)
            *dim = sizes[i];
        else if (scale == floor(scale) && scale > 0 && scale < 1e6)
            *dim = dim_mul(call->symbols, *dim, (int64_t)scale);
        else
            *dim = DIM_UNKNOWN;
    }
}

static whet_status resize_shape(OpCall *call) {
    const Type *x = call->in[0];
    ResizeAxis plan[WHET_MAX_RANK];
    bool known = true;
    if (x->type != DT_NONE && !kernel_computes(x->type))
        return op_error(call, WHET_ERROR_UNSUPPORTED, "type %s is not supported", dtype_name(x->type));
    if (x->rank < 0)
        return WHET_OK;
    given_tensor(call, ROI, &known);
    given_tensor(call, SCALES, &known);
    given_tensor(call, SIZES, &known);
    for (int d = 0; d < x->rank; d++)
        known = known && dim_is_extent(x->dims[d]);
    if (!known) {
        symbolic_shape(call);
        return WHET_OK;
    }
    whet_status status = resize_plan(call, plan);
    call->out[0].rank = status == WHET_OK ? x->rank : -1;
    for (int d = 0; status == WHET_OK && d < x->rank; d++)
        call->out[0].dims[d] = plan[d].out;
    return status;
}

/* ---- Coordinates --------------------------------------------------------------------------------------------------------- */

static Transform transform_of(const OpCall *call) {
    return call->row->since < 11 ? ASYMMETRIC : (Transform)op_choice(call, "coordinate_transformation_mode");
}

/* Where place `i` of the output lies in the input. */
static float source_of(Transform transform, const ResizeAxis *axis, int64_t i) {
    float x = (float)i, in = (float)axis->in, out = axis->scale * in;
    switch (transform) {
    case ASYMMETRIC: return x / axis->scale;
    case TF_HALF: return (x + 0.5f) / axis->scale;
    case PYTORCH: return axis->out > 1 ? (x + 0.5f) / axis->scale - 0.5f : 0;
    case ALIGN: return out == 1 || axis->out == 1 ? 0 : x * (in - 1) / (out - 1);
    case SYMMETRIC: return in / 2 * (1 - (float)axis->out / out) + (x + 0.5f) / axis->scale - 0.5f;
    case CROP:
        return axis->out > 1 ? axis->from * (in - 1) + x * (axis->to - axis->from) * (in - 1) / (float)(axis->out - 1)
                             : 0.5f * (axis->from + axis->to) * (in - 1);
    default: return (x + 0.5f) / axis->scale - 0.5f;
    }
}

static int64_t clamp_place(float x, int64_t extent) {
    return !(x > 0) ? 0 : x >= (float)extent ? extent - 1 : (int64_t)x < extent ? (int64_t)x : extent - 1;
}

static NearestMode nearest_of(const OpCall *call, const ResizeAxis *axis) {
    if (call->row->since >= 11)
        return (NearestMode)op_choice(call, "nearest_mode");
    return axis->scale < 1 ? CEIL : FLOOR; /* before there was the attribute */
}

static int64_t nearest_place(NearestMode mode, float x, const ResizeAxis *axis) {
    switch (mode) {
    case PREFER_CEIL: return clamp_place(floorf(x + 0.5f), axis->in);
    case FLOOR: return clamp_place(floorf(x), axis->in);
    case CEIL: return clamp_place(ceilf(x), axis->in);
    default: return clamp_place(ceilf(x - 0.5f), axis->in);
    }
}

/* ---- Weights ------------------------------------------------------------------------------------------------------------- */

typedef struct Filter {
    ResizeMode mode;
    bool antialias, exclude;
} Filter;

/* Places on each side of the source: 1 for linear, 2 for cubic, more where the filter widens against aliasing. */
static int filter_reach(const Filter *filter, const ResizeAxis *axis) {
    double scale = filter->antialias && axis->scale < 1 ? (double)axis->scale : 1;
    double reach = ceil((filter->mode == MODE_CUBIC ? 2 : 1) / scale);
    return reach < 1 ? 1 : reach > 1e6 ? 1000000 : (int)reach;
}

/* ---- In the notation ----------------------------------------------------------------------------------------------------- */

/* How the places of an axis are written. */
typedef enum Walk {
    WALK_SAME,   /* i */
    WALK_UP,     /* every place of the input `step` times, as y[step * i + a:step] = x[i] */
    WALK_REPEAT, /* the same along the last axis, where results with gaps are slow: x[i // step] */
    WALK_DOWN,   /* x[step * i + first] */
    WALK_PLACES  /* x[l[i]], with places that the kernel computes */
} Walk;

typedef struct WalkAxis {
    Walk walk;
    int64_t step, first;
} WalkAxis;

/* Nearest: what the places come to. */
static WalkAxis nearest_walk(OpCall *call, const ResizeAxis *axis, Transform transform, bool last) {
    NearestMode nearest = nearest_of(call, axis);
    int64_t places[2] = {0, 0};
    WalkAxis up = {WALK_UP, axis->in ? axis->out / axis->in : 0, 0}, down = {.walk = WALK_DOWN};
    if (!axis->resized || transform == CROP || axis->out > 1 << 24) /* looking at all of them would take long */
        return (WalkAxis){.walk = axis->resized ? WALK_PLACES : WALK_SAME};
    for (int64_t i = 0; i < 2 && i < axis->out; i++)
        places[i] = nearest_place(nearest, source_of(transform, axis, i), axis);
    down.first = places[0];
    down.step = axis->out > 1 ? places[1] - places[0] : 1;
    bool is_up = axis->out == up.step * axis->in, is_down = down.step > 0;
    for (int64_t i = 0; (is_up || is_down) && i < axis->out; i++) {
        int64_t place = nearest_place(nearest, source_of(transform, axis, i), axis);
        is_up = is_up && place == i / up.step;
        is_down = is_down && place == down.step * i + down.first;
    }
    if (is_up && last)
        up.walk = WALK_REPEAT;
    return is_up ? up : is_down ? down : (WalkAxis){.walk = WALK_PLACES};
}

/* source_of, in the same f32. */
static void put_source(Text *out, Transform transform, const ResizeAxis *axis, int d) {
    double scale = (double)axis->scale, in = (double)axis->in, whole = (double)(axis->scale * (float)axis->in);
    text_printf(out, "s%d[i%d:%lld] = ", d, d, (long long)axis->out);
    if (transform == ASYMMETRIC)
        text_printf(out, "f32(i%d) / %.9g\n", d, scale);
    else if (transform == TF_HALF)
        text_printf(out, "(f32(i%d) + 0.5) / %.9g\n", d, scale);
    else if (transform == CROP && axis->out > 1)
        text_printf(out, "%.9g + f32(i%d) * %.9g * %.9g / %.9g\n", (double)(axis->from * (float)(in - 1)), d,
                    (double)(axis->to - axis->from), in - 1, (double)(float)(axis->out - 1));
    else if (transform == CROP)
        text_printf(out, "f32(i%d) * 0.0 + %.9g\n", d, (double)(0.5f * (axis->from + axis->to) * (float)(in - 1)));
    else if ((transform == PYTORCH && axis->out <= 1) || (transform == ALIGN && (whole == 1 || axis->out == 1)))
        text_printf(out, "f32(i%d) * 0.0\n", d);
    else if (transform == ALIGN)
        text_printf(out, "f32(i%d) * %.9g / %.9g\n", d, in - 1, (double)((float)whole - 1));
    else if (transform == SYMMETRIC)
        text_printf(out, "%.9g + (f32(i%d) + 0.5) / %.9g - 0.5\n",
                    (double)((float)in / 2 * (1 - (float)axis->out / (float)whole)), d, scale);
    else
        text_printf(out, "(f32(i%d) + 0.5) / %.9g - 0.5\n", d, scale);
}

/* Definitions of the nearest place l, or of the two places l and h around the source and the weight w of the second. */
static void put_places(OpCall *call, Text *out, const ResizeAxis *axis, int d, bool linear) {
    long long last = axis->in - 1;
    NearestMode nearest = nearest_of(call, axis);
    const char *before = nearest == FLOOR || nearest == PREFER_CEIL ? "floor(" : "ceil(", *after = ")";
    if (linear)
        before = "ceil(", after = ") - 1";
    else if (nearest == PREFER_FLOOR || nearest == PREFER_CEIL)
        after = nearest == PREFER_CEIL ? " + 0.5)" : " - 0.5)";
    text_printf(out, "l%d[i%d] = min(max(s32(%ss%d[i%d]%s), 0), %lld)\n", d, d, before, d, d, after, last);
    if (!linear)
        return;
    text_printf(out, "h%d[i%d] = min(max(s32(ceil(s%d[i%d])), 0), %lld)\n", d, d, d, d, last);
    text_printf(out, "w%d[i%d] = s%d[i%d] - (ceil(s%d[i%d]) - 1)\n", d, d, d, d, d, d);
}

static void put_read(const OpCall *call, Text *out, const WalkAxis *walk, const char *places) {
    const Type *x = call->in[0];
    text_printf(out, "%s(", dtype_name(op_wide(x->type)));
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "X[");
        if (walk[d].walk == WALK_PLACES)
            text_printf(out, "%c%d[i%d]", places[d], d, d);
        else if (walk[d].walk == WALK_DOWN)
            text_printf(out, "%lld * i%d + %lld", (long long)walk[d].step, d, (long long)walk[d].first);
        else if (walk[d].walk == WALK_REPEAT)
            text_printf(out, "i%d // %lld", d, (long long)walk[d].step);
        else
            text_printf(out, "i%d", d);
    }
    text_put(out, "])");
}

/* The value at `places`, l or h by axis, mixed along the axes from `d` on. */
static void put_mix(const OpCall *call, Text *out, const WalkAxis *walk, char *places, int d) {
    const Type *x = call->in[0];
    while (d < x->rank && walk[d].walk != WALK_PLACES)
        d++;
    if (d == x->rank) {
        put_read(call, out, walk, places);
        return;
    }
    text_printf(out, "((1 - w%d[i%d]) * ", d, d);
    places[d] = 'l';
    put_mix(call, out, walk, places, d + 1);
    text_printf(out, " + w%d[i%d] * ", d, d);
    places[d] = 'h';
    put_mix(call, out, walk, places, d + 1);
    text_put(out, ")");
}

/* Places and weights of the taps of an axis: p[i, t], v[i, t]. The source lies in (a, a + 1] between the middle ones. */
static void put_taps(const OpCall *call, Text *out, const Filter *filter, const ResizeAxis *axis, int d) {
    int reach = filter_reach(filter, axis);
    long long last = axis->in - 1;
    double scale = filter->antialias && axis->scale < 1 ? (double)axis->scale : 1;
    const char *a = call->row->since >= 11 ? "cubic_coeff_a" : "(-0.75)";
    text_printf(out, "a%d[i%d, t:%d] = ceil(s%d[i%d]) + (f32(t) - %d)\n", d, d, 2 * reach, d, d, reach);
    text_printf(out, "p%d[i%d, t] = s32(min(max(a%d[i%d, t], 0), %lld))\n", d, d, d, d, last);
    text_printf(out, "r%d[i%d, t] = abs(a%d[i%d, t] - s%d[i%d]) * %.9g\n", d, d, d, d, d, d, scale);
    text_printf(out, "w%d[i%d, t] = ", d, d);
    if (filter->exclude)
        text_printf(out, "select(a%d[i%d, t] < 0, 0, select(a%d[i%d, t] > %lld, 0, ", d, d, d, d, last);
    if (filter->mode == MODE_CUBIC)
        text_printf(out,
                    "select(r%d[i%d, t] <= 1, ((%s + 2) * r%d[i%d, t] - (%s + 3)) * r%d[i%d, t] * r%d[i%d, t] + 1, "
                    "select(r%d[i%d, t] < 2, ((%s * r%d[i%d, t] - 5 * %s) * r%d[i%d, t] + 8 * %s) * r%d[i%d, t] - 4 * %s, 0))",
                    d, d, a, d, d, a, d, d, d, d, d, d, a, d, d, a, d, d, a, d, d, a);
    else
        text_printf(out, "max(1 - r%d[i%d, t], 0)", d, d);
    text_put(out, filter->exclude ? "))\n" : "\n");
    if (filter->antialias || filter->exclude) {
        text_printf(out, "u%d[i%d] = sum(t) w%d[i%d, t]\n", d, d, d, d);
        text_printf(out, "v%d[i%d, t] = select(u%d[i%d] == 0, w%d[i%d, t], w%d[i%d, t] / u%d[i%d])\n", d, d, d, d, d, d, d, d, d,
                    d);
    } else {
        text_printf(out, "v%d[i%d, t] = w%d[i%d, t]\n", d, d, d, d);
    }
}

/* Of a crop: what lies outside of the image along any axis is the extrapolation value. o[i] is how far outside. */
static void put_outside(Text *out, const ResizeAxis *axis, int d) {
    text_printf(out, "o%d[i%d] = abs(min(max(s%d[i%d], 0), %lld) - s%d[i%d])\n", d, d, d, d, (long long)axis->in - 1, d, d);
}

static void put_inside(const OpCall *call, Text *out, const WalkAxis *walk, DType type, bool end) {
    int cropped = 0;
    for (int d = 0; is_crop(call) && d < call->in[0]->rank; d++)
        if (walk[d].walk == WALK_PLACES && !end)
            text_printf(out, "%so%d[i%d]", cropped++ ? " + " : "select(", d, d);
        else
            cropped += walk[d].walk == WALK_PLACES;
    if (cropped && end)
        text_printf(out, ", %s(extrapolation_value))", dtype_name(type));
    else if (cropped)
        text_put(out, " == 0, ");
}

static void put_resize(const OpCall *call, Text *out, const WalkAxis *walk, bool linear) {
    const Type *x = call->in[0];
    char places[WHET_MAX_RANK];
    memset(places, 'l', sizeof places);
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : "Y[");
        if (walk[d].walk == WALK_UP)
            text_printf(out, "%lld * i%d + a%d:%lld", (long long)walk[d].step, d, d, (long long)walk[d].step);
        else
            text_printf(out, "i%d:%lld", d, (long long)call->out[0].dims[d]);
    }
    text_put(out, "] = ");
    text_printf(out, "%s(", dtype_name(x->type));
    put_inside(call, out, walk, op_wide(x->type), false);
    if (linear)
        put_mix(call, out, walk, places, 0);
    else
        put_read(call, out, walk, places);
    put_inside(call, out, walk, op_wide(x->type), true);
    text_put(out, ")");
}

/* One element of `name` where axis `along` is at tap `t`. */
static void put_tap(const OpCall *call, Text *out, const char *name, int along, const char *t) {
    const Type *x = call->in[0];
    text_put(out, "f32(");
    for (int d = 0; d < x->rank; d++) {
        text_put(out, d ? ", " : name);
        if (d == 0)
            text_char(out, '[');
        text_printf(out, d == along ? "p%d[i%d, %s]" : "i%d", d, d, t);
    }
    text_printf(out, "]) * v%d[i%d, %s]", along, along, t);
}

/* Passes over the axes, the last one first, each of a few taps; y0 and so on are what lies between. */
static void put_passes(OpCall *call, Text *out, const Filter *filter, const ResizeAxis *plan, const WalkAxis *walk) {
    enum { UNROLLED = 8 };
    const Type *x = call->in[0];
    char from[16] = "X", to[16];
    int first = 0;
    while (first < x->rank - 1 && walk[first].walk != WALK_PLACES)
        first++;
    for (int along = x->rank - 1; along >= first; along--) {
        if (walk[along].walk != WALK_PLACES)
            continue;
        put_taps(call, out, filter, &plan[along], along);
        snprintf(to, sizeof to, along == first ? "Y" : "y%d", along);
        for (int d = 0; d < x->rank; d++)
            text_printf(out, "%s%si%d:%lld", d ? ", " : to, d ? "" : "[", d, (long long)(d < along ? plan[d].in : plan[d].out));
        text_put(out, "] = ");
        if (along == first) {
            text_printf(out, "%s(", dtype_name(x->type));
            put_inside(call, out, walk, DT_F32, false);
        }
        int taps = 2 * filter_reach(filter, &plan[along]);
        if (taps > UNROLLED)
            text_printf(out, "(sum(t:%d) ", taps);
        for (int t = 0; t < (taps > UNROLLED ? 1 : taps); t++) {
            char number[16];
            snprintf(number, sizeof number, "%d", t);
            text_put(out, t ? " + " : "");
            put_tap(call, out, from, along, taps > UNROLLED ? "t" : number);
        }
        text_put(out, taps > UNROLLED ? ")" : "");
        if (along == first) {
            put_inside(call, out, walk, DT_F32, true);
            text_char(out, ')');
        }
        text_char(out, '\n');
        memcpy(from, to, sizeof from);
    }
}

static whet_status resize_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    ResizeAxis plan[WHET_MAX_RANK];
    WalkAxis walk[WHET_MAX_RANK];
    whet_status status = resize_plan(call, plan);
    Transform transform = transform_of(call);
    Filter filter = {resize_mode(call), false, false};
    if (status != WHET_OK)
        return status;
    filter.exclude = call->row->since >= 11 && op_int(call, "exclude_outside");
    filter.antialias = call->row->since >= 18 && op_int(call, "antialias");
    bool nearest = filter.mode == MODE_NEAREST;
    int mixed = 0;
    for (int d = 0; d < x->rank; d++) {
        if (plan[d].in == 0)
            plan[d].resized = false; /* nor has the output anything */
        walk[d] = nearest ? nearest_walk(call, &plan[d], transform, d + 1 == x->rank)
                          : (WalkAxis){.walk = plan[d].resized ? WALK_PLACES : WALK_SAME};
        mixed += walk[d].walk == WALK_PLACES;
    }
    /* Two taps an axis are mixed where they are read: twice the reads an axis. */
    bool narrow = x->type == DT_F32 || x->type == DT_F16 || x->type == DT_BF16;
    bool mix = filter.mode == MODE_LINEAR && !filter.exclude && !filter.antialias && narrow && mixed <= 3;
    for (int d = 0; d < x->rank; d++)
        if (walk[d].walk == WALK_PLACES) {
            put_source(out, transform, &plan[d], d);
            if (transform == CROP)
                put_outside(out, &plan[d], d);
            if (nearest || mix)
                put_places(call, out, &plan[d], d, mix);
        }
    if (nearest || mix || !mixed)
        put_resize(call, out, walk, mix);
    else
        put_passes(call, out, &filter, plan, walk);
    return WHET_OK;
}

#define MODES "mode:s=nearest|linear|cubic|bilinear"
#define RESIZE_ATTRS                                                                                                             \
    "coordinate_transformation_mode:s=half_pixel|half_pixel_symmetric|pytorch_half_pixel|align_corners|asymmetric|"              \
    "tf_half_pixel_for_nn|tf_crop_and_resize cubic_coeff_a:f=-0.75 exclude_outside:i=0 extrapolation_value:f=0 " MODES           \
    " nearest_mode:s=round_prefer_floor|round_prefer_ceil|floor|ceil"
#define RESIZE(name, since, signature, types, attrs)                                                                             \
    { "", name, since, signature, types, attrs, resize_shape, .build = resize_build }

// clang-format off
const OpRow ops_resize[] = {
    RESIZE("Resize", 10, "X:T, scales#:f32 -> Y:T", "T=num", MODES),
    RESIZE("Resize", 11, "X:T, roi?#:U, scales?#:f32, sizes?#:s64 -> Y:T", "T=num U=float", RESIZE_ATTRS),
    RESIZE("Resize", 18, "X:T, roi?#:U, scales?#:f32, sizes?#:s64 -> Y:T", "T=num U=float", RESIZE_ATTRS " antialias:i=0 axes:I keep_aspect_ratio_policy:s=stretch|not_larger|not_smaller"),
    RESIZE("Upsample", 7, "X:T -> Y:T", "T=num", MODES " scales:F!"),
    RESIZE("Upsample", 9, "X:T, scales#:f32 -> Y:T", "T=num", MODES),
};
// clang-format on
const size_t ops_resize_count = COUNT(ops_resize);
