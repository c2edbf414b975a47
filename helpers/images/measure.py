"""How a digit is written: its slant, the width of its stroke, its size; and the same digit set upright.

Images are uint8 (N, 28, 28), 0 background, 255 ink. Explained in notebooks/05_evaluation.ipynb.
"""

import cv2
import numpy as np
import pandas as pd
from skimage.morphology import skeletonize

STEEPEST = 1.0  # largest shear that `deskew` takes back: 45 degrees


def properties(x: np.ndarray) -> pd.DataFrame:
    """One row an image: slant in degrees (above 0 leans to the right, as / does), stroke_width and size in pixels.

    The width w of the stroke follows from the ink and the length l of its middle line, both counted in pixels: the line
    ends half a width before the stroke does, so that ink = w (l + w). The size
    is the geometric mean of the sides of the box around the ink; MNIST makes the longer one 20 pixels, so that narrow
    digits are the small ones. A blank image has 0 for all three.
    """
    ink = np.asarray(x) / 255
    mask = ink > 0.5
    middle = np.array([skeletonize(image).sum() for image in mask])
    high, wide = (np.array([np.ptp(np.flatnonzero(side)) + 1 if side.any() else 0 for side in mask.any(axis=axis)])
                  for axis in (2, 1))  # fmt: skip
    return pd.DataFrame(
        {
            "slant": np.degrees(np.arctan(_shear(ink))),
            "stroke_width": (np.sqrt(middle**2 + 4 * ink.sum(axis=(1, 2))) - middle) / 2,
            "size": np.sqrt(high * wide),
        }
    )


def deskew(x: np.ndarray) -> np.ndarray:
    """The images with their slant taken out: rows shifted against each other about the centre of mass, bilinear.

    By the second moments of the ink, as LeCun and others describe for their KNN, "Gradient-based learning applied to
    document recognition", 1998. The centre of mass stays where it is; a blank image stays blank.
    """
    shears = np.clip(_shear(x / 255), -STEEPEST, STEEPEST)
    rows = _centres(x / 255)[0]
    result = np.empty_like(x)
    for i, (shear, row) in enumerate(zip(shears, rows, strict=True)):
        # Where each output pixel comes from: straight rows, moved by their distance from the centre.
        matrix = np.array([[1, -shear, shear * row], [0, 1, 0]])
        result[i] = cv2.warpAffine(x[i], matrix, x.shape[:0:-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return result


def _centres(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each image's centre of mass; the middle of the image where there is no ink."""
    total = ink.sum(axis=(1, 2))
    places = (np.arange(side) for side in ink.shape[1:])
    sums = (ink.sum(axis=axis) @ place for axis, place in zip((2, 1), places, strict=True))
    middles = ((side - 1) / 2 for side in ink.shape[1:])
    return tuple(
        np.where(total, found / np.maximum(total, 1e-9), middle) for found, middle in zip(sums, middles, strict=True)
    )


def _shear(ink: np.ndarray) -> np.ndarray:
    """By how many pixels the ink moves to the right for each row that it goes up, (N,): the moments' ratio."""
    rows, columns = _centres(ink)
    down = np.arange(ink.shape[1])[None, :, None] - rows[:, None, None]
    right = np.arange(ink.shape[2])[None, None, :] - columns[:, None, None]
    across, along = (ink * down * right).sum(axis=(1, 2)), (ink * down**2).sum(axis=(1, 2))
    return np.where(along > 0, -across / np.maximum(along, 1e-9), 0.0)
