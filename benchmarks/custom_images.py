"""How well simulated pictures of single digits are read, by condition: python benchmarks/custom_images.py.

Simulates pictures of MNIST TEST digits (data/make_samples.py), encodes them as files, reads and prepares them with
helpers.images and lets one network answer. Four ways side by side:

    shrunk    gray, shrunk to 28×28, divided by 255: what a beginner tries first
    inverted  the same, inverted
    first     the first of `images.candidates`: no model had a say in preparing it
    best      the candidate for which the network's evidence is largest (smallest energy)

Prints a table and writes outputs/reference/custom_images.json. Simulated pictures tell which condition hurts; they
do not tell how well real photographs are read, and no model may be chosen on them.
"""

import argparse
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np

from helpers import data, images, paths, runs
from helpers.errors import UserError

sys.path.append(str(paths.DATA))  # a folder of files, not a package
import make_samples  # noqa: E402

WAYS = ("shrunk", "inverted", "first", "best")


def files(condition: str, count: int, seed: int) -> list[tuple[bytes, int]]:
    """`count` encoded pictures with their labels; every condition has its own, fixed chance."""
    mnist = data.load()
    usable = np.setdiff1d(np.arange(len(mnist.y_test)), data.KNOWN_LABEL_ERRORS)
    rng = np.random.default_rng([seed, zlib.crc32(condition.encode())])
    chosen = rng.choice(usable, count, replace=count > len(usable))
    pictures = [make_samples.simulate(mnist.x_test[i], condition, rng) for i in chosen]
    return [
        (make_samples.encode(picture, condition)[1], int(mnist.y_test[i]))
        for picture, i in zip(pictures, chosen, strict=True)
    ]


def readings(encoded: bytes) -> dict[str, list[np.ndarray]]:
    """The 28×28 pictures that each way makes of a file; an empty list where it finds no digit."""
    picture = images.read_image(encoded)
    shrunk = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (28, 28), interpolation=cv2.INTER_AREA)
    try:
        found = [steps["centred 28×28"] for steps in images.candidates(picture)]
    except images.NoDigit:
        found = []
    return {"shrunk": [shrunk], "inverted": [255 - shrunk], "first": found[:1], "best": found}


def load_model(path: Path):
    """A function from uint8 (N, 28, 28) to logits, up to a constant for each image: float (N, 10)."""
    if not path.exists():
        raise UserError(f"{path.name} is missing: name a Keras model with --model, such as one that notebook 04 made.")
    import keras

    model = keras.models.load_model(path)
    last = model.layers[-1]
    if getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear  # the energy needs what the softmax throws away
        model = keras.Model(model.inputs, model.layers[-1](model.layers[-1].input))
    return lambda x: np.asarray(model.predict(images.to_input(x), batch_size=256, verbose=0), np.float64)


def answers(found: list[list[np.ndarray]], logits) -> np.ndarray:
    """The digit read in each picture: of several readings the one with the smallest energy; -1 where there is none."""
    stacked = [image for readings_ in found for image in readings_]
    values = logits(np.array(stacked)) if stacked else np.zeros((0, 10))
    top = values.max(axis=1, initial=0)
    evidence = top + np.log(np.exp(values - top[:, None]).sum(axis=1))
    result, at = np.full(len(found), -1), 0
    for i, readings_ in enumerate(found):
        if readings_:
            best = at + int(np.argmax(evidence[at : at + len(readings_)]))
            result[i] = values[best].argmax()
        at += len(readings_)
    return result


def main() -> int:
    """Measures all conditions, prints the table, writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=paths.REFERENCE / "digits.keras", help="a Keras model")
    parser.add_argument("--per-condition", type=int, default=40, help="pictures a condition (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: 0)")
    arguments = parser.parse_args()
    try:
        logits = load_model(arguments.model)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    table = {}
    print(f"{'condition':16}" + "".join(f"{way:>10}" for way in WAYS) + f"{'readings':>10}{'ms':>8}")
    for condition in make_samples.CONDITIONS:
        made = files(condition, arguments.per_condition, arguments.seed)
        start = time.perf_counter()
        found = [readings(encoded) for encoded, _ in made]
        milliseconds = 1000 * (time.perf_counter() - start) / len(made)
        labels = np.array([label for _, label in made])
        row = {way: float(np.mean(answers([f[way] for f in found], logits) == labels)) for way in WAYS}
        row |= {"readings": float(np.mean([len(f["best"]) for f in found])), "milliseconds": milliseconds}
        table[condition] = row
        shown = "".join(f"{100 * row[way]:9.1f}%" for way in WAYS)
        print(f"{condition:16}{shown}{row['readings']:10.2f}{milliseconds:8.1f}", flush=True)
    total = {name: float(np.mean([row[name] for row in table.values()])) for name in next(iter(table.values()))}
    shown = "".join(f"{100 * total[way]:9.1f}%" for way in WAYS)
    print(f"{'overall':16}{shown}{total['readings']:10.2f}{total['milliseconds']:8.1f}")
    result = {"per_condition": arguments.per_condition, "seed": arguments.seed, "model": arguments.model.name}
    runs.write_json(
        paths.REFERENCE / "custom_images.json",
        {**result, **runs.environment(), "accuracy": table, "overall": total},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
