"""How networks fare on the corruptions of MNIST-C, and how well they know it: python -m benchmarks.robustness.

Side by side on the test images: the student report's network and keras.io's, trained here as published, and the
reference network, in the seeds that `make reference` keeps, or the shipped one alone. Writes
outputs/reference/robustness.json after each network; trained peers stay in outputs/peers/, so an interrupted
measurement trains none of them again. About a quarter of an hour per seed on two cores. Nothing is chosen here:
temperatures are fitted on validation images, corruptions are the benchmark's. Explained in notebooks/08_robustness.ipynb.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from keras.layers import BatchNormalization
from sklearn.metrics import roc_auc_score

from benchmarks import mnist_c, peers
from benchmarks.accuracy import parts
from helpers import data, paths
from helpers.console import command
from helpers.data import to_input
from helpers.evaluation import confidence, robustness
from helpers.evaluation.seeds import spread
from helpers.files import write_json
from helpers.models.networks import adapt_normalisation, open_network
from helpers.notebook.run import environment
from helpers.predict.confidence import softmax
from tools import fit_gate, recipes, trainings

SIZE, SEVERITY_SIZE = 10_000, 2000  # test images at each corruption, and at each severity
ADAPTED = 500  # images at a time whose statistics batch normalisation takes over
ROWS = ("mean", "mean_unseen", "lowest")
COVERAGE, HUMAN = 0.97, 0.999  # share of images answered; accuracy to reach by sending the others to a human

# A network to measure: its name, its seed (None for the shipped one), and its .keras file unless it is to be trained.
Contestant = tuple[str, int | None, bytes | None]


@command
def main(argv: list[str] | None = None) -> None:
    """Measures what is asked for, writes the file, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.robustness", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=trainings.at_least_1, default=3, help="of each network (default: 3)")
    parser.add_argument("--target", type=Path, default=paths.REFERENCE / "robustness.json", help="the file to write")
    trainings.add_training_options(parser)
    args = parser.parse_args(argv)
    settings = {"images": SIZE, "images_a_severity": SEVERITY_SIZE, "images_adapted_to": ADAPTED}
    found, summaries = defaultdict(list), {}
    asked = contestants(args.seeds)
    for (name, seed, _), (row, network) in trainings.train_all(train_and_measure, asked, args, parts()):
        if name in peers.NETWORKS:
            trainings.write_bytes(peers.network_file(name, seed), network)
        found[name] = sorted([*found[name], {"seed": seed} | row], key=lambda row: row["seed"] or 0)
        summaries[name] = {"seeds": [row["seed"] for row in found[name]]} | trainings.over_seeds(found[name])
        write_json(args.target, settings | {"networks": summaries} | environment())
        print(f"{name}, seed {seed}: mean of 15 {row['accuracy/mean']:.2%}", flush=True)
    report({name: summaries[name] for name in (*peers.NETWORKS, "reference") if name in summaries})


def contestants(seeds: int) -> Iterator[Contestant]:
    """The networks to measure: peers and reference, the shipped one where no seed of the reference is kept."""
    for seed in range(seeds):
        for name in peers.NETWORKS:
            file = peers.network_file(name, seed)
            yield name, seed, file.read_bytes() if file.exists() else None
    files = {seed: trainings.network_file(recipes.REFERENCE.epochs, seed) for seed in range(seeds)}
    kept = {seed: file for seed, file in files.items() if file.exists()}
    for seed, file in (kept or {None: paths.REFERENCE / "digits.keras"}).items():
        yield "reference", seed, file.read_bytes()


def train_and_measure(one: Contestant, train, validation, test) -> tuple[dict, bytes]:
    """Trains a peer unless it is there, and measures it: the figures of `measure`, and the network."""
    tf.config.experimental.enable_op_determinism()
    name, seed, network = one
    model = trainings.unpacked(network) if network else peers.train(name, seed, train)
    return measure(model, validation, test), trainings.packed(model)


def measure(model, validation, test) -> dict[str, float]:
    """All figures of one network, by names such as accuracy/fog, severity/fog/3, adapted/fog, clean/ece."""
    network = open_network(model)

    def classifier(x):
        return network.predict(x, batch_size=1000, verbose=0)["logits"]

    x, y = data.subset(*test, SIZE, 0)
    scale = fit_gate.temperature(classifier(to_input(validation[0])), validation[1])
    said = {condition: classifier(changed) for condition, changed in mnist_c.conditions(x)}
    accuracy = pd.Series({name: float(np.mean(answer.argmax(axis=1) == y)) for (name, _), answer in said.items()})
    found = {f"accuracy/{key}": value for key, value in (accuracy.to_dict() | robustness.means(accuracy)).items()}
    found |= {"temperature": scale} | knowing(said, y, scale)
    few_x, few_y = data.subset(x, y, SEVERITY_SIZE, 0)
    for (name, level), changed in mnist_c.conditions(few_x, mnist_c.EVERY_SEVERITY):
        found[f"severity/{name}/{level}"] = float(np.mean(classifier(changed).argmax(axis=1) == few_y))
    return found | {f"adapted/{key}": value for key, value in adaptation(model, x, y).items()}


def knowing(said: dict, y: np.ndarray, temperature: float) -> dict[str, float]:
    """How well a network knows what it knows: clean images, and the mean over the corruptions."""
    clean = said[(robustness.IDENTITY, None)]
    found = {}
    for label, value in (("", temperature), ("_before", 1.0)):
        for place, scores in {
            "clean": mnist_c.calibration(softmax(clean, value), y),
            "corrupted": mnist_c.mean_calibration(said, y, value),
        }.items():
            found |= {f"{place}/{metric}{label}": score for metric, score in scores.items()}
    right = clean.argmax(axis=1) == y
    for name, certainty in mnist_c.confidences(clean / temperature).items():
        curve = confidence.risk_coverage(certainty, right)
        # The probability that a right answer is more confident than a wrong one: 0.5 is chance level.
        found[f"clean/auroc_{name}"] = float(roc_auc_score(right, certainty))
        found[f"clean/accuracy_at_97_{name}"] = confidence.accuracy_at_coverage(curve, COVERAGE)
        found[f"clean/to_human_{name}"] = confidence.images_to_human(curve, HUMAN) / len(y)
    return found


def adaptation(model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracies with batch normalisation adapted to the corrupted images; nothing where a network has none."""
    if not any(isinstance(layer, BatchNormalization) for layer in model.layers):
        return {}
    right = {}
    for (name, _), changed in mnist_c.conditions(x):
        # In random order, so that each part holds all classes; the last, smaller part goes with the one before.
        order = np.random.default_rng(0).permutation(len(x))
        hits = [
            np.asarray(adapt_normalisation(model, changed[part])(changed[part])).argmax(axis=1) == y[part]
            for part in np.array_split(order, max(1, len(x) // ADAPTED))
        ]
        right[name] = float(np.concatenate(hits).mean())
    return right | robustness.means(pd.Series(right))


def report(summaries: dict) -> None:
    """Prints accuracies by corruption, one column per network, mean ± standard deviation in percent."""
    names = [f"accuracy/{name}" for name, _ in mnist_c.DEFAULT] + [f"accuracy/{row}" for row in ROWS]
    names += [f"adapted/{row}" for row in ROWS] + ["clean/ece", "corrupted/ece", "clean/auroc_margin"]
    names += ["clean/accuracy_at_97_margin", "clean/to_human_margin"]
    print(f"\n{'(%)':30}" + "".join(f"{name:>18}" for name in summaries))
    for name in names:
        cells = (spread(one["mean"].get(name), one["sd"].get(name)) for one in summaries.values())
        print(f"{name:30}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    from benchmarks import robustness as importable  # its functions are looked up by their module in other processes

    sys.exit(importable.main())
