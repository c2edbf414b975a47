"""A grid: every combination of some parameters' values, each a run of its own. Here or, with a scheduler, on a cluster."""

import itertools
import re
import sys
from collections.abc import Callable

from helpers import pool
from helpers.errors import UserError
from helpers.notebook import parameters

THREADS = 2  # of each run, wherever it runs: results depend on it. Two as on the machine of the README's figures


def combinations(options: list[str], run: str | None = None) -> dict[str, list[tuple[str, object]]]:
    """The runs of options such as "EPOCHS=3,10": the name of each, such as "EPOCHS=3,SEED=0", and its parameters.

    The names begin with `run` if it is given. Values are not checked here. Raises UserError for options that are not
    of this form, or if two runs would have the same name.
    """
    axes = {}
    for option in options:
        name, _, texts = option.partition("=")
        if not texts or name in axes:
            raise UserError(f"--grid {option}: expected NAME=VALUE,VALUE… and each name once, such as EPOCHS=3,10.")
        values = dict.fromkeys(parameters.parse(name, text) for text in texts.split(","))
        axes[name] = [(name, value) for value in values]
    found = {}
    for pairs in itertools.product(*axes.values()):
        # A path has characters that no folder name may have.
        words = [re.sub(r"[^\w=.+-]+", "-", f"{name}={value}") for name, value in pairs]
        folder = ",".join([run] * bool(run) + words)
        if folder in found:
            raise UserError(f"--grid: two runs would be called {folder}: rename one of the files.")
        found[folder] = list(pairs)
    return found


def run_grid(function: Callable, runs: dict[str, dict], scheduler: str | None, workers: int, *args) -> dict[str, Exception]:  # fmt: skip
    """Calls function((name, values), *args) for each run, in a process of its own; returns the errors of those that stopped.

    `workers` at a time on this machine, or as many as the cluster has threads. One that stops does not stop the others.
    """
    stopped = {}
    members = pool.trainings(function, runs.items(), scheduler, workers, THREADS, args)
    for number, ((name, _), future) in enumerate(members, 1):
        try:
            future.result()
        except (UserError, RuntimeError) as error:
            stopped[name] = error
            print(f"{name}: {error}", file=sys.stderr)
        print(f"{name} {'stopped' if name in stopped else 'is done'} ({number} of {len(runs)})", flush=True)
    return stopped
