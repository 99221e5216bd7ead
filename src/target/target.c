/* What all targets share: the names of features, and the choice for this machine. */
#include "target/target.h"

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

bool target_host(uint64_t mask, Target *out) {
    if (!target_x86(target_features_here() & mask, out))
        return false;
    out->runs_here = true;
    whet_cpu cpu;
    if (whet_cpu_query(&cpu, NULL) == WHET_OK)
        for (int i = 0; i < 3; i++)
            out->cache_bytes[i] = cpu.cache_bytes[i];
    return true;
}
