/* Constant factors and terms a channel, whatever they were written as, become one factor and one term.
 *
 * BatchNormalization with constant parameters is x * s[c] + t[c]; so are the scales and the bias behind an integer product, and
 * the bias of a convolution. What stands before a normalization and is read by nothing else is absorbed into its s and t, which
 * are computed in double precision. A contraction's epilogue then costs one multiply-add an element, and weights stay where they
 * lie: folding s into them, as others do, would copy them all.
 *
 * Requires: inferred types. Recreates: nothing. Breaks: types of new values, the order of nodes (graph_simplify sorts and infers
 * again).
 */
#include <math.h>
#include <string.h>

#include "graph/passes/pass.h"

/* The bias of a convolution goes into t. */
static void absorb_bias(PassChain *chain, Node *conv) {
    if (!pass_is(conv, "Conv") || conv->input_count < 3)
        return;
    const Tensor *bias = pass_known(conv->inputs[2], DT_F32);
    if (!bias || bias->rank != 1 || bias->dims[0] != chain->channels)
        return;
    for (int64_t c = 0; c < chain->channels; c++)
        chain->t[c] += pass_f32(bias, c) * chain->s[c];
    conv->inputs[2] = NULL;
}

/* s and t of a normalization; false: it is not one of constant parameters. */
static bool start(PassChain *chain, const Node *node, Arena *arena) {
    const Tensor *parameter[5];
    if (!pass_is(node, "BatchNormalization") || node->opset < 7 || node_int(node, "training_mode", 0) ||
        !node_int(node, "spatial", 1) || node->input_count != 5 || !node->inputs[0] || node->inputs[0]->type.rank < 2)
        return false;
    for (int o = 1; o < node->output_count; o++)
        if (node->outputs[o])
            return false;
    for (int i = 1; i < 5; i++) {
        parameter[i] = pass_known(node->inputs[i], DT_F32);
        if (!parameter[i] || parameter[i]->rank != 1 || parameter[i]->dims[0] != parameter[1]->dims[0])
            return false;
    }
    int64_t channels = parameter[1]->dims[0];
    pass_chain_start(chain, arena, node->inputs[0]->type.rank, 1, channels);
    double epsilon = node_float(node, "epsilon", 1e-5f);
    for (int64_t c = 0; chain->s && chain->t && c < channels; c++) {
        chain->s[c] = pass_f32(parameter[1], c) / sqrt(pass_f32(parameter[4], c) + epsilon);
        chain->t[c] = pass_f32(parameter[2], c) - pass_f32(parameter[3], c) * chain->s[c];
    }
    return node->inputs[0]->type.type == DT_F32;
}

/* From the operand of a normalization up, as long as nothing else reads what is absorbed. */
static Value *absorb_all(PassChain *chain, const Graph *graph, Value *base) {
    base = pass_chain_absorb(chain, graph, base);
    if (base->mark == 1 && base->producer && base->graph == graph)
        absorb_bias(chain, base->producer);
    return base;
}

/* base * s + t takes the place of the normalization. */
static bool replace(const PassChain *chain, Node *norm, Value *base) {
    Node *last = pass_chain_end(chain, base, norm);
    if (!last)
        return false;
    pass_take_output(last, norm->outputs[0]);
    norm->outputs[0] = NULL;
    return true;
}

static bool visit(Graph *graph, void *context) {
    bool *changed = context;
    Arena scratch;
    arena_init(&scratch, graph->model->arena.allocator);
    bool fine = true;
    size_t count = graph->node_count; /* new nodes are appended */
    for (size_t n = 0; fine && n < count; n++) {
        Node *node = graph->nodes[n];
        PassChain chain;
        if (!node->output_count || !node->outputs[0] || !start(&chain, node, &scratch))
            continue;
        fine = replace(&chain, node, absorb_all(&chain, graph, node->inputs[0]));
        *changed = true;
    }
    fine = fine && !scratch.failed;
    arena_free(&scratch);
    return fine;
}

bool pass_affine(Model *model, bool *changed) {
    pass_count_uses(model->graph);
    return pass_each_graph(model->graph, visit, changed);
}
