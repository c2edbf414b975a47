"""The Predictor and its command line: right answers, clear refusals, and no row lost whatever happens."""

import csv
import fcntl
import json
import os
import pty
import random
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from helpers import data, images, paths, predict
from helpers.data import to_input
from helpers.errors import UserError
from helpers.predict import batch
from helpers.predict import network as lite
from helpers.predict.network import BATCH, find_model, load

HEAVY = {"tensorflow", "keras", "pandas", "matplotlib", "sklearn", "scipy", "skimage", "IPython", "tqdm"}


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder with one small network as a Keras file, as a LiteRT file, and with its softmax inside the last layer."""
    import keras
    from keras import layers

    folder = tmp_path_factory.mktemp("models é")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(8, 3, strides=2, activation="relu")(inputs)
    x = layers.Conv2D(16, 3, strides=2, activation="relu")(x)
    x = layers.Dense(32, activation="relu")(layers.Flatten()(x))
    logits = layers.Dense(10, name="logits")
    model = keras.Model(inputs, layers.Softmax()(logits(x)))
    model.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    mnist = data.load()
    model.fit(to_input(mnist.x_train[:12000]), mnist.y_train[:12000], batch_size=64, epochs=2, verbose=0)
    model.save(folder / "digits.keras")
    two = keras.Model(inputs, {"logits": logits.output, "features": logits.input})
    two.export(folder / "digits.tflite", format="litert", verbose=False)
    inside = layers.Dense(10, activation="softmax")
    keras.Sequential([inputs, *model.layers[1:-2], inside]).save(folder / "inside.keras")
    return folder


@pytest.fixture
def model(models, tmp_path):
    """The LiteRT file in a folder of its own, where a test may lay a calibration beside it."""
    return Path(shutil.copy(models / "digits.tflite", tmp_path))


@pytest.fixture(scope="session")
def predictor(models):
    return predict.Predictor(models / "digits.tflite")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of 300 small pictures, named so that some need care in a CSV file."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / 'böse, "Namen"').mkdir()
    for i, picture in enumerate(data.load().x_test[:300]):
        name = f'böse, "Namen"/line\nbreak {i}.png' if i % 10 == 0 else f"{i:04}.png"
        (folder / name).write_bytes(encode(picture))
    return folder


def encode(picture, suffix=".png"):
    return cv2.imencode(suffix, picture)[1].tobytes()


def seven(side=120):
    """A seven in dark ink on paper: uint8 RGB."""
    picture = np.full((side, side, 3), 230, np.uint8)
    points = np.array([[0.3, 0.25], [0.7, 0.25], [0.45, 0.8]]) * side
    cv2.polylines(picture, [points.astype(np.int32)], False, (40, 40, 60), max(1, side // 14), cv2.LINE_AA)
    return picture


def calibrate(model, **values):
    (model.parent / "calibration.json").write_text(json.dumps(values))


def command(*arguments):
    return [sys.executable, "-m", "helpers.predict", *map(str, arguments)]


def environment(**more):
    return os.environ | {"PYTHONPATH": str(paths.ROOT)} | more


def run(*arguments, **more):
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(**more), timeout=180)


def rows_of(file):
    with open(file, newline="", encoding="utf-8", errors="surrogateescape") as lines:
        return list(csv.DictReader(lines))


# The network --------------------------------------------------------------------------------------------------


def test_all_kinds_of_files_give_the_same_logits_and_features(models):
    x = data.load().x_test[:50]
    logits, features = load(models / "digits.tflite")(x)
    assert logits.shape == (50, 10) and features.shape == (50, 32)
    other = load(models / "digits.keras")(x)
    np.testing.assert_allclose(other[0], logits, atol=1e-3)
    np.testing.assert_allclose(other[1], features, atol=1e-3)


def test_a_softmax_inside_the_last_layer_still_has_logits(models):
    import keras

    x = data.load().x_test[:20]
    network = load(models / "inside.keras")
    expected = np.asarray(keras.models.load_model(models / "inside.keras")(to_input(x)))
    np.testing.assert_allclose(predict.softmax(network(x)[0]), expected, atol=1e-5)
    assert np.ptp(predict.energy(network(x)[0])) > 0.1  # of log-probabilities it would always be 0


@pytest.mark.parametrize("count", [0, 1, 3, BATCH + 7])
def test_probabilities_of_any_number_of_images(predictor, count):
    x = np.resize(data.load().x_test, (count, 28, 28))
    probabilities = predictor.probabilities(x)
    assert probabilities.shape == (count, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    if count:  # the place in a batch does not matter
        np.testing.assert_allclose(predictor.probabilities(x[-1:])[0], probabilities[-1], atol=1e-5)


def test_only_doubtful_images_are_looked_at_again(predictor, monkeypatch):
    x = data.load().x_test[:40]
    once = predict.softmax(predictor.network(x)[0])
    sure = np.sort(once.max(axis=1))[20]
    monkeypatch.setattr(predict, "SURE", sure)
    doubtful = once.max(axis=1) < sure
    assert 0 < doubtful.sum() < 40
    again = predictor.probabilities(x)
    np.testing.assert_allclose(again[~doubtful], once[~doubtful], atol=1e-5)
    views = [predict.softmax(predictor.network(view)[0]) for view in (x, *images.half_pixel_moves(x))]
    np.testing.assert_allclose(again[doubtful], np.mean(views, axis=0)[doubtful], atol=1e-5)
    assert np.abs(again[doubtful] - once[doubtful]).max() > 1e-3


def test_a_reading_is_looked_at_again_too(predictor, monkeypatch):
    monkeypatch.setattr(predict, "SURE", 1.1)  # so every image is in doubt
    reading = predictor.read(data.load().x_test[0])
    x = reading.steps[predict.LAST][None]
    views = [predict.softmax(predictor.network(view)[0])[0] for view in (x, *images.half_pixel_moves(x))]
    np.testing.assert_allclose(reading.probabilities, np.mean(views, axis=0), atol=1e-5)
    assert np.abs(reading.probabilities - views[0]).max() > 1e-3


def test_a_second_look_helps_with_other_hands():
    predictor = predict.Predictor()
    pictures, labels = data.sklearn_digits()
    x = np.stack([images.preprocess(picture)[predict.LAST] for picture in pictures])
    wrong = [
        np.sum(p.argmax(axis=1) != labels)
        for p in (predict.softmax(predictor.network(x)[0]), predictor.probabilities(x))
    ]
    assert wrong[1] < wrong[0] and wrong[1] / len(labels) < 0.02


@pytest.mark.parametrize("x", [np.zeros((1, 28, 28)), np.zeros((28, 28), np.uint8), np.full((1, 28, 28), np.nan)])
def test_probabilities_of_what_is_no_prepared_image(predictor, x):
    with pytest.raises(UserError, match="uint8"):
        predictor.probabilities(x)


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
    monkeypatch.setattr(paths, "REFERENCE", tmp_path)
    with pytest.raises(UserError, match="no model"):
        find_model()
    shutil.copy(models / "digits.keras", tmp_path)
    assert find_model() == tmp_path / "digits.keras"
    shutil.copy(models / "digits.tflite", tmp_path)
    assert find_model() == tmp_path / "digits.tflite"
    monkeypatch.setattr(lite.importlib.util, "find_spec", lambda name: None)  # LiteRT is not installed
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
        assert batch.main([str(picture), "--model", str(file)]) == 2, file.name
        out, err = capsys.readouterr()
        assert not out and err.startswith("Error: ") and len(err.splitlines()) == 1 and file.name in err


# Scores, calibration and choice -------------------------------------------------------------------------------


def test_scores_are_what_they_are_called():
    logits = np.array([[0.0, 0.0], [800.0, 0.0], [-800.0, -801.0]])
    np.testing.assert_allclose(predict.energy(logits), [np.log(2), 800, -800 + np.log1p(np.exp(-1))])
    np.testing.assert_allclose(predict.softmax(logits), [[0.5, 0.5], [1, 0], [0.731059, 0.268941]], atol=1e-6)
    assert predict.softmax(logits[2:], 10).max() < predict.softmax(logits[2:]).max()
    calibration = predict.Calibration(score="max_softmax")
    np.testing.assert_allclose(predict.digit_score(logits, logits, calibration), [0.5, 1, 0.731059], atol=1e-6)


def test_gate_is_a_small_network_with_relu_inside():
    layers = (np.array([[1.0, -1.0]]), np.zeros(2)), (np.array([[2.0], [1.0]]), np.array([-1.0]))
    features = np.array([[0.0], [1.5], [-1.5], [1e6]])
    hidden = np.array([-1, 2, 0.5, 2e6 - 1])
    np.testing.assert_allclose(predict.gate(features, layers), 1 / (1 + np.exp(-hidden)))


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
        np.savez(model.parent / "gate.npz", w0=np.zeros((32, 4)), b0=np.ones(4), w1=np.zeros((4, 1)), b1=[bias])
        assert predict.Predictor(model).read(seven()).status == status
    for damage in ({"w0": np.zeros((31, 1)), "b0": [0.0]}, {"w0": np.zeros((32, 4)), "b0": np.zeros(4)}, {}):
        np.savez(model.parent / "gate.npz", **damage)
        with pytest.raises(UserError, match="gate.npz"):
            predict.Predictor(model)
    (model.parent / "gate.npz").unlink()
    with pytest.raises(UserError, match="gate.npz"):
        predict.Predictor(model)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"temperature": 0}', '{"temperature": "1"}', '{"score": "best"}', '{"threshold": "x"}',
             '{"threshold": NaN}', '{"threshold": null}', '{"prior": []}', "\xff"],
)  # fmt: skip
def test_a_damaged_calibration(model, text):
    (model.parent / "calibration.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"calibration\.json"):
        predict.Predictor(model)


def test_the_evidence_chooses_but_the_first_has_the_benefit_of_the_doubt():
    logits = np.array([[5.0, 0, 0], [5.5, 0, 0], [9.0, 0, 0]])
    assert predict.choose(logits, prior=1) == 2
    assert predict.choose(logits[:2], prior=1) == 0
    assert predict.choose(logits[:2], prior=0) == 1
    assert predict.choose(logits[:1], prior=1) == 0


def test_the_network_corrects_a_wrong_first_candidate(predictor, monkeypatch):
    digit = data.load().x_test[0]  # a 7
    right, wrong = {"centred 28×28": digit}, {"centred 28×28": 255 - digit}
    monkeypatch.setattr(images, "candidates", lambda picture: [wrong, right])
    reading = predictor.read(digit)
    assert reading.text == "7" and reading.steps is right and len(reading.candidates) == 2


# Reading one picture ------------------------------------------------------------------------------------------


def test_mnist_digits_are_read(predictor):
    mnist = data.load()
    texts = [predictor.read(picture).text for picture in mnist.x_test[:200]]
    assert np.mean([text == str(label) for text, label in zip(texts, mnist.y_test[:200], strict=True)]) > 0.9


def test_every_kind_of_source_gives_the_same_reading(predictor, tmp_path):
    picture, file = seven(), tmp_path / "sieben é.png"
    file.write_bytes(encode(picture[..., ::-1]))
    clear = np.zeros((120, 120, 4), np.uint8)  # drawn on transparency, as a canvas gives it
    clear[..., 3] = 255 - cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    sources = [picture, picture[..., 0], str(file), file, file.read_bytes(), bytearray(file.read_bytes()), clear]
    for source in sources:
        reading = predictor.read(source)
        assert (reading.status, reading.text, reading.reason) == ("ok", "7", "")
        assert 0 < reading.confidence <= 1 and reading.seconds > 0
        assert reading.probabilities.argmax() == 7 and reading.steps["centred 28×28"].shape == (28, 28)


@pytest.mark.parametrize(
    "source",
    [np.full((28, 28), np.nan), np.full((28, 28), np.inf), np.zeros((28, 28)), np.zeros(784, np.uint8),
     np.zeros((2, 3, 28, 28), np.uint8), np.zeros((28, 28, 2), np.uint8), np.zeros((0, 0), np.uint8),
     np.zeros((0, 5, 4), np.uint8), np.zeros((), np.uint8), np.zeros((28, 28), object), np.array(["a"]), [[0]], None,
     7, b"", b"\0" * 100, "", "no such file.png", "null\0byte.png"],
    ids=repr,
)  # fmt: skip
def test_what_is_no_picture_is_an_error_with_a_reason(predictor, source):
    reading = predictor.read(source)
    assert reading.status == "error" and reading.reason.endswith(".") and not reading.text


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_page_is_rejected(predictor, level):
    reading = predictor.read(np.full((200, 150, 3), level, np.uint8))
    assert reading.status == "rejected" and reading.reason and reading.confidence is None


# Finding files ------------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path):
    """A folder full of snares; returns it and what is to be found, in order."""
    top = tmp_path / "tree"
    for folder in ("b.png/ü", "a", "a/.hidden"):
        (top / folder).mkdir(parents=True)
    found = ["10.JPG", "2.png", "a/z.heic", "b.png/1.tif", "b.png/ü/ж.webp"]
    for name in [*found, "notes.txt", ".2.png", "a/.hidden/3.png", "film.mp4"]:
        (top / name).touch()
    (top / "a" / "round").symlink_to(top)
    (top / "b.png" / "again").symlink_to(top / "a")
    (top / "loop.png").symlink_to("loop.png")
    found = ["10.JPG", "2.png", "loop.png", "a/z.heic", "b.png/1.tif", "b.png/ü/ж.webp"]
    return top, [str(top / name) for name in found]


def test_folders_are_searched_whole_sorted_and_once(tree):
    top, expected = tree
    assert batch.find_pictures([str(top)]) == (expected, [])
    assert batch.find_pictures([str(top / "film.mp4"), str(top), str(top / "2.png"), str(top / "b.png" / "ü")]) == (
        [str(top / "film.mp4"), *expected],
        [],
    )
    assert batch.find_pictures([str(top)], skip=top / "b.png") == (expected[:4], [])


def test_nothing_to_read(tmp_path, capsys):
    (tmp_path / "x.png").mkdir()
    for name, words in (("x.png", "No pictures found in"), ("y.png", "does not exist")):
        assert batch.main([str(tmp_path / name)]) == 2
        err = capsys.readouterr().err
        assert words in err and name in err and len(err.splitlines()) == 1
    with pytest.raises(SystemExit) as end:
        batch.main([])
    assert end.value.code == 2


def test_a_folder_that_may_not_be_opened_is_a_row(tree, model, monkeypatch, capsys):
    top, expected = tree
    scan = os.scandir

    def guarded(folder):
        if str(folder).endswith("b.png"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    files, (row,) = batch.find_pictures([str(top)])
    assert files == expected[:4] and row["file"] == str(top / "b.png") and "Permission denied" in row["reason"]
    assert batch.main([str(top), "--json", "--model", str(model)]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == [str(top / "b.png"), *expected[:4]]


# The command line ---------------------------------------------------------------------------------------------


def test_one_picture_starts_fast(model, tmp_path):
    """Time is not asserted, on a busy machine it means nothing; what takes time is: heavy imports."""
    file = tmp_path / "7.png"
    file.write_bytes(encode(seven()))
    code = (
        "import sys; from helpers.predict.batch import main; code = main(sys.argv[1:]);"
        f"print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file), "--model", str(model)],
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (0, "")
    header, row = done.stdout.splitlines()
    assert (
        header.split() == list(batch.COLUMNS) and row.startswith(str(file)) and row[len(str(file)) :].split()[1] == "7"
    )


def bomb(side=60000):
    """A PNG file of a few bytes that says it has 3.6 thousand million pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.fixture
def hostile(tmp_path):
    """A folder of files that are no pictures, and one that is."""
    folder = tmp_path / "hostile"
    (folder / "x.png").mkdir(parents=True)
    whole = encode(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8), ".jpg")
    contents = {
        "empty.png": b"",
        "cut.jpg": whole[: len(whole) // 2],
        "cut.png": encode(seven())[:400],
        "text.png": b"hello\n",
        "document.png": b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n",
        "bomb.png": bomb(),
        "film.jpg": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(5000),
        "zeros.gif": bytes(1000),
        "x.png/good.png": encode(seven()),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "x.png" / "round").symlink_to(folder)
    (folder / "self.png").symlink_to("self.png")
    (folder / "dangling.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    return folder


def test_hostile_files_are_rows_and_stop_nothing(hostile, model):
    done = run(hostile, "--json", "--model", model)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and done.stderr == "" and len(rows) == 12
    for row in rows:
        expected = "ok" if row["file"].endswith("good.png") else "error"
        assert row["status"] == expected and bool(row["reason"]) == (expected == "error"), row
        assert Path(row["file"]).name in row["reason"] or expected == "ok"


def test_an_unreadable_file_and_a_flaw_of_ours_are_rows(predictor, monkeypatch, tmp_path):
    file = tmp_path / "7.png"
    file.write_bytes(encode(seven()))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        row = batch.read_row(predictor, str(file))
        assert row["status"] == "error" and "Permission denied" in row["reason"]
    monkeypatch.setattr(images, "candidates", lambda picture: 1 / 0)
    row = batch.read_row(predictor, str(file))
    assert row["status"] == "error" and "ZeroDivisionError" in row["reason"]


def test_rows_on_the_screen_keep_the_order_of_the_files(pictures, model):
    """Many files, so other processes read them; names with line breaks stay on one line."""
    done = run(pictures, "--model", model, "--json")
    files = [json.loads(line)["file"] for line in done.stdout.splitlines()]
    assert done.returncode == 0 and done.stderr == "" and files == batch.find_pictures([str(pictures)])[0]
    done = run(*files[-20:], "--model", model)
    assert len(done.stdout.splitlines()) == 21


def test_what_many_processes_read_is_what_one_reads(pictures, model, predictor):
    files, _ = batch.find_pictures([str(pictures)])
    with batch.reader(len(files), str(model)) as read:
        rows = {row["file"]: row["text"] for row in read(files)}
    assert rows == {file: predictor.read(file).text for file in files}


def test_steps_are_one_picture_a_file(model, tmp_path):
    for name in ("a/7.png", "b/7.png", "b/" + "é" * 100 + ".png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(seven()))
    (tmp_path / "b" / "blank.png").write_bytes(encode(np.full((50, 60), 255, np.uint8)))
    folder = tmp_path / "b" / "steps"
    for _ in range(2):  # the strips lie in a folder that is searched, and are not read themselves
        assert (
            batch.main([str(tmp_path / "a"), str(tmp_path / "b"), "--steps", str(folder), "--model", str(model)]) == 0
        )
    strips = {path.name: cv2.imread(str(path)) for path in folder.iterdir()}
    assert len(strips) == 4 and all(strip is not None and strip.shape[0] == 184 for strip in strips.values())
    assert sorted(strip.shape[1] for strip in strips.values())[0] == 168  # of the blank page there is the picture alone


def test_a_bad_place_for_steps(model, tmp_path, capsys):
    (tmp_path / "7.png").write_bytes(encode(seven()))
    assert batch.main([str(tmp_path / "7.png"), "--steps", str(tmp_path / "7.png"), "--model", str(model)]) == 2
    assert "--steps" in capsys.readouterr().err


def test_a_closed_pipe_ends_quietly(pictures, model):
    process = subprocess.Popen(
        command(pictures, "--model", model), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 1 and process.stderr.read() == b""


def test_a_bar_is_shown_on_a_terminal_only(pictures, model, tmp_path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run(
        command(pictures, "--csv", tmp_path / "r.csv", "--model", model),
        stdout=subprocess.PIPE, stderr=theirs, env=environment(), text=True,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 10000).decode()
    os.close(ours)
    assert done.returncode == 0 and "300/300" in shown and "300 ok" in done.stdout


# The CSV file -------------------------------------------------------------------------------------------------


def some_rows():
    names = ["a.png", 'say "7".png', "line\nbreak.png", 'all, "of\nit"\n.png', "ünï.png", "bad\udce9byte.png"]
    return [batch.to_row(name, predict.Reading("ok", str(i), 0.5, "", 0.1)) for i, name in enumerate(names)]


def write_csv(file, rows, size=0):
    results = batch.Results(file, size)
    for row in rows:
        results.write(row)
    results.close()


def test_a_file_cut_at_any_byte_is_gone_on_with(tmp_path):
    file = tmp_path / "r.csv"
    rows = some_rows()
    write_csv(file, rows)
    whole = file.read_bytes()
    ends = []
    for i in range(len(rows) + 1):
        write_csv(tmp_path / "part.csv", rows[:i])
        ends.append((tmp_path / "part.csv").stat().st_size)
    for length in range(len(whole) + 1):
        file.write_bytes(whole[:length])
        done, size = batch.finished(file)
        count = sum(length >= end for end in ends[1:])
        assert list(done) == [row["file"] for row in rows[:count]] and set(done.values()) <= {"ok"}, length
        write_csv(file, rows[count:], size)
        assert file.read_bytes() == whole, length


@pytest.mark.parametrize(
    "content", [b"my,own,table\n1,2,3\n", b"\x89PNG\r\n\0\0", b"file,status\n", b"text", b'"\n"\n']
)
def test_another_file_is_never_touched(tmp_path, content, capsys):
    file = tmp_path / "mine.csv"
    file.write_bytes(content)
    (tmp_path / "7.png").write_bytes(encode(seven()))
    for more in ([], ["--force"]):
        assert batch.main([str(tmp_path / "7.png"), "--csv", str(file), *more]) == 2
        assert "choose another file" in capsys.readouterr().err and file.read_bytes() == content


def test_a_place_that_cannot_be_written(tmp_path, model, capsys):
    (tmp_path / "7.png").write_bytes(encode(seven()))
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("no folder/r.csv", "loop.csv", "pipe.csv", "."):
        assert batch.main([str(tmp_path / "7.png"), "--csv", str(tmp_path / name), "--model", str(model)]) == 2, name
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_rows_there_are_skipped_and_count_in_the_exit_code(tmp_path, model, capsys):
    file = tmp_path / "r.csv"
    names = [str(tmp_path / name) for name in ("bad.png", "7.png")]
    Path(names[0]).write_bytes(b"")
    Path(names[1]).write_bytes(encode(seven()))
    earlier = [batch.to_row(names[0], predict.Reading("error", reason="earlier")), *some_rows()]
    write_csv(file, earlier)
    arguments = [str(tmp_path), "--csv", str(file), "--model", str(model)]
    assert batch.main(arguments) == 1
    assert [(row["file"], row["reason"]) for row in rows_of(file)][0] == (names[0], "earlier")
    assert [row["file"] for row in rows_of(file)][-1] == names[1] and len(rows_of(file)) == 8
    assert "1 files in" in capsys.readouterr().out
    assert batch.main([*arguments, "--force", "--json"]) == 1
    assert [row["file"] for row in rows_of(file)] == sorted(names) or len(rows_of(file)) == 2
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_full_disk_is_told_and_loses_nothing(tmp_path, model, monkeypatch, capsys):
    for name in "12":
        (tmp_path / f"{name}.png").write_bytes(encode(seven()))
    write, calls = batch.Results._write, []

    def full(self, values):
        calls.append(values)
        if len(calls) > 2:  # the header and one row
            raise OSError(28, "No space left on device")
        write(self, values)

    monkeypatch.setattr(batch.Results, "_write", full)
    assert batch.main([str(tmp_path), "--csv", str(tmp_path / "r.csv"), "--model", str(model)]) == 1
    assert "No space left" in capsys.readouterr().err and len(rows_of(tmp_path / "r.csv")) == 1


# Killed and interrupted ---------------------------------------------------------------------------------------


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)


def rows_in(file):
    return len(batch.finished(file)[0])


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # init may take its time to bury it
    except psutil.NoSuchProcess:
        return False


def kill_after(arguments, file, goal):
    """Starts a command and kills it outright when a CSV file has so many rows; its processes must go with it."""
    with open(file.with_suffix(".err"), "w+") as errors:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=errors, env=environment())
    wait_for(lambda: process.poll() is not None or rows_in(file) >= goal)
    children = psutil.Process(process.pid).children() if process.poll() is None else []
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(child) for child in children))
    assert file.with_suffix(".err").read_text() == ""


def test_killed_at_random_moments_no_finished_row_is_lost(pictures, model, tmp_path):
    file, chance, kept = tmp_path / "r.csv", random.Random(0), 0
    arguments = command(pictures, "--csv", file, "--model", model)
    for _ in range(5):
        goal = kept + chance.randrange(1, 50)  # a moment while rows are being written
        kill_after(arguments, file, goal)
        kept = rows_in(file)
        assert kept >= goal and set(batch.finished(file)[0].values()) == {"ok"}
    assert kept < 300, "none of the kills came in time"
    done = run(pictures, "--csv", file, "--model", model)
    assert done.returncode == 0 and f"{kept:,} had a row already" in done.stdout
    assert sorted(row["file"] for row in rows_of(file)) == sorted(batch.find_pictures([str(pictures)])[0])


def test_a_killed_worker_loses_nothing(pictures, model):
    files, _ = batch.find_pictures([str(pictures)])
    with batch.reader(len(files), str(model)) as read:
        rows = []
        for row in read(files):
            rows.append(row)
            if len(rows) in (20, 150):
                for worker in psutil.Process().children():
                    worker.kill()
    assert sorted(row["file"] for row in rows) == sorted(files)
    assert {row["status"] for row in rows} == {"ok"}
    assert not psutil.Process().children()


def test_a_file_that_kills_its_process_is_an_error_and_the_others_are_read(pictures, model, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "kill = lambda event, args: event == 'open' and str(args[0]).endswith('deadly.png') and os.kill(os.getpid(), 9)\n"
        "sys.addaudithook(kill)\n"
    )
    for name in ("0_deadly.png", "9_deadly.png"):
        (tmp_path / name).write_bytes(encode(seven()))
    done = run(
        tmp_path / "0_deadly.png", pictures, tmp_path / "9_deadly.png", "--json", "--model", model,
        PYTHONPATH=os.pathsep.join([str(paths.ROOT), str(tmp_path)]),
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and done.stderr == "" and len(rows) == 302
    assert [row["status"] for row in rows] == ["error", *["ok"] * 300, "error"]
    assert "died" in rows[0]["reason"]


def test_workers_that_cannot_start_are_told_about(pictures, tmp_path, capsys):
    (tmp_path / "bad.tflite").write_text("not a model")
    assert batch.main([str(pictures), "--model", str(tmp_path / "bad.tflite"), "--csv", str(tmp_path / "r.csv")]) == 2
    assert "bad.tflite" in capsys.readouterr().err and not (tmp_path / "r.csv").exists()


def test_ctrl_c_keeps_what_is_done(pictures, model, tmp_path):
    file = tmp_path / "r.csv"
    process = subprocess.Popen(
        command(pictures, "--csv", file, "--model", model),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: rows_in(file) >= 20)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the whole group
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.strip().startswith("Interrupted: the rows so far are in")
    assert 20 <= rows_in(file) < 300
    assert run(pictures, "--csv", file, "--model", model).returncode == 0
    assert len(rows_of(file)) == 300
