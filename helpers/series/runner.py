"""Runs the notebooks in order through papermill: python -m helpers.series --help.

A notebook runs again only if its code (prose does not count), its parameters, the helpers it imports, its inputs, what
it made or the installed packages have changed. What is in a notebook is none of its business.
"""

import argparse
import ast
import difflib
import functools
import hashlib
import json
import logging
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import filelock
import nbformat
import papermill
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbclient.exceptions import DeadKernelError

from helpers import data, paths
from helpers.console import add_scheduler_option, checking, command
from helpers.errors import UserError
from helpers.files import PARTIAL, read_json, sha256, write_json
from helpers.notebook import parameters
from helpers.notebook.run import Run, declared, environment
from helpers.series import model_card, runs
from helpers.series.dependencies import closure, needed
from helpers.series.grid import combinations, run_grid
from helpers.series.rendering import number

RECORD = ".record.json"  # in a run folder: the `state` of each notebook when it had run
FILES = ("DATASET", "IMAGE", "OTHER_DIGITS")  # parameters that may name a file
# The last label that cells of a notebook speak of, in a data set that a parameter names.
SPOKEN_OF = {
    ("02_preprocessing", "DATASET"): 7,
    ("05_evaluation", "DATASET"): 8,
    ("10_beyond_mnist", "OTHER_DIGITS"): 9,
}


@dataclass(frozen=True)
class Notebook:
    """A notebook of the series: its name (03_baseline_cnn), its file, the files it declares, its parameters' defaults."""

    name: str
    path: Path
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    defaults: dict[str, object]

    @classmethod
    def read(cls, path: Path) -> "Notebook":
        """Reads what the notebook's second and parameters cells declare. Raises UserError if it has no such cells."""
        try:
            goals = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][1]["source"])
            needs, makes = (tuple(declared(goals, word)) for word in ("Needs", "Makes"))
            found = {name: parameter["default"] for name, parameter in papermill.inspect_notebook(str(path)).items()}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise UserError(
                f"{paths.display(path)} is not a notebook of this series ({error}): see CONTRIBUTING.md."
            ) from error
        if not found:
            raise UserError(f"{paths.display(path)} has no cell tagged parameters: see CONTRIBUTING.md.")
        for name, text in found.items():
            try:
                found[name] = ast.literal_eval(text)
            except (ValueError, SyntaxError) as error:
                place = f"{paths.display(path)}: {name} = {text} in the parameters cell"
                raise UserError(f"{place} is not NAME = literal  # help.") from error
        return cls(path.stem, path, needs, makes, found)

    def sources(self) -> list[str]:
        """Its code as plain Python, cell by cell, a reader's own %magics translated.

        The bootstrap cell does not count: it only finds the helpers, and `tools.address` rewrites it.
        """
        cells = [cell for cell in nbformat.read(self.path, as_version=4).cells if cell.cell_type == "code"]
        counted = [cell.source for cell in cells if "bootstrap" not in cell.metadata.get("tags", [])]
        return list(map(TransformerManager().transform_cell, counted))

    def code(self) -> str:
        """A digest of its code and of every file of the project that it imports, directly or not."""
        sources = self.sources()
        digest = hashlib.sha256("\0".join(sources).encode())
        for file in sorted(closure(sources)):
            digest.update(file.read_bytes())
        return digest.hexdigest()

    def inputs(self, folder: Path, values: dict[str, object]) -> dict[str, list[Path]]:
        """Each entry of Needs with the files behind it, wherever the notebook would read them now."""
        default = self.defaults.get("DATASET")
        return {need: needed(need, folder, values.get("DATASET", default) == default) for need in self.needs}

    def state(self, folder: Path, values: dict[str, object]) -> dict:
        """What decides whether it is up to date. What it made counts too: altered by hand, it is made again."""
        own = {name: values.get(name, default) for name, default in self.defaults.items()}
        named = [data.find(own[name]) for name in FILES if own.get(name)]
        read = [*filter(None, named), *(file for files in self.inputs(folder, values).values() for file in files)]
        made = [folder / file for file in (*self.makes, f"executed/{self.name}.ipynb")]
        return {
            "code": self.code(),
            "parameters": own,
            "packages": environment()["packages"],
            "inputs": _digests(read),
            "made": _digests(made),
        }


def _digests(files: list[Path]) -> dict[str, str | None]:
    return {paths.display(file): sha256(file) if file.is_file() else None for file in files}


def notebooks() -> dict[str, Notebook]:
    """All notebooks of the series by name, in order."""
    found = {path.stem: Notebook.read(path) for path in sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise UserError(f"No notebooks in {paths.display(paths.NOTEBOOKS)}: get a complete copy of the project.")
    return found


def select(names: list[str], series: dict[str, Notebook]) -> list[Notebook]:
    """The notebooks that `names` mean (03, 3, 03_baseline_cnn or its file), in the order of the series; all if empty."""
    chosen = set()
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        matches = [full for full in series if full == stem or full.split("_")[0] == stem.zfill(2)]
        if not matches:
            hint = "set a parameter with -p NAME VALUE" if "=" in name else f"the series has {', '.join(series)}"
            raise UserError(f"There is no notebook {name!r}; {hint}.")
        chosen.update(matches)
    return [notebook for name, notebook in series.items() if not names or name in chosen]


def read_parameters(
    file: str | None, pairs: list[list[str]], chosen: list[Notebook], series: dict[str, Notebook]
) -> dict:
    """Parameters from a YAML file, overridden by those of the command line; checked before anything runs.

    A name in the file must be one that some notebook of the series takes, a name on the command line one that a
    chosen notebook takes. Raises UserError for any that would only fail in mid-run.
    """
    anywhere, here = (
        sorted({name for notebook in some for name in notebook.defaults} - {"RUN"})
        for some in (series.values(), chosen)
    )
    values = {}
    if file:
        path = paths.NOTEBOOKS / "params" / f"{file}.yml"
        try:
            text = (path if path.is_file() else Path(file)).read_text(encoding="utf-8")
            values = yaml.safe_load(text) or {}
            if not isinstance(values, dict):
                raise UserError(f"--params {file}: expected lines NAME: VALUE.")
            values = parameters.check(values, f"--params {file}", anywhere)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            known = ", ".join(p.stem for p in sorted((paths.NOTEBOOKS / "params").glob("*.yml")))
            raise UserError(f"--params {file}: not readable ({error}); give one of {known}, or a YAML file.") from error
    for name, _ in pairs:
        if name == "RUN":
            raise UserError("RUN is no parameter of a command: name the run folder with --run.")
        if name in anywhere and name not in here:
            owners = " and ".join(owner for owner, notebook in series.items() if name in notebook.defaults)
            raise UserError(f"{name} belongs to {owners}, not to {', '.join(notebook.name for notebook in chosen)}.")
    given = {name: parameters.parse(name, text) for name, text in pairs}
    values |= parameters.check(given, "command line", here)
    load = functools.cache(data.load)
    for notebook in chosen:
        _check_together(notebook, values, load)
    return values


def _check_together(notebook: Notebook, values: dict[str, object], load: Callable[[str], data.Dataset]) -> None:
    """Raises UserError if values do not fit together, or not this notebook; `load` is `data.load`.

    So where a file that a parameter names does not exist, where validation would leave nothing to train on, and where a
    reader's own data set is damaged, or lacks a class of which the notebook speaks.
    """
    own = {name: values.get(name, default) for name, default in notebook.defaults.items()}
    size, validation = own.get("TRAIN_SIZE", math.inf), own.get("VALIDATION")
    among, advice = f"TRAIN_SIZE = {size}", "lower the one or raise the other"
    for name in FILES:
        value, usual = own.get(name), data.NAMED if name == "DATASET" else ()
        if not value or value in usual:
            continue
        if not data.find(value):
            close = difflib.get_close_matches(value.lower(), usual, n=1)
            other = f"neither {', '.join(usual)} nor " if usual else "not "
            hint = f"did you mean {close[0]}?" if close else "check the spelling or the path."
            raise UserError(f"{name} = {value!r} is {other}the path of an existing file: {hint}")
        if name == "IMAGE":
            continue
        dataset, label = load(value), SPOKEN_OF.get((notebook.name, name), 0)
        if dataset.num_classes <= label:
            raise UserError(
                f"{name} = {value!r} has {dataset.num_classes} classes, but {notebook.name} speaks of label {label}: "
                "run the others by their names, or add classes."
            )
        if name == "DATASET" and len(dataset.x_train) < size:
            size, among, advice = len(dataset.x_train), f"{len(dataset.x_train)} in the data set", "lower it"
    if validation and validation >= size:
        raise UserError(
            f"VALIDATION = {validation} would leave {notebook.name} no image to train on, of {among}: {advice}."
        )


def missing_inputs(chosen: list[Notebook], series: dict[str, Notebook], run: str, values: dict[str, object]) -> None:
    """Raises UserError if a chosen notebook needs a file that neither exists nor is made by a chosen one before it."""
    made = set()
    for notebook in chosen:
        for file, there in notebook.inputs(paths.outputs() / run, values).items():
            if file in made or (there and all(path.exists() for path in there)):
                continue
            if file.startswith(("data/", "outputs/")):
                raise UserError(f"{notebook.name} needs {file}: get a complete copy of the project.")
            by = next((other.name for other in series.values() if file in other.makes), "no notebook")
            raise UserError(
                f"{notebook.name} needs {paths.display(paths.outputs() / run / file)}, which {by} makes: "
                f"run {by} first, or name no notebook to run all."
            )
        made.update(notebook.makes)


def execute(notebook: Notebook, run: str, values: dict[str, object]) -> float:
    """Executes a notebook through papermill into the run folder; returns the seconds it took.

    The executed notebook appears under its name only when every cell ran; until then, and if one failed, it is called
    NAME.failed.ipynb. Raises UserError in one sentence if a cell fails.
    """
    folder = paths.outputs() / run / "executed"
    folder.mkdir(parents=True, exist_ok=True)
    target, failed = folder / f"{notebook.name}.ipynb", folder / f"{notebook.name}.failed.ipynb"
    mine = {name: value for name, value in values.items() if name in notebook.defaults} | {"RUN": run}
    started = time.monotonic()
    try:
        papermill.execute_notebook(
            str(notebook.path), str(failed), parameters=mine, progress_bar=sys.stderr.isatty(), kernel_name="python3",
            coalesce_streams=True,  # else printed lines come in as many pieces as the machine is slow, and files differ
            # A kernel's own log (TCP without encryption, what its end interrupts) is noise; errors come back as outputs.
            extra_arguments=[
                "--log-level=CRITICAL",
                "--IPKernelApp.exec_lines=__import__('logging').getLogger('tornado').setLevel('CRITICAL')",
            ],
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        reason = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
        raise UserError(
            f"{notebook.name} stopped in cell {error.cell_index + 1}: {reason} (see {paths.display(failed)})"
        ) from error
    except DeadKernelError as error:
        raise UserError(
            f"{notebook.name} stopped: its kernel died, most often for lack of memory; "
            "close other programs or set smaller sizes with -p."
        ) from error
    failed.replace(target)
    return time.monotonic() - started


def run_all(chosen: list[Notebook], run: str, values: dict, force: bool, lead: str = "") -> dict[str, float | None]:
    """Brings the chosen notebooks of a run up to date, and its pages; returns the seconds of each, None if unchanged.

    Raises UserError if one stops, or if another process is using the run. What it prints begins with `lead`.
    """
    for library in ("papermill", "asyncio"):  # what goes wrong there reaches us as an exception; their log repeats it
        logging.getLogger(library).setLevel(logging.CRITICAL)
    folder = Run("series", run).folder
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            for leftover in folder.rglob(f"{PARTIAL}*"):  # of a killed run
                leftover.unlink(missing_ok=True)
            expected, seconds = _expected(chosen, folder, values, force), {}
            for number, notebook in enumerate(chosen, 1):
                left = [expected[other.name] for other in chosen[number - 1 :] if other.name in expected]
                announcement = f"{lead}{notebook.name} … runs ({number} of {len(chosen)}{_remaining(left)})"
                seconds[notebook.name] = run_one(notebook, run, values, force, announcement)
            model_card.write(folder)
            runs.write_list()
    except filelock.Timeout as error:
        raise UserError(
            f"another run is using {paths.display(folder)}; wait for it, or choose another folder with --run."
        ) from error
    return seconds


def _expected(chosen: list[Notebook], folder: Path, values: dict, force: bool) -> dict[str, float | None]:
    """The notebooks that will run, as far as can be told before, each with the seconds of its last run if known."""
    record, (before, _), made, found = _recorded(folder), runs.read_all(), set(), {}
    for notebook in chosen:
        if force or made & set(notebook.needs) or record.get(notebook.name) != notebook.state(folder, values):
            found[notebook.name] = runs.seconds(before, notebook.name, notebook.defaults | values)
            made.update(notebook.makes)
    return found


def _remaining(seconds: list[float | None]) -> str:
    """What a reader is told of the time left; nothing where a part of it is unknown."""
    if None in seconds:
        return ""
    minutes = round(sum(seconds) / 60)
    return f", about {minutes} minute{'s' * (minutes > 1)} left" if minutes else ", less than a minute left"


def run_one(notebook: Notebook, run: str, values: dict[str, object], force: bool, announcement: str) -> float | None:
    """Brings one notebook up to date; returns its seconds, or None if nothing had changed. It is announced if it runs."""
    folder = paths.outputs() / run
    record, before = _recorded(folder), notebook.state(folder, values)
    if not force and record.get(notebook.name) == before:
        return None
    record.pop(notebook.name, None)
    write_json(folder / RECORD, record)  # now, not at the end: a killed run must not leave the old entry standing
    print(announcement, flush=True)
    seconds = execute(notebook, run, values)
    if missing := [file for file in notebook.makes if not (folder / file).exists()]:
        raise UserError(f"{notebook.name} ended without making {', '.join(missing)}, which its second cell promises.")
    # What is edited while it runs was not what it ran with.
    state = before | {"made": notebook.state(folder, values)["made"]}
    write_json(folder / RECORD, record | {notebook.name: state})
    return seconds


def _recorded(folder: Path) -> dict:
    """The states of a run's notebooks; none where the file is missing or damaged, so that all of them run again."""
    try:
        return dict(read_json(folder / RECORD))
    except (UserError, ValueError, TypeError):
        return {}


def member(item: tuple[str, dict], outputs: str, codes: dict[str, str], force: bool) -> None:
    """Brings one run of a grid up to date, (name, parameters), in a process that may be on another machine.

    Raises UserError where that machine does not see the folder `outputs`, or has other notebooks, by their `codes`.
    """
    run, values = item
    os.environ |= {"OUTPUTS_DIR": outputs, "TQDM_DISABLE": "1"}  # bars of several runs would write over each other
    if not (Path(outputs) / run).is_dir():
        raise UserError(
            f"{platform.node()} does not see {outputs}/{run}: all machines of a grid need one shared folder."
        )
    series = notebooks()
    if codes != {name: series[name].code() for name in codes if name in series}:
        raise UserError(f"{platform.node()} has other notebooks than this command: use the same checkout everywhere.")
    run_all([series[name] for name in codes], run, values, force, f"{run}: ")


def report(seconds: dict[str, float | None], folder: Path) -> None:
    """Prints the table of results, with the seconds of each notebook (None if unchanged), and where the files are."""
    print(f"\n{'notebook':30} {'took':>12}   results")
    for name, its in seconds.items():
        took = "up to date" if its is None else f"{its:.0f} s"
        metrics = read_json(folder / "metrics" / f"{name}.json")
        shown = [f"{key} {number(metrics[key], key)}" for key in runs.SHOWN_METRICS if key in metrics]
        print(f"{name:30} {took:>12}   {', '.join(shown)}")
    place = paths.display(folder)
    print(f"\nNotebooks with their outputs: {place}/executed/\nModel card: {place}/model_card.md")
    print(f"Figures, models, metrics, manifest: {place}/")
    print(f"All runs: {paths.display(paths.outputs())}/index.html")


@command
def main(argv: list[str] | None = None) -> None:
    """The command line; exit code 0: all ran, 1: a notebook stopped, 2: wrong usage, 130: interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.series", description="Run the notebooks in order, each only if needed.",
        epilog="python -m helpers.series compare RUN RUN … compares runs.",
    )  # fmt: skip
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="notebooks to run, such as 03 or 03_baseline_cnn (default: all)"
    )
    parser.add_argument("--params", metavar="FILE", help="smoke, full or a YAML file of parameters")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set one parameter")
    parser.add_argument("--run", metavar="NAME", help="run folder in outputs/ (default: latest)")
    parser.add_argument("--force", action="store_true", help="run even what is up to date")
    parser.add_argument(
        "--grid", action="append", default=[], metavar="NAME=VALUE,…", help="a run for each value, such as EPOCHS=3,10; "
        "given again, for each combination; the runs are compared at the end"
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="runs of a grid at a time on this machine (default: 1)")
    add_scheduler_option(parser)
    args = parser.parse_args(argv)
    cluster = args.scheduler != parser.get_default("scheduler")
    if not args.grid and (cluster or args.workers != 1) or args.workers < 1:
        parser.error("--workers (at least 1) and --scheduler are for the runs of a --grid; a single run stays here")
    with checking():
        series = notebooks()
        chosen = select(args.names, series)
        grid = combinations(args.grid, args.run) if args.grid else {args.run or "latest": []}
        if twice := {name for name, _ in args.p} & {name for pairs in grid.values() for name, _ in pairs}:
            raise UserError(f"{min(twice)} is set both by -p and by --grid: choose one.")
        members = {}
        for run, pairs in grid.items():
            parameters.check({"RUN": run}, "--grid" if args.grid else "--run")
            members[run] = read_parameters(args.params, [*args.p, *pairs], chosen, series)
            missing_inputs(chosen, series, run, members[run])
    try:
        if not args.grid:
            [(run, values)] = members.items()
            report(run_all(chosen, run, values, args.force), paths.outputs() / run)
            return
        for run in members:
            Run("series", run)  # its folder: workers of a cluster must see it
        codes = {notebook.name: notebook.code() for notebook in chosen}
        stopped = run_grid(member, members, args.scheduler, args.workers, str(paths.outputs()), codes, args.force)
    except KeyboardInterrupt as error:
        sentence = "Interrupted. Finished notebooks are kept; the same command goes on from here."
        raise KeyboardInterrupt(sentence) from error
    if len(finished := [run for run in members if run not in stopped]) > 1:
        from helpers.series import compare  # here, because pandas, SciPy and Matplotlib take a second

        print("\n" + compare.report(compare.compare(*finished)))
    if stopped:
        raise UserError(f"{len(stopped)} of {len(members)} runs stopped; the same command tries them again.")
