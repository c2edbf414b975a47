"""Augmentation as Keras layers, active in training only. Explained in notebooks/02_preprocessing.ipynb.

Every layer takes and returns float images (N, H, W, C) from 0 (background) to 1 (ink), and changes each image by
an amount of its own.
"""

import math

import keras
import numpy as np
from keras import layers, ops


class RandomChange(layers.Layer):
    """What the layers here share: they change images while training and pass them on unchanged otherwise.

    A layer defines `change(images)`. Its settings become attributes and its configuration. Computes in float32
    even where a network trains in bfloat16, whose 8 significant bits are too few for positions in an image.
    """

    def __init__(self, settings: dict[str, float], seed: int | None, **kwargs):
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.settings, self.seed = dict(settings), seed
        for name, value in settings.items():
            setattr(self, name, value)
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """Returns the images changed when `training`, else as they came."""
        return self.change(images) if training else images

    def draw(self, images, limit: float):
        """One number an image between -limit and limit: shape (N,)."""
        return keras.random.uniform((ops.shape(images)[0],), -limit, limit, seed=self.generator)

    def get_config(self):
        """What is needed to build the layer again."""
        return super().get_config() | dict(self.settings) | {"seed": self.seed}


@keras.saving.register_keras_serializable("helpers")
class RandomAffine(RandomChange):
    """Rotates, shifts and zooms each image by its own random amount, in one resampling.

    Keras's RandomRotation, RandomTranslation and RandomZoom in a row resample three times and blur a 28×28
    digit three times; one combined map blurs it once. What comes in from outside is 0, the background.

    rotation: largest angle in degrees, either way. shift: largest move as a fraction of the side.
    zoom: largest change of size as a fraction, drawn for width and height apart.
    """

    def __init__(
        self, rotation: float = 10.0, shift: float = 0.08, zoom: float = 0.1, seed: int | None = None, **kwargs
    ):
        super().__init__({"rotation": rotation, "shift": shift, "zoom": zoom}, seed, **kwargs)

    def change(self, images):
        """The images, each through a map of its own."""
        n = ops.shape(images)[0]
        height, width = images.shape[1:3]
        angle = self.draw(images, self.rotation * math.pi / 180)
        cos, sin = ops.cos(angle), ops.sin(angle)
        zoom_x, zoom_y = 1 + self.draw(images, self.zoom), 1 + self.draw(images, self.zoom)
        # The map goes from output to input pixels, about the centre of the image.
        a, b, d, e = cos / zoom_x, -sin / zoom_y, sin / zoom_x, cos / zoom_y
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        shift_x = centre_x - a * centre_x - b * centre_y + self.draw(images, self.shift * width)
        shift_y = centre_y - d * centre_x - e * centre_y + self.draw(images, self.shift * height)
        zero = ops.zeros((n,))
        transform = ops.stack([a, b, shift_x, d, e, shift_y, zero, zero], axis=1)
        return ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode="constant", fill_value=0.0
        )


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

    def change(self, images):
        """The images, each through a map of its own."""
        height, width = images.shape[1:3]
        rows, columns = np.mgrid[:height, :width].reshape(2, 1, -1).astype("float32")
        y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
        a, b, c, d, right, down = (ops.expand_dims(value, 1) for value in self._map(images))
        grid = (2, ops.shape(images)[0], self.GRID**2)
        bend = keras.random.normal(grid, stddev=self.elastic, seed=self.generator)
        bend_y, bend_x = ops.unstack(ops.matmul(bend, smooth_basis(height, width, self.GRID)), 2)
        # The map goes from output to input pixels, about the centre of the image.
        from_y = c * x + d * y + down * height + bend_y + (height - 1) / 2
        from_x = a * x + b * y + right * width + bend_x + (width - 1) / 2
        return sample(images, from_y, from_x)

    def _map(self, images):
        """A random 2×2 matrix (a, b; c, d) and a move (right and down, as fractions) an image: six of shape (N,)."""
        angle = self.draw(images, self.rotation * math.pi / 180)
        lean = ops.tan(self.draw(images, self.slant * math.pi / 180))
        zoom_x, zoom_y = 1 + self.draw(images, self.zoom), 1 + self.draw(images, self.zoom)
        cos, sin = ops.cos(angle), ops.sin(angle)
        a, b = cos / zoom_x, (lean * cos - sin) / zoom_y
        c, d = sin / zoom_x, (lean * sin + cos) / zoom_y
        return a, b, c, d, self.draw(images, self.shift), self.draw(images, self.shift)


def smooth_basis(height: int, width: int, grid: int) -> np.ndarray:
    """How far each of grid × grid control points moves each pixel: Gaussian bumps that add up to 1, (grid², H·W)."""

    def along(size):
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

    def change(self, images):
        """The images with strokes of another width and sharpness."""
        share = ops.reshape(self.draw(images, self.stroke), (-1, 1, 1, 1))
        bolder = ops.max_pool(images, 3, 1, "same") - images
        finer = images + ops.max_pool(-images, 3, 1, "same")  # what an erosion takes away
        # Whole erosions delete thin strokes.
        images = images + ops.maximum(share, 0) * bolder + 0.5 * ops.minimum(share, 0) * finer
        softness = ops.reshape(ops.abs(self.draw(images, self.blur)), (-1, 1, 1, 1))
        return images + softness * (ops.average_pool(images, 3, 1, "same") - images)


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
