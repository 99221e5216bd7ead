/* The inputs of a model: from files where the command line says so, random otherwise.
 *
 * The extent of a symbolic dimension is what -d says, or what a given tensor has there, or 1, in this order; 1 is said.
 */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Which input does NAME=... mean? Names may have '=' in them: the longest that fits. -1: none. */
static int find_input(const whet_model *model, const char *word, const char **rest) {
    int found = -1;
    size_t longest = 0;
    for (int i = 0; i < whet_model_input_count(model); i++) {
        whet_value_info info;
        if (whet_model_input(model, i, &info) != WHET_OK)
            continue;
        size_t length = strlen(info.name);
        if (strncmp(word, info.name, length) != 0 || word[length] != '=' || length < longest)
            continue;
        found = i;
        longest = length;
        *rest = word + length + 1;
    }
    return found;
}

static void list_inputs(const whet_model *model, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < whet_model_input_count(model) && used < size; i++) {
        whet_value_info info;
        if (whet_model_input(model, i, &info) == WHET_OK)
            used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "", info.name);
    }
}

static int take_given(Inputs *inputs, const Args *args, const whet_model *model, const char *word) {
    const char *rest = NULL;
    int index = find_input(model, word, &rest);
    if (index < 0) {
        char names[512];
        list_inputs(model, names, sizeof names);
        const char *equals = strchr(word, '=');
        return usage_error(args, "the model has no input '%.*s'; it has: %s", equals ? (int)(equals - word) : 80, word,
                           *names ? names : "none");
    }
    whet_value_info info;
    whet_model_input(model, index, &info);
    array_free(&inputs->values[index]); /* the last -i of an input counts */
    inputs->random[index] = strcmp(rest, "random") == 0;
    if (inputs->random[index])
        return STATUS_FINE;
    if (!ends_with(rest, ".npy") && !ends_with(rest, ".npz") && !ends_with(rest, ".pb"))
        return usage_error(args, "-i %s: '%s' is neither FILE.npy, FILE.npz, FILE.pb nor 'random'", info.name, rest);
    return array_load(&inputs->values[index], rest, info.name, info.type) ? STATUS_FINE : STATUS_FAILED;
}

/* Is -d `dim` about dimension `k` of this input: by its symbol, or as NAME.k? */
static bool is_about(const whet_dim *dim, const whet_value_info *info, int k) {
    if (info->dims[k] >= 0)
        return false;
    if (*info->symbols[k] && strcmp(dim->name, info->symbols[k]) == 0)
        return true;
    char number[16];
    size_t length = strlen(info->name);
    snprintf(number, sizeof number, ".%d", k);
    return strncmp(dim->name, info->name, length) == 0 && strcmp(dim->name + length, number) == 0;
}

static void list_symbols(const whet_model *model, char *text, size_t size) {
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < whet_model_input_count(model); i++) {
        whet_value_info info;
        if (whet_model_input(model, i, &info) != WHET_OK)
            continue;
        for (int k = 0; k < info.rank && used < size; k++) {
            if (info.dims[k] >= 0)
                continue;
            const char *comma = used ? ", " : "";
            if (*info.symbols[k] && !strstr(text, info.symbols[k]))
                used += (size_t)snprintf(text + used, size - used, "%s%s", comma, info.symbols[k]);
            else if (!*info.symbols[k])
                used += (size_t)snprintf(text + used, size - used, "%s%s.%d", comma, info.name, k);
        }
    }
}

int check_dims(const Args *args, const whet_model *model, const Common *common) {
    for (int d = 0; d < common->dim_count; d++) {
        bool used = false;
        for (int i = 0; i < whet_model_input_count(model); i++) {
            whet_value_info info;
            if (whet_model_input(model, i, &info) != WHET_OK)
                continue;
            for (int k = 0; k < info.rank; k++)
                used = used || is_about(&common->dims[d], &info, k);
        }
        if (used)
            continue;
        char names[512];
        list_symbols(model, names, sizeof names);
        return usage_error(args, "-d: no input has a dimension '%s' to set; there are: %s", common->dims[d].name,
                           *names ? names : "none");
    }
    return STATUS_FINE;
}

/* The extent that a given tensor has for `symbol`; -1: none. */
static int64_t learn_extent(const Inputs *inputs, const whet_model *model, const char *symbol) {
    for (int i = 0; i < inputs->count; i++) {
        whet_value_info info;
        if (inputs->random[i] || whet_model_input(model, i, &info) != WHET_OK)
            continue;
        for (int k = 0; k < info.rank && k < inputs->values[i].tensor.rank; k++)
            if (info.dims[k] < 0 && strcmp(info.symbols[k], symbol) == 0)
                return inputs->values[i].tensor.dims[k];
    }
    return -1;
}

static bool was_noted(const whet_model *model, int index, int k, const char *symbol) {
    for (int i = 0; i <= index; i++) {
        whet_value_info info;
        if (whet_model_input(model, i, &info) != WHET_OK)
            continue;
        for (int j = 0; j < (i == index ? k : info.rank); j++)
            if (info.dims[j] < 0 && strcmp(info.symbols[j], symbol) == 0)
                return true;
    }
    return false;
}

static int64_t extent_of(const Inputs *inputs, const whet_model *model, const Common *common, const whet_value_info *info,
                         int index, int k) {
    if (info->dims[k] >= 0)
        return info->dims[k];
    for (int d = common->dim_count - 1; d >= 0; d--)
        if (is_about(&common->dims[d], info, k))
            return common->dims[d].extent;
    const char *symbol = info->symbols[k];
    if (!*symbol) {
        note("dimension %d of input '%s' is not given: taken as 1 (-d %s.%d=N)", k, info->name, info->name, k);
        return 1;
    }
    int64_t learned = learn_extent(inputs, model, symbol);
    if (learned >= 0)
        return learned;
    if (!was_noted(model, index, k, symbol))
        note("dimension '%s' is not given: taken as 1 (-d %s=N)", symbol, symbol);
    return 1;
}

void fill_dims(const whet_model *model, Common *common) {
    for (int i = 0; i < whet_model_input_count(model); i++) {
        whet_value_info info;
        if (whet_model_input(model, i, &info) != WHET_OK)
            continue;
        for (int k = 0; k < info.rank; k++) {
            bool given = info.dims[k] >= 0 || !*info.symbols[k];
            for (int d = 0; d < common->dim_count && !given; d++)
                given = strcmp(common->dims[d].name, info.symbols[k]) == 0;
            if (given)
                continue;
            note("dimension '%s' is not given: taken as 1 (-d %s=N)", info.symbols[k], info.symbols[k]);
            common_add_dim(common, info.symbols[k], strlen(info.symbols[k]), 1);
        }
    }
}

/* What -d says must be what given tensors have. */
static int check_given(const Inputs *inputs, const Args *args, const whet_model *model, const Common *common) {
    for (int i = 0; i < inputs->count; i++) {
        whet_value_info info;
        const whet_tensor *tensor = &inputs->values[i].tensor;
        if (inputs->random[i] || whet_model_input(model, i, &info) != WHET_OK)
            continue;
        for (int k = 0; k < info.rank && k < tensor->rank; k++)
            for (int d = 0; d < common->dim_count; d++)
                if (is_about(&common->dims[d], &info, k) && common->dims[d].extent != tensor->dims[k])
                    return usage_error(args, "-d: '%s' is %lld, but dimension %d of the given input '%s' is %lld",
                                       common->dims[d].name, (long long)common->dims[d].extent, k, info.name,
                                       (long long)tensor->dims[k]);
    }
    return STATUS_FINE;
}

static bool make_random(Inputs *inputs, const whet_model *model, const Common *common, int index) {
    whet_value_info info;
    whet_model_input(model, index, &info);
    if (info.rank < 0)
        return complain("the rank of input '%s' is unknown: give it with -i", info.name);
    int64_t dims[WHET_MAX_RANK];
    for (int k = 0; k < info.rank; k++)
        dims[k] = extent_of(inputs, model, common, &info, index, k);
    return array_random(&inputs->values[index], info.name, info.type, info.rank, dims, common->seed);
}

int inputs_make(Inputs *inputs, const Args *args, const whet_model *model, const Common *common, char **given, int given_count) {
    int count = whet_model_input_count(model);
    inputs->count = count;
    inputs->values = need(calloc((size_t)count + 1, sizeof *inputs->values));
    inputs->random = need(calloc((size_t)count + 1, sizeof *inputs->random));
    for (int i = 0; i < count; i++)
        inputs->random[i] = true;
    int status = check_dims(args, model, common);
    for (int i = 0; i < given_count && status == STATUS_FINE; i++)
        status = take_given(inputs, args, model, given[i]);
    if (status == STATUS_FINE)
        status = check_given(inputs, args, model, common);
    for (int i = 0; i < count && status == STATUS_FINE; i++)
        if (inputs->random[i] && !make_random(inputs, model, common, i))
            status = STATUS_FAILED;
    return status;
}

void inputs_free(Inputs *inputs) {
    for (int i = 0; i < inputs->count; i++)
        array_free(&inputs->values[i]);
    free(inputs->values);
    free(inputs->random);
}

bool inputs_set(const Inputs *inputs, const whet_model *model, whet_session *session) {
    for (int i = 0; i < inputs->count; i++) {
        whet_value_info info;
        whet_error error = {0};
        whet_model_input(model, i, &info);
        if (whet_session_set_input(session, info.name, &inputs->values[i].tensor, &error) != WHET_OK)
            return complain("%s", error.message);
    }
    return true;
}
