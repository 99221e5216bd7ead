/* The rules every graph keeps between passes. A broken one is our own bug: WHET_ERROR_INTERNAL, naming the pass.
 *
 *   - a value is made once: by a node, as a graph's input, or as a constant; links lead both ways
 *   - a node follows the nodes whose values it reads, in its graph and in those around it
 *   - ids are places; names are unique in their graph
 *   - a constant's type and shape are its tensor's
 */
#include "graph/infer.h"

#include <string.h>

typedef struct Checker {
    const char *pass;
    whet_error *err;
    Arena arena;
} Checker;

static whet_status broken(Checker *checker, const Graph *graph, const char *what, const char *name) {
    return error_set(checker->err, WHET_ERROR_INTERNAL, "after pass '%s', graph '%s': %s ('%s')", checker->pass,
                     graph->name ? graph->name : "", what, name);
}

static whet_status check_type(Checker *checker, const Value *value) {
    const Type *type = &value->type;
    if (type->rank < -1 || type->rank > WHET_MAX_RANK)
        return broken(checker, value->graph, "a rank is out of range", value->name);
    for (int i = 0; i < type->rank; i++) {
        if (dim_is_number(type->dims[i]) && type->dims[i] < 0)
            return broken(checker, value->graph, "an extent is negative", value->name);
    }
    const Tensor *tensor = type->constant;
    if (!tensor)
        return WHET_OK;
    DType stored = (DType)tensor->type;
    bool half = value->stored_half && type->type == DT_F32 && dtype_is_half(stored);
    bool same = (stored == type->type || half) && tensor->rank == type->rank;
    for (int i = 0; same && i < type->rank; i++)
        same = tensor->dims[i] == type->dims[i];
    return same ? WHET_OK : broken(checker, value->graph, "a constant and its type differ", value->name);
}

static whet_status check_value(Checker *checker, const Graph *graph, size_t index, Map *names) {
    const Value *value = graph->values[index];
    if (value->graph != graph || (size_t)value->id != index)
        return broken(checker, graph, "a value is not at home", value->name);
    if (map_get(names, value->name, strlen(value->name)))
        return broken(checker, graph, "two values have one name", value->name);
    if (!map_put(names, value->name, strlen(value->name), graph->values[index]))
        return error_memory(checker->err);
    if ((value->producer != NULL) == (value->is_input || value->is_initializer))
        return broken(checker, graph, value->producer ? "a value is made twice" : "a value is never made", value->name);
    if (value->producer) {
        const Node *node = value->producer;
        if (node->graph != graph || value->producer_output >= node->output_count ||
            node->outputs[value->producer_output] != value)
            return broken(checker, graph, "a value's producer does not make it", value->name);
    }
    return check_type(checker, value);
}

/* `value` is read in `graph`: there, or in a graph around it, it must have been made by now. Value.mark says so. */
static whet_status check_read(Checker *checker, const Graph *graph, const Value *value) {
    const Graph *home = graph;
    while (home && home != value->graph)
        home = home->parent;
    if (!home)
        return broken(checker, graph, "a value is read out of its sight", value->name);
    return value->mark ? WHET_OK : broken(checker, graph, "a value is read before it is made", value->name);
}

static whet_status check_graph(Checker *checker, const Graph *graph, int nesting);

static whet_status check_node(Checker *checker, const Graph *graph, const Node *node, int nesting) {
    whet_status status = WHET_OK;
    if (node->graph != graph)
        return broken(checker, graph, "a node is not at home", node->name);
    for (int i = 0; !status && i < node->input_count; i++) {
        if (node->inputs[i])
            status = check_read(checker, graph, node->inputs[i]);
    }
    for (int i = 0; !status && i < node->attr_count; i++) {
        const Graph *body = node->attrs[i].kind == ATTR_GRAPH ? node->attrs[i].graph : NULL;
        if (body && (body->parent != graph || body->owner != node))
            status = broken(checker, graph, "a subgraph has another owner", node->name);
        else if (body)
            status = check_graph(checker, body, nesting + 1);
    }
    for (int i = 0; !status && i < node->output_count; i++) {
        Value *value = node->outputs[i];
        if (value && (value->producer != node || value->producer_output != i))
            status = broken(checker, graph, "a node's output has another producer", value->name);
        else if (value)
            value->mark = 1;
    }
    return status;
}

static whet_status check_graph(Checker *checker, const Graph *graph, int nesting) {
    if (nesting > GRAPH_MAX_NESTING + 1)
        return broken(checker, graph, "graphs are nested too deep", "");
    Map names;
    map_init(&names, &checker->arena);
    whet_status status = WHET_OK;
    for (size_t i = 0; !status && i < graph->value_count; i++) {
        status = check_value(checker, graph, i, &names);
        graph->values[i]->mark = graph->values[i]->producer == NULL;
    }
    for (int i = 0; !status && i < graph->input_count; i++) {
        if (!graph->inputs[i]->is_input || graph->inputs[i]->graph != graph)
            status = broken(checker, graph, "an input is no input", graph->inputs[i]->name);
    }
    for (size_t i = 0; !status && i < graph->node_count; i++)
        status = check_node(checker, graph, graph->nodes[i], nesting);
    for (int i = 0; !status && i < graph->output_count; i++)
        status = check_read(checker, graph, graph->outputs[i]);
    return status;
}

whet_status graph_check(const Graph *graph, const char *pass, whet_error *err) {
    Checker checker = {.pass = pass, .err = err};
    arena_init(&checker.arena, graph->model->arena.allocator);
    whet_status status = check_graph(&checker, graph, 0);
    arena_free(&checker.arena);
    return status;
}
