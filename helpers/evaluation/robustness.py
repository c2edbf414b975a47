"""Robustness of classifiers to distribution shift. Explained in notebooks/08_robustness.ipynb."""

import numpy as np
import pandas as pd

from helpers import data
from helpers.evaluation.corruptions import GEOMETRIC
from helpers.images.candidates import preprocess

IDENTITY = "identity"  # the benchmark's sixteenth condition, without a change


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


def other_hands() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits in MNIST's form, by `preprocess`: uint8 (N, 28, 28), labels (N,)."""
    pictures, labels = data.sklearn_digits()
    return np.stack([preprocess(picture)["centred 28×28"] for picture in pictures]), labels
