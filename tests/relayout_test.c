/* Convolutions of images channels first: padded or as they lie with pixels over the lanes, or in stages: transposed, computed
 * channels last, transposed back. Against the evaluator,
 * with sentinels around every tensor; what must not be taken so; constants, threads and exactness drawn from a printed seed. */
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

typedef struct Sample {
    const char *template; /* that must take it with constant weights */
    bool always;          /* and without */
    const char *text;     /* its weights are f */
} Sample;

static const Sample samples[] = {
    {"stages", true,
     "in x: f32[2, 20, 15, 17]\nin f: f32[33, 20, 3, 3]\nin b: f32[33]\n"
     "y[n:2, o, h:15, w:17] = max((sum(c, i, j) x[n, c, h + i - 1, w + j - 1]? * f[o, c, i, j]) + b[o], 0)"},
    {"stages", true, /* a residual; strides and dilations */
     "in x: f32[1, 16, 28, 31]\nin f: f32[24, 16, 3, 5]\nin b: f32[24]\nin r: f32[1, 24, 14, 13]\n"
     "y[n:1, o, h:14, w:13] = max((sum(c, i, j) x[n, c, 2*h + i - 1, 2*w + 2*j - 3]? * f[o, c, i, j]) + b[o] + r[n, o, h, w], "
     "0)"},
    {"stages", true, /* biases that are images of one pixel */
     "in x: f32[3, 17, 14, 14]\nin f: f32[40, 17, 3, 3]\nin b: f32[1, 40, 1, 1]\n"
     "y[n:3, o, h:14, w:14] = (sum(c, i, j) x[n, c, h + i - 1, w + j - 1]? * f[o, c, i, j]) * b[0, o, 0, 0]"},
    {"stages", true, /* groups */
     "in x: f32[1, 32, 14, 15]\nin f: f32[64, 16, 3, 3]\n"
     "y[n:1, 32*g:2 + m:32, h:14, w:15] = sum(c, i, j) x[n, 16*g + c, h + i - 1, w + j - 1]? * f[32*g + m, c, i, j]"},
    {"stages", true, /* three dimensions */
     "in x: f32[1, 18, 5, 9, 11]\nin f: f32[20, 18, 3, 3, 3]\nin b: f32[20]\n"
     "y[n:1, o, d:5, h:9, w:11] = (sum(c, k, i, j) x[n, c, d + k - 1, h + i - 1, w + j - 1]? * f[o, c, k, i, j]) + b[o]"},
    {"stages", false, /* one */
     "in x: f32[1, 48, 101]\nin f: f32[48, 48, 5]\n"
     "y[n:1, o, w:101] = sum(c, j) x[n, c, w + j - 2]? * f[o, c, j]"},
    {"stages", false, /* no taps, and lanes that pixels do not fill */
     "in x: f32[1, 128, 3, 3]\nin f: f32[96, 128]\n"
     "y[n, o, h, w] = sum(c) x[n, c, h, w] * f[o, c]"},
    {"stages", true, /* few outputs: padded */
     "in x: f32[2, 5, 21, 37]\nin f: f32[4, 5, 3, 3]\nin b: f32[4]\nin r: f32[2, 4, 21, 37]\n"
     "y[n:2, o, h:21, w:37] = max((sum(c, i, j) x[n, c, h + i - 1, w + j - 1]? * f[o, c, i, j]) + b[o] + r[n, o, h, w], 0)"},
    {"stages", true, /* and rows that are far apart, or dilated */
     "in x: f32[1, 6, 23, 40]\nin f: f32[3, 6, 5, 3]\n"
     "y[n:1, o, h:11, w:38] = sum(c, i, j) x[n, c, 2*h + i - 1, w + 2*j - 1]? * f[o, c, i, j]"},
    {"stages", true, /* groups of four */
     "in x: f32[1, 32, 14, 30]\nin f: f32[32, 4, 3, 3]\n"
     "y[n:1, 4*g:8 + m:4, h:14, w:30] = sum(c, i, j) x[n, 4*g + c, h + i - 1, w + j - 1]? * f[4*g + m, c, i, j]"},
    {"stages", true, /* one channel */
     "in x: f32[1, 1, 29, 40]\nin f: f32[16, 1, 8, 8]\nin b: f32[16]\n"
     "y[n:1, o, h:29, w:40] = max((sum(c, i, j) x[n, c, h + i - 3, w + j - 3]? * f[o, c, i, j]) + b[o], 0)"},
    {"stages", true, /* one output */
     "in x: f32[2, 8, 20, 33]\nin f: f32[1, 8, 5, 5]\n"
     "y[n:2, o, h:20, w:33] = sum(c, i, j) x[n, c, h + i - 2, w + j - 2]? * f[o, c, i, j]"},
    {"stages", true, /* one of each, strided: rows times a vector */
     "in x: f32[1, 501]\nin f: f32[200]\ny[n:1, w:251] = sum(j) x[n, 2*w + j - 99]? * f[j]"},
    {"stages", true, /* every third pixel, with taps: once for each of them */
     "in x: f32[1, 1, 40, 98]\nin f: f32[12, 1, 7, 7]\nin b: f32[12]\n"
     "y[n:1, o, h:20, w:32] = max((sum(c, i, j) x[n, c, 2*h + i - 3, 3*w + j - 2]? * f[o, c, i, j]) + b[o], 0)"},
    {"stages", false, /* without: what lies between is left out */
     "in x: f32[2, 18, 28, 60]\nin f: f32[90, 18]\ny[n:2, o, h:14, w:30] = sum(c) x[n, c, 2*h, 2*w] * f[o, c]"},
    {"rows", true, "in x: f32[41, 70]\nin f: f32[70]\ny[m] = sum(k) x[m, k] * f[k]"},
    {"stages", false, /* one channel without borders, its pixels far apart */
     "in x: f32[1, 1, 1240]\nin f: f32[33, 1, 64]\n"
     "y[n:1, o, w:74] = sum(c, j) x[n, c, 16*w + j] * f[o, c, j]"},
    {"contract", false, /* large ones without taps are read as they lie */
     "in x: f32[2, 36, 20, 20]\nin f: f32[40, 36]\nin b: f32[40]\n"
     "y[n, o, h, w] = max((sum(c) x[n, c, h, w] * f[o, c]) + b[o], 0)"},
    {"contract", false, /* with taps, but without borders */
     "in x: f32[2, 3, 18, 34]\nin f: f32[5, 3, 3, 3]\n"
     "y[n:2, o, h:16, w:32] = sum(c, i, j) x[n, c, h + i, w + j] * f[o, c, i, j]"},
    {"stages", true, /* transposed: a definition a phase */
     "in x: f32[1, 12, 9, 10]\nin f: f32[12, 20, 2, 2]\nin b: f32[20]\n"
     "y[n, o, 2*h:9, 2*w:10] = (sum(c) x[n, c, h, w] * f[c, o, 0, 0]) + b[o]\n"
     "y[n, o, 2*h:9, 2*w:10 + 1] = (sum(c) x[n, c, h, w] * f[c, o, 0, 1]) + b[o]\n"
     "y[n, o, 2*h:9 + 1, 2*w:10] = (sum(c) x[n, c, h, w] * f[c, o, 1, 0]) + b[o]\n"
     "y[n, o, 2*h:9 + 1, 2*w:10 + 1] = (sum(c) x[n, c, h, w] * f[c, o, 1, 1]) + b[o]\n"},
    {"stages", true, /* or an axis: it is computed beside its channels and placed between the pixels */
     "in x: f32[1, 12, 9, 10]\nin f: f32[12, 20, 2, 2]\nin b: f32[20]\n"
     "y[n, o, 2*h:9 + r, 2*w:10 + s] = max((sum(c) x[n, c, h, w] * f[c, o, r, s]) + b[o], 0)"},
    {"stages", true, /* the same channels last, with few outputs and a residual */
     "in x: f32[2, 9, 11, 96]\nin f: f32[96, 3, 2]\nin b: f32[2, 27, 22]\n"
     "y[n, 3*h:9 + r, 2*w:11 + s] = (sum(c) x[n, h, w, c] * f[c, r, s]) + b[n, 3*h + r, 2*w + s]"},
    {"stages", true, /* channels that become pixels, with taps */
     "in x: f32[1, 18, 17, 32]\nin f: f32[4, 32, 3, 3]\nin b: f32[4]\n"
     "y[n:1, h:18, r:2, w:17, s:2] = (sum(c, i, j) x[n, h + i - 1, w + j - 1, c]? * f[2*r + s, c, i, j]) + b[2*r + s]"},
    {"stages", true, /* a window whose channels are last in what it reads alone */
     "in x: f32[1, 14, 15, 18]\nin f: f32[18]\ny[n, c, h:4, w:5] = (max(i:3, j:3) x[n, 3*h + i, 3*w + j, c]) * f[c]"},
    {"stages", true, /* or in what it writes; channels shuffled */
     "in x: f32[2, 2, 10, 9, 12]\nin f: f32[24]\n"
     "y[n, h:5, w:7, 2*c + g:2] = (sum(i:2, j:3) x[n, g, 2*h + i, w + j, c]) * f[2*c + g]"},
    {"contract", true, /* a matrix product like any other */
     "in a: f32[60, 70]\nin f: f32[70, 80]\nc[m, n] = sum(k) a[m, k] * f[k, n]"},
    {"contract", true, "in a: f32[70, 60]\nin f: f32[80, 70]\nc[m, n] = sum(k) a[k, m] * f[n, k]"},
    {"contract", true, /* channels last already */
     "in x: f32[1, 15, 17, 20]\nin f: f32[13, 20, 3, 3]\n"
     "y[n:1, h:15, w:17, o] = sum(c, i, j) x[n, h + i - 1, w + j - 1, c]? * f[o, c, i, j]"},
};

static void fill(const KernelTensor *tensor, void *data, const void *context) {
    (void)context;
    data_fill_small(tensor, data, 1000);
}

/* Winograd's bound for sums of `depth` products of at most 1, and that of sums as they are written. */
static bool compare(const Kernel *kernel, const Buffers *got, const Buffers *wanted, double depth, bool exact) {
    double bound = exact ? 1.2e-7 * (depth + 8) : 1e-6 * depth;
    for (int t = 0; t < kernel->tensor_count; t++)
        if (!data_close(&kernel->tensors[t], got->data[t], wanted->data[t], bound))
            return false;
    return buffers_intact(kernel, got);
}

static void check_sample(const Sample *s, const Target *target, const char *label) {
    uint64_t seed = state_of_random;
    Arena arena;
    whet_error err = {0};
    Compiled *compiled = NULL;
    const char *why = NULL;
    const void *constant[KERNEL_MAX_TENSORS] = {0};
    Buffers got, wanted;
    arena_init(&arena, NULL);
    Kernel *kernel = kernel_parse(&arena, s->text, strlen(s->text), &err);
    if (!kernel || kernel_bind(kernel, NULL, 0, NULL, 0, &err) != WHET_OK)
        fail_msg("%s\n%s", s->text, err.message);
    buffers_new(kernel, fill, NULL, &wanted);
    state_of_random = seed;
    buffers_new(kernel, fill, NULL, &got);
    int weights = kernel_find_tensor(kernel, "f");
    bool known = !s->always || next() % 2;
    constant[weights] = known ? got.data[weights] : NULL;
    ScheduleOptions options = {.constant = constant, .exact = next() % 2, .seed = next() % 3 ? 0 : next()};
    Parallel parallel = {.threads = 1 + (int)(next() % 4), .run = run_backwards};
    EvalOptions how = {.parallel = next() % 2 ? &parallel : NULL};
    if (schedule_compile(kernel, target, &options, &compiled, &why, &err) != WHET_OK)
        fail_msg("%s\n%s on %s", s->text, err.message, label);
    assert_int_equal(kernel_eval(kernel, wanted.data, NULL, &err), WHET_OK);
    assert_int_equal(compiled_run(compiled, got.data, &how, &err), WHET_OK);
    double depth = depth_of(&kernel->definitions[0]);
    bool fine = (strcmp(compiled->template, s->template) == 0 || strcmp(s->template, "stages") != 0) &&
                (strcmp(compiled->template, "stages") != 0 || strcmp(s->template, "stages") == 0) &&
                compare(kernel, &got, &wanted, depth, options.exact);
    if (!fine)
        fail_msg("seed %llu on %s, template %s, wanted %s:\n%s", (unsigned long long)seed, label, compiled->template, s->template,
                 s->text);
    compiled_free(compiled);
    buffers_free(kernel, &got);
    buffers_free(kernel, &wanted);
    arena_free(&arena);
}

static void check_all(const Target *target, const char *label, int rounds) {
    for (size_t i = 0; i < COUNT(samples); i++)
        for (int round = 0; round < rounds; round++) {
            state_of_random = (uint64_t)i * 1000 + (uint64_t)round + 1;
            next();
            check_sample(&samples[i], target, label);
        }
}

/* ---- scratch ---- */

typedef struct Count {
    size_t now, most;
} Count;

static void *count_alloc(void *context, size_t bytes, size_t alignment) {
    Count *c = context;
    c->now += bytes;
    c->most = c->now > c->most ? c->now : c->most;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void count_free(void *context, void *memory, size_t bytes) {
    ((Count *)context)->now -= bytes;
    free(memory);
}

/* What a run takes of memory, on one thread, with constant weights. */
static size_t scratch_of(const char *text, const Target *target) {
    Arena arena;
    whet_error err;
    Buffers buffers;
    Compiled *compiled = NULL;
    Count count = {0};
    const whet_allocator counting = {&count, count_alloc, count_free};
    const void *constant[KERNEL_MAX_TENSORS] = {NULL};
    arena_init(&arena, NULL);
    Kernel *kernel = kernel_parse(&arena, text, strlen(text), &err);
    assert_non_null(kernel);
    assert_int_equal(kernel_bind(kernel, NULL, 0, NULL, 0, &err), WHET_OK);
    buffers_new(kernel, fill, NULL, &buffers);
    constant[kernel_find_tensor(kernel, "f")] = buffers.data[kernel_find_tensor(kernel, "f")];
    const ScheduleOptions options = {.constant = constant, .exact = true};
    assert_int_equal(schedule_compile(kernel, target, &options, &compiled, NULL, &err), WHET_OK);
    assert_int_equal(compiled_run(compiled, buffers.data, &(EvalOptions){.allocator = &counting}, &err), WHET_OK);
    assert_int_equal(count.now, 0);
    compiled_free(compiled);
    buffers_free(kernel, &buffers);
    arena_free(&arena);
    return count.most;
}

/* No columns of taps, which would be 13 MB: channels last nothing but what the first cache holds, channels first the image and
 * the result, transposed. */
static void no_column_buffer(void **state) {
    (void)state;
    enum { L1 = 32 << 10, IMAGE = 4 * 32 * 32 * 32 * 4 };
    static const char last[] =
        "in x: f32[4, 32, 32, 32]\nin f: f32[32, 32, 5, 5]\nin b: f32[32]\n"
        "y[n:4, h:32, w:32, o] = max((sum(c, i, j) x[n, h + i - 2, w + j - 2, c]? * f[o, c, i, j]) + b[o], 0)";
    static const char first[] =
        "in x: f32[4, 32, 32, 32]\nin f: f32[32, 32, 5, 5]\nin b: f32[32]\n"
        "y[n:4, o, h:32, w:32] = max((sum(c, i, j) x[n, c, h + i - 2, w + j - 2]? * f[o, c, i, j]) + b[o], 0)";
    Target target;
    if (!target_host(~UINT64_C(0), &target)) {
        print_message("skipped: no code generator for this machine\n");
        skip();
    }
    size_t bytes[] = {scratch_of(last, &target), scratch_of(first, &target)};
    print_message("scratch: %zu bytes channels last, %zu channels first\n", bytes[0], bytes[1]);
    assert_true(bytes[0] <= L1);
    assert_true(bytes[1] <= 2 * IMAGE + L1);
}

static const HereRounds rounds_of = {check_all, 12, 2, 1, 1, false};

int main(void) {
    const struct CMUnitTest tests[] = {HERE_TESTS(rounds_of), cmocka_unit_test(no_column_buffer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
