"""Makes everything that outputs/reference/ ships for reading digits: python -m tools.train_shipped (= make reference).

Trains the network with several seeds, takes the one with the lowest validation loss, and fits to it, in this order,
temperature and gate (tools/fit_gate.py) and the weights for lines (tools/fit_line_weights.py). Each fitted file holds
the network's SHA-256, so that readers can refuse files that do not belong together. What is done is kept in
outputs/reference-training/, so an interrupted command goes on where it stopped, to the same files. Also writes
digits.json: scores over the seeds, and what made them. Explained in notebooks/07_faster_and_better.ipynb.
"""

import argparse
import dataclasses
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from helpers import data, paths, pool
from helpers.console import command, quiet_stderr
from helpers.data import to_input
from helpers.evaluation.robustness import other_hands
from helpers.files import atomic, read_json, sha256, write_json
from helpers.models.networks import open_network
from helpers.notebook.run import environment
from tools import recipes
from tools.fit_gate import make_gate
from tools.fit_line_weights import make_line_weights
from tools.portable import portable
from tools.trainings import add_training_options, at_least_1, network_file, over_seeds, packed, train_all, write_bytes

TARGET = paths.REFERENCE
NETWORK = ("digits.keras", "digits.tflite")
FITTED = ("gate.npz", "calibration.json", "line_weights.json")  # the threshold after its gate, as `save_gate` does


@command
def main(argv: list[str] | None = None) -> None:
    """Trains the seeds that are missing, fits what belongs to the best network, and ships all of it."""
    parser = argparse.ArgumentParser(prog="python -m tools.train_shipped", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=at_least_1, default=5, help="how many networks to train (default: 5)")
    parser.add_argument("--epochs", type=at_least_1, help="of each training (default: the recipe's)")
    parser.add_argument("--refit", action="store_true", help="only fit gate and line weights anew to what is shipped")
    add_training_options(parser)
    args = parser.parse_args(argv)
    if args.refit:
        folder = paths.outputs() / "reference-training" / "refit"
        shutil.rmtree(folder, ignore_errors=True)
        for name in NETWORK:
            write_bytes(folder / name, (TARGET / name).read_bytes())
    else:
        recipe = dataclasses.replace(recipes.REFERENCE, epochs=args.epochs or recipes.REFERENCE.epochs)
        rows = train_seeds(recipe, args)
        best = min(rows, key=lambda row: row["val_loss"])
        folder = export(network_file(recipe.epochs, best["seed"]))
    fit(folder)
    for name in (*NETWORK, *FITTED):
        write_bytes(TARGET / name, (folder / name).read_bytes())
    if not args.refit:
        write_scores(recipe, rows, best["seed"])
    print(f"Files in {paths.display(TARGET)}/")


def train_seeds(recipe: recipes.Recipe, args: argparse.Namespace) -> list[dict]:
    """Trains each seed that is not kept yet; returns the scores of all."""
    files = [network_file(recipe.epochs, seed) for seed in range(args.seeds)]
    missing = [seed for seed, file in enumerate(files) if not (file.exists() and file.with_suffix(".json").exists())]
    if missing:
        dataset = data.load()
        parts = (*data.reference_split(dataset), (dataset.x_test, dataset.y_test), other_hands())
        for (_, seed), (row, network) in train_all(train_seed, [(recipe, seed) for seed in missing], args, parts):
            write_bytes(files[seed], network)
            write_json(files[seed].with_suffix(".json"), row)
            files[seed].with_suffix(".npz").unlink(missing_ok=True)
            print(f"seed {seed}: validation {row['val_accuracy']:.2%}, test {row['test_accuracy']:.2%}", flush=True)
    return [read_json(file.with_suffix(".json")) for file in files]


def train_seed(item: tuple[recipes.Recipe, int], part, validation, test, others) -> tuple[dict, bytes]:
    """Trains one seed on `part`, images and labels as all four: its scores, and the bytes of its .keras file."""
    tf.config.experimental.enable_op_determinism()
    recipe, seed = item
    checkpoint = network_file(recipe.epochs, seed).with_suffix(".npz")
    model, history, seconds = recipes.train(recipe, part, seed, checkpoint=checkpoint)
    scores = {"seed": seed, "epochs": recipe.epochs, "train_seconds": seconds, "loss": history["loss"][-1]}
    for label, (x, y) in {"val": validation, "test": test, "sklearn_digits": others}.items():
        probabilities = model.predict(to_input(x), batch_size=1000, verbose=0)
        right = probabilities.argmax(axis=1) == y
        scores[f"{label}_accuracy"] = float(np.mean(right))
        scores[f"{label}_loss"] = float(keras.losses.sparse_categorical_crossentropy(y, probabilities).numpy().mean())
        if label == "test":
            clean = np.setdiff1d(np.arange(len(y)), data.KNOWN_LABEL_ERRORS)
            scores["test_accuracy_without_label_errors"] = float(np.mean(right[clean]))
    return scores, packed(model)


def export(source: Path) -> Path:
    """Makes NETWORK of a trained network, in a folder beside it that is returned, unless they are there."""
    folder = source.with_suffix("")
    kept, lite = (folder / name for name in NETWORK)
    content = portable(source.read_bytes())
    if not kept.exists() or kept.read_bytes() != content:
        with atomic(lite) as partial:
            pool.fresh(convert, source, partial)  # in a process that converts but once: equal bytes, so equal hashes
        write_bytes(kept, content)
    return folder


def convert(source: Path, target: Path) -> None:
    """Writes a .keras file for LiteRT, with the named outputs `logits` (N, 10) and `features` (N, F), any N."""
    with quiet_stderr():
        open_network(keras.models.load_model(source)).export(str(target), format="litert", verbose=False)


def fit(folder: Path) -> None:
    """Makes FITTED for the network in a folder, in this order, unless they are there and belong to it."""
    network = sha256(folder / "digits.tflite")
    for name, make in (("calibration.json", make_gate), ("line_weights.json", make_line_weights)):
        file = folder / name
        if not file.exists() or read_json(file).get("network_sha256") != network:
            make(folder)


def write_scores(recipe: recipes.Recipe, rows: list[dict], shipped: int) -> None:
    """Writes digits.json: the scores of all seeds, and what made them."""
    found = over_seeds(rows)
    values = {
        "shipped_seed": shipped,
        "parameters": keras.models.load_model(TARGET / "digits.keras").count_params(),
        "mean": found["mean"],
        "sd": found["sd"],
        "seeds": rows,
        "recipe": dataclasses.asdict(recipe) | {"network": recipe.network.__name__},
        "validation": {"images": data.VALIDATION, "split_seed": data.SPLIT_SEED},
        "dataset_sha256": data.load().sha256,
    }
    write_json(TARGET / "digits.json", values | environment())


if __name__ == "__main__":
    from tools import train_shipped  # by its name, since other processes look its functions up there

    sys.exit(train_shipped.main())
