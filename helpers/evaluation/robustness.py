"""Robustness of classifiers to distribution shift. Explained in notebooks/08_robustness.ipynb.

A condition is (name of a corruption, severity or None for the benchmark's own).
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from helpers import data
from helpers.evaluation.confidence import calibration
from helpers.evaluation.corruptions import CORRUPTIONS, GEOMETRIC, corrupt
from helpers.images.candidates import preprocess
from helpers.predict.confidence import softmax

Condition = tuple[str, int | None]
IDENTITY = "identity"  # the benchmark's sixteenth condition, without a change
DEFAULT: tuple[Condition, ...] = tuple((name, None) for name in (IDENTITY, *CORRUPTIONS))
EVERY_SEVERITY = tuple((name, level) for name, c in CORRUPTIONS.items() if c.parameters[1:] for level in range(1, 6))


def conditions(x: np.ndarray, which: Iterable[Condition] = DEFAULT, seed: int = 0):
    """Yields each condition with the images x, uint8 (N, 28, 28), corrupted: float32 (N, 28, 28, 1), 0..1.

    The same seed gives every classifier the same images.
    """
    for name, severity in which:
        changed = x.astype("float32") if name == IDENTITY else corrupt(x, name, severity, seed)
        yield (name, severity), changed[..., None] / 255


def accuracies(said: Mapping[Condition, np.ndarray], y: np.ndarray) -> pd.Series:
    """The accuracy of the answers of one classifier per corruption."""
    return pd.Series({name: float(np.mean(answer.argmax(axis=1) == y)) for (name, _), answer in said.items()})


def means(accuracy: pd.Series) -> dict[str, float]:
    """Mean accuracy over the benchmark's 15 corruptions, mean_unseen over the 11 not GEOMETRIC, and the lowest.

    The usual augmentation rotates, shears, scales and shifts, so a network trained with it has seen the GEOMETRIC ones.
    """
    corrupted = accuracy.drop(IDENTITY, errors="ignore")
    return {
        "mean": float(corrupted.mean()),
        "mean_unseen": float(corrupted.drop(list(GEOMETRIC)).mean()),
        "lowest": float(corrupted.min()),
    }


def mean_calibration(said: Mapping[Condition, np.ndarray], y: np.ndarray, temperature: float = 1.0) -> dict[str, float]:
    """Mean ECE, NLL and Brier score over the corruptions, for the logits of one classifier and a temperature."""
    rows = [calibration(softmax(logits, temperature), y) for (name, _), logits in said.items() if name != IDENTITY]
    return pd.DataFrame(rows).mean().to_dict()


def other_hands() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits in MNIST's form, by `preprocess`: uint8 (N, 28, 28), labels (N,)."""
    pictures, labels = data.sklearn_digits()
    return np.stack([preprocess(picture)["centred 28×28"] for picture in pictures]), labels
