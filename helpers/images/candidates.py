"""Any picture of a digit to MNIST-style 28×28, step by step. Knows no model.

Each step is a pure function on arrays; `preprocess` runs them in order and keeps every intermediate picture. Where a
picture can be read in more than one way, `find_candidates` returns several such rows of steps.
Files are read in helpers/decode.py, masks of strokes are worked on in helpers/strokes.py.
Explained in notebooks/02_preprocessing.ipynb (the classic operations) and
notebooks/06_custom_image_prediction.ipynb (the steps here, on many pictures).

Pictures are uint8, 0..255: colour ones RGB (H, W, 3), gray ones (H, W). Masks are uint8 (H, W), 255 = ink.
"""

from typing import NamedTuple

import cv2
import numpy as np

from helpers.errors import NoDigit
from helpers.images.find_digit import find_digits, remove_strips, touches
from helpers.images.mnist_form import COARSE, finish, finish_grey, trace
from helpers.images.steps import (
    WORK,
    Steps,
    check_picture,
    hysteresis,
    polarity_evidence,
    remove_background,
    resize,
    stretch,
    threshold,
    to_grayscale,
)
from helpers.images.strokes import crop, implausibility, stroke_width, unevenness

LEAST_WORK = (
    128  # smaller pictures are enlarged, to twice their size at most, so that a stroke of one pixel has a shape
)
TINY = 40  # up to this longest side a picture is taken for one of a digit alone, as in data sets
NEAR = 0.3  # a digit smaller than this share of the working size is looked at again, enlarged
MARGIN = 0.8  # a reading so much more doubtful than the best one is none
DOUBT = 0.2  # evidence of polarity (-1 to 1) below which both are tried


# Steps on gray pictures ---------------------------------------------------------------------------------------


# Steps on masks -----------------------------------------------------------------------------------------------


# MNIST's frame ------------------------------------------------------------------------------------------------


# The pipeline -------------------------------------------------------------------------------------------------


class Candidate(NamedTuple):
    """One way to read a picture: how doubtful the way is, how little its end looks like a digit, and its steps."""

    doubt: float
    against: float
    steps: Steps


def preprocess(picture: np.ndarray) -> Steps:
    """All steps in order on an RGB or gray picture: name of the step -> picture; the last is 28×28 as in MNIST.

    The first of `find_candidates`. Raises UserError if the array is no picture, NoDigit if no digit is found in it.
    """
    return find_candidates(picture, limit=1)[0]


def find_candidates(picture: np.ndarray, limit: int = 4) -> list[Steps]:
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


def _read(picture: np.ndarray) -> list[Candidate]:
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


def _read_at(picture: np.ndarray, longest: int) -> list[Candidate]:
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


def _find(steps: Steps, dark_ink: bool) -> list[Candidate]:
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
            new = {"binarised": mask, "strokes kept": kept} | finish(cropped)
            against = implausibility(cropped)
            uneven = min(1.0, 2 * max(0.0, unevenness(cropped) - 0.35))
            found.append(Candidate(doubt + more + against + uneven, against, steps | new))
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


def _read_tiny(picture: np.ndarray) -> list[Candidate]:
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
        readings.append(Candidate(doubt, 0, steps | finish_grey(digit)))
        height, width = digit.shape
        if digit.shape == picture.shape[:2] and 0.8 < width / height < 1.25:
            # Some collections stretch every digit to a square; a digit is 0.7 times as wide as high.
            narrow = cv2.resize(digit, (round(0.75 * height), height), interpolation=cv2.INTER_AREA)
            readings.append(Candidate(doubt + 0.5, 0, steps | finish_grey(narrow)))
    if not readings:
        raise refusal
    return readings
