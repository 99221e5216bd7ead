/* Rows that only move elements (OpRow.moves), for element types that the notation lacks: 8-bit floats and complex numbers, and
 * strings.
 *
 * What moves is not looked at, so the row's own text serves: bound to whole numbers of the elements' width, it moves their bits.
 * Where there are none so wide, or the text cannot say a constant, each element is given a number, the text moves the numbers,
 * and they are looked up again. Number 0 stands for what text reads outside of a tensor: zero, or the string of no length. */
#include "ops/native.h"

#include <string.h>

bool native_in_text(const OpCall *call) {
    for (int i = 0; i < call->in_count; i++)
        if (call->in[i] && !kernel_computes(call->in[i]->type))
            return false;
    return !native_empty(&call->out[0]);
}

/* The call as its text sees it: what moves is of another type. */
typedef struct Stand {
    OpCall call;
    Type *in, out;
    Tensor *tensors; /* by input */
    bool *moved;
    int64_t count; /* of elements that are moved */
    Lowered lowered;
} Stand;

static whet_status stand_start(OpRun *run, Stand *s) {
    OpCall *call = run->call;
    Signature signature;
    *s = (Stand){.call = *call};
    s->call.in = ARENA_ARRAY(call->arena, const Type *, call->in_count);
    s->call.out = &s->out;
    s->in = ARENA_ARRAY(call->arena, Type, call->in_count);
    s->tensors = ARENA_ARRAY(call->arena, Tensor, call->in_count);
    s->moved = ARENA_ARRAY(call->arena, bool, call->in_count);
    if (call->arena->failed)
        return error_memory(call->err);
    if (!signature_parse(call->row->signature, &signature))
        return native_error(run, WHET_ERROR_INTERNAL, "signature '%s'", call->row->signature);
    Str to = signature.out[0].type;
    for (int i = 0; i < call->in_count; i++) {
        Str type = signature.in[i].type;
        s->moved[i] = call->in[i] && type.length == to.length && !memcmp(type.data, to.data, to.length);
        s->count += s->moved[i] ? whet_tensor_count(op_input(run, i)) : 0;
    }
    return WHET_OK;
}

/* Has elements stand for those of the inputs, of `type`: their bits or, with `numbers`, those. No kernel: the text cannot say it.
 */
static whet_status stand_lower(OpRun *run, Stand *s, DType type, int64_t *numbers) {
    for (int i = 0; i < run->call->in_count; i++) {
        if (!run->call->in[i])
            continue;
        s->tensors[i] = *op_input(run, i);
        s->in[i] = *run->call->in[i];
        s->in[i].constant = s->in[i].constant ? &s->tensors[i] : NULL;
        s->call.in[i] = &s->in[i];
        if (!s->moved[i])
            continue;
        s->in[i].type = type;
        s->tensors[i].type = (whet_type)type;
        if (numbers) {
            s->tensors[i].data = numbers;
            numbers += whet_tensor_count(&s->tensors[i]);
        }
    }
    s->out = (Type){.rank = -1};
    return op_lower(&s->call, &s->lowered);
}

static whet_status stand_run(const Stand *s, void *to) {
    void *data[KERNEL_MAX_TENSORS] = {0};
    for (int i = 0; i < s->call.in_count; i++)
        if (s->lowered.in_tensor[i] >= 0)
            data[s->lowered.in_tensor[i]] = s->tensors[i].data;
    data[s->lowered.out_tensor[0]] = to;
    return kernel_eval(s->lowered.kernel, data, NULL, s->call.err);
}

/* The element with that number, from 1 on. */
static const void *element(const OpRun *run, const Stand *s, int64_t number) {
    for (int i = 0; i < run->call->in_count; i++) {
        int64_t count = s->moved[i] ? whet_tensor_count(op_input(run, i)) : 0;
        if (number <= count)
            return (const char *)op_input(run, i)->data + (size_t)(number - 1) * native_size(run->call->out[0].type);
        number -= count;
    }
    return NULL;
}

static whet_status move_numbers(OpRun *run, Stand *s, char *to) {
    const Type *out = &run->call->out[0];
    const Str nothing = {"", 0};
    const uint64_t zero[2] = {0};
    const void *outside = out->type == DT_STRING ? (const void *)&nothing : zero;
    size_t size = native_size(out->type), count = (size_t)native_count(out->rank, out->dims);
    int64_t *numbers = op_scratch(run, ((size_t)s->count + count + 1) * sizeof *numbers), *found = numbers + s->count;
    if (!numbers)
        return native_failed(run);
    for (int64_t i = 0; i < s->count; i++)
        numbers[i] = i + 1;
    whet_status status = stand_lower(run, s, DT_S64, numbers);
    if (status == WHET_OK && !s->lowered.kernel)
        status = native_error(run, WHET_ERROR_UNSUPPORTED, "type %s is not supported", dtype_name(out->type));
    if (status == WHET_OK)
        status = stand_run(s, found);
    for (size_t i = 0; status == WHET_OK && i < count; i++)
        memcpy(to + i * size, found[i] ? element(run, s, found[i]) : outside, size);
    return status;
}

static whet_status move(OpRun *run) {
    static const DType wide[] = {[1] = DT_U8, [2] = DT_U16, [4] = DT_U32, [8] = DT_U64};
    size_t size = native_size(run->call->out[0].type);
    void *to = native_output(run, 0);
    if (!to || native_empty(&run->call->out[0]))
        return to ? WHET_OK : native_failed(run);
    Stand s;
    whet_status status = stand_start(run, &s);
    if (status == WHET_OK && size < COUNT(wide))
        status = stand_lower(run, &s, wide[size], NULL);
    if (status != WHET_OK)
        return status;
    return s.lowered.kernel ? stand_run(&s, to) : move_numbers(run, &s, to);
}

whet_status native_move(OpRun *run) {
    NativeArena arena;
    native_arena_enter(run, &arena);
    whet_status status = move(run);
    native_arena_leave(run, &arena);
    return status;
}
