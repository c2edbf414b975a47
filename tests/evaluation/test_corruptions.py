"""Each corruption does what the benchmark defines, worked out here by another way; same seed, same result."""

import math

import cv2
import numpy as np
import pytest
import scipy.ndimage as ndi
from skimage.feature import canny

from helpers.errors import UserError
from helpers.evaluation import corruptions
from helpers.evaluation.corruptions import CORRUPTIONS, corrupt

RANDOM = sorted(set(CORRUPTIONS) - {"scale", "brightness", "stripe", "canny_edges"})
SCALED = sorted(name for name, corruption in CORRUPTIONS.items() if len(corruption.parameters) == 5)


def draw(cut=3):
    """A ring with a stroke to the lower left, anti-aliased, within the 20×20 box of MNIST's digits."""
    image = np.zeros((112, 112), np.uint8)
    cv2.circle(image, (60, 44), 20, 255, 9)
    cv2.line(image, (78, 50), (38, 88 + cut), 255, 9)
    return cv2.resize(image, (28, 28), interpolation=cv2.INTER_AREA)


def copies(image, count):
    """The same image many times: uint8 (count, 28, 28)."""
    return np.repeat(np.broadcast_to(np.uint8(image), (1, 28, 28)), count, axis=0)


class Draws:
    """A random generator that returns what the test prepared, in order, whatever is asked for."""

    def __init__(self, *values):
        self.values = list(values)

    def __getattr__(self, name):
        return lambda *args, **options: np.array(self.values.pop(0))


@pytest.fixture(scope="module")
def digit():
    return draw()


# What all of them share


def test_names_severities_and_defaults():
    expected = {
        "shot_noise": (5, 5),
        "impulse_noise": (5, 4),
        "glass_blur": (5, 1),
        "motion_blur": (5, 1),
        "shear": (5, 2),
        "scale": (5, 3),
        "rotate": (5, 2),
        "brightness": (5, 5),
        "translate": (5, 3),
        "stripe": (1, 1),
        "fog": (5, 5),
        "spatter": (5, 4),
        "dotted_line": (1, 1),
        "zigzag": (1, 1),
        "canny_edges": (1, 1),
    }
    assert {name: (len(c.parameters), c.default) for name, c in CORRUPTIONS.items()} == expected
    assert list(CORRUPTIONS) == list(expected)
    assert set(corruptions.GEOMETRIC) < set(CORRUPTIONS)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_result_is_float_in_range_reproducible_and_x_stays(name, digit):
    x = np.stack([digit, digit.T, np.zeros_like(digit), np.full_like(digit, 255)])
    before = x.copy()
    result = corrupt(x, name, seed=3)
    assert result.shape == x.shape and result.dtype == np.float32
    assert np.isfinite(result).all() and result.min() >= 0 and result.max() <= 255
    assert np.array_equal(x, before)
    assert np.array_equal(result, corrupt(x, name, CORRUPTIONS[name].default, seed=3))
    assert not np.array_equal(result, x)
    assert corrupt(x[:0], name).shape == (0, 28, 28)


@pytest.mark.parametrize("name", RANDOM)
def test_each_image_and_seed_draws_its_own_numbers(name, digit, monkeypatch):
    monkeypatch.setattr(corruptions, "CHUNK", 40)
    result = corrupt(copies(digit, 80), name)
    assert len(np.unique(result.reshape(80, -1), axis=0)) >= (2 if name in corruptions.GEOMETRIC else 40)
    assert not np.array_equal(result[:40], result[40:])  # a chunk does not start over
    assert not np.array_equal(result, corrupt(copies(digit, 80), name, seed=1))


@pytest.mark.parametrize("name", sorted(set(CORRUPTIONS) - set(RANDOM)))
def test_the_others_treat_images_alike(name, digit):
    assert len(np.unique(corrupt(copies(digit, 5), name).reshape(5, -1), axis=0)) == 1


@pytest.mark.parametrize("name", SCALED)
def test_severities_grow(name, digit):
    x = copies(digit, 200)
    effect = np.array([np.abs(corrupt(x, name, severity) - x).mean() for severity in range(1, 6)])
    growth = effect[1:] / effect[:-1]
    assert effect[0] > 0
    if name == "spatter":
        # Published so: 1 to 3 are few large spots, 4 and 5 many small ones, of which 4 covers less than 3.
        assert growth[2] < 1
        growth = np.delete(growth, 2)
    # The blur of a shaken camera has spread the digit as far as it goes before severity 5.
    assert (growth > (0.99 if name == "motion_blur" else 1)).all()


def test_unknown_name(digit):
    with pytest.raises(UserError, match="no corruption 'shot_nose': did you mean shot_noise?"):
        corrupt(digit[None], "shot_nose")
    with pytest.raises(UserError, match="known are shot_noise, impulse_noise"):
        corrupt(digit[None], "xyz")


@pytest.mark.parametrize("name, severity", [("fog", 0), ("fog", 6), ("fog", "3"), ("fog", 1.5), ("stripe", 2)])
def test_bad_severity(name, severity, digit):
    with pytest.raises(UserError, match=f"{name} has no severity {severity!r}: use "):
        corrupt(digit[None], name, severity)


@pytest.mark.parametrize("bad", [np.zeros((2, 28, 28)), np.zeros((28, 28), np.uint8), np.zeros((1, 32, 32), np.uint8)])
def test_other_images(bad):
    with pytest.raises(UserError, match="uint8 of shape"):
        corrupt(bad, "fog")


# Noise


def test_shot_noise_counts_photons():
    x = copies(51, 100)  # one fifth of white
    result = corrupt(x, "shot_noise", 1) / 255
    assert np.allclose(result * 60, np.round(result * 60), atol=1e-3)  # whole photons
    assert result.mean() == pytest.approx(0.2, abs=0.002)
    assert result.var() == pytest.approx(0.2 / 60, rel=0.05)  # a Poisson variable's variance is its mean
    assert corrupt(copies(0, 2), "shot_noise").max() == 0


@pytest.mark.parametrize("severity, amount", list(enumerate([0.03, 0.06, 0.09, 0.17, 0.27], 1)))
def test_impulse_noise_share(severity, amount):
    result = corrupt(copies(100, 200), "impulse_noise", severity)
    values, counts = np.unique(result.round(3), return_counts=True)
    assert values.tolist() == [0, 100, 255]
    black, same, white = counts / counts.sum()
    assert same == pytest.approx(1 - amount, abs=0.005)
    assert black == pytest.approx(white, abs=0.005)


# Blur


@pytest.mark.parametrize("distance", [1, 4])
def test_glass_swaps_keep_the_pixels(distance):
    # No two are alike, so that each can be followed.
    places = np.broadcast_to(np.arange(784).reshape(1, 28, 28), (50, 28, 28))
    result = corruptions.swap_neighbours(places, distance, 1, np.random.default_rng(0))
    assert np.array_equal(np.sort(result.reshape(50, -1)), places.reshape(50, -1))
    assert np.array_equal(result[:, 0], places[:, 0]) and np.array_equal(result[:, :, 0], places[:, :, 0])
    assert (result[:, 2:-1, 2:-1] != places[:, 2:-1, 2:-1]).mean() > 0.3


def test_glass_swaps_one_by_one():
    """One image, pixel by pixel, with the same random numbers."""
    distance, rounds = 2, 2
    pixels = np.random.default_rng(1).integers(0, 256, (1, 28, 28), np.uint8)
    result = corruptions.swap_neighbours(pixels, distance, rounds, np.random.default_rng(5))
    rng, image = np.random.default_rng(5), pixels[0].tolist()
    for _ in range(rounds):
        for row in range(26, 2, -1):
            for column in range(26, 2, -1):
                number = int(rng.integers(32, size=1)[0]) - 16  # 4 × 4 shifts, and as many times none
                if number >= 0:
                    other_row, other_column = row + number // 4 - 2, column + number % 4 - 2
                    held = image[row][column]
                    image[row][column] = image[other_row][other_column]
                    image[other_row][other_column] = held
    assert np.array_equal(result[0], image)


def test_glass_blur_blurs_before_and_after(digit, monkeypatch):
    seen = []
    monkeypatch.setattr(corruptions, "swap_neighbours", lambda pixels, *args: seen.append((pixels, *args)) or pixels)
    result = corrupt(digit[None], "glass_blur", 3)[0]
    pixels, distance, rounds, _ = seen[0]
    once = ndi.gaussian_filter(digit / 255, 1, mode="nearest") * 255
    assert pixels.dtype == np.uint8 and np.array_equal(pixels[0], np.trunc(once))
    assert (distance, rounds) == (2, 3)
    assert result == pytest.approx(ndi.gaussian_filter(np.trunc(once), 1, mode="nearest"), abs=1e-3)


def test_motion_blur_leaves_half_a_gaussian():
    x = np.zeros((3, 28, 28))
    x[:, 14, 18] = 1
    result = 255 * corruptions.motion_blur(x, (10, 3), Draws([0.0, 45.0, -45.0]))
    weights = [math.exp(-(i**2) / 18) for i in range(21)]
    level = np.array([round(255 * weight / sum(weights)) for weight in weights[:19]])
    assert result[0, 14, 18::-1] == pytest.approx(level)  # 0°: a tail to the left
    assert np.count_nonzero(result[0].round()) == np.count_nonzero(level)
    # At 45° a ray crosses 0.7 pixels a step along each axis: steps 2 and 3 end at 1.41 and 2.12 of both.
    for tail in (np.diag(result[1], 18 - 14), np.diag(result[2, ::-1], 18 - 13)):
        end = np.flatnonzero(tail.round()).max()
        assert tail[end - 1] == pytest.approx(sum(level[i] for i in (1, 2)), abs=1)
        assert tail[end - 2] == pytest.approx(level[3], abs=1)


def test_motion_blur_repeats_the_edge_in_whole_levels(digit):
    assert np.array_equal(corrupt(copies(77, 4), "motion_blur", 5), copies(77, 4))
    result = corrupt(copies(digit, 20), "motion_blur")
    assert np.array_equal(result, result.round())


# Geometry


def sampled(image, rows, columns):
    """The image at the positions that a matrix of output (row, column) to input ones gives, about the centre."""
    matrix = np.array([rows, columns], float)
    offset = 13.5 - matrix @ [13.5, 13.5]
    return ndi.affine_transform(image.astype(float), matrix, offset, order=1, mode="grid-constant")


def assert_one_of(results, choices):
    """Each result is one of the choices, and each choice occurs."""
    differences = np.abs(results[:, None] - np.stack(choices)).max(axis=(2, 3))
    assert differences.min(axis=1).max() < 255e-4
    assert set(differences.argmin(axis=1)) == set(range(len(choices)))


@pytest.mark.parametrize("filled", [False, True])  # a picture that reaches the edges shows what lies outside
def test_shear(digit, filled):
    image = np.maximum(digit, 90) if filled else digit
    choices = [sampled(image, (1, 0), (sign * math.tan(0.4), 1)) for sign in (-1, 1)]
    assert_one_of(corrupt(copies(image, 20), "shear"), choices)


@pytest.mark.parametrize("filled", [False, True])
def test_rotate(digit, filled):
    image = np.maximum(digit, 90) if filled else digit
    cosine, sine = math.cos(0.4), math.sin(0.4)
    choices = [sampled(image, (cosine, sign * sine), (-sign * sine, cosine)) for sign in (-1, 1)]
    assert_one_of(corrupt(copies(image, 20), "rotate"), choices)


@pytest.mark.parametrize("filled", [False, True])
def test_scale(digit, filled):
    image = np.maximum(digit, 90) if filled else digit
    assert_one_of(corrupt(image[None], "scale"), [sampled(image, (1 / 0.7, 0), (0, 1 / 0.7))])
    assert corrupt(image[None], "scale").sum() == pytest.approx(0.49 * image.sum(), rel=0.05)


def test_translate(digit):
    # The digit stays inside, so rolling it and shifting it are the same.
    choices = [np.roll(digit, (down, right), (0, 1)) for down in (-3, 3) for right in (-3, 3)]
    assert_one_of(corrupt(copies(digit, 60), "translate"), choices)
    edge = corrupt(copies(200, 60), "translate", 1)
    assert ((edge == 0).sum(axis=(1, 2)) == 28 + 27).all()  # a row and a column come in black


# Light and weather


def test_brightness(digit):
    assert corrupt(digit[None], "brightness")[0] == pytest.approx(np.minimum(digit + 127.5, 255), abs=1e-3)


def test_stripe(digit):
    expected = digit.copy()
    expected[:, :7], expected[:, 21:] = 255 - digit[:, :7], 255 - digit[:, 21:]
    assert np.array_equal(corrupt(digit[None], "stripe")[0], expected)


def test_fog_adds_a_cloud_and_dims(digit):
    strength, top = 3, digit.max() / 255
    result = corrupt(np.stack([digit, np.zeros_like(digit), digit // 2]), "fog") / 255
    cloud = (result[0] * (top + strength) / top - digit / 255) / strength
    assert cloud.min() > -1e-6 and cloud.max() < 1 + 1e-6
    assert np.abs(np.diff(cloud, axis=0)).mean() < 0.1  # smooth
    assert result[1].max() == 0  # nothing is brighter than a black image's brightest pixel
    assert (result.max(axis=(1, 2)) <= [top, 0, digit.max() // 2 / 255]).all()


def test_fog_keeps_the_order_of_pixels_under_one_cloud(digit):
    lighter = np.where(digit > 100, 255, np.minimum(digit + 20.0, 255)).astype(np.uint8)
    darker = np.where(digit == digit.max(), 255, digit).astype(np.uint8)
    assert (corrupt(lighter[None], "fog") >= corrupt(darker[None], "fog") - 1e-3).all()


def test_plasma_point_by_point():
    """One map by the textbook's loops, with the same random numbers; the noise shrinks by decay² a step."""
    decay, side = 1.7, 256
    result = corruptions.plasma(2, decay, np.random.default_rng(0))
    rng, height, step, wibble = np.random.default_rng(0), np.zeros((side, side)), side, 100.0
    while step >= 2:
        half, count = step // 2, side // step
        noise = wibble * wibble * (2 * rng.random((3, 2, count, count), dtype=np.float32).astype(float)[:, 1] - 1)
        for row in range(count):
            for column in range(count):
                r, c = row * step, column * step
                r2, c2 = (r + step) % side, (c + step) % side
                around = height[r, c] + height[r, c2] + height[r2, c] + height[r2, c2]
                height[r + half, c + half] = around / 4 + noise[0, row, column]
        for row in range(count):
            for column in range(count):
                r, c = row * step, column * step
                ends, centres = height[r, c] + height[r, (c + step) % side], height[r + half, c + half]
                height[r, c + half] = (ends + centres + height[r - half, c + half]) / 4 + noise[1, row, column]
                ends = height[r, c] + height[(r + step) % side, c]
                height[r + half, c] = (ends + centres + height[r + half, c - half]) / 4 + noise[2, row, column]
        step, wibble = half, wibble / decay
    height -= height.min()
    assert np.allclose(result[1], height / height.max(), atol=1e-4)
    assert result.min(axis=(1, 2)).tolist() == [0, 0] and result.max(axis=(1, 2)).tolist() == [1, 1]


def test_spatter_lays_dark_gray_over_all():
    black, white = corrupt(copies(0, 50), "spatter"), corrupt(copies(255, 50), "spatter")
    mud = black / 63
    assert np.all((mud == 0) | ((mud >= 0.8 - 1e-6) & (mud <= 1 + 1e-6)))
    assert np.allclose(white, 255 * (1 - mud) + 63 * mud, atol=1e-3)
    assert 0.05 < (mud > 0).mean() < 0.6


def test_spatter_one_image():
    noise = np.random.default_rng(2).normal(0.65, 0.3, (1, 28, 28))
    result = corruptions.spatter(np.zeros((1, 28, 28)), (0.65, 0.3, 2, 0.68, 0.5), Draws(noise))[0]
    spots = ndi.gaussian_filter(noise[0], 2, mode="nearest") > 0.68
    mud = ndi.gaussian_filter(spots.astype(float), 0.5, mode="nearest")
    assert result == pytest.approx(np.where(mud < 0.8, 0, mud) * 63 / 255)
    assert (result > 0).any()


# Scribbles and edges


def profile(distance):
    """The ink of a line at a distance from its centre; none from 1.45 pixels on."""
    return max(0, 1 + math.log(1 - distance / 2.3)) if distance < 2.3 else 0


def test_dotted_line(digit):
    black = np.zeros((1, 28, 28))
    result = corruptions.dotted_line(black, None, Draws([[5], [20]]))[0]
    for column in range(28):
        for row in range(28):
            on = column % 4 in (2, 3) and column != 27
            expected = profile(abs(row - (5 + 15 * column / 27))) if on else 0
            assert result[row, column] == pytest.approx(expected), (row, column)
    # On a digit the line only adds, up to white.
    x = copies(digit, 30)
    changed = corrupt(x, "dotted_line") - x
    assert changed.min() > -1e-3 and (changed[:, :, [0, 1, 4, 5, 24, 25, 27]] == 0).all()


def test_dotted_line_starts_and_ends_in_all_rows_but_the_last():
    result = corrupt(copies(0, 3000), "dotted_line")
    rows = result.argmax(axis=1)[:, 2]  # of the first dot
    assert rows.min() <= 2 and 24 <= rows.max() <= 26


def test_level_zigzag():
    result = np.clip(corruptions.zigzag(np.zeros((1, 28, 28)), None, Draws([10], [0])), 0, 1)[0]
    corners = [(2, 10), (4, 12), (8, 8), (12, 12), (16, 8), (20, 12), (24, 8), (25, 10 - 1 / 3)]
    centres = np.interp(range(2, 25), *zip(*corners, strict=True))
    expected = [[profile(abs(row - centre)) for centre in centres] for row in range(28)]
    assert result[:, 2:25] == pytest.approx(np.array(expected))
    assert (result[:, :2] == 0).all() and (result[:, 25:] == 0).all()


@pytest.mark.parametrize("climb", [-5, 4])
def test_zigzag_aslant(climb):
    columns, rows = corruptions._zigzag_corners(np.array([12]), np.array([climb]))
    assert (columns[0, 0], rows[0, 0]) == (2, 12)
    # Turned back by its slope, the zigzag stands level: corners every four pixels, two above and two below.
    path = (columns[:, 0] - 2 + 1j * (rows[:, 0] - 12)) * (23 - 1j * climb) / abs(23 + 1j * climb)
    length = math.hypot(23, climb)
    assert path.real == pytest.approx(np.array([0, 2, 6, 10, 14, 18, 22, length]))
    assert path.imag == pytest.approx(np.array([0, 2, -2, 2, -2, 2, -2, -1 / (length - 20)]))
    result = corruptions.zigzag(np.zeros((1, 28, 28)), None, Draws([12], [climb]))[0]
    ink = np.flatnonzero(result.sum(axis=0))
    assert ink.tolist() == list(range(2, math.ceil(columns[-1, 0])))
    slope = np.polyfit(ink, result.argmax(axis=0)[ink], 1)[0]
    assert slope == pytest.approx(climb / 23, abs=0.12)


def test_canny_edges(digit):
    framed = np.full((28, 28), 30, np.uint8)
    framed[8:20, 8:20] = 220
    result = corrupt(np.stack([framed, digit]), "canny_edges")
    assert np.array_equal(result[0], 255 * canny(framed / 255))
    assert np.array_equal(result[1], 255 * canny(digit / 255))
    # One closed outline around the square, nothing inside it.
    _, pieces = ndi.label(result[0], np.ones((3, 3)))
    assert pieces == 1 and result[0, 10:18, 10:18].max() == 0
    assert ndi.binary_fill_holes(result[0])[13, 13]
