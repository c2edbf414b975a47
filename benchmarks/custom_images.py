"""How well simulated pictures of single digits are read, by condition: python benchmarks/custom_images.py.

Simulates pictures of MNIST TEST digits (data/make_samples.py), encodes them as files, reads and prepares them with
helpers.images and lets one network answer. Four ways side by side:

    shrunk    gray, shrunk to 28×28, divided by 255: what a beginner tries first
    inverted  the same, inverted
    first     the first of `candidates`: no model had a say in preparing it
    read      `Predictor.read`: the reading for which the network's evidence is largest; a refusal counts as wrong

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

from helpers import data, paths
from helpers.errors import UserError
from helpers.files import write_json
from helpers.images.decode import read_image
from helpers.notebook.run import environment
from helpers.predict.predictor import LAST, Predictor

sys.path.append(str(paths.DATA))  # a folder of files, not a package
import make_samples  # noqa: E402

WAYS = ("shrunk", "inverted", "first", "read")


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


def answers(encoded: bytes, predictor: Predictor) -> dict[str, str]:
    """What each way reads in a file; an empty text where it finds no digit."""
    picture = read_image(encoded)
    shrunk = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (28, 28), interpolation=cv2.INTER_AREA)
    reading = predictor.read(encoded)
    found = [steps[LAST] for steps in reading.candidates[:1]]
    texts = [str(k) for k in predictor.probabilities(np.array([shrunk, 255 - shrunk, *found])).argmax(axis=1)]
    return dict(zip(WAYS, [*texts[:2], *(texts[2:] or [""]), reading.text], strict=True)) | {"status": reading.status}


def main() -> int:
    """Measures all conditions, prints the table, writes the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="a .tflite or .keras file (default: the shipped one)")
    parser.add_argument("--per-condition", type=int, default=40, help="pictures a condition (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: 0)")
    arguments = parser.parse_args()
    try:
        predictor = Predictor(arguments.model)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    table = {}
    print(f"{'condition':16}" + "".join(f"{way:>10}" for way in WAYS) + f"{'refused':>10}{'ms':>8}")
    for condition in make_samples.CONDITIONS:
        made = files(condition, arguments.per_condition, arguments.seed)
        start = time.perf_counter()
        found = [answers(encoded, predictor) for encoded, _ in made]
        row = {way: float(np.mean([f[way] == str(y) for f, (_, y) in zip(found, made, strict=True)])) for way in WAYS}
        row["refused"] = float(np.mean([f["status"] == "rejected" for f in found]))
        row["milliseconds"] = 1000 * (time.perf_counter() - start) / len(made)
        table[condition] = row
        print(line(condition, row), flush=True)
    total = {name: float(np.mean([row[name] for row in table.values()])) for name in next(iter(table.values()))}
    print(line("overall", total))
    result = {
        "per_condition": arguments.per_condition,
        "seed": arguments.seed,
        "model": predictor.network.path.name,
    }
    write_json(
        paths.REFERENCE / "custom_images.json",
        {**result, **environment(), "accuracy": table, "overall": total},
    )
    return 0


def line(name: str, row: dict[str, float]) -> str:
    """One row of the table."""
    shown = "".join(f"{100 * row[way]:9.1f}%" for way in (*WAYS, "refused"))
    return f"{name:16}{shown}{row['milliseconds']:8.1f}"


if __name__ == "__main__":
    sys.exit(main())
