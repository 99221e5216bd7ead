/* Drives a contraction: packs B where that could not be done before, cuts the work into tasks, walks blocks and calls tiles. */
#include "schedule/contract.h"

#include <stdatomic.h>
#include <string.h>

/* ---- packing ---- */

/* The place of step `k` of the depth in an access, by its digits over the depth's axes. */
static int64_t depth_offset(const Contract *k, int access, int64_t step) {
    int64_t offset = 0;
    for (int level = k->k_count - 1; level >= 0; level--) {
        int axis = k->k_axis[level];
        offset += step % k->nest.axis[axis].extent * k->nest.access[access].stride[axis];
        step /= k->nest.axis[axis].extent;
    }
    return offset;
}

static int64_t batch_offset(const Contract *k, int64_t batch) {
    int64_t offset = 0;
    for (int i = k->outer_count - 1; i >= 0; i--) {
        int axis = k->outer[i];
        int64_t stride = k->nest.access[k->b].stride[axis];
        if (!stride)
            continue;
        offset += batch % k->nest.axis[axis].extent * stride;
        batch /= k->nest.axis[axis].extent;
    }
    return offset;
}

void contract_pack_panel(const Contract *k, const void *b, void *packed, int64_t panel) {
    const Access *access = &k->nest.access[k->b];
    int64_t first = panel % k->panels * k->nr, n_stride = k->n_axis >= 0 ? access->stride[k->n_axis] : 0;
    int64_t columns = k->columns - first < k->nr ? k->columns - first : k->nr;
    const float *from = (const float *)b + access->offset + batch_offset(k, panel / k->panels) + first * n_stride;
    float *to = (float *)packed + panel * k->depth * k->nr;
    for (int64_t step = 0; step < k->depth; step++, to += k->nr) {
        const float *row = from + depth_offset(k, k->b, step);
        if (n_stride == 1)
            memcpy(to, row, (size_t)columns * sizeof *to);
        else
            for (int64_t n = 0; n < columns; n++)
                to[n] = row[n * n_stride];
        memset(to + columns, 0, (size_t)(k->nr - columns) * sizeof *to);
    }
}

typedef struct PackWork {
    const Contract *k;
    const void *b;
    void *packed;
} PackWork;

static void pack_task(void *context, size_t i) {
    const PackWork *w = context;
    contract_pack_panel(w->k, w->b, w->packed, (int64_t)i);
}

/* ---- tiles ---- */

typedef struct Work {
    const Compiled *c;
    const Contract *k;
    void *const *data;
    const float *packed;
    const EvalOptions *options;
    int64_t row_tasks, panel_tasks, rows_each, panels_each; /* the grid of one outer index */
    atomic_bool late;
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

static int64_t along(const Contract *k, int access, int axis, int64_t steps) {
    return axis < 0 ? 0 : k->nest.access[access].stride[axis] * steps;
}

/* Rows [row, row + count) of one panel in one block of depth. `rest`: fewer rows than a tile. */
static void call_tile(const Work *w, const Corner *corner, int64_t block, int64_t panel, int64_t row, int64_t count, bool rest) {
    const Contract *k = w->k;
    int64_t arguments[NEST_MAX_ACCESSES + 1], step = block * k->knobs.kc;
    for (int a = 0; a < k->nest.access_count; a++) {
        char *base = w->data[k->nest.access[a].tensor];
        int64_t at = corner->offset[a] + along(k, a, k->m_axis, row) + along(k, a, k->n_axis, panel * k->nr);
        if (a == k->a && k->k_count)
            at += along(k, a, k->k_axis[k->k_count - 1], step);
        if (a == k->b)
            arguments[a] = (int64_t)(intptr_t)(w->packed + ((corner->batch * k->panels + panel) * k->depth + step) * k->nr);
        else
            arguments[a] = (int64_t)(intptr_t)(base + 4 * at);
    }
    arguments[k->nest.access_count] = count;
    int kind = k->blocks == 1 ? 3 : block == 0 ? 0 : block == k->blocks - 1 ? 2 : 1;
    bool edge = (panel + 1) * k->nr > k->columns;
    w->c->target.entry(w->c->code, k->function[kind][rest][edge])(arguments);
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void walk(Work *w, const Corner *corner, int64_t row_from, int64_t row_to, int64_t panel_from, int64_t panel_to) {
    const Contract *k = w->k;
    for (int64_t block = 0; block < k->blocks; block++)
        for (int64_t row = row_from; row < row_to; row += k->knobs.mc) {
            int64_t rows = least(k->knobs.mc, row_to - row), whole = rows / k->knobs.mr * k->knobs.mr;
            for (int64_t panel = panel_from; panel < panel_to; panel++) {
                if (whole)
                    call_tile(w, corner, block, panel, row, whole, false);
                if (whole < rows)
                    call_tile(w, corner, block, panel, row + whole, rows - whole, true);
            }
            if (schedule_late(w->options))
                atomic_store(&w->late, true);
            if (atomic_load_explicit(&w->late, memory_order_relaxed))
                return;
        }
}

static void work_task(void *context, size_t i) {
    Work *w = context;
    int64_t each = w->row_tasks * w->panel_tasks, in = (int64_t)i % each;
    if (atomic_load_explicit(&w->late, memory_order_relaxed))
        return;
    Corner corner = corner_of(w->k, (int64_t)i / each);
    int64_t row = in / w->panel_tasks * w->rows_each, panel = in % w->panel_tasks * w->panels_each;
    walk(w, &corner, row, least(row + w->rows_each, w->k->rows), panel, least(panel + w->panels_each, w->k->panels));
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
    Work w = {.c = c, .k = k, .data = data, .packed = c->packed, .options = options};
    const whet_allocator *allocator = options && options->allocator ? options->allocator : c->allocator;
    int64_t outer = 1;
    for (int i = 0; i < k->outer_count; i++)
        outer *= k->nest.axis[k->outer[i]].extent;
    void *scratch = NULL;
    if (!k->constant) {
        scratch = memory_alloc(allocator, k->packed_bytes);
        if (!scratch)
            return error_memory(err);
        PackWork pack = {k, data[k->nest.access[k->b].tensor], scratch};
        schedule_parallel(options, (size_t)(k->batches * k->panels), pack_task, &pack);
        w.packed = scratch;
    }
    clear_gaps(k, data);
    schedule_parallel(options, (size_t)make_grid(&w, outer), work_task, &w);
    memory_free(allocator, scratch, k->packed_bytes);
    return atomic_load(&w.late) ? error_set(err, WHET_ERROR_LIMIT, "the time limit has passed") : WHET_OK;
}
