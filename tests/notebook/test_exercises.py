"""helpers.notebook.exercises: the self-check's three answers."""

import pytest

from helpers.notebook import exercises


@pytest.mark.parametrize(
    "answer, printed",
    [
        (..., "Exercise: not answered yet\n"),
        (3, "Exercise: correct\n"),
        (4, "Exercise: not yet. Count.\n"),
        (None, "Exercise: not yet. Count.\n"),
        ([], "Exercise: not yet. Count.\n"),
    ],
)
def test_check(capsys, answer, printed):
    exercises.check(answer, lambda a: a == 3, hint="Count.")
    assert capsys.readouterr().out == printed


def test_answer_of_a_wrong_type_is_no_crash(capsys):
    exercises.check("three", lambda a: abs(a - 3) < 1, hint="Count.")
    printed = capsys.readouterr().out
    assert printed.startswith("Exercise: not yet (TypeError: ") and printed.endswith("Count.\n")
