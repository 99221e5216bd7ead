/* Scales of MatMulNBits as kernels read them.
 *
 * The file has rows of packed numbers, [n][block][..], with a scale and perhaps a packed zero point a block, [n][block]. Scales
 * and zero points become one f32 tensor with the columns side by side, [block][2][n], so that one definition says the weights,
 * and a product reads them as they are stored:
 *
 *     w[n, c, j] = (f32((s64(B[n, c, j // 2]) >> 4 * (j % 2)) & 15) - scales[c, 1, n]) * scales[c, 0, n]
 *
 * Eight and two bits likewise. What is no constant, or has an incomplete last block, stays as it is. Scales of f16 are f32 in the
 * sum anyway.
 *
 * Requires: rows found. Recreates: nothing. Breaks: nothing. */
#include <string.h>

#include "graph/passes/pass.h"

typedef struct Weights {
    Node *node;
    const Tensor *b, *scales, *zeros;
    int64_t n, blocks, block, bits;
} Weights;

static bool is_constant_of(const Tensor *t, int64_t count) {
    return t && t->data && whet_tensor_count(t) == count;
}

static bool find(Node *node, Weights *w) {
    *w = (Weights){
        .node = node, .n = node_int(node, "N", 0), .block = node_int(node, "block_size", 0), .bits = node_int(node, "bits", 4)};
    int64_t k = node_int(node, "K", 0), count, zero_bytes;
    bool none = node->input_count < 4 || !node->inputs[3];
    if (node->turned || strcmp(node->op, "MatMulNBits") != 0 || strcmp(node->domain, "com.microsoft") != 0 ||
        node->input_count < 3 || !node->inputs[1] || !node->inputs[2] || (node->input_count > 4 && node->inputs[4]) || w->n < 1 ||
        w->block < 8 || w->block % 8 || k < 1 || k % w->block || (w->bits != 2 && w->bits != 4 && w->bits != 8) ||
        !checked_mul(w->n, k, &count))
        return false;
    w->blocks = k / w->block;
    w->b = pass_known(node->inputs[1], DT_U8);
    w->scales = node->inputs[2]->type.constant;
    w->zeros = none ? NULL : node->inputs[3]->type.constant;
    if (!is_constant_of(w->b, count / (8 / w->bits)) || w->b->rank != 3 || !is_constant_of(w->scales, w->n * w->blocks) ||
        w->scales->rank > 2)
        return false;
    zero_bytes = w->n * ((w->blocks * w->bits + 7) / 8);
    return none || is_constant_of(w->zeros, w->zeros && w->zeros->type == WHET_U8 ? zero_bytes : w->n * w->blocks);
}

/* The zero point of a block: packed as the weights are, rows of whole bytes, or a number; the middle where there are none. */
static double zero_at(const Weights *w, int64_t n, int64_t c) {
    if (!w->zeros)
        return 1 << (w->bits - 1);
    if (w->zeros->type != WHET_U8)
        return whet_tensor_get(w->zeros, n * w->blocks + c);
    int64_t per = 8 / w->bits, bytes = (w->blocks + per - 1) / per;
    unsigned char byte = ((const unsigned char *)w->zeros->data)[n * bytes + c / per];
    return byte >> (w->bits * (c % per)) & ((1 << w->bits) - 1);
}

static bool replace(const Weights *w) {
    const int64_t dims[] = {w->blocks, 2, w->n};
    void *data;
    Value *value = pass_constant(w->node->graph, w->node->outputs[0]->name, DT_F32, 3, dims, &data);
    for (int64_t c = 0; value && c < w->blocks; c++)
        for (int64_t n = 0; n < w->n; n++) {
            float *to = (float *)data + c * 2 * w->n + n;
            to[0] = (float)whet_tensor_get(w->scales, n * w->blocks + c);
            to[w->n] = (float)zero_at(w, n, c);
        }
    if (!value)
        return false;
    w->node->inputs[2] = value;
    w->node->turned = true;
    if (w->node->input_count > 3)
        w->node->inputs[3] = NULL;
    return true;
}

static bool visit(Graph *graph, void *context) {
    bool *changed = context, fine = true;
    size_t count = graph->node_count;
    for (size_t n = 0; fine && n < count; n++) {
        Weights w;
        if (!graph->nodes[n]->outputs[0] || !find(graph->nodes[n], &w))
            continue;
        fine = replace(&w);
        *changed = true;
    }
    return fine;
}

bool pass_nbits(Model *model, bool *changed) {
    return pass_each_graph(model->graph, visit, changed);
}
