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
    depths = np.sort(_middle(mask))
    if not depths.size:
        return 0.0
    ink = np.cumsum(depths)
    return float(2 * depths[np.searchsorted(ink, 0.5 * ink[-1])])


def unevenness(mask: np.ndarray) -> float:
    """The coefficient of variation (standard deviation / mean) of the stroke width along the centre line.

    About 0.1 for a pen, up to 0.5 for a brush, more for shadows, pages and the paper inside a digit.
    """
    depths = _middle(mask)
    return float(depths.std() / depths.mean()) if depths.size else 0.0


def _middle(mask: np.ndarray) -> np.ndarray:
    """The distances to the edge, in pixels, along the centre line of the strokes, where they have a local maximum."""
    depth = cv2.distanceTransform(pad(mask), cv2.DIST_L2, 5)
    return depth[(depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8))) & (depth > 0)]


def normalise_stroke(mask: np.ndarray, low: float, high: float) -> np.ndarray:
    """Dilates or erodes a mask whose strokes are thinner than `low` or wider than `high` pixels to that width.

    Shrunk to 20×20 pixels, a thin pen would fade to grey and a marker fill its loops. The width is relative to the size
    of the digit, which a dilation enlarges too. Where a loop would close or a stroke break, the width changes less.
    """
    width, size = stroke_width(mask), max(mask.shape)
    if width == 0 or low <= width <= high:
        return mask
    wanted = (low if width < low else high) / size
    if wanted >= 1:  # a speck, smaller than any stroke should be wide
        return mask
    change = (wanted * size - width) / (2 * (1 - wanted))  # (width + 2c) / (size + 2c) = wanted
    holes = _count(255 - pad(mask))
    pieces = _count(mask)
    if change > 0:
        away = cv2.distanceTransform(255 - np.pad(mask, int(change) + 2), cv2.DIST_L2, 5)
        for share in (1, 0.6, 0.3):
            grown = np.where(away <= share * change, 255, 0).astype(np.uint8)
            if _count(255 - pad(grown)) >= holes:
                return grown
        return grown
    depth = cv2.distanceTransform(pad(mask), cv2.DIST_L2, 5)[1:-1, 1:-1]
    for share in (1, 0.7, 0.4, 0.2):
        thinner = np.where(depth > -share * change, 255, 0).astype(np.uint8)
        if _count(thinner) == pieces and _count(255 - pad(thinner)) == holes:
            return thinner
    return mask


def implausibility(mask: np.ndarray) -> float:
    """Evidence against a cropped mask being a digit: 0 for none, plus 1 per violation, 0.5 for a solid block.

    A digit has at most two loops (three with a slash through its zero), is not much wider than high, and does not fill
    the sides of its bounding box as a page or a frame does. A block may still be an 8 drawn with a marker.
    """
    height, width = mask.shape
    loops = _count(255 - pad(mask)) - 2  # neither the ink nor what surrounds it
    block = cv2.countNonZero(mask) > 0.68 * height * width and width > 0.5 * height
    rim = max(1, max(height, width) // 25)
    sides = (mask[:rim].max(0), mask[-rim:].max(0), mask[:, :rim].max(1), mask[:, -rim:].max(1))
    page = sum(np.count_nonzero(side) > 0.85 * side.size for side in sides) >= 3 and width > 0.4 * height
    return (loops > 3) + (width > 2.5 * height) + 0.5 * block + page


def fill_pinholes(mask: np.ndarray) -> np.ndarray:
    """Fills the holes of a mask that are too small to be loops."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(255 - mask, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= PINHOLE * max(mask.shape) ** 2
    small[0] = False  # the ink
    if not small.any():
        return mask
    edges = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    small[edges] = False  # a bay at the edge is not a hole
    return np.where(small[parts], 255, mask).astype(np.uint8)


def pad(mask: np.ndarray) -> np.ndarray:
    """The mask padded with one pixel of paper on each side."""
    return cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)


def _count(mask: np.ndarray) -> int:
    """The number of connected components, including the paper."""
    return cv2.connectedComponents(mask, connectivity=8)[0]
