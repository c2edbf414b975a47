"""How accurate, what each idea brings, and how small: python benchmarks/accuracy.py [--only ablation frontier members].

Trains each recipe with several seeds and writes outputs/reference/accuracy.json after every one of them; what is
there already is not trained again, so an interrupted measurement goes on. Hours on two cores. Everything is
chosen by the accuracy on validation images; the test images are looked at once a network.
"""

import argparse
import dataclasses
import functools
import sys
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from helpers import data, evaluation, images, models, paths, recipes, runs
from helpers.lite import quiet_stderr
from helpers.reference import SPLIT_SEED, VALIDATION

FILE = paths.REFERENCE / "accuracy.json"
FOLDER = paths.outputs() / "accuracy"  # trained networks, for the ensemble

# One change at a time to the reference recipe, on fewer images and in fewer epochs: differences show there as well.
ABLATION_SIZE = 12_000
SHORT = dataclasses.replace(recipes.REFERENCE, epochs=4)
ABLATION = {
    "all": SHORT,
    "without bending and slant": dataclasses.replace(SHORT, warp=SHORT.warp | {"elastic": 0.0, "slant": 0.0}),
    "without any warp": dataclasses.replace(SHORT, warp={}),
    "without stroke and blur": dataclasses.replace(SHORT, stroke={}),
    "without patches": dataclasses.replace(SHORT, patch={}),
    "without noise": dataclasses.replace(SHORT, noise={}),
    "without local contrast": dataclasses.replace(SHORT, network=functools.partial(models.reference_cnn, local=False)),
    "with label smoothing 0.1": dataclasses.replace(SHORT, label_smoothing=0.1),
    "with averaged weights": dataclasses.replace(SHORT, averaging=0.99),
    "in float32": dataclasses.replace(SHORT, half=False),
}
# Small networks cannot learn by heart: they get more time, hardly any augmentation, and no decay of their weights.
LITTLE = recipes.Recipe(
    models.tiny_cnn,
    epochs=20,
    peak=0.1,
    weight_decay=0.0,
    warp={"rotation": 7.0, "shift": 0.04, "zoom": 0.08, "slant": 5.0, "elastic": 0.0},
)


def narrow(*filters: int) -> recipes.Recipe:
    """The recipe of the reference network with so many filters, without local contrast."""
    return dataclasses.replace(LITTLE, network=functools.partial(models.reference_cnn, filters=filters, local=False))


FRONTIER = {"2,000": LITTLE, "10,000": narrow(8, 12, 22), "35,000": narrow(16, 24, 40)}
# Members of the ensemble differ in what they see and in how they are built, so that they fail at different images.
MEMBERS = {
    "without local contrast, patches, noise": dataclasses.replace(
        recipes.REFERENCE, network=functools.partial(models.reference_cnn, local=False), patch={}, noise={}
    ),
    "wide, bent more": dataclasses.replace(
        recipes.REFERENCE,
        epochs=12,
        network=functools.partial(models.reference_cnn, filters=(48, 96, 128)),
        warp=recipes.REFERENCE.warp | {"elastic": 1.0},
        patch={},
    ),
}
GROUPS = {"ablation": (ABLATION, 3), "frontier": (FRONTIER, 5), "members": (MEMBERS, 1)}
MOVES = ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))  # test-time augmentation: as it is, and a pixel to each side


def parts():
    """Training, validation and test images with labels."""
    dataset = data.load()
    train, validation = data.split(dataset.x_train, dataset.y_train, VALIDATION, SPLIT_SEED)
    return train, validation, (dataset.x_test, dataset.y_test)


def measure(recipe: recipes.Recipe, seed: int, file: Path, size: int) -> dict:
    """Trains once on `size` images, scores on validation and test images, and saves the network as `file`."""
    train, validation, test = parts()
    part = data.subset(*train, size, SPLIT_SEED)
    state = file.with_suffix(".npz")
    model, _, seconds = recipes.train(recipe, part, seed, checkpoint=state)
    found = {"seed": seed, "train_seconds": seconds, "parameters": model.count_params()}
    for name, (x, y) in {"val": validation, "test": test}.items():
        found[f"{name}_accuracy"] = float(np.mean(answers(model, x).argmax(axis=1) == y))
    with runs.atomic(file) as partial:
        model.save(partial)
    state.unlink(missing_ok=True)
    return found


def answers(model, x: np.ndarray, moves=MOVES[:1]) -> np.ndarray:
    """Class probabilities (N, 10) of images uint8 (N, 28, 28), averaged over copies moved by some pixels."""
    views = [images.to_input(np.roll(x, move, axis=(1, 2))) for move in moves]
    return np.mean([model.predict(view, batch_size=1000, verbose=0) for view in views], axis=0)


def ensembles() -> dict:
    """Networks that answer together, by the mean of their probabilities; each also with test-time augmentation.

    The five seeds of the reference differ by chance alone, the members by design: their comparison tells what the
    difference is worth. What is best on validation images is looked at on the test images too.
    """
    import keras

    _, validation, test = parts()
    seeds = sorted((paths.outputs() / "reference-training").glob(f"{recipes.REFERENCE.epochs}-epochs-seed-*.keras"))
    members = sorted(FOLDER.glob("members-*.keras"))
    groups = {
        "one network": [paths.REFERENCE / "digits.keras"],
        "seeds": seeds[: 1 + len(members)],
        "members": [paths.REFERENCE / "digits.keras", *members],
        "seeds and members": seeds + members,
    }
    seen = {"val": validation, "test": test}
    networks = {file: keras.models.load_model(file) for files in groups.values() for file in files}
    said = {
        (file, part, len(moves)): answers(network, seen[part][0], moves)
        for file, network in networks.items() for part in seen for moves in (MOVES[:1], MOVES)
    }  # fmt: skip

    def accuracy(files, part, moves):
        together = np.mean([said[file, part, moves] for file in files], axis=0)
        return float(np.mean(together.argmax(axis=1) == seen[part][1]))

    rows = [
        {"networks": len(files), "moves": moves, "name": name, "val_accuracy": accuracy(files, "val", moves)}
        for name, files in groups.items() for moves in (1, len(MOVES))
    ]  # fmt: skip
    for row in rows:
        if row["moves"] == 1 or row is max(rows, key=lambda r: r["val_accuracy"]):
            row["test_accuracy"] = accuracy(groups[row["name"]], "test", row["moves"])
    return {"rows": rows, "chosen": max(rows, key=lambda r: r["val_accuracy"])}


def main() -> int:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--seeds", type=int, help="of each recipe (default: 3, frontier 5, members 1)")
    args = parser.parse_args()
    with quiet_stderr():
        import tensorflow as tf
    tf.config.experimental.enable_op_determinism()
    results = runs.read_json(FILE) if FILE.exists() else {}
    for group in args.only:
        table, seeds = GROUPS[group]
        size = ABLATION_SIZE if group == "ablation" else sys.maxsize
        # Seed by seed, so that an early look already compares all recipes.
        for seed in range(args.seeds or seeds):
            for name, recipe in table.items():
                entry = results.setdefault(group, {}).setdefault(name, {"recipe": plain(recipe), "seeds": []})
                if entry["recipe"] != plain(recipe):  # changed since: its numbers say nothing any more
                    entry.update(recipe=plain(recipe), seeds=[])
                if any(row["seed"] == seed for row in entry["seeds"]):
                    continue
                file = FOLDER / f"{group}-{name.replace(' ', '-').replace(',', '')}-{seed}.keras"
                entry["seeds"].append(row := measure(recipe, seed, file, size))
                runs.write_json(FILE, results | {"environment": runs.environment()})
                print(f"{group}, {name}, seed {seed}: validation {row['val_accuracy']:.2%}", flush=True)
    if "members" in args.only:
        results["ensemble"] = ensembles()
        runs.write_json(FILE, results | {"environment": runs.environment()})
        print(f"ensemble: {results['ensemble']['chosen']}")
    for group in args.only:
        print(f"\n{group:40} {'parameters':>10} {'validation':>18} {'test':>18}")
        for name, entry in results.get(group, {}).items():
            cells = []
            for part in ("val", "test"):
                values = [row[f"{part}_accuracy"] for row in entry["seeds"]]
                cells.append(evaluation.spread(fmean(values), stdev(values) if len(values) > 1 else None))
            print(f"{name:40} {entry['seeds'][0]['parameters']:10,} {cells[0]:>18} {cells[1]:>18}")
    return 0


def plain(recipe: recipes.Recipe) -> dict:
    """A recipe as JSON."""
    network = recipe.network
    if isinstance(network, functools.partial):
        name = network.func.__name__ + str(sorted(network.keywords.items()))
    else:
        name = network.__name__
    return dataclasses.asdict(recipe) | {"network": name}


if __name__ == "__main__":
    sys.exit(main())
