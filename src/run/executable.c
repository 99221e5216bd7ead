/* A bound kernel that runs. A kernel that no schedule takes runs by the evaluator, whole, and says why. */
#include "run/run.h"

#include <string.h>

whet_status executable_target(const whet_options *options, Target *out, bool *found, whet_error *err) {
    *found = !options->evaluate && target_host(~UINT64_C(0), out);
    if (!options->target || options->evaluate)
        return WHET_OK;
    if (*found && strcmp(options->target, out->name) == 0)
        return WHET_OK;
    uint64_t narrow = FEATURE(AVX2) | FEATURE(FMA) | FEATURE(F16C);
    if (*found && strcmp(options->target, "x86-avx2") == 0 && target_host(narrow, out))
        return WHET_OK;
    return error_set(err, WHET_ERROR_UNSUPPORTED, "target '%s' does not run here; the best that does is %s", options->target,
                     *found ? out->name : "the evaluator");
}

whet_status executable_init(Executable *executable, const Kernel *kernel, const Target *target, const void *const *constant,
                            const whet_allocator *allocator, whet_error *err) {
    *executable = (Executable){.kernel = kernel, .why = "no target was asked for, or none runs here"};
    if (!target)
        return WHET_OK;
    ScheduleOptions options = {.allocator = allocator, .constant = constant};
    whet_status status = schedule_compile(kernel, target, &options, &executable->compiled, &executable->why, err);
    if (status != WHET_ERROR_UNSUPPORTED)
        return status;
    error_clear(err);
    return WHET_OK;
}

void executable_free(Executable *executable) {
    if (executable->compiled)
        compiled_free(executable->compiled);
    executable->compiled = NULL;
}

whet_status executable_run(const Executable *executable, void *const *data, const EvalOptions *options, whet_error *err) {
    return executable->compiled ? compiled_run(executable->compiled, data, options, err)
                                : kernel_eval(executable->kernel, data, options, err);
}
