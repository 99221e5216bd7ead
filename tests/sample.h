/* Random tests of kernels: a text, its arguments with types and dimensions m, n, p (or numbers, 2m, n+7), run by
 * machine code or the interpreter and by the evaluator; sentinels, any order of tasks. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stdio.h>

#include "buffers.h"

typedef struct Sample {
    const char *text, *args[6]; /* "x: f16 m n" */
    double bound;               /* of floats, times their size or that of the largest element */
} Sample;

static bool without_nan; /* inputs hold none */

typedef struct Drawn {
    const Sample *sample;
    int64_t extent[3]; /* m n p */
    uint64_t seed;
} Drawn;

static Kernel *bind(Arena *arena, const Drawn *d, whet_error *err) {
    Kernel *kernel = kernel_parse(arena, d->sample->text, strlen(d->sample->text), err);
    KernelArg args[6];
    KernelConst consts[] = {{.name = "m", .integer = d->extent[0]}, {.name = "n", .integer = d->extent[1]}};
    int64_t dims[6][6];
    char names[6][8], types[6][8];
    int count = 0;
    for (; count < 6 && d->sample->args[count]; count++) {
        const char *text = d->sample->args[count], *p = strchr(text, ' ') + 1;
        snprintf(names[count], sizeof names[count], "%.*s", (int)(strchr(text, ':') - text), text);
        snprintf(types[count], sizeof types[count], "%.*s", (int)strcspn(p, " "), p);
        args[count] = (KernelArg){names[count], dtype_parse(types[count], strlen(types[count])), 0, dims[count]};
        while ((p = strchr(p, ' ')) != NULL) {
            int64_t factor = 1;
            p++;
            if (*p >= '0' && *p <= '9')
                factor = strtol(p, (char **)(uintptr_t)&p, 10);
            int64_t extent = *p == 'm' ? d->extent[0] : *p == 'n' ? d->extent[1] : *p == 'p' ? d->extent[2] : 1;
            dims[count][args[count].rank++] = factor * extent + (p[0] && p[1] == '+' ? strtol(p + 2, NULL, 10) : 0);
        }
    }
    return kernel && kernel_bind(kernel, args, count, consts, 2, err) == WHET_OK ? kernel : NULL;
}

static void fill(const KernelTensor *tensor, void *data, const void *context) {
    (void)context;
    for (int64_t i = 0; i < tensor->count; i++) {
        int value = tensor->type == DT_BOOL ? next() % 5 != 0 : (int)(next() % 2001) - 1000;
        data_set(tensor->type, data, i, next() % 301 == 0 && !without_nan ? (double)NAN : value / 512.0, value);
    }
}

static void report(const Drawn *d, const Compiled *compiled, const char *target, const char *what) {
    print_error("%s\nm=%lld n=%lld p=%lld seed %llu on %s: %s\n", d->sample->text, (long long)d->extent[0],
                (long long)d->extent[1], (long long)d->extent[2], (unsigned long long)d->seed, target, what);
    if (compiled)
        print_schedule(compiled);
    fail();
}

static void compare(const Drawn *d, const Kernel *kernel, const Compiled *compiled, const Buffers *got, const Buffers *again,
                    const Buffers *wanted, const char *label) {
    if (!buffers_intact(kernel, got))
        report(d, compiled, label, "a sentinel was overwritten");
    for (int t = 0; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        double bound = dtype_kind(tensor->type) == KIND_FLOAT ? d->sample->bound * data_scale(tensor, wanted->data[t]) : 0;
        if (tensor->role == ROLE_OUTPUT && !data_close(tensor, got->data[t], wanted->data[t], bound))
            report(d, compiled, label, "a wrong result");
    }
    if (!buffers_equal(kernel, got, again))
        report(d, compiled, label, "other bits with threads");
}

static void check_on(const Drawn *d, const Target *target, const char *label) {
    Buffers got, again, wanted, *const all[] = {&got, &again, &wanted};
    Arena arena;
    whet_error err;
    const char *why = NULL;
    Compiled *compiled = NULL;
    ScheduleOptions options = {
        .seed = d->seed % 3 ? 0 : d->seed, .unroll = (int)(d->seed / 3 % 5), .kc = d->seed / 16 % 2 ? 0 : 64};
    arena_init(&arena, NULL);
    Kernel *kernel = bind(&arena, d, &err);
    if (!kernel || schedule_compile(kernel, target, &options, &compiled, &why, &err) != WHET_OK)
        report(d, NULL, label, err.message);
    for (int i = 0; i < 3; i++) {
        state_of_random = d->seed;
        buffers_new(kernel, fill, NULL, all[i]);
    }
    EvalOptions how = {.parallel = &(Parallel){.threads = 3, .run = run_backwards}};
    if (kernel_eval(kernel, wanted.data, NULL, &err) != WHET_OK || compiled_run(compiled, got.data, NULL, &err) != WHET_OK ||
        compiled_run(compiled, again.data, &how, &err) != WHET_OK)
        report(d, compiled, label, err.message);
    compare(d, kernel, compiled, &got, &again, &wanted, label);
    for (int i = 0; i < 3; i++)
        buffers_free(kernel, all[i]);
    compiled_free(compiled);
    arena_free(&arena);
}

static void sample_check(const Sample *samples, size_t count, const int64_t *extents, size_t extent_count, const Target *target,
                         const char *label, int rounds) {
    for (size_t i = 0; i < count; i++)
        for (int round = 0; round < rounds; round++) {
            Drawn d = {.sample = &samples[i]};
            state_of_random = (uint64_t)i * 1000 + (uint64_t)round + 1;
            next();
            for (int k = 0; k < 3; k++) {
                int64_t small = strchr(samples[i].args[0], 'p') ? 17 : 300;
                do
                    d.extent[k] = extents[next() % extent_count];
                while (d.extent[k] > small || (d.extent[k] == 0 && round % 8));
            }
            d.seed = state_of_random;
            check_on(&d, target, label);
        }
}

#endif
