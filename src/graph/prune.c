/* Drops what no output needs.
 *
 * Requires: sorted graphs. Recreates: lists of nodes and of values, Value.id. Inputs of graphs stay; an output that nobody reads
 * and that is not the node's first becomes omitted, so that it need not be computed.
 */
#include "graph/infer.h"

#include <string.h>

static void clear_marks(Graph *graph) {
    for (size_t i = 0; i < graph->value_count; i++)
        graph->values[i]->mark = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        const Node *node = graph->nodes[i];
        for (int a = 0; a < node->attr_count; a++) {
            if (node->attrs[a].kind == ATTR_GRAPH && node->attrs[a].graph)
                clear_marks(node->attrs[a].graph);
        }
    }
}

static bool is_needed(const Node *node) {
    for (int i = 0; i < node->output_count; i++) {
        if (node->outputs[i] && node->outputs[i]->mark)
            return true;
    }
    return false;
}

static void omit_unread(Node *node) {
    for (int i = 1; i < node->output_count; i++) {
        if (node->outputs[i] && !node->outputs[i]->mark) {
            node->outputs[i]->producer = NULL;
            node->outputs[i] = NULL;
        }
    }
}

/* Values with a producer, a content or a role, in their old order. */
static void compact_values(Graph *graph) {
    size_t kept = 0;
    for (size_t i = 0; i < graph->value_count; i++) {
        Value *value = graph->values[i];
        if (!value->is_input && !value->mark && !(value->producer && value->producer->mark))
            continue;
        value->id = (int)kept;
        graph->values[kept++] = value;
    }
    graph->value_count = kept;
}

/* From the last node to the first: what a kept node reads, itself or in its subgraphs, is needed. */
static void prune(Graph *graph) {
    for (int i = 0; i < graph->output_count; i++)
        graph->outputs[i]->mark = 1;
    for (size_t i = graph->node_count; i-- > 0;) {
        Node *node = graph->nodes[i];
        node->mark = is_needed(node);
        if (!node->mark)
            continue;
        for (int j = 0; j < node->input_count; j++) {
            if (node->inputs[j])
                node->inputs[j]->mark = 1;
        }
        for (int a = 0; a < node->attr_count; a++) {
            if (node->attrs[a].kind == ATTR_GRAPH && node->attrs[a].graph)
                prune(node->attrs[a].graph);
        }
        omit_unread(node);
    }
    compact_values(graph);
    size_t kept = 0;
    for (size_t i = 0; i < graph->node_count; i++) {
        if (graph->nodes[i]->mark)
            graph->nodes[kept++] = graph->nodes[i];
    }
    graph->node_count = kept;
}

void graph_prune(Graph *graph) {
    clear_marks(graph);
    prune(graph);
}
