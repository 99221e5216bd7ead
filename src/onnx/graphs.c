/* GraphProto -> Graph: values first, by name, then the nodes that link them, so that nodes may stand in any order.
 *
 * A name means one value of its graph. A subgraph sees the names of the graphs around it; its own names hide theirs.
 */
#include "onnx/build.h"

#include <limits.h>
#include <string.h>

/* Refuses a name that is taken. */
static bool declare(Reader *reader, Scope *scope, Str name, Value **out) {
    const Value *before = map_get(&scope->values, name.data, name.length);
    if (before)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "value '%.*s' is defined twice%s", SHOWN(name),
                         before->is_input         ? ": it is an input"
                         : before->is_initializer ? ": it is an initializer"
                                                  : "");
    char *text = reader_string(reader, name);
    *out = text ? graph_value(scope->graph, text) : NULL;
    if (!*out || !map_put(&scope->values, (*out)->name, name.length, *out))
        return wire_fail_memory(reader->wire);
    return true;
}

bool value_find(const Reader *reader, const Scope *scope, Str name, Value **out) {
    *out = NULL;
    if (name.length == 0)
        return true;
    for (; scope && !*out; scope = scope->parent)
        *out = map_get(&scope->values, name.data, name.length);
    if (!*out)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "value '%.*s' is read, but nothing defines it", SHOWN(name));
    if (*out == &reader->omitted)
        *out = NULL;
    return true;
}

/* ---- inputs, initializers, declared types --------------------------------------------------------------------------------- */

/* Only an input of the whole model has symbols for dimensions of unknown extent: each run may bind them anew. */
static bool read_input(Reader *reader, Scope *scope, const ValueInfoProto *info, Value **out) {
    if (info->name.length == 0)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it has no name");
    if (!declare(reader, scope, info->name, out))
        return false;
    (*out)->is_input = true;
    bool main_graph = !scope->parent;
    if (info->type.data && !type_read(reader, info->type, main_graph ? (*out)->name : NULL, &(*out)->type))
        return false;
    if (main_graph && (*out)->type.type == DT_NONE)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it has no element type");
    return true;
}

static bool read_inputs(Reader *reader, Scope *scope, Many list) {
    Graph *graph = scope->graph;
    graph->inputs = ARENA_ARRAY(reader->arena, Value *, list.count);
    if (!graph->inputs || list.count > INT_MAX)
        return wire_fail_memory(reader->wire);
    for (Str bytes; many_next(&list, &bytes);) {
        ValueInfoProto info = {0};
        if (!READ(reader->wire, ValueInfoProto, bytes, &info) ||
            !read_input(reader, scope, &info, &graph->inputs[graph->input_count]))
            return wire_fail_in(reader->wire, "input %d '%.*s'", graph->input_count, SHOWN(info.name));
        graph->input_count++;
    }
    return true;
}

/* An initializer of an input's name is its default. It must be of the declared type; its shape is the truth. Of two initializers
 * of one name the last one counts, as in onnxruntime: files that it reads are read here, and mean the same. */
static bool set_default(Reader *reader, Value *value, const Tensor *tensor) {
    if (value->is_input && value->type.type != DT_NONE && (int)value->type.type != (int)tensor->type)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "its type is %s, the input of that name has %s",
                         dtype_onnx_name((DType)tensor->type), dtype_onnx_name(value->type.type));
    return true;
}

static bool add_initializer(Reader *reader, Scope *scope, Str name, const Tensor *tensor) {
    if (name.length == 0)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it has no name");
    Value *value = map_get(&scope->values, name.data, name.length);
    if (value ? !set_default(reader, value, tensor) : !declare(reader, scope, name, &value))
        return false;
    value->is_initializer = true;
    value->type = (Type){.type = (DType)tensor->type, .rank = tensor->rank, .constant = tensor};
    memcpy(value->type.dims, tensor->dims, sizeof value->type.dims);
    return true;
}

static bool read_initializers(Reader *reader, Scope *scope, Many list) {
    for (Str bytes; many_next(&list, &bytes);) {
        TensorProto proto = {0};
        const Tensor *tensor = READ(reader->wire, TensorProto, bytes, &proto) ? tensor_read(&reader->store, &proto) : NULL;
        if (!tensor || !add_initializer(reader, scope, proto.name, tensor))
            return wire_fail_in(reader->wire, "initializer '%.*s'", SHOWN(proto.name));
    }
    return true;
}

static bool read_sparse_initializers(Reader *reader, Scope *scope, Many list) {
    for (Str bytes; many_next(&list, &bytes);) {
        Str name = {0};
        const Tensor *tensor = tensor_read_sparse(&reader->store, bytes, &name);
        if (!tensor || !add_initializer(reader, scope, name, tensor))
            return wire_fail_in(reader->wire, "sparse initializer '%.*s'", SHOWN(name));
    }
    return true;
}

/* Before IR version 4 every initializer had to be listed as an input, which says nothing: such an input is a constant. */
static void drop_constant_inputs(Graph *graph) {
    int kept = 0;
    for (int i = 0; i < graph->input_count; i++) {
        Value *value = graph->inputs[i];
        value->is_input = !value->is_initializer;
        if (value->is_input)
            graph->inputs[kept++] = value;
    }
    graph->input_count = kept;
}

/* What the file says of values between nodes. It is a hint, for graph_infer finds out itself: types that are not tensors'
 * belong to operators that are refused by name. */
static bool read_value_infos(Reader *reader, Scope *scope, Many list) {
    for (Str bytes; many_next(&list, &bytes);) {
        ValueInfoProto info = {0};
        if (!READ(reader->wire, ValueInfoProto, bytes, &info))
            return wire_fail_in(reader->wire, "value_info '%.*s'", SHOWN(info.name));
        Value *value = info.name.length ? map_get(&scope->values, info.name.data, info.name.length) : NULL;
        if (!value || value->is_input || value->is_initializer || !info.type.data)
            continue;
        if (!type_read(reader, info.type, NULL, &value->type)) {
            if (reader->wire->err->status != WHET_ERROR_UNSUPPORTED)
                return wire_fail_in(reader->wire, "value_info '%.*s'", SHOWN(info.name));
            error_clear(reader->wire->err);
            value->type = (Type){.rank = -1};
        }
    }
    return true;
}

/* ---- nodes ------------------------------------------------------------------------------------------------------------------
 */

static bool is_constant(const NodeProto *node) {
    return node->op_type.length == 8 && memcmp(node->op_type.data, "Constant", 8) == 0 && node->output.count == 1 &&
           domain_canonical(node->domain).length == 0;
}

/* Some exporters write a Constant twice. The last one counts, as in onnxruntime; scope->constants says which that is. */
static bool declare_constant(Reader *reader, Scope *scope, const NodeProto *node, Str message) {
    Value *value;
    Str name;
    Many outputs = node->output;
    many_next(&outputs, &name);
    if (name.length == 0)
        return true;
    if (!map_get(&scope->constants, name.data, name.length) && !declare(reader, scope, name, &value))
        return false;
    return map_put(&scope->constants, name.data, name.length, (void *)(uintptr_t)message.data) || wire_fail_memory(reader->wire);
}

static bool is_superseded(const Scope *scope, const NodeProto *node, Str message) {
    Str name;
    Many outputs = node->output;
    if (!is_constant(node) || !many_next(&outputs, &name))
        return false;
    const char *last = map_get(&scope->constants, name.data, name.length);
    return last && last != message.data;
}

static bool declare_node(Reader *reader, Scope *scope, const NodeProto *node, Str message) {
    if (is_constant(node))
        return declare_constant(reader, scope, node, message);
    Many outputs = node->output;
    Value *value;
    for (Str name; many_next(&outputs, &name);)
        if (name.length && !declare(reader, scope, name, &value))
            return false;
    return true;
}

/* Declares what the nodes put out. Run before any node is read. */
static bool declare_outputs(Reader *reader, Scope *scope, Many nodes) {
    size_t number = 0;
    for (Str bytes; many_next(&nodes, &bytes); number++) {
        NodeProto node = {0};
        if (!READ(reader->wire, NodeProto, bytes, &node) || !declare_node(reader, scope, &node, bytes))
            return wire_fail_in(reader->wire, "%.*s '%.*s' (#%zu)", SHOWN(node.op_type), SHOWN(node.name), number);
    }
    return true;
}

static bool find_all(const Reader *reader, const Scope *scope, Many names, Value **out) {
    for (Str name; many_next(&names, &name);)
        if (!value_find(reader, scope, name, out++))
            return false;
    return true;
}

/* The values a node reads and makes, in arena arrays. Trailing inputs that are omitted are as good as not there. */
static bool find_operands(const Reader *reader, const Scope *scope, const NodeProto *proto, Value ***inputs, int *input_count,
                          Value ***outputs) {
    if (proto->input.count > INT_MAX || proto->output.count > INT_MAX)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "too many operands");
    *inputs = ARENA_ARRAY(reader->arena, Value *, proto->input.count);
    *outputs = ARENA_ARRAY(reader->arena, Value *, proto->output.count);
    if (!*inputs || !*outputs)
        return wire_fail_memory(reader->wire);
    *input_count = (int)proto->input.count;
    if (!find_all(reader, scope, proto->input, *inputs) || !find_all(reader, scope, proto->output, *outputs))
        return false;
    while (*input_count && !(*inputs)[*input_count - 1])
        --*input_count;
    return true;
}

static bool make_node(Reader *reader, const Scope *scope, const NodeProto *proto, Value **inputs, int input_count,
                      Value **outputs) {
    Str domain = domain_canonical(proto->domain);
    int opset;
    if (!opsets_find(scope->opsets, domain, &opset))
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "opset_import does not name its domain \"%.*s\"", SHOWN(domain));
    char *op = reader_string(reader, proto->op_type);
    char *domain_text = reader_string(reader, domain);
    char *name = reader_string(reader, proto->name);
    if (!op || !domain_text || !name)
        return false;
    size_t attr_count = proto->attribute.count <= ATTR_LIMIT ? proto->attribute.count : 0; /* attrs_read refuses more */
    Node *node = graph_node(scope->graph, domain_text, op, input_count, (int)proto->output.count, (int)attr_count);
    if (!node)
        return wire_fail_memory(reader->wire);
    node->name = name;
    node->opset = opset;
    for (int i = 0; i < input_count; i++)
        node->inputs[i] = inputs[i];
    for (int i = 0; i < node->output_count; i++) {
        node->outputs[i] = outputs[i];
        if (outputs[i]) {
            outputs[i]->producer = node;
            outputs[i]->producer_output = i;
        }
    }
    return attrs_read(reader, scope, node, &proto->attribute, node->attrs, &node->attr_count);
}

static bool read_node(Reader *reader, Scope *scope, const NodeProto *proto) {
    Value **inputs, **outputs;
    int input_count;
    if (proto->op_type.length == 0)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it has no op_type");
    if (!find_operands(reader, scope, proto, &inputs, &input_count, &outputs))
        return false;
    Function *function = function_find(reader, proto);
    if (!function)
        return make_node(reader, scope, proto, inputs, input_count, outputs);
    return (scope->call || function_charge(reader, function)) && function_inline(reader, scope, function, proto, inputs, outputs);
}

bool nodes_read(Reader *reader, Scope *scope, Many nodes) {
    size_t number = 0;
    for (Str bytes; many_next(&nodes, &bytes); number++) {
        NodeProto proto;
        if (!READ(reader->wire, NodeProto, bytes, &proto))
            return false;
        if (!is_superseded(scope, &proto, bytes) && !read_node(reader, scope, &proto))
            return wire_fail_in(reader->wire, "%.*s '%.*s' (#%zu)", SHOWN(proto.op_type), SHOWN(proto.name), number);
    }
    return true;
}

bool identity_add(Reader *reader, const Scope *scope, Value *from, Value *to) {
    Node *node = graph_node(scope->graph, "", "Identity", 1, 1, 0);
    if (!node)
        return wire_fail_memory(reader->wire);
    node->opset = reader->model->opset ? reader->model->opset : 13; /* a model may import other domains alone */
    node->inputs[0] = from;
    node->outputs[0] = to;
    to->producer = node;
    to->producer_output = 0;
    return true;
}

/* ---- outputs ----------------------------------------------------------------------------------------------------------------
 */

/* A subgraph may put out a value of a graph around it: as a copy, for a graph's outputs are its own. */
static bool own_output(Reader *reader, Scope *scope, Str name, Value **value) {
    if ((*value)->graph == scope->graph)
        return true;
    Value *copy, *outer = *value;
    if (!declare(reader, scope, name, &copy) || !identity_add(reader, scope, outer, copy))
        return false;
    *value = copy;
    return true;
}

static bool read_output(Reader *reader, Scope *scope, const ValueInfoProto *info, Value **out) {
    Type type = {.rank = -1};
    if (info->name.length == 0)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it has no name");
    if (!value_find(reader, scope, info->name, out))
        return false;
    if (!*out)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it is an input that the call omits");
    if (info->type.data && !type_read(reader, info->type, NULL, &type))
        return false;
    if (!own_output(reader, scope, info->name, out))
        return false;
    if ((*out)->producer)
        (*out)->type = type;
    return true;
}

static bool read_outputs(Reader *reader, Scope *scope, Many list) {
    Graph *graph = scope->graph;
    graph->outputs = ARENA_ARRAY(reader->arena, Value *, list.count);
    if (!graph->outputs || list.count > INT_MAX)
        return wire_fail_memory(reader->wire);
    for (Str bytes; many_next(&list, &bytes);) {
        ValueInfoProto info = {0};
        if (!READ(reader->wire, ValueInfoProto, bytes, &info) ||
            !read_output(reader, scope, &info, &graph->outputs[graph->output_count]))
            return wire_fail_in(reader->wire, "output %d '%.*s'", graph->output_count, SHOWN(info.name));
        graph->output_count++;
    }
    return true;
}

/* ---- the graph --------------------------------------------------------------------------------------------------------------
 */

static bool read_parts(Reader *reader, Scope *scope, const GraphProto *proto) {
    if (!read_inputs(reader, scope, proto->input) || !read_initializers(reader, scope, proto->initializer) ||
        !read_sparse_initializers(reader, scope, proto->sparse_initializer))
        return false;
    if (!scope->parent && reader->model->ir_version < 4)
        drop_constant_inputs(scope->graph);
    return declare_outputs(reader, scope, proto->node) && read_value_infos(reader, scope, proto->value_info) &&
           nodes_read(reader, scope, proto->node) && read_outputs(reader, scope, proto->output);
}

Graph *graph_read(Reader *reader, Str message, const Scope *outer, Node *owner) {
    GraphProto proto;
    if (outer && outer->depth >= DEPTH_LIMIT) {
        wire_error(reader->wire, WHET_ERROR_UNSUPPORTED, "subgraphs and functions nested deeper than %d", DEPTH_LIMIT);
        return NULL;
    }
    if (!READ(reader->wire, GraphProto, message, &proto))
        return NULL;
    char *name = reader_string(reader, proto.name);
    Graph *graph = name ? graph_new(reader->model, outer ? outer->graph : NULL, name) : NULL;
    if (!graph) {
        wire_error_memory(reader->wire);
        return NULL;
    }
    graph->owner = owner;
    Scope scope = {.parent = outer, .graph = graph, .call = outer ? outer->call : NULL};
    scope.opsets = outer ? outer->opsets : &reader->opsets;
    scope.depth = outer ? outer->depth + 1 : 1;
    map_init(&scope.values, reader->arena);
    map_init(&scope.constants, reader->arena);
    scope.names = &scope.values;
    return read_parts(reader, &scope, &proto) ? graph : NULL;
}
