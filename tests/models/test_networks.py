"""helpers.models: shapes and counts, and what augmentation may do."""

import keras
import numpy as np
import pytest

from helpers import data, models
from helpers.data import to_input
from helpers.models import augment


@pytest.fixture(scope="module", autouse=True)
def deterministic():
    """As the notebooks' set-up call does it."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


def images(n, seed=0):
    return np.random.default_rng(seed).random((n, 28, 28, 1)).astype("float32")


# --- models


def test_the_reports_network_has_its_published_size():
    model = models.report_cnn()
    assert model.count_params() == 225_034
    assert [layer.output.shape[1:] for layer in model.layers if layer.weights] == [
        (26, 26, 32), (11, 11, 64), (128,), (10,)
    ]  # fmt: skip


def test_baseline_adds_normalisation_only_to_the_count():
    # Four numbers per map for batch normalisation, in place of one bias per filter.
    assert models.baseline_cnn().count_params() == 225_034 + (4 - 1) * (32 + 64)
    assert models.baseline_cnn(batch_norm=False).count_params() == 225_034


@pytest.mark.parametrize("builder", [models.report_cnn, models.baseline_cnn])
@pytest.mark.parametrize("classes", [10, 4])
def test_outputs_are_probabilities(builder, classes):
    model = builder(num_classes=classes)
    assert model.input_shape == (None, 28, 28, 1) and not model.compiled
    probabilities = model.predict(images(5), verbose=0)
    assert probabilities.shape == (5, classes) and (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_settings_reach_the_layers():
    model = models.baseline_cnn(filters=(8, 16), kernel_size=5, dense_units=24, dropout=0.4, batch_norm=False)
    first, second = (layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D))
    assert (first.filters, second.filters, first.kernel_size, second.kernel_size) == (8, 16, (5, 5), (5, 5))
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.4, 0.4]
    assert [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)] == [24, 10]
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers)


def test_fused_normalisation_is_keras_normalisation():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(1, 3, (64, 9, 9, 5)).astype("float32")
    for dtype, tolerance in (("float32", 1e-3), ("mixed_bfloat16", 0.05)):
        plain = keras.layers.BatchNormalization(momentum=0.9, dtype=dtype)
        fused = models.FusedBatchNormalization(momentum=0.9, dtype=dtype)
        for layer in (plain, fused):
            layer.build(x.shape)
        for training in (True, False):
            ours, theirs = (np.asarray(layer(x, training=training)).astype("float32") for layer in (fused, plain))
            np.testing.assert_allclose(ours, theirs, atol=tolerance)
        # Bessel's correction, which only the fused kernel makes: 1 in 5,184
        np.testing.assert_allclose(fused.get_weights()[2], plain.get_weights()[2], rtol=1e-3)
        np.testing.assert_allclose(fused.get_weights()[3], plain.get_weights()[3], rtol=3e-3)


def test_local_contrast_takes_brightness_and_contrast_out():
    x = keras.Input((28, 28, 1))
    contrast = keras.Model(x, models.local_contrast(x))
    digit = to_input(data.load().x_train[:1])
    seen = contrast.predict(digit, verbose=0)
    for changed in (0.5 * digit + 0.3, 0.25 * digit + np.linspace(0, 0.5, 28, dtype="float32").reshape(1, 1, 28, 1)):
        inner = np.s_[:, 6:-6, 6:-6]
        assert np.corrcoef(contrast.predict(changed, verbose=0)[inner].ravel(), seen[inner].ravel())[0, 1] > 0.97
    assert np.isfinite(contrast.predict(0 * digit, verbose=0)).all()


def test_multiplications_are_counted():
    by_hand = 26 * 26 * 9 * 32 + 11 * 11 * 9 * 32 * 64 + 1600 * 128 + 128 * 10
    assert models.multiplications(models.report_cnn()) == by_hand


# --- augmentation


@pytest.fixture(scope="module")
def blobs():
    """600 soft round spots a little off the centre, so that a turn moves their centre of mass."""
    y, x = np.mgrid[:28, :28]
    spot = np.exp(-((x - 13.5 - 6) ** 2 + (y - 13.5) ** 2) / 4).astype("float32")
    return np.repeat(spot[None, ..., None], 600, axis=0)


def centres(batch):
    """Centre of mass of each image, x and y in pixels from the middle of the image."""
    weights = np.asarray(batch)[..., 0]
    y, x = np.mgrid[:28, :28] - 13.5
    mass = weights.sum(axis=(1, 2))
    return np.stack([(weights * x).sum(axis=(1, 2)) / mass, (weights * y).sum(axis=(1, 2)) / mass], axis=1)


def apply(layer, batch):
    return np.asarray(layer(batch, training=True))


def test_augmentation_rests_when_not_training():
    batch = images(4)
    layer = augment.augmentation(noise=0.2)
    assert np.array_equal(layer(batch, training=False), batch) and np.array_equal(layer(batch), batch)
    assert not np.array_equal(apply(layer, batch), batch)


def test_shift_stays_in_its_range_and_uses_it(blobs):
    moves = centres(apply(augment.RandomWarp(rotation=0.0, shift=0.1, zoom=0.0, seed=1), blobs)) - [6, 0]
    assert np.abs(moves).max() < 2.8 + 0.05  # a tenth of 28 pixels
    assert np.abs(moves).max(axis=0).min() > 2.6 and np.abs(moves.mean(axis=0)).max() < 0.2
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.15  # x and y are drawn apart


def test_rotation_stays_in_its_range_and_uses_it(blobs):
    spots = centres(apply(augment.RandomWarp(rotation=20.0, shift=0.0, zoom=0.0, seed=1), blobs))
    angles = np.degrees(np.arctan2(spots[:, 1], spots[:, 0]))
    assert 19 < np.abs(angles).max() < 20.2 and abs(angles.mean()) < 1.5
    np.testing.assert_allclose(np.hypot(*spots.T), 6, atol=0.05)  # about the centre, so no distance changes


def test_zoom_stays_in_its_range_and_uses_it(blobs):
    spots = centres(apply(augment.RandomWarp(rotation=0.0, shift=0.0, zoom=0.2, seed=1), blobs))
    factors = spots[:, 0] / 6
    assert 0.79 < factors.min() < 0.82 and 1.18 < factors.max() < 1.21
    assert np.abs(spots[:, 1]).max() < 0.05


def test_zoom_differs_between_width_and_height():
    y, x = np.mgrid[:28, :28]
    spot = np.exp(-((x - 13.5 - 6) ** 2 + (y - 13.5 - 6) ** 2) / 4).astype("float32")
    batch = np.repeat(spot[None, ..., None], 300, axis=0)
    factors = centres(apply(augment.RandomWarp(rotation=0.0, shift=0.0, zoom=0.2, seed=1), batch)) / 6
    assert (factors.std(axis=0) > 0.1).all()  # both are drawn
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.2


def test_background_stays_black_and_values_in_range():
    batch = np.zeros((50, 28, 28, 1), "float32")
    batch[:, 10:18, 10:18] = 1
    changed = apply(augment.augmentation(), batch)
    assert changed.min() == 0 and changed.max() <= 1 + 1e-6
    edge = np.concatenate([changed[:, :3].ravel(), changed[:, -3:].ravel(), changed[:, :, :3].ravel()])
    assert not edge.any()  # nothing wraps around, repeats or is filled with ink


def test_what_comes_in_from_outside_is_background():
    changed = apply(augment.RandomWarp(rotation=0.0, shift=0.3, zoom=0.0, seed=1), np.ones((50, 28, 28, 1), "float32"))
    assert (changed[:, [0, -1]] < 1e-3).any(axis=(1, 2, 3)).mean() > 0.8


def test_each_image_gets_its_own_change(blobs):
    assert (
        len(np.unique(centres(apply(augment.RandomWarp(10.0, 0.08, 0.1, seed=1), blobs[:50])).round(4), axis=0)) == 50
    )


def test_noise_has_its_strength():
    changed = apply(augment.augmentation(0.0, 0.0, 0.0, noise=0.1), np.full((20, 28, 28, 1), 0.5, "float32"))
    inner = changed[:, 2:-2, 2:-2]
    assert 0.095 < inner.std() < 0.105 and abs(inner.mean() - 0.5) < 0.01


def test_augmentation_repeats_with_the_seed(blobs):
    def twice(seed, layer_seed):
        keras.utils.set_random_seed(seed)
        layer = augment.RandomWarp(10.0, 0.08, 0.1, seed=layer_seed)
        return apply(layer, blobs[:8]), apply(layer, blobs[:8])

    for layer_seed in (None, 3):
        first, again = twice(7, layer_seed), twice(7, layer_seed)
        assert np.array_equal(first, again) and not np.array_equal(first[0], first[1])
    assert not np.array_equal(twice(7, None)[0], twice(8, None)[0])
    assert np.array_equal(twice(7, 3)[0], twice(8, 3)[0])  # its own seed counts, whatever the others do


def test_augmentation_can_be_saved_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input((28, 28, 1)), augment.augmentation(5.0, 0.1, 0.2, noise=0.1)])
    model.save(tmp_path / "front.keras")
    loaded = keras.models.load_model(tmp_path / "front.keras")
    layer = loaded.layers[0].layers[0]
    assert (layer.rotation, layer.shift, layer.zoom) == (5.0, 0.1, 0.2)
    assert np.array_equal(loaded(images(3)), images(3))


def test_slant_leans_upright_strokes():
    bar = np.zeros((300, 28, 28, 1), "float32")
    bar[:, 4:24, 13:15] = 1
    warp = augment.RandomWarp(rotation=0.0, shift=0.0, zoom=0.0, slant=20.0, elastic=0.0, seed=1)
    changed = apply(warp, bar)
    x = np.arange(28)
    upper, lower = (changed[:, row, :, 0] @ x / changed[:, row, :, 0].sum(axis=1) for row in (8, 19))
    lean = np.degrees(np.arctan((upper - lower) / 11))
    assert 18 < np.abs(lean).max() < 20.5 and abs(lean.mean()) < 2
    np.testing.assert_allclose(centres(changed), 0, atol=0.05)  # about the centre


def test_warp_without_limits_is_the_identity():
    batch = images(3)
    nothing = augment.RandomWarp(rotation=0.0, shift=0.0, zoom=0.0, slant=0.0, elastic=0.0)
    np.testing.assert_allclose(apply(nothing, batch), batch, atol=1e-5)


def test_elastic_moves_points_by_its_strength_and_smoothly():
    y, x = np.mgrid[:28, :28]
    spots = np.exp(-((x - 14) ** 2 + (y - 14) ** 2) / 4)[None, ..., None].repeat(400, axis=0).astype("float32")
    moves = centres(apply(augment.RandomWarp(0.0, 0.0, 0.0, 0.0, elastic=1.0, seed=1), spots)) - 0.5
    # A pixel follows several control points at once, so it moves less than each of them.
    assert 0.3 < moves.std() < 1.0 and np.abs(moves.mean(axis=0)).max() < 0.15
    basis = augment.smooth_basis(28, 28, 5)
    np.testing.assert_allclose(basis.sum(axis=0), 1, rtol=1e-5)
    assert np.abs(np.diff(basis.reshape(25, 28, 28), axis=2)).max() < 0.1


def test_sample_is_bilinear_and_zero_outside():
    picture = np.arange(784, dtype="float32").reshape(1, 28, 28, 1)
    at = np.full((1, 784), 3.25, "float32"), np.full((1, 784), 7.5, "float32")
    assert np.asarray(augment.sample(picture, *at))[0, 0, 0, 0] == pytest.approx(3.25 * 28 + 7.5)
    for outside in (-1.5, 28.0, 90.0):
        away = np.full((1, 784), outside, "float32"), at[1]
        np.testing.assert_allclose(augment.sample(picture, *away), 0, atol=1)  # of 784: what clipping leaves
