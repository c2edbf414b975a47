"""Random and damaged files: reading them ends in a picture or in one sentence, never in anything else."""

import io

import numpy as np
import PIL.Image
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import images
from helpers.errors import NoDigit, UserError
from helpers.images import decode

# The same cases in every run: a gate that fails now and then for reasons of its own teaches people to ignore it.
CASES = settings(
    max_examples=1000, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


def whole_files() -> dict[str, bytes]:
    """A small file of each kind that can be read, with what makes decoders stumble: palettes, 16 bits, layers."""
    rng = np.random.default_rng(0)
    gray = (255 * rng.random((24, 30))).astype(np.uint8)
    rgb = PIL.Image.fromarray(np.stack([gray, 255 - gray, gray // 2], axis=2))
    rgba = rgb.copy()
    rgba.putalpha(PIL.Image.fromarray(gray))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    kinds = {
        "gray.png": (PIL.Image.fromarray(gray), "PNG", {}),
        "rgba.png": (rgba, "PNG", {}),
        "palette.png": (rgb.quantize(16), "PNG", {"transparency": 3}),
        "bit.png": (rgb.convert("1"), "PNG", {}),
        "deep.png": (PIL.Image.fromarray(gray.astype(np.uint16) * 257), "PNG", {}),
        "turned.jpg": (rgb, "JPEG", {"exif": exif}),
        "progressive.jpg": (rgb, "JPEG", {"progressive": True}),
        "cmyk.jpg": (rgb.convert("CMYK"), "JPEG", {}),
        "a.webp": (rgba, "WEBP", {}),
        "a.bmp": (rgb, "BMP", {}),
        "moving.gif": (rgb.quantize(8), "GIF", {"save_all": True, "append_images": [rgb.quantize(4)]}),
        "packed.tif": (rgb, "TIFF", {"compression": "tiff_lzw"}),
        "float.tif": (PIL.Image.fromarray(gray.astype(np.float32) / 255), "TIFF", {}),
        "a.ppm": (rgb, "PPM", {}),
    }
    made = {}
    for name, (picture, kind, options) in kinds.items():
        picture.save(buffer := io.BytesIO(), kind, **options)
        made[name] = buffer.getvalue()
    return made


FILES = whole_files()


def read(encoded: bytes) -> bool:
    """Reads a file as the command line does; whether it was a picture. Anything but the two ends fails the test."""
    try:
        picture = decode.read_image(encoded)
    except UserError as error:
        assert "\n" not in str(error) and str(error).rstrip().endswith("."), error
        return False
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3 and picture.size
    try:
        for steps in images.find_candidates(picture):
            assert steps["centred 28×28"].shape == (28, 28)
    except NoDigit as error:
        assert "\n" not in str(error)
    return True


def test_the_whole_files_are_read():
    assert {name: read(encoded) for name, encoded in FILES.items()} == dict.fromkeys(FILES, True)


@CASES
@given(
    start=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"RIFF", b"P6 "]
    ),
    rest=st.binary(max_size=400),
)
def test_random_bytes(start, rest):
    read(start + rest)


@CASES
@given(
    name=st.sampled_from(sorted(FILES)),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=6),
    end=st.one_of(st.just(1.0), st.floats(0, 1)),
    inserted=st.one_of(st.just(b""), st.binary(max_size=20)),
)
def test_damaged_files(name, edits, end, inserted):
    damaged = bytearray(FILES[name])
    for place, value in edits:
        at = int(place * len(damaged))
        damaged[at : at + len(value)] = value
    middle = len(damaged) // 2
    damaged[middle:middle] = inserted
    read(bytes(damaged[: int(end * len(damaged))]))
