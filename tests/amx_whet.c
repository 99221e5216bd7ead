/* The command `whet` on a machine that has Apple's AMX or Intel's (and AVX-VNNI), as far as it can tell: the linker hands every
 * question after the CPU's features to the functions below (programs.cmake). */
#include "amx.h"
#include "target/target.h"
#include "x86_emulated.h"

#if defined(__aarch64__)
uint64_t __real_arm64_features_here(void);
uint64_t __wrap_arm64_features_here(void);

uint64_t __wrap_arm64_features_here(void) {
    static bool emulated;
    emulated = emulated || amx_emulate();
    return __real_arm64_features_here() | (emulated ? FEATURE(AMX) : 0);
}
#else
uint64_t __real_x86_features_here(void);
uint64_t __wrap_x86_features_here(void);

uint64_t __wrap_x86_features_here(void) {
    const uint64_t more = FEATURE(AMX_TILE) | FEATURE(AMX_INT8) | FEATURE(AMX_BF16) | FEATURE(AVX_VNNI);
    static bool emulated;
    emulated = emulated || x86_emulate();
    return __real_x86_features_here() | (emulated ? more : 0);
}
#endif
