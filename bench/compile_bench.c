/* The time from text to callable code, stage by stage, over kernels like those of models: best and mean of many runs.
 *
 *     compile_bench [-n TIMES] [-t TARGET] [-k PART]     kernels whose name contains PART
 *
 * Stages are run one after another by this program, each on what the one before it made; `whole` is schedule_compile itself,
 * whose steps they are, with what it frees. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel/kernel.h"
#include "schedule/schedule.h"
#include "target/memory.h"
#include "target/x86/x86.h"

#define GEMM "c[m:128, n:3072] = "
#define SUM  "sum(k:768) a[m, k] * b[k, n]"
#define SOFTMAX                                                                                                                  \
    "top[i:512] = max(j:128) x[i, j]\ne[i, j] = exp(x[i, j] - top[i])\ns[i] = sum(j) e[i, j]\ny[i, j] = e[i, j] / s[i]"
#define LAYER_NORM                                                                                                               \
    "mean[i:80] = (sum(j:768) x[i, j]) / 768\nd[i, j] = x[i, j] - mean[i]\nv[i] = (sum(j) d[i, j] * d[i, j]) / 768\n"            \
    "r[i] = 1 / sqrt(v[i] + 1e-5)\ny[i, j] = d[i, j] * r[i] * g[j] + b[j]"

static const struct Case {
    const char *name, *text;
    int64_t image[5]; /* dims of x where it is padded; 0: none */
} cases[] = {
    {"gemm", GEMM SUM, {0}},
    {"gemm, deep", "c[m:128, n:768] = sum(k:3072) a[m, k] * b[k, n]", {0}},
    {"gemm, odd", "c[m:50, n:1000] = sum(k:333) a[m, k] * b[k, n]", {0}},
    {"gemm, one row", "c[m:1, n:3072] = sum(k:768) a[m, k] * b[k, n]", {0}},
    {"gemm, small", "c[m:64, n:64] = sum(k:64) a[m, k] * b[k, n]", {0}},
    {"gemm, batched", "c[h:12, m:128, n:128] = sum(k:64) a[h, m, k] * b[h, n, k]", {0}},
    {"gemm + bias", GEMM SUM " + r[n]", {0}},
    {"gemm + bias, relu", GEMM "max(" SUM " + r[n], 0)", {0}},
    {"gemm + residual", GEMM SUM " + r[n] + z[m, n]", {0}},
    {"gemm + gelu", GEMM "gelu(" SUM " + r[n])", {0}},
    {"gemm + hard swish", GEMM "hard_swish(" SUM " + r[n])", {0}},
    {"gemm + sigmoid", GEMM "sigmoid(" SUM " + r[n])", {0}},
    {"conv 3x3",
     "y[n:1, o:64, h:56, w:56] = max(sum(c:64, i:3, j:3) x[n, c, h + i - 1, w + j - 1]? * f[o, c, i, j] + b[o], 0)",
     {1, 64, 56, 56}},
    {"conv 1x1", "y[n:1, o:256, h:56, w:56] = max(sum(c:64) x[n, c, h, w] * f[o, c] + b[o], 0)", {1, 64, 56, 56}},
    {"conv 7x7, stride 2",
     "y[n:1, o:64, h:112, w:112] = sum(c:3, i:7, j:7) x[n, c, 2*h + i - 3, 2*w + j - 3]? * f[o, c, i, j] + b[o]",
     {1, 3, 224, 224}},
    {"conv 1x1, NHWC", "y[n:1, h:56, w:56, o:256] = max(sum(c:64) x[n, h, w, c] * f[c, o] + b[o], 0)", {1, 56, 56, 64}},
    {"depthwise 3x3",
     "y[n:1, c:96, h:56, w:56] = clip(sum(i:3, j:3) x[n, c, h + i - 1, w + j - 1]? * f[c, i, j] + b[c], 0, 6)",
     {1, 96, 56, 56}},
    {"depthwise 3x3, NHWC",
     "y[n:1, h:56, w:56, c:96] = clip(sum(i:3, j:3) x[n, h + i - 1, w + j - 1, c]? * f[i, j, c] + b[c], 0, 6)",
     {1, 56, 56, 96}},
    {"max pool", "y[n:1, c:64, h:56, w:56] = max(i:3, j:3) x[n, c, 2*h + i - 1, 2*w + j - 1]?(-inf)", {1, 64, 112, 112}},
    {"softmax", SOFTMAX, {0}},
    {"layer norm", LAYER_NORM, {0}},
    {"mean over pixels", "y[n:2, c:64] = (sum(h:784) x[n, c, h]) / 784", {0}},
    {"add", "y[i:100000] = x[i] + z[i]", {0}},
    {"add, relu, broadcast", "y[i:80, j:768] = max(x[i, j] + z[j], 0)", {0}},
    {"gelu", "y[i:100000] = gelu(x[i])", {0}},
    {"tanh, exp, log", "y[i:1000, j:77] = tanh(x[i, j]) * exp(z[j]) + log(abs(x[i, j]) + 1)", {0}},
    {"strided copy", "y[b:1, h:12, s:128, d:64] = x[b, s, h, d]", {0}},
};

typedef enum Stage { PARSE, BIND, TEMPLATE, REWRITE, ADDRESS, SELECT, ALLOCATE, ENCODE, MEMORY, WHOLE, STAGES } Stage;
static const char *const stage_names[] = {"parse",  "bind",     "template", "rewrite", "address",
                                          "select", "allocate", "encode",   "memory",  "whole"};

typedef struct Figures {
    double best[STAGES], sum[STAGES];
    int instructions, functions, runs;
    size_t code_bytes, memory_bytes; /* made; taken from the allocator on the way */
} Figures;

static double lap(double *last) {
    double at = clock_now(), took = at - *last;
    *last = at;
    return took;
}

static Kernel *bind(Arena *arena, const struct Case *x, double *took, whet_error *err) {
    KernelArg arg = {.name = "x", .type = DT_F32, .dims = x->image};
    double last = clock_now();
    while (arg.rank < 5 && x->image[arg.rank])
        arg.rank++;
    Kernel *kernel = kernel_parse(arena, x->text, strlen(x->text), err);
    took[PARSE] = lap(&last);
    if (!kernel || kernel_bind(kernel, &arg, arg.rank ? 1 : 0, NULL, 0, err) != WHET_OK)
        return NULL;
    took[BIND] = lap(&last);
    return kernel;
}

static bool fill(Compiled *c, whet_error *err) {
    static ScheduleTemplate *const templates[] = {schedule_window, schedule_contract, schedule_map, schedule_rows};
    static const ScheduleOptions options = {0};
    for (size_t i = 0; i < COUNT(templates); i++) {
        const char *why = NULL;
        if (templates[i](c, &options, &why, err))
            return true;
        c->function_count = 0;
    }
    return false;
}

/* One function through the passes of the x86 target; false where the first attempt is refused (the door tries smaller tiles). */
static bool lower(const Target *target, const VectorFunction *f, int index, X86Code *code, double *took, whet_error *err) {
    CodeLowered lowered;
    bool native[VECTOR_OP_COUNT];
    double last = clock_now();
    x86_native(target, native);
    f = vector_rewrite(f, native, err);
    VectorHoisted hoisted = {0};
    if (f && target->bytes == 64)
        vector_hoist_constants(f, 14, target->registers[CLASS_VECTOR], &hoisted);
    took[REWRITE] += lap(&last);
    f = f ? vector_lower_addresses(f, false, &hoisted, err) : NULL;
    took[ADDRESS] += lap(&last);
    lowered.f = f;
    if (!f || !x86_select(f, target, &lowered.selection, err))
        return false;
    took[SELECT] += lap(&last);
    if (!code_allocate(target, 0, &lowered, err))
        return false;
    took[ALLOCATE] += lap(&last);
    x86_align(code, 64);
    x86_encode(&lowered, target, index, code);
    took[ENCODE] += lap(&last);
    return !code->failed;
}

static void stages(const Target *target, const Kernel *kernel, Arena *scratch, double *took, Figures *out) {
    Compiled c = {.kernel = kernel, .target = *target};
    whet_error err = {0};
    double last = clock_now();
    arena_init(&c.arena, NULL);
    c.vectors = scratch;
    bool fits = fill(&c, &err);
    took[TEMPLATE] = lap(&last);
    Arena arena;
    arena_init(&arena, NULL);
    X86Code code = {.arena = &arena};
    arena_grow(&arena, &code.data, &code.capacity, 8192, 1);
    for (int i = 0; i < c.function_count && fits; i++) {
        ArenaMark mark = arena_mark(scratch);
        fits = lower(target, c.functions[i], i, &code, took, &err);
        arena_release(scratch, mark);
    }
    if (fits) {
        last = clock_now();
        x86_place_pool(&code);
        void *memory = code_memory_put(target->memory, code.data, code.size, &err);
        code_memory_seal(target->memory, &err);
        took[MEMORY] = lap(&last);
        code_memory_drop(target->memory, memory);
    }
    out->functions = c.function_count;
    out->memory_bytes = c.arena.total + arena.total + scratch->total;
    arena_reset(scratch);
    arena_free(&arena);
    arena_free(&c.arena);
}

static int count_instructions(const Compiled *c) {
    Text text;
    int lines = 0;
    text_init(&text);
    compiled_print_code(c, &text);
    for (const char *at = text.data; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    text_free(&text);
    return lines;
}

static bool once(const struct Case *x, const Target *target, Arena *scratch, Figures *out, whet_error *err) {
    Arena arena;
    double took[STAGES] = {0};
    const char *why = NULL;
    Compiled *compiled = NULL;
    const ScheduleOptions options = {.scratch = scratch};
    arena_init(&arena, NULL);
    Kernel *kernel = bind(&arena, x, took, err);
    double last = clock_now();
    bool fine = kernel && schedule_compile(kernel, target, &options, &compiled, &why, err) == WHET_OK &&
                code_memory_seal(target->memory, err) == WHET_OK;
    took[WHOLE] = lap(&last);
    if (fine) {
        stages(target, kernel, scratch, took, out);
        if (!out->runs) {
            out->instructions = count_instructions(compiled);
            out->code_bytes = target->size(compiled->code);
        }
        for (int s = 0; s < STAGES; s++) {
            out->sum[s] += took[s];
            out->best[s] = !out->runs || took[s] < out->best[s] ? took[s] : out->best[s];
        }
        out->runs++;
    }
    compiled_free(compiled);
    arena_free(&arena);
    return fine;
}

static void print_row(const char *name, const double *seconds, double runs) {
    printf("%-22s", name);
    for (int s = 0; s < STAGES; s++)
        printf(" %8.1f", seconds[s] / runs * 1e6);
}

int main(int argc, char **argv) {
    int times = 200;
    const char *name = NULL, *part = "";
    Target target;
    for (int option; (option = getopt(argc, argv, "n:t:k:")) != -1;) {
        if (option == 'n')
            times = atoi(optarg);
        else if (option == 't')
            name = optarg;
        else if (option == 'k')
            part = optarg;
        else
            return 2;
    }
    if (name ? !target_named(name, &target) : !target_host(~UINT64_C(0), &target)) {
        printf("skipped: there is no such target here\n");
        return 0;
    }
    printf("%s, microseconds, best of %d; template to memory: the first attempt's stages\n%-22s", target.name, times, "kernel");
    for (int s = 0; s < STAGES; s++)
        printf(" %8s", stage_names[s]);
    printf(" %8s %8s %8s %8s\n", "parts", "instr", "bytes", "touched");
    double total[STAGES] = {0}, worst = 0, mean = 0;
    int count = 0;
    Arena scratch;
    arena_init(&scratch, NULL);
    target.memory = code_memory_new(NULL, 64 << 10); /* as the kernels of a model have it */
    if (!target.memory)
        return 1;
    for (size_t i = 0; i < COUNT(cases); i++) {
        Figures f = {0};
        whet_error err = {0};
        if (!strstr(cases[i].name, part))
            continue;
        for (int n = 0; n < times; n++)
            if (!once(&cases[i], &target, &scratch, &f, &err)) {
                printf("%-22s %s\n", cases[i].name, err.message);
                return 1;
            }
        print_row(cases[i].name, f.best, 1);
        printf(" %8d %8d %8zu %7zuK\n", f.functions, f.instructions, f.code_bytes, f.memory_bytes >> 10);
        for (int s = 0; s < STAGES; s++)
            total[s] += f.best[s];
        double all = f.best[PARSE] + f.best[BIND] + f.best[WHOLE];
        worst = all > worst ? all : worst;
        mean += (f.sum[PARSE] + f.sum[BIND] + f.sum[WHOLE]) / f.runs;
        count++;
    }
    arena_free(&scratch);
    code_memory_free(target.memory);
    if (!count)
        return 1;
    print_row("mean", total, count);
    printf("\nmade from text: mean %.1f us (of all runs %.1f us), worst kernel %.1f us\n",
           (total[PARSE] + total[BIND] + total[WHOLE]) / count * 1e6, mean / count * 1e6, worst * 1e6);
    return 0;
}
