"""Fits the gate: the small network that tells digits from everything else by the features of a trained classifier.

A classifier that has seen only digits is sure of its answer on letters and photographs too. Outlier exposure (Hendrycks,
Mazeika and Dietterich, "Deep anomaly detection with outlier exposure", 2019) shows it what is no digit; here only a
small network on top learns that, and the classifier stays as it is. What is no digit is drawn by helpers/nondigits.py.
`python -m helpers.rejection` fits the shipped network's gate anew.
Explained in notebooks/06_custom_image_prediction.ipynb.

Images are uint8 (N, 28, 28) as in MNIST.
"""

import sys
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from helpers import data, paths
from helpers.console import quiet_stderr
from helpers.data import to_input
from helpers.errors import NoDigit, UserError
from helpers.evaluation import confidence as confidence_
from helpers.files import atomic, sha256, write_json
from helpers.images.candidates import candidates
from helpers.images.decode import flatten_alpha
from helpers.images.mnist_form import FIELD
from helpers.images.steps import resize
from helpers.images.strokes import crop
from helpers.predict.confidence import Calibration, choose, gate, gate_inputs
from helpers.predict.network import Network, load
from helpers.predict.predictor import LAST
from tools.nondigits import FAMILIES, SIDE, Digits, Random, negatives, printed_digit, to_image

REFUSED = 0.005  # share of validation digits below the threshold, so that at most 1 % of other people's are
UNITS, EPOCHS = 64, 20  # of the gate's hidden layer, and of its training
LEAST = 50  # digits without which nothing can be fitted

Layers = tuple[tuple[np.ndarray, np.ndarray], ...]  # as Calibration.gate
Part = tuple[np.ndarray, np.ndarray]


def augmented(x: np.ndarray, seed: int) -> np.ndarray:
    """Images warped, their strokes changed and noisy, as while training a network but stronger: the same shape."""
    with quiet_stderr():  # TensorFlow greets there
        import keras

        from helpers.models import augment

    steps = augment.RandomWarp(15, 0.08, 0.2, 20, 1.0), augment.RandomStroke(0.6, 0.6), augment.RandomNoise(0.4, 0.4)
    change = augment.prepare(keras.Sequential(steps))
    parts = [change(to_input(x[i : i + 1024]), (seed, i)) for i in range(0, len(x), 1024)]
    return np.concatenate([np.round(255 * np.clip(part, 0, 1))[..., 0].astype(np.uint8) for part in parts])


def read(pictures: Iterable[np.ndarray], network: Network) -> np.ndarray:
    """What the network is shown of pictures (uint8, gray or RGB), chosen as `Predictor.read` does: uint8 (N, 28, 28).

    Those in which no digit is found are left out.
    """
    chosen = []
    for picture in pictures:
        try:
            found = np.stack([steps[LAST] for steps in candidates(picture)])
        except NoDigit:
            continue
        chosen.append(found[choose(network(found)[0], Calibration.prior)])
    return np.stack(chosen) if chosen else np.zeros((0, FIELD, FIELD), np.uint8)


def photographed(x: Iterable[np.ndarray], rng: Random) -> Iterable[np.ndarray]:
    """Simulated photographs of images (28, 28), each in a random condition of data/make_samples.py: uint8 RGB."""
    if str(paths.DATA) not in sys.path:
        sys.path.append(str(paths.DATA))  # a folder of files, not a package
    import make_samples

    for image in x:
        picture = make_samples.simulate(image, str(rng.choice(list(make_samples.CONDITIONS))), rng)
        yield picture if picture.shape[2] == 3 else flatten_alpha(picture)


def scanned(x: Iterable[np.ndarray], rng: Random) -> Iterable[np.ndarray]:
    """Images as older collections keep them: 8 to 20 pixels, by chance black and white or stretched to a square."""
    for image in x:
        cropped = crop(image)
        size = int(rng.integers(8, 21))
        square = (size, size) if rng.random() < 0.3 else None
        small = resize(cropped, size)
        small = cv2.resize(cropped, square, interpolation=cv2.INTER_AREA) if square else small
        small = np.pad(small, int(rng.integers(0, 3)))
        yield np.where(small > 110, 255, 0).astype(np.uint8) if rng.random() < 0.3 else small


# The fit ------------------------------------------------------------------------------------------------------


class Gate(NamedTuple):
    """What `fit` finds: the gate's layers, and the probability of being a digit below which a picture is refused."""

    layers: Layers
    threshold: float

    def __call__(self, network: Network, x: np.ndarray) -> np.ndarray:
        """The probability of being a digit, (N,), of images uint8 (N, 28, 28)."""
        return gate(inputs(network, x), self.layers)


def inputs(network: Network, x: np.ndarray) -> np.ndarray:
    """What the gate takes of images uint8 (N, 28, 28): see `gate_inputs`."""
    return gate_inputs(*network(x))


def digit_examples(network: Network, digits: Digits, count: int, seed: int) -> np.ndarray:
    """Digits in many styles, as inputs (N, F): plain, augmented, printed, photographed, scanned; about 2 × count."""
    rng = np.random.default_rng([seed, 0])
    x = digits.x[rng.permutation(len(digits.x))]
    printed = np.stack([to_image(printed_digit(rng, digits), False, rng, digits) for _ in range(count // 10)])
    plain = np.concatenate([x[:count], printed])
    seen = [plain, augmented(np.concatenate([x[-count:], printed]), seed)]
    seen += [read(photographed(x[: count // 16], rng), network), read(scanned(x[: count // 8], rng), network)]
    return inputs(network, np.concatenate(seen))


def other_examples(network: Network, digits: Digits, count: int, seed: int) -> dict[str, np.ndarray]:
    """The same of what is no digit, by family: about 2 × count inputs (N, F) in all."""
    found = {}
    for name, (draw, whole) in FAMILIES.items():
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])  # the same, whatever families there are
        x = negatives(name, count // len(FAMILIES), digits, rng)
        few = len(x) // 16
        if whole:
            sizes = rng.choice((FIELD, 32, SIDE, 2 * SIDE), 4 * few)
            pictures = (resize(draw(rng, digits), int(size)) for size in sizes)
        else:
            pictures = photographed(x[:few], rng)
        seen = [x, augmented(x, seed), read(pictures, network)]
        if name != "joined digits":  # in a picture one of them is found, and is a digit
            seen.append(read(scanned(x[x.any(axis=(1, 2))][: 2 * few], rng), network))
        found[name] = inputs(network, np.concatenate(seen))
    return found


def train(positive: np.ndarray, negative: np.ndarray, seed: int = 0) -> Layers:
    """A network of one hidden layer that tells two sets of inputs (N, F) apart; its scaling is in its first layer."""
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    x = np.concatenate([positive, negative])
    mean, sd = x.mean(axis=0), x.std(axis=0) + 1e-6
    learner = MLPClassifier(
        (UNITS,), alpha=0.01, batch_size=min(256, len(x)), learning_rate_init=2e-3, max_iter=EPOCHS, tol=0.0,
        n_iter_no_change=EPOCHS, random_state=seed,
    )  # fmt: skip
    with threadpool_limits(1), warnings.catch_warnings():  # one thread: the same sums on any number of cores
        warnings.simplefilter("ignore")  # it has not converged: stopping early keeps it general
        learner.fit((x - mean) / sd, np.repeat([1, 0], [len(positive), len(negative)]))
    (w0, w1), (b0, b1) = learner.coefs_, learner.intercepts_
    w0 = w0 / sd[:, None]
    return tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in ((w0, b0 - mean @ w0), (w1, b1)))


def fit(network: Network, part: Part, validation: Part, size: int = 9000, seed: int = 0) -> Gate:
    """Fits the gate of a network: about a minute on two cores. The same seed gives the same gate.

    part: the digits (images, labels) that the network was trained on; `size` of them are used, and as many
    negatives. validation: digits that it was not trained on; the threshold refuses REFUSED of them, plain,
    photographed and scanned. Raises UserError for too few of either.
    """
    digits, held_out = Digits(*part), Digits(*validation)
    if size < LEAST or len(digits.x) < LEAST or len(held_out.x) < LEAST:
        raise UserError(
            f"A gate needs at least {LEAST} training digits, {LEAST} validation digits and size = {LEAST}; "
            f"found {len(digits.x)}, {len(held_out.x)} and {size}."
        )
    size = min(size, len(digits.x))
    others = other_examples(network, digits, size, seed)
    layers = train(digit_examples(network, digits, size, seed), np.concatenate(list(others.values())), seed)
    return Gate(layers, threshold(network, layers, held_out, size // 16, seed))


def threshold(network: Network, layers: Layers, digits: Digits, pictures: int, seed: int) -> float:
    """The probability below which REFUSED of these digits lie: all plain ones, and `pictures` photographed and scanned."""
    rng = np.random.default_rng([seed, 1])
    chosen = digits.x[rng.permutation(len(digits.x))[:pictures]]
    seen = [digits.x, read(photographed(chosen, rng), network), read(scanned(chosen, rng), network)]
    return float(np.quantile(gate(inputs(network, np.concatenate(seen)), layers), REFUSED))


def calibrate(folder: Path, part: Part, validation: Part, seed: int = 0) -> Gate:
    """Fits temperature, gate and threshold to digits.tflite in `folder`; writes gate.npz and calibration.json there.

    part and validation as for `fit`. `Calibration.load` reads what this writes; the network's SHA-256 is noted
    beside it, since the gate of one network means nothing to another.
    """
    network = load(folder / "digits.tflite")
    temperature = confidence_.temperature(network(validation[0])[0], validation[1])
    found = fit(network, part, validation, seed=seed)
    save(folder, found, temperature, network_sha256=sha256(network.path))
    return found


def save(folder: Path, found: Gate, temperature: float = 1.0, **notes: str) -> None:
    """Writes gate.npz and calibration.json into a folder, as `Calibration.load` reads them."""
    arrays = {f"{name}{i}": a for i, (w, b) in enumerate(found.layers) for name, a in (("w", w), ("b", b))}
    with atomic(folder / "gate.npz") as partial:
        np.savez(partial, **arrays)
    # The threshold last: without its gate it would mean nothing.
    values = {"temperature": temperature, "score": "gate", "threshold": found.threshold}
    write_json(folder / "calibration.json", values | notes)


if __name__ == "__main__":  # fits the shipped network's gate anew, without training it
    from helpers.data import SPLIT_SEED, VALIDATION  # here, since that module imports this one

    mnist = data.load()
    calibrate(paths.REFERENCE, *data.split(mnist.x_train, mnist.y_train, VALIDATION, SPLIT_SEED))
