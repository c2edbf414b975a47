"""What the tests of pictures share: one drawn digit."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def seven():
    """A drawn 7 with strokes of 14 pixels: a mask of 200×200."""
    mask = np.zeros((200, 200), np.uint8)
    cv2.polylines(mask, [np.array([[60, 50], [140, 50], [90, 160]])], False, 255, 14)
    return mask


@pytest.fixture
def paper(seven):
    """The 7 in dark ink on light paper, RGB."""
    return np.repeat(np.where(seven > 0, 40, 230).astype(np.uint8)[..., None], 3, axis=2)
