"""What trainings over several seeds have in common: options, a loop, files, mean and standard deviation."""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from helpers import paths, pool
from helpers.console import add_scheduler_option
from helpers.errors import UserError
from helpers.evaluation.seeds import spread
from helpers.files import atomic, read_json, write_json

if TYPE_CHECKING:
    import keras


def at_least_1(text: str) -> int:
    """The type of an option that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Adds where trainings run, --workers, --threads and --scheduler; of these only --threads changes results."""
    parser.add_argument(
        "--workers", type=at_least_1, default=os.cpu_count(), help="trainings at a time (default: cores)"
    )
    parser.add_argument("--threads", type=at_least_1, default=1, help="of each training (default: 1)")
    add_scheduler_option(parser)


def train_all(function: Callable, items: Iterable, args: argparse.Namespace, data: tuple = ()) -> Iterator[tuple]:
    """(item, function(item, *data)) for all items as they end, by `pool.trainings` with the options above."""
    try:
        for item, future in pool.trainings(function, items, args.scheduler, args.workers, args.threads, data):
            yield item, future.result()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Stopped; the same command goes on from here.") from None
    except RuntimeError as error:
        raise UserError(f"A training failed ({error}); the same command goes on from here.") from error


def network_file(epochs: int, seed: int | str) -> Path:
    """Where `make reference` keeps a trained network; its scores and its checkpoint lie beside it."""
    return paths.outputs() / "reference-training" / f"{epochs}-epochs-seed-{seed}.keras"


def train_kept(
    file: Path, recipe: object, function: Callable, items: Sequence, args: argparse.Namespace, data: tuple = ()
):
    """The rows of all items in order, by `train_all`; each is kept in `file` as it ends, and not made again.

    Rows that were made by another `recipe` (anything that JSON can hold) are.
    """
    before = read_json(file) if file.exists() else {}
    rows = before.get("rows", {}) if before.get("recipe") == recipe else {}
    for item, row in train_all(function, [item for item in items if str(item) not in rows], args, data):
        rows[str(item)] = row
        write_json(file, {"recipe": recipe, "rows": rows})
        print(f"{item}: validation {row['val_accuracy']:.2%}", flush=True)
    return [rows[str(item)] for item in items]


def packed(model: "keras.Model") -> bytes:
    """The bytes of a model's .keras file: so a network goes from one process, or machine, to another."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        model.save(file)
        return file.read_bytes()


def unpacked(network: bytes) -> "keras.Model":
    """The model that was `packed`."""
    import keras

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        file.write_bytes(network)
        return keras.models.load_model(file)


def write_bytes(file: Path, content: bytes) -> None:
    """Writes a file, whole or not at all."""
    with atomic(file) as partial:
        partial.write_bytes(content)


def over_seeds(rows: list[dict]) -> dict[str, dict]:
    """The "mean", "sd" (None for one seed) and "values" of each figure, from one row of figures per seed."""
    values = {name: [row[name] for row in rows] for name in rows[0] if name not in ("seed", "epochs")}
    return {
        "mean": {name: fmean(its) for name, its in values.items()},
        "sd": {name: stdev(its) if len(its) > 1 else None for name, its in values.items()},
        "values": values,
    }


def percent(values: list[float]) -> str:
    """A figure over seeds for a table, in percent: "99.65 ± 0.03"."""
    return spread(fmean(values), stdev(values) if len(values) > 1 else None)
