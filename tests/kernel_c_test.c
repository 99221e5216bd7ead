/* Schedules through the C target: contractions, row kernels and maps of random extents and knobs, with vectors of 32 and 64
 * bytes, against the evaluator, with sentinels around every tensor. The corpus of the notation goes through it in kernel_test.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "kernel_c.h"
#include "kernel_data.h"

enum { ROUNDS = 8 };

static const char *const texts[] = {
    "c[m, n] = sum(k) a[m, k] * b[k, n]",
    "c[m, n] = max(sum(k) a[m, k] * b[n, k] + bias[n], 0) + r[m, n]",
    "c[m, n] = sum(k) a[k, m] * b[k, n]",
    "c[h:2, m, d:3, n] = sum(k) a[h, m, k] * b[d, k, n] - bias[n]",
    "in x: f32[2, 3, 6, 31]; y[p:2, o:5, h:6, w:31] = sum(c:3, i:3, j:3) x[p, c, h + i - 1, w + j - 1]? * f[o, c, i, j] + b[o]",
    "in x: f32[2, 9, 14, 3]; y[p:2, h:9, w:14, o:19] = max(sum(i:3, j:3, c:3) x[p, h + i - 1, w + j - 1, c]? * f[o, c, i, j] + "
    "b[o], 0)",
    "in x: f32[2, 17, 13, 2]; y[p:2, h:9, w:6, o:19] = sum(i:3, j:2, c:2) x[p, 2*h + i - 1, 2*w + 3*j - 1, c]? * f[o, c, i, j]",
    "in x: f32[2, 21, 30]; y[p:2, 2*h:21 + 1, o:35] = sum(j:3, c:30) x[p, h - 2*j + 2, c]? * f[o, c, j] + b[o]",
    "in x: f32[2, 21, 10]; y[p:2, h:21, o:35] = sum(j:3, c:10) x[p, h + j - 1, c]?(2) * f[o, c, j] + b[o]",
    "y[m, 5 + n] = sum(k) a[m, k] * b[k, n]",
    "in a: u8[19, 33]; in b: s8[33, 50]; in z: u8[]; c[u, v] = sum(w) (s32(a[u, w]) - s32(z[])) * s32(b[w, v])",
    "in a: s8[13, 40]; in b: s8[50, 40]; in z: s8[50]; c[u, v] = sum(w) s32(a[u, w]) * (s32(b[v, w]) - s32(z[v]))",
    "in a: u8[9, 7, 24]; in b: u8[24, 21]; in y: u8[9, 7]; in z: u8[21]; in s: f32[21]; "
    "c[i, u, v] = f32(sum(w) (s32(a[i, u, w]) - s32(y[i, u])) * (s32(b[w, v]) - s32(z[v]))) * s[v]",
    "in x: u8[2, 4, 6, 31]; in f: s8[5, 4, 3, 3]; in z: u8[]; d[..] = s32(x[..]) - s32(z[]); "
    "y[p:2, o, h:6, w:31] = s8(round(f32(sum(c, i, j) d[p, c, h + i - 1, w + j - 1]? * s32(f[o, c, i, j])) * 0.001))",
    "in x: u8[2, 9, 14, 4]; in f: s8[3, 3, 4, 19]; y[p:2, h:9, w:14, o] = sum(i, j, c) s32(x[p, h + i - 1, w + j - 1, c]?) * "
    "s32(f[i, j, c, o])",
    "t[m] = max(n) x[m, n]; y[m, n] = (x[m, n] - t[m]) / 2",
    "y[m] = sum(n) x[m, n] * x[m, n]",
    "y[n] = sum(m) x[m, n]",
    "y[m, n] = x[m, n] * 2 + b[n] - s[m]",
};

typedef struct Round {
    Arena arena;
    Kernel *kernel;
    const char *text;
    int64_t m, n, k;
} Round;

static int64_t draw(uint64_t *state) {
    static const int64_t extents[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 40, 64, 67};
    return extents[(data_random(state) >> 20) % COUNT(extents)];
}

static void make(Round *r, uint64_t *state, ScheduleOptions *options, size_t index) {
    whet_error err = {0};
    arena_init(&r->arena, NULL);
    r->text = texts[index % COUNT(texts)];
    r->m = draw(state);
    r->n = draw(state);
    r->k = draw(state);
    KernelConst extents[] = {
        {"m", false, (double)r->m, r->m}, {"n", false, (double)r->n, r->n}, {"k", false, (double)r->k, r->k}};
    r->kernel = kernel_parse(&r->arena, r->text, strlen(r->text), &err);
    if (!r->kernel || kernel_bind(r->kernel, NULL, 0, extents, COUNT(extents), &err))
        fail_msg("%s: %s", r->text, err.message);
    *options = (ScheduleOptions){0};
    if (index / COUNT(texts)) { /* the first round of each text has the default knobs */
        options->mr = (int)(1 + data_random(state) % 7);
        options->nv = (int)(1 + data_random(state) % 3);
        options->kc = (int)(1 + data_random(state) % 40);
        options->unroll = (int)(1 + data_random(state) % 4);
    }
    kernel_c_collect(r->kernel);
}

static void fill(const Kernel *kernel, void **data, void **want, uint64_t *state) {
    for (int t = 0; t < kernel->tensor_count; t++) {
        data[t] = data_new(&kernel->tensors[t]);
        want[t] = data_new(&kernel->tensors[t]);
        if (t < kernel->input_count) {
            data_fill(&kernel->tensors[t], data[t], state, 0);
            memcpy(want[t], data[t], data_bytes(&kernel->tensors[t]));
        }
    }
}

static void check(const Round *r, int form, uint64_t *state) {
    void *data[KERNEL_MAX_TENSORS], *want[KERNEL_MAX_TENSORS];
    whet_error err = {0};
    fill(r->kernel, data, want, state);
    if (kernel_eval(r->kernel, want, NULL, &err) || kernel_c_run(form, r->kernel, data, &err))
        fail_msg("%s: %s", r->text, err.message);
    for (int t = 0; t < r->kernel->tensor_count; t++) {
        const KernelTensor *tensor = &r->kernel->tensors[t];
        int64_t bad = tensor->role == ROLE_TEMPORARY ? -1 : data_compare(tensor, data[t], want[t], 1e-6);
        if (bad >= 0 || !data_intact(tensor, data[t]))
            fail_msg("%s, m=%lld n=%lld k=%lld, form %d: %s of '%s' (element %lld)", r->text, (long long)r->m, (long long)r->n,
                     (long long)r->k, form, bad >= 0 ? "wrong elements" : "sentinels", tensor->name, (long long)bad);
        data_free(data[t]);
        data_free(want[t]);
    }
}

static void run_rounds(int bytes) {
    static Round rounds[ROUNDS * COUNT(texts) / 4];
    ScheduleOptions options;
    const char *given = getenv("SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t)time(NULL), state = seed * 2 + 1;
    print_message("seed %llu, vectors of %d bytes\n", (unsigned long long)seed, bytes);
    kernel_c.bytes = bytes;
    kernel_c.options = &options;
    kernel_c_start();
    for (size_t i = 0; i < COUNT(rounds); i++)
        make(&rounds[i], &state, &options, i);
    kernel_c_build();
    for (size_t i = 0; i < COUNT(rounds); i++, kernel_c.next++) {
        for (int form = 0; form < KERNEL_C_FORMS && !kernel_c.why[0]; form++)
            check(&rounds[i], form, &state);
        arena_free(&rounds[i].arena);
    }
    kernel_c_end();
}

static void vectors_of_32_bytes(void **state) {
    (void)state;
    run_rounds(32);
}

static void vectors_of_64_bytes(void **state) {
    (void)state;
    run_rounds(64);
}

/* The text of one kernel is the same every time, and it has its name. */
static void the_same_text(void **state) {
    (void)state;
    Arena arena;
    Text first, second;
    whet_error err = {0};
    const char *text = "in a: f32[7, 5]; in b: f32[5, 40]; c[m, n] = sum(k) a[m, k] * b[k, n]";
    arena_init(&arena, NULL);
    text_init(&first);
    text_init(&second);
    Kernel *kernel = kernel_parse(&arena, text, strlen(text), &err);
    assert_non_null(kernel);
    assert_int_equal(kernel_bind(kernel, NULL, 0, NULL, 0, &err), WHET_OK);
    assert_int_equal(schedule_print_c(kernel, 32, NULL, "gemm", &first, &err), WHET_OK);
    assert_int_equal(schedule_print_c(kernel, 32, NULL, "gemm", &second, &err), WHET_OK);
    assert_string_equal(first.data, second.data);
    assert_non_null(strstr(first.data, "\nint gemm(const float *a, const float *b, float *c) {\n"));
    assert_int_equal(schedule_print_c(kernel, 48, NULL, "gemm", &second, &err), WHET_ERROR_ARGUMENT);
    text_free(&first);
    text_free(&second);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(vectors_of_32_bytes), cmocka_unit_test(vectors_of_64_bytes),
                                       cmocka_unit_test(the_same_text)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
