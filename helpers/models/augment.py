"""Augmentation as Keras layers, active in training only. Explained in notebooks/02_preprocessing.ipynb.

Every layer takes and returns float images (N, H, W, C) from 0 (background) to 1 (ink), and changes each image by
an amount of its own.
"""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


@keras.saving.register_keras_serializable("helpers")
class RandomAffine(layers.Layer):
    """Rotates, shifts and zooms each image by its own random amount, in one resampling.

    Keras's RandomRotation, RandomTranslation and RandomZoom in a row resample three times and blur a 28×28
    digit three times; one combined map blurs it once. What comes in from outside is 0, the background.

    rotation: largest angle in degrees, either way. shift: largest move as a fraction of the side.
    zoom: largest change of size as a fraction, drawn for width and height apart.
    """

    def __init__(
        self, rotation: float = 10.0, shift: float = 0.08, zoom: float = 0.1, seed: int | None = None, **kwargs
    ):
        super().__init__(**kwargs)
        self.rotation, self.shift, self.zoom, self.seed = rotation, shift, zoom, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """Returns the images changed when `training`, else as they came."""
        if not training:
            return images
        n = ops.shape(images)[0]
        height, width = images.shape[1:3]

        def draw(limit):
            """A number for each image, from -limit to limit."""
            return keras.random.uniform((n,), -limit, limit, seed=self.generator)

        angle = draw(self.rotation * math.pi / 180)
        cos, sin = ops.cos(angle), ops.sin(angle)
        zoom_x, zoom_y = 1 + draw(self.zoom), 1 + draw(self.zoom)
        # The map goes from output to input pixels, about the centre of the image.
        a, b, d, e = cos / zoom_x, -sin / zoom_y, sin / zoom_x, cos / zoom_y
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        shift_x = centre_x - a * centre_x - b * centre_y + draw(self.shift * width)
        shift_y = centre_y - d * centre_x - e * centre_y + draw(self.shift * height)
        zero = ops.zeros((n,))
        transform = ops.stack([a, b, shift_x, d, e, shift_y, zero, zero], axis=1)
        return ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode="constant", fill_value=0.0
        )

    def get_config(self):
        """What is needed to build the layer again."""
        return super().get_config() | {
            "rotation": self.rotation,
            "shift": self.shift,
            "zoom": self.zoom,
            "seed": self.seed,
        }


class RandomChange(layers.Layer):
    """What the layers here share: they change images while training and pass them on unchanged otherwise.

    A layer defines `change(images, chance)`, whose random numbers all come from `chance`: so it can also run in an
    input pipeline, beside the training step (see `training.shuffled_batches`). Its settings become attributes and
    its configuration. Computes in float32 even where a network trains in bfloat16, whose 8 significant bits are too
    few for positions in an image.
    """

    def __init__(self, settings: dict[str, float], seed: int | None, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.settings, self.seed = dict(settings), seed
        for name, value in settings.items():
            setattr(self, name, value)
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """Returns the images changed when `training`, else as they came."""
        return self.change(images, Chance(self.generator.next())) if training else images

    def get_config(self):
        """What is needed to build the layer again."""
        return super().get_config() | dict(self.settings) | {"seed": self.seed}


class Chance:
    """Random numbers that follow from a seed, a pair of whole numbers, and the order in which they are drawn."""

    def __init__(self, seed):
        self.seed, self.drawn = tf.cast(seed, "int64"), 0

    def next(self):
        """The next seed that follows from the first."""
        self.drawn += 1
        return tf.random.experimental.stateless_fold_in(self.seed, self.drawn)

    def uniform(self, images, low: float, high: float, numbers: int = 1):
        """Between low and high: shape (N,), one number an image, or (N, numbers)."""
        shape = [tf.shape(images)[0]] + ([numbers] if numbers > 1 else [])
        return tf.random.stateless_uniform(shape, self.next(), low, high)

    def normal(self, shape):
        """Normally distributed with mean 0 and standard deviation 1."""
        return tf.random.stateless_normal(shape, self.next())


@keras.saving.register_keras_serializable("helpers")
class RandomWarp(RandomChange):
    """Rotates, shifts, zooms, slants and bends each image, in one resampling. What comes in from outside is 0.

    rotation, shift, zoom: as in RandomAffine. slant: largest lean of upright strokes in degrees, either way.
    elastic: standard deviation in pixels by which the points of a coarse grid move; the image bends smoothly between
    them (after Simard, Steinkraus and Platt, "Best practices for convolutional neural networks", 2003, who smooth
    a field of single pixels instead). Explained in notebooks/07_faster_and_better.ipynb.
    """

    GRID = 5  # control points a side: bends are about as wide as half a digit

    def __init__(
        self,
        rotation: float = 15.0,
        shift: float = 0.08,
        zoom: float = 0.15,
        slant: float = 15.0,
        elastic: float = 0.8,
        seed: int | None = None,
        **kwargs,
    ):
        settings = {"rotation": rotation, "shift": shift, "zoom": zoom, "slant": slant, "elastic": elastic}
        super().__init__(settings, seed, **kwargs)

    def change(self, images, chance):
        """The images, each through a map of its own."""
        height, width = images.shape[1:3]
        rows, columns = np.mgrid[:height, :width].reshape(2, 1, -1).astype("float32")
        y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
        a, b, c, d, right, down = (ops.expand_dims(value, 1) for value in self._map(images, chance))
        bend = self.elastic * chance.normal((2, tf.shape(images)[0], self.GRID**2))
        bend_y, bend_x = ops.unstack(ops.matmul(bend, smooth_basis(height, width, self.GRID)), 2)
        # The map goes from output to input pixels, about the centre of the image.
        from_y = c * x + d * y + down * height + bend_y + (height - 1) / 2
        from_x = a * x + b * y + right * width + bend_x + (width - 1) / 2
        return sample(images, from_y, from_x)

    def _map(self, images, chance):
        """A random 2×2 matrix (a, b; c, d) and a move (right and down, as fractions) an image: six of shape (N,)."""
        turn, slant, *zooms, right, down = tf.unstack(chance.uniform(images, -1, 1, numbers=6), axis=1)
        angle, lean = turn * (self.rotation * math.pi / 180), ops.tan(slant * (self.slant * math.pi / 180))
        zoom_x, zoom_y = (1 + self.zoom * zoom for zoom in zooms)
        cos, sin = ops.cos(angle), ops.sin(angle)
        a, b = cos / zoom_x, (lean * cos - sin) / zoom_y
        c, d = sin / zoom_x, (lean * sin + cos) / zoom_y
        return a, b, c, d, self.shift * right, self.shift * down


def smooth_basis(height: int, width: int, grid: int) -> np.ndarray:
    """How far each of grid × grid control points moves each pixel: Gaussian bumps that add up to 1, (grid², H·W)."""

    def along(size):
        """How much each control point counts at each pixel of a side, (grid, size)."""
        spacing = (size - 1) / (grid - 1)
        centres = np.arange(grid)[:, None] * spacing
        bumps = np.exp(-0.5 * ((np.arange(size) - centres) / (0.6 * spacing)) ** 2)
        return bumps / bumps.sum(axis=0)

    return np.einsum("iy,jx->ijyx", along(height), along(width)).reshape(grid**2, -1).astype("float32")


def sample(images, rows, columns):
    """The images' values at fractional positions, bilinear: (N, H, W, C) and two arrays (N, H·W) to (N, H, W, C).

    Positions outside are 0.
    """
    height, width, channels = images.shape[1:]
    # A border of zeros stands for all that is outside.
    padded = ops.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    padded = ops.reshape(padded, (-1, (height + 2) * (width + 2), channels))
    rows, columns = ops.clip(rows + 1, 0, height + 0.9999), ops.clip(columns + 1, 0, width + 0.9999)
    top, left = ops.floor(rows), ops.floor(columns)
    down, right = ops.expand_dims(rows - top, -1), ops.expand_dims(columns - left, -1)
    corner = ops.cast(top * (width + 2) + left, "int32")

    def at(offset):
        """The pixels that lie `offset` after the corner, (N, H·W, C)."""
        return ops.take_along_axis(padded, ops.expand_dims(corner + offset, -1), axis=1)

    above = at(0) * (1 - right) + at(1) * right
    below = at(width + 2) * (1 - right) + at(width + 3) * right
    return ops.reshape(above * (1 - down) + below * down, (-1, height, width, channels))


@keras.saving.register_keras_serializable("helpers")
class RandomStroke(RandomChange):
    """Makes strokes bolder, finer or softer: mixes each image with its dilation or erosion, then with its blur.

    stroke: largest share of a 3×3 dilation, 0..1; of an erosion half that. blur: largest share of a 3×3 mean.
    Explained in notebooks/07_faster_and_better.ipynb.
    """

    def __init__(self, stroke: float = 0.5, blur: float = 0.5, seed: int | None = None, **kwargs):
        super().__init__({"stroke": stroke, "blur": blur}, seed, **kwargs)

    def change(self, images, chance):
        """The images with strokes of another width and sharpness."""
        share = ops.reshape(chance.uniform(images, -self.stroke, self.stroke), (-1, 1, 1, 1))
        bolder = ops.max_pool(images, 3, 1, "same") - images
        finer = images + ops.max_pool(-images, 3, 1, "same")  # what an erosion takes away
        # Whole erosions delete thin strokes.
        images = images + ops.maximum(share, 0) * bolder + 0.5 * ops.minimum(share, 0) * finer
        softness = ops.reshape(chance.uniform(images, 0, self.blur), (-1, 1, 1, 1))
        return images + softness * (ops.average_pool(images, 3, 1, "same") - images)


@keras.saving.register_keras_serializable("helpers")
class RandomNoise(RandomChange):
    """Adds Gaussian noise to some images, to each in a strength of its own.

    share: how many images get any. noise: largest standard deviation (of 0–1); each image draws its own from 0 on.
    """

    def __init__(self, noise: float = 0.4, share: float = 1.0, seed: int | None = None, **kwargs):
        super().__init__({"noise": noise, "share": share}, seed, **kwargs)

    def change(self, images, chance):
        """The images, noisy; values may leave 0..1."""
        strength = chance.uniform(images, 0, self.noise)
        strength = ops.where(chance.uniform(images, 0, 1) < self.share, strength, 0.0)
        return images + ops.reshape(strength, (-1, 1, 1, 1)) * chance.normal(tf.shape(images))


@keras.saving.register_keras_serializable("helpers")
class RandomPatch(RandomChange):
    """Covers a rectangle of an image with gray, and lays a piece of another image on it: what is left must do.

    share: how often each of the two happens. size: largest side of the rectangles as a fraction of the image's.
    After Zhong and others, "Random erasing data augmentation", 2017, and the cluttered MNIST of Mnih and others,
    "Recurrent models of visual attention", 2014. Explained in notebooks/07_faster_and_better.ipynb.
    """

    def __init__(self, share: float = 0.5, size: float = 0.5, seed: int | None = None, **kwargs):
        super().__init__({"share": share, "size": size}, seed, **kwargs)

    def change(self, images, chance):
        """The images with patches; labels stay as they were."""
        gray = ops.reshape(chance.uniform(images, 0, 1), (-1, 1, 1, 1))
        images = ops.where(self._rectangle(images, chance), gray, images)
        # Reversed, the batch gives each image the piece of another one.
        return ops.where(self._rectangle(images, chance), ops.maximum(images, ops.flip(images, 0)), images)

    def _rectangle(self, images, chance):
        """A random rectangle an image, or none: boolean (N, H, W, 1)."""
        height, width = images.shape[1:3]
        y = ((np.arange(height, dtype="float32") + 0.5) / height).reshape(1, -1, 1, 1)
        x = ((np.arange(width, dtype="float32") + 0.5) / width).reshape(1, 1, -1, 1)
        numbers = ops.reshape(chance.uniform(images, 0, 1, numbers=5), (-1, 5, 1, 1, 1))
        centre_y, centre_x, high, wide, lot = tf.unstack(numbers, axis=1)
        inside_y, inside_x = ops.abs(y - centre_y) < high * self.size / 2, ops.abs(x - centre_x) < wide * self.size / 2
        return inside_y & inside_x & (lot < self.share)


def augmentation(
    rotation: float = 10.0, shift: float = 0.08, zoom: float = 0.1, noise: float = 0.0
) -> keras.Sequential:
    """The series' standard augmentation: RandomAffine, then Gaussian noise of standard deviation `noise` (of 0–1).

    Put it in front of a model while training; it passes images unchanged otherwise.
    """
    steps = [RandomAffine(rotation, shift, zoom)]
    if noise > 0:
        steps.append(layers.GaussianNoise(noise))
    return keras.Sequential(steps, name="augmentation")


def prepare(front: keras.Sequential) -> Callable:
    """A stack of the RandomChange layers here as a function of images and a seed, for an input pipeline."""

    def change(images, seed):
        """All layers in turn; every chance follows from the seed alone."""
        chance = Chance(seed)
        for layer in front.layers:
            images = layer.change(images, Chance(chance.next()))
        return images

    return change
