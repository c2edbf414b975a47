"""benchmarks/robustness.py at a tiny size: it measures, writes, goes on, and refuses nonsense."""

import numpy as np
import pytest

from benchmarks import peers, robustness
from helpers import data, models
from helpers.files import read_json
from tools import recipes
from tools.trainings import network_file, over_seeds, unpacked


@pytest.fixture(scope="module")
def few():
    whole = data.load()
    return [(whole.x_train[a : a + 100], whole.y_train[a : a + 100]) for a in (0, 100, 200)]


def test_measures_a_network_and_prints_its_row(few, capsys, monkeypatch):
    monkeypatch.setattr(robustness.mnist_c, "EVERY_SEVERITY", (("fog", 1), ("fog", 3)))
    monkeypatch.setattr(robustness, "SIZE", 60)
    monkeypatch.setattr(robustness, "SEVERITY_SIZE", 20)
    found = robustness.measure(models.baseline_cnn(filters=(4, 8)), *few[1:])
    assert {"accuracy/fog", "accuracy/mean", "severity/fog/3", "adapted/fog"} <= found.keys()
    assert {"clean/ece", "corrupted/ece", "clean/auroc_margin"} <= found.keys()
    assert 0 <= found["accuracy/mean_unseen"] <= 1 and all(np.isfinite(value) for value in found.values())
    summary = over_seeds([found | {"seed": 0}, found | {"seed": 1}])
    assert summary["sd"]["accuracy/fog"] == 0 and "seed" not in summary["mean"]
    robustness.report({"it": summary})
    assert f"{100 * found['accuracy/fog']:.2f} ± 0.00" in capsys.readouterr().out


def test_kept_networks_are_used_or_else_trained_or_the_shipped_one(outputs):
    found = list(robustness.contestants(2))
    assert [one[:2] for one in found] == [(name, seed) for seed in (0, 1) for name in peers.NETWORKS] + [
        ("reference", None)
    ]
    assert [network is None for _, _, network in found] == [True] * 4 + [False]
    for file in (network_file(recipes.REFERENCE.epochs, 1), peers.network_file("keras.io", 0)):
        file.parent.mkdir(parents=True)
        recipes.fast_cnn().save(file)
    found = {one[:2]: one[2] for one in robustness.contestants(2)}
    assert found.keys() == {(name, seed) for seed in (0, 1) for name in peers.NETWORKS} | {("reference", 1)}
    assert [unpacked(found[one]).name for one in (("reference", 1), ("keras.io", 0))] == ["fast_cnn"] * 2


def test_a_trained_peer_is_not_trained_again(few, monkeypatch):
    monkeypatch.setattr(robustness, "measure", lambda model, *_: {"weights": model.get_weights()})
    first, network = robustness.train_and_measure(("keras.io", 0, None), *few)
    monkeypatch.setattr(peers, "train", lambda *_: pytest.fail("trained again"))
    again, _ = robustness.train_and_measure(("keras.io", 0, network), *few)
    assert all(map(np.array_equal, first["weights"], again["weights"]))


def test_the_file_holds_every_seed(few, monkeypatch, tmp_path, capsys):
    rows = {(name, seed): {"accuracy/mean": seed / 4} for name in peers.NETWORKS for seed in (0, 1)}
    rows["reference", None] = {"accuracy/mean": 0.9}

    def at_once(function, items, args, data):
        assert len(data[0][0]) == 54_000 and len(data[1][0]) == 6000
        return ((one, (rows[one[:2]], b"")) for one in reversed(list(items)))

    monkeypatch.setattr(robustness.trainings, "train_all", at_once)
    assert robustness.main(["--seeds", "2", "--target", str(tmp_path / "x.json")]) == 0
    found = read_json(tmp_path / "x.json")["networks"]
    assert found["report"]["seeds"] == [0, 1] and found["report"]["values"]["accuracy/mean"] == [0, 0.25]
    assert found["reference"]["seeds"] == [None] and found["reference"]["sd"]["accuracy/mean"] is None
    assert "12.50 ± 17.68" in capsys.readouterr().out


def test_nonsense_is_refused(capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        robustness.main(["--seeds", "0", "--target", str(tmp_path / "x.json")])
    assert end.value.code == 2 and "at least 1" in capsys.readouterr().err and not (tmp_path / "x.json").exists()
