/* Regions of packed weights: pieces do not overlap and keep their content, holes are used again, and all memory goes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "run/regions.h"

enum { PIECES = 40, ROUNDS = 4000, LARGE = 3 << 20 };

typedef struct Piece {
    unsigned char *data;
    size_t bytes;
    unsigned char mark;
} Piece;

static void check(const Piece *p) {
    for (size_t i = 0; i < p->bytes; i += p->bytes / 50 + 1)
        assert_int_equal(p->data[i], p->mark);
    assert_int_equal(p->data[p->bytes - 1], p->mark);
}

static void pieces_come_and_go(void **state) {
    (void)state;
    Regions regions = {.expected = 8 << 20};
    Piece piece[PIECES] = {{0}};
    srand(7);
    for (int round = 0; round < ROUNDS; round++) {
        Piece *p = &piece[rand() % PIECES];
        if (p->data) {
            check(p);
            regions_give(&regions, p->data, p->bytes);
            p->data = NULL;
            continue;
        }
        p->bytes = 1 + (size_t)rand() % (rand() % 16 ? 1 << 12 : LARGE);
        p->mark = (unsigned char)round;
        p->data = regions_take(&regions, p->bytes);
        assert_non_null(p->data);
        assert_int_equal((uintptr_t)p->data % 64, 0);
        memset(p->data, p->mark, p->bytes);
    }
    for (int i = 0; i < PIECES; i++)
        if (piece[i].data) {
            check(&piece[i]);
            regions_give(&regions, piece[i].data, piece[i].bytes);
        }
    assert_null(regions.first);
}

static void holes_are_taken_again(void **state) {
    (void)state;
    Regions regions = {.expected = 4 << 20};
    char *a = regions_take(&regions, 1000), *b = regions_take(&regions, 5000), *c = regions_take(&regions, 3000);
    assert_ptr_equal(b, a + 1024);
    assert_ptr_equal(c, b + 5056);
    regions_give(&regions, a, 1000);
    regions_give(&regions, b, 5000);
    assert_ptr_equal(regions_take(&regions, 6080), a); /* both, joined */
    regions_give(&regions, a, 6080);
    regions_give(&regions, c, 3000);
    assert_null(regions.first);
}

static void small_models_take_what_they_need(void **state) {
    (void)state;
    Regions regions = {.expected = 4 << 10};
    void *data = regions_take(&regions, 1000);
    assert_non_null(data);
    assert_null(regions.first);
    regions_give(&regions, data, 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_come_and_go),
        cmocka_unit_test(holes_are_taken_again),
        cmocka_unit_test(small_models_take_what_they_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
