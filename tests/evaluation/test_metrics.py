"""helpers.evaluation.metrics and .confidence: known values."""

import numpy as np
import pytest

from helpers.evaluation import confidence
from helpers.evaluation.metrics import spread
from helpers.predict.confidence import softmax


def test_spread_is_in_percent():
    assert spread(0.9956, 0.0012) == "99.56 ± 0.12"
    assert spread(0.5) == "50.00" and spread(None, None) == "–"


def two_classes(sure, right):
    """Two-class probabilities with these confidences `sure`, of which class 0 is right where `right`."""
    p = np.column_stack([sure, 1 - np.asarray(sure)])
    return p, np.where(right, 0, 1)


def test_calibration_by_hand():
    p, y = two_classes([0.6] * 4 + [0.9] * 4, [1, 1, 0, 0, 1, 1, 1, 1])
    table = confidence.reliability(p, y, bins=2)
    assert np.allclose(table, [[0.6, 0.5, 4], [0.9, 1.0, 4]])
    found = confidence.calibration(p, y, bins=2)
    assert found["ece"] == pytest.approx((0.1 + 0.1) / 2)
    assert found["nll"] == pytest.approx(-(2 * np.log(0.6) + 2 * np.log(0.4) + 4 * np.log(0.9)) / 8)
    assert found["brier"] == pytest.approx((2 * 2 * 0.4**2 + 2 * 2 * 0.6**2 + 4 * 2 * 0.1**2) / 8)


def test_calibration_of_the_certain_and_right_is_0():
    p, y = two_classes([1.0] * 40, [1] * 40)
    assert confidence.calibration(p, y) == {"ece": 0, "nll": 0, "brier": 0}
    assert confidence.reliability(p, y)["images"].sum() == 40


def test_temperature_mends_a_network_that_is_too_sure():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 5))
    y = np.array([rng.choice(5, p=row) for row in softmax(logits)])
    found = confidence.temperature(3 * logits, y)
    assert found == pytest.approx(3, rel=0.08)
    before, after = (confidence.calibration(softmax(3 * logits, t), y)["ece"] for t in (1, found))
    assert after < 0.03 < before


def test_confidences_by_hand():
    found = confidence.confidences(np.array([[0.0, np.log(3)], [5.0, 5.0]]))
    assert found["max_softmax"] == pytest.approx([0.75, 0.5])
    assert found["margin"] == pytest.approx([np.log(3), 0])
    assert found["entropy"] == pytest.approx([0.75 * np.log(0.75) + 0.25 * np.log(0.25), -np.log(2)])
    assert found["energy"] == pytest.approx([np.log(4), 5 + np.log(2)])


def test_error_detection():
    assert confidence.error_detection_auroc(np.array([0.9, 0.8, 0.3]), np.array([True, True, False])) == 1
    assert confidence.error_detection_auroc(np.array([0.1, 0.8, 0.3]), np.array([True, True, False])) == 0.5
    assert np.isnan(confidence.error_detection_auroc(np.ones(3), np.ones(3, bool)))


def test_risk_coverage_by_hand():
    curve = confidence.risk_coverage(np.array([0.2, 0.9, 0.5, 0.7]), np.array([True, True, False, True]))
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1]
    assert curve["accuracy"].tolist() == pytest.approx([1, 1, 2 / 3, 3 / 4])
    assert confidence.accuracy_at_coverage(curve, 0.5) == 1
    assert confidence.accuracy_at_coverage(curve, 1.0) == 0.75
    assert confidence.images_to_human(curve, 0.7) == 0
    assert confidence.images_to_human(curve, 0.99) == 2
    assert confidence.images_to_human(confidence.risk_coverage(np.ones(3), np.zeros(3, bool)), 0.5) == 3


def test_importing_it_leaves_tensorflow_out():
    import subprocess
    import sys

    code = "import helpers.evaluation, sys; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
