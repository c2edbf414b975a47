"""Searching hyperparameters with KerasTuner. Explained in notebooks/04_tuning.ipynb.

`search` works alone, and the same function works in a chief and its workers (`helpers.cluster`):
`python -m helpers.tuning --help` shows the commands.
"""

if __name__ == "__main__":  # the command line answers at once; what follows imports TensorFlow
    from helpers.training.cluster import main

    raise SystemExit(main())

import contextlib
import copy
import hashlib
import inspect
import io
import itertools
import json
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import keras_tuner as kt
import numpy as np
import pandas as pd
from keras_tuner.engine.trial import Trial
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import permutation_importance
from threadpoolctl import threadpool_limits

from helpers import paths
from helpers.errors import UserError
from helpers.files import atomic, write_json
from helpers.models.networks import baseline_cnn

METHODS = ("random", "bayesian", "hyperband")
RESULTS = ("val_accuracy", "val_loss", "accuracy", "loss", "parameters", "train_seconds")
HYPERPARAMETERS = ("filters_1", "filters_2", "kernel_size", "dense_units", "dropout", "learning_rate")


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
    host=None,
) -> "Search":
    """Looks for the hyperparameters with the best validation accuracy; returns the tuner with all its trials.

    `method` is "random", "bayesian" or "hyperband". The budget is the same for each: `trials` times `epochs`
    epochs of training. The first two spend it on `trials` models of `epochs` epochs each; Hyperband on more
    models, most of them stopped early. `train` and `validation` are (images, one-hot labels).
    `hypermodel(hp)` returns a compiled model; `build_model` by default. `host` is None to work alone, else
    the chief or the worker of `helpers.cluster`.

    The search lives in `folder`/<method>-<hash of all that defines it>. So a changed search starts anew, an
    interrupted one goes on after its last finished trial, a finished one is only read. A damaged state file
    is set aside with a note. The same seed gives the same trials. Raises UserError for bad arguments, and
    when three trials in a row fail.
    """
    _check(method, train, validation, trials, epochs)
    if hypermodel is None:
        num_classes = train[1].shape[1]

        def hypermodel(hp):
            """The network with these hyperparameters."""
            return build_model(hp, num_classes)

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns that many networks are traced; that's meant
    name = f"{method}-{_fingerprint(hypermodel, train, validation, method, trials, epochs, seed, batch_size)}"
    tuner = _open(method, hypermodel, trials, epochs, Path(folder) / name, seed)
    try:
        (host.run if host else Search.search)(tuner, train, validation, epochs=epochs, batch_size=batch_size)
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


def _fingerprint(hypermodel: Callable, train: tuple, validation: tuple, *settings: object) -> str:
    """Eight characters that change with anything that changes the outcome: space, network, data, settings."""
    hp = kt.HyperParameters()
    hypermodel(hp)  # declares the space
    sources = [inspect.getsource(part) for part in (build_model, hypermodel, baseline_cnn)]
    digest = hashlib.sha256(json.dumps([hp.get_config(), sources, settings]).encode())
    for array in (*train, *validation):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:8]


def _open(method: str, hypermodel: Callable, trials: int, epochs: int, folder: Path, seed: int) -> "Search":
    """The tuner with what is already in `folder`; a damaged state is set aside with a note."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Search(_oracle(method, trials, epochs, seed), hypermodel, folder, seed)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        state = folder / "oracle.json"
        if not state.exists():
            raise
        asides = (folder.with_name(f"{folder.name}.damaged-{i}") for i in itertools.count(1))
        aside = next(path for path in asides if not path.exists())
        folder.rename(aside)
        print(
            f"Note: {paths.display(state)} was damaged ({type(error).__name__}); "
            f"its folder is now {aside.name}, and the search starts anew."
        )
        return Search(_oracle(method, trials, epochs, seed), hypermodel, folder, seed)


def _oracle(method: str, trials: int, epochs: int, seed: int) -> kt.Oracle:
    """What chooses the values of the next trial."""
    # KerasTuner takes a seed of 0 for "none given" and draws one at random; and it counts upwards from the
    # seed, so that neighbours would share trials: those of other seeds, and those of other methods.
    start = 1 + (1000 * seed + 100 * METHODS.index(method)) % 2**31
    common = {"objective": kt.Objective("val_accuracy", "max"), "seed": start}
    if method == "random":
        return _Random(max_trials=trials, **common)
    if method == "bayesian":
        return _Bayesian(max_trials=trials, num_initial_points=max(2, trials // 3), **common)
    return _Hyperband(budget=trials * epochs, max_epochs=epochs, factor=2, **common)


class _OneFile:
    """Mixed into an oracle: its whole state, trials included, is one file, written whole or not at all.

    KerasTuner writes a file for the oracle and one for each trial, in place: a process killed in between
    leaves them truncated or in disagreement.
    """

    def get_state(self):
        """KerasTuner's state of the oracle, and that of each trial."""
        return super().get_state() | {"trials": [trial.get_state() for trial in self.trials.values()]}

    def save(self):
        """Writes the whole state."""
        write_json(self._get_oracle_fname(), self.get_state())

    def _save_trial(self, trial):
        """Nothing to do: wherever a trial changes its status, KerasTuner calls `save` next."""

    def reload(self):
        """Reads the state; trials that were under way or failed when it was written will be tried again."""
        state = json.loads(Path(self._get_oracle_fname()).read_text(encoding="utf-8"))
        self.trials = {trial["trial_id"]: Trial.from_state(trial) for trial in state["trials"]}
        self.set_state(state)
        again = [name for name, trial in self.trials.items() if trial.status != "COMPLETED"]
        for name in again:
            self._run_times[name] = 0
        self.ongoing_trials = {}
        self.end_order = [name for name in self.end_order if name not in again]
        self._retry_queue = again[::-1]  # KerasTuner takes from its end


class _Random(_OneFile, kt.oracles.RandomSearchOracle):
    """Values drawn at random."""


class _Bayesian(_OneFile, kt.oracles.BayesianOptimizationOracle):
    """Values where a Gaussian process, fitted to the trials so far, promises most."""

    def populate_space(self, trial_id):
        """Values for the next trial."""
        # KerasTuner doesn't save this generator: a resumed search would leave an uninterrupted one's path.
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        # The matrices are tiny, so threads only wait for each other; that a scale hits its bound is no news.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().populate_space(trial_id)


class _Hyperband(_OneFile, kt.oracles.HyperbandOracle):
    """Hyperband (Li et al. 2018), repeated until the next trial would exceed `budget` epochs in all."""

    def __init__(self, budget: int, **kwargs):
        super().__init__(hyperband_iterations=budget, **kwargs)  # more rounds than the budget can pay
        self.budget = budget

    def populate_space(self, trial_id):
        """Values for the next trial, or the end of the search where it would exceed the budget."""
        before = copy.deepcopy((self._brackets, self._current_bracket, self._current_iteration))
        response = super().populate_space(trial_id)
        if response["status"] == "RUNNING":
            spent = sum(_new_epochs(trial.hyperparameters.values) for trial in self.trials.values())
            if spent + _new_epochs(response["values"]) > self.budget:
                self._brackets, self._current_bracket, self._current_iteration = before
                return {"status": "STOPPED"}
        return response


def _new_epochs(values: dict) -> int:
    """The epochs that a Hyperband trial adds to those of the trial that it continues."""
    return values["tuner/epochs"] - values["tuner/initial_epoch"]


class Search(kt.Tuner):
    """One tuner for every oracle: trains the model of each trial, and keeps no more than the next one needs."""

    def __init__(self, oracle: kt.Oracle, hypermodel: Callable, folder: Path, seed: int):
        """Reloads what is in `folder`."""
        self.seed = seed
        oracle.verbose = 0
        with contextlib.redirect_stdout(io.StringIO()):  # KerasTuner prints the absolute path that it reloads
            super().__init__(oracle, hypermodel, directory=str(folder.parent), project_name=folder.name)

    def _get_tuner_fname(self):
        # KerasTuner reloads if this file exists. Its own name for it differs between a search alone and a
        # chief's; the oracle's file is the same for both.
        return str(Path(self.project_dir) / "oracle.json")

    def save(self):
        """The oracle saves itself."""

    def reload(self):
        """Reads the oracle's state; a worker has none."""
        if not self._is_worker():
            self.oracle.reload()

    def pre_create_trial(self):
        """A worker that is told to wait asks again, but not without a pause."""
        if self._is_worker():
            time.sleep(0.2)

    def run_trial(self, trial: Trial, train: tuple, validation: tuple, epochs: int, batch_size: int) -> dict:
        """Trains one model and measures it on the validation data after its last epoch."""
        values = trial.hyperparameters.values
        first, last = values.get("tuner/initial_epoch", 0), values.get("tuner/epochs", epochs)
        started = time.monotonic()
        keras.utils.clear_session(free_memory=False)  # Python collects the last model when it needs the memory
        keras.utils.set_random_seed(self.seed + first)  # the same for all: only the values make the difference
        model = self.hypermodel.build(trial.hyperparameters)
        if first:
            parent = self._weights(values["tuner/trial_id"])
            first = first if parent.exists() else 0  # begin again where the folder isn't shared
            if first:
                model.optimizer.build(model.trainable_variables)  # Adam goes on with its running means
                model.load_weights(parent)
        fitted = model.fit(*train, initial_epoch=first, epochs=last, batch_size=batch_size, verbose=0)
        val_loss, val_accuracy = model.evaluate(*validation, batch_size=1000, verbose=0)
        if "tuner/epochs" in values:
            with atomic(self._weights(trial.trial_id)) as partial:
                model.save_weights(partial)
        return {
            "val_accuracy": val_accuracy,
            "val_loss": val_loss,
            "accuracy": fitted.history["accuracy"][-1],
            "loss": fitted.history["loss"][-1],
            "parameters": model.count_params(),
            "train_seconds": time.monotonic() - started,
        }

    def on_trial_end(self, trial: Trial):
        """Reports the trial; says why if it failed."""
        if trial.status != "COMPLETED":
            print(f"Note: trial {int(trial.trial_id) + 1} failed: {_last_line(trial.message)}.")
        super().on_trial_end(trial)

    def _weights(self, trial_id: str) -> Path:
        return Path(self.project_dir) / f"trial_{trial_id}.weights.h5"

    def clean(self):
        """Deletes the weights that Hyperband's trials left for those that continued them."""
        if not self._is_worker():
            for file in Path(self.project_dir).glob("trial_*.weights.h5"):
                file.unlink(missing_ok=True)


def _last_line(text: str | None) -> str:
    lines = (text or "no reason was given").strip().splitlines()
    return lines[-1].strip().rstrip(".")


def trials_table(tuner: Search) -> pd.DataFrame:
    """One row a finished trial, the best validation accuracy first; `trial` counts from 1 as they started."""
    rows, names = [], [hp.name for hp in tuner.oracle.get_space().space] + ["tuner/epochs"]
    for trial in tuner.oracle.trials.values():
        if trial.status == "COMPLETED":
            # The order is set here: what has come over gRPC has lost its own.
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
    """Which hyperparameter mattered: permutation importance of a random forest fitted to a table of trials.

    Returns a row a hyperparameter, the most important first, and the forest's out-of-bag R². `importance` is
    how much R² the forest loses when that column is shuffled (mean of `repeats`, with standard deviation `sd`);
    `rank_correlation` is Spearman's with the validation accuracy: its sign tells which way is better. An
    out-of-bag R² near 0 or below means that the trials are too few to tell.
    Source: Breiman, Random forests, Machine Learning 45 (2001). Explained in notebooks/04_tuning.ipynb.
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
