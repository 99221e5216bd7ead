/* TensorProto -> Tensor. Data is used where it lies: raw_data, packed float_data and double_data, external files. It is copied
 * where it must be unpacked (varints, strings, fields that are not packed) or, if it is small, where it is misaligned for its
 * type; large misaligned data stays, for packing reads it at any alignment (onnx_aligned). */
#include "onnx/tensor.h"

#include <inttypes.h>
#include <string.h>

/* The fields that may hold data, as TensorProto.data_type allows. */
typedef enum DataField { DATA_FLOAT, DATA_INT32, DATA_INT64, DATA_DOUBLE, DATA_UINT64, DATA_STRING, DATA_FIELDS } DataField;

static const char *const data_names[] = {"float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data"};

static const Many *data_of(const TensorProto *proto, DataField field) {
    switch (field) {
    case DATA_FLOAT: return &proto->float_data;
    case DATA_INT32: return &proto->int32_data;
    case DATA_INT64: return &proto->int64_data;
    case DATA_DOUBLE: return &proto->double_data;
    case DATA_UINT64: return &proto->uint64_data;
    default: return &proto->string_data;
    }
}

static DataField field_of(DType type) {
    switch (type) {
    case DT_F32:
    case DT_C64: return DATA_FLOAT;
    case DT_F64:
    case DT_C128: return DATA_DOUBLE;
    case DT_S64: return DATA_INT64;
    case DT_U32:
    case DT_U64: return DATA_UINT64;
    case DT_STRING: return DATA_STRING;
    default: return DATA_INT32;
    }
}

/* Bytes an element's address is a multiple of. */
static size_t alignment_of(DType type) {
    if (type == DT_STRING)
        return _Alignof(Str);
    int bytes = dtype_bits(type) / 8;
    return bytes > 0 ? (size_t)bytes : 1;
}

bool tensor_is_aligned(const Tensor *tensor) {
    return (uintptr_t)tensor->data % alignment_of((DType)tensor->type) == 0;
}

static bool read_dims(const Wire *wire, const Many *dims, Tensor *tensor) {
    if (dims->count > WHET_MAX_RANK)
        return wire_fail(wire, WHET_ERROR_UNSUPPORTED, "rank %zu, at most %d is supported", dims->count, WHET_MAX_RANK);
    many_ints(dims, tensor->dims);
    tensor->rank = (int)dims->count;
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->dims[i] < 0)
            return wire_fail(wire, WHET_ERROR_FORMAT, "dims[%d] is %" PRId64, i, tensor->dims[i]);
    return true;
}

static bool read_type(const Wire *wire, Int number, Tensor *tensor) {
    if (number.value == DT_NONE || !dtype_known(number.value))
        return wire_fail(wire, WHET_ERROR_FORMAT, "data_type %" PRId64 " is %s", number.value,
                         number.value ? "unknown" : "UNDEFINED");
    tensor->type = (whet_type)number.value;
    return true;
}

/* A shape whose elements and bytes can be counted. */
static bool read_shape(const Wire *wire, Int type, const Many *dims, Tensor *tensor, int64_t *count) {
    if (!read_type(wire, type, tensor) || !read_dims(wire, dims, tensor))
        return false;
    size_t bytes;
    if (!checked_count(tensor->dims, tensor->rank, count) || !dtype_bytes((DType)tensor->type, *count, &bytes) ||
        bytes > PTRDIFF_MAX)
        return wire_fail(wire, WHET_ERROR_FORMAT, "the product of its dims is too large");
    tensor->bytes = bytes;
    return true;
}

/* A bool is 0 or 1 and nothing else: kernels rely on it. */
static bool check_bools(const Wire *wire, const char *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)data[i] > 1)
            return wire_fail(wire, WHET_ERROR_FORMAT, "element %zu, a bool, is %u", i, (unsigned char)data[i]);
    return true;
}

/* Data that has the tensor's own form. */
static bool use_bytes(Store *store, Tensor *tensor, Str bytes) {
    if (tensor->type == (whet_type)DT_BOOL && !check_bools(&store->wire, bytes.data, bytes.length))
        return false;
    tensor->data = (void *)(uintptr_t)bytes.data; /* nobody writes to constants; the pages are read-only */
    if (bytes.length == 0 || (!tensor_is_aligned(tensor) && bytes.length < store->copy_below))
        tensor->data = arena_copy(store->arena, bytes.data, bytes.length);
    return tensor->data || wire_fail_memory(&store->wire);
}

/* Integers as narrow elements: two's complement or unsigned, both are seen, so the bits must fit one of them. Elements below a
 * byte come packed, a byte an integer. */
static bool narrow(const Wire *wire, const int64_t *values, size_t count, int bits, char *out) {
    const int64_t lowest = bits == 64 ? INT64_MIN : -((int64_t)1 << (bits - 1));
    const int64_t highest = bits == 64 ? INT64_MAX : ((int64_t)1 << bits) - 1;
    size_t size = (size_t)bits / 8;
    for (size_t i = 0; i < count; i++) {
        if (values[i] < lowest || values[i] > highest)
            return wire_fail(wire, WHET_ERROR_FORMAT, "element %zu, %" PRId64 ", does not fit %d bits", i, values[i], bits);
        memcpy(out + i * size, &values[i], size);
    }
    return true;
}

static bool unpack_ints(Store *store, Tensor *tensor, const Many *data) {
    int bits = dtype_bits((DType)tensor->type) < 8 ? 8 : dtype_bits((DType)tensor->type);
    if (bits == 64) {
        many_ints(data, tensor->data);
        return true;
    }
    Arena scratch;
    arena_init(&scratch, store->arena->allocator);
    int64_t *values = ARENA_ARRAY(&scratch, int64_t, data->count);
    if (values)
        many_ints(data, values);
    bool fine = values ? narrow(&store->wire, values, data->count, bits, tensor->data) : wire_fail_memory(&store->wire);
    arena_free(&scratch);
    if (fine && tensor->type == (whet_type)DT_BOOL)
        fine = check_bools(&store->wire, tensor->data, tensor->bytes);
    return fine;
}

static void unpack_strings(Tensor *tensor, const Many *data) {
    Str *out = tensor->data;
    for (Many it = *data; many_next(&it, out);)
        out++;
}

/* How many entries of its field a tensor of `count` elements has. */
static uint64_t entries_wanted(DType type, uint64_t count, size_t bytes) {
    if (dtype_kind(type) == KIND_COMPLEX)
        return count * 2;
    return dtype_bits(type) < 8 ? bytes : count;
}

static bool use_typed(Store *store, Tensor *tensor, const TensorProto *proto, int64_t count) {
    const Wire *wire = &store->wire;
    DataField field = field_of((DType)tensor->type);
    const Many *data = data_of(proto, field);
    uint64_t want = entries_wanted((DType)tensor->type, (uint64_t)count, tensor->bytes);
    if (data->count != want)
        return wire_fail(wire, WHET_ERROR_FORMAT, "%s has %zu elements, type %s and dims want %" PRIu64, data_names[field],
                         data->count, dtype_onnx_name((DType)tensor->type), want);
    Str place;
    if (many_in_place(data, &place))
        return use_bytes(store, tensor, place);
    tensor->data = arena_alloc(store->arena, tensor->bytes, 1);
    if (!tensor->data)
        return wire_fail_memory(wire);
    switch (field) {
    case DATA_FLOAT: many_floats(data, tensor->data); return true;
    case DATA_DOUBLE: many_doubles(data, tensor->data); return true;
    case DATA_STRING: unpack_strings(tensor, data); return true;
    default: return unpack_ints(store, tensor, data);
    }
}

/* The one field that holds data; more than one is an error. DATA_FIELDS: raw_data or none. */
static bool check_one_field(const Wire *wire, const TensorProto *proto, DType type) {
    const char *seen = proto->raw_data.length ? "raw_data" : NULL;
    for (int i = 0; i < DATA_FIELDS; i++) {
        if (data_of(proto, (DataField)i)->count == 0)
            continue;
        if (seen)
            return wire_fail(wire, WHET_ERROR_FORMAT, "both %s and %s hold data", seen, data_names[i]);
        seen = data_names[i];
        if (i != (int)field_of(type))
            return wire_fail(wire, WHET_ERROR_FORMAT, "%s holds data, elements of type %s belong into %s", seen,
                             dtype_onnx_name(type), data_names[field_of(type)]);
    }
    return true;
}

static bool read_data(Store *store, Tensor *tensor, const TensorProto *proto, int64_t count) {
    const Wire *wire = &store->wire;
    DType type = (DType)tensor->type;
    Str bytes = proto->raw_data;
    if (proto->segment.data)
        return wire_fail(wire, WHET_ERROR_UNSUPPORTED, "it is split into segments, which is not supported");
    if (proto->data_location.value != 0 && proto->data_location.value != 1)
        return wire_fail(wire, WHET_ERROR_FORMAT, "data_location is %" PRId64, proto->data_location.value);
    bool external = proto->data_location.value == 1;
    if (type == DT_STRING && (external || bytes.length))
        return wire_fail(wire, WHET_ERROR_FORMAT, "its type is string, whose data belongs into string_data alone");
    if (external)
        return external_find(store, proto, tensor->bytes, &bytes) && use_bytes(store, tensor, bytes);
    if (!check_one_field(wire, proto, type))
        return false;
    if (!bytes.length)
        return use_typed(store, tensor, proto, count);
    if (bytes.length != tensor->bytes)
        return wire_fail(wire, WHET_ERROR_FORMAT, "raw_data has %zu bytes, type %s and dims want %zu", bytes.length,
                         dtype_onnx_name(type), tensor->bytes);
    return use_bytes(store, tensor, bytes);
}

Tensor *tensor_read(Store *store, const TensorProto *proto) {
    Tensor *tensor = ARENA_NEW(store->arena, Tensor);
    if (!tensor) {
        wire_error_memory(&store->wire);
        return NULL;
    }
    int64_t count;
    bool fine = read_shape(&store->wire, proto->data_type, &proto->dims, tensor, &count);
    return fine && read_data(store, tensor, proto, count) ? tensor : NULL;
}
