/* Tensors for tests of kernels: memory with sentinels around it, values from numbers or from a seed, comparison. */
#ifndef KERNEL_DATA_H
#define KERNEL_DATA_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

/* As wide as the widest register, and a large number of every type: what is read beyond a tensor is seen in the result. */
enum { SENTINEL_BYTES = 256, SENTINEL = 0xC6 };

static size_t data_bytes(const KernelTensor *tensor) {
    size_t bytes = 0;
    bool fine = dtype_bytes(tensor->type, tensor->count, &bytes);
    return fine ? bytes : 0;
}

static void *data_new(const KernelTensor *tensor) {
    size_t bytes = data_bytes(tensor);
    unsigned char *memory = malloc(bytes + 2 * SENTINEL_BYTES);
    if (!memory)
        abort();
    memset(memory, SENTINEL, bytes + 2 * SENTINEL_BYTES);
    return memory + SENTINEL_BYTES;
}

static void data_free(void *data) {
    free(data ? (unsigned char *)data - SENTINEL_BYTES : NULL);
}

static bool data_intact(const KernelTensor *tensor, const void *data) {
    const unsigned char *front = (const unsigned char *)data - SENTINEL_BYTES,
                        *back = (const unsigned char *)data + data_bytes(tensor);
    for (int i = 0; i < SENTINEL_BYTES; i++)
        if (front[i] != SENTINEL || back[i] != SENTINEL)
            return false;
    return true;
}

static void data_set(DType type, void *data, int64_t index, double f, int64_t i) {
    switch (type) {
    case DT_F32: ((float *)data)[index] = (float)f; break;
    case DT_F64: ((double *)data)[index] = f; break;
    case DT_F16: ((uint16_t *)data)[index] = f64_to_f16(f); break;
    case DT_BF16: ((uint16_t *)data)[index] = f32_to_bf16((float)f); break;
    case DT_S16:
    case DT_U16: ((uint16_t *)data)[index] = (uint16_t)i; break;
    case DT_S32:
    case DT_U32: ((uint32_t *)data)[index] = (uint32_t)i; break;
    case DT_S64:
    case DT_U64: ((int64_t *)data)[index] = i; break;
    default: ((uint8_t *)data)[index] = (uint8_t)i; break;
    }
}

static double data_get(DType type, const void *data, int64_t index) {
    switch (type) {
    case DT_F32: return (double)((const float *)data)[index];
    case DT_F64: return ((const double *)data)[index];
    case DT_F16: return (double)f16_to_f32(((const uint16_t *)data)[index]);
    case DT_BF16: return (double)bf16_to_f32(((const uint16_t *)data)[index]);
    case DT_S8: return ((const int8_t *)data)[index];
    case DT_S16: return ((const int16_t *)data)[index];
    case DT_S32: return ((const int32_t *)data)[index];
    case DT_U16: return ((const uint16_t *)data)[index];
    case DT_U32: return ((const uint32_t *)data)[index];
    case DT_S64: return (double)((const int64_t *)data)[index];
    case DT_U64: return (double)((const uint64_t *)data)[index];
    default: return ((const uint8_t *)data)[index];
    }
}

/* xorshift64*: the same everywhere. */
static uint64_t data_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* Quarters from -2 to 2: sums and products of a few are exact, so that the order of additions does not show. Integers are
 * small, and those that stand for indices smaller than `below` (0: no limit). */
static inline void data_fill(const KernelTensor *tensor, void *data, uint64_t *state, int64_t below) {
    bool is_signed = dtype_kind(tensor->type) == KIND_SIGNED;
    for (int64_t i = 0; i < tensor->count; i++) {
        uint64_t r = data_random(state) >> 20;
        int64_t whole = tensor->type == DT_BOOL ? (int64_t)(r % 2)
                        : below > 0             ? (int64_t)(r % (uint64_t)below)
                                                : (int64_t)(r % 9) - (is_signed ? 4 : 0);
        data_set(tensor->type, data, i, (double)((int64_t)(r % 17) - 8) / 4, whole);
    }
}

/* The first element that differs by more than `tolerance` (relative and absolute), or -1; floats: NaN equals NaN; integers: bits.
 */
static inline int64_t data_compare(const KernelTensor *tensor, const void *got, const void *want, double tolerance) {
    bool is_float = dtype_kind(tensor->type) == KIND_FLOAT;
    size_t size = (size_t)dtype_bits(tensor->type) / 8;
    for (int64_t i = 0; i < tensor->count; i++) {
        double a = data_get(tensor->type, got, i), b = data_get(tensor->type, want, i);
        bool same = memcmp((const char *)got + (size_t)i * size, (const char *)want + (size_t)i * size, size) == 0;
        if (!same && is_float)
            same = (isnan(a) && isnan(b)) || a == b || (isfinite(a) && isfinite(b) && fabs(a - b) <= tolerance * (1 + fabs(b)));
        if (!same)
            return i;
    }
    return -1;
}

#endif
