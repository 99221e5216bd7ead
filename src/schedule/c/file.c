/* A C file from a kernel: a comment that says what it is, the functions, and the one that is called. */
#include <string.h>

#include "schedule/c/c_kernel.h"

static void put_type(Text *out, const KernelTensor *tensor) {
    text_printf(out, "%s%s *", tensor->role == ROLE_INPUT ? "const " : "", c_type(tensor->type));
}

static void put_signature(const Kernel *kernel, const CNames *names, const char *name, Text *out) {
    text_printf(out, "int %s(", name);
    const char *separator = "";
    for (int pass = 0; pass < 2; pass++)
        for (int t = 0; t < kernel->tensor_count; t++)
            if (kernel->tensors[t].role == (pass ? ROLE_OUTPUT : ROLE_INPUT)) {
                text_put(out, separator);
                put_type(out, &kernel->tensors[t]);
                text_put(out, names->tensor[t]);
                separator = ", ";
            }
    text_put(out, *separator ? ")" : "void)");
}

static void put_tensors(const Kernel *kernel, const CNames *names, Text *out) {
    for (int t = 0; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        if (tensor->role == ROLE_TEMPORARY)
            continue;
        text_printf(out, " *   %-10s %s %s[", names->tensor[t], tensor->role == ROLE_INPUT ? "in " : "out",
                    dtype_name(tensor->type));
        for (int d = 0; d < tensor->rank; d++)
            text_printf(out, "%s%lld", d ? ", " : "", (long long)tensor->dims[d]);
        text_put(out, "]\n");
    }
}

static void put_comment(const Kernel *kernel, const CNames *names, const char *name, const char *how, Text *out) {
    Text text;
    text_init(&text);
    kernel_print(kernel, &text);
    text_printf(out, "/* Made by Whet %s from the kernel\n *\n", whet_version());
    for (const char *line = text.data; *line;) {
        size_t length = strcspn(line, "\n");
        text_printf(out, " *     %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    text_printf(out, " *\n * as %s. It needs libc and libm alone.\n *\n *     ", how);
    put_signature(kernel, names, name, out);
    text_put(out, ";\n *\n");
    put_tensors(kernel, names, out);
    text_put(out, " *\n * Tensors are dense and row-major, and outputs overlap nothing. A bool is a byte, 0 or 1; f16 and bf16 "
                  "are their bits.\n"
                  " * Returns 0: done. 1: out of memory. 2: an index that the kernel computes is outside of its tensor. */\n");
    out->failed = out->failed || text.failed;
    text_free(&text);
}

static void put_unused(const Kernel *kernel, const CNames *names, const char *body, Text *out) {
    for (int t = 0; t < kernel->tensor_count; t++)
        if (kernel->tensors[t].role != ROLE_TEMPORARY && !c_mentions(body, names->tensor[t]))
            text_printf(out, "    (void)%s;\n", names->tensor[t]);
}

/* Vector code with the driver of its template; *how stays NULL if no template takes the kernel, or none that has its driver as
 * text. */
static whet_status put_scheduled(const Compiled *compiled, const CDriver *driver, const char **how, whet_error *err) {
    if (!compiled->print_c)
        return WHET_OK;
    whet_status status = WHET_OK;
    compiled->print_c(compiled, driver);
    for (int i = 0; i < compiled->function_count && !status; i++) {
        Text name; /* one that is called: extents may leave nothing to do for some */
        text_init(&name);
        text_printf(&name, "%s_%s_%d", driver->name, compiled->functions[i]->name, i);
        if (name.failed || c_mentions(driver->body->data, name.data))
            status = c_print_function(compiled->functions[i], driver->name, i, driver->helpers, err);
        text_free(&name);
    }
    *how = "vector code with the loops around it";
    return status;
}

static whet_status put_body(const Target *target, const ScheduleOptions *options, const CDriver *driver, const CNames *names,
                            const char **how, whet_error *err) {
    Compiled *compiled = NULL;
    ScheduleOptions mine = options ? *options : (ScheduleOptions){0};
    mine.exact = mine.whole = true; /* what has a driver as text */
    whet_status status = schedule_compile(driver->kernel, target, &mine, &compiled, NULL, err);
    if (!status)
        status = put_scheduled(compiled, driver, how, err);
    compiled_free(compiled);
    if ((status && status != WHET_ERROR_UNSUPPORTED) || *how)
        return status;
    error_clear(err);
    *how = "plain loops";
    return c_print_plain(driver->kernel, names, driver->body, err);
}

whet_status c_print_kernel(const Kernel *kernel, int bytes, const ScheduleOptions *options, const char *name, Text *comment,
                           Text *body, whet_error *err) {
    Arena arena;
    Text driver;
    Target target;
    CNames names;
    const char *how = NULL;
    if (!target_c(bytes, &target))
        return error_set(err, WHET_ERROR_ARGUMENT, "C with vectors of %d bytes; wanted: 32 or 64", bytes);
    arena_init(&arena, NULL);
    text_init(&driver);
    whet_status status = c_names(kernel, &arena, &names) ? WHET_OK : error_memory(err);
    if (!status) {
        CDriver d = {.kernel = kernel, .name = name, .tensor = names.tensor, .helpers = body, .body = &driver};
        status = put_body(&target, options, &d, &names, &how, err);
    }
    if (!status) {
        put_signature(kernel, &names, name, body);
        text_put(body, " {\n");
        put_unused(kernel, &names, driver.data, body);
        text_printf(body, "%s}\n", driver.data);
        put_comment(kernel, &names, name, how, comment);
        status = driver.failed || body->failed || comment->failed ? error_memory(err) : WHET_OK;
    }
    text_free(&driver);
    arena_free(&arena);
    return status;
}

whet_status schedule_print_c(const Kernel *kernel, int bytes, const ScheduleOptions *options, const char *name, Text *out,
                             whet_error *err) {
    Text body;
    whet_error mine;
    err = err ? err : &mine;
    error_clear(err);
    text_init(&body);
    whet_status status = c_print_kernel(kernel, bytes, options, name, out, &body, err);
    if (!status)
        c_print_file(out, body.data, bytes);
    if (!status && out->failed)
        status = error_memory(err);
    text_free(&body);
    return status;
}
