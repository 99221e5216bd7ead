/* The names of x86 targets. */
#include "target/x86/x86.h"

#include <string.h>

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

static bool by_name(const char *name, Target *out) {
    for (size_t i = 0; i < COUNT(named); i++) {
        if (strcmp(named[i].name, name) != 0)
            continue;
        uint64_t wanted = 0, here = x86_features_here();
        for (int f = 0; f < 2; f++)
            wanted |= named[i].features[f] ? *named[i].features[f] : 0;
        bool runs = (here & wanted) == wanted;
        if (!target_x86(runs && named[i].all ? here : wanted, out))
            return false;
        out->runs_here = runs;
        return true;
    }
    return false;
}

const TargetFamily x86_family = {
    .names = "x86-avx2, x86-avx512", .features = x86_features_here, .host = target_x86, .named = by_name};
