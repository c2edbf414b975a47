"""The networks and recipes that benchmarks compare with, rebuilt from their published descriptions."""

import functools
from pathlib import Path

import keras
import numpy as np
from keras import layers

from helpers import paths
from helpers.data import to_input
from helpers.models.networks import report_cnn


def keras_io() -> keras.Model:
    """keras.io's "Simple MNIST convnet" (Chollet, 2015): 34,826 parameters; Adam, batch 128, dropout 0.5, 15 epochs."""
    conv, pool = functools.partial(layers.Conv2D, kernel_size=3, activation="relu"), layers.MaxPooling2D
    body = [conv(32), pool(), conv(64), pool(), layers.Flatten(), layers.Dropout(0.5)]
    return keras.Sequential([keras.Input((28, 28, 1)), *body, layers.Dense(10, activation="softmax")], name="keras_io")


NETWORKS = {"report": (report_cnn, 10), "keras.io": (keras_io, 15)}  # and their epochs, as published


def network_file(name: str, seed: int) -> Path:
    """Where a peer is kept that was trained, as published, on the training part of `data.reference_split`."""
    return paths.outputs() / "peers" / f"{name}-{NETWORKS[name][1]}-epochs-54000-images-seed-{seed}.keras"


def train(
    name: str, seed: int, part: tuple[np.ndarray, np.ndarray], epochs: int | None = None, callbacks: tuple = ()
) -> keras.Model:
    """A peer trained on `part` (images uint8 (N, 28, 28), labels), as published unless `epochs` says otherwise.

    Both learn with Adam, 128 images at a time.
    """
    build, published = NETWORKS[name]
    keras.utils.set_random_seed(seed)
    model = build()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    x, y = to_input(part[0]), keras.utils.to_categorical(part[1])
    model.fit(x, y, batch_size=128, epochs=epochs or published, verbose=0, callbacks=callbacks)
    return model
