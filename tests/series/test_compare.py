"""helpers.series.compare and helpers.series.runs: runs with made-up figures side by side, and the page that lists them."""

import math

import pytest
from scipy.stats import binomtest

from helpers import files, paths
from helpers.files import read_json, write_json
from helpers.notebook.run import Run
from helpers.series import compare as compare_
from helpers.series import runs
from helpers.series.compare import compare, plot

SETTINGS = {"SEED": 0, "DATASET": "mnist", "TRAIN_SIZE": 60000, "VALIDATION": 6000}


def make(name, accuracy, mistakes=(), **changed):
    """A run of notebooks 03 and 05."""
    baseline = Run("03_baseline_cnn", name, SETTINGS | {"RUN": name, "EPOCHS": 10, "SHIFT": 0.08} | changed)
    baseline.finish(val_accuracy=0.985, val_loss=0.0321, train_seconds=100.4, parameters=225322, only_here=1)
    own = SETTINGS | {"RUN": name} | {key: value for key, value in changed.items() if key in SETTINGS}
    evaluation = Run("05_evaluation", name, own)
    evaluation.finish(test_accuracy=accuracy, test_loss=0.02, class_3_recall=0.99, svm_accuracy=0.96)
    if mistakes:
        evaluation.save_json("mistakes.json", {"tuned": mistakes, "baseline": [1]})
    return evaluation.folder


@pytest.fixture
def two(outputs, monkeypatch):
    """Runs a and b, which differ in SEED and EPOCHS, on the same test images."""
    monkeypatch.setitem(files.digests, "mnist", "8e08" + "0" * 60)
    return make("a", 0.99, list(range(100))), make("b", 0.985, list(range(80, 230)), SEED=1, EPOCHS=3)


def main(*args):
    return compare_.main(list(args))


# --- the tables


def test_parameters_that_differ_and_no_others(two):
    found = compare("a", "b").parameters
    assert list(found.columns) == ["a", "b"]
    assert {index: tuple(row) for index, row in found.T.items()} == {
        ("EPOCHS", "03"): (10, 3),
        ("SEED", "03 05"): (0, 1),
    }


def test_a_parameter_that_one_run_lacks_is_no_difference(two):
    Run("04_tuning", "b", SETTINGS | {"SEED": 1, "TRIALS": 3}).finish(trials=3)
    assert ("TRIALS", "04") not in compare("a", "b").parameters.index


def test_versions_and_commit_count_as_parameters(two):
    manifest = read_json(two[1] / "manifest.json")
    manifest["packages"]["keras"] = "2.0"
    write_json(two[1] / "manifest.json", manifest | {"git_commit": "abc"})
    found = compare("a", "b").parameters["b"]
    assert found["keras", ""] == "2.0" and found["git_commit", ""] == "abc"


def test_metrics_with_differences_from_the_first_run(two):
    found = compare("b", "a").metrics
    assert found.loc[("05_evaluation", "test_accuracy", "a"), "difference"] == pytest.approx(0.005)
    assert found.loc[("03_baseline_cnn", "val_loss", "a"), "difference"] == 0
    assert math.isnan(found.loc[("05_evaluation", "test_accuracy", "b"), "difference"])
    assert list(found.loc[("05_evaluation", "test_accuracy"), "value"]) == [0.985, 0.99]  # b, which was named first


@pytest.mark.parametrize(
    ("notebook", "metric", "images"),
    [("05_evaluation", "test_accuracy", 10_000), ("05_evaluation", "svm_accuracy", 10_000),
     ("03_baseline_cnn", "val_accuracy", 6000)],
)  # fmt: skip
def test_accuracies_have_the_interval_of_their_images(two, notebook, metric, images):
    row = compare("a", "b").metrics.loc[(notebook, metric, "a")]
    expected = binomtest(round(row["value"] * images), images).proportion_ci(method="wilson")
    assert (row["low"], row["high"]) == pytest.approx(tuple(expected)) and row["low"] < row["value"] < row["high"]


@pytest.mark.parametrize(
    ("notebook", "metric", "told", "images"),
    [
        ("02_preprocessing", "otsu_accuracy", {"pictures": 320}, 320),
        ("04_tuning", "baseline_val_accuracy", {"VALIDATION": 500}, 500),
        ("04_tuning", "random_best_val_accuracy", {"VALIDATION": 500}, None),  # the best of many trials
        ("05_evaluation", "test_accuracy", {"DATASET": "mine.npz"}, None),
        ("05_evaluation", "test_accuracy_low", {"DATASET": "mnist"}, None),
        ("05_evaluation", "class_3_recall", {"DATASET": "mnist"}, None),
        ("06_custom_image_prediction", "samples_accuracy", {"samples": 49}, 49),
        ("06_custom_image_prediction", "simulated_plain_tuned_accuracy", {"pictures": 320}, 320),
        ("07_faster_and_better", "fast_test_accuracy", {"DATASET": "fashion_mnist"}, 10_000),
        ("08_robustness", "report_corrupted_fog_accuracy", {"corrupted_images": 1000}, 1000),
        ("08_robustness", "corrupted_mean_unseen_accuracy", {"corrupted_images": 1000}, None),
    ],
)
def test_of_how_many_images_a_metric_is_a_share(notebook, metric, told, images):
    low, high = compare_._interval({"metrics": {metric: 0.75} | told, "parameters": {}}, notebook, metric)
    if images is None:
        assert low is high is None
    else:
        assert (low, high) == pytest.approx(
            tuple(binomtest(round(0.75 * images), images).proportion_ci(method="wilson"))
        )


def test_the_images_of_the_real_series_are_known():
    """A metric or parameter that is renamed would lose its interval in silence."""
    manifest = runs_of_reference()
    known = {
        f"{notebook[:2]} {metric}": compare_._interval(entry, notebook, metric)[0]
        for notebook, entry in manifest["notebooks"].items()
        for metric in entry["metrics"]
    }
    for name in ("02 otsu_accuracy", "03 val_accuracy", "04 val_accuracy", "05 test_accuracy", "05 knn_accuracy",
                 "06 samples_accuracy", "07 test_accuracy", "08 report_corrupted_fog_accuracy"):  # fmt: skip
        assert known[name] > 0, name
    assert known["08 corrupted_mean_accuracy"] is None


def runs_of_reference():
    """The kept run, read from the project's own outputs folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("OUTPUTS_DIR", str(paths.REFERENCE.parent))
        return runs.read("reference")


def test_metrics_of_one_run_alone_are_left_out(two):
    Run("04_tuning", "b", SETTINGS).finish(trials=3)
    assert "trials" not in compare("a", "b").metrics.index.get_level_values("metric")


def test_mcnemar_where_the_runs_keep_their_mistakes(two):
    found = compare("a", "b").mcnemar
    assert list(found.index) == [("baseline", "b"), ("tuned", "b")]
    row = found.loc[("tuned", "b")]
    assert (row["only_first"], row["only_this"]) == (130, 80)  # a was wrong on 0–99, b on 80–229
    assert row["p_value"] == pytest.approx(binomtest(130, 210).pvalue)
    assert found.loc[("baseline", "b"), "p_value"] == 1  # they never differ


def test_no_mcnemar_without_mistakes_or_on_other_images(two, monkeypatch):
    monkeypatch.setitem(files.digests, "mnist", "f" * 64)
    make("elsewhere", 0.99, [1, 2])
    make("silent", 0.99)
    assert compare("a", "elsewhere").mcnemar.empty and compare("a", "silent").mcnemar.empty


def test_three_runs_are_compared_with_the_first(two):
    make("c", 0.98, [5], SEED=2)
    found = compare("a", "b", "c")
    assert list(found.parameters.loc[("SEED", "03 05")]) == [0, 1, 2]
    assert list(found.metrics.loc[("05_evaluation", "test_accuracy"), "difference"])[1:] == pytest.approx(
        [-0.005, -0.01]
    )
    assert list(found.mcnemar.loc["tuned"].index) == ["b", "c"]


def test_the_figure_has_a_panel_for_each_main_accuracy(two):
    axes = plot(compare("a", "b")).axes
    assert [axis.get_title() for axis in axes] == ["03 val accuracy", "05 test accuracy"]
    points = axes[1].lines[0].get_xdata()
    assert list(points) == [99, 98.5] and axes[0].yaxis_inverted()
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["a", "b"]


# --- the command


def test_the_command_prints_tables_and_leaves_files(two, outputs, capfd):
    assert main("a", "b") == 0
    out, err = capfd.readouterr()
    assert err == ""
    lines = {tuple(line.split()) for line in out.splitlines()}
    assert ("EPOCHS", "03", "10", "3") in lines
    assert ("05_evaluation", "test_accuracy", "a", "99.00", "%", "98.79", "%", "to", "99.18", "%") in lines
    assert ("b", "98.50", "%", "98.24", "%", "to", "98.72", "%", "-0.50", "points") in lines
    assert any(line[:4] == ("tuned", "b", "130", "80") for line in lines)
    assert "225,322" in out and "val_loss" not in out  # the main metrics only; all are in the file
    assert "05_evaluation,test_loss,b,0.02" in (outputs / "comparison.csv").read_text(encoding="utf-8")
    assert (outputs / "comparison.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("args", "said"),
    [(["a", "c"], "There is no run 'c' in "), (["a"], "at least two runs"), (["a", "a"], "each once"),
     (["a", ".."], "There is no run '..'")],
)  # fmt: skip
def test_what_cannot_be_compared_is_one_sentence(two, outputs, capfd, args, said):
    assert main(*args) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("Error: ") and said in err and err.count("\n") == 1
    assert not list(outputs.glob("comparison.*"))


def test_runs_without_accuracies_are_compared_too(outputs, capfd):
    for name in ("a", "b"):
        Run("01_exploration", name, {"SEED": 0}).finish(never_inked_pixels=67)
    assert main("a", "b") == 0 and "never_inked_pixels" in capfd.readouterr().out


# --- all runs


def test_the_page_of_all_runs(two, outputs):
    write_json(two[0] / "model_card.html", "")
    page = runs.write_list().read_text(encoding="utf-8")
    assert page.count("<tr>") == 3
    row = page[page.index("<td>b</td>") :].split("</tr>")[0]  # it has no page to link to
    assert "SEED = 1, EPOCHS = 3" in row and "98.50 %" in row and "225,322" in row and "100 s" in row
    row = page[page.index('href="a/model_card.html"') :].split("</tr>")[0]
    assert "<td>–</td>" in row and "99.00 %" in row and "SEED" not in row


def test_new_runs_stand_first_and_names_are_no_markup(two, outputs):
    folder = make("<b> & ü 100%", 0.9)
    manifest = read_json(folder / "manifest.json")
    manifest["notebooks"]["05_evaluation"]["finished"] = "2999-01-01T00:00:00+0000"
    write_json(folder / "manifest.json", manifest)
    for page in ("site/index.html", "model_card.html"):
        write_json(folder / page, "")
    page = runs.write_list().read_text(encoding="utf-8")
    link = '<a href="%3Cb%3E%20%26%20%C3%BC%20100%25/site/index.html">&lt;b&gt; &amp; ü 100%</a>'
    assert 0 < page.index(link) < page.index("<td>a</td>") and "2999-01-01 00:00" in page


@pytest.mark.parametrize("content", ["{", "[]", '{"notebooks": 3}', '{"notebooks": {"05_evaluation": {}}}'])
def test_a_damaged_run_is_named_and_hides_no_other(two, capfd, content):
    (two[0] / "manifest.json").write_text(content)
    page = runs.write_list().read_text(encoding="utf-8")
    assert page.count("<tr>") == 3 and "98.50 %" in page and "run" in page[page.index("<td>a</td>") :]
    assert main("b", "a") == 2 and str(two[0].name) in capfd.readouterr().err


def test_the_seconds_of_the_last_run_like_this_one():
    def run(seconds, finished, **settings):
        return {"notebooks": {"03": {"seconds": seconds, "finished": finished, "parameters": settings}}}

    found = {
        "old": run(10.0, "2026-01-01", EPOCHS=3, SEED=0), "new": run(20.0, "2026-01-02", EPOCHS=3, SEED=1, RUN="new"),
        "long": run(90.0, "2026-01-03", EPOCHS=30), "reference": run(99.0, "2026-01-04", EPOCHS=3),
    }  # fmt: skip
    assert runs.seconds(found, "03", {"EPOCHS": 3, "SEED": 7, "RUN": "mine"}) == 20
    assert runs.seconds(found, "03", {"EPOCHS": 30}) == 90
    assert runs.seconds(found, "03", {"EPOCHS": 4}) is None and runs.seconds(found, "04", {"EPOCHS": 3}) is None
