"""How accurate, what each idea brings, and how small: python benchmarks/accuracy.py [--only frontier members ablation].

Trains each recipe with several seeds and writes outputs/reference/accuracy.json after every one of them; what is
there already is not trained again, so an interrupted measurement goes on. Some four hours on two cores, of which the
small networks take two and a half. Everything is chosen by the accuracy on validation images; the test images only
score what stands in the tables. The ensembles also need the networks of `make reference`.
"""

import argparse
import dataclasses
import functools
import sys
import time
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from helpers import data, paths
from helpers.console import quiet_stderr
from helpers.data import SPLIT_SEED, VALIDATION, to_input
from helpers.errors import UserError
from helpers.evaluation.metrics import spread
from helpers.evaluation.robustness import other_hands
from helpers.files import atomic, read_json, write_json
from helpers.images.mnist_form import half_pixel_moves
from helpers.models.networks import reference_cnn, tiny_cnn
from helpers.notebook.run import environment
from helpers.training import recipes

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
    "without local contrast": dataclasses.replace(SHORT, network=functools.partial(reference_cnn, local=False)),
    "with label smoothing 0.1": dataclasses.replace(SHORT, label_smoothing=0.1),
    "with averaged weights": dataclasses.replace(SHORT, averaging=0.99),
    "in float32": dataclasses.replace(SHORT, half=False),
}
# Small networks cannot learn by heart: they get more time, a higher learning rate, hardly any augmentation, and no
# decay of their weights.
LITTLE = recipes.Recipe(
    tiny_cnn,
    epochs=30,
    peak=0.4,
    weight_decay=0.0,
    warp={"rotation": 7.0, "shift": 0.04, "zoom": 0.08, "slant": 5.0, "elastic": 0.0},
)


def narrow(*filters: int) -> recipes.Recipe:
    """The recipe of the reference network with so many filters, without local contrast."""
    network = functools.partial(reference_cnn, filters=filters, local=False)
    return dataclasses.replace(LITTLE, network=network, batch_size=256, peak=0.6)


# The peers by name.
FRONTIER = {
    "report": "report",
    "keras.io": "keras.io",
    "2,000": LITTLE,
    "10,000": narrow(8, 12, 22),
    "35,000": narrow(16, 24, 40),
}
# The ensemble's members beside the seeds of the reference: they see other images or are built in another way, so that
# they fail elsewhere.
MEMBERS = {
    "only warped": dataclasses.replace(recipes.REFERENCE, epochs=20, stroke={}, patch={}, noise={}, drawn=0.0),
    "without local contrast": dataclasses.replace(
        recipes.REFERENCE, network=functools.partial(reference_cnn, local=False)
    ),
    "narrow": FRONTIER["35,000"],
}
GROUPS = {"frontier": (FRONTIER, 5), "members": (MEMBERS, 1), "ablation": (ABLATION, 3)}


def network_file(group: str, name: str, seed: int) -> Path:
    """Where a trained network is kept."""
    return FOLDER / f"{group}-{name.replace(' ', '-').replace(',', '')}-{seed}.keras"


def parts():
    """Training, validation and test images with labels."""
    dataset = data.load()
    train, validation = data.split(dataset.x_train, dataset.y_train, VALIDATION, SPLIT_SEED)
    return train, validation, (dataset.x_test, dataset.y_test)


def measure(recipe: recipes.Recipe | str, seed: int, file: Path, size: int) -> dict:
    """Trains a recipe or a peer once on `size` images and scores it.

    The network of a recipe is saved as `file`; `peers.trained` keeps its own.
    """
    train, validation, test = parts()
    part = data.subset(*train, size, SPLIT_SEED)
    state, start = file.with_suffix(".npz"), time.perf_counter()
    if isinstance(recipe, str):
        import peers  # in this folder; imports Keras

        model = peers.trained(recipe, seed, part)
    else:
        model, _, _ = recipes.train(recipe, part, seed, checkpoint=state)
    found = {"seed": seed, "train_seconds": time.perf_counter() - start, "parameters": model.count_params()}
    for name, (x, y) in {"val": validation, "test": test}.items():
        found[f"{name}_accuracy"] = float(np.mean(answers(model, x).argmax(axis=1) == y))
    if not isinstance(recipe, str):
        with atomic(file) as partial:
            model.save(partial)
        state.unlink(missing_ok=True)
    return found


def answers(model, x: np.ndarray, moved: bool = False) -> np.ndarray:
    """Class probabilities (N, 10) of images uint8 (N, 28, 28).

    With `moved`, the mean of five answers: for the images, and for their `half_pixel_moves`.
    """
    x = to_input(x)
    views = [x, *half_pixel_moves(x)] if moved else [x]
    return np.mean([model.predict(view, batch_size=1000, verbose=0) for view in views], axis=0)


def ensembles() -> dict:
    """Each seed of the reference alone, and networks that answer together by the mean of their probabilities.

    The seeds differ by chance alone, the members by design: their comparison tells what the difference is worth. Each
    group also with test-time augmentation, and on other people's digits too. `chosen` is the best on validation images.

    Raises:
        UserError: the networks of `make reference` are not there.
    """
    import keras

    _, validation, test = parts()
    folder = paths.outputs() / "reference-training"
    seeds = sorted(folder.glob(f"{recipes.REFERENCE.epochs}-epochs-seed-*.keras"))
    if not seeds:
        raise UserError(f"{paths.display(folder)} has no trained networks for the ensemble; run make reference first.")
    members = [
        network_file("members", name, seed) for name in GROUPS["members"][0] for seed in range(GROUPS["members"][1])
    ]
    groups = {f"seed {number}": [file] for number, file in enumerate(seeds)}
    groups |= {"all seeds": seeds, "one seed and members": seeds[:1] + members, "seeds and members": seeds + members}
    seen = {"val": validation, "test": test, "sklearn_digits": other_hands()}
    networks = {file: keras.models.load_model(file) for file in seeds + members}
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

    rows = [row(name, files, moved) for name, files in groups.items() for moved in (False, True)]
    return {"rows": rows, "chosen": max(rows, key=lambda r: r["val_accuracy"])}


def main(argv: list[str] | None = None) -> int:
    """Trains what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--seeds", type=int, help="of each recipe (default: frontier 5, members 1, ablation 3)")
    args = parser.parse_args(argv)
    with quiet_stderr():
        import tensorflow as tf
    tf.config.experimental.enable_op_determinism()
    results = read_json(FILE) if FILE.exists() else {}
    try:
        train_missing(args.only, args.seeds, results)
        if "members" in args.only:
            results["ensemble"] = ensembles()
            write_json(FILE, results | {"environment": environment()})
            print(f"ensemble: {results['ensemble']['chosen']}")
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    for group in args.only:
        print(f"\n{group:40} {'parameters':>10} {'validation':>18} {'test':>18}")
        for name, entry in results.get(group, {}).items():
            cells = []
            for part in ("val", "test"):
                values = [row[f"{part}_accuracy"] for row in entry["seeds"]]
                cells.append(spread(fmean(values), stdev(values) if len(values) > 1 else None))
            print(f"{name:40} {entry['seeds'][0]['parameters']:10,} {cells[0]:>18} {cells[1]:>18}")
    return 0


def train_missing(groups: list[str], wanted: int | None, results: dict) -> None:
    """Trains each recipe of these groups with the seeds that `results` lacks; adds and writes each as it ends."""
    for group in groups:
        table, seeds = GROUPS[group]
        size = ABLATION_SIZE if group == "ablation" else sys.maxsize
        # Seed by seed, so that an early look already compares all recipes.
        for seed in range(wanted or seeds):
            for name, recipe in table.items():
                entry = results.setdefault(group, {}).setdefault(name, {"recipe": plain(recipe), "seeds": []})
                if entry["recipe"] != plain(recipe):  # changed since: its numbers say nothing any more
                    entry.update(recipe=plain(recipe), seeds=[])
                file = network_file(group, name, seed)
                # A member has to be there as a network too: the ensemble asks it.
                if any(row["seed"] == seed for row in entry["seeds"]) and (group != "members" or file.exists()):
                    continue
                row = measure(recipe, seed, file, size)
                entry["seeds"] = sorted(
                    [other for other in entry["seeds"] if other["seed"] != seed] + [row], key=lambda r: r["seed"]
                )
                write_json(FILE, results | {"environment": environment()})
                print(f"{group}, {name}, seed {seed}: validation {row['val_accuracy']:.2%}", flush=True)


def plain(recipe: recipes.Recipe | str) -> dict | str:
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
    sys.exit(main())
