"""The lists of packages: what is imported is required, what is required is explained, locked and installed."""

import ast
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement

from helpers import environment, paths
from helpers.errors import UserError

REQUIREMENTS = paths.ROOT / "requirements.txt"


def imported_packages() -> set[str]:
    """Distributions that helpers, notebooks and scripts import."""
    scripts = [p for folder in ("helpers", "data", "benchmarks") for p in (paths.ROOT / folder).glob("*.py")]
    sources = [p.read_text(encoding="utf-8") for p in scripts]
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        sources += [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    modules = set()
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(node.module.split(".")[0])
    distributions = importlib.metadata.packages_distributions()
    own = {"helpers"} | {p.stem for p in scripts}
    return {distributions[m][0].lower() for m in modules - set(sys.stdlib_module_names) - own}


def test_every_import_is_required():
    required = {r.name.lower() for r in environment.requirements()}
    assert imported_packages() - {"ipython"} <= required  # IPython comes with ipykernel, of which it is a part


def test_every_requirement_has_a_reason():
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or "  # " in line, f"no reason: {line}"


def test_constraints_pin_every_requirement_within_its_range():
    pins = {}
    for line in (paths.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            pin = Requirement(line)
            pins.setdefault(pin.name.lower(), []).append(str(pin.specifier).removeprefix("=="))
    for requirement in environment.requirements():
        assert requirement.name.lower() in pins, f"constraints.txt lacks {requirement.name}: make lock"
        for version in pins[requirement.name.lower()]:
            assert requirement.specifier.contains(version), f"{requirement} does not allow {version}"


def test_this_environment_fits():
    assert environment.problems(environment.requirements()) == {}


def test_a_missing_and_an_old_package_are_named():
    needed = [Requirement("no-such-package-xyz>=1"), Requirement("numpy>=999")]
    found = environment.problems(needed)
    assert found["no-such-package-xyz>=1"] == "not installed"
    assert found["numpy>=999"].startswith("found ")


def test_another_opencv_counts(monkeypatch):
    def version(name):
        if name == "opencv-python":
            return "4.12.0"
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(environment.metadata, "version", version)
    assert environment.installed(Requirement("opencv-python-headless>=4")) == "4.12.0"


def test_a_bad_line_is_named(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text("numpy>=2  # arrays\nnot a requirement!\n")
    with pytest.raises(UserError, match="line 2"):
        environment.requirements(file)


def test_only_missing_packages_are_installed_and_never_tensorflow(monkeypatch):
    commands = []
    monkeypatch.setattr(
        environment, "installed", lambda r: None if r.name in ("keras-tuner", "tensorflow", "keras", "ruff") else "1"
    )
    monkeypatch.setattr(environment.subprocess, "run", lambda command, check: commands.append(command))
    environment.install_missing()
    (command,) = commands
    assert [part.split(">")[0] for part in command[5:]] == ["keras-tuner"]


def bootstrap_cell() -> str:
    nb = nbformat.read(sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))[0], as_version=4)
    return next(c.source for c in nb.cells if "bootstrap" in c.metadata.get("tags", []))


def run_bootstrap(folder: Path, source: str, **variables: str) -> subprocess.CompletedProcess:
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


def test_bootstrap_finds_helpers_above_the_notebook():
    done = run_bootstrap(paths.NOTEBOOKS, bootstrap_cell())
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == paths.ROOT and done.stderr == ""


def test_bootstrap_elsewhere_says_what_to_do(tmp_path):
    done = run_bootstrap(tmp_path, bootstrap_cell())
    assert done.returncode != 0 and "pip install -e ." in done.stderr and "Traceback" not in done.stderr


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_bootstrap_fetches_the_tag_on_colab(tmp_path):
    # A small stand-in for the published repository: the cell clones its tag.
    origin = tmp_path / "origin"
    (origin / "helpers").mkdir(parents=True)
    for name in ("notebook.py", "__init__.py"):
        (origin / "helpers" / name).write_text("")
    (origin / "helpers" / "environment.py").write_text("import pathlib; pathlib.Path('installed').write_text('yes')\n")
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(origin)]
    source = bootstrap_cell()
    repository, tag = source.split('repository, tag = "')[1].split("\n")[0].rstrip('"').split('", "')
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "x"], ["tag", tag]):
        subprocess.run([*git, *command], check=True)
    colab = tmp_path / "content"
    colab.mkdir()
    for _ in range(2):  # the second time as after a restart of the kernel: the clone is there
        done = run_bootstrap(colab, source.replace(repository, str(origin)), COLAB_RELEASE_TAG="x")
        assert done.returncode == 0, done.stderr
    clone = Path(done.stdout.strip())
    assert clone.parent == colab and (clone / "installed").exists()


def test_repository_is_named_the_same_everywhere():
    import tomllib

    project = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = bootstrap_cell()
    assert f'"{project["urls"]["Repository"]}", "v{project["version"]}"' in source
    slug = project["urls"]["Repository"].removeprefix("https://github.com/")
    assert slug in (paths.ROOT / "README.md").read_text(encoding="utf-8")


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
    for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml"):
        shutil.copy(paths.ROOT / name, project)
    done = subprocess.run(["make", "run"], cwd=project, env={"PATH": str(fake.parent)}, capture_output=True, text=True)
    assert done.returncode != 0 and sentence in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1
