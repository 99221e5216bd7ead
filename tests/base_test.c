/* Tests of src/base: arithmetic on numbers from outside, arenas under failing allocators, texts, maps, narrow floats. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "countdown.h"

static void checked_arithmetic_agrees_with_wide_arithmetic(void **state) {
    (void)state;
    static const int64_t edge[] = {
        0, 1, -1, 2, -2, INT64_MAX, INT64_MIN, INT64_MAX - 1, INT64_MIN + 1, 3037000500, -3037000500, 1ll << 32, -(1ll << 32)};
    for (size_t i = 0; i < COUNT(edge); i++)
        for (size_t j = 0; j < COUNT(edge); j++) {
            int64_t out = 0;
            int64_t a = edge[i], b = edge[j], wide;
            assert_int_equal(checked_add(a, b, &out), !__builtin_add_overflow(a, b, &wide));
            assert_true(__builtin_add_overflow(a, b, &wide) || out == wide);
            assert_int_equal(checked_sub(a, b, &out), !__builtin_sub_overflow(a, b, &wide));
            assert_true(__builtin_sub_overflow(a, b, &wide) || out == wide);
            assert_int_equal(checked_mul(a, b, &out), !__builtin_mul_overflow(a, b, &wide));
            assert_true(__builtin_mul_overflow(a, b, &wide) || out == wide);
        }
}

static void count_refuses_what_overflows_even_behind_a_zero(void **state) {
    (void)state;
    int64_t count = -1;
    assert_true(checked_count((int64_t[]){2, 3, 4}, 3, &count));
    assert_int_equal(count, 24);
    assert_true(checked_count(NULL, 0, &count));
    assert_int_equal(count, 1);
    assert_true(checked_count((int64_t[]){0, 5}, 2, &count));
    assert_int_equal(count, 0);
    assert_false(checked_count((int64_t[]){0, 1ll << 40, 1ll << 40}, 3, &count));
    assert_false(checked_count((int64_t[]){2, -1}, 2, &count));
}

static void arenas_survive_every_failing_allocation(void **state) {
    (void)state;
    for (int left = 0; left < 12; left++) {
        Countdown countdown = {.left = left, .rest = true};
        whet_allocator allocator = countdown_allocator(&countdown);
        Arena arena;
        arena_init(&arena, &allocator);
        bool failed = false;
        for (size_t i = 1; i < 4000 && !failed; i++) {
            char *p = arena_alloc(&arena, i, 3);
            failed = !p;
            if (p)
                memset(p, 1, i * 3);
        }
        assert_int_equal(failed, arena.failed);
        if (left < 8)
            assert_true(failed);
        arena_free(&arena);
        assert_int_equal(countdown.out, 0);
    }
}

static void arenas_refuse_overflow_and_respect_their_limit(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL);
    assert_null(arena_alloc(&arena, SIZE_MAX / 2, 3));
    assert_true(arena.failed);
    arena_free(&arena);
    arena.limit = 1 << 16;
    assert_non_null(arena_alloc(&arena, 1, 1 << 12));
    assert_null(arena_alloc(&arena, 1, 1 << 17));
    arena_free(&arena);
}

static void arenas_keep_a_chunk_when_they_are_reset(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL);
    arena_reset(&arena); /* of nothing */
    for (int i = 0; i < 100; i++) {
        assert_non_null(arena_alloc(&arena, 1, 100000));
        unsigned char *p = arena_alloc(&arena, 1, 64);
        assert_int_equal(p[0] | p[63], 0);
        memset(p, 1, 64);
        arena_reset(&arena);
    }
    assert_true(arena.total > 0 && arena.total < 300000);
    assert_null(arena_alloc(&arena, SIZE_MAX / 2, 3));
    arena_reset(&arena);
    assert_false(arena.failed);
    assert_non_null(arena_alloc(&arena, 1, 4 << 20));
    arena_reset(&arena); /* too much to keep */
    assert_int_equal(arena.total, 0);
    arena_free(&arena);
}

static void arenas_release_to_a_mark(void **state) {
    (void)state;
    Countdown countdown = {.left = 10000};
    whet_allocator allocator = countdown_allocator(&countdown);
    Arena arena;
    arena_init(&arena, &allocator);
    ArenaMark empty = arena_mark(&arena);
    for (int i = 0; i < 50; i++) {
        int *before = ARENA_ARRAY(&arena, int, 100);
        for (int k = 0; k < 100; k++)
            before[k] = i + k;
        ArenaMark mark = arena_mark(&arena);
        for (size_t size = 16; size < 100000; size *= 2) {
            unsigned char *p = arena_alloc(&arena, size, 1);
            assert_int_equal(p[0] | p[size - 1], 0);
            memset(p, 0xee, size);
        }
        arena_release(&arena, mark);
        for (int k = 0; k < 100; k++)
            assert_int_equal(before[k], i + k);
        unsigned char *again = arena_alloc(&arena, 5000, 1);
        assert_int_equal(again[0] | again[4999], 0);
    }
    assert_true(arena.total < 2000000);
    arena_release(&arena, empty);
    assert_non_null(arena_alloc(&arena, 10, 10));
    arena_free(&arena);
    assert_int_equal(countdown.out, 0);
}

static void floats_print_so_that_they_read_back(void **state) {
    (void)state;
    Text text;
    text_init(&text);
    uint32_t seed = 12345;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525u + 1013904223u;
        float value;
        memcpy(&value, &seed, sizeof value);
        if (isnan(value))
            continue;
        text_clear(&text);
        text_float(&text, value);
        assert_true(strtof(text.data, NULL) == value);
        assert_non_null(strpbrk(text.data, ".en")); /* not an integer; inf has an n */
    }
    text_clear(&text);
    text_quoted(&text, "a\"\\\n\x01", 5);
    assert_string_equal(text.data, "\"a\\\"\\\\\\n\\x01\"");
    text_free(&text);
}

static void maps_hold_what_was_put(void **state) {
    (void)state;
    Arena arena;
    arena_init(&arena, NULL);
    Map map;
    map_init(&map, &arena);
    assert_null(map_get(&map, "x", 1));
    static int values[5000];
    for (int i = 0; i < 5000; i++) {
        char *key = arena_printf(&arena, "key %d", i * 7);
        assert_true(map_put(&map, key, strlen(key), &values[i]));
    }
    assert_int_equal(map.count, 5000);
    for (int i = 0; i < 5000; i++) {
        char key[32];
        int length = snprintf(key, sizeof key, "key %d", i * 7);
        assert_ptr_equal(map_get(&map, key, (size_t)length), &values[i]);
    }
    assert_null(map_get(&map, "key 1", 5));
    arena_free(&arena);
}

static void every_code_of_a_narrow_float_survives_the_round_trip(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 65536; code++) {
        float half = f16_to_f32((uint16_t)code), brain = bf16_to_f32((uint16_t)code);
        assert_true(isnan(half) ? isnan(f16_to_f32(f32_to_f16(half))) : f32_to_f16(half) == code);
        assert_true(isnan(brain) ? isnan(bf16_to_f32(f32_to_bf16(brain))) : f32_to_bf16(brain) == code);
    }
    static const DType small[] = {DT_F8E4M3FN, DT_F8E4M3FNUZ, DT_F8E5M2, DT_F8E5M2FNUZ, DT_F8E8M0, DT_F4E2M1};
    for (size_t t = 0; t < COUNT(small); t++)
        for (int code = 0; code < (small[t] == DT_F4E2M1 ? 16 : 256); code++) {
            float value = small_to_f32(small[t], (uint8_t)code);
            if (!isnan(value))
                assert_int_equal(f32_to_small(small[t], value, false), code);
        }
}

/* Between two neighbouring codes the nearer one is taken, and the even one half-way. */
static void halves_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t code = 0; code < 0x7bff; code++) {
        double low = f16_to_f32((uint16_t)code), high = f16_to_f32((uint16_t)(code + 1)), middle = (low + high) / 2;
        uint16_t even = (uint16_t)(code + (code & 1));
        assert_int_equal(f32_to_f16((float)middle), even);
        assert_int_equal(f64_to_f16(middle), even);
        assert_int_equal(f64_to_f16(nextafter(middle, high)), code + 1);
        assert_int_equal(f64_to_f16(nextafter(middle, low)), code);
        assert_int_equal(f32_to_f16(nextafterf((float)middle, (float)high)), code + 1);
    }
    assert_int_equal(f32_to_f16(65519.99f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_small(DT_F8E4M3FN, 1e9f, true), 0x7e);
    assert_int_equal(f32_to_small(DT_F8E4M3FN, 1e9f, false), 0x7f);
    assert_int_equal(f32_to_small(DT_F8E5M2, 1e9f, false), 0x7c);
}

static void elements_of_every_numeric_type_can_be_set_and_got(void **state) {
    (void)state;
    for (int type = 1; type < DT_COUNT; type++) {
        Kind kind = dtype_kind((DType)type);
        if (kind == KIND_STRING || kind == KIND_COMPLEX)
            continue;
        uint64_t storage[8] = {0};
        whet_tensor tensor = {.type = (whet_type)type, .rank = 1, .dims = {7}, .data = storage, .bytes = sizeof storage};
        for (int i = 0; i < 7; i++)
            whet_tensor_set(&tensor, i, i % 2);
        if (type == DT_F8E8M0)
            continue; /* has no zero */
        for (int i = 0; i < 7; i++)
            assert_true(whet_tensor_get(&tensor, i) == i % 2);
        whet_tensor_set(&tensor, 3, 1e300);
        assert_true(whet_tensor_get(&tensor, 3) >= 1); /* saturates, does not wrap */
        assert_true(whet_tensor_get(&tensor, 4) == 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checked_arithmetic_agrees_with_wide_arithmetic),
        cmocka_unit_test(count_refuses_what_overflows_even_behind_a_zero),
        cmocka_unit_test(arenas_survive_every_failing_allocation),
        cmocka_unit_test(arenas_refuse_overflow_and_respect_their_limit),
        cmocka_unit_test(arenas_keep_a_chunk_when_they_are_reset),
        cmocka_unit_test(arenas_release_to_a_mark),
        cmocka_unit_test(floats_print_so_that_they_read_back),
        cmocka_unit_test(maps_hold_what_was_put),
        cmocka_unit_test(every_code_of_a_narrow_float_survives_the_round_trip),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(elements_of_every_numeric_type_can_be_set_and_got),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
