/* What tests of the templates share: random numbers from a seed, a kernel's tensors between sentinels, tasks in the order that is
 * least expected, reports of what was compiled. To be included behind cmocka.h. */
#ifndef BUFFERS_H
#define BUFFERS_H

#include <math.h>

#include "kernel_data.h"
#include "schedule/schedule.h"

static uint64_t state_of_random;

static inline uint32_t next(void) {
    state_of_random = state_of_random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state_of_random >> 33);
}

typedef struct Buffers {
    void *data[KERNEL_MAX_TENSORS];
} Buffers;

/* Gives an input its values; `context` is the test's. */
typedef void BuffersFill(const KernelTensor *tensor, void *data, const void *context);

static inline void buffers_new(const Kernel *kernel, BuffersFill *fill, const void *context, Buffers *out) {
    for (int t = 0; t < kernel->tensor_count; t++) {
        out->data[t] = data_new(&kernel->tensors[t]);
        if (kernel->tensors[t].role == ROLE_INPUT)
            fill(&kernel->tensors[t], out->data[t], context);
    }
}

static inline void buffers_free(const Kernel *kernel, Buffers *b) {
    for (int t = 0; t < kernel->tensor_count; t++)
        data_free(b->data[t]);
}

static inline bool buffers_intact(const Kernel *kernel, const Buffers *b) {
    for (int t = 0; t < kernel->tensor_count; t++)
        if (!data_intact(&kernel->tensors[t], b->data[t])) {
            print_error("a sentinel of %s was overwritten\n", kernel->tensors[t].name);
            return false;
        }
    return true;
}

/* Have the outputs the same bits? */
static inline bool buffers_equal(const Kernel *kernel, const Buffers *a, const Buffers *b) {
    for (int t = 0; t < kernel->tensor_count; t++)
        if (kernel->tensors[t].role == ROLE_OUTPUT && memcmp(a->data[t], b->data[t], data_bytes(&kernel->tensors[t])) != 0)
            return false;
    return true;
}

/* Numbers are the same, both are no numbers, or they differ by `bound` at most. */
static inline bool data_close(const KernelTensor *tensor, const void *got, const void *wanted, double bound) {
    for (int64_t i = 0; i < tensor->count; i++) {
        double x = data_get(tensor->type, got, i), y = data_get(tensor->type, wanted, i);
        if (!(x == y || (isnan(x) && isnan(y)) || fabs(x - y) <= bound)) {
            print_error("element %lld of %s: %.9g, wanted %.9g (bound %.2g)\n", (long long)i, tensor->name, x, y, bound);
            return false;
        }
    }
    return true;
}

/* The largest finite magnitude, at least 1. */
static inline double data_scale(const KernelTensor *tensor, const void *data) {
    double scale = 1;
    for (int64_t i = 0; i < tensor->count; i++) {
        double size = fabs(data_get(tensor->type, data, i));
        scale = isfinite(size) && size > scale ? size : scale;
    }
    return scale;
}

/* Numbers from -1000 / unit to 1000 / unit. */
static inline void data_fill_small(const KernelTensor *tensor, void *data, double unit) {
    for (int64_t i = 0; i < tensor->count; i++)
        data_set(tensor->type, data, i, ((int)(next() % 2001) - 1000) / unit, 0);
}

/* So many terms has a sum of this definition. */
static inline double depth_of(const Definition *d) {
    double depth = 1;
    for (int a = d->parallel_count; a < d->axis_count; a++)
        depth *= (double)d->axes[a].extent;
    return depth;
}

/* Of sums of sums. */
static inline double depth_of_all(const Kernel *kernel) {
    double depth = 1;
    for (int i = 0; i < kernel->definition_count; i++)
        depth *= depth_of(&kernel->definitions[i]);
    return depth;
}

/* Parallel.run: any order is allowed. */
static inline void run_backwards(void *self, size_t count, void (*task)(void *context, size_t i), void *context) {
    (void)self;
    for (size_t i = count; i-- > 0;)
        task(context, i);
}

static inline void print_schedule(const Compiled *compiled) {
    Text text;
    text_init(&text);
    compiled_print_schedule(compiled, &text);
    print_error("%s\n", text.data);
    text_free(&text);
}

static inline bool schedule_says(const Compiled *compiled, const char *what) {
    Text text;
    text_init(&text);
    compiled_print_schedule(compiled, &text);
    bool found = strstr(text.data, what) != NULL;
    text_free(&text);
    return found;
}

#endif
