/* f32 convolutions through the notation, channels last and channels first, beside the measured peak of one core.
 *
 *     conv_bench [-s SECONDS] [-o PART_OF_A_NAME] [-k KNOBS] [-f] [-x]
 *
 * Each with a bias and max(., 0), weights constant. Two shares: `%direct` counts every tap of every output as a multiply-add,
 * those that fall into the padding too, which is how the limit of a direct convolution is usually given; `%inside` counts only
 * taps that read the image, so it is what the arithmetic units were really needed for. The first may exceed 100 %. -f: only
 * channels first, which is slower; -k: with these knobs, as 'mr=8 nv=3'. Each figure is the best of many runs; the peak is
 * measured in turn with them. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "schedule/schedule.h"
#include "target/peak.h"

enum { MAX_SPATIAL = 3 };

typedef struct Conv {
    const char *name;
    int spatial;
    int64_t n, c, o, in[MAX_SPATIAL], taps, stride, pad, groups;
    bool transposed;
} Conv;

// clang-format off
static const Conv convolutions[] = {
    {"4 x 32x32 x 32 -> 32 k5", 2, 4, 32, 32, {32, 32}, 5, 1, 2, 1, false},
    {"56x56 x 64 -> 64 k3", 2, 1, 64, 64, {56, 56}, 3, 1, 1, 1, false},
    {"28x28 x 128 -> 128 k3", 2, 1, 128, 128, {28, 28}, 3, 1, 1, 1, false},
    {"14x14 x 256 -> 256 k3", 2, 1, 256, 256, {14, 14}, 3, 1, 1, 1, false},
    {"7x7 x 512 -> 512 k3", 2, 1, 512, 512, {7, 7}, 3, 1, 1, 1, false},
    {"56x56 x 64 -> 256 k1", 2, 1, 64, 256, {56, 56}, 1, 1, 0, 1, false},
    {"56x56 x 256 -> 64 k1", 2, 1, 256, 64, {56, 56}, 1, 1, 0, 1, false},
    {"14x14 x 1024 -> 256 k1", 2, 1, 1024, 256, {14, 14}, 1, 1, 0, 1, false},
    {"7x7 x 512 -> 2048 k1", 2, 1, 512, 2048, {7, 7}, 1, 1, 0, 1, false},
    {"224x224 x 3 -> 64 k7 s2", 2, 1, 3, 64, {224, 224}, 7, 2, 3, 1, false},
    {"56x56 x 128 -> 128 k3 s2", 2, 1, 128, 128, {56, 56}, 3, 2, 1, 1, false},
    {"14x14 x 512 -> 512 k3 s2", 2, 1, 512, 512, {14, 14}, 3, 2, 1, 1, false},
    {"56x56 x 256 -> 512 k1 s2", 2, 1, 256, 512, {56, 56}, 1, 2, 0, 1, false},
    {"16x32x32 x 32 -> 32 k3", 3, 1, 32, 32, {16, 32, 32}, 3, 1, 1, 1, false},
    {"400 x 384 -> 384 k3", 1, 1, 384, 384, {400}, 3, 1, 1, 1, false},
    {"56x56 x 128 -> 128 k3, 32 groups", 2, 1, 128, 128, {56, 56}, 3, 1, 1, 32, false},
    {"14x14 x 256 -> 256 k3, 8 groups", 2, 1, 256, 256, {14, 14}, 3, 1, 1, 8, false},
    {"28x28 x 128 -> 64 k4 s2, transposed", 2, 1, 128, 64, {28, 28}, 4, 2, 1, 1, true},
    {"64x64 x 32 -> 16 k2 s2, transposed", 2, 1, 32, 16, {64, 64}, 2, 2, 0, 1, true},
};
// clang-format on

static bool exact;          /* -x */
static ScheduleKnobs knobs; /* -k */

/* ---- texts ---- */

static int64_t out_extent(const Conv *v, int d) {
    return v->transposed ? (v->in[d] - 1) * v->stride + v->taps - 2 * v->pad : (v->in[d] + 2 * v->pad - v->taps) / v->stride + 1;
}

/* "n, C, S" or "n, S, C", spatial indices made by `put`. */
static void put_indices(Text *out, const Conv *v, bool last, const char *channel, const int64_t *phase,
                        void (*put)(Text *, const Conv *, int, const int64_t *)) {
    text_put(out, "[n, ");
    if (!last)
        text_printf(out, "%s, ", channel);
    for (int d = 0; d < v->spatial; d++) {
        put(out, v, d, phase);
        text_put(out, last || d + 1 < v->spatial ? ", " : "");
    }
    text_printf(out, "%s]", last ? channel : "");
}

/* All phases read the same inputs: one definition, with the phases of each dimension for an axis. */
static bool phases_alike(const Conv *v) {
    return v->transposed && v->taps % v->stride == 0 && v->pad % v->stride == 0;
}

static int64_t first_tap(const Conv *v, int64_t phase) {
    return (phase + v->pad) % v->stride;
}

static void put_output(Text *out, const Conv *v, int d, const int64_t *phase) {
    long long stride = v->stride, places = out_extent(v, d) / v->stride;
    if (phases_alike(v))
        text_printf(out, "%lld*h%d:%lld + p%d:%lld", stride, d, places, d, stride);
    else if (v->transposed)
        text_printf(out, "%lld*h%d:%lld + %lld", stride, d, places, (long long)phase[d]);
    else
        text_printf(out, "h%d:%lld", d, (long long)out_extent(v, d));
}

static void put_input(Text *out, const Conv *v, int d, const int64_t *phase) {
    if (v->transposed)
        text_printf(out, "h%d - i%d + %lld", d, d, (long long)((phase[d] + v->pad) / v->stride));
    else
        text_printf(out, "%lld*h%d + i%d - %lld", (long long)v->stride, d, d, (long long)v->pad);
}

static void put_definition(Text *out, const Conv *v, bool last, const int64_t *phase) {
    char in[40] = "c", wide[80] = "m", left[80];
    long long c = v->c / v->groups, m = v->o / v->groups;
    snprintf(left, sizeof left, "m:%lld", m);
    if (v->groups > 1) {
        snprintf(in, sizeof in, "%lld*g + c", c);
        snprintf(wide, sizeof wide, "%lld*g + m", m);
        snprintf(left, sizeof left, "%lld*g:%lld + m:%lld", m, (long long)v->groups, m);
    }
    text_put(out, "y");
    put_indices(out, v, last, left, phase, put_output);
    text_printf(out, " = max((sum(c:%lld", c);
    for (int d = 0; d < v->spatial; d++)
        text_printf(out, ", i%d:%lld", d, (long long)(v->transposed ? v->taps / v->stride : v->taps));
    text_put(out, ") x");
    put_indices(out, v, last, in, phase, put_input);
    text_printf(out, "? * f[%s", v->transposed ? "c, m" : wide);
    text_put(out, v->transposed ? "" : ", c");
    for (int d = 0; d < v->spatial; d++)
        if (phases_alike(v))
            text_printf(out, ", %lld*i%d + p%d", (long long)v->stride, d, d);
        else if (v->transposed)
            text_printf(out, ", %lld*i%d + %lld", (long long)v->stride, d, (long long)first_tap(v, phase[d]));
        else
            text_printf(out, ", i%d", d);
    text_printf(out, "]) + b[%s], 0)\n", wide);
}

static void put_kernel(Text *out, const Conv *v, bool last) {
    int64_t phases = 1, stride = v->transposed && !phases_alike(v) ? v->stride : 1;
    for (int d = 0; d < v->spatial; d++)
        phases *= stride;
    for (int64_t p = 0; p < phases; p++) {
        int64_t phase[MAX_SPATIAL] = {0}, rest = p;
        for (int d = v->spatial - 1; d >= 0; d--, rest /= stride)
            phase[d] = rest % stride;
        put_definition(out, v, last, phase);
    }
}

/* ---- arithmetic ---- */

/* Pairs of output and tap of one dimension that read inside. */
static double inside(const Conv *v, int d) {
    double count = 0;
    for (int64_t o = 0; o < (v->transposed ? v->in[d] : out_extent(v, d)); o++)
        for (int64_t i = 0; i < v->taps; i++) {
            int64_t at = o * v->stride + i - v->pad;
            count += at >= 0 && at < (v->transposed ? out_extent(v, d) : v->in[d]);
        }
    return count;
}

static double flops_of(const Conv *v, bool only_inside) {
    int64_t channels = v->c / v->groups;
    double flops = 2.0 * (double)v->n * (double)channels * (double)v->o;
    for (int d = 0; d < v->spatial; d++)
        flops *= only_inside ? inside(v, d) : v->transposed ? (double)(v->in[d] * v->taps) : (double)(out_extent(v, d) * v->taps);
    return flops;
}

/* ---- measuring ---- */

typedef struct Bound {
    Arena arena;
    Kernel *kernel;
    Compiled *compiled;
    void *data[KERNEL_MAX_TENSORS];
} Bound;

static Kernel *bind(Arena *arena, const Conv *v, bool last, whet_error *err) {
    Text text;
    text_init(&text);
    put_kernel(&text, v, last);
    int64_t x[5] = {v->n}, y[5] = {v->n}, f[5] = {v->o, v->c / v->groups};
    if (v->transposed)
        f[0] = v->c, f[1] = v->o;
    x[last ? v->spatial + 1 : 1] = v->c;
    y[last ? v->spatial + 1 : 1] = v->o;
    for (int d = 0; d < v->spatial; d++) {
        x[d + (last ? 1 : 2)] = v->in[d];
        y[d + (last ? 1 : 2)] = out_extent(v, d);
        f[d + 2] = v->taps;
    }
    KernelArg args[] = {{"x", DT_F32, v->spatial + 2, x},
                        {"y", DT_F32, v->spatial + 2, y},
                        {"f", DT_F32, v->spatial + 2, f},
                        {"b", DT_F32, 1, &v->o}};
    Kernel *kernel = kernel_parse(arena, text.data, text.length, err);
    bool fine = kernel && kernel_bind(kernel, args, (int)COUNT(args), NULL, 0, err) == WHET_OK;
    text_free(&text);
    return fine ? kernel : NULL;
}

static bool fill(Bound *x) {
    for (int t = 0; t < x->kernel->tensor_count; t++) {
        size_t count = (size_t)x->kernel->tensors[t].count;
        float *p = x->data[t] = aligned_alloc(64, (count * sizeof *p + 63) / 64 * 64 + 64);
        for (size_t i = 0; p && i < count; i++)
            p[i] = (float)((int)(i * 7 % 23) - 11) * .1f;
        if (!p)
            return false;
    }
    return true;
}

static bool make(Bound *x, const Conv *v, bool last, const Target *target, whet_error *err) {
    const char *why;
    arena_init(&x->arena, NULL);
    x->kernel = bind(&x->arena, v, last, err);
    if (!x->kernel || !fill(x))
        return false;
    const void *constant[KERNEL_MAX_TENSORS] = {0};
    int weights = kernel_find_tensor(x->kernel, "f");
    constant[weights] = x->data[weights];
    ScheduleOptions options = {.constant = constant,
                               .exact = exact,
                               .mr = knobs.mr,
                               .nv = knobs.nv,
                               .kc = knobs.kc,
                               .mc = knobs.mc,
                               .unroll = knobs.unroll};
    return schedule_compile(x->kernel, target, &options, &x->compiled, &why, err) == WHET_OK;
}

static double make_time(const Bound *x, const Target *target) {
    double best = 1e9;
    for (int i = 0; i < 10; i++) {
        Compiled *compiled = NULL;
        double start = clock_now();
        schedule_compile(x->kernel, target, &(ScheduleOptions){.exact = exact}, &compiled, NULL, NULL);
        double took = clock_now() - start;
        best = took < best ? took : best;
        compiled_free(compiled);
    }
    return best;
}

static void measure(const Conv *v, bool last, const Target *target, Peak *peak, double seconds) {
    Bound x = {0};
    whet_error err = {0};
    printf("%-36s %-5s ", v->name, last ? "last" : "first");
    if (make(&x, v, last, target, &err)) {
        double best = 1e9, limit = 0;
        for (double start = clock_now(); clock_now() - start < seconds;) {
            double gflops = peak_run(peak), stretch = clock_now();
            limit = gflops > limit ? gflops : limit;
            double from, to = stretch;
            do {
                from = to;
                compiled_run(x.compiled, x.data, NULL, &err);
                to = clock_now();
                best = to - from < best ? to - from : best;
            } while (to - stretch < 5e-3);
        }
        printf("%-9s %9.1f %6.1f %6.1f%% %6.1f%% %7.0f\n", x.compiled->template, best * 1e6, flops_of(v, false) / best * 1e-9,
               flops_of(v, false) / best * 1e-7 / limit, flops_of(v, true) / best * 1e-7 / limit, 1e6 * make_time(&x, target));
    } else {
        printf("%s\n", err.message);
    }
    fflush(stdout);
    for (int t = 0; t < KERNEL_MAX_TENSORS; t++)
        free(x.data[t]);
    compiled_free(x.compiled);
    arena_free(&x.arena);
}

int main(int argc, char **argv) {
    double seconds = .2;
    const char *only = "";
    bool just_first = false;
    for (int option; (option = getopt(argc, argv, "s:o:k:fx")) != -1;) {
        if (option == 's')
            seconds = atof(optarg);
        else if (option == 'o')
            only = optarg;
        else if (option == 'k' && schedule_parse_knobs(optarg, &knobs, NULL) != WHET_OK)
            return 2;
        else if (option == 'k')
            continue;
        else if (option == 'f')
            just_first = true;
        else if (option == 'x')
            exact = true;
        else
            return 2;
    }
    Target target;
    if (!target_host(~UINT64_C(0), &target))
        return fprintf(stderr, "conv_bench: no code generator for this machine\n"), 1;
    Peak *peak = peak_new(&target, PEAK_F32, NULL);
    printf("%-36s %-5s %-9s %9s %6s %7s %7s %7s\n", "pixels x channels in -> out", "", "template", "us", "GFLOPS", "%direct",
           "%inside", "make us");
    for (int last = !just_first; last >= 0; last--)
        for (size_t i = 0; i < COUNT(convolutions); i++)
            if (strstr(convolutions[i].name, only))
                measure(&convolutions[i], last, &target, peak, seconds);
    peak_free(peak);
    return 0;
}
