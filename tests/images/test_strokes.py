"""helpers.images.strokes: width and plausibility of known shapes."""

import cv2
import numpy as np
import pytest

from helpers import images
from helpers.errors import UserError
from helpers.images import strokes


def test_implausibility(seven):
    assert strokes.implausibility(images.crop(seven)) == 0
    assert strokes.implausibility(np.full((40, 160), 255, np.uint8).T) == 0  # the bar of a 1
    assert strokes.implausibility(np.full((40, 160), 255, np.uint8)) >= 1  # lying
    page = np.full((160, 120), 255, np.uint8)
    cv2.circle(page, (60, 80), 30, 0, 8)
    assert strokes.implausibility(page) >= 1
    grid = np.zeros((160, 120), np.uint8)
    grid[::20] = grid[:, ::20] = 255
    assert strokes.implausibility(grid) >= 1


def test_unevenness(seven):
    blot = seven.copy()
    cv2.circle(blot, (90, 120), 45, 255, -1)
    assert strokes.unevenness(seven) < 0.2 < 0.4 < strokes.unevenness(blot)
    assert strokes.unevenness(np.zeros((9, 9), np.uint8)) == 0


def test_fill_pinholes(seven):
    cut = images.crop(seven)
    holed = cut.copy()
    holed[6, 30] = holed[7, 50] = 0
    assert np.array_equal(strokes.fill_pinholes(holed), cut)
    ring = cv2.circle(np.zeros((160, 160), np.uint8), (80, 80), 60, 255, 20)
    assert np.array_equal(strokes.fill_pinholes(ring), ring)


@pytest.mark.parametrize("thickness", [5, 9, 15, 25])
def test_stroke_width(thickness):
    mask = np.zeros((100, 200), np.uint8)
    mask[40 : 40 + thickness, 20:180] = 255
    assert images.stroke_width(mask) == pytest.approx(thickness, abs=1.2)
    assert images.stroke_width(np.zeros_like(mask)) == 0


def test_normalise_stroke():
    ring = cv2.circle(np.zeros((160, 160), np.uint8), (80, 80), 60, 255, 4)
    assert images.stroke_width(images.normalise_stroke(ring, 14, 27)) == pytest.approx(14, abs=2)
    ring = cv2.circle(np.zeros((160, 160), np.uint8), (80, 80), 55, 255, 40)
    assert images.stroke_width(images.normalise_stroke(ring, 14, 27)) == pytest.approx(27, abs=3)
    ring = cv2.circle(np.zeros((160, 160), np.uint8), (80, 80), 60, 255, 20)
    assert images.normalise_stroke(ring, 14, 27) is ring


def test_rests_of_rules_do_not_make_a_marker_a_fine_pen():
    marker = np.zeros((160, 160), np.uint8)
    cv2.ellipse(marker, (80, 90), (45, 50), 0, 0, 360, 255, 24)
    plain = images.stroke_width(marker)
    for y in range(20, 150, 12):
        cv2.line(marker, (0, y), (159, y + 5), 255, 1)
    assert 20 < plain < 28 and abs(images.stroke_width(marker) - plain) < 3


@pytest.mark.parametrize("pen", [2, 70])
def test_normalise_stroke_keeps_loops(pen):
    eight = np.zeros((300, 160), np.uint8)
    cv2.circle(eight, (80, 80), 45, 255, pen)
    cv2.circle(eight, (80, 200), 45, 255, pen)
    changed = images.normalise_stroke(images.crop(eight), 30, 40)
    holes = cv2.connectedComponents(255 - np.pad(changed, 1), connectivity=8)[0] - 2
    assert holes == cv2.connectedComponents(255 - np.pad(eight, 1), connectivity=8)[0] - 2 == 2


def test_normalise_stroke_does_not_break_thin_places():
    mask = np.zeros((160, 160), np.uint8)
    mask[20:60, 10:70] = mask[20:60, 90:150] = 255
    mask[36:44, 10:150] = 255  # a thin bridge
    thinner = images.normalise_stroke(mask, 5, 20)
    assert cv2.connectedComponents(thinner)[0] == 2  # paper and one stroke
    assert np.count_nonzero(thinner) < np.count_nonzero(mask)


def test_crop(seven):
    cut = images.crop(seven)
    assert cut[0].any() and cut[-1].any() and cut[:, 0].any() and cut[:, -1].any()
    assert np.count_nonzero(cut) == np.count_nonzero(seven)
    with pytest.raises(UserError, match="No ink"):
        images.crop(np.zeros((5, 5), np.uint8))
