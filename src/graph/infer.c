/* Types of all values: the shape rule of every node in order, on symbolic shapes, folding as it goes.
 *
 * Requires: resolved and sorted graphs. Recreates: every Value.type. Breaks: nodes whose outputs turn out constant are dropped
 * with all that no output needs any more; an If whose condition is constant gives way to its branch.
 *
 * What counts as known:
 *   - element types and shapes of graph inputs as declared (a session checks them when it runs), and constants;
 *   - what rules derive from that. A declared shape of an intermediate value is *not* believed: files carry stale ones, and a
 *     stale number would be folded into a wrong answer. A declared element type is checked, and used where a rule has none.
 *
 * A shape error in the main graph is sure to happen at run time and refuses the model; in a subgraph it may sit in a branch that
 * is never taken, and only makes the node's outputs unknown.
 */
#include "graph/infer.h"

#include <assert.h>
#include <string.h>

#define FOLD_BYTES ((size_t)128 << 20) /* that folded constants of one model may take */
#define FOLD_WORK  2e9                 /* elementary operations that folding one model may take */

static whet_status fail_memory(Infer *infer) {
    return error_memory(&infer->err);
}

/* What inference knows of an initializer. */
static void set_constant_type(Type *type, const Tensor *tensor) {
    *type = (Type){.type = (DType)tensor->type, .rank = tensor->rank, .constant = tensor};
    memcpy(type->dims, tensor->dims, (size_t)tensor->rank * sizeof *tensor->dims);
}

static OpCall *new_call(Infer *infer, Node *node) {
    OpCall *call = ARENA_NEW(&infer->scratch, OpCall);
    const Type **in = ARENA_ARRAY(&infer->scratch, const Type *, (size_t)node->input_count);
    Type *out = ARENA_ARRAY(&infer->scratch, Type, (size_t)node->output_count);
    if (!call || !in || !out)
        return NULL;
    for (int i = 0; i < node->input_count; i++)
        in[i] = node->inputs[i] ? &node->inputs[i]->type : NULL;
    for (int i = 0; i < node->output_count; i++)
        out[i].rank = -1;
    *call = (OpCall){.node = node,
                     .row = node->row,
                     .arena = &infer->scratch,
                     .symbols = infer->model->symbols,
                     .err = &infer->err,
                     .opset = node->opset,
                     .in_count = node->input_count,
                     .out_count = node->output_count,
                     .in = in,
                     .out = out};
    return call;
}

/* A rule's result as a Value.type may hold it: no negative extents, contents that fit, nothing in scratch memory. */
static bool keep_type(Infer *infer, Type *type) {
    if (type->rank > WHET_MAX_RANK || type->rank < 0)
        type->rank = -1;
    for (int i = 0; i < type->rank; i++) {
        if (dim_is_number(type->dims[i]) && type->dims[i] < 0)
            type->dims[i] = DIM_UNKNOWN;
    }
    if (type->constant || !type->content)
        return true;
    bool fits = type->rank == 0 ? type->content_count == 1 : type->rank == 1 ? type->dims[0] == type->content_count : false;
    type->content = fits ? arena_copy(&infer->model->arena, type->content, (size_t)type->content_count * sizeof(Dim)) : NULL;
    type->content_count = fits ? type->content_count : 0;
    return type->content || !fits;
}

static whet_status store_output(Infer *infer, Value *value, Type *type) {
    DType declared = value->type.type;
    if (type->type != DT_NONE && declared != DT_NONE && type->type != declared)
        return error_set(&infer->err, WHET_ERROR_FORMAT, "output '%s' is declared as %s and computed as %s", value->name,
                         dtype_name(declared), dtype_name(type->type));
    if (type->type == DT_NONE)
        type->type = declared;
    if (!keep_type(infer, type))
        return fail_memory(infer);
    value->type = *type;
    return WHET_OK;
}

/* True if every output of the node is a constant now: they have no producer any more. */
static bool take_constants(Node *node) {
    for (int i = 0; i < node->output_count; i++) {
        if (node->outputs[i] && !node->outputs[i]->type.constant)
            return false;
    }
    for (int i = 0; i < node->output_count; i++) {
        if (node->outputs[i]) {
            node->outputs[i]->producer = NULL;
            node->outputs[i]->is_initializer = true;
        }
    }
    return true;
}

/* The row's rule. WHET_OK with unknown outputs where it refuses or, in a subgraph, fails. */
static whet_status apply_rule(Infer *infer, OpCall *call, int nesting) {
    whet_status status = op_infer(call);
    if (!status) {
        control_set_outputs(call);
        fold_call(infer, call);
        return WHET_OK;
    }
    for (int i = 0; i < call->out_count; i++) /* element types follow from the signature, if that much was right */
        call->out[i] = (Type){.type = status == WHET_ERROR_UNSUPPORTED ? DT_NONE : call->out[i].type, .rank = -1};
    if (status == WHET_ERROR_UNSUPPORTED)
        return refusals_add(infer->refusals, call->node, infer->err.message) ? WHET_OK : fail_memory(infer);
    bool may_not_happen = nesting > 0 && (status == WHET_ERROR_DATA || status == WHET_ERROR_FORMAT);
    return may_not_happen ? WHET_OK : status;
}

static whet_status infer_operands(Infer *infer, Node *node, int nesting) {
    OpCall *call = new_call(infer, node);
    if (!call)
        return fail_memory(infer);
    whet_status status = node->row ? apply_rule(infer, call, nesting) : WHET_OK;
    for (int i = 0; !status && i < node->output_count; i++) {
        if (node->outputs[i])
            status = store_output(infer, node->outputs[i], &call->out[i]);
    }
    return status;
}

/* Appends the node to `out` unless it has become constant. */
static whet_status infer_node(Infer *infer, Node *node, int nesting, NodeList *out) {
    whet_status status = control_infer_bodies(infer, node, nesting);
    if (status)
        return status; /* it names the node inside */
    status = infer_operands(infer, node, nesting);
    if (infer->scratch.failed)
        status = fail_memory(infer); /* whatever it looked like to the rule */
    arena_reset(&infer->scratch);
    char label[256];
    if (status)
        return error_prefix(&infer->err, "%s", node_label(node, label, sizeof label));
    if (node->row && node->output_count && take_constants(node))
        return WHET_OK;
    if (!arena_grow(&infer->model->arena, &out->nodes, &out->capacity, out->count + 1, sizeof node))
        return fail_memory(infer);
    out->nodes[out->count++] = node;
    return WHET_OK;
}

static whet_status infer_list(Infer *infer, Graph *graph, Node **nodes, size_t count, int nesting, NodeList *out);

/* `value` becomes Identity(from). */
static whet_status rename_output(Infer *infer, Node *owner, Value *value, Value *from, int nesting, NodeList *out) {
    Node *node = graph_node(owner->graph, "", "Identity", 1, 1, 0);
    if (!node)
        return fail_memory(infer);
    node->name = owner->name;
    node->number = owner->number;
    node->opset = owner->opset;
    node->row = op_find("", "Identity", node->opset, NULL);
    node->inputs[0] = from;
    node->outputs[0] = value;
    value->producer = node;
    value->producer_output = 0;
    return infer_node(infer, node, nesting, out);
}

/* An If whose condition is known: the branch's nodes take its place. */
static whet_status infer_branch(Infer *infer, Node *node, Graph *branch, int nesting, NodeList *out) {
    char label[256];
    if (branch->output_count != node->output_count)
        return error_set(&infer->err, WHET_ERROR_FORMAT, "%s: a branch has %d outputs; wanted %d",
                         node_label(node, label, sizeof label), branch->output_count, node->output_count);
    Node **nodes = branch->nodes;
    size_t count = branch->node_count;
    if (!control_adopt(infer, node->graph, branch))
        return fail_memory(infer);
    whet_status status = infer_list(infer, node->graph, nodes, count, nesting, out);
    for (int i = 0; !status && i < node->output_count; i++) {
        if (node->outputs[i])
            status = rename_output(infer, node, node->outputs[i], branch->outputs[i], nesting, out);
    }
    return status;
}

static whet_status infer_list(Infer *infer, Graph *graph, Node **nodes, size_t count, int nesting, NodeList *out) {
    for (size_t i = 0; i < count; i++) {
        assert(nodes[i]->graph == graph);
        Graph *branch = nodes[i]->row ? control_branch(nodes[i]) : NULL;
        if (branch && !op_find("", "Identity", nodes[i]->opset, NULL))
            branch = NULL;
        whet_status status =
            branch ? infer_branch(infer, nodes[i], branch, nesting, out) : infer_node(infer, nodes[i], nesting, out);
        if (status)
            return status;
    }
    (void)graph;
    return WHET_OK;
}

whet_status infer_graph(Infer *infer, Graph *graph, int nesting) {
    for (size_t i = 0; i < graph->value_count; i++) {
        Value *value = graph->values[i];
        if (value->is_initializer && value->type.constant)
            set_constant_type(&value->type, value->type.constant);
        if (value->stored_half)
            value->type.type = DT_F32;
        value->type.content = NULL;
        value->type.content_count = 0;
    }
    NodeList out = {0};
    whet_status status = infer_list(infer, graph, graph->nodes, graph->node_count, nesting, &out);
    if (status)
        return status;
    graph->nodes = out.nodes;
    graph->node_count = out.count;
    graph->node_capacity = out.capacity;
    return WHET_OK;
}

/* What the file says of its outputs' shapes is shown where inference knows nothing. Nothing is inferred from it. */
typedef struct Declared {
    int rank;
    Dim dims[WHET_MAX_RANK];
} Declared;

static Declared *save_outputs(Arena *arena, const Graph *graph) {
    Declared *saved = ARENA_ARRAY(arena, Declared, (size_t)graph->output_count);
    for (int i = 0; saved && i < graph->output_count; i++) {
        const Type *type = &graph->outputs[i]->type;
        saved[i].rank = type->rank;
        memcpy(saved[i].dims, type->dims, sizeof type->dims);
    }
    return saved;
}

static void fill_outputs(const Graph *graph, const Declared *saved) {
    for (int i = 0; i < graph->output_count; i++) {
        Type *type = &graph->outputs[i]->type;
        if (type->rank < 0 && saved[i].rank >= 0) {
            type->rank = saved[i].rank;
            memcpy(type->dims, saved[i].dims, sizeof type->dims);
        }
        for (int d = 0; d < type->rank && type->rank == saved[i].rank; d++) {
            if (type->dims[d] == DIM_UNKNOWN)
                type->dims[d] = saved[i].dims[d];
        }
    }
}

static whet_status infer_all(Infer *infer) {
    Graph *graph = infer->model->graph;
    Arena kept;
    arena_init(&kept, infer->model->arena.allocator);
    Declared *saved = save_outputs(&kept, graph);
    if (!saved)
        return fail_memory(infer);
    graph_prune(graph);
    whet_status status = infer_graph(infer, graph, 0);
    if (!status) {
        graph_prune(graph);
        fill_outputs(graph, saved);
    }
    arena_free(&kept);
    return status;
}

whet_status infer_model(Model *model, Refusals *refusals, size_t fold_limit, bool keep_quantized, whet_error *err) {
    Infer infer = {
        .model = model, .refusals = refusals, .fold_limit = fold_limit, .fold_work = FOLD_WORK, .keep_quantized = keep_quantized};
    error_clear(&infer.err);
    arena_init(&infer.scratch, model->arena.allocator);
    arena_init(&infer.name_arena, model->arena.allocator);
    whet_status status = infer_all(&infer);
    arena_free(&infer.name_arena);
    arena_free(&infer.scratch);
    if (model->arena.failed)
        status = error_memory(&infer.err);
    if (status && err)
        *err = infer.err;
    return status;
}

static whet_status infer_whole(Model *model, bool keep_quantized, whet_error *err) {
    Refusals refusals;
    refusals_init(&refusals, model->arena.allocator);
    whet_status status = infer_model(model, &refusals, FOLD_BYTES, keep_quantized, err);
    if (!status)
        status = refusals_status(&refusals, err);
    refusals_free(&refusals);
#ifdef WHET_CHECK_PASSES
    if (!status)
        status = graph_check(model->graph, "infer", err);
#endif
    return status;
}

whet_status graph_infer(Model *model, whet_error *err) {
    return infer_whole(model, false, err);
}

whet_status graph_infer_loosely(Model *model, whet_error *err) {
    return infer_whole(model, true, err);
}
