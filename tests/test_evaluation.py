"""helpers.evaluation: known values, shapes, bad input."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix

from helpers import evaluation
from helpers.errors import UserError


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's 8×8 digits: 1,200 to train, 597 to test."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).reshape(-1, 8, 8)
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


@pytest.fixture(scope="module")
def comparison(digits):
    return evaluation.compare_classifiers(evaluation.classical_models(seed=0), *digits)


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


def test_wilson_interval_holds_the_truth_as_often_as_promised():
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
    with pytest.raises(UserError, match="one row an image"):
        evaluation.misclassified(np.zeros(shape), np.array([0, 1, 2]))


def test_every_classical_model_learns_digits(comparison):
    assert comparison.index.tolist() == ["KNN", "SVM (RBF)", "Decision tree", "Random forest"]
    assert (comparison["accuracy"] > [0.94, 0.94, 0.70, 0.90]).all()
    assert comparison["accuracy"].idxmin() == "Decision tree"
    assert (comparison[["fit_seconds", "predict_seconds"]] > 0).all(axis=None)
    assert (comparison["train_images"] == 1200).all()


def test_same_seed_same_accuracy(comparison, digits):
    again = evaluation.compare_classifiers(evaluation.classical_models(seed=0), *digits)
    timeless = ["accuracy", "accuracy_low", "accuracy_high", "f1_macro"]
    assert again[timeless].equals(comparison[timeless])


def test_uint8_images_are_brought_to_0_1_and_the_models_stay_unfitted(digits):
    (x, y), (x_test, y_test) = digits
    models = {"SVM (RBF)": evaluation.classical_models()["SVM (RBF)"]}
    x, x_test = np.rint(x * 255), np.rint(x_test * 255)
    as_float = evaluation.compare_classifiers(models, (x / 255, y), (x_test / 255, y_test))
    as_uint8 = evaluation.compare_classifiers(models, (x.astype("uint8"), y), (x_test.astype("uint8"), y_test))
    assert as_uint8["accuracy"].item() == pytest.approx(as_float["accuracy"].item(), abs=0.004)
    assert not hasattr(models["SVM (RBF)"], "support_")


def test_parts_that_do_not_match_are_refused(digits):
    (x, y), test = digits
    for train, message in (
        ((x, y[:-1]), "one label an image"),
        ((x[:0], y[:0]), "train part"),
        ((x[:, 1:], y), "bring them to one size"),
    ):
        with pytest.raises(UserError, match=message):
            evaluation.compare_classifiers(evaluation.classical_models(), train, test)


def test_importing_it_leaves_tensorflow_out():
    import subprocess
    import sys

    code = "import helpers.evaluation, sys; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
