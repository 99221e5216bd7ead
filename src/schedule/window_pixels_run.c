/* Drives windows over pixels: cuts the work into units and calls the code of each tile, row by row where taps are outside. */
#include "schedule/window_pixels.h"

#include <string.h>

typedef struct Work {
    const Compiled *c;
    const Pixels *p;
    void *const *data;
    const EvalOptions *options;
    const void *packed;                /* factors as [taps][lanes] */
    int64_t bands, band, units, tasks; /* of rows */
    Stop stop;
} Work;

/* Where a call begins. */
typedef struct Corner {
    int64_t offset[NEST_MAX_ACCESSES];                       /* elements, by access */
    int64_t from[PIXELS_MAX_LOOPS], count[PIXELS_MAX_LOOPS]; /* taps inside, by loop */
} Corner;

static void move(const Pixels *p, Corner *corner, int axis, int64_t steps) {
    for (int i = 0; i < p->nest.access_count; i++)
        corner->offset[i] += steps * p->nest.access[i].stride[axis];
}

static void call(const Work *k, const Corner *corner, int function, const int64_t *more, int count) {
    const Nest *nest = &k->p->nest;
    int64_t arguments[NEST_MAX_ACCESSES + PIXELS_MAX_LOOPS + 2];
    for (int i = 0; i < nest->access_count; i++) {
        const Access *access = &nest->access[i];
        const float *temporary = k->p->w->temporary[access->tensor];
        const void *base = i == k->p->packed ? k->packed : temporary ? temporary : k->data[access->tensor];
        arguments[i] = (int64_t)(intptr_t)base + corner->offset[i] * (dtype_bits(access->type) / 8);
    }
    memcpy(arguments + nest->access_count, more, (size_t)count * sizeof *more);
    schedule_call(k->c, function, arguments);
}

static bool all_inside(const Pixels *p, const Corner *corner) {
    for (int i = 0; i < p->loop_count; i++)
        if (corner->count[i] != p->slide[p->loop[i]].taps)
            return false;
    return true;
}

/* One row by the code whose loops over taps have bounds. */
static void run_border(const Work *k, Corner corner, int function, int64_t lanes) {
    const Pixels *p = k->p;
    int64_t more[PIXELS_MAX_LOOPS + 1];
    for (int i = 0; i < p->loop_count; i++) {
        move(p, &corner, p->slide[p->loop[i]].tap, corner.from[i]);
        more[i] = corner.count[i];
    }
    int64_t each = p->inner_loop || !p->vectors ? lanes : p->lanes;
    more[p->loop_count] = each;
    for (int64_t lane = 0; lane < lanes; lane += each) {
        call(k, &corner, function, more, p->loop_count + 1);
        move(p, &corner, p->v, each);
    }
}

/* Rows [row, end) of one tile. `row_loop`: the loop of the rows' slide; -1: rows do not slide. */
static void run_rows(const Work *k, Corner corner, int64_t row, int64_t end, int kind, int64_t lanes, int row_loop) {
    const Pixels *p = k->p;
    const Slide *s = row_loop < 0 ? NULL : &p->slide[p->row];
    if (p->h >= 0)
        move(p, &corner, p->h, row);
    while (row < end) {
        int64_t count = s ? 1 : end - row, from, to;
        if (s) {
            pixels_inside(s, row, &from, &to);
            corner.from[row_loop] = from;
            corner.count[row_loop] = to - from;
        }
        bool whole = p->spelled && all_inside(p, &corner);
        if (s && whole)
            for (; row + count < end; count++) {
                pixels_inside(s, row + count, &from, &to);
                if (to - from < s->taps)
                    break;
            }
        else if (!whole)
            count = 1;
        if (whole)
            call(k, &corner, p->whole[kind], (int64_t[]){count, lanes}, 2);
        else
            run_border(k, corner, p->border[kind], lanes);
        if (p->h >= 0)
            move(p, &corner, p->h, count);
        row += count;
    }
}

static void run_unit(const Work *k, int64_t unit) {
    const Pixels *p = k->p;
    const Nest *nest = &p->nest;
    Corner corner;
    int64_t digit[NEST_MAX_AXES] = {0};
    int row_loop = -1, bytes = p->lanes;
    for (int i = 0; i < nest->access_count; i++)
        corner.offset[i] = nest->access[i].offset;
    int64_t tile = unit % p->tiles, block = unit / p->tiles % (p->blocks + (p->edge != 0)), band;
    unit /= p->tiles * (p->blocks + (p->edge != 0));
    band = unit % k->bands;
    unit /= k->bands;
    for (int i = p->outer_count - 1; i >= 0; i--) {
        int axis = p->outer[i];
        digit[axis] = unit % nest->axis[axis].extent;
        unit /= nest->axis[axis].extent;
        move(p, &corner, axis, digit[axis]);
    }
    for (int i = 0; i < p->loop_count; i++) {
        const Slide *s = &p->slide[p->loop[i]];
        int64_t to;
        pixels_inside(s, s->place < 0 ? 0 : digit[s->place], &corner.from[i], &to);
        corner.count[i] = to - corner.from[i];
        if (p->loop[i] == p->row)
            row_loop = i;
    }
    move(p, &corner, p->p, tile * p->columns);
    int64_t first = block * p->block * bytes, lanes = least(p->block, p->vectors - block * p->block) * bytes;
    if (block == p->blocks) { /* what is left over */
        first = p->vectors ? nest->axis[p->v].extent - bytes : 0;
        lanes = bytes;
    }
    move(p, &corner, p->v, first);
    int64_t rows = p->h < 0 ? 1 : nest->axis[p->h].extent;
    run_rows(k, corner, band * k->band, least((band + 1) * k->band, rows), p->lines ? 0 : p->kind_of[tile], lanes, row_loop);
}

static void pixels_task(void *context, size_t i) {
    Work *k = context;
    int64_t from = k->units * (int64_t)i / k->tasks, to = k->units * ((int64_t)i + 1) / k->tasks;
    for (int64_t u = from; u < to && !stop_look(&k->stop, k->options); u++)
        run_unit(k, u);
}

/* Rows are cut into bands only where there would be too few units for all threads. */
static void cut(Work *k) {
    const Pixels *p = k->p;
    int64_t threads = schedule_threads(k->options);
    int64_t rows = p->h < 0 ? 1 : p->nest.axis[p->h].extent;
    k->units = p->tiles * (p->blocks + (p->edge != 0));
    for (int i = 0; i < p->outer_count; i++)
        k->units *= p->nest.axis[p->outer[i]].extent;
    k->bands = threads < 2 || k->units >= 4 * threads ? 1 : least((4 * threads + k->units - 1) / k->units, rows);
    k->band = (rows + k->bands - 1) / k->bands;
    k->bands = (rows + k->band - 1) / k->band;
    k->units *= k->bands;
    k->tasks = threads < 2 ? 1 : least(k->units, 4 * threads);
}

/* Factors that were not known when compiling are packed now: NULL in *own where nothing had to be. False: out of memory. */
static bool pack_now(Work *k, void **own) {
    const Pixels *p = k->p;
    *own = NULL;
    if (p->packed < 0)
        return true;
    k->packed = k->c->packed ? k->c->packed : k->data[p->unpacked.tensor];
    if (p->constant)
        return true;
    *own = memory_alloc(k->options->allocator, pixels_packed_bytes(p));
    if (*own)
        pixels_pack(p, k->data[p->unpacked.tensor], *own);
    k->packed = *own;
    return *own != NULL;
}

whet_status pixels_run(const Compiled *c, void *const *data, const EvalOptions *options, whet_error *err) {
    const Pixels *p = c->state;
    const Nest *nest = &p->nest;
    const KernelTensor *y = &c->kernel->tensors[nest->access[0].tensor];
    Work k = {.c = c, .p = p, .data = data, .options = options};
    cut(&k);
    if (!p->w->covers && !options->keep)
        memset(data[nest->access[0].tensor], 0, (size_t)y->count * (size_t)dtype_bits(y->type) / 8);
    double work = 1.0 / 16;
    for (int a = 0; a < nest->axis_count; a++)
        work *= (double)nest->axis[a].extent;
    void *own;
    if (!pack_now(&k, &own))
        return error_memory(err);
    schedule_parallel(options, work, (size_t)k.tasks, pixels_task, &k);
    if (own)
        memory_free(options->allocator, own, pixels_packed_bytes(p));
    return stop_status(&k.stop, err);
}
