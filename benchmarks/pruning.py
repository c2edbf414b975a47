"""How many weights of the shipped network may be zero: python -m benchmarks.pruning [--seeds 3].

Fine-tunes the shipped network with its own augmentation; after every step more and more of its smallest weights are
set to 0 (Zhu and Gupta, "To prune, or not to prune", 2017); some five minutes for each sparsity and seed. "0.0" is
the control: as much fine-tuning, no zero. Nothing is chosen by the test images. Each training is kept in
outputs/pruning/ and goes on after an interruption; outputs/reference/pruning.json is written when all are there.
"""

import argparse
import dataclasses
import gzip
import itertools
import math
import sys

import keras
import numpy as np
import tensorflow as tf

from benchmarks.accuracy import accuracies, parts, plain
from benchmarks.edge import lite_file
from helpers import paths
from helpers.console import command
from helpers.evaluation.robustness import other_hands
from helpers.files import write_json
from helpers.notebook.run import environment
from tools import recipes, trainings

FILE = paths.REFERENCE / "pruning.json"
SPARSITIES = (0.0, 0.9, 0.95, 0.97)
RECIPE = dataclasses.replace(recipes.REFERENCE, epochs=6, peak=0.02)
GROWING = 0.5  # of all steps, during which the share of zeros rises


class Prune(keras.callbacks.Callback):
    """Sets the smallest weights of all kernels to 0 after every step, along a cubic up to `sparsity`."""

    def __init__(self, sparsity: float, steps: int):
        super().__init__()
        self.sparsity, self.steps = sparsity, steps

    def on_train_batch_end(self, batch, logs=None):
        """Prunes as much as is due at this step."""
        done = min(1.0, int(self.model.optimizer.iterations) / (GROWING * self.steps))
        prune(self.model, self.sparsity * (1 - (1 - done) ** 3))


def kernels(model: keras.Model) -> list[keras.Variable]:
    """The weights of convolutions and dense layers, without biases and normalisation."""
    return [weight for weight in model.trainable_weights if weight.name == "kernel"]


def prune(model: keras.Model, share: float) -> None:
    """Sets a share of all weights in kernels to 0, those of the smallest magnitude."""
    values = [kernel.numpy() for kernel in kernels(model)]
    sizes = np.concatenate([np.abs(value).ravel() for value in values])
    zeros = round(share * len(sizes))
    if not zeros:
        return
    threshold = np.partition(sizes, zeros - 1)[zeros - 1]
    for kernel, value in zip(kernels(model), values, strict=True):
        kernel.assign(np.where(np.abs(value) <= threshold, 0, value))


def fine_tune(item: tuple[float, int], train, validation, test) -> dict:
    """Prunes to one sparsity with one seed: the share of zeros, bytes packed and not, and what the network is worth."""
    tf.config.experimental.enable_op_determinism()
    sparsity, seed = item
    shipped = keras.models.load_model(paths.REFERENCE / "digits.keras", compile=False).get_weights()
    images = len(train[0]) + round(RECIPE.drawn * len(train[0]))
    cut = Prune(sparsity, RECIPE.epochs * math.ceil(images / RECIPE.batch_size))
    checkpoint = paths.outputs() / "pruning" / f"{sparsity}-{seed}.npz"
    model, _, _ = recipes.train(RECIPE, train, seed, checkpoint, (cut,), shipped)
    weights = np.concatenate([kernel.numpy().ravel() for kernel in kernels(model)])
    file = lite_file(model)
    found = {
        "sparsity": sparsity, "seed": seed, "weights": len(weights), "zeros": float(np.mean(weights == 0)),
        "bytes": len(file), "gzip": len(gzip.compress(file, mtime=0)),
    }  # fmt: skip
    found |= accuracies(model, {"val": validation, "test": test, "sklearn_digits": other_hands()})
    checkpoint.unlink(missing_ok=True)
    return found


@command
def main(argv: list[str] | None = None) -> None:
    """Trains what is missing, writes the file, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=trainings.at_least_1, default=3, help="how many (default: 3)")
    trainings.add_training_options(parser)
    args = parser.parse_args(argv)
    items = list(itertools.product(SPARSITIES, range(args.seeds)))
    kept = paths.outputs() / "pruning" / "rows.json"
    found = trainings.train_kept(kept, plain(RECIPE), fine_tune, items, args, parts())
    write_json(FILE, {"recipe": plain(RECIPE), "rows": found} | environment())
    for sparsity in SPARSITIES:
        its = [row for row in found if row["sparsity"] == sparsity]
        figures = (f"{part} {trainings.percent([row[f'{part}_accuracy'] for row in its])}" for part in ("val", "test"))
        print(f"{sparsity:.0%}: {', '.join(figures)}, {its[0]['gzip']:,} bytes packed")


if __name__ == "__main__":
    from benchmarks import pruning as importable  # its functions are looked up by their module in other processes

    sys.exit(importable.main())
