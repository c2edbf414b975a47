"""Which pieces of ink make which digits: reads the rows that helpers/images/page.py finds.

Digits touch, and digits fall apart. So each row is cut wherever digits might touch, every run of neighbouring pieces
that may be one digit goes through the network, and dynamic programming finds the highest-scoring path through the row
(segmentation by recognition, as in LeCun et al., 1998, section VII). Scores are weighted sums of a few facts,
`digit_facts` and `rest_facts`; tools/fit_line_weights.py fits the weights.
Explained in notebooks/06_custom_image_prediction.ipynb.

Boxes are (left, top, width, height) in pixels.
"""

import functools
import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np

from helpers import paths
from helpers.errors import NoDigit, UserError
from helpers.images.candidates import TINY, difference
from helpers.images.mnist_form import finish, trace
from helpers.images.page import (
    Page,
    Piece,
    Row,
    find_pieces,
    find_rows,
    page_polarity,
    prepare,
    to_grey,
    typical_height,
)
from helpers.images.steps import Steps, check_picture, resize
from helpers.predict import strips
from helpers.predict.strips import StripReading

PAGE_SIDE = 1600  # longest side in pixels at which digits are looked for first
HEIGHT = 64  # height in pixels that digits are brought to for reading
SIZES = (36, 128)  # heights in pixels that are read as they are
MAX_PAGE_SIDE = 3600  # longest side in pixels of a page that is enlarged for small digits
DIGIT_SIDE = 80  # longest side in pixels at which a digit's strokes are worked on
WIDEST = 1.7  # maximum width of a digit, in heights of its row
TOGETHER = 6  # maximum number of pieces of one digit
ONE_POLARITY = 0.25  # evidence of polarity (-1 to 1) from which only the likelier one is tried
CROWD = 200  # more pieces of ink than that are several digits, or none
MAX_GUESSES = 40000  # maximum number of candidate digits per picture
NUMBER = 1.5  # minimum mean log-odds of being digits for a word to count as a number
AMONG_LETTERS = 2.0  # the same where something was skipped in it
SHORT_NUMBER = 0.0  # the same for one or two characters
BARS = 6  # so many bars of one height are a code
LEFT_OUT = 0.4  # of the height of its row: what is as high and left out may be a digit
SKIPPED = -4.0  # log-odds assigned to a skipped character
COUNTED = 0.8  # confidence from which a digit is counted, and drawn as certain
DOUBTFUL = 0.95  # words that are less certain are read once more, as a whole
SLIP = 0.03  # probability that a reader misses what is there, however sure it is
LOST = 1.5  # log-odds against a reading for each digit that the other one has more: lost digits are missed by nobody
AROUND = 1.0  # of the height of its row, so much beside a word is seen with it
KNOWN = 0.5  # probability from which it is said which digit it is; below, its text is UNKNOWN
UNKNOWN = "?"
WEIGHTS = paths.SHIPPED / "line_weights.json"

# Images uint8 (N, 28, 28) -> probabilities of the ten digits (N, 10), and log-odds (N,) of being a digit at all; 0 is
# what a single picture needs.
Judge = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
# Strips uint8 (HIGH, W) of a page -> what is read in each as a whole.
Look = Callable[[list[np.ndarray]], list[StripReading]]


class Character(NamedTuple):
    """One digit of a line: its text, its confidence 0..1, its box in the picture, and the probabilities of 0 to 9."""

    text: str
    confidence: float
    box: tuple[int, int, int, int]
    probabilities: tuple[float, ...]


@dataclass(eq=False)
class Guess:
    """A candidate digit: consecutive pieces of a row, first to last (exclusive), and what the network says of them."""

    first: int
    last: int
    box: tuple[int, int, int, int]
    image: np.ndarray  # uint8 (28, 28)
    high: float  # in heights of the row, as are wide and off (distance of its middle from the row's)
    wide: float
    off: float
    cuts: int  # on how many sides, 0 to 2, it was cut from other ink
    lean: float  # slant to the right, as a tangent; `make_guesses` subtracts that of the row
    probabilities: np.ndarray | None = None  # (10,)
    likely: float = 0.0  # log-odds of being a digit
    score: float = 0.0  # weighted sum of its facts
    posterior: float = 0.0  # probability that these pieces are one digit, over all paths through the row


class Arc(NamedTuple):
    """A step on a path through a row: its pieces first to last (exclusive) are one digit, or are skipped."""

    first: int
    last: int
    score: float
    guess: Guess | None


@dataclass(eq=False)
class Word:
    """Neighbouring characters of a row: the digits read in it, none if it is no number."""

    digits: list[Guess]
    left: float  # columns of its first and last ink
    right: float
    odds: float = SKIPPED  # mean log-odds of its characters being digits
    is_barcode: bool = False
    left_out: float = 1.0  # probability that no digit in it was left out
    arcs: list[Arc] = field(default_factory=list)  # of all paths through its pieces
    again: tuple[StripReading, list[tuple[float, ...]]] | None = None  # a second look, and the boxes of its digits

    @property
    def text(self) -> str:
        """Its digits."""
        return "".join(str(guess.probabilities.argmax()) for guess in self.digits)

    def probability(self, text: str) -> float:
        """The probability that exactly these digits stand in it, over all paths through its pieces."""
        if self.digits:
            return spell(self.arcs, text)
        none = float(self.left_out / (1 + np.exp(self.odds)))
        return none if text == "" else (1 - none) * spell(self.arcs, text)

    @functools.cached_property
    def confidence(self) -> float:
        """The probability of its text."""
        return self.probability(self.text)


class Found(NamedTuple):
    """What was read in a page: the words of each row, and what they were chosen from."""

    words: list[list[Word]]
    unseen: int  # pieces of ink that were too many to look at
    page: Page
    rows: list[Row]
    guesses: list[list[Guess]]
    evidence: float  # how well the digits suit the network; decides between the two polarities

    @property
    def digits(self) -> list[Guess]:
        """The digits of all numbers, row by row."""
        return [guess for row in self.words for word in row for guess in word.digits]


# Reading ------------------------------------------------------------------------------------------------------


def read(
    picture: np.ndarray, judge: Judge, look: Look | None = None
) -> tuple[list[list[Character]], float, int, Steps]:
    """Reads all digits of a picture, uint8 (H, W) or (H, W, 3); `look` reads words that are in doubt once more.

    Returns the characters of each row, top to bottom, the probability that no digit was left out, how many pieces of
    ink were not looked at, and the steps. Boxes are in the picture's own pixels, rows without digits are left out.
    Raises NoDigit if there is no digit at all, UserError if the array is no picture.
    """
    picture = check_picture(picture)
    found = find(picture, judge)
    if look:
        look_again(found, look)
    settled = [[settle(word) for word in words] for words in found.words]
    complete = math.prod(whole for words in settled for _, whole in words)
    rows = [[_in_picture(c, picture, found.page) for characters, _ in words for c in characters] for words in settled]
    rows = [row for row in rows if row]
    if not rows:
        among = f"none of what was looked at looks like one, {found.unseen:,} pieces of ink were not looked at"
        raise NoDigit(f"No digit was found: {among if found.unseen else 'nothing in the picture looks like one'}.")
    steps = {"picture": picture, "background removed": found.page.ink, "pieces": _coloured(found.page, found.rows)}
    steps["reading"] = annotate(picture, [character for row in rows for character in row])
    return rows, complete, found.unseen, steps


def settle(word: Word) -> tuple[list[Character], float]:
    """The characters of a word, their boxes in the page, and the probability that none was left out.

    Confidences are those of being one digit, and this one, changed so that the product of all is the text's.
    """
    characters = [_answer(guess.probabilities, guess.box, guess.posterior) for guess in word.digits]
    complete, sure = word.left_out, word.confidence
    if word.again:
        reading, boxes = word.again
        text, sure = _agree(word, reading)
        if text != word.text:
            characters, complete = list(map(_answer, reading.probabilities, boxes)), 1.0
        elif text == reading.text:
            both = [np.multiply(c.probabilities, p) for c, p in zip(characters, reading.probabilities, strict=True)]
            characters = [_answer(p / p.sum(), c.box) for p, c in zip(both, characters, strict=True)]
    logs = np.log(np.clip([*(c.confidence for c in characters), complete], 1e-12, 1 - 1e-12))
    *each, complete = np.exp(np.log(max(sure, 1e-12)) * logs / logs.sum()).tolist()
    return [c._replace(confidence=x) for c, x in zip(characters, each, strict=True)], complete


def _answer(probabilities: np.ndarray, box: tuple[float, ...], posterior: float = 1.0) -> Character:
    """The most probable digit of ten as part of the answer, UNKNOWN where it is not probable enough."""
    digit = int(np.argmax(probabilities))
    text = str(digit) if probabilities[digit] >= KNOWN else UNKNOWN
    return Character(text, float(probabilities[digit]) * posterior, box, tuple(map(float, probabilities)))


def _in_picture(character: Character, picture: np.ndarray, page: Page) -> Character:
    """A character whose box is in the page with its box in the picture's pixels, inside of it."""
    height, width = picture.shape[:2]
    scale = max(height, width) / max(page.mask.shape)
    left, top, wide, high = (round(scale * n) for n in character.box)
    x, y = min(max(0, left), width - 1), min(max(0, top), height - 1)
    return character._replace(box=(x, y, max(1, min(wide, width - x)), max(1, min(high, height - y))))


def _coloured(page: Page, rows: list[Row]) -> np.ndarray:
    """The pieces of a page after all cuts, neighbours in different colours on white: uint8 RGB."""
    shown = np.full((*page.mask.shape, 3), 255, np.uint8)
    colours = (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167)
    for row in rows:
        for i, piece in enumerate(row.pieces):
            shown[piece.top : piece.bottom, piece.left : piece.right][piece.mask] = colours[i % len(colours)]
    return shown


def annotate(picture: np.ndarray, characters: list[Character]) -> np.ndarray:
    """The picture with a box and the reading of each digit: uint8 RGB, of the same height and width.

    Blue where the reading is confident, orange and thicker where it is not: told apart by the colour-blind too.
    """
    shown = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) if picture.ndim == 2 else picture.copy()
    for text, confidence, (left, top, wide, high), _ in characters:
        colour, line = ((0, 114, 178), high / 40) if confidence >= COUNTED else ((213, 94, 0), high / 20)
        line = max(1, round(line))
        cv2.rectangle(shown, (left, top), (left + wide, top + high), colour, line)
        scale, thick = max(0.35, high / 70), max(1, round(high / 30))
        at = left, max(top - line - 2, round(22 * scale))
        for ink, width in (((255, 255, 255), 3 * thick), (colour, thick)):
            cv2.putText(shown, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, width, cv2.LINE_AA)
    return shown


def find(picture: np.ndarray, judge: Judge) -> Found:
    """Reads a picture in each plausible polarity, resized so that digits have a good height. Raises NoDigit."""
    gray = to_grey(resize(picture, min(PAGE_SIDE, 3 * max(picture.shape[:2]))))
    evidence = page_polarity(gray)
    found, refusal = [], None
    for dark_ink in (evidence > 0, evidence <= 0):
        if found and abs(evidence) > ONE_POLARITY:
            break
        try:
            found.append(_recognise(*_find_ink(picture, gray, dark_ink), judge))
        except NoDigit as error:
            refusal = refusal or error
    if not found:
        raise refusal
    found[0] = found[0]._replace(evidence=found[0].evidence + abs(evidence))
    return max(found, key=lambda way: way.evidence)


def _find_ink(picture: np.ndarray, gray: np.ndarray, dark_ink: bool) -> tuple[Page, list[Row], int]:
    """The page at a size at which digits have a good height, as `_rows` returns it.

    `gray` is the picture at the size at which digits are looked for first. Raises NoDigit.
    """
    first = _rows(prepare(gray, dark_ink))
    size = typical_height([piece for row in first[1] for piece in row.pieces]) or HEIGHT
    if SIZES[0] <= size <= SIZES[1]:
        return first
    wanted = min(round(max(gray.shape) * HEIGHT / size), MAX_PAGE_SIDE, 4 * max(picture.shape[:2]))
    resized = to_grey(resize(picture, wanted))
    found = _rows(prepare(resized, dark_ink))
    # Shrinking blurs thin pale strokes into the paper. Where rows go with them, what was ink before still is.
    lost = 2 * len(found[1]) < len(first[1])
    return _rows(prepare(resized, dark_ink, first[0].level)) if lost else found


def _rows(page: Page) -> tuple[Page, list[Row], int]:
    """A page with its rows of pieces, and how many pieces were too many to look at."""
    pieces, unseen = find_pieces(page)
    return page, find_rows(pieces), unseen


def _recognise(page: Page, rows: list[Row], unseen: int, judge: Judge) -> Found:
    """The digits in rows of pieces; `unseen` others were too many."""
    for row in rows:
        parts = [part for piece in row.pieces for part in cut(piece, page.ink, row.height, page.stroke)]
        row.pieces = sorted(parts, key=lambda p: p.x)
    guesses, more = make_guesses(page, rows)
    together = [guess for row in guesses for guess in row]
    if together:
        for guess, probabilities, likely in zip(together, *judge(np.stack([g.image for g in together])), strict=True):
            guess.probabilities, guess.likely = probabilities, float(likely)
            guess.score = weigh("digit", digit_facts(guess))
    arcs = [make_arcs(row, its, page.stroke) for row, its in zip(rows, guesses, strict=True)]
    words = [split_words(row, *best_path(row, its), its) for row, its in zip(rows, arcs, strict=True)]
    found = Found(words, unseen + more, page, rows, guesses, -1.0)
    suit = [g.probabilities.max() + 0.2 * np.clip(g.likely, -5, 5) for g in found.digits]
    return found._replace(evidence=float(np.mean(suit))) if suit else found


# A second look ------------------------------------------------------------------------------------------------


def row_strips(picture: np.ndarray, judge: Judge) -> list[np.ndarray]:
    """Each row of a picture as one strip; raises NoDigit as `find` does. For notebook 06."""
    found = find(check_picture(picture), judge)
    edges = [(row, AROUND * row.height) for row in found.rows]
    return [strips.cut_strip(found.page, row, row.left - more, row.right + more) for row, more in edges]


def look_again(found: Found, look: Look) -> None:
    """Reads the words that are in doubt once more, as a whole; sets what they are `again`."""
    doubtful = []
    for row, words in zip(found.rows, found.words, strict=True):
        for i, word in enumerate(words):
            # Up to the neighbours, but not far beyond its ink.
            before = words[i - 1].right if i else -np.inf
            after = words[i + 1].left if i + 1 < len(words) else np.inf
            left = max(word.left - AROUND * row.height, (before + word.left) / 2)
            right = min(word.right + AROUND * row.height, (word.right + after) / 2)
            fits = (right - left) * strips.DIGIT / row.height <= strips.WIDEST
            if word.confidence < DOUBTFUL and fits and not word.is_barcode:
                doubtful.append((row, word, left, right))
    cut = [strips.cut_strip(found.page, row, left, right) for row, _, left, right in doubtful]
    for (row, word, left, right), reading in zip(doubtful, look(cut), strict=True):
        word.again = reading, _boxes(row, left, left + reading.centres * row.height / strips.DIGIT, right)


def _agree(word: Word, reading: StripReading) -> tuple[str, float]:
    """Which text of two readers is the more probable one, and how probable it is.

    Two readers that work differently seldom make the same mistake. So each is asked about both texts, the probabilities
    are multiplied, and the text with the higher product is taken. Neither reader rules anything out (SLIP), and a text
    that lacks digits of the other has to be more probable (LOST).
    """
    texts = list(dict.fromkeys((word.text, reading.text)))
    shortest, longest = min(map(len, texts)), max(map(len, texts))
    readers = [[reader.probability(text) for text in texts] for reader in (word, reading)]
    chances = [
        (a + SLIP) * (b + SLIP) * np.exp(LOST * (len(t) - longest)) for t, a, b in zip(texts, *readers, strict=True)
    ]
    another = np.prod([1 - sum(reader) + SLIP for reader in readers]) * np.exp(LOST * (shortest - longest))
    best = int(np.argmax(chances))
    return texts[best], float(chances[best] / (sum(chances) + another))


def _boxes(row: Row, left: float, centres: np.ndarray, right: float) -> list[tuple[float, ...]]:
    """The boxes of the digits of a word of which only the columns of their centres are known: the ink nearest to each."""
    borders = [left, *((centres[:-1] + centres[1:]) / 2), right]
    boxes = []
    for x, start, end in zip(centres, borders, borders[1:], strict=False):
        near = [piece for piece in row.pieces if piece.left < end and piece.right > start]
        if near:
            first, top, last, bottom = extent(near)
            first, last = max(first, start), min(last, end)
        else:
            half = row.height / 2
            first, top, last, bottom = x - half / 2, row.middle(x) - half, x + half / 2, row.middle(x) + half
        boxes.append((first, top, last - first, bottom - top))
    return boxes


# Cuts ---------------------------------------------------------------------------------------------------------


def cut(piece: Piece, ink: np.ndarray, height: float, stroke: float) -> list[Piece]:
    """A piece cut where digits may touch: its parts from left to right, or itself alone.

    A cut is a path from top to bottom through as little ink as possible (a seam, as in seam carving, Avidan and Shamir,
    2007; drop-fall algorithms seek the same). Every good path is taken; whether it lies between two digits is decided
    later, by what the network says of the parts.
    """
    if piece.width < 0.5 * height or piece.width < 2.2 * stroke:
        return [piece]
    scale = min(1.0, 40 / piece.height)
    # Gray ink, not its mask: where two blurred strokes meet, the ink between them is paler.
    gray = ink[piece.top : piece.bottom, piece.left : piece.right] * piece.mask
    full = np.percentile(gray[piece.mask], 80)
    small = np.where(piece.mask, 0.25 + 0.75 * np.minimum(gray / full, 1), 0).astype(np.float32)
    if scale < 1:
        small = cv2.resize(small, (max(1, round(piece.width * scale)), 40), interpolation=cv2.INTER_AREA)
    (down, came), (up, went) = _seams(small), (flipped[::-1] for flipped in _seams(small[::-1]))
    middle = small.shape[0] // 2
    costs = down[middle] + up[middle] - small[middle]
    wide = piece.width > 0.95 * height  # most digits are not, so a costly path is tried as well
    most = np.inf if wide else scale * (2.6 * stroke + 0.12 * height)
    near = max(2, round((0.07 if wide else 0.1) * scale * height))
    seams: list[np.ndarray] = []
    for x in range(near, small.shape[1] - near):
        lowest = costs[x] <= costs[x - near : x + near + 1].min()
        if costs[x] >= most or not lowest or (seams and x - seams[-1][middle] < near):
            continue
        path = np.full(len(small), x)
        for y in range(middle, 0, -1):
            path[y - 1] = path[y] + came[y, path[y]]
        for y in range(middle, len(small) - 1):
            path[y + 1] = path[y] + went[y, path[y]]
        seams.append(path)
    return _divide(piece, seams, scale, 1.5 * stroke**2) if seams else [piece]


def _seams(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pixel the ink on the best path from the top to it (H, W), and the step to the pixel before: -1, 0, 1."""
    costs = np.full((len(ink), ink.shape[1] + 2), 1e9, np.float32)  # with a wall on each side
    costs[0, 1:-1] = ink[0]
    steps, aside = np.zeros(ink.shape, np.int8), 0.12 + 0.4 * ink  # a step aside is longer
    for y in range(1, len(ink)):
        before = costs[y - 1]
        left, straight, right = before[:-2] + aside[y], before[1:-1], before[2:] + aside[y]
        steps[y] = np.where((left <= straight) & (left <= right), -1, np.where(straight <= right, 0, 1))
        costs[y, 1:-1] = ink[y] + np.minimum(np.minimum(left, straight), right)
    return costs[:, 1:-1], steps


def _divide(piece: Piece, seams: list[np.ndarray], scale: float, least: float) -> list[Piece]:
    """The parts of a piece between seams; slivers of less than `least` pixels stay with their neighbour."""
    rows = np.minimum((np.arange(piece.height) * scale).astype(int), len(seams[0]) - 1)
    rest, parts = piece.mask, []
    for seam in seams:
        left = np.arange(piece.width) < (seam[rows] / scale)[:, None]
        if min(np.count_nonzero(rest & left), np.count_nonzero(rest & ~left)) >= least:
            parts.append(rest & left)
            rest = rest & ~left
    pieces = []
    for part in [*parts, rest]:
        x, y, wide, high = cv2.boundingRect(part.astype(np.uint8))
        mask = part[y : y + high, x : x + wide]
        pieces.append(Piece(piece.left + x, piece.top + y, mask, piece.whole, piece.thick))
    return pieces


# Guesses ------------------------------------------------------------------------------------------------------


def make_guesses(page: Page, rows: list[Row]) -> tuple[list[list[Guess]], int]:
    """For each row all runs of consecutive pieces that may be one digit, each as a 28×28 image.

    Also returns how many pieces lie in rows for which there was no room.
    """
    guesses, room, unseen = [], MAX_GUESSES, 0
    page = page._replace(ink=np.pad(page.ink, 2))  # the margin of a digit at the edge
    for row in rows:
        spans = [(i, j) for i in range(len(row.pieces)) for j in range(i + 1, min(i + TOGETHER, len(row.pieces)) + 1)]
        its = [guess for first, last in spans[:room] if (guess := _guess(page, row, first, last))]
        unseen += len(row.pieces) if len(spans) > room else 0
        room = max(0, room - len(its))
        upright = float(np.median([g.lean for g in its if 0.7 < g.high < 1.15 and not g.cuts] or [0.0]))
        for guess in its:
            guess.lean -= upright
        guesses.append(its)
    return guesses, unseen


def _guess(page: Page, row: Row, first: int, last: int) -> Guess | None:
    """Pieces of a page padded by 2 as one digit; None if too wide, too small, too far apart, or with too little ink."""
    pieces = row.pieces[first:last]
    left, top, right, bottom = extent(pieces)
    wide, high = right - left, bottom - top
    gap = max((b.left - max(p.right for p in pieces[:i]) for i, b in enumerate(pieces[1:], 1)), default=0)
    if wide > WIDEST * row.height or not 0.4 <= high / row.height <= 2.2 or gap > 0.3 * row.height:
        return None
    mask = np.zeros((high + 4, wide + 4), np.uint8)
    for p in pieces:
        place = mask[p.top - top + 2 : p.bottom - top + 2, p.left - left + 2 : p.right - left + 2]
        place[p.mask] = 255
    ink = page.ink[top : bottom + 4, left : right + 4]
    try:
        image = finish(trace(ink, mask, page.level, DIGIT_SIDE), DIGIT_SIDE)["centred 28×28"]
    except NoDigit:  # a sliver that vanishes as it shrinks
        return None
    wholes = {p.whole for p in pieces}
    moments = cv2.moments(mask, binaryImage=True)
    return Guess(
        first, last, (left, top, wide, high), image,
        high=high / row.height,
        wide=wide / row.height,
        off=abs(row.middle((left + right) / 2) - (top + bottom) / 2) / row.height,
        cuts=sum(any(p.whole in wholes for p in side) for side in (row.pieces[:first], row.pieces[last:])),
        lean=-moments["mu11"] / max(moments["mu02"], 1),
    )  # fmt: skip


# Scores -------------------------------------------------------------------------------------------------------


@functools.cache
def weights() -> dict:
    """The weights of `digit_facts` ("digit") and `rest_facts` ("rest"), and the "shapes" of the ten digits.

    A shape is the mean and the standard deviation of width divided by height. Raises UserError for a damaged file.
    """
    try:
        found = {"network_sha256": None} | json.loads(WEIGHTS.read_text(encoding="utf-8"))
        return {name: found[name] for name in ("digit", "rest", "shapes", "network_sha256")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{paths.display(WEIGHTS)} cannot be used ({error}): get it anew.") from error


def weigh(kind: str, facts: dict[str, float]) -> float:
    """The weighted sum of facts of a kind, "digit" or "rest". Every fact needs a weight."""
    known = weights()[kind]
    return sum(known[name] * value for name, value in facts.items())


def digit_facts(guess: Guess) -> dict[str, float]:
    """Facts for or against a guess being one whole digit: what the network says of it, then its shape."""
    digit = int(guess.probabilities.argmax())
    sure = guess.probabilities[digit]
    mean, spread = weights()["shapes"][digit]
    broad = (guess.wide / max(guess.high, 0.05) - mean) / spread
    one = float(digit == 1)  # most signs look like a 1
    return {
        "always": 1.0,
        "margin": min(np.log(sure + 1e-3) - np.log(1 - sure + 1e-3), 6.0),
        "digit": float(np.clip(guess.likely, 0, 8)),
        "no digit": float(np.clip(-guess.likely, 0, 8)),
        "short": max(0, 1 - guess.high) ** 2,
        "tall": max(0, guess.high - 1.15),
        "broad": min(max(0, broad), 5.0),
        "off": min(max(0, guess.off - 0.12), 0.3),
        "cuts": guess.cuts,
        "tilted one": one * min(abs(guess.lean), 0.5),
        "tall one": one * max(0, guess.high - 1.1),
    }


def rest_facts(row: Row, first: int, last: int, stroke: float) -> dict[str, float]:
    """Facts for or against pieces being a sign, a letter or dirt rather than part of a digit."""
    pieces = row.pieces[first:last]
    left, top, right, bottom = extent(pieces)
    high, wide = (bottom - top) / row.height, (right - left) / row.height
    before = max((p.right for p in row.pieces[:first]), default=-(10**6))
    after = min((p.left for p in row.pieces[last:]), default=10**6)
    return {
        "always": 1.0,
        "small": max(0, 1 - 2 * high),
        "tall": min(max(0, high - 1.1), 1.0),
        "wide": min(max(0, wide - 0.9), 2.0),
        "ink": min(sum(p.area for p in pieces) / row.height / stroke, 2.0),
        # A lone speck is a sign; a lone stroke of a digit's height is a widely written 1, half as high a small 0.
        "apart": float(np.clip(min(left - before, after - right) / row.height, -0.2, 0.2)) * max(0.0, 1 - 2 * high),
        "lone stroke": float(0.75 < high < 1.15),
    }


def rests(pieces: list[Piece]) -> list[tuple[int, int]]:
    """What may be skipped in a row: (first, last) of pieces. What was cut is skipped as a whole or not at all."""
    spans = []
    for i, piece in enumerate(pieces):
        same = [j for j, other in enumerate(pieces) if other.whole == piece.whole]
        if same[-1] - same[0] >= len(same):  # something else lies between its parts
            spans.append((i, i + 1))
        elif i == same[0]:
            spans.append((i, same[-1] + 1))
    return spans


def extent(pieces: list[Piece]) -> tuple[int, int, int, int]:
    """The bounding box of pieces: left, top, right, bottom."""
    left, top = min(p.left for p in pieces), min(p.top for p in pieces)
    return left, top, max(p.right for p in pieces), max(p.bottom for p in pieces)


def make_arcs(row: Row, guesses: list[Guess], stroke: float) -> list[Arc]:
    """All steps on paths through a row: guesses, and what may be skipped."""
    skipped = [Arc(a, b, weigh("rest", rest_facts(row, a, b, stroke)), None) for a, b in rests(row.pieces)]
    return [Arc(guess.first, guess.last, guess.score, guess) for guess in guesses] + skipped


def spell(arcs: list[Arc], text: str) -> float:
    """The probability that a path through all pieces of some arcs reads a text, summed over all paths that do."""
    if not arcs:
        return float(text == "")
    first, digits = min(arc.first for arc in arcs), [int(digit) for digit in text]
    every = np.full(max(arc.last for arc in arcs) - first + 1, -np.inf)  # log-sums over paths up to a piece
    right = np.full((len(every), len(text) + 1), -np.inf)  # over those that have read so much of the text
    every[0] = right[0, 0] = 0.0
    for start, end, score, guess in sorted(arcs, key=lambda arc: arc.last):
        start, end = start - first, end - first
        every[end] = np.logaddexp(every[end], every[start] + score)
        if guess is None:
            right[end] = np.logaddexp(right[end], right[start] + score)
        else:
            read = right[start, :-1] + score + np.log(guess.probabilities[digits] + 1e-9)
            right[end, 1:] = np.logaddexp(right[end, 1:], read)
    return float(np.exp(right[-1, -1] - every[-1])) if np.isfinite(every[-1]) else 0.0


def best_path(row: Row, arcs: list[Arc]) -> tuple[list[Guess], list[tuple[int, int, float]]]:
    """The guesses on the highest-scoring path through a row, left to right, by dynamic programming.

    Sets the `posterior` of each. Also returns what it leaves out of a digit's height: its first and last column, and the
    probability that it is no digit.
    This is a semi-Markov conditional random field (Sarawagi and Cohen, 2004): its most likely path and its marginals.
    """
    count = len(row.pieces)
    best, before, after = (np.full(count + 1, -np.inf) for _ in range(3))  # the last two: log-sums over all paths
    best[0] = before[0] = after[count] = 0.0
    chosen: list[tuple] = [()] * (count + 1)
    for first, last, score, guess in sorted(arcs, key=lambda arc: arc.last):
        before[last] = np.logaddexp(before[last], before[first] + score)
        if best[first] + score > best[last]:
            best[last], chosen[last] = best[first] + score, (first, last, score, guess)
    for first, last, score, _ in sorted(arcs, key=lambda arc: -arc.first):
        after[first] = np.logaddexp(after[first], after[last] + score)
    path, left_out, at = [], [], count
    while at:
        first, last, score, guess = chosen[at]
        posterior = float(np.exp(before[first] + score + after[last] - before[count]))
        if guess:
            guess.posterior = posterior
            path.append(guess)
        else:
            left, top, right, bottom = extent(row.pieces[first:last])
            if bottom - top > LEFT_OUT * row.height:
                left_out.append((left, right, posterior))
        at = first
    return path[::-1], left_out


def split_words(row: Row, path: list[Guess], left_out: list[tuple[int, int, float]], arcs: list[Arc]) -> list[Word]:
    """The words of a row, and which are numbers: many a letter passes for a digit, hardly a whole word.

    A word's characters are the digits read there and skipped pieces of digit size. It is a number if its mean log-odds
    exceeds NUMBER, AMONG_LETTERS if one of them was skipped, or SHORT_NUMBER if it has one or two.
    """
    read = {i for guess in path for i in range(guess.first, guess.last)}
    characters = [(g.box[0], g.box[0] + g.box[2], min(g.likely, 8.0), g) for g in path]
    for first, last in rests(row.pieces):
        left, top, right, bottom = extent(row.pieces[first:last])
        digit_sized = 0.6 < (bottom - top) / row.height < 1.6 and right - left > 0.35 * row.height
        if digit_sized and read.isdisjoint(range(first, last)):
            characters.append((left, right, SKIPPED, None))
    # A row in which nothing has the size of a digit is one skipped character.
    characters = sorted(characters or [(row.left, row.right, SKIPPED, None)], key=lambda character: character[0])
    gaps = np.array([after[0] - before[1] for before, after in itertools.pairwise(characters)])
    space = max(0.35 * row.height, 1.8 * float(np.median(gaps)) if gaps.size else 0.0)
    words = []
    for start, end in itertools.pairwise([0, *(1 + np.flatnonzero(gaps > space)), len(characters)]):
        lefts, rights, odds, guesses = zip(*characters[start:end], strict=True)
        digits = [guess for guess in guesses if guess]
        asked = SHORT_NUMBER if len(guesses) < 3 else AMONG_LETTERS if None in guesses else NUMBER
        is_barcode, mean = _is_barcode(row, digits), float(np.mean(odds))
        is_number = mean > asked and not is_barcode
        words.append(Word(digits if is_number else [], lefts[0], max(rights), mean, is_barcode))
    for left, right, none in left_out:
        nearest = min(words, key=lambda word: max(word.left - right, left - word.right))
        if max(nearest.left - right, left - nearest.right) > space:
            words.append(nearest := Word([], left, right))
        nearest.left, nearest.right = min(nearest.left, left), max(nearest.right, right)
        nearest.left_out *= none
    for word in words:
        inside = [i for i, piece in enumerate(row.pieces) if piece.right > word.left and piece.left < word.right]
        word.arcs = [arc for arc in arcs if inside and inside[0] <= arc.first and arc.last <= inside[-1] + 1]
    return sorted(words, key=lambda word: word.left)


def _is_barcode(row: Row, guesses: list[Guess]) -> bool:
    """Whether digits are the bars of a code: many straight strokes of one height, all at one level."""
    if len(guesses) < BARS or any(g.probabilities.argmax() != 1 for g in guesses):
        return False
    ends = np.array([(g.box[1], g.box[1] + g.box[3]) for g in guesses])
    full = [sum(p.area for p in row.pieces[g.first : g.last]) / (g.box[2] * g.box[3]) for g in guesses]
    return bool(np.median(full) > 0.85 and (ends.std(axis=0) < 0.03 * np.ptp(ends, axis=1).mean()).all())


# How many digits ----------------------------------------------------------------------------------------------


def count_digits(picture: np.ndarray, candidates: list[Steps], chosen: int, judge: Judge, refused: bool = False) -> int:
    """How many digits a picture shows, given its readings as one digit, and which was chosen: 1 where in doubt.

    Only where that was refused, other ink is as large as the digit, or the digit is wider than most, is it read as a
    page. Broken strokes, bars, specks, frames and tables are non-digits, so they do not count.
    """
    if not refused and (max(picture.shape[:2]) <= TINY or not any(_crowded(steps) for steps in candidates)):
        return 1
    work, alone = candidates[chosen]["picture"], candidates[chosen]["centred 28×28"]
    try:
        digits = find(work, judge).digits
    except NoDigit:
        return 1
    # What passes for a digit as a whole is one, whatever its parts look like; one of several is found among them.
    whole = judge(alone[None])[1][0] > 0 and all(difference(alone, g.image) > 0.4 for g in digits)
    sure = [g for g in digits if g.probabilities.max() * g.posterior >= COUNTED and g.likely > 0 and g.high > 0.6]
    return 1 if whole else max(1, len(sure))


def _crowded(steps: Steps) -> bool:
    """Whether there may be several digits: several pieces of ink of a digit's size, or one wider than high.

    A frame, which is ink round other ink of a digit's size, does not count.
    """
    work, mask = steps["picture"], steps["binarised"]
    if mask.shape != work.shape[:2]:  # only the digit was enlarged, so its neighbours are missing
        dark_ink = not np.array_equal(steps["grayscale"], steps["ink bright"])
        try:
            mask = prepare(to_grey(work), dark_ink).mask
        except NoDigit:
            return False
    left, top, wide, high, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)[2][1:].T
    inside = (left > 0) & (top > 0) & (left + wide < mask.shape[1]) & (top + high < mask.shape[0])
    inside &= high > 0.2 * high[inside].max(initial=0)
    if np.count_nonzero(inside) > CROWD:
        return True
    left, top, wide, high = (n[inside] for n in (left, top, wide, high))
    near, far = np.array([left, top]), np.array([left + wide, top + high])
    round_others = ((near[:, :, None] < near[:, None]) & (far[:, :, None] > far[:, None])).all(axis=0).any(axis=1)
    wide, high = wide[~round_others], high[~round_others]
    return len(high) > 0 and bool(np.count_nonzero(high > 0.5 * high.max()) > 1 or (wide > 1.2 * high.max()).any())
