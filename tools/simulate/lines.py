"""SIMULATED photographs of lines and pages of handwritten digits, with the text of each.

Nobody photographed these. Images of MNIST's TEST part (of its training part where weights are fitted) are traced and
set in rows as people set them: postcodes, dates, amounts, telephone numbers, forms, pages. Figures on simulated
pictures say which condition hurts, not how well real photographs are read. Used by benchmarks/lines.py.
"""

import functools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from helpers import data
from helpers.images.strokes import crop
from tools.simulate.scene import TABLES, clouds, compress, put, sometimes, trace


@dataclass(frozen=True)
class Look:
    """What a picture shows. Colours are RGB, 0..255; lengths are fractions of a digit's height unless stated otherwise."""

    says: str = "digits"  # the kind of text, see `_text`
    part: str = "test"  # of MNIST, from which the digits come
    label: bool = False  # a printed word before each row, as on forms
    tight: bool = False  # cropped to the ink
    rows: int = 1  # at most
    digit: float = 64  # a digit's height in pixels
    vary: float = 0.1  # how much heights differ
    gap: float = 0.22  # between digits
    touch: float = 0.0  # share of neighbours that touch or overlap
    slope: float = 0.01  # how much a row climbs
    wave: float = 0.05  # how far digits stray from their row
    lean: float = 0.05  # how much all digits slant
    pen: float = 0.09  # stroke width
    ink: tuple[float, ...] = (35, 35, 60)
    paper: tuple[float, ...] = (238, 238, 233)
    paper_kind: str = ""  # lines, squares, boxes, combs, box, underline or ""
    square: float = 0.45  # side of a printed square
    rule: tuple[float, ...] = (150, 175, 215)  # colour of what is printed
    grain: float = 0.05  # share of the ink that the paper's texture takes away
    texture: float = 2.0  # in grey levels, as is noise
    gradient: float = 0.1  # light lost to one side, 0..1
    shadow: float = 0.0  # light lost in a shadow, 0..1
    perspective: float = 0.0  # movement of the corners, as a share of the picture
    table: bool = False  # whether what the paper lies on is seen
    margin: float = 0.6
    blur: float = 0.8  # in pixels
    noise: float = 3.0
    quality: int = 88  # of JPEG


CONDITIONS = {
    "postcode": Look("postcode"),
    "telephone": Look("telephone"),
    "amount": Look("amount"),
    "date": Look("date"),
    "letters": Look("letters"),
    "touching": Look(touch=0.2),
    "tight": Look(gap=0.06, touch=0.1, lean=0.12),
    "wide gaps": Look(gap=0.9, wave=0.1),
    "slanted": Look(slope=0.12, lean=0.2),
    "thin pen": Look(pen=0.035, ink=(30, 40, 90)),
    "pencil": Look(pen=0.05, ink=(125, 125, 128), grain=0.5, noise=4.0),
    "marker": Look(pen=0.19, ink=(20, 20, 25), gap=0.3),
    "coloured ink": Look(ink=(225, 75, 60), paper=(246, 240, 214)),
    "light on dark": Look(ink=(232, 232, 225), paper=(44, 66, 54), grain=0.3, texture=4.0, gradient=0.25),
    "ruled": Look(rows=3, paper_kind="lines", pen=0.07, ink=(25, 45, 130)),
    "squared": Look(paper_kind="squares", pen=0.08),
    "dark rules": Look(paper_kind="lines", rule=(70, 75, 95), pen=0.09, slope=0.02),
    "underlined": Look(paper_kind="underline", rule=(35, 35, 60)),
    "boxes": Look(paper_kind="boxes", gap=0.6, vary=0.06, rule=(120, 120, 130)),
    "combs": Look(paper_kind="combs", gap=0.6, vary=0.06, rule=(60, 60, 70)),
    "long box": Look(paper_kind="box", rule=(50, 50, 60)),
    "form": Look("any", rows=3, paper_kind="box", label=True, rule=(60, 60, 70), ink=(30, 40, 130), pen=0.07),
    "labels": Look("any", rows=2, label=True),
    "cropped": Look(tight=True),
    "cropped photo": Look(tight=True, rows=2, gradient=0.4, noise=8.0, paper=(200, 195, 180), quality=50),
    "big squares": Look(paper_kind="squares", rule=(110, 140, 190), pen=0.06, square=0.8, rows=2),
    "chalkboard": Look(
        "any", rows=3, ink=(225, 225, 215), paper=(40, 60, 50), grain=0.5, texture=10, pen=0.12, gradient=0.4, noise=8
    ),
    "wavy": Look(wave=0.16, vary=0.3, lean=0.15, slope=0.05),
    "shadow": Look(shadow=0.5),
    "noisy": Look(noise=20.0, texture=6.0),
    "compressed": Look(quality=10, digit=44),
    "blurred": Look(blur=3.5),
    "small": Look(digit=22, blur=0.5, rows=2),
    "large": Look(digit=420, rows=2, blur=1.5),
    "rows": Look(rows=5, vary=0.2),
    "sizes": Look(rows=4, vary=0.45, slope=0.04),
    "page": Look("page", rows=10, digit=70, vary=0.12, touch=0.1, gap=0.25),
    "page photo": Look(
        "page", rows=10, digit=70, touch=0.08, shadow=0.35, perspective=0.05, table=True, margin=1.5, paper_kind="lines"
    ),
    "photo": Look("any", rows=3, shadow=0.35, perspective=0.06, table=True, margin=2.0, touch=0.08, noise=5.0),
    "mixed": Look(),  # every picture has a look of its own, see `_mixed`
}
PAGES = ("page", "page photo")  # a hundred digits each, so fewer of them tell as much


def simulate(condition: str, rng: np.random.Generator, part: str = "test") -> tuple[np.ndarray, str]:
    """A simulated photograph, uint8 RGB (H, W, 3), and the digits in it, with a space between rows.

    `condition` is a key of CONDITIONS, `part` "test" or "train"; all randomness comes from `rng`.
    """
    look = _mixed(rng) if condition == "mixed" else CONDITIONS[condition]
    look = replace(look, lean=rng.normal(-0.1, look.lean), digit=look.digit * rng.uniform(0.85, 1.2), part=part)
    count = look.rows if look.rows < 3 else rng.integers(look.rows // 2, look.rows) + 1
    rows = [_text(look.says, rng) for _ in range(count)]
    lines = [_row(text, look, rng) for text in rows]
    ink, printed = _set(lines, look, rng)
    if look.tight:
        left, top, wide, high = cv2.boundingRect((ink > 0.4).astype(np.uint8))
        edge = round(0.08 * look.digit)
        box = np.s_[max(0, top - edge) : top + high + edge, max(0, left - edge) : left + wide + edge]
        ink, printed = ink[box], printed[box]
    picture = _photograph(ink, printed, look, rng)
    return picture, " ".join(re.sub(r"\D", "", text) for text in rows)


def _mixed(rng: np.random.Generator) -> Look:
    """A random look: each difficulty occurs in some pictures, in any combination."""
    paper = np.array(sometimes(rng, 0.5, (240, 240, 236), rng.uniform(150, 250, 3)))
    ink = paper * rng.uniform(0.05, 0.55) + rng.uniform(-25, 25, 3)
    rule = paper * rng.uniform(0.3, 0.9)
    if rng.random() < 0.2:
        ink, paper, rule = paper, ink, 0.7 * ink + 0.3 * paper
    kind = sometimes(rng, 0.5, str(rng.choice(["lines", "squares", "boxes", "combs", "box", "underline"])), "")
    return Look(
        says="any", rows=int(rng.choice([1, 1, 2, 4, 7])), digit=float(np.exp(rng.uniform(np.log(28), np.log(150)))),
        vary=rng.uniform(0.05, 0.3), gap=0.6 if kind in ("boxes", "combs") else rng.uniform(0.1, 0.5),
        touch=sometimes(rng, 0.4, 0.15, 0.0), slope=sometimes(rng, 0.4, 0.08, 0.01), wave=rng.uniform(0.02, 0.12), lean=0.12,
        pen=float(np.exp(rng.uniform(np.log(0.04), np.log(0.16)))), ink=tuple(ink.clip(5, 250)),
        paper=tuple(paper.clip(5, 250)), rule=tuple(rule.clip(5, 250)), paper_kind=kind,
        grain=sometimes(rng, 0.3, 0.4, 0.05), texture=rng.uniform(0, 6), gradient=rng.uniform(0, 0.5),
        shadow=sometimes(rng, 0.3, rng.uniform(0.2, 0.6), 0.0), perspective=sometimes(rng, 0.4, 0.06, 0.0),
        table=bool(rng.random() < 0.3), margin=rng.uniform(0.1, 2), label=bool(rng.random() < 0.2),
        blur=rng.uniform(0.3, 1.5), noise=rng.uniform(0, 10), quality=int(rng.integers(20, 95)),
    )  # fmt: skip


def pictures(condition: str, count: int, seed: int, part: str = "test") -> Iterator[tuple[np.ndarray, str]]:
    """`count` of what `simulate` returns, a fifth as many pages; each has a seed of its own, whatever else is made."""
    for number in range(max(1, count // 5) if condition in PAGES else count):
        yield simulate(condition, np.random.default_rng([seed, zlib.crc32(condition.encode()), number]), part)


# What is written ----------------------------------------------------------------------------------------------

# A number stands for so many random digits, a `_` for two to four letters that do not resemble digits.
FORMS = {
    "postcode": ("5",),
    "telephone": ("(3) 3-4", "+2 3 6", "4/6", "3-4", "2 2 2 2"),
    "amount": ("€ 3,2", "$2.2", "£1,3.2", "2'3.2", "4,2 €", "3.-"),
    "letters": ("_ 4", "3 _", "_-5"),
}
ANY = ("digits", "postcode", "telephone", "amount", "date")


def _text(says: str, rng: np.random.Generator) -> str:
    """A row's text: digits, and the signs . , - / : ( ) + ' and space, $ € £, or letters that resemble no digit."""

    def fill(form: str) -> str:
        return re.sub(r"\d+", lambda count: "".join(str(n) for n in rng.integers(0, 10, int(count[0]))), form)

    if says == "any":
        says = str(rng.choice(ANY))
    if says == "digits":
        return fill(str(rng.integers(4, 10)))
    if says == "page":
        return fill(str(rng.integers(9, 13)))
    if says == "date":
        sign = str(rng.choice(list("./-")))
        return sign.join((fill("2"), fill("2"), fill(str(rng.choice([2, 4])))))
    word = "".join(rng.choice(list("AEFHKMNRTWXhkmnpw"), int(rng.integers(2, 5)))) if says == "letters" else ""
    return str(rng.choice([fill(form).replace("_", word) for form in FORMS[says]]))


SIGNS = {  # polylines; x from 0, y from 0 (base line) to 1 (a digit's height)
    ".": [[(0, 0.02), (0.02, 0)]],
    ",": [[(0.06, 0.06), (0.06, -0.04), (0, -0.16)]],
    "'": [[(0.05, 1.05), (0, 0.85)]],
    "-": [[(0, 0.45), (0.35, 0.47)]],
    ":": [[(0, 0.15), (0.02, 0.13)], [(0, 0.6), (0.02, 0.58)]],
    "/": [[(0, -0.15), (0.5, 1.15)]],
    "+": [[(0, 0.45), (0.5, 0.45)], [(0.25, 0.2), (0.25, 0.72)]],
    "(": [[(0.2, 1.15), (0.06, 0.9), (0, 0.5), (0.06, 0.1), (0.2, -0.15)]],
    ")": [[(0, 1.15), (0.14, 0.9), (0.2, 0.5), (0.14, 0.1), (0, -0.15)]],
    "$": [[(0.5, 0.8), (0.25, 0.9), (0.03, 0.72), (0.25, 0.5), (0.5, 0.3), (0.27, 0.1), (0, 0.2)], [(0.25, 1.08), (0.25, -0.1)]],
    "€": [[(0.6, 0.9), (0.4, 1.0), (0.18, 0.8), (0.12, 0.5), (0.18, 0.2), (0.4, 0), (0.6, 0.1)], [(0, 0.6), (0.45, 0.6)], [(0, 0.42), (0.42, 0.42)]],
    "£": [[(0.5, 0.85), (0.38, 1), (0.22, 0.85), (0.25, 0.4), (0.2, 0.1), (0.05, 0.02), (0.55, 0.02)], [(0.05, 0.5), (0.4, 0.5)]],
}  # fmt: skip


def _sign(character: str, height: float, pen: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A sign or letter as ink, float (H, W) in 0..1, and how far its lower edge lies above the base line, in pixels."""
    thick = max(1, round(pen * height))
    big = 8 * thick + round(1.6 * height)
    canvas = np.zeros((big, big), np.float32)
    base = big - 4 * thick - round(0.25 * height)
    if character in SIGNS:
        for line in SIGNS[character]:
            points = np.array(line, np.float32) * (height, -height) + (4 * thick, base)
            points += rng.normal(0, 0.02 * height, points.shape) * (len(line) > 2)
            cv2.polylines(canvas, [np.round(points * 16).astype(np.int32)], False, 1, thick, cv2.LINE_AA, 4)
    else:
        scale = height / 22 * (1 if character.isupper() else 0.9)
        letter = np.zeros((big, big), np.uint8)
        font = rng.choice((cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX))
        cv2.putText(letter, character, (4 * thick, base), int(font), scale, 255, thick, cv2.LINE_AA)
        canvas = letter.astype(np.float32) / 255
    left, top, wide, high = cv2.boundingRect((canvas > 0.4).astype(np.uint8))
    return canvas[top : top + high, left : left + wide], base - (top + high)


WORDS = ("Tel.", "Date", "Name", "Amount", "Paid", "Mark", "Phone", "Year", "Ref.")


def _print_word(word: str, height: float) -> np.ndarray:
    """A printed word as ink, float (H, W) in 0..1, its capitals `height` pixels high."""
    thick, canvas = max(1, round(0.09 * height)), np.zeros((round(2 * height) + 4, round(6 * height) + 8), np.uint8)
    at = 4, round(1.4 * height)
    cv2.putText(canvas, word, at, cv2.FONT_HERSHEY_DUPLEX, height / 22, 255, thick, cv2.LINE_AA)
    return crop(canvas).astype(np.float32) / 255


def _row(text: str, look: Look, rng: np.random.Generator) -> np.ndarray:
    """A written row as ink: float (H, W) in 0..1, cropped to its ink with a margin of half a digit's height."""
    height = look.digit * rng.uniform(1 - look.vary, 1 + look.vary)
    pen = look.pen * look.digit / height
    high = round(2.2 * height)
    canvas = np.zeros((high, round(height * (6 + 1.6 * len(text)))), np.float32)
    x, before, pitch = height * 0.5, " ", look.paper_kind in ("boxes", "combs")
    if look.label:
        word = _print_word(str(rng.choice(WORDS)), height * rng.uniform(0.4, 0.7))
        put(canvas, word, round(x), round(1.6 * height) - word.shape[0])
        x += word.shape[1] + height * rng.uniform(0.4, 0.9)
    for character in text:
        if character == " " and not pitch:
            x += rng.uniform(0.4, 0.8) * height
            before = " "
            continue
        if character.isdigit():
            glyph = _digit(character, height * rng.uniform(1 - look.vary / 2, 1 + look.vary / 2), pen, look, rng)
            above = height * rng.normal(0, look.wave)
        else:
            glyph, above = _sign(character, height, pen, rng)
        top = int(np.clip(1.6 * height - above - glyph.shape[0], 0, high - glyph.shape[0]))
        start = round(x)
        if pitch:
            start = round(x + (1.15 * height - glyph.shape[1]) / 2 + rng.normal(0, 0.06) * height)
            x += 1.15 * height
        elif before.isdigit() and character.isdigit():
            space = look.gap * height * rng.uniform(0.4, 1.6)
            start = _push(canvas, glyph, top, height, rng.random() < look.touch, space, rng)
        elif before != " ":
            start += round(rng.uniform(0.12, 0.3) * height)
        start = max(0, min(start, canvas.shape[1] - glyph.shape[1]))
        put(canvas, glyph, start, top)
        x, before = x if pitch else start + glyph.shape[1], character
    return canvas[:, : round(x + height * 0.5)]


def _push(canvas, glyph, top, height, touching, space, rng) -> int:
    """The column at which a digit starts so that its ink keeps `space` pixels from the ink there, or just touches it."""
    there, new = canvas[top : top + glyph.shape[0]] > 0.4, glyph > 0.4
    right = np.where(there.any(1), there.shape[1] - 1 - there[:, ::-1].argmax(1), -(10**6))
    left = np.where(new.any(1), new.argmax(1), 10**6)
    fits = int((right - left).max()) + 1  # the ink just meets
    if touching:
        return max(fits - round(rng.uniform(0.01, 0.08) * height), 0)
    edge = int(np.flatnonzero((canvas > 0.4).any(0)).max()) + 1
    return round(max(fits + 2 + 0.5 * space, edge - 0.15 * height + space * 0.5))


def _digit(character: str, height: float, pen: float, look: Look, rng: np.random.Generator) -> np.ndarray:
    """A digit of MNIST as ink, float (H, W) in 0..1, cropped to its box."""
    stroke = trace(rng.choice(_digits(look.part)[int(character)]), pen)
    stroke = np.pad(stroke, ((0, 0), (120, 120)))
    # One writer slants all digits alike: most of the slant of each digit's own writer is removed.
    moments = cv2.moments(stroke)
    lean = look.lean - 0.7 * np.clip(moments["mu11"] / moments["mu02"], -0.7, 0.7)
    shear = np.float32([[1, lean, -lean * stroke.shape[0] / 2], [0, 1, 0]])
    stroke = cv2.warpAffine(stroke, shear, stroke.shape[::-1])
    left, top, wide, high = cv2.boundingRect((stroke > 0.5).astype(np.uint8))
    stroke = stroke[top : top + high, left : left + wide]
    # People write a wide digit lower, but not as low as MNIST's scaling by the longest side would make it.
    scale = height / max(high, 0.8 * wide)
    size = max(1, round(wide * scale)), max(1, round(high * scale))
    return cv2.resize(stroke, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


@functools.cache
def _digits(part: str) -> tuple[np.ndarray, ...]:
    """The images of each class in a part of MNIST, without known label errors: ten of uint8 (N, 28, 28)."""
    mnist = data.load()
    x, y = mnist.x_train, mnist.y_train
    if part == "test":
        x, y = (np.delete(its, data.KNOWN_LABEL_ERRORS, axis=0) for its in (mnist.x_test, mnist.y_test))
    return tuple(x[y == digit] for digit in range(10))


# The page and the camera --------------------------------------------------------------------------------------


def _set(lines: list[np.ndarray], look: Look, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows set on a page: the ink and the printed lines, each float (H, W) in 0..1."""
    edge = round(look.margin * look.digit)
    steep = [rng.normal(0, look.slope) for _ in lines]
    common = rng.normal(0, look.slope)
    width = max(line.shape[1] for line in lines) + 2 * edge
    fall = max(round((abs(common) + 0.03) * width), 4)
    height = sum(line.shape[0] for line in lines) + 2 * edge + 2 * fall
    ink, printed = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    top = edge + fall
    thin = max(1, round(look.digit / 40))
    for line, own in zip(lines, steep, strict=True):
        slope = common + (own if len(lines) == 1 else 0.2 * own)
        left = edge + int(rng.uniform(0, width - 2 * edge - line.shape[1] + 1) * (rng.random() < 0.5))
        turn = np.float32([[1, 0, left], [slope, 1, top]])
        turned = cv2.warpAffine(line, turn, (width, height))
        np.maximum(ink, turned, out=ink)
        unit = line.shape[0] / 2.2
        _print(printed, look, (left, top + slope * left, line.shape[1], unit), slope, thin)
        top += round(line.shape[0] * rng.uniform(0.72, 0.95))
    if look.paper_kind in ("lines", "squares"):
        step = look.digit * (1.6 if look.paper_kind == "lines" else look.square)
        for at in np.arange(rng.uniform(0, step), height, step):
            cv2.line(printed, (0, round(at)), (width, round(at + 0.3 * common * width)), 1, thin, cv2.LINE_AA)
        for at in np.arange(rng.uniform(0, step), width, step) if look.paper_kind == "squares" else ():
            cv2.line(printed, (round(at), 0), (round(at - 0.3 * common * height), height), 1, thin, cv2.LINE_AA)
    used = top + edge + fall + round(0.6 * look.digit)
    return ink[:used], printed[:used]


def _print(printed: np.ndarray, look: Look, place: tuple, slope: float, thin: int) -> None:
    """Draws the form into which one row is written, in place: boxes, combs, a long box or an underline."""
    left, top, wide, unit = place

    def line(x1, y1, x2, y2):
        points = [(round(x), round(top + y + slope * (x - left))) for x, y in ((x1, y1), (x2, y2))]
        cv2.line(printed, *points, 1, thin, cv2.LINE_AA)

    start, end = left + 0.5 * unit, left + wide - 0.5 * unit
    if look.paper_kind in ("boxes", "combs"):
        up = 0.32 if look.paper_kind == "boxes" else 1.3
        for x in np.arange(start, end + 2, 1.15 * unit):
            line(x, up * unit, x, 1.84 * unit)
        line(start, 1.84 * unit, end, 1.84 * unit)
        if look.paper_kind == "boxes":
            line(start, up * unit, end, up * unit)
    elif look.paper_kind == "box":
        x1, x2, y1, y2 = start - 0.4 * unit, end + 0.4 * unit, 0.22 * unit, 1.95 * unit
        for points in ((x1, y1, x2, y1), (x1, y2, x2, y2), (x1, y1, x1, y2), (x2, y1, x2, y2)):
            line(*points)
    elif look.paper_kind == "underline":
        line(start, 1.7 * unit, end, 1.7 * unit)


def _photograph(ink: np.ndarray, printed: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Ink on paper under uneven light, seen by a camera: uint8 RGB."""
    height, width = ink.shape
    side = max(height, width)

    def spots(grain):
        return clouds(side, grain, rng)[:height, :width, None]

    page = np.full((height, width, 3), look.paper, np.float32) + look.texture * (2 * spots(3) - 1)
    page += 0.85 * printed[..., None] * (np.array(look.rule, np.float32) - page)
    shown = ink[..., None] * (1 - look.grain * spots(2))
    page += shown * (np.array(look.ink, np.float32) + rng.uniform(-10, 10) - page)
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    light = 1 - look.gradient * (0.5 + 0.5 * (x * np.cos(a := rng.uniform(0, 7)) + y * np.sin(a)) / 1.42)
    if look.shadow:
        beyond = x * np.cos(a := rng.uniform(0, 7)) + y * np.sin(a) - rng.uniform(-0.3, 0.3)
        soft = np.exp(rng.uniform(np.log(0.004), np.log(0.1)))
        light *= 1 - look.shadow / (1 + np.exp(-np.clip(beyond / soft, -60, 60)))
    table = np.array(TABLES[rng.integers(4)], np.float32)
    if look.perspective or look.table:
        corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
        moved = corners + rng.uniform(-1, 1, (4, 2)).astype(np.float32) * look.perspective * min(side, 2 * height)
        edge = 0.25 * look.digit if look.table else 0
        moved = (moved - moved.min(0)) + edge
        size = tuple(int(n) for n in np.ceil(moved.max(0) + edge))
        view = cv2.getPerspectiveTransform(corners, moved)
        border = table if look.table else np.array(look.paper)
        kind = cv2.BORDER_CONSTANT if look.table else cv2.BORDER_REPLICATE
        page = cv2.warpPerspective(page, view, size, borderMode=kind, borderValue=border.tolist())
        light = cv2.resize(light, size)
    page *= light[..., None]
    page = cv2.GaussianBlur(page, (0, 0), max(0.01, look.blur))
    page += rng.normal(0, look.noise, page.shape).astype(np.float32)
    page = np.clip(page, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(compress(page, look.quality))
