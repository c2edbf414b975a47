"""helpers.tuning and helpers.cluster: equal budgets, resuming, damaged states, and workers that die."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import grpc
import keras
import numpy as np
import pandas as pd
import pytest

from helpers import paths
from helpers.errors import UserError
from helpers.notebook import parameters
from helpers.training import cluster, tuning

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
    yield
    for name in (
        "KERASTUNER_ORACLE_IP",
        "KERASTUNER_ORACLE_PORT",
        "KERASTUNER_TUNER_ID",
        "no_grpc_proxy",
        "GRPC_VERBOSITY",
    ):
        os.environ.pop(name, None)  # a Worker leaves them to its process


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


# --- alone


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
    state = next(tmp_path.glob("random-*/oracle.json"))
    text = state.read_text(encoding="utf-8")
    state.write_text({"cut": text[: len(text) // 2], "empty": "", "other JSON": "[1]"}[damage], encoding="utf-8")
    after = results(search("random", data, tmp_path, trials=2))
    pd.testing.assert_frame_equal(after, before)
    note = capsys.readouterr().out
    assert "oracle.json was damaged" in note and ".damaged-1" in note
    assert state.with_name("oracle.json").parent.with_name(state.parent.name + ".damaged-1").is_dir()


def test_hyperband_keeps_to_the_budget_and_cleans_up(data, tmp_path):
    table = tuning.trials_table(search("hyperband", data, tmp_path, trials=4, epochs=4))
    short = table[table["epochs"] < 4]
    assert len(table) > 4 and len(short) > 0, "more models than random search, most of them stopped early"
    assert switch["epochs"] < table["epochs"].sum(), "promoted models go on where they stopped"
    assert 16 - 4 < switch["epochs"] <= 16
    assert not list(tmp_path.rglob("*.weights.h5"))


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


# --- chief and workers


def command(*arguments):
    return [sys.executable, "-m", "helpers.tuning", *map(str, arguments)]


@pytest.fixture
def start():
    """Starts a process; whatever the test does, none of them outlives it."""
    started = []

    def launch(arguments):
        environment = os.environ | {"PYTHONPATH": str(paths.ROOT)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
        started.append(subprocess.Popen(arguments, env=environment, **pipes))
        return started[-1]

    yield launch
    for process in started:
        process.terminate()  # a chief ends its workers first
        process.communicate(timeout=30)


LOCAL = command(
    *("local", "--workers", 2, "--trials", 5, "--search-epochs", 1, "--patience", 30, "--run", "shared"),
    *("--train-size", 600, "--search-train-size", 300, "--validation", 200),
)


def finished_trials(outputs):
    """What the state file holds of finished trials: the number and how long it trained."""
    state = json.loads(next(outputs.glob("shared/tuning/random-*/oracle.json")).read_text(encoding="utf-8"))
    return {
        trial["trial_id"]: trial["metrics"]["metrics"]["train_seconds"]["observations"]
        for trial in state["trials"]
        if trial["status"] == "COMPLETED"
    }


class Output:
    """The lines that a process prints, collected while it runs."""

    def __init__(self, process):
        self.lines = []
        self.reader = threading.Thread(target=lambda: self.lines.extend(process.stdout), daemon=True)
        self.reader.start()

    def wait_for(self, pattern, seconds):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if match := re.search(pattern, "".join(self.lines)):
                return match
            time.sleep(0.05)
        raise AssertionError(f"never saw {pattern!r} in {self.lines}")


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal")
def test_two_workers_share_a_search_and_may_be_killed(outputs, start):
    chief = start(LOCAL)
    seen = Output(chief)
    pids = [int(seen.wait_for(rf"local{i} is process (\d+)", 90)[1]) for i in (1, 2)]
    seen.wait_for("1 of 5 trials finished", 90)
    os.kill(pids[0], signal.SIGKILL)
    seen.wait_for("worker local1 ended with exit code -9", 30)
    seen.wait_for("2 of 5 trials finished", 60)
    os.kill(pids[1], signal.SIGKILL)
    assert chief.wait(30) == 1
    sentence = r"helpers\.tuning: All 2 workers ended \(exit codes -9, -9\) with . of 5 trials finished; the same .*\n"
    assert re.fullmatch(sentence, chief.stderr.read())
    before = finished_trials(outputs)
    assert len(before) in (2, 3)

    second = start(LOCAL)
    output, errors = second.communicate(timeout=120)
    assert (second.returncode, errors) == (0, "")
    after = finished_trials(outputs)
    assert len(after) == 5 and {name: after[name] for name in before} == before, "finished trials are not repeated"
    assert "5 of 5 trials finished" in output


class Silent:
    """As much of a tuner as a chief needs that no worker ever calls."""

    class oracle:
        max_trials, trials, ongoing_trials = 4, {}, {}

    project_name = "random-12345678"


def test_a_chief_without_workers_ends():
    chief = cluster.Chief("127.0.0.1:0", {}, patience=1)
    with pytest.raises(UserError, match="No worker was heard of for 1 seconds; 0 of 4 trials finished"):
        chief.run(Silent)


def test_a_taken_port_is_told():
    first = cluster.Chief("127.0.0.1:0", {}, patience=1.5)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first.run, Silent)
        deadline = time.monotonic() + 10
        while first.port == 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(UserError, match=f"cannot listen at 127.0.0.1:{first.port}"):
            cluster.Chief(f"127.0.0.1:{first.port}", {}, patience=1).run(Silent)
        with pytest.raises(UserError, match="No worker"):
            running.result(20)


def test_a_worker_is_refused_a_name_in_use_and_ends_when_the_chief_vanishes(start):
    chief = cluster.Chief("127.0.0.1:0", {"search": "random-12345678"}, patience=9)
    chief.oracle = Silent.oracle
    server = grpc.server(ThreadPoolExecutor(1))
    cluster._add_services(server, chief)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    code = "import sys, time; from helpers.training.cluster import Worker; Worker(sys.argv[1], 'w1', 2).join(); time.sleep(60)"
    worker = start([sys.executable, "-c", code, address])
    deadline = time.monotonic() + 20
    while "w1" not in chief.alive and time.monotonic() < deadline:
        time.sleep(0.1)
    with pytest.raises(UserError, match="refused: another worker is at work under the name w1"):
        cluster.Worker(address, "w1", 5).join()
    server.stop(grace=None).wait()
    _, errors = worker.communicate(timeout=20)
    assert worker.returncode == 1
    assert "was silent for 2 seconds" in errors and errors.count("\n") == 1


def test_a_worker_with_other_data_is_refused():
    worker = cluster.Worker("127.0.0.1:1", "w1", 5)
    worker.settings = {"search": "random-00000000"}
    with pytest.raises(UserError, match="searches random-00000000, but with this worker's data and code it is"):
        worker.run(Silent)


def test_the_command_line_searches_what_the_notebook_searches():
    notebook = parameters.defaults(paths.NOTEBOOKS / "04_tuning.ipynb")
    assert cluster.OPTIONS == {name: notebook[name] for name in cluster.OPTIONS}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["local", "--trials", "0"], 2, "TRIALS = 0 must be at least 2"),
        (["local", "--workers", "0"], 2, "--workers must be at least 1"),
        (["local", "--patience", "nan"], 2, "--patience must be at least 3"),
        (["chief", "--address", "here"], 2, "'here' is not an address"),
        (["worker", "--address", "localhost:1", "--id", "chief2"], 2, "cannot be named chief2"),
        (["worker", "--address", "localhost:1", "--patience", "3"], 1, "No chief answered at localhost:1"),
        (["chief"], 2, "--address"),
        ([], 2, "command"),
    ],
)
def test_the_command_line_says_what_is_wrong(arguments, code, sentence, capsys):
    try:
        assert cluster.main(arguments) == code
    except SystemExit as end:
        assert end.code == code
    assert sentence in capsys.readouterr().err
