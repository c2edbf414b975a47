"""Reads a number as a whole, without cutting it into digits: a second look at words that the cuts leave in doubt.

Digits that share a stroke cannot be cut apart. A convolutional network moves along the word and answers for every two
pixels: one of the ten digits, or the blank, "no digit here or the same as before" (connectionist temporal
classification, CTC; Graves et al., 2006). tools/train_strips.py trains it. A strip is uint8 (HIGH, W), ink bright on
black, with digits about DIGIT pixels high in its middle. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import functools
import threading
from typing import NamedTuple

import cv2
import numpy as np

from helpers import paths
from helpers.console import quiet_stderr
from helpers.errors import UserError
from helpers.images.page import Page, Row
from helpers.predict.confidence import softmax
from helpers.predict.network import CLASSES, open_lite

HIGH, DIGIT = 32, 20  # height in pixels of a strip, and of the digits in it
ANSWERS = 1 + CLASSES  # the blank and the ten digits
SMOOTH = 0.4  # standard deviation in pixels of the strip of the blur before a page is scaled down
FULL, MOST = 230, 90  # grey level to which a strip's ink is brought, and the percentile of its ink that has it
STRIDE = 2  # pixels of a strip per answer of the network
BUCKET = 32  # widths are padded to multiples, so that strips can go through the network together
WIDEST = 1600  # width in pixels up to which a strip is read: eighty digits
TOGETHER = 32  # strips in one forward pass
FILE = paths.SHIPPED / "strips.tflite"


class StripReading(NamedTuple):
    """A word read as a whole: its N digits, of each the probabilities (N, 10) and its column in the strip (N,).

    `answers` (T, ANSWERS) are the network's, which also say how probable any other text is.
    """

    text: str
    probabilities: np.ndarray
    centres: np.ndarray
    answers: np.ndarray

    def probability(self, text: str) -> float:
        """The probability of exactly these digits, summed over all their paths: CTC's forward algorithm."""
        states = np.zeros(2 * len(text) + 1, int)  # a blank, a digit, a blank, …
        states[1::2] = [int(digit) + 1 for digit in text]
        jump = np.zeros(len(states), bool)  # from a digit to the next without a blank, unless they are equal
        jump[3::2] = states[3::2] != states[1:-2:2]
        reached = np.zeros(len(states) + 2)  # of each state, after two from which nothing comes
        reached[2:4] = self.answers[0, states[:2]]
        for answers in self.answers[1:]:
            reached[2:] = (reached[2:] + reached[1:-1] + jump * reached[:-2]) * answers[states]
        return float(reached[-2:].sum())


def cut_strip(page: Page, row: Row, left: float, right: float) -> np.ndarray:
    """The strip of a row between two columns of the page."""
    scale = DIGIT / row.height
    wide = max(BUCKET, round((right - left) * scale))
    # The strip follows the row's slope; where the page ends, it is black.
    middle = row.middle(left)
    to_page = np.float32([[1 / scale, 0, left], [row.slope / scale, 1 / scale, middle - HIGH / 2 / scale]])
    ink = page.ink
    if scale < 1:  # as INTER_AREA would: no detail finer than a pixel of the strip
        top = max(0, int(min(middle, row.middle(right)) - HIGH / scale))
        bottom = int(max(middle, row.middle(right)) + HIGH / scale)
        x = max(0, int(left) - 2)
        ink = cv2.GaussianBlur(page.ink[top:bottom, x : int(right) + 2], (0, 0), SMOOTH / scale)
        to_page[:, 2] -= x, top
    strip = cv2.warpAffine(ink, to_page, (wide, HIGH), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    written = strip[strip > 0.5 * page.level]
    full = float(np.percentile(written, MOST)) if written.size else 255.0
    return np.clip(strip * (FULL / full), 0, 255).astype(np.uint8)


class StripNetwork:
    """The shipped network for strips. Safe to use from several threads."""

    def __init__(self):
        """Loads FILE. Raises UserError if it is missing, damaged or another network, or if LiteRT is missing."""
        self._lock = threading.Lock()
        try:
            with quiet_stderr():
                self._runner = open_lite(FILE)
                (self._name,) = self._runner.get_input_details()
                shape = self._run(np.zeros((1, HIGH, BUCKET, 1), np.float32)).shape
        except UserError:
            raise
        except Exception as error:  # what a damaged file makes the loader raise is not documented
            raise UserError(f"{paths.display(FILE)} cannot be used: get it anew.") from error
        if shape != (1, BUCKET // STRIDE, ANSWERS):
            raise UserError(f"{paths.display(FILE)} is not the network for strips: get it anew.")

    def _run(self, x: np.ndarray) -> np.ndarray:
        (logits,) = self._runner(**{self._name: x}).values()
        return logits

    def probabilities(self, strips: list[np.ndarray]) -> list[np.ndarray]:
        """For every STRIDE pixels of each strip, uint8 (HIGH, W): of the blank and of 0 to 9, (W / STRIDE or more, ANSWERS)."""
        widths = [-(-strip.shape[1] // BUCKET) * BUCKET for strip in strips]
        order, found = np.argsort(widths, kind="stable"), [np.empty(0)] * len(strips)
        with self._lock:
            for first in range(0, len(order), TOGETHER):
                group = order[first : first + TOGETHER]
                x = np.zeros((len(group), HIGH, max(widths[i] for i in group), 1), np.float32)
                for row, i in zip(x, group, strict=True):
                    row[:, : strips[i].shape[1], 0] = strips[i]
                for i, logits in zip(group, self._run(x), strict=True):
                    found[i] = softmax(logits.astype(np.float64))
        return found


strip_network = functools.cache(StripNetwork)  # loaded once


def look(strips: list[np.ndarray]) -> list[StripReading]:
    """What the shipped network reads in strips, uint8 (HIGH, W) each; loads it when there is something to read."""
    return [decode(answers) for answers in strip_network().probabilities(strips)] if strips else []


def decode(probabilities: np.ndarray) -> StripReading:
    """The most probable path through answers (T, ANSWERS): equal neighbours are one digit, blanks are none."""
    path = probabilities.argmax(axis=1)
    edges = np.flatnonzero(np.diff(path, prepend=-1, append=-1))  # where a run of equal answers begins, and the end
    starts, ends = (part[path[edges[:-1]] > 0] for part in (edges[:-1], edges[1:]))
    text = "".join(str(path[start] - 1) for start in starts)
    spans = [probabilities[a:b, 1:] for a, b in zip(starts, ends, strict=True)]
    each = np.reshape([span.sum(axis=0) for span in spans], (-1, CLASSES))
    each /= each.sum(axis=1, keepdims=True)
    return StripReading(text, each, STRIDE * (starts + ends) / 2, probabilities)
