/* The command `whet` on an Arm machine that has Apple's AMX, as far as it can tell: built for arm64 alone (programs.cmake), where
 * the linker hands every question after the CPU's features to the function below. */
#include "amx.h"
#include "target/target.h"

uint64_t __real_arm64_features_here(void);
uint64_t __wrap_arm64_features_here(void);

uint64_t __wrap_arm64_features_here(void) {
    static bool emulated;
    emulated = emulated || amx_emulate();
    return __real_arm64_features_here() | (emulated ? FEATURE(AMX) : 0);
}
