/* Kernels without a model, as the public header shows them. */
#include <stdlib.h>
#include <string.h>

#include "run/run.h"

struct whet_kernel {
    Arena arena;
    Kernel *kernel;
    Executable executable;
    Threads *threads;
    whet_options options;
    ScheduleOptions schedule;
    int args[KERNEL_MAX_TENSORS]; /* tensors of the kernel that are arguments: inputs, then outputs */
    int arg_count;
    const void *constant[KERNEL_MAX_TENSORS]; /* by tensor: data given for good */
};

static whet_status no_tensor(const Kernel *kernel, const char *name, whet_error *err) {
    Text has;
    text_init(&has);
    for (int t = 0; t < kernel->tensor_count; t++)
        text_printf(&has, "%s%s", t ? ", " : "", kernel->tensors[t].name);
    error_set(err, WHET_ERROR_ARGUMENT, "the kernel has no tensor '%s'; it has: %s", name, has.data);
    text_free(&has);
    return WHET_ERROR_ARGUMENT;
}

/* Dims give extents by name, args types and perhaps shapes: what kernel_bind takes. */
static whet_status bind(whet_kernel *k, const whet_dim *dims, int dim_count, const whet_kernel_arg *args, int arg_count,
                        whet_error *err) {
    KernelConst *consts = ARENA_ARRAY(&k->arena, KernelConst, dim_count);
    KernelArg *bound = ARENA_ARRAY(&k->arena, KernelArg, arg_count);
    if (!consts || !bound)
        return error_memory(err);
    for (int i = 0; i < dim_count; i++) {
        if (dims[i].extent < 0)
            return error_set(err, WHET_ERROR_ARGUMENT, "axis '%s' has extent %lld; wanted: 0 or more", dims[i].name,
                             (long long)dims[i].extent);
        consts[i] = (KernelConst){.name = dims[i].name, .number = (double)dims[i].extent, .integer = dims[i].extent};
    }
    for (int i = 0; i < arg_count; i++) {
        int tensor = kernel_find_tensor(k->kernel, args[i].name);
        if (tensor < 0)
            return no_tensor(k->kernel, args[i].name, err);
        if (args[i].rank > WHET_MAX_RANK)
            return error_set(err, WHET_ERROR_ARGUMENT, "tensor '%s' has rank %d; wanted: at most %d", args[i].name, args[i].rank,
                             WHET_MAX_RANK);
        if (args[i].type != WHET_NONE && !dtype_known((int64_t)args[i].type))
            return error_set(err, WHET_ERROR_ARGUMENT, "tensor '%s' has the unknown type %d", args[i].name, (int)args[i].type);
        if (args[i].constant && k->kernel->tensors[tensor].role != ROLE_INPUT)
            return error_set(err, WHET_ERROR_ARGUMENT, "tensor '%s' is written and cannot be constant", args[i].name);
        k->constant[tensor] = args[i].constant;
        int rank = args[i].rank;
        for (int d = 0; d < args[i].rank; d++)
            if (args[i].dims[d] < 0)
                rank = -1;
        bound[i] = (KernelArg){.name = args[i].name, .type = (DType)args[i].type, .rank = rank, .dims = args[i].dims};
    }
    return kernel_bind(k->kernel, bound, arg_count, consts, dim_count, err);
}

/* Knobs are wishes that are granted or refused, not hints. */
static whet_status compile(whet_kernel *k, const Target *target, whet_error *err) {
    const char *text = k->options.schedule;
    ScheduleOptions *options = &k->schedule;
    ScheduleKnobs knobs = {0};
    whet_status status = text ? schedule_parse_knobs(text, &knobs, err) : WHET_OK;
    *options = (ScheduleOptions){.allocator = k->options.allocator,
                                 .constant = k->constant,
                                 .mr = knobs.mr,
                                 .nv = knobs.nv,
                                 .kc = knobs.kc,
                                 .mc = knobs.mc,
                                 .unroll = knobs.unroll,
                                 .winograd = knobs.winograd,
                                 .exact = k->options.exact,
                                 .perf_map = k->options.perf_map};
    if (!status)
        status = executable_init(&k->executable, k->kernel, target, options, err);
    if (!status && text && !k->executable.compiled)
        return error_set(err, WHET_ERROR_ARGUMENT, "schedule '%s': %s", text, k->executable.why);
    return status;
}

whet_status whet_kernel_compile(const char *text, const whet_dim *dims, int dim_count, const whet_kernel_arg *args, int arg_count,
                                const whet_options *options, whet_kernel **out, whet_error *err) {
    whet_error local;
    err = err ? err : &local;
    error_clear(err);
    *out = NULL;
    whet_kernel *k = calloc(1, sizeof *k);
    if (!k)
        return error_memory(err);
    k->options = options ? *options : (whet_options){0};
    arena_init(&k->arena, k->options.allocator);
    k->kernel = kernel_parse(&k->arena, text, strlen(text), err);
    whet_status status = k->kernel ? bind(k, dims, dim_count, args, arg_count, err) : err->status;
    Target target;
    bool found = false;
    if (!status)
        status = executable_target(&k->options, false, &target, &found, err);
    if (!status)
        status = compile(k, found ? &target : NULL, err);
    if (!status) {
        k->threads = threads_new(k->options.threads, err);
        status = k->threads ? WHET_OK : err->status;
    }
    if (status) {
        whet_kernel_free(k);
        return status;
    }
    for (int pass = 0; pass < 2; pass++)
        for (int t = 0; t < k->kernel->tensor_count; t++)
            if (k->kernel->tensors[t].role == (pass ? ROLE_OUTPUT : ROLE_INPUT))
                k->args[k->arg_count++] = t;
    *out = k;
    return WHET_OK;
}

void whet_kernel_free(whet_kernel *kernel) {
    if (!kernel)
        return;
    threads_free(kernel->threads);
    executable_free(&kernel->executable);
    arena_free(&kernel->arena);
    free(kernel);
}

int whet_kernel_arg_count(const whet_kernel *kernel) {
    return kernel->arg_count;
}

whet_status whet_kernel_arg_info(const whet_kernel *kernel, int index, whet_kernel_arg *out) {
    if (index < 0 || index >= kernel->arg_count)
        return WHET_ERROR_ARGUMENT;
    const KernelTensor *tensor = &kernel->kernel->tensors[kernel->args[index]];
    *out = (whet_kernel_arg){.name = tensor->name,
                             .type = (whet_type)tensor->type,
                             .rank = tensor->rank,
                             .is_output = tensor->role == ROLE_OUTPUT,
                             .constant = kernel->constant[kernel->args[index]]};
    memcpy(out->dims, tensor->dims, (size_t)tensor->rank * sizeof *tensor->dims);
    return WHET_OK;
}

whet_status whet_kernel_run(const whet_kernel *kernel, void *const *data, whet_error *err) {
    error_clear(err);
    const Compiled *compiled = kernel->executable.compiled;
    if (compiled && !compiled->target.runs_here)
        return error_set(err, WHET_ERROR_ARGUMENT, "the kernel is compiled for '%s', which does not run here",
                         compiled->target.name);
    void *tensors[KERNEL_MAX_TENSORS] = {0};
    for (int i = 0; i < kernel->arg_count; i++) {
        const KernelTensor *tensor = &kernel->kernel->tensors[kernel->args[i]];
        const void *constant = kernel->constant[kernel->args[i]];
        if (!constant && !data[i] && tensor->count)
            return error_set(err, WHET_ERROR_ARGUMENT, "argument %d ('%s') is NULL", i, tensor->name);
        tensors[kernel->args[i]] = constant ? (void *)constant : data[i]; /* inputs are never written */
    }
    EvalOptions options = {.parallel = threads_parallel(kernel->threads),
                           .deadline = kernel->options.time_limit > 0 ? clock_now() + kernel->options.time_limit : 0,
                           .allocator = kernel->options.allocator};
    return executable_run(&kernel->executable, tensors, &options, err);
}

static bool is_c_name(const char *name) {
    static const char digits[] = "0123456789", letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    static const char *const keywords[] = {"auto",    "break",  "case",     "char",   "const",    "continue", "default",
                                           "do",      "double", "else",     "enum",   "extern",   "float",    "for",
                                           "goto",    "if",     "inline",   "int",    "long",     "register", "restrict",
                                           "return",  "short",  "signed",   "sizeof", "static",   "struct",   "switch",
                                           "typedef", "union",  "unsigned", "void",   "volatile", "while"};
    for (size_t i = 0; i < COUNT(keywords); i++)
        if (strcmp(name, keywords[i]) == 0)
            return false;
    return *name && !strchr(digits, *name) && !name[strspn(name, letters)];
}

whet_status whet_kernel_print_c(const whet_kernel *kernel, const char *name, char **out, whet_error *err) {
    error_clear(err);
    *out = NULL;
    if (!is_c_name(name))
        return error_set(err, WHET_ERROR_ARGUMENT,
                         "'%s' cannot be the name of a C function; wanted: letters, digits and _, no digit first, no keyword",
                         name);
    const char *target = kernel->options.target;
    int bytes = target && strcmp(target, "c64") == 0 ? 64 : 32;
    Text text;
    text_init(&text);
    whet_status status = schedule_print_c(kernel->kernel, bytes, &kernel->schedule, name, &text, err);
    if (status)
        text_free(&text);
    else if (!(*out = text_steal(&text)))
        status = error_memory(err);
    return status;
}

double whet_kernel_flops(const whet_kernel *kernel) {
    return kernel->kernel->flops;
}

whet_status whet_kernel_show(const whet_kernel *kernel, const char *stage, char **out, whet_error *err) {
    error_clear(err);
    *out = NULL;
    static const char *const stages[] = {"kernel", "schedule", "vector", "asm"};
    if (strcmp(stage, "c") == 0)
        return whet_kernel_print_c(kernel, "kernel", out, err);
    size_t s = 0;
    while (s < COUNT(stages) && strcmp(stage, stages[s]) != 0)
        s++;
    if (s == COUNT(stages))
        return error_set(err, WHET_ERROR_ARGUMENT, "stage '%s'; wanted: kernel, schedule, vector, asm or c", stage);
    const Compiled *compiled = kernel->executable.compiled;
    if (s > 0 && !compiled)
        return error_set(err, WHET_ERROR_UNSUPPORTED, "the evaluator runs this kernel: %s", kernel->executable.why);
    Text text;
    text_init(&text);
    switch (s) {
    case 0: kernel_print(kernel->kernel, &text); break;
    case 1: compiled_print_schedule(compiled, &text); break;
    case 2: compiled_print_vector(compiled, &text); break;
    default: compiled_print_code(compiled, &text); break;
    }
    *out = text_steal(&text);
    return *out ? WHET_OK : error_memory(err);
}
