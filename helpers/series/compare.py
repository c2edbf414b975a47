"""Runs side by side: python -m helpers.series compare RUN RUN …; in a notebook, compare("latest", "other").

Accuracies get the 95 % interval of Wilson where the number of images is known, networks McNemar's test where a run
keeps which images they got wrong. Both are explained in notebooks/05_evaluation.ipynb.
"""

import argparse
import re
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import binomtest

from helpers import data, paths
from helpers.console import checking, command
from helpers.errors import UserError
from helpers.files import atomic, read_json, write_text
from helpers.notebook.style import set_style
from helpers.series import runs as runs_
from helpers.series.rendering import number

MISTAKES = "mistakes.json"  # in a run folder: network → the numbers of the test images that it got wrong

# Which metrics are shares of how many images: a pattern for notebook/metric, and the metric or parameter that tells.
# Not the best of many trials, nor a mean over corruptions of the same images: the interval would be too narrow.
IMAGES = (
    (r"05_\w+/(?!class_)\w+accuracy|\d\d_\w+/(\w+_)?test_accuracy", "test_images"),
    (r"\d\d_\w+/(?!\w*best_)(\w+_)?val_accuracy", "VALIDATION"),
    (r"02_\w+/\w+_accuracy|06_\w+/simulated_\w+_accuracy", "pictures"),
    (r"06_\w+/samples_(\w+_)?accuracy", "samples"),
    (r"08_\w+/(\w+_)?corrupted_(?!mean|lowest)\w+_accuracy", "corrupted_images"),
)


class Comparison(NamedTuple):
    """What `compare` found.

    parameters: those that differ, with versions and commit; index (name, notebooks), a column for each run.
    metrics: index (notebook, metric, run), columns value, low and high (95 % interval), difference from the first run.
    mcnemar: index (network, run), columns only_first and only_this (images that one alone got right), p_value.
    """

    parameters: pd.DataFrame
    metrics: pd.DataFrame
    mcnemar: pd.DataFrame


def compare(*runs: str) -> Comparison:
    """Compares runs with the first of them.

    Args:
        *runs: at least two names of folders in outputs/.

    Returns:
        Three tables. Metrics are those that at least two runs have.

    Raises:
        UserError: fewer than two runs, one that does not exist, or a damaged file.
    """
    if len(set(runs)) < max(2, len(runs)):
        raise UserError("Name at least two runs to compare, each once.")
    found = {run: runs_.read(run) for run in runs}
    return Comparison(_parameters(found), _metrics(found), _mcnemar(found))


def _parameters(found: dict[str, dict]) -> pd.DataFrame:
    rows = []
    for run, manifest in found.items():
        made_with = manifest.get("packages", {}) | {name: manifest.get(name) for name in ("python", "git_commit")}
        settings = {notebook: entry["parameters"] for notebook, entry in manifest["notebooks"].items()}
        for notebook, own in {"": made_with, **settings}.items():
            rows += [(name, notebook[:2], run, value) for name, value in own.items() if name != "RUN"]
    table = pd.DataFrame(rows, columns=["name", "notebooks", "run", "value"], dtype=object)
    table = table.pivot(index=["name", "notebooks"], columns="run", values="value")[list(found)]
    table = table[table.nunique(axis=1) > 1].reset_index("notebooks")
    # Most have the same values in all notebooks that take them: one row then.
    alike = [table.index, *(table[run].map(str) for run in found)]
    table = table.groupby(alike, sort=False).agg(dict.fromkeys(found, "first") | {"notebooks": " ".join})
    return table.droplevel(list(found)).set_index("notebooks", append=True)


def _metrics(found: dict[str, dict]) -> pd.DataFrame:
    rows = [
        (notebook, metric, run, value, *_interval(entry, notebook, metric))
        for run, manifest in found.items()
        for notebook, entry in manifest["notebooks"].items()
        for metric, value in entry["metrics"].items()
    ]
    table = pd.DataFrame(rows, columns=["notebook", "metric", "run", "value", "low", "high"])
    table = table.sort_values(["notebook", "metric"], kind="stable").set_index(["notebook", "metric", "run"])
    of_each = table["value"].astype(float).groupby(level=["notebook", "metric"])
    table["difference"] = (table["value"] - of_each.transform("first")).where(of_each.cumcount() > 0)
    return table[of_each.transform("size") > 1].astype(float)


def _interval(entry: dict, notebook: str, metric: str) -> tuple[float | None, float | None]:
    """The 95 % interval of a metric; (None, None) if it is no share of images, or if nobody knows of how many."""
    source = next((source for pattern, source in IMAGES if re.fullmatch(pattern, f"{notebook}/{metric}")), None)
    told = entry["metrics"] | entry["parameters"]
    if told.get("DATASET") in data.NAMED:
        told["test_images"] = 10_000
    if not (images := told.get(source)):
        return None, None
    return tuple(binomtest(round(told[metric] * images), images).proportion_ci(method="wilson"))


def _mcnemar(found: dict[str, dict]) -> pd.DataFrame:
    files = {run: paths.outputs() / run / MISTAKES for run in found}
    wrong = {run: read_json(file) for run, file in files.items() if file.exists()}
    seen = {run: {e.get("dataset_sha256") for e in found[run]["notebooks"].values()} - {None} for run in found}
    (first, *others), rows = found, []
    for run in others:
        alike = len(seen[run]) == 1 and seen[run] == seen[first]  # else they tell of other images
        for network in sorted(wrong.get(first, {}).keys() & wrong.get(run, {}).keys()) if alike else ():
            by_first, by_this = set(wrong[first][network]), set(wrong[run][network])
            only_first, only_this = len(by_this - by_first), len(by_first - by_this)
            differing = only_first + only_this
            p_value = binomtest(only_first, differing).pvalue if differing else 1.0
            rows.append((network, run, only_first, only_this, p_value))
    columns = ["network", "run", "only_first", "only_this", "p_value"]
    return pd.DataFrame(rows, columns=columns).set_index(["network", "run"])


def _shown(found: Comparison) -> pd.DataFrame:
    """The main metrics; all where there is none of these."""
    main = found.metrics.index.get_level_values("metric").isin(runs_.SHOWN_METRICS)
    return found.metrics[main] if main.any() else found.metrics


def plot(found: Comparison) -> Figure:
    """Draws the main accuracies of the runs, a panel for each metric, with their 95 % intervals."""
    shown = _shown(found)
    accuracies = shown[shown.index.get_level_values("metric").str.endswith("accuracy")]
    panels = list(accuracies.groupby(level=["notebook", "metric"]))[:9]  # more only where none is a main one
    names = list(dict.fromkeys(accuracies.index.get_level_values("run")))
    columns, rows = max(1, min(3, len(panels))), max(1, -(-len(panels) // 3))
    # Not by pyplot, which would open windows from the command line on some systems.
    fig = Figure(figsize=(2 + 3 * columns, rows * (1.3 + 0.3 * len(names))), layout="constrained")
    axes = list(fig.subplots(rows, columns, sharey=True, squeeze=False).flat)
    axes[0].invert_yaxis()  # of all: the first run on top
    for axis, ((notebook, metric), table) in zip(axes, panels, strict=False):
        table = 100 * table.droplevel(["notebook", "metric"]).reindex(names)
        bars = [(table["value"] - table["low"]).clip(lower=0), (table["high"] - table["value"]).clip(lower=0)]
        axis.errorbar(table["value"], range(len(names)), xerr=bars, fmt="o", capsize=3)
        axis.set(title=f"{notebook[:2]} {metric.replace('_', ' ')}", xlabel="Accuracy (%)", yticks=range(len(names)))
        axis.set_yticklabels(names)
        axis.margins(y=0.2)
    for axis in axes[len(panels) :]:
        axis.remove()
    fig.suptitle("Accuracy of each run, with 95 % interval where it is known")
    return fig


def report(found: Comparison) -> str:
    """What the command prints; writes comparison.csv, with every metric, and comparison.png to outputs/."""
    folder, first = paths.outputs(), found.parameters.columns[0]
    set_style()
    write_text(folder / "comparison.csv", found.metrics.to_csv())
    with atomic(folder / "comparison.png") as partial:
        plot(found).savefig(partial)
    shown = _shown(found)
    texts = [
        (
            number(value, metric),
            "" if pd.isna(low) else f"{number(low)} to {number(high)}",
            "" if pd.isna(gap) else f"{'-' if gap < 0 else '+'}{number(abs(gap), metric)}".replace("%", "points"),
        )
        for (_, metric, _), value, low, high, gap in shown.itertuples()
    ]
    metrics = pd.DataFrame(texts, shown.index, ["value", "95 % interval", "difference"])
    mcnemar = found.mcnemar.assign(p_value=found.mcnemar["p_value"].map("{:.2g}".format))
    parts = {
        "Parameters that differ": found.parameters.fillna("–"),
        f"Metrics, and differences from {first}": metrics,
        f"McNemar's test against {first}, on the same test images": mcnemar,
    }
    lines = [f"{title}\n{table.to_string()}\n" for title, table in parts.items() if len(table)]
    lines = lines if len(found.parameters) else ["No parameter differs.\n", *lines]
    place = paths.display(folder)
    return "\n".join([*lines, f"Every metric: {place}/comparison.csv\nMain accuracies: {place}/comparison.png"])


@command
def main(argv: list[str] | None = None) -> None:
    """The command line; exit code 2 where a run does not exist."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.series compare", description="Compare runs with the first."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders in outputs/, such as latest")
    runs = parser.parse_args(argv).runs
    with checking():
        found = compare(*runs)
    print(report(found))
