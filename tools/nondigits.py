"""Draws non-digits, from which the gate learns what to refuse: letters, symbols, scribbles, shapes, textures, photographs.

Drawn by the code below, set in Matplotlib's fonts, composed of training digits, or cropped from the pictures that come
with scikit-image and scikit-learn; nothing is downloaded. tools/fit_gate.py fits the gate to them. Explained in
notebooks/06_custom_image_prediction.ipynb.

Drawings are uint8 (H, W), bright ink on 0, of any size; `negatives` brings them to MNIST's form, uint8 (N, 28, 28).
The figures of the gate rest on them: the same seed must go on giving the same drawings.
"""

import functools
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib
import numpy as np
import skimage.data
import sklearn.datasets
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from skimage.morphology import skeletonize

from helpers.errors import UserError
from helpers.images.decode import read_image
from helpers.images.mnist_form import BOX, FIELD, centre_of_mass, fit_box
from helpers.images.steps import resize, to_grayscale
from helpers.images.strokes import crop, normalise_stroke
from helpers.training.drawn_digits import curve

SIDE = 112  # pixels of a drawing before it is shrunk
UPRIGHT = ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Bold", "STIXGeneral", "cmr10", "cmss10", "cmtt10")
ITALIC = ("DejaVuSans-Oblique", "DejaVuSerif-Italic", "STIXGeneralItalic", "cmti10", "cmmi10")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Nobody can tell these from 0 and 1, so they teach nothing; those below can be told from digits in some hands only.
SAME = "OoIl"
SIMILAR = "BDGQSZabgiqsyz"
SCRIPTS = ("GREEK", "CYRILLIC", "HEBREW", "ARABIC", "ARMENIAN", "GEORGIAN", "TIFINAGH", "CANADIAN", "LAO", "SCRIPT")
SCRIPTS += ("MATHEMATICAL", "LISU", "NKO")
DIFFERENT = 0.35  # share of their ink in which a clear character differs from each digit, O and stroke

Random = np.random.Generator


class Digits(NamedTuple):
    """Digits to make non-digits of: images uint8 (N, 28, 28), labels (N,)."""

    x: np.ndarray
    y: np.ndarray

    def draw(self, rng: Random, labels: Iterable[int] = range(10)) -> np.ndarray:
        """A random one whose label is among `labels`, enlarged to a drawing."""
        i = rng.integers(len(self.y))
        while self.y[i] not in labels:
            i = rng.integers(len(self.y))
        return cv2.resize(self.x[i], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


# Characters ---------------------------------------------------------------------------------------------------


FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
font_of = functools.cache(lambda name: ImageFont.truetype(str(FONTS / f"{name}.ttf"), 72))


def typeset(font: str, text: str) -> np.ndarray:
    """Text in one of Matplotlib's fonts: a drawing, cropped; UserError where the font shows nothing."""
    left, top, right, bottom = font_of(font).getbbox(text)
    page = Image.new("L", (right - left + 8, bottom - top + 8))
    ImageDraw.Draw(page).text((4 - left, 4 - top), text, fill=255, font=font_of(font))
    return crop(np.array(page))


@functools.cache
def characters(kind: str) -> tuple[tuple[str, str], ...]:
    """(font, character) pairs of "scripts" or "symbols", without numerals and letters like O, accented or not."""
    found = []
    for font in ("DejaVuSans", "DejaVuSerif", "STIXGeneral"):
        for code in sorted(FT2Font(str(FONTS / f"{font}.ttf")).get_charmap()):
            c = chr(code)
            name, sort = unicodedata.name(c, "?").split(" ")[0], unicodedata.category(c)[0]
            wanted = sort == "L" and name in SCRIPTS if kind == "scripts" else sort in "SP" and name != "BRAILLE"
            if wanted and not any(p.isnumeric() or p in SAME + SIMILAR for p in unicodedata.normalize("NFKD", c)):
                found.append((font, c))
    return tuple(found)


@functools.cache
def is_clear(font: str, c: str) -> bool:
    """Whether a character shows something that is not shaped like a digit, an O or a stroke."""
    try:
        shape = shape_of(font, c)
    except UserError:  # it shows nothing
        return False
    known = (shape_of(font, c) for c in "0123456789OIl/SZD" for font in ("DejaVuSans", "DejaVuSerif-Italic"))
    return all(np.abs(shape - other).sum() > DIFFERENT * (shape + other).sum() for other in known)


@functools.cache
def shape_of(font: str, c: str) -> np.ndarray:
    """A character in MNIST's form, its stroke width normalised: float (28, 28)."""
    mask = 255 * (resize(typeset(font, c), SIDE) > 127).astype(np.uint8)
    thick = crop(normalise_stroke(mask, 0.12 * SIDE, 0.14 * SIDE))
    return centre_of_mass(fit_box(thick)).astype(np.float32)


def character(kind: str, rng: Random) -> np.ndarray:
    """A random clear character of a kind: a drawing."""
    known = characters(kind)
    while not is_clear(*(chosen := known[rng.integers(len(known))])):
        pass
    return typeset(*chosen)


def by_hand(drawing: np.ndarray, rng: Random) -> np.ndarray:
    """Print as a pen would draw it, three times in five: the skeleton of its strokes, in a pen's width."""
    drawing = resize(drawing, SIDE)
    if rng.random() < 0.4:
        return drawing
    middle = skeletonize(np.pad(drawing, 8) > 127).astype(np.uint8)
    width = int(rng.integers(5, 17))
    return 255 * cv2.dilate(middle, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))


def letter(rng: Random, digits: Digits) -> np.ndarray:
    """A letter A–Z or a–z; those similar to a digit are rare, those that look the same as one never occur."""
    c = "O"
    while c in SAME or (c in SIMILAR and rng.random() < 0.7):
        c = str(rng.choice(list(LETTERS)))
    return by_hand(typeset(str(rng.choice(UPRIGHT + ITALIC)), c), rng)


def printed_digit(rng: Random, digits: Digits) -> np.ndarray:
    """A digit in the same fonts as the letters, so that print alone is no evidence for or against a digit."""
    return by_hand(typeset(str(rng.choice(UPRIGHT + ITALIC[:-1])), str(rng.integers(10))), rng)


def script(rng: Random, digits: Digits) -> np.ndarray:
    """A letter of another alphabet."""
    return by_hand(character("scripts", rng), rng)


def symbol(rng: Random, digits: Digits) -> np.ndarray:
    """Punctuation, a mathematical sign, an arrow, a star, a chess piece; everyday ones more often."""
    if rng.random() < 0.25:
        return by_hand(typeset(str(rng.choice(UPRIGHT[:4])), str(rng.choice(list("+×=?!&%#@$€*<>~^÷{}[];:")))), rng)
    return by_hand(character("symbols", rng), rng)


# Strokes and shapes -------------------------------------------------------------------------------------------


def stroke(page: np.ndarray, points: np.ndarray, width: int, closed: bool = False) -> None:
    """Draws a line through points (N, 2), fractions of the page's side, in place."""
    line = np.round(points * SIDE * 8).astype(np.int32)
    cv2.polylines(page, [line], closed, 255, width, cv2.LINE_AA, shift=3)


def scribble(rng: Random, digits: Digits) -> np.ndarray:
    """One to four smooth or jagged lines of many bends."""
    page, width = np.zeros((SIDE, SIDE), np.uint8), int(rng.integers(4, 16))
    for _ in range(rng.integers(1, 5)):
        points = rng.uniform(0.1, 0.9, (rng.integers(5, 14), 2))
        stroke(page, curve(points, 12 * len(points)) if rng.random() < 0.8 else points, width)
    return page


def hatching(rng: Random, digits: Digits) -> np.ndarray:
    """Parallel or crossing strokes: tally marks, a grid, a zigzag, a barcode, a plus, a tick."""
    page, width = np.zeros((SIDE, SIDE), np.uint8), int(rng.integers(3, 14))
    kind = rng.integers(5)
    if kind == 0:  # tick or zigzag
        points = np.linspace(0.1, 0.9, int(rng.integers(3, 9)))
        zigzag = np.stack([points, 0.5 + np.resize([-1, 1], len(points)) * rng.uniform(0.1, 0.4, len(points))], axis=1)
        stroke(page, zigzag[:, :: rng.choice([-1, 1])], width)
    elif kind == 1:  # barcode
        bars = np.repeat(rng.random(SIDE // 4) < 0.5, 4)
        page[int(rng.uniform(0, 40)) : int(rng.uniform(70, SIDE))] = 255 * bars
        page = page if rng.random() < 0.5 else page.T.copy()
    else:  # two directions of parallel lines, one of them perhaps empty
        count = int(rng.integers(2, 7))
        for angle, number in ((rng.uniform(0, np.pi), count), (rng.uniform(0, np.pi), rng.integers(1, 6))):
            along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
            for at in np.linspace(-0.35, 0.35, number) if number > 1 else [rng.uniform(-0.2, 0.2)]:
                ends = 0.5 + at * across + np.outer(rng.uniform(0.3, 0.45, 2) * [-1, 1], along)
                stroke(page, ends + rng.normal(0, 0.02, (2, 2)), width)
    return page


def polygon(rng: Random) -> np.ndarray:
    """The corners of a star, a polygon, an arrow, a house or a rectangle: (N, 2) in 0..1."""
    kind = rng.integers(6)
    if kind <= 2:
        if kind == 0:  # a star
            n = 2 * int(rng.integers(4, 8))
            reach = np.resize([0.45, rng.uniform(0.15, 0.3)], n)
        else:  # a regular or an irregular polygon
            n = int(rng.integers(3, 7) if kind == 1 else rng.integers(4, 10))
            reach = np.full(n, 0.42) if kind == 1 else rng.uniform(0.15, 0.48, n)
        angle = rng.uniform(0, 2 * np.pi) + np.arange(n) * 2 * np.pi / n
        return 0.5 + reach[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    arrow = [(0.5, 0.05), (0.85, 0.45), (0.62, 0.45), (0.62, 0.95), (0.38, 0.95), (0.38, 0.45), (0.15, 0.45)]
    house = [(0.5, 0.05), (0.9, 0.45), (0.8, 0.45), (0.8, 0.95), (0.2, 0.95), (0.2, 0.45), (0.1, 0.45)]
    box = [(0.1, 0.2), (0.9, 0.2), (0.9, 0.8), (0.1, 0.8)]
    return np.array([arrow, house, box][kind - 3]) + rng.normal(0, 0.02, (1, 2))


def shape(rng: Random, digits: Digits) -> np.ndarray:
    """A figure in outline or filled, a filled disc, several figures, or a face."""
    page, width = np.zeros((SIDE, SIDE), np.uint8), int(rng.integers(4, 14))
    if rng.random() < 0.2:  # a face
        middle = SIDE // 2
        cv2.ellipse(page, (middle, middle), (46, int(rng.integers(38, 52))), 0, 0, 360, 255, width, cv2.LINE_AA)
        for x in (-18, 18):
            cv2.circle(page, (middle + x, middle - int(rng.integers(6, 20))), int(rng.integers(3, 9)), 255, -1)
        mouth = 0.5 + np.array([(-0.2, 0.15), (0, rng.uniform(0.05, 0.3)), (0.2, 0.15)])
        stroke(page, curve(mouth), max(3, width // 2))
        return page
    if rng.random() < 0.15:
        axes = tuple(int(n) for n in rng.integers(15, 54, 2))
        cv2.ellipse(page, (SIDE // 2, SIDE // 2), axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
        return page
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        points = polygon(rng)
        turn = rng.uniform(-0.4, 0.4)
        points = (points - 0.5) @ [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]] + 0.5
        if rng.random() < 0.4:
            cv2.fillPoly(page, [np.round(points * SIDE * 8).astype(np.int32)], 255, cv2.LINE_AA, shift=3)
        else:
            stroke(page, points, width, closed=True)
    return page


def silhouette(rng: Random, digits: Digits) -> np.ndarray:
    """A shaded shape with a mirror axis, such as clothes, vases, bags and trees have."""
    rows = np.linspace(0, 1, SIDE)
    knots = rng.uniform(0.08, 0.48, rng.integers(3, 8))
    half = np.interp(rows, np.linspace(0, 1, len(knots)), knots)
    if rng.random() < 0.3:  # steps, as of sleeves
        half = knots[np.minimum((rows * len(knots)).astype(int), len(knots) - 1)]
    x = np.abs(np.linspace(-0.5, 0.5, SIDE))
    inside = (x[None] < half[:, None]) & (np.abs(rows - 0.5) < rng.uniform(0.3, 0.5))[:, None]
    if rng.random() < 0.3:  # legs, a handle, a neck
        narrow = x < rng.uniform(0.02, 0.15)
        inside &= ~(narrow[None] & (np.sign(rng.normal()) * (rows - rng.uniform(0.2, 0.8)) > 0)[:, None])
    shade = 255 * (rng.uniform(0.3, 1) + rng.uniform(0, 0.5) * (clouds(rng, rng.integers(2, 12)) - 0.5))
    page = np.where(inside, shade, 0).clip(0, 255).astype(np.uint8)
    return page if rng.random() < 0.7 else np.rot90(page).copy()


# Spoilt digits --------------------------------------------------------------------------------


def turned(rng: Random, digits: Digits) -> np.ndarray:
    """A digit mirrored, on its side or upside down, where that is not a digit."""
    way = rng.integers(4)
    if way == 0:
        return digits.draw(rng, (3, 4, 6, 7, 9))[:, ::-1].copy()
    if way == 1:
        return digits.draw(rng, (3, 4, 7))[::-1, ::-1].copy()
    return np.rot90(digits.draw(rng, (2, 3, 4, 5, 6, 7, 8, 9)), 1 if way == 2 else 3).copy()


def joined(rng: Random, digits: Digits) -> np.ndarray:
    """Two digits side by side or overlapping, or halves of two that do not fit."""
    one, other = (crop(digits.draw(rng)) for _ in range(2))
    way = rng.integers(3)
    if way == 0:
        height = max(len(one), len(other))
        one, other = (np.pad(d, ((0, height - len(d)), (0, 0))) for d in (one, other))
        gap = np.zeros((height, int(rng.integers(0, 14))), np.uint8)
        return np.hstack([one, gap, other])
    page = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    for d in (one, other):
        y, x = rng.integers(0, 60, 2)
        page[y : y + len(d), x : x + d.shape[1]] = np.maximum(page[y : y + len(d), x : x + d.shape[1]], d)
    if way == 1:
        return page
    a, b = digits.draw(rng, (2, 3, 4, 5)), digits.draw(rng, (4, 5, 6, 8))
    return np.vstack([b[SIDE // 2 :], a[: SIDE // 2]])  # the lower half above the upper


def crossed_out(rng: Random, digits: Digits) -> np.ndarray:
    """A digit struck through several times."""
    page = digits.draw(rng)
    width = int(rng.integers(6, 13))
    for _ in range(rng.integers(2, 6)):
        angle, at = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.65, 2)
        reach = rng.uniform(0.25, 0.45) * np.array([np.cos(angle), np.sin(angle)])
        stroke(page, np.stack([at - reach, at + reach]), width)
    return page


# Surfaces -----------------------------------------------------------------------------------------------------


def clouds(rng: Random, grain: int) -> np.ndarray:
    """Smooth noise in 0..1, with about `grain` blobs along a side: float (SIDE, SIDE)."""
    small = rng.random((int(grain) + 1, int(grain) + 1), np.float32)
    return cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def texture(rng: Random, digits: Digits) -> np.ndarray:
    """Noise of any grain, stripes, checks, a gradient; sometimes thresholded to black and white, or to a few spots."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    kind = rng.integers(6)
    if kind == 0:
        page = rng.random((28, 28))
    elif kind == 1:
        page = np.clip(rng.normal(rng.uniform(0, 0.6), rng.uniform(0.05, 0.5), (28, 28)), 0, 1)
    elif kind == 2:
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.06, 0.6)
        page = 0.5 + 0.5 * np.sin(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + rng.uniform(0, 6))
    elif kind == 3:
        n = rng.integers(2, 10)
        page = ((x * n).astype(int) + (y * n).astype(int)) % 2 * rng.uniform(0.3, 1)
    elif kind == 4:
        page = np.clip(0.5 + rng.normal(0, 0.7) * (x - 0.5) + rng.normal(0, 0.7) * (y - 0.5), 0, 1)
    else:
        page = clouds(rng, rng.integers(3, 15))
    if rng.random() < 0.4:
        page = page > np.quantile(page, rng.uniform(0.4, 0.97))
    return (255 * np.asarray(page, float)).astype(np.uint8)


@functools.cache
def photographs() -> tuple[np.ndarray, ...]:
    """The pictures that come with scikit-image and scikit-learn, grey, at most 400 pixels: landscapes, things, faces."""
    folders = Path(skimage.data.__file__).parent, Path(sklearn.datasets.__file__).parent / "images"
    # Without drawings and pages of text, which may show digits.
    drawn = {"page.png", "text.png", "clock_motion.png", "color.png", "chessboard_GRAY.png", "chessboard_RGB.png"}
    files = sorted(f for folder in folders for f in folder.glob("*.*") if f.suffix in (".png", ".jpg"))
    pictures = [to_grayscale(read_image(f)) for f in files if f.name not in drawn]
    pictures += list(np.round(255 * np.load(folders[0] / "lfw_subset.npy")[:100]).astype(np.uint8))
    return tuple(resize(p, 400) if max(p.shape) > 400 else p for p in pictures)


def photograph(rng: Random, digits: Digits) -> np.ndarray:
    """A crop of one of them, sometimes mirrored or inverted; a whole face one time in five."""
    large, faces = ([p for p in photographs() if (min(p.shape) > 100) == big] for big in (True, False))
    if rng.random() < 0.2:
        picture = faces[rng.integers(len(faces))]
    else:
        picture = large[rng.integers(len(large))]
        size = int(min(picture.shape) * rng.uniform(0.12, 1))
        top, left = (int(rng.integers(n - size + 1)) for n in picture.shape)
        picture = picture[top : top + size, left : left + size]
    picture = picture[:, :: rng.choice([-1, 1])]
    picture = 255 - picture if rng.random() < 0.4 else picture
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def blank(rng: Random, digits: Digits) -> np.ndarray:
    """Nothing, or next to nothing: an even grey, faint noise, a few specks, an edge."""
    page = np.full((SIDE, SIDE), rng.choice([0, 0, rng.integers(256)]), np.uint8)
    for _ in range(rng.integers(0, 4)):
        y, x = rng.integers(0, SIDE - 8, 2)
        page[y : y + rng.integers(2, 8), x : x + rng.integers(2, 8)] = rng.integers(256)
    noisy = page + rng.normal(0, rng.choice([0, rng.uniform(0, 12)]), page.shape)
    if rng.random() < 0.2:
        noisy[: rng.integers(SIDE)] = rng.integers(256)
    return noisy.clip(0, 255).astype(np.uint8)


# name -> (what draws one, whether it fills its picture, so that it is shrunk whole instead of cropped and centred)
FAMILIES: dict[str, tuple[Callable[[Random, Digits], np.ndarray], bool]] = {
    "letters": (letter, False), "scripts": (script, False), "symbols": (symbol, False), "scribbles": (scribble, False),
    "hatching": (hatching, False), "shapes": (shape, False), "turned digits": (turned, False),
    "joined digits": (joined, False), "crossed-out digits": (crossed_out, False), "silhouettes": (silhouette, True),
    "textures": (texture, True), "photographs": (photograph, True), "blanks": (blank, True),
}  # fmt: skip


# Images ---------------------------------------------------------------------------------------------------------


def to_image(drawing: np.ndarray, whole: bool, rng: Random, digits: Digits) -> np.ndarray:
    """A drawing as in a data set, uint8 (28, 28): centred in MNIST's box, or in one a little smaller or larger.

    If `whole`, it is shrunk as it is, every other time with the intensities of a digit.
    """
    if not whole:
        box = BOX if rng.random() < 0.6 else int(rng.integers(14, FIELD))
        return centre_of_mass(fit_box(crop(drawing), box))
    image = cv2.resize(drawing, (FIELD, FIELD), interpolation=cv2.INTER_AREA)
    return match_intensities(image, digits.x[rng.integers(len(digits.x))], rng) if rng.random() < 0.5 else image


def match_intensities(image: np.ndarray, digit: np.ndarray, rng: Random) -> np.ndarray:
    """The image with the histogram of a digit: its darkest pixel gets the value of the digit's darkest, and so on."""
    order = np.argsort(image.ravel() + rng.random(image.size), kind="stable")
    matched = np.empty(image.size, np.uint8)
    matched[order] = np.sort(digit.ravel())
    return matched.reshape(image.shape)


def negatives(family: str, count: int, digits: Digits, rng: Random) -> np.ndarray:
    """`count` images of a family: uint8 (N, 28, 28)."""
    draw, whole = FAMILIES[family]
    return np.stack([to_image(draw(rng, digits), whole, rng, digits) for _ in range(count)])
