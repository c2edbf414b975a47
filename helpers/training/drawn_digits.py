"""Synthetic digits in handwriting styles that are rare in MNIST. Explained in notebooks/07_faster_and_better.ipynb.

MNIST's writers learned in American schools. Elsewhere a 1 has a long flag and looks like MNIST's 7, a 7 is crossed, a 4
is open or has a short stem, a 9 ends in a hook. A few thousand drawn digits among the 60,000 teach a network these
forms: strokes through jittered control points with random slant, proportions and pen, brought to MNIST's form.
"""

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

from helpers.images.mnist_form import centre_of_mass, fit_box
from helpers.images.strokes import crop

CANVAS = 160  # side in pixels of the picture that strokes are drawn on

# Forms by digit. A form is a list of strokes, each a "curve" (a smooth spline) or a "line" (straight segments) through
# points (x to the right, y down, in a box of side 1).
FORMS: dict[int, list[list[tuple]]] = {
    0: [
        [("curve", (0.5, 0), (0.12, 0.3), (0.12, 0.7), (0.5, 1), (0.88, 0.7), (0.88, 0.3), (0.5, 0))],
        [("curve", (0.65, 0.05), (0.2, 0.2), (0.1, 0.65), (0.45, 1), (0.88, 0.75), (0.85, 0.25), (0.5, 0.02))],
    ],
    1: [
        [("line", (0.5, 0), (0.5, 1))],
        [("line", (0.2, 0.32), (0.55, 0), (0.55, 1))],
        [("line", (0.0, 0.48), (0.6, 0), (0.6, 1))],
        [("line", (0.15, 0.35), (0.55, 0), (0.55, 1)), ("line", (0.2, 1), (0.9, 1))],
        [("curve", (0.05, 0.45), (0.4, 0.2), (0.62, 0.0)), ("line", (0.62, 0), (0.55, 1))],
    ],
    2: [
        [("curve", (0.1, 0.25), (0.35, 0), (0.8, 0.1), (0.75, 0.42), (0.4, 0.72), (0.08, 1)), ("line", (0.08, 1), (0.95, 1))],
        [("curve", (0.2, 0.2), (0.45, 0), (0.65, 0.2), (0.58, 0.6), (0.4, 0.97)), ("line", (0.4, 0.97), (0.98, 0.97))],
        [("curve", (0.1, 0.2), (0.5, 0), (0.8, 0.25), (0.5, 0.7), (0.15, 0.95), (0.1, 0.8), (0.35, 0.82), (0.95, 1))],
    ],
    3: [
        [("curve", (0.12, 0.12), (0.55, 0), (0.8, 0.2), (0.45, 0.45), (0.88, 0.7), (0.55, 1), (0.08, 0.9))],
        [("line", (0.12, 0.02), (0.85, 0.02), (0.4, 0.4)), ("curve", (0.4, 0.4), (0.85, 0.52), (0.8, 0.88), (0.45, 1), (0.08, 0.92))],
    ],
    4: [
        [("line", (0.7, 1), (0.7, 0), (0.05, 0.68), (0.98, 0.68))],
        [("line", (0.2, 0), (0.12, 0.55), (0.95, 0.55)), ("line", (0.72, 0.15), (0.65, 1))],
        [("line", (0.55, 0), (0.05, 0.65), (0.95, 0.65)), ("line", (0.7, 0.38), (0.58, 1))],
        [("curve", (0.5, 0), (0.25, 0.35), (0.1, 0.62), (0.9, 0.62)), ("line", (0.75, 0.35), (0.65, 1))],
    ],
    5: [
        [("line", (0.85, 0), (0.25, 0), (0.18, 0.42)), ("curve", (0.18, 0.42), (0.6, 0.36), (0.88, 0.68), (0.55, 1), (0.08, 0.9))],
        [("line", (0.25, 0), (0.18, 0.45)), ("curve", (0.18, 0.45), (0.65, 0.4), (0.85, 0.7), (0.5, 1), (0.08, 0.92)), ("line", (0.27, 0.02), (0.95, 0))],
        [("curve", (0.88, 0.02), (0.35, 0.05), (0.2, 0.42), (0.6, 0.45), (0.82, 0.72), (0.5, 1), (0.08, 0.9))],
    ],
    6: [
        [("curve", (0.72, 0), (0.3, 0.3), (0.1, 0.7), (0.45, 1), (0.85, 0.8), (0.62, 0.52), (0.15, 0.7))],
        [("curve", (0.4, 0), (0.15, 0.45), (0.15, 0.85), (0.5, 1), (0.85, 0.8), (0.55, 0.58), (0.18, 0.8))],
    ],
    7: [
        [("line", (0.05, 0.02), (0.92, 0.02), (0.4, 1))],
        [("line", (0.05, 0.02), (0.92, 0.02), (0.4, 1)), ("line", (0.25, 0.52), (0.85, 0.5))],
        [("line", (0.05, 0.18), (0.08, 0.02), (0.9, 0.05), (0.35, 1)), ("line", (0.2, 0.5), (0.8, 0.48))],
        [("curve", (0.05, 0.15), (0.3, 0.02), (0.6, 0.1), (0.92, 0.0)), ("curve", (0.92, 0), (0.6, 0.45), (0.42, 1)), ("line", (0.3, 0.52), (0.85, 0.5))],
    ],
    8: [
        [("curve", (0.75, 0.15), (0.4, 0), (0.2, 0.22), (0.55, 0.48), (0.85, 0.78), (0.45, 1), (0.12, 0.78), (0.5, 0.47), (0.78, 0.2), (0.6, 0.02))],
        [("curve", (0.5, 0), (0.2, 0.22), (0.5, 0.46), (0.8, 0.22), (0.5, 0)), ("curve", (0.5, 0.46), (0.1, 0.74), (0.5, 1), (0.9, 0.74), (0.5, 0.46))],
    ],
    9: [
        [("curve", (0.82, 0.15), (0.45, 0), (0.15, 0.28), (0.45, 0.52), (0.82, 0.22)), ("line", (0.82, 0.15), (0.72, 1))],
        [("curve", (0.8, 0.15), (0.45, 0), (0.15, 0.25), (0.42, 0.48), (0.78, 0.25), (0.82, 0.6), (0.6, 0.97), (0.12, 0.9))],
        [("curve", (0.72, 0.2), (0.42, 0), (0.15, 0.25), (0.45, 0.45), (0.72, 0.22)), ("curve", (0.72, 0.22), (0.8, 0.6), (0.85, 0.9), (0.55, 1), (0.08, 0.97))],
    ],
}  # fmt: skip


def draw(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws digits, cycling through the classes and the forms of each: uint8 (count, 28, 28), labels int64 (count,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    images = [draw_form(FORMS[label][i // 10 % len(FORMS[label])], rng) for i, label in enumerate(labels)]
    return np.stack(images), labels.astype(np.int64)


def draw_form(form: list[tuple], rng: np.random.Generator) -> np.ndarray:
    """Draws one digit with a random slant, rotation, width and pen: uint8 (28, 28)."""
    canvas = np.zeros((CANVAS, CANVAS), np.uint8)
    lean, turn = np.tan(np.radians(rng.normal(8, 12))), np.radians(rng.normal(0, 6))
    wide, high = rng.uniform(0.4, 0.85), 1.0
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    hand = turned @ np.array([[1, -lean], [0, 1]]) @ np.diag([wide, high])
    pen = max(1, round(CANVAS * 0.6 * rng.uniform(0.06, 0.16)))
    shake = rng.uniform(0.01, 0.045)
    for kind, *points in form:
        points = np.array(points) + rng.normal(0, shake, (len(points), 2)) - 0.5
        if kind == "curve":
            points = curve(points)
        pixels = (points @ hand.T * 0.6 + 0.5) * CANVAS
        cv2.polylines(canvas, [np.round(pixels * 16).astype(np.int32)], False, 255, pen, cv2.LINE_AA, shift=4)
    return centre_of_mass(fit_box(crop(canvas)))


def curve(points: np.ndarray, count: int = 40) -> np.ndarray:
    """A cubic spline through points (N, 2), N ≥ 2, with no two successive ones equal: (count, 2)."""
    # Parametrised by chord length, so that it does not overshoot between close points.
    along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    return CubicSpline(along, points)(np.linspace(0, along[-1], count))
