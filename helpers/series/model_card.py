"""The model card: one page that says what a run's network is, how good, and what it must not be used for.

`write` makes model_card.md and model_card.html of a run from its metrics and its manifest alone, by
templates/model_card.md.j2; where a notebook has not run yet, the section says which one is missing. After Mitchell and
others, "Model cards for model reporting", 2019. Explained in notebooks/05_evaluation.ipynb.
"""

import re
from pathlib import Path

import jinja2
from nbconvert.filters import markdown2html

from helpers import paths
from helpers.errors import UserError
from helpers.files import read_json, write_text
from helpers.series.rendering import TEMPLATES, number


def write(folder: Path) -> Path:
    """Writes model_card.md and model_card.html into a run folder; returns the first.

    Raises UserError where a file of the run is damaged, or lacks what an older version of the series did not measure.
    """
    card, text = folder / "model_card.md", text_of(folder)
    write_text(card, text)
    page = TEMPLATES.get_template("model_card.html.j2").render(run=folder.name, body=markdown2html(text))
    write_text(card.with_suffix(".html"), page)
    return card


def text_of(folder: Path) -> str:
    """The card of a run folder as Markdown. Raises UserError as `write` does."""
    names = ("04_tuning", "05_evaluation", "06_custom_image_prediction", "08_robustness")
    training, evaluation, pictures, robustness = (_read(folder / "metrics" / f"{name}.json") for name in names)
    manifest = _read(folder / "manifest.json")
    ran = manifest.get("notebooks", {})
    settings = next((ran[name]["parameters"] for name in names[:2] if name in ran), {})
    corrupted = _matching(r"corrupted_(?!lowest|mean)(\w+)_accuracy", robustness)  # those are of all together
    try:
        return TEMPLATES.get_template("model_card.md.j2").render(
            run=folder.name, manifest=manifest, settings=settings, mnist=settings.get("DATASET", "mnist") == "mnist",
            training=training, evaluation=evaluation, pictures=pictures, robustness=robustness,
            recalls=_matching(r"class_(\d+)_recall", evaluation),
            digests=sorted({entry["dataset_sha256"][:16] + "…" for entry in ran.values() if entry.get("dataset_sha256")}),
            borrowed=sorted({file for entry in ran.values() for file in entry.get("from_reference", ())}),
            corrupted={name.replace("_", " "): corrupted[name] for name in sorted(corrupted, key=corrupted.get)},
        )  # fmt: skip
    except jinja2.UndefinedError as error:
        card = paths.display(folder / "model_card.md")
        raise UserError(f"{card} cannot be written ({error}): run 04, 05, 06, 08 with --force.") from error


def _read(file: Path) -> dict:
    return read_json(file) if file.exists() else {}


def _matching(pattern: str, metrics: dict) -> dict[str, float]:
    """The metrics whose names match, under the part of the name that the pattern holds in parentheses."""
    return {match[1]: value for key, value in metrics.items() if (match := re.fullmatch(pattern, key))}


def _code(text: str) -> str:
    """Foreign text as Markdown code, which shows it as it is; what would end the code is replaced."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


TEMPLATES.filters |= {"percent": number, "code": _code}
