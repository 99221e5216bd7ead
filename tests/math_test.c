/* The functions of schedule/math.c against the C library in double: prints the largest error of each over all exponents and many
 * significands (WHET_SIGNIFICANDS=N: of each), and checks it against its bound; special values must be right exactly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "here.h"
#include "schedule/schedule.h"

static double sign_of(double x) {
    return isnan(x) ? x : (x > 0) - (x < 0);
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double gelu(double x) {
    return 0.5 * x * (1 + erf(x * 0.7071067811865476));
}

static double negated(double x) {
    return -x;
}

static double quotient(double x, double y) {
    return x / y;
}

/* The quotient is rounded before it is cut. */
static double floor_quotient(double x, double y) {
    return floor((double)(float)(x / y));
}

/* Of zeros min and max may give either, which adding 0 hides. */
static double minimum(double x, double y) {
    return isnan(x) || isnan(y) ? (double)NAN : (x < y ? x : y) + 0.0;
}

static double maximum(double x, double y) {
    return isnan(x) || isnan(y) ? (double)NAN : (x > y ? x : y) + 0.0;
}

static const struct {
    const char *name;
    double (*exact)(double);
    double low, high; /* of |x|: where it is measured; beyond, results must not be nonsense */
    double bound;     /* ULP; absolute errors below 2^-21 pass where `absolute` is set */
    bool absolute;
} functions[] = {
    {"exp", exp, 0, 110, 1, false},          {"expm1", expm1, 0, 110, 2, false},      {"log", log, 0, INFINITY, 2, false},
    {"log1p", log1p, 0, 3e38, 2, false},     {"tanh", tanh, 0, 100, 2, false},        {"erf", erf, 0, 100, 2, false},
    {"sign", sign_of, 0, 3e38, 0, false},    {"sigmoid", sigmoid, 0, 80, 2, false},   {"gelu", gelu, 0, 100, 3, true},
    {"sin", sin, 0, INFINITY, 2, false},     {"cos", cos, 0, INFINITY, 2, false},     {"tan", tan, 0, INFINITY, 2, false},
    {"asin", asin, 0, INFINITY, 2, false},   {"acos", acos, 0, INFINITY, 2, false},   {"atan", atan, 0, INFINITY, 2, false},
    {"sinh", sinh, 0, INFINITY, 2, false},   {"cosh", cosh, 0, INFINITY, 2, false},   {"asinh", asinh, 0, INFINITY, 2, false},
    {"acosh", acosh, 0, INFINITY, 2, false}, {"atanh", atanh, 0, INFINITY, 2, false}, {"sqrt", sqrt, 0, INFINITY, 0.5, false},
    {"floor", floor, 0, INFINITY, 0, false}, {"ceil", ceil, 0, INFINITY, 0, false},   {"trunc", trunc, 0, INFINITY, 0, false},
    {"round", rint, 0, INFINITY, 0, false},  {"abs", fabs, 0, INFINITY, 0, false},    {"-", negated, 0, INFINITY, 0, false},
};

static const struct {
    const char *name;
    double (*exact)(double, double);
    double bound;
} pairs[] = {{"pow", pow, 2},           {"atan2", atan2, 2},       {"/", quotient, 0.5},
             {"//", floor_quotient, 0}, {"0.0 + min", minimum, 0}, {"0.0 + max", maximum, 0}};

/* Distance in units of the last place of the right answer, which is rounded to float's range; zeros have their sign. */
static double ulp(float got, double exact) {
    float nearest = (float)exact;
    if (nearest == 0 && got == 0)
        return signbit(nearest) == signbit(got) ? 0 : INFINITY;
    if (isnan(exact) || isnan(got))
        return isnan(exact) && isnan(got) ? 0 : INFINITY;
    if (isinf(nearest) || isinf(got))
        return got == nearest || fabs(exact) > 3.4e38 ? 0 : INFINITY;
    double unit = ldexp(1, (exact != 0 ? ilogb(exact) : -126) - 23);
    if (unit < 0x1p-149)
        unit = 0x1p-149;
    return fabs((double)got - exact) / unit;
}

static int significands(void) {
    const char *text = getenv("WHET_SIGNIFICANDS");
    return text ? (int)strtol(text, NULL, 10) : 1500;
}

static size_t inputs(float *x, int each) {
    size_t n = 0;
    uint64_t random = 1;
    for (uint32_t exponent = 0; exponent < 256; exponent++)
        for (int i = 0; i < each; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint32_t bits = (uint32_t)(random >> 63) << 31 | exponent << 23 | ((uint32_t)(random >> 32) & 0x7fffff);
            if (i < 4)
                bits = (uint32_t)(i & 1) << 31 | exponent << 23 | (i & 2 ? 0x7fffff : 0);
            memcpy(&x[n++], &bits, 4);
        }
    return n;
}

/* `z`: the second operand; NULL: there is one alone. */
static void compute(const Target *target, const char *name, const float *x, const float *z, float *y, size_t n) {
    Arena arena;
    whet_error err;
    const char *why;
    Compiled *compiled = NULL;
    arena_init(&arena, NULL);
    bool infix = *name == '/';
    char *text = arena_printf(&arena, !z ? "y[i] = %s(x[i])" : infix ? "y[i] = x[i] %s z[i]" : "y[i] = %s(x[i], z[i])", name);
    Kernel *kernel = kernel_parse(&arena, text, strlen(text), &err);
    int64_t count = (int64_t)n;
    KernelArg args[] = {{"x", DT_F32, 1, &count}, {"z", DT_F32, 1, &count}};
    if (!kernel || kernel_bind(kernel, args, 2, NULL, 0, &err) != WHET_OK ||
        schedule_compile(kernel, target, NULL, &compiled, &why, &err) != WHET_OK)
        fail_msg("%s: %s", name, err.message);
    void *data[3] = {(void *)(uintptr_t)x, z ? (void *)(uintptr_t)z : y, y};
    assert_int_equal(compiled_run(compiled, data, NULL, &err), WHET_OK);
    compiled_free(compiled);
    arena_free(&arena);
}

static void check_function(const Target *target, size_t which, const float *x, float *y, size_t n) {
    double worst = 0;
    float at = 0;
    compute(target, functions[which].name, x, NULL, y, n);
    for (size_t i = 0; i < n; i++) {
        double size = fabs((double)x[i]), exact = functions[which].exact((double)x[i]);
        double error = ulp(y[i], exact);
        if (size > functions[which].high && !isnan(x[i])) { /* far out: the limit, or what it tends to */
            if (error > 4 && fabs((double)y[i] - exact) > 1e-30)
                fail_msg("%s(%a) is %a, wanted %a", functions[which].name, (double)x[i], (double)y[i], exact);
            continue;
        }
        if (functions[which].absolute && fabs((double)y[i] - exact) < 0x1p-21)
            error = 0;
        if (error > worst) {
            worst = error;
            at = x[i];
        }
    }
    print_message("%-11s %-8s largest error %.2f ULP at %a\n", target->name, functions[which].name, worst, (double)at);
    assert_true(worst <= functions[which].bound);
}

/* Of all numbers, and of those whose powers are finite. */
static void check_pair(const Target *target, size_t which, const float *x, float *z, float *y, size_t n) {
    static const float special[] = {0,     -0.f,     1,         -1,  2,      -2,    3,        0.5f,
                                    -0.5f, INFINITY, -INFINITY, NAN, 1e-40f, 3e38f, 16777216, 16777215};
    double worst = 0;
    float at[2] = {0, 0};
    uint64_t random = 7;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < n; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            size_t other = (size_t)(random >> 33) % n;
            double base = fabs(log(fabs((double)x[i])));
            z[i] = round == 0   ? x[other]
                   : round == 1 ? special[other % COUNT(special)]
                                : (float)(((double)(random >> 40) * 0x1p-23 - 1) * 100 / (base > 1e-3 ? base : 1));
        }
        compute(target, pairs[which].name, x, z, y, n);
        for (size_t i = 0; i < n; i++) {
            double error = ulp(y[i], pairs[which].exact((double)x[i], (double)z[i]));
            if (error > worst) {
                worst = error;
                at[0] = x[i];
                at[1] = z[i];
            }
        }
    }
    print_message("%-11s %-8s largest error %.2f ULP at %a, %a\n", target->name, pairs[which].name, worst, (double)at[0],
                  (double)at[1]);
    assert_true(worst <= pairs[which].bound);
}

static void check_all(const Target *target) {
    int each = significands();
    size_t most = 256 * (size_t)each;
    float *x = malloc(most * sizeof *x), *y = malloc(most * sizeof *y);
    assert_non_null(x);
    assert_non_null(y);
    size_t n = inputs(x, each);
    for (size_t f = 0; f < COUNT(functions); f++)
        check_function(target, f, x, y, n);
    float *z = malloc(most * sizeof *z);
    assert_non_null(z);
    for (size_t p = 0; p < COUNT(pairs); p++)
        check_pair(target, p, x, z, y, n);
    free(z);
    free(x);
    free(y);
}

static void best_target(void **state) {
    (void)state;
    Target target;
    if (!target_here(&target)) {
        print_message("skipped: no code generator for this machine\n");
        skip();
    }
    check_all(&target);
}

static void narrow_target(void **state) {
    (void)state;
    Target target;
    if (!target_host(~FEATURE(AVX512F), &target) || strcmp(target.name, "x86-avx2") != 0) {
        print_message("skipped: no x86-avx2 here\n");
        skip();
    }
    check_all(&target);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(best_target), cmocka_unit_test(narrow_target)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
