/* Peaks are measured by loops of independent multiply-adds on registers alone, bandwidths by loops of loads. They are vector
 * code like any other, so every target has them. */
#define _POSIX_C_SOURCE 200809L
#include "target/peak.h"

#include <stdlib.h>
#include <string.h>

enum { CHAINS = 12, ROUNDS = 4000, STREAM_VECTORS = 16 };

struct Peak {
    Target target;
    TargetCode *code;
    double flops;
};

static const struct {
    VectorCode code;
    DType type, from;
} kinds[] = {
    [PEAK_F32] = {VECTOR_FMA, DT_F32, DT_F32},
    [PEAK_F64] = {VECTOR_FMA, DT_F64, DT_F64},
    [PEAK_BF16] = {VECTOR_DOT2, DT_F32, DT_BF16},
    [PEAK_INT8] = {VECTOR_DOT4_US, DT_S32, DT_U8},
};

/* Two rows by two columns at once, where that is faster. */
static bool by_pairs(const Target *target, PeakKind kind) {
    return (kind == PEAK_INT8 && target->mmla_bytes) || (kind == PEAK_BF16 && target->mmla_bf16);
}

static VectorCode code_of(const Target *target, PeakKind kind) {
    return by_pairs(target, kind) ? VECTOR_MMLA : kinds[kind].code;
}

static double flops_of(const Target *target, PeakKind kind) { /* of one lane */
    double flops = vector_info[code_of(target, kind)].flops;
    return by_pairs(target, kind) && kind == PEAK_BF16 ? flops / 2 : flops; /* four products, not eight */
}

static VectorFunction *peak_function(Arena *arena, const Target *target, PeakKind kind) {
    VectorFunction *f = vector_new(arena, "peak", target->bytes);
    if (!f)
        return NULL;
    DType type = kinds[kind].type;
    int sums[CHAINS], inside[CHAINS];
    int zero = vector_const(f, type, 0), a = zero, b = zero;
    if (kinds[kind].from != type) {
        a = vector_convert(f, VECTOR_BITS, kinds[kind].from, zero);
        b = vector_convert(f, VECTOR_BITS, kind == PEAK_INT8 ? DT_S8 : kinds[kind].from, zero);
    }
    for (int i = 0; i < CHAINS; i++)
        sums[i] = vector_const(f, type, 0);
    vector_loop(f, -1, ROUNDS, 1, sums, inside, CHAINS);
    for (int i = 0; i < CHAINS; i++)
        inside[i] = vector_ternary(f, code_of(target, kind), a, b, inside[i]);
    vector_end(f, inside, sums);
    return f;
}

static TargetCode *make(const Target *target, const VectorFunction *f, whet_error *err) {
    const VectorFunction *functions[] = {f};
    TargetCode *code = NULL;
    if (!vector_finish((VectorFunction *)f, err) || target->compile(target, functions, 1, 0, &code, err) != WHET_OK)
        return NULL;
    return code;
}

Peak *peak_new(const Target *target, PeakKind kind, whet_error *err) {
    Arena arena;
    arena_init(&arena, NULL);
    Peak *peak = calloc(1, sizeof *peak);
    VectorFunction *f = peak_function(&arena, target, kind);
    if (peak && f) {
        peak->target = *target;
        peak->code = make(target, f, err);
        peak->flops = CHAINS * (double)ROUNDS * flops_of(target, kind) * vector_lanes(f, kinds[kind].type);
    } else
        error_memory(err);
    arena_free(&arena);
    if (peak && peak->code)
        return peak;
    free(peak);
    return NULL;
}

double peak_run(const Peak *peak) {
    TargetEntry entry = peak->target.entry(peak->code, 0);
    int64_t none[1] = {0};
    double start = clock_now();
    entry(none);
    double seconds = clock_now() - start;
    return seconds > 0 ? peak->flops / seconds * 1e-9 : 0;
}

void peak_free(Peak *peak) {
    if (!peak)
        return;
    peak->target.free(peak->code);
    free(peak);
}

/* Reads [data, data + rounds * STREAM_VECTORS vectors). */
static VectorFunction *stream_function(Arena *arena, const Target *target) {
    VectorFunction *f = vector_new(arena, "stream", target->bytes);
    if (!f)
        return NULL;
    int data = vector_parameter(f, CLASS_POINTER, "data"), bytes = vector_parameter(f, CLASS_INDEX, "bytes");
    int sums[4], inside[4];
    for (int i = 0; i < 4; i++)
        sums[i] = vector_const(f, DT_S32, 0);
    int at = vector_loop(f, bytes, 0, (int64_t)STREAM_VECTORS * target->bytes, sums, inside, 4);
    for (int i = 0; i < STREAM_VECTORS; i++) {
        int value = vector_load(f, DT_S32, DT_S32, vector_plus(vector_at(data, (int64_t)i * target->bytes), at, 1), -1);
        inside[i % 4] = vector_binary(f, VECTOR_OR, inside[i % 4], value);
    }
    vector_end(f, inside, sums);
    return f;
}

double peak_read_bandwidth(const Target *target, size_t bytes, double seconds) {
    size_t unit = (size_t)STREAM_VECTORS * (size_t)target->bytes;
    bytes = bytes / unit * unit;
    void *memory = memory_alloc(NULL, bytes);
    Arena arena;
    arena_init(&arena, NULL);
    VectorFunction *f = stream_function(&arena, target);
    TargetCode *code = f ? make(target, f, NULL) : NULL;
    double best = 0;
    if (memory && code) {
        memset(memory, 1, bytes);
        int64_t arguments[] = {(int64_t)(intptr_t)memory, (int64_t)bytes};
        TargetEntry entry = target->entry(code, 0);
        int repeats = bytes < (1u << 20) ? (int)((1u << 20) / bytes) : 1;
        for (double start = clock_now(); clock_now() - start < seconds;) {
            double t = clock_now();
            for (int i = 0; i < repeats; i++)
                entry(arguments);
            t = clock_now() - t;
            if ((double)bytes * repeats / t > best)
                best = (double)bytes * repeats / t;
        }
    }
    if (code)
        target->free(code);
    arena_free(&arena);
    memory_free(NULL, memory, bytes);
    return best * 1e-9;
}
