"""How well simulated lines and pages of digits are read, by condition: python benchmarks/lines.py.

Simulates pictures from MNIST TEST digits (data/make_lines.py), reads them with helpers.lines, and compares with what was
written: the share of pictures and of rows read exactly right, and of characters (1 - edit distance / length). Prints a
table and writes outputs/reference/lines.json. Simulated pictures tell which condition hurts; they do not tell how well
real ones are read, and nothing may be chosen on them.

python benchmarks/lines.py --fit finds the weights of helpers/lines.py instead, on lines of TRAINING digits, and writes
outputs/reference/line_weights.json; about five minutes.
"""

import argparse
import sys
import time
import zlib
from typing import NamedTuple

import cv2
import numpy as np

from helpers import data, paths
from helpers.errors import NoDigit, UserError
from helpers.files import write_json
from helpers.images.page import Row
from helpers.notebook.run import environment
from helpers.predict import lines
from helpers.predict.predictor import Predictor

sys.path.append(str(paths.DATA))  # a folder of files, not a package
import make_lines  # noqa: E402

PAGES = ("page", "page photo")  # a hundred digits each: a fifth as many pictures tell as much
RIDGE = 2.0  # keeps weights that hardly matter small
HOPELESS = 12.0  # nats beyond which a row cannot be read with the pieces it has


def chance(condition: str, number: int, seed: int) -> np.random.Generator:
    """The source of all chance in one picture: the same whatever other pictures are made."""
    return np.random.default_rng([seed, zlib.crc32(condition.encode()), number])


def shares(condition: str, per_condition: int) -> int:
    """How many pictures of a condition are made."""
    return max(1, per_condition // 5) if condition in PAGES else per_condition


def edit_distance(one: str, other: str) -> int:
    """How many characters must be put in, left out or changed to make one text the other (Levenshtein)."""
    before = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        row = [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
        before = row
    return before[-1]


def measure(predictor: Predictor, condition: str, count: int, seed: int) -> dict[str, float]:
    """Reads `count` pictures of a condition; the shares that are right, and milliseconds of processor time a picture and a digit."""
    exact = rows_right = rows = wrong = characters = 0
    seconds = 0.0
    for number in range(count):
        picture, written = make_lines.simulate(condition, chance(condition, number, seed))
        start = time.process_time()
        read = predictor.read(picture, line=True).text
        seconds += time.process_time() - start
        exact += read == written
        there, found = written.split(), read.split()
        rows += len(there)
        if len(there) == len(found):
            rows_right += sum(a == b for a, b in zip(there, found, strict=True))
        wrong += min(edit_distance(written, read), len(written))
        characters += len(written)
    return {
        "pictures": count,
        "exact": exact / count,
        "rows_exact": rows_right / rows,
        "characters": 1 - wrong / characters,
        "milliseconds": 1000 * seconds / count,
        "milliseconds_per_digit": 1000 * seconds / characters,
    }


def table(predictor: Predictor, per_condition: int, seed: int) -> dict[str, dict[str, float]]:
    """Measures and prints all conditions, one line each as it is done, and their mean."""
    names = {"exact": "pictures", "rows_exact": "rows", "characters": "characters"}
    print(f"{'condition':16}" + "".join(f"{name:>12}" for name in names.values()) + f"{'ms':>9}{'ms/digit':>10}")
    result = {}
    for condition in [*make_lines.CONDITIONS, "mean"]:
        if condition == "mean":
            row = {name: float(np.mean([row[name] for row in result.values()])) for name in result["postcode"]}
        else:
            row = measure(predictor, condition, shares(condition, per_condition), seed)
        result[condition] = row
        shown = "".join(f"{row[name]:12.1%}" for name in names)
        print(f"{condition:16}{shown}{row['milliseconds']:9.0f}{row['milliseconds_per_digit']:10.1f}", flush=True)
    return result


# Fitting the weights ------------------------------------------------------------------------------------------


class Known(NamedTuple):
    """A row whose text is known: its pieces' number, what may be a digit and what may be left out, with their facts."""

    pieces: int
    text: list[int]
    spans: list[tuple[int, int]]
    facts: np.ndarray  # (G, F) of what may be a digit
    logs: np.ndarray  # (G, 10): log-probabilities
    rests: list[tuple[int, int]]
    rest_facts: np.ndarray
    names: tuple[list[str], list[str]]  # of the facts


def shapes() -> list[list[float]]:
    """Width by height of MNIST's training digits, 0 to 9: mean and standard deviation."""
    mnist = data.load()
    boxes = np.array([cv2.boundingRect(255 * (x > 100).astype(np.uint8))[2:] for x in mnist.x_train[:20000]])
    ratio = boxes[:, 0] / boxes[:, 1]
    its = [ratio[mnist.y_train[:20000] == digit] for digit in range(10)]
    return [[round(float(x.mean()), 2), round(float(x.std()), 2)] for x in its]


def known_rows(predictor: Predictor, per_condition: int, seed: int) -> list[Known]:
    """Rows of simulated pictures of training digits; pictures in which other rows are found are left out."""
    found = []
    for condition in make_lines.CONDITIONS:
        for number in range(shares(condition, per_condition)):
            picture, written = make_lines.simulate(condition, chance(condition, number, seed + 1), "train")
            try:
                page = lines.find(picture, predictor.judge)
            except NoDigit:
                continue
            if len(page.rows) == len(written.split()):
                each = zip(page.rows, page.guesses, written.split(), strict=True)
                found += [known(row, its, text, page.page.stroke) for row, its, text in each if its]
    return found


def known(row: Row, guesses: list[lines.Guess], text: str, stroke: float) -> Known:
    """What the fit needs of a row."""
    rests = lines.rests(row.pieces)
    facts = [lines.digit_facts(guess) for guess in guesses]
    rest_facts = [lines.rest_facts(row, *rest, stroke) for rest in rests]
    return Known(
        len(row.pieces),
        [int(digit) for digit in text],
        [(guess.first, guess.last) for guess in guesses],
        np.array([list(its.values()) for its in facts]),
        np.log([guess.probabilities + 1e-6 for guess in guesses]),
        rests,
        np.array([list(its.values()) for its in rest_facts]),
        (list(facts[0]), list(rest_facts[0])),
    )


def expectations(count: int, digits: list, scores: np.ndarray, rests: list, skips: np.ndarray, length: int) -> tuple:
    """Forward-backward: the log-sum over all readings of a row of pieces, how likely each digit and each rest is.

    `digits` and `rests` are spans of pieces. `scores` (G, length) tells how much speaks for each span as each character,
    `skips` for leaving each rest out; with length 0 characters do not count, and scores are (G, 1).
    """
    to, back = (np.s_[1:], np.s_[:-1]) if length else (np.s_[:], np.s_[:])
    forward = np.full((count + 1, length + 1), -1e30)
    backward = forward.copy()
    forward[0, 0] = backward[count, length] = 0.0
    arcs = [(a, b, to, back, x) for (a, b), x in zip(digits, scores, strict=True)]
    arcs += [(a, b, np.s_[:], np.s_[:], x) for (a, b), x in zip(rests, skips, strict=True)]
    for a, b, new, old, score in sorted(arcs, key=lambda arc: arc[1]):
        forward[b, new] = np.logaddexp(forward[b, new], forward[a, old] + score)
    for a, b, new, old, score in sorted(arcs, key=lambda arc: -arc[0]):
        backward[a, old] = np.logaddexp(backward[a, old], backward[b, new] + score)
    total = forward[count, length]
    taken = [np.exp(forward[a, old] + score + backward[b, new] - total).sum() for a, b, new, old, score in arcs]
    return total, np.array(taken[: len(digits)]), np.array(taken[len(digits) :])


def fit(rows: list[Known]) -> dict[str, dict[str, float]]:
    """The weights that make the right readings likeliest among all (maximum conditional likelihood, L-BFGS)."""
    from scipy.optimize import minimize

    scale = [np.maximum(np.concatenate([row[i] for row in rows]).std(axis=0), 0.02) for i in (3, 6)]
    for one in scale:
        one[0] = 1.0  # "always"
    split = len(scale[0])

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = 0.5 * RIDGE * (weights**2).sum(), RIDGE * weights
        for row in rows:
            facts, rest_facts = row.facts / scale[0], row.rest_facts / scale[1]
            scores, skips = facts @ weights[:split], rest_facts @ weights[split:]
            spelt = scores[:, None] + row.logs[:, row.text]
            right = expectations(row.pieces, row.spans, spelt, row.rests, skips, len(row.text))
            every = expectations(row.pieces, row.spans, scores[:, None], row.rests, skips, 0)
            if every[0] - right[0] > HOPELESS:  # no cut where one was needed: nothing to learn from
                value += HOPELESS
                continue
            value += every[0] - right[0]
            slope[:split] += facts.T @ (every[1] - right[1])
            slope[split:] += rest_facts.T @ (every[2] - right[2])
        return value, slope

    found = minimize(loss, np.zeros(split + len(scale[1])), jac=True, method="L-BFGS-B", options={"maxiter": 40})
    print(f"{len(rows)} rows, {found.fun / len(rows):.3f} nats a row, after {found.nit} steps")
    values = found.x[:split] / scale[0], found.x[split:] / scale[1]
    kinds = zip(("digit", "rest"), rows[0].names, values, strict=True)
    return {kind: {n: round(float(x), 3) for n, x in zip(its, y, strict=True)} for kind, its, y in kinds}


def main() -> int:
    """Measures all conditions, prints the table, writes the JSON file; or fits the weights and writes them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help=".tflite or .keras file (default: the one that is shipped)")
    parser.add_argument(
        "--per-condition", type=int, default=10, help="pictures a condition, pages a fifth (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: 0)")
    parser.add_argument("--fit", action="store_true", help="fit the weights of helpers/lines.py and write them")
    arguments = parser.parse_args()
    try:
        predictor = Predictor(arguments.model)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.fit:
        found = fit(known_rows(predictor, arguments.per_condition, arguments.seed))
        write_json(lines.WEIGHTS, {**found, "shapes": shapes()})
        return 0
    conditions = table(predictor, arguments.per_condition, arguments.seed)
    mean = conditions.pop("mean")
    known = {"per_condition": arguments.per_condition, "seed": arguments.seed, "model": predictor.network.path.name}
    write_json(paths.REFERENCE / "lines.json", {**known, **environment(), "conditions": conditions, "mean": mean})
    return 0


if __name__ == "__main__":
    sys.exit(main())
