"""The sample pictures are what tools/make_samples.py makes, and what the CSV files beside them say."""

import csv

import cv2
import numpy as np
import pytest

from helpers import data, images
from tools import make_samples
from tools.make_samples import FOLDER
from tools.simulate import lines, photos


def rows(labels="labels.csv"):
    with open(FOLDER / labels, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_picture_has_a_label():
    files = {path.name for path in FOLDER.iterdir() if path.suffix in (".jpg", ".png")}
    assert files == {row["file"] for row in rows() + rows("lines.csv")}
    assert {row["label"] for row in rows()} == set("0123456789")
    assert {row["condition"] for row in rows()} == set(photos.CONDITIONS)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000


@pytest.mark.parametrize(
    ("labels", "make"), [("labels.csv", make_samples.digits), ("lines.csv", make_samples.rows_of_digits)]
)
def test_pictures_can_be_made_again(labels, make):
    made = make()
    assert [tuple(row.values()) for row in rows(labels)] == [sample[:3] for sample in made]
    for name, _, _, picture, encoded in made:
        kept, again = images.read_image(FOLDER / name), images.read_image(encoded)
        # JPEG decoders differ in the last bit from one version to the next.
        assert kept.shape == again.shape and np.abs(kept.astype(int) - again).mean() < 6, name
        if picture.shape[2] == 3:  # one on its side in the file is upright again
            assert again.shape == picture.shape and np.abs(again.astype(int) - picture).mean() < 6, name


def test_pictures_of_lines_are_small_and_say_only_digits():
    for row in rows("lines.csv"):
        assert set(row["text"]) <= set("0123456789 ") and (FOLDER / row["file"]).stat().st_size < 60_000


def test_no_digit_with_a_wrong_label(monkeypatch):
    mnist, used = data.load(), []
    wrong = {mnist.x_test[i].tobytes() for i in data.KNOWN_LABEL_ERRORS}
    simulate = photos.simulate

    def noted(digit, condition, rng):
        used.append(digit.tobytes())
        return simulate(digit, condition, rng)

    monkeypatch.setattr(photos, "simulate", noted)
    made = make_samples.digits()
    assert not wrong & set(used)
    known = {image.tobytes(): label for image, label in zip(mnist.x_test, mnist.y_test, strict=True)}
    assert [known[digit] for digit in used] == [int(text) for _, text, *_ in made]  # from the test part, label kept


def stroke():
    digit = np.zeros((28, 28), np.uint8)
    cv2.line(digit, (13, 6), (14, 21), 255, 3)
    return digit


@pytest.mark.parametrize("condition", photos.CONDITIONS)
def test_simulation_depends_on_its_seed_alone(condition):
    first, again, other = (photos.simulate(stroke(), condition, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.dtype == np.uint8 and first.shape[2] == (4 if condition == "transparent" else 3)
    if condition not in ("touching", "mixed"):
        assert first.shape[:2] == (photos.CONDITIONS[condition].side,) * 2


@pytest.mark.parametrize("condition", ("telephone", "date", "letters", "boxes", "form", "mixed"))
def test_simulation_of_lines_depends_on_its_seed_alone(condition):
    (first, text), (again, same), (other, _) = (
        lines.simulate(condition, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and text == same and not np.array_equal(first, other)
    assert first.dtype == np.uint8 and first.shape[2] == 3 and set(text) <= set("0123456789 ")
    assert len(text.split()) <= max(lines.CONDITIONS[condition].rows, 7 if condition == "mixed" else 1)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
def test_the_digit_is_found(row):
    """The bar of a 1 is narrow and every other digit is not; ink fills neither too little nor too much."""
    steps = images.preprocess(images.read_image(FOLDER / row["file"]))
    digit = steps["20×20 box"]
    assert max(digit.shape) == 20
    assert min(digit.shape) < 12 if row["label"] == "1" else min(digit.shape) >= 7
    assert 25 < digit.sum() / 255 < 200
