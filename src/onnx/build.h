/* The reader's own interior: what its files share while a model is read. */
#ifndef WHET_ONNX_BUILD_H
#define WHET_ONNX_BUILD_H

#include "onnx/tensor.h"

enum {
    DEPTH_LIMIT = 64,       /* of subgraphs and functions in each other: the reader recurses */
    INLINE_LIMIT = 1000000, /* nodes, operands and attributes that all function calls may expand to */
    ATTR_LIMIT = 256,       /* of one node: they are searched one by one */
    OLDEST_IR = 3,
    NEWEST_IR = 31, /* 13 is the newest there is; later ones have added fields, which are skipped */
    NEWEST_OPSET = 28
};

/* The operator sets a model or a function imports: the version (Int *) by domain, "" being ONNX's own. */
typedef struct Opsets {
    Map versions;
} Opsets;

typedef enum Visit { VISIT_NOT, VISIT_OPEN, VISIT_DONE } Visit;

typedef struct Function {
    FunctionProto proto;
    const char *label; /* "domain.name", for messages */
    Opsets opsets;
    Visit visit;   /* by function_cost */
    uint64_t cost; /* what one call expands to */
} Function;

/* A call of a function that is being inlined. */
typedef struct Call {
    const Function *function;
    Attr *attrs; /* given by the caller, then the function's defaults */
    int attr_count;
} Call;

/* A namespace: a graph's, or that of one call of a function, whose nodes go to the graph it is called in. */
typedef struct Scope {
    const struct Scope *parent; /* of a subgraph: the scope around it */
    Graph *graph;
    Map values;           /* Value by name; &Reader.omitted for a function's input that the caller omits */
    Map constants;        /* where the message of a Constant lies, by the name of its output */
    Map *names;           /* every name of `graph`, so that inlined values get others */
    const Call *call;     /* whose attributes ref_attr_name means; NULL outside of functions */
    const Opsets *opsets; /* what the nodes' domains mean */
    int depth;
} Scope;

typedef struct Reader {
    Model *model;
    Store store;
    Wire *wire;   /* &store.wire */
    Arena *arena; /* &model->arena */
    Opsets opsets;
    Map functions;       /* Function by key */
    uint64_t inlined;    /* cost so far */
    uint64_t call_count; /* makes names of inlined values unique */
    Value omitted;
} Reader;

/* names.c */
char *reader_string(Reader *reader, Str text); /* a C string in the arena; "" if not given. NULL: error set */
Str domain_canonical(Str domain);              /* "ai.onnx" is "" */
bool opsets_read(Reader *reader, Many imports, Opsets *out);
bool opsets_find(const Opsets *opsets, Str domain, int *version);

/* types.c */
bool type_read(Reader *reader, Str message, const char *stem, Type *out);

/* attrs.c: `owner` is the node whose subgraphs they are; NULL: there must be none. Absent references are left out. */
bool attrs_read(Reader *reader, const Scope *scope, Node *owner, const Many *list, Attr *out, int *count);

/* functions.c */
bool functions_read(Reader *reader, Many list);
Function *function_find(const Reader *reader, const NodeProto *node);
/* Counts a call against INLINE_LIMIT; refuses recursion. */
bool function_charge(Reader *reader, Function *function);
bool function_inline(Reader *reader, const Scope *caller, Function *function, const NodeProto *node, Value **inputs,
                     Value **outputs);

/* graphs.c */
Graph *graph_read(Reader *reader, Str message, const Scope *outer, Node *owner);
/* The nodes of a graph or a function, whose outputs are declared already. */
bool nodes_read(Reader *reader, Scope *scope, Many nodes);
bool value_find(const Reader *reader, const Scope *scope, Str name, Value **out); /* *out NULL: omitted */
bool identity_add(Reader *reader, const Scope *scope, Value *from, Value *to);

#endif
