"""Exercises that check themselves."""

from collections.abc import Callable


def check(answer: object, test: Callable[[object], bool], hint: str) -> None:
    """Prints whether an exercise is solved.

    Args:
        answer: the reader's answer; `...` (Ellipsis) means that it is still open.
        test: returns whether an answer is right; one that raises an exception is wrong.
        hint: printed with a wrong answer.
    """
    if answer is ...:
        print("Exercise: not answered yet")
        return
    try:
        correct = bool(test(answer))
    except Exception as error:  # an answer of the wrong type is a wrong answer, not a crash of the notebook
        print(f"Exercise: not yet ({type(error).__name__}: {error}). {hint}")
        return
    print("Exercise: correct" if correct else f"Exercise: not yet. {hint}")
