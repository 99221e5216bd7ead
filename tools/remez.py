"""Near-minimax polynomials by Remez exchange: for fit.py and tables.py."""
from mpmath import cos, lu_solve, matrix, mpf, pi


def remez(f, weight, low, high, powers, rounds=12, points=1000):
    """Coefficients of f on [low, high] in the given powers, and the largest weighted error that is left."""
    n = len(powers)
    x = [(low + high) / 2 + (high - low) / 2 * -cos(pi * i / n) for i in range(n + 1)]
    for _ in range(rounds):
        a = matrix(n + 1, n + 1)
        b = matrix(n + 1, 1)
        for i in range(n + 1):
            for k, p in enumerate(powers):
                a[i, k] = x[i] ** p
            a[i, n] = (-1) ** i / weight(x[i])
            b[i] = f(x[i])
        c = lu_solve(a, b)
        grid = [low + (high - low) * mpf(i) / points for i in range(points + 1)]
        err = [weight(g) * (f(g) - sum(c[k] * g ** p for k, p in enumerate(powers))) for g in grid]
        peaks, best = [], 0
        for i in range(1, points + 1):
            if err[i] * err[best] <= 0:
                peaks.append(best)
                best = i
            elif abs(err[i]) > abs(err[best]):
                best = i
        peaks.append(best)
        if len(peaks) < n + 1:
            break
        x = [grid[i] for i in peaks[:n + 1]]
    return [c[k] for k in range(n)], max(abs(e) for e in err)
