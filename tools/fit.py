#!/usr/bin/env python3
"""Coefficients of src/schedule/math*.c: near-minimax polynomials by Remez exchange with mpmath, rounded to f32 one after the other,
the lowest power first, the rest being fitted again each time. Prints them with the largest error that is left, in units of 2^-24."""
from mpmath import mp, mpf, cos, pi, sin, sqrt, atan, asin, log, exp, tan
import numpy as np

from remez import remez

mp.prec = 120

def fit(name, f, weight, low, high, powers, keep=0):
    fixed = []
    powers = list(powers)
    for k in range(len(powers)):
        g = lambda t: f(t) - sum(c * t ** p for c, p in fixed)
        c, e = remez(g, weight, mpf(low), mpf(high), powers[k:])
        fixed.append((mpf(float(np.float32(float(c[0])))), powers[k]))
    grid = [mpf(low) + (mpf(high) - mpf(low)) * i / 2000 for i in range(2001)]
    worst = max(abs(weight(t) * (f(t) - sum(c * t ** p for c, p in fixed))) for t in grid)
    print(f"{name}: largest error {float(worst * 2**24):.3f}")
    print("   ", ", ".join(f"{float(c):.9g}" for c, p in reversed(fixed)))

eps = mpf(2) ** -40
h = pi / 2
# z = f^2; sin(h f) / f = h + z S(z), relative to sin; cos(h f) = 1 + z C(z)
fit("sin", lambda z: (sin(h * sqrt(z)) / sqrt(z) - h) / z, lambda z: z / (sin(h * sqrt(z)) / sqrt(z)), eps, 0.2501, range(4))
fit("cos", lambda z: (cos(h * sqrt(z)) - 1) / z, lambda z: z / cos(h * sqrt(z)), eps, 0.2501, range(4))
# up to tan(pi / 8)
fit("atan", lambda z: (atan(sqrt(z)) / sqrt(z) - 1) / z, lambda z: z / (atan(sqrt(z)) / sqrt(z)), eps, 0.1717, range(4))
fit("asin", lambda z: (asin(sqrt(z)) / sqrt(z) - 1) / z, lambda z: z / (asin(sqrt(z)) / sqrt(z)), eps, 0.25, range(5))
