"""One builder function per architecture, each returning an uncompiled `keras.Model`.

Inputs are float32 (N, 28, 28, 1) from 0 (background) to 1 (ink); outputs are softmax probabilities (N, num_classes).
"""

import keras
from keras import layers


def report_cnn(num_classes: int = 10) -> keras.Model:
    """The student report's network: conv32, pool, conv64, pool, dense128, softmax; 225,034 parameters for 10 classes.

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

    Pooling stands before normalisation and ReLU: with ReLU the order makes no difference to the maximum, and
    the two then work on a quarter of the values. Explained in notebooks/03_baseline_cnn.ipynb.
    """
    model = keras.Sequential([keras.Input((28, 28, 1))], name="baseline_cnn")
    for count in filters:
        model.add(layers.Conv2D(count, kernel_size, use_bias=not batch_norm))
        model.add(layers.MaxPooling2D())
        if batch_norm:
            # Keras's default momentum of 0.99 needs many hundred steps before validation can be trusted.
            model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
    model.add(layers.Flatten())
    model.add(layers.Dropout(dropout))
    model.add(layers.Dense(dense_units, activation="relu"))
    model.add(layers.Dropout(dropout))
    model.add(layers.Dense(num_classes, activation="softmax"))
    return model
