/* Depthwise convolutions and pools through the notation, against what one core reads and computes.
 *
 *     window_bench [-s SECONDS] [-t THREADS]
 *
 * A row shows the time of one run on one thread and on all; the share of its limit, and which that is: the bytes of inputs and
 * outputs (each once) at the read bandwidth of the level of memory that holds them (`L2`, `L3` ...), or `ops`, a multiply-add (or
 * comparison) for each tap at the measured peak, whichever takes longer; the share of the other; and the time from a bound kernel
 * to callable code. Times are the best of many. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "whet.h"

typedef struct Row {
    const char *name, *text;
    int64_t x[4], y[4]; /* shapes */
} Row;

#define DEPTHWISE(s, k, p)                                                                                                       \
    "y[n, m, o0, o1] = max(sum(k0:" #k ", k1:" #k ") x[n, m, " #s "*o0 + k0 - " #p ", " #s "*o1 + k1 - " #p                      \
    "]? * w[m, 0, k0, k1] + b[m], 0)"
#define LAST(s, k, p)                                                                                                            \
    "y[n, o0, o1, m] = clip(sum(k0:" #k ", k1:" #k ") x[n, " #s "*o0 + k0 - " #p ", " #s "*o1 + k1 - " #p                        \
    ", m]? * v[k0, k1, m] + b[m], 0, 6)"
#define COUNT3(i)                                                                                                                \
    "count" #i "[o" #i "] = sum(k" #i ":3) select((o" #i " + k" #i " >= 1) & (o" #i " + k" #i " < 57), f32(1), f32(0))\n"

// clang-format off
static const Row rows[] = {
    {"depthwise 144 x 56x56 k3 s1", DEPTHWISE(1, 3, 1), {1, 144, 56, 56}, {1, 144, 56, 56}},
    {"depthwise 144 x 56x56 k3 s2", DEPTHWISE(2, 3, 1), {1, 144, 56, 56}, {1, 144, 28, 28}},
    {"depthwise 144 x 56x56 k5 s1", DEPTHWISE(1, 5, 2), {1, 144, 56, 56}, {1, 144, 56, 56}},
    {"depthwise 576 x 14x14 k3 s1", DEPTHWISE(1, 3, 1), {1, 576, 14, 14}, {1, 576, 14, 14}},
    {"depthwise 56x56 x 144 k3 s1, last", LAST(1, 3, 1), {1, 56, 56, 144}, {1, 56, 56, 144}},
    {"depthwise 112x112 x 96 k3 s2, last", LAST(2, 3, 1), {1, 112, 112, 96}, {1, 56, 56, 96}},
    {"depthwise 14x14 x 576 k3 s1, last", LAST(1, 3, 1), {1, 14, 14, 576}, {1, 14, 14, 576}},
    {"depthwise 28x28 x 128 k5 s1, last", LAST(1, 5, 2), {1, 28, 28, 128}, {1, 28, 28, 128}},
    {"depthwise 14x14 x 384 k7 s1, last", LAST(1, 7, 3), {1, 14, 14, 384}, {1, 14, 14, 384}},
    {"MaxPool 112x112 x 64 k3 s2, last", "y[n, o0, o1, c] = max(k0:3, k1:3) x[n, 2*o0 + k0 - 1, 2*o1 + k1 - 1, c]?(-inf)",
     {1, 112, 112, 64}, {1, 56, 56, 64}},
    {"AveragePool 56x56 x 144 k3 s1, last", COUNT3(0) COUNT3(1)
     "y[n, o0, o1, c] = (sum(k0:3, k1:3) x[n, o0 + k0 - 1, o1 + k1 - 1, c]?) / (count0[o0] * count1[o1])",
     {1, 56, 56, 144}, {1, 56, 56, 144}},
    {"GlobalAveragePool 7x7 x 1280, last", "y[n, 0, 0, c] = (sum(k2, k3) x[n, k2, k3, c]) / 49.0", {1, 7, 7, 1280}, {1, 1, 1, 1280}},
    {"MaxPool 64 x 112x112 k3 s2", "y[n, c, o0, o1] = max(k0:3, k1:3) x[n, c, 2*o0 + k0 - 1, 2*o1 + k1 - 1]?(-inf)",
     {1, 64, 112, 112}, {1, 64, 56, 56}},
    {"MaxPool 128 x 13x13 k13 s1", "y[n, c, o0, o1] = max(k0:13, k1:13) x[n, c, o0 + k0 - 6, o1 + k1 - 6]?(-inf)",
     {1, 128, 13, 13}, {1, 128, 13, 13}},
    {"AveragePool 144 x 56x56 k3 s1", COUNT3(0) COUNT3(1)
     "y[n, c, o0, o1] = (sum(k0:3, k1:3) x[n, c, o0 + k0 - 1, o1 + k1 - 1]?) / (count0[o0] * count1[o1])",
     {1, 144, 56, 56}, {1, 144, 56, 56}},
    {"GlobalAveragePool 1280 x 7x7", "y[n, c, 0, 0] = (sum(k2, k3) x[n, c, k2, k3]) / 49.0", {1, 1280, 7, 7}, {1, 1280, 1, 1}},
};
// clang-format on

static Kernel *bind(Arena *arena, const Row *row, whet_error *err) {
    int64_t channels = strstr(row->name, "last") ? row->x[3] : row->x[1], taps = strstr(row->name, "k7")   ? 7
                                                                                 : strstr(row->name, "k5") ? 5
                                                                                                           : 3;
    int first = strstr(row->name, "last") ? 1 : 2; /* of the spatial dimensions */
    KernelArg args[] = {{"x", DT_F32, 4, row->x},
                        {"y", DT_F32, 4, row->y},
                        {"w", DT_F32, 4, (int64_t[]){channels, 1, taps, taps}},
                        {"v", DT_F32, 3, (int64_t[]){taps, taps, channels}},
                        {"b", DT_F32, 1, &channels},
                        {"count0", DT_F32, 1, &row->y[first]},
                        {"count1", DT_F32, 1, &row->y[first + 1]}};
    Kernel *kernel = kernel_parse(arena, row->text, strlen(row->text), err);
    return kernel && kernel_bind(kernel, args, (int)COUNT(args), NULL, 0, err) == WHET_OK ? kernel : NULL;
}

static double best_make(const Row *row, const Target *target) {
    double best = 1e9;
    for (int i = 0; i < 20; i++) {
        Arena arena;
        whet_error err;
        Compiled *compiled = NULL;
        arena_init(&arena, NULL);
        Kernel *kernel = bind(&arena, row, &err);
        double start = clock_now();
        if (kernel)
            schedule_compile(kernel, target, NULL, &compiled, NULL, &err);
        double took = clock_now() - start;
        best = took < best ? took : best;
        compiled_free(compiled);
        arena_free(&arena);
    }
    return best;
}

/* False: out of memory. Bytes of inputs and outputs in *bytes. */
static bool fill(const Kernel *kernel, void **data, double *bytes) {
    *bytes = 0;
    for (int t = 0; t < kernel->tensor_count; t++) {
        size_t count = (size_t)kernel->tensors[t].count;
        float *p = aligned_alloc(64, (count * sizeof *p + 63) / 64 * 64 + 64);
        data[t] = p;
        if (!p)
            return false;
        for (size_t i = 0; i < count; i++)
            p[i] = (float)((int)(i * 7 % 23) - 11) * .1f;
        if (kernel->tensors[t].role != ROLE_TEMPORARY)
            *bytes += 4.0 * (double)count;
    }
    return true;
}

/* Seconds that one thread needs for a multiply-add, or a comparison, for each tap. */
static double least_operations(const Kernel *kernel, double peak) {
    const Definition *d = &kernel->definitions[kernel->definition_count - 1];
    double count = 1;
    for (int a = 0; a < d->axis_count; a++)
        count *= (double)d->axes[a].extent;
    return 2 * count / peak * 1e-9;
}

/* The level of memory that holds `bytes`. */
static int level_of(const whet_cpu *cpu, double bytes) {
    int level = 0;
    while (level < WHET_CACHE_LEVELS && (double)cpu->cache_bytes[level] < bytes)
        level++;
    return level;
}

static void print(const Row *row, const Compiled *compiled, double one, double all, int threads, double read, const char *level,
                  double ops) {
    double limit = ops > read ? ops : read, other = ops > read ? read : ops;
    printf("%-36s %-8s %8.1f %8.1f %6.1f%% of %-6s %5.1f%% %6.1f%% %7.0f\n", row->name, compiled->template, one * 1e6, all * 1e6,
           100 * limit / one, ops > read ? "ops" : level, 100 * other / one, 100 * limit / threads / all,
           1e6 * best_make(row, &compiled->target));
    fflush(stdout);
}

static bool measure(const Row *row, const Target *target, const Parallel *parallel, const whet_cpu *cpu,
                    const whet_cpu_limits *limits, double seconds) {
    static const char *const levels[] = {"L1", "L2", "L3", "memory"};
    Arena arena;
    whet_error err = {0};
    Compiled *compiled = NULL;
    const char *why = NULL;
    void *data[KERNEL_MAX_TENSORS] = {0};
    double bytes;
    arena_init(&arena, NULL);
    Kernel *kernel = bind(&arena, row, &err);
    bool fine = kernel && schedule_compile(kernel, target, NULL, &compiled, &why, &err) == WHET_OK && fill(kernel, data, &bytes);
    if (fine) {
        double one = bench_best_run(compiled, data, NULL, 1, seconds), all = bench_best_run(compiled, data, parallel, 1, seconds);
        int level = level_of(cpu, bytes);
        print(row, compiled, one, all, parallel ? parallel->threads : 1, bytes / limits->read_gbs[level] * 1e-9, levels[level],
              least_operations(kernel, limits->peak_f32));
    } else
        fprintf(stderr, "window_bench: %s: %s\n", row->name, err.message);
    for (int t = 0; t < KERNEL_MAX_TENSORS; t++)
        free(data[t]);
    compiled_free(compiled);
    arena_free(&arena);
    return fine;
}

int main(int argc, char **argv) {
    BenchMachine m;
    int status = bench_begin("window_bench", argc, argv, &m);
    if (status)
        return status;
    printf("one core reads %.1f GB/s from L2, %.1f from L3; peak: %.1f GFLOP/s\n%-36s %-8s %8s %8s %16s %8s %6s %9s\n",
           m.limits.read_gbs[1], m.limits.read_gbs[2], m.limits.peak_f32, "", "template", "us", "us, all", "of the limit",
           "other", "all", "make us");
    bool fine = true;
    for (size_t i = 0; i < COUNT(rows); i++)
        fine = measure(&rows[i], &m.target, threads_parallel(m.pool), &m.cpu, &m.limits, m.seconds) && fine;
    threads_free(m.pool);
    return !fine;
}
