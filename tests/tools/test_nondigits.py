"""What the gate learns to refuse is drawn as promised, and holds no digits."""

import numpy as np
import pytest

from helpers import data
from tools import nondigits


@pytest.fixture(scope="module")
def digits():
    mnist = data.load()
    return nondigits.Digits(mnist.x_train[-1000:], mnist.y_train[-1000:])


def rng(seed=1):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", nondigits.FAMILIES)
def test_families_are_pictures_that_differ_and_that_chance_repeats(name, digits):
    x = nondigits.negatives(name, 20, digits, rng())
    assert x.shape == (20, 28, 28) and x.dtype == np.uint8
    np.testing.assert_array_equal(x, nondigits.negatives(name, 20, digits, rng()))
    assert len({image.tobytes() for image in x}) >= 15
    if not nondigits.FAMILIES[name][1]:
        assert (x.max(axis=(1, 2)) > 100).all() and (x == 0).mean() > 0.4  # ink on black, as in MNIST


def test_matched_intensities_are_those_of_the_digit(digits):
    photograph = nondigits.negatives("photographs", 1, digits, rng())[0]
    matched = nondigits.match_intensities(photograph, digits.x[0], rng())
    np.testing.assert_array_equal(np.sort(matched, axis=None), np.sort(digits.x[0], axis=None))


def test_characters_that_may_be_digits_are_left_out():
    assert not nondigits.is_clear("DejaVuSans", "|") and not nondigits.is_clear("DejaVuSans", "О")  # Cyrillic
    assert nondigits.is_clear("DejaVuSans", "Ж") and nondigits.is_clear("DejaVuSans", "#")
    assert not set("O½①²٣") & {c for kind in ("scripts", "symbols") for _, c in nondigits.characters(kind)}


def test_photographs_come_with_the_packages():
    found = nondigits.photographs()
    assert len(found) > 100 and all(p.ndim == 2 and p.dtype == np.uint8 for p in found)
