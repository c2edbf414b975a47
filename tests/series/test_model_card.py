"""helpers.series.model_card: complete and true for a run, and a sentence where something is missing."""

import re

import pytest

from helpers.errors import UserError
from helpers.files import read_json, write_json
from helpers.notebook.run import Run
from helpers.series.model_card import text_of, write

TITLES = ["Data", "Training", "Accuracy", "By class", "Confidence", "Robustness", "Other people's digits",
          "Intended use", "Known limits"]  # fmt: skip

EVALUATION = {
    "test_accuracy": 0.991, "test_accuracy_low": 0.988, "test_accuracy_high": 0.9935, "f1_macro": 0.99,
    "test_mistakes": 90, "class_0_recall": 0.995, "class_0_recall_low": 0.99, "class_0_recall_high": 0.999,
    "class_0_precision": 0.98, "class_1_recall": 0.97, "class_1_recall_low": 0.96, "class_1_recall_high": 0.98,
    "class_1_precision": 0.96,
}  # fmt: skip
ROBUSTNESS = {
    "temperature": 0.9, "ece": 0.0021, "corrupted_ece": 0.05, "accuracy_at_97_coverage": 0.9995,
    "images_to_human": 123, "corrupted_fog_accuracy": 0.14, "corrupted_stripe_accuracy": 0.5,
    "corrupted_mean_accuracy": 0.32, "corrupted_mean_unseen_accuracy": 0.3, "corrupted_lowest_accuracy": 0.14,
    "shipped_corrupted_fog_accuracy": 0.99, "corrupted_images": 1000, "sklearn_digits_accuracy": 0.9,
}  # fmt: skip


@pytest.fixture
def run(outputs):
    """A run of notebooks 04, 05 and 08, with made-up figures."""
    parameters = {"RUN": "mine", "SEED": 3, "DATASET": "mnist", "TRAIN_SIZE": 60000, "VALIDATION": 6000}
    tuning = Run("04_tuning", "mine", parameters)
    tuning.finish(parameters=1234567, train_images=54000, epochs=10, train_seconds=277.4, val_accuracy=0.99)
    Run("05_evaluation", "mine", parameters).finish(**EVALUATION)
    Run("08_robustness", "mine", parameters).finish(**ROBUSTNESS)
    manifest = read_json(tuning.folder / "manifest.json")
    manifest["notebooks"]["04_tuning"]["dataset_sha256"] = "8e083283c91432a5" + "0" * 48
    write_json(tuning.folder / "manifest.json", manifest)
    return tuning.folder


def sections(text):
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_networks_of_the_default_run_are_named(run, capsys):
    assert "default run" not in text_of(run)
    other = Run("06_custom_image_prediction", "mine")
    other.need("models/tuned.keras")
    other.finish()
    text = text_of(run)
    assert "Taken from the default run, `outputs/reference/`, since this run had none" in text
    assert "needed: `models/tuned.keras`.\n\n## Data" in text


def test_every_section_says_what_was_measured(run):
    text = write(run).read_text(encoding="utf-8")
    found = sections(text)
    assert list(found) == TITLES and "Not measured" not in text
    assert "60,000 training images, 6,000 of them" in found["Data"] and "8e083283c91432a5…" in found["Data"]
    for words in ("1,234,567", "277 s", "99.00 %", "| seed | 3 |", "tensorflow 2."):
        assert words in found["Training"]
    assert "**99.10 %** (98.80 % to 99.35 %, 95 % confidence)" in found["Accuracy"]
    assert "| 1 | 97.00 % | 96.00 % to 98.00 % | 96.00 % |" in found["By class"]
    assert "0.0021" in found["Confidence"] and "123" in found["Confidence"] and "AUROC" not in found["Confidence"]
    rows = re.findall(r"^\| ([\w ]+) \| (\d.*) \|", found["Robustness"], re.MULTILINE)
    assert rows[:2] == [("fog", "14.00 %"), ("stripe", "50.00 %")] and "**32.00 %**" in found["Robustness"]
    assert "weakest under fog (14.00 %), stripe (50.00 %)." in found["Known limits"]
    assert "An attacker who can alter pixels can fool it" in found["Known limits"]
    assert "Class 1 has the lowest recall (97.00 %)" in found["Known limits"]


def test_the_page_holds_the_same(run):
    write(run)
    page = (run / "model_card.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.count("<table>") == 6 and "<td>14.00 %</td>" in page
    for title in TITLES:
        assert f">{title.replace(chr(39), '&#39;')}" in page or f">{title}" in page


def test_what_is_missing_is_named_by_the_notebook_that_makes_it(tmp_path):
    found = sections(write(tmp_path).read_text(encoding="utf-8"))
    assert list(found) == TITLES
    assert "04_tuning makes this section" in found["Training"] and "04_tuning" in found["Data"]
    for title in ("Accuracy", "By class"):
        assert "05_evaluation makes this section" in found[title]
    for title in ("Confidence", "Robustness", "Other people's digits"):
        assert "08_robustness makes this section" in found[title]


def test_other_images_are_not_called_digits(run):
    manifest = read_json(run / "manifest.json")
    manifest["notebooks"]["04_tuning"]["parameters"]["DATASET"] = "fashion_mnist"
    write_json(run / "manifest.json", manifest)
    found = sections(text_of(run))
    assert "data set `fashion_mnist`" in found["Intended use"] and "MNIST's writers" not in found["Known limits"]


@pytest.mark.parametrize("name", ["x`<img src=x onerror=alert(1)>`.npz", "``<img src=x onerror=alert(1)>", "$<img src=x>$",
                                  "[a](b)<img src=x>", "</code><img src=x onerror=alert(1)>", "a\r\r<img src=x>"])  # fmt: skip
def test_the_name_of_a_data_set_is_no_markup(run, name):
    manifest = read_json(run / "manifest.json")
    manifest["notebooks"]["04_tuning"]["parameters"]["DATASET"] = name
    write_json(run / "manifest.json", manifest)
    write(run)
    page = (run / "model_card.html").read_text(encoding="utf-8")
    assert page.count("&lt;img src=x") == 2 and "<img" not in page and 'href="b"' not in page


def test_metrics_of_an_older_version_are_one_sentence(run):
    metrics = read_json(run / "metrics" / "05_evaluation.json")
    del metrics["test_accuracy_low"]
    write_json(run / "metrics" / "05_evaluation.json", metrics)
    with pytest.raises(UserError, match="model_card.md cannot be written .*test_accuracy_low.*: run 04, 05"):
        write(run)
