"""A trained network from a file, behind one interface: `network(x)` returns logits and features.

LiteRT (.tflite) answers within milliseconds of process start; Keras (.keras) is the way where LiteRT is missing.
Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import importlib.util
import threading
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path

import numpy as np

from helpers import paths
from helpers.console import quiet_stderr
from helpers.data import to_input
from helpers.errors import UserError
from helpers.files import sha256
from helpers.images.mnist_form import FIELD

CLASSES = 10
IMAGES_PER_PASS = 512  # in one forward pass: more is not faster, and takes memory
Run = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # float32 (N, 28, 28, 1) -> logits (N, 10), features (N, F)


def find_model(model: str | Path | None = None) -> Path:
    """The file of the model: `model` itself, or without it the shipped one.

    That is digits.tflite, or digits.keras where LiteRT is not installed. Raises UserError if there is no such file.
    """
    if model is not None:
        path = Path(model)
        if path.suffix.lower() not in (".tflite", ".keras"):
            raise UserError(f"{path} is not a model: give a .tflite file (LiteRT) or a .keras file.")
        if not path.is_file():
            raise UserError(f"The model {path} is not there: check the path.")
        return path
    lite, keras = (paths.SHIPPED / f"digits{suffix}" for suffix in (".tflite", ".keras"))
    if lite.is_file() and importlib.util.find_spec("ai_edge_litert"):
        return lite
    if keras.is_file():
        return keras
    if lite.is_file():
        raise UserError("The package ai-edge-litert is missing: install it with 'pip install ai-edge-litert'.")
    raise UserError(f"There is no model in {paths.display(paths.SHIPPED)}: get a complete copy of the project.")


class Network:
    """The network in a LiteRT or Keras file. Safe to use from several threads.

    `sha256` is that of the LiteRT file, or of the one beside a Keras file: what was fitted to the network carries it.
    """

    def __init__(self, path: Path):
        """Loads a file and tries it. Raises UserError if it is damaged or not a digit classifier of this project."""
        self.path = path
        lite = path.with_suffix(".tflite")
        self.sha256 = sha256(lite) if lite.is_file() else None
        self._lock = threading.Lock()
        try:
            with quiet_stderr():
                self._run = (_run_keras if path.suffix.lower() == ".keras" else _run_lite)(path)
                logits, features = self._run(np.zeros((2, FIELD, FIELD, 1), np.float32))
        except UserError:
            raise
        except Exception as error:  # what a damaged or foreign file makes a loader raise is not documented
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:120]
            raise UserError(f"The model {path.name} cannot be used ({reason}): give another file.") from error
        if logits.shape != (2, CLASSES) or features.ndim != 2 or len(features) != 2 or not np.isfinite(logits).all():
            raise UserError(f"The model {path.name} is not one for digits: it does not answer with {CLASSES} logits.")
        self._none = logits[:0], features[:0]

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits (N, 10) and features (N, F), float32, of images uint8 (N, 28, 28). UserError for other arrays."""
        x = to_input(x)
        with self._lock:
            parts = [self._run(x[i : i + IMAGES_PER_PASS]) for i in range(0, len(x), IMAGES_PER_PASS)]
        # An empty array still needs shapes.
        return tuple(np.concatenate(arrays) for arrays in zip(self._none, *parts, strict=True))


def _run_lite(path: Path) -> Run:
    """What runs a LiteRT file with one float32 input (N, 28, 28, 1) and the named outputs `logits` and `features`."""
    runner = open_lite(path)
    if not {"logits", "features"} <= runner.get_output_details().keys():
        raise UserError(f"The model {path.name} has no outputs named logits and features: give another file.")
    (name, taken), *others = runner.get_input_details().items()
    if others or tuple(taken["shape"][1:]) != (FIELD, FIELD, 1) or taken["dtype"] != np.float32:
        raise UserError(f"The model {path.name} does not take float32 images of 28×28: give another file.")
    return lambda x: itemgetter("logits", "features")(runner(**{name: x}))


def open_lite(path: Path):
    """What runs a LiteRT file, with one thread. Raises UserError where LiteRT is missing, else what it raises."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise UserError(
            "A .tflite model needs the package ai-edge-litert: install it with 'pip install ai-edge-litert'."
        ) from error
    # From its bytes, not its path: a path outside the system's encoding would not be found.
    return Interpreter(model_content=path.read_bytes(), num_threads=1).get_signature_runner()


def _run_keras(path: Path) -> Run:
    """What runs a Keras file that ends in a Dense layer of 10 units, with softmax in it or after it.

    The features are that layer's input. Its logits are worked out from them, so a model with softmax inside has
    its logits too: those of the notebooks of this series can all be used.
    """
    import keras

    model = keras.models.load_model(path, compile=False)
    if tuple(model.input_shape) != (None, FIELD, FIELD, 1):
        raise UserError(f"The model {path.name} does not take images of 28×28: give another file.")
    last = next((layer for layer in model.layers[::-1] if isinstance(layer, keras.layers.Dense)), None)
    if last is None or last.units != CLASSES:
        raise UserError(f"The model {path.name} is not one for digits: it does not end in {CLASSES} units.")
    body = keras.Model(model.inputs[0], last.input)  # `input` is not there in a Sequential
    kernel, *bias = (np.asarray(weights, np.float32) for weights in last.weights)

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits and features."""
        features = np.asarray(body(x, training=False), np.float32)
        return features @ kernel + sum(bias), features

    return run


def check_pair(file: Path, fitted_to: object, network: Network) -> None:
    """Raises UserError if a file was not fitted to a network, by the SHA-256 in it; shipped files must have one."""
    shipped = network.path.parent == paths.SHIPPED
    if fitted_to != network.sha256 and network.sha256 and (shipped or fitted_to is not None):
        raise UserError(
            f"{paths.display(file)} and {network.path.name} do not belong together: get both anew, from one training."
        )


def load(model: str | Path | None = None) -> Network:
    """The network in the file that `find_model` finds. Raises UserError if there is none or it cannot be used."""
    return Network(find_model(model))
