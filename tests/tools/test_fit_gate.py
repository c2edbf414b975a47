"""The gate tells digits from what it was never shown, and what is fitted is what is read back."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from helpers import data, paths
from helpers.errors import UserError
from helpers.files import read_json, sha256
from helpers.predict import confidence
from helpers.predict.network import load
from helpers.predict.predictor import Predictor
from tools import fit_gate, nondigits
from tools.fit_gate import photographed, prepared, save_gate

UNSEEN = ("scribbles", "shapes", "hatching")


@pytest.fixture(scope="module")
def network():
    return load(paths.REFERENCE / "digits.tflite")


@pytest.fixture(scope="module")
def parts():
    return data.reference_split(data.load())


@pytest.fixture(scope="module")
def small(network, parts):
    """A gate fitted in seconds, that never saw three of the families."""
    with pytest.MonkeyPatch.context() as patch:
        known = {name: how for name, how in nondigits.FAMILIES.items() if name not in UNSEEN}
        patch.setattr(fit_gate, "FAMILIES", known)
        (x, y), (x_val, y_val) = parts
        return fit_gate.fit_gate(network, (x[:3000], y[:3000]), (x_val[:1000], y_val[:1000]), size=600)


@pytest.fixture(scope="module")
def digits(parts):
    return nondigits.Digits(*(array[-1000:] for array in parts[1]))  # of the validation part


def rng(seed=1):
    return np.random.default_rng(seed)


def auroc(digits, others):
    return roc_auc_score(np.repeat([1, 0], [len(digits), len(others)]), np.concatenate([digits, others]))


def drawn(name, digits, count=60):
    return nondigits.negatives(name, count, digits, rng())


def test_families_never_seen_are_told_apart_better_than_by_softmax(network, small, digits):
    gained = []
    for name in UNSEEN:
        x = drawn(name, digits)
        found = auroc(*(confidence.digit_score(*network(part), small) for part in (digits.x, x)))
        plain = auroc(*(confidence.softmax(network(part)[0]).max(axis=1) for part in (digits.x, x)))
        assert found > 0.94, name
        gained.append(found - plain)
    assert np.mean(gained) > 0.01


def test_the_shipped_gate_refuses_few_digits_and_most_else(network, parts, digits):
    calibration = confidence.Calibration.load(paths.REFERENCE)
    notes = read_json(paths.REFERENCE / "calibration.json")
    again = "the network is another one now: python -m tools.train_shipped --refit"
    assert calibration.score == "gate" and notes["network_sha256"] == sha256(network.path), again

    def score(x):
        return confidence.digit_score(*network(x), calibration)

    validation = score(parts[1][0][::2])
    assert 0.001 < np.mean(validation < calibration.threshold) <= 0.01
    pictures = prepared(photographed(digits.x[:60], rng()), network)
    assert len(pictures) >= 58 and np.mean(score(pictures) < calibration.threshold) <= 0.05
    for name in nondigits.FAMILIES:
        assert auroc(validation, score(drawn(name, digits, 40))) > 0.95, name


def test_the_same_seed_gives_the_same_gate(network, parts):
    def fit(seed):
        (x, y), (x_val, y_val) = parts
        return fit_gate.fit_gate(network, (x[:500], y[:500]), (x_val[:200], y_val[:200]), size=130, seed=seed)

    one, again, other = fit(0), fit(0), fit(1)
    assert one.threshold == again.threshold != other.threshold
    for (w, b), (v, c), (u, _) in zip(one.gate, again.gate, other.gate, strict=True):
        np.testing.assert_array_equal(w, v)
        np.testing.assert_array_equal(b, c)
        assert not np.array_equal(w, u)


def test_what_is_written_is_read_back(network, small, digits, tmp_path):
    save_gate(network, dataclasses.replace(small, temperature=1.5), tmp_path)
    read = confidence.Calibration.load(tmp_path)
    assert (read.score, read.threshold, read.temperature) == ("gate", small.threshold, 1.5)
    scores, written = (confidence.digit_score(*network(digits.x[:20]), gate) for gate in (read, small))
    np.testing.assert_array_equal(scores, written)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["calibration.json", "gate.npz"]
    with np.load(tmp_path / "gate.npz") as arrays:
        assert str(arrays["network_sha256"]) == sha256(network.path) and arrays["network_sha256"].shape == ()
    assert read_json(tmp_path / "calibration.json")["network_sha256"] == sha256(network.path)


def test_a_gate_of_another_network_is_refused(small):
    with pytest.raises(UserError, match="not a pair"):
        confidence.digit_score(np.zeros((1, 10)), np.zeros((1, 7)), small)


def test_the_order_of_classes_does_not_matter_to_the_gate(network, digits):
    logits, features = network(digits.x[:5])
    inputs = confidence.gate_inputs(logits, features)
    assert inputs.shape == (5, features.shape[1] + 11)
    np.testing.assert_allclose(inputs, confidence.gate_inputs(logits[:, ::-1], features), rtol=1e-12)


@pytest.mark.parametrize("few", ["training", "validation", "size"])
def test_too_few_digits_are_one_sentence(network, parts, few):
    part, validation = ((x[:60], y[:60]) for x, y in parts)
    arguments = {"part": part, "validation": validation, "size": 60}
    short = (part[0][:9], part[1][:9])
    arguments |= {"training": {"part": short}, "validation": {"validation": short}, "size": {"size": 9}}[few]
    with pytest.raises(UserError, match="at least 50"):
        fit_gate.fit_gate(network, **arguments)


def test_a_refusal_says_why_in_one_sentence():
    predictor = Predictor(paths.REFERENCE / "digits.tflite")
    predictor.calibration = dataclasses.replace(predictor.calibration, threshold=1.1)
    refused = predictor.read(data.load().x_test[0])
    assert refused.status == "rejected" and refused.reason.startswith("not a digit (gate ")
    blank = predictor.read(np.full((100, 100), 255, np.uint8))
    assert blank.status == "rejected" and "blank" in blank.reason
