"""Reads the digit in any picture, or says why not. Command line: python -m helpers.predict --help.

Starts within a fraction of a second: nothing here imports TensorFlow where a LiteRT model can be used.
Many files and the command line are in helpers/batch.py. Explained in
notebooks/06_custom_image_prediction.ipynb.
"""

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from helpers.images import candidates as images
from helpers.predict import lines
from helpers.predict import network as lite
from helpers.errors import UserError

LAST = "centred 28×28"  # the step that goes into the network
LINE_DETAIL = 3000  # longest side in pixels at which a page of digits is read; one digit needs less
SURE = 0.98  # largest probability from which on one look at a digit is enough
UNKNOWN = 3.0  # log-odds of being a digit where a model has no threshold

# What is fitted on validation data ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Calibration:
    """Numbers that turn logits into decisions; fitted on validation data, kept in calibration.json beside the model.

    A model without that file gets these defaults: plain softmax, and nothing refused by its score.
    """

    temperature: float = 1.0  # logits are divided by it before softmax
    score: str = "energy"  # a name in SCORES
    threshold: float = -math.inf  # a picture with a smaller score is not a digit
    prior: float = 1.0  # how much energy a less plausible reading of a picture must have ahead of the first
    gate: tuple[tuple[np.ndarray, np.ndarray], ...] = field(default=(), repr=False)  # layers: (weights, biases)

    @classmethod
    def load(cls, folder: Path) -> "Calibration":
        """Reads calibration.json, and gate.npz where its score needs it, from the folder of a model.

        The JSON file holds any of temperature, score, threshold and prior; other keys are notes. In gate.npz a
        layer's arrays are w0 (F, units) and b0 (units,), w1, b1 and so on, up to a last one of one unit. Raises
        UserError for a damaged file.
        """
        file = folder / "calibration.json"
        if not file.is_file():
            return cls()
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            known = {f.name for f in fields(cls)} - {"gate"}
            found = cls(**{name: value for name, value in values.items() if name in known})
            if found.score not in SCORES or not 0 < found.temperature < math.inf or math.isnan(found.threshold):
                raise ValueError(f"score is one of {', '.join(SCORES)}, temperature above 0, threshold a number")
            math.isfinite(found.prior)
            return replace(found, gate=_read_gate(folder / "gate.npz")) if found.score == "gate" else found
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise UserError(f"{file} or the gate.npz beside it cannot be used ({error}): get them anew.") from error


def _read_gate(file: Path) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The layers of the small network on features, checked to fit each other."""
    with np.load(file, allow_pickle=False) as arrays:
        layers = tuple((arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(len(arrays.files) // 2))
    units = [weights.shape[0] for weights, _ in layers[1:]] + [1]
    if not layers or [weights.shape[1:] for weights, _ in layers] != [(n,) for n in units]:
        raise ValueError("the shapes of its layers do not follow on each other")
    return layers


# Scores -------------------------------------------------------------------------------------------------------


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities (N, K) of logits (N, K); a temperature above 1 makes them less sure (Guo et al., 2017)."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def energy(logits: np.ndarray) -> np.ndarray:
    """log Σ exp of the logits (N, K): shape (N,). Large where some class fits well (negative energy, Liu et al., 2020)."""
    return np.logaddexp.reduce(np.asarray(logits, np.float64), axis=1)


def gate_inputs(logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    """What the gate takes: the features (N, F), the logits (N, 10) from the largest to the smallest, and the energy.

    Which digit it might be does not matter, how clear it is does: hence the order. Shape (N, F + 11).
    """
    return np.concatenate([features, -np.sort(-np.asarray(logits), axis=1), energy(logits)[:, None]], axis=1)


def gate(inputs: np.ndarray, layers: tuple[tuple[np.ndarray, np.ndarray], ...]) -> np.ndarray:
    """The probability of being a digit, (N,), by a small network of Dense layers on inputs (N, F).

    Between the layers is ReLU, after the last a sigmoid. Made by helpers/rejection.py.
    """
    x = np.asarray(inputs, np.float64)
    if x.shape[1] != layers[0][0].shape[0]:
        raise UserError(
            f"gate.npz takes {layers[0][0].shape[0]} numbers and the model gives {x.shape[1]}: they are not a pair."
        )
    for i, (weights, biases) in enumerate(layers):
        x = (np.maximum(x, 0) if i else x) @ weights + biases
    return 0.5 + 0.5 * np.tanh(x[:, 0] / 2)  # the sigmoid, without overflow


def _gate_score(logits: np.ndarray, features: np.ndarray, calibration: Calibration) -> np.ndarray:
    """The gate's score; one that was fitted on features alone gets those alone."""
    alone = calibration.gate[0][0].shape[0] == features.shape[1]
    return gate(features if alone else gate_inputs(logits, features), calibration.gate)


SCORES: dict[str, Callable[[np.ndarray, np.ndarray, Calibration], np.ndarray]] = {
    "energy": lambda logits, features, calibration: energy(logits),
    "max_softmax": lambda logits, features, calibration: softmax(logits, calibration.temperature).max(axis=1),
    "gate": _gate_score,
}


def digit_score(logits: np.ndarray, features: np.ndarray, calibration: Calibration) -> np.ndarray:
    """How much each image looks like a digit, larger is more: (N,) for logits (N, 10) and features (N, F).

    The score is the one that the calibration names; a picture below its threshold is refused.
    """
    return SCORES[calibration.score](logits, features, calibration)


def choose(logits: np.ndarray, prior: float) -> int:
    """Which of several readings of one picture is right: its index, for logits (N, 10), the most plausible first.

    The network's evidence decides: a reading that looks like a digit has more energy than a wrong one (an inverted
    picture, half a digit). Another reading than the first must be ahead of it by `prior`.
    """
    evidence = energy(logits)
    evidence[1:] -= prior
    return int(np.argmax(evidence))


# Readings -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read in one picture."""

    status: str  # ok, rejected (no digit; the reason says why) or error (no picture; the reason says why)
    text: str = ""  # the digit; the whole line where a line was read; empty unless ok
    confidence: float | None = None  # calibrated, 0..1; None unless ok
    reason: str = ""  # why it was rejected, or what the error was
    seconds: float = 0.0  # decoding, all steps and the network
    probabilities: np.ndarray | None = field(default=None, repr=False)  # calibrated, (10,); None if none were made
    score: float | None = None  # `digit_score`
    steps: images.Steps = field(default_factory=dict, repr=False)  # of the reading that was chosen
    candidates: list[images.Steps] = field(default_factory=list, repr=False)  # of all that were tried
    characters: tuple[lines.Character, ...] = field(default=(), repr=False)  # of a line


class Predictor:
    """Reads digits with one model: `Predictor().read("photo.jpg")`. Safe to use from several threads."""

    def __init__(self, model: str | Path | None = None):
        """`model` is a .tflite or .keras file, by default the shipped one; see `lite.find_model`.

        Raises UserError if there is none, or if it or the calibration.json beside it cannot be used.
        """
        self.network = lite.load(model)  # uint8 (N, 28, 28) -> logits (N, 10), features (N, F)
        self.calibration = Calibration.load(self.network.path.parent)
        # A gate of another model would fail at each picture: try it now.
        digit_score(*self.network(np.zeros((1, images.FIELD, images.FIELD), np.uint8)), self.calibration)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Calibrated probabilities (N, 10) of prepared images uint8 (N, 28, 28). UserError for other arrays.

        Images of which the network is not SURE are looked at again, by `images.half_pixel_moves`; what counts is the
        mean of all five answers. Only they, since it takes five times as long.
        """
        return self._look_again(x, softmax(self.network(x)[0], self.calibration.temperature))

    def _look_again(self, x: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The probabilities (N, 10) of images after a second look where the first left a doubt."""
        doubtful = probabilities.max(axis=1) < SURE
        if not doubtful.any():
            return probabilities
        moved = images.half_pixel_moves(np.asarray(x)[doubtful])
        logits, _ = self.network(moved.reshape(-1, images.FIELD, images.FIELD))
        answers = softmax(logits, self.calibration.temperature).reshape(len(moved), -1, logits.shape[1])
        probabilities = probabilities.copy()
        probabilities[doubtful] = (probabilities[doubtful] + answers.sum(axis=0)) / (1 + len(moved))
        return probabilities

    def read(self, source: str | Path | bytes | np.ndarray, line: bool = False) -> Reading:
        """Reads the digit in a picture: a path, the bytes of a file, or an array uint8, gray, RGB or RGBA.

        Whatever is wrong with the picture becomes the reading's status and reason. With `line` all digits are
        read: the text has a space between rows, the confidence is that of all characters together.
        """
        started = time.perf_counter()
        steps: images.Steps = {}
        try:
            picture = _picture(source, detail=LINE_DETAIL) if line else _picture(source)
            steps = {"picture": picture}
            reading = self._read_lines(picture) if line else self._read_digit(picture)
        except images.NoDigit as error:
            reading = Reading("rejected", reason=str(error), steps=steps)
        except UserError as error:
            reading = Reading("error", reason=str(error))
        return replace(reading, seconds=time.perf_counter() - started)

    def _read_digit(self, picture: np.ndarray) -> Reading:
        """Reads a picture of one digit, uint8. Raises what `images.candidates` raises."""
        candidates = images.candidates(picture)
        logits, features = self.network(np.stack([steps[LAST] for steps in candidates]))
        best = choose(logits, self.calibration.prior)
        steps, one = candidates[best], slice(best, best + 1)
        probabilities = self._look_again(steps[LAST][None], softmax(logits[one], self.calibration.temperature))[0]
        score = float(digit_score(logits[one], features[one], self.calibration)[0])
        known = {"probabilities": probabilities, "score": score, "steps": steps, "candidates": candidates}
        if (count := lines.count_digits(picture, candidates, best, self.judge)) > 1:
            return Reading("rejected", reason=f"several digits ({count}): read them with --line", **known)
        # Not "score < threshold": with NaN nothing is sure, so it is refused.
        if not score >= self.calibration.threshold:
            asked = f"{self.calibration.score} {score:.2g}, a digit has at least {self.calibration.threshold:.2g}"
            return Reading("rejected", reason=f"not a digit ({asked})", **known)
        digit = int(np.argmax(probabilities))
        return Reading("ok", text=str(digit), confidence=float(probabilities[digit]), **known)

    def _read_lines(self, picture: np.ndarray) -> Reading:
        """Reads all digits of a picture, uint8. Raises what `lines.read` raises."""
        rows, steps = lines.read(picture, self.judge)
        characters = tuple(character for row in rows for character in row)
        text = " ".join("".join(character.text for character in row) for row in rows)
        confidence = math.prod(character.confidence for character in characters)
        return Reading("ok", text, confidence, steps=steps, characters=characters)

    def judge(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `lines.read` asks of images uint8 (N, 28, 28): calibrated probabilities (N, 10), and log-odds (N,).

        The log-odds of being a digit are those of `digit_score` beyond the threshold; a model that was never
        calibrated takes everything for a digit.
        """
        logits, features = self.network(x)
        score, threshold = digit_score(logits, features, self.calibration), self.calibration.threshold
        if self.calibration.score != "energy":  # energy is a logarithm already, the others are probabilities
            score, threshold = (np.log(p + 1e-9) - np.log1p(1e-9 - p) for p in (score, max(0.0, threshold)))
        likely = score - threshold if math.isfinite(threshold) else np.full(len(score), UNKNOWN)
        return softmax(logits, self.calibration.temperature), likely


def _picture(source: str | Path | bytes | np.ndarray, **detail: int) -> np.ndarray:
    """What `read` was given as an array, uint8 (H, W) or (H, W, 3). Raises UserError if it is no picture."""
    if isinstance(source, np.ndarray):
        if source.ndim == 3 and source.shape[2] == 4 and source.dtype == np.uint8 and source.size:
            return images.flatten_alpha(source)
        return source  # `images.candidates` checks it
    if isinstance(source, (bytes, bytearray, memoryview)):
        return images.read_image(bytes(source), **detail)
    if isinstance(source, (str, Path)):
        return images.read_image(source, **detail)
    raise UserError(f"A picture is a path, the bytes of a file or a uint8 array; this is {type(source).__name__}.")


if __name__ == "__main__":
    from helpers.predict.batch import main

    sys.exit(main())
