"""Any picture of a digit to MNIST-style 28×28, step by step. Knows no model.

Each step is a pure function on arrays; `preprocess` runs them in order and keeps every intermediate picture. Where a
picture can be read in more than one way, `candidates` returns several such rows of steps.
Files are read in helpers/decode.py, masks of strokes are worked on in helpers/strokes.py.
Explained in notebooks/02_preprocessing.ipynb (the classic operations) and
notebooks/06_custom_image_prediction.ipynb (the steps here, on many pictures).

Pictures are uint8, 0..255: colour ones RGB (H, W, 3), gray ones (H, W). Masks are uint8 (H, W), 255 = ink.
"""

import functools
from typing import NamedTuple

import cv2
import numpy as np

from helpers.images.decode import flatten_alpha, read_image
from helpers.errors import UserError
from helpers.images.find_digit import (
    NoDigit,
    crop,
    fill_pinholes,
    find_digits,
    implausibility,
    keep_strokes,
    normalise_stroke,
    remove_rules,
    remove_strips,
    stroke_width,
    touches,
    unevenness,
)

__all__ = [
    "BOX",
    "FIELD",
    "NoDigit",
    "STROKE",
    "Steps",
    "TRACE",
    "WORK",
    "binarise",
    "candidates",
    "centre_of_mass",
    "crop",
    "fit_box",
    "flatten_alpha",
    "half_pixel_moves",
    "ink_is_dark",
    "keep_strokes",
    "normalise_stroke",
    "polarity",
    "preprocess",
    "read_image",
    "remove_background",
    "remove_rules",
    "resize",
    "stroke_width",
    "to_grayscale",
    "to_input",
]

WORK = 320  # longest side in pixels at which a digit is looked for: enough for a pen, quick for a phone photo
LEAST_WORK = (
    128  # smaller pictures are enlarged, to twice their size at most, so that a stroke of one pixel has a shape
)
TINY = 40  # up to this longest side a picture is taken for one of a digit alone, as in data sets
COARSE = 10  # up to this longest side, only the position of a pixel tells anything, not its edge
TRACE = 160  # longest side in pixels at which a stroke's shape is worked on
BOX, FIELD = 20, 28  # MNIST's box for the digit and its whole image, in pixels
STROKE = (2.0, 3.2)  # two of three digits in MNIST have strokes this wide, in pixels of the 20×20 box
LEAST_CONTRAST = 12  # grey levels between ink and paper below which there is no ink, only texture
NEAR = 0.3  # a digit smaller than this share of the working size is looked at again, enlarged
MARGIN = 0.8  # a reading so much more doubtful than the best one is none
DOUBT = 0.2  # evidence of polarity (-1 to 1) below which both are tried

Steps = dict[str, np.ndarray]  # name of a step -> the picture after it, in order


def to_input(x: np.ndarray) -> np.ndarray:
    """What the networks take: uint8 (N, 28, 28) to float32 (N, 28, 28, 1) in 0..1.

    Raises UserError for another shape or type, such as images that were divided by 255 already.
    """
    x = np.asarray(x)
    if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (FIELD, FIELD):
        raise UserError(f"Images must be uint8 of shape (N, 28, 28), 0..255; found {x.dtype} of shape {x.shape}.")
    return x[..., None].astype(np.float32) / 255


# Steps on gray pictures ---------------------------------------------------------------------------------------


def resize(picture: np.ndarray, longest: int) -> np.ndarray:
    """Scales a picture, its proportions kept, until its longest side has `longest` pixels.

    Shrinks by averaging areas (anti-aliased), enlarges by cubic interpolation.
    """
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return picture
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def to_grayscale(picture: np.ndarray) -> np.ndarray:
    """RGB to gray such that coloured ink stays visible; a gray picture is returned as it is.

    The usual weights (0.30, 0.59, 0.11) make yellow ink almost as bright as paper. Here the weights are the
    direction in colour space in which neighbouring pixels differ most: the first principal component of the
    local contrast. On black and white pictures that is the plain mean.
    """
    if picture.ndim == 2:
        return picture
    red, green, blue = cv2.split(picture)
    if cv2.norm(red, green, cv2.NORM_INF) == 0 == cv2.norm(green, blue, cv2.NORM_INF):
        return green
    pixels = resize(picture, min(WORK // 3, max(picture.shape[:2]))).astype(np.float32)
    # What is finer than a fifth of the picture: strokes, not the light's slow change.
    around = max(pixels.shape) // 5 + 1
    detail = (cv2.GaussianBlur(pixels, (0, 0), 1) - cv2.blur(pixels, (around, around))).reshape(-1, 3)
    return along_colour(picture, detail)


def along_colour(picture: np.ndarray, detail: np.ndarray) -> np.ndarray:
    """RGB to gray along the direction in colour space in which `detail`, of shape (N, 3), varies most."""
    _, directions = np.linalg.eigh(detail.T @ detail)
    weights = directions[:, -1] / np.abs(directions[:, -1]).sum()
    weights *= 1 if weights.sum() >= 0 else -1  # bright stays bright
    # A negative weight (red ink on green) would leave 0..255; the offset brings the range back.
    offset = -255 * weights[weights < 0].sum()
    return cv2.transform(picture, np.append(weights, offset)[None].astype(np.float32))


def polarity_evidence(gray: np.ndarray) -> float:
    """How sure it is that the ink is darker than the paper: 1 certainly, -1 certainly brighter, 0 no idea.

    By `thin_and_dark`. Beyond the picture's edge its outermost pixels go on: so a strip of table counts as wide; a
    shadow is wide, and counts for neither.
    """
    reach = 27
    page = cv2.copyMakeBorder(resize(gray, 64), reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    return thin_and_dark(page, (3, 5, 9, 15, 21, 27), reach)


def thin_and_dark(page: np.ndarray, sizes: tuple[int, ...], margin: int = 0) -> float:
    """Whether what is thin in a gray page is dark: 1, or bright: -1. `margin` pixels at the edges do not count.

    Ink is thinner than the paper between strokes. A closing takes away dark things narrower than its kernel, an opening
    bright ones: compares the energy that each takes, for kernels of growing size (a granulometry by morphological
    top-hats), a small one counting more, as the area of what it takes is small too.
    """
    inner = np.s_[margin : page.shape[0] - margin, margin : page.shape[1] - margin]
    dark = bright = 0.0
    for size in sizes:
        kernel = np.ones((size, size), np.uint8)
        dark += cv2.norm(cv2.morphologyEx(page, cv2.MORPH_BLACKHAT, kernel)[inner], cv2.NORM_L2SQR) / size**2
        bright += cv2.norm(cv2.morphologyEx(page, cv2.MORPH_TOPHAT, kernel)[inner], cv2.NORM_L2SQR) / size**2
    return (dark - bright) / max(dark + bright, 1e-9)


def ink_is_dark(gray: np.ndarray) -> bool:
    """Whether the ink is darker than the paper, by `polarity_evidence`."""
    return polarity_evidence(gray) > 0


def polarity(gray: np.ndarray) -> np.ndarray:
    """Makes ink bright on a dark background, as in MNIST: inverts a picture of dark ink."""
    return 255 - gray if ink_is_dark(gray) else gray


def remove_background(bright: np.ndarray, kernel: float = 0.4, dark_ink: bool = True) -> np.ndarray:
    """Takes paper, shadows and uneven light away from a picture of bright ink: background 0, full ink 255.

    The background is a morphological opening: what is left once everything narrower than `kernel` (a fraction of
    the shorter side) is gone. Light multiplies, so dark ink (`bright` is then an inverted picture) is divided by
    the room that the background leaves it, and bright ink by the background.
    """
    smooth = cv2.GaussianBlur(bright, (0, 0), max(0.5, max(bright.shape) / 250))
    # In a strip cut out along a 1, the shorter side is hardly wider than the stroke.
    side = max(3, int(kernel * min(bright.shape)), int(0.75 * kernel * max(bright.shape)))
    square = np.ones((side, side), np.uint8)
    background = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, square).astype(np.int16)
    # An opening flattens a slope of light where it meets the picture's edge; a second one, of the picture without
    # its slope, does not, but fails at a shadow. Neither rises above the paper, so the larger of the two is right.
    slope = _slope(smooth).astype(np.int16)
    level = cv2.subtract(smooth, slope, dtype=cv2.CV_16S)
    background = cv2.max(background, slope + cv2.morphologyEx(level, cv2.MORPH_OPEN, square)).astype(np.float32)
    # Where a shadow's edge slants, its staircase of pixels would stay as a thin line.
    background = cv2.dilate(background, np.ones((3, 3), np.uint8))
    ink = smooth - background
    if dark_ink:
        ink *= 255 / np.maximum(255 - background, 32)
    else:
        ink *= (background.mean() + 64) / (background + 64)
    return np.clip(np.round(ink), 0, 255).astype(np.uint8)


def _slope(surface: np.ndarray) -> np.ndarray:
    """The quadratic surface that fits the paper of a gray picture of bright ink best (least squares): float32."""
    side = 16
    height, width = surface.shape
    small = cv2.resize(surface, (side, side), interpolation=cv2.INTER_AREA).ravel().astype(np.float32)
    solve, terms = _quadratic(side)
    fit = terms @ (solve @ small)
    # Ink stands above the paper; without it the second fit is the paper's.
    ink = small - fit > (small - fit).std()
    a, b, c, d, e, f = solve @ np.where(ink, fit, small)
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    return (a + b * y + d * y * y) + (c * x + e * x * x) + f * (y * x)


@functools.cache
def _quadratic(side: int) -> tuple[np.ndarray, np.ndarray]:
    """What turns a square picture's pixels into the six coefficients of its quadratic surface, and back."""
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    y, x = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    terms = np.stack([np.ones_like(x), y, x, y * y, x * x, y * x], axis=1).astype(np.float32)
    return np.linalg.pinv(terms), terms


# Steps on masks -----------------------------------------------------------------------------------------------


def threshold(ink: np.ndarray) -> tuple[float, float]:
    """The gray level that splits ink from paper, and the lowest one that still stands out of the paper's noise.

    `ink` is 0 on paper and bright on ink, as `remove_background` returns it. Otsu's method on the pixels that stand
    out. Raises NoDigit if nothing stands out: the page is blank or the ink too faint.
    """
    counts = np.bincount(ink.ravel(), minlength=256).astype(np.float64)
    # Paper is at least a quarter of the picture, and free of ink up to there: between the 5 % and 25 % quantiles lie
    # 0.97 standard deviations of its noise, between 25 % and 50 % 0.67. The latter may hold ink, the former be cut off
    # at black.
    least, paper, middle = np.searchsorted(np.cumsum(counts), np.array([0.05, 0.25, 0.5]) * ink.size)
    below = (paper - least) / 0.97
    noise = max(below, min((middle - paper) / 0.67, 2 * below + 2))
    floor = paper + max(LEAST_CONTRAST, 5.5 * noise)
    counts[: int(floor) + 1] = 0
    standing = counts.sum()
    if standing < 12:
        raise NoDigit("No ink was found: the picture is blank, or its strokes are too faint.")
    # Paper fills most of a picture and would drag Otsu's threshold into its own noise; as many paper pixels as
    # ink pixels keep the two sides even.
    counts[int(paper)] = standing
    below, levels = np.cumsum(counts), np.arange(256)
    sums = np.cumsum(counts * levels)
    between = (sums[-1] * below / below[-1] - sums) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return max(float(np.argmax(between)), floor), floor


def binarise(ink: np.ndarray) -> np.ndarray:
    """Splits ink from paper: a mask, by `threshold`, chosen anew for each picture. Raises NoDigit without ink."""
    return 255 * (ink > threshold(ink)[0]).astype(np.uint8)


def hysteresis(ink: np.ndarray, low: float, high: float) -> np.ndarray:
    """What exceeds `low` and hangs together with something that exceeds `high`: a mask (Canny, 1986).

    A stroke's faint stretches are kept where they belong to it, faint spots elsewhere are not.
    """
    _, parts = cv2.connectedComponents(255 * (ink > low).astype(np.uint8), connectivity=8)
    strong = np.zeros(parts.max() + 1, bool)
    strong[parts[ink > high]] = True
    strong[0] = False
    return 255 * strong[parts].astype(np.uint8)


# MNIST's frame ------------------------------------------------------------------------------------------------


def trace(ink: np.ndarray, kept: np.ndarray, level: float, longest: int = TRACE) -> np.ndarray:
    """Cuts out the kept strokes, enlarged or shrunk to `longest` pixels: a mask with smooth edges.

    Enlarges the gray ink, not the mask: where its edge runs between two pixels only the gray levels tell. `kept` is
    a mask of the shape of `ink`, `level` the gray level at which ink begins. Pinholes are filled.
    """
    left, top, width, height = cv2.boundingRect(kept)
    box = np.s_[max(0, top - 2) : top + height + 2, max(0, left - 2) : left + width + 2]
    near = cv2.dilate(kept[box], np.ones((3, 3), np.uint8))
    # What is ink but was not kept (a rule, a speck) must not come back as a stub.
    near[(ink[box] > level) & (kept[box] == 0)] = 0
    gray = cv2.min(ink[box], near)
    # Kept pixels below the level bridge a gap: they count as ink.
    gray = np.where((kept[box] > 0) & (gray <= level), min(255, int(level) + 1), gray).astype(np.uint8)
    scale = longest / max(width, height)
    size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
    smooth = cv2.resize(gray, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return fill_pinholes(crop(255 * (smooth > level).astype(np.uint8)))


def fit_box(digit: np.ndarray, box: int = BOX) -> np.ndarray:
    """Scales a cropped digit so that its longest side is `box` pixels, proportions kept, anti-aliased."""
    return resize(digit, box)


def centre_of_mass(digit: np.ndarray, field: int = FIELD) -> np.ndarray:
    """Places a digit in `field`×`field` black pixels, its centre of mass in the middle, by whole pixels.

    In MNIST every centre of mass lies within half a pixel of pixel (14, 14). Raises NoDigit for an empty digit.
    """
    mass = float(digit.sum())
    if mass == 0:
        raise NoDigit("No ink was found: the picture is blank.")
    canvas = np.zeros((field, field), np.uint8)
    height, width = digit.shape
    row = (digit.sum(1) @ np.arange(height)) / mass
    column = (digit.sum(0) @ np.arange(width)) / mass
    top = int(np.clip(round(field / 2 - row), 0, field - height))
    left = int(np.clip(round(field / 2 - column), 0, field - width))
    canvas[top : top + height, left : left + width] = digit
    return canvas


def half_pixel_moves(x: np.ndarray) -> np.ndarray:
    """Images (N, H, W), or with channels, moved by half a pixel towards each corner: (4, N, H, W), of the same type.

    A moved pixel is the mean of four. What comes in from outside is 0. Networks that see the same digit in such
    views err on other images each time, so their mean errs less (test-time augmentation; Krizhevsky and others,
    "ImageNet classification with deep convolutional neural networks", 2012). Explained in
    notebooks/07_faster_and_better.ipynb.
    """
    height, width = x.shape[1:3]
    wide = np.pad(x.astype(np.float32), ((0, 0), (1, 1), (1, 1)) + ((0, 0),) * (x.ndim - 3))
    columns = wide[:, :, :-1] + wide[:, :, 1:]
    means = (columns[:, :-1] + columns[:, 1:]) / 4  # at the corners of pixels: (N, H + 1, W + 1)
    moved = [means[:, row : row + height, column : column + width] for row in (0, 1) for column in (0, 1)]
    return (np.round(moved) if np.issubdtype(x.dtype, np.integer) else np.stack(moved)).astype(x.dtype)


# The pipeline -------------------------------------------------------------------------------------------------


class Reading(NamedTuple):
    """One way to read a picture: how doubtful the way is, how little its end looks like a digit, and its steps."""

    doubt: float
    against: float
    steps: Steps


def preprocess(picture: np.ndarray) -> Steps:
    """All steps in order on an RGB or gray picture: name of the step -> picture; the last is 28×28 as in MNIST.

    The first of `candidates`. Raises UserError if the array is no picture, NoDigit if no digit is found in it.
    """
    return candidates(picture, limit=1)[0]


def candidates(picture: np.ndarray, limit: int = 4) -> list[Steps]:
    """The plausible readings of a picture, the most plausible first; a clear picture has one.

    Where it is doubtful whether ink is dark or bright, where it begins, or which ink is the digit, each way is
    gone; readings that end in nearly the same 28×28 count as one. A classifier's evidence may choose among them.
    Raises UserError if the array is no picture, NoDigit if no digit is found in it.
    """
    picture = check_picture(picture)
    longest = max(picture.shape[:2])
    if longest <= TINY:
        readings = _read_tiny(picture)
    else:
        readings = _read(picture)
    readings.sort(key=lambda reading: reading.doubt)
    different: list[Steps] = []
    for reading in readings:
        last = reading.steps["centred 28×28"]
        plausible = reading.doubt < readings[0].doubt + MARGIN
        if plausible and all(difference(last, other["centred 28×28"]) > 0.2 for other in different):
            different.append(reading.steps)
    return different[:limit]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """How far two images differ: 0 the same, 1 no ink in common."""
    return cv2.norm(one, other, cv2.NORM_L1) / max(1.0, float(one.sum()) + float(other.sum()))


def _read(picture: np.ndarray) -> list[Reading]:
    """The readings of a picture in which a digit has to be found; a small digit is looked at again from near."""
    longest = max(picture.shape[:2])
    readings = _read_at(picture, min(max(2 * longest, LEAST_WORK), WORK))
    best = min(readings, key=lambda reading: reading.doubt)
    left, top, width, height = cv2.boundingRect(best.steps["strokes kept"])
    size, scale = max(width, height), longest / max(best.steps["strokes kept"].shape)
    if scale <= 1 or size > NEAR * WORK:
        return readings
    row, column, reach = scale * (top + height / 2), scale * (left + width / 2), scale * size * 1.1 + 4
    rows, columns = (slice(max(0, int(at - reach)), int(at + reach) + 1) for at in (row, column))
    try:
        near = _read_at(picture[rows, columns], min(max(LEAST_WORK, int(2 * reach)), WORK // 2))
    except NoDigit:
        return readings
    far = best.steps["picture"]
    return [reading._replace(steps=reading.steps | {"picture": far}) for reading in near]


def _read_at(picture: np.ndarray, longest: int) -> list[Reading]:
    """The readings of a picture at a working size of `longest` pixels, by each plausible polarity."""
    work = resize(picture, longest)
    gray = to_grayscale(work)
    evidence = polarity_evidence(gray)
    readings, refusal = [], None
    for doubt, dark_ink in ((0.0, evidence > 0), (0.25 + 2 * abs(evidence), evidence <= 0)):
        if doubt and abs(evidence) > DOUBT and any(reading.doubt < 0.5 for reading in readings):
            break
        bright = 255 - gray if dark_ink else gray
        steps = {"picture": work, "grayscale": gray, "ink bright": bright}
        try:
            readings += [reading._replace(doubt=doubt + reading.doubt) for reading in _find(steps, dark_ink)]
        except NoDigit as error:
            refusal = refusal or error
    if not readings:
        raise refusal
    # What looks like no digit does not count beside a better one that does.
    best = min(readings, key=lambda reading: reading.doubt)
    return [reading for reading in readings if reading.against < 1 or best.against >= 1]


def _find(steps: Steps, dark_ink: bool) -> list[Reading]:
    """Goes on from "ink bright": each way to tell ink from paper, and the digit from other ink, in any order.

    Raises NoDigit if there is none.
    """
    bright = steps["ink bright"]
    steps = steps | {"background removed": remove_background(bright, dark_ink=dark_ink)}
    try:
        masks = _masks(steps["background removed"])
    except NoDigit:
        if max(bright.shape) < 1.8 * min(bright.shape):
            raise
        # A strip cut out along a 1 holds so much ink that it was taken for paper.
        steps = steps | {"background removed": stretch(bright)}
        masks = _masks(steps["background removed"])
    found = []
    for doubt, level, ink, mask, digits in masks:
        for more, kept in digits:
            cropped = trace(ink, kept, level)
            new = {"binarised": mask, "strokes kept": kept} | _finish(cropped)
            against = implausibility(cropped)
            uneven = min(1.0, 2 * max(0.0, unevenness(cropped) - 0.35))
            found.append(Reading(doubt + more + against + uneven, against, steps | new))
    return found


def _masks(ink: np.ndarray) -> list[tuple[float, float, np.ndarray, np.ndarray, list[tuple[float, np.ndarray]]]]:
    """Ways to binarise, as (doubt, level, the ink it applies to, mask, what `find_digits` finds in it), best first.

    With and without the faint stretches that hang together with strong ones, where that makes a difference. Raises
    NoDigit if there is no digit in either.
    """
    level, floor = threshold(ink)
    plain = 255 * (ink > level).astype(np.uint8)
    without = remove_strips(ink, plain)
    if without is not ink:
        try:
            level, floor = threshold(without)
            ink, plain = without, 255 * (without > level).astype(np.uint8)
        except NoDigit:  # it was the digit itself that filled the corner
            pass
    low = max(floor, 0.5 * level)
    linked = hysteresis(ink, low, level)
    ways, tried = [], [(low, linked), (level, plain)]
    if cv2.countNonZero(linked) < 1.2 * cv2.countNonZero(plain):
        del tried[1]  # the same strokes, hardly thinner
    for at, mask in tried:
        try:
            ways.append((at, ink, mask, find_digits(mask)))
        except NoDigit as error:
            refusal = error
    if not ways:
        raise refusal
    if len(ways) == 2:
        one, other = (way[3][0][1] for way in ways)
        growth = cv2.countNonZero(one) / cv2.countNonZero(other)
        if 1 <= growth < 1.25:
            return [(0.0, *ways[0])]
        same = 0.6 < stroke_width(one) / max(1, stroke_width(other)) < 1.4
        # A faint stretch makes strokes longer; a shadow or a rule makes them wider, or adds thinner ones.
        if not same or touches(one) > touches(other) or growth > 3:
            ways.reverse()
    return [(0.4 * i, *way) for i, way in enumerate(ways)]


def _finish(cropped: np.ndarray) -> Steps:
    """From a cropped digit to MNIST's form: the last four steps."""
    low, high = (width * TRACE / BOX for width in STROKE)
    steps = {"cropped": cropped, "stroke width": crop(normalise_stroke(cropped, low, high))}
    steps["20×20 box"] = fit_box(steps["stroke width"])
    steps["centred 28×28"] = centre_of_mass(steps["20×20 box"])
    return steps


def _read_tiny(picture: np.ndarray) -> list[Reading]:
    """The readings of a picture so small that each pixel counts: gray levels stay, nothing is taken for a speck."""
    gray = to_grayscale(picture)
    evidence = polarity_evidence(gray)
    readings, refusal = [], None
    for doubt, dark_ink in ((0.0, evidence > 0), (0.5 + 5 * abs(evidence), evidence <= 0)):
        if readings and abs(evidence) > DOUBT:
            break
        bright = 255 - gray if dark_ink else gray
        try:
            ink = stretch(bright)
            digit = crop(ink)
            if max(ink.shape) <= COARSE and max(digit.shape) >= max(ink.shape) - 1:
                digit = ink  # already of one size with others of its kind: a row less is chance
        except NoDigit as error:
            refusal = refusal or error
            continue
        steps = {"picture": picture, "grayscale": gray, "ink bright": bright, "background removed": ink}
        steps |= {"binarised": 255 * (ink > 127).astype(np.uint8), "strokes kept": ink}
        readings.append(Reading(doubt, 0, steps | _finish_gray(digit)))
        height, width = digit.shape
        if digit.shape == picture.shape[:2] and 0.8 < width / height < 1.25:
            # Some collections stretch every digit to a square; a digit is 0.7 times as wide as high.
            narrow = cv2.resize(digit, (round(0.75 * height), height), interpolation=cv2.INTER_AREA)
            readings.append(Reading(doubt + 0.5, 0, steps | _finish_gray(narrow)))
    if not readings:
        raise refusal
    return readings


def _finish_gray(cropped: np.ndarray) -> Steps:
    """The last four steps for a tiny digit, gray levels kept. What is in MNIST's form already stays as it is."""
    steps = {"cropped": cropped, "stroke width": cropped}
    coarse = max(cropped.shape) <= COARSE  # so few pixels tell no stroke width, and their soft edges reach far
    if max(cropped.shape) != BOX and not coarse:
        steps["stroke width"] = change_stroke(resize(cropped, TRACE))
    steps["20×20 box"] = fit_box(steps["stroke width"], BOX - coarse)
    steps["centred 28×28"] = centre_of_mass(steps["20×20 box"])
    return steps


def stretch(bright: np.ndarray) -> np.ndarray:
    """Brings paper to 0 and full ink to 255, one pair of levels for all pixels. For pictures of bright ink alone.

    Raises NoDigit if the gray levels do not form two groups, paper and ink.
    """
    level, _ = cv2.threshold(bright, 0, 255, cv2.THRESH_OTSU)
    paper, ink = bright[bright <= level], bright[bright > level]
    if not ink.size or not paper.size or float(ink.max()) - float(np.median(paper)) < LEAST_CONTRAST:
        raise NoDigit("No ink was found: the picture is blank, or its strokes are too faint.")
    if ink.mean() - paper.mean() < 1.45 * (ink.std() + paper.std()):  # of noise 1.33
        raise NoDigit("No ink was found: paper and strokes cannot be told apart.")
    dark, light = float(np.median(paper)), float(np.percentile(ink, 90))
    noise = 1.4826 * float(np.median(np.abs(paper - dark)))
    # Levels that span the range already, as MNIST's do, stay as they are.
    scale = 1 if light - dark > 240 else 255 / (light - dark)
    result = np.clip((bright - dark) * scale, 0, 255)
    result[bright <= dark + 2.5 * noise] = 0
    return np.round(result).astype(np.uint8)


def change_stroke(wide: np.ndarray) -> np.ndarray:
    """Brings the strokes of an enlarged gray digit to MNIST's range of widths, gray levels kept."""
    low, high = (width / BOX for width in STROKE)
    size = max(wide.shape)
    width = stroke_width(255 * (wide > 127).astype(np.uint8))
    if width == 0 or low <= width / size <= high:
        return wide
    wanted = low if width / size < low else high
    change = (wanted * size - width) / (2 * (1 - wanted))  # (width + 2c) / (size + 2c) = wanted
    reach = round(abs(change))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    if change > 0:
        return crop(cv2.dilate(np.pad(wide, reach), disc))
    thinner = cv2.erode(np.pad(wide, 1), disc)
    return crop(thinner) if thinner.any() else wide


def check_picture(picture: np.ndarray) -> np.ndarray:
    """The array itself if it is a uint8 picture, gray or RGB; UserError otherwise."""
    picture = np.asarray(picture)
    shape_fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if picture.dtype != np.uint8 or not shape_fits or min(picture.shape[:2]) < 1:
        raise UserError(
            f"A picture must be uint8 of shape (H, W) or (H, W, 3); found {picture.dtype} of shape {picture.shape}."
        )
    return picture
