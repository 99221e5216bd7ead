/* Topological order of the nodes of a graph and of its subgraphs.
 *
 * Requires: links from values to producers. Recreates: Graph.nodes in an order in which every node follows its inputs. What a
 * node's subgraphs read of the graphs around them counts as the node's own inputs.
 *
 * Depth-first from the nodes in file order, so that a graph that is in order already stays as it is. The walk over nodes keeps
 * its own stack (chains of 50,000 nodes are real); only the walk into subgraphs recurses, and it is bounded.
 */
#include "graph/graph.h"

#include <assert.h>
#include <string.h>

#define MAX_NESTING 64 /* subgraphs inside subgraphs */

/* Values of outer graphs that a graph reads. */
typedef struct Captures {
    Value **values;
    size_t count, capacity;
} Captures;

/* Nodes that must come before a node: for node i those at from[i] .. from[i + 1] of `on`. */
typedef struct Edges {
    Node **on;
    size_t count, capacity;
    size_t *from;
} Edges;

typedef struct Sorter {
    Arena scratch;
    whet_error *err;
} Sorter;

static whet_status sort_graph(Sorter *sorter, Graph *graph, int nesting, Captures *outer);

/* A node of `graph` reads `value`: an edge if it is made here, a capture if it comes from further out. */
static bool add_read(Sorter *sorter, const Graph *graph, Value *value, Edges *edges, Captures *outer) {
    if (!value)
        return true;
    if (value->graph != graph) {
        if (!arena_grow(&sorter->scratch, &outer->values, &outer->capacity, outer->count + 1, sizeof *outer->values))
            return false;
        outer->values[outer->count++] = value;
        return true;
    }
    if (!value->producer)
        return true;
    if (!arena_grow(&sorter->scratch, &edges->on, &edges->capacity, edges->count + 1, sizeof *edges->on))
        return false;
    edges->on[edges->count++] = value->producer;
    return true;
}

/* Sorts the subgraphs of `node`; what they capture is read by `node`. */
static whet_status sort_subgraphs(Sorter *sorter, const Node *node, int nesting, Edges *edges, Captures *outer) {
    for (int i = 0; i < node->attr_count; i++) {
        if (node->attrs[i].kind != ATTR_GRAPH || !node->attrs[i].graph)
            continue;
        Captures captures = {0};
        whet_status status = sort_graph(sorter, node->attrs[i].graph, nesting + 1, &captures);
        if (status)
            return status;
        for (size_t j = 0; j < captures.count; j++) {
            if (!add_read(sorter, node->graph, captures.values[j], edges, outer))
                return error_memory(sorter->err);
        }
    }
    return WHET_OK;
}

static whet_status find_edges(Sorter *sorter, Graph *graph, int nesting, Edges *edges, Captures *outer) {
    edges->from = ARENA_ARRAY(&sorter->scratch, size_t, graph->node_count + 1);
    if (!edges->from)
        return error_memory(sorter->err);
    for (size_t i = 0; i < graph->node_count; i++) {
        Node *node = graph->nodes[i];
        node->mark = (int)i;
        edges->from[i] = edges->count;
        for (int j = 0; j < node->input_count; j++) {
            if (!add_read(sorter, graph, node->inputs[j], edges, outer))
                return error_memory(sorter->err);
        }
        whet_status status = sort_subgraphs(sorter, node, nesting, edges, outer);
        if (status)
            return status;
    }
    edges->from[graph->node_count] = edges->count;
    for (int i = 0; i < graph->output_count; i++) { /* an output may be a value of an outer graph */
        if (graph->outputs[i]->graph != graph && !add_read(sorter, graph, graph->outputs[i], edges, outer))
            return error_memory(sorter->err);
    }
    return WHET_OK;
}

/* stack[0 .. depth) waits for `again`, which is among it. */
static whet_status cycle_error(Sorter *sorter, const Graph *graph, const size_t *stack, size_t depth, size_t again) {
    size_t first = 0;
    while (stack[first] != again)
        first++;
    Text path;
    text_init(&path);
    char label[160];
    size_t length = depth - first;
    for (size_t i = 0; i < length && i < 8; i++)
        text_printf(&path, "%s needs ", node_label(graph->nodes[stack[first + i]], label, sizeof label));
    if (length > 8)
        text_printf(&path, "... (%zu more) needs ", length - 8);
    text_put(&path, node_label(graph->nodes[again], label, sizeof label));
    whet_status status = error_set(sorter->err, WHET_ERROR_FORMAT, "nodes form a cycle: %s", path.failed ? "" : path.data);
    text_free(&path);
    return status;
}

typedef enum Visit { VISIT_NOT = 0, VISIT_OPEN, VISIT_DONE } Visit;

static whet_status order_nodes(Sorter *sorter, Graph *graph, const Edges *edges) {
    size_t count = graph->node_count;
    Node **order = ARENA_ARRAY(&sorter->scratch, Node *, count);
    size_t *stack = ARENA_ARRAY(&sorter->scratch, size_t, count);
    size_t *next = ARENA_ARRAY(&sorter->scratch, size_t, count); /* the next edge of each open node */
    unsigned char *visit = ARENA_ARRAY(&sorter->scratch, unsigned char, count);
    if (!order || !stack || !next || !visit)
        return error_memory(sorter->err);
    size_t done = 0;
    for (size_t root = 0; root < count; root++) {
        if (visit[root] != VISIT_NOT)
            continue;
        size_t depth = 0;
        stack[depth++] = root;
        next[root] = edges->from[root];
        visit[root] = VISIT_OPEN;
        while (depth) {
            size_t at = stack[depth - 1];
            if (next[at] == edges->from[at + 1]) {
                visit[at] = VISIT_DONE;
                order[done++] = graph->nodes[at];
                depth--;
                continue;
            }
            size_t on = (size_t)edges->on[next[at]++]->mark;
            if (visit[on] == VISIT_OPEN)
                return cycle_error(sorter, graph, stack, depth, on);
            if (visit[on] == VISIT_NOT) {
                visit[on] = VISIT_OPEN;
                next[on] = edges->from[on];
                stack[depth++] = on;
            }
        }
    }
    assert(done == count);
    if (count)
        memcpy(graph->nodes, order, count * sizeof *order);
    return WHET_OK;
}

static whet_status sort_graph(Sorter *sorter, Graph *graph, int nesting, Captures *outer) {
    if (nesting > MAX_NESTING)
        return error_set(sorter->err, WHET_ERROR_UNSUPPORTED, "graph '%s': subgraphs nested deeper than %d", graph->name,
                         MAX_NESTING);
    Edges edges = {0};
    whet_status status = find_edges(sorter, graph, nesting, &edges, outer);
    return status ? status : order_nodes(sorter, graph, &edges);
}

whet_status graph_sort(Graph *graph, whet_error *err) {
    Sorter sorter = {.err = err};
    arena_init(&sorter.scratch, graph->model->arena.allocator);
    Captures outer = {0};
    whet_status status = sort_graph(&sorter, graph, 0, &outer);
    arena_free(&sorter.scratch);
    return status;
}
