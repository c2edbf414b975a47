"""Writes the project's address, as pyproject.toml has it, into notebooks and README: python -m tools.address.

Badges and each notebook's bootstrap cell are made from it. Without an address there are no badges, and the cell says
what to do where the helpers are missing. Nothing is rerun: neither is part of a notebook's fingerprint.

Badges open a notebook at the tag of the version. Its cell fetches a commit, which nobody can move: the one that HEAD was
when this ran, since no commit can hold its own name. Both hold the same code; CONTRIBUTING.md tells the order of work.
"""

import re
import subprocess
import tomllib
from pathlib import Path
from statistics import fmean, stdev

import jinja2
import nbformat

from helpers import paths
from helpers.console import command
from helpers.errors import UserError
from helpers.evaluation.seeds import spread
from helpers.files import write_text

README = paths.ROOT / "README.md"
PYPROJECT = paths.ROOT / "pyproject.toml"
FETCHED = ("helpers", "data", "notebooks/params", "outputs/reference", "requirements.txt", "setup.py")  # what cells use
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")), trim_blocks=True, lstrip_blocks=True
)
TEMPLATES.filters |= {"percent": lambda value: f"{spread(value)} %", "spread": spread, "mean": fmean, "sd": stdev}


def project(file: Path = PYPROJECT) -> dict:
    """Name, version, repository and commit of the project; the latter two are None where it has no address."""
    read = tomllib.loads(file.read_text(encoding="utf-8"))
    found, commit = read["project"], read.get("tool", {}).get("handwritten-digits", {}).get("commit")
    repository = found.get("urls", {}).get("Repository")
    if repository and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", str(repository)):
        raise UserError(f"{file.name}: Repository = {repository!r} must be https://github.com/OWNER/NAME.")
    return {"name": found["name"], "version": found["version"], "repository": repository, "commit": commit}


def pin(commit: str | None) -> str:
    """The commit that cells fetch: still `commit` where it holds the code that is here, else HEAD.

    Raises UserError where neither does, or without git.
    """
    new = _git("ls-files", "--others", "--exclude-standard", "--", *FETCHED).stdout
    for candidate in () if new else filter(None, (commit, "HEAD")):
        if _git("diff", "--quiet", candidate, "--", *FETCHED).returncode == 0:
            return _git("rev-parse", candidate).stdout.strip()
    raise UserError(f"The notebooks fetch a commit, and none holds what is here: commit {', '.join(FETCHED)} first.")


def _git(*command: str) -> subprocess.CompletedProcess:
    try:
        return subprocess.run(["git", *command], cwd=paths.ROOT, capture_output=True, text=True)
    except OSError as error:
        raise UserError("git is needed, to tell which commit the notebooks fetch: install it.") from error


def write_commit(commit: str) -> None:
    """Writes the commit into pyproject.toml, which `project` reads; its section is made if it is not there."""
    section, text = f'[tool.handwritten-digits]\ncommit = "{commit}"', PYPROJECT.read_text(encoding="utf-8")
    text, found = re.subn(r'^\[tool\.handwritten-digits\]\ncommit = ".*"$', section, text, flags=re.MULTILINE)
    added = f"\n# Written by make address: what the notebooks fetch.\n{section}\n"
    write_text(PYPROJECT, text if found else text + added)


def address(nb: nbformat.NotebookNode, name: str, about: dict) -> None:
    """Puts badges and bootstrap into a notebook, in place; `about` is the project."""
    badges = TEMPLATES.get_template("badges.md.j2").render(about, notebook=name)
    title, *rest = (text for text in nb.cells[0].source.split("\n\n") if not text.startswith("[!["))
    nb.cells[0].source = "\n\n".join(filter(None, [title, badges.strip(), *rest]))
    for cell in nb.cells:
        if "bootstrap" in cell.metadata.get("tags", []):
            cell.source = TEMPLATES.get_template("bootstrap.py.j2").render(about)


def write_notebook(nb: nbformat.NotebookNode, path: Path) -> None:
    """Writes a notebook as Jupyter does, atomically, if it differs from the file."""
    text = nbformat.writes(nb) + "\n"
    if text != path.read_text(encoding="utf-8"):
        write_text(path, text)


def write_block(name: str, text: str) -> None:
    """Replaces what stands between README.md's two comment lines of that name."""
    block = f"{text.strip()}\n" if text.strip() else ""
    found = re.compile(rf"(<!-- {name}:.*?-->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    readme, count = found.subn(lambda match: match[1] + block + match[2], README.read_text(encoding="utf-8"))
    if count != 1:
        raise UserError(f"README.md has lost its comment lines for {name}; restore them.")
    write_text(README, readme)


@command
def main() -> None:
    """The command line."""
    about = project()
    if about["repository"]:
        about["commit"] = pin(about["commit"])
        write_commit(about["commit"])
    for path in sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        address(nb, path.stem, about)
        write_notebook(nb, path)
    write_block("badges", TEMPLATES.get_template("badges.md.j2").render(about, notebook=None))


if __name__ == "__main__":
    raise SystemExit(main())
