#!/usr/bin/env python3
"""Derives the polynomial coefficients of compiler/vecmath_*.h.

Each row of FITS names a function g on an interval and a weight w; the script finds the polynomial p
of the given degree that minimises max |w (g - p)| by Remez' second algorithm (Cheney, Introduction
to Approximation Theory, section 3.8), in 80-digit arithmetic. Coefficients are rounded from the
lowest upwards, and the rest is fitted again after each rounding, so that the rounding of the large
coefficients is made good by the small ones.

    pip install mpmath; python3 remez.py [name ...]   # C++ tables, and the error as a power of two
"""
import struct
import sys

from mpmath import mp, mpf

mp.dps = 80


def extrema(error):
    """One index per run of equal sign: where |error| is largest."""
    best = []
    for i, e in enumerate(error):
        if best and (error[best[-1]] > 0) == (e > 0):
            if abs(e) > abs(error[best[-1]]):
                best[-1] = i
        else:
            best.append(i)
    return best


def remez(g, w, z, count, first):
    """Coefficients of z^first ... for samples g(z) with weight w(z), and the error reached."""
    step = (len(z) - 1) / mpf(count)
    nodes = [int(round(float(k * step))) for k in range(count + 1)]
    powers = [[x ** (first + j) for j in range(count)] for x in z]
    for _ in range(40):
        a = mp.matrix(count + 1, count + 1)
        rhs = mp.matrix(count + 1, 1)
        for row, i in enumerate(nodes):
            for j in range(count):
                a[row, j] = w[i] * powers[i][j]
            a[row, count] = (-1) ** row
            rhs[row] = w[i] * g[i]
        solved = mp.lu_solve(a, rhs)
        c = [solved[j] for j in range(count)]
        error = [w[i] * (g[i] - sum(x * power for x, power in zip(c, powers[i])))
                 for i in range(len(z))]
        peaks = extrema(error)
        while len(peaks) > count + 1:  # drop the smaller end
            peaks.pop(0 if abs(error[peaks[0]]) < abs(error[peaks[-1]]) else -1)
        worst = max(abs(e) for e in error)
        if len(peaks) < count + 1 or worst <= abs(solved[count]) * mpf("1.001"):
            return c, worst
        nodes = peaks
    return c, worst


def rounded(x, bits):
    if bits == 24:
        return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])
    return mpf(float(x))


def fit(g, w, low, high, degree, bits, refits):
    samples = 40 * (degree + 2)
    middle, half = (mpf(low) + mpf(high)) / 2, (mpf(high) - mpf(low)) / 2
    z = [middle - half * mp.cos(mp.pi * (i + mpf(1) / 3) / samples) for i in range(samples)]
    gs, ws = [g(x) for x in z], [abs(w(x)) for x in z]
    done = []
    while len(done) <= degree:
        rest = [y - sum(c * x ** k for k, c in enumerate(done)) for x, y in zip(z, gs)]
        c, error = remez(rest, ws, z, degree + 1 - len(done), len(done))
        keep = 1 if len(done) < refits else len(c)
        done += [rounded(x, bits) for x in c[:keep]]
    error = max(v * abs(y - sum(c * x ** k for k, c in enumerate(done)))
                for x, y, v in zip(z, gs, ws))
    return done, error


def erfcx_q(k):
    def q(t):  # erfcx(x) (1 + 2 x) where t = (x - k) / (x + k)
        x = k * (1 + t) / (1 - t)
        return mp.exp(x * x) * mp.erfc(x) * (1 + 2 * x)
    return q


ROOT = lambda f: lambda z: f(mp.sqrt(z))  # a function of x as a function of z = x^2
ln2h = mp.log(2) / 2 * mpf("1.001")
exp_g = lambda r: (mp.expm1(r) - r) / r**2
exp_w = lambda r: r**2 / mp.expm1(r)
exp2_g = lambda r: (mp.mpf(2) ** r - 1) / r
log_g = lambda f: (mp.log1p(f) - f + f * f / 2) / f**3
log_w = lambda f: f**2 + mpf("0.01")
logs_g = ROOT(lambda s: (2 * mp.atanh(s) / s - 2) / s**2)
sin_g = ROOT(lambda r: (mp.sin(r) / r - 1) / r**2)
sin_w = ROOT(lambda r: r**3 / mp.sin(r))
cos_g = ROOT(lambda r: (mp.cos(r) - 1 + r**2 / 2) / r**4)
cos_w = ROOT(lambda r: r**4 / mp.cos(r))
tan_g = ROOT(lambda r: (mp.tan(r) / r - 1) / r**2)
tan_w = ROOT(lambda r: r**3 / mp.tan(r))
atan_g = ROOT(lambda r: (mp.atan(r) / r - 1) / r**2)
atan_w = ROOT(lambda r: r**3 / mp.atan(r))
asin_g = ROOT(lambda r: (mp.asin(r) / r - 1) / r**2)
asin_w = ROOT(lambda r: r**3 / mp.asin(r))
sinh_g = ROOT(lambda r: (mp.sinh(r) / r - 1) / r**2)
sinh_w = ROOT(lambda r: r**3 / mp.sinh(r))
erf_g = ROOT(lambda r: mp.erf(r) / r - 1)
erf_w = ROOT(lambda r: r / mp.erf(r))
tail_g = lambda t: mp.log(mp.erfc(t), 2) / t + 1
tail_w = lambda t: mp.log(2) * t * mp.erfc(t) / mp.erf(t)
pow_g = ROOT(lambda s: (2 * mp.atanh(s) / s - 2 - 2 * s**2 / 3) / s**4)
one = lambda z: mpf(1)
tiny = mpf(10) ** -12
smax = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1) * mpf("1.0001")

# name: (g, weight, low, high, degree, bits, how many coefficients are rounded before the rest)
FITS = {
    "exp_f32": (exp_g, exp_w, -ln2h, ln2h, 4, 24, 3),
    "exp_f64": (exp_g, exp_w, -ln2h, ln2h, 10, 53, 2),
    "exp2_f32": (exp2_g, lambda r: r / mpf(2) ** r, -0.5, 0.5, 5, 24, 3),
    "exp2_f64": (exp2_g, lambda r: r / mpf(2) ** r, -0.5, 0.5, 10, 53, 2),
    "erf_exp2_f32": (exp2_g, lambda r: r / mpf(2) ** r, -0.501, 0.501, 4, 24, 3),
    "exp2_short": (exp2_g, lambda r: r / mpf(2) ** r, -0.501, 0.501, 6, 53, 0),
    "log_f32": (log_g, log_w, -0.25, 0.5, 7, 24, 3),
    "log_f64": (logs_g, one, tiny, smax**2, 6, 53, 0),
    "log2_short": (ROOT(lambda s: 2 * mp.atanh(s) / s / mp.log(2)), one, tiny, smax**2, 4, 53, 0),
    "pow_f64": (pow_g, one, tiny, smax**2, 7, 53, 0),
    "sin_f32": (sin_g, sin_w, tiny, (mp.pi / 4 + 0.005) ** 2, 2, 24, 2),
    "sin_half_turn_f32": (sin_g, sin_w, tiny, (mp.pi / 2 + 0.004) ** 2, 3, 24, 2),
    "sin_f64": (sin_g, sin_w, tiny, (mp.pi / 4 * 1.0001) ** 2, 5, 53, 2),
    "cos_f32": (cos_g, cos_w, tiny, (mp.pi / 4 + 0.005) ** 2, 2, 24, 2),
    "cos_f64": (cos_g, cos_w, tiny, (mp.pi / 4 * 1.0001) ** 2, 5, 53, 2),
    "tan_short": (tan_g, tan_w, tiny, (mp.pi / 4 * 1.0001) ** 2, 6, 53, 0),
    "tan_f64": (tan_g, tan_w, tiny, (mp.pi / 4 * 1.0001) ** 2, 14, 53, 2),
    "atan_f32": (atan_g, atan_w, tiny, 0.25, 4, 24, 3),
    "atan_f64": (atan_g, atan_w, tiny, 0.25, 11, 53, 2),
    "asin_f32": (asin_g, asin_w, tiny, 0.25, 4, 24, 3),
    "asin_f64": (asin_g, asin_w, tiny, 0.25, 12, 53, 2),
    "sinh_f32": (sinh_g, sinh_w, tiny, 1, 2, 24, 2),
    "sinh_f64": (sinh_g, sinh_w, tiny, 1, 6, 53, 2),
    "erf_f32": (erf_g, erf_w, tiny, mpf("0.93") ** 2, 5, 24, 3),
    "erf_f64": (erf_g, erf_w, tiny, 1, 11, 53, 2),
    "erf_tail_f32": (tail_g, tail_w, "0.9277", 4, 5, 24, 3),
    "erfcx_short": (erfcx_q(3), one, -1, (mpf("10.2") - 3) / mpf("13.2"), 10, 53, 0),
    "erfcx_f64": (erfcx_q(mpf("2.5")), one, -1, mpf("25.5") / mpf("30.5"), 24, 53, 0),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or FITS:
        g, w, low, high, degree, bits, refits = FITS[name]
        coefficients, error = fit(g, w, low, high, degree, bits, refits)
        print(f"{name}: error 2^{float(mp.log(error, 2)):.2f}, from z^0 upwards")
        print("    " + ", ".join(float(c).hex() for c in coefficients) + ",", flush=True)
