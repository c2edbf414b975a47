"""The demo in a real browser, from its files: what is drawn and photographed is read as in Python, by any device.

Screenshots are left in pytest's temporary folder. Run with `make e2e`; Chromium must be installed.
"""

import re

import numpy as np
import pytest
from chromium import DIGITS, arc, draw
from pages import barriers
from playwright.sync_api import expect

from helpers import data, paths
from helpers.console import quiet_stderr
from helpers.images.candidates import difference
from helpers.images.decode import read_image
from helpers.images.mnist_form import finish, trace
from helpers.predict.confidence import digit_score, softmax
from helpers.predict.network import Network
from helpers.predict.predictor import Predictor
from tools import make_demo

PATIENCE = 20_000  # milliseconds for an answer, which takes some 30 on a quiet machine
IMAGES = 200
CLOSE = 1e-3  # between a probability in the page and in Python
LARGEST = 1_000_000  # bytes that the reading page may load
SAMPLES = paths.DATA / "samples"

NOT_DIGITS = {
    "zigzag": [[(0.15 + 0.7 * (i % 2), 0.15 + 0.07 * i) for i in range(11)]],
    "loops": [[(0.15 + 0.006 * i + 0.1 * np.cos(i / 4), 0.5 + 0.25 * np.sin(i / 4)) for i in range(121)]],
    "A": [[(0.25, 0.85), (0.5, 0.15), (0.75, 0.85)], [(0.35, 0.6), (0.65, 0.6)]],
    "E": [[(0.7, 0.15), (0.3, 0.15), (0.3, 0.85), (0.7, 0.85)], [(0.3, 0.5), (0.62, 0.5)]],
    "K": [[(0.3, 0.15), (0.3, 0.85)], [(0.7, 0.15), (0.32, 0.52), (0.7, 0.85)]],
    "M": [[(0.2, 0.85), (0.25, 0.15), (0.5, 0.6), (0.75, 0.15), (0.8, 0.85)]],
    "star": [[(0.5, 0.1), (0.5, 0.9)], [(0.15, 0.3), (0.85, 0.7)], [(0.15, 0.7), (0.85, 0.3)]],
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A network of every kind of layer that the page runs, with random weights: a student's own."""
    with quiet_stderr():
        import keras
        from keras import layers

    keras.utils.set_random_seed(1)
    model = keras.Sequential([
        keras.Input((28, 28, 1)), layers.Conv2D(5, 3, activation="relu"), layers.MaxPooling2D(),
        layers.BatchNormalization(), layers.Conv2D(6, 3, padding="same", use_bias=False), layers.BatchNormalization(),
        layers.ReLU(), layers.MaxPooling2D(), layers.Flatten(), layers.Dropout(0.3),
        layers.Dense(12, activation="relu"), layers.Dropout(0.3), layers.Dense(10, activation="softmax"),
    ])  # fmt: skip
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):  # factors below 0 too, where pooling must come first
            gamma, *others = layer.get_weights()
            spread = rng.uniform(0.5, 2, gamma.shape)
            layer.set_weights(
                [rng.normal(size=gamma.shape), *(rng.normal(0, 0.2, a.shape) for a in others[:2]), spread]
            )
    path = tmp_path_factory.mktemp("model") / "report.keras"
    model.save(path)
    return path


@pytest.fixture(scope="module")
def site(model, tmp_path_factory):
    """The folder of the demo."""
    folder = tmp_path_factory.mktemp("demo")
    make_demo.make(folder, model)
    return folder


@pytest.fixture
def visit(visit, site):
    """Opens a page of the demo, by its name."""
    expect.set_options(timeout=PATIENCE)
    return lambda name="index.html", **options: visit(
        site / name, **({"viewport": {"width": 1100, "height": 800}} | options)
    )


@pytest.fixture(scope="module")
def predictor():
    return Predictor()


def expect_digit(page, digit):
    """The page shows a digit, and says so to those who cannot see it."""
    expect(page.locator("#live")).to_have_text(re.compile(rf"^{digit}, (Only )?(> 99\.9|\d+\.\d) % sure"))
    expect(page.locator("#digit")).to_have_text(digit)


def settle(page):
    """Returns when the answer to all strokes is on the page: it is worked out in the frame after the last."""
    page.evaluate("() => new Promise(requestAnimationFrame)")
    expect(page.locator("body")).to_have_attribute("data-final", "true")


def drawn(page):
    """The drawing as Python gets it: dark ink on white, uint8 (280, 280)."""
    levels = page.evaluate("() => Array.from(paper.toPicture().data)")
    return (255 - np.array(levels, np.uint8)).reshape(280, 280)


# --- the answers are those of Python


def test_the_network_answers_as_in_python(visit, predictor):
    x = data.load().x_test[:2000]
    sure = softmax(predictor.network(x)[0]).max(axis=1)
    x = x[np.union1d(np.argsort(sure)[: IMAGES // 2], np.arange(IMAGES))[:IMAGES]]  # the hardest among them
    expected = predictor.probabilities(x)
    logits, features = predictor.network(x)
    digits = digit_score(logits, features, predictor.calibration) >= predictor.calibration.threshold
    found = visit().evaluate(
        """(images) => images.map((image) => {
            const { probabilities, isDigit } = judge(network, image);
            return [...probabilities, isDigit];
        })""",
        x.reshape(len(x), -1).tolist(),
    )
    found = np.array(found, float)
    assert np.array_equal(found[:, :10].argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(found[:, :10] - expected).max() < CLOSE
    assert np.array_equal(found[:, 10], digits)


def test_a_student_network_answers_as_in_keras(visit, model):
    x = data.load().x_test[:20]
    expected = softmax(Network(model)(x)[0])
    found = visit("inside.html").evaluate(
        "(images) => images.map((image) => softmax(run(network, image).logits))", x.reshape(len(x), -1).tolist()
    )
    assert np.abs(np.array(found) - expected).max() < CLOSE


@pytest.mark.parametrize("digit", DIGITS)
def test_a_drawing_takes_the_same_form_as_in_python(visit, digit):
    page = visit()
    draw(page.locator("#paper"), DIGITS[digit])
    expect_digit(page, digit)
    ink = 255 - drawn(page)
    mask = 255 * (ink > 127).astype(np.uint8)
    expected = finish(trace(ink, mask, 127))["centred 28×28"]
    found = page.evaluate("() => Array.from(digitInDrawing(paper.toPicture()).image)")
    assert difference(np.array(found, np.uint8).reshape(28, 28), expected) < 0.02


def test_what_python_refuses_is_no_digit_here(visit, predictor, shots):
    page = visit()
    refused = []
    for name, strokes in NOT_DIGITS.items():
        page.get_by_role("button", name="Clear").click()
        draw(page.locator("#paper"), strokes)
        settle(page)
        if predictor.read(drawn(page)).status == "rejected":
            refused.append(name)
            expect(page.locator("#headline")).to_have_text("Not a digit")
            assert page.locator("body").get_attribute("data-state") == "rejected"
    page.screenshot(path=shots / "not_a_digit.png")
    assert {"zigzag", "loops"} < set(refused) and len(refused) >= 4, refused


def test_several_digits_are_told(visit, predictor, shots):
    page = visit()
    shrunk = [[(0.5 * x + 0.5 * i, 0.25 + 0.5 * y) for x, y in DIGITS[digit][0]] for i, digit in enumerate("37")]
    draw(page.locator("#paper"), shrunk)
    expect(page.locator("#headline")).to_have_text("Several digits")
    assert predictor.read(drawn(page)).reason.startswith("several digits")
    page.screenshot(path=shots / "several.png")


# --- mouse, finger, keyboard


def test_the_answer_comes_while_drawing(visit, shots):
    page = visit()
    draw(page.locator("#paper"), DIGITS["7"], lift=False)
    expect(page.locator("#digit")).to_have_text("7")
    assert page.locator("#live").inner_text() == ""  # a reader of the screen hears only the end
    page.mouse.up()
    expect_digit(page, "7")
    percents = [int(re.sub(r"\D", "", text)) for text in page.locator("#bars .percent").all_inner_texts()]
    assert len(percents) == 10 and np.argmax(percents) == 7
    page.screenshot(path=shots / "desktop.png")


@pytest.mark.parametrize("name", ["index.html", "inside.html"])
def test_a_finger_draws_on_a_phone(visit, shots, name):
    page = visit(name, viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True, device_scale_factor=2)
    devtools = page.context.new_cdp_session(page)
    box = page.locator("#paper").bounding_box()
    points = [
        (box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in arc(0.5, 0.5, 0.2, 0.32, -80, 285)
    ]
    for i, (x, y) in enumerate([*points, points[-1]]):
        kind = "touchStart" if i == 0 else "touchEnd" if i == len(points) else "touchMove"
        here = [] if i == len(points) else [{"x": x, "y": y}]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": here})
    expect(page.locator("#live")).to_have_text(re.compile(r"^\d, "))
    assert page.locator("#paper").bounding_box() == box  # a finger on the paper does not scroll
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.screenshot(path=shots / f"phone_{name}.png", full_page=True)


def test_the_keyboard_does_everything(visit):
    page = visit()
    keyboard = page.keyboard
    keyboard.press("Tab")  # the link
    keyboard.press("Tab")
    expect(page.locator("#paper")).to_be_focused()
    keyboard.press("Space")
    expect(page.locator("#live")).to_have_text("Pen down")
    for _ in range(20):
        keyboard.press("ArrowDown")
    keyboard.press("Space")
    expect_digit(page, "1")
    for name in ("Undo", "Clear"):
        keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()
    keyboard.press("Enter")
    expect(page.locator("#headline")).to_have_text("Draw one digit")
    keyboard.press("Tab")
    expect(page.get_by_role("button", name="Photo")).to_be_focused()
    # The browser's own dialog is not waited for: after a page with touch it opens none.
    page.evaluate(
        "() => byId('file').addEventListener('click', (event) => (event.preventDefault(), (window.opened = true)))"
    )
    keyboard.press("Enter")
    page.wait_for_function("() => window.opened")
    page.locator("#file").set_input_files(SAMPLES / "01_pen.jpg")
    expect(page.locator("#live")).to_have_text(re.compile(r"^\d, "))
    page.locator("#paper").focus()
    keyboard.press("Delete")
    expect(page.locator("#headline")).to_have_text("Draw one digit")


@pytest.mark.parametrize("name", ["index.html", "inside.html"])
def test_every_control_has_a_name(visit, name):
    page = visit(name)
    devtools = page.context.new_cdp_session(page)
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    nodes = devtools.send("DOM.querySelectorAll", {"nodeId": root, "selector": "canvas, button, select, ol, section"})
    for node in nodes["nodeIds"]:
        [what] = devtools.send("Accessibility.getPartialAXTree", {"nodeId": node, "fetchRelatives": False})["nodes"]
        assert what["ignored"] or what["name"]["value"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "inside.html"])
def test_no_barriers(visit, name, scheme):
    page = visit(name, color_scheme=scheme)
    draw(page.locator("#paper"), DIGITS["7"])
    expect(page.locator("#live")).to_have_text(re.compile("% sure"))
    assert not barriers(page)


# --- photos


def test_photos_are_read_or_refused(visit, predictor, shots):
    page = visit()
    for name in ("01_pen.jpg", "03_pencil.jpg", "07_shadow.jpg", "10_chalkboard.jpg", "27_off-centre.jpg"):
        page.locator("#file").set_input_files(SAMPLES / name)
        expect_digit(page, predictor.read(read_image(SAMPLES / name)).text)
        page.evaluate("() => (document.getElementById('live').textContent = '')")
    page.screenshot(path=shots / "photo.png")
    page.locator("#file").set_input_files(SAMPLES / "line_1_postcode.jpg")
    expect(page.locator("#headline")).to_have_text("Several digits")
    page.locator("#file").set_input_files(SAMPLES / "labels.csv")
    expect(page.locator("#live")).to_have_text(re.compile("cannot open it as a picture"))


# --- inside a network


def test_a_click_on_a_map_shows_the_sum_behind_a_pixel(visit, shots):
    page = visit("inside.html")
    draw(page.locator("#paper"), DIGITS["4"])
    expect(page.locator("#live")).to_have_text(re.compile("% sure"))
    page.locator("canvas.layer").nth(0).click(position={"x": 60, "y": 10})
    expect(page.locator("#place")).to_have_text(re.compile("^Convolution 1: map 2, row"))
    page.locator("#map").click(position={"x": 130, "y": 130})
    expect(page.locator("#terms table")).to_have_count(3)  # pixels × filter = products
    expect(page.locator("#result")).to_have_text(re.compile(r"^sum .* \+ bias .* → ReLU → "))
    place = page.locator("#place").inner_text()
    page.keyboard.press("Tab")
    page.locator("#map").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#place")).not_to_have_text(place)
    page.locator("canvas.layer").nth(3).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#place")).to_have_text(re.compile("^Convolution 2: map 2"))
    page.screenshot(path=shots / "inside.png", full_page=True)


@pytest.mark.parametrize("network", ["student", "shipped"])
def test_each_sum_is_the_pixel_of_the_map(visit, network):
    page = visit("inside.html")
    draw(page.locator("#paper"), DIGITS["4"])
    page.locator("#which").select_option(network)
    worst = page.evaluate(
        """() => Math.max(...network.layers.flatMap((layer, i) => {
            const map = state.maps[i];
            if (!layer.weights) return [0];
            return Array.from({ length: 20 }, (_, n) => {
                const place = { channel: (7 * n) % map.channels, row: (5 * n) % map.height, column: (3 * n) % map.width };
                const sum = termsOf(layer, inputOf(i), place).reduce((all, term) => all + term.sum, 0);
                const value = sum + layer.bias[place.channel];
                const shown = map.data[(place.row * map.width + place.column) * map.channels + place.channel];
                return Math.abs((layer.relu ? Math.max(0, value) : value) - shown);
            });
        }))"""
    )
    assert worst < 1e-4


# --- looks and size


@pytest.mark.parametrize("name", ["index.html", "inside.html"])
def test_dark_where_the_system_is_dark(visit, shots, name):
    paper = "() => getComputedStyle(document.getElementById('paper')).backgroundColor"
    light, dark = visit(name).evaluate(paper), visit(name, color_scheme="dark")
    assert dark.evaluate(paper) != light
    draw(dark.locator("#paper"), DIGITS["3"])
    expect(dark.locator("#live")).to_have_text(re.compile(r"^\d, "))
    dark.screenshot(path=shots / f"dark_{name}.png", full_page=True)


def test_the_reading_page_is_small(site):
    assert sum((site / name).stat().st_size for name in make_demo.sources_of(site / "index.html")) <= LARGEST
