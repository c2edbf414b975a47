"""The shipped network is what its files say, and `make reference` makes such files, interrupted or not."""

import dataclasses
import subprocess
import sys

import keras
import numpy as np
import pytest

from helpers import data, models, paths
from helpers.data import to_input
from helpers.evaluation.robustness import other_hands
from helpers.files import read_json, write_json
from helpers.models.networks import open_network
from helpers.notebook import run as runs
from helpers.predict.network import load
from helpers.training import recipes
from tools import train_shipped as reference
from tools.train_shipped import main

SHIPPED = paths.REFERENCE / "digits.keras"


@pytest.fixture(scope="module")
def scores():
    return read_json(paths.REFERENCE / "digits.json")


@pytest.fixture(scope="module")
def network():
    return keras.models.load_model(SHIPPED)


def test_it_scores_what_its_file_says(network, scores):
    dataset = data.load()
    right = network.predict(to_input(dataset.x_test), batch_size=1000, verbose=0).argmax(1) == dataset.y_test
    [stated] = [row for row in scores["seeds"] if row["seed"] == scores["shipped_seed"]]
    assert abs(int(right.sum()) - round(10_000 * stated["test_accuracy"])) <= 2  # processors round differently
    assert scores["dataset_sha256"] == dataset.sha256 and scores["parameters"] == network.count_params()
    x, y = other_hands()
    others = network.predict(to_input(x), batch_size=1000, verbose=0).argmax(1) == y
    assert abs(others.mean() - stated["sklearn_digits_accuracy"]) < 0.002


def test_it_is_small_and_needs_nothing_but_keras():
    assert SHIPPED.stat().st_size <= 2_000_000
    code = (
        f"import keras, sys; m = keras.models.load_model({str(SHIPPED)!r}); "
        "assert not any(name.startswith('helpers') for name in sys.modules); print(m.output_shape)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert result.stdout.strip() == "(None, 10)", result.stderr


def test_the_lite_file_answers_as_the_keras_file_does(network):
    x = data.load().x_test[:300]
    logits, features = load(paths.REFERENCE / "digits.tflite")(x)
    expected = open_network(network).predict(to_input(x), verbose=0)
    np.testing.assert_allclose(logits, expected["logits"], atol=1e-3)
    np.testing.assert_allclose(features, expected["features"], atol=1e-3)


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """The command, on 600 images and a small network, with folders of its own."""
    whole = data.load()
    small = dataclasses.replace(
        whole, x_train=whole.x_train[:600], y_train=whole.y_train[:600], x_test=whole.x_test[:200],
        y_test=whole.y_test[:200],
    )  # fmt: skip
    monkeypatch.setattr(reference.data, "load", lambda: small)
    monkeypatch.setattr(reference.data, "KNOWN_LABEL_ERRORS", (3, 7))
    monkeypatch.setattr(reference, "VALIDATION", 100)
    monkeypatch.setattr(reference, "TARGET", tmp_path / "reference")
    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path))
    recipe = dataclasses.replace(recipes.REFERENCE, network=models.fast_cnn, epochs=2)
    monkeypatch.setattr(recipes, "REFERENCE", recipe)
    return tmp_path


def test_interrupted_and_taken_up_it_makes_the_same_files(quick, monkeypatch, capsys):
    assert main(["--seeds", "2", "--epochs", "2"]) == 0
    target = quick / "reference"
    assert sorted(f.name for f in target.iterdir()) == [
        "calibration.json", "digits.json", "digits.keras", "digits.tflite", "gate.npz",
    ]  # fmt: skip
    made = read_json(target / "digits.json")
    assert [row["seed"] for row in made["seeds"]] == [0, 1] and made["recipe"]["network"] == "fast_cnn"
    weights = keras.models.load_model(target / "digits.keras").get_weights()

    folder = quick / "reference-training"
    for file in folder.glob("*seed-1*"):
        file.unlink()
    write = write_json

    def interrupt(file, value):  # after the training, before it is known to be done
        if file.name.endswith("seed-1.json"):
            raise KeyboardInterrupt
        write(file, value)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_json", interrupt)
        assert main(["--seeds", "2", "--epochs", "2"]) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert main(["--seeds", "2", "--epochs", "2"]) == 0
    again = read_json(target / "digits.json")
    assert [r["test_loss"] for r in again["seeds"]] == [r["test_loss"] for r in made["seeds"]]
    for a, b in zip(weights, keras.models.load_model(target / "digits.keras").get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nonsense_is_one_sentence(quick, capsys):
    assert main(["--seeds", "0"]) == 1
    assert capsys.readouterr().err == "Error: --seeds and --epochs must be at least 1.\n"
