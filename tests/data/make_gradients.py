#!/usr/bin/env python3
"""Writes gradients.golden beside it: gradients that PyTorch computes, first and second.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 numpy mpmath
    venv/bin/python tests/data/make_gradients.py

The format is that of make_reference.py. The operands of a case are the inputs of the function and the cotangent u
of its result f; what is expected is the gradient of <u, f> by input number wrt. With order=2 one more operand w
follows, and the gradient of <w, that gradient> by the same input is expected.

What is left out, because Cermet differs on purpose: hypot at the origin (0 instead of NaN), copysign of NaN (0, as
abs of NaN has it in both), acosh below -1 (NaN, as the function itself), amax and cummax of NaN (the NaN gets the
adjoint), and updates of scatter that overwrite each other (only the last gets the adjoint).
"""
import math

import torch
import torch.nn.functional as F

from make_reference import Golden

inf, nan = math.inf, math.nan
generator = torch.Generator().manual_seed(1)


def f64(values):
    return torch.tensor(values, dtype=torch.float64)


def random(*shape, low=-1.5, high=1.5):
    return torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low


def gradients(golden, name, function, inputs, cotangent=None, orders=1, **attributes):
    """The gradients by every input that is a float."""
    for wrt, x in enumerate(inputs):
        if not x.dtype.is_floating_point:
            continue
        leaves = [v.detach().clone().requires_grad_(v.dtype.is_floating_point) for v in inputs]
        result = function(*leaves)
        u = torch.ones_like(result.detach()) if cotangent == "ones" else random(*result.shape)
        first, = torch.autograd.grad((result * u).sum(), leaves[wrt], create_graph=True)
        golden.case(name, [*inputs, u], first.detach(), wrt=wrt, **attributes)
        if orders < 2:
            continue
        w = random(*x.shape)
        second = torch.zeros_like(x)
        if first.requires_grad:
            second, = torch.autograd.grad((first * w).sum(), leaves[wrt], allow_unused=True)
            second = torch.zeros_like(x) if second is None else second
        golden.case(name, [*inputs, u, w], second.detach(), wrt=wrt, order=2, **attributes)


# The point 0 and what lies around it, and the ends of domains.
POINTS = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -1.5, 2.0, -2.0, 3.25, 20.0, -20.0, inf, -inf]
UNARY = {"neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil,
         "trunc": torch.trunc, "round": torch.round, "sqrt": torch.sqrt, "exp": torch.exp, "exp2": torch.exp2,
         "expm1": torch.expm1, "log": torch.log, "log2": torch.log2, "log10": torch.log10, "log1p": torch.log1p,
         "sigmoid": torch.sigmoid, "erf": torch.erf, "erfc": torch.erfc, "sin": torch.sin, "cos": torch.cos,
         "tan": torch.tan, "asin": torch.asin, "acos": torch.acos, "atan": torch.atan, "sinh": torch.sinh,
         "cosh": torch.cosh, "tanh": torch.tanh, "asinh": torch.asinh, "acosh": torch.acosh, "atanh": torch.atanh}
BINARY = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "remainder": torch.remainder,
          "fmod": torch.fmod, "pow": torch.pow, "minimum": torch.minimum, "maximum": torch.maximum,
          "copysign": torch.copysign, "atan2": torch.atan2, "hypot": torch.hypot}


def elementwise(golden):
    for name, function in UNARY.items():
        points = [p for p in POINTS if p >= 1] if name == "acosh" else POINTS
        gradients(golden, name, function, [f64(points)], "ones")
    pairs = [(a, b) for a in (0.0, 1.0, -1.0, 2.0, -2.5, 0.75, nan) for b in (0.0, 1.0, -1.0, 2.0, -2.5, 0.75, nan)]
    for name, function in BINARY.items():
        left_out = {"hypot": lambda p: p == (0.0, 0.0), "copysign": lambda p: math.isnan(p[0])}.get(name)
        kept = [p for p in pairs if not (left_out and left_out(p))]
        gradients(golden, name, function, [f64([a for a, _ in kept]), f64([b for _, b in kept])], "ones")
    x = random(7, low=0.2, high=0.9)
    for name in ("exp", "log", "sqrt", "tanh", "sigmoid", "sin", "tan", "erf", "asin", "atan", "atanh", "log1p"):
        gradients(golden, name, UNARY[name], [x], orders=2)
    for name in ("mul", "div", "pow", "atan2", "hypot"):
        gradients(golden, name, BINARY[name], [x, random(7, low=0.3, high=2.0)], orders=2)
    bounds = f64([0.0, 1.0, 0.5, 2.0, -1.0])
    gradients(golden, "clamp", lambda v: torch.clamp(v, 0, 1), [bounds], "ones")
    gradients(golden, "relu", torch.relu, [bounds], "ones")
    gradients(golden, "where", torch.where, [f64([1.0, 0.0, 0.0]) != 0, f64([inf, inf, 1.0]), f64([nan, 2.0, nan])],
              "ones")


def reductions(golden):
    ties = f64([[1, 5, 5, 2], [3, 3, 3, 3], [-1, 0, -0.0, -1]])
    x = random(3, 4)
    for name, function in {"max": torch.amax, "min": torch.amin, "sum": torch.sum}.items():
        for axes in ([0], [1], [0, 1]):
            for values in (x, ties):
                gradients(golden, name, lambda v: function(v, dim=axes), [values], axes=axes)
    zeros = f64([[2, 3, 4], [2, 0, 4], [0, 3, 0], [0, 0, 0]])
    for values in (x, zeros):
        gradients(golden, "prod", lambda v: torch.prod(v, dim=1), [values], orders=2, axes=[1])
        gradients(golden, "cumprod", lambda v: torch.cumprod(v, dim=1), [values], orders=2, axis=1)
        gradients(golden, "cumsum", lambda v: torch.cumsum(v, dim=0), [values], axis=0)
    for values in (x, ties[:2]):
        gradients(golden, "cummax", lambda v: torch.cummax(v, dim=1)[0], [values], axis=1)
        gradients(golden, "cummin", lambda v: torch.cummin(v, dim=1)[0], [values], axis=1)
    gradients(golden, "norm", lambda v: torch.linalg.vector_norm(v, dim=1), [f64([[3, 4], [0, 0], [-1, 0]])])
    gradients(golden, "softmax", lambda v: torch.softmax(v, dim=1), [x], orders=2)
    gradients(golden, "log_softmax", lambda v: torch.log_softmax(v, dim=1), [x], orders=2)


def products(golden):
    gradients(golden, "matmul", torch.matmul, [random(2, 1, 2, 3), random(4, 3, 2)], orders=2)
    for stride, dilation, groups in [((1, 1), (1, 1), 1), ((2, 3), (1, 1), 1), ((1, 2), (2, 1), 2), ((3, 2), (2, 3), 2)]:
        gradients(golden, "conv2d", lambda a, w: F.conv2d(a, w, None, stride, 0, dilation, groups),
                  [random(2, 4, 8, 9), random(6, 4 // groups, 2, 3)], stride=stride, dilation=dilation,
                  groups=groups)
    for window, stride in [(2, 2), (3, 2), (2, 3), (3, 1)]:
        image = random(1, 2, 7, 8)
        gradients(golden, "max_pool", lambda v: F.max_pool2d(v, window, stride), [image], window=window,
                  stride=stride)
        gradients(golden, "avg_pool", lambda v: F.avg_pool2d(v, window, stride), [image], window=window,
                  stride=stride)


def movement(golden):
    x = random(4, 3)
    repeated = torch.tensor([[0, 2, 2], [2, 1, 0], [0, 2, 3]])
    unique = torch.tensor([[0, 2, 2], [2, 1, 0], [1, 0, 3]])
    gradients(golden, "gather", lambda v, i: torch.gather(v, 0, i), [x, repeated], orders=2, axis=0)
    gradients(golden, "scatter_add", lambda v, i, s: torch.scatter_add(v, 0, i, s), [x, repeated, random(3, 3)], axis=0)
    gradients(golden, "scatter", lambda v, i, s: torch.scatter(v, 0, i, s), [x, unique, random(3, 3)], axis=0)
    steps = f64([[1, 2, 9], [1, 0.5, 3], [0, 2, 1], [4, 4, 4]])
    updates = f64([[1, 2, 9], [1, 0.5, 3], [1, 2, 4]])
    for name, how in (("scatter_max", "amax"), ("scatter_min", "amin")):
        gradients(golden, name, lambda v, i, s: torch.scatter_reduce(v, 0, i, s, how), [steps, repeated, updates], axis=0)
    gradients(golden, "sort", lambda v: torch.sort(v, dim=1)[0], [x])
    for size, step in [(2, 1), (3, 2), (2, 3)]:
        gradients(golden, "windows", lambda v: v.unfold(0, size, step), [random(9, 2)], size=size, step=step)
    for offset in (-1, 0, 2):
        gradients(golden, "diagonal", lambda v: torch.diagonal(v, offset), [random(4, 5)], offset=offset)
    gradients(golden, "pad_flip", lambda v: torch.flip(F.pad(v, (1, 2, 0, 3)), [1])[::2, 1:], [x])


def main():
    golden = Golden("gradients")
    golden.lines = ["# Written by make_gradients.py, which also says how to read it."]
    for part in (elementwise, reductions, products, movement):
        part(golden)
    golden.write()


if __name__ == "__main__":
    main()
