"""helpers.images.mnist_form: the box, the centre of mass, and moves by half a pixel."""

import numpy as np
import pytest

from helpers import images
from helpers.errors import UserError


@pytest.mark.parametrize("shape", [(200, 100), (100, 200), (150, 150), (8, 3)])
def test_fit_box_keeps_proportions(shape):
    result = images.fit_box(np.full(shape, 255, np.uint8))
    assert max(result.shape) == 20
    assert min(result.shape) == max(1, round(20 * min(shape) / max(shape)))


def test_fit_box_is_anti_aliased():
    stripes = np.zeros((160, 160), np.uint8)
    stripes[:, ::2] = 255
    result = images.fit_box(stripes)
    assert result.shape == (20, 20) and np.abs(result.astype(int) - 128).max() < 8


def test_centre_of_mass(seven):
    digit = images.fit_box(images.crop(seven))
    placed = images.centre_of_mass(digit)
    assert placed.shape == (28, 28) and placed.dtype == np.uint8
    assert placed.sum() == digit.sum()  # moved by whole pixels, nothing interpolated
    grid = np.arange(28)
    for axis in (0, 1):
        assert abs(placed.sum(axis=1 - axis) @ grid / placed.sum() - 14) <= 0.5
    with pytest.raises(UserError, match="No ink"):
        images.centre_of_mass(np.zeros((20, 20), np.uint8))


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 28, 28, 1), (1, 5, 9)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_half_pixel_moves(shape, kind):
    x = np.zeros(shape, kind)
    x[0, 2, 4] = 200
    moved = images.half_pixel_moves(x)
    assert moved.shape == (4, *shape) and moved.dtype == kind
    flat = moved.reshape(4, *shape[1:3]).astype(float)
    centres = [tuple(np.average(np.arange(n), weights=view.sum(axis=a)) for n, a in zip(shape[1:3], (1, 0), strict=True))
               for view in flat]  # fmt: skip
    assert centres == [(2.5, 4.5), (2.5, 3.5), (1.5, 4.5), (1.5, 3.5)]
    assert (flat.sum(axis=(1, 2)) == 200).all() and x.sum() == 200


def test_half_pixel_moves_bring_nothing_in_from_the_other_side():
    x = np.zeros((1, 6, 6), np.uint8)
    x[0, 0, 0] = 100
    moved = images.half_pixel_moves(x)[:, 0]
    assert not moved[:, 3:].any() and not moved[:, :, 3:].any() and moved[3].sum() == 25
