"""benchmarks.mnist_c: the same corrupted images for every classifier, and measures of calibration by hand."""

import numpy as np
import pytest

from benchmarks import mnist_c
from helpers import data
from helpers.evaluation import corruptions
from helpers.evaluation.corruptions import CORRUPTIONS
from helpers.predict.confidence import softmax
from tools.fit_gate import temperature


@pytest.fixture(scope="module")
def images():
    dataset = data.load()
    return dataset.x_test[:30], dataset.y_test[:30]


def test_conditions_are_the_benchmarks(images):
    x, _ = images
    found = {name: changed for (name, _), changed in mnist_c.conditions(x, seed=5)}
    assert list(found) == ["identity", *CORRUPTIONS]
    assert np.array_equal(found["identity"], x[..., None].astype("float32") / 255)
    assert np.array_equal(found["fog"][..., 0], corruptions.corrupt(x, "fog", seed=5) / 255)
    assert all(changed.dtype == np.float32 and changed.shape == (30, 28, 28, 1) for changed in found.values())


def test_every_classifier_sees_the_same(images):
    x, _ = images
    first, again = ([changed for _, changed in mnist_c.conditions(x)] for _ in range(2))
    assert all(map(np.array_equal, first, again))


def two_classes(sure, right):
    """Two-class probabilities with these confidences `sure`, of which class 0 is right where `right`."""
    p = np.column_stack([sure, 1 - np.asarray(sure)])
    return p, np.where(right, 0, 1)


def test_calibration_by_hand():
    p, y = two_classes([0.6] * 4 + [0.9] * 4, [1, 1, 0, 0, 1, 1, 1, 1])
    found = mnist_c.calibration(p, y, bins=2)
    assert found["ece"] == pytest.approx((0.1 + 0.1) / 2)
    assert found["nll"] == pytest.approx(-(2 * np.log(0.6) + 2 * np.log(0.4) + 4 * np.log(0.9)) / 8)
    assert found["brier"] == pytest.approx((2 * 2 * 0.4**2 + 2 * 2 * 0.6**2 + 4 * 2 * 0.1**2) / 8)


def test_calibration_of_the_certain_and_right_is_0():
    p, y = two_classes([1.0] * 40, [1] * 40)
    assert mnist_c.calibration(p, y) == {"ece": 0, "nll": 0, "brier": 0}


def test_temperature_mends_a_network_that_is_too_sure():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 5))
    y = np.array([rng.choice(5, p=row) for row in softmax(logits)])
    found = temperature(3 * logits, y)
    assert found == pytest.approx(3, rel=0.08)
    before, after = (mnist_c.calibration(softmax(3 * logits, t), y)["ece"] for t in (1, found))
    assert after < 0.03 < before


def test_confidences_by_hand():
    found = mnist_c.confidences(np.array([[0.0, np.log(3)], [5.0, 5.0]]))
    assert found["max_softmax"] == pytest.approx([0.75, 0.5])
    assert found["margin"] == pytest.approx([np.log(3), 0])
    assert found["entropy"] == pytest.approx([0.75 * np.log(0.75) + 0.25 * np.log(0.25), -np.log(2)])
    assert found["energy"] == pytest.approx([np.log(4), 5 + np.log(2)])


def test_calibration_is_the_mean_over_corruptions_without_identity():
    y = np.zeros(100, int)
    sure = np.tile([50.0, 0.0], (100, 1))
    half = sure.copy()
    half[:50] = [0.0, 50.0]
    said = {("identity", None): half, ("fog", None): sure, ("stripe", None): half}
    assert mnist_c.mean_calibration(said, y)["ece"] == pytest.approx(0.25)
