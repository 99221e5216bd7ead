/* The report on a model for people: what it is, what it wants and gives, and everything in it that is not supported. */
#include "graph/infer.h"

#include <stdlib.h>
#include <string.h>

#define REPORT_FOLD_BYTES ((size_t)1 << 20) /* enough for shapes: a report copies no weights */

typedef struct Tally {
    const char *op, *domain;
    int opset;
    int nodes;
} Tally;

typedef struct Census {
    Arena arena;
    Map by_op;
    Tally **list;
    size_t count, capacity;
    int64_t parameters;
    size_t parameter_bytes;
    size_t nodes;
} Census;

static bool count_node(Census *census, const Node *node) {
    census->nodes++;
    char *key = arena_printf(&census->arena, "%s:%s", node->domain, node->op);
    Tally *tally = key ? map_get(&census->by_op, key, strlen(key)) : NULL;
    if (tally) {
        tally->nodes++;
        return true;
    }
    tally = ARENA_NEW(&census->arena, Tally);
    if (!tally || !arena_grow(&census->arena, &census->list, &census->capacity, census->count + 1, sizeof tally))
        return false;
    *tally = (Tally){node->op, node->domain, node->opset, 1};
    census->list[census->count++] = tally;
    return map_put(&census->by_op, key, strlen(key), tally);
}

static void count_tensor(Census *census, const Tensor *tensor) {
    if (!tensor)
        return;
    census->parameters += whet_tensor_count(tensor);
    census->parameter_bytes += tensor->bytes;
}

static bool count_graph(Census *census, const Graph *graph) {
    for (size_t i = 0; i < graph->value_count; i++) {
        if (graph->values[i]->is_initializer)
            count_tensor(census, graph->values[i]->type.constant);
    }
    for (size_t i = 0; i < graph->node_count; i++) {
        const Node *node = graph->nodes[i];
        if (!count_node(census, node))
            return false;
        for (int a = 0; a < node->attr_count; a++) {
            if (node->attrs[a].kind == ATTR_TENSOR)
                count_tensor(census, node->attrs[a].tensor);
            if (node->attrs[a].kind == ATTR_GRAPH && node->attrs[a].graph && !count_graph(census, node->attrs[a].graph))
                return false;
        }
    }
    return true;
}

/* Most frequent first, then by name. */
static int compare_tallies(const void *a, const void *b) {
    const Tally *x = *(Tally *const *)a, *y = *(Tally *const *)b;
    if (x->nodes != y->nodes)
        return x->nodes > y->nodes ? -1 : 1;
    int order = strcmp(x->op, y->op);
    return order ? order : strcmp(x->domain, y->domain);
}

static void print_bytes(size_t bytes, Text *out) {
    if (bytes < 10240)
        text_printf(out, "%zu bytes", bytes);
    else if (bytes < (size_t)10 << 20)
        text_printf(out, "%.1f KiB", (double)bytes / 1024);
    else
        text_printf(out, "%.1f MiB", (double)bytes / (1 << 20));
}

static const char *metadata(const Model *model, const char *key) {
    for (int i = 0; i < model->metadata_count; i++) {
        if (strcmp(model->metadata[i].key, key) == 0)
            return model->metadata[i].value;
    }
    return NULL;
}

/* Domains other than ONNX's own, with the versions in force. */
static void print_domains(const Census *census, Text *out) {
    for (size_t i = 0; i < census->count; i++) {
        const char *domain = census->list[i]->domain;
        bool seen = domain[0] == 0;
        for (size_t k = 0; k < i; k++)
            seen = seen || strcmp(census->list[k]->domain, domain) == 0;
        if (!seen)
            text_printf(out, ", %s %d", domain, census->list[i]->opset);
    }
}

static void print_head(const Model *model, const Census *census, Text *out) {
    if (model->path[0])
        text_printf(out, "file:       %s\n", model->path);
    text_put(out, "size:       ");
    print_bytes(model->file_bytes, out);
    text_printf(out, "\nIR version: %lld\n", (long long)model->ir_version);
    const char *producer = metadata(model, "producer_name"), *version = metadata(model, "producer_version");
    if (producer && producer[0])
        text_printf(out, "producer:   %s%s%s\n", producer, version && version[0] ? " " : "", version ? version : "");
    text_printf(out, "opset:      %d", model->opset);
    print_domains(census, out);
    text_printf(out, "\nparameters: %lld (", (long long)census->parameters);
    print_bytes(census->parameter_bytes, out);
    text_put(out, ")\n");
}

static void print_values(const Model *model, const char *title, Value *const *values, int count, Text *out) {
    text_printf(out, "%s:\n", title);
    for (int i = 0; i < count; i++) {
        if (values[i]->is_input && values[i]->is_initializer && strcmp(title, "inputs") == 0)
            continue;
        text_printf(out, "  %s: ", values[i]->name);
        type_print(model->symbols, &values[i]->type, out);
        text_char(out, '\n');
    }
}

static void print_operators(Census *census, Text *out) {
    if (census->count)
        qsort(census->list, census->count, sizeof *census->list, compare_tallies);
    text_printf(out, "operators:  %zu nodes\n", census->nodes);
    for (size_t i = 0; i < census->count; i++) {
        const Tally *tally = census->list[i];
        text_printf(out, "  %6d %s%s%s\n", tally->nodes, tally->domain, tally->domain[0] ? ":" : "", tally->op);
    }
}

static whet_status print_report(Model *model, Census *census, const Refusals *refusals, Text *out, whet_error *err) {
    const Graph *graph = model->graph;
    print_head(model, census, out);
    print_values(model, "inputs", graph->inputs, graph->input_count, out);
    print_values(model, "outputs", graph->outputs, graph->output_count, out);
    print_operators(census, out);
    if (refusals->count) {
        text_put(out, "not supported:\n");
        refusals_print(refusals, "  ", out);
        text_char(out, '\n');
    } else {
        text_put(out, "everything in it is supported\n");
    }
    return out->failed ? error_memory(err) : refusals_status(refusals, err);
}

whet_status graph_report(Model *model, Text *out, whet_error *err) {
    whet_error local;
    err = err ? err : &local;
    Census census = {0};
    Refusals refusals;
    arena_init(&census.arena, model->arena.allocator);
    map_init(&census.by_op, &census.arena);
    refusals_init(&refusals, model->arena.allocator);
    whet_status status = count_graph(&census, model->graph) ? WHET_OK : error_memory(err); /* of the file, not of what we make */
    if (!status)
        status = resolve_nodes(model, &refusals, err);
    if (!status)
        status = infer_model(model, &refusals, REPORT_FOLD_BYTES, false, err);
    if (!status)
        status = print_report(model, &census, &refusals, out, err);
    refusals_free(&refusals);
    arena_free(&census.arena);
    return status;
}
