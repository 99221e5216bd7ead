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


def chain(inputs, *steps, constants=None):
    """A model: steps are (operator, operands, attributes); each step's output is named by its number."""
    nodes = []
    for number, (operator, operands, attributes) in enumerate(steps):
        nodes.append(helper.make_node(operator, operands, [str(number)], **attributes))
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(str(len(nodes) - 1), TensorProto.FLOAT, None)],
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
    feed = {i.name: RANDOM.standard_normal(i.shape).astype(np.float32) for i in session.get_inputs()}
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
        sys.exit(f"operators.py: {done.stderr}")
    return json.loads(done.stdout)["min_ms"] * 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("-t", "--threads", type=int, default=1)
    parser.add_argument("-w", "--whet", default="build/whet")
    parser.add_argument("-s", "--seconds", type=float, default=0.3)
    parser.add_argument("-k", "--only", default="")
    args = parser.parse_args()
    print(f"{'operator':34} {'whet us':>10} {'ort us':>10}  ratio   ({args.threads} thread{'s' * (args.threads > 1)})")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.onnx")
        for name, make in ROWS.items():
            if args.only not in name:
                continue
            onnx.save(make(), path)
            best = [float("inf")] * 2
            for _ in range(3):
                best[0] = min(best[0], time_whet(args.whet, path, args.threads, args.seconds))
                best[1] = min(best[1], time_ort(path, args.threads, args.seconds))
            print(f"{name:34} {1e6 * best[0]:10.1f} {1e6 * best[1]:10.1f}  {best[1] / best[0]:5.2f}", flush=True)


main()
