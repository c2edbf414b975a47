"""The network in a file: any kind gives the same answers, and what is no digit classifier is refused."""

import shutil
import threading

import numpy as np
import pytest
from commands import encode, seven

from helpers import data, paths, predict
from helpers.data import to_input
from helpers.errors import UserError
from helpers.predict import network
from helpers.predict.__main__ import main
from helpers.predict.network import check_pair, find_model, load


def test_all_kinds_of_files_give_the_same_logits_and_features(models):
    x = data.load().x_test[:50]
    logits, features = load(models / "digits.tflite")(x)
    assert logits.shape == (50, 10) and features.shape == (50, 32)
    other = load(models / "digits.keras")(x)
    np.testing.assert_allclose(other[0], logits, atol=1e-3)
    np.testing.assert_allclose(other[1], features, atol=1e-3)


def test_the_shipped_files_agree_on_all_test_images():
    x = data.load().x_test
    logits, features = (np.concatenate(part) for part in zip(*map(load(paths.SHIPPED / "digits.tflite"), np.split(x, 20)), strict=True))  # fmt: skip
    other = load(paths.SHIPPED / "digits.keras")(x)
    assert len(x) == 10_000 and np.array_equal(logits.argmax(axis=1), other[0].argmax(axis=1))
    np.testing.assert_allclose(other[0], logits, atol=1e-3)
    np.testing.assert_allclose(other[1], features, atol=1e-3)


def test_a_softmax_inside_the_last_layer_still_has_logits(models):
    import keras

    x = data.load().x_test[:20]
    network = load(models / "inside.keras")
    expected = np.asarray(keras.models.load_model(models / "inside.keras")(to_input(x)))
    np.testing.assert_allclose(predict.softmax(network(x)[0]), expected, atol=1e-5)
    assert np.ptp(predict.energy(network(x)[0])) > 0.1  # of log-probabilities it would always be 0


def test_threads_do_not_disturb_each_other(predictor):
    x = data.load().x_test[:64]
    expected, answers = predictor.network(x)[0], {}

    def ask(i):
        answers[i] = np.concatenate([predictor.network(x[j : j + 1 + i])[0] for j in range(0, 64, 1 + i)])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        np.testing.assert_allclose(answers[i], expected, atol=1e-3)


def test_the_shipped_model_is_found_or_its_replacement(models, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SHIPPED", tmp_path)
    with pytest.raises(UserError, match="no model"):
        find_model()
    shutil.copy(models / "digits.keras", tmp_path)
    assert find_model() == tmp_path / "digits.keras"
    shutil.copy(models / "digits.tflite", tmp_path)
    assert find_model() == tmp_path / "digits.tflite"
    monkeypatch.setattr(network.importlib.util, "find_spec", lambda name: None)  # LiteRT is not installed
    assert find_model() == tmp_path / "digits.keras"
    (tmp_path / "digits.keras").unlink()
    with pytest.raises(UserError, match="pip install ai-edge-litert"):
        find_model()


def foreign_models(folder, models):
    import keras
    from keras import layers

    whole = (models / "digits.tflite").read_bytes()
    (folder / "empty.tflite").touch()
    (folder / "text.tflite").write_text("not a model")
    (folder / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    (folder / "text.keras").write_text("not a model")
    (folder / "cut.keras").write_bytes((models / "digits.keras").read_bytes()[:5000])
    (folder / "model.h5").write_bytes(whole)
    (folder / "folder.tflite").mkdir()
    flat, image = keras.Input((784,)), keras.Input((28, 28, 1))
    keras.Model(flat, layers.Dense(10)(flat)).save(folder / "flat.keras")
    pooled = layers.GlobalAveragePooling2D()(image)
    keras.Model(image, layers.Dense(7)(pooled)).save(folder / "seven.keras")
    plain = keras.Model(image, layers.Dense(10)(pooled))
    plain.export(folder / "unnamed.tflite", format="litert", verbose=False)
    named = keras.Model(flat, {"logits": layers.Dense(10)(flat), "features": layers.Dense(2)(flat)})
    named.export(folder / "flat.tflite", format="litert", verbose=False)
    return sorted(folder.iterdir()) + [folder / "missing.keras"]


def test_a_model_that_is_not_ours(models, tmp_path, capsys):
    picture = tmp_path / "7.png"
    picture.write_bytes(encode(seven()))
    (tmp_path / "foreign").mkdir()
    for file in foreign_models(tmp_path / "foreign", models):
        assert main([str(picture), "--model", str(file)]) == 2, file.name
        out, err = capsys.readouterr()
        assert not out and err.startswith("Error: ") and len(err.splitlines()) == 1 and file.name in err


def test_what_was_fitted_to_another_network_is_refused(model, monkeypatch):
    own, file = load(model), model.parent / "calibration.json"
    check_pair(file, own.sha256, own)
    check_pair(file, None, own)  # of a user's own model nothing is known
    with pytest.raises(UserError, match="calibration.json and digits.tflite do not belong together"):
        check_pair(file, "0" * 64, own)
    monkeypatch.setattr(paths, "SHIPPED", model.parent)
    with pytest.raises(UserError, match="do not belong together"):
        check_pair(file, None, own)
