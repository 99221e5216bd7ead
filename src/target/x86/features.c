/* What this x86 CPU can do, and what the operating system saves of it: CPUID and XGETBV. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* syscall */
#endif
#include "target/x86/x86.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

static uint64_t enabled_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Tiles are a large part of a thread's state, so Linux wants to be asked for them, once a process; asking again changes nothing.
 * It refuses where a thread's alternate signal stack is too small for them. No other system that Whet knows has them. */
static bool tiles_allowed(void) {
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0;
#else
    return false;
#endif
}

uint64_t x86_features_here(void) {
    enum { AVX_STATE = 0x6, AVX512_STATE = 0xe6, AMX_STATE = 0x60000 };
    unsigned a, b, c, d, c1;
    uint64_t features = 0;
    if (!__get_cpuid(1, &a, &b, &c1, &d) || !(c1 & bit_OSXSAVE) || !(c1 & bit_AVX))
        return 0;
    uint64_t state = enabled_state();
    if ((state & AVX_STATE) != AVX_STATE || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return 0;
    bool wide = (state & AVX512_STATE) == AVX512_STATE;
    bool tiles = (state & AMX_STATE) == AMX_STATE && d >> 24 & 1 && tiles_allowed();
    features |= b >> 5 & 1 ? FEATURE(AVX2) : 0;
    features |= c1 >> 12 & 1 ? FEATURE(FMA) : 0;
    features |= c1 >> 29 & 1 ? FEATURE(F16C) : 0;
    features |= wide && b >> 16 & 1 ? FEATURE(AVX512F) : 0;
    features |= wide && b >> 17 & 1 ? FEATURE(AVX512DQ) : 0;
    features |= wide && b >> 30 & 1 ? FEATURE(AVX512BW) : 0;
    features |= wide && b >> 31 & 1 ? FEATURE(AVX512VL) : 0;
    features |= wide && c >> 11 & 1 ? FEATURE(AVX512_VNNI) : 0;
    features |= tiles ? FEATURE(AMX_TILE) : 0;
    features |= tiles && d >> 25 & 1 ? FEATURE(AMX_INT8) : 0;
    features |= tiles && d >> 22 & 1 ? FEATURE(AMX_BF16) : 0;
    unsigned widths = 0, b2, c2, d2;
    if (wide && __get_cpuid(0x8000001a, &widths, &b2, &c2, &d2)) /* AMD's alone: bit 2 for 256 bits, bit 3 for 512 */
        features |= (widths & 0xc) == 0x4 ? FEATURE(FP256) : 0;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        features |= a >> 4 & 1 ? FEATURE(AVX_VNNI) : 0;
        features |= wide && a >> 5 & 1 ? FEATURE(AVX512_BF16) : 0;
        features |= d >> 4 & 1 ? FEATURE(AVX_VNNI_INT8) : 0;
    }
    return features;
}
#else
uint64_t x86_features_here(void) {
    return 0;
}
#endif

static const uint64_t avx512_alone = FEATURE(AVX512F) | FEATURE(AVX512BW) | FEATURE(AVX512DQ) | FEATURE(AVX512VL) |
                                     FEATURE(AVX512_VNNI) | FEATURE(AVX512_BF16) | FEATURE(FP256) | FEATURE(AMX_TILE);

bool x86_halve(const Target *target, Target *out) {
    if (target->bytes < 64 || !target_x86(target->features & ~avx512_alone, out))
        return false;
    out->runs_here = target->runs_here;
    memcpy(out->cache_bytes, target->cache_bytes, sizeof out->cache_bytes);
    return true;
}

bool target_x86(uint64_t features, Target *out) {
    const uint64_t base = FEATURE(AVX2) | FEATURE(FMA) | FEATURE(F16C), /* no CPU has the first without the last */
        wide = base | FEATURE(AVX512F) | FEATURE(AVX512BW) | FEATURE(AVX512DQ) | FEATURE(AVX512VL);
    if ((features & base) != base)
        return false;
    bool avx512 = (features & wide) == wide;
    *out = (Target){
        .name = avx512 ? "x86-avx512" : "x86-avx2",
        .features = features,
        .bytes = avx512 ? 64 : 32,
        .compile = x86_compile,
        .entry = code_entry,
        .print = x86_print,
        .size = code_size,
        .free = code_free,
    };
    out->dot4_us = features & (avx512 ? FEATURE(AVX512_VNNI) : FEATURE(AVX_VNNI));
    out->halve = features & FEATURE(FP256) ? x86_halve : NULL;
    out->lookup = avx512;
    out->permutes = out->wide = out->masked = true;
    out->dot2 = avx512 && features & FEATURE(AVX512_BF16);
    out->registers[CLASS_VECTOR] = avx512 ? 32 : 16;
    out->registers[CLASS_MASK] = avx512 ? 6 : 0; /* k0 means "no mask", k7 is gathers'; AVX2 keeps masks in vector registers */
    if (avx512 && features & FEATURE(AMX_TILE))
        out->tiles = (TargetTiles){.count = X86_SUM_TILES,
                                   .bytes = 64,
                                   .pairs = features & FEATURE(AMX_BF16),
                                   .quads = features & FEATURE(AMX_INT8),
                                   .deep = true};
    out->registers[CLASS_TILE] = out->tiles.count;
    out->registers[CLASS_INDEX] = 14; /* all but the stack pointer and RAX, the encoder's own */
    return true;
}
