"""Each step of helpers.images does what its name says; broken files end in one sentence."""

import io
from types import SimpleNamespace

import cv2
import numpy as np
import PIL.Image
import pytest

from helpers import images, pad
from helpers.errors import UserError


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
    result = images.to_input(x)
    assert result.shape == (3, 28, 28, 1) and result.dtype == np.float32
    assert result[:, 0, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("bad", [np.zeros((2, 28, 28)), np.zeros((28, 28), np.uint8), np.zeros((1, 32, 32), np.uint8)])
def test_to_input_refuses(bad):
    with pytest.raises(UserError, match="uint8 of shape"):
        images.to_input(bad)


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
    monkeypatch.setattr(images, "MAX_PIXELS", 30_000)
    with pytest.raises(UserError, match="200 × 200 pixels"):
        images.read_image(encode(paper))
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    (tmp_path / "big.png").write_bytes(encode(paper))
    with pytest.raises(UserError, match="at most 10 are read"):
        images.read_image(tmp_path / "big.png")


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


@pytest.mark.parametrize("shadow", [False, True])
def test_remove_background(seven, shadow):
    light = np.linspace(0.45, 1, 200)[None, :].repeat(200, axis=0)
    if shadow:
        light *= np.where(np.arange(200) < 100, 0.6, 1)[:, None]
    photo = np.where(seven > 0, 40, 230) * light
    ink = images.remove_background((255 - photo).astype(np.uint8))
    inside, outside = cv2.erode(seven, np.ones((5, 5))) > 0, cv2.dilate(seven, np.ones((9, 9))) == 0
    away = outside & (np.abs(np.arange(200) - 100) > 6)[:, None]  # the shadow's edge is soft
    assert np.percentile(ink[away], 99) < 35
    assert ink[inside].mean() > 170 and ink[inside].std() < 25


# Masks


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


def test_mnist_itself_survives():
    from helpers import data

    digits = data.load().x_test[:50]
    again = [list(images.preprocess(digit).values())[-1] for digit in digits]
    likeness = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(again, digits, strict=True)]
    assert np.mean(likeness) > 0.85 and min(likeness) > 0.6


# The upload button


def test_uploaded_files_of_ipywidgets_7_and_8():
    seven = SimpleNamespace(value={"a.png": {"content": b"1", "metadata": {}}, "b.png": {"content": b"2"}})
    eight = SimpleNamespace(value=({"name": "a.png", "content": memoryview(b"1")}, {"name": "b.png", "content": b"2"}))
    wanted = [("a.png", b"1"), ("b.png", b"2")]
    assert pad.uploaded_files(seven) == pad.uploaded_files(eight) == wanted
    assert pad.uploaded_files(SimpleNamespace(value={})) == pad.uploaded_files(SimpleNamespace(value=())) == []
    assert pad.uploaded_files(None) == []


def test_no_button_where_nobody_presses_it(monkeypatch):
    assert pad.upload_button() is None  # no IPython
    monkeypatch.setattr(pad, "get_ipython", lambda: SimpleNamespace(kernel=SimpleNamespace(_allow_stdin=False)))
    assert pad.upload_button() is None  # papermill


def test_blank_page_in_slanting_light():
    light = np.linspace(90, 230, 200)[:, None] + np.linspace(-30, 20, 300)[None, :]
    with pytest.raises(UserError, match="No ink was found"):
        images.preprocess(light.astype(np.uint8))
