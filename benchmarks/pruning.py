"""How many weights of the shipped network may be zero: python -m benchmarks.pruning [--seeds 3].

Fine-tunes the shipped network with its own augmentation while more and more of its smallest weights are set to 0 and
kept there (Zhu and Gupta, "To prune, or not to prune", 2017); some five minutes for each sparsity and seed. "0.0" is
the control: as much fine-tuning, no zero. Nothing is chosen by the test images. Each training is kept in
outputs/pruning/ and goes on after an interruption; outputs/reference/pruning.json is written when all are there.
"""

import argparse
import dataclasses
import gzip
import itertools
import sys

import keras
import numpy as np
import tensorflow as tf

from benchmarks.accuracy import parts, plain
from benchmarks.edge import lite_file
from helpers import paths
from helpers.console import command
from helpers.data import to_input
from helpers.evaluation.robustness import other_hands
from helpers.files import read_json, write_json
from helpers.notebook.run import environment
from helpers.training.drawn_digits import draw
from tools import recipes, trainings
from tools.distortions import prepare
from tools.fitting import fit, one_cycle

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
    keras.utils.set_random_seed(seed)
    shipped = keras.models.load_model(paths.REFERENCE / "digits.keras", compile=False)
    keras.mixed_precision.set_global_policy(recipes.fastest_precision() if RECIPE.half else "float32")
    try:
        learner, front = RECIPE.network(fused=True), recipes.augmentation(RECIPE)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    learner.set_weights(shipped.get_weights())
    drawn = draw(round(RECIPE.drawn * len(train[0])), seed)
    x, y = (np.concatenate(both) for both in zip(train, drawn, strict=True))
    rate = one_cycle(RECIPE.peak, len(x), RECIPE.batch_size, RECIPE.epochs)
    learner.compile(
        keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=RECIPE.weight_decay),
        keras.losses.CategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    cut = Prune(sparsity, RECIPE.epochs * -(-len(x) // RECIPE.batch_size))
    checkpoint = paths.outputs() / "pruning" / f"{sparsity}-{seed}.npz"
    part = x[..., None], keras.utils.to_categorical(y, 10)
    fit(learner, part, RECIPE.epochs, RECIPE.batch_size, seed, prepare(front), (cut,), checkpoint)
    prune(learner, sparsity)
    model = RECIPE.network()
    model.set_weights(learner.get_weights())
    weights = np.concatenate([kernel.numpy().ravel() for kernel in kernels(model)])
    file = lite_file(model)
    found = {
        "sparsity": sparsity, "seed": seed, "weights": len(weights), "zeros": float(np.mean(weights == 0)),
        "bytes": len(file), "gzip": len(gzip.compress(file, mtime=0)),
    }  # fmt: skip
    for name, (images, labels) in {"val": validation, "test": test, "sklearn_digits": other_hands()}.items():
        answers = model.predict(to_input(images), batch_size=1000, verbose=0).argmax(axis=1)
        found[f"{name}_accuracy"] = float(np.mean(answers == labels))
    checkpoint.unlink(missing_ok=True)
    return found


@command
def main(argv: list[str] | None = None) -> None:
    """Trains what is missing, writes the file, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pruning", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=trainings.at_least_1, default=3, help="how many (default: 3)")
    trainings.add_training_options(parser)
    args = parser.parse_args(argv)
    path = paths.outputs() / "pruning" / "rows.json"
    before = read_json(path) if path.exists() else {}
    rows = before.get("rows", {}) if before.get("recipe") == plain(RECIPE) else {}
    items = list(itertools.product(SPARSITIES, range(args.seeds)))
    missing = [item for item in items if str(item) not in rows]
    for item, row in trainings.train_all(fine_tune, missing, args, parts()):
        rows[str(item)] = row
        write_json(path, {"recipe": plain(RECIPE), "rows": rows})
        print(f"{item[0]:.0%}, seed {item[1]}: validation {row['val_accuracy']:.2%}", flush=True)
    found = [rows[str(item)] for item in items]
    write_json(FILE, {"recipe": plain(RECIPE), "rows": found} | environment())
    for sparsity in SPARSITIES:
        its = [row for row in found if row["sparsity"] == sparsity]
        figures = (f"{part} {trainings.percent([row[f'{part}_accuracy'] for row in its])}" for part in ("val", "test"))
        print(f"{sparsity:.0%}: {', '.join(figures)}, {its[0]['gzip']:,} bytes packed")


if __name__ == "__main__":
    from benchmarks import pruning as importable  # its functions are looked up by their module in other processes

    sys.exit(importable.main())
