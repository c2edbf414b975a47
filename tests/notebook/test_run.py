"""The run folder and the ground files: whole files or none, artefacts handed on, the manifest."""

import errno
import json
import os
import types

import numpy as np
import pytest

from helpers import paths
from helpers.errors import UserError
from helpers.files import PARTIAL, atomic, digests, write_json, write_text
from helpers.notebook import run as runs
from helpers.notebook.run import Run, declared, environment


@pytest.fixture
def run():
    return Run("03_baseline_cnn", "test", {"SEED": 5, "DATASET": "mnist"})


def leftovers(folder):
    return [path.name for path in folder.rglob("*") if path.name.startswith(PARTIAL)]


# --- whole or not at all


def test_atomic_writes_a_new_file_into_a_new_folder(tmp_path):
    path = tmp_path / "new é" / "deep" / "file.txt"
    with atomic(path) as partial:
        partial.write_text("whole")
        assert partial.parent == path.parent and partial.suffix == ".txt" and not path.exists()
    assert path.read_text() == "whole" and not leftovers(tmp_path)


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_atomic_keeps_the_old_file_when_the_block_fails(tmp_path, failure):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(failure), atomic(path) as partial:
        partial.write_text("half")
        raise failure
    assert path.read_text() == "old" and not leftovers(tmp_path)


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_full_disk_is_one_sentence(tmp_path, outputs, monkeypatch, step):
    outputs.mkdir()
    monkeypatch.setattr(os, step, full_disk)
    for path in (outputs / "file.json", tmp_path / "file.json"):
        path.write_text("old")
        with pytest.raises(UserError) as caught:
            write_json(path, {"a": 1})
        message = str(caught.value)
        assert "file.json could not be written (No space left on device)" in message
        assert ("OUTPUTS_DIR" in message) == (path.parent == outputs)  # elsewhere it would not help
        assert path.read_text() == "old" and not leftovers(path.parent)


def test_full_disk_while_writing_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match="No space left on device"), atomic(tmp_path / "file.bin") as partial:
        partial.write_bytes(b"half")
        full_disk()
    assert list(tmp_path.glob("*file.bin")) == []


def test_folder_that_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path / "file"))
    with pytest.raises(UserError, match="file/test cannot be made .*OUTPUTS_DIR"):
        Run("01_x", "test")
    with pytest.raises(UserError, match="could not be written"):
        write_text(tmp_path / "file" / "below.txt", "x")


def test_folder_in_the_run_that_cannot_be_made(run):
    (run.folder / "models").write_text("in the way")
    with pytest.raises(UserError, match="test/models cannot be made"):
        run.path("models/baseline.keras")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the administrator may write anywhere")
def test_read_only_folder(run):
    run.folder.chmod(0o500)
    try:
        with pytest.raises(UserError, match="could not be written .Permission denied"):
            run.save_json("file.json", {})
    finally:
        run.folder.chmod(0o700)


# --- JSON


def test_json_takes_numpy_and_paths_and_is_readable(run):
    value = {"a": np.float32(0.5), "b": np.arange(2), "c": run.folder / "x", "d": "é"}
    path = run.save_json("file.json", value)
    assert run.load_json("file.json") == {"a": 0.5, "b": [0, 1], "c": str(run.folder / "x"), "d": "é"}
    assert "é" in path.read_text(encoding="utf-8") and path.read_text(encoding="utf-8").endswith("}\n")


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe"])
def test_damaged_json_names_the_file(run, content):
    run.path("file.json").write_bytes(content)
    with pytest.raises(UserError, match="test/file.json cannot be read"):
        run.load_json("file.json")


# --- artefacts


def test_need_returns_what_is_there(run):
    path = run.path("models/baseline.keras")
    path.write_bytes(b"x")
    assert run.need("models/baseline.keras") == path


BORROWED = (
    "models/baseline.keras of the default run is used, from outputs/reference/, as this run has none: you can go on.\n"
)


def test_need_takes_the_default_runs_file_where_the_run_has_none(capsys):
    run = Run("04_tuning", "test", {"TRIALS": 3})
    for _ in range(2):
        assert run.need("models/baseline.keras") == paths.REFERENCE / "models" / "baseline.keras"
    assert capsys.readouterr().out == BORROWED  # once
    run.finish()
    assert run.load_json("manifest.json")["notebooks"][run.notebook]["from_reference"] == ["models/baseline.keras"]


def test_need_warns_where_the_default_run_was_split_otherwise(capsys):
    Run("04_tuning", "test", {"SEED": 1, "TRIALS": 3}).need("models/baseline.keras")
    sentence = "It had another SEED: validation images of this run may have trained it.\n"
    assert capsys.readouterr().out == BORROWED + sentence


def test_the_runs_own_file_comes_first(run, capsys):
    run.path("models/baseline.keras").write_bytes(b"x")
    run.need("models/baseline.keras")
    assert capsys.readouterr().out == ""
    run.finish()
    assert "from_reference" not in run.load_json("manifest.json")["notebooks"][run.notebook]


def test_a_network_of_other_images_is_no_stand_in():
    command = r"\(python -m helpers.series 03_baseline_cnn -p DATASET fashion_mnist --run test\)"
    with pytest.raises(UserError, match=f"test/models/baseline.keras is missing; .* {command}"):
        Run("04_tuning", "test", {"DATASET": "fashion_mnist"}).need("models/baseline.keras")


def test_need_names_the_file_and_its_maker(run, monkeypatch, tmp_path):
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "none")
    with pytest.raises(UserError) as caught:
        run.need("models/baseline.keras")
    message = str(caught.value)
    assert "test/models/baseline.keras is missing; 03_baseline_cnn makes it" in message
    assert "python -m helpers.series 03_baseline_cnn --run test" in message


def test_need_of_what_nobody_makes(run):
    with pytest.raises(UserError, match="models/none.keras is missing; no notebook of the series makes it") as caught:
        run.need("models/none.keras")
    assert "helpers.series" not in str(caught.value)


def test_metrics_of_another_notebook(run):
    Run("01_exploration", "test").save_json("metrics/01_exploration.json", {"images": 3})
    assert run.load_json("metrics/01_exploration.json") == {"images": 3}


def test_figures_are_numbered_by_notebook(run):
    assert run.figure("curves") == run.folder / "figures" / "03_curves.png"
    assert run.figure("curves").parent.is_dir()


def test_declared_files():
    goals = "**Needs** `a/b.keras` and\n`c.json`\n\n**Makes** `metrics/x.json`\n\n**Time** about `3` minutes"
    assert declared(goals, "Needs") == ["a/b.keras", "c.json"]
    assert declared(goals, "Makes") == ["metrics/x.json"]
    assert declared("**Needs** nothing but the data", "Needs") == declared("", "Makes") == []


class Model:
    """Stands for a Keras model: `get_weights` and `save` are all that saving asks of it."""

    def __init__(self, *weights):
        self.weights = [np.array(weight, np.float32) for weight in weights]

    def get_weights(self):
        return self.weights

    def save(self, path):
        path.write_text("model")


def test_model_is_saved_whole(run):
    path = run.save_model(Model([1.0, 2.0], [[0.0]]), "models/m.keras")
    assert path == run.folder / "models" / "m.keras" and path.read_text() == "model" and not leftovers(run.folder)


def test_model_whose_saving_fails_leaves_the_old_one(run):
    class Failing(Model):
        def save(self, path):
            path.write_text("half")
            full_disk()

    run.save_model(Model([1.0]), "models/m.keras")
    with pytest.raises(UserError, match="models/m.keras could not be written .No space left on device"):
        run.save_model(Failing([1.0]), "models/m.keras")
    assert (run.folder / "models" / "m.keras").read_text() == "model" and not leftovers(run.folder)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_model_that_is_not_finite_is_refused(run, bad):
    run.save_model(Model([1.0]), "models/m.keras")
    with pytest.raises(UserError, match="models/m.keras was not saved: .*NaN or infinite"):
        run.save_model(Model([1.0], [0.0, bad]), "models/m.keras")
    assert (run.folder / "models" / "m.keras").read_text() == "model"  # the good one stays


# --- the manifest


def test_finish_writes_metrics_and_manifest(run, capsys, monkeypatch):
    monkeypatch.setitem(digests, "mnist", "5ad")
    run.finish(test_accuracy=np.float64(0.99), epochs=3)
    assert capsys.readouterr().out == "Wrote metrics/03_baseline_cnn.json with 2 metrics.\n"
    assert run.load_json("metrics/03_baseline_cnn.json") == {"test_accuracy": 0.99, "epochs": 3}
    manifest = json.loads((run.folder / "manifest.json").read_text(encoding="utf-8"))
    entry = manifest["notebooks"]["03_baseline_cnn"]
    assert entry["parameters"] == {"SEED": 5, "DATASET": "mnist"}
    assert entry["dataset_sha256"] == "5ad"
    assert 0 <= entry["seconds"] < 60 and entry["finished"][:2] == "20"
    assert manifest["run"] == "test" and manifest["packages"]["numpy"] == np.__version__
    assert manifest["python"].startswith("3.") and manifest["machine"]["cores"] == os.cpu_count()
    assert "git_commit" in manifest


def test_manifest_keeps_the_other_notebooks(run):
    Run("01_exploration", "test", {"SEED": 1}).finish(images=1)
    run.finish(images=2)
    run.finish(images=3)
    manifest = json.loads((run.folder / "manifest.json").read_text(encoding="utf-8"))
    assert list(manifest["notebooks"]) == ["01_exploration", "03_baseline_cnn"]
    assert manifest["notebooks"]["01_exploration"]["parameters"] == {"SEED": 1}


@pytest.mark.parametrize("content", ['{"notebooks": ', "[]", '{"notebooks": 3}', "[" * 100_000])
def test_a_damaged_manifest_is_found_before_the_work(run, content):
    run.path("manifest.json").write_text(content)
    with pytest.raises(UserError, match="test/manifest.json .*delete it and run again"):
        Run("01_exploration", "test")


def test_environment_names_the_commit(monkeypatch, tmp_path):
    answer = types.SimpleNamespace(returncode=0, stdout="abc123-dirty\n")
    monkeypatch.setattr(runs.subprocess, "run", lambda *args, **kwargs: answer)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    assert environment()["git_commit"] is None  # a copy without .git has no commit
    (tmp_path / ".git").mkdir()
    assert environment()["git_commit"] == "abc123-dirty"


def test_environment_without_git(monkeypatch, tmp_path):
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", "")
    assert environment()["git_commit"] is None


def test_package_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(runs, "PACKAGES", ("numpy", "surely-not-there"))
    assert environment()["packages"] == {"numpy": np.__version__, "surely-not-there": None}


# --- paths


def test_outputs_dir_may_be_relative_or_start_at_home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OUTPUTS_DIR", "below")
    assert paths.outputs() == tmp_path / "below"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("OUTPUTS_DIR", "~/runs")
    assert paths.outputs() == tmp_path / "runs"
    monkeypatch.delenv("OUTPUTS_DIR")
    assert paths.outputs() == paths.ROOT / "outputs"


def test_paths_are_shown_relative_to_the_project(tmp_path):
    assert paths.display(paths.ROOT / "data" / "mnist.npz") == "data/mnist.npz"
    assert paths.display(tmp_path) == tmp_path.as_posix()


def test_claims_are_named_where_they_fail(outputs, capsys):
    run = Run("01_exploration", "mine")
    run.claims({"a is larger than b": True, "c is": np.True_})
    assert capsys.readouterr().out == "All 2 statements of the text that were checked hold in this run.\n"
    run.claims({"a is larger than b": True, "c falls": np.False_, "d rises": 0})
    said = capsys.readouterr().out
    assert said == "1 of 3 statements of the text hold in this run. Not in this run:\n- c falls\n- d rises\n"
