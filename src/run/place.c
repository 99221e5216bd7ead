/* The memory plan: intervals get offsets in one block, the largest first, each at the lowest place where nothing that lives at
 * the same time lies. */
#include <stdlib.h>
#include <string.h>

#include "run/planned.h"

static int larger_first(const void *x, const void *y) {
    const Interval *a = *(Interval *const *)x, *b = *(Interval *const *)y;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return a->first != b->first ? (a->first < b->first ? -1 : 1) : (a < b ? -1 : a > b);
}

static bool meet(const Interval *x, const Interval *y) {
    return x->first <= y->last && y->first <= x->last;
}

/* Inserts into placed[], which is in order of offsets. */
static void place_one(Interval **placed, int count, Interval *one) {
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        if (!meet(placed[i], one))
            continue;
        if (placed[i]->offset >= offset && placed[i]->offset - offset >= one->bytes)
            break;
        if (placed[i]->offset + placed[i]->bytes > offset)
            offset = placed[i]->offset + placed[i]->bytes;
    }
    one->offset = offset;
    int at = count;
    for (; at > 0 && placed[at - 1]->offset > offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = one;
}

size_t place_intervals(Interval *intervals, int count, Arena *scratch) {
    enum { LINE = 64 };
    Interval **sorted = ARENA_ARRAY(scratch, Interval *, (size_t)count),
             **placed = ARENA_ARRAY(scratch, Interval *, (size_t)count);
    size_t total = 0;
    if (!sorted || !placed)
        return 0;
    for (int i = 0; i < count; i++) {
        intervals[i].bytes = (intervals[i].bytes + LINE - 1) / LINE * LINE;
        sorted[i] = &intervals[i];
    }
    qsort(sorted, (size_t)count, sizeof *sorted, larger_first);
    for (int i = 0; i < count; i++) {
        place_one(placed, i, sorted[i]);
        if (sorted[i]->offset + sorted[i]->bytes > total)
            total = sorted[i]->offset + sorted[i]->bytes;
    }
    return total;
}
