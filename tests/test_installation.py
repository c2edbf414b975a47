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
    named = set(re.findall(r'"([\w-]+)"', re.search(r"missing = \[(.*)\]", cell)[1])) - {"-e"}
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
    assert list(SECTIONS) == ["base", "formats", "train", "edge", "cluster", "notebooks", "dev"]


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
    assert shipped == {"digits.tflite", "calibration.json", "gate.npz", "line_weights.json"}


# --- the notebooks' first code cell


def bootstrap(repository: str | None) -> str:
    return address.TEMPLATES.get_template("bootstrap.py.j2").render(address.project() | {"repository": repository})


def run_cell(folder: Path, source: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs the cell as on a machine where helpers isn't installed."""
    code = (
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'helpers' else find(name, *a)\n"
        f"{source}\nimport sys; print(sys.path[0])"
    )
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | variables
    return subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("repository", [None, "https://github.com/a/b"])
def test_bootstrap_finds_helpers_above_the_notebook(repository):
    done = run_cell(paths.NOTEBOOKS, bootstrap(repository))
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == paths.ROOT and done.stderr == ""


@pytest.mark.parametrize("repository", [None, "https://github.com/a/b"])
def test_bootstrap_elsewhere_says_what_to_do(tmp_path, repository):
    done = run_cell(tmp_path, bootstrap(repository))
    assert done.returncode != 0 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("No helpers package: download the project, run 'pip install -e .'")


def test_without_an_address_nothing_is_fetched(tmp_path):
    assert "http" not in bootstrap(None) and "subprocess" not in bootstrap(None)
    assert run_cell(tmp_path, bootstrap(None), COLAB_RELEASE_TAG="x").returncode != 0


PIP = """\
import pathlib, sys
if sys.argv[1] == "list":
    print("tensorflow==2.20.0")
else:
    with open("installed", "a") as log:
        log.write(" ".join(sys.argv[1:]) + "\\n")
    sys.exit(pathlib.Path("refuse").exists())
"""


@pytest.fixture
def colab(tmp_path):
    """An empty folder as on Colab, and the cell for a small stand-in of the published project, with a pip of its own."""
    work, origin = tmp_path / "work", tmp_path / "origin.git"
    (work / "helpers").mkdir(parents=True)
    (work / "helpers" / "__init__.py").touch()
    (work / "pip.py").write_text(PIP)  # python -m pip, started in the clone, finds this one first
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(work)]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"], ["tag", f"v{address.project()['version']}"]):
        subprocess.run([*git, *command], check=True)
    (work / "helpers" / "later.py").touch()  # after the tag
    for command in (["add", "-A"], ["commit", "-qm", "y"], ["clone", "-q", "--bare", str(work), str(origin)]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "content").mkdir()
    return tmp_path / "content", bootstrap("https://github.com/a/b").replace("https://github.com/a/b", origin.as_uri())


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_bootstrap_fetches_the_version_on_colab(colab):
    folder, cell = colab
    done = run_cell(folder, cell, COLAB_RELEASE_TAG="x")
    assert (done.returncode, done.stderr) == (0, "")
    clone = Path(done.stdout.strip())
    assert clone == folder / address.project()["name"]
    assert (clone / "helpers" / "__init__.py").exists() and not (clone / "helpers" / "later.py").exists()
    assert (clone / "there.txt").read_text() == "tensorflow==2.20.0\n"  # what must stay
    assert (clone / "installed").read_text() == "install -q -c there.txt -e .[train,edge] seaborn anywidget\n"


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_bootstrap_that_was_stopped_goes_on(colab):
    folder, cell = colab
    clone = folder / address.project()["name"]
    assert run_cell(folder, cell, KAGGLE_KERNEL_RUN_TYPE="x").returncode == 0
    (clone / "refuse").touch()
    done = run_cell(folder, cell, KAGGLE_KERNEL_RUN_TYPE="x")
    assert (
        done.returncode != 0
        and done.stderr.startswith("The project could not be fetched")
        and "Traceback" not in done.stderr
    )
    (clone / "refuse").unlink()
    assert run_cell(folder, cell, KAGGLE_KERNEL_RUN_TYPE="x").returncode == 0
    assert (clone / "installed").read_text().count("install") == 3


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_bootstrap_without_the_repository_is_one_sentence(colab):
    folder, cell = colab
    shutil.rmtree(folder.parent / "origin.git")
    done = run_cell(folder, cell, COLAB_RELEASE_TAG="x")
    assert done.returncode != 0 and "The project could not be fetched" in done.stderr and "Traceback" not in done.stderr


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
