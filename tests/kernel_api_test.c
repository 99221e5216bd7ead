/* whet_kernel_*, as a caller of the public header sees them: shapes by name, constants packed once, runs from several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "whet.h"

enum { M = 37, N = 50, K = 29, RUNS = 20, THREADS = 4 };

static const char text[] = "c[m, n] = sum(k) a[m, k] * b[k, n] + r[n]";
static const whet_dim dims[] = {{"m", M}, {"n", N}, {"k", K}};
static float a[M][K], b[K][N], r[N], wanted[M][N];

static void fill(void) {
    for (int m = 0; m < M; m++)
        for (int k = 0; k < K; k++)
            a[m][k] = (float)((m * 7 + k * 3) % 11 - 5);
    for (int k = 0; k < K; k++)
        for (int n = 0; n < N; n++)
            b[k][n] = (float)((k * 5 + n) % 13 - 6);
    for (int n = 0; n < N; n++)
        r[n] = (float)n;
    for (int m = 0; m < M; m++)
        for (int n = 0; n < N; n++) {
            wanted[m][n] = r[n];
            for (int k = 0; k < K; k++) /* whole numbers: exact in any order */
                wanted[m][n] += a[m][k] * b[k][n];
        }
}

static whet_kernel *compile(const whet_options *options) {
    const whet_kernel_arg args[] = {{.name = "b", .type = WHET_F32, .rank = 2, .dims = {K, N}, .constant = b},
                                    {.name = "r", .type = WHET_F32, .rank = 1, .dims = {N}, .constant = r}};
    whet_kernel *kernel = NULL;
    whet_error err = {0};
    if (whet_kernel_compile(text, dims, 3, args, 2, options, &kernel, &err) != WHET_OK)
        fail_msg("%s", err.message);
    return kernel;
}

static void constants_need_no_data(void **state) {
    (void)state;
    static const char *const targets[] = {NULL, "evaluator"};
    fill();
    for (int t = 0; t < 2; t++) {
        whet_options options = {.target = targets[t]};
        whet_kernel *kernel = compile(&options);
        whet_kernel_arg info;
        float c[M][N];
        whet_error err = {0};
        assert_int_equal(whet_kernel_arg_count(kernel), 4);
        assert_int_equal(whet_kernel_arg_info(kernel, 1, &info), WHET_OK);
        assert_string_equal(info.name, "b");
        assert_ptr_equal(info.constant, b);
        assert_int_equal(whet_kernel_run(kernel, (void *[]){a, NULL, NULL, c}, &err), WHET_OK);
        assert_memory_equal(c, wanted, sizeof c);
        assert_int_equal(whet_kernel_run(kernel, (void *[]){NULL, NULL, NULL, c}, &err), WHET_ERROR_ARGUMENT);
        assert_non_null(strstr(err.message, "'a'"));
        whet_kernel_free(kernel);
    }
}

static void *run_often(void *context) {
    float c[M][N];
    intptr_t wrong = 0;
    for (int i = 0; i < RUNS; i++) {
        memset(c, 0xff, sizeof c);
        wrong += whet_kernel_run(context, (void *[]){a, NULL, NULL, c}, NULL) != WHET_OK || memcmp(c, wanted, sizeof c) != 0;
    }
    return (void *)wrong;
}

static void threads_share_a_kernel(void **state) {
    (void)state;
    pthread_t thread[THREADS];
    fill();
    whet_kernel *kernel = compile(NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, run_often, kernel), 0);
    for (int i = 0; i < THREADS; i++) {
        void *wrong = NULL;
        pthread_join(thread[i], &wrong);
        assert_null(wrong);
    }
    whet_kernel_free(kernel);
}

static void what_is_wrong_is_said(void **state) {
    (void)state;
    static const struct {
        whet_kernel_arg arg;
        const char *words;
    } wrong[] = {
        {{.name = "c", .type = WHET_F32, .rank = 2, .dims = {M, N}, .constant = wanted}, "'c' is written"},
        {{.name = "q", .type = WHET_F32, .rank = 2, .dims = {M, N}}, "no tensor 'q'"},
        {{.name = "b", .type = (whet_type)99, .rank = 2, .dims = {K, N}}, "unknown type 99"},
        {{.name = "b", .type = WHET_F32, .rank = 17}, "rank 17"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        whet_kernel *kernel = NULL;
        whet_error err = {0};
        assert_int_equal(whet_kernel_compile(text, dims, 3, &wrong[i].arg, 1, NULL, &kernel, &err), WHET_ERROR_ARGUMENT);
        assert_null(kernel);
        if (!strstr(err.message, wrong[i].words))
            fail_msg("%s; wanted: %s", err.message, wrong[i].words);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(constants_need_no_data), cmocka_unit_test(threads_share_a_kernel),
                                       cmocka_unit_test(what_is_wrong_is_said)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
