"""Fits the gate: the small network that tells digits from non-digits by the features of a trained classifier.

A classifier that has seen only digits is confident on letters and photographs too. Outlier exposure (Hendrycks, Mazeika
and Dietterich, "Deep anomaly detection with outlier exposure", 2019) shows it non-digits; here only a small network on
top learns from them, and the classifier stays as it is. tools/nondigits.py draws the non-digits, tools/train_shipped.py
calls `make_gate`. Explained in notebooks/06_custom_image_prediction.ipynb.

Images are uint8 (N, 28, 28) as in MNIST.
"""

import warnings
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from helpers import data
from helpers.console import quiet_stderr
from helpers.data import to_input
from helpers.errors import NoDigit, UserError
from helpers.files import atomic, sha256, write_json
from helpers.images.candidates import find_candidates
from helpers.images.decode import flatten_alpha
from helpers.images.mnist_form import FIELD
from helpers.images.steps import resize
from helpers.images.strokes import crop
from helpers.predict.confidence import Calibration, choose, digit_score, gate_inputs
from helpers.predict.network import Network, load
from helpers.predict.predictor import LAST
from tools.nondigits import FAMILIES, SIDE, Digits, Random, negatives, printed_digit, to_image
from tools.simulate import photos

REFUSED = 0.005  # share of validation digits below the threshold: half of the 1 % that may be refused of new digits
UNITS, EPOCHS = 64, 20  # of the gate's hidden layer, and of its training
LEAST = 50  # minimum number of digits for a fit
SIZE = 9000  # digits that a gate is fitted to, and as many non-digits
THICK = 110  # grey level above which a scan in black and white shows ink

Layers = tuple[tuple[np.ndarray, np.ndarray], ...]  # as Calibration.gate
Part = tuple[np.ndarray, np.ndarray]


def augmented(x: np.ndarray, seed: int) -> np.ndarray:
    """Images augmented as for training a network, but more strongly: warped, strokes changed, noisy. Same shape."""
    with quiet_stderr():  # TensorFlow greets there
        import keras

        from helpers.models.augment import RandomWarp
        from tools.distortions import RandomNoise, RandomStroke, prepare

    steps = RandomWarp(15, 0.08, 0.2, 20, 1.0), RandomStroke(0.6, 0.6), RandomNoise(0.4, 0.4)
    change = prepare(keras.Sequential(steps))
    parts = [change(to_input(x[i : i + 1024]), (seed, i)) for i in range(0, len(x), 1024)]
    return np.concatenate([np.round(255 * np.clip(part, 0, 1))[..., 0].astype(np.uint8) for part in parts])


def prepared(pictures: Iterable[np.ndarray], network: Network) -> np.ndarray:
    """Pictures (uint8, grey or RGB) as `Predictor.read` prepares them for the network: uint8 (N, 28, 28).

    Those in which no digit is found are left out.
    """
    chosen = []
    for picture in pictures:
        try:
            found = np.stack([steps[LAST] for steps in find_candidates(picture)])
        except NoDigit:
            continue
        chosen.append(found[choose(network(found)[0], Calibration.prior)])
    return np.stack(chosen) if chosen else np.zeros((0, FIELD, FIELD), np.uint8)


def photographed(x: Iterable[np.ndarray], rng: Random) -> Iterable[np.ndarray]:
    """Simulated photographs of images (28, 28), each in a random condition of tools/simulate/photos.py: uint8 RGB."""
    for image in x:
        picture = photos.simulate(image, str(rng.choice(list(photos.CONDITIONS))), rng)
        yield picture if picture.shape[2] == 3 else flatten_alpha(picture)


def scanned(x: Iterable[np.ndarray], rng: Random) -> Iterable[np.ndarray]:
    """Images as older collections keep them: 8 to 20 pixels, some in black and white, some stretched to a square."""
    for image in x:
        cropped = crop(image)
        size = int(rng.integers(8, 21))
        square = (size, size) if rng.random() < 0.3 else None
        small = cv2.resize(cropped, square, interpolation=cv2.INTER_AREA) if square else resize(cropped, size)
        small = np.pad(small, int(rng.integers(0, 3)))
        yield np.where(small > THICK, 255, 0).astype(np.uint8) if rng.random() < 0.3 else small


# The fit ------------------------------------------------------------------------------------------------------


def digit_examples(network: Network, digits: Digits, count: int, seed: int) -> np.ndarray:
    """Gate inputs (N, F) of digits in many styles: plain, augmented, printed, photographed, scanned; about 2 × count."""
    rng = np.random.default_rng([seed, 0])
    x = digits.x[rng.permutation(len(digits.x))]
    printed = np.stack([to_image(printed_digit(rng, digits), False, rng, digits) for _ in range(count // 10)])
    plain = np.concatenate([x[:count], printed])
    seen = [plain, augmented(np.concatenate([x[-count:], printed]), seed)]
    seen += [prepared(photographed(x[: count // 16], rng), network), prepared(scanned(x[: count // 8], rng), network)]
    return gate_inputs(*network(np.concatenate(seen)))


def other_examples(network: Network, digits: Digits, count: int, seed: int) -> dict[str, np.ndarray]:
    """Gate inputs (N, F) of non-digits by family, about 2 × count in all."""
    found = {}
    for name, (draw, whole) in FAMILIES.items():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])  # the same whatever other families there are
        x = negatives(name, count // len(FAMILIES), digits, rng)
        few = len(x) // 16
        if whole:
            sizes = rng.choice((FIELD, 32, SIDE, 2 * SIDE), 4 * few)
            pictures = (resize(draw(rng, digits), int(size)) for size in sizes)
        else:
            pictures = photographed(x[:few], rng)
        seen = [x, augmented(x, seed), prepared(pictures, network)]
        if name != "joined digits":  # in a picture one of the two is found, and that is a digit
            seen.append(prepared(scanned(x[x.any(axis=(1, 2))][: 2 * few], rng), network))
        found[name] = gate_inputs(*network(np.concatenate(seen)))
    return found


def fit_layers(positive: np.ndarray, negative: np.ndarray, seed: int = 0) -> Layers:
    """Fits a network with one hidden layer that separates two sets of inputs (N, F); it scales them itself."""
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    x = np.concatenate([positive, negative])
    mean, sd = x.mean(axis=0), x.std(axis=0) + 1e-6
    learner = MLPClassifier(
        (UNITS,), alpha=0.01, batch_size=min(256, len(x)), learning_rate_init=2e-3, max_iter=EPOCHS, tol=0.0,
        n_iter_no_change=EPOCHS, random_state=seed,
    )  # fmt: skip
    with threadpool_limits(1), warnings.catch_warnings():  # one thread: equal sums on any number of cores
        warnings.simplefilter("ignore")  # about convergence: stopping early prevents overfitting
        learner.fit((x - mean) / sd, np.repeat([1, 0], [len(positive), len(negative)]))
    (w0, w1), (b0, b1) = learner.coefs_, learner.intercepts_
    w0 = w0 / sd[:, None]
    return tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in ((w0, b0 - mean @ w0), (w1, b1)))


def fit_gate(network: Network, part: Part, validation: Part, size: int = SIZE, seed: int = 0) -> Calibration:
    """Fits the gate of a network and its threshold: about a minute on two cores. The same seed gives the same gate.

    part: the digits (images, labels) that the network was trained on; `size` of them are used, and as many non-digits.
    validation: digits that it was not trained on; the threshold refuses REFUSED of them, plain, photographed and
    scanned. Raises UserError for fewer than LEAST of either.
    """
    digits, held_out = Digits(*part), Digits(*validation)
    if size < LEAST or len(digits.x) < LEAST or len(held_out.x) < LEAST:
        raise UserError(
            f"A gate needs at least {LEAST} training digits, {LEAST} validation digits and size = {LEAST}; "
            f"found {len(digits.x)}, {len(held_out.x)} and {size}."
        )
    size = min(size, len(digits.x))
    others = other_examples(network, digits, size, seed)
    layers = fit_layers(digit_examples(network, digits, size, seed), np.concatenate(list(others.values())), seed)
    rng = np.random.default_rng([seed, 1])
    few = held_out.x[rng.permutation(len(held_out.x))[: size // 16]]
    seen = [held_out.x, prepared(photographed(few, rng), network), prepared(scanned(few, rng), network)]
    fitted = Calibration(score="gate", gate=layers)
    return replace(fitted, threshold=float(np.quantile(digit_score(*network(np.concatenate(seen)), fitted), REFUSED)))


def temperature(logits: np.ndarray, y_true: np.ndarray) -> float:
    """Fits the temperature by which to divide logits so that softmax gives calibrated probabilities.

    Minimises the log loss on held-out images; above 1 if the network is overconfident. Predicted classes stay the same.
    Guo and others, "On calibration of modern neural networks", 2017.
    """

    def log_loss(log_t: float) -> float:
        """The mean negative log-likelihood at the temperature whose logarithm is given."""
        scaled = logits / np.exp(log_t)
        return float(np.mean(logsumexp(scaled, axis=1) - scaled[np.arange(len(y_true)), y_true]))

    return float(np.exp(minimize_scalar(log_loss, bounds=(-3, 3), method="bounded").x))


def make_gate(folder: Path) -> None:
    """Fits temperature, gate and threshold to digits.tflite in `folder`; writes gate.npz and calibration.json there."""
    network = load(folder / "digits.tflite")
    part, (x, y) = data.reference_split(data.load())
    save_gate(network, replace(fit_gate(network, part, (x, y)), temperature=temperature(network(x)[0], y)), folder)


def save_gate(network: Network, fitted: Calibration, folder: Path) -> None:
    """Writes gate.npz and calibration.json into a folder, as `Calibration.load` reads them.

    Both hold the network's SHA-256, since the gate of one network means nothing to another.
    """
    digest = {"network_sha256": sha256(network.path)}
    arrays = {f"{name}{i}": a for i, layer in enumerate(fitted.gate) for name, a in zip("wb", layer, strict=True)}
    with atomic(folder / "gate.npz") as partial:
        np.savez(partial, **arrays, **digest)
    # The threshold last: without its gate it would mean nothing.
    values = {"temperature": fitted.temperature, "score": fitted.score, "threshold": fitted.threshold}
    write_json(folder / "calibration.json", values | digest)
