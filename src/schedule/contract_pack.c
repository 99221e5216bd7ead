/* Packs panels of B: [depth][nr][group] elements, whatever strides and guards B has. `group` steps of depth lie side by side, as
 * the machine multiplies them.
 *
 * The columns of a panel fall into runs along B's innermost column axis; for each step of depth, a run is copied, or the part of
 * it that its guards leave inside, between what a read outside gives. Steps behind the last one are zero. */
#include "schedule/contract.h"

#include <string.h>

enum { MAX_COLUMNS = CONTRACT_MAX_WIDTH, MAX_GROUP = 4 };

typedef struct Run {
    int at, count;                     /* columns of the panel */
    int64_t offset;                    /* of the first column, in elements */
    int64_t position[NEST_MAX_GUARDS]; /* of the first column, in each guarded dimension */
} Run;

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

/* Elements of 1, 2 or 4 bytes: `size` is a constant where these are used. */
static inline void fill_of(int size, char *to, int count, const char *value) {
    for (int i = 0; i < count; i++)
        memcpy(to + i * size, value, (size_t)size);
}

/* Runs are short: a call would cost more than the copy. */
static inline void copy_of(int size, char *to, const char *from, int count, int64_t stride) {
    enum { PIECE = 64 };
    int i = 0, piece = PIECE / size;
    if (stride == 1)
        for (; i + piece <= count; i += piece)
            memcpy(to + i * size, from + i * size, PIECE);
    for (; i < count; i++)
        memcpy(to + i * size, from + i * stride * size, (size_t)size);
}

static inline void copy_run_of(int size, const Panel *p, const Run *run, char *to) {
    int from, end, axis = inner_axis(p->k);
    int64_t stride = axis >= 0 ? p->access->stride[axis] : 0;
    inside(p, run, &from, &end);
    to += run->at * size;
    fill_of(size, to, from, p->outside);
    copy_of(size, to + from * size, p->data + size * (run->offset + p->step_offset + from * stride), end - from, stride);
    fill_of(size, to + end * size, run->count - end, p->outside);
}

/* One step of depth, nr elements; zeros behind the last column. */
static void copy_step(const Panel *p, char *to) {
    for (int r = 0; r < p->run_count; r++)
        switch (p->size) {
        case 1: copy_run_of(1, p, &p->run[r], to); break;
        case 2: copy_run_of(2, p, &p->run[r], to); break;
        default: copy_run_of(4, p, &p->run[r], to); break;
        }
    memset(to + p->columns * p->size, 0, (size_t)(p->k->nr - p->columns) * (size_t)p->size);
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

/* ---- bytes, four steps side by side ---- */

/* [4][width] -> [width][4], a vector at a time where the compiler finds it. */
static void interleave(const unsigned char rows[MAX_GROUP][MAX_COLUMNS], int width, unsigned char flip, unsigned char *to) {
    enum { PIECE = 16 };
    for (int at = 0; at < width; at += PIECE)
        for (int i = 0; i < PIECE && at + i < width; i++)
            for (int g = 0; g < MAX_GROUP; g++)
                to[MAX_GROUP * (at + i) + g] = rows[g][at + i] ^ flip;
}

static void add_columns(const unsigned char *packed, int width, bool is_signed, int32_t *sums) {
    for (int i = 0; i < width; i++)
        for (int g = 0; g < MAX_GROUP; g++)
            sums[i] += is_signed ? (int8_t)packed[MAX_GROUP * i + g] : packed[MAX_GROUP * i + g];
}

/* Steps [from, end) of one group, those that are left of it zeros: flipped too, they would still be multiplied by zeros of the
 * other side, but for the sums. */
static void pack_group(Panel *p, int steps, unsigned char *to, int32_t *sums) {
    const Contract *k = p->k;
    unsigned char rows[MAX_GROUP][MAX_COLUMNS], flip = k->fb.flip ? 0x80 : 0;
    for (int g = 0; g < steps; g++) {
        copy_step(p, (char *)rows[g]);
        if (flip)
            memset(rows[g] + p->columns, flip, (size_t)(k->nr - p->columns));
        next_step(p);
    }
    for (int g = steps; g < MAX_GROUP; g++)
        memset(rows[g], flip, (size_t)k->nr); /* zero once it is flipped */
    interleave((const unsigned char(*)[MAX_COLUMNS])rows, k->nr, flip, to);
    if (sums)
        add_columns(to, k->nr, !k->b_first, sums);
}

void contract_pack_block(const Contract *k, const void *b, int64_t batch, int64_t panel, int64_t block, const void *outside,
                         void *to) {
    const Access *access = &k->nest.access[k->b];
    Panel p = {.k = k, .access = access, .data = b, .size = contract_size(k, k->b), .outside = outside};
    int64_t from = block * k->knobs.kc, end = from + k->knobs.kc < k->depth ? from + k->knobs.kc : k->depth;
    char *out = to;
    int32_t *sums = k->column_sums ? (int32_t *)(out + (end - from) * 4 * k->nr) : NULL;
    find_runs(&p, batch, panel);
    go_to_step(&p, from * k->group);
    if (sums)
        memset(sums, 0, (size_t)k->nr * sizeof *sums);
    for (int64_t group = from; group < end; group++, out += 4 * k->nr)
        if (k->group == 1) {
            copy_step(&p, out);
            next_step(&p);
        } else {
            int64_t left = k->steps - group * k->group;
            pack_group(&p, left < k->group ? (int)left : k->group, (unsigned char *)out, sums);
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
    if (access->type == DT_F32)
        memcpy(to, &number, sizeof number);
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
    int64_t total = 0, extent = k->level[level].extent;
    if (level == k->level_count - 1)
        return k->fa.type == DT_S8 ? sum_signed(from, extent * k->group) : sum_bytes(from, extent * k->group);
    for (int64_t i = 0; i < extent; i++)
        total += sum_level(k, level + 1, from + i * k->level[level].a_stride);
    return total;
}

int64_t contract_row_sum(const Contract *k, const void *row) {
    return sum_level(k, 0, row) + contract_zero_offset(&k->fa) * k->steps;
}
