"""tools.make_site: what Sphinx is given. How the pages turn out is tried in tests/e2e/test_site.py."""

import re

import nbformat
import pytest
import yaml

from helpers import paths
from helpers.files import read_json
from tools import make_site
from tools.make_site import prepare, sections, shipped_card, with_links

NAMES = ["03_cnn", "05_test"]


@pytest.mark.parametrize(
    "source, expected",
    [
        ("[a](03_cnn.ipynb#Copy-MNIST's-own-recipe)", "[a](03_cnn.ipynb#copy-mnists-own-recipe)"),
        ("[a](notebooks/05_test.ipynb), [b](04_tuning.ipynb#X)", "[a](notebooks/05_test.ipynb), b"),
        ("[a](https://x.org/03_cnn.ipynb) [b](glossary.md#b)", "[a](https://x.org/03_cnn.ipynb) [b](glossary.md#b)"),
    ],
)
def test_links_lead_to_pages_that_there_are(source, expected):
    assert with_links(source, NAMES) == expected


def test_machinery_and_solutions_are_folded():
    cells = [nbformat.v4.new_markdown_cell("# T")]
    for tag in ("parameters", "solution", "exercise"):
        source = 'answer = 1\nexercises.check("03.2", answer)'
        cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": [tag]}))
    nb = nbformat.v4.new_notebook(cells=cells)
    prepare(nb, "03_cnn", NAMES)
    assert '<a href="../slides/03_cnn.html">' in nb.cells[0].source
    assert [("hide-cell" in cell.metadata.tags) for cell in nb.cells[1:]] == [True, True, False]
    assert nb.cells[2].metadata.mystnb.code_prompt_show == "Show the solution of 03.2"
    assert nb.cells[2].metadata.mystnb.code_prompt_hide == "Hide the solution of 03.2"


def test_the_readme_has_what_the_pages_take_from_it():
    found = sections((paths.ROOT / "README.md").read_text(encoding="utf-8"))
    assert {"", "The notebooks", "Results"} <= set(found) and found[""].count("```sh\n") == 1
    assert all(found.values())


def test_the_card_of_the_shipped_network_holds_what_was_measured():
    card = shipped_card()
    _, head, text = re.split(r"^---$", card, maxsplit=2, flags=re.MULTILINE)
    digits = read_json(paths.REFERENCE / "digits.json")
    own = next(row for row in digits["seeds"] if row["seed"] == digits["shipped_seed"])
    about = yaml.safe_load(head)
    assert card.startswith("---\n") and about["license"] == "mit" and about["library_name"] == "keras"
    [result] = about["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": own["test_accuracy"]}]
    assert f"{100 * own['test_accuracy']:.2f} %" in text and f"{digits['parameters']:,} parameters" in text
    assert len(re.findall(r"^\| [a-z ]+ \| [\d.]+ ± [\d.]+ % \|$", text, re.MULTILINE)) == 15


def test_a_run_without_notebooks_is_refused(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path))
    assert make_site.main(["--run", "mine"]) == 1
    assert "holds no executed notebook" in capsys.readouterr().err
    assert make_site.main(["--run", "../x"]) == 2
