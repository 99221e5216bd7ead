/* Floats in order: a float and its place as one number of 64 bits, so that sorting compares nothing but numbers. */
#include "ops/order.h"

#include <math.h>
#include <string.h>

uint64_t order_key(float x, bool largest, int64_t place) {
    uint32_t bits, ordered = UINT32_MAX;
    x += 0.0f; /* -0 is 0 */
    memcpy(&bits, &x, 4);
    if (!isnan(x))
        ordered = bits >> 31 ? ~bits : bits | UINT32_C(1) << 31;
    return (uint64_t)(largest ? ~ordered : ordered) << 32 | (uint32_t)place;
}

static void sort_few(uint64_t *keys, int64_t count) {
    for (int64_t i = 1; i < count; i++) {
        uint64_t key = keys[i];
        int64_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

/* By the bytes of the upper half, the lowest first; the lower halves are in order as they come. */
void order_sort(uint64_t *keys, uint64_t *other, int64_t count) {
    enum { FEW = 40, BYTES = 4 };
    int64_t begin[BYTES][256];
    if (count <= FEW) {
        sort_few(keys, count);
        return;
    }
    memset(begin, 0, sizeof begin);
    for (int64_t i = 0; i < count; i++)
        for (int b = 0; b < BYTES; b++)
            begin[b][keys[i] >> (32 + 8 * b) & 255]++;
    for (int b = 0; b < BYTES; b++)
        for (int64_t v = 0, sum = 0; v < 256; v++) {
            int64_t here = begin[b][v];
            begin[b][v] = sum;
            sum += here;
        }
    for (int b = 0; b < BYTES; b++) { /* an even number of times: it ends where it began */
        uint64_t *from = b % 2 ? other : keys, *to = b % 2 ? keys : other;
        for (int64_t i = 0; i < count; i++)
            to[begin[b][from[i] >> (32 + 8 * b) & 255]++] = from[i];
    }
}

/* ---- the first few ---- */

enum { CLASSES_MOST = 1024 };

/* The higher of two floats each, NaN noticed, for PART of them: compilers make vectors of it. */
enum { PART = 32 };
static int raise_part(const float *restrict x, float sign, float *restrict first) {
    int nans = 0;
    for (int j = 0; j < PART; j++) {
        float value = sign * x[j];
        nans |= value != value;
        first[j] = value > first[j] ? value : first[j];
    }
    return nans;
}

/* Of each of `classes` interleaved parts of a line the first in order: all others of the line that come before the k-th of these,
 * and it, are candidates for the first k. What is left over behind whole parts is in none. Then halves are folded onto each other
 * as long as there are 2 k and more. Returns how many there are; 0: there is a NaN. */
static int64_t class_firsts(const float *x, int64_t count, int64_t k, int64_t classes, bool largest, float *first) {
    const float sign = largest ? 1 : -1;
    int64_t whole = count / classes * classes;
    int nans = 0;
    for (int64_t j = 0; j < classes; j++)
        first[j] = -INFINITY;
    for (int64_t i = 0; i < whole; i += classes)
        for (int64_t j = 0; j < classes; j += PART)
            nans |= raise_part(x + i + j, sign, first + j);
    for (int64_t i = whole; i < count; i++)
        nans |= x[i] != x[i];
    for (; classes >= 4 * k; classes /= 2)
        for (int64_t j = 0; j < classes / 2; j++)
            first[j] = first[j] < first[j + classes / 2] ? first[j + classes / 2] : first[j];
    return nans ? 0 : classes;
}

static bool part_reaches(const float *x, float sign, float least) {
    int reached = 0;
    for (int j = 0; j < PART; j++)
        reached |= sign * x[j] >= least;
    return reached;
}

/* Keys of all at least `least`, times `sign`. `other`: room for places. */
static int64_t find_candidates(const float *x, int64_t count, float least, bool largest, uint64_t *keys, uint64_t *other) {
    const float sign = largest ? 1 : -1;
    int64_t found = 0;
    for (int64_t i = 0; i < count; i += PART) {
        int64_t end = i + PART < count ? i + PART : count;
        if (end == i + PART && !part_reaches(x + i, sign, least))
            continue;
        for (int64_t j = i; j < end; j++) { /* no jumps: which they are cannot be foreseen */
            other[found] = (uint64_t)j;
            found += sign * x[j] >= least;
        }
    }
    for (int64_t f = 0; f < found; f++)
        keys[f] = order_key(x[other[f]], largest, (int64_t)other[f]);
    return found;
}

int64_t order_first(const float *x, int64_t count, int64_t k, bool largest, uint64_t *keys, uint64_t *other) {
    float first[CLASSES_MOST];
    int64_t classes = PART, found = 0;
    while (classes < 2 * k && classes < CLASSES_MOST)
        classes *= 2;
    classes = k > 0 && k <= classes / 2 && count >= 8 * classes ? class_firsts(x, count, k, classes, largest, first) : 0;
    if (classes) {
        for (int64_t j = 0; j < classes; j++)
            keys[j] = order_key(first[j], true, j);
        order_sort(keys, other, classes);
        found = find_candidates(x, count, first[(uint32_t)keys[k - 1]], largest, keys, other);
    } else
        for (; found < count; found++)
            keys[found] = order_key(x[found], largest, found);
    order_sort(keys, other, found);
    return found;
}
