/* Inference of If, Loop and Scan: what a subgraph's inputs are known to be, what its outputs say of the node's, and an If of
 * known condition dissolved into the graph around it.
 *
 * Of what a loop carries from turn to turn only the element type is sure: its shape may change. */
#include "graph/infer.h"

#include <string.h>

bool control_has_graphs(const Node *node) {
    for (int i = 0; i < node->attr_count; i++) {
        if (node->attrs[i].kind == ATTR_GRAPH && node->attrs[i].graph)
            return true;
    }
    return false;
}

static Graph *graph_attr(const Node *node, const char *name) {
    const Attr *attr = node_attr(node, name);
    return attr && attr->kind == ATTR_GRAPH ? attr->graph : NULL;
}

static bool is_op(const Node *node, const char *op) {
    return node->domain[0] == 0 && strcmp(node->op, op) == 0;
}

Graph *control_branch(const Node *node) {
    if (!is_op(node, "If") || node->input_count != 1 || !node->inputs[0])
        return NULL;
    const Tensor *condition = node->inputs[0]->type.constant;
    if (!condition || condition->type != WHET_BOOL || whet_tensor_count(condition) != 1)
        return NULL;
    return graph_attr(node, *(const uint8_t *)condition->data ? "then_branch" : "else_branch");
}

/* ---- A branch dissolved ------------------------------------------------------------------------------------------------ */

/* Infer.names for `graph`. Names are unique in their graph: one that is taken gets a number. */
static bool collect_names(Infer *infer, const Graph *graph) {
    if (infer->named == graph)
        return true;
    arena_free(&infer->name_arena);
    map_init(&infer->names, &infer->name_arena);
    infer->named = graph;
    for (size_t i = 0; i < graph->value_count; i++) {
        if (!map_put(&infer->names, graph->values[i]->name, strlen(graph->values[i]->name), graph->values[i]))
            return false;
    }
    return true;
}

static bool add_name(Infer *infer, Value *value) {
    const char *name = value->name;
    while (name && map_get(&infer->names, name, strlen(name)))
        name = arena_printf(&infer->model->arena, "%s_%d", value->name, ++infer->renamed);
    if (!name || !map_put(&infer->names, name, strlen(name), value))
        return false;
    value->name = name;
    return true;
}

bool control_adopt(Infer *infer, Graph *graph, Graph *branch) {
    Arena *arena = &infer->model->arena;
    size_t need = graph->value_count + branch->value_count;
    bool fine =
        collect_names(infer, graph) && arena_grow(arena, &graph->values, &graph->value_capacity, need, sizeof *graph->values);
    for (size_t i = 0; fine && i < branch->value_count; i++) {
        Value *value = branch->values[i];
        fine = add_name(infer, value);
        value->graph = graph;
        value->id = (int)graph->value_count;
        graph->values[graph->value_count++] = value;
    }
    for (size_t i = 0; i < branch->node_count; i++) {
        Node *node = branch->nodes[i];
        node->graph = graph;
        for (int a = 0; a < node->attr_count; a++) {
            if (node->attrs[a].kind == ATTR_GRAPH && node->attrs[a].graph)
                node->attrs[a].graph->parent = graph;
        }
    }
    branch->node_count = 0;
    branch->value_count = 0;
    return fine;
}

/* ---- Types into subgraphs ---------------------------------------------------------------------------------------------- */

/* A body's input: of the type that comes in, or as declared. */
static void set_input(Value *input, DType type) {
    DType declared = input->type.type;
    input->type = (Type){.type = type != DT_NONE ? type : declared, .rank = -1};
}

static void set_body_inputs(const Node *node, Graph *body) {
    bool loop = is_op(node, "Loop");
    for (int i = 0; i < body->input_count; i++) {
        const Value *given = i < node->input_count ? node->inputs[i] : NULL;
        DType type = given ? given->type.type : DT_NONE;
        if (loop && i < 2) /* the number of the turn, and the condition */
            type = i == 0 ? DT_S64 : DT_BOOL;
        if (!body->inputs[i]->is_initializer)
            set_input(body->inputs[i], type);
    }
}

whet_status control_infer_bodies(Infer *infer, Node *node, int nesting) {
    if (!node->row || !control_has_graphs(node))
        return WHET_OK;
    if (nesting >= GRAPH_MAX_NESTING)
        return error_set(&infer->err, WHET_ERROR_UNSUPPORTED, "subgraphs nested deeper than %d", GRAPH_MAX_NESTING);
    for (int i = 0; i < node->attr_count; i++) {
        Graph *body = node->attrs[i].kind == ATTR_GRAPH ? node->attrs[i].graph : NULL;
        if (!body)
            continue;
        set_body_inputs(node, body);
        whet_status status = infer_graph(infer, body, nesting + 1);
        if (status)
            return status;
    }
    return WHET_OK;
}

/* ---- Types out of subgraphs -------------------------------------------------------------------------------------------- */

/* What holds for both. */
static Type meet(const Type *a, const Type *b) {
    Type out = {.type = a->type == DT_NONE ? b->type : a->type, .rank = a->rank == b->rank ? a->rank : -1};
    if (b->type != DT_NONE && b->type != out.type)
        out.type = DT_NONE;
    for (int i = 0; i < out.rank; i++)
        out.dims[i] = a->dims[i] == b->dims[i] ? a->dims[i] : DIM_UNKNOWN;
    return out;
}

static void set_output(OpCall *call, int output, const Type *type) {
    Type *out = &call->out[output];
    if (out->type == DT_NONE)
        out->type = type->type;
    if (out->rank < 0 && type->rank >= 0)
        op_set_shape(call, output, type->rank, type->dims);
}

static void set_if_outputs(OpCall *call) {
    const Graph *yes = graph_attr(call->node, "then_branch"), *no = graph_attr(call->node, "else_branch");
    for (int i = 0; yes && no && i < call->out_count && i < yes->output_count && i < no->output_count; i++) {
        Type both = meet(&yes->outputs[i]->type, &no->outputs[i]->type);
        set_output(call, i, &both);
    }
}

/* Output i is what the loop carries in input first_in + i, or what it gathers: one element a turn. */
static void set_loop_outputs(OpCall *call, const Graph *body, int first_in, int first_out, int carried) {
    for (int i = 0; i < call->out_count && first_out + i < body->output_count; i++) {
        const Type *made = &body->outputs[first_out + i]->type;
        Type type = {.type = made->type, .rank = -1};
        if (i < carried && first_in + i < call->in_count && call->in[first_in + i])
            type = meet(made, call->in[first_in + i]);
        set_output(call, i, &type);
    }
}

void control_set_outputs(OpCall *call) {
    const Node *node = call->node;
    if (is_op(node, "If"))
        set_if_outputs(call);
    const Graph *body = graph_attr(node, "body");
    if (body && is_op(node, "Loop"))
        set_loop_outputs(call, body, 2, 1, call->in_count - 2);
    if (body && is_op(node, "Scan"))
        set_loop_outputs(call, body, 0, 0, call->in_count - (int)node_int(node, "num_scan_inputs", 0));
}
