"""How well simulated pictures of single digits are read, by condition: python -m benchmarks.photos.

Simulates pictures of MNIST TEST digits (tools/simulate/photos.py), encodes them as files, and reads them in four ways:

    shrunk    grey, shrunk to 28×28, divided by 255: what a beginner tries first
    inverted  the same, inverted
    first     the first of `find_candidates`: prepared without asking a model
    read      `Predictor.read`: the candidate for which the network's evidence is largest; a refusal counts as wrong

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
import pandas as pd

from helpers import data, paths
from helpers.console import command
from helpers.files import write_json
from helpers.images.decode import read_image
from helpers.notebook.run import environment
from helpers.predict.predictor import LAST, Predictor
from tools.simulate import photos
from tools.trainings import at_least_1

WAYS = ("shrunk", "inverted", "first", "read")


def encoded_digits(condition: str, count: int, seed: int) -> list[tuple[bytes, int]]:
    """`count` encoded pictures with their labels; every condition has a random seed of its own."""
    mnist = data.load()
    usable = np.setdiff1d(np.arange(len(mnist.y_test)), data.KNOWN_LABEL_ERRORS)
    rng = np.random.default_rng([seed, zlib.crc32(condition.encode())])
    chosen = rng.choice(usable, count, replace=count > len(usable))
    pictures = [photos.simulate(mnist.x_test[i], condition, rng) for i in chosen]
    return [(photos.encode(p, condition)[1], int(mnist.y_test[i])) for p, i in zip(pictures, chosen, strict=True)]


def read_in_all_ways(encoded: bytes, predictor: Predictor) -> dict[str, str]:
    """What each way reads in a file; an empty text where it finds no digit."""
    picture = read_image(encoded)
    shrunk = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (28, 28), interpolation=cv2.INTER_AREA)
    reading = predictor.read(encoded)
    found = [steps[LAST] for steps in reading.candidates[:1]]
    texts = [str(k) for k in predictor.probabilities(np.array([shrunk, 255 - shrunk, *found])).argmax(axis=1)]
    return dict(zip(WAYS, [*texts[:2], *(texts[2:] or [""]), reading.text], strict=True)) | {"status": reading.status}


@command
def main(argv: list[str] | None = None) -> None:
    """Measures all conditions, prints the table, writes the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photos", description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, help="a .tflite or .keras file (default: the shipped one)")
    parser.add_argument("--per-condition", type=at_least_1, default=40, help="pictures per condition (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: 0)")
    args = parser.parse_args(argv)
    predictor, table = Predictor(args.model), {}
    print(f"{'condition':16}" + "".join(f"{way:>10}" for way in WAYS) + f"{'refused':>10}{'ms':>8}")
    for condition in [*photos.CONDITIONS, "mean"]:
        if condition == "mean":
            row = pd.DataFrame(table.values()).mean().to_dict()
        else:
            made = encoded_digits(condition, args.per_condition, args.seed)
            start = time.perf_counter()
            found = [read_in_all_ways(encoded, predictor) for encoded, _ in made]
            seconds = time.perf_counter() - start
            row = {w: float(np.mean([f[w] == str(y) for f, (_, y) in zip(found, made, strict=True)])) for w in WAYS}
            row["refused"] = float(np.mean([f["status"] == "rejected" for f in found]))
            row["milliseconds"] = 1000 * seconds / len(made)
            table[condition] = row
        shown = "".join(f"{100 * row[way]:9.1f}%" for way in (*WAYS, "refused"))
        print(f"{condition:16}{shown}{row['milliseconds']:8.1f}", flush=True)
    settings = {"per_condition": args.per_condition, "seed": args.seed, "model": predictor.network.path.name}
    file = paths.REFERENCE / "custom_images.json"
    write_json(file, {**settings, **environment(), "accuracy": table, "overall": row})


if __name__ == "__main__":
    sys.exit(main())
