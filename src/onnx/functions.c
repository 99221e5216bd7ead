/* A model's own functions, inlined where they are called.
 *
 * What a call expands to is counted before anything is built: a function that calls itself, however indirectly, has no end, and
 * a few that double each other make a million nodes of a hundred bytes. Both are refused.
 */
#include "onnx/build.h"

#include <inttypes.h>
#include <string.h>

/* What identifies a function: domain, name and overload, told apart by bytes that no name holds. */
static char *function_key(const Reader *reader, Str domain, Str name, Str overload, size_t *length) {
    Str canonical = domain_canonical(domain);
    size_t whole = canonical.length + name.length + overload.length + 2;
    char *key = arena_alloc(reader->arena, whole, 1); /* zeroed */
    if (!key)
        return NULL;
    memcpy(key, canonical.data, canonical.length);
    if (name.length)
        memcpy(key + canonical.length + 1, name.data, name.length);
    if (overload.length)
        memcpy(key + canonical.length + name.length + 2, overload.data, overload.length);
    *length = whole;
    return key;
}

static bool add_function(Reader *reader, Str message) {
    Function *function = ARENA_NEW(reader->arena, Function);
    if (!function)
        return wire_fail_memory(reader->wire);
    FunctionProto *proto = &function->proto;
    if (!READ(reader->wire, FunctionProto, message, proto))
        return false;
    if (proto->name.length == 0)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "a function has no name");
    size_t length;
    char *key = function_key(reader, proto->domain, proto->name, proto->overload, &length);
    function->label = arena_printf(reader->arena, "%.*s.%.*s", SHOWN(proto->domain), SHOWN(proto->name));
    if (!key || !function->label)
        return wire_fail_memory(reader->wire);
    if (map_get(&reader->functions, key, length))
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "function %s is defined twice", function->label);
    if (!opsets_read(reader, proto->opset_import, &function->opsets))
        return wire_fail_in(reader->wire, "function %s", function->label);
    return map_put(&reader->functions, key, length, function) || wire_fail_memory(reader->wire);
}

bool functions_read(Reader *reader, Many list) {
    map_init(&reader->functions, reader->arena);
    for (Str bytes; many_next(&list, &bytes);)
        if (!add_function(reader, bytes))
            return false;
    return true;
}

Function *function_find(const Reader *reader, const NodeProto *node) {
    if (reader->functions.count == 0)
        return NULL;
    size_t length;
    char *key = function_key(reader, node->domain, node->op_type, node->overload, &length);
    return key ? map_get(&reader->functions, key, length) : NULL;
}

/* ---- cost ----------------------------------------------------------------------------------------------------------------- */

static bool function_cost(Reader *reader, Function *function, int depth);
static bool nodes_cost(Reader *reader, Many nodes, int depth, uint64_t *cost);

/* Bytes that reading the attribute makes, in elements. What a tensor has in raw_data is used where it lies. */
static bool attr_cost(Reader *reader, Str message, int depth, uint64_t *cost) {
    AttributeProto attr;
    if (!READ(reader->wire, AttributeProto, message, &attr))
        return false;
    size_t bytes = message.length;
    if (attr.t.data) {
        TensorProto tensor;
        if (!READ(reader->wire, TensorProto, attr.t, &tensor))
            return false;
        bytes -= tensor.raw_data.length >= ALIGN_LATER ? tensor.raw_data.length : 0;
    }
    *cost += 1 + bytes / 16;
    GraphProto graph;
    return !attr.g.data || (READ(reader->wire, GraphProto, attr.g, &graph) && nodes_cost(reader, graph.node, depth + 1, cost));
}

static bool node_cost(Reader *reader, const NodeProto *node, int depth, uint64_t *cost) {
    *cost += 1 + node->input.count + node->output.count;
    Many attrs = node->attribute;
    for (Str bytes; many_next(&attrs, &bytes);)
        if (!attr_cost(reader, bytes, depth, cost))
            return false;
    Function *called = function_find(reader, node);
    if (!called)
        return true;
    if (!function_cost(reader, called, depth + 1))
        return false;
    *cost += called->cost;
    return true;
}

static bool nodes_cost(Reader *reader, Many nodes, int depth, uint64_t *cost) {
    if (depth > DEPTH_LIMIT)
        return wire_fail(reader->wire, WHET_ERROR_UNSUPPORTED, "subgraphs and functions nested deeper than %d", DEPTH_LIMIT);
    for (Str bytes; many_next(&nodes, &bytes);) {
        NodeProto node;
        if (!READ(reader->wire, NodeProto, bytes, &node) || !node_cost(reader, &node, depth, cost))
            return false;
        if (*cost > INLINE_LIMIT)
            return wire_fail(reader->wire, WHET_ERROR_UNSUPPORTED, "it expands to more than %d nodes and operands", INLINE_LIMIT);
    }
    return true;
}

/* Sets function->cost, once. */
static bool function_cost(Reader *reader, Function *function, int depth) {
    if (function->visit == VISIT_DONE)
        return true;
    if (function->visit == VISIT_OPEN)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "function %s calls itself", function->label);
    function->visit = VISIT_OPEN;
    if (!nodes_cost(reader, function->proto.node, depth, &function->cost))
        return wire_fail_in(reader->wire, "function %s", function->label);
    function->visit = VISIT_DONE;
    return true;
}

bool function_charge(Reader *reader, Function *function) {
    if (!function_cost(reader, function, 1))
        return false;
    reader->inlined += function->cost;
    if (reader->inlined > INLINE_LIMIT)
        return wire_fail(reader->wire, WHET_ERROR_UNSUPPORTED,
                         "the model's function calls expand to more than %d nodes and operands", INLINE_LIMIT);
    return true;
}

/* ---- inlining ------------------------------------------------------------------------------------------------------------- */

static bool bind_inputs(Reader *reader, Scope *scope, const Function *function, const NodeProto *node, Value **inputs) {
    Many names = function->proto.input;
    if (node->input.count > names.count)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "%zu inputs, function %s has %zu", node->input.count, function->label,
                         names.count);
    size_t i = 0;
    for (Str name; many_next(&names, &name); i++) {
        Value *given = i < node->input.count ? inputs[i] : NULL;
        if (name.length == 0 || map_get(&scope->values, name.data, name.length))
            return wire_fail(reader->wire, WHET_ERROR_FORMAT, "input '%.*s' of function %s: no name, or given twice", SHOWN(name),
                             function->label);
        if (!map_put(&scope->values, name.data, name.length, given ? given : &reader->omitted))
            return wire_fail_memory(reader->wire);
    }
    return true;
}

/* A formal output that a node of the body makes is the caller's value itself. `bound` holds the outputs bound so. */
static bool bind_outputs(Reader *reader, const Function *function, const NodeProto *node, Value **outputs, Map *bound) {
    Many names = function->proto.output;
    if (node->output.count > names.count)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "%zu outputs, function %s has %zu", node->output.count, function->label,
                         names.count);
    map_init(bound, reader->arena);
    size_t i = 0;
    for (Str name; many_next(&names, &name); i++) {
        bool fresh = name.length && i < node->output.count && outputs[i] && !map_get(bound, name.data, name.length);
        if (fresh && !map_put(bound, name.data, name.length, outputs[i]))
            return wire_fail_memory(reader->wire);
    }
    return true;
}

/* A value of the body that the caller does not know, under a name that is free in the graph. */
static Value *declare_inner(Reader *reader, const Scope *scope, Str name, uint64_t call) {
    for (;; call++) {
        char *text =
            arena_printf(reader->arena, "%.*s:%" PRIu64, (int)(name.length < 4096 ? name.length : 4096), name.data, call);
        if (!text)
            return NULL;
        size_t length = strlen(text);
        if (map_get(scope->names, text, length))
            continue;
        Value *value = graph_value(scope->graph, text);
        return value && map_put(scope->names, text, length, value) ? value : NULL;
    }
}

static bool declare_body(Reader *reader, Scope *scope, Many nodes, const Map *bound, uint64_t call) {
    for (Str bytes; many_next(&nodes, &bytes);) {
        NodeProto node;
        if (!READ(reader->wire, NodeProto, bytes, &node))
            return false;
        for (Str name; many_next(&node.output, &name);) {
            if (name.length == 0)
                continue;
            if (map_get(&scope->values, name.data, name.length))
                return wire_fail(reader->wire, WHET_ERROR_FORMAT, "value '%.*s' is defined twice", SHOWN(name));
            Value *value = map_get(bound, name.data, name.length);
            value = value ? value : declare_inner(reader, scope, name, call);
            if (!value || !map_put(&scope->values, name.data, name.length, value))
                return wire_fail_memory(reader->wire);
        }
    }
    return true;
}

/* Outputs that are inputs of the function, or the same value once more, need a node of their own. */
static bool finish_outputs(Reader *reader, const Scope *scope, const Function *function, const NodeProto *node, Value **outputs) {
    Many names = function->proto.output;
    size_t i = 0;
    for (Str name; many_next(&names, &name); i++) {
        Value *made = NULL;
        if (i >= node->output.count || !outputs[i])
            continue;
        if (!value_find(reader, scope, name, &made))
            return false;
        if (!made)
            return wire_fail(reader->wire, WHET_ERROR_FORMAT, "output '%.*s' is an input that the call omits", SHOWN(name));
        if (made != outputs[i] && !identity_add(reader, scope, made, outputs[i]))
            return false;
    }
    return true;
}

static bool read_call(Reader *reader, const Scope *caller, const Function *function, const NodeProto *node, Call *call) {
    const FunctionProto *proto = &function->proto;
    if (node->attribute.count > ATTR_LIMIT || proto->attribute_proto.count > ATTR_LIMIT)
        return wire_fail(reader->wire, WHET_ERROR_UNSUPPORTED, "more than %d attributes", ATTR_LIMIT);
    call->function = function;
    call->attrs = ARENA_ARRAY(reader->arena, Attr, node->attribute.count + proto->attribute_proto.count);
    if (!call->attrs)
        return wire_fail_memory(reader->wire);
    int given, defaults;
    Scope outside = {.graph = caller->graph, .opsets = &function->opsets, .depth = caller->depth};
    if (!attrs_read(reader, caller, NULL, &node->attribute, call->attrs, &given) ||
        !attrs_read(reader, &outside, NULL, &proto->attribute_proto, call->attrs + given, &defaults))
        return false;
    call->attr_count = given + defaults;
    return true;
}

bool function_inline(Reader *reader, const Scope *caller, Function *function, const NodeProto *node, Value **inputs,
                     Value **outputs) {
    const FunctionProto *proto = &function->proto;
    if (caller->depth >= DEPTH_LIMIT)
        return wire_fail(reader->wire, WHET_ERROR_UNSUPPORTED, "subgraphs and functions nested deeper than %d", DEPTH_LIMIT);
    Call call = {0};
    Map bound;
    Scope scope = {.graph = caller->graph, .names = caller->names, .opsets = &function->opsets, .depth = caller->depth + 1};
    map_init(&scope.values, reader->arena);
    map_init(&scope.constants, reader->arena);
    bool fine = read_call(reader, caller, function, node, &call) && bind_inputs(reader, &scope, function, node, inputs) &&
                bind_outputs(reader, function, node, outputs, &bound) &&
                declare_body(reader, &scope, proto->node, &bound, ++reader->call_count);
    scope.call = &call;
    fine = fine && nodes_read(reader, &scope, proto->node) && finish_outputs(reader, &scope, function, node, outputs);
    return fine || wire_fail_in(reader->wire, "function %s", function->label);
}
