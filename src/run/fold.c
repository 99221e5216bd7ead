/* Folding: a node whose inputs are constants, run once at load by the kernels that would run each time. */
#include "run/fold.h"

#include <string.h>

#include "onnx/reader.h"
#include "run/run.h"

enum { FOLD_LIMIT = 64 << 20 };
static const double FOLD_SECONDS = 0.5; /* behind graph/fold.c's estimates: WHET_ERROR_LIMIT stops folding for good */

static size_t input_bytes(const Node *node, const Type *const *in) {
    size_t bytes = 0;
    for (int i = 0; i < node->input_count; i++)
        if (in[i])
            bytes += in[i]->constant->bytes;
    return bytes;
}

static whet_status copy_outputs(const Node *node, OpValue **values, Tensor *out, Arena *arena, whet_error *err) {
    for (int o = 0; o < node->output_count; o++) {
        out[o] = (Tensor){0};
        if (!values[o])
            continue;
        out[o] = values[o]->tensor;
        out[o].data = arena_copy(arena, values[o]->tensor.data, values[o]->tensor.bytes);
        if (!out[o].data)
            return error_memory(err);
    }
    return WHET_OK;
}

static whet_status fold(Runner *runner, const Node *node, const Type *const *in, Tensor *out, Arena *arena, whet_error *err) {
    const Tensor **inputs = ARENA_ARRAY(&runner->arena, const Tensor *, node->input_count);
    OpValue **values = ARENA_ARRAY(&runner->arena, OpValue *, node->output_count);
    if (!inputs || !values)
        return error_memory(err);
    for (int i = 0; i < node->input_count; i++) {
        inputs[i] = in[i] ? onnx_aligned(in[i]->constant, &runner->arena) : NULL;
        if (in[i] && !inputs[i])
            return error_memory(err);
    }
    whet_status status = runner_node(runner, node, inputs, values, err);
    if (!status)
        status = copy_outputs(node, values, out, arena, err);
    for (int o = 0; o < node->output_count; o++)
        value_drop(values[o]);
    return status;
}

whet_status run_fold_node(const Node *node, const Type *const *in, Tensor *out, Arena *arena, const whet_allocator *allocator,
                          whet_error *err) {
    for (int a = 0; a < node->attr_count; a++)
        if (node->attrs[a].kind == ATTR_GRAPH)
            return error_set(err, WHET_ERROR_UNSUPPORTED, "a node with a subgraph is not folded");
    whet_options options = {
        .allocator = allocator, .threads = 1, .target = "evaluator", .memory_limit = FOLD_LIMIT + input_bytes(node, in)};
    Runner runner;
    whet_status status = runner_init(&runner, NULL, NULL, &options, err);
    runner.deadline = clock_now() + FOLD_SECONDS;
    if (!status)
        status = fold(&runner, node, in, out, arena, err);
    runner_free(&runner);
    return status;
}
