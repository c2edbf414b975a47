"""Handwriting measures of a digit (slant, stroke width, size), and deskewing.

Images are uint8 (N, 28, 28), 0 background, 255 ink. Explained in notebooks/05_evaluation.ipynb.
"""

import cv2
import numpy as np
import pandas as pd
from skimage.morphology import skeletonize

STEEPEST = 1.0  # largest shear that `deskew` corrects: 45 degrees


def properties(x: np.ndarray) -> pd.DataFrame:
    """Measures the handwriting in each image.

    The stroke width w follows from the ink and the length l of the skeleton, both in pixels: the skeleton ends w/2
    before the stroke does, so ink = w (l + w). The size is the geometric mean of the sides of the bounding box; in
    MNIST the longer one is 20 pixels, so small digits are narrow ones.

    Returns:
        One row per image, 0 for a blank one: slant in degrees (positive leans to the right, as / does), stroke_width
        and size in pixels.
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
    """Removes the slant of images (N, H, W) by a bilinear horizontal shear that keeps the centre of mass in place.

    By the second moments of the ink, as for the KNN in LeCun and others, "Gradient-based learning applied to document
    recognition", 1998. A blank image stays blank.
    """
    shears = np.clip(_shear(x / 255), -STEEPEST, STEEPEST)
    rows = _centres(x / 255)[0]
    result = np.empty_like(x)
    for i, (shear, row) in enumerate(zip(shears, rows, strict=True)):
        # From output to input: each row moves in proportion to its distance from the centre.
        matrix = np.array([[1, -shear, shear * row], [0, 1, 0]])
        result[i] = cv2.warpAffine(x[i], matrix, x.shape[:0:-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return result


def _centres(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the centre of mass of each image; its middle where there is no ink."""
    total = ink.sum(axis=(1, 2))
    places = (np.arange(side) for side in ink.shape[1:])
    sums = (ink.sum(axis=axis) @ place for axis, place in zip((2, 1), places, strict=True))
    middles = ((side - 1) / 2 for side in ink.shape[1:])
    return tuple(
        np.where(total, found / np.maximum(total, 1e-9), middle) for found, middle in zip(sums, middles, strict=True)
    )


def _shear(ink: np.ndarray) -> np.ndarray:
    """The shear of each image, (N,): pixels to the right per row upwards, by the ratio of second moments."""
    rows, columns = _centres(ink)
    down = np.arange(ink.shape[1])[None, :, None] - rows[:, None, None]
    right = np.arange(ink.shape[2])[None, None, :] - columns[:, None, None]
    across, along = (ink * down * right).sum(axis=(1, 2)), (ink * down**2).sum(axis=(1, 2))
    return np.where(along > 0, -across / np.maximum(along, 1e-9), 0.0)
