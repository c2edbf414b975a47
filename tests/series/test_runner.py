"""helpers.series on three quick notebooks: what runs when, and how it ends when something is wrong.

The project is a copy in a folder whose name has spaces and letters beyond ASCII; 01 → 02 → 03 need each other's files.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import numpy as np
import psutil
import pytest

from helpers import data, paths, pool
from helpers.errors import UserError
from helpers.files import PARTIAL, write_json
from helpers.notebook import parameters
from helpers.series import runner as runner_
from helpers.series.grid import combinations
from helpers.series.runner import Notebook, notebooks, read_parameters, select

REAL_ROOT = paths.ROOT
ALL = ["01_first", "02_second", "03_third"]

SETUP = """\
from helpers.notebook.run import Run
from helpers.files import atomic
run = Run("{name}", RUN, {{"SEED": SEED}})
with open(run.folder / "log.txt", "a", encoding="utf-8") as log:
    log.write("{name}\\n")"""

FIRST = 'run.save_json("first.json", {"seed": SEED})'

# Waits while a file named slow lies in the run folder: tests interrupt it there, with half a file written.
SECOND = """\
import os, time
from helpers import tiny
first = run.load_json("first.json")
with atomic(run.path("second.json")) as partial:
    partial.write_text('{"half": ')
    (run.folder / "pid").write_text(str(os.getpid()))
    while (run.folder / "slow").exists():
        time.sleep(0.02)
    partial.write_text('{"epochs": %d}' % (EPOCHS * tiny.FACTOR))"""

SETTINGS = "EPOCHS = 1  # epochs\nTRAIN_SIZE = 600  # images\nVALIDATION = 100  # of these"

THIRD = """\
from helpers import paths
run.save_json("third.json", run.load_json("second.json") | {"pictures": len(list((paths.DATA / "samples").iterdir()))})"""


def notebook(name, code, needs, makes, extra=""):
    """A notebook with what the runner looks at: declared files, parameters, code."""
    goals = f"**Needs** {needs}\n\n**Makes** `{makes}`, `metrics/{name}.json`\n\n**Time** a second"
    settings = f'RUN = "latest"  # run\nSEED = 0  # seed\nDATASET = "mnist"  # data\n{extra}'.rstrip()
    cells = [
        nbformat.v4.new_markdown_cell(f"# {name}"),
        nbformat.v4.new_markdown_cell(goals),
        nbformat.v4.new_code_cell(settings, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(SETUP.format(name=name)),
        nbformat.v4.new_code_cell(code),
        nbformat.v4.new_code_cell("run.finish(test_accuracy=0.5, images=1234)"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


class Project:
    """The copied project: its notebooks to edit, its runs to look at."""

    def __init__(self, root):
        self.root = root
        self.run = root / "outputs" / "latest"
        self.environment = os.environ | {"PYTHONPATH": str(root)}

    def main(self, *args):
        """Runs the series in this process; returns the exit code."""
        return runner_.main(list(args))

    def start(self, *args, command=("-m", "helpers.series")):
        """Starts the series as a process of its own."""
        return subprocess.Popen(
            [sys.executable, *command, *args],
            cwd=self.root, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip

    def ran(self, run="latest"):
        """The notebooks that ran since the last call, in order."""
        log = self.root / "outputs" / run / "log.txt"
        names = log.read_text(encoding="utf-8").split() if log.exists() else []
        log.unlink(missing_ok=True)
        return names

    def edit(self, name, cell, old, new):
        """Replaces text in one cell of a notebook."""
        path = self.root / "notebooks" / f"{name}.ipynb"
        nb = nbformat.read(path, as_version=4)
        assert old in nb.cells[cell].source
        nb.cells[cell].source = nb.cells[cell].source.replace(old, new)
        nbformat.write(nb, path)

    def json(self, file):
        return json.loads((self.run / file).read_text(encoding="utf-8"))


def at(root, monkeypatch):
    """Makes this process and its kernels work in the copied project."""
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.setattr(paths, "NOTEBOOKS", root / "notebooks")
    monkeypatch.setattr(paths, "DATA", root / "data")
    monkeypatch.setattr(paths, "REFERENCE", root / "outputs" / "reference")
    monkeypatch.setattr(data, "MNIST", root / "data" / "mnist.npz")
    monkeypatch.setenv("PYTHONPATH", str(root))
    monkeypatch.delenv("OUTPUTS_DIR", raising=False)
    monkeypatch.chdir(root)
    return Project(root)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project that has run once, and a copy to restore it from."""
    base = tmp_path_factory.mktemp("series")
    root = base / "projet à moi 数字"
    shutil.copytree(paths.ROOT / "helpers", root / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "helpers" / "tiny.py").write_text("from helpers import tinier\nFACTOR = tinier.FACTOR\n")
    (root / "helpers" / "tinier.py").write_text("FACTOR = 1\n")
    (root / "notebooks" / "params").mkdir(parents=True)
    (root / "notebooks" / "params" / "quick.yml").write_text("EPOCHS: 2\n")
    (root / "data" / "samples").mkdir(parents=True)
    (root / "data" / "samples" / "1.png").write_text("a picture")
    (root / "mine.png").write_text("my picture")
    (root / "data" / "mnist.npz").write_text("the data")
    for nb, name in (
        (notebook("01_first", FIRST, "nothing but the data", "first.json"), "01_first"),
        (notebook("02_second", SECOND, "`first.json`", "second.json", SETTINGS), "02_second"),
        (
            notebook("03_third", THIRD, "`second.json`, `data/samples/`", "third.json", 'IMAGE = ""  # picture'),
            "03_third",
        ),
    ):
        nbformat.write(nb, root / "notebooks" / f"{name}.ipynb")
    with pytest.MonkeyPatch.context() as monkeypatch:
        project = at(root, monkeypatch)
        assert project.main() == 0
        assert project.ran() == ALL
    shutil.copytree(root, base / "saved")
    return root, base / "saved"


@pytest.fixture
def project(finished, monkeypatch):
    """The finished project as it was after its first run."""
    root, saved = finished
    shutil.rmtree(root)
    shutil.copytree(saved, root)
    return at(root, monkeypatch)


# --- what runs when


def test_a_second_run_does_nothing_and_says_so(project, capfd):
    assert project.main() == 0
    out, err = capfd.readouterr()
    assert project.ran() == [] and err == ""
    assert out.count("up to date") == 3 and "test_accuracy 50.00 %" in out and "images 1,234" in out
    assert "outputs/latest/executed/" in out and "outputs/latest/model_card.md" in out


def test_a_notebook_alone_uses_what_is_kept_until_its_own_appears_or_that_changes(project):
    kept, alone = project.root / "outputs" / "reference" / "second.json", ("--run", "alone")

    def borrowed():
        manifest = json.loads((project.root / "outputs" / "alone" / "manifest.json").read_text("utf-8"))
        return manifest["notebooks"]["03_third"].get("from_reference")

    write_json(kept, {"epochs": 7})
    assert project.main("03", *alone, "-p", "DATASET", "fashion_mnist") == 2  # other images: no stand-in
    for text, expected in (({"epochs": 7}, ["03_third"]), ({"epochs": 7}, []), ({"epochs": 8}, ["03_third"])):
        write_json(kept, text)
        assert project.main("03", *alone) == 0
        assert project.ran("alone") == expected and borrowed() == ["second.json"]
    assert project.main("01", "02", *alone) == 0 and project.ran("alone") == ALL[:2]
    assert project.main("03", *alone) == 0 and project.ran("alone") == ["03_third"] and borrowed() is None
    write_json(kept, {"epochs": 9})
    assert project.main(*alone) == 0 and project.ran("alone") == []


def test_notebooks_run_in_order_and_quietly_into_a_new_folder(project, capfd):
    assert project.main("--run", "an other é", "--params", "quick", "-p", "SEED", "4") == 0
    out, err = capfd.readouterr()
    folder = project.root / "outputs" / "an other é"
    assert project.ran("an other é") == ALL and project.ran() == []
    announced = [f"{name} … runs ({number} of 3, less than a minute left)" for number, name in enumerate(ALL, 1)]
    assert [line for line in out.splitlines() if "… runs" in line] == announced  # by the seconds of the first run
    assert err == ""
    for name in ALL:
        nb = nbformat.read(folder / "executed" / f"{name}.ipynb", as_version=4)
        assert [c.execution_count for c in nb.cells if c.cell_type == "code"] == [1, 2, 3, 4, 5]
        assert "SEED = 4" in nb.cells[3].source  # papermill's cell comes after the defaults
    assert json.loads((folder / "third.json").read_text())["epochs"] == 2  # from the parameter file
    assert json.loads((folder / "first.json").read_text()) == {"seed": 4}  # from the command line
    manifest = json.loads((folder / "manifest.json").read_text())
    assert list(manifest["notebooks"]) == ALL
    assert not list(folder.rglob(f"{PARTIAL}*"))


def test_prose_and_outputs_do_not_count(project):
    project.edit("02_second", 0, "# 02_second", "# Another title")
    project.edit("02_second", 1, "a second", "a minute")
    path = project.root / "notebooks" / "03_third.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.cells[3].outputs, nb.cells[3].execution_count = [nbformat.v4.new_output("stream", text="rendered")], 2
    nbformat.write(nb, path)
    assert project.main() == 0 and project.ran() == []


def test_edited_code_runs_again_with_what_depends_on_it(project):
    project.edit("02_second", 4, "EPOCHS *", "7 * EPOCHS *")
    assert project.main() == 0 and project.ran() == ["02_second", "03_third"]
    assert project.json("third.json") == {"epochs": 7, "pictures": 1}
    assert project.main() == 0 and project.ran() == []


def test_what_depends_on_unchanged_content_stays(project):
    project.edit("02_second", 4, "import os", "# the same, with a comment\nimport os")
    assert project.main() == 0 and project.ran() == ["02_second"]


def test_a_changed_parameter_runs_those_that_take_it(project):
    assert project.main("-p", "EPOCHS", "1") == 0 and project.ran() == []  # the default, said aloud
    assert project.main("-p", "EPOCHS", "3") == 0 and project.ran() == ["02_second", "03_third"]
    assert project.json("third.json") == {"epochs": 3, "pictures": 1}
    assert project.json("manifest.json")["notebooks"]["02_second"]["parameters"] == {"SEED": 0}


def test_a_changed_helper_runs_those_that_import_it(project):
    (project.root / "helpers" / "unused.py").write_text("nobody imports me\n")
    assert project.main() == 0 and project.ran() == []
    (project.root / "helpers" / "tinier.py").write_text("FACTOR = 5\n")  # imported by an imported one
    assert project.main() == 0 and project.ran() == ["02_second", "03_third"]
    assert project.json("third.json") == {"epochs": 5, "pictures": 1}


def test_changed_data_runs_everything(project):
    (project.root / "data" / "mnist.npz").write_text("other data")
    assert project.main("01") == 0 and project.ran() == ["01_first"]


def test_changed_pictures_run_those_that_read_them(project):
    (project.root / "data" / "samples" / "2.png").write_text("another picture")
    assert project.main() == 0 and project.ran() == ["03_third"]
    assert project.json("third.json") == {"epochs": 1, "pictures": 2}
    assert project.main("-p", "IMAGE", "mine.png") == 0 and project.ran() == ["03_third"]
    assert project.main("-p", "IMAGE", "mine.png") == 0 and project.ran() == []
    (project.root / "mine.png").write_text("another picture of mine")
    assert project.main("-p", "IMAGE", "mine.png") == 0 and project.ran() == ["03_third"]


def test_force_runs_what_is_up_to_date(project):
    assert project.main("--force", "03") == 0 and project.ran() == ["03_third"]


def test_lines_printed_one_by_one_are_one_output(project):
    slowly = "import time\nfor line in 'abc':\n    print(line, flush=True)\n    time.sleep(0.3)\n"
    project.edit("01_first", 4, FIRST, slowly + FIRST)
    assert project.main("01") == 0
    nb = nbformat.read(project.run / "executed" / "01_first.ipynb", as_version=4)
    [cell] = [cell for cell in nb.cells if "sleep" in cell.source]
    assert [output.text for output in cell.outputs if "text" in output] == ["a\nb\nc\n"]


def test_what_is_lost_or_altered_is_made_again(project):
    (project.run / "third.json").unlink()
    assert project.main() == 0 and project.ran() == ["03_third"]
    (project.run / "second.json").write_text('{"epochs": 99}')  # by hand
    assert project.main() == 0 and project.ran() == ["02_second"]  # and 03's input is again what it was
    assert project.json("second.json") == {"epochs": 1}
    (project.run / "executed" / "01_first.ipynb").unlink()
    assert project.main() == 0 and project.ran() == ["01_first"]


def set_seconds(project, values):
    """Rewrites how long notebooks took in the last run."""
    manifest = project.json("manifest.json")
    for name, value in values.items():
        manifest["notebooks"][name]["seconds"] = value
    write_json(project.run / "manifest.json", manifest)


def announced(capfd):
    return [line for line in capfd.readouterr().out.splitlines() if "… runs" in line]


def test_the_time_left_is_told_by_the_last_run(project, capfd):
    set_seconds(project, {"01_first": 300, "02_second": 120, "03_third": 60})
    assert project.main("--force") == 0
    assert announced(capfd) == [
        "01_first … runs (1 of 3, about 8 minutes left)", "02_second … runs (2 of 3, about 3 minutes left)",
        "03_third … runs (3 of 3, about 1 minute left)",
    ]  # fmt: skip
    set_seconds(project, {"01_first": 300, "02_second": 120, "03_third": 60})
    project.edit("02_second", 4, "EPOCHS *", "7 * EPOCHS *")
    assert project.main() == 0  # 01 is up to date, and 03 needs what 02 will make anew
    assert announced(capfd)[0] == "02_second … runs (2 of 3, about 3 minutes left)"


def test_no_time_is_told_where_a_notebook_never_ran(project, capfd):
    manifest = project.json("manifest.json")
    del manifest["notebooks"]["03_third"]
    write_json(project.run / "manifest.json", manifest)
    assert project.main("--force") == 0
    assert announced(capfd) == [f"{name} … runs ({number} of 3)" for number, name in enumerate(ALL, 1)]


def test_all_runs_are_listed(project, capfd):
    assert project.main("01", "--run", "other é", "-p", "SEED", "4") == 0
    page = (project.root / "outputs" / "index.html").read_text(encoding="utf-8")
    row = page[page.index('href="other%20%C3%A9/model_card.html"') :].split("</tr>")[0]
    assert "SEED = 4" in row and "50.00 %" in row and "1,234" in row
    assert page.count("<tr>") == 3 and 'href="latest/model_card.html"' in page
    assert "All runs: outputs/index.html" in capfd.readouterr().out


def test_names_choose_notebooks(project):
    found = notebooks()
    assert list(found) == ALL and found["02_second"].needs == ("first.json",)
    assert found["02_second"].makes == ("second.json", "metrics/02_second.json")
    for names, chosen in (
        ([], ALL),
        (["03", "1"], ["01_first", "03_third"]),
        (["02_second"], ["02_second"]),
        (["notebooks/02_second.ipynb"], ["02_second"]),
    ):
        assert [notebook.name for notebook in select(names, found)] == chosen


def test_command_line_wins_over_the_file(project):
    found = notebooks()
    everything = list(found.values())
    assert read_parameters("quick", [["EPOCHS", "9"]], everything, found) == {"EPOCHS": 9}
    # A file may serve all notebooks while one runs; a name typed for one notebook must be its own.
    assert read_parameters("quick", [], everything[:1], found) == {"EPOCHS": 2}


def test_magics_and_broken_cells_do_not_hide_imports(project):
    before = notebooks()["02_second"].code()
    project.edit("02_second", 4, "from helpers import tiny", "%matplotlib inline\nfrom helpers import tiny")
    project.edit("02_second", 5, "run.finish", "this is no Python\nrun.finish")
    with_magic = notebooks()["02_second"].code()
    (project.root / "helpers" / "tiny.py").write_text("FACTOR = 8\n")
    assert len({before, with_magic, notebooks()["02_second"].code()}) == 3


# --- wrong usage: refused before anything starts

# Half a kilobyte that means lists of 9 to the power of 9 numbers.
BOMB = b"SEED: [" + b", ".join(
    b"&%c [%s]" % (97 + depth, b", ".join([b"*%c" % (96 + depth) if depth else b"1"] * 9)) for depth in range(9)
) + b"]"  # fmt: skip


@pytest.mark.parametrize(
    "args, parts",
    [
        (["99"], ["no notebook '99'", "01_first, 02_second, 03_third"]),
        (["01_frist"], ["no notebook '01_frist'"]),
        (["EPOCHS=3"], ["no notebook 'EPOCHS=3'; set a parameter with -p NAME VALUE."]),
        (["-p", "EPOHCS", "3"], ["unknown parameter EPOHCS", "did you mean EPOCHS?"]),
        (["-p", "epochs", "3"], ["unknown parameter epochs", "did you mean EPOCHS?"]),
        (["-p", "TRIALS", "3"], ["unknown parameter TRIALS"]),  # a real one, but not of these notebooks
        (["01", "3", "-p", "EPOCHS", "3"], ["EPOCHS belongs to 02_second, not to 01_first, 03_third."]),
        (["-p", "EPOCHS", "ten"], ["EPOCHS = 'ten' must be a whole number"]),
        (["-p", "EPOCHS", "1.5"], ["EPOCHS = '1.5' must be a whole number"]),
        (["-p", "EPOCHS", "0"], ["EPOCHS = 0 must be at least 1"]),
        (["-p", "EPOCHS", "-1"], ["EPOCHS = -1 must be at least 1"]),
        (["-p", "RUN", "x"], ["RUN is no parameter of a command: name the run folder with --run."]),
        (["-p", "IMAGE", "lost.png"], ["IMAGE = 'lost.png' is not the path of an existing file: check the spelling"]),
        (["-p", "DATASET", "lost.npz"], ["DATASET = 'lost.npz' is neither mnist, fashion_mnist nor the path of"]),
        (["-p", "DATASET", "data"], ["DATASET = 'data' is neither"]),  # a folder
        (["-p", "DATASET", "Fashion-MNIST"], ["did you mean fashion_mnist?"]),
        (["--params", "lost.yml"], ["IMAGE = 'lost.png' is not the path"]),
        (["-p", "VALIDATION", "600"], ["VALIDATION = 600 would leave 02_second no image", "TRAIN_SIZE = 600:"]),
        (["-p", "TRAIN_SIZE", "100"], ["VALIDATION = 100 would leave 02_second no image", "TRAIN_SIZE = 100:"]),
        (["--params", "smoky"], ["--params smoky: not readable", "quick"]),
        (["--params", "bad_name.yml"], ["--params bad_name.yml: unknown parameter EPOCH", "EPOCHS?"]),
        (["--params", "bad_value.yml"], ["EPOCHS = True must be a whole number"]),
        (["--params", "list.yml"], ["expected lines NAME: VALUE"]),
        (["--params", "broken.yml"], ["--params broken.yml: not readable"]),
        (["--params", "binary.yml"], ["--params binary.yml: not readable"]),
        (["--params", "notebooks"], ["--params notebooks: not readable"]),
        (["--run", "a/b"], ["RUN = 'a/b'", "without slashes"]),
        (["--grid", "EPOCHS=3,ten"], ["EPOCHS = 'ten' must be a whole number"]),
        (["--grid", "EPOHCS=3"], ["unknown parameter EPOHCS", "did you mean EPOCHS?"]),
        (["--grid", "EPOCHS"], ["--grid EPOCHS: expected NAME=VALUE"]),
        (["--grid", "EPOCHS=3", "--grid", "EPOCHS=4"], ["each name once"]),
        (["--grid", "EPOCHS=3", "-p", "EPOCHS", "4"], ["EPOCHS is set both by -p and by --grid"]),
        (["--grid", "DATASET=mnist,lost.npz"], ["DATASET = 'lost.npz' is neither"]),
        (["--grid", "IMAGE=a/b.png,a-b.png"], ["two runs would be called IMAGE=a-b.png"]),
        (["--grid", "VALIDATION=100,700"], ["VALIDATION = 700 would leave"]),
        (["03", "--grid", "SEED=1,2"], ["03_third needs outputs/SEED=1/second.json"]),
        (["--run", ".."], ["RUN = '..'"]),
        (["--run", "reference"], ["RUN = 'reference'", "not 'reference'"]),
        (["--params", "bomb.yml"], ["SEED = [[...], [...]", "must be a whole number"]),
        (["--params", "deep.yml"], ["--params deep.yml: not readable"]),
        (["--params", "long.yml"], ["--params long.yml: "]),
        (["03", "--run", "fresh"], ["03_third needs", "second.json", "which 02_second makes: run 02_second first"]),
        (["01", "03", "--run", "fresh"], ["03_third needs"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and value[0][:1] in "-0" else "",
)
def test_wrong_usage(project, capfd, args, parts):
    for name, content in (
        ("bad_name.yml", b"EPOCH: 2"), ("bad_value.yml", b"EPOCHS: yes"), ("list.yml", b"- EPOCHS"),
        ("broken.yml", b"EPOCHS: [1"), ("binary.yml", b"\xff\xfe\x00"), ("bomb.yml", BOMB), ("deep.yml", b"[" * 50_000),
        ("long.yml", b"SEED: 0x" + b"f" * 5_000), ("lost.yml", b"IMAGE: lost.png"),
    ):  # fmt: skip
        (project.root / name).write_bytes(content)
    assert project.main(*args) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("Error: ") and "Traceback" not in err
    for part in parts:
        assert part in err
    assert project.ran() == [] and sorted(os.listdir(project.root / "outputs")) == ["index.html", "latest"]


@pytest.mark.parametrize("args", [["--nonsense"], ["-p", "EPOCHS"], ["--run"], ["--workers", "2"],
                                  ["--scheduler", "tcp://x:1"], ["--grid", "SEED=1", "--workers", "0"]])  # fmt: skip
def test_wrong_options(project, capfd, args):
    with pytest.raises(SystemExit) as caught:
        project.main(*args)
    assert caught.value.code == 2 and "usage: python -m helpers.series" in capfd.readouterr().err


@pytest.mark.parametrize("content", ["", "{", '{"cells": []}', '{"cells": 3}', "[]"])
def test_damaged_notebook(project, capfd, content):
    (project.root / "notebooks" / "02_second.ipynb").write_text(content)
    assert project.main() == 2
    assert "notebooks/02_second.ipynb is not a notebook of this series" in capfd.readouterr().err


def cell(tmp_path, source, tags=("parameters",)):
    path = tmp_path / "01_x.ipynb"
    nb = notebook("01_x", "", "nothing but the data", "x.json")
    nb.cells[2] = nbformat.v4.new_code_cell(source, metadata={"tags": list(tags)})
    nbformat.write(nb, path)
    return path


def test_defaults_are_read_in_order(tmp_path):
    found = Notebook.read(cell(tmp_path, 'RUN = "latest"  # a run\nSEED = 0\nSHIFT = -0.5  # help\n')).defaults
    assert list(found.items()) == [("RUN", "latest"), ("SEED", 0), ("SHIFT", -0.5)]


@pytest.mark.parametrize("line", ["EPOCHS = 2 * 3", "EPOCHS = SEED", "EPOCHS = print(3)", "EPOCHS = 3 +"])
def test_only_literals_are_defaults(tmp_path, line):
    with pytest.raises(UserError, match=r"01_x.ipynb: EPOCHS = .* in the parameters cell is not NAME = literal"):
        Notebook.read(cell(tmp_path, f"SEED = 0\n{line}"))


def test_notebook_without_a_parameters_cell(tmp_path):
    with pytest.raises(UserError, match="01_x.ipynb has no cell tagged parameters"):
        Notebook.read(cell(tmp_path, "SEED = 0", tags=()))


def test_no_notebooks(project, monkeypatch):
    monkeypatch.setattr(paths, "NOTEBOOKS", project.root / "empty")
    with pytest.raises(UserError, match="No notebooks in empty"):
        notebooks()


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("streams", "code", "said"),
    [(">&- 2>&-", 2, ""), ("2>&-", 2, ""), (">&-", 2, "Error: There is no notebook"), ("> /dev/full", 1, "Error: ")],
)
def test_closed_and_full_streams(project, streams, code, said):
    name = "99" if code == 2 else "01"
    command = f'"{sys.executable}" -m helpers.series {name} {streams}'
    done = subprocess.run(
        command, shell=True, cwd=project.root, env=project.environment, capture_output=True, text=True
    )
    assert done.returncode == code and done.stdout == ""
    assert done.stderr.startswith(said) and done.stderr.count("\n") == bool(said)


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("given", "passed"),
    [
        ([], ""),
        (["EPOCHS=3", "PYTHON=python3"], "-p 'EPOCHS' '3'"),
        (["IMAGE=Ann's 7.png"], r"-p 'IMAGE' 'Ann'\''s 7.png'"),
        (["ARGS=02 --run mine --grid SEED=1,2", "DATASET=my  own.npz"],
         "02 --run mine --grid SEED=1,2 -p 'DATASET' 'my  own.npz'"),
    ],
)  # fmt: skip
def test_make_hands_its_variables_on(given, passed):
    makefile = os.path.join(REAL_ROOT, "Makefile")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "ARGS"))}  # of `make test`
    environment = own | {"SEED": "9"}
    done = subprocess.run(
        ["make", "-n", "-f", makefile, "run", *given], env=environment, capture_output=True, text=True
    )
    command, _, words = done.stdout.strip().splitlines()[-1].partition("helpers.series")
    assert (command, words.strip()) == (".venv/bin/python -m ", passed)


# --- failures in mid-run


def test_failing_cell_stops_with_a_sentence_and_the_rest_is_kept(project, capfd):
    project.edit("02_second", 4, "import os", 'raise ValueError("broken on purpose")\nimport os')
    assert project.main("--force") == 1
    err = capfd.readouterr().err
    assert "Error: 02_second stopped in cell" in err and "ValueError: broken on purpose" in err
    assert "outputs/latest/executed/02_second.failed.ipynb" in err and "Traceback" not in err
    assert project.ran() == ["01_first", "02_second"]
    failed = nbformat.read(project.run / "executed" / "02_second.failed.ipynb", as_version=4)
    assert any(output.output_type == "error" for cell in failed.cells for output in cell.get("outputs", []))

    project.edit("02_second", 4, 'raise ValueError("broken on purpose")\n', "")
    assert project.main() == 0
    assert project.ran() == ["02_second"]
    assert not (project.run / "executed" / "02_second.failed.ipynb").exists()


def test_sentence_of_a_notebook_reaches_the_terminal(project, capfd):
    project.edit("03_third", 4, "second.json", "lost.json")
    assert project.main() == 1
    err = capfd.readouterr().err
    assert "03_third stopped in cell" in err and "outputs/latest/lost.json is missing" in err and "UserError" not in err


def test_promised_file_that_was_not_made(project, capfd):
    project.edit("02_second", 1, "`second.json`", "`second.json`, `extra/file.json`")
    assert project.main() == 1
    assert "02_second ended without making extra/file.json" in capfd.readouterr().err


def test_kernel_that_dies(project, capfd):
    project.edit("02_second", 4, "import os, time", "import os, time\nos._exit(9)")
    assert project.main() == 1
    err = capfd.readouterr().err
    assert err.startswith("Error: 02_second stopped: its kernel died") and err.count("\n") == 1


@pytest.mark.parametrize("place", ["outputs", "outputs/latest"])
def test_folder_that_cannot_be_made(project, capfd, place):
    shutil.rmtree(project.root / place)
    (project.root / place).write_text("a file is in the way")
    assert project.main() == 1
    err = capfd.readouterr().err
    assert err.startswith("Error: The run folder outputs/latest cannot be made") and "OUTPUTS_DIR" in err


def test_folder_in_the_run_that_cannot_be_made(project, capfd):
    shutil.rmtree(project.run / "executed")
    (project.run / "executed").write_text("a file is in the way")
    assert project.main() == 1
    err = capfd.readouterr().err
    assert err.startswith("Error: ") and "latest/executed)" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "content", [b"{", b"[1]", b"\xff\xfe", b"null", b'{"01_first": {"code": 3}, "02_second": null}']
)
def test_damaged_record_of_what_is_up_to_date(project, content):
    (project.run / runner_.RECORD).write_bytes(content)
    assert project.main("01") == 0 and project.ran() == ["01_first"]


def test_damaged_manifest_is_found_before_anything_runs(project, capfd):
    (project.run / "manifest.json").write_text("{")
    assert project.main("--force") == 1 and project.ran() == []
    err = capfd.readouterr().err
    assert err.startswith("Error: outputs/latest/manifest.json cannot be read") and "delete it" in err


# --- several processes


def wait_for(condition, seconds=60):
    """Waits until `condition()` is true; a loaded machine may need long, a quiet one does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_data_set_must_suit_the_notebooks_before_any_runs(tmp_path):
    series = notebooks()
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (120, 28, 28), np.uint8), np.arange(120) % 4
    np.savez(tmp_path / "four.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    given = [["DATASET", str(tmp_path / "four.npz")], ["VALIDATION", "100"]]
    two, three = series["02_preprocessing"], series["03_baseline_cnn"]
    assert read_parameters(None, given, [three], series)["VALIDATION"] == 100
    with pytest.raises(UserError, match="has 4 classes, but 02_preprocessing speaks of label 7: run the others"):
        read_parameters(None, given[:1], [two], series)
    with pytest.raises(UserError, match="OTHER_DIGITS = .* has 4 classes, but 10_beyond_mnist speaks of label 9"):
        read_parameters(None, [["OTHER_DIGITS", given[0][1]]], [series["10_beyond_mnist"]], series)
    with pytest.raises(UserError, match="no image to train on, of 120 in the data set: lower it"):
        read_parameters(None, [given[0], ["VALIDATION", "120"]], [three], series)
    (tmp_path / "four.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match="cannot be read as an .npz file"):
        read_parameters(None, given, [three], series)


def test_labels_spoken_of_are_those_of_the_code():
    for name, notebook in notebooks().items():
        found = [int(label) for label in re.findall(r"y_\w+ == ([7-9])", "".join(notebook.sources()))]
        assert max(found, default=None) == runner_.SPOKEN_OF.get((name, "DATASET"))


@pytest.fixture
def halted(project):
    """The series as a process that waits in the middle of 02, with half a file written; and its kernel's number."""
    (project.run / "pid").unlink()
    (project.run / "slow").touch()
    process = project.start("-p", "EPOCHS", "3")
    wait_for(lambda: (project.run / "pid").exists() and (project.run / "pid").read_text() or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    yield project, process, int((project.run / "pid").read_text())
    process.kill()
    process.communicate()


def test_two_runs_at_once_into_one_folder(halted, capfd):
    project, process, _ = halted
    assert project.main() == 1
    err = capfd.readouterr().err
    assert err.startswith("Error: another run is using outputs/latest") and "--run" in err
    (project.run / "slow").unlink()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and err == "" and "02_second … runs" in out
    assert project.json("third.json") == {"epochs": 3, "pictures": 1}


def test_kill_in_mid_run(halted, capfd):
    project, process, kernel = halted
    process.kill()
    process.wait()
    wait_for(lambda: not alive(kernel), 10)  # else it would go on writing beside the next run
    (project.run / "slow").unlink()
    assert list(project.run.glob(f"{PARTIAL}*second.json"))  # half-written, and told apart by its name
    assert project.json("second.json") == {"epochs": 1}  # the whole one of the run before
    assert project.ran() == ["02_second"]
    # The killed attempt had other parameters; what it left must not pass for up to date.
    assert project.main() == 0 and project.ran() == ["02_second"]
    assert not list(project.run.rglob(f"{PARTIAL}*"))
    assert project.json("third.json") == {"epochs": 1, "pictures": 1}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to another process")
def test_interrupt_in_mid_run(halted):
    project, process, kernel = halted
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted. Finished notebooks are kept" in err and "Traceback" not in err
    assert not alive(kernel)
    (project.run / "slow").unlink()
    assert project.ran() == ["02_second"]
    assert project.main("-p", "EPOCHS", "3") == 0 and project.ran() == ["02_second", "03_third"]
    assert not list(project.run.rglob(f"{PARTIAL}*"))


LIMITED = """\
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no file may grow beyond 100 kB
from helpers.series.runner import main
sys.exit(main())"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_disk_that_takes_no_more(project):
    names = ("recall", "recall_low", "recall_high", "precision")
    many = {f"class_{number}_{name}": 0.5 for number in range(2000) for name in names}
    write_json(project.run / "metrics" / "05_evaluation.json", many)  # for a model card with 2,000 rows
    card = (project.run / "model_card.md").read_text(encoding="utf-8")
    process = project.start("01", "--force", command=("-c", LIMITED))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in err
    assert err.startswith("Error: outputs/latest/model_card.md could not be written (File too large): free some")
    assert (project.run / "model_card.md").read_text(encoding="utf-8") == card  # the whole one of before
    assert project.ran() == ["01_first"]
    assert project.main() == 0 and project.ran() == []
    assert (project.run / "model_card.md").stat().st_size > 100_000


# --- a grid


def test_a_grid_is_every_combination_under_a_readable_name():
    assert combinations(["EPOCHS=3,10", "SEED=0,1,1"]) == {
        f"EPOCHS={epochs},SEED={seed}": [("EPOCHS", epochs), ("SEED", seed)] for epochs in (3, 10) for seed in (0, 1)
    }
    assert list(combinations(["LEARNING_RATE=1e-3,0.01"], "mine")) == [
        "mine,LEARNING_RATE=0.001",
        "mine,LEARNING_RATE=0.01",
    ]
    assert list(combinations(["DATASET=mnist,~/my data/é.npz"])) == ["DATASET=mnist", "DATASET=-my-data-é.npz"]


def test_a_grid_runs_compares_and_is_not_run_again(project, capfd):
    grid = ("01", "02", "-p", "VALIDATION", "200", "--grid", "EPOCHS=2,3", "--grid", "SEED=5")
    assert project.main(*grid, "--workers", "2") == 0
    out, err = capfd.readouterr()
    assert "EPOCHS=2,SEED=5: 02_second … runs (2 of 2" in err  # said by the processes of the runs
    assert "(2 of 2)" in out and "EPOCHS=2,SEED=5 is done" in out and "EPOCHS=3,SEED=5 is done" in out
    assert "02_second" in out.split("differences from EPOCHS=2,SEED=5")[1] and "+0.00 points" in out
    for epochs in (2, 3):
        assert project.ran(f"EPOCHS={epochs},SEED=5") == ALL[:2]
        folder = project.root / "outputs" / f"EPOCHS={epochs},SEED=5"
        assert json.loads((folder / "second.json").read_text()) == {"epochs": epochs}
        assert json.loads((folder / "first.json").read_text()) == {"seed": 5}
        record = json.loads((folder / runner_.RECORD).read_text(encoding="utf-8"))
        assert record["02_second"]["parameters"]["VALIDATION"] == 200
    assert (project.root / "outputs" / "comparison.png").exists() and project.ran() == []
    assert project.main(*grid) == 0
    assert [project.ran(f"EPOCHS={epochs},SEED=5") for epochs in (2, 3)] == [[], []]
    assert "… runs" not in "".join(capfd.readouterr())


def test_a_run_that_stops_does_not_stop_the_grid(project, capfd):
    project.edit("01_first", 4, "run.save_json", "assert SEED != 1, 'one is broken'\nrun.save_json")
    assert project.main("01", "--grid", "SEED=1,2,3") == 1
    out, err = capfd.readouterr()
    assert "SEED=1: 01_first stopped in cell" in err and "one is broken" in err and "Traceback" not in err
    assert err.endswith("Error: 1 of 3 runs stopped; the same command tries them again.\n")
    assert "SEED=1 stopped (1 of 3)" in out and "SEED=3 is done (3 of 3)" in out
    assert "differences from SEED=2" in out
    project.edit("01_first", 4, "SEED != 1", "True")
    assert project.main("01", "--grid", "SEED=1") == 0


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a signal")
def test_a_killed_grid_goes_on_by_the_same_command(project):
    folders = [project.root / "outputs" / f"EPOCHS={epochs}" for epochs in (2, 3)]
    folders[1].mkdir()
    (folders[1] / "slow").touch()
    grid = ("01", "02", "--grid", "EPOCHS=2,3")
    process = project.start(*grid)
    wait_for(lambda: (folders[1] / "pid").exists() and (folders[1] / "pid").read_text() or process.poll() is not None)
    process.kill()
    process.communicate()
    kernel = int((folders[1] / "pid").read_text())
    wait_for(lambda: not alive(kernel), 10)
    assert [project.ran(folder.name) for folder in folders] == [ALL[:2], ALL[:2]]
    (folders[1] / "slow").unlink()
    assert project.main(*grid) == 0
    assert [project.ran(folder.name) for folder in folders] == [[], ["02_second"]]
    assert not list(folders[1].rglob(f"{PARTIAL}*"))


def test_a_grid_on_a_cluster(project, capfd):
    from distributed import LocalCluster

    pool.identity.cache_clear()  # it was that of another project
    options = ("--nworkers", "1", "--nthreads", "2", "--no-dashboard", "--no-nanny")
    with LocalCluster(n_workers=0, dashboard_address=":0") as cluster:
        worker = project.start("worker", cluster.scheduler_address, *options, command=("-m", "dask"))
        try:
            assert project.main("01", "--grid", "SEED=1,2", "--scheduler", cluster.scheduler_address) == 0
        finally:
            worker.kill()
            said = worker.communicate()[1]
            pool.identity.cache_clear()
    out = capfd.readouterr().out
    assert "SEED=1 is done" in out and "differences from SEED=1" in out
    assert "SEED=2: 01_first … runs (1 of 1" in said
    assert [project.ran(f"SEED={seed}") for seed in (1, 2)] == [["01_first"], ["01_first"]]


def test_a_machine_of_the_grid_that_sees_another_folder_or_other_notebooks_says_so(project, monkeypatch):
    codes = {"01_first": notebooks()["01_first"].code()}
    monkeypatch.setenv("OUTPUTS_DIR", "")  # which `member` sets, as in a process of its own
    monkeypatch.setenv("TQDM_DISABLE", "")
    with pytest.raises(UserError, match="does not see .*SEED=1: all machines of a grid need one shared folder"):
        runner_.member(("SEED=1", {"SEED": 1}), str(project.root / "outputs"), codes, False)
    (project.root / "outputs" / "SEED=1").mkdir()
    with pytest.raises(UserError, match="has other notebooks than this command"):
        runner_.member(("SEED=1", {"SEED": 1}), str(project.root / "outputs"), {"01_first": "x"}, False)
    with pytest.raises(UserError, match="has other notebooks"):
        runner_.member(("SEED=1", {}), str(project.root / "outputs"), codes | {"09_ninth": "x"}, False)


def test_compare_is_a_word_of_the_command(project, capfd):
    shutil.copytree(project.run, project.root / "outputs" / "copy")
    process = project.start("compare", "latest", "copy")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "differences from latest" in out and "outputs/comparison.png" in out


# --- parameters


def test_rules_know_every_parameter_of_the_series():
    for notebook in notebooks().values():
        parameters.check(notebook.defaults, notebook.name)
