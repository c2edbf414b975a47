"""The sample pictures are what data/make_samples.py and data/make_lines.py make, and what the CSV files beside them say."""

import csv
import sys

import cv2
import numpy as np
import pytest

from helpers import data, images, paths

sys.path.append(str(paths.DATA))  # a folder of files, not a package
import make_lines  # noqa: E402
import make_samples  # noqa: E402

FOLDER = paths.DATA / "samples"


def rows(labels="labels.csv"):
    with open(FOLDER / labels, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_picture_has_a_label():
    files = {path.name for path in FOLDER.iterdir() if path.suffix in (".jpg", ".png")}
    assert files == {row["file"] for row in rows() + rows("lines.csv")}
    assert {row["label"] for row in rows()} == set("0123456789")
    assert {row["condition"] for row in rows()} == set(make_samples.CONDITIONS)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_500_000


def test_pictures_can_be_made_again():
    made = make_samples.samples()
    assert [(row["file"], int(row["label"]), row["condition"]) for row in rows()] == [row[:3] for row in made]
    for name, _, condition, picture in made:
        suffix, encoded = make_samples.encode(picture, condition)
        kept, again = images.read_image(FOLDER / name), images.read_image(encoded)
        # JPEG decoders differ in the last bit from one version to the next.
        assert name.endswith(suffix) and kept.shape == again.shape
        assert np.abs(kept.astype(int) - again).mean() < 6, name
        if picture.shape[2] == 3:  # one on its side in the file is upright again
            assert again.shape == picture.shape and np.abs(again.astype(int) - picture).mean() < 6, name


def test_pictures_of_lines_can_be_made_again():
    made = make_lines.samples()
    assert [(row["file"], row["text"], row["condition"]) for row in rows("lines.csv")] == [row[:3] for row in made]
    for name, text, _, picture in made:
        kept = images.read_image(FOLDER / name)
        assert kept.shape == picture.shape and np.abs(kept.astype(int) - picture).mean() < 6, name
        assert set(text) <= set("0123456789 ") and (FOLDER / name).stat().st_size < 60_000


def test_no_digit_with_a_wrong_label(monkeypatch):
    mnist, used = data.load(), []
    wrong = {mnist.x_test[i].tobytes() for i in data.KNOWN_LABEL_ERRORS}
    simulate = make_samples.simulate

    def noted(digit, condition, rng):
        used.append(digit.tobytes())
        return simulate(digit, condition, rng)

    monkeypatch.setattr(make_samples, "simulate", noted)
    made = make_samples.samples()
    assert not wrong & set(used)
    known = {image.tobytes(): label for image, label in zip(mnist.x_test, mnist.y_test, strict=True)}
    assert [known[digit] for digit in used] == [label for _, label, _, _ in made]  # from the test part, label kept


@pytest.mark.parametrize("condition", make_samples.CONDITIONS)
def test_simulation_depends_on_its_seed_alone(condition):
    digit = np.zeros((28, 28), np.uint8)
    cv2.line(digit, (13, 6), (14, 21), 255, 3)
    first, again = (make_samples.simulate(digit, condition, np.random.default_rng(1)) for _ in range(2))
    other = make_samples.simulate(digit, condition, np.random.default_rng(2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert first.dtype == np.uint8 and first.shape[2] == (4 if condition == "transparent" else 3)
    if condition not in ("touching", "mixed"):
        assert first.shape[:2] == (make_samples.CONDITIONS[condition].side,) * 2


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["file"])
def test_the_digit_is_found(row):
    """The bar of a 1 is narrow and every other digit is not; ink fills neither too little nor too much."""
    steps = images.preprocess(images.read_image(FOLDER / row["file"]))
    digit = steps["20×20 box"]
    assert max(digit.shape) == 20
    assert min(digit.shape) < 12 if row["label"] == "1" else min(digit.shape) >= 7
    assert 25 < digit.sum() / 255 < 200
