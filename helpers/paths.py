"""Where things are, whatever the working directory."""

import os
from pathlib import Path

_HELPERS = Path(__file__).resolve().parent


def _find_root() -> Path:
    """The project's top folder: above this package, or of an installed package above the working directory.

    Where there is no project the working directory stands for it: sentences about missing files name that.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was deleted
        here = _HELPERS
    for folder in (_HELPERS.parent, here, *here.parents):
        if (folder / "notebooks" / "params").is_dir() and (folder / "helpers" / "paths.py").is_file():
            return folder
    return here


ROOT = _find_root()
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
REFERENCE = ROOT / "outputs" / "reference"

# The shipped model and what was fitted to it: in an installed package, or in outputs/reference/ of a clone. Not looked
# for in the working directory, which may be somebody's folder of pictures.
_installed = _HELPERS / "predict" / "shipped"
SHIPPED = _installed if _installed.is_dir() else _HELPERS.parent / "outputs" / "reference"


def outputs() -> Path:
    """The folder that holds one folder per run: `outputs/`, or what the variable OUTPUTS_DIR names."""
    return Path(os.environ.get("OUTPUTS_DIR") or ROOT / "outputs").expanduser().absolute()


def display(path: Path) -> str:
    """A path as the reader should see it: relative to the project where it lies inside, with forward slashes."""
    path = Path(path).absolute()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()
