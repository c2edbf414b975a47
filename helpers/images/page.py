"""From the picture of a page to rows of ink without printed lines. Knows no model.

The steps of steps.py and find_digit.py at the scale of a page, where strokes are small and there are many digits:
subtract the background, remove printed lines, split the ink into connected components, group them into rows, which
helpers/predict/lines.py reads. A mask is uint8 (H, W), 255 = ink; lengths are in pixels.
Explained in notebooks/06_custom_image_prediction.ipynb.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from helpers.images.find_digit import edge_contact
from helpers.images.steps import along_colour, hysteresis, resize, thin_and_dark, threshold
from helpers.images.strokes import depth, ridge, weighted_median

PIECES = 8000  # largest number of components considered
STEM = 1.25  # times the height of the digits that a printed line is long
OTHERS = 0.1  # of the centre lines that components apart from the edge hold at least, to tell the stroke
NARROW = 0.3  # of its width, so long must a printed line be in a crop that is narrow
REACH, THROUGH = 0.95, 0.7  # of the width of a narrow crop that a line of short pieces spans, and covers
FEW = 500  # so many components are compared in pairs
TIGHT = 0.45  # of the height of a page: digits as high fill it


class Page(NamedTuple):
    """A page ready for reading: its grey ink on 0 (uint8), the level at which ink begins, and its mask without lines."""

    ink: np.ndarray
    level: float
    mask: np.ndarray
    lines: np.ndarray  # mask of the printed lines that were removed
    stroke: float  # typical width of a stroke
    thin: float  # thickness of the thickest printed line, 0 without lines


@dataclass(eq=False)
class Piece:
    """A connected component, or a fragment of one after cutting: its position and its mask (bool) within its box."""

    left: int
    top: int
    mask: np.ndarray
    whole: int = -1  # label of the component that it was cut from
    thick: float = 0.0  # width of its thickest stroke

    def __post_init__(self):
        self.height, self.width = self.mask.shape
        self.right, self.bottom = self.left + self.width, self.top + self.height
        self.area = int(np.count_nonzero(self.mask))
        self.x, self.y = self.left + self.width / 2, self.top + self.height / 2


@dataclass(eq=False)
class Row:
    """The pieces of a row from left to right, and the line through their centres: y = at + slope · x."""

    pieces: list[Piece]

    def __post_init__(self):
        """Computes height and line from the pieces, ignoring those much smaller than the others."""
        self.pieces.sort(key=lambda p: p.x)
        self.left, self.right = self.pieces[0].left, max(p.right for p in self.pieces)
        self.height, self.slope = typical_height(self.pieces), 0.0
        large = [p for p in self.pieces if p.height > 0.6 * self.height]
        x, y = np.array([p.x for p in large]), np.array([p.y for p in large])
        span = np.ptp(x)
        if len(large) > 2 and span > 2 * self.height:
            far = np.abs(x[:, None] - x) > 0.4 * span  # Theil-Sen: the median of slopes is robust to outliers
            slopes = (y[:, None] - y)[far] / (x[:, None] - x)[far]
            self.slope = float(np.clip(np.median(slopes), -0.5, 0.5))
        self.at = float(np.median(y - self.slope * x))

    def middle(self, x: float) -> float:
        """The vertical position of the centres of digits at column x."""
        return self.at + self.slope * x


# Ink ----------------------------------------------------------------------------------------------------------


def to_grey(picture: np.ndarray) -> np.ndarray:
    """As `to_grayscale`, with detail as fine as the strokes of a page."""
    if picture.ndim == 2:
        return picture
    pixels = picture.astype(np.float32)
    detail = (cv2.GaussianBlur(pixels, (0, 0), 1) - cv2.blur(pixels, (31, 31)))[::2, ::2].reshape(-1, 3)
    return along_colour(picture, detail)


def page_polarity(grey: np.ndarray) -> float:
    """As `polarity_evidence`, with kernels of the size of a page's strokes."""
    return thin_and_dark(resize(grey, min(640, max(grey.shape))), (5, 9, 15, 25, 41))


def flatten(bright: np.ndarray, side: int, dark_ink: bool) -> np.ndarray:
    """Subtracts what is wider than `side` pixels (paper, shadow, table) from bright ink; the background becomes 0."""
    smooth = cv2.GaussianBlur(bright, (0, 0), 0.7)
    background = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    background = cv2.dilate(background, np.ones((3, 3), np.uint8)).astype(np.float32)
    ink = smooth - background
    if dark_ink:  # light multiplies: in the shade, ink differs less from its paper
        ink *= 255 / np.maximum(255 - background, 32)
    return np.clip(np.round(ink), 0, 255).astype(np.uint8)


def prepare(grey: np.ndarray, dark_ink: bool, most: float = np.inf) -> Page:
    """The ink of a grey page (H, W), its level `most` at the most. Raises NoDigit if the page is blank."""
    bright = 255 - grey if dark_ink else grey
    side = max(7, int(0.35 * min(grey.shape)))
    ink = flatten(bright, side, dark_ink)
    level, floor = threshold(ink)
    stroke = typical_stroke(hysteresis(ink, max(floor, 0.6 * level), level))
    finer = max(7, int(10 * stroke))
    if finer < 0.7 * side:  # once the stroke width is known, narrower shadows can be subtracted too
        ink = flatten(bright, finer, dark_ink)
        level, floor = threshold(ink)
    low = max(floor, 0.7 * level)
    if low > most:
        level, low = level * most / low, most
    mask = hysteresis(ink, low, level)
    stroke = typical_stroke(mask)
    height = _digit_height(255 * (ink > level).astype(np.uint8))
    rest, lines, thin = remove_lines(mask, stroke, height)
    if lines.any() and rest.any():
        stroke = typical_stroke(rest)
        pale, full = (float(np.percentile(ink[part > 0], 75)) for part in (lines, rest))
        if 1.4 * pale < full:  # a level between pale lines and the ink removes the lines without a trace
            low = max(low, min((pale + full) / 2, most))
            strong, gap = hysteresis(ink, low, low), 2 * round(thin) + 3
            across = [cv2.morphologyEx(strong, cv2.MORPH_CLOSE, np.ones(n, np.uint8)) for n in ((gap, 1), (1, gap))]
            mask = cv2.max(strong, cv2.min(cv2.max(*across), mask))  # where a line crossed the ink it leaves a gap
        rest, lines, thin = remove_lines(mask, stroke, height)
    return Page(ink, low, rest, lines, stroke, thin)


def typical_stroke(mask: np.ndarray) -> float:
    """The typical stroke width: twice the median distance from the centre line to the paper, 0 without ink.

    Large components at the edge of the page, such as a table, are ignored unless nearly all ink belongs to them.
    """
    parts, stats = cv2.connectedComponentsWithStats(mask, connectivity=8)[1:3]
    distances = depth(mask)
    centre = ridge(distances)
    height, width = mask.shape
    left, top, wide, high, _ = stats.T
    edge = (left == 0) | (top == 0) | (left + wide == width) | (top + high == height)
    inside = centre & ~(edge & ((wide > 0.3 * width) | (high > 0.3 * height)))[parts]
    values = distances[inside if np.count_nonzero(inside) > OTHERS * np.count_nonzero(centre) else centre]
    return float(2 * np.median(values)) if values.size else 0.0


# Printed lines ------------------------------------------------------------------------------------------------


def remove_lines(mask: np.ndarray, stroke: float, height: float = 0.0) -> tuple[np.ndarray, np.ndarray, float]:
    """Removes printed lines, boxes and underlines of any small slant; `stroke` is the typical stroke width.

    `height` is that of the digits where it is known.

    Lines are long, straight and thin: short vertical runs of ink on a line found by the probabilistic Hough transform
    (Matas et al., 2000). Where a stroke crosses, the run is longer, and is kept. Returns the remaining and the removed
    ink (masks), and the thickness of the thickest line (0 without lines).
    """
    found, thickest = np.zeros_like(mask), 0.0
    for turned in (False, True):
        page = np.ascontiguousarray(mask.T) if turned else mask
        lines, thick = _flat_lines(page, stroke, height, turned)
        if thick:  # a stroke hardly wider than the line continues on the other side of it
            gap = np.ones((2 * round(thick) + 1, 1), np.uint8)
            lines = cv2.subtract(lines, cv2.morphologyEx(cv2.subtract(page, lines), cv2.MORPH_CLOSE, gap))
        found = cv2.max(found, np.ascontiguousarray(lines.T) if turned else lines)
        thickest = max(thickest, thick)
    return cv2.subtract(mask, found), found, thickest


def _digit_height(mask: np.ndarray) -> float:
    """The height of the digits, judged by components that are no lines, frames or dirt; 0 if there are none."""
    left, top, wide, high, area = cv2.connectedComponentsWithStats(mask, connectivity=8)[2][1:].T
    shaped = (wide > 0.15 * high) & (wide < 2 * high) & (wide < 0.5 * mask.shape[1]) & (high > 8)
    left, top, wide, high, area = (n[shaped] for n in (left, top, wide, high, area))
    if 1 < len(high) <= FEW:  # a box round a digit is none
        x, y = left + wide / 2, top + high / 2
        inside = (left[:, None] < x) & (x < (left + wide)[:, None]) & (top[:, None] < y) & (y < (top + high)[:, None])
        holds = (inside & (high > 0.3 * high[:, None]) & (high < high[:, None])).any(axis=1)
        high, area = high[~holds], area[~holds]
    return weighted_median(high, area)


def _flat_lines(page: np.ndarray, stroke: float, height: float, turned: bool) -> tuple[np.ndarray, float]:
    """The mask of the long, straight, thin, nearly horizontal lines, and the thickness of the thickest.

    Longer than `height`, that of the digits where it is known: the stem of a large digit is as straight and thin.
    """
    runs = _runs(page)
    thin = np.where((runs > 0) & (runs <= 1.5 * stroke + 1), 255, 0).astype(np.uint8)
    # A slanting line is a staircase of short runs, so it is dilated first.
    thicker = cv2.dilate(thin, np.ones((3, 1), np.uint8))
    long = cv2.morphologyEx(thicker, cv2.MORPH_OPEN, np.ones((1, max(5, round(3 * stroke))), np.uint8))
    least = max(0.08 * page.shape[1], 18 * stroke)
    span = min(STEM * height, 0.25 * max(page.shape))
    found = cv2.HoughLinesP(
        cv2.min(long, thin), 1, np.pi / 720, int(0.2 * least), minLineLength=0.35 * least, maxLineGap=2.5 * stroke + 2
    )
    lines = np.zeros((0, 4)) if found is None else found.reshape(-1, 4).astype(np.float64)
    limit, thickest = np.zeros(page.shape, np.uint8), 0.0
    for x1, y1, x2, y2 in _in_line(lines, least, span, 0.5 * stroke + 2, 0 if turned else page.shape[1]):
        x, y = (np.linspace(*ends, 60).astype(int) for ends in ((x1, x2), (y1, y2)))
        crossed = runs[y, x]
        thick = float(np.percentile(crossed[crossed > 0], 30)) if crossed.any() else 1.0
        thickest = max(thickest, thick)
        # A line is extended a little, up to the stroke that may hide its end.
        on = 8 * stroke / max(1, abs(x2 - x1))
        ends = [(round(x1 - on * (x2 - x1)), round(y1 - on * (y2 - y1)))]
        ends += [(round(x2 + on * (x2 - x1)), round(y2 + on * (y2 - y1)))]
        cv2.line(limit, *ends, min(255, int(1.5 * thick + 1)), 2 * round(0.5 * thick + 1) + 1)
    return np.where((runs > 0) & (runs <= limit), 255, 0).astype(np.uint8), thickest


def _in_line(lines: np.ndarray, least: float, span: float, near: float, width: int) -> np.ndarray:
    """The nearly horizontal lines (N, 4) of at least `least` pixels, and the shorter ones in line with one of them.

    Only where all that are in line span at least `span` pixels. In a narrow crop of a page, digits that stand on a rule
    leave only pieces of it: there, shorter ones alone will do where they run from edge to edge of its `width`. With a
    width of 0 they do not, since the stem of a digit runs from top to bottom too.
    """
    x1, y1, x2, y2 = lines.T
    flat = np.abs(y2 - y1) < 0.3 * np.abs(x2 - x1)
    long = np.hypot(x2 - x1, y2 - y1) >= least
    narrow = 0 < NARROW * width < least
    chosen = np.zeros(len(lines), bool)
    for (a, b, c, d), alone in zip(lines[flat & (long | narrow)], long[flat & (long | narrow)], strict=True):
        slope = (d - b) / (c - a)
        its = flat & (np.abs(b + slope * (x1 - a) - y1) < near) & (np.abs(b + slope * (x2 - a) - y2) < near)
        ends = lines[its][:, [0, 2]]
        if np.ptp(ends) >= span and (alone or _edge_to_edge(ends, width)):
            chosen |= its
    return lines[chosen]


def _edge_to_edge(ends: np.ndarray, width: int) -> bool:
    """Whether lines with these first and last columns (N, 2) run through a page of this width, and cover most of it."""
    covered = np.zeros(width, bool)
    for first, last in np.sort(ends).astype(int):
        covered[first : last + 1] = True
    return np.ptp(ends) > REACH * width and covered.mean() > THROUGH


def _runs(page: np.ndarray) -> np.ndarray:
    """The length of the vertical run of ink through each pixel: int32 (H, W), 0 on paper."""
    height = len(page)
    rows = np.arange(height, dtype=np.int32)[:, None]
    above = np.maximum.accumulate(np.where(page == 0, rows, -1), axis=0)
    below = np.minimum.accumulate(np.where(page == 0, rows, height)[::-1], axis=0)[::-1]
    return np.where(page > 0, below - above - 1, 0).astype(np.int32)


# Pieces and rows ----------------------------------------------------------------------------------------------


def find_pieces(page: Page) -> tuple[list[Piece], int]:
    """The components of a page that may be digits or parts of digits, in no order; and how many were not looked at."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(page.mask, connectivity=8)
    distances = depth(page.mask)
    beside = cv2.dilate(page.lines, np.ones((5, 5), np.uint8))
    contact = edge_contact(parts, count)
    pieces = []
    large = 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= max(4, 0.6 * page.stroke**2))
    # In a crop close to a row of digits they meet its edges; what lies there is no table.
    tight = _digit_height(page.mask) > TIGHT * page.mask.shape[0]
    for part in large[np.argsort(-stats[large, cv2.CC_STAT_AREA])][:PIECES]:
        left, top, wide, high = (int(n) for n in stats[part, :4])
        box = np.s_[top : top + high, left : left + wide]
        mask = parts[box] == part
        thick = 2 * float(distances[box][mask].max())
        # The remains of a line are as thin as the line.
        remnant = thick < min(1.7 * page.thin + 1, 0.7 * page.stroke) and beside[box][mask].any()
        # A stroke may end at the edge; a table or another page lies along it, or around a corner.
        size, along, touched = max(wide, high), contact[:, part].max(), np.count_nonzero(contact[:, part])
        lies_along = along > 0.5 * size
        heavy = thick > 1.7 * page.stroke or size > 0.25 * min(page.mask.shape)
        foreign = touched > 2 or (lies_along and (heavy or touched > 1))
        if tight and touched:
            foreign = lies_along and (wide > 1.5 * high or thick > 1.7 * page.stroke)
            foreign = foreign or min(wide / page.mask.shape[1], high / page.mask.shape[0]) > 0.9
        foreign = foreign or (touched and thick > 3.5 * page.stroke)
        if not remnant and not foreign:
            pieces.append(Piece(left, top, mask, int(part), thick))
    return pieces, max(0, len(large) - PIECES)


def typical_height(pieces: list[Piece]) -> float:
    """The median height of the pieces, weighted by their ink; 0 without pieces."""
    return weighted_median(np.array([p.height for p in pieces]), np.array([p.area for p in pieces]))


def find_rows(pieces: list[Piece]) -> list[Row]:
    """Groups pieces into rows, from top to bottom; rows may slant. Small pieces join the row that they lie in."""
    typical = typical_height(pieces)
    chains: list[list[Piece]] = []
    for piece in sorted((p for p in pieces if p.height > 0.3 * typical), key=lambda p: p.x):
        best, least = None, np.inf
        for chain in chains:
            for last in chain[-3:]:
                overlap = min(last.bottom, piece.bottom) - max(last.top, piece.top)
                gap, near = piece.left - last.right, max(last.height, piece.height, typical)
                if overlap > 0.45 * min(last.height, piece.height) and -near < gap < min(least, 2.5 * near):
                    best, least = chain, gap
        if best is None:
            chains.append([piece])
        else:
            best.append(piece)
    rows = _merge([Row(chain) for chain in chains])
    # A comma is not a row.
    rows = [row for row in rows if row.height > (0.3 if len(row.pieces) > 1 else 0.55) * typical]
    taken = {id(piece) for row in rows for piece in row.pieces}
    for piece in (piece for piece in pieces if id(piece) not in taken):
        for row in rows:
            near = abs(piece.y - row.middle(piece.x)) < 0.75 * row.height and piece.height < 0.6 * row.height
            if near and row.left - 0.7 * row.height < piece.x < row.right + 0.7 * row.height:
                row.pieces.append(piece)
                break
    for row in rows:
        row.pieces.sort(key=lambda p: p.x)
    # From top to bottom is perpendicular to their mean slope.
    slope = np.average([row.slope for row in rows], weights=[len(row.pieces) for row in rows]) if rows else 0.0
    return sorted(rows, key=lambda row: np.mean([p.y - slope * p.x for p in row.pieces]))


def _merge(rows: list[Row]) -> list[Row]:
    """Merges rows that continue each other, longest first."""
    merged: list[Row] = []
    for row in sorted(rows, key=lambda row: -len(row.pieces)):
        for i, other in enumerate(merged):
            size, at = max(row.height, other.height), (row.left + row.right) / 2
            off = abs(row.middle(at) - other.middle(at))
            apart = max(row.left - other.right, other.left - row.right)
            strays = 0.45 if len(row.pieces) > 2 else 0.6  # rows are at least the height of a digit apart
            if off < strays * size and apart < 12 * size and min(row.height, other.height) > 0.4 * size:
                merged[i] = Row(other.pieces + row.pieces)
                break
        else:
            merged.append(row)
    return merged
