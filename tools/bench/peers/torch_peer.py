"""PyTorch: `python -m torch_peer eager`, or `compile`."""

import sys

import torch
import torch.nn.functional as F

import formulas
import serving


class xp:
    exp, log, sqrt, tanh, erf, relu = torch.exp, torch.log, torch.sqrt, torch.tanh, torch.erf, torch.relu
    clip = torch.clamp
    swap = torch.transpose
    cross_entropy = F.cross_entropy
    attention = F.scaled_dot_product_attention
    gelu_erf = F.gelu

    def gelu_tanh(x):
        return F.gelu(x, approximate="tanh")

    def softmax(x):
        return F.softmax(x, -1)

    def layer_norm(x, weight, bias):
        return F.layer_norm(x, weight.shape, weight, bias)

    def conv3x3(x, weight, bias):
        return F.conv2d(x, weight, bias, padding=1)

    def max_pool(x):
        return F.max_pool2d(x, 2)

    def sum(x, axis):
        return x.sum() if axis is None else x.sum(axis)

    def mean(x, axis):
        return x.mean() if axis is None else x.mean(axis)

    def max(x, axis):
        return x.amax() if axis is None else x.amax(axis)


class Torch:
    missing = {}
    put = staticmethod(torch.from_numpy)

    def __init__(self, compiled):
        self.compiled = compiled
        torch.set_num_threads(serving.THREADS)

    def numpy(self, x):
        return x.detach().numpy()

    def function(self, f):
        """f with xp, compiled where that is asked for."""
        torch._dynamo.reset()

        def call(*arguments):
            return f(xp, *arguments)

        return torch.compile(call) if self.compiled else call

    def pure(self, f, inputs):
        g = self.function(f)

        def call():
            with torch.inference_mode():
                return g(*inputs)

        return call

    def gradient(self, f, inputs):
        *leaves, adjoint = [x.requires_grad_() for x in inputs[:-1]] + [inputs[-1]]
        g = self.function(f)

        def call():
            y = g(*leaves)
            return y, *torch.autograd.grad(y, leaves, adjoint)

        return call

    def step(self, loss, parameters):
        for p in parameters:
            p.requires_grad_()
        optimizer = torch.optim.SGD(parameters, lr=formulas.RATE, fused=True)
        g = self.function(loss)

        def step(*batch):
            optimizer.zero_grad()
            value = g(parameters, *batch)
            value.backward()
            optimizer.step()
            return value

        return step

    def memory(self, call):
        """The highest rise of what PyTorch's allocator has handed out: a step frees the gradients of the last
        one before it makes its own."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            result = call()
        del result
        events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
        events.sort(key=lambda e: e.start_ns())
        now = least = most = 0
        for event in events:
            now += event.nbytes()
            least = min(least, now)
            most = max(most, now - least)
        return most


if __name__ == "__main__":
    serving.serve(Torch(sys.argv[1] == "compile"))
