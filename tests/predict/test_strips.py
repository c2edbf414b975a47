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
from helpers.predict.strips import HIGH, StripReading, decode


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
    assert read.text == text and read.probability(text) > 0.9
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
        assert decode(answers).probability(text) == pytest.approx(found.get(text, 0.0))


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
    together, alone = strips.look(cut), [strips.look([strip])[0] for strip in cut]
    assert [read.text for read in together] == [read.text for read in alone] == ["7", "40", "3815", "201743"]
    assert np.allclose(*[[read.probability(read.text) for read in way] for way in (together, alone)], atol=0.02)
    assert strips.look([]) == []


@pytest.mark.parametrize("overlap", [4, 14, 22])
@pytest.mark.parametrize("text", ["1000", "6000", "2000", "300"])
def test_zeros_that_share_strokes_are_read(digits, shipped, text, overlap):
    picture, _ = write(digits, [text], gap=-overlap)
    reading = shipped.read(picture, line=True)
    assert reading.text == text
    assert 0 < reading.confidence <= 1 and len(reading.characters) == len(text)
    lefts = [character.box[0] for character in reading.characters]
    assert lefts == sorted(lefts)


class Said(StripReading):
    """A reading whose probability is set: `answers` holds it."""

    def probability(self, text):
        return self.answers if text == self.text else (1 - self.answers) / 10


def said(text, probability):
    each = np.full((len(text), 10), 0.01)
    each[np.arange(len(text)), [int(digit) for digit in text]] = 0.91
    return Said(text, each, np.linspace(15, 75, len(text)), probability)


def second_look(monkeypatch, shipped, picture, text, probability):
    """The answer where the first look is in doubt (or what is called so), and the second says this."""
    monkeypatch.setattr(lines, "DOUBTFUL", 1.1)
    monkeypatch.setattr(shipped, "look", lambda cut: [said(text, probability) for _ in cut])
    return shipped.read(picture, line=True)


def test_where_both_agree_they_are_believed_more_and_else_less(digits, shipped, monkeypatch):
    picture, boxes = write(digits, ["2745"])
    monkeypatch.setattr(shipped, "look", None)
    first = shipped.read(picture, line=True)
    assert first.text == "2745"
    agree = second_look(monkeypatch, shipped, picture, "2745", 0.99)
    differ = second_look(monkeypatch, shipped, picture, "2746", 0.9)
    assert agree.text == differ.text == "2745" and differ.confidence < first.confidence - 0.01 < agree.confidence
    for reading in (agree, differ):
        assert reading.confidence == pytest.approx(np.prod([c.confidence for c in reading.characters]), rel=0.02)
        assert all(share(c.box, box) > 0.7 for c, box in zip(reading.characters, boxes, strict=True))


PIECE = Row([Piece(50, 30, np.ones((40, 15), bool))])
PAGE = type("Page", (), {"ink": np.zeros((100, 200), np.uint8), "level": 10.0})


def word_of(chances, left_out=1.0):
    """A word of one piece that may be each of some digits, or none (None), with probabilities that add up to 1."""
    arcs, guesses = [], []
    for text, chance in chances.items():
        guess = None
        if text is not None:
            guess = lines.Guess(
                0, 1, (50, 30, 15, 40), None, 1.0, 0.4, 0.0, 0, 0.0, probabilities=np.eye(10)[int(text)]
            )
            guess.posterior = chance
            guesses.append(guess)
        arcs.append(lines.Arc(0, 1, float(np.log(chance)), guess))
    best = max(chances, key=chances.get)
    odds = 2.0 if best else -9.0
    return lines.Word(guesses[:1] if best else [], 50, 65, odds, left_out=left_out, arcs=arcs)


@pytest.mark.parametrize(
    ("first", "second", "sure", "taken"),
    [
        ({"7": 0.94, "1": 0.06}, "1", 0.5, "7"),
        ({"7": 0.9, "1": 0.1}, "1", 0.8, "1"),  # the product counts, not the surer reader
        ({"7": 0.9, None: 0.1}, "", 0.9, "7"),  # a lost digit is missed by nobody
        ({None: 0.9, "7": 0.1}, "7", 0.9, "7"),
        ({None: 0.9, "7": 0.1}, "7", 0.2, ""),
        ({None: 0.9, "7": 0.1}, "", 0.9, ""),
    ],
)
def test_of_two_texts_the_one_with_the_higher_product_is_taken(first, second, sure, taken):
    word = word_of(first, left_out=first.get(None, 1.0))
    found = lines.Found([[word]], 0, PAGE, [PIECE], [[]], 0.0)
    lines.look_again(found, lambda cut: [said(second, sure)])
    characters, complete = lines.settle(word)
    assert "".join(c.text for c in characters) == taken
    total = complete * np.prod([c.confidence for c in characters])
    assert 0 < total < 1 and (total > max(sure, word.confidence)) == (word.text == second)
    assert all(c.box == (50, 30, 15, 40) for c in characters)


def test_a_digit_that_may_be_any_of_several_is_settled_by_a_second_look():
    word = word_of({"7": 1.0})
    word.digits[0].probabilities = np.array([0.02, 0.4, 0.02, 0.02, 0.02, 0.02, 0.02, 0.44, 0.02, 0.02])
    assert lines._answer(word.digits[0].probabilities, (0, 0, 1, 1)).text == "?"
    found = lines.Found([[word]], 0, PAGE, [PIECE], [[]], 0.0)
    lines.look_again(found, lambda cut: [said("7", 0.9)])
    ((character,), _) = lines.settle(word)
    assert character.text == "7" and character.probabilities[7] > 0.9


def test_an_answer_is_as_sure_as_the_texts_of_its_words(digits, shipped, monkeypatch):
    picture = np.hstack([write(digits, [text])[0] for text in ("27", "45")])
    ((first, second),) = lines.find(picture, shipped.judge).words
    assert (first.text, second.text) == ("27", "45") and min(first.confidence, second.confidence) > 0.9
    assert max(word.probability("2745") for word in (first, second)) < 0.01
    monkeypatch.setattr(shipped, "look", None)
    monkeypatch.setattr(lines, "spell", lambda arcs, text: 0.5)
    assert shipped.read(picture, line=True).confidence == pytest.approx(0.25)


def test_what_was_left_out_makes_a_word_that_is_no_number_doubtful():
    word = word_of({None: 0.99, "7": 0.01}, left_out=0.6)
    assert word.confidence == pytest.approx(0.6, abs=0.01) and word.probability("7") == pytest.approx(0.004, abs=0.001)


def test_the_probability_of_a_word_is_that_of_all_ways_to_cut_it():
    row = Row([Piece(x, 0, np.ones((40, wide), bool)) for x, wide in ((0, 10), (12, 10), (30, 20))])
    chances = np.random.default_rng(0).dirichlet(np.ones(10), 5)
    guesses = [
        lines.Guess(a, b, (row.pieces[a].left, 0, 10, 40), None, 1.0, 0.4, 0.0, 0, 0.0, probabilities=p, score=score)
        for (a, b), p, score in zip(
            [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3)], chances, (1, 0.5, 2, 1.5, -1), strict=True
        )
    ]
    arcs = lines.make_arcs(row, guesses, stroke=5)
    found, total = {}, 0.0

    def walk(at, text, weight):
        nonlocal total
        if at == 3:
            found[text] = found.get(text, 0.0) + weight
            total += weight
        for arc in arcs:
            if arc.first == at and arc.guess is None:
                walk(arc.last, text, weight * np.exp(arc.score))
            elif arc.first == at:
                for digit in (1, 7):
                    walk(arc.last, text + str(digit), weight * np.exp(arc.score) * arc.guess.probabilities[digit])
                walk(arc.last, text + "?", weight * np.exp(arc.score) * (1 - arc.guess.probabilities[[1, 7]].sum()))

    walk(0, "", 1.0)
    for text in ("", "1", "17", "777", "1111"):
        assert lines.spell(arcs, text) == pytest.approx(found.get(text, 0.0) / total)
    assert lines.spell([], "") == 1 and lines.spell([], "1") == 0


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
