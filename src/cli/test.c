/* whet test: recorded cases against what comes out now.
 *
 * Each case runs in a process of its own: one that crashes, or hangs past its limit, is a failure among others.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

enum { DEEPEST = 8 }; /* folders in folders */
enum { OPTION_METRIC = OPTION_OWN, OPTION_RTOL, OPTION_ATOL, OPTION_IN_PROCESS };

typedef struct Job {
    Common common;
    Rule rule;
    bool in_process, verbose;
    char **cases;
    int count;
    int totals[3]; /* by Outcome */
} Job;

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **list_folders(const char *path, int *count) {
    char **names = NULL;
    *count = 0;
    DIR *directory = opendir(path);
    if (!directory)
        return NULL;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.')
            continue;
        char *name = path_join(path, entry->d_name);
        if (!is_folder(name)) {
            free(name);
            continue;
        }
        names = need(realloc(names, sizeof *names * (size_t)(*count + 1)));
        names[(*count)++] = name;
    }
    closedir(directory);
    if (*count > 1)
        qsort(names, (size_t)*count, sizeof *names, compare_names);
    return names;
}

/* `folder` if it is a case, else the cases below it. */
static void find_cases(Job *job, const char *folder, int depth) {
    char *model = path_join(folder, "model.onnx");
    bool is_case = is_file(model);
    free(model);
    if (is_case) {
        job->cases = need(realloc(job->cases, sizeof *job->cases * (size_t)(job->count + 1)));
        job->cases[job->count++] = need(strdup(folder));
        return;
    }
    int count;
    char **folders = depth < DEEPEST ? list_folders(folder, &count) : (count = 0, NULL);
    for (int i = 0; i < count; i++) {
        find_cases(job, folders[i], depth + 1);
        free(folders[i]);
    }
    free(folders);
}

static const char *last_name(const char *folder) {
    const char *slash = strrchr(folder, '/');
    return slash && slash[1] ? slash + 1 : folder;
}

/* Cases of operators whose outputs are random: only shape and type can be right. Dropout with the ratio zero is exact. */
static bool is_random(const char *folder) {
    static const char *const starts[] = {"bernoulli", "training_dropout", "random"};
    const char *name = last_name(folder);
    if (strncmp(name, "test_", 5) == 0)
        name += 5;
    for (size_t i = 0; i < CLI_COUNT(starts); i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return !strstr(name, "zero_ratio");
    return false;
}

static void describe_end(int status, Verdict *verdict) {
    verdict->outcome = OUTCOME_FAILED;
    if (WIFSIGNALED(status))
        snprintf(verdict->reason, sizeof verdict->reason, "crashed: signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(verdict->reason, sizeof verdict->reason, "ended without a verdict, with status %d", WEXITSTATUS(status));
}

/* The child's verdict, or false when it ended or hung without one. */
static bool read_verdict(int pipe_end, double limit, Verdict *verdict, bool *hung) {
    size_t got = 0;
    *hung = false;
    while (got < sizeof *verdict) {
        struct pollfd wait = {.fd = pipe_end, .events = POLLIN};
        int ready = poll(&wait, 1, limit > 0 && limit < 1e6 ? (int)(1000 * limit) : -1);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            *hung = true;
        ssize_t part = ready > 0 ? read(pipe_end, (char *)verdict + got, sizeof *verdict - got) : 0;
        if (part < 0 && errno == EINTR)
            continue;
        if (part <= 0)
            return false;
        got += (size_t)part;
    }
    return true;
}

static void run_child(int pipe_end, const char *folder, const Rule *rule, const whet_options *options) {
    Verdict verdict;
    progress_forget();
    test_case(folder, rule, options, &verdict);
    const char *at = (const char *)&verdict;
    for (size_t left = sizeof verdict; left > 0;) {
        ssize_t part = write(pipe_end, at, left);
        if (part < 0 && errno != EINTR)
            break;
        if (part > 0) {
            at += part;
            left -= (size_t)part;
        }
    }
    _exit(0);
}

static void run_apart(const char *folder, const Rule *rule, const whet_options *options, Verdict *verdict) {
    int ends[2];
    if (pipe(ends) != 0) {
        test_case(folder, rule, options, verdict);
        return;
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run_child(ends[1], folder, rule, options);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        test_case(folder, rule, options, verdict);
        return;
    }
    bool hung;
    double limit = options->time_limit > 0 ? 10 * options->time_limit + 10 : 0;
    bool fine = read_verdict(ends[0], limit, verdict, &hung);
    close(ends[0]);
    if (hung)
        kill(child, SIGKILL);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (hung)
        *verdict = (Verdict){OUTCOME_FAILED, "hangs: had to be killed long after its time limit"};
    else if (!fine)
        describe_end(status, verdict);
}

static void run_one(Job *job, int index) {
    static const char *const words[] = {"pass", "FAIL", "SKIP"};
    const char *folder = job->cases[index];
    Rule rule = job->rule;
    rule.shape_only = is_random(folder);
    Verdict verdict = {0};
    progress_start("[%d/%d] %s", index + 1, job->count, last_name(folder));
    double start = seconds_now();
    if (job->in_process)
        test_case(folder, &rule, &job->common.options, &verdict);
    else
        run_apart(folder, &rule, &job->common.options, &verdict);
    double seconds = seconds_now() - start;
    if (verdict.outcome != OUTCOME_PASSED || job->verbose)
        progress_clear();
    job->totals[verdict.outcome]++;
    if (verdict.outcome != OUTCOME_PASSED)
        printf("%s %s: %s\n", words[verdict.outcome], last_name(folder), verdict.reason);
    else if (job->verbose)
        printf("%s %s: %.1f ms\n", words[verdict.outcome], last_name(folder), 1e3 * seconds);
}

static int run_job(Job *job) {
    for (int i = 0; i < job->count; i++)
        run_one(job, i);
    progress_stop();
    printf("%d passed, %d failed, %d skipped\n", job->totals[OUTCOME_PASSED], job->totals[OUTCOME_FAILED],
           job->totals[OUTCOME_SKIPPED]);
    return job->totals[OUTCOME_FAILED] == 0 ? STATUS_FINE : STATUS_FAILED;
}

static bool parse_metric(const char *word, Metric *metric) {
    static const char *const names[] = {[METRIC_ELEMENT] = "element", [METRIC_RANGE] = "range", [METRIC_L2] = "l2"};
    for (size_t i = 0; i < CLI_COUNT(names); i++) {
        if (strcmp(names[i], word) == 0) {
            *metric = (Metric)i;
            return true;
        }
    }
    return false;
}

static int add_folder(Job *job, const char *folder) {
    int before = job->count;
    if (!is_folder(folder))
        return complain("%s: %s", folder, is_file(folder) ? "is a file; folders are wanted" : "no such folder"), STATUS_FAILED;
    char *plain = need(strdup(folder)); /* without slashes at its end */
    for (size_t length = strlen(plain); length > 1 && plain[length - 1] == '/'; length--)
        plain[length - 1] = 0;
    find_cases(job, plain, 0);
    free(plain);
    if (job->count == before)
        return complain("%s: no model.onnx in it, nor in folders below it", folder), STATUS_FAILED;
    return STATUS_FINE;
}

static int parse(Job *job, Args *args) {
    const char *value;
    for (int id; (id = args_next(args, &value)) != ARGS_END;) {
        int status = STATUS_FINE;
        if (id == ARGS_OPERAND)
            status = add_folder(job, value);
        else if (id == OPTION_METRIC && !parse_metric(value, &job->rule.metric))
            status = usage_error(args, "--metric is element, range or l2, not '%s'", value);
        else if (id == OPTION_RTOL && !parse_number(value, &job->rule.rtol))
            status = usage_error(args, "--rtol wants a number from 0 on, not '%s'", value);
        else if (id == OPTION_ATOL && !parse_number(value, &job->rule.atol))
            status = usage_error(args, "--atol wants a number from 0 on, not '%s'", value);
        else if (id == OPTION_IN_PROCESS)
            job->in_process = true;
        else if (id == 'v')
            job->verbose = true;
        else if (id != OPTION_METRIC && id != OPTION_RTOL && id != OPTION_ATOL && !common_option(args, &job->common, id, value))
            status = STATUS_USAGE;
        if (status != STATUS_FINE)
            return status;
    }
    return job->count > 0 ? STATUS_FINE : usage_error(args, "which folders?");
}

static int test_main(Args *args) {
    Job job = {.rule = {.metric = METRIC_ELEMENT, .rtol = 1e-3, .atol = 1e-7}};
    int status = parse(&job, args);
    if (status == STATUS_FINE)
        status = run_job(&job);
    for (int i = 0; i < job.count; i++)
        free(job.cases[i]);
    free(job.cases);
    common_free(&job.common);
    return status;
}

static const Option options[] = {
    {OPTION_METRIC, "metric", "METRIC", "element (default), range or l2: see below"},
    {OPTION_RTOL, "rtol", "R", "relative tolerance; default 1e-3"},
    {OPTION_ATOL, "atol", "A", "absolute tolerance; default 1e-7"},
    {'v', "verbose", NULL, "print the cases that pass, too, and the time each took"},
    {OPTION_IN_PROCESS, "in-process", NULL, "run all cases in this process, for a debugger"},
    OPTION_ROW_THREADS,
    OPTION_ROW_TIME_LIMIT,
    OPTION_ROW_MEMORY_LIMIT,
    OPTION_ROW_TARGET,
    OPTION_ROW_EXACT,
    OPTION_ROW_PRECISION,
    OPTION_ROW_NO_FUSE,
    OPTION_ROW_END,
};

const Command command_test = {
    .name = "test",
    .operands = "DIR...",
    .summary = "run recorded cases and compare the outputs",
    .details =
        "A case is a folder with model.onnx and test_data_set_N/{input_K,output_K}.pb, as ONNX's backend tests have it;\n"
        "of a folder that is none, the cases below it run. With a what came out and b what was recorded, an output\n"
        "passes when its type and shape are the same and\n"
        "  element   |a - b| <= A + R |b|      for each element\n"
        "  range     |a - b| <= A + R max|b|   for each element\n"
        "  l2        |a - b|_2 <= R |b|_2      for the whole\n"
        "Cases called bernoulli*, training_dropout* and random* have random outputs: only type and shape are compared.\n"
        "What is not supported is skipped. The last line counts: N passed, N failed, N skipped. Exit status 1 if any failed.\n"
        "\n"
        "examples:\n"
        "  whet test onnx/backend/test/data/node\n"
        "  whet test --metric range --rtol 1e-3 --atol 1e-5 models/*\n",
    .options = options,
    .run = test_main,
};
