"""Reads the digit in any picture, or says why not. Command line: `digits --help`.

Starts within a fraction of a second: nothing here imports TensorFlow where a LiteRT model can be used.
Many files are read by helpers/predict/batch.py. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from helpers.errors import NoDigit, UserError
from helpers.images.candidates import find_candidates
from helpers.images.decode import flatten_alpha, read_image
from helpers.images.mnist_form import FIELD, half_pixel_moves
from helpers.images.steps import Steps
from helpers.predict import lines, strips
from helpers.predict.confidence import Calibration, choose, digit_score, softmax
from helpers.predict.network import check_pair, load
from helpers.predict.tables import Cell, to_table

LAST = "centred 28×28"  # the step that goes into the network
LINE_DETAIL = 3000  # longest side in pixels at which a page of digits is read; one digit needs less
SURE = 0.98  # largest probability from which one look at a digit is enough
UNKNOWN = 3.0  # log-odds of being a digit where a model has no threshold


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read in one picture."""

    status: str  # ok, rejected (no digit; the reason says why) or error (no picture; the reason says why)
    text: str = ""  # the digit; the whole line where a line was read; empty unless ok
    confidence: float | None = None  # calibrated, 0..1; None unless ok
    reason: str = ""  # why it was rejected, what the error was, or what an answer that is ok may lack
    seconds: float = 0.0  # decoding, all steps and the network
    probabilities: np.ndarray | None = field(default=None, repr=False)  # calibrated, (10,); None if none were made
    score: float | None = None  # `digit_score`
    steps: Steps = field(default_factory=dict, repr=False)  # of the reading that was chosen
    candidates: list[Steps] = field(default_factory=list, repr=False)  # of all that were tried
    characters: tuple[lines.Character, ...] = field(default=(), repr=False)  # of a line
    cells: tuple[Cell, ...] = field(default=(), repr=False)  # of a table


class Predictor:
    """Reads digits with one model: `Predictor().read("photo.jpg")`. Safe to use from several threads."""

    def __init__(self, model: str | Path | None = None):
        """Loads a model and what was fitted to it: calibration.json and gate.npz in the same folder.

        Args:
            model: A .tflite or .keras file; by default the shipped one, see `find_model`.

        Raises:
            UserError: If there is none, or if one of the files cannot be used or belongs to another model.
        """
        self.network = load(model)  # uint8 (N, 28, 28) -> logits (N, 10), features (N, F)
        self.look = None  # a second look at words in doubt: with the shipped model, where LiteRT is there
        self.calibration = Calibration.load(self.network.path.parent, self.network)
        if self.network.path.parent == lines.WEIGHTS.parent:
            check_pair(lines.WEIGHTS, lines.weights().get("network_sha256"), self.network)
            self.look = strips.look if self.network.path.suffix == ".tflite" else None
        # A gate of another model would fail at each picture: try it now.
        digit_score(*self.network(np.zeros((1, FIELD, FIELD), np.uint8)), self.calibration)

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of prepared images.

        Images of which the network is not SURE get a second look, by `half_pixel_moves`: the mean of all five
        answers counts. Only those, since it takes five times as long.

        Args:
            x: uint8 (N, 28, 28).

        Returns:
            (N, 10), each row adding up to 1.

        Raises:
            UserError: For other arrays.
        """
        return self._look_again(x, self.network(x)[0])

    def _look_again(self, x: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """As `probabilities`, of images whose logits (N, 10) are known."""
        probabilities = softmax(logits, self.calibration.temperature)
        doubtful = probabilities.max(axis=1) < SURE
        if not doubtful.any():
            return probabilities
        moved = half_pixel_moves(np.asarray(x)[doubtful])
        logits, _ = self.network(moved.reshape(-1, FIELD, FIELD))
        answers = softmax(logits, self.calibration.temperature).reshape(len(moved), -1, logits.shape[1])
        probabilities[doubtful] = (probabilities[doubtful] + answers.sum(axis=0)) / (1 + len(moved))
        return probabilities

    def read(self, source: str | Path | bytes | np.ndarray, line: bool = False, table: bool = False) -> Reading:
        """Reads the digit in a picture. Whatever is wrong with it becomes the reading's status and reason.

        Args:
            source: A path, the bytes of a file, or an array uint8: grey (H, W), RGB (H, W, 3) or RGBA (H, W, 4).
            line: Whether to read all digits, row by row. Then the text has a space between rows, and the confidence
                is that of all characters together, and that none was left out.
            table: Whether to read it so and also say in which row and column of a table each number stands: `cells`.

        Returns:
            A `Reading`; `text` is empty and `confidence` None unless `status` is "ok".
        """
        started = time.perf_counter()
        try:
            picture = _picture(source, detail=LINE_DETAIL) if line or table else _picture(source)
            reading = self._read_lines(picture, table) if line or table else self._read_digit(picture)
        except NoDigit as error:
            reading = Reading("rejected", reason=str(error), steps={"picture": picture})
        except UserError as error:
            reading = Reading("error", reason=str(error))
        return replace(reading, seconds=time.perf_counter() - started)

    def _read_digit(self, picture: np.ndarray) -> Reading:
        """Reads a picture of one digit, uint8. Raises what `find_candidates` raises."""
        candidates = find_candidates(picture)
        logits, features = self.network(np.stack([steps[LAST] for steps in candidates]))
        best = choose(logits, self.calibration.prior)
        steps, one = candidates[best], slice(best, best + 1)
        probabilities = self._look_again(steps[LAST][None], logits[one])[0]
        score = float(digit_score(logits[one], features[one], self.calibration)[0])
        known = {"probabilities": probabilities, "score": score, "steps": steps, "candidates": candidates}
        # Not "score < threshold": with NaN nothing is sure, so it is refused.
        refused = not score >= self.calibration.threshold
        if (count := lines.count_digits(picture, candidates, best, self.judge, refused)) > 1:
            return Reading("rejected", reason=f"several digits ({count}): read them with --line", **known)
        if refused:
            asked = f"{self.calibration.score} {score:.2g}, a digit has at least {self.calibration.threshold:.2g}"
            return Reading("rejected", reason=f"not a digit ({asked})", **known)
        digit = int(np.argmax(probabilities))
        return Reading("ok", text=str(digit), confidence=float(probabilities[digit]), **known)

    def _read_lines(self, picture: np.ndarray, table: bool) -> Reading:
        """Reads all digits of a picture, uint8. Raises what `lines.read` raises."""
        rows, complete, unseen, steps = lines.read(picture, self.judge, self.look)
        characters = tuple(character for row in rows for character in row)
        text = " ".join("".join(character.text for character in row) for row in rows)
        confidence = complete * math.prod(character.confidence for character in characters)
        cells, outside = to_table(picture, rows) if table else ([], 0)
        notes = [f"{outside:,} digits stand outside the grid, in no cell."] if outside else []
        if unseen:  # any of them may be a digit
            notes.append(f"{unseen:,} pieces of ink were not looked at: read the page in parts.")
            confidence = 0.0
        return Reading("ok", text, confidence, " ".join(notes), steps=steps, characters=characters, cells=tuple(cells))

    def judge(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The `lines.Judge` of images uint8 (N, 28, 28): calibrated probabilities (N, 10), and log-odds (N,).

        The log-odds of being a digit are those of `digit_score` minus the threshold's; a model that was never
        calibrated takes everything for a digit.
        """
        logits, features = self.network(x)
        score, threshold = digit_score(logits, features, self.calibration), self.calibration.threshold
        if self.calibration.score != "energy":  # energy is a logarithm already, the others are probabilities
            score, threshold = (np.log(p + 1e-9) - np.log1p(1e-9 - p) for p in (score, np.clip(threshold, 0, 1)))
        likely = score - threshold if math.isfinite(threshold) else np.full(len(score), UNKNOWN)
        return softmax(logits, self.calibration.temperature), likely


def _picture(source: str | Path | bytes | np.ndarray, **detail: int) -> np.ndarray:
    """The source of `read` as an array, uint8 (H, W) or (H, W, 3). Raises UserError if it is no picture."""
    if isinstance(source, np.ndarray):
        if source.ndim == 3 and source.shape[2] == 4 and source.dtype == np.uint8 and source.size:
            return flatten_alpha(source)
        return source  # `find_candidates` checks it
    if isinstance(source, (bytes, bytearray, memoryview)):
        return read_image(bytes(source), **detail)
    if isinstance(source, (str, Path)):
        return read_image(source, **detail)
    raise UserError(f"A picture is a path, the bytes of a file or a uint8 array; this is {type(source).__name__}.")
