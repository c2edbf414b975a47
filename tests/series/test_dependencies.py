"""helpers.series.dependencies: what a notebook depends on, in small packages made for it and in the real series."""

import shutil

import pytest

from helpers import paths
from helpers.series.dependencies import PACKAGES, closure, needed
from helpers.series.runner import notebooks

FILES = {
    "helpers/__init__.py": "",
    "helpers/ground.py": "X = 1",
    "helpers/room/__init__.py": """\
import lazy_loader
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["small", "large"], {"small": ["Small"], "large": ["Large", "big"]})
""",
    "helpers/room/small.py": "from helpers import ground",
    "helpers/room/large.py": "import helpers.plain.pad",
    "helpers/plain/__init__.py": "",
    "helpers/plain/pad.py": "",
    "helpers/plain/pad.js": "",
    "helpers/plain/broken.py": "def f(:",
    "helpers/plain/inner/__init__.py": "",
    "helpers/plain/inner/deep.py": "",
    "tools/__init__.py": "",
    "tools/render.py": "from helpers.ground import X",
    "benchmarks/speed.py": "",
}
GROUND, SMALL = ["ground.py"], ["ground.py", "room/__init__.py", "room/small.py"]
PAD = ["plain/__init__.py", "plain/pad.js", "plain/pad.py"]
LARGE = [*PAD, "room/__init__.py", "room/large.py"]
ROOM = sorted({*SMALL, *LARGE})
PLAIN = sorted([*PAD, "plain/broken.py", "plain/inner/__init__.py", "plain/inner/deep.py"])


@pytest.fixture
def files(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    return tmp_path


def found(root, *cells):
    """The closure, as names inside helpers/; that of the package itself is always there and left out."""
    names = [file.relative_to(root).as_posix() for file in closure(list(cells))]
    return sorted(name.removeprefix("helpers/") for name in names if name != "helpers/__init__.py")


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["import os, numpy.linalg\nfrom benchmarks import speed"], []),
        (["from helpers import ground"], GROUND),
        (["from helpers.ground import X as Y"], GROUND),
        (["import helpers.ground"], GROUND),
        (["from helpers.room import Small"], SMALL),  # a name, by the room's table
        (["from helpers.room import Large"], LARGE),
        (["from helpers.room import small"], SMALL),  # a file
        (["import helpers.room.small as s\ns.x"], SMALL),
        (["from helpers import room\nroom.Small(1)"], SMALL),  # a room, by the names that are used
        (["from helpers import room as r\nr.big"], LARGE),
        (["from helpers import room\nroom.small.x"], SMALL),
        (["from helpers import room", "", "room.Small(1)"], SMALL),  # used in a later cell
        (["from helpers import room\nroom.Small(room.big)"], ROOM),
        (["from helpers import room\nuse(room)"], ROOM),  # handed on: nobody knows what is used
        (["from helpers import room\nroom.unknown"], ROOM),
        (["from helpers.room import *"], ROOM),
        (["import helpers.room"], ROOM),
        (["from helpers import plain\nplain.inner.deep"], ["plain/__init__.py", "plain/inner/__init__.py", "plain/inner/deep.py"]),
        (["import helpers.plain"], PLAIN),
        (["from helpers.plain import pad"], PAD),  # pad.js lies beside pad.py
        (["def f():\n    from helpers import ground"], GROUND),
        (["from tools import render"], sorted(["tools/__init__.py", "tools/render.py", *GROUND])),
        (["from helpers import nothing_like_it\nimport helpers.room.none.at_all"], sorted({*GROUND, *ROOM})),
        (["from helpers.plain import broken"], ["plain/__init__.py", "plain/broken.py"]),
        (["def f(:\nfrom helpers import room", "from helpers import ground"], GROUND),  # that cell stops the run anyway
        (["x = '\0'"], []),
    ],
)  # fmt: skip
def test_closure(files, cells, expected):
    assert found(files, *cells) == sorted(expected)


def test_the_whole_package_is_everything(files):
    assert len(found(files, "import helpers")) == sum(name.startswith("helpers/") for name in FILES) - 1


def test_no_file_imports_relatively():
    """The closure knows no relative imports; there are none."""
    sources = {file: file.read_text(encoding="utf-8") for package in PACKAGES for file in (paths.ROOT / package).rglob("*.py")}  # fmt: skip
    assert [file for file, source in sources.items() if "\nfrom ." in source] == []


def test_needed_files(files, monkeypatch):
    run, kept = files / "outputs" / "mine", files / "outputs" / "reference" / "models" / "a.keras"
    monkeypatch.setattr(paths, "REFERENCE", files / "outputs" / "reference")
    assert needed("models/a.keras", run) == [run / "models" / "a.keras"]
    assert needed("outputs/reference/gate.npz", run) == [files / "outputs" / "reference" / "gate.npz"]
    assert needed("data/mnist.npz", run) == [files / "data" / "mnist.npz"]
    assert needed("data/samples/", run) == []
    for name in ("b.png", "a/c.png"):
        (files / "data" / "samples" / name).parent.mkdir(parents=True, exist_ok=True)
        (files / "data" / "samples" / name).touch()
    assert needed("data/samples/", run) == [files / "data" / "samples" / name for name in ("a/c.png", "b.png")]
    for file, usual, expected in ((kept, False, run / "models" / "a.keras"), (kept, True, kept),
                                  (run / "models" / "a.keras", True, run / "models" / "a.keras")):  # fmt: skip
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        assert needed("models/a.keras", run, usual) == [expected]


# --- the real series, in a copy


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    for folder in (*PACKAGES, "notebooks", "outputs/reference", "data/samples"):
        shutil.copytree(paths.ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def stale(root, monkeypatch):
    """The notebooks, by number, that a change of one file makes stale; the file is put back."""
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.setattr(paths, "NOTEBOOKS", root / "notebooks")

    def states():
        return {name: notebook.state(root / "outputs" / "latest", {}) for name, notebook in notebooks().items()}

    def stale(file, addition=b"\n# A comment"):
        before, content = states(), (root / file).read_bytes()
        (root / file).write_bytes(content + addition)
        after = states()
        (root / file).write_bytes(content)
        return [name[:2] for name in before if before[name] != after[name]]

    return stale


@pytest.mark.parametrize("file", ["digits.tflite", "calibration.json", "gate.npz", "line_weights.json"])
def test_what_is_shipped_makes_stale_only_the_notebooks_that_read_pictures(stale, file):
    assert stale(f"outputs/reference/{file}") == ["06", "10"]


def test_the_network_for_strips_makes_only_06_stale(stale):
    assert stale("outputs/reference/strips.tflite") == ["06"]


@pytest.mark.parametrize(
    ("file", "yes", "no"),
    [
        ("helpers/images/strokes.py", {"02", "06"}, {"01"}),
        ("helpers/predict/predictor.py", {"06"}, {"01", "02", "03", "04", "05", "07"}),
        ("helpers/predict/batch.py", set(), {"01", "02", "03", "04", "05", "06", "07"}),
        ("helpers/notebook/pad.js", {"06"}, {"01", "02", "03", "04", "05", "07"}),
        ("helpers/evaluation/corruptions.py", {"08", "09"}, {"01", "02", "03", "04", "06", "07"}),
        ("helpers/notebook/checks/notebook_03.py", {"03"}, {"01", "02", "04", "05", "06", "07", "08", "09"}),
        ("helpers/notebook/session.py", {"01", "02", "03", "04", "05", "06", "07"}, set()),
        ("tools/fit_gate.py", set(), {"01", "02", "03", "04", "05", "06", "07"}),
    ],
)
def test_what_a_comment_in_the_helpers_makes_stale(stale, file, yes, no):
    found = set(stale(file))
    assert yes <= found and not no & found


def lines(sources):
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in closure(sources))


def test_closures_stay_narrow():
    """A change deep in a room must not cost a quarter of an hour of reruns."""
    assert lines(["from helpers.notebook import setup"]) <= 1_000
    assert lines(notebooks()["05_evaluation"].sources()) <= 4_000
