"""What differs from its surroundings, in any light and in any colour: what lines of tables are found by.

Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import cv2
import numpy as np

SURROUNDINGS = 49  # side in pixels of what a pixel is compared with: wider than any line
FAINT = 5.0  # standard deviation in grey levels below which contrasts are not enlarged any more: noise stays small
FULL = 3.0  # local standard deviations that are shown as 1


def local_contrast(picture: np.ndarray) -> np.ndarray:
    """How much each pixel is brighter (above 0) or darker than its surroundings: float32 (H, W), -1 to 1.

    `picture` is uint8 (H, W) or (H, W, 3). Of the colours the one that differs most counts, so that pens of different
    colours show on one page; the difference is relative to its local standard deviation, so that light does not count.
    """
    pixels = picture.astype(np.float32)
    away = pixels - cv2.blur(pixels, (SURROUNDINGS, SURROUNDINGS))
    if away.ndim == 3:
        low, high = away.min(axis=2), away.max(axis=2)
        away = np.where(high > -low, high, low)
    spread = np.sqrt(np.maximum(cv2.blur(away * away, (SURROUNDINGS, SURROUNDINGS)), 0))
    return np.clip(away / (FULL * (spread + FAINT)), -1, 1)


def local_ink(picture: np.ndarray) -> np.ndarray:
    """The `local_contrast` of the ink alone, dark or bright: float32 (H, W), 0 on paper, up to 1."""
    contrast = local_contrast(picture)
    dark_ink = (contrast**3).sum() < 0  # ink is rarer than paper, so it differs more
    return np.clip(-contrast if dark_ink else contrast, 0, 1)
