"""From the strokes of a digit to MNIST's form: a box of 20×20 in 28×28 pixels, the centre of mass in the middle.

Masks are uint8 (H, W), 255 = ink. Explained in notebooks/02_preprocessing.ipynb and 06_custom_image_prediction.ipynb.
"""

import cv2
import numpy as np

from helpers.errors import NoDigit
from helpers.images.steps import Steps, resize
from helpers.images.strokes import crop, fill_pinholes, normalise_stroke, stroke_change, stroke_width

BOX, FIELD = 20, 28  # MNIST's box for the digit and its whole image, in pixels
COARSE = 10  # longest side in pixels up to which edges are too coarse to show the width of a stroke
HAIRLINE = 2  # shorter side in pixels below which a digit is the line of a fine pen
TRACE = 160  # longest side in pixels at which the strokes of a single digit are processed
STROKE = (2.0, 3.2)  # stroke widths of two thirds of the digits in MNIST, in pixels of the 20×20 box
WIDTHS = tuple(width * TRACE / BOX for width in STROKE)  # the same at TRACE pixels


def trace(ink: np.ndarray, kept: np.ndarray, level: float, longest: int = TRACE) -> np.ndarray:
    """Crops the kept strokes and scales them to `longest` pixels: a mask with smooth edges, pinholes filled.

    `kept` is a mask of the shape of `ink`, `level` the grey level at which ink begins. Scales the grey levels, not the
    mask, since only they tell where an edge lies between two pixels.
    """
    left, top, width, height = cv2.boundingRect(kept)
    box = np.s_[max(0, top - 2) : top + height + 2, max(0, left - 2) : left + width + 2]
    near = cv2.dilate(kept[box], np.ones((3, 3), np.uint8))
    # Ink that was not kept (a rule, a speck) must not come back as a stub.
    near[(ink[box] > level) & (kept[box] == 0)] = 0
    grey = cv2.min(ink[box], near)
    # Kept pixels below the level bridge a gap, so they count as ink.
    grey = np.where((kept[box] > 0) & (grey <= level), min(255, int(level) + 1), grey).astype(np.uint8)
    scale = longest / max(width, height)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    smooth = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return fill_pinholes(crop(255 * (smooth > level).astype(np.uint8)))


def fit_box(digit: np.ndarray, box: int = BOX) -> np.ndarray:
    """Scales a cropped digit, uint8 (H, W), to a longest side of `box` pixels: proportions kept, anti-aliased."""
    return resize(digit, box)


def centre_of_mass(digit: np.ndarray) -> np.ndarray:
    """Places a digit in 28×28 black pixels with its centre of mass in the middle, moving it by whole pixels.

    In MNIST every centre of mass lies within half a pixel of pixel (14, 14).

    Raises:
        NoDigit: if the digit has no ink.
    """
    mass = float(digit.sum())
    if mass == 0:
        raise NoDigit("No ink was found: the picture is blank.")
    canvas = np.zeros((FIELD, FIELD), np.uint8)
    height, width = digit.shape
    row = (digit.sum(1) @ np.arange(height)) / mass
    column = (digit.sum(0) @ np.arange(width)) / mass
    top = int(np.clip(round(FIELD / 2 - row), 0, FIELD - height))
    left = int(np.clip(round(FIELD / 2 - column), 0, FIELD - width))
    canvas[top : top + height, left : left + width] = digit
    return canvas


def half_pixel_moves(x: np.ndarray) -> np.ndarray:
    """Images (N, H, W), or with channels, moved by half a pixel towards each corner: (4, N, H, W), of the same type.

    A moved pixel is the mean of four; padding is 0. A network makes different mistakes on each view, so the mean of its
    answers makes fewer (test-time augmentation; Krizhevsky and others, "ImageNet classification with deep convolutional
    neural networks", 2012). Explained in notebooks/07_faster_and_better.ipynb.
    """
    height, width = x.shape[1:3]
    wide = np.pad(x.astype(np.float32), ((0, 0), (1, 1), (1, 1)) + ((0, 0),) * (x.ndim - 3))
    columns = wide[:, :, :-1] + wide[:, :, 1:]
    means = (columns[:, :-1] + columns[:, 1:]) / 4  # at the corners of pixels: (N, H + 1, W + 1)
    moved = [means[:, row : row + height, column : column + width] for row in (0, 1) for column in (0, 1)]
    return (np.round(moved) if np.issubdtype(x.dtype, np.integer) else np.stack(moved)).astype(x.dtype)


def finish(cropped: np.ndarray, side: int = TRACE) -> Steps:
    """The last four steps, from a cropped mask with a longest side of `side` pixels to MNIST's form."""
    low, high = (width * side / BOX for width in STROKE)
    return _place(cropped, crop(normalise_stroke(cropped, low, high)), BOX)


def finish_grey(cropped: np.ndarray) -> Steps:
    """The last four steps for a tiny digit, keeping its grey levels. A digit in MNIST's form already stays unchanged."""
    coarse = max(cropped.shape) <= COARSE
    hairline = min(cropped.shape) < HAIRLINE  # no digit of MNIST is as thin
    stays = coarse or (max(cropped.shape) == BOX and not hairline)
    return _place(cropped, cropped if stays else change_stroke(resize(cropped, TRACE)), BOX - coarse)


def _place(cropped: np.ndarray, digit: np.ndarray, box: int) -> Steps:
    """The last four steps, from a digit before and after the change of its stroke width."""
    fitted = fit_box(digit, box)
    return {"cropped": cropped, "stroke width": digit, "20×20 box": fitted, "centred 28×28": centre_of_mass(fitted)}


def change_stroke(wide: np.ndarray) -> np.ndarray:
    """Brings the strokes of a grey digit, enlarged to TRACE pixels, to MNIST's widths, keeping its grey levels."""
    change = stroke_change(stroke_width(255 * (wide > 127).astype(np.uint8)), TRACE, *WIDTHS)
    if not change:
        return wide
    reach = round(abs(change))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    if change > 0:
        return crop(cv2.dilate(np.pad(wide, reach), disc))
    thinner = cv2.erode(np.pad(wide, 1), disc)
    return crop(thinner) if thinner.any() else wide
