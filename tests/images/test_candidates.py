"""Each step of helpers.images does what its name says; broken files end in one sentence."""

import io
import sys

import cv2
import numpy as np
import PIL.Image
import pytest

from helpers import data, images, paths, strokes
from helpers.data import to_input
from helpers.errors import NoDigit, UserError
from helpers.images import decode

sys.path.append(str(paths.DATA))  # a folder of files, not a package
import make_samples  # noqa: E402


def last(steps):
    """The 28×28 picture at which the steps end."""
    name, picture = list(steps.items())[-1]
    assert name == "centred 28×28"
    return picture


def likeness(one, other):
    """How much two 28×28 pictures show the same shape, 1 the same: correlation, forgiving the stroke's width."""
    one, other = (cv2.GaussianBlur(picture, (0, 0), 1).ravel() for picture in (one, other))
    return np.corrcoef(one, other)[0, 1]


def encode(array, kind="PNG", **options):
    """The bytes of a picture file, written by Pillow (the code under test reads with OpenCV)."""
    buffer = io.BytesIO()
    picture = array if isinstance(array, PIL.Image.Image) else PIL.Image.fromarray(array)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def seven():
    """A drawn 7 with strokes of 14 pixels: a mask of 200×200."""
    mask = np.zeros((200, 200), np.uint8)
    cv2.polylines(mask, [np.array([[60, 50], [140, 50], [90, 160]])], False, 255, 14)
    return mask


@pytest.fixture
def paper(seven):
    """The 7 in dark ink on light paper, RGB."""
    return np.repeat(np.where(seven > 0, 40, 230).astype(np.uint8)[..., None], 3, axis=2)


# Reading


def test_to_input():
    x = np.array([0, 51, 255], np.uint8).repeat(784).reshape(3, 28, 28)
    result = to_input(x)
    assert result.shape == (3, 28, 28, 1) and result.dtype == np.float32
    assert result[:, 0, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("bad", [np.zeros((2, 28, 28)), np.zeros((28, 28), np.uint8), np.zeros((1, 32, 32), np.uint8)])
def test_to_input_refuses(bad):
    with pytest.raises(UserError, match="uint8 of shape"):
        to_input(bad)


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
        ("document.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "not a picture"),
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


# Gray


@pytest.mark.parametrize("ink", [(250, 230, 60), (240, 60, 60), (60, 90, 240), (60, 200, 90), (30, 30, 30)])
def test_grayscale_keeps_coloured_ink(ink, seven):
    picture = np.full((200, 200, 3), 245, np.uint8)
    picture[seven > 0] = ink
    gray = images.to_grayscale(picture).astype(int)
    wanted = 0.5 * np.abs(np.subtract(ink, 245)).max()
    assert gray[0, 0] - gray[50, 100] > wanted
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(int)
    if ink == (250, 230, 60):  # what the usual weights make of yellow
        assert luma[0, 0] - luma[50, 100] < 0.3 * (gray[0, 0] - gray[50, 100])


def test_grayscale_of_gray(seven):
    gray = cv2.GaussianBlur(seven, (0, 0), 3)
    assert images.to_grayscale(gray) is gray
    assert np.abs(images.to_grayscale(np.dstack([gray] * 3)).astype(int) - gray).max() <= 1


@pytest.mark.parametrize("scale,offset", [(1, 0), (0.3, 90)])
def test_polarity(seven, scale, offset):
    bright = (scale * seven + offset).astype(np.uint8)
    for picture in (bright, 255 - bright):
        result = images.polarity(picture)
        assert result[50, 100] > result[0, 0]
    assert np.array_equal(images.polarity(bright), bright)


def test_polarity_of_a_digit_that_fills_the_picture(seven):
    thick = images.crop(cv2.dilate(seven, np.ones((25, 25), np.uint8)))
    assert not images.ink_is_dark(thick) and images.ink_is_dark(255 - thick)


def test_polarity_with_a_shadow_over_half_the_picture(paper):
    shaded = paper[..., 0].copy()
    shaded[:, 100:] = shaded[:, 100:] * 0.5
    assert images.ink_is_dark(shaded)


@pytest.mark.parametrize("strip", [5, 20, 60])
@pytest.mark.parametrize("shade", [0, 120, 255])
def test_polarity_beside_a_table(paper, strip, shade):
    photo = paper[..., 0].copy()
    photo[:, :strip] = shade
    photo[-strip:] = shade
    assert images.ink_is_dark(photo) and not images.ink_is_dark(255 - photo)


def test_polarity_evidence_is_the_opposite_for_the_inverted_picture(paper):
    gray = cv2.GaussianBlur(paper[..., 0], (0, 0), 4)
    assert images.polarity_evidence(gray) == pytest.approx(-images.polarity_evidence(255 - gray))
    assert images.polarity_evidence(np.full((50, 50), 99, np.uint8)) == 0


@pytest.mark.parametrize("shadow", [False, True])
def test_remove_background(seven, shadow):
    light = np.linspace(0.45, 1, 200)[None, :].repeat(200, axis=0)
    if shadow:
        light *= np.where(np.arange(200) < 100, 0.6, 1)[:, None]
    photo = np.where(seven > 0, 40, 230) * light
    ink = images.remove_background((255 - photo).astype(np.uint8))
    inside, outside = cv2.erode(seven, np.ones((5, 5))) > 0, cv2.dilate(seven, np.ones((9, 9))) == 0
    away = outside & (np.abs(np.arange(200) - 100) > 6)[:, None]  # the shadow's edge is soft
    assert np.percentile(ink[away], 99) < 45
    assert ink[inside].mean() > 170 and ink[inside].std() < 25


def test_remove_background_of_bright_ink_evens_out_the_light(seven):
    light = np.linspace(0.4, 1, 200)[:, None].repeat(200, axis=1)
    board = np.where(seven > 0, 220, 60) * light
    even, uneven = (images.remove_background(board.astype(np.uint8), dark_ink=dark) for dark in (False, True))
    inside = cv2.erode(seven, np.ones((5, 5))) > 0
    assert even[inside].std() / even[inside].mean() < 0.7 * uneven[inside].std() / uneven[inside].mean()


# Masks


def test_hysteresis_keeps_what_hangs_together():
    ink = np.zeros((30, 60), np.uint8)
    ink[10, 5:30], ink[10, 30:50], ink[20, 5:50] = 200, 60, 60
    mask = images.hysteresis(ink, 40, 100)
    assert mask[10, 5:50].all() and not mask[20].any()


def test_binarise_finds_small_faint_ink():
    rng = np.random.default_rng(0)
    ink = np.clip(rng.normal(8, 4, (300, 300)), 0, 255).astype(np.uint8)
    ink[100:130, 100:104] = 60
    mask = images.binarise(ink)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[102:128, 101:103].all() and np.count_nonzero(mask) < 140


@pytest.mark.parametrize("shade", [0, 255])
@pytest.mark.parametrize("noise", [0, 10, 40])
def test_blank(shade, noise):
    page = np.clip(np.random.default_rng(0).normal(shade, noise, (240, 320, 3)), 0, 255).astype(np.uint8)
    with pytest.raises(UserError, match="No ink was found"):
        images.preprocess(page)


def test_keep_strokes_drops_specks_and_edges(seven):
    dirty = seven.copy()
    for row, column in ((20, 20), (180, 30), (40, 180)):
        dirty[row : row + 3, column : column + 3] = 255
    dirty[:, 190:] = 255  # a strip of the table
    assert np.array_equal(images.keep_strokes(dirty), seven)


@pytest.mark.parametrize("inset", [8, 18])
def test_keep_strokes_drops_a_frame(seven, inset):
    framed = cv2.rectangle(seven.copy(), (inset, inset), (199 - inset, 199 - inset), 255, 2)
    assert np.array_equal(images.keep_strokes(framed), seven)


def test_keep_strokes_drops_a_ring(seven):
    assert np.array_equal(images.keep_strokes(cv2.circle(seven.copy(), (100, 100), 92, 255, 2)), seven)


def test_keep_strokes_drops_a_rule_through_the_digit(seven):
    ruled = cv2.line(seven.copy(), (0, 100), (199, 102), 255, 3)
    kept = images.keep_strokes(ruled)
    assert np.count_nonzero(kept != seven) < 60


def test_keep_strokes_keeps_broken_strokes(seven):
    broken = seven.copy()
    broken[100:108] = 0
    assert np.array_equal(images.keep_strokes(broken), broken)


def test_keep_strokes_of_a_digit_at_the_edge(seven):
    cut = images.crop(seven)
    assert np.array_equal(images.keep_strokes(cut), cut)


def test_keep_strokes_of_a_broken_frame_like_stroke_is_no_frame(seven):
    part = seven.copy()
    cv2.circle(part, (78, 100), 12, 255, 3)  # beside the stem, under the bar: not framed on all sides
    assert images.keep_strokes(part)[50, 100] == 255


def test_keep_strokes_prefers_the_digit_to_a_line():
    mask = np.zeros((200, 200), np.uint8)
    mask[20:23, 20:180] = 255
    cv2.circle(mask, (100, 120), 30, 255, 8)
    assert not images.keep_strokes(mask)[:40].any()


def test_thin_lines_to_the_edge_are_cut_off(seven):
    lined = cv2.line(seven.copy(), (0, 30), (199, 140), 255, 2)
    kept = images.keep_strokes(lined)
    assert strokes.touches(kept) == 0
    assert np.mean(kept[seven > 0] > 0) > 0.97 and np.count_nonzero(kept[seven == 0]) < 250


def test_squared_paper_leaves_the_digit(seven):
    squared = seven.copy()
    squared[8::22] = squared[:, 12::22] = 255
    kept = images.keep_strokes(squared)
    overlap = np.count_nonzero(kept & seven) / np.count_nonzero(kept | seven)
    assert overlap > 0.9


def test_remove_strips(seven):
    ink = (seven // 2).astype(np.uint8)
    ink[:, 170:] = 255
    mask = np.where(ink > 0, 255, 0).astype(np.uint8)
    cleaned = strokes.remove_strips(ink, mask)
    assert not cleaned[:, 170:].any() and np.array_equal(cleaned[:, :160], ink[:, :160])
    touching = ink.copy()
    touching[50:60, 140:170] = 127  # the bar of the 7 goes on to the strip
    cleaned = strokes.remove_strips(touching, np.where(touching > 0, 255, 0).astype(np.uint8))
    assert cleaned[55, 150] == 127 and not cleaned[:, 172:].any()
    assert strokes.remove_strips(seven, seven) is seven


def test_implausibility(seven):
    assert strokes.implausibility(images.crop(seven)) == 0
    assert strokes.implausibility(np.full((40, 160), 255, np.uint8).T) == 0  # the bar of a 1
    assert strokes.implausibility(np.full((40, 160), 255, np.uint8)) >= 1  # lying
    page = np.full((160, 120), 255, np.uint8)
    cv2.circle(page, (60, 80), 30, 0, 8)
    assert strokes.implausibility(page) >= 1
    grid = np.zeros((160, 120), np.uint8)
    grid[::20] = grid[:, ::20] = 255
    assert strokes.implausibility(grid) >= 1


def test_unevenness(seven):
    blot = seven.copy()
    cv2.circle(blot, (90, 120), 45, 255, -1)
    assert strokes.unevenness(seven) < 0.2 < 0.4 < strokes.unevenness(blot)
    assert strokes.unevenness(np.zeros((9, 9), np.uint8)) == 0


def test_fill_pinholes(seven):
    cut = images.crop(seven)
    holed = cut.copy()
    holed[6, 30] = holed[7, 50] = 0
    assert np.array_equal(strokes.fill_pinholes(holed), cut)
    ring = cv2.circle(np.zeros((160, 160), np.uint8), (80, 80), 60, 255, 20)
    assert np.array_equal(strokes.fill_pinholes(ring), ring)


@pytest.mark.parametrize("slope", [0, 0.04])
@pytest.mark.parametrize("down", [False, True])
def test_remove_rules(seven, slope, down):
    ruled = seven.copy()
    for row in (30, 100, 170):
        cv2.line(ruled, (0, row), (199, int(row + 199 * slope)), 255, 3)
    if down:
        ruled, seven = ruled.T.copy(), seven.T
    cleaned = images.remove_rules(ruled)
    away = cv2.dilate(seven, np.ones((9, 9))) == 0
    assert np.mean(cleaned[away] > 0) < 0.004
    assert np.mean(cleaned[seven > 0] > 0) > 0.95


@pytest.mark.parametrize("thickness", [5, 9, 15, 25])
def test_stroke_width(thickness):
    mask = np.zeros((100, 200), np.uint8)
    mask[40 : 40 + thickness, 20:180] = 255
    assert images.stroke_width(mask) == pytest.approx(thickness, abs=1.2)
    assert images.stroke_width(np.zeros_like(mask)) == 0


def test_normalise_stroke():
    ring = cv2.circle(np.zeros((160, 160), np.uint8), (80, 80), 60, 255, 4)
    assert images.stroke_width(images.normalise_stroke(ring, 14, 27)) == pytest.approx(14, abs=2)
    ring = cv2.circle(np.zeros((160, 160), np.uint8), (80, 80), 55, 255, 40)
    assert images.stroke_width(images.normalise_stroke(ring, 14, 27)) == pytest.approx(27, abs=3)
    ring = cv2.circle(np.zeros((160, 160), np.uint8), (80, 80), 60, 255, 20)
    assert images.normalise_stroke(ring, 14, 27) is ring


def test_rests_of_rules_do_not_make_a_marker_a_fine_pen():
    marker = np.zeros((160, 160), np.uint8)
    cv2.ellipse(marker, (80, 90), (45, 50), 0, 0, 360, 255, 24)
    plain = images.stroke_width(marker)
    for y in range(20, 150, 12):
        cv2.line(marker, (0, y), (159, y + 5), 255, 1)
    assert 20 < plain < 28 and abs(images.stroke_width(marker) - plain) < 3


@pytest.mark.parametrize("pen", [2, 70])
def test_normalise_stroke_keeps_loops(pen):
    eight = np.zeros((300, 160), np.uint8)
    cv2.circle(eight, (80, 80), 45, 255, pen)
    cv2.circle(eight, (80, 200), 45, 255, pen)
    changed = images.normalise_stroke(images.crop(eight), 30, 40)
    holes = cv2.connectedComponents(255 - np.pad(changed, 1), connectivity=8)[0] - 2
    assert holes == cv2.connectedComponents(255 - np.pad(eight, 1), connectivity=8)[0] - 2 == 2


def test_normalise_stroke_does_not_break_thin_places():
    mask = np.zeros((160, 160), np.uint8)
    mask[20:60, 10:70] = mask[20:60, 90:150] = 255
    mask[36:44, 10:150] = 255  # a thin bridge
    thinner = images.normalise_stroke(mask, 5, 20)
    assert cv2.connectedComponents(thinner)[0] == 2  # paper and one stroke
    assert np.count_nonzero(thinner) < np.count_nonzero(mask)


# MNIST's frame


@pytest.mark.parametrize("shape", [(200, 100), (100, 200), (150, 150), (8, 3)])
def test_fit_box_keeps_proportions(shape):
    result = images.fit_box(np.full(shape, 255, np.uint8))
    assert max(result.shape) == 20
    assert min(result.shape) == max(1, round(20 * min(shape) / max(shape)))


def test_fit_box_is_anti_aliased():
    stripes = np.zeros((160, 160), np.uint8)
    stripes[:, ::2] = 255
    result = images.fit_box(stripes)
    assert result.shape == (20, 20) and np.abs(result.astype(int) - 128).max() < 8


def test_centre_of_mass(seven):
    digit = images.fit_box(images.crop(seven))
    placed = images.centre_of_mass(digit)
    assert placed.shape == (28, 28) and placed.dtype == np.uint8
    assert placed.sum() == digit.sum()  # moved by whole pixels, nothing interpolated
    grid = np.arange(28)
    for axis in (0, 1):
        assert abs(placed.sum(axis=1 - axis) @ grid / placed.sum() - 14) <= 0.5
    with pytest.raises(UserError, match="No ink"):
        images.centre_of_mass(np.zeros((20, 20), np.uint8))


def test_crop(seven):
    cut = images.crop(seven)
    assert cut[0].any() and cut[-1].any() and cut[:, 0].any() and cut[:, -1].any()
    assert np.count_nonzero(cut) == np.count_nonzero(seven)
    with pytest.raises(UserError, match="No ink"):
        images.crop(np.zeros((5, 5), np.uint8))


# The pipeline


@pytest.mark.parametrize("shape", [(1, 28, 28), (1, 28, 28, 1), (1, 5, 9)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_half_pixel_moves(shape, kind):
    x = np.zeros(shape, kind)
    x[0, 2, 4] = 200
    moved = images.half_pixel_moves(x)
    assert moved.shape == (4, *shape) and moved.dtype == kind
    flat = moved.reshape(4, *shape[1:3]).astype(float)
    centres = [tuple(np.average(np.arange(n), weights=view.sum(axis=a)) for n, a in zip(shape[1:3], (1, 0), strict=True))
               for view in flat]  # fmt: skip
    assert centres == [(2.5, 4.5), (2.5, 3.5), (1.5, 4.5), (1.5, 3.5)]
    assert (flat.sum(axis=(1, 2)) == 200).all() and x.sum() == 200


def test_half_pixel_moves_bring_nothing_in_from_the_other_side():
    x = np.zeros((1, 6, 6), np.uint8)
    x[0, 0, 0] = 100
    moved = images.half_pixel_moves(x)[:, 0]
    assert not moved[:, 3:].any() and not moved[:, :, 3:].any() and moved[3].sum() == 25


@pytest.mark.parametrize("change", ["plain", "inverted", "corner", "large", "tiny", "gray", "thin", "thick"])
def test_preprocess_ends_as_mnist(change, seven):
    mask = seven
    if change == "thin":
        mask = cv2.erode(seven, np.ones((9, 9), np.uint8))
    if change == "thick":
        mask = cv2.dilate(seven, np.ones((19, 19), np.uint8))
    gray = np.where(mask > 0, 40, 230).astype(np.uint8)
    if change == "inverted":
        gray = 255 - gray
    if change == "corner":
        gray = np.pad(gray, ((0, 300), (200, 0)), constant_values=230)
    if change == "large":
        gray = cv2.resize(gray, (1500, 1500))
    if change == "tiny":
        gray = cv2.resize(gray, (24, 24), interpolation=cv2.INTER_AREA)
    steps = images.preprocess(gray if change == "gray" else np.dstack([gray] * 3))
    last = list(steps.values())[-1]
    assert last.shape == (28, 28) and last.dtype == np.uint8 and last[0, 0] == 0 and last.max() > 200
    rows, columns = np.nonzero(last > 40)
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
    wanted = images.centre_of_mass(images.fit_box(images.crop(seven)))
    overlap = np.minimum(last, wanted).sum() / np.maximum(last, wanted).sum(dtype=float)
    assert overlap > (0.35 if change in ("thin", "thick") else 0.7)


def test_preprocess_leaves_its_input_alone(paper):
    before = paper.copy()
    first, second = images.preprocess(paper), images.preprocess(paper)
    assert np.array_equal(paper, before)
    assert all(np.array_equal(first[step], second[step]) for step in first)


@pytest.mark.parametrize("bad", [np.zeros((5, 5)), np.zeros((5, 5, 4), np.uint8), np.zeros((0, 5), np.uint8), "x"])
def test_preprocess_refuses(bad):
    with pytest.raises(UserError, match="must be uint8"):
        images.preprocess(bad)


@pytest.mark.parametrize("invert", [False, True])
def test_mnist_itself_survives(invert):
    digits = data.load().x_test[:100]
    again = [last(images.preprocess(255 - digit if invert else digit)) for digit in digits]
    change = [np.abs(a.astype(int) - b).sum() / b.sum(dtype=float) for a, b in zip(again, digits, strict=True)]
    assert np.median(change) == 0 and np.mean(np.array(change) < 0.05) >= 0.95


@pytest.mark.parametrize("condition", make_samples.CONDITIONS)
def test_simulated_pictures_end_as_the_digit_they_show(condition):
    rng, likenesses = np.random.default_rng(7), []
    for digit in data.load().x_test[:6]:
        picture = make_samples.simulate(digit, condition, rng)
        steps = images.preprocess(images.read_image(make_samples.encode(picture, condition)[1]))
        likenesses.append(likeness(last(steps), digit))
    assert np.median(likenesses) > 0.85 and min(likenesses) > 0.7, np.round(likenesses, 2)


@pytest.mark.parametrize("side", [8, 16, 20, 36])
@pytest.mark.parametrize("invert", [False, True])
def test_tiny_pictures_filled_by_the_digit(side, invert):
    likenesses = []
    for digit in data.load().x_test[:20]:
        box = images.crop(digit)
        small = images.resize(box, side)
        likenesses.append(likeness(last(images.preprocess(255 - small if invert else small)), digit))
    assert np.median(likenesses) > (0.85 if side == 8 else 0.95) and min(likenesses) > 0.7


def test_one_pixel_line_in_a_huge_canvas(seven):
    canvas = np.full((2000, 2000), 255, np.uint8)
    cv2.polylines(canvas, [np.array([[900, 800], [1300, 800], [1050, 1350]])], False, 0, 1)
    assert likeness(last(images.preprocess(canvas)), last(images.preprocess(255 - seven))) > 0.85


def test_a_small_digit_is_looked_at_from_near():
    digit = data.load().x_test[0]
    photo = np.full((900, 1200), 225, np.uint8)
    photo[700:756, 100:156] = np.minimum(225, 255 - cv2.resize(digit, (56, 56), interpolation=cv2.INTER_CUBIC))
    steps = images.preprocess(photo)
    assert likeness(last(steps), digit) > 0.93
    assert steps["picture"].shape == (240, 320)  # still the whole one
    height, width = images.crop(steps["strokes kept"]).shape
    assert height > 0.3 * steps["strokes kept"].shape[0]


def test_a_clear_picture_has_one_reading(paper):
    assert len(images.find_candidates(paper)) == 1
    assert np.array_equal(last(images.find_candidates(paper)[0]), last(images.preprocess(paper)))


def test_a_doubtful_polarity_has_both_readings():
    # Bars as wide as the gaps between them: who could say which is ink?
    stripes = np.full((60, 60), 200, np.uint8)
    stripes[10:50, 15:25] = stripes[10:50, 35:45] = 60
    evidence = images.polarity_evidence(stripes)
    found = images.find_candidates(stripes)
    inked = {bool(steps["ink bright"][60, 40] > steps["ink bright"][60, 60]) for steps in found}
    assert len(found) <= 4 and (abs(evidence) > images.DOUBT or inked == {True, False})


def test_readings_differ_and_are_limited():
    rng, counts = np.random.default_rng(3), []
    for digit in data.load().x_test[:12]:
        found = images.find_candidates(make_samples.simulate(digit, "mixed", rng), limit=2)
        counts.append(len(found))
        names = [list(steps) for steps in found]
        assert all(steps == names[0] for steps in names)
        if len(found) == 2:
            assert not np.array_equal(last(found[0]), last(found[1]))
    assert set(counts) <= {1, 2}


@pytest.mark.parametrize(
    "name,picture",
    [
        ("blank", np.full((200, 300), 240, np.uint8)),
        ("black", np.zeros((200, 300, 3), np.uint8)),
        ("one pixel", np.full((1, 1), 7, np.uint8)),
        ("a tiny blank", np.full((16, 16), 7, np.uint8)),
        ("a shadow", np.repeat(np.where(np.arange(300) < 150, 230, 110), 200).reshape(300, 200).T.astype(np.uint8)),
        ("too faint", np.where(cv2.circle(np.zeros((200, 200)), (100, 100), 50, 1, 8) > 0, 226, 230).astype(np.uint8)),
        ("a speck", np.where(cv2.circle(np.zeros((300, 300)), (100, 100), 1, 1, 1) > 0, 10, 230).astype(np.uint8)),
    ],
)
def test_no_digit(name, picture):
    with pytest.raises(NoDigit) as error:
        images.find_candidates(picture)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_unreadable_is_not_the_same_as_no_digit(tmp_path):
    for source in (b"text", tmp_path / "missing.png"):
        with pytest.raises(UserError) as error:
            images.read_image(source)
        assert not isinstance(error.value, NoDigit)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (12, 12), (41, 41), (5, 900), (2000, 30)])
def test_noise_of_any_shape_ends_well(shape):
    rng = np.random.default_rng(0)
    for scale in (2, 60, 256):
        picture = rng.integers(0, scale, (*shape, 3), np.uint8)
        try:
            assert last(images.preprocess(picture)).shape == (28, 28)
        except NoDigit:
            pass


def test_blank_page_in_slanting_light():
    light = np.linspace(90, 230, 200)[:, None] + np.linspace(-30, 20, 300)[None, :]
    with pytest.raises(UserError, match="No ink was found"):
        images.preprocess(light.astype(np.uint8))
