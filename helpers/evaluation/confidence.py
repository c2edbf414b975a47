"""Calibration of probabilities, and selective classification. Explained in notebooks/08_robustness.ipynb.

Labels are integers from 0, (N,); logits and probabilities have shape (N, classes).
Nothing here imports TensorFlow: it takes predictions, not models.
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp
from sklearn.metrics import roc_auc_score

from helpers.predict.confidence import softmax

BINS = 15  # as in Guo and others, 2017


def temperature(logits: np.ndarray, y_true: np.ndarray) -> float:
    """Fits the temperature by which to divide logits so that softmax gives calibrated probabilities.

    Minimises the log loss on held-out images; above 1 if the network is overconfident. Predicted classes stay the same.
    Guo and others, "On calibration of modern neural networks", 2017.
    """

    def log_loss(log_t: float) -> float:
        """The mean negative log-likelihood at the temperature whose logarithm is given."""
        scaled = logits / np.exp(log_t)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(y_true)), y_true]))

    return float(np.exp(minimize_scalar(log_loss, bounds=(-3, 3), method="bounded").x))


def reliability(probabilities: np.ndarray, y_true: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """The table of a reliability diagram: confidence against accuracy by bin.

    Bins hold equally many images: with bins of equal width nearly all images of a good classifier would share the one
    above 0.99.

    Returns:
        One row per bin, least confident first: confidence (mean probability of the predicted class), accuracy, images.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y_true
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    rows = [(float(confidence[part].mean()), float(right[part].mean()), len(part)) for part in parts]
    return pd.DataFrame(rows, columns=["confidence", "accuracy", "images"])


def calibration(probabilities: np.ndarray, y_true: np.ndarray, bins: int = BINS) -> dict[str, float]:
    """Three measures of calibration, each 0 at best.

    Returns:
        ece: expected calibration error (Naeini and others, 2015), the mean gap over the bins of `reliability`.
        nll: negative log-likelihood in nats, Keras's cross-entropy.
        brier: Brier's score (1950), the squared distance from the one-hot label, 0 to 2.
    """
    table = reliability(probabilities, y_true, bins)
    distance = (table["confidence"] - table["accuracy"]).abs()
    true = probabilities[np.arange(len(y_true)), y_true]
    return {
        "ece": float(np.average(distance, weights=table["images"])),
        "nll": float(-np.log(np.maximum(true, 1e-12)).mean()),
        "brier": float((1 - 2 * true + (probabilities**2).sum(axis=1)).mean()),
    }


def confidences(logits: np.ndarray) -> dict[str, np.ndarray]:
    """Four confidence scores from logits (N, classes), each (N,); larger is more confident.

    Returns:
        max_softmax: the largest probability.
        margin: the largest logit minus the second largest.
        entropy: minus the entropy of the probabilities.
        energy: log Σ exp of the logits (Liu and others, 2020), meant for out-of-distribution images.
    """
    logits = np.asarray(logits, np.float64)
    second, first = np.sort(logits, axis=1)[:, -2:].T
    return {
        "max_softmax": softmax(logits).max(axis=1),
        "margin": first - second,
        "entropy": (softmax(logits) * log_softmax(logits, axis=1)).sum(axis=1),
        "energy": logsumexp(logits, axis=1),
    }


def error_detection_auroc(confidence: np.ndarray, right: np.ndarray) -> float:
    """The probability that a right answer is more confident than a wrong one: 1 separates them, 0.5 is chance level.

    NaN if all answers are right, or all wrong.
    """
    if right.all() or not right.any():
        return float("nan")
    return float(roc_auc_score(right, confidence))


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """Accuracy when only the most confident images are answered and the others go to a human.

    El-Yaniv and Wiener, "On the foundations of noise-free selective classification", 2010.

    Returns:
        One row per number of answered images, 1 to N: coverage (their share) and accuracy (on them).
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    answered = np.arange(1, len(order) + 1)
    return pd.DataFrame({"coverage": answered / len(order), "accuracy": np.cumsum(np.asarray(right)[order]) / answered})


def accuracy_at_coverage(curve: pd.DataFrame, coverage: float) -> float:
    """The accuracy on the most confident images, this share of all, from a curve by `risk_coverage`."""
    row = min(int(np.searchsorted(curve["coverage"], coverage - 1e-9)), len(curve) - 1)
    return float(curve["accuracy"].iloc[row])


def images_to_human(curve: pd.DataFrame, accuracy: float) -> int:
    """The smallest number of images to hand to a human so that the rest reach this accuracy; N if they never do."""
    reached = np.flatnonzero(curve["accuracy"] >= accuracy)
    return len(curve) - (int(reached[-1]) + 1 if len(reached) else 0)
