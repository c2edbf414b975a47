"""The parameters of the notebooks: each name has one meaning, type and range.

A notebook's `parameters` cell chooses among these names and sets its defaults. The same rules hold whether a
value comes from the runner, from papermill or from a reader's hand.
"""

import ast
import difflib
import json
import math
import re
import reprlib
from dataclasses import dataclass

from helpers import paths
from helpers.errors import UserError

# Shows a refused value in a sentence: a file of half a kilobyte can hold lists in lists whose repr never ends.
SHORT = reprlib.Repr()
SHORT.maxlevel, SHORT.maxstring = 1, 60


@dataclass(frozen=True)
class Rule:
    """What a parameter accepts: a type, a smallest and largest value, or a pattern for text."""

    type: type
    low: float = -math.inf
    high: float = math.inf
    pattern: str = ".*"
    wanted: str = ""


# A folder name on every system, Windows with its devices included; not the folder that holds what is shipped.
RUN = r"(?!(?i:reference|(con|prn|aux|nul|com\d|lpt\d)(\..*)?)$)[^\s./\\:*?\"<>|][^/\\:*?\"<>|\x00-\x1f\x7f]*(?<![. ])"

RULES = {
    "RUN": Rule(str, pattern=RUN, wanted="a folder name that every system allows, without slashes, not 'reference'"),
    "SEED": Rule(int, 0, 2**31 - 1),
    "DATASET": Rule(str, pattern=r".+", wanted="mnist, fashion_mnist or the path of an .npz file"),
    "IMAGE": Rule(str, wanted="the path of a picture, or nothing"),
    "OTHER_DIGITS": Rule(str, wanted="the path of an .npz file, or nothing"),
    "LEARNING_RATE": Rule(float, 1e-7, 1.0),
    "ROTATION": Rule(float, 0.0, 180.0),
    "SHIFT": Rule(float, 0.0, 0.5),
    "ZOOM": Rule(float, 0.0, 0.9),
    "NOISE": Rule(float, 0.0, 1.0),
}
LEAST = {  # whole numbers, by the smallest that is accepted
    1: "EPOCHS BATCH_SIZE EXPERIMENT_EPOCHS SEARCH_EPOCHS FINAL_EPOCHS TIMING_STEPS",
    2: "REPEATS TRIALS",
    20: "FORMS",
    32: "PICTURES",  # one of each kind
    50: "ATTACKED_SIZE",
    100: "TRAIN_SIZE VALIDATION EXPERIMENT_SIZE EMBEDDING_SIZE CLASSICAL_TRAIN_SIZE CORRUPTED_SIZE SEARCH_TRAIN_SIZE",
}
RULES |= {name: Rule(int, low) for low, names in LEAST.items() for name in names.split()}


def check(values: dict[str, object], where: str, known: list[str] | None = None) -> dict[str, object]:
    """Checks parameter values against RULES and returns them, whole numbers widened to float where one is meant.

    `where` starts the error sentence; `known` limits the names that may occur (all of RULES by default).
    Raises UserError on the first unknown name, wrong type or value out of range.
    """
    names = list(RULES if known is None else known)
    return {name: _checked(name, value, where, names) for name, value in values.items()}


def _checked(name: str, value: object, where: str, names: list[str]) -> object:
    if name not in names:
        close = difflib.get_close_matches(str(name).upper(), names, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(names))}."
        raise UserError(f"{where}: unknown parameter {str(name):.60}; {hint}")
    rule = RULES[name]
    if rule.type is float and type(value) is int:
        value = float(value)
    if type(value) is not rule.type:
        kind = {int: "a whole number", float: "a number", str: "text"}[rule.type]
        raise UserError(f"{where}: {name} = {SHORT.repr(value)} must be {kind}.")
    if rule.type is str:
        if not re.fullmatch(rule.pattern, value):
            raise UserError(f"{where}: {name} = {SHORT.repr(value)} must be {rule.wanted}.")
    elif not rule.low <= value <= rule.high:  # NaN fails this too
        limits = f"at least {rule.low:g}" if math.isinf(rule.high) else f"between {rule.low:g} and {rule.high:g}"
        raise UserError(f"{where}: {name} = {SHORT.repr(value)} must be {limits}.")
    return value


def parse(name: str, text: str) -> object:
    """A value given on the command line, as the type that `name` has; left as text where that fails, for `check` to refuse."""
    kind = RULES[name].type if name in RULES else str
    try:
        return kind(text)
    except ValueError:
        return text


def defaults(notebook: str) -> dict[str, object]:
    """The values in the parameters cell of notebooks/, RUN left out; none if the file is not there, or is edited."""
    try:
        cells = json.loads((paths.NOTEBOOKS / f"{notebook}.ipynb").read_text("utf-8"))["cells"]
        [cell] = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        lines = [line for line in ast.parse("".join(cell["source"])).body if isinstance(line, ast.Assign)]
        values = {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, AttributeError):
        return {}
    return {name: value for name, value in values.items() if name != "RUN"}
