"""tools.handout: what students get is complete, empty, and the same bytes each time; what nbgrader gets fits its schema."""

import ast
import re
import zipfile

import nbformat
import pytest

from helpers import paths
from helpers.notebook.run import declared
from tools import handout, render
from tools.address import project

NAMES = [path.name for path in sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))]


def read(text):
    return nbformat.reads(text, as_version=4)


@pytest.fixture(scope="module")
def student():
    """The notebooks as students get them."""
    return {name: read(text) for name, text in handout.books(nbgrader=False).items()}


@pytest.fixture(scope="module")
def graded():
    """The notebooks as nbgrader gets them."""
    return {name: read(text) for name, text in handout.books(nbgrader=True).items()}


def kept(name):
    return nbformat.read(paths.NOTEBOOKS / name, as_version=4)


def test_no_solution_and_no_output_is_left(student):
    assert list(student) == NAMES
    for name, nb in student.items():
        text = "\n".join(cell.source for cell in nb.cells)
        assert "# solution" not in text and "## Solutions" not in text
        assert not any(render.has(cell, "solution") or cell.get("outputs") for cell in nb.cells)
        solved = [cell.source for cell in kept(name).cells if render.has(cell, "solution")]
        assert [cell.source for cell in nb.cells if render.has(cell, "exercise")] == list(map(render.starter, solved))
        # An answer can also stand in the text between solutions, headed by its number.
        assert not re.search(r"^\*\*\d\d\.\d\*\* ", text, re.MULTILINE)


def test_all_else_is_as_it_was(student):
    """Only what stands between the headings Solutions and Recap goes, and of that no code but solutions."""
    for name, nb in student.items():
        cells = kept(name).cells
        start = next(n for n, cell in enumerate(cells) if handout.SOLUTIONS.search(cell.source))
        about = project() | {"repository": None}
        before = nbformat.v4.new_notebook(cells=cells[:start])
        handout.address(before, name.removesuffix(".ipynb"), about)
        assert [cell.source for cell in nb.cells[:start]] == [cell.source for cell in before.cells]
        code = [cell.source for cell in cells[start:] if cell.cell_type == "code" and not render.has(cell, "solution")]
        assert [cell.source for cell in nb.cells[start:] if cell.cell_type == "code"] == code
        assert nb.cells[-1].source == cells[-1].source and nb.cells[-1].source.startswith("## Recap")


def test_the_rest_needs_nothing_from_the_solutions(student):
    """A name that a later cell reads is not made by a solution alone."""
    for name, nb in student.items():
        made, read_names = set(), set()
        for cell in nb.cells:
            for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
                if isinstance(node, ast.Name):
                    (made if isinstance(node.ctx, ast.Store) else read_names).add(node.id)
        solved = [cell.source for cell in kept(name).cells if render.has(cell, "solution")]
        only = {
            node.id
            for source in solved
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        } - made
        assert not only & read_names - {node.arg for cell in nb.cells if cell.cell_type == "code" for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.arg)}  # fmt: skip


def test_the_packed_files_are_what_the_notebooks_need(student):
    found = handout.files()
    for nb in student.values():
        for need in declared(nb.cells[1].source, "Needs"):
            place = need if need.startswith(("data/", "outputs/")) else f"outputs/reference/{need}"
            assert place in found or any(name.startswith(place) for name in found)
        for target in re.findall(r"\]\(([^)#]+)", "\n".join(cell.source for cell in nb.cells)):
            assert target in student or f"notebooks/{target}" in found or target.startswith("https://")
    assert {"data/mnist.npz", "pyproject.toml", "tools/simulate/photos.py", "helpers/notebook/pad.js"} <= set(found)
    assert not any("__pycache__" in name or name.startswith(("tests", "outputs/latest")) for name in found)


def test_the_zip_is_the_same_each_time(tmp_path, monkeypatch):
    contents = {"b.txt": b"two", "a/ä.txt": b"one" * 1000}
    handout.write_zip(tmp_path / "one.zip", contents)
    handout.write_zip(tmp_path / "two.zip", dict(reversed(contents.items())))
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == contents
    assert handout.books(nbgrader=True) == handout.books(nbgrader=True)


def test_the_nbgrader_command(outputs, capsys):
    assert handout.main(["--nbgrader"]) == 0
    assert f"digits-nbgrader.zip: {len(NAMES)} notebooks" in capsys.readouterr().out
    with zipfile.ZipFile(outputs / "handout" / "digits-nbgrader.zip") as archive:
        names = archive.namelist()
    assert "digits-nbgrader/nbgrader_config.py" in names and f"digits-nbgrader/source/digits/{NAMES[0]}" in names


# --- nbgrader

# nbgrader's schema of a cell's metadata, version 3: the keys and their types; grade_id is unique in a notebook.
SCHEMA = {"schema_version": int, "grade": bool, "locked": bool, "solution": bool, "task": bool, "grade_id": str, "points": int}  # fmt: skip


def test_metadata_fit_nbgraders_schema(graded):
    for name, nb in graded.items():
        found = [cell.metadata["nbgrader"] for cell in nb.cells if "nbgrader" in cell.metadata]
        assert len({meta["grade_id"] for meta in found}) == len(found) > 0
        for meta in found:
            assert all(type(value) is SCHEMA[key] for key, value in meta.items()) and meta["schema_version"] == 3
            assert re.fullmatch(r"[a-zA-Z0-9_\-]+", meta["grade_id"])
            assert meta["grade"] is ("points" in meta) is meta["locked"] is not meta["solution"]
        text = "\n".join(cell.source for cell in kept(name).cells)
        levels = re.findall(r"^### Exercise \d\d\.\d \((.*)\)", text, re.MULTILINE)
        assert [meta["points"] for meta in found if meta["grade"]] == [handout.POINTS[level] for level in levels]


def test_nbgrader_makes_the_exercises_of_the_handout(graded, student):
    """What it leaves when it empties the marked regions, followed by the cell of tests, is the exercise."""
    for name, nb in graded.items():
        made = []
        for cell in nb.cells:
            meta = cell.metadata.get("nbgrader", {})
            if meta.get("solution"):
                assert cell.source.count("### BEGIN SOLUTION\n") == cell.source.count("### END SOLUTION") == 1
                made.append(re.sub(r"### BEGIN SOLUTION.*### END SOLUTION", "", cell.source, flags=re.DOTALL))
            elif meta.get("grade"):
                made[-1] += cell.source.rpartition("\nassert ")[0]
        assert made == [cell.source for cell in student[name].cells if render.has(cell, "exercise")]


def test_the_cell_of_tests_fails_until_the_exercise_is_solved(graded, monkeypatch, capsys):
    from helpers.notebook import exercises

    monkeypatch.setattr(exercises, "solved", set())
    nb = graded["03_baseline_cnn.ipynb"]
    [answer] = [c.source for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "answer-03-6"]
    [test] = [c.source for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == "test-03-6"]
    for empty in (True, False):
        names = {"exercises": exercises}
        exec(answer.split("### BEGIN")[0] if empty else answer, names)
        if empty:
            with pytest.raises(AssertionError, match="Exercise 03.6 is not solved"):
                exec(test, names)
        else:
            exec(test, names)
    assert "not answered yet" in capsys.readouterr().out
