/* Elementwise kernels, casts, transposes, gathers and concatenation through the notation, one thread: bytes that must move (every
 * input read once, every output written once) a second, beside memcpy of as many bytes, in the levels of memory.
 *
 *     map_bench [-s SECONDS] [-k NAME]
 *
 * Beside it what the operations of the code that was made would move at the most, by the pipes that run them (ports.h), at the
 * rate this machine multiplies at. And what squares read, touched in their order by a loop that does nothing else: lines that
 * fall into one set of L1 one after the other come slowly. The share is of the lowest of the three.
 *
 * Each figure is the best of many runs. -k: only cases whose name has that in it. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "ports.h"
#include "schedule/map.h"

enum { MOST_ARGS = 4 };

/* Names in capitals are extents: N is set for each level so that all tensors together fill a part of it. */
static const struct Case {
    const char *name, *text;
    struct {
        const char *name;
        DType type;
        int rank;
        int64_t dims[4]; /* -1: N */
    } args[MOST_ARGS];
    double bytes; /* for each of N */
    bool levels;  /* in every level; otherwise N is 1 */
} cases[] = {
    {"add", "y[i] = x[i] + z[i]", {{"x", DT_F32, 1, {-1}}, {"z", DT_F32, 1, {-1}}}, 12, true},
    {"scale and shift",
     "y[i, j] = x[i, j] * s[j] + b[j]",
     {{"x", DT_F32, 2, {-1, 768}}, {"s", DT_F32, 1, {768}}, {"b", DT_F32, 1, {768}}},
     6144,
     true},
    {"gelu", "y[i] = gelu(x[i])", {{"x", DT_F32, 1, {-1}}}, 8, true},
    {"sigmoid", "y[i] = sigmoid(x[i])", {{"x", DT_F32, 1, {-1}}}, 8, true},
    {"quantize u8",
     "y[i] = u8(round(x[i] / s[]) + f32(z[]))",
     {{"x", DT_F32, 1, {-1}}, {"s", DT_F32, 0, {0}}, {"z", DT_U8, 0, {0}}},
     5,
     true},
    {"dequantize u8",
     "y[i] = f32(s32(x[i]) - s32(z[])) * s[]",
     {{"x", DT_U8, 1, {-1}}, {"s", DT_F32, 0, {0}}, {"z", DT_U8, 0, {0}}},
     5,
     true},
    {"f32 to f16", "y[i] = f16(x[i])", {{"x", DT_F32, 1, {-1}}}, 6, true},
    {"bf16 to f32", "y[i] = f32(x[i])", {{"x", DT_BF16, 1, {-1}}}, 6, true},
    {"relu u8", "y[i] = max(x[i], z[])", {{"x", DT_U8, 1, {-1}}, {"z", DT_U8, 0, {0}}}, 2, true},
    {"transpose 2-D", "y[j, i] = x[i, j]", {{"x", DT_F32, 2, {-1, 64}}}, 512, true},
    {"transpose 1024 x 1024", "y[j, i] = x[i, j]", {{"x", DT_F32, 2, {1024, 1024}}}, 1 << 23, false},
    {"transpose 4000 x 4000", "y[j, i] = x[i, j]", {{"x", DT_F32, 2, {4000, 4000}}}, 128e6, false},
    {"transpose u8 1024 x 1024", "y[j, i] = x[i, j]", {{"x", DT_U8, 2, {1024, 1024}}}, 1 << 21, false},
    {"transpose f16 1024 x 1024", "y[j, i] = x[i, j]", {{"x", DT_F16, 2, {1024, 1024}}}, 1 << 22, false},
    {"transpose s64 512 x 512", "y[j, i] = x[i, j]", {{"x", DT_S64, 2, {512, 512}}}, 1 << 22, false},
    {"heads of BERT, 0213", "y[b, h, s, d] = x[b, s, h, d]", {{"x", DT_F32, 4, {1, 128, 12, 64}}}, 786432, false},
    {"NCHW to NHWC, 64 channels", "y[n, h, c] = x[n, c, h]", {{"x", DT_F32, 3, {1, 64, 3136}}}, 1605632, false},
    {"NHWC to NCHW, 64 channels", "y[n, c, h] = x[n, h, c]", {{"x", DT_F32, 3, {1, 3136, 64}}}, 1605632, false},
    {"NCHW to NHWC, 3 channels", "y[n, h, c] = x[n, c, h]", {{"x", DT_F32, 3, {1, 3, 50176}}}, 1204224, false},
    {"NHWC u8 to NCHW f32, 3", "y[n, c, h] = f32(x[n, h, c]) * 0.017", {{"x", DT_U8, 3, {1, 50176, 3}}}, 752640, false},
    {"pad an image by 1", "y[c:64, h:58, w:58] = x[c, h - 1, w - 1]?", {{"x", DT_F32, 3, {64, 56, 56}}}, 1663, false},
    {"every other column", "y[i, j:512] = x[i, 2*j]", {{"x", DT_F32, 2, {128, 1024}}}, 786432, false},
    {"backwards", "y[i, j] = x[i, 1023 - j]", {{"x", DT_F32, 2, {128, 1024}}, {"y", DT_F32, 2, {128, 1024}}}, 1048576, false},
    {"upsample twice", "y[c:32, h:112, w:112] = x[c, h // 2, w // 2]", {{"x", DT_F32, 3, {32, 56, 56}}}, 2007040, false},
    {"embedding",
     "y[i, j] = w[select(t[i] < 0, t[i] + 30522, t[i]), j]",
     {{"w", DT_F32, 2, {30522, 768}}, {"t", DT_S64, 1, {512}}},
     3145728,
     false},
    {"gather of elements",
     "y[i, j] = w[i, t[i, j]]",
     {{"w", DT_F32, 2, {128, 1000}}, {"t", DT_S64, 2, {128, 512}}},
     1048576,
     false},
    {"concatenation",
     "y[i, j] = a[i, j]; y[i, j + 100] = b[i, j]",
     {{"a", DT_F32, 2, {512, 100}}, {"b", DT_F32, 2, {512, 156}}},
     1048576,
     false},
    {"split", "y[i, j:64] = a[i, j + 0]; z[i, j:64] = a[i, j + 64]", {{"a", DT_F32, 2, {1024, 128}}}, 1048576, false},
    {"causal mask", "y[h, i, j] = select(j > i, -1e9, x[h, i, j])", {{"x", DT_F32, 3, {12, 128, 128}}}, 1572864, false},
};

typedef struct Bench {
    Arena arena;
    Kernel *kernel;
    Compiled *compiled;
    void *data[KERNEL_MAX_TENSORS];
    double bytes;
} Bench;

static bool make(const struct Case *c, int64_t n, const Target *target, Bench *b, whet_error *err) {
    KernelArg args[MOST_ARGS];
    int64_t dims[MOST_ARGS][4];
    int count = 0;
    const char *why = NULL;
    for (; count < MOST_ARGS && c->args[count].name; count++) {
        for (int d = 0; d < 4; d++)
            dims[count][d] = c->args[count].dims[d] < 0 ? n : c->args[count].dims[d];
        args[count] = (KernelArg){c->args[count].name, c->args[count].type, c->args[count].rank, dims[count]};
    }
    arena_init(&b->arena, NULL);
    b->kernel = kernel_parse(&b->arena, c->text, strlen(c->text), err);
    return b->kernel && kernel_bind(b->kernel, args, count, NULL, 0, err) == WHET_OK &&
           schedule_compile(b->kernel, target, NULL, &b->compiled, &why, err) == WHET_OK;
}

/* Indices stay small; floats are no specials. */
static bool fill(Bench *b) {
    for (int t = 0; t < b->kernel->tensor_count; t++) {
        const KernelTensor *tensor = &b->kernel->tensors[t];
        size_t size = (size_t)dtype_bits(tensor->type) / 8, bytes = (size_t)tensor->count * size;
        char *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
        if (!p)
            return false;
        memset(p, 0, bytes);
        for (int64_t i = 0; tensor->role == ROLE_INPUT && i < tensor->count; i++) {
            float f = (float)(i * 7919 % 1009) * 0.004f - 2;
            int64_t s = i * 7919 % 500;
            if (tensor->count == 1)
                f = 0.02f;
            memcpy(p + (size_t)i * size, tensor->type == DT_F32 ? (void *)&f : (void *)&s, size);
        }
        b->data[t] = p;
    }
    return true;
}

static void drop(Bench *b) {
    for (int t = 0; t < KERNEL_MAX_TENSORS; t++)
        free(b->data[t]);
    compiled_free(b->compiled);
    arena_free(&b->arena);
}

/* Moves as many bytes: half are read, half are written. */
static double best_copy(double bytes, double seconds) {
    size_t half = (size_t)(bytes / 2) + 64;
    char *from = aligned_alloc(64, (half + 63) / 64 * 64), *to = aligned_alloc(64, (half + 63) / 64 * 64);
    double best = 1e9;
    int each = bytes < 1e5 ? 32 : 1;
    if (!from || !to)
        exit(1);
    memset(from, 1, half);
    memset(to, 1, half);
    for (double start = clock_now(); clock_now() - start < seconds;) {
        double before = clock_now();
        for (int i = 0; i < each; i++) {
            memcpy(to, from, half - 64);
            __asm__ volatile("" : : "r"(to), "r"(from) : "memory");
        }
        double took = (clock_now() - before) / each;
        best = took < best ? took : best;
    }
    free(from);
    free(to);
    return best;
}

/* Operations by kind of one call for so many rows. */
static void count_call(const VectorFunction *f, double rows, double calls, double *work) {
    enum { DEEPEST = 15 };
    double times[DEEPEST + 1] = {calls};
    int depth = 0;
    for (int i = 0; i < f->op_count; i++) {
        const VectorOp *op = &f->ops[i];
        int each, port = port_of(op, &each);
        double rounds = op->code != VECTOR_LOOP ? 0 : ceil((op->limit >= 0 ? rows : op->number) / (double)op->step);
        if (op->code == VECTOR_LOOP && depth < DEEPEST) {
            times[depth + 1] = times[depth] * rounds;
            depth++;
        } else if (op->code == VECTOR_END)
            depth--;
        work[port] += times[depth] * each;
        if ((op->code == VECTOR_LOAD || op->code == VECTOR_STORE) && op->from != op->type)
            work[SHUFFLE] += times[depth];
    }
}

/* Seconds that the operations take at the least; 0: another template than `map` took the kernel. */
static double arithmetic(const Bench *b, double peak) {
    const Compiled *c = b->compiled;
    const MapPlan *plan = c->state;
    double work[PORTS] = {0};
    bool memory = false;
    if (strcmp(c->template, "map") != 0)
        return 0;
    for (int p = 0; p < plan->pass_count; p++)
        for (int k = 0; k < plan->passes[p].box_count; k++) {
            const MapBox *box = &plan->passes[p].boxes[k];
            count_call(c->functions[box->function], (double)map_extent(box, box->row), (double)box->outer_total, work);
        }
    const int lanes = c->target.bytes / 4;
    return multiplications(work, &memory) * lanes * 2 / (peak * 1e9);
}

/* The lines that squares take of what they read, down the columns: 0 where there are none, or where the driver walks other axes.
 */
static double best_squares(const Bench *b, double seconds) {
    const MapPlan *plan = b->compiled->state;
    if (strcmp(b->compiled->template, "map") != 0 || !plan->passes[0].boxes[0].tiled || plan->passes[0].boxes[0].outer_total > 1)
        return 0;
    const MapPass *m = &plan->passes[0];
    const Access *a = &m->nest.access[1];
    int64_t size = map_bytes(a->type), pitch = map_column_stride(m, 1) * size,
            step = map_square(m, b->compiled->target.bytes) * size;
    int64_t columns = map_extent(&m->boxes[0], m->column), end = map_extent(&m->boxes[0], m->row) * size;
    int64_t block = 8 * step / size, rows = m->boxes[0].rows_each * size; /* as map_squares.c goes */
    const volatile char *x = b->data[a->tensor];
    double best = 1e9;
    for (double start = clock_now(); clock_now() - start < seconds;) {
        double before = clock_now();
        for (int64_t row = 0; row < end; row += rows)
            for (int64_t column = 0; column < columns; column += block)
                for (int64_t at = row; at < least(row + rows, end); at += step)
                    for (int64_t j = column; j < least(column + block, columns); j++)
                        (void)x[j * pitch + at];
        double took = clock_now() - before;
        best = took < best ? took : best;
    }
    return best;
}

static bool measure(const struct Case *c, const char *level, double size, const Target *target, double peak, double seconds,
                    whet_error *err) {
    Bench b = {0};
    int64_t n = c->levels ? (int64_t)(size / c->bytes) : 1;
    bool fine = make(c, n, target, &b, err) && fill(&b);
    if (fine) {
        for (int t = 0; t < b.kernel->tensor_count; t++)
            b.bytes += (double)b.kernel->tensors[t].count * dtype_bits(b.kernel->tensors[t].type) / 8;
        if (!c->levels)
            b.bytes = c->bytes > 2000 ? c->bytes : b.bytes;
        double took = bench_best_run(b.compiled, b.data, NULL, b.bytes < 1e5 ? 32 : 1, seconds),
               copy = best_copy(b.bytes, seconds / 2);
        double least = arithmetic(&b, peak), lines = best_squares(&b, seconds / 2), limit = fmax(fmax(least, copy), lines);
        printf("%-28s %-7s %9.0f %9.2f %8.1f %8.1f %8.1f %-10s %5.1f%%\n", c->name, level, b.bytes / 1024, took * 1e6,
               b.bytes / took * 1e-9, b.bytes / copy * 1e-9, least > 0 ? b.bytes / least * 1e-9 : 0,
               lines == limit   ? "lines"
               : least == limit ? "operations"
                                : "memcpy",
               100 * limit / took);
        fflush(stdout);
    }
    drop(&b);
    return fine;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        double bytes;
    } levels[] = {{"L1", 16e3}, {"L2", 400e3}, {"L3", 6e6}, {"memory", 200e6}};
    double seconds = .05;
    const char *only = "";
    for (int option; (option = getopt(argc, argv, "s:k:")) != -1;)
        if (option == 's')
            seconds = atof(optarg);
        else if (option == 'k')
            only = optarg;
        else
            return 2;
    Target target;
    whet_error err = {0};
    whet_cpu_limits limits;
    bool fine = target_host(~UINT64_C(0), &target) && whet_cpu_measure(&limits, &err) == WHET_OK;
    printf("%-28s %-7s %9s %9s %8s %8s %8s %-10s %6s\n", "", "level", "KiB", "us", "GB/s", "memcpy", "pipes", "limit", "share");
    for (size_t i = 0; fine && i < COUNT(cases); i++)
        for (size_t l = 0; fine && strstr(cases[i].name, only) && l < (cases[i].levels ? COUNT(levels) : 1); l++)
            fine = measure(&cases[i], cases[i].levels ? levels[l].name : "", levels[l].bytes, &target, limits.peak_f32, seconds,
                           &err);
    if (!fine)
        fprintf(stderr, "map_bench: %s\n", err.message[0] ? err.message : "no code generator for this machine");
    return !fine;
}
