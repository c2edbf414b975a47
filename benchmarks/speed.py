"""How fast training, answering and starting are, side by side with peers: python -m benchmarks.speed [--rounds 5].

Prints tables and writes outputs/reference/speed.json. Every figure comes from rounds in which all that is compared
takes its turn, so that a busy moment of the machine hits all of them; shown are medians, with the range of the rounds.
About a quarter of an hour on two cores. The report's network trains for one epoch; to the goal it would take eight
minutes more.
"""

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np

from benchmarks import peers
from helpers import data, paths
from helpers.console import command
from helpers.data import to_input
from helpers.files import read_json, write_json
from helpers.images.decode import read_image
from helpers.notebook.run import environment
from helpers.predict.network import load
from tools import recipes
from tools.trainings import at_least_1

GOAL = 0.99  # test accuracy that a training has to reach
SIZES = (6_000, 60_000, 600_000)  # training images by which growth is measured
BATCHES = {1: 30, 32: 20, 1_000: 2, 10_000: 1}  # images at a time: calls per round
SMALL, LARGE = 3000, 24  # files of 28×28 pixels, and phone photographs of 12 megapixels
KERAS, LITE = (paths.REFERENCE / f"digits{suffix}" for suffix in (".keras", ".tflite"))

WITH_KERAS = """
import sys, keras
from helpers.data import to_input
from helpers.images.candidates import preprocess
from helpers.images.decode import read_image
model = keras.models.load_model(sys.argv[1])
steps = preprocess(read_image(sys.argv[2]))
print(model.predict(to_input(list(steps.values())[-1][None]), verbose=0).argmax())
"""
SHRUNK = """
import pathlib, sys
import keras, numpy as np
from PIL import Image
model = keras.models.load_model(sys.argv[1])
files = sorted(pathlib.Path(sys.argv[2]).iterdir())
for i in range(0, len(files), 32):
    x = np.stack([np.asarray(Image.open(f).convert("L").resize((28, 28))) for f in files[i : i + 32]])
    model.predict(x[..., None] / 255, verbose=0)
"""
GROWTH = """
import json, resource, sys
import numpy as np
from helpers import data
from tools import recipes
size = int(sys.argv[1])
dataset = data.load()
copies = -(-size // len(dataset.x_train))
part = np.tile(dataset.x_train, (copies, 1, 1))[:size], np.tile(dataset.y_train, copies)[:size]
_, _, seconds = recipes.train(recipes.FAST, part, 0)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([seconds, peak / 2**20]))
"""


def seconds(call: Callable, *args) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call(*args)
    return time.perf_counter() - start


def python(*arguments: object) -> str:
    """What Python prints, run with these arguments from the project's folder."""
    words = [sys.executable, *map(str, arguments)]
    return subprocess.run(words, cwd=paths.ROOT, check=True, capture_output=True, text=True).stdout


def in_turn(ways: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """The figures of each way, one per round; in each round all ways take their turn."""
    found = [{name: way() for name, way in ways.items()} for _ in range(rounds)]
    return {name: [each[name] for each in found] for name in ways}


def table(figure: str, found: dict[str, list[float]]) -> list[dict]:
    """One row per way for the JSON file and for `show`."""
    return [
        {
            "figure": figure, "what": name, "median": statistics.median(values), "low": min(values),
            "high": max(values), "runs": len(values), "missed": 0,
        }
        for name, values in found.items()
    ]  # fmt: skip


class Watch(keras.callbacks.Callback):
    """Takes the time of each epoch and stops when GOAL is reached; looking at the test set is not counted."""

    def __init__(self, x: np.ndarray, y: np.ndarray):
        super().__init__()
        self.x, self.y = x, y

    def on_train_begin(self, logs=None):
        """Starts the clock."""
        self.epochs, self.reached, self.start = [], None, time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        """Stops it while the test images are answered."""
        self.epochs.append(time.perf_counter() - self.start)
        # The network itself: what stands in front of it while it learns is no part of the answer.
        answers = self.model.predict(self.x, batch_size=1000, verbose=0).argmax(axis=1)
        if (answers == self.y).mean() >= GOAL:
            self.reached, self.model.stop_training = sum(self.epochs), True
        self.start = time.perf_counter()


def training(rounds: int) -> list[dict]:
    """Seconds from the call of fit until GOAL is reached on the test images, and seconds per epoch."""
    dataset = data.load()
    part, x_test = (dataset.x_train, dataset.y_train), to_input(dataset.x_test)
    contestants = {
        "fast_cnn": lambda seed, watch: recipes.train(recipes.FAST, part, seed, callbacks=(watch,)),
        "keras.io": lambda seed, watch: peers.train("keras.io", seed, part, callbacks=(watch,)),
        "report": lambda seed, watch: peers.train("report", seed, part, epochs=1, callbacks=(watch,)),
    }
    found = {name: [] for name in contestants}
    for seed in range(rounds):
        for name, run in contestants.items():
            run(seed, watch := Watch(x_test, dataset.y_test))
            found[name].append(watch)
            print(f"  round {seed}, {name}: {len(watch.epochs)} epochs, {sum(watch.epochs):.1f} s", flush=True)
    epochs = {name: [statistics.median(watch.epochs) for watch in its] for name, its in found.items()}
    del found["report"]  # one epoch tells nothing about the goal
    # A training that never got there took longer than all its epochs: a lower bound, and marked as one.
    to_goal = {name: [watch.reached or sum(watch.epochs) for watch in its] for name, its in found.items()}
    rows = table(f"seconds to {GOAL:.0%} test accuracy", to_goal)
    for row in rows:
        row["missed"] = sum(watch.reached is None for watch in found[row["what"]])
    return rows + table("seconds an epoch", epochs)


def inference(rounds: int) -> list[dict]:
    """Images per second, by images at a time."""
    x = data.load().x_test
    reference, keras_io = keras.models.load_model(KERAS), peers.keras_io()
    networks = {
        "keras.io, model.predict": lambda part: keras_io.predict(to_input(part), batch_size=1000, verbose=0),
        "digits.keras, model.predict": lambda part: reference.predict(to_input(part), batch_size=1000, verbose=0),
        "digits.tflite, LiteRT": load(LITE),
    }

    def rate(network, part, calls):
        return calls * len(part) / seconds(lambda: [network(part) for _ in range(calls)])

    rows = []
    for size, calls in BATCHES.items():
        part = np.ascontiguousarray(x[:size])
        ways = {name: functools.partial(rate, network, part, calls) for name, network in networks.items()}
        # The first round traces and warms up.
        warm = {name: values[1:] for name, values in in_turn(ways, rounds + 1).items()}
        rows += table(f"images a second, {size:,} at a time", warm)
    return rows


def start(rounds: int) -> list[dict]:
    """Seconds from the start of a process to the answer for one picture."""
    picture = next((paths.DATA / "samples").glob("01_*"))
    ways = {
        "Keras": lambda: seconds(python, "-c", WITH_KERAS, KERAS, picture),
        "helpers.predict (LiteRT)": lambda: seconds(python, "-m", "helpers.predict", picture),
    }
    return table("seconds from start to answer", in_turn(ways, rounds))


def folders(rounds: int) -> list[dict]:
    """Pictures read per second, from files, the program's start included.

    The peer does what a beginner writes: one process, each picture shrunk whole. It reads hardly any photograph right,
    so it says what the files and the network cost.
    """
    with tempfile.TemporaryDirectory() as made:
        small, large, answers = (Path(made) / name for name in ("small", "large", "answers.csv"))
        write_pictures(small, large)

        def ours(folder):
            answers.unlink(missing_ok=True)  # else it would go on where it stopped
            return seconds(python, "-m", "helpers.predict", folder, "--csv", answers)

        rows = []
        for kind, folder in {"28×28 pixels": small, "phone photographs, 12 megapixels": large}.items():
            count = len(list(folder.iterdir()))
            ways = {
                "shrunk, model.predict": lambda f=folder, n=count: n / seconds(python, "-c", SHRUNK, KERAS, f),
                "helpers.predict": lambda f=folder, n=count: n / ours(f),
            }
            rows += table(f"files a second, {kind}", in_turn(ways, rounds))
        return rows


def write_pictures(small: Path, large: Path) -> None:
    """Fills two folders: test digits as PNG, and the sample photographs enlarged to a phone's 4000 × 3000 as JPEG."""
    small.mkdir()
    for i, x in enumerate(data.load().x_test[:SMALL]):
        cv2.imwrite(str(small / f"{i:04}.png"), x)
    large.mkdir()
    for file in sorted((paths.DATA / "samples").glob("[0-9]*.jpg"))[:LARGE]:
        wide = cv2.resize(read_image(file), (4000, 3000), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(large / file.name), wide[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


def growth(rounds: int) -> list[dict]:
    """Seconds and memory of one epoch as the training set grows; each size in a process of its own."""
    found = {}
    for size in SIZES:
        runs = min(rounds, 3 if size <= 60_000 else 1)  # the curve is what counts here, no ratio to a peer
        found[f"{size:,}"] = [json.loads(python("-c", GROWTH, size).splitlines()[-1]) for _ in range(runs)]
    rows = table("seconds an epoch, by images", {name: [s for s, _ in its] for name, its in found.items()})
    return rows + table("peak memory in MiB, by images", {name: [m for _, m in its] for name, its in found.items()})


def show(rows: list[dict]) -> None:
    """Prints the rows, with the ratio of each to the first of its figure."""
    figure = None
    for row in rows:
        if row["figure"] != figure:
            figure, first = row["figure"], row["median"]
            print(f"\n{figure}")
        spread = f"{row['low']:.3g} to {row['high']:.3g}"
        note = f"  ({row['missed']} of {row['runs']} runs never got there)" if row["missed"] else ""
        print(f"  {row['what']:32} {row['median']:10.4g}   {spread:20} × {row['median'] / first:.3g}{note}")


PARTS = {"training": training, "inference": inference, "start": start, "folders": folders, "growth": growth}


@command
def main(argv: list[str] | None = None) -> None:
    """Measures the parts that are asked for, prints and writes each as it is done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=at_least_1, default=5, help="runs of everything (default: 5)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure (default: all)")
    args = parser.parse_args(argv)
    file = paths.REFERENCE / "speed.json"
    results = read_json(file) if file.exists() else {}
    for name in args.only:
        rows = PARTS[name](args.rounds)
        show(rows)
        results[name] = {"rows": rows, **environment()}
        write_json(file, results)


if __name__ == "__main__":
    sys.exit(main())
