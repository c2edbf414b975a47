"""How classifiers fare on digits that differ from their training data. Explained in notebooks/05_evaluation.ipynb.

A classifier is a function here: images float32 (N, 28, 28, 1), 0..1, in; logits or probabilities (N, classes) out.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd

from helpers import data
from helpers.evaluation.confidence import calibration, probabilities
from helpers.evaluation.corruptions import CORRUPTIONS, GEOMETRIC, corrupt
from helpers.images.candidates import preprocess

Classifier = Callable[[np.ndarray], np.ndarray]
IDENTITY = "identity"  # the benchmark's sixteenth: nothing is changed
DEFAULT: tuple[tuple[str, int | None], ...] = tuple((name, None) for name in (IDENTITY, *CORRUPTIONS))
EVERY_SEVERITY = tuple((name, level) for name, c in CORRUPTIONS.items() if c.severities > 1 for level in range(1, 6))


def conditions(x: np.ndarray, which: Iterable[tuple[str, int | None]] = DEFAULT, seed: int = 0):
    """Yields (name, severity) and the images uint8 (N, 28, 28) with that corruption, float32 (N, 28, 28, 1), 0..1.

    None is the benchmark's own severity. The same seed gives every classifier the same images.
    """
    for name, severity in which:
        changed = x.astype("float32") if name == IDENTITY else corrupt(x, name, severity, seed)
        yield (name, severity), changed[..., None] / 255


def answers(
    classifiers: Mapping[str, Classifier],
    x: np.ndarray,
    which: Iterable[tuple[str, int | None]] = DEFAULT,
    seed: int = 0,
) -> dict[str, dict[tuple[str, int | None], np.ndarray]]:
    """What each classifier says to the same corrupted images: by classifier, then by (name, severity)."""
    said = {name: {} for name in classifiers}
    for condition, changed in conditions(x, which, seed):
        for name, classifier in classifiers.items():
            said[name][condition] = classifier(changed)
    return said


def accuracies(said: Mapping[tuple[str, int | None], np.ndarray], y: np.ndarray) -> pd.Series:
    """The accuracy of one classifier's answers at each condition, by the corruption's name."""
    return pd.Series({name: float(np.mean(answer.argmax(axis=1) == y)) for (name, _), answer in said.items()})


def severity_table(said: Mapping[tuple[str, int | None], np.ndarray], y: np.ndarray) -> pd.DataFrame:
    """The accuracy of one classifier's answers: a row a corruption, a column a severity; NaN where there is none."""
    found = {key: float(np.mean(answer.argmax(axis=1) == y)) for key, answer in said.items()}
    return pd.Series(found).rename_axis(["corruption", "severity"]).unstack(sort=False)


def means(accuracy: pd.Series) -> dict[str, float]:
    """The benchmark's mean over its 15 corruptions, that without the GEOMETRIC ones, and the lowest of the 15.

    The usual augmentation rotates, shears, scales and shifts, so a network trained with it has met those four.
    """
    corrupted = accuracy.drop(IDENTITY, errors="ignore")
    return {
        "mean": float(corrupted.mean()),
        "mean_unseen": float(corrupted.drop(list(GEOMETRIC)).mean()),
        "lowest": float(corrupted.min()),
    }


def mean_calibration(
    said: Mapping[tuple[str, int | None], np.ndarray], y: np.ndarray, temperature: float = 1.0
) -> dict[str, float]:
    """ECE, NLL and Brier score of logits over a temperature, each as the mean over the corruptions."""
    rows = [
        calibration(probabilities(logits, temperature), y) for (name, _), logits in said.items() if name != IDENTITY
    ]
    return pd.DataFrame(rows).mean().to_dict()


def other_hands() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's digits as `preprocess` brings any picture to MNIST's form: uint8 (N, 28, 28), labels (N,)."""
    pictures, labels = data.sklearn_digits()
    return np.stack([preprocess(picture)["centred 28×28"] for picture in pictures]), labels
