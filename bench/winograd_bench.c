/* f32 convolutions of stride 1, channels last, as they are written and by Winograd's algorithm.
 *
 *     winograd_bench [-s SECONDS] [-t THREADS]
 *
 * A row shows milliseconds of one run on one thread by sums as they are written, F(2, r) and F(4, r), each with its share of what
 * the direct sum takes at the measured peak (more than 100 % is what Winograd is for); the choice that is made by itself, and its
 * time on all threads; the largest error of F(2) and F(4), relative to the sum of the magnitudes of the products; and the time
 * to make code and to pack the weights. Weights are as warm as the caches keep them. Times are the best of many. */
#define _GNU_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "whet.h"

typedef struct Row {
    int64_t batch, size, channels, outputs, taps;
} Row;

static const Row rows[] = {
    {1, 56, 64, 64, 3}, {1, 28, 128, 128, 3}, {1, 14, 256, 256, 3}, {1, 7, 512, 512, 3}, {4, 32, 32, 32, 5}, {1, 28, 64, 64, 5},
};

static Kernel *bind(Arena *arena, const Row *row, whet_error *err) {
    char text[300];
    int64_t image[] = {row->batch, row->size, row->size, row->channels},
            result[] = {row->batch, row->size, row->size, row->outputs};
    KernelArg args[] = {{"x", DT_F32, 4, image},
                        {"y", DT_F32, 4, result},
                        {"f", DT_F32, 4, (int64_t[]){row->outputs, row->channels, row->taps, row->taps}},
                        {"b", DT_F32, 1, &row->outputs}};
    int length = snprintf(text, sizeof text,
                          "y[n, h, w, o] = max(sum(i, j, c) x[n, h + i - %lld, w + j - %lld, c]? * f[o, c, i, j] + b[o], 0)",
                          (long long)row->taps / 2, (long long)row->taps / 2);
    char *copy = arena_string(arena, text, (size_t)length);
    Kernel *kernel = copy ? kernel_parse(arena, copy, (size_t)length, err) : NULL;
    return kernel && kernel_bind(kernel, args, (int)COUNT(args), NULL, 0, err) == WHET_OK ? kernel : NULL;
}

static bool fill(const Kernel *kernel, void **data) {
    uint64_t state = 1;
    for (int t = 0; t < kernel->tensor_count; t++) {
        size_t count = (size_t)kernel->tensors[t].count;
        float *p = aligned_alloc(64, (count * sizeof *p + 63) / 64 * 64 + 64);
        data[t] = p;
        if (!p)
            return false;
        for (size_t i = 0; i < count; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            p[i] = (float)(state >> 40) / (1 << 23) - 1;
        }
    }
    return true;
}

/* Of some outputs, against sums in f64. */
static double error_of(const Row *row, void *const *data, const Kernel *kernel) {
    const float *x = data[kernel_find_tensor(kernel, "x")], *y = data[kernel_find_tensor(kernel, "y")];
    const float *f = data[kernel_find_tensor(kernel, "f")], *b = data[kernel_find_tensor(kernel, "b")];
    int64_t size = row->size, half = row->taps / 2;
    double worst = 0;
    for (int64_t s = 0; s < 2000; s++) {
        int64_t o = s * 7 % row->outputs, h = s * 13 % size, w = s * 29 % size;
        double sum = 0, magnitude = 0;
        for (int64_t i = 0; i < row->taps; i++)
            for (int64_t j = 0; j < row->taps; j++)
                for (int64_t c = 0; c < row->channels; c++) {
                    int64_t r = h + i - half, q = w + j - half;
                    if (r < 0 || q < 0 || r >= size || q >= size)
                        continue;
                    double product = (double)x[(r * size + q) * row->channels + c] *
                                     (double)f[((o * row->channels + c) * row->taps + i) * row->taps + j];
                    sum += product;
                    magnitude += fabs(product);
                }
        sum = fmax(sum + (double)b[o], 0);
        worst = fmax(worst, fabs((double)y[(h * size + w) * row->outputs + o] - sum) / magnitude);
    }
    return worst;
}

typedef struct Seen {
    const char *template;
    double one, all, error, made, packed;
} Seen;

static Seen see(const Row *row, const Kernel *kernel, const Target *target, int winograd, void *const *data,
                const Parallel *parallel, double seconds) {
    whet_error err;
    Compiled *compiled = NULL;
    Seen seen = {.made = 1e9};
    const void *constant[KERNEL_MAX_TENSORS] = {NULL};
    int f = kernel_find_tensor(kernel, "f");
    constant[f] = data[f];
    ScheduleOptions options = {.constant = constant, .winograd = winograd, .pack_later = true};
    for (int i = 0; i < 5; i++) {
        double start = clock_now();
        if (schedule_compile(kernel, target, &options, &compiled, NULL, &err) != WHET_OK)
            return (Seen){.template = "none"};
        seen.made = fmin(seen.made, clock_now() - start);
        compiled_free(compiled);
    }
    options.pack_later = false;
    double start = clock_now();
    if (schedule_compile(kernel, target, &options, &compiled, NULL, &err) != WHET_OK)
        return (Seen){.template = "none"};
    seen.packed = clock_now() - start - seen.made;
    seen.template = compiled->template;
    seen.one = bench_best_run(compiled, data, NULL, 1, seconds);
    seen.all = winograd ? 0 : bench_best_run(compiled, data, parallel, 1, seconds);
    seen.error = error_of(row, data, kernel);
    compiled_free(compiled);
    return seen;
}

static void print(const Seen *seen, bool right, double limit) {
    if (right)
        printf(" %8.3f %5.0f%%", seen->one * 1e3, 100 * limit / seen->one);
    else
        printf(" %8s %6s", "-", "");
}

static bool measure(const Row *row, const Target *target, const Parallel *parallel, double peak, double seconds) {
    Arena arena;
    whet_error err = {0};
    void *data[KERNEL_MAX_TENSORS] = {0};
    arena_init(&arena, NULL);
    Kernel *kernel = bind(&arena, row, &err);
    bool fine = kernel && fill(kernel, data);
    if (fine) {
        double macs =
            (double)(row->batch * row->size * row->size * row->taps * row->taps) * (double)(row->channels * row->outputs);
        double limit = 2 * macs / peak * 1e-9;
        Seen direct = see(row, kernel, target, -1, data, parallel, seconds),
             two = see(row, kernel, target, 2, data, parallel, seconds);
        Seen four = see(row, kernel, target, 4, data, parallel, seconds),
             own = see(row, kernel, target, 0, data, parallel, seconds);
        printf("%lld x %3lldx%-3lld %3lld -> %3lld k%lld", (long long)row->batch, (long long)row->size, (long long)row->size,
               (long long)row->channels, (long long)row->outputs, (long long)row->taps);
        print(&direct, direct.one > 0, limit);
        print(&two, !strcmp(two.template, "winograd"), limit);
        print(&four, !strcmp(four.template, "winograd"), limit);
        printf("  %-8s %7.3f %7.3f  %.1e %.1e %.1e %7.0f %7.2f\n", own.template, own.one * 1e3, own.all * 1e3, direct.error,
               two.error, four.error, own.made * 1e6, own.packed * 1e3);
        fflush(stdout);
    } else
        fprintf(stderr, "winograd_bench: %s\n", err.message);
    for (int t = 0; t < KERNEL_MAX_TENSORS; t++)
        free(data[t]);
    arena_free(&arena);
    return fine;
}

int main(int argc, char **argv) {
    BenchMachine m;
    int status = bench_begin("winograd_bench", argc, argv, &m);
    if (status)
        return status;
    printf("peak: %.1f GFLOP/s\n%-24s %16s %16s %16s  %-8s %7s %7s  %-23s %7s %7s\n", m.limits.peak_f32, "", "direct ms",
           "F(2) ms", "F(4) ms", "chosen", "ms", "all", "errors: direct F(2) F(4)", "make us", "pack ms");
    bool fine = true;
    for (size_t i = 0; i < COUNT(rows); i++)
        fine = measure(&rows[i], &m.target, threads_parallel(m.pool), m.limits.peak_f32, m.seconds) && fine;
    threads_free(m.pool);
    return !fine;
}
