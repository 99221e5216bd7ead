/* Nodes that compute what another node has computed already go: their readers read the other's outputs.
 *
 * Two nodes are equal when operator, version, attributes, inputs and the set of wanted outputs are. Inputs are compared after
 * their own repetitions are gone, so whole repeated branches fold up in one walk. Random operators and nodes with subgraphs stay.
 *
 * Requires: sorted graphs. Recreates: nothing. Breaks: the nodes that are left over make values nobody reads (graph_infer
 * prunes).
 */
#include <string.h>

#include "graph/passes/pass.h"

static bool is_pure(const Node *node) {
    static const char *const random[] = {"Bernoulli", "Dropout", "Multinomial"};
    for (size_t i = 0; i < COUNT(random); i++)
        if (strcmp(node->op, random[i]) == 0)
            return false;
    if (strncmp(node->op, "Random", 6) == 0)
        return false;
    for (int a = 0; a < node->attr_count; a++)
        if (node->attrs[a].kind == ATTR_GRAPH || node->attrs[a].kind > ATTR_STRINGS)
            return false;
    return true;
}

static bool put(void *key, const void *data, size_t bytes) {
    if (bytes)
        text_put_n(key, data, bytes);
    return true;
}

static void put_node(Text *key, const Node *node) {
    const int head[] = {node->opset, node->input_count, node->output_count, node->attr_count};
    put(key, node->domain, strlen(node->domain) + 1);
    put(key, node->op, strlen(node->op) + 1);
    put(key, head, sizeof head);
    for (int i = 0; i < node->input_count; i++)
        put(key, &node->inputs[i], sizeof node->inputs[i]);
    for (int o = 0; o < node->output_count; o++)
        put(key, node->outputs[o] ? "o" : "_", 1);
    for (int a = 0; a < node->attr_count; a++)
        attr_put(&node->attrs[a], put, key);
}

/* by_output[value id]: what is read in its place; NULL: itself. */
typedef struct Renaming {
    const Graph *graph;
    Value **by_output;
} Renaming;

static Value *renamed(const Renaming *r, Value *value) {
    return value && value->graph == r->graph && r->by_output[value->id] ? r->by_output[value->id] : value;
}

static bool rename_reads(Graph *graph, void *context) {
    const Renaming *r = context;
    for (size_t n = 0; n < graph->node_count; n++)
        for (int i = 0; i < graph->nodes[n]->input_count; i++)
            graph->nodes[n]->inputs[i] = renamed(r, graph->nodes[n]->inputs[i]);
    for (int o = 0; graph != r->graph && o < graph->output_count; o++) /* its own outputs keep their names */
        graph->outputs[o] = renamed(r, graph->outputs[o]);
    return true;
}

static bool is_output(const Graph *graph, const Value *value) {
    for (int o = 0; o < graph->output_count; o++)
        if (graph->outputs[o] == value)
            return true;
    return false;
}

static bool makes_output(const Node *node) {
    for (int o = 0; o < node->output_count; o++)
        if (node->outputs[o] && is_output(node->graph, node->outputs[o]))
            return true;
    return false;
}

static bool walk(Graph *graph, Arena *scratch, bool *changed) {
    Renaming r = {graph, ARENA_ARRAY(scratch, Value *, graph->value_count)};
    Map seen;
    Text key;
    map_init(&seen, scratch);
    text_init(&key);
    bool fine = r.by_output != NULL, found = false;
    for (size_t n = 0; fine && n < graph->node_count; n++) {
        Node *node = graph->nodes[n];
        for (int i = 0; i < node->input_count; i++)
            node->inputs[i] = renamed(&r, node->inputs[i]);
        if (!is_pure(node))
            continue;
        text_clear(&key);
        put_node(&key, node);
        const Node *first = map_get(&seen, key.data, key.length);
        if (!first) {
            const char *own = arena_copy(scratch, key.data, key.length);
            fine = own && !key.failed && map_put(&seen, own, key.length, node);
        } else if (!makes_output(node)) {
            for (int o = 0; o < node->output_count; o++)
                if (node->outputs[o])
                    r.by_output[node->outputs[o]->id] = first->outputs[o];
            found = true;
        }
    }
    if (fine && found)
        pass_each_graph(graph, rename_reads, &r);
    *changed |= found;
    text_free(&key);
    return fine;
}

static bool visit(Graph *graph, void *context) {
    Arena scratch;
    arena_init(&scratch, graph->model->arena.allocator);
    bool fine = walk(graph, &scratch, context) && !scratch.failed;
    arena_free(&scratch);
    return fine;
}

bool pass_repeat(Model *model, bool *changed) {
    return pass_each_graph(model->graph, visit, changed);
}
