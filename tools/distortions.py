"""What the shipped network's training does to images beside the augmentation of the notebooks, and in which way.

Each layer takes and returns float images as those of helpers/models/augment.py. Explained in
notebooks/07_faster_and_better.ipynb.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from helpers.models.augment import Chance, RandomChange


def prepare(front: keras.Sequential) -> Callable:
    """A stack of RandomChange layers as a function of images and a seed, for an input pipeline (see `fitting.fit`)."""

    def change(images, seed):
        chance = Chance(seed)
        for layer in front.layers:
            images = layer.change(images, Chance(chance.next()))
        return images

    return change


class RandomStroke(RandomChange):
    """Makes strokes bolder, finer or softer: mixes each image with its dilation or erosion, then with its blur.

    Args:
        stroke: largest share of a 3×3 dilation, 0..1; of an erosion half as much.
        blur: largest share of a 3×3 mean, 0..1.
        seed: of the random numbers; None draws one.
    """

    def __init__(self, stroke: float = 0.5, blur: float = 0.5, seed: int | None = None, **kwargs):
        super().__init__({"stroke": stroke, "blur": blur}, seed, **kwargs)

    def change(self, images, chance):
        """The images with changed stroke width and sharpness."""
        share = ops.reshape(chance.uniform(images, -self.stroke, self.stroke), (-1, 1, 1, 1))
        bolder = ops.max_pool(images, 3, 1, "same") - images
        finer = images + ops.max_pool(-images, 3, 1, "same")  # what an erosion removes
        # Whole erosions delete thin strokes.
        images = images + ops.maximum(share, 0) * bolder + 0.5 * ops.minimum(share, 0) * finer
        softness = ops.reshape(chance.uniform(images, 0, self.blur), (-1, 1, 1, 1))
        return images + softness * (ops.average_pool(images, 3, 1, "same") - images)


class RandomNoise(RandomChange):
    """Adds Gaussian noise of random strength to some images.

    Args:
        noise: largest standard deviation, of 0..1; each image draws its own, uniformly from 0.
        share: fraction of the images that get noise.
        seed: of the random numbers; None draws one.
    """

    def __init__(self, noise: float = 0.4, share: float = 1.0, seed: int | None = None, **kwargs):
        super().__init__({"noise": noise, "share": share}, seed, **kwargs)

    def change(self, images, chance):
        """The noisy images; values may leave 0..1."""
        strength = chance.uniform(images, 0, self.noise)
        strength = ops.where(chance.uniform(images, 0, 1) < self.share, strength, 0.0)
        return images + ops.reshape(strength, (-1, 1, 1, 1)) * chance.normal(tf.shape(images))


class RandomPatch(RandomChange):
    """Covers a rectangle of an image with grey, and another one with a piece of another image.

    After Zhong and others, "Random erasing data augmentation", 2017, and the cluttered MNIST of Mnih and others,
    "Recurrent models of visual attention", 2014.

    Args:
        share: probability of each of the two.
        size: largest side of the rectangles as a fraction of the image's.
        seed: of the random numbers; None draws one.
    """

    def __init__(self, share: float = 0.5, size: float = 0.5, seed: int | None = None, **kwargs):
        super().__init__({"share": share, "size": size}, seed, **kwargs)

    def change(self, images, chance):
        """The images with patches; the labels stay valid."""
        grey = ops.reshape(chance.uniform(images, 0, 1), (-1, 1, 1, 1))
        images = ops.where(self._rectangle(images, chance), grey, images)
        # The piece comes from the image at the same place of the reversed batch.
        return ops.where(self._rectangle(images, chance), ops.maximum(images, ops.flip(images, 0)), images)

    def _rectangle(self, images, chance):
        """A random rectangle per image, or none: bool (N, H, W, 1)."""
        height, width = images.shape[1:3]
        y = ((np.arange(height, dtype="float32") + 0.5) / height).reshape(1, -1, 1, 1)
        x = ((np.arange(width, dtype="float32") + 0.5) / width).reshape(1, 1, -1, 1)
        numbers = ops.reshape(chance.uniform(images, 0, 1, numbers=5), (-1, 5, 1, 1, 1))
        centre_y, centre_x, high, wide, lot = tf.unstack(numbers, axis=1)
        inside_y, inside_x = ops.abs(y - centre_y) < high * self.size / 2, ops.abs(x - centre_x) < wide * self.size / 2
        return inside_y & inside_x & (lot < self.share)
