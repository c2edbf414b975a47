"""How accurate, what each idea brings, and how small: python -m benchmarks.accuracy [--only frontier members ablation].

Trains each recipe with several seeds and writes outputs/reference/accuracy.json after every one of them; what is
there already is not trained again, so an interrupted measurement goes on. Some four hours on two cores, of which the
small networks take two and a half. Everything is chosen by the accuracy on validation images; the test images only
score what stands in the tables. The ensembles also need the networks of `make reference`.
"""

import argparse
import dataclasses
import functools
import itertools
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks import peers
from helpers import data, paths
from helpers.console import command
from helpers.data import to_input
from helpers.errors import UserError
from helpers.evaluation.robustness import other_hands
from helpers.files import read_json, write_json
from helpers.images.mnist_form import half_pixel_moves
from helpers.models.networks import answer, block, reference_cnn
from helpers.notebook.run import environment
from tools import recipes, trainings

FILE = paths.REFERENCE / "accuracy.json"

# The reference recipe with one change at a time, on fewer images and in fewer epochs: differences show there as well.
ABLATION_SIZE = 12_000
SHORT = dataclasses.replace(recipes.REFERENCE, epochs=8)
ABLATION = {
    "all": SHORT,
    "without bending and slant": dataclasses.replace(SHORT, warp=SHORT.warp | {"elastic": 0.0, "slant": 0.0}),
    "without any warp": dataclasses.replace(SHORT, warp={}),
    "without stroke and blur": dataclasses.replace(SHORT, stroke={}),
    "without patches": dataclasses.replace(SHORT, patch={}),
    "without noise": dataclasses.replace(SHORT, noise={}),
    "without local contrast": dataclasses.replace(SHORT, network=functools.partial(reference_cnn, local=False)),
    "with label smoothing 0.1": dataclasses.replace(SHORT, label_smoothing=0.1),
    "with averaged weights": dataclasses.replace(SHORT, averaging=0.99),
    "in float32": dataclasses.replace(SHORT, half=False),
}


def tiny_cnn(fused: bool = False) -> keras.Model:
    """A network of 1,930 parameters: depthwise separable convolutions, with 9 + F weights per map instead of 9 F.

    After Sifre, 2014, and Chollet, "Xception", 2017.
    """
    inputs = keras.Input((28, 28, 1))
    x = block(inputs, 8, pool=True, fused=fused)
    for number in range(4):
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = block(x, 16, kernel_size=1, pool=number == 2, fused=fused)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, answer(x, 10), name="tiny_cnn")


# Small networks hardly overfit: they get more epochs, a higher learning rate, little augmentation, no weight decay.
LITTLE = recipes.Recipe(
    tiny_cnn,
    epochs=30,
    peak=0.4,
    weight_decay=0.0,
    warp={"rotation": 7.0, "shift": 0.04, "zoom": 0.08, "slant": 5.0, "elastic": 0.0},
)


def narrow(*filters: int) -> recipes.Recipe:
    """A recipe for the reference network with these numbers of filters and without local contrast."""
    network = functools.partial(reference_cnn, filters=filters, local=False)
    return dataclasses.replace(LITTLE, network=network, batch_size=256, peak=0.6)


FRONTIER = {
    **{name: name for name in peers.NETWORKS},
    "2,000": LITTLE,
    "10,000": narrow(8, 12, 22),
    "35,000": narrow(16, 24, 40),
}
# The ensemble's members beside the seeds of the reference: they see other images or have another architecture, so that
# their mistakes are other ones.
MEMBERS = {
    "only warped": dataclasses.replace(recipes.REFERENCE, epochs=20, stroke={}, patch={}, noise={}, drawn=0.0),
    "without local contrast": dataclasses.replace(
        recipes.REFERENCE, network=functools.partial(reference_cnn, local=False)
    ),
    "narrow": FRONTIER["35,000"],
}
GROUPS = {"frontier": (FRONTIER, 5), "members": (MEMBERS, 1), "ablation": (ABLATION, 3)}  # and their seeds

Recipe = recipes.Recipe | str  # a peer by its name
Item = tuple[str, str, Recipe, int]  # a training: group, name, recipe, seed


@command
def main(argv: list[str] | None = None) -> None:
    """Trains what is missing and prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument(
        "--seeds", type=trainings.at_least_1, help="of each recipe (default: frontier 5, members 1, ablation 3)"
    )
    trainings.add_training_options(parser)
    args = parser.parse_args(argv)
    results = read_json(FILE) if FILE.exists() else {}
    train_missing(args, results)
    if "members" in args.only:
        results["ensemble"] = ensembles(*parts())
        write_json(FILE, results | {"environment": environment()})
        print(f"ensemble: {results['ensemble']['chosen']}")
    for group in args.only:
        print(f"\n{group:40} {'parameters':>10} {'validation':>18} {'test':>18}")
        for name, entry in results.get(group, {}).items():
            rows = entry["seeds"]
            cells = (trainings.percent([row[f"{part}_accuracy"] for row in rows]) for part in ("val", "test"))
            print(f"{name:40} {rows[0]['parameters']:10,}" + "".join(f" {cell:>18}" for cell in cells))


def parts():
    """Training, validation and test images with labels."""
    dataset = data.load()
    return *data.reference_split(dataset), (dataset.x_test, dataset.y_test)


def kept_file(item: Item) -> Path:
    """Where a trained network is kept: for the ensemble, and peers for benchmarks/robustness.py too."""
    group, name, recipe, seed = item
    if isinstance(recipe, str):
        return peers.network_file(recipe, seed)
    return paths.outputs() / "accuracy" / f"{group}-{name.replace(' ', '-').replace(',', '')}-{seed}.keras"


def train_missing(args: argparse.Namespace, results: dict) -> None:
    """Trains each recipe of the groups with the seeds that `results` lacks; adds and writes each as it ends."""
    missing = []
    for group in args.only:
        table, seeds = GROUPS[group]
        # All recipes with a seed before any with the next: an early look then compares them.
        for seed, (name, recipe) in itertools.product(range(args.seeds or seeds), table.items()):
            entry = results.setdefault(group, {}).setdefault(name, {"recipe": plain(recipe), "seeds": []})
            if entry["recipe"] != plain(recipe):  # changed since: its figures mean nothing any more
                entry.update(recipe=plain(recipe), seeds=[])
            item = group, name, recipe, seed
            # A member has to be there as a network too: the ensemble asks it.
            gone = group == "members" and not kept_file(item).exists()
            if gone or seed not in [row["seed"] for row in entry["seeds"]]:
                missing.append(item)
    for item, (row, network) in trainings.train_all(train_and_score, missing, args, parts()):
        group, name, _, seed = item
        file, entry = kept_file(item), results[group][name]
        trainings.write_bytes(file, network)
        rows = [other for other in entry["seeds"] if other["seed"] != seed] + [row]
        entry["seeds"] = sorted(rows, key=lambda row: row["seed"])
        write_json(FILE, results | {"environment": environment()})
        file.with_suffix(".npz").unlink(missing_ok=True)
        print(f"{group}, {name}, seed {seed}: validation {row['val_accuracy']:.2%}", flush=True)


def train_and_score(item: Item, train, validation, test) -> tuple[dict, bytes]:
    """Trains one recipe with one seed on `train`, images and labels as all three: its scores, and the network."""
    tf.config.experimental.enable_op_determinism()
    group, _, recipe, seed = item
    part = data.subset(*train, ABLATION_SIZE, data.SPLIT_SEED) if group == "ablation" else train
    start = time.perf_counter()
    if isinstance(recipe, str):
        model = peers.train(recipe, seed, part)
    else:
        model, _, _ = recipes.train(recipe, part, seed, checkpoint=kept_file(item).with_suffix(".npz"))
    found = {"seed": seed, "train_seconds": time.perf_counter() - start, "parameters": model.count_params()}
    return found | accuracies(model, {"val": validation, "test": test}), trainings.packed(model)


def accuracies(model: keras.Model, seen: dict) -> dict[str, float]:
    """NAME_accuracy of a model for each name in `seen`, which holds images uint8 (N, 28, 28) and their labels."""
    answers = {name: class_probabilities(model, x).argmax(axis=1) for name, (x, _) in seen.items()}
    return {f"{name}_accuracy": float(np.mean(answers[name] == y)) for name, (_, y) in seen.items()}


def class_probabilities(model: keras.Model, x: np.ndarray, moved: bool = False) -> np.ndarray:
    """Class probabilities (N, 10) of images uint8 (N, 28, 28).

    With `moved`, the mean over five views: the images, and their `half_pixel_moves`.
    """
    x = to_input(x)
    views = [x, *half_pixel_moves(x)] if moved else [x]
    return np.mean([model.predict(view, batch_size=1000, verbose=0) for view in views], axis=0)


def ensembles(_, validation, test) -> dict:
    """Each seed of the reference alone, and groups of networks whose probabilities are averaged.

    The seeds differ only by random numbers, the members by design: comparing them tells what the difference is worth.
    Each group also with test-time augmentation, and on other people's digits too. `chosen` is the best on validation
    images. Raises UserError where the networks of `make reference` are missing.
    """
    pattern = trainings.network_file(recipes.REFERENCE.epochs, "*")
    seeds = sorted(pattern.parent.glob(pattern.name))
    if not seeds:
        folder = paths.display(pattern.parent)
        raise UserError(f"{folder} has no trained networks for the ensemble; run make reference first.")
    table, count = GROUPS["members"]
    members = [kept_file(("members", *recipe, seed)) for recipe in table.items() for seed in range(count)]
    groups = {f"seed {number}": [file] for number, file in enumerate(seeds)}
    groups |= {"all seeds": seeds, "one seed and members": seeds[:1] + members, "seeds and members": seeds + members}
    seen = {"val": validation, "test": test, "sklearn_digits": other_hands()}
    networks = {file: keras.models.load_model(file) for file in seeds + members}
    said = {
        (file, part, moved): class_probabilities(network, seen[part][0], moved)
        for file, network in networks.items() for part in seen for moved in (False, True)
    }  # fmt: skip
    rows = []
    for (name, files), moved in itertools.product(groups.items(), (False, True)):
        rows.append({"name": name, "networks": len(files), "moved": moved})
        for part, (_, y) in seen.items():
            together = np.mean([said[file, part, moved] for file in files], axis=0)
            rows[-1][f"{part}_accuracy"] = float(np.mean(together.argmax(axis=1) == y))
    return {"rows": rows, "chosen": max(rows, key=lambda r: r["val_accuracy"])}


def plain(recipe: Recipe) -> dict | str:
    """A recipe as JSON; a peer is its name."""
    if isinstance(recipe, str):
        return recipe
    network = recipe.network
    if isinstance(network, functools.partial):
        name = network.func.__name__ + str(sorted(network.keywords.items()))
    else:
        name = network.__name__
    return dataclasses.asdict(recipe) | {"network": name}


if __name__ == "__main__":
    from benchmarks import accuracy  # by its name, since other processes look its functions up there

    sys.exit(accuracy.main())
