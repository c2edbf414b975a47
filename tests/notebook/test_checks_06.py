"""The exercises of notebook 06: right answers are accepted, plausible wrong ones refused."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.stats import binomtest

from helpers.notebook import exercises

MINE, THEIRS = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool), np.array([0, 1, 1, 1, 1, 1, 1, 0], bool)
HITS = {("simulated", "plain", "tuned"): MINE, ("simulated", "plain", "shipped"): THEIRS}


def softmax(x):
    """Ten probabilities of each image (N, 28, 28, 1): a fixed linear layer."""
    logits = np.asarray(x, float).reshape(len(x), -1) @ np.random.default_rng(0).normal(0, 0.3, (784, 10))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def prepare(photo):
    """Shrinks a picture to 28×28, whatever its polarity: so inverting it changes answers."""
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) if photo.ndim == 3 else photo
    return cv2.resize(grey, (28, 28), interpolation=cv2.INTER_AREA)


def pictures():
    """Six pictures: a tall bar, and beside it a small one that belongs to it, and a speck that does not."""
    made = []
    for number in range(6):
        grey = np.full((128, 128), 250, np.uint8)
        grey[30:100, 60:70] = 20
        grey[30 + 10 * number : 40 + 10 * number, 20 + 5 * number : 40 + 5 * number] = 20
        grey[5:9, 120:124] = 20
        made.append(np.repeat(grey[..., None], 3, axis=2))
    return made


PHOTOS = pictures()


def predict(images):
    return softmax(np.array(images)[..., None] / 255).argmax(axis=1)


def find_ink(photo):
    """Dark pixels."""
    return 255 * (photo[..., 0] < 40).astype(np.uint8)


def kept(share):
    """The answers if parts of at least this share of the largest one are kept."""
    images = []
    for mask in map(find_ink, PHOTOS):
        _, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
        areas = stats[1:, cv2.CC_STAT_AREA]
        ink = 255 * np.isin(parts, 1 + np.flatnonzero(areas >= share * areas.max())).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(ink)
        images.append(prepare(ink[y : y + height, x : x + width]))
    return predict(images)


PREDICTED = predict([prepare(photo) for photo in PHOTOS])
AGAIN = predict([prepare(255 - photo) for photo in PHOTOS])
TRUTH = np.where(np.arange(6) < 5, kept(0.1), (kept(0.1) + 1) % 10)  # five of six if parts of a tenth are kept
CHALK = prepare(PHOTOS[2])[None, ..., None]
VARIABLES = {
    "tuned": SimpleNamespace(predict=lambda x, verbose: softmax(x)),
    "prepare": prepare,
    "photos": PHOTOS,
    "first": {"chalkboard": 2},
    "predicted": PREDICTED,
    "y_true": TRUTH,
    "hits": HITS,
    "find_ink": find_ink,
    "mnist_form": prepare,
    "new_photos": PHOTOS,
    "digits": SimpleNamespace(y_test=np.concatenate([[0], TRUTH])),
    "drawn": np.arange(1, 7),
}


def verdict(number, answer, capsys):
    exercises.variables = VARIABLES
    exercises.check(number, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("06.1", softmax(CHALK / 255)[0]),
        ("06.1", list(softmax(CHALK / 255)[0])),
        ("06.2", int(np.sum(AGAIN == PREDICTED))),
        ("06.3", "bcd"),
        ("06.3", ["d", "c", "b"]),
        ("06.4", (1, 4, binomtest(1, 5).pvalue)),
        ("06.5", 5 / 6),
        ("06.6", "e, c, b"),
    ],
)
def test_right_answers(number, answer, capsys):
    assert "correct" in verdict(number, answer, capsys)


@pytest.mark.parametrize(
    ("number", "answer", "reason"),
    [
        ("06.1", softmax(CHALK / 255), "one row"),
        ("06.1", softmax(CHALK.astype("float32"))[0], "255"),
        ("06.1", softmax(1 - CHALK / 255)[0], "negative"),
        ("06.1", np.full(10, 0.1), ""),
        ("06.1", 4, "shape"),
        ("06.1", [], "shape"),
        ("06.2", int(np.sum(AGAIN == PREDICTED)) + 1, ""),
        ("06.2", 0.5, "share"),
        ("06.2", None, ""),
        ("06.3", "abcd", ""),
        ("06.3", "bc", ""),
        ("06.3", "bcde", ""),
        ("06.3", "", ""),
        ("06.4", (3, 6, binomtest(3, 9).pvalue), "both"),
        ("06.4", (4, 1, binomtest(1, 5).pvalue), "order"),
        ("06.4", (1, 4, binomtest(1, 5).pvalue / 2), "two-sided"),
        ("06.4", (1, 4), ""),
        ("06.4", (1, 3, 0.6), ""),
        ("06.4", (), ""),
        ("06.5", 3 / 8, "largest part alone"),
        ("06.5", 0.0, ""),
        ("06.5", 83.3, "0 to 1"),
        ("06.5", None, "one number"),
        ("06.6", "abce", ""),
        ("06.6", "bc", ""),
        ("06.6", [], ""),
    ],
)
def test_wrong_answers(number, answer, reason, capsys):
    said = verdict(number, answer, capsys)
    assert "not yet" in said
    assert reason in said
