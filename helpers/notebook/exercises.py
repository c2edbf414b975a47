"""Exercises that check themselves: `exercises.check("03.2", answer)`, `exercises.hint("03.2")`.

What is right is told by helpers/notebook/checks/notebook_NN.py, out of the reader's sight.
"""

import importlib
import inspect
import numbers
from collections.abc import Callable
from dataclasses import dataclass

from helpers.errors import UserError


@dataclass(frozen=True)
class Exercise:
    """What is right, and what helps. The test's first argument is the answer, others are variables of the notebook."""

    test: Callable[..., bool | str]
    hint: str


EXERCISES: dict[str, Exercise] = {}
solved: set[str] = set()
variables: dict[str, object] = {}  # of the notebook; filled by `setup`


def exercise(number: str, hint: str) -> Callable:
    """Decorates the test of an exercise: it returns True, or False or a sentence on what is wrong with the answer."""

    def add(test: Callable[..., bool | str]) -> Callable[..., bool | str]:
        """Registers the test under the number."""
        EXERCISES[number] = Exercise(test, hint)
        return test

    return add


def choice(number: str, right: str, hint: str) -> None:
    """Adds an exercise answered by letters: the right ones, all of them and no other, in any order."""

    @exercise(number, hint)
    def letters(answer):
        """Whether exactly the right letters are named, in any order and case."""
        given = "".join(answer) if isinstance(answer, list | tuple | set) else answer
        return isinstance(given, str) and set(given.lower()) - set(" ,;") == set(right)


def is_number(answer: object) -> bool:
    """Whether an answer is one real number, of Python or NumPy; True and False are none."""
    return isinstance(answer, numbers.Real) and not isinstance(answer, bool)


def check(number: str, answer: object) -> None:
    """Prints whether an exercise is solved, and how many of its notebook are.

    Args:
        number: of the exercise, such as "03.2".
        answer: the reader's answer; `...` (Ellipsis) means that it is still open.

    Raises:
        UserError: there is no such exercise.
    """
    test = _find(number).test
    if answer is ...:
        print(f"Exercise {number}: not answered yet")
        return
    wanted = list(inspect.signature(test).parameters)[1:]
    if missing := [name for name in wanted if name not in variables]:
        print(f"Exercise {number}: first run the cells above it; {', '.join(missing)} is not there yet.")
        return
    try:
        verdict = test(answer, *(variables[name] for name in wanted))
        right, reason = (False, f" {verdict}") if isinstance(verdict, str) else (bool(verdict), "")
    except Exception as error:  # an answer of the wrong type is a wrong answer, not a crash of the notebook
        right, reason = False, f" {type(error).__name__}: {error}."
    if right:
        solved.add(number)
        mine = [other for other in EXERCISES if other[:2] == number[:2]]
        print(f"Exercise {number}: correct. {len(solved.intersection(mine))} of {len(mine)} solved.")
    else:
        print(f'Exercise {number}: not yet.{reason} A hint: exercises.hint("{number}")')


def hint(number: str) -> None:
    """Prints the hint of an exercise; raises UserError if there is no such exercise."""
    print(_find(number).hint)


def _find(number: str) -> Exercise:
    """The exercise, from the module of its notebook."""
    try:
        importlib.import_module(f"helpers.notebook.checks.notebook_{str(number)[:2]}")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith(f"{__package__}.checks."):  # something that the checks import
            raise
    if number not in EXERCISES:
        raise UserError(f'There is no exercise {number!r}; they are numbered like "03.2".')
    return EXERCISES[number]
