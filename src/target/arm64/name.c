/* The names of arm64 targets: "arm64", and what it has besides, in any order: "arm64+i8mm+bf16", "arm64+sve256". */
#include "target/arm64/arm64.h"

#include <string.h>

/* A row: the word, what it brings with it, the bytes of a register, and those of one in streaming mode. */
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

/* The row of "+WORD" at the beginning of `name`, of `length` letters; -1: there is none. */
static int find_extension(const char *name, size_t length) {
    for (size_t i = 0; *name == '+' && i < COUNT(extensions); i++)
        if (strlen(extensions[i].word) == length && strncmp(extensions[i].word, name + 1, length) == 0)
            return (int)i;
    return -1;
}

static bool by_name(const char *name, Target *out) {
    enum { USUAL_BYTES = 32, USUAL_STREAMING = 64 };
    uint64_t wanted = FEATURE(NEON), here = arm64_features_here();
    int bytes = 0, bytes_here = arm64_vector_bytes_here(), streaming = 0, streaming_here = arm64_streaming_bytes_here();
    if (strncmp(name, "arm64", 5) != 0)
        return false;
    for (name += 5; *name;) {
        size_t length = strcspn(name + 1, "+");
        int i = find_extension(name, length);
        if (i < 0)
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
    if (!arm64_target(wanted, bytes, streaming, out))
        return false;
    out->runs_here = (here & wanted) == wanted && (!(wanted & FEATURE(SVE)) || bytes == bytes_here) &&
                     (!(wanted & FEATURE(SME)) || streaming == streaming_here);
    return true;
}

/* At 16 bytes a register SVE has nothing over NEON, which multiplies by lane. */
static bool best(uint64_t features, Target *out) {
    int bytes = arm64_vector_bytes_here();
    return arm64_target(bytes > 16 ? features : features & ~FEATURE(SVE), bytes, arm64_streaming_bytes_here(), out);
}

const TargetFamily arm64_family = {
    .names = "arm64 (+fp16 +dotprod +i8mm +bf16 +sve +sve2 +sve128 +sve256 +sve512 +sme +sme128 +sme256 +sme512 +amx)",
    .features = arm64_features_here,
    .host = best,
    .named = by_name};
