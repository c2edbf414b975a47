"""Packs what a class needs into one zip, without solutions and outputs: python -m tools.handout.

The same files give the same bytes. With --nbgrader it packs what nbgrader starts from instead: the solutions marked, a
cell of tests and points for each exercise.
"""

import argparse
import re
import zipfile
from pathlib import Path

import nbformat

from helpers import paths
from helpers.console import command
from helpers.errors import UserError
from helpers.files import atomic
from helpers.series import runner
from helpers.series.dependencies import closure, needed
from tools import render
from tools.address import address, project

PACKED = (
    "helpers/",
    "notebooks/params/",
    "notebooks/glossary.md",
    "data/mnist.npz",
    "data/README.md",
    "requirements.txt",
    "constraints.txt",
    "pyproject.toml",
    "setup.py",
    "LICENSE",
)
POINTS = {"easy": 1, "medium": 2, "hard": 3, "in words": 1}
CHECK = re.compile(r"^exercises\.check\(", re.MULTILINE)
SOLUTIONS = re.compile(r"^## Solutions$", re.MULTILINE)
NBGRADER = """\
# nbgrader reads this file from the folder in which its commands are run.
c = get_config()
c.CourseDirectory.course_id = "digits"
c.ClearSolutions.code_stub = {"python": ""}  # each answer cell says `name = ...  # your turn` already
c.ExecutePreprocessor.timeout = 1800  # seconds a cell; the longest trains a network for minutes
"""
README = Path(__file__).with_name("templates") / "handout.md"


def without_solutions(nb: nbformat.NotebookNode) -> None:
    """Takes the section Solutions and all outputs out of a notebook, in place. The code that stands there stays."""
    kept, inside = [], False
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            heading = SOLUTIONS.search(cell.source)
            inside = bool(heading) or (inside and not cell.source.startswith("## "))
            if inside:  # a text may go on from the section before
                cell.source = cell.source[: heading.start()].rstrip() if heading else ""
        if cell.source and not render.has(cell, "solution"):
            kept.append(cell)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nb.cells = kept
    nb.metadata.pop("rendered", None)


def for_nbgrader(nb: nbformat.NotebookNode) -> None:
    """Splits each exercise into a cell for the answer, with its solution marked, and a cell of tests, in place.

    The metadata are those of nbgrader's cell schema, version 3. `check` only prints, and nbgrader wants an exception.
    """
    solutions = render.exercises(nb, "solution")
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    levels = dict(re.findall(r"^### Exercise (\d\d\.\d+) \((.+)\)$", text, re.MULTILINE))
    plain = {"schema_version": 3, "grade": False, "locked": False, "solution": False, "task": False}
    cells = []
    for cell in nb.cells:
        cells.append(cell)
        if not render.has(cell, "exercise"):
            continue
        number, start = render.exercise(cell.source), CHECK.search(cell.source).start()
        solution = solutions[number][: CHECK.search(solutions[number]).start()]
        solution = re.sub(r" *# solution$", "", solution, flags=re.MULTILINE)
        source = f'{cell.source[start:]}\nassert "{number}" in exercises.solved, "Exercise {number} is not solved."'
        test = nbformat.v4.new_code_cell(source, id=f"{cell.id}-test")
        cell.source = f"{cell.source[:start]}### BEGIN SOLUTION\n{solution}### END SOLUTION"
        name = number.replace(".", "-")
        graded = {"grade": True, "locked": True, "points": POINTS[levels[number]]}
        cell.metadata["nbgrader"] = plain | {"grade_id": f"answer-{name}", "solution": True}
        test.metadata["nbgrader"] = plain | {"grade_id": f"test-{name}"} | graded
        cells.append(test)
    nb.cells = cells


def books(nbgrader: bool) -> dict[str, str]:
    """The notebooks as they are handed out: file name → text. Badges go: they lead to notebooks with solutions."""
    found = {}
    for name, notebook in runner.notebooks().items():
        nb = nbformat.read(notebook.path, as_version=4)
        render.normalise(nb, name[:2])  # exercises empty, whatever was tried in them
        address(nb, name, project() | {"repository": None})
        if nbgrader:
            for_nbgrader(nb)
        without_solutions(nb)
        nbformat.validate(nb)
        found[f"{name}.ipynb"] = nbformat.writes(nb) + "\n"
    return found


def files() -> dict[str, Path]:
    """What goes along with the notebooks: name in the zip → file. Raises UserError if one is missing.

    The networks of the default run are among them, so that no notebook has to wait for an earlier one.
    """
    series = runner.notebooks().values()
    wanted = {file for name in PACKED for file in needed(name, run=paths.ROOT)}
    wanted |= closure([source for notebook in series for source in notebook.sources()])  # some of tools/ as well
    wanted |= {file for notebook in series for need in notebook.needs for file in needed(need, paths.REFERENCE)}
    found = {path.relative_to(paths.ROOT).as_posix(): path for path in wanted}
    junk = re.compile(r"(^|/)(\.|__pycache__)")
    found = {name: path for name, path in found.items() if not junk.search(name)}
    if missing := [path for path in found.values() if not path.is_file()]:
        raise UserError(f"{paths.display(missing[0])} is missing: get a complete copy of the project.")
    return found


def write_zip(target: Path, contents: dict[str, bytes]) -> None:
    """Writes a zip whose bytes depend on nothing but its contents."""
    with atomic(target) as partial, zipfile.ZipFile(partial, "w") as archive:
        for name, content in sorted(contents.items()):
            entry = zipfile.ZipInfo(name)  # with the earliest date that a zip can have
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # as on Unix, wherever it is made
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)


@command
def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.handout", description=__doc__.split("\n")[0])
    parser.add_argument("--nbgrader", action="store_true", help="pack a source folder for nbgrader, with solutions")
    args = parser.parse_args(argv)
    texts = books(args.nbgrader)
    if args.nbgrader:
        top, place = "digits-nbgrader", "source/digits"
        glossary = (paths.NOTEBOOKS / "glossary.md").read_bytes()
        contents = {"nbgrader_config.py": NBGRADER.encode(), f"{place}/glossary.md": glossary}
    else:
        top, place = "digits-handout", "notebooks"
        contents = {name: path.read_bytes() for name, path in files().items()}
        contents["README.md"] = README.read_bytes()
    contents |= {f"{place}/{name}": text.encode() for name, text in texts.items()}
    target = paths.outputs() / "handout" / f"{top}.zip"
    write_zip(target, {f"{top}/{name}": content for name, content in contents.items()})
    print(f"{paths.display(target)}: {len(texts)} notebooks, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    raise SystemExit(main())
