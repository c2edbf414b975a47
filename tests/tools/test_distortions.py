"""tools.distortions: strokes, noise and patches in their range."""

import numpy as np

from tools.distortions import RandomNoise, RandomPatch, RandomStroke


def apply(layer, batch):
    return np.asarray(layer(batch, training=True))


def test_stroke_gets_bolder_and_finer_but_never_vanishes():
    bar = np.zeros((400, 28, 28, 1), "float32")
    bar[:, 4:24, 12:15] = 1
    ink = apply(RandomStroke(stroke=1.0, blur=0.0, seed=1), bar).sum(axis=(1, 2, 3)) / bar[0].sum()
    assert ink.max() > 1.6 and 0.5 < ink.min() < 0.75
    assert ((ink > 1).mean() > 0.4) and ((ink < 1).mean() > 0.4)


def test_blur_softens_and_keeps_the_ink():
    bar = np.zeros((50, 28, 28, 1), "float32")
    bar[:, 4:24, 12:15] = 1
    soft = apply(RandomStroke(stroke=0.0, blur=1.0, seed=1), bar)
    np.testing.assert_allclose(soft.sum(axis=(1, 2, 3)), bar[0].sum(), rtol=1e-4)
    assert (soft.max(axis=(1, 2, 3)) <= 1.0001).all() and soft[:, 14, 11].std() > 0.02


def test_each_image_gets_noise_of_its_own_strength():
    noisy = apply(RandomNoise(0.4, seed=1), np.full((400, 28, 28, 1), 0.5, "float32"))
    strength = noisy.std(axis=(1, 2, 3))
    assert strength.min() < 0.02 and 0.38 < strength.max() < 0.43 and abs(noisy.mean() - 0.5) < 0.005
    np.testing.assert_allclose(np.quantile(strength, [0.25, 0.75]), [0.1, 0.3], atol=0.03)


def test_patches_cover_rectangles_and_bring_pieces_of_others():
    batch = np.zeros((1000, 28, 28, 1), "float32")
    batch[:500] = 1
    changed = apply(RandomPatch(share=0.5, size=0.5, seed=1), batch)[..., 0]
    assert changed.min() == 0 and changed.max() == 1
    touched = (changed != batch[..., 0]).any(axis=(1, 2))
    assert 0.35 < touched.mean() < 0.75 and not (changed != batch[..., 0]).mean() > 0.1
    # On black, grey or white shows in a rectangle of at most half the side.
    rows = np.ptp([np.flatnonzero(image.any(axis=1))[[0, -1]] for image in changed[500:][touched[500:]]], axis=1) + 1
    assert rows.max() <= 28 and np.median(rows) <= 14
    white_on_black = (changed[500:] == 1).any(axis=(1, 2)).mean()
    assert 0.3 < white_on_black < 0.5  # a piece of the reversed batch, half the time, if it is a pixel large
    assert not (changed[:500] > 1).any() and ((changed[:500] < 1) & (changed[:500] > 0)).any()
