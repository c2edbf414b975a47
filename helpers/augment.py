"""Augmentation as Keras layers, active in training only. Explained in notebooks/02_preprocessing.ipynb."""

import math

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("helpers")
class RandomAffine(layers.Layer):
    """Rotates, shifts and zooms each image by its own random amount, in one resampling.

    Keras's RandomRotation, RandomTranslation and RandomZoom in a row resample three times and blur a 28×28
    digit three times; one combined map blurs it once. Input and output: float (N, H, W, C); what comes in
    from outside is 0, the background.

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
