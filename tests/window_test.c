/* Windows against the evaluator: random depthwise convolutions and pools (1 to 3 dimensions, channels first and last, strides,
 * dilations, pads, windows larger than the image) through machine code for AVX2 and AVX-512 and through the interpreter, with
 * sentinels around every tensor; and the same bits for any number of threads and any batch. A failure prints the kernel, the
 * shape of the input and the seed. */
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

static int64_t one_of(int count, const int64_t *from) {
    return from[next() % (uint32_t)count];
}

/* ---- a random kernel ---- */

typedef enum Pool { DEPTHWISE, MULTIPLIED, MAX_POOL, MIN_POOL, SUM_POOL, COUNTED, NORM, PRODUCT, GROUPED, POOL_COUNT } Pool;

typedef struct Case {
    Pool kind;
    int spatial;
    bool last;  /* channels */
    bool apart; /* weights with their channels first, where the image has them last */
    bool guarded;
    int64_t group; /* channels of one */
    int64_t batch, channels, in[3], out[3], taps[3], stride[3], dilation[3], pad[3];
    char text[2000];
} Case;

static void draw(Case *x) {
    static const int64_t sizes[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 19, 31, 32, 33, 40, 56}, few[] = {1, 1, 2, 3, 5, 17},
                         many[] = {1, 3, 16, 32, 40, 67}, taps[] = {1, 2, 3, 3, 3, 5, 7}, strides[] = {1, 1, 1, 2, 2, 3},
                         dilations[] = {1, 1, 1, 2, 3};
    memset(x, 0, sizeof *x);
    x->kind = (Pool)(next() % POOL_COUNT);
    x->spatial = 1 + (int)(next() % 8 + 1) / 3;
    x->spatial = x->spatial > 3 ? 3 : x->spatial;
    x->last = next() % 3 == 0 || x->kind == GROUPED;
    x->apart = next() % 2 && x->kind != MULTIPLIED;
    x->guarded = next() % 4 != 0;
    x->batch = 1 + next() % 3;
    x->channels = one_of(6, x->last ? many : few);
    for (int i = 0; i < x->spatial; i++) {
        x->in[i] = x->spatial == 3 ? 1 + next() % 12 : one_of(15, sizes);
        x->taps[i] = one_of(x->spatial == 3 ? 5 : 7, taps);
        if (next() % 16 == 0)
            x->taps[i] = 11 + next() % 4;
        x->stride[i] = one_of(6, strides);
        x->dilation[i] = one_of(5, dilations);
        x->pad[i] = x->guarded ? next() % (uint32_t)(x->taps[i] + 2) : 0;
        int64_t reach = x->dilation[i] * (x->taps[i] - 1) + 1;
        if (!x->guarded && x->in[i] < reach)
            x->in[i] = reach + next() % 9;
        int64_t most = x->in[i] + 2 * x->pad[i] - reach;
        x->out[i] = most >= 0 ? most / x->stride[i] + 1 : 1;
        if (x->guarded && next() % 4 == 0)
            x->out[i] += next() % 3; /* as with ceil_mode */
    }
    x->group = x->kind == GROUPED ? 2 << next() % 3 : x->kind == MULTIPLIED ? 2 : 1;
}

/* "n, c, h, w" of either layout */
static void put_place(Text *t, const Case *x, const char *channel, const char *const *spatial) {
    text_put(t, "n, ");
    if (!x->last)
        text_put(t, channel);
    for (int i = 0; i < x->spatial; i++)
        text_printf(t, "%s%s", i || !x->last ? ", " : "", spatial[i]);
    if (x->last)
        text_printf(t, ", %s", channel);
}

/* The channel, or output, `inner` of a group. */
static const char *of_group(const Case *x, const char *inner, char *text, size_t size) {
    if (x->group == 1)
        return "c";
    snprintf(text, size, "%lld*c + %s", (long long)x->group, inner);
    return text;
}

static void put_read(Text *t, const Case *x, const char *channel, const char *outside) {
    char index[3][96], own[32];
    const char *names[3] = {index[0], index[1], index[2]};
    for (int i = 0; i < x->spatial; i++)
        snprintf(index[i], sizeof index[i], "%lld*o%d + %lld*k%d - %lld", (long long)x->stride[i], i, (long long)x->dilation[i],
                 i, (long long)x->pad[i]);
    text_put(t, "x[");
    put_place(t, x, x->kind == GROUPED ? of_group(x, "q", own, sizeof own) : channel, names);
    text_printf(t, "]%s", x->guarded ? outside : "");
}

static void put_reduction(Text *t, const Case *x, const char *name) {
    text_printf(t, "%s(", name);
    if (x->kind == GROUPED)
        text_printf(t, "q:%lld, ", (long long)x->group);
    for (int i = 0; i < x->spatial; i++)
        text_printf(t, "%sk%d:%lld", i ? ", " : "", i, (long long)x->taps[i]);
    text_put(t, ") ");
}

static void put_left(Text *t, const Case *x) {
    char index[3][64], inner[16], own[48];
    const char *names[3] = {index[0], index[1], index[2]};
    for (int i = 0; i < x->spatial; i++)
        snprintf(index[i], sizeof index[i], "o%d:%lld", i, (long long)x->out[i]);
    snprintf(inner, sizeof inner, "m:%lld", (long long)x->group);
    text_put(t, "y[");
    put_place(t, x, of_group(x, inner, own, sizeof own), names);
    text_put(t, "] = ");
}

static void put_weights(Text *t, const Case *x) {
    bool taps_first = x->last && !x->apart;
    char own[32];
    const char *q = x->kind == GROUPED ? "q, " : "", *m = of_group(x, "m", own, sizeof own);
    if (taps_first)
        text_printf(t, "w[%sk0", q);
    else
        text_printf(t, "w[%s, %sk0", m, q);
    for (int i = 1; i < x->spatial; i++)
        text_printf(t, ", k%d", i);
    if (taps_first)
        text_printf(t, ", %s", m);
    text_put(t, "]");
}

static void put_product(Text *t, const Case *x) {
    put_reduction(t, x, "sum");
    put_read(t, x, "c", "?");
    text_put(t, " * ");
    put_weights(t, x);
}

static void put_counts(Text *t, const Case *x) {
    for (int i = 0; i < x->spatial; i++)
        text_printf(
            t,
            "count%d[o%d:%lld] = sum(k%d:%lld) select((%lld*o%d + %lld*k%d >= %lld) & (%lld*o%d + %lld*k%d < %lld), f32(1), "
            "f32(0))\n",
            i, i, (long long)x->out[i], i, (long long)x->taps[i], (long long)x->stride[i], i, (long long)x->dilation[i], i,
            (long long)x->pad[i], (long long)x->stride[i], i, (long long)x->dilation[i], i, (long long)(x->pad[i] + x->in[i]));
}

static void write_text(Case *x) {
    Text t;
    text_init(&t);
    if (x->kind == COUNTED)
        put_counts(&t, x);
    put_left(&t, x);
    switch (x->kind) {
    case DEPTHWISE:
        text_put(&t, "clip(");
        put_product(&t, x);
        text_put(&t, " + b[c], -2, 3.5)");
        break;
    case MULTIPLIED:
    case GROUPED: put_product(&t, x); break;
    case MAX_POOL:
        put_reduction(&t, x, "max");
        put_read(&t, x, "c", "?(-inf)");
        break;
    case MIN_POOL:
        put_reduction(&t, x, "min");
        put_read(&t, x, "c", "?(inf)");
        break;
    case SUM_POOL:
    case COUNTED:
        text_char(&t, '(');
        put_reduction(&t, x, "sum");
        put_read(&t, x, "c", "?");
        text_put(&t, ") / ");
        for (int i = 0; i < x->spatial; i++)
            if (x->kind == COUNTED)
                text_printf(&t, "%smax(count%d[o%d], 1)", i ? " * " : "(", i, i);
            else
                text_printf(&t, "%s%d.0", i ? " * " : "(", i + 3);
        text_char(&t, ')');
        break;
    case NORM:
        text_put(&t, "sqrt(");
        put_reduction(&t, x, "sum");
        text_put(&t, "square(");
        put_read(&t, x, "c", "?");
        text_put(&t, "))");
        break;
    default:
        put_reduction(&t, x, "prod");
        put_read(&t, x, "c", "?(0.5)");
        break;
    }
    snprintf(x->text, sizeof x->text, "%s", t.data);
    text_free(&t);
}

/* ---- running it ---- */

static void fill(const KernelTensor *tensor, void *data, const void *context) {
    const bool *special = context;
    float *x = data;
    for (int64_t i = 0; i < tensor->count; i++)
        x[i] = (float)(next() % 2001) / 1000 - 1;
    for (int i = 0; i < 3 && *special && tensor->count > 3; i++)
        x[next() % tensor->count] = i == 0 ? NAN : i == 1 ? INFINITY : -INFINITY;
}

static Kernel *bind(Arena *arena, const Case *x, int64_t batch, whet_error *err) {
    int64_t shape[5] = {batch}, result[5] = {batch}, weights[5];
    int rank = x->spatial + 2, at = x->last ? 1 : 2;
    bool grouped = x->kind == GROUPED;
    shape[x->last ? rank - 1 : 1] = grouped ? x->group * x->channels : x->channels;
    for (int i = 0; i < x->spatial; i++)
        shape[at + i] = x->in[i], result[at + i] = x->out[i];
    int64_t outputs = x->channels * x->group;
    bool taps_first = x->last && !x->apart;
    int before = grouped + !taps_first; /* dims of the weights before their taps */
    weights[taps_first ? rank - 2 + grouped : 0] = result[x->last ? rank - 1 : 1] = outputs;
    if (grouped)
        weights[taps_first ? 0 : 1] = x->group;
    for (int i = 0; i < x->spatial; i++)
        weights[before + i] = x->taps[i];
    KernelArg args[] = {{"x", DT_F32, rank, shape},
                        {"w", DT_F32, rank - 1 + grouped, weights},
                        {"b", DT_F32, 1, &x->channels},
                        {"y", DT_F32, rank, result}};
    const KernelConst channels = {.name = "c", .integer = x->channels};
    Kernel *kernel = kernel_parse(arena, x->text, strlen(x->text), err);
    return kernel && kernel_bind(kernel, args, 4, &channels, 1, err) == WHET_OK ? kernel : NULL;
}

static void report(const Case *x, const char *label, const char *what) {
    print_error("%s\nbatch %lld, channels %lld, in %lld %lld %lld\non %s: %s\n", x->text, (long long)x->batch,
                (long long)x->channels, (long long)x->in[0], (long long)x->in[1], (long long)x->in[2], label, what);
}

static bool same(float a, float b, bool exact) {
    if (a == b || (isnan(a) && isnan(b)))
        return true;
    return !exact && isfinite(b) && fabs((double)a - (double)b) <= 2e-5 * (1 + fabs((double)b));
}

static void compare(const Case *x, const Kernel *kernel, const Buffers *got, const Buffers *wanted, const char *label) {
    int y = kernel->definitions[kernel->definition_count - 1].tensor;
    bool exact = x->kind == MAX_POOL || x->kind == MIN_POOL;
    for (int64_t i = 0; i < kernel->tensors[y].count; i++) {
        float a = ((float *)got->data[y])[i], b = ((float *)wanted->data[y])[i];
        if (same(a, b, exact))
            continue;
        report(x, label, "a different answer");
        print_error("element %lld: %.9g, wanted %.9g\n", (long long)i, (double)a, (double)b);
        fail();
    }
}

/* With everything that a caller may choose drawn; the answer must not depend on it. */
static void run_some(const Case *x, const Kernel *kernel, const Target *target, Buffers *b, const char *label, bool must) {
    whet_error err;
    const char *why = NULL;
    Compiled *compiled = NULL;
    ScheduleOptions options = {.seed = next() % 3 ? 0 : next()};
    if (next() % 3 == 0) {
        options.mr = 1 + (int)(next() % 6);
        options.nv = 1 + (int)(next() % 3);
    }
    if (schedule_compile(kernel, target, &options, &compiled, &why, &err) != WHET_OK) {
        if (must)
            report(x, label, err.message);
        assert_false(must);
        assert_int_equal(kernel_eval(kernel, b->data, NULL, &err), WHET_OK);
        return;
    }
    if (must && strcmp(compiled->template, "window") != 0) {
        report(x, label, compiled->template);
        fail();
    }
    Parallel parallel = {.threads = 1 + (int)(next() % 4), .run = run_backwards};
    EvalOptions how = {.parallel = next() % 2 ? &parallel : NULL};
    assert_int_equal(compiled_run(compiled, b->data, &how, &err), WHET_OK);
    assert_true(buffers_intact(kernel, b));
    compiled_free(compiled);
}

/* What slides in every dimension is a window; a filter of one tap is elementwise, one as large as its image a product. */
static bool slides(const Case *x) {
    if (x->kind == GROUPED) /* as a window or as a contraction, by the length of vectors */
        return false;
    bool any = false;
    if (x->spatial && x->in[x->spatial - 1] == 1) /* neighbours are of another dimension: in stages */
        return false;
    for (int i = 0; i < x->spatial; i++) {
        if (x->taps[i] > 1 && x->out[i] == 1)
            return false;
        any = any || x->taps[i] > 1;
    }
    return any;
}

static void check_case(const Case *x, const Target *target, const char *label) {
    Arena arena;
    whet_error err;
    Buffers got, again, wanted, single;
    arena_init(&arena, NULL);
    Kernel *kernel = bind(&arena, x, x->batch, &err), *one = kernel ? bind(&arena, x, 1, &err) : NULL;
    if (!one)
        report(x, label, err.message);
    assert_non_null(one);
    bool special = (x->kind == MAX_POOL || x->kind == MIN_POOL) && next() % 2;
    uint64_t seed = state_of_random;
    buffers_new(kernel, fill, &special, &wanted);
    state_of_random = seed;
    buffers_new(kernel, fill, &special, &got);
    state_of_random = seed;
    buffers_new(kernel, fill, &special, &again);
    buffers_new(one, fill, &special, &single);
    for (int t = 0; t < kernel->input_count; t++) /* the first image of the same batch */
        memcpy(single.data[t], got.data[t], (size_t)one->tensors[t].count * sizeof(float));
    assert_int_equal(kernel_eval(kernel, wanted.data, NULL, &err), WHET_OK);
    run_some(x, kernel, target, &got, label, slides(x));
    compare(x, kernel, &got, &wanted, label);
    run_some(x, kernel, target, &again, label, slides(x));
    run_some(x, one, target, &single, label, slides(x));
    int y = kernel->definitions[kernel->definition_count - 1].tensor;
    bool equal = !memcmp(again.data[y], got.data[y], (size_t)kernel->tensors[y].count * sizeof(float));
    if (slides(x) && !equal) /* other templates and the evaluator may choose by shape */
        report(x, label, "different bits another time");
    assert_true(equal || !slides(x));
    equal = !memcmp(single.data[y], got.data[y], (size_t)one->tensors[y].count * sizeof(float));
    if (slides(x) && !equal)
        report(x, label, "different bits in another batch");
    assert_true(equal || !slides(x));
    buffers_free(kernel, &wanted), buffers_free(kernel, &got), buffers_free(kernel, &again), buffers_free(one, &single);
    arena_free(&arena);
}

static void check_all(const Target *target, const char *label, int rounds) {
    for (int i = 0; i < rounds; i++) {
        state_of_random = (uint64_t)i + 1;
        next();
        Case x;
        draw(&x);
        write_text(&x);
        check_case(&x, target, label);
    }
}

static const HereRounds rounds_of = {check_all, 800, 300, 60, 20, true};

/* A deadline that has passed is an error, before anything is done. */
static void too_late(void **state) {
    (void)state;
    Target target;
    whet_error err;
    Arena arena;
    Compiled *compiled;
    const char text[] = "y[c, h, w] = max(i:3, j:3) x[c, h + i - 1, w + j - 1]?(-inf)";
    static float x[4 * 9 * 9], y[4 * 9 * 9];
    void *data[] = {x, y};
    assert_true(target_x86(~UINT64_C(0), &target));
    arena_init(&arena, NULL);
    KernelArg args[] = {{"x", DT_F32, 3, (int64_t[]){4, 9, 9}}, {"y", DT_F32, 3, (int64_t[]){4, 9, 9}}};
    Kernel *kernel = kernel_parse(&arena, text, strlen(text), &err);
    assert_non_null(kernel);
    assert_int_equal(kernel_bind(kernel, args, 2, NULL, 0, &err), WHET_OK);
    assert_int_equal(schedule_compile(kernel, &target, NULL, &compiled, NULL, &err), WHET_OK);
    EvalOptions options = {.deadline = 1e-9};
    assert_int_equal(compiled_run(compiled, data, &options, &err), WHET_ERROR_LIMIT);
    compiled_free(compiled);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        HERE_TESTS(rounds_of),
        cmocka_unit_test(too_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
