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

/* base * s + t along axis 1 of a value of rank `rank`. */
typedef struct Chain {
    Arena *arena;
    double *s, *t;
    int64_t channels;
    int rank;
} Chain;

/* Element c of a constant that varies along axis 1 of a value of this rank alone. False: it does not fit. */
static bool along_channels(const Chain *chain, const Value *value, int64_t *stride) {
    const Tensor *tensor = pass_known(value, DT_F32);
    if (!tensor || tensor->rank > chain->rank)
        return false;
    int before = chain->rank - tensor->rank;
    bool varies = false;
    for (int d = 0; d < tensor->rank; d++) {
        if (tensor->dims[d] == 1)
            continue;
        if (d + before != 1 || tensor->dims[d] != chain->channels)
            return false;
        varies = true;
    }
    *stride = varies ? 1 : 0;
    return true;
}

/* The operand that is not the constant; NULL: none is. */
static Value *other_operand(const Chain *chain, const Node *node, const Tensor **constant, int64_t *stride) {
    for (int i = 0; i < 2; i++)
        if (node->inputs[1 - i] && along_channels(chain, node->inputs[i], stride)) {
            *constant = node->inputs[i]->type.constant;
            return node->inputs[1 - i];
        }
    return NULL;
}

/* The base is `node`'s output, which nothing else reads: what it multiplies or adds is absorbed. NULL: it is something else. */
static Value *absorb(Chain *chain, const Node *node) {
    const Tensor *constant;
    int64_t stride;
    bool mul = pass_is(node, "Mul");
    Value *base = (mul || pass_is(node, "Add")) && node->opset >= 7 ? other_operand(chain, node, &constant, &stride) : NULL;
    if (!base || base->type.rank != chain->rank || base->type.dims[1] != chain->channels) /* it would be broadcast */
        return NULL;
    for (int64_t c = 0; c < chain->channels; c++) {
        double value = pass_f32(constant, c * stride);
        if (mul)
            chain->s[c] *= value;
        else
            chain->t[c] += value * chain->s[c];
    }
    return base;
}

/* The bias of a convolution goes into t. */
static void absorb_bias(Chain *chain, Node *conv) {
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
static bool start(Chain *chain, const Node *node, Arena *arena) {
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
    *chain = (Chain){.arena = arena, .channels = channels, .rank = node->inputs[0]->type.rank};
    chain->s = ARENA_ARRAY(arena, double, (size_t)channels);
    chain->t = ARENA_ARRAY(arena, double, (size_t)channels);
    double epsilon = node_float(node, "epsilon", 1e-5f);
    for (int64_t c = 0; chain->s && chain->t && c < channels; c++) {
        chain->s[c] = pass_f32(parameter[1], c) / sqrt(pass_f32(parameter[4], c) + epsilon);
        chain->t[c] = pass_f32(parameter[2], c) - pass_f32(parameter[3], c) * chain->s[c];
    }
    return node->inputs[0]->type.type == DT_F32;
}

static Value *constant_of(const Chain *chain, Graph *graph, const Node *after, const double *values) {
    float *data;
    Value *value = pass_channels(graph, after->outputs[0]->name, chain->channels, chain->rank - 1, &data);
    for (int64_t c = 0; value && c < chain->channels; c++)
        data[c] = (float)values[c];
    return value;
}

/* base * s + t takes the place of the normalization. */
static bool replace(const Chain *chain, Node *norm, Value *base) {
    Graph *graph = norm->graph;
    Value *s = constant_of(chain, graph, norm, chain->s), *t = constant_of(chain, graph, norm, chain->t);
    Node *mul = pass_node(graph, "Mul", 2, 0, norm), *add = pass_node(graph, "Add", 2, 0, norm);
    if (!s || !t || !mul || !add)
        return false;
    mul->inputs[0] = base;
    mul->inputs[1] = s;
    add->inputs[0] = mul->outputs[0];
    add->inputs[1] = t;
    pass_take_output(add, norm->outputs[0]);
    norm->outputs[0] = NULL;
    return true;
}

/* From the operand of a normalization up, as long as nothing else reads what is absorbed. */
static Value *absorb_all(Chain *chain, const Graph *graph, Value *base) {
    while (base->mark == 1 && base->producer && base->graph == graph) {
        Value *next = absorb(chain, base->producer);
        if (!next) {
            absorb_bias(chain, base->producer);
            break;
        }
        base = next;
    }
    return base;
}

static bool visit(Graph *graph, void *context) {
    bool *changed = context;
    Arena scratch;
    arena_init(&scratch, graph->model->arena.allocator);
    bool fine = true;
    size_t count = graph->node_count; /* new nodes are appended */
    for (size_t n = 0; fine && n < count; n++) {
        Node *node = graph->nodes[n];
        Chain chain;
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
