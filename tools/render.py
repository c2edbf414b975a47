"""Puts the outputs of a run into notebooks/ and its results into README.md: python -m helpers.render.

Committed notebooks get their outputs from here only. The fingerprint tells a notebook that was rendered from one that
was run, cleared or edited by hand.
"""

import argparse
import hashlib
import json
import re
import shutil
import string
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev

import nbformat

from helpers import paths
from helpers.errors import UserError
from helpers.evaluation import metrics as metrics_
from helpers.files import atomic, read_json, write_text
from helpers.notebook import exercises
from helpers.series import runner as runner_
from helpers.series.runner import notebooks

KEPT_CELL_METADATA = ("tags", "slideshow", "jupyter")
PICTURE = "figures/06_answers.png"  # the one that opens the README
README = paths.ROOT / "README.md"


def fingerprint(nb: nbformat.NotebookNode) -> str:
    """SHA-256 over the code cells: sources, execution counts and outputs."""
    cells = [[c.source, c.execution_count, c.outputs] for c in nb.cells if c.cell_type == "code"]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def normalise(nb: nbformat.NotebookNode, number: str) -> None:
    """Brings a notebook's source into its standard form, in place.

    Cell ids by position, slide types by heading, and each exercise cell made anew from its solution.
    """
    for index, cell in enumerate(nb.cells):
        tags = cell.metadata.get("tags", [])
        cell.id = f"{number}-{index:03d}"
        if "exercise" in tags:
            cell.source = exercises.starter(nb.cells[index + 1].source)
        if "solution" in tags:
            cell.metadata["jupyter"] = {"source_hidden": True}
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT_CELL_METADATA})
        cell.metadata["slideshow"] = {"slide_type": _slide_type(cell, tags)}


def _slide_type(cell: nbformat.NotebookNode, tags: list[str]) -> str:
    """Headings start slides; what only machines read, and exercises, stay off them."""
    if {"bootstrap", "parameters", "exercise", "solution"} & set(tags):
        return "skip"
    if cell.cell_type == "markdown" and re.match(r"##? ", cell.source):
        return "slide"
    return "subslide" if cell.cell_type == "markdown" and cell.source.startswith("### ") else "-"


def take_outputs(source: Path, executed: Path) -> nbformat.NotebookNode:
    """The notebook `source` with the outputs of its executed copy, stamped. Raises UserError if the two differ in code."""
    nb, done = nbformat.read(source, as_version=4), nbformat.read(executed, as_version=4)
    # papermill adds a cell with the injected parameters; the committed notebook shows the defaults that it equals.
    ran = [c for c in done.cells if c.cell_type == "code" and "injected-parameters" not in c.metadata.get("tags", [])]
    cells = [c for c in nb.cells if c.cell_type == "code"]
    if [c.source for c in cells] != [c.source for c in ran]:
        raise UserError(
            f"{paths.display(executed)} ran other code than {paths.display(source)} holds: run the series again."
        )
    for count, (cell, result) in enumerate(zip(cells, ran, strict=True), 1):
        if result.execution_count is None:
            raise UserError(f"{paths.display(executed)} is only partly run: run the series again.")
        cell.execution_count = count
        cell.outputs = result.outputs
        for output in cell.outputs:
            if "execution_count" in output:
                output["execution_count"] = count
    nb.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    nb.metadata["rendered"] = {"fingerprint": fingerprint(nb), "by": "make render"}
    nbformat.validate(nb)
    return nb


def write_notebook(nb: nbformat.NotebookNode, path: Path) -> None:
    """Writes a notebook as Jupyter does, atomically."""
    write_text(path, nbformat.writes(nb) + "\n")


def main(argv: list[str] | None = None) -> int:
    """The command line: normalises the notebooks, runs the series with default parameters, takes over outputs and results."""
    parser = argparse.ArgumentParser(prog="python -m helpers.render", description=__doc__.split("\n")[0])
    parser.add_argument("--run", default="latest", metavar="NAME", help="run folder to use (default: latest)")
    args = parser.parse_args(argv)
    try:
        found = notebooks()
        for name, notebook in found.items():
            nb = nbformat.read(notebook.path, as_version=4)
            before = nbformat.writes(nb)
            normalise(nb, name[:2])
            if nbformat.writes(nb) != before:
                write_notebook(nb, notebook.path)
        if runner_.main(["--run", args.run]) != 0:
            return 1
        folder = paths.outputs() / args.run
        for name, notebook in found.items():
            write_notebook(take_outputs(notebook.path, folder / "executed" / f"{name}.ipynb"), notebook.path)
        keep_results(folder)
        write_results()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def keep_results(folder: Path) -> None:
    """Copies a run's metrics, manifest and title picture to outputs/reference/, from which the README is filled."""
    kept = {file: file.relative_to(folder) for file in [*(folder / "metrics").glob("*.json"), folder / "manifest.json"]}
    for file, name in (kept | {folder / PICTURE: "results.png"}).items():
        with atomic(paths.REFERENCE / name) as partial:
            shutil.copyfile(file, partial)


# What the README's table shows: label (with other metrics of that notebook filled in), notebook, metric.
RESULTS = (
    ("baseline network, test accuracy", "05_evaluation", "baseline_test_accuracy"),
    ("tuned network, test accuracy", "05_evaluation", "test_accuracy"),
    ("… macro F1", "05_evaluation", "f1_macro"),
    ("SVM (RBF), on {classical_train_images:,} training images", "05_evaluation", "svm_accuracy"),
    ("k nearest neighbours, on {classical_train_images:,} training images", "05_evaluation", "knn_accuracy"),
    ("random forest, on {classical_train_images:,} training images", "05_evaluation", "random_forest_accuracy"),
    ("decision tree, on {classical_train_images:,} training images", "05_evaluation", "decision_tree_accuracy"),
    ("{samples} simulated photos read right", "06_custom_image_prediction", "samples_accuracy"),
    ("small network, trained for one epoch, test accuracy", "07_faster_and_better", "fast_test_accuracy"),
)
SHIPPED = (("shipped network, test accuracy", "test_accuracy"), ("… scikit-learn's digits", "sklearn_digits_accuracy"))


def shipped_results() -> Iterator[tuple[str, float, str]]:
    """Label, accuracy and mean ± sd over seeds: the shipped network, those that were trained beside it, and small ones."""
    made = read_json(paths.REFERENCE / "digits.json")
    [shipped] = [row for row in made["seeds"] if row["seed"] == made["shipped_seed"]]
    for label, metric in SHIPPED:
        mean_sd = metrics_.spread(made["mean"][metric], (made["sd"] or {}).get(metric))
        yield label, shipped[metric], f"{mean_sd}% ({len(made['seeds'])} seeds)"
    measured = read_json(paths.REFERENCE / "accuracy.json")
    rows = [row for row in measured["ensemble"]["rows"] if row["networks"] == 1 and row["moved"]]
    views = ", five views of each image (test-time augmentation)"
    for label, metric in SHIPPED:
        moved = [row[metric] for row in rows]
        spread = f"{metrics_.spread(fmean(moved), stdev(moved))}% ({len(moved)} seeds)"
        yield label + views, moved[made["shipped_seed"]], spread
    chosen = measured["ensemble"]["chosen"]
    label = f"{chosen['networks']} networks together, test accuracy" + views * chosen["moved"]
    yield label, chosen["test_accuracy"], "one ensemble"
    for name in ("10,000", "2,000"):
        seeds = measured["frontier"][name]["seeds"]
        values = [row["test_accuracy"] for row in seeds]
        spread = f"{metrics_.spread(fmean(values), stdev(values))}% ({len(values)} seeds)"
        yield f"network of {seeds[0]['parameters']:,} parameters, test accuracy", values[0], spread
    yield from shipped_beyond_mnist()


def shipped_beyond_mnist() -> Iterator[tuple[str, float, str]]:
    """The same of the shipped network on corrupted digits, on simulated photographs and on lines of digits."""
    corrupted = read_json(paths.REFERENCE / "robustness.json")["networks"]["reference"]
    mean, sd, values = (corrupted[part]["accuracy/mean"] for part in ("mean", "sd", "values"))
    shipped = corrupted["seeds"].index(read_json(paths.REFERENCE / "digits.json")["shipped_seed"])
    label = "shipped network, MNIST-C (mean of 15 corruptions)"
    yield label, values[shipped], f"{metrics_.spread(mean, sd)}% ({len(values)} seeds)"
    photographs = read_json(paths.REFERENCE / "custom_images.json")
    label = f"… simulated photographs in {len(photographs['accuracy'])} conditions, a refusal counted as wrong"
    yield label, photographs["overall"]["read"], "not measured"
    written = read_json(paths.REFERENCE / "lines.json")["mean"]
    yield "… rows of digits in simulated photographs, each digit right", written["rows_exact"], "not measured"
    yield "… their digits", written["characters"], "not measured"


def _over_seeds(seeds: dict | None, notebook: str, metric: str, label: str, metrics: dict) -> dict | None:
    """Mean and sd of a metric; None where it was not measured, or with other settings than the label tells."""
    found = seeds["metrics"] if seeds else {}
    for _, name, _, _ in string.Formatter().parse(label):
        if name and found.get(f"{notebook}/{name}", {}).get("mean") != metrics[name]:
            return None
    return found.get(f"{notebook}/{metric}")


def write_results() -> None:
    """Writes the README's tables from outputs/reference/: one run with default parameters, and means over seeds."""
    manifest = read_json(paths.REFERENCE / "manifest.json")
    file = paths.REFERENCE / "seeds.json"
    seeds = read_json(file) if file.exists() else None
    mean = f"mean ± sd of {seeds['seeds']} seeds" if seeds else "mean ± sd"
    lines = [f"| | default run | {mean} |", "|---|---|---|"]
    for label, notebook, metric in RESULTS:
        metrics = read_json(paths.REFERENCE / "metrics" / f"{notebook}.json")
        row = _over_seeds(seeds, notebook, metric, label, metrics)
        spread = f"{100 * row['mean']:.2f} ± {100 * row['sd']:.2f} %" if row else "not measured"
        lines.append(
            f"| {label.format(**metrics)} | {metrics[metric]:.2%} | {spread} |".replace("%", " %").replace("  %", " %")
        )
    lines += [f"| {label} | {one:.2%} | {spread} |".replace("%", " %") for label, one, spread in shipped_results()]
    packages = ", ".join(f"{name} {manifest['packages'][name]}" for name in ("tensorflow", "keras"))
    source = "Seeds of the notebooks' networks: `python benchmarks/seeds.py`; the rows from the shipped network on:"
    lines += ["", source, f"`make reference` and the other benchmarks. Both columns with {packages}."]
    minutes = sum(notebook["seconds"] for notebook in manifest["notebooks"].values()) / 60
    cores = manifest["machine"]["cores"]
    folders = read_json(paths.REFERENCE / "speed.json")["folders"]["rows"]
    small, large = (f"{row['median']:,.0f}" for row in folders if row["what"] == "helpers.predict")
    needs = [
        f"With default parameters the whole series took {minutes:.0f} minutes on {cores} cores. There, `helpers.predict` reads",
        f"{small} files of 28×28 pixels or {large} phone photographs of 12 megapixels a second.",
    ]
    text = README.read_text(encoding="utf-8")
    for name, block in (("results", lines), ("needs", needs)):
        text, count = re.subn(
            rf"(<!-- {name}:.*?-->\n).*?(<!-- end of {name} -->)",
            lambda m, b=block: m[1] + "\n".join(b) + "\n" + m[2],
            text,
            flags=re.S,
        )
        if count != 1:
            raise UserError(f"README.md has lost its comment lines for {name}; restore them.")
    write_text(README, text)


if __name__ == "__main__":
    sys.exit(main())
