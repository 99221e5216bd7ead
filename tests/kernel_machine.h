/* Machine code as an engine of tests: a kernel through the schedules, for this machine's best target, for AVX2 where it has more
 * (off x86 the best one again, which the corpus asks for other registers and constants), and through the interpreter of vector
 * code. */
#ifndef KERNEL_MACHINE_H
#define KERNEL_MACHINE_H

#include "here.h"
#include "schedule/schedule.h"

enum { MACHINE_BEST, MACHINE_AVX2, MACHINE_INTERPRETED, MACHINE_COUNT };

static const char *const machine_name[] = {"machine code", "machine code for AVX2", "the interpreter"};

static bool machine_target(int which, Target *out) {
    switch (which) {
    case MACHINE_BEST: return target_here(out);
    case MACHINE_AVX2:
        if (target_here(out) && strncmp(out->name, "x86", 3) != 0)
            return true;
        return target_host(~FEATURE(AVX512F), out) && strcmp(out->name, "x86-avx2") == 0;
    default: return !here_alone() && target_x86(~UINT64_C(0), out); /* runs_here stays false: the driver interprets */
    }
}

/* Packs what is to be packed: the code reads nothing else of that tensor then. */
static whet_status machine_run_packed(Compiled *compiled, void *const *data, whet_error *err) {
    const Packing *packing = compiled_packing(compiled);
    void *own[KERNEL_MAX_TENSORS], *packed = packing ? aligned_alloc(64, (packing->bytes + 63) / 64 * 64) : NULL;
    memcpy(own, data, sizeof own);
    for (size_t piece = 0; packing && piece < packing->pieces; piece++)
        compiled_pack(compiled, data[packing->tensor], piece, packed);
    if (packing)
        own[packing->tensor] = packed;
    whet_status status = compiled_run(compiled, own, NULL, err);
    free(packed);
    return status;
}

/* Some inputs are constants, by `seed`. WHET_ERROR_UNSUPPORTED: no schedule takes it, or there is no such target here. */
static whet_status machine_run(int which, const Kernel *kernel, void *const *data, uint64_t seed, whet_error *err) {
    Target target;
    Compiled *compiled;
    const char *why;
    const void *constant[KERNEL_MAX_TENSORS] = {NULL};
    if (!machine_target(which, &target))
        return error_set(err, WHET_ERROR_UNSUPPORTED, "no such target here");
    for (int t = 0; t < kernel->input_count; t++)
        constant[t] = seed >> (8 + t % 32) & 1 ? data[t] : NULL;
    ScheduleOptions options = {.seed = seed, .unroll = (int)(seed % 4), .constant = constant, .pack_later = seed & 4};
    whet_status status = schedule_compile(kernel, &target, &options, &compiled, &why, err);
    if (!status) {
        status = machine_run_packed(compiled, data, err);
        compiled_free(compiled);
    }
    return status;
}

#endif
