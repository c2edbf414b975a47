"""Loads, checks and splits the images, and scales them for a network. Explained in notebooks/01_exploration.ipynb."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.errors import UserError
from helpers.files import digests, sha256

NAMED = ("mnist", "fashion_mnist")  # what `load` knows by name
MNIST = paths.DATA / "mnist.npz"
MNIST_SHA256 = "8e083283c91432a55ec214b424b750f347064b1c21bf79cd5a9a425e1c6c2048"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")

# Test images whose label is wrong or ambiguous, as research on label errors lists them (Northcutt, Athalye and Mueller,
# 2021). Nobody can score on them honestly, so the ceiling is about 99.85 %.
KNOWN_LABEL_ERRORS = (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)

VALIDATION = 6000  # training images that `reference_split` sets aside
SPLIT_SEED = 0  # one split for all seeds: they differ in weights, order and augmentation, not in what they may see


@dataclass(frozen=True)
class Dataset:
    """Images uint8 of shape (N, 28, 28), 0 = background, 255 = ink; labels int64 of shape (N,), from 0."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    sha256: str

    @property
    def num_classes(self) -> int:
        """The number of classes, counted from the training labels."""
        return int(self.y_train.max()) + 1

    @property
    def is_mnist(self) -> bool:
        """Whether this is MNIST itself: some facts hold for it alone."""
        return self.sha256 == MNIST_SHA256 or self.name == "mnist"


def load(dataset: str = "mnist") -> Dataset:
    """Loads a data set of 28×28 grey images.

    Args:
        dataset: "mnist", "fashion_mnist" (downloaded by Keras) or the path of an .npz file that holds the arrays
            x_train, y_train, x_test and y_test; a relative one is looked up from here, then from the project.

    Returns:
        The whole data set, checked; never a part of it.

    Raises:
        UserError: the file is missing, damaged, altered, or its arrays have other shapes or types.
    """
    if dataset == "mnist":
        loaded = _load_mnist()
    elif dataset == "fashion_mnist":
        loaded = _from_keras("fashion_mnist")
    elif path := find(dataset):
        loaded = _read(path, path.name)
    else:
        raise UserError(
            f"DATASET = {dataset!r} is neither mnist, fashion_mnist nor an existing .npz file: check the spelling or the path."
        )
    digests[dataset] = loaded.sha256
    return loaded


def find(dataset: str) -> Path | None:
    """The file that `load` reads for `dataset`, or None if there is none (Keras then downloads the data)."""
    candidates = (MNIST,) if dataset == "mnist" else (Path(dataset).expanduser(), paths.ROOT / dataset)
    return next((path for path in candidates if path.is_file()), None)


def _load_mnist() -> Dataset:
    """MNIST from data/mnist.npz, its checksum verified; from Keras's own download where the file is missing."""
    if not MNIST.exists():
        print(f"Note: {paths.display(MNIST)} is missing, so Keras downloads MNIST ('git checkout' restores the file).")
        return _from_keras("mnist")
    found = sha256(MNIST)
    if found != MNIST_SHA256:
        raise UserError(
            f"{paths.display(MNIST)} is damaged or altered: expected SHA-256 {MNIST_SHA256[:12]}…, found {found[:12]}… "
            f"({MNIST.stat().st_size:,} bytes). Restore it with 'git checkout data/mnist.npz' or 'python -m tools.make_mnist'."
        )
    return _read(MNIST, "mnist", found)


def _from_keras(name: str) -> Dataset:
    """One of Keras's own data sets, downloaded once into the user's Keras folder."""
    try:
        import keras  # here, because importing it takes seconds and data/mnist.npz needs none of it

        train, test = getattr(keras.datasets, name).load_data()
    except ImportError as error:
        raise UserError(
            f"{name} would be downloaded by Keras, which is not installed: run 'pip install .[train]' in the project's "
            "folder, or 'git checkout data/mnist.npz'."
        ) from error
    except Exception as error:  # Keras raises several types, some of them bare Exception
        raise UserError(
            f"Keras could not download {name} ({error}): check the network, or give DATASET the path of an .npz file."
        ) from error
    return _checked(name, dict(zip(ARRAYS, (*train, *test), strict=True)), name)


def _read(path: Path, name: str, digest: str | None = None) -> Dataset:
    """Reads and checks the four arrays of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {array: archive[array] for array in ARRAYS if array in archive}
    except Exception as error:  # a damaged file fails in many ways: its header is parsed as Python, its size allocated
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(
            f"{paths.display(path)} cannot be read as an .npz file ({why}): it may be truncated; fetch or make it again."
        ) from error
    if missing := [array for array in ARRAYS if array not in arrays]:
        raise UserError(f"{paths.display(path)} lacks {', '.join(missing)}: expected the arrays {', '.join(ARRAYS)}.")
    return _checked(name, arrays, paths.display(path), digest or sha256(path))


def _checked(name: str, arrays: dict[str, np.ndarray], where: str, digest: str | None = None) -> Dataset:
    """Checks shapes, types and labels, and builds the Dataset."""
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (28, 28) or len(x) == 0:
            expected = "uint8, 0 (background) to 255 (ink), of shape (N, 28, 28), N at least 1"
            raise UserError(f"{where}: x_{part} is {x.dtype} of shape {x.shape}; expected {expected}.")
        if y.shape != (len(x),):
            raise UserError(f"{where}: y_{part} has shape {y.shape}; expected ({len(x)},), one label per image.")
        whole = np.issubdtype(y.dtype, np.integer)
        if not whole or y.min() < 0:
            found = f"minimum {y.min()}" if whole else y.dtype
            raise UserError(f"{where}: y_{part} must hold whole numbers from 0; found {found}.")
    classes = np.unique(arrays["y_train"])
    if len(classes) < 2 or len(classes) != classes[-1] + 1:
        raise UserError(
            f"{where}: y_train must use every label from 0 to the largest, at least two; found {classes.tolist()[:20]}."
        )
    if arrays["y_test"].max() > classes[-1]:
        raise UserError(f"{where}: y_test holds label {arrays['y_test'].max()}, which y_train never shows.")
    digest = digest or hashlib.sha256(b"".join(arrays[array].tobytes() for array in ARRAYS)).hexdigest()
    labels = {array: arrays[array].astype(np.int64) for array in ("y_train", "y_test")}
    return Dataset(name=name, x_train=arrays["x_train"], x_test=arrays["x_test"], sha256=digest, **labels)


def sklearn_digits() -> tuple[np.ndarray, np.ndarray]:
    """Loads the digits that come with scikit-learn, by writers who are not in MNIST.

    They are the test part of "Optical recognition of handwritten digits" (Alpaydin and Kaynak, 1998) in the UCI
    repository. Nothing is trained on them; `images.preprocess` brings them to 28×28.

    Returns:
        1,797 pictures, uint8 (N, 8, 8), 0 = background, 255 = ink, and their labels, int64 (N,).
    """
    from sklearn.datasets import load_digits  # here, because importing it takes a second

    digits = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


def subset(x: np.ndarray, y: np.ndarray, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws a random part of a data set that keeps the proportions of the classes.

    Args:
        x, y: images (N, ...) and their labels (N,).
        size: how many to draw; all of them, in their order, if that is N or more.
        seed: the same seed draws the same images.

    Returns:
        Images and labels of the part, in the order of the whole.
    """
    if size >= len(x):
        return x, y
    part, _ = _stratified(y, size, seed)
    return x[part], y[part]


def split(x: np.ndarray, y: np.ndarray, validation: int, seed: int = 0):
    """Splits a data set into training and validation parts that keep the proportions of the classes.

    Args:
        x, y: images (N, ...) and their labels (N,).
        validation: how many images to set aside.
        seed: the same seed gives the same split in every notebook.

    Returns:
        (x_train, y_train), (x_validation, y_validation).

    Raises:
        UserError: one of the parts would be empty.
    """
    if not 0 < validation < len(x):
        raise UserError(
            f"VALIDATION = {validation} must lie between 1 and {len(x) - 1}, the number of images less one."
        )
    held_out, rest = _stratified(y, validation, seed)
    return (x[rest], y[rest]), (x[held_out], y[held_out])


def reference_split(dataset: Dataset):
    """The training and validation parts, as `split` returns them, of the shipped network and of all benchmarks."""
    return split(dataset.x_train, dataset.y_train, VALIDATION, SPLIT_SEED)


def _stratified(y: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `size` images, classes in proportion, and of the rest; both in ascending order.

    scikit-learn's `train_test_split` would draw other images: this one stays, since it decides which images the
    shipped network has learned from.
    """
    # Each image gets a place between 0 and 1 inside its class, in random order; taking the
    # first `size` places over all classes keeps proportions to within one image per class, at any size.
    order = np.random.default_rng(seed).permutation(len(y))
    place = np.empty(len(y))
    for label in np.unique(y):
        members = order[y[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    ranked = np.argsort(place, kind="stable")
    return np.sort(ranked[:size]), np.sort(ranked[size:])


def to_input(x: np.ndarray) -> np.ndarray:
    """Scales images for the networks: uint8 (N, 28, 28), 0..255, to float32 (N, 28, 28, 1), 0..1.

    Raises:
        UserError: another shape or type, such as images that were divided by 255 already.
    """
    x = np.asarray(x)
    if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (28, 28):
        raise UserError(f"Images must be uint8 of shape (N, 28, 28), 0..255; found {x.dtype} of shape {x.shape}.")
    return x[..., None].astype(np.float32) / 255
