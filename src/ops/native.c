/* What operators written in C share; see native.h. */
#include "ops/native.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

whet_status native_whole_bytes(OpCall *call, DType type) {
    if (type != DT_NONE && dtype_bits(type) < 8)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "tensors of type %s are not supported here", dtype_name(type));
    return WHET_OK;
}

void native_strides(int rank, const int64_t *dims, int64_t *strides) {
    int64_t stride = 1;
    for (int d = rank - 1; d >= 0; d--) {
        strides[d] = stride;
        stride *= dims[d];
    }
}

bool native_empty(const Type *type) {
    for (int d = 0; d < type->rank; d++)
        if (type->dims[d] == 0)
            return true;
    return false;
}

int64_t native_count(int rank, const int64_t *dims) {
    int64_t count = 1;
    for (int d = 0; d < rank; d++)
        count *= dims[d];
    return count;
}

typedef struct Box {
    int rank;
    int64_t dims[WHET_MAX_RANK], to[WHET_MAX_RANK], from[WHET_MAX_RANK];
} Box;

/* Drops axes of one element and joins neighbours that are contiguous in both places. */
static bool box_simplify(Box *box, int rank, const int64_t *dims, const int64_t *to, const int64_t *from) {
    box->rank = 0;
    for (int d = 0; d < rank; d++) {
        if (dims[d] == 0)
            return false;
        if (dims[d] == 1)
            continue;
        int last = box->rank - 1;
        if (last >= 0 && box->to[last] == to[d] * dims[d] && box->from[last] == from[d] * dims[d]) {
            box->dims[last] *= dims[d];
            box->to[last] = to[d];
            box->from[last] = from[d];
            continue;
        }
        box->dims[box->rank] = dims[d];
        box->to[box->rank] = to[d];
        box->from[box->rank] = from[d];
        box->rank++;
    }
    return true;
}

#define COPY_LINE(type)                                                                                                          \
    for (int64_t i = 0; i < count; i++)                                                                                          \
    ((type *)to)[i * to_stride] = ((const type *)from)[i * from_stride]

typedef struct Wide {
    uint64_t word[2];
} Wide;

static void copy_line(size_t size, int64_t count, void *to, int64_t to_stride, const void *from, int64_t from_stride) {
    if (to_stride == 1 && from_stride == 1) {
        memcpy(to, from, (size_t)count * size);
        return;
    }
    switch (size) {
    case 1: COPY_LINE(uint8_t); break;
    case 2: COPY_LINE(uint16_t); break;
    case 4: COPY_LINE(uint32_t); break;
    case 8: COPY_LINE(uint64_t); break;
    default: COPY_LINE(Wide); break;
    }
}

void native_copy(size_t size, int rank, const int64_t *dims, void *to, const int64_t *to_strides, const void *from,
                 const int64_t *from_strides) {
    Box box;
    if (!box_simplify(&box, rank, dims, to_strides, from_strides))
        return;
    int inner = box.rank - 1;
    int64_t line = box.rank ? box.dims[inner] : 1;
    int64_t to_stride = box.rank ? box.to[inner] : 1, from_stride = box.rank ? box.from[inner] : 1;
    int64_t at[WHET_MAX_RANK] = {0};
    int64_t to_at = 0, from_at = 0;
    for (;;) {
        copy_line(size, line, (char *)to + to_at * (int64_t)size, to_stride, (const char *)from + from_at * (int64_t)size,
                  from_stride);
        int d = inner - 1;
        for (; d >= 0; d--) {
            to_at += box.to[d];
            from_at += box.from[d];
            if (++at[d] < box.dims[d])
                break;
            to_at -= box.to[d] * box.dims[d];
            from_at -= box.from[d] * box.dims[d];
            at[d] = 0;
        }
        if (d < 0)
            return;
    }
}

void native_copy_dense(size_t size, int rank, const int64_t *dims, void *to, const void *from, const int64_t *from_strides) {
    int64_t to_strides[WHET_MAX_RANK];
    native_strides(rank, dims, to_strides);
    native_copy(size, rank, dims, to, to_strides, from, from_strides);
}

void native_broadcast_strides(const Tensor *x, int rank, int64_t *strides) {
    int64_t own[WHET_MAX_RANK];
    native_strides(x->rank, x->dims, own);
    for (int d = 0; d < rank; d++) {
        int from = d - (rank - x->rank);
        strides[d] = from < 0 || x->dims[from] == 1 ? 0 : own[from];
    }
}

/* ---- Conversion ---------------------------------------------------------------------------------------------------------- */

#define CONVERT_FROM(DT, T)                                                                                                      \
    case DT:                                                                                                                     \
        for (int64_t i = 0; i < count; i++)                                                                                      \
            to[i] = (Target)((const T *)from)[i];                                                                                \
        return

#define CONVERT_FROM_PLAIN                                                                                                       \
    CONVERT_FROM(DT_F32, float);                                                                                                 \
    CONVERT_FROM(DT_F64, double);                                                                                                \
    CONVERT_FROM(DT_U8, uint8_t);                                                                                                \
    CONVERT_FROM(DT_BOOL, uint8_t);                                                                                              \
    CONVERT_FROM(DT_S8, int8_t);                                                                                                 \
    CONVERT_FROM(DT_U16, uint16_t);                                                                                              \
    CONVERT_FROM(DT_S16, int16_t);                                                                                               \
    CONVERT_FROM(DT_U32, uint32_t);                                                                                              \
    CONVERT_FROM(DT_S32, int32_t);                                                                                               \
    CONVERT_FROM(DT_U64, uint64_t);                                                                                              \
    CONVERT_FROM(DT_S64, int64_t)

static float other_at(DType type, const void *from, int64_t i) {
    if (type == DT_F16)
        return f16_to_f32(((const uint16_t *)from)[i]);
    if (type == DT_BF16)
        return bf16_to_f32(((const uint16_t *)from)[i]);
    if (dtype_kind(type) == KIND_STRING || dtype_kind(type) == KIND_COMPLEX)
        return NAN;
    int bits = dtype_bits(type);
    uint8_t byte = ((const uint8_t *)from)[i * bits / 8];
    uint8_t code = (uint8_t)((byte >> (i * bits % 8)) & ((1 << bits) - 1));
    if (dtype_kind(type) == KIND_FLOAT)
        return small_to_f32(type, code);
    if (dtype_kind(type) == KIND_SIGNED && (code >> (bits - 1)))
        return (float)(code - (1 << bits));
    return code;
}

static void to_f32(DType type, const void *from, int64_t count, float *to) {
    typedef float Target;
    switch (type) {
        CONVERT_FROM_PLAIN;
    default: break;
    }
    for (int64_t i = 0; i < count; i++)
        to[i] = other_at(type, from, i);
}

void native_to_f64(DType type, const void *from, int64_t count, double *to) {
    typedef double Target;
    switch (type) {
        CONVERT_FROM_PLAIN;
    default: break;
    }
    for (int64_t i = 0; i < count; i++)
        to[i] = (double)other_at(type, from, i);
}

static int64_t saturate(double value, double low, double high) {
    if (!(value == value))
        return 0;
    return value <= low ? (int64_t)low : value >= high ? (int64_t)high : (int64_t)value;
}

static int64_t saturate_s64(double value) {
    return !(value == value) ? 0 : value >= 0x1p63 ? INT64_MAX : value < -0x1p63 ? INT64_MIN : (int64_t)value;
}

static uint64_t saturate_u64(double value) {
    return !(value > 0) ? 0 : value >= 0x1p64 ? UINT64_MAX : (uint64_t)value;
}

static void store(DType type, double value, void *to, int64_t i) {
    switch (type) {
    case DT_F32: ((float *)to)[i] = (float)value; break;
    case DT_F64: ((double *)to)[i] = value; break;
    case DT_F16: ((uint16_t *)to)[i] = f64_to_f16(value); break;
    case DT_BF16: ((uint16_t *)to)[i] = f32_to_bf16((float)value); break;
    case DT_BOOL: ((uint8_t *)to)[i] = value != 0; break;
    case DT_U8: ((uint8_t *)to)[i] = (uint8_t)saturate(value, 0, UINT8_MAX); break;
    case DT_S8: ((int8_t *)to)[i] = (int8_t)saturate(value, INT8_MIN, INT8_MAX); break;
    case DT_U16: ((uint16_t *)to)[i] = (uint16_t)saturate(value, 0, UINT16_MAX); break;
    case DT_S16: ((int16_t *)to)[i] = (int16_t)saturate(value, INT16_MIN, INT16_MAX); break;
    case DT_U32: ((uint32_t *)to)[i] = (uint32_t)saturate(value, 0, UINT32_MAX); break;
    case DT_S32: ((int32_t *)to)[i] = (int32_t)saturate(value, INT32_MIN, INT32_MAX); break;
    case DT_U64: ((uint64_t *)to)[i] = saturate_u64(value); break;
    case DT_S64: ((int64_t *)to)[i] = saturate_s64(value); break;
    default: {
        Tensor tensor = {.type = (whet_type)type, .rank = 1, .dims = {i + 1}, .data = to};
        if (dtype_bytes(type, i + 1, &tensor.bytes))
            whet_tensor_set(&tensor, i, value);
    }
    }
}

void native_from_f32(DType type, const float *from, int64_t count, void *to) {
    if (type == DT_F32) {
        memcpy(to, from, (size_t)count * sizeof *from);
    } else if (type == DT_F16) {
        for (int64_t i = 0; i < count; i++)
            ((uint16_t *)to)[i] = f32_to_f16(from[i]);
    } else {
        for (int64_t i = 0; i < count; i++)
            store(type, (double)from[i], to, i);
    }
}

void native_from_f64(DType type, const double *from, int64_t count, void *to) {
    for (int64_t i = 0; i < count; i++)
        store(type, from[i], to, i);
}

void native_pack(DType type, const uint8_t *from, int64_t count, void *to) {
    int bits = dtype_bits(type), each = 8 / bits, mask = (1 << bits) - 1;
    memset(to, 0, (size_t)((count + each - 1) / each));
    for (int64_t i = 0; i < count; i++)
        ((uint8_t *)to)[i / each] |= (uint8_t)((from[i] & mask) << (i % each * bits));
}

int64_t native_int_at(const Tensor *tensor, int64_t index) {
    switch ((DType)tensor->type) {
    case DT_S64: return ((const int64_t *)tensor->data)[index];
    case DT_U64: return (int64_t)((const uint64_t *)tensor->data)[index];
    default: return saturate_s64(whet_tensor_get(tensor, index));
    }
}

/* ---- Operands ------------------------------------------------------------------------------------------------------------ */

whet_status native_failed(OpRun *run) {
    whet_error *err = run->call->err;
    return err && err->status != WHET_OK ? err->status : WHET_ERROR_MEMORY;
}

whet_status native_error(OpRun *run, whet_status status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    char message[WHET_MESSAGE_BYTES];
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return op_error(run->call, status, "%s", message);
}

static void *scratch_array(OpRun *run, int64_t count, size_t size) {
    size_t bytes;
    if (!checked_size_mul((size_t)count, size, &bytes)) {
        native_error(run, WHET_ERROR_MEMORY, "out of memory");
        return NULL;
    }
    return op_scratch(run, bytes ? bytes : 1);
}

const float *native_f32(OpRun *run, int index) {
    const Tensor *tensor = op_input(run, index);
    if (tensor->type == WHET_F32)
        return tensor->data;
    int64_t count = whet_tensor_count(tensor);
    float *copy = scratch_array(run, count, sizeof *copy);
    if (copy)
        to_f32((DType)tensor->type, tensor->data, count, copy);
    return copy;
}

const double *native_f64(OpRun *run, int index) {
    const Tensor *tensor = op_input(run, index);
    if (tensor->type == WHET_F64)
        return tensor->data;
    int64_t count = whet_tensor_count(tensor);
    double *copy = scratch_array(run, count, sizeof *copy);
    if (copy)
        native_to_f64((DType)tensor->type, tensor->data, count, copy);
    return copy;
}

const int64_t *native_s64(OpRun *run, int index) {
    const Tensor *tensor = op_input(run, index);
    if (tensor->type == WHET_S64)
        return tensor->data;
    int64_t count = whet_tensor_count(tensor);
    int64_t *copy = scratch_array(run, count, sizeof *copy);
    for (int64_t i = 0; copy && i < count; i++)
        copy[i] = native_int_at(tensor, i);
    return copy;
}

double native_number(const OpRun *run, int index, double otherwise) {
    const Tensor *tensor = index < run->call->in_count ? op_input(run, index) : NULL;
    return tensor && whet_tensor_count(tensor) > 0 ? whet_tensor_get(tensor, 0) : otherwise;
}

void native_arena_enter(OpRun *run, NativeArena *arena) {
    arena_init(&arena->own, run->call->arena->allocator);
    arena->kept = run->call->arena;
    run->call->arena = &arena->own;
}

void native_arena_leave(OpRun *run, NativeArena *arena) {
    run->call->arena = arena->kept;
    arena_free(&arena->own);
}

void *native_output(OpRun *run, int index) {
    const Type *out = &run->call->out[index];
    for (int d = 0; d < out->rank; d++)
        if (!dim_is_extent(out->dims[d])) {
            native_error(run, WHET_ERROR_INTERNAL, "the shape of output %d is not known", index);
            return NULL;
        }
    return op_output(run, index, out->type, out->rank, out->dims);
}

void native_fill(void *to, const void *element, size_t size, int64_t count) {
    char *at = to;
    size_t total = (size_t)count * size, done = size;
    if (!total)
        return;
    memcpy(at, element, size);
    for (; done * 2 <= total; done *= 2)
        memcpy(at + done, at, done);
    memcpy(at + done, at, total - done);
}

/* ---- Rules and builders -------------------------------------------------------------------------------------------------- */

DType native_dtype(OpCall *call, const char *attribute, int64_t number) {
    if (dtype_known(number))
        return (DType)number;
    op_error(call, WHET_ERROR_FORMAT, "attribute %s is %lld, which is no element type", attribute, (long long)number);
    return DT_NONE;
}

whet_status native_shape_from_content(OpCall *call, int output, int index) {
    const Type *shape = call->in[index];
    const Dim *values;
    int64_t count;
    Type *out = &call->out[output];
    if (shape->rank >= 0 && shape->rank != 1)
        return op_error(call, WHET_ERROR_DATA, "the shape has rank %d; 1 is wanted", shape->rank);
    if (!op_content(call, index, &values, &count)) {
        if (shape->rank == 1 && dim_is_extent(shape->dims[0]) && shape->dims[0] <= WHET_MAX_RANK) {
            out->rank = (int)shape->dims[0];
            for (int d = 0; d < out->rank; d++)
                out->dims[d] = DIM_UNKNOWN;
        }
        return WHET_OK;
    }
    if (count > WHET_MAX_RANK)
        return op_error(call, WHET_ERROR_UNSUPPORTED, "the shape has %lld dimensions; %d is the most", (long long)count,
                        WHET_MAX_RANK);
    for (int64_t d = 0; d < count; d++) {
        int64_t number;
        if (dim_number(call->symbols, values[d], &number) && number < 0)
            return op_error(call, WHET_ERROR_DATA, "dimension %lld of the shape is %lld", (long long)d, (long long)number);
        out->dims[d] = values[d];
    }
    out->rank = (int)count;
    return WHET_OK;
}
