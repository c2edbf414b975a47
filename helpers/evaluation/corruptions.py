"""The 15 corruptions of the MNIST-C benchmark. Explained in notebooks/08_robustness.ipynb.

Reimplemented from the published definitions: Mu and Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision"
(2019, arXiv:1906.02337), after Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations" (2019, arXiv:1903.12261).

`corrupt` applies one of `CORRUPTIONS`. Each is a pure function of images (float64, (N, 28, 28), 0..1, white on black),
a parameter that sets its strength, and a random generator, from which every image draws its own numbers. Results have
the same shape and may leave 0..1, to which `corrupt` clips them.
"""

import difflib
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from skimage.feature import canny
from skimage.filters import gaussian
from skimage.transform import AffineTransform, warp
from skimage.util import random_noise

from helpers.errors import UserError

SIZE = 28  # pixels of an image's side
CHUNK = 1000  # images per call of a corruption, which bounds the memory
PLASMA = 256  # side in pixels of the height maps that fog is cropped from
PLASMAS = 16  # height maps generated at a time: they fit in the cache of a processor
LINE_REACH = 2.3  # distance in pixels from the centre of a line at which the logarithm of its ink diverges

Images = np.ndarray  # float64 (N, 28, 28), 0..1
Rng = np.random.Generator


class Corruption(NamedTuple):
    """One corruption of the benchmark."""

    function: Callable[[Images, Any, Rng], Images]
    parameters: tuple[Any, ...] = (None,)  # of the severities from 1: five, or one where the benchmark has no scale
    default: int = 1  # the severity that the benchmark uses


def corrupt(x: np.ndarray, name: str, severity: int | None = None, seed: int = 0) -> np.ndarray:
    """Corrupts images; the same arguments give the same result.

    Args:
        x: uint8 (N, 28, 28), 0..255, left unchanged.
        name: a key of `CORRUPTIONS`.
        severity: 1 (weakest) to 5; None is the benchmark's default.
        seed: of the random numbers.

    Returns:
        float32 (N, 28, 28), 0..255, not rounded, as in the benchmark.

    Raises:
        UserError: for an unknown name, a severity that the corruption does not have, or other images.
    """
    if name not in CORRUPTIONS:
        close = difflib.get_close_matches(str(name), CORRUPTIONS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(CORRUPTIONS)}."
        raise UserError(f"There is no corruption {name!r}: {hint}")
    corruption = CORRUPTIONS[name]
    severity = corruption.default if severity is None else severity
    if severity not in range(1, len(corruption.parameters) + 1):
        known = "1 to 5" if len(corruption.parameters) == 5 else "only 1"
        raise UserError(f"{name} has no severity {severity!r}: use {known}, or None for the benchmark's own.")
    x = np.asarray(x)
    if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (SIZE, SIZE):
        raise UserError(f"Images must be uint8 of shape (N, 28, 28), 0..255; found {x.dtype} of shape {x.shape}.")
    parameter = corruption.parameters[int(severity) - 1]
    # The second number makes corruptions independent; severities share it, so that they are comparable.
    rng = np.random.default_rng([seed, list(CORRUPTIONS).index(name)])
    result = np.empty(x.shape, np.float32)
    for start in range(0, len(x), CHUNK):
        part = slice(start, start + CHUNK)
        result[part] = 255 * np.clip(corruption.function(x[part] / 255, parameter, rng), 0, 1)
    return result


def shot_noise(x: Images, rate: float, rng: Rng) -> Images:
    """Poisson noise of few photons: x · rate per pixel on average."""
    return rng.poisson(x * rate) / rate


def impulse_noise(x: Images, amount: float, rng: Rng) -> Images:
    """Salt-and-pepper noise: this fraction of the pixels becomes white or black with equal probability."""
    return random_noise(x, mode="s&p", amount=amount, rng=rng)


def glass_blur(x: Images, parameter: tuple[float, int, int], rng: Rng) -> Images:
    """Frosted glass: blur, random swaps of neighbours, blur. `parameter`: (sigma, largest shift in pixels, rounds)."""
    sigma, distance, rounds = parameter
    # Like the benchmark, truncates here instead of rounding.
    blurred = (gaussian(x, sigma, channel_axis=0) * 255).astype(np.uint8)
    return gaussian(swap_neighbours(blurred, distance, rounds, rng) / 255, sigma, channel_axis=0)


def swap_neighbours(pixels: np.ndarray, distance: int, rounds: int, rng: Rng) -> np.ndarray:
    """Visits the pixels from the lower right; each swaps, half of the time, with a random neighbour.

    Row and column shifts are drawn from -distance..distance-1. (N, 28, 28), any dtype; returns a copy.
    """
    shifts = np.arange(-distance, distance)
    moves = (SIZE * shifts[:, None] + shifts).ravel()
    moves = np.concatenate([np.zeros_like(moves), moves])  # half of the time the shift is 0
    # One row per pixel, so that each visit handles the same pixel of all images at once.
    flat = pixels.reshape(len(pixels), -1).T.copy()
    images = np.arange(len(pixels))
    centres = range(SIZE - distance, distance, -1)
    for here in [SIZE * row + column for _ in range(rounds) for row in centres for column in centres]:
        there = here + moves[rng.integers(len(moves), size=len(pixels))]
        old = flat[here].copy()
        flat[here] = flat[there, images]
        flat[there, images] = old
    return flat.T.reshape(pixels.shape)


def motion_blur(x: Images, parameter: tuple[int, float], rng: Rng) -> Images:
    """Motion blur to one side along a random angle of -45..45°, in 8 bits. `parameter`: (radius, sigma) in pixels.

    Follows ImageMagick's motion blur, which the benchmark calls: half a Gaussian of width 2 · radius + 1, sampled at the
    pixels nearest to a ray; edges are padded by replication.
    """
    radius, sigma = parameter
    reach = 2 * radius
    steps = np.arange(reach + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angle = np.radians(rng.uniform(-45, 45, len(x)))[:, None]
    # Rounds to the nearest pixel, halves down, as ImageMagick does.
    rows = np.ceil(steps * np.sin(angle) - 0.5).astype(int)
    columns = np.ceil(steps * np.cos(angle) - 0.5).astype(int)
    padded = np.pad(x, ((0, 0), (reach, reach), (0, reach)), mode="edge")
    # windows[n, r, c] is image n shifted by r - reach rows and c columns; a view, not a copy.
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIZE, SIZE), axis=(1, 2))
    images = np.arange(len(x))
    total = np.zeros_like(x)
    for step, weight in enumerate(weights / weights.sum()):
        total += weight * windows[images, reach + rows[:, step], columns[:, step]]
    return np.floor(255 * total + 0.5) / 255


def shear(x: Images, angle: float, rng: Rng) -> Images:
    """Slanted to the left or right by an angle in radians."""
    # The angle is today's scikit-image's: rows move by tan(angle) of their height. In the benchmark's version they
    # moved by sin(angle), and heights shrank by cos(angle).
    return _warp_randomly(x, [_about_centre(shear=sign * angle) for sign in (-1, 1)], rng)


def scale(x: Images, factor: float, rng: Rng) -> Images:
    """Shrunk to this fraction of its size."""
    return _warp_randomly(x, [_about_centre(scale=1 / factor)], rng)


def rotate(x: Images, angle: float, rng: Rng) -> Images:
    """Rotated to the left or right by an angle in radians."""
    return _warp_randomly(x, [_about_centre(rotation=sign * angle) for sign in (-1, 1)], rng)


def translate(x: Images, pixels: int, rng: Rng) -> Images:
    """Shifted by this many pixels along both axes, each in either direction."""
    shifts = (-pixels, pixels)
    return _warp_randomly(x, [AffineTransform(translation=(dx, dy)) for dx in shifts for dy in shifts], rng)


def _about_centre(**transform: float) -> AffineTransform:
    """A transform (output to input coordinates) about the centre of the image."""
    centre = np.full(2, (SIZE - 1) / 2)
    to_centre, back = AffineTransform(translation=-centre), AffineTransform(translation=centre)
    return to_centre + AffineTransform(**transform) + back


def _warp_randomly(x: Images, inverse_maps: list[AffineTransform], rng: Rng) -> Images:
    """Each image warped (bilinear, padding 0) by a random one of the maps from output to input coordinates."""
    choice = rng.integers(len(inverse_maps), size=len(x))
    result = np.empty_like(x)
    for number in np.unique(choice):
        chosen = choice == number
        # scikit-image warps all channels of a picture alike, so the images are passed as channels.
        channels = np.moveaxis(x[chosen], 0, -1)
        result[chosen] = np.moveaxis(warp(channels, inverse_maps[number]), -1, 0)
    return result


def brightness(x: Images, amount: float, rng: Rng) -> Images:
    """Brighter by this amount, which for grey images equals adding it to V in HSV."""
    return x + amount


def stripe(x: Images, _: None, rng: Rng) -> Images:
    """The left and the right quarter inverted."""
    sides = np.r_[0:7, 21:28]
    result = x.copy()
    result[:, :, sides] = 1 - x[:, :, sides]
    return result


def fog(x: Images, parameter: tuple[float, float], rng: Rng) -> Images:
    """A random cloud added, then dimmed so that the maximum of each image cannot grow.

    `parameter`: (strength, decay); a larger decay makes the cloud smoother.
    """
    strength, decay = parameter
    cloud = np.empty_like(x)
    for start in range(0, len(x), PLASMAS):
        part = slice(start, start + PLASMAS)
        cloud[part] = plasma(len(x[part]), decay, rng)[:, :SIZE, :SIZE]
    brightest = x.max(axis=(1, 2), keepdims=True)
    return (x + strength * cloud) * brightest / (brightest + strength)


def plasma(count: int, decay: float, rng: Rng) -> np.ndarray:
    """Periodic random height maps, float32 (count, 256, 256), each from exactly 0 to exactly 1.

    The diamond-square algorithm (Fournier, Fussell and Carpenter 1982) from a single point, doubling the side at each
    step. As in the benchmark, the noise shrinks by decay² per step.
    """
    heights = np.zeros((count, 1, 1), np.float32)
    amplitude = 1.0  # arbitrary, since heights are scaled to 0..1 at the end
    while heights.shape[1] < PLASMA:
        heights = _double(heights, amplitude, rng)
        amplitude /= decay**2
    heights -= heights.min(axis=(1, 2), keepdims=True)
    return heights / heights.max(axis=(1, 2), keepdims=True)


def _double(corners: np.ndarray, amplitude: float, rng: Rng) -> np.ndarray:
    """Height maps of twice the side: each new point is the mean of its four neighbours plus uniform noise."""
    count, side, _ = corners.shape
    noise = rng.random((3, count, side, side), dtype=np.float32)
    noise -= 0.5
    noise *= 2 * amplitude
    below, right = np.roll(corners, -1, axis=1), np.roll(corners, -1, axis=2)
    centres = (corners + below + right + np.roll(below, -1, axis=2)) / 4 + noise[0]
    # The neighbours of the middle of an edge are its two ends and the centres of its two squares.
    across = (corners + right + centres + np.roll(centres, 1, axis=1)) / 4 + noise[1]
    down = (corners + below + centres + np.roll(centres, 1, axis=2)) / 4 + noise[2]
    finer = np.empty((count, 2 * side, 2 * side), np.float32)
    finer[:, ::2, ::2], finer[:, ::2, 1::2] = corners, across
    finer[:, 1::2, ::2], finer[:, 1::2, 1::2] = down, centres
    return finer


def spatter(x: Images, parameter: tuple[float, float, float, float, float], rng: Rng) -> Images:
    """Spots of dark grey mud where blurred noise exceeds a threshold.

    `parameter`: (mean and sd of the noise, sigma of its blur, threshold, sigma of the blur of the spots' outlines).
    """
    mean, sd, sigma, threshold, outline = parameter
    noise = gaussian(rng.normal(mean, sd, x.shape), sigma, channel_axis=0)
    mud = gaussian((noise > threshold).astype(float), outline, channel_axis=0)
    mud[mud < 0.8] = 0
    return x * (1 - mud) + 63 / 255 * mud


def dotted_line(x: Images, _: None, rng: Rng) -> Images:
    """A dotted line from a random row at the left edge to a random row at the right edge."""
    first_row, last_row = rng.integers(0, 27, (2, len(x)))
    dots = np.arange(SIZE) // 2 % 2  # two pixels off, two on
    return x + _line(np.zeros(len(x)), first_row, np.full(len(x), 27), last_row) * dots


def zigzag(x: Images, _: None, rng: Rng) -> Images:
    """A zigzag from column 2 to column 25, from a random row to one up to five rows off."""
    row = rng.integers(0, 27, len(x))
    climb = rng.integers(-5, 5, len(x))
    corners = list(zip(*_zigzag_corners(row, climb), strict=True))
    return x + sum(_line(*start, *end) for start, end in itertools.pairwise(corners))


def _zigzag_corners(row: np.ndarray, climb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows, each (8, N), of the corners of zigzags from a row to `climb` rows below it."""
    reach, width = 2, 2  # of one zig, along and across the axis
    span = 25 - 2
    angle = np.arctan(climb / span)
    length = span / np.cos(angle)
    # `length` is 23 to 23.6 whatever the climb: six corners fit, and the last piece stops before the axis.
    along = reach * np.arange(1, 12, 2)
    across = width * np.array([1, -1, 1, -1, 1, -1])
    last = across[-1] / (2 * (length - 2 * reach * (length // (2 * reach))))
    along = np.vstack([np.zeros_like(length), np.repeat(along[:, None], len(row), axis=1), length])
    across = np.vstack([np.zeros_like(length), np.repeat(across[:, None], len(row), axis=1), last])
    columns = 2 + along * np.cos(angle) - across * np.sin(angle)
    rows = row + along * np.sin(angle) + across * np.cos(angle)
    return columns, rows


def _line(c0: np.ndarray, r0: np.ndarray, c1: np.ndarray, r1: np.ndarray) -> np.ndarray:
    """Soft lines (N, 28, 28), 0..1, from columns c0, rows r0 to columns c1 > c0, rows r1, each (N,).

    The ink depends on the vertical distance, in columns from floor(c0) to before ceil(c1).
    """
    pixel = np.arange(SIZE)
    slope = (r1 - r0) / (c1 - c0)
    centre = r0[:, None] + slope[:, None] * (pixel - c0[:, None])
    drawn = (pixel >= np.floor(c0)[:, None]) & (pixel < np.ceil(c1)[:, None])
    distance = np.abs(pixel[:, None] - centre[:, None, :])
    ink = np.log1p(-np.minimum(distance, LINE_REACH - 1e-10) / LINE_REACH) + 1
    return np.maximum(ink, 0) * drawn[:, None, :]


def canny_edges(x: Images, _: None, rng: Rng) -> Images:
    """Only the edges, one pixel wide, by Canny's detector (1986) with scikit-image's defaults."""
    return np.array([canny(image) for image in x], float).reshape(x.shape)


GEOMETRIC = ("shear", "scale", "rotate", "translate")  # also part of the usual augmentation

# In the benchmark's order; its sixteenth, identity, changes nothing. Only append: a position seeds random numbers.
CORRUPTIONS = {
    "shot_noise": Corruption(shot_noise, (60, 25, 12, 5, 3), 5),
    "impulse_noise": Corruption(impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27), 4),
    "glass_blur": Corruption(glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)), 1),
    "motion_blur": Corruption(motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), 1),
    "shear": Corruption(shear, (0.2, 0.4, 0.6, 0.8, 1.0), 2),
    "scale": Corruption(scale, (0.9, 0.8, 0.7, 0.6, 0.5), 3),
    "rotate": Corruption(rotate, (0.2, 0.4, 0.6, 0.8, 1.0), 2),
    "brightness": Corruption(brightness, (0.1, 0.2, 0.3, 0.4, 0.5), 5),
    "translate": Corruption(translate, (1, 2, 3, 4, 5), 3),
    "stripe": Corruption(stripe),
    "fog": Corruption(fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)), 5),
    # Severities 1 to 3 have few large spots, 4 and 5 many small ones: 4 changes less of an image than 3.
    "spatter": Corruption(
        spatter, ((0.65, 0.3, 4, 0.69, 0.6), (0.65, 0.3, 3, 0.68, 0.6), (0.65, 0.3, 2, 0.68, 0.5),
                  (0.65, 0.3, 1, 0.65, 1.5), (0.67, 0.4, 1, 0.65, 1.5)), 4),
    "dotted_line": Corruption(dotted_line),
    "zigzag": Corruption(zigzag),
    "canny_edges": Corruption(canny_edges),
}  # fmt: skip
