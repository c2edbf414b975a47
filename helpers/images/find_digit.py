"""Which connected components of a mask are the digit, and which are rules, frames, tables or specks.

A mask is uint8 (H, W), 255 = ink. Explained in notebooks/02_preprocessing.ipynb and 06_custom_image_prediction.ipynb.
"""

import cv2
import numpy as np

from helpers.errors import NoDigit
from helpers.images.strokes import pad, sides

RULE = 0.92  # of the side of the picture that a printed line spans at least
PARTS = 150  # largest number of components considered: a noisy page has thousands of specks


def remove_rules(mask: np.ndarray) -> np.ndarray:
    """Removes printed lines that span the picture, horizontally or vertically, but not the strokes they cross.

    A rule survives an opening with a long thin kernel and spans the picture. Where a stroke crosses it, there is ink on
    both sides of it.
    """
    result = mask
    for turned in (False, True):
        page = cv2.transpose(result) if turned else result
        for rule, thickness in _rules(page):
            # Where a stroke crosses, the vertical run of ink is longer than the rule is thick,
            strokes = cv2.morphologyEx(page, cv2.MORPH_OPEN, np.ones((2 * thickness + 2, 1), np.uint8))
            rest = np.where((rule > 0) & (strokes == 0), 0, page).astype(np.uint8)
            # or there is ink on both sides of the gap that removing the rule leaves.
            joined = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones((2 * thickness + 1, 1), np.uint8))
            page = np.where(rule > 0, joined, rest)
        result = cv2.transpose(page) if turned else page
    return result if result.any() else mask


def _rules(page: np.ndarray) -> list[tuple[np.ndarray, int]]:
    """The horizontal rules of a mask, each as (mask, thickness in pixels)."""
    height, width = page.shape
    # A slanting line of one pixel is a staircase of short runs; after a dilation the runs overlap.
    thicker = cv2.dilate(page, np.ones((3, 1), np.uint8))
    runs = cv2.morphologyEx(thicker, cv2.MORPH_OPEN, np.ones((1, max(5, width // 8)), np.uint8))
    if np.count_nonzero(runs.any(axis=0)) < 0.6 * width:
        return []
    joined = cv2.dilate(runs, np.ones((3, 2 * (width // 16) + 1), np.uint8))
    count, parts, stats, _ = cv2.connectedComponentsWithStats(joined)
    found = []
    for part in 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_WIDTH] > RULE * width):
        rule = np.where((parts == part) & (runs > 0), page, 0).astype(np.uint8)
        columns = np.count_nonzero(rule, axis=0)
        found_at = np.flatnonzero(columns)
        if not found_at.size or np.ptp(found_at) < RULE * width:  # a stem is shorter, as people leave a margin
            continue
        # Strokes that touch the rule make some columns thicker, never thinner.
        thickness = int(np.percentile(columns[found_at], 20))
        if thickness <= max(2, height / 30):
            found.append((rule, thickness))
    return found


def find_digits(mask: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """The groups of components that may be the digit, each as (doubt, mask), the most plausible first with doubt 0.

    Raises NoDigit if nothing has the size of a digit.
    """
    if not mask.any():
        raise NoDigit("No ink was found: the picture is blank.")
    without = remove_rules(mask)
    found = _choose(without)
    if found and touches(found[0][1]):
        # Thin lines that lead to the edge (slanting rules, the edge of a page or a shadow) may touch the digit.
        trimmed = _trim(without, found[0][1])
        cut = _choose(trimmed) if trimmed.any() else []
        if cut and touches(cut[0][1]) < touches(found[0][1]) and _size(cut[0][1]) > 0.2 * _size(found[0][1]):
            found = cut + [(doubt + 0.7, kept) for doubt, kept in found]
    if not np.array_equal(without, mask):
        with_rules = _choose(mask)
        # A stem from edge to edge looks like a rule; then the rest of the digit touches the edges too.
        tight = with_rules and found and touches(found[0][1]) >= 1 and touches(with_rules[0][1]) >= 3
        later, sooner = (found, with_rules) if tight else (with_rules, found)
        found = sooner + [(doubt + 1, kept) for doubt, kept in later]
    if not found:
        raise NoDigit("No digit was found: the picture is blank, or holds only specks too small to read.")
    return sorted(found, key=lambda reading: reading[0])


def _trim(mask: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The mask without strokes much thinner than the thickest one of `kept`."""
    thickest = 2 * cv2.distanceTransform(pad(kept), cv2.DIST_L2, 3).max()
    reach = int(0.4 * thickest)
    if reach < 2:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    thick = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc)
    return cv2.min(mask, cv2.dilate(thick, np.ones((reach, reach), np.uint8)))


def _size(mask: np.ndarray) -> int:
    """The longest side of the bounding box of a mask's ink, in pixels."""
    return max(cv2.boundingRect(mask)[2:])


def touches(mask: np.ndarray) -> int:
    """How many of the four sides of the picture a mask touches."""
    return sum(bool(side.any()) for side in sides(mask))


def _choose(mask: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """As `find_digits`, without removing rules; [] if all components are too small."""
    height, width = mask.shape
    count, parts, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return []
    left, top, wide, high, area = stats[1:].T.astype(np.float64)  # component 0 is the paper
    size = np.maximum(wide, high)
    contact = edge_contact(parts, count)[:, 1:]
    along, touched = contact.max(axis=0), np.count_nonzero(contact, axis=0)
    # The end of a stroke may touch the edge; a table or a shadow lies along it, a line joins two edges.
    foreign = (along > 0.5 * size) | (touched >= 2)
    strips = _strips(parts, along, count)
    away = np.hypot(centres[1:, 0] / width - 0.5, centres[1:, 1] / height - 0.5)
    likely = size**2 * (1 - 0.6 * away)
    likely[foreign] *= 0.1
    likely[strips] *= 0.01
    likely[(touched == 1) & ~foreign] *= 0.5
    likely[area > 0.55 * size**2] *= 0.5  # a solid blob: a punched hole, a thumb
    likely[(wide > 2.5 * high) | (high > 12 * wide)] *= 0.1  # wider than any digit: remains of a rule
    order = np.argsort(-likely)[:PARTS]
    frames = np.zeros(count - 1, bool)
    for outer in order[:5]:
        if area[outer] < 0.3 * wide[outer] * high[outer]:
            inside = (left > left[outer]) & (left + wide < left[outer] + wide[outer]) & (size > 0.25 * size[outer])
            inside &= (top > top[outer]) & (top + high < top[outer] + high[outer]) & ~foreign
            frames[outer] = any(_goes_round(parts == 1 + outer, stats[1 + i]) for i in np.flatnonzero(inside))
    likely[frames] *= 0.02
    found, used = [], frames.copy()
    for core in sorted(order, key=lambda part: -likely[part])[:3]:
        doubt = np.log(likely[order].max() / likely[core])
        if used[core] and found or size[core] < max(4, 0.025 * max(mask.shape)) or doubt > 1.5:
            continue
        # Components that touch the edge can only belong to a digit that touches it too.
        barred = frames | strips
        if not foreign[core]:
            barred |= foreign if touched[core] else touched > 0
        barred[core] = False
        group = _group(parts, stats, core, barred, order)
        used[group] = True
        found.append((float(doubt), _mask(parts, group)))
    return found


def edge_contact(parts: np.ndarray, count: int) -> np.ndarray:
    """How many pixels of each side of the picture belong to each of `count` labels, 0 the paper: (4, count)."""
    return np.array([np.bincount(side, minlength=count) for side in sides(parts)])


def _strips(parts: np.ndarray, along: np.ndarray, count: int) -> np.ndarray:
    """Which components (counted from 0) fill a corner and lie along an edge, as a table or another page does: bool."""
    corners = np.zeros(count, bool)
    corners[parts[[0, 0, -1, -1], [0, -1, 0, -1]]] = True
    return corners[1:] & (along > 0.15 * min(parts.shape))


def remove_strips(ink: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The grey `ink` without strips along the edge of the picture, unless nothing of a digit's size would be left.

    A table is darker than pencil and would raise the threshold above it. Returns `ink` itself if there is no strip.
    """
    corners = mask[[0, 0, -1, -1], [0, -1, 0, -1]]
    if not corners.any():
        return ink
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    strips = np.flatnonzero(_strips(parts, edge_contact(parts, count)[:, 1:].max(axis=0), count))
    least = 0.06 * max(mask.shape)
    apart = np.delete(stats[1:], strips, axis=0)
    if not strips.size or stats[1 + strips, cv2.CC_STAT_AREA].sum() < 0.1 * cv2.countNonZero(mask):
        return ink
    # If nothing else is large enough, the digit touches the strip, or a tightly cropped digit fills a single corner.
    if _longest(apart) < least and np.count_nonzero(corners) < 2:
        return ink
    # Only what is as wide as a strip (padded by replication) is removed: a stroke that touches it stays.
    side = max(5, min(mask.shape) // 16)
    beyond = cv2.copyMakeBorder(_mask(parts, strips), *[side] * 4, cv2.BORDER_REPLICATE)
    _, wide = cv2.connectedComponents(cv2.morphologyEx(beyond, cv2.MORPH_OPEN, np.ones((side, side), np.uint8)))
    outside = np.concatenate(sides(wide))
    removed = _mask(wide, outside[outside > 0] - 1)[side:-side, side:-side]
    removed = cv2.dilate(removed, np.ones((5, 5), np.uint8))
    rest = cv2.connectedComponentsWithStats(cv2.subtract(mask, removed))[2][1:]
    return cv2.subtract(ink, removed) if _longest(rest) >= least else ink


def _longest(stats: np.ndarray) -> int:
    """The longest side of any bounding box in OpenCV's statistics of components; 0 without components."""
    return int(stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(initial=0))


def _goes_round(frame: np.ndarray, inner: np.ndarray) -> bool:
    """Whether the ink of `frame` (bool) surrounds a box, given as left, top, width, height, …"""
    left, top, wide, high = inner[:4]
    rows, columns = frame[top : top + high], frame[:, left : left + wide]
    around = (rows[:, :left].any(1), rows[:, left + wide :].any(1), columns[:top].any(0), columns[top + high :].any(0))
    return all(side.mean() > 0.8 for side in around)


def _group(parts: np.ndarray, stats: np.ndarray, core: int, barred: np.ndarray, order: np.ndarray) -> list[int]:
    """The components (counted from 0) that form one digit with `core`: its other strokes, or fragments of a broken one.

    A component joins if its distance to the group is small compared with the group's size, and smaller still for a
    small component: dust lies anywhere, a broken stroke continues where it stopped.
    """
    area = stats[1:, cv2.CC_STAT_AREA]
    width, height = stats[1:, cv2.CC_STAT_WIDTH], stats[1:, cv2.CC_STAT_HEIGHT]
    group = [int(core)]
    waiting = [i for i in order if i != core and not barred[i] and area[i] >= max(3, 0.01 * area[core])]
    small = [i for i in waiting if max(width[i], height[i]) < 0.2 * max(width[core], height[core])]
    if len(small) > 12:  # a texture, such as the remains of squared paper
        waiting = [i for i in waiting if i not in small]
    while waiting:
        inside = _mask(parts, group)
        size = _size(inside)
        stroke = area[group].sum() / max(1, size)  # a lower bound of the stroke width
        gaps = cv2.distanceTransform(255 - inside, cv2.DIST_L2, 3)
        joined = []
        for i in waiting:
            x, y = stats[1 + i, cv2.CC_STAT_LEFT], stats[1 + i, cv2.CC_STAT_TOP]
            box = np.s_[y : y + height[i], x : x + width[i]]
            gap = gaps[box][parts[box] == 1 + i].min()
            long = max(width[i], height[i]) / size
            if gap < max(size * min(0.4, 0.06 + 0.6 * long), 1.5 * stroke) and long > 0.04:
                joined.append(i)
        if not joined:
            break
        group += joined
        waiting = [i for i in waiting if i not in joined]
    return group


def _mask(parts: np.ndarray, group: list[int] | np.ndarray) -> np.ndarray:
    """The mask of the components in `group` (counted from 0) of labelled `parts`."""
    return 255 * np.isin(parts, 1 + np.asarray(group)).astype(np.uint8)
