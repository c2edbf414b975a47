"""From a digit's strokes to MNIST's form: 28×28 pixels, a box of 20×20, the centre of mass in the middle.

Explained in notebooks/02_preprocessing.ipynb and 06_custom_image_prediction.ipynb.
"""

import cv2
import numpy as np

from helpers.errors import NoDigit
from helpers.images.steps import Steps, resize
from helpers.images.strokes import crop, fill_pinholes, normalise_stroke, stroke_width

BOX, FIELD = 20, 28  # MNIST's box for the digit and its whole image, in pixels
COARSE = 10  # up to this longest side, only the position of a pixel tells anything, not its edge
TRACE = 160  # longest side in pixels at which a stroke's shape is worked on
STROKE = (2.0, 3.2)  # two of three digits in MNIST have strokes this wide, in pixels of the 20×20 box


def trace(ink: np.ndarray, kept: np.ndarray, level: float, longest: int = TRACE) -> np.ndarray:
    """Cuts out the kept strokes, enlarged or shrunk to `longest` pixels: a mask with smooth edges.

    Enlarges the gray ink, not the mask: where its edge runs between two pixels only the gray levels tell. `kept` is
    a mask of the shape of `ink`, `level` the gray level at which ink begins. Pinholes are filled.
    """
    left, top, width, height = cv2.boundingRect(kept)
    box = np.s_[max(0, top - 2) : top + height + 2, max(0, left - 2) : left + width + 2]
    near = cv2.dilate(kept[box], np.ones((3, 3), np.uint8))
    # What is ink but was not kept (a rule, a speck) must not come back as a stub.
    near[(ink[box] > level) & (kept[box] == 0)] = 0
    gray = cv2.min(ink[box], near)
    # Kept pixels below the level bridge a gap: they count as ink.
    gray = np.where((kept[box] > 0) & (gray <= level), min(255, int(level) + 1), gray).astype(np.uint8)
    scale = longest / max(width, height)
    size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
    smooth = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return fill_pinholes(crop(255 * (smooth > level).astype(np.uint8)))


def fit_box(digit: np.ndarray, box: int = BOX) -> np.ndarray:
    """Scales a cropped digit so that its longest side is `box` pixels, proportions kept, anti-aliased."""
    return resize(digit, box)


def centre_of_mass(digit: np.ndarray, field: int = FIELD) -> np.ndarray:
    """Places a digit in `field`×`field` black pixels, its centre of mass in the middle, by whole pixels.

    In MNIST every centre of mass lies within half a pixel of pixel (14, 14). Raises NoDigit for an empty digit.
    """
    mass = float(digit.sum())
    if mass == 0:
        raise NoDigit("No ink was found: the picture is blank.")
    canvas = np.zeros((field, field), np.uint8)
    height, width = digit.shape
    row = (digit.sum(1) @ np.arange(height)) / mass
    column = (digit.sum(0) @ np.arange(width)) / mass
    top = int(np.clip(round(field / 2 - row), 0, field - height))
    left = int(np.clip(round(field / 2 - column), 0, field - width))
    canvas[top : top + height, left : left + width] = digit
    return canvas


def half_pixel_moves(x: np.ndarray) -> np.ndarray:
    """Images (N, H, W), or with channels, moved by half a pixel towards each corner: (4, N, H, W), of the same type.

    A moved pixel is the mean of four. What comes in from outside is 0. Networks that see the same digit in such
    views err on other images each time, so their mean errs less (test-time augmentation; Krizhevsky and others,
    "ImageNet classification with deep convolutional neural networks", 2012). Explained in
    notebooks/07_faster_and_better.ipynb.
    """
    height, width = x.shape[1:3]
    wide = np.pad(x.astype(np.float32), ((0, 0), (1, 1), (1, 1)) + ((0, 0),) * (x.ndim - 3))
    columns = wide[:, :, :-1] + wide[:, :, 1:]
    means = (columns[:, :-1] + columns[:, 1:]) / 4  # at the corners of pixels: (N, H + 1, W + 1)
    moved = [means[:, row : row + height, column : column + width] for row in (0, 1) for column in (0, 1)]
    return (np.round(moved) if np.issubdtype(x.dtype, np.integer) else np.stack(moved)).astype(x.dtype)


def finish(cropped: np.ndarray) -> Steps:
    """From a cropped digit to MNIST's form: the last four steps."""
    low, high = (width * TRACE / BOX for width in STROKE)
    steps = {"cropped": cropped, "stroke width": crop(normalise_stroke(cropped, low, high))}
    steps["20×20 box"] = fit_box(steps["stroke width"])
    steps["centred 28×28"] = centre_of_mass(steps["20×20 box"])
    return steps


def finish_grey(cropped: np.ndarray) -> Steps:
    """The last four steps for a tiny digit, gray levels kept. What is in MNIST's form already stays as it is."""
    steps = {"cropped": cropped, "stroke width": cropped}
    coarse = max(cropped.shape) <= COARSE  # so few pixels tell no stroke width, and their soft edges reach far
    if max(cropped.shape) != BOX and not coarse:
        steps["stroke width"] = change_stroke(resize(cropped, TRACE))
    steps["20×20 box"] = fit_box(steps["stroke width"], BOX - coarse)
    steps["centred 28×28"] = centre_of_mass(steps["20×20 box"])
    return steps


def change_stroke(wide: np.ndarray) -> np.ndarray:
    """Brings the strokes of an enlarged gray digit to MNIST's range of widths, gray levels kept."""
    low, high = (width / BOX for width in STROKE)
    size = max(wide.shape)
    width = stroke_width(255 * (wide > 127).astype(np.uint8))
    if width == 0 or low <= width / size <= high:
        return wide
    wanted = low if width / size < low else high
    change = (wanted * size - width) / (2 * (1 - wanted))  # (width + 2c) / (size + 2c) = wanted
    reach = round(abs(change))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    if change > 0:
        return crop(cv2.dilate(np.pad(wide, reach), disc))
    thinner = cv2.erode(np.pad(wide, 1), disc)
    return crop(thinner) if thinner.any() else wide
