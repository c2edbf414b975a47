"""How accurate, what each idea brings, and how small: python benchmarks/accuracy.py [--only single frontier members ablation].

Trains each recipe with several seeds and writes outputs/reference/accuracy.json after every one of them; what is
there already is not trained again, so an interrupted measurement goes on. Some three hours on two cores. Everything is
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
SHORT = dataclasses.replace(recipes.REFERENCE, epochs=8)
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
# Small networks cannot learn by heart: they get more time, a higher learning rate, hardly any augmentation, and no
# decay of their weights.
LITTLE = recipes.Recipe(
    models.tiny_cnn,
    epochs=30,
    peak=0.4,
    weight_decay=0.0,
    warp={"rotation": 7.0, "shift": 0.04, "zoom": 0.08, "slant": 5.0, "elastic": 0.0},
)


def narrow(*filters: int) -> recipes.Recipe:
    """The recipe of the reference network with so many filters, without local contrast."""
    network = functools.partial(models.reference_cnn, filters=filters, local=False)
    return dataclasses.replace(LITTLE, network=network, batch_size=256, peak=0.6)


FRONTIER = {"2,000": LITTLE, "10,000": narrow(8, 12, 22), "35,000": narrow(16, 24, 40)}
# Members of the ensemble beside the seeds differ in how they are built too, so that they fail at different images.
MEMBERS = {
    "without local contrast": dataclasses.replace(
        recipes.ACCURATE, network=functools.partial(models.reference_cnn, local=False), stroke=recipes.REFERENCE.stroke
    )
}
GROUPS = {"single": ({"accurate": recipes.ACCURATE}, 5), "frontier": (FRONTIER, 5), "members": (MEMBERS, 2)}
GROUPS["ablation"] = ABLATION, 3
CORNERS = ((1, 1), (1, -1), (-1, 1), (-1, -1))  # where test-time augmentation moves an image, by half a pixel


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


def answers(model, x: np.ndarray, moved: bool = False) -> np.ndarray:
    """Class probabilities (N, 10) of images uint8 (N, 28, 28).

    With `moved`, the mean of five answers: for the images, and for them moved by half a pixel towards each corner.
    """
    x = images.to_input(x)
    views = [x]
    if moved:
        for down, right in CORNERS:
            below = x + np.roll(x, down, axis=1)
            views.append((below + np.roll(below, right, axis=2)) / 4)
    return np.mean([model.predict(view, batch_size=1000, verbose=0) for view in views], axis=0)


def ensembles() -> dict:
    """Each seed alone, and networks that answer together by the mean of their probabilities.

    The seeds of one recipe differ by chance alone, the others by design: their comparison tells what the difference is
    worth. Each group also with test-time augmentation. `chosen` is the best on validation images.
    """
    import keras

    _, validation, test = parts()
    shipped = sorted((paths.outputs() / "reference-training").glob(f"{recipes.REFERENCE.epochs}-epochs-seed-*.keras"))
    single, members = (sorted(FOLDER.glob(f"{group}-*.keras")) for group in ("single", "members"))
    everyone = single + shipped + members
    groups = {
        f"{kind}, seed {number}": [file]
        for kind, files in {"accurate": single, "reference": shipped}.items()
        for number, file in enumerate(files)
    }
    groups |= {"accurate, all seeds": single, "accurate and reference": single + shipped, "all and members": everyone}
    seen = {"val": validation, "test": test}
    networks = {file: keras.models.load_model(file) for file in everyone}
    said = {
        (file, part, moved): answers(network, seen[part][0], moved)
        for file, network in networks.items() for part in seen for moved in (False, True)
    }  # fmt: skip

    def row(name: str, files: list, moved: bool) -> dict:
        """One line of the table."""
        found = {"name": name, "networks": len(files), "moved": moved}
        for part, (_, y) in seen.items():
            together = np.mean([said[file, part, moved] for file in files], axis=0)
            found[f"{part}_accuracy"] = float(np.mean(together.argmax(axis=1) == y))
        return found

    rows = [row(name, files, moved) for name, files in groups.items() if files for moved in (False, True)]
    return {"rows": rows, "chosen": max(rows, key=lambda r: r["val_accuracy"])}


def main(argv: list[str] | None = None) -> int:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--seeds", type=int, help="of each recipe (default: 5, members 2, ablation 3)")
    args = parser.parse_args(argv)
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
    if {"single", "members"} & set(args.only):
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
