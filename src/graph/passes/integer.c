/* Products of dequantized operands become integer products.
 *
 *     Conv(DequantizeLinear(x, sx, zx), DequantizeLinear(w, sw, zw), b)
 *       -> Cast<f32>(ConvInteger(x, w, zx, zw)) * (sx * sw) + b
 *
 * and MatMul and Gemm likewise, where x has one scale and the constant w has one, or one an output channel. The integer product
 * is exact, so the result is nearer to what the file means than the product of f32 numbers; what follows (a bias, an activation,
 * the QuantizeLinear of the result) is elementwise and joins the product by fusion, so no pattern of whole layers is needed here.
 *
 * Requires: inferred types; dequantized weights not folded (graph_simplify). Recreates: nothing. Breaks: types of new values, the
 * order of nodes (graph_simplify sorts and infers again).
 */
#include <string.h>

#include "graph/passes/pass.h"

enum { MOST_TERMS = 1 << 15 }; /* of one sum: of products below 2^16 in magnitude, in 32 bits */

/* A tensor of 8-bit integers with what it is dequantized by. */
typedef struct Quantized {
    Value *value;
    const Tensor *scale, *zero; /* zero NULL: 0 */
    int axis;                   /* of the scales; -1: one for all */
} Quantized;

/* The operand is DequantizeLinear of bytes by constants, one scale in all or one along an axis. */
static bool dequantized(const Value *operand, Quantized *out) {
    const Node *node = operand ? operand->producer : NULL;
    if (!pass_is(node, "DequantizeLinear") || node->input_count < 2 || !node->inputs[0] ||
        !dtype_is_byte(node->inputs[0]->type.type) || operand->type.type != DT_F32 || node_int(node, "block_size", 0) != 0)
        return false;
    const Value *zero = node->input_count > 2 ? node->inputs[2] : NULL;
    *out = (Quantized){.value = node->inputs[0], .scale = pass_known(node->inputs[1], DT_F32), .axis = -1};
    out->zero = pass_known(zero, out->value->type.type);
    if (!out->scale || (zero && !out->zero) || out->scale->rank > 1)
        return false;
    int64_t count = whet_tensor_count(out->scale);
    if (out->zero && whet_tensor_count(out->zero) != count)
        return false;
    if (count == 1)
        return true;
    int64_t axis = node_int(node, "axis", 1), rank = out->value->type.rank;
    out->axis = (int)(axis < 0 ? axis + rank : axis);
    return rank > 0;
}

/* One zero point for all, as the integer products want it. */
static bool same_zero(const Quantized *q, int *zero) {
    *zero = 0;
    for (int64_t i = 0; q->zero && i < whet_tensor_count(q->zero); i++) {
        int here = (int)whet_tensor_get(q->zero, i);
        if (i > 0 && here != *zero)
            return false;
        *zero = here;
    }
    return true;
}

static Value *zero_constant(Graph *graph, const Node *after, const Quantized *q, int zero) {
    void *data;
    Value *value = pass_constant(graph, after->outputs[0]->name, q->value->type.type, 0, NULL, &data);
    if (value)
        *(uint8_t *)data = (uint8_t)zero;
    return value;
}

/* scale of x times those of w: of rank `rank` with the channels in front, or one number. */
static Value *scale_constant(Graph *graph, const Node *after, const Quantized *x, const Quantized *w, int rank) {
    int64_t count = whet_tensor_count(w->scale);
    float *data;
    Value *value = pass_channels(graph, after->outputs[0]->name, count, w->axis < 0 ? 0 : rank, &data);
    for (int64_t c = 0; value && c < count; c++)
        data[c] = (float)((double)pass_f32(x->scale, 0) * pass_f32(w->scale, c));
    return value;
}

/* The constant bias [o] as [o, 1, 1 ...] of rank `rank`. */
static Value *bias_constant(Graph *graph, const Node *after, const Tensor *bias, int rank) {
    float *data;
    Value *value = pass_channels(graph, after->outputs[0]->name, bias->dims[0], rank, &data);
    if (value)
        memcpy(data, bias->data, bias->bytes);
    return value;
}

/* What a product is made of, as integers. */
typedef struct Product {
    Node *node;
    const char *op; /* ConvInteger or MatMulInteger */
    Quantized x, w;
    int x_zero, w_zero;
    int channel_rank; /* of constants a channel behind it */
    Value *bias;      /* NULL: none */
    bool transposed;  /* w is [n, k] */
} Product;

static Node *unary(Graph *graph, const char *op, Value *from, const Node *after, int attr_count) {
    Node *node = pass_node(graph, op, 1, attr_count, after);
    if (node)
        node->inputs[0] = from;
    return node;
}

static Node *binary(Graph *graph, const char *op, Value *a, Value *b, const Node *after) {
    Node *node = b ? pass_node(graph, op, 2, 0, after) : NULL;
    if (node) {
        node->inputs[0] = a;
        node->inputs[1] = b;
    }
    return node;
}

static Node *make_product(const Product *p) {
    Graph *graph = p->node->graph;
    bool conv = strcmp(p->op, "ConvInteger") == 0;
    Value *w = p->w.value;
    if (p->transposed) {
        Node *transpose = unary(graph, "Transpose", w, p->node, 0);
        if (!transpose)
            return NULL;
        w = transpose->outputs[0];
    }
    Node *product = pass_node(graph, p->op, 4, conv ? p->node->attr_count : 0, p->node);
    if (!product)
        return NULL;
    for (int a = 0; conv && a < p->node->attr_count; a++)
        product->attrs[a] = p->node->attrs[a];
    product->inputs[0] = p->x.value;
    product->inputs[1] = w;
    product->inputs[2] = zero_constant(graph, p->node, &p->x, p->x_zero);
    product->inputs[3] = zero_constant(graph, p->node, &p->w, p->w_zero);
    return product->inputs[2] && product->inputs[3] ? product : NULL;
}

static bool replace(const Product *p) {
    Graph *graph = p->node->graph;
    Node *last = make_product(p);
    last = last ? unary(graph, "Cast", last->outputs[0], p->node, 1) : NULL;
    if (!last)
        return false;
    last->attrs[0] = (Attr){.name = "to", .kind = ATTR_INT, .i = DT_F32};
    last = binary(graph, "Mul", last->outputs[0], scale_constant(graph, p->node, &p->x, &p->w, p->channel_rank), p->node);
    if (last && p->bias)
        last = binary(graph, "Add", last->outputs[0], p->bias, p->node);
    if (!last)
        return false;
    pass_take_output(last, p->node->outputs[0]);
    p->node->outputs[0] = NULL;
    return true;
}

static bool operands(Product *p) {
    const Node *node = p->node;
    return node->input_count >= 2 && node->output_count == 1 && node->outputs[0] && dequantized(node->inputs[0], &p->x) &&
           dequantized(node->inputs[1], &p->w) && p->x.axis < 0 && p->w.value->type.constant && same_zero(&p->x, &p->x_zero) &&
           same_zero(&p->w, &p->w_zero);
}

/* False: it is none; *fine: false when out of memory. */
static bool is_conv(Product *p, bool *fine) {
    const Tensor *w = p->w.value->type.constant;
    if (!pass_is(p->node, "Conv") || w->rank < 3 || p->w.axis > 0 || w->dims[0] <= 0 ||
        whet_tensor_count(w) / w->dims[0] > MOST_TERMS)
        return false;
    p->op = "ConvInteger";
    p->channel_rank = w->rank - 1;
    if (p->node->input_count < 3 || !p->node->inputs[2])
        return true;
    const Tensor *bias = pass_known(p->node->inputs[2], DT_F32);
    if (!bias || bias->rank != 1)
        return false;
    p->bias = bias_constant(p->node->graph, p->node, bias, p->channel_rank);
    *fine = p->bias != NULL;
    return *fine;
}

static bool is_matmul(Product *p) {
    const Node *node = p->node;
    const Tensor *w = p->w.value->type.constant;
    bool gemm = pass_is(node, "Gemm");
    if ((!gemm && !pass_is(node, "MatMul")) || w->rank != 2 || node->inputs[0]->type.rank < 1)
        return false;
    if (gemm && (node_float(node, "alpha", 1) != 1 || node_float(node, "beta", 1) != 1 || node_int(node, "transA", 0)))
        return false;
    p->transposed = gemm && node_int(node, "transB", 0);
    if (w->dims[p->transposed ? 1 : 0] > MOST_TERMS || (p->w.axis >= 0 && p->w.axis != (p->transposed ? 0 : 1)))
        return false;
    p->op = "MatMulInteger";
    p->channel_rank = 1;
    p->bias = gemm && node->input_count > 2 ? node->inputs[2] : NULL;
    return true;
}

static bool visit(Graph *graph, void *context) {
    bool *changed = context, fine = true;
    size_t count = graph->node_count; /* new nodes are appended */
    for (size_t n = 0; fine && n < count; n++) {
        Product p = {.node = graph->nodes[n]};
        if (pass_is(p.node, "DequantizeLinear") && p.node->inputs[0] && p.node->inputs[0]->type.constant)
            *changed = true; /* what stays of these is folded after all */
        if (!operands(&p) || !(is_matmul(&p) || is_conv(&p, &fine)))
            continue;
        fine = replace(&p);
        *changed = true;
    }
    return fine;
}

bool pass_integer(Model *model, bool *changed) {
    return pass_each_graph(model->graph, visit, changed);
}
