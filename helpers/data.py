"""Loading and splitting the images. Pixels are never changed here. Explained in notebooks/01_exploration.ipynb."""

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.errors import UserError
from helpers.files import sha256

MNIST = paths.DATA / "mnist.npz"
MNIST_SHA256 = "8e083283c91432a55ec214b424b750f347064b1c21bf79cd5a9a425e1c6c2048"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")

# Test images whose label is wrong or ambiguous, as research on label errors lists them.
# Nobody can score on them honestly, so the ceiling is about 99.85 %.
KNOWN_LABEL_ERRORS = (947, 1621, 1901, 2130, 2462, 2597, 2654, 3520, 3558, 5937, 6651, 6783, 8527, 9679, 9729)

# SHA-256 of what `load` has read in this process, by the name it was asked for; the manifest records it.
digests: dict[str, str] = {}


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
    """Loads a data set of 28×28 gray images.

    `dataset` is "mnist", "fashion_mnist" (downloaded by Keras) or the path of an .npz file that holds
    x_train, y_train, x_test, y_test; a relative path is looked up in the working directory, then in the project.
    Raises UserError for a missing, damaged, altered or wrong-shaped file; never returns a part of the data.
    """
    if dataset == "mnist":
        loaded = _load_mnist()
    elif dataset == "fashion_mnist":
        loaded = _from_keras("fashion_mnist")
    else:
        loaded = _load_file(dataset)
    digests[dataset] = loaded.sha256
    return loaded


def find(dataset: str) -> Path | None:
    """The file that `load` reads for `dataset`, or None if there is none (Keras then brings the data)."""
    candidates = (MNIST,) if dataset == "mnist" else (Path(dataset).expanduser(), paths.ROOT / dataset)
    return next((path for path in candidates if path.is_file()), None)


def _load_file(dataset: str) -> Dataset:
    """A data set from the .npz file that `dataset` names."""
    path = find(dataset)
    if path is None:
        raise UserError(
            f"DATASET = {dataset!r} is neither mnist, fashion_mnist nor an existing .npz file: check the spelling or the path."
        )
    return _read(path, path.name)


def _load_mnist() -> Dataset:
    """MNIST from data/mnist.npz, its checksum verified; from Keras's own download where the file is missing."""
    if not MNIST.exists():
        print(
            f"Note: {paths.display(MNIST)} is missing, so Keras downloads MNIST instead (git checkout data/mnist.npz restores it)."
        )
        return _from_keras("mnist")
    found = sha256(MNIST)
    if found != MNIST_SHA256:
        raise UserError(
            f"{paths.display(MNIST)} is damaged or altered: expected SHA-256 {MNIST_SHA256[:12]}…, found {found[:12]}… "
            f"({MNIST.stat().st_size:,} bytes). Restore it with 'git checkout data/mnist.npz' or 'python data/make_mnist.py'."
        )
    return _read(MNIST, "mnist", found)


def _from_keras(name: str) -> Dataset:
    """One of Keras's own data sets, downloaded once into the user's Keras folder."""
    import keras  # here, because importing it takes seconds and data/mnist.npz needs none of it

    try:
        (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, name).load_data()
    except Exception as error:  # Keras raises several types, some of them bare Exception
        raise UserError(
            f"Keras could not download {name} ({error}): check the network, or give DATASET the path of an .npz file."
        ) from error
    return _checked(name, {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}, name)


def _read(path: Path, name: str, digest: str | None = None) -> Dataset:
    """Reads and checks the four arrays of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [array for array in ARRAYS if array not in archive]
            if missing:
                raise UserError(
                    f"{paths.display(path)} lacks {', '.join(missing)}: expected the arrays {', '.join(ARRAYS)}."
                )
            arrays = {array: archive[array] for array in ARRAYS}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile, KeyError, TypeError) as error:
        raise UserError(
            f"{paths.display(path)} cannot be read as an .npz file ({type(error).__name__}: {error}): it may be truncated; fetch or make it again."
        ) from error
    return _checked(name, arrays, paths.display(path), digest or sha256(path))


def _checked(name: str, arrays: dict[str, np.ndarray], where: str, digest: str | None = None) -> Dataset:
    """Checks shapes, types and labels, and builds the Dataset."""
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.ndim != 3 or x.shape[1:] != (28, 28) or len(x) == 0:
            raise UserError(f"{where}: x_{part} has shape {x.shape}; expected (N, 28, 28) with N of at least 1.")
        if x.dtype != np.uint8:
            raise UserError(f"{where}: x_{part} has type {x.dtype}; expected uint8, from 0 (background) to 255 (ink).")
        if y.shape != (len(x),):
            raise UserError(
                f"{where}: y_{part} has shape {y.shape}; expected ({len(x)},), one label an image of x_{part}."
            )
        if not np.issubdtype(y.dtype, np.integer) or y.min() < 0:
            raise UserError(
                f"{where}: y_{part} must hold whole numbers from 0; found {y.dtype} with minimum {y.min()}."
            )
    classes = np.unique(arrays["y_train"])
    if len(classes) < 2 or len(classes) != classes[-1] + 1:
        raise UserError(
            f"{where}: y_train must use every label from 0 to the largest, two at least; found {classes.tolist()[:20]}."
        )
    if arrays["y_test"].max() > classes[-1]:
        raise UserError(f"{where}: y_test holds label {arrays['y_test'].max()}, which y_train never shows.")
    if digest is None:
        digest = hashlib.sha256(b"".join(arrays[array].tobytes() for array in ARRAYS)).hexdigest()
    labels = {array: arrays[array].astype(np.int64) for array in ("y_train", "y_test")}
    return Dataset(name=name, x_train=arrays["x_train"], x_test=arrays["x_test"], sha256=digest, **labels)


def sklearn_digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 digits that come with scikit-learn, by other writers: pictures uint8 (N, 8, 8), labels (N,).

    From the UCI repository's "Optical recognition of handwritten digits" (Alpaydin and Kaynak, 1998). Nothing is
    trained on them; `preprocess` brings them to 28×28.
    """
    from sklearn.datasets import load_digits  # here, because importing it takes a second

    digits = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


def subset(x: np.ndarray, y: np.ndarray, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A random part of `size` images with the classes in their proportions; all of them if size >= len(x)."""
    if size >= len(x):
        return x, y
    part, _ = _stratified(y, size, seed)
    return x[part], y[part]


def split(x: np.ndarray, y: np.ndarray, validation: int, seed: int = 0):
    """Splits into training and validation parts, classes in their proportions: (x, y), (x_val, y_val).

    `validation` is the number of images set aside. The same seed gives the same split in every notebook.
    Raises UserError if either part would be empty.
    """
    if not 0 < validation < len(x):
        raise UserError(
            f"VALIDATION = {validation} must lie between 1 and {len(x) - 1}, the number of images less one."
        )
    held_out, rest = _stratified(y, validation, seed)
    return (x[rest], y[rest]), (x[held_out], y[held_out])


def _stratified(y: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of `size` images, classes in proportion, and of the rest; both in ascending order."""
    # Each image gets a place between 0 and 1 inside its class, in random order; taking the
    # first `size` places over all classes keeps proportions to within one image a class, at any size.
    order = np.random.default_rng(seed).permutation(len(y))
    place = np.empty(len(y))
    for label in np.unique(y):
        members = order[y[order] == label]
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
    ranked = np.argsort(place, kind="stable")
    return np.sort(ranked[:size]), np.sort(ranked[size:])


def to_input(x: np.ndarray) -> np.ndarray:
    """What the networks take: uint8 (N, 28, 28) to float32 (N, 28, 28, 1) in 0..1.

    Raises UserError for another shape or type, such as images that were divided by 255 already.
    """
    x = np.asarray(x)
    if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (28, 28):
        raise UserError(f"Images must be uint8 of shape (N, 28, 28), 0..255; found {x.dtype} of shape {x.shape}.")
    return x[..., None].astype(np.float32) / 255


VALIDATION = 6000  # images set aside by `reference_split`
SPLIT_SEED = 0  # one split for all seeds: they differ in weights, order and augmentation, not in what they may see
