#!/usr/bin/env python3
"""Writes api.golden and promotion.golden beside it: what PyTorch's functions give for whole calls.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 numpy mpmath
    venv/bin/python tests/data/make_api.py

The format is that of make_reference.py; tests/api/golden_test.cpp says which call each op stands for. In
promotion.golden a case `result_type a b` expects an array of the dtype that torch.result_type gives; scalar=0, 1, 2
stands for a Python number True, 1, 1.0 after (left=1: before) the operand. Pairs that PyTorch refuses are left out.
"""
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

from make_reference import TORCH, Golden

HEADER = "# Written by make_api.py, which also says how to read it."
inf, nan = math.inf, math.nan
generator = torch.Generator().manual_seed(1)


def random(*shape, dtype=torch.float32):
    return (torch.rand(shape, generator=generator, dtype=torch.float64) * 4 - 2).to(dtype)


def integers(*shape, low=-9, high=10, dtype=torch.int64):
    return torch.randint(low, high, shape, generator=generator).to(dtype)


SPECIAL = torch.tensor([[inf, 1.0, 2.0, -1.0], [-inf, 0.5, -2.0, 3.0], [nan, 1.0, 0.0, 2.0],
                        [-inf, -inf, -inf, -inf], [inf, inf, 0.0, -inf], [88.0, 89.0, 90.0, -90.0]])


def every(rank):
    """All sets of axes, () standing for none given."""
    for count in range(rank + 1):
        yield from itertools.combinations(range(rank), count)


def reductions(g):
    inputs = [random(2, 3, 4), random(5), random(), integers(3, 4), integers(2, 3, dtype=torch.uint8),
              integers(3, 4, low=0, high=2, dtype=torch.bool), random(3, 4, dtype=torch.float64),
              random(6, 7, dtype=torch.float16), random(6, 7, dtype=torch.bfloat16)]
    for x in inputs:
        for axes in every(x.dim()):
            dims = {"dim": list(axes)} if axes else {}
            for keepdim in (False, True) if axes and x is inputs[0] else (False,):
                given = {"dim": axes, "keepdim": (int(keepdim),)} if axes else {}
                kwargs = dict(dims, keepdim=keepdim) if axes else {}
                g.case("sum", [x], x.sum(**kwargs), **given)
                floating = x if x.is_floating_point() else x.float()
                g.case("mean", [x], floating.mean(**kwargs), **given)
                g.case("any", [x], x.bool().any(**kwargs), **given)
                g.case("all", [x], x.bool().all(**kwargs), **given)
                if x.dtype != torch.bool:
                    g.case("amax", [x], x.amax(**kwargs), **given)
                    g.case("amin", [x], x.amin(**kwargs), **given)
                if x.is_floating_point() and x.numel() > 1:
                    for correction in (0, 1, 2):
                        g.case("var", [x], x.var(**dict(kwargs, correction=correction)),
                               **dict(given, correction=(correction,)))
                        g.case("std", [x], x.std(**dict(kwargs, correction=correction)),
                               **dict(given, correction=(correction,)))
                if x.is_floating_point() and axes:
                    g.case("logsumexp", [x], x.logsumexp(**kwargs), **given)
                if len(axes) == 1:
                    g.case("prod", [x], x.prod(axes[0], keepdim), **given)
                    if x.dtype != torch.bool:
                        g.case("argmax", [x], x.argmax(axes[0], keepdim), **given)
                        g.case("argmin", [x], x.argmin(axes[0], keepdim), **given)
        g.case("prod", [x], x.prod())
        if x.dtype != torch.bool:
            g.case("argmax", [x], x.argmax())
            g.case("argmin", [x], x.argmin())
        for axis in range(x.dim()):
            g.case("cumsum", [x], x.cumsum(axis), dim=(axis,))
            g.case("cumprod", [x], x.cumprod(axis), dim=(axis,))
            if x.is_floating_point():
                g.case("softmax", [x], x.softmax(axis), dim=(axis,))
                g.case("log_softmax", [x], x.log_softmax(axis), dim=(axis,))
    for x in (SPECIAL, SPECIAL.double()):
        for name in ("logsumexp", "softmax", "log_softmax"):
            g.case(name, [x], getattr(x, name)(1), dim=(1,))
        for name in ("sum", "prod", "amax", "amin", "argmax", "argmin", "var", "mean"):
            given = {"correction": (1,)} if name == "var" else {}
            g.case(name, [x], getattr(x, name)(1), dim=(1,), **given)
        for name in ("cumsum", "cumprod"):
            g.case(name, [x], getattr(x, name)(1), dim=(1,))
    empty = torch.zeros(0, 3)
    for name in ("sum", "prod", "any", "all", "mean"):
        g.case(name, [empty], getattr(empty, name)())
        if name != "prod":
            g.case(name, [empty], getattr(empty, name)(0), dim=(0,))
    for name in ("softmax", "log_softmax", "cumsum"):
        g.case(name, [empty], getattr(empty, name)(0), dim=(0,))
    ties = torch.tensor([3, 1, 3, 1])
    g.case("argmax", [ties], ties.argmax())
    g.case("argmin", [ties], ties.argmin())


def products(g):
    shapes = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
              ((5, 1, 2, 3), (7, 3, 4)), ((4, 0), (0, 3)), ((1, 1), (1, 1)), ((17, 33), (33, 19))]
    for a, b in shapes:
        for dtype in (torch.float32, torch.float64):
            x, y = random(*a, dtype=dtype), random(*b, dtype=dtype)
            g.case("matmul", [x, y], x @ y)
    x, y = integers(4, 5), integers(5, 3)
    g.case("matmul", [x, y], x @ y)
    for a, b in [((2, 3), (4, 3, 5)), ((3,), (3,)), ((2, 3), (3,)), ((), (2, 3))]:
        x, y = random(*a), random(*b)
        g.case("dot", [x, y], torch.from_numpy(np.asarray(np.dot(x.numpy(), y.numpy()))))
    x, y = random(3), random(4)
    g.case("outer", [x, y], torch.outer(x, y))
    x, y = random(2, 3, 4), random(3, 4, 5)
    g.case("tensordot", [x, y], torch.tensordot(x, y, 2), dims=(2,))
    x, y = random(2, 3, 4), random(4, 5, 3)
    g.case("tensordot", [x, y], torch.tensordot(x, y, ([2, 1], [0, 2])), dims_a=(2, 1), dims_b=(0, 2))
    x, y = random(2), random(3)
    g.case("tensordot", [x, y], torch.tensordot(x, y, 0), dims=(0,))


def joining(g):
    a, b, c = random(2, 3), random(4, 3), random(1, 3)
    g.case("cat", [a, b, c], torch.cat([a, b, c]), dim=(0,))
    g.case("cat", [a.T, b.T], torch.cat([a.T, b.T], 1), dim=(-1,))
    a, b = integers(2), random(3)
    g.case("cat", [a, b], torch.cat([a, b]), dim=(0,))
    g.case("stack", [a, a + 1], torch.stack([a, a + 1], 0), dim=(0,))
    g.case("stack", [a, a + 1], torch.stack([a, a + 1], -1), dim=(-1,))
    x = random(3, 4)
    for padding, value in [((1, 2), 0), ((1, 0, 0, 2), 1.5), ((-1, 1), -2), ((0, -2, -1, 0), 0), ((3, 3, 3, 3), 7)]:
        g.case("pad", [x], F.pad(x, padding, value=value), padding=padding, twice=(int(value * 2),))
    for k in (-2, -1, 0, 1, 3):
        g.case("tril", [x], x.tril(k), diagonal=(k,))
        g.case("triu", [x], x.triu(k), diagonal=(k,))
    y = integers(2, 3, 3)
    g.case("tril", [y], y.tril(0), diagonal=(0,))


def selecting(g):
    x = random(4, 5)
    index = integers(3, 5, low=0, high=4)
    g.case("gather", [x, index], x.gather(0, index), dim=(0,))
    index = integers(2, 7, low=0, high=5)
    g.case("gather", [x, index], x.gather(1, index), dim=(1,))
    index = torch.tensor([3, 0, 3])
    g.case("index_select", [x, index], x.index_select(0, index), dim=(0,))
    g.case("index_select", [x, index], x.index_select(1, index), dim=(1,))
    g.case("index_select", [x, index.int()], x.index_select(-1, index), dim=(-1,))
    index = torch.tensor([[0, 19], [7, 7]])
    g.case("take", [x, index], x.take(index))
    index = torch.tensor([[0, 1, 2, 3, 0], [3, 2, 1, 0, 2]])
    source = random(2, 5)
    g.case("scatter", [x, index, source], x.scatter(0, index, source), dim=(0,))
    g.case("scatter_add", [x, index, source], x.scatter_add(0, index, source), dim=(0,))
    index, source = torch.tensor([[1, 1, 1], [0, 4, 0]]), random(3, 4)
    g.case("scatter_add", [x, index, source], x.scatter_add(1, index, source), dim=(1,))
    classes = torch.tensor([[0, 2], [1, 3]])
    g.case("one_hot", [classes], F.one_hot(classes, 5), classes=(5,))
    for x in (random(4, 6), integers(4, 6), torch.tensor([2.0, nan, 1.0, inf, -inf, 0.0]).reshape(1, 6)):
        for axis in (0, 1):
            for descending in (False, True):
                values, order = torch.sort(x, dim=axis, descending=descending, stable=True)
                g.case("sort", [x], values, dim=(axis,), descending=(int(descending),))
                g.case("argsort", [x], order, dim=(axis,), descending=(int(descending),))


def networks(g):
    x, w, b = random(2, 4, 9, 8), random(6, 4, 3, 2), random(6)
    g.case("conv2d", [x, w], F.conv2d(x, w))
    g.case("conv2d", [x, w, b], F.conv2d(x, w, b, (2, 1), (1, 2)), stride=(2, 1), padding=(1, 2))
    g.case("conv2d", [x, w, b], F.conv2d(x, w, b, 2, 1, 2), stride=(2,), padding=(1,), dilation=(2,))
    w = random(6, 2, 3, 3)
    g.case("conv2d", [x, w, b], F.conv2d(x, w, b, 1, 1, 1, 2), padding=(1,), groups=(2,))
    w = random(4, 1, 3, 3)
    g.case("conv2d", [x, w], F.conv2d(x, w, None, 1, 0, 1, 4), groups=(4,))
    w = random(5, 4, 1, 1)
    g.case("conv2d", [x, w], F.conv2d(x, w))
    for window, stride, padding in [((2, 2), None, 0), ((3, 2), (1, 2), (1, 1)), ((3, 3), (2, 2), (1, 0))]:
        given = dict(window=window)
        if stride:
            given.update(stride=stride, padding=padding)
        g.case("max_pool2d", [x], F.max_pool2d(x, window, stride, padding), **given)
        g.case("avg_pool2d", [x], F.avg_pool2d(x, window, stride, padding), **given)
    x, w, b = random(5, 3), random(4, 3), random(4)
    g.case("linear", [x, w], F.linear(x, w))
    g.case("linear", [x, w, b], F.linear(x, w, b))
    x = random(2, 3, 3)
    g.case("linear", [x, w, b], F.linear(x, w, b))
    x, w, b = random(3, 4, 5), random(5), random(5)
    g.case("layer_norm", [x], F.layer_norm(x, (5,)), axes=(1,))
    g.case("layer_norm", [x, w, b], F.layer_norm(x, (5,), w, b), axes=(1,))
    w, b = random(4, 5), random(4, 5)
    g.case("layer_norm", [x, w, b], F.layer_norm(x, (4, 5), w, b), axes=(2,))
    logits, target = random(6, 4) * 10, torch.tensor([0, 3, 1, 2, 2, 0])
    g.case("cross_entropy", [logits, target], F.cross_entropy(logits, target))
    x, y = random(3, 4), random(3, 4)
    g.case("mse_loss", [x, y], F.mse_loss(x, y))
    x = torch.tensor([-inf, -100.0, -20.0, -3.0, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0, 19.0, 21.0, 100.0, inf, nan])
    x = torch.cat([x, random(50) * 4])
    for dtype in (torch.float32, torch.float64):
        y = x.to(dtype)
        # What is 0 * inf in the formula, and a limit in the mathematics, is left out.
        finite = y[~y.isinf()]
        g.case("gelu", [finite], F.gelu(finite.double()).to(dtype), tanh=(0,))
        g.case("gelu", [finite], F.gelu(finite.double(), approximate="tanh").to(dtype), tanh=(1,))
        g.case("silu", [finite], F.silu(finite.double()).to(dtype))
        g.case("softplus", [y], torch.where(y > 30, y.double(), torch.log1p(torch.exp(y.double()))).to(dtype))
        g.case("relu", [y], F.relu(y))
        g.case("sigmoid", [y], y.double().sigmoid().to(dtype))
        g.case("square", [y], y.square())
        g.case("reciprocal", [y], y.reciprocal())
        g.case("clamp", [y], y.clamp(-1, 2), min=(-1,), max=(2,))
        for name in ("isnan", "isinf", "isfinite"):
            g.case(name, [y], getattr(y, name)())


def promotion(g):
    one = {name: torch.ones(1, dtype=dtype) for name, dtype in TORCH.items()}
    zero = {name: torch.ones((), dtype=dtype) for name, dtype in TORCH.items()}

    def case(x, y, **given):
        try:
            dtype = torch.result_type(x, y)
        except RuntimeError:
            return
        operands = [v for v in (x, y) if isinstance(v, torch.Tensor)]
        g.case("result_type", operands, torch.zeros(0, dtype=dtype), **given)

    for a in TORCH:
        for b in TORCH:
            case(one[a], one[b])
            case(one[a], zero[b])
            case(zero[a], one[b])
            case(zero[a], zero[b])
        for i, number in enumerate((True, 1, 1.0)):
            case(one[a], number, scalar=(i,), left=(0,))
            case(zero[a], number, scalar=(i,), left=(0,))
            case(number, one[a], scalar=(i,), left=(1,))


if __name__ == "__main__":
    g = Golden("api")
    g.lines[0] = HEADER
    for part in (reductions, products, joining, selecting, networks):
        part(g)
    g.write()
    g = Golden("promotion")
    g.lines[0] = HEADER
    promotion(g)
    g.write()
