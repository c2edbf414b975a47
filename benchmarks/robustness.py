"""How networks fare on the corruptions of MNIST-C, and how well they know it: python benchmarks/robustness.py [--seeds 3].

Side by side on the test images: the student report's network and keras.io's, trained here as published, and the
reference network, in the seeds that `make reference` keeps, or the shipped one alone. Writes
outputs/reference/robustness.json after each network; trained peers stay in outputs/peers/, so an interrupted
measurement goes on. About a quarter of an hour a seed on two cores. Nothing is chosen here: temperatures are fitted
on validation images, corruptions are the benchmark's. Explained in notebooks/05_evaluation.ipynb.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np

from helpers import data, paths
from helpers.console import quiet_stderr
from helpers.data import SPLIT_SEED, VALIDATION, to_input
from helpers.errors import UserError
from helpers.evaluation import confidence as confidence_
from helpers.evaluation import robustness
from helpers.evaluation.confidence import (
    accuracy_at_coverage,
    calibration,
    confidences,
    error_detection_auroc,
    images_to_human,
    risk_coverage,
    softmax,
)
from helpers.evaluation.metrics import spread
from helpers.files import write_json
from helpers.models.networks import adapt_normalisation
from helpers.notebook.run import environment
from helpers.training import recipes

PEERS = ("report", "keras.io")
ADAPTED = 500  # images at a time whose statistics batch normalisation takes over
ROWS = ("mean", "mean_unseen", "lowest")


def main(argv: list[str] | None = None) -> int:
    """Measures what is asked for, prints the table, writes the file. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="of each network (default: 3)")
    parser.add_argument("--size", type=int, default=10_000, help="test images, at each corruption (default: all)")
    parser.add_argument("--severity-size", type=int, default=2000, help="test images at each severity (default: 2000)")
    parser.add_argument("--epochs", type=int, help="of the peers (default: as published)")
    parser.add_argument(
        "--train-size", type=int, default=54_000, help="images that the peers learn from (default: 54000)"
    )
    parser.add_argument("--target", type=Path, default=paths.REFERENCE / "robustness.json", help="the file to write")
    args = parser.parse_args(argv)
    try:
        if min(args.seeds, args.size, args.severity_size, args.train_size) < 1:
            raise UserError("--seeds and all sizes must be at least 1.")
        with quiet_stderr():
            import tensorflow as tf
        tf.config.experimental.enable_op_determinism()
        found = {}
        for name, seed, model in networks(args):
            found.setdefault(name, []).append({"seed": seed} | measure(model, args))
            settings = {"images": args.size, "images_a_severity": args.severity_size, "images_adapted_to": ADAPTED}
            summaries = {key: summary(rows) for key, rows in found.items()}
            write_json(args.target, settings | {"networks": summaries} | environment())
            print(f"{name}, seed {seed}: mean of 15 {found[name][-1]['accuracy/mean']:.2%}", flush=True)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    report(summaries)
    return 0


def networks(args):
    """Yields (name, seed, model) of each network."""
    import keras

    for seed in range(args.seeds):
        for name in PEERS:
            yield name, seed, peer(name, seed, args)
    kept = paths.outputs() / "reference-training"
    files = {seed: kept / f"{recipes.REFERENCE.epochs}-epochs-seed-{seed}.keras" for seed in range(args.seeds)}
    there = {seed: file for seed, file in files.items() if file.exists()}
    for seed, file in (there or {None: paths.REFERENCE / "digits.keras"}).items():
        yield "reference", seed, keras.models.load_model(file)


def peer(name: str, seed: int, args):
    """A peer, trained as published unless that is done."""
    import peers  # in this folder; imports Keras

    (x, y), _ = split()
    return peers.trained(name, seed, data.subset(x, y, args.train_size, seed), args.epochs)


def split():
    """The training and validation parts that the reference network has as well."""
    dataset = data.load()
    return data.split(dataset.x_train, dataset.y_train, VALIDATION, SPLIT_SEED)


def measure(model, args) -> dict[str, float]:
    """All figures of one network, by names such as accuracy/fog, severity/fog/3, adapted/fog, clean/ece."""
    from helpers.models.networks import open_network

    network = open_network(model)

    def classifier(x):
        return network.predict(x, batch_size=1000, verbose=0)["logits"]

    dataset = data.load()
    x, y = data.subset(dataset.x_test, dataset.y_test, args.size, 0)
    _, (x_val, y_val) = split()
    temperature = confidence_.temperature(classifier(to_input(x_val)), y_val)
    said = robustness.answers({"it": classifier}, x)["it"]
    accuracy = robustness.accuracies(said, y)
    found = {f"accuracy/{key}": value for key, value in (accuracy.to_dict() | robustness.means(accuracy)).items()}
    found |= {"temperature": temperature} | knowing(said, y, temperature)
    few_x, few_y = data.subset(x, y, args.severity_size, 0)
    levels = robustness.answers({"it": classifier}, few_x, robustness.EVERY_SEVERITY)["it"]
    for (name, level), answer in levels.items():
        found[f"severity/{name}/{level}"] = float(np.mean(answer.argmax(axis=1) == few_y))
    if adapted := adaptation(model, x, y):
        found |= {f"adapted/{key}": value for key, value in adapted.items()}
    return found


def knowing(said: dict, y: np.ndarray, temperature: float) -> dict[str, float]:
    """How well a network knows what it knows: clean images, and the mean over the corruptions."""
    clean = said[(robustness.IDENTITY, None)]
    found = {}
    for label, value in (("", temperature), ("_before", 1.0)):
        for place, scores in {
            "clean": calibration(softmax(clean, value), y),
            "corrupted": robustness.mean_calibration(said, y, value),
        }.items():
            found |= {f"{place}/{metric}{label}": score for metric, score in scores.items()}
    right = clean.argmax(axis=1) == y
    for name, confidence in confidences(clean / temperature).items():
        curve = risk_coverage(confidence, right)
        found[f"clean/auroc_{name}"] = error_detection_auroc(confidence, right)
        found[f"clean/accuracy_at_97_{name}"] = accuracy_at_coverage(curve, 0.97)
        found[f"clean/to_human_{name}"] = images_to_human(curve, 0.999) / len(y)
    return found


def adaptation(model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracies with batch normalisation adapted to the corrupted images; nothing where a network has none."""
    import pandas as pd
    from keras.layers import BatchNormalization

    if not any(isinstance(layer, BatchNormalization) for layer in model.layers):
        return {}
    right = {}
    for (name, _), changed in robustness.conditions(x):
        # In random order, so that each part holds all classes; the last, smaller part goes with the one before.
        order = np.random.default_rng(0).permutation(len(x))
        hits = [
            np.asarray(adapt_normalisation(model, changed[part])(changed[part])).argmax(axis=1) == y[part]
            for part in np.array_split(order, max(1, len(x) // ADAPTED))
        ]
        right[name] = float(np.concatenate(hits).mean())
    return right | robustness.means(pd.Series(right))


def summary(rows: list[dict]) -> dict:
    """Mean and standard deviation of each figure over the seeds, and the seeds themselves."""
    names = [name for name in rows[0] if name != "seed"]
    values = {name: [row[name] for row in rows] for name in names}
    return {
        "seeds": [row["seed"] for row in rows],
        "mean": {name: statistics.fmean(v) for name, v in values.items()},
        "sd": {name: statistics.stdev(v) if len(v) > 1 else None for name, v in values.items()},
        "values": values,
    }


def report(summaries: dict) -> None:
    """Prints accuracies by corruption, a column a network, mean ± standard deviation in percent."""
    names = [f"accuracy/{name}" for name, _ in robustness.DEFAULT] + [f"accuracy/{row}" for row in ROWS]
    names += [f"adapted/{row}" for row in ROWS] + ["clean/ece", "corrupted/ece", "clean/auroc_margin"]
    names += ["clean/accuracy_at_97_margin", "clean/to_human_margin"]
    print(f"\n{'(%)':30}" + "".join(f"{name:>18}" for name in summaries))
    for name in names:
        cells = (spread(one["mean"].get(name), one["sd"].get(name)) for one in summaries.values())
        print(f"{name:30}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
