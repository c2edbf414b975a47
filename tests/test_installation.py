"""The lists of packages: what is imported is required, what is required is explained, locked and installed."""

import ast
import importlib.metadata
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement

from helpers import paths
from helpers.series.dependencies import closure
from helpers.series.runner import notebooks
from tools import address

REQUIREMENTS = (paths.ROOT / "requirements.txt").read_text(encoding="utf-8")
SECTIONS = {
    name: [Requirement(line.split("#")[0]) for line in body.splitlines() if line[:1].isalpha()]
    for name, body in re.findall(r"^# \[(\w+)\][^\n]*\n(.*?)(?=^# \[|\Z)", REQUIREMENTS, re.DOTALL | re.MULTILINE)
}
ALL = [requirement for section in SECTIONS.values() for requirement in section]
# Where a package is imported only in a function: where it is wanted, not with the file.
OPTIONAL = {"distributed", "cloudpickle", "tensorflow", "keras", "scikit-learn", "pillow-heif", "pypdfium2"}


def names(*sections: str) -> set[str]:
    return {requirement.name for section in sections for requirement in SECTIONS[section]}


def imported(sources, optional: bool) -> set[str]:
    """The distributions behind the imports of Python sources; `optional`: those that wait inside functions, too."""
    modules, own = set(), {file.stem for file in (paths.ROOT / "benchmarks").glob("*.py")}
    for tree in map(ast.parse, sources):
        later = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda)]
        later += [
            node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        ]
        inside = set() if optional else {node for block in later for node in ast.walk(block)}
        for node in set(ast.walk(tree)) - inside:
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(node.module.split(".")[0])
    distributions = importlib.metadata.packages_distributions()
    foreign = modules - set(sys.stdlib_module_names) - own - {"helpers", "tools", "benchmarks"}
    return {distributions[module][0].lower().replace("_", "-") for module in foreign}


def texts(files) -> list[str]:
    return [file.read_text(encoding="utf-8") for file in files if file.suffix == ".py"]


def test_every_import_is_required():
    sources = texts(
        file for folder in ("helpers", "tools", "benchmarks") for file in (paths.ROOT / folder).rglob("*.py")
    )
    sources += [source for notebook in notebooks().values() for source in notebook.sources()]
    missing = imported(sources, optional=True) - {requirement.name for requirement in ALL}
    assert missing <= {"ipython"}  # it comes with ipykernel, of which it is a part


@pytest.mark.parametrize("command", ["from helpers.predict import __main__", "from helpers.predict import Predictor"])
def test_the_base_alone_reads_pictures(command):
    """The base install has nothing else; what a function imports where it is asked for may be missing."""
    assert imported(texts(closure([command])), optional=False) <= names("base")


def test_the_lazy_imports_of_the_base_are_known():
    files = closure(["from helpers.predict import __main__"])
    assert imported(texts(files), optional=True) - names("base") <= OPTIONAL


def test_what_the_bootstrap_installs_is_enough_for_the_notebooks():
    """On Colab and Kaggle: base, train and edge, and what its command names; Jupyter itself is there."""
    cell = bootstrap("https://github.com/a/b")
    named = set(re.search(r" -e \.\[train,edge\] (.*)\"", cell)[1].split())
    sources = [source for notebook in notebooks().values() for source in notebook.sources()]
    sources += texts({file for notebook in notebooks().values() for file in closure(notebook.sources())})
    there = {"ipython", "matplotlib", "ipywidgets", "traitlets"}
    assert "seaborn" in named
    needed = imported(sources, optional=True) - {"distributed"} - names("formats")
    assert needed <= names("base", "train", "edge") | named | there


def test_every_requirement_stands_once_in_a_section_with_a_reason():
    lines = [line for line in REQUIREMENTS.splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(ALL) == len({requirement.name for requirement in ALL})
    assert [line for line in lines if not re.search(r"  # \w{2,}", line)] == []
    assert list(SECTIONS) == ["base", "formats", "train", "edge", "cluster", "notebooks", "site", "dev"]


def test_constraints_pin_every_requirement_within_its_range():
    pins = {}
    for line in (paths.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            pin = Requirement(line)
            pins.setdefault(pin.name.lower(), []).append(str(pin.specifier).removeprefix("=="))
    for requirement in ALL:
        assert requirement.name.lower() in pins, f"constraints.txt lacks {requirement.name}: make lock"
        for version in pins[requirement.name.lower()]:
            assert requirement.specifier.contains(version), f"{requirement} does not allow {version}"


def test_this_environment_fits():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    for requirement in ALL:
        assert requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True), (
            requirement
        )


def test_everything_is_packaged(monkeypatch):
    built = {}
    monkeypatch.setattr(setuptools, "setup", built.update)
    monkeypatch.chdir(paths.ROOT)
    runpy.run_path("setup.py")
    assert sorted(map(str, SECTIONS["base"])) == sorted(str(Requirement(text)) for text in built["install_requires"])
    assert set(built["extras_require"]) == set(SECTIONS) - {"base"}
    folders = {name: paths.ROOT / built["package_dir"].get(name, name.replace(".", "/")) for name in built["packages"]}
    packed = {
        file for name, patterns in built["package_data"].items() for p in patterns for file in folders[name].glob(p)
    }
    packed |= {file for folder in folders.values() for file in folder.glob("*.py")}
    there = {file for file in (paths.ROOT / "helpers").rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    assert there - packed == set()
    shipped = {file.name for file in packed if file.parent == paths.REFERENCE}
    assert shipped == {"digits.tflite", "calibration.json", "gate.npz", "line_weights.json", "strips.tflite"}


# --- the notebooks' first code cell


def bootstrap(repository: str | None, commit: str = "0" * 40) -> str:
    about = address.project() | {"repository": repository, "commit": commit}
    return address.TEMPLATES.get_template("bootstrap.py.j2").render(about)


SHELL = """\
import contextlib, sys
from importlib import util
from IPython.core.interactiveshell import InteractiveShell
shell, find = InteractiveShell.instance(), util.find_spec
def only_below(name, *a):  # not the project that this environment has installed
    spec = find(name, *a)
    places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
    return spec if name != "helpers" or any(str(place).startswith({base!r}) for place in places) else None
util.find_spec = only_below
with contextlib.redirect_stdout(sys.stderr):
    done = shell.run_cell({source!r})
print(done.success and sys.path[0])
"""


def run_cell(folder: Path, source: str, **variables: str) -> tuple[str, str]:
    """Runs the cell as IPython does where helpers isn't installed: what heads the search path or "False"; what it said."""
    (code := folder.parent / "shell.py").write_text(
        SHELL.format(base=str(folder.parent), source=source), encoding="utf-8"
    )
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    command = [sys.executable, "-c", f"import sys; sys.path[0] = ''; exec(open({str(code)!r}).read())"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.strip()


@pytest.mark.parametrize("repository", [None, "https://github.com/a/b"])
def test_bootstrap_finds_helpers_above_the_notebook(repository, tmp_path):
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "helpers" / "notebook").mkdir(parents=True)
    assert run_cell(tmp_path / "deep" / "deeper", bootstrap(repository)) == (str(tmp_path), "")


@pytest.mark.parametrize("repository", [None, "https://github.com/a/b"])
def test_bootstrap_elsewhere_says_what_to_do(tmp_path, repository):
    (tmp_path / "here").mkdir()
    sentence = "Stopped: No helpers package: open this notebook in the project's folder, see README."
    assert run_cell(tmp_path / "here", bootstrap(repository)) == ("False", sentence)


@pytest.mark.parametrize("name", ["helpers.py", "helpers/__init__.py", "helpers/tools.py"])
@pytest.mark.parametrize("repository", [None, "https://github.com/a/b"])
def test_bootstrap_beside_other_helpers_says_what_to_do(tmp_path, name, repository):
    (file := tmp_path / "here" / name).parent.mkdir(parents=True)
    file.write_text("mine = 1")
    found, said = run_cell(tmp_path / "here", bootstrap(repository), COLAB_RELEASE_TAG="x")
    assert found == "False" and said.startswith("Stopped: Your file or folder 'helpers' hides the project's: rename it")
    assert "\n" not in said


def test_without_an_address_nothing_is_fetched(tmp_path):
    assert "http" not in bootstrap(None) and "subprocess" not in bootstrap(None)
    (tmp_path / "here").mkdir()
    assert run_cell(tmp_path / "here", bootstrap(None), COLAB_RELEASE_TAG="x")[0] == "False"


PIP = """\
import pathlib, sys
if "list" in sys.argv:
    print("tensorflow==2.20.0")
else:
    with open("installed", "a") as log:
        log.write(" ".join(sys.argv[1:]) + "\\n")
    sys.exit("ERROR: no such package" if pathlib.Path("refuse").exists() else 0)
"""


@pytest.fixture
def colab(tmp_path):
    """An empty folder as on Colab, and the cell for a small stand-in of the published project, with a pip of its own."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    work, origin = tmp_path / "work", tmp_path / "origin.git"

    def git(*command):
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(work), *command]
        return subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()

    (work / "helpers" / "notebook").mkdir(parents=True)
    (work / "helpers" / "notebook" / "first.py").touch()
    (work / "pip.py").write_text(PIP)  # python -m pip, started in the clone, finds this one first
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"]):
        git(*command)
    commit = git("rev-parse", "HEAD")
    (work / "helpers" / "notebook" / "later.py").touch()
    for command in (["add", "-A"], ["commit", "-qm", "y"], ["clone", "-q", "--bare", str(work), str(origin)]):
        git(*command)
    (tmp_path / "content").mkdir()
    return tmp_path / "content", bootstrap(origin.as_uri(), commit)


def test_bootstrap_fetches_the_commit_on_colab(colab):
    folder, cell = colab
    clone = folder / address.project()["name"]
    assert run_cell(folder, cell, COLAB_RELEASE_TAG="x") == (str(clone), "")
    assert [file.name for file in (clone / "helpers" / "notebook").iterdir()] == ["first.py"]
    assert (clone / "there.txt").read_text() == "tensorflow==2.20.0\n"  # what must stay
    assert (clone / "installed").read_text() == "install -q -c there.txt -e .[train,edge] seaborn anywidget\n"


def test_bootstrap_that_was_stopped_goes_on(colab):
    folder, cell = colab
    clone = folder / address.project()["name"]
    assert run_cell(folder, cell, KAGGLE_KERNEL_RUN_TYPE="x") == (str(clone), "")
    (clone / "refuse").touch()
    sentence = "Stopped: Not fetched; try again (Kaggle: first switch Internet on). ERROR: no such package"
    assert run_cell(folder, cell, KAGGLE_KERNEL_RUN_TYPE="x") == ("False", sentence)
    (clone / "refuse").unlink()
    assert run_cell(folder, cell, KAGGLE_KERNEL_RUN_TYPE="x") == (str(clone), "")
    assert (clone / "installed").read_text().count("install") == 3


@pytest.mark.parametrize("missing", ["repository", "commit"])
def test_bootstrap_without_its_source_is_one_sentence(colab, missing):
    folder, cell = colab
    if missing == "repository":
        shutil.rmtree(folder.parent / "origin.git")
    else:
        cell = re.sub(r'commit = "\w+"', f'commit = "{"1" * 40}"', cell)
    found, said = run_cell(folder, cell, COLAB_RELEASE_TAG="x")
    assert found == "False" and "\n" not in said
    assert said.startswith("Stopped: Not fetched; try again (Kaggle: first switch Internet on). fatal: ")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize(
    ("version", "venv", "sentence"),
    [("3.10", True, "Python 3.11, 3.12 or 3.13 is needed"), ("3.14", True, "Python 3.11, 3.12 or 3.13 is needed"),
     ("3.12", False, "has no venv module")],
)  # fmt: skip
def test_make_says_what_is_wrong_with_python(tmp_path, version, venv, sentence):
    fake = tmp_path / "bin" / "python3"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\ncase "$2" in *version_info*) echo {version};; *) exit {0 if venv else 1};; esac\n')
    fake.chmod(0o755)
    for tool in ("sh", "make", "touch", "echo"):
        (fake.parent / tool).symlink_to(shutil.which(tool))
    project = tmp_path / "project"
    project.mkdir()
    for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml", "setup.py"):
        shutil.copy(paths.ROOT / name, project)
    done = subprocess.run(["make", "run"], cwd=project, env={"PATH": str(fake.parent)}, capture_output=True, text=True)
    assert done.returncode != 0 and sentence in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1
