"""Answers to the exercises of notebook 03: right ones pass, those that a reader might give by mistake do not."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.notebook import exercises
from helpers.notebook.checks import notebook_03 as checks


def first(verdicts):
    """The verdict that `check` takes."""
    return next((verdict for verdict, holds in verdicts if holds), False)


def right(verdicts):
    return first(verdicts) is True


def picture(seed=0):
    return np.random.default_rng(seed).random((28, 28))


@pytest.mark.parametrize(
    "answer, expected", [(0.6831, True), (-0.683, False), (0.49, False), (0.5, False), (None, False)]
)
def test_fallen(answer, expected):
    assert right(checks.fallen(answer)) is expected


def test_one_step():
    rng = np.random.default_rng(0)
    x, y = rng.random((50, 20)), rng.integers(0, 10, 50)
    p = np.full((50, 10), 0.1)
    slopes = x.T @ (p - np.eye(10)[y]) / 50

    def loss(w):
        z = x @ w
        return float(np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(50), y]))

    assert right(checks.after_step(loss(-0.5 * slopes), x, y, slopes, 10))
    assert "risen" in first(checks.after_step(loss(0.5 * slopes), x, y, slopes, 10))
    for wrong in (loss(0 * slopes), loss(-slopes), np.log(10), None):
        assert not right(checks.after_step(wrong, x, y, slopes, 10))


@pytest.mark.parametrize(
    "rows, columns, expected", [((1, 27), (2, 28), True), ((1, 27), (0, 26), False), ((2, 28), (1, 27), False)]
)
def test_shifted(rows, columns, expected):
    digit = picture()
    assert right(checks.shifted(digit[slice(*rows), slice(*columns)], digit)) is expected
    assert "in place" in first(checks.shifted(digit[1:-1, 1:-1], digit))
    assert "26 × 26" in first(checks.shifted(digit, digit))


@pytest.mark.parametrize("answer, expected", [(184_074, True), (225_034, False), (184_074.5, False), ("184074", False)])
def test_parameters(answer, expected):
    assert right(checks.parameters(answer)) is expected
    assert "fewer" in first(checks.parameters(320 + 64 * (5 * 5 * 32 + 1) + (5 * 5 * 64 + 1) * 128 + 129 * 10))


@pytest.mark.parametrize("losses, expected", [([3, 2, 1, 4, 4, 4], True), ([3, 2, 1, 4, 4], False), ([3, 2, 1] + 37 * [5], False),
                                           (list(range(40, 0, -1)), True)])  # fmt: skip
def test_stopped(losses, expected):
    assert right(checks.stopped(SimpleNamespace(history={"val_loss": losses}))) is expected


@pytest.mark.parametrize("answer, expected", [("acd", True), ("ac", False), ("abcd", False)])
def test_words(answer, expected):
    assert right(exercises.EXERCISES["03.6"][0](answer)) is expected
