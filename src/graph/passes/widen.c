/* Models whose weights are stored in half precision are computed in f32 inside.
 *
 * Half precision is storage to such a model: no exporter means every intermediate value to be rounded to 11 bits, and the engines
 * people compare with (onnxruntime on CPUs) do not round them either. So f16 and bf16 constants become f32 constants, f16 values
 * between nodes f32 values, and only the graph's rim keeps its types: inputs are widened where they come in, outputs narrowed
 * where they go out. Weights that products alone read are f32 values too, but their content stays as it is stored (the one place
 * where a value and its content differ in type): it is widened where it is packed, or not at all, if products are of bf16. A
 * model without half-precision weights (the specification's single-operator cases, say) stays to the letter: each node rounds its
 * outputs.
 *
 * Requires: graphs as read, before rows are found and types inferred. Recreates: nothing. Breaks: declared types of values inside
 * (changed), the order of nodes (graph_resolve sorts).
 */
#include <string.h>

#include "graph/passes/pass.h"

static bool is_weight(const Value *value) {
    const Tensor *constant = value->type.constant;
    return value->is_initializer && constant && constant->rank >= 2 && dtype_is_half((DType)constant->type);
}

/* What cannot change its operand type without changing its meaning. */
static bool is_bound_to_bits(const Node *node) {
    return strcmp(node->op, "BitCast") == 0;
}

typedef struct Findings {
    bool weights, bf16, bound; /* bf16: some weights are */
} Findings;

/* Weights that products alone read stay as they are stored: kernels widen them where they pack or read them (ops/lower.c). Marks
 * them with 1, all other values with 0. */
static bool takes_halves(const Node *node, int input) {
    static const char *const names[] = {"MatMul", "Gemm", "Conv", "ConvTranspose"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (input == 1 && !*node->domain && strcmp(node->op, names[i]) == 0)
            return true;
    return false;
}

static bool mark_weights(Graph *graph, void *context) {
    (void)context;
    for (size_t v = 0; v < graph->value_count; v++)
        graph->values[v]->mark = is_weight(graph->values[v]) && !graph->values[v]->is_input;
    return true;
}

static bool unmark_others(Graph *graph, void *context) {
    (void)context;
    for (size_t n = 0; n < graph->node_count; n++)
        for (int i = 0; i < graph->nodes[n]->input_count; i++)
            if (graph->nodes[n]->inputs[i] && !takes_halves(graph->nodes[n], i))
                graph->nodes[n]->inputs[i]->mark = 0;
    for (int o = 0; o < graph->output_count; o++)
        graph->outputs[o]->mark = 0;
    return true;
}

static bool look(Graph *graph, void *context) {
    Findings *found = context;
    for (size_t v = 0; v < graph->value_count; v++)
        if (is_weight(graph->values[v])) {
            found->weights = true;
            found->bf16 |= (DType)graph->values[v]->type.constant->type == DT_BF16;
        }
    for (size_t n = 0; n < graph->node_count; n++)
        found->bound |= is_bound_to_bits(graph->nodes[n]);
    return true;
}

/* An f32 copy in the arena; NULL: out of memory. */
static Tensor *widened(Arena *arena, const Tensor *half) {
    int64_t count;
    size_t bytes;
    Tensor *wide = arena_copy(arena, half, sizeof *half);
    if (!wide || !checked_count(half->dims, half->rank, &count) || !dtype_bytes(DT_F32, count, &bytes))
        return NULL;
    float *to = arena_alloc(arena, bytes, 1);
    if (!to)
        return NULL;
    bool bf16 = (DType)half->type == DT_BF16;
    for (int64_t i = 0; i < count; i++) {
        uint16_t bits; /* where it lies in the file, it may be misaligned */
        memcpy(&bits, (const char *)half->data + 2 * i, sizeof bits);
        to[i] = bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
    }
    wide->type = WHET_F32;
    wide->data = to;
    wide->bytes = bytes;
    return wide;
}

static bool widen_value(Value *value) {
    Type *type = &value->type;
    value->stored_half = value->mark != 0;
    if (type->constant && !value->stored_half && dtype_is_half((DType)type->constant->type)) {
        type->constant = widened(&value->graph->model->arena, type->constant);
        if (!type->constant)
            return false;
    }
    if (dtype_is_half(type->type))
        type->type = DT_F32;
    return true;
}

/* Attributes that hold half-precision numbers or name the type of an output. */
static bool widen_attrs(Node *node) {
    static const char *const type_names[] = {"to", "dtype", "output_dtype", "stash_type"};
    for (int a = 0; a < node->attr_count; a++) {
        Attr *attr = &node->attrs[a];
        if (attr->kind == ATTR_TENSOR && attr->tensor && dtype_is_half((DType)attr->tensor->type)) {
            attr->tensor = widened(&node->graph->model->arena, attr->tensor);
            if (!attr->tensor)
                return false;
        }
        for (size_t t = 0; t < COUNT(type_names); t++)
            if (attr->kind == ATTR_INT && attr->name && strcmp(attr->name, type_names[t]) == 0 && dtype_is_half((DType)attr->i))
                attr->i = DT_F32;
    }
    return true;
}

static bool widen_inside(Graph *graph, void *context) {
    (void)context;
    for (size_t n = 0; n < graph->node_count; n++)
        if (!widen_attrs(graph->nodes[n]))
            return false;
    for (size_t v = 0; v < graph->value_count; v++)
        if (!widen_value(graph->values[v]))
            return false;
    return true;
}

/* Values at the rim, and what stands for them inside. */
typedef struct Exchange {
    Value *from, *to;
} Exchange;

static bool exchange_reads(Graph *graph, void *context) {
    const Exchange *x = context;
    for (size_t n = 0; n < graph->node_count; n++)
        for (int i = 0; i < graph->nodes[n]->input_count; i++)
            if (graph->nodes[n]->inputs[i] == x->from)
                graph->nodes[n]->inputs[i] = x->to;
    for (int o = 0; graph->parent && o < graph->output_count; o++) /* those of the main graph are the rim itself */
        if (graph->outputs[o] == x->from)
            graph->outputs[o] = x->to;
    return true;
}

static Node *new_cast(Graph *graph, Value *from, Value *to, DType type) {
    Node *node = graph_node(graph, "", "Cast", 1, 1, 1);
    if (!node)
        return NULL;
    node->opset = graph->model->opset;
    node->inputs[0] = from;
    node->outputs[0] = to;
    node->attrs[0] = (Attr){.name = "to", .kind = ATTR_INT, .i = type};
    to->producer = node;
    to->producer_output = 0;
    return node;
}

/* from (of the rim) is read through `to` inside. */
static bool widen_input(Graph *graph, Value *input) {
    Value *inside = graph_value(graph, arena_printf(&graph->model->arena, "%s/f32", input->name));
    if (!inside)
        return false;
    Exchange x = {input, inside};
    pass_each_graph(graph, exchange_reads, &x);
    return new_cast(graph, input, inside, DT_F32) != NULL;
}

/* What a node made as `output` it makes as another value, which is narrowed. */
static bool narrow_output(Graph *graph, Value *output, DType type) {
    Value *inside = graph_value(graph, arena_printf(&graph->model->arena, "%s/f32", output->name));
    if (!inside)
        return false;
    Exchange x = {output, inside};
    pass_each_graph(graph, exchange_reads, &x);
    inside->producer = output->producer;
    inside->producer_output = output->producer_output;
    inside->producer->outputs[inside->producer_output] = inside;
    output->type.type = type;
    return new_cast(graph, inside, output, type) != NULL;
}

static bool widen(Graph *graph) {
    Arena *arena = &graph->model->arena;
    DType *in = ARENA_ARRAY(arena, DType, (size_t)graph->input_count),
          *out = ARENA_ARRAY(arena, DType, (size_t)graph->output_count);
    if (!in || !out)
        return false;
    for (int i = 0; i < graph->input_count; i++)
        in[i] = graph->inputs[i]->type.constant ? DT_NONE : graph->inputs[i]->type.type;
    for (int o = 0; o < graph->output_count; o++)
        out[o] = graph->outputs[o]->producer ? graph->outputs[o]->type.type : DT_NONE;
    pass_each_graph(graph, mark_weights, NULL);
    pass_each_graph(graph, unmark_others, NULL);
    if (!pass_each_graph(graph, widen_inside, NULL))
        return false;
    for (int i = 0; i < graph->input_count; i++)
        if (dtype_is_half(in[i])) {
            graph->inputs[i]->type.type = in[i];
            if (!widen_input(graph, graph->inputs[i]))
                return false;
        }
    for (int o = 0; o < graph->output_count; o++)
        if (dtype_is_half(out[o]) && graph->outputs[o]->type.type == DT_F32 && !narrow_output(graph, graph->outputs[o], out[o]))
            return false;
    return true;
}

whet_status graph_widen(Model *model, whet_error *err) {
    Findings found = {0};
    pass_each_graph(model->graph, look, &found);
    if (!found.weights || found.bound)
        return WHET_OK;
    model->bf16_weights = found.bf16;
    return widen(model->graph) ? WHET_OK : error_memory(err);
}
