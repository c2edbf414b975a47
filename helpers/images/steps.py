"""Steps on grey pictures: grey, polarity, paper removed, thresholds. Each is a pure function on arrays.

Explained in notebooks/02_preprocessing.ipynb. Pictures are uint8, 0..255: colour ones RGB (H, W, 3), grey ones (H, W).
"""

import functools

import cv2
import numpy as np

from helpers.errors import NoDigit, UserError

WORK = 320  # longest side in pixels at which a digit is looked for: enough for a pen, quick for a phone photo
LEAST_CONTRAST = 12  # grey levels between ink and paper below which there is no ink, only texture
Steps = dict[str, np.ndarray]  # name of a step -> the picture after it, in order


def resize(picture: np.ndarray, longest: int) -> np.ndarray:
    """Scales a picture, its proportions kept, until its longest side has `longest` pixels.

    Shrinks by averaging areas (anti-aliased), enlarges by cubic interpolation.
    """
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return picture
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def to_grayscale(picture: np.ndarray) -> np.ndarray:
    """RGB to gray such that coloured ink stays visible; a gray picture is returned as it is.

    The usual weights (0.30, 0.59, 0.11) make yellow ink almost as bright as paper. Here the weights are the
    direction in colour space in which neighbouring pixels differ most: the first principal component of the
    local contrast. On black and white pictures that is the plain mean.
    """
    if picture.ndim == 2:
        return picture
    red, green, blue = cv2.split(picture)
    if cv2.norm(red, green, cv2.NORM_INF) == 0 == cv2.norm(green, blue, cv2.NORM_INF):
        return green
    pixels = resize(picture, min(WORK // 3, max(picture.shape[:2]))).astype(np.float32)
    # What is finer than a fifth of the picture: strokes, not the light's slow change.
    around = max(pixels.shape) // 5 + 1
    detail = (cv2.GaussianBlur(pixels, (0, 0), 1) - cv2.blur(pixels, (around, around))).reshape(-1, 3)
    return along_colour(picture, detail)


def along_colour(picture: np.ndarray, detail: np.ndarray) -> np.ndarray:
    """RGB to gray along the direction in colour space in which `detail`, of shape (N, 3), varies most."""
    _, directions = np.linalg.eigh(detail.T @ detail)
    weights = directions[:, -1] / np.abs(directions[:, -1]).sum()
    weights *= 1 if weights.sum() >= 0 else -1  # bright stays bright
    # A negative weight (red ink on green) would leave 0..255; the offset brings the range back.
    offset = -255 * weights[weights < 0].sum()
    return cv2.transform(picture, np.append(weights, offset)[None].astype(np.float32))


def polarity_evidence(gray: np.ndarray) -> float:
    """How sure it is that the ink is darker than the paper: 1 certainly, -1 certainly brighter, 0 no idea.

    By `thin_and_dark`. Beyond the picture's edge its outermost pixels go on: so a strip of table counts as wide; a
    shadow is wide, and counts for neither.
    """
    reach = 27
    page = cv2.copyMakeBorder(resize(gray, 64), reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    return thin_and_dark(page, (3, 5, 9, 15, 21, 27), reach)


def thin_and_dark(page: np.ndarray, sizes: tuple[int, ...], margin: int = 0) -> float:
    """Whether what is thin in a gray page is dark: 1, or bright: -1. `margin` pixels at the edges do not count.

    Ink is thinner than the paper between strokes. A closing takes away dark things narrower than its kernel, an opening
    bright ones: compares the energy that each takes, for kernels of growing size (a granulometry by morphological
    top-hats), a small one counting more, as the area of what it takes is small too.
    """
    inner = np.s_[margin : page.shape[0] - margin, margin : page.shape[1] - margin]
    dark = bright = 0.0
    for size in sizes:
        kernel = np.ones((size, size), np.uint8)
        dark += cv2.norm(cv2.morphologyEx(page, cv2.MORPH_BLACKHAT, kernel)[inner], cv2.NORM_L2SQR) / size**2
        bright += cv2.norm(cv2.morphologyEx(page, cv2.MORPH_TOPHAT, kernel)[inner], cv2.NORM_L2SQR) / size**2
    return (dark - bright) / max(dark + bright, 1e-9)


def remove_background(bright: np.ndarray, kernel: float = 0.4, dark_ink: bool = True) -> np.ndarray:
    """Takes paper, shadows and uneven light away from a picture of bright ink: background 0, full ink 255.

    The background is a morphological opening: what is left once everything narrower than `kernel` (a fraction of
    the shorter side) is gone. Light multiplies, so dark ink (`bright` is then an inverted picture) is divided by
    the room that the background leaves it, and bright ink by the background.
    """
    smooth = cv2.GaussianBlur(bright, (0, 0), max(0.5, max(bright.shape) / 250))
    # In a strip cut out along a 1, the shorter side is hardly wider than the stroke.
    side = max(3, int(kernel * min(bright.shape)), int(0.75 * kernel * max(bright.shape)))
    square = np.ones((side, side), np.uint8)
    background = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, square).astype(np.int16)
    # An opening flattens a slope of light where it meets the picture's edge; a second one, of the picture without
    # its slope, does not, but fails at a shadow. Neither rises above the paper, so the larger of the two is right.
    slope = _slope(smooth).astype(np.int16)
    level = cv2.subtract(smooth, slope, dtype=cv2.CV_16S)
    background = cv2.max(background, slope + cv2.morphologyEx(level, cv2.MORPH_OPEN, square)).astype(np.float32)
    # Where a shadow's edge slants, its staircase of pixels would stay as a thin line.
    background = cv2.dilate(background, np.ones((3, 3), np.uint8))
    ink = smooth - background
    if dark_ink:
        ink *= 255 / np.maximum(255 - background, 32)
    else:
        ink *= (background.mean() + 64) / (background + 64)
    return np.clip(np.round(ink), 0, 255).astype(np.uint8)


def _slope(surface: np.ndarray) -> np.ndarray:
    """The quadratic surface that fits the paper of a gray picture of bright ink best (least squares): float32."""
    side = 16
    height, width = surface.shape
    small = cv2.resize(surface, (side, side), interpolation=cv2.INTER_AREA).ravel().astype(np.float32)
    solve, terms = _quadratic(side)
    fit = terms @ (solve @ small)
    # Ink stands above the paper; without it the second fit is the paper's.
    ink = small - fit > (small - fit).std()
    a, b, c, d, e, f = solve @ np.where(ink, fit, small)
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    return (a + b * y + d * y * y) + (c * x + e * x * x) + f * (y * x)


@functools.cache
def _quadratic(side: int) -> tuple[np.ndarray, np.ndarray]:
    """What turns a square picture's pixels into the six coefficients of its quadratic surface, and back."""
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    y, x = (grid.ravel() for grid in np.meshgrid(axis, axis, indexing="ij"))
    terms = np.stack([np.ones_like(x), y, x, y * y, x * x, y * x], axis=1).astype(np.float32)
    return np.linalg.pinv(terms), terms


def threshold(ink: np.ndarray) -> tuple[float, float]:
    """The gray level that splits ink from paper, and the lowest one that still stands out of the paper's noise.

    `ink` is 0 on paper and bright on ink, as `remove_background` returns it. Otsu's method on the pixels that stand
    out. Raises NoDigit if nothing stands out: the page is blank or the ink too faint.
    """
    counts = np.bincount(ink.ravel(), minlength=256).astype(np.float64)
    # Paper is at least a quarter of the picture, and free of ink up to there: between the 5 % and 25 % quantiles lie
    # 0.97 standard deviations of its noise, between 25 % and 50 % 0.67. The latter may hold ink, the former be cut off
    # at black.
    least, paper, middle = np.searchsorted(np.cumsum(counts), np.array([0.05, 0.25, 0.5]) * ink.size)
    below = (paper - least) / 0.97
    noise = max(below, min((middle - paper) / 0.67, 2 * below + 2))
    floor = paper + max(LEAST_CONTRAST, 5.5 * noise)
    counts[: int(floor) + 1] = 0
    standing = counts.sum()
    if standing < 12:
        raise NoDigit("No ink was found: the picture is blank, or its strokes are too faint.")
    # Paper fills most of a picture and would drag Otsu's threshold into its own noise; as many paper pixels as
    # ink pixels keep the two sides even.
    counts[int(paper)] = standing
    below, levels = np.cumsum(counts), np.arange(256)
    sums = np.cumsum(counts * levels)
    between = (sums[-1] * below / below[-1] - sums) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return max(float(np.argmax(between)), floor), floor


def hysteresis(ink: np.ndarray, low: float, high: float) -> np.ndarray:
    """What exceeds `low` and hangs together with something that exceeds `high`: a mask (Canny, 1986).

    A stroke's faint stretches are kept where they belong to it, faint spots elsewhere are not.
    """
    _, parts = cv2.connectedComponents(255 * (ink > low).astype(np.uint8), connectivity=8)
    strong = np.zeros(parts.max() + 1, bool)
    strong[parts[ink > high]] = True
    strong[0] = False
    return 255 * strong[parts].astype(np.uint8)


def stretch(bright: np.ndarray) -> np.ndarray:
    """Brings paper to 0 and full ink to 255, one pair of levels for all pixels. For pictures of bright ink alone.

    Raises NoDigit if the gray levels do not form two groups, paper and ink.
    """
    level, _ = cv2.threshold(bright, 0, 255, cv2.THRESH_OTSU)
    paper, ink = bright[bright <= level], bright[bright > level]
    if not ink.size or not paper.size or float(ink.max()) - float(np.median(paper)) < LEAST_CONTRAST:
        raise NoDigit("No ink was found: the picture is blank, or its strokes are too faint.")
    if ink.mean() - paper.mean() < 1.45 * (ink.std() + paper.std()):  # of noise 1.33
        raise NoDigit("No ink was found: paper and strokes cannot be told apart.")
    dark, light = float(np.median(paper)), float(np.percentile(ink, 90))
    noise = 1.4826 * float(np.median(np.abs(paper - dark)))
    # Levels that span the range already, as MNIST's do, stay as they are.
    scale = 1 if light - dark > 240 else 255 / (light - dark)
    result = np.clip((bright - dark) * scale, 0, 255)
    result[bright <= dark + 2.5 * noise] = 0
    return np.round(result).astype(np.uint8)


def check_picture(picture: np.ndarray) -> np.ndarray:
    """The array itself if it is a uint8 picture, gray or RGB; UserError otherwise."""
    picture = np.asarray(picture)
    shape_fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if picture.dtype != np.uint8 or not shape_fits or min(picture.shape[:2]) < 1:
        raise UserError(
            f"A picture must be uint8 of shape (H, W) or (H, W, 3); found {picture.dtype} of shape {picture.shape}."
        )
    return picture
