/* What all targets share: the names of features, and the choice among families. A family is a folder; its name.c says what its
 * targets are called. */
#include "target/target.h"

#include <string.h>

static const TargetFamily *const families[] = {&x86_family, &arm64_family, &c_family};

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
    uint64_t features = 0;
    for (size_t i = 0; i < COUNT(families); i++)
        features |= families[i]->features();
    return features;
}

bool target_host(uint64_t mask, Target *out) {
    for (size_t i = 0; i < COUNT(families); i++)
        if (families[i]->host(families[i]->features() & mask, out)) {
            out->runs_here = true;
            set_caches(out);
            return true;
        }
    return false;
}

bool target_named(const char *name, Target *out) {
    for (size_t i = 0; i < COUNT(families); i++)
        if (families[i]->named(name, out)) {
            if (out->runs_here)
                set_caches(out);
            return true;
        }
    return false;
}

void target_print_names(Text *out) {
    for (size_t i = 0; i < COUNT(families); i++)
        text_printf(out, "%s%s", i ? ", " : "", families[i]->names);
}
