"""tools.address: badges and bootstrap follow pyproject.toml, and nothing else in a notebook or the README changes."""

import shutil
import subprocess

import nbformat
import pytest

from helpers import paths
from helpers.errors import UserError
from helpers.series.runner import Notebook
from tools import address, render

HOME = "https://github.com/some-body/some.thing"
COMMIT = "0123456789" * 4


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of two notebooks and the README, and how to write an address into them."""
    (tmp_path / "notebooks").mkdir()
    for name in ("01_exploration", "06_custom_image_prediction"):
        shutil.copy(paths.NOTEBOOKS / f"{name}.ipynb", tmp_path / "notebooks")
    shutil.copy(paths.ROOT / "README.md", tmp_path)
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(address, "README", tmp_path / "README.md")

    def write(repository):
        about = {"name": "handwritten-digits", "version": "1.2.3", "repository": repository, "commit": None}
        monkeypatch.setattr(address, "project", lambda: about)
        monkeypatch.setattr(address, "pin", lambda commit: COMMIT)
        monkeypatch.setattr(address, "write_commit", lambda commit: None)
        assert address.main() == 0
        return tmp_path

    return write


def contents(root):
    return {file.name: file.read_bytes() for file in [*root.glob("notebooks/*"), root / "README.md"]}


def test_with_an_address(copied):
    root = copied(HOME)
    for file in (root / "notebooks").glob("*.ipynb"):
        nb = nbformat.read(file, as_version=4)
        title, badges, result = nb.cells[0].source.split("\n\n")
        assert title.startswith("# 0") and result.startswith("**Result:**")
        place = f"github/some-body/some.thing/blob/v1.2.3/notebooks/{file.name}"
        assert f"(https://colab.research.google.com/{place}) [![Open in Kaggle]" in badges
        assert f"(https://kaggle.com/kernels/welcome?src={HOME}/blob/v1.2.3/notebooks/{file.name}) [![Slides]" in badges
        assert (
            f"(https://nbviewer.org/format/slides/{place})<br>**In Colab or Kaggle**" in badges and "\n" not in badges
        )
        assert f"[Glossary]({HOME}/blob/v1.2.3/notebooks/glossary.md)" in badges
        assert f'address = "{HOME}"' in nb.cells[2].source
        assert f'commit = "{COMMIT}"  # tag v1.2.3' in nb.cells[2].source
        compile(nb.cells[2].source, file.name, "exec")
        lines = nb.cells[2].source.splitlines()
        assert sum(map(bool, lines)) <= 25 and max(map(len, lines)) <= 100
        assert lines[0].startswith("# @title ") and nb.cells[2].metadata["cellView"] == "form"  # Colab folds it
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert f"{HOME}/actions/workflows/tests.yml)" in readme
    assert (
        "(https://colab.research.google.com/github/some-body/some.thing/blob/v1.2.3/notebooks/01_exploration.ipynb)"
        in readme
    )


def test_there_and_back_leaves_no_trace(copied):
    before = contents(copied(None))
    assert all(b"github.com" not in content and b"[![" not in content for content in before.values())
    with_address = contents(copied(HOME))
    assert all(before[name] != with_address[name] for name in before)
    assert contents(copied("https://github.com/other/place")) != with_address
    assert contents(copied(None)) == before


def test_what_is_rendered_and_up_to_date_stays_so(copied):
    def seen():
        files = sorted(copied(repository).glob("notebooks/*.ipynb"))
        return [(render.fingerprint(nbformat.read(file, as_version=4)), Notebook.read(file).code()) for file in files]

    repository = None
    before = seen()
    repository = HOME
    assert seen() == before


def test_outputs_are_taken_over_from_a_run_before_the_address(copied, tmp_path):
    file = copied(None) / "notebooks" / "01_exploration.ipynb"
    executed = shutil.copy(file, tmp_path / "executed.ipynb")
    copied(HOME)
    nb = render.take_outputs(file, executed)
    assert nb.cells[2].source == nbformat.read(file, as_version=4).cells[2].source
    assert [c.execution_count for c in nb.cells if c.cell_type == "code"][:3] == [1, 2, 3]
    nb.cells[4].source += "\n1"
    nbformat.write(nb, file)
    with pytest.raises(UserError, match="ran other code"):
        render.take_outputs(file, executed)


@pytest.mark.parametrize(
    "repository",
    ["http://github.com/a/b", "https://example.org/a/b", 'https://github.com/a/b"; x', "github.com/a/b", 3],
)
def test_an_address_that_would_not_work_is_refused(tmp_path, repository):
    file = tmp_path / "pyproject.toml"
    value = f"'{repository}'" if isinstance(repository, str) else repository
    file.write_text(f'[project]\nname = "a"\nversion = "1"\n[project.urls]\nRepository = {value}\n')
    with pytest.raises(UserError, match="must be https://github.com/OWNER/NAME"):
        address.project(file)


def test_the_address_is_read(tmp_path):
    file = tmp_path / "pyproject.toml"
    file.write_text(f'[project]\nname = "a"\nversion = "1"\n[project.urls]\nRepository = "{HOME}"\n')
    about = {"name": "a", "version": "1", "repository": HOME, "commit": None}
    assert address.project(file) == about
    file.write_text(f'{file.read_text()}[tool.handwritten-digits]\ncommit = "{COMMIT}"\n')
    assert address.project(file) == about | {"commit": COMMIT}
    file.write_text('[project]\nname = "a"\nversion = "1"\n')
    assert address.project(file)["repository"] is None


# --- the commit that cells fetch


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small project in a git repository of its own, with an address; gives a function that runs git there."""
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "a.py").write_text("1")
    (tmp_path / "README.md").write_text("# Title\n<!-- badges: x -->\n<!-- end of badges -->\n")
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "a"\nversion = "1"\nurls.Repository = "{HOME}"\n')
    for module, name, place in ((paths, "ROOT", ""), (paths, "NOTEBOOKS", "notebooks"), (address, "README", "README.md"),
                                (address, "PYPROJECT", "pyproject.toml")):  # fmt: skip
        monkeypatch.setattr(module, name, tmp_path / place)
    monkeypatch.setattr(address, "FETCHED", ("helpers",))
    monkeypatch.setattr(address, "project", lambda read=address.project: read(tmp_path / "pyproject.toml"))

    def git(*command):
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *command]
        return subprocess.run(git, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "code")
    return git


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_stays_until_the_code_changes(repository, tmp_path, capsys):
    first = repository("rev-parse", "HEAD")
    for _ in range(2):  # the second time on top of what the first one wrote
        assert address.main() == 0 and address.project()["commit"] == first
        repository("commit", "-qam", "address", "--allow-empty")
    (tmp_path / "helpers" / "a.py").write_text("2")
    assert address.main() == 1 and "commit helpers first" in capsys.readouterr().err
    repository("commit", "-qam", "more code")
    assert address.main() == 0 and address.project()["commit"] == repository("rev-parse", "HEAD") != first
    (tmp_path / "helpers" / "b.py").touch()  # no commit holds it
    assert address.main() == 1


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_without_git_it_is_said(repository, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    assert address.main() == 1 and "git is needed" in capsys.readouterr().err
