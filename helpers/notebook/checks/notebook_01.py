"""What is right in the exercises of notebooks/01_exploration.ipynb."""

import numpy as np
from sklearn.metrics import recall_score
from sklearn.neighbors import KNeighborsClassifier

from helpers.notebook.exercises import choice, exercise, is_number

LEFT = 40  # images that the rare class keeps in 01.3
EACH = 8  # templates per class in 01.5
GAIN = 0.05  # what eight templates per class gain at least over one


@exercise("01.1", hint="Pixels in one picture, times colours, times pictures, times the bytes of one float32.")
def megabytes(answer):
    """The memory of 60,000 colour images of 224 × 224 pixels as float32."""
    if not is_number(answer):
        return "One number is wanted."
    right = 60_000 * 224 * 224 * 3 * 4 / 1e6
    slips = {
        1 / 4: "You counted one byte per value, as in uint8.",
        1 / 3: "You left out the colours.",
        2: "You counted eight bytes per value, as in float64.",
        1 / 1000: "That is the number of gigabytes.",
        1e6: "That is the number of bytes.",
        1e6 / 2**20: "You counted mebibytes, of 2 to the power of 20 bytes.",
    }
    found = [reason for factor, reason in slips.items() if np.isclose(answer, factor * right, rtol=2e-3)]
    return found[0] if found else abs(answer - right) <= 0.01 * right


@exercise("01.2", hint="weights.sum(axis=2) is the ink in each row; times np.arange(28), summed, it gives each centre.")
def centre(answer, x_held):
    """The mean position of the ink, rows and columns counted from 0."""
    given = np.asarray(answer, dtype=float)
    if given.shape != (2,):
        return "Two numbers are wanted: (row, column)."
    places = np.arange(28)
    right = [np.mean([np.average(places, weights=ink) for ink in x_held.sum(axis=axis)]) for axis in (2, 1)]
    if np.allclose(given, right, rtol=0, atol=5e-4):
        return True
    pooled = [np.average(places, weights=x_held.sum(axis=(0, axis), dtype=float)) for axis in (2, 1)]
    if np.allclose(given, 13.5):
        return "That is the middle of the grid. Now measure where the ink is."
    if np.allclose(given, right[::-1], rtol=0, atol=5e-4):
        return "You have swapped rows and columns."
    if np.allclose(given, pooled, rtol=0, atol=5e-4):
        return "That is the centre of all ink together, in which bold digits count for more than thin ones."
    return False


@exercise(
    "01.3", hint="np.flatnonzero(y_few == 1)[:40] are the ones to keep; join them with the indices of all others."
)
def recall_of_ones(answer, flat_few, y_few, flat_held, y_held):
    """The recall of the 1s with few training images."""
    if not is_number(answer):
        return "One number is wanted: the first of the two that the function returns."
    kept = np.concatenate([np.flatnonzero(y_few != 1), np.flatnonzero(y_few == 1)[:LEFT]])
    predicted = KNeighborsClassifier(3).fit(flat_few[kept], y_few[kept]).predict(flat_held)
    right = recall_score(y_held, predicted, labels=[1], average="macro", zero_division=0)
    if np.isclose(answer, np.mean(predicted == y_held)) and not np.isclose(answer, right):
        return "That is the accuracy over all classes."
    if np.isclose(answer, 100 * right):
        return "Give it as a fraction, not in per cent."
    return abs(answer - right) < 2e-3


@exercise("01.4", hint="Sum each mean image over its rows and columns, axis=(1, 2); argmax tells the class.")
def most_ink(answer, mean_images):
    """The class whose images hold most ink on average."""
    if len(answer) != 2:
        return "Two numbers are wanted: (label, ratio)."
    ink = mean_images.sum(axis=(1, 2), dtype=float)
    label, ratio = answer
    if label != ink.argmax():
        return "It is another class."
    if not is_number(ratio) or not np.isclose(ratio, ink.max() / ink.min(), rtol=0.005):
        return "The class is right, the ratio is not: most ink over least ink."
    return True


@exercise("01.5", hint="KMeans(8).fit(flat_few[y_few == label]).cluster_centers_ for each label; np.stack joins them.")
def templates(answer, flat_few, y_few, flat_held, y_held, num_classes):
    """A classifier with several means per class."""
    given = np.asarray(answer, dtype=float)
    if given.shape != (num_classes, EACH, flat_few.shape[1]):
        return f"The shape is {given.shape}, not {(num_classes, EACH, flat_few.shape[1])}."
    if given.max() > 1.01:
        return "Pixels lie in 0 to 1, as in flat_few."
    means = np.stack([flat_few[y_few == label].mean(axis=0) for label in range(num_classes)])
    if not (given.std(axis=1).sum(axis=1) > 0).all():
        return "The eight templates of a class are all the same."
    if np.abs(given.mean(axis=1) - means).max() > 0.3:
        return "The templates of some class are not made of its images."
    score, baseline = accuracy(given, flat_held, y_held), accuracy(means[:, None], flat_held, y_held)
    if score < baseline + GAIN:
        return f"They classify {score:.1%} of the held-out images correctly; k-means does clearly better."
    return True


def accuracy(templates, images, labels) -> float:
    """The share of images whose nearest template is of their class; templates (classes, per class, pixels)."""
    flat = templates.reshape(-1, templates.shape[-1])
    distances = (flat**2).sum(axis=1) - 2 * images @ flat.T  # squared, less what is the same for all templates
    return float(np.mean(distances.argmin(axis=1) // templates.shape[1] == labels))


choice(
    "01.6",
    right="abe",
    hint="99.95 % leaves five mistakes in 10,000. Which statements need nothing but this and the fifteen doubtful labels?",
)
