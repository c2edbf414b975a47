"""Fits the weights by which helpers/predict/lines.py reads lines, to a network and to lines of TRAINING digits.

A conditional random field over the pieces of a row, fitted by maximum conditional likelihood: the right readings of the
rows shall be the most probable ones among all readings. Rows are found with the weights that are shipped already.
tools/train_shipped.py calls `make_line_weights`.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from helpers import data
from helpers.errors import NoDigit
from helpers.files import sha256, write_json
from helpers.images.page import Row
from helpers.predict import lines
from helpers.predict.predictor import Predictor
from tools.simulate import lines as simulated

PER_CONDITION = 10  # pictures to fit to
SEED = 1  # of the simulation; benchmarks/lines.py measures with 0
RIDGE = 2.0  # L2 penalty, which keeps weights that hardly matter small
HOPELESS = 12.0  # loss in nats of a row that cannot be read with the pieces it has: nothing is learned from it
STEPS = 40  # of L-BFGS


class KnownRow(NamedTuple):
    """A row whose text is known: the number of its pieces, what may be a digit and what may be left out."""

    pieces: int
    text: list[int]
    spans: list[tuple[int, int]]  # of what may be a digit, (first, last) of pieces
    facts: np.ndarray  # (G, F), of each span
    logs: np.ndarray  # (G, 10), its log-probabilities
    rests: list[tuple[int, int]]  # of what may be left out
    rest_facts: np.ndarray  # (R, F), of each
    names: tuple[list[str], list[str]]  # of both kinds of facts


def shapes() -> list[list[float]]:
    """Width divided by height of MNIST's training digits, 0 to 9: mean and standard deviation."""
    mnist = data.load()
    boxes = np.array([cv2.boundingRect(255 * (x > 100).astype(np.uint8))[2:] for x in mnist.x_train[:20000]])
    ratio = boxes[:, 0] / boxes[:, 1]
    its = [ratio[mnist.y_train[:20000] == digit] for digit in range(10)]
    return [[round(float(x.mean()), 2), round(float(x.std()), 2)] for x in its]


def known_rows(predictor: Predictor, per_condition: int = PER_CONDITION) -> list[KnownRow]:
    """Rows of simulated pictures of training digits; pictures in which other rows are found are left out."""
    found = []
    for condition in simulated.CONDITIONS:
        for picture, text in simulated.pictures(condition, per_condition, SEED, "train"):
            try:
                page = lines.find(picture, predictor.judge)
            except NoDigit:
                continue
            if len(page.rows) == len(text.split()):
                each = zip(page.rows, page.guesses, text.split(), strict=True)
                found += [known_row(row, its, word, page.page.stroke) for row, its, word in each if its]
    return found


def known_row(row: Row, guesses: list[lines.Guess], text: str, stroke: float) -> KnownRow:
    """What the fit needs of a row whose text is known."""
    rests = lines.rests(row.pieces)
    facts = [lines.digit_facts(guess) for guess in guesses]
    rest_facts = [lines.rest_facts(row, *rest, stroke) for rest in rests]
    return KnownRow(
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
    """The log-sum over all readings of a row, and the probability of each digit and of each rest (forward-backward).

    `count` is the number of pieces; `digits` and `rests` are spans of them. `scores` (G, length) are those of each span
    as each character, `skips` those of leaving out each rest. With length 0 the characters do not count: (G, 1).
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


def fit_weights(rows: list[KnownRow]) -> dict[str, dict[str, float]]:
    """The weights of both kinds of facts that maximise the conditional likelihood of the right readings (L-BFGS)."""
    from scipy.optimize import minimize

    split = len(rows[0].facts[0])
    both = [row.facts for row in rows], [row.rest_facts for row in rows]
    scale = np.concatenate([np.maximum(np.concatenate(facts).std(axis=0), 0.02) for facts in both])
    scale[[0, split]] = 1.0  # the fact "always" is constant

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        """The penalised negative log-likelihood and its gradient."""
        value, slope = 0.5 * RIDGE * (weights**2).sum(), RIDGE * weights
        for row in rows:
            facts, rest_facts = row.facts / scale[:split], row.rest_facts / scale[split:]
            scores, skips = facts @ weights[:split], rest_facts @ weights[split:]
            spelt = scores[:, None] + row.logs[:, row.text]
            right = expectations(row.pieces, row.spans, spelt, row.rests, skips, len(row.text))
            every = expectations(row.pieces, row.spans, scores[:, None], row.rests, skips, 0)
            if every[0] - right[0] > HOPELESS:
                value += HOPELESS
                continue
            value += every[0] - right[0]
            slope[:split] += facts.T @ (every[1] - right[1])
            slope[split:] += rest_facts.T @ (every[2] - right[2])
        return value, slope

    found = minimize(loss, np.zeros(len(scale)), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    kinds = zip(("digit", "rest"), rows[0].names, np.split(found.x / scale, [split]), strict=True)
    return {kind: {n: round(float(x), 3) for n, x in zip(its, y, strict=True)} for kind, its, y in kinds}


def make_line_weights(folder: Path) -> None:
    """Fits the weights to digits.tflite in `folder` and to the gate beside it; writes line_weights.json there."""
    predictor = Predictor(folder / "digits.tflite")
    found = fit_weights(known_rows(predictor)) | {"shapes": shapes()}
    write_json(folder / "line_weights.json", found | {"network_sha256": sha256(predictor.network.path)})
