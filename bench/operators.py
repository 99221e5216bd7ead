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


TYPES = {np.float32: TensorProto.FLOAT, np.uint8: TensorProto.UINT8, np.int64: TensorProto.INT64, np.bool_: TensorProto.BOOL}


def chain(inputs, *steps, constants=None, types=None, gives=np.float32, outputs=1):
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
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def one(operator, *shapes, **attributes):
    names = [f"x{i}" for i in range(len(shapes))]
    return chain(dict(zip(names, shapes)), (operator, names, attributes))


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
    "cast f32 to u8 128x3072": lambda: chain({"x": [128, 3072]}, ("Cast", ["x"], dict(to=TensorProto.UINT8)), gives=np.uint8),
    "cast u8 to f32 128x3072": lambda: chain({"x": [128, 3072]}, ("Cast", ["x"], dict(to=TensorProto.FLOAT)),
                                             types={"x": np.uint8}),
    "cast s64 to f32 128x768": lambda: chain({"x": [128, 768]}, ("Cast", ["x"], dict(to=TensorProto.FLOAT)),
                                             types={"x": np.int64}),
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
}


def time_ort(path, threads, seconds):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    numpy_type = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
    feed = {i.name: (RANDOM.standard_normal(i.shape) * (1 if i.type == "tensor(float)" else 40)).astype(numpy_type[i.type])
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
