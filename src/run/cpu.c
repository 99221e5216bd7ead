/* What is known of this machine. cpuinfo tells the processor, its caches and which logical processors make a core; the system
 * tells which of them this process may use. What neither tells is left 0: no caller may depend on all of it.
 *
 * Default threads: one a core, as two threads of one core share its multipliers, and no more than the quota pays for, as a
 * group beyond its quota is stopped as a whole until the next period.
 */
#ifdef __linux__
#define _GNU_SOURCE /* sched_getaffinity, CPU_ALLOC */
#include <sched.h>
#endif

#include <cpuinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "run/cgroup.h"
#include "run/run.h"

/* One row a feature: its name, what cpuinfo says, and its word in Linux's /proc/cpuinfo, which knows some that cpuinfo does
 * not. cpuinfo answers false for the features of other processors. */
typedef struct Feature {
    const char *name;
    bool (*test)(void); /* NULL: cpuinfo does not know it */
    const char *word;
} Feature;

// clang-format off
static const Feature features[] = {
    {"avx2",        cpuinfo_has_x86_avx2,           "avx2"},
    {"fma",         cpuinfo_has_x86_fma3,           "fma"},
    {"f16c",        cpuinfo_has_x86_f16c,           "f16c"},
    {"avx-vnni",    NULL,                           "avx_vnni"},
    {"avx512f",     cpuinfo_has_x86_avx512f,        "avx512f"},
    {"avx512bw",    cpuinfo_has_x86_avx512bw,       "avx512bw"},
    {"avx512dq",    cpuinfo_has_x86_avx512dq,       "avx512dq"},
    {"avx512vl",    cpuinfo_has_x86_avx512vl,       "avx512vl"},
    {"avx512vbmi",  cpuinfo_has_x86_avx512vbmi,     "avx512vbmi"},
    {"avx512-vnni", cpuinfo_has_x86_avx512vnni,     "avx512_vnni"},
    {"avx512-bf16", cpuinfo_has_x86_avx512bf16,     "avx512_bf16"},
    {"avx512-fp16", NULL,                           "avx512_fp16"},
    {"amx-tile",    NULL,                           "amx_tile"},
    {"amx-int8",    NULL,                           "amx_int8"},
    {"amx-bf16",    NULL,                           "amx_bf16"},
    {"neon",        cpuinfo_has_arm_neon,           "asimd"},
    {"fp16",        cpuinfo_has_arm_fp16_arith,     "asimdhp"},
    {"dotprod",     cpuinfo_has_arm_neon_dot,       "asimddp"},
    {"bf16",        cpuinfo_has_arm_bf16,           "bf16"},
    {"i8mm",        NULL,                           "i8mm"},
    {"sve",         cpuinfo_has_arm_sve,            "sve"},
    {"sve2",        cpuinfo_has_arm_sve2,           "sve2"},
    {"sme",         NULL,                           "sme"},
};
// clang-format on

/* The first "flags" (x86) or "Features" (arm) line of /proc/cpuinfo; empty elsewhere. To be freed. */
static char *read_flags(void) {
    FILE *file = fopen("/proc/cpuinfo", "r");
    char *line = NULL;
    size_t capacity = 0;
    bool found = false;
    while (file && !found && getline(&line, &capacity, file) > 0)
        found = strncmp(line, "flags", 5) == 0 || strncmp(line, "Features", 8) == 0;
    if (file)
        fclose(file);
    if (found)
        return line;
    free(line);
    return NULL;
}

static bool has_word(const char *line, const char *word) {
    size_t length = strlen(word);
    for (const char *at = line; at && (at = strstr(at, word)); at += length) {
        bool starts = at > line && (at[-1] == ' ' || at[-1] == '\t');
        if (starts && (at[length] == ' ' || at[length] == '\n' || at[length] == 0))
            return true;
    }
    return false;
}

static void find_features(whet_cpu *cpu, bool known) {
    char *flags = read_flags();
    size_t used = 0;
    for (size_t i = 0; i < COUNT(features) && used < sizeof cpu->features; i++) {
        if ((known && features[i].test && features[i].test()) || has_word(flags, features[i].word))
            used +=
                (size_t)snprintf(cpu->features + used, sizeof cpu->features - used, "%s%s", used ? " " : "", features[i].name);
    }
    free(flags);
}

static void find_caches(whet_cpu *cpu) {
    const struct cpuinfo_cache *caches[WHET_CACHE_LEVELS] = {cpuinfo_get_l1d_cache(0), cpuinfo_get_l2_cache(0),
                                                             cpuinfo_get_l3_cache(0)};
    for (int level = 0; level < WHET_CACHE_LEVELS; level++) {
        if (!caches[level])
            continue;
        cpu->cache_bytes[level] = caches[level]->size;
        cpu->cache_shared_by[level] = (int)caches[level]->processor_count;
        if (cpu->line_bytes == 0)
            cpu->line_bytes = caches[level]->line_size;
    }
}

#ifdef __linux__
/* The set of logical processors that the calling thread may run on, however many there are; NULL: unknown. */
static cpu_set_t *read_affinity(size_t *bytes) {
    for (int processors = 1024; processors <= 1 << 20; processors *= 4) {
        cpu_set_t *set = CPU_ALLOC((size_t)processors);
        *bytes = CPU_ALLOC_SIZE((size_t)processors);
        if (set && sched_getaffinity(0, *bytes, set) == 0)
            return set;
        CPU_FREE(set);
    }
    return NULL;
}

/* Cores of which at least one logical processor is in `set`. Processors of one core are neighbours in cpuinfo's list. */
static int count_cores(const cpu_set_t *set, size_t bytes) {
    int count = 0;
    const struct cpuinfo_core *last = NULL;
    for (uint32_t i = 0; i < cpuinfo_get_processors_count(); i++) {
        const struct cpuinfo_processor *processor = cpuinfo_get_processor(i);
        if (processor->linux_id < 0 || !CPU_ISSET_S((size_t)processor->linux_id, bytes, set) || processor->core == last)
            continue;
        last = processor->core;
        count++;
    }
    return count;
}

static void find_allowed(whet_cpu *cpu, bool known, int *cores) {
    size_t bytes;
    cpu_set_t *set = read_affinity(&bytes);
    if (!set)
        return;
    cpu->cores_allowed = CPU_COUNT_S(bytes, set);
    *cores = known ? count_cores(set, bytes) : cpu->cores_allowed;
    CPU_FREE(set);
}
#else
static void find_allowed(whet_cpu *cpu, bool known, int *cores) {
    *cores = known ? (int)cpuinfo_get_cores_count() : cpu->cores_online;
}
#endif

whet_status whet_cpu_query(whet_cpu *out, whet_error *err) {
    if (!out)
        return error_set(err, WHET_ERROR_ARGUMENT, "whet_cpu_query: no place to write to (NULL)");
    *out = (whet_cpu){0};
    bool known = cpuinfo_initialize();
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    out->cores_online = online > 0 ? (int)online : 1;
    out->cores_allowed = out->cores_online;
    const struct cpuinfo_package *package = known ? cpuinfo_get_package(0) : NULL;
    snprintf(out->name, sizeof out->name, "%s", package && package->name[0] ? package->name : "unknown");
    find_features(out, known);
    if (known)
        find_caches(out);
    int cores = 0;
    find_allowed(out, known, &cores);
    out->quota = cgroup_quota("");
    out->threads = cores > 0 ? cores : out->cores_allowed;
    if (out->quota > 0 && out->quota < out->threads)
        out->threads = out->quota >= 1 ? (int)out->quota : 1;
    out->memory_bytes = machine_memory();
    return WHET_OK;
}
