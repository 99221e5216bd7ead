/* Measured limits of the machine. */
#include "run/run.h"

whet_status whet_cpu_measure(whet_cpu_limits *out, whet_error *err) {
    *out = (whet_cpu_limits){0};
    return error_set(err, WHET_ERROR_UNSUPPORTED, "this build cannot measure the machine's limits: it has no code generator");
}
