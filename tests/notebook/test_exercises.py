"""helpers.exercises: starters made from solutions, and the self-check's three answers."""

import pytest

from helpers.notebook import exercises

SOLUTION = """\
import numpy as np
# A comment that stays.
helper = 3  # solution
    inner = f(x, key=1)  # solution
answer = [
    1,
]
extra(helper)  # solution
note = "# solution is a word here"
exercises.check(answer, lambda a: a == 3, hint="Count.")"""

STARTER = """\
import numpy as np
# A comment that stays.
helper = ...  # your turn
    inner = ...  # your turn
answer = [
    1,
]
note = "# solution is a word here"
exercises.check(answer, lambda a: a == 3, hint="Count.")"""


def test_starter_blanks_what_is_marked_and_nothing_else():
    assert exercises.starter(SOLUTION) == STARTER


def test_starter_of_a_starter_is_itself():
    assert exercises.starter(STARTER) == STARTER


def test_starter_drops_what_is_no_assignment():
    assert exercises.starter("a.b = 3  # solution\nx == 3  # solution\nx += 1  # solution\nend") == "end"


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
