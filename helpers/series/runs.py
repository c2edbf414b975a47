"""The runs in outputs/: what each was made with and has found, how long it took, and the page that lists them."""

from pathlib import Path

from helpers import paths
from helpers.errors import UserError
from helpers.files import read_json, write_text
from helpers.notebook import parameters
from helpers.series.rendering import TEMPLATES

SHOWN_METRICS = (  # where all would be too many
    "test_accuracy", "val_accuracy", "samples_accuracy", "corrupted_mean_accuracy", "parameters", "train_seconds",
    "images",
)  # fmt: skip
PAGES = ("site/index.html", "model_card.html")  # of a run; the first that exists is linked


def names() -> list[str]:
    """The folders in outputs/ that hold a run, the kept reference included."""
    return sorted(file.parent.name for file in paths.outputs().glob("*/manifest.json"))


def read(name: str) -> dict:
    """A run's manifest, the entry of each notebook with its "metrics".

    Raises UserError if there is no such run, or if one of its files is damaged.
    """
    known, folder = names(), paths.outputs() / name
    if name not in known:
        place = paths.display(paths.outputs())
        raise UserError(f"There is no run {name!r} in {place}; there are: {', '.join(known) or 'none yet'}.")
    manifest = read_json(folder / "manifest.json")
    try:
        for notebook, entry in manifest["notebooks"].items():
            file = folder / "metrics" / f"{notebook}.json"
            metrics = read_json(file).items() if file.exists() else ()
            entry["metrics"] = {metric: value for metric, value in metrics if isinstance(value, int | float)}
            entry["parameters"] = dict(entry["parameters"])
            entry["seconds"], entry["finished"] = float(entry["seconds"]), str(entry["finished"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        place = paths.display(folder)
        raise UserError(f"{place} does not hold a run's files as expected ({error!r}): run it again.") from error
    return manifest


def read_all() -> tuple[dict[str, dict], dict[str, str]]:
    """All runs by name, and what is wrong with those that cannot be read."""
    found, damaged = {}, {}
    for name in names():
        try:
            found[name] = read(name)
        except UserError as error:
            damaged[name] = str(error)
    return found, damaged


def seconds(found: dict[str, dict], notebook: str, values: dict[str, object]) -> float | None:
    """The seconds that a notebook took when it last ran with these parameters; None if it never did on this machine.

    The seed does not count; of the parameters, those count that the manifest holds. The reference ran elsewhere.
    """
    entries = [run["notebooks"].get(notebook) for name, run in found.items() if name != "reference"]
    alike = [
        (entry["finished"], entry["seconds"])
        for entry in filter(None, entries)
        if all(values.get(name) == value for name, value in entry["parameters"].items() if name not in ("RUN", "SEED"))
    ]
    return max(alike)[1] if alike else None


def write_list() -> Path:
    """Writes outputs/index.html: every run, the newest first, with what is particular to it and its main metrics."""
    page, (found, damaged), rows = paths.outputs() / "index.html", read_all(), []
    usual = {file.stem: parameters.defaults(file.stem) for file in paths.NOTEBOOKS.glob("[0-9]*.ipynb")}
    for name, run in found.items():
        row = {"name": name, "when": "", "particular": {}, "metrics": {}}
        for notebook, entry in run["notebooks"].items():
            row["when"] = max(row["when"], entry["finished"])
            own, default = entry["parameters"], usual.get(notebook, {})
            row["particular"] |= {f"{key} = {own[key]}": 0 for key in own if own[key] != default.get(key, own[key])}
            shown = [metric for metric in SHOWN_METRICS if metric in entry["metrics"]]
            row["metrics"] |= {(notebook, metric): entry["metrics"][metric] for metric in shown}
        pages = [f"{name}/{page}" for page in PAGES if (paths.outputs() / name / page).exists()]
        rows.append(row | {"page": pages[0] if pages else None})
    rows.sort(key=lambda row: (row["when"], row["name"]), reverse=True)
    columns = sorted({column for row in rows for column in row["metrics"]})
    write_text(page, TEMPLATES.get_template("runs.html.j2").render(rows=rows, columns=columns, damaged=damaged))
    return page
