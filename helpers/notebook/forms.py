"""Scanned forms with a box for each digit, drawn by our code. Explained in notebooks/10_beyond_mnist.ipynb."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

BOX = 44  # side of a box in pixels: 5.6 mm at 200 dots per inch
MARGIN = 24  # round the form, in pixels
PAPER, RULE, LABEL, INK = 236, 150, 90, 50  # grey levels
WORD = 190  # room for the printed word left of the boxes, in pixels


def places(texts: Mapping[str, str]) -> dict[str, list[tuple[int, int]]]:
    """The upper left corners (row, column) of each field's boxes, a field a row."""
    return {
        name: [(MARGIN + round(1.5 * BOX * line), WORD + BOX * column) for column in range(len(text))]
        for line, (name, text) in enumerate(texts.items())
    }


def draw(texts: Mapping[str, str], digits: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Draws a filled-in form as a scanner sees it.

    Args:
        texts: what stands in each field, digits only; the field's name is printed to the left.
        digits: for each class the images to take its digits from, uint8 (N, 28, 28).
        rng: decides which images, how each is placed, and the scanner's noise.

    Returns:
        uint8 (H, W), dark ink on light paper.
    """
    boxes = places(texts)
    corners = [corner for row in boxes.values() for corner in row]
    height, width = (max(values) + BOX + MARGIN for values in zip(*corners, strict=True))
    page = np.full((height, width), PAPER, np.uint8)
    for name, row in boxes.items():
        cv2.putText(page, name, (8, row[0][0] + 29), cv2.FONT_HERSHEY_DUPLEX, 0.6, LABEL, 1, cv2.LINE_AA)
        for top, left in row:
            cv2.rectangle(page, (left, top), (left + BOX, top + BOX), RULE, 1)
    page = page.astype(np.float32)
    lean = rng.normal(0, 0.08)  # of this writer
    for (top, left), character in zip(corners, "".join(texts.values()), strict=True):
        place = page[top : top + BOX, left : left + BOX]
        place += _write(rng.choice(digits[int(character)]), lean, rng) * (INK - place)
    light = 1 - rng.uniform(0, 0.15) * np.linspace(0, 1, width, dtype=np.float32)
    page = cv2.GaussianBlur(page * light, (0, 0), 0.8) + rng.normal(0, 4, page.shape)
    return np.clip(page, 0, 255).astype(np.uint8)


def _write(digit: np.ndarray, lean: float, rng: np.random.Generator) -> np.ndarray:
    """An image uint8 (28, 28) as ink in a box, float (BOX, BOX) in 0..1: its own size, place and slant."""
    scale = BOX / 28 * rng.uniform(0.85, 1.2)
    row, column = BOX / 2 + rng.normal(0, 2.5, 2)
    slant = lean + rng.normal(0, 0.04)
    turn = np.float32([[scale, -slant * scale, column], [0, scale, row]])
    turn[:, 2] -= turn[:, :2] @ (13.5, 13.5)
    return cv2.warpAffine(digit.astype(np.float32) / 255, turn, (BOX, BOX), flags=cv2.INTER_CUBIC).clip(0, 1)
