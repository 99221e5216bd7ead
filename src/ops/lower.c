/* From a call to its kernel: the shape rule on extents, the row's text (or what its builder writes), parsed and bound.
 *
 * The kernel sees operands by the names of the signature (elements of a variadic `x...` are x0, x1, ...) and the row's int and
 * float attributes as named constants. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/rewrite.h"
#include "ops/native.h"

/* Weights that the graph has as f32 and the file as halves (passes/widen.c) are f32 to rules. stored[i]: as what input i is
 * stored; NULL: nobody asks. */
static bool widen_stored(OpCall *call, DType *stored) {
    for (int i = 0; i < call->in_count && i < call->node->input_count; i++) {
        const Value *value = call->node->inputs[i];
        if (!value || !value->stored_half || !call->in[i] || call->in[i]->type == DT_F32)
            continue;
        Type *wide = arena_copy(call->arena, call->in[i], sizeof *wide);
        if (!wide)
            return false;
        wide->type = DT_F32;
        if (stored)
            stored[i] = call->in[i]->type;
        call->in[i] = wide;
    }
    return true;
}

/* The kernel reads what is stored narrower as it is, and rounds factors where that is wanted. */
static bool narrow_kernel(OpCall *call, const DType *stored, const Lowered *lowered) {
    for (int i = 0; i < call->in_count; i++)
        if (stored[i] != DT_NONE && lowered->in_tensor[i] >= 0 &&
            !kernel_store_narrower(lowered->kernel, lowered->in_tensor[i], stored[i]))
            return false;
    int i = 0;
    for (unsigned left = call->node->rounded; left; left >>= 1, i++) {
        int tensor = left & 1 ? lowered->in_tensor[i] : -1;
        if (tensor >= 0 && lowered->kernel->tensors[tensor].type == DT_F32 && !kernel_round_tensor(lowered->kernel, tensor))
            return false;
    }
    return !call->node->rounds || kernel_round_products(lowered->kernel);
}

/* What rules refuse about shapes and contents is told with what the node was given: "... (inputs: A f32[2, 4], B f32[3, 5])". */
static whet_status show_inputs(OpCall *call, whet_status status) {
    Signature signature;
    if (!call->err || (status != WHET_ERROR_DATA && status != WHET_ERROR_FORMAT) ||
        !signature_parse(call->row->signature, &signature))
        return status;
    Text text;
    text_init(&text);
    text_printf(&text, "%s (inputs:", call->err->message);
    for (int i = 0; i < call->in_count && signature.in_count; i++) {
        Str name = signature.in[i < signature.in_count ? i : signature.in_count - 1].name;
        text_printf(&text, "%s %.*s ", i ? "," : "", (int)name.length, name.data);
        if (call->in[i])
            type_print(call->symbols, call->in[i], &text);
        else
            text_put(&text, "none");
    }
    text_char(&text, ')');
    if (!text.failed)
        status = error_set(call->err, status, "%s", text.data);
    text_free(&text);
    return status;
}

whet_status op_infer(OpCall *call) {
    if (!widen_stored(call, NULL))
        return error_memory(call->err);
    whet_status status = op_check_call(call);
    if (status || !call->row->shape)
        return status;
    status = call->row->shape(call);
    return status ? show_inputs(call, status) : WHET_OK;
}

/* The name operand `index` has in kernel text; NULL: out of memory. */
static const char *operand_name(Arena *arena, const Operand *operands, int count, int index) {
    const Operand *operand = &operands[index < count ? index : count - 1];
    int length = (int)operand->name.length;
    return operand->variadic ? arena_printf(arena, "%.*s%d", length, operand->name.data, index - (int)(operand - operands))
                             : arena_printf(arena, "%.*s", length, operand->name.data);
}

typedef struct Bindings {
    KernelArg *args;
    KernelConst *consts;
    int arg_count, const_count;
} Bindings;

/* in_count arguments for the inputs (name NULL: omitted), then out_count for the outputs. */
static bool collect_args(OpCall *call, const Signature *signature, Bindings *out) {
    out->args = ARENA_ARRAY(call->arena, KernelArg, (size_t)(call->in_count + call->out_count));
    if (!out->args)
        return false;
    for (int i = 0; i < call->in_count; i++)
        if (call->in[i])
            out->args[i] = (KernelArg){operand_name(call->arena, signature->in, signature->in_count, i), call->in[i]->type,
                                       call->in[i]->rank, call->in[i]->dims};
    for (int i = 0; i < call->out_count; i++)
        out->args[call->in_count + i] = (KernelArg){operand_name(call->arena, signature->out, signature->out_count, i),
                                                    call->out[i].type, call->out[i].rank, call->out[i].dims};
    out->arg_count = call->in_count + call->out_count;
    return !call->arena->failed;
}

static bool collect_consts(OpCall *call, Bindings *out) {
    int count = 0;
    AttrSpec spec;
    for (const char *at = call->row->attrs; signature_next_attr(&at, &spec);)
        count++;
    out->consts = ARENA_ARRAY(call->arena, KernelConst, (size_t)count);
    if (!out->consts)
        return false;
    for (const char *at = call->row->attrs; signature_next_attr(&at, &spec);) {
        const char *name = arena_string(call->arena, spec.name.data, spec.name.length);
        if (!name)
            return false;
        if (!spec.has_preset && !node_attr(call->node, name))
            continue;
        if (spec.kind == 'i') {
            int64_t value = op_int(call, name);
            out->consts[out->const_count++] = (KernelConst){name, false, (double)value, value};
        } else if (spec.kind == 'f') {
            out->consts[out->const_count++] = (KernelConst){.name = name, .is_float = true, .number = op_float(call, name)};
        }
    }
    return true;
}

static whet_status get_text(OpCall *call, Text *text) {
    if (call->row->moves && !native_in_text(call))
        return WHET_OK;
    if (!call->row->build) {
        OpHoles holes = op_holes(call);
        op_put_filled(text, &holes, call->row->text);
    } else {
        whet_status status = call->row->build(call, text);
        if (status)
            return status;
    }
    return text->failed ? error_memory(call->err) : WHET_OK;
}

static whet_status check_extents(OpCall *call) {
    for (int i = 0; i < call->out_count; i++)
        for (int d = 0; d < call->out[i].rank; d++)
            if (!dim_is_extent(call->out[i].dims[d]))
                return op_error(call, WHET_ERROR_DATA, "dimension %d of output %d is not known, or negative", d, i);
    return WHET_OK;
}

/* Compacts the arguments that are there: kernel_bind takes those that the text does not name as errors of the caller, so only
 * tensors of the kernel are handed over. */
static int named_args(const Kernel *kernel, const Bindings *bindings, KernelArg *out) {
    int count = 0;
    for (int i = 0; i < bindings->arg_count; i++)
        if (bindings->args[i].name && kernel_find_tensor(kernel, bindings->args[i].name) >= 0)
            out[count++] = bindings->args[i];
    return count;
}

static int *find_tensors(OpCall *call, const Kernel *kernel, const KernelArg *args, int count) {
    int *tensors = ARENA_ARRAY(call->arena, int, (size_t)count);
    for (int i = 0; tensors && i < count; i++)
        tensors[i] = args[i].name ? kernel_find_tensor(kernel, args[i].name) : -1;
    return tensors;
}

/* Every tensor from outside must be an operand: anything else is a bug in the row. */
static whet_status check_tensors(OpCall *call, const Lowered *lowered) {
    const Kernel *kernel = lowered->kernel;
    for (int t = 0; t < kernel->tensor_count; t++) {
        Role role = kernel->tensors[t].role;
        bool found = role == ROLE_TEMPORARY;
        for (int i = 0; role == ROLE_INPUT && i < call->in_count; i++)
            found |= lowered->in_tensor[i] == t;
        for (int i = 0; role == ROLE_OUTPUT && i < call->out_count; i++)
            found |= lowered->out_tensor[i] == t;
        if (!found)
            return op_error(call, WHET_ERROR_INTERNAL, "tensor '%s' of the kernel is no operand of the node",
                            kernel->tensors[t].name);
    }
    for (int i = 0; i < call->out_count; i++)
        if (op_wants(call, i) && lowered->out_tensor[i] < 0)
            return op_error(call, WHET_ERROR_UNSUPPORTED, "output %d is not supported", i);
    return WHET_OK;
}

static whet_status bind(OpCall *call, const Text *text, const Bindings *bindings, Lowered *out) {
    out->kernel = kernel_parse(call->arena, text->data, text->length, call->err);
    if (!out->kernel)
        return call->err ? call->err->status : WHET_ERROR_INTERNAL;
    KernelArg *args = ARENA_ARRAY(call->arena, KernelArg, (size_t)bindings->arg_count);
    if (!args)
        return error_memory(call->err);
    whet_status status = kernel_bind(out->kernel, args, named_args(out->kernel, bindings, args), bindings->consts,
                                     bindings->const_count, call->err);
    if (status)
        return status;
    out->in_tensor = find_tensors(call, out->kernel, bindings->args, call->in_count);
    out->out_tensor = find_tensors(call, out->kernel, bindings->args + call->in_count, call->out_count);
    if (!out->in_tensor || !out->out_tensor)
        return error_memory(call->err);
    return check_tensors(call, out);
}

/* Shapes that the rule left open follow from the kernel. */
static void take_shapes(OpCall *call, const Lowered *lowered) {
    for (int i = 0; i < call->out_count; i++)
        if (lowered->out_tensor[i] >= 0) {
            const KernelTensor *tensor = &lowered->kernel->tensors[lowered->out_tensor[i]];
            call->out[i].type = tensor->type;
            op_set_shape(call, i, tensor->rank, tensor->dims);
        }
}

whet_status op_lower(OpCall *call, Lowered *out) {
    *out = (Lowered){0};
    DType *stored = ARENA_ARRAY(call->arena, DType, (size_t)call->in_count);
    if (!stored || !widen_stored(call, stored))
        return error_memory(call->err);
    whet_status status = op_infer(call);
    if (status || (!call->row->text && !call->row->build))
        return status;
    status = check_extents(call);
    if (status)
        return status;
    Signature signature;
    bool parsed = signature_parse(call->row->signature, &signature);
    assert(parsed);
    (void)parsed;
    Bindings bindings = {0};
    Text text;
    text_init(&text);
    status = get_text(call, &text);
    if (!status && (!collect_args(call, &signature, &bindings) || !collect_consts(call, &bindings)))
        status = error_memory(call->err);
    if (!status && text.length)
        status = bind(call, &text, &bindings, out);
    if (!status && text.length)
        take_shapes(call, out);
    if (!status && text.length && !narrow_kernel(call, stored, out))
        status = error_memory(call->err);
    if (!status && !text.length && !call->row->run)
        status = op_error(call, WHET_ERROR_UNSUPPORTED, "these types or attributes are not supported");
    text_free(&text);
    return status;
}
