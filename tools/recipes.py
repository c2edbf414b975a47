"""How the networks of notebook 07 are trained: one recipe each, chosen on validation images.

A recipe defines a training except for data and seed. An ablation changes one field:
`dataclasses.replace(REFERENCE, label_smoothing=0.0)`. Explained in notebooks/07_faster_and_better.ipynb.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import layers

from helpers.models.augment import RandomWarp
from helpers.models.networks import answer, block, reference_cnn
from helpers.training.drawn_digits import draw
from tools.distortions import RandomNoise, RandomPatch, RandomStroke, prepare
from tools.fitting import Part, fit, one_cycle


@dataclass(frozen=True)
class Recipe:
    """A network and its training: SGD with Nesterov momentum along one cycle of the learning rate.

    `warp`, `stroke`, `patch` and `noise` are the settings of the layer of that name, RandomWarp and so on; an empty one
    omits the layer.
    """

    network: Callable[..., keras.Model]  # builds the uncompiled model; takes `fused`
    epochs: int
    batch_size: int = 128
    peak: float = 0.2  # of the learning rate
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    warp: dict[str, float] = field(default_factory=dict)
    stroke: dict[str, float] = field(default_factory=dict)
    patch: dict[str, float] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    drawn: float = 0.0  # drawn digits to add, as a share of the training images
    averaging: float = 0.0  # momentum of the moving average of the weights that is kept at the end; 0 for none
    half: bool = False  # compute in bfloat16 where this processor gains from it, see `fastest_precision`


def fast_cnn(fused: bool = False) -> keras.Model:
    """A small network for two processor cores: 17,434 parameters, 777,024 multiply-adds per image.

    With so few filters the flattened last maps need no hidden dense layer. `fused`: for training, with
    FusedBatchNormalization. Explained in notebooks/07_faster_and_better.ipynb.
    """
    inputs = keras.Input((28, 28, 1))
    x = block(inputs, 16, kernel_size=5, pool=True, fused=fused, padding="valid")
    x = block(x, 32, pool=True, fused=fused, padding="valid")
    x = block(x, 32, fused=fused, padding="valid")
    x = layers.Flatten(name="features")(x)
    return keras.Model(inputs, answer(x, 10), name="fast_cnn")


FAST = Recipe(fast_cnn, epochs=1, batch_size=256, peak=0.4, label_smoothing=0.05)
REFERENCE = Recipe(
    reference_cnn,
    epochs=18,
    warp={"rotation": 12.0, "shift": 0.08, "zoom": 0.15, "slant": 15.0, "elastic": 0.7},
    stroke={"stroke": 0.6, "blur": 0.6},
    patch={"share": 0.25, "size": 0.4},
    noise={"noise": 0.4, "share": 0.4},
    drawn=0.05,
    half=True,
)


def augmentation(recipe: Recipe) -> keras.Sequential | None:
    """The augmentation of a recipe as one stack of layers; None if it has none."""
    kinds = (RandomWarp, RandomStroke, RandomPatch, RandomNoise)
    settings = (recipe.warp, recipe.stroke, recipe.patch, recipe.noise)
    steps = [kind(**given) for kind, given in zip(kinds, settings, strict=True) if given]
    return keras.Sequential(steps, name="augmentation") if steps else None


def train(
    recipe: Recipe,
    part: Part,
    seed: int,
    checkpoint: Path | None = None,
    callbacks: tuple = (),
    start: list | None = None,
):
    """Trains a network by a recipe.

    Args:
        part: training images uint8 (N, 28, 28) and labels (N,) from 0 to 9.
        seed: of initial weights, order of images and augmentation.
        checkpoint, callbacks: see `fit`.
        start: weights to begin with, as `get_weights` returns them; by default random ones.

    Returns:
        The network (float32, only Keras's own layers), the history of `fit`, and its seconds.

    Raises:
        UserError: as `fit` does.
    """
    keras.utils.set_random_seed(seed)
    if recipe.drawn:
        drawn = draw(round(recipe.drawn * len(part[0])), seed)
        part = tuple(np.concatenate(both) for both in zip(part, drawn, strict=True))
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(fastest_precision() if recipe.half else "float32")
    try:
        learner, front = recipe.network(fused=True), augmentation(recipe)
    finally:
        keras.mixed_precision.set_global_policy(policy)
    if start:
        learner.set_weights(start)
    began = time.perf_counter()
    optimizer = keras.optimizers.SGD(
        one_cycle(recipe.peak, len(part[0]), recipe.batch_size, recipe.epochs), momentum=0.9, nesterov=True,
        weight_decay=recipe.weight_decay, use_ema=recipe.averaging > 0, ema_momentum=recipe.averaging or 0.99,
    )  # fmt: skip
    learner.compile(
        optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing), metrics=["accuracy"]
    )
    part = part[0][..., None], keras.utils.to_categorical(part[1], 10)
    change = front and prepare(front)
    history = fit(learner, part, recipe.epochs, recipe.batch_size, seed, change, callbacks, checkpoint)
    seconds = time.perf_counter() - began
    model = recipe.network()
    model.set_weights(learner.get_weights())
    return model, history, seconds


def fastest_precision() -> str:
    """Returns "mixed_bfloat16" if this processor has instructions for bfloat16 (AVX512-BF16 or AMX), else "float32".

    Such processors multiply bfloat16 matrices at least twice as fast as float32; others emulate it and lose. Decided by
    the list of instructions, which only Linux has in a file, not by a measurement that a busy moment could change.
    """
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return "float32"
    return "mixed_bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"
