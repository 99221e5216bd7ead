/* The one clock: deadlines are set in run/ and looked at in kernel/ and schedule/, and must mean the same. */
#include <time.h>

#include "base/base.h"

double clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
