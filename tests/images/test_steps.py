"""helpers.images.steps: each step on whole pictures does what its name says."""

import cv2
import numpy as np
import pytest

from helpers import images
from helpers.images import steps


@pytest.mark.parametrize("ink", [(250, 230, 60), (240, 60, 60), (60, 90, 240), (60, 200, 90), (30, 30, 30)])
def test_grayscale_keeps_coloured_ink(ink, seven):
    picture = np.full((200, 200, 3), 245, np.uint8)
    picture[seven > 0] = ink
    grey = images.to_grayscale(picture).astype(int)
    wanted = 0.5 * np.abs(np.subtract(ink, 245)).max()
    assert grey[0, 0] - grey[50, 100] > wanted
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(int)
    if ink == (250, 230, 60):  # what the usual weights make of yellow
        assert luma[0, 0] - luma[50, 100] < 0.3 * (grey[0, 0] - grey[50, 100])


def test_grayscale_of_gray(seven):
    grey = cv2.GaussianBlur(seven, (0, 0), 3)
    assert images.to_grayscale(grey) is grey
    assert np.abs(images.to_grayscale(np.dstack([grey] * 3)).astype(int) - grey).max() <= 1


@pytest.mark.parametrize("scale,offset", [(1, 0), (0.3, 90)])
def test_polarity(seven, scale, offset):
    bright = (scale * seven + offset).astype(np.uint8)
    assert images.polarity_evidence(bright) < 0 < images.polarity_evidence(255 - bright)


def test_polarity_of_a_digit_that_fills_the_picture(seven):
    thick = images.crop(cv2.dilate(seven, np.ones((25, 25), np.uint8)))
    assert images.polarity_evidence(thick) < 0 and images.polarity_evidence(255 - thick) > 0


def test_polarity_with_a_shadow_over_half_the_picture(paper):
    shaded = paper[..., 0].copy()
    shaded[:, 100:] = shaded[:, 100:] * 0.5
    assert images.polarity_evidence(shaded) > 0


@pytest.mark.parametrize("strip", [5, 20, 60])
@pytest.mark.parametrize("shade", [0, 120, 255])
def test_polarity_beside_a_table(paper, strip, shade):
    photo = paper[..., 0].copy()
    photo[:, :strip] = shade
    photo[-strip:] = shade
    assert images.polarity_evidence(photo) > 0 and images.polarity_evidence(255 - photo) < 0


def test_polarity_evidence_is_the_opposite_for_the_inverted_picture(paper):
    grey = cv2.GaussianBlur(paper[..., 0], (0, 0), 4)
    assert images.polarity_evidence(grey) == pytest.approx(-images.polarity_evidence(255 - grey))
    assert images.polarity_evidence(np.full((50, 50), 99, np.uint8)) == 0


@pytest.mark.parametrize("shadow", [False, True])
def test_remove_background(seven, shadow):
    light = np.linspace(0.45, 1, 200)[None, :].repeat(200, axis=0)
    if shadow:
        light *= np.where(np.arange(200) < 100, 0.6, 1)[:, None]
    photo = np.where(seven > 0, 40, 230) * light
    ink = images.remove_background((255 - photo).astype(np.uint8))
    inside, outside = cv2.erode(seven, np.ones((5, 5))) > 0, cv2.dilate(seven, np.ones((9, 9))) == 0
    away = outside & (np.abs(np.arange(200) - 100) > 6)[:, None]  # the shadow's edge is soft
    assert np.percentile(ink[away], 99) < 45
    assert ink[inside].mean() > 170 and ink[inside].std() < 25


def test_remove_background_of_bright_ink_evens_out_the_light(seven):
    light = np.linspace(0.4, 1, 200)[:, None].repeat(200, axis=1)
    board = np.where(seven > 0, 220, 60) * light
    even, uneven = (images.remove_background(board.astype(np.uint8), dark_ink=dark) for dark in (False, True))
    inside = cv2.erode(seven, np.ones((5, 5))) > 0
    assert even[inside].std() / even[inside].mean() < 0.7 * uneven[inside].std() / uneven[inside].mean()


def test_hysteresis_keeps_what_is_connected():
    ink = np.zeros((30, 60), np.uint8)
    ink[10, 5:30], ink[10, 30:50], ink[20, 5:50] = 200, 60, 60
    mask = steps.hysteresis(ink, 40, 100)
    assert mask[10, 5:50].all() and not mask[20].any()


def test_threshold_finds_small_faint_ink():
    rng = np.random.default_rng(0)
    ink = np.clip(rng.normal(8, 4, (300, 300)), 0, 255).astype(np.uint8)
    ink[100:130, 100:104] = 60
    level, floor = images.threshold(ink)
    mask = ink > level
    assert 8 < floor <= level < 60
    assert mask[102:128, 101:103].all() and np.count_nonzero(mask) < 140
