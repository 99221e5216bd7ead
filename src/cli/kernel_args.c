/* What the command line says of a kernel's tensors: NAME=TYPE, or NAME=TYPE[2, 3]. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* "[2, 3]" into `arg`; false if it is anything else. */
static bool parse_dims(const char *at, whet_kernel_arg *arg) {
    size_t length = strlen(at);
    if (length < 2 || *at != '[' || at[length - 1] != ']')
        return false;
    arg->rank = 0;
    for (at++; *at != ']';) {
        char *end;
        long long extent = strtoll(at, &end, 10);
        while (*end == ' ')
            end++;
        if (end == at || extent < 0 || arg->rank == WHET_MAX_RANK || (*end != ',' && *end != ']'))
            return false;
        arg->dims[arg->rank++] = extent;
        at = *end == ',' ? end + 1 : end;
    }
    return at[1] == 0;
}

int kernel_args_add(KernelArgs *types, const Args *args, const char *word) {
    const char *equals = strchr(word, '=');
    if (!equals || equals == word)
        return usage_error(args, "-a wants NAME=TYPE or NAME=TYPE[DIMS], not '%s'", word);
    size_t length = strcspn(equals + 1, "[");
    whet_kernel_arg arg = {.type = type_parse(equals + 1, length), .rank = -1};
    if (arg.type == WHET_NONE)
        return usage_error(args, "-a: '%.*s' is no element type; there are f32, f64, f16, bf16, s8, u8, s32, s64, bool ...",
                           (int)length, equals + 1);
    if (equals[1 + length] && !parse_dims(equals + 1 + length, &arg))
        return usage_error(args, "-a: '%s' is no list of dimensions: [2, 3]", equals + 1 + length);
    char *name = need(strdup(word));
    name[equals - word] = 0;
    arg.name = name;
    types->items = need(realloc(types->items, sizeof *types->items * (size_t)(types->count + 1)));
    types->items[types->count++] = arg;
    return STATUS_FINE;
}

/* Is `name` a word of the text? */
static bool names(const char *text, const char *name) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    size_t length = strlen(name);
    for (const char *at = text; *at; at += strspn(at, letters)) {
        at += strcspn(at, letters);
        if (length && strspn(at, letters) == length && memcmp(at, name, length) == 0)
            return true;
    }
    return false;
}

int kernel_compile(const Args *args, const char *text, const Common *common, const KernelArgs *types, whet_kernel **out) {
    whet_error error = {0};
    const char *of_models = common->options.precision != WHET_PRECISION_MODEL ? "--precision"
                            : common->options.no_fuse                         ? "--no-fuse"
                                                                              : NULL;
    if (of_models)
        return usage_error(args, "%s is for models; '%s' is a kernel", of_models, text);
    for (int d = 0; d < common->dim_count; d++)
        if (!names(text, common->dims[d].name))
            return usage_error(args, "-d: the kernel names no '%s'", common->dims[d].name);
    whet_status status =
        whet_kernel_compile(text, common->dims, common->dim_count, types->items, types->count, &common->options, out, &error);
    if (status == WHET_OK)
        return STATUS_FINE;
    complain("%s", error.message);
    if (status == WHET_ERROR_ARGUMENT && strstr(error.message, "nothing gives "))
        note("extents are given as -d AXIS=N, types and shapes as -a TENSOR=f32[2, 3]");
    return STATUS_FAILED;
}

void kernel_args_free(KernelArgs *types) {
    for (int i = 0; i < types->count; i++)
        free((char *)types->items[i].name);
    free(types->items);
}
