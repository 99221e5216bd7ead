/* One recorded case, as ONNX's backend tests lay them out:
 *
 *     FOLDER/model.onnx
 *     FOLDER/test_data_set_N/input_K.pb, output_K.pb
 *
 * A tensor in a .pb belongs to the input or output whose name it carries; one without a known name to the K-th. The case
 * passes when every output of every data set is within the rule. What Whet does not support is skipped, with the reason.
 */
#include <dirent.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

typedef struct Case {
    const char *folder;
    const Rule *rule;
    whet_model *model;
    whet_session *session;
    Verdict *verdict;
} Case;

typedef struct Files {
    whet_tensor_file **items;
    int count;
} Files;

/* Sets the verdict, once; returns false. */
static bool end(Case *test, Outcome outcome, const char *format, ...) CLI_PRINTF(3, 4);
static bool end(Case *test, Outcome outcome, const char *format, ...) {
    if (test->verdict->outcome != OUTCOME_PASSED)
        return false;
    va_list args;
    va_start(args, format);
    vsnprintf(test->verdict->reason, sizeof test->verdict->reason, format, args);
    va_end(args);
    test->verdict->outcome = outcome;
    return false;
}

/* The case's name stands before the reason already, so its folder is left out of the message. */
static bool end_error(Case *test, whet_status status, const whet_error *error) {
    const char *message = error->message;
    size_t length = strlen(test->folder);
    if (strncmp(message, test->folder, length) == 0 && message[length] == '/')
        message += length + 1;
    return end(test, status == WHET_ERROR_UNSUPPORTED ? OUTCOME_SKIPPED : OUTCOME_FAILED, "%s", message);
}

static bool read_varint(const uint8_t **at, const uint8_t *limit, uint64_t *out) {
    *out = 0;
    for (int shift = 0; *at < limit && shift < 64; shift += 7) {
        uint8_t byte = *(*at)++;
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* Sequences, optionals and maps are recorded as messages of their own, which begin with their name as field 1 (a tensor has
 * its dimensions there, one by one) and have no name or data as a tensor has them (fields 8 and 9). */
static bool holds_no_tensor(const uint8_t *at, const uint8_t *limit) {
    bool name_first = at < limit && *at == 0x0a;
    while (at < limit) {
        uint64_t tag, value;
        if (!read_varint(&at, limit, &tag) || (tag & 7) == 3 || (tag & 7) == 4)
            return false;
        if (tag >> 3 == 8 || tag >> 3 == 9)
            return false;
        size_t skip = (tag & 7) == 1 ? 8 : (tag & 7) == 5 ? 4 : 0;
        if ((tag & 7) == 0 || (tag & 7) == 2) {
            if (!read_varint(&at, limit, &value))
                return false;
            skip = (tag & 7) == 2 ? value : 0;
        }
        if (skip > (size_t)(limit - at))
            return false;
        at += skip;
    }
    return name_first;
}

/* Why the file that could not be loaded as a tensor is no failure of ours; NULL: it is. */
static const char *excuse(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    size_t capacity = 1 << 20;
    uint8_t *data = need(malloc(capacity));
    size_t size = fread(data, 1, capacity, file);
    fclose(file);
    const char *reason = NULL;
    if (size == 0)
        reason = "is empty";
    else if (size < capacity && holds_no_tensor(data, data + size))
        reason = "holds a sequence, an optional or a map, not a tensor";
    free(data);
    return reason;
}

static bool load_file(Case *test, const char *path, Files *files) {
    whet_error error = {0};
    whet_tensor_file *file;
    whet_status status = whet_tensor_file_load(path, &file, &error);
    if (status != WHET_OK) {
        const char *reason = excuse(path);
        return reason ? end(test, OUTCOME_SKIPPED, "%s %s", path + strlen(test->folder) + 1, reason)
                      : end_error(test, status, &error);
    }
    files->items = need(realloc(files->items, sizeof(whet_tensor_file *) * (size_t)(files->count + 1)));
    files->items[files->count++] = file;
    return true;
}

/* input_0.pb, input_1.pb, ... of `folder`, up to the first that is missing. */
static bool load_files(Case *test, const char *folder, const char *kind, Files *files) {
    for (int k = 0;; k++) {
        char name[32];
        snprintf(name, sizeof name, "%s_%d.pb", kind, k);
        char *path = path_join(folder, name);
        bool there = is_file(path);
        bool fine = !there || load_file(test, path, files);
        free(path);
        if (!there || !fine)
            return fine;
    }
}

static void free_files(Files *files) {
    for (int k = 0; k < files->count; k++)
        whet_tensor_file_free(files->items[k]);
    free(files->items);
}

typedef whet_status InfoFunction(const whet_model *model, int index, whet_value_info *out);

/* Which of `count` values is meant by the K-th file? -1: none. */
static int find_value(const whet_model *model, InfoFunction *info_of, int count, const char *name, int k) {
    whet_value_info info;
    for (int i = 0; *name && i < count; i++)
        if (info_of(model, i, &info) == WHET_OK && strcmp(info.name, name) == 0)
            return i;
    return k < count ? k : -1;
}

static bool set_inputs(Case *test, const Files *inputs) {
    for (int k = 0; k < inputs->count; k++) {
        const char *name = whet_tensor_file_name(inputs->items[k]);
        int index = find_value(test->model, whet_model_input, whet_model_input_count(test->model), name, k);
        whet_value_info info = {.name = name}; /* else one that an initializer stands for */
        if (index >= 0)
            whet_model_input(test->model, index, &info);
        whet_error error = {0};
        whet_status status = whet_session_set_input(test->session, info.name, whet_tensor_file_tensor(inputs->items[k]), &error);
        if (status != WHET_OK)
            return end_error(test, status, &error);
    }
    return true;
}

static bool check_outputs(Case *test, const char *set, const Files *outputs) {
    char all[sizeof test->verdict->reason] = "";
    for (int k = 0; k < outputs->count; k++) {
        const char *name = whet_tensor_file_name(outputs->items[k]);
        int index = find_value(test->model, whet_model_output, whet_model_output_count(test->model), name, k);
        if (index < 0)
            return end(test, OUTCOME_FAILED, "%s: output_%d.pb: the model has no such output", set, k);
        whet_value_info info;
        whet_tensor got;
        whet_error error = {0};
        whet_model_output(test->model, index, &info);
        if (whet_session_output(test->session, index, &got, &error) != WHET_OK)
            return end(test, OUTCOME_FAILED, "%s: output '%s': %s", set, info.name, error.message);
        char reason[512];
        if (compare_tensors(&got, whet_tensor_file_tensor(outputs->items[k]), test->rule, reason, sizeof reason))
            continue;
        size_t used = strlen(all);
        snprintf(all + used, sizeof all - used, "%soutput '%s': %s", used ? "; " : "", info.name, reason);
    }
    return !*all || end(test, OUTCOME_FAILED, "%s: %s", set, all);
}

static bool run_set(Case *test, const char *folder, const char *set) {
    Files inputs = {0}, outputs = {0};
    whet_error error = {0};
    char *path = path_join(folder, set);
    bool fine = load_files(test, path, "input", &inputs) && load_files(test, path, "output", &outputs);
    if (fine && outputs.count == 0)
        fine = end(test, OUTCOME_SKIPPED, "%s: has no output_0.pb", set);
    fine = fine && set_inputs(test, &inputs);
    if (fine) {
        whet_status status = whet_session_run(test->session, &error);
        fine = status == WHET_OK || end_error(test, status, &error);
    }
    fine = fine && check_outputs(test, set, &outputs);
    free(path);
    free_files(&outputs);
    free_files(&inputs);
    return fine;
}

static int compare_sets(const void *a, const void *b) {
    int first = *(const int *)a, second = *(const int *)b;
    return (first > second) - (first < second);
}

/* The numbers of the data sets in `folder`, in order: later ones may go on from earlier ones. */
static int list_sets(const char *folder, int **out) {
    static const char prefix[] = "test_data_set_";
    int count = 0;
    *out = NULL;
    DIR *directory = opendir(folder);
    if (!directory)
        return 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        int64_t number;
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) != 0 ||
            !parse_count(entry->d_name + sizeof prefix - 1, 0, &number) || number > 1000000)
            continue;
        *out = need(realloc(*out, sizeof **out * (size_t)(count + 1)));
        (*out)[count++] = (int)number;
    }
    closedir(directory);
    if (count > 1)
        qsort(*out, (size_t)count, sizeof **out, compare_sets);
    return count;
}

static bool run_sets(Case *test, const char *folder) {
    int *sets;
    int count = list_sets(folder, &sets);
    bool fine = count > 0 || end(test, OUTCOME_SKIPPED, "has no folder test_data_set_0");
    for (int i = 0; i < count && fine; i++) {
        char name[48];
        snprintf(name, sizeof name, "test_data_set_%d", sets[i]);
        fine = run_set(test, folder, name);
    }
    free(sets);
    return fine;
}

void test_case(const char *folder, const Rule *rule, const whet_options *options, Verdict *verdict) {
    *verdict = (Verdict){.outcome = OUTCOME_PASSED};
    Case test = {.folder = folder, .rule = rule, .verdict = verdict};
    whet_error error = {0};
    char *path = path_join(folder, "model.onnx");
    whet_status status = whet_model_load(path, options, &test.model, &error);
    if (status == WHET_OK)
        status = whet_session_new(test.model, options, &test.session, &error);
    if (status == WHET_OK)
        run_sets(&test, folder);
    else
        end_error(&test, status, &error);
    whet_session_free(test.session);
    whet_model_free(test.model);
    free(path);
}
