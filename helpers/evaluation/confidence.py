"""Whether probabilities keep their promise, and what abstaining gains. Explained in notebooks/05_evaluation.ipynb.

Labels are whole numbers from 0, of shape (N,); probabilities have shape (N, classes); logits are what softmax turns
into probabilities. Nothing here imports TensorFlow: a Keras model comes in as what it predicted.
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.metrics import roc_auc_score

from helpers.errors import UserError

BINS = 15  # as in Guo and others, 2017


def temperature(logits: np.ndarray, y_true: np.ndarray) -> float:
    """The number by which to divide logits (N, classes) so that softmax tells probabilities one can trust.

    It is fitted by the log loss, on images that the network has not learned from; above 1 for a network that is too
    sure of itself. The answers stay the same. Guo and others, "On calibration of modern neural networks", 2017.
    """

    def log_loss(log_t: float) -> float:
        """The log loss with the temperature exp(log_t)."""
        scaled = logits / np.exp(log_t)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(y_true)), y_true]))

    return float(np.exp(minimize_scalar(log_loss, bounds=(-3, 3), method="bounded").x))


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Softmax of logits (N, classes) over a temperature, in double precision."""
    return softmax(np.asarray(logits, np.float64) / temperature, axis=1)


def reliability(probabilities: np.ndarray, y_true: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """What a classifier promises against what it keeps: one row a bin of equally many images, least sure first.

    Columns confidence (mean probability of the predicted class), accuracy, and images. Bins hold equally many images
    and not equally wide intervals of confidence: almost all confidences of a good classifier lie above 0.99, and would
    fall into one bin. Raises UserError if the shapes do not match.
    """
    check_probabilities(probabilities, y_true)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y_true
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    rows = [(float(confidence[part].mean()), float(right[part].mean()), len(part)) for part in parts]
    return pd.DataFrame(rows, columns=["confidence", "accuracy", "images"])


def calibration(probabilities: np.ndarray, y_true: np.ndarray, bins: int = BINS) -> dict[str, float]:
    """How far the probabilities can be trusted; each is 0 at best.

    ece, the expected calibration error (Naeini and others, 2015): the mean distance between confidence and accuracy over
    the bins of `reliability`. nll, the negative log-likelihood in nats: Keras's cross-entropy. brier, Brier's score
    (1950): the squared distance from the certain and right answer, 0 to 2. Raises UserError if the shapes do not match.
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
    """Ways to say how sure an answer is, each of shape (N,), from logits (N, classes); larger is surer.

    max_softmax: the largest probability. margin: how far the largest logit is ahead of the second. entropy: minus the
    entropy of the probabilities. energy: log Σ exp of the logits (Liu and others, 2020), meant for strange images.
    """
    logits = np.asarray(logits, np.float64)
    second, first = np.sort(logits, axis=1)[:, -2:].T
    return {
        "max_softmax": softmax(logits, axis=1).max(axis=1),
        "margin": first - second,
        "entropy": (softmax(logits, axis=1) * log_softmax(logits, axis=1)).sum(axis=1),
        "energy": logsumexp(logits, axis=1),
    }


def error_detection_auroc(confidence: np.ndarray, right: np.ndarray) -> float:
    """How often a right answer is surer than a wrong one: 1 tells all mistakes from hits, 0.5 is guessing.

    NaN where all answers are right, or none is: there is nothing to tell apart.
    """
    if right.all() or not right.any():
        return float("nan")
    return float(roc_auc_score(right, confidence))


def risk_coverage(confidence: np.ndarray, right: np.ndarray) -> pd.DataFrame:
    """What answering only the surest images gives: one row for each number of them, from 1 to all.

    Columns coverage (share of the images that are answered) and accuracy (on these). The others go to a human.
    El-Yaniv and Wiener, "On the foundations of noise-free selective classification", 2010.
    """
    order = np.argsort(-np.asarray(confidence), kind="stable")
    answered = np.arange(1, len(order) + 1)
    return pd.DataFrame({"coverage": answered / len(order), "accuracy": np.cumsum(np.asarray(right)[order]) / answered})


def accuracy_at_coverage(curve: pd.DataFrame, coverage: float) -> float:
    """The accuracy on this share of the images, the surest ones, of a curve by `risk_coverage`."""
    row = min(int(np.searchsorted(curve["coverage"], coverage - 1e-9)), len(curve) - 1)
    return float(curve["accuracy"].iloc[row])


def images_to_human(curve: pd.DataFrame, accuracy: float) -> int:
    """How many images a human must read so that the rest reach this accuracy; all of them if none do."""
    reached = np.flatnonzero(curve["accuracy"] >= accuracy)
    return len(curve) - (int(reached[-1]) + 1 if len(reached) else 0)


def check_probabilities(probabilities: np.ndarray, y_true: np.ndarray) -> None:
    """Raises UserError unless there is a row of probabilities for each label, with a column for it."""
    largest = np.max(y_true, initial=0)
    if probabilities.ndim != 2 or len(probabilities) != len(y_true) or largest >= probabilities.shape[1]:
        raise UserError(
            f"Probabilities of shape {probabilities.shape} do not fit {len(y_true)} labels up to {largest}: "
            "expected one row an image, one column a class."
        )
