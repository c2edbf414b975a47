"""Makes data/samples/: SIMULATED photographs of handwritten digits, with their labels.

    python data/make_samples.py          a few seconds; the same pictures on every machine

Nobody photographed these. Each picture starts from an image of MNIST's TEST part (never one that a network
was trained on, never one whose label is known to be wrong), traced at a high resolution and then put through
a simple camera: paper, ink, light, shadow, noise, compression. `simulate` makes more of them for measurements;
figures on simulated pictures say which condition hurts, not how well real photographs are read.
"""

import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # run as a script, only this file's folder is on the path
    sys.path.insert(0, str(ROOT))

from helpers import data  # noqa: E402

FOLDER = Path(__file__).with_name("samples")
SEED = 2024
TRACE = 16  # traced pixels per MNIST pixel


@dataclass(frozen=True)
class Look:
    """What a picture shows. Colours are RGB, 0..255; lengths are fractions of the picture's side.

    `pen` is the stroke's width as a fraction of the digit's height, 0 keeps the writer's own; `grain` is how much
    ink the paper's texture swallows; `gradient` and `shadow` are the light lost, 0..1; `noise` is in grey levels.
    """

    ink: tuple[int, int, int] = (35, 35, 55)
    paper: tuple[int, int, int] = (238, 238, 234)
    side: int = 320
    size: float = 0.55
    offset: float = 0.05
    tilt: float = 3.0
    perspective: float = 0.02
    pen: float = 0.0
    grain: float = 0.05
    texture: float = 2.0
    gradient: float = 0.08
    shadow: float = 0.0
    rules: str = ""
    blur: float = 0.8
    noise: float = 2.0
    quality: int = 90


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
    "small": Look(side=64, size=0.6, blur=0.4),
    "compressed": Look(quality=8, side=240),
    "tilted": Look(tilt=9.0, perspective=0.09, pen=0.1),
    "blurred": Look(blur=5.0, pen=0.1),
}


def simulate(digit: np.ndarray, condition: str, rng: np.random.Generator) -> np.ndarray:
    """A simulated photograph of one digit: uint8 RGB of shape (side, side, 3), JPEG losses included.

    `digit` is uint8 (28, 28) as in MNIST, `condition` a key of CONDITIONS, `rng` the source of all chance.
    """
    look = CONDITIONS[condition]
    ink = _place(_trace(digit, look.pen), look, rng)
    ink *= 1 - look.grain * _clouds(look.side, 2, rng)
    colour = np.array(look.ink) + rng.uniform(-12, 12)
    picture = _paper(look, rng)
    picture += ink[..., None] * (colour - picture)
    picture *= _light(look, rng)[..., None]
    picture = cv2.GaussianBlur(picture, (0, 0), look.blur)
    picture += rng.normal(0, look.noise, picture.shape)
    return _compress(np.clip(picture, 0, 255).astype(np.uint8), look.quality)


def _trace(digit: np.ndarray, pen: float) -> np.ndarray:
    """The digit as a smooth stroke at TRACE times the resolution: float 0..1 with a soft edge.

    With `pen` > 0 the stroke follows the old one's middle at one width, as a pen would draw it.
    """
    smooth = cv2.resize(digit, None, fx=TRACE, fy=TRACE, interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(smooth, (0, 0), TRACE / 4)
    inside = (smooth > 0.43 * smooth.max()).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    if pen:
        # The ridge of the distance map is the stroke's middle line; a pen is a disc that travels along it.
        reach = np.ones((TRACE + 1, TRACE + 1), np.uint8)
        middle = (depth > 0.75 * cv2.dilate(depth, reach)) | (depth > cv2.dilate(depth, np.ones((5, 5))) - 0.3)
        middle &= depth > 3
        radius = pen * np.ptp(np.nonzero(inside)[0]) / 2
        away = cv2.distanceTransform((~middle).astype(np.uint8), cv2.DIST_L2, 5)
        return np.clip((radius - away) / 3 + 0.5, 0, 1).astype(np.float32)
    outside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return np.clip((depth - outside) / 3 + 0.5, 0, 1).astype(np.float32)


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


def _clouds(side: int, grain: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise in 0..1 whose blobs are about `grain` pixels wide: float (side, side)."""
    small = rng.random((side // grain + 2, side // grain + 2), np.float32)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)


def _paper(look: Look, rng: np.random.Generator) -> np.ndarray:
    """The empty page: float RGB (side, side, 3), with texture and printed rules or squares."""
    page = np.full((look.side, look.side, 3), look.paper, np.float32)
    page += look.texture * (2 * _clouds(look.side, 3, rng)[..., None] - 1)
    if look.rules:
        blue = np.array([150, 180, 222], np.float32)
        step = look.side * (0.22 if look.rules == "lines" else 0.085)
        start = rng.uniform(0.3, 1) * step
        thickness = max(1, round(look.side / 160))
        for at in np.arange(start, look.side, step).round().astype(int):
            page[at : at + thickness] = blue
            if look.rules == "squares":
                page[:, at : at + thickness] = blue
    return page


def _light(look: Look, rng: np.random.Generator) -> np.ndarray:
    """How much light falls on each pixel: float 0..1. It falls off to one side; a soft-edged shadow may lie across."""
    axis = np.linspace(-1, 1, look.side, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    direction = rng.uniform(0, 2 * np.pi)
    light = 1 - look.gradient * (0.5 + 0.5 * (x * np.cos(direction) + y * np.sin(direction)) / np.sqrt(2))
    if look.shadow:
        direction = rng.uniform(0, 2 * np.pi)
        beyond = x * np.cos(direction) + y * np.sin(direction) - rng.uniform(-0.2, 0.2)
        light *= 1 - look.shadow / (1 + np.exp(-beyond / 0.03))
    return light


def _compress(picture: np.ndarray, quality: int) -> np.ndarray:
    """The picture after JPEG at `quality` 1..100, RGB in and out."""
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]


def samples(count: int = 32) -> list[tuple[str, int, str, np.ndarray]]:
    """The pictures of data/samples/: (file name, label, condition, RGB picture), conditions and digits in turn."""
    mnist = data.load()
    rng = np.random.default_rng(SEED)
    conditions = list(CONDITIONS)
    made = []
    for i in range(count):
        condition, label = conditions[i % len(conditions)], (3 * i + 7) % 10
        usable = np.setdiff1d(np.flatnonzero(mnist.y_test == label), data.KNOWN_LABEL_ERRORS)
        picture = simulate(mnist.x_test[rng.choice(usable)], condition, rng)
        # JPEG losses are in the picture already; the small ones are kept exact, the rest as a camera keeps them.
        extension = "png" if condition == "small" else "jpg"
        made.append((f"{i + 1:02d}_{condition.replace(' ', '_')}.{extension}", label, condition, picture))
    return made


def main() -> None:
    """Writes the pictures and labels.csv into data/samples/."""
    FOLDER.mkdir(exist_ok=True)
    rows = samples()
    for name, _, _, picture in rows:
        options = [cv2.IMWRITE_JPEG_QUALITY, 92] if name.endswith(".jpg") else []
        _, encoded = cv2.imencode(Path(name).suffix, picture[..., ::-1], options)
        (FOLDER / name).write_bytes(encoded.tobytes())
    with open(FOLDER / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("file", "label", "condition"))
        writer.writerows((name, label, condition) for name, label, condition, _ in rows)
    print(f"{len(rows)} pictures in data/samples/")


if __name__ == "__main__":
    main()
