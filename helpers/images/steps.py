"""Steps on whole pictures: grey levels, polarity, background, thresholds. Each is a pure function on arrays.

Pictures are uint8, 0..255: RGB (H, W, 3) or grey (H, W). Explained in notebooks/02_preprocessing.ipynb.
"""

import cv2
import numpy as np

from helpers.errors import NoDigit, UserError

WORK = 320  # longest side in pixels at which a single digit is located: enough for a pen, quick for a phone photo
LEAST_CONTRAST = 12  # grey levels between ink and paper; anything fainter is texture, not ink
KERNEL = 0.4  # width of what counts as background, as a share of the shorter side: wider than any stroke
# Matrices from the six coefficients of a quadratic surface to the pixels of a square picture, and back.
SIDE = 16
_y, _x = (np.mgrid[:SIDE, :SIDE].reshape(2, -1) + 0.5) / SIDE * 2 - 1
TERMS = np.stack([np.ones_like(_x), _y, _x, _y * _y, _x * _x, _y * _x], axis=1).astype(np.float32)
SOLVE = np.linalg.pinv(TERMS)
Steps = dict[str, np.ndarray]  # name of a step -> the picture after it, in order


def resize(picture: np.ndarray, longest: int) -> np.ndarray:
    """Scales a picture so that its longest side has `longest` pixels, keeping its proportions.

    Shrinks by area averaging (anti-aliased), enlarges by cubic interpolation.
    """
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return picture
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def to_grayscale(picture: np.ndarray) -> np.ndarray:
    """RGB to grey such that coloured ink stays visible; a grey picture is returned unchanged.

    The usual weights (0.30, 0.59, 0.11) make yellow ink almost as bright as paper. Here the weights are the direction
    in colour space along which neighbouring pixels differ most: the first principal component of the local contrast.
    For black-and-white pictures that is the plain mean.

    Returns:
        uint8 (H, W); bright stays bright.
    """
    if picture.ndim == 2:
        return picture
    red, green, blue = cv2.split(picture)
    if cv2.norm(red, green, cv2.NORM_INF) == 0 == cv2.norm(green, blue, cv2.NORM_INF):
        return green
    pixels = resize(picture, min(WORK // 3, max(picture.shape[:2]))).astype(np.float32)
    # Detail finer than a fifth of the picture: strokes, not slow changes of light.
    around = max(pixels.shape) // 5 + 1
    detail = (cv2.GaussianBlur(pixels, (0, 0), 1) - cv2.blur(pixels, (around, around))).reshape(-1, 3)
    return along_colour(picture, detail)


def along_colour(picture: np.ndarray, detail: np.ndarray) -> np.ndarray:
    """RGB to grey along the direction in colour space in which `detail`, of shape (N, 3), varies most."""
    _, directions = np.linalg.eigh(detail.T @ detail)
    weights = directions[:, -1] / np.abs(directions[:, -1]).sum()
    weights *= 1 if weights.sum() >= 0 else -1  # bright stays bright
    # A negative weight (red ink on green) would leave the range 0..255; the offset restores it.
    offset = -255 * weights[weights < 0].sum()
    return cv2.transform(picture, np.append(weights, offset)[None].astype(np.float32))


def polarity_evidence(grey: np.ndarray) -> float:
    """Evidence that the ink is darker than the paper: 1 certainly darker, -1 certainly brighter, 0 undecided.

    By `thin_and_dark`. Edges are padded by replication, so a strip of table counts as wide; a shadow is wide, and
    counts for neither side.
    """
    reach = 27
    page = cv2.copyMakeBorder(resize(grey, 64), reach, reach, reach, reach, cv2.BORDER_REPLICATE)
    return thin_and_dark(page, (3, 5, 9, 15, 21, 27), reach)


def thin_and_dark(page: np.ndarray, sizes: tuple[int, ...], margin: int = 0) -> float:
    """Whether thin structures in a grey page are dark (1) or bright (-1), ignoring `margin` pixels at each edge.

    Ink is thinner than the paper between strokes. A closing removes dark structures narrower than its kernel, an
    opening bright ones. The energies that the two remove are compared for kernels of increasing size (granulometry by
    morphological top-hats); each is divided by the kernel's area, since large kernels remove more.
    """
    inner = np.s_[margin : page.shape[0] - margin, margin : page.shape[1] - margin]
    dark = bright = 0.0
    for size in sizes:
        kernel = np.ones((size, size), np.uint8)
        dark += cv2.norm(cv2.morphologyEx(page, cv2.MORPH_BLACKHAT, kernel)[inner], cv2.NORM_L2SQR) / size**2
        bright += cv2.norm(cv2.morphologyEx(page, cv2.MORPH_TOPHAT, kernel)[inner], cv2.NORM_L2SQR) / size**2
    return (dark - bright) / max(dark + bright, 1e-9)


def remove_background(bright: np.ndarray, dark_ink: bool = True) -> np.ndarray:
    """Subtracts paper, shadows and uneven light from a picture of bright ink (H, W): background 0, full ink 255.

    The background is estimated by a morphological opening, which removes everything narrower than KERNEL. Light
    multiplies: dark ink (`bright` is then an inverted picture) is divided by the range that the background leaves it,
    bright ink by the background.
    """
    smooth = cv2.GaussianBlur(bright, (0, 0), max(0.5, max(bright.shape) / 250))
    # In a narrow crop around a 1, the shorter side is hardly wider than the stroke.
    side = max(3, int(KERNEL * min(bright.shape)), int(0.75 * KERNEL * max(bright.shape)))
    square = np.ones((side, side), np.uint8)
    background = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, square).astype(np.int16)
    # An opening flattens a gradient of light near the picture's edge. A second one, of the picture without its
    # gradient, does not, but fails at a shadow. Neither rises above the paper, so the larger of the two is right.
    slope = _slope(smooth).astype(np.int16)
    level = cv2.subtract(smooth, slope, dtype=cv2.CV_16S)
    background = cv2.max(background, slope + cv2.morphologyEx(level, cv2.MORPH_OPEN, square)).astype(np.float32)
    # The staircase of pixels along a slanting shadow would remain as a thin line.
    background = cv2.dilate(background, np.ones((3, 3), np.uint8))
    ink = smooth - background
    if dark_ink:
        ink *= 255 / np.maximum(255 - background, 32)
    else:
        ink *= (background.mean() + 64) / (background + 64)
    return np.clip(np.round(ink), 0, 255).astype(np.uint8)


def _slope(surface: np.ndarray) -> np.ndarray:
    """The least-squares quadratic surface through the paper in a grey picture of bright ink: float32 (H, W)."""
    height, width = surface.shape
    small = cv2.resize(surface, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel().astype(np.float32)
    fit = TERMS @ (SOLVE @ small)
    # Ink lies above the first fit; the second, without it, is that of the paper alone.
    ink = small - fit > (small - fit).std()
    a, b, c, d, e, f = SOLVE @ np.where(ink, fit, small)
    y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
    return (a + b * y + d * y * y) + (c * x + e * x * x) + f * (y * x)


def threshold(ink: np.ndarray) -> tuple[float, float]:
    """The grey level that separates ink from paper, and the lowest one that exceeds the noise of the paper.

    `ink` is 0 on paper and bright on ink, as `remove_background` returns it. Otsu's method on the pixels above the
    noise. Raises NoDigit if there are none: the page is blank or the ink too faint.
    """
    counts = np.bincount(ink.ravel(), minlength=256).astype(np.float64)
    # At least a quarter of the picture is paper. The 5 % and 25 % quantiles of Gaussian noise lie 0.97 standard
    # deviations apart, those of 25 % and 50 % 0.67; the latter may include ink, the former be clipped at black.
    least, paper, middle = np.searchsorted(np.cumsum(counts), np.array([0.05, 0.25, 0.5]) * ink.size)
    below = (paper - least) / 0.97
    noise = max(below, min((middle - paper) / 0.67, 2 * below + 2))
    floor = paper + max(LEAST_CONTRAST, 5.5 * noise)
    counts[: int(floor) + 1] = 0
    standing = counts.sum()
    if standing < 12:
        raise NoDigit("No ink was found: the picture is blank, or its strokes are too faint.")
    # Paper fills most of a picture and would pull Otsu's threshold into its noise, so both classes get equal weight.
    counts[int(paper)] = standing
    below, levels = np.cumsum(counts), np.arange(256)
    sums = np.cumsum(counts * levels)
    between = (sums[-1] * below / below[-1] - sums) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return max(float(np.argmax(between)), floor), floor


def hysteresis(ink: np.ndarray, low: float, high: float) -> np.ndarray:
    """Hysteresis thresholding (Canny, 1986): a mask of what exceeds `low` and is connected to a pixel above `high`."""
    _, parts = cv2.connectedComponents(255 * (ink > low).astype(np.uint8), connectivity=8)
    strong = np.zeros(parts.max() + 1, bool)
    strong[parts[ink > high]] = True
    strong[0] = False
    return 255 * strong[parts].astype(np.uint8)


def stretch(bright: np.ndarray) -> np.ndarray:
    """Maps paper to 0 and full ink to 255, with the same two levels for all pixels. Only for bright ink.

    Raises NoDigit if the grey levels do not form two groups, paper and ink.
    """
    level, _ = cv2.threshold(bright, 0, 255, cv2.THRESH_OTSU)
    paper, ink = bright[bright <= level], bright[bright > level]
    if not ink.size or not paper.size or float(ink.max()) - float(np.median(paper)) < LEAST_CONTRAST:
        raise NoDigit("No ink was found: the picture is blank, or its strokes are too faint.")
    if ink.mean() - paper.mean() < 1.45 * (ink.std() + paper.std()):  # pure noise has 1.33
        raise NoDigit("No ink was found: paper and strokes cannot be told apart.")
    dark, light = float(np.median(paper)), float(np.percentile(ink, 90))
    noise = 1.4826 * float(np.median(np.abs(paper - dark)))
    # JPEG rings beside strokes, where the median does not see it; next to them, grey is the edge of the ink.
    beside = cv2.dilate((bright > level).astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    rings = float(np.percentile(np.abs(bright[beside] - dark), 98)) if beside.any() else 0.0
    floor = max(2.5 * noise, min(1.5 * rings, 0.3 * (light - dark)))
    # Levels that already span the range, as MNIST's do, stay as they are.
    scale = 1 if light - dark > 240 else 255 / (light - dark)
    result = np.clip((bright - dark) * scale, 0, 255)
    result[bright <= dark + floor] = 0
    return np.round(result).astype(np.uint8)


def check_picture(picture: np.ndarray) -> np.ndarray:
    """Returns the array if it is a uint8 picture, grey or RGB; raises UserError otherwise."""
    picture = np.asarray(picture)
    shape_fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if picture.dtype != np.uint8 or not shape_fits or min(picture.shape[:2]) < 1:
        raise UserError(
            f"A picture must be uint8 of shape (H, W) or (H, W, 3); found {picture.dtype} of shape {picture.shape}."
        )
    return picture
