/* What this Arm CPU can do, and what the operating system saves of it: hardware capabilities on Linux, sysctl on macOS. */
#include "target/arm64/arm64.h"

#if defined(__aarch64__)
/* Of a register in streaming mode, which SME tells outside of it too. */
static int streaming_bytes(void) {
    uint64_t bytes;
    __asm__ volatile(".inst 0x04bf5820\n\tmov %0, x0" : "=r"(bytes) : : "x0"); /* rdsvl x0, #1 */
    return (int)bytes;
}
#endif

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

/* One row a feature: the word of the auxiliary vector and its bit, as Linux has fixed them; headers may be older. */
static const struct {
    uint64_t feature;
    unsigned long type;
    int bit;
} capabilities[] = {
    {FEATURE(NEON), AT_HWCAP, 1},   {FEATURE(FP16), AT_HWCAP, 10}, {FEATURE(DOTPROD), AT_HWCAP, 20},
    {FEATURE(SVE), AT_HWCAP, 22},   {FEATURE(SVE2), AT_HWCAP2, 1}, {FEATURE(I8MM), AT_HWCAP2, 13},
    {FEATURE(BF16), AT_HWCAP2, 14}, {FEATURE(SME), AT_HWCAP2, 23},
};

uint64_t arm64_features_here(void) {
    uint64_t features = 0;
    for (size_t i = 0; i < COUNT(capabilities); i++)
        if (getauxval(capabilities[i].type) >> capabilities[i].bit & 1)
            features |= capabilities[i].feature;
    return features;
}

int arm64_vector_bytes_here(void) {
    if (!(arm64_features_here() & FEATURE(SVE)))
        return 0;
    uint64_t bytes;
    __asm__ volatile(".inst 0x04bf5020\n\tmov %0, x0" : "=r"(bytes) : : "x0"); /* rdvl x0, #1 */
    return (int)bytes;
}

int arm64_streaming_bytes_here(void) {
    return arm64_features_here() & FEATURE(SME) ? streaming_bytes() : 0;
}
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>

static const struct {
    uint64_t feature;
    const char *name;
} capabilities[] = {
    {FEATURE(NEON), "hw.optional.AdvSIMD"},
    {FEATURE(FP16), "hw.optional.arm.FEAT_FP16"},
    {FEATURE(FP16), "hw.optional.neon_fp16"}, /* macOS 11 */
    {FEATURE(DOTPROD), "hw.optional.arm.FEAT_DotProd"},
    {FEATURE(I8MM), "hw.optional.arm.FEAT_I8MM"},
    {FEATURE(BF16), "hw.optional.arm.FEAT_BF16"},
    {FEATURE(SME), "hw.optional.arm.FEAT_SME"},
};

/* Cores whose AMX is known: M1 (A14), M2 (A15), M3. Later ones have SME; of earlier and unknown ones nothing is assumed. The
 * numbers are those of mach/machine.h, which names them only in newer systems. */
static bool has_amx(void) {
    static const uint32_t families[] = {0x1b588bb3, 0xda33d83d, 0xfa33415e, 0x5f4dea93, 0x72015832};
    uint32_t family = 0;
    size_t size = sizeof family;
    if (sysctlbyname("hw.cpufamily", &family, &size, NULL, 0) != 0)
        return false;
    for (size_t i = 0; i < COUNT(families); i++)
        if (families[i] == family)
            return true;
    return false;
}

uint64_t arm64_features_here(void) {
    uint64_t features = FEATURE(NEON) | (has_amx() ? FEATURE(AMX) : 0); /* every one of Apple's has NEON */
    for (size_t i = 0; i < COUNT(capabilities); i++) {
        int there = 0;
        size_t size = sizeof there;
        if (sysctlbyname(capabilities[i].name, &there, &size, NULL, 0) == 0 && there)
            features |= capabilities[i].feature;
    }
    return features;
}

int arm64_vector_bytes_here(void) {
    return 0; /* no SVE outside of streaming mode */
}

int arm64_streaming_bytes_here(void) {
    return arm64_features_here() & FEATURE(SME) ? streaming_bytes() : 0;
}
#else
uint64_t arm64_features_here(void) {
    return 0;
}

int arm64_vector_bytes_here(void) {
    return 0;
}

int arm64_streaming_bytes_here(void) {
    return 0;
}
#endif

/* Registers of 16 bytes are NEON's business, where an element of a register can be a factor; SVE takes over above. Its code is
 * made for one length. */
static int length_index(int bytes) { /* of 16, 32 and 64: 1, 2, 3 */
    return bytes == 16 ? 1 : bytes == 32 ? 2 : bytes == 64 ? 3 : 0;
}

static TargetTiles tiles_of(uint64_t features, int streaming) {
    if (features & FEATURE(SME) && length_index(streaming))
        return (TargetTiles){.count = 4, .bytes = streaming, .floats = true, .pairs = true, .quads = true};
    if (features & FEATURE(AMX))
        return (TargetTiles){.count = 4, .bytes = 64, .floats = true};
    return (TargetTiles){.count = 0};
}

bool arm64_target(uint64_t features, int bytes, int streaming, Target *out) {
    if (!(features & FEATURE(NEON)))
        return false;
    int scalable = features & FEATURE(SVE) ? length_index(bytes) : 0;
    TargetTiles tiles = tiles_of(features, streaming);
    int unit = !tiles.count ? 0 : features & FEATURE(SME) && length_index(streaming) ? length_index(streaming) : 4;
#define WITH_UNITS(name)                                                                                                         \
    { name, name "+sme128", name "+sme256", name "+sme512", name "+amx" }
    static const char *const names[][5] = {WITH_UNITS("arm64"), WITH_UNITS("arm64+sve128"), WITH_UNITS("arm64+sve256"),
                                           WITH_UNITS("arm64+sve512")};
#undef WITH_UNITS
    *out = (Target){
        .name = names[scalable][unit],
        .features = features,
        .bytes = scalable ? bytes : 16,
        .by_lane = !scalable,
        .splats_apart = true,
        .dot4_us = (features & FEATURE(I8MM)) != 0,
        .dot4_ss = scalable || (features & FEATURE(DOTPROD)) != 0,
        .dot4_uu = scalable || (features & FEATURE(DOTPROD)) != 0,
        .dot2 = (features & FEATURE(BF16)) != 0,
        .mmla_bytes = (features & FEATURE(I8MM)) != 0,
        .mmla_bf16 = (features & FEATURE(BF16)) != 0,
        .wide = true,
        .masked = scalable,
        .tiles = tiles,
        .compile = arm64_compile,
        .entry = code_entry,
        .print = arm64_print,
        .size = code_size,
        .free = code_free,
    };
    out->registers[CLASS_VECTOR] = 32;
    out->registers[CLASS_MASK] = scalable ? 6 : 0; /* p1 to p6; NEON keeps masks in vector registers */
    out->registers[CLASS_INDEX] = 25;              /* all but x15 to x18, the frame pointer, the link register and the stack's */
    return true;
}
