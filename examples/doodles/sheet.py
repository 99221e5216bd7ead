"""The pictures of the demo, one of each thing, stroke by stroke as points on a sheet of 64 x 64. They were drawn without drawing.py's
templates, of which they share only the pen."""

import os

import numpy as np

import drawing

SHEET = 64

STROKES = {
    "house": ["9,30 31,9 55,29", "14,27 14,57 50,58 50,27", "27,58 27,42 37,42 37,58", "42,16 42,8 47,8 47,21"],
    "tree": ["27,59 28,38", "36,59 35,39", "28,39 18,40 11,33 13,24 18,21 19,12 28,7 36,8 44,12 46,20 52,25 52,34 45,39 35,40"],
    "fish": ["5,33 11,25 20,20 31,19 40,24 47,31 58,21 57,44 47,34 40,42 30,46 19,44 11,40 5,33", "15,29 16,30", "26,23 29,31 26,41"],
    "boat": ["6,42 57,41 48,54 16,55 6,42", "31,42 30,7", "31,9 51,36 32,36", "28,14 12,37 29,37"],
    "sun": ["32,21 39,23 43,29 42,37 37,42 29,43 23,39 21,32 24,25 32,21", "32,15 32,5", "44,20 51,12", "49,32 59,32", "43,44 51,52",
            "32,49 33,59", "20,44 12,52", "15,32 5,31", "20,20 13,12"],
    "star": ["32,6 39,24 58,25 43,37 49,56 32,45 15,56 21,37 6,25 25,24 32,6"],
    "heart": ["32,56 19,45 9,32 7,21 12,12 21,10 28,14 32,22 36,14 43,10 52,12 57,21 54,32 45,45 32,56"],
    "cat": ["14,30 12,7 25,18", "39,18 52,8 50,30", "25,18 39,18", "14,30 13,42 20,53 32,57 44,53 51,42 50,30", "23,33 23,36", "41,33 41,36",
            "30,42 34,42 32,45 30,42", "32,45 29,48 26,48", "32,45 35,48 38,48", "20,43 4,40", "20,46 5,49", "44,43 60,40", "44,46 59,50"],
    "face": ["32,6 43,8 52,16 57,28 55,41 48,52 37,58 25,57 14,51 7,40 7,26 13,14 22,8 32,6", "23,24 23,30", "42,24 42,30",
             "18,38 23,45 32,48 41,45 46,38"],
    "cup": ["12,22 15,53 41,53 44,22 12,22", "44,28 53,28 56,35 53,43 43,44", "21,17 19,12 23,8 21,4", "33,17 31,12 35,8 33,4"],
    "umbrella": ["5,33 9,21 19,11 32,8 45,11 55,21 59,33 50,29 41,33 32,29 23,33 14,29 5,33", "32,8 32,4", "32,29 32,52 36,57 41,56 42,51"],
    "flower": ["32,17 36,20 36,25 32,28 28,25 28,20 32,17", "32,17 28,10 32,5 37,10 32,17", "36,20 44,15 49,20 44,25 36,25",
               "36,25 42,32 38,37 32,34 32,28", "32,28 30,35 24,36 21,31 28,25", "28,25 19,25 15,19 20,15 28,20", "32,34 31,47 33,60",
               "32,52 41,45 46,48 40,54 32,55"],
}


def strokes(name):
    points = [np.array([p.split(",") for p in text.split()], float) for text in STROKES[name]]
    return [p * 2 / SHEET - 1 for p in points]


def pictures():
    names = list(STROKES)
    return names, np.stack([drawing.render(strokes(name), pen=0.06).astype(np.float32) for name in names])


def write(folder):
    """Each picture as NAME.pgm (dark ink on white, as pictures are), and the fish as an array for `whet run` too."""
    os.makedirs(folder, exist_ok=True)
    for name, picture in zip(*pictures()):
        with open(os.path.join(folder, name + ".pgm"), "wb") as file:
            file.write(b"P5\n%d %d\n255\n" % (drawing.SIZE, drawing.SIZE))
            file.write(np.round(255 * (1 - picture)).astype(np.uint8).tobytes())
        if name == "fish":
            np.save(os.path.join(folder, name + ".npy"), picture.reshape(1, 1, drawing.SIZE, drawing.SIZE))
