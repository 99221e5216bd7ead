/* whet bench: how fast a model or a kernel runs, as a time and as a part of what this machine can do.
 *
 * The minimum is the figure to compare by: everything else on the machine only adds to it. The peak is measured after the
 * runs, so that it does not warm or slow them, and the peak memory is taken before that.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "cli.h"

enum { OPTION_SECONDS = OPTION_OWN, OPTION_PROFILE };
enum { LEAST_RUNS = 5, MOST_RUNS = 10000000 };

typedef struct Job {
    Common common;
    KernelArgs types;
    const char *subject;
    double seconds;
    whet_model *model;
    whet_session *session;
    Inputs inputs;
    whet_kernel *kernel;
    Array *values; /* of the kernel's arguments */
    void **data;
    int value_count;
} Job;

typedef struct Result {
    double load, first, second, min, median, p99; /* seconds */
    double flops;                                 /* of one run */
    double peak;                                  /* operations per second that the cores in use could do; NaN: not known */
    const char *peak_type;
    char peak_reason[WHET_MESSAGE_BYTES]; /* why it is not known */
    double bytes;                         /* peak memory */
    int threads, runs;
} Result;

/* The most memory that this process has had. Linux counts into ru_maxrss what the program that started us had, so its own
 * counter is read first. */
static double peak_memory(void) {
    double bytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    if (file) {
        char line[256];
        unsigned long long kilobytes;
        while (fgets(line, sizeof line, file))
            if (sscanf(line, "VmHWM: %llu kB", &kilobytes) == 1)
                bytes = 1024.0 * (double)kilobytes;
        fclose(file);
    }
    struct rusage usage;
    if (bytes > 0 || getrusage(RUSAGE_SELF, &usage) != 0)
        return bytes;
#ifdef __APPLE__
    return (double)usage.ru_maxrss;
#else
    return 1024.0 * (double)usage.ru_maxrss;
#endif
}

static int fill_kernel(Job *job) {
    job->value_count = whet_kernel_arg_count(job->kernel);
    job->values = need(calloc((size_t)job->value_count + 1, sizeof *job->values));
    job->data = need(calloc((size_t)job->value_count + 1, sizeof *job->data));
    for (int i = 0; i < job->value_count; i++) {
        whet_kernel_arg arg;
        if (whet_kernel_arg_info(job->kernel, i, &arg) != WHET_OK)
            return complain("tensor %d of the kernel is unknown", i), STATUS_FAILED;
        bool fine = arg.is_output ? array_new(&job->values[i], arg.name, arg.type, arg.rank, arg.dims)
                                  : array_random(&job->values[i], arg.name, arg.type, arg.rank, arg.dims, job->common.seed);
        if (!fine)
            return STATUS_FAILED;
        job->data[i] = job->values[i].tensor.data;
    }
    return STATUS_FINE;
}

static int open_model(Job *job) {
    whet_error error = {0};
    if (!load_model(job->subject, &job->common.options, &job->model))
        return STATUS_FAILED;
    if (whet_session_new(job->model, &job->common.options, &job->session, &error) != WHET_OK)
        return complain("%s", error.message), STATUS_FAILED;
    return STATUS_FINE;
}

static int fill_model(Job *job, const Args *args) {
    int status = inputs_make(&job->inputs, args, job->model, &job->common, NULL, 0);
    if (status == STATUS_FINE && !inputs_set(&job->inputs, job->model, job->session))
        status = STATUS_FAILED;
    return status;
}

static bool run_once(Job *job, double *seconds) {
    whet_error error = {0};
    double start = seconds_now();
    whet_status status = job->kernel ? whet_kernel_run(job->kernel, job->data, &error) : whet_session_run(job->session, &error);
    *seconds = seconds_now() - start;
    return status == WHET_OK || complain("%s", error.message);
}

/* Runs as long as runs pack weights; the slowest of them, and one at least. */
static bool run_packing(Job *job, double *slowest) {
    double before, packed = 0, seconds;
    *slowest = 0;
    do {
        before = packed;
        if (!run_once(job, &seconds))
            return false;
        *slowest = seconds > *slowest ? seconds : *slowest;
        packed = job->model ? profile_packed(job->model) : 0;
    } while (packed != before);
    return true;
}

static int compare_times(const void *a, const void *b) {
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

static bool run_many(Job *job, Result *result) {
    double *times = NULL, start = seconds_now();
    int count = 0, capacity = 0;
    while (count < LEAST_RUNS || (seconds_now() - start < job->seconds && count < MOST_RUNS)) {
        if (count == capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            times = need(realloc(times, sizeof *times * (size_t)capacity));
        }
        if (!run_once(job, &times[count])) {
            free(times);
            return false;
        }
        count++;
    }
    qsort(times, (size_t)count, sizeof *times, compare_times);
    result->min = times[0];
    result->median = count % 2 ? times[count / 2] : (times[count / 2 - 1] + times[count / 2]) / 2;
    result->p99 = times[(int)ceil(0.99 * count) - 1];
    result->runs = count;
    free(times);
    return true;
}

/* The peak that counts: of the type that the kernel multiplies, as far as its inputs tell; f32 for a model. */
static double pick_peak(const Job *job, const whet_cpu_limits *limits, const char **name) {
    *name = "f32";
    for (int i = 0; i < job->value_count; i++) {
        switch (job->values[i].tensor.type) {
        case WHET_F64: *name = "f64"; return limits->peak_f64;
        case WHET_U8:
        case WHET_S8:
            if (limits->peak_int8 > 0) {
                *name = "int8";
                return limits->peak_int8;
            }
            break;
        case WHET_BF16:
            if (limits->peak_bf16 > 0) {
                *name = "bf16";
                return limits->peak_bf16;
            }
            break;
        default: break;
        }
    }
    return limits->peak_f32;
}

static void measure_peak(const Job *job, Result *result) {
    whet_error error = {0};
    whet_cpu_limits limits = {0};
    result->peak = NAN;
    if (whet_cpu_measure(&limits, &error) != WHET_OK) {
        snprintf(result->peak_reason, sizeof result->peak_reason, "%s", error.message);
        return;
    }
    double peak = pick_peak(job, &limits, &result->peak_type);
    if (peak > 0)
        result->peak = 1e9 * peak * result->threads;
    else
        snprintf(result->peak_reason, sizeof result->peak_reason, "no peak could be measured");
}

static void print_json(const Result *result) {
    Json json = {stdout, true};
    json_open(&json, NULL, '{');
    json_number(&json, "load_ms", 1e3 * result->load);
    json_number(&json, "first_ms", 1e3 * result->first);
    json_number(&json, "second_ms", 1e3 * result->second);
    json_number(&json, "min_ms", 1e3 * result->min);
    json_number(&json, "median_ms", 1e3 * result->median);
    json_number(&json, "p99_ms", 1e3 * result->p99);
    json_number(&json, "gflops", 1e-9 * result->flops / result->min);
    json_number(&json, "peak_percent", 100 * result->flops / result->min / result->peak);
    json_number(&json, "peak_rss_bytes", result->bytes);
    json_number(&json, "runs", result->runs);
    json_number(&json, "threads", result->threads);
    json_close(&json, '}');
    putchar('\n');
}

static void print_time(const char *label, double seconds) {
    if (seconds < 1e-3)
        printf("%-8s %10.3f us\n", label, 1e6 * seconds);
    else
        printf("%-8s %10.3f ms\n", label, 1e3 * seconds);
}

static void print_text(const Result *result) {
    print_time("load", result->load);
    print_time("first", result->first);
    print_time("second", result->second);
    print_time("minimum", result->min);
    print_time("median", result->median);
    print_time("p99", result->p99);
    printf("speed    %10.2f GFLOP/s", 1e-9 * result->flops / result->min);
    if (isfinite(result->peak))
        printf("  %.1f%% of the measured %s peak of %d thread%s, %.1f GFLOP/s", 100 * result->flops / result->min / result->peak,
               result->peak_type, result->threads, result->threads == 1 ? "" : "s", 1e-9 * result->peak);
    else
        printf("  (part of the peak not known: %s)", result->peak_reason);
    printf("\nmemory   %10.1f MiB\nruns     %10d  on %d thread%s\n", result->bytes / 0x1p20, result->runs, result->threads,
           result->threads == 1 ? "" : "s");
}

static int bench(Job *job, const Args *args) {
    Result result = {.threads = common_threads(&job->common)};
    bool is_kernel = is_kernel_text(job->subject);
    if (job->common.options.schedule && !is_kernel)
        return usage_error(args, "--schedule is for kernels; '%s' is none", job->subject);
    if (job->common.options.profile && is_kernel)
        return usage_error(args, "--profile is for models; '%s' is a kernel", job->subject);
    double start = seconds_now();
    int status = is_kernel ? kernel_compile(args, job->subject, &job->common, &job->types, &job->kernel) : open_model(job);
    result.load = seconds_now() - start;
    if (status == STATUS_FINE)
        status = is_kernel ? fill_kernel(job) : fill_model(job, args);
    if (status != STATUS_FINE)
        return status;
    progress_start("running %s", job->subject);
    if (!run_once(job, &result.first) || !run_packing(job, &result.second) || !run_many(job, &result))
        return STATUS_FAILED;
    result.bytes = peak_memory();
    result.flops = is_kernel ? whet_kernel_flops(job->kernel) : whet_session_flops(job->session);
    progress_start("measuring the machine's peak");
    measure_peak(job, &result);
    progress_stop();
    if (job->common.json)
        print_json(&result);
    else
        print_text(&result);
    if (!job->common.options.profile)
        return STATUS_FINE;
    putchar('\n');
    profile_print_startup(job->model);
    putchar('\n');
    return profile_print(job->session, result.threads) ? STATUS_FINE : STATUS_FAILED;
}

static int parse(Job *job, Args *args) {
    const char *value;
    for (int id; (id = args_next(args, &value)) != ARGS_END;) {
        int status = STATUS_FINE;
        if (id == ARGS_OPERAND && job->subject)
            status = usage_error(args, "one model or kernel, please: '%s' is too much", value);
        else if (id == ARGS_OPERAND)
            job->subject = value;
        else if (id == 'a')
            status = kernel_args_add(&job->types, args, value);
        else if (id == OPTION_SECONDS && !parse_number(value, &job->seconds))
            status = usage_error(args, "--seconds wants a number from 0 on, not '%s'", value);
        else if (id == OPTION_PROFILE)
            job->common.options.profile = 1;
        else if (id != OPTION_SECONDS && !common_option(args, &job->common, id, value))
            status = STATUS_USAGE;
        if (status != STATUS_FINE)
            return status;
    }
    if (job->common.options.profile && job->common.json)
        return usage_error(args, "--profile prints a table; for a trace in JSON: whet run --profile FILE.json");
    return job->subject ? STATUS_FINE : usage_error(args, "which model or kernel?");
}

static int bench_main(Args *args) {
    Job job = {.seconds = 1.5};
    int status = parse(&job, args);
    if (status == STATUS_FINE)
        status = bench(&job, args);
    for (int i = 0; i < job.value_count; i++)
        array_free(&job.values[i]);
    free(job.values);
    free(job.data);
    whet_kernel_free(job.kernel);
    whet_session_free(job.session);
    inputs_free(&job.inputs);
    whet_model_free(job.model);
    kernel_args_free(&job.types);
    common_free(&job.common);
    return status;
}

static const Option options[] = {
    OPTION_ROW_DIM,
    OPTION_ROW_ARG,
    OPTION_ROW_THREADS,
    {OPTION_SECONDS, "seconds", "SECONDS", "how long to go on running; default 1.5, and at least 5 runs"},
    {OPTION_PROFILE, "profile", NULL, "of a model: what getting ready took, and the kernels of the last run, slowest first"},
    OPTION_ROW_SEED,
    OPTION_ROW_TIME_LIMIT,
    OPTION_ROW_MEMORY_LIMIT,
    OPTION_ROW_TARGET,
    OPTION_ROW_EXACT,
    OPTION_ROW_PRECISION,
    OPTION_ROW_PERF,
    OPTION_ROW_NO_FUSE,
    OPTION_ROW_SCHEDULE,
    OPTION_ROW_JSON,
    OPTION_ROW_END,
};

const Command command_bench = {
    .name = "bench",
    .operands = "MODEL|KERNEL",
    .summary = "measure how fast a model or kernel runs",
    .details = "Runs on random inputs, as 'whet run' makes them. Prints the time to load, of the first run, of\n"
               "the slowest of those after it that pack weights, and the minimum, median and 99th percentile of the runs after\n"
               "them, the speed of the fastest beside the machine's measured peak, and the memory of the process. JSON keys: "
               "load_ms first_ms\n"
               "second_ms min_ms median_ms p99_ms gflops peak_percent peak_rss_bytes runs threads; what is not known is null.\n"
               "An argument with '=' in it that is no file is a kernel.\n"
               "\n"
               "examples:\n"
               "  whet bench model.onnx -t 1\n"
               "  whet bench bert.onnx -d batch=1 -d sequence=128 --seconds 5 --json\n"
               "  whet bench model.onnx --profile\n"
               "  whet bench 'c[m, n] = sum(k) a[m, k] * b[k, n]' -d m=512 -d n=512 -d k=512\n"
               "  whet bench 'c[m, n] = sum(k) a[m, k] * b[k, n]' -d m=512 -d n=512 -d k=512 -t 1 --schedule 'mr=6 nv=4'\n",
    .options = options,
    .run = bench_main,
};
