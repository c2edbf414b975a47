"""Exercises that check themselves, and their starters made from the solutions."""

import re
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


def starter(solution: str) -> str:
    """The exercise cell that belongs to a solution cell.

    A line `name = value  # solution` becomes `name = ...  # your turn`; other lines marked `# solution` go.
    """
    lines = []
    for line in solution.split("\n"):
        if not line.rstrip().endswith("# solution"):
            lines.append(line)
        elif match := re.match(r"(\s*\w+) = ", line):
            lines.append(f"{match[1]} = ...  # your turn")
    return "\n".join(lines)
