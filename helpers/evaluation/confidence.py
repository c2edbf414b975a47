"""Selective classification: answering only what is sure. Explained in notebooks/08_robustness.ipynb."""

import numpy as np
import pandas as pd


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
