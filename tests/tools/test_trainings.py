"""What trainings over seeds share: a loop whose failures are one sentence, networks as bytes, mean and spread."""

import argparse
import os

import numpy as np
import pytest

from helpers.errors import UserError
from tools import recipes
from tools.trainings import add_training_options, over_seeds, packed, percent, train_all, unpacked

ARGS = argparse.Namespace(scheduler=None, workers=2, threads=1)


def test_results_come_with_their_items():
    found = dict(train_all(lambda seed, ten: ten * seed, [1, 2, 3], ARGS, (10,)))
    assert found == {1: 10, 2: 20, 3: 30}


def test_a_process_that_dies_is_one_sentence():
    with pytest.raises(UserError, match=r"^A training failed \(.*\); the same command goes on from here\.$"):
        list(train_all(lambda seed: os._exit(1), [1], ARGS))


def test_ctrl_c_says_how_to_go_on(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr("helpers.pool.trainings", interrupted)
    with pytest.raises(KeyboardInterrupt, match="goes on from here"):
        list(train_all(print, [1], ARGS))


def test_options_count_from_1():
    parser = argparse.ArgumentParser()
    add_training_options(parser)
    assert parser.parse_args([]).threads == 1 and parser.parse_args(["--workers", "3"]).workers == 3
    with pytest.raises(SystemExit):
        parser.parse_args(["--threads", "0"])


def test_a_network_goes_through_bytes():
    model = recipes.fast_cnn()
    assert all(map(np.array_equal, model.get_weights(), unpacked(packed(model)).get_weights()))


def test_mean_and_spread_of_every_figure():
    found = over_seeds([{"seed": 0, "a": 0.5, "b": 1.0}, {"seed": 1, "a": 0.7, "b": 1.0}])
    assert found["mean"] == {"a": pytest.approx(0.6), "b": 1} and found["sd"]["a"] == pytest.approx(0.1414, abs=1e-4)
    assert found["values"]["a"] == [0.5, 0.7] and over_seeds([{"a": 1.0}])["sd"] == {"a": None}
    assert percent([0.5, 0.7]) == "60.00 ± 14.14" and percent([0.5]) == "50.00"
