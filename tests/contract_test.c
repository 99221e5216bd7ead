/* Contractions of all element types against the evaluator: random shapes, knobs, constants and zero points, the extremes of each
 * type among the data, sentinels around every tensor; through machine code with different features and through the interpreter.
 * Integers must agree bit for bit. A failure prints the kernel, the extents, the seed and the schedule. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffers.h"
#include "here.h"

enum { MAX_NAMES = 8, MAX_SHAPES = 10 };

/* "a u8 m k, za u8, s f32 n": tensors, their types and the names of their extents. Types T and U are drawn from u8 and s8. */
typedef struct Sample {
    const char *text, *tensors;
    const char *template; /* that must take it; "": any */
} Sample;

static const Sample samples[] = {
    {"c[m, n] = sum(k) s32(a[m, k]) * s32(b[k, n])", "a T m k, b U k n", "contract"},
    {"c[m, n] = sum(k) (s32(a[m, k]) - s32(za[])) * s32(b[k, n])", "a T m k, za T, b U k n", "contract"},
    {"c[m, n] = sum(k) (s32(a[m, k]) - s32(za[0])) * (s32(b[k, n]) - s32(zb[n]))", "a T m k, za T 1, b U k n, zb U n",
     "contract"},
    {"c[m, n] = sum(k) (s32(a[m, k]) - s32(za[m])) * (s32(b[n, k]) - s32(zb[]))", "a T m k, za T m, b U n k, zb U", "contract"},
    {"c[m, n] = sum(k) (s32(a[k, m]) - 3) * (s32(b[k, n]) - s32(zb[n]))", "a T k m, b U k n, zb U n", "contract"},
    {"c[i, m, n] = sum(k) (s32(a[i, m, k]) - s32(za[])) * (s32(b[i, k, n]) - s32(zb[i, 0, n]))",
     "a T i m k, za T, b U i k n, zb U i 1 n", "contract"},
    {"d[..] = s32(x[..]) - s32(zx[])\ny[n, o, h, w] = sum(c, i:3, j:3) d[n, c, h + i - 1, w + j - 1]? * s32(f[o, c, i, j])",
     "x T n c h w, zx T, f U o c 3 3", "contract"},
    {"d[..] = s32(x[..]) - s32(zx[])\nv[o, c, i, j] = s32(f[o, c, i, j]) - s32(zf[o])\n"
     "y[n, o, h:5, w:7] = sum(c, i:3, j:2) d[n, c, 2 * h + i - 1, w + j - 1]? * v[o, c, i, j]",
     "x T n c 10 7, zx T, f U o c 3 2, zf U o", "contract"},
    {"d[..] = s32(x[..]) - s32(zx[])\ny[n, h, w, o] = sum(i:3, j:3, c) d[n, h + i - 1, w + j - 1, c]? * s32(f[i, j, c, o])",
     "x T n h w c, zx T, f U 3 3 c o", "contract"},
    {"y[n, h:7, w:6, o] = sum(i:3, j:3, c) s32(x[n, h + i, w + j, c]) * s32(f[o, i, j, c])", "x T n 9 8 c, f U o 3 3 c",
     "contract"},
    {"c[m, n] = sum(k) s32(a[m, k]?(7)) * s32(b[k, n])", "a T m k, b U k n", "contract"},
    {"c[m, n] = f32(sum(k) (s32(a[m, k]) - s32(za[])) * s32(b[k, n])) * (s[] * t[n]) + bias[n]",
     "a T m k, za T, b U k n, s f32, t f32 n, bias f32 n", "contract"},
    {"c[m, n] = max(f32(sum(k) s32(a[m, k]) * (s32(b[k, n]) - s32(zb[n]))) * s[m] * t[n] + r[m, n], 0)",
     "a T m k, zb U n, b U k n, s f32 m, t f32 n, r f32 m n", "contract"},
    {"c[m, n] = u8(round(f32(sum(k) (s32(a[m, k]) - s32(za[])) * (s32(b[k, n]) - s32(zb[n]))) * (s[0] * t[n] / 977)) + "
     "f32(zc[]))",
     "a T m k, za T, zb U n, b U k n, s f32 1, t f32 n, zc u8", "contract"},
    {"c[m, n] = s8(round(f32(sum(k) s32(a[m, k]) * s32(b[k, n]) + bias[n]) * (s[0] * t[n] / 977)) + f32(zc[]))",
     "a T m k, b U k n, s f32 1, t f32 n, zc s8, bias s32 n", "contract"},
    {"d[..] = s32(x[..]) - s32(zx[])\nv[o, c, i, j] = s32(f[o, c, i, j]) - s32(zf[o])\n"
     "y[n, o, h, w] = u8(round(f32(sum(c, i:3, j:3) d[n, c, h + i - 1, w + j - 1]? * v[o, c, i, j] + b[o]) * (s[] * t[o] / 399)) "
     "+ f32(zy[]))",
     "x T n c h w, zx T, f U o c 3 3, zf U o, b s32 o, s f32, t f32 o, zy u8", "contract"},
    {"c[m, n] = u8(round(f32(s32(s8(round(f32(sum(k) (s32(a[m, k]) - s32(za[])) * s32(b[k, n])) * (t[n] / 977)) + f32(zq[]))) - "
     "s32(zq[])) * s[n] + t[n]) + f32(zc[]))",
     "a T m k, za T, b U k n, s f32 n, t f32 n, zq s8, zc u8", "contract"},
    {"c[m, n] = u8(round(f32(s32(u8(round(f32(sum(k) s32(a[m, k]) * s32(b[k, n])) * (t[n] / 977)) + f32(zq[]))) - s32(zq[])) * "
     "0.75 "
     "+ f32(s32(r[m, n]) - s32(zr[])) * 1.25) + f32(zc[]))",
     "a T m k, b U k n, r T m n, zr T, t f32 n, zq u8, zc u8", "contract"},
    {"c[m, n] = gelu(f32(sum(k) s32(a[m, k]) * s32(b[n, k])) * 0.001)", "a T m k, b U n k", "contract"},
    {"c[m, n] = bf16(sum(k) f32(a[m, k]) * f32(b[k, n]))", "a bf16 m k, b bf16 k n", "contract"},
    {"c[m, n] = f16(sum(k) f32(a[m, k]) * f32(b[n, k]) + f32(bias[n]))", "a f16 m k, b f16 n k, bias f16 n", "contract"},
    {"c[m, n] = max(sum(k) f32(a[m, k]) * f32(b[k, n]) + r[m, n], 0)", "a bf16 m k, b bf16 k n, r f32 m n", "contract"},
    {"c[m, n] = sum(k) a[m, k] * f32(b[k, n])", "a f32 m k, b f16 k n", "contract"},
    {"c[m, n] = sum(k) f32(a[m, k]) * f32(b[k, n])", "a bf16 m k, b f16 k n", "contract"},
    {"y[n, o, h, w] = bf16(sum(c, i:3, j:3) f32(x[n, c, h + i - 1, w + j - 1]?) * f32(f[o, c, i, j]))",
     "x bf16 n c h w, f bf16 o c 3 3", "contract"},
    {"y[n, h, w, o] = f16(sum(i:3, j:3, c) f32(x[n, h + i - 1, w + j - 1, c]?) * f32(f[i, j, c, o]))",
     "x f16 n h w c, f f16 3 3 c o", "contract"},
    {"y[n, h, w, o] = sum(i:3, j:3, c) f32(x[n, h + i - 1, w + j - 1, c]?) * f32(f[i, j, c, o])",
     "x bf16 n h w c, f bf16 3 3 c o", "contract"},
    {"c[m, n] = sum(k) f32(bf16(a[m, k])) * f32(bf16(b[k, n]))", "a f32 m k, b f32 k n", "contract"},
    {"c[m, n] = bf16(gelu(sum(k) f32(a[m, k]) * f32(bf16(b[n, k])) + bias[n]))", "a bf16 m k, b f32 n k, bias f32 n", "contract"},
    {"c[i, m, n] = sum(k) f32(bf16(a[i, m, k])) * f32(b[i, n, k]) + r[i, m, n]", "a f32 i m k, b bf16 i n k, r f32 i m n",
     "contract"},
    {"y[n, o, h, w] = max(sum(c, i:3, j:3) f32(bf16(x[n, c, h + i - 1, w + j - 1]?)) * f32(bf16(f[o, c, i, j])) + b[o], 0)",
     "x f32 n c h w, f f32 o c 3 3, b f32 o", ""},
    {"y[n, h, w, o] = sum(i:3, j:3, c) f32(bf16(x[n, h + i - 1, w + j - 1, c]?)) * f32(bf16(f[i, j, c, o]))",
     "x f32 n h w c, f f32 3 3 c o", ""},
    {"c[m, n] = sum(k) f32(bf16(a[m, k])) * b[k, n]", "a f32 m k, b f32 k n", "contract"},
    {"c[m, n] = sum(k) (s32(a[m, k]) - (-128)) * s32(b[k, n])", "a s8 m k, b s8 k n", "contract"},
    {"c[m, n] = sum(k) s32(a[m, k]) * s32(b[k, n])", "a T m 128, b U 128 n", "contract"},
    {"c[i, m, n] = sum(k) (s32(a[i, m, k]) - s32(za[])) * (s32(b[i, k, n]) - s32(zb[i, 0, n]))",
     "a T i m 64, za T, b U i 64 n, zb U i 1 n", "contract"},
    {"c[i, h, m, n] = sum(k) f32(a[m, i, h, k]) * f32(b[h, i, n, k])", "a bf16 m i 2 64, b bf16 2 i n 64", "contract"},
    {"c[m, 3 + n] = sum(k) s32(a[m, k]) * s32(b[k, n])", "a T m k, b U k n", "contract"},
};

static const int64_t extents[] = {1, 1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 31, 33, 64, 67, 100};
static const int64_t small_extents[] = {1, 2, 3, 4, 5, 7, 8, 9, 14, 16, 17};

typedef struct Drawn {
    const char *name[MAX_NAMES];
    int64_t value[MAX_NAMES];
    int count;
    char names[MAX_NAMES][8];
    DType types[2]; /* T and U */
} Drawn;

static int64_t extent_of(Drawn *d, const char *name, bool many, bool none) {
    if (name[0] >= '0' && name[0] <= '9')
        return atoll(name);
    for (int i = 0; i < d->count; i++)
        if (!strcmp(d->name[i], name))
            return d->value[i];
    snprintf(d->names[d->count], sizeof d->names[0], "%.7s", name);
    d->name[d->count] = d->names[d->count];
    d->value[d->count] = many ? small_extents[next() % COUNT(small_extents)] : extents[next() % COUNT(extents)];
    if (none && name[0] == 'k')
        d->value[d->count] = 0;
    return d->value[d->count++];
}

static DType type_of(const Drawn *d, const char *name) {
    if (!strcmp(name, "T") || !strcmp(name, "U"))
        return d->types[name[0] == 'U'];
    return dtype_parse(name, strlen(name));
}

static Kernel *bind(Arena *arena, const Sample *s, Drawn *d, whet_error *err) {
    Kernel *kernel = kernel_parse(arena, s->text, strlen(s->text), err);
    KernelArg args[MAX_SHAPES];
    int64_t dims[MAX_SHAPES][6];
    char copy[256], name[MAX_SHAPES][16];
    int count = 0;
    bool many = strstr(s->text, "i:") || strstr(s->text, "[i,"), none = next() % 20 == 0;
    snprintf(copy, sizeof copy, "%s", s->tensors);
    for (char *tensor = strtok(copy, ","); tensor; tensor = strtok(NULL, ",")) {
        char dim[6][8], type[8];
        int fields = sscanf(tensor, "%15s %7s %7s %7s %7s %7s %7s", name[count], type, dim[0], dim[1], dim[2], dim[3], dim[4]);
        for (int i = 0; i < fields - 2; i++)
            dims[count][i] = extent_of(d, dim[i], many, none);
        args[count] = (KernelArg){name[count], type_of(d, type), fields - 2, dims[count]};
        count++;
    }
    KernelConst consts[MAX_NAMES];
    for (int i = 0; i < d->count; i++)
        consts[i] = (KernelConst){.name = d->name[i], .integer = d->value[i]};
    if (!kernel || kernel_bind(kernel, args, count, consts, d->count, err) != WHET_OK)
        return NULL;
    return kernel;
}

/* Extremes are frequent, zero points are often 0, and sometimes everything is an extreme. */
static void fill(const KernelTensor *t, void *data, const void *context) {
    (void)context;
    uint32_t kind = next() % 6;
    for (int64_t i = 0; i < t->count; i++) {
        uint32_t r = next();
        if (dtype_kind(t->type) == KIND_FLOAT)
            data_set(t->type, data, i, ((int)(r % 2001) - 1000) / 512.0, 0);
        else if (t->type == DT_S32)
            ((int32_t *)data)[i] = (int32_t)(r % 100001) - 50000;
        else if (kind == 0 && t->name[0] == 'z')
            ((uint8_t *)data)[i] = 0;
        else if (kind == 1)
            ((uint8_t *)data)[i] = t->type == DT_U8 ? 255 : 0x80;
        else
            ((uint8_t *)data)[i] = r % 4 ? (uint8_t)(r >> 8) : r & 16 ? 0x80 : r & 32 ? 0xff : r & 64 ? 0x7f : 0;
    }
}

/* Integers are equal; floats within what rounding a sum of this length, and storing it, may do. */
static bool agrees(const KernelTensor *t, const void *got, const void *wanted, double depth) {
    double scale = data_scale(t, wanted), bound = 0;
    if (dtype_kind(t->type) == KIND_FLOAT)
        bound = 1.2e-7 * (depth + 8) * (scale + 4 * sqrt(depth)) + scale * (t->type == DT_F32   ? 0
                                                                            : t->type == DT_F16 ? 1e-3
                                                                                                : 8e-3);
    return data_close(t, got, wanted, bound);
}

static void report(const Sample *s, const Drawn *d, const char *target, uint64_t seed, const char *what) {
    print_error("%s\nT=%s U=%s", s->text, dtype_name(d->types[0]), dtype_name(d->types[1]));
    for (int i = 0; i < d->count; i++)
        print_error(" %s=%lld", d->name[i], (long long)d->value[i]);
    print_error(" seed %llu\non %s: %s\n", (unsigned long long)seed, target, what);
}

/* Products of bytes that are made of products of 16 bits, and of bf16 that are made of f32, want more registers beside their
 * sums. */
static ScheduleOptions draw_options(const Target *target) {
    ScheduleOptions options = {.seed = next() % 3 ? 0 : next()};
    if (next() % 3 == 0)
        options.kc = 1 + (int)(next() % 40);
    if (next() % 3 == 0)
        options.unroll = 1 + (int)(next() % 5);
    if (next() % 3 == 0) {
        options.mr = 1 + (int)(next() % 4);
        options.nv = 1 + (int)(next() % (target->dot4_us && target->dot2 ? 3 : 2));
    }
    if (target->tiles.quads)
        here_draw_grid(target, (unsigned)next(), &options);
    return options;
}

static void check_on(const Sample *s, const Drawn *d, const Kernel *kernel, const Target *target, const char *label,
                     uint64_t seed) {
    Buffers got, wanted;
    whet_error err;
    const char *why = NULL;
    const void *constant[KERNEL_MAX_TENSORS] = {0};
    uint64_t before = state_of_random;
    buffers_new(kernel, fill, NULL, &wanted);
    state_of_random = before; /* the same inputs again */
    buffers_new(kernel, fill, NULL, &got);
    for (int t = 0; t < kernel->input_count; t++)
        if (next() % 2)
            constant[t] = got.data[t];
    ScheduleOptions options = draw_options(target);
    options.constant = constant;
    Compiled *compiled = NULL;
    whet_status status = schedule_compile(kernel, target, &options, &compiled, &why, &err);
    if (status == WHET_ERROR_UNSUPPORTED && strstr(err.message, "many short sums")) { /* refused by name, as it should */
        buffers_free(kernel, &got);
        buffers_free(kernel, &wanted);
        return;
    }
    if (status != WHET_OK) {
        report(s, d, label, seed, err.message);
        fail();
    }
    Text text;
    text_init(&text);
    compiled_print_schedule(compiled, &text);
    Parallel parallel = {.threads = 1 + (int)(next() % 4), .run = run_backwards};
    EvalOptions how = {.parallel = next() % 2 ? &parallel : NULL};
    bool same =
        kernel_eval(kernel, wanted.data, NULL, &err) == WHET_OK && compiled_run(compiled, got.data, &how, &err) == WHET_OK;
    /* Many short sums are taken by rows, and by windows. */
    same = same &&
           (strstr(text.data, s->template) || strstr(text.data, "# rows") || strstr(text.data, "#   rows") ||
            strstr(text.data, "# window")) &&
           buffers_intact(kernel, &got);
    for (int t = 0; t < kernel->tensor_count; t++)
        same = same && (kernel->tensors[t].role != ROLE_OUTPUT ||
                        agrees(&kernel->tensors[t], got.data[t], wanted.data[t], depth_of_all(kernel)));
    if (!same) {
        report(s, d, label, seed, text.data);
        fail();
    }
    text_free(&text);
    compiled_free(compiled);
    buffers_free(kernel, &got);
    buffers_free(kernel, &wanted);
}

static void check_samples(const Target *target, const char *label, int rounds) {
    for (size_t i = 0; i < COUNT(samples); i++)
        for (int round = 0; round < rounds; round++) {
            uint64_t seed = (uint64_t)i * 1000 + (uint64_t)round + 1;
            state_of_random = seed;
            next();
            Drawn d = {.types = {next() % 2 ? DT_U8 : DT_S8, next() % 2 ? DT_U8 : DT_S8}};
            Arena arena;
            whet_error err;
            arena_init(&arena, NULL);
            Kernel *kernel = bind(&arena, &samples[i], &d, &err);
            if (!kernel) {
                report(&samples[i], &d, label, seed, err.message);
                fail();
            }
            check_on(&samples[i], &d, kernel, target, label, seed);
            arena_free(&arena);
        }
}

static void check_machine(uint64_t without, int bytes, const char *label) {
    Target target;
    if (!target_host(~without, &target) || target.bytes != bytes || strncmp(target.name, "x86", 3) != 0) {
        print_message("skipped: no %s here\n", label);
        skip();
    }
    check_samples(&target, label, 60);
}

static void on_avx2(void **state) {
    (void)state;
    check_machine(FEATURE(AVX512F) | FEATURE(AVX_VNNI) | FEATURE(AVX_VNNI_INT8), 32, "AVX2");
}

static void on_avx512(void **state) {
    (void)state;
    check_machine(0, 64, "AVX-512");
}

static void without_dots(void **state) {
    (void)state;
    check_machine(FEATURE(AVX512_VNNI) | FEATURE(AVX512_BF16), 64, "AVX-512 without VNNI and BF16");
}

static void interpreted(void **state) {
    (void)state;
    here_interpreted("the interpreter", 0, check_samples, 3);
    here_interpreted("the interpreter with 32 bytes", ~FEATURE(AVX512F), check_samples, 3); /* AVX-VNNI-INT8 */
    here_made_for_others(check_samples, 1);
}

static void on_intel_tiles(void **state) {
    (void)state;
    here_on_emulated("x86-avx512+amx", check_samples, 20);
}

static void on_avx_vnni(void **state) {
    (void)state;
    here_on_emulated("x86-avx2+avx_vnni", check_samples, 10);
}

static const HereRounds rounds_of = {.check = check_samples, .elsewhere = 25};

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_avx512),   cmocka_unit_test(without_dots),
        cmocka_unit_test(on_avx2),     HERE_TEST("elsewhere", here_other, rounds_of),
        cmocka_unit_test(interpreted), cmocka_unit_test(on_intel_tiles),
        cmocka_unit_test(on_avx_vnni),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
