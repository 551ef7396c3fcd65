"""A process that tools/bench/compare drives; the protocol is that of ../cpu/main.cpp.

A peer is a class with
    put(array)                      its array of a NumPy array
    numpy(array)                    and back
    pure(f, inputs)                 a function that computes f(xp, *inputs), and waits for it
    gradient(f, inputs)             the same with gradients: see GRADIENT of formulas.py
    step(loss, parameters)          a function that takes a step for a batch and returns the loss
    memory(call)                    calls it: the bytes of results and temporaries that were in use
                                    at the same time
    missing                         {workload: why it has no figure}; those of `pure` need no more
What it does not define, it cannot do.
"""

import gc
import json
import os
import sys
import time

import formulas
import inputs

THREADS = int(os.environ.get("BENCH_THREADS", "1"))


def seconds_of(call, budget):
    """As bench::seconds_of in ../bench.h."""
    repeats = 5
    enough = time.perf_counter() + 2 * repeats * budget
    for i in range(4):
        if i == 0 or time.perf_counter() < enough:
            call()
    start = time.perf_counter()
    call()
    calls = int(min(max(budget / (time.perf_counter() - start), 1), 10000))
    times = []
    while not times or (len(times) < repeats and time.perf_counter() < enough):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - start) / calls)
    return sorted(times)[len(times) // 2]


def real_time(on):
    """As RealTime in ../cpu/realtime.h."""
    for task in os.listdir("/proc/self/task"):
        try:
            os.sched_setscheduler(int(task), os.SCHED_RR if on else os.SCHED_OTHER,
                                  os.sched_param(5 if on else 0))
        except OSError:
            pass


def flat(results):
    return list(results) if isinstance(results, (tuple, list)) else [results]


def many_sizes(peer):
    """W15: a warm W5, then fifty batches of other sizes."""
    step = peer.step(formulas.mlp_loss, [peer.put(p) for p in inputs.mlp()])

    def batch(n):
        return peer.put(inputs.numbers((n, 784), 1)), peer.put(inputs.labels(n))

    warm = batch(128)
    step(*warm)
    step(*warm)
    batches = [batch(n) for n in range(64, 114)]

    def call():
        for b in batches:
            loss = step(*b)
        return loss

    return call


def work(peer, name):
    """What computes the workload when it is called."""
    if name in peer.missing:
        raise NotImplementedError(peer.missing[name])
    if name == "W15":
        return many_sizes(peer)
    arrays = inputs.inputs(name)
    if name in formulas.STEP:
        step = peer.step(formulas.STEP[name], [peer.put(p) for p in arrays[0]])
        batch = [peer.put(a) for a in arrays[1:]]
        return lambda: step(*batch)
    arrays = [peer.put(a) for a in arrays]
    if name in formulas.GRADIENT:
        return peer.gradient(formulas.GRADIENT[name], arrays)
    return peer.pure(formulas.pure(name), arrays)


def resident_megabytes(what):
    """VmRSS: now; VmHWM: at most since forget_peak()."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith(what))


def forget_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


class Serving:
    def __init__(self, peer):
        self.peer = peer
        self.call = self.result = None

    def again(self):
        self.result = None  # its memory is free for the next
        self.result = self.call()

    def prepare(self, name):
        self.call = self.result = None
        gc.collect()
        self.call = work(self.peer, name)
        forget_peak()
        inputs_mb, start = resident_megabytes("VmRSS"), time.perf_counter()
        self.again()
        first = time.perf_counter() - start
        self.again()
        peak = resident_megabytes("VmHWM")
        check = sum(float(abs(self.peer.numpy(r)).sum(dtype="float64")) for r in flat(self.result))
        return {"first": first, "inputs_mb": inputs_mb, "peak_mb": peak, "check": check}

    def memory(self):
        if not hasattr(self.peer, "memory"):
            raise NotImplementedError("not counted")
        self.result = None
        gc.collect()
        return {"bytes": self.peer.memory(self.call)}

    def run(self, seconds):
        real_time(True)
        try:
            return {"seconds": seconds_of(self.again, float(seconds))}
        finally:
            real_time(False)


def serve(peer):
    serving = Serving(peer)
    # What libraries print of their own goes elsewhere.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        order, *arguments = line.split()
        try:
            answer = {"prepare": serving.prepare, "memory": serving.memory, "run": serving.run}[order](*arguments)
        except Exception as error:  # of any kind: it is why there is no figure
            answer = {"missing": str(error) or type(error).__name__}
        print(json.dumps(answer), file=answers, flush=True)
