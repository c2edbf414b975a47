"""The run folder: artefacts, metrics and the manifest, each written whole or not at all.

A run is `outputs/<name>/`. Notebooks hand things to each other through it: what one makes, a later one needs.
"""

import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from helpers import paths
from helpers.errors import UserError
from helpers.files import atomic, digests, read_json, write_json
from helpers.notebook import parameters as rules

PACKAGES = tuple("tensorflow keras keras-tuner numpy opencv-python-headless scikit-learn matplotlib pandas".split())
UNTRUE = "Not in this run:"
SPLIT = ("SEED", "TRAIN_SIZE", "VALIDATION")  # parameters that decide which images are for validation


def makers(file: str) -> list[str]:
    """The notebooks whose second cell lists `file` under Makes, such as ["03_baseline_cnn"]."""
    books = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))}
    return [name for name, book in books.items() if file in declared("".join(book["cells"][1]["source"]), "Makes")]


def declared(goals: str, word: str) -> list[str]:
    """The files that a notebook's second cell lists after **Needs** or **Makes**, in backticks."""
    match = re.search(rf"\*\*{word}\*\*(.*?)(?=\*\*|\Z)", goals, re.S)
    return re.findall(r"`([^`]+)`", match[1]) if match else []


def find(file: str, folder: Path, usual: bool) -> Path:
    """Where a run's file is read: in its folder, or where that has none in outputs/reference/, which the default run left.

    `usual` says whether the run has the default data set: a network of other images would be no stand-in.
    """
    own, kept = folder / file, paths.REFERENCE / file
    return kept if usual and not own.exists() and kept.exists() else own


class Run:
    """One notebook's view of a run folder.

    Args:
        notebook: the notebook's name without suffix.
        name: the run's name; its folder is made.
        parameters: what the manifest records.

    Raises:
        UserError: the folder cannot be made, or its manifest.json is damaged.
    """

    def __init__(self, notebook: str, name: str, parameters: dict | None = None):
        self.notebook = notebook
        self.name = name
        self.parameters = parameters or {}
        self.folder = paths.outputs() / name
        self._borrowed: list[str] = []  # what `need` took from outputs/reference/
        self._started = time.monotonic()
        usual = rules.defaults(notebook)
        # Parameters that are not those of the default run.
        self.changed = {name: value for name, value in self.parameters.items() if value != usual.get(name, value)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"The run folder {paths.display(self.folder)} cannot be made ({error.strerror}): "
                "choose another place with the variable OUTPUTS_DIR."
            ) from error
        self._recorded()  # `finish` adds to it: if it is damaged, say so before the work, not after

    def path(self, file: str) -> Path:
        """Returns where to write `file`, a path relative to the run folder, and makes the folder for it.

        Raises:
            UserError: that folder cannot be made.
        """
        path = self.folder / file
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{paths.display(path.parent)} cannot be made ({error.strerror}).") from error
        return path

    def figure(self, name: str) -> Path:
        """Returns where to write a figure of this notebook: figures/NN_name.png."""
        return self.path(f"figures/{self.notebook[:2]}_{name}.png")

    def need(self, file: str) -> Path:
        """Returns the full path of a file that an earlier notebook made.

        Where this run has none, the default run's in outputs/reference/ is used, which is printed and recorded.

        Raises:
            UserError: it is missing there, too; the sentence names the notebook that makes it.
        """
        path = find(file, self.folder, "DATASET" not in self.changed)
        if not path.exists():
            found = makers(file)
            given = f" -p DATASET {shlex.quote(self.changed['DATASET'])}" if "DATASET" in self.changed else ""
            first = (
                f": run that first (python -m helpers.series {found[0]}{given} --run {self.name})." if found else "."
            )
            raise UserError(
                f"{paths.display(path)} is missing; {' or '.join(found) or 'no notebook of the series'} makes it{first}"
            )
        if not path.is_relative_to(self.folder) and file not in self._borrowed:
            self._borrowed.append(file)
            print(f"{file} of the default run is used, from outputs/reference/, as this run has none: you can go on.")
            if other := [name for name in SPLIT if name in self.changed]:
                print(f"It had another {', '.join(other)}: validation images of this run may have trained it.")
        return path

    def save_model(self, model, file: str) -> Path:
        """Saves a Keras model, whole or not at all, and returns the full path of the file.

        What it was compiled with is left out: an optimiser that never trained it would only cause a warning on loading.

        Raises:
            UserError: its weights hold NaN or infinity, or the file cannot be written.
        """
        if any(not math.isfinite(float(abs(weights).sum())) for weights in model.get_weights()):
            raise UserError(f"{file} was not saved: the model holds NaN or infinite weights; lower the learning rate.")
        compiled, model.compiled = getattr(model, "compiled", False), False
        try:
            with atomic(self.path(file)) as partial:
                model.save(partial)
        finally:
            model.compiled = compiled
        return self.folder / file

    def save_json(self, file: str, value: object) -> Path:
        """Writes `value` as JSON, whole or not at all; returns the full path. NumPy values become plain ones."""
        write_json(self.path(file), value)
        return self.folder / file

    def load_json(self, file: str) -> dict:
        """Reads a JSON file that an earlier notebook made.

        Raises:
            UserError: it is damaged, or missing (see `need`).
        """
        return read_json(self.need(file))

    def claims(self, statements: dict[str, bool]) -> None:
        """Prints which statements of the text, written for the default run, hold in this one: sentence → whether it does.

        `make render` refuses a notebook whose text says what its run did not find.
        """
        false = [statement for statement, holds in statements.items() if not holds]
        if not false:
            print(f"All {len(statements)} statements of the text that were checked hold in this run.")
            return
        print(f"{len(statements) - len(false)} of {len(statements)} statements of the text hold in this run. {UNTRUE}")
        print(*(f"- {statement}" for statement in false), sep="\n")

    def finish(self, **metrics: float) -> None:
        """Writes metrics/NN_name.json and this notebook's part of manifest.json. Call it once, at the end.

        Args:
            **metrics: numbers under scikit-learn's and Keras's names; times in seconds.

        Raises:
            UserError: one of the two files cannot be written.
        """
        self.save_json(f"metrics/{self.notebook}.json", metrics)
        entry = {
            "parameters": self.parameters,
            "dataset_sha256": digests.get(self.parameters.get("DATASET")),
            "seconds": round(time.monotonic() - self._started, 1),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        } | ({"from_reference": self._borrowed} if self._borrowed else {})
        notebooks = dict(sorted((self._recorded() | {self.notebook: entry}).items()))
        self.save_json("manifest.json", {"run": self.name, **environment(), "notebooks": notebooks})
        print(f"Wrote metrics/{self.notebook}.json with {len(metrics)} metrics.")

    def _recorded(self) -> dict:
        """What the manifest says of the notebooks so far."""
        path = self.folder / "manifest.json"
        manifest = read_json(path) if path.exists() else {}
        notebooks = manifest.get("notebooks", {}) if isinstance(manifest, dict) else None
        if not isinstance(notebooks, dict):
            raise UserError(f"{paths.display(path)} is not the manifest of a run: delete it and run again.")
        return notebooks


def environment() -> dict:
    """What a run depends on besides its parameters: versions, machine, commit."""
    versions = dict.fromkeys(PACKAGES)
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):  # e.g. opencv-python instead of the headless one
            versions[package] = metadata.version(package)
    return {
        "python": platform.python_version(),
        "packages": versions,
        "machine": {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()},
        "git_commit": _commit(),
        "byte_order": sys.byteorder,
    }


def _commit() -> str | None:
    """The commit of the project, marked dirty if files differ from it; None without a repository or without git."""
    if not (paths.ROOT / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        git = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # git is not installed, or refuses
        return None
    return git.stdout.strip() or None
