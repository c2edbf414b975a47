"""Compares what is installed with requirements.txt: python -m helpers.environment [--install-missing].

Colab and Kaggle bring most packages in versions of their own; the notebooks' first cell installs only what is missing.
"""

import argparse
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from helpers import paths
from helpers.errors import UserError

# What another package already provides under another name.
ALTERNATIVES = {"opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")}
# Only for tests and development; a notebook on Colab needs none of them.
TOOLS = {"pytest", "ruff", "nbval", "doit", "papermill", "jupyterlab", "nbconvert", "filelock", "playwright"}
NEVER = {"tensorflow", "keras"}


def requirements(path: Path = paths.ROOT / "requirements.txt") -> list[Requirement]:
    """The requirements that apply to this Python and system. Raises UserError that names a bad line."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise UserError(f"{path.name}, line {number}: {text!r} is not a requirement ({error}).") from error
        if requirement.marker is None or requirement.marker.evaluate():
            found.append(requirement)
    return found


def installed(requirement: Requirement) -> str | None:
    """The installed version of what meets a requirement by name, or None."""
    for name in (requirement.name, *ALTERNATIVES.get(requirement.name, ())):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def problems(needed: list[Requirement]) -> dict[str, str]:
    """What is missing or out of range: requirement as text → what was found."""
    found = {}
    for requirement in needed:
        version = installed(requirement)
        if version is None:
            found[str(requirement)] = "not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            found[str(requirement)] = f"found {version}"
    return found


def install_missing() -> None:
    """Installs with pip what a notebook needs and is not there at all; never TensorFlow, nor another version of anything."""
    needed = [r for r in requirements() if r.name not in NEVER | TOOLS and installed(r) is None]
    if needed:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *map(str, needed)], check=True)


def main(argv: list[str] | None = None) -> int:
    """The command line; returns 0 if everything fits, else 1."""
    parser = argparse.ArgumentParser(prog="python -m helpers.environment", description=__doc__.split("\n")[0])
    parser.add_argument("--install-missing", action="store_true", help="install what the notebooks need and is absent")
    if parser.parse_args(argv).install_missing:
        install_missing()
        return 0
    found = problems(requirements())
    for requirement, state in found.items():
        print(f"{requirement}: {state}")
    print("Everything fits requirements.txt." if not found else "Mend with: pip install -e . -c constraints.txt")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
