/* Attention against the evaluator: heads merged or apart, keys turned or not, masks of any kind, scale inside or outside, shared
 * heads, other lengths and sizes, narrow types, keys in blocks of 64 and all at once, hidden keys; AVX2, AVX-512 and the
 * interpreter, random shapes, sentinels, any order of tasks.
 *
 * Scores are sums of up to 67 products of numbers up to 2, weights are at most 1: a result may be off by 2^-24 times some hundred
 * times the largest value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "here.h"
#include "sample.h"

#define BOUND (1000 * 0x1p-24)
#define HALF  0x1p-9

#define SOFTMAX "top[b, h, i] = max(j) s[b, h, i, j]\ne[b, h, i, j] = exp(s[b, h, i, j] - top[b, h, i])\n"
#define MIXED   "y[b, i, 16*h:3 + d:16] = (sum(j) e[b, h, i, j] * v[b, j, 16*h + d]) / (sum(j) e[b, h, i, j])"
#define MERGED                                                                                                                   \
    { "q: f32 2 m 48", "k: f32 2 n 48", "v: f32 2 n 48" }

static const Sample samples[] = {
    {"s[b, h:3, i, j] = (sum(d:16) q[b, i, 16*h + d] * k[b, j, 16*h + d]) * 0.25\n" SOFTMAX MIXED, MERGED, BOUND},
    {"s[b, h:3, i, j] = (sum(d:16) q[b, i, 16*h + d] * k[b, j, 16*h + d]) * 0.25 + mask[b, j]\n" SOFTMAX MIXED,
     {"q: f32 2 m 48", "k: f32 2 n 48", "v: f32 2 n 48", "mask: f32 2 n"},
     BOUND},
    {"s[b, h:3, i, j] = sum(d:16) (q[b, i, 16*h + d] * 0.25) * k[b, j, 16*h + d]\n"
     "z[b, h, i, j] = select(mask[b, i, j], s[b, h, i, j], -1e9)\n"
     "top[b, h, i] = max(j) z[b, h, i, j]\ne[b, h, i, j] = exp(z[b, h, i, j] - top[b, h, i])\n" MIXED,
     {"q: f32 2 m 48", "k: f32 2 n 48", "v: f32 2 n 48", "mask: bool 2 m n"},
     BOUND},
    {"s[b, h, i, j] = (sum(d) q[b, h, i, d] * k[b, h, j, d]) * 0.1\n" SOFTMAX "t[b, h, i] = sum(j) e[b, h, i, j]\n"
     "y[b, h, i, d] = (sum(j) e[b, h, i, j] * v[b, h, j, d]) / t[b, h, i]",
     {"q: f32 2 3 m p", "k: f32 2 3 n p", "v: f32 2 3 n 20"},
     BOUND},
    {"s[b, h, i, j] = (sum(d) q[b, h, i, d] * k[b, h, d, j]) * 0.1\n" SOFTMAX
     "y[b, h, i, d] = (sum(j) e[b, h, i, j] * v[b, h, j, d]) / (sum(j) e[b, h, i, j])",
     {"q: f32 1 2 m p", "k: f32 1 2 p n", "v: f32 1 2 n p"},
     BOUND},
    {"s[b, h, i, j] = (sum(d) q[b, h, i, d] * k[b, h, d, j]) * 0.1\n" SOFTMAX
     "y[b, i, h, d] = (sum(j) e[b, h, i, j] * v[b, h, d, j]) / (sum(j) e[b, h, i, j]) * gain[d] + x[b, i, h, d]",
     {"q: f32 1 2 m 33", "k: f32 1 2 33 n", "v: f32 1 2 70 n", "gain: f32 70", "x: f32 1 m 2 70"},
     BOUND * 4},
    {"s[b, h, i, j] = (sum(d) k[b, h, j, d] * q[b, h, i, d]) * 0.1\n" SOFTMAX
     "y[b, h, i, d] = (sum(j) v[b, h, j, d] * e[b, h, i, j]) / (sum(j) e[b, h, i, j])",
     {"q: f32 1 2 m p", "k: f32 1 2 n p", "v: f32 1 2 n 128"},
     BOUND},
    {"s[b, g, r:3, i, j] = (sum(d) q[b, 3*g + r, i, d] * k[b, g, j, d]) * 0.2\n"
     "top[b, g, r, i] = max(j) s[b, g, r, i, j]\ne[b, g, r, i, j] = exp(s[b, g, r, i, j] - top[b, g, r, i])\n"
     "y[b, 3*g + r, i, d] = (sum(j) e[b, g, r, i, j] * v[b, g, j, d]) / (sum(j) e[b, g, r, i, j])",
     {"q: f32 2 6 m 24", "k: f32 2 2 n 24", "v: f32 2 2 n 40"},
     BOUND},
    {"keys[b, h:3, j, d:16] = f32(k[b, j, 16*h + d]) + f32(bias[16*h + d])\n"
     "vals[b, h:3, j, d:16] = f32(v[b, j, 16*h + d])\n"
     "s[b, h:3, i, j] = (sum(d:16) (f32(q[b, i, 16*h + d]) + f32(bias[16*h + d])) * keys[b, h, j, d]) * 0.25\n" SOFTMAX
     "y[b, i, 16*h:3 + d:16] = f16((sum(j) e[b, h, i, j] * vals[b, h, j, d]) / (sum(j) e[b, h, i, j]))",
     {"q: f16 2 m 48", "k: f16 2 n 48", "v: f16 2 n 48", "bias: f16 48"},
     HALF},
    {"s[i, j] = sum(d) q[i, d] * k[j, d]\nz[i, j] = s[i, j] * 0.125 + slope[i] * f32(j - i)\ntop[i] = max(j) z[i, j]\n"
     "e[i, j] = exp(z[i, j] - top[i])\ny[i, d] = (sum(j) e[i, j] * v[j, d]) / (sum(j) e[i, j])",
     {"q: f32 m p", "k: f32 n p", "v: f32 n p", "slope: f32 m"},
     BOUND * 100},
    {"s[b, h, j] = sum(d) q[b, h, d] * k[b, h, j, d]\ntop[b, h] = max(j) s[b, h, j]\ne[b, h, j] = exp(s[b, h, j] - top[b, h])\n"
     "y[b, h, d] = (sum(j) e[b, h, j] * v[b, h, j, d]) / (sum(j) e[b, h, j])",
     {"q: f32 2 3 p", "k: f32 2 3 n p", "v: f32 2 3 n p"},
     BOUND},
    {"s[0, h, i, j] = (sum(d) q[0, h, i, d] * k[0, j, h, d]) / 2.8 + mask[0, 0, 0, j]\n"
     "top[h, i, 0] = max(j) s[0, h, i, j]\ne[h, i, j] = exp(s[0, h, i, j] - top[h, i, 0])\n"
     "t[h, i, 0] = sum(j) e[h, i, j]\np[0, h, i, j] = e[h, i, j] / t[h, i, 0]\n"
     "y[0, i, h, d] = sum(j) p[0, h, i, j] * v[0, h, j, d]",
     {"q: f32 1 4 m 8", "k: f32 1 n 4 8", "v: f32 1 4 n 8", "mask: f32 1 1 1 n"},
     BOUND},
    {"s[b, h:3, i, j] = f16((sum(d:16) f32(q[b, i, 16*h + d]) * f32(k[b, j, 16*h + d])) * 0.25)\n"
     "top[b, h, i] = max(j) s[b, h, i, j]\ne[b, h, i, j] = exp(s[b, h, i, j] - top[b, h, i])\n"
     "t[b, h, i] = sum(j) e[b, h, i, j]\np[b, h, i, j] = e[b, h, i, j] / t[b, h, i]\n"
     "y[b, i, 16*h:3 + d:16] = f16(sum(j) f32(p[b, h, i, j]) * f32(v[b, j, 16*h + d]))",
     {"q: f16 2 m 48", "k: f16 2 n 48", "v: f16 2 n 48"},
     2 * HALF},
    /* In stages: what several definitions write, then attention; sums that are read at other rows. */
    {"out keys[b, h, j:7, d] = past[b, h, j, d]\nout keys[b, h, 7 + j, d] = k[b, h, j, d]\n"
     "s[b, h, i, j] = (sum(d) q[b, h, i, d] * keys[b, h, j, d]) * 0.1\n" SOFTMAX
     "y[b, h, i, d] = (sum(j) e[b, h, i, j] * v[b, h, j, d]) / (sum(j) e[b, h, i, j])",
     {"q: f32 1 2 m p", "k: f32 1 2 n p", "v: f32 1 2 n+7 p", "past: f32 1 2 7 p"},
     BOUND},
    {"t[j] = sum(k) x[j, k]\ny[i, j] = x[i, j] + t[j] * t[i]", {"x: f32 m m"}, BOUND},
};
/* Hidden keys are left out where they have no weight, so that no NaN comes from their values. */
static const Sample hiding[] = {
    /* row 0 sees none */
    {"s[b, h:3, i, j] = sum(d:16) q[b, i, 16*h + d] * k[b, j, 16*h + d]\n"
     "z[b, h, i, j] = select(j <= i + 3, s[b, h, i, j] * 0.25, -inf)\n"
     "top[b, h, i] = max(j) z[b, h, i, j]\n"
     "e[b, h, i, j] = exp(z[b, h, i, j] - select(top[b, h, i] == -inf, 0, top[b, h, i]))\n"
     "total[b, h, i] = sum(j) e[b, h, i, j]\n"
     "p[b, h, i, j] = e[b, h, i, j] / select(total[b, h, i] == 0, 1, total[b, h, i])\n"
     "y[b, i, 16*h:3 + d:16] = sum(j) p[b, h, i, j] * v[b, j, 16*h + d]",
     MERGED, BOUND},
    {"s[b, h:3, i, j] = select(j < i & shown[b, j], (sum(d:16) q[b, i, 16*h + d] * k[b, j, 16*h + d]) * 0.25, "
     "-3.4028234663852886e38)\n" SOFTMAX MIXED,
     {"q: f32 2 m 48", "k: f32 2 n 48", "v: f32 2 n 48", "shown: bool 2 n"},
     BOUND},
    {"s[b, h:3, i, j] = sum(d:16) q[b, i, 16*h + d] * k[b, j, 16*h + d]\n"
     "z[b, h, i, j] = select(7 + i < j, -inf, s[b, h, i, j] * 0.25)\n"
     "top[b, h, i] = max(j) z[b, h, i, j]\ne[b, h, i, j] = exp(z[b, h, i, j] - top[b, h, i])\n" MIXED,
     MERGED, BOUND},
};
static const int64_t extents[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 33, 48, 64, 67, 100, 131, 197};

static void check_all(const Target *target, const char *label, int rounds) {
    without_nan = false;
    sample_check(samples, COUNT(samples), extents, COUNT(extents), target, label, rounds);
    without_nan = true;
    sample_check(hiding, COUNT(hiding), extents, COUNT(extents), target, label, rounds);
}

static const HereRounds rounds_of = {check_all, 40, 12, 2, 1, false};

int main(void) {
    const struct CMUnitTest tests[] = {HERE_TESTS(rounds_of)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
