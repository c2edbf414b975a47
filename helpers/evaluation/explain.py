"""Explanations: which part of an image a network's answer depends on. Explained in notebooks/05_evaluation.ipynb.

Images are float32 (N, 28, 28, 1), 0 background to 1 ink; labels are integers (N,).
"""

import cv2
import keras
import numpy as np
import tensorflow as tf

from helpers.models.networks import AT_ONCE, open_network


def grad_cam(model: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Grad-CAM: where a network finds evidence for the classes y.

    The last feature maps, weighted by the gradient of the logit of the class, enlarged to the image. Selvaraju and
    others, "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.

    Returns:
        Heat maps (N, 28, 28), each scaled to 0..1.
    """
    opened = open_network(model)
    last = max(i for i, layer in enumerate(opened.layers) if len(layer.output.shape) == 4)
    front = keras.Model(opened.inputs[0], opened.layers[last].output)
    maps = tf.concat([front(x[start : start + AT_ONCE], training=False) for start in range(0, len(x), AT_ONCE)], axis=0)
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
    """A copy whose last layers are initialised anew, to test explanations.

    An explanation that looks the same for the copy explains the image, not the network. Adebayo and others, "Sanity
    checks for saliency maps", 2018.

    Args:
        last: number of layers with weights to randomise, counted from the output.
        seed: of the new weights; not that of the training, which would restore its initial weights.
    """
    keras.utils.set_random_seed(seed)
    copy = keras.models.clone_model(model)
    pairs = [(new, old) for new, old in zip(copy.layers, model.layers, strict=True) if old.weights]
    for new, old in pairs[: len(pairs) - last]:
        new.set_weights(old.get_weights())
    return copy
