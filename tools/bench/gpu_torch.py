#!/usr/bin/env python3
"""What PyTorch takes for the cases of gpu.cpp, by the same names: eager and through torch.compile.

usage: gpu_torch.py RESULT.json ELEMENTS MATRIX SECONDS [DEVICE]

Writes {"machine", "versions", "eager": {name: seconds}, "compile": {name: seconds or why not}}.
The environment variable CERMET_BENCH_DEADLINE (seconds since 1970) ends torch.compile early.
"""

import json
import os
import sys
import time

import torch
import torch.nn.functional as F


def seconds_of(call, finish, budget):
    """As bench::seconds_of in bench.h."""
    for _ in range(4):
        call()
    finish()
    start = time.perf_counter()
    call()
    finish()
    calls = int(min(max(budget / (time.perf_counter() - start), 1), 10000))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        finish()
        times.append((time.perf_counter() - start) / calls)
    return sorted(times)[2]


def host_seconds(call, finish, calls):
    """What the host takes to ask for work; the work itself is waited for, but not counted."""
    total = 0.0
    for i in range(calls + 10):
        start = time.perf_counter()
        call()
        if i >= 10:
            total += time.perf_counter() - start
        finish()
    return total / calls


def cases(elements, matrix, device):
    """(name, function, arguments), in the order of gpu.cpp."""
    generator = torch.Generator(device).manual_seed(1)

    def numbers(*shape):
        return torch.randn(shape, device=device, generator=generator)

    side = round(elements**0.5)
    columns = min(side, 4096)
    batch = max(1, elements // 2**20)
    tile = round((elements // batch) ** 0.5)
    x, y = numbers(elements // columns, columns), numbers(elements // columns, columns)
    square, images = numbers(side, side), numbers(batch, tile, tile)
    half = square.bfloat16()
    w, b = numbers(columns), numbers(columns)
    out = torch.empty_like(x)
    yield "copy", lambda x: out.copy_(x), (x,)
    yield "fused chain", lambda x, y: torch.relu(torch.tanh(x * 1.5 + y) * y - x), (x, y)
    yield "softmax", lambda x: torch.softmax(x, 1), (x,)
    yield "layer norm", lambda x, w, b: F.layer_norm(x, (columns,), w, b), (x, w, b)
    yield "sum over rows (axis 0)", lambda x: x.sum(0), (square,)
    yield "sum over columns (axis 1)", lambda x: x.sum(1), (square,)
    yield "sum of all", lambda x: x.sum(), (square,)
    yield "transpose", lambda x: x.t().contiguous(), (square,)
    yield "transpose of bfloat16", lambda x: x.t().contiguous(), (half,)
    yield "transposes in a batch", lambda x: x.permute(0, 2, 1).contiguous(), (images,)
    a, b = numbers(matrix, matrix), numbers(matrix, matrix)
    yield "matmul bfloat16", torch.matmul, (a.bfloat16(), b.bfloat16())
    yield "matmul float32, exact", torch.matmul, (a, b)
    yield "matmul float32 as tf32", torch.matmul, (a, b)


def main():
    path, elements, matrix, budget = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    device = sys.argv[5] if len(sys.argv) > 5 else "cuda"
    deadline = float(os.environ.get("CERMET_BENCH_DEADLINE", "inf"))
    cuda = device == "cuda"
    finish = torch.cuda.synchronize if cuda else lambda: None
    result = {
        "machine": torch.cuda.get_device_name() if cuda else device,
        "versions": f"PyTorch {torch.__version__}",
        "eager": {},
        "compile": {},
    }

    def precision(name):
        torch.set_float32_matmul_precision("high" if name.endswith("tf32") else "highest")

    def show(kind, name, seconds):
        result[kind][name] = seconds
        text = seconds if isinstance(seconds, str) else f"{seconds * 1e6:10.1f} us"
        print(f"{kind:<8} {name:<28} {text}", flush=True)
        with open(path, "w") as file:  # what there is so far, should time run out
            json.dump(result, file, indent=1)

    all_cases = list(cases(elements, matrix, device))
    m, w = torch.randn(64, 64, device=device), torch.randn(64, 64, device=device)

    def small(x, w):
        for _ in range(4):
            x = torch.relu(x @ w)
        return x

    calls = 500 if budget > 0 else 20
    for name, function, arguments in all_cases:
        precision(name)
        show("eager", name, seconds_of(lambda: function(*arguments), finish, budget))
    show("eager", "host: four small products", host_seconds(lambda: small(m, w), finish, calls))
    all_cases.append(("host: four small products", small, (m, w)))
    for name, function, arguments in all_cases:
        if name == "copy":
            continue
        if time.time() > deadline:
            show("compile", name, "no time left")
            continue
        precision(name)
        try:
            torch._dynamo.reset()
            mode = "reduce-overhead" if name.startswith("host") else None  # replays graphs
            compiled = torch.compile(function, dynamic=False, mode=mode)
            compiled(*arguments)
            call = lambda: compiled(*arguments)
            if name.startswith("host"):
                show("compile", name, host_seconds(call, finish, calls))
            else:
                show("compile", name, seconds_of(call, finish, budget))
        except Exception as error:  # one case less; PyTorch raises many kinds here
            lines = str(error).splitlines() or [type(error).__name__]
            show("compile", name, "failed: " + lines[0][:100])


main()
