/* Operators: one row each. A row says what ONNX's own table says (versions, operands, types, attributes), how shapes follow, and
 * what is computed: most of them in a line of notation.
 *
 * To add an operator: add a row to the table of its family (elementwise.c, movement.c, ...) and a test case. Nothing else
 * (docs/internals/operators.md). The rows of a family are sorted by name, then domain, then version.
 *
 * A row's columns:
 *   domain     "" (ONNX's own) or "com.microsoft" ...
 *   name       operator
 *   since      the first opset version the row holds for; it holds until the next row of the same name. A row with `refused`
 *              set says from which version on it is not supported, and why.
 *   signature  operands by name and type: "x:T, w:T, b?:T -> y:T".
 *                b?    may be omitted        x...   one or more (inputs, outputs)
 *                k#    its content decides shapes or the kernel: rules may read it, and it is part of the cached kernel's key
 *              a type is a DType's name ("s64") or a letter bound by `types`; equal letters are equal types; "*" is any type
 *   types      what the letters stand for: "T=float" "T=num U=s32|s64". Sets: float (f16 bf16 f32 f64), int (all eight),
 *              signed, unsigned, num (float or int), any (everything but strings), all
 *   attrs      "axis:i=-1 alpha:f=0.01 mode:s=linear|nearest pads:I perm:I! body:g!": name, kind (i f s t g and I F S for lists),
 *              default, `!`: required. Attributes that are not in the list are refused by name. A string with `|` is one of
 *              those words, of which the first is the default: others are refused, and op_choice says which it is.
 *   shape      the shape rule
 *   then one of
 *   text       kernel text: operands by the names of the signature, scalar attributes by their names (as constants); omitted
 *              optional inputs are known to builders only. It may have the holes of op_holes
 *   build      writes kernel text where a line of text cannot say it; or fills holes of its own in `text`
 *   run        C, for what depends on data for its shape, or walks memory in no affine way
 *   view       the output is the first input's memory under another shape
 *   moves      with text or build, and native_move as run: elements of type T are moved to one output, and none is looked at;
 *              move.c then serves types that the notation lacks
 * Where build and run stand together, run is called if build writes nothing (casts to and from strings, say).
 */
#ifndef WHET_OPS_H
#define WHET_OPS_H

#include "graph/graph.h"
#include "kernel/kernel.h"

#define OP_MAX_OPERANDS 64 /* formal ones; variadic nodes may have more, up to KERNEL_MAX_TENSORS for kernels */

typedef struct OpCall OpCall;
typedef struct OpRun OpRun;

typedef struct OpRow {
    const char *domain, *name;
    int since;
    const char *signature, *types, *attrs;
    whet_status (*shape)(OpCall *);
    const char *text;
    whet_status (*build)(OpCall *, Text *);
    whet_status (*run)(OpRun *);
    bool view, moves;
    const char *refused; /* the reason; the other columns are then empty */
} OpRow;

/* One call of an operator as its shape rule and builder see it. At load, dims may be symbolic and contents unknown; when a
 * kernel is built, every input dim is an extent and the content of `#` operands is known (in[i]->constant). */
struct OpCall {
    const Node *node;
    const OpRow *row;
    Arena *arena; /* for what the rule makes */
    Symbols *symbols;
    whet_error *err;
    int opset;
    int in_count, out_count;
    const Type **in; /* NULL: omitted */
    Type *out;       /* types are set from the signature before the rule runs; the rule sets rank and dims, and may set content
                        or, where the signature cannot say it (Cast, Constant), type. Left alone, rank is -1: unknown until run */
};

/* call.c: helpers of rules. Errors are prefixed with the node by the caller. */
whet_status op_error(OpCall *call, whet_status status, const char *format, ...) PRINTF_LIKE(3, 4);
int64_t op_int(const OpCall *call, const char *name); /* attribute, or the default in the row */
double op_float(const OpCall *call, const char *name);
Str op_string(const OpCall *call, const char *name);
int op_choice(const OpCall *call, const char *name);                      /* which of the row's words; 0: the row has none */
const int64_t *op_ints(const OpCall *call, const char *name, int *count); /* NULL, 0: not given */
const Attr *op_attr(const OpCall *call, const char *name);                /* NULL: not given */
bool op_has(const OpCall *call, int input);
bool op_wants(const OpCall *call, int output); /* false: beyond the node's outputs, or omitted */
/* The integer content of input `index` (any integer type), as Dims in the call's arena; false if not known (at load). */
bool op_content(OpCall *call, int input, const Dim **values, int64_t *count);
bool op_content_ints(OpCall *call, int input, const int64_t **values, int64_t *count); /* all elements known numbers */
/* The one integer in the content of input `index`, at least `least` (>= 0); DIM_UNKNOWN: omitted, or not known yet. */
whet_status op_number(OpCall *call, int input, int64_t least, Dim *value);
/* An axis in [-rank, rank) made positive; -1 and an error otherwise. */
int op_axis(OpCall *call, int64_t axis, int rank);
/* The `*count` axes that are given, each once; NULL: all of them. */
whet_status op_axes(OpCall *call, const int64_t *given, int rank, int *axes, int *count);
whet_status op_same_shape(OpCall *call, int output, int input); /* out = in */
/* NumPy broadcasting of dims. Two different symbols give DIM_UNKNOWN: one of them may turn out to be 1. */
whet_status op_broadcast(OpCall *call, Type *out, const Type *a, const Type *b);
void op_set_shape(OpCall *call, int output, int rank, const Dim *dims);
bool op_ranks_known(const OpCall *call); /* of every input given */

/* Shape rules shared by many rows. */
whet_status shape_same(OpCall *call);      /* every output like input 0 */
whet_status shape_broadcast(OpCall *call); /* output 0: all inputs broadcast together */

/* Text for builders. An index list is written `i0, i1, ...`: `stem` and a number an axis. */
void op_put_indices(Text *out, const char *stem, int from, int to); /* i_from .. i_(to-1), separated by ", " */
void op_put_element(Text *out, const char *name, int rank);         /* "name[i0, i1, ...]" */
/* Reads tensor `name` of the given dims as broadcast to axes `stem`0 .. of `rank` dims: "b[0, i2]". */
void op_put_read(Text *out, const char *name, const Type *type, const char *stem, int rank);
/* The type to compute in: f32 for the floats that are narrower, the type itself otherwise. */
DType op_wide(DType type);

/* template.c: kernel text with holes: `$K` stands for what the hole 'K' (a letter) was given. */
typedef struct OpHoles {
    Arena *arena;
    const char *text[64]; /* by letter, from '@' on; NULL: no such hole */
} OpHoles;
void op_put_filled(Text *out, const OpHoles *holes, const char *text);
const char *op_filling(const OpHoles *holes, char name);
void op_hole(OpHoles *holes, char name, const char *format, ...) PRINTF_LIKE(3, 4);
void op_hole_number(OpHoles *holes, char name, int64_t number);
void op_hole_float(OpHoles *holes, char name, float number);      /* as text_float */
void op_hole_text(OpHoles *holes, char name, Text *text);         /* takes the text */
void op_hole_filled(OpHoles *holes, char name, const char *text); /* of what other holes have by now */
void op_hole_read(OpHoles *holes, char name, const char *tensor, const Type *type, int rank); /* as op_put_read, of i0 .. */
void op_hole_more(OpHoles *holes, char name, char stem, int from, int to); /* ", i2, i3": behind other indices */
/* "i0, i1, i2", with `instead` and its number, or '0' alone, where `reduced` (NULL: nowhere) is true; 0: those are left out. */
void op_hole_indices(OpHoles *holes, char name, int rank, const bool *reduced, char instead);
/* $T: the type of output 0; $W: the type that input 0 is computed in. */
OpHoles op_holes(const OpCall *call);
/* And, of input 0 where some of its axes are reduced: $I an element, "i0, i1, i2"; $J an element inside the reduction, "i0, j1,
 * i2"; $K the result with all axes kept, "i0, 0, i2"; $S "sum(j1) ", $P with prod, $M with max (any of bools), $L with min (all
 * of bools), nothing where no axis is reduced; $N how many elements each reduction has, "12.0", of integers "12". */
OpHoles op_holes_reduced(const OpCall *call, const bool *reduced);

/* run of an operator in C. Defined by run/; ops use it through these functions alone. Inputs are in call->in with constant
 * set: content, type and shape of each are known. */
struct OpRun {
    OpCall *call;
    void *self; /* the executor's */
};
const Tensor *op_input(const OpRun *run, int index); /* NULL: omitted */
/* Memory for output `index`, not cleared; NULL: error set. An output that nobody reads is given memory too. */
void *op_output(OpRun *run, int index, DType type, int rank, const int64_t *dims);
whet_status op_output_alias(OpRun *run, int index, int input, int rank, const int64_t *dims); /* shares the input's memory */
bool op_wanted(const OpRun *run, int index); /* false: the output is omitted in the node */
/* Scratch memory until the operator returns. NULL: error set. */
void *op_scratch(OpRun *run, size_t bytes);
whet_status op_interrupted(OpRun *run); /* call in long loops: WHET_ERROR_LIMIT when the time is up */

/* A kernel that an operator in C runs, perhaps many times. `text` stands alone: heads give all types and shapes, inputs first. A
 * tensor that has an operand's name in the signature, and its type and shape, is that operand: where the graph has it as a
 * constant it is packed once. The kernel is made when it is first asked for and kept under the number `which` for the types and
 * shapes of this call, so its text must follow from them and the attributes. NULL: error set. */
enum { OP_KERNELS = 4 };
typedef struct OpKernel OpKernel;
OpKernel *op_kernel_made(const OpRun *run, int which); /* NULL: it was not asked for yet */
OpKernel *op_kernel(OpRun *run, int which, const Text *text);
whet_status op_kernel_run(OpRun *run, const OpKernel *kernel, void *const *data); /* data: one a head, in their order */
/* Tasks side by side, one a thread; in a task op_kernel_run (of kernels that op_kernel_ready has seen) and op_interrupted may be
 * called, with the task's own `run`, and kernels run on its thread alone. The first task's error is the error. */
int op_threads(const OpRun *run);
whet_status op_kernel_ready(OpRun *run, const OpKernel *kernel);
whet_status op_tasks(OpRun *run, int count, whet_status (*task)(OpRun *run, void *context, int i), void *context);

/* Running a subgraph (If, Loop, Scan). Values are reference-counted handles of the executor. */
typedef struct OpValue OpValue;
OpValue *op_value_of_input(OpRun *run, int index); /* a new reference; NULL: omitted or error */
OpValue *op_value_new(OpRun *run, DType type, int rank, const int64_t *dims, void **data);
const Tensor *op_value_tensor(const OpValue *value);
void op_value_release(OpRun *run, OpValue *value);
/* `inputs` are borrowed; `outputs` receive new references, graph->output_count of them. */
whet_status op_subgraph(OpRun *run, const Graph *graph, OpValue *const *inputs, int input_count, OpValue **outputs);
whet_status op_output_value(OpRun *run, int index, OpValue *value); /* takes the reference */

/* table.c: the rows of every family. FAMILIES is the list: one file a family, which defines ops_NAME and ops_NAME_count.
 * op_find gives NULL where nothing fits, and `err` says what is not supported. */
const OpRow *op_find(const char *domain, const char *name, int opset, whet_error *err);
size_t op_row_count(void);
const OpRow *op_row(size_t index);
/* NULL, or the name of the first row that is out of order (a test asserts that there is none). */
const char *op_table_unsorted(void);

/* signature.c */
typedef struct Operand {
    Str name;
    Str type;
    bool optional, variadic, content;
} Operand;
typedef struct Signature {
    Operand in[OP_MAX_OPERANDS], out[OP_MAX_OPERANDS];
    int in_count, out_count;
} Signature;
bool signature_parse(const char *text, Signature *out);
/* One attribute of a row's list. `kind` is its letter; `preset` the default as text, empty if none. */
typedef struct AttrSpec {
    Str name, preset;
    Str choices; /* "linear|nearest"; empty: any string */
    char kind;
    bool required, has_preset;
} AttrSpec;
/* Takes the next attribute off `*text`; false at the end (or at a row that is written wrongly). */
bool signature_next_attr(const char **text, AttrSpec *out);
bool signature_find_attr(const char *text, const char *name, AttrSpec *out);
int signature_choice(Str choices, Str word);                        /* its place among them; -1: it is none. "" is the first */
bool signature_type_in(const char *set, size_t length, DType type); /* "float|s32": is `type` one of them? */
/* Operand counts, attributes (unknown, missing, of the wrong kind) and input types against the row; sets out[i].type where the
 * signature says it. */
whet_status op_check_call(OpCall *call);
bool op_input_is_content(const OpRow *row, int input); /* marked `#` */

/* lower.c: op_check_call, then the shape rule. `out` need not be initialised. */
whet_status op_infer(OpCall *call);

/* lower.c: the kernel of a call whose input types and shapes are all known: runs the shape rule, gets the text, parses and binds.
 * The kernel's tensors bear the operand names of the signature; input i of the call is tensor in_tensor[i] (-1: not read),
 * output i is out_tensor[i]. */
typedef struct Lowered {
    Kernel *kernel; /* NULL for run and view rows */
    int *in_tensor, *out_tensor;
} Lowered;
whet_status op_lower(OpCall *call, Lowered *out);

#endif
