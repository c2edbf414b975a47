"""Augmentation as Keras layers, active in training only. Explained in notebooks/02_preprocessing.ipynb.

Every layer takes and returns float images (N, H, W, C) from 0 (background) to 1 (ink), and draws its random numbers
for each image separately. The layers of notebooks/07_faster_and_better.ipynb are explained there.
"""

import math

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


class RandomChange(layers.Layer):
    """Base class: changes images in training and returns them unchanged otherwise.

    A subclass defines `change(images, chance)`, whose random numbers all come from `chance`, so that it can also run in
    the input pipeline, in parallel with the training step (see tools/distortions.py). Its settings become attributes and its
    configuration. Computes in float32 even where a network trains in bfloat16, whose 8 significant bits are too few
    for positions in an image.
    """

    def __init__(self, settings: dict[str, float], seed: int | None, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.settings, self.seed = dict(settings), seed
        for name, value in settings.items():
            setattr(self, name, value)
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """Returns the images, changed if `training`."""
        return self.change(images, Chance(self.generator.next())) if training else images

    def get_config(self):
        """The arguments that rebuild the layer."""
        return super().get_config() | dict(self.settings) | {"seed": self.seed}


class Chance:
    """Random numbers determined by a seed, a pair of integers, and the order in which they are drawn."""

    def __init__(self, seed):
        self.seed, self.drawn = tf.cast(seed, "int64"), 0

    def next(self):
        """The next seed derived from the first."""
        self.drawn += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self.drawn)

    def uniform(self, images, low: float, high: float, numbers: int = 1):
        """Uniform between low and high: one number per image, (N,), or several, (N, numbers)."""
        shape = [tf.shape(images)[0]] + ([numbers] if numbers > 1 else [])
        return tf.random.stateless_uniform(shape, self.next(), low, high)

    def normal(self, shape):
        """Normal with mean 0 and standard deviation 1."""
        return tf.random.stateless_normal(shape, self.next())


@keras.saving.register_keras_serializable("helpers")
class RandomWarp(RandomChange):
    """Rotates, shifts, zooms, slants and bends each image, in one resampling; padding is 0, the background.

    Keras's RandomRotation, RandomTranslation and RandomZoom in a row resample a 28×28 digit three times, and blur it
    three times.

    Args:
        rotation: largest angle in degrees, either way.
        shift: largest shift as a fraction of the side.
        zoom: largest change of size as a fraction, drawn separately for width and height.
        slant: largest slant of upright strokes in degrees, either way.
        elastic: standard deviation in pixels by which the points of a coarse grid move; the image bends smoothly
            between them. After Simard, Steinkraus and Platt, "Best practices for convolutional neural networks",
            2003, who smooth a field of single pixels instead.
        seed: of the random numbers; None draws one.
    """

    GRID = 5  # control points per side: bends are about as wide as half a digit

    def __init__(self, rotation: float, shift: float, zoom: float, slant=0.0, elastic=0.0, seed=None, **kwargs):
        settings = {"rotation": rotation, "shift": shift, "zoom": zoom, "slant": slant, "elastic": elastic}
        super().__init__(settings, seed, **kwargs)

    def change(self, images, chance):
        """The images, each resampled by its own random map."""
        height, width = images.shape[1:3]
        rows, columns = np.mgrid[:height, :width].reshape(2, 1, -1).astype("float32")
        y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
        a, b, c, d, right, down = (ops.expand_dims(value, 1) for value in self._map(images, chance))
        bend_y = bend_x = 0.0
        if self.elastic:
            bend = self.elastic * chance.normal((2, tf.shape(images)[0], self.GRID**2))
            bend_y, bend_x = ops.unstack(ops.matmul(bend, smooth_basis(height, width, self.GRID)), 2)
        # The map goes from output to input pixels, about the centre of the image.
        from_y = c * x + d * y + down * height + bend_y + (height - 1) / 2
        from_x = a * x + b * y + right * width + bend_x + (width - 1) / 2
        return sample(images, from_y, from_x)

    def _map(self, images, chance):
        """A random 2×2 matrix (a, b; c, d) and a shift (right, down, as fractions) per image: six of shape (N,)."""
        turn, slant, *zooms, right, down = tf.unstack(chance.uniform(images, -1, 1, numbers=6), axis=1)
        angle, lean = turn * (self.rotation * math.pi / 180), ops.tan(slant * (self.slant * math.pi / 180))
        zoom_x, zoom_y = (1 + self.zoom * zoom for zoom in zooms)
        cos, sin = ops.cos(angle), ops.sin(angle)
        a, b = cos / zoom_x, (lean * cos - sin) / zoom_y
        c, d = sin / zoom_x, (lean * sin + cos) / zoom_y
        return a, b, c, d, self.shift * right, self.shift * down


def smooth_basis(height: int, width: int, grid: int) -> np.ndarray:
    """Weights of grid × grid control points at each pixel: Gaussian bumps that add up to 1, (grid², H·W)."""

    def along(size):
        """The weights along one axis: (grid, size)."""
        spacing = (size - 1) / (grid - 1)
        centres = np.arange(grid)[:, None] * spacing
        bumps = np.exp(-0.5 * ((np.arange(size) - centres) / (0.6 * spacing)) ** 2)
        return bumps / bumps.sum(axis=0)

    return np.einsum("iy,jx->ijyx", along(height), along(width)).reshape(grid**2, -1).astype("float32")


def sample(images, rows, columns):
    """Bilinear values of images (N, H, W, C) at fractional positions, two arrays (N, H·W): (N, H, W, C), 0 outside."""
    height, width, channels = images.shape[1:]
    # One pixel of zero padding stands for everything outside.
    padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    padded = ops.reshape(padded, (-1, (height + 2) * (width + 2), channels))
    rows, columns = ops.clip(rows + 1, 0, height + 0.9999), ops.clip(columns + 1, 0, width + 0.9999)
    top, left = ops.floor(rows), ops.floor(columns)
    down, right = ops.expand_dims(rows - top, -1), ops.expand_dims(columns - left, -1)
    corner = ops.cast(top * (width + 2) + left, "int32")

    def at(offset):
        """The padded pixels that lie so far behind the upper left neighbour of each place."""
        return ops.take_along_axis(padded, ops.expand_dims(corner + offset, -1), axis=1)

    above = at(0) * (1 - right) + at(1) * right
    below = at(width + 2) * (1 - right) + at(width + 3) * right
    return ops.reshape(above * (1 - down) + below * down, (-1, height, width, channels))


def augmentation(
    rotation: float = 10.0, shift: float = 0.08, zoom: float = 0.1, noise: float = 0.0
) -> keras.Sequential:
    """The standard augmentation of the series, to put in front of a model while it trains.

    Args:
        rotation: largest angle in degrees, as in RandomWarp.
        shift: largest shift as a fraction of the side.
        zoom: largest change of size as a fraction.
        noise: standard deviation of Gaussian noise, of 0..1.
    """
    steps = [RandomWarp(rotation, shift, zoom), *([layers.GaussianNoise(noise)] if noise > 0 else [])]
    return keras.Sequential(steps, name="augmentation")
