"""The checks of notebook 02: right answers pass, plausible wrong ones do not."""

import cv2
import numpy as np
import pytest

from helpers.notebook import exercises

SIDE = 320


def otsu(grey):
    return cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)[1]


def either(grey):
    mask = otsu(grey)
    return 255 - mask if mask.mean() > 127.5 else mask


def by_brightness(grey):
    """Wrong: a dark page need not mean bright ink."""
    return otsu(grey) if grey.mean() > 127.5 else 255 - otsu(grey)


def at_128(grey):
    mask = np.where(grey < 128, 255, 0).astype(np.uint8)
    return 255 - mask if mask.mean() > 127.5 else mask


def photograph(shadow):
    """A dark bar on grainy paper, half of which lies in a shadow."""
    page = np.full((SIDE, SIDE), 230.0)
    page[100:220, 150:170] = 40
    if shadow:
        page[:, SIDE // 2 :] *= 0.5
    return (page + np.random.default_rng(0).normal(0, 4, page.shape)).clip(0, 255).astype(np.uint8)


def divided(grey):
    paper = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, np.ones((91, 91), np.uint8))
    return cv2.divide(grey, paper, scale=255)


class Reader:
    """Says 1 where the mask, shrunk, shows only the bar."""

    def predict(self, flat):
        return (flat.mean(axis=1) < 40).astype(int)


PHOTOS = [photograph(shadow=i % 2 == 1) for i in range(4)]


@pytest.fixture(autouse=True)
def notebook(monkeypatch):
    monkeypatch.setattr(exercises, "variables", {
        "grey_photos": PHOTOS, "conditions": np.array(["pen", "shadow"] * 2), "otsu": otsu, "reader": Reader(),
        "finish": lambda mask: cv2.resize(mask, (28, 28), interpolation=cv2.INTER_AREA), "y_new": np.ones(4, int),
        "hits": {"Otsu": np.array([True, False] * 2)},
    })  # fmt: skip


def verdict(capsys, number, answer):
    exercises.check(number, answer)
    return capsys.readouterr().out


RIGHT = [
    ("02.1", (20, 10, 5, 9)),
    ("02.1", np.array([20, 10, 5, 9])),
    ("02.2", either),
    ("02.3", (-640, -320)),
    ("02.3", [-640.0, -320.0]),
    ("02.4", "ab"),
    ("02.4", "B, a"),
    ("02.5", [divided(photo) for photo in PHOTOS]),
    ("02.6", "bc"),
]

WRONG = [
    ("02.1", (10, 20, 5, 9), "Height comes first"),
    ("02.1", (20, 10, 4, 9), "not 13.5"),
    ("02.1", (20, 10, 9, 5), "Rows go down"),
    ("02.1", (20, 10, 4.8, 9.4), "whole pixels"),
    ("02.1", (20, 10), "not yet"),
    ("02.1", None, "not yet"),
    ("02.2", otsu, "bright ink"),
    ("02.2", lambda grey: 255 - otsu(grey), "dark ink"),
    ("02.2", by_brightness, "does not show"),
    ("02.2", at_128, "does not show"),
    ("02.2", lambda grey: either(grey) > 0, "0 and 255"),
    ("02.2", lambda grey: grey, "0 and 255"),
    ("02.2", lambda grey: None, "not yet"),
    ("02.2", "either", "not yet"),
    ("02.3", (640, 320), "signs"),
    ("02.3", (-320, -640), "swapped"),
    ("02.3", (-480, -160), "twice"),
    ("02.3", -640, "not yet"),
    ("02.4", "", "not yet"),
    ("02.4", "a", "not yet"),
    ("02.4", "abc", "not yet"),
    ("02.4", "abcd", "not yet"),
    ("02.5", [], "0 pictures"),
    ("02.5", PHOTOS, "shadow"),
    ("02.5", [otsu(photo) for photo in PHOTOS], "masks"),
    ("02.5", [divided(photo)[:28, :28] for photo in PHOTOS], "shape"),
    ("02.5", [divided(photo) / 255 for photo in PHOTOS], "uint8"),
    ("02.5", [cv2.equalizeHist(photo) for photo in PHOTOS], "not yet"),
    ("02.5", divided, "not yet"),
    ("02.6", "abc", "not yet"),
    ("02.6", "b", "not yet"),
    ("02.6", "d", "not yet"),
]


@pytest.mark.parametrize("number, answer", RIGHT)
def test_right_answers_are_correct(capsys, number, answer):
    assert f"Exercise {number}: correct" in verdict(capsys, number, answer)


@pytest.mark.parametrize("number, answer, why", WRONG)
def test_wrong_answers_are_refused(capsys, number, answer, why):
    printed = verdict(capsys, number, answer)
    assert f"Exercise {number}: not yet" in printed and why in printed


@pytest.mark.parametrize("number", [f"02.{n}" for n in range(1, 7)])
def test_an_open_exercise_is_not_answered(capsys, number):
    assert "not answered yet" in verdict(capsys, number, ...)
