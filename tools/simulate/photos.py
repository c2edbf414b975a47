"""SIMULATED photographs of single handwritten digits, with the label of each.

Nobody photographed these. Each picture starts from an image of MNIST, traced at a high resolution and then put through
a simple camera: paper, ink, light, shadow, noise, compression. Figures on simulated pictures say which condition hurts,
not how well real photographs are read. Shown in notebooks/02_preprocessing.ipynb.
"""

import io
from dataclasses import dataclass

import cv2
import numpy as np
import PIL.Image

from tools.simulate.scene import TABLES, clouds, compress, sometimes, trace


@dataclass(frozen=True)
class Look:
    """What a picture shows. Colours are RGB, 0..255; lengths are fractions of `side`, unless stated otherwise."""

    ink: tuple[int, int, int] = (35, 35, 55)
    paper: tuple[int, int, int] = (238, 238, 234)
    side: int = 320  # in pixels
    size: float = 0.55  # of the digit
    offset: float = 0.05  # of the digit from the middle
    tilt: float = 3.0  # in degrees, at most
    perspective: float = 0.02  # movement of the digit's corners, as a share of its size
    pen: float = 0.0  # stroke width as a fraction of the digit's height; 0 keeps the writer's own
    grain: float = 0.05  # share of the ink that the paper's texture takes away
    texture: float = 2.0  # in grey levels, as is noise
    gradient: float = 0.08  # light lost to one side, 0..1
    shadow: float = 0.0  # light lost in a shadow, 0..1
    shadow_edge: float = 0.03  # its softness
    vignette: float = 0.0  # light lost in the corners, 0..1
    rules: str = ""  # lines, squares or ""
    rule: tuple[int, int, int] = (150, 180, 222)  # their colour
    skew: float = 0.0  # their slope, at most
    margin: bool = False  # a red line and holes at the left
    frame: float = 0.0  # side of a square drawn round the digit
    table: float = 0.0  # width of the strip that is not paper
    tight: bool = False  # cropped to the digit's box
    gaps: int = 0  # interruptions of the stroke
    specks: float = 0.0  # share of pixels that are dust
    aliased: bool = False  # edges without grey levels
    motion: float = 0.0  # in pixels, as is blur
    blur: float = 0.8
    noise: float = 2.0
    quality: int = 90  # of JPEG; 0: no losses
    kind: str = "jpg"  # of file, see `encode`


CLEAN = {"grain": 0, "texture": 0, "gradient": 0, "blur": 0.01, "noise": 0, "quality": 0}  # drawn on a computer
CONDITIONS = {
    "pen": Look(pen=0.08),
    "thin pen": Look(pen=0.035, ink=(30, 40, 90)),
    "pencil": Look(pen=0.05, ink=(120, 120, 122), grain=0.5, noise=3.0),
    "marker": Look(pen=0.2, ink=(20, 20, 25), size=0.65),
    "coloured ink": Look(pen=0.09, ink=(225, 75, 60), paper=(246, 240, 214)),
    "gradient": Look(gradient=0.55),
    "shadow": Look(shadow=0.45, pen=0.08),
    "ruled": Look(rules="lines", pen=0.07, ink=(25, 45, 130)),
    "squared": Look(rules="squares", pen=0.08),
    "chalkboard": Look(ink=(232, 232, 225), paper=(44, 66, 54), pen=0.09, grain=0.3, texture=4.0, gradient=0.2),
    "off-centre": Look(size=0.24, offset=0.3),
    "noisy": Look(noise=24.0, texture=6.0),
    "small": Look(side=64, size=0.6, blur=0.4, kind="png"),  # kept exact: its JPEG losses are in it already
    "compressed": Look(quality=8, side=240),
    "tilted": Look(tilt=9.0, perspective=0.09, pen=0.1),
    "blurred": Look(blur=5.0, pen=0.1),
    "one pixel": Look((0, 0, 0), (255,) * 3, 500, pen=0.008, aliased=True, **CLEAN, kind="png"),
    "brush": Look(pen=0.24, size=0.7, grain=0.2),
    "hard shadow": Look(shadow=0.6, shadow_edge=0.002, pen=0.07),
    "dark squares": Look(rules="squares", rule=(70, 80, 110), skew=0.05, pen=0.09, size=0.6),
    "margin": Look(rules="lines", skew=0.05, margin=True, pen=0.06, size=0.4, ink=(30, 35, 60)),
    "frame": Look(frame=0.8, pen=0.07, size=0.5),
    "table": Look(table=0.16, pen=0.08, size=0.45, offset=0.0),
    "corner": Look(side=1000, size=0.06, offset=0.42, pen=0.1),
    "touching": Look(tight=True, pen=0.1, size=0.7),
    "broken": Look(gaps=5, pen=0.05),
    "specks": Look(specks=0.004, pen=0.06),
    "vignette": Look(vignette=0.7, pen=0.08),
    "transparent": Look((20, 20, 20), (0, 0, 0), 200, pen=0.06, **CLEAN, kind="rgba"),
    "coloured paper": Look(ink=(40, 70, 160), paper=(240, 200, 110), pen=0.08),
    "tiny": Look(side=16, size=0.95, offset=0.0, tilt=0, perspective=0, **{**CLEAN, "blur": 0.3}, kind="png"),
    "rotated": Look(side=400, pen=0.08, motion=7.0, kind="exif"),
    "mixed": Look(),  # every picture has a look of its own, see `_mixed`
}


def simulate(digit: np.ndarray, condition: str, rng: np.random.Generator) -> np.ndarray:
    """A simulated photograph of one digit: uint8 RGB of shape (side, side, 3), JPEG losses included.

    `digit` is uint8 (28, 28) as in MNIST, `condition` a key of CONDITIONS; all randomness comes from `rng`. A "touching"
    picture is smaller, a "transparent" one is RGBA.
    """
    look = _mixed(rng) if condition == "mixed" else CONDITIONS[condition]
    ink = _place(trace(digit, look.pen), look, rng)
    box = cv2.boundingRect((ink > 0.5).astype(np.uint8))
    ink = _spoil(ink, look, rng)
    if look.kind == "rgba":
        colour = rng.choice([look.ink, (250, 250, 250), (200, 40, 50)])
        return np.dstack([np.full((*ink.shape, 3), colour), np.round(255 * ink)]).astype(np.uint8)
    ink *= 1 - look.grain * clouds(look.side, 2, rng)
    colour = np.array(look.ink) + rng.uniform(-12, 12)
    picture = _paper(look, rng)
    picture += ink[..., None] * (colour - picture)
    if look.table:
        picture = _lay_on_table(picture, look, rng)
    picture *= _light(look, rng)[..., None]
    picture = _camera(picture, look, rng)
    if look.tight:
        left, top, width, height = box
        picture = np.ascontiguousarray(picture[top : top + height, left : left + width])
    return compress(picture, look.quality) if look.quality else picture


def encode(picture: np.ndarray, condition: str) -> tuple[str, bytes]:
    """The picture as a file: its suffix and its bytes. A "rotated" one is stored on its side, with the EXIF tag that says so."""
    kind = CONDITIONS[condition].kind
    if kind == "exif":
        exif = PIL.Image.Exif()
        exif[0x0112] = 6  # the orientation tag; 6: turn clockwise to see it upright
        file = io.BytesIO()
        PIL.Image.fromarray(np.rot90(picture)).save(file, "JPEG", quality=92, exif=exif)
        return ".jpg", file.getvalue()
    suffix, options = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 92]) if kind == "jpg" else (".png", [])
    order = cv2.COLOR_RGBA2BGRA if kind == "rgba" else cv2.COLOR_RGB2BGR
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(picture, order), options)
    return suffix, encoded.tobytes()


def _mixed(rng: np.random.Generator) -> Look:
    """A random look: each difficulty occurs in some pictures, in any combination."""
    paper = np.array(sometimes(rng, 0.5, (240, 240, 236), rng.uniform(150, 250, 3)))
    ink = paper * rng.uniform(0.05, 0.6) + rng.uniform(-25, 25, 3)
    if rng.random() < 0.25:
        ink, paper = paper, ink
    size = rng.uniform(0.2, 0.8)
    return Look(
        ink=tuple(ink.clip(5, 250)), paper=tuple(paper.clip(5, 250)), side=int(rng.choice([100, 200, 320, 640])), size=size,
        offset=rng.uniform(0, 0.4), tilt=7.0, perspective=0.05, pen=float(np.exp(rng.uniform(np.log(0.03), np.log(0.2)))),
        grain=sometimes(rng, 0.3, 0.4, 0.05), texture=rng.uniform(0, 6), gradient=rng.uniform(0, 0.5),
        shadow=sometimes(rng, 0.3, rng.uniform(0.2, 0.6), 0.0),
        shadow_edge=float(np.exp(rng.uniform(np.log(0.002), np.log(0.1)))), vignette=sometimes(rng, 0.2, 0.6, 0.0),
        rules=sometimes(rng, 0.3, str(rng.choice(["lines", "squares"])), ""), rule=tuple(paper * 0.35 + ink * 0.35 + 40),
        skew=0.06, gaps=sometimes(rng, 0.2, 2, 0), specks=sometimes(rng, 0.2, 0.001, 0.0),
        table=sometimes(rng, 0.2, 0.1, 0.0) if size < 0.6 else 0.0, motion=sometimes(rng, 0.1, 4.0, 0.0),
        blur=rng.uniform(0.3, 1.5), noise=rng.uniform(0, 10), quality=int(rng.integers(15, 95)),
    )  # fmt: skip


def _place(stroke: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """The traced digit on the page: scaled, moved, turned and seen slightly from the side. Float 0..1."""
    rows, columns = np.nonzero(stroke > 0.5)
    top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
    longest = max(bottom - top, right - left)
    scale = look.size * look.side * rng.uniform(0.92, 1.08) / longest
    angle = np.deg2rad(rng.uniform(-look.tilt, look.tilt))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    room = (1 - look.size * 1.2) / 2  # so that the digit stays on the page
    direction = rng.uniform(0, 2 * np.pi)
    shift = np.clip(look.offset * np.array([np.cos(direction), np.sin(direction)]), -room, room)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32)
    target = (corners - corners.mean(0)) @ turn.T + (0.5 + shift) * look.side
    target += rng.uniform(-1, 1, (4, 2)) * look.perspective * look.size * look.side
    view = cv2.getPerspectiveTransform(corners, target.astype(np.float32))
    # Shrinking without a blur first would leave jagged edges that no camera makes.
    stroke = cv2.GaussianBlur(stroke, (0, 0), max(0.01, 0.4 / scale))
    return cv2.warpPerspective(stroke, view, (look.side, look.side), flags=cv2.INTER_LINEAR)


def _spoil(ink: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """The placed stroke with flaws of drawing: gaps, a frame round it, jagged edges. Float 0..1."""
    rows, columns = np.nonzero(ink > 0.5)
    height = np.ptp(rows) + 1
    for _ in range(look.gaps):
        at = rng.integers(len(rows))
        direction = rng.uniform(0, np.pi)
        reach = 0.15 * height * np.array([np.cos(direction), np.sin(direction)])
        start, end = (np.array([columns[at], rows[at]]) + sign * reach for sign in (-1, 1))
        cv2.line(ink, start.astype(int).tolist(), end.astype(int).tolist(), 0, max(1, int(0.04 * height)))
    if look.frame:
        first, last = (int((0.5 + sign * look.frame / 2) * look.side) for sign in (-1, 1))
        width = max(1, round(look.pen * height))
        cv2.rectangle(ink, (first, first), (last, last - int(rng.integers(0, 12))), 1, width, cv2.LINE_AA)
    return (ink > 0.4).astype(np.float32) if look.aliased else ink


def _lay_on_table(picture: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """The page moved to one or two sides, with a table beyond its edges. Float RGB, same shape."""
    side = look.side
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    wood = np.array(TABLES)[rng.integers(4)] + 12 * (2 * clouds(side, 8, rng)[..., None] - 1)
    beyond = np.zeros((side, side), bool)
    for along in rng.permutation([x, y, side - x, side - y])[: rng.integers(1, 4)]:
        across = y if np.ptp(along[:, 0]) == 0 else x
        beyond |= along < look.table * side * rng.uniform(0.3, 1) + rng.uniform(-0.06, 0.06) * across
    return np.where(beyond[..., None], wood, picture)


def _camera(picture: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """The picture after lens and sensor: motion, blur, noise, dust. Float in, uint8 out, same shape."""
    if look.motion:
        length, angle = int(look.motion), rng.uniform(0, np.pi)
        kernel = np.zeros((2 * length + 1,) * 2, np.float32)
        reach = length / 2 * np.array([np.cos(angle), np.sin(angle)])
        cv2.line(kernel, (length - reach).astype(int).tolist(), (length + reach).astype(int).tolist(), 1)
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
    picture = cv2.GaussianBlur(picture, (0, 0), look.blur)
    picture += rng.normal(0, look.noise, picture.shape)
    if look.specks:
        dust = rng.random(picture.shape[:2]) < look.specks
        picture[dust] = rng.uniform(0, 255, (int(dust.sum()), 1))
    return np.clip(picture, 0, 255).astype(np.uint8)


def _paper(look: Look, rng: np.random.Generator) -> np.ndarray:
    """The empty page: float RGB (side, side, 3), with texture and printed rules or squares."""
    page = np.full((look.side, look.side, 3), look.paper, np.float32)
    page += look.texture * (2 * clouds(look.side, 3, rng)[..., None] - 1)
    if look.rules:
        step = look.side * (0.22 if look.rules == "lines" else 0.085)
        starts = np.arange(rng.uniform(0.3, 1) * step, look.side, step).round().astype(int)
        covered = starts[:, None] + np.arange(max(1, round(look.side / 160)))  # by rules, at the edge where they start
        skew = rng.uniform(-look.skew, look.skew) if look.skew else 0
        y, x = np.indices(page.shape[:2])
        page[np.isin(y - np.round(skew * x), covered)] = look.rule
        if look.rules == "squares":
            page[np.isin(x - np.round(-skew * y), covered)] = look.rule
    if look.margin:
        line = int(rng.uniform(0.1, 0.2) * look.side)
        page[:, line : line + 2] = (222, 120, 120)
        for at in (0.25, 0.75):
            cv2.circle(page, (line // 2, int(at * look.side)), int(0.025 * look.side), (90, 80, 75), -1, cv2.LINE_AA)
    return page


def _light(look: Look, rng: np.random.Generator) -> np.ndarray:
    """The light on each pixel, float 0..1: less to one side, perhaps with a soft-edged shadow across."""
    axis = np.linspace(-1, 1, look.side, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    direction = rng.uniform(0, 2 * np.pi)
    light = 1 - look.gradient * (0.5 + 0.5 * (x * np.cos(direction) + y * np.sin(direction)) / np.sqrt(2))
    if look.shadow:
        direction = rng.uniform(0, 2 * np.pi)
        beyond = x * np.cos(direction) + y * np.sin(direction) - rng.uniform(-0.2, 0.2)
        light *= 1 - look.shadow / (1 + np.exp(-np.clip(beyond / look.shadow_edge, -60, 60)))
    return light * (1 - look.vignette * (x**2 + y**2) / 2)
