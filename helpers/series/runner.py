"""Runs the notebooks in order through papermill: python -m helpers.series --help.

A notebook runs again only if its code (prose does not count), its parameters, the helpers it imports, its
inputs or the installed packages have changed. What is in a notebook is none of its business.
"""

import argparse
import ast
import hashlib
import json
import logging
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import filelock
import nbformat
import papermill
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from nbclient.exceptions import DeadKernelError

from helpers import data, paths
from helpers.errors import UserError
from helpers.files import PARTIAL, read_json, sha256, write_json, write_text
from helpers.notebook import parameters
from helpers.notebook.run import Run, declared, environment
from helpers.series.model_card import write
from helpers.series.web_pages import write_index, write_page

PACKAGES = ("helpers", "tools")  # what a notebook depends on where it imports it
RECORD = ".record.json"  # in a run folder: SHA-256 of what each notebook was made from, and of what it made
SHOWN_METRICS = ("test_accuracy", "val_accuracy", "samples_accuracy", "parameters", "images")


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
        """Reads what the notebook's second and parameters cells declare. Raises UserError if it has no such cells."""
        try:
            goals = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][1]["source"])
            needs, makes = (tuple(declared(goals, word)) for word in ("Needs", "Makes"))
            return cls(path, needs, makes, parameters.defaults(path))
        except (OSError, ValueError, LookupError, TypeError, SyntaxError) as error:
            raise UserError(
                f"{paths.display(path)} is not a notebook of this series ({error}): see CONTRIBUTING.md."
            ) from error

    def code(self) -> str:
        """A digest of its code cells and of every file of the project that they import, directly or not."""
        plain = TransformerManager().transform_cell  # a reader's own %magic becomes Python
        cells = [cell.source for cell in nbformat.read(self.path, as_version=4).cells if cell.cell_type == "code"]
        digest = hashlib.sha256("\0".join(cells).encode())
        for file in sorted(closure([plain(cell) for cell in cells])):
            digest.update(file.read_bytes())
        return digest.hexdigest()


def closure(sources: list[str]) -> set[Path]:
    """The files of helpers/ and tools/ that Python sources import, directly or not, and what lies beside these.

    Read from the syntax alone: nothing is run. A room (a package) counts as the files whose names are used, looked up
    in the table of its __init__.py; as all its files where that cannot be told.
    """
    found: set[Path] = set()
    pending = set().union(*map(_imports, sources))
    while pending:
        file = pending.pop()
        if file not in found:
            found |= {file, *file.parent.glob(f"{file.stem}.*")}  # pad.py brings pad.js and pad.css
            pending |= _imports(file.read_text(encoding="utf-8"))
    return {file for file in found if file.is_file()}


def _imports(source: str) -> set[Path]:
    """The Python files of the project that a cell or a file imports by itself."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()  # the run will stop there and say so
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found |= _files(f"{node.module}.{alias.name}", _attributes(tree, alias.asname or alias.name))
        elif isinstance(node, ast.Import):
            for alias in node.names:
                found |= _files(alias.name, None)
    return found


def _attributes(tree: ast.Module, name: str) -> set[str] | None:
    """What is used of a name as `name.attribute`; None if it is also used in another way, such as handed on."""
    attributes = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)]
    used = {node.attr for node in attributes if node.value.id == name}
    alone = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))
    return used if alone == sum(node.value.id == name for node in attributes) else None


def _files(dotted: str, used: set[str] | None) -> set[Path]:
    """The files that stand behind an imported name: a file, a room, or something that one of them holds."""
    root, *parts = dotted.split(".")
    if root not in PACKAGES:
        return set()
    place, found = paths.ROOT / root, {paths.ROOT / root / "__init__.py"}
    for part in parts:
        if (place / part).is_dir():
            place /= part
            found.add(place / "__init__.py")
        else:
            return {file for file in found | _named(place, part) if file.is_file()}
    inside = [_named(place, name) for name in used] if used is not None else [set(place.glob("*.py"))]
    return {file for file in found.union(*inside) if file.is_file()}


def _named(room: Path, name: str) -> set[Path]:
    """The files in which a name of a room is to be found: its own, that of the room's table, or else all."""
    if (room / f"{name}.py").is_file():
        return {room / f"{name}.py"}
    if (room / name).is_dir():
        return _files(".".join((room / name).relative_to(paths.ROOT).parts), None)
    init = room / "__init__.py"
    tree = ast.parse(init.read_text(encoding="utf-8")) if init.is_file() else ast.Module([], [])
    for table in (node for node in ast.walk(tree) if isinstance(node, ast.Dict)):
        for key, value in zip(table.keys, table.values, strict=True):
            if isinstance(value, ast.List) and name in [item.value for item in value.elts]:
                return {room / f"{key.value}.py"}
    return set(room.glob("*.py")) if room.parent != paths.ROOT else set()


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


def read_parameters(
    file: str | None, pairs: list[list[str]], chosen: list[Notebook], series: dict[str, Notebook]
) -> dict:
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
            there = needed(file, paths.outputs() / run)
            if file in made or (there and all(path.exists() for path in there)):
                continue
            if file.startswith(("data/", "outputs/")):
                raise UserError(f"{notebook.name} needs {file}: get a complete copy of the project.")
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
    working = folder / f"{PARTIAL}{notebook.name}.ipynb"
    mine = {name: value for name, value in values.items() if name in notebook.defaults} | {"RUN": run}
    started = time.monotonic()
    try:
        papermill.execute_notebook(
            str(notebook.path), str(working), parameters=mine, progress_bar=sys.stderr.isatty(), kernel_name="python3",
            # A kernel's own log (TCP without encryption, what its end interrupts) is noise; errors come back as outputs.
            extra_arguments=[
                "--log-level=CRITICAL",
                "--IPKernelApp.exec_lines=__import__('logging').getLogger('tornado').setLevel('CRITICAL')",
            ],
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        working.replace(failed)
        reason = error.evalue if error.ename == "UserError" else f"{error.ename}: {error.evalue}"
        raise UserError(
            f"{notebook.name} stopped in cell {error.cell_index + 1}: {reason} (see {paths.display(failed)})"
        ) from error
    except DeadKernelError as error:
        raise UserError(
            f"{notebook.name} stopped: its kernel died, most often for lack of memory; close other programs or set smaller sizes with -p."
        ) from error
    write_text(target, working.read_text(encoding="utf-8"))
    working.unlink()
    failed.unlink(missing_ok=True)
    write_page(target, paths.outputs() / run / "html")
    return time.monotonic() - started


def run_one(notebook: Notebook, run: str, values: dict[str, object], force: bool) -> float | None:
    """Brings one notebook up to date; returns its seconds, or None if nothing had changed."""
    folder = paths.outputs() / run
    own = {name: values.get(name, default) for name, default in notebook.defaults.items()}
    record = _record(folder)
    if record.get(notebook.name) == _state(notebook, folder, own) and not force:
        return None
    # Now, not at the end: a run that is killed must not leave the old entry standing.
    record.pop(notebook.name, None)
    write_json(folder / RECORD, record)
    print(f"{notebook.name} … runs", flush=True)
    seconds = execute(notebook, run, values)
    if missing := [file for file in notebook.makes if not (folder / file).exists()]:
        raise UserError(f"{notebook.name} ended without making {', '.join(missing)}, which its second cell promises.")
    write_json(folder / RECORD, record | {notebook.name: _state(notebook, folder, own)})
    return seconds


def _record(folder: Path) -> dict:
    """What each notebook of a run was made from; nothing where the file is missing or damaged, so that all run again."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _state(notebook: Notebook, folder: Path, own: dict[str, object]) -> dict:
    """What decides whether a notebook is up to date. What it made counts too: altered by hand, it is made again."""
    pages = [f"executed/{notebook.name}.ipynb", f"html/{notebook.name}.html"]
    return {
        "code": notebook.code(),
        "parameters": own,
        "packages": environment()["packages"],
        "inputs": {paths.display(file): _sha256(file) for file in _inputs(notebook, folder, own)},
        "made": {file: _sha256(folder / file) for file in (*notebook.makes, *pages)},
    }


def _sha256(file: Path) -> str | None:
    return sha256(file) if file.is_file() else None


def _inputs(notebook: Notebook, folder: Path, own: dict[str, object]) -> list[Path]:
    """The files that a notebook reads: those it declares under Needs, and those that its parameters name."""
    named = [own[name] for name in ("DATASET", "IMAGE", "OTHER_DIGITS") if own.get(name)]
    found = [file for need in notebook.needs for file in needed(need, folder)]
    return found + [path for path in map(data.find, named) if path]


def needed(need: str, folder: Path) -> list[Path]:
    """The files behind an entry of Needs: of the project for data/ and outputs/, else of the run folder.

    An entry that ends in a slash is a folder with all that it holds. What is not there is listed all the same.
    """
    path = paths.ROOT / need if need.startswith(("data/", "outputs/")) else folder / need
    return sorted(file for file in path.rglob("*") if file.is_file()) if need.endswith("/") else [path]


def clean(folder: Path) -> None:
    """Removes what a killed run left half-written."""
    for leftover in folder.rglob(f"{PARTIAL}*"):
        leftover.unlink(missing_ok=True)


def report(chosen: list[Notebook], seconds: dict[str, float | None], run: str) -> None:
    """Prints the table of results and where the files are."""
    print(f"\n{'notebook':30} {'took':>12}   results")
    for notebook in chosen:
        took = seconds[notebook.name]
        metrics = read_json(paths.outputs() / run / "metrics" / f"{notebook.name}.json")
        shown = ", ".join(
            f"{name} {metrics[name]:.2%}" if name.endswith("accuracy") else f"{name} {metrics[name]:,}"
            for name in SHOWN_METRICS if name in metrics
        )  # fmt: skip
        print(f"{notebook.name:30} {'up to date' if took is None else f'{took:.0f} s':>12}   {shown}")
    folder = paths.display(paths.outputs() / run)
    print(f"\nNotebooks as web pages: {folder}/html/index.html\nModel card: {folder}/model_card.md")
    print(f"Figures, models, metrics, manifest: {folder}/")


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 all ran, 1 a notebook stopped, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.series", description="Run the notebooks in order, each only if needed."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="notebooks to run, such as 03 or 03_baseline_cnn (default: all)"
    )
    parser.add_argument("--params", metavar="FILE", help="smoke, full or a YAML file of parameters")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="set one parameter")
    parser.add_argument("--run", default="latest", metavar="NAME", help="run folder in outputs/ (default: latest)")
    parser.add_argument("--force", action="store_true", help="run even what is up to date")
    args = parser.parse_args(argv)
    for library in ("papermill", "asyncio"):  # what goes wrong there reaches us as an exception; their log repeats it
        logging.getLogger(library).setLevel(logging.CRITICAL)
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
        folder = Run("series", args.run).folder
        with filelock.FileLock(folder / ".lock", timeout=0):
            clean(folder)
            seconds = {notebook.name: run_one(notebook, args.run, values, args.force) for notebook in chosen}
            write(folder)
            write_index(folder, [notebook.name for notebook in series.values()])
            report(chosen, seconds, args.run)
    except filelock.Timeout:
        print(
            f"Error: another run is using {paths.display(folder)}; wait for it, or choose another folder with --run.",
            file=sys.stderr,
        )
        return 1
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"Error: {error.filename or paths.display(folder)} could not be written ({error.strerror}).",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Finished notebooks are kept; the same command goes on from here.", file=sys.stderr)
        return 130
    return 0
