/* Making graphs, values and nodes, and reading a node's attributes.
 *
 * Everything is arena memory of the model: nothing is freed alone, and a builder may check `arena.failed` once at its end.
 */
#include "graph/graph.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "onnx/reader.h"

Model *model_new(const whet_allocator *allocator) {
    Model *model = memory_alloc(allocator, sizeof *model);
    if (!model)
        return NULL;
    memset(model, 0, sizeof *model);
    arena_init(&model->arena, allocator);
    model->path = "";
    map_init(&model->stand_ins, &model->arena);
    model->symbols = symbols_new(&model->arena);
    if (!model->symbols) {
        arena_free(&model->arena);
        memory_free(allocator, model, sizeof *model);
        return NULL;
    }
    return model;
}

void model_free(Model *model) {
    if (!model)
        return;
    onnx_unmap(model);
    const whet_allocator *allocator = model->arena.allocator;
    arena_free(&model->arena);
    memory_free(allocator, model, sizeof *model);
}

Graph *graph_new(Model *model, Graph *parent, const char *name) {
    Graph *graph = ARENA_NEW(&model->arena, Graph);
    if (!graph)
        return NULL;
    graph->name = name;
    graph->model = model;
    graph->parent = parent;
    return graph;
}

Value *graph_value(Graph *graph, const char *name) {
    Arena *arena = &graph->model->arena;
    if (graph->value_count >= INT_MAX)
        return NULL;
    if (!arena_grow(arena, &graph->values, &graph->value_capacity, graph->value_count + 1, sizeof *graph->values))
        return NULL;
    Value *value = ARENA_NEW(arena, Value);
    if (!value)
        return NULL;
    value->name = name;
    value->id = (int)graph->value_count;
    value->type.rank = -1;
    value->graph = graph;
    graph->values[graph->value_count++] = value;
    return value;
}

Value *graph_find(const Graph *graph, const char *name) {
    for (size_t i = 0; i < graph->value_count; i++) {
        if (strcmp(graph->values[i]->name, name) == 0)
            return graph->values[i];
    }
    return NULL;
}

Node *graph_node(Graph *graph, const char *domain, const char *op, int input_count, int output_count, int attr_count) {
    assert(input_count >= 0 && output_count >= 0 && attr_count >= 0);
    Arena *arena = &graph->model->arena;
    if (graph->node_count >= INT_MAX)
        return NULL;
    if (!arena_grow(arena, &graph->nodes, &graph->node_capacity, graph->node_count + 1, sizeof *graph->nodes))
        return NULL;
    Node *node = ARENA_NEW(arena, Node);
    if (!node)
        return NULL;
    node->name = "";
    node->op = op;
    node->domain = domain;
    node->inputs = ARENA_ARRAY(arena, Value *, (size_t)input_count);
    node->outputs = ARENA_ARRAY(arena, Value *, (size_t)output_count);
    node->attrs = ARENA_ARRAY(arena, Attr, (size_t)attr_count);
    if (!node->inputs || !node->outputs || !node->attrs)
        return NULL;
    node->input_count = input_count;
    node->output_count = output_count;
    node->attr_count = attr_count;
    node->graph = graph;
    node->number = (int)graph->node_count;
    graph->nodes[graph->node_count++] = node;
    return node;
}

const Attr *node_attr(const Node *node, const char *name) {
    for (int i = 0; i < node->attr_count; i++) {
        if (node->attrs[i].name && strcmp(node->attrs[i].name, name) == 0)
            return &node->attrs[i];
    }
    return NULL;
}

static const Attr *attr_of_kind(const Node *node, const char *name, AttrKind kind) {
    const Attr *attr = node_attr(node, name);
    return attr && attr->kind == kind ? attr : NULL;
}

int64_t node_int(const Node *node, const char *name, int64_t otherwise) {
    const Attr *attr = attr_of_kind(node, name, ATTR_INT);
    return attr ? attr->i : otherwise;
}

float node_float(const Node *node, const char *name, float otherwise) {
    const Attr *attr = attr_of_kind(node, name, ATTR_FLOAT);
    return attr ? attr->f : otherwise;
}

const int64_t *node_ints(const Node *node, const char *name, int *count) {
    const Attr *attr = attr_of_kind(node, name, ATTR_INTS);
    bool usable = attr && attr->count <= INT_MAX;
    *count = usable ? (int)attr->count : 0;
    return usable ? attr->ints : NULL;
}

const char *node_label(const Node *node, char *buffer, size_t size) {
    if (node->name && node->name[0])
        snprintf(buffer, size, "%s '%s' (#%d)", node->op, node->name, node->number);
    else
        snprintf(buffer, size, "%s (#%d)", node->op, node->number);
    return buffer;
}

bool attr_put(const Attr *attr, bool (*put)(void *context, const void *data, size_t bytes), void *context) {
    const int64_t head[] = {(int64_t)attr->kind, attr->i, (int64_t)attr->count, (int64_t)attr->s.length};
    const void *const pointers[] = {attr->tensor, attr->graph};
    bool fine = put(context, attr->name, strlen(attr->name) + 1) && put(context, head, sizeof head) &&
                put(context, &attr->f, sizeof attr->f) && put(context, attr->s.data, attr->s.length) &&
                put(context, pointers, sizeof pointers);
    if (fine && attr->floats)
        fine = put(context, attr->floats, attr->count * sizeof *attr->floats);
    if (fine && attr->ints)
        fine = put(context, attr->ints, attr->count * sizeof *attr->ints);
    for (size_t i = 0; fine && attr->strings && i < attr->count; i++)
        fine = put(context, &attr->strings[i].length, sizeof attr->strings[i].length) &&
               put(context, attr->strings[i].data, attr->strings[i].length);
    return fine;
}
