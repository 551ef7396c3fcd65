#!/usr/bin/env python3
"""Has PyTorch print tensors, for tests/runtime/format_test.cpp.

    pip install torch==2.13.0
    tests/data/make_print.py > tests/data/print.json

Each case holds the dtype, the shape, the elements (as bytes in hexadecimal, or first value and step),
the print options, and the text.
"""
import json
import math
import random

import torch

# The one difference to PyTorch: dtypes have no "torch." in front. It is taken away before the lines are
# broken, so that they are broken where the shorter text asks for it.
add_suffixes = torch._tensor_str._add_suffixes
torch._tensor_str._add_suffixes = lambda text, suffixes, *rest, **how: add_suffixes(
    text, [suffix.replace("torch.", "") for suffix in suffixes], *rest, **how)

cases = []
inf, nan = math.inf, math.nan
rng = random.Random(1)


def add(tensor, grad=False, arange=None, **options):
    case = {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape)}
    if arange:
        case["arange"] = arange
    else:
        case["bytes"] = bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist()).hex() \
            if tensor.numel() else ""
    if options:
        case["options"] = options
    if grad:
        case["requires_grad"] = True
        tensor = tensor.detach().clone().requires_grad_()
    torch.set_printoptions(profile="default")
    torch.set_printoptions(**options)
    case["text"] = repr(tensor)
    cases.append(case)


def t(values, dtype=torch.float32, **how):
    add(torch.tensor(values, dtype=dtype), **how)


def ramp(shape, start, step, dtype, **how):
    count = math.prod(shape)
    values = torch.arange(count, dtype=torch.float64) * step + start
    add(values.to(dtype).reshape(shape), arange=[start, step], **how)


floats = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
ints = [torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32,
        torch.int64]

for dtype in floats + ints + [torch.bool]:
    t(3, dtype)
    t([1, 0, 1], dtype)
    t([[1, 2], [3, 4]], dtype)
    for shape in [(0,), (0, 3), (2, 0), (1, 1, 0)]:
        add(torch.empty(shape, dtype=dtype))
    add(torch.ones(2, 3, 2).to(dtype))
for dtype in floats:
    t(3.14159, dtype)
    t([1.5, -2.25, 0.0], dtype)
    t([inf, -inf, nan, 1.0], dtype)
    t([inf, -inf, nan], dtype)
    t([nan, 0.5], dtype)
    t([0.0, -0.0], dtype)
    t(-0.0, dtype)
    t([1e-5, 1.0], dtype)
    t([1000.0, 1.0], dtype)
    t([1001.0, 1.0], dtype)
    t([1000.5, 1.0], dtype)
    t([1001.5, 1.0], dtype)
    t([0.0001, 0.00011], dtype)
    t([0.00009, 0.00011, inf], dtype)
    t([-3.0, 100.0, nan], dtype)
    t([12345.678, 23456.789], dtype)
    t([[0.1, -20.25], [300.5, 4.0]], dtype, grad=True)
for dtype in [torch.float32, torch.float64]:
    t([1e8, 1.5e8], dtype)
    t([100000001.0, 1e8], dtype)
    t([1e8, 9e7], dtype)
    t([1e10], dtype)
    t([1e-30, 1e30], dtype)
    t([1e30, -2e30], dtype, sci_mode=False)
    t([123456789.0, 1.5], dtype, sci_mode=False)
    t([1.0, 2.0], dtype, sci_mode=True)
    t([1.25, 2.0, nan, -inf], dtype, sci_mode=True)
    t([[1e-7, 1.0], [0.0, -1.0]], dtype)
t([1e-320, 5e-324, 1.7976931348623157e308], torch.float64)
t([0.1, 0.2, 2 / 3], torch.float64, precision=12)
t([0.1, 0.25, 2 / 3], torch.float32, precision=0)
t([0.5, 1.5, 2.5, 0.125], torch.float32, precision=0)
t([0.00005, 0.5], torch.float32, precision=2, sci_mode=False)
t([1.0, 2.0], torch.float32, precision=1, sci_mode=True)
t([2**53, -1, 7], torch.int64)
t([2**63 - 1, -2**63], torch.int64)
t([2**64 - 1, 0], torch.uint64)
t([-128, 127], torch.int8)
t([True, False], torch.bool)
t([[True], [False]], torch.bool, grad=False)
t([[1.0]], grad=True)
t(1.0, grad=True)
add(torch.empty(0, 3), grad=True)
add(torch.empty(0, dtype=torch.float64), grad=True)

for n in [19, 20, 21, 25, 100]:
    ramp((n,), 0, 1, torch.int64)
    ramp((n,), 0, 1, torch.float32)
    ramp((n,), 0.5, 0.25, torch.float64)
    ramp((n,), -7, 1, torch.int16, grad=False)
for shape in [(1000,), (1001,), (7, 200), (200, 7), (6, 200), (6, 6, 40), (10, 10, 11), (4, 3, 100),
              (2, 8, 8, 8), (8, 7, 7, 7), (1, 1, 1001), (1001, 1)]:
    ramp(shape, 0, 1, torch.int64)
    ramp(shape, -20, 0.5, torch.float32)
    ramp(shape, -20, 0.5, torch.float64, grad=True)
for shape in [(2, 2, 2), (1, 2, 1, 3), (3, 1, 1), (2, 3, 2, 2)]:
    ramp(shape, 1, 1, torch.int32)
    ramp(shape, 1, 0.75, torch.float32)
for options in [dict(threshold=5), dict(threshold=5, edgeitems=1), dict(threshold=5, edgeitems=2),
                dict(threshold=5, edgeitems=0), dict(linewidth=20), dict(linewidth=1),
                dict(linewidth=200), dict(threshold=0), dict(threshold=100000), dict(edgeitems=0)]:
    ramp((10,), 0, 1, torch.int64, **options)
    ramp((10,), 0.5, 1, torch.float64, **options)
    ramp((4, 6), 0, 1, torch.int32, **options)
    ramp((3, 9, 2), 0.25, 0.5, torch.float32, grad=True, **options)
    t(5.5, torch.float64, **options)
# Suffixes around the end of the line.
for n in range(1, 24):
    ramp((n,), 100, 1, torch.int32)
    ramp((n,), 100, 1, torch.float64, grad=True)
for _ in range(150):
    dtype = rng.choice(floats + ints)
    shape = [rng.randint(1, 5) for _ in range(rng.randint(0, 4))]
    count = math.prod(shape)
    if dtype.is_floating_point:
        scale = 10.0 ** rng.randint(-6, 9)
        values = [rng.choice([rng.gauss(0, 1) * scale, rng.randint(-99, 99), 0.0,
                              rng.choice([inf, nan, 1.0])]) for _ in range(count)]
    else:
        low, high = torch.iinfo(dtype).min, torch.iinfo(dtype).max
        values = [max(low, min(high, int(rng.gauss(0, 1) * 10 ** rng.randint(0, 6))))
                  for _ in range(count)]
    add(torch.tensor(values, dtype=dtype).reshape(shape), grad=dtype.is_floating_point and
        rng.random() < 0.3, **({"precision": rng.randint(0, 8)} if rng.random() < 0.3 else {}))

print("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]")
