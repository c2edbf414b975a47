"""Looks into a trained Keras network: what it computes before its answer, and what its answer depends on.

Images are float32 (N, 28, 28, 1), 0 background to 1 ink; labels whole numbers (N,). Explained in
notebooks/05_evaluation.ipynb.
"""

import cv2
import keras
import numpy as np
import tensorflow as tf
from keras import layers

BATCH = 500  # images at a time, which bounds the memory


def open_network(model: keras.Model) -> keras.Model:
    """The same network with what lies before its softmax as outputs: a dictionary of `logits` and `features`.

    Probabilities near 1 all look the same in float32, their logits do not. Features are what the last dense layer
    gets. The last layer is a Softmax, or a Dense layer that ends in softmax, as in all networks of the series.
    """
    last = model.layers[-1]
    if isinstance(last, layers.Softmax):
        logits, features = last.input, model.layers[-2].input
    else:
        dense = layers.Dense(last.units, name="logits")
        logits, features = dense(last.input), last.input
        dense.set_weights(last.get_weights())
    return keras.Model(model.inputs[0], {"logits": logits, "features": features})


def answer(network: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """What an opened network says to images: logits (N, classes) and features (N, F).

    Called directly, part by part: Keras's `predict` would compile anew for each of the many networks looked at here.
    """
    parts = [network(x[start : start + BATCH], training=False) for start in range(0, len(x), BATCH)]
    return {name: np.concatenate([part[name] for part in parts]) for name in ("logits", "features")}


def adapt_normalisation(model: keras.Model, x: np.ndarray) -> keras.Model:
    """A copy whose batch-normalisation layers use the means and variances of these images, not those of training.

    Takes no labels: only what new pictures look like. A few hundred images, of all classes, make it stable. Schneider
    and others, "Improving robustness against common corruptions by covariate shift adaptation", 2020.
    """
    adapted = keras.models.clone_model(model)
    adapted.set_weights(model.get_weights())
    for layer in adapted.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0  # forgets what it knew
    adapted(x, training=True)
    return adapted


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


def grad_cam(model: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where a network sees signs of the class y: (N, 28, 28), each map from 0 to 1.

    The last maps of the convolutions, weighted by how the class's logit depends on them, enlarged to the image.
    Selvaraju and others, "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.
    """
    opened = open_network(model)
    last = max(i for i, layer in enumerate(opened.layers) if len(layer.output.shape) == 4)
    front = keras.Model(opened.inputs[0], opened.layers[last].output)
    maps = tf.concat([front(x[start : start + BATCH], training=False) for start in range(0, len(x), BATCH)], axis=0)
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logits = maps
        for layer in opened.layers[last + 1 :]:
            logits = layer(logits)
        chosen = tf.gather(logits, y, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(chosen, maps), axis=(1, 2), keepdims=True)
    coarse = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy()
    side = x.shape[2], x.shape[1]
    heat = np.stack([cv2.resize(one, side, interpolation=cv2.INTER_CUBIC) for one in coarse]).clip(0)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-9)


def randomise(model: keras.Model, last: int, seed: int = 0) -> keras.Model:
    """A copy whose `last` layers with weights, counted from the answer, have forgotten what they learned.

    The seed must not be that of the training: it would bring back the weights from which the training set out.
    An explanation that looks the same for it explains the picture and not the network. Adebayo and others, "Sanity
    checks for saliency maps", 2018.
    """
    keras.utils.set_random_seed(seed)
    copy = keras.models.clone_model(model)
    pairs = [(new, old) for new, old in zip(copy.layers, model.layers, strict=True) if old.weights]
    for new, old in pairs[: len(pairs) - last]:
        new.set_weights(old.get_weights())
    return copy
