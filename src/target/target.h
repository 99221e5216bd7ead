/* A target turns vector code into something that runs. One folder each; this is all that the rest of Whet knows of them.
 *
 * A Target is a value: a set of features and what follows from it. Code can be made for a target that this machine is not (to
 * print or check it); `runs_here` says whether it may be called. */
#ifndef WHET_TARGET_H
#define WHET_TARGET_H

#include "vector/vector.h"

/* Features are a set, never an order. One row each: enum name, name in text, architecture. */
#define TARGET_FEATURES(X)                                                                                                       \
    X(AVX2, "avx2", "x86")                                                                                                       \
    X(FMA, "fma", "x86")                                                                                                         \
    X(F16C, "f16c", "x86")                                                                                                       \
    X(AVX512F, "avx512f", "x86")                                                                                                 \
    X(AVX512BW, "avx512bw", "x86")                                                                                               \
    X(AVX512DQ, "avx512dq", "x86")                                                                                               \
    X(AVX512VL, "avx512vl", "x86")                                                                                               \
    X(AVX512_VNNI, "avx512_vnni", "x86")                                                                                         \
    X(AVX512_BF16, "avx512_bf16", "x86")                                                                                         \
    X(FP256, "fp256", "x86") /* vectors of 64 bytes run as two halves: shorter ones are as fast */                               \
    X(AVX_VNNI, "avx_vnni", "x86")                                                                                               \
    X(AVX_VNNI_INT8, "avx_vnni_int8", "x86")                                                                                     \
    X(AMX_TILE, "amx_tile", "x86")                                                                                               \
    X(AMX_INT8, "amx_int8", "x86")                                                                                               \
    X(AMX_BF16, "amx_bf16", "x86")                                                                                               \
    X(NEON, "neon", "arm64")                                                                                                     \
    X(FP16, "fp16", "arm64")                                                                                                     \
    X(DOTPROD, "dotprod", "arm64")                                                                                               \
    X(I8MM, "i8mm", "arm64")                                                                                                     \
    X(BF16, "bf16", "arm64")                                                                                                     \
    X(SVE, "sve", "arm64")                                                                                                       \
    X(SVE2, "sve2", "arm64")                                                                                                     \
    X(SME, "sme", "arm64")                                                                                                       \
    X(AMX, "amx", "arm64")

enum {
#define X(name, text, architecture) FEATURE_INDEX_##name,
    TARGET_FEATURES(X)
#undef X
        FEATURE_COUNT
};
#define FEATURE(name) (UINT64_C(1) << FEATURE_INDEX_##name)

typedef struct Target Target;
typedef struct TargetCode TargetCode;

/* Code of several functions in one piece of memory. Thread-safe once made. */
typedef void (*TargetEntry)(const int64_t *arguments); /* parameter i of the vector function is arguments[i] */

/* A matrix unit that adds products to tiles: `bytes` of a row and of a column, in elements of 32 bits. Functions of tiles are
 * made in registers of that length, and do nothing but load, multiply and store. */
typedef struct TargetTiles {
    int count; /* tiles of accumulators; 0: there is no such unit */
    int bytes;
    bool floats, pairs, quads; /* products of f32, of bf16, of bytes in all signs */
    bool deep; /* of tiles (TILE_DOT), as many groups of depth as a tile has rows at once; else of vectors (OUTER), one group */
} TargetTiles;

struct Target {
    const char *name; /* "x86-avx512" */
    uint64_t features;
    int bytes;                  /* of a vector register */
    int registers[CLASS_COUNT]; /* vectors, masks and general registers that code may use */
    bool by_lane; /* FMA_LANE is there and costs what FMA does: a vector of factors is loaded once, its lanes used in turn; so
                     are DOT4_SS_LANE and DOT4_UU_LANE where dot4_ss and dot4_uu are */
    bool splats_apart;              /* SPLAT is never a part of what multiplies */
    bool dot4_us, dot4_ss, dot4_uu; /* products of bytes by fours are native; the first two else are made of those of 16 bits */
    bool dot2;                      /* products of bf16 by twos are native */
    bool mmla_bytes, mmla_bf16; /* MMLA of bytes, of bf16: two rows by two columns at once, at twice the rate of dot products */
    bool lookup;                /* LOOKUP is one instruction */
    bool masked;                /* loads under a mask cost what plain ones do */
    bool permutes;              /* PERMUTE and PICK cost less than gathering a few elements */
    bool wide;                  /* whole numbers in lanes of 64 bits */
    bool flushes; /* what is stored as bf16 may lose its subnormals, as bf16's own products do: asked for by whoever uses the
                     target, never a feature */
    TargetTiles tiles;
    /* The same machine with vectors of half the length, where they are as fast: code of both may be mixed. NULL: they are not. */
    bool (*halve)(const Target *target, Target *out);
    bool runs_here;
    struct CodeMemory *memory; /* memory.h: where code goes, which is then sealed by its owner; NULL: into pages of its own */
    size_t cache_bytes[3];     /* of one core; 0: unknown */
    /* Functions in, code out; everything temporary lives in the functions' arenas. A function that does not fit the register
     * file or uses what the target lacks is refused (WHET_ERROR_UNSUPPORTED). `seed`: see VectorRegisters. */
    whet_status (*compile)(const Target *target, const VectorFunction *const *functions, int count, uint64_t seed,
                           TargetCode **out, whet_error *err);
    TargetEntry (*entry)(const TargetCode *code, int function);
    void (*print)(const TargetCode *code, Text *out); /* assembly text, with loops and roles */
    size_t (*size)(const TargetCode *code);
    void (*free)(TargetCode *code);
};

/* A family of targets: a folder, its features and the names of its targets. */
typedef struct TargetFamily {
    const char *names;                            /* as messages list them, separated by commas */
    uint64_t (*features)(void);                   /* of this machine; 0: it is none of this family */
    bool (*host)(uint64_t features, Target *out); /* the best that has no more than these; false: there is none */
    bool (*named)(const char *name, Target *out); /* with runs_here; false: no such name */
} TargetFamily;
extern const TargetFamily x86_family, arm64_family, c_family;

uint64_t target_features_here(void);             /* of this machine; 0 where there is no target for it */
bool target_x86(uint64_t features, Target *out); /* false: below AVX2 + FMA, which the x86 target does not serve */
bool target_c(int bytes, Target *out);           /* vectors of 32 or 64 bytes as C text; nothing of it is ever called */
/* Tells the CPU that this thread waits in a loop. */
static inline void target_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}
/* The best target that runs here, features masked by `mask` (all ones: everything). False: none; run the evaluator. */
bool target_host(uint64_t mask, Target *out);
/* By name, for this machine or another: `runs_here` says which. False: there is none of that name. */
bool target_named(const char *name, Target *out);

/* codes.c: machine code shared by all that use the same function. Whoever owns the codes sees to it that one thread at a
 * time takes and gives; code may run meanwhile. */
typedef struct TargetCodes TargetCodes;
typedef struct MadeCode MadeCode;
TargetCodes *codes_new(const whet_allocator *allocator); /* NULL: out of memory */
void codes_free(TargetCodes *codes);                     /* with all code: after its users */
/* As Target.compile of one function; *out is to be given back. What was refused once is refused again without being tried. */
whet_status codes_take(TargetCodes *codes, const Target *target, const VectorFunction *function, uint64_t seed, MadeCode **out,
                       whet_error *err);
void codes_give(TargetCodes *codes, MadeCode *made); /* NULL is fine */
TargetCode *made_code(const MadeCode *made);
size_t codes_made(const TargetCodes *codes);  /* how often code was made so far, */
size_t codes_asked(const TargetCodes *codes); /* and looked for by its function */
/* Code of a kernel, found by what its functions would be made of. Sets are kept as long as there is room, and with them their
 * code. */
typedef struct CodeSet {
    unsigned char *key;
    size_t key_bytes;
    MadeCode **made;
    int count;
    uint64_t number; /* of a key alone */
} CodeSet;
Text *codes_set_key(TargetCodes *codes);           /* empty, to be filled for one of these: */
const CodeSet *codes_find_set(TargetCodes *codes); /* NULL: there is none */
void codes_keep_set(TargetCodes *codes, MadeCode *const *made, int count);
/* Equal for equal keys alone, in place of a long one that many begin with; not 0. It is another one where the key was let go. */
uint64_t codes_number(TargetCodes *codes);
void codes_hold(MadeCode *made);                             /* of a set: one user more, who is to give it back */
whet_status codes_seal(TargetCodes *codes, whet_error *err); /* code that was taken may be called from now on */

void target_print_names(Text *out);                       /* separated by commas */
void target_print_features(uint64_t features, Text *out); /* names, separated by spaces */

#endif
