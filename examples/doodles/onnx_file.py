"""Writes an ONNX model: as much of Protocol Buffers and of onnx.proto as that takes. Field numbers are those of onnx.proto."""

import struct

FLOAT, INT64 = 1, 7  # TensorProto.DataType
ATTRIBUTE_FLOAT, ATTRIBUTE_INT, ATTRIBUTE_INTS = 1, 2, 7  # AttributeProto.AttributeType


def varint(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    """One field: an int as a varint, a float as 32 bits, text, bytes or a message with its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name, array):
    dims = b"".join(field(1, int(d)) for d in array.shape)
    return dims + field(2, FLOAT) + field(8, name) + field(9, array.astype("<f4").tobytes())


def attribute(name, value):
    if isinstance(value, float):
        return field(1, name) + field(2, value) + field(20, ATTRIBUTE_FLOAT)
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, ATTRIBUTE_INT)
    return field(1, name) + b"".join(field(8, v) for v in value) + field(20, ATTRIBUTE_INTS)


def node(op, inputs, output, **attributes):
    out = b"".join(field(1, i) for i in inputs) + field(2, output) + field(3, f"/{op.lower()}/{output}") + field(4, op)
    return out + b"".join(field(5, attribute(k, v)) for k, v in attributes.items())


def value_info(name, dims):
    """A float tensor; a dimension that is text is symbolic."""
    shape = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, shape)))


def model(name, nodes, initializers, inputs, outputs, opset=17, metadata=()):
    graph = b"".join(field(1, n) for n in nodes) + field(2, name)
    graph += b"".join(field(5, tensor(k, v)) for k, v in initializers.items())
    graph += b"".join(field(11, i) for i in inputs) + b"".join(field(12, o) for o in outputs)
    out = field(1, 8) + field(2, "whet/examples/doodles") + field(7, graph) + field(8, field(2, opset))
    return out + b"".join(field(14, field(1, k) + field(2, v)) for k, v in metadata)
