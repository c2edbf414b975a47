"""How good a classifier is, and how sure of that we can be. Explained in notebooks/05_evaluation.ipynb.

Labels are whole numbers from 0, of shape (N,); probabilities have shape (N, classes), each row adds up to 1.
Nothing here imports TensorFlow: a Keras model comes in as the probabilities that it predicted.
"""

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from scipy.stats import binomtest
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, precision_recall_fscore_support
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from helpers.errors import UserError

Part = tuple[np.ndarray, np.ndarray]


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval that holds the true accuracy with this confidence, after `correct` hits in `n` images.

    Fractions between 0 and 1. Wilson's score interval (1927) stays inside 0..1 and keeps its promise near 1,
    where the textbook's ± 1.96 standard errors fails. Raises UserError unless 0 <= correct <= n, n >= 1.
    """
    if n < 1 or not 0 <= correct <= n:
        raise UserError(f"{correct} correct of {n} images: expected 0 <= correct <= n and n of at least 1.")
    if not 0 < confidence < 1:
        raise UserError(f"confidence = {confidence} must lie between 0 and 1, such as 0.95.")
    low, high = binomtest(int(correct), int(n)).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def scores(y_true: np.ndarray, y_pred: np.ndarray) -> dict[str, float]:
    """Accuracy with its 95 % interval, and precision, recall and F1 as plain means over the classes (macro).

    Raises UserError if the two arrays of labels do not match.
    """
    _check_labels(y_true, y_pred)
    means = precision_recall_fscore_support(y_true, y_pred, average="macro", zero_division=0)
    precision, recall, f1, _ = means
    low, high = wilson_interval(int(np.sum(y_true == y_pred)), len(y_true))
    return {
        "accuracy": float(accuracy_score(y_true, y_pred)),
        "accuracy_low": low,
        "accuracy_high": high,
        "precision_macro": float(precision),
        "recall_macro": float(recall),
        "f1_macro": float(f1),
    }


def scores_per_class(y_true: np.ndarray, y_pred: np.ndarray, num_classes: int) -> pd.DataFrame:
    """One row a class: precision, recall with its 95 % interval, F1 and support (images of that class).

    Raises UserError if the two arrays of labels do not match.
    """
    _check_labels(y_true, y_pred)
    classes = np.arange(num_classes)
    metrics = precision_recall_fscore_support(y_true, y_pred, labels=classes, zero_division=0)
    precision, recall, f1, support = metrics
    hits = [int(np.sum((y_true == label) & (y_pred == label))) for label in classes]
    # A class that the test set never shows has no recall to bound.
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
    """The mistakes of a confusion matrix (rows true, columns predicted), most frequent first.

    Columns true, predicted, count, and share: the count as a fraction of the true class.
    Raises UserError unless the matrix is square.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UserError(f"A confusion matrix has as many rows as columns; this one has shape {matrix.shape}.")
    mistakes = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
    true, predicted = np.nonzero(mistakes)
    count = mistakes[true, predicted]
    share = count / matrix.sum(axis=1)[true]
    table = pd.DataFrame({"true": true, "predicted": predicted, "count": count, "share": share})
    # The stable sort keeps ties in the order of the classes, so that reruns print the same table.
    return table.sort_values("count", ascending=False, kind="stable", ignore_index=True)


def misclassified(probabilities: np.ndarray, y_true: np.ndarray) -> pd.DataFrame:
    """The images whose most probable class is wrong, surest mistake first.

    Columns index (position in the data), true, predicted, confidence (probability of the predicted class)
    and true_probability (that of the true class). Raises UserError if the shapes do not match.
    """
    largest = np.max(y_true, initial=0)
    if probabilities.ndim != 2 or len(probabilities) != len(y_true) or largest >= probabilities.shape[1]:
        raise UserError(
            f"Probabilities of shape {probabilities.shape} do not fit {len(y_true)} labels up to {largest}: "
            "expected one row an image, one column a class."
        )
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


def classical_models(seed: int = 0) -> dict[str, ClassifierMixin]:
    """Four classifiers from before deep learning, unfitted, with settings that suit raw pixels in 0..1.

    Explained in notebooks/05_evaluation.ipynb.
    """
    return {
        # A few neighbours that vote by closeness: about 97 % with all of MNIST.
        "KNN": KNeighborsClassifier(n_neighbors=4, weights="distance"),
        # gamma="scale" follows the pixels' variance, so that it suits other data sets too.
        "SVM (RBF)": SVC(C=10, gamma="scale", cache_size=500),
        "Decision tree": DecisionTreeClassifier(random_state=seed),
        "Random forest": RandomForestClassifier(n_estimators=200, n_jobs=-1, random_state=seed),
    }


def compare_classifiers(models: Mapping[str, ClassifierMixin], train: Part, test: Part) -> pd.DataFrame:
    """Fits each model on `train`, times it, and scores it on `test`; both are (images, labels).

    Images of any shape are flattened to a row of pixels each, and uint8 is brought to 0..1. One row a model:
    train_images, accuracy with accuracy_low and accuracy_high (95 %), f1_macro, fit_seconds,
    predict_seconds (all test images). The given models stay unfitted.
    Raises UserError for empty parts, or images and labels that do not match.
    """
    (x_train, y_train), (x_test, y_test) = _flat(train, "train"), _flat(test, "test")
    if x_train.shape[1] != x_test.shape[1]:
        sizes = f"{x_train.shape[1]} pixels, test images {x_test.shape[1]}"
        raise UserError(f"Training images have {sizes}: bring them to one size.")
    rows = {}
    for name, model in models.items():
        start = time.perf_counter()
        fitted = clone(model).fit(x_train, y_train)
        fit_end = time.perf_counter()
        predicted = fitted.predict(x_test)
        predict_end = time.perf_counter()
        found = scores(y_test, predicted)
        rows[name] = {
            "train_images": len(x_train),
            **{column: found[column] for column in ("accuracy", "accuracy_low", "accuracy_high", "f1_macro")},
            "fit_seconds": fit_end - start,
            "predict_seconds": predict_end - fit_end,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def _flat(part: Part, name: str) -> Part:
    """Images as rows of float32 pixels, after checking that they match their labels."""
    x, y = (np.asarray(array) for array in part)
    if len(x) == 0 or x.ndim < 2 or y.shape != (len(x),):
        raise UserError(
            f"The {name} part has images of shape {x.shape} and labels of shape {y.shape}: expected one label an image."
        )
    rows = x.reshape(len(x), -1).astype("float32")
    return rows / 255 if x.dtype == np.uint8 else rows, y


def _check_labels(y_true: np.ndarray, y_pred: np.ndarray) -> None:
    """Raises UserError unless both are non-empty arrays of labels of one length."""
    if np.ndim(y_true) != 1 or np.shape(y_true) != np.shape(y_pred) or len(y_true) == 0:
        raise UserError(
            f"True labels of shape {np.shape(y_true)} and predicted ones of shape {np.shape(y_pred)} "
            "do not match: expected two arrays of the same length, one label an image."
        )


def temperature(logits: np.ndarray, y_true: np.ndarray) -> float:
    """The number by which to divide logits (N, classes) so that softmax tells probabilities one can trust.

    It is fitted by the log loss, on images that the network has not learned from; above 1 for a network that is too
    sure of itself. The answers stay the same. Guo and others, "On calibration of modern neural networks", 2017.
    """

    def log_loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(y_true)), y_true]))

    return float(np.exp(minimize_scalar(log_loss, bounds=(-3, 3), method="bounded").x))
