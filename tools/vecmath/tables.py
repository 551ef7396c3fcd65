#!/usr/bin/env python3
"""Derives compiler/lookup_tables.h: polynomials of f32 functions, a row of 32 numbers per
coefficient, an entry per quarter of an octave of the argument.

A function f, odd, is f(c + t) = c0 + c1 t + ... + c5 t^5 in each interval. c is near its middle,
where f(c) is nearest to a number of 24 bits, which c0 is; so next to nothing of it is lost. Below
the first interval c and c0 are 0 and the polynomial is odd. The last row are powers of 2^(1/16).

    pip install mpmath; python3 tables.py
"""
import struct

from mpmath import mp, mpf

from remez import ROOT, fit

mp.dps = 40
ROWS, ENTRIES, DEGREE, FIRST, SEARCHED = 7, 32, 5, 0.125, 300


def bits_of(x):
    return struct.unpack("I", struct.pack("f", x))[0]


def of_bits(bits):
    return struct.unpack("f", struct.pack("I", bits))[0]


def f32(x):
    return of_bits(bits_of(float(x)))


def center(f, low, high):
    middle = bits_of((low + high) / 2)
    near = [mpf(of_bits(middle + k)) for k in range(-SEARCHED, SEARCHED + 1)]
    return min(near, key=lambda c: abs(f(c) - f32(f(c))))


def entry(f, low, high):
    c = center(f, low, high)
    at_c = f(c)
    q, _ = fit(lambda t: (f(c + t) - at_c) / t, lambda t: t / f(c + t), low - c, high - c,
               DEGREE - 1, 24, 3)
    return [c, at_c] + q


def table(f, end):
    entries = [[0] * ROWS for _ in range(ENTRIES)]
    first, last = bits_of(FIRST) >> 21, (bits_of(end) - 1) >> 21
    odd, _ = fit(ROOT(lambda x: f(x) / x), ROOT(lambda x: x / f(x)), mpf(10) ** -12, FIRST**2,
                 DEGREE // 2, 24, 2)
    entries[(first - 1) % ENTRIES][2::2] = odd
    for k in range(first, last + 1):
        entries[k % ENTRIES] = entry(f, of_bits(k << 21), of_bits((k + 1) << 21))
    return list(zip(*entries))


rows = table(mp.tanh, 10) + table(mp.erf, 4) + [[mpf(2) ** (mpf(k % 16) / 16) for k in range(32)]]
for row in rows:
    print("    {" + ", ".join(f32(x).hex().replace("0000000p", "p") for x in row) + "},")
