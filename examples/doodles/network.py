"""A small convolutional network in NumPy: forward, backward, Adam. Pictures are [batch, height, width, channels] in here."""

import numpy as np


class Conv:
    """3 x 3 convolution that keeps the size: one matrix product over gathered neighbourhoods."""

    def __init__(self, rng, channels, filters):
        self.w = (rng.normal(0, 1, (9 * channels, filters)) * np.sqrt(2 / (9 * channels))).astype(np.float32)
        self.b = np.zeros(filters, np.float32)

    def forward(self, x):
        n, h, w, c = x.shape
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        self.shape = x.shape
        self.columns = np.concatenate([padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=3).reshape(-1, 9 * c)
        return (self.columns @ self.w + self.b).reshape(n, h, w, -1)

    def backward(self, g):
        n, h, w, c = self.shape
        g = g.reshape(-1, g.shape[-1])
        self.gw, self.gb = self.columns.T @ g, g.sum(axis=0)
        columns = (g @ self.w.T).reshape(n, h, w, 9, c)
        padded = np.zeros((n, h + 2, w + 2, c), np.float32)
        for k in range(9):
            padded[:, k // 3 : k // 3 + h, k % 3 : k % 3 + w] += columns[:, :, :, k]
        return padded[:, 1:-1, 1:-1]


class Relu:
    def forward(self, x):
        self.on = x > 0
        return x * self.on

    def backward(self, g):
        return g * self.on


class MaxPool:
    """2 x 2, stride 2."""

    def forward(self, x):
        n, h, w, c = x.shape
        blocks = x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)
        self.shape, self.which = x.shape, blocks.argmax(axis=4)
        return blocks.max(axis=4)

    def backward(self, g):
        n, h, w, c = self.shape
        blocks = (np.arange(4) == self.which[..., None]) * g[..., None]
        return blocks.reshape(n, h // 2, w // 2, c, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(self.shape)


class Flatten:
    """To [batch, channels * height * width], channels first, as the exported network has it."""

    def forward(self, x):
        self.shape = x.shape
        return x.transpose(0, 3, 1, 2).reshape(len(x), -1)

    def backward(self, g):
        n, h, w, c = self.shape
        return g.reshape(n, c, h, w).transpose(0, 2, 3, 1)


class Dense:
    def __init__(self, rng, inputs, outputs):
        self.w = (rng.normal(0, 1, (inputs, outputs)) * np.sqrt(2 / inputs)).astype(np.float32)
        self.b = np.zeros(outputs, np.float32)

    def forward(self, x):
        self.x = x
        return x @ self.w + self.b

    def backward(self, g):
        self.gw, self.gb = self.x.T @ g, g.sum(axis=0)
        return g @ self.w.T


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class Network:
    def __init__(self, rng, size, filters, classes):
        self.layers, channels = [], 1
        for f in filters:
            self.layers += [Conv(rng, channels, f), Relu(), MaxPool()]
            channels, size = f, size // 2
        self.layers += [Flatten(), Dense(rng, channels * size * size, classes)]
        self.steps, self.moments = 0, {}

    def forward(self, x):
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def probabilities(self, pictures, batch=256):
        parts = [pictures[i : i + batch, :, :, None] for i in range(0, len(pictures), batch)]
        return np.concatenate([softmax(self.forward(p)) for p in parts])

    def step(self, pictures, labels, rate):
        """One step of Adam on one batch; returns the cross-entropy."""
        p = softmax(self.forward(pictures[:, :, :, None]))
        loss = -np.log(p[np.arange(len(labels)), labels] + 1e-12).mean()
        g = p.copy()
        g[np.arange(len(labels)), labels] -= 1
        g = (g / len(labels)).astype(np.float32)
        for layer in reversed(self.layers):
            g = layer.backward(g)
        self.steps += 1
        for i, layer in enumerate(self.layers):
            for name in ("w", "b"):
                if hasattr(layer, name):
                    self.adam((i, name), getattr(layer, name), getattr(layer, "g" + name), rate)
        return loss

    def adam(self, key, weights, gradient, rate):
        m, v = self.moments.setdefault(key, (np.zeros_like(weights), np.zeros_like(weights)))
        m += 0.1 * (gradient - m)
        v += 0.001 * (gradient * gradient - v)
        mean, square = m / (1 - 0.9**self.steps), v / (1 - 0.999**self.steps)
        weights -= rate * mean / (np.sqrt(square) + 1e-8)
