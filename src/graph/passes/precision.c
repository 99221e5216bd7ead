/* bf16 as a precision: marks the nodes whose products are computed so. What is marked is the sum of products alone: its factors
 * are rounded to bf16 (to the nearest, ties to even) and summed in f32; what such a node computes besides, and all other nodes,
 * stay as they are. op_lower writes it into the kernel (kernel_round_products), so that the notation says all of it.
 *
 * Operators are listed by name, for a sum of products alone says little: a resize or a Fourier transform is one too, and wants
 * its factors as they are. Depthwise convolutions stay f32: they are bound by memory and sum few products.
 *
 * A sum of images reads what convolutions take rounded so too: between the blocks of a residual network there is bf16 alone then,
 * half the memory to go through, and what that adds to the error is small beside the products' (resnet50: 0.0045 to 0.0047 of the
 * norm). Not what matrix products take: it would double the error of BERT, whose layers have nothing to win.
 *
 * Requires and breaks nothing; recreates Node.rounds, Node.rounded, Model.rounds. Last of all passes, so that folding is done in
 * f32. */
#include "graph/passes/pass.h"

#include <string.h>

static bool is_product(const Node *node) {
    static const char *const names[] = {"MatMul",    "Gemm",      "Conv",      "ConvTranspose",      "Einsum",
                                        "Attention", "FusedConv", "FusedGemm", "FusedMatMul",        "MultiHeadAttention",
                                        "LSTM",      "GRU",       "RNN",       "GroupQueryAttention"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (strcmp(node->op, names[i]) == 0)
            return true;
    return false;
}

/* Conv's weights are [outputs, inputs of a group, taps ...], ConvTranspose's [inputs, outputs of a group, taps ...]. */
static bool is_depthwise(const Node *node) {
    const Type *w = node->input_count > 1 && node->inputs[1] ? &node->inputs[1]->type : NULL;
    return strstr(node->op, "Conv") && node_int(node, "group", 1) > 1 && w && w->rank > 1 && w->dims[1] == 1;
}

static bool mark(Graph *graph, void *context) {
    const bool *bf16 = context;
    for (size_t n = 0; n < graph->node_count; n++)
        graph->nodes[n]->rounds = *bf16 && is_product(graph->nodes[n]) && !is_depthwise(graph->nodes[n]);
    return true;
}

/* Value.mark: a convolution takes it rounded. */
static bool mark_images(Graph *graph, void *context) {
    (void)context;
    for (size_t n = 0; n < graph->node_count; n++) {
        const Node *node = graph->nodes[n];
        Value *image = node->rounds && strstr(node->op, "Conv") && node->input_count > 0 ? node->inputs[0] : NULL;
        if (image && !image->type.constant)
            image->mark = 1;
    }
    return true;
}

static bool mark_sums(Graph *graph, void *context) {
    (void)context;
    for (size_t n = 0; n < graph->node_count; n++) {
        Node *node = graph->nodes[n];
        node->rounded = 0;
        for (int i = 0; pass_is(node, "Add") && i < node->input_count && i < 2; i++)
            node->rounded |= node->inputs[i] && node->inputs[i]->mark ? 1U << i : 0;
    }
    return true;
}

void graph_set_precision(Model *model, bool bf16) {
    model->rounds = bf16;
    pass_each_graph(model->graph, mark, &bf16);
    pass_clear_marks(model->graph);
    pass_each_graph(model->graph, mark_images, NULL);
    pass_each_graph(model->graph, mark_sums, NULL);
}
