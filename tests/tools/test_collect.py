"""tools.collect: a class of thirty comes back as one table, right for each of them, whatever some hand in."""

import copy
import csv
import json
import random
import shutil
import zipfile

import nbformat
import pytest

from helpers.notebook import exercises
from helpers.notebook.checks import notebook_01, notebook_03  # noqa: F401  they register the real exercises, once
from tools import collect, handout, render

RIGHT, WRONG, OPEN = "correct", "wrong", "not answered"
BOOKS = ("01_exploration", "03_baseline_cnn")


@pytest.fixture(scope="module")
def empty():
    """Two notebooks as handed out."""
    texts = handout.books(nbgrader=False)
    return {name: texts[f"{name}.ipynb"] for name in BOOKS}


@pytest.fixture
def said(monkeypatch, capsys):
    """The sentence of the real `check` on a right, a wrong, no answer."""
    monkeypatch.setattr(exercises, "solved", set())
    numbers = [f"{number}.{n}" for number in ("01", "03") for n in range(1, 7)]
    made = {n: (lambda answer: [(answer or "Almost.", True)], "Count.") for n in numbers}
    monkeypatch.setattr(exercises, "EXERCISES", made)

    def sentence(number, result):
        exercises.check(number, {RIGHT: True, WRONG: False, OPEN: ...}[result])
        return capsys.readouterr().out

    return sentence


def answered(text, results, said):
    """A notebook with answers and the outputs that they leave; `results`: one for each exercise."""
    nb = nbformat.reads(text, as_version=4)
    for cell, result in zip([cell for cell in nb.cells if render.has(cell, "exercise")], results, strict=True):
        if result != OPEN:
            cell.source = cell.source.replace("...  # your turn", "my_answer")
        cell.outputs = [nbformat.v4.new_output("stream", text="a print of mine\n" + said(render.exercise(cell.source), result))]  # fmt: skip
    return nb


def exercise_cell(nb, number):
    return next(cell for cell in nb.cells if render.exercise(cell.source) == number)


def table(folder, *args):
    """Exit code, and the table as {(student, notebook, exercise): (result, reason)}."""
    target = folder.parent / "marks.csv"
    code = collect.main([str(folder), "--csv", str(target), *args])
    with open(target, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return code, {(r["student"], r["notebook"], r["exercise"]): (r["result"], r["reason"]) for r in rows}


def test_a_class_of_thirty(tmp_path, empty, said, capsys):
    """Each hands in two notebooks with answers of their own kind, as files, in folders or zipped; three are broken."""
    dice, folder, truth, broken = random.Random(0), tmp_path / "class 7b é", {}, []
    for n in range(30):
        student = f"pupil {n:02} ö"
        for name in BOOKS:
            results = [dice.choice((RIGHT, WRONG, OPEN)) for _ in range(6)]
            text = nbformat.writes(answered(empty[name], results, said))
            if n % 10 == 9 and name == BOOKS[0]:
                text = text[: len(text) // 2]
                broken.append(student)
            else:
                truth |= {(student, name, f"{name[:2]}.{k}"): result for k, result in enumerate(results, 1)}
            where = (f"{student}/deep/er/{name} (1).ipynb", f"{student}_{name}.ipynb", f"{student}.zip")[n % 3]
            (folder / where).parent.mkdir(parents=True, exist_ok=True)
            if where.endswith(".zip"):
                with zipfile.ZipFile(folder / where, "a") as archive:
                    archive.writestr(f"notebooks/{name}.ipynb", text)
            else:
                (folder / where).write_text(text, encoding="utf-8")
    code, found = table(folder)
    assert code == 1 and len(truth) == 57 * 6
    assert {key: result for key, (result, _) in found.items() if result != "not read"} == truth
    assert sorted(student for (student, *_), (result, _) in found.items() if result == "not read") == broken
    assert {reason for result, reason in found.values() if result == WRONG} == {"Almost."}
    out = capsys.readouterr().out
    counts = ", ".join(f"{list(truth.values()).count(result)} {result}" for result in (RIGHT, WRONG, OPEN))
    assert f"30 students, 57 notebooks; {counts}." in out and "can be forged" in out and "is not a notebook." in out


def one(tmp_path, nb, name="ann.ipynb"):
    """The table of a single returned notebook, without its student."""
    folder = tmp_path / "returned"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(nb if isinstance(nb, str) else json.dumps(nb), encoding="utf-8")
    code, found = table(folder)
    return code, {key[2]: value for key, value in found.items()}


def test_what_students_do_to_cells(tmp_path, empty, said):
    nb = answered(empty["03_baseline_cnn"], [RIGHT] * 6, said)
    exercise_cell(nb, "03.1").source = exercise_cell(nb, "03.1").source.replace("03.1", "03.9")  # another number
    nb.cells.remove(exercise_cell(nb, "03.2"))
    exercise_cell(nb, "03.3").outputs = []
    cell = exercise_cell(nb, "03.4")
    cell.outputs = [nbformat.v4.new_output("error", ename="NameError", evalue="name 'x' is not defined")]
    text = nbformat.reads(empty["03_baseline_cnn"], as_version=4)
    exercise_cell(nb, "03.5").source = exercise_cell(text, "03.5").source  # 'correct' under an empty cell
    exercise_cell(nb, "03.6").outputs[0].text = said("03.1", RIGHT)  # of another exercise
    code, found = one(tmp_path, nb)
    assert code == 0 and [found[f"03.{n}"] for n in range(1, 7)] == [
        (OPEN, "its cell is gone"),
        (OPEN, "its cell is gone"),
        (OPEN, "it was not run"),
        (WRONG, "NameError: name 'x' is not defined"),
        (OPEN, "'correct' stands under a cell without an answer"),
        (OPEN, "it was not run"),
    ]


def test_the_best_of_several_tries_counts_and_no_solution_does(tmp_path, empty, said):
    nb = answered(empty["03_baseline_cnn"], [WRONG] * 6, said)
    again = answered(empty["03_baseline_cnn"], [RIGHT] * 6, said)
    nb.cells.append(exercise_cell(again, "03.1"))
    solution = copy.deepcopy(exercise_cell(again, "03.2"))
    solution.metadata["tags"] = ["solution"]
    nb.cells.append(solution)
    exercise_cell(nb, "03.3").outputs[0].text += said("03.3", RIGHT)  # checked twice in one cell
    _, found = one(tmp_path, nb)
    assert [found[f"03.{n}"][0] for n in range(1, 5)] == [RIGHT, WRONG, RIGHT, WRONG]
    # A second file of the same student, with a better answer.
    folder = tmp_path / "returned"
    (folder / "ann_03_baseline_cnn.ipynb").write_text(nbformat.writes(again), encoding="utf-8")
    _, found = table(folder)
    assert found["ann", "03_baseline_cnn", "03.2"][0] == RIGHT


CHECKS = '{"cell_type": "code", "source": "exercises.check(\\"03.1\\", 1)", "outputs": %s}'


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "7", '{"cells": 5}', '{"cells": [[], 3, {"cell_type": "code"}]}', "[" * 100_000, "\ud800"[:0] + "{",
     '{"cells": [{"cell_type": "code", "metadata": 3, "source": [3, null]}]}', '{"worksheets": []}',
     '{"cells": [{"cell_type": "code", "source": "exercises.check(\\"99.1\\", 1)"}]}'],
)  # fmt: skip
def test_what_is_no_notebook_is_one_row(tmp_path, text):
    code, found = one(tmp_path, text)
    assert code == 1 and list(found) == [""] and found[""][0] == "not read"


@pytest.mark.parametrize("outputs", ["3", "null", "[3, null]", '[{"name": "stdout", "text": {"a": 1}}]',
                                     '[{"output_type": "error", "ename": 3}]', '[{"name": "stdout", "text": [1, "Exercise 03.1: "]}]'])  # fmt: skip
def test_odd_outputs_are_no_answer(tmp_path, outputs):
    code, found = one(tmp_path, '{"cells": [%s]}' % (CHECKS % outputs))
    assert code == 0 and found["03.1"][0] in (OPEN, WRONG) and found["03.2"] == (OPEN, "its cell is gone")


def test_hostile_names_and_files(tmp_path, empty, said, monkeypatch, capsys):
    folder = tmp_path / "returned"
    nb = answered(empty["03_baseline_cnn"], [WRONG] * 6, said)
    exercise_cell(nb, "03.1").outputs[0].text = "Exercise 03.1: not yet. =HYPERLINK(1)\x1b[2J" + "x" * 1000 + "\n"
    for name in ("=cmd|'C' !A1", "\uff1d1+1", "-2\n3"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.ipynb").write_text(nbformat.writes(nb), encoding="utf-8")
    (folder / "bomb.zip").write_bytes(b"PK\x03\x04 no zip")
    with zipfile.ZipFile(folder / "big.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.ipynb", b" " * 2_000_000)
    (folder / "loop").symlink_to(folder)
    (folder / "link.ipynb").symlink_to("/etc/passwd")
    (folder / "folder.ipynb").mkdir()
    shutil.copytree(folder / "=cmd|'C' !A1", folder / "=cmd|'C' !A1" / ".ipynb_checkpoints")
    monkeypatch.setattr(collect, "MAX_BYTES", 1_000_000)
    code, found = table(folder)
    assert code == 1
    names = {student for student, *_ in found}
    assert names == {"'=cmd|'C' !A1", "'\uff1d1+1", "'-2�3", "bomb", "big", "folder"}
    reason = found["'=cmd|'C' !A1", "03_baseline_cnn", "03.1"][1]
    assert reason.startswith("'=HYPERLINK") and len(reason) <= collect.MAX_REASON + 1 and "\x1b" not in reason
    assert "larger than 1 MB" in found["big", "big.zip/a.ipynb", ""][1]
    assert "\x1b" not in capsys.readouterr().out


def test_wrong_usage(tmp_path, capsys):
    assert collect.main([str(tmp_path)]) == 2 and "holds no notebook" in capsys.readouterr().err
    assert collect.main([str(tmp_path / "none")]) == 2
    assert collect.main([str(tmp_path), "--minutes", "0"]) == 2


def code(*sources):
    """A notebook of a few cells, the last with a forged output."""
    cells = [nbformat.v4.new_code_cell(source) for source in ("from helpers.notebook import exercises", *sources)]
    cells[-1].outputs = [nbformat.v4.new_output("stream", text="Exercise 03.4: correct. 1 of 6 solved.\n")]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


PROBE = """\
import errno, socket
try:
    socket.create_connection(("127.0.0.1", 9), 1)
except OSError as error:
    cut = error.errno == errno.ENETUNREACH
exercises.check("03.6", "acd" if cut else "a")"""


def test_run_believes_the_code_and_not_the_stored_output(tmp_path, capsys):
    """Also: a cell that fails does not stop the others, and the code has no network where that can be had."""
    folder = tmp_path / "returned"
    folder.mkdir()
    (folder / "ann.ipynb").write_text(code("1 / 0", PROBE, 'exercises.check("03.4", 3)'), encoding="utf-8")
    assert table(folder)[1]["ann", "03_baseline_cnn", "03.4"][0] == RIGHT
    status, found = table(folder, "--run")
    assert status == 0 and found["ann", "03_baseline_cnn", "03.4"][0] == WRONG
    cut = collect.network_can_be_cut()
    assert found["ann", "03_baseline_cnn", "03.6"][0] == (RIGHT if cut else WRONG)
    assert ("could not cut the network" in capsys.readouterr().out) is not cut


def test_run_ends_what_does_not_end(tmp_path):
    folder = tmp_path / "returned"
    folder.mkdir()
    (folder / "bob.ipynb").write_text(code("while True: pass", 'exercises.check("03.4", 3)'), encoding="utf-8")
    status, found = table(folder, "--run", "--minutes", "0.1")
    assert status == 1 and found["bob", "bob.ipynb", ""][1] == "did not end within 0.1 minutes"
