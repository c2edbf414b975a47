"""Looks into a trained Keras network: what it computes before its answer, and what its answer depends on.

Images are float32 (N, 28, 28, 1), 0 background to 1 ink; labels whole numbers (N,). Explained in
notebooks/05_evaluation.ipynb.
"""

import cv2
import keras
import numpy as np
import tensorflow as tf

from helpers.models.networks import BATCH, open_network


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
