/* What one core of this machine can do, measured by code made for it: whet_cpu_measure. */
#include "target/memory.h"
#include "target/peak.h"

/* The best of many runs of about 0.1 ms: on a busy machine some of them have the core for themselves. */
static double best_peak(const Target *target, PeakKind kind, double seconds) {
    Peak *peak = peak_new(target, kind, NULL);
    double best = 0;
    if (!peak)
        return 0; /* no such instructions */
    for (double start = clock_now(); clock_now() - start < seconds;) {
        double gflops = peak_run(peak);
        best = gflops > best ? gflops : best;
    }
    peak_free(peak);
    return best;
}

/* Two instruction sets may serve one type at different speeds (AVX2 and AVX-512 do on some CPUs); the limit is the faster. */
static double best_of_forms(const Target *wide, const Target *narrow, PeakKind kind) {
    double a = best_peak(wide, kind, 0.06), b = narrow ? best_peak(narrow, kind, 0.06) : 0;
    return a > b ? a : b;
}

static size_t level_bytes(const whet_cpu *cpu, int level) {
    if (level < WHET_CACHE_LEVELS) /* half of a level: above the one below, and room for what else lives there */
        return cpu->cache_bytes[level] / 2;
    size_t largest = cpu->cache_bytes[2] ? cpu->cache_bytes[2] : cpu->cache_bytes[1];
    return largest > (32u << 20) ? 2 * largest : 64u << 20;
}

whet_status whet_cpu_measure(whet_cpu_limits *out, whet_error *err) {
    Target wide, narrow;
    whet_cpu cpu;
    *out = (whet_cpu_limits){0};
    if (!target_host(~UINT64_C(0), &wide))
        return error_set(err, WHET_ERROR_UNSUPPORTED, "there is no code generator for this CPU to measure it with");
    whet_status status = code_memory_allowed(err);
    status = status ? status : whet_cpu_query(&cpu, err);
    if (status != WHET_OK)
        return status;
    bool two = target_host(~FEATURE(AVX512F), &narrow) && narrow.bytes != wide.bytes;
    out->peak_f32 = best_of_forms(&wide, two ? &narrow : NULL, PEAK_F32);
    out->peak_f64 = best_of_forms(&wide, two ? &narrow : NULL, PEAK_F64);
    out->peak_bf16 = best_peak(&wide, PEAK_BF16, 0.06);
    out->peak_int8 = best_peak(&wide, PEAK_INT8, 0.06);
    for (int level = 0; level <= WHET_CACHE_LEVELS; level++)
        if (level == WHET_CACHE_LEVELS || cpu.cache_bytes[level])
            out->read_gbs[level] = peak_read_bandwidth(&wide, level_bytes(&cpu, level), 0.08);
    return WHET_OK;
}
