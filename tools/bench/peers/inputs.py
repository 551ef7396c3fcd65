"""Inputs, the same for everybody, by the names of ../workloads.py; as input() of ../cpu/cermet_case.h."""

import numpy as np


def numbers(shape, seed, scale=1.0, shift=0.0):
    """Uniform in [-scale, scale) + shift, hashed from position and seed as in ../cpu/array.h."""
    x = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(2654435761)
    x += np.uint32(seed * 40503 + 12345)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    unit = (x >> np.uint32(8)).astype(np.float32) * np.float32(2 / 2**24) - np.float32(1)
    return (unit * np.float32(scale) + np.float32(shift)).reshape(shape)


def zeros(*shape):
    return np.zeros(shape, np.float32)


def ones(*shape):
    return np.ones(shape, np.float32)


def labels(count):
    return np.arange(count, dtype=np.int64) * 7 % 10


def mlp():
    return [numbers((784, 512), 2, 0.05), zeros(512), numbers((512, 256), 3, 0.05), zeros(256),
            numbers((256, 10), 4, 0.05), zeros(10)]


def cnn():
    return [numbers((16, 1, 3, 3), 2, 0.5), zeros(16), numbers((32, 16, 3, 3), 3, 0.1), zeros(32),
            numbers((10, 1568), 4, 0.05), zeros(10)]


def transformer():
    """The weights of a block, its input, and the gradient for its output."""
    return [ones(512), zeros(512), numbers((512, 1536), 2, 0.05), zeros(1536),
            numbers((512, 512), 3, 0.05), zeros(512), ones(512), zeros(512),
            numbers((512, 2048), 4, 0.05), zeros(2048), numbers((2048, 512), 5, 0.05), zeros(512),
            numbers((4, 256, 512), 1), numbers((4, 256, 512), 6)]


def arrays(*specifications):
    return lambda: [numbers(*s) for s in specifications]


def product(m, k, n):
    return arrays(((k,) if m == 1 else (m, k), 1), ((k,) if n == 1 else (k, n), 2))


HEADS = (16, 256, 64)
INPUTS = {
    "W1a": arrays((1 << 24, 1), (1 << 24, 2)),
    "W1b": arrays((1 << 24, 1)),
    "W1c": arrays((1 << 24, 1)),
    "W2": arrays(((4096, 1024), 1, 4)),
    "W3a": arrays(((4096, 1024), 1), (1024, 2), (1024, 3)),
    "W3b": arrays(((4096, 1024), 1), (1024, 2), (1024, 3), ((4096, 1024), 4)),
    "W4": arrays(((4096, 4096), 1)),
    "W5": lambda: [mlp(), numbers((128, 784), 1), labels(128)],
    "W6a": arrays((HEADS, 1), (HEADS, 2), (HEADS, 3)),
    "W6b": arrays((HEADS, 1), (HEADS, 2), (HEADS, 3), (HEADS, 4)),
    "W7": arrays(((1024, 1024), 1, 0.1), ((1024, 1024), 2), (1024, 3)),
    "W8": arrays((1024, 1), (1024, 2)),
    "W9": arrays(((2000, 64), 1), ((2000, 64), 2)),
    "W12": lambda: [cnn(), numbers((64, 1, 28, 28), 1), labels(64)],
    "W13": transformer,
    "W14a": arrays((1 << 22, 1, 50, 100), (1 << 22, 2, 50, 100), (1 << 22, 3, 0.9, 1)),
    "W14b": arrays(((2048, 3), 1), ((2048, 3), 2), (2048, 3, 0.5, 1)),
}


def inputs(name):
    if name.startswith("W7_mm"):
        return product(*map(int, name[len("W7_mm"):].split("x")))()
    return INPUTS[name if name in INPUTS else name.split("_")[0]]()
