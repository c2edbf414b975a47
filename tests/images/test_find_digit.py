"""helpers.images.find_digit: the digit is kept; specks, rules, frames and tables are not."""

import cv2
import numpy as np
import pytest

from helpers import images
from helpers.images import find_digit


def strokes_kept(mask):
    """The most plausible digit of a mask."""
    return images.find_digits(mask)[0][1]


def test_find_digits_drops_specks_and_edges(seven):
    dirty = seven.copy()
    for row, column in ((20, 20), (180, 30), (40, 180)):
        dirty[row : row + 3, column : column + 3] = 255
    dirty[:, 190:] = 255  # a strip of the table
    assert np.array_equal(strokes_kept(dirty), seven)


@pytest.mark.parametrize("inset", [8, 18])
def test_find_digits_drops_a_frame(seven, inset):
    framed = cv2.rectangle(seven.copy(), (inset, inset), (199 - inset, 199 - inset), 255, 2)
    assert np.array_equal(strokes_kept(framed), seven)


def test_find_digits_drops_a_ring(seven):
    assert np.array_equal(strokes_kept(cv2.circle(seven.copy(), (100, 100), 92, 255, 2)), seven)


def test_find_digits_drops_a_rule_through_the_digit(seven):
    ruled = cv2.line(seven.copy(), (0, 100), (199, 102), 255, 3)
    kept = strokes_kept(ruled)
    assert np.count_nonzero(kept != seven) < 60


def test_find_digits_keeps_broken_strokes(seven):
    broken = seven.copy()
    broken[100:108] = 0
    assert np.array_equal(strokes_kept(broken), broken)


def test_find_digits_of_a_digit_at_the_edge(seven):
    cut = images.crop(seven)
    assert np.array_equal(strokes_kept(cut), cut)


def test_find_digits_of_a_broken_frame_like_stroke_is_no_frame(seven):
    part = seven.copy()
    cv2.circle(part, (78, 100), 12, 255, 3)  # beside the stem, under the bar: not framed on all sides
    assert strokes_kept(part)[50, 100] == 255


def test_find_digits_prefers_the_digit_to_a_line():
    mask = np.zeros((200, 200), np.uint8)
    mask[20:23, 20:180] = 255
    cv2.circle(mask, (100, 120), 30, 255, 8)
    assert not strokes_kept(mask)[:40].any()


def test_thin_lines_to_the_edge_are_cut_off(seven):
    lined = cv2.line(seven.copy(), (0, 30), (199, 140), 255, 2)
    kept = strokes_kept(lined)
    assert find_digit.touches(kept) == 0
    assert np.mean(kept[seven > 0] > 0) > 0.97 and np.count_nonzero(kept[seven == 0]) < 250


def test_squared_paper_leaves_the_digit(seven):
    squared = seven.copy()
    squared[8::22] = squared[:, 12::22] = 255
    kept = strokes_kept(squared)
    overlap = np.count_nonzero(kept & seven) / np.count_nonzero(kept | seven)
    assert overlap > 0.9


def test_remove_strips(seven):
    ink = (seven // 2).astype(np.uint8)
    ink[:, 170:] = 255
    mask = np.where(ink > 0, 255, 0).astype(np.uint8)
    cleaned = find_digit.remove_strips(ink, mask)
    assert not cleaned[:, 170:].any() and np.array_equal(cleaned[:, :160], ink[:, :160])
    touching = ink.copy()
    touching[50:60, 140:170] = 127  # the bar of the 7 goes on to the strip
    cleaned = find_digit.remove_strips(touching, np.where(touching > 0, 255, 0).astype(np.uint8))
    assert cleaned[55, 150] == 127 and not cleaned[:, 172:].any()
    assert find_digit.remove_strips(seven, seven) is seven


@pytest.mark.parametrize("slope", [0, 0.04])
@pytest.mark.parametrize("down", [False, True])
def test_remove_rules(seven, slope, down):
    ruled = seven.copy()
    for row in (30, 100, 170):
        cv2.line(ruled, (0, row), (199, int(row + 199 * slope)), 255, 3)
    if down:
        ruled, seven = ruled.T.copy(), seven.T
    cleaned = images.remove_rules(ruled)
    away = cv2.dilate(seven, np.ones((9, 9))) == 0
    assert np.mean(cleaned[away] > 0) < 0.004
    assert np.mean(cleaned[seven > 0] > 0) > 0.95
