/* Factors of windows over pixels, packed: weights as ONNX has them, w[m, 0, i, j], are apart along the lanes. They are copied to
 * [taps][lanes]: constants when compiling, others (they are few) in each run. Those of groups change lanes, too
 * (window_groups.c). */
#include "schedule/window_pixels.h"

#include <string.h>

enum { MOST_BYTES = 1 << 24 };

/* Moves with the lanes, far apart, with taps, and with nothing else. */
static bool wants_packing(const Pixels *p, int access) {
    const Access *a = &p->nest.access[access];
    bool taps = false;
    for (int q = 0; q < p->nest.axis_count; q++) {
        bool moves = a->stride[q] != 0 && p->nest.axis[q].extent > 1;
        if (moves && !p->nest.axis[q].reduced && q != p->v)
            return false;
        taps = taps || (moves && p->nest.axis[q].reduced);
    }
    bool apart = a->stride[p->v] != 0 && (a->stride[p->v] != 1 || p->w->mixed >= 0);
    return taps && !a->guard_count && access != p->x && apart;
}

static bool find_strides(Pixels *p, Access *a) {
    int64_t stride = p->nest.axis[p->v].extent, bytes;
    for (int q = p->nest.axis_count - 1; q >= p->nest.parallel_count; q--) {
        bool moves = a->stride[q] != 0 && p->nest.axis[q].extent > 1;
        a->stride[q] = moves ? stride : 0;
        if (moves && !checked_mul(stride, p->nest.axis[q].extent, &stride))
            return false;
    }
    a->stride[p->v] = 1;
    a->offset = 0;
    return checked_mul(stride, dtype_bits(a->type) / 8, &bytes) && bytes <= MOST_BYTES;
}

void pixels_find_packed(Pixels *p, const ScheduleOptions *options) {
    for (int i = 1; i < p->nest.access_count && p->packed < 0; i++) {
        Access packed = p->nest.access[i];
        if (!wants_packing(p, i) || dtype_bits(packed.type) < 8 || !find_strides(p, &packed))
            continue;
        p->packed = i;
        p->unpacked = p->nest.access[i];
        p->nest.access[i] = packed;
        p->constant = options->constant && options->constant[packed.tensor];
    }
}

size_t pixels_packed_bytes(const Pixels *p) {
    const Access *a = &p->nest.access[p->packed];
    int64_t count = p->nest.axis[p->v].extent;
    for (int q = p->nest.parallel_count; q < p->nest.axis_count; q++)
        count *= a->stride[q] ? p->nest.axis[q].extent : 1;
    return (size_t)(count * (dtype_bits(a->type) / 8));
}

/* One tap of all lanes. Of groups: lane l has the channel `high` lanes behind it, which gives to the output `low` lanes before.
 */
static void pack_tap(const Pixels *p, const char *from, int64_t offset, int64_t turn, char *to) {
    const Access *a = &p->unpacked;
    size_t bytes = (size_t)dtype_bits(a->type) / 8;
    int64_t lanes = p->nest.axis[p->v].extent, group = p->w->mixed < 0 ? 1 : p->w->group, low = turn % p->sums;
    int64_t at[PIXELS_MAX_GROUP] = {offset};
    for (int64_t l = 0; l < group && p->w->mixed >= 0; l++)
        at[l] = offset + (l + group - low) % group * a->stride[p->v] + (l + turn - low) % group * a->stride[p->w->mixed];
    for (int64_t v = 0; v < lanes; v += group)
        for (int64_t l = 0; l < group; l++, to += bytes)
            memcpy(to, from + (at[l] + v * a->stride[p->v]) * (int64_t)bytes, bytes);
}

void pixels_pack(const Pixels *p, const void *from, void *to) {
    const Access *a = &p->nest.access[p->packed];
    size_t bytes = (size_t)dtype_bits(a->type) / 8;
    int64_t lanes = p->nest.axis[p->v].extent, count = (int64_t)(pixels_packed_bytes(p) / bytes) / lanes;
    for (int64_t tap = 0; tap < count; tap++) {
        int64_t left = tap, offset = p->unpacked.offset, turn = 0;
        for (int q = p->nest.axis_count - 1; q >= p->nest.parallel_count; q--)
            if (a->stride[q]) {
                int64_t digit = left % p->nest.axis[q].extent;
                if (q == p->w->mixed)
                    turn = digit;
                else
                    offset += digit * p->unpacked.stride[q];
                left /= p->nest.axis[q].extent;
            }
        pack_tap(p, from, offset, turn, (char *)to + (size_t)(tap * lanes) * bytes);
    }
}

static void pack_piece(const Compiled *c, const void *constant, size_t piece, void *to) {
    (void)piece;
    pixels_pack(c->state, constant, to);
}

bool pixels_describe_packing(const Pixels *p, Compiled *c) {
    if (p->packed < 0 || !p->constant)
        return true;
    Text key;
    text_init(&key);
    text_put_n(&key, "window", 6);
    text_put_n(&key, (const char *)&p->unpacked.offset, sizeof p->unpacked.offset);
    if (p->w->mixed >= 0) {
        text_put_n(&key, (const char *)&p->w->group, sizeof p->w->group);
        text_put_n(&key, (const char *)&p->sums, sizeof p->sums);
    }
    for (int q = 0; q < p->nest.axis_count; q++)
        if (p->unpacked.stride[q] && p->nest.axis[q].extent > 1) {
            const int64_t walk[] = {p->nest.axis[q].extent, p->unpacked.stride[q], q == p->v ? 1 : q == p->w->mixed ? 2 : 0};
            text_put_n(&key, (const char *)walk, sizeof walk);
        }
    c->packing = (Packing){.tensor = p->unpacked.tensor,
                           .bytes = pixels_packed_bytes(p),
                           .pieces = 1,
                           .key = arena_copy(&c->arena, key.data, key.length),
                           .key_bytes = key.length};
    c->pack = pack_piece;
    bool fine = !key.failed && c->packing.key;
    text_free(&key);
    return fine;
}
