/* whet cpu: what Whet knows of this machine, and what it can do at most. */
#include <math.h>
#include <string.h>

#include "cli.h"

enum { OPTION_NO_MEASURE = OPTION_OWN };

static void print_size(const char *label, size_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double size = (double)bytes;
    size_t unit = 0;
    while (size >= 1024 && unit + 1 < CLI_COUNT(units)) {
        size /= 1024;
        unit++;
    }
    printf("%s%.4g %s", label, size, units[unit]);
}

static void print_text(const whet_cpu *cpu) {
    printf("cpu        %s\nfeatures   %s\n", cpu->name, *cpu->features ? cpu->features : "none that matter here");
    if (*cpu->no_code)
        printf("code       none: %s\n", cpu->no_code);
    printf("cores      %d online, %d allowed", cpu->cores_online, cpu->cores_allowed);
    if (cpu->quota > 0)
        printf(", quota of %.4g", cpu->quota);
    printf("\nthreads    %d by default\n", cpu->threads);
    for (int level = 0; level < WHET_CACHE_LEVELS; level++) {
        if (cpu->cache_bytes[level] == 0)
            continue;
        printf("cache %d    ", level + 1);
        print_size("", cpu->cache_bytes[level]);
        int sharers = cpu->cache_shared_by[level];
        if (sharers > 1)
            printf(", shared by %d logical processors", sharers);
        putchar('\n');
    }
    printf("line       %zu B\n", cpu->line_bytes);
    print_size("memory     ", cpu->memory_bytes);
    putchar('\n');
}

static void print_peak(const char *type, double gflops) {
    if (gflops > 0)
        printf("peak %-5s %.1f GFLOP/s on one core\n", type, gflops);
    else
        printf("peak %-5s no such instructions\n", type);
}

static void print_limits(const whet_cpu_limits *limits) {
    print_peak("f32", limits->peak_f32);
    print_peak("f64", limits->peak_f64);
    print_peak("bf16", limits->peak_bf16);
    print_peak("int8", limits->peak_int8);
    for (int level = 0; level <= WHET_CACHE_LEVELS; level++) {
        if (limits->read_gbs[level] <= 0)
            continue;
        if (level < WHET_CACHE_LEVELS)
            printf("read       %.1f GB/s from cache %d on one core\n", limits->read_gbs[level], level + 1);
        else
            printf("read       %.1f GB/s from memory on one core\n", limits->read_gbs[level]);
    }
}

static void print_json(const whet_cpu *cpu, const whet_cpu_limits *limits) {
    Json json = {stdout, true};
    json_open(&json, NULL, '{');
    json_string(&json, "name", cpu->name);
    json_string(&json, "features", cpu->features);
    json_string(&json, "no_code", cpu->no_code);
    json_number(&json, "cores_online", cpu->cores_online);
    json_number(&json, "cores_allowed", cpu->cores_allowed);
    json_number(&json, "quota", cpu->quota > 0 ? cpu->quota : NAN);
    json_number(&json, "threads", cpu->threads);
    json_open(&json, "cache_bytes", '[');
    for (int level = 0; level < WHET_CACHE_LEVELS; level++)
        json_number(&json, NULL, (double)cpu->cache_bytes[level]);
    json_close(&json, ']');
    json_open(&json, "cache_shared_by", '[');
    for (int level = 0; level < WHET_CACHE_LEVELS; level++)
        json_number(&json, NULL, cpu->cache_shared_by[level]);
    json_close(&json, ']');
    json_number(&json, "line_bytes", (double)cpu->line_bytes);
    json_number(&json, "memory_bytes", (double)cpu->memory_bytes);
    json_number(&json, "peak_f32_gflops", limits ? limits->peak_f32 : NAN);
    json_number(&json, "peak_f64_gflops", limits ? limits->peak_f64 : NAN);
    json_number(&json, "peak_bf16_gflops", limits ? limits->peak_bf16 : NAN);
    json_number(&json, "peak_int8_gflops", limits ? limits->peak_int8 : NAN);
    json_open(&json, "read_gbs", '[');
    for (int level = 0; level <= WHET_CACHE_LEVELS; level++)
        json_number(&json, NULL, limits && limits->read_gbs[level] > 0 ? limits->read_gbs[level] : NAN);
    json_close(&json, ']');
    json_close(&json, '}');
    putchar('\n');
}

static int show_cpu(bool json, bool measure) {
    whet_cpu cpu;
    whet_cpu_limits limits = {0};
    whet_error error = {0};
    if (whet_cpu_query(&cpu, &error) != WHET_OK)
        return complain("%s", error.message), STATUS_FAILED;
    if (!json)
        print_text(&cpu);
    fflush(stdout);
    progress_start("measuring peaks");
    bool measured = measure && whet_cpu_measure(&limits, &error) == WHET_OK;
    progress_stop();
    if (measure && !measured)
        note("the machine's peaks are not known: %s", error.message);
    if (json)
        print_json(&cpu, measured ? &limits : NULL);
    else if (measured)
        print_limits(&limits);
    return STATUS_FINE;
}

static int cpu_main(Args *args) {
    Common common = {0};
    const char *value;
    bool measure = true;
    for (int id; (id = args_next(args, &value)) != ARGS_END;) {
        if (id == ARGS_OPERAND)
            return usage_error(args, "'%s' is too much", value);
        if (id == OPTION_NO_MEASURE)
            measure = false;
        else if (!common_option(args, &common, id, value))
            return STATUS_USAGE;
    }
    return show_cpu(common.json, measure);
}

static const Option options[] = {
    OPTION_ROW_JSON,
    {OPTION_NO_MEASURE, "no-measure", NULL, "leave out peaks and bandwidths, which take about a second"},
    OPTION_ROW_END,
};

const Command command_cpu = {
    .name = "cpu",
    .operands = "",
    .summary = "tell what this machine has and can do at most",
    .details =
        "Prints the processor's features and caches, the cores that this process may use (the cpuset, and the cgroup's quota),\n"
        "and, measured now on one core: multiply-add peaks by type and read bandwidths by level.\n"
        "\n"
        "examples:\n"
        "  whet cpu\n"
        "  whet cpu --json --no-measure\n",
    .options = options,
    .run = cpu_main,
};
