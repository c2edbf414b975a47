"""How sure an answer is: temperature, scores and the gate that refuses non-digits.

Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from helpers.errors import UserError
from helpers.predict.network import Network, check_pair


@dataclass(frozen=True, eq=False)
class Calibration:
    """Numbers that turn logits into decisions; fitted on validation data, kept in calibration.json beside the model.

    A model without that file gets these defaults: plain softmax, and nothing refused by its score.
    """

    temperature: float = 1.0  # logits are divided by it before softmax
    score: str = "energy"  # a name in SCORES
    threshold: float = -math.inf  # a picture with a smaller score is not a digit
    prior: float = 1.0  # energy margin by which another reading of a picture must beat the most plausible one
    gate: tuple[tuple[np.ndarray, np.ndarray], ...] = field(default=(), repr=False)  # layers: (weights, biases)

    @classmethod
    def load(cls, folder: Path, network: Network | None = None) -> "Calibration":
        """Reads calibration.json, and gate.npz where its score needs it, from the folder of a model.

        The JSON file holds any of temperature, score, threshold and prior; other keys are notes. In gate.npz a
        layer's arrays are w0 (F, units) and b0 (units,), w1, b1 and so on, up to a last one of one unit. Both may
        hold the `network_sha256` of the network that they were fitted to. Raises UserError for a damaged file, and
        for one that was fitted to another network than `network`.
        """
        file, gate_file = folder / "calibration.json", folder / "gate.npz"
        if not file.is_file():
            return cls()
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            known = {f.name for f in fields(cls)} - {"gate"}
            found = cls(**{name: value for name, value in values.items() if name in known})
            numbers = (
                0 < found.temperature < math.inf and math.isfinite(found.prior) and not math.isnan(found.threshold)
            )
            if found.score not in SCORES or not numbers:
                raise ValueError(f"score is one of {', '.join(SCORES)}, temperature above 0, the others numbers")
            pairs = {file: values.get("network_sha256")}
            if found.score == "gate":
                layers, pairs[gate_file] = _read_gate(gate_file)
                found = replace(found, gate=layers)
        except Exception as error:  # a damaged file or an absurd header makes parsers raise anything
            raise UserError(
                f"{file} or the gate.npz beside it cannot be used ({error or type(error).__name__}): get them anew."
            ) from error
        if network:
            for fitted, digest in pairs.items():
                check_pair(fitted, digest, network)
        return found


def _read_gate(file: Path) -> tuple[tuple[tuple[np.ndarray, np.ndarray], ...], str | None]:
    """The layers of the small network on features, checked to fit each other, and the SHA-256 of its network."""
    with np.load(file, allow_pickle=False) as arrays:
        digest = str(arrays["network_sha256"]) if "network_sha256" in arrays else None
        layers = tuple((arrays[f"w{i}"], arrays[f"b{i}"]) for i in range(sum(n.startswith("w") for n in arrays)))
    units = [weights.shape[0] for weights, _ in layers[1:]] + [1]
    if not layers or [weights.shape[1:] for weights, _ in layers] != [(n,) for n in units]:
        raise ValueError("the shapes of its layers do not follow on each other")
    return layers, digest


def softmax(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities (N, K) of logits (N, K); a temperature above 1 makes them less confident (Guo et al., 2017)."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def energy(logits: np.ndarray) -> np.ndarray:
    """log Σ exp of the logits (N, K): shape (N,). Large where some class fits well (negative energy, Liu et al., 2020)."""
    return np.logaddexp.reduce(np.asarray(logits, np.float64), axis=1)


def gate_inputs(logits: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The gate's inputs: the features (N, F), the logits (N, 10) in descending order, and the energy.

    Which digit it might be does not matter, only how clear it is: hence the order. Shape (N, F + 11).
    """
    return np.concatenate([features, -np.sort(-np.asarray(logits), axis=1), energy(logits)[:, None]], axis=1)


def gate(inputs: np.ndarray, layers: tuple[tuple[np.ndarray, np.ndarray], ...]) -> np.ndarray:
    """The probability of being a digit, (N,), by a small network of Dense layers on inputs (N, F).

    ReLU between the layers, a sigmoid after the last. Fitted by tools/fit_gate.py.
    """
    x = np.asarray(inputs, np.float64)
    if x.shape[1] != layers[0][0].shape[0]:
        raise UserError(
            f"gate.npz takes {layers[0][0].shape[0]} numbers and the model gives {x.shape[1]}: they are not a pair."
        )
    for i, (weights, biases) in enumerate(layers):
        x = (np.maximum(x, 0) if i else x) @ weights + biases
    return 0.5 + 0.5 * np.tanh(x[:, 0] / 2)  # the sigmoid, without overflow


SCORES: dict[str, Callable[[np.ndarray, np.ndarray, Calibration], np.ndarray]] = {
    "energy": lambda logits, features, calibration: energy(logits),
    "max_softmax": lambda logits, features, calibration: softmax(logits, calibration.temperature).max(axis=1),
    "gate": lambda logits, features, calibration: gate(gate_inputs(logits, features), calibration.gate),
}


def digit_score(logits: np.ndarray, features: np.ndarray, calibration: Calibration) -> np.ndarray:
    """How much each image looks like a digit, larger is more: (N,) for logits (N, 10) and features (N, F).

    The score is the one that the calibration names; a picture below its threshold is refused.
    """
    return SCORES[calibration.score](logits, features, calibration)


def choose(logits: np.ndarray, prior: float) -> int:
    """Which of several readings of one picture is right: its index, for logits (N, 10), the most plausible first.

    The network's evidence decides: a reading that looks like a digit has more energy than a wrong one (an inverted
    picture, half a digit). Any other reading must beat the first by `prior`.
    """
    evidence = energy(logits)
    evidence[1:] -= prior
    return int(np.argmax(evidence))
