"""Where things are, whatever the working directory."""

import os
from pathlib import Path

from helpers.errors import UserError


def _find_root() -> Path:
    """The folder that holds both this package and the notebooks."""
    for folder in (*Path(__file__).resolve().parents, Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks" / "params").is_dir() and (folder / "helpers" / "paths.py").is_file():
            return folder
    raise UserError(
        f"The project folder was not found above {Path(__file__).parent} or {Path.cwd()}: "
        "work inside a clone, and install it with 'pip install -e .' from its top folder."
    )


ROOT = _find_root()
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
REFERENCE = ROOT / "outputs" / "reference"


def outputs() -> Path:
    """The folder that holds one folder a run: `outputs/`, or what the variable OUTPUTS_DIR names."""
    return Path(os.environ.get("OUTPUTS_DIR") or ROOT / "outputs").expanduser().absolute()


def display(path: Path) -> str:
    """A path as the reader should see it: relative to the project where it lies inside, with forward slashes."""
    path = Path(path).absolute()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()
