"""Searching hyperparameters with KerasTuner. Explained in notebooks/04_tuning.ipynb.

`python -m helpers.training.tuning --help` runs the same search in several processes or on a Dask cluster.
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
import logging
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import keras_tuner as kt
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from threadpoolctl import threadpool_limits

from helpers import data, paths, pool
from helpers.console import add_scheduler_option, checking, command
from helpers.data import to_input
from helpers.errors import UserError
from helpers.files import write_json
from helpers.models.networks import baseline_cnn

METHODS = ("random", "bayesian", "hyperband")
RESULTS = ("val_accuracy", "val_loss", "accuracy", "loss", "parameters", "train_seconds")
HYPERPARAMETERS = ("filters_1", "filters_2", "kernel_size", "dense_units", "dropout", "learning_rate")
# Options of the command line: the parameters of notebook 04 with their defaults and, for numbers, smallest values.
OPTIONS = {"DATASET": ("mnist",), "TRAIN_SIZE": (60000, 100), "VALIDATION": (6000, 100), "RUN": ("latest",)}
OPTIONS |= {"SEARCH_TRAIN_SIZE": (8000, 100), "TRIALS": (8, 2), "SEARCH_EPOCHS": (2, 1), "BATCH_SIZE": (128, 1)}
OPTIONS |= {"SEED": (0, 0)}


def build_model(hp: kt.HyperParameters, num_classes: int = 10) -> keras.Model:
    """The search space: asks `hp` for each value, and returns the compiled network made of them."""
    model = baseline_cnn(
        filters=(hp.Int("filters_1", 32, 48, step=8), hp.Int("filters_2", 64, 96, step=16)),
        kernel_size=hp.Choice("kernel_size", [3, 5]),
        dense_units=hp.Int("dense_units", 128, 256, step=64),
        dropout=hp.Float("dropout", 0.0, 0.5, step=0.1),
        num_classes=num_classes,
    )
    learning_rate = hp.Float("learning_rate", 3e-4, 1e-2, sampling="log")
    model.compile(keras.optimizers.Adam(learning_rate), loss="categorical_crossentropy", metrics=["accuracy"])
    return model


def search(
    method: str,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    trials: int,
    epochs: int,
    folder: Path,
    seed: int = 0,
    batch_size: int = 128,
    hypermodel: Callable[[kt.HyperParameters], keras.Model] | None = None,
    **where,
) -> "Search":
    """Looks for the hyperparameters with the best validation accuracy.

    The search lives in `folder`/<method>-<hash of all that defines it>. So a changed search starts anew, an
    interrupted one goes on after its last finished trial, a finished one is only read. A damaged state file is set
    aside with a note. The same seed gives the same trials; with several at a time, those of Bayesian optimisation
    and Hyperband also depend on the order in which trials end.

    Args:
        method: "random", "bayesian" or "hyperband".
        train: Images (N, 28, 28, 1), float32 in 0..1, and one-hot labels (N, classes).
        validation: The same for the images that measure each trial.
        trials: Models that the first two methods train, for `epochs` epochs each. Hyperband spends the same number of
            epochs, or less than a model's more, on more models, most of which it stops early.
        epochs: Epochs of a model.
        folder: Where searches live.
        seed: Decides the trials, and the initial values and the order of images in each.
        batch_size: Images per step.
        hypermodel: Takes kt.HyperParameters and returns a compiled model; `build_model` by default.
        where: Any of scheduler, workers and threads of `pool.trainings`, which then gives each trial a process of its
            own; without them all trials run in this one.

    Returns:
        The tuner with all its trials.

    Raises:
        UserError: For bad arguments, when three trials in a row fail, and as `pool.trainings` does.
    """
    _check(method, train, validation, trials, epochs)
    hypermodel = hypermodel or functools.partial(build_model, num_classes=train[1].shape[1])
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns that many networks are traced; that's meant
    threads = [where.get("threads", 1)] if where else []  # results depend on it, if only in the last digits
    name = _fingerprint(hypermodel, train, validation, method, trials, epochs, seed, batch_size, *threads)
    tuner = _open(lambda: Search(_oracle(method, trials, epochs, seed), hypermodel, Path(folder) / name, seed))
    try:
        if where:
            tuner.share(train, validation, epochs, batch_size, where)
        else:
            tuner.search(train, validation, epochs, batch_size)
    except RuntimeError as error:
        if "consecutive failures" not in str(error):
            raise
        reason = _last_line(str(error))
        raise UserError(f"The search stopped, because three trials in a row failed; the last: {reason}.") from error
    finally:
        # What follows must not depend on whether trials ran or were only read.
        keras.utils.set_random_seed(seed)
    tuner.clean()
    return tuner


def _check(method: str, train: tuple, validation: tuple, trials: int, epochs: int) -> None:
    """Raises UserError for arguments that no search can work with."""
    if method not in METHODS:
        raise UserError(f"There is no search method {method!r}: choose one of {', '.join(METHODS)}.")
    for name, value in (("trials", trials), ("epochs", epochs)):
        if not isinstance(value, int) or value < 1:
            raise UserError(f"A search needs {name} of at least 1, as a whole number, but got {value!r}.")
    for name, (x, y) in (("training", train), ("validation", validation)):
        if len(x) == 0 or len(x) != len(y) or np.ndim(y) != 2:
            raise UserError(
                f"The {name} data of a search must be images and as many one-hot labels; "
                f"found shapes {np.shape(x)} and {np.shape(y)}."
            )


def _fingerprint(hypermodel: Callable, train: tuple, validation: tuple, method: str, *settings: int) -> str:
    """The method, and eight characters that change with all else that changes the outcome."""
    hp = kt.HyperParameters()
    hypermodel(hp)  # declares the space
    sources = [inspect.getsource(part) for part in (build_model, getattr(hypermodel, "func", hypermodel), baseline_cnn)]
    digest = hashlib.sha256(json.dumps([hp.get_config(), sources, settings]).encode())
    for array in (*train, *validation):
        digest.update(np.ascontiguousarray(array))
    return f"{method}-{digest.hexdigest()[:8]}"


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


def _oracle(method: str, trials: int, epochs: int, seed: int) -> kt.Oracle:
    """What chooses the values of the next trial."""
    # KerasTuner takes a seed of 0 for "none given" and draws one at random; and it counts upwards from the
    # seed, so that neighbours would share trials: those of other seeds, and those of other methods.
    start = 1 + (1000 * seed + 100 * METHODS.index(method)) % 2**31
    common = {"objective": kt.Objective("val_accuracy", "max"), "seed": start}
    if method == "random":
        return kt.oracles.RandomSearchOracle(max_trials=trials, **common)
    if method == "bayesian":
        return _Bayesian(max_trials=trials, num_initial_points=max(2, trials // 3), **common)
    return _Hyperband(budget=trials * epochs, max_epochs=epochs, factor=2, **common)


class _Bayesian(kt.oracles.BayesianOptimizationOracle):
    """Values where a Gaussian process, fitted to the trials so far, promises most."""

    def populate_space(self, trial_id):
        """Values for the next trial."""
        # The state of an oracle leaves out its random generator, so a resumed search would leave the path of an
        # uninterrupted one: another oracle with a seed of this trial's own takes over the state and chooses.
        chooser = kt.oracles.BayesianOptimizationOracle(self.objective, seed=self.seed + len(self.trials))
        chooser.trials = self.trials
        chooser.set_state(self.get_state())
        # The matrices are tiny, so threads only wait for each other; that a scale hits its bound is no news.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            response = chooser.populate_space(trial_id)
        self.set_state(chooser.get_state())
        return response


class _Hyperband(kt.oracles.HyperbandOracle):
    """Hyperband (Li et al. 2018), repeated until the next trial would exceed `budget` epochs in all."""

    def __init__(self, budget: int, **kwargs):
        super().__init__(hyperband_iterations=budget, **kwargs)  # more rounds than the budget can pay
        self.budget = budget

    def populate_space(self, trial_id):
        """Values for the next trial, or the end of the search where it would exceed the budget."""
        before = copy.deepcopy(self.get_state())
        response = super().populate_space(trial_id)
        if response["status"] == "RUNNING":
            spent = sum(_new_epochs(trial.hyperparameters.values) for trial in self.trials.values())
            if spent + _new_epochs(response["values"]) > self.budget:
                self.set_state(before)
                # Trials under way may let cheaper ones follow.
                return {"status": "IDLE" if self.ongoing_trials else "STOPPED"}
        return response


def _new_epochs(values: dict) -> int:
    """The epochs that a Hyperband trial adds to those of the trial that it continues."""
    return values["tuner/epochs"] - values["tuner/initial_epoch"]


class Search(kt.Tuner):
    """One tuner for every oracle, whose state with all trials is one file, written whole or not at all.

    KerasTuner's own files, one for the oracle and one for each trial, are written in place: a process killed in
    between leaves them truncated or in disagreement. Here they are never read.
    """

    def __init__(self, oracle: kt.Oracle, hypermodel: Callable, folder: Path, seed: int):
        self.seed, self.file = seed, folder / "search.json"
        oracle.verbose = 0
        super().__init__(oracle, hypermodel, directory=str(folder.parent), project_name=folder.name)

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

    def run_trial(self, trial, train: tuple, validation: tuple, epochs: int, batch_size: int) -> dict:
        """Trains one model in this process."""
        ended = _train(self.hypermodel.build, self.seed, epochs, batch_size, self._call(trial), train, validation)
        return self._keep(trial.trial_id, *ended)

    def share(self, train: tuple, validation: tuple, epochs: int, batch_size: int, where: dict) -> None:
        """Trains all models in processes of their own, by `pool.trainings`."""
        function = functools.partial(_train, self.hypermodel.build, self.seed, epochs, batch_size)
        parts = tuple((_small(x), y) for x, y in (train, validation))
        with contextlib.closing(pool.trainings(function, self._calls(), data=parts, **where)) as ended:
            for (trial_id, *_), future in ended:
                trial, error = self.oracle.get_trial(trial_id), future.exception()
                if isinstance(error, UserError):
                    raise error
                if error:  # no network can be built or trained with these values
                    trial.status, trial.message = "INVALID", f"{type(error).__name__}: {error}"
                else:
                    metrics = self._keep(trial_id, *future.result())
                    self.oracle.update_trial(trial_id, metrics)
                    trial.status = "COMPLETED"
                self.on_trial_end(trial)
                if not error:
                    print(f"trial {int(trial_id) + 1}: val_accuracy {metrics['val_accuracy']:.4f}", flush=True)

    def _calls(self) -> Iterator[tuple | None]:
        """The trials to start; None while the next one waits for another's result."""
        for number in itertools.count():
            trial = self.oracle.create_trial(f"asked {number}")
            if trial.status == "STOPPED":
                return
            yield self._call(trial) if trial.status == "RUNNING" else None

    def _call(self, trial) -> tuple[str, kt.HyperParameters, bytes | None]:
        """A trial's name and values, and the weights of the one that it continues, if it does."""
        parent = trial.hyperparameters.values.get("tuner/trial_id")
        return trial.trial_id, trial.hyperparameters, parent and self._weights(parent).read_bytes()

    def _keep(self, trial_id: str, metrics: dict, weights: bytes | None) -> dict:
        """Keeps the weights of a trial that may be continued; returns the metrics."""
        if weights:
            self._weights(trial_id).write_bytes(weights)
        return metrics

    def _weights(self, trial_id: str) -> Path:
        return Path(self.get_trial_dir(trial_id), "trial.weights.h5")

    def on_trial_end(self, trial):
        """Reports why a trial failed."""
        if trial.status != "COMPLETED":
            print(f"Note: trial {int(trial.trial_id) + 1} failed: {_last_line(trial.message)}.")
        super().on_trial_end(trial)

    def clean(self):
        """Deletes what a finished search no longer needs: KerasTuner's own files, Hyperband's weights."""
        for folder in self.file.parent.glob("trial_*"):
            shutil.rmtree(folder, ignore_errors=True)
        self.file.with_name("oracle.json").unlink(missing_ok=True)


def _train(build, seed: int, epochs: int, batch_size: int, call: tuple, train: tuple, validation: tuple) -> tuple:
    """Trains one model and measures it on the validation data after its last epoch: a trial, `call` as in `Search`.

    Returns its metrics and, for Hyperband, its weights.
    """
    _, hp, inherited = call
    (x, y), held_out = ((to_input(x) if x.dtype == np.uint8 else x, y) for x, y in (train, validation))
    first, last = hp.values.get("tuner/initial_epoch", 0), hp.values.get("tuner/epochs", epochs)
    started = time.monotonic()
    keras.utils.clear_session(free_memory=False)  # Python collects the last model when it needs the memory
    keras.utils.set_random_seed(seed + first)  # the same for all: only the values make the difference
    model = build(hp)
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder, "trial.weights.h5"), None
        if inherited:
            file.write_bytes(inherited)
            model.optimizer.build(model.trainable_variables)  # Adam goes on with its running means
            model.load_weights(file)
        fitted = model.fit(x, y, initial_epoch=first, epochs=last, batch_size=batch_size, verbose=0)
        val_loss, val_accuracy = model.evaluate(*held_out, batch_size=1000, verbose=0)
        if "tuner/epochs" in hp.values:
            model.save_weights(file)
            weights = file.read_bytes()
    accuracy, loss = (fitted.history[name][-1] for name in ("accuracy", "loss"))
    seconds = time.monotonic() - started
    figures = (val_accuracy, val_loss, accuracy, loss, model.count_params(), seconds)
    return dict(zip(RESULTS, figures, strict=True)), weights


def _small(x: np.ndarray) -> np.ndarray:
    """Images as the uint8 (N, 28, 28) that they were made of, a quarter of the size, where nothing is lost by it."""
    small = np.rint(255 * x[..., 0]).astype(np.uint8)
    return small if np.array_equal(to_input(small), x) else x


def _last_line(text: str | None) -> str:
    lines = (text or "no reason was given").strip().splitlines()
    return lines[-1].strip().rstrip(".")


def trials_table(tuner: Search) -> pd.DataFrame:
    """One row per finished trial, the best validation accuracy first; `trial` counts from 1 as they started."""
    rows, names = [], [hp.name for hp in tuner.oracle.get_space().space] + ["tuner/epochs"]
    for trial in tuner.oracle.trials.values():
        if trial.status == "COMPLETED":
            row = {"trial": int(trial.trial_id) + 1}
            row |= {name: trial.hyperparameters.get(name) for name in names if name in trial.hyperparameters.values}
            row |= {name: trial.metrics.get_last_value(name) for name in RESULTS}
            rows.append(row)
    if not rows:
        raise UserError(f"The search in {paths.display(Path(tuner.project_dir))} has no finished trial yet.")
    table = pd.DataFrame(rows).rename(columns={"tuner/epochs": "epochs"}).astype({"parameters": int})
    table = table.round({"dropout": 3})  # 3 · 0.1 is 0.30000000000000004
    return table.sort_values("val_accuracy", ascending=False, kind="stable", ignore_index=True)


def importance(table: pd.DataFrame, seed: int = 0, repeats: int = 20) -> tuple[pd.DataFrame, float]:
    """Ranks hyperparameters by how much they mattered: permutation importance of a random forest fitted to trials.

    Source: Breiman, Random forests, Machine Learning 45 (2001). Explained in notebooks/04_tuning.ipynb.

    Args:
        table: Trials as from `trials_table`, at least 3.
        seed: Of the forest and of the shuffling.
        repeats: How often each column is shuffled.

    Returns:
        One row per hyperparameter, the most important first, and the forest's out-of-bag R². `importance` is how much
        R² the forest loses when that column is shuffled (mean of `repeats`, standard deviation `sd`);
        `rank_correlation` is Spearman's with the validation accuracy: its sign tells which way is better. An
        out-of-bag R² near 0 or below means that the trials are too few to tell.

    Raises:
        UserError: The table has fewer than 3 trials or none of HYPERPARAMETERS.
    """
    columns = [name for name in HYPERPARAMETERS if name in table]
    if len(table) < 3 or not columns:
        raise UserError(f"Importance needs at least 3 trials with their hyperparameters; found {len(table)}.")
    x, y = table[columns], 100 * table["val_accuracy"]
    forest = RandomForestRegressor(200, min_samples_leaf=2, oob_score=True, random_state=seed).fit(x, y)
    drop = permutation_importance(forest, x, y, n_repeats=repeats, random_state=seed)
    result = pd.DataFrame(
        {
            "importance": drop.importances_mean,
            "sd": drop.importances_std,
            "rank_correlation": [_rank_correlation(x[name], y) for name in columns],
        },
        index=pd.Index(columns, name="hyperparameter"),
    )
    return result.sort_values("importance", ascending=False, kind="stable"), float(forest.oob_score_)


def _rank_correlation(a: pd.Series, b: pd.Series) -> float:
    """Spearman's; not a number, and no warning, where one of the two never changes."""
    return a.corr(b, method="spearman") if a.nunique() > 1 and b.nunique() > 1 else float("nan")


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.training.tuning",
        description="Searches hyperparameters, each trial in a process of its own. Random search gives the same trials "
        "to the bit wherever and however many at a time they run; what Bayesian optimisation and Hyperband try depends "
        "on the order in which trials end. The same command resumes an interrupted search.",
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
    dataset = data.load(args.DATASET)
    x, y = data.subset(dataset.x_train, dataset.y_train, args.TRAIN_SIZE, args.SEED)
    train, validation = data.split(x, y, args.VALIDATION, args.SEED)
    train = data.subset(*train, args.SEARCH_TRAIN_SIZE, args.SEED)
    parts = ((to_input(x), keras.utils.to_categorical(y, dataset.num_classes)) for x, y in (train, validation))
    folder = paths.outputs() / args.RUN / "tuning"
    try:
        tuner = search(
            args.method, *parts, args.TRIALS, args.SEARCH_EPOCHS, folder, args.SEED, args.BATCH_SIZE,
            workers=args.workers, threads=args.threads, scheduler=args.scheduler,
        )  # fmt: skip
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("Interrupted: the same command goes on after the last finished trial.") from error
    print(trials_table(tuner).drop(columns=["val_loss", "accuracy", "loss"]).head().to_string(index=False))
    print(f"The state of the search is in {paths.display(tuner.file)}.")
