/* The text form of a graph, printed. parse.c reads it back; docs/internals/graph.md defines it. */
#include "graph/text.h"

#include <string.h>

typedef struct Printer {
    const Graph *graph; /* the main graph */
    Text *out;
} Printer;

static void print_name(Text *out, const char *name) {
    if (scan_is_name(name))
        text_put(out, name);
    else
        text_quoted(out, name, strlen(name));
}

static void print_dims(const Symbols *symbols, const Type *type, Text *out) {
    text_char(out, '[');
    for (int i = 0; i < type->rank; i++) {
        text_put(out, i ? ", " : "");
        dim_print(symbols, type->dims[i], out);
    }
    text_char(out, ']');
}

void type_print(const Symbols *symbols, const Type *type, Text *out) {
    text_put(out, type->type == DT_NONE ? "?" : dtype_name(type->type));
    if (type->rank >= 0)
        print_dims(symbols, type, out);
}

/* The type and what is known of a whole-number content: "s64[2]{n, 4}". */
static void print_type(const Printer *printer, const Type *type) {
    const Symbols *symbols = printer->graph->model->symbols;
    type_print(symbols, type, printer->out);
    if (type->constant || !type->content || type->content_count > TEXT_MAX_ELEMENTS)
        return;
    text_char(printer->out, '{');
    for (int64_t i = 0; i < type->content_count; i++) {
        text_put(printer->out, i ? ", " : "");
        dim_print(symbols, type->content[i], printer->out);
    }
    text_char(printer->out, '}');
}

static void print_value(Text *out, const Value *value) {
    if (!value) {
        text_char(out, '_');
        return;
    }
    text_char(out, '%');
    print_name(out, value->name);
}

static void print_indent(Text *out, int indent) {
    for (int i = 0; i < indent; i++)
        text_put(out, "  ");
}

/* A constant that was read from text by its hash alone keeps that hash. */
static void print_stand_in(const Printer *printer, const void *key) {
    const uint64_t *hash = map_get(&printer->graph->model->stand_ins, (const char *)&key, sizeof key);
    text_printf(printer->out, "hash %016llx", hash ? (unsigned long long)*hash : 0);
}

static bool is_stand_in(const Printer *printer, const void *key) {
    return map_get(&printer->graph->model->stand_ins, (const char *)&key, sizeof key) != NULL;
}

static void print_tensor(const Printer *printer, const Tensor *tensor) {
    Text *out = printer->out;
    text_printf(out, "%s[", dtype_name((DType)tensor->type));
    for (int i = 0; i < tensor->rank; i++)
        text_printf(out, "%s%lld", i ? ", " : "", (long long)tensor->dims[i]);
    text_put(out, "] ");
    if (is_stand_in(printer, tensor))
        print_stand_in(printer, tensor);
    else
        tensor_print_content(tensor, out);
}

static void print_graph(const Printer *printer, const Graph *graph, int indent);

static void print_list(const Printer *printer, const Attr *attr) {
    Text *out = printer->out;
    const char *const heads[] = {[ATTR_FLOATS] = "floats", [ATTR_INTS] = "", [ATTR_STRINGS] = "strings"};
    text_put(out, attr->count ? "" : heads[attr->kind]); /* which an empty list does not show */
    text_char(out, '[');
    for (size_t i = 0; i < attr->count; i++) {
        text_put(out, i ? ", " : "");
        if (attr->kind == ATTR_FLOATS)
            text_float(out, attr->floats[i]);
        else if (attr->kind == ATTR_INTS)
            text_printf(out, "%lld", (long long)attr->ints[i]);
        else
            text_quoted(out, attr->strings[i].data, attr->strings[i].length);
    }
    text_char(out, ']');
}

static void print_attr(const Printer *printer, const Attr *attr, int indent) {
    Text *out = printer->out;
    print_name(out, attr->name);
    text_put(out, " = ");
    switch (attr->kind) {
    case ATTR_FLOAT: text_float(out, attr->f); return;
    case ATTR_INT: text_printf(out, "%lld", (long long)attr->i); return;
    case ATTR_STRING: text_quoted(out, attr->s.data, attr->s.length); return;
    case ATTR_FLOATS:
    case ATTR_INTS:
    case ATTR_STRINGS: print_list(printer, attr); return;
    case ATTR_TENSOR:
        if (attr->tensor)
            print_tensor(printer, attr->tensor);
        else
            text_printf(out, "kind %d", (int)attr->kind);
        return;
    case ATTR_GRAPH:
        if (attr->graph)
            print_graph(printer, attr->graph, indent);
        else
            text_printf(out, "kind %d", (int)attr->kind);
        return;
    default: text_printf(out, "kind %d", (int)attr->kind); return; /* not supported: nothing of it is kept */
    }
}

static void print_op(const Printer *printer, const Node *node) {
    Text *out = printer->out;
    if (node->domain[0]) {
        print_name(out, node->domain);
        text_char(out, ':');
    }
    print_name(out, node->op);
    if (node->domain[0] || node->opset != printer->graph->model->opset)
        text_printf(out, "@%d", node->opset);
}

static void print_node(const Printer *printer, const Node *node, int indent) {
    Text *out = printer->out;
    print_indent(out, indent);
    for (int i = 0; i < node->output_count; i++) {
        text_put(out, i ? ", " : "");
        print_value(out, node->outputs[i]);
        if (node->outputs[i]) {
            text_put(out, ": ");
            print_type(printer, &node->outputs[i]->type);
        }
    }
    text_put(out, node->output_count ? " = " : "= ");
    print_op(printer, node);
    text_char(out, '(');
    for (int i = 0; i < node->input_count; i++) {
        text_put(out, i ? ", " : "");
        print_value(out, node->inputs[i]);
    }
    text_char(out, ')');
    for (int i = 0; i < node->attr_count; i++) {
        text_put(out, i ? ", " : " {");
        print_attr(printer, &node->attrs[i], indent);
    }
    text_put(out, node->attr_count ? "}" : "");
    if (node->name[0]) {
        text_put(out, " name ");
        text_quoted(out, node->name, strlen(node->name));
    }
    text_char(out, '\n');
}

/* "in %x: f32[n]", "constant %w: f32[2] = {1.0, 2.0}". */
static void print_head(const Printer *printer, const char *what, const Value *value, int indent) {
    Text *out = printer->out;
    print_indent(out, indent);
    text_put(out, what);
    print_value(out, value);
    text_put(out, ": ");
    print_type(printer, &value->type);
    if (value->is_initializer && value->type.constant) {
        text_put(out, " = ");
        tensor_print_content(value->type.constant, out);
    } else if (value->is_initializer && is_stand_in(printer, value)) {
        text_put(out, " = ");
        print_stand_in(printer, value);
    }
    text_char(out, '\n');
}

static void print_graph(const Printer *printer, const Graph *graph, int indent) {
    Text *out = printer->out;
    text_put(out, "graph ");
    text_quoted(out, graph->name ? graph->name : "", graph->name ? strlen(graph->name) : 0);
    text_put(out, " {\n");
    for (int i = 0; i < graph->input_count; i++)
        print_head(printer, "in ", graph->inputs[i], indent + 1);
    for (size_t i = 0; i < graph->value_count; i++) {
        if (graph->values[i]->is_initializer && !graph->values[i]->is_input)
            print_head(printer, "constant ", graph->values[i], indent + 1);
    }
    for (size_t i = 0; i < graph->node_count; i++)
        print_node(printer, graph->nodes[i], indent + 1);
    for (int i = 0; i < graph->output_count; i++) {
        print_indent(out, indent + 1);
        text_put(out, "out ");
        print_value(out, graph->outputs[i]);
        text_char(out, '\n');
    }
    print_indent(out, indent);
    text_char(out, '}');
}

void graph_print(const Graph *graph, Text *out) {
    Printer printer = {graph, out};
    text_printf(out, "ir %lld\nopset %d\n", (long long)graph->model->ir_version, graph->model->opset);
    print_graph(&printer, graph, 0);
    text_char(out, '\n');
}
