"""SIMULATED strips: numbers as helpers/predict/strips.py sees them, grey ink on black, each with its text.

Nobody wrote these. Images of MNIST's TRAINING part and drawn digits are traced and set side by side, so close that they
share strokes or wide apart, between rules, signs, letters and what neighbouring rows leave. tools/train_strips.py
trains on them.
"""

import functools

import cv2
import numpy as np

from helpers import data
from helpers.predict.strips import DIGIT, HIGH
from helpers.training.drawn_digits import draw, draw_form
from tools.nondigits import ITALIC, LETTERS, SAME, SIMILAR, UPRIGHT, by_hand, typeset
from tools.simulate.lines import SIGNS
from tools.simulate.scene import clouds, compress, put, trace

WIDE = 160  # width in pixels of a strip to train on
FINE = 2  # drawn at so many times its size
GLYPH = 48  # height in pixels of the digits that are kept for drawing
PENS = 4  # groups of digits by the width of their pen: one writer has one pen
PRINTED = 0.15  # of all strips are print
SEVENS = [  # with a hook at the left, a bar and a bent stem, as some schools teach them
    [("line", (0.08, 0.3), (0.12, 0.05), (0.88, 0.02)), ("curve", (0.88, 0.02), (0.66, 0.45), (0.52, 0.85), (0.25, 1.0)), ("line", (0.3, 0.55), (0.95, 0.5))],
    [("line", (0.1, 0.22), (0.12, 0.04), (0.85, 0.0)), ("curve", (0.85, 0.0), (0.72, 0.4), (0.66, 0.8), (0.35, 0.98)), ("line", (0.25, 0.5), (0.7, 0.48))],
    [("curve", (0.05, 0.28), (0.2, 0.05), (0.55, 0.1), (0.88, 0.0)), ("curve", (0.88, 0.0), (0.7, 0.5), (0.6, 1.0)), ("line", (0.35, 0.55), (0.95, 0.52))],
]  # fmt: skip
UNLIKE = "".join(c for c in LETTERS if c not in SAME + SIMILAR)  # letters that nobody takes for a digit
EMPTY = 0.1  # of all strips hold no digit


@functools.cache
def glyphs(count: int = 12000, drawn: int = 5000, seed: int = 0) -> tuple[tuple[tuple[np.ndarray, ...], ...], ...]:
    """Traced digits by pen and class: uint8 (H, W) each, GLYPH pixels high or less where they are wide."""
    rng = np.random.default_rng(seed)
    mnist = data.load()
    chosen = rng.permutation(len(mnist.x_train))[:count]
    x, y = draw(drawn, seed=seed + 1)
    sevens = np.stack([draw_form(SEVENS[i % len(SEVENS)], rng) for i in range(drawn // 10)])
    images = np.concatenate([mnist.x_train[chosen], x, sevens])
    labels = np.concatenate([mnist.y_train[chosen], y, np.full(len(sevens), 7)])
    found: list[list[list[np.ndarray]]] = [[[] for _ in range(10)] for _ in range(PENS)]
    for image, label in zip(images, labels, strict=True):
        group = int(rng.integers(PENS))
        ink = trace(image, _pen(group + rng.uniform(0, 1)))
        left, top, wide, high = cv2.boundingRect((ink > 0.5).astype(np.uint8))
        scale = GLYPH / max(high, 0.8 * wide)
        size = max(2, round(wide * scale)), max(2, round(high * scale))
        small = cv2.resize(ink[top : top + high, left : left + wide], size, interpolation=cv2.INTER_AREA)
        found[group][label].append(np.round(255 * small).astype(np.uint8))
    return tuple(tuple(map(tuple, group)) for group in found)


def _pen(group: float) -> float:
    """The width of a stroke as a share of a digit's height, for a group 0 to PENS."""
    return 0.035 * 1.55**group


def strip(rng: np.random.Generator) -> tuple[np.ndarray, str]:
    """A strip, uint8 (HIGH, WIDE), ink bright on black, and the digits in it from left to right."""
    high, wide = FINE * HIGH, FINE * WIDE
    canvas = np.zeros((high, wide), np.float32)
    size = FINE * DIGIT * rng.uniform(0.78, 1.22)  # the height of digits
    middle = high / 2 + rng.normal(0, 0.06) * size
    slope = rng.normal(0, 0.025)
    pen = int(rng.integers(PENS))
    font = str(rng.choice(UPRIGHT + ITALIC)) if rng.random() < PRINTED else None
    x = rng.uniform(0, 1.2) * size
    text = "" if rng.random() < EMPTY else _text(rng)
    gap, spread = _spacing(rng)
    vary, wave = rng.uniform(0.02, 0.12), rng.uniform(0.0, 0.08)
    lean = rng.normal(-0.1, 0.15)
    written = ""
    if rng.random() < 0.3 or not text:
        x = _sign(canvas, x, middle, size, pen, rng) + rng.uniform(0.05, 0.4) * size
    if not text:
        _no_number(canvas, x, middle, size, rng)
    shared = gap < 0 and rng.random() < 0.5  # the next zero closes the one before
    ruled = rng.random() < 0.08  # between digits, as in a table
    for i, digit in enumerate(text):
        glyph = _glyph(int(digit), size * rng.normal(1, vary * (font is None)), pen, lean, rng, font)
        if shared and text[i : i + 2] == "00":
            glyph = glyph[:, : round(glyph.shape[1] * rng.uniform(0.6, 0.9))]
        start = round(x)
        if start + glyph.shape[1] > wide:
            break
        at = middle + slope * (x - wide / 2) + rng.normal(0, wave) * size
        if rng.random() < 0.04:  # as small zeros after a large number
            glyph, at = cv2.resize(glyph, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA), at - 0.1 * size
        put(canvas, glyph, start, round(at - glyph.shape[0] / 2))
        written += digit
        x = start + glyph.shape[1] + rng.normal(gap, spread) * size
        if ruled and rng.random() < 0.5:
            x += rng.uniform(0.1, 0.5) * size
            end = round(x + rng.normal(0, 2)), high
            cv2.line(canvas, (round(x), 0), end, rng.uniform(0.2, 1), int(rng.integers(1, 4)))
            x += rng.uniform(0.1, 0.6) * size
        if rng.random() < 0.06:
            x = _sign(canvas, x + 0.05 * size, middle, size, pen, rng) + rng.uniform(0.0, 0.3) * size
        elif rng.random() < 0.04:
            x += rng.uniform(0.4, 1.2) * size
    for _ in range(int(rng.integers(1, 4)) if rng.random() < 0.15 else 0):  # a word or a unit after the number
        x = _letter(canvas, x + rng.uniform(0.05, 0.4) * size, middle, size, rng)
    if rng.random() < 0.25:
        _sign(canvas, x + 0.2 * size, middle, size, pen, rng)
    _surround(canvas, middle, size, pen, rng)
    return _seen(canvas, rng), written


def _text(rng: np.random.Generator) -> str:
    """One to nine digits; zeros and runs of one digit are common in amounts."""
    text = "".join(str(digit) for digit in rng.integers(0, 10, int(rng.choice(9, p=_LENGTHS)) + 1))
    if len(text) > 2 and rng.random() < 0.3:
        run, digit = int(rng.integers(2, min(4, len(text)) + 1)), "0" if rng.random() < 0.6 else text[-1]
        text = text[: len(text) - run] + digit * run
    return text


_LENGTHS = np.array([0.12, 0.16, 0.18, 0.17, 0.13, 0.1, 0.07, 0.04, 0.03])


def _spacing(rng: np.random.Generator) -> tuple[float, float]:
    """The mean and the spread of the gaps between digits, in heights; below 0 they share strokes."""
    kinds = (0.08, 0.35, 0.07), (-0.06, 0.08, 0.06), (-0.18, -0.05, 0.05), (0.35, 0.9, 0.1)
    low, high, spread = kinds[np.searchsorted((0.4, 0.7, 0.85), rng.random(), side="right")]
    return rng.uniform(low, high), spread


def _glyph(digit: int, size: float, pen: int, lean: float, rng: np.random.Generator, font: str | None = None):
    """A digit as ink, float (H, W) in 0..1, about `size` pixels high: slanted and stretched if no `font` prints it."""
    kept = glyphs()[pen][digit]
    glyph = kept[rng.integers(len(kept))] if font is None else typed(font, digit)
    tall = size / GLYPH
    broad = tall * (rng.uniform(0.8, 1.2) if font is None else 1)
    slant = rng.normal(0.5 * lean, 0.08) if font is None else 0.0
    high = max(4, round(glyph.shape[0] * tall))
    wide = max(3, round(glyph.shape[1] * broad + abs(slant) * high))
    turn = np.float32([[broad, -slant * tall, max(0.0, slant) * high], [0, tall, 0]])
    shown = cv2.warpAffine(glyph, turn, (wide, high), flags=cv2.INTER_LINEAR)
    left, top, wide, high = cv2.boundingRect((shown > 64).astype(np.uint8))
    return shown[top : top + high, left : left + wide].astype(np.float32) * (rng.uniform(0.75, 1) / 255)


@functools.cache
def typed(font: str, digit: int) -> np.ndarray:
    """A printed digit: uint8 (H, W), GLYPH pixels high."""
    return _to_height(typeset(font, str(digit)))


def _to_height(shape: np.ndarray) -> np.ndarray:
    """A shape scaled to a height of GLYPH pixels."""
    wide = max(2, round(shape.shape[1] * GLYPH / shape.shape[0]))
    return cv2.resize(shape, (wide, GLYPH), interpolation=cv2.INTER_AREA)


def _sign(canvas: np.ndarray, x: float, middle: float, size: float, pen: int, rng: np.random.Generator) -> float:
    """Draws a sign at column x, in place; returns where it ends."""
    thick = max(1, round(_pen(pen + 0.5) * size))
    lines = SIGNS[str(rng.choice(list(SIGNS), p=_SIGN_SHARES))]
    lines = [np.array(line) * (rng.uniform(0.6, 1.3), 1) + rng.normal(0, 0.03, 2) for line in lines]
    for line in lines:
        points = np.round(16 * (line * (size, -size) + (x, middle + size / 2))).astype(np.int32)
        cv2.polylines(canvas, [points], False, rng.uniform(0.6, 1), thick, cv2.LINE_AA, 4)
    return x + max(line[:, 0].max() for line in lines) * size


_COMMON = {".": 4, ",": 4, "-": 8, "/": 0.5, ":": 2}
_SIGN_SHARES = np.array([_COMMON.get(sign, 0.4) for sign in SIGNS])
_SIGN_SHARES /= _SIGN_SHARES.sum()


@functools.cache
def letters(chosen: str, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Letters, printed and in a pen's width: uint8 (H, W), GLYPH pixels high."""
    rng = np.random.default_rng(seed)
    return tuple(_to_height(by_hand(typeset(font, c), rng)) for font in UPRIGHT for c in chosen for _ in range(4))


def _letter(canvas: np.ndarray, x: float, middle: float, size: float, rng, chosen: str = UNLIKE) -> float:
    """Draws a letter at column x, in place; returns where it ends."""
    kept = letters(chosen)
    shape = kept[rng.integers(len(kept))]
    scale = size * rng.uniform(0.6, 1.15) / GLYPH
    shape = cv2.resize(shape, None, fx=scale * rng.uniform(0.8, 1.2), fy=scale, interpolation=cv2.INTER_AREA)
    put(canvas, shape.astype(np.float32) / 255, round(x), round(middle + size / 2 - shape.shape[0]))
    return x + shape.shape[1]


def _no_number(canvas: np.ndarray, x: float, middle: float, size: float, rng: np.random.Generator) -> None:
    """Draws nothing, a word, hatching or blots, in place. Between two others, a letter like a digit is a letter too."""
    kind = rng.random()
    if kind < 0.65:
        gap = rng.uniform(0, 0.3) * size
        for i in range(int(rng.integers(1, 7))):
            similar = i % 3 == 1 and rng.random() < 0.5
            x = _letter(canvas, x, middle, size, rng, SIMILAR if similar else UNLIKE) + gap
    elif kind < 0.85:
        high, wide = canvas.shape
        for _ in range(int(rng.integers(1, 12))):
            ends = np.round(rng.uniform((0, 0), (wide, high), (2, 2))).astype(int).tolist()
            cv2.line(canvas, *ends, rng.uniform(0.3, 1), int(rng.integers(1, 16)), cv2.LINE_AA)
    else:
        spots = clouds(max(canvas.shape), int(rng.integers(3, 30)), rng)[: canvas.shape[0], : canvas.shape[1]]
        np.maximum(canvas, (spots > rng.uniform(0.3, 0.8)) * rng.uniform(0.3, 1), out=canvas)


def _surround(canvas: np.ndarray, middle: float, size: float, pen: int, rng: np.random.Generator) -> None:
    """Draws what else a strip shows, in place: rules, edges of tables, parts of the rows above and below, specks."""
    high, wide = canvas.shape

    def rule(x1: float, y1: float, x2: float, y2: float) -> None:
        line = np.zeros_like(canvas)
        ends = [tuple(round(16 * n) for n in end) for end in ((x1, y1), (x2, y2))]
        cv2.line(line, *ends, rng.uniform(0.2, 1), int(rng.integers(1, 4)), cv2.LINE_AA, 4)
        if rng.random() < 0.3:  # what the removal of rules leaves of one
            line *= cv2.resize(rng.random((1, wide // 12)).astype(np.float32), (wide, 1)) > rng.uniform(0.3, 0.8)
        np.maximum(canvas, line, out=canvas)

    for side, share in ((1, 0.4), (-1, 0.12)):  # below and above
        if rng.random() < share:
            y = middle + side * rng.uniform(0.45, 0.85) * size
            tilt = rng.normal(0, 0.02) * wide
            rule(0, y - tilt, wide, y + tilt)
    if rng.random() < 0.12:
        x = rng.choice((rng.uniform(0, 0.1), rng.uniform(0.9, 1))) * wide
        rule(x, 0, x + rng.normal(0, 2), high)
    if rng.random() < 0.2:
        for _ in range(int(rng.integers(1, 5))):
            glyph = _glyph(int(rng.integers(10)), size, pen, 0.0, rng)
            up = rng.random() < 0.5
            top = -round(rng.uniform(0.6, 0.95) * size) if up else high - round(rng.uniform(0.05, 0.35) * size)
            put(canvas, glyph, int(rng.integers(wide)), top)
    for _ in range(int(rng.poisson(0.6))):
        at = int(rng.integers(wide)), int(rng.integers(high))
        cv2.circle(canvas, at, int(rng.integers(1, 3)), rng.uniform(0.3, 1), -1, cv2.LINE_AA)


def _seen(shown: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fine ink as a camera and the removal of the background leave it: uint8, at a strip's size."""
    if rng.random() < 0.3:  # a dry pen
        texture = cv2.resize(rng.random((shown.shape[0] // 3, shown.shape[1] // 3), np.float32), shown.shape[::-1])
        shown = shown * (1 - rng.uniform(0.1, 0.6) * texture)
    sigma = rng.uniform(0.3, 2.2) if rng.random() < 0.8 else rng.uniform(2.2, 3.2)
    shown = cv2.GaussianBlur(shown, (0, 0), sigma)
    shown = cv2.resize(shown, (WIDE, HIGH), interpolation=cv2.INTER_AREA)
    shown = 255 * shown * rng.uniform(0.75, 1.25)
    if rng.random() < 0.5:
        shown += rng.normal(0, rng.uniform(0, 14), shown.shape)
    shown = np.clip(shown, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        shown = compress(np.repeat(shown[..., None], 3, 2), int(rng.integers(25, 90)))[..., 0]
    return np.ascontiguousarray(shown)


def strips(count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """`count` strips, uint8 (count, HIGH, WIDE), and the text of each."""
    rng = np.random.default_rng(seed)
    images, texts = zip(*(strip(rng) for _ in range(count)), strict=True)
    return np.stack(images), list(texts)
