"""Any picture of a digit to MNIST-style 28×28 pixels, step by step. Knows no model.

`preprocess` keeps every intermediate picture; where a picture can be read in more than one way, `find_candidates`
returns the steps of each. Pictures are uint8 RGB (H, W, 3) or grey (H, W), masks uint8 (H, W), 255 = ink. Explained in
notebooks/02_preprocessing.ipynb (classic operations) and 06_custom_image_prediction.ipynb (these steps on pictures).
"""

from collections.abc import Callable
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

# Smaller pictures are enlarged to this longest side, at most to twice their size: a stroke of one pixel has no shape.
LEAST_WORK = 128
TINY = 40  # longest side in pixels up to which a picture is assumed to show only a digit, as in data sets
NEAR = 0.3  # digits smaller than this share of the working size are enlarged and processed again
MARGIN = 0.8  # readings whose doubt exceeds the best one's by this much are dropped
UNDECIDED = 0.2  # evidence of polarity (-1 to 1) up to which both polarities are tried


class Candidate(NamedTuple):
    """One reading of a picture: the steps of one choice of polarity, threshold and ink."""

    doubt: float  # 0 is the most plausible
    against: float  # `implausibility` of the result
    steps: Steps


def preprocess(picture: np.ndarray) -> Steps:
    """Runs all steps in order on a picture: the first of `find_candidates`.

    Returns:
        Name of the step -> picture after it; the last, "centred 28×28", has MNIST's form.

    Raises:
        UserError: if the array is not a picture; NoDigit if no digit is found in it.
    """
    return find_candidates(picture, limit=1)[0]


def find_candidates(picture: np.ndarray, limit: int = 4) -> list[Steps]:
    """The plausible readings of a picture, the most plausible first; a clear picture has one.

    Where the polarity, the threshold or the choice of ink is in doubt, each alternative is tried; readings with nearly
    the same result count as one. A classifier can then choose among them.

    Args:
        limit: largest number of readings.

    Returns:
        The steps of each reading, as `preprocess` returns them.

    Raises:
        UserError: if the array is not a picture; NoDigit if no digit is found in it.
    """
    picture = check_picture(picture)
    tiny = max(picture.shape[:2]) <= TINY
    readings = _read(picture, _find_tiny, 0.5, 5) if tiny else _locate(picture)
    readings.sort(key=lambda reading: reading.doubt)
    different: list[Steps] = []
    for reading in readings:
        last = reading.steps["centred 28×28"]
        plausible = reading.doubt < readings[0].doubt + MARGIN
        if plausible and all(difference(last, other["centred 28×28"]) > 0.2 for other in different):
            different.append(reading.steps)
    return different[:limit]


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The difference of two images of one shape, uint8: 0 if equal, 1 without ink in common."""
    return cv2.norm(one, other, cv2.NORM_L1) / max(1.0, float(one.sum()) + float(other.sum()))


def _locate(picture: np.ndarray) -> list[Candidate]:
    """The readings of a picture in which the digit must be located; a small one is cropped and processed again."""
    longest = max(picture.shape[:2])
    readings = _read(resize(picture, min(max(2 * longest, LEAST_WORK), WORK)), _find, 0.25, 2)
    best = min(readings, key=lambda reading: reading.doubt)
    left, top, width, height = cv2.boundingRect(best.steps["strokes kept"])
    size, scale = max(width, height), longest / max(best.steps["strokes kept"].shape)
    if scale <= 1 or size > NEAR * WORK:
        return readings
    row, column, reach = scale * (top + height / 2), scale * (left + width / 2), scale * size * 1.1 + 4
    rows, columns = (slice(max(0, int(at - reach)), int(at + reach) + 1) for at in (row, column))
    wanted = min(max(LEAST_WORK, int(2 * reach)), WORK // 2)
    try:
        near = _read(resize(picture[rows, columns], wanted), _find, 0.25, 2)
    except NoDigit:
        return readings
    far = best.steps["picture"]
    return [reading._replace(steps=reading.steps | {"picture": far}) for reading in near]


def _read(picture: np.ndarray, find: Callable, least: float, factor: float) -> list[Candidate]:
    """The readings that `find` returns for each plausible polarity of a picture at its working size.

    The less plausible polarity has a doubt of at least `least`, plus `factor` times the evidence against it.
    """
    grey = to_grayscale(picture)
    evidence = polarity_evidence(grey)
    readings, refusal = [], None
    for doubt, dark_ink in ((0.0, evidence > 0), (least + factor * abs(evidence), evidence <= 0)):
        if abs(evidence) > UNDECIDED and any(reading.doubt < 0.5 for reading in readings):
            break
        steps = {"picture": picture, "grayscale": grey, "ink bright": 255 - grey if dark_ink else grey}
        try:
            readings += [reading._replace(doubt=doubt + reading.doubt) for reading in find(steps, dark_ink)]
        except NoDigit as error:
            refusal = refusal or error
    if not readings:
        raise refusal
    # Non-digits are dropped if the best reading looks like a digit.
    best = min(readings, key=lambda reading: reading.doubt)
    return [reading for reading in readings if reading.against < 1 or best.against >= 1]


def _find(steps: Steps, dark_ink: bool) -> list[Candidate]:
    """The readings from "ink bright" on, by threshold and choice of ink, unsorted. Raises NoDigit if there is none."""
    bright = steps["ink bright"]
    steps = steps | {"background removed": remove_background(bright, dark_ink=dark_ink)}
    try:
        masks = _masks(steps["background removed"])
    except NoDigit:
        if max(bright.shape) < 1.8 * min(bright.shape):
            raise
        # A narrow crop around a 1 holds so much ink that it was taken for paper.
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
    """Alternative masks as (doubt, level, the ink it applies to, mask, what `find_digits` finds in it), best first.

    With hysteresis and without, where that makes a difference. Raises NoDigit if neither holds a digit.
    """
    level, floor = threshold(ink)
    plain = 255 * (ink > level).astype(np.uint8)
    without = remove_strips(ink, plain)
    if without is not ink:
        try:
            level, floor = threshold(without)
            ink, plain = without, 255 * (without > level).astype(np.uint8)
        except NoDigit:  # the strip was the digit itself
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
        # Faint stretches make strokes longer; a shadow or a rule makes them wider, or adds thinner ones.
        if not same or touches(one) > touches(other) or growth > 3:
            ways.reverse()
    return [(0.4 * i, *way) for i, way in enumerate(ways)]


def _find_tiny(steps: Steps, dark_ink: bool) -> list[Candidate]:
    """As `_find`, for a picture so small that every pixel counts: keeps grey levels and removes nothing as a speck."""
    ink = stretch(steps["ink bright"])
    digit = crop(ink)
    if max(ink.shape) <= COARSE and max(digit.shape) >= max(ink.shape) - 1:
        digit = ink  # one of a set of equal size: the empty row or column is part of its form
    steps = steps | {"background removed": ink}
    steps |= {"binarised": 255 * (ink > 127).astype(np.uint8), "strokes kept": ink}
    found = [Candidate(0, 0, steps | finish_grey(digit))]
    height, width = digit.shape
    if digit.shape == ink.shape and 0.8 < width / height < 1.25:
        # Some data sets stretch every digit to a square; a typical digit is 0.7 times as wide as high.
        narrow = cv2.resize(digit, (round(0.75 * height), height), interpolation=cv2.INTER_AREA)
        found.append(Candidate(0.5, 0, steps | finish_grey(narrow)))
    return found
