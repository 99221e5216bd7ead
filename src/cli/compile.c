/* whet compile: a kernel as a C file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { OPTION_NAME = OPTION_OWN };

typedef struct Compile {
    Common common;
    KernelArgs types;
    const char *kernel, *path, *name;
} Compile;

/* To the file, or to standard output for "-" or none. */
static int write_text(const char *path, const char *text) {
    if (!path || strcmp(path, "-") == 0)
        return fputs(text, stdout) < 0 ? STATUS_FAILED : STATUS_FINE;
    FILE *file = fopen(path, "w");
    bool fine = file && fputs(text, file) >= 0;
    if (file && fclose(file) != 0)
        fine = false;
    return fine ? STATUS_FINE : (complain("%s: %s", path, strerror(errno)), STATUS_FAILED);
}

static int compile(const Args *args, const Compile *c) {
    whet_error error = {0};
    whet_kernel *kernel = NULL;
    char *text = NULL;
    if (!is_kernel_text(c->kernel))
        return usage_error(args, "a kernel is wanted, in Whet's notation: '%s' is none", c->kernel);
    int result = kernel_compile(args, c->kernel, &c->common, &c->types, &kernel);
    if (result == STATUS_FINE && whet_kernel_print_c(kernel, c->name, &text, &error) == WHET_OK)
        result = write_text(c->path, text);
    else if (result == STATUS_FINE)
        result = (complain("%s", error.message), STATUS_FAILED);
    whet_string_free(text);
    whet_kernel_free(kernel);
    return result;
}

static int parse(Compile *c, Args *args) {
    const char *value;
    for (int id; (id = args_next(args, &value)) != ARGS_END;) {
        int status = STATUS_FINE;
        if (id == ARGS_OPERAND && c->kernel)
            status = usage_error(args, "one kernel, please: '%s' is too much", value);
        else if (id == ARGS_OPERAND)
            c->kernel = value;
        else if (id == 'o')
            c->path = value;
        else if (id == 'a')
            status = kernel_args_add(&c->types, args, value);
        else if (id == OPTION_NAME)
            c->name = value;
        else if (id == OPTION_TARGET && strcmp(value, "c") != 0 && strcmp(value, "c64") != 0)
            status = usage_error(args, "--target wants c or c64, not '%s'", value);
        else if (!common_option(args, &c->common, id, value))
            status = STATUS_USAGE;
        if (status != STATUS_FINE)
            return status;
    }
    return c->kernel ? STATUS_FINE : usage_error(args, "which kernel?");
}

static int compile_main(Args *args) {
    Compile c = {.name = "kernel", .common.options.target = "c"};
    int status = parse(&c, args);
    if (status == STATUS_FINE)
        status = compile(args, &c);
    kernel_args_free(&c.types);
    common_free(&c.common);
    return status;
}

static const Option options[] = {
    {'o', "output", "FILE.c", "where to; default: standard output"},
    {OPTION_NAME, "name", "NAME", "of the C function; default: kernel"},
    OPTION_ROW_DIM,
    OPTION_ROW_ARG,
    {OPTION_TARGET, "target", "NAME", "c: vectors of 32 bytes (default); c64: of 64 bytes"},
    OPTION_ROW_END,
};

const Command command_compile = {
    .name = "compile",
    .operands = "KERNEL",
    .summary = "write a kernel as a C file that needs nothing but libc and libm",
    .details =
        "The file has one function, whose arguments are the kernel's tensors: those read, in order of first appearance, then\n"
        "the outputs. A comment in it says their shapes and what is returned. It is C17; with GCC and Clang it uses vector\n"
        "extensions, unless PLAIN_C is defined.\n"
        "\n"
        "examples:\n"
        "  whet compile 'c[m, n] = sum(k) a[m, k] * b[k, n]' -d m=64 -d n=64 -d k=64 --name gemm -o gemm.c\n"
        "  whet compile 'y[i] = f32(x[i]) * 0.1' -d i=1000 -a x=u8 | cc -O2 -march=native -ffp-contract=fast -c -x c - -o "
        "scale.o\n",
    .options = options,
    .run = compile_main,
};
