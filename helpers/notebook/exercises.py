"""Exercises that check themselves: `exercises.check("03.2", answer)`, `exercises.hint("03.2")`.

What is right is told by helpers/notebook/checks/notebook_NN.py, out of the reader's sight.
"""

import importlib
import inspect
import numbers
from collections.abc import Callable, Iterator

from helpers.errors import UserError

Test = Callable[..., Iterator[tuple[bool | str, bool]]]  # see `exercise`

EXERCISES: dict[str, tuple[Test, str]] = {}  # number → what is right, and what helps
solved: set[str] = set()
variables: dict[str, object] = {}  # of the notebook; filled by `setup`


def exercise(number: str, hint: str) -> Callable[[Test], Test]:
    """Decorates the test of an exercise, a generator of verdicts, each with whether it holds: the first that does counts.

    A verdict is True, False, or a sentence on what is wrong; if none holds, the answer is wrong, too. What comes after
    the first that holds is not computed. The first argument is the answer, others are variables of the notebook.
    """

    def add(test: Test) -> Test:
        """Registers the test under the number."""
        EXERCISES[number] = test, hint
        return test

    return add


def choice(number: str, right: str, hint: str) -> None:
    """Adds an exercise answered by letters: the right ones, all of them and no other, in any order."""

    @exercise(number, hint)
    def letters(answer):
        """Whether exactly the right letters are named, in any order and case."""
        given = "".join(answer) if isinstance(answer, list | tuple | set) else answer
        yield True, isinstance(given, str) and set(given.lower()) - set(" ,;") == set(right)


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
    test, _ = _find(number)
    if answer is ...:
        print(f"Exercise {number}: not answered yet")
        return
    wanted = list(inspect.signature(test).parameters)[1:]
    if missing := [name for name in wanted if name not in variables]:
        print(f"Exercise {number}: first run the cells above it; {', '.join(missing)} is not there yet.")
        return
    try:
        verdicts = test(answer, *(variables[name] for name in wanted))
        verdict = next((verdict for verdict, holds in verdicts if holds), False)
    except Exception as error:  # an answer of the wrong type is a wrong answer, not a crash of the notebook
        verdict = f"{type(error).__name__}: {error}."
    if verdict is True:
        solved.add(number)
        mine = [other for other in EXERCISES if other[:2] == number[:2]]
        print(f"Exercise {number}: correct. {len(solved.intersection(mine))} of {len(mine)} solved.")
    else:
        reason = f" {verdict}" if verdict else ""
        print(f'Exercise {number}: not yet.{reason} A hint: exercises.hint("{number}")')


def hint(number: str) -> None:
    """Prints the hint of an exercise; raises UserError if there is no such exercise."""
    print(_find(number)[1])


def _find(number: str) -> tuple[Test, str]:
    """Test and hint of an exercise, from the module of its notebook."""
    try:
        importlib.import_module(f"helpers.notebook.checks.notebook_{str(number)[:2]}")
    except ModuleNotFoundError as error:
        if not str(error.name).startswith(f"{__package__}.checks."):  # something that the checks import
            raise
    if number not in EXERCISES:
        raise UserError(f'There is no exercise {number!r}; they are numbered like "03.2".')
    return EXERCISES[number]
