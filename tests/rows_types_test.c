/* Row kernels of all element types against the evaluator: narrow floats, quantization, integer sums, masks, arguments, axes as
 * numbers, guarded and strided reads, placement; AVX2, AVX-512 and the interpreter, random shapes, sentinels, any order of tasks.
 *
 * Integers and bools must be the same. A float may be off by `bound` times its size or that of the largest element, whichever is
 * larger: 2^-24 times the terms of a sum where it is of f32, one rounding of the type (2^-11 or 2^-8) more where it is narrower.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "here.h"
#include "sample.h"

#define HALF  0x1p-10
#define BHALF 0x1p-7
#define SUM   (200 * 0x1p-24)

static const Sample samples[] = {
    {"top[i] = max(j) f32(x[i, j])\ne[i, j] = exp(f32(x[i, j]) - top[i])\ny[i, j] = f16(e[i, j] / (sum(k) e[i, k]))",
     {"x: f16 m n"},
     HALF},
    {"mean[i] = (sum(j) f32(x[i, j])) / 64\nd[i, j] = f32(x[i, j]) - mean[i]\n"
     "y[i, j] = bf16(d[i, j] / sqrt((sum(j) d[i, j] * d[i, j]) / 64 + 0.1) * f32(g[j]))",
     {"x: bf16 m n", "g: bf16 n"},
     BHALF},
    {"y[i] = sum(j) x[i, j]", {"x: f16 m n"}, 2 * HALF},
    {"y[i] = max(j) x[i, j]", {"x: bf16 m n"}, 0},
    {"out s[m] = (max(k) abs(a[m, k])) / 127\nq[m, k] = s8(round(a[m, k] / s[m]))", {"a: f32 m n"}, 0},
    {"out s[m] = (max(k) abs(a[m, k])) / 127\nout q[m, k] = s8(round(a[m, k] / s[m]))\ntotal[m] = sum(k) s32(q[m, k])",
     {"a: f32 m n"},
     0},
    {"low[] = min(min(i, j) x[i, j], 0)\nhigh[] = max(max(i, j) x[i, j], 0)\n"
     "out s[] = select(high[] == low[], 1, (high[] - low[]) / 255)\nout z[] = u8(round(-low[] / s[]))\n"
     "y[i, j] = u8(round(x[i, j] / s[]) + f32(z[]))",
     {"x: f32 m n"},
     0},
    {"low[] = min(min(i) x[i], 0)\nout s[] = select(low[] == 0, 1, -low[] / 100)\ny[i] = u8(round(abs(x[i]) / s[]))",
     {"x: f32 m"},
     0},
    {"y[i] = sum(j) s32(x[i, j])", {"x: u8 m n"}, 0},
    {"y[i] = sum(j) x[i, j]", {"x: s8 m n"}, 0},
    {"y[j] = sum(i) s32(x[i, j]) * s32(z[i, j])", {"x: s8 m n", "z: u8 m n"}, 0},
    {"y[i] = prod(j) x[i, j]", {"x: s32 m n"}, 0},
    {"y[j] = prod(i) x[i, j]", {"x: s32 m n"}, 0},
    {"y[i] = (max(j) x[i, j]) - (min(j) x[i, j])", {"x: s32 m n"}, 0},
    {"y[i] = max(j) x[i, j]", {"x: u8 m n"}, 0},
    {"y[i] = min(j) x[i, j]", {"x: s16 m n"}, 0},
    {"y[i] = min(j) x[i, j]", {"x: u32 m n"}, 0},
    {"y[j] = max(i) x[i, j]", {"x: u32 m n"}, 0},
    {"y[i] = any(j) x[i, j]", {"x: bool m n"}, 0},
    {"y[j] = all(i) x[i, j]", {"x: bool m n"}, 0},
    {"y[i] = all(j) (x[i, j] > 0)", {"x: f32 m n"}, 0},
    {"y[i] = argmax(j) x[i, j]", {"x: f32 m n"}, 0},
    {"y[i] = argmin(j) x[i, j]", {"x: f32 m n"}, 0},
    {"y[j] = argmax(i) x[i, j]", {"x: f32 m n"}, 0},
    {"y[i] = argmin(j) x[i, j]", {"x: u8 m n"}, 0},
    {"y[j] = argmin(i) x[i, j]", {"x: s32 m n"}, 0},
    {"y[i, k] = argmax(j) x[i, j, k]", {"x: f16 m n p"}, 0},
    {"y[i] = s32(argmax(j) x[i, j])", {"x: f32 m n"}, 0},
    {"best[i] = argmax(j) x[i, j]\ny[i, j] = select(best[i] == j, x[i, j], 0.0)", {"x: f32 m n"}, 0},
    {"top[i] = max(j) select(mask[i, j], x[i, j], -1e9)\ne[i, j] = exp(select(mask[i, j], x[i, j], -1e9) - top[i])\n"
     "y[i, j] = e[i, j] / (sum(k) e[i, k])",
     {"x: f32 m n", "mask: bool m n"},
     SUM},
    {"z[b, s, t] = select(t <= s, x[b, s, t], -inf)\ntop[b, s] = max(t) z[b, s, t]\ne[b, s, t] = exp(z[b, s, t] - top[b, s])\n"
     "y[b, s, t] = e[b, s, t] / (sum(k) e[b, s, k])",
     {"x: f32 m n n"},
     SUM},
    {"top[b, h, s] = max(t) (x[b, h, s, t] + m[b, t])\n"
     "y[b, h, s, t] = exp(x[b, h, s, t] + m[b, t] - top[b, h, s])",
     {"x: f32 m n p n", "m: f32 m n"},
     SUM},
    {"y[i] = sum(j) x[j, i]", {"x: f32 n m"}, SUM},
    {"y[i:m] = max(j) x[2*i, j]", {"x: f32 2m n"}, 0},
    {"y[i] = sum(j:n) x[i, 2*j]", {"x: f32 m 2n"}, SUM},
    {"s[b, t] = sum(h, d) x[b, h, t, d] * x[b, h, t, d]\ny[b, t, 8*h + d] = x[b, h, t, d] / sqrt(s[b, t] + 1)",
     {"x: f32 m n p 8"},
     SUM},
    {"y[i:m] = sum(j:n) x[i, j + 1]?", {"x: f32 m n"}, SUM},
    {"y[i:m] = max(j:n) x[i, j - 2]?(-1)", {"x: f32 m n"}, 0},
    {"y[i, j] = x[i, j] - (max(k:n) x[i + 1, k]?(-3))", {"x: f32 m n"}, 0},
    {"y[i, j] = f32(j) * x[i, j] - (sum(k) x[i, k]) * f32(i)", {"x: f32 m n"}, SUM * 300},
    {"out r[i, j] = x[i, j] + s[i, j] + b[j]\nmean[i] = (sum(j) r[i, j]) / 64\nd[i, j] = r[i, j] - mean[i]\n"
     "y[i, j] = 0.5 * d[i, j] * (1 + erf(d[i, j] / sqrt((sum(j) d[i, j] * d[i, j]) / 64 + 0.1)))",
     {"x: f32 m n", "s: f32 m n", "b: f32 n"},
     SUM},
    {"y[i, j] = (x[i, j] - (sum(k) x[i, k]) / 64) * 2\nout mean[i] = (sum(k) x[i, k]) / 64", {"x: f32 m n"}, SUM},
};
static const int64_t extents[] = {0, 1, 1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 48, 64, 67, 100, 131, 300};

static void check_all(const Target *target, const char *label, int rounds) {
    sample_check(samples, COUNT(samples), extents, COUNT(extents), target, label, rounds);
}

static const HereRounds rounds_of = {check_all, 40, 12, 3, 1, false};

int main(void) {
    const struct CMUnitTest tests[] = {HERE_TESTS(rounds_of)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
