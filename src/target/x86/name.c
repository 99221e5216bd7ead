/* The names of x86 targets: "x86-avx2", "x86-avx512", and what they have besides, in any order: "x86-avx512+amx". */
#include "target/x86/x86.h"

#include <string.h>

#define NARROW (FEATURE(AVX2) | FEATURE(FMA) | FEATURE(F16C))
#define WIDE   (NARROW | FEATURE(AVX512F) | FEATURE(AVX512BW) | FEATURE(AVX512DQ) | FEATURE(AVX512VL))

/* A row: the word and the features it stands for. `all`: with nothing behind it, it takes what else this machine has. */
typedef struct Word {
    const char *word;
    uint64_t features;
    bool all;
} Word;
static const Word bases[] = {{"x86-avx2", NARROW, false}, {"x86-avx512", WIDE, true}};
static const Word extensions[] = {
    // clang-format off
    {"+avx_vnni", FEATURE(AVX_VNNI), false},
    {"+vnni", FEATURE(AVX512_VNNI), false},
    {"+bf16", FEATURE(AVX512_BF16), false},
    {"+amx", FEATURE(AVX512_VNNI) | FEATURE(AVX512_BF16) | FEATURE(AMX_TILE) | FEATURE(AMX_INT8) | FEATURE(AMX_BF16), false},
    // clang-format on
};

/* The row of the word that `name` begins with; NULL: there is none. */
static const Word *find(const Word *words, size_t count, const char *name) {
    size_t length = strcspn(name + 1, "+") + 1;
    for (size_t i = 0; i < count; i++)
        if (strlen(words[i].word) == length && strncmp(words[i].word, name, length) == 0)
            return &words[i];
    return NULL;
}

static bool by_name(const char *name, Target *out) {
    const Word *base = *name ? find(bases, COUNT(bases), name) : NULL, *more;
    if (!base)
        return false;
    uint64_t wanted = base->features, here = x86_features_here();
    bool all = base->all && !name[strlen(base->word)];
    for (name += strlen(base->word); *name; name += strlen(more->word)) {
        more = find(extensions, COUNT(extensions), name);
        if (!more)
            return false;
        wanted |= more->features;
    }
    bool runs = (here & wanted) == wanted;
    if (!target_x86(runs && all ? here : wanted, out))
        return false;
    out->runs_here = runs;
    return true;
}

const TargetFamily x86_family = {.names = "x86-avx2 (+avx_vnni), x86-avx512 (+vnni +bf16 +amx)",
                                 .features = x86_features_here,
                                 .host = target_x86,
                                 .named = by_name};
