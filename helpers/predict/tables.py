"""Digits of a page as a table: by the grid round them, or by columns where there is none.

Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import csv
import io
import itertools
import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from helpers.images.grid import Grid, find_grid
from helpers.predict.lines import Character

WORD = 0.9  # heights of a digit: a wider gap separates two numbers


class Cell(NamedTuple):
    """What is written in a cell, how sure, its place, counted from 0, and the box of its digits: left, top, width, height."""

    text: str
    confidence: float
    row: int
    column: int
    box: tuple[int, int, int, int]


def to_table(picture: np.ndarray, rows: list[list[Character]]) -> tuple[list[Cell], int]:
    """The cells of a picture whose digits `lines.read` has found, row by row, and how many digits are in none.

    Empty cells are left out. In a grid a cell is what its lines enclose, and digits outside the grid belong to no
    cell. Without one, a row of digits is a row, and numbers above each other are a column.
    """
    grid = find_grid(picture)
    cells = (in_grid(grid, rows) if grid else []) or in_columns(rows)
    return cells, sum(map(len, rows)) - sum(len(cell.text) for cell in cells)


def in_grid(grid: Grid, rows: list[list[Character]]) -> list[Cell]:
    """The cells of a grid."""
    found = defaultdict(list)
    for character in itertools.chain(*rows):
        left, top, wide, high = character.box
        if place := grid.cell(left + wide / 2, top + high / 2):
            found[place].append(character)
    return [_cell(sorted(found[place], key=lambda c: c.box[0]), *place) for place in sorted(found)]


def in_columns(rows: list[list[Character]]) -> list[Cell]:
    """The numbers of each row; those that stand above each other are in one column."""
    words = [(number, word) for number, row in enumerate(rows) for word in _words(row)]
    starts, end = [], -math.inf
    for left, right in sorted((word[0].box[0], word[-1].box[0] + word[-1].box[2]) for _, word in words):
        if left >= end:
            starts.append(left)
        end = max(end, right)
    return [_cell(word, number, int(np.searchsorted(starts, word[0].box[0], "right")) - 1) for number, word in words]


def _words(row: list[Character]) -> list[list[Character]]:
    """A row of digits as numbers."""
    left, _, wide, high = np.transpose([character.box for character in row])
    apart = left[1:] - (left + wide)[:-1] > WORD * np.median(high)
    return [row[a:b] for a, b in itertools.pairwise([0, *(1 + np.flatnonzero(apart)), len(row)])]


def _cell(characters: list[Character], row: int, column: int) -> Cell:
    """Some characters, from left to right, as a cell."""
    boxes = np.array([character.box for character in characters])
    low, high = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    text = "".join(character.text for character in characters)
    confidence = math.prod(character.confidence for character in characters)
    return Cell(text, confidence, row, column, tuple(int(n) for n in (*low, *(high - low))))


def to_csv(cells: list[Cell]) -> str:
    """A table as CSV; empty cells are empty fields."""
    height, width = (1 + max((cell[i] for cell in cells), default=-1) for i in (2, 3))
    fields = [[""] * width for _ in range(height)]
    for cell in cells:
        fields[cell.row][cell.column] += cell.text
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(fields)
    return text.getvalue()
