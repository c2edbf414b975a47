"""tools.recipes, and the networks they train."""

import dataclasses

import keras
import numpy as np
import pytest

from benchmarks.accuracy import tiny_cnn
from helpers import data, models
from helpers.data import to_input
from helpers.errors import UserError
from tools import recipes


def part(n):
    dataset = data.load()
    return dataset.x_train[:n], dataset.y_train[:n]


@pytest.mark.parametrize(
    "builder, size", [(recipes.fast_cnn, 17_434), (models.reference_cnn, 280_234), (tiny_cnn, 1_930)]
)
def test_networks_have_their_published_size_and_exchange_weights(builder, size):
    plain, fused = builder(), builder(fused=True)
    assert plain.count_params() == fused.count_params() == size
    assert {"logits", "features", "probabilities"} <= {layer.name for layer in plain.layers}
    plain.set_weights(fused.get_weights())
    x = to_input(part(20)[0])
    np.testing.assert_allclose(plain.predict(x, verbose=0), fused.predict(x, verbose=0), atol=1e-5)


def test_training_gives_a_plain_float32_network_and_repeats():
    recipe = dataclasses.replace(recipes.REFERENCE, network=recipes.fast_cnn, epochs=1, batch_size=64)
    results = [recipes.train(recipe, part(256), seed=4) for _ in range(2)]
    (model, history, seconds), (again, history_again, _) = results
    assert history == history_again and set(history) == {"accuracy", "loss"}
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert seconds > 0 and keras.mixed_precision.global_policy().name == "float32"
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert not any(isinstance(layer, models.FusedBatchNormalization) for layer in model.layers)


def test_fast_recipe_learns():
    model, _, _ = recipes.train(recipes.FAST, part(6000), seed=0)
    x, y = data.load().x_test[:2000], data.load().y_test[:2000]
    assert (model.predict(to_input(x), verbose=0).argmax(axis=1) == y).mean() > 0.8


def test_a_recipe_without_augmentation_has_no_layers_for_it():
    assert recipes.augmentation(recipes.FAST) is None
    names = [type(layer).__name__ for layer in recipes.augmentation(recipes.REFERENCE).layers]
    assert names == ["RandomWarp", "RandomStroke", "RandomPatch", "RandomNoise"]


@pytest.mark.parametrize(
    "flags, expected",
    [
        ("fpu avx512f avx512_bf16", "mixed_bfloat16"),
        ("avx2 amx_bf16", "mixed_bfloat16"),
        ("avx2", "float32"),
        (None, "float32"),
    ],
)
def test_precision_follows_from_the_processors_instructions(monkeypatch, flags, expected):
    def read_text(path, encoding):
        if flags is None:
            raise FileNotFoundError
        return f"processor : 0\nflags : {flags}\n"

    monkeypatch.setattr(recipes.Path, "read_text", read_text)
    assert recipes.fastest_precision() == expected


def test_a_diverging_training_is_one_sentence():
    wild = dataclasses.replace(recipes.FAST, peak=1e20)
    with pytest.raises(UserError, match="the loss is not a number"):
        recipes.train(wild, part(600), seed=0)
