"""helpers.training.tuning: equal budgets, resuming, damaged states, and the command line that shares a search."""

import os
import re
import subprocess
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import keras
import keras_tuner as kt
import nbformat
import numpy as np
import pandas as pd
import pytest

from helpers import paths
from helpers.errors import UserError
from helpers.files import read_json
from helpers.notebook import parameters
from helpers.series.runner import Notebook
from helpers.training import tuning

CLASSES = 3
switch = {}  # what the models below do, set by the tests


@pytest.fixture(scope="module")
def data():
    """A training and a validation part."""
    x = np.random.default_rng(0).integers(0, 256, (60, 28, 28), np.uint8)
    y = np.eye(CLASSES)[np.arange(60) % CLASSES]
    return (x[:40], y[:40]), (x[40:], y[40:])


class Tiny(keras.Sequential):
    """One dense layer that only seems to train, and fails on demand: what is tested is the search around it."""

    def fit(self, x, y, batch_size, epochs, **kwargs):
        switch["built"] += 1
        if switch["built"] == switch.get("interrupt at"):
            raise KeyboardInterrupt
        if switch.get("fail"):
            raise ValueError("no memory left")
        chance = float(keras.random.uniform(()))  # shows whether trials are seeded
        end = 0.5 + 0.4 * chance * float(self.optimizer.learning_rate)
        return SimpleNamespace(history={"val_accuracy": [end] + epochs * [0.1], "loss": [1.0] + epochs * [9.0]})


def tiny(hp, num_classes):
    model = Tiny([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(num_classes, "softmax")])
    rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    hp.Float("dropout", 0.0, 0.5, step=0.1)
    model.compile(keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
    return model


def here(function, items, data=(), **_):
    """`pool.trainings` without its processes."""
    for item in items:
        future = Future()
        try:
            future.set_result(function(item, *data))
        except Exception as error:
            future.set_exception(error)
        yield item, future


@pytest.fixture(autouse=True)
def calm():
    switch.clear()
    switch.update(built=0)


@pytest.fixture
def in_this_process(monkeypatch):
    monkeypatch.setattr(tuning, "build_model", tiny)
    monkeypatch.setattr(tuning.pool, "trainings", here)


def search(data, folder, trials=4, epochs=1, seed=0, method="random"):
    return tuning.search(method, *data, trials, epochs, 128, seed, folder)


def results(tuner):
    """The table without what depends on the machine's mood."""
    return tuning.trials_table(tuner).drop(columns="train_seconds")


# --- in this process


def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(data, tmp_path, in_this_process):
    whole = results(search(data, tmp_path / "whole"))
    switch.update({"built": 0, "interrupt at": 3})
    with pytest.raises(KeyboardInterrupt):
        search(data, tmp_path / "broken")
    resumed = results(search(data, tmp_path / "broken"))
    assert switch["built"] == 3 + 2  # two finished, the third broken off; then the third again and the fourth
    pd.testing.assert_frame_equal(resumed, whole)
    again = results(search(data, tmp_path / "broken"))
    assert switch["built"] == 5, "a finished search is only read"
    pd.testing.assert_frame_equal(again, whole)


@pytest.mark.filterwarnings("ignore:The optimal value")
def test_bayesian_optimisation_keeps_what_is_finished_and_cleans_up(data, tmp_path, in_this_process):
    switch["interrupt at"] = 4
    with pytest.raises(KeyboardInterrupt):
        search(data, tmp_path, method="bayesian")
    assert len(results(search(data, tmp_path, method="bayesian"))) == 4
    assert switch["built"] == 4 + 1
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["search.json"]


def test_a_trial_counts_with_its_best_epoch(data, tmp_path, in_this_process):
    table = results(search(data, tmp_path, trials=2, epochs=3))
    assert (table["val_accuracy"] >= 0.5).all() and (table["loss"] == 1).all()


def test_whatever_defines_a_search_names_its_folder(data, tmp_path, in_this_process):
    (x, y), validation = data
    search(data, tmp_path, trials=2)
    search(data, tmp_path, trials=3)
    search(data, tmp_path, trials=2, epochs=2)
    search(data, tmp_path, trials=2, seed=1)
    search(((255 - x, y), validation), tmp_path, trials=2)
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert len(folders) == 5 and all(re.fullmatch(r"random-[0-9a-f]{8}", name) for name in folders)


def test_a_seed_decides_the_trials(data, tmp_path, in_this_process):
    rates = [
        tuple(tuning.trials_table(search(data, tmp_path / part, 3, seed=seed))["learning_rate"])
        for part, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert rates[0] == rates[1]
    assert not set(rates[0]) & set(rates[2])


@pytest.mark.parametrize("damage", ["cut", "empty", "other JSON"])
def test_a_damaged_state_is_set_aside_with_a_note(damage, data, tmp_path, capsys, in_this_process):
    before = results(search(data, tmp_path, trials=2))
    state = next(tmp_path.glob("random-*/search.json"))
    text = state.read_text(encoding="utf-8")
    damaged = {"cut": text[: len(text) // 2], "empty": "", "other JSON": "[1]"}[damage]
    state.write_text(damaged, encoding="utf-8")
    after = results(search(data, tmp_path, trials=2))
    pd.testing.assert_frame_equal(after, before)
    note = capsys.readouterr().out
    assert "search.json was damaged" in note and "it is now damaged.json" in note
    assert state.with_name("damaged.json").read_text(encoding="utf-8") == damaged


def test_three_failures_in_a_row_end_a_search_and_can_be_mended(data, tmp_path, capsys, in_this_process):
    switch["fail"] = True
    with pytest.raises(UserError, match="three trials in a row failed; the last: ValueError: no memory left"):
        search(data, tmp_path)
    assert "Note: trial 1 failed: ValueError: no memory left." in capsys.readouterr().out
    switch["fail"] = False
    assert len(results(search(data, tmp_path))) == 4


def test_the_space_is_the_notebooks():
    """The same hyperparameters in the same order, so that a seed draws the same trials; and the same network."""
    cells = nbformat.read(paths.NOTEBOOKS / "04_tuning.ipynb", as_version=4).cells
    [source] = [cell.source for cell in cells if cell.source.startswith("def build_model(hp)")]
    namespace = {"keras": keras, "layers": keras.layers, "SEED": 0, "num_classes": 4}
    exec(source, namespace)
    theirs, mine = kt.HyperParameters(), kt.HyperParameters()
    shown, model = namespace["build_model"](theirs), tuning.build_model(mine, num_classes=4)
    assert theirs.get_config() == mine.get_config()
    assert [w.shape for w in shown.weights] == [w.shape for w in model.weights]
    assert [type(layer) for layer in shown.layers] == [type(layer) for layer in model.layers]
    ours, other = (network.optimizer.get_config() | {"name": ""} for network in (model, shown))
    assert ours == other and model.loss == shown.loss


# --- in processes of their own


SMALL = ("--trials", "3", "--search-epochs", "1", "--search-train-size", "100", "--validation", "100")


def command(*arguments, **pipes):
    """The command line, under way."""
    environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
    line = [sys.executable, "-m", "helpers.training.tuning", *SMALL, *map(str, arguments)]
    return subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **pipes)


def finished(outputs):
    """What the search's state says about finished trials: hyperparameters and metrics by name."""
    [state] = outputs.rglob("search.json")
    trials = read_json(state)["trials"]
    return {t["trial_id"]: (t["hyperparameters"]["values"], t["metrics"]) for t in trials if t["status"] == "COMPLETED"}


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal")
def test_a_search_whose_command_is_killed_goes_on_elsewhere(outputs):
    """On a cluster until kill -9, then in two processes of this machine: nothing finished is lost or repeated."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        first = command("--scheduler", cluster.scheduler_address)
        assert re.match(r"trial \d: val_accuracy", first.stdout.readline()), first.stderr.read()
        first.kill()
        first.communicate()
    before = finished(outputs)
    assert 1 <= len(before) < 3
    second = command("--workers", 2)
    output, errors = second.communicate(timeout=120)
    assert (second.returncode, errors) == (0, "")
    after = finished(outputs)
    assert len(after) == 3 and {name: after[name] for name in before} == before
    assert output.count("val_accuracy 0.") == 3 - len(before)
    assert len({str(values) for values, _ in after.values()}) == 3


def test_the_command_line_searches_what_the_notebook_searches():
    notebook = Notebook.read(paths.NOTEBOOKS / "04_tuning.ipynb").defaults
    for name, (value, *low) in tuning.OPTIONS.items():
        assert value == notebook[name]
        assert [parameters.RULES[name].low] == low or not low


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--trials", "1"], 2, "--trials must be at least 2, not 1"),
        (["--trials", "x"], 2, "invalid int value: 'x'"),
        (["--workers", "0"], 2, "--workers must be at least 1"),
        (["--patience", "nan"], 2, "PATIENCE = 'nan' must be a number"),
        (["--run", "../up"], 2, "--run must be the name of a run folder other than reference, not '../up'"),
        (["--run", "reference"], 2, "--run must be"),
        (["--method", "grid"], 2, "invalid choice: 'grid'"),
        (["--dataset", "nowhere.npz"], 1, "Error: DATASET = 'nowhere.npz' is neither"),
        (["--validation", "70000"], 1, "Error: VALIDATION = 70000 must lie between"),
        ([*SMALL, "--scheduler", "nowhere.json"], 1, "Error: There is no Dask scheduler to be used at nowhere.json"),
    ],
)
def test_the_command_line_says_what_is_wrong(arguments, code, sentence, capsys, monkeypatch):
    monkeypatch.setenv("PATIENCE", "")  # restored after --patience
    try:
        assert tuning.main(arguments) == code
    except SystemExit as end:
        assert end.code == code
    assert sentence in capsys.readouterr().err.splitlines()[-1]
