"""How fast training, answering and starting are, side by side with peers: python benchmarks/speed.py [--rounds 5].

Prints tables and writes outputs/reference/speed.json. Every figure comes from rounds in which all that is compared
takes its turn, so that a busy moment of the machine hits all of them; shown are medians, with the range of the rounds.
About a quarter of an hour on two cores. `--only` chooses parts: training, inference, start, folders, growth. The report's
network trains for one epoch, unless `--full` lets it go on to the goal: that takes eight minutes more.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from helpers import paths
from helpers.data import to_input
from helpers.files import read_json, write_json
from helpers.images.decode import read_image
from helpers.notebook.run import environment

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
GOAL = 0.99  # test accuracy that a training has to reach
SIZES = (6_000, 60_000, 600_000)
BATCHES = {1: 30, 32: 20, 1_000: 2, 10_000: 1}  # images at a time: calls in a round


def training(rounds: int, full: bool = False) -> list[dict]:
    """Seconds from the call of fit until GOAL is reached on the test images, and seconds an epoch."""
    import keras
    import peers

    from helpers import data
    from helpers.data import to_input
    from helpers.training import recipes

    dataset = data.load()
    x, x_test = to_input(dataset.x_train), to_input(dataset.x_test)
    y = keras.utils.to_categorical(dataset.y_train)

    class Watch(keras.callbacks.Callback):
        """Takes the time of each epoch and stops when the goal is reached; looking at the test set is not counted."""

        def on_train_begin(self, logs=None):
            self.epochs, self.reached, self.start = [], None, time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.epochs.append(time.perf_counter() - self.start)
            # The network itself: what stands in front of it while it learns is no part of the answer.
            answers = self.model.predict(x_test, batch_size=1000, verbose=0).argmax(axis=1)
            if (answers == dataset.y_test).mean() >= GOAL:
                self.reached, self.model.stop_training = sum(self.epochs), True
            self.start = time.perf_counter()

    def peer(build, epochs):
        def run(seed, watch):
            keras.utils.set_random_seed(seed)
            build().fit(x, y, batch_size=128, epochs=epochs, verbose=0, callbacks=[watch])

        return run

    def ours(seed, watch):
        recipes.train(recipes.FAST, (dataset.x_train, dataset.y_train), seed, callbacks=(watch,))

    report = peer(peers.report, 10 if full else 1)
    contestants = {"fast_cnn": ours, "keras.io": peer(peers.keras_io, 15), "report": report}
    found = {name: [] for name in contestants}
    for seed in range(rounds):
        for name, run in contestants.items():
            run(seed, watch := Watch())
            found[name].append((watch.reached, watch.epochs))
            print(f"  round {seed}, {name}: {len(watch.epochs)} epochs, {sum(watch.epochs):.1f} s", flush=True)
    rows = []
    for name, results in found.items():
        if name == "report" and not full:
            continue  # one epoch tells nothing about the goal
        # A training that never got there took longer than all its epochs: a lower bound, and marked as one.
        to_goal = [reached or sum(epochs) for reached, epochs in results]
        missed = sum(reached is None for reached, _ in results)
        rows.append(row(f"seconds to {GOAL:.0%} test accuracy", name, to_goal, missed=missed))
    for name, results in found.items():
        rows.append(row("seconds an epoch", name, [statistics.median(epochs) for _, epochs in results]))
    return rows


def inference(rounds: int) -> list[dict]:
    """Images a second, by images at a time."""
    import keras
    import numpy as np
    import peers

    from helpers import data
    from helpers.predict.network import load

    x = data.load().x_test
    network = load(paths.REFERENCE / "digits.tflite")
    reference = keras.models.load_model(paths.REFERENCE / "digits.keras")
    keras_io = peers.keras_io()
    ways = {
        "keras.io, model.predict": lambda part: keras_io.predict(to_input(part), batch_size=1000, verbose=0),
        "digits.keras, model.predict": lambda part: reference.predict(to_input(part), batch_size=1000, verbose=0),
        "digits.tflite, LiteRT": network,
    }
    rows = []
    for size, calls in BATCHES.items():
        found = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, way in ways.items():
                start = time.perf_counter()
                for _ in range(calls):
                    way(np.ascontiguousarray(x[:size]))
                if number:  # the first round traces and warms up
                    found[name].append(calls * size / (time.perf_counter() - start))
        rows += [row(f"images a second, {size:,} at a time", name, values) for name, values in found.items()]
    return rows


def start(rounds: int) -> list[dict]:
    """Seconds from the start of a process to the answer for one picture."""
    picture = next((paths.DATA / "samples").glob("01_*"))
    with_keras = (
        "import sys, keras, numpy as np; from helpers import images; "
        "model = keras.models.load_model(sys.argv[1]); "
        "steps = preprocess(read_image(sys.argv[2])); "
        "print(model.predict(to_input(list(steps.values())[-1][None]), verbose=0).argmax())"
    )
    ways = {
        "Keras": ["-c", with_keras, str(paths.REFERENCE / "digits.keras"), str(picture)],
        "helpers.predict (LiteRT)": ["-m", "helpers.predict", str(picture)],
    }
    found = {name: [] for name in ways}
    for _ in range(rounds):
        for name, arguments in ways.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=paths.ROOT, check=True, capture_output=True)
            found[name].append(time.perf_counter() - begin)
    return [row("seconds from start to answer", name, values) for name, values in found.items()]


SMALL, LARGE = 3000, 24  # files of 28×28 pixels, and phone photographs of 12 megapixels
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


def folders(rounds: int) -> list[dict]:
    """Pictures read a second, from files, the program's start included.

    The peer does what a beginner writes: one process, each picture shrunk whole. It reads hardly any photograph right,
    so it says what the files and the network cost.
    """
    with tempfile.TemporaryDirectory() as made:
        kinds = {"28×28 pixels": Path(made) / "small", "phone photographs, 12 megapixels": Path(made) / "large"}
        _write_pictures(*kinds.values())
        rows = []
        for kind, folder in kinds.items():
            ways = {
                "shrunk, model.predict": ["-c", SHRUNK, str(paths.REFERENCE / "digits.keras"), str(folder)],
                "helpers.predict": ["-m", "helpers.predict", str(folder), "--csv", str(Path(made) / "answers.csv")],
            }
            found = {name: [] for name in ways}
            for _ in range(rounds):
                for name, arguments in ways.items():
                    (Path(made) / "answers.csv").unlink(missing_ok=True)  # else it would go on where it stopped
                    begin = time.perf_counter()
                    subprocess.run([sys.executable, *arguments], cwd=paths.ROOT, check=True, capture_output=True)
                    found[name].append(len(list(folder.iterdir())) / (time.perf_counter() - begin))
            rows += [row(f"files a second, {kind}", name, values) for name, values in found.items()]
    return rows


def _write_pictures(small: Path, large: Path) -> None:
    """Fills two folders: test digits as PNG, and the sample photographs enlarged to a phone's 4000 × 3000 as JPEG."""
    from helpers import data

    small.mkdir()
    for i, x in enumerate(data.load().x_test[:SMALL]):
        cv2.imwrite(str(small / f"{i:04}.png"), x)
    large.mkdir()
    samples = sorted((paths.DATA / "samples").glob("[0-9]*.jpg"))
    for file in samples[:LARGE]:
        wide = cv2.resize(read_image(file), (4000, 3000), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(large / file.name), wide[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])


GROWTH = """
import json, resource, sys, time
import numpy as np
from helpers import data
from helpers.training import recipes
size = int(sys.argv[1])
dataset = data.load()
copies = -(-size // len(dataset.x_train))
part = np.tile(dataset.x_train, (copies, 1, 1))[:size], np.tile(dataset.y_train, copies)[:size]
_, _, seconds = recipes.train(recipes.FAST, part, 0)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([seconds, peak / 2**20]))
"""


def growth(rounds: int) -> list[dict]:
    """Seconds and memory of one epoch as the training set grows; each size in a process of its own."""
    found = {size: [] for size in SIZES}
    for number in range(rounds):
        for size in SIZES:
            if number >= (3 if size <= 60_000 else 1):
                continue  # the curve is what counts here, no ratio to a peer
            result = subprocess.run(
                [sys.executable, "-c", GROWTH, str(size)], cwd=paths.ROOT, check=True, capture_output=True, text=True
            )
            found[size].append(json.loads(result.stdout.splitlines()[-1]))
    rows = [row("seconds an epoch, by images", f"{size:,}", [s for s, _ in v]) for size, v in found.items()]
    return rows + [row("peak memory in MiB, by images", f"{size:,}", [m for _, m in v]) for size, v in found.items()]


def row(figure: str, what: str, values: list[float], missed: int = 0) -> dict:
    """One line of the table."""
    return {
        "figure": figure,
        "what": what,
        "median": statistics.median(values),
        "low": min(values),
        "high": max(values),
        "runs": len(values),
        "missed": missed,
    }


def show(rows: list[dict]) -> None:
    """Prints the rows, with the ratio of each to the first of its figure."""
    figure = None
    for entry in rows:
        if entry["figure"] != figure:
            figure, first = entry["figure"], entry["median"]
            print(f"\n{figure}")
        spread = f"{entry['low']:.3g} to {entry['high']:.3g}"
        note = f"  ({entry['missed']} of {entry['runs']} runs never got there)" if entry["missed"] else ""
        print(f"  {entry['what']:32} {entry['median']:10.4g}   {spread:20} × {entry['median'] / first:.3g}{note}")


PARTS = {"training": training, "inference": inference, "start": start, "folders": folders, "growth": growth}


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="runs of everything (default: 5)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure (default: all)")
    parser.add_argument("--full", action="store_true", help="let the report's network train to the goal as well")
    args = parser.parse_args()
    file = paths.REFERENCE / "speed.json"
    results = read_json(file) if file.exists() else {}
    for name in args.only:
        rows = training(args.rounds, args.full) if name == "training" else PARTS[name](args.rounds)
        show(rows)
        results[name] = {"rows": rows, **environment()}
        write_json(file, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
