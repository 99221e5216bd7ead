/* Names for profilers: a line a function, at its address, with the kernel; a file that cannot be written is an error. */
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/kernel.h"
#include "schedule/schedule.h"

static whet_status make(Arena *arena, Compiled **compiled, Arena *scratch, whet_error *err) {
    static const char text[] = "c[m:50, n:70] = max(sum(k:33) a[m, k] * b[k, n], 0)";
    Target target;
    const char *why = NULL;
    ScheduleOptions options = {.perf_map = true, .scratch = scratch};
    if (!target_host(~UINT64_C(0), &target)) {
        print_message("skipped: no machine code for this CPU\n");
        skip();
    }
    Kernel *kernel = kernel_parse(arena, text, sizeof text - 1, err);
    assert_non_null(kernel);
    assert_int_equal(kernel_bind(kernel, NULL, 0, NULL, 0, err), WHET_OK);
    return schedule_compile(kernel, &target, &options, compiled, &why, err);
}

static void path_of(char *path, size_t size) {
    snprintf(path, size, "/tmp/perf-%lld.map", (long long)getpid());
}

static void functions_have_names(void **state) {
    (void)state;
    Arena arena, scratch;
    Compiled *compiled = NULL;
    whet_error err = {0};
    char path[64], line[400];
    path_of(path, sizeof path);
    unlink(path);
    arena_init(&arena, NULL);
    arena_init(&scratch, NULL);
    assert_int_equal(make(&arena, &compiled, &scratch, &err), WHET_OK);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    int lines = 0;
    uintptr_t end = 0;
    for (; fgets(line, sizeof line, file); lines++) {
        unsigned long long at, size;
        int name = 0;
        assert_int_equal(sscanf(line, "%llx %llx %n", &at, &size, &name), 2);
        assert_true((uintptr_t)compiled->target.entry(compiled->code, lines) == (uintptr_t)at);
        assert_true(size > 0 && at >= end);
        end = (uintptr_t)(at + size);
        assert_non_null(strstr(line + name, "contract_"));
        assert_non_null(strstr(line + name, "sum(k"));
    }
    fclose(file);
    assert_true(lines > 0);
    compiled_free(compiled);
    arena_free(&scratch);
    arena_free(&arena);
    assert_int_equal(unlink(path), 0);
}

static void a_file_that_cannot_be_written(void **state) {
    (void)state;
    Arena arena;
    Compiled *compiled = NULL;
    whet_error err = {0};
    char path[64];
    path_of(path, sizeof path);
    assert_int_equal(mkdir(path, 0700), 0);
    arena_init(&arena, NULL);
    whet_status status = make(&arena, &compiled, NULL, &err);
    rmdir(path);
    assert_int_equal(status, WHET_ERROR_FILE);
    assert_null(compiled);
    assert_non_null(strstr(err.message, path));
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(functions_have_names), cmocka_unit_test(a_file_that_cannot_be_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
