"""One training, along one cycle of the learning rate, which goes on where it was interrupted.

Explained in notebooks/03_baseline_cnn.ipynb and 07_faster_and_better.ipynb.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from helpers import paths
from helpers.errors import UserError
from helpers.files import atomic

Part = tuple[np.ndarray, np.ndarray]  # images and labels
Prepare = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # images and a seed -> images
WARMUP = 0.2  # fraction of all steps during which the learning rate rises


def one_cycle(peak: float, images: int, batch_size: int, epochs: int) -> keras.optimizers.schedules.CosineDecay:
    """A learning rate that rises to `peak` during WARMUP of all steps, then falls to 0.

    The warm-up makes a high peak stable; the high rate then converges fast and avoids narrow minima. Smith and Topin,
    "Super-convergence", 2018, with half a cosine for the fall.
    """
    steps = epochs * math.ceil(images / batch_size)
    rise = round(WARMUP * steps)
    return keras.optimizers.schedules.CosineDecay(peak / 25, steps - rise, warmup_target=peak, warmup_steps=rise)


def fit(
    model: keras.Model, part: Part, epochs: int, batch_size: int, seed: int, prepare: Prepare | None = None,
    callbacks: tuple = (), checkpoint: Path | None = None,
) -> dict[str, list[float]]:  # fmt: skip
    """Trains a compiled model on images uint8 (N, 28, 28, 1) and one-hot labels; returns one value per epoch for each metric.

    `prepare` changes each batch in the input pipeline, in parallel with the training step (see `distortions.prepare`); it
    and the order depend on the seed. The file `checkpoint` keeps the state after each epoch: a training that finds it
    resumes from there and ends with the same weights as without the interruption. Raises UserError if the loss becomes
    NaN, or the checkpoint is damaged or belongs to another training.
    """
    steps = math.ceil(len(part[0]) / batch_size)
    keeper = Checkpoint(checkpoint, {"images": len(part[0]), "batch_size": batch_size, "epochs": epochs, "seed": seed})
    done = keeper.restore(model)
    watchers = [keras.callbacks.TerminateOnNaN(), *callbacks, keeper]
    batches = shuffled_batches(part, batch_size, seed, done, epochs, prepare)
    model.fit(
        batches, epochs=epochs, initial_epoch=done, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=watchers
    )
    losses = keeper.history["loss"]
    if not math.isfinite(losses[-1]):
        raise UserError(f"Training stopped in epoch {len(losses)}: the loss is not a number; lower the learning rate.")
    return keeper.history


def shuffled_batches(
    part: Part, batch_size: int, seed: int, first: int, last: int, prepare: Prepare | None = None
) -> tf.data.Dataset:
    """Batches of the epochs first, …, last - 1, each determined by `seed` and its number; `prepare` changes the images.

    Two batches are prefetched while the network trains on another.
    """
    images, labels = (tf.constant(array) for array in part)

    def epoch(number):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(images)), seed=[seed, number])
        rows = tf.data.Dataset.from_tensor_slices(order).batch(batch_size)
        return rows.enumerate().map(lambda step, row: batch(number, tf.cast(step, "int32"), row))

    def batch(number, step, row):
        chosen = tf.cast(tf.gather(images, row), "float32") / 255
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
