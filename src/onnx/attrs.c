/* AttributeProto -> Attr, for nodes and for the calls of functions. */
#include "onnx/build.h"

#include <inttypes.h>
#include <string.h>

typedef struct KindField {
    AttrKind kind;
    const char *name;
    size_t offset; /* of the field that holds it */
    bool many;
} KindField;

// clang-format off
static const KindField kinds[] = {
    {0}, /* the table is indexed by kind */
    {ATTR_FLOAT,          "f",              offsetof(AttributeProto, f),              false},
    {ATTR_INT,            "i",              offsetof(AttributeProto, i),              false},
    {ATTR_STRING,         "s",              offsetof(AttributeProto, s),              false},
    {ATTR_TENSOR,         "t",              offsetof(AttributeProto, t),              false},
    {ATTR_GRAPH,          "g",              offsetof(AttributeProto, g),              false},
    {ATTR_FLOATS,         "floats",         offsetof(AttributeProto, floats),         true},
    {ATTR_INTS,           "ints",           offsetof(AttributeProto, ints),           true},
    {ATTR_STRINGS,        "strings",        offsetof(AttributeProto, strings),        true},
    {ATTR_TENSORS,        "tensors",        offsetof(AttributeProto, tensors),        true},
    {ATTR_GRAPHS,         "graphs",         offsetof(AttributeProto, graphs),         true},
    {ATTR_SPARSE_TENSOR,  "sparse_tensor",  offsetof(AttributeProto, sparse_tensor),  false},
    {ATTR_SPARSE_TENSORS, "sparse_tensors", offsetof(AttributeProto, sparse_tensors), true},
    {ATTR_TYPE_PROTO,     "tp",             offsetof(AttributeProto, tp),             false},
    {ATTR_TYPE_PROTOS,    "type_protos",    offsetof(AttributeProto, type_protos),    true},
};
// clang-format on

_Static_assert(COUNT(kinds) == ATTR_TYPE_PROTOS + 1, "one row a kind");

static bool holds(const AttributeProto *proto, const KindField *row) {
    const char *member = (const char *)proto + row->offset;
    if (row->many)
        return ((const Many *)(const void *)member)->count > 0;
    switch (row->kind) {
    case ATTR_FLOAT: return proto->f.given;
    case ATTR_INT: return proto->i.given;
    default: return ((const Str *)(const void *)member)->data != NULL;
    }
}

/* The kind: as `type` says, or, in files older than that field, as the field that is there says. */
static bool find_kind(const Wire *wire, const AttributeProto *proto, AttrKind *out) {
    int64_t type = proto->type.value;
    if (type < 0 || type >= (int64_t)COUNT(kinds))
        return wire_fail(wire, WHET_ERROR_FORMAT, "type %" PRId64 " is unknown", type);
    const KindField *seen = NULL;
    for (size_t i = 1; i < COUNT(kinds) && !seen; i++)
        if (holds(proto, &kinds[i]))
            seen = &kinds[i];
    *out = type ? (AttrKind)type : seen ? seen->kind : (AttrKind)0;
    if (!*out)
        return wire_fail(wire, WHET_ERROR_FORMAT, "it has neither type nor value");
    if (seen && !holds(proto, &kinds[*out]))
        return wire_fail(wire, WHET_ERROR_FORMAT, "type %s wants field %s, the value is in %s", kinds[*out].name,
                         kinds[*out].name, seen->name);
    return true;
}

static bool read_floats(Reader *reader, const Many *list, Attr *out) {
    float *values = ARENA_ARRAY(reader->arena, float, list->count);
    if (!values)
        return wire_fail_memory(reader->wire);
    many_floats(list, values);
    out->floats = values;
    return true;
}

static bool read_ints(Reader *reader, const Many *list, Attr *out) {
    int64_t *values = ARENA_ARRAY(reader->arena, int64_t, list->count);
    if (!values)
        return wire_fail_memory(reader->wire);
    many_ints(list, values);
    out->ints = values;
    return true;
}

static bool read_strings(Reader *reader, Many list, Attr *out) {
    Str *values = ARENA_ARRAY(reader->arena, Str, list.count);
    if (!values)
        return wire_fail_memory(reader->wire);
    out->strings = values;
    while (many_next(&list, values))
        values++;
    return true;
}

static bool read_tensor(Reader *reader, Str message, Attr *out) {
    TensorProto proto;
    if (!message.data)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it has no tensor");
    out->tensor = READ(reader->wire, TensorProto, message, &proto) ? tensor_read(&reader->store, &proto) : NULL;
    return out->tensor != NULL;
}

static bool read_graph(Reader *reader, const Scope *scope, Node *owner, Str message, Attr *out) {
    if (!message.data)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it has no graph");
    if (!owner)
        return wire_fail(reader->wire, WHET_ERROR_UNSUPPORTED, "a graph as an attribute of a function is not supported");
    out->graph = graph_read(reader, message, scope, owner);
    return out->graph != NULL;
}

static bool read_value(Reader *reader, const Scope *scope, Node *owner, const AttributeProto *proto, Attr *out) {
    switch (out->kind) {
    case ATTR_FLOAT: out->f = proto->f.value; return true;
    case ATTR_INT: out->i = proto->i.value; return true;
    case ATTR_STRING: out->s = proto->s.data ? proto->s : (Str){"", 0}; return true;
    case ATTR_TENSOR: return read_tensor(reader, proto->t, out);
    case ATTR_GRAPH: return read_graph(reader, scope, owner, proto->g, out);
    case ATTR_FLOATS: out->count = proto->floats.count; return read_floats(reader, &proto->floats, out);
    case ATTR_INTS: out->count = proto->ints.count; return read_ints(reader, &proto->ints, out);
    case ATTR_STRINGS: out->count = proto->strings.count; return read_strings(reader, proto->strings, out);
    case ATTR_SPARSE_TENSOR:
        out->tensor = tensor_read_sparse(&reader->store, proto->sparse_tensor, NULL);
        return out->tensor != NULL;
    default: return true; /* no operator that is supported has one; its row's list of attributes refuses it by name */
    }
}

static const Attr *find(const Attr *attrs, int count, Str name) {
    for (int i = 0; i < count; i++)
        if (strlen(attrs[i].name) == name.length && memcmp(attrs[i].name, name.data, name.length) == 0)
            return &attrs[i];
    return NULL;
}

/* A reference takes what the call gives; *found says whether it gives anything. */
static bool read_reference(Reader *reader, const Scope *scope, Str name, Attr *out, bool *found) {
    if (!scope->call)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "ref_attr_name \"%.*s\" outside of a function", SHOWN(name));
    const Attr *given = find(scope->call->attrs, scope->call->attr_count, name);
    *found = given != NULL;
    if (given) {
        const char *own = out->name;
        *out = *given;
        out->name = own;
    }
    return true;
}

static bool read_attr(Reader *reader, const Scope *scope, Node *owner, const AttributeProto *proto, Attr *out, bool *found) {
    *found = true;
    if (!proto->name.length)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "it has no name");
    out->name = reader_string(reader, proto->name);
    if (!out->name)
        return false;
    if (proto->ref_attr_name.length)
        return read_reference(reader, scope, proto->ref_attr_name, out, found);
    return find_kind(reader->wire, proto, &out->kind) && read_value(reader, scope, owner, proto, out);
}

bool attrs_read(Reader *reader, const Scope *scope, Node *owner, const Many *list, Attr *out, int *count) {
    *count = 0;
    if (list->count > ATTR_LIMIT)
        return wire_fail(reader->wire, WHET_ERROR_UNSUPPORTED, "%zu attributes, at most %d are supported", list->count,
                         ATTR_LIMIT);
    Many it = *list;
    for (Str bytes; many_next(&it, &bytes);) {
        AttributeProto proto;
        bool found;
        if (!READ(reader->wire, AttributeProto, bytes, &proto))
            return false;
        if (proto.name.length && find(out, *count, proto.name))
            return wire_fail(reader->wire, WHET_ERROR_FORMAT, "attribute '%.*s' is given twice", SHOWN(proto.name));
        if (!read_attr(reader, scope, owner, &proto, &out[*count], &found))
            return wire_fail_in(reader->wire, "attribute '%.*s'", SHOWN(proto.name));
        *count += found;
    }
    return true;
}
