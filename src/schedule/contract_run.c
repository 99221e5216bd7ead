/* Drives a contraction: cuts the work into tasks, packs panels that could not be packed before, walks blocks and calls tiles. */
#include "schedule/contract.h"

#include <stdatomic.h>
#include <string.h>

/* ---- tiles ---- */

typedef struct Work {
    const Compiled *c;
    const Contract *k;
    void *const *data;
    const EvalOptions *options;
    const whet_allocator *allocator;
    int64_t row_tasks, panel_tasks, rows_each, panels_each; /* the grid of one outer index */
    atomic_bool late, no_memory;
} Work;

typedef struct Corner {                /* one outer index */
    int64_t offset[NEST_MAX_ACCESSES]; /* elements, by access */
    int64_t batch;
} Corner;

static Corner corner_of(const Contract *k, int64_t outer) {
    Corner corner = {.batch = 0};
    int64_t digit[NEST_MAX_AXES];
    for (int i = k->outer_count - 1; i >= 0; i--) {
        digit[i] = outer % k->nest.axis[k->outer[i]].extent;
        outer /= k->nest.axis[k->outer[i]].extent;
    }
    for (int a = 0; a < k->nest.access_count; a++) {
        corner.offset[a] = k->nest.access[a].offset;
        for (int i = 0; i < k->outer_count; i++)
            corner.offset[a] += digit[i] * k->nest.access[a].stride[k->outer[i]];
    }
    for (int i = 0; i < k->outer_count; i++)
        if (k->nest.access[k->b].stride[k->outer[i]])
            corner.batch = corner.batch * k->nest.axis[k->outer[i]].extent + digit[i];
    return corner;
}

/* Rows [row, row + count) of one panel in one block of depth. `rest`: fewer rows than a tile. */
static void call_tile(const Work *w, const Corner *corner, const float *packed, int64_t block, int64_t panel, int64_t row,
                      int64_t count, bool rest) {
    const Contract *k = w->k;
    int64_t arguments[NEST_MAX_ACCESSES + 1], step = block * k->knobs.kc;
    for (int a = 0; a < k->nest.access_count; a++) {
        char *base = w->data[k->nest.access[a].tensor];
        int64_t at = corner->offset[a] + contract_m_stride(k, a) * row + contract_n_stride(k, a) * panel * k->nr;
        if (a == k->a)
            at += step * k->level[k->level_count - 1].a_stride;
        arguments[a] = (int64_t)(intptr_t)(a == k->b ? (const char *)packed : base + 4 * at);
    }
    arguments[k->nest.access_count] = count;
    int kind = k->blocks == 1 ? 3 : block == 0 ? 0 : block == k->blocks - 1 ? 2 : 1;
    bool edge = (panel + 1) * k->nr > k->columns;
    schedule_call(w->c, k->function[kind][rest][edge], arguments);
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static bool stopped(Work *w) {
    if (schedule_late(w->options))
        atomic_store(&w->late, true);
    return atomic_load_explicit(&w->late, memory_order_relaxed) || atomic_load_explicit(&w->no_memory, memory_order_relaxed);
}

static void call_rows(const Work *w, const Corner *corner, const float *packed, int64_t block, int64_t panel, int64_t row,
                      int64_t rows) {
    int64_t whole = rows / w->k->knobs.mr * w->k->knobs.mr;
    if (whole)
        call_tile(w, corner, packed, block, panel, row, whole, false);
    if (whole < rows)
        call_tile(w, corner, packed, block, panel, row + whole, rows - whole, true);
}

typedef struct Range {
    int64_t from, to;
} Range;

/* Panels that lie packed: a block of A stays in L2 while all panels pass. */
static void walk_packed(Work *w, const Corner *corner, Range rows, Range panels) {
    const Contract *k = w->k;
    const float *packed = w->c->packed ? w->c->packed : w->data[k->nest.access[k->b].tensor];
    const float *batch = packed + (size_t)(corner->batch * k->panels) * k->panel_bytes / 4;
    for (int64_t block = 0; block < k->blocks; block++)
        for (int64_t row = rows.from; row < rows.to; row += k->knobs.mc) {
            for (int64_t panel = panels.from; panel < panels.to; panel++)
                call_rows(w, corner, batch + (size_t)panel * k->panel_bytes / 4 + block * k->knobs.kc * k->nr, block, panel, row,
                          least(k->knobs.mc, rows.to - row));
            if (stopped(w))
                return;
        }
}

/* Panels that are packed here, a block of depth at a time: each is used for all rows before the next is made. */
static void walk_unpacked(Work *w, const Corner *corner, Range rows, Range panels) {
    const Contract *k = w->k;
    int64_t depth = k->blocks == 1 ? k->depth : k->knobs.kc;
    size_t bytes = (size_t)(depth * k->nr) * sizeof(float);
    float *packed = memory_alloc(w->allocator, bytes);
    if (!packed) {
        atomic_store(&w->no_memory, true);
        return;
    }
    for (int64_t panel = panels.from; panel < panels.to && !stopped(w); panel++)
        for (int64_t block = 0; block < k->blocks; block++) {
            int64_t from = block * depth, end = least(from + depth, k->depth);
            contract_pack_panel(k, w->data[k->nest.access[k->b].tensor], corner->batch, panel, from, end, packed);
            call_rows(w, corner, packed, block, panel, rows.from, rows.to - rows.from);
        }
    memory_free(w->allocator, packed, bytes);
}

static void work_task(void *context, size_t i) {
    Work *w = context;
    int64_t each = w->row_tasks * w->panel_tasks, in = (int64_t)i % each;
    if (stopped(w))
        return;
    Corner corner = corner_of(w->k, (int64_t)i / each);
    int64_t row = in / w->panel_tasks * w->rows_each, panel = in % w->panel_tasks * w->panels_each;
    Range rows = {row, least(row + w->rows_each, w->k->rows)}, panels = {panel, least(panel + w->panels_each, w->k->panels)};
    if (w->k->constant)
        walk_packed(w, &corner, rows, panels);
    else
        walk_unpacked(w, &corner, rows, panels);
}

static int64_t ceiling(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/* A grid over rows and panels: enough tasks for all threads to end together, few enough that blocks stay whole. */
static int64_t make_grid(Work *w, int64_t outer) {
    const Contract *k = w->k;
    int64_t threads = w->options && w->options->parallel ? w->options->parallel->threads : 1;
    double flops = 2.0 * (double)outer * (double)k->rows * (double)k->columns * (double)k->depth;
    int64_t wanted = threads < 2 || flops < 1e6 ? 1 : ceiling(threads * 4, outer);
    w->panel_tasks = least(wanted, k->panels);
    w->panels_each = ceiling(k->panels, w->panel_tasks);
    w->panel_tasks = ceiling(k->panels, w->panels_each);
    int64_t tiles = ceiling(k->rows, k->knobs.mr), row_tasks = least(ceiling(wanted, w->panel_tasks), tiles);
    if (!k->constant && w->panel_tasks > 1) /* each would pack the same panels again */
        row_tasks = 1;
    w->rows_each = ceiling(tiles, row_tasks) * k->knobs.mr;
    w->row_tasks = ceiling(k->rows, w->rows_each);
    return outer * w->row_tasks * w->panel_tasks;
}

static void clear_gaps(const Contract *k, void *const *data) {
    const KernelTensor *tensor = &k->nest.kernel->tensors[k->nest.access[0].tensor];
    if (!k->nest.covers)
        memset(data[k->nest.access[0].tensor], 0, (size_t)tensor->count * 4);
}

whet_status contract_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const Contract *k = c->state;
    Work w = {.c = c, .k = k, .data = data, .options = options};
    w.allocator = options && options->allocator ? options->allocator : c->allocator;
    int64_t outer = 1;
    for (int i = 0; i < k->outer_count; i++)
        outer *= k->nest.axis[k->outer[i]].extent;
    clear_gaps(k, data);
    double macs = (double)outer * (double)k->rows * (double)k->columns * (double)k->depth;
    schedule_parallel(options, macs / 32, (size_t)make_grid(&w, outer), work_task, &w); /* 32 a nanosecond, or so */
    if (atomic_load(&w.no_memory))
        return error_memory(err);
    return atomic_load(&w.late) ? error_set(err, WHET_ERROR_LIMIT, "the time limit has passed") : WHET_OK;
}
