/* What the benchmarks of kernels share: their options, the machine they measure, and the best of many runs. Their times stand
 * beside limits that are measured in the same minute, so a busy machine shows in both. */
#ifndef WHET_BENCH_H
#define WHET_BENCH_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "run/run.h"
#include "schedule/schedule.h"

typedef struct BenchMachine {
    double seconds; /* to measure one thing for: -s */
    int threads;    /* -t; otherwise all */
    Threads *pool;
    Target target;
    whet_cpu cpu;
    whet_cpu_limits limits;
} BenchMachine;

/* 0: ready; otherwise what main should return, everything said. */
static inline int bench_begin(const char *name, int argc, char **argv, BenchMachine *out) {
    whet_error err = {0};
    *out = (BenchMachine){.seconds = .2};
    for (int option; (option = getopt(argc, argv, "s:t:")) != -1;) {
        if (option == 's')
            out->seconds = atof(optarg);
        else if (option == 't')
            out->threads = atoi(optarg);
        else
            return 2;
    }
    if (!target_host(~UINT64_C(0), &out->target))
        return fprintf(stderr, "%s: no code generator for this machine\n", name), 1;
    if (whet_cpu_query(&out->cpu, &err) || whet_cpu_measure(&out->limits, &err) || !(out->pool = threads_new(out->threads, &err)))
        return fprintf(stderr, "%s: %s\n", name, err.message), 1;
    out->threads = threads_parallel(out->pool) ? threads_parallel(out->pool)->threads : 1;
    return 0;
}

/* Seconds of the best of many runs, as many a time as `each` says; 0: it failed. `parallel`: NULL: on one thread. */
static inline double bench_best_run(const Compiled *compiled, void *const *data, const Parallel *parallel, int each,
                                    double seconds) {
    double best = 1e9;
    EvalOptions options = {.parallel = parallel};
    for (double start = clock_now(); clock_now() - start < seconds;) {
        double from = clock_now();
        for (int i = 0; i < each; i++)
            if (compiled_run(compiled, data, &options, NULL) != WHET_OK)
                return 0;
        double took = (clock_now() - from) / each;
        best = took < best ? took : best;
    }
    return best;
}

#endif
