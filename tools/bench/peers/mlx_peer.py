"""MLX on the CPU: every workload is one mx.compile."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

import formulas
import serving


class xp:
    exp, log, sqrt, tanh, erf = mx.exp, mx.log, mx.sqrt, mx.tanh, mx.erf
    clip, swap, relu = mx.clip, mx.swapaxes, nn.relu
    sum, mean, max = mx.sum, mx.mean, mx.max
    gelu_erf = nn.gelu

    def gelu_tanh(x):
        return nn.gelu_approx(x)

    def softmax(x):
        return mx.softmax(x, axis=-1)

    def layer_norm(x, weight, bias):
        return mx.fast.layer_norm(x, weight, bias, 1e-5)

    def attention(q, k, v):
        return (mx.softmax(q @ mx.swapaxes(k, -1, -2) * 0.125, axis=-1)) @ v

    def cross_entropy(scores, classes):
        return nn.losses.cross_entropy(scores, classes, reduction="mean")

    # Its convolution has the channels last.
    def conv3x3(x, weight, bias):
        y = mx.conv2d(x.transpose(0, 2, 3, 1), weight.transpose(0, 2, 3, 1), padding=1) + bias
        return y.transpose(0, 3, 1, 2)

    def max_pool(x):
        n, c, h, w = x.shape
        return x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def computed(results):
    mx.eval(results)
    return results


class Mlx:
    missing = {}
    put = staticmethod(mx.array)

    def numpy(self, x):
        return np.array(x)

    def pure(self, f, inputs):
        g = mx.compile(lambda *arguments: f(xp, *arguments))
        return lambda: computed(g(*inputs))

    def gradient(self, f, inputs):
        def both(*arguments):
            y, gradients = mx.vjp(lambda *leaves: f(xp, *leaves), list(arguments[:-1]), [arguments[-1]])
            return [*y, *gradients]

        g = mx.compile(both)
        return lambda: computed(g(*inputs))

    def step(self, loss, parameters):
        def descend(parameters, *batch):
            value, gradients = mx.value_and_grad(lambda p: loss(xp, p, *batch))(parameters)
            return [p - formulas.RATE * g for p, g in zip(parameters, gradients)], value

        g = mx.compile(descend)
        held = [parameters]

        def step(*batch):
            held[0], value = computed(g(held[0], *batch))
            return value

        return step


if __name__ == "__main__":
    mx.set_default_device(mx.cpu)
    serving.serve(Mlx())
