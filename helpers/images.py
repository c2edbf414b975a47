"""Placeholder until the real module lands."""

import numpy as np


def to_input(x: np.ndarray) -> np.ndarray:
    """uint8 (N, 28, 28) to float32 (N, 28, 28, 1) from 0 to 1."""
    return np.asarray(x, np.float32)[..., None] / 255
