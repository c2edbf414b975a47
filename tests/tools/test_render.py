"""tools.render: the README says what outputs/reference/ holds and claims no more; exercises come from solutions."""

import shutil

import numpy as np
import pytest

from helpers import data, paths
from helpers.errors import UserError
from helpers.files import read_json, write_json
from helpers.series import runner
from tools import address, render


@pytest.fixture
def readme(monkeypatch, tmp_path):
    """A copy of the README, for `write_results` to change."""
    copy = tmp_path / "README.md"
    shutil.copyfile(paths.ROOT / "README.md", copy)
    monkeypatch.setattr(address, "README", copy)
    return copy


def test_the_readme_is_up_to_date(readme):
    render.write_results()
    assert readme.read_text(encoding="utf-8") == (paths.ROOT / "README.md").read_text(encoding="utf-8")


def test_what_notebooks_need_of_earlier_ones_is_kept():
    needs = {need for notebook in runner.notebooks().values() for need in notebook.needs}
    own = {need for need in needs if not need.startswith(("data/", "outputs/"))}
    assert own and {need for need in own if not (paths.REFERENCE / need).is_file()} == set()


def test_kept_networks_are_those_of_the_kept_figures():
    keras = pytest.importorskip("keras")
    mnist = data.load()
    metrics = read_json(paths.REFERENCE / "metrics" / "05_evaluation.json")
    for name, metric in (("baseline", "baseline_test_accuracy"), ("tuned", "test_accuracy")):
        network = keras.models.load_model(paths.REFERENCE / "models" / f"{name}.keras")
        answers = network.predict(mnist.x_test[..., None] / np.float32(255), 500, verbose=0).argmax(1)
        assert (answers == mnist.y_test).mean() == pytest.approx(
            metrics[metric], abs=2e-4
        )  # processors round differently


def test_render_keeps_what_notebooks_need(monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "reference")
    monkeypatch.setattr(render, "portable", bytes.upper)
    for file in ("metrics/a.json", "manifest.json", render.PICTURE, "models/a.keras", "models/b.keras"):
        (tmp_path / "run" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / file).write_text(file)
    render.keep_results(tmp_path / "run", {"models/a.keras", "data/samples/", "outputs/reference/digits.json"})
    kept = {file.relative_to(paths.REFERENCE).as_posix(): file.read_text() for file in paths.REFERENCE.rglob("*.*")}
    as_is = {name: name for name in ("metrics/a.json", "manifest.json")} | {"results.png": render.PICTURE}
    assert kept == as_is | {"models/a.keras": "MODELS/A.KERAS"}


def change(monkeypatch, folder, file, **values):
    """Lets the README be made from a copy of outputs/reference/ in which one file says something else."""
    shutil.copytree(paths.REFERENCE, folder / "reference")
    path = folder / "reference" / file
    write_json(path, read_json(path) | values)
    monkeypatch.setattr(paths, "REFERENCE", folder / "reference")


def rows(readme):
    """The table of results: label → its two figures."""
    cells = [line.split(" | ") for line in readme.read_text(encoding="utf-8").splitlines() if line.count(" | ") == 2]
    return {label.removeprefix("| "): [one, mean.removesuffix(" |")] for label, one, mean in cells}


@pytest.mark.parametrize("images, expected", [(5000, "95.00 ± 1.00 %"), (6000, "not measured")])
def test_means_over_seeds_are_shown_only_for_the_settings_in_the_label(readme, monkeypatch, tmp_path, images, expected):
    metrics = {"05_evaluation/classical_train_images": {"mean": images}, "05_evaluation/knn_accuracy": {"mean": 0.95, "sd": 0.01}}  # fmt: skip
    change(monkeypatch, tmp_path, "seeds.json", metrics=metrics)
    render.write_results()
    assert rows(readme)["k nearest neighbours, on 5,000 training images"][1] == expected
    assert rows(readme)["tuned network, test accuracy"][1] == "not measured"


def test_the_shipped_networks_rows_are_those_of_its_file(readme):
    made = read_json(paths.REFERENCE / "digits.json")
    [shipped] = [row for row in made["seeds"] if row["seed"] == made["shipped_seed"]]
    render.write_results()
    one, spread = rows(readme)["shipped network, test accuracy"]
    assert one == f"{100 * shipped['test_accuracy']:.2f} %"
    assert f"{100 * made['mean']['test_accuracy']:.2f}" in spread and f"({len(made['seeds'])} seeds)" in spread


def test_a_readme_without_its_comment_lines_is_refused(readme):
    readme.write_text("# Title\n", encoding="utf-8")
    with pytest.raises(UserError, match="has lost its comment lines"):
        render.write_results()
    assert readme.read_text(encoding="utf-8") == "# Title\n"


# --- exercises made from solutions

SOLUTION = """\
import numpy as np
# A comment that stays.
helper = 3  # solution
    inner = f(x, key=1)  # solution
answer = [
    1,
]
extra(helper)  # solution
note = "# solution is a word here"
exercises.check(answer, lambda a: a == 3, hint="Count.")"""

STARTER = """\
import numpy as np
# A comment that stays.
helper = ...  # your turn
    inner = ...  # your turn
answer = [
    1,
]
note = "# solution is a word here"
exercises.check(answer, lambda a: a == 3, hint="Count.")"""


def test_starter_blanks_what_is_marked_and_nothing_else():
    assert render.starter(SOLUTION) == STARTER


def test_starter_of_a_starter_is_itself():
    assert render.starter(STARTER) == STARTER


def test_starter_drops_what_is_no_assignment():
    assert render.starter("a.b = 3  # solution\nx == 3  # solution\nx += 1  # solution\nend") == "end"
