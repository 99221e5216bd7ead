/* Symbolic dimensions: arithmetic, normal form, bounds, text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "graph/graph.h"

static Dim parse(Symbols *symbols, const char *text) {
    const char *at = text, *end = text + strlen(text);
    Dim d;
    if (!dim_parse(symbols, &at, end, &d) || at != end)
        fail_msg("'%s' does not parse: stopped at '%s'", text, at);
    return d;
}

static void expect(Symbols *symbols, const char *text, const char *wanted) {
    Text out;
    text_init(&out);
    dim_print(symbols, parse(symbols, text), &out);
    assert_string_equal(out.data, wanted);
    assert_true(parse(symbols, out.data) == parse(symbols, text) || strchr(out.data, '?'));
    text_free(&out);
}

/* What is written, and its normal form. */
static const char *const normal[][2] = {
    {"7", "7"},
    {"2 - 9", "-7"},
    {"n", "n"},
    {"n + n", "2*n"},
    {"n - n", "0"},
    {"1 + n*2", "2*n + 1"},
    {"b*a + a*b", "2*a*b"},
    {"(a + b)*(a - b)", "a*a - b*b"},
    {"-n", "-n"},
    {"3 - n", "-n + 3"},
    {"?", "?"},
    {"n + ?", "?"},
    {"9223372036854775807 + 1", "?"},
    {"n*4611686018427387904*4", "?"},
    /* floor division */
    {"7//2", "3"},
    {"(0 - 7)//2", "-4"},
    {"n//0", "?"},
    {"n//1", "n"},
    {"4*n//2", "2*n"},
    {"(4*n + 1)//2", "2*n"},
    {"(4*n + 3)//2", "2*n + 1"},
    {"(h + 1)//2", "(h + 1)//2"},
    {"(3*h + 1)//2", "h + (h + 1)//2"},
    {"2*((h + 1)//2)", "2*((h + 1)//2)"},
    {"h//2//3", "h//6"},
    {"(h - 3)//2 + 1", "(h + 1)//2 - 1"},
    {"n//n", "1"},
    {"12*a*b//(4*a)", "3*b"},
    {"(a*p + a*q)//(p + q)", "a"},
    {"(768*b*p + 768*b*q)//(64*p + 64*q)", "12*b"},
    {"a//b", "a//b"},
    {"0//b", "0"},
    /* max, min */
    {"max(3, 4)", "4"},
    {"min(n, n + 1)", "n"},
    {"max(n, 0)", "n"},
    {"min(n, 0)", "0"},
    {"max(b, a)", "max(a, b)"},
    {"max(n, 1)", "max(1, n)"},
    {"min(n, 5)*2", "2*min(5, n)"},
    {"max(a, b) - max(b, a)", "0"},
    /* names */
    {"\"past + 1\" + x.y_1", "\"past + 1\" + x.y_1"},
    {"\"max\"", "\"max\""},
    {"\"a\\\"\\\\\\n\\x01\"", "\"a\\\"\\\\\\n\\x01\""},
};

static void test_normal_form(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL);
    Symbols *symbols = symbols_new(&arena);
    for (size_t i = 0; i < COUNT(normal); i++)
        expect(symbols, normal[i][0], normal[i][1]);
    arena_free(&arena);
}

static void test_bad_text(void **state) {
    (void)state;
    static const char *const bad[] = {
        "", "+", "n +", "(n", "max(n)", "max", "1.5x", "\"", "\"\"", "99999999999999999999", "n n", "\"a\\x0\""};
    Arena arena;
    arena_init(&arena, NULL);
    Symbols *symbols = symbols_new(&arena);
    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *at = bad[i], *end = at + strlen(at);
        Dim d;
        assert_false(dim_parse(symbols, &at, end, &d) && at == end);
    }
    char deep[4001];
    memset(deep, '(', 4000);
    const char *at = deep;
    Dim d;
    assert_false(dim_parse(symbols, &at, deep + 4000, &d));
    arena_free(&arena);
}

static void test_names(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL);
    Symbols *symbols = symbols_new(&arena);
    Dim batch = dim_symbol(symbols, "batch", 5);
    assert_true(batch == dim_symbol(symbols, "batchsize", 5));
    assert_string_equal(dim_symbol_name(symbols, batch), "batch");
    assert_null(dim_symbol_name(symbols, dim_add(symbols, batch, 1)));
    assert_null(dim_symbol_name(symbols, 4));
    assert_string_equal(dim_symbol_name(symbols, dim_fresh(symbols, "batch")), "batch_1");
    assert_string_equal(dim_symbol_name(symbols, dim_fresh(symbols, "batch")), "batch_2");
    assert_string_equal(dim_symbol_name(symbols, dim_fresh(symbols, "new")), "new");
    assert_string_equal(dim_symbol_name(symbols, dim_fresh(symbols, "new")), "new_1");
    whet_dim values[] = {{"batch", 3}, {"n", 10}};
    assert_int_equal(dim_bind(symbols, parse(symbols, "(n + 1)//2*batch + max(n, 20)"), values, 2), 35);
    assert_true(dim_bind(symbols, parse(symbols, "n - batch - 8"), values, 2) == DIM_UNKNOWN);
    assert_true(dim_bind(symbols, parse(symbols, "n + other"), values, 2) == DIM_UNKNOWN);
    assert_int_equal(dim_bind(symbols, 5, NULL, 0), 5);
    arena_free(&arena);
}

/* A number needs no table, and INT64_MIN means unknown however it arises. */
static void test_numbers(void **state) {
    (void)state;
    assert_int_equal(dim_sub(NULL, 3, 5), -2);
    assert_int_equal(dim_floordiv(NULL, dim_sub(NULL, 3, 6), 2), -2);
    assert_int_equal(dim_const(NULL, INT64_MIN), DIM_LOWEST);
    assert_int_equal(dim_max(NULL, -1, 4), 4);
    assert_true(dim_mul(NULL, INT64_MAX, 2) == DIM_UNKNOWN);
    int64_t value;
    assert_true(dim_number(NULL, -9, &value) && value == -9);
}

/* Random expressions, evaluated as they are built and by dim_bind. */
static void test_random(void **state) {
    (void)state;
    unsigned seed = (unsigned)time(NULL), at = seed;
    print_message("seed %u\n", seed);
    Arena arena;
    arena_init(&arena, NULL);
    Symbols *symbols = symbols_new(&arena);
    enum { POOL = 40 };
    whet_dim values[3] = {{"a", 0}, {"b", 0}, {"c", 0}};
    for (int round = 0; round < 200; round++) {
        Dim dims[POOL];
        int64_t exact[POOL];
        for (int i = 0; i < POOL; i++) {
#define NEXT(n) ((at = at * 1664525u + 1013904223u) >> 8) % (n)
            if (i < 3)
                values[i].extent = exact[i] = (int64_t)(NEXT(9)) + 1;
            if (i < 3) {
                dims[i] = dim_symbol(symbols, values[i].name, 1);
                continue;
            }
            unsigned x = NEXT((unsigned)i), y = NEXT((unsigned)i), op = NEXT(7);
            Dim p = dims[x], q = dims[y];
            int64_t u = exact[x], v = exact[y], whole = v ? u / v - (u % v != 0 && (u < 0) != (v < 0)) : 0;
            if (op == 6)
                dims[i] = exact[i] = (int64_t)(NEXT(11)) - 3;
            else if (op == 0)
                dims[i] = dim_add(symbols, p, q), exact[i] = u + v;
            else if (op == 1)
                dims[i] = dim_sub(symbols, p, q), exact[i] = u - v;
            else if (op == 2)
                dims[i] = dim_mul(symbols, p, q), exact[i] = llabs(u) < 100000 && llabs(v) < 100000 ? u * v : 0;
            else if (op == 3)
                dims[i] = dim_floordiv(symbols, p, q), exact[i] = whole;
            else if (op == 4)
                dims[i] = dim_max(symbols, p, q), exact[i] = u > v ? u : v;
            else
                dims[i] = dim_min(symbols, p, q), exact[i] = u < v ? u : v;
            if ((op == 2 && exact[i] == 0) || (op == 3 && v == 0)) /* too large, or a quotient that is not there */
                dims[i] = exact[i] = 1;
            Dim bound = dim_bind(symbols, dims[i], values, 3);
            if (bound != DIM_UNKNOWN && bound != exact[i])
                fail_msg("seed %u: got %lld, wanted %lld", seed, (long long)bound, (long long)exact[i]);
            if (bound == DIM_UNKNOWN && exact[i] >= 0 && dims[i] != DIM_UNKNOWN)
                fail_msg("seed %u: not bound, wanted %lld", seed, (long long)exact[i]);
            if (dims[i] == DIM_UNKNOWN)
                dims[i] = exact[i] = 2;
            Text text;
            text_init(&text);
            dim_print(symbols, dims[i], &text);
            if (parse(symbols, text.data) != dims[i])
                fail_msg("seed %u: '%s' reads back as something else", seed, text.data);
            text_free(&text);
        }
    }
    arena_free(&arena);
}

/* Squaring again and again ends in "unknown", soon. */
static void test_growth(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL);
    Symbols *symbols = symbols_new(&arena);
    Dim d = parse(symbols, "a + b + c + 1");
    for (int i = 0; i < 10; i++)
        d = dim_mul(symbols, d, d);
    assert_true(d == DIM_UNKNOWN);
    d = parse(symbols, "a");
    for (int i = 0; i < 1000; i++)
        d = dim_floordiv(symbols, dim_add(symbols, d, i + 1), i % 2 ? dim_symbol(symbols, "b", 1) : 3);
    assert_true(d == DIM_UNKNOWN);
    for (int i = 0; i < 200000; i++)
        d = dim_add(symbols, parse(symbols, "a"), i);
    assert_true(d == DIM_UNKNOWN);
    assert_true(arena.total < 64u << 20);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_normal_form), cmocka_unit_test(test_bad_text), cmocka_unit_test(test_names),
        cmocka_unit_test(test_numbers),     cmocka_unit_test(test_random),   cmocka_unit_test(test_growth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
