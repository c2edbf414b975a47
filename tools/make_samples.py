"""Makes data/samples/, the same bytes on every machine: python -m tools.make_samples (a few seconds).

SIMULATED photographs of MNIST's TEST digits, single ones and lines, with their labels in two CSV files. None of them
shows a digit that a network was trained on, or one whose label is known to be wrong.
"""

import csv

import cv2
import numpy as np

from helpers import data, paths
from helpers.files import atomic
from tools.simulate import lines, photos
from tools.trainings import write_bytes

FOLDER = paths.DATA / "samples"
SEED = 2024
COMMON = 16  # so many conditions have two pictures of single digits, the others one
LINES = ("postcode", "amount", "touching", "form", "photo", "page")
LARGEST = 900  # longest side of a picture of lines, in pixels


# One picture: its file, what it says, its condition, its pixels (uint8) and the bytes of the file.
Sample = tuple[str, str, str, np.ndarray, bytes]


def digits() -> list[Sample]:
    """The pictures of single digits, conditions and digits in turn."""
    mnist = data.load()
    rng = np.random.default_rng(SEED)
    names = list(photos.CONDITIONS)
    made = []
    for i, condition in enumerate(names[:COMMON] * 2 + names[COMMON:]):
        label = (3 * i + 7) % 10
        usable = np.setdiff1d(np.flatnonzero(mnist.y_test == label), data.KNOWN_LABEL_ERRORS)
        picture = photos.simulate(mnist.x_test[rng.choice(usable)], condition, rng)
        suffix, encoded = photos.encode(picture, condition)
        name = f"{i + 1:02d}_{condition.replace(' ', '_')}{suffix}"
        made.append((name, str(label), condition, picture, encoded))
    return made


def rows_of_digits() -> list[Sample]:
    """The pictures of lines and pages; their text has a space between rows."""
    made = []
    for i, condition in enumerate(LINES, 1):
        picture, text = lines.simulate(condition, np.random.default_rng([SEED, i]))
        scale = min(1.0, LARGEST / max(picture.shape))
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 75])
        made.append((f"line_{i}_{condition}.jpg", text, condition, picture, encoded.tobytes()))
    return made


def main() -> None:
    """Writes the pictures, labels.csv and lines.csv."""
    for table, column, samples in (("labels.csv", "label", digits()), ("lines.csv", "text", rows_of_digits())):
        for name, *_, encoded in samples:
            write_bytes(FOLDER / name, encoded)
        with atomic(FOLDER / table) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([("file", column, "condition"), *(s[:3] for s in samples)])
        print(f"{len(samples)} pictures and {table} in {paths.display(FOLDER)}/")


if __name__ == "__main__":
    main()
