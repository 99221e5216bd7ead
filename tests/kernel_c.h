/* The C target as an engine of tests: kernels are collected, written into one C file, compiled by the system's compiler, once
 * with vector extensions and once as plain C, loaded, and called. Where there is no compiler all of it is refused, and that is
 * said. */
#ifndef KERNEL_C_H
#define KERNEL_C_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schedule/c/c_kernel.h"

enum { KERNEL_C_FORMS = 2, KERNEL_C_WARNINGS_BYTES = 4096 };

typedef struct KernelC {
    bool collecting;
    int count, next; /* kernels collected, and the one at hand */
    int bytes;       /* of a vector */
    const ScheduleOptions *options;
    Text body, wrappers;
    char folder[64];
    void *library[KERNEL_C_FORMS];
    char why[256]; /* nothing was built */
} KernelC;
static KernelC kernel_c = {.bytes = 32};

static void kernel_c_start(void) {
    kernel_c.collecting = true;
    kernel_c.count = kernel_c.next = 0;
    kernel_c.why[0] = 0;
    text_init(&kernel_c.body);
    text_init(&kernel_c.wrappers);
}

/* The function kernel_N, and one that takes its arguments from an array, by tensor. */
static void kernel_c_collect(const Kernel *kernel) {
    whet_error err = {0};
    Text comment;
    char name[32];
    snprintf(name, sizeof name, "kernel_%d", kernel_c.count);
    text_init(&comment);
    size_t before = kernel_c.body.length;
    if (c_print_kernel(kernel, kernel_c.bytes, kernel_c.options, name, &comment, &kernel_c.body, &err) == WHET_OK) {
        text_printf(&kernel_c.wrappers, "int call_%d(void *const *data);\nint call_%d(void *const *data) {\n    return %s(",
                    kernel_c.count, kernel_c.count, name);
        const char *separator = "";
        for (int pass = 0; pass < 2; pass++)
            for (int t = 0; t < kernel->tensor_count; t++)
                if (kernel->tensors[t].role == (pass ? ROLE_OUTPUT : ROLE_INPUT)) {
                    text_printf(&kernel_c.wrappers, "%sdata[%d]", separator, t);
                    separator = ", ";
                }
        text_put(&kernel_c.wrappers, ");\n}\n");
    } else {
        kernel_c.body.length = before;
        kernel_c.body.data[before] = 0;
    }
    text_free(&comment);
    kernel_c.count++;
}

/* The compiler's words in `said`; false: it failed, or said anything at all. */
static bool kernel_c_compile(const char *flags, int form, char *said, size_t size) {
    char command[512];
    const char *cc = getenv("CC");
    snprintf(command, sizeof command,
             "%s -std=c17 -Wall -Wextra -Wpedantic %s -ffp-contract=off -shared -fPIC %s/k.c -o %s/k%d.so -lm 2>&1",
             cc && *cc ? cc : "cc", flags, kernel_c.folder, kernel_c.folder, form);
    FILE *pipe = popen(command, "r");
    size_t length = pipe ? fread(said, 1, size - 1, pipe) : 0;
    said[length] = 0;
    return pipe && pclose(pipe) == 0 && length == 0;
}

static void kernel_c_build(void) {
    static const char *const flags[KERNEL_C_FORMS] = {"-O1", "-O0 -DPLAIN_C"};
    static char said[KERNEL_C_WARNINGS_BYTES];
    char path[128];
    kernel_c.collecting = false;
    snprintf(kernel_c.folder, sizeof kernel_c.folder, "/tmp/whet_c_XXXXXX");
    if (system("${CC:-cc} --version >/dev/null 2>&1") != 0 || !mkdtemp(kernel_c.folder)) {
        snprintf(kernel_c.why, sizeof kernel_c.why, "there is no C compiler");
        print_message("skipped: the C target (%s)\n", kernel_c.why);
        return;
    }
    Text file;
    text_init(&file);
    text_put(&kernel_c.body, kernel_c.wrappers.data);
    c_print_file(&file, kernel_c.body.data, kernel_c.bytes);
    snprintf(path, sizeof path, "%s/k.c", kernel_c.folder);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fwrite(file.data, 1, file.length, out) == file.length);
    assert_int_equal(fclose(out), 0);
    text_free(&file);
    for (int form = 0; form < KERNEL_C_FORMS; form++) {
        if (!kernel_c_compile(flags[form], form, said, sizeof said))
            fail_msg("the compiler says of %s (%s):\n%s", path, flags[form], said);
        snprintf(path, sizeof path, "%s/k%d.so", kernel_c.folder, form);
        kernel_c.library[form] = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        assert_non_null(kernel_c.library[form]);
    }
}

/* Kernel kernel_c.next. */
static whet_status kernel_c_run(int form, const Kernel *kernel, void *const *data, whet_error *err) {
    char name[32];
    int (*call)(void *const *data) = NULL;
    (void)kernel;
    if (!kernel_c.library[form])
        return error_set(err, WHET_ERROR_UNSUPPORTED, "%s", kernel_c.why);
    snprintf(name, sizeof name, "call_%d", kernel_c.next);
    void *at = dlsym(kernel_c.library[form], name);
    memcpy(&call, &at, sizeof at);
    if (!call)
        return error_set(err, WHET_ERROR_UNSUPPORTED, "the C target refuses");
    int result = call(data);
    if (result == 2)
        return error_set(err, WHET_ERROR_DATA, "an index is outside");
    return result ? error_memory(err) : WHET_OK;
}

static void kernel_c_end(void) {
    char path[128];
    for (int form = 0; form < KERNEL_C_FORMS; form++) {
        if (kernel_c.library[form])
            dlclose(kernel_c.library[form]);
        kernel_c.library[form] = NULL;
        snprintf(path, sizeof path, "%s/k%d.so", kernel_c.folder, form);
        remove(path);
    }
    snprintf(path, sizeof path, "%s/k.c", kernel_c.folder);
    remove(path);
    rmdir(kernel_c.folder);
    text_free(&kernel_c.body);
    text_free(&kernel_c.wrappers);
}

#endif
