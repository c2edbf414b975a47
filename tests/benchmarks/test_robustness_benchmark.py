"""benchmarks/robustness.py at a tiny size: it measures, writes, goes on, and refuses nonsense."""

import argparse
import sys

import numpy as np
import pytest

from helpers import data, models, paths
from helpers.notebook import run as runs
from helpers.training import recipes


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(paths.ROOT / "benchmarks"))
    sys.modules.pop("robustness", None)
    import robustness

    yield robustness
    sys.modules.pop("robustness", None)


def test_measures_a_network_and_prints_its_row(benchmark, capsys, monkeypatch):
    few = data.load()
    monkeypatch.setattr(benchmark, "split", lambda: ((), (few.x_train[:100], few.y_train[:100])))
    monkeypatch.setattr(benchmark.robustness, "EVERY_SEVERITY", (("fog", 1), ("fog", 3)))
    found = benchmark.measure(models.baseline_cnn(filters=(4, 8)), argparse.Namespace(size=60, severity_size=20))
    assert {"accuracy/fog", "accuracy/mean", "severity/fog/3", "adapted/fog", "clean/ece", "corrupted/ece"} <= set(
        found
    )
    assert "clean/auroc_margin" in found and 0 <= found["accuracy/mean_unseen"] <= 1
    assert all(np.isfinite(value) for value in found.values())
    summary = benchmark.summary([found | {"seed": 0}, found | {"seed": 1}])
    assert summary["seeds"] == [0, 1] and summary["sd"]["accuracy/fog"] == 0
    benchmark.report({"it": summary})
    assert f"{100 * found['accuracy/fog']:.2f} ± 0.00" in capsys.readouterr().out


def test_kept_seeds_are_used_or_else_the_shipped_network(benchmark, outputs, monkeypatch):
    monkeypatch.setattr(benchmark, "PEERS", ())
    args = argparse.Namespace(seeds=2)
    assert [(name, seed) for name, seed, _ in benchmark.networks(args)] == [("reference", None)]
    file = outputs / "reference-training" / f"{recipes.REFERENCE.epochs}-epochs-seed-1.keras"
    file.parent.mkdir(parents=True)
    models.fast_cnn().save(file)
    [(name, seed, model)] = benchmark.networks(args)
    assert (name, seed, model.name) == ("reference", 1, "fast_cnn")


def test_a_trained_peer_is_not_trained_again(benchmark, outputs, monkeypatch):
    few = data.load()
    monkeypatch.setattr(benchmark, "split", lambda: ((few.x_train[:200], few.y_train[:200]), ()))
    args = argparse.Namespace(epochs=1, train_size=100)
    first = benchmark.peer("keras.io", 0, args)
    import peers

    monkeypatch.setitem(peers.NETWORKS, "keras.io", (lambda: pytest.fail("trained again"), 1))
    again = benchmark.peer("keras.io", 0, args)
    assert all(map(np.array_equal, first.get_weights(), again.get_weights()))


def test_nonsense_is_refused(benchmark, capsys, tmp_path):
    assert benchmark.main(["--seeds", "0", "--target", str(tmp_path / "x.json")]) == 1
    assert "at least 1" in capsys.readouterr().err and not runs.Path(tmp_path / "x.json").exists()
