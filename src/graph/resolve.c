/* Every node finds its row, and everything unsupported is gathered into one message: a person who converts a model wants the
 * whole list, not its head.
 *
 * Requires: links and attributes. Recreates: Node.row, and the order of nodes (graph_sort).
 */
#include "graph/infer.h"

#include <string.h>

/* ---- Refusals ---------------------------------------------------------------------------------------------------------- */

void refusals_init(Refusals *refusals, const whet_allocator *allocator) {
    memset(refusals, 0, sizeof *refusals);
    arena_init(&refusals->arena, allocator);
    map_init(&refusals->by_key, &refusals->arena);
}

void refusals_free(Refusals *refusals) {
    arena_free(&refusals->arena);
}

bool refusals_add(Refusals *refusals, const Node *node, const char *reason) {
    Arena *arena = &refusals->arena;
    char *key = arena_printf(arena, "%s\n%s\n%d\n%s", node->op, node->domain, node->opset, reason);
    if (!key)
        return false;
    Refusal *refusal = map_get(&refusals->by_key, key, strlen(key));
    if (refusal) {
        refusal->nodes++;
        return true;
    }
    refusal = ARENA_NEW(arena, Refusal);
    char *copy = arena_string(arena, reason, strlen(reason));
    if (!refusal || !copy || !arena_grow(arena, &refusals->list, &refusals->capacity, refusals->count + 1, sizeof refusal))
        return false;
    *refusal = (Refusal){node->op, node->domain, copy, node->opset, node, 1};
    refusals->list[refusals->count++] = refusal;
    return map_put(&refusals->by_key, key, strlen(key), refusal);
}

void refusals_print(const Refusals *refusals, const char *indent, Text *out) {
    char label[256];
    for (size_t i = 0; i < refusals->count; i++) {
        const Refusal *r = refusals->list[i];
        text_printf(out, "%s%soperator %s (domain %s, opset %d): %d node%s, first %s: %s", i ? "\n" : "", indent, r->op,
                    r->domain[0] ? r->domain : "ai.onnx", r->opset, r->nodes, r->nodes == 1 ? "" : "s",
                    node_label(r->first, label, sizeof label), r->reason);
    }
}

whet_status refusals_status(const Refusals *refusals, whet_error *err) {
    if (refusals->arena.failed)
        return error_memory(err);
    if (refusals->count == 0)
        return WHET_OK;
    Text text;
    text_init(&text);
    refusals_print(refusals, "", &text);
    whet_status status = text.failed ? error_memory(err) : error_set(err, WHET_ERROR_UNSUPPORTED, "%s", text.data);
    text_free(&text);
    return status;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------------- */

/* Counts and attributes against the row; types are not known yet. */
static whet_status check_node(const Node *node, Arena *scratch, whet_error *err) {
    Type *types = ARENA_ARRAY(scratch, Type, (size_t)node->input_count);
    const Type **in = ARENA_ARRAY(scratch, const Type *, (size_t)node->input_count);
    Type *out = ARENA_ARRAY(scratch, Type, (size_t)node->output_count);
    if (!types || !in || !out)
        return error_memory(err);
    for (int i = 0; i < node->input_count; i++) {
        types[i].rank = -1;
        in[i] = node->inputs[i] ? &types[i] : NULL;
    }
    OpCall call = {.node = node,
                   .row = node->row,
                   .arena = scratch,
                   .symbols = node->graph->model->symbols,
                   .err = err,
                   .opset = node->opset,
                   .in_count = node->input_count,
                   .out_count = node->output_count,
                   .in = in,
                   .out = out};
    return op_check_call(&call);
}

static whet_status resolve_node(Node *node, Refusals *refusals, Arena *scratch, whet_error *err) {
    node->row = op_find(node->domain, node->op, node->opset, err);
    whet_status status = node->row ? check_node(node, scratch, err) : WHET_ERROR_UNSUPPORTED;
    arena_reset(scratch);
    if (status == WHET_ERROR_UNSUPPORTED) {
        node->row = NULL;
        return refusals_add(refusals, node, err->message) ? WHET_OK : error_memory(err);
    }
    char label[256];
    return status ? error_prefix(err, "%s", node_label(node, label, sizeof label)) : WHET_OK;
}

static whet_status resolve_graph(Graph *graph, Refusals *refusals, Arena *scratch, whet_error *err) {
    for (size_t i = 0; i < graph->node_count; i++) {
        Node *node = graph->nodes[i];
        whet_status status = resolve_node(node, refusals, scratch, err);
        for (int a = 0; !status && a < node->attr_count; a++) {
            if (node->attrs[a].kind == ATTR_GRAPH && node->attrs[a].graph)
                status = resolve_graph(node->attrs[a].graph, refusals, scratch, err);
        }
        if (status)
            return status;
    }
    return WHET_OK;
}

whet_status resolve_nodes(Model *model, Refusals *refusals, whet_error *err) {
    whet_status status = graph_sort(model->graph, err); /* bounds the nesting, too */
    Arena scratch;
    arena_init(&scratch, model->arena.allocator);
    if (!status)
        status = resolve_graph(model->graph, refusals, &scratch, err);
    arena_free(&scratch);
    return status;
}

whet_status graph_resolve(Model *model, whet_error *err) {
    whet_error local;
    err = err ? err : &local;
    Refusals refusals;
    refusals_init(&refusals, model->arena.allocator);
    whet_status status = resolve_nodes(model, &refusals, err);
    if (!status)
        status = refusals_status(&refusals, err);
    refusals_free(&refusals);
#ifdef WHET_CHECK_PASSES
    if (!status)
        status = graph_check(model->graph, "resolve", err);
#endif
    return status;
}
