/* Row kernels of all element types against the evaluator: narrow floats, quantization, integer sums, masks, arguments, axes as
 * numbers, guarded and strided reads, placement; AVX2, AVX-512 and the interpreter, random shapes, sentinels, any order of tasks.
 *
 * Integers and bools must be the same. A float may be off by `bound` times its size or that of the largest element, whichever is
 * larger: 2^-24 times the terms of a sum where it is of f32, one rounding of the type (2^-11 or 2^-8) more where it is narrower.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "kernel_data.h"
#include "schedule/schedule.h"

#define HALF  0x1p-10
#define BHALF 0x1p-7
#define SUM   (200 * 0x1p-24)

static const struct Sample {
    const char *text, *args[4]; /* "x: f16 m n" */
    double bound;
} samples[] = {
    {"top[i] = max(j) f32(x[i, j])\ne[i, j] = exp(f32(x[i, j]) - top[i])\ny[i, j] = f16(e[i, j] / (sum(k) e[i, k]))",
     {"x: f16 m n"},
     HALF},
    {"mean[i] = (sum(j) f32(x[i, j])) / 64\nd[i, j] = f32(x[i, j]) - mean[i]\n"
     "y[i, j] = bf16(d[i, j] / sqrt((sum(j) d[i, j] * d[i, j]) / 64 + 0.1) * f32(g[j]))",
     {"x: bf16 m n", "g: bf16 n"},
     BHALF},
    {"y[i] = sum(j) x[i, j]", {"x: f16 m n"}, 2 * HALF},
    {"y[i] = max(j) x[i, j]", {"x: bf16 m n"}, 0},
    {"out s[m] = (max(k) abs(a[m, k])) / 127\nq[m, k] = s8(round(a[m, k] / s[m]))", {"a: f32 m n"}, 0},
    {"out s[m] = (max(k) abs(a[m, k])) / 127\nout q[m, k] = s8(round(a[m, k] / s[m]))\ntotal[m] = sum(k) s32(q[m, k])",
     {"a: f32 m n"},
     0},
    {"low[] = min(min(i, j) x[i, j], 0)\nhigh[] = max(max(i, j) x[i, j], 0)\n"
     "out s[] = select(high[] == low[], 1, (high[] - low[]) / 255)\nout z[] = u8(round(-low[] / s[]))\n"
     "y[i, j] = u8(round(x[i, j] / s[]) + f32(z[]))",
     {"x: f32 m n"},
     0},
    {"low[] = min(min(i) x[i], 0)\nout s[] = select(low[] == 0, 1, -low[] / 100)\ny[i] = u8(round(abs(x[i]) / s[]))",
     {"x: f32 m"},
     0},
    {"y[i] = sum(j) s32(x[i, j])", {"x: u8 m n"}, 0},
    {"y[i] = sum(j) x[i, j]", {"x: s8 m n"}, 0},
    {"y[j] = sum(i) s32(x[i, j]) * s32(z[i, j])", {"x: s8 m n", "z: u8 m n"}, 0},
    {"y[i] = prod(j) x[i, j]", {"x: s32 m n"}, 0},
    {"y[j] = prod(i) x[i, j]", {"x: s32 m n"}, 0},
    {"y[i] = (max(j) x[i, j]) - (min(j) x[i, j])", {"x: s32 m n"}, 0},
    {"y[i] = max(j) x[i, j]", {"x: u8 m n"}, 0},
    {"y[i] = min(j) x[i, j]", {"x: s16 m n"}, 0},
    {"y[i] = min(j) x[i, j]", {"x: u32 m n"}, 0},
    {"y[j] = max(i) x[i, j]", {"x: u32 m n"}, 0},
    {"y[i] = any(j) x[i, j]", {"x: bool m n"}, 0},
    {"y[j] = all(i) x[i, j]", {"x: bool m n"}, 0},
    {"y[i] = all(j) (x[i, j] > 0)", {"x: f32 m n"}, 0},
    {"y[i] = argmax(j) x[i, j]", {"x: f32 m n"}, 0},
    {"y[i] = argmin(j) x[i, j]", {"x: f32 m n"}, 0},
    {"y[j] = argmax(i) x[i, j]", {"x: f32 m n"}, 0},
    {"y[i] = argmin(j) x[i, j]", {"x: u8 m n"}, 0},
    {"y[j] = argmin(i) x[i, j]", {"x: s32 m n"}, 0},
    {"y[i, k] = argmax(j) x[i, j, k]", {"x: f16 m n p"}, 0},
    {"y[i] = s32(argmax(j) x[i, j])", {"x: f32 m n"}, 0},
    {"best[i] = argmax(j) x[i, j]\ny[i, j] = select(best[i] == j, x[i, j], 0.0)", {"x: f32 m n"}, 0},
    {"top[i] = max(j) select(mask[i, j], x[i, j], -1e9)\ne[i, j] = exp(select(mask[i, j], x[i, j], -1e9) - top[i])\n"
     "y[i, j] = e[i, j] / (sum(k) e[i, k])",
     {"x: f32 m n", "mask: bool m n"},
     SUM},
    {"z[b, s, t] = select(t <= s, x[b, s, t], -inf)\ntop[b, s] = max(t) z[b, s, t]\ne[b, s, t] = exp(z[b, s, t] - top[b, s])\n"
     "y[b, s, t] = e[b, s, t] / (sum(k) e[b, s, k])",
     {"x: f32 m n n"},
     SUM},
    {"top[b, h, s] = max(t) (x[b, h, s, t] + m[b, t])\n"
     "y[b, h, s, t] = exp(x[b, h, s, t] + m[b, t] - top[b, h, s])",
     {"x: f32 m n p n", "m: f32 m n"},
     SUM},
    {"y[i] = sum(j) x[j, i]", {"x: f32 n m"}, SUM},
    {"y[i:m] = max(j) x[2*i, j]", {"x: f32 2m n"}, 0},
    {"y[i] = sum(j:n) x[i, 2*j]", {"x: f32 m 2n"}, SUM},
    {"s[b, t] = sum(h, d) x[b, h, t, d] * x[b, h, t, d]\ny[b, t, 8*h + d] = x[b, h, t, d] / sqrt(s[b, t] + 1)",
     {"x: f32 m n p 8"},
     SUM},
    {"y[i:m] = sum(j:n) x[i, j + 1]?", {"x: f32 m n"}, SUM},
    {"y[i:m] = max(j:n) x[i, j - 2]?(-1)", {"x: f32 m n"}, 0},
    {"y[i, j] = x[i, j] - (max(k:n) x[i + 1, k]?(-3))", {"x: f32 m n"}, 0},
    {"y[i, j] = f32(j) * x[i, j] - (sum(k) x[i, k]) * f32(i)", {"x: f32 m n"}, SUM * 300},
    {"out r[i, j] = x[i, j] + s[i, j] + b[j]\nmean[i] = (sum(j) r[i, j]) / 64\nd[i, j] = r[i, j] - mean[i]\n"
     "y[i, j] = 0.5 * d[i, j] * (1 + erf(d[i, j] / sqrt((sum(j) d[i, j] * d[i, j]) / 64 + 0.1)))",
     {"x: f32 m n", "s: f32 m n", "b: f32 n"},
     SUM},
    {"y[i, j] = (x[i, j] - (sum(k) x[i, k]) / 64) * 2\nout mean[i] = (sum(k) x[i, k]) / 64", {"x: f32 m n"}, SUM},
};
static const int64_t extents[] = {0, 1, 1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 48, 64, 67, 100, 131, 300};

static uint64_t state_of_random;

static uint32_t next(void) {
    state_of_random = state_of_random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state_of_random >> 33);
}

typedef struct Drawn {
    const struct Sample *sample;
    int64_t extent[3]; /* m n p */
    uint64_t seed;
} Drawn;

static Kernel *bind(Arena *arena, const Drawn *d, whet_error *err) {
    Kernel *kernel = kernel_parse(arena, d->sample->text, strlen(d->sample->text), err);
    KernelArg args[4];
    KernelConst consts[] = {{.name = "m", .integer = d->extent[0]}, {.name = "n", .integer = d->extent[1]}};
    int64_t dims[4][4];
    char names[4][8], types[4][8];
    int count = 0;
    for (; count < 4 && d->sample->args[count]; count++) {
        const char *text = d->sample->args[count], *p = strchr(text, ' ') + 1;
        snprintf(names[count], sizeof names[count], "%.*s", (int)(strchr(text, ':') - text), text);
        snprintf(types[count], sizeof types[count], "%.*s", (int)strcspn(p, " "), p);
        args[count] = (KernelArg){names[count], dtype_parse(types[count], strlen(types[count])), 0, dims[count]};
        while ((p = strchr(p, ' ')) != NULL) {
            int64_t factor = 1;
            p++;
            if (*p >= '0' && *p <= '9')
                factor = *p++ - '0';
            dims[count][args[count].rank++] = factor * (*p == 'm'   ? d->extent[0]
                                                        : *p == 'n' ? d->extent[1]
                                                        : *p == 'p' ? d->extent[2]
                                                                    : 1);
        }
    }
    return kernel && kernel_bind(kernel, args, count, consts, 2, err) == WHET_OK ? kernel : NULL;
}

static void fill(const Kernel *kernel, void **data) {
    for (int t = 0; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        data[t] = data_new(tensor);
        for (int64_t i = 0; i < tensor->count && tensor->role == ROLE_INPUT; i++) {
            int value = tensor->type == DT_BOOL ? next() % 5 != 0 : (int)(next() % 2001) - 1000;
            data_set(tensor->type, data[t], i, next() % 301 == 0 ? (double)NAN : value / 512.0, value);
        }
    }
}

static void report(const Drawn *d, const Compiled *compiled, const char *target, const char *what) {
    print_error("%s\nm=%lld n=%lld p=%lld seed %llu on %s: %s\n", d->sample->text, (long long)d->extent[0],
                (long long)d->extent[1], (long long)d->extent[2], (unsigned long long)d->seed, target, what);
    if (compiled) {
        Text text;
        text_init(&text);
        compiled_print_schedule(compiled, &text);
        print_error("%s\n", text.data);
        text_free(&text);
    }
    fail();
}

static bool close_enough(const KernelTensor *t, const void *got, const void *wanted, double bound) {
    double largest = 0;
    bool exact = dtype_kind(t->type) != KIND_FLOAT;
    for (int64_t i = 0; i < t->count; i++)
        largest = fmax(largest, isfinite(data_get(t->type, wanted, i)) ? fabs(data_get(t->type, wanted, i)) : 0);
    for (int64_t i = 0; i < t->count; i++) {
        double x = data_get(t->type, got, i), y = data_get(t->type, wanted, i);
        if (!(x == y || (isnan(x) && isnan(y)) || (!exact && fabs(x - y) <= bound * fmax(largest, 1)))) {
            print_error("element %lld of %s: %.9g, wanted %.9g\n", (long long)i, t->name, x, y);
            return false;
        }
    }
    return true;
}

static void backwards(void *self, size_t count, void (*task)(void *context, size_t i), void *context) {
    (void)self;
    for (size_t i = count; i-- > 0;)
        task(context, i);
}

static void compare(const Drawn *d, const Kernel *kernel, const Compiled *compiled, void **got, void **again, void **wanted,
                    const char *label) {
    for (int t = 0; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        if (!data_intact(tensor, got[t]))
            report(d, compiled, label, "a sentinel was overwritten");
        if (tensor->role != ROLE_OUTPUT)
            continue;
        if (!close_enough(tensor, got[t], wanted[t], d->sample->bound))
            report(d, compiled, label, "a wrong result");
        if (memcmp(got[t], again[t], data_bytes(tensor)) != 0)
            report(d, compiled, label, "other bits with threads");
    }
}

static void check_on(const Drawn *d, const Target *target, const char *label) {
    void *got[KERNEL_MAX_TENSORS], *again[KERNEL_MAX_TENSORS], *wanted[KERNEL_MAX_TENSORS];
    Arena arena;
    whet_error err;
    const char *why = NULL;
    Compiled *compiled = NULL;
    ScheduleOptions options = {.seed = d->seed % 3 ? 0 : d->seed, .unroll = (int)(d->seed / 3 % 5)};
    arena_init(&arena, NULL);
    Kernel *kernel = bind(&arena, d, &err);
    if (!kernel || schedule_compile(kernel, target, &options, &compiled, &why, &err) != WHET_OK)
        report(d, NULL, label, err.message);
    void **all[] = {got, again, wanted};
    for (int i = 0; i < 3; i++) {
        state_of_random = d->seed;
        fill(kernel, all[i]);
    }
    EvalOptions how = {.parallel = &(Parallel){.threads = 3, .run = backwards}};
    if (kernel_eval(kernel, wanted, NULL, &err) != WHET_OK || compiled_run(compiled, got, NULL, &err) != WHET_OK ||
        compiled_run(compiled, again, &how, &err) != WHET_OK)
        report(d, compiled, label, err.message);
    compare(d, kernel, compiled, got, again, wanted, label);
    for (int i = 0; i < 3; i++)
        for (int t = 0; t < kernel->tensor_count; t++)
            data_free(all[i][t]);
    compiled_free(compiled);
    arena_free(&arena);
}

static void check_samples(const Target *target, const char *label, int rounds) {
    for (size_t i = 0; i < COUNT(samples); i++)
        for (int round = 0; round < rounds; round++) {
            Drawn d = {.sample = &samples[i]};
            state_of_random = (uint64_t)i * 1000 + (uint64_t)round + 1;
            next();
            for (int k = 0; k < 3; k++) {
                int64_t small = strchr(samples[i].args[0], 'p') ? 17 : 300;
                do
                    d.extent[k] = extents[next() % COUNT(extents)];
                while (d.extent[k] > small || (d.extent[k] == 0 && round % 8));
            }
            d.seed = state_of_random;
            check_on(&d, target, label);
        }
}

static void on_avx2(void **state) {
    (void)state;
    Target target;
    if (!target_host(~FEATURE(AVX512F), &target) || target.bytes != 32) {
        print_message("skipped: no AVX2 here\n");
        skip();
    }
    check_samples(&target, "x86-avx2", 40);
}

static void on_avx512(void **state) {
    (void)state;
    Target target;
    if (!target_host(~UINT64_C(0), &target) || target.bytes != 64) {
        print_message("skipped: no AVX-512 here\n");
        skip();
    }
    check_samples(&target, "x86-avx512", 40);
}

static void interpreted(void **state) {
    (void)state;
    Target target;
    assert_true(target_x86(~UINT64_C(0), &target)); /* runs_here stays false: the driver interprets */
    check_samples(&target, "the interpreter", 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_avx512), cmocka_unit_test(on_avx2), cmocka_unit_test(interpreted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
