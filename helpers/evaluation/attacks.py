"""Attacks: images changed a little so that a network errs. Explained in notebooks/05_evaluation.ipynb.

Images are float32 (N, 28, 28, 1), 0 background to 1 ink; labels whole numbers (N,).
"""

import keras
import numpy as np
import tensorflow as tf

from helpers.models.networks import BATCH


def gradient(network: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How the cross-entropy of the labels changes with each pixel: the shape of x. `network` is an opened one."""
    images = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = network(images, training=False)["logits"]
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    return tape.gradient(loss, images).numpy()


def attack(
    network: keras.Model, x: np.ndarray, y: np.ndarray, epsilon: float, steps: int = 1, seed: int = 0
) -> np.ndarray:
    """The images, each pixel changed by at most epsilon (of 0..1) so that the network errs. `network` is an opened one.

    One step is the fast gradient sign method (Goodfellow, Shlens and Szegedy, 2015); several are projected gradient
    descent (Madry and others, 2018): smaller steps from a random start, each time brought back within epsilon.
    """
    x = np.asarray(x, np.float32)
    rng = np.random.default_rng(seed)
    size = epsilon if steps == 1 else 2.5 * epsilon / steps
    changed = x if steps == 1 else np.clip(x + rng.uniform(-epsilon, epsilon, x.shape).astype("float32"), 0, 1)
    for _ in range(steps):
        parts = [slice(start, start + BATCH) for start in range(0, len(x), BATCH)]
        uphill = np.concatenate([np.sign(gradient(network, changed[part], y[part])) for part in parts])
        changed = np.clip(np.clip(changed + size * uphill, x - epsilon, x + epsilon), 0, 1)
    return changed
