/* Rows of A that are gathered: copied to [row][depth], with what reads outside give.
 *
 * Depth falls into runs that lie behind each other in A. A row all of which is inside is a copy of each run from a place that
 * stands still relative to the row (Runs); rows at borders ask their guards. */
#include "schedule/contract.h"

#include <string.h>

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

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

static bool inside(const Access *a, const int64_t *position) {
    for (int g = 0; g < a->guard_count; g++)
        if (position[g] < 0 || position[g] >= a->guard[g].extent)
            return false;
    return true;
}

/* Steps along the innermost axis of depth; the same guards for all of them, unless it is part of one. */
static void gather_run(const Gather *in, int axis, int64_t count, int64_t offset, int64_t *position, char *to) {
    const Access *a = in->a;
    size_t size = in->size;
    int64_t stride = axis < 0 ? 0 : a->stride[axis];
    bool guarded = false;
    for (int g = 0; g < a->guard_count; g++)
        guarded = guarded || (axis >= 0 && a->guard[g].coef[axis]);
    if (guarded || !inside(a, position)) {
        for (int64_t i = 0; i < count; i++) {
            memcpy(to + (size_t)i * size, inside(a, position) ? in->from + (int64_t)size * offset : in->outside, size);
            if (guarded)
                move(a, axis, 1, &offset, position);
        }
    } else if (stride == 1)
        memcpy(to, in->from + (int64_t)size * offset, (size_t)count * size);
    else if (size == 1)
        for (int64_t i = 0; i < count; i++)
            to[i] = in->from[offset + i * stride];
    else
        for (int64_t i = 0; i < count; i++)
            memcpy(to + (size_t)i * size, in->from + (int64_t)size * (offset + i * stride), size);
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

/* The two innermost axes of depth as one run, where A has them side by side and guards know the outer one alone: the rows of an
 * image of few channels. */
static bool run_of_two(const Contract *k, int *outer, int64_t *unit) {
    const Access *a = &k->nest.access[k->a];
    if (k->k_count < 2)
        return false;
    int inner = k->k_axis[k->k_count - 1];
    *outer = k->k_axis[k->k_count - 2];
    *unit = k->nest.axis[inner].extent;
    for (int g = 0; g < a->guard_count; g++)
        if (a->guard[g].coef[inner])
            return false;
    return a->stride[inner] == 1 && a->stride[*outer] == *unit && k->steps > 0;
}

/* The values of `outer` that are inside, where the rest of the guarded indices is `position`. */
static void values_inside(const Access *a, int outer, int64_t extent, const int64_t *position, int64_t *from, int64_t *to) {
    *from = 0;
    *to = extent;
    for (int g = 0; g < a->guard_count; g++) {
        int64_t coef = a->guard[g].coef[outer], last = a->guard[g].extent - 1, at = position[g];
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

static void gather_whole_row(Gather *in, int outer, int64_t unit, char *to) {
    const Contract *k = in->k;
    int64_t extent = k->nest.axis[outer].extent, size = (int64_t)in->size, run = extent * unit, digit[NEST_MAX_AXES] = {0};
    for (int64_t step = 0; step < k->steps; step += run, to += run * size) {
        int64_t from, end;
        values_inside(in->a, outer, extent, in->position, &from, &end);
        fill(in, to, from * unit);
        contract_copy_bytes(to + from * unit * size, in->from + (in->offset + from * unit) * size, (end - from) * unit * size);
        fill(in, to + end * unit * size, (extent - end) * unit);
        for (int i = k->k_count - 3; i >= 0; i--) { /* the next run */
            move(in->a, k->k_axis[i], 1, &in->offset, in->position);
            if (++digit[i] < k->nest.axis[k->k_axis[i]].extent)
                break;
            move(in->a, k->k_axis[i], -digit[i], &in->offset, in->position);
            digit[i] = 0;
        }
    }
}

/* ---- rows inside ---- */

enum { MOST_RUNS = 64 };

/* The runs of a row, from its place in A, and how far its guarded indices reach below and above that of the row. */
typedef struct Runs {
    int count; /* 0: none of this */
    int64_t bytes, delta[MOST_RUNS], low[NEST_MAX_GUARDS], high[NEST_MAX_GUARDS];
} Runs;

static void find_reach(const Contract *k, const Access *a, Runs *runs) {
    for (int g = 0; g < a->guard_count; g++) {
        runs->low[g] = runs->high[g] = 0;
        for (int i = 0; i < k->k_count; i++) {
            int64_t most = a->guard[g].coef[k->k_axis[i]] * (k->nest.axis[k->k_axis[i]].extent - 1);
            *(most < 0 ? &runs->low[g] : &runs->high[g]) += most;
        }
    }
}

/* Of whole rows. Runs are the two innermost axes (run_of_two), or the innermost where its elements are neighbours. */
static void find_runs(const Contract *k, const Access *a, int64_t unit, int axes, Runs *runs) {
    int64_t digit[NEST_MAX_AXES] = {0}, count = 1, offset = 0, none[NEST_MAX_GUARDS] = {0};
    runs->count = 0;
    for (int i = 0; i < axes; i++)
        count *= k->nest.axis[k->k_axis[i]].extent;
    if (count < 1 || count > MOST_RUNS)
        return;
    runs->bytes = unit * contract_size(k, k->a);
    find_reach(k, a, runs);
    while (runs->count < count) {
        runs->delta[runs->count++] = offset * contract_size(k, k->a);
        for (int i = axes - 1; i >= 0; i--) {
            move(a, k->k_axis[i], 1, &offset, none);
            if (++digit[i] < k->nest.axis[k->k_axis[i]].extent)
                break;
            move(a, k->k_axis[i], -digit[i], &offset, none);
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

static void copy_runs(const Runs *runs, const char *from, char *to) {
    enum { PIECE = 16 };
    int64_t bytes = runs->bytes;
    if (bytes >= PIECE && bytes <= 2 * PIECE) /* two pieces that overlap */
        for (int r = 0; r < runs->count; r++, to += bytes) {
            memcpy(to, from + runs->delta[r], PIECE);
            memcpy(to + bytes - PIECE, from + runs->delta[r] + bytes - PIECE, PIECE);
        }
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

void contract_gather_rows(const Contract *k, const ContractSource *a, int64_t row, int64_t count, int64_t from, int64_t end,
                          void *to) {
    size_t size = (size_t)contract_size(k, k->a), pitch = (size_t)k->a_pitch * size;
    int64_t first = from * k->group, steps = least(end * k->group, k->steps) - first, pad = (end - from) * k->group - steps;
    int64_t last = contract_gathered_at(k, row, row + count - 1);
    char *apart = (char *)to + pitch * 2 * (size_t)(last / (2 * k->a_pitch) + 1); /* of a pair on its way: behind all */
    int outer = -1;
    int64_t unit = 0;
    bool all = first == 0 && steps == k->steps, whole = all && run_of_two(k, &outer, &unit);
    const Access *access = &k->nest.access[k->a];
    int inner = k->k_count ? k->k_axis[k->k_count - 1] : -1;
    Runs runs = {.count = 0};
    if (whole)
        find_runs(k, access, unit * k->nest.axis[outer].extent, k->k_count - 2, &runs);
    else if (all && inner >= 0 && access->stride[inner] == 1)
        find_runs(k, access, k->nest.axis[inner].extent, k->k_count - 1, &runs);
    for (int64_t r = row; r < row + count; r++) {
        Gather in = {.k = k, .a = access, .from = a->data, .outside = a->outside, .size = size, .offset = a->offset};
        int64_t rest = r, odd = r % k->line % 2;
        char *lies = (char *)to + size * (size_t)contract_gathered_at(k, row, r),
             *out = k->paired ? apart + pitch * (size_t)odd : lies;
        memcpy(in.position, a->position, sizeof in.position);
        for (int i = k->row_count - 1; i >= 0; i--) {
            int64_t extent = k->nest.axis[k->row_axis[i]].extent;
            move(in.a, k->row_axis[i], rest % extent, &in.offset, in.position);
            rest /= extent;
        }
        if (all_inside(&in, &runs))
            copy_runs(&runs, in.from + in.offset * (int64_t)size, out);
        else if (whole)
            gather_whole_row(&in, outer, unit, out);
        else
            gather_row(&in, first, first + steps, out);
        memset(out + (size_t)steps * size, 0, (size_t)pad * size);
        if (k->paired && (odd || r % k->line == k->line - 1 || r == row + count - 1))
            pair_rows(apart, end - from, pitch, 1 + (int)odd, odd ? lies - k->unit : lies);
    }
}
