"""The shape of strokes in a mask: how wide they are, and how plausible a digit they make.

A mask is uint8 (H, W), 255 = ink. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import cv2
import numpy as np

from helpers.errors import NoDigit


def crop(picture: np.ndarray, margin: int = 0) -> np.ndarray:
    """Cuts a mask or a gray picture on black down to the box of its ink plus `margin` pixels.

    Raises NoDigit if there is no ink.
    """
    if not picture.any():
        raise NoDigit("No ink was found: the picture is blank.")
    left, top, width, height = cv2.boundingRect(picture)
    cut = picture[top : top + height, left : left + width]
    return np.pad(cut, margin) if margin else cut


def stroke_width(mask: np.ndarray) -> float:
    """The typical width of the strokes in pixels: twice the median distance from their middle line to the edge.

    The median by ink, not by length: what is left of a printed rule may be longer than the digit, but holds less.
    """
    depths = np.sort(_middle(mask))
    if not depths.size:
        return 0.0
    ink = np.cumsum(depths)
    return float(2 * depths[np.searchsorted(ink, 0.5 * ink[-1])])


def unevenness(mask: np.ndarray) -> float:
    """How much the strokes' width varies: standard deviation over mean along their middle line.

    About 0.1 for a pen, up to 0.5 for a brush; shadows, pages and the paper inside a digit have more.
    """
    depths = _middle(mask)
    return float(depths.std() / depths.mean()) if depths.size else 0.0


def _middle(mask: np.ndarray) -> np.ndarray:
    """The distances to the edge, in pixels, along the strokes' middle line: where they are largest, locally."""
    depth = cv2.distanceTransform(pad(mask), cv2.DIST_L2, 5)
    return depth[(depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8))) & (depth > 0)]


def normalise_stroke(mask: np.ndarray, low: float, high: float) -> np.ndarray:
    """Brings strokes thinner than `low` or wider than `high` pixels to that width: dilates or erodes the mask.

    A thin pen shrunk to 20×20 pixels would fade to gray dust; a marker would fill its loops. The width counts in a
    digit of the mask's size: growing makes the digit larger too, so it has to grow a little more. A loop is not
    filled and a stroke is not broken: where one would be, the width changes less.
    """
    width, size = stroke_width(mask), max(mask.shape)
    if width == 0 or low <= width <= high:
        return mask
    wanted = (low if width < low else high) / size
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
    """How little a cropped mask looks like a digit: 0 where nothing speaks against it, 1 for each
    thing that does, a half for being a block, as a marker's 8 may be.

    A digit has at most two loops (three with a slash through its zero), is not much wider than high, and does
    not fill the sides of its box as a page or a frame does.
    """
    height, width = mask.shape
    loops = _count(255 - pad(mask)) - 2  # neither the ink nor what surrounds it
    block = cv2.countNonZero(mask) > 0.68 * height * width and width > 0.5 * height
    rim = max(1, max(height, width) // 25)
    sides = (mask[:rim].max(0), mask[-rim:].max(0), mask[:, :rim].max(1), mask[:, -rim:].max(1))
    page = sum(np.count_nonzero(side) > 0.85 * side.size for side in sides) >= 3 and width > 0.4 * height
    return (loops > 3) + (width > 2.5 * height) + 0.5 * block + page


def fill_pinholes(mask: np.ndarray, largest: float = 0.001) -> np.ndarray:
    """Fills holes of at most `largest` of the mask's longest side squared: paper that a pencil missed, no loops."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(255 - mask, connectivity=4)
    small = stats[:, cv2.CC_STAT_AREA] <= largest * max(mask.shape) ** 2
    small[0] = False  # the ink
    if not small.any():
        return mask
    edges = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    small[edges] = False  # a bay at the edge is no hole
    return np.where(small[parts], 255, mask).astype(np.uint8)


def pad(mask: np.ndarray) -> np.ndarray:
    """The mask with one pixel of paper round it."""
    return cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)


def _count(mask: np.ndarray) -> int:
    """The number of connected components, paper included."""
    return cv2.connectedComponents(mask, connectivity=8)[0]
