"""The Predictor: right answers, clear refusals."""

import cv2
import numpy as np
import pytest
from commands import encode, seven

from helpers import data, images, predict
from helpers.errors import UserError
from helpers.predict import predictor as reading_module
from helpers.predict.network import IMAGES_PER_PASS


@pytest.mark.parametrize("count", [0, 1, 3, IMAGES_PER_PASS + 7])
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
    monkeypatch.setattr(reading_module, "SURE", sure)
    doubtful = once.max(axis=1) < sure
    assert 0 < doubtful.sum() < 40
    again = predictor.probabilities(x)
    np.testing.assert_allclose(again[~doubtful], once[~doubtful], atol=1e-5)
    views = [predict.softmax(predictor.network(view)[0]) for view in (x, *images.half_pixel_moves(x))]
    np.testing.assert_allclose(again[doubtful], np.mean(views, axis=0)[doubtful], atol=1e-5)
    assert np.abs(again[doubtful] - once[doubtful]).max() > 1e-3


def test_a_reading_is_looked_at_again_too(predictor, monkeypatch):
    monkeypatch.setattr(reading_module, "SURE", 1.1)  # so every image is in doubt
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


def test_the_network_corrects_a_wrong_first_candidate(predictor, monkeypatch):
    digit = data.load().x_test[0]  # a 7
    right, wrong = {"centred 28×28": digit}, {"centred 28×28": 255 - digit}
    monkeypatch.setattr(reading_module, "find_candidates", lambda picture: [wrong, right])
    reading = predictor.read(digit)
    assert reading.text == "7" and reading.steps is right and len(reading.candidates) == 2


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
