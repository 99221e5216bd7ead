/* Attention as one kernel and as three (scores; softmax; weights times values), as GFLOP/s of the two products beside the
 * measured peak: as many queries as keys, with a causal mask (products of keys that are seen count), and one query of many keys,
 * as decoding has it.
 *
 *     attend_bench [-s SECONDS] [-t THREADS]
 *
 * 12 heads of 64, heads merged (apart for one query), a mask of the keys, as in BERT-base. Each figure is the best of many runs,
 * of one thread and of THREADS (all by default). */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum { HEADS = 12, SIZE = 64, PARTS = 4 };

#define SOFTMAX "top[b, h, i] = max(j) s[b, h, i, j]\ne[b, h, i, j] = exp(s[b, h, i, j] - top[b, h, i])\n"
#define MERGED  SOFTMAX "y[b, i, 64*h:12 + d:64] = (sum(j) e[b, h, i, j] * v[b, j, 64*h + d]) / (sum(j) e[b, h, i, j])"
#define SCORES  "s[b, h:12, i, j] = (sum(d:64) q[b, i, 64*h + d] * k[b, j, 64*h + d]) * 0.125 + mask[b, j]"

static const char *const plain[PARTS] = {
    SCORES "\n" MERGED,
    SCORES,
    ("top[b, h, i] = max(j) s[b, h, i, j]\ne[b, h, i, j] = exp(s[b, h, i, j] - top[b, h, i])\n"
     "p[b, h, i, j] = e[b, h, i, j] / (sum(k) e[b, h, i, k])"),
    "y[b, i, 64*h:12 + d:64] = sum(j) p[b, h, i, j] * v[b, j, 64*h + d]",
};
static const char *const causal[1] = {
    "s[b, h:12, i, j] = select(j <= i, (sum(d:64) q[b, i, 64*h + d] * k[b, j, 64*h + d]) * 0.125 + mask[b, j], -inf)\n" MERGED};
static const char *const decoding[1] = {("s[b, h, i, j] = (sum(d) q[b, h, i, d] * k[b, h, j, d]) * 0.125 + mask[b, j]\n" SOFTMAX
                                         "y[b, h, i, d] = (sum(j) e[b, h, i, j] * v[b, h, j, d]) / (sum(j) e[b, h, i, j])")};

typedef struct Case {
    const char *name;
    const char *const *texts;
    int count;
    bool apart; /* heads */
    int64_t queries, keys;
    double seen; /* of the products */
} Case;

#define PLAIN(n)                                                                                                                 \
    { "", plain, PARTS, false, n, n, 1 }
#define CAUSAL(n)                                                                                                                \
    { "causal", causal, 1, false, n, n, .5 }
#define ONE_QUERY(n)                                                                                                             \
    { "one query", decoding, 1, true, 1, n, 1 }

static const Case cases[] = {PLAIN(8),    PLAIN(32),   PLAIN(128),   PLAIN(384),     PLAIN(512),     PLAIN(1024),
                             PLAIN(4096), CAUSAL(512), CAUSAL(4096), ONE_QUERY(512), ONE_QUERY(4096)};

/* The best of many runs of one kernel, in seconds; 0: err. */
static double time_kernel(const char *text, const Case *x, const Target *target, const EvalOptions *options, double seconds,
                          whet_error *err) {
    const int64_t q[] = {1, x->queries, HEADS * SIZE}, k[] = {1, x->keys, HEADS * SIZE}, q_apart[] = {1, HEADS, x->queries, SIZE},
                  k_apart[] = {1, HEADS, x->keys, SIZE}, square[] = {1, HEADS, x->queries, x->keys}, line[] = {1, x->keys};
    const int rank = x->apart ? 4 : 3;
    const int64_t *query = x->apart ? q_apart : q, *key = x->apart ? k_apart : k;
    const KernelArg args[] = {{"q", DT_F32, rank, query}, {"k", DT_F32, rank, key}, {"v", DT_F32, rank, key},
                              {"mask", DT_F32, 2, line},  {"s", DT_F32, 4, square}, {"p", DT_F32, 4, square}};
    Arena arena;
    Compiled *compiled = NULL;
    void *data[KERNEL_MAX_TENSORS] = {0};
    double best = 0;
    arena_init(&arena, NULL);
    Kernel *kernel = kernel_parse(&arena, text, strlen(text), err);
    bool fine = kernel && kernel_bind(kernel, args, COUNT(args), NULL, 0, err) == WHET_OK &&
                schedule_compile(kernel, target, NULL, &compiled, NULL, err) == WHET_OK;
    for (int t = 0; fine && t < kernel->tensor_count; t++) {
        size_t count = (size_t)kernel->tensors[t].count;
        float *p = kernel->tensors[t].role == ROLE_TEMPORARY ? NULL : aligned_alloc(64, (count * 4 + 127) / 64 * 64);
        for (size_t i = 0; p && i < count; i++)
            p[i] = (float)(i * 7919 % 1009) * 0.002f - 1;
        data[t] = p;
    }
    double start = clock_now();
    for (int run = 0; fine && (run < 3 || clock_now() - start < seconds); run++) {
        double before = clock_now();
        fine = compiled_run(compiled, data, options, err) == WHET_OK;
        double took = clock_now() - before;
        best = run == 0 || took < best ? took : best;
    }
    for (int t = 0; t < KERNEL_MAX_TENSORS; t++)
        free(data[t]);
    compiled_free(compiled);
    arena_free(&arena);
    return fine ? best : 0;
}

static bool measure(const Case *x, const Target *target, const EvalOptions *options, int threads, double peak, double seconds,
                    whet_error *err) {
    double time[PARTS] = {0}, flops = 4.0 * HEADS * SIZE * (double)x->queries * (double)x->keys * x->seen;
    for (int i = 0; i < x->count; i++)
        if ((time[i] = time_kernel(x->texts[i], x, target, options, seconds, err)) == 0)
            return false;
    printf("%7lld %7lld %7d %10.1f us %7.1f GFLOP/s %5.1f%%", (long long)x->queries, (long long)x->keys, threads, 1e6 * time[0],
           flops / time[0] * 1e-9, 100 * flops / time[0] * 1e-9 / peak / threads);
    if (x->count == PARTS)
        printf(" %10.1f us in three", 1e6 * (time[1] + time[2] + time[3]));
    printf(x->name[0] ? "  %s\n" : "%s\n", x->name);
    fflush(stdout);
    return true;
}

int main(int argc, char **argv) {
    BenchMachine m;
    whet_error err = {0};
    int status = bench_begin("attend_bench", argc, argv, &m);
    if (status)
        return status;
    bool fine = true;
    printf("%7s %7s %7s\n", "queries", "keys", "threads");
    for (size_t i = 0; fine && i < COUNT(cases); i++) {
        EvalOptions all = {.parallel = threads_parallel(m.pool)};
        fine = measure(&cases[i], &m.target, NULL, 1, m.limits.peak_f32, m.seconds, &err) &&
               (m.threads == 1 || measure(&cases[i], &m.target, &all, m.threads, m.limits.peak_f32, m.seconds, &err));
    }
    if (!fine)
        fprintf(stderr, "attend_bench: %s\n", err.message);
    threads_free(m.pool);
    return !fine;
}
