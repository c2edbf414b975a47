"""Compiling and fitting a model. Explained in notebooks/03_baseline_cnn.ipynb and 07_faster_and_better.ipynb."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from helpers import paths
from helpers.errors import UserError
from helpers.files import atomic

Schedule = keras.optimizers.schedules.LearningRateSchedule


def cosine_decay(
    learning_rate: float, images: int, batch_size: int, epochs: int
) -> keras.optimizers.schedules.CosineDecay:
    """A learning rate that falls from `learning_rate` to 0 along half a cosine, reaching it at the last step.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without the restarts.
    """
    return keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps=epochs * math.ceil(images / batch_size))


def one_cycle(
    peak: float, images: int, batch_size: int, epochs: int, warmup: float = 0.2
) -> keras.optimizers.schedules.CosineDecay:
    """A learning rate that rises from near 0 to `peak` in the first part `warmup` of all steps, then falls to 0.

    The rise lets a network survive a peak at which it could not have begun; the high rate then moves fast and keeps
    it out of narrow minima. Smith and Topin, "Super-convergence", 2018, with half a cosine for the fall.
    """
    steps = epochs * math.ceil(images / batch_size)
    rise = round(warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        peak / 25 if rise else peak,
        decay_steps=steps - rise,
        warmup_target=peak if rise else None,
        warmup_steps=rise,
    )


def fit(
    model: keras.Model,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray] | None,
    epochs: int,
    batch_size: int = 128,
    learning_rate: float | Schedule = 1e-3,
    augmentation: keras.Layer | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    optimizer: keras.Optimizer | None = None,
    label_smoothing: float = 0.0,
    checkpoint: Path | None = None,
    seed: int = 0,
    prepare: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> dict[str, list[float]]:
    """Trains `model` on categorical cross-entropy; returns Keras's history: a list of values a metric.

    `train` and `validation` are (images float32 (N, 28, 28, 1) from 0 to 1, one-hot labels (N, classes)). Training
    images may also be uint8, 0 to 255: they are then brought to 0..1 batch by batch, in a quarter of the memory.
    `augmentation` stands in front of the model while it learns and shares its weights; the model itself stays
    without it, so a saved model holds nothing that is only for training.
    The optimizer is Adam with `learning_rate` unless another is given.

    With `checkpoint`, the state of the training is kept in that file after each epoch, and a training that finds
    its file goes on from there, to the same weights as if it had never stopped; `seed` then sets the order of the
    images, which would otherwise not be repeatable from the middle. Delete the file to begin anew. `prepare` changes
    the images of a batch in the input pipeline, beside the training step: it takes images and a seed that is new for
    each batch (see `augment.prepare`).
    Raises UserError if the loss becomes NaN, or the checkpoint is damaged or belongs to another training.
    """
    learner = (
        model if augmentation is None else keras.Sequential([keras.Input(model.input_shape[1:]), augmentation, model])
    )
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    learner.compile(optimizer=optimizer or keras.optimizers.Adam(learning_rate), loss=loss, metrics=["accuracy"])
    settings = {"epochs": epochs, "validation_data": validation, "verbose": 0}
    # One large batch after the other: nothing is learned from them, so their size is free.
    settings |= {"validation_batch_size": 1000} if validation else {}
    # The first callback to see a bad loss ends the training, before the state could be kept.
    watchers = [keras.callbacks.TerminateOnNaN(), *callbacks]
    if checkpoint is None and prepare is None and train[0].dtype != np.uint8:
        history = learner.fit(*train, batch_size=batch_size, callbacks=watchers, **settings).history
    else:
        steps = math.ceil(len(train[0]) / batch_size)
        identity = {"images": len(train[0]), "batch_size": batch_size, "epochs": epochs, "seed": seed}
        keeper = Checkpoint(checkpoint, identity)
        done = keeper.restore(learner)
        batches = shuffled_batches(train, batch_size, seed, done, epochs, prepare)
        settings |= {"initial_epoch": done, "steps_per_epoch": steps, "shuffle": False}
        learner.fit(batches, callbacks=[*watchers, keeper], **settings)
        history = keeper.history
    if not history or not np.isfinite(history["loss"][-1]):
        raise UserError(
            f"Training stopped in epoch {len(history.get('loss', [0]))}: the loss is not a number; "
            "lower the learning rate."
        )
    return {name: [float(value) for value in values] for name, values in history.items()}


def shuffled_batches(
    part: tuple[np.ndarray, np.ndarray],
    batch_size: int,
    seed: int,
    first: int,
    last: int,
    prepare: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
) -> tf.data.Dataset:
    """Batches of the epochs first, …, last - 1; all chance in an epoch follows from `seed` and its number alone.

    Two batches are made ready while the network learns from another, `prepare` included (see `fit`).
    """
    images, labels = (tf.constant(array) for array in part)

    def epoch(number):
        """The batches of one epoch, in an order of its own."""
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=[seed, number])
        rows = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return rows.enumerate().map(lambda step, row: batch(number, tf.cast(step, "int32"), row))

    def batch(number, step, row):
        """Images, prepared, and labels of some rows."""
        chosen = tf.gather(images, row)
        chosen = tf.cast(chosen, "float32") / 255 if chosen.dtype == tf.uint8 else chosen
        return chosen if prepare is None else prepare(chosen, tf.stack([number, step]) + seed), tf.gather(labels, row)

    # int32, since stateless_shuffle wants both parts of its seed of one type
    return tf.data.Dataset.range(first, last, output_type=tf.int32).flat_map(epoch).prefetch(2)


class Checkpoint(keras.callbacks.Callback):
    """Keeps weights, random states, optimizer and history in one file after each epoch, whole or not at all.

    Without a file only the history is kept.
    """

    def __init__(self, file: Path | None, identity: dict[str, int]):
        super().__init__()
        self.file, self.identity, self.history = file and Path(file), identity, {}

    @staticmethod
    def _state(learner: keras.Model) -> list[keras.Variable]:
        # `variables` holds the seeds of dropout and augmentation too, which `weights` leaves out.
        return [*learner.variables, *learner.optimizer.variables]

    def restore(self, learner: keras.Model) -> int:
        """Brings a compiled model to the state in the file, if there is one; returns how many epochs are done."""
        learner.optimizer.build(learner.trainable_variables)
        if self.file is None or not self.file.exists():
            return 0
        name = paths.display(self.file)
        try:
            with np.load(self.file) as stored:
                record, values = json.loads(str(stored["record"])), [stored[key] for key in stored if key != "record"]
        except Exception as error:  # a damaged zip file fails in many ways
            raise UserError(f"{name} is damaged: delete it to begin this training anew.") from error
        variables = self._state(learner)
        if record["identity"] != self.identity or [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            raise UserError(f"{name} belongs to another training: delete it to begin anew.")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.history = record["history"]
        return len(self.history["loss"])

    def on_epoch_end(self, epoch, logs=None):
        """Writes the state, unless the loss is not a number."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self.file is None or not math.isfinite(self.history["loss"][-1]):
            return
        record = json.dumps({"identity": self.identity, "history": self.history})
        values = {f"{i:04d}": np.asarray(v) for i, v in enumerate(self._state(self.model))}
        with atomic(self.file) as partial, open(partial, "wb") as file:
            np.savez(file, record=record, **values)
