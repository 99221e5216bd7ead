/* Row kernels through the notation, as bytes that must move (every input read once, every output written once) a second, beside
 * the bandwidth at which one core of this machine moves as much: where the output is as large as the input, by copying the one to
 * the other, which counts what it takes to write; elsewhere, by reading the level of memory where the data lies.
 *
 *     rows_bench [-s SECONDS] [-t THREADS]
 *
 * Beside it the time that the code that was made takes at the least: its operations, loops counted out, by the pipes of the core
 * that run them, its loads and stores by their ports (a table for Zen 4; other cores differ), at the rate this machine multiplies
 * at. `limit` is the longest of these (L1: its ports), and the share is of that.
 *
 * Each figure is the best of many runs, for one thread and for THREADS (all by default). A percentage of all threads is of so
 * many cores. `make` is the time from text to callable code. */
#define _DEFAULT_SOURCE
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "ports.h"

#define SOFTMAX                                                                                                                  \
    "top[i] = max(j) x[i, j]\ne[i, j] = exp(x[i, j] - top[i])\ntotal[i] = sum(j) e[i, j]\ny[i, j] = e[i, j] / total[i]"
#define LAYER_NORM(n)                                                                                                            \
    "mean[i] = (sum(j) x[i, j]) / " #n "\nd[i, j] = x[i, j] - mean[i]\nv[i] = (sum(j) d[i, j] * d[i, j]) / " #n "\n"             \
    "r[i] = 1 / sqrt(v[i] + 1e-5)\ny[i, j] = d[i, j] * r[i] * g[j] + b[j]"
#define RMS_NORM "y[i, j] = x[i, j] / sqrt((sum(k) x[i, k] * x[i, k]) / 768 + 1e-5) * g[j]"

static const struct Case {
    const char *name, *text;
    int rank, columns; /* columns: the axis that is reduced */
    int64_t dims[4];
} cases[] = {
    {"softmax 128", SOFTMAX, 2, 1, {512, 128}},
    {"softmax 1000", SOFTMAX, 2, 1, {64, 1000}},
    {"softmax 16", SOFTMAX, 2, 1, {4096, 16}},
    {"softmax 2", SOFTMAX, 2, 1, {6400, 2}},
    {"softmax over channels",
     "top[i, k] = max(j) x[i, j, k]\ne[i, j, k] = exp(x[i, j, k] - top[i, k])\ntotal[i, k] = sum(j) e[i, j, k]\n"
     "y[i, j, k] = e[i, j, k] / total[i, k]",
     3,
     1,
     {1, 21, 4096}},
    {"layer norm 768", LAYER_NORM(768), 2, 1, {80, 768}},
    {"layer norm 1024", LAYER_NORM(1024), 2, 1, {64, 1024}},
    {"layer norm 1024, L3", LAYER_NORM(1024), 2, 1, {1024, 1024}},
    {"rms norm 768", RMS_NORM, 2, 1, {80, 768}},
    {"mean over channels", "y[n, h] = (sum(c) x[n, c, h]) / 64", 3, 1, {2, 64, 784}},
    {"mean over pixels", "y[n, c] = (sum(h) x[n, c, h]) / 784", 3, 2, {2, 64, 784}},
    {"mean over rows, NHWC", "y[n, c] = (sum(h) x[n, h, c]) / 784", 3, 1, {2, 784, 64}},
    {"max 1000", "y[i] = max(j) x[i, j]", 2, 1, {100, 1000}},
    {"softmax 1000, L3", SOFTMAX, 2, 1, {1024, 1000}},
    {"softmax 1000, memory", SOFTMAX, 2, 1, {20000, 1000}},
    {"mean over pixels, memory", "y[n, c] = (sum(h) x[n, c, h]) / 784", 3, 2, {160, 160, 784}},
};

typedef struct Made {
    Arena arena;
    Kernel *kernel;
    Compiled *compiled;
} Made;

static bool make_text(const struct Case *x, const char *text, const Target *target, Made *made, whet_error *err) {
    KernelArg args[] = {{"x", DT_F32, x->rank, x->dims}};
    const char *why = NULL;
    arena_init(&made->arena, NULL);
    made->kernel = kernel_parse(&made->arena, text, strlen(text), err);
    return made->kernel && kernel_bind(made->kernel, args, 1, NULL, 0, err) == WHET_OK &&
           schedule_compile(made->kernel, target, NULL, &made->compiled, &why, err) == WHET_OK;
}

static bool make_kernel(const struct Case *x, const Target *target, Made *made, whet_error *err) {
    return make_text(x, x->text, target, made, err);
}

static void drop(Made *made) {
    compiled_free(made->compiled);
    arena_free(&made->arena);
}

static double time_make(const struct Case *x, const Target *target) {
    double best = 1e9;
    for (int i = 0; i < 20; i++) {
        Made made = {0};
        whet_error err;
        double start = clock_now();
        bool fine = make_kernel(x, target, &made, &err);
        double took = clock_now() - start;
        best = fine && took < best ? took : best;
        drop(&made);
    }
    return best;
}

/* The bandwidth of the level that holds `bytes`, half of it for something else. */
static double bandwidth_of(const whet_cpu *cpu, const whet_cpu_limits *limits, double bytes, const char **level) {
    static const char *const names[] = {"L1", "L2", "L3", "memory"};
    int l = 0;
    while (l < WHET_CACHE_LEVELS && (double)cpu->cache_bytes[l] < bytes)
        l++;
    *level = names[l];
    return limits->read_gbs[l];
}

/* ---- the arithmetic limit ---- */

/* Operations by kind in one round of the innermost loop whose end is known at run time alone, which goes over rows. Returns how
 * many of them a round takes. */
static double count_work(const VectorFunction *f, double *work) {
    enum { DEEPEST = 15 };
    double times[DEEPEST + 1] = {0}, rows = 0;
    int depth = 0;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        int each, port = port_of(op, &each);
        if (op->code == VECTOR_LOOP && op->limit >= 0) {
            memset(work, 0, PORTS * sizeof *work);
            times[++depth] = 1;
            rows = (double)op->step;
        } else if (op->code == VECTOR_LOOP) {
            times[depth + 1] = times[depth] * floor(op->number / (double)op->step);
            depth++;
        } else if (op->code == VECTOR_END)
            depth--;
        work[port] += times[depth] * each;
        if (op->code == VECTOR_REDUCE_ADD || op->code == VECTOR_REDUCE_MAX || op->code == VECTOR_REDUCE_MIN) {
            work[SHUFFLE] += 4 * times[depth];
            work[ADD] += 4 * times[depth];
        }
    }
    return rows;
}

/* Seconds that the arithmetic of `elements` takes at the least. The last function takes the most rows at once; where lanes are
 * rows it is the first. */
static double arithmetic(const Made *made, double elements, double columns, const whet_cpu_limits *limits, const char **what) {
    const Compiled *c = made->compiled;
    double work[PORTS] = {0}, first[PORTS] = {0}, rows = count_work(c->functions[c->function_count - 1], work);
    double wide = count_work(c->functions[0], first);
    const VectorFunction *f = c->functions[0];
    if (wide >= rows) {
        rows = wide;
        memcpy(work, first, sizeof work);
    }
    int lanes = f->bytes / 4;
    bool memory = false;
    double most = multiplications(work, &memory);
    *what = memory ? "L1" : "arithmetic";
    return elements / columns / rows * most * lanes * 2 / (limits->peak_f32 * 1e9);
}

/* ---- tensors ---- */

/* Floats by which tensors begin at different places of their pages: a load that agrees in its lowest 12 bits with a store shortly
 * before it waits for that. Pages are large, so that none meet in the second cache by chance. */
enum { APART = 8 * 16, PAGE = 1 << 21 };

static float *place(int64_t count, int t, float **block) {
    size_t bytes = ((size_t)(count + (int64_t)t * APART) * 4 / PAGE + 1) * PAGE;
    if (!(*block = aligned_alloc(PAGE, bytes)))
        return NULL;
#ifdef MADV_HUGEPAGE
    (void)madvise(*block, bytes, MADV_HUGEPAGE);
#endif
    float *p = *block + (ptrdiff_t)t * APART;
    for (int64_t i = 0; i < count; i++)
        p[i] = (float)(i * 7919 % 1009) * 0.004f - 2;
    return p;
}

/* Bytes a second at which x is copied to y, both of them counted; 0: y is smaller. */
static double copy_bandwidth(const struct Case *x, const Target *target, const Made *made, void *const *data, double seconds) {
    Made copy = {0};
    whet_error err;
    int from = kernel_find_tensor(made->kernel, "x"), to = kernel_find_tensor(made->kernel, "y");
    int64_t count = made->kernel->tensors[from].count;
    double result = 0;
    if (made->kernel->tensors[to].count == count &&
        make_text(x, x->rank == 2 ? "y[i, j] = x[i, j]" : "y[i, j, k] = x[i, j, k]", target, &copy, &err)) {
        void *moved[KERNEL_MAX_TENSORS] = {0};
        moved[kernel_find_tensor(copy.kernel, "x")] = data[from];
        moved[kernel_find_tensor(copy.kernel, "y")] = data[to];
        result = 8.0 * (double)count / bench_best_run(copy.compiled, moved, NULL, 1, seconds) * 1e-9;
    }
    drop(&copy);
    return result;
}

static void report(const struct Case *x, const Target *target, Threads *threads, int thread_count, const whet_cpu_limits *limits,
                   double seconds, const Made *made, void *const *data, double bytes) {
    whet_cpu cpu;
    whet_error err;
    const char *level = "", *what;
    double limit = whet_cpu_query(&cpu, &err) == WHET_OK ? bandwidth_of(&cpu, limits, bytes, &level) : 0, elements = 1;
    double copy = copy_bandwidth(x, target, made, data, seconds);
    limit = copy > 0 ? copy : limit;
    double one = bytes / bench_best_run(made->compiled, data, NULL, 1, seconds) * 1e-9,
           many = bytes / bench_best_run(made->compiled, data, threads_parallel(threads), 1, seconds) * 1e-9;
    for (int d = 0; d < x->rank; d++)
        elements *= (double)x->dims[d];
    double least = bytes / arithmetic(made, elements, (double)x->dims[x->columns], limits, &what) * 1e-9;
    what = least < limit ? what : level;
    limit = least < limit ? least : limit;
    printf("%-26s %8.0f %-6s %7.1f %7.1f %-10s %5.1f%% %9.1f %5.1f%% %8.1f\n", x->name, bytes / 1024, level, one, limit, what,
           100 * one / limit, many, 100 * many / limit / thread_count, 1e6 * time_make(x, target));
    fflush(stdout);
}

static bool measure(const struct Case *x, const Target *target, Threads *threads, int thread_count, const whet_cpu_limits *limits,
                    double seconds, whet_error *err) {
    Made made = {0};
    void *data[KERNEL_MAX_TENSORS] = {0};
    float *block[KERNEL_MAX_TENSORS] = {0};
    double bytes = 0;
    bool fine = make_kernel(x, target, &made, err);
    for (int t = 0; fine && t < made.kernel->tensor_count; t++) {
        const KernelTensor *tensor = &made.kernel->tensors[t];
        if (tensor->role == ROLE_TEMPORARY)
            continue;
        fine = (data[t] = place(tensor->count, t, &block[t])) != NULL;
        bytes += 4.0 * (double)tensor->count;
    }
    if (fine)
        report(x, target, threads, thread_count, limits, seconds, &made, data, bytes);
    for (int t = 0; t < KERNEL_MAX_TENSORS; t++)
        free(block[t]);
    drop(&made);
    return fine;
}

int main(int argc, char **argv) {
    BenchMachine m;
    whet_error err = {0};
    int status = bench_begin("rows_bench", argc, argv, &m);
    if (status)
        return status;
    bool fine = true;
    printf("%-26s %8s %-6s %7s %18s %6s %6s %2d %6s %8s\n", "", "KiB", "level", "GB/s", "limit", "", "GB/s x", m.threads, "",
           "make us");
    for (size_t i = 0; fine && i < COUNT(cases); i++)
        fine = measure(&cases[i], &m.target, m.pool, m.threads, &m.limits, m.seconds, &err);
    if (!fine)
        fprintf(stderr, "rows_bench: %s\n", err.message);
    threads_free(m.pool);
    return !fine;
}
