"""helpers.images.candidates: from any picture to MNIST's form, and the readings of doubtful ones."""

import cv2
import numpy as np
import pytest

from helpers import data, images
from helpers.errors import NoDigit, UserError
from helpers.images import candidates
from tools.simulate import photos


def last(steps):
    """The 28×28 picture at which the steps end."""
    name, picture = list(steps.items())[-1]
    assert name == "centred 28×28"
    return picture


def likeness(one, other):
    """How much two 28×28 pictures show the same shape, 1 the same: correlation, forgiving the stroke's width."""
    one, other = (cv2.GaussianBlur(picture, (0, 0), 1).ravel() for picture in (one, other))
    return np.corrcoef(one, other)[0, 1]


@pytest.mark.parametrize("shade", [0, 255])
@pytest.mark.parametrize("noise", [0, 10, 40])
def test_blank(shade, noise):
    page = np.clip(np.random.default_rng(0).normal(shade, noise, (240, 320, 3)), 0, 255).astype(np.uint8)
    with pytest.raises(UserError, match="No ink was found"):
        images.preprocess(page)


@pytest.mark.parametrize("change", ["plain", "inverted", "corner", "large", "tiny", "grey", "thin", "thick"])
def test_preprocess_ends_as_mnist(change, seven):
    mask = seven
    if change == "thin":
        mask = cv2.erode(seven, np.ones((9, 9), np.uint8))
    if change == "thick":
        mask = cv2.dilate(seven, np.ones((19, 19), np.uint8))
    grey = np.where(mask > 0, 40, 230).astype(np.uint8)
    if change == "inverted":
        grey = 255 - grey
    if change == "corner":
        grey = np.pad(grey, ((0, 300), (200, 0)), constant_values=230)
    if change == "large":
        grey = cv2.resize(grey, (1500, 1500))
    if change == "tiny":
        grey = cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA)
    steps = images.preprocess(grey if change == "grey" else np.dstack([grey] * 3))
    last = list(steps.values())[-1]
    assert last.shape == (28, 28) and last.dtype == np.uint8 and last[0, 0] == 0 and last.max() > 200
    rows, columns = np.nonzero(last > 40)
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    wanted = images.centre_of_mass(images.fit_box(images.crop(seven)))
    overlap = np.minimum(last, wanted).sum() / np.maximum(last, wanted).sum(dtype=float)
    assert overlap > (0.35 if change in ("thin", "thick") else 0.7)


def test_preprocess_leaves_its_input_alone(paper):
    before = paper.copy()
    first, second = images.preprocess(paper), images.preprocess(paper)
    assert np.array_equal(paper, before)
    assert all(np.array_equal(first[step], second[step]) for step in first)


@pytest.mark.parametrize("bad", [np.zeros((5, 5)), np.zeros((5, 5, 4), np.uint8), np.zeros((0, 5), np.uint8), "x"])
def test_preprocess_refuses(bad):
    with pytest.raises(UserError, match="must be uint8"):
        images.preprocess(bad)


@pytest.mark.parametrize("invert", [False, True])
def test_mnist_itself_survives(invert):
    digits = data.load().x_test[:100]
    again = [last(images.preprocess(255 - digit if invert else digit)) for digit in digits]
    change = [np.abs(a.astype(int) - b).sum() / b.sum(dtype=float) for a, b in zip(again, digits, strict=True)]
    assert np.median(change) == 0 and np.mean(np.array(change) < 0.05) >= 0.95


@pytest.mark.parametrize("condition", photos.CONDITIONS)
def test_simulated_pictures_end_as_the_digit_they_show(condition):
    rng, likenesses = np.random.default_rng(7), []
    for digit in data.load().x_test[:6]:
        picture = photos.simulate(digit, condition, rng)
        steps = images.preprocess(images.read_image(photos.encode(picture, condition)[1]))
        likenesses.append(likeness(last(steps), digit))
    assert np.median(likenesses) > 0.85 and min(likenesses) > 0.7, np.round(likenesses, 2)


@pytest.mark.parametrize("side", [8, 16, 20, 36])
@pytest.mark.parametrize("invert", [False, True])
def test_tiny_pictures_filled_by_the_digit(side, invert):
    likenesses = []
    for digit in data.load().x_test[:20]:
        box = images.crop(digit)
        small = images.resize(box, side)
        likenesses.append(likeness(last(images.preprocess(255 - small if invert else small)), digit))
    assert np.median(likenesses) > (0.85 if side == 8 else 0.95) and min(likenesses) > 0.7


def test_one_pixel_line_in_a_huge_canvas(seven):
    canvas = np.full((2000, 2000), 255, np.uint8)
    cv2.polylines(canvas, [np.array([[900, 800], [1300, 800], [1050, 1350]])], False, 0, 1)
    assert likeness(last(images.preprocess(canvas)), last(images.preprocess(255 - seven))) > 0.85


def test_a_small_digit_is_looked_at_from_near():
    digit = data.load().x_test[0]
    photo = np.full((900, 1200), 225, np.uint8)
    photo[700:756, 100:156] = np.minimum(225, 255 - cv2.resize(digit, (56, 56), interpolation=cv2.INTER_CUBIC))
    steps = images.preprocess(photo)
    assert likeness(last(steps), digit) > 0.93
    assert steps["picture"].shape == (240, 320)  # still the whole one
    height, width = images.crop(steps["strokes kept"]).shape
    assert height > 0.3 * steps["strokes kept"].shape[0]


def test_a_clear_picture_has_one_reading(paper):
    assert len(images.find_candidates(paper)) == 1
    assert np.array_equal(last(images.find_candidates(paper)[0]), last(images.preprocess(paper)))


def test_a_doubtful_polarity_has_both_readings():
    # Bars as wide as the gaps between them: who could say which is ink?
    stripes = np.full((60, 60), 200, np.uint8)
    stripes[10:50, 15:25] = stripes[10:50, 35:45] = 60
    evidence = images.polarity_evidence(stripes)
    found = images.find_candidates(stripes)
    inked = {bool(steps["ink bright"][60, 40] > steps["ink bright"][60, 60]) for steps in found}
    assert len(found) <= 4 and (abs(evidence) > candidates.UNDECIDED or inked == {True, False})


def test_readings_differ_and_are_limited():
    rng, counts = np.random.default_rng(3), []
    for digit in data.load().x_test[:12]:
        found = images.find_candidates(photos.simulate(digit, "mixed", rng), limit=2)
        counts.append(len(found))
        names = [list(steps) for steps in found]
        assert all(steps == names[0] for steps in names)
        if len(found) == 2:
            assert not np.array_equal(last(found[0]), last(found[1]))
    assert set(counts) <= {1, 2}


@pytest.mark.parametrize(
    "name,picture",
    [
        ("blank", np.full((200, 300), 240, np.uint8)),
        ("black", np.zeros((200, 300, 3), np.uint8)),
        ("one pixel", np.full((1, 1), 7, np.uint8)),
        ("a tiny blank", np.full((16, 16), 7, np.uint8)),
        ("a shadow", np.repeat(np.where(np.arange(300) < 150, 230, 110), 200).reshape(300, 200).T.astype(np.uint8)),
        ("too faint", np.where(cv2.circle(np.zeros((200, 200)), (100, 100), 50, 1, 8) > 0, 226, 230).astype(np.uint8)),
        ("a speck", np.where(cv2.circle(np.zeros((300, 300)), (100, 100), 1, 1, 1) > 0, 10, 230).astype(np.uint8)),
    ],
)
def test_no_digit(name, picture):
    with pytest.raises(NoDigit) as error:
        images.find_candidates(picture)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (12, 12), (41, 41), (5, 900), (2000, 30)])
def test_noise_of_any_shape_ends_well(shape):
    rng = np.random.default_rng(0)
    for scale in (2, 60, 256):
        picture = rng.integers(0, scale, (*shape, 3), np.uint8)
        try:
            assert last(images.preprocess(picture)).shape == (28, 28)
        except NoDigit:
            pass


def test_blank_page_in_slanting_light():
    light = np.linspace(90, 230, 200)[:, None] + np.linspace(-30, 20, 300)[None, :]
    with pytest.raises(UserError, match="No ink was found"):
        images.preprocess(light.astype(np.uint8))
