"""The smallest integer network: python -m benchmarks.edge [--seeds 3].

Trains the student of notebooks/09_edge_deployment.ipynb as long as benchmarks/accuracy.py trains its small networks, and
scores its int8 LiteRT file, which has at most 16 KB (16,384 bytes); some ten minutes of a quiet core for each seed. It
learns from labels: asking the teacher about ever new augmented images would take several times as long. Nothing is
chosen by the test images. Each training is kept in outputs/edge/ and goes on after an interruption;
outputs/reference/edge.json is written when all seeds are there.
"""

import argparse
import dataclasses
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.accuracy import LITTLE, parts, plain
from helpers import paths
from helpers.console import command, quiet_stderr
from helpers.data import to_input
from helpers.files import write_json
from helpers.models.networks import FusedBatchNormalization
from helpers.notebook.run import environment
from tools import recipes, trainings

FILE = paths.REFERENCE / "edge.json"
CALIBRATION = 500  # training images that set the ranges of the activations
ANSWERS_AT_ONCE = 500


def student(num_classes: int = 10, fused: bool = False) -> keras.Model:
    """8,618 parameters; normalisation before pooling folds into the kernels, and one-letter names save a kilobyte."""
    name = iter("abcdefghijklmnopqrstuvwxyz")
    normalisation = FusedBatchNormalization if fused else layers.BatchNormalization
    network = keras.Sequential([keras.Input((28, 28, 1))], name="s")
    for maps, size, pool in ((8, 5, True), (12, 3, False), (12, 3, True), (20, 3, False), (20, 3, False)):
        network.add(layers.Conv2D(maps, size, padding="same", use_bias=False, name=next(name)))
        network.add(normalisation(momentum=0.9, name=next(name)))
        network.add(layers.ReLU(name=next(name)))
        if pool:
            network.add(layers.MaxPooling2D(name=next(name)))
    network.add(layers.GlobalAveragePooling2D(name=next(name)))
    network.add(layers.Dense(num_classes, name=next(name)))
    network.add(layers.Softmax(name=next(name)))
    return network


RECIPE = dataclasses.replace(LITTLE, network=student, batch_size=256, peak=0.6)


def integer_file(model, images: np.ndarray) -> bytes:
    """The network as an int8 LiteRT file, calibrated on images float32 (N, 28, 28, 1)."""

    def calibration():
        """One image after the other, as the converter wants them."""
        for image in images:
            yield [image[None]]

    return lite_file(
        model,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=calibration,
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
    )


def lite_file(model, **options) -> bytes:
    """The network as a LiteRT file; the options are those of LiteRT's converter."""
    with tempfile.TemporaryDirectory() as folder, quiet_stderr():
        file = Path(folder) / "model.tflite"
        model.export(str(file), format="litert", verbose=False, **options)
        return file.read_bytes()


def answers(file: bytes, images: np.ndarray) -> np.ndarray:
    """The classes that a LiteRT file gives to images float32 (N, 28, 28, 1)."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet_stderr():
        run = Interpreter(model_content=file, num_threads=1).get_signature_runner()
    [name], [result] = run.get_input_details(), run.get_output_details()
    batches = np.array_split(images, max(1, len(images) // ANSWERS_AT_ONCE))
    return np.concatenate([run(**{name: batch})[result] for batch in batches]).argmax(axis=1)


def train_and_score(seed: int, train, validation, test) -> dict:
    """Trains with one seed; bytes of the int8 file, and what it and the float32 network are worth."""
    tf.config.experimental.enable_op_determinism()
    checkpoint = paths.outputs() / "edge" / f"seed-{seed}.npz"
    model, _, _ = recipes.train(RECIPE, train, seed, checkpoint=checkpoint)
    file = integer_file(model, to_input(train[0][:CALIBRATION]))
    found = {"seed": seed, "parameters": model.count_params(), "bytes": len(file)}
    for part, (x, y) in {"val": validation, "test": test}.items():
        found[f"{part}_accuracy"] = float(np.mean(answers(file, to_input(x)) == y))
        float32 = model.predict(to_input(x), batch_size=1000, verbose=0).argmax(axis=1)
        found[f"{part}_accuracy_float32"] = float(np.mean(float32 == y))
    checkpoint.unlink(missing_ok=True)
    return found


@command
def main(argv: list[str] | None = None) -> None:
    """Trains what is missing, writes the file, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edge", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=trainings.at_least_1, default=3, help="how many (default: 3)")
    trainings.add_training_options(parser)
    args = parser.parse_args(argv)
    kept = paths.outputs() / "edge" / "rows.json"
    found = trainings.train_kept(kept, plain(RECIPE), train_and_score, range(args.seeds), args, parts())
    write_json(FILE, {"recipe": plain(RECIPE), "rows": found} | environment())
    print(f"{found[0]['parameters']:,} parameters, files of {max(row['bytes'] for row in found):,} bytes at most")
    for part in ("val", "test"):
        for kind in ("", "_float32"):
            name = f"{part}_accuracy{kind}"
            print(f"{name:24} {trainings.percent([row[name] for row in found]):>18}")


if __name__ == "__main__":
    from benchmarks import edge as importable  # its functions are looked up by their module in other processes

    sys.exit(importable.main())
