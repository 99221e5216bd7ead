/* Rows of A that are gathered: copied to [row][depth], with what reads outside give.
 *
 * Depth falls into runs that lie behind each other in A. A row all of which is inside is a copy of each run from a place that
 * stands still relative to the row (Runs); rows at borders ask their guards. */
#include "schedule/contract.h"

#include <string.h>

typedef struct Gather {
    const Contract *k;
    const Access *a;
    const char *from, *outside;                /* outside: what reads there give */
    size_t size;                               /* of an element */
    int64_t offset, position[NEST_MAX_GUARDS]; /* of the row, at the first step of depth */
    int64_t digit[NEST_MAX_AXES];              /* of the step, by k_axis */
} Gather;

static void move(const Access *a, int axis, int64_t by, int64_t *offset, int64_t *position) {
    *offset += a->stride[axis] * by;
    for (int g = 0; g < a->guard_count; g++)
        position[g] += a->guard[g].coef[axis] * by;
}

static bool moves_along(const Access *a, int guard, int axis) {
    return axis >= 0 && a->guard[guard].coef[axis];
}

/* Of the guards that do not move along `axis`. */
static bool inside(const Access *a, int axis, const int64_t *position) {
    for (int g = 0; g < a->guard_count; g++)
        if (!moves_along(a, g, axis) && (position[g] < 0 || position[g] >= a->guard[g].extent))
            return false;
    return true;
}

/* Of the others: the values of `axis` that are inside. */
static void values_inside(const Access *a, int axis, int64_t extent, const int64_t *position, int64_t *from, int64_t *to) {
    *from = 0;
    *to = extent;
    for (int g = 0; g < a->guard_count; g++) {
        if (!moves_along(a, g, axis))
            continue;
        int64_t coef = a->guard[g].coef[axis], last = a->guard[g].extent - 1, at = position[g];
        while (*from < *to && (at + *from * coef < 0 || at + *from * coef > last))
            ++*from;
        while (*to > *from && (at + (*to - 1) * coef < 0 || at + (*to - 1) * coef > last))
            --*to;
    }
}

static void fill(const Gather *in, char *to, int64_t count) {
    if (in->size == 1)
        memset(to, in->outside[0], (size_t)count);
    else
        for (int64_t i = 0; i < count; i++)
            memcpy(to + (size_t)i * in->size, in->outside, in->size);
}

/* Steps along the innermost axis of depth, of whose values those outside are filled. */
static void gather_run(const Gather *in, int axis, int64_t count, int64_t offset, const int64_t *position, char *to) {
    const Access *a = in->a;
    int64_t size = (int64_t)in->size, stride = axis < 0 ? 0 : a->stride[axis], first = 0, end = 0;
    if (inside(a, axis, position))
        values_inside(a, axis, count, position, &first, &end);
    const char *from = in->from + size * (offset + first * stride);
    fill(in, to, first);
    fill(in, to + size * end, count - end);
    to += size * first;
    if (stride == 1 && end > first)
        contract_copy_bytes(to, from, (end - first) * size);
    else if (size == 1)
        for (int64_t i = 0; i < end - first; i++)
            to[i] = from[i * stride];
    else
        for (int64_t i = 0; i < end - first; i++)
            memcpy(to + i * size, from + size * i * stride, (size_t)size);
}

static void gather_row(const Gather *in, int64_t from, int64_t end, char *to) {
    const Contract *k = in->k;
    if (from >= end)
        return;
    int64_t offset = in->offset, position[NEST_MAX_GUARDS], digit[NEST_MAX_AXES] = {0}, rest = from;
    memcpy(position, in->position, sizeof position);
    for (int i = k->k_count - 1; i >= 0; i--) {
        digit[i] = rest % k->nest.axis[k->k_axis[i]].extent;
        rest /= k->nest.axis[k->k_axis[i]].extent;
        move(in->a, k->k_axis[i], digit[i], &offset, position);
    }
    int inner = k->k_count ? k->k_axis[k->k_count - 1] : -1;
    for (int64_t step = from, count; step < end; step += count) {
        int64_t run[NEST_MAX_GUARDS];
        count = least(inner < 0 ? 1 : k->nest.axis[inner].extent - digit[k->k_count - 1], end - step);
        memcpy(run, position, sizeof run);
        gather_run(in, inner, count, offset, run, to + (size_t)(step - from) * in->size);
        for (int i = k->k_count - 1; i >= 0; i--) { /* the next run */
            int64_t by = i == k->k_count - 1 ? count : 1;
            move(in->a, k->k_axis[i], by, &offset, position);
            digit[i] += by;
            if (digit[i] < k->nest.axis[k->k_axis[i]].extent)
                break;
            move(in->a, k->k_axis[i], -digit[i], &offset, position);
            digit[i] = 0;
        }
    }
}

/* ---- whole rows ---- */

enum { MOST_RUNS = 64 };

/* The runs of a row, from its place in A, and how far its guarded indices reach below and above that of the row. A guard moves
 * along runs, or from one to the next. */
typedef struct Runs {
    int count;                              /* 0: none of this */
    int along;                              /* the axis that has `places` places in a run, */
    int64_t places, unit, bytes;            /* each of `unit` bytes */
    int64_t delta[MOST_RUNS];               /* bytes */
    int64_t at[MOST_RUNS][NEST_MAX_GUARDS]; /* a run's guarded indices, from those of the row */
    int64_t low[NEST_MAX_GUARDS], high[NEST_MAX_GUARDS];
} Runs;

/* How many of the innermost axes of depth are one run in A: two where A has them side by side and guards know the outer one
 * alone, the rows of an image of few channels; one where its elements are neighbours; 0. */
static int axes_of_run(const Contract *k, Runs *runs) {
    const Access *a = &k->nest.access[k->a];
    int inner = k->k_count ? k->k_axis[k->k_count - 1] : -1, next = k->k_count < 2 ? -1 : k->k_axis[k->k_count - 2];
    if (inner < 0 || a->stride[inner] != 1 || k->steps <= 0)
        return 0;
    runs->along = inner;
    runs->unit = 1;
    bool guarded = false;
    for (int g = 0; g < a->guard_count; g++)
        guarded = guarded || a->guard[g].coef[inner];
    if (guarded || next < 0 || a->stride[next] != k->nest.axis[inner].extent)
        return 1;
    runs->along = next;
    runs->unit = k->nest.axis[inner].extent;
    return 2;
}

static void find_reach(const Contract *k, const Access *a, Runs *runs) {
    for (int g = 0; g < a->guard_count; g++) {
        runs->low[g] = runs->high[g] = 0;
        for (int i = 0; i < k->k_count; i++) {
            int64_t most = a->guard[g].coef[k->k_axis[i]] * (k->nest.axis[k->k_axis[i]].extent - 1);
            *(most < 0 ? &runs->low[g] : &runs->high[g]) += most;
        }
    }
}

/* A guard would move along runs and from one to the next, or there are too many, or none. */
static bool no_runs(const Contract *k, const Access *a, int axes, const Runs *runs) {
    int64_t count = 1;
    for (int i = 0; i < axes; i++) {
        count *= k->nest.axis[k->k_axis[i]].extent;
        for (int g = 0; g < a->guard_count; g++)
            if (a->guard[g].coef[runs->along] && a->guard[g].coef[k->k_axis[i]])
                return true;
    }
    return count < 1 || count > MOST_RUNS;
}

/* Of rows with their whole depth: a run for each place of the outer axes. */
static void find_runs(const Contract *k, Runs *runs) {
    const Access *a = &k->nest.access[k->a];
    int64_t digit[NEST_MAX_AXES] = {0}, offset = 0, position[NEST_MAX_GUARDS] = {0}, size = contract_size(k, k->a), count = 1;
    int inner = axes_of_run(k, runs), axes = k->k_count - inner;
    if (!inner || no_runs(k, a, axes, runs))
        return;
    for (int i = 0; i < axes; i++)
        count *= k->nest.axis[k->k_axis[i]].extent;
    runs->places = k->nest.axis[runs->along].extent;
    runs->unit *= size;
    runs->bytes = runs->places * runs->unit;
    find_reach(k, a, runs);
    while (runs->count < count) {
        memcpy(runs->at[runs->count], position, sizeof position);
        runs->delta[runs->count++] = offset * size;
        for (int i = axes - 1; i >= 0; i--) {
            move(a, k->k_axis[i], 1, &offset, position);
            if (++digit[i] < k->nest.axis[k->k_axis[i]].extent)
                break;
            move(a, k->k_axis[i], -digit[i], &offset, position);
            digit[i] = 0;
        }
    }
}

static bool all_inside(const Gather *in, const Runs *runs) {
    if (!runs->count)
        return false;
    for (int g = 0; g < in->a->guard_count; g++)
        if (in->position[g] + runs->low[g] < 0 || in->position[g] + runs->high[g] >= in->a->guard[g].extent)
            return false;
    return true;
}

static bool run_inside(const Gather *in, const Runs *runs, int run) {
    int64_t position[NEST_MAX_GUARDS];
    for (int g = 0; g < in->a->guard_count; g++)
        position[g] = in->position[g] + runs->at[run][g];
    return inside(in->a, runs->along, position);
}

/* A row at a border: filled, then what is inside. */
static void copy_border(const Gather *in, const Runs *runs, char *to) {
    int64_t first, end;
    values_inside(in->a, runs->along, runs->places, in->position, &first, &end);
    fill(in, to, runs->count * runs->bytes / (int64_t)in->size);
    const char *from = in->from + in->offset * (int64_t)in->size + first * runs->unit;
    to += first * runs->unit;
    for (int r = 0; r < runs->count && end > first; r++, to += runs->bytes)
        if (run_inside(in, runs, r))
            contract_copy_bytes(to, from + runs->delta[r], (end - first) * runs->unit);
}

/* Runs in two pieces of a known size, which overlap. */
static inline void copy_pieces(const Runs *runs, const char *from, char *to, size_t piece) {
    const size_t second = (size_t)runs->bytes - piece;
    for (int r = 0; r < runs->count; r++, to += runs->bytes) {
        memcpy(to, from + runs->delta[r], piece);
        memcpy(to + second, from + runs->delta[r] + second, piece);
    }
}

static void copy_runs(const Runs *runs, const char *from, char *to) {
    int64_t bytes = runs->bytes;
    if (bytes >= 4 && bytes <= 8)
        copy_pieces(runs, from, to, 4);
    else if (bytes > 8 && bytes <= 16)
        copy_pieces(runs, from, to, 8);
    else if (bytes > 16 && bytes <= 32)
        copy_pieces(runs, from, to, 16);
    else
        for (int r = 0; r < runs->count; r++, to += bytes)
            contract_copy_bytes(to, from + runs->delta[r], bytes);
}

/* ---- the whole ---- */

/* Two rows, group by group side by side. */
static void pair_rows(const char *from, int64_t groups, size_t row_bytes, int rows, char *to) {
    enum { GROUP = 8 };
    for (int64_t g = 0; g < groups; g++, from += GROUP, to += 2 * GROUP) {
        memcpy(to, from, GROUP);
        if (rows > 1)
            memcpy(to + GROUP, from + row_bytes, GROUP);
        else
            memset(to + GROUP, 0, GROUP);
    }
}

/* The rows behind each other: their place by digits of row axes. */
typedef struct RowWalk {
    const Contract *k;
    int64_t digit[NEST_MAX_AXES];
} RowWalk;

static void walk_to(RowWalk *walk, Gather *in, int64_t row) {
    for (int i = walk->k->row_count - 1; i >= 0; i--) {
        int64_t extent = walk->k->nest.axis[walk->k->row_axis[i]].extent;
        walk->digit[i] = row % extent;
        move(in->a, walk->k->row_axis[i], walk->digit[i], &in->offset, in->position);
        row /= extent;
    }
}

/* `by` rows on, no further than the end of the innermost axis. */
static void walk_on(RowWalk *walk, Gather *in, int64_t by) {
    for (int i = walk->k->row_count - 1; i >= 0; i--, by = 1) {
        int axis = walk->k->row_axis[i];
        move(in->a, axis, by, &in->offset, in->position);
        walk->digit[i] += by;
        if (walk->digit[i] < walk->k->nest.axis[axis].extent)
            break;
        move(in->a, axis, -walk->digit[i], &in->offset, in->position);
        walk->digit[i] = 0;
    }
}

/* How many rows from here on, along the innermost axis, are inside with all their depth. */
static int64_t rows_inside(const RowWalk *walk, const Gather *in, const Runs *runs, int64_t most) {
    int last = walk->k->row_count - 1, axis = last < 0 ? -1 : walk->k->row_axis[last];
    if (axis < 0 || !all_inside(in, runs))
        return 0;
    most = least(most, walk->k->nest.axis[axis].extent - walk->digit[last]);
    for (int g = 0; g < in->a->guard_count; g++) {
        int64_t coef = in->a->guard[g].coef[axis];
        if (coef > 0)
            most = least(most, (in->a->guard[g].extent - 1 - in->position[g] - runs->high[g]) / coef + 1);
        else if (coef < 0)
            most = least(most, (in->position[g] + runs->low[g]) / -coef + 1);
    }
    return most;
}

static void pad_row(char *to, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i++) /* hardly any: no call */
        to[i] = 0;
}

void contract_gather_rows(const Contract *k, const ContractSource *a, int64_t row, int64_t count, int64_t from, int64_t end,
                          void *to) {
    size_t size = (size_t)contract_size(k, k->a), pitch = (size_t)k->a_pitch * size;
    int64_t first = from * k->group, steps = least(end * k->group, k->steps) - first;
    int64_t row_bytes = steps * (int64_t)size, pad = ((end - from) * k->group - steps) * (int64_t)size, together;
    int64_t last = contract_gathered_at(k, row, row + count - 1);
    char *apart = (char *)to + pitch * 2 * (size_t)(last / (2 * k->a_pitch) + 1); /* of a pair on its way: behind all */
    Runs runs;
    runs.count = 0; /* the rest is large */
    RowWalk walk = {.k = k};
    Gather in = {.k = k, .a = &k->nest.access[k->a], .from = a->data, .outside = a->outside, .size = size, .offset = a->offset};
    if (first == 0 && steps == k->steps)
        find_runs(k, &runs);
    memcpy(in.position, a->position, sizeof in.position);
    walk_to(&walk, &in, row);
    for (int64_t r = row; r < row + count; r += together) {
        int64_t odd = r % k->line % 2;
        char *lies = (char *)to + size * (size_t)contract_gathered_at(k, row, r),
             *out = k->paired ? apart + pitch * (size_t)odd : lies;
        together = rows_inside(&walk, &in, &runs, k->paired ? 1 : row + count - r);
        int64_t step = together > 1 ? in.a->stride[k->row_axis[k->row_count - 1]] * (int64_t)size : 0;
        for (int64_t i = 0; i < together; i++) {
            char *at = out + pitch * (size_t)i;
            copy_runs(&runs, in.from + in.offset * (int64_t)size + i * step, at);
            pad_row(at + row_bytes, pad);
        }
        if (!together) {
            if (runs.count)
                copy_border(&in, &runs, out);
            else
                gather_row(&in, first, first + steps, out);
            pad_row(out + row_bytes, pad);
            together = 1;
        }
        if (k->paired && (odd || r % k->line == k->line - 1 || r == row + count - 1))
            pair_rows(apart, end - from, pitch, 1 + (int)odd, odd ? lies - k->unit : lies);
        walk_on(&walk, &in, together);
    }
}
