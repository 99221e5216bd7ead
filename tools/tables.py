#!/usr/bin/env python3
"""Tables of src/vector/tables.c: functions in sixteen pieces, near-minimax polynomials by Remez exchange with mpmath, rounded to f32."""
import numpy as np
from mpmath import erf, mp, mpf

from remez import remez

mp.prec = 100
DEGREE, POINTS = 5, 200


def erf_piece(k):
    """Of erf(k/4 + r); the first piece is odd but for r, the last one ends at what rounds to 1."""
    center, half = mpf(k) / 4, mpf(1) / 8
    rise = lambda r: mpf("0.75e-7") * ((r + half) * 4) ** 3 if k == 15 else 0
    f = lambda r: erf(center + r) - r if k == 0 else erf(center + r) + rise(r)
    low, powers = (mpf(10) ** -4, range(1, DEGREE + 1)) if k == 0 else (-half, range(DEGREE + 1))
    c = dict(zip(powers, remez(f, lambda r: 1 / erf(center + r), low, half, list(powers), 10, POINTS)[0]))
    return [float(c.get(d, 0)) for d in range(DEGREE + 1)]


def show(name, values):
    print(name, ", ".join(f"{float(np.float32(v)):.9g}" for v in values))


pieces = [erf_piece(k) for k in range(16)]
for d in range(DEGREE + 1):
    show(f"erf {d}:", [p[d] for p in pieces])
powers = [mpf(2) ** (mpf(j) / 16) for j in range(16)]
show("exp2:", powers)
show("exp2, what is lost:", [p / mpf(float(np.float32(float(p)))) - 1 for p in powers])
