#!/usr/bin/env python3
"""Trains the network of the demo from nothing and writes doodles.onnx beside this file. Needs NumPy; three minutes on one core.

The data are doodles that drawing.py draws: 14,400 to train on and, from another seed, 2,400 to judge by. The pictures of the demo,
which sheet.py holds stroke by stroke, are in neither.
"""

import os
import time

import numpy as np

import drawing
import onnx_file
import sheet
from network import Conv, Dense, Network

HERE = os.path.dirname(os.path.abspath(__file__))
FILTERS = (8, 16, 32)


def train(network, pictures, labels, epochs, batch=48, rate=2e-3):
    rng = np.random.default_rng(7)
    steps = epochs * (len(labels) // batch)
    for epoch in range(epochs):
        order, losses = rng.permutation(len(labels)), []
        for i in range(0, len(labels) - batch + 1, batch):
            chosen = order[i : i + batch]
            decay = 0.5 * (1 + np.cos(np.pi * network.steps / steps))
            losses.append(network.step(shifted(rng, pictures[chosen]), labels[chosen], rate * decay))
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}", flush=True)


def shifted(rng, pictures):
    """The pictures moved by up to two pixels, so that no two epochs are the same."""
    dy, dx = rng.integers(-2, 3, 2)
    return np.roll(pictures, (dy, dx), axis=(1, 2))


def accuracy(network, pictures, labels):
    return (network.probabilities(pictures).argmax(axis=1) == labels).mean()


def export(network, path):
    """As exporters write it: channels first, batch symbolic, Gemm with transB."""
    nodes, weights, value, count = [], {}, "picture", 0
    for layer in network.layers:
        out = f"{type(layer).__name__.lower()}_{count}"
        count += 1
        if isinstance(layer, Conv):
            filters = layer.b.size
            weights[out + ".weight"] = layer.w.reshape(3, 3, -1, filters).transpose(3, 2, 0, 1)
            weights[out + ".bias"] = layer.b
            nodes.append(onnx_file.node("Conv", [value, out + ".weight", out + ".bias"], out, dilations=(1, 1), group=1,
                                        kernel_shape=(3, 3), pads=(1, 1, 1, 1), strides=(1, 1)))
        elif isinstance(layer, Dense):
            weights[out + ".weight"] = layer.w.T
            weights[out + ".bias"] = layer.b
            nodes.append(onnx_file.node("Gemm", [value, out + ".weight", out + ".bias"], out, alpha=1.0, beta=1.0, transB=1))
        elif out.startswith("relu"):
            nodes.append(onnx_file.node("Relu", [value], out))
        elif out.startswith("maxpool"):
            nodes.append(onnx_file.node("MaxPool", [value], out, kernel_shape=(2, 2), strides=(2, 2)))
        else:
            nodes.append(onnx_file.node("Flatten", [value], out, axis=1))
        value = out
    nodes.append(onnx_file.node("Softmax", [value], "probabilities", axis=1))
    size, classes = drawing.SIZE, len(drawing.LABELS)
    data = onnx_file.model("doodles", nodes, weights, [onnx_file.value_info("picture", ("batch", 1, size, size))],
                           [onnx_file.value_info("probabilities", ("batch", classes))],
                           metadata=[("labels", ",".join(drawing.LABELS))])
    with open(path, "wb") as file:
        file.write(data)
    return len(data)


def main():
    start = time.time()
    pictures, labels = drawing.dataset(seed=1, count=14400)
    test_pictures, test_labels = drawing.dataset(seed=2, count=2400)
    print(f"drawn: {time.time() - start:.0f} s", flush=True)
    network = Network(np.random.default_rng(3), drawing.SIZE, FILTERS, len(drawing.LABELS))
    train(network, pictures, labels, epochs=10)
    print(f"right on {100 * accuracy(network, test_pictures, test_labels):.1f} % of {len(test_labels)} doodles not trained on")
    names, sheets = sheet.pictures()
    answers = network.probabilities(sheets)
    for name, p in zip(names, answers):
        print(f"  {name:9} -> {drawing.LABELS[p.argmax()]:9} {100 * p.max():5.1f} %")
    sheet.write(os.path.join(HERE, "pictures"))
    size = export(network, os.path.join(HERE, "doodles.onnx"))
    print(f"doodles.onnx: {size} bytes, {time.time() - start:.0f} s in all")


if __name__ == "__main__":
    main()
