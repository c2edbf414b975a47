"""The exercises of notebook 07 take right answers and refuse wrong ones."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.notebook import exercises

PARTS = {"Python, data, optimiser": 3.0, "forward pass": 15.0, "backward pass": 32.0}
RNG = np.random.default_rng(0)
IMAGES = RNG.random((20, 28, 28, 1))
WEIGHTS = RNG.random((28 * 28, 10))
ABLATION = pd.DataFrame(
    {"mean": [99.07, 98.91, 99.20, 98.97], "sd": [0.073, 0.069, 0.058, 0.060]}, index=["all", "a", "b", "c"]
)


def predict(x, verbose=0):
    """Probabilities of a network that is none."""
    scores = x.reshape(len(x), -1) @ WEIGHTS
    return scores / scores.sum(axis=1, keepdims=True)


def trained(rate=0.4, steps=40, size=17_434, **settings):
    """What the check looks at in a trained network."""
    config = {"name": "sgd_3", "momentum": 0.9, "nesterov": True, "learning_rate": rate} | settings
    optimizer = SimpleNamespace(get_config=lambda: config, iterations=steps)
    return SimpleNamespace(optimizer=optimizer, count_params=lambda: size)


def along(peak=0.4, rise=8, fall=32):
    """A learning rate along one cycle, as Keras describes it."""
    return {"config": {"warmup_target": peak, "warmup_steps": rise, "decay_steps": fall}}


def verdict(capsys, number, answer, **others):
    exercises.variables = {
        "report_parts": PARTS, "ablation": ABLATION, "better": SimpleNamespace(predict=predict), "x_val": IMAGES,
        "fast": trained(), "x_train": np.zeros((10_000, 1)), "batch_size": 256, "cycle": trained(along()), **others,
    }  # fmt: skip
    exercises.check(number, answer)
    return capsys.readouterr().out


VIEWS = IMAGES, IMAGES[:, :, ::-1]


@pytest.mark.parametrize(
    "number, answer",
    [
        ("07.1", 50 / 36.5),
        ("07.2", 663_552),
        ("07.3", trained()),
        ("07.4", "bc"),
        ("07.5", np.mean([predict(view) for view in VIEWS], axis=0)),
        ("07.6", ["b", "a"]),
    ],
)
def test_right_answers(capsys, number, answer):
    assert f"Exercise {number}: correct" in verdict(capsys, number, answer)
    assert f"Exercise {number}: not answered yet" in verdict(capsys, number, ...)


@pytest.mark.parametrize(
    "number, answer, reason",
    [
        ("07.1", 36.5 / 50, "how many times"),
        ("07.1", 50 / 35, "limit"),
        ("07.1", 10, ""),
        ("07.1", "1.4", "number"),
        ("07.2", 460_800, "as it is"),
        ("07.2", 144 * 9 * 32, "all maps"),
        ("07.2", 0, ""),
        ("07.3", trained(along()), "not constant"),
        ("07.3", trained(rate=0.1), "not 0.4"),
        ("07.3", trained(momentum=0.0), "momentum"),
        ("07.3", trained(name="adam"), "SGD"),
        ("07.3", trained(steps=80), "80 steps"),
        ("07.3", trained(size=225_034), "fast_network"),
        ("07.3", 0.97, ""),
        ("07.4", "bcd", ""),
        ("07.4", "", ""),
        ("07.5", predict(IMAGES), "image alone"),
        ("07.5", predict(VIEWS[1]), "mirror image alone"),
        ("07.5", sum(predict(view) for view in VIEWS), "sum"),
        ("07.5", (predict(IMAGES) + predict(IMAGES[:, ::-1])) / 2, "upside down"),
        ("07.5", 0.98, "shape"),
        ("07.6", [], "left out the 3"),
        ("07.6", ["a"], "better without"),
        ("07.6", ["a", "b", "c"], ""),
        ("07.6", "ab", "list"),
        ("07.6", 2, ""),
    ],
)
def test_wrong_answers(capsys, number, answer, reason):
    said = verdict(capsys, number, answer)
    assert f"Exercise {number}: not yet" in said and reason in said


@pytest.mark.parametrize(
    "cycle, reason",
    [(..., "still open"), (trained(), "is constant"), (trained(along(fall=200)), "end with the training")],
)
def test_the_second_network_is_looked_at_too(capsys, cycle, reason):
    assert reason in verdict(capsys, "07.3", trained(), cycle=cycle)
