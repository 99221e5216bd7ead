/* What this Arm CPU can do, and what the operating system saves of it: hardware capabilities on Linux, sysctl on macOS. */
#include "target/arm64/arm64.h"

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
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>

static const struct {
    uint64_t feature;
    const char *name;
} capabilities[] = {
    {FEATURE(NEON), "hw.optional.AdvSIMD"},
    {FEATURE(FP16), "hw.optional.arm.FEAT_FP16"},
    {FEATURE(DOTPROD), "hw.optional.arm.FEAT_DotProd"},
    {FEATURE(I8MM), "hw.optional.arm.FEAT_I8MM"},
    {FEATURE(BF16), "hw.optional.arm.FEAT_BF16"},
    {FEATURE(SME), "hw.optional.arm.FEAT_SME"},
};

uint64_t arm64_features_here(void) {
    uint64_t features = FEATURE(NEON); /* every one of Apple's has it */
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
#else
uint64_t arm64_features_here(void) {
    return 0;
}

int arm64_vector_bytes_here(void) {
    return 0;
}
#endif

/* Registers of 16 bytes are NEON's business, where an element of a register can be a factor; SVE takes over above. Its code is
 * made for one length. */
bool target_arm64(uint64_t features, int bytes, Target *out) {
    if (!(features & FEATURE(NEON)))
        return false;
    bool scalable = features & FEATURE(SVE) && (bytes == 16 || bytes == 32 || bytes == 64);
    static const char *const names[] = {"arm64", "arm64+sve128", "arm64+sve256", "arm64+sve512"};
    *out = (Target){
        .name = names[!scalable     ? 0
                      : bytes == 16 ? 1
                      : bytes == 32 ? 2
                                    : 3],
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
        .compile = arm64_compile,
        .entry = arm64_entry,
        .print = arm64_print,
        .size = arm64_size,
        .free = arm64_free,
    };
    out->registers[CLASS_VECTOR] = 32;
    out->registers[CLASS_MASK] = scalable ? 6 : 0; /* p1 to p6; NEON keeps masks in vector registers */
    out->registers[CLASS_INDEX] = 25;              /* all but x15 to x18, the frame pointer, the link register and the stack's */
    return true;
}
