/* Floats in order, each with its place: order.c. */
#ifndef WHET_ORDER_H
#define WHET_ORDER_H

#include <stdbool.h>
#include <stdint.h>

/* Ascending keys are floats in order, the largest first if `largest`; of equals, the lower place (below 2^32, the lower half of a
 * key) comes first. NaN is above everything. */
uint64_t order_key(float x, bool largest, int64_t place);
/* Sorts keys whose places ascend. `other`: room for as many. */
void order_sort(uint64_t *keys, uint64_t *other, int64_t count);
/* Keys of at least the first k of `count` floats, in order; returns how many there are. Room for one key more than `count` in
 * both. */
int64_t order_first(const float *x, int64_t count, int64_t k, bool largest, uint64_t *keys, uint64_t *other);

#endif
