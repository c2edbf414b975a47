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
            "slant": np.degrees(np.arctan([_lean(image)[0] for image in np.asarray(x)])),
            "stroke_width": (np.sqrt(middle**2 + 4 * ink.sum(axis=(1, 2))) - middle) / 2,
            "size": np.sqrt(high * wide),
        }
    )


def deskew(x: np.ndarray) -> np.ndarray:
    """Removes the slant of images (N, H, W) by a bilinear horizontal shear that keeps the centre of mass in place.

    By the second moments of the ink, as for the KNN in LeCun and others, "Gradient-based learning applied to document
    recognition", 1998. A blank image stays blank.
    """
    result = np.empty_like(x)
    for i, (lean, row) in enumerate(map(_lean, x)):
        shear = np.clip(lean, -STEEPEST, STEEPEST)
        # From output to input: each row moves in proportion to its distance from the centre.
        matrix = np.array([[1, -shear, shear * row], [0, 1, 0]])
        result[i] = cv2.warpAffine(x[i], matrix, x.shape[:0:-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return result


def _lean(image: np.ndarray) -> tuple[float, float]:
    """The shear of an image, pixels to the right per row upwards, and the row of its centre of mass; 0 and 0 if blank."""
    moments = cv2.moments(image)
    if moments["mu02"] < 1e-6 * max(1.0, moments["m00"]):  # no ink, or all of it in one row
        return 0.0, 0.0
    return -moments["mu11"] / moments["mu02"], moments["m01"] / moments["m00"]
