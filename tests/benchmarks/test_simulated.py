"""The benchmarks on simulated pictures at a tiny size: what they count, print and write."""

import numpy as np
import pytest

from benchmarks import lines, photos, rejection
from tools import nondigits
from tools.simulate import lines as simulated_lines
from tools.simulate import photos as simulated_photos


@pytest.fixture
def written(monkeypatch):
    """What a benchmark would write, by file name: the files themselves hold the figures of the full size."""
    files = {}
    for module in (lines, photos, rejection):
        monkeypatch.setattr(module, "write_json", lambda file, value: files.update({file.name: value}))
    for module in (simulated_lines, simulated_photos):
        known = dict(list(module.CONDITIONS.items())[:2])
        monkeypatch.setattr(module, "CONDITIONS", known)
    return files


def test_photos(written, capsys):
    assert photos.main(["--per-condition", "4"]) == 0
    found = written["custom_images.json"]
    assert found["accuracy"].keys() == {"pen", "thin pen"} and found["per_condition"] == 4
    assert found["overall"]["read"] == np.mean([row["read"] for row in found["accuracy"].values()]) > 0.7
    assert found["overall"]["shrunk"] < found["overall"]["read"]  # dark ink on paper, unlike MNIST
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()] == ["condition", "pen", "thin", "mean"]


def test_lines(written, monkeypatch):
    class Reader:
        """Reads what was written, but for one character of the first picture."""

        def __init__(self, model):
            self.texts = [
                text for name in simulated_lines.CONDITIONS for _, text in simulated_lines.pictures(name, 2, 0)
            ]
            self.texts[0] = "x" + self.texts[0][1:]
            self.network = self.path = self
            self.name = "reader"

        def read(self, picture, line):
            return type("Reading", (), {"text": self.texts.pop(0)})

    monkeypatch.setattr(lines, "Predictor", Reader)
    assert lines.main(["--per-condition", "2"]) == 0
    found = written["lines.json"]
    first, second = found["conditions"].values()
    assert (first["exact"], first["rows_exact"]) == (0.5, 0.5) and first["characters"] == pytest.approx(0.9)
    assert second["exact"] == second["characters"] == 1 and found["mean"]["exact"] == 0.75
    written.clear()
    assert lines.main(["--per-condition", "2", "--cuts"]) == 0 and not written


@pytest.mark.thorough
def test_rejection(written, monkeypatch, capsys):
    some = {name: nondigits.FAMILIES[name] for name in ("letters", "textures")}
    monkeypatch.setattr(nondigits, "FAMILIES", some)
    monkeypatch.setattr("tools.fit_gate.FAMILIES", some)
    assert rejection.main(["--size", "60", "--count", "8"]) == 0
    found = written["rejection.json"]
    assert found["auroc"]["array"].keys() == some.keys() and found["auroc_mean"]["array"]["gate"] > 0.9
    assert found["digits_refused"]["array"] < 0.02 and found["accuracy_at_coverage"]["0.95"] > 0.999
    assert "held out" in capsys.readouterr().out
