"""helpers.predict.tables: digits become cells, by a grid or by columns; the table is written as CSV."""

import cv2
import numpy as np

from helpers.predict.lines import Character
from helpers.predict.tables import in_columns, to_csv, to_table


def written(text, left, top, high=30, wide=20, gap=6):
    """The characters of a number whose first digit begins at (left, top)."""
    return [Character(c, 0.9, (left + i * (wide + gap), top, wide, high), (0.1,) * 10) for i, c in enumerate(text)]


def test_numbers_above_each_other_are_a_column():
    rows = [
        [*written("12", 10, 0), *written("345", 150, 2)],
        written("6", 20, 60),
        [*written("78", 12, 120), *written("9", 160, 121)],
    ]
    cells = in_columns(rows)
    assert [(c.text, c.row, c.column) for c in cells] == [
        ("12", 0, 0),
        ("345", 0, 1),
        ("6", 1, 0),
        ("78", 2, 0),
        ("9", 2, 1),
    ]
    assert cells[1].box == (150, 2, 72, 30) and abs(cells[1].confidence - 0.9**3) < 1e-9
    assert to_csv(cells) == "12,345\n6,\n78,9\n"


def test_a_grid_says_where_a_number_stands():
    picture = np.full((300, 400), 240, np.uint8)
    for i in range(4):
        cv2.line(picture, (20, 30 + 80 * i), (380, 30 + 80 * i), 50, 2)
    for i in range(5):
        cv2.line(picture, (20 + 90 * i, 30), (20 + 90 * i, 270), 50, 2)
    rows = [[*written("41", 30, 55), *written("7", 310, 50)], [*written("2", 130, 215), *written("9", 385, 100)]]
    cells, outside = to_table(picture, rows)
    assert [(c.text, c.row, c.column) for c in cells] == [("41", 0, 0), ("7", 0, 3), ("2", 2, 1)]
    assert outside == 1  # the 9
    assert to_csv(cells) == "41,,,7\n,,,\n,2,,\n"


def test_without_any_number_in_the_grid_columns_count():
    picture = np.full((300, 400), 240, np.uint8)
    for i in range(3):
        cv2.line(picture, (20, 30 + 40 * i), (380, 30 + 40 * i), 50, 2)
        cv2.line(picture, (20 + 180 * i, 30), (20 + 180 * i, 110), 50, 2)
    cells, outside = to_table(picture, [written("5", 50, 200)])
    assert [c.text for c in cells] == ["5"] and outside == 0


def test_no_cells_are_no_table():
    assert to_csv([]) == ""
