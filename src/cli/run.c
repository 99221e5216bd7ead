/* whet run: a model on given or random inputs; what came out, and how long it took. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { OPTION_PROFILE = OPTION_OWN };

typedef struct Job {
    Common common;
    const char *path, *folder; /* of the model; of -o */
    const char *profile;       /* file, or "-": a table; NULL: none */
    char **given;              /* of -i */
    int given_count;
    whet_model *model;
    whet_session *session;
    Inputs inputs;
} Job;

typedef struct Summary {
    double min, mean, max;
    int64_t nans;
} Summary;

static Summary summarize(const whet_tensor *tensor, int64_t count) {
    Summary summary = {INFINITY, 0, -INFINITY, 0};
    for (int64_t i = 0; i < count; i++) {
        double x = whet_tensor_get(tensor, i);
        if (isnan(x)) {
            summary.nans++;
            continue;
        }
        summary.min = x < summary.min ? x : summary.min;
        summary.max = x > summary.max ? x : summary.max;
        summary.mean += x;
    }
    summary.mean /= (double)(count - summary.nans);
    return summary;
}

static void print_strings(const whet_tensor *tensor, int64_t count) {
    const StringElement *texts = tensor->data;
    for (int64_t i = 0; i < count && i < 4; i++)
        printf("%s\"%.*s\"", i ? ", " : "  ", texts[i].length > 60 ? 60 : (int)texts[i].length, texts[i].data);
    printf("%s\n", count > 4 ? ", ..." : "");
}

static void print_output(const char *name, const whet_tensor *tensor) {
    int64_t count = whet_tensor_count(tensor);
    printf("output  %s  %s  ", name, whet_type_name(tensor->type));
    print_shape(stdout, tensor);
    if (tensor->type == WHET_STRING) {
        print_strings(tensor, count);
        return;
    }
    if (tensor->type == WHET_C64 || tensor->type == WHET_C128 || count == 0) {
        printf("%s\n", count == 0 ? "  empty" : "");
        return;
    }
    Summary summary = summarize(tensor, count);
    if (summary.nans < count)
        printf("  min %g  mean %g  max %g", summary.min, summary.mean, summary.max);
    if (summary.nans > 0)
        printf("  NaN %lld of %lld", (long long)summary.nans, (long long)count);
    putchar('\n');
}

/* NAME.npy in the folder of -o, whatever characters the name has. */
static bool save_output(const Job *job, const char *name, const whet_tensor *tensor) {
    size_t length = strlen(name);
    char *safe = need(malloc(length + 5));
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("._-", c);
        safe[i] = fine ? c : '_';
    }
    memcpy(safe + length, ".npy", 5);
    char *path = path_join(job->folder, safe);
    bool fine = npy_write(path, tensor);
    free(path);
    free(safe);
    return fine;
}

static bool show_outputs(const Job *job) {
    for (int i = 0; i < whet_model_output_count(job->model); i++) {
        whet_value_info info;
        whet_tensor tensor;
        whet_error error = {0};
        if (whet_model_output(job->model, i, &info) != WHET_OK ||
            whet_session_output(job->session, i, &tensor, &error) != WHET_OK)
            return complain("output %d: %s", i, error.message);
        print_output(info.name, &tensor);
        if (job->folder && !save_output(job, info.name, &tensor))
            return false;
    }
    return true;
}

static void show_inputs(const Job *job) {
    for (int i = 0; i < job->inputs.count; i++) {
        whet_value_info info;
        const whet_tensor *tensor = &job->inputs.values[i].tensor;
        whet_model_input(job->model, i, &info);
        printf("input   %s  %s  ", info.name, whet_type_name(tensor->type));
        print_shape(stdout, tensor);
        if (job->inputs.random[i])
            printf("  random, seed %llu", (unsigned long long)job->common.seed);
        putchar('\n');
    }
}

/* A run that packs no weights any more: the first one compiles, and meets memory that has never been touched. */
static bool profile_run(Job *job) {
    whet_error error = {0};
    for (double packed = -1; packed != profile_packed(job->model);) {
        packed = profile_packed(job->model);
        if (whet_session_run(job->session, &error) != WHET_OK)
            return complain("%s", error.message);
    }
    int threads = common_threads(&job->common);
    if (strcmp(job->profile, "-") != 0)
        return profile_write(job->profile, job->session, threads);
    putchar('\n');
    return profile_print(job->session, threads);
}

static int run_job(Job *job, const Args *args) {
    whet_error error = {0};
    const whet_options *options = &job->common.options;
    if (job->folder && !folder_make(job->folder)) /* now, not when the work is done */
        return STATUS_FAILED;
    double start = seconds_now();
    if (!load_model(job->path, options, &job->model))
        return STATUS_FAILED;
    double loaded = seconds_now();
    int status = inputs_make(&job->inputs, args, job->model, &job->common, job->given, job->given_count);
    if (status != STATUS_FINE)
        return status;
    progress_start("running %s", job->path);
    double before = seconds_now();
    if (whet_session_new(job->model, options, &job->session, &error) != WHET_OK)
        return complain("%s", error.message), STATUS_FAILED;
    if (!inputs_set(&job->inputs, job->model, job->session))
        return STATUS_FAILED;
    if (whet_session_run(job->session, &error) != WHET_OK)
        return complain("%s", error.message), STATUS_FAILED;
    double after = seconds_now();
    progress_stop();
    show_inputs(job);
    if (!show_outputs(job))
        return STATUS_FAILED;
    printf("time    load %.3f ms  run %.3f ms\n", 1e3 * (loaded - start), 1e3 * (after - before));
    return !job->profile || profile_run(job) ? STATUS_FINE : STATUS_FAILED;
}

static int parse(Job *job, Args *args) {
    const char *value;
    for (int id; (id = args_next(args, &value)) != ARGS_END;) {
        if (id == ARGS_OPERAND && job->path)
            return usage_error(args, "one model, please: '%s' is too much", value);
        if (id == ARGS_OPERAND)
            job->path = value;
        else if (id == 'i' && !strchr(value, '='))
            return usage_error(args, "-i wants NAME=FILE or NAME=random, not '%s'", value);
        else if (id == 'i')
            job->given[job->given_count++] = (char *)value;
        else if (id == 'o')
            job->folder = value;
        else if (id == OPTION_PROFILE)
            job->profile = value;
        else if (!common_option(args, &job->common, id, value))
            return STATUS_USAGE;
    }
    job->common.options.profile = job->profile != NULL;
    return job->path ? STATUS_FINE : usage_error(args, "which model?");
}

static int run_main(Args *args) {
    Job job = {.given = need(calloc((size_t)args->count + 1, sizeof *job.given))};
    int status = parse(&job, args);
    if (status == STATUS_FINE)
        status = run_job(&job, args);
    whet_session_free(job.session);
    inputs_free(&job.inputs);
    whet_model_free(job.model);
    free(job.given);
    common_free(&job.common);
    return status;
}

static const Option options[] = {
    {'i', "input", "NAME=WHAT", "input NAME from FILE.npy, FILE.npz or FILE.pb, or 'random'"},
    OPTION_ROW_DIM,
    {'o', "output", "DIR", "write each output as DIR/NAME.npy"},
    {OPTION_PROFILE, "profile", "FILE", "write what each kernel of a later run took as a trace (JSON); '-': print a table"},
    OPTION_ROW_THREADS,
    OPTION_ROW_SEED,
    OPTION_ROW_TIME_LIMIT,
    OPTION_ROW_MEMORY_LIMIT,
    OPTION_ROW_TARGET,
    OPTION_ROW_EXACT,
    OPTION_ROW_PRECISION,
    OPTION_ROW_PERF,
    OPTION_ROW_NO_FUSE,
    OPTION_ROW_END,
};

const Command command_run = {
    .name = "run",
    .operands = "MODEL",
    .summary = "run a model once: its outputs, and the time it took",
    .details = "Inputs that are not given are random: floats standard normal, integers small, and ones for names with 'mask'.\n"
               "Symbolic dimensions are what -d says, or what given inputs have, or 1. In file names for outputs, characters\n"
               "other than letters, digits, '.', '_' and '-' become '_'.\n"
               "\n"
               "examples:\n"
               "  whet run model.onnx\n"
               "  whet run model.onnx --profile trace.json    # open it in ui.perfetto.dev\n"
               "  whet run model.onnx -i image=cat.npy -o results\n"
               "  whet run bert.onnx -d batch=2 -d sequence=128 --seed 7 -t 4\n",
    .options = options,
    .run = run_main,
};
