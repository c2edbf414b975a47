"""Lines and pages of digits: order, cuts, signs, forms, boxes, and how many digits a picture shows."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rows import share, write

from helpers import data, images
from helpers.errors import NoDigit, UserError
from helpers.images import page
from helpers.predict import lines
from helpers.predict.__main__ import main

# Reading ------------------------------------------------------------------------------------------------------


def test_rows_are_read_left_to_right_and_top_to_bottom(shipped, digits):
    rows = ["0123456789", "90210", "31415"]
    picture, boxes = write(digits, rows)
    reading = shipped.read(picture, line=True)
    assert reading.status == "ok" and reading.text == " ".join(rows) and not reading.reason
    assert "".join(c.text for c in reading.characters) == "".join(rows)
    assert all(share(c.box, box) > 0.7 for c, box in zip(reading.characters, boxes, strict=True))
    assert reading.confidence == pytest.approx(np.prod([c.confidence for c in reading.characters]))
    assert all(0 < c.confidence <= 1 for c in reading.characters)


@pytest.mark.parametrize("height", [60, 3000])
def test_boxes_are_in_pixels_of_the_picture_given_whatever_its_size(shipped, digits, height):
    picture, boxes = write(digits, ["20740"], height=height)
    reading = shipped.read(picture, line=True)
    assert reading.text == "20740"
    assert all(share(c.box, box) > 0.6 for c, box in zip(reading.characters, boxes, strict=True))


@pytest.mark.parametrize("change", ["light on dark", "gray", "slanted", "shadow", "yellow paper"])
def test_a_row_is_read_under_many_conditions(shipped, digits, change):
    picture, _ = write(digits, ["4710862"], slope=0.1 if change == "slanted" else 0.0)
    if change == "light on dark":
        picture = 255 - picture
    elif change == "gray":
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    elif change == "shadow":
        picture[:, picture.shape[1] // 2 :] //= 2
    elif change == "yellow paper":
        picture = (picture * np.array([1.0, 0.9, 0.4])).astype(np.uint8)
    assert shipped.read(picture, line=True).text == "4710862"


def test_signs_between_digits_are_skipped(shipped, digits):
    picture, boxes = write(digits, ["2041"], gap=60)
    left, top, wide, high = boxes[0]
    ink = (40, 45, 90)
    cv2.circle(picture, (left + wide + 28, top + high - 2), 4, ink, -1, cv2.LINE_AA)  # a decimal point
    left, top, wide, high = boxes[1]
    x, y = left + wide + 30, top + high - 4
    cv2.line(picture, (x, y), (x - 6, y + 16), ink, 6, cv2.LINE_AA)  # a comma
    left, top, wide, high = boxes[2]
    x, y = left + wide + 18, top + high // 2
    cv2.line(picture, (x, y), (x + 24, y), ink, 7, cv2.LINE_AA)  # a dash
    assert shipped.read(picture, line=True).text == "2041"


def test_forms_and_rules_are_not_read(shipped, digits):
    picture, boxes = write(digits, ["20963"], gap=36)
    for left, _, wide, _ in boxes:
        cv2.rectangle(picture, (left - 17, 20), (left + wide + 17, 140), (90, 90, 90), 2)
    assert shipped.read(picture, line=True).text == "20963"
    picture, _ = write(digits, ["20963"])
    for y in (30, 80, 130):
        cv2.line(picture, (0, y), (picture.shape[1], y + 6), (120, 140, 200), 2, cv2.LINE_AA)
    assert shipped.read(picture, line=True).text == "20963"


def test_touching_digits_are_split(shipped, digits):
    for text in ("20", "64", "83", "5062"):
        picture, boxes = write(digits, [text], gap=-3)
        reading = shipped.read(picture, line=True)
        assert reading.text == text
        assert all(share(c.box, box) > 0.6 for c, box in zip(reading.characters, boxes, strict=True))


def test_words_are_not_read(shipped, digits):
    picture, boxes = write(digits, ["2048"])
    wide = np.full((picture.shape[0], 420, 3), 235, np.uint8)
    cv2.putText(wide, "HANNAH", (20, 125), cv2.FONT_HERSHEY_SIMPLEX, 3, (40, 45, 90), 8, cv2.LINE_AA)
    assert shipped.read(np.hstack([wide, picture]), line=True).text == "2048"
    reading = shipped.read(wide, line=True)
    assert reading.status == "rejected" and reading.reason.endswith(".")


@pytest.mark.parametrize("kind", ["blank", "black", "noise", "one line", "checks"])
def test_without_digits_the_reading_says_why(shipped, kind):
    picture = np.full((200, 300, 3), 240, np.uint8)
    if kind == "black":
        picture[:] = 0
    elif kind == "noise":
        picture = np.random.default_rng(0).integers(200, 240, picture.shape, dtype=np.uint8)
    elif kind == "checks":
        picture[(np.indices(picture.shape[:2]) // 10).sum(0) % 2 == 0] = 30
    elif kind == "one line":
        cv2.line(picture, (0, 100), (299, 104), (60, 60, 60), 2)
    reading = shipped.read(picture, line=True)
    assert reading.status == "rejected" and reading.reason.endswith(".") and not reading.characters


def test_arrays_that_are_no_pictures_are_refused(shipped):
    for wrong in (np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5)), np.zeros((4, 4, 2), np.uint8)):
        with pytest.raises(UserError, match="uint8"):
            lines.read(wrong, shipped.judge)
        assert shipped.read(wrong, line=True).status == "error"


def test_a_number_in_parentheses_is_read(digits, shipped):
    picture, boxes = write(digits, ["655022"])
    height = picture.shape[0]
    page_ = np.full((height, picture.shape[1] + 160, 3), 235, np.uint8)
    page_[:, 80:-80] = picture
    for x, start in ((95, 110), (picture.shape[1] + 65, -70)):
        cv2.ellipse(page_, (x + (40 if start > 0 else -40), 80), (60, 70), 0, start, start + 140, (40, 40, 60), 8)
    assert shipped.read(page_, line=True).text == "655022"


def test_a_sliver_that_vanishes_spoils_no_page(digits, shipped, monkeypatch):
    picture, _ = write(digits, ["204", "38"])
    asked, trace = [], images.trace

    def vanishing(ink, mask, *rest):
        asked.append(mask.shape)
        if len(asked) == 1:
            raise NoDigit("No ink was found: the picture is blank.")
        return trace(ink, mask, *rest)

    whole = shipped.read(picture, line=True).text
    monkeypatch.setattr(lines, "trace", vanishing)
    text = shipped.read(picture, line=True).text
    assert whole == "204 38" and text != whole and text.endswith("38")


def test_odd_shapes_are_read_or_refused(shipped):
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (1, 500), (500, 2), (7, 9, 3), (60, 2000, 3)):
        reading = shipped.read(rng.integers(0, 255, shape, dtype=np.uint8), line=True)
        assert reading.status in ("ok", "rejected")


def test_the_predictor_reads_lines_and_the_same_each_time(shipped, digits):
    picture, _ = write(digits, ["1203"])
    one, other = shipped.read(picture, line=True), shipped.read(picture, line=True)
    assert one.text == "1203" and one.characters == other.characters and one.seconds > 0


def test_the_annotated_picture_has_the_size_of_the_picture(shipped, digits):
    picture, _ = write(digits, ["1203"])
    reading = shipped.read(picture, line=True)
    shown = lines.annotate(picture, reading.characters)
    assert shown.shape == picture.shape and shown.dtype == np.uint8 and np.any(shown != picture)
    np.testing.assert_array_equal(shown[-15:], picture[-15:])  # nothing is drawn far from the digits
    assert np.array_equal(shown, reading.steps["reading"])
    assert lines.annotate(picture[..., 0].copy(), reading.characters).shape == picture.shape


# Steps --------------------------------------------------------------------------------------------------------


def test_lines_are_taken_away_and_digits_stay(digits):
    mask = np.zeros((160, 700), np.uint8)
    for i, digit in enumerate(digits[:8]):
        mask[40 : 40 + digit.shape[0], 40 + 80 * i : 40 + 80 * i + digit.shape[1]] = digit
    without = mask.copy()
    for y in (30, 75, 140):
        cv2.line(mask, (0, y), (699, y + 12), 255, 2)
    rest, taken, thick = page.remove_lines(mask, page.typical_stroke(without))
    assert np.count_nonzero(rest[without > 0]) > 0.93 * np.count_nonzero(without)
    assert np.count_nonzero(rest[without == 0]) < 0.1 * np.count_nonzero(mask[without == 0])
    assert 1 <= thick <= 4 and np.array_equal(cv2.max(rest, taken), mask)
    untouched, taken, _ = page.remove_lines(without, page.typical_stroke(without))
    assert np.array_equal(untouched, without) and not taken.any()


def test_a_speck_does_not_tell_the_stroke_of_digits_that_hang_on_a_line_to_the_edge(digits):
    mask = np.zeros((150, 400), np.uint8)
    for i, digit in enumerate(digits[2:5]):
        mask[40 : 40 + digit.shape[0], 60 + 90 * i : 60 + 90 * i + digit.shape[1]] = digit
    alone = page.typical_stroke(mask)
    cv2.line(mask, (0, 110), (399, 105), 255, 4)
    cv2.line(mask, (180, 130), (184, 140), 255, 2)
    assert page.typical_stroke(mask) > 0.5 * alone


def test_a_cut_loses_no_ink(digits):
    mask = np.zeros((90, 200), bool)
    for left, digit in ((5, digits[2]), (62, digits[6])):
        mask[5 : 5 + digit.shape[0], left : left + digit.shape[1]] |= digit > 0
    piece = page.Piece(10, 20, mask, whole=3)
    parts = lines.cut(piece, np.full((150, 250), 255, np.uint8), 80.0, 10.0)
    assert len(parts) > 1 and sum(part.area for part in parts) == piece.area
    assert all(part.whole == 3 for part in parts)
    again = np.zeros((150, 250), int)
    for part in parts:
        again[part.top : part.bottom, part.left : part.right] += part.mask
    assert np.array_equal(again[20:110, 10:210], mask.astype(int))


def best_path(row, guesses):
    return lines.best_path(row, lines.make_arcs(row, guesses, stroke=5))


def test_the_best_path_weighs_the_parts_against_the_whole():
    pieces = [page.Piece(20 * i, 0, np.ones((40, 15), bool), whole=i, thick=5.0) for i in range(3)]
    row = page.Row(pieces)

    def guess(first, last, score):
        shape = {"high": 1, "wide": 0.5, "off": 0, "cuts": 0, "lean": 0}
        return lines.Guess(first, last, (0, 0, 1, 1), np.zeros((28, 28), np.uint8), **shape, score=score)

    single, double = [guess(i, i + 1, 9.0) for i in range(3)], guess(0, 2, 25.0)
    path, left_out = best_path(row, [*single, double])
    assert not left_out and path == [double, single[2]] and all(0.5 < g.posterior <= 1 for g in path)
    double.score = -5.0
    assert best_path(row, [*single, double])[0] == single
    path, left_out = best_path(row, [single[0]])
    assert path == single[:1] and [(left, right) for left, right, _ in left_out] == [(40, 55), (20, 35)]
    assert [none for *_, none in left_out] == pytest.approx([1, 1])  # there is no other way to read the rest
    single[1].score = single[2].score = -4.0
    path, left_out = best_path(row, single)
    assert path == single[:1] and all(0.3 < none < 0.999 for *_, none in left_out)


# What people write and how they cut it out ---------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1572", "10", "2175", "618"])
@pytest.mark.parametrize("wide", [4, 8, 12])
def test_a_straight_stroke_among_digits_is_a_1(shipped, digits, text, wide):
    straight = [*digits]
    straight[1] = np.full((80, wide), 255, np.uint8)
    picture, boxes = write(straight, [text], gap=50)
    reading = shipped.read(picture, line=True)
    assert reading.text == text and len(reading.characters) == len(boxes)


@pytest.mark.parametrize("margin", [0, 1, 3, 8])
def test_a_number_cut_out_without_a_margin_is_read(shipped, digits, margin):
    for text in ("5062", "983"):
        picture, boxes = write(digits, [text])
        left, top = (max(0, min(box[i] for box in boxes) - margin) for i in (0, 1))
        right, bottom = (max(box[i] + box[i + 2] for box in boxes) + margin for i in (0, 1))
        assert shipped.read(picture[top:bottom, left:right], line=True).text == text


@pytest.mark.parametrize("text", ["286", "305", "98"])
@pytest.mark.parametrize("rise,thick", [(0, 3), (-6, 2), (8, 4)])
def test_digits_that_stand_on_a_rule_are_read_in_a_narrow_crop(shipped, digits, text, rise, thick):
    picture, boxes = write(digits, [text])
    left, right = boxes[0][0] - 40, boxes[-1][0] + boxes[-1][2] + 40
    picture = np.ascontiguousarray(picture[20:150, left:right])
    base = max(top + high for _, top, _, high in boxes) - 20
    cv2.line(picture, (0, base - rise // 2), (right - left, base + rise // 2), (110, 90, 120), thick, cv2.LINE_AA)
    assert shipped.read(picture, line=True).text == text


@pytest.mark.parametrize("high,pen", [(120, 3), (250, 3), (400, 6)])
def test_the_straight_strokes_of_large_digits_are_no_printed_lines(shipped, high, pen):
    picture = np.full((2 * high, 4 * high), 240, np.uint8)
    top, bottom = high // 2, high // 2 + high

    def line(*points):
        cv2.polylines(picture, [np.array(points, np.int32)], False, 25, pen, cv2.LINE_AA)

    line((int(0.9 * high), top), (int(0.5 * high), top + int(0.6 * high)), (int(1.15 * high), top + int(0.6 * high)))
    line((int(0.95 * high), top + int(0.3 * high)), (int(0.95 * high), bottom))
    line((int(1.6 * high), top), (int(2.2 * high), top), (int(1.85 * high), bottom))
    assert shipped.read(picture, line=True).text == "47"


@pytest.mark.parametrize("seed", range(3))
def test_a_bar_code_is_no_number(shipped, seed):
    rng, picture, x = np.random.default_rng(seed), np.full((240, 500), 240, np.uint8), 60
    while x < 430:
        wide = int(rng.integers(2, 7))
        picture[60:180, x : x + wide] = 20
        x += wide + int(rng.integers(3, 9))
    assert shipped.read(picture, line=True).status == "rejected"


def test_a_table_is_read_by_its_cells(shipped, digits):
    picture, boxes = write(digits, ["204", "731"], gap=60)
    height, width = picture.shape[:2]
    for x in (30, *(box[0] + box[2] + 30 for box in boxes[:3])):
        cv2.line(picture, (x, 15), (x, height - 20), (90, 90, 90), 2)
    for y in (15, 145, height - 20):
        cv2.line(picture, (30, y), (boxes[2][0] + boxes[2][2] + 30, y), (90, 90, 90), 2)
    cells = shipped.read(picture, table=True).cells
    assert [(c.text, c.row, c.column) for c in cells][:3] == [("2", 0, 0), ("0", 0, 1), ("4", 0, 2)]
    assert {c.row for c in cells[3:]} == {1} and "".join(c.text for c in cells[3:]) == "731"


# How many digits ----------------------------------------------------------------------------------------------


@pytest.fixture
def count(shipped):
    """What counts the digits of a picture."""
    return lambda picture: lines.count_digits(picture, images.find_candidates(picture), 0, shipped.judge)


def crowded(picture):
    """Whether the first reading of a picture looks like several digits."""
    return lines._crowded(images.find_candidates(picture)[0])


def test_a_frame_is_no_second_digit_but_two_in_a_frame_are(digits, count):
    one, two = write(digits, ["5"])[0], write(digits, ["52"])[0]
    for picture in (one, two):
        height, width = picture.shape[:2]
        cv2.rectangle(picture, (15, 15), (width - 15, height - 15), (40, 40, 60), 3)
    assert not crowded(one) and crowded(two)
    assert count(one) == 1 and count(two) == 2


def test_many_pieces_of_ink_are_not_compared_in_pairs(monkeypatch):
    mask = np.zeros((300, 300), np.uint8)
    mask[5:295:6, 5:295:6] = 255
    steps = {"picture": mask, "binarised": mask}
    assert lines._crowded(steps)
    monkeypatch.setattr(np, "array", lambda *_: pytest.fail("compared"))
    assert lines._crowded(steps)


@pytest.mark.parametrize("digit", range(10))
def test_one_digit_counts_as_one(digits, digit, count):
    for gap in (0, 200):  # filling the picture, and small in it
        picture, _ = write(digits, [str(digit)])
        assert count(cv2.copyMakeBorder(picture, gap, gap, gap, gap, cv2.BORDER_REPLICATE)) == 1


def test_a_digit_of_several_strokes_counts_as_one(digits, count):
    paper, ink = (235, 235, 235), (40, 45, 90)
    five = np.full((200, 200, 3), paper, np.uint8)
    cv2.line(five, (80, 40), (135, 36), ink, 9, cv2.LINE_AA)  # the bar, apart
    curve = np.array([[75, 55], [72, 95], [105, 90], [128, 115], [115, 150], [70, 152]])
    cv2.polylines(five, [curve], False, ink, 9, cv2.LINE_AA)
    four = np.full((200, 200, 3), paper, np.uint8)
    cv2.polylines(four, [np.array([[70, 40], [60, 110], [112, 108]])], False, ink, 9, cv2.LINE_AA)
    cv2.line(four, (130, 45), (126, 165), ink, 9, cv2.LINE_AA)
    zero = np.full((200, 200, 3), paper, np.uint8)
    for start in (20, 200):
        cv2.ellipse(zero, (100, 100), (45, 62), 0, start - 90, start + 50, ink, 9, cv2.LINE_AA)
    for picture in (five, four, zero):
        assert count(picture) == 1


def test_specks_frames_and_tables_are_no_digits(digits, count):
    rng = np.random.default_rng(2)
    picture, _ = write(digits, ["3"])
    for x, y in rng.integers(5, 120, (20, 2)):
        cv2.circle(picture, (int(x), int(y)), 2, (60, 60, 60), -1)
    assert count(picture) == 1
    picture, _ = write(digits, ["7"])
    cv2.rectangle(picture, (25, 15), (145, 170), (40, 45, 90), 4)
    assert count(picture) == 1
    picture, _ = write(digits, ["9"])
    picture[:, :25] = (90, 60, 40)
    assert count(picture) == 1


@pytest.mark.parametrize("text", ["20", "473", "90210", "0123456789"])
def test_several_digits_are_counted(digits, text, count):
    picture, _ = write(digits, [text])
    assert count(picture) == len(text)


def test_a_data_sets_image_is_one_digit(count):
    assert all(count(x) == 1 for x in data.load().x_test[:50])


# Command line -------------------------------------------------------------------------------------------------


def test_the_command_line_gives_one_string_and_each_character(digits, tmp_path, capsys):
    picture, _ = write(digits, ["473", "20"])
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    assert main([str(tmp_path / "a.png"), "--line", "--json", "--steps", str(tmp_path / "steps")]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["status"] == "ok" and row["text"] == "473 20" and len(row["characters"]) == 5
    assert all(c["text"] in "0123456789" and 0 < c["confidence"] <= 1 and len(c["box"]) == 4 for c in row["characters"])
    (strip,) = (tmp_path / "steps").glob("*.png")
    assert cv2.imread(str(strip)).shape[0] > 400  # the boxes can be made out


def test_without_the_option_several_digits_are_rejected_and_the_option_named(digits, shipped):
    reading = shipped.read(write(digits, ["473"])[0])
    assert reading.status == "rejected" and "3" in reading.reason and "--line" in reading.reason


def test_damaged_weights_are_named(shipped, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "WEIGHTS", tmp_path / "line_weights.json")
    lines.weights.cache_clear()
    (tmp_path / "line_weights.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="line_weights.json"):
        lines.read(write(digits, ["20"])[0], shipped.judge)
    lines.weights.cache_clear()


def test_an_answer_says_what_was_not_looked_at(shipped, digits, monkeypatch):
    picture, _ = write(digits, ["20740", "3869"])
    whole = shipped.read(picture, line=True)
    assert whole.text == "20740 3869" and not whole.reason
    monkeypatch.setattr(page, "PIECES", 6)
    reading = shipped.read(picture, line=True)
    assert reading.status == "ok" and reading.confidence == 0 and reading.reason.startswith("3 pieces of ink were not")
    monkeypatch.undo()
    for room, status in ((20, "ok"), (0, "rejected")):
        monkeypatch.setattr(lines, "MAX_GUESSES", room)
        reading = shipped.read(picture, line=True)
        assert reading.status == status and "not looked at" in reading.reason and not reading.confidence


def test_digits_beside_the_grid_are_told(shipped, digits):
    picture, boxes = write(digits, ["2041"], gap=60)
    left, right = boxes[0][0] - 30, boxes[2][0] - 30
    for y in (15, 145):
        cv2.line(picture, (left, y), (right, y), (90, 90, 90), 2)
    for x in (left, boxes[1][0] - 30, right):
        cv2.line(picture, (x, 15), (x, 145), (90, 90, 90), 2)
    reading = shipped.read(picture, table=True)
    assert reading.text == "2041" and [cell.text for cell in reading.cells] == ["2", "0"]
    assert reading.reason == "2 digits stand outside the grid, in no cell."


def test_a_level_found_before_keeps_pale_strokes_beside_black_ones():
    picture = np.full((640, 480), 205, np.uint8)
    for x in range(50, 480, 90):
        cv2.circle(picture, (x, 70), 30, 20, 8, cv2.LINE_AA)
    cv2.putText(picture, "74", (150, 380), cv2.FONT_HERSHEY_SIMPLEX, 3, 140, 3, cv2.LINE_AA)
    lost, kept = page.prepare(picture, True), page.prepare(picture, True, 40.0)
    assert lost.level > 40 and not lost.mask[250:].any()
    assert kept.level == 40 and kept.mask[250:].any() and kept.mask[:110].any()


@pytest.mark.parametrize("left, asked", [(1, [np.inf, np.inf, 30.0]), (2, [np.inf, np.inf])])
def test_a_level_found_before_holds_where_a_smaller_page_loses_most_rows(monkeypatch, left, asked):
    levels = []

    def prepare(gray, dark_ink, most=np.inf):
        levels.append(most)
        return SimpleNamespace(level=30.0, rows=3 if most < np.inf else left if len(levels) > 1 else 4)

    monkeypatch.setattr(lines, "prepare", prepare)
    monkeypatch.setattr(lines, "find_pieces", lambda page: (page.rows, 0))
    monkeypatch.setattr(lines, "find_rows", lambda count: [SimpleNamespace(pieces=[])] * count)
    monkeypatch.setattr(lines, "typical_height", lambda pieces: 200.0)
    picture = np.zeros((1600, 1200), np.uint8)
    _, rows, _ = lines._find_ink(picture, picture, True)
    assert levels == asked and len(rows) == (3 if left == 1 else left)
