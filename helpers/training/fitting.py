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

Part = tuple[np.ndarray, np.ndarray]  # images and labels
Schedule = keras.optimizers.schedules.LearningRateSchedule
Prepare = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # images and a seed -> images


def cosine_decay(learning_rate: float, images: int, batch_size: int, epochs: int) -> Schedule:
    """A learning rate that falls from `learning_rate` to 0 at the last step, along half a cosine.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, without the restarts.
    """
    return keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps=epochs * math.ceil(images / batch_size))


def one_cycle(peak: float, images: int, batch_size: int, epochs: int, warmup: float = 0.2) -> Schedule:
    """A learning rate that rises to `peak` during the fraction `warmup` of all steps, then falls to 0.

    The warm-up makes a high peak stable; the high rate then converges fast and avoids narrow minima. Smith and Topin,
    "Super-convergence", 2018, with half a cosine for the fall.
    """
    steps = epochs * math.ceil(images / batch_size)
    rise = round(warmup * steps)
    if not rise:
        return keras.optimizers.schedules.CosineDecay(peak, steps)
    return keras.optimizers.schedules.CosineDecay(peak / 25, steps - rise, warmup_target=peak, warmup_steps=rise)


def fit(
    model: keras.Model,
    train: Part,
    validation: Part | None,
    epochs: int,
    batch_size: int = 128,
    optimizer: float | Schedule | keras.Optimizer = 1e-3,
    augmentation: keras.Layer | Prepare | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    label_smoothing: float = 0.0,
    checkpoint: Path | None = None,
    seed: int = 0,
) -> dict[str, list[float]]:
    """Compiles and trains `model` on categorical cross-entropy.

    Args:
        train: images float32 (N, 28, 28, 1), 0..1, or uint8, 0..255, scaled batch by batch to save memory; one-hot labels.
        validation: the same, float32 only; None for none.
        optimizer: a Keras optimizer, or the learning rate of Adam.
        augmentation: a layer, put in front of the model during training only, or a function of images and a seed that
            changes each batch in the input pipeline, in parallel with the training step (see `augment.prepare`).
        checkpoint: file that keeps the state after each epoch. A training that finds its file resumes from there and
            ends with the same weights as without the interruption; delete the file to start again.
        seed: of the order of images, with a checkpoint, uint8 images or a function as augmentation; else Keras's own.

    Returns:
        Keras's history: a list with one value per epoch for each metric.

    Raises:
        UserError: if the loss becomes NaN, or the checkpoint is damaged or belongs to another training.
    """
    learner, prepare = model, augmentation
    if isinstance(augmentation, keras.Layer):
        learner, prepare = keras.Sequential([keras.Input(model.input_shape[1:]), augmentation, model]), None
    if not isinstance(optimizer, keras.Optimizer):
        optimizer = keras.optimizers.Adam(optimizer)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    learner.compile(optimizer, loss=loss, metrics=["accuracy"])
    settings = {"epochs": epochs, "validation_data": validation, "verbose": 0}
    settings |= {"validation_batch_size": 1000} if validation else {}  # without gradients, large batches are faster
    # First, so that a bad loss ends the training before the state is saved.
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
        epoch = len(history.get("loss", [0]))
        raise UserError(f"Training stopped in epoch {epoch}: the loss is not a number; lower the learning rate.")
    return {name: [float(value) for value in values] for name, values in history.items()}


def shuffled_batches(
    part: Part, batch_size: int, seed: int, first: int, last: int, prepare: Prepare | None = None
) -> tf.data.Dataset:
    """Batches of the epochs first, …, last - 1, each determined by `seed` and its number; `prepare` changes the images.

    Two batches are prefetched while the network trains on another.
    """
    images, labels = (tf.constant(array) for array in part)

    def epoch(number):
        """The batches of an epoch, in an order that its number and the seed decide."""
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=[seed, number])
        rows = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return rows.enumerate().map(lambda step, row: batch(number, tf.cast(step, "int32"), row))

    def batch(number, step, row):
        """The images and labels of some rows, prepared."""
        chosen = tf.gather(images, row)
        chosen = tf.cast(chosen, "float32") / 255 if chosen.dtype == tf.uint8 else chosen
        return chosen if prepare is None else prepare(chosen, tf.stack([number, step]) + seed), tf.gather(labels, row)

    # int32, since both parts of the seed of stateless_shuffle must have the same type
    return tf.data.Dataset.range(first, last, output_type=tf.int32).flat_map(epoch).prefetch(2)


class Checkpoint(keras.callbacks.Callback):
    """Saves weights, random states, optimizer and history after each epoch; without a file, keeps only the history."""

    def __init__(self, file: Path | None, identity: dict[str, int]):
        super().__init__()
        self.file, self.identity, self.history = file and Path(file), identity, {}

    @staticmethod
    def _state(learner: keras.Model) -> list[keras.Variable]:
        # Unlike `weights`, `variables` includes the seeds of dropout and augmentation.
        return [*learner.variables, *learner.optimizer.variables]

    def restore(self, learner: keras.Model) -> int:
        """Restores a compiled model from the file, if there is one; returns the number of finished epochs."""
        learner.optimizer.build(learner.trainable_variables)
        if self.file is None or not self.file.exists():
            return 0
        name = paths.display(self.file)
        try:
            with np.load(self.file) as stored:
                record, values = json.loads(str(stored["record"])), [stored[key] for key in stored if key != "record"]
        except Exception as error:  # a damaged zip file raises many types
            raise UserError(f"{name} is damaged: delete it to start this training again.") from error
        variables = self._state(learner)
        if record["identity"] != self.identity or [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            raise UserError(f"{name} belongs to another training: delete it to start again.")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.history = record["history"]
        return len(self.history["loss"])

    def on_epoch_end(self, epoch, logs=None):
        """Writes the state, unless the loss is NaN."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self.file is None or not math.isfinite(self.history["loss"][-1]):
            return
        record = json.dumps({"identity": self.identity, "history": self.history})
        values = {f"{i:04d}": np.asarray(v) for i, v in enumerate(self._state(self.model))}
        with atomic(self.file) as partial, open(partial, "wb") as file:
            np.savez(file, record=record, **values)
