"""The networks and recipes that benchmarks compare with, rebuilt from their published descriptions."""

import keras
import numpy as np
from keras import layers

from helpers import paths
from helpers.data import to_input
from helpers.files import atomic
from helpers.models.networks import report_cnn


def keras_io() -> keras.Model:
    """keras.io's "Simple MNIST convnet" (Chollet, 2015): 34,826 parameters; Adam, batch 128, dropout 0.5, 15 epochs."""
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ],
        name="keras_io",
    )
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


def report() -> keras.Model:
    """The student report's network, trained as it was: Adam, batch 128, 10 epochs."""
    model = report_cnn()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


NETWORKS = {"report": (report, 10), "keras.io": (keras_io, 15)}  # and their epochs, as published


def trained(name: str, seed: int, part: tuple[np.ndarray, np.ndarray], epochs: int | None = None) -> keras.Model:
    """A peer trained on `part` (images uint8 (N, 28, 28), labels), as published unless `epochs` says otherwise.

    It is kept in outputs/peers/ and not trained again for the same number of images.
    """
    build, published = NETWORKS[name]
    epochs = epochs or published
    file = paths.outputs() / "peers" / f"{name}-{epochs}-epochs-{len(part[0])}-images-seed-{seed}.keras"
    if file.exists():
        return keras.models.load_model(file)
    keras.utils.set_random_seed(seed)
    model = build()
    x, y = to_input(part[0]), keras.utils.to_categorical(part[1])
    model.fit(x, y, batch_size=128, epochs=epochs, verbose=0)
    with atomic(file) as partial:
        model.save(partial)
    return model
