"""benchmarks/edge.py at a tiny size: an integer file is made, scored, and not made again."""

import dataclasses

import pytest

from benchmarks import edge
from helpers import data
from helpers.files import read_json


def test_what_is_there_is_not_trained_again(monkeypatch, outputs, capsys):
    few = data.load()
    parts = tuple((few.x_train[a : a + 200], few.y_train[a : a + 200]) for a in (0, 200, 400))
    monkeypatch.setattr(edge, "parts", lambda: parts)
    # In this process, which has imported Keras already.
    monkeypatch.setattr(
        edge.trainings, "train_all", lambda run, seeds, args, parts: ((s, run(s, *parts)) for s in seeds)
    )
    monkeypatch.setattr(edge, "FILE", outputs / "edge.json")
    monkeypatch.setattr(edge, "RECIPE", dataclasses.replace(edge.RECIPE, epochs=2, batch_size=20, peak=0.1))
    assert edge.main(["--seeds", "1"]) == 0
    [row] = read_json(edge.FILE)["rows"]
    assert row["bytes"] <= 16_384 and row["parameters"] == 8_618
    assert abs(row["test_accuracy"] - row["test_accuracy_float32"]) <= 0.05
    assert "8," in capsys.readouterr().out
    assert [file.name for file in (outputs / "edge").iterdir()] == ["rows.json"]
    monkeypatch.setattr(edge, "train_and_score", lambda *_: pytest.fail("trained again"))
    assert edge.main(["--seeds", "1"]) == 0
