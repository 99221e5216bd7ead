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

/* Vector code with the driver of its template; false: no template takes it, or none that has its driver as text. */
static whet_status put_scheduled(const Kernel *kernel, const Target *target, const ScheduleOptions *options, const CNames *names,
                                 Text *functions, Text *driver, const char **how, whet_error *err) {
    Compiled *compiled = NULL;
    *how = NULL;
    whet_status status = schedule_compile(kernel, target, options, &compiled, NULL, err);
    if (status == WHET_ERROR_UNSUPPORTED) {
        error_clear(err);
        return WHET_OK;
    }
    if (status)
        return status;
    if (compiled->print_c) {
        CDriver d = {.kernel = kernel, .tensor = names->tensor, .helpers = functions, .body = driver};
        compiled_print_code(compiled, functions);
        compiled->print_c(compiled, &d);
        *how = "vector code with the loops around it";
    }
    compiled_free(compiled);
    return WHET_OK;
}

whet_status schedule_print_c(const Kernel *kernel, int bytes, const ScheduleOptions *options, const char *name, Text *out,
                             whet_error *err) {
    Arena arena;
    Text functions, driver, body;
    Target target;
    CNames names;
    whet_error mine;
    const char *how = NULL;
    err = err ? err : &mine;
    error_clear(err);
    arena_init(&arena, NULL);
    text_init(&functions);
    text_init(&driver);
    text_init(&body);
    whet_status status = WHET_OK;
    if (!target_c(bytes, &target))
        status = error_set(err, WHET_ERROR_ARGUMENT, "C with vectors of %d bytes; wanted: 32 or 64", bytes);
    else if (!c_names(kernel, &arena, &names))
        status = error_memory(err);
    else
        status = put_scheduled(kernel, &target, options, &names, &functions, &driver, &how, err);
    if (!status && !how) {
        text_clear(&functions);
        text_clear(&driver);
        status = c_print_plain(kernel, &names, &driver, err);
        how = "plain loops";
    }
    if (!status) {
        text_put(&body, functions.data);
        put_signature(kernel, &names, name, &body);
        text_put(&body, " {\n");
        put_unused(kernel, &names, driver.data, &body);
        text_put(&body, driver.data);
        text_put(&body, "}\n");
        put_comment(kernel, &names, name, how, out);
        c_print_file(out, body.data, bytes);
        if (functions.failed || driver.failed || body.failed || out->failed)
            status = error_memory(err);
    }
    text_free(&functions);
    text_free(&driver);
    text_free(&body);
    arena_free(&arena);
    return status;
}
