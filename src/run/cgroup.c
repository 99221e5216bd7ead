/* Control groups. /proc/self/cgroup names the process's group, one line a hierarchy:
 *
 *     0::/system.slice/x.service           version 2: all controllers
 *     3:cpu,cpuacct:/docker/1234           version 1: these controllers
 *
 * Its files lie below the hierarchy's mount. In a container the mount may show the container's own group as its root while the
 * path is still told from the host's; so every folder from the full path up to the mount is asked, and those that are missing
 * say nothing.
 */
#include "run/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What one folder says, as a number to be minimised; false: nothing. */
typedef bool ReadLimit(const char *folder, double *out);

static FILE *open_in(const char *folder, const char *name) {
    char path[PATH_MAX];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length > 0 && (size_t)length < sizeof path ? fopen(path, "r") : NULL;
}

/* One number in a file; "max" and anything else is none. */
static bool read_number(const char *folder, const char *name, double *out) {
    FILE *file = open_in(folder, name);
    if (!file)
        return false;
    bool fine = fscanf(file, "%lf", out) == 1;
    fclose(file);
    return fine;
}

static bool read_quota2(const char *folder, double *out) {
    FILE *file = open_in(folder, "cpu.max"); /* "QUOTA PERIOD" or "max PERIOD", in microseconds */
    if (!file)
        return false;
    double quota, period;
    bool fine = fscanf(file, "%lf %lf", &quota, &period) == 2 && quota > 0 && period > 0;
    fclose(file);
    if (fine)
        *out = quota / period;
    return fine;
}

static bool read_quota1(const char *folder, double *out) {
    double quota, period;
    if (!read_number(folder, "cpu.cfs_quota_us", &quota) || !read_number(folder, "cpu.cfs_period_us", &period))
        return false;
    if (quota <= 0 || period <= 0) /* -1: no limit */
        return false;
    *out = quota / period;
    return true;
}

static bool read_memory2(const char *folder, double *out) {
    return read_number(folder, "memory.max", out);
}

static bool read_memory1(const char *folder, double *out) {
    return read_number(folder, "memory.limit_in_bytes", out) && *out < 0x1p60; /* no limit is written as almost 2^63 */
}

/* The smallest limit from `mount``group` up to `mount`. */
static void walk(const char *mount, const char *group, ReadLimit *read, double *least) {
    char folder[PATH_MAX];
    int length = snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (length <= 0 || (size_t)length >= sizeof folder)
        return;
    size_t end = strlen(mount);
    for (;;) {
        double limit;
        if (read(folder, &limit) && limit > 0 && (*least == 0 || limit < *least))
            *least = limit;
        if (strlen(folder) <= end)
            return;
        char *slash = strrchr(folder + end, '/');
        if (!slash)
            return;
        *slash = 0;
    }
}

/* Is `name` in the comma-separated list? */
static bool lists(const char *list, const char *name) {
    size_t length = strlen(name);
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, length) == 0 && (at[length] == ',' || at[length] == 0))
            return true;
    }
    return false;
}

static double find_limit(const char *root, const char *controller, ReadLimit *version1, ReadLimit *version2) {
    double least = 0;
    char line[PATH_MAX], mount[PATH_MAX];
    FILE *file = open_in(root, "proc/self/cgroup");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        list++;
        if (*list == 0) {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
            walk(mount, group, version2, &least);
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/unified", root);
            walk(mount, group, version2, &least);
        } else if (lists(list, controller)) {
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%.64s", root, list);
            walk(mount, group, version1, &least);
            snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/%s", root, controller);
            walk(mount, group, version1, &least);
        }
    }
    if (file)
        fclose(file);
    return least;
}

double cgroup_quota(const char *root) {
    return find_limit(root, "cpu", read_quota1, read_quota2);
}

size_t cgroup_memory(const char *root) {
    return (size_t)find_limit(root, "memory", read_memory1, read_memory2);
}
