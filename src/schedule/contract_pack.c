/* Packs one panel of B: [depth][nr] floats, whatever B's strides and guards are.
 *
 * The columns of a panel fall into runs along B's innermost column axis; for each step of depth, a run is copied, or the part
 * of it that its guards leave inside, between what a read outside gives. */
#include "schedule/contract.h"

#include <string.h>

enum { MAX_COLUMNS = 128 };

typedef struct Run {
    int at, count;                     /* columns of the panel */
    int64_t offset;                    /* of the first column, in elements */
    int64_t position[NEST_MAX_GUARDS]; /* of the first column, in each guarded dimension */
} Run;

typedef struct Panel {
    const Contract *k;
    const Access *access;
    const char *b; /* of any alignment */
    Run run[MAX_COLUMNS];
    int run_count;
    int64_t step_offset, step_position[NEST_MAX_GUARDS]; /* of the step of depth */
    int64_t digit[NEST_MAX_AXES];                        /* of the step, by k_axis */
} Panel;

static void add_axis(const Access *access, int axis, int64_t steps, int64_t *offset, int64_t *position) {
    *offset += access->stride[axis] * steps;
    for (int g = 0; g < access->guard_count; g++)
        position[g] += access->guard[g].coef[axis] * steps;
}

static Run corner_of_column(const Contract *k, const Access *access, int64_t batch, int64_t column) {
    Run run = {.offset = access->offset};
    for (int g = 0; g < access->guard_count; g++)
        run.position[g] = access->guard[g].offset;
    for (int i = k->n_count - 1; i >= 0; i--) {
        int64_t extent = k->nest.axis[k->n_axis[i]].extent;
        add_axis(access, k->n_axis[i], column % extent, &run.offset, run.position);
        column /= extent;
    }
    for (int i = k->outer_count - 1; i >= 0; i--) {
        int64_t extent = k->nest.axis[k->outer[i]].extent;
        if (!contract_b_moves(k, k->outer[i]))
            continue;
        add_axis(access, k->outer[i], batch % extent, &run.offset, run.position);
        batch /= extent;
    }
    return run;
}

static int inner_axis(const Contract *k) {
    return k->n_count ? k->n_axis[k->n_count - 1] : -1;
}

static void find_runs(Panel *p, int64_t batch, int64_t panel) {
    const Contract *k = p->k;
    int64_t first = panel * k->nr, end = first + k->nr < k->columns ? first + k->nr : k->columns;
    int64_t extent = k->n_count ? k->nest.axis[inner_axis(k)].extent : 1;
    for (int64_t column = first; column < end;) {
        int64_t left = extent - column % extent, count = left < end - column ? left : end - column;
        Run *run = &p->run[p->run_count++];
        *run = corner_of_column(k, p->access, batch, column);
        run->at = (int)(column - first);
        run->count = (int)count;
        column += count;
    }
}

/* The columns [*from, *to) of a run that are inside, for the step of depth at hand. */
static void inside(const Panel *p, const Run *run, int *from, int *to) {
    int axis = inner_axis(p->k);
    *from = 0;
    *to = run->count;
    for (int g = 0; g < p->access->guard_count; g++) {
        const Guard *guard = &p->access->guard[g];
        int64_t at = run->position[g] + p->step_position[g], coef = axis >= 0 ? guard->coef[axis] : 0;
        if (coef == 0) {
            if (at < 0 || at >= guard->extent)
                *to = *from;
            continue;
        }
        while (*from < *to && (at + *from * coef < 0 || at + *from * coef >= guard->extent))
            ++*from;
        while (*to > *from && (at + (*to - 1) * coef < 0 || at + (*to - 1) * coef >= guard->extent))
            --*to;
    }
}

static void fill(float *to, int count, float value) {
    for (int i = 0; i < count; i++)
        to[i] = value;
}

/* Runs are short: a call would cost more than the copy. */
static void copy(float *to, const char *from, int count) {
    enum { PIECE = 16 };
    for (; count >= PIECE; count -= PIECE, to += PIECE, from += PIECE * sizeof *to)
        memcpy(to, from, PIECE * sizeof *to);
    memcpy(to, from, (size_t)count * sizeof *to);
}

static void copy_run(const Panel *p, const Run *run, float *to) {
    int from, end, axis = inner_axis(p->k);
    int64_t stride = axis >= 0 ? p->access->stride[axis] : 0;
    const char *b = p->b + 4 * (run->offset + p->step_offset);
    inside(p, run, &from, &end);
    to += run->at;
    fill(to, from, (float)p->access->outside);
    if (stride == 1)
        copy(to + from, b + 4 * from, end - from);
    else
        for (int i = from; i < end; i++)
            memcpy(&to[i], b + 4 * i * stride, sizeof *to);
    fill(to + end, run->count - end, (float)p->access->outside);
}

static void next_step(Panel *p) {
    const Contract *k = p->k;
    for (int i = k->k_count - 1; i >= 0; i--) {
        int axis = k->k_axis[i];
        add_axis(p->access, axis, 1, &p->step_offset, p->step_position);
        if (++p->digit[i] < k->nest.axis[axis].extent)
            return;
        add_axis(p->access, axis, -p->digit[i], &p->step_offset, p->step_position);
        p->digit[i] = 0;
    }
}

static void go_to_step(Panel *p, int64_t step) {
    const Contract *k = p->k;
    for (int i = k->k_count - 1; i >= 0 && step; i--) {
        int64_t extent = k->nest.axis[k->k_axis[i]].extent;
        p->digit[i] = step % extent;
        add_axis(p->access, k->k_axis[i], p->digit[i], &p->step_offset, p->step_position);
        step /= extent;
    }
}

void contract_pack_panel(const Contract *k, const void *b, int64_t batch, int64_t panel, int64_t from, int64_t end, float *to) {
    Panel p = {.k = k, .access = &k->nest.access[k->b], .b = b};
    int64_t columns = k->columns - panel * k->nr < k->nr ? k->columns - panel * k->nr : k->nr;
    find_runs(&p, batch, panel);
    go_to_step(&p, from);
    for (int64_t step = from; step < end; step++, to += k->nr) {
        for (int r = 0; r < p.run_count; r++)
            copy_run(&p, &p.run[r], to);
        fill(to + columns, (int)(k->nr - columns), 0);
        next_step(&p);
    }
}
