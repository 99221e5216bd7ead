/* The graph: what the model's author drew. Values and nodes in SSA form, with types and symbolic shapes.
 *
 *     onnx/ builds it -> graph_infer (types, shapes, constants) -> run/ lowers each node to a kernel
 *
 * Everything lives in the model's arena. The text form (text.c, docs/internals/graph.md) prints and parses.
 */
#ifndef WHET_GRAPH_H
#define WHET_GRAPH_H

#include "base/base.h"

typedef whet_tensor Tensor; /* a dense tensor; whoever holds it says who owns the data */

/* ---- symbols.c: symbolic dimensions --------------------------------------------------------------------------------------
 *
 * A Dim is a number (an extent if it is >= 0), DIM_UNKNOWN, or a handle of an expression in a Symbols table: sums of products of
 * symbols with integer coefficients, in one normal form, so that equal handles mean equal expressions; floor division, max and
 * min of what does not fold are atoms of their own. Symbols stand for extents: they are taken to be >= 0.
 *
 * Numbers stand for themselves down to DIM_LOWEST; the range below holds the handles. So arithmetic on numbers never touches the
 * table (which may then be NULL): run time may work on a shared model's shapes from any thread. */

typedef int64_t Dim;
#define DIM_UNKNOWN INT64_MIN
#define DIM_LOWEST  (INT64_MIN + ((int64_t)1 << 32)) /* the lowest number; what is lower is taken to be it */

typedef struct Symbols Symbols;

Symbols *symbols_new(Arena *arena);
Dim dim_symbol(Symbols *symbols, const char *name, size_t length); /* the same name gives the same handle */
Dim dim_fresh(Symbols *symbols, const char *stem);                 /* a new symbol, "stem", "stem_1", ... */
static inline bool dim_is_extent(Dim d) {
    return d >= 0;
}
static inline bool dim_is_number(Dim d) {
    return d >= DIM_LOWEST;
} /* of any sign */
/* DIM_UNKNOWN if an operand is, on division by zero, on overflow, when the expression grows too large, or out of memory. */
Dim dim_add(Symbols *symbols, Dim a, Dim b);
Dim dim_sub(Symbols *symbols, Dim a, Dim b);
Dim dim_mul(Symbols *symbols, Dim a, Dim b);
Dim dim_floordiv(Symbols *symbols, Dim a, Dim b);
Dim dim_max(Symbols *symbols, Dim a, Dim b);
Dim dim_min(Symbols *symbols, Dim a, Dim b);
Dim dim_const(Symbols *symbols, int64_t value);               /* any sign */
bool dim_number(const Symbols *symbols, Dim d, int64_t *out); /* true if d is a known number (of any sign) */
/* The value of `d` where symbol `name` has extent values[i]; DIM_UNKNOWN if a symbol is missing or the value is negative. */
Dim dim_bind(Symbols *symbols, Dim d, const whet_dim *values, int count);
const char *dim_symbol_name(const Symbols *symbols, Dim d); /* NULL unless d is a bare symbol */
bool dim_never_negative(const Symbols *symbols, Dim d);     /* surely >= 0, whatever the symbols are; false: perhaps not */

/* dims_text.c. A symbol whose name is no identifier is printed in quotes. */
void dim_print(const Symbols *symbols, Dim d, Text *out); /* "8", "batch", "2*sequence + 1", "(h + 1)//2", "?" */
/* Reads what dim_print writes from *at, which is moved behind it. False: no expression; *at is where. */
bool dim_parse(Symbols *symbols, const char **at, const char *end, Dim *out);

/* ---- Values and nodes ----------------------------------------------------------------------------------------------------- */

typedef struct Graph Graph;
typedef struct Node Node;

/* What is known of a value: its type, its shape, perhaps its content. The currency of shape rules. */
typedef struct Type {
    DType type; /* DT_NONE: unknown */
    int rank;   /* -1: unknown */
    Dim dims[WHET_MAX_RANK];
    const Tensor *constant; /* the whole content, if known; its shape is then the shape */
    const Dim *content;     /* integer content of rank 0 or 1, element by element, some perhaps symbolic or unknown */
    int64_t content_count;
} Type;

typedef struct Value {
    const char *name; /* unique in its graph */
    int id;           /* in Graph.values */
    Type type;
    Graph *graph;   /* the graph that defines it; a subgraph may read values of the graphs around it */
    Node *producer; /* NULL: graph input or initializer */
    int producer_output;
    bool is_input, is_initializer; /* both: an input with a default */
    bool stored_half;              /* f32 whose content is stored as f16 or bf16: passes/widen.c */
    int mark;                      /* scratch of one pass */
} Value;

typedef enum AttrKind {
    ATTR_FLOAT = 1,
    ATTR_INT,
    ATTR_STRING,
    ATTR_TENSOR,
    ATTR_GRAPH,
    ATTR_FLOATS,
    ATTR_INTS,
    ATTR_STRINGS,
    ATTR_TENSORS,
    ATTR_GRAPHS,
    ATTR_SPARSE_TENSOR,
    ATTR_SPARSE_TENSORS,
    ATTR_TYPE_PROTO,
    ATTR_TYPE_PROTOS
} AttrKind; /* ONNX's numbers */

typedef struct Attr {
    const char *name;
    AttrKind kind;
    float f;
    int64_t i;
    Str s;
    Tensor *tensor;
    Graph *graph;
    const float *floats;
    const int64_t *ints;
    const Str *strings;
    size_t count; /* of floats, ints, strings */
} Attr;

struct Node {
    const char *name;          /* may be "" */
    const char *op, *domain;   /* domain "" is ONNX's own ("ai.onnx" is read as "") */
    Value **inputs, **outputs; /* NULL: omitted */
    int input_count, output_count;
    Attr *attrs;
    int attr_count;
    int opset;               /* the version of `domain` in force */
    const struct OpRow *row; /* ops/ops.h; NULL until graph_resolve */
    Graph *graph;
    int number;       /* its place in the file's list, from 0: how messages count */
    int mark;         /* scratch of one pass */
    bool rounds;      /* its products are of f32 rounded to bf16: passes/precision.c */
    unsigned rounded; /* inputs, as bits, that it reads so rounded: those of a sum that products read too */
    bool turned;      /* its scales and zero points are side by side: passes/nbits.c */
};

struct Graph {
    const char *name;
    struct Model *model;
    Graph *parent; /* NULL: the main graph */
    Node *owner;   /* the node whose attribute it is; NULL: the main graph */
    Value **values;
    size_t value_count, value_capacity;
    Node **nodes; /* in an order in which every node follows its inputs */
    size_t node_count, node_capacity;
    Value **inputs, **outputs;
    int input_count, output_count;
};

typedef struct Metadata {
    const char *key, *value;
} Metadata;

/* A model as read. Owns the arena everything lives in and the mapping that initializers point into. */
typedef struct Model {
    Arena arena;
    const char *path; /* for messages; "" if from memory */
    Graph *graph;
    Symbols *symbols;
    Metadata *metadata;
    int metadata_count;
    int64_t ir_version;
    int opset;            /* of the default domain */
    struct FileMap *maps; /* onnx/: the model's file and its external data, unmapped by model_free */
    size_t file_bytes;    /* of all of them */
    bool bf16_weights;    /* they are stored so, all or some (passes/widen.c) */
    bool rounds;          /* products are of bf16 (passes/precision.c) */
    Map stand_ins;        /* of a model read from text: constants of which only a hash is there (Value *, Tensor *) -> it */
} Model;

/* build.c. Builders return NULL when out of memory (the model's arena remembers: arena.failed). */
Model *model_new(const whet_allocator *allocator); /* with symbols, without a graph */
Graph *graph_new(Model *model, Graph *parent, const char *name);
Value *graph_value(Graph *graph, const char *name);      /* a new value, of unknown type; the name is not copied */
Value *graph_find(const Graph *graph, const char *name); /* in this graph alone (linear; for tests and messages) */
Node *graph_node(Graph *graph, const char *domain, const char *op, int input_count, int output_count, int attr_count);
const Attr *node_attr(const Node *node, const char *name); /* NULL: not given */
int64_t node_int(const Node *node, const char *name, int64_t otherwise);
float node_float(const Node *node, const char *name, float otherwise);
/* All that makes an attribute what it is, piece by piece; tensors and graphs by where they lie. False: `put` said so. */
bool attr_put(const Attr *attr, bool (*put)(void *context, const void *data, size_t bytes), void *context);
/* The ints of an attribute; NULL and *count = 0 if not given. */
const int64_t *node_ints(const Node *node, const char *name, int *count);
/* "Conv 'backbone/conv1' (#17)": how messages call a node. Returns `buffer`. */
const char *node_label(const Node *node, char *buffer, size_t size);

/* sort.c: orders the nodes of the graph and its subgraphs. WHET_ERROR_FORMAT names a cycle. Not recursive on nodes. */
whet_status graph_sort(Graph *graph, whet_error *err);

/* infer.c: finds every node's row (graph_resolve: all that is unsupported, in one message, WHET_ERROR_UNSUPPORTED), checks
 * operand counts, attributes and types against it, then runs shape rules, folds constants with the same kernels that would
 * run, folds shape arithmetic symbolically, and replaces what is constant. Requires sorted graphs; recreates every Value.type. */
whet_status graph_resolve(Model *model, whet_error *err);
whet_status graph_infer(Model *model, whet_error *err);
/* The same, but weights of 8 bits and their scales stay apart. graph_simplify, or graph_infer, must follow. */
whet_status graph_infer_loosely(Model *model, whet_error *err);

/* shape_fold.c: whole-number content of output 0 from that of the inputs, symbolic or not, after the shape rule has run: into
 * call->out[0], in call->arena. What cannot be said is left alone. */
struct OpCall;
void graph_fold_content(struct OpCall *call);

/* passes/simplify.c: rewrites that compute the same in fewer or cheaper operations, rounded otherwise: docs/internals/graph.md
 * says which. After graph_infer_loosely. */
whet_status graph_simplify(Model *model, whet_error *err);

/* passes/widen.c: f16 and bf16 inside a model whose weights are stored in them become f32. Before graph_resolve. */
whet_status graph_widen(Model *model, whet_error *err);

/* passes/precision.c: matrix products, convolutions and attention in bf16, or not. Last of all. */
void graph_set_precision(Model *model, bool bf16);

/* report.c: the report of whet_model_check for people: what the model is, then all that is not supported. WHET_OK: it will run;
 * WHET_ERROR_UNSUPPORTED: it will not, and the report lists why; other errors: it cannot be read, and there is no report. */
whet_status graph_report(Model *model, Text *out, whet_error *err);

/* check.c: SSA, order, links both ways, types set; names `pass`. Debug builds call it after every pass. */
whet_status graph_check(const Graph *graph, const char *pass, whet_error *err);

/* text.c */
void graph_print(const Graph *graph, Text *out);
void type_print(const Symbols *symbols, const Type *type, Text *out); /* "f32[batch, 3, 224, 224]" */
Model *graph_parse(const char *text, size_t length, const whet_allocator *allocator, whet_error *err);

void model_free(Model *model); /* releases maps and arena and the model itself */

/* ---- onnx/reader.h's one function lives there: Model *onnx_read(path ...) ---------------------------------------------------
 */

#endif
