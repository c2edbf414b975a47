"""helpers.training.tuning: equal budgets, resuming, damaged states, and the command line that shares a search."""

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import keras
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
    x = np.random.default_rng(0).random((60, 28, 28, 1), np.float32)
    y = np.eye(CLASSES)[np.arange(60) % CLASSES]
    return (x[:40], y[:40]), (x[40:], y[40:])


@pytest.fixture(autouse=True)
def calm():
    switch.clear()
    switch.update(built=0, epochs=0)


class Tiny(keras.Sequential):
    """One dense layer that only seems to train, and fails on demand: what is tested is the search around it."""

    def fit(self, *data, initial_epoch, epochs, **kwargs):
        switch["built"] += 1
        switch["epochs"] += epochs - initial_epoch
        if switch["built"] == switch.get("interrupt at"):
            raise KeyboardInterrupt
        if switch.get("fail"):
            raise ValueError("no memory left")
        return SimpleNamespace(history={"accuracy": [0.5], "loss": [1.0]})

    def evaluate(self, *data, **kwargs):
        chance = float(keras.random.uniform(()))  # shows whether trials are seeded
        return 1.0, 0.5 + 0.4 * chance * float(self.optimizer.learning_rate)


def tiny(hp):
    model = Tiny([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES, "softmax")])
    rate = hp.Float("learning_rate", 1e-4, 1e-1, sampling="log")
    hp.Float("dropout", 0.0, 0.5, step=0.1)
    model.compile(keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
    model.optimizer.build(model.trainable_variables)
    return model


def search(method, data, folder, trials=4, epochs=1, seed=0):
    return tuning.search(method, *data, trials, epochs, folder, seed, hypermodel=tiny)


def results(tuner):
    """The table without what depends on the machine's mood."""
    return tuning.trials_table(tuner).drop(columns="train_seconds")


# --- in this process


@pytest.mark.parametrize("method", ["random", "bayesian"])
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(method, data, tmp_path):
    whole = results(search(method, data, tmp_path / "whole"))
    switch.update({"built": 0, "interrupt at": 3})
    with pytest.raises(KeyboardInterrupt):
        search(method, data, tmp_path / "broken")
    resumed = results(search(method, data, tmp_path / "broken"))
    assert switch["built"] == 3 + 2  # two finished, the third broken off; then the third again and the fourth
    pd.testing.assert_frame_equal(resumed, whole)
    again = results(search(method, data, tmp_path / "broken"))
    assert switch["built"] == 5, "a finished search is only read"
    pd.testing.assert_frame_equal(again, whole)


def test_what_follows_a_search_does_not_depend_on_whether_it_ran(data, tmp_path):
    draws = []
    for _ in range(2):
        search("random", data, tmp_path, trials=2)
        draws.append(keras.random.normal((3,)).numpy())
    np.testing.assert_array_equal(*draws)


def test_whatever_defines_a_search_names_its_folder(data, tmp_path):
    (x, y), validation = data
    other_data = (1 - x, y), validation
    search("random", data, tmp_path, trials=2)
    search("random", data, tmp_path, trials=3)
    search("random", data, tmp_path, trials=2, epochs=2)
    search("random", data, tmp_path, trials=2, seed=1)
    search("random", other_data, tmp_path, trials=2)
    folders = sorted(path.name for path in tmp_path.iterdir())
    assert len(folders) == 5 and all(re.fullmatch(r"random-[0-9a-f]{8}", name) for name in folders)


def test_a_seed_decides_the_trials(data, tmp_path):
    rates = [
        tuple(tuning.trials_table(search("random", data, tmp_path / part, 3, seed=seed))["learning_rate"])
        for part, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert rates[0] == rates[1]
    assert not set(rates[0]) & set(rates[2])


@pytest.mark.parametrize("damage", ["cut", "empty", "other JSON"])
def test_a_damaged_state_is_set_aside_with_a_note(damage, data, tmp_path, capsys):
    before = results(search("random", data, tmp_path, trials=2))
    state = next(tmp_path.glob("random-*/search.json"))
    text = state.read_text(encoding="utf-8")
    damaged = {"cut": text[: len(text) // 2], "empty": "", "other JSON": "[1]"}[damage]
    state.write_text(damaged, encoding="utf-8")
    after = results(search("random", data, tmp_path, trials=2))
    pd.testing.assert_frame_equal(after, before)
    note = capsys.readouterr().out
    assert "search.json was damaged" in note and "it is now damaged.json" in note
    assert state.with_name("damaged.json").read_text(encoding="utf-8") == damaged


def test_hyperband_keeps_to_the_budget_and_cleans_up(data, tmp_path):
    table = tuning.trials_table(search("hyperband", data, tmp_path, trials=4, epochs=4))
    short = table[table["epochs"] < 4]
    assert len(table) > 4 and len(short) > 0, "more models than random search, most of them stopped early"
    assert switch["epochs"] < table["epochs"].sum(), "promoted models go on where they stopped"
    assert 16 - 4 < switch["epochs"] <= 16
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["search.json"]


def test_three_failures_in_a_row_end_a_search_and_can_be_mended(data, tmp_path, capsys):
    switch["fail"] = True
    with pytest.raises(UserError, match="three trials in a row failed; the last: ValueError: no memory left"):
        search("random", data, tmp_path)
    assert "Note: trial 1 failed: ValueError: no memory left." in capsys.readouterr().out
    switch["fail"] = False
    assert len(results(search("random", data, tmp_path))) == 4


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"method": "grid"}, "no search method 'grid'"),
        ({"trials": 0}, "trials of at least 1"),
        ({"epochs": "two"}, "epochs of at least 1"),
        ({"validation": (np.zeros((0, 28, 28, 1)), np.zeros((0, 3)))}, "validation data"),
        ({"train": (np.zeros((5, 28, 28, 1)), np.zeros(5))}, "one-hot"),
    ],
)
def test_bad_arguments_are_refused(change, sentence, data, tmp_path):
    good = {"method": "random", "train": data[0], "validation": data[1], "trials": 2, "epochs": 1}
    with pytest.raises(UserError, match=sentence):
        tuning.search(**good | change, folder=tmp_path)


def test_the_space_reaches_the_network():
    hp = tuning.kt.HyperParameters()
    model = tuning.build_model(hp, num_classes=4)
    assert set(hp.values) == set(tuning.HYPERPARAMETERS)
    assert model.compiled and model.output_shape == (None, 4)
    assert float(model.optimizer.learning_rate) == pytest.approx(hp["learning_rate"])


def test_importance_finds_the_hyperparameter_that_matters():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"dropout": rng.random(30), "learning_rate": rng.random(30)})
    table["val_accuracy"] = 0.9 + 0.05 * table["learning_rate"]
    ranking, score = tuning.importance(table)
    assert list(ranking.index) == ["learning_rate", "dropout"] and score > 0.8
    assert ranking.loc["learning_rate", "rank_correlation"] == pytest.approx(1)
    with pytest.raises(UserError, match="at least 3 trials"):
        tuning.importance(table[:2])


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
