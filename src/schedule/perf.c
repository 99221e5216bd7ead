/* Names for a profiler: `perf report` reads /tmp/perf-PID.map, a line a function, "address size name" in hexadecimal. Lines are
 * added in one write each kernel, so that threads do not mix theirs. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "schedule/schedule.h"

enum { SHOWN = 120 /* characters of the kernel */ };

/* The kernel's first characters on one line: what it computes; then the tensors. */
static void put_kernel(const Kernel *kernel, Text *out) {
    Text whole;
    text_init(&whole);
    kernel_print(kernel, &whole);
    size_t from = 0, shown = 0;
    while (strncmp(whole.data + from, "in ", 3) == 0 || strncmp(whole.data + from, "out ", 4) == 0)
        from += strcspn(whole.data + from, "\n") + 1;
    for (size_t i = 0; i < whole.length && shown < SHOWN; i++, shown++) {
        char c = whole.data[(from + i) % whole.length];
        text_char(out, c == '\n' ? ';' : c);
    }
    if (shown < whole.length)
        text_put(out, "...");
    out->failed = out->failed || whole.failed;
    text_free(&whole);
}

static size_t size_of(const Compiled *c, int function) {
    if (c->made)
        return c->target.size(made_code(c->made[function]));
    uintptr_t at = (uintptr_t)schedule_entry(c, function), end = (uintptr_t)schedule_entry(c, 0) + c->target.size(c->code);
    return (function + 1 < c->function_count ? (uintptr_t)schedule_entry(c, function + 1) : end) - at;
}

static void put_lines(const Compiled *c, Text *out) {
    for (int i = 0; i < c->function_count; i++) {
        text_printf(out, "%llx %zx whet %s: ", (unsigned long long)(uintptr_t)schedule_entry(c, i), size_of(c, i),
                    c->functions[i]->name);
        put_kernel(c->kernel, out);
        text_char(out, '\n');
    }
}

whet_status schedule_perf_map(const Compiled *c, whet_error *err) {
    Text lines, path;
    if (!c->target.runs_here || !c->function_count)
        return WHET_OK;
    text_init(&lines);
    text_init(&path);
    put_lines(c, &lines);
    text_printf(&path, "/tmp/perf-%lld.map", (long long)getpid());
    whet_status status = lines.failed || path.failed ? error_memory(err) : WHET_OK;
    if (!status) {
        int file = open(path.data, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0644);
        bool fine = file >= 0 && write(file, lines.data, lines.length) == (ssize_t)lines.length;
        if (!fine)
            status = error_set(err, WHET_ERROR_FILE, "cannot write the names of code to '%s': %s", path.data, strerror(errno));
        if (file >= 0)
            close(file);
    }
    text_free(&lines);
    text_free(&path);
    return status;
}
