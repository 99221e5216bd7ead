/* What all targets share: the names of features, and the choice for this machine. */
#include "target/target.h"

#include <string.h>

void target_print_features(uint64_t features, Text *out) {
    static const char *const names[] = {
#define X(name, text, architecture) text,
        TARGET_FEATURES(X)
#undef X
    };
    bool first = true;
    for (int i = 0; i < FEATURE_COUNT; i++)
        if (features >> i & 1) {
            text_printf(out, "%s%s", first ? "" : " ", names[i]);
            first = false;
        }
}

static void set_caches(Target *out) {
    whet_cpu cpu;
    if (whet_cpu_query(&cpu, NULL) == WHET_OK)
        for (int i = 0; i < 3; i++)
            out->cache_bytes[i] = cpu.cache_bytes[i];
}

uint64_t target_features_here(void) {
    return x86_features_here() | arm64_features_here();
}

/* At 16 bytes a register SVE has nothing over NEON, which multiplies by lane. */
static bool arm64_host(uint64_t features, Target *out) {
    int bytes = arm64_vector_bytes_here();
    return target_arm64(bytes > 16 ? features : features & ~FEATURE(SVE), bytes, arm64_streaming_bytes_here(), out);
}

bool target_host(uint64_t mask, Target *out) {
    uint64_t features = target_features_here() & mask;
    if (!target_x86(features, out) && !arm64_host(features, out))
        return false;
    out->runs_here = true;
    set_caches(out);
    return true;
}

/* One row a name: the features it stands for, and whether it takes what else the machine has. */
static const uint64_t narrow = FEATURE(AVX2) | FEATURE(FMA) | FEATURE(F16C);
static const uint64_t wide = FEATURE(AVX512F) | FEATURE(AVX512BW) | FEATURE(AVX512DQ) | FEATURE(AVX512VL);
static const struct {
    const char *name;
    const uint64_t *features[2];
    bool all;
} named[] = {
    {"x86-avx2", {&narrow, NULL}, false},
    {"x86-avx512", {&narrow, &wide}, true},
};

/* "arm64", and what it has besides, in any order: "arm64+i8mm+bf16", "arm64+sve256". A row: the word, what it brings with it,
 * the bytes of a register, and those of one in streaming mode. */
static const struct {
    const char *word;
    uint64_t features;
    int bytes, streaming; /* 0: says nothing of it */
} extensions[] = {
    // clang-format off
    {"fp16", FEATURE(FP16), 0, 0},
    {"dotprod", FEATURE(DOTPROD), 0, 0},
    {"i8mm", FEATURE(I8MM) | FEATURE(DOTPROD), 0, 0},
    {"bf16", FEATURE(BF16), 0, 0},
    {"sve", FEATURE(SVE) | FEATURE(FP16), 0, 0},
    {"sve2", FEATURE(SVE2) | FEATURE(SVE) | FEATURE(FP16) | FEATURE(DOTPROD), 0, 0},
    {"sve128", FEATURE(SVE) | FEATURE(FP16), 16, 0},
    {"sve256", FEATURE(SVE) | FEATURE(FP16), 32, 0},
    {"sve512", FEATURE(SVE) | FEATURE(FP16), 64, 0},
    {"sme", FEATURE(SME), 0, 0},
    {"sme128", FEATURE(SME), 0, 16},
    {"sme256", FEATURE(SME), 0, 32},
    {"sme512", FEATURE(SME), 0, 64},
    {"amx", FEATURE(AMX), 0, 0},
    // clang-format on
};

static bool arm64_named(const char *name, Target *out) {
    enum { USUAL_BYTES = 32, USUAL_STREAMING = 64 };
    uint64_t wanted = FEATURE(NEON), here = target_features_here();
    int bytes = 0, bytes_here = arm64_vector_bytes_here(), streaming = 0, streaming_here = arm64_streaming_bytes_here();
    if (strncmp(name, "arm64", 5) != 0)
        return false;
    for (name += 5; *name;) {
        size_t length = *name == '+' ? strcspn(name + 1, "+") : 0, i = 0;
        while (i < COUNT(extensions) &&
               (strlen(extensions[i].word) != length || strncmp(extensions[i].word, name + 1, length) != 0))
            i++;
        if (i == COUNT(extensions))
            return false;
        wanted |= extensions[i].features;
        bytes = extensions[i].bytes ? extensions[i].bytes : bytes;
        streaming = extensions[i].streaming ? extensions[i].streaming : streaming;
        name += 1 + length;
    }
    if (!bytes)
        bytes = bytes_here ? bytes_here : USUAL_BYTES;
    if (!streaming)
        streaming = streaming_here ? streaming_here : USUAL_STREAMING;
    if (!target_arm64(wanted, bytes, streaming, out))
        return false;
    out->runs_here = (here & wanted) == wanted && (!(wanted & FEATURE(SVE)) || bytes == bytes_here) &&
                     (!(wanted & FEATURE(SME)) || streaming == streaming_here);
    if (out->runs_here)
        set_caches(out);
    return true;
}

bool target_named(const char *name, Target *out) {
    if (strcmp(name, "c") == 0 || strcmp(name, "c64") == 0)
        return target_c(name[1] ? 64 : 32, out);
    if (arm64_named(name, out))
        return true;
    for (size_t i = 0; i < COUNT(named); i++) {
        if (strcmp(named[i].name, name) != 0)
            continue;
        uint64_t wanted = 0, here = target_features_here();
        for (int f = 0; f < 2; f++)
            wanted |= named[i].features[f] ? *named[i].features[f] : 0;
        bool runs = (here & wanted) == wanted;
        if (!target_x86(runs && named[i].all ? here : wanted, out))
            return false;
        out->runs_here = runs;
        set_caches(out);
        return true;
    }
    return false;
}

void target_print_names(Text *out) {
    for (size_t i = 0; i < COUNT(named); i++)
        text_printf(out, "%s, ", named[i].name);
    text_put(out,
             "arm64 (+fp16 +dotprod +i8mm +bf16 +sve +sve2 +sve128 +sve256 +sve512 +sme +sme128 +sme256 +sme512 +amx), c, c64");
}
