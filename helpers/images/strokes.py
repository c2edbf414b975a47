"""The shape of strokes in a mask: their width, and how plausible a digit they form.

A mask is uint8 (H, W), 255 = ink. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import cv2
import numpy as np

from helpers.errors import NoDigit

PINHOLE = 0.001  # largest area of a hole that a pencil left in a stroke, as a share of the longest side squared


def crop(picture: np.ndarray) -> np.ndarray:
    """Crops a picture, uint8 (H, W) on black, to the bounding box of its ink. Raises NoDigit if there is none."""
    if not picture.any():
        raise NoDigit("No ink was found: the picture is blank.")
    left, top, width, height = cv2.boundingRect(picture)
    return picture[top : top + height, left : left + width]


def stroke_width(mask: np.ndarray) -> float:
    """The typical width of the strokes in pixels: twice the median distance from their centre line to the edge.

    The median is weighted by ink, since the remains of a printed rule may be longer than the digit but hold less.
    """
    depths = _middle(mask)
    return 2 * weighted_median(depths, depths)


def unevenness(mask: np.ndarray) -> float:
    """The coefficient of variation (standard deviation / mean) of the stroke width along the centre line.

    About 0.1 for a pen, up to 0.5 for a brush, more for shadows, pages and the paper inside a digit.
    """
    depths = _middle(mask)
    return float(depths.std() / depths.mean()) if depths.size else 0.0


def _middle(mask: np.ndarray) -> np.ndarray:
    """The distances to the edge, in pixels, along the centre line of the strokes, where they have a local maximum."""
    inside = depth(mask)
    return inside[ridge(inside)]


def depth(mask: np.ndarray) -> np.ndarray:
    """The distance of each pixel to the paper, which also lies outside of the picture: float32 (H, W), in pixels."""
    return cv2.distanceTransform(pad(mask), cv2.DIST_L2, 5)[1:-1, 1:-1]


def ridge(inside: np.ndarray) -> np.ndarray:
    """Where a `depth` has a local maximum, which is on the centre line of strokes: bool (H, W)."""
    return (inside >= cv2.dilate(inside, np.ones((3, 3), np.uint8))) & (inside > 0)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value up to which the sorted values hold half of the weight; 0 without values."""
    if not len(values):
        return 0.0
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(share, 0.5 * share[-1])])


def normalise_stroke(mask: np.ndarray, low: float, high: float) -> np.ndarray:
    """Dilates or erodes a mask whose strokes are thinner than `low` or wider than `high` pixels to that width.

    Shrunk to 20×20 pixels, a thin pen would fade to grey and a marker fill its loops. Where a loop would close or a
    stroke break, the width changes less.
    """
    change = stroke_change(stroke_width(mask), max(mask.shape), low, high)
    if not change:
        return mask
    holes = _count(255 - pad(mask))
    pieces = _count(mask)
    if change > 0:
        away = cv2.distanceTransform(255 - np.pad(mask, int(change) + 2), cv2.DIST_L2, 5)
        for share in (1, 0.6, 0.3):
            grown = np.where(away <= share * change, 255, 0).astype(np.uint8)
            if _count(255 - pad(grown)) >= holes:
                return grown
        return grown
    inside = depth(mask)
    for share in (1, 0.7, 0.4, 0.2):
        thinner = np.where(inside > -share * change, 255, 0).astype(np.uint8)
        if _count(thinner) == pieces and _count(255 - pad(thinner)) == holes:
            return thinner
    return mask


def stroke_change(width: float, size: int, low: float, high: float) -> float:
    """By how many pixels each edge of strokes must move for their `width` to lie within low..high; outwards above 0.

    The width is relative to the `size` of the digit, which changes too.
    """
    wanted = (low if width < low else high) / size
    # A width of 0 is no stroke, and a speck is smaller than any stroke should be wide.
    if width == 0 or low <= width <= high or wanted >= 1:
        return 0.0
    return (wanted * size - width) / (2 * (1 - wanted))  # (width + 2c) / (size + 2c) = wanted


def implausibility(mask: np.ndarray) -> float:
    """Evidence against a cropped mask being a digit: 0 for none, plus 1 per violation, 0.5 for a solid block.

    A digit has at most two loops (three with a slash through its zero), is not much wider than high, and does not fill
    the sides of its bounding box as a page or a frame does. A block may still be an 8 drawn with a marker.
    """
    height, width = mask.shape
    loops = _count(255 - pad(mask)) - 2  # neither the ink nor what surrounds it
    block = cv2.countNonZero(mask) > 0.68 * height * width and width > 0.5 * height
    rim = max(1, max(height, width) // 25)
    rims = (mask[:rim].max(0), mask[-rim:].max(0), mask[:, :rim].max(1), mask[:, -rim:].max(1))
    page = sum(np.count_nonzero(side) > 0.85 * side.size for side in rims) >= 3 and width > 0.4 * height
    return (loops > 3) + (width > 2.5 * height) + 0.5 * block + page


def fill_pinholes(mask: np.ndarray) -> np.ndarray:
    """Fills the holes of a mask that are too small to be loops."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(255 - mask, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= PINHOLE * max(mask.shape) ** 2
    small[0] = False  # the ink
    if not small.any():
        return mask
    small[np.concatenate(sides(parts))] = False  # a bay at the edge is not a hole
    return np.where(small[parts], 255, mask).astype(np.uint8)


def sides(picture: np.ndarray) -> tuple[np.ndarray, ...]:
    """The first and last row and the first and last column of a picture."""
    return picture[0], picture[-1], picture[:, 0], picture[:, -1]


def pad(mask: np.ndarray) -> np.ndarray:
    """The mask padded with one pixel of paper on each side."""
    return cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)


def _count(mask: np.ndarray) -> int:
    """The number of connected components, including the paper."""
    return cv2.connectedComponents(mask, connectivity=8)[0]
