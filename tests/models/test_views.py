"""Views into built networks: opened for logits and features, adapted to other images."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import models
from helpers.models.networks import adapt_normalisation, open_network


@pytest.fixture(scope="module")
def trained():
    """A network that tells where a bright square lies: left or right. Learned in a second."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 0.2, (400, 28, 28, 1)).astype("float32")
    y = np.arange(400) % 2
    for image, label in zip(x, y, strict=True):
        row, column = rng.integers(4, 18), rng.integers(2, 6) + 14 * label
        image[row : row + 6, column : column + 6] = 1
    model = models.baseline_cnn(filters=(4, 8), dense_units=16, num_classes=2)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=20, epochs=6, verbose=0)
    return model, x, y


@pytest.mark.parametrize("build", [models.baseline_cnn, models.reference_cnn])
def test_an_opened_network_gives_what_makes_the_same_probabilities(build):
    model = build()
    x = np.random.default_rng(1).random((5, 28, 28, 1), np.float32)
    found = open_network(model).predict(x, verbose=0)
    assert found["features"].ndim == 2 and found["logits"].shape == (5, 10)
    assert np.allclose(keras.ops.softmax(found["logits"]), model.predict(x, verbose=0), atol=1e-6)


def test_normalisation_adapts_to_the_images_and_leaves_the_model(trained):
    model, x, y = trained
    before = [w.copy() for w in model.get_weights()]
    dim = (0.15 * x).astype("float32")  # statistics of training no longer fit
    adapted = adapt_normalisation(model, dim)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    accuracy = [np.mean(m.predict(dim, verbose=0).argmax(1) == y) for m in (model, adapted)]
    assert accuracy[1] > max(0.9, accuracy[0])
    first = next(layer for layer in adapted.layers if isinstance(layer, layers.BatchNormalization))
    into = keras.Model(adapted.inputs, first.input).predict(dim, batch_size=400, verbose=0)
    assert np.allclose(first.moving_mean, into.mean(axis=(0, 1, 2)), atol=1e-3)
