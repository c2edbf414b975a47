"""One builder function per architecture, each returning an uncompiled `keras.Model`, and views into built ones.

Inputs are float32 (N, 28, 28, 1) from 0 (background) to 1 (ink); outputs are softmax probabilities (N, num_classes).
"""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

AT_ONCE = 500  # images per forward pass, which bounds the memory
WINDOW = 7  # side in pixels of what `local_contrast` compares a pixel with


def report_cnn(num_classes: int = 10) -> keras.Model:
    """The network of the student report: conv32, pool, conv64, pool, dense128, softmax; 225,034 parameters.

    Explained in notebooks/03_baseline_cnn.ipynb.
    """
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(num_classes, activation="softmax"),
        ],
        name="report_cnn",
    )


def baseline_cnn(
    filters: tuple[int, int] = (32, 64),
    kernel_size: int = 3,
    dense_units: int = 128,
    dropout: float = 0.3,
    batch_norm: bool = True,
    num_classes: int = 10,
) -> keras.Model:
    """The report's network with batch normalisation after each convolution and dropout around the dense layer.

    Pooling comes before normalisation and ReLU, which then work on a quarter of the values; the maximum commutes with
    ReLU. Explained in notebooks/03_baseline_cnn.ipynb.
    """
    model = keras.Sequential([keras.Input((28, 28, 1))], name="baseline_cnn")
    for count in filters:
        model.add(layers.Conv2D(count, kernel_size, use_bias=not batch_norm))
        model.add(layers.MaxPooling2D())
        if batch_norm:
            # With Keras's default momentum of 0.99 the moving statistics lag many hundred steps behind.
            model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dropout(dropout))
    model.add(layers.Dense(dense_units, activation="relu"))
    model.add(layers.Dropout(dropout))
    model.add(layers.Dense(num_classes, activation="softmax"))
    return model


def reference_cnn(
    filters: tuple[int, int, int] = (32, 64, 128), local: bool = True, num_classes: int = 10, fused: bool = False
) -> keras.Model:
    """The shipped network: local contrast, five convolutions, global average pooling; 280,234 parameters.

    Uses only Keras's own layers unless `fused`, so the saved file loads without this package. `local=False` omits the
    local contrast. Explained in notebooks/07_faster_and_better.ipynb.
    """
    inputs = keras.Input((28, 28, 1))
    first, second, third = filters
    x = local_contrast(inputs) if local else inputs
    x = block(x, first, kernel_size=5, pool=True, fused=fused)
    x = block(x, second, fused=fused)
    x = block(x, second, pool=True, fused=fused)
    x = block(x, third, fused=fused)
    x = block(x, third, fused=fused)
    x = layers.GlobalAveragePooling2D(name="features")(x)
    return keras.Model(inputs, answer(x, num_classes), name="reference_cnn")


def local_contrast(images):
    """Local contrast normalisation: each pixel minus the local mean, divided by the local standard deviation.

    Makes the input invariant to brightness and contrast, global or slowly varying. (N, H, W, 1) in and out. After
    Jarrett and others, "What is the best multi-stage architecture for object recognition?", 2009. Explained in
    notebooks/08_robustness.ipynb.
    """

    def mean(x):
        """The mean of the window round each pixel."""
        return layers.AveragePooling2D(WINDOW, strides=1, padding="same", dtype="float32")(x)

    difference = layers.Subtract(dtype="float32")([images, mean(images)])
    energy = difference * difference
    # The contrast of the whole image is added, so that noise in an empty corner is not amplified.
    around = mean(mean(energy)) + 0.3 * ops.mean(energy, axis=(1, 2, 3), keepdims=True)
    return difference / ops.sqrt(around + 1e-4)


def block(x, filters, kernel_size=3, pool=False, fused=False, padding="same"):
    """Convolution, pooling, batch normalisation, ReLU."""
    x = layers.Conv2D(filters, kernel_size, padding=padding, use_bias=False)(x)
    if pool:
        x = layers.MaxPooling2D()(x)
    normalisation = FusedBatchNormalization if fused else layers.BatchNormalization
    return layers.ReLU()(normalisation(momentum=0.9)(x))


def answer(features, num_classes):
    """Class probabilities, with a separate layer for the logits, which the score for non-digits needs."""
    return layers.Softmax(name="probabilities", dtype="float32")(
        layers.Dense(num_classes, name="logits", dtype="float32")(features)
    )


class FusedBatchNormalization(layers.BatchNormalization):
    """Batch normalisation by TensorFlow's fused kernel; in training Keras 3 makes a dozen passes over memory instead.

    It has the same weights in the same order, so they can be copied to a network built without it:
    `models.reference_cnn().set_weights(trained.get_weights())`. Explained in notebooks/07_faster_and_better.ipynb.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalises by the statistics of the batch if `training`, else by the moving ones."""
        if not training:
            return super().call(inputs, training=False)
        empty = tf.zeros(0)
        result = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=tf.convert_to_tensor(self.gamma), offset=tf.convert_to_tensor(self.beta), mean=empty,
            variance=empty, epsilon=self.epsilon, is_training=True,
        )  # fmt: skip
        for moving, batch in ((self.moving_mean, result.batch_mean), (self.moving_variance, result.batch_variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return result.y


def multiplications(model: keras.Model) -> int:
    """Multiply-adds per image in the convolutions and dense layers.

    The other layers (normalisation, activation, pooling) are bound by memory rather than by arithmetic.
    """
    counted = [n for n in model.layers if isinstance(n, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense)]
    # The output of a dense layer has no places, so its kernel counts once.
    return sum(math.prod(layer.output.shape[1:-1]) * math.prod(layer.kernel.shape) for layer in counted)


def open_network(model: keras.Model) -> keras.Model:
    """The same network with other outputs: a dictionary of `logits` and `features`, the input of the last dense layer.

    In float32, probabilities near 1 are indistinguishable, their logits are not. The model must end in a Softmax layer
    or in a Dense layer with softmax, as all networks of the series do.
    """
    last = model.layers[-1]
    if isinstance(last, layers.Softmax):
        logits, features = last.input, model.layers[-2].input
    else:
        dense = layers.Dense(last.units, name="logits")
        logits, features = dense(last.input), last.input
        dense.set_weights(last.get_weights())
    return keras.Model(model.inputs[0], {"logits": logits, "features": features})


def forward(network: keras.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """The forward pass of an opened network on images float32 (N, 28, 28, 1): logits (N, classes), features (N, F).

    Called directly, in batches: Keras's `predict` would compile a graph for each of the many networks compared here.
    """
    parts = [network(x[start : start + AT_ONCE], training=False) for start in range(0, len(x), AT_ONCE)]
    return {name: np.concatenate([part[name] for part in parts]) for name in ("logits", "features")}


def adapt_normalisation(model: keras.Model, x: np.ndarray) -> keras.Model:
    """A copy whose batch-normalisation layers use the statistics of these images instead of those of training.

    Needs no labels; a few hundred images of all classes give stable statistics. Schneider and others, "Improving
    robustness against common corruptions by covariate shift adaptation", 2020.
    """
    adapted = keras.models.clone_model(model)
    adapted.set_weights(model.get_weights())
    for layer in adapted.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0  # discards the statistics of training
    adapted(x, training=True)
    return adapted
