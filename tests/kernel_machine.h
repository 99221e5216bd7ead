/* Machine code as an engine of tests: a kernel through the schedules, for this machine's best target, for AVX2 where it has more,
 * and through the interpreter of vector code. */
#ifndef KERNEL_MACHINE_H
#define KERNEL_MACHINE_H

#include "here.h"
#include "schedule/schedule.h"

enum { MACHINE_BEST, MACHINE_AVX2, MACHINE_INTERPRETED, MACHINE_COUNT };

static const char *const machine_name[] = {"machine code", "machine code for AVX2", "the interpreter"};

static bool machine_target(int which, Target *out) {
    if (which == MACHINE_INTERPRETED)
        return target_x86(~UINT64_C(0), out); /* runs_here stays false: the driver interprets */
    return which == MACHINE_BEST ? target_here(out) : target_host(~FEATURE(AVX512F), out) && out->bytes == 32;
}

/* WHET_ERROR_UNSUPPORTED: no schedule takes it, or there is no such target here. */
static whet_status machine_run(int which, const Kernel *kernel, void *const *data, uint64_t seed, whet_error *err) {
    Target target;
    Compiled *compiled;
    const char *why;
    if (!machine_target(which, &target))
        return error_set(err, WHET_ERROR_UNSUPPORTED, "no such target here");
    ScheduleOptions options = {.seed = seed, .unroll = (int)(seed % 4)};
    whet_status status = schedule_compile(kernel, &target, &options, &compiled, &why, err);
    if (!status) {
        status = compiled_run(compiled, data, NULL, err);
        compiled_free(compiled);
    }
    return status;
}

#endif
