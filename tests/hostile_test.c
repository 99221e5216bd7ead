/* Malformed and malicious models, each in a process of its own: every one gets what the collection's manifest says, within 2 s
 * of processor time and 512 MiB. The collection is not part of the project; without it this test is skipped.
 *
 *     hostile_test [CASE...]      only these, with the messages they got
 *
 * `load`: refused when it is loaded; `run`: refused by the time it runs; `any`: an answer or an error; `ok`: works. Each means:
 * no crash, no hang, and an error always has a message.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "file.h"
#include "whet.h"

enum { SECONDS = 2, MEBIBYTES = 512, WALL_SECONDS = 30, MOST_INPUTS = 16, PATH_BYTES = 8192 };

typedef enum Stage { STAGE_RAN, STAGE_LOAD, STAGE_RUN, STAGE_SILENT } Stage; /* how far a child got, its exit status */

/* ---- the child ----------------------------------------------------------------------------------------------------------------
 */

static whet_status give_inputs(const char *folder, const whet_model *model, whet_session *session, whet_tensor_file **files,
                               whet_error *err) {
    for (int i = 0; i < MOST_INPUTS; i++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s/test_data_set_0/input_%d.pb", folder, i);
        whet_value_info info;
        if (access(path, R_OK) != 0)
            return WHET_OK;
        whet_status status = whet_tensor_file_load(path, &files[i], err);
        const char *name = status == WHET_OK ? whet_tensor_file_name(files[i]) : "";
        if (status == WHET_OK && !*name && whet_model_input(model, i, &info) == WHET_OK)
            name = info.name;
        if (status == WHET_OK)
            status = whet_session_set_input(session, name, whet_tensor_file_tensor(files[i]), err);
        if (status != WHET_OK)
            return status;
    }
    return WHET_OK;
}

static whet_status run_model(const char *folder, const whet_model *model, const whet_options *options, whet_error *err) {
    whet_session *session = NULL;
    whet_tensor_file *files[MOST_INPUTS] = {0};
    whet_status status = whet_session_new(model, options, &session, err);
    if (status == WHET_OK)
        status = give_inputs(folder, model, session, files, err);
    if (status == WHET_OK)
        status = whet_session_run(session, err);
    whet_session_free(session);
    for (int i = 0; i < MOST_INPUTS; i++)
        whet_tensor_file_free(files[i]);
    return status;
}

/* Loads and runs the case; its message goes to `out`. */
static Stage try_case(const char *folder, int out) {
    const whet_options options = {.threads = 1, .memory_limit = (size_t)256 << 20, .time_limit = 1};
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    whet_error err = {0};
    whet_model *model = NULL;
    Stage stage = whet_model_load(path, &options, &model, &err) == WHET_OK ? STAGE_RAN : STAGE_LOAD;
    if (stage == STAGE_RAN && run_model(folder, model, &options, &err) != WHET_OK)
        stage = STAGE_RUN;
    whet_model_free(model);
    if (stage != STAGE_RAN && (err.status == WHET_OK || !err.message[0]))
        return STAGE_SILENT;
    if (write(out, err.message, strlen(err.message)) < 0)
        perror("write");
    return stage;
}

/* ---- the parent ---------------------------------------------------------------------------------------------------------------
 */

typedef struct Outcome {
    int status; /* as wait gives it */
    double seconds;
    long mebibytes;
    char message[WHET_MESSAGE_BYTES];
} Outcome;

static bool observe(const char *folder, Outcome *out) {
    int ends[2];
    struct rusage usage;
    memset(out, 0, sizeof *out);
    if (pipe(ends) != 0)
        return false;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        alarm(WALL_SECONDS);
        exit(try_case(folder, ends[1]));
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got; (got = read(ends[0], out->message + length, sizeof out->message - 1 - length)) > 0;)
        length += (size_t)got;
    close(ends[0]);
    if (child < 0 || wait4(child, &out->status, 0, &usage) != child)
        return false;
    out->seconds =
        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    out->mebibytes = usage.ru_maxrss / 1024;
    return true;
}

/* NULL: as the manifest expects. */
static const char *judge(const char *expect, const Outcome *outcome) {
    static const char *const got[] = {"it ran", "refused at load", "refused at run", "an error without a message"};
    if (WIFSIGNALED(outcome->status))
        return WTERMSIG(outcome->status) == SIGALRM ? "it hangs" : "it crashed";
    int stage = WEXITSTATUS(outcome->status);
    if (stage >= STAGE_SILENT)
        return stage == STAGE_SILENT ? got[STAGE_SILENT] : "it crashed (sanitizer)";
    if (outcome->seconds > SECONDS)
        return "it took more than 2 s";
    if (outcome->mebibytes > MEBIBYTES)
        return "it took more than 512 MiB";
    bool fine = strcmp(expect, "any") == 0 || (strcmp(expect, "load") == 0 && stage == STAGE_LOAD) ||
                (strcmp(expect, "run") == 0 && stage != STAGE_RAN) || (strcmp(expect, "ok") == 0 && stage == STAGE_RAN);
    return fine ? NULL : got[stage];
}

static bool run_case(const char *root, const char *name, const char *expect, bool verbose) {
    char folder[PATH_BYTES / 2];
    Outcome outcome;
    snprintf(folder, sizeof folder, "%s/hostile/%s", root, name);
    const char *wrong = observe(folder, &outcome) ? judge(expect, &outcome) : "no process for it";
    if (wrong || verbose)
        printf("%s %s: wanted %s: %s (%.2f s, %ld MiB) %s\n", wrong ? "FAILED" : "ok", name, expect, wrong ? wrong : "so it was",
               outcome.seconds, outcome.mebibytes, outcome.message);
    return !wrong;
}

/* ---- the collection -----------------------------------------------------------------------------------------------------------
 */

static bool spawn(char *const arguments[]) {
    int status = -1;
    pid_t child = fork();
    if (child == 0) {
        execvp(arguments[0], arguments);
        _exit(127);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* The next value of "key": "value" from *at, which is moved behind it. */
static bool next_value(char **at, const char *key, char **value) {
    char *found = strstr(*at, key);
    char *colon = found ? strchr(found + strlen(key), ':') : NULL;
    char *open = colon ? strchr(colon, '"') : NULL;
    char *close = open ? strchr(open + 1, '"') : NULL;
    if (!close)
        return false;
    *close = '\0';
    *value = open + 1;
    *at = close + 1;
    return true;
}

static bool is_wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (strstr(name, argv[i]))
            return true;
    return argc < 2;
}

static void run_all(const char *root, int argc, char **argv, int *passed, int *failed) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/hostile/manifest.json", root);
    char *manifest = file_read(path, NULL), *at = manifest, *name, *expect;
    while (at && next_value(&at, "\"case\"", &name) && next_value(&at, "\"expect\"", &expect)) {
        if (!is_wanted(name, argc, argv))
            continue;
        if (run_case(root, name, expect, argc > 1))
            ++*passed;
        else
            ++*failed;
    }
    free(manifest);
    if (*passed + *failed == 0) {
        printf("no cases\n");
        *failed = 1;
    }
}

int main(int argc, char **argv) {
    const char *shared = getenv("WHET_SHARED");
    char archive[PATH_BYTES], root[] = "/tmp/whet_hostile_XXXXXX";
    int passed = 0, failed = 0;
    snprintf(archive, sizeof archive, "%s/hostile.tar.zst", shared ? shared : "../shared");
    if (access(archive, R_OK) != 0) {
        printf("%s is not here\n0 passed, 0 failed, 1 skipped\n", archive);
        return 0;
    }
    if (!mkdtemp(root) || !spawn((char *[]){"tar", "-xf", archive, "-C", root, NULL})) {
        printf("tar cannot unpack %s (is zstd installed?)\n0 passed, 0 failed, 1 skipped\n", archive);
        return 0;
    }
    run_all(root, argc, argv, &passed, &failed);
    spawn((char *[]){"rm", "-rf", root, NULL});
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
