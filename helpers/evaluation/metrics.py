"""Metrics of classifiers, with intervals and a test of significance. Explained in notebooks/05_evaluation.ipynb.

Labels are integers from 0, (N,); probabilities have shape (N, classes). Arrays that do not match and impossible counts
raise UserError. Nothing here imports TensorFlow: it takes predictions, not models.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from helpers.errors import UserError
from helpers.evaluation.confidence import check_probabilities


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval (1927) for the true accuracy after `correct` right answers on `n` images.

    Unlike the textbook's ± 1.96 standard errors it stays within 0..1 and has the stated coverage near 1.

    Returns:
        Lower and upper bound, 0..1.
    """
    if n < 1 or not 0 <= correct <= n:
        raise UserError(f"{correct} correct of {n} images: expected 0 <= correct <= n and n of at least 1.")
    if not 0 < confidence < 1:
        raise UserError(f"confidence = {confidence} must lie between 0 and 1, such as 0.95.")
    low, high = binomtest(int(correct), int(n)).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def scores(y_true: np.ndarray, y_pred: np.ndarray) -> dict[str, float]:
    """Accuracy with its 95 % interval, and macro-averaged precision, recall and F1."""
    _check_labels(y_true, y_pred)
    precision, recall, f1, _ = precision_recall_fscore_support(y_true, y_pred, average="macro", zero_division=0)
    low, high = wilson_interval(int(np.sum(y_true == y_pred)), len(y_true))
    return {
        "accuracy": float(accuracy_score(y_true, y_pred)),
        "accuracy_low": low,
        "accuracy_high": high,
        "precision_macro": float(precision),
        "recall_macro": float(recall),
        "f1_macro": float(f1),
    }


def mcnemar(y_true: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """McNemar's exact test (1947): whether two classifiers differ significantly on the same images.

    Only images that exactly one of them gets right count; if both were equally good, each of these would be a coin toss.

    Returns:
        first_only and second_only (images that only the first or second predicted labels get right), and p_value: the
        probability of a split at least as uneven by chance alone.
    """
    _check_labels(y_true, first)
    _check_labels(y_true, second)
    first_only = int(np.sum((first == y_true) & (second != y_true)))
    second_only = int(np.sum((first != y_true) & (second == y_true)))
    split = first_only + second_only
    p_value = binomtest(first_only, split).pvalue if split else 1.0
    return {"first_only": first_only, "second_only": second_only, "p_value": float(p_value)}


def spread(mean: float | None, sd: float | None = None) -> str:
    """A mean over seeds ± standard deviation as text in percent; a dash if there is none."""
    if mean is None:
        return "–"
    return f"{100 * mean:.2f}" + (f" ± {100 * sd:.2f}" if sd is not None else "")


def scores_per_class(y_true: np.ndarray, y_pred: np.ndarray, num_classes: int) -> pd.DataFrame:
    """Precision, recall with its 95 % interval, F1 and support (number of images): one row per class."""
    _check_labels(y_true, y_pred)
    classes = np.arange(num_classes)
    precision, recall, f1, support = precision_recall_fscore_support(y_true, y_pred, labels=classes, zero_division=0)
    hits = [int(np.sum((y_true == label) & (y_pred == label))) for label in classes]
    # A class without test images has no recall to bound.
    bounds = [wilson_interval(hit, n) if n else (0.0, 1.0) for hit, n in zip(hits, support, strict=True)]
    columns = {
        "precision": precision,
        "recall": recall,
        "recall_low": [low for low, _ in bounds],
        "recall_high": [high for _, high in bounds],
        "f1": f1,
        "support": support,
    }
    return pd.DataFrame(columns, index=pd.Index(classes, name="class"))


def confused_pairs(matrix: np.ndarray) -> pd.DataFrame:
    """The mistakes in a square confusion matrix (rows true, columns predicted), most frequent first.

    Returns:
        Columns true, predicted, count, and share: the count as a fraction of the true class.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UserError(f"A confusion matrix has as many rows as columns; this one has shape {matrix.shape}.")
    mistakes = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    true, predicted = np.nonzero(mistakes)
    table = pd.DataFrame({"true": true, "predicted": predicted, "count": mistakes[true, predicted]})
    table["share"] = table["count"] / matrix.sum(axis=1)[true]
    # A stable sort keeps ties in the order of the classes, so that reruns print the same table.
    return table.sort_values("count", ascending=False, kind="stable", ignore_index=True)


def misclassified(probabilities: np.ndarray, y_true: np.ndarray) -> pd.DataFrame:
    """The images whose most probable class is wrong, most confident mistake first.

    Returns:
        Columns index (position in the data), true, predicted, confidence (probability of the predicted class) and
        true_probability (that of the true class).
    """
    check_probabilities(probabilities, y_true)
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != y_true)
    table = pd.DataFrame(
        {
            "index": wrong,
            "true": y_true[wrong],
            "predicted": predicted[wrong],
            "confidence": probabilities[wrong, predicted[wrong]],
            "true_probability": probabilities[wrong, y_true[wrong]],
        }
    )
    return table.sort_values("confidence", ascending=False, kind="stable", ignore_index=True)


def _check_labels(y_true: np.ndarray, y_pred: np.ndarray) -> None:
    """Raises UserError unless both are non-empty arrays of labels of the same length."""
    if np.ndim(y_true) != 1 or np.shape(y_true) != np.shape(y_pred) or len(y_true) == 0:
        raise UserError(
            f"True labels of shape {np.shape(y_true)} and predicted ones of shape {np.shape(y_pred)} "
            "do not match: expected two arrays of the same length, one label per image."
        )
