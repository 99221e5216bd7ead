/* What passes share. */
#include "graph/passes/pass.h"

#include <string.h>

#include "ops/ops.h"

bool pass_each_graph(Graph *graph, bool (*visit)(Graph *graph, void *context), void *context) {
    if (!visit(graph, context))
        return false;
    for (size_t n = 0; n < graph->node_count; n++)
        for (int a = 0; a < graph->nodes[n]->attr_count; a++)
            if (graph->nodes[n]->attrs[a].kind == ATTR_GRAPH && !pass_each_graph(graph->nodes[n]->attrs[a].graph, visit, context))
                return false;
    return true;
}

static bool clear_marks(Graph *graph, void *context) {
    (void)context;
    for (size_t v = 0; v < graph->value_count; v++)
        graph->values[v]->mark = 0;
    return true;
}

void pass_clear_marks(Graph *main) {
    pass_each_graph(main, clear_marks, NULL);
}

static bool add_uses(Graph *graph, void *context) {
    (void)context;
    for (size_t n = 0; n < graph->node_count; n++)
        for (int i = 0; i < graph->nodes[n]->input_count; i++)
            if (graph->nodes[n]->inputs[i])
                graph->nodes[n]->inputs[i]->mark++;
    for (int o = 0; o < graph->output_count; o++)
        graph->outputs[o]->mark++;
    return true;
}

void pass_count_uses(Graph *main) {
    pass_clear_marks(main);
    pass_each_graph(main, add_uses, NULL);
}

Node *pass_node(Graph *graph, const char *op, int input_count, int attr_count, const Node *after) {
    Node *node = graph_node(graph, "", op, input_count, 1, attr_count);
    const char *stem = after->output_count && after->outputs[0] ? after->outputs[0]->name : after->name;
    Value *made = node ? graph_value(graph, arena_printf(&graph->model->arena, "%s/%s.%zu", stem, op, graph->value_count)) : NULL;
    if (!made)
        return NULL;
    node->name = after->name;
    node->number = after->number;
    node->opset = PASS_OPSET;
    node->row = op_find("", op, PASS_OPSET, NULL);
    node->outputs[0] = made;
    made->producer = node;
    made->producer_output = 0;
    return node;
}

void pass_take_output(Node *node, Value *value) {
    if (node->outputs[0])
        node->outputs[0]->producer = NULL; /* of which there is none any more: graph_prune drops it */
    node->outputs[0] = value;
    value->producer = node;
    value->producer_output = 0;
}

Value *pass_constant(Graph *graph, const char *stem, DType type, int rank, const int64_t *dims, void **data) {
    Arena *arena = &graph->model->arena;
    Tensor *tensor = ARENA_NEW(arena, Tensor);
    Value *value = graph_value(graph, arena_printf(arena, "%s/constant.%zu", stem, graph->value_count));
    int64_t count;
    if (!tensor || !value || !checked_count(dims, rank, &count))
        return NULL;
    *tensor = (Tensor){.type = (whet_type)type, .rank = rank};
    for (int d = 0; d < rank; d++) /* a scalar's dims may be NULL */
        tensor->dims[d] = dims[d];
    if (!dtype_bytes(type, count, &tensor->bytes) || !(tensor->data = arena_alloc(arena, tensor->bytes ? tensor->bytes : 1, 1)))
        return NULL;
    value->is_initializer = true;
    value->type = (Type){.type = type, .rank = rank, .constant = tensor};
    memcpy(value->type.dims, tensor->dims, (size_t)rank * sizeof *dims);
    *data = tensor->data;
    return value;
}

Value *pass_channels(Graph *graph, const char *stem, int64_t channels, int rank, float **data) {
    int64_t dims[WHET_MAX_RANK] = {channels};
    for (int d = 1; d < rank; d++)
        dims[d] = 1;
    void *memory = NULL;
    Value *value = pass_constant(graph, stem, DT_F32, rank, dims, &memory);
    *data = memory;
    return value;
}

bool pass_is(const Node *node, const char *op) {
    return node && !*node->domain && strcmp(node->op, op) == 0;
}

const Tensor *pass_known(const Value *value, DType type) {
    const Tensor *constant = value ? value->type.constant : NULL;
    return constant && constant->data && (DType)constant->type == type ? constant : NULL;
}

float pass_f32(const Tensor *tensor, int64_t index) {
    float value;
    memcpy(&value, (const char *)tensor->data + 4 * index, sizeof value);
    return value;
}
