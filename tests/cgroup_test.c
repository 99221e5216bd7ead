/* Control group limits, read from folders laid out as live systems have them. */
#define _XOPEN_SOURCE 700 /* mkdtemp, nftw */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "run/cgroup.h"
#include "whet.h"

static char root[64];

static void put(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *at = path + strlen(root) + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = 0;
        mkdir(path, 0700);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/whet-cgroup-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static int remove_root(void **state) {
    (void)state;
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void test_none(void **state) {
    (void)state;
    assert_true(cgroup_quota(root) == 0);
    assert_int_equal(cgroup_memory(root), 0);
}

static void test_version2(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/a/b\n");
    put("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    put("sys/fs/cgroup/a/b/memory.max", "1048576\n");
    put("sys/fs/cgroup/a/memory.max", "max\n");
    assert_true(cgroup_quota(root) == 1.5);
    assert_int_equal(cgroup_memory(root), 1048576);
    put("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n");
    assert_true(cgroup_quota(root) == 0.5);
}

/* The path is the host's, the mount the container's own. */
static void test_container(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/docker/0123\n");
    put("sys/fs/cgroup/cpu.max", "300000 100000\n");
    assert_true(cgroup_quota(root) == 3);
}

static void test_version1(void **state) {
    (void)state;
    put("proc/self/cgroup", "4:memory:/x\n3:cpu,cpuacct:/x\n2:cpuset:/\n");
    put("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us", "250000\n");
    put("sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
    assert_true(cgroup_quota(root) == 2.5);
    assert_int_equal(cgroup_memory(root), 0);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
    assert_int_equal(cgroup_memory(root), 4096);
}

static void test_broken(void **state) {
    (void)state;
    put("proc/self/cgroup", "nonsense\n0:\n:\n0::/a\n");
    put("sys/fs/cgroup/a/cpu.max", "-5 0\n");
    put("sys/fs/cgroup/cpu.max", "\n");
    put("sys/fs/cgroup/a/memory.max", "many\n");
    assert_true(cgroup_quota(root) == 0);
    assert_int_equal(cgroup_memory(root), 0);
}

static void test_query(void **state) {
    (void)state;
    whet_cpu cpu;
    whet_error error;
    assert_int_equal(whet_cpu_query(&cpu, &error), WHET_OK);
    assert_true(cpu.cores_allowed >= 1 && cpu.cores_allowed <= cpu.cores_online);
    assert_true(cpu.threads >= 1 && cpu.threads <= cpu.cores_allowed);
    assert_true(cpu.memory_bytes > 0);
    assert_int_equal(whet_cpu_query(NULL, &error), WHET_ERROR_ARGUMENT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_none, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_version2, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_container, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_version1, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_broken, make_root, remove_root),
        cmocka_unit_test(test_query),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
