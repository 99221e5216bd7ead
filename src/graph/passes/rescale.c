/* The scales between a product and the bytes it ends in meet in one factor.
 *
 *     QuantizeLinear(DequantizeLinear(q, s1, z1) * c + b, s2, z2)
 *       -> QuantizeLinear(DequantizeLinear(q, 1, z1) * (s1 * c / s2) + b / s2, 1, z2)
 *
 * The division by the scale moves up through factors, terms, sums and Relu, to what they begin with: bytes, or an integer product
 * that integer.c has made. Factors are computed in double precision and rounded once, so the result is nearer to what the file
 * means than one that rounds a product, a quotient and a product more; and an element costs a multiply-add and no division.
 * Where anything on the way cannot be divided, or is read by others, the quotient stays: the quantization of an input, say.
 *
 * Bytes that are dequantized, moved or pooled by their maximum, and quantized again by the same scale and zero point stay bytes:
 *
 *     QuantizeLinear(MaxPool(DequantizeLinear(q, s, z)), s, z) -> MaxPool(q)
 *
 * Requires: inferred types; pass_affine has been there. Recreates: nothing. Breaks: types of new values, the order of nodes
 * (graph_simplify sorts and infers again).
 */
#include <math.h>
#include <string.h>

#include "graph/passes/pass.h"

enum { DEEPEST = 8 }; /* sums of sums */

typedef struct Rescale {
    Graph *graph;
    Arena *scratch;
    const Node *after; /* the QuantizeLinear that new nodes are named after */
    double by;         /* its scale */
    int depth;
} Rescale;

/* A known positive number of f32, in any rank. */
static bool one_scale(const Value *value, float *out) {
    const Tensor *scale = pass_known(value, DT_F32);
    if (!scale || whet_tensor_count(scale) != 1)
        return false;
    *out = pass_f32(scale, 0);
    return isfinite(*out) && *out > 0;
}

/* A DequantizeLinear of bytes by one known scale. */
static bool is_dequantize(const Node *node, float *scale) {
    return pass_is(node, "DequantizeLinear") && node->input_count >= 2 && node->inputs[0] && node->inputs[1] &&
           dtype_is_byte(node->inputs[0]->type.type) && one_scale(node->inputs[1], scale);
}

static Value *one(Graph *graph, const Node *after) {
    void *data;
    Value *value = pass_constant(graph, after->outputs[0]->name, DT_F32, 0, NULL, &data);
    if (value)
        memcpy(data, &(float){1}, sizeof(float));
    return value;
}

/* q less its zero point: the same node with the scale 1. */
static Value *whole(const Rescale *r, const Node *dequantize) {
    Node *node = pass_node(r->graph, "DequantizeLinear", dequantize->input_count, 0, r->after);
    Value *scale = one(r->graph, r->after);
    if (!node || !scale)
        return NULL;
    memcpy(node->inputs, dequantize->inputs, (size_t)dequantize->input_count * sizeof *node->inputs);
    node->inputs[1] = scale;
    return node->outputs[0];
}

static bool ordinary(const PassChain *chain) {
    for (int64_t c = 0; c < chain->channels; c++) {
        float s = (float)chain->s[c], t = (float)chain->t[c];
        if (!isfinite(s) || !isfinite(t) || (s != 0 && !isnormal(s)))
            return false;
    }
    return true;
}

/* Factors and terms up from the value, divided; NULL: they end in what has none. */
static Value *divided_chain(const Rescale *r, Value *value) {
    PassChain chain;
    float scale;
    pass_chain_start(&chain, r->scratch, value->type.rank, -1, 1);
    if (!chain.s || !chain.t)
        return NULL;
    chain.s[0] = 1 / r->by;
    Value *base = pass_chain_absorb(&chain, r->graph, value);
    bool bytes = is_dequantize(base->producer, &scale);
    if ((base == value && !bytes) || r->scratch->failed)
        return NULL;
    for (int64_t c = 0; bytes && c < chain.channels; c++)
        chain.s[c] *= (double)scale;
    if (!ordinary(&chain))
        return NULL;
    base = bytes ? whole(r, base->producer) : base;
    Node *last = base ? pass_chain_end(&chain, base, r->after) : NULL;
    return last ? last->outputs[0] : NULL;
}

static bool is_constant(const Value *value) {
    return value && value->type.constant;
}

/* The value divided by the scale: new nodes. NULL: it cannot be, or out of memory (arenas remember). */
static Value *divided(Rescale *r, Value *value) {
    Node *node = value->producer;
    bool own = node && value->graph == r->graph && value->mark == 1 && node->opset >= 7;
    bool sum = own && pass_is(node, "Add") && !is_constant(node->inputs[0]) && !is_constant(node->inputs[1]);
    if (!sum && !(own && pass_is(node, "Relu")))
        return divided_chain(r, value);
    if (r->depth == DEEPEST)
        return NULL;
    r->depth++;
    Value *x = divided(r, node->inputs[0]), *y = x && sum ? divided(r, node->inputs[1]) : NULL;
    r->depth--;
    Node *made = x && (y || !sum) ? pass_node(r->graph, node->op, sum ? 2 : 1, 0, r->after) : NULL;
    if (!made)
        return NULL;
    made->inputs[0] = x;
    if (sum)
        made->inputs[1] = y;
    return made->outputs[0];
}

/* ---- bytes that stay bytes ---- */

static bool same_zero(const Value *a, const Value *b) {
    const Tensor *x = a ? a->type.constant : NULL, *y = b ? b->type.constant : NULL;
    if (a == b)
        return true;
    if (!x || !y || !x->data || !y->data || x->type != y->type || whet_tensor_count(x) != 1 || whet_tensor_count(y) != 1)
        return false;
    return whet_tensor_get(x, 0) == whet_tensor_get(y, 0);
}

/* Elements of the output are elements of the first operand; MaxPool of bytes is there since version 12. */
static bool moves_elements(const Node *node) {
    static const char *const movers[] = {"Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"};
    if (pass_is(node, "MaxPool"))
        return node->opset >= 12 && node->output_count == 1;
    for (size_t i = 0; i < COUNT(movers); i++)
        if (pass_is(node, movers[i]))
            return true;
    return false;
}

/* What the QuantizeLinear makes of `value`, without leaving bytes; NULL: it cannot be had so, or out of memory. */
static Value *same_bytes(const Rescale *r, Value *value) {
    const Node *quantize = r->after, *node = value->producer;
    float scale;
    const Value *zero = quantize->input_count > 2 ? quantize->inputs[2] : NULL;
    if (is_dequantize(node, &scale) && (double)scale == r->by && node->inputs[0]->type.type == quantize->outputs[0]->type.type &&
        same_zero(node->input_count > 2 ? node->inputs[2] : NULL, zero))
        return node->inputs[0];
    if (!node || value->graph != r->graph || value->mark != 1 || !moves_elements(node))
        return NULL;
    Value *from = same_bytes(r, node->inputs[0]);
    Node *made = from ? pass_node(r->graph, node->op, node->input_count, 0, quantize) : NULL;
    if (!made)
        return NULL;
    memcpy(made->inputs, node->inputs, (size_t)node->input_count * sizeof *made->inputs);
    made->inputs[0] = from;
    made->opset = node->opset;
    made->row = node->row;
    made->attrs = node->attrs;
    made->attr_count = node->attr_count;
    return made->outputs[0];
}

static bool stay_bytes(const Rescale *r, Node *quantize) {
    Value *value = same_bytes(r, quantize->inputs[0]);
    Node *node = value ? value->producer : NULL;
    if (value && is_dequantize(quantize->inputs[0]->producer, &(float){0})) { /* no node is new */
        node = pass_node(r->graph, "Identity", 1, 0, quantize);
        if (node)
            node->inputs[0] = value;
    }
    if (!node)
        return false;
    pass_take_output(node, quantize->outputs[0]);
    quantize->outputs[0] = NULL;
    return true;
}

static bool divide(Rescale *r, Node *quantize) {
    Value *value = r->by != 1 ? divided(r, quantize->inputs[0]) : NULL, *scale = value ? one(r->graph, quantize) : NULL;
    if (!scale)
        return false;
    quantize->inputs[0] = value;
    quantize->inputs[1] = scale;
    return true;
}

static bool visit(Graph *graph, void *context) {
    bool *changed = context;
    Arena scratch, *arena = &graph->model->arena;
    arena_init(&scratch, arena->allocator);
    size_t count = graph->node_count; /* new nodes are appended */
    for (size_t n = 0; n < count && !scratch.failed && !arena->failed; n++) {
        Node *node = graph->nodes[n];
        float scale;
        if (!pass_is(node, "QuantizeLinear") || node->input_count < 2 || !node->inputs[0] || !node->outputs[0] ||
            node->inputs[0]->type.type != DT_F32 || node->inputs[0]->type.rank < 0 ||
            !dtype_is_byte(node->outputs[0]->type.type) || !one_scale(node->inputs[1], &scale))
            continue;
        Rescale r = {graph, &scratch, node, (double)scale, 0};
        if (stay_bytes(&r, node) || divide(&r, node))
            *changed = true;
    }
    bool fine = !scratch.failed && !arena->failed;
    arena_free(&scratch);
    return fine;
}

bool pass_rescale(Model *model, bool *changed) {
    pass_count_uses(model->graph);
    return pass_each_graph(model->graph, visit, changed);
}
