"""Trains the network that reads a number as a whole: python -m tools.train_strips.

A convolutional network with the loss of connectionist temporal classification (Graves et al., 2006): it learns from
strips and their text alone, without being told where each digit stands. The strips are simulated anew for each epoch
(tools/simulate/strips.py). What is done is kept in outputs/strip-training/, so an interrupted command goes on. Writes
outputs/reference/strips.tflite. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import argparse
import concurrent.futures
import multiprocessing
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from helpers import paths, pool
from helpers.console import command, quiet_stderr
from helpers.files import atomic
from helpers.predict import strips as reading
from helpers.predict.confidence import softmax
from tools.fitting import Checkpoint
from tools.simulate.strips import strips
from tools.trainings import at_least_1, packed, write_bytes

BATCH = 64
PEAK = 2e-3  # of the learning rate
HELD_OUT = 4000  # strips with a seed of their own, to validate on
LONGEST = 9  # digits in a strip


def strip_cnn() -> keras.Model:
    """Strips (N, 32, W, 1) to logits (N, W/2, 11): of the blank, then of the ten digits. 136,539 parameters."""

    def convolution(x, filters, kernel):
        x = layers.Conv2D(filters, kernel, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization(momentum=0.98)(x))

    inputs = keras.Input((reading.HIGH, None, 1), name="strips")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.MaxPooling2D(2)(convolution(x, 16, 3))
    for filters, kernel in ((32, 3), (48, 3), (64, 3), (96, (2, 3))):
        x = layers.MaxPooling2D((2, 1))(convolution(x, filters, kernel))
    x = convolution(x, 64, (1, 5))
    x = layers.Dropout(0.1)(x)
    x = convolution(x, 64, (1, 5))
    x = layers.Conv2D(reading.ANSWERS, 1)(x)
    return keras.Model(inputs, layers.Reshape((-1, reading.ANSWERS), name="logits")(x), name="strip_cnn")


def labels(texts: list[str]) -> np.ndarray:
    """Texts for CTC: int32 (N, LONGEST), each digit plus one, filled up with 0."""
    return keras.utils.pad_sequences([[int(digit) + 1 for digit in text] for text in texts], LONGEST, padding="post")


@command
def main(argv: list[str] | None = None) -> None:
    """Trains what is missing and ships the network."""
    parser = argparse.ArgumentParser(prog="python -m tools.train_strips", description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=at_least_1, default=14, help="(default: 14)")
    parser.add_argument("--per-epoch", type=at_least_1, default=40000, help="strips in each (default: 40000)")
    args = parser.parse_args(argv)
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(0)
    folder = paths.outputs() / "strip-training"
    steps = args.per_epoch // BATCH
    model = compiled(args.epochs * steps)
    keeper = Checkpoint(folder / "state.npz", {"epochs": args.epochs, "per_epoch": args.per_epoch})
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as helper:
        epochs = range(keeper.restore(model), args.epochs)
        held_out = helper.submit(strips, HELD_OUT, 10**6) if epochs else None
        coming = helper.submit(strips, steps * BATCH, epochs[0]) if epochs else None
        for epoch in epochs:
            x, texts = coming.result()
            coming = helper.submit(strips, steps * BATCH, epoch + 1) if epoch + 1 < args.epochs else None
            keras.utils.set_random_seed(epoch)
            model.fit(x[..., None], labels(texts), batch_size=BATCH, verbose=0, callbacks=[keeper])
            loss, scores = keeper.history["loss"][-1], score(model, *held_out.result())
            print(f"epoch {epoch + 1}: loss {loss:.3f}, {scores}", flush=True)
    write_bytes(folder / "strips.keras", packed(model))
    target = paths.REFERENCE / reading.FILE.name
    with atomic(target) as partial:
        pool.fresh(convert, folder / "strips.keras", partial)  # in a process that converts but once: equal bytes
    print(f"{paths.display(target)}: {target.stat().st_size:,} bytes")


def compiled(steps: int) -> keras.Model:
    """The network, ready for so many steps: AdamW, its rate rising for a tenth of them, then falling along a cosine."""
    rise = steps // 10
    rate = keras.optimizers.schedules.CosineDecay(PEAK / 20, steps - rise, warmup_target=PEAK, warmup_steps=rise)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-3, clipnorm=1.0)
    model = strip_cnn()
    model.compile(optimizer, loss=keras.losses.CTC(), jit_compile=False)
    return model


def convert(source: Path, target: Path) -> None:
    """Writes a .keras file for LiteRT, its weights in 16 bits, for any number of strips of any width."""
    with quiet_stderr():
        small = {"optimizations": [tf.lite.Optimize.DEFAULT], "target_spec": {"supported_types": [tf.float16]}}
        keras.models.load_model(source, compile=False).export(str(target), format="litert", verbose=False, **small)


def score(model: keras.Model, x: np.ndarray, texts: list[str]) -> str:
    """The share of strips read exactly, of those that are told with a probability of at least 0.9 too."""
    logits = model.predict(x[..., None], batch_size=500, verbose=0)
    read = [reading.decode(softmax(row)) for row in logits]
    right = np.array([found.text == text for found, text in zip(read, texts, strict=True)])
    sure = np.array([found.probability(found.text) >= 0.9 for found in read])
    among = f", of these exact {right[sure].mean():.2%}" if sure.any() else ""
    return f"exact {right.mean():.2%}; {sure.mean():.1%} are sure{among}"


if __name__ == "__main__":
    from tools import train_strips  # by its name, since other processes look its functions up there

    sys.exit(train_strips.main())
