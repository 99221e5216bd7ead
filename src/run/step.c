/* One node on its inputs: runs its kernel, makes its view, or calls its C; and the functions that C may call (ops.h). */
#include "kernel/rewrite.h"
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

/* What stands behind OpRun.self. */
typedef struct Call {
    OpRun run;
    Runner *runner;
    Lowering *lowering;
    Activation *activation; /* of the node's graph; NULL when folding */
    OpValue *const *inputs;
    OpValue **outputs;
    Block scratch[32];
    int scratch_count;
    bool alone;   /* in a task, among others */
    double flops; /* of the task */
} Call;

static Call *call_of(const OpRun *run) {
    return run->self;
}

/* ---- Kernels ------------------------------------------------------------------------------------------------------------ */

/* Memory for every output of the kernel: the node's, and those the node omits, which go at once. */
static whet_status place_outputs(Runner *runner, const Lowering *l, OpValue **outputs, OpValue **unwanted, void **data,
                                 whet_error *err) {
    const Kernel *kernel = l->lowered.kernel;
    for (int t = kernel->input_count; t < kernel->tensor_count; t++) {
        const KernelTensor *tensor = &kernel->tensors[t];
        if (tensor->role != ROLE_OUTPUT)
            continue;
        int o = 0;
        while (o < l->call.out_count && l->lowered.out_tensor[o] != t)
            o++;
        OpValue *value = value_new(&runner->pool, tensor->type, tensor->rank, tensor->dims, err);
        if (!value)
            return error_prefix(err, "output '%s'", tensor->name);
        *(o < l->call.out_count ? &outputs[o] : &unwanted[t]) = value;
        data[t] = value->tensor.data;
    }
    return WHET_OK;
}

static whet_status run_executable(Runner *runner, const Executable *executable, void *const *data, whet_error *err) {
    EvalOptions options = {
        .parallel = threads_parallel(runner->threads), .deadline = runner->deadline, .allocator = runner->pool.allocator};
    runner->flops += executable->kernel->flops;
    whet_status status = executable_ready(executable, options.parallel, &runner->spare, err);
    return status ? status : executable_run(executable, data, &options, err);
}

static whet_status run_kernel(Runner *runner, const Lowering *l, OpValue *const *inputs, OpValue **outputs, whet_error *err) {
    void *data[KERNEL_MAX_TENSORS] = {0};
    OpValue *unwanted[KERNEL_MAX_TENSORS] = {0};
    for (int i = 0; i < l->call.in_count; i++)
        if (inputs[i] && l->lowered.in_tensor[i] >= 0)
            data[l->lowered.in_tensor[i]] = inputs[i]->tensor.data;
    whet_status status = place_outputs(runner, l, outputs, unwanted, data, err);
    if (!status)
        status = run_executable(runner, &l->executable, data, err);
    for (int t = 0; t < l->lowered.kernel->tensor_count; t++)
        value_drop(unwanted[t]);
    return status;
}

/* ---- Views -------------------------------------------------------------------------------------------------------------- */

static whet_status make_view(const Lowering *l, OpValue *const *inputs, OpValue **outputs, whet_error *err) {
    const Type *out = &l->call.out[0];
    int64_t count, wanted;
    if (!inputs[0] || out->rank < 0 || !checked_count(out->dims, out->rank, &wanted))
        return error_set(err, WHET_ERROR_INTERNAL, "a view without input or shape");
    if (!checked_count(inputs[0]->tensor.dims, inputs[0]->tensor.rank, &count) || count != wanted)
        return error_set(err, WHET_ERROR_DATA, "%lld elements cannot take a shape of %lld", (long long)count, (long long)wanted);
    outputs[0] = value_view(inputs[0], out->rank, out->dims, err);
    return outputs[0] ? WHET_OK : WHET_ERROR_MEMORY;
}

/* ---- C ------------------------------------------------------------------------------------------------------------------ */

const Tensor *op_input(const OpRun *run, int index) {
    const Call *call = call_of(run);
    return index < run->call->in_count && call->inputs[index] ? &call->inputs[index]->tensor : NULL;
}

bool op_wanted(const OpRun *run, int index) {
    return index < run->call->out_count && run->call->node->outputs[index] != NULL;
}

static whet_status set_output(OpRun *run, int index, OpValue *value) {
    Call *call = call_of(run);
    if (!value)
        return WHET_ERROR_MEMORY;
    if (index < 0 || index >= run->call->out_count) {
        value_drop(value);
        return error_set(run->call->err, WHET_ERROR_INTERNAL, "output %d of %d", index, run->call->out_count);
    }
    value_drop(call->outputs[index]);
    call->outputs[index] = value;
    return WHET_OK;
}

void *op_output(OpRun *run, int index, DType type, int rank, const int64_t *dims) {
    OpValue *value = value_new(&call_of(run)->runner->pool, type, rank, dims, run->call->err);
    if (index >= run->call->out_count) { /* omitted at the end of the list: memory for the operator to write to all the same */
        if (!value)
            return NULL;
        size_t bytes = value->tensor.bytes;
        value_drop(value);
        return op_scratch(run, bytes);
    }
    return set_output(run, index, value) == WHET_OK ? value->tensor.data : NULL;
}

whet_status op_output_alias(OpRun *run, int index, int input, int rank, const int64_t *dims) {
    OpValue *of = input < run->call->in_count ? call_of(run)->inputs[input] : NULL;
    if (!of)
        return error_set(run->call->err, WHET_ERROR_INTERNAL, "a view of input %d, which is omitted", input);
    return set_output(run, index, value_view(of, rank, dims, run->call->err));
}

void *op_scratch(OpRun *run, size_t bytes) {
    Call *call = call_of(run);
    if (call->scratch_count == COUNT(call->scratch)) {
        error_set(run->call->err, WHET_ERROR_INTERNAL, "more than %d pieces of scratch memory", call->scratch_count);
        return NULL;
    }
    Block *block = &call->scratch[call->scratch_count];
    if (pool_take(&call->runner->pool, bytes, block, run->call->err))
        return NULL;
    call->scratch_count++;
    return block->data;
}

whet_status op_interrupted(OpRun *run) {
    return runner_interrupted(call_of(run)->runner, run->call->err);
}

/* The constant of the graph that stands for tensor `t`, by its name; NULL: there is none. */
static const Tensor *constant_for(const OpCall *call, const Signature *signature, const KernelTensor *t) {
    for (int i = 0; i < call->in_count && i < signature->in_count; i++) {
        const Operand *operand = &signature->in[i];
        const Tensor *tensor = call->node->inputs[i] ? call->node->inputs[i]->type.constant : NULL;
        if (tensor && strlen(t->name) == operand->name.length && !memcmp(t->name, operand->name.data, operand->name.length) &&
            (DType)tensor->type == t->type && tensor->rank == t->rank &&
            !memcmp(tensor->dims, t->dims, (size_t)t->rank * sizeof *t->dims))
            return tensor;
    }
    return NULL;
}

static whet_status make_kernel(Call *call, const Text *text, OpKernel *k) {
    Lowering *l = call->lowering;
    whet_error *err = l->call.err;
    const Tensor *constant[KERNEL_MAX_TENSORS] = {0};
    Signature signature;
    if (!signature_parse(l->call.row->signature, &signature))
        return error_set(err, WHET_ERROR_INTERNAL, "signature '%s'", l->call.row->signature);
    k->kernel = text->failed ? NULL : kernel_parse(&l->arena, text->data, text->length, err);
    if (!k->kernel)
        return text->failed ? error_memory(err) : error_prefix(err, "a kernel of the operator");
    whet_status status = kernel_bind(k->kernel, NULL, 0, NULL, 0, err);
    if (status)
        return error_prefix(err, "a kernel of the operator");
    if (l->call.node->rounds && !kernel_round_products(k->kernel))
        return error_memory(err);
    for (int t = 0; t < k->kernel->input_count; t++)
        constant[t] = constant_for(&l->call, &signature, &k->kernel->tensors[t]);
    Runner *runner = call->runner;
    return executable_share(&k->executable, runner->shared_model, k->kernel, runner->has_target ? &runner->target : NULL,
                            constant, err);
}

OpKernel *op_kernel_made(const OpRun *run, int which) {
    return call_of(run)->lowering->kernels[which];
}

OpKernel *op_kernel(OpRun *run, int which, const Text *text) {
    Call *call = call_of(run);
    OpKernel **kept = &call->lowering->kernels[which];
    if (*kept)
        return *kept;
    OpKernel *k = ARENA_NEW(&call->lowering->arena, OpKernel);
    if (!k) {
        error_memory(run->call->err);
        return NULL;
    }
    if (make_kernel(call, text, k)) {
        executable_free(&k->executable);
        return NULL;
    }
    return *kept = k;
}

whet_status op_kernel_run(OpRun *run, const OpKernel *kernel, void *const *data) {
    Call *call = call_of(run);
    Runner *runner = call->runner;
    void *all[KERNEL_MAX_TENSORS]; /* those of the kernel are set: a step of a recurrent layer has little more to do */
    int count = 0;
    for (int t = 0; t < kernel->kernel->tensor_count; t++)
        all[t] = kernel->kernel->tensors[t].role != ROLE_TEMPORARY ? data[count++] : NULL;
    if (!call->alone)
        return run_executable(runner, &kernel->executable, all, run->call->err);
    EvalOptions options = {.deadline = runner->deadline, .allocator = runner->pool.allocator};
    call->flops += kernel->kernel->flops;
    return executable_run(&kernel->executable, all, &options, run->call->err);
}

/* ---- Tasks of an operator ---- */

typedef struct Task {
    Call call;
    OpCall op;
    whet_error err;
    whet_status status;
} Task;

typedef struct Tasks {
    Task *task;
    whet_status (*run)(OpRun *run, void *context, int i);
    void *context;
} Tasks;

static void run_task(void *self, size_t i) {
    const Tasks *tasks = self;
    Task *task = &tasks->task[i];
    task->status = tasks->run(&task->call.run, tasks->context, (int)i);
}

int op_threads(const OpRun *run) {
    const Parallel *parallel = threads_parallel(call_of(run)->runner->threads);
    return parallel ? parallel->threads : 1;
}

whet_status op_kernel_ready(OpRun *run, const OpKernel *kernel) {
    Runner *runner = call_of(run)->runner;
    Spare any = {.seconds = 1, .run = runner->spare.run};
    return executable_ready(&kernel->executable, threads_parallel(runner->threads), &any, run->call->err);
}

whet_status op_tasks(OpRun *run, int count, whet_status (*task)(OpRun *run, void *context, int i), void *context) {
    const Call *call = call_of(run);
    const whet_allocator *allocator = call->runner->pool.allocator;
    const size_t bytes = (size_t)count * sizeof(Task);
    Tasks tasks = {.task = memory_alloc(allocator, bytes), .run = task, .context = context};
    if (!tasks.task)
        return error_memory(run->call->err);
    for (int i = 0; i < count; i++) {
        Task *t = &tasks.task[i];
        *t = (Task){.call = {.runner = call->runner, .lowering = call->lowering, .alone = true}, .op = *run->call};
        t->op.err = &t->err;
        t->call.run = (OpRun){.call = &t->op, .self = &t->call};
    }
    const Parallel *parallel = threads_parallel(call->runner->threads);
    if (parallel)
        parallel->run(parallel->self, (size_t)count, run_task, &tasks);
    for (int i = 0; !parallel && i < count; i++)
        run_task(&tasks, (size_t)i);
    whet_status status = WHET_OK;
    for (int i = 0; !status && i < count; i++) {
        status = tasks.task[i].status;
        call->runner->flops += tasks.task[i].call.flops;
        if (status)
            *run->call->err = tasks.task[i].err;
    }
    memory_free(allocator, tasks.task, bytes);
    return status;
}

OpValue *op_value_of_input(OpRun *run, int index) {
    return index < run->call->in_count ? value_keep(call_of(run)->inputs[index]) : NULL;
}

OpValue *op_value_new(OpRun *run, DType type, int rank, const int64_t *dims, void **data) {
    OpValue *value = value_new(&call_of(run)->runner->pool, type, rank, dims, run->call->err);
    if (value && data)
        *data = value->tensor.data;
    return value;
}

const Tensor *op_value_tensor(const OpValue *value) {
    return &value->tensor;
}

void op_value_release(OpRun *run, OpValue *value) {
    (void)run;
    value_drop(value);
}

whet_status op_subgraph(OpRun *run, const Graph *graph, OpValue *const *inputs, int input_count, OpValue **outputs) {
    Call *call = call_of(run);
    if (!call->activation)
        return error_set(run->call->err, WHET_ERROR_UNSUPPORTED, "a subgraph cannot be folded");
    if (input_count != graph->input_count)
        return error_set(run->call->err, WHET_ERROR_DATA, "subgraph '%s' takes %d inputs; it is given %d", graph->name,
                         graph->input_count, input_count);
    whet_error *err = run->call->err;
    whet_status status = runner_run(call->runner, graph, call->activation, inputs, outputs, err);
    run->call->err = err;
    return status ? error_prefix(err, "subgraph '%s'", graph->name) : WHET_OK;
}

whet_status op_output_value(OpRun *run, int index, OpValue *value) {
    return set_output(run, index, value);
}

static whet_status run_c(Runner *runner, Lowering *l, Activation *activation, OpValue *const *inputs, OpValue **outputs) {
    Call call = {.runner = runner, .lowering = l, .activation = activation, .inputs = inputs, .outputs = outputs};
    call.run = (OpRun){.call = &l->call, .self = &call};
    for (int i = 0; i < l->call.in_count; i++)
        if (inputs[i])
            l->in[i].constant = &inputs[i]->tensor;
    whet_status status = l->call.row->run(&call.run);
    for (int i = 0; i < call.scratch_count; i++)
        pool_give(&runner->pool, call.scratch[i]);
    for (int o = 0; !status && o < l->call.out_count; o++)
        if (!outputs[o] && op_wanted(&call.run, o))
            status = error_set(l->call.err, WHET_ERROR_INTERNAL, "output %d was not made", o);
    return status;
}

/* A lowering of a node in a loop's body may run while it runs (a subgraph that calls itself cannot exist), so its call is
 * one at a time; the error goes where this run wants it. */
whet_status step_run(Runner *runner, Lowering *l, Activation *activation, OpValue *const *inputs, OpValue **outputs,
                     whet_error *err) {
    memset(outputs, 0, (size_t)l->call.out_count * sizeof *outputs);
    l->call.err = err;
    bool any_alignment = l->kind == STEP_VIEW || (l->kind == STEP_KERNEL && l->executable.compiled);
    for (int i = 0; !any_alignment && i < l->call.in_count; i++)
        if (inputs[i] && runner_align(runner, inputs[i], err))
            return err ? err->status : WHET_ERROR_MEMORY;
    whet_status status = l->kind == STEP_KERNEL ? run_kernel(runner, l, inputs, outputs, err)
                         : l->kind == STEP_VIEW ? make_view(l, inputs, outputs, err)
                                                : run_c(runner, l, activation, inputs, outputs);
    for (int o = 0; status && o < l->call.out_count; o++) {
        value_drop(outputs[o]);
        outputs[o] = NULL;
    }
    return status;
}
