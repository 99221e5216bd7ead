/* Runs programs: a graph's steps in order, each on the values its node names, dropping values as soon as nobody reads them. */
#include "onnx/reader.h"
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

whet_status runner_interrupted(const Runner *runner, whet_error *err) {
    if (runner->deadline == 0 || clock_now() < runner->deadline)
        return WHET_OK;
    return error_late(err);
}

whet_status runner_init(Runner *runner, const Program *program, Shared *shared, const whet_options *options, whet_error *err) {
    *runner = (Runner){.program = program, .shared_model = shared};
    pool_init(&runner->pool, options->allocator, options->memory_limit);
    arena_init(&runner->arena, options->allocator);
    runner->symbols = symbols_new(&runner->arena);
    size_t caches = program ? program->cache_count : 0;
    runner->caches = ARENA_ARRAY(&runner->arena, StepCache, caches);
    runner->plans = program && !options->no_fuse ? ARENA_ARRAY(&runner->arena, PlanCache, caches) : NULL;
    runner->shared = program ? ARENA_ARRAY(&runner->arena, Lowering *, SHARE_BUCKETS) : NULL;
    if (!runner->symbols || !runner->caches || runner->arena.failed)
        return error_memory(err);
    whet_status status = executable_target(options, true, &runner->target, &runner->has_target, err);
    if (status)
        return status;
    runner->target.flushes = shared && shared_flushes(shared);
    if (options->profile && !(runner->profile = profile_new(options->allocator)))
        return error_memory(err);
    runner->threads = threads_new(options->threads, err);
    return runner->threads ? WHET_OK : WHET_ERROR_MEMORY;
}

void runner_free(Runner *runner) {
    for (size_t c = 0; runner->caches && runner->program && c < runner->program->cache_count; c++)
        for (int i = 0; i < LOWERINGS_KEPT; i++)
            lowering_free(runner, runner->caches[c].kept[i]);
    for (size_t c = 0; runner->plans && c < runner->program->cache_count; c++) {
        for (int i = 0; i < PLANS_KEPT; i++)
            planned_free(runner, runner->plans[c].kept[i]);
        form_free(runner->plans[c].forms);
    }
    threads_free(runner->threads);
    profile_free(runner->profile);
    arena_free(&runner->arena);
    pool_free(&runner->pool);
    free(runner->key);
    memset(runner, 0, sizeof *runner);
}

/* Constants come to life at their first reading. */
OpValue *runner_value(Runner *runner, Activation *activation, const Value *value, whet_error *err) {
    while (activation && activation->graph != value->graph)
        activation = activation->outer;
    if (!activation) {
        error_set(err, WHET_ERROR_INTERNAL, "value '%s' is out of sight", value->name);
        return NULL;
    }
    OpValue **slot = &activation->slots[value->id];
    if (!*slot && value->type.constant)
        *slot = value_borrow(&runner->pool, value->type.constant, err);
    else if (!*slot)
        error_set(err, WHET_ERROR_INTERNAL, "value '%s' is read before it is there", value->name);
    return *slot;
}

whet_status runner_align(Runner *runner, OpValue *value, whet_error *err) {
    if (!runner->shared_model || onnx_is_aligned(&value->tensor))
        return WHET_OK;
    const void *data = shared_aligned(runner->shared_model, &value->tensor, err);
    if (!data)
        return WHET_ERROR_MEMORY;
    value->tensor.data = (void *)(uintptr_t)data; /* nobody writes to constants */
    return WHET_OK;
}

enum { FEW = 16 }; /* operands that need no heap */

/* Room for one step's operands. */
typedef struct Operands {
    OpValue **in, **out;
    const Tensor **tensors;
    void *heap;
    void *few[3 * FEW];
} Operands;

static bool operands_init(Operands *o, const Node *node) {
    size_t ins = (size_t)node->input_count, outs = (size_t)node->output_count;
    bool fits = ins <= FEW && outs <= FEW;
    o->heap = fits ? NULL : calloc(2 * ins + outs, sizeof(void *));
    if (!fits && !o->heap)
        return false;
    void **room = fits ? o->few : o->heap;
    size_t in_room = fits ? FEW : ins;
    o->in = (OpValue **)room;
    o->tensors = (const Tensor **)(room + in_room);
    o->out = (OpValue **)(room + 2 * in_room);
    return true;
}

static void note(Runner *runner, const Node *node, const Lowering *lowering, double start) {
    char label[256];
    node_label(node, label, sizeof label);
    if (lowering->kind == STEP_KERNEL)
        profile_note_kernel(runner->profile, label, &lowering->executable, start);
    else
        profile_note(runner->profile, lowering->kind == STEP_VIEW ? "view" : "operator", label, start);
}

static whet_status run_step(Runner *runner, const Step *step, Activation *activation, Operands *o, whet_error *err) {
    const Node *node = step->node;
    for (int i = 0; i < node->input_count; i++) {
        o->in[i] = NULL;
        o->tensors[i] = NULL;
        if (!node->inputs[i])
            continue;
        o->in[i] = runner_value(runner, activation, node->inputs[i], err);
        if (!o->in[i])
            return err ? err->status : WHET_ERROR_INTERNAL;
        o->tensors[i] = &o->in[i]->tensor;
    }
    Lowering *lowering = lowering_get(runner, &runner->caches[step->cache], node, o->tensors, err);
    if (!lowering)
        return err ? err->status : WHET_ERROR_INTERNAL;
    double start = runner->profile ? clock_now() : 0;
    whet_status status = step_run(runner, lowering, activation, o->in, o->out, err);
    if (runner->profile && !status)
        note(runner, node, lowering, start);
    for (int k = 0; !status && k < node->output_count; k++) {
        if (!node->outputs[k])
            value_drop(o->out[k]);
        else
            activation->slots[node->outputs[k]->id] = o->out[k];
    }
    return status;
}

whet_status runner_step(Runner *runner, const Step *step, Activation *activation, whet_error *err) {
    Operands operands;
    if (!operands_init(&operands, step->node))
        return error_memory(err);
    whet_status status = run_step(runner, step, activation, &operands, err);
    free(operands.heap);
    return status;
}

/* A step by itself. */
static whet_status run_alone(Runner *runner, const Step *step, Activation *activation, whet_error *err) {
    whet_status status = runner_interrupted(runner, err);
    if (status)
        return status;
    status = runner_step(runner, step, activation, err);
    if (status) {
        char label[256];
        return error_prefix(err, "%s", node_label(step->node, label, sizeof label));
    }
    for (int d = 0; d < step->dead_count; d++) {
        OpValue **slot = &activation->slots[step->dead[d]->id];
        value_drop(*slot);
        *slot = NULL;
    }
    return WHET_OK;
}

static whet_status run_steps(Runner *runner, const GraphProgram *program, Activation *activation, whet_error *err) {
    whet_error local;
    if (!err) {
        err = &local;
        error_clear(err);
    }
    for (size_t s = 0; s < program->step_count;) {
        size_t planned = 0;
        whet_status status = runner->plans ? planned_run(runner, program, s, activation, &planned, err) : WHET_OK;
        if (!status && !planned) {
            status = run_alone(runner, &program->steps[s], activation, err);
            planned = 1;
        }
        if (status)
            return status;
        s += planned;
    }
    return WHET_OK;
}

whet_status runner_run(Runner *runner, const Graph *graph, Activation *outer, OpValue *const *inputs, OpValue **outputs,
                       whet_error *err) {
    const GraphProgram *program = program_find(runner->program, graph);
    if (!program)
        return error_set(err, WHET_ERROR_INTERNAL, "graph '%s' has no program", graph->name);
    Activation activation = {.graph = graph, .outer = outer};
    activation.slots = calloc(graph->value_count + 1, sizeof *activation.slots);
    if (!activation.slots)
        return error_memory(err);
    for (int i = 0; i < graph->input_count; i++)
        activation.slots[graph->inputs[i]->id] = value_keep(inputs[i]);
    memset(outputs, 0, (size_t)graph->output_count * sizeof *outputs);
    whet_status status = run_steps(runner, program, &activation, err);
    for (int o = 0; !status && o < graph->output_count; o++) {
        outputs[o] = value_keep(runner_value(runner, &activation, graph->outputs[o], err));
        status = !outputs[o] ? err ? err->status : WHET_ERROR_INTERNAL : runner_align(runner, outputs[o], err);
    }
    for (int o = 0; status && o < graph->output_count; o++) {
        value_drop(outputs[o]);
        outputs[o] = NULL;
    }
    for (size_t v = 0; v < graph->value_count; v++)
        value_drop(activation.slots[v]);
    free(activation.slots);
    return status;
}

whet_status runner_node(Runner *runner, const Node *node, const Tensor *const *inputs, OpValue **outputs, whet_error *err) {
    Operands operands;
    if (!operands_init(&operands, node))
        return error_memory(err);
    whet_status status = WHET_OK;
    memset(operands.in, 0, (size_t)node->input_count * sizeof *operands.in);
    for (int i = 0; !status && i < node->input_count; i++)
        if (inputs[i]) {
            operands.in[i] = value_borrow(&runner->pool, inputs[i], err);
            status = operands.in[i] ? WHET_OK : WHET_ERROR_MEMORY;
        }
    Lowering *lowering = status ? NULL : lowering_get(runner, NULL, node, inputs, err);
    if (!status && !lowering)
        status = err ? err->status : WHET_ERROR_INTERNAL;
    if (!status)
        status = step_run(runner, lowering, NULL, operands.in, outputs, err);
    for (int i = 0; i < node->input_count; i++)
        value_drop(operands.in[i]);
    lowering_free(runner, lowering);
    free(operands.heap);
    return status;
}
