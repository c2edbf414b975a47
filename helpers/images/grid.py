"""The grid of a printed or drawn table: its lines, seen straight from the front. Knows no model.

Explained in notebooks/06_custom_image_prediction.ipynb.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from helpers.images.steps import resize

SIDE = 1200  # longest side in pixels at which lines are looked for
SURROUNDINGS = 49  # side in pixels of what a pixel is compared with: wider than any line
FAINT = 5.0  # standard deviation in grey levels below which contrasts are not enlarged any more: noise stays small
FULL = 3.0  # local standard deviations that are shown as 1
DARK = 0.08  # contrast from which a pixel may be part of a line
LONG = 14  # a line is at least this part of the longest side long
THIN = 3  # a line is at most this part of that thick
LEAST_AREA = 0.08  # of the picture that a grid covers at least
COVERED = 0.35  # of the grid's width or height that a line covers at least, without a gap
BENT = 160  # paper bends: a line strays by up to this part of the grid's height
PRESENT = 0.45  # of the side of a cell that a line covers, if it is not left out there


@dataclass(frozen=True, eq=False)
class Grid:
    """Lines of a table, straightened: `across` are the heights (R + 1) of its lines, `down` the columns (C + 1) of its lines."""

    view: np.ndarray  # 3×3, from pixels of the picture to straightened ones
    across: np.ndarray
    down: np.ndarray
    walls: np.ndarray  # bool (R, C + 1): whether the line left of a cell is there; a merged cell lacks it

    def cell(self, x: float, y: float) -> tuple[int, int] | None:
        """Row and column of the cell at a point of the picture, of a merged cell the first; None outside."""
        straight = cv2.perspectiveTransform(np.float32([[[x, y]]]), self.view)[0, 0]
        row = int(np.searchsorted(self.across, straight[1])) - 1
        column = int(np.searchsorted(self.down, straight[0])) - 1
        if not (0 <= row < len(self.across) - 1 and 0 <= column < len(self.down) - 1):
            return None
        while column and not self.walls[row, column]:
            column -= 1
        return row, column


def find_grid(picture: np.ndarray) -> Grid | None:
    """The largest grid of at least two cells in a picture, uint8 (H, W) or (H, W, 3); None if there is none."""
    small = resize(picture, min(SIDE, max(picture.shape[:2])))
    scale = max(small.shape[:2]) / max(picture.shape[:2])
    ink = 255 * (local_ink(small) > DARK).astype(np.uint8)
    long = max(12, max(ink.shape) // LONG)
    frame = cv2.dilate(cv2.max(_lines(ink, long), _lines(ink.T.copy(), long).T), np.ones((3, 3), np.uint8))
    _, parts, stats, _ = cv2.connectedComponentsWithStats(frame, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT]
    if areas.max(initial=0) < LEAST_AREA * ink.size:
        return None
    largest = parts == 1 + areas.argmax()
    y, x = np.nonzero(largest)
    corners = [np.argmin(x + y), np.argmax(x - y), np.argmax(x + y), np.argmin(x - y)]  # clockwise from the top left
    corners = np.stack([x[corners], y[corners]], axis=1).astype(np.float32)
    sides = np.hypot(*(corners - np.roll(corners, -1, axis=0)).T)
    width, height = round((sides[0] + sides[2]) / 2), round((sides[1] + sides[3]) / 2)
    if min(width, height) < long:
        return None
    target = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    view = cv2.getPerspectiveTransform(corners, target)
    edge = np.float32([[1, 0, long / 4], [0, 1, long / 4], [0, 0, 1]])  # so that the outer lines lie inside
    size = width + long // 2, height + long // 2
    straight = cv2.warpPerspective(np.where(largest, ink, 0).astype(np.uint8), edge @ view, size)
    flat, upright = _lines(straight, long), _lines(straight.T.copy(), long)
    across, down = _places(flat, width, long), _places(upright, height, long)
    if len(across) < 2 or len(down) < 2 or len(across) + len(down) < 5:
        return None
    reach = max(2, long // 10)
    walls = np.ones((len(across) - 1, len(down)), bool)
    for row, (top, bottom) in enumerate(zip(across[:-1], across[1:], strict=True)):
        for column, at in enumerate(down):
            band = upright[max(0, int(at) - reach) : int(at) + reach + 1, int(top) : int(bottom)]
            walls[row, column] = band.any(axis=0).mean() >= PRESENT
    walls[:, 0] = True
    return Grid((edge @ view) @ np.diag([scale, scale, 1]), across, down, walls)


def local_ink(picture: np.ndarray) -> np.ndarray:
    """How much each pixel differs from its surroundings, as ink, dark or bright, does: float32 (H, W), 0 to 1.

    `picture` is uint8 (H, W) or (H, W, 3). Of the colours the one that differs most counts, so that pens of different
    colours show on one page; the difference is relative to its local standard deviation, so that light does not count.
    """
    pixels = picture.astype(np.float32)
    away = pixels - cv2.blur(pixels, (SURROUNDINGS, SURROUNDINGS))
    if away.ndim == 3:
        low, high = away.min(axis=2), away.max(axis=2)
        away = np.where(high > -low, high, low)
    spread = np.sqrt(np.maximum(cv2.blur(away * away, (SURROUNDINGS, SURROUNDINGS)), 0))
    contrast = np.clip(away / (FULL * (spread + FAINT)), -1, 1)
    dark_ink = (contrast**3).sum() < 0  # ink is rarer than paper, so it differs more
    return np.clip(-contrast if dark_ink else contrast, 0, 1)


def _lines(ink: np.ndarray, long: int) -> np.ndarray:
    """The nearly horizontal lines of a mask: what is at least `long` pixels long, and thin."""
    thicker = cv2.dilate(ink, np.ones((3, 1), np.uint8))  # a slanting line is a staircase of short runs
    found = cv2.morphologyEx(thicker, cv2.MORPH_OPEN, np.ones((1, long), np.uint8))
    bars = cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((max(12, long // THIN), 1), np.uint8))
    return cv2.subtract(found, bars)


def _places(lines: np.ndarray, width: int, long: int) -> np.ndarray:
    """The rows of a mask in which lines lie, one for each line; the strokes of letters in a row are none."""
    near = cv2.dilate(lines, np.ones((2 * max(2, lines.shape[0] // BENT) + 1, 1), np.uint8))
    joined = cv2.morphologyEx(near, cv2.MORPH_CLOSE, np.ones((1, long // 2), np.uint8))
    whole = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((1, max(1, round(COVERED * width))), np.uint8))
    full = np.concatenate([[False], whole.any(axis=1), [False]])
    starts, ends = np.flatnonzero(full[1:] & ~full[:-1]), np.flatnonzero(~full[1:] & full[:-1])
    return (starts + ends) / 2
