"""helpers.notebook.forms: each digit stands in its box, and a form repeats."""

import numpy as np

from helpers.notebook import forms

TEXTS = {"Postcode": "01234", "Date": "56789012"}
DIGITS = [np.full((1, 28, 28), 0, np.uint8) for _ in range(10)]
for _k, _images in enumerate(DIGITS):
    _images[0, 9:19, 9:19] = 25 * _k  # the class tells how much ink


def boxes(page, texts):
    return [
        page[row + 3 : row + forms.BOX - 3, column + 3 : column + forms.BOX - 3]
        for corners in forms.places(texts).values()
        for row, column in corners
    ]


def test_every_digit_stands_in_its_box():
    page = forms.draw(TEXTS, DIGITS, np.random.default_rng(0))
    found = boxes(page, TEXTS)
    assert page.dtype == np.uint8 and len(found) == 13 and all(box.shape == (38, 38) for box in found)
    darkest = [np.percentile(box, 2) for box in found]
    expected = [forms.PAPER - int(c) * 25 / 255 * (forms.PAPER - forms.INK) for c in "".join(TEXTS.values())]
    assert np.corrcoef(darkest, expected)[0, 1] > 0.97


def test_the_generator_decides_all():
    one, same, other = (forms.draw(TEXTS, DIGITS, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_fields_stand_below_each_other_and_do_not_overlap():
    corners = forms.places(TEXTS)
    assert [len(row) for row in corners.values()] == [5, 8]
    assert corners["Date"][0][0] - corners["Postcode"][0][0] > forms.BOX
    assert {right - left for (_, left), (_, right) in zip(corners["Date"], corners["Date"][1:], strict=False)} == {
        forms.BOX
    }
