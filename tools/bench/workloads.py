"""The workloads of tools/bench/compare: what they are called in tables, and what they need at least.

The programs of cpu/ and peers/ compute them by these names.
"""

import dataclasses

MB = 1 << 20


GROUPS = {
    "W1": "elementwise chains",
    "W2": "softmax",
    "W3": "layer norm",
    "W4": "reductions",
    "W5": "MLP, training step",
    "W6": "attention",
    "W7": "matrix products",
    "W8": "small operations",
    "W9": "pairwise distances",
    "W12": "CNN, training step",
    "W13": "transformer block",
    "W14": "Black-Scholes, n bodies",
    "W15": "MLP, new batch sizes",
}


@dataclasses.dataclass(frozen=True)
class Workload:
    name: str
    text: str
    bytes: int = 0  # that have to be read and written at least
    flops: int = 0  # of products: two for a multiply-add
    # The first call counts instead of the later ones: what takes time is that everything is new.
    first: bool = False

    @property
    def group(self):
        """Workloads of one group, "W4", share a process; the first call is taken of its first one."""
        return self.name.split("_")[0].rstrip("abc")


def products():
    for m, k, n in [(64,) * 3, (128,) * 3, (256,) * 3, (512,) * 3, (1024,) * 3, (2048,) * 3,
                    (2048, 2048, 16), (16, 2048, 2048), (4096, 4096, 1), (1, 4096, 4096)]:
        text = f"{m} x {k} times {k} x {n}" if m != n else f"matrix product {m}"
        yield Workload(f"W7_mm{m}x{k}x{n}", text, bytes=4 * (m * k + k * n + m * n), flops=2 * m * k * n)


MLP = 2 * (2 * (784 * 512 + 512 * 256 + 256 * 10) + 512 * 256 + 256 * 10)  # flops of one row's step

WORKLOADS = [
    Workload("W1a", "ten cheap operations, 16M", bytes=192 * MB),
    Workload("W1b", "GELU (tanh) chain, 16M", bytes=128 * MB),
    Workload("W1c", "GELU (erf) chain, 16M", bytes=128 * MB),
    Workload("W2", "softmax 4096 x 1024", bytes=32 * MB),
    Workload("W3a", "layer norm 4096 x 1024", bytes=32 * MB),
    Workload("W3b", "layer norm, forward and backward", bytes=64 * MB),
    *(Workload(f"W4_{name}{axis}", f"{name} over {text} of 4096 x 4096", bytes=64 * MB)
      for name in ("sum", "mean", "max")
      for axis, text in (("0", "axis 0"), ("1", "axis 1"), ("all", "all"))),
    Workload("W5", "training step of an MLP, batch 128", flops=128 * MLP),
    Workload("W6a", "attention, 16 heads x 256 x 64", flops=2 * 16 * 2 * 256 * 256 * 64),
    Workload("W6b", "attention, forward and backward", flops=6 * 16 * 2 * 256 * 256 * 64),
    Workload("W7", "matrix product 1024 + bias, GELU", flops=2 * 1024**3),
    *products(),
    Workload("W8", "twenty small operations on 1024"),
    Workload("W9", "squared distances 2000 x 2000 x 64", bytes=16 * 10**6, flops=2 * 2000 * 2000 * 64),
    Workload("W12", "training step of a CNN, batch 64", flops=382_000_000),
    Workload("W13", "transformer block, forward and backward", flops=20_900_000_000),
    Workload("W14a", "Black-Scholes, 4M options", bytes=5 * 16 * MB),
    Workload("W14b", "step of 2048 bodies", flops=12 * 2048**2),
    Workload("W15", "W5 with fifty new batch sizes", flops=sum(range(64, 114)) * MLP, first=True),
]
