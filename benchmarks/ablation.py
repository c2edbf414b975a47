"""What dropout, batch normalisation and augmentation bring: python -m benchmarks.ablation [--seeds 3].

Trains the network of notebook 03 with each of them left out, the plain network, and the student report's as
published; some minutes of one core for each. Accuracies are of validation images and of MNIST-C's corruptions.
Each training is kept in outputs/ablation/, so that an interrupted measurement goes on, and what is shipped counts too;
outputs/reference/ablation.json, which notebooks/03_baseline_cnn.ipynb and 08_robustness.ipynb read, is written when all
of them are there.
"""

import argparse
import math
import sys

import keras
import numpy as np
import tensorflow as tf

from benchmarks import mnist_c
from benchmarks.accuracy import parts
from helpers import paths
from helpers.console import command
from helpers.data import to_input
from helpers.evaluation.robustness import IDENTITY
from helpers.evaluation.seeds import spread
from helpers.files import read_json, write_json
from helpers.models import augment
from helpers.models.networks import baseline_cnn, report_cnn
from helpers.notebook.run import environment
from tools import trainings

FILE = paths.REFERENCE / "ablation.json"
EPOCHS, BATCH_SIZE, RATE = 10, 128, 0.002  # of notebook 03
CORRUPTED = 1000  # test images per corruption
VARIANTS = {
    "baseline": {},
    "without dropout": {"dropout": 0.0},
    "without batch norm": {"batch_norm": False},
    "without augmentation": {"augmented": False},
    "plain": {"dropout": 0.0, "batch_norm": False, "augmented": False},
    "report": None,  # the plain network with Adam as Keras has it, not decaying
}


def train_and_measure(item: str, train, validation, test) -> dict[str, float]:
    """Figures of VARIANT/SEED, as fractions: accuracy and val_accuracy at the end, mnist_c/NAME."""
    name, seed = item.split("/")
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(int(seed))
    (x, y), (x_val, y_val) = ((to_input(x), keras.utils.to_categorical(y, 10)) for x, y in (train, validation))
    if name == "report":
        model, front, rate = report_cnn(), [], 0.001
    else:
        settings = dict(VARIANTS[name])
        augmented = settings.pop("augmented", True)
        model = baseline_cnn(**settings)
        front = [augment.augmentation(noise=0.02)] if augmented else []
        rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * math.ceil(len(x) / BATCH_SIZE))
    learner = keras.Sequential([keras.Input((28, 28, 1)), *front, model])
    learner.compile(keras.optimizers.Adam(rate), "categorical_crossentropy", metrics=["accuracy"])
    learner.fit(x, y, BATCH_SIZE, EPOCHS, verbose=0)
    found = {"val_accuracy": learner.evaluate(x_val, y_val, 1000, verbose=0, return_dict=True)["accuracy"]}
    found["accuracy"] = learner.evaluate(x, y, 1000, verbose=0, return_dict=True)["accuracy"]  # no dropout, no changes
    images, labels = (part[:CORRUPTED] for part in test)
    for (condition, _), changed in mnist_c.conditions(images):
        found[f"mnist_c/{condition}"] = float(np.mean(model.predict(changed, 1000, verbose=0).argmax(1) == labels))
    corrupted = [found[f"mnist_c/{name}"] for name, _ in mnist_c.DEFAULT if name != IDENTITY]
    return found | {"mnist_c/mean": float(np.mean(corrupted))}


def summary(rows: list[dict]) -> dict:
    """Mean and standard deviation of each figure over the seeds, those of MNIST-C in a table of their own."""
    found = trainings.over_seeds(rows)
    figures = {name: {"mean": found["mean"][name], "sd": found["sd"][name]} for name in found["mean"]}
    own = {name: figure for name, figure in figures.items() if "/" not in name}
    return own | {"mnist_c": {name.split("/")[1]: figure for name, figure in figures.items() if "/" in name}}


@command
def main(argv: list[str] | None = None) -> None:
    """Trains what is missing, writes the file, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=trainings.at_least_1, default=3, help="of each variant (default: 3)")
    trainings.add_training_options(parser)
    args = parser.parse_args(argv)
    kept, recipe = paths.outputs() / "ablation" / "rows.json", [VARIANTS, EPOCHS, BATCH_SIZE, RATE]
    if FILE.exists() and not kept.exists():
        before = read_json(FILE)
        write_json(kept, {"recipe": before.get("recipe", recipe), "rows": before["rows"]})
    items = [f"{name}/{seed}" for seed in range(args.seeds) for name in VARIANTS]
    split = parts()
    found = trainings.train_kept(kept, recipe, train_and_measure, items, args, split)
    rows = dict(zip(items, found, strict=True))
    variants = {name: summary([rows[f"{name}/{seed}"] for seed in range(args.seeds)]) for name in VARIANTS}
    counts = {"recipe": recipe, "seeds": args.seeds, "images": CORRUPTED, "train_images": len(split[0][0])}
    write_json(FILE, counts | {"variants": variants, "rows": rows} | environment())
    for name, variant in variants.items():
        cells = [variant["accuracy"], variant["val_accuracy"], *(variant["mnist_c"][c] for c in ("fog", "mean"))]
        print(f"{name:24}" + "".join(f"{spread(cell['mean'], cell['sd']):>18}" for cell in cells))


if __name__ == "__main__":
    from benchmarks import ablation as importable  # its functions are looked up by their module in other processes

    sys.exit(importable.main())
