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

bool target_host(uint64_t mask, Target *out) {
    if (!target_x86(target_features_here() & mask, out))
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

bool target_named(const char *name, Target *out) {
    if (strcmp(name, "c") == 0 || strcmp(name, "c64") == 0)
        return target_c(name[1] ? 64 : 32, out);
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
    text_put(out, "c, c64");
}
