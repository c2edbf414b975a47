"""The shipped network is what its files say, and `make reference` makes such files, interrupted or not."""

import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from helpers import data, paths
from helpers.data import to_input
from helpers.evaluation.robustness import other_hands
from helpers.files import read_json, sha256
from helpers.models.networks import open_network
from helpers.predict.network import load
from tools import fit_gate, fit_line_weights, recipes, train_shipped
from tools.simulate import lines
from tools.train_shipped import FITTED, NETWORK, main

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


def shrink(patch):
    """Makes the command quick, by `patch` (setattr or a monkeypatch's): few images, a small network, short fits."""
    next(lines.pictures("postcode", 1, 0, "train"))  # keeps all training digits, for later tests too
    whole = data.load()
    few = {"x_train": whole.x_train[:600], "y_train": whole.y_train[:600]}
    few |= {"x_test": whole.x_test[:200], "y_test": whole.y_test[:200]}
    patch(data, "load", lambda: dataclasses.replace(whole, **few))
    patch(data, "VALIDATION", 100)
    patch(recipes, "REFERENCE", dataclasses.replace(recipes.REFERENCE, network=recipes.fast_cnn))
    patch(fit_gate, "fit_gate", functools.partial(fit_gate.fit_gate, size=60))
    patch(fit_gate, "FAMILIES", {name: fit_gate.FAMILIES[name] for name in ("letters", "textures")})
    patch(lines, "CONDITIONS", {"postcode": lines.CONDITIONS["postcode"]})
    patch(fit_line_weights, "known_rows", functools.partial(fit_line_weights.known_rows, per_condition=2))
    patch(train_shipped, "TARGET", paths.outputs() / "reference")


TWO = ["--seeds", "2", "--epochs", "2"]


def made(folder):
    """What the files in a folder hold, but for how long the training took."""
    arrays = dict(np.load(folder / "gate.npz"))
    weights = keras.models.load_model(folder / "digits.keras").get_weights()
    scores = [
        {k: v for k, v in row.items() if k != "train_seconds"} for row in read_json(folder / "digits.json")["seeds"]
    ]
    fitted = [read_json(folder / name) for name in ("calibration.json", "line_weights.json")]
    return [[a.tobytes() for a in weights], scores, {k: v.tobytes() for k, v in arrays.items()}, fitted]


def test_killed_and_taken_up_it_makes_the_same_files(monkeypatch, outputs):
    with monkeypatch.context() as patch:
        patch.setenv("OUTPUTS_DIR", str(outputs / "undisturbed"))
        shrink(patch.setattr)
        assert main([*TWO, "--workers", "2"]) == 0
    expected = outputs / "undisturbed" / "reference"
    assert {file.name for file in expected.iterdir()} == {*NETWORK, *FITTED, "digits.json"}
    digest = sha256(expected / "digits.tflite")
    assert all(read_json(expected / name)["network_sha256"] == digest for name in FITTED if name.endswith("json"))
    assert str(np.load(expected / "gate.npz")["network_sha256"]) == digest
    assert read_json(expected / "digits.json")["recipe"]["network"] == "fast_cnn"

    code = f"import test_train_shipped as t; t.shrink(setattr); t.main({[*TWO, '--workers', '1']})"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(paths.ROOT), os.path.dirname(__file__)])}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    first = outputs / "reference-training" / "2-epochs-seed-0.json"
    deadline = time.monotonic() + 120
    while not first.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (outputs / "reference").exists() and not first.with_name("2-epochs-seed-1.json").exists()
    kept = first.stat().st_mtime_ns
    shrink(monkeypatch.setattr)
    assert main([*TWO, "--workers", "1"]) == 0
    assert first.stat().st_mtime_ns == kept
    assert made(outputs / "reference") == made(expected)

    before = made(outputs / "reference")
    (outputs / "reference" / "line_weights.json").unlink()
    assert main(["--refit"]) == 0 and made(outputs / "reference") == before


def test_a_fit_that_belongs_to_another_network_is_made_again(monkeypatch, tmp_path):
    (tmp_path / "digits.tflite").write_bytes(b"a network")
    (tmp_path / "calibration.json").write_text('{"network_sha256": "another"}')
    (tmp_path / "line_weights.json").write_text(f'{{"network_sha256": "{sha256(tmp_path / "digits.tflite")}"}}')
    fitted = []
    monkeypatch.setattr(train_shipped, "make_gate", lambda folder: fitted.append("gate"))
    monkeypatch.setattr(train_shipped, "make_line_weights", lambda folder: fitted.append("line weights"))
    train_shipped.fit(tmp_path)
    assert fitted == ["gate"]


@pytest.mark.parametrize("option", ["--seeds", "--epochs", "--workers", "--threads"])
def test_nonsense_is_one_sentence(option, capsys):
    with pytest.raises(SystemExit) as end:
        main([option, "0"])
    assert end.value.code == 2 and "whole number of at least 1" in capsys.readouterr().err
