/* Folding: what a node's outputs hold, known before anything runs.
 *
 * A node all of whose inputs are constants is run once by the kernels that would run each time (run/fold.h); a Constant or a
 * view of a constant shares its memory. Whole-number contents that are symbolic (shape arithmetic) are shape_fold.c's; where
 * every element turns out to be a number, they become constants too.
 *
 * A hostile file can ask for any amount of it, so bytes and work have budgets, spent by estimates that do not depend on the
 * machine; time limits, here and in run/, stand behind them. What is not folded runs later: never an error.
 */
#include "graph/infer.h"

#include <string.h>

#include "run/fold.h"

#define FOLD_NODE_BYTES ((size_t)16 << 20) /* of one result that is larger than the inputs */
#define FOLD_NODE_WORK  1e4                /* that any fold costs */
#define FOLD_SECONDS    1.0                /* for one model, where the estimates were wrong */

/* Results differ from run to run, or the work is beyond what outputs' sizes tell. */
static const char *const never_folded[] = {
    "Bernoulli",     "Dropout",           "GRU", "LSTM", "Multinomial", "RNN", "RandomNormal", "RandomNormalLike",
    "RandomUniform", "RandomUniformLike",
};

/* An output element takes a sum over what may be a whole input. */
static const char *const contractions[] = {
    "Attention", "Conv",   "ConvInteger",   "ConvTranspose", "DFT",         "DeformConv",    "Einsum",
    "Gemm",      "MatMul", "MatMulInteger", "MatMulNBits",   "QLinearConv", "QLinearMatMul", "STFT",
};

static bool listed(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static void set_constant(Type *out, const Tensor *tensor) {
    *out = (Type){.type = (DType)tensor->type, .rank = tensor->rank, .constant = tensor};
    memcpy(out->dims, tensor->dims, (size_t)tensor->rank * sizeof *tensor->dims);
}

/* A tensor of `count` elements (rank 1; count < 0: one element, rank 0) over `data`, in the model's arena. */
static void set_literal(Infer *infer, Type *out, DType type, const void *data, int64_t count) {
    Arena *arena = &infer->model->arena;
    Tensor *tensor = ARENA_NEW(arena, Tensor);
    size_t bytes;
    if (!tensor || !dtype_bytes(type, count < 0 ? 1 : count, &bytes))
        return;
    *tensor = (Tensor){.type = (whet_type)type, .rank = count < 0 ? 0 : 1, .dims = {count}, .bytes = bytes};
    tensor->data = arena_copy(arena, data, bytes);
    if (tensor->data)
        set_constant(out, tensor);
}

/* ---- Constant ---------------------------------------------------------------------------------------------------------- */

static void fold_constant_node(Infer *infer, OpCall *call) {
    const Node *node = call->node;
    if (call->out_count != 1 || node->attr_count != 1)
        return;
    const Attr *attr = &node->attrs[0];
    Type *out = &call->out[0];
    switch (attr->kind) {
    case ATTR_TENSOR:
        if (attr->tensor && attr->tensor->data)
            set_constant(out, attr->tensor);
        return;
    case ATTR_FLOAT: set_literal(infer, out, DT_F32, &attr->f, -1); return;
    case ATTR_INT: set_literal(infer, out, DT_S64, &attr->i, -1); return;
    case ATTR_STRING: set_literal(infer, out, DT_STRING, &attr->s, -1); return;
    case ATTR_FLOATS: set_literal(infer, out, DT_F32, attr->floats, (int64_t)attr->count); return;
    case ATTR_INTS: set_literal(infer, out, DT_S64, attr->ints, (int64_t)attr->count); return;
    case ATTR_STRINGS: set_literal(infer, out, DT_STRING, attr->strings, (int64_t)attr->count); return;
    default: return;
    }
}

/* ---- By the kernels ---------------------------------------------------------------------------------------------------- */

static bool all_constant(const OpCall *call) {
    for (int i = 0; i < call->in_count; i++) {
        if (call->in[i] && (!call->in[i]->constant || call->in[i]->type == DT_STRING))
            return false;
    }
    return true;
}

/* The output is the first input under another shape: the data is shared. */
static bool fold_view(Infer *infer, OpCall *call) {
    Type *out = &call->out[0];
    const Tensor *from = call->in_count && call->in[0] ? call->in[0]->constant : NULL;
    if (!call->row->view || call->out_count != 1 || !from || out->rank < 0)
        return false;
    Tensor *tensor = ARENA_NEW(&infer->model->arena, Tensor);
    if (!tensor)
        return false;
    *tensor = *from;
    tensor->rank = out->rank;
    for (int i = 0; i < out->rank; i++) {
        if (!dim_is_extent(out->dims[i]))
            return false;
        tensor->dims[i] = out->dims[i];
    }
    int64_t count = whet_tensor_count(tensor);
    if (count < 0 || count != whet_tensor_count(from))
        return false;
    set_constant(out, tensor);
    return true;
}

/* What a fold takes, as far as shapes tell; unknown ones (NonZero) count as their inputs. */
typedef struct Estimate {
    size_t in_bytes, out_bytes;
    double work;
} Estimate;

static bool estimate(const OpCall *call, Estimate *out) {
    double in_count = 0, out_count = 0;
    *out = (Estimate){0};
    for (int i = 0; i < call->in_count; i++) {
        if (call->in[i]) {
            out->in_bytes += call->in[i]->constant->bytes;
            in_count += (double)whet_tensor_count(call->in[i]->constant);
        }
    }
    for (int i = 0; i < call->out_count; i++) {
        const Type *type = &call->out[i];
        int64_t count = 0;
        size_t bytes = 0;
        bool known = type->rank >= 0;
        for (int d = 0; d < type->rank; d++)
            known = known && dim_is_extent(type->dims[d]);
        if (known && (!checked_count(type->dims, type->rank, &count) || !dtype_bytes(type->type, count, &bytes) ||
                      !checked_size_add(out->out_bytes, bytes, &out->out_bytes)))
            return false;
        out_count += (double)count;
    }
    bool sums = listed(contractions, COUNT(contractions), call->node->op);
    out->work = FOLD_NODE_WORK + in_count + out_count * (sums ? in_count : 1);
    return true;
}

static bool is_affordable(const Infer *infer, const OpCall *call) {
    Estimate cost;
    if (!estimate(call, &cost) || cost.work > infer->fold_work || cost.out_bytes > infer->fold_limit)
        return false;
    return cost.out_bytes <= FOLD_NODE_BYTES || cost.out_bytes <= cost.in_bytes;
}

/* Moves the results into the model's arena. */
static void keep_results(Infer *infer, OpCall *call, const Tensor *results) {
    size_t bytes = 0;
    for (int i = 0; i < call->out_count; i++) {
        if (results[i].type == WHET_STRING || !checked_size_add(bytes, results[i].data ? results[i].bytes : 0, &bytes))
            return;
    }
    if (bytes > infer->fold_limit)
        return;
    infer->fold_limit -= bytes;
    for (int i = 0; i < call->out_count; i++) {
        if (!results[i].data)
            continue;
        Tensor *tensor = arena_copy(&infer->model->arena, &results[i], sizeof *results);
        if (!tensor)
            return;
        tensor->data = arena_copy(&infer->model->arena, results[i].data, results[i].bytes);
        if (tensor->data)
            set_constant(&call->out[i], tensor);
    }
}

static void fold_by_kernels(Infer *infer, OpCall *call) {
    Tensor *results = ARENA_ARRAY(&infer->scratch, Tensor, (size_t)call->out_count);
    Estimate cost;
    if (!results || !is_affordable(infer, call) || !estimate(call, &cost))
        return;
    infer->fold_work -= cost.work;
    double start = clock_now();
    whet_error ignored;
    error_clear(&ignored);
    whet_status status = run_fold_node(call->node, call->in, results, &infer->scratch, infer->model->arena.allocator, &ignored);
    infer->fold_seconds += clock_now() - start;
    if (status == WHET_ERROR_LIMIT || infer->fold_seconds > FOLD_SECONDS)
        infer->fold_work = 0; /* the estimates are wrong for this file: no more of it */
    if (!status)
        keep_results(infer, call, results);
}

/* ---- Contents that are all numbers ------------------------------------------------------------------------------------ */

static void write_element(const Tensor *tensor, int64_t i, int64_t value) {
    if (tensor->type == WHET_S64)
        ((int64_t *)tensor->data)[i] = value;
    else if (tensor->type == WHET_U64)
        ((uint64_t *)tensor->data)[i] = (uint64_t)value;
    else
        whet_tensor_set(tensor, i, (double)value);
}

static bool is_whole(DType type) {
    Kind kind = dtype_kind(type);
    return kind == KIND_SIGNED || kind == KIND_UNSIGNED || kind == KIND_BOOL;
}

static void make_constant(Infer *infer, Type *type) {
    bool fits = type->content && !type->constant && is_whole(type->type) &&
                (type->rank == 0 || (type->rank == 1 && type->dims[0] == type->content_count));
    for (int64_t i = 0; fits && i < type->content_count; i++)
        fits = dim_is_number(type->content[i]) && type->content[i] != DIM_LOWEST; /* which stands for lower ones, too */
    Tensor *tensor = fits ? ARENA_NEW(&infer->model->arena, Tensor) : NULL;
    if (!tensor)
        return;
    *tensor = (Tensor){.type = (whet_type)type->type, .rank = type->rank, .dims = {type->content_count}};
    if (!dtype_bytes(type->type, type->content_count, &tensor->bytes))
        return;
    tensor->data = arena_alloc(&infer->model->arena, tensor->bytes, 1);
    if (!tensor->data)
        return;
    for (int64_t i = 0; i < type->content_count; i++)
        write_element(tensor, i, type->content[i]);
    set_constant(type, tensor);
}

/* The integer pass (passes/integer.c) wants weights as they are stored. Vectors are no weights: biases. */
static bool is_kept_apart(const Infer *infer, const OpCall *call) {
    return infer->keep_quantized && strcmp(call->node->op, "DequantizeLinear") == 0 && call->in_count > 0 && call->in[0] &&
           call->in[0]->rank >= 2;
}

void fold_call(Infer *infer, OpCall *call) {
    const Node *node = call->node;
    if (is_kept_apart(infer, call))
        return;
    if (control_has_graphs(node) || listed(never_folded, COUNT(never_folded), node->op))
        return;
    for (int i = 0; i < call->out_count; i++)
        call->out[i].constant = NULL; /* a rule's own would lie in scratch memory */
    if (node->domain[0] == 0 && strcmp(node->op, "Constant") == 0) {
        fold_constant_node(infer, call);
        return;
    }
    if (node->domain[0] == 0)
        graph_fold_content(call);
    for (int i = 0; i < call->out_count; i++)
        make_constant(infer, &call->out[i]);
    if (call->out_count && !call->out[0].constant && all_constant(call) && !fold_view(infer, call))
        fold_by_kernels(infer, call);
}
