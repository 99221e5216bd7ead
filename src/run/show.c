/* The text forms of a model's stages. */
#include <stdlib.h>
#include <string.h>

#include "run/handles.h"

/* The types of a node's inputs with symbols replaced; false: something stays open until it runs. */
static bool bind_inputs(const whet_model *m, const Node *node, const whet_dim *dims, int dim_count, Type *types,
                        const Type **in) {
    for (int i = 0; i < node->input_count; i++) {
        if (!node->inputs[i])
            continue;
        types[i] = node->inputs[i]->type;
        in[i] = &types[i];
        if (types[i].rank < 0 || types[i].type == DT_NONE)
            return false;
        for (int d = 0; d < types[i].rank; d++) {
            Dim dim = types[i].dims[d];
            if (!dim_is_extent(dim))
                dim = dim == DIM_UNKNOWN ? dim : dim_bind(m->model->symbols, dim, dims, dim_count);
            if (dim == DIM_UNKNOWN || !dim_is_extent(dim))
                return false;
            types[i].dims[d] = dim;
        }
        if (op_input_is_content(node->row, i) && !types[i].constant)
            return false;
    }
    return true;
}

static whet_status show_lowered(OpCall *call, Text *out) {
    Lowered lowered = {0};
    whet_status status = call->row->text || call->row->build ? op_lower(call, &lowered) : WHET_OK;
    if (status)
        return status;
    if (lowered.kernel)
        kernel_print(lowered.kernel, out);
    else
        text_put(out, call->row->view ? "# a view: nothing to compute\n" : "# runs as C\n");
    return WHET_OK;
}

static whet_status show_node(const whet_model *m, const Node *node, const whet_dim *dims, int dim_count, Text *out,
                             whet_error *err) {
    char label[256];
    text_printf(out, "## %s\n", node_label(node, label, sizeof label));
    Arena arena;
    arena_init(&arena, NULL);
    Type *types = ARENA_ARRAY(&arena, Type, node->input_count);
    const Type **in = ARENA_ARRAY(&arena, const Type *, node->input_count);
    Type *outs = ARENA_ARRAY(&arena, Type, node->output_count);
    Symbols *symbols = symbols_new(&arena);
    whet_status status = types && in && outs && symbols ? WHET_OK : error_memory(err);
    for (int o = 0; !status && o < node->output_count; o++)
        outs[o].rank = -1;
    if (!status && !bind_inputs(m, node, dims, dim_count, types, in)) {
        text_put(out, "# lowered when it runs: its shapes are not known before\n\n");
    } else if (!status) {
        OpCall call = {.node = node,
                       .row = node->row,
                       .arena = &arena,
                       .symbols = symbols,
                       .err = err,
                       .opset = node->opset,
                       .in_count = node->input_count,
                       .out_count = node->output_count,
                       .in = in,
                       .out = outs};
        status = show_lowered(&call, out);
        if (status)
            error_prefix(err, "%s", label);
        text_char(out, '\n');
    }
    arena_free(&arena);
    return status;
}

static whet_status show_kernels(const whet_model *m, const whet_dim *dims, int dim_count, Text *out, whet_error *err) {
    for (size_t g = 0; g < m->program->graph_count; g++) {
        const GraphProgram *program = &m->program->graphs[g];
        if (g > 0)
            text_printf(out, "# subgraph %s\n\n", program->graph->name);
        for (size_t s = 0; s < program->step_count; s++) {
            whet_status status = show_node(m, program->steps[s].node, dims, dim_count, out, err);
            if (status)
                return status;
        }
    }
    return WHET_OK;
}

/* An input of zeros of the shape that the dims give; NULL: it is not known, or an error. */
static OpValue *zero_input(const whet_model *m, Runner *runner, const Value *value, const whet_dim *dims, int dim_count,
                           whet_error *err) {
    int64_t extents[WHET_MAX_RANK];
    bool known = value->type.rank >= 0 && value->type.type != DT_NONE;
    for (int d = 0; known && d < value->type.rank; d++) {
        Dim dim = value->type.dims[d];
        extents[d] = dim_is_extent(dim) || dim == DIM_UNKNOWN ? dim : dim_bind(m->model->symbols, dim, dims, dim_count);
        known = dim_is_extent(extents[d]);
    }
    if (!known) {
        error_set(err, WHET_ERROR_ARGUMENT, "the shape of input '%s' is not known: give its dimensions", value->name);
        return NULL;
    }
    OpValue *out = value_new(&runner->pool, value->type.type, value->type.rank, extents, err);
    if (out)
        memset(out->tensor.data, 0, out->tensor.bytes);
    return out;
}

/* Runs the model once on zeros, which makes its plans; they say what becomes of the nodes. */
static whet_status show_fused(const whet_model *m, const whet_dim *dims, int dim_count, Text *out, whet_error *err) {
    const Graph *graph = m->model->graph;
    Runner runner;
    OpValue **inputs = calloc((size_t)graph->input_count + 1, sizeof *inputs);
    OpValue **outputs = calloc((size_t)graph->output_count + 1, sizeof *outputs);
    whet_status status = runner_init(&runner, m->program, m->shared, &m->options, err);
    if (!status && (!inputs || !outputs))
        status = error_memory(err);
    for (int i = 0; !status && i < graph->input_count; i++)
        if (model_input_given(graph->inputs[i]) && !(inputs[i] = zero_input(m, &runner, graph->inputs[i], dims, dim_count, err)))
            status = err->status;
    runner.explain = out;
    if (!status && runner_run(&runner, graph, NULL, inputs, outputs, err)) /* plans made so far are worth showing */
        text_printf(out, "# a run on zeros ended there: %s\n", err->message);
    for (int i = 0; inputs && i < graph->input_count; i++)
        value_drop(inputs[i]);
    for (int o = 0; outputs && o < graph->output_count; o++)
        value_drop(outputs[o]);
    free(inputs);
    free(outputs);
    runner_free(&runner);
    return status;
}

whet_status whet_model_show(const whet_model *model, const char *stage, const whet_dim *dims, int dim_count, char **out,
                            whet_error *err) {
    whet_error local;
    err = err ? err : &local;
    error_clear(err);
    *out = NULL;
    Text text;
    text_init(&text);
    whet_status status = WHET_OK;
    if (strcmp(stage, "graph") == 0)
        graph_print(model->model->graph, &text);
    else if (strcmp(stage, "kernels") == 0)
        status = show_kernels(model, dims, dim_count, &text, err);
    else if (strcmp(stage, "fused") == 0)
        status = show_fused(model, dims, dim_count, &text, err);
    else
        status = error_set(err, WHET_ERROR_ARGUMENT, "stage '%s'; wanted: graph, kernels or fused", stage);
    if (status) {
        text_free(&text);
        return status;
    }
    *out = text_steal(&text);
    return *out ? WHET_OK : error_memory(err);
}
