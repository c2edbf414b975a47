"""helpers.notebook.exercises: what is right, wrong, open; hints and the score."""

import numpy as np
import pytest

from helpers import paths
from helpers.errors import UserError
from helpers.notebook import exercises
from helpers.notebook.exercises import EXERCISES, check, choice, exercise, hint


@pytest.fixture(autouse=True)
def three(monkeypatch):
    """Exercises of a notebook 03 of which nothing else is known."""
    monkeypatch.setattr(exercises, "EXERCISES", {})
    monkeypatch.setattr(exercises, "solved", set())
    monkeypatch.setattr(exercises, "variables", {"things": [1, 2, 3]})
    monkeypatch.setattr(exercises.importlib, "import_module", lambda name: None)

    @exercise("03.1", hint="Count.")
    def count(answer, things):
        yield "Too many.", answer > len(things)
        yield True, answer == len(things)

    @exercise("03.2", hint="Look.")
    def mean(answer, no_such_variable):
        yield True, True

    choice("03.3", right="bd", hint="Two are right.")

    @exercise("03.4", hint="One number.")
    def ambiguous(answer):
        yield True, np.asarray(answer) == 3


def said(capsys, number, answer):
    check(number, answer)
    return capsys.readouterr().out


@pytest.mark.parametrize("answer", [2, 3.1, None, "3", [], {}, np.zeros(3), np.nan])
def test_wrong(capsys, answer):
    assert said(capsys, "03.1", answer).startswith("Exercise 03.1: not yet.")
    assert not exercises.solved


def test_right_open_and_the_reason(capsys):
    assert said(capsys, "03.1", ...) == "Exercise 03.1: not answered yet\n"
    assert said(capsys, "03.1", 4) == 'Exercise 03.1: not yet. Too many. A hint: exercises.hint("03.1")\n'
    assert "TypeError" in said(capsys, "03.1", "three")
    assert said(capsys, "03.1", np.int64(3)) == "Exercise 03.1: correct. 1 of 4 solved.\n"
    assert said(capsys, "03.1", 3) == "Exercise 03.1: correct. 1 of 4 solved.\n"


@pytest.mark.parametrize("answer, right", [("bd", True), ("DB", True), ("b, d", True), (["b", "d"], True), ({"d", "b"}, True),
                                           ("b", False), ("bcd", False), ("", False), (None, False), (2, False), (["bd", 1], False)])  # fmt: skip
def test_letters(capsys, answer, right):
    assert ("correct" in said(capsys, "03.3", answer)) is right


def test_a_cell_that_was_not_run(capsys):
    assert "first run the cells above it; no_such_variable" in said(capsys, "03.2", 1)


def test_an_array_where_a_number_is_wanted_is_wrong_and_no_crash(capsys):
    assert "not yet. ValueError" in said(capsys, "03.4", [3, 3])
    assert "correct" in said(capsys, "03.4", 3)


def test_hints(capsys):
    hint("03.1")
    assert capsys.readouterr().out == "Count.\n"
    for call in (hint, lambda number: check(number, 1)):
        for number in ("03.9", "99.1", 3, None):
            with pytest.raises(UserError, match="There is no exercise"):
                call(number)


def test_checks_that_lack_a_package_are_not_taken_for_none(monkeypatch):
    def lacking(name):
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr(exercises.importlib, "import_module", lacking)
    with pytest.raises(ModuleNotFoundError, match="scipy"):
        hint("03.1")


@pytest.mark.parametrize("answer, expected", [(1, True), (0.5, True), (np.float32(1), True), (True, False), ("1", False), (None, False), ([1], False)])  # fmt: skip
def test_is_number(answer, expected):
    assert exercises.is_number(answer) is expected


def test_every_notebook_has_its_checks(monkeypatch):
    monkeypatch.undo()
    for file in sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb")):
        number = file.stem[:2]
        exercises._find(f"{number}.1")
        mine = sorted(name for name in EXERCISES if name.startswith(number))
        assert mine == [f"{number}.{n}" for n in range(1, len(mine) + 1)] and len(mine) >= 3
