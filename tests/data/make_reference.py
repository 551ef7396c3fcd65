#!/usr/bin/env python3
"""Writes the golden files beside it: what NumPy, PyTorch and mpmath say that ops give.

    python3 -m venv venv && venv/bin/pip install torch==2.13.0 numpy mpmath
    venv/bin/python tests/data/make_reference.py

A golden file is text, read by tests/support/golden.h. `array NAME DTYPE SHAPE BITS` defines an array: extents
joined by 'x' ('-' for rank 0), then the elements row-major, each as the hexadecimal digits of its bits. `case OP
OPERANDS key=1,2 ... -> DTYPE SHAPE BITS` is one check: ints as attributes, names of arrays as operands. Attributes
that are not the op's: ulps=N, the largest distance allowed (default 0), and anyzero=1, where the sign of a zero is
not compared. NaNs are equal whatever their bits.

What is left out, because the references differ among themselves, or do not promise anything:
  - float to integer conversion of NaN and of what the integer type cannot hold (undefined in C; the saturation
    that Cermet defines is tested by hand)
  - the sign of the zero that minimum and maximum give for 0.0 and -0.0
  - the sign of a zero remainder, where NumPy and PyTorch differ (PyTorch's is checked)
  - writing two updates to one place by scatter
PyTorch's vectorised fmod gives NaN where the quotient is huge; there NumPy's value is taken. Its f16 and bf16
kernels of floor_divide round between their steps, and those of erf and others lose denormals; there the result is
that of f32 (floor_divide) or f64, rounded once.
"""
import pathlib

import mpmath
import numpy as np
import torch

HERE = pathlib.Path(__file__).parent
np.seterr(all="ignore")

FLOATS = ["f16", "bf16", "f32", "f64"]
SIGNED = ["i8", "i16", "i32", "i64"]
UNSIGNED = ["u8", "u16", "u32", "u64"]
INTEGERS = UNSIGNED + SIGNED
TORCH = {"bool": torch.bool, "u8": torch.uint8, "u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64,
         "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64, "f16": torch.float16,
         "bf16": torch.bfloat16, "f32": torch.float32, "f64": torch.float64}
NAMES = {dtype: name for name, dtype in TORCH.items()}
NUMPY = {name: np.dtype(str(dtype).removeprefix("torch.")) for name, dtype in TORCH.items() if name != "bf16"}
DIGITS = {"bool": 2, "u8": 2, "u16": 4, "u32": 8, "u64": 16, "i8": 2, "i16": 4, "i32": 8, "i64": 16, "f16": 4,
          "bf16": 4, "f32": 8, "f64": 16}


def name_of(array):
    return NAMES[array.dtype]


def tensor(values, dtype):
    """A torch tensor from numbers or from a NumPy array, rounded to dtype once."""
    if isinstance(values, torch.Tensor):
        return values.to(TORCH[dtype])
    if dtype == "bf16":
        return torch.from_numpy(np.asarray(values, np.float64)).to(torch.bfloat16)
    return torch.from_numpy(np.ascontiguousarray(np.asarray(values).astype(NUMPY[dtype])))


def text(array):
    if not isinstance(array, torch.Tensor):
        array = torch.from_numpy(np.array(array, order="C"))
    name = name_of(array)
    shape = "x".join(str(n) for n in array.shape) or "-"
    flat = array.contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy() if name != "bool" else flat.numpy().astype(np.uint8)
    size = DIGITS[name] // 2
    bits = raw.reshape(-1, size)[:, ::-1].tobytes().hex() if flat.numel() else "-"
    return f"{name} {shape} {bits}"


class Golden:
    def __init__(self, name):
        self.file = HERE / f"{name}.golden"
        self.lines, self.names = ["# Written by make_reference.py, which also says how to read it."], {}
        self.cases = 0

    def array(self, array):
        line = text(array)
        if line not in self.names:
            self.names[line] = f"a{len(self.names)}"
            self.lines.append(f"array {self.names[line]} {line}")
        return self.names[line]

    def case(self, op, operands, expected, **attributes):
        names = [self.array(x) for x in operands]
        ints = [f"{k}={v if isinstance(v, int) else ','.join(map(str, v))}" for k, v in attributes.items()]
        self.lines.append(" ".join(["case", op, *names, *ints, "->", text(expected)]))
        self.cases += 1

    def write(self):
        self.file.write_text("\n".join(self.lines) + "\n")
        print(f"{self.file.name}: {self.cases} cases, {self.file.stat().st_size} bytes")


def special(dtype):
    """Floats at which something happens, and a few plain ones."""
    limits = torch.finfo(TORCH[dtype])
    tiny = limits.smallest_normal
    plain = [0.0, 1.0, 0.5, 1.5, 2.0, 2.5, 3.0, 0.1, 0.3, 7.25, 10.0, 100.5, float("inf"), limits.max, tiny,
             tiny * limits.eps]
    return tensor([s * v for v in plain for s in (1, -1)] + [float("nan")], dtype)


def integers(dtype):
    if dtype == "bool":
        return tensor([False, True], dtype)
    limits = np.iinfo(NUMPY[dtype])
    values = [limits.min, limits.min + 1, 0, 1, 2, 3, 5, 7, 8, 13, 31, 64, 100, limits.max - 1, limits.max]
    if limits.min < 0:
        values += [-1, -2, -3, -8, -100]
    return torch.from_numpy(np.array(values, NUMPY[dtype]))


# Elementwise ops -------------------------------------------------------------------------------------------------

EXACT_UNARY = {"neg": torch.neg, "abs": torch.abs, "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil,
               "trunc": torch.trunc, "round": torch.round, "sqrt": torch.sqrt}
# With functions for mpmath, whose result is rounded to the dtype, and the interval to take arguments from.
TRANSCENDENTAL = {
    "exp": (torch.exp, mpmath.exp, -80, 80), "exp2": (torch.exp2, lambda x: mpmath.mpf(2) ** x, -100, 100),
    "expm1": (torch.expm1, mpmath.expm1, -20, 20), "log": (torch.log, mpmath.log, 1e-6, 1e6),
    "log2": (torch.log2, lambda x: mpmath.log(x, 2), 1e-6, 1e6), "log10": (torch.log10, mpmath.log10, 1e-6, 1e6),
    "log1p": (torch.log1p, mpmath.log1p, -0.99, 100), "sigmoid": (torch.sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)),
                                                                  -80, 80),
    "erf": (torch.erf, mpmath.erf, -4, 4), "erfc": (torch.erfc, mpmath.erfc, -4, 8),
    "sin": (torch.sin, mpmath.sin, -1e5, 1e5), "cos": (torch.cos, mpmath.cos, -1e5, 1e5),
    "tan": (torch.tan, mpmath.tan, -100, 100), "asin": (torch.asin, mpmath.asin, -1, 1),
    "acos": (torch.acos, mpmath.acos, -1, 1), "atan": (torch.atan, mpmath.atan, -50, 50),
    "sinh": (torch.sinh, mpmath.sinh, -80, 80), "cosh": (torch.cosh, mpmath.cosh, -80, 80),
    "tanh": (torch.tanh, mpmath.tanh, -8, 8), "asinh": (torch.asinh, mpmath.asinh, -1e4, 1e4),
    "acosh": (torch.acosh, mpmath.acosh, 1, 1e4), "atanh": (torch.atanh, mpmath.atanh, -0.999, 0.999),
}
COMPARE = {"eq": (torch.eq, np.equal), "ne": (torch.ne, np.not_equal), "lt": (torch.lt, np.less),
           "le": (torch.le, np.less_equal)}


def fmod_like(torch_op, numpy_op, x, y):
    result = torch_op(x, y)
    exact = torch.from_numpy(numpy_op(x.double().numpy(), y.double().numpy())).to(x.dtype)
    exact = torch.where(exact == 0, torch.copysign(exact, x), exact)
    return torch.where(result.isnan(), exact, result)


def widened(function, dtype, *operands):
    """The function of floats that are narrow, in a wider dtype."""
    if operands[0].dtype not in (torch.float16, torch.bfloat16):
        return function(*operands)
    return function(*[x.to(dtype) for x in operands]).to(operands[0].dtype)


EXACT_BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
    "floor_divide": lambda x, y: widened(torch.floor_divide, torch.float32, x, y),
    "remainder": lambda x, y: fmod_like(torch.remainder, np.remainder, x, y),
    "fmod": lambda x, y: fmod_like(torch.fmod, np.fmod, x, y), "copysign": torch.copysign,
}


def elementwise_float(golden):
    for dtype in FLOATS:
        x = special(dtype)
        grid, column, row = torch.meshgrid(x, x, indexing="ij"), x.reshape(-1, 1), x.reshape(1, -1)
        for op, function in EXACT_UNARY.items():
            golden.case(op, [x], function(x))
        for op, function in EXACT_BINARY.items():
            golden.case(op, [column, row], function(*grid))
        for op, (function, _) in COMPARE.items():
            golden.case(op, [column, row], function(*grid))
        for op, function in {"minimum": torch.minimum, "maximum": torch.maximum}.items():
            golden.case(op, [column, row], function(*grid), anyzero=1)
        condition = torch.arange(len(x)) % 3 == 0
        golden.case("where", [condition, x, x.flip(0)], torch.where(condition, x, x.flip(0)))
        # PyTorch's own error is up to 2 units here. Its sigmoid overflows where the result is denormal.
        slack = {"f16": 1, "bf16": 1, "f32": 3, "f64": 4}[dtype]
        for op, (function, *_) in TRANSCENDENTAL.items():
            at = x[~((x < -80) & x.isfinite())] if op == "sigmoid" else x
            golden.case(op, [at], widened(function, torch.float64, at), ulps=slack)
        for op, function in {"pow": torch.pow, "atan2": torch.atan2, "hypot": torch.hypot}.items():
            golden.case(op, [column, row], widened(function, torch.float64, *grid), ulps=slack)


def rounded(value, dtype):
    """An mpmath number to a dtype, rounded once; through float64 only where that rounds exactly."""
    if dtype == "f64":
        return float(value)
    digits, least, greatest = {"f32": (24, -149, 128), "f16": (11, -24, 16), "bf16": (8, -133, 128)}[dtype]
    if value == 0:
        return 0.0
    exponent = max(mpmath.floor(mpmath.log(abs(value), 2)) - digits + 1, least)
    result = mpmath.nint(value / mpmath.mpf(2) ** exponent) * mpmath.mpf(2) ** exponent
    return float(result) if abs(result) < mpmath.mpf(2) ** greatest else float(mpmath.sign(result)) * float("inf")


def elementwise_accurate(golden):
    """Correctly rounded values of the transcendental functions, from mpmath with 60 digits."""
    mpmath.mp.dps = 60
    random = np.random.default_rng(1)
    for dtype in FLOATS:
        for op, (_, function, low, high) in TRANSCENDENTAL.items():
            x = tensor(random.uniform(low, high, 24), dtype)
            near = tensor(random.uniform(-1, 1, 8) * 10.0 ** -np.arange(8), dtype)  # near 0, where it is defined
            x = torch.cat([x, near[(near >= low) & (near <= high)]])
            if low in (-1, 1):
                x = x.clamp(low, None)
            if high == 1:
                x = x.clamp(None, high)
            x = x[x.isfinite() & (x != 0)]
            y = tensor([rounded(function(mpmath.mpf(v)), dtype) for v in x.double().tolist()], dtype)
            golden.case(op, [x], y, ulps=2 if dtype == "f64" else 0)
        x, y = tensor(random.uniform(0.01, 20, 40), dtype), tensor(random.uniform(-8, 8, 40), dtype)
        pairs = [(mpmath.mpf(a), mpmath.mpf(b)) for a, b in zip(x.double().tolist(), y.double().tolist())]
        for op, function in {"pow": lambda a, b: a ** b, "atan2": mpmath.atan2, "hypot": mpmath.hypot}.items():
            result = tensor([rounded(function(a, b), dtype) for a, b in pairs], dtype)
            golden.case(op, [x, y], result, ulps=2 if dtype == "f64" else 0)


def elementwise_integer(golden):
    binary = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "floor_divide": np.floor_divide,
              "remainder": np.remainder, "fmod": np.fmod, "left_shift": np.left_shift,
              "right_shift": np.right_shift}
    bits = {"bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor}
    any_dtype = {"minimum": np.minimum, "maximum": np.maximum, **{op: f for op, (_, f) in COMPARE.items()}}
    for dtype in ["bool"] + INTEGERS:
        x = integers(dtype)
        column, row = x.reshape(-1, 1), x.reshape(1, -1)
        c, r = column.numpy(), row.numpy()
        for op, function in {**any_dtype, **bits, **({} if dtype == "bool" else binary)}.items():
            result = function(c, r)
            golden.case(op, [column, row], result if result.dtype == bool else result.astype(c.dtype))
        golden.case("bitwise_not", [x], np.invert(x.numpy()))
        golden.case("where", [x.bool(), x, x.flip(0) if dtype == "bool" else tensor(x.numpy()[::-1], dtype)],
                    np.where(x.numpy() != 0, x.numpy(), x.numpy()[::-1]))
        if dtype == "bool":
            continue
        for op, function in {"neg": np.negative, "abs": np.abs, "sign": np.sign}.items():
            golden.case(op, [x], function(x.numpy()))
        if dtype in SIGNED:  # NumPy refuses negative exponents
            golden.case("pow", [column, row], torch.pow(column, row))
        else:
            golden.case("pow", [column, row], np.power(c, r))


# Conversions -----------------------------------------------------------------------------------------------------

def casts(golden):
    for source in ["bool"] + INTEGERS + FLOATS:
        x = special(source) if source in FLOATS else integers(source)
        for target in ["bool"] + INTEGERS + FLOATS:
            if target == source:
                continue
            given = x
            if source in FLOATS and target in INTEGERS:
                limits = np.iinfo(NUMPY[target])
                fits = [v == v and abs(v) != float("inf") and limits.min <= int(v) <= limits.max
                        for v in x.double().tolist()]
                given = x[torch.tensor(fits)]
            # Torch has no arithmetic for most unsigned types, but converts them; NumPy has no bf16.
            if "bf16" in (source, target):
                result = given.to(TORCH[target])
            else:
                result = torch.from_numpy(given.numpy().astype(NUMPY[target]))
            golden.case("cast", [given], result)
    for a, b in [("f16", "u16"), ("i16", "f16"), ("f32", "i32"), ("u32", "f32"), ("f64", "u64"), ("i64", "f64")]:
        x = special(a) if a in FLOATS else integers(a)
        golden.case("bitcast", [x], x.numpy().view(NUMPY[b]))


# Reductions, scans, products -------------------------------------------------------------------------------------

def eighths(shape, dtype, seed):
    """Multiples of 1/8 in [-4, 4]: sums of products of few of them are exact."""
    values = np.random.default_rng(seed).integers(-32, 33, shape)
    if dtype in INTEGERS:
        return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape).astype(NUMPY[dtype]))
    return tensor(values / 8.0, dtype)


def reductions(golden):
    axes_list = [[0], [1], [2], [0, 2], [0, 1], [0, 1, 2]]
    for dtype in FLOATS:
        x = eighths((3, 4, 5), dtype, 1)
        odd = x.clone()
        odd[1, 2, 3], odd[0, 0, 0], odd[2, 3, 4] = float("nan"), float("inf"), float("-inf")
        for given in (x, odd):
            wide = given.double()
            for axes in axes_list:
                golden.case("sum", [given], wide.sum(axes).to(given.dtype), axes=axes, anyzero=1)
                golden.case("max", [given], given.amax(axes), axes=axes, anyzero=1)
                golden.case("min", [given], given.amin(axes), axes=axes, anyzero=1)
                product = wide
                for axis in reversed(axes):
                    product = product.prod(axis)
                golden.case("prod", [given], product.to(given.dtype), axes=axes, ulps=4 if dtype == "f64" else 0,
                            anyzero=1)
            for axis in range(3):
                golden.case("argmax", [given], given.argmax(axis), axis=axis)
                golden.case("argmin", [given], given.argmin(axis), axis=axis)
                golden.case("cumsum", [given], wide.cumsum(axis).to(given.dtype), axis=axis, anyzero=1)
                golden.case("cumprod", [given], wide.cumprod(axis).to(given.dtype), axis=axis, anyzero=1)
                golden.case("cummax", [given], given.cummax(axis).values, axis=axis, anyzero=1)
                golden.case("cummin", [given], given.cummin(axis).values, axis=axis, anyzero=1)
                back = wide.flip(axis).cumsum(axis).flip(axis)
                golden.case("cumsum", [given], back.to(given.dtype), axis=axis, reverse=1, anyzero=1)
        empty = tensor(np.zeros((2, 0, 3)), dtype)
        golden.case("sum", [empty], empty.sum(1), axes=[1])
        golden.case("prod", [empty], empty.prod(1), axes=[1])
        golden.case("sum", [empty], empty.sum(), axes=[0, 1, 2])
        golden.case("max", [empty], empty.amax(0), axes=[0])
        golden.case("cumsum", [empty], empty.cumsum(1), axis=1)
    for dtype in INTEGERS:
        x = eighths((3, 4, 5), dtype, 2).numpy()
        for axes in axes_list:
            golden.case("sum", [x], x.sum(tuple(axes), dtype=x.dtype), axes=axes)
            golden.case("prod", [x], x.prod(tuple(axes), dtype=x.dtype), axes=axes)
            golden.case("max", [x], x.max(tuple(axes)), axes=axes)
            golden.case("min", [x], x.min(tuple(axes)), axes=axes)
        for axis in range(3):
            golden.case("argmax", [x], x.argmax(axis), axis=axis)
            golden.case("argmin", [x], x.argmin(axis), axis=axis)
            golden.case("cumsum", [x], x.cumsum(axis, dtype=x.dtype), axis=axis)
            golden.case("cumprod", [x], x.cumprod(axis, dtype=x.dtype), axis=axis)
            golden.case("cummax", [x], np.maximum.accumulate(x, axis), axis=axis)
            golden.case("cummin", [x], np.minimum.accumulate(x, axis), axis=axis)
    flags = np.random.default_rng(3).integers(0, 2, (3, 4, 5)).astype(bool)
    for axes in axes_list:
        golden.case("max", [flags], flags.any(tuple(axes)), axes=axes)
        golden.case("min", [flags], flags.all(tuple(axes)), axes=axes)
    golden.case("argmax", [flags], flags.argmax(1), axis=1)


def products(golden):
    shapes = [((5,), (5,)), ((3, 4), (4, 5)), ((4,), (4, 3)), ((3, 4), (4,)), ((2, 3, 4), (4, 5)),
              ((2, 1, 3, 4), (3, 4, 2)), ((3, 0), (0, 2)), ((1, 7), (7, 1)), ((0, 3), (3, 2))]
    for dtype in FLOATS + INTEGERS:
        for left, right in shapes:
            a, b = eighths(left, dtype, 4), eighths(right, dtype, 5)
            if dtype in FLOATS:
                result = torch.matmul(a.double(), b.double()).to(a.dtype)
            else:
                result = np.asarray(np.matmul(a.numpy(), b.numpy()))
            golden.case("matmul", [a, b], result, anyzero=1)
    convolutions = [  # x, w, stride, padding, dilation, groups
        ((2, 3, 9), (4, 3, 3), [1], [0], [1], 1), ((2, 4, 9), (6, 2, 3), [2], [1], [2], 2),
        ((2, 3, 7, 6), (4, 3, 3, 2), [1, 1], [0, 0], [1, 1], 1),
        ((1, 3, 7, 8), (4, 3, 3, 3), [2, 3], [1, 2], [1, 1], 1),
        ((2, 4, 8, 9), (4, 2, 3, 3), [1, 2], [2, 1], [2, 3], 2),
        ((1, 4, 6, 5), (4, 1, 3, 3), [1, 1], [1, 1], [1, 1], 4), ((2, 3, 5, 5), (2, 3, 1, 1), [1, 1], [0, 0], [1, 1], 1),
        ((1, 2, 4, 5, 4), (3, 2, 2, 3, 2), [1, 2, 1], [1, 0, 1], [1, 1, 2], 1),
    ]
    for dtype in FLOATS:
        for xs, ws, stride, padding, dilation, groups in convolutions:
            x, w = eighths(xs, dtype, 6), eighths(ws, dtype, 7)
            function = {3: torch.conv1d, 4: torch.conv2d, 5: torch.conv3d}[len(xs)]
            result = function(x.double(), w.double(), None, stride, padding, dilation, groups)
            golden.case("conv", [x, w], result.to(x.dtype), stride=stride, padding=padding, dilation=dilation,
                        groups=groups, anyzero=1)


# Movement --------------------------------------------------------------------------------------------------------

def movement(golden):
    random = np.random.default_rng(8)
    for dtype in ["f32", "i16", "f64", "u8"]:
        x = eighths((4, 5, 3), dtype, 9)
        for axis in range(3):
            index = torch.from_numpy(random.integers(0, x.shape[axis], [7 if d == axis else n for d, n
                                                                        in enumerate(x.shape)]))
            golden.case("gather", [x, index], torch.gather(x, axis, index), axis=axis)
            updates = eighths(tuple(index.shape), dtype, 10 + axis)
            order = np.argsort(random.random(x.shape), axis)  # each place once
            places = torch.from_numpy(np.take(order, range(2), axis))
            kept = updates.narrow(axis, 0, 2)
            golden.case("scatter_set", [x, places, kept.contiguous()], x.scatter(axis, places, kept), axis=axis)
            for name, reduction in {"sum": "sum", "prod": "prod", "max": "amax", "min": "amin"}.items():
                if reduction == "prod" and dtype in FLOATS:
                    wide = x.double().scatter_reduce(axis, index, updates.double(), "prod").to(x.dtype)
                else:
                    wide = x.scatter_reduce(axis, index, updates, reduction)
                golden.case(f"scatter_{name}", [x, index, updates], wide, axis=axis, anyzero=1,
                            ulps=4 if dtype == "f64" and name == "prod" else 0)
            parts = [eighths(tuple(n if d == axis else k for d, k in enumerate(x.shape)), dtype, 20 + n)
                     for n in (2, 0, 3)]
            golden.case("concat", parts, torch.cat(parts, axis), axis=axis)
    for dtype in FLOATS + INTEGERS + ["bool"]:
        if dtype in FLOATS:
            rows = torch.cat([special(dtype), special(dtype).flip(0)])
            rows = torch.stack([rows, rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))]])
        else:
            rows = tensor(random.integers(0, 2 if dtype == "bool" else 20, (2, 40)), dtype)
        for axis in (0, 1):
            for descending in (0, 1):
                if dtype in UNSIGNED[1:] and descending:
                    continue  # neither library sorts these stably in descending order
                if dtype in UNSIGNED[1:]:
                    result = np.argsort(rows.numpy(), axis, stable=True)
                else:
                    result = torch.sort(rows, dim=axis, descending=bool(descending), stable=True).indices
                golden.case("argsort", [rows], result, axis=axis, descending=descending)


def views(golden):
    x = eighths((4, 5, 6), "f32", 30)
    a = x.numpy()
    for axis in range(3):
        n = a.shape[axis]
        golden.case("flip", [x], np.flip(a, axis).copy(), axis=axis)
        for before, after in [(1, 2), (0, 3), (-1, 2), (2, -3)]:
            cut = a.take(range(max(0, -before), n - max(0, -after)), axis)
            widths = [(max(0, before), max(0, after)) if d == axis else (0, 0) for d in range(3)]
            golden.case("pad", [x], np.pad(cut, widths), axis=axis, before=before, after=after)
        for start, stop, step in [(0, 3, 1), (1, 4, 2), (3, 0, -1), (-1, -4, -2), (2, 2, 1), (0, 100, 3), (-100, 2, 1)]:
            part = [slice(None)] * 3
            part[axis] = slice(start, stop, step)
            golden.case("slice", [x], a[tuple(part)].copy(), axis=axis, start=start, stop=stop, step=step)
        for size, stride, dilation in [(2, 1, 1), (3, 2, 1), (2, 1, 2), (2, 2, 3), (1, 1, 1)]:
            windows = np.lib.stride_tricks.sliding_window_view(a, (size - 1) * dilation + 1, axis)
            part = [slice(None)] * 4
            part[axis], part[3] = slice(None, None, stride), slice(None, None, dilation)
            golden.case("unfold", [x], windows[tuple(part)].copy(), axis=axis, size=size, stride=stride,
                        dilation=dilation)
    for axis1, axis2 in [(0, 1), (1, 0), (0, 2), (1, 2)]:
        for offset in (-3, -1, 0, 2):
            golden.case("diagonal", [x], np.diagonal(a, offset, axis1, axis2).copy(), axis1=axis1, axis2=axis2,
                        offset=offset)
    for order in [(2, 1, 0), (1, 2, 0), (0, 2, 1)]:
        golden.case("permute", [x], a.transpose(order).copy(), order=order)
        for shape in [(120,), (8, 15), (2, 3, 4, 5), (5, 1, 24), (3, 40)]:
            golden.case("permute_reshape", [x], a.transpose(order).reshape(shape).copy(), order=order, shape=shape)
            golden.case("pad_reshape_flip", [x], np.flip(np.pad(a, [(0, 0), (1, 0), (0, 0)]).transpose(order)
                        .reshape((4 * 6, 6))[:, 1:].reshape(shape), 0).copy(), order=order, shape=shape)
    column = eighths((4, 1, 6), "f32", 31)
    golden.case("expand", [column], column.expand(2, 4, 5, 6).contiguous(), shape=[2, 4, 5, 6])


def main():
    for name, parts in {"elementwise": [elementwise_float, elementwise_integer], "accurate": [elementwise_accurate],
                        "cast": [casts], "reduction": [reductions], "product": [products],
                        "movement": [movement, views]}.items():
        golden = Golden(name)
        for part in parts:
            part(golden)
        golden.write()


if __name__ == "__main__":
    main()
