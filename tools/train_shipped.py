"""Trains the shipped network: python -m helpers.reference [--seeds 5].

Each seed trains by the same recipe; what is done is kept in outputs/reference-training/, so an interrupted
command goes on where it stopped, to the same weights. After each seed the best one so far, by its loss on
validation images, is written to outputs/reference/: digits.keras (any Keras loads it), digits.tflite (LiteRT, with
logits and features), calibration.json and gate.npz (fitted by helpers/rejection.py) and digits.json (scores over the
seeds, and what made them). Explained in notebooks/07_faster_and_better.ipynb.
"""

import argparse
import dataclasses
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from helpers import data, paths
from helpers.console import quiet_stderr
from helpers.data import SPLIT_SEED, VALIDATION, to_input
from helpers.errors import UserError
from helpers.evaluation.robustness import other_hands
from helpers.files import atomic, read_json, write_json
from helpers.notebook.run import environment
from helpers.training import recipes
from tools.fit_gate import calibrate

TARGET = paths.REFERENCE


def main(argv: list[str] | None = None) -> int:
    """Trains or finds each seed, then writes the files. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.reference", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many networks to train (default: 5)")
    parser.add_argument("--epochs", type=int, default=recipes.REFERENCE.epochs, help="of each (default: the recipe's)")
    args = parser.parse_args(argv)
    try:
        if args.seeds < 1 or args.epochs < 1:
            raise UserError("--seeds and --epochs must be at least 1.")
        recipe = dataclasses.replace(recipes.REFERENCE, epochs=args.epochs)
        folder = paths.outputs() / "reference-training"
        results = []
        for seed in range(args.seeds):
            results.append(train(recipe, seed, folder))
            write(recipe, results, folder, TARGET)
            row = results[-1]
            print(f"seed {seed}: validation {row['val_accuracy']:.2%}, test {row['test_accuracy']:.2%}", flush=True)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from here.", file=sys.stderr)
        return 130
    print(f"Files in {paths.display(TARGET)}/")
    return 0


def train(recipe: recipes.Recipe, seed: int, folder: Path) -> dict:
    """Trains one seed and scores it, unless that is done; returns its scores."""
    with quiet_stderr():
        import keras
        import tensorflow as tf
    tf.config.experimental.enable_op_determinism()
    name = f"{recipe.epochs}-epochs-seed-{seed}"
    done = folder / f"{name}.json"
    if done.exists():
        return read_json(done)
    dataset = data.load()
    part, validation = data.split(dataset.x_train, dataset.y_train, VALIDATION, SPLIT_SEED)
    model, history, seconds = recipes.train(recipe, part, seed, checkpoint=folder / f"{name}.npz")
    scores = {"seed": seed, "epochs": recipe.epochs, "train_seconds": seconds, "loss": history["loss"][-1]}
    for label, (x, y) in {
        "val": validation,
        "test": (dataset.x_test, dataset.y_test),
        "sklearn_digits": other_hands(),
    }.items():
        probabilities = model.predict(to_input(x), batch_size=1000, verbose=0)
        scores[f"{label}_accuracy"] = float(np.mean(probabilities.argmax(axis=1) == y))
        scores[f"{label}_loss"] = float(keras.losses.sparse_categorical_crossentropy(y, probabilities).numpy().mean())
        if label == "test":
            clean = np.setdiff1d(np.arange(len(y)), data.KNOWN_LABEL_ERRORS)
            scores["test_accuracy_without_label_errors"] = float(np.mean(probabilities.argmax(1)[clean] == y[clean]))
    with atomic(folder / f"{name}.keras") as partial:
        model.save(partial)
    write_json(done, scores)
    return scores


def write(recipe: recipes.Recipe, results: list[dict], folder: Path, target: Path) -> None:
    """Puts the best seed by validation loss, its calibration and gate, and the scores of all into `target`."""
    import keras

    best = min(results, key=lambda row: row["val_loss"])
    source = folder / f"{best['epochs']}-epochs-seed-{best['seed']}.keras"
    model = keras.models.load_model(source)
    dataset = data.load()
    if best is results[-1]:  # else it is there already
        with atomic(target / "digits.keras") as partial:
            shutil.copyfile(source, partial)
        export(model, target / "digits.tflite")
        calibrate(target, *data.split(dataset.x_train, dataset.y_train, VALIDATION, SPLIT_SEED))
    scores = [name for name in best if name not in ("seed", "epochs")]
    settings = dataclasses.asdict(recipe) | {"network": recipe.network.__name__}
    write_json(
        target / "digits.json",
        {
            "shipped_seed": best["seed"],
            "parameters": model.count_params(),
            "mean": {name: statistics.fmean(row[name] for row in results) for name in scores},
            "sd": {name: statistics.stdev(row[name] for row in results) for name in scores}
            if len(results) > 1
            else None,
            "seeds": results,
            "recipe": settings,
            "validation": {"images": VALIDATION, "split_seed": SPLIT_SEED},
            "dataset_sha256": dataset.sha256,
            **environment(),
        },
    )


def export(model, file: Path) -> None:
    """Writes the model for LiteRT, with the named outputs `logits` (N, 10) and `features` (N, F), any N."""
    from helpers.models.networks import open_network

    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        made = Path(folder) / "model.tflite"
        open_network(model).export(made, format="litert", verbose=False)
        with atomic(file) as partial:
            shutil.copyfile(made, partial)


if __name__ == "__main__":
    sys.exit(main())
