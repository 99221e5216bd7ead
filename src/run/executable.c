/* A bound kernel that runs. A kernel that no schedule takes runs by the evaluator, whole, and says why. */
#include "run/run.h"

#include <string.h>

static whet_status refuse_name(const char *name, whet_error *err) {
    Text names;
    text_init(&names);
    target_print_names(&names);
    whet_status status = error_set(err, WHET_ERROR_ARGUMENT, "there is no target '%s'; wanted: evaluator, %s", name, names.data);
    text_free(&names);
    return status;
}

whet_status executable_target(const whet_options *options, bool must_run, Target *out, bool *found, whet_error *err) {
    *found = false;
    if (options->target && strcmp(options->target, "evaluator") == 0)
        return WHET_OK;
    if (!options->target) {
        *found = target_host(~UINT64_C(0), out);
        return WHET_OK;
    }
    if (!target_named(options->target, out))
        return refuse_name(options->target, err);
    *found = true;
    if (!must_run || out->runs_here)
        return WHET_OK;
    Target best;
    return error_set(err, WHET_ERROR_ARGUMENT, "target '%s' does not run here; the best that does is %s", options->target,
                     target_host(~UINT64_C(0), &best) ? best.name : "the evaluator");
}

whet_status executable_init(Executable *executable, const Kernel *kernel, const Target *target, const ScheduleOptions *options,
                            whet_error *err) {
    *executable = (Executable){.kernel = kernel, .why = "no target was asked for, or none runs here"};
    if (!target)
        return WHET_OK;
    whet_status status = schedule_compile(kernel, target, options, &executable->compiled, &executable->why, err);
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
