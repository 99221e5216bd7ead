/* Drives Winograd's convolutions: blocks of tiles, each transformed, multiplied and transformed back. Many blocks are spread over
 * threads as they are, each with scratch of its own; of few, each phase is spread. */
#include "schedule/winograd.h"

#include <stdatomic.h>
#include <string.h>

enum { CHUNK = 4 }; /* tiles of a task */

typedef struct Work {
    const Compiled *c;
    const Winograd *w;
    void *const *data;
    const EvalOptions *options;
    const whet_allocator *allocator;
    const char *packed;
    size_t scratch_bytes;
    int64_t tasks;
    atomic_bool late, no_memory;
} Work;

/* A block at work. */
typedef struct Block {
    Work *k;
    int64_t first, count; /* tiles */
    float *v, *m;
} Block;

typedef struct Place {
    int64_t row, column, image; /* of the tile's first output */
} Place;

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

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
    float *patch = memory_alloc(b->k->allocator, bytes);
    if (!patch) {
        atomic_store(&b->k->no_memory, true);
        return;
    }
    for (int64_t at = (int64_t)i * CHUNK; at < least(((int64_t)i + 1) * CHUNK, b->count); at++)
        transform_input(b, at, patch);
    memory_free(b->k->allocator, patch, bytes);
}

/* ---- the product ---- */

/* One point: the contraction template's driver on a kernel of its own. */
static void product_task(void *context, size_t point) {
    const Block *b = context;
    const Winograd *w = b->k->w;
    Compiled part = *b->k->c;
    void *data[KERNEL_MAX_TENSORS] = {NULL};
    whet_error err;
    part.kernel = w->product;
    part.state = w->contract;
    part.packed = (void *)(uintptr_t)(b->k->packed + point * w->point_bytes);
    data[w->contract->nest.access[0].tensor] = b->m + (int64_t)point * w->m_plane;
    data[w->contract->nest.access[w->contract->a].tensor] = b->v + (int64_t)point * w->v_plane;
    const EvalOptions alone = {.allocator = b->k->allocator};
    if (contract_run(&part, data, &alone, &err) != WHET_OK)
        atomic_store(&b->k->no_memory, true);
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
    for (int64_t at = (int64_t)i * CHUNK; at < least(((int64_t)i + 1) * CHUNK, b->count); at++)
        transform_output(b, at);
}

/* ---- blocks ---- */

static bool stopped(Work *k) {
    if (schedule_late(k->options))
        atomic_store(&k->late, true);
    return atomic_load_explicit(&k->late, memory_order_relaxed) || atomic_load_explicit(&k->no_memory, memory_order_relaxed);
}

/* `options`: how to spread its phases; NULL: not at all. */
static void run_block(Work *k, int64_t block, float *scratch, const EvalOptions *options) {
    const Winograd *w = k->w;
    int64_t first = block * w->block;
    Block b = {k, first, least(w->block, w->tiles - first), scratch, scratch + w->points * w->v_plane};
    size_t chunks = (size_t)((b.count + CHUNK - 1) / CHUNK);
    double each = (double)(b.count * w->points) / 8, macs = (double)(w->points * w->block * w->channels) * (double)w->outputs;
    if (stopped(k))
        return;
    schedule_parallel(options, each * (double)w->channels, chunks, input_task, &b);
    if (stopped(k))
        return;
    schedule_parallel(options, macs / 32, (size_t)w->points, product_task, &b);
    if (stopped(k))
        return;
    schedule_parallel(options, each * (double)w->outputs, chunks, output_task, &b);
}

static float *aligned(char *memory) {
    return (float *)(memory + (64 - (uintptr_t)memory % 64) % 64);
}

static void run_blocks(Work *k, int64_t from, int64_t to, const EvalOptions *options) {
    char *memory = memory_alloc(k->allocator, k->scratch_bytes);
    if (!memory) {
        atomic_store(&k->no_memory, true);
        return;
    }
    for (int64_t block = from; block < to; block++)
        run_block(k, block, aligned(memory), options);
    memory_free(k->allocator, memory, k->scratch_bytes);
}

static void blocks_task(void *context, size_t i) {
    Work *k = context;
    run_blocks(k, k->w->blocks * (int64_t)i / k->tasks, k->w->blocks * ((int64_t)i + 1) / k->tasks, NULL);
}

whet_status winograd_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const Winograd *w = c->state;
    Work k = {.c = c, .w = w, .data = data, .options = options};
    k.allocator = options && options->allocator ? options->allocator : c->allocator;
    k.packed = c->packed ? c->packed : data[w->nest.access[w->w].tensor];
    k.scratch_bytes = (size_t)(w->points * (w->v_plane + w->m_plane)) * sizeof(float) + 64;
    int64_t threads = options && options->parallel ? options->parallel->threads : 1;
    if (threads > 1 && w->blocks >= 4 * threads) {
        k.tasks = 2 * threads;
        schedule_parallel(options, 1e9, (size_t)k.tasks, blocks_task, &k);
    } else
        run_blocks(&k, 0, w->blocks, options);
    if (atomic_load(&k.no_memory))
        return error_memory(err);
    return atomic_load(&k.late) ? error_set(err, WHET_ERROR_LIMIT, "the time limit has passed") : WHET_OK;
}
