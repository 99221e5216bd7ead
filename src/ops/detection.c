/* Operators of object detectors: NonMaxSuppression and RoiAlign. */
#include "ops/native.h"
#include "ops/order.h"

#include <math.h>
#include <string.h>

/* ---- NonMaxSuppression --------------------------------------------------------------------------------------------------- */

static whet_status suppression_shape(OpCall *call) {
    const Type *boxes = call->in[0], *scores = call->in[1];
    if (boxes->rank >= 0 && (boxes->rank != 3 || (dim_is_extent(boxes->dims[2]) && boxes->dims[2] != 4)))
        return op_error(call, WHET_ERROR_DATA, "the boxes have a wrong shape; wanted rank 3, and four numbers each");
    if (scores->rank >= 0 && scores->rank != 3)
        return op_error(call, WHET_ERROR_DATA, "the scores have rank %d; 3 is wanted", scores->rank);
    if (boxes->rank == 3 && scores->rank == 3)
        for (int d = 0; d < 2; d++) {
            Dim b = boxes->dims[d], s = scores->dims[2 * d];
            if (dim_is_extent(b) && dim_is_extent(s) && b != s)
                return op_error(call, WHET_ERROR_DATA,
                                "the boxes have %lld and the scores %lld along dimension %d; wanted the same", (long long)b,
                                (long long)s, d);
        }
    op_set_shape(call, 0, 2, (const Dim[]){DIM_UNKNOWN, 3});
    return WHET_OK;
}

typedef struct Box {
    float y1, x1, y2, x2, area;
} Box;

static float lower(float a, float b) {
    return a < b ? a : b;
}

static float higher(float a, float b) {
    return a > b ? a : b;
}

/* Corners in any order, or a centre with width and height. */
static Box box_at(const float *p, bool centered) {
    Box box = {lower(p[0], p[2]), lower(p[1], p[3]), higher(p[0], p[2]), higher(p[1], p[3]), 0};
    if (centered)
        box = (Box){p[1] - p[3] / 2, p[0] - p[2] / 2, p[1] + p[3] / 2, p[0] + p[2] / 2, 0};
    box.area = (box.y2 - box.y1) * (box.x2 - box.x1);
    return box;
}

static bool overlaps(const Box *a, const Box *b, float threshold) {
    float height = lower(a->y2, b->y2) - higher(a->y1, b->y1), width = lower(a->x2, b->x2) - higher(a->x1, b->x1);
    if (!(height > 0) || !(width > 0) || !(a->area > 0) || !(b->area > 0))
        return false;
    float both = height * width;
    return both / (a->area + b->area - both) > threshold;
}

typedef struct Suppression {
    const float *boxes, *scores;
    int64_t batches, classes, count, most;
    float overlap, least;
    bool centered, has_least;
    uint64_t *keys; /* twice the boxes: order.h */
    Box *kept;      /* of one class */
    int64_t *rows;  /* batch, class and box of all that stay */
    int64_t total;
    size_t room;
} Suppression;

static bool keep(OpRun *run, Suppression *s, int64_t batch, int64_t class, int64_t box) {
    if ((size_t)s->total == s->room) {
        size_t room = 2 * s->room + 64;
        int64_t *rows = op_scratch(run, room * 3 * sizeof *rows);
        if (!rows)
            return false;
        if (s->total)
            memcpy(rows, s->rows, (size_t)s->total * 3 * sizeof *rows);
        s->rows = rows;
        s->room = room;
    }
    memcpy(s->rows + 3 * s->total++, (const int64_t[]){batch, class, box}, 3 * sizeof *s->rows);
    return true;
}

/* The boxes of one class that stay: those of the highest scores first, of equals the first in place. */
static whet_status suppress(OpRun *run, Suppression *s, int64_t batch, int64_t class) {
    const float *boxes = s->boxes + batch * s->count * 4, *scores = s->scores + (batch * s->classes + class) * s->count;
    int64_t count = 0, found = 0;
    for (int64_t i = 0; i < s->count; i++)
        if (!s->has_least || scores[i] > s->least)
            s->keys[count++] = order_key(scores[i], true, i);
    order_sort(s->keys, s->keys + s->count, count);
    for (int64_t i = 0; i < count && found < s->most; i++) {
        int64_t best = (uint32_t)s->keys[i];
        Box box = box_at(boxes + 4 * best, s->centered);
        bool stays = true;
        for (int64_t k = 0; stays && k < found; k++)
            stays = !overlaps(&box, &s->kept[k], s->overlap);
        if (stays) {
            s->kept[found++] = box;
            if (!keep(run, s, batch, class, best))
                return native_failed(run);
        }
        if ((i & 255) == 255 && op_interrupted(run) != WHET_OK)
            return native_failed(run);
    }
    return WHET_OK;
}

static whet_status suppression_run(OpRun *run) {
    const Tensor *boxes = op_input(run, 0), *scores = op_input(run, 1);
    Suppression s = {.boxes = boxes->data,
                     .scores = scores->data,
                     .batches = boxes->dims[0],
                     .classes = scores->dims[1],
                     .count = boxes->dims[1]};
    double most = native_number(run, 2, 0);
    s.most = most > 0 ? (int64_t)fmin(most, (double)s.count) : 0;
    s.overlap = (float)native_number(run, 3, 0);
    s.has_least = run->call->in_count > 4 && op_input(run, 4);
    s.least = (float)native_number(run, 4, 0);
    s.centered = op_int(run->call, "center_point_box") != 0;
    s.keys = op_scratch(run, ((size_t)s.count * 2 + 2) * sizeof *s.keys);
    s.kept = s.keys ? op_scratch(run, ((size_t)s.most + 1) * sizeof *s.kept) : NULL;
    if (!s.kept)
        return native_failed(run);
    if (s.count > UINT32_MAX)
        return native_error(run, WHET_ERROR_UNSUPPORTED, "%lld boxes are more than 2^32", (long long)s.count);
    for (int64_t i = 0; s.most && i < s.batches * s.classes; i++) {
        whet_status status = suppress(run, &s, i / s.classes, i % s.classes);
        if (status != WHET_OK)
            return status;
    }
    int64_t *to = op_output(run, 0, DT_S64, 2, (const int64_t[]){s.total, 3});
    if (!to)
        return native_failed(run);
    if (s.total)
        memcpy(to, s.rows, (size_t)s.total * 3 * sizeof *to);
    return WHET_OK;
}

/* ---- RoiAlign ------------------------------------------------------------------------------------------------------------ */

static whet_status align_shape(OpCall *call) {
    const Type *x = call->in[0], *rois = call->in[1], *batch = call->in[2];
    int64_t height = op_int(call, "output_height"), width = op_int(call, "output_width");
    if (height < 1 || width < 1 || height > INT32_MAX || width > INT32_MAX || op_int(call, "sampling_ratio") < 0)
        return op_error(call, WHET_ERROR_FORMAT,
                        "output_height is %lld, output_width %lld, sampling_ratio %lld; wanted 1, 1 and 0 or more",
                        (long long)height, (long long)width, (long long)op_int(call, "sampling_ratio"));
    if (!op_ranks_known(call))
        return WHET_OK;
    if (x->rank != 4 || rois->rank != 2 || batch->rank != 1 || (dim_is_extent(rois->dims[1]) && rois->dims[1] != 4))
        return op_error(call, WHET_ERROR_DATA, "wanted X of rank 4, rois of [regions, 4] and batch_indices of rank 1");
    if (dim_is_extent(rois->dims[0]) && dim_is_extent(batch->dims[0]) && rois->dims[0] != batch->dims[0])
        return op_error(call, WHET_ERROR_DATA, "there are %lld rois and %lld batch indices; wanted as many",
                        (long long)rois->dims[0], (long long)batch->dims[0]);
    op_set_shape(call, 0, 4, (const Dim[]){rois->dims[0], x->dims[1], height, width});
    return WHET_OK;
}

/* Bilinear weights of a point on a plane; false: outside by more than a pixel. */
typedef struct Sample {
    int64_t at[4];
    float weight[4];
} Sample;

static bool sample_at(float y, float x, int64_t height, int64_t width, Sample *out) {
    if (!(y >= -1 && y <= (float)height && x >= -1 && x <= (float)width))
        return false;
    y = fmaxf(y, 0);
    x = fmaxf(x, 0);
    int64_t y0 = (int64_t)y < height - 1 ? (int64_t)y : height - 1, x0 = (int64_t)x < width - 1 ? (int64_t)x : width - 1;
    int64_t y1 = y0 < height - 1 ? y0 + 1 : y0, x1 = x0 < width - 1 ? x0 + 1 : x0;
    float ly = y0 < height - 1 ? y - (float)y0 : 0, lx = x0 < width - 1 ? x - (float)x0 : 0;
    *out = (Sample){{y0 * width + x0, y0 * width + x1, y1 * width + x0, y1 * width + x1},
                    {(1 - ly) * (1 - lx), (1 - ly) * lx, ly * (1 - lx), ly * lx}};
    return true;
}

typedef struct Align {
    int64_t channels, height, width, out_height, out_width, ratio;
    float scale, shift;
    bool half_pixel, max;
} Align;

/* One cell of the output for all channels of one region; `to` has a plane between channels. */
static void align_cell(const Align *a, const float *plane, float y, float x, float bin_height, float bin_width, int64_t rows,
                       int64_t columns, float *to) {
    int64_t area = a->height * a->width, step = a->out_height * a->out_width;
    for (int64_t c = 0; c < a->channels; c++)
        to[c * step] = a->max ? -INFINITY : 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < columns; k++) {
            Sample s = {{0}, {0}};
            sample_at(y + ((float)r + 0.5f) * bin_height / (float)rows, x + ((float)k + 0.5f) * bin_width / (float)columns,
                      a->height, a->width, &s);
            for (int64_t c = 0; c < a->channels; c++) {
                const float *p = plane + c * area;
                float v[4];
                for (int i = 0; i < 4; i++)
                    v[i] = s.weight[i] * p[s.at[i]];
                float *cell = &to[c * step];
                *cell = a->max ? fmaxf(*cell, fmaxf(fmaxf(v[0], v[1]), fmaxf(v[2], v[3]))) : *cell + (v[0] + v[1] + v[2] + v[3]);
            }
        }
    for (int64_t c = 0; !a->max && c < a->channels; c++)
        to[c * step] /= (float)(rows * columns);
}

static whet_status align_region(OpRun *run, const Align *a, const float *plane, const float *roi, float *to) {
    float x1 = roi[0] * a->scale - a->shift, y1 = roi[1] * a->scale - a->shift;
    float width = roi[2] * a->scale - a->shift - x1, height = roi[3] * a->scale - a->shift - y1;
    if (!a->half_pixel) {
        width = fmaxf(width, 1);
        height = fmaxf(height, 1);
    }
    float bin_height = height / (float)a->out_height, bin_width = width / (float)a->out_width;
    float rows = a->ratio ? (float)a->ratio : ceilf(bin_height), columns = a->ratio ? (float)a->ratio : ceilf(bin_width);
    if (!(rows * columns < 1e6f)) /* not so many points lie in a picture that fits into memory */
        return native_error(run, WHET_ERROR_DATA, "a region of %g by %g is too large", (double)height, (double)width);
    for (int64_t h = 0; h < a->out_height; h++)
        for (int64_t w = 0; w < a->out_width; w++)
            align_cell(a, plane, y1 + (float)h * bin_height, x1 + (float)w * bin_width, bin_height, bin_width,
                       rows < 1 ? 1 : (int64_t)rows, columns < 1 ? 1 : (int64_t)columns, to + h * a->out_width + w);
    return op_interrupted(run);
}

static whet_status align_run(OpRun *run) {
    OpCall *call = run->call;
    const Tensor *x = op_input(run, 0), *rois = op_input(run, 1);
    Align a = {x->dims[1],
               x->dims[2],
               x->dims[3],
               op_int(call, "output_height"),
               op_int(call, "output_width"),
               op_int(call, "sampling_ratio"),
               (float)op_float(call, "spatial_scale"),
               0,
               false,
               op_choice(call, "mode") == 1};
    a.half_pixel = call->row->since >= 16 && op_choice(call, "coordinate_transformation_mode") == 0;
    a.shift = a.half_pixel ? 0.5f : 0;
    const float *data = native_f32(run, 0), *regions = data ? native_f32(run, 1) : NULL;
    const int64_t *batch = regions ? native_s64(run, 2) : NULL;
    void *memory = batch ? native_output(run, 0) : NULL;
    int64_t each = a.channels * a.out_height * a.out_width, count = rois->dims[0] * each;
    float *to = memory && x->type != WHET_F32 ? op_scratch(run, (size_t)count * sizeof *to + 1) : memory;
    if (!to)
        return native_failed(run);
    for (int64_t r = 0; r < rois->dims[0]; r++) {
        if (batch[r] < 0 || batch[r] >= x->dims[0] || !a.height || !a.width)
            return native_error(run, WHET_ERROR_DATA, "batch index %lld of %lld, planes of %lld by %lld", (long long)batch[r],
                                (long long)x->dims[0], (long long)a.height, (long long)a.width);
        whet_status status =
            align_region(run, &a, data + batch[r] * a.channels * a.height * a.width, regions + 4 * r, to + r * each);
        if (status != WHET_OK)
            return status;
    }
    if ((void *)to != memory)
        native_from_f32((DType)x->type, to, count, memory);
    return WHET_OK;
}

#define SUPPRESSION                                                                                                              \
    "boxes:f32, scores:f32, max_output_boxes_per_class?:s64, iou_threshold?:f32, score_threshold?:f32 -> selected_indices:s64"
#define ALIGN_ATTRS "mode:s=avg|max output_height:i=1 output_width:i=1 sampling_ratio:i=0 spatial_scale:f=1"

// clang-format off
const OpRow ops_detection[] = {
    {"", "NonMaxSuppression", 10, SUPPRESSION, "", "center_point_box:i=0", suppression_shape, .run = suppression_run},
    {"", "RoiAlign", 10, "X:T, rois:T, batch_indices:s64 -> Y:T", "T=float", ALIGN_ATTRS, align_shape, .run = align_run},
    {"", "RoiAlign", 16, "X:T, rois:T, batch_indices:s64 -> Y:T", "T=float", ALIGN_ATTRS " coordinate_transformation_mode:s=half_pixel|output_half_pixel", align_shape, .run = align_run},
};
// clang-format on
const size_t ops_detection_count = COUNT(ops_detection);
