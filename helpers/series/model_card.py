"""The model card: one page that says what a run's network is, how good, and what it must not be used for.

`write` makes model_card.md and model_card.html of a run from its metrics and its manifest alone; where a notebook has
not run yet, the section says which one is missing. After Mitchell and others, "Model cards for model reporting", 2019.
Explained in notebooks/05_evaluation.ipynb.
"""

import html
import re
from pathlib import Path

from nbconvert.filters import markdown2html

from helpers.files import read_json, write_text

NOTEBOOKS = {"training": "04_tuning", "evaluation": "05_evaluation", "pictures": "06_custom_image_prediction"}
SUMMARIES = ("lowest", "mean", "mean_unseen")  # what notebook 05 says of all corruptions together
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}td,th{padding:.15rem .8rem .15rem 0;text-align:left;border-bottom:1px solid #ddd}"
    ".anchor-link{display:none}"
)


def write(folder: Path) -> Path:
    """Writes model_card.md and model_card.html into a run folder; returns the first. Raises UserError as `runs` does."""
    text = text_of(folder)
    card = folder / "model_card.md"
    write_text(card, text)
    title = f"Model card: run {html.escape(folder.name)}"
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    write_text(folder / "model_card.html", f"{page}\n{markdown2html(text)}</html>\n")
    return card


def text_of(folder: Path) -> str:
    """The card of a run folder as Markdown."""
    manifest = _read(folder / "manifest.json")
    found = {part: _read(folder / "metrics" / f"{name}.json") for part, name in NOTEBOOKS.items()}
    ran = manifest.get("notebooks", {})
    settings = ran.get(NOTEBOOKS["training"], {}).get("parameters", {})
    tested = ran.get(NOTEBOOKS["evaluation"], {}).get("parameters", {})
    name = (settings or tested).get("DATASET", "mnist")
    sections = {
        "Data": _data(ran, settings or tested),
        "Training": _training(found["training"], settings, manifest),
        "Accuracy": _accuracy(found["evaluation"]),
        "By class": _by_class(found["evaluation"]),
        "Confidence": _confidence(found["evaluation"]),
        "Robustness": _robustness(found["evaluation"]),
        "Other people's digits": _others(found["evaluation"], found["pictures"]),
        "Intended use": _intended(name),
        "Known limits": _limits(found["evaluation"], name),
    }
    lines = [f"# Model card: run {folder.name}", "", "The tuned network, `models/tuned.keras`. Written from the run's "
             "metrics and manifest by `python -m helpers.series`; figures are of this one run, not means over seeds."]  # fmt: skip
    for title, body in sections.items():
        lines += ["", f"## {title}", "", body]
    return "\n".join(lines) + "\n"


def _read(file: Path) -> dict:
    return read_json(file) if file.exists() else {}


def _missing(part: str) -> str:
    return f"Not measured in this run: notebook {NOTEBOOKS[part]} makes this section."


def _percent(value: float) -> str:
    return f"{100 * value:.2f} %"


def _table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _data(ran: dict, settings: dict) -> str:
    digests = sorted({entry["dataset_sha256"] for entry in ran.values() if entry.get("dataset_sha256")})
    if not digests or "DATASET" not in settings:
        return _missing("training")
    name = settings["DATASET"]
    origin = "; origin and licence in data/README.md" if name == "mnist" else ""
    images = [f"{settings[key]:,} {what}" for key, what in (("TRAIN_SIZE", "training images"),
              ("VALIDATION", "of them set aside for validation")) if key in settings]  # fmt: skip
    lines = [f"Data set `{name}`{origin}. SHA-256 {', '.join(f'`{digest[:16]}…`' for digest in digests)}."]
    lines += [f"At most {', '.join(images)}; the test images were used for no choice."] if images else []
    return "\n".join(lines)


def _training(found: dict, settings: dict, manifest: dict) -> str:
    if not found:
        return _missing("training")
    wanted = ("parameters", "train_images", "epochs", "trials", "filters_1", "filters_2", "kernel_size", "dense_units",
              "dropout", "learning_rate", "train_seconds", "search_seconds", "val_accuracy")  # fmt: skip
    rows = [[name.replace("_", " "), _number(name, found[name])] for name in wanted if name in found]
    rows += [["seed", str(settings["SEED"])]] if "SEED" in settings else []
    packages = ", ".join(f"{name} {manifest['packages'][name]}" for name in ("tensorflow", "keras"))
    rows += [["made with", f"Python {manifest['python']}, {packages}, commit {manifest['git_commit'] or 'unknown'}"]]
    return _table(["training", "value"], rows)


def _number(name: str, value: float) -> str:
    if name.endswith("accuracy"):
        return _percent(value)
    if name.endswith("_seconds"):
        return f"{value:,.0f} s"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _accuracy(found: dict) -> str:
    if "test_accuracy" not in found:
        return _missing("evaluation")
    low, high = _percent(found["test_accuracy_low"]), _percent(found["test_accuracy_high"])
    rows = [
        ["accuracy on the test images", f"**{_percent(found['test_accuracy'])}** ({low} to {high}, 95 % confidence)"]
    ]
    for key, label in (
        ("test_accuracy_without_label_errors", "… without the 15 with doubtful labels"),
        ("f1_macro", "macro F1"),
        ("baseline_test_accuracy", "baseline network of notebook 03"),
    ):
        rows += [[label, _percent(found[key])]] if key in found else []
    rows += [["mistakes", str(found["test_mistakes"])]] if "test_mistakes" in found else []
    return _table(["", "value"], rows)


def _by_class(found: dict) -> str:
    rows = []
    while f"class_{len(rows)}_recall" in found:
        name = f"class_{len(rows)}_"
        low, high = (_percent(found[f"{name}recall_{end}"]) for end in ("low", "high"))
        recall, precision = (_percent(found[name + metric]) for metric in ("recall", "precision"))
        rows.append([str(len(rows)), recall, f"{low} to {high}", precision])
    return _table(["class", "recall", "95 % interval", "precision"], rows) if rows else _missing("evaluation")


def _confidence(found: dict) -> str:
    labels = {
        "temperature": ("temperature, fitted on validation images", "{:.3f}"),
        "ece": ("expected calibration error on clean images", "{:.4f}"),
        "corrupted_ece": ("… mean over the corruptions below", "{:.4f}"),
        "error_detection_auroc": ("mistakes told from hits by confidence (AUROC)", "{:.3f}"),
        "accuracy_at_97_coverage": ("accuracy on the 97 % surest images", "{:.2%}"),
        "images_to_human": ("images to leave to a human for 99.9 % on the rest", "{:,}"),
    }
    rows = [[label, form.format(found[name])] for name, (label, form) in labels.items() if name in found]
    return _table(["", "value"], rows) if rows else _missing("evaluation")


def _corruptions(found: dict) -> dict[str, float]:
    """Accuracy by corruption, among the metrics of notebook 05."""
    names = {name.removeprefix("corrupted_").removesuffix("_accuracy"): value
             for name, value in found.items() if name.startswith("corrupted_") and name.endswith("_accuracy")}  # fmt: skip
    return {name: value for name, value in names.items() if name not in SUMMARIES}


def _robustness(found: dict) -> str:
    corrupted = _corruptions(found)
    if not corrupted:
        return _missing("evaluation")
    rows = [[name.replace("_", " "), _percent(value)] for name, value in sorted(corrupted.items(), key=lambda r: r[1])]
    rows += [["**mean of all**", f"**{_percent(found['corrupted_mean_accuracy'])}**"]]
    rows += [["mean without rotate, shear, scale, translate", _percent(found["corrupted_mean_unseen_accuracy"])]]
    intro = f"The corruptions of MNIST-C at the benchmark's severities, {found['corrupted_images']:,} test images each."
    return f"{intro}\n\n{_table(['corruption', 'accuracy'], rows)}"


def _others(found: dict, pictures: dict) -> str:
    rows = []
    if "sklearn_digits_accuracy" in found:
        rows.append(["scikit-learn's 1,797 digits, 8×8 pixels enlarged", _percent(found["sklearn_digits_accuracy"])])
    if "samples_accuracy" in pictures:
        label = f"{pictures['samples']} simulated photos, by the shipped network"
        rows.append([label, _percent(pictures["samples_accuracy"])])
    return _table(["pictures", "accuracy"], rows) if rows else _missing("evaluation")


def _intended(name: str) -> str:
    what = (
        "reading single handwritten digits that were brought to MNIST's form: 28×28 pixels, light on dark, one centred digit"
        if name == "mnist"
        else f"classifying images like those of the data set `{name}`"
    )
    return f"Teaching, and {what}. Not for decisions about people or money without a human or a second check."


def _limits(found: dict, name: str) -> str:
    limits = ["Whoever may alter pixels can make it err: it is not trained against attacks."]
    if name == "mnist":
        limits += [
            "It answers with a digit whatever it is shown: letters, blank paper and several digits included. "
            "`helpers.predict` refuses most of these; the network alone does not.",
            "MNIST's writers were American, around 1990: other ways of writing 1, 4, 7 and 9 are rare in it.",
        ]
    if corrupted := _corruptions(found):
        worst = sorted(corrupted, key=corrupted.get)[:3]
        named = ", ".join(f"{key.replace('_', ' ')} ({_percent(corrupted[key])})" for key in worst)
        limits.append(f"It is weakest under {named}.")
    classes = {key.split("_")[1]: value for key, value in found.items() if re.fullmatch(r"class_\d+_recall", key)}
    if classes:
        worst = min(classes, key=classes.get)
        limits.append(f"Class {worst} has the lowest recall ({_percent(classes[worst])}); see its interval above.")
    return "\n".join(f"- {limit}" for limit in limits)
