/* Drives a window: cuts the work into units, copies the box of each into the buffer and calls the vector code. */
#include "schedule/window.h"

#include <string.h>

typedef struct Work {
    const Compiled *c;
    const Window *w;
    void *const *data;
    const EvalOptions *options;
    int64_t units, tasks;
    Stop stop;
} Work;

/* One unit: where it begins. */
typedef struct Unit {
    int64_t offset[NEST_MAX_ACCESSES];                  /* elements, by access */
    int64_t start[WINDOW_MAX_DIMS];                     /* of the box: indices, may be outside */
    int64_t from[WINDOW_MAX_DIMS], to[WINDOW_MAX_DIMS]; /* the part of the box that is inside */
    bool last;
} Unit;

static char *base_of(const Work *k, int access) {
    int tensor = k->w->nest.access[access].tensor;
    return k->w->temporary[tensor] ? (char *)k->w->temporary[tensor] : k->data[tensor];
}

static void add_axis(const Window *w, Unit *u, int axis, int64_t digit) {
    for (int i = 0; i < w->nest.access_count; i++)
        u->offset[i] += digit * w->nest.access[i].stride[axis];
    for (int d = 0; d < w->dim_count; d++)
        u->start[d] += digit * w->dim[d].coef[axis];
}

static Unit unit_at(const Window *w, int64_t index) {
    Unit u = {.last = w->bands > 1 && index % w->bands == w->bands - 1};
    for (int i = 0; i < w->nest.access_count; i++)
        u.offset[i] = w->nest.access[i].offset;
    for (int d = 0; d < w->dim_count; d++)
        u.start[d] = w->dim[d].offset + w->dim[d].low;
    if (w->band_axis >= 0)
        add_axis(w, &u, w->band_axis, index % w->bands * w->band);
    index /= w->bands;
    for (int i = w->outer_count - 1; i >= 0; i--) {
        int64_t extent = w->nest.axis[w->outer[i]].extent;
        add_axis(w, &u, w->outer[i], index % extent);
        index /= extent;
    }
    for (int d = 0; d < w->dim_count; d++) {
        u.from[d] = within(-u.start[d], 0, w->dim[d].length);
        u.to[d] = within(w->dim[d].extent - u.start[d], u.from[d], w->dim[d].length);
    }
    return u;
}

/* ---- the box ---- */

typedef struct Box {
    const Work *k;
    const Unit *u;
    float outside;
    bool clean; /* what is outside is in the buffer already */
} Box;

static void fill(float *to, int64_t count, float value) {
    for (int64_t i = 0; i < count; i++)
        to[i] = value;
}

/* `from` is the address of index 0 of a dimension, an integer because index 0 may be far outside. */
static void copy_lines(const Box *b, intptr_t from, float *to, int64_t lines) {
    const Window *w = b->k->w;
    const WindowDim *line = &w->dim[w->dim_count - 1];
    int64_t first = b->u->from[w->dim_count - 1], end = b->u->to[w->dim_count - 1];
    const float *in = (const float *)(from + 4 * (b->u->start[w->dim_count - 1] + first) * line->stride);
    if (first == end)
        return;
    if (w->copy >= 0) {
        int64_t arguments[] = {(int64_t)(intptr_t)in, (int64_t)(intptr_t)to, lines};
        schedule_call(b->k->c, w->copy, arguments);
        return;
    }
    for (int64_t l = 0; l < lines; l++) {
        for (int64_t i = first, phase = first % w->phases, column = w->shift + first / w->phases; i < end; i++) {
            to[phase * w->phase_pitch + column] = in[(i - first) * line->stride];
            column += ++phase == w->phases;
            phase = phase == w->phases ? 0 : phase;
        }
        if (w->dim_count > 1) {
            in += w->dim[w->dim_count - 2].stride;
            to += w->dim[w->dim_count - 2].pitch;
        }
    }
}

static void copy_dim(const Box *b, int d, intptr_t from, float *to) {
    const Window *w = b->k->w;
    const WindowDim *dim = &w->dim[d];
    if (d == w->dim_count - 1) { /* a tensor of one dimension */
        copy_lines(b, from, to, 1);
        return;
    }
    int64_t first = b->u->from[d], end = b->u->to[d];
    if (!b->clean) {
        fill(to, first * dim->pitch, b->outside);
        fill(to + end * dim->pitch, (dim->length - end) * dim->pitch, b->outside);
    }
    intptr_t at = from + 4 * (b->u->start[d] + first) * dim->stride;
    if (d == w->dim_count - 2)
        copy_lines(b, at, to + first * dim->pitch, end - first);
    else
        for (int64_t i = first; i < end; i++, at += 4 * dim->stride)
            copy_dim(b, d + 1, at, to + i * dim->pitch);
}

static void copy_box(const Work *k, const Unit *u, const Unit *before, float *buffer) {
    const Window *w = k->w;
    Box b = {.k = k, .u = u, .outside = (float)w->nest.access[w->x].outside};
    int line = w->dim_count - 1;
    size_t bytes = (size_t)w->dim_count * sizeof(int64_t);
    if (!before || before->from[line] != u->from[line] || before->to[line] != u->to[line]) {
        fill(buffer, w->buffer_floats, b.outside);
        b.clean = true;
    } else
        b.clean = !memcmp(before->from, u->from, bytes) && !memcmp(before->to, u->to, bytes);
    copy_dim(&b, 0, (intptr_t)base_of(k, w->x), buffer);
}

/* ---- units and tasks ---- */

static void run_unit(const Work *k, const Unit *u, float *buffer) {
    const Window *w = k->w;
    int64_t arguments[NEST_MAX_ACCESSES];
    for (int i = 0; i < w->nest.access_count; i++)
        arguments[i] = i == w->x ? (int64_t)(intptr_t)buffer : (int64_t)((intptr_t)base_of(k, i) + 4 * u->offset[i]);
    schedule_call(k->c, w->function[u->last], arguments);
}

static void window_task(void *context, size_t i) {
    Work *k = context;
    const Window *w = k->w;
    int64_t from = k->units * (int64_t)i / k->tasks, to = k->units * ((int64_t)i + 1) / k->tasks;
    size_t bytes = (size_t)w->buffer_floats * sizeof(float) + 64;
    char *memory = w->x >= 0 ? memory_alloc(k->options->allocator, bytes) : NULL;
    if (w->x >= 0 && !memory) {
        stop_no_memory(&k->stop);
        return;
    }
    float *buffer = memory ? (float *)(memory + (64 - (uintptr_t)memory % 64) % 64) : NULL;
    Unit before, unit;
    for (int64_t u = from; u < to && !stop_look(&k->stop, k->options); u++) {
        unit = unit_at(w, u);
        if (buffer)
            copy_box(k, &unit, u > from ? &before : NULL, buffer);
        run_unit(k, &unit, buffer);
        before = unit;
    }
    if (memory)
        memory_free(k->options->allocator, memory, bytes);
}

whet_status window_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const Window *w = c->state;
    Work k = {.c = c, .w = w, .data = data, .options = options, .units = w->bands};
    for (int i = 0; i < w->outer_count; i++)
        k.units *= w->nest.axis[w->outer[i]].extent;
    int64_t threads = schedule_threads(options);
    k.tasks = threads < 2 ? 1 : k.units < 4 * threads ? k.units : 4 * threads;
    if (!w->covers && !options->keep)
        memset(data[w->nest.access[0].tensor], 0, (size_t)c->kernel->tensors[w->nest.access[0].tensor].count * 4);
    double work = (double)k.units * (w->taps + 8) / 16;
    for (int a = 0; a < w->nest.parallel_count; a++)
        work *= (double)w->extent[a];
    for (int i = 0; i < w->loop_count; i++)
        work *= (double)w->extent[w->loop[i]];
    schedule_parallel(options, work, (size_t)k.tasks, window_task, &k);
    return stop_status(&k.stop, err);
}
