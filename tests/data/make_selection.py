#!/usr/bin/env python3
"""Writes selection.golden beside it: what PyTorch's max, min, median, sort, topk, clamp and indexing give.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 numpy mpmath
    venv/bin/python tests/data/make_selection.py

The format is that of make_reference.py; tests/api/selection_test.cpp says which call each op stands for. `part` says
which of a pair the result is: 0 its values, 1 its indices. The first operand of an index is what is indexed, and
`parts` says the rest: 0,i an integer; 1,start,stop,step a slice (NONE for what is left out); 2 newaxis; 3 an
ellipsis; 4 the next operand. index_put has the value as its last operand. Where PyTorch promises nothing the case
is left out: the index that median gives, and topk's indices, of equal elements; values written twice to one place.
"""
import torch

from make_reference import Golden

HEADER = "# Written by make_selection.py, which also says how to read it."
NONE = -99
nan, inf = float("nan"), float("inf")
generator = torch.Generator().manual_seed(7)


def distinct(*shape, dtype=torch.float32):
    count = torch.Size(shape).numel()
    return (torch.randperm(count, generator=generator) - count // 2).reshape(shape).to(dtype)


def pair(g, op, operands, result, **given):
    g.case(op, operands, result.values, part=(0,), **given)
    g.case(op, operands, result.indices, part=(1,), **given)


def selections(g):
    special = torch.tensor([[3.0, nan, 1.0, nan], [inf, -inf, 2.0, 0.5], [-inf, -1.0, -2.0, -3.0]])
    inputs = [distinct(3, 4, 5), distinct(6), distinct(2, 3, dtype=torch.int64), distinct(4, 4, dtype=torch.uint8),
              distinct(3, 4, dtype=torch.float64), distinct(3, 4, dtype=torch.float16), special, torch.tensor(2.5),
              torch.tensor(7), torch.zeros(0, 2), torch.zeros(2, 0)]
    for x in inputs:
        for dim in range(-x.dim(), x.dim()) if x.dim() else (0, -1):
            for keepdim in (False, True):
                given = dict(dim=(dim,), keepdim=(int(keepdim),))
                if x.dim() and x.shape[dim] == 0:
                    continue
                for op in ("max", "min", "median"):
                    pair(g, op, [x], getattr(torch, op)(x, dim, keepdim), **given)
            for descending in (False, True):
                pair(g, "sort", [x], torch.sort(x, dim=dim, descending=descending, stable=True), dim=(dim,),
                     descending=(int(descending),))
            for k in {0, 1, min(2, x.shape[dim]), x.shape[dim]} if x.dim() else (0, 1):
                for largest in (False, True):
                    if x.dim() and k > x.shape[dim]:
                        continue
                    got = torch.topk(x, k, dim, largest)
                    given = dict(k=(k,), dim=(dim,), largest=(int(largest),))
                    g.case("topk", [x], got.values, part=(0,), **given)
                    if not x.isnan().any():
                        g.case("topk", [x], got.indices, part=(1,), **given)
        if x.numel():
            g.case("max_all", [x], x.max())
            g.case("min_all", [x], x.min())
        if x.numel() or x.is_floating_point():
            g.case("median_all", [x], x.median())
    ties = torch.tensor([[3, 1, 3, 1], [2, 2, 2, 2]])
    pair(g, "max", [ties], ties.max(1), dim=(1,))
    pair(g, "min", [ties], ties.min(1), dim=(1,))
    pair(g, "sort", [ties], ties.sort(dim=1, stable=True), dim=(1,), descending=(0,))
    g.case("median", [ties], ties.median(1).values, part=(0,), dim=(1,))
    flags = torch.tensor([[True, False], [False, False]])
    pair(g, "max", [flags], flags.max(1), dim=(1,))
    pair(g, "min", [flags], flags.min(1), dim=(1,))
    a, b = special, special.flip(0)
    g.case("max_of", [a, b], torch.max(a, b))
    g.case("min_of", [a, b], torch.min(a, b))


def clamps(g):
    x = torch.tensor([-inf, -2.0, -0.5, 0.0, 1.0, 3.0, inf, nan])
    low, high = torch.tensor([[-1.0], [nan]]), torch.tensor([[2.0], [0.5]])
    for v in (x, x.double(), x.half()):
        g.case("clamp_min", [v, low.to(v.dtype)], v.clamp(min=low.to(v.dtype)))
        g.case("clamp_max", [v, high.to(v.dtype)], v.clamp(max=high.to(v.dtype)))
        g.case("clamp_between", [v, low.to(v.dtype), high.to(v.dtype)], v.clamp(low.to(v.dtype), high.to(v.dtype)))
    i = torch.tensor([3, 1, -4])
    g.case("clamp_min", [i, torch.tensor(2)], i.clamp(min=torch.tensor(2)))
    g.case("clamp_max", [i, torch.tensor(2.5)], i.clamp(max=torch.tensor(2.5)))
    g.case("clamp_min", [i, torch.tensor([[1], [2]])], i.clamp_min(torch.tensor([[1], [2]])))
    g.case("clamp_between", [i, torch.tensor(3), torch.tensor(1)], i.clamp(3, 1))


def scalars(g):
    """Functions of an axis, of tensors of rank 0."""
    for x in (torch.tensor(2.5), torch.tensor(-3), torch.tensor(nan)):
        for dim in (0, -1):
            for keepdim in (0, 1):
                given = dict(dim=(dim,), keepdim=(keepdim,))
                for op in ("sum", "prod", "amax", "amin", "any", "all", "argmax", "argmin"):
                    g.case(op, [x], getattr(x, op)(dim, bool(keepdim)), **given)
                if x.is_floating_point():
                    for op in ("mean", "logsumexp"):
                        g.case(op, [x], getattr(x, op)(dim, bool(keepdim)), **given)
                    for op in ("var", "std"):
                        for correction in (0, 1):
                            g.case(op, [x], getattr(x, op)(dim, correction=correction, keepdim=bool(keepdim)),
                                   correction=(correction,), **given)
            for op in ("cumsum", "cumprod", "argsort") + (("softmax", "log_softmax") if x.is_floating_point() else ()):
                g.case(op, [x], getattr(x, op)(dim), dim=(dim,))
            for op in ("flip", "squeeze", "unsqueeze"):
                g.case(op, [x], getattr(x, op)(dim), dim=(dim,))
            g.case("transpose", [x], x.transpose(dim, 0), dim=(dim,))
            g.case("unfold", [x], x.unfold(dim, 1, 1), dim=(dim,))
            for index in (torch.tensor(0), torch.tensor([0])):
                g.case("gather", [x, index], x.gather(dim, index), dim=(dim,))
                g.case("index_select", [x, index], x.index_select(dim, index), dim=(dim,))
                source = torch.ones(index.shape, dtype=x.dtype)
                g.case("scatter", [x, index, source], x.scatter(dim, index, source), dim=(dim,))
                g.case("scatter_add", [x, index, source], x.scatter_add(dim, index, source), dim=(dim,))
            g.case("gather", [x, torch.tensor([0, 0])], x.gather(dim, torch.tensor([0, 0])), dim=(dim,))
        g.case("nonzero", [x], torch.nonzero(x))
        g.case("masked_select", [x, torch.tensor(True)], x.masked_select(torch.tensor(True)))
    g.case("nonzero", [torch.tensor(0)], torch.nonzero(torch.tensor(0)))


def encoded(parts):
    codes, operands, python = [], [], []
    for part in parts:
        if isinstance(part, bool):
            raise TypeError("a mask is a tensor")
        if isinstance(part, int):
            codes += [0, part]
        elif isinstance(part, slice):
            codes += [1] + [NONE if v is None else v for v in (part.start, part.stop, part.step)]
        elif part is None:
            codes += [2]
        elif part is Ellipsis:
            codes += [3]
        else:
            codes += [4]
            operands.append(part)
        python.append(part)
    return codes, operands, tuple(python)


def indexing(g):
    x = torch.arange(120, dtype=torch.int16).reshape(2, 3, 4, 5)
    t = torch.tensor
    two, three, four, five = t([1, 0]), t([2, 0, 1]), t([-1, 3]), t([[0], [-5]])
    mask3, mask34 = t([True, False, True]), torch.arange(12).reshape(3, 4) % 5 == 1
    every = slice(None)
    cases = [
        (two,), (two, two), (two, t([2, -3])), (every, three), (every, three[:2], four), (two, every, four),
        (two, every, every, four), (every, two, every, four), (two, t([0, 1]), four, t([4, -1])), (five[:, :1] * 0, two),
        (every, every, five + 1, t([0, 1, 2])), (0, two, four), (two, 0, four), (every, two, 0, four), (0, every, two),
        (..., two), (..., two, four), (two, ..., four), (two, None, three[:2]), (None, two, three[:2]), (every, None, three[:2], four),
        (every, slice(0, 2), two, slice(1, None, 2)), (two, slice(None, None, 2), four), (t(1), two), (t(1),),
        (t(-1), t(2)),
        (t(1), every, t(3)), (every, t(1), every, t([[0, 1], [2, 3]])), (t([], dtype=torch.int64),),
        (two.int(), t([0, 1])), (every, mask3), (every, mask34), (every, mask3, two), (every, mask3, every, two),
        (t([True, False]), mask3[[0, 1, 0]]), (every, mask34, t(2)), (t([True, False]), 1),
        (x > 70,), (t(True),), (t(False),), (every, t(True), two), (torch.zeros(2, 3, dtype=torch.bool),),
        (t([0, 1]), torch.zeros(2, 3, dtype=torch.int64)[:, :2]),
    ]
    for parts in cases:
        codes, operands, python = encoded(parts)
        try:
            got = x[python]
        except IndexError as e:
            print("left out:", parts, e)
            continue
        g.case("index", [x, *operands], got, parts=codes)
        for value in (t(-1).short(), -torch.arange(got.numel(), dtype=torch.int16).reshape(got.shape)):
            for accumulate in (0, 1):
                y = x.clone()
                linear = torch.arange(120).reshape(x.shape)[python]
                if not accumulate and linear.unique().numel() != linear.numel() and value.dim():
                    continue
                if accumulate:
                    z = torch.zeros(120, dtype=torch.int64)
                    z.index_put_((linear.reshape(-1),), value.expand(got.shape).reshape(-1).long(), accumulate=True)
                    y += z.reshape(x.shape).short()
                else:
                    y[python] = value
                g.case("index_put", [x, *operands, value], y, parts=codes, accumulate=(accumulate,))
    f = distinct(4, 3)
    g.case("index_put", [f, t([1, 1, 1]), t([0, 0, 2]), t([0.5, 0.25, 4.0])],
           f.clone().index_put_((t([1, 1, 1]), t([0, 0, 2])), t([0.5, 0.25, 4.0]), accumulate=True), parts=(4, 4),
           accumulate=(1,))


if __name__ == "__main__":
    g = Golden("selection")
    g.lines[0] = HEADER
    for part in (selections, clamps, scalars, indexing):
        part(g)
    g.write()
