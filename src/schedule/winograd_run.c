/* Drives Winograd's convolutions: blocks of tiles, each transformed, multiplied and transformed back. Threads take parts of
 * blocks, whole tiles of the product's rows, each with scratch of its own, for what one core has written another one reads
 * slowly. Where there are fewer parts than threads, each phase of a block is spread. */
#include "schedule/winograd.h"

#include <string.h>

enum { CHUNK = 4 }; /* tiles of a task */

typedef struct Work {
    const Compiled *c;
    const Winograd *w;
    void *const *data;
    const EvalOptions *options;
    const char *packed;     /* weights, */
    bool unpacked;          /* or as the model has them */
    float *scratch;         /* of all tasks */
    int64_t scratch_floats; /* of one */
    int64_t parts, tasks;   /* parts of a block */
    Stop stop;
} Work;

/* A block at work. */
typedef struct Block {
    Work *k;
    int64_t first, count; /* tiles */
    int64_t from, to;     /* of its part, in the product's tiles of rows */
    float *v, *m;
} Block;

typedef struct Place {
    int64_t row, column, image; /* of the tile's first output */
} Place;

static Place place_of(const Winograd *w, int64_t tile) {
    int64_t in = tile % (w->tile_rows * w->tile_columns);
    return (Place){in / w->tile_columns * w->matrices.m, in % w->tile_columns * w->matrices.m,
                   tile / (w->tile_rows * w->tile_columns)};
}

static int64_t image_offset(const Winograd *w, int access, int64_t image) {
    int64_t offset = w->nest.access[access].offset;
    for (int i = w->outer_count - 1; i >= 0; i--) {
        int64_t extent = w->nest.axis[w->outer[i]].extent;
        offset += image % extent * w->nest.access[access].stride[w->outer[i]];
        image /= extent;
    }
    return offset;
}

/* The tiles of a part, from the block's first. */
static int64_t part_begin(const Block *b) {
    return least(b->from * b->k->w->contract->knobs.mr, b->count);
}

static int64_t part_end(const Block *b) {
    return least(b->to * b->k->w->contract->knobs.mr, b->count);
}

static int64_t number(const void *pointer) {
    return (int64_t)(intptr_t)pointer;
}

/* ---- the input ---- */

/* n x n pixels with zeros where they are outside. */
static void copy_patch(const Winograd *w, const float *image, int64_t top, int64_t left, float *patch) {
    const Access *x = &w->nest.access[w->x];
    int64_t n = w->matrices.n, channels = w->channels;
    int64_t from = left < 0 ? least(-left, n) : 0, to = least(w->in_columns - left, n);
    to = to < from ? from : to;
    for (int64_t i = 0; i < n; i++, patch += n * channels) {
        if (top + i < 0 || top + i >= w->in_rows) {
            memset(patch, 0, (size_t)(n * channels) * sizeof *patch);
            continue;
        }
        memset(patch, 0, (size_t)(from * channels) * sizeof *patch);
        for (int64_t j = from; j < to; j++)
            memcpy(patch + j * channels, image + (top + i) * x->stride[w->h] + (left + j) * x->stride[w->p],
                   (size_t)channels * sizeof *patch);
        memset(patch + to * channels, 0, (size_t)((n - to) * channels) * sizeof *patch);
    }
}

/* All lanes by whole vectors, the last moved back to end with the last of them. */
static void call(const Work *k, int function, int64_t *arguments, const int64_t *steps, int count, int64_t channels) {
    int64_t lanes = k->w->lanes;
    arguments[count] = channels / lanes * lanes;
    schedule_call(k->c, function, arguments);
    if (channels % lanes == 0)
        return;
    for (int i = 0; i < count; i++)
        arguments[i] += 4 * steps[i] * (channels - lanes);
    arguments[count] = lanes;
    schedule_call(k->c, function, arguments);
}

static void transform_input(const Block *b, int64_t at, float *patch) {
    const Winograd *w = b->k->w;
    const Access *x = &w->nest.access[w->x];
    Place place = place_of(w, b->first + at);
    int64_t n = w->matrices.n, top = place.row + w->top, left = place.column + w->left;
    int64_t offset = image_offset(w, w->x, place.image) - w->top * x->stride[w->h] - w->left * x->stride[w->p];
    const char *data = b->k->data[x->tensor];
    bool inside = top >= 0 && left >= 0 && top + n <= w->in_rows && left + n <= w->in_columns;
    int64_t from = number(data) + 4 * (offset + top * x->stride[w->h] + left * x->stride[w->p]);
    if (!inside) {
        copy_patch(w, (const float *)data + offset, top, left, patch);
        from = number(patch);
    }
    int64_t arguments[3] = {from, number(b->v + at * w->channels)};
    call(b->k, inside ? w->input : w->patch, arguments, (int64_t[]){1, 1}, 2, w->channels);
}

static void input_task(void *context, size_t i) {
    const Block *b = context;
    const Winograd *w = b->k->w;
    size_t bytes = (size_t)(w->points * w->channels) * sizeof(float);
    float *patch = memory_alloc(b->k->options->allocator, bytes);
    if (!patch) {
        stop_no_memory(&b->k->stop);
        return;
    }
    for (int64_t at = part_begin(b) + (int64_t)i * CHUNK, end = least(at + CHUNK, part_end(b)); at < end; at++)
        transform_input(b, at, patch);
    memory_free(b->k->options->allocator, patch, bytes);
}

/* ---- the product ---- */

/* One point: the contraction template's driver on a kernel of its own. `packed`: weights from panel `panel` on. */
static void multiply(const Block *b, size_t point, const char *packed, int64_t panel, int64_t panels) {
    const Winograd *w = b->k->w;
    Compiled part = *b->k->c;
    void *data[KERNEL_MAX_TENSORS] = {NULL};
    whet_error err;
    part.kernel = w->product;
    part.state = w->contract;
    part.packed = (void *)(uintptr_t)packed;
    data[w->contract->nest.access[0].tensor] = b->m + (int64_t)point * w->m_plane;
    data[w->contract->nest.access[w->contract->a].tensor] = b->v + (int64_t)point * w->v_plane;
    const EvalOptions alone = {.allocator = b->k->options->allocator};
    if (contract_run_tiles(&part, data, b->from, b->to, panel, panels, &alone, &err) != WHET_OK)
        stop_no_memory(&b->k->stop);
}

static void product_task(void *context, size_t point) {
    const Block *b = context;
    multiply(b, point, b->k->packed + point * b->k->w->point_bytes, 0, b->k->w->contract->panels);
}

/* All points of a panel, whose weights are transformed first, into scratch that stays in the second cache. */
static void panel_task(void *context, size_t panel) {
    const Block *b = context;
    const Winograd *w = b->k->w;
    size_t step = w->contract->panel_bytes, bytes = step * (size_t)w->points;
    char *weights = memory_alloc(b->k->options->allocator, bytes);
    if (!weights) {
        stop_no_memory(&b->k->stop);
        return;
    }
    winograd_pack(b->k->c, b->k->packed, (int64_t)panel, weights, step);
    for (int64_t point = 0; point < w->points; point++)
        multiply(b, (size_t)point, weights + (size_t)point * step, (int64_t)panel, 1);
    memory_free(b->k->options->allocator, weights, bytes);
}

/* ---- the output ---- */

static void transform_output(const Block *b, int64_t at) {
    const Winograd *w = b->k->w;
    const Nest *nest = &w->nest;
    Place place = place_of(w, b->first + at);
    int64_t arguments[NEST_MAX_ACCESSES + 1], steps[NEST_MAX_ACCESSES];
    for (int i = 0; i < nest->access_count; i++) {
        const Access *access = &nest->access[i];
        int64_t offset = image_offset(w, i, place.image) + place.row * access->stride[w->h] + place.column * access->stride[w->p];
        arguments[i] = i == w->x   ? number(b->m + at * w->outputs)
                       : i == w->w ? 0
                                   : number(b->k->data[access->tensor]) + 4 * offset;
        steps[i] = i == w->x ? 1 : i == w->w ? 0 : access->stride[w->v];
    }
    bool last_row = place.row + w->matrices.m > w->rows, last = place.column + w->matrices.m > w->columns;
    call(b->k, w->output[last_row][last], arguments, steps, nest->access_count, w->outputs);
}

static void output_task(void *context, size_t i) {
    const Block *b = context;
    for (int64_t at = part_begin(b) + (int64_t)i * CHUNK, end = least(at + CHUNK, part_end(b)); at < end; at++)
        transform_output(b, at);
}

/* ---- blocks ---- */

/* A part of a block. `options`: how to spread its phases; NULL: not at all. */
static void run_part(Work *k, int64_t unit, float *scratch, const EvalOptions *options) {
    const Winograd *w = k->w;
    int64_t first = unit / k->parts * w->block, part = unit % k->parts, mr = w->contract->knobs.mr;
    Block b = {.k = k, .first = first, .v = scratch, .m = scratch + w->points * w->v_plane};
    b.count = least(w->block, w->tiles - first);
    int64_t rows = (b.count + mr - 1) / mr;
    b.from = rows * part / k->parts;
    b.to = rows * (part + 1) / k->parts;
    int64_t tiles = part_end(&b) - part_begin(&b);
    size_t chunks = (size_t)((tiles + CHUNK - 1) / CHUNK);
    double each = (double)(tiles * w->points) / 8, macs = (double)(w->points * tiles * w->channels) * (double)w->outputs;
    if (stop_look(&k->stop, k->options) || !tiles)
        return;
    schedule_parallel(options, each * (double)w->channels, chunks, input_task, &b);
    if (stop_look(&k->stop, k->options))
        return;
    if (k->unpacked)
        schedule_parallel(options, macs, (size_t)w->contract->panels, panel_task, &b);
    else
        schedule_parallel(options, macs / 32, (size_t)w->points, product_task, &b);
    if (stop_look(&k->stop, k->options))
        return;
    schedule_parallel(options, each * (double)w->outputs, chunks, output_task, &b);
}

static float *aligned(char *memory) {
    return (float *)(memory + (64 - (uintptr_t)memory % 64) % 64);
}

static void run_parts(Work *k, int64_t from, int64_t to, float *scratch, const EvalOptions *options) {
    for (int64_t unit = from; unit < to; unit++)
        run_part(k, unit, scratch, options);
}

static void parts_task(void *context, size_t i) {
    Work *k = context;
    int64_t units = k->w->blocks * k->parts, task = (int64_t)i;
    run_parts(k, units * task / k->tasks, units * (task + 1) / k->tasks, k->scratch + task * k->scratch_floats, NULL);
}

/* Parts of blocks, so that all threads end together. */
static void cut(Work *k, int64_t threads) {
    const Winograd *w = k->w;
    int64_t rows = (w->block + w->contract->knobs.mr - 1) / w->contract->knobs.mr;
    k->parts = k->tasks = 1;
    if (threads < 2)
        return;
    int64_t wanted = (threads + w->blocks - 1) / w->blocks;
    for (int64_t parts = wanted; parts <= least(rows, 4 * wanted) && k->tasks == 1; parts++)
        if (w->blocks * parts % threads == 0 || w->blocks * parts >= 8 * threads) {
            k->parts = parts;
            k->tasks = w->blocks * parts % threads ? 2 * threads : threads;
        }
    if (k->tasks == 1 && w->blocks * rows >= threads) {
        k->parts = least(rows, 4 * wanted);
        k->tasks = least(w->blocks * k->parts, 2 * threads);
    }
}

whet_status winograd_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const Winograd *w = c->state;
    Work k = {.c = c, .w = w, .data = data, .options = options};
    k.packed = c->packed ? c->packed : data[w->nest.access[w->w].tensor];
    k.unpacked = options->unpacked;
    cut(&k, k.unpacked ? 1 : schedule_threads(options));
    k.scratch_floats = w->points * (w->v_plane + w->m_plane);
    size_t bytes = (size_t)(k.tasks * k.scratch_floats) * sizeof(float) + 64;
    char *memory = memory_alloc(options->allocator, bytes);
    if (!memory)
        return error_memory(err);
    k.scratch = aligned(memory);
    if (k.tasks > 1)
        schedule_parallel(options, 1e9, (size_t)k.tasks, parts_task, &k);
    else
        run_parts(&k, 0, w->blocks, k.scratch, options);
    memory_free(options->allocator, memory, bytes);
    return stop_status(&k.stop, err);
}
