"""Doodles of twelve things, drawn by chance: the data that train.py trains on.

A doodle is a list of strokes, a stroke a list of points in [-1, 1] x [-1, 1] with y pointing down. Every thing has a function that
draws it with random proportions and details; `distort` then turns, shears, wobbles and shifts the strokes, and `render` puts them on
32 x 32 pixels with a pen of random width.
"""

import numpy as np

SIZE = 32


def arc(cx, cy, rx, ry, start=0.0, end=360.0, steps=24):
    """Points of an ellipse's arc, in degrees, clockwise on the screen from the right."""
    a = np.radians(np.linspace(start, end, steps))
    return np.stack([cx + rx * np.cos(a), cy + ry * np.sin(a)], axis=1)


def line(*points):
    return np.array(points, float)


def box(left, top, right, bottom):
    return line((left, top), (right, top), (right, bottom), (left, bottom), (left, top))


def maybe(rng, chance=0.5):
    return rng.random() < chance


def house(rng):
    w, eaves, top = rng.uniform(0.5, 0.8), rng.uniform(-0.3, 0.05), rng.uniform(-0.95, -0.65)
    over = rng.uniform(0.0, 0.2)
    strokes = [box(-w, eaves, w, 0.85), line((-w - over, eaves), (0, top), (w + over, eaves))]
    if maybe(rng, 0.8):
        x, half = rng.uniform(-0.3, 0.3) * w, rng.uniform(0.1, 0.18)
        strokes.append(line((x - half, 0.85), (x - half, 0.4), (x + half, 0.4), (x + half, 0.85)))
    if maybe(rng):
        s = rng.choice([-1, 1])
        strokes.append(box(s * 0.55 * w - 0.13, eaves + 0.15, s * 0.55 * w + 0.13, eaves + 0.4))
    if maybe(rng, 0.4):
        strokes.append(line((0.35 * w, top * 0.6), (0.35 * w, top), (0.6 * w, top), (0.6 * w, top * 0.4)))
    return strokes


def tree(rng):
    half, base = rng.uniform(0.06, 0.16), rng.uniform(0.1, 0.35)
    strokes = [line((-half, base), (-half, 0.9)), line((half, base), (half, 0.9))]
    if maybe(rng, 0.3):
        strokes.append(line((-half, 0.9), (half, 0.9)))
    if maybe(rng):  # a fir: one to three triangles
        levels = rng.integers(1, 4)
        for i in range(levels):
            y0 = -0.95 + i * (base + 0.95) / levels * 0.85
            y1 = -0.95 + (i + 1) * (base + 0.95) / levels
            w = 0.35 + 0.35 * (i + 1) / levels
            strokes.append(line((0, y0), (w, y1), (-w, y1), (0, y0)))
    else:  # a round crown, smooth or of bulges
        w, h, cy = rng.uniform(0.5, 0.75), rng.uniform(0.45, 0.6), base - 0.5
        if maybe(rng):
            strokes.append(arc(0, cy, w, h))
        else:
            bulges, phase = rng.integers(6, 10), rng.uniform(0, 6.28)
            a = np.linspace(0, 2 * np.pi, 60)
            r = 0.85 + 0.15 * np.abs(np.sin(a * bulges / 2 + phase))
            strokes.append(np.stack([w * r * np.cos(a), cy + h * r * np.sin(a)], axis=1))
    return strokes


def fish(rng):
    h, tail, length = rng.uniform(0.3, 0.5), rng.uniform(0.25, 0.45), rng.uniform(0.35, 0.55)
    strokes = [arc(-0.2, 0, 0.65, h, 0, 360)]
    x = 0.4
    if maybe(rng):
        strokes.append(line((x, 0), (x + length, -tail), (x + length, tail), (x, 0)))
    else:
        strokes.append(line((x, 0), (x + length, -tail), (x + length * 0.7, 0), (x + length, tail), (x, 0)))
    strokes.append(arc(-0.55, -0.12 * h / 0.4, 0.05, 0.05, steps=6))
    if maybe(rng):
        strokes.append(arc(-0.5, 0, 0.2, h * 0.8, -60, 60))
    if maybe(rng, 0.4):
        strokes.append(line((-0.35, -h * 0.95), (-0.1, -h - 0.25), (0.1, -h * 0.9)))
    return mirror(rng, strokes)


def mirror(rng, strokes):
    return [s * (-1, 1) for s in strokes] if maybe(rng) else strokes


def boat(rng):
    deck, w = rng.uniform(0.25, 0.45), rng.uniform(0.65, 0.9)
    strokes = [line((-w, deck), (w, deck), (w * 0.6, 0.8), (-w * 0.6, 0.8), (-w, deck))]
    mast, top = rng.uniform(-0.15, 0.15), rng.uniform(-0.95, -0.75)
    strokes.append(line((mast, deck), (mast, top)))
    strokes.append(line((mast, top), (mast + rng.uniform(0.45, 0.7), deck - 0.15), (mast, deck - 0.15)))
    if maybe(rng, 0.6):
        strokes.append(line((mast, top + 0.15), (mast - rng.uniform(0.35, 0.6), deck - 0.15), (mast, deck - 0.15)))
    if maybe(rng, 0.3):
        x = np.linspace(-0.95, 0.95, 30)
        strokes.append(np.stack([x, 0.9 + 0.05 * np.sin(x * 12)], axis=1))
    return mirror(rng, strokes)


def sun(rng):
    r, rays = rng.uniform(0.3, 0.5), rng.integers(7, 14)
    strokes = [arc(0, 0, r, r)]
    gap, length, phase = rng.uniform(0.05, 0.15), rng.uniform(0.2, 0.4), rng.uniform(0, 6.28)
    for i in range(rays):
        a = phase + i * 2 * np.pi / rays + rng.normal(0, 0.05)
        d = np.array([np.cos(a), np.sin(a)])
        strokes.append(line(d * (r + gap), d * min(r + gap + length * rng.uniform(0.7, 1.2), 1)))
    if maybe(rng, 0.25):
        strokes += [arc(-0.35 * r, -0.2 * r, 0.03, 0.03, steps=5), arc(0.35 * r, -0.2 * r, 0.03, 0.03, steps=5),
                    arc(0, 0.1 * r, 0.5 * r, 0.4 * r, 20, 160)]
    return strokes


def star(rng):
    points, phase = 5, -np.pi / 2 + rng.normal(0, 0.1)
    if maybe(rng, 0.4):  # the pentagram, in one go
        a = phase + np.arange(6) * 4 * np.pi / 5
        return [0.9 * np.stack([np.cos(a), np.sin(a)], axis=1)]
    inner = rng.uniform(0.3, 0.5)
    a = phase + np.arange(2 * points + 1) * np.pi / points
    r = np.where(np.arange(2 * points + 1) % 2 == 0, 0.9, 0.9 * inner)
    return [np.stack([r * np.cos(a), r * np.sin(a)], axis=1)]


def heart(rng):
    t = np.linspace(0, 2 * np.pi, 40)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    if maybe(rng):  # round lobes over a point
        lobe = rng.uniform(0.38, 0.46)
        left, right = arc(-lobe, -0.3, lobe, 0.45, 170, 360), arc(lobe, -0.3, lobe, 0.45, 180, 370)
        return [np.concatenate([line((0, 0.85)), left, right, line((0, 0.85))])]
    return [np.stack([x, y * rng.uniform(0.9, 1.15)], axis=1) / 18]


def cat(rng):
    w, h, ear = rng.uniform(0.6, 0.75), rng.uniform(0.5, 0.65), rng.uniform(0.75, 0.95)
    strokes = [arc(0, 0.2, w, h)]
    for s in (-1, 1):
        strokes.append(line((s * w * 0.9, 0.2 - h * 0.35), (s * w * rng.uniform(0.75, 0.95), -ear), (s * w * 0.3, 0.2 - h * 0.9)))
        strokes.append(arc(s * 0.27, 0.05, rng.uniform(0.03, 0.09), rng.uniform(0.04, 0.09), steps=8))
        for k in range(rng.integers(0, 4)):
            y = 0.3 + 0.12 * k
            strokes.append(line((s * 0.3, y), (s * 0.95, y + rng.uniform(-0.1, 0.1))))
    strokes.append(line((-0.07, 0.25), (0.07, 0.25), (0, 0.34), (-0.07, 0.25)))
    if maybe(rng, 0.7):
        strokes += [arc(-0.1, 0.38, 0.1, 0.1, 0, 150, 8), arc(0.1, 0.38, 0.1, 0.1, 30, 180, 8)]
    return strokes


def face(rng):
    r = rng.uniform(0.75, 0.92)
    strokes = [arc(0, 0, r, r * rng.uniform(0.9, 1.1))]
    eye, gap, y = rng.uniform(0.03, 0.1), rng.uniform(0.22, 0.35), rng.uniform(-0.35, -0.15)
    for s in (-1, 1):
        strokes.append(line((s * gap, y - 0.1), (s * gap, y + 0.1)) if maybe(rng, 0.3) else arc(s * gap, y, eye, eye * 1.3, steps=10))
    w, start = rng.uniform(0.3, 0.5), rng.uniform(5, 35)
    if maybe(rng, 0.85):
        strokes.append(arc(0, rng.uniform(0.05, 0.2), w, rng.uniform(0.25, 0.42), start, 180 - start))
    else:
        strokes.append(arc(0, 0.6, w, 0.25, 180 + start, 360 - start))
    if maybe(rng, 0.3):
        strokes.append(line((0, -0.05), (rng.uniform(-0.1, 0.1), 0.12)))
    return strokes


def cup(rng):
    top, w, taper = rng.uniform(-0.5, -0.25), rng.uniform(0.45, 0.6), rng.uniform(0.65, 1.0)
    bottom = rng.uniform(0.6, 0.8)
    strokes = [line((-w, top), (-w * taper, bottom), (w * taper, bottom), (w, top))]
    strokes.append(arc(0, top, w, rng.uniform(0.05, 0.14)) if maybe(rng, 0.6) else line((-w, top), (w, top)))
    middle = (top + bottom) / 2
    strokes.append(arc(w * (1 + taper) / 2, middle, rng.uniform(0.25, 0.38), rng.uniform(0.2, 0.32), -90, 90))
    if maybe(rng, 0.6):
        y = np.linspace(top - 0.5, top - 0.12, 12)
        for x in (-0.2, 0.05, 0.3)[: rng.integers(1, 4)]:
            strokes.append(np.stack([x - 0.05 + 0.06 * np.sin(y * 14), y], axis=1))
    return mirror(rng, strokes)


def umbrella(rng):
    w, rim = rng.uniform(0.75, 0.92), rng.uniform(-0.1, 0.1)
    h = rng.uniform(0.65, 0.85)
    strokes = [arc(0, rim, w, h, 180, 360)]
    ribs = rng.integers(2, 5)
    edges = np.linspace(-w, w, ribs + 1)
    if maybe(rng, 0.8):
        strokes += [arc((a + b) / 2, rim, (b - a) / 2, rng.uniform(0.08, 0.18), 180, 360, 8) for a, b in zip(edges, edges[1:])]
    else:
        strokes.append(line((-w, rim), (w, rim)))
    if maybe(rng):
        strokes += [line((0, rim - h), (x, rim)) for x in edges[1:-1]]
    hook = rng.uniform(0.1, 0.18)
    strokes += [line((0, rim), (0, 0.75)), arc(-hook, 0.75, hook, hook, 0, 180, 10)]
    return mirror(rng, strokes)


def flower(rng):
    petals, r, cy = rng.integers(5, 9), rng.uniform(0.12, 0.18), rng.uniform(-0.45, -0.3)
    strokes = [arc(0, cy, r, r, steps=14)]
    length, phase = rng.uniform(0.28, 0.36), rng.uniform(0, 6.28)
    half = np.pi / petals * rng.uniform(0.75, 1.0)
    for i in range(petals):
        a = phase + i * 2 * np.pi / petals
        t = np.linspace(-1, 1, 9)
        reach = r + length * np.sqrt(np.maximum(1 - t**2, 0))
        strokes.append(np.stack([reach * np.cos(a + t * half), cy + reach * np.sin(a + t * half)], axis=1))
    sway = rng.uniform(-0.15, 0.15)
    strokes.append(line((0, cy + r + length * 0.7), (sway * 0.7, 0.4), (sway, 0.95)))
    for s in (-1, 1):
        if maybe(rng, 0.6):
            y = rng.uniform(0.4, 0.65)
            strokes.append(line((sway, y + 0.2), (s * 0.3 + sway, y - 0.05), (s * 0.12 + sway, y + 0.22), (sway, y + 0.2)))
    return strokes


THINGS = [house, tree, fish, boat, sun, star, heart, cat, face, cup, umbrella, flower]
LABELS = [thing.__name__ for thing in THINGS]


def subdivide(stroke, longest=0.15):
    """The same stroke with points close enough together for a wobble to bend it."""
    out = [stroke[:1]]
    for a, b in zip(stroke, stroke[1:]):
        n = max(1, int(np.ceil(np.hypot(*(b - a)) / longest)))
        t = np.linspace(0, 1, n + 1)[1:, None]
        out.append(a + (b - a) * t)
    return np.concatenate(out)


def distort(rng, strokes):
    angle, shear = rng.normal(0, 0.14), rng.normal(0, 0.12)
    scale = rng.uniform(0.65, 0.95) * np.exp(rng.normal(0, 0.1, 2))
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.array([[1, shear], [0, 1]]) * scale
    waves, phases = rng.normal(0, 0.035, (2, 3, 2)), rng.uniform(0, 6.28, (2, 3))
    directions = rng.normal(0, 3, (2, 3, 2))
    shift = rng.uniform(-0.1, 0.1, 2)
    out = []
    for stroke in strokes:
        p = subdivide(stroke) + rng.normal(0, 0.02, 2)  # strokes do not quite meet
        wobble = sum(np.sin(p @ directions[k, i] + phases[k, i])[:, None] * waves[k, i] for k in range(2) for i in range(3))
        out.append((p + wobble + rng.normal(0, 0.008, p.shape)) @ matrix.T + shift)
    return out


def render(strokes, pen=0.07, blur=0.05, ink=1.0):
    """32 x 32 floats in [0, 1], ink on nothing. A pixel's ink follows from its distance to the nearest stroke."""
    a = np.concatenate([s[:-1] for s in strokes])
    b = np.concatenate([s[1:] for s in strokes])
    axis = (np.arange(SIZE) + 0.5) / SIZE * 2.2 - 1.1
    pixel = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 1, 2)
    d = b - a
    t = np.clip(((pixel - a) * d).sum(-1) / np.maximum((d * d).sum(-1), 1e-9), 0, 1)
    distance = np.sqrt((((a + t[..., None] * d) - pixel) ** 2).sum(-1).min(axis=1))
    return (ink * np.clip((pen - distance) / blur + 0.5, 0, 1)).reshape(SIZE, SIZE)


def doodle(rng, label):
    strokes = distort(rng, THINGS[label](rng))
    picture = render(strokes, pen=rng.uniform(0.035, 0.085), blur=rng.uniform(0.04, 0.08), ink=rng.uniform(0.75, 1.0))
    picture += rng.normal(0, rng.uniform(0, 0.08), picture.shape)
    return np.clip(picture, 0, 1).astype(np.float32)


def dataset(seed, count):
    """`count` doodles [count, 32, 32] with their labels, the things taking turns."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(THINGS)
    return np.stack([doodle(rng, label) for label in labels]), labels
