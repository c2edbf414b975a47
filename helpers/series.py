"""Runs the notebooks in order through papermill: python -m helpers.series --help.

A notebook runs again only if its code (prose does not count), its parameters, the helpers it imports, its
inputs or the installed packages have changed; doit keeps that book. What is in a notebook is none of its business.
"""

import argparse
import ast
import hashlib
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import filelock
import nbformat
import papermill
import yaml
from doit.cmd_base import ModuleTaskLoader
from doit.doit_cmd import DoitMain
from doit.tools import config_changed
from nbclient.exceptions import DeadKernelError

from helpers import data, pages, parameters, paths, runs
from helpers.errors import UserError

SHOWN_METRICS = ("test_accuracy", "val_accuracy", "sample_accuracy", "parameters", "images")


@dataclass(frozen=True)
class Notebook:
    """A notebook of the series: its file, the files it declares, and its parameters with their defaults."""

    path: Path
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    defaults: dict[str, object]

    @property
    def name(self) -> str:
        """The file name without suffix, such as 03_baseline_cnn."""
        return self.path.stem

    @classmethod
    def read(cls, path: Path) -> "Notebook":
        """Reads what the notebook's second and parameters cells declare."""
        goals = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][1]["source"])
        needs, makes = (tuple(runs.declared(goals, word)) for word in ("Needs", "Makes"))
        return cls(path, needs, makes, parameters.defaults(path))

    def code(self) -> str:
        """A digest of its code cells and of every helpers module they import, directly or not."""
        cells = nbformat.read(self.path, as_version=4).cells
        sources = ["\n".join(cell.source for cell in cells if cell.cell_type == "code")]
        pending, seen = _imports(sources[0]), set()
        while pending:
            module = pending.pop()
            file = paths.ROOT / "helpers" / f"{module}.py"
            if module not in seen and file.exists():
                seen.add(module)
                sources.append(file.read_text(encoding="utf-8"))
                pending |= _imports(sources[-1])
        return hashlib.sha256("\0".join([sources[0], *sorted(sources[1:])]).encode()).hexdigest()


def _imports(source: str) -> set[str]:
    """The modules of helpers that Python source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "helpers":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("helpers."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("helpers.")}
    return found


def notebooks() -> dict[str, Notebook]:
    """All notebooks of the series by name, in order."""
    found = {path.stem: Notebook.read(path) for path in sorted(paths.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise UserError(f"No notebooks in {paths.display(paths.NOTEBOOKS)}: get a complete copy of the project.")
    return found


def select(names: list[str], series: dict[str, Notebook]) -> list[Notebook]:
    """The notebooks that `names` mean (03, 03_baseline_cnn or its file), in the order of the series; all if empty."""
    chosen = set()
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        matches = [full for full in series if full == stem or full.split("_")[0] == stem]
        if not matches:
            raise UserError(f"There is no notebook {name!r}; the series has {', '.join(series)}.")
        chosen.update(matches)
    return [notebook for name, notebook in series.items() if not names or name in chosen]


def read_parameters(file: str | None, pairs: list[list[str]], chosen: list[Notebook], series: dict[str, Notebook]) -> dict:
    """Parameters from a YAML file, overridden by those of the command line; checked before anything runs.

    A name in the file must be one that some notebook of the series takes, a name on the command line one that a
    chosen notebook takes.
    """
    anywhere = sorted({name for notebook in series.values() for name in notebook.defaults} - {"RUN"})
    here = sorted({name for notebook in chosen for name in notebook.defaults} - {"RUN"})
    values = {}
    if file:
        path = paths.NOTEBOOKS / "params" / f"{file}.yml"
        path = path if path.is_file() else Path(file)
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            known = ", ".join(p.stem for p in sorted((paths.NOTEBOOKS / "params").glob("*.yml")))
            raise UserError(f"--params {file}: not readable ({error}); give one of {known}, or a YAML file.") from error
        if not isinstance(values, dict):
            raise UserError(f"--params {file}: expected lines NAME: VALUE.")
        values = parameters.check(values, f"--params {file}", anywhere)
    given = {name: parameters.parse(name, text) for name, text in pairs}
    return values | parameters.check(given, "-p", here)


def missing_inputs(chosen: list[Notebook], series: dict[str, Notebook], run: str) -> None:
    """Raises UserError if a chosen notebook needs a file that neither exists nor is made by a chosen one before it."""
    made = set()
    for notebook in chosen:
        for file in notebook.needs:
            if file not in made and not (paths.outputs() / run / file).exists():
                by = next((other.name for other in series.values() if file in other.makes), "no notebook")
                raise UserError(
                    f"{notebook.name} needs {paths.display(paths.outputs() / run / file)}, which {by} makes: run {by} first, or name no notebook to run all."
                )
        made.update(notebook.makes)


def execute(notebook: Notebook, run: str, values: dict[str, object]) -> float:
    """Executes a notebook through papermill into the run folder; returns the seconds it took.

    The executed notebook appears under its name only when every cell ran; one that failed stays beside it as
    NAME.failed.ipynb. Raises UserError in one sentence if a cell fails.
    """
    folder = paths.outputs() / run / "executed"
    folder.mkdir(parents=True, exist_ok=True)
    target, failed = folder / f"{notebook.name}.ipynb", folder / f"{notebook.name}.failed.ipynb"
    working = folder / f"{runs.PARTIAL}{notebook.name}.ipynb"
    mine = {name: value for name, value in values.items() if name in notebook.defaults} | {"RUN": run}
    started = time.monotonic()
    try:
        papermill.execute_notebook(
            str(notebook.path), str(working), parameters=mine, progress_bar=sys.stderr.isatty(), kernel_name="python3"
        )
    except papermill.PapermillExecutionError as error:
        working.replace(failed)
        reason = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
        raise UserError(f"{notebook.name} stopped in cell {error.cell_index + 1}: {reason} (see {paths.display(failed)})") from error
    except DeadKernelError as error:
        raise UserError(
            f"{notebook.name} stopped: its kernel died, most often for lack of memory; close other programs or set smaller sizes with -p."
        ) from error
    runs.write_text(target, working.read_text(encoding="utf-8"))
    working.unlink()
    failed.unlink(missing_ok=True)
    pages.write_page(target, paths.outputs() / run / "html")
    return time.monotonic() - started


def run_one(notebook: Notebook, run: str, values: dict[str, object], force: bool) -> float | None:
    """Brings one notebook up to date; returns its seconds, or None if nothing had changed."""
    folder = paths.outputs() / run
    outcome = {}

    def action() -> None:
        print(f"{notebook.name} … runs", flush=True)
        try:
            outcome["seconds"] = execute(notebook, run, values)
        except BaseException as error:  # doit would print a traceback; the caller raises it instead
            outcome["error"] = error
            raise

    dataset = values.get("DATASET", notebook.defaults.get("DATASET"))
    inputs = [folder / file for file in notebook.needs] + [p for p in (data.MNIST, Path(str(dataset))) if p.is_file()]
    state = {
        "code": notebook.code(),
        "parameters": {name: values.get(name, default) for name, default in notebook.defaults.items()},
        "packages": runs.environment()["packages"],
    }
    task = {
        "basename": notebook.name,
        "actions": [action],
        "file_dep": [str(path) for path in inputs],
        "uptodate": [config_changed(json.dumps(state, sort_keys=True))],
        "targets": [str(folder / file) for file in (*notebook.makes, f"executed/{notebook.name}.ipynb", f"html/{notebook.name}.html")],
    }
    config = {"dep_file": str(folder / ".doit.db"), "backend": "sqlite3", "reporter": "zero", "verbosity": 2}
    loader = ModuleTaskLoader({"task_notebook": lambda: task, "DOIT_CONFIG": config})
    # One notebook a call, so that doit's book is closed and safe on disk before the next one starts.
    code = DoitMain(loader).run(["run", *(["--always-execute"] if force else []), notebook.name])
    if "error" in outcome:
        raise outcome["error"]
    if code != 0:
        raise UserError(f"{notebook.name}: its state in {paths.display(folder)} could not be read; run again with --force.")
    return outcome.get("seconds")


def clean(folder: Path) -> None:
    """Removes what a killed run left half-written."""
    for leftover in folder.rglob(f"{runs.PARTIAL}*"):
        leftover.unlink(missing_ok=True)


def report(chosen: list[Notebook], seconds: dict[str, float | None], run: str) -> None:
    """Prints the table of results and where the files are."""
    print(f"\n{'notebook':30} {'took':>12}   results")
    for notebook in chosen:
        took = seconds[notebook.name]
        metrics = runs.read_json(paths.outputs() / run / "metrics" / f"{notebook.name}.json")
        shown = ", ".join(
            f"{name} {metrics[name]:.2%}" if name.endswith("accuracy") else f"{name} {metrics[name]:,}"
            for name in SHOWN_METRICS if name in metrics
        )  # fmt: skip
        print(f"{notebook.name:30} {'up to date' if took is None else f'{took:.0f} s':>12}   {shown}")
    folder = paths.display(paths.outputs() / run)
    print(f"\nNotebooks as web pages: {folder}/html/index.html\nFigures, models, metrics, manifest: {folder}/")


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 all ran, 1 a notebook stopped, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m helpers.series", description="Run the notebooks in order, each only if needed.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="notebooks to run, such as 03 or 03_baseline_cnn (default: all)")
    parser.add_argument("--params", metavar="FILE", help="smoke, full or a YAML file of parameters")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set one parameter")
    parser.add_argument("--run", default="latest", metavar="NAME", help="run folder in outputs/ (default: latest)")
    parser.add_argument("--force", action="store_true", help="run even what is up to date")
    args = parser.parse_args(argv)
    try:
        series = notebooks()
        chosen = select(args.names, series)
        parameters.check({"RUN": args.run}, "--run")
        values = read_parameters(args.params, args.p, chosen, series)
        missing_inputs(chosen, series, args.run)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    try:
        folder = runs.Run("series", args.run).folder
        with filelock.FileLock(folder / ".lock", timeout=0):
            clean(folder)
            seconds = {notebook.name: run_one(notebook, args.run, values, args.force) for notebook in chosen}
            pages.write_index(folder, [notebook.name for notebook in series.values()])
            report(chosen, seconds, args.run)
    except filelock.Timeout:
        print(f"Error: another run is using {paths.display(folder)}; wait for it, or choose another folder with --run.", file=sys.stderr)
        return 1
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Error: {error.filename or paths.display(folder)} could not be written ({error.strerror}).", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Finished notebooks are kept; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
