/* TypeProto -> Type: element type and shape of a value, as the file declares them. */
#include "onnx/build.h"

#include <inttypes.h>

/* "image_2": the third dimension of an input. */
static Dim new_symbol(Reader *reader, const char *stem, int axis) {
    const char *name = arena_printf(reader->arena, "%s_%d", stem, axis);
    return name ? dim_fresh(reader->model->symbols, name) : DIM_UNKNOWN;
}

/* A dimension without number and name is a new symbol where there is a stem for its name, else unknown. -1 is what some
 * exporters write for "unknown". */
static bool read_dim(Reader *reader, Str message, const char *stem, int axis, Dim *out) {
    DimensionProto dim;
    if (!READ(reader->wire, DimensionProto, message, &dim))
        return false;
    if (dim.dim_param.length)
        *out = dim_symbol(reader->model->symbols, dim.dim_param.data, dim.dim_param.length);
    else if (dim.dim_value.given && dim.dim_value.value != -1)
        *out = dim.dim_value.value;
    else
        *out = stem ? new_symbol(reader, stem, axis) : DIM_UNKNOWN;
    if (!dim.dim_param.length && *out < 0 && dim.dim_value.value < -1)
        return wire_fail(reader->wire, WHET_ERROR_FORMAT, "a dimension of its type is %" PRId64, dim.dim_value.value);
    return true;
}

static bool read_dims(Reader *reader, Str message, const char *stem, Type *out) {
    ShapeProto shape;
    if (!READ(reader->wire, ShapeProto, message, &shape))
        return false;
    if (shape.dim.count > WHET_MAX_RANK)
        return wire_fail(reader->wire, WHET_ERROR_UNSUPPORTED, "its rank is %zu, at most %d is supported", shape.dim.count,
                         WHET_MAX_RANK);
    out->rank = 0;
    for (Str bytes; many_next(&shape.dim, &bytes); out->rank++)
        if (!read_dim(reader, bytes, stem, out->rank, &out->dims[out->rank]))
            return false;
    return true;
}

static const char *other_type(const TypeProto *type) {
    return type->sequence_type.data        ? "a sequence"
           : type->map_type.data           ? "a map"
           : type->optional_type.data      ? "an optional"
           : type->sparse_tensor_type.data ? "a sparse tensor"
           : type->opaque_type.data        ? "opaque"
                                           : NULL;
}

bool type_read(Reader *reader, Str message, const char *stem, Type *out) {
    const Wire *wire = reader->wire;
    TypeProto proto;
    TensorTypeProto tensor;
    *out = (Type){.rank = -1};
    if (!READ(wire, TypeProto, message, &proto))
        return false;
    if (other_type(&proto))
        return wire_fail(wire, WHET_ERROR_UNSUPPORTED, "its type is %s, only tensors are supported", other_type(&proto));
    if (!proto.tensor_type.data)
        return true;
    if (!READ(wire, TensorTypeProto, proto.tensor_type, &tensor))
        return false;
    if (tensor.elem_type.value != DT_NONE && !dtype_known(tensor.elem_type.value))
        return wire_fail(wire, WHET_ERROR_FORMAT, "its element type, %" PRId64 ", is unknown", tensor.elem_type.value);
    out->type = (DType)tensor.elem_type.value;
    return !tensor.shape.data || read_dims(reader, tensor.shape, stem, out);
}
