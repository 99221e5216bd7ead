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
#include <unistd.h>

#include "base/base.h"
#include "run/cgroup.h"
#include "run/run.h"
#include "target/memory.h"
#include "target/target.h"

static void find_features(whet_cpu *cpu) {
    Text text;
    text_init(&text);
    target_print_features(target_features_here(), &text);
    snprintf(cpu->features, sizeof cpu->features, "%s", text.data ? text.data : "");
    text_free(&text);
}

static void find_no_code(whet_cpu *cpu) {
    whet_error err = {0};
    if (code_memory_allowed(&err) != WHET_OK)
        snprintf(cpu->no_code, sizeof cpu->no_code, "%.255s", err.message);
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
    find_features(out);
    find_no_code(out);
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
