"""Adversarial attacks on an opened network (see `models.open_network`). Explained in notebooks/05_evaluation.ipynb.

Images are float32 (N, 28, 28, 1), 0 background to 1 ink; labels are integers (N,).
"""

import keras
import numpy as np
import tensorflow as tf

from helpers.models.networks import AT_ONCE


def gradient(network: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient of the cross-entropy with respect to the images, of the shape of x."""
    images = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = network(images, training=False)["logits"]
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    return tape.gradient(loss, images).numpy()


def attack(
    network: keras.Model, x: np.ndarray, y: np.ndarray, epsilon: float, steps: int = 1, seed: int = 0
) -> np.ndarray:
    """Adversarial images, of the shape of x, that increase the loss.

    One step is the fast gradient sign method (Goodfellow, Shlens and Szegedy, 2015); several are projected gradient
    descent (Madry and others, 2018): smaller steps from a random start, each projected back within epsilon.

    Args:
        epsilon: largest change of a pixel, of 0..1.
        steps: number of gradient steps.
        seed: of the random start.
    """
    x = np.asarray(x, np.float32)
    rng = np.random.default_rng(seed)
    size = epsilon if steps == 1 else 2.5 * epsilon / steps
    changed = x if steps == 1 else np.clip(x + rng.uniform(-epsilon, epsilon, x.shape).astype("float32"), 0, 1)
    for _ in range(steps):
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(x), AT_ONCE)]
        uphill = np.concatenate([np.sign(gradient(network, changed[part], y[part])) for part in parts])
        changed = np.clip(np.clip(changed + size * uphill, x - epsilon, x + epsilon), 0, 1)
    return changed
