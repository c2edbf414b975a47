"""A classifier on the corruptions of MNIST-C: the images, and how well its confidence agrees with its accuracy.

A condition is (name of a corruption, severity or None for the benchmark's own). Labels are integers from 0, (N,); logits
and probabilities have shape (N, classes). Explained in notebooks/08_robustness.ipynb.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from scipy.special import log_softmax, logsumexp

from helpers.evaluation.corruptions import CORRUPTIONS, corrupt
from helpers.evaluation.robustness import IDENTITY
from helpers.predict.confidence import softmax

BINS = 15  # as in Guo and others, 2017
Condition = tuple[str, int | None]
DEFAULT: tuple[Condition, ...] = tuple((name, None) for name in (IDENTITY, *CORRUPTIONS))
EVERY_SEVERITY = tuple((name, level) for name, c in CORRUPTIONS.items() if c.parameters[1:] for level in range(1, 6))


def conditions(x: np.ndarray, which: Iterable[Condition] = DEFAULT, seed: int = 0):
    """Yields each condition with the images x, uint8 (N, 28, 28), corrupted: float32 (N, 28, 28, 1), 0..1.

    The same seed gives every classifier the same images.
    """
    for name, severity in which:
        changed = x.astype("float32") if name == IDENTITY else corrupt(x, name, severity, seed)
        yield (name, severity), changed[..., None] / 255


def calibration(probabilities: np.ndarray, y_true: np.ndarray, bins: int = BINS) -> dict[str, float]:
    """Three measures of calibration, each 0 at best.

    Bins hold equally many images: with bins of equal width nearly all images of a good classifier would share the one
    above 0.99.

    Returns:
        ece: expected calibration error (Naeini and others, 2015), the mean gap of confidence and accuracy over the bins.
        nll: negative log-likelihood in nats, Keras's cross-entropy.
        brier: Brier's score (1950), the squared distance from the one-hot label, 0 to 2.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y_true
    parts = [part for part in np.array_split(np.argsort(confidence, kind="stable"), bins) if len(part)]
    gaps = [abs(confidence[part].mean() - right[part].mean()) for part in parts]
    true = probabilities[np.arange(len(y_true)), y_true]
    return {
        "ece": float(np.average(gaps, weights=[len(part) for part in parts])),
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


def mean_calibration(said: Mapping[Condition, np.ndarray], y: np.ndarray, temperature: float = 1.0) -> dict[str, float]:
    """Mean ECE, NLL and Brier score over the corruptions, for the logits of one classifier and a temperature."""
    rows = [calibration(softmax(logits, temperature), y) for (name, _), logits in said.items() if name != IDENTITY]
    return pd.DataFrame(rows).mean().to_dict()
