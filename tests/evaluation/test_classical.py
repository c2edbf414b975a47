"""helpers.evaluation.classical: each model learns, times and sizes are there, bad input."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from helpers.errors import UserError
from helpers.evaluation import classical


@pytest.fixture(scope="module")
def digits():
    """scikit-learn's 8×8 digits: 1,200 to train, 597 to test."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).reshape(-1, 8, 8)
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


@pytest.fixture(scope="module")
def comparison(digits):
    train, (x, y) = digits
    return classical.compare_classifiers(classical.classical_models(seed=0), train, (x, y), {"dim": (0.5 * x, y)})


def test_every_classical_model_learns_digits(comparison):
    assert comparison.index.tolist() == [
        "KNN",
        "SVM (linear)",
        "SVM (RBF)",
        "Decision tree",
        "Random forest",
        "Gradient boosting",
    ]
    assert (comparison["accuracy"] > [0.94, 0.90, 0.94, 0.70, 0.90, 0.88]).all()
    assert comparison["accuracy"].idxmin() == "Decision tree"
    assert (comparison[["fit_seconds", "predict_seconds"]] > 0).all(axis=None)
    assert (comparison["train_images"] == 1200).all()
    assert comparison["model_bytes"].idxmin() in ("Decision tree", "SVM (linear)")
    assert (comparison["shifted_accuracy"] < comparison["accuracy"] + 0.02).all()


def test_same_seed_same_accuracy(comparison, digits):
    again = classical.compare_classifiers(classical.classical_models(seed=0), *digits)
    timeless = ["accuracy", "accuracy_low", "accuracy_high", "f1_macro"]
    assert again[timeless].equals(comparison[timeless])


def test_uint8_images_are_brought_to_0_1_and_the_models_stay_unfitted(digits):
    (x, y), (x_test, y_test) = digits
    models = {"SVM (RBF)": classical.classical_models()["SVM (RBF)"]}
    x, x_test = np.rint(x * 255), np.rint(x_test * 255)
    as_float = classical.compare_classifiers(models, (x / 255, y), (x_test / 255, y_test))
    as_uint8 = classical.compare_classifiers(models, (x.astype("uint8"), y), (x_test.astype("uint8"), y_test))
    assert as_uint8["accuracy"].item() == pytest.approx(as_float["accuracy"].item(), abs=0.004)
    assert not hasattr(models["SVM (RBF)"], "support_")


def test_parts_that_do_not_match_are_refused(digits):
    (x, y), test = digits
    for train, message in (
        ((x, y[:-1]), "one label per image"),
        ((x[:0], y[:0]), "train part"),
        ((x[:, 1:], y), "bring them to one size"),
    ):
        with pytest.raises(UserError, match=message):
            classical.compare_classifiers(classical.classical_models(), train, test)
