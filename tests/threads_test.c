/* The pool of threads: every task once, whoever takes it; callers from several threads; and no processor used by one that rests.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "run/run.h"

enum { MOST_TASKS = 3000, ROUNDS = 400 };

typedef struct Marks {
    atomic_int done[MOST_TASKS];
    int spin; /* of each third task */
} Marks;

static void mark(void *context, size_t i) {
    Marks *marks = context;
    atomic_fetch_add(&marks->done[i], 1);
    for (volatile int k = 0; i % 3 == 0 && k < marks->spin; k++)
        ;
}

static void check_region(const Parallel *parallel, Marks *marks, size_t count) {
    for (size_t i = 0; i < MOST_TASKS; i++)
        atomic_store(&marks->done[i], 0);
    parallel->run(parallel->self, count, mark, marks);
    for (size_t i = 0; i < MOST_TASKS; i++)
        assert_int_equal(atomic_load(&marks->done[i]), i < count);
}

static void every_task_runs_once(void **state) {
    (void)state;
    Marks *marks = calloc(1, sizeof *marks);
    assert_non_null(marks);
    for (int count = 2; count <= 9; count += count < 4 ? 1 : 5) {
        Threads *threads = threads_new(count, NULL);
        assert_non_null(threads);
        const Parallel *parallel = threads_parallel(threads);
        assert_int_equal(parallel->threads, count);
        srand((unsigned)count);
        for (int round = 0; round < ROUNDS; round++) {
            marks->spin = rand() % 200;
            check_region(parallel, marks, (size_t)(rand() % (round % 8 ? 20 : MOST_TASKS)));
            if (round % 50 == 0) { /* they are asleep after that */
                threads_rest(threads);
                nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
            }
        }
        threads_free(threads);
    }
    free(marks);
}

/* What is left to workers is done once or not at all, and nothing of it later than the next region begins, or the rest. */
static void tasks_meanwhile_end_with_the_next_region(void **state) {
    (void)state;
    Marks *marks = calloc(1, sizeof *marks), *aside = calloc(1, sizeof *aside);
    assert_non_null(marks);
    assert_non_null(aside);
    size_t seen = 0;
    for (int count = 1; count <= 4; count++) {
        Threads *threads = threads_new(count, NULL);
        assert_non_null(threads);
        for (int round = 0; round < ROUNDS; round++) {
            for (size_t i = 0; i < MOST_TASKS; i++)
                atomic_store(&aside->done[i], 0);
            aside->spin = round % 3 * 100;
            threads_meanwhile(threads, MOST_TASKS, mark, aside);
            if (round % 10 == 0) /* so that they come to it */
                nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
            if (round % 2 && threads_parallel(threads))
                check_region(threads_parallel(threads), marks, 10);
            else
                threads_rest(threads);
            size_t done[2] = {0};
            for (int look = 0; look < 2; look++)
                for (size_t i = 0; i < MOST_TASKS; i++)
                    done[look] += (size_t)atomic_load(&aside->done[i]);
            assert_int_equal(done[0], done[1]);
            for (size_t i = 0; i < MOST_TASKS; i++)
                assert_in_range(atomic_load(&aside->done[i]), 0, count > 1);
            seen += done[0];
        }
        threads_free(threads);
    }
    assert_true(seen > 0);
    free(marks);
    free(aside);
}

static void *call_often(void *self) {
    Marks *marks = calloc(1, sizeof *marks);
    for (int round = 0; marks && round < 50; round++)
        check_region(self, marks, 100);
    free(marks);
    return NULL;
}

static void callers_take_turns(void **state) {
    (void)state;
    Threads *threads = threads_new(3, NULL);
    assert_non_null(threads);
    pthread_t callers[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&callers[i], NULL, call_often, (void *)(uintptr_t)threads_parallel(threads)), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(callers[i], NULL);
    threads_free(threads);
}

static double processor_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void resting_uses_no_processor(void **state) {
    (void)state;
    Threads *threads = threads_new(4, NULL);
    assert_non_null(threads);
    Marks *marks = calloc(1, sizeof *marks);
    assert_non_null(marks);
    check_region(threads_parallel(threads), marks, 64);
    threads_rest(threads);
    const double start = processor_seconds();
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    assert_true(processor_seconds() - start < 0.02); /* spinning would take as long as that, three times */
    threads_free(threads);
    free(marks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(tasks_meanwhile_end_with_the_next_region),
        cmocka_unit_test(callers_take_turns),
        cmocka_unit_test(resting_uses_no_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
