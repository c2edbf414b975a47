"""Numbers read as a whole: decoding, strips, and the second look at words in doubt."""

import itertools

import cv2
import numpy as np
import pytest
from rows import share, write

from helpers.errors import UserError
from helpers.images.page import Piece, Row
from helpers.predict import lines, strips
from helpers.predict.predictor import Predictor
from helpers.predict.strips import HIGH, StripReading, decode, probability_of


def answers(path):
    """Probabilities that say a path of characters, "-" being the blank."""
    found = np.full((len(path), 11), 0.001)
    for row, character in zip(found, path, strict=True):
        row["-0123456789".index(character)] = 0.99
    return found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("--11-1--", "11"),
        ("1111", "1"),
        ("0-0-00", "000"),
        ("-----", ""),
        ("13571", "13571"),
        ("2--", "2"),
        ("--9", "9"),
    ],
)
def test_repetitions_and_blanks_are_left_out(path, text):
    read = decode(answers(path))
    assert read.text == text and read.probability > 0.9
    assert read.probabilities.shape == (len(text), 10) and read.centres.shape == (len(text),)
    assert [str(p.argmax()) for p in read.probabilities] == list(text)
    assert np.allclose(read.probabilities.sum(axis=1), 1)


def test_a_digit_stands_in_the_middle_of_its_answers():
    assert decode(answers("--777---4")).centres.tolist() == [7.0, 17.0]


def test_the_probability_of_a_text_is_that_of_all_its_paths():
    answers = np.random.default_rng(0).dirichlet(np.ones(11), 3)
    found = {}
    for path in itertools.product(range(11), repeat=3):
        text = "".join(str(c - 1) for c, _ in itertools.groupby(path) if c)
        found[text] = found.get(text, 0.0) + np.prod([answers[t, c] for t, c in enumerate(path)])
    assert sum(found.values()) == pytest.approx(1)
    for text in ("", "7", "77", "12", "121", "000"):
        assert probability_of(text, answers) == pytest.approx(found.get(text, 0.0))


@pytest.mark.parametrize("height", [60, 240, 3000])
@pytest.mark.parametrize("slope", [0.0, 0.08])
def test_a_strip_shows_digits_of_one_height_in_its_middle(digits, shipped, height, slope):
    picture, _ = write(digits, ["20740"], height=height, slope=slope)
    found = lines.find(picture, shipped.judge)
    (row,), ((word,),) = found.rows, found.words
    strip = strips.cut_strip(found.page, row, word.left, word.right)
    assert strip.dtype == np.uint8 and strip.shape[0] == HIGH
    left, top, wide, high = cv2.boundingRect(255 * (strip > 100).astype(np.uint8))
    assert 17 <= high <= 26 and abs(top + high / 2 - HIGH / 2) < 3 and wide > 0.9 * strip.shape[1]
    assert strip.max() > 180 and np.median(strip) < 60


def test_strips_of_any_width_are_read_alike_alone_and_together(digits, shipped):
    pages = [lines.find(write(digits, [text])[0], shipped.judge) for text in ("7", "40", "3815", "201743")]
    cut = [strips.cut_strip(p.page, p.rows[0], p.rows[0].left - 20, p.rows[0].right + 20) for p in pages]
    network = strips.strip_network()
    together, alone = network(cut), [network([strip])[0] for strip in cut]
    assert [read.text for read in together] == [read.text for read in alone] == ["7", "40", "3815", "201743"]
    assert np.allclose([read.probability for read in together], [read.probability for read in alone], atol=0.02)
    assert network([]) == []


@pytest.mark.parametrize("overlap", [4, 14, 22])
@pytest.mark.parametrize("text", ["1000", "6000", "2000", "300"])
def test_zeros_that_share_strokes_are_read(digits, shipped, text, overlap):
    picture, _ = write(digits, [text], gap=-overlap)
    reading = shipped.read(picture, line=True)
    assert reading.text == text
    assert 0 < reading.confidence <= 1 and len(reading.characters) == len(text)
    lefts = [character.box[0] for character in reading.characters]
    assert lefts == sorted(lefts)


def second_look(monkeypatch, shipped, picture, text, probability):
    """The answer where the first look is in doubt (or what is called so), and the second says this."""
    monkeypatch.setattr(lines, "DOUBTFUL", 1.1)
    each = np.full((len(text), 10), 0.01)
    each[np.arange(len(text)), [int(digit) for digit in text]] = 0.91
    said = StripReading(text, probability, each, np.linspace(15, 75, len(text)))
    monkeypatch.setattr(shipped, "look", lambda cut: [said for _ in cut])
    return shipped.read(picture, line=True)


def test_where_both_agree_they_are_believed_more_and_else_less(digits, shipped, monkeypatch):
    picture, boxes = write(digits, ["2745"])
    monkeypatch.setattr(shipped, "look", None)
    first = shipped.read(picture, line=True)
    assert first.text == "2745"
    agree = second_look(monkeypatch, shipped, picture, "2745", 0.9)
    assert agree.text == "2745" and agree.confidence > first.confidence
    differ = second_look(monkeypatch, shipped, picture, "2746", min(0.9, first.confidence - 0.05))
    assert differ.text == "2745" and differ.confidence < first.confidence
    for reading in (agree, differ):
        assert reading.confidence == pytest.approx(np.prod([c.confidence for c in reading.characters]), rel=0.02)
        assert all(share(c.box, box) > 0.7 for c, box in zip(reading.characters, boxes, strict=True))
    instead = second_look(monkeypatch, shipped, picture, "2746", 1 - (1 - first.confidence) / 10)
    assert instead.text == "2746" and instead.confidence < 0.999


def test_of_two_readings_the_one_with_more_digits_is_believed_if_it_is_confident_enough(digits, shipped, monkeypatch):
    picture, _ = write(digits, ["2745"])
    monkeypatch.setattr(shipped, "look", None)
    first = shipped.read(picture, line=True)
    surer = 1 - (1 - first.confidence) / 10
    assert second_look(monkeypatch, shipped, picture, "274", surer).text == "2745"
    longer = second_look(monkeypatch, shipped, picture, "27451", lines.ENOUGH + 0.01)
    assert longer.text == "27451" and longer.confidence < lines.ENOUGH and len(longer.characters) == 5
    assert second_look(monkeypatch, shipped, picture, "27451", lines.ENOUGH - 0.01).text == "2745"


def test_where_nothing_was_read_a_digit_needs_the_higher_confidence():
    class Page:
        ink, level = np.zeros((100, 200), np.uint8), 10.0

    row = Row([Piece(50, 30, np.ones((40, 15), bool))])
    picture, each = np.zeros((100, 200), np.uint8), np.eye(10)[[5]]
    for sure, digits_read in ((0.7, 0), (0.95, 1)):
        word = lines.Word([], 50, 65, False, lines.SKIPPED, left_out=0.8)
        found = lines.Found([[word]], 0, Page, [row], [[]], 1.0, 0.0)
        lines.look_again(found, lambda cut, sure=sure: [StripReading("5", sure, each, np.array([27.5]))], picture)
        characters, complete = word.again
        assert len(characters) == digits_read
        assert complete * np.prod([c.confidence for c in characters]) < max(0.8, sure)
        assert all(c.text == "5" and c.box == (50, 30, 15, 40) for c in characters)


def test_each_row_of_a_picture_is_a_strip(digits, shipped):
    cut = lines.row_strips(write(digits, ["20740", "38"])[0], shipped.judge)
    assert [read.text for read in strips.look(cut)] == ["20740", "38"]


def test_a_file_that_is_not_the_network_for_strips_is_named(tmp_path, monkeypatch):
    for name, content in (
        ("none", None),
        ("damaged", b"abc"),
        ("other", (strips.FILE.parent / "digits.tflite").read_bytes()),
    ):
        file = tmp_path / name / "strips.tflite"
        file.parent.mkdir()
        if content is not None:
            file.write_bytes(content)
        monkeypatch.setattr(strips, "FILE", file)
        with pytest.raises(UserError, match=r"strips\.tflite .*get it anew"):
            strips.StripNetwork()


def test_only_the_shipped_network_gets_a_second_look(shipped, model):
    assert shipped.look is strips.look and Predictor(model).look is None
