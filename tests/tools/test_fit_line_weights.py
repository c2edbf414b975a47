"""The weights for lines are the most likely ones, and what is shipped belongs to the shipped network."""

import itertools

import numpy as np
import pytest

from helpers import paths
from helpers.files import read_json, sha256
from helpers.predict import lines
from helpers.predict.predictor import Predictor
from tools import fit_line_weights
from tools.fit_line_weights import expectations, fit_weights, known_rows, make_line_weights, shapes
from tools.simulate import lines as simulated


def readings(count, digits, rests):
    """All ways to cut `count` pieces into spans of digits and rests: lists of ("digit" or "rest", index)."""
    if count == 0:
        yield []
    for kind, spans in (("digit", digits), ("rest", rests)):
        for i, (first, last) in enumerate(spans):
            if last == count:
                yield from ([*before, (kind, i)] for before in readings(first, digits, rests))


@pytest.mark.parametrize("length", [0, 1, 2])
def test_expectations_are_those_over_all_readings_written_out(length):
    rng = np.random.default_rng(0)
    digits, rests = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)], [(0, 1), (1, 2), (2, 3)]
    scores, skips = rng.normal(size=(5, max(1, length))), rng.normal(size=3)
    total, taken, left_out = 0.0, np.zeros(5), np.zeros(3)
    for reading in readings(3, digits, rests):
        chosen = [i for kind, i in reading if kind == "digit"]
        skipped = [i for kind, i in reading if kind == "rest"]
        if length and len(chosen) != length:
            continue
        speaks = sum(scores[i, k if length else 0] for k, i in enumerate(chosen)) + skips[skipped].sum()
        weight = np.exp(speaks)
        total += weight
        taken[chosen] += weight
        left_out[skipped] += weight
    found = expectations(3, digits, scores, rests, skips, length)
    np.testing.assert_allclose(found[0], np.log(total))
    np.testing.assert_allclose(found[1], taken / total)
    np.testing.assert_allclose(found[2], left_out / total)


@pytest.fixture
def few(monkeypatch):
    """Two easy conditions, three pictures each."""
    monkeypatch.setattr(simulated, "CONDITIONS", {name: simulated.CONDITIONS[name] for name in ("postcode", "amount")})
    monkeypatch.setattr(fit_line_weights, "known_rows", lambda predictor: known_rows(predictor, 3))


def test_fitted_weights_tell_digits_from_signs(few):
    rows = fit_line_weights.known_rows(Predictor())
    assert len(rows) >= 4 and all(len(row.facts) == len(row.spans) == len(row.logs) for row in rows)
    found = fit_weights(rows)
    known = lines.weights()
    assert found.keys() == {"digit", "rest"} and all(found[kind].keys() == known[kind].keys() for kind in found)
    assert found["digit"]["digit"] > 0 > found["digit"]["no digit"]
    assert found == fit_weights(rows)


def test_the_file_says_which_network_it_belongs_to(few, tmp_path):
    for name in ("digits.tflite", "calibration.json", "gate.npz"):
        (tmp_path / name).write_bytes((paths.REFERENCE / name).read_bytes())
    make_line_weights(tmp_path)
    made, shipped = read_json(tmp_path / "line_weights.json"), read_json(paths.REFERENCE / "line_weights.json")
    assert made["network_sha256"] == sha256(tmp_path / "digits.tflite") == shipped["network_sha256"]
    assert made.keys() >= {"digit", "rest", "shapes"} and made["shapes"] == shapes() == shipped["shapes"]


def test_pictures_do_not_depend_on_how_many_there_are():
    some, more = (simulated.pictures("postcode", count, seed=3) for count in (2, 4))
    for (picture, text), (same, written) in itertools.zip_longest(some, itertools.islice(more, 2)):
        assert text == written and np.array_equal(picture, same)
    assert len(list(simulated.pictures("page", 5, seed=3))) == 1
