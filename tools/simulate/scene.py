"""What simulated photographs of single digits and of lines have in common: strokes, texture, tables, compression."""

import cv2
import numpy as np

TRACE = 16  # traced pixels per MNIST pixel
TABLES = ((96, 66, 44), (60, 60, 66), (176, 140, 100), (205, 205, 200))  # RGB of what the paper lies on


def sometimes(rng: np.random.Generator, share: float, value, otherwise):
    """`value` with probability `share`, else `otherwise`."""
    return value if rng.random() < share else otherwise


def trace(digit: np.ndarray, pen: float) -> np.ndarray:
    """An image uint8 (28, 28) as a smooth stroke at TRACE times the resolution: float 0..1 with a soft edge.

    With `pen` > 0, a fraction of the digit's height, the stroke has that width and follows the old one's centre line.
    """
    smooth = cv2.resize(digit, None, fx=TRACE, fy=TRACE, interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(smooth, (0, 0), TRACE / 4)
    inside = (smooth > 0.43 * smooth.max()).astype(np.uint8)
    depth = cv2.distanceTransform(inside, cv2.DIST_L2, 5)
    if pen:
        # The ridge of the distance map is the stroke's centre line; a pen is a disc that travels along it.
        reach = np.ones((TRACE + 1, TRACE + 1), np.uint8)
        middle = (depth > 0.75 * cv2.dilate(depth, reach)) | (depth > cv2.dilate(depth, np.ones((5, 5))) - 0.3)
        middle &= depth > 3
        radius = pen * np.ptp(np.nonzero(inside)[0]) / 2
        away = cv2.distanceTransform((~middle).astype(np.uint8), cv2.DIST_L2, 5)
        return np.clip((radius - away) / 3 + 0.5, 0, 1).astype(np.float32)
    outside = cv2.distanceTransform(1 - inside, cv2.DIST_L2, 5)
    return np.clip((depth - outside) / 3 + 0.5, 0, 1).astype(np.float32)


def clouds(side: int, grain: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise in 0..1 whose blobs are about `grain` pixels wide: float (side, side)."""
    small = rng.random((side // grain + 2, side // grain + 2), np.float32)
    return cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)


def put(page: np.ndarray, ink: np.ndarray, left: int, top: int) -> None:
    """Draws ink, (H, W), over what is on a page, in place; what lies outside is cut off."""
    y, x = max(0, top), max(0, left)
    part = ink[y - top : max(0, page.shape[0] - top), x - left : max(0, page.shape[1] - left)]
    place = page[y : y + part.shape[0], x : x + part.shape[1]]
    np.maximum(place, part, out=place)


def compress(picture: np.ndarray, quality: int) -> np.ndarray:
    """The picture after JPEG at `quality` 1..100, RGB in and out."""
    _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
