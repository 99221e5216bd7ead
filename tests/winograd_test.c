/* Winograd's convolutions against the evaluator, whose sums are f64: random images, pads, channels, batches, epilogues and
 * types of weights, through machine code for AVX2 and AVX-512 and through the interpreter, with sentinels around every tensor.
 * Errors are measured as docs/internals/winograd.md states them: relative to the sum of the magnitudes of the products. And the
 * same bits for any number of threads and any batch. A failure prints the kernel, its shapes and the seed. */
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

/* What the documentation states. */
static double tolerance(int m, int r) {
    return r == 3 && m == 2 ? 2e-7 : r == 3 ? 1e-6 : 5e-7;
}

static int64_t one_of(int count, const int64_t *from) {
    return from[next() % (uint32_t)count];
}

typedef struct Case {
    int m, r; /* outputs of a tile, taps */
    int64_t batch, rows, columns, channels, outputs, top, left, out_rows, out_columns;
    bool weights_first; /* f[o, c, i, j] as ONNX has it, or f[i, j, c, o] */
    DType weights;
    int epilogue;
    uint64_t seed;
    char text[400];
} Case;

/* What is multiplied with the image. */
static const char *factor(const Case *x) {
    if (x->weights == DT_F32)
        return x->weights_first ? "f[o, c, i, j]" : "f[i, j, c, o]";
    return x->weights_first ? "f32(f[o, c, i, j])" : "f32(f[i, j, c, o])";
}

static void draw(Case *x, uint64_t seed) {
    static const int64_t sizes[] = {3, 4, 5, 6, 7, 8, 9, 13, 14, 17, 20}, channels[] = {16, 17, 24, 32, 48, 67};
    state_of_random = seed;
    next();
    *x = (Case){.seed = seed};
    x->r = next() % 4 ? 3 : 5;
    x->m = x->r == 5 || next() % 2 ? 2 : 4;
    x->batch = 1 + next() % 3;
    x->channels = one_of(6, channels), x->outputs = one_of(6, channels);
    x->top = next() % (uint32_t)(x->r + 1), x->left = next() % (uint32_t)(x->r + 1);
    x->rows = one_of(11, sizes) + x->r - 1, x->columns = one_of(11, sizes) + x->r - 1;
    x->out_rows = x->rows + 2 * x->top - x->r + 1, x->out_columns = x->columns + x->left + next() % 3 - x->r + 1;
    x->weights_first = next() % 2;
    x->epilogue = (int)(next() % 4);
    x->weights = (DType[]){DT_F32, DT_F32, DT_F16, DT_BF16}[next() % 4];
    static const char *const before[] = {"", "max(", "clip(", "hard_swish(("}, *const after[] = {
                                                                                   "", " + b[o], 0)",
                                                                                   " + e[n, h, w, o] - b[o], -1, 2)",
                                                                                   ") * 0.5 + b[o]) + e[n, h, w, o]"};
    snprintf(x->text, sizeof x->text, "y[n, h, w, o] = %ssum(i:%d, j:%d, c) x[n, h + i - %lld, w + j - %lld, c]? * %s%s",
             before[x->epilogue], x->r, x->r, (long long)x->top, (long long)x->left, factor(x), after[x->epilogue]);
}

static Kernel *bind(Arena *arena, const char *text, const Case *x, int64_t batch, whet_error *err) {
    int64_t r = x->r;
    KernelArg args[] = {
        {"x", DT_F32, 4, (int64_t[]){batch, x->rows, x->columns, x->channels}},
        {"y", DT_F32, 4, (int64_t[]){batch, x->out_rows, x->out_columns, x->outputs}},
        {"e", DT_F32, 4, (int64_t[]){batch, x->out_rows, x->out_columns, x->outputs}},
        {"f", x->weights, 4,
         x->weights_first ? (int64_t[]){x->outputs, x->channels, r, r} : (int64_t[]){r, r, x->channels, x->outputs}},
        {"b", DT_F32, 1, &x->outputs}};
    Kernel *kernel = kernel_parse(arena, text, strlen(text), err);
    return kernel && kernel_bind(kernel, args, (int)COUNT(args), NULL, 0, err) == WHET_OK ? kernel : NULL;
}

static void report(const Case *x, const char *label, const char *what) {
    print_error("%s\nseed %llu: %lld x %lldx%lld x %lld, %lld outputs, F(%d, %d)\non %s: %s\n", x->text,
                (unsigned long long)x->seed, (long long)x->batch, (long long)x->rows, (long long)x->columns,
                (long long)x->channels, (long long)x->outputs, x->m, x->r, label, what);
}

/* The same values whatever the tensor's shape: the first image of a batch is that of another. */
static void fill(const KernelTensor *tensor, void *data, const void *context) {
    state_of_random = *(const uint64_t *)context + (uint64_t)tensor->name[0];
    for (int64_t i = 0; i < tensor->count; i++) {
        float number = (float)((double)next() / 2147483648.0 * 2 - 1);
        uint16_t half = tensor->type == DT_F16 ? f32_to_f16(number) : f32_to_bf16(number);
        if (tensor->type == DT_F32)
            ((float *)data)[i] = number;
        else
            ((uint16_t *)data)[i] = half;
    }
}

static void run(const Case *x, const Kernel *kernel, const Target *target, int threads, Buffers *b, const char *label) {
    whet_error err;
    const char *why = NULL;
    Compiled *compiled = NULL;
    const void *constant[KERNEL_MAX_TENSORS] = {NULL};
    int f = kernel_find_tensor(kernel, "f");
    constant[f] = b->data[f];
    ScheduleOptions options = {.constant = constant, .winograd = x->m, .seed = threads > 1 ? x->seed : 0};
    if (schedule_compile(kernel, target, &options, &compiled, &why, &err) != WHET_OK)
        report(x, label, err.message);
    assert_non_null(compiled);
    if (strcmp(compiled->template, "winograd") != 0)
        report(x, label, compiled->template);
    assert_string_equal(compiled->template, "winograd");
    Parallel parallel = {.threads = threads, .run = run_backwards};
    EvalOptions how = {.parallel = threads > 1 ? &parallel : NULL};
    assert_int_equal(compiled_run(compiled, b->data, &how, &err), WHET_OK);
    assert_true(buffers_intact(kernel, b));
    compiled_free(compiled);
}

/* Sums of magnitudes: the bare sum of absolute values. */
static void magnitudes(const Case *x, Arena *arena, Buffers *out, const Kernel **kernel) {
    whet_error err;
    char text[400];
    snprintf(text, sizeof text, "y[n, h, w, o] = sum(i:%d, j:%d, c) abs(x[n, h + i - %lld, w + j - %lld, c]?) * abs(%s)", x->r,
             x->r, (long long)x->top, (long long)x->left, factor(x));
    *kernel = bind(arena, text, x, x->batch, &err);
    assert_non_null(*kernel);
    buffers_new(*kernel, fill, &x->seed, out);
    assert_int_equal(kernel_eval(*kernel, out->data, NULL, &err), WHET_OK);
}

/* The largest sum of magnitudes of a tile's outputs: rounding of one is seen in all. */
static double tile_magnitude(const Case *x, const float *magnitude, int64_t at) {
    int64_t o = at % x->outputs, column = at / x->outputs % x->out_columns, row = at / x->outputs / x->out_columns % x->out_rows;
    int64_t image = at / x->outputs / x->out_columns / x->out_rows * x->out_rows;
    double most = 0;
    for (int64_t i = row / x->m * x->m; i < (row / x->m + 1) * x->m && i < x->out_rows; i++)
        for (int64_t j = column / x->m * x->m; j < (column / x->m + 1) * x->m && j < x->out_columns; j++) {
            double here = (double)magnitude[((image + i) * x->out_columns + j) * x->outputs + o];
            most = here > most ? here : most;
        }
    return most;
}

/* Epilogues change errors by no more than a factor of 1.5 (hard_swish), and round once or twice themselves. */
static double worst_error(const Case *x, const Kernel *kernel, const Buffers *got, const Buffers *wanted,
                          const float *magnitude) {
    int y = kernel_find_tensor(kernel, "y");
    double worst = 0;
    for (int64_t i = 0; i < kernel->tensors[y].count; i++) {
        double a = (double)((float *)got->data[y])[i], b = (double)((float *)wanted->data[y])[i];
        double rounding = x->epilogue ? 2.5e-7 * (1 + fabs(b)) : 6e-8 * fabs(b), factor = x->epilogue == 3 ? 1.5 : 1;
        double error = (fabs(a - b) - rounding) / (factor * tile_magnitude(x, magnitude, i) + 1e-30);
        worst = error > worst || isnan(error) ? error : worst;
    }
    return worst;
}

static double check_case(const Case *x, const Target *target, const char *label) {
    Arena arena;
    whet_error err;
    Buffers got, again, wanted, single, magnitude;
    const Kernel *bare;
    arena_init(&arena, NULL);
    Kernel *kernel = bind(&arena, x->text, x, x->batch, &err), *one = kernel ? bind(&arena, x->text, x, 1, &err) : NULL;
    if (!one)
        report(x, label, err.message);
    assert_non_null(one);
    buffers_new(kernel, fill, &x->seed, &wanted), buffers_new(kernel, fill, &x->seed, &got),
        buffers_new(kernel, fill, &x->seed, &again);
    buffers_new(one, fill, &x->seed, &single);
    magnitudes(x, &arena, &magnitude, &bare);
    assert_int_equal(kernel_eval(kernel, wanted.data, NULL, &err), WHET_OK);
    run(x, kernel, target, 1, &got, label);
    run(x, kernel, target, 1 + (int)(x->seed % 4), &again, label);
    run(x, one, target, 1, &single, label);
    int y = kernel_find_tensor(kernel, "y");
    double worst = worst_error(x, kernel, &got, &wanted, magnitude.data[kernel_find_tensor(bare, "y")]);
    if (!(worst <= tolerance(x->m, x->r)))
        report(x, label, "a larger error than is stated"), print_error("%.3g\n", worst);
    assert_true(worst <= tolerance(x->m, x->r));
    bool equal = !memcmp(again.data[y], got.data[y], (size_t)kernel->tensors[y].count * sizeof(float)) &&
                 !memcmp(single.data[y], got.data[y], (size_t)one->tensors[y].count * sizeof(float));
    if (!equal)
        report(x, label, "different bits with other threads or another batch");
    assert_true(equal);
    buffers_free(kernel, &wanted), buffers_free(kernel, &got), buffers_free(kernel, &again), buffers_free(one, &single);
    buffers_free(bare, &magnitude);
    arena_free(&arena);
    return worst;
}

static void check_all(const Target *target, const char *label, int rounds) {
    double worst[3] = {0}; /* of F(2, 3), F(4, 3) and F(2, 5) */
    for (int i = 0; i < rounds; i++) {
        Case x;
        draw(&x, (uint64_t)i + 1);
        double *most = &worst[x.r == 5 ? 2 : x.m == 4];
        *most = fmax(*most, check_case(&x, target, label));
    }
    print_message("largest errors on %s: F(2, 3) %.1e, F(4, 3) %.1e, F(2, 5) %.1e\n", label, worst[0], worst[1], worst[2]);
}

static const HereRounds rounds_of = {check_all, 120, 25, 6, 2, true};

/* Which tile is chosen, or none, does not depend on the batch: it would change the answer's bits. */
static void any_batch_has_the_same_tile(void **state) {
    (void)state;
    static const int64_t sizes[] = {5, 7, 12, 14, 28, 56}, channels[] = {16, 48, 128, 512};
    static const float known[1] = {0};
    Target target;
    whet_error err;
    assert_true(target_x86(~UINT64_C(0), &target));
    for (size_t i = 0; i < COUNT(sizes) * COUNT(channels) * 2; i++) {
        Case x = {.m = 2,
                  .r = i % 2 ? 3 : 5,
                  .weights = DT_F32,
                  .rows = sizes[i / 2 % COUNT(sizes)],
                  .channels = channels[i / 2 / COUNT(sizes)]};
        x.columns = x.out_rows = x.out_columns = x.rows, x.outputs = x.channels, x.top = x.left = x.r / 2;
        snprintf(x.text, sizeof x.text, "y[n, h, w, o] = sum(i:%d, j:%d, c) x[n, h + i - %d, w + j - %d, c]? * f[i, j, c, o]",
                 x.r, x.r, x.r / 2, x.r / 2);
        int tile[2];
        for (int batch = 0; batch < 2; batch++) {
            Arena arena;
            Compiled *compiled = NULL;
            arena_init(&arena, NULL);
            Kernel *kernel = bind(&arena, x.text, &x, batch ? 8 : 1, &err);
            assert_non_null(kernel);
            const void *constant[KERNEL_MAX_TENSORS] = {NULL};
            constant[kernel_find_tensor(kernel, "f")] = known;
            ScheduleOptions options = {.constant = constant, .pack_later = true};
            assert_int_equal(schedule_compile(kernel, &target, &options, &compiled, NULL, &err), WHET_OK);
            tile[batch] = compiled->knobs.winograd;
            compiled_free(compiled);
            arena_free(&arena);
        }
        assert_int_equal(tile[0], tile[1]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        HERE_TESTS(rounds_of),
        cmocka_unit_test(any_batch_has_the_same_tile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
