"""Decodes picture files: any common format to uint8 RGB, or one sentence saying why not.

Files are not trusted: format and size are read from the header before memory is allocated for pixels. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import io
import re
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from helpers.errors import UserError

MAX_PIXELS = 120_000_000  # the largest phone cameras make 50 to 108 million
MAX_BYTES = 200_000_000
DETAIL = 1000  # longest side in pixels that suffices to locate and read one digit
# HEIF last: Pillow stops at a format that is not registered, and this one is only when a HEIC picture comes.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "DIB", "TIFF", "PPM", "AVIF", "HEIF")
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")  # brands of what iPhones write
PDF_SIDE = 2000  # longest side in pixels that a page of a PDF is drawn at
PAGE = re.compile(r"(.+\.pdf)#(\d+)", re.IGNORECASE)  # the name of a page: scan.pdf#3
_PDF = threading.Lock()  # the library is not made for several threads
# The next segment of a JPEG file: within the coded pixels, FF is followed by 00, or by D0 to D7 between their parts.
_JUNK = bytes(range(1, 255)) * 4
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


def read_image(source: str | Path | bytes, detail: int = DETAIL) -> np.ndarray:
    """Decodes a picture to uint8 RGB (H, W, 3), rotated upright by its EXIF orientation; of an animation the first frame.

    16-bit and float values are scaled to 8 bits; transparency is flattened onto a background that shows the drawing.

    Args:
        source: path or bytes of a file. Of a PDF with several pages one has to be named: `scan.pdf#3` is the third.
        detail: pixels that suffice. A picture whose longest side is at least twice as long is decoded at 1/2, 1/4 or
            1/8 of its size, but not below `detail`: several times as fast for JPEG.

    Raises:
        UserError: if the file is missing, unreadable, empty, damaged, too large or not a picture.
    """
    name, page = "The picture" if isinstance(source, bytes) else Path(source).name, None
    if not isinstance(source, bytes) and (named := PAGE.fullmatch(str(source))) and not Path(source).exists():
        source, page = named[1], int(named[2])
    encoded = source if isinstance(source, bytes) else _read_bytes(Path(source))
    if not encoded:
        raise UserError(f"{name} is empty (0 bytes): save or upload it again.")
    if b"%PDF-" in encoded[:1024]:
        return _draw_page(encoded, page, name)
    if encoded[4:8] == b"ftyp" and encoded[8:12] in HEIC:
        try:
            import pillow_heif
        except ImportError as error:
            raise UserError(
                f"{name} is a HEIC picture: to read it, pip install pillow-heif, or save it as JPEG."
            ) from error
        pillow_heif.register_heif_opener()  # lets Pillow open it
    kind, longest, unusual = _check_header(encoded, name)
    parts = max((part for part in (1, 2, 4, 8) if longest // part >= detail), default=1)
    # IMREAD_UNCHANGED keeps transparency and float values, but ignores the EXIF orientation of photos.
    flags = cv2.IMREAD_UNCHANGED if unusual else cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    damaged = f"{name} is damaged or cut off and cannot be decoded: save or upload it again."
    if not _is_whole(encoded, kind):
        raise UserError(damaged)
    if kind in ("JPEG", "MPO"):
        flags, parts = REDUCED.get(parts, flags), 1
        encoded += b"" if _ends(encoded) else b"\xff\xd9"
    picture = _to_8_bit(_decode(encoded, flags, damaged), name)
    if kind in ("BMP", "DIB") and picture.ndim == 3 and picture.shape[2] == 4 and not picture[..., 3].any():
        picture = picture[..., :3]  # programs that know no transparency leave its bytes 0
    if picture.ndim == 3 and picture.shape[2] == 4:  # before shrinking, which would mix ink with invisible colours
        picture = flatten_alpha(picture)
    if parts > 1:
        height, width = picture.shape[:2]
        size = max(1, width // parts), max(1, height // parts)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # averages, so a line of one pixel survives
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB)


def pages(path: str | Path) -> int:
    """How many pages a PDF has; 0 for any other file, and where that cannot be told."""
    try:
        with open(path, "rb") as file:
            if b"%PDF-" not in file.read(1024):
                return 0
        import pypdfium2

        with _PDF, pypdfium2.PdfDocument(path) as document:
            return len(document)
    except Exception:  # what is wrong with it is said when it is read
        return 0


def _draw_page(encoded: bytes, page: int | None, name: str) -> np.ndarray:
    """A page of a PDF, counted from 1, on white: uint8 RGB; None stands for its only page.

    Raises UserError if it cannot be read or has no such page, also if pypdfium2 is missing.
    """
    try:
        import pypdfium2
    except ImportError as error:
        raise UserError(f"{name} is a PDF: to read its pages, pip install pypdfium2, or save them as PNG.") from error
    try:
        with _PDF, pypdfium2.PdfDocument(encoded) as document:
            count = len(document)
            if page in range(1, count + 1) or (page is None and count == 1):
                shown = document[(page or 1) - 1]
                scale = PDF_SIDE / max(1.0, *shown.get_size())
                return np.ascontiguousarray(shown.render(scale=scale, rev_byteorder=True).to_numpy()[..., :3])
    except Exception as error:  # damaged data make the library raise anything
        locked = "password" in str(error).lower()
        said = "is locked by a password: save it without" if locked else "is damaged and cannot be read: save it again"
        raise UserError(f"{name} {said}.") from error
    if page is None and count:
        raise UserError(f"{name} has {count:,} pages: name one, as in scan.pdf#2, or save it as a picture.")
    raise UserError(f"{name} is not there: the PDF has {count:,} pages.")


def _read_bytes(path: Path) -> bytes:
    """The bytes of a file; UserError if it is missing, not a file, too large or not readable."""
    try:
        if path.is_dir():
            raise UserError(f"{path.name} is a folder, not a picture: give the path of a file in it.")
        if not path.is_file() and path.exists():
            raise UserError(f"{path.name} is not an ordinary file: give the path of a picture.")
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path.name} has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read.")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path.name} cannot be read ({reason}): check the path.") from error


def _check_header(encoded: bytes, name: str) -> tuple[str, int, bool]:
    """Checks format and size; returns the format, the longest side, and whether it has transparency or float values."""
    try:
        # Ignored is the warning of Pillow's own, lower limit.
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(io.BytesIO(encoded), formats=FORMATS) as header:
            kind, (width, height), bands, info = header.format, header.size, header.getbands(), header.info
    except PIL.Image.DecompressionBombError as error:
        raise UserError(f"{name} is too large: at most {MAX_PIXELS // 10**6} million pixels are read.") from error
    except Exception as error:  # a broken header makes Pillow's decoders raise anything
        raise UserError(
            f"{name} is not a picture that can be read: use PNG, JPEG, WebP, AVIF, HEIC, BMP, TIFF, GIF or PDF."
        ) from error
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{name} has {width} × {height} pixels; at most {MAX_PIXELS // 10**6} million are read: shrink it first."
        )
    return kind, max(width, height), "A" in bands or "transparency" in info or bands == ("F",)


def _is_whole(encoded: bytes, kind: str) -> bool:
    """Whether a file is complete; always true for formats whose decoders check that themselves."""
    if kind in ("JPEG", "MPO"):
        # libjpeg fills the missing part of a truncated photo with grey; OpenCV returns that silently.
        return _ends(encoded) or _all_lines(encoded)
    if kind == "PNG":
        # OpenCV allocates as much as a damaged chunk header claims, gigabytes if need be.
        at = 8
        while encoded[at + 4 : at + 8] != b"IEND":
            at += 12 + int.from_bytes(encoded[at : at + 4], "big")
            if at >= len(encoded):
                return False
    return True


def _ends(encoded: bytes) -> bool:
    """Whether the picture in a JPEG file ends as it should; what lies behind it, such as a video, does not matter."""
    at = 2
    while marker := _MARKER.search(encoded, at):
        if marker[0] == b"\xff\xd9":
            return True
        at = marker.end() + int.from_bytes(encoded[marker.end() : marker.end() + 2], "big")
    return False


def _all_lines(encoded: bytes) -> bool:
    """Whether a JPEG file without its end still holds all of the picture.

    Then a decoder has no use for further bytes; where lines are missing, it makes lines of them.
    """
    shown = [cv2.imdecode(np.frombuffer(encoded + more + b"\xff\xd9", np.uint8), 0) for more in (b"", _JUNK)]
    return shown[0] is not None and np.array_equal(*shown)


def _decode(encoded: bytes, flags: int, damaged: str) -> np.ndarray:
    """The pixels as OpenCV returns them (BGR, BGRA or grey), decoded by Pillow where OpenCV cannot.

    Raises UserError, with the sentence `damaged`, where neither can.
    """
    try:
        picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        picture = None
    if picture is not None and picture.size and picture.ndim in (2, 3):
        return picture
    try:
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            opaque = "A" not in image.getbands() and "transparency" not in image.info
            upright = np.asarray(PIL.ImageOps.exif_transpose(image).convert("RGB" if opaque else "RGBA"))
        return cv2.cvtColor(upright, cv2.COLOR_RGB2BGR if opaque else cv2.COLOR_RGBA2BGRA)
    except Exception as error:  # damaged data make decoders raise anything
        raise UserError(damaged) from error


def _to_8_bit(picture: np.ndarray, name: str) -> np.ndarray:
    """Scales 16-bit or float values to uint8 by the smallest bit depth that holds them all."""
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype not in (np.uint16, np.float32):
        picture = picture.astype(np.float32)
    if not np.isfinite(picture).all() or picture.min() < 0:
        raise UserError(f"{name} holds NaN, infinite or negative values: save it with 8 or 16 bits.")
    # Scanners store 10, 12 or 14 bits in 16; dividing by 257 would make those pictures black.
    top = next((top for top in (1, 255, 1023, 4095, 16383, 65535) if picture.max() <= top), picture.max())
    return cv2.convertScaleAbs(picture, alpha=255 / float(top))  # rounds, without a copy in floating point


def flatten_alpha(picture: np.ndarray) -> np.ndarray:
    """Flattens an RGBA picture, uint8 (H, W, 4), onto a plain background that shows the ink. Returns RGB; of BGRA, BGR.

    The background is white for a drawing in dark colours, black for light ones, its own shade for cut-out paper.
    """
    step = max(1, max(picture.shape) // 512)  # every `step`-th pixel of a large picture suffices
    visible = picture[::step, ::step]
    seen = visible[visible[..., 3] > 127][:, :3].mean(axis=1)
    if not seen.size:  # only thin lines between the sampled pixels
        seen = picture[picture[..., 3] > 0][:, :3].mean(axis=1)
    if seen.size and seen.std() > 40:  # paper and ink are both visible
        background = np.median(seen)
    else:
        background = 255.0 if not seen.size or seen.mean() < 160 else 0.0
    # OpenCV's arithmetic rounds and stays in 8 bits, which saves memory with large pictures.
    alpha = cv2.cvtColor(picture[..., 3], cv2.COLOR_GRAY2RGB)
    paper = cv2.convertScaleAbs(255 - alpha, alpha=background / 255)
    return cv2.add(cv2.multiply(picture[..., :3], alpha, scale=1 / 255), paper)
