#!/usr/bin/env python3
"""Tables of src/vector/tables.c: functions in sixteen pieces, near-minimax polynomials by Remez exchange with mpmath, rounded to f32."""
import numpy as np
from mpmath import erf, mp, mpf, tanh

from remez import remez

mp.prec = 100
DEGREE, TANH_DEGREE, POINTS = 5, 6, 200


def erf_piece(k):
    """Of erf(k/4 + r); the first piece is odd but for r, the last one ends at what rounds to 1."""
    center, half = mpf(k) / 4, mpf(1) / 8
    rise = lambda r: mpf("0.75e-7") * ((r + half) * 4) ** 3 if k == 15 else 0
    f = lambda r: erf(center + r) - r if k == 0 else erf(center + r) + rise(r)
    low, powers = (mpf(10) ** -4, range(1, DEGREE + 1)) if k == 0 else (-half, range(DEGREE + 1))
    c = dict(zip(powers, remez(f, lambda r: 1 / erf(center + r), low, half, list(powers), 10, POINTS)[0]))
    return [float(c.get(d, 0)) for d in range(DEGREE + 1)]


def tanh_piece(k):
    """Of tanh(c + r), four pieces for each power of two that t + 1 is in: c, then the coefficients. The first is odd but for r."""
    at = (k - 12) % 16  # by the last bits of t + 1 as a float
    low = mpf(2) ** (at // 4) * (1 + mpf(at % 4) / 4) - 1
    width = mpf(2) ** (at // 4) / 4
    if at > 13:
        return [0] * (TANH_DEGREE + 2)
    if at == 13:  # beyond 9 it rounds to 1
        return [10, 1] + [0] * TANH_DEGREE
    center = mpf(0) if at == 0 else low + width / 2
    f = lambda r: tanh(center + r) - r if at == 0 else tanh(center + r)
    begin, end = (mpf(10) ** -4, width) if at == 0 else (-width / 2, width / 2)
    powers = range(2, TANH_DEGREE + 1) if at == 0 else range(TANH_DEGREE + 1)
    c = dict(zip(powers, remez(f, lambda r: 1 / tanh(center + r), begin, end, list(powers), 10, POINTS)[0]))
    return [float(center)] + [float(c.get(d, 0)) for d in range(TANH_DEGREE + 1)]


def show(name, values):
    print(name, ", ".join(f"{float(np.float32(v)):.9g}" for v in values))


pieces = [erf_piece(k) for k in range(16)]
for d in range(DEGREE + 1):
    show(f"erf {d}:", [p[d] for p in pieces])
powers = [mpf(2) ** (mpf(j) / 16) for j in range(16)]
show("exp2:", powers)
show("exp2, what is lost:", [p / mpf(float(np.float32(float(p)))) - 1 for p in powers])
for half in range(2):
    show(f"exp2 pair, {half}:", [mpf(2) ** (mpf(16 * half + j) / 32) for j in range(16)])
pieces = [tanh_piece(k) for k in range(16)]
for d in range(TANH_DEGREE + 2):
    show(f"tanh {d - 1}:" if d else "tanh, centers:", [p[d] for p in pieces])
