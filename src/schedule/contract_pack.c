/* Packs panels of B: [depth][nr][group] elements, whatever strides and guards B has. `group` steps of depth lie side by side, as
 * the machine multiplies them.
 *
 * The columns of a panel fall into runs along B's innermost column axis; for each step of depth, a run is copied, or the part of
 * it that its guards leave inside, between what a read outside gives. Steps behind the last one are zero.
 *
 * Lines of an image that is as wide as the result lie one behind the other, so that all columns of a panel are side by side in
 * it, wherever a tap moves them to: they are copied as one run, and a mask says which of them are outside. */
#include "schedule/contract.h"

#include <string.h>

enum {
    MAX_COLUMNS = CONTRACT_MAX_WIDTH,
    CHUNK_BYTES = 8 << 10,
    MAX_BOUNDS = 1024,
    MASK_BYTES = 8 << 10,
    WORD = 8,
    WORDS = 2,
    PLACES = 16,
    TURNED_STEPS = 16,      /* a line of each column */
    TURNED_BYTES = 24 << 10 /* stays in the first cache, with where it goes */
};

typedef struct Run {
    int at, count;                     /* columns of the panel */
    int64_t offset;                    /* of the first column, in elements */
    int64_t position[NEST_MAX_GUARDS]; /* of the first column, in each guarded dimension */
} Run;

typedef struct Bounds {
    unsigned char from, to; /* columns of a run that are inside */
} Bounds;

typedef struct Panel {
    const Contract *k;
    const Access *access;
    const char *data;    /* of any alignment */
    int size;            /* bytes of an element */
    const char *outside; /* what reads outside give: an element */
    Run run[MAX_COLUMNS];
    int run_count, columns;
    int64_t step_offset, step_position[NEST_MAX_GUARDS]; /* of the step of depth */
    int64_t digit[NEST_MAX_AXES];                        /* of the step, by k_axis */
    /* Guards leave the same of a run every `period` steps: bounds[step % period][run]; period 0: they are looked at each time.
     * Positions and the digits of its axes, from k_axis[period_axis] on, stand still then: delta[step % period] leads on. */
    int64_t period, phase;
    int period_axis;
    Bounds bounds[MAX_BOUNDS];
    int64_t delta[MAX_BOUNDS];
    bool joined;                    /* the runs are one, */
    int64_t count, row_bytes;       /* of an operand of so many elements; a row is so long */
    char around[MAX_COLUMNS * 4];   /* a row outside */
    unsigned char mask[MASK_BYTES]; /* ones where columns are inside, a row a step of the period */
} Panel;

int64_t contract_integer(DType type, const void *data, int64_t at) {
    int32_t wide = 0;
    const unsigned char *bytes = data;
    if (type == DT_S8)
        return (int8_t)bytes[at];
    if (type == DT_U8)
        return bytes[at];
    memcpy(&wide, bytes + 4 * at, sizeof wide);
    return wide;
}

static void add_axis(const Access *access, int axis, int64_t steps, int64_t *offset, int64_t *position) {
    *offset += access->stride[axis] * steps;
    for (int g = 0; g < access->guard_count; g++)
        position[g] += access->guard[g].coef[axis] * steps;
}

static Run corner_of_column(const Contract *k, int64_t batch, int64_t column) {
    const Access *access = &k->nest.access[k->b];
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
    p->columns = (int)(end - first);
    for (int64_t column = first; column < end;) {
        int64_t left = extent - column % extent, count = left < end - column ? left : end - column;
        Run *run = &p->run[p->run_count++];
        *run = corner_of_column(k, batch, column);
        run->at = (int)(column - first);
        run->count = (int)count;
        column += count;
    }
}

/* What a guard leaves of the columns [*from, *to) of a run, for the step of depth at hand. */
static void clip(const Panel *p, const Run *run, int g, int *from, int *to) {
    const Guard *guard = &p->access->guard[g];
    int axis = inner_axis(p->k);
    int64_t at = run->position[g] + p->step_position[g], coef = axis >= 0 ? guard->coef[axis] : 0;
    if (coef == 0) {
        if (at < 0 || at >= guard->extent)
            *to = *from;
        return;
    }
    while (*from < *to && (at + *from * coef < 0 || at + *from * coef >= guard->extent))
        ++*from;
    while (*to > *from && (at + (*to - 1) * coef < 0 || at + (*to - 1) * coef >= guard->extent))
        --*to;
}

/* The columns [*from, *to) of a run that are inside. */
static void inside(const Panel *p, const Run *run, int *from, int *to) {
    *from = 0;
    *to = run->count;
    for (int g = 0; g < p->access->guard_count; g++)
        clip(p, run, g, from, to);
}

/* Elements of 1, 2 or 4 bytes: `size` is a constant where these are used. */
static inline void fill_of(int size, char *to, int count, const char *value) {
    for (int i = 0; i < count; i++)
        memcpy(to + i * size, value, (size_t)size);
}

static inline void copy_of(int size, char *to, const char *from, int count, int64_t stride) {
    if (stride == 1)
        contract_copy_bytes(to, from, count * size);
    else
        for (int i = 0; i < count; i++)
            memcpy(to + i * size, from + i * stride * size, (size_t)size);
}

static inline void copy_run_of(int size, const Panel *p, const Run *run, int from, int end, int64_t stride, char *to) {
    to += run->at * size;
    fill_of(size, to, from, p->outside);
    copy_of(size, to + from * size, p->data + size * (run->offset + p->step_offset + from * stride), end - from, stride);
    fill_of(size, to + end * size, run->count - end, p->outside);
}

/* to = mask ? from : around. */
static inline void put_masked(char *to, const char *from, const char *around, const unsigned char *mask, int64_t bytes) {
    int64_t i = 0;
    for (; i + WORDS * WORD <= bytes; i += WORDS * WORD) {
        uint64_t x[WORDS], y[WORDS], m[WORDS];
        memcpy(x, from + i, sizeof x);
        memcpy(y, around + i, sizeof y);
        memcpy(m, mask + i, sizeof m);
        for (int w = 0; w < WORDS; w++)
            x[w] = ((x[w] ^ y[w]) & m[w]) ^ y[w];
        memcpy(to + i, x, sizeof x);
    }
    for (; i < bytes; i++)
        to[i] = mask[i] ? from[i] : around[i];
}

/* One step of joined runs. Nothing is read that is not the operand's. */
static void copy_joined(const Panel *p, char *to) {
    int64_t at = p->run[0].offset + p->step_offset, from = at < 0 ? -at : 0;
    int64_t end = at + p->k->nr > p->count ? p->count - at : p->k->nr;
    const char *row;
    char part[sizeof p->around];
    if (end - from < p->k->nr) {
        memset(part, 0, (size_t)p->row_bytes);
        if (from < end)
            memcpy(part + from * p->size, p->data + (at + from) * p->size, (size_t)((end - from) * p->size));
        row = part;
    } else {
        row = p->data + at * p->size;
    }
    put_masked(to, row, p->around, p->mask + p->phase * p->row_bytes, p->row_bytes);
}

/* One step of depth, nr elements; zeros behind the last column. */
static void copy_step(const Panel *p, char *to) {
    if (p->joined) {
        copy_joined(p, to);
        return;
    }
    int axis = inner_axis(p->k);
    int64_t stride = axis >= 0 ? p->access->stride[axis] : 0;
    const Bounds *bounds = p->period ? &p->bounds[p->phase * p->run_count] : NULL;
    for (int r = 0; r < p->run_count; r++) {
        int from = 0, end = p->run[r].count;
        if (bounds)
            from = bounds[r].from, end = bounds[r].to;
        else if (p->access->guard_count)
            inside(p, &p->run[r], &from, &end);
        switch (p->size) {
        case 1: copy_run_of(1, p, &p->run[r], from, end, stride, to); break;
        case 2: copy_run_of(2, p, &p->run[r], from, end, stride, to); break;
        default: copy_run_of(4, p, &p->run[r], from, end, stride, to); break;
        }
    }
    if (p->columns < p->k->nr)
        memset(to + p->columns * p->size, 0, (size_t)(p->k->nr - p->columns) * (size_t)p->size);
}

static void next_step(Panel *p) {
    const Contract *k = p->k;
    if (p->period) {
        p->step_offset += p->delta[p->phase];
        if (++p->phase < p->period)
            return;
        p->phase = 0;
    }
    for (int i = (p->period ? p->period_axis : k->k_count) - 1; i >= 0; i--) {
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
    p->step_offset = 0;
    memset(p->step_position, 0, sizeof p->step_position);
    p->phase = p->period ? step % p->period : 0;
    for (int i = k->k_count - 1; i >= 0; i--) {
        int64_t extent = k->nest.axis[k->k_axis[i]].extent;
        p->digit[i] = extent ? step % extent : 0;
        add_axis(p->access, k->k_axis[i], p->digit[i], &p->step_offset, p->step_position);
        step = extent ? step / extent : 0;
    }
}

/* A matrix, row behind row: `count` of them from the step at hand on, of so many `in_all`. Each lies in other pages than the one
 * before, where no machine fetches ahead by itself. False: B is something else. */
static bool copy_rows(const Panel *p, int64_t count, int64_t in_all, char *to) {
    enum { LINE = 64, AHEAD = 16 };
    const Contract *k = p->k;
    const Run *run = &p->run[0];
    if (p->access->guard_count || p->run_count != 1 || k->k_count != 1 || p->columns != k->nr ||
        p->access->stride[inner_axis(k)] != 1)
        return false;
    int64_t stride = p->size * p->access->stride[k->k_axis[0]], bytes = p->size * k->nr;
    const char *from = p->data + p->size * (run->offset + p->step_offset);
    for (int64_t row = 0; row < count; row++, from += stride, to += bytes) {
        for (int64_t at = 0; row + AHEAD < in_all && at < bytes + LINE; at += LINE)
            __builtin_prefetch(from + AHEAD * stride + at);
        contract_copy_bytes(to, from, bytes);
    }
    return true;
}

/* Elements of 4 bytes that change places, four by four: a fifth of what it takes one by one. */
typedef uint32_t Four __attribute__((vector_size(16), aligned(1), may_alias)); /* files keep weights at any place */

/* Lanes of two of them. GCC has Clang's name for it from version 12 on. */
#ifdef __clang__
#define LANES(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define LANES(a, b, ...) __builtin_shuffle(a, b, (Four){__VA_ARGS__})
#endif

static inline void transpose_four(const char *from, int64_t column, char *to, int64_t row) {
    Four a = *(const Four *)from, b = *(const Four *)(from + column);
    Four c = *(const Four *)(from + 2 * column), d = *(const Four *)(from + 3 * column);
    Four ab = LANES(a, b, 0, 4, 1, 5), cd = LANES(c, d, 0, 4, 1, 5);
    *(Four *)to = LANES(ab, cd, 0, 1, 4, 5);
    *(Four *)(to + row) = LANES(ab, cd, 2, 3, 6, 7);
    ab = LANES(a, b, 2, 6, 3, 7), cd = LANES(c, d, 2, 6, 3, 7);
    *(Four *)(to + 2 * row) = LANES(ab, cd, 0, 1, 4, 5);
    *(Four *)(to + 3 * row) = LANES(ab, cd, 2, 3, 6, 7);
}

/* `steps` of `columns`, a line of each at most. */
static inline void turn_chunk(const char *from, int64_t column, int64_t columns, int steps, int64_t row, char *to) {
    enum { FOUR = 4, AHEAD = 128 }; /* bytes: every column is a stream of its own, more than machines follow */
    const int fours = steps / FOUR * FOUR;
    int64_t c = 0;
    for (; c + FOUR <= columns; c += FOUR, from += FOUR * column) {
        for (int k = 0; k < FOUR; k++) {
            __builtin_prefetch(from + k * column + AHEAD);
            for (int i = fours; i < steps; i++)
                memcpy(to + i * row + 4 * (c + k), from + k * column + (ptrdiff_t)4 * i, 4);
        }
        for (int i = 0; i < fours; i += FOUR)
            transpose_four(from + (ptrdiff_t)4 * i, column, to + i * row + 4 * c, row);
    }
    for (; c < columns; c++, from += column)
        for (int i = 0; i < steps; i++)
            memcpy(to + i * row + 4 * c, from + (ptrdiff_t)4 * i, 4);
    for (int i = 0; i < steps && 4 * columns < row; i++)
        memset(to + i * row + 4 * columns, 0, (size_t)(row - 4 * columns));
}

void contract_turn(const char *from, int64_t column, int64_t columns, int64_t steps, int64_t pitch, char *to) {
    int64_t i = 0;
    for (; i + TURNED_STEPS <= steps; i += TURNED_STEPS)
        turn_chunk(from + 4 * i, column, columns, TURNED_STEPS, 4 * pitch, to + 4 * i * pitch);
    turn_chunk(from + 4 * i, column, columns, (int)(steps - i), 4 * pitch, to + 4 * i * pitch);
}

/* Steps of depth that lie `stride` elements apart in each column, with the other axes' between them: taps of a channel. All of a
 * few steps are turned at once, so that a line is read once a block, and rows [from, end) taken from there. `outer`: where the
 * last of what lies between them is. */
static void copy_between(Panel *p, int64_t from, int64_t end, int64_t stride, int64_t outer, char *to) {
    enum { MOST = TURNED_BYTES / 4 };
    const Contract *k = p->k;
    const int64_t nr = k->nr, column = 4 * p->access->stride[inner_axis(k)],
                  extent = k->nest.axis[k->k_axis[k->k_count - 1]].extent;
    const int64_t most = MOST / (stride * nr);
    char turned[TURNED_BYTES];
    for (int64_t x = 0, count; x < extent; x += count) {
        count = extent - x < most ? extent - x : most;
        const char *base = p->data + 4 * (p->run[0].offset + x * stride);
        contract_turn(base, column, p->columns, (count - 1) * stride + outer + 1, nr, turned);
        for (int64_t first = from / extent * extent; first < end; first += extent) {
            go_to_step(p, first);
            for (int64_t i = 0; i < count; i++) {
                const int64_t step = first + x + i;
                if (step >= from && step < end)
                    contract_copy_bytes(to + 4 * (step - from) * nr, turned + 4 * (i * stride + p->step_offset) * nr, 4 * nr);
            }
        }
    }
}

/* A matrix the other way round, steps [from, end). False: B is something else. */
static bool copy_columns(Panel *p, int64_t from, int64_t end, char *to) {
    const Contract *k = p->k;
    if (p->size != 4 || p->access->guard_count || p->run_count != 1 || !k->k_count || !k->n_count)
        return false;
    const int inner = k->k_axis[k->k_count - 1];
    const int64_t stride = p->access->stride[inner], column = 4 * p->access->stride[inner_axis(k)],
                  extent = k->nest.axis[inner].extent;
    if (stride < 1 || column <= 4 * stride || extent < 1)
        return false;
    int64_t outer = 0;
    for (int i = 0; i + 1 < k->k_count; i++) {
        const int64_t far = p->access->stride[k->k_axis[i]] * (k->nest.axis[k->k_axis[i]].extent - 1);
        if (far < 0)
            return false;
        outer += far;
    }
    if (outer < stride && stride > 1 && stride * 4 * k->nr <= TURNED_BYTES) {
        copy_between(p, from, end, stride, outer, to);
        return true;
    }
    if (stride != 1)
        return false;
    for (int64_t step = from, count; step < end; step += count) {
        go_to_step(p, step);
        count = extent - step % extent < end - step ? extent - step % extent : end - step;
        contract_turn(p->data + 4 * (p->run[0].offset + p->step_offset), column, p->columns, count, k->nr,
                      to + 4 * (step - from) * k->nr);
    }
    return true;
}

/* The outermost axis of depth that guards know, and the steps of it and all behind it. */
static int64_t find_period(Panel *p) {
    const Contract *k = p->k;
    int64_t period = 1;
    p->period_axis = k->k_count;
    for (int i = k->k_count - 1; i >= 0; i--)
        for (int g = 0; g < p->access->guard_count; g++)
            if (p->access->guard[g].coef[k->k_axis[i]])
                p->period_axis = i;
    for (int i = p->period_axis; i < k->k_count; i++)
        period *= k->nest.axis[k->k_axis[i]].extent;
    bool fits = p->access->guard_count && k->n_count && period <= k->steps && period * p->run_count <= MAX_BOUNDS;
    return fits ? period : 0;
}

/* Whether runs lie behind each other as their columns do, and masks for a period can be kept. */
static bool can_join(const Panel *p, int64_t period) {
    bool can = period * p->row_bytes <= MASK_BYTES && p->access->stride[inner_axis(p->k)] == 1;
    for (int r = 0; r < p->run_count; r++)
        can = can && p->run[r].offset == p->run[0].offset + p->run[r].at;
    return can;
}

/* Masks of one guard by where a step of depth is in its dimension. Few places come up again and again: taps of one direction. */
typedef struct Masks {
    bool known[PLACES];
    int64_t place[PLACES];
    unsigned char mask[PLACES][MAX_COLUMNS];
} Masks;

static const unsigned char *mask_of(const Panel *p, int g, Masks *masks) {
    const int64_t place = p->step_position[g];
    const int slot = (int)((uint64_t)place % PLACES);
    unsigned char *mask = masks->mask[slot];
    if (masks->known[slot] && masks->place[slot] == place)
        return mask;
    masks->known[slot] = true;
    masks->place[slot] = place;
    memset(mask, 0, MAX_COLUMNS);
    for (int r = 0; r < p->run_count; r++) {
        int from = 0, to = p->run[r].count;
        clip(p, &p->run[r], g, &from, &to);
        if (from < to)
            memset(mask + p->run[r].at + from, 0xff, (size_t)(to - from));
    }
    return mask;
}

/* The mask of the step of depth at hand: of columns, and of the bytes of each. */
static void put_mask(const Panel *p, Masks *masks, unsigned char *to) {
    const unsigned char *of[NEST_MAX_GUARDS];
    unsigned char in[MAX_COLUMNS];
    const int guards = p->access->guard_count, columns = p->k->nr;
    for (int g = 0; g < guards; g++)
        of[g] = mask_of(p, g, &masks[g]);
    for (int c = 0; c < columns; c += WORD) {
        uint64_t word = UINT64_MAX, more;
        for (int g = 0; g < guards; g++) {
            memcpy(&more, of[g] + c, WORD);
            word &= more;
        }
        memcpy(in + c, &word, WORD);
    }
    if (p->size == 1)
        contract_copy_bytes((char *)to, (const char *)in, columns);
    else
        for (int c = 0; c < columns; c++)
            memset(to + c * p->size, in[c], (size_t)p->size);
}

static void put_bounds(Panel *p, int64_t step) {
    for (int r = 0; r < p->run_count; r++) {
        int from, to;
        inside(p, &p->run[r], &from, &to);
        p->bounds[step * p->run_count + r] = (Bounds){(unsigned char)from, (unsigned char)to};
    }
}

/* What guards leave in each step of a period. */
static void find_bounds(Panel *p) {
    const int64_t period = find_period(p), first = p->step_offset;
    Masks masks[NEST_MAX_GUARDS];
    p->joined = period && can_join(p, period);
    for (int g = 0; g < NEST_MAX_GUARDS; g++)
        memset(masks[g].known, 0, sizeof masks[g].known);
    for (int64_t step = 0; step < period; step++) {
        int64_t at = p->step_offset;
        if (p->joined)
            put_mask(p, masks, p->mask + step * p->row_bytes);
        else
            put_bounds(p, step);
        next_step(p); /* ends where it began, but for axes outside of the period */
        p->delta[step] = (step + 1 < period ? p->step_offset : first) - at;
    }
    memset(p->around, 0, (size_t)p->row_bytes);
    for (int i = 0; p->joined && i < p->columns; i++)
        memcpy(p->around + i * p->size, p->outside, (size_t)p->size);
    p->period = period;
}

/* Groups [from, end): a few of them as they lie, then side by side, or wider, by vector code (contract_emit.c). Zeros that are
 * flipped are zeros again in the panel. */
static void pack_chunks(Panel *p, const Compiled *c, int64_t from, int64_t end, char *to, int32_t *sums) {
    const Contract *k = p->k;
    char rows[CHUNK_BYTES];
    int64_t row = (int64_t)k->nr * p->size, most = CHUNK_BYTES / (row * k->group);
    char flip = (char)(k->fb.flip ? 0x80 : 0);
    for (int64_t group = from; group < end;) {
        int64_t count = end - group < most ? end - group : most;
        int64_t first = group * k->group, left = k->steps - first, i = left < count * k->group ? left : count * k->group;
        if (copy_rows(p, i, left, rows))
            go_to_step(p, first + i);
        else
            i = 0;
        for (; i < count * k->group; i++) {
            char *step = rows + i * row;
            if (group * k->group + i >= k->steps) {
                memset(step, flip, (size_t)row);
                continue;
            }
            copy_step(p, step);
            next_step(p);
            if (flip && p->columns < k->nr)
                memset(step + p->columns, flip, (size_t)(k->nr - p->columns));
        }
        int64_t arguments[] = {(int64_t)(intptr_t)rows, (int64_t)(intptr_t)to, (int64_t)(intptr_t)sums, count};
        schedule_call(c, k->pack_function, arguments);
        group += count;
        to += count * k->unit * k->nr;
    }
}

/* Parts of bytes: those of a group of steps are neighbours in B, and one byte of the panel. */
static void pack_parts(Panel *p, int64_t groups, char *to) {
    int64_t column = p->access->stride[inner_axis(p->k)];
    for (int64_t group = 0; group < groups; group++, to += p->k->nr) {
        for (int r = 0; r < p->run_count; r++) {
            int64_t at = p->run[r].offset + p->step_offset;
            for (int i = 0; i < p->run[r].count; i++)
                to[p->run[r].at + i] = p->data[(at + i * column) / p->k->group];
        }
        memset(to + p->columns, 0, (size_t)(p->k->nr - p->columns));
        for (int i = 0; i < p->k->group; i++)
            next_step(p);
    }
}

void contract_pack_block(const Compiled *c, const void *b, int64_t batch, int64_t panel, int64_t block, const void *outside,
                         void *to) {
    const Contract *k = c->state;
    const Access *access = &k->nest.access[k->b];
    Panel p;
    int64_t from = block * k->knobs.kc, end = from + k->knobs.kc < k->depth ? from + k->knobs.kc : k->depth;
    char *out = to;
    int32_t *sums = k->column_sums ? (int32_t *)(out + (end - from) * k->unit * k->nr) : NULL;
    if (end == k->depth)
        memset(out + contract_block_bytes(k) - (size_t)(k->knobs.kc - (end - from)) * (size_t)(k->unit * k->nr), 0,
               contract_tail_bytes(k));
    p.k = k, p.access = access, p.data = b, p.size = contract_size(k, k->b), p.outside = outside;
    p.run_count = 0;
    p.period = 0;
    p.joined = false;
    p.count = c->kernel->tensors[access->tensor].count;
    p.row_bytes = (int64_t)k->nr * p.size;
    find_runs(&p, batch, panel);
    go_to_step(&p, 0);
    find_bounds(&p);
    go_to_step(&p, from * k->group);
    if (sums)
        memset(sums, 0, (size_t)k->nr * sizeof *sums);
    if (k->fb.scaled && k->group > 1) {
        pack_parts(&p, end - from, out);
        return;
    }
    if (k->pack_function >= 0) {
        pack_chunks(&p, c, from, end, out, sums);
        return;
    }
    if (copy_rows(&p, end - from, end - from, out) || copy_columns(&p, from, end, out))
        return;
    for (int64_t step = from; step < end; step++, out += k->unit * k->nr) {
        copy_step(&p, out);
        next_step(&p);
    }
}

void contract_outside(const Contract *k, const ContractFactor *f, void *const *data, char to[4]) {
    const Access *access = &k->nest.access[f->access];
    float number = (float)access->outside;
    int64_t value = (int64_t)access->outside;
    if (f->centred && f->zero_known)
        value = f->zero_value;
    else if (f->centred)
        value =
            contract_integer(k->nest.access[f->zero].type, data[k->nest.access[f->zero].tensor], k->nest.access[f->zero].offset);
    memset(to, 0, 4);
    uint16_t half = access->type == DT_F16 ? f32_to_f16(number) : f32_to_bf16(number);
    if (access->type == DT_F32)
        memcpy(to, &number, sizeof number);
    else if (access->type == DT_F16 || access->type == DT_BF16)
        memcpy(to, &half, sizeof half);
    else
        to[0] = (char)value;
}

/* ---- rows of A ---- */

/* Eight bytes at a time, in lanes of 16 bits that are emptied before they overflow. */
static int64_t sum_bytes(const unsigned char *from, int64_t count) {
    const uint64_t low = UINT64_C(0x00ff00ff00ff00ff);
    int64_t total = 0;
    while (count >= 8) {
        int64_t words = count / 8 < 128 ? count / 8 : 128;
        uint64_t lanes = 0, word;
        for (int64_t i = 0; i < words; i++, from += 8) {
            memcpy(&word, from, 8);
            lanes += (word & low) + (word >> 8 & low);
        }
        for (int i = 0; i < 4; i++)
            total += lanes >> 16 * i & 0xffff;
        count -= 8 * words;
    }
    for (; count > 0; count--)
        total += *from++;
    return total;
}

/* Bytes with the sign bit turned are 128 more. */
static int64_t sum_signed(const unsigned char *from, int64_t count) {
    const uint64_t low = UINT64_C(0x00ff00ff00ff00ff), sign = UINT64_C(0x8080808080808080);
    int64_t total = -128 * count;
    while (count >= 8) {
        int64_t words = count / 8 < 128 ? count / 8 : 128;
        uint64_t lanes = 0, word;
        for (int64_t i = 0; i < words; i++, from += 8) {
            memcpy(&word, from, 8);
            word ^= sign;
            lanes += (word & low) + (word >> 8 & low);
        }
        for (int i = 0; i < 4; i++)
            total += lanes >> 16 * i & 0xffff;
        count -= 8 * words;
    }
    for (; count > 0; count--)
        total += (*from++) ^ 0x80;
    return total;
}

static int64_t sum_level(const Contract *k, int level, const unsigned char *from) {
    const ContractLevel *l = &k->level[level];
    bool last = level == k->level_count - 1, behind = last && l->a_stride == k->group; /* groups lie behind each other */
    int64_t total = 0, bytes = behind ? l->extent * k->group : k->group;
    for (int64_t i = 0; i < (behind ? 1 : l->extent); i++, from += l->a_stride)
        total += !last ? sum_level(k, level + 1, from) : k->fa.type == DT_S8 ? sum_signed(from, bytes) : sum_bytes(from, bytes);
    return total;
}

int64_t contract_row_sum(const Contract *k, const void *row) {
    return sum_level(k, 0, row);
}
