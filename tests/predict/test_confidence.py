"""Scores, calibration and choice."""

import json

import numpy as np
import pytest
from commands import calibrate, seven

from helpers import paths, predict
from helpers.errors import UserError
from helpers.files import sha256
from helpers.predict import confidence, lines


def test_scores_are_what_they_are_called():
    logits = np.array([[0.0, 0.0], [800.0, 0.0], [-800.0, -801.0]])
    np.testing.assert_allclose(predict.energy(logits), [np.log(2), 800, -800 + np.log1p(np.exp(-1))])
    np.testing.assert_allclose(predict.softmax(logits), [[0.5, 0.5], [1, 0], [0.731059, 0.268941]], atol=1e-6)
    assert predict.softmax(logits[2:], 10).max() < predict.softmax(logits[2:]).max()
    calibration = confidence.Calibration(score="max_softmax")
    np.testing.assert_allclose(confidence.digit_score(logits, logits, calibration), [0.5, 1, 0.731059], atol=1e-6)


def test_gate_is_a_small_network_with_relu_inside():
    layers = (np.array([[1.0, -1.0]]), np.zeros(2)), (np.array([[2.0], [1.0]]), np.array([-1.0]))
    features = np.array([[0.0], [1.5], [-1.5], [1e6]])
    hidden = np.array([-1, 2, 0.5, 2e6 - 1])
    np.testing.assert_allclose(confidence.gate(features, layers), 1 / (1 + np.exp(-hidden)))


def test_calibration_is_read_from_beside_the_model(model):
    assert predict.Predictor(model).calibration.threshold == -np.inf
    picture = seven()
    sure = predict.Predictor(model).read(picture)
    calibrate(model, temperature=4.0, score="max_softmax", threshold=0.0, fitted_on="validation data")
    unsure = predict.Predictor(model).read(picture)
    assert (sure.status, unsure.status, sure.text) == ("ok", "ok", unsure.text)
    assert unsure.confidence < sure.confidence == sure.probabilities.max()
    calibrate(model, score="energy", threshold=1e6)
    refused = predict.Predictor(model).read(picture)
    assert refused.status == "rejected" and refused.reason.startswith("not a digit (")
    assert refused.text == "" and refused.confidence is None and refused.probabilities.shape == (10,)


def test_a_gate_decides(model):
    calibrate(model, score="gate", threshold=0.5)
    for bias, status in ((5.0, "ok"), (-5.0, "rejected")):
        np.savez(model.parent / "gate.npz", w0=np.zeros((43, 4)), b0=np.ones(4), w1=np.zeros((4, 1)), b1=[bias])
        assert predict.Predictor(model).read(seven()).status == status
    for damage in ({"w0": np.zeros((32, 1)), "b0": [0.0]}, {"w0": np.zeros((43, 4)), "b0": np.zeros(4)}, {}):
        np.savez(model.parent / "gate.npz", **damage)
        with pytest.raises(UserError, match="gate.npz"):
            predict.Predictor(model)
    (model.parent / "gate.npz").unlink()
    with pytest.raises(UserError, match="gate.npz"):
        predict.Predictor(model)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"temperature": 0}', '{"temperature": "1"}', '{"score": "best"}', '{"threshold": "x"}',
             '{"threshold": NaN}', '{"threshold": null}', '{"prior": []}', '{"prior": NaN}', "\xff"],
)  # fmt: skip
def test_a_damaged_calibration(model, text):
    (model.parent / "calibration.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"calibration\.json"):
        predict.Predictor(model)


def test_the_evidence_chooses_but_the_first_has_the_benefit_of_the_doubt():
    logits = np.array([[5.0, 0, 0], [5.5, 0, 0], [9.0, 0, 0]])
    assert confidence.choose(logits, prior=1) == 2
    assert confidence.choose(logits[:2], prior=1) == 0
    assert confidence.choose(logits[:2], prior=0) == 1
    assert confidence.choose(logits[:1], prior=1) == 0


def test_a_calibration_or_a_gate_of_another_network_is_refused(model):
    layers = {"w0": np.zeros((43, 1)), "b0": [5.0]}
    for calibrated, gated in (("0" * 64, None), (None, "0" * 64), (sha256(model), sha256(model))):
        calibrate(model, score="gate", threshold=0.5, **({"network_sha256": calibrated} if calibrated else {}))
        np.savez(model.parent / "gate.npz", **layers, **({"network_sha256": gated} if gated else {}))
        if calibrated == gated:
            assert predict.Predictor(model).read(seven()).status == "ok"
        else:
            with pytest.raises(UserError, match="digits.tflite do not belong together"):
                predict.Predictor(model)


def test_shipped_files_belong_together():
    digest = sha256(paths.SHIPPED / "digits.tflite")
    assert json.loads((paths.SHIPPED / "calibration.json").read_text())["network_sha256"] == digest
    assert lines.weights()["network_sha256"] == digest
    with np.load(paths.SHIPPED / "gate.npz") as gate:
        assert str(gate["network_sha256"]) == digest


def test_shipped_line_weights_of_another_network_are_refused(tmp_path, monkeypatch):
    for name in ("digits.tflite", "calibration.json", "gate.npz", "line_weights.json"):
        (tmp_path / name).write_bytes((paths.SHIPPED / name).read_bytes())
    monkeypatch.setattr(paths, "SHIPPED", tmp_path)
    monkeypatch.setattr(lines, "WEIGHTS", tmp_path / "line_weights.json")
    lines.weights.cache_clear()
    predict.Predictor()
    values = json.loads(lines.WEIGHTS.read_text())
    try:
        for digest in ({}, {"network_sha256": "0" * 64}):
            lines.WEIGHTS.write_text(json.dumps({k: v for k, v in values.items() if k != "network_sha256"} | digest))
            lines.weights.cache_clear()
            with pytest.raises(UserError, match="line_weights.json and digits.tflite do not belong together"):
                predict.Predictor()
    finally:
        lines.weights.cache_clear()
