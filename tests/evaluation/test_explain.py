"""Opened networks, attacks and explanations on a small network: bounds, gradients, dependence on weights."""

import keras
import numpy as np
import pytest
from keras import layers

from helpers import models
from helpers.evaluation.attacks import attack, gradient
from helpers.evaluation.explain import grad_cam, randomise
from helpers.models.networks import adapt_normalisation, forward, open_network


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
    found = forward(open_network(model), x)
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


def test_gradient_is_that_of_the_loss(trained):
    model, x, y = trained
    network = open_network(model)
    found = gradient(network, x[:1], y[:1])
    step = np.zeros_like(x[:1])
    place = np.unravel_index(np.abs(found).argmax(), found.shape)
    step[place] = 1e-2

    def loss(images):
        logits = network(images)["logits"]
        return float(keras.losses.sparse_categorical_crossentropy(y[:1], logits, from_logits=True)[0])

    assert found[place] == pytest.approx((loss(x[:1] + step) - loss(x[:1] - step)) / 2e-2, rel=0.1, abs=1e-4)


@pytest.mark.parametrize("steps", [1, 5])
def test_attack_stays_within_epsilon_and_hurts(trained, steps):
    model, x, y = trained
    network = open_network(model)
    changed = attack(network, x[:100], y[:100], epsilon=0.3, steps=steps)
    assert np.abs(changed - x[:100]).max() <= 0.3 + 1e-6 and changed.min() >= 0 and changed.max() <= 1
    assert np.array_equal(changed, attack(network, x[:100], y[:100], epsilon=0.3, steps=steps))
    hit = np.mean(network.predict(changed, verbose=0)["logits"].argmax(1) == y[:100])
    assert hit < np.mean(network.predict(x[:100], verbose=0)["logits"].argmax(1) == y[:100]) - 0.1


def test_grad_cam_finds_the_square_and_depends_on_the_weights(trained):
    model, x, y = trained
    heat = grad_cam(model, x[:40], y[:40])
    assert heat.shape == (40, 28, 28) and heat.min() >= 0 and heat.max() <= 1
    bright = x[:40, :, :, 0] == 1
    assert heat[bright].mean() > 1.5 * heat[~bright].mean()
    other = grad_cam(randomise(model, last=99), x[:40], y[:40])
    assert np.corrcoef(heat.ravel(), other.ravel())[0, 1] < 0.9


def test_randomise_forgets_from_the_answer_on(trained):
    model, _, _ = trained
    before = [layer.get_weights() for layer in model.layers if layer.weights]
    for last in (0, 1, len(before)):
        after = [layer.get_weights() for layer in randomise(model, last).layers if layer.weights]
        same = [all(map(np.array_equal, a, b)) for a, b in zip(before, after, strict=True)]
        assert all(same[: len(same) - last]) and not same[-1:] * (last > 0) == [True]
