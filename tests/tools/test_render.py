"""The README's tables say what outputs/reference/ holds, and claim nothing that was measured otherwise."""

import pytest

from helpers import paths
from helpers.errors import UserError
from helpers.files import read_json
from tools import render


def test_the_readme_is_up_to_date(monkeypatch, tmp_path):
    monkeypatch.setattr(render, "README", tmp_path / "README.md")
    committed = (paths.ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "README.md").write_text(committed, encoding="utf-8")
    render.write_results()
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == committed


@pytest.mark.parametrize("images, expected", [(5000, {"mean": 0.95, "sd": 0.01}), (6000, None)])
def test_means_over_seeds_are_shown_only_for_the_settings_in_the_label(images, expected):
    seeds = {"metrics": {"05/train_images": {"mean": 5000}, "05/accuracy": {"mean": 0.95, "sd": 0.01}}}
    found = render._over_seeds(seeds, "05", "accuracy", "on {train_images:,} images", {"train_images": images})
    assert found == expected
    assert render._over_seeds(None, "05", "accuracy", "plain", {}) is None


def test_the_shipped_networks_rows_are_those_of_its_file():
    made = read_json(paths.REFERENCE / "digits.json")
    [shipped] = [row for row in made["seeds"] if row["seed"] == made["shipped_seed"]]
    label, one, spread = next(render.shipped_results())
    assert "shipped" in label and one == shipped["test_accuracy"]
    assert f"{100 * made['mean']['test_accuracy']:.2f}" in spread and f"({len(made['seeds'])} seeds)" in spread


def test_a_readme_without_its_comment_lines_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(render, "README", tmp_path / "README.md")
    (tmp_path / "README.md").write_text("# Title\n", encoding="utf-8")
    with pytest.raises(UserError, match="has lost its comment lines"):
        render.write_results()
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "# Title\n"
