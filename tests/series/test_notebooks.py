"""The real series with smoke parameters: it runs, leaves what it promises, and a rerun prints the same.

nbval executes every notebook again in an outputs folder of its own and compares each output with the first run's. The
cells tagged nbval-check-output are compared with the notebooks as they are kept in the repository, which were executed
with default parameters: what those cells print must hold with any.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest
import yaml
from nbval.plugin import get_sanitize_patterns

from helpers import data, paths
from helpers.series import runner as runner_

SANITIZER = paths.ROOT / "tests" / "nbval_sanitize.cfg"
SMOKE = yaml.safe_load((paths.NOTEBOOKS / "params" / "smoke.yml").read_text(encoding="utf-8"))
SERIES = runner_.notebooks()
NAMES = list(SERIES)
LONG = [name for name in NAMES if name[:2] not in ("01", "02", "03", "06")]  # most of the time: see CONTRIBUTING.md

slow = pytest.mark.series


def start(*args, cwd, outputs):
    """Starts Python in `cwd`, a folder outside the project, with its own outputs folder."""
    environment = os.environ | {"OUTPUTS_DIR": str(outputs), "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env=environment,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def python(*args, cwd, outputs):
    """Runs Python to its end; returns exit code, what it printed and what it printed to stderr."""
    process = start(*args, cwd=cwd, outputs=outputs)
    out, err = process.communicate()
    return process.returncode, out, err


def nbval(mode, notebooks):
    """The arguments for nbval on notebooks, in their order, in one process."""
    return [
        "-m",
        "pytest",
        f"--{mode}",
        "--nbval-current-env",
        "--nbval-sanitize-with",
        SANITIZER,
        "--nbval-cell-timeout",
        "300",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        notebooks[0].parent,
        "--color=no",
        "-q",
        "--tb=short",
        *notebooks,
    ]


def outcome(out):
    """What pytest's last line counts, such as {"passed": 7, "failed": 1}."""
    counts = re.findall(r"(\d+) (passed|failed|error|skipped|xfailed|xpassed)", out.strip().splitlines()[-1])
    return {word: int(number) for number, word in counts}


def code_cells(file):
    return [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]


def alternative_texts(file):
    """Those of a notebook's figures, in order."""
    outputs = [output for cell in code_cells(file) for output in cell.outputs]
    return [output.metadata["image/png"]["alt"] for output in outputs if "image/png" in output.get("data", {})]


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The series, run once by its command; the run folder, and what the command said."""
    base = tmp_path_factory.mktemp("first run é")
    said = python("-m", "helpers.series", "--params", "smoke", "--run", "smoke", cwd=base, outputs=base)
    return base / "smoke", said


@pytest.fixture(
    scope="session",
    params=[[name for name in NAMES if name not in LONG], pytest.param(LONG, marks=pytest.mark.thorough)],
    ids=["short", "long"],
)
def rerun(request, smoke, tmp_path_factory):
    """nbval's rerun: the outputs folder of each notebook, and (exit code, what nbval said) of its two processes.

    What a notebook needs of an earlier one is the first run's: so neither process waits for the other.
    """
    folder, (code, _, err) = smoke
    assert code == 0, err
    base = tmp_path_factory.mktemp("rerun")
    again = request.param
    books = {name: with_kept_facts(SERIES[name].path, folder / "executed" / f"{name}.ipynb", base) for name in again}
    groups = [again[::2], again[1::2]]
    outputs = {name: base / f"outputs {number}" for number, names in enumerate(groups) for name in names}
    for name in again:
        for need in {need for need in SERIES[name].needs if (folder / need).is_file()}:
            (target := outputs[name] / "smoke" / need).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / need, target)
    processes = [
        start(*nbval("nbval", [books[name] for name in names]), cwd=base, outputs=outputs[names[0]]) for names in groups
    ]
    said = [process.communicate() for process in processes]
    return outputs, [(p.returncode, out + err) for p, (out, err) in zip(processes, said, strict=True)]


def with_kept_facts(kept, executed, folder):
    """A copy of an executed notebook whose marked cells hold the outputs of the kept one."""
    marked = [cell for cell in code_cells(kept) if "nbval-check-output" in cell.metadata.get("tags", [])]
    nb = nbformat.read(executed, as_version=4)
    cells = [cell for cell in nb.cells if "nbval-check-output" in cell.metadata.get("tags", [])]
    for cell, source in zip(cells, marked, strict=True):
        assert cell.source == source.source and source.outputs
        cell.outputs = source.outputs
    nbformat.write(nb, folder / executed.name)
    return folder / executed.name


# --- the run


@slow
def test_series_runs_quietly_to_its_end(smoke):
    folder, (code, out, err) = smoke
    assert (code, err) == (0, "")
    assert re.findall(r"(\w+) … runs", out) == NAMES
    assert "test_accuracy" in out and "model_card.md" in out


@slow
@pytest.mark.parametrize("name", NAMES)
def test_promised_files_are_there(smoke, name):
    folder, _ = smoke
    assert [
        file for file in SERIES[name].makes if not (folder / file).is_file() or not (folder / file).stat().st_size
    ] == []
    assert not list(folder.rglob(".partial-*"))


@slow
@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_flat_finite_numbers(smoke, name):
    folder, _ = smoke
    metrics = json.loads((folder / "metrics" / f"{name}.json").read_text(encoding="utf-8"))
    assert metrics
    for metric, value in metrics.items():
        assert re.fullmatch(r"[a-z][a-z0-9_]*", metric), metric
        assert isinstance(value, (int, float)) and math.isfinite(value), metric
        assert "accuracy" not in metric or 0 <= value <= 1, metric


@slow
def test_manifest_is_complete(smoke):
    folder, _ = smoke
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["run"] == "smoke" and list(manifest["notebooks"]) == NAMES
    assert manifest["packages"]["tensorflow"] and manifest["machine"]["cores"] and "git_commit" in manifest
    for name, entry in manifest["notebooks"].items():
        wanted = SERIES[name].defaults | {key: value for key, value in SMOKE.items() if key in SERIES[name].defaults}
        assert entry["parameters"] == wanted | {"RUN": "smoke"}
        assert entry["seconds"] > 0
        assert entry["dataset_sha256"] in (data.MNIST_SHA256, None)
    assert manifest["notebooks"]["03_baseline_cnn"]["dataset_sha256"] == data.MNIST_SHA256


@slow
@pytest.mark.parametrize("name", NAMES)
def test_figures_are_files_too(smoke, name):
    folder, _ = smoke
    pictures = sum(
        "image/png" in o.get("data", {}) for c in code_cells(folder / f"executed/{name}.ipynb") for o in c.outputs
    )
    assert len(list((folder / "figures").glob(f"{name[:2]}_*.png"))) == pictures > 0


# --- the reruns


@slow
def test_rerun_prints_the_same_bit_for_bit(smoke, rerun):
    """And the marked cells print what the kept notebooks hold, which ran with other parameters."""
    folder, _ = smoke
    passed = 0
    for code, said in rerun[1]:
        assert code == 0, said
        assert list(counts := outcome(said)) == ["passed"], said
        passed += counts["passed"]
    assert passed == sum(len(code_cells(folder / f"executed/{name}.ipynb")) for name in rerun[0])


@slow
def test_rerun_reaches_the_same_metrics(smoke, rerun):
    for name, outputs in rerun[0].items():
        first, again = (
            json.loads((folder / "metrics" / f"{name}.json").read_text(encoding="utf-8"))
            for folder in (smoke[0], outputs / "smoke")
        )
        assert {k: v for k, v in first.items() if not k.endswith("_seconds")} == {
            k: v for k, v in again.items() if not k.endswith("_seconds")
        }, name


@slow
def test_a_single_wrong_character_is_noticed(smoke, tmp_path):
    """The rerun's success means something: an executed notebook with one output altered fails in that cell alone."""
    nb = nbformat.read(smoke[0] / "executed" / f"{NAMES[0]}.ipynb", as_version=4)
    altered = next(
        n for n, cell in enumerate(nb.cells) if any(o.output_type == "stream" for o in cell.get("outputs", []))
    )
    output = nb.cells[altered].outputs[0]
    output.text = output.text.rstrip("\n")[:-1] + "~\n"
    nb.cells = nb.cells[: altered + 1]
    nbformat.write(nb, tmp_path / "altered.ipynb")
    code, out, _ = python(*nbval("nbval", [tmp_path / "altered.ipynb"]), cwd=tmp_path, outputs=tmp_path)
    assert code == 1 and outcome(out) == {"failed": 1, "passed": sum(c.cell_type == "code" for c in nb.cells) - 1}
    assert "Cell outputs differ" in out


@slow
@pytest.mark.parametrize("mode, failed", [("nbval", 2), ("nbval-lax", 1)])
def test_lax_compares_marked_cells_and_strict_all(tmp_path, mode, failed):
    nb = nbformat.v4.new_notebook()
    for tags in ([], ["nbval-check-output"]):
        wrong = nbformat.v4.new_output("stream", name="stdout", text="4\n")
        cell = nbformat.v4.new_code_cell("print(3)", metadata={"tags": tags}, outputs=[wrong], execution_count=1)
        nb.cells.append(cell)
    nbformat.write(nb, tmp_path / "wrong.ipynb")
    code, out, _ = python(*nbval(mode, [tmp_path / "wrong.ipynb"]), cwd=tmp_path, outputs=tmp_path)
    assert code == 1 and outcome(out)["failed"] == failed


# --- by hand


def papermill_cli(tmp_path, *pairs):
    """Plain papermill on the first notebook, from another working directory."""
    args = [word for name, value in pairs for word in ("-p", name, str(value))]
    notebook = SERIES[NAMES[0]].path
    return python("-m", "papermill", notebook, "out put.ipynb", *args, cwd=tmp_path, outputs=tmp_path / "here é")


@slow
def test_plain_papermill_from_another_folder(tmp_path):
    values = [(name, value) for name, value in SMOKE.items() if name in SERIES[NAMES[0]].defaults]
    code, _, err = papermill_cli(tmp_path, ("RUN", "by hand"), *values)
    assert code == 0, err
    assert (tmp_path / "here é" / "by hand" / "metrics" / f"{NAMES[0]}.json").exists()


@slow
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("EPOHCS", 3, "unknown parameter EPOHCS; did you mean EPOCHS?"),
        ("SEED", "ten", "SEED = 'ten' must be a whole number"),
        ("SEED", -1, "SEED = -1 must be between 0 and"),
        ("DATASET", "minst", "DATASET = 'minst' is neither mnist, fashion_mnist nor an existing .npz file"),
    ],
)
def test_wrong_parameter_through_plain_papermill(tmp_path, name, value, sentence):
    code, _, err = papermill_cli(tmp_path, ("RUN", "wrong"), (name, value))
    assert code != 0 and f"Stopped: {NAMES[0] + ': ' if name != 'DATASET' else ''}{sentence}" in err
    assert not (tmp_path / "here é" / "wrong" / "metrics").exists()


# --- what the sanitiser masks


def sanitised(text):
    for pattern, replacement in get_sanitize_patterns(SANITIZER.read_text(encoding="utf-8")):
        text = re.sub(pattern, replacement, text)
    return text


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("took 12.3 s", "took 9.8 s"),
        ("4 ms a batch", "11 ms a batch"),
        ("250 µs", "1,250 us"),
        ("fit in 1.2 min.", "fit in 12 min."),
        ("<td>12.3 s</td>", "<td>8.0 s</td>"),
        ("KNN      9.9 s   97 %", "KNN     10.1 s   97 %"),
        ("in /home/me/a/x.png", "in /tmp/other/x.png"),
        (r"in C:\Users\me\x.png", r"in D:\work\there\x.png"),
        (
            "6 of 12 statements of the text hold in this run. Not in this run:\n- a\n- most of that is backward\n",
            "7 of 12 statements of the text hold in this run. Not in this run:\n- a\n",
        ),
    ],
)
def test_times_paths_and_what_is_said_of_them_may_differ(first, again):
    assert sanitised(first) == sanitised(again) != first


def test_statements_about_times_are_named_as_in_the_notebooks():
    [names] = re.findall(r"- \(\?:(.*)\)\(\)", SANITIZER.read_text(encoding="utf-8"))
    sources = "".join(cell.source for name in NAMES for cell in code_cells(SERIES[name].path))
    assert all(f'"{name}":' in sources for name in names.split("|"))


@pytest.mark.parametrize(
    "text",
    [
        "accuracy 0.9912",
        "5 samples",
        "3 sets of 28×28",
        "2 minima",
        "10 shirts",
        "60,000 images",
        "3/8 and 4/9",
        "1.5 h5",
        "metrics/01_exploration.json",
        "<b>bold</b><br/>",
        "https://x.org/a/b",
        "(60000, 28, 28)",
        "x1s 2min",
        "v1.2 sets",
        "Not in this run:\n- three seeds scatter little",
    ],
)
def test_nothing_else_is_masked(text):
    assert sanitised(text) == text
