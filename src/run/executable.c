/* A bound kernel that runs. A kernel that no schedule takes runs by the evaluator, whole, and says why. */
#include "run/run.h"

#include <string.h>

#include "target/memory.h"

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
    if (!must_run)
        return WHET_OK;
    if (out->runs_here)
        return code_memory_allowed(err);
    Target best;
    return error_set(err, WHET_ERROR_ARGUMENT, "target '%s' does not run here; the best that does is %s", options->target,
                     target_host(~UINT64_C(0), &best) ? best.name : "the evaluator");
}

whet_status executable_init(Executable *executable, const Kernel *kernel, const Target *target, const ScheduleOptions *options,
                            whet_error *err) {
    *executable = (Executable){.kernel = kernel, .why = "no target was asked for, or none runs here"};
    if (!target)
        return WHET_OK;
    whet_status status = schedule_compile(kernel, target, options, &executable->own, &executable->why, err);
    executable->compiled = executable->own;
    if (status != WHET_ERROR_UNSUPPORTED)
        return status;
    error_clear(err);
    return WHET_OK;
}

whet_status executable_share_code(Executable *executable, Shared *shared, const Kernel *kernel, Code *code,
                                  const Tensor *const *constant, whet_error *err) {
    *executable = (Executable){.kernel = kernel, .shared = shared, .code = code};
    executable->compiled = code_compiled(code, &executable->why);
    const Packing *packing = executable->compiled ? compiled_packing(executable->compiled) : NULL;
    if (!packing)
        return WHET_OK;
    executable->constant = constant[packing->tensor];
    return shared_weight(shared, packing, executable->constant, &executable->weight, err);
}

whet_status executable_share(Executable *executable, Shared *shared, const Kernel *kernel, const Target *target,
                             const Tensor *const *constant, whet_error *err) {
    *executable = (Executable){.kernel = kernel, .why = "no target was asked for, or none runs here", .shared = shared};
    if (!target)
        return WHET_OK;
    const void *data[KERNEL_MAX_TENSORS] = {0};
    for (int t = 0; t < kernel->input_count; t++)
        data[t] = constant[t] ? constant[t]->data : NULL;
    ScheduleOptions options = shared_options(shared, target, data);
    Code *code;
    whet_status status = shared_code(shared, kernel, false, target, &options, &code, err);
    return status ? status : executable_share_code(executable, shared, kernel, code, constant, err);
}

void executable_free(Executable *executable) {
    if (executable->shared) {
        shared_drop_weight(executable->shared, executable->weight);
        shared_drop_code(executable->shared, executable->code);
    } else if (executable->own) {
        compiled_free(executable->own);
    }
    *executable = (Executable){.kernel = executable->kernel};
}

whet_status executable_ready(const Executable *executable, const Parallel *parallel, Spare *spare, whet_error *err) {
    enum { WORTH_WAITING = 1 << 12 }; /* less is packed in no time */
    Weight *weight = executable->weight;
    whet_status status = executable->shared ? shared_seal(executable->shared, err) : WHET_OK;
    if (status || !weight || weight_data(weight))
        return status;
    bool waits = compiled_takes_unpacked(executable->compiled) && compiled_packing(executable->compiled)->bytes >= WORTH_WAITING;
    if (waits && spare->seconds <= 0 && !weight_again(weight, spare->run))
        return WHET_OK;
    const double start = clock_now();
    status = shared_pack(executable->shared, weight, executable->compiled, executable->constant, parallel, err);
    spare->seconds -= clock_now() - start;
    return status;
}

static whet_status run_unpacked(const Executable *executable, void **data, const EvalOptions *options, whet_error *err) {
    const Tensor *constant = executable->constant;
    EvalOptions unpacked = *options;
    unpacked.unpacked = true;
    void *own;
    const void *content = shared_content(executable->shared, constant, options->parallel, &own);
    if (!content)
        return error_memory(err);
    data[compiled_packing(executable->compiled)->tensor] = (void *)(uintptr_t)content; /* kernels do not write to inputs */
    whet_status status = compiled_run(executable->compiled, data, &unpacked, err);
    shared_drop_content(executable->shared, constant, own);
    return status;
}

whet_status executable_run(const Executable *executable, void *const *data, const EvalOptions *options, whet_error *err) {
    if (!executable->compiled)
        return kernel_eval(executable->kernel, data, options, err);
    if (!executable->weight)
        return compiled_run(executable->compiled, data, options, err);
    void *with_weight[KERNEL_MAX_TENSORS], *packed = weight_data(executable->weight);
    memcpy(with_weight, data, (size_t)executable->kernel->tensor_count * sizeof *data);
    if (!packed)
        return run_unpacked(executable, with_weight, options, err);
    with_weight[compiled_packing(executable->compiled)->tensor] = packed;
    return compiled_run(executable->compiled, with_weight, options, err);
}
