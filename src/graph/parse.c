/* The text form of a graph, read. What text.c prints comes back; docs/internals/graph.md defines the form.
 *
 * A constant of which only a hash is given becomes an initializer of known type and shape without content: enough for tests of
 * passes, refused by whatever needs the data. As the tensor of an attribute it is filled with zeros.
 */
#include "graph/text.h"

#include <limits.h>
#include <string.h>

#define MAX_NESTING 32
#define MAX_LIST    65536             /* operands or attributes of a node, elements of a list */
#define MAX_ZEROS   ((size_t)1 << 22) /* bytes of an attribute's tensor given by its hash */

/* The names of one graph, and of the graphs around it. */
typedef struct Scope {
    const struct Scope *outer;
    Graph *graph;
    Map names;
} Scope;

typedef struct Parser {
    Scanner scan;
    Model *model;
    Arena scratch;
    int nesting;
    size_t zeros; /* bytes made for hashes so far */
    Node pending; /* stands for the producer until the node is made */
} Parser;

static bool no_memory(Parser *parser) {
    return scan_fail(&parser->scan, "out of memory");
}

/* ---- Types ------------------------------------------------------------------------------------------------------------- */

static bool parse_dim(Parser *parser, Dim *out) {
    Scanner *scan = &parser->scan;
    if (scan_done(scan))
        return scan_fail(scan, "wanted a dimension");
    return dim_parse(parser->model->symbols, &scan->at, scan->end, out) || scan_fail(scan, "bad dimension");
}

/* "[2, n]" */
static bool parse_shape(Parser *parser, Type *type) {
    Scanner *scan = &parser->scan;
    type->rank = 0;
    if (!scan_want(scan, "[") || scan_take(scan, "]"))
        return !scan->failed;
    do {
        if (type->rank == WHET_MAX_RANK)
            return scan_fail(scan, "more than %d dimensions", WHET_MAX_RANK);
        if (!parse_dim(parser, &type->dims[type->rank++]))
            return false;
    } while (scan_take(scan, ","));
    return scan_want(scan, "]");
}

/* "{n, 4}" behind a type */
static bool parse_known(Parser *parser, Type *type) {
    Scanner *scan = &parser->scan;
    if (!scan_at(scan, '{'))
        return true;
    Dim content[TEXT_MAX_ELEMENTS];
    int count = 0;
    scan_want(scan, "{");
    if (!scan_take(scan, "}")) {
        do {
            if (count == TEXT_MAX_ELEMENTS)
                return scan_fail(scan, "more than %d elements", TEXT_MAX_ELEMENTS);
            if (!parse_dim(parser, &content[count++]))
                return false;
        } while (scan_take(scan, ","));
        if (!scan_want(scan, "}"))
            return false;
    }
    if (type->rank > 1 || type->rank < 0 || (type->rank == 0 && count != 1) || (type->rank == 1 && type->dims[0] != count))
        return scan_fail(scan, "the content does not fit the shape");
    type->content = arena_copy(&parser->model->arena, content, (size_t)count * sizeof *content);
    type->content_count = count;
    return type->content || no_memory(parser);
}

static bool parse_type(Parser *parser, Type *type) {
    Scanner *scan = &parser->scan;
    *type = (Type){.rank = -1};
    if (!scan_take(scan, "?")) {
        char *name = scan_name(scan);
        type->type = name ? dtype_parse(name, strlen(name)) : DT_NONE;
        if (type->type == DT_NONE)
            return scan_fail(scan, "wanted an element type, not '%.40s'", name ? name : "");
    }
    return !scan_at(scan, '[') || parse_shape(parser, type);
}

/* ---- Tensors ----------------------------------------------------------------------------------------------------------- */

static bool type_to_tensor(Parser *parser, const Type *type, Tensor *tensor) {
    *tensor = (Tensor){.type = (whet_type)type->type, .rank = type->rank};
    if (type->type == DT_NONE || type->rank < 0)
        return scan_fail(&parser->scan, "a constant needs a type and a shape");
    for (int i = 0; i < type->rank; i++) {
        if (!dim_is_extent(type->dims[i]))
            return scan_fail(&parser->scan, "a constant's dimension is not a number");
        tensor->dims[i] = type->dims[i];
    }
    int64_t count;
    if (!checked_count(tensor->dims, tensor->rank, &count) || !dtype_bytes(type->type, count, &tensor->bytes))
        return scan_fail(&parser->scan, "a constant is too large");
    return true;
}

static bool note_hash(Parser *parser, const void *key) {
    Arena *arena = &parser->model->arena;
    uint64_t *hash = ARENA_NEW(arena, uint64_t);
    const char *copy = arena_copy(arena, &key, sizeof key);
    if (!hash || !copy)
        return no_memory(parser);
    if (!scan_hex(&parser->scan, hash))
        return false;
    return map_put(&parser->model->stand_ins, copy, sizeof key, hash) || no_memory(parser);
}

/* "f32[2] {1.0, 2.0}" or "f32[900] hash ..." as an attribute. */
static bool parse_tensor(Parser *parser, const Type *type, Tensor **out) {
    Arena *arena = &parser->model->arena;
    Tensor *tensor = ARENA_NEW(arena, Tensor);
    if (!tensor)
        return no_memory(parser);
    *out = tensor;
    if (!type_to_tensor(parser, type, tensor))
        return false;
    if (!scan_take(&parser->scan, "hash"))
        return tensor_parse_content(&parser->scan, tensor);
    if (tensor->bytes > MAX_ZEROS - parser->zeros)
        return scan_fail(&parser->scan, "attributes given by their hash take more than %zu bytes", MAX_ZEROS);
    parser->zeros += tensor->bytes;
    tensor->data = arena_alloc(arena, tensor->bytes, 1);
    return tensor->data ? note_hash(parser, tensor) : no_memory(parser);
}

/* ---- Values ------------------------------------------------------------------------------------------------------------ */

static Value *find_value(const Scope *scope, const char *name) {
    Value *found = NULL;
    for (; scope && !found; scope = scope->outer)
        found = map_get(&scope->names, name, strlen(name));
    return found;
}

static Value *new_value(Parser *parser, Scope *scope, const char *name) {
    Value *value = graph_value(scope->graph, name);
    if (!value || !map_put(&scope->names, name, strlen(name), value)) {
        no_memory(parser);
        return NULL;
    }
    return value;
}

static char *parse_value_name(Parser *parser) {
    if (!scan_want(&parser->scan, "%"))
        return NULL;
    return scan_name(&parser->scan);
}

/* A value that is made here; it may have been read already (further up in the text). */
static Value *define_value(Parser *parser, Scope *scope) {
    char *name = parse_value_name(parser);
    if (!name)
        return NULL;
    Value *value = map_get(&scope->names, name, strlen(name));
    if (value && (value->producer || value->is_input || value->is_initializer)) {
        scan_fail(&parser->scan, "value '%.100s' is made twice", name);
        return NULL;
    }
    if (!value)
        value = new_value(parser, scope, name);
    if (!value || !scan_want(&parser->scan, ":") || !parse_type(parser, &value->type) || !parse_known(parser, &value->type))
        return NULL;
    return value;
}

/* A value that is read: of this graph, of one around it, or to be made further down in this graph. */
static Value *use_value(Parser *parser, Scope *scope) {
    char *name = parse_value_name(parser);
    if (!name)
        return NULL;
    Value *value = find_value(scope, name);
    return value ? value : new_value(parser, scope, name);
}

/* ---- Attributes -------------------------------------------------------------------------------------------------------- */

static Graph *parse_graph(Parser *parser, const Scope *outer, Node *owner);

static bool parse_item(Parser *parser, AttrKind kind, void *items, size_t i) {
    double number;
    if (kind == ATTR_STRINGS)
        return scan_string(&parser->scan, (Str *)items + i);
    if (kind == ATTR_INTS)
        return scan_integer(&parser->scan, (int64_t *)items + i);
    if (!scan_float(&parser->scan, &number))
        return false;
    ((float *)items)[i] = (float)number;
    return true;
}

/* Does the number that comes next print as a float: with '.', 'e', inf or nan? */
static bool float_follows(Scanner *scan) {
    scan_done(scan);
    const char *c = scan->at;
    if (c < scan->end && *c == '-')
        c++;
    if (c < scan->end && (*c == 'i' || *c == 'n'))
        return true;
    while (c < scan->end && *c >= '0' && *c <= '9')
        c++;
    return c < scan->end && (*c == '.' || *c == 'e');
}

static bool parse_list(Parser *parser, Attr *attr) {
    Scanner *scan = &parser->scan;
    attr->kind = scan_take(scan, "floats") ? ATTR_FLOATS : scan_take(scan, "strings") ? ATTR_STRINGS : ATTR_INTS;
    if (!scan_want(scan, "[") || scan_take(scan, "]"))
        return !scan->failed;
    attr->kind = scan_at(scan, '"') ? ATTR_STRINGS : float_follows(scan) ? ATTR_FLOATS : ATTR_INTS;
    size_t size = attr->kind == ATTR_STRINGS ? sizeof(Str) : attr->kind == ATTR_INTS ? sizeof(int64_t) : sizeof(float);
    void *items = NULL;
    size_t capacity = 0;
    do {
        if (!arena_grow(&parser->model->arena, &items, &capacity, attr->count + 1, size))
            return no_memory(parser);
        if (!parse_item(parser, attr->kind, items, attr->count++))
            return false;
    } while (scan_take(scan, ","));
    attr->ints = attr->kind == ATTR_INTS ? items : NULL;
    attr->floats = attr->kind == ATTR_FLOATS ? items : NULL;
    attr->strings = attr->kind == ATTR_STRINGS ? items : NULL;
    return scan_want(scan, "]");
}

static bool parse_kind(Parser *parser, Attr *attr) {
    int64_t kind;
    if (!scan_integer(&parser->scan, &kind))
        return false;
    if (kind < ATTR_TENSOR || kind > ATTR_TYPE_PROTOS)
        return scan_fail(&parser->scan, "no kind of attribute has the number %lld", (long long)kind);
    attr->kind = (AttrKind)kind;
    bool kept = kind == ATTR_FLOATS || kind == ATTR_INTS || kind == ATTR_STRINGS;
    return !kept || scan_fail(&parser->scan, "a list is written in brackets");
}

static bool parse_number(Parser *parser, Attr *attr) {
    double number;
    attr->kind = float_follows(&parser->scan) ? ATTR_FLOAT : ATTR_INT;
    if (attr->kind == ATTR_INT)
        return scan_integer(&parser->scan, &attr->i);
    if (!scan_float(&parser->scan, &number))
        return false;
    attr->f = (float)number;
    return true;
}

/* A word: "graph", "kind 9", a tensor's type, inf, nan. */
static bool parse_word_attr(Parser *parser, Scope *scope, Node *node, Attr *attr) {
    Scanner *scan = &parser->scan;
    if (scan_take(scan, "graph")) {
        attr->kind = ATTR_GRAPH;
        attr->graph = parse_graph(parser, scope, node);
        return attr->graph != NULL;
    }
    if (scan_take(scan, "kind"))
        return parse_kind(parser, attr);
    if (scan_take(scan, "inf") || scan_take(scan, "nan")) {
        scan->at -= 3;
        return parse_number(parser, attr);
    }
    Type type;
    attr->kind = ATTR_TENSOR;
    return parse_type(parser, &type) && parse_tensor(parser, &type, &attr->tensor);
}

static bool parse_attr(Parser *parser, Scope *scope, Node *node, Attr *attr) {
    Scanner *scan = &parser->scan;
    scan_done(scan);
    attr->name = scan_name(scan);
    if (!attr->name || !scan_want(scan, "="))
        return false;
    if (scan_at(scan, '"')) {
        attr->kind = ATTR_STRING;
        return scan_string(scan, &attr->s);
    }
    if (scan_done(scan))
        return scan_fail(scan, "wanted an attribute's value");
    const char *at = scan->at;
    bool floats = scan_take(scan, "floats"), strings = !floats && scan_take(scan, "strings");
    scan->at = at;
    if (floats || strings || *at == '[')
        return parse_list(parser, attr);
    if (*at == '-' || (*at >= '0' && *at <= '9'))
        return parse_number(parser, attr);
    return parse_word_attr(parser, scope, node, attr);
}

static bool parse_attrs(Parser *parser, Scope *scope, Node *node) {
    if (!scan_take(&parser->scan, "{"))
        return !parser->scan.failed;
    size_t capacity = 0;
    Attr *attrs = NULL;
    do {
        size_t count = (size_t)node->attr_count;
        if (count == MAX_LIST || !arena_grow(&parser->model->arena, &attrs, &capacity, count + 1, sizeof *attrs))
            return scan_fail(&parser->scan, "too many attributes");
        if (!parse_attr(parser, scope, node, &attrs[count]))
            return false;
        node->attrs = attrs;
        node->attr_count++;
    } while (scan_take(&parser->scan, ","));
    return scan_want(&parser->scan, "}");
}

/* ---- Nodes and graphs -------------------------------------------------------------------------------------------------- */

/* Operands collected before the node can be made. */
typedef struct Operands {
    Value **values;
    size_t count, capacity;
} Operands;

static bool add_operand(Parser *parser, Operands *operands, Value *value) {
    if (operands->count == MAX_LIST ||
        !arena_grow(&parser->scratch, &operands->values, &operands->capacity, operands->count + 1, sizeof value))
        return scan_fail(&parser->scan, "too many operands");
    operands->values[operands->count++] = value;
    return true;
}

/* "%y: f32[n], _" up to the `=` */
static bool parse_outputs(Parser *parser, Scope *scope, Operands *outputs) {
    Scanner *scan = &parser->scan;
    if (scan_take(scan, "="))
        return true;
    do {
        Value *value = NULL;
        if (!scan_take(scan, "_") && !(value = define_value(parser, scope)))
            return false;
        if (value)
            value->producer = &parser->pending;
        if (!add_operand(parser, outputs, value))
            return false;
    } while (scan_take(scan, ","));
    return scan_want(scan, "=");
}

static bool parse_inputs(Parser *parser, Scope *scope, Operands *inputs) {
    Scanner *scan = &parser->scan;
    if (!scan_want(scan, "(") || scan_take(scan, ")"))
        return !scan->failed;
    do {
        Value *value = NULL;
        if (!scan_take(scan, "_") && !(value = use_value(parser, scope)))
            return false;
        if (!add_operand(parser, inputs, value))
            return false;
    } while (scan_take(scan, ","));
    return scan_want(scan, ")");
}

/* "domain:Op@3" */
static bool parse_op(Parser *parser, const char **domain, const char **op, int64_t *opset) {
    Scanner *scan = &parser->scan;
    scan_done(scan);
    *domain = "";
    *op = scan_name(scan);
    if (*op && scan_take(scan, ":")) {
        *domain = *op;
        scan_done(scan);
        *op = scan_name(scan);
    }
    *opset = parser->model->opset;
    if (!*op || !scan_take(scan, "@"))
        return *op != NULL;
    if (!scan_integer(scan, opset))
        return false;
    return (*opset >= 0 && *opset <= INT_MAX) || scan_fail(scan, "bad opset version");
}

static bool parse_node(Parser *parser, Scope *scope) {
    Scanner *scan = &parser->scan;
    Operands inputs = {0}, outputs = {0};
    const char *domain, *op;
    int64_t opset;
    if (!parse_outputs(parser, scope, &outputs) || !parse_op(parser, &domain, &op, &opset) ||
        !parse_inputs(parser, scope, &inputs))
        return false;
    Node *node = graph_node(scope->graph, domain, op, (int)inputs.count, (int)outputs.count, 0);
    if (!node)
        return no_memory(parser);
    node->opset = (int)opset;
    for (size_t i = 0; i < inputs.count; i++)
        node->inputs[i] = inputs.values[i];
    for (size_t i = 0; i < outputs.count; i++) {
        node->outputs[i] = outputs.values[i];
        if (outputs.values[i]) {
            outputs.values[i]->producer = node;
            outputs.values[i]->producer_output = (int)i;
        }
    }
    if (!parse_attrs(parser, scope, node))
        return false;
    if (!scan_take(scan, "name"))
        return !scan->failed;
    if (!scan_at(scan, '"'))
        return scan_fail(scan, "wanted the node's name in quotes");
    node->name = scan_name(scan);
    return node->name != NULL;
}

/* "in %x: f32[n]" or "constant %w: f32[2] = {1.0, 2.0}" */
static bool parse_head(Parser *parser, Scope *scope, bool is_input, Operands *inputs) {
    Value *value = define_value(parser, scope);
    if (!value)
        return false;
    value->is_input = is_input;
    if (is_input && !add_operand(parser, inputs, value))
        return false;
    if (!scan_take(&parser->scan, "="))
        return is_input ? !parser->scan.failed : (value->is_initializer = true);
    value->is_initializer = true;
    if (scan_take(&parser->scan, "hash")) {
        Tensor unused;
        return type_to_tensor(parser, &value->type, &unused) && note_hash(parser, value);
    }
    Tensor *tensor;
    if (!parse_tensor(parser, &value->type, &tensor))
        return false;
    value->type.constant = tensor;
    return true;
}

static bool parse_output(Parser *parser, Scope *scope, Operands *outputs) {
    Value *value = use_value(parser, scope);
    return value && add_operand(parser, outputs, value);
}

static bool parse_lines(Parser *parser, Scope *scope, Operands *inputs, Operands *outputs) {
    Scanner *scan = &parser->scan;
    while (!scan_take(scan, "}")) {
        bool fine;
        if (scan_done(scan))
            return scan_fail(scan, "a graph has no end: wanted '}'");
        if (scan_take(scan, "in"))
            fine = parse_head(parser, scope, true, inputs);
        else if (scan_take(scan, "constant"))
            fine = parse_head(parser, scope, false, inputs);
        else if (scan_take(scan, "out"))
            fine = parse_output(parser, scope, outputs);
        else
            fine = parse_node(parser, scope);
        if (!fine || scan->failed)
            return false;
    }
    return true;
}

static bool take_operands(Parser *parser, const Operands *operands, Value ***values, int *count) {
    *values = arena_copy(&parser->model->arena, operands->values, operands->count * sizeof **values);
    *count = (int)operands->count;
    return *values || no_memory(parser);
}

static bool check_defined(Parser *parser, const Graph *graph) {
    for (size_t i = 0; i < graph->value_count; i++) {
        const Value *value = graph->values[i];
        if (!value->producer && !value->is_input && !value->is_initializer)
            return scan_fail(&parser->scan, "value '%.100s' is read and never made", value->name);
    }
    return true;
}

/* From the name on: the word "graph" has been taken. */
static Graph *parse_graph(Parser *parser, const Scope *outer, Node *owner) {
    Scanner *scan = &parser->scan;
    if (++parser->nesting > MAX_NESTING) {
        scan_fail(scan, "graphs nested deeper than %d", MAX_NESTING);
        return NULL;
    }
    const char *name = scan_at(scan, '"') ? scan_name(scan) : NULL;
    if (!name || !scan_want(scan, "{")) {
        scan_fail(scan, "wanted the graph's name in quotes");
        return NULL;
    }
    Scope scope = {.outer = outer, .graph = graph_new(parser->model, outer ? outer->graph : NULL, name)};
    map_init(&scope.names, &parser->scratch);
    if (!scope.graph) {
        no_memory(parser);
        return NULL;
    }
    scope.graph->owner = owner;
    Operands inputs = {0}, outputs = {0};
    bool fine = parse_lines(parser, &scope, &inputs, &outputs) && check_defined(parser, scope.graph) &&
                take_operands(parser, &inputs, &scope.graph->inputs, &scope.graph->input_count) &&
                take_operands(parser, &outputs, &scope.graph->outputs, &scope.graph->output_count);
    parser->nesting--;
    return fine ? scope.graph : NULL;
}

static bool parse_model(Parser *parser) {
    Scanner *scan = &parser->scan;
    int64_t opset;
    if (!scan_want(scan, "ir") || !scan_integer(scan, &parser->model->ir_version) || !scan_want(scan, "opset") ||
        !scan_integer(scan, &opset))
        return false;
    if (opset < 0 || opset > INT_MAX)
        return scan_fail(scan, "bad opset version");
    parser->model->opset = (int)opset;
    if (!scan_want(scan, "graph"))
        return false;
    parser->model->graph = parse_graph(parser, NULL, NULL);
    return parser->model->graph && (scan_done(scan) || scan_fail(scan, "wanted the end of the text"));
}

Model *graph_parse(const char *text, size_t length, const whet_allocator *allocator, whet_error *err) {
    Model *model = model_new(allocator);
    if (!model) {
        error_memory(err);
        return NULL;
    }
    Parser parser = {.scan = {.start = text, .at = text, .end = text + length, .arena = &model->arena, .err = err},
                     .model = model};
    arena_init(&parser.scratch, allocator);
    bool fine = parse_model(&parser) && !parser.scan.failed;
    if (!fine && !parser.scan.failed)
        scan_fail(&parser.scan, "bad text");
    if (model->arena.failed || parser.scratch.failed) {
        error_memory(err); /* whatever it looked like from where it happened */
        fine = false;
    }
    arena_free(&parser.scratch);
    if (fine)
        return model;
    model_free(model);
    return NULL;
}
