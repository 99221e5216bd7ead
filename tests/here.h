/* The target that tests of generated code run on besides those they name: the best of this machine, or the one that
 * WHET_TEST_TARGET names (tools/test-arm64.sh does). */
#ifndef WHET_TESTS_HERE_H
#define WHET_TESTS_HERE_H

#include <stdlib.h>

#include "target/target.h"

/* False: none runs here. */
static inline bool target_here(Target *out) {
    const char *name = getenv("WHET_TEST_TARGET");
    return name ? target_named(name, out) && out->runs_here : target_host(~UINT64_C(0), out);
}

/* Only what runs generated code is wanted: emulators are slow. */
static inline bool here_alone(void) {
    return getenv("WHET_TEST_HERE_ALONE") != NULL;
}

#endif
