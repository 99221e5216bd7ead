/* The command line. Options may stand before, between and after operands, as -dN, -d N, --dim N or --dim=N; "--" ends them.
 *
 * Not getopt_long: it keeps its state in globals, and orders operands differently from system to system.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const Option *find_short(const Command *command, char letter) {
    for (const Option *option = command->options; option->id; option++)
        if (option->id == letter)
            return option;
    return NULL;
}

static const Option *find_long(const Command *command, const char *name, size_t length) {
    for (const Option *option = command->options; option->id; option++)
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
            return option;
    return NULL;
}

static int bad(const Args *args, const char *problem, const char *word) {
    usage_error(args, problem, word);
    return ARGS_BAD;
}

/* The value of `option`, which `attached` holds or the next word does. */
static int take_value(Args *args, const Option *option, const char *attached, const char *word, const char **value) {
    *value = attached;
    if (!option->value)
        return attached ? bad(args, "option '%s' takes no value", word) : option->id;
    if (!attached && args->at < args->count)
        *value = args->words[args->at++];
    return *value ? option->id : bad(args, "option '%s' needs a value", word);
}

int args_next(Args *args, const char **value) {
    *value = NULL;
    if (args->at >= args->count)
        return ARGS_END;
    const char *word = args->words[args->at++];
    if (args->operands_only || word[0] != '-' || word[1] == 0) {
        *value = word;
        return ARGS_OPERAND;
    }
    if (strcmp(word, "--") == 0) {
        args->operands_only = true;
        return args_next(args, value);
    }
    if (word[1] == '-') {
        const char *equals = strchr(word, '=');
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        const Option *option = find_long(args->command, word + 2, length - 2);
        if (!option)
            return bad(args, "unknown option '%s'", word);
        return take_value(args, option, equals ? equals + 1 : NULL, word, value);
    }
    const Option *option = find_short(args->command, word[1]);
    if (!option || (!option->value && word[2]))
        return bad(args, "unknown option '%s'", word);
    return take_value(args, option, word[2] ? word + 2 : NULL, word, value);
}

int usage_error(const Args *args, const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    complain("%s (see: whet %s --help)", text, args->command->name);
    return STATUS_USAGE;
}

static void print_options(const Option *options) {
    for (const Option *option = options; option->id; option++) {
        char left[64], letter[8] = "    ";
        if (option->id < 256)
            snprintf(letter, sizeof letter, "-%c, ", option->id);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->value ? " " : "",
                 option->value ? option->value : "");
        printf("  %-28s %s\n", left, option->help);
    }
}

void print_help(const Command *command) {
    printf("usage: whet %s [OPTION]...%s%s\n\n%s\n\noptions:\n", command->name, *command->operands ? " " : "", command->operands,
           command->summary);
    print_options(command->options);
    printf("  %-28s %s\n", "-h, --help", "print this");
    printf("\n%s", command->details);
}

bool parse_count(const char *text, int64_t least, int64_t *out) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < least)
        return false;
    *out = number;
    return true;
}

bool parse_number(const char *text, double *out) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !isfinite(number) || number < 0)
        return false;
    *out = number;
    return true;
}

static bool parse_bytes(const char *text, size_t *out) {
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || end == text || text[0] == '-')
        return false;
    const char *unit = *end ? strchr(units, *end) : NULL;
    if ((*end && !unit) || (unit && end[1]))
        return false;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (number == 0 || number > (SIZE_MAX >> shift))
        return false;
    *out = (size_t)number << shift;
    return true;
}

void common_add_dim(Common *common, const char *name, size_t length, int64_t extent) {
    for (int d = 0; d < common->dim_count; d++) /* the last -d of a dimension counts */
        if (strlen(common->dims[d].name) == length && memcmp(common->dims[d].name, name, length) == 0) {
            common->dims[d].extent = extent;
            return;
        }
    char *copy = need(malloc(length + 1));
    memcpy(copy, name, length);
    copy[length] = 0;
    common->dims = need(realloc(common->dims, sizeof *common->dims * (size_t)(common->dim_count + 1)));
    common->dims[common->dim_count++] = (whet_dim){copy, extent};
}

static bool add_dim(const Args *args, Common *common, const char *word) {
    const char *equals = strrchr(word, '=');
    int64_t extent;
    if (!equals || equals == word || !parse_count(equals + 1, 0, &extent))
        return usage_error(args, "-d wants DIM=N with N a number from 0 on, not '%s'", word), false;
    common_add_dim(common, word, (size_t)(equals - word), extent);
    return true;
}

static bool set_threads(const Args *args, Common *common, const char *word) {
    int64_t threads;
    if (!parse_count(word, 1, &threads) || threads > 4096)
        return usage_error(args, "-t wants a number of threads from 1 to 4096, not '%s'", word), false;
    common->options.threads = (int)threads;
    return true;
}

static bool set_precision(const Args *args, Common *common, const char *word) {
    bool bf16 = strcmp(word, "bf16") == 0;
    if (!bf16 && strcmp(word, "f32") != 0)
        return usage_error(args, "--precision wants f32 or bf16, not '%s'", word), false;
    common->options.precision = bf16 ? WHET_PRECISION_BF16 : WHET_PRECISION_F32;
    return true;
}

bool common_option(const Args *args, Common *common, int id, const char *value) {
    int64_t seed;
    switch (id) {
    case 'd': return add_dim(args, common, value);
    case 't': return set_threads(args, common, value);
    case OPTION_TARGET: common->options.target = value; return true;
    case OPTION_SCHEDULE: common->options.schedule = value; return true;
    case OPTION_PERF: common->options.perf_map = true; return true;
    case OPTION_EXACT: common->options.exact = true; return true;
    case OPTION_PRECISION: return set_precision(args, common, value);
    case OPTION_NO_FUSE: common->options.no_fuse = 1; return true;
    case OPTION_JSON: common->json = true; return true;
    case OPTION_SEED:
        if (!parse_count(value, 0, &seed))
            return usage_error(args, "--seed wants a number from 0 on, not '%s'", value), false;
        common->seed = (uint64_t)seed;
        return true;
    case OPTION_TIME_LIMIT:
        if (!parse_number(value, &common->options.time_limit) || common->options.time_limit == 0)
            return usage_error(args, "--time-limit wants seconds above 0, not '%s'", value), false;
        return true;
    case OPTION_MEMORY_LIMIT:
        if (!parse_bytes(value, &common->options.memory_limit))
            return usage_error(args, "--memory-limit wants bytes above 0, as 1000000, 512M or 2G, not '%s'", value), false;
        return true;
    default: return false;
    }
}

void common_free(Common *common) {
    for (int i = 0; i < common->dim_count; i++)
        free((char *)common->dims[i].name);
    free(common->dims);
}

int common_threads(const Common *common) {
    whet_cpu cpu;
    whet_error error = {0};
    if (common->options.threads > 0)
        return common->options.threads;
    return whet_cpu_query(&cpu, &error) == WHET_OK && cpu.threads > 0 ? cpu.threads : 1;
}
