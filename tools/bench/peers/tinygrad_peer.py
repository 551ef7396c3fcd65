"""tinygrad on the CPU: every workload is one TinyJit."""

import os

import numpy as np

os.environ.setdefault("NUM_CPU_THREADS", os.environ.get("BENCH_THREADS", "1"))
os.environ.setdefault("TRAINING", "1")  # for its optimizer
from tinygrad import Device, Tensor, TinyJit, nn  # noqa: E402: reads the environment

import formulas  # noqa: E402
import serving  # noqa: E402


class xp:
    exp, log, sqrt, tanh, erf, relu = Tensor.exp, Tensor.log, Tensor.sqrt, Tensor.tanh, Tensor.erf, Tensor.relu
    clip, swap, sum, mean, max = Tensor.clip, Tensor.transpose, Tensor.sum, Tensor.mean, Tensor.max
    softmax, gelu_tanh = Tensor.softmax, Tensor.gelu

    def gelu_erf(x):
        return x * 0.5 * ((x * 0.5**0.5).erf() + 1)

    def layer_norm(x, weight, bias):
        return x.layernorm() * weight + bias

    def attention(q, k, v):
        return q.scaled_dot_product_attention(k, v)

    def cross_entropy(scores, classes):
        return scores.sparse_categorical_crossentropy(classes)

    def conv3x3(x, weight, bias):
        return x.conv2d(weight, bias, padding=1)

    def max_pool(x):
        return x.max_pool2d()


def realized(results):
    results = list(results) if isinstance(results, (tuple, list)) else [results]
    Tensor.realize(*results)
    return results


class Tinygrad:
    missing = {"W15": "a TinyJit is for one shape"}

    def put(self, x):
        return Tensor(x.astype(np.int32) if x.dtype == np.int64 else x).realize()

    def numpy(self, x):
        return x.numpy()

    # The first two calls of a TinyJit compile it.
    def pure(self, f, inputs):
        g = TinyJit(lambda *arguments: realized(f(xp, *arguments)))
        return lambda: self.finished(g(*inputs))

    def gradient(self, f, inputs):
        @TinyJit
        def g(*arguments):
            *leaves, adjoint = arguments
            y = f(xp, *leaves)
            return realized([y, *(y * adjoint).sum().gradient(*leaves)])

        return lambda: self.finished(g(*inputs))

    def step(self, loss, parameters):
        for p in parameters:
            p.requires_grad = True
        optimizer = nn.optim.SGD(parameters, lr=formulas.RATE)

        @TinyJit
        def descend(*batch):
            optimizer.zero_grad()
            value = loss(xp, parameters, *batch).backward()
            return value.realize(*optimizer.schedule_step())

        return lambda *batch: self.finished(descend(*batch))

    def finished(self, results):
        Device[Device.DEFAULT].synchronize()
        return results


if __name__ == "__main__":
    serving.serve(Tinygrad())
