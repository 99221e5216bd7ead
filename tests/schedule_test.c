/* Schedules against the evaluator: the same kernel, shapes and data through machine code (AVX2 and AVX-512) and through the
 * interpreter, with the tensor under test surrounded by sentinels. A failure prints the kernel, the extents and the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffers.h"
#include "here.h"

enum { MAX_NAMES = 12 };

static int64_t pick(const int64_t *from, size_t count) {
    return from[next() % count];
}

/* A kernel, the tensors whose shapes must be said, and the extents that are drawn. */
typedef struct Sample {
    const char *template; /* that must take it */
    const char *text;
    struct {
        const char *name;
        int rank;
        const char *dims[5]; /* names of extents, or numbers; "h+2" adds */
    } shapes[5];
    const char *extents[MAX_NAMES]; /* names to draw */
    const char *constants;          /* tensors that may be given as constants, comma-separated */
} Sample;

static const Sample samples[] = {
    {"contract", "c[m, n] = sum(k) a[m, k] * b[k, n]", {{"a", 2, {"m", "k"}}, {"b", 2, {"k", "n"}}}, {"m", "n", "k"}, "b"},
    {"contract",
     "c[m, n] = max(sum(k) a[m, k] * b[n, k] + bias[n], 0)",
     {{"a", 2, {"m", "k"}}, {"b", 2, {"n", "k"}}, {"bias", 1, {"n"}}},
     {"m", "n", "k"},
     "b"},
    {"contract",
     "c[m, n] = clip(2 * (sum(k) a[m, k] * b[k, n]) + r[m, n] - d[m], -1.5, 3)",
     {{"a", 2, {"m", "k"}}, {"b", 2, {"k", "n"}}, {"r", 2, {"m", "n"}}, {"d", 1, {"m"}}},
     {"m", "n", "k"},
     "b"},
    {"contract",
     "c[m, n] = gelu(sum(k) a[m, k] * b[k, n] + bias[n]) + r[m, n] * d[m]",
     {{"a", 2, {"m", "k"}}, {"b", 2, {"k", "n"}}, {"bias", 1, {"n"}}, {"r", 2, {"m", "n"}}, {"d", 1, {"m"}}},
     {"m", "n", "k"},
     "b"},
    {"contract",
     "c[m, n] = hard_swish(sum(k) a[k, m] * b[k, n])",
     {{"a", 2, {"k", "m"}}, {"b", 2, {"k", "n"}}},
     {"m", "n", "k"},
     ""},
    {"contract",
     "c[b, h, s, d] = sum(t) p[b, h, s, t] * v[b, t, h, d]",
     {{"p", 4, {"b", "h", "s", "t"}}, {"v", 4, {"b", "t", "h", "d"}}},
     {"b", "h", "s", "t", "d"},
     ""},
    {"contract",
     "c[b, h, s, t] = (sum(d) q[b, s, h, d] * v[b, t, h, d]) * 0.125",
     {{"q", 4, {"b", "s", "h", "d"}}, {"v", 4, {"b", "t", "h", "d"}}},
     {"b", "h", "s", "t", "d"},
     ""},
    {"contract",
     "y[n, o, h, w] = sum(c, i:3, j:3) x[n, c, h + i - 1, w + j - 1]? * f[o, c, i, j] + b[o]",
     {{"x", 4, {"n", "c", "h", "w"}}, {"f", 4, {"o", "c", "3", "3"}}, {"b", 1, {"o"}}},
     {"n", "o", "c", "h", "w"},
     "f"},
    {"contract",
     "y[n, o, h, w] = max(sum(c, i:3, j:5) x[n, c, 2 * h + i - 1, 2 * w + 2 * j - 3]? * f[o, c, i, j] + b[o] + r[n, o, h, w], 0)",
     {{"x", 4, {"n", "c", "20", "23"}}, {"f", 4, {"o", "c", "3", "5"}}, {"b", 1, {"o"}}, {"r", 4, {"n", "o", "10", "9"}}},
     {"n", "o", "c"},
     "f"},
    {"contract",
     "y[n, o, h, w] = sum(c) x[n, c, h, w] * f[o, c] + b[o]",
     {{"x", 4, {"n", "c", "h", "w"}}, {"f", 2, {"o", "c"}}, {"b", 1, {"o"}}},
     {"n", "o", "c", "h", "w"},
     "f"},
    {"contract",
     "y[n, 3*g:2 + m:3, h, w] = sum(c:2, i:3, j:3) x[n, 2*g + c, h + i - 1, w + j - 1]? * f[3*g + m, c, i, j]",
     {{"x", 4, {"n", "4", "h", "w"}}, {"f", 4, {"6", "2", "3", "3"}}},
     {"n", "h", "w"},
     "f"},
    {"contract",
     "y[n, h, w, o] = max(sum(c, i:3, j:3) x[n, h + i - 1, w + j - 1, c]? * f[o, c, i, j] + b[o] + r[n, h, w, o], 0)",
     {{"x", 4, {"n", "h", "w", "c"}}, {"f", 4, {"o", "c", "3", "3"}}, {"b", 1, {"o"}}, {"r", 4, {"n", "h", "w", "o"}}},
     {"n", "h", "w", "c", "o"},
     "f"},
    {"contract",
     "y[n, h:10, w:9, o] = sum(i:3, j:5, c) x[n, 2 * h + i - 1, 2 * w + 2 * j - 3, c]? * f[i, j, c, o]",
     {{"x", 4, {"n", "20", "23", "c"}}, {"f", 4, {"3", "5", "c", "o"}}},
     {"n", "o", "c"},
     "f"},
    {"contract",
     "y[n, h:12, w:11, o] = sum(c:3, i:7, j:7) x[n, c, 2 * h + i - 3, 2 * w + j - 3]? * f[o, c, i, j] + b[o]",
     {{"x", 4, {"n", "3", "24", "23"}}, {"f", 4, {"o", "3", "7", "7"}}, {"b", 1, {"o"}}},
     {"n", "o", "k"},
     "f"},
    {"contract",
     "y[n, h, w, 3*g:2 + m:3] = sum(c:2, i:3, j:3) x[n, h + i - 1, w + 2 * j - 2, 2*g + c]? * f[3*g + m, c, i, j]",
     {{"x", 4, {"n", "h", "w", "4"}}, {"f", 4, {"6", "2", "3", "3"}}},
     {"n", "h", "w", "k"},
     "f"},
    {"contract",
     "y[n, d, h, w, o] = sum(c:3, l:3, i:3, j:2) x[n, d + l - 1, h + i - 1, w + j - 1, c]? * f[l, i, j, c, o]",
     {{"x", 5, {"n", "d", "h", "w", "3"}}, {"f", 5, {"3", "3", "2", "3", "o"}}},
     {"n", "d", "h", "w", "o"},
     "f"},
    {"contract",
     "y[n, w, o] = clip(sum(c, j:4) x[n, w + 3 * j - 5, c]?(1.5) * f[o, c, j] + b[o], -3, 4)",
     {{"x", 3, {"n", "w", "c"}}, {"f", 3, {"o", "c", "4"}}, {"b", 1, {"o"}}},
     {"n", "w", "o", "c"},
     "f"},
    {"contract",
     "y[n, w, o] = sum(c, j:5) x[n, w + j - 2, c]? * f[o, c, j]",
     {{"x", 3, {"n", "w", "c"}}, {"f", 3, {"o", "c", "5"}}},
     {"n", "w", "o", "c"},
     "f"},
    {"contract",
     "y[n, h, 2 * w + 1, o] = sum(c, i:2, j:2) x[n, h - i + 1, w - 2 * j + 1, c]? * f[c, o, 1 + 2 * i, 2 * j] + b[o]",
     {{"x", 4, {"n", "h", "w", "c"}}, {"f", 4, {"c", "o", "4", "3"}}, {"b", 1, {"o"}}},
     {"n", "h", "w", "c", "o"},
     "f"},
    {"contract",
     "y[n, h:9, w, o] = sum(c, i:2, j:2) x[n, h + w + i - 3, w + h + j - 1, c]? * f[o, c, i, j]",
     {{"x", 4, {"n", "10", "w", "c"}}, {"f", 4, {"o", "c", "2", "2"}}},
     {"n", "w", "c", "o"},
     "f"},
    {"parts",
     "y[n, h, 2*w:6, o] = max(sum(c, j:2) x[n, h, w - j + 1, c]? * f[c, o, 2*j] + b[o], 0)\n"
     "y[n, h, 2*w:6 + 1, o] = max(sum(c, j:1) x[n, h, w - j, c]? * f[c, o, 2*j + 1] + b[o], 0)",
     {{"x", 4, {"n", "h", "w", "c"}}, {"f", 3, {"c", "o", "3"}}, {"b", 1, {"o"}}},
     {"n", "h", "c", "o"},
     "f"},
    {"parts",
     "y[n, 3*w] = sum(c) x[n, w, c] * f[c]\ny[n, 3*w + 2] = sum(c) x[n, w, c] * f[c] + 1",
     {{"x", 3, {"n", "w", "c"}}, {"f", 1, {"c"}}},
     {"n", "w", "c"},
     "f"},
    {"parts",
     "y[i, j:5] = a[i, j]\ny[i, j:7 + 5] = tanh(b[i, j])\nz[i] = sum(j) abs(a[i, j])",
     {{"a", 2, {"m", "5"}}, {"b", 2, {"m", "7"}}},
     {"m"},
     ""},
    {"map", "y[i] = exp(-abs(x[i])) + 1", {{"x", 1, {"m"}}}, {"m"}, ""},
    {"map", "y[i, j] = gelu(x[i, j] + b[j]) * s[i]", {{"x", 2, {"m", "n"}}, {"b", 1, {"n"}}, {"s", 1, {"m"}}}, {"m", "n"}, ""},
    {"map",
     "y[i, j, k] = select(x[i, k] > z[j, k], tanh(x[i, k]), log1p(abs(z[j, k])))",
     {{"x", 2, {"m", "k"}}, {"z", 2, {"n", "k"}}},
     {"m", "n", "k"},
     ""},
    {"map",
     "y[i] = sigmoid(x[i]) * max(x[i], z[i]) + sqrt(abs(x[i])) / (1 + pow(floor(z[i]), 2))",
     {{"x", 1, {"m"}}, {"z", 1, {"m"}}},
     {"m"},
     ""},
    {"map", "y[c, a, b] = x[a, b, 0] - 2 * z[c, b]", {{"x", 3, {"m", "n", "1"}}, {"z", 2, {"k", "n"}}}, {"m", "n", "k"}, ""},
    {"map", "y[i] = select(!(x[i] < z[i]) & (x[i] != 0 | z[i] > 1), x[i], -z[i])", {{"x", 1, {"m"}}, {"z", 1, {"m"}}}, {"m"}, ""},
    {"map", "y[i:29997] = x[i + 3] * 2", {{"x", 1, {"30000"}}}, {0}, ""},
    {"rows",
     "top[i] = max(j) x[i, j]\ne[i, j] = exp(x[i, j] - top[i])\ntotal[i] = sum(j) e[i, j]\ny[i, j] = e[i, j] / total[i]",
     {{"x", 2, {"m", "n"}}},
     {"m", "n"},
     ""},
    {"rows",
     "top[i, h, 0] = max(j) x[i, h, j]\ne[i, h, j] = exp(x[i, h, j] - top[i, h, 0])\ny[i, h, j] = e[i, h, j] / (sum(k) e[i, h, "
     "k])",
     {{"x", 3, {"m", "n", "k"}}},
     {"m", "n", "k"},
     ""},
    {"rows",
     "mean[i, j, 0] = (sum(k) x[i, j, k]) / 7\nv[i, j, 0] = (sum(k) square(x[i, j, k] - mean[i, j, 0])) / 7\n"
     "r[i, j, 0] = 1 / sqrt(v[i, j, 0] + 1e-5)\ny[i, j, k] = (x[i, j, k] - mean[i, j, 0]) * r[i, j, 0] * s[k] + b[k]",
     {{"x", 3, {"m", "n", "p"}}, {"s", 1, {"p"}}, {"b", 1, {"p"}}},
     {"m", "n", "p"},
     ""},
    {"rows",
     "f[c] = s[c] / sqrt(abs(v[c]) + 0.1)\ny[n, c, h, w] = x[n, c, h, w] * f[c] + b[c]",
     {{"x", 4, {"m", "k", "h", "w"}}, {"s", 1, {"k"}}, {"v", 1, {"k"}}, {"b", 1, {"k"}}},
     {"m", "k", "h", "w"},
     ""},
    {"rows", "y[i] = sum(j) abs(x[i, j])", {{"x", 2, {"m", "n"}}}, {"m", "n"}, ""},
    {"rows", "y[n, c, 0, 0] = (sum(h, w) x[n, c, h, w]) / 9", {{"x", 4, {"m", "k", "h", "w"}}}, {"m", "k", "h", "w"}, ""},
    {"rows", "t[i] = min(j) x[i, j]\ny[i] = t[i] + log(sum(j) exp(t[i] - x[i, j]))", {{"x", 2, {"m", "n"}}}, {"m", "n"}, ""},
    {"window",
     "y[n, c, h:19, w] = max(sum(i:3, j:3) x[n, c, h + i - 1, w + j - 1]? * f[c, 0, i, j] + b[c], 0)",
     {{"x", 4, {"n", "c", "19", "w"}}, {"f", 4, {"c", "1", "3", "3"}}, {"b", 1, {"c"}}},
     {"n", "c", "w"},
     ""},
    {"window",
     "y[n, c, h:10, w:17] = clip(sum(i:5, j:3) x[n, c, 2 * h + i - 2, 2 * w + 2 * j - 3]? * f[c, i, j], 0, 6)",
     {{"x", 4, {"n", "c", "20", "33"}}, {"f", 3, {"c", "5", "3"}}},
     {"n", "c"},
     ""},
    {"window",
     "y[n, c, h, w:101] = max(i:3, j:2) x[n, c, 2 * h + i - 1, 3 * w + j - 1]?(-inf)",
     {{"x", 4, {"n", "c", "21", "304"}}},
     {"n", "c", "h"},
     ""},
    {"window",
     "y[n, c, h:16, w:17] = (sum(i:2, j:2) x[n, c, 2 * h + i, 2 * w + j]) / 4",
     {{"x", 4, {"n", "c", "34", "34"}}},
     {"n", "c"},
     ""},
    {"window",
     "y[n, c, h:18, w:22] = sqrt(sum(i:2, j:2) x[n, c, h + i, w + j]? * x[n, c, h + i, w + j]?)",
     {{"x", 4, {"n", "c", "18", "22"}}},
     {"n", "c"},
     ""},
    {"window",
     "y[n, c, h:18, w:22] = sum(i:3, j:3) abs(x[n, c, h + i - 1, w + j - 1]? + 1)",
     {{"x", 4, {"n", "c", "18", "22"}}},
     {"n", "c"},
     ""},
    {"rows", "y[i] = sqrt(sum(j) x[i, j] * x[i, j])", {{"x", 2, {"m", "n"}}}, {"m", "n"}, ""},
    {"window", "y[c, w:33] = sum(j:4) x[c, w + j - 2]? * f[c, j]", {{"x", 2, {"c", "33"}}, {"f", 2, {"c", "4"}}}, {"c"}, ""},
    {"contract", "y[i, 5 + n] = sum(k) a[i, k] * b[k, n]", {{"a", 2, {"m", "k"}}, {"b", 2, {"k", "n"}}}, {"m", "n", "k"}, "b"},
};

static const int64_t extents[] = {1, 1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 48, 64, 67, 100};
static const int64_t small_extents[] = {1, 2, 3, 4, 5, 7, 8, 9, 14, 16, 17};

static void fill(const KernelTensor *tensor, void *data, const void *context) {
    (void)context;
    data_fill_small(tensor, data, 512);
}

typedef struct Drawn {
    int64_t value[MAX_NAMES];
} Drawn;

static int64_t extent_of(const Sample *s, const Drawn *d, const char *name) {
    for (int i = 0; i < MAX_NAMES && s->extents[i]; i++)
        if (!strcmp(s->extents[i], name))
            return d->value[i];
    return atoll(name);
}

static Kernel *bind(Arena *arena, const Sample *s, const Drawn *d, whet_error *err) {
    Kernel *kernel = kernel_parse(arena, s->text, strlen(s->text), err);
    KernelArg args[5];
    KernelConst consts[MAX_NAMES];
    int64_t dims[5][5];
    int arg_count = 0, const_count = 0;
    for (; arg_count < 5 && s->shapes[arg_count].name; arg_count++) {
        args[arg_count] = (KernelArg){s->shapes[arg_count].name, DT_F32, s->shapes[arg_count].rank, dims[arg_count]};
        for (int i = 0; i < s->shapes[arg_count].rank; i++)
            dims[arg_count][i] = extent_of(s, d, s->shapes[arg_count].dims[i]);
    }
    for (; const_count < MAX_NAMES && s->extents[const_count]; const_count++)
        consts[const_count] = (KernelConst){.name = s->extents[const_count], .integer = d->value[const_count]};
    if (!kernel || kernel_bind(kernel, args, arg_count, consts, const_count, err) != WHET_OK)
        return NULL;
    return kernel;
}

static void report(const Sample *s, const Drawn *d, const char *target, const char *what) {
    print_error("%s\n", s->text);
    for (int i = 0; i < MAX_NAMES && s->extents[i]; i++)
        print_error("%s=%lld ", s->extents[i], (long long)d->value[i]);
    print_error("\non %s: %s\n", target, what);
}

/* |got - wanted| within what rounding a sum of this length may do. */
static bool close_enough(const KernelTensor *tensor, const void *got, const void *wanted, double depth) {
    return data_close(tensor, got, wanted, 1.2e-7 * (depth + 8) * (data_scale(tensor, wanted) + 4 * sqrt(depth)));
}

static void check_on(const Sample *s, const Drawn *d, const Kernel *kernel, const Target *target, const char *label) {
    Buffers got, wanted;
    whet_error err;
    const char *why = NULL;
    const void *constant[KERNEL_MAX_TENSORS] = {0};
    uint64_t seed = state_of_random;
    buffers_new(kernel, fill, NULL, &wanted);
    state_of_random = seed; /* the same inputs again */
    buffers_new(kernel, fill, NULL, &got);
    for (int t = 0; t < kernel->input_count; t++)
        if (next() % 2 && strcmp(s->constants, kernel->tensors[t].name) == 0)
            constant[t] = got.data[t];
    ScheduleOptions options = {.constant = constant, .seed = next() % 3 ? 0 : next()};
    if (next() % 3 == 0)
        options.kc = 1 + next() % 40;
    if (next() % 3 == 0)
        options.unroll = 1 + (int)(next() % 5);
    if (next() % 3 == 0) {
        options.mr = 1 + (int)(next() % 4);
        options.nv = 1 + (int)(next() % 3);
    }
    if (target->tiles.count)
        here_draw_grid(target, (unsigned)next(), &options);
    Compiled *compiled = NULL;
    if (schedule_compile(kernel, target, &options, &compiled, &why, &err) != WHET_OK) {
        report(s, d, label, err.message);
        fail();
    }
    Parallel parallel = {.threads = 1 + (int)(next() % 4), .run = run_backwards};
    EvalOptions how = {.parallel = next() % 2 ? &parallel : NULL};
    if (kernel_eval(kernel, wanted.data, NULL, &err) != WHET_OK || compiled_run(compiled, got.data, &how, &err) != WHET_OK) {
        report(s, d, label, err.message);
        fail();
    }
    bool same = buffers_intact(kernel, &got);
    for (int t = 0; t < kernel->tensor_count; t++)
        same = same && (kernel->tensors[t].role != ROLE_OUTPUT ||
                        close_enough(&kernel->tensors[t], got.data[t], wanted.data[t], depth_of_all(kernel)));
    if (!same) {
        report(s, d, label, "a wrong result");
        print_schedule(compiled);
        fail();
    }
    compiled_free(compiled);
    buffers_free(kernel, &got);
    buffers_free(kernel, &wanted);
}

static void check_samples(const Target *target, const char *label, int rounds, const char *only) {
    for (size_t i = 0; i < COUNT(samples); i++)
        for (int round = 0; round < rounds; round++) {
            const Sample *s = &samples[i];
            state_of_random = (uint64_t)i * 1000 + (uint64_t)round + 1;
            next();
            if (only && strcmp(only, s->template) != 0)
                continue;
            Drawn d = {{0}};
            bool many = s->extents[3] != NULL;
            for (int e = 0; e < MAX_NAMES && s->extents[e]; e++)
                d.value[e] = many ? pick(small_extents, COUNT(small_extents)) : pick(extents, COUNT(extents));
            Arena arena;
            whet_error err;
            arena_init(&arena, NULL);
            Kernel *kernel = bind(&arena, s, &d, &err);
            if (!kernel) {
                report(s, &d, label, err.message);
                fail();
            }
            check_on(s, &d, kernel, target, label);
            arena_free(&arena);
        }
}

static void check_all(const Target *target, const char *label, int rounds) {
    check_samples(target, label, rounds, NULL);
}

static const HereRounds rounds_of = {check_all, 40, 8, 4, 1, false};

/* ---- what else may go wrong ---- */

static const char *const small_kernels[] = {
    "c[m:20, n:70] = sum(k:33) a[m, k] * b[k, n]",
    "y[n:2, c:3, h:9, w:20] = max(i:2, j:2) x[n, c, h + i, w + j]?",
    "t[i:9] = max(j:70) x[i, j]\ne[i, j] = exp(x[i, j] - t[i])\ny[i, j] = e[i, j] / (sum(k:70) e[i, k])",
};

static Kernel *bind_small(Arena *arena, const char *text, whet_error *err) {
    KernelArg arg = {"x", DT_F32, 4, (int64_t[]){2, 3, 9, 20}};
    Kernel *kernel = kernel_parse(arena, text, strlen(text), err);
    return kernel && kernel_bind(kernel, &arg, strstr(text, "h:9") ? 1 : 0, NULL, 0, err) == WHET_OK ? kernel : NULL;
}

static void *scarce_allocate(void *context, size_t bytes, size_t alignment) {
    int *left = context;
    return (*left)-- > 0 ? aligned_alloc(alignment, bytes) : NULL;
}

static void scarce_release(void *context, void *pointer, size_t bytes) {
    (void)context;
    (void)bytes;
    free(pointer);
}

/* Every allocation fails once: an error, nothing leaks (under ASan), and with enough memory the answer comes. */
static void memory_fails(void **state) {
    (void)state;
    Target target;
    if (!target_host(~UINT64_C(0), &target)) {
        print_message("skipped: no code generator for this machine\n");
        skip();
    }
    for (size_t i = 0; i < COUNT(small_kernels); i++)
        for (int allowed = 0; allowed < 40; allowed++) {
            Arena arena;
            whet_error err;
            const char *why;
            Compiled *compiled;
            Buffers buffers;
            arena_init(&arena, NULL);
            Kernel *kernel = bind_small(&arena, small_kernels[i], &err);
            if (!kernel)
                fail_msg("%s: %s", small_kernels[i], err.message);
            buffers_new(kernel, fill, NULL, &buffers);
            int left = allowed;
            whet_allocator allocator = {&left, scarce_allocate, scarce_release};
            const void *constant[KERNEL_MAX_TENSORS] = {0};
            constant[1] = allowed % 2 ? buffers.data[1] : NULL;
            ScheduleOptions options = {.allocator = &allocator, .constant = constant};
            whet_status status = schedule_compile(kernel, &target, &options, &compiled, &why, &err);
            if (status == WHET_OK) {
                status = compiled_run(compiled, buffers.data, NULL, &err);
                compiled_free(compiled);
            }
            assert_true(status == WHET_OK || status == WHET_ERROR_MEMORY);
            assert_true(status == WHET_OK || allowed < 32); /* chunks of arenas, and a scratch for each of six images */
            buffers_free(kernel, &buffers);
            arena_free(&arena);
        }
}

static void deadline_passes(void **state) {
    (void)state;
    Target target;
    if (!target_host(~UINT64_C(0), &target))
        skip();
    for (size_t i = 0; i < COUNT(small_kernels); i++) {
        Arena arena;
        whet_error err;
        const char *why;
        Compiled *compiled;
        Buffers buffers;
        arena_init(&arena, NULL);
        Kernel *kernel = bind_small(&arena, small_kernels[i], &err);
        assert_non_null(kernel);
        buffers_new(kernel, fill, NULL, &buffers);
        assert_int_equal(schedule_compile(kernel, &target, NULL, &compiled, &why, &err), WHET_OK);
        EvalOptions options = {.deadline = 1e-9};
        assert_int_equal(compiled_run(compiled, buffers.data, &options, &err), WHET_ERROR_LIMIT);
        compiled_free(compiled);
        buffers_free(kernel, &buffers);
        arena_free(&arena);
    }
}

/* Weights are packed once: the key of the packing of b does not depend on how many rows a has, whatever the two are. */
static const struct {
    const char *text;
    DType a, b;
} products[] = {
    {"c[m, n] = max(sum(k) a[m, k] * b[k, n] + bias[n], 0)", DT_F32, DT_F32},
    {"c[m, n] = tanh(sum(k) a[m, k] * b[k, n] + bias[n]) * erf(bias[n] + x[m, n])", DT_F32, DT_F32},
    {"c[m, n] = sum(k) f32(a[m, k]) * f32(b[k, n])", DT_BF16, DT_BF16},
    {"c[m, n] = f32(sum(k) (s32(a[m, k]) - s32(z[])) * s32(b[k, n])) * (s[] * t[n]) + bias[n]", DT_U8, DT_S8},
    {"c[m, n] = f32(sum(k) (s32(a[m, k]) - s32(z[])) * s32(b[k, n])) * (s[] * t[n]) + bias[n]", DT_S8, DT_S8},
};

/* The key of product `p` of `rows` x `depth` by `depth` x `columns`. Its size. */
static size_t packing_key(const Target *target, size_t p, int64_t rows, int64_t columns, int64_t depth, unsigned char *key,
                          size_t room) {
    static const float weight = 0;
    Arena arena;
    whet_error err;
    const char *why = NULL;
    Compiled *compiled = NULL;
    arena_init(&arena, NULL);
    Kernel *kernel = kernel_parse(&arena, products[p].text, strlen(products[p].text), &err);
    KernelArg args[] = {{"a", products[p].a, 2, (int64_t[]){rows, depth}},
                        {"b", products[p].b, 2, (int64_t[]){depth, columns}},
                        {"z", products[p].a, 0, NULL}};
    int count = strstr(products[p].text, "z[]") ? 3 : 2;
    if (!kernel || kernel_bind(kernel, args, count, NULL, 0, &err) != WHET_OK)
        fail_msg("%s", err.message);
    const void *constant[KERNEL_MAX_TENSORS] = {NULL};
    constant[kernel_find_tensor(kernel, "b")] = &weight; /* not read: the caller packs */
    ScheduleOptions options = {.constant = constant, .pack_later = true};
    if (schedule_compile(kernel, target, &options, &compiled, &why, &err) != WHET_OK)
        fail_msg("%s", err.message);
    const Packing *packing = compiled_packing(compiled);
    assert_non_null(packing);
    assert_true(packing->key_bytes <= room);
    size_t bytes = packing->key_bytes;
    memcpy(key, packing->key, bytes);
    compiled_free(compiled);
    arena_free(&arena);
    return bytes;
}

static void check_packing(const char *name) {
    static const int64_t sizes[][2] = {{768, 768}, {3072, 768}, {64, 1024}, {1000, 333}, {17, 5}};
    static const int64_t rows[] = {1, 2, 7, 8, 14, 40, 128, 196, 1000};
    Target target;
    assert_true(target_named(name, &target));
    target.runs_here = false;
    for (size_t p = 0; p < COUNT(products); p++)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            unsigned char one[1024], many[1024];
            size_t bytes = packing_key(&target, p, rows[0], sizes[s][0], sizes[s][1], one, sizeof one);
            for (size_t r = 1; r < COUNT(rows); r++)
                if (packing_key(&target, p, rows[r], sizes[s][0], sizes[s][1], many, sizeof many) != bytes ||
                    memcmp(one, many, bytes) != 0)
                    fail_msg("%s, %s: %lld rows by %lld x %lld are packed otherwise than one row", name, products[p].text,
                             (long long)rows[r], (long long)sizes[s][1], (long long)sizes[s][0]);
        }
}

/* In vectors, and where many rows are tiles of a matrix unit and few are not. */
static void one_packing_serves_any_number_of_rows(void **state) {
    (void)state;
    static const char *const names[] = {"x86-avx512",
                                        "x86-avx2",
                                        "arm64",
                                        "arm64+dotprod",
                                        "arm64+i8mm+bf16",
                                        "arm64+sve2+sve128+i8mm+bf16",
                                        "arm64+sve2+sve256+i8mm+bf16",
                                        "arm64+sve512",
                                        "arm64+sme128+i8mm+bf16",
                                        "arm64+sve256+sme512+i8mm+bf16",
                                        "arm64+sme512",
                                        "arm64+fp16+dotprod+amx"};
    for (size_t i = 0; i < COUNT(names); i++)
        check_packing(names[i]);
}

/* Numbers of 64 bits, quotients and remainders are machine code everywhere. */
static void long_numbers(void **state) {
    (void)state;
    static const char *const targets[] = {"x86-avx2", "x86-avx512", "arm64", "arm64+sve256"};
    static const char *const kernels[] = {
        "in x: s64[7, 9]\nin z: s64[9]\ny[i, j] = x[i, j] * z[j] + i",
        "in x: s64[99]\nin z: s64[99]\ny[i] = select(x[i] < z[i], x[i] // z[i], x[i] % 7)",
        "in x: u64[99]\nin z: u64[99]\ny[i] = max(x[i] / z[i], fmod(x[i], z[i]))",
        "in x: s32[99]\nin z: s32[99]\ny[i] = x[i] / z[i]",
        "in x: f32[99]\nin z: f32[99]\ny[i] = fmod(x[i], z[i]) + x[i] % z[i]",
        "in x: f64[99]\ny[i] = f32(floor(x[i] * 0.5)) + 1",
        "in x: s64[40, 3]\nin k: s64[20]\ny[i, j] = x[k[j], i]",
        "in x: s64[99]\nin m: bool[99]\ny[i] = f16(select(m[98 - i], x[i] >> 3, s64(i) << 40))",
    };
    for (size_t t = 0; t < COUNT(targets); t++)
        for (size_t i = 0; i < COUNT(kernels); i++) {
            Arena arena;
            whet_error err;
            const char *why = NULL;
            Compiled *compiled = NULL;
            Target target;
            arena_init(&arena, NULL);
            assert_true(target_named(targets[t], &target));
            Kernel *kernel = kernel_parse(&arena, kernels[i], strlen(kernels[i]), &err);
            if (!kernel || kernel_bind(kernel, NULL, 0, NULL, 0, &err) != WHET_OK)
                fail_msg("%s: %s", kernels[i], err.message);
            if (schedule_compile(kernel, &target, NULL, &compiled, &why, &err) != WHET_OK)
                fail_msg("%s: %s: %s", targets[t], kernels[i], why ? why : err.message);
            compiled_free(compiled);
            arena_free(&arena);
        }
}

/* What no template takes is refused with a reason, not with wrong code. */
static void refusals(void **state) {
    (void)state;
    static const struct {
        const char *text, *reason;
        int given; /* 1: the shape of x */
    } cases[] = {
        {"y[i:4] = f32(pow(s32(x[i]), s32(i)))", "a power of integers", 0},
        {"y[i:4] = f32(exp(f64(x[i])))", "a function of f64", 0},
        {"y[i] = x[i] + f32(x[(i * i) % 7]?)", "guarded gather", 1},
        {"y[i:1000000000000] = x[clip(i - 1, 0, 3)]", "more than 2^26 offsets", 1}, /* at once, and without terabytes for them */
    };
    Target target;
    assert_true(target_x86(~UINT64_C(0), &target));
    for (size_t i = 0; i < COUNT(cases); i++) {
        Arena arena;
        whet_error err;
        const char *why = NULL;
        Compiled *compiled = NULL;
        arena_init(&arena, NULL);
        Kernel *kernel = kernel_parse(&arena, cases[i].text, strlen(cases[i].text), &err);
        KernelArg arg = {"x", DT_F32, 1, (int64_t[]){4}};
        if (!kernel || kernel_bind(kernel, &arg, cases[i].given, NULL, 0, &err) != WHET_OK)
            fail_msg("%s: %s", cases[i].text, err.message);
        assert_int_equal(schedule_compile(kernel, &target, NULL, &compiled, &why, &err), WHET_ERROR_UNSUPPORTED);
        assert_null(compiled);
        assert_non_null(why);
        assert_non_null(strstr(why, cases[i].reason));
        arena_free(&arena);
    }
}

int main(void) {
    cmocka_set_test_filter(getenv("WHET_TEST")); /* a pattern of names: these alone */
    const struct CMUnitTest tests[] = {
        HERE_TESTS(rounds_of),          cmocka_unit_test(long_numbers),
        cmocka_unit_test(memory_fails), cmocka_unit_test(deadline_passes),
        cmocka_unit_test(refusals),     cmocka_unit_test(one_packing_serves_any_number_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
