/* Runs the passes: temporaries and offsets first, then tasks of rows, those of passes that need not wait for each other at once.
 */
#include "schedule/map.h"

#include <string.h>

typedef struct Work {
    const Compiled *c;
    const MapPlan *plan;
    void *const *data;
    const EvalOptions *options;
    int first, end;                          /* the passes that run now */
    const void *(*table)[NEST_MAX_ACCESSES]; /* by pass and access: offsets */
    void **tables;                           /* by pass: their memory */
    Stop stop;
} Work;

static int64_t box_tasks(const MapBox *box) {
    return box->outer_total * box->row_tasks;
}

static const char *base_of(const Work *w, int pass, int access) {
    const MapPass *m = &w->plan->passes[pass];
    const Access *a = &m->nest.access[access];
    return a->source == ACCESS_TENSOR    ? w->data[a->tensor]
           : a->source == ACCESS_NUMBERS ? (const char *)m->numbers
                                         : w->table[pass - w->first][access];
}

/* Elements from the base to where the outer axes stand. */
static void outer_places(const MapPass *m, const MapBox *box, int64_t outer, int64_t *at) {
    int64_t place[NEST_MAX_AXES];
    memcpy(place, box->begin, sizeof place);
    for (int k = box->outer_count - 1; k >= 0; k--) {
        int64_t extent = box->extent[box->outer[k]];
        place[box->outer[k]] += outer % extent;
        outer /= extent;
    }
    for (int i = 0; i < m->nest.access_count; i++) {
        const Access *a = &m->nest.access[i];
        at[i] = a->offset;
        for (int x = 0; x < m->nest.axis_count; x++)
            at[i] += x == m->column ? 0 : place[x] * a->stride[x];
    }
}

static void put_counts(const Work *w, const MapPass *m, const MapBox *box, int64_t *arguments) {
    int64_t lanes = map_lanes(m, w->c->target.bytes), round = lanes * least(w->plan->unroll, MAP_MOST_UNROLL);
    int64_t columns = box->extent[m->column], whole = columns / lanes * lanes;
    arguments[0] = columns / round * round;
    arguments[1] = whole - arguments[0];
    arguments[2] = whole < columns ? lanes : 0;
    arguments[3] = columns - lanes;
}

static void call_rows(const Work *w, int pass, const MapBox *box, const int64_t *at, int64_t row, int64_t rows) {
    int64_t arguments[NEST_MAX_ACCESSES + 6];
    const MapPass *m = &w->plan->passes[pass];
    int count = m->nest.access_count;
    for (int i = 0; i < count; i++) {
        const Access *a = &m->nest.access[i];
        int64_t place = at[i] + row * map_row_stride(m, box, i);
        int offsets = map_offsets_along(m, i, false);
        if (offsets && !map_row_stride(m, box, offsets)) /* others are added row by row, by the function */
            place += ((const int64_t *)base_of(w, pass, offsets))[at[offsets]];
        arguments[i] = (int64_t)(intptr_t)base_of(w, pass, i) + map_bytes(a->type) * place;
    }
    if (m->permutes)
        arguments[count++] = (int64_t)(intptr_t)box->lanes;
    arguments[count++] = rows;
    if (box->counted)
        put_counts(w, m, box, arguments + count);
    schedule_call(w->c, box->function, arguments);
}

static void run_rows(const Work *w, int pass, const MapBox *box, const int64_t *at, int64_t row, int64_t rows) {
    int lanes = map_square(&w->plan->passes[pass], w->c->target.bytes);
    if (box->tiled && rows % lanes) { /* the last square begins earlier */
        call_rows(w, pass, box, at, row + rows - lanes, lanes);
        rows -= rows % lanes;
    }
    call_rows(w, pass, box, at, row, rows);
}

static void map_task(void *context, size_t task) {
    Work *w = context;
    int pass = w->first, b = 0;
    int64_t left = (int64_t)task, at[NEST_MAX_ACCESSES];
    if (stop_asked(&w->stop))
        return;
    for (; left >= box_tasks(&w->plan->passes[pass].boxes[b]); b++) {
        left -= box_tasks(&w->plan->passes[pass].boxes[b]);
        if (b + 1 == w->plan->passes[pass].box_count) {
            pass++;
            b = -1;
        }
    }
    const MapPass *m = &w->plan->passes[pass];
    const MapBox *box = &m->boxes[b];
    int64_t row = left % box->row_tasks * box->rows_each, rows = map_extent(box, box->row) - row;
    if (rows > box->rows_each && left % box->row_tasks + 1 < box->row_tasks)
        rows = box->rows_each;
    outer_places(m, box, left / box->row_tasks, at);
    run_rows(w, pass, box, at, row, rows);
    stop_look(&w->stop, w->options);
}

/* ---- offsets ---- */

static void free_tables(Work *w) {
    for (int p = w->first; p < w->end; p++)
        if (w->tables[p - w->first])
            memory_free(w->options->allocator, w->tables[p - w->first], (size_t)w->plan->passes[p].table_bytes);
}

static whet_status make_tables_of(Work *w, int pass, whet_error *err) {
    const MapPass *m = &w->plan->passes[pass];
    const void **table = w->table[pass - w->first];
    char *memory = m->table_bytes ? memory_alloc(w->options->allocator, (size_t)m->table_bytes) : NULL;
    w->tables[pass - w->first] = memory;
    if (m->table_bytes && !memory)
        return error_memory(err);
    for (int g = 0; g < m->gather_count; g++) {
        const MapGather *gather = &m->gathers[g];
        table[gather->offsets] = gather->fixed ? gather->table : memory + gather->place;
        whet_status status =
            gather->fixed ? WHET_OK : map_offsets(w->c, m, gather, w->data, w->options, memory + gather->place, err);
        if (status)
            return status;
    }
    return WHET_OK;
}

static whet_status make_tables(Work *w, whet_error *err) {
    whet_status status = WHET_OK;
    for (int p = w->first; p < w->end; p++)
        w->tables[p - w->first] = NULL;
    for (int p = w->first; !status && p < w->end; p++)
        status = make_tables_of(w, p, err);
    return status;
}

static double work_of(const MapPass *m) {
    double work = 0;
    for (int b = 0; b < m->box_count; b++)
        work += (double)m->boxes[b].outer_total * (double)map_extent(&m->boxes[b], m->boxes[b].row) *
                (double)map_extent(&m->boxes[b], m->column);
    return work * m->nest.definition->expr_count / 8;
}

static whet_status run_passes(Work *w, whet_error *err) {
    const void *tables[KERNEL_MAX_TENSORS][NEST_MAX_ACCESSES]; /* of offsets alone: for others it is not worth clearing */
    void *memory[KERNEL_MAX_TENSORS];
    int64_t tasks = 0;
    double work = 0;
    w->table = tables;
    w->tables = memory;
    whet_status status = make_tables(w, err);
    for (int p = w->first; p < w->end; p++) {
        for (int b = 0; b < w->plan->passes[p].box_count; b++)
            tasks += box_tasks(&w->plan->passes[p].boxes[b]);
        work += work_of(&w->plan->passes[p]);
    }
    if (!status)
        schedule_parallel(w->options, work, (size_t)tasks, map_task, w);
    free_tables(w);
    w->table = NULL;
    w->tables = NULL;
    return status ? status : stop_status(&w->stop, err);
}

/* ---- temporaries ---- */

static size_t tensor_bytes(const KernelTensor *tensor) {
    return (size_t)tensor->count * (size_t)map_bytes(tensor->type); /* checked when the kernel was bound */
}

static bool is_stored(const Compiled *c, int tensor) {
    const MapPlan *plan = c->state;
    return c->kernel->tensors[tensor].role == ROLE_TEMPORARY && !(plan->known && plan->known[tensor]);
}

/* In one piece of memory, which a heap keeps for the next call where it would give many back. False: out of memory. */
static bool place_temporaries(const Compiled *c, const EvalOptions *options, void **data, void **memory, size_t *bytes) {
    enum { LINE = 64 };
    *bytes = 0;
    for (int t = 0; t < c->kernel->tensor_count; t++)
        if (is_stored(c, t) && !checked_size_add(*bytes, (tensor_bytes(&c->kernel->tensors[t]) + LINE) / LINE * LINE, bytes))
            return false;
    if (!*bytes)
        return true;
    *bytes += LINE;
    char *at = *memory = memory_alloc(options->allocator, *bytes);
    if (!at)
        return false;
    at += (LINE - (uintptr_t)at % LINE) % LINE;
    for (int t = 0; t < c->kernel->tensor_count; t++)
        if (is_stored(c, t)) {
            data[t] = at;
            at += (tensor_bytes(&c->kernel->tensors[t]) + LINE) / LINE * LINE;
        }
    return true;
}

whet_status map_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    static const EvalOptions none = {0};
    const MapPlan *plan = c->state;
    void *all[KERNEL_MAX_TENSORS];
    options = options ? options : &none;
    for (int t = 0; t < c->kernel->tensor_count; t++)
        all[t] = c->kernel->tensors[t].role != ROLE_TEMPORARY ? data[t] : plan->known ? (void *)(uintptr_t)plan->known[t] : NULL;
    void *memory = NULL;
    size_t bytes;
    whet_status status = place_temporaries(c, options, all, &memory, &bytes) ? WHET_OK : error_memory(err);
    for (int p = 0; !status && p < plan->pass_count; p++) {
        const KernelTensor *tensor = &c->kernel->tensors[plan->passes[p].nest.definition->tensor];
        if (plan->passes[p].clears && !options->keep)
            memset(all[plan->passes[p].nest.definition->tensor], 0, tensor_bytes(tensor));
    }
    for (int first = 0, end; !status && first < plan->pass_count; first = end) {
        for (end = first + 1; end < plan->pass_count && end - first < KERNEL_MAX_TENSORS && plan->passes[end].joins;)
            end++;
        Work w = {.c = c, .plan = plan, .data = all, .options = options, .first = first, .end = end};
        status = run_passes(&w, err);
    }
    if (memory)
        memory_free(options->allocator, memory, bytes);
    return status;
}
