"""helpers.notebook.checks.notebook_01: right answers are accepted, plausible wrong ones refused."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from helpers.notebook import exercises

SIDE, CLASSES = 28, 3


@pytest.fixture(autouse=True)
def notebook(monkeypatch):
    """A small stand-in for MNIST in which one mean per class is too little: squares A and B, both or none in class 0,
    one of them in class 1; square C in class 2. Noise everywhere.
    """
    rng = np.random.default_rng(0)

    def pictures(n):
        labels = np.arange(n) % CLASSES
        a = rng.integers(0, 2, n)
        squares = {(2, 3): a, (20, 9): np.where(labels == 1, 1 - a, a), (11, 20): labels == 2}
        images = rng.integers(0, 110, (n, SIDE, SIDE))
        for (row, column), present in squares.items():
            strength = rng.integers(60, 146, n) * present
            images[:, row : row + 5, column : column + 5] += strength[:, None, None]
        return images.astype("uint8"), labels

    (x_few, y_few), (x_held, y_held) = pictures(600), pictures(300)
    flat = {name: x.reshape(len(x), -1) / np.float32(255) for name, x in (("few", x_few), ("held", x_held))}
    means = np.stack([flat["few"][y_few == label].mean(axis=0) for label in range(CLASSES)])
    variables = {
        "x_held": x_held, "flat_few": flat["few"], "flat_held": flat["held"], "y_few": y_few, "y_held": y_held,
        "num_classes": CLASSES, "mean_images": means.reshape(CLASSES, SIDE, SIDE),
    }  # fmt: skip
    monkeypatch.setattr(exercises, "variables", variables)
    return variables


def verdict(capsys, number, answer):
    exercises.check(number, answer)
    return capsys.readouterr().out


def right(printed):
    return ": correct." in printed


@pytest.mark.parametrize(
    "answer, reason",
    [
        (None, "One number"),
        ("36 GB", "One number"),
        (True, "One number"),
        (36_126.72 / 4, "uint8"),
        (36_126.72 / 3, "colours"),
        (36.13, "gigabytes"),
        (34_453, "mebibytes"),
        (72_253, "float64"),
        (40_000, "not yet"),
    ],
)
def test_megabytes(capsys, answer, reason):
    assert reason in verdict(capsys, "01.1", answer)
    assert right(verdict(capsys, "01.1", 36_127))


def centres(x):
    weights = x / x.sum(axis=(1, 2), keepdims=True)
    return [(weights.sum(axis=axis) @ np.arange(SIDE)).mean() for axis in (2, 1)]


def test_centre(capsys, notebook):
    x = notebook["x_held"]
    assert right(verdict(capsys, "01.2", centres(x)))
    assert "swapped" in verdict(capsys, "01.2", centres(x)[::-1])
    assert "middle of the grid" in verdict(capsys, "01.2", (13.5, 13.5))
    ink = x.sum(axis=0, dtype=float)
    pooled = [np.average(np.arange(SIDE), weights=ink.sum(axis=axis)) for axis in (1, 0)]
    assert "all ink together" in verdict(capsys, "01.2", pooled)
    for wrong in (14, None, (14, 14), [], centres(x)[0]):
        assert "not yet" in verdict(capsys, "01.2", wrong)


def test_recall_of_ones(capsys, notebook):
    from sklearn.metrics import recall_score
    from sklearn.neighbors import KNeighborsClassifier

    x, y, held = notebook["flat_few"], notebook["y_few"], notebook["flat_held"]
    ones, others = np.flatnonzero(y == 1), np.flatnonzero(y != 1)

    def predicted(kept):
        return KNeighborsClassifier(3).fit(x[kept], y[kept]).predict(held)

    def recall(kept):
        return recall_score(notebook["y_held"], predicted(kept), labels=[1], average="macro")

    kept = np.concatenate([others, ones[:40]])
    accuracy = np.mean(predicted(kept) == notebook["y_held"])
    assert right(verdict(capsys, "01.3", recall(kept)))
    assert "accuracy" in verdict(capsys, "01.3", accuracy)
    assert "per cent" in verdict(capsys, "01.3", 100 * recall(kept))
    whole = recall(np.arange(len(y)))
    for wrong in (whole, 0, None, (recall(kept), accuracy), recall(np.concatenate([others, ones[-20:]]))):
        assert "not yet" in verdict(capsys, "01.3", wrong)


def test_most_ink(capsys, notebook):
    ink = notebook["mean_images"].sum(axis=(1, 2), dtype=float)
    best, ratio = int(ink.argmax()), ink.max() / ink.min()
    assert right(verdict(capsys, "01.4", (best, ratio)))
    assert "ratio is not" in verdict(capsys, "01.4", (best, 1 / ratio))
    assert "ratio is not" in verdict(capsys, "01.4", (best, None))
    assert "another class" in verdict(capsys, "01.4", (int(ink.argmin()), ratio))
    assert "not yet" in verdict(capsys, "01.4", best)


def test_templates(capsys, notebook):
    x, y = notebook["flat_few"], notebook["y_few"]
    good = np.stack([KMeans(8, random_state=0).fit(x[y == label]).cluster_centers_ for label in range(CLASSES)])
    assert right(verdict(capsys, "01.5", good))
    means = notebook["mean_images"].reshape(CLASSES, 1, -1)
    assert "all the same" in verdict(capsys, "01.5", np.repeat(means, 8, axis=1))
    assert "shape" in verdict(capsys, "01.5", good.reshape(-1, SIDE * SIDE))
    assert "shape" in verdict(capsys, "01.5", good[:, :4])
    assert "0 to 1" in verdict(capsys, "01.5", 255 * good)
    noise = np.random.default_rng(0).normal(0, 1e-6, good.shape)
    for wrong in (means + noise, good[::-1], np.zeros_like(good), None, []):
        assert "not yet" in verdict(capsys, "01.5", wrong)


@pytest.mark.parametrize("answer", ["", "a", "ab", "be", "abce", "abcde", "abd", None, 3])
def test_wrong_statements(capsys, answer):
    assert "not yet" in verdict(capsys, "01.6", answer)


@pytest.mark.parametrize("answer", ["abe", "e, b, a", ["a", "b", "e"]])
def test_right_statements(capsys, answer):
    assert right(verdict(capsys, "01.6", answer))
