"""Compiling and fitting a model. Explained in notebooks/03_baseline_cnn.ipynb."""

import math
from collections.abc import Sequence

import keras
import numpy as np

from helpers.errors import UserError


def cosine_decay(
    learning_rate: float, images: int, batch_size: int, epochs: int
) -> keras.optimizers.schedules.CosineDecay:
    """A learning rate that falls from `learning_rate` to 0 along half a cosine, reaching it at the last step.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without the restarts.
    """
    return keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps=epochs * math.ceil(images / batch_size))


def fit(
    model: keras.Model,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    epochs: int,
    batch_size: int = 128,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
    augmentation: keras.Layer | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Trains `model` with Adam on categorical cross-entropy; returns Keras's history: a list of values a metric.

    `train` and `validation` are (images float32 (N, 28, 28, 1) from 0 to 1, one-hot labels (N, classes)).
    `augmentation` stands in front of the model while it learns and shares its weights; the model itself stays
    without it, so a saved model holds nothing that is only for training.
    Raises UserError if the loss becomes NaN.
    """
    learner = (
        model if augmentation is None else keras.Sequential([keras.Input(model.input_shape[1:]), augmentation, model])
    )
    learner.compile(
        optimizer=keras.optimizers.Adam(learning_rate), loss="categorical_crossentropy", metrics=["accuracy"]
    )
    history = learner.fit(
        *train,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=validation,
        # One large batch after the other: nothing is learned from them, so their size is free.
        validation_batch_size=1000,
        callbacks=[keras.callbacks.TerminateOnNaN(), *callbacks],
        verbose=0,
    ).history
    if not np.isfinite(history["loss"][-1]):
        raise UserError(
            f"Training stopped in epoch {len(history['loss'])}: the loss is not a number; lower the learning rate."
        )
    return {name: [float(value) for value in values] for name, values in history.items()}
