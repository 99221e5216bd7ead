/* GridSample and AffineGrid: pictures (or volumes) read at computed places.
 *
 * For each point of the grid, each axis has one place (nearest), two (linear) or four (cubic) with weights; their products are
 * found once and used for all channels. Padding follows ONNX's reference, op_grid_sample.py.
 */
#include "ops/native.h"

#include <math.h>
#include <string.h>

#define MOST_AXES 3
#define MOST_TAPS 64

/* In the order of the rows, each of which takes the other's words for linear and cubic, too. */
typedef enum Method { METHOD_LINEAR, METHOD_NEAREST, METHOD_CUBIC } Method;
typedef enum Padding { PADDING_ZEROS, PADDING_BORDER, PADDING_REFLECTION } Padding;

static Method method_of(const OpCall *call) {
    static const Method methods[] = {METHOD_LINEAR, METHOD_NEAREST, METHOD_CUBIC, METHOD_LINEAR, METHOD_CUBIC};
    return methods[op_choice(call, "mode")];
}

static whet_status grid_sample_shape(OpCall *call) {
    const Type *x = call->in[0], *grid = call->in[1];
    if (!op_ranks_known(call))
        return WHET_OK;
    if (x->rank < 3 || x->rank > 2 + MOST_AXES || grid->rank != x->rank)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "X has rank %d and the grid %d; equal ranks from 3 to %d are supported",
                        x->rank, grid->rank, 2 + MOST_AXES);
    Dim last = grid->dims[x->rank - 1];
    if ((dim_is_extent(last) && last != x->rank - 2) ||
        (dim_is_extent(x->dims[0]) && dim_is_extent(grid->dims[0]) && x->dims[0] != grid->dims[0]))
        return op_error(call, WHET_ERROR_DATA, "the grid has a batch of %lld and %lld coordinates a point",
                        (long long)grid->dims[0], (long long)last);
    op_set_shape(call, 0, x->rank, grid->dims);
    call->out[0].dims[1] = x->dims[1];
    for (int d = 2; d < x->rank; d++)
        call->out[0].dims[d] = grid->dims[d - 1];
    return WHET_OK;
}

typedef struct Sampler {
    Method method;
    Padding padding;
    bool align;
    int axes;
    int64_t dims[MOST_AXES];
} Sampler;

static Sampler sampler_of(OpCall *call) {
    const Type *x = call->in[0];
    Sampler s = {method_of(call), (Padding)op_choice(call, "padding_mode"), op_int(call, "align_corners") != 0, x->rank - 2, {0}};
    memcpy(s.dims, x->dims + 2, (size_t)s.axes * sizeof *s.dims);
    return s;
}

/* ---- One or two taps an axis, as notation --------------------------------------------------------------------------------- */

/* The place of each point along axis d, as the padding has it: an expression. A value far outside (NaN too) is outside still. */
static const char *place_of(OpCall *call, const Sampler *s, int d, const char *at) {
    Arena *arena = call->arena;
    double last = (double)s->dims[d] - 1, low = s->align ? 0 : -0.5, range = s->align ? last : last + 1;
    const char *grid = arena_printf(arena, "f32(grid[%s, %d])", at, s->axes - 1 - d);
    const char *raw = s->align ? arena_printf(arena, "((%s + 1) / 2 * %.0f)", grid, last)
                               : arena_printf(arena, "(((%s + 1) * %.0f - 1) / 2)", grid, last + 1);
    const char *place =
        arena_printf(arena, "%s(select(%s > -1e9, min(%s, 1e9), -1e9))", s->method == METHOD_NEAREST ? "round" : "", raw, raw);
    if (s->padding == PADDING_ZEROS)
        return place;
    if (s->padding == PADDING_BORDER || !(range > 0))
        return arena_printf(arena, "max(min(%s, %.0f), 0)", place, last);
    /* there and back again: even turns go up from the low end, odd ones down from the high one */
    const char *way = arena_printf(arena, "abs(%s - (%.1f))", place, low);
    const char *turns = arena_printf(arena, "floor(%s / %.0f)", way, range);
    const char *rest = arena_printf(arena, "(%s - %s * %.0f)", way, turns, range);
    return arena_printf(arena, "select(%s - 2 * floor(%s / 2) == 0, %s + (%.1f), %.1f - %s)", turns, turns, rest, low,
                        low + range, rest);
}

/* Its taps: places in `pixels`, which have a border of one element, and the share of the second. */
static void put_taps(OpCall *call, Text *out, const Sampler *s, int d, const char *at) {
    const char *place = place_of(call, s, d, at), *floor = s->method == METHOD_NEAREST ? "trunc" : "floor";
    long long least = s->padding == PADDING_ZEROS ? -1 : 0, most = s->dims[d] - 1 - least;
    text_printf(out, "near%d[%s] = s32(max(min(%s(%s), %lld), %lld)) + 1\n", d, at, floor, place, most, least);
    if (s->method == METHOD_NEAREST)
        return;
    text_printf(out, "far%d[%s] = s32(max(min(floor(%s) + 1, %lld), %lld)) + 1\n", d, at, place, most, least);
    text_printf(out, "share%d[%s] = %s - floor(%s)\n", d, at, place, place);
}

/* An element of `pixels`. Where there are several channels they are last, so that those of a point lie side by side. */
static void put_pixel(Text *out, const char *places, bool last) {
    text_printf(out, last ? "pixels[n%s, c]" : "pixels[n, c%s]", places);
}

static void put_pixels(Text *out, const Type *x, int axes, bool last) {
    Text dims, places;
    text_init(&dims);
    text_init(&places);
    for (int d = 0; d < axes; d++) {
        text_printf(&dims, ", %lld", (long long)x->dims[2 + d] + 2);
        text_printf(&places, ", i%d + 1", d);
    }
    text_printf(out, "tmp pixels: %s[%lld", dtype_name(x->type), (long long)x->dims[0]);
    text_put(out, last ? dims.data : "");
    text_printf(out, ", %lld%s]\n", (long long)x->dims[1], last ? "" : dims.data);
    put_pixel(out, places.data, last);
    text_put(out, " = X[n, c, ");
    op_put_indices(out, "i", 0, axes);
    text_put(out, "]\n");
    out->failed = out->failed || dims.failed || places.failed;
    text_free(&dims);
    text_free(&places);
}

static void put_sum(Text *out, const Sampler *s, const char *at, bool last) {
    int taps = s->method == METHOD_NEAREST ? 1 : 1 << s->axes;
    for (int t = 0; t < taps; t++) {
        Text places;
        text_init(&places);
        text_put(out, t ? " + " : "");
        for (int d = 0; d < s->axes; d++) {
            text_printf(&places, ", %s%d[%s]", t >> d & 1 ? "far" : "near", d, at);
            if (taps > 1)
                text_printf(out, t >> d & 1 ? "share%d[%s] * " : "(1 - share%d[%s]) * ", d, at);
        }
        text_put(out, "f32(");
        put_pixel(out, places.data, last);
        text_char(out, ')');
        out->failed = out->failed || places.failed;
        text_free(&places);
    }
}

static whet_status grid_sample_build(OpCall *call, Text *out) {
    enum { FEW = 8 };
    static const char *const points[] = {"", "n, o0", "n, o0, o1", "n, o0, o1, o2"};
    const Type *x = call->in[0];
    Sampler s = sampler_of(call);
    const char *at = points[s.axes];
    bool last = x->dims[1] >= FEW;
    if (s.method == METHOD_CUBIC || native_empty(x) || native_empty(&call->out[0]))
        return WHET_OK;
    put_pixels(out, x, s.axes, last);
    for (int d = 0; d < s.axes; d++)
        put_taps(call, out, &s, d, at);
    if (last) {
        text_printf(out, "sampled[%s, c] = ", at);
        put_sum(out, &s, at, last);
        text_char(out, '\n');
    }
    text_printf(out, "Y[n, c%s] = %s(", at + 1, dtype_name(x->type));
    if (last)
        text_printf(out, "sampled[%s, c]", at);
    else
        put_sum(out, &s, at, last);
    text_char(out, ')');
    return call->arena->failed ? error_memory(call->err) : WHET_OK;
}

/* ---- In C ----------------------------------------------------------------------------------------------------------------- */

/* Folds x into [low, high] at its ends. */
static float reflect(float x, float low, float high) {
    float range = high - low;
    if (!(range > 0))
        return low;
    float distance = x < low ? low - x : x > high ? x - high : -1;
    if (distance < 0)
        return x;
    float turns = floorf(distance / range), rest = distance - turns * range;
    bool even = fmodf(turns, 2) == 0;
    return (x < low) == even ? low + rest : high - rest;
}

/* A whole place as the padding has it; -1: reads zero. */
static int64_t padded_place(const Sampler *s, int d, float place) {
    float extent = (float)s->dims[d];
    if (s->padding == PADDING_REFLECTION)
        place = truncf(reflect(place, s->align ? 0 : -0.5f, s->align ? extent - 1 : extent - 0.5f));
    if (place < 0 || place >= extent) {
        if (s->padding == PADDING_ZEROS)
            return -1;
        return place < 0 ? 0 : s->dims[d] - 1;
    }
    return (int64_t)place;
}

static float source_place(const Sampler *s, int d, float n) {
    float extent = (float)s->dims[d], x = s->align ? (n + 1) / 2 * (extent - 1) : ((n + 1) * extent - 1) / 2;
    float low = s->align ? 0 : -0.5f, high = s->align ? extent - 1 : extent - 0.5f;
    x = x > -1e9f ? fminf(x, 1e9f) : -1e9f; /* NaN too */
    if (s->method == METHOD_NEAREST)
        x = rintf(x);
    if (x < low || x > high) {
        if (s->padding == PADDING_BORDER)
            return fminf(fmaxf(x, 0), extent - 1);
        if (s->padding == PADDING_REFLECTION)
            return reflect(x, low, high);
    }
    return x;
}

static float cubic(float x) {
    const float a = -0.75f;
    x = fabsf(x);
    return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

/* The taps of one axis: places and weights. */
static int axis_taps(const Sampler *s, int d, float x, int64_t *place, float *weight) {
    int count = s->method == METHOD_NEAREST ? 1 : s->method == METHOD_LINEAR ? 2 : 4;
    float base = s->method == METHOD_NEAREST ? truncf(x) : floorf(x), ratio = x - base;
    for (int t = 0; t < count; t++) {
        int offset = count == 4 ? t - 1 : t;
        place[t] = padded_place(s, d, base + (float)offset);
        weight[t] = count == 1 ? 1 : count == 2 ? (t ? ratio : 1 - ratio) : cubic((float)offset - ratio);
    }
    return count;
}

/* The taps of one point: offsets into a plane and weights; coordinates come in the order of the last axis first. */
static int point_taps(const Sampler *s, const float *point, int64_t *offset, float *weight) {
    int count = 1;
    offset[0] = 0;
    weight[0] = 1;
    for (int d = 0; d < s->axes; d++) {
        int64_t place[4], made[MOST_TAPS];
        float w[4], products[MOST_TAPS];
        int taps = axis_taps(s, d, source_place(s, d, point[s->axes - 1 - d]), place, w), n = 0;
        for (int i = 0; i < count; i++)
            for (int t = 0; t < taps; t++) {
                if (place[t] < 0)
                    continue;
                made[n] = offset[i] * s->dims[d] + place[t];
                products[n++] = weight[i] * w[t];
            }
        memcpy(offset, made, (size_t)n * sizeof *made);
        memcpy(weight, products, (size_t)n * sizeof *products);
        count = n;
    }
    return count;
}

/* Of some points, so that a channel's plane and a run of its results are near while they are used. */
enum { BLOCK = 64 };
typedef struct Taps {
    int count;
    int64_t offset[MOST_TAPS];
    float weight[MOST_TAPS];
} Taps;

static void sample_block(const Taps *taps, int64_t count, const float *plane, float *to) {
    for (int64_t i = 0; i < count; i++) {
        const Taps *p = &taps[i];
        float sum = 0;
        for (int t = 0; t < p->count; t++)
            sum += p->weight[t] * plane[p->offset[t]];
        to[i] = sum;
    }
}

static whet_status grid_sample_run(OpRun *run) {
    OpCall *call = run->call;
    const Tensor *x = op_input(run, 0);
    const Type *out = &call->out[0];
    Sampler s = sampler_of(call);
    int64_t plane = native_count(s.axes, s.dims), points = native_count(s.axes, out->dims + 2), channels = x->dims[1];
    int64_t count = native_count(out->rank, out->dims);
    const float *data = native_f32(run, 0), *grid = data ? native_f32(run, 1) : NULL;
    void *memory = grid ? native_output(run, 0) : NULL;
    float *to = memory && x->type != WHET_F32 ? op_scratch(run, (size_t)count * sizeof *to + 1) : memory;
    if (!to)
        return native_failed(run);
    if (count && !plane)
        return native_error(run, WHET_ERROR_DATA, "there is nothing to sample");
    Taps *taps = op_scratch(run, BLOCK * sizeof *taps);
    if (!taps)
        return native_failed(run);
    for (int64_t n = 0; n < x->dims[0]; n++)
        for (int64_t p = 0; p < points; p += BLOCK) {
            int64_t block = points - p < BLOCK ? points - p : BLOCK;
            for (int64_t i = 0; i < block; i++)
                taps[i].count = point_taps(&s, grid + (n * points + p + i) * s.axes, taps[i].offset, taps[i].weight);
            for (int64_t c = 0; c < channels; c++)
                sample_block(taps, block, data + (n * channels + c) * plane, to + (n * channels + c) * points + p);
            if (p / BLOCK % 64 == 63 && op_interrupted(run) != WHET_OK)
                return native_failed(run);
        }
    if ((void *)to != memory)
        native_from_f32((DType)x->type, to, count, memory);
    return WHET_OK;
}

/* ---- AffineGrid ---------------------------------------------------------------------------------------------------------- */

static whet_status affine_grid_shape(OpCall *call) {
    const Type *theta = call->in[0];
    const int64_t *size;
    int64_t count;
    if (!op_content_ints(call, 1, &size, &count))
        return WHET_OK;
    if (count != 4 && count != 5)
        return op_error(call, WHET_ERROR_DATA, "size has %lld elements; 4 or 5 are wanted", (long long)count);
    Dim dims[5];
    for (int64_t d = 0; d < count; d++)
        if (size[d] < 0)
            return op_error(call, WHET_ERROR_DATA, "element %lld of size is %lld", (long long)d, (long long)size[d]);
    if (theta->rank >= 0 && (theta->rank != 3 || (dim_is_extent(theta->dims[1]) && theta->dims[1] != count - 2) ||
                             (dim_is_extent(theta->dims[2]) && theta->dims[2] != count - 1) ||
                             (dim_is_extent(theta->dims[0]) && theta->dims[0] != size[0])))
        return op_error(call, WHET_ERROR_DATA, "the shape of theta does not fit a size of %lld elements", (long long)count);
    dims[0] = size[0];
    for (int64_t d = 2; d < count; d++)
        dims[d - 1] = size[d];
    dims[count - 1] = count - 2;
    op_set_shape(call, 0, (int)count, dims);
    return WHET_OK;
}

/* The coordinate of element i of `extent`, from -1 to 1. */
static double grid_coordinate(int64_t i, int64_t extent, bool align) {
    if (align)
        return extent > 1 ? -1 + 2.0 * (double)i / (double)(extent - 1) : -1;
    return -1 + (2.0 * (double)i + 1) / (double)extent;
}

static whet_status affine_grid_run(OpRun *run) {
    const Type *out = &run->call->out[0];
    int axes = out->rank - 2;
    bool align = op_int(run->call, "align_corners") != 0;
    const double *theta = native_f64(run, 0);
    char *to = theta ? native_output(run, 0) : NULL;
    if (!to)
        return native_failed(run);
    int64_t points = native_count(axes, out->dims + 1), at[MOST_AXES] = {0};
    for (int64_t p = 0; p < out->dims[0] * points; p++) {
        const double *matrix = theta + p / points * axes * (axes + 1);
        for (int r = 0; r < axes; r++) {
            double value = matrix[r * (axes + 1) + axes];
            for (int d = 0; d < axes; d++) /* coordinate d of the point belongs to axis axes - 1 - d */
                value += matrix[r * (axes + 1) + d] * grid_coordinate(at[axes - 1 - d], out->dims[axes - d], align);
            native_from_f64(out->type, &value, 1, to + (size_t)(p * axes + r) * native_size(out->type));
        }
        for (int d = axes - 1; d >= 0 && ++at[d] == out->dims[d + 1]; d--)
            at[d] = 0;
    }
    return WHET_OK;
}

#define GRID_SAMPLE(since, attrs)                                                                                                \
    {                                                                                                                            \
        "", "GridSample", since, "X:T, grid:G -> Y:T", "T=num G=float", attrs, grid_sample_shape, .build = grid_sample_build,    \
                                                                                                  .run = grid_sample_run         \
    }

// clang-format off
const OpRow ops_sample[] = {
    {"", "AffineGrid", 20, "theta:T, size#:s64 -> grid:T", "T=float", "align_corners:i=0", affine_grid_shape, .run = affine_grid_run},
    GRID_SAMPLE(16, "align_corners:i=0 mode:s=bilinear|nearest|bicubic|linear|cubic padding_mode:s=zeros|border|reflection"),
    GRID_SAMPLE(20, "align_corners:i=0 mode:s=linear|nearest|cubic|bilinear|bicubic padding_mode:s=zeros|border|reflection"),
};
// clang-format on
const size_t ops_sample_count = COUNT(ops_sample);
