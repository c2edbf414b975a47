"""helpers.evaluation.robustness: the same corrupted images for every classifier, and the means that are reported."""

import numpy as np
import pandas as pd
import pytest

from helpers import data
from helpers.evaluation import corruptions, robustness
from helpers.evaluation.corruptions import CORRUPTIONS, GEOMETRIC


@pytest.fixture(scope="module")
def images():
    dataset = data.load()
    return dataset.x_test[:30], dataset.y_test[:30]


def test_conditions_are_the_benchmarks(images):
    x, _ = images
    found = {name: changed for (name, _), changed in robustness.conditions(x, seed=5)}
    assert list(found) == ["identity", *CORRUPTIONS]
    assert np.array_equal(found["identity"], x[..., None].astype("float32") / 255)
    assert np.array_equal(found["fog"][..., 0], corruptions.corrupt(x, "fog", seed=5) / 255)
    assert all(changed.dtype == np.float32 and changed.shape == (30, 28, 28, 1) for changed in found.values())


def test_every_classifier_sees_the_same(images):
    x, y = images
    first, again = ([changed for _, changed in robustness.conditions(x)] for _ in range(2))
    assert all(map(np.array_equal, first, again))
    accuracy = robustness.accuracies({condition: np.eye(10)[y] for condition in robustness.DEFAULT}, y)
    assert len(accuracy) == 16 and (accuracy == 1).all()


def test_means_leave_out_identity_and_what_augmentation_shows():
    accuracy = pd.Series(dict.fromkeys(CORRUPTIONS, 0.5) | dict.fromkeys(GEOMETRIC, 1.0) | {"identity": 1.0})
    accuracy["fog"] = 0.2
    found = robustness.means(accuracy)
    assert found["mean"] == pytest.approx((4 + 10 * 0.5 + 0.2) / 15)
    assert found["mean_unseen"] == pytest.approx((10 * 0.5 + 0.2) / 11)
    assert found["lowest"] == 0.2


def test_calibration_is_the_mean_over_corruptions_without_identity():
    y = np.zeros(100, int)
    sure = np.tile([50.0, 0.0], (100, 1))
    half = sure.copy()
    half[:50] = [0.0, 50.0]
    said = {("identity", None): half, ("fog", None): sure, ("stripe", None): half}
    assert robustness.mean_calibration(said, y)["ece"] == pytest.approx(0.25)
