"""helpers.images.measure: measures of drawings that are known, and digits set upright."""

import cv2
import numpy as np
import pytest

from helpers import data
from helpers.images.measure import deskew, properties


def stroke(lean=0.0, width=3, height=20):
    """An upright stroke that leans to the right by so many degrees: uint8 (28, 28)."""
    image = np.zeros((280, 280), np.uint8)
    dx = 5 * height * np.tan(np.radians(lean))
    start, end = (int(140 - dx), 140 + 5 * height), (int(140 + dx), 140 - 5 * height)
    cv2.line(image, start, end, 255, 10 * width)
    return cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("lean", [-30, -10, 0, 20])
def test_slant_in_degrees(lean):
    assert properties(stroke(lean)[None])["slant"].item() == pytest.approx(lean, abs=2)


@pytest.mark.parametrize("width", [2, 3, 5])
def test_stroke_width_in_pixels(width):
    assert properties(stroke(0, width)[None])["stroke_width"].item() == pytest.approx(width, abs=0.5)


def test_size_is_the_mean_of_the_sides():
    image = np.zeros((28, 28), np.uint8)
    image[4:24, 10:15] = 255
    assert properties(image[None])["size"].item() == pytest.approx(10)


def test_a_blank_image_has_no_properties_and_stays_blank():
    blank = np.zeros((1, 28, 28), np.uint8)
    assert properties(blank).to_numpy().tolist() == [[0, 0, 0]]
    assert not deskew(blank).any()


@pytest.mark.parametrize("lean", [-30, 15])
def test_deskew_sets_upright_in_place(lean):
    before = stroke(lean)[None]
    after = deskew(before)
    assert after.dtype == np.uint8 and abs(properties(after)["slant"].item()) < 1
    assert after.sum() / before.sum() == pytest.approx(1, rel=0.02)
    assert np.ptp(np.flatnonzero(after[0].max(axis=0) > 127)) < 5


def test_deskewed_digits_vary_less_and_floats_work_too():
    x = data.load().x_test[:300]
    assert np.abs(properties(deskew(x))["slant"]).max() < 5 < properties(x)["slant"].std()
    assert np.abs(deskew(x.astype("float32")) - deskew(x)).max() <= 1
