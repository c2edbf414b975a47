"""The networks and recipes that benchmarks compare with, rebuilt from their published descriptions."""

import keras
from keras import layers

from helpers import models


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
    model = models.report_cnn()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model
