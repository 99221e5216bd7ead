/* Windows of narrow elements, channels last and first, against the evaluator: depthwise convolutions of bytes as QLinearConv is
 * written, with zero points and requantization, pools of bytes and halves, sums too large for f32; random sizes and channels, on
 * AVX2, AVX-512 and the interpreter, constant weights or not, sentinels around every tensor. Whole numbers are equal, halves
 * within their rounding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "here.h"
#include "kernel_data.h"
#include "schedule/schedule.h"

enum { MAX_ARGS = 10, MAX_DIMS = 4 };

/* Extents: N, H, W of the image, C channels, P and Q of the result of stride 2; numbers are themselves. */
typedef struct Sample {
    const char *text;
    struct {
        const char *name;
        DType type;
        const char *dims; /* a letter or digit each */
    } args[MAX_ARGS];
    double tolerance;
} Sample;

#define CENTRED                                                                                                                  \
    "d[..] = s32(x[..]) - s32(x_zero[])\n"                                                                                       \
    "v[m, c, k0, k1] = s32(w[m, c, k0, k1]) - s32(w_zero[m])\n"
#define POOLED(outside)       "y[n, h, w, c] = max(i:3, j:3) x[n, 2*h + i - 1, 2*w + j - 1, c]?(" outside ")"
#define POOLED_LINES(outside) "y[n, c, h, w] = max(i:3, j:3) x[n, c, 2*h + i - 1, 2*w + j - 1]?(" outside ")"

/* Arguments of a depthwise layer of bytes: with a bias, all of one size; and without, of stride 2. */
// clang-format off
#define U8_BY_S8(image) \
    {"x", DT_U8, image}, {"w", DT_S8, "C133"}, {"x_zero", DT_U8, ""}, {"w_zero", DT_S8, "C"}, \
    {"b", DT_S32, "C"}, {"s", DT_F32, "C"}, {"y_zero", DT_U8, ""}, {"y", DT_U8, image}
#define S8_BY_U8(image, result) \
    {"x", DT_S8, image}, {"w", DT_U8, "C155"}, {"x_zero", DT_S8, ""}, {"w_zero", DT_U8, "C"}, \
    {"s", DT_F32, "C"}, {"y", DT_S8, result}
// clang-format on

static const Sample samples[] = {
    {CENTRED "y[n, h, w, m] = u8(round(f32(sum(k0:3, k1:3) d[n, h + k0 - 1, w + k1 - 1, m]? * v[m, 0, k0, k1] + b[m]) * s[m]) + "
             "f32(y_zero[]))",
     {U8_BY_S8("NHWC")},
     0},
    {CENTRED "y[n, h, w, m] = s8(round(f32(sum(k0:5, k1:5) d[n, 2*h + k0 - 2, 2*w + k1 - 2, m]? * v[m, 0, k0, k1]) * s[m]))",
     {S8_BY_U8("NHWC", "NPQC")},
     0},
    {"y[n, h, w, m] = sum(k0:3, k1:3) s32(x[n, h + k0 - 1, w + k1 - 1, m]?) * s32(v[k0, k1, m])",
     {{"x", DT_U8, "NHWC"}, {"v", DT_S8, "33C"}, {"y", DT_S32, "NHWC"}},
     0},
    {"y[n, h, w, m] = sum(k0:3, k1:3) x[n, h + k0 - 1, w + k1 - 1, m]? * v[k0, k1, m]", /* wraps */
     {{"x", DT_S32, "NHWC"}, {"v", DT_S32, "33C"}, {"y", DT_S32, "NHWC"}},
     0},
    {POOLED("0"), {{"x", DT_U8, "NHWC"}, {"y", DT_U8, "NPQC"}}, 0},
    {POOLED("-128"), {{"x", DT_S8, "NHWC"}, {"y", DT_S8, "NPQC"}}, 0},
    {POOLED("-inf"), {{"x", DT_F16, "NHWC"}, {"y", DT_F16, "NPQC"}}, 0},
    {POOLED("-inf"), {{"x", DT_BF16, "NHWC"}, {"y", DT_BF16, "NPQC"}}, 0},
    {"y[n, h, w, c] = f16(clip((sum(i:3, j:3) f32(x[n, h + i - 1, w + j - 1, c]?) * f32(v[i, j, c])) + f32(b[c]), 0, 6))",
     {{"x", DT_F16, "NHWC"}, {"v", DT_F16, "33C"}, {"b", DT_F16, "C"}, {"y", DT_F16, "NHWC"}},
     1e-3},
    {"y[n, h, w, c] = bf16((sum(i:3, j:3) f32(x[n, h + i - 1, w + j - 1, c]?)) / 9)",
     {{"x", DT_BF16, "NHWC"}, {"y", DT_BF16, "NHWC"}},
     1e-2},
    /* along lines */
    {CENTRED "y[n, m, h, w] = u8(round(f32(sum(k0:3, k1:3) d[n, m, h + k0 - 1, w + k1 - 1]? * v[m, 0, k0, k1] + b[m]) * s[m]) + "
             "f32(y_zero[]))",
     {U8_BY_S8("NCHW")},
     0},
    {CENTRED "y[n, m, h, w] = s8(round(f32(sum(k0:5, k1:5) d[n, m, 2*h + k0 - 2, 2*w + k1 - 2]? * v[m, 0, k0, k1]) * s[m]))",
     {S8_BY_U8("NCHW", "NCPQ")},
     0},
    {"y[n, m, h, w] = sum(k0:3, k1:3) x[n, m, h + k0 - 1, w + k1 - 1]? * v[k0, k1, m]",
     {{"x", DT_S32, "NCHW"}, {"v", DT_S32, "33C"}, {"y", DT_S32, "NCHW"}},
     0},
    {POOLED_LINES("0"), {{"x", DT_U8, "NCHW"}, {"y", DT_U8, "NCPQ"}}, 0},
    {POOLED_LINES("-128"), {{"x", DT_S8, "NCHW"}, {"y", DT_S8, "NCPQ"}}, 0},
    {POOLED_LINES("-inf"), {{"x", DT_F16, "NCHW"}, {"y", DT_F16, "NCPQ"}}, 0},
    {"y[n, c, h, w] = bf16((sum(i:3, j:3) f32(x[n, c, h + i - 1, w + j - 1]?)) / 9)",
     {{"x", DT_BF16, "NCHW"}, {"y", DT_BF16, "NCHW"}},
     1e-2},
};

typedef struct Extents {
    int64_t n, h, w, c;
    uint64_t seed;
} Extents;

static int64_t extent_of(const Extents *x, char letter) {
    switch (letter) {
    case 'N': return x->n;
    case 'H': return x->h;
    case 'W': return x->w;
    case 'P': return (x->h + 1) / 2;
    case 'Q': return (x->w + 1) / 2;
    case 'C': return x->c;
    default: return letter - '0';
    }
}

static Kernel *bind(Arena *arena, const Sample *s, const Extents *x, whet_error *err) {
    KernelArg args[MAX_ARGS];
    int64_t dims[MAX_ARGS][MAX_DIMS];
    int count = 0;
    for (; count < MAX_ARGS && s->args[count].name; count++) {
        int rank = (int)strlen(s->args[count].dims);
        for (int i = 0; i < rank; i++)
            dims[count][i] = extent_of(x, s->args[count].dims[i]);
        args[count] = (KernelArg){s->args[count].name, s->args[count].type, rank, dims[count]};
    }
    Kernel *kernel = kernel_parse(arena, s->text, strlen(s->text), err);
    return kernel && kernel_bind(kernel, args, count, NULL, 0, err) == WHET_OK ? kernel : NULL;
}

/* Bytes of any value; words so large that sums wrap; floats near 0. */
static void fill(const KernelTensor *tensor, void *data, uint64_t *state) {
    for (int64_t i = 0; i < tensor->count; i++) {
        uint64_t r = data_random(state) >> 16;
        double number = (double)(r % 2001) / 1000 - 1;
        data_set(tensor->type, data, i, tensor->type == DT_F32 ? fabs(number) / 500 : number, (int64_t)(r % (UINT64_C(1) << 31)));
    }
}

static void report(const Sample *s, const Extents *x, const char *label, const char *what) {
    print_error("%s\nn=%lld h=%lld w=%lld c=%lld seed %llu\non %s: %s\n", s->text, (long long)x->n, (long long)x->h,
                (long long)x->w, (long long)x->c, (unsigned long long)x->seed, label, what);
}

static void check(const Sample *s, const Extents *x, const Target *target, const char *label) {
    Arena arena;
    whet_error err = {0};
    void *wanted[KERNEL_MAX_TENSORS] = {NULL}, *got[KERNEL_MAX_TENSORS] = {NULL};
    const void *constant[KERNEL_MAX_TENSORS] = {NULL};
    uint64_t state = x->seed * 2654435761u + 1;
    arena_init(&arena, NULL);
    Kernel *kernel = bind(&arena, s, x, &err);
    if (!kernel)
        report(s, x, label, err.message);
    assert_non_null(kernel);
    int y = kernel_find_tensor(kernel, "y");
    for (int t = 0; t < kernel->tensor_count; t++) {
        wanted[t] = data_new(&kernel->tensors[t]);
        got[t] = t == y ? data_new(&kernel->tensors[t]) : wanted[t];
        if (t < kernel->input_count)
            fill(&kernel->tensors[t], wanted[t], &state);
        if (t < kernel->input_count && x->seed % 2 && strcmp(kernel->tensors[t].name, "x") != 0)
            constant[t] = wanted[t];
    }
    assert_int_equal(kernel_eval(kernel, wanted, NULL, &err), WHET_OK);
    ScheduleOptions options = {.constant = constant, .seed = x->seed % 3 ? 0 : x->seed};
    Compiled *compiled = NULL;
    if (schedule_compile(kernel, target, &options, &compiled, NULL, &err) != WHET_OK)
        report(s, x, label, err.message);
    assert_non_null(compiled);
    bool window = strcmp(compiled->template, "window") == 0;
    bool first = strstr(s->text, "y[n, c,") || strstr(s->text, "y[n, m,"); /* channels: along lines, which wants masks */
    if (!window && (target->masked || !first)) {
        report(s, x, label, compiled->template);
        fail();
    }
    assert_int_equal(compiled_run(compiled, got, NULL, &err), WHET_OK);
    int64_t at = data_compare(&kernel->tensors[y], got[y], wanted[y], s->tolerance);
    if (at >= 0) {
        report(s, x, label, "a different answer");
        print_error("element %lld: %g, wanted %g\n", (long long)at, data_get(kernel->tensors[y].type, got[y], at),
                    data_get(kernel->tensors[y].type, wanted[y], at));
    }
    assert_true(at < 0);
    assert_true(data_intact(&kernel->tensors[y], got[y]));
    compiled_free(compiled);
    for (int t = 0; t < kernel->tensor_count; t++) {
        data_free(wanted[t]);
        if (t == y)
            data_free(got[t]);
    }
    arena_free(&arena);
}

static void check_all(const Target *target, const char *label, int rounds) {
    static const int64_t channels[] = {1, 3, 8, 16, 24, 33, 64, 72}, sizes[] = {4, 5, 7, 8, 9, 13, 17};
    uint64_t state = 17;
    for (int i = 0; i < rounds; i++)
        for (size_t s = 0; s < COUNT(samples); s++) {
            Extents x = {.n = 1 + (int64_t)(data_random(&state) % 2), .seed = (uint64_t)i * COUNT(samples) + s + 1};
            x.h = sizes[data_random(&state) % COUNT(sizes)], x.w = sizes[data_random(&state) % COUNT(sizes)];
            x.c = channels[data_random(&state) % COUNT(channels)];
            x.c = x.c == 1 ? 2 : x.c; /* one channel has other lanes */
            check(&samples[s], &x, target, label);
        }
}

static const HereRounds rounds_of = {check_all, 40, 15, 3, 1, false};

int main(void) {
    const struct CMUnitTest tests[] = {HERE_TESTS(rounds_of)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
