/* What shape rules and builders ask of a call: attributes with their defaults, contents, axes, broadcasting.
 *
 * Everything here may come from a hostile file: lengths, signs and sums are checked, and errors name what was seen. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/ops.h"

whet_status op_error(OpCall *call, whet_status status, const char *format, ...) {
    char message[WHET_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return error_set(call->err, status, "%s", message);
}

/* ---- Attributes -------------------------------------------------------------------------------------------------- */

const Attr *op_attr(const OpCall *call, const char *name) {
    return node_attr(call->node, name);
}

/* The default of attribute `name` in the row; rows name every attribute their rules ask for. */
static AttrSpec preset(const OpCall *call, const char *name) {
    AttrSpec spec = {0};
    bool found = signature_find_attr(call->row->attrs, name, &spec);
    assert(found && "a rule asks for an attribute that its row does not have");
    (void)found;
    return spec;
}

int64_t op_int(const OpCall *call, const char *name) {
    const Attr *attr = op_attr(call, name);
    if (attr)
        return attr->i;
    AttrSpec spec = preset(call, name);
    return spec.has_preset ? strtoll(spec.preset.data, NULL, 10) : 0;
}

double op_float(const OpCall *call, const char *name) {
    const Attr *attr = op_attr(call, name);
    if (attr)
        return attr->f;
    AttrSpec spec = preset(call, name);
    return spec.has_preset ? (double)strtof(spec.preset.data, NULL) : 0;
}

Str op_string(const OpCall *call, const char *name) {
    const Attr *attr = op_attr(call, name);
    return attr ? attr->s : preset(call, name).preset;
}

int op_choice(const OpCall *call, const char *name) {
    AttrSpec spec;
    const Attr *attr = op_attr(call, name);
    int choice = attr && signature_find_attr(call->row->attrs, name, &spec) ? signature_choice(spec.choices, attr->s) : 0;
    assert(choice >= 0 && "a word that op_check_call refuses");
    return choice;
}

const int64_t *op_ints(const OpCall *call, const char *name, int *count) {
    *count = 0;
    const Attr *attr = op_attr(call, name);
    if (!attr || !attr->ints || attr->count > INT32_MAX)
        return NULL;
    *count = (int)attr->count;
    return attr->ints;
}

/* ---- Operands ---------------------------------------------------------------------------------------------------- */

bool op_has(const OpCall *call, int input) {
    return input >= 0 && input < call->in_count && call->in[input];
}

bool op_wants(const OpCall *call, int output) {
    return output < call->out_count && output < call->node->output_count && call->node->outputs[output];
}

/* Element `i` of an integer tensor; false for other types, and for a u64 beyond an s64. */
static bool integer_at(const Tensor *tensor, int64_t i, int64_t *out) {
    switch ((DType)tensor->type) {
    case DT_S64: *out = ((const int64_t *)tensor->data)[i]; return true;
    case DT_S32: *out = ((const int32_t *)tensor->data)[i]; return true;
    case DT_S16: *out = ((const int16_t *)tensor->data)[i]; return true;
    case DT_S8: *out = ((const int8_t *)tensor->data)[i]; return true;
    case DT_U64: *out = (int64_t)((const uint64_t *)tensor->data)[i]; return *out >= 0;
    case DT_U32: *out = ((const uint32_t *)tensor->data)[i]; return true;
    case DT_U16: *out = ((const uint16_t *)tensor->data)[i]; return true;
    case DT_U8: *out = ((const uint8_t *)tensor->data)[i]; return true;
    case DT_BOOL: *out = ((const uint8_t *)tensor->data)[i] != 0; return true;
    default: return false;
    }
}

bool op_content_ints(OpCall *call, int input, const int64_t **values, int64_t *count) {
    *count = 0;
    if (!op_has(call, input))
        return false;
    const Type *type = call->in[input];
    int64_t length = type->constant ? whet_tensor_count(type->constant) : type->content ? type->content_count : -1;
    int64_t *copy = length < 0 ? NULL : ARENA_ARRAY(call->arena, int64_t, (size_t)length);
    if (!copy)
        return false;
    for (int64_t i = 0; i < length; i++) {
        bool known = type->constant                    ? integer_at(type->constant, i, &copy[i])
                     : dim_is_extent(type->content[i]) ? (copy[i] = type->content[i], true)
                                                       : dim_number(call->symbols, type->content[i], &copy[i]);
        if (!known)
            return false;
    }
    *values = copy;
    *count = length;
    return true;
}

bool op_content(OpCall *call, int input, const Dim **values, int64_t *count) {
    *count = 0;
    if (!op_has(call, input))
        return false;
    const Type *type = call->in[input];
    if (!type->constant) {
        *values = type->content;
        *count = type->content ? type->content_count : 0;
        return type->content != NULL;
    }
    const int64_t *numbers;
    if (!op_content_ints(call, input, &numbers, count))
        return false;
    Dim *dims = ARENA_ARRAY(call->arena, Dim, (size_t)*count);
    for (int64_t i = 0; dims && i < *count; i++)
        dims[i] = numbers[i] >= 0 ? numbers[i] : dim_const(call->symbols, numbers[i]);
    *values = dims;
    return dims != NULL;
}

whet_status op_number(OpCall *call, int input, int64_t least, Dim *value) {
    const int64_t *given;
    int64_t count;
    *value = DIM_UNKNOWN;
    if (!op_content_ints(call, input, &given, &count))
        return WHET_OK;
    if (count != 1)
        return op_error(call, WHET_ERROR_DATA, "input %d has %lld elements; wanted one number", input, (long long)count);
    if (given[0] < least)
        return op_error(call, WHET_ERROR_DATA, "input %d is %lld; wanted %lld or more", input, (long long)given[0],
                        (long long)least);
    *value = given[0];
    return WHET_OK;
}

int op_axis(OpCall *call, int64_t axis, int rank) {
    if (axis >= -rank && axis < rank)
        return (int)(axis < 0 ? axis + rank : axis);
    op_error(call, WHET_ERROR_FORMAT, "axis %lld is outside [%d, %d)", (long long)axis, -rank, rank);
    return -1;
}

whet_status op_axes(OpCall *call, const int64_t *given, int rank, int *axes, int *count) {
    bool seen[WHET_MAX_RANK] = {false};
    *count = given ? *count : rank;
    for (int i = 0; i < *count; i++) {
        int axis = op_axis(call, given ? given[i] : i, rank);
        if (axis < 0)
            return WHET_ERROR_FORMAT;
        if (seen[axis])
            return op_error(call, WHET_ERROR_FORMAT, "axis %d is given twice", axis);
        seen[axis] = true;
        axes[i] = axis;
    }
    return WHET_OK;
}

bool op_ranks_known(const OpCall *call) {
    for (int i = 0; i < call->in_count; i++)
        if (call->in[i] && call->in[i]->rank < 0)
            return false;
    return true;
}

/* ---- Shapes ------------------------------------------------------------------------------------------------------ */

void op_set_shape(OpCall *call, int output, int rank, const Dim *dims) {
    assert(rank <= WHET_MAX_RANK);
    if (output >= call->out_count)
        return;
    Type *out = &call->out[output];
    out->rank = rank;
    for (int i = 0; i < rank; i++)
        out->dims[i] = dims[i];
}

whet_status op_same_shape(OpCall *call, int output, int input) {
    if (op_has(call, input) && call->in[input]->rank >= 0)
        op_set_shape(call, output, call->in[input]->rank, call->in[input]->dims);
    return WHET_OK;
}

/* One dimension of a broadcast. Two different expressions may turn out equal, or one of them 1: not known until then. */
static bool broadcast_dim(Dim a, Dim b, Dim *out) {
    if (a == 1 || a == b) {
        *out = b;
    } else if (b == 1) {
        *out = a;
    } else if (dim_is_extent(a)) {
        *out = a;
        return !dim_is_extent(b);
    } else {
        *out = dim_is_extent(b) ? b : DIM_UNKNOWN;
    }
    return true;
}

static Dim dim_from_end(const Type *type, int i) {
    return i < type->rank ? type->dims[type->rank - 1 - i] : 1;
}

whet_status op_broadcast(OpCall *call, Type *out, const Type *a, const Type *b) {
    if (a->rank < 0 || b->rank < 0) {
        out->rank = -1;
        return WHET_OK;
    }
    int rank = a->rank > b->rank ? a->rank : b->rank;
    Dim dims[WHET_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        Dim x = dim_from_end(a, i), y = dim_from_end(b, i);
        if (!broadcast_dim(x, y, &dims[rank - 1 - i]))
            return op_error(
                call, WHET_ERROR_DATA,
                "shapes do not broadcast: extents %lld and %lld at dimension %d from the end; wanted equal ones, or a 1",
                (long long)x, (long long)y, i + 1);
    }
    out->rank = rank;
    memcpy(out->dims, dims, (size_t)rank * sizeof *dims);
    return WHET_OK;
}

/* ---- Text of builders -------------------------------------------------------------------------------------------- */

void op_put_indices(Text *out, const char *stem, int from, int to) {
    for (int i = from; i < to; i++)
        text_printf(out, "%s%s%d", i > from ? ", " : "", stem, i);
}

void op_put_element(Text *out, const char *name, int rank) {
    text_printf(out, "%s[", name);
    op_put_indices(out, "i", 0, rank);
    text_char(out, ']');
}

void op_put_read(Text *out, const char *name, const Type *type, const char *stem, int rank) {
    text_printf(out, "%s[", name);
    for (int i = 0; i < type->rank; i++) {
        text_put(out, i ? ", " : "");
        if (type->dims[i] == 1)
            text_char(out, '0');
        else
            text_printf(out, "%s%d", stem, rank - type->rank + i);
    }
    text_char(out, ']');
}

DType op_wide(DType type) {
    return dtype_kind(type) == KIND_FLOAT && dtype_bits(type) < 32 ? DT_F32 : type;
}
