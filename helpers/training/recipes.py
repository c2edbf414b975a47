"""How the networks of notebook 07 are trained: one recipe each, chosen on validation images.

A recipe holds everything that makes a training what it is, but for the data and the seed. An ablation changes one
field: `dataclasses.replace(REFERENCE, label_smoothing=0.0)`. Explained in notebooks/07_faster_and_better.ipynb.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from helpers.data import to_input
from helpers.models import augment
from helpers.models.networks import fast_cnn, reference_cnn
from helpers.training.drawn_digits import draw
from helpers.training.fitting import fit, one_cycle

Part = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Recipe:
    """A network and its training: SGD with Nesterov momentum along one cycle of the learning rate.

    network: builds the uncompiled model; takes num_classes and fused. warp, stroke, patch, noise: the settings of
    augment's layers of that name; an empty one leaves the layer out. drawn: how many digits `handwriting` adds to the
    training images, as a share of them. averaging: momentum of an exponential moving average of the weights, which
    the network keeps at the end; 0 for none. half: compute in bfloat16 where this processor gains from it (see
    `fastest_precision`).
    """

    network: Callable[..., keras.Model]
    epochs: int
    batch_size: int = 128
    peak: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    warp: dict[str, float] = field(default_factory=dict)
    stroke: dict[str, float] = field(default_factory=dict)
    patch: dict[str, float] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)
    drawn: float = 0.0
    averaging: float = 0.0
    half: bool = False


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
    """The recipe's augmentation as one stack of layers, or None if it has none."""
    steps = []
    if recipe.warp:
        steps.append(augment.RandomWarp(**recipe.warp))
    if recipe.stroke:
        steps.append(augment.RandomStroke(**recipe.stroke))
    if recipe.patch:
        steps.append(augment.RandomPatch(**recipe.patch))
    if recipe.noise:
        steps.append(augment.RandomNoise(**recipe.noise))
    return keras.Sequential(steps, name="augmentation") if steps else None


def train(
    recipe: Recipe,
    part: Part,
    seed: int,
    validation: Part | None = None,
    checkpoint: Path | None = None,
    callbacks: tuple[keras.callbacks.Callback, ...] = (),
    num_classes: int = 10,
) -> tuple[keras.Model, dict[str, list[float]], float]:
    """Trains by the recipe; returns the network (float32, Keras's own layers), the history and seconds of `fit`.

    `part` and `validation` are (images uint8 (N, 28, 28), labels (N,)). With `checkpoint`, see `fit`.
    Raises UserError as that does.
    """
    keras.utils.set_random_seed(seed)
    if recipe.drawn:
        drawn = draw(round(recipe.drawn * len(part[0])), seed)
        part = tuple(np.concatenate(both) for both in zip(part, drawn, strict=True))
    policy = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(fastest_precision() if recipe.half else "float32")
    try:
        learner, front = recipe.network(num_classes=num_classes, fused=True), augmentation(recipe)
    finally:
        keras.mixed_precision.set_global_policy(policy)
    schedule = one_cycle(recipe.peak, len(part[0]), recipe.batch_size, recipe.epochs)
    start = time.perf_counter()
    history = fit(
        learner,
        (part[0][..., None], keras.utils.to_categorical(part[1], num_classes)),
        validation and (to_input(validation[0]), keras.utils.to_categorical(validation[1], num_classes)),
        recipe.epochs,
        recipe.batch_size,
        prepare=front and augment.prepare(front),
        callbacks=callbacks,
        optimizer=keras.optimizers.SGD(
            schedule,
            momentum=0.9,
            nesterov=True,
            weight_decay=recipe.weight_decay,
            use_ema=recipe.averaging > 0,
            ema_momentum=recipe.averaging or 0.99,
        ),
        label_smoothing=recipe.label_smoothing,
        checkpoint=checkpoint,
        seed=seed,
    )
    seconds = time.perf_counter() - start
    model = recipe.network(num_classes=num_classes)
    model.set_weights(learner.get_weights())
    return model, history, seconds


def fastest_precision() -> str:
    """ "mixed_bfloat16" where this processor has instructions for bfloat16 (AVX512-BF16 or AMX), else "float32".

    Such processors multiply bfloat16 matrices twice as fast as float32 or faster; others imitate it and lose. The
    processor's list of instructions decides rather than a measurement, so that a busy moment cannot change a result.
    Only Linux tells the list in a file; elsewhere float32 is taken.
    """
    try:
        flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return "float32"
    return "mixed_bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"
