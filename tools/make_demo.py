"""Makes the demo: a page that reads a digit in the browser, and one that shows the inside of a network.

    python -m tools.make_demo [--model FILE]

writes outputs/site/demo/. The pages need no server and no Python: tools/demo/ holds their plain JavaScript, and this
program writes two networks beside it, the shipped one with its calibration and gate, and that of notebook 03.
Keras files are read without Keras, whose import would take longer than all the rest.
"""

import argparse
import base64
import io
import json
import re
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

from helpers import paths
from helpers.console import command
from helpers.errors import UserError
from helpers.files import write_text
from helpers.images import candidates, mnist_form, steps, strokes
from helpers.predict import lines, predictor
from helpers.predict.confidence import Calibration
from helpers.predict.network import CLASSES

SOURCES = Path(__file__).with_name("demo")
REPORT = "report.keras"  # the network that notebook 03 trains
# Of a weight. On 200 test images, the hardest among them, no probability moves by more than 0.0007, and the reading page
# loads 650 kB; with 10 bits it is 0.004 and 550 kB, with 8 bits 0.012 and 460 kB.
BITS = 12
# `models.networks.local_contrast` as Keras stores it: its layers, how much the contrast of the whole image counts, and
# what is added before the root.
CONTRAST = "AveragePooling2D Subtract Multiply AveragePooling2D Mean AveragePooling2D Multiply Add Add Sqrt TrueDivide"
WHOLE, LEAST = 0.3, 1e-4
FOLDERS = {"Conv2D": "conv2d", "Dense": "dense", "BatchNormalization": "batch_normalization"}  # in a Keras file

# Constants of the steps from a picture to MNIST's form, which picture.js takes over.
SETTINGS = {
    name: getattr(module, name)
    for module, names in {
        mnist_form: ("BOX", "FIELD", "TRACE", "STROKE"),
        steps: ("WORK", "LEAST_CONTRAST", "KERNEL"),
        strokes: ("PINHOLE",),
        candidates: ("LEAST_WORK", "NEAR", "UNDECIDED"),
        lines: ("COUNTED",),
    }.items()
    for name in names
}


def pack(array: np.ndarray, bits: int = BITS) -> dict:
    """An array (…, C) as network.js unpacks it: whole numbers of `bits` bits in base64, times a step for each place in C."""
    most = 2 ** (bits - 1) - 1
    step = np.abs(array).reshape(-1, array.shape[-1]).max(axis=0) / most
    step[step == 0] = 1
    codes = np.round(array / step).astype(np.int64).ravel() + most + 1
    stream = np.packbits((codes[:, None] >> np.arange(bits)[::-1]) & 1)
    letters = base64.b64encode(stream).decode()
    return {"shape": array.shape, "bits": bits, "steps": numbers(step), "letters": letters}


def numbers(array: np.ndarray) -> list[float]:
    """The numbers of an array with the seven digits that float32 has."""
    return [float(f"{number:.7g}") for number in array.ravel()]


def read_network(path: Path) -> dict:
    """The number of "parameters" of a .keras file and its "layers" as network.js runs them, their arrays unpacked.

    The softmax at the end is left out: the page starts from the logits. Batch normalisation right behind weights is
    folded into them. Behind pooling it stays: the largest of several numbers is not the largest any more where the
    factor is negative. Raises UserError for a damaged file, and for layers that the page does not run.
    """
    try:
        layers = _read_layers(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{paths.display(path)} cannot be read as a Keras model ({error}): give another file."
        ) from error
    found: list[dict] = []
    names = [name for name, _, _ in layers]
    start = int(names[0] == "InputLayer")
    if " ".join(names[1:]).startswith(CONTRAST):
        found.append({"kind": "contrast", "side": layers[1][1]["pool_size"][0], "whole": WHOLE, "least": LEAST})
        start += len(CONTRAST.split())
    for i, (name, config, arrays) in enumerate(layers[start:], start + 1):
        if not _add(found, name, config, arrays, last=set(names[i:]) <= {"Softmax", "Activation"}):
            raise UserError(f"{paths.display(path)} has a layer {config['name']} ({name}) that the page cannot run.")
    if not found or found[-1].get("outputs") != CLASSES or found[-1]["kind"] != "dense":
        raise UserError(f"{paths.display(path)} is not a network for digits: it does not end in {CLASSES} units.")
    return {"parameters": sum(array.size for _, _, arrays in layers for array in arrays), "layers": found}


def _read_layers(path: Path) -> list[tuple[str, dict, list[np.ndarray]]]:
    """Class, configuration and arrays of each layer. Keras names folders by class and counts: conv2d, conv2d_1."""
    seen, found = Counter(), []
    with zipfile.ZipFile(path) as file, h5py.File(io.BytesIO(file.read("model.weights.h5"))) as stored:
        for layer in json.loads(file.read("config.json"))["config"]["layers"]:
            name, arrays = layer["class_name"], []
            if name in FOLDERS:
                folder = stored["layers"][FOLDERS[name] + (f"_{seen[name]}" if seen[name] else "")]["vars"]
                arrays = [np.asarray(folder[str(i)], np.float64) for i in range(len(folder))]
                seen[name] += 1
            found.append((name, layer["config"], arrays))
    return found


def _add(found: list[dict], name: str, config: dict, weights: list[np.ndarray], last: bool) -> bool:
    """Adds one layer to those found, or changes the one before; False if the page cannot run it."""
    activation = config.get("activation", "relu" if name == "ReLU" else "linear")
    plain = all(config.get(key, 1) in (1, [1, 1]) for key in ("strides", "dilation_rate", "groups"))
    known = ("linear", "relu", "softmax") if last else ("linear", "relu")
    if config.get("data_format", "channels_last") != "channels_last" or activation not in known:
        return False
    if name in ("Conv2D", "Dense"):
        kernel, *bias = weights
        bias = bias[0] if bias else np.zeros(kernel.shape[-1])
        kind = {"kind": "dense"}
        if name == "Conv2D":
            kind = {"kind": "convolution", "size": config["kernel_size"], "padding": config["padding"]}
        found.append(kind | {"outputs": kernel.shape[-1], "weights": kernel, "bias": bias})
    elif name == "MaxPooling2D":
        plain = config["strides"] == config["pool_size"] and config["padding"] == "valid"
        found.append({"kind": "pooling", "size": config["pool_size"]})
    elif name == "BatchNormalization":
        if not found or len(weights) != 4:
            return False
        gamma, beta, mean, variance = weights
        factor = gamma / np.sqrt(variance + config["epsilon"])
        before = found[-1]
        if "weights" in before and not before.get("relu"):
            before["weights"] = before["weights"] * factor
            before["bias"] = before["bias"] * factor + beta - mean * factor
        else:
            found.append({"kind": "normalisation", "factor": factor, "summand": beta - mean * factor})
    elif name == "GlobalAveragePooling2D":
        found.append({"kind": "mean"})
    elif name == "ReLU":
        plain = config.get("max_value") is None and not config.get("negative_slope") and not config.get("threshold")
    elif name not in ("Dropout", "Flatten", "Activation", "Softmax"):
        return False
    if activation == "relu":
        if not found:
            return False
        found[-1]["relu"] = True
    return plain


def write_network(folder: Path, name: str, network: dict | None) -> None:
    """Writes a network as a script that adds it to the page's NETWORKS; None where there is no such network."""

    def plain(array: np.ndarray) -> object:
        """Arrays for JSON: large ones packed."""
        return pack(array) if array.ndim > 1 else numbers(array)

    text = json.dumps(network, default=plain, separators=(",", ":"))
    write_text(folder / f"{name}.js", f"NETWORKS.{name} = {text};\n")


def shipped() -> dict:
    """The shipped network with what was fitted to it. Raises UserError if its files are missing or damaged."""
    network = read_network(paths.REFERENCE / "digits.keras")
    calibration = Calibration.load(paths.REFERENCE)
    if calibration.score != "gate":
        raise UserError(f"The page runs a gate, and calibration.json names {calibration.score}: make it anew.")
    gate = [{"outputs": w.shape[1], "weights": w, "bias": b} for w, b in calibration.gate]
    fitted = {"temperature": calibration.temperature, "threshold": calibration.threshold, "sure": predictor.SURE}
    fitted |= {"prior": calibration.prior, "gate": gate}
    return {"title": "The shipped network", **network, "calibration": fitted}


def newest_report() -> Path | None:
    """The network of notebook 03 in the newest run that has one."""
    found = paths.outputs().glob(f"*/models/{REPORT}")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def make(folder: Path, model: Path | None) -> None:
    """Writes the pages and their networks into a folder; without a model only the shipped network is shown inside."""
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    write_text(folder / "settings.js", f"const SETTINGS = {json.dumps(SETTINGS)};\n")
    write_network(folder, "shipped", shipped())
    student = None
    if model:
        title = "Your network of notebook 03" if model.name == REPORT else f"The network in {model.name}"
        student = {"title": title, **read_network(model), "calibration": {}}
    write_network(folder, "student", student)


@command
def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.make_demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help=f"a .keras file to look into (default: the newest run's {REPORT})")
    chosen = parser.parse_args().model
    model = chosen or newest_report()
    folder = paths.outputs() / "site" / "demo"
    make(folder, model)
    size = sum((folder / name).stat().st_size for name in sources_of(folder / "index.html")) / 1000
    print(f"{paths.display(folder)}/index.html reads a digit and loads {size:,.0f} kB; inside.html shows "
          f"{paths.display(model) if model else 'the shipped network'}.")  # fmt: skip


def sources_of(page: Path) -> list[str]:
    """The page itself and the files that it loads, by name."""
    text = page.read_text(encoding="utf-8")
    return [page.name, *re.findall(r'(?:src|href)="([\w.]+\.(?:js|css))"', text)]


if __name__ == "__main__":
    raise SystemExit(main())
