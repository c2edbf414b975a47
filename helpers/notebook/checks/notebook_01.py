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
    yield "One number is wanted.", not is_number(answer)
    right = 60_000 * 224 * 224 * 3 * 4 / 1e6
    yield "You counted one byte per value, as in uint8.", np.isclose(answer, right / 4, rtol=2e-3)
    yield "You left out the colours.", np.isclose(answer, right / 3, rtol=2e-3)
    yield "You counted eight bytes per value, as in float64.", np.isclose(answer, 2 * right, rtol=2e-3)
    yield "That is the number of gigabytes.", np.isclose(answer, right / 1000, rtol=2e-3)
    yield "That is the number of bytes.", np.isclose(answer, 1e6 * right, rtol=2e-3)
    mebibytes = 1e6 / 2**20 * right
    yield "You counted mebibytes, of 2 to the power of 20 bytes.", np.isclose(answer, mebibytes, rtol=2e-3)
    yield True, abs(answer - right) <= 0.01 * right


@exercise("01.2", hint="weights.sum(axis=2) is the ink in each row; times np.arange(28), summed, it gives each centre.")
def centre(answer, x_held):
    """The mean position of the ink, rows and columns counted from 0."""
    given = np.asarray(answer, dtype=float)
    yield "Two numbers are wanted: (row, column).", given.shape != (2,)
    places = np.arange(28)
    right = [np.mean([np.average(places, weights=ink) for ink in x_held.sum(axis=axis)]) for axis in (2, 1)]
    yield True, np.allclose(given, right, rtol=0, atol=5e-4)
    yield "That is the middle of the grid. Now measure where the ink is.", np.allclose(given, 13.5)
    yield "You have swapped rows and columns.", np.allclose(given, right[::-1], rtol=0, atol=5e-4)
    pooled = [np.average(places, weights=x_held.sum(axis=(0, axis), dtype=float)) for axis in (2, 1)]
    reason = "That is the centre of all ink together, in which bold digits count for more than thin ones."
    yield reason, np.allclose(given, pooled, rtol=0, atol=5e-4)


@exercise(
    "01.3", hint="np.flatnonzero(y_few == 1)[:40] are the ones to keep; join them with the indices of all others."
)
def recall_of_ones(answer, flat_few, y_few, flat_held, y_held):
    """The recall of the 1s with few training images."""
    yield "One number is wanted: the first of the two that the function returns.", not is_number(answer)
    kept = np.concatenate([np.flatnonzero(y_few != 1), np.flatnonzero(y_few == 1)[:LEFT]])
    predicted = KNeighborsClassifier(3).fit(flat_few[kept], y_few[kept]).predict(flat_held)
    right = recall_score(y_held, predicted, labels=[1], average="macro", zero_division=0)
    is_accuracy = np.isclose(answer, np.mean(predicted == y_held)) and not np.isclose(answer, right)
    yield "That is the accuracy over all classes.", is_accuracy
    yield "Give it as a fraction, not in per cent.", np.isclose(answer, 100 * right)
    yield True, abs(answer - right) < 2e-3


@exercise("01.4", hint="Sum each mean image over its rows and columns, axis=(1, 2); argmax tells the class.")
def most_ink(answer, mean_images):
    """The class whose images hold most ink on average."""
    yield "Two numbers are wanted: (label, ratio).", len(answer) != 2
    ink = mean_images.sum(axis=(1, 2), dtype=float)
    label, ratio = answer
    yield "It is another class.", label != ink.argmax()
    yield True, is_number(ratio) and np.isclose(ratio, ink.max() / ink.min(), rtol=0.005)
    yield "The class is right, the ratio is not: most ink over least ink.", True


@exercise("01.5", hint="KMeans(8).fit(flat_few[y_few == label]).cluster_centers_ for each label; np.stack joins them.")
def templates(answer, flat_few, y_few, flat_held, y_held, num_classes):
    """A classifier with several means per class."""
    given = np.asarray(answer, dtype=float)
    wanted = num_classes, EACH, flat_few.shape[1]
    yield f"The shape is {given.shape}, not {wanted}.", given.shape != wanted
    yield "Pixels lie in 0 to 1, as in flat_few.", given.max() > 1.01
    means = np.stack([flat_few[y_few == label].mean(axis=0) for label in range(num_classes)])
    yield "The eight templates of a class are all the same.", not (given.std(axis=1).sum(axis=1) > 0).all()
    yield "The templates of some class are not made of its images.", np.abs(given.mean(axis=1) - means).max() > 0.3
    classes, pixels = np.arange(num_classes), flat_few.shape[1]
    baseline = KNeighborsClassifier(1).fit(means, classes).score(flat_held, y_held)
    score = KNeighborsClassifier(1).fit(given.reshape(-1, pixels), classes.repeat(EACH)).score(flat_held, y_held)
    yield True, score >= baseline + GAIN
    yield f"They classify {score:.1%} of the held-out images correctly; k-means does clearly better.", True


choice(
    "01.6",
    right="abe",
    hint="99.95 % leaves five mistakes in 10,000. Which statements need nothing but this and the fifteen doubtful labels?",
)
