"""Dr.Jit with its LLVM backend: arrays of one axis; it has no products of matrices and no layers."""

import drjit as dr
import numpy as np
from drjit.llvm import Float, TensorXf

import formulas
import serving


class xp:
    exp, log, sqrt, tanh, erf = dr.exp, dr.log, dr.sqrt, dr.tanh, dr.erf
    sum, mean, max = dr.sum, dr.mean, dr.max

    def clip(x, low, high):
        x = x if low is None else dr.maximum(x, low)
        return x if high is None else dr.minimum(x, high)

    def gelu_tanh(x):
        return x * 0.5 * (dr.tanh(0.7978845608 * (x + 0.044715 * x * x * x)) + 1)

    def gelu_erf(x):
        return x * 0.5 * (dr.erf(x * 0.5**0.5) + 1)

    def softmax(x):
        e = dr.exp(x - dr.reshape(dr.max(x, axis=1), (x.shape[0], 1)))
        return e / dr.reshape(dr.sum(e, axis=1), (x.shape[0], 1))

    def layer_norm(x, weight, bias):
        rows = (x.shape[0], 1)
        apart = x - dr.reshape(dr.mean(x, axis=1), rows)
        variance = dr.reshape(dr.mean(apart * apart, axis=1), rows)
        return apart * dr.rsqrt(variance + 1e-5) * weight + bias


class DrJit:
    products = ["W5", "W6a", "W6b", "W7", "W12", "W13", "W15"]
    missing = dict.fromkeys(products, "no matrix products") | {"W3b": "no gradient of this form written"}

    def put(self, x):
        return Float(x) if x.ndim == 1 else TensorXf(x)

    def numpy(self, x):
        return np.array(x)

    def pure(self, f, inputs):
        if f.__name__ == "product":
            raise NotImplementedError("no matrix products")

        def call():
            results = f(xp, *inputs)
            dr.eval(results)
            dr.sync_thread()
            return results

        return call


if __name__ == "__main__":
    dr.set_thread_count(serving.THREADS)
    serving.serve(DrJit())
