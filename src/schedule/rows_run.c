/* Drives a row kernel: cuts rows into tasks. A row is never cut, so results are the same for any number of threads. */
#include "schedule/rows.h"

#include <string.h>

enum { TASK_ELEMENTS = 1 << 15, STACK_FLOATS = 1 << 12 };

typedef struct Work {
    const Compiled *c;
    const Rows *r;
    void *const *data;
    const EvalOptions *options;
    int64_t row_tasks, rows_each;     /* along row_axis */
    int64_t block_tasks, blocks_each; /* across: along the axis of lanes, in whole blocks */
    int64_t blocks;
    Stop stop;
} Work;

/* One call of a function: rows [row, row + rows) of one place on the outer axes, and (across) lanes from `lane`. */
typedef struct Part {
    int64_t outer, row, rows, lane, lanes;
} Part;

static void call(const Work *w, int function, Part part, float *scratch) {
    const Rows *r = w->r;
    int64_t arguments[NEST_MAX_ACCESSES + ROWS_MAX_DEFINITIONS + 6], digit[NEST_MAX_AXES];
    int n = 0;
    for (int k = r->outer_count - 1; k >= 0; k--) {
        digit[k] = part.outer % r->nest.axis[r->outer[k]].extent;
        part.outer /= r->nest.axis[r->outer[k]].extent;
    }
    for (int i = 0; i < r->nest.access_count; i++) {
        const Access *access = &r->nest.access[i];
        if (r->leader[i] != i)
            continue;
        int64_t at = access->offset + part.row * rows_row_stride(r, i);
        if (r->across)
            at += part.lane * rows_lane_stride(r, i);
        for (int k = 0; k < r->outer_count; k++)
            at += digit[k] * access->stride[r->outer[k]];
        const void *base = access->tensor == ROWS_TABLE ? r->table : w->data[access->tensor];
        arguments[n++] = (int64_t)(intptr_t)((const char *)base + rows_element_bytes(r, i) * at);
    }
    for (int s = 0; s < r->scratch_count; s++)
        arguments[n++] = (int64_t)(intptr_t)(scratch + (size_t)s * r->scratch_floats);
    arguments[n++] = part.rows;
    arguments[n++] = part.lanes;
    if (r->lone) {
        int64_t full = r->columns / r->lanes * r->lanes, rounds = r->columns / rows_round(r) * rows_round(r);
        const int64_t counts[] = {full, r->columns - full, rounds, full - rounds};
        memcpy(arguments + n, counts, sizeof counts);
    }
    schedule_call(w->c, function, arguments);
}

static void call_along(const Work *w, Part part, float *scratch) {
    const Rows *r = w->r;
    for (int f = r->function_count - 1; f >= 0; f--) { /* the one of many rows first */
        int64_t rows = rows_taken(&r->function[f], part.rows);
        if (rows)
            call(w, f, (Part){.outer = part.outer, .row = part.row, .rows = rows_argument(&r->function[f], rows)}, scratch);
        part.row += rows;
        part.rows -= rows;
    }
}

static void call_across(const Work *w, Part part, int64_t block, int64_t blocks, float *scratch) {
    const Rows *r = w->r;
    int64_t width = (int64_t)r->function[0].copies * r->lanes;
    part.lane = block * width;
    part.lanes = blocks * width;
    if (blocks)
        call(w, r->whole, part, scratch);
    if (block + blocks == w->blocks && r->tail >= 0) {
        part.lane = w->blocks * width;
        call(w, r->tail, part, scratch);
    }
}

static void rows_task(void *context, size_t task) {
    Work *w = context;
    const Rows *r = w->r;
    int64_t t = (int64_t)task, block = t % w->block_tasks * w->blocks_each,
            row = t / w->block_tasks % w->row_tasks * w->rows_each;
    int64_t blocks = w->blocks - block < w->blocks_each ? w->blocks - block : w->blocks_each;
    Part part = {.outer = t / w->block_tasks / w->row_tasks, .row = row};
    part.rows = r->rows - row < w->rows_each ? r->rows - row : w->rows_each;
    if (stop_asked(&w->stop))
        return;
    _Alignas(64) float local[STACK_FLOATS];
    size_t floats = r->scratch_floats * (size_t)r->scratch_count;
    float *scratch = floats <= STACK_FLOATS ? local : memory_alloc(w->options->allocator, floats * sizeof *scratch);
    if (!scratch) {
        stop_no_memory(&w->stop);
        return;
    }
    if (r->across)
        call_across(w, part, block, blocks, scratch);
    else
        call_along(w, part, scratch);
    if (scratch != local)
        memory_free(w->options->allocator, scratch, floats * sizeof *scratch);
    stop_look(&w->stop, w->options);
}

static int64_t at_least_one(int64_t n) {
    return n > 0 ? n : 1;
}

/* So many rows that only the last task has some left over. */
int64_t rows_of_task(const Rows *r, int copies) {
    int64_t rows = at_least_one(TASK_ELEMENTS / at_least_one(r->columns));
    return (rows + copies - 1) / copies * copies;
}

/* Passes that go side by side lose at the ends of a task, so tasks are as long as threads, and who asks them to stop, allow. */
static void lengthen_tasks(Work *w) {
    enum { MOST = 32, SHARES = 4 };
    int64_t threads = schedule_threads(w->options), tasks = w->r->outer_total * ((w->r->rows + w->rows_each - 1) / w->rows_each);
    w->rows_each *= at_least_one(least(MOST, threads > 1 ? tasks / (SHARES * threads) : tasks));
}

static void cut_across(Work *w) {
    const Rows *r = w->r;
    int64_t width = (int64_t)r->function[0].copies * r->lanes, columns = at_least_one(r->columns);
    w->blocks = r->whole >= 0 ? r->lane_extent / width : 0;
    w->blocks_each = at_least_one(TASK_ELEMENTS / (columns * width));
    w->block_tasks = at_least_one((w->blocks + w->blocks_each - 1) / w->blocks_each);
    if (w->block_tasks == 1) {
        w->blocks_each = w->blocks;
        w->rows_each = at_least_one(TASK_ELEMENTS / (columns * r->lane_extent));
    }
}

whet_status rows_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const Rows *r = c->state;
    Work w = {.c = c, .r = r, .data = data, .options = options, .rows_each = 1, .block_tasks = 1};
    if (r->rows == 0 || r->outer_total == 0 || (r->across && r->lane_extent == 0))
        return WHET_OK;
    if (r->across)
        cut_across(&w);
    else {
        w.rows_each = rows_of_task(r, r->function[r->function_count - 1].copies);
        lengthen_tasks(&w);
    }
    w.row_tasks = (r->rows + w.rows_each - 1) / w.rows_each;
    double work =
        (double)r->outer_total * (double)r->rows * (double)r->columns * (r->across ? (double)r->lane_extent : 1) * r->count / 2;
    schedule_parallel(options, work, (size_t)(r->outer_total * w.row_tasks * w.block_tasks), rows_task, &w);
    return stop_status(&w.stop, err);
}
