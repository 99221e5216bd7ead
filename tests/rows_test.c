/* Row kernels against the evaluator, whose sums are of f64: AVX2, AVX-512 and the interpreter; random shapes (zero, one, primes,
 * partial vectors), sentinels around every buffer, NaN and infinities among the data, any order of tasks.
 *
 * The bound: a sum of n terms adds up to n / lanes + 8 of them in a chain where lanes are columns, n + 8 where lanes are rows. So
 * an element may be off by scale * (chain + 8) * 2^-24, `scale` being what the kernel's intermediate values reach with inputs in
 * [-2, 2]. Maxima and minima are exact. */
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
    const char *text;
    const char *shapes[6]; /* "x: m, n" */
    double scale;          /* 0: exact */
    bool grows;            /* the scale is that of one term of a sum */
    const char *columns;   /* extents whose product is a row's length */
    bool across;           /* lanes are rows, where no extent is 1 */
} Sample;

#define SOFTMAX                                                                                                                  \
    "top[i] = max(j) x[i, j]\ne[i, j] = exp(x[i, j] - top[i])\ntotal[i] = sum(j) e[i, j]\ny[i, j] = e[i, j] / total[i]"

#define NORM                                                                                                                     \
    "m[i] = (sum(j) x[i, j]) / 100\nv[i] = (sum(j) square(x[i, j] - m[i])) / 100\n"                                              \
    "y[i, j] = (x[i, j] - m[i]) / sqrt(v[i] + 0.1)"

static const Sample samples[] = {
    {SOFTMAX, {"x: m, n"}, 4, false, "n", false},
    {"top[i, 0, k] = max(j) x[i, j, k]\ne[i, j, k] = exp(x[i, j, k] - top[i, 0, k])\ntotal[i, 0, k] = sum(j) e[i, j, k]\n"
     "y[i, j, k] = e[i, j, k] / total[i, 0, k]",
     {"x: m, n, k"},
     4,
     false,
     "n",
     true},
    {"top[i, h, 0] = max(j) x[i, h, j]\ne[i, h, j] = exp(x[i, h, j] - top[i, h, 0])\n"
     "y[i, h, j] = e[i, h, j] / (sum(k) e[i, h, k])",
     {"x: m, n, k"},
     4,
     false,
     "k",
     false},
    {"top[i, 0] = max(j) x[i, j]\nz[i, j] = x[i, j] - top[i, 0]\ntotal[i, 0] = log(sum(j) exp(z[i, j]))\n"
     "y[i, j] = z[i, j] - total[i, 0]",
     {"x: m, n"},
     16,
     false,
     "n",
     false},
    {"top[i] = max(j) x[i, j]\ny[i] = top[i] + log(sum(j) exp(x[i, j] - top[i]))", {"x: m, n"}, 16, false, "n", false},
    {"mean[i, j, 0] = (sum(k) x[i, j, k]) / 100\nv[i, j, 0] = (sum(k) square(x[i, j, k] - mean[i, j, 0])) / 100\n"
     "r[i, j, 0] = 1 / sqrt(v[i, j, 0] + 1e-1)\ny[i, j, k] = (x[i, j, k] - mean[i, j, 0]) * r[i, j, 0] * s[k] + b[k]",
     {"x: m, n, p", "s: p", "b: p"},
     64,
     false,
     "p",
     false},
    {"mean[i] = (sum(k) x[i, k]) / 100\nd[i, k] = x[i, k] - mean[i]\nv[i] = (sum(k) d[i, k] * d[i, k]) / 100\n"
     "y[i, k] = d[i, k] / sqrt(v[i] + 0.1) * s[k] + b[k]",
     {"x: m, p", "s: p", "b: p"},
     64,
     false,
     "p",
     false},
    {"z[i, j] = x[i, j] + skip[i, j] + bias[j]\nsum_out[i, j] = z[i, j]\nmu[i] = (sum(j) z[i, j]) / 100\n"
     "dev[i] = 1 / sqrt((sum(j) (z[i, j] - mu[i]) * (z[i, j] - mu[i])) / 100 + 0.1)\n"
     "y[i, j] = (z[i, j] - mu[i]) * dev[i] * s[j] + b[j]",
     {"x: m, n", "skip: m, n", "bias: n", "s: n", "b: n"},
     512,
     false,
     "n",
     false},
    {"out mean[i, 0] = (sum(j) x[i, j]) / 100\nout d[i, j] = x[i, j] - mean[i, 0]\n"
     "out r[i, 0] = 1 / sqrt((sum(j) square(d[i, j])) / 100 + 0.1)\ny[i, j] = d[i, j] * r[i, 0]",
     {"x: m, n"},
     64,
     false,
     "n",
     false},
    {"y[i, j] = x[i, j] / sqrt((sum(k) x[i, k] * x[i, k]) / 100 + 0.1) * g[j]", {"x: m, n", "g: n"}, 64, false, "n", false},
    {"mean[i] = (sum(j) x[i, j]) * 0.01\ns[i] = sqrt((sum(j) pow(x[i, j] - mean[i], 2)) / 100 + 0.1)\n"
     "y[i, j] = (x[i, j] - mean[i]) / s[i] * g[j] + b[j]",
     {"x: m, n", "g: n", "b: n"},
     64,
     false,
     "n",
     false},
    {"out e[i, j] = exp(x[i, j])\ny[i, j] = e[i, j] / (sum(k) e[i, k]) + r[i, j] * c[i]",
     {"x: m, n", "r: m, n", "c: m"},
     16,
     false,
     "n",
     false},
    {"mean[n, c] = (sum(h, w) x[n, c, h, w]) / 49\nv[n, c] = (sum(h, w) square(x[n, c, h, w] - mean[n, c])) / 49\n"
     "y[n, c, h, w] = s[c] * (x[n, c, h, w] - mean[n, c]) / sqrt(v[n, c] + 0.1) + b[c]",
     {"x: m, k, h, w", "s: k", "b: k"},
     256,
     false,
     "h w",
     false},
    {"mean[c] = (sum(n, h, w) x[n, c, h, w]) / 343\nv[c] = (sum(n, h, w) square(x[n, c, h, w] - mean[c])) / 343\n"
     "y[n, c, h, w] = (x[n, c, h, w] - mean[c]) / sqrt(v[c] + 0.1)",
     {"x: m, k, h, w"},
     256,
     false,
     "m h w",
     false},
    {"f[c] = s[c] / sqrt(abs(v[c]) + 0.1)\nt[c] = b[c] - mean[c] * f[c]\ny[n, c, h, w] = x[n, c, h, w] * f[c] + t[c]",
     {"x: m, k, h, w", "s: k", "v: k", "b: k", "mean: k"},
     64,
     false,
     "h w",
     false},
    {"f[c] = s[c] / sqrt(abs(v[c]) + 0.1)\ny[n, h, w, c] = x[n, h, w, c] * f[c] + b[c]",
     {"x: m, h, w, k", "s: k", "v: k", "b: k"},
     64,
     false,
     "k",
     false},
    {"g[j] = exp(s[j])\nm[i] = max(j) x[i, j] * g[j]\ny[i, j] = exp(x[i, j] * g[j] - m[i])",
     {"x: m, n", "s: n"},
     64,
     false,
     "n",
     false},
    {"y[i] = sum(j) abs(x[i, j])", {"x: m, n"}, 2, true, "n", false},
    {"y[i] = sqrt(sum(j) square(x[i, j]))", {"x: m, n"}, 4, true, "n", false},
    {"y[j] = (sum(i) x[i, j]) / 7", {"x: m, n"}, 2, true, "m", true},
    {"y[i, 0, k] = (sum(j) x[i, j, k]) * 0.25", {"x: m, n, k"}, 2, true, "n", true},
    {"y[j] = sum(i, k) x[i, j, k]", {"x: m, n, k"}, 2, true, "m k", false},
    {"y[c] = sum(n, h, w) x[n, h, w, c] * z[n, h, w, c]", {"x: m, h, w, k", "z: m, h, w, k"}, 4, true, "m h w", true},
    {"y[n, c, 0, 0] = (sum(h, w) x[n, c, h, w]) / 9", {"x: m, k, h, w"}, 2, true, "h w", false},
    {"y[k] = max(i, j) x[i, j, k]", {"x: m, n, k"}, 0, false, "m n", true},
    {"y[i] = max(j) x[i, j]", {"x: m, n"}, 0, false, "n", false},
    {"y[i] = min(j, k) x[i, j, k]", {"x: m, n, k"}, 0, false, "n k", false},
    {"y[j] = min(i) abs(x[i, j])", {"x: m, n"}, 0, false, "m", true},
    {"y[i] = prod(j) (1 + x[i, j] * 0.01)", {"x: m, n"}, 16, true, "n", false},
    {"y[j] = prod(i) (1 + x[i, j] * 0.01)", {"x: m, n"}, 16, true, "m", true},
    {"y[] = sum(i, j) x[i, j]", {"x: m, n"}, 2, true, "m n", false},
    {"y[i] = (max(j) x[i, j]) - (min(j) x[i, j])", {"x: m, n"}, 0, false, "n", false},
    {"y[i] = (sum(j) x[i, j]) + (sum(j) x[i, j] * x[i, j]) * (max(j) z[i, j])", {"x: m, n", "z: m, n"}, 32, true, "n", false},
};
static const int64_t extents[] = {0, 1, 1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 48, 64, 67, 100, 128, 131, 300};
static const int64_t small_extents[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 14, 16, 17};

/* ---- a sample with extents ---- */

typedef struct Drawn {
    const Sample *sample;
    int64_t extent[26]; /* by letter */
    bool special;       /* NaN, infinities, zeros of both signs and subnormals among the data */
} Drawn;

static void draw(Drawn *d, const Sample *s) {
    bool many = strstr(s->shapes[0], "h, w") != NULL || strstr(s->shapes[0], "n, k") || strstr(s->shapes[0], "n, p");
    *d = (Drawn){.sample = s, .special = next() % 4 == 0};
    for (int i = 0; i < 26; i++)
        d->extent[i] = many ? small_extents[next() % COUNT(small_extents)] : extents[next() % COUNT(extents)];
    if (next() % 8)
        for (int i = 0; i < 26; i++) /* mostly something to do */
            d->extent[i] += d->extent[i] == 0;
}

static Kernel *bind(Arena *arena, const Drawn *d, whet_error *err) {
    const Sample *s = d->sample;
    Kernel *kernel = kernel_parse(arena, s->text, strlen(s->text), err);
    KernelArg args[6];
    int64_t dims[6][4];
    char names[6][8];
    int count = 0;
    for (; count < 6 && s->shapes[count]; count++) {
        const char *colon = strchr(s->shapes[count], ':');
        snprintf(names[count], sizeof names[count], "%.*s", (int)(colon - s->shapes[count]), s->shapes[count]);
        args[count] = (KernelArg){names[count], DT_F32, 0, dims[count]};
        for (const char *p = colon + 2; *p; p += p[1] ? 3 : 1)
            dims[count][args[count].rank++] = d->extent[*p - 'a'];
    }
    return kernel && kernel_bind(kernel, args, count, NULL, 0, err) == WHET_OK ? kernel : NULL;
}

static double row_length(const Drawn *d) {
    double n = 1;
    for (const char *p = d->sample->columns; *p; p++)
        if (*p != ' ')
            n *= (double)d->extent[*p - 'a'];
    return n;
}

/* ---- data ---- */

static float value_of(bool special) {
    static const float odd[] = {NAN, INFINITY, -INFINITY, -0.0f, 0.0f, 1e-41f, 3e38f};
    if (special && next() % 97 == 0)
        return odd[next() % (COUNT(odd) - 1)];
    return (float)((int)(next() % 2001) - 1000) / 512;
}

/* ---- comparing ---- */

static void report(const Drawn *d, const Compiled *compiled, const char *target, const char *what) {
    print_error("%s\n", d->sample->text);
    for (const char *p = "mnkphw"; *p; p++)
        print_error("%c=%lld ", *p, (long long)d->extent[*p - 'a']);
    print_error("\non %s: %s\n", target, what);
    if (compiled)
        print_schedule(compiled);
    fail();
}

static bool close_enough(const Kernel *kernel, const Buffers *got, const Buffers *wanted, double bound) {
    for (int t = 0; t < kernel->tensor_count; t++)
        if (kernel->tensors[t].role == ROLE_OUTPUT && !data_close(&kernel->tensors[t], got->data[t], wanted->data[t], bound))
            return false;
    return true;
}

static void fill(const KernelTensor *tensor, void *data, const void *context) {
    const Drawn *d = context;
    for (int64_t i = 0; i < tensor->count; i++)
        ((float *)data)[i] = value_of(d->special);
}

static void check_on(const Drawn *d, const Kernel *kernel, const Target *target, const char *label) {
    Buffers got, again, wanted;
    whet_error err;
    const char *why = NULL;
    Compiled *compiled = NULL;
    ScheduleOptions options = {.seed = next() % 3 ? 0 : next(), .unroll = next() % 3 ? 0 : 1 + (int)(next() % 5)};
    uint64_t seed = state_of_random;
    buffers_new(kernel, fill, d, &wanted);
    state_of_random = seed; /* the same inputs again */
    buffers_new(kernel, fill, d, &got);
    state_of_random = seed;
    buffers_new(kernel, fill, d, &again);
    whet_status status = schedule_compile(kernel, target, &options, &compiled, &why, &err);
    if (status != WHET_OK && options.unroll) { /* as many steps may be more than there are registers for */
        options.unroll = 0;
        status = schedule_compile(kernel, target, &options, &compiled, &why, &err);
    }
    if (status != WHET_OK)
        report(d, NULL, label, err.message);
    Parallel parallel = {.threads = 3, .run = run_backwards};
    EvalOptions how = {.parallel = &parallel};
    bool across = schedule_says(compiled, "lanes are rows"), many = true;
    for (const char *p = "mnkphw"; *p; p++)
        many = many && d->extent[*p - 'a'] > 16;
    if (many && across != d->sample->across)
        report(d, compiled, label, "lanes are not what they should be");
    if (kernel_eval(kernel, wanted.data, NULL, &err) != WHET_OK || compiled_run(compiled, got.data, NULL, &err) != WHET_OK ||
        compiled_run(compiled, again.data, &how, &err) != WHET_OK)
        report(d, compiled, label, err.message);
    double n = row_length(d), chain = (across ? n : n * 4 / target->bytes) + 8;
    double bound = d->sample->scale * (chain + 8) * 0x1p-24 * (d->sample->grows ? n + 1 : 1);
    if (!buffers_intact(kernel, &got))
        report(d, compiled, label, "a sentinel was overwritten");
    if (!close_enough(kernel, &got, &wanted, bound))
        report(d, compiled, label, "a wrong result");
    if (!buffers_equal(kernel, &got, &again))
        report(d, compiled, label, "other bits with threads");
    compiled_free(compiled);
    buffers_free(kernel, &got);
    buffers_free(kernel, &again);
    buffers_free(kernel, &wanted);
}

static void check_samples(const Target *target, const char *label, int rounds) {
    for (size_t i = 0; i < COUNT(samples); i++)
        for (int round = 0; round < rounds; round++) {
            Drawn d;
            Arena arena;
            whet_error err;
            state_of_random = (uint64_t)i * 1000 + (uint64_t)round + 1;
            next();
            draw(&d, &samples[i]);
            arena_init(&arena, NULL);
            Kernel *kernel = bind(&arena, &d, &err);
            if (!kernel)
                report(&d, NULL, label, err.message);
            check_on(&d, kernel, target, label);
            arena_free(&arena);
        }
}

static const HereRounds rounds_of = {check_samples, 60, 30, 4, 2, false};

/* ---- the same bits for any number of rows ---- */

/* Whether passes went side by side. */
static bool run(const char *text, int64_t rows, int64_t columns, const float *x, float *y) {
    Arena arena;
    Target target;
    whet_error err;
    Compiled *compiled;
    KernelArg args[] = {{"x", DT_F32, 2, (int64_t[]){rows, columns}}};
    arena_init(&arena, NULL);
    Kernel *kernel = kernel_parse(&arena, text, strlen(text), &err);
    assert_non_null(kernel);
    assert_int_equal(kernel_bind(kernel, args, 1, NULL, 0, &err), WHET_OK);
    assert_true(target_host(~UINT64_C(0), &target));
    assert_int_equal(schedule_compile(kernel, &target, NULL, &compiled, NULL, &err), WHET_OK);
    void *data[KERNEL_MAX_TENSORS] = {0};
    data[kernel_find_tensor(kernel, "x")] = (void *)(uintptr_t)x;
    data[kernel_find_tensor(kernel, "y")] = y;
    assert_int_equal(compiled_run(compiled, data, NULL, &err), WHET_OK);
    bool overlaps = schedule_says(compiled, "side by side");
    compiled_free(compiled);
    arena_free(&arena);
    return overlaps;
}

static void any_batch(void **state) {
    enum { ROWS = 13, COLUMNS = 600 };
    static const char *const texts[] = {SOFTMAX, NORM, "y[i] = sum(j) x[i, j]"};
    (void)state;
    Target target;
    if (!target_host(~UINT64_C(0), &target)) {
        print_message("skipped: no code generator for this machine\n");
        skip();
    }
    static float x[ROWS * COLUMNS], all[ROWS * COLUMNS], one[COLUMNS];
    state_of_random = 5;
    for (int columns = 1; columns <= COLUMNS; columns += columns < 20 ? 1 : columns < 100 ? 13 : 83)
        for (size_t k = 0; k < COUNT(texts); k++) {
            int wide = k < 2 ? columns : 1; /* of a row of y */
            for (int i = 0; i < ROWS * columns; i++)
                x[i] = value_of(false);
            run(texts[k], ROWS, columns, x, all);
            for (int row = 0; row < ROWS; row++) {
                run(texts[k], 1, columns, x + row * columns, one);
                assert_memory_equal(one, all + row * wide, (size_t)wide * sizeof(float));
            }
        }
}

/* Passes over some rows beside those over others, whole tasks and parts of them, in place and not. */
static void side_by_side(void **state) {
    enum { ROWS = 75, COLUMNS = 600, TASK = (1 << 15) / COLUMNS };
    static const int rows[] = {1, 2, 5, 7, 8, 9, 11, 12, 13, 17, TASK + 1, TASK + 4, ROWS};
    static const int columns[] = {112, 167, COLUMNS};
    static const char *const texts[] = {SOFTMAX,
                                        "s[i, j] = x[i, j] * 0.125 + 1\ntop[i] = max(j) s[i, j]\n"
                                        "e[i, j] = exp(s[i, j] - top[i])\ny[i, j] = e[i, j] / (sum(k) e[i, k])",
                                        NORM,
                                        "y[i, j] = x[i, j] / sqrt((sum(k) x[i, k] * x[i, k]) / 100 + 0.1)",
                                        "a[i] = (sum(j) x[i, j]) * 0.01\nb[i] = (sum(j) x[i, j] * a[i]) * 0.01\n"
                                        "c[i] = (sum(j) x[i, j] * b[i]) * 0.01\nd[i] = (sum(j) x[i, j] * c[i]) * 0.01\n"
                                        "y[i, j] = x[i, j] + d[i]",
                                        "m[i] = (sum(j) x[i, j]) * 0.01\nv[i] = (sum(j) square(x[i, j] - m[i])) * 0.01\n"
                                        "y[i, j] = sqrt(abs((x[i, j] - m[i]) / sqrt(v[i] + 0.1)))"};
    static const int least_rows[] = {8, 8, 6, 6, ROWS + 1 /* more passes than go side by side */, 6};
    (void)state;
    Target target;
    if (!target_host(~UINT64_C(0), &target)) {
        print_message("skipped: no code generator for this machine\n");
        skip();
    }
    static float x[ROWS * COLUMNS], one[ROWS * COLUMNS], all[ROWS * COLUMNS + 1];
    for (size_t c = 0; c < COUNT(columns); c++)
        for (size_t k = 0; k < COUNT(texts); k++) {
            state_of_random = 7 + c;
            for (int i = 0; i < ROWS * columns[c]; i++)
                x[i] = value_of(false);
            for (int row = 0; row < ROWS; row++)
                assert_false(run(texts[k], 1, columns[c], x + row * columns[c], one + row * columns[c]));
            for (size_t n = 0; n < COUNT(rows); n++) {
                int count = rows[n] * columns[c];
                all[count] = 7;
                assert_int_equal(run(texts[k], rows[n], columns[c], x, all), rows[n] >= least_rows[k]);
                assert_memory_equal(one, all, (size_t)count * sizeof *all);
                memcpy(all, x, (size_t)count * sizeof *all);
                run(texts[k], rows[n], columns[c], all, all);
                assert_memory_equal(one, all, (size_t)count * sizeof *all);
                assert_true(all[count] == 7);
            }
        }
}

/* ---- a mean and the squares about it in one pass ---- */

enum { EVEN, FAR, STEP, OUTLIER, CONSTANT, KINDS };

static float value_for(int kind, int64_t column) {
    float x = value_of(false);
    switch (kind) {
    case FAR: return 1000 + x;
    case STEP: return column < 64 ? 100 + x : x; /* the columns that the others are summed about */
    case OUTLIER: return column == 0 ? 1000 : x;
    case CONSTANT: return 3.3f;
    default: return x;
    }
}

/* The variance of rows, whose error may be that of a sum of squares times 1 + columns / 64, and the square of the mean's. */
static void moments(void **state) {
    enum { MOST = 4096 };
    static const int64_t columns[] = {16, 33, 64, 100, 768, 1000, MOST, MOST + 1};
    static float x[KINDS * (MOST + 1)], y[KINDS];
    (void)state;
    Target target;
    if (!target_host(~UINT64_C(0), &target)) {
        print_message("skipped: no code generator for this machine\n");
        skip();
    }
    state_of_random = 7;
    for (size_t k = 0; k < COUNT(columns); k++) {
        int64_t n = columns[k];
        char text[200];
        for (int64_t i = 0; i < KINDS * n; i++)
            x[i] = value_for((int)(i / n), i % n);
        snprintf(text, sizeof text, "m[i] = (sum(j) x[i, j]) / %lld\ny[i] = (sum(j) square(x[i, j] - m[i])) / %lld", (long long)n,
                 (long long)n);
        run(text, KINDS, n, x, y);
        const int64_t chain = n * 4 / target.bytes + 8;
        for (int row = 0; row < KINDS; row++) {
            double mean = 0, squares = 0, size = 0, unit = (double)chain * 0x1p-24;
            for (int64_t j = 0; j < n; j++)
                mean += (double)x[row * n + j] / (double)n, size += fabs((double)x[row * n + j]) / (double)n;
            for (int64_t j = 0; j < n; j++)
                squares += ((double)x[row * n + j] - mean) * ((double)x[row * n + j] - mean) / (double)n;
            double bound = squares * (1 + (double)n / 64) * unit + size * unit * size * unit;
            if (!(fabs((double)y[row] - squares) <= bound))
                fail_msg("row %d of %lld columns: %g, wanted %g within %g", row, (long long)n, (double)y[row], squares, bound);
        }
    }
}

/* ---- exp of what is at most 0 ---- */

/* Of rows [0, -v] the exponentials are 1 and exp(-v), without guards against overflow: within 2 ULP, down to the subnormals. */
static void exp_below_zero(void **state) {
    enum { ROWS = 20000 };
    static const char text[] = "top[i] = max(j) x[i, j]\ny[i, j] = exp(x[i, j] - top[i])";
    static float x[2 * ROWS], y[2 * ROWS];
    (void)state;
    Arena arena;
    Target target;
    whet_error err;
    Compiled *compiled;
    KernelArg args[] = {{"x", DT_F32, 2, (int64_t[]){ROWS, 2}}};
    if (!target_host(~UINT64_C(0), &target)) {
        print_message("skipped: no code generator for this machine\n");
        skip();
    }
    const int half = ROWS / 2;
    for (int i = 0; i < ROWS; i++)
        x[2 * i + 1] = (float)(i < half ? -110.0 * i / half : -exp(5 - (i - half) * 0.002));
    x[2 * ROWS - 1] = -INFINITY;
    x[2 * ROWS - 3] = -3.4e38f;
    arena_init(&arena, NULL);
    Kernel *kernel = kernel_parse(&arena, text, strlen(text), &err);
    assert_non_null(kernel);
    assert_int_equal(kernel_bind(kernel, args, 1, NULL, 0, &err), WHET_OK);
    assert_int_equal(schedule_compile(kernel, &target, NULL, &compiled, NULL, &err), WHET_OK);
    void *data[KERNEL_MAX_TENSORS] = {0};
    data[kernel_find_tensor(kernel, "x")] = x;
    data[kernel_find_tensor(kernel, "y")] = y;
    assert_int_equal(compiled_run(compiled, data, NULL, &err), WHET_OK);
    for (int i = 0; i < ROWS; i++) {
        double exact = exp((double)x[2 * i + 1]), unit = fmax(ldexp(1, ilogb(fmax(exact, 0x1p-126)) - 23), 0x1p-149);
        if (y[2 * i] != 1 || !(fabs((double)y[2 * i + 1] - exact) <= 2 * unit))
            fail_msg("exp(%a) is %a, wanted %a", (double)x[2 * i + 1], (double)y[2 * i + 1], exact);
    }
    compiled_free(compiled);
    arena_free(&arena);
}

/* ---- refusals ---- */

static void refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"t[j] = sum(k) x[j, k]\ny[i, j] = x[i, j] + t[j] * t[i]", NULL}, /* in stages */
        {"e[i, j] = exp(x[i, j])\ny[i:3, j:3] = e[j, i] / (sum(k) e[i, k])", NULL},
        {"t[j] = sum(k) f64(x[j, k])\ny[i, j] = f64(x[i, j]) + t[j] * t[i]", "rows"},
        {"y[i] = sum(j) f64(x[i, j])", "64 bits"},
    };
    Target target;
    assert_true(target_x86(~UINT64_C(0), &target));
    for (size_t i = 0; i < COUNT(cases); i++) {
        Arena arena;
        whet_error err;
        Compiled *compiled;
        const char *why = NULL;
        KernelArg args[] = {{"x", DT_F32, 2, (int64_t[]){3, 3}}};
        arena_init(&arena, NULL);
        Kernel *kernel = kernel_parse(&arena, cases[i].text, strlen(cases[i].text), &err);
        assert_non_null(kernel);
        assert_int_equal(kernel_bind(kernel, args, 1, NULL, 0, &err), WHET_OK);
        whet_status status = schedule_compile(kernel, &target, NULL, &compiled, &why, &err);
        assert_int_equal(status, cases[i].why ? WHET_ERROR_UNSUPPORTED : WHET_OK);
        if (cases[i].why ? !why || !strstr(why, cases[i].why) : strcmp(compiled->template, "stages") != 0)
            fail_msg("%s: %s", cases[i].text, why ? why : compiled->template);
        compiled_free(compiled);
        arena_free(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        HERE_TESTS(rounds_of),     cmocka_unit_test(any_batch),      cmocka_unit_test(side_by_side),
        cmocka_unit_test(moments), cmocka_unit_test(exp_below_zero), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
