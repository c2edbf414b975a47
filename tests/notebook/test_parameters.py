"""helpers.notebook.parameters: names, types and ranges; the set-up call, which applies them."""

import random
import subprocess
import sys
import warnings

import numpy as np
import pytest

from helpers import paths
from helpers.errors import UserError
from helpers.notebook import parameters
from helpers.notebook.session import setup
from helpers.series.runner import notebooks
from tools.simulate.photos import CONDITIONS


def refused(values, *parts, known=None):
    with pytest.raises(UserError) as caught:
        parameters.check(values, "here", known)
    message = str(caught.value)
    assert message.startswith("here: ") and "\n" not in message
    for part in parts:
        assert part in message


def test_good_values_pass_unchanged():
    values = {"RUN": "my run é", "SEED": 0, "EPOCHS": 3, "ZOOM": 0.5, "DATASET": "a folder/x.npz", "IMAGE": ""}
    assert parameters.check(values, "here") == values


def test_whole_number_is_widened_where_a_fraction_is_meant():
    value = parameters.check({"ROTATION": 10}, "here")["ROTATION"]
    assert value == 10.0 and type(value) is float


@pytest.mark.parametrize("value", ["ten", 1.5, 2.0, True, None, [3], float("nan")])
def test_whole_number_wanted(value):
    refused({"EPOCHS": value}, "EPOCHS", repr(value), "whole number")


@pytest.mark.parametrize("value", [0, -1])
def test_too_small(value):
    refused({"EPOCHS": value}, "EPOCHS", repr(value), "at least 1")


@pytest.mark.parametrize("value", [-0.1, 1.2, float("nan"), float("inf")])
def test_fraction_out_of_range(value):
    refused({"ZOOM": value}, "ZOOM", repr(value), "between 0 and 0.9")


@pytest.mark.parametrize("value", ["0.5", True, None])
def test_number_wanted(value):
    refused({"ZOOM": value}, "ZOOM", "must be a number")


@pytest.mark.parametrize("value", [3, None, ("mnist",)])
def test_text_wanted(value):
    refused({"DATASET": value}, "DATASET", "must be text")


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\\b", "a:b", "/abs", "../up", "a\nb", "a\x7f"])
def test_run_is_one_visible_folder(name):
    refused({"RUN": name}, "RUN", "without slashes")


@pytest.mark.parametrize("name", ["CON", "nul", "Com1.txt", "a.", "a ", "reference", "Reference"])
def test_run_is_a_folder_on_windows_too_and_not_what_is_shipped(name):
    refused({"RUN": name}, "RUN", "every system", "not 'reference'")


@pytest.mark.parametrize("name", ["console", "reference 2", "a.b", "con-1"])
def test_run_may_look_like_what_is_refused(name):
    assert parameters.check({"RUN": name}, "here") == {"RUN": name}


def test_a_refused_value_is_shown_shortly():
    value = [1] * 9
    for _ in range(9):
        value = [value] * 9
    refused({"SEED": value}, "SEED = [[...], [...]", "whole number")
    with pytest.raises(UserError) as caught:
        parameters.check({"SEED": "x" * 10**6}, "here")
    assert len(str(caught.value)) < 200


def test_misspelt_name_gets_a_suggestion():
    refused({"EPOCH": 3}, "unknown parameter EPOCH", "did you mean EPOCHS?")
    refused({"epochs": 3}, "unknown parameter epochs", "did you mean EPOCHS?")


def test_unknown_name_gets_the_list():
    refused({"XYZZY": 3}, "unknown parameter XYZZY", "EPOCHS", "SEED")


def test_known_names_can_be_limited():
    refused({"TRIALS": 3}, "unknown parameter TRIALS", "known are EPOCHS, SEED", known=["SEED", "EPOCHS"])


@pytest.mark.parametrize(
    "name, text, value",
    [("EPOCHS", "3", 3), ("ZOOM", "0.5", 0.5), ("ZOOM", "1", 1.0), ("RUN", "7", "7"), ("EPOCHS", "ten", "ten"),
     ("EPOCHS", "1.5", "1.5"), ("UNKNOWN", "3", "3")],
)  # fmt: skip
def test_command_line_text_becomes_the_type_of_the_name(name, text, value):
    parsed = parameters.parse(name, text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize("file", sorted((paths.NOTEBOOKS / "params").glob("*.yml")), ids=lambda file: file.name)
def test_shipped_parameter_files_obey_the_rules(file):
    import yaml

    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    parameters.check(values, file.name)
    used = {name for notebook in notebooks().values() for name in notebook.defaults}
    assert set(values) <= used  # a parameter that no notebook takes would be set in vain


def test_the_fewest_pictures_are_one_of_each_kind():
    assert parameters.RULES["PICTURES"].low == len(CONDITIONS) - 1  # transparent ones are no photographs


# --- the set-up call, which applies the rules in every notebook


def test_what_later_versions_will_change_is_no_readers_concern(outputs, recwarn):
    setup("03_baseline_cnn", {"RUN": "test", "SEED": 3}, keras=False)
    warnings.warn("later", FutureWarning, stacklevel=1)
    warnings.warn("now", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in recwarn] == ["now"]


def test_setup_checks_widens_seeds_and_opens_the_run(outputs):
    namespace = {"RUN": "test", "SEED": 3, "SHIFT": 0, "x_train": None, "setup": setup}
    drawn = []
    for _ in range(2):
        run = setup("03_baseline_cnn", namespace, keras=False)
        drawn.append((random.random(), np.random.random()))
    assert drawn[0] == drawn[1]
    assert run.folder == outputs / "test" and run.folder.is_dir() and run.parameters["SEED"] == 3
    assert type(namespace["SHIFT"]) is float


@pytest.mark.parametrize("extra", [{"EPOHCS": 3}, {"EPOCHS": "ten"}, {"SEED": -1}])
def test_setup_refuses_what_the_rules_refuse(outputs, extra):
    with pytest.raises(UserError, match="^03_baseline_cnn: "):
        setup("03_baseline_cnn", {"RUN": "test", "SEED": 3} | extra, keras=False)
    assert not outputs.exists()


def test_setup_without_keras_is_quick_and_quiet(outputs):
    code = (
        "import sys; from helpers.notebook.session import setup; from helpers import data, images, predict, series\n"
        "setup('01_exploration', {'RUN': 'test', 'SEED': 0}, keras=False)\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_other_parameters_than_the_text_speaks_of_are_named(outputs, capsys):
    setup("01_exploration", {"RUN": "test", "SEED": 3, "EMBEDDING_SIZE": 500}, keras=False)
    assert (
        capsys.readouterr().out == "The text speaks of the default run; this one has SEED = 3, EMBEDDING_SIZE = 500.\n"
    )


def test_defaults_are_those_of_the_notebook(monkeypatch, tmp_path):
    found = parameters.defaults("01_exploration")
    assert found["SEED"] == 0 and found["DATASET"] == "mnist" and "RUN" not in found
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path)
    assert parameters.defaults("01_exploration") == {}
    (tmp_path / "01_exploration.ipynb").write_text("{", encoding="utf-8")
    assert parameters.defaults("01_exploration") == {}
