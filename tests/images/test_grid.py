"""helpers.images.grid: the lines of tables are found straight, slanting, in perspective and on dark paper."""

import cv2
import numpy as np
import pytest

from helpers.images.grid import find_grid


def table(rows, columns, side=60, thick=2, margin=50, paper=235, ink=60):
    """An empty table: grey uint8, and the middles of its cells (R, C, 2)."""
    picture = np.full((rows * side + 2 * margin, columns * side + 2 * margin), paper, np.uint8)
    for i in range(rows + 1):
        cv2.line(picture, (margin, margin + i * side), (margin + columns * side, margin + i * side), ink, thick)
    for i in range(columns + 1):
        cv2.line(picture, (margin + i * side, margin), (margin + i * side, margin + rows * side), ink, thick)
    y, x = np.mgrid[:rows, :columns]
    return picture, np.stack([x, y], axis=-1) * side + margin + side / 2


@pytest.mark.parametrize("rows,columns", [(2, 2), (1, 3), (9, 9), (12, 4)])
@pytest.mark.parametrize("thick", [1, 3, 6])
def test_each_point_is_in_its_cell(rows, columns, thick):
    picture, middles = table(rows, columns, thick=thick)
    grid = find_grid(picture)
    assert (len(grid.across) - 1, len(grid.down) - 1) == (rows, columns)
    for row in range(rows):
        for column in range(columns):
            assert grid.cell(*middles[row, column]) == (row, column)
    assert grid.cell(5, 5) is None and grid.cell(*(np.array(picture.shape[::-1]) - 5)) is None


@pytest.mark.parametrize("seed", range(4))
def test_a_photo_from_the_side_is_straightened(seed):
    rng = np.random.default_rng(seed)
    picture, middles = table(6, 5, side=80, margin=90)
    height, width = picture.shape
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]])
    moved = corners + rng.uniform(-45, 45, (4, 2)).astype(np.float32)
    view = cv2.getPerspectiveTransform(corners, moved)
    photo = cv2.warpPerspective(picture, view, (width, height), borderMode=cv2.BORDER_REPLICATE)
    light = np.linspace(1, 0.4, width)
    photo = np.clip(photo * light + rng.normal(0, 4, photo.shape), 0, 255).astype(np.uint8)
    grid = find_grid(photo)
    assert (len(grid.across) - 1, len(grid.down) - 1) == (6, 5)
    seen = cv2.perspectiveTransform(middles.reshape(1, -1, 2).astype(np.float32), view)[0].reshape(6, 5, 2)
    assert all(grid.cell(*seen[r, c]) == (r, c) for r in range(6) for c in range(5))


def test_light_lines_on_a_board():
    picture, middles = table(3, 4)
    grid = find_grid(np.dstack([255 - picture] * 3))
    assert grid.cell(*middles[2, 3]) == (2, 3)


def test_a_merged_cell_is_one():
    picture, middles = table(3, 4)
    picture[50 + 60 + 4 : 50 + 120 - 3, 50 + 120 - 4 : 50 + 120 + 5] = (
        235  # the wall between two cells of the second row
    )
    grid = find_grid(picture)
    assert grid.cell(*middles[1, 2]) == (1, 1) == grid.cell(*middles[1, 1])
    assert grid.cell(*middles[0, 2]) == (0, 2) and grid.cell(*middles[2, 2]) == (2, 2)


@pytest.mark.parametrize("kind", ["blank", "rules", "text", "one box", "noise", "tiny"])
def test_what_is_no_table(kind):
    picture = np.full((400, 500), 235, np.uint8)
    if kind == "rules":
        for y in range(40, 400, 40):
            cv2.line(picture, (0, y), (499, y + 3), 120, 2)
    elif kind == "text":
        for y in range(50, 400, 60):
            cv2.putText(picture, "HANDWRITING", (30, y), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 20, 4, cv2.LINE_AA)
    elif kind == "one box":
        cv2.rectangle(picture, (60, 60), (440, 340), 40, 3)
    elif kind == "noise":
        picture = np.random.default_rng(0).integers(0, 256, (400, 500), dtype=np.uint8)
    elif kind == "tiny":
        picture = picture[:3, :2]
    assert find_grid(picture) is None
