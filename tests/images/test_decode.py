"""helpers.images.decode: files of all formats become pictures; broken ones end in one sentence."""

import io
import struct
import sys

import cv2
import numpy as np
import PIL.Image
import pytest

from helpers import images
from helpers.errors import NoDigit, UserError
from helpers.images import decode
from helpers.images.decode import pages, read_image


def encode(array, kind="PNG", **options):
    """The bytes of a picture file, written by Pillow (the code under test reads with OpenCV)."""
    buffer = io.BytesIO()
    picture = array if isinstance(array, PIL.Image.Image) else PIL.Image.fromarray(array)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def drawing(height, width):
    """A dark ring on light paper: uint8 RGB (height, width, 3)."""
    picture = np.full((height, width, 3), 235, np.uint8)
    cv2.circle(picture, (width // 2, height // 2), min(height, width) // 3, (20, 30, 60), 7, cv2.LINE_AA)
    return picture


def test_colours_are_rgb(tmp_path):
    red = np.full((5, 7, 3), (250, 10, 20), np.uint8)
    file = tmp_path / "rot é.png"
    file.write_bytes(encode(red))
    assert np.array_equal(images.read_image(file), red)
    assert np.array_equal(images.read_image(str(file)), images.read_image(file.read_bytes()))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_formats(kind, paper):
    decoded = images.read_image(encode(paper, kind))
    assert decoded.shape == paper.shape and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - paper).mean() < 4


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "CMYK"])
def test_modes(mode, paper):
    picture = PIL.Image.fromarray(paper).convert(mode)
    decoded = images.read_image(encode(picture, "JPEG" if mode == "CMYK" else "PNG"))
    assert decoded.shape == paper.shape
    assert decoded[5, 5].min() > 180 and decoded[50, 100].max() < 80  # paper light, ink dark


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation,corner", [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0))])
def test_exif_orientation(kind, orientation, corner):
    stored = np.full((40, 80, 3), 230, np.uint8)
    stored[:16, :16] = 20  # the mark in the stored picture's top left corner
    exif = PIL.Image.Exif()
    exif[274] = orientation
    upright = images.read_image(encode(stored, kind, exif=exif))
    assert upright.shape[:2] == ((80, 40) if orientation > 4 else (40, 80))
    assert upright[corner].max() < 80 and np.mean(upright < 100) < 0.2


@pytest.mark.parametrize("ink,expected", [((0, 0, 0), 255), ((255, 255, 255), 0), ((255, 220, 60), 0)])
def test_transparent_drawing(ink, expected, seven):
    rgba = np.zeros((200, 200, 4), np.uint8)
    rgba[seven > 0] = (*ink, 255)
    decoded = images.read_image(encode(rgba))
    assert decoded[0, 0].tolist() == [expected] * 3
    assert decoded[50, 100].tolist() == list(ink)


def test_transparent_surroundings_of_paper(paper):
    cut_out = np.dstack([paper, np.zeros((200, 200), np.uint8)])
    cut_out[20:180, 20:180, 3] = 255
    assert images.read_image(encode(cut_out))[0, 0].tolist() == [230] * 3


@pytest.mark.parametrize("top", [65535, 4095, 1023])
def test_16_bit(top):
    ramp = np.linspace(0, top, 256).round().astype(np.uint16).reshape(16, 16)
    decoded = images.read_image(encode(ramp))
    assert np.abs(decoded[..., 0].ravel().astype(int) - np.arange(256)).max() <= 1


def test_float_picture():
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert np.abs(images.read_image(encode(ramp, "TIFF"))[..., 0].ravel().astype(int) - np.arange(256)).max() <= 1
    ramp[3, 3] = np.nan
    with pytest.raises(UserError, match="NaN"):
        images.read_image(encode(ramp, "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.05])
def test_truncated(kind, share, paper):
    noisy = paper ^ np.random.default_rng(0).integers(0, 30, paper.shape, np.uint8)
    encoded = encode(noisy, kind)
    with pytest.raises(UserError, match="damaged or cut off|not a picture"):
        images.read_image(encoded[: int(len(encoded) * share)])


@pytest.mark.parametrize(
    "name,content,words",
    [
        ("text.png", b"These are not the pixels you are looking for.", "not a picture"),
        ("document.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "damaged"),
        ("empty.png", b"", "empty"),
    ],
)
def test_no_picture(name, content, words, tmp_path):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        images.read_image(file)
    assert name in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="missing.png cannot be read"):
        images.read_image(tmp_path / "missing.png")
    with pytest.raises(UserError, match="folder"):
        images.read_image(tmp_path)
    with pytest.raises(UserError):
        images.read_image("nul\0.png")


def test_too_large(monkeypatch, tmp_path, paper):
    bomb = encode(PIL.Image.new("1", (15_000, 15_000)))  # 225 million pixels in 28 kB
    with pytest.raises(UserError, match="million"):
        images.read_image(bomb)
    monkeypatch.setattr(decode, "MAX_PIXELS", 30_000)
    with pytest.raises(UserError, match="200 × 200 pixels"):
        images.read_image(encode(paper))
    monkeypatch.setattr(decode, "MAX_BYTES", 10)
    (tmp_path / "big.png").write_bytes(encode(paper))
    with pytest.raises(UserError, match="at most 10 are read"):
        images.read_image(tmp_path / "big.png")


def test_large_jpeg_is_decoded_smaller(paper):
    large = cv2.resize(paper, (2400, 1800))
    exif = PIL.Image.Exif()
    exif[274] = 6
    encoded = encode(large, "JPEG", exif=exif)
    assert images.read_image(encoded).shape == (1200, 900, 3)
    assert images.read_image(encoded, detail=2000).shape == (2400, 1800, 3)
    assert images.read_image(encoded, detail=100).shape == (300, 225, 3)
    upright = cv2.resize(np.rot90(large, -1), (900, 1200))
    assert np.abs(images.read_image(encoded).astype(int) - upright).mean() < 3


def test_large_png_keeps_thin_lines():
    canvas = np.full((4000, 4000), 255, np.uint8)
    canvas[:, 2000] = 0
    decoded = images.read_image(encode(canvas))
    assert decoded.shape == (1000, 1000, 3)
    assert decoded[:, 500].max() < 200 and decoded[:, 400].min() == 255


@pytest.mark.parametrize("mode,options", [("CMYK", {}), ("1", {"compression": "group4"}), ("LA", {}), ("I;16", {})])
def test_tiff_of_unusual_modes(mode, options, paper):
    if mode == "I;16":
        picture = PIL.Image.fromarray(paper[..., 0].astype(np.uint16) * 257)
    else:
        picture = PIL.Image.fromarray(paper).convert(mode)
    decoded = images.read_image(encode(picture, "TIFF", **options))
    assert decoded.shape == paper.shape
    assert decoded[5, 5].min() > 180 and decoded[50, 100].max() < 80


def test_palette_with_transparency(seven):
    picture = PIL.Image.fromarray(np.where(seven > 0, 1, 0).astype(np.uint8)).convert("P")
    picture.putpalette([0, 0, 0, 0, 0, 200] + [0] * 762)
    decoded = images.read_image(encode(picture, transparency=0))
    assert decoded[0, 0].tolist() == [255, 255, 255] and decoded[50, 100].tolist() == [0, 0, 200]


def test_first_frame_of_an_animation(paper):
    frames = [PIL.Image.fromarray(picture) for picture in (paper, 255 - paper)]
    decoded = images.read_image(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert decoded.shape == paper.shape and decoded[5, 5].min() > 180


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_damaged_files_end_in_a_picture_or_a_sentence(kind, paper):
    rng = np.random.default_rng(0)
    whole = np.frombuffer(encode(paper[::4, ::4], kind), np.uint8)
    outcomes = set()
    for _ in range(100):
        damaged = whole.copy()
        places = rng.integers(0, len(whole), rng.integers(1, 12))
        damaged[places] = rng.integers(0, 256, len(places))
        start, end = sorted(rng.integers(0, len(whole), 2))
        parts = [
            damaged,
            damaged[: rng.integers(1, len(whole))],
            np.delete(damaged, slice(start, min(end, start + 40))),
        ]
        try:
            picture = images.read_image(parts[rng.integers(3)].tobytes())
            assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
            images.find_candidates(picture)
            outcomes.add("picture")
        except NoDigit:
            outcomes.add("picture")
        except UserError as error:
            assert str(error).endswith(".")
            outcomes.add("sentence")
    assert "sentence" in outcomes


def test_png_whose_chunk_claims_gigabytes(paper):
    encoded = bytearray(encode(paper))
    at = encoded.index(b"IDAT") - 4
    encoded[at : at + 4] = (2**31 - 1).to_bytes(4, "big")
    with pytest.raises(UserError, match="damaged"):
        images.read_image(bytes(encoded))


def test_random_bytes_are_no_picture():
    rng = np.random.default_rng(0)
    for start in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0", b"RIFF\0\0\0\0WEBP"):
        for _ in range(20):
            with pytest.raises(UserError):
                images.read_image(start + rng.bytes(200))


def test_unreadable_is_not_the_same_as_no_digit(tmp_path):
    for source in (b"text", tmp_path / "missing.png"):
        with pytest.raises(UserError) as error:
            images.read_image(source)
        assert not isinstance(error.value, NoDigit)


@pytest.mark.parametrize("progressive", [False, True])
def test_what_lies_behind_a_jpeg_does_not_matter(progressive):
    picture = drawing(120, 90)
    plain = encode(picture, "JPEG", quality=92, progressive=progressive)
    video = np.random.default_rng(0).bytes(300_000) + b"\xff\xda\xff\xd8"  # of a motion photo
    np.testing.assert_array_equal(read_image(plain + video), read_image(plain))


def test_a_jpeg_may_lack_its_end_but_no_line():
    plain = encode(drawing(120, 90), "JPEG", quality=92)
    np.testing.assert_array_equal(read_image(plain[:-2]), read_image(plain))
    for share in (0.4, 0.8, 0.97):
        with pytest.raises(UserError, match="cut off"):
            read_image(plain[: int(share * len(plain))])


def test_a_bmp_whose_alpha_is_0_everywhere_is_opaque():
    picture = drawing(60, 40)
    pixels = np.zeros((60, 40, 4), np.uint8)
    pixels[..., :3] = picture[..., ::-1]
    header = struct.pack("<IiiHHIIiiII", 124, 40, 60, 1, 32, 3, pixels.nbytes, 2835, 2835, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(64)
    file = struct.pack("<2sIHHI", b"BM", 14 + len(header) + pixels.nbytes, 0, 0, 14 + len(header)) + header
    np.testing.assert_array_equal(read_image(file + pixels[::-1].tobytes()), picture)


def test_pages_of_a_pdf(tmp_path):
    sheets = [PIL.Image.fromarray(np.full((100, 80, 3), grey, np.uint8)) for grey in (250, 150, 50)]
    file = tmp_path / "scan.pdf"
    sheets[0].save(file, save_all=True, append_images=sheets[1:])
    assert pages(file) == 3
    found = [int(np.median(read_image(f"{file}#{page}"))) for page in (1, 2, 3)]
    assert np.allclose(found, [250, 150, 50], atol=3)
    assert max(read_image(f"{file}#1").shape) == decode.PDF_SIDE
    for source in (file, file.read_bytes()):  # the other pages would be lost
        with pytest.raises(UserError, match="has 3 pages: name one"):
            read_image(source)
    for page in (0, 4, 500):
        with pytest.raises(UserError, match="has 3 pages"):
            read_image(f"{file}#{page}")
    sheets[1].save(tmp_path / "one.pdf")
    (tmp_path / "one.pdf").rename(tmp_path / "scan.pdf#9")  # a file that is called so is that file
    assert abs(int(np.median(read_image(tmp_path / "scan.pdf#9"))) - 150) <= 3


def test_pages_are_only_counted_where_there_are_some(tmp_path):
    for name, content in {"empty.pdf": b"", "damaged.pdf": b"%PDF-1.4 nonsense", "photo.pdf": b"no PDF"}.items():
        (tmp_path / name).write_bytes(content)
        assert pages(tmp_path / name) == 0
    assert pages(tmp_path / "missing.pdf") == 0
    with pytest.raises(UserError, match="damaged"):
        read_image(tmp_path / "damaged.pdf")


@pytest.mark.parametrize("kind,suffix", [("HEIF", "heic"), ("AVIF", "avif")])
def test_pictures_of_phones(kind, suffix, tmp_path):
    import pillow_heif

    pillow_heif.register_heif_opener()
    picture = drawing(96, 64)
    (tmp_path / f"photo.{suffix}").write_bytes(encode(picture, kind))
    assert np.abs(read_image(tmp_path / f"photo.{suffix}").astype(int) - picture).mean() < 6


@pytest.mark.parametrize("module,start", [("pillow_heif", b"\0\0\0\x18ftypheic"), ("pypdfium2", b"%PDF-1.7")])
def test_without_the_extra_the_reason_names_it(module, start, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"pip install {module.replace('_', '-')}"):
        read_image(start + bytes(100))
