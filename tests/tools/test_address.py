"""tools.address: badges and bootstrap follow pyproject.toml, and nothing else in a notebook or the README changes."""

import shutil

import nbformat
import pytest

from helpers import paths
from helpers.errors import UserError
from helpers.series.runner import Notebook
from tools import address, render

HOME = "https://github.com/some-body/some.thing"


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
        about = {"name": "handwritten-digits", "version": "1.2.3", "repository": repository}
        monkeypatch.setattr(address, "project", lambda: about)
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
        place = f"github/some-body/some.thing/blob/main/notebooks/{file.name}"
        assert f"(https://colab.research.google.com/{place}) [![Slides]" in badges
        assert badges.endswith(f"(https://nbviewer.org/format/slides/{place})")
        assert f'"--branch", "v1.2.3", "{HOME}"' in nb.cells[2].source
        compile(nb.cells[2].source, file.name, "exec")
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert f"{HOME}/actions/workflows/tests.yml)" in readme
    assert (
        "(https://colab.research.google.com/github/some-body/some.thing/blob/main/notebooks/01_exploration.ipynb)"
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
    assert address.project(file) == {"name": "a", "version": "1", "repository": HOME}
    file.write_text('[project]\nname = "a"\nversion = "1"\n')
    assert address.project(file)["repository"] is None
