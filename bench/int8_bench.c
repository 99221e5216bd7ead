/* Products of bytes beside the machine's limits: int8 linear layers as they are quantized when they run (the input is quantized
 * by its own range, the product has float results with a scale a column and a bias), then square products into s32.
 *
 *     int8_bench [-s SECONDS]
 *
 * Each figure is the best of many runs on one thread; `quantize` and `product` take turns with the loops that measure the peak.
 * The share is of the peak of int8 products or, where the weights take longer to read than to multiply, of the bandwidth with
 * which as many bytes can be read here. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schedule/schedule.h"
#include "target/peak.h"

static const char quantize_text[] = "low[] = min(min(i, j) x[i, j], 0)\n"
                                    "high[] = max(max(i, j) x[i, j], 0)\n"
                                    "out s[] = select(high[] == low[], 1, (high[] - low[]) / 255)\n"
                                    "out z[] = u8(round(-low[] / s[]))\n"
                                    "y[i, j] = u8(round(x[i, j] / s[]) + f32(z[]))";
static const char linear_text[] = "c[m, n] = f32(sum(k) (s32(a[m, k]) - s32(z[])) * s32(b[k, n])) * (s[] * t[n]) + bias[n]";
static const char square_text[] = "c[m, n] = sum(k) s32(a[m, k]) * s32(b[k, n])";

static const int linear[][3] = {{1, 256, 6144}, {1, 192, 6144}, {1, 128, 6144},  {8, 1536, 64},    {4, 1000, 64},
                                {8, 768, 768},  {8, 768, 3072}, {32, 768, 3072}, {128, 768, 3072}, {128, 3072, 768}};
static const int square[][3] = {{256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024}, {2048, 2048, 2048}};

typedef struct Job {
    Arena arena;
    Compiled *compiled;
    void *data[KERNEL_MAX_TENSORS];
    Kernel *kernel;
} Job;

static void *filled(const KernelTensor *t) {
    size_t bytes = (size_t)t->count * (size_t)dtype_bits(t->type) / 8;
    unsigned char *p = aligned_alloc(64, bytes / 64 * 64 + 64);
    for (size_t i = 0; p && i < bytes; i++)
        p[i] = (unsigned char)(i * 7 + i / 13);
    for (int64_t i = 0; p && t->type == DT_F32 && i < t->count; i++)
        ((float *)p)[i] = (float)(i % 31 - 15) * .05f;
    return p;
}

/* The kernel of `text` with its tensors; weights `b` are known now. */
static bool job_new(Job *job, const Target *target, const char *text, const int *mkn, whet_error *err) {
    int64_t m = mkn[0], k = mkn[1], n = mkn[2];
    KernelArg args[] = {{"x", DT_F32, 2, (int64_t[]){m, k}},
                        {"a", DT_U8, 2, (int64_t[]){m, k}},
                        {"b", DT_S8, 2, (int64_t[]){k, n}},
                        {"z", DT_U8, 0, NULL}};
    KernelConst consts[] = {{.name = "m", .integer = m}, {.name = "n", .integer = n}};
    bool quantizes = text == quantize_text;
    const void *constant[KERNEL_MAX_TENSORS] = {0};
    const char *why = NULL;
    arena_init(&job->arena, NULL);
    job->kernel = kernel_parse(&job->arena, text, strlen(text), err);
    if (quantizes) /* z is its result */
        args[3].name = "";
    if (!job->kernel || kernel_bind(job->kernel, args, (int)COUNT(args), consts, quantizes ? 0 : 2, err) != WHET_OK)
        return false;
    for (int t = 0; t < job->kernel->tensor_count; t++) {
        job->data[t] = filled(&job->kernel->tensors[t]);
        if (!strcmp(job->kernel->tensors[t].name, "b"))
            constant[t] = job->data[t];
    }
    ScheduleOptions options = {.constant = constant};
    return schedule_compile(job->kernel, target, &options, &job->compiled, &why, err) == WHET_OK;
}

static void job_free(Job *job) {
    for (int t = 0; job->kernel && t < job->kernel->tensor_count; t++)
        free(job->data[t]);
    compiled_free(job->compiled);
    arena_free(&job->arena);
}

/* Seconds of one run, of many in a stretch of a millisecond; the least so far stays. */
static void job_time(Job *job, double *best) {
    whet_error err;
    compiled_run(job->compiled, job->data, NULL, &err);
    for (double begin = clock_now(); clock_now() - begin < 1e-3;) {
        double start = clock_now();
        compiled_run(job->compiled, job->data, NULL, &err);
        double took = clock_now() - start;
        *best = took < *best ? took : *best;
    }
}

static bool measure(const Target *target, const char *text, const int *mkn, Peak *peak, double seconds, whet_error *err) {
    Job quantize = {.compiled = NULL}, product = {.compiled = NULL};
    double times[2] = {1e9, 1e9}, ops = 2.0 * mkn[0] * mkn[1] * mkn[2], most = 0;
    size_t weights = (size_t)mkn[1] * (size_t)mkn[2];
    bool dynamic = text == linear_text;
    bool fine = job_new(&product, target, text, mkn, err) && (!dynamic || job_new(&quantize, target, quantize_text, mkn, err));
    for (double start = clock_now(); fine && clock_now() - start < seconds;) {
        double now = peak_run(peak);
        most = now > most ? now : most;
        if (dynamic)
            job_time(&quantize, &times[0]);
        job_time(&product, &times[1]);
    }
    if (fine) {
        double bandwidth = peak_read_bandwidth(target, weights > 1 << 16 ? weights : 1 << 16, 0.05);
        double by_peak = ops / most * 1e-9, by_memory = (double)weights / bandwidth * 1e-9;
        char name[40];
        snprintf(name, sizeof name, "%d x %d x %d", mkn[0], mkn[1], mkn[2]);
        printf("%-20s", name);
        if (dynamic)
            printf(" %9.1f %9.1f %9.1f", (times[0] + times[1]) * 1e6, times[0] * 1e6, times[1] * 1e6);
        else
            printf(" %9.1f %9s %9.1f", times[1] * 1e6, "-", times[1] * 1e6);
        printf(" %8.1f %5.1f%% of the %s\n", ops / times[1] * 1e-9, 100 * (by_peak > by_memory ? by_peak : by_memory) / times[1],
               by_peak > by_memory ? "peak" : "bandwidth");
        fflush(stdout);
    }
    job_free(&quantize);
    job_free(&product);
    return fine;
}

int main(int argc, char **argv) {
    double seconds = .2;
    for (int option; (option = getopt(argc, argv, "s:")) != -1;) {
        if (option != 's')
            return 2;
        seconds = atof(optarg);
    }
    Target target;
    whet_error err = {0};
    if (!target_host(~UINT64_C(0), &target))
        return fprintf(stderr, "int8: no code generator for this machine\n"), 1;
    Peak *peak = peak_new(&target, PEAK_INT8, &err);
    bool fine = peak != NULL;
    if (fine)
        printf("%.1f GOP/s of int8 at the most, one thread\n%-20s %9s %9s %9s %8s\n", peak_run(peak), "m x k x n", "us",
               "quantize", "product", "GOP/s");
    for (size_t i = 0; fine && i < COUNT(linear); i++)
        fine = measure(&target, linear_text, linear[i], peak, seconds, &err);
    for (size_t i = 0; fine && i < COUNT(square); i++)
        fine = measure(&target, square_text, square[i], peak, seconds, &err);
    if (!fine)
        fprintf(stderr, "int8: %s\n", err.message);
    peak_free(peak);
    return !fine;
}
