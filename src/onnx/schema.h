/* The one table of ONNX's messages and field numbers (onnx.proto): what the reader uses, nothing else; the rest is skipped.
 *
 * A row is FIELD(M, number, kind, name), M being the message. It becomes a member of a struct of the message's name, and a row of
 * schema_NAME, by which wire_read fills that struct. To read another field: add its row.
 */
#ifndef WHET_ONNX_SCHEMA_H
#define WHET_ONNX_SCHEMA_H

#include "onnx/wire.h"

// clang-format off
/*                     number, kind, name */
#define MODEL_PROTO(FIELD, M) \
    FIELD(M, 1, INT, ir_version) \
    FIELD(M, 2, TEXT, producer_name) \
    FIELD(M, 3, TEXT, producer_version) \
    FIELD(M, 4, TEXT, domain) \
    FIELD(M, 5, INT, model_version) \
    FIELD(M, 6, TEXT, doc_string) \
    FIELD(M, 7, ONE, graph) \
    FIELD(M, 8, MANY, opset_import) \
    FIELD(M, 14, MANY, metadata_props) \
    FIELD(M, 25, MANY, functions)

#define GRAPH_PROTO(FIELD, M) \
    FIELD(M, 1, MANY, node) \
    FIELD(M, 2, TEXT, name) \
    FIELD(M, 5, MANY, initializer) \
    FIELD(M, 11, MANY, input) \
    FIELD(M, 12, MANY, output) \
    FIELD(M, 13, MANY, value_info) \
    FIELD(M, 15, MANY, sparse_initializer)

#define NODE_PROTO(FIELD, M) \
    FIELD(M, 1, TEXTS, input) \
    FIELD(M, 2, TEXTS, output) \
    FIELD(M, 3, TEXT, name) \
    FIELD(M, 4, TEXT, op_type) \
    FIELD(M, 5, MANY, attribute) \
    FIELD(M, 7, TEXT, domain) \
    FIELD(M, 8, TEXT, overload)

#define ATTRIBUTE_PROTO(FIELD, M) \
    FIELD(M, 1, TEXT, name) \
    FIELD(M, 2, FLOAT, f) \
    FIELD(M, 3, INT, i) \
    FIELD(M, 4, BYTES, s) \
    FIELD(M, 5, ONE, t) \
    FIELD(M, 6, ONE, g) \
    FIELD(M, 7, FLOATS, floats) \
    FIELD(M, 8, INTS, ints) \
    FIELD(M, 9, MANY, strings) \
    FIELD(M, 10, MANY, tensors) \
    FIELD(M, 11, MANY, graphs) \
    FIELD(M, 14, ONE, tp) \
    FIELD(M, 15, MANY, type_protos) \
    FIELD(M, 20, INT, type) \
    FIELD(M, 21, TEXT, ref_attr_name) \
    FIELD(M, 22, ONE, sparse_tensor) \
    FIELD(M, 23, MANY, sparse_tensors)

#define TENSOR_PROTO(FIELD, M) \
    FIELD(M, 1, INTS, dims) \
    FIELD(M, 2, INT, data_type) \
    FIELD(M, 3, ONE, segment) \
    FIELD(M, 4, FLOATS, float_data) \
    FIELD(M, 5, INTS, int32_data) \
    FIELD(M, 6, MANY, string_data) \
    FIELD(M, 7, INTS, int64_data) \
    FIELD(M, 8, TEXT, name) \
    FIELD(M, 9, BYTES, raw_data) \
    FIELD(M, 10, DOUBLES, double_data) \
    FIELD(M, 11, INTS, uint64_data) \
    FIELD(M, 13, MANY, external_data) \
    FIELD(M, 14, INT, data_location)

#define SPARSE_TENSOR_PROTO(FIELD, M) \
    FIELD(M, 1, ONE, values) \
    FIELD(M, 2, ONE, indices) \
    FIELD(M, 3, INTS, dims)

#define VALUE_INFO_PROTO(FIELD, M) \
    FIELD(M, 1, TEXT, name) \
    FIELD(M, 2, ONE, type)

#define TYPE_PROTO(FIELD, M) \
    FIELD(M, 1, ONE, tensor_type) \
    FIELD(M, 4, ONE, sequence_type) \
    FIELD(M, 5, ONE, map_type) \
    FIELD(M, 7, ONE, opaque_type) \
    FIELD(M, 8, ONE, sparse_tensor_type) \
    FIELD(M, 9, ONE, optional_type)

#define TENSOR_TYPE_PROTO(FIELD, M) /* TypeProto.Tensor */ \
    FIELD(M, 1, INT, elem_type) \
    FIELD(M, 2, ONE, shape)

#define SHAPE_PROTO(FIELD, M) /* TensorShapeProto */ \
    FIELD(M, 1, MANY, dim)

#define DIMENSION_PROTO(FIELD, M) /* TensorShapeProto.Dimension */ \
    FIELD(M, 1, INT, dim_value) \
    FIELD(M, 2, TEXT, dim_param)

#define OPERATOR_SET_PROTO(FIELD, M) /* OperatorSetIdProto */ \
    FIELD(M, 1, TEXT, domain) \
    FIELD(M, 2, INT, version)

#define FUNCTION_PROTO(FIELD, M) \
    FIELD(M, 1, TEXT, name) \
    FIELD(M, 4, TEXTS, input) \
    FIELD(M, 5, TEXTS, output) \
    FIELD(M, 6, TEXTS, attribute) \
    FIELD(M, 7, MANY, node) \
    FIELD(M, 9, MANY, opset_import) \
    FIELD(M, 10, TEXT, domain) \
    FIELD(M, 11, MANY, attribute_proto) \
    FIELD(M, 12, MANY, value_info) \
    FIELD(M, 13, TEXT, overload)

#define ENTRY_PROTO(FIELD, M) /* StringStringEntryProto */ \
    FIELD(M, 1, TEXT, key) \
    FIELD(M, 2, TEXT, value)

#define MESSAGES(MESSAGE) \
    MESSAGE(ModelProto, MODEL_PROTO) \
    MESSAGE(GraphProto, GRAPH_PROTO) \
    MESSAGE(NodeProto, NODE_PROTO) \
    MESSAGE(AttributeProto, ATTRIBUTE_PROTO) \
    MESSAGE(TensorProto, TENSOR_PROTO) \
    MESSAGE(SparseTensorProto, SPARSE_TENSOR_PROTO) \
    MESSAGE(ValueInfoProto, VALUE_INFO_PROTO) \
    MESSAGE(TypeProto, TYPE_PROTO) \
    MESSAGE(TensorTypeProto, TENSOR_TYPE_PROTO) \
    MESSAGE(ShapeProto, SHAPE_PROTO) \
    MESSAGE(DimensionProto, DIMENSION_PROTO) \
    MESSAGE(OperatorSetProto, OPERATOR_SET_PROTO) \
    MESSAGE(FunctionProto, FUNCTION_PROTO) \
    MESSAGE(EntryProto, ENTRY_PROTO)

#define MEMBER_INT     Int
#define MEMBER_FLOAT   Float
#define MEMBER_TEXT    Str
#define MEMBER_BYTES   Str
#define MEMBER_ONE     Str
#define MEMBER_INTS    Many
#define MEMBER_FLOATS  Many
#define MEMBER_DOUBLES Many
#define MEMBER_TEXTS   Many
#define MEMBER_MANY    Many
// clang-format on

#define MEMBER(message, number, kind, name) MEMBER_##kind name;
#define STRUCT(message, table)                                                                                                   \
    typedef struct message {                                                                                                     \
        table(MEMBER, message)                                                                                                   \
    } message;                                                                                                                   \
    extern const Schema schema_##message;
MESSAGES(STRUCT)
#undef STRUCT
#undef MEMBER

/* Reads `bytes` into the struct `out`, whose message is named so that a slip does not compile. */
#define READ(wire, message, bytes, out) wire_read(wire, &schema_##message, bytes, (message *){out})

#endif
