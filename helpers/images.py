"""Any picture of a digit to MNIST-style 28×28, step by step. Knows no model.

Each step is a pure function on arrays; `preprocess` runs them in order and keeps every intermediate picture.
Explained in notebooks/02_preprocessing.ipynb (the classic operations) and
notebooks/06_custom_image_prediction.ipynb (the steps here, on many pictures).

Pictures are uint8, 0..255: colour ones RGB (H, W, 3), gray ones (H, W). Masks are uint8 (H, W), 255 = ink.
"""

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from helpers.errors import UserError

MAX_PIXELS = 120_000_000  # the largest phone cameras make 50 to 108 million
MAX_BYTES = 200_000_000
WORK = 320  # longest side in pixels at which a digit is looked for: enough for a pen, quick for a phone photo
TRACE = 160  # longest side in pixels at which a stroke's shape is worked on
BOX, FIELD = 20, 28  # MNIST's box for the digit and its whole image, in pixels
STROKE = (1.8, 3.4)  # nine of ten digits in MNIST have strokes this wide, in pixels of the 20×20 box
LEAST_CONTRAST = 12  # grey levels between ink and paper below which there is no ink, only texture

Steps = dict[str, np.ndarray]  # name of a step -> the picture after it, in order


def to_input(x: np.ndarray) -> np.ndarray:
    """What the networks take: uint8 (N, 28, 28) to float32 (N, 28, 28, 1) in 0..1.

    Raises UserError for another shape or type, such as images that were divided by 255 already.
    """
    x = np.asarray(x)
    if x.dtype != np.uint8 or x.ndim != 3 or x.shape[1:] != (FIELD, FIELD):
        raise UserError(f"Images must be uint8 of shape (N, 28, 28), 0..255; found {x.dtype} of shape {x.shape}.")
    return x[..., None].astype(np.float32) / 255


# Reading ------------------------------------------------------------------------------------------------------


def read_image(source: str | Path | bytes) -> np.ndarray:
    """Decodes a picture to uint8 RGB (H, W, 3), turned upright by its EXIF orientation.

    `source` is a path or the bytes of a file. 16-bit and float pictures are brought to 8 bits; transparency is
    laid on a background on which the drawing shows; of an animation the first frame counts.
    Raises UserError for a missing, unreadable, empty, damaged or too large file, or one that is no picture.
    """
    name = "The picture" if isinstance(source, bytes) else Path(source).name
    encoded = source if isinstance(source, bytes) else _read_bytes(Path(source))
    if not encoded:
        raise UserError(f"{name} is empty (0 bytes): save or upload it again.")
    unusual = _check_header(encoded, name)
    # IMREAD_UNCHANGED keeps transparency and float values, but ignores the EXIF orientation that photos need.
    flags = cv2.IMREAD_UNCHANGED if unusual else cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    try:
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        picture = None
    # libjpeg fills the missing part of a cut-off photo with gray; older OpenCV passes that on without a word.
    cut_off = encoded.startswith(b"\xff\xd8") and encoded.rfind(b"\xff\xd9") < encoded.rfind(b"\xff\xda")
    if picture is None or picture.size == 0 or cut_off:
        raise UserError(f"{name} is damaged or cut off and cannot be decoded: save or upload it again.")
    picture = _to_8_bit(picture, name)
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    if picture.shape[2] == 4:
        return flatten_alpha(cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA))
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _read_bytes(path: Path) -> bytes:
    """The bytes of a file; UserError where it is not there, not a file, too large or not allowed."""
    try:
        if path.is_dir():
            raise UserError(f"{path.name} is a folder, not a picture: give the path of a file in it.")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path.name} has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read.")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path.name} cannot be read ({reason}): check the path.") from error


def _check_header(encoded: bytes, name: str) -> bool:
    """Checks kind and size of a picture before its pixels take up memory.

    Returns whether it is transparent or holds floating-point values.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own, lower limit warns
            with PIL.Image.open(io.BytesIO(encoded)) as header:
                (width, height), bands, info = header.size, header.getbands(), header.info
    except PIL.Image.DecompressionBombError as error:
        raise UserError(f"{name} is too large: at most {MAX_PIXELS // 10**6} million pixels are read.") from error
    except Exception as error:  # Pillow's decoders raise whatever a broken header makes them stumble over
        raise UserError(f"{name} is not a picture that can be read: use PNG, JPEG, WebP, BMP, TIFF or GIF.") from error
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{name} has {width} × {height} pixels; at most {MAX_PIXELS // 10**6} million are read: shrink it first."
        )
    return "A" in bands or "transparency" in info or bands == ("F",)


def _to_8_bit(picture: np.ndarray, name: str) -> np.ndarray:
    """Scales 16-bit or float values to uint8, by the smallest bit depth that holds them all."""
    if picture.dtype == np.uint8:
        return picture
    if not np.isfinite(picture).all() or picture.min() < 0:
        raise UserError(f"{name} holds NaN, infinite or negative values: save it with 8 or 16 bits.")
    # Scanners store 10, 12 or 14 bits in 16; dividing all by 257 would make those pictures black.
    top = next((top for top in (1, 255, 1023, 4095, 16383, 65535) if picture.max() <= top), picture.max())
    return np.round(picture * (255 / top)).astype(np.uint8)


def flatten_alpha(picture: np.ndarray) -> np.ndarray:
    """Lays an RGBA picture (H, W, 4) on a plain background, so that the ink shows. Returns RGB.

    A drawing in dark colours gets white, one in light colours black; a cut-out piece of paper its own shade.
    """
    colour, alpha = picture[..., :3].astype(np.float32), picture[..., 3:].astype(np.float32) / 255
    seen = colour[alpha[..., 0] > 0.5].mean(axis=1)
    if seen.size and seen.std() > 40:  # paper and ink are both there
        background = np.median(seen)
    else:
        background = 255.0 if not seen.size or seen.mean() < 160 else 0.0
    return np.round(colour * alpha + background * (1 - alpha)).astype(np.uint8)


# Steps on gray pictures ---------------------------------------------------------------------------------------


def resize(picture: np.ndarray, longest: int) -> np.ndarray:
    """Scales a picture, its proportions kept, until its longest side has `longest` pixels.

    Shrinks by averaging areas (anti-aliased), enlarges by cubic interpolation.
    """
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def to_grayscale(picture: np.ndarray) -> np.ndarray:
    """RGB to gray such that coloured ink stays visible; a gray picture is returned as it is.

    The usual weights (0.30, 0.59, 0.11) make yellow ink almost as bright as paper. Here the weights are the
    direction in colour space in which neighbouring pixels differ most: the first principal component of the
    local contrast. On black and white pictures that is the plain mean.
    """
    if picture.ndim == 2:
        return picture
    pixels = picture.astype(np.float32)
    # What is finer than a fifth of the picture: strokes, not the light's slow change.
    around = max(picture.shape) // 5 + 1
    detail = (cv2.GaussianBlur(pixels, (0, 0), 1.5) - cv2.blur(pixels, (around, around))).reshape(-1, 3)
    _, directions = np.linalg.eigh(detail.T @ detail)
    weights = directions[:, -1] / np.abs(directions[:, -1]).sum()
    weights *= 1 if weights.sum() >= 0 else -1  # bright stays bright
    # A negative weight (red ink on green) would leave 0..255; the offset brings the range back.
    return np.clip(np.round(pixels @ weights - 255 * weights[weights < 0].sum()), 0, 255).astype(np.uint8)


def ink_is_dark(gray: np.ndarray) -> bool:
    """Whether the ink is darker than the paper.

    Ink is the smaller part of a picture: where pixels depart from the median of their wide surroundings, the
    departures towards the ink's side weigh more. Squares make strong strokes count more than weak noise.
    """
    small = resize(gray, 96)
    # Around a digit that fills the picture there would be more ink than paper; repeating the edge adds paper.
    wide = cv2.copyMakeBorder(small, 48, 48, 48, 48, cv2.BORDER_REPLICATE)
    surroundings = cv2.medianBlur(wide, 71)[48:-48, 48:-48]
    departure = small.astype(np.float32) - surroundings
    return bool((departure * np.abs(departure)).sum() < 0)


def polarity(gray: np.ndarray) -> np.ndarray:
    """Makes ink bright on a dark background, as in MNIST: inverts a picture of dark ink."""
    return 255 - gray if ink_is_dark(gray) else gray


def remove_background(bright: np.ndarray, kernel: float = 0.3) -> np.ndarray:
    """Takes paper, shadows and uneven light away from a picture of bright ink: background 0, full ink 255.

    The background is a morphological opening: what is left once everything narrower than `kernel` (a fraction of
    the shorter side) is gone. Light multiplies, so the ink is divided by the room that the background leaves it.
    """
    smooth = cv2.GaussianBlur(bright, (0, 0), max(0.5, max(bright.shape) / 250)).astype(np.float32)
    side = max(3, int(kernel * min(bright.shape)))
    square = np.ones((side, side), np.uint8)
    background = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, square)
    # An opening flattens a slope of light where it meets the picture's edge; a second one, of the picture without
    # its slope, does not, but fails at a shadow. Neither rises above the paper, so the larger of the two is right.
    slope = _plane(smooth)
    background = np.maximum(background, slope + cv2.morphologyEx(smooth - slope, cv2.MORPH_OPEN, square))
    background = cv2.GaussianBlur(background, (0, 0), side / 20)
    ink = (smooth - background) / np.maximum(255 - background, 32)
    return np.clip(np.round(255 * ink), 0, 255).astype(np.uint8)


def _plane(surface: np.ndarray) -> np.ndarray:
    """The plane that fits a gray picture best (least squares): float32, same shape."""
    height, width = surface.shape
    rows, columns = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    # On a symmetric grid the three unknowns separate, so each is one weighted mean.
    down = (surface.mean(axis=1) @ rows) / max(rows @ rows, 1)
    right = (surface.mean(axis=0) @ columns) / max(columns @ columns, 1)
    return surface.mean() + down * rows[:, None] + right * columns[None, :]


# Steps on masks -----------------------------------------------------------------------------------------------


def binarise(ink: np.ndarray) -> np.ndarray:
    """Splits ink from paper: a mask, by Otsu's threshold on the pixels that stand out of the paper's noise.

    `ink` is 0 on paper and bright on ink, as `remove_background` returns it. The threshold is chosen anew for each
    picture. Raises UserError if nothing stands out: the page is blank or the ink too faint.
    """
    noise = 1.4826 * np.median(np.abs(ink - np.median(ink).astype(np.float32)))  # robust standard deviation
    floor = np.median(ink) + max(LEAST_CONTRAST, 5 * noise)
    candidates = ink[ink > floor]
    if candidates.size < 12:
        raise UserError("No ink was found: the picture is blank, or its strokes are too faint.")
    # Paper fills most of a picture and would drag Otsu's threshold into its own noise; as many paper pixels as
    # ink pixels keep the two sides even.
    even = np.concatenate([candidates, np.full(candidates.size, np.median(ink), np.uint8)])
    threshold, _ = cv2.threshold(even.reshape(-1, 1), 0, 255, cv2.THRESH_OTSU)
    return np.where(ink > max(threshold, floor), 255, 0).astype(np.uint8)


def remove_rules(mask: np.ndarray) -> np.ndarray:
    """Takes away printed lines that cross the whole picture, across or down, and leaves the strokes they cross.

    A rule is thin and long: what survives an opening with a long thin kernel, joined up, and spans the picture.
    """
    result = mask
    for turned in (False, True):
        page = cv2.transpose(result) if turned else result
        height, width = page.shape
        runs = cv2.morphologyEx(page, cv2.MORPH_OPEN, np.ones((1, max(3, width // 8)), np.uint8))
        count, parts, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(runs, np.ones((3, 9), np.uint8)))
        for part in range(1, count):
            if stats[part, cv2.CC_STAT_WIDTH] < 0.85 * width:
                continue
            rule = np.where(parts == part, page, 0)
            columns = np.count_nonzero(rule, axis=0)
            thickness = int(np.median(columns[columns > 0]))
            if thickness > height / 12:
                continue
            # Where a stroke crosses, ink reaches further up and down than the rule is thick.
            strokes = cv2.morphologyEx(page, cv2.MORPH_OPEN, np.ones((2 * thickness + 2, 1), np.uint8))
            page = np.where((rule > 0) & (strokes == 0), 0, page).astype(np.uint8)
        result = cv2.transpose(page) if turned else page
    return result if result.any() else mask


def keep_strokes(mask: np.ndarray) -> np.ndarray:
    """Keeps the digit's connected components; drops specks, rules, frames and what comes in from the edge.

    The largest component off the edge is the digit's core; parts near it that are not tiny are broken strokes.
    Raises UserError if nothing of a digit's size is left.
    """
    if not mask.any():
        raise UserError("No ink was found: the picture is blank.")
    mask = remove_rules(mask)
    height, width = mask.shape
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    left, top, wide, high, area = stats[1:].T  # component 0 is the paper
    size = np.maximum(wide, high)
    sides = (parts[0], parts[-1], parts[:, 0], parts[:, -1])
    contact = np.max([np.bincount(side, minlength=count)[1:] for side in sides], axis=0)  # pixels on an edge
    # A frame drawn round the digit spans nearly all of the picture and encloses little ink.
    frame = (wide > 0.8 * width) & (high > 0.8 * height) & (area < 0.12 * wide * high)
    likely = (contact == 0) & ~frame
    if not likely.any() or area[likely].max() < 0.1 * area[~frame].max(initial=0):
        likely = ~frame if (~frame).any() else np.ones(count - 1, bool)  # a digit that touches the edge
    core = int(np.argmax(np.where(likely, area, 0)))
    if size[core] < 0.03 * max(height, width):
        raise UserError("No ink was found: the picture is blank, or holds only specks.")
    # The gap between each component's box and the core's.
    gap_x = np.maximum(0, np.maximum(left - left[core] - wide[core], left[core] - left - wide))
    gap_y = np.maximum(0, np.maximum(top - top[core] - high[core], top[core] - top - high))
    # A stroke's end may touch the edge; a table or a shadow lies along it.
    keep = likely | ((contact < 0.5 * size) & ~frame)
    keep &= (area > 0.04 * area[core]) & (np.maximum(gap_x, gap_y) < 0.3 * size[core])
    return np.where(np.isin(parts, 1 + np.flatnonzero(keep)), 255, 0).astype(np.uint8)


def crop(mask: np.ndarray, margin: int = 0) -> np.ndarray:
    """Cuts a mask down to the box of its ink plus `margin` pixels. Raises UserError if there is no ink."""
    if not mask.any():
        raise UserError("No ink was found: the picture is blank.")
    left, top, width, height = cv2.boundingRect(mask)
    return np.pad(mask[top : top + height, left : left + width], margin)


def stroke_width(mask: np.ndarray) -> float:
    """The typical width of the strokes in pixels: twice the median distance from their middle line to the edge."""
    depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)
    middle = (depth >= cv2.dilate(depth, np.ones((3, 3), np.uint8))) & (depth > 0)
    return float(2 * np.median(depth[middle])) if middle.any() else 0.0


def normalise_stroke(mask: np.ndarray, low: float, high: float) -> np.ndarray:
    """Brings strokes thinner than `low` or wider than `high` pixels to that width: dilates or erodes the mask.

    A thin pen shrunk to 20×20 pixels would fade to gray dust; a marker would fill its loops.
    """
    width = stroke_width(mask)
    if 0 < width < low:
        grow = (low - width) / 2
        away = cv2.distanceTransform(255 - np.pad(mask, int(grow) + 2), cv2.DIST_L2, 5)
        return np.where(away <= grow, 255, 0).astype(np.uint8)
    if width > high:
        depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        for share in (1, 0.5, 0.25):  # less, where a thinner place would break
            thinner = np.where(depth > share * (width - high) / 2, 255, 0).astype(np.uint8)
            if cv2.connectedComponents(thinner)[0] == cv2.connectedComponents(mask)[0]:
                return thinner
    return mask


# MNIST's frame ------------------------------------------------------------------------------------------------


def fit_box(digit: np.ndarray, box: int = BOX) -> np.ndarray:
    """Scales a cropped digit so that its longest side is `box` pixels, proportions kept, anti-aliased."""
    return resize(digit, box)


def centre_of_mass(digit: np.ndarray, field: int = FIELD) -> np.ndarray:
    """Places a digit in `field`×`field` black pixels, its centre of mass in the middle, by whole pixels.

    In MNIST every centre of mass lies within half a pixel of pixel (14, 14). Raises UserError for an empty digit.
    """
    mass = float(digit.sum())
    if mass == 0:
        raise UserError("No ink was found: the picture is blank.")
    canvas = np.zeros((field, field), np.uint8)
    height, width = digit.shape
    row = (digit.sum(1) @ np.arange(height)) / mass
    column = (digit.sum(0) @ np.arange(width)) / mass
    top = int(np.clip(round(field / 2 - row), 0, field - height))
    left = int(np.clip(round(field / 2 - column), 0, field - width))
    canvas[top : top + height, left : left + width] = digit
    return canvas


# The pipeline -------------------------------------------------------------------------------------------------


def preprocess(picture: np.ndarray) -> Steps:
    """All steps in order on an RGB or gray picture: name of the step -> picture; the last is 28×28 as in MNIST.

    Raises UserError if the array is no picture, or no ink is found in it.
    """
    steps = {"picture": resize(_check_picture(picture), WORK)}
    steps["grayscale"] = to_grayscale(steps["picture"])
    steps["ink bright"] = polarity(steps["grayscale"])
    steps["background removed"] = remove_background(steps["ink bright"])
    steps["binarised"] = binarise(steps["background removed"])
    steps["strokes kept"] = keep_strokes(steps["binarised"])
    traced = resize(crop(steps["strokes kept"]), TRACE)
    steps["cropped"] = np.where(traced > 127, 255, 0).astype(np.uint8)
    low, high = (width * TRACE / BOX for width in STROKE)
    steps["stroke width"] = crop(normalise_stroke(steps["cropped"], low, high))
    steps["20×20 box"] = fit_box(steps["stroke width"])
    steps["centred 28×28"] = centre_of_mass(steps["20×20 box"])
    return steps


def _check_picture(picture: np.ndarray) -> np.ndarray:
    """The array itself if it is a uint8 picture, gray or RGB; UserError otherwise."""
    picture = np.asarray(picture)
    shape_fits = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if picture.dtype != np.uint8 or not shape_fits or min(picture.shape[:2]) < 1:
        raise UserError(
            f"A picture must be uint8 of shape (H, W) or (H, W, 3); found {picture.dtype} of shape {picture.shape}."
        )
    return picture
