/* Resize (opsets 10, 11, 13, 18, 19) and Upsample (7, 9).
 *
 * Resizing is separable: each axis has, for every place of the output, a few places of the input with weights. Nearest picks one
 * place an axis, so it is a copy through tables; linear and cubic pass over one axis after another in f32. The choice of
 * neighbours and weights follows ONNX's reference (op_resize.py), coordinates are computed in f32 as ONNX Runtime does.
 */
#include "ops/native.h"

#include <math.h>
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

static bool is_crop(OpCall *call) {
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
        axis->resized = axis->out != axis->in || axis->scale != 1 || is_crop(call);
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
        axis->resized = axis->out != axis->in || is_crop(call);
        if (!i || (policy == NOT_SMALLER ? axis->scale > common : axis->scale < common))
            common = axis->scale;
    }
    for (int i = 0; policy != STRETCH && i < count; i++) {
        ResizeAxis *axis = &plan[axes[i]];
        axis->out = (int64_t)floor((double)common * (double)axis->in + 0.5);
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
        }
    }
    if (sizes)
        status = axes_from_sizes(call, plan, axes, count, sizes);
    else if (scales || call->row->since < 9)
        status = axes_from_scales(call, plan, axes, count, scales);
    else
        return op_error(call, WHET_ERROR_DATA, "neither scales nor sizes are given");
    for (int d = 0; status == WHET_OK && d < x->rank; d++)
        if (plan[d].in == 0 && plan[d].out > 0)
            return op_error(call, WHET_ERROR_DATA, "dimension %d is 0 and cannot be resized", d);
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
    if (x->type != DT_NONE && !native_in_notation(x->type))
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

static whet_status nearest_run(OpRun *run, const ResizeAxis *plan, Transform transform) {
    OpCall *call = run->call;
    const Tensor *x = op_input(run, 0);
    const int64_t *maps[WHET_MAX_RANK];
    int64_t strides[WHET_MAX_RANK], total = 0;
    uint64_t outside = 0;
    for (int d = 0; d < x->rank; d++)
        total += plan[d].out;
    void *to = native_output(run, 0);
    int64_t *map = to ? op_scratch(run, ((size_t)total + 1) * sizeof *map) : NULL;
    if (!map)
        return native_failed(run);
    for (int d = 0; d < x->rank; d++) {
        NearestMode nearest = nearest_of(call, &plan[d]);
        maps[d] = map;
        for (int64_t i = 0; i < plan[d].out; i++) {
            float source = source_of(transform, &plan[d], i);
            bool lost = transform == CROP && !(source >= 0 && source <= (float)(plan[d].in - 1));
            *map++ = !plan[d].resized ? i : lost ? -1 : nearest_place(nearest, source, &plan[d]);
        }
    }
    if (call->row->since >= 11)
        native_from_f64((DType)x->type, &(double){op_float(call, "extrapolation_value")}, 1, &outside);
    native_strides(x->rank, x->dims, strides);
    native_copy_mapped(native_size((DType)x->type), x->rank, call->out[0].dims, to, x->data, strides, maps, &outside);
    return WHET_OK;
}

/* ---- Weights ------------------------------------------------------------------------------------------------------------- */

typedef struct Taps {
    int count;
    int64_t *place; /* out * count */
    float *weight;
    uint8_t *lost; /* out: extrapolated */
} Taps;

typedef struct Filter {
    ResizeMode mode;
    bool antialias, exclude;
    double a; /* of cubic */
} Filter;

static double cubic_weight(double x, double a) {
    x = fabs(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Places on each side of the source: 1 for linear, 2 for cubic, more where the filter widens against aliasing. */
static int filter_reach(const Filter *filter, const ResizeAxis *axis) {
    double scale = filter->antialias && axis->scale < 1 ? (double)axis->scale : 1;
    double reach = ceil((filter->mode == MODE_CUBIC ? 2 : 1) / scale);
    return reach < 1 ? 1 : reach > 1e6 ? 1000000 : (int)reach;
}

/* The taps of one place. The source lies in (base, base + 1]. */
static void weigh(const Filter *filter, const ResizeAxis *axis, float source, int reach, int64_t *place, float *weight) {
    double base = ceil((double)source) - 1, ratio = (double)source - base, sum = 0;
    double scale = filter->antialias && axis->scale < 1 ? (double)axis->scale : 1;
    for (int t = 0; t < 2 * reach; t++) {
        double offset = t - (reach - 1), at = base + offset, x = (offset - ratio) * scale;
        double w = filter->mode == MODE_CUBIC ? cubic_weight(x, filter->a) : fabs(x) < 1 ? 1 - fabs(x) : 0;
        if (filter->exclude && (at < 0 || at >= (double)axis->in))
            w = 0;
        place[t] = at < 0 ? 0 : at >= (double)axis->in ? axis->in - 1 : (int64_t)at;
        weight[t] = (float)w;
        sum += w;
    }
    for (int t = 0; (filter->antialias || filter->exclude) && sum != 0 && t < 2 * reach; t++)
        weight[t] = (float)((double)weight[t] / sum);
}

static whet_status make_taps(OpRun *run, const Filter *filter, const ResizeAxis *axis, Transform transform, Taps *taps) {
    int reach = filter_reach(filter, axis);
    taps->count = 2 * reach;
    size_t n, bytes;
    if (!checked_size_mul((size_t)axis->out, (size_t)taps->count, &n) || !checked_size_mul(n, 12, &bytes) ||
        !checked_size_add(bytes, (size_t)axis->out + 16, &bytes))
        return native_error(run, WHET_ERROR_MEMORY, "out of memory");
    taps->place = op_scratch(run, bytes);
    if (!taps->place)
        return native_failed(run);
    taps->weight = (float *)(taps->place + n);
    taps->lost = (uint8_t *)(taps->weight + n);
    for (int64_t i = 0; i < axis->out; i++) {
        float source = source_of(transform, axis, i);
        taps->lost[i] = transform == CROP && !(source >= 0 && source <= (float)(axis->in - 1));
        if (!(source > -0x1p40f && source < 0x1p40f))
            source = 0;
        weigh(filter, axis, source, reach, taps->place + i * taps->count, taps->weight + i * taps->count);
    }
    return WHET_OK;
}

/* One pass: y[o, j, i] = sum over t of weight[j, t] * x[o, place[j, t], i]. */
static whet_status pass(OpRun *run, const float *x, float *y, int64_t outer, const ResizeAxis *axis, int64_t inner,
                        const Taps *taps) {
    for (int64_t o = 0; o < outer; o++) {
        const float *from = x + o * axis->in * inner;
        for (int64_t j = 0; j < axis->out; j++) {
            const int64_t *place = taps->place + j * taps->count;
            const float *weight = taps->weight + j * taps->count;
            float *to = y + (o * axis->out + j) * inner;
            memset(to, 0, (size_t)inner * sizeof *to);
            for (int t = 0; t < taps->count; t++) {
                const float *line = from + place[t] * inner;
                float w = weight[t];
                for (int64_t i = 0; w != 0 && i < inner; i++)
                    to[i] += w * line[i];
            }
        }
        if ((o & 1023) == 1023 && op_interrupted(run) != WHET_OK)
            return native_failed(run);
    }
    return WHET_OK;
}

/* Writes the extrapolation value wherever an axis is outside. */
static void extrapolate(const Type *out, const Taps *taps, const ResizeAxis *plan, float value, float *y) {
    int64_t at[WHET_MAX_RANK] = {0};
    for (int64_t i = 0, count = native_count(out->rank, out->dims); i < count; i++) {
        bool lost = false;
        for (int d = 0; d < out->rank; d++)
            lost |= plan[d].resized && taps[d].lost[at[d]];
        if (lost)
            y[i] = value;
        for (int d = out->rank - 1; d >= 0 && ++at[d] == out->dims[d]; d--)
            at[d] = 0;
    }
}

static whet_status filter_run(OpRun *run, const ResizeAxis *plan, Transform transform, const Filter *filter) {
    const Tensor *x = op_input(run, 0);
    const Type *out = &run->call->out[0];
    const float *from = native_f32(run, 0);
    void *to = from ? native_output(run, 0) : NULL;
    Taps taps[WHET_MAX_RANK];
    int64_t dims[WHET_MAX_RANK];
    if (!to)
        return native_failed(run);
    memcpy(dims, x->dims, sizeof dims);
    for (int d = x->rank - 1; d >= 0; d--) {
        if (!plan[d].resized)
            continue;
        whet_status status = make_taps(run, filter, &plan[d], transform, &taps[d]);
        dims[d] = plan[d].out;
        int64_t count;
        size_t bytes;
        if (status != WHET_OK || !checked_count(dims, x->rank, &count) || !dtype_bytes(DT_F32, count, &bytes))
            return status != WHET_OK ? status : native_error(run, WHET_ERROR_MEMORY, "out of memory");
        float *next = op_scratch(run, bytes + 1);
        if (!next)
            return native_failed(run);
        status = pass(run, from, next, native_count(d, dims), &plan[d], native_count(x->rank - d - 1, dims + d + 1), &taps[d]);
        if (status != WHET_OK)
            return status;
        from = next;
    }
    int64_t count = native_count(out->rank, out->dims);
    if (transform == CROP && count)
        extrapolate(out, taps, plan, (float)op_float(run->call, "extrapolation_value"), (float *)(void *)(uintptr_t)from);
    native_from_f32(out->type, from, count, to);
    return WHET_OK;
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
    if (!axis->resized)
        return (WalkAxis){.walk = WALK_SAME};
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
    op_put_cast(out, x->type, op_wide(x->type));
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
    op_put_cast(out, op_wide(x->type), x->type);
    if (linear)
        put_mix(call, out, walk, places, 0);
    else
        put_read(call, out, walk, places);
    text_put(out, ")");
}

/* Nothing is written for what resize_run does: cubic, filters, crops, what has no float type (linear), far too long axes. */
static whet_status resize_build(OpCall *call, Text *out) {
    const Type *x = call->in[0];
    ResizeAxis plan[WHET_MAX_RANK];
    WalkAxis walk[WHET_MAX_RANK];
    whet_status status = resize_plan(call, plan);
    Transform transform = transform_of(call);
    ResizeMode mode = resize_mode(call);
    if (status != WHET_OK)
        return status;
    bool linear = mode == MODE_LINEAR, narrow = x->type == DT_F32 || x->type == DT_F16 || x->type == DT_BF16;
    bool filtered = linear && call->row->since >= 11 &&
                    (op_int(call, "exclude_outside") || (call->row->since >= 18 && op_int(call, "antialias")));
    if (mode == MODE_CUBIC || filtered || transform == CROP || (linear && !narrow))
        return WHET_OK;
    int mixed = 0;
    for (int d = 0; d < x->rank; d++) {
        walk[d] = linear ? (WalkAxis){.walk = plan[d].resized ? WALK_PLACES : WALK_SAME}
                         : nearest_walk(call, &plan[d], transform, d + 1 == x->rank);
        mixed += walk[d].walk == WALK_PLACES;
        if (plan[d].in > INT32_MAX || plan[d].out > 1 << 24 || plan[d].in == 0 || mixed > 3)
            return WHET_OK;
    }
    for (int d = 0; d < x->rank; d++)
        if (walk[d].walk == WALK_PLACES) {
            put_source(out, transform, &plan[d], d);
            put_places(call, out, &plan[d], d, linear);
        }
    put_resize(call, out, walk, linear);
    return WHET_OK;
}

/* ---- The operators ------------------------------------------------------------------------------------------------------- */

static whet_status resize_run(OpRun *run) {
    OpCall *call = run->call;
    ResizeAxis plan[WHET_MAX_RANK];
    whet_status status = resize_plan(call, plan);
    Transform transform = transform_of(call);
    ResizeMode mode = resize_mode(call);
    if (status != WHET_OK)
        return native_failed(run);
    if (mode == MODE_NEAREST)
        return nearest_run(run, plan, transform);
    Filter filter = {mode, false, false, -0.75};
    if (call->row->since >= 11) {
        filter.exclude = op_int(call, "exclude_outside") != 0;
        filter.a = op_float(call, "cubic_coeff_a");
    }
    filter.antialias = call->row->since >= 18 && op_int(call, "antialias");
    return filter_run(run, plan, transform, &filter);
}

#define MODES "mode:s=nearest|linear|cubic|bilinear"
#define RESIZE_ATTRS                                                                                                             \
    "coordinate_transformation_mode:s=half_pixel|half_pixel_symmetric|pytorch_half_pixel|align_corners|asymmetric|"              \
    "tf_half_pixel_for_nn|tf_crop_and_resize cubic_coeff_a:f=-0.75 exclude_outside:i=0 extrapolation_value:f=0 " MODES           \
    " nearest_mode:s=round_prefer_floor|round_prefer_ceil|floor|ceil"
#define RESIZE(name, since, signature, types, attrs)                                                                             \
    { "", name, since, signature, types, attrs, resize_shape, .build = resize_build, .run = resize_run }

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
