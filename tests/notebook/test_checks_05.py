"""helpers.notebook.checks.notebook_05: right answers pass, plausible wrong ones do not."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, precision_score, recall_score


def wilson(correct, n, z=1.96):
    p, shrink = correct / n, 1 + z**2 / n
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (p + z**2 / (2 * n) - half) / shrink, (p + z**2 / (2 * n) + half) / shrink


def test_05_1_wants_the_smallest_number(said):
    right = next(n for n in range(2000, 200_000, 1000) if np.ptp(wilson(0.995 * n, n)) <= 0.001)
    assert "correct" in said("05.1", right, wilson=wilson)
    assert "still wider" in said("05.1", right - 1000, wilson=wilson)
    assert "Fewer" in said("05.1", right + 1000, wilson=wilson)
    for wrong in (right + 1, 0, -1000, 1000, "77000", None, [right], True):
        assert "multiple" in said("05.1", wrong, wilson=wilson)


@pytest.mark.parametrize("number, right", [("05.2", "ad"), ("05.5", "bd")])
def test_letters(said, number, right):
    assert "correct" in said(number, right) and "correct" in said(number, right[::-1].upper())
    for wrong in ("", "a", "b", "d", "abcde", right + "c", None, 3):
        assert "not yet" in said(number, wrong)


def test_05_3_by_hand(said):
    matrix = np.array([[8, 2, 0], [1, 5, 0], [0, 3, 1]])
    recall, precision = np.diag(matrix) / matrix.sum(axis=1), np.diag(matrix) / matrix.sum(axis=0)
    f1 = 2 * precision * recall / (precision + recall)

    def verdict(f1, precision, recall):
        return said("05.3", f1, matrix=matrix, class_precision=precision, class_recall=recall)

    assert "correct" in verdict(f1, precision, recall)
    assert "swapped" in verdict(f1, recall, precision)
    assert "arithmetic" in verdict((precision + recall) / 2, precision, recall)
    assert "one per class" in verdict(f1.mean(), precision, recall)
    assert "one per class" in verdict(f1, ..., ...)
    assert "wrong" in verdict(f1, precision, np.ones(3))
    for wrong in (precision, np.zeros(3), f1.round(3)):
        assert "not yet" in verdict(wrong, precision, recall)
    assert "not answered" in verdict(..., precision, recall)


def test_05_4_chooses_on_validation_images(said):
    rng = np.random.default_rng(0)
    y_val, y = rng.integers(0, 10, 3000), rng.integers(0, 10, 4000)
    val_score, score = (
        0.3 * rng.random(len(labels)) + 0.3 * (labels == 8) * rng.random(len(labels)) for labels in (y_val, y)
    )
    given = {"val_score": val_score, "y_val": y_val, "scores": {"logistic regression": score}, "is_8": y == 8}

    def found(score_of, truth, pick=np.max, recall=0.98):
        _, recalls, thresholds = precision_recall_curve(truth, score_of)
        yes = score >= pick(thresholds[recalls[:-1] >= recall])
        return precision_score(y == 8, yes), recall_score(y == 8, yes)

    right = found(val_score, y_val == 8)
    assert "correct" in said("05.4", right, **given) and "correct" in said("05.4", np.array(right), **given)
    assert "first" in said("05.4", right[::-1], **given)
    assert "test images" in said("05.4", found(score, y == 8), **given)
    for wrong in (
        found(val_score, y_val == 8, np.min),
        found(val_score, y_val == 8, recall=0.95),
        (1.0, 1.0),
        (0.9, 0.98),
    ):
        assert "not yet" in said("05.4", wrong, **given)
    assert "pair" in said("05.4", right[0], **given) and "pair" in said("05.4", (), **given)


def test_05_6_wants_five_copies_with_their_labels(said):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (6, 28, 28), dtype=np.uint8), rng.integers(0, 10, 6)
    x_val, y_val = rng.integers(0, 255, (50, 28, 28), dtype=np.uint8), rng.integers(0, 10, 50)

    class Svm:
        def predict(self, rows):
            return np.zeros(len(rows), int)

    moves = [x, *(np.roll(x, step, axis) for axis in (2, 1) for step in (1, -1))]
    accuracy = float(np.mean(y_val == 0))

    def verdict(more_x, more_y, answer=accuracy):
        return said(
            "05.6", answer, x_small=x, y_small=y, more_x=more_x, more_y=more_y, more_svm=Svm(), x_val=x_val, y_val=y_val
        )

    assert "correct" in verdict(np.concatenate(moves), np.tile(y, 5))
    assert "not the right" in verdict(np.concatenate(moves), np.repeat(y, 5))  # labels in another order
    assert "not the right" in verdict(np.tile(x, (5, 1, 1)), np.tile(y, 5))  # nothing moved
    assert "not the right" in verdict(np.concatenate([*moves[:4], moves[3]]), np.tile(y, 5))
    assert "five copies" in verdict(np.concatenate(moves[1:]), np.tile(y, 4))
    for wrong in (accuracy + 0.02, 100 * accuracy, None, "much"):
        assert "not yet" in verdict(np.concatenate(moves), np.tile(y, 5), wrong)
    assert "not answered" in verdict(np.concatenate(moves), np.tile(y, 5), ...)
