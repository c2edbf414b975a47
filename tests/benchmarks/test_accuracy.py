"""benchmarks/accuracy.py at a tiny size: it trains what is missing, chooses by validation, and writes what it found."""

import dataclasses
import shutil

import numpy as np
import pytest

from benchmarks import accuracy
from helpers import data, images, paths
from helpers.files import read_json
from tools import recipes
from tools.trainings import network_file


@pytest.fixture
def benchmark(monkeypatch, outputs):
    few = data.load()
    small = dataclasses.replace(recipes.FAST, batch_size=50)
    other = dataclasses.replace(small, batch_size=100)
    monkeypatch.setattr(
        accuracy, "parts", lambda: tuple((few.x_train[a : a + 200], few.y_train[a : a + 200]) for a in (0, 200, 400))
    )
    # In this process, which has imported Keras already; tests/tools/test_train_shipped.py trains in others.
    monkeypatch.setattr(
        accuracy.trainings, "train_all", lambda run, items, args, parts: ((i, run(i, *parts)) for i in items)
    )
    monkeypatch.setattr(accuracy, "FILE", outputs / "accuracy.json")
    monkeypatch.setattr(accuracy, "GROUPS", {"frontier": ({"small": small}, 2), "members": ({"other": other}, 1)})
    return accuracy


def test_what_is_there_is_not_trained_again(benchmark, capsys, monkeypatch, outputs):
    assert benchmark.main(["--only", "frontier", "--workers", "1"]) == 0
    first = read_json(benchmark.FILE)["frontier"]["small"]
    assert [row["seed"] for row in first["seeds"]] == [0, 1] and first["seeds"][0]["parameters"] == 17_434
    assert "±" in capsys.readouterr().out
    kept = sorted(file.name for file in (outputs / "accuracy").iterdir())
    assert kept == ["frontier-small-0.keras", "frontier-small-1.keras"]
    with monkeypatch.context() as patch:
        patch.setattr(benchmark, "train_and_score", lambda *_: pytest.fail("trained again"))
        assert benchmark.main(["--only", "frontier"]) == 0
    changed = {"small": dataclasses.replace(recipes.FAST, batch_size=50, peak=0.1)}
    monkeypatch.setattr(benchmark, "GROUPS", {"frontier": (changed, 1)})
    benchmark.main(["--only", "frontier"])
    again = read_json(benchmark.FILE)["frontier"]["small"]
    assert len(again["seeds"]) == 1 and again["seeds"] != first["seeds"][:1]


def test_an_ensemble_is_chosen_on_validation_images(benchmark, outputs, monkeypatch):
    x, y = data.sklearn_digits()
    few = np.stack([images.preprocess(picture)["centred 28×28"] for picture in x[:200]]), y[:200]
    monkeypatch.setattr(benchmark, "other_hands", lambda: few)
    shipped, untrained = (network_file(recipes.REFERENCE.epochs, seed) for seed in (0, 1))
    shipped.parent.mkdir(parents=True)
    shutil.copyfile(paths.REFERENCE / "digits.keras", shipped)
    recipes.fast_cnn().save(untrained)
    assert benchmark.main(["--only", "members"]) == 0
    found = read_json(benchmark.FILE)["ensemble"]
    names = [(row["name"], row["networks"], row["moved"]) for row in found["rows"]]
    assert ("seeds and members", 3, True) in names and ("seed 1", 1, False) in names
    assert found["chosen"]["val_accuracy"] == max(row["val_accuracy"] for row in found["rows"])
    shipped, untrained = (next(row for row in found["rows"] if row["name"] == f"seed {n}") for n in (0, 1))
    assert untrained["test_accuracy"] < 0.5 < 0.98 < shipped["test_accuracy"]
    assert shipped["sklearn_digits_accuracy"] > 0.97


def test_without_the_reference_networks_one_sentence_says_so(benchmark, capsys):
    assert benchmark.main(["--only", "members"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: ") and "make reference" in said and "Traceback" not in said


def test_a_member_whose_network_is_gone_is_trained_again(benchmark, outputs):
    benchmark.main(["--only", "members"])
    file = outputs / "accuracy" / "members-other-0.keras"
    file.unlink()
    benchmark.main(["--only", "members"])
    assert file.exists() and len(read_json(benchmark.FILE)["members"]["other"]["seeds"]) == 1


def test_with_moves_five_answers_are_averaged(benchmark):
    class Model:
        def predict(self, x, **_):
            return np.eye(10)[np.argmax(x.reshape(len(x), -1), axis=1) % 10]

    x = np.zeros((1, 28, 28), np.uint8)
    x[0, 14, 14] = 255
    assert benchmark.class_probabilities(Model(), x).max() == 1
    answer = benchmark.class_probabilities(Model(), x, moved=True)
    assert answer.sum() == 1 and np.allclose(answer * 5, np.round(answer * 5)) and answer.max() < 1
