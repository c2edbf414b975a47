"""benchmarks/pruning.py at a tiny size: the zeros are there, the file packs better, and nothing is made again."""

import dataclasses

import keras
import numpy as np
import pytest

from benchmarks import pruning
from helpers import data
from helpers.files import read_json


def test_the_smallest_weights_of_all_kernels_become_zero():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(2)])
    bias = np.array([0.1, 0.1])
    model.set_weights([np.array([[1, -9], [2, 8], [-3, 7]]), bias, np.array([[4, 5], [6, -10]]), bias])
    pruning.prune(model, 0.4)
    first, other, second, _ = model.get_weights()
    assert first.tolist() == [[0, -9], [0, 8], [0, 7]] and second.tolist() == [[0, 5], [6, -10]]
    assert np.array_equal(other, bias.astype("float32"))
    pruning.prune(model, 0.0)
    assert np.count_nonzero(model.get_weights()[0]) == 3


@pytest.mark.thorough
def test_pruned_networks_have_their_zeros_and_are_not_made_again(monkeypatch, outputs):
    few = data.load()
    parts = tuple((few.x_train[a : a + 200], few.y_train[a : a + 200]) for a in (0, 200, 400))
    monkeypatch.setattr(pruning, "parts", lambda: parts)
    # In this process, which has imported Keras already.
    monkeypatch.setattr(
        pruning.trainings, "train_all", lambda run, items, args, parts: ((i, run(i, *parts)) for i in items)
    )
    monkeypatch.setattr(pruning, "FILE", outputs / "pruning.json")
    monkeypatch.setattr(pruning, "SPARSITIES", (0.0, 0.9))
    monkeypatch.setattr(pruning, "RECIPE", dataclasses.replace(pruning.RECIPE, epochs=2, peak=0.001))
    assert pruning.main(["--seeds", "1"]) == 0
    control, pruned = read_json(pruning.FILE)["rows"]
    assert control["zeros"] < 0.01 and pruned["zeros"] == pytest.approx(0.9, abs=0.001)
    assert abs(pruned["bytes"] - control["bytes"]) < 1000 and pruned["gzip"] < 0.4 * control["gzip"]
    assert control["test_accuracy"] > 0.97  # four steps are too few for the pruned one
    assert [file.name for file in (outputs / "pruning").iterdir()] == ["rows.json"]
    monkeypatch.setattr(pruning, "fine_tune", lambda *_: pytest.fail("trained again"))
    assert pruning.main(["--seeds", "1"]) == 0
