/* Reads whose lanes do not lie side by side, at places that are known when the kernel is made: a step of two, channels taken
 * apart or put together, pictures made larger, borders that mirror. The runs of memory in which the lanes of a vector lie are
 * loaded, and PERMUTE and PICK put them in order: a few operations where a gather is a load for each lane.
 *
 * The result is often written along a short axis first (y[pixel, channel] = x[channel, pixel]): it and the axis around it become
 * the columns together, so that whole vectors are stored. */
#include "schedule/map.h"

#include <string.h>

/* ---- columns of two axes ---- */

enum { MOST_SPLIT = 4, MOST_STEP = 4 };

static bool is_far(int64_t stride) {
    return stride > MOST_STEP || stride < -MOST_STEP;
}

/* A read that is far apart along both axes is none for whole vectors: it may be transposed, along the columns as they are. */
static bool may_merge(const MapPass *m, int axis, int64_t split) {
    for (int i = 0; i < m->nest.access_count; i++) {
        const Access *a = &m->nest.access[i];
        int64_t inner = a->stride[m->column], outer = a->stride[axis];
        if (outer != inner * split && is_far(inner) && is_far(outer))
            return false;
        for (int g = 0; g < a->guard_count; g++)
            if (a->guard[g].coef[axis] || a->guard[g].coef[m->column])
                return false;
        if (a->source == ACCESS_OFFSETS || a->offsets[0])
            return false;
    }
    return true;
}

void map_merge_columns(MapPass *m, const Target *target) {
    Nest *nest = &m->nest;
    int outer = -1;
    if (!target->permutes || m->wide || m->scattered || m->bits || m->column < 0)
        return;
    int64_t split = nest->axis[m->column].extent;
    for (int x = 0; x < nest->axis_count; x++)
        if (x != m->column && nest->access[0].stride[x] == split)
            outer = x;
    if (split > MOST_SPLIT || outer < 0 || split * nest->axis[outer].extent < target->bytes / 2 || !may_merge(m, outer, split))
        return;
    for (int i = 0; i < nest->access_count; i++) {
        Access *a = &nest->access[i];
        int64_t inner = a->stride[m->column];
        if (a->stride[outer] == inner * split)
            a->stride[outer] = inner;
        else
            m->lanes[i] = (MapLanes){.split = split, .inner = inner, .outer = a->stride[outer]};
        a->stride[m->column] = 0;
    }
    nest->axis[outer].extent *= split;
    nest->axis[m->column].extent = 1;
    m->column = outer;
    m->split = split;
}

void map_plan_lanes(MapPass *m, const Target *target) {
    if (!target->permutes || m->wide || m->scattered || m->bits || m->column < 0)
        return;
    for (int i = 1; i < m->nest.access_count; i++) {
        MapLanes *l = &m->lanes[i];
        int64_t stride = map_column_stride(m, i);
        int offsets = map_offsets_along(m, i, true);
        if (l->split <= 1)
            *l = (MapLanes){.split = 1, .outer = stride};
        for (int g = 0; g < m->gather_count; g++)
            if (offsets && m->gathers[g].offsets == offsets && m->gathers[g].fixed && m->nest.access[offsets].dense_count == 1)
                l->table = m->gathers[g].table;
        bool steps = !offsets && (stride < -1 || stride > 1) && stride * (target->bytes / 4) < 1 << 20;
        l->permuted = l->split > 1 || l->table || steps;
        m->permutes = m->permutes || l->permuted;
    }
}

/* ---- windows ---- */

static bool goes_on(const MapLanes *l, const MapSegment *segment, int64_t group) {
    int64_t begin = segment->begin, end = begin + segment->extent - group;
    if (!l->table)
        return group % l->split == 0;
    for (int64_t j = begin; j < end; j++)
        if (map_lane_place(l, j + group) - map_lane_place(l, j) != map_lane_place(l, begin + group) - map_lane_place(l, begin))
            return false;
    return true;
}

int map_lanes_period(const MapPass *m, const MapSegment *segment, int lanes, int most, bool tables) {
    for (int vectors = 1; vectors <= most; vectors++) {
        bool all = true;
        for (int i = 1; all && i < m->nest.access_count; i++)
            all = !m->lanes[i].permuted || segment->outside >> i & 1 || (m->lanes[i].table && !tables) ||
                  goes_on(&m->lanes[i], segment, (int64_t)vectors * lanes);
        if (all)
            return vectors;
    }
    return 0;
}

/* The lowest and the highest element of a round. */
typedef struct Bounds {
    int64_t least, most;
} Bounds;

static Bounds bounds_of(const MapLanes *lanes, const MapRound *round) {
    Bounds b = {INT64_MAX, INT64_MIN};
    for (int64_t j = round->from; j < round->from + round->columns; j++) {
        int64_t place = map_lane_place(lanes, j);
        b.least = place < b.least ? place : b.least;
        b.most = place > b.most ? place : b.most;
    }
    return b;
}

/* Takes a run of the lanes from the lowest that is not taken yet on. Whole registers are loaded where they stay between the
 * lowest and the highest of all. */
static void add_window(MapWindows *w, const int64_t *place, bool *taken, int columns, int count, Bounds all,
                       const int64_t *loaded, int loaded_count) {
    int64_t low = INT64_MAX, high = INT64_MIN;
    int k = w->count++;
    for (int l = 0; l < columns; l++)
        low = !taken[l] && place[l] < low ? place[l] : low;
    for (int l = 0; l < columns; l++)
        high = !taken[l] && place[l] < low + count && place[l] > high ? place[l] : high;
    w->start[k] = low + count - 1 <= all.most ? low : all.most - count + 1;
    w->length[k] = count;
    if (w->start[k] < all.least) {
        w->start[k] = low;
        w->length[k] = (int)(high - low) + 1;
    }
    for (int i = 0; i < loaded_count; i++)
        if (loaded[i] <= low && high < loaded[i] + count) {
            w->start[k] = loaded[i];
            w->length[k] = count;
        }
    for (int l = 0; l < count; l++) {
        bool mine = l < columns && !taken[l] && place[l] <= high;
        int32_t before = k == 0 ? 0 : k == 1 ? w->take[0][l] : l;
        w->take[k][l] = mine ? (int32_t)(place[l] - w->start[k]) + (k ? count : 0) : before;
        if (mine)
            taken[l] = true;
    }
}

void map_find_windows(const MapLanes *lanes, int64_t column, int columns, int count, int most, const MapRound *round,
                      const int64_t *loaded, int loaded_count, MapWindows *w) {
    const Bounds all = bounds_of(lanes, round);
    int64_t place[VECTOR_MAX_BYTES / 4];
    bool taken[VECTOR_MAX_BYTES / 4] = {false}, left = true;
    for (int l = 0; l < columns; l++)
        place[l] = map_lane_place(lanes, column + l);
    w->count = 0;
    while (left && w->count < most) {
        add_window(w, place, taken, columns, count, all, loaded, loaded_count);
        left = false;
        for (int l = 0; l < columns; l++)
            left = left || !taken[l];
    }
    w->plain = w->count == 1;
    for (int l = 0; l < columns; l++)
        w->plain = w->plain && w->take[0][l] == l;
    if (left)
        w->count = 0;
}
