"""helpers.evaluation.metrics and .confidence: known values, shapes, bad input."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from helpers import evaluation
from helpers.errors import UserError


# The formula by hand with z = 1.959964 (99 %: 2.575829); 81 of 263 is the example of Newcombe (1998).
@pytest.mark.parametrize(
    ("correct", "n", "confidence", "low", "high"),
    [
        (5, 10, 0.95, 0.2366, 0.7634),
        (0, 10, 0.95, 0.0000, 0.2775),
        (10, 10, 0.95, 0.7225, 1.0000),
        (81, 263, 0.95, 0.2553, 0.3662),
        (9900, 10000, 0.95, 0.9879, 0.9918),
        (5, 10, 0.99, 0.1842, 0.8158),
    ],
)
def test_wilson_interval_has_the_known_values(correct, n, confidence, low, high):
    assert evaluation.wilson_interval(correct, n, confidence) == pytest.approx((low, high), abs=6e-5)


def test_wilson_interval_holds_the_truth_as_often_as_stated():
    accuracy, n = 0.995, 1000
    hits = np.random.default_rng(0).binomial(n, accuracy, size=500)
    inside = [low <= accuracy <= high for low, high in (evaluation.wilson_interval(hit, n) for hit in hits)]
    assert 0.92 <= np.mean(inside) <= 0.98


@pytest.mark.parametrize(
    ("correct", "n", "confidence"), [(3, 0, 0.95), (11, 10, 0.95), (-1, 10, 0.95), (5, 10, 1.0), (5, 10, 95)]
)
def test_wilson_interval_refuses_the_impossible(correct, n, confidence):
    with pytest.raises(UserError):
        evaluation.wilson_interval(correct, n, confidence)


def test_scores_by_hand():
    y_true, y_pred = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    found = evaluation.scores(y_true, y_pred)
    assert found["accuracy"] == 0.75
    assert found["precision_macro"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["recall_macro"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["f1_macro"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["accuracy_low"] < 0.75 < found["accuracy_high"]


def test_scores_per_class_has_a_row_for_every_class_even_an_unseen_one():
    table = evaluation.scores_per_class(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=3)
    assert table.index.tolist() == [0, 1, 2]
    assert table["support"].tolist() == [2, 1, 0]
    assert table["recall"].tolist() == [0.5, 1, 0]
    assert table.loc[1, "precision"] == 0.5
    assert (table["recall_low"] <= table["recall"]).all() and (table["recall"] <= table["recall_high"]).all()


@pytest.mark.parametrize(("y_true", "y_pred"), [([0, 1], [0]), ([], []), ([[0, 1]], [[0, 1]])])
def test_labels_that_do_not_match_are_refused(y_true, y_pred):
    for function in (evaluation.scores, lambda a, b: evaluation.scores_per_class(a, b, 2)):
        with pytest.raises(UserError, match="do not match"):
            function(np.array(y_true), np.array(y_pred))


def test_confused_pairs_leaves_the_diagonal_out_and_sorts():
    matrix = confusion_matrix([4, 4, 4, 4, 9, 9, 0], [9, 9, 4, 4, 9, 4, 0], labels=range(10))
    table = evaluation.confused_pairs(matrix)
    assert table.loc[:, "true":"count"].values.tolist() == [[4, 9, 2], [9, 4, 1]]
    assert table["share"].tolist() == [0.5, 0.5]


def test_confused_pairs_of_a_perfect_classifier_is_empty():
    assert evaluation.confused_pairs(np.diag([3, 4])).empty
    with pytest.raises(UserError, match="as many rows as columns"):
        evaluation.confused_pairs(np.ones((2, 3)))


def test_misclassified_lists_the_surest_mistake_first():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.3, 0.7]])
    table = evaluation.misclassified(probabilities, np.array([0, 1, 0, 1]))
    assert table["index"].tolist() == [2, 1]
    assert table["true"].tolist() == [0, 1] and table["predicted"].tolist() == [1, 0]
    assert table["confidence"].tolist() == [0.8, 0.6] and table["true_probability"].tolist() == [0.2, 0.4]


@pytest.mark.parametrize("shape", [(3,), (2, 10), (3, 2)])
def test_misclassified_refuses_other_shapes(shape):
    with pytest.raises(UserError, match="one row per image"):
        evaluation.misclassified(np.zeros(shape), np.array([0, 1, 2]))


def test_mcnemar_by_hand():
    y = np.zeros(20, int)
    first, second = np.zeros(20, int), np.zeros(20, int)
    second[:8] = 1  # eight that only the first gets right
    first[8:10] = 1  # two that only the second gets right
    first[10], second[10] = 1, 1
    found = evaluation.mcnemar(y, first, second)
    assert (found["first_only"], found["second_only"]) == (8, 2)
    assert found["p_value"] == pytest.approx(2 * (1 + 10 + 45) / 2**10)  # at most 2 heads in 10 tosses, both ways
    assert evaluation.mcnemar(y, first, first)["p_value"] == 1
    with pytest.raises(UserError, match="do not match"):
        evaluation.mcnemar(y, first, second[:5])


def test_spread_is_in_percent():
    assert evaluation.spread(0.9956, 0.0012) == "99.56 ± 0.12"
    assert evaluation.spread(0.5) == "50.00" and evaluation.spread(None, None) == "–"


def two_classes(confidence, right):
    """Two-class probabilities with these confidences, of which class 0 is right where `right`."""
    p = np.column_stack([confidence, 1 - np.asarray(confidence)])
    return p, np.where(right, 0, 1)


def test_calibration_by_hand():
    p, y = two_classes([0.6] * 4 + [0.9] * 4, [1, 1, 0, 0, 1, 1, 1, 1])
    table = evaluation.reliability(p, y, bins=2)
    assert np.allclose(table, [[0.6, 0.5, 4], [0.9, 1.0, 4]])
    found = evaluation.calibration(p, y, bins=2)
    assert found["ece"] == pytest.approx((0.1 + 0.1) / 2)
    assert found["nll"] == pytest.approx(-(2 * np.log(0.6) + 2 * np.log(0.4) + 4 * np.log(0.9)) / 8)
    assert found["brier"] == pytest.approx((2 * 2 * 0.4**2 + 2 * 2 * 0.6**2 + 4 * 2 * 0.1**2) / 8)


def test_calibration_of_the_certain_and_right_is_0_and_bad_shapes_are_refused():
    p, y = two_classes([1.0] * 40, [1] * 40)
    assert evaluation.calibration(p, y) == {"ece": 0, "nll": 0, "brier": 0}
    assert evaluation.reliability(p, y)["images"].sum() == 40
    with pytest.raises(UserError, match="one row per image"):
        evaluation.calibration(p[:5], y)


def test_temperature_mends_a_network_that_is_too_sure():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 5))
    y = np.array([rng.choice(5, p=row) for row in evaluation.softmax(logits)])
    found = evaluation.temperature(3 * logits, y)
    assert found == pytest.approx(3, rel=0.08)
    before, after = (evaluation.calibration(evaluation.softmax(3 * logits, t), y)["ece"] for t in (1, found))
    assert after < 0.03 < before


def test_confidences_by_hand():
    found = evaluation.confidences(np.array([[0.0, np.log(3)], [5.0, 5.0]]))
    assert found["max_softmax"] == pytest.approx([0.75, 0.5])
    assert found["margin"] == pytest.approx([np.log(3), 0])
    assert found["entropy"] == pytest.approx([0.75 * np.log(0.75) + 0.25 * np.log(0.25), -np.log(2)])
    assert found["energy"] == pytest.approx([np.log(4), 5 + np.log(2)])


def test_error_detection():
    assert evaluation.error_detection_auroc(np.array([0.9, 0.8, 0.3]), np.array([True, True, False])) == 1
    assert evaluation.error_detection_auroc(np.array([0.1, 0.8, 0.3]), np.array([True, True, False])) == 0.5
    assert np.isnan(evaluation.error_detection_auroc(np.ones(3), np.ones(3, bool)))


def test_risk_coverage_by_hand():
    curve = evaluation.risk_coverage(np.array([0.2, 0.9, 0.5, 0.7]), np.array([True, True, False, True]))
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1]
    assert curve["accuracy"].tolist() == pytest.approx([1, 1, 2 / 3, 3 / 4])
    assert evaluation.accuracy_at_coverage(curve, 0.5) == 1
    assert evaluation.accuracy_at_coverage(curve, 1.0) == 0.75
    assert evaluation.images_to_human(curve, 0.7) == 0
    assert evaluation.images_to_human(curve, 0.99) == 2
    assert evaluation.images_to_human(evaluation.risk_coverage(np.ones(3), np.zeros(3, bool)), 0.5) == 3


def test_importing_it_leaves_tensorflow_out():
    import subprocess
    import sys

    code = "import helpers.evaluation, sys; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
