"""The exercises of notebook 04: right answers are accepted, plausible wrong ones refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.notebook import exercises

SCORES = {(0, True): 0.95, (0, False): 0.93, (1, True): 0.94, (1, False): 0.94, (2, True): 0.96, (2, False): 0.92}


def fake(scores=SCORES, on_validation=0.96, also=()):
    """A finished grid search whose best network has the accuracy `on_validation` on the validation images."""
    trials = {
        str(number): SimpleNamespace(
            hyperparameters=SimpleNamespace(values={"seed": seed, "batch_norm": flag} | dict(also)), score=score
        )
        for number, ((seed, flag), score) in enumerate(scores.items())
    }
    best = SimpleNamespace(evaluate=lambda *data, **options: {"accuracy": on_validation})
    return SimpleNamespace(oracle=SimpleNamespace(trials=trials), get_best_models=lambda: [best])


def verdict(number, answer, capsys, **variables):
    exercises.variables = variables
    exercises.check(number, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("number", "answer"),
    [
        ("04.1", (1 / 3, 0.0901)),
        ("04.1", [np.float64(0.333), 0.09]),
        ("04.2", 29),
        ("04.2", np.int64(29)),
        ("04.3", "ac"),
        ("04.3", ["c", "a"]),
        ("04.5", 21),
        ("04.6", "bda"),
    ],
)
def test_right_answers(number, answer, capsys):
    assert "correct" in verdict(number, answer, capsys)


@pytest.mark.parametrize(
    ("number", "answer", "reason"),
    [
        ("04.1", (0.0901, 1 / 3), "order"),
        ("04.1", (0.25, 0.09), "four powers"),
        ("04.1", (33.3, 9.0), "from 0 to 1"),
        ("04.1", (1 / 3, 1 / 3), ""),
        ("04.1", 1 / 3, ""),
        ("04.1", (), ""),
        ("04.2", 28, "94.8"),
        ("04.2", 30, "fewer"),
        ("04.2", 28.43, "whole"),
        ("04.2", True, "whole"),
        ("04.2", None, ""),
        ("04.3", "a", ""),
        ("04.3", "abc", ""),
        ("04.3", "", ""),
        ("04.5", 20, "both directions"),
        ("04.5", 22, ""),
        ("04.5", "21", ""),
        ("04.6", "abcd", ""),
    ],
)
def test_wrong_answers(number, answer, reason, capsys):
    printed = verdict(number, answer, capsys)
    assert "not yet" in printed and reason in printed


@pytest.mark.parametrize(
    ("answer", "grid", "said"),
    [
        (0.02, fake(), "correct"),
        (-0.02, fake(), "the loss"),
        (2.0, fake(), "not yet"),
        ("0.02", fake(), "one number"),
        (0.02, fake(on_validation=0.9), "not those on the validation images"),
        (0.02, fake(also=[("dropout", 0.1)]), "batch normalisation only"),
        (0.02, fake({key: score for key, score in SCORES.items() if key[0] == 0}), "Six trials"),
        (0.02, fake(SCORES | {(2, False): None}), "run grid.search"),
        (0.02, ..., "not yet"),
        (..., ..., "not answered yet"),
    ],
)
def test_the_grid_search(answer, grid, said, capsys):
    assert said in verdict("04.4", answer, capsys, grid=grid, x_val=None, y_val=None)
