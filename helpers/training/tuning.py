"""Shares the random search of notebooks/04_tuning.ipynb, or a Bayesian one, among processes or machines.

`python -m helpers.training.tuning --help` tells how. Each trial is trained in a process of its own.
"""

if __name__ == "__main__":  # again under its own name, by which the processes of the trials know it
    from helpers.console import quiet_stderr

    with quiet_stderr():
        from helpers.training.tuning import main
    raise SystemExit(main())

import argparse
import contextlib
import copy
import functools
import hashlib
import inspect
import itertools
import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import keras_tuner as kt
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from helpers import data, paths, pool
from helpers.console import add_scheduler_option, checking, command
from helpers.data import to_input
from helpers.errors import UserError
from helpers.files import write_json
from helpers.models.networks import baseline_cnn

METHODS = ("random", "bayesian")
# Options of the command line: the parameters of notebook 04 with their defaults and, for numbers, smallest values.
OPTIONS = {"DATASET": ("mnist",), "TRAIN_SIZE": (60000, 100), "VALIDATION": (6000, 100), "RUN": ("latest",)}
OPTIONS |= {"SEARCH_TRAIN_SIZE": (8000, 100), "TRIALS": (10, 2), "SEARCH_EPOCHS": (2, 1), "BATCH_SIZE": (128, 1)}
OPTIONS |= {"SEED": (0, 0)}
Part = tuple[np.ndarray, np.ndarray]  # images uint8 (N, 28, 28), and their one-hot labels (N, classes)


def build_model(hp: kt.HyperParameters, num_classes: int = 10) -> keras.Model:
    """The space of notebook 04, asked in the same order, so that a seed draws the same values here and there."""
    kernel_size = hp.Choice("kernel_size", [3, 5])
    dropout = hp.Float("dropout", 0.0, 0.5, step=0.1)
    filters = tuple(hp.Int(name, 4, 64, step=2, sampling="log") for name in ("filters_1", "filters_2"))
    dense_units = hp.Int("dense_units", 16, 256, step=2, sampling="log")
    learning_rate = hp.Float("learning_rate", 1e-5, 1e-1, sampling="log")
    model = baseline_cnn(filters, kernel_size, dense_units, dropout, num_classes=num_classes)
    model.compile(keras.optimizers.Adam(learning_rate), loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def search(
    method: str, train: Part, validation: Part, trials: int, epochs: int, batch_size: int, seed: int, folder: Path, **where
) -> "Search":  # fmt: skip
    """Looks for the hyperparameters with the best validation accuracy; returns the tuner with all its trials.

    The search lives in `folder`/<method>-<hash of all that defines it>. So a changed search starts anew, an
    interrupted one goes on after its last finished trial, a finished one is only read. A damaged state file is set
    aside with a note. `where` is scheduler, workers and threads of `pool.trainings`.

    Raises:
        UserError: three trials in a row failed; and as `pool.trainings` does.
    """
    settings = trials, epochs, batch_size, seed, where.get("threads", 1)  # threads change the last digits
    build = functools.partial(build_model, num_classes=train[1].shape[1])
    name = f"{method}-{_fingerprint(build, *train, *validation, settings=settings)}"
    tuner = _open(lambda: Search(_oracle(method, trials, seed), build, Path(folder) / name))
    try:
        with threadpool_limits(1):  # the matrices of Bayesian optimisation are tiny: threads only wait for each other
            tuner.share(functools.partial(_train, build, seed, epochs, batch_size), (train, validation), where)
    except RuntimeError as error:
        if "consecutive failures" not in str(error):
            raise
        reason = _last_line(str(error))
        raise UserError(f"The search stopped, because three trials in a row failed; the last: {reason}.") from error
    tuner.clean()
    return tuner


def _fingerprint(build: Callable, *arrays: np.ndarray, settings: tuple) -> str:
    """Eight characters that change with all that changes the outcome."""
    hp = kt.HyperParameters()
    build(hp)  # declares the space
    sources = [inspect.getsource(part) for part in (build.func, baseline_cnn, _train)]
    digest = hashlib.sha256(json.dumps([hp.get_config(), sources, settings]).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:8]


def _open(new: Callable[[], "Search"]) -> "Search":
    """A new tuner with the state that its folder holds; a damaged one is set aside with a note."""
    tuner = new()
    try:
        tuner.reload()
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        tuner.file.replace(aside := tuner.file.with_name("damaged.json"))
        print(
            f"Note: {paths.display(tuner.file)} was damaged ({type(error).__name__}); "
            f"it is now {aside.name}, and the search starts anew."
        )
        return new()
    return tuner


def _oracle(method: str, trials: int, seed: int) -> kt.Oracle:
    """What chooses the values of the next trial."""
    # KerasTuner takes a seed of 0 for "none given"; and it counts upwards from the seed, so that neighbours would
    # share trials. Notebook 04 does the same.
    common = {"objective": kt.Objective("val_accuracy", "max"), "max_trials": trials, "seed": 1 + 1000 * seed % 2**31}
    if method == "random":
        return kt.oracles.RandomSearchOracle(**common)
    return kt.oracles.BayesianOptimizationOracle(num_initial_points=max(2, trials // 3), **common)


class Search(kt.Tuner):
    """A tuner that shares its trials, and whose state with all of them is one file, written whole or not at all.

    KerasTuner's own files, one for the oracle and one for each trial, are written in place: a process killed in
    between leaves them truncated or in disagreement. Here they are never read.
    """

    def __init__(self, oracle: kt.Oracle, build: Callable, folder: Path):
        self.file = folder / "search.json"
        oracle.verbose = 0
        super().__init__(oracle, build, directory=str(folder.parent), project_name=folder.name)

    def save(self):
        """Writes the state; called whenever a trial has ended."""
        trials = [trial.get_state() for trial in self.oracle.trials.values()]
        write_json(self.file, {"oracle": self.oracle.get_state(), "trials": trials})

    def reload(self):
        """Reads the state; trials that were under way or failed when it was written will be tried again."""
        state = json.loads(self.file.read_text(encoding="utf-8"))
        blank = self.oracle.create_trial("blank")
        trials = self.oracle.trials = {stored["trial_id"]: copy.deepcopy(blank) for stored in state["trials"]}
        for stored in state["trials"]:
            trials[stored["trial_id"]].set_state(stored)
        done = {name: 1 for name, trial in trials.items() if trial.status == "COMPLETED"}
        again = [name for name in trials if name not in done][::-1]  # KerasTuner takes from the end
        ended = [name for name in state["oracle"]["end_order"] if name in done]
        changes = {"ongoing_trials": {}, "run_times": done, "retry_queue": again, "end_order": ended}
        self.oracle.set_state(state["oracle"] | changes)

    def share(self, function: Callable, parts: tuple[Part, Part], where: dict) -> None:
        """Gives `function` the values of each trial and the data, in processes of their own, by `pool.trainings`."""
        with contextlib.closing(pool.trainings(function, self._calls(), data=parts, **where)) as ended:
            for (trial_id, _), future in ended:
                trial, error = self.oracle.get_trial(trial_id), future.exception()
                if isinstance(error, UserError):
                    raise error
                if error:  # no network can be built or trained with these values
                    trial.status, trial.message = "INVALID", f"{type(error).__name__}: {error}"
                    print(f"Note: trial {int(trial_id) + 1} failed: {_last_line(trial.message)}.")
                else:
                    self.oracle.update_trial(trial_id, metrics := future.result())
                    trial.status = "COMPLETED"
                self.on_trial_end(trial)
                if not error:
                    print(f"trial {int(trial_id) + 1}: val_accuracy {metrics['val_accuracy']:.4f}", flush=True)

    def _calls(self) -> Iterator[tuple[str, kt.HyperParameters] | None]:
        """The trials to start; None while the next one waits for another's result."""
        for number in itertools.count():
            trial = self.oracle.create_trial(f"asked {number}")
            if trial.status == "STOPPED":
                return
            yield (trial.trial_id, trial.hyperparameters) if trial.status == "RUNNING" else None

    def clean(self):
        """Deletes what a finished search no longer needs, KerasTuner's own files."""
        for folder in self.file.parent.glob("trial_*"):
            shutil.rmtree(folder, ignore_errors=True)
        self.file.with_name("oracle.json").unlink(missing_ok=True)


def _train(
    build: Callable, seed: int, epochs: int, batch_size: int, call: tuple, train: Part, validation: Part
) -> dict:
    """Trains one network; returns its metrics after its best epoch, as KerasTuner does."""
    started = time.monotonic()
    keras.utils.set_random_seed(seed)  # the same for all: only the values make the difference
    model = build(call[1])
    (x, y), (held_out, labels) = train, validation
    history = model.fit(
        to_input(x), y, batch_size, epochs, verbose=0, validation_data=(to_input(held_out), labels),
        validation_batch_size=1000,
    ).history  # fmt: skip
    best = int(np.argmax(history["val_accuracy"]))
    costs = {"parameters": model.count_params(), "train_seconds": time.monotonic() - started}
    return {name: values[best] for name, values in history.items()} | costs


def _last_line(text: str | None) -> str:
    lines = (text or "no reason was given").strip().splitlines()
    return lines[-1].strip().rstrip(".")


def trials_table(tuner: Search) -> pd.DataFrame:
    """One row per finished trial, the best validation accuracy first; `trial` counts from 1 as they started."""
    rows = [
        {"trial": int(trial.trial_id) + 1}
        | trial.hyperparameters.values
        | {name: trial.metrics.get_last_value(name) for name in trial.metrics.metrics}
        for trial in tuner.oracle.trials.values()
        if trial.status == "COMPLETED"
    ]
    table = pd.DataFrame(rows).astype({"parameters": int}).round({"dropout": 3})  # 3 · 0.1 is 0.30000000000000004
    return table.sort_values("val_accuracy", ascending=False, kind="stable", ignore_index=True)


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.training.tuning",
        description="Searches the hyperparameters of notebook 04, each trial in a process of its own. Random search "
        "gives the same trials to the bit wherever and however many at a time they run; what Bayesian optimisation "
        "tries depends on the order in which trials end. The same command resumes an interrupted search.",
    )
    parser.add_argument("--method", default="random", choices=METHODS, help="(random)")
    for name, (value, *_) in OPTIONS.items():
        option, text = f"--{name.lower().replace('_', '-')}", f"{name} of notebook 04 ({value})"
        parser.add_argument(option, dest=name, type=type(value), default=value, help=text, metavar="X")
    parser.add_argument("--workers", type=int, default=1, help="trials at a time on this machine (1)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each trial (1)")
    add_scheduler_option(parser)
    parser.add_argument("--patience", metavar="SECONDS", help="end after so long without any worker of a cluster (60)")
    args = parser.parse_args(argv)
    lowest = {name: low for name, (_, *lows) in OPTIONS.items() for low in lows} | {"workers": 1, "threads": 1}
    for name, low in lowest.items():
        if getattr(args, name) < low:
            parser.error(f"--{name.lower().replace('_', '-')} must be at least {low}, not {getattr(args, name)}")
    if not re.fullmatch(r"(?!reference$)\w[\w. -]*", args.RUN):
        parser.error(f"--run must be the name of a run folder other than reference, not {args.RUN!r}")
    os.environ["PATIENCE"] = args.patience or os.environ.get("PATIENCE", "")
    with checking():
        pool.patience()
    warnings.simplefilter("ignore", ConvergenceWarning)  # a scale of the Gaussian process at its bound is no news
    dataset = data.load(args.DATASET)
    x, y = data.subset(dataset.x_train, dataset.y_train, args.TRAIN_SIZE, args.SEED)
    train, validation = data.split(x, y, args.VALIDATION, args.SEED)
    train = data.subset(*train, args.SEARCH_TRAIN_SIZE, args.SEED)
    parts = [(x, keras.utils.to_categorical(y, dataset.num_classes)) for x, y in (train, validation)]
    folder = paths.outputs() / args.RUN / "tuning"
    try:
        tuner = search(
            args.method, *parts, args.TRIALS, args.SEARCH_EPOCHS, args.BATCH_SIZE, args.SEED, folder,
            workers=args.workers, threads=args.threads, scheduler=args.scheduler,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("Interrupted: the same command goes on after the last finished trial.") from error
    print(trials_table(tuner).drop(columns=["val_loss", "accuracy", "loss"]).head().to_string(index=False))
    print(f"The state of the search is in {paths.display(tuner.file)}.")
