"""Rows of digits for tests, drawn dark on light, and how far boxes agree."""

import cv2
import numpy as np


def write(digits, rows, gap=24, height=None, slope=0.0):
    """Dark digits on a light page: the picture uint8 RGB, and each digit's box."""
    wide = 120 + max(sum(digits[int(d)].shape[1] + gap for d in row) for row in rows)
    ink = np.zeros((130 * len(rows) + 60 + int(abs(slope) * wide), wide), np.uint8)
    boxes = []
    for number, row in enumerate(rows):
        left = 60
        for d in row:
            digit = digits[int(d)]
            top = 40 + 130 * number + int(slope * left)
            place = ink[top : top + digit.shape[0], left : left + digit.shape[1]]
            np.maximum(place, digit, out=place)
            boxes.append((left, top, digit.shape[1], digit.shape[0]))
            left += digit.shape[1] + gap
    ink = cv2.GaussianBlur(ink, (0, 0), 0.8)[..., None] / 255
    picture = np.round(235 + ink * (np.array([40, 45, 90]) - 235)).astype(np.uint8)
    if height:
        scale = height / picture.shape[0]
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        boxes = [tuple(scale * n for n in box) for box in boxes]
    return picture, boxes


def share(one, other):
    """Intersection over union of two boxes."""
    wide = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    high = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    both = max(0, wide) * max(0, high)
    return both / (one[2] * one[3] + other[2] * other[3] - both)
