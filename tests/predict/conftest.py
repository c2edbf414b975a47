"""Small networks and folders of pictures for the tests of this room."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import encode

from helpers import data, images
from helpers.data import to_input
from helpers.predict.predictor import Predictor

CLEAR = (3, 2, 1, 18, 4, 15, 11, 0, 61, 7)  # test images of 0 to 9 that every network reads


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
    return Predictor(models / "digits.tflite")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder of 300 small pictures, named so that some need care in a CSV file."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / 'böse, "Namen"').mkdir()
    for i, picture in enumerate(data.load().x_test[:300]):
        name = f'böse, "Namen"/line\nbreak {i}.png' if i % 10 == 0 else f"{i:04}.png"
        (folder / name).write_bytes(encode(picture))
    return folder


@pytest.fixture(scope="session")
def shipped():
    """The shipped network, and what belongs to it."""
    return Predictor()


@pytest.fixture(scope="session")
def digits():
    """A clear digit of each class, cut to its ink: uint8, ink 255, about 80 pixels high."""
    mnist = data.load()
    assert [int(mnist.y_test[i]) for i in CLEAR] == list(range(10))
    drawn = []
    for i in CLEAR:
        large = cv2.GaussianBlur(
            cv2.resize(mnist.x_test[i], None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC), (0, 0), 1
        )
        drawn.append(images.crop(255 * (large > 110).astype(np.uint8)))
    return drawn
