"""Puts the outputs of a run into notebooks/ and its results into README.md: python -m tools.render.

Committed notebooks get their outputs from here only. The fingerprint tells a notebook that was rendered from one that
was run, cleared or edited by hand.
"""

import argparse
import hashlib
import json
import re
from pathlib import Path

import nbformat

from helpers import paths
from helpers.console import command
from helpers.errors import UserError
from helpers.evaluation.seeds import spread
from helpers.files import atomic, read_json
from helpers.notebook.run import UNTRUE
from helpers.series import runner
from tools.address import TEMPLATES, write_block, write_notebook
from tools.portable import portable

FOLDED = ("bootstrap", "book-keeping", "nbval-check-output", "solution")
KEPT_CELL_METADATA = ("tags", "slideshow", "jupyter", "cellView")
PICTURE = "figures/06_answers.png"  # the one that opens the README


def has(cell: nbformat.NotebookNode, *tags: str) -> bool:
    """Whether a cell carries one of these tags."""
    return bool(set(tags) & set(cell.metadata.get("tags", [])))


def counted(nb: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The code cells without the bootstrap cell, which `tools.address` rewrites, and without papermill's parameters."""
    return [c for c in nb.cells if c.cell_type == "code" and not has(c, "bootstrap", "injected-parameters")]


def fingerprint(nb: nbformat.NotebookNode) -> str:
    """SHA-256 over the code cells: sources, execution counts and outputs."""
    cells = [[cell.source, cell.execution_count, cell.outputs] for cell in counted(nb)]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def exercise(source: str) -> str | None:
    """The number of the exercise that a cell checks."""
    found = re.search(r'^exercises\.check\("(\d\d\.\d+)"', source, re.MULTILINE)
    return found and found[1]


def exercises(nb: nbformat.NotebookNode, tag: str) -> dict[str, str]:
    """The sources of the cells tagged "exercise" or "solution", by the numbers of their exercises."""
    return {exercise(cell.source): cell.source for cell in nb.cells if has(cell, tag)}


def starter(solution: str) -> str:
    """The exercise cell that belongs to a solution cell.

    A line `name = value  # solution` becomes `name = ...  # your turn`; other lines marked `# solution` go.
    """
    lines = []
    for line in solution.split("\n"):
        if not line.rstrip().endswith("# solution"):
            lines.append(line)
        elif match := re.match(r"(\s*\w+) = ", line):
            lines.append(f"{match[1]} = ...  # your turn")
    return "\n".join(lines)


def normalise(nb: nbformat.NotebookNode, number: str) -> None:
    """Brings a notebook's source into its standard form, in place.

    Cell ids by position, slide types by heading, machinery folded, and each exercise made anew from its solution.
    """
    solutions = exercises(nb, "solution")
    for index, cell in enumerate(nb.cells):
        cell.id = f"{number}-{index:03d}"
        if has(cell, "exercise"):
            cell.source = starter(solutions[exercise(cell.source)])
        if has(cell, *FOLDED):
            cell.metadata["jupyter"] = {"source_hidden": True}
            cell.metadata["cellView"] = "form"  # Colab's word for it
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT_CELL_METADATA})
        cell.metadata["slideshow"] = {"slide_type": _slide_type(cell)}


def _slide_type(cell: nbformat.NotebookNode) -> str:
    """Headings start slides; what only machines read, and exercises, stay off them."""
    if has(cell, "parameters", "exercise", *FOLDED):
        return "skip"
    if cell.cell_type == "markdown" and re.match(r"##? ", cell.source):
        return "slide"
    return "subslide" if cell.cell_type == "markdown" and cell.source.startswith("### ") else "-"


def take_outputs(source: Path, executed: Path) -> nbformat.NotebookNode:
    """The notebook `source` with the outputs of its executed copy, stamped. Raises UserError if the two differ in code."""
    nb, done = nbformat.read(source, as_version=4), nbformat.read(executed, as_version=4)
    if [cell.source for cell in counted(nb)] != [cell.source for cell in counted(done)]:
        raise UserError(
            f"{paths.display(executed)} ran other code than {paths.display(source)} holds: run the series again."
        )
    for cell, result in zip(counted(nb), counted(done), strict=True):
        if result.execution_count is None:
            raise UserError(f"{paths.display(executed)} is only partly run: run the series again.")
        cell.outputs = result.outputs
        if untrue := [output.text for output in cell.outputs if UNTRUE in output.get("text", "")]:
            raise UserError(f"The text of {source.stem} says what its run did not find. {untrue[0].strip()}")
    for count, cell in enumerate((cell for cell in nb.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    nb.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    nb.metadata["rendered"] = {"fingerprint": fingerprint(nb), "by": "make render"}
    nbformat.validate(nb)
    return nb


def keep_results(folder: Path, needs: set[str]) -> None:
    """Copies to outputs/reference/ a run's metrics, manifest and title picture, from which the README is filled.

    So are the files `needs` that notebooks need of earlier ones, from which each runs alone; Colab's Keras is older.
    """
    own = [folder / need for need in needs if not need.startswith(("data/", "outputs/"))]
    files = [*(folder / "metrics").glob("*.json"), folder / "manifest.json", *own]
    for file, name in [(folder / PICTURE, "results.png"), *((file, file.relative_to(folder)) for file in files)]:
        content = file.read_bytes()
        with atomic(paths.REFERENCE / name) as partial:
            partial.write_bytes(portable(content) if file.suffix == ".keras" else content)


def kept_results(*names: str) -> dict[str, dict]:
    """What these JSON files in outputs/reference/ hold; digits.json with the shipped network's row as "mine"."""
    found = {name: read_json(paths.REFERENCE / f"{name}.json") for name in ("digits", *names)}
    digits = found["digits"]
    [digits["mine"]] = [row for row in digits["seeds"] if row["seed"] == digits["shipped_seed"]]
    return found


def write_results() -> None:
    """Writes the README's tables from outputs/reference/: one run with default parameters, and means over seeds."""
    found = kept_results("accuracy", "edge", "robustness", "custom_images", "lines", "pruning", "speed", "manifest")
    metrics = {file.stem: read_json(file) for file in (paths.REFERENCE / "metrics").glob("*.json")}
    file = paths.REFERENCE / "seeds.json"
    found["seeds"] = read_json(file) if file.exists() else {}

    def over_seeds(notebook: str, metric: str, setting: str | None) -> str:
        """Mean ± sd; not where it was measured with another setting than the default run."""
        rows = found["seeds"].get("metrics", {})
        row = rows.get(f"{notebook}/{metric}")
        if not row or (setting and rows.get(f"{notebook}/{setting}", {}).get("mean") != metrics[notebook][setting]):
            return "not measured"
        return f"{spread(row['mean'], row['sd'])} %"

    moved = [row for row in found["accuracy"]["ensemble"]["rows"] if row["networks"] == 1 and row["moved"]]
    for name in ("results", "needs"):
        template = TEMPLATES.get_template(f"{name}.md.j2")
        write_block(name, template.render(found, metrics=metrics, moved=moved, over_seeds=over_seeds))


@command
def main(argv: list[str] | None = None) -> int | None:
    """The command line: normalises the notebooks, runs the series with default parameters, takes over outputs and results."""
    parser = argparse.ArgumentParser(prog="python -m tools.render", description=__doc__.split("\n")[0])
    parser.add_argument("--run", default="latest", metavar="NAME", help="run folder to use (default: latest)")
    args = parser.parse_args(argv)
    found = runner.notebooks()
    for name, notebook in found.items():
        nb = nbformat.read(notebook.path, as_version=4)
        normalise(nb, name[:2])
        write_notebook(nb, notebook.path)
    if code := runner.main(["--run", args.run]):
        return code
    folder = paths.outputs() / args.run
    for name, notebook in found.items():
        write_notebook(take_outputs(notebook.path, folder / "executed" / f"{name}.ipynb"), notebook.path)
    keep_results(folder, {need for notebook in found.values() for need in notebook.needs})
    write_results()


if __name__ == "__main__":
    raise SystemExit(main())
