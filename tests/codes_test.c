/* Machine code that is shared: kernels that differ in the number of their rows alone take the same code, what was dropped is
 * found again, what was refused is refused again, and what nobody uses stays bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "countdown.h"
#include "schedule/schedule.h"
#include "target/memory.h"

typedef struct Made {
    Arena arena, scratch;
    Kernel *kernel;
    Compiled *compiled;
    const char *why;
    whet_status status;
} Made;

/* `recalls`: code may be found without its functions, as in a model. */
static Made compile_as(TargetCodes *codes, const Target *target, const char *text, bool recalls) {
    Made made = {.why = NULL};
    whet_error err;
    arena_init(&made.arena, NULL);
    arena_init(&made.scratch, NULL);
    made.kernel = kernel_parse(&made.arena, text, strlen(text), &err);
    if (!made.kernel || kernel_bind(made.kernel, NULL, 0, NULL, 0, &err) != WHET_OK)
        fail_msg("%s", err.message);
    ScheduleOptions options = {.codes = codes, .scratch = recalls ? &made.scratch : NULL};
    made.status = schedule_compile(made.kernel, target, &options, &made.compiled, &made.why, &err);
    if (codes)
        assert_int_equal(codes_seal(codes, &err), WHET_OK);
    arena_free(&made.scratch);
    return made;
}

static Made compile(TargetCodes *codes, const Target *target, const char *text) {
    return compile_as(codes, target, text, false);
}

static void drop(Made *made) {
    if (made->compiled)
        compiled_free(made->compiled);
    arena_free(&made->arena);
}

static Made product(TargetCodes *codes, const Target *target, int rows) {
    char text[128];
    snprintf(text, sizeof text, "c[m:%d, n:256] = max(sum(k:64) a[m, k] * b[k, n], 0)", rows);
    return compile(codes, target, text);
}

static bool have_target(Target *target) {
    if (target_host(UINT64_MAX, target))
        return true;
    print_message("no target runs here\n");
    skip();
    return false;
}

static void rows_are_not_in_the_code(void **state) {
    (void)state;
    enum { ROWS = 25200 }; /* whole tiles, however high they are */
    Target target;
    if (!have_target(&target))
        return;
    TargetCodes *codes = codes_new(NULL);
    Made first = product(codes, &target, ROWS);
    size_t made = codes_made(codes);
    assert_true(made > 0);
    Made second = product(codes, &target, 2 * ROWS);
    assert_int_equal(codes_made(codes), made);
    drop(&first);
    drop(&second);
    Made third = product(codes, &target, 3 * ROWS); /* nobody has used it in between */
    assert_int_equal(codes_made(codes), made);
    drop(&third);
    codes_free(codes);
}

/* BERT's attention of one sequence. */
static Made attention(TargetCodes *codes, const Target *target, int length) {
    char text[700];
    snprintf(text, sizeof text,
             "s[b:1, h:2, i:%d, j:%d] = (sum(d:64) q[b, i, 64*h + d] * k[b, j, 64*h + d]) * 0.125 + mask[b, j]\n"
             "top[b, h, i] = max(j) s[b, h, i, j]\ne[b, h, i, j] = exp(s[b, h, i, j] - top[b, h, i])\n"
             "t[b, h, i] = sum(j) e[b, h, i, j]\np[b, h, i, j] = e[b, h, i, j] / t[b, h, i]\n"
             "y[b, i, 64*h + d:64] = sum(j) p[b, h, i, j] * v[b, j, 64*h + d]",
             length, length);
    return compile(codes, target, text);
}

/* The same code for both lengths; `length` is of whole tiles of queries and keys on every machine. */
static void expect_same_code(const Target *target, int length, int other_length) {
    TargetCodes *codes = codes_new(NULL);
    Made first = attention(codes, target, length);
    size_t made = codes_made(codes);
    assert_true(made > 0 && first.compiled);
    Made other = attention(codes, target, other_length);
    assert_true(other.compiled != NULL);
    assert_int_equal(codes_made(codes), made);
    drop(&other);
    drop(&first);
    codes_free(codes);
}

static void lengths_are_not_in_the_code(void **state) {
    (void)state;
    enum { SHORT = 64, LONG = 2048 }; /* two of SHORT are at most a block of keys, LONG is more than two blocks */
    Target target;
    if (!have_target(&target))
        return;
    expect_same_code(&target, SHORT, 2 * SHORT);
    expect_same_code(&target, LONG, 2 * LONG);
    expect_same_code(&target, LONG, 3 * LONG);
}

/* Lengths one after the other: once the first ones are there, no function is made to find code for the others. */
static void new_lengths_are_recalled(void **state) {
    (void)state;
    static const char *const texts[] = {
        ("s[h:2, i:%d, j:%d] = (sum(d:64) q[i, 64*h + d] * k[j, 64*h + d]) * 0.125 + mask[j]\n"
         "top[h, i] = max(j) s[h, i, j]\ne[h, i, j] = exp(s[h, i, j] - top[h, i])\nt[h, i] = sum(j) e[h, i, j]\n"
         "p[h, i, j] = e[h, i, j] / t[h, i]\ny[i, 64*h + d:64] = sum(j) p[h, i, j] * v[j, 64*h + d]"),
        ("m[i] = (sum(j:768) x[i, j]) / 768\nv[i] = (sum(j) (x[i, j] - m[i]) * (x[i, j] - m[i])) / 768\n"
         "y[i:%d, j] = (x[i, j] - m[i]) / sqrt(v[i] + 1e-12)"),
        "low[] = min(i:%d, j:768) x[i, j]\nhigh[] = max(i, j) x[i, j]\ny[i, j] = x[i, j] - low[] + high[]"};
    Target target;
    if (!have_target(&target))
        return;
    for (size_t k = 0; k < COUNT(texts); k++) {
        TargetCodes *codes = codes_new(NULL);
        size_t asked = 0;
        for (int length = 64; length < 64 + 2 * 65; length++) {
            char text[700];
            snprintf(text, sizeof text, texts[k], length, length);
            Made made = compile_as(codes, &target, text, true);
            assert_int_equal(made.status, WHET_OK);
            drop(&made);
            asked = length < 64 + 65 ? codes_asked(codes) : asked;
        }
        assert_true(asked > 0);
#if !WHET_CHECK_PASSES /* which makes functions all the same */
        assert_int_equal(codes_asked(codes), asked);
#endif
        codes_free(codes);
    }
}

/* One row of any length: the same code for all of them, with the evaluator's answers. */
static void lengths_of_one_row(void **state) {
    (void)state;
    enum { MOST = 9000 };
    static const char *const texts[] = {
        "y[i:%d] = (1 - x[i]) * -10000",
        "low[] = min(i:%d) x[i]\nhigh[] = max(i) x[i]\ny[i] = x[i] - low[] + high[]",
    };
    static const int lengths[] = {1024, 1025, 1039, 1040, 1087, 1500, 1501, 4095, 4097, 8191, MOST};
    static float x[MOST], y[MOST], wanted[MOST];
    Target target;
    if (!have_target(&target))
        return;
    for (int i = 0; i < MOST; i++)
        x[i] = (float)(i * 37 % 1009) / 8 - (float)i / 16; /* extremes at the ends */
    for (size_t k = 0; k < COUNT(texts); k++) {
        TargetCodes *codes = codes_new(NULL);
        size_t made = 0;
        for (size_t n = 0; n < COUNT(lengths); n++) {
            char text[200];
            snprintf(text, sizeof text, texts[k], lengths[n]);
            Made one = compile(codes, &target, text);
            assert_int_equal(one.status, WHET_OK);
            void *data[KERNEL_MAX_TENSORS] = {0};
            data[kernel_find_tensor(one.kernel, "x")] = x;
            data[kernel_find_tensor(one.kernel, "y")] = wanted;
            assert_int_equal(kernel_eval(one.kernel, data, NULL, NULL), WHET_OK);
            memset(y, 0, sizeof y);
            data[kernel_find_tensor(one.kernel, "y")] = y;
            assert_int_equal(compiled_run(one.compiled, data, NULL, NULL), WHET_OK);
            assert_memory_equal(y, wanted, (size_t)lengths[n] * sizeof *y);
            drop(&one);
            made = n ? made : codes_made(codes);
            if (lengths[n] < 2 * 4096) /* longer ones may be cut into rows */
                assert_int_equal(codes_made(codes), made);
        }
        codes_free(codes);
    }
}

static void answers_are_those_of_own_code(void **state) {
    (void)state;
    enum { ROWS = 37, COLUMNS = 256, DEPTH = 64 };
    Target target;
    if (!have_target(&target))
        return;
    TargetCodes *codes = codes_new(NULL);
    float *a = calloc(ROWS * DEPTH, sizeof *a), *b = calloc(DEPTH * COLUMNS, sizeof *b);
    float *c[2] = {calloc(ROWS * COLUMNS, sizeof *a), calloc(ROWS * COLUMNS, sizeof *a)};
    for (int i = 0; i < ROWS * DEPTH; i++)
        a[i] = (float)(i % 23) - 11;
    for (int i = 0; i < DEPTH * COLUMNS; i++)
        b[i] = (float)(i % 17) - 8;
    for (int own = 0; own < 2; own++)
        for (int again = 0; again < 2; again++) {
            Made made = product(own ? NULL : codes, &target, ROWS);
            assert_int_equal(made.status, WHET_OK);
            assert_int_equal(compiled_run(made.compiled, (void *[]){a, b, c[own]}, NULL, NULL), WHET_OK);
            drop(&made);
        }
    assert_memory_equal(c[0], c[1], ROWS * COLUMNS * sizeof *a);
    codes_free(codes);
    free(a);
    free(b);
    free(c[0]);
    free(c[1]);
}

/* Too many registers wanted: the first attempts are refused, which the second time takes no making. */
static void refusals_are_remembered(void **state) {
    (void)state;
    static const char text[] = "c[m:200, n:256] = erf(sum(k:64) a[m, k] * b[k, n]) * tanh(sum(k) a[m, k] * b[k, n])";
    Target target;
    if (!have_target(&target))
        return;
    TargetCodes *codes = codes_new(NULL);
    Made first = compile(codes, &target, text);
    size_t made = codes_made(codes);
    drop(&first);
    Made second = compile(codes, &target, text);
    assert_int_equal(second.status, first.status);
    assert_int_equal(codes_made(codes), made);
    drop(&second);
    codes_free(codes);
}

static size_t held;

static void *counted_allocate(void *context, size_t bytes, size_t alignment) {
    (void)context;
    held += bytes;
    return aligned_alloc(alignment, bytes);
}

static void counted_release(void *context, void *pointer, size_t bytes) {
    (void)context;
    held -= bytes;
    free(pointer);
}

/* Kernels one after another, each of other code. */
static void what_nobody_uses_is_bounded(void **state) {
    (void)state;
    enum { KERNELS = 1500, BOUND = 10 << 20 };
    const whet_allocator allocator = {.allocate = counted_allocate, .release = counted_release};
    Target target;
    if (!have_target(&target))
        return;
    TargetCodes *codes = codes_new(&allocator);
    size_t made = 0;
    for (int i = 0; i < KERNELS; i++) {
        char text[160];
        snprintf(text, sizeof text, "c[m:600, n:64] = erf(max(sum(k:%d) a[m, k] * b[k, n], %d))", 100 + i, i);
        Made one = compile(codes, &target, text);
        assert_int_equal(one.status, WHET_OK);
        drop(&one);
        assert_true(codes_made(codes) > made);
        made = codes_made(codes);
        assert_true(held < BOUND);
    }
    assert_true(held > BOUND / 100);
    codes_free(codes);
    assert_int_equal(held, 0);
}

/* Pieces of all sizes in small regions: what was sealed runs while others are put behind it, and dropping gives regions back. */
static void regions_of_code(void **state) {
    (void)state;
    enum { PIECES = 200 };
    static const unsigned char x86[] = {0xc3, 0xc3, 0xc3, 0xc3}, arm64[] = {0xc0, 0x03, 0x5f, 0xd6}; /* ret */
    Countdown counted = {.left = -1};
    whet_allocator allocator = countdown_allocator(&counted);
    Target target;
    whet_error err;
    if (!target_host(~UINT64_C(0), &target))
        skip();
    const unsigned char *ret = strncmp(target.name, "x86", 3) == 0 ? x86 : arm64;
    CodeMemory *memory = code_memory_new(&allocator, 16 << 10);
    unsigned char *bytes = malloc(40000);
    void *piece[PIECES];
    assert_non_null(memory);
    assert_non_null(bytes);
    for (size_t i = 0; i < 40000; i++)
        bytes[i] = ret[i % 4];
    for (int i = 0; i < PIECES; i++) {
        size_t size = i % 50 == 49 ? 40000 : 4 + (size_t)i * 37 % 3000;
        assert_non_null(piece[i] = code_memory_put(memory, bytes, size, &err));
        assert_int_equal((uintptr_t)piece[i] % 64, 0);
        if (i % 3 == 0)
            assert_int_equal(code_memory_seal(memory, &err), WHET_OK);
        for (int k = 0; k < i - i % 3; k += 1 + i / 8) { /* all that was sealed so far */
            TargetEntry entry;
            memcpy(&entry, &piece[k], sizeof entry);
            entry(NULL);
        }
    }
    for (int i = 0; i < PIECES; i++)
        code_memory_drop(memory, piece[i * 77 % PIECES]);
    assert_int_equal(counted.out, 2); /* itself, and the region that is being filled */
    code_memory_free(memory);
    assert_int_equal(counted.out, 0);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_not_in_the_code),      cmocka_unit_test(lengths_are_not_in_the_code),
        cmocka_unit_test(new_lengths_are_recalled),      cmocka_unit_test(lengths_of_one_row),
        cmocka_unit_test(answers_are_those_of_own_code), cmocka_unit_test(refusals_are_remembered),
        cmocka_unit_test(what_nobody_uses_is_bounded),   cmocka_unit_test(regions_of_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
