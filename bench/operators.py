#!/usr/bin/env python3
"""Single operators, and the convolutions of the field's networks, in whet and onnxruntime side by side.

    bench/operators.py [-t THREADS] [-w build/whet] [-s SECONDS] [-k WORD]

Each row is a model of one operator (or of the few nodes that exporters write for it), made here, run by `whet bench` and by
onnxruntime in turn, three rounds; the figures are the fastest runs. -k: only rows whose name has WORD in it. Needs the Python
packages numpy, onnx and onnxruntime.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    sys.exit(f"operators.py: {error}: pip install numpy onnx onnxruntime")

RANDOM = np.random.default_rng(1)


def weights(*shape):
    return (RANDOM.standard_normal(shape) * 0.1).astype(np.float32)


TYPES = {np.float32: TensorProto.FLOAT, np.float16: TensorProto.FLOAT16, np.uint8: TensorProto.UINT8, np.int8: TensorProto.INT8,
         np.int32: TensorProto.INT32, np.int64: TensorProto.INT64, np.bool_: TensorProto.BOOL}


def chain(inputs, *steps, constants=None, types=None, gives=np.float32, outputs=1, opset=17):
    """A model: steps are (operator, operands, attributes); each step's output is named by its number, the last one's others by a
    letter behind it. `types` of inputs that are not f32; `gives`: the type of the outputs, or one
    for each."""
    nodes, last, types = [], len(steps) - 1, types or {}
    for number, (operator, operands, attributes) in enumerate(steps):
        names = [str(number)] + [f"{number}{chr(97 + k)}" for k in range(1, outputs if number == last else 1)]
        nodes.append(helper.make_node(operator, operands, names, **attributes))
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, TYPES[types.get(name, np.float32)], shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TYPES[kind], None)
         for name, kind in zip(nodes[-1].output, gives if isinstance(gives, tuple) else (gives,) * outputs)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def one(operator, *shapes, kind=np.float32, gives=None, opset=17, **attributes):
    """One operator of inputs of `kind`, which it gives if `gives` says nothing else."""
    names = [f"x{i}" for i in range(len(shapes))]
    return chain(dict(zip(names, shapes)), (operator, names, attributes), types=dict.fromkeys(names, kind), gives=gives or kind,
                 opset=opset)


def cast(kind, to, *shape):
    return chain({"x": shape}, ("Cast", ["x"], dict(to=TYPES[to])), types={"x": kind}, gives=to)


def recurrent(operator, gates, length, width, hidden):
    how = dict(hidden_size=hidden, **(dict(linear_before_reset=1) if operator == "GRU" else {}))
    return with_constants(operator, [length, 1, width], {"w": weights(1, gates * hidden, width),
                                                         "r": weights(1, gates * hidden, hidden)}, how)


def boxes(count):
    corners = RANDOM.random((1, count, 2)) * 500
    return np.concatenate([corners, corners + 20 + RANDOM.random((1, count, 2)) * 60], axis=2).astype(np.float32)


def conv(shape, out, kernel, stride=1, pad=None, group=1):
    spatial = len(shape) - 2
    pad = kernel // 2 if pad is None else pad
    return chain({"x": shape}, ("Conv", ["x", "w"], dict(strides=[stride] * spatial, pads=[pad] * 2 * spatial, group=group)),
                 constants={"w": weights(out, shape[1] // group, *[kernel] * spatial)})


def gelu(shape):
    f = lambda v: np.array(v, np.float32)
    return chain({"x": shape}, ("Div", ["x", "root"], {}), ("Erf", ["0"], {}), ("Add", ["1", "one"], {}), ("Mul", ["x", "2"], {}),
                 ("Mul", ["3", "half"], {}), constants={"root": f(2 ** .5), "one": f(1), "half": f(.5)})


def norm(shape):
    return chain({"x": shape}, ("LayerNormalization", ["x", "g", "b"], dict(axis=-1)),
                 constants={"g": weights(shape[-1]), "b": weights(shape[-1])})


def with_constants(operator, shape, constants, attributes=None, **how):
    """One operator of x and of constants, in that order; an operand without a value is left out."""
    names = [name if value is not None else "" for name, value in constants.items()]
    known = {name: np.array(value) for name, value in constants.items() if value is not None}
    return chain({"x": shape}, (operator, ["x"] + names, attributes or {}), constants=known, **how)


def f32(value):
    return np.array(value, np.float32)


ROWS = {
    "add 128x768": lambda: one("Add", [128, 768], [128, 768]),
    "add bias 128x3072": lambda: chain({"x": [128, 3072]}, ("Add", ["x", "b"], {}), constants={"b": weights(3072)}),
    "sigmoid 128x3072": lambda: one("Sigmoid", [128, 3072]),
    "tanh 128x3072": lambda: one("Tanh", [128, 3072]),
    "gelu (erf) 128x3072": lambda: gelu([128, 3072]),
    "softmax 1536x128": lambda: one("Softmax", [1536, 128], axis=-1),
    "softmax 128x1000": lambda: one("Softmax", [128, 1000], axis=-1),
    "layer norm 128x768": lambda: norm([128, 768]),
    "mean 128x768": lambda: one("ReduceMean", [128, 768], axes=[1]),
    "transpose 0213 1x128x12x64": lambda: one("Transpose", [1, 128, 12, 64], perm=[0, 2, 1, 3]),
    "transpose 01 1024x1024": lambda: one("Transpose", [1024, 1024], perm=[1, 0]),
    "transpose NCHW to NHWC 64x56x56": lambda: one("Transpose", [1, 64, 56, 56], perm=[0, 2, 3, 1]),
    "concat 64+64x56x56": lambda: one("Concat", [1, 64, 56, 56], [1, 64, 56, 56], axis=1),
    "add 128x768 to one row's 128x1": lambda: one("Add", [128, 768], [128, 1]),
    "add channels 64x56x56": lambda: with_constants("Add", [1, 64, 56, 56], {"b": weights(1, 64, 1, 1)}),
    "mul 1x768 by 128x1": lambda: one("Mul", [1, 768], [128, 1]),
    "div 128x768": lambda: one("Div", [128, 768], [128, 768]),
    "exp 128x3072": lambda: one("Exp", [128, 3072]),
    "erf 128x3072": lambda: one("Erf", [128, 3072]),
    "sqrt 128x3072": lambda: chain({"x": [128, 3072]}, ("Abs", ["x"], {}), ("Sqrt", ["0"], {})),
    "relu 128x3072": lambda: one("Relu", [128, 3072]),
    "leaky relu 128x3072": lambda: one("LeakyRelu", [128, 3072]),
    "hard swish 128x3072": lambda: one("HardSwish", [128, 3072]),
    "hard sigmoid 128x3072": lambda: one("HardSigmoid", [128, 3072]),
    "clip 128x3072": lambda: with_constants("Clip", [128, 3072], {"low": f32(0), "high": f32(6)}),
    "pow 128x3072 by 2": lambda: with_constants("Pow", [128, 3072], {"p": f32(2)}),
    "where 128x768": lambda: chain({"c": [128, 768], "x": [128, 768], "z": [128, 768]}, ("Where", ["c", "x", "z"], {}),
                                   types={"c": np.bool_}),
    "equal 128x768": lambda: chain({"x": [128, 768], "z": [128, 768]}, ("Equal", ["x", "z"], {}), gives=np.bool_),
    "cast f32 to u8 128x3072": lambda: cast(np.float32, np.uint8, 128, 3072),
    "cast u8 to f32 128x3072": lambda: cast(np.uint8, np.float32, 128, 3072),
    "cast s64 to f32 128x768": lambda: cast(np.int64, np.float32, 128, 768),
    "cast f32 to s64 128x768": lambda: cast(np.float32, np.int64, 128, 768),
    "cast f32 to f16 128x3072": lambda: cast(np.float32, np.float16, 128, 3072),
    "cast f16 to f32 128x3072": lambda: cast(np.float16, np.float32, 128, 3072),
    "cast s64 to s32 128x768": lambda: cast(np.int64, np.int32, 128, 768),
    "cast s32 to f32 128x768": lambda: cast(np.int32, np.float32, 128, 768),
    "cast f32 to bool 128x768": lambda: cast(np.float32, np.bool_, 128, 768),
    "cast bool to f32 128x768": lambda: cast(np.bool_, np.float32, 128, 768),
    "quantize 128x3072": lambda: with_constants("QuantizeLinear", [128, 3072], {"s": f32(0.02), "z": np.uint8(128)},
                                                gives=np.uint8),
    "dequantize 128x3072": lambda: with_constants("DequantizeLinear", [128, 3072], {"s": f32(0.02), "z": np.uint8(128)},
                                                  types={"x": np.uint8}),
    "log softmax 128x1000": lambda: one("LogSoftmax", [128, 1000], axis=-1),
    "softmax over channels 21x64x64": lambda: one("Softmax", [1, 21, 64, 64], axis=1),
    "sum 128x768": lambda: with_constants("ReduceSum", [128, 768], {"a": np.array([1], np.int64)}),
    "sum over rows 128x768": lambda: with_constants("ReduceSum", [128, 768], {"a": np.array([0], np.int64)}),
    "max 128x1000": lambda: one("ReduceMax", [128, 1000], axes=[1]),
    "mean over pixels 64x56x56": lambda: one("ReduceMean", [1, 64, 56, 56], axes=[2, 3]),
    "mean over all 128x768": lambda: one("ReduceMean", [128, 768]),
    "l2 norm 128x768": lambda: one("ReduceL2", [128, 768], axes=[1]),
    "argmax 128x1000": lambda: chain({"x": [128, 1000]}, ("ArgMax", ["x"], dict(axis=1)), gives=np.int64),
    "top 5 of 128x1000": lambda: with_constants("TopK", [128, 1000], {"k": np.array([5], np.int64)}, outputs=2,
                                               gives=(np.float32, np.int64)),
    "cumulated sum 128x768": lambda: with_constants("CumSum", [128, 768], {"a": np.array(1, np.int64)}),
    "instance norm 64x56x56": lambda: with_constants("InstanceNormalization", [1, 64, 56, 56],
                                                     {"g": weights(64), "b": weights(64)}),
    "transpose 021 32x64x128": lambda: one("Transpose", [32, 64, 128], perm=[0, 2, 1]),
    "transpose NHWC to NCHW 56x56x64": lambda: one("Transpose", [1, 56, 56, 64], perm=[0, 3, 1, 2]),
    "transpose 3x224x224 to NHWC": lambda: one("Transpose", [1, 3, 224, 224], perm=[0, 2, 3, 1]),
    "split 128x2304 in 3": lambda: chain({"x": [128, 2304]}, ("Split", ["x"], dict(axis=1)), outputs=3),
    "slice half of 128x768": lambda: with_constants("Slice", [128, 768], {"s": np.array([0]), "e": np.array([384]),
                                                                          "a": np.array([1])}),
    "slice every other of 128x768": lambda: with_constants("Slice", [128, 768], {
        "s": np.array([0]), "e": np.array([768]), "a": np.array([1]), "d": np.array([2])}),
    "gather 128 rows of 3000x768": lambda: with_constants("Gather", [3000, 768], {"i": RANDOM.integers(0, 3000, 128)}),
    "gather elements 128x512": lambda: with_constants("GatherElements", [128, 768], {"i": RANDOM.integers(0, 768, (128, 512))},
                                                      dict(axis=1)),
    "pad 64x56x56 by 1": lambda: with_constants("Pad", [1, 64, 56, 56], {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}),
    "pad 64x56x56, reflected": lambda: with_constants("Pad", [1, 64, 56, 56], {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
                                                      dict(mode="reflect")),
    "expand 1x768 to 128x768": lambda: with_constants("Expand", [1, 768], {"s": np.array([128, 768])}),
    "tile 64x64 by 4x4": lambda: with_constants("Tile", [64, 64], {"r": np.array([4, 4])}),
    "resize 64x28x28 twice, nearest": lambda: with_constants(
        "Resize", [1, 64, 28, 28], {"r": None, "s": f32([1, 1, 2, 2])},
        dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")),
    "resize 64x28x28 twice, linear": lambda: with_constants("Resize", [1, 64, 28, 28], {"r": None, "s": f32([1, 1, 2, 2])},
                                                            dict(mode="linear")),
    "depth to space 64x56x56": lambda: one("DepthToSpace", [1, 64, 56, 56], blocksize=2),
    "max pool 64x112x112 k3 s2": lambda: one("MaxPool", [1, 64, 112, 112], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
    "average pool 2048x7x7": lambda: one("GlobalAveragePool", [1, 2048, 7, 7]),
    "conv 3 to 64 224x224 k7 s2": lambda: conv([1, 3, 224, 224], 64, 7, 2),
    "conv 64 56x56 k3": lambda: conv([1, 64, 56, 56], 64, 3),
    "conv 256 14x14 k3": lambda: conv([1, 256, 14, 14], 256, 3),
    "conv 512 7x7 k3": lambda: conv([1, 512, 7, 7], 512, 3),
    "conv 256 56x56 k1 to 64": lambda: conv([1, 256, 56, 56], 64, 1),
    "conv 4x32 32x32 k5": lambda: conv([4, 32, 32, 32], 32, 5),
    "depthwise 144 56x56 k3": lambda: conv([1, 144, 56, 56], 144, 3, group=144),
    "conv3d 32 16x32x32 k3": lambda: conv([1, 32, 16, 32, 32], 32, 3),
    "matmul 128x768x3072": lambda: chain({"x": [128, 768]}, ("MatMul", ["x", "w"], {}), constants={"w": weights(768, 3072)}),
    "matmul 12 x 128x64x128": lambda: one("MatMul", [12, 128, 64], [12, 64, 128]),
    "sub 128x768": lambda: one("Sub", [128, 768], [128, 768]),
    "log 128x3072": lambda: chain({"x": [128, 3072]}, ("Abs", ["x"], {}), ("Log", ["0"], {})),
    "abs 128x3072": lambda: one("Abs", [128, 3072]),
    "neg 128x3072": lambda: one("Neg", [128, 3072]),
    "floor 128x3072": lambda: one("Floor", [128, 3072]),
    "round 128x3072": lambda: one("Round", [128, 3072]),
    "reciprocal 128x3072": lambda: one("Reciprocal", [128, 3072]),
    "softplus 128x3072": lambda: one("Softplus", [128, 3072]),
    "elu 128x3072": lambda: one("Elu", [128, 3072]),
    "mish 128x3072": lambda: one("Mish", [128, 3072], opset=18),
    "gelu (tanh) 128x3072": lambda: one("Gelu", [128, 3072], opset=20, approximate="tanh"),
    "prelu 64x56x56": lambda: with_constants("PRelu", [1, 64, 56, 56], {"s": weights(64, 1, 1)}),
    "sin 128x3072": lambda: one("Sin", [128, 3072]),
    "min 128x768": lambda: one("Min", [128, 768], [128, 768]),
    "sum of three 128x768": lambda: one("Sum", [128, 768], [128, 768], [128, 768]),
    "add s64 128x768": lambda: one("Add", [128, 768], [128, 768], kind=np.int64),
    "mul s64 128x768": lambda: one("Mul", [128, 768], [128, 768], kind=np.int64),
    "mod s64 128x768 by 7": lambda: with_constants("Mod", [128, 768], {"n": np.int64(7)}, types={"x": np.int64}, gives=np.int64),
    "div s64 128x768 by 7": lambda: with_constants("Div", [128, 768], {"n": np.int64(7)}, types={"x": np.int64}, gives=np.int64),
    "and 128x768": lambda: one("And", [128, 768], [128, 768], kind=np.bool_),
    "not 128x3072": lambda: one("Not", [128, 3072], kind=np.bool_),
    "greater 128x768": lambda: one("Greater", [128, 768], [128, 768], gives=np.bool_),
    "equal s64 128x768 to 0": lambda: with_constants("Equal", [128, 768], {"n": np.int64(0)}, types={"x": np.int64},
                                                     gives=np.bool_),
    "isnan 128x768": lambda: one("IsNaN", [128, 768], gives=np.bool_),
    "where of one mask 12x128x128": lambda: chain(
        {"c": [1, 1, 128, 128], "x": [1, 12, 128, 128]}, ("Where", ["c", "x", "low"], {}), types={"c": np.bool_},
        constants={"low": f32(-1e9)}),
    "relu u8 128x3072": lambda: with_constants("Max", [128, 3072], {"z": np.uint8(128)}, types={"x": np.uint8}, gives=np.uint8),
    "clip s8 128x3072": lambda: with_constants("Clip", [128, 3072], {"l": np.int8(0), "h": np.int8(100)}, types={"x": np.int8},
                                               gives=np.int8),
    "dynamic quantize 128x768": lambda: chain({"x": [128, 768]}, ("DynamicQuantizeLinear", ["x"], {}), outputs=3,
                                              gives=(np.uint8, np.float32, np.uint8)),
    "batch norm 64x56x56": lambda: with_constants("BatchNormalization", [1, 64, 56, 56], {
        "g": weights(64), "b": weights(64), "m": weights(64), "v": abs(weights(64)) + 1}),
    "group norm 64x56x56 in 8": lambda: with_constants("GroupNormalization", [1, 64, 56, 56], {
        "g": weights(64), "b": weights(64)}, dict(num_groups=8), opset=21),
    "lrn 64x28x28": lambda: one("LRN", [1, 64, 28, 28], size=5),
    "sum s64 128x768": lambda: with_constants("ReduceSum", [128, 768], {"a": np.array([1])}, types={"x": np.int64},
                                              gives=np.int64),
    "log sum exp 128x768": lambda: one("ReduceLogSumExp", [128, 768], axes=[1]),
    "min over rows 128x768": lambda: one("ReduceMin", [128, 768], axes=[0]),
    "mean of middle 64x56x56": lambda: one("ReduceMean", [1, 64, 56, 56], axes=[2]),
    "argmax over channels 21x64x64": lambda: one("ArgMax", [1, 21, 64, 64], axis=1, gives=np.int64),
    "gather columns 128x768": lambda: with_constants("Gather", [128, 768], {"i": RANDOM.integers(0, 768, 256)}, dict(axis=1)),
    "gather channels 64x56x56": lambda: with_constants("Gather", [1, 64, 56, 56], {"i": RANDOM.permutation(64)}, dict(axis=1)),
    "gather ND 512 of 128x128x64": lambda: with_constants("GatherND", [128, 128, 64], {"i": RANDOM.integers(0, 128, (512, 2))}),
    "scatter ND 64 of 1000x768": lambda: with_constants("ScatterND", [1000, 768], {
        "i": RANDOM.permutation(1000)[:64].reshape(64, 1), "u": weights(64, 768)}),
    "scatter elements 128x512": lambda: with_constants("ScatterElements", [128, 768], {
        "i": np.argsort(RANDOM.random((128, 768)), axis=1)[:, :512].copy(), "u": weights(128, 512)}, dict(axis=1)),
    "concat columns 128x(64+32+7)": lambda: one("Concat", [128, 64], [128, 32], [128, 7], axis=1),
    "slice backwards 128x768": lambda: with_constants("Slice", [128, 768], {
        "s": np.array([-1]), "e": np.array([-10000]), "a": np.array([1]), "d": np.array([-1])}),
    "transpose 01 1040x1040": lambda: one("Transpose", [1040, 1040], perm=[1, 0]),
    "transpose 01 512x512, s64": lambda: one("Transpose", [512, 512], kind=np.int64, perm=[1, 0]),
    "transpose 01 512x512, f16": lambda: one("Transpose", [512, 512], kind=np.float16, perm=[1, 0]),
    "transpose 224x224x3, u8, to NCHW": lambda: one("Transpose", [1, 224, 224, 3], kind=np.uint8, perm=[0, 3, 1, 2]),
    "transpose 224x224x3 to NCHW": lambda: one("Transpose", [1, 224, 224, 3], perm=[0, 3, 1, 2]),
    "windows of 7 of 56x56x96": lambda: one("Transpose", [1, 8, 7, 8, 7, 96], perm=[0, 1, 3, 2, 4, 5]),
    "space to depth 64x56x56": lambda: one("SpaceToDepth", [1, 64, 56, 56], blocksize=2),
    "pad 64x56x56, edge": lambda: with_constants("Pad", [1, 64, 56, 56], {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])},
                                                 dict(mode="edge")),
    "resize 64x28x28 to 56x56, linear, ends": lambda: with_constants(
        "Resize", [1, 64, 28, 28], {"r": None, "c": None, "s": np.array([1, 64, 56, 56])},
        dict(mode="linear", coordinate_transformation_mode="align_corners")),
    "resize 3x640x480 to 224x224, linear": lambda: with_constants(
        "Resize", [1, 3, 640, 480], {"r": None, "c": None, "s": np.array([1, 3, 224, 224])}, dict(mode="linear")),
    "resize 64x28x28 to 50x50, nearest": lambda: with_constants(
        "Resize", [1, 64, 28, 28], {"r": None, "c": None, "s": np.array([1, 64, 50, 50])}, dict(mode="nearest")),
    "resize 3x64x64 twice, cubic": lambda: with_constants("Resize", [1, 3, 64, 64], {"r": None, "s": f32([1, 1, 2, 2])},
                                                          dict(mode="cubic")),
    "grid sample 32x56x56": lambda: one("GridSample", [1, 32, 56, 56], [1, 56, 56, 2]),
    "triangle 12x128x128": lambda: chain({"x": [12, 128, 128]}, ("Trilu", ["x"], dict(upper=0))),
    "one hot 512 of 128": lambda: chain({"x": [512]}, ("OneHot", ["x", "d", "v"], {}), types={"x": np.int64},
                                       constants={"d": np.int64(128), "v": f32([0, 1])}),
    "einsum bhqd,bhkd->bhqk": lambda: one("Einsum", [1, 12, 128, 64], [1, 12, 128, 64], equation="bhqd,bhkd->bhqk"),
    "einsum bij,bjk->bik": lambda: one("Einsum", [4, 64, 128], [4, 128, 96], equation="bij,bjk->bik"),
    "top 100 of 10000": lambda: with_constants("TopK", [1, 10000], {"k": np.array([100])}, outputs=2,
                                               gives=(np.float32, np.int64)),
    "top 1 of 128x1000": lambda: with_constants("TopK", [128, 1000], {"k": np.array([1])}, outputs=2,
                                                gives=(np.float32, np.int64)),
    "sort 16x1000": lambda: with_constants("TopK", [16, 1000], {"k": np.array([1000])}, outputs=2,
                                           gives=(np.float32, np.int64)),
    "non-max suppression 1000": lambda: chain(
        {"s": [1, 1, 1000]}, ("NonMaxSuppression", ["b", "s", "m", "i", "t"], {}), gives=np.int64,
        constants={"b": boxes(1000), "m": np.array([100]), "i": f32([0.5]), "t": f32([0.1])}),
    "nonzero 128x768": lambda: one("NonZero", [128, 768], kind=np.bool_, gives=np.int64),
    "max pool 64x56x56 k2 s2": lambda: one("MaxPool", [1, 64, 56, 56], kernel_shape=[2, 2], strides=[2, 2]),
    "average pool 64x56x56 k3 s1": lambda: one("AveragePool", [1, 64, 56, 56], kernel_shape=[3, 3], pads=[1] * 4),
    "global max pool 512x14x14": lambda: one("GlobalMaxPool", [1, 512, 14, 14]),
    "gemm 128x768x768": lambda: with_constants("Gemm", [128, 768], {"w": weights(768, 768), "b": weights(768)}, dict(transB=1)),
    "gemm 1x2048x1000": lambda: with_constants("Gemm", [1, 2048], {"w": weights(1000, 2048), "b": weights(1000)}, dict(transB=1)),
    "matmul integer 128x768x768": lambda: with_constants("MatMulInteger", [128, 768], {
        "w": RANDOM.integers(-127, 127, (768, 768)).astype(np.int8)}, types={"x": np.uint8}, gives=np.int32),
    "conv 1d 256 400 k3": lambda: conv([1, 256, 400], 256, 3),
    "conv transposed 64 28x28 k4 s2": lambda: with_constants("ConvTranspose", [1, 64, 28, 28], {"w": weights(64, 32, 4, 4)},
                                                             dict(strides=[2, 2], pads=[1] * 4)),
    "lstm 32x1x256 to 256": lambda: recurrent("LSTM", 4, 32, 256, 256),
    "gru 32x1x256 to 256": lambda: recurrent("GRU", 3, 32, 256, 256),
}


def time_ort(path, threads, seconds):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    numpy_type = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8, "tensor(int8)": np.int8,
                  "tensor(int32)": np.int32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
    feed = {i.name: (RANDOM.standard_normal(i.shape) * (1 if "float" in i.type else 40)).astype(numpy_type[i.type])
            for i in session.get_inputs()}
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feed)
        best = min(best, time.perf_counter() - start)
    return best


def time_whet(whet, path, threads, seconds):
    done = subprocess.run([whet, "bench", path, "-t", str(threads), "--seconds", str(seconds), "--json"], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        print(f"operators.py: {done.stderr.strip()}", file=sys.stderr)
        return float("nan")
    return json.loads(done.stdout)["min_ms"] * 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-t", "--threads", type=int, default=1)
    parser.add_argument("-w", "--whet", default="build/whet")
    parser.add_argument("-s", "--seconds", type=float, default=0.3)
    parser.add_argument("-k", "--only", default="")
    parser.add_argument("-r", "--rounds", type=int, default=3)
    parser.add_argument("-x", "--without", default=None, metavar="WORD", help="leave out rows whose name has WORD in it")
    args = parser.parse_args()
    print(f"{'operator':34} {'whet us':>10} {'ort us':>10}  ratio   ({args.threads} thread{'s' * (args.threads > 1)})")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.onnx")
        for name, make in ROWS.items():
            if args.only not in name or (args.without and args.without in name):
                continue
            onnx.save(make(), path)
            best = [float("inf")] * 2
            for _ in range(args.rounds):
                best[0] = min(best[0], time_whet(args.whet, path, args.threads, args.seconds))
                best[1] = min(best[1], time_ort(path, args.threads, args.seconds))
            print(f"{name:34} {1e6 * best[0]:10.1f} {1e6 * best[1]:10.1f}  {best[1] / best[0]:5.2f}", flush=True)


main()
