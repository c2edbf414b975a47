"""The drawing pad in a real browser: JupyterLab opens notebook 06 in Chromium, and digits are drawn with the mouse.

Of the notebook run the cells that the one tagged `pad` needs: the bootstrap, the parameters, the set-up, and any that
makes a Predictor. Screenshots are left in pytest's temporary folder. Run with `make e2e`; Chromium must be installed.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest
from chromium import DIGITS, arc, chromium
from chromium import draw as draw_on
from pages import barriers
from playwright.sync_api import Page, expect

from helpers import paths

NOTEBOOK = "06_custom_image_prediction.ipynb"
TOKEN = "e2e"
START = 180_000  # milliseconds for what starts: TensorFlow on a busy machine takes its time to import
PATIENCE = 30_000  # milliseconds for an answer of the pad, which takes some 50

# --- JupyterLab, the browser, the notebook


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The address of a JupyterLab of our own, with a copy of the notebook and settings that ask no questions."""
    base = tmp_path_factory.mktemp("lab")
    for folder in ("work", "config/labconfig", "home", "outputs"):
        (base / folder).mkdir(parents=True)
    shutil.copy(paths.NOTEBOOKS / NOTEBOOK, base / "work")
    models = base / "outputs/latest/models"  # the cell that makes the predictor loads the reader's own network, too
    models.mkdir(parents=True)
    shutil.copy(paths.REFERENCE / "digits.keras", models / "baseline.keras")
    quiet = '{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}'
    (base / "config/labconfig/page_config.json").write_text(quiet, encoding="utf-8")
    own = {"HOME": "home", "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
           "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython",
           "OUTPUTS_DIR": "outputs"}  # fmt: skip
    environment = os.environ | {name: str(base / folder) for name, folder in own.items()}
    environment["PYTHONPATH"] = os.pathsep.join([str(paths.ROOT), environment.get("PYTHONPATH", "")])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}",
               "--LabApp.expose_app_in_browser=True", "--no-browser", "--allow-root"]  # fmt: skip
    with (base / "lab.log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], cwd=base / "work", env=environment,
                                  stdout=log, stderr=subprocess.STDOUT)  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_up(f"{address}/api/status?token={TOKEN}", server, base / "lab.log")
        yield address
    finally:
        server.terminate()  # it ends its kernels
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_until_up(address, server, log):
    """Returns when the server answers; fails with its log when it ends or takes too long."""
    until = time.monotonic() + START / 1000
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while server.poll() is None and time.monotonic() < until:
        try:
            direct.open(address, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def page(lab):
    """The notebook in the browser, with its pad drawn."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_default_timeout(START)
        expect.set_options(timeout=PATIENCE)
        page.goto(f"{lab}/lab/tree/{NOTEBOOK}?token={TOKEN}")
        run_cells(page, cells_to_run())
        page.locator(".digit-pad canvas").wait_for()
        yield page


def cells_to_run():
    """The places of the cells that the pad needs, in order, the pad's own last."""
    cells = nbformat.read(paths.NOTEBOOKS / NOTEBOOK, as_version=4).cells
    tags = [set(cell.metadata.get("tags", [])) for cell in cells]
    last = max((i for i, found in enumerate(tags) if "pad" in found), default=None)
    assert last is not None, f"{NOTEBOOK} has no cell tagged pad"
    needed = ("setup(", "predictor = predict.Predictor(")
    return [
        i
        for i, cell in enumerate(cells[: last + 1])
        if cell.cell_type == "code"
        and (tags[i] & {"bootstrap", "parameters", "pad"} or any(call in cell.source for call in needed))
    ]


def run_cells(page: Page, places):
    """Runs cells one after the other, as Shift+Enter does."""
    page.wait_for_function(
        "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    )
    for place in places:
        page.evaluate(
            """async (place) => {
                const app = window.jupyterapp;
                app.shell.currentWidget.content.activeCellIndex = place;
                await app.commands.execute("notebook:run-cell");
            }""",
            place,
        )
        error = page.evaluate(
            """(place) => window.jupyterapp.shell.currentWidget.content.model.cells.get(place).toJSON()
                .outputs.filter(({output_type}) => output_type === "error").map(({evalue}) => evalue)[0]""",
            place,
        )
        assert error is None, f"cell {place}: {error}"


@pytest.fixture
def pad(page):
    """The pad, cleared."""
    pad = page.locator(".digit-pad")
    pad.scroll_into_view_if_needed()
    pad.get_by_role("button", name="Clear").click()
    expect(pad).to_have_attribute("data-state", "empty")
    expect(pad.locator(".digit-pad-headline")).to_have_text("Draw one digit")
    return pad


def draw(pad, strokes, lift=True):
    """Draws strokes on the pad with the mouse."""
    draw_on(pad.locator("canvas"), strokes, lift)


def expect_answer(pad, digit):
    """The pad shows a digit, and says so to those who cannot see it."""
    expect(pad.get_by_role("status")).to_have_text(re.compile(rf"^{digit}, (> 99\.9|\d+\.\d) % sure"))
    expect(pad).to_have_attribute("data-state", "ok")
    expect(pad.locator(".digit-pad-digit")).to_have_text(digit)


def percents(pad):
    """What stands beside the ten bars."""
    texts = pad.locator(".digit-pad-percent").all_inner_texts()
    return [float(re.sub(r"[^\d.]", "", text)) for text in texts]


# --- what the pad must do


def test_no_barriers(pad):
    draw(pad, DIGITS["7"])
    expect_answer(pad, "7")
    assert not barriers(pad.page, ".digit-pad")


@pytest.mark.parametrize("digit", DIGITS)
def test_a_digit_drawn_with_the_mouse_is_read(pad, shots, digit):
    draw(pad, DIGITS[digit])
    expect_answer(pad, digit)
    pad.screenshot(path=shots / f"digit_{digit}.png")
    found = percents(pad)
    assert len(found) == 10 and found.index(max(found)) == int(digit)
    seen = pad.get_by_role("img", name="network sees")
    assert seen.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [28, 28]


def test_the_answer_comes_while_drawing(pad):
    draw(pad, DIGITS["7"], lift=False)
    expect(pad.locator(".digit-pad-digit")).to_have_text("7")
    assert not pad.get_by_role("status").inner_text().startswith("7")  # a reader of the screen hears only the end
    pad.page.mouse.up()
    expect_answer(pad, "7")


@pytest.mark.parametrize("device", ["touch", "pen"])
def test_a_finger_and_a_pen_draw(pad, device):
    devtools = pad.page.context.new_cdp_session(pad.page)
    box = pad.locator("canvas").bounding_box()
    points = [(box["x"] + 0.5 * box["width"], box["y"] + y / 20 * box["height"]) for y in range(4, 17)]
    for i, (x, y) in enumerate([*points, points[-1]]):
        step = 0 if i == 0 else 2 if i == len(points) else 1  # down, moves, up
        if device == "touch":
            kind = ("touchStart", "touchMove", "touchEnd")[step]
            devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}][: step != 2]})
        else:
            kind = ("mousePressed", "mouseMoved", "mouseReleased")[step]
            what = {"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1}
            devtools.send("Input.dispatchMouseEvent", what | {"pointerType": "pen"})
    expect_answer(pad, "1")
    assert pad.locator("canvas").bounding_box() == box  # a finger on the paper does not scroll


# A busy kernel, for once; one that runs another cell would not do: newer kernels answer widgets beside it.
SLOW = """
import time
from helpers.predict.predictor import Predictor
def slow(*args, read=Predictor.read):
    time.sleep(8)
    Predictor.read = read
    return read(*args)
Predictor.read = slow
"""


def test_a_late_answer_is_told_and_waited_for(pad, shots):
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    pad.page.evaluate(f"async code => {{ await {kernel}.requestExecute({{code}}).done }}", SLOW)
    draw(pad, DIGITS["7"])
    expect(pad).to_have_attribute("data-state", "late")
    expect(pad.get_by_role("status")).to_have_text(re.compile("^No answer yet"))
    pad.screenshot(path=shots / "late.png")
    expect_answer(pad, "7")


def test_undo_and_clear(pad):
    draw(pad, DIGITS["1"])
    expect_answer(pad, "1")
    draw(pad, [arc(0.5, 0.5, 0.3, 0.35, 0, 360)])
    expect(pad.get_by_role("status")).not_to_have_text(re.compile("^1,"))
    pad.get_by_role("button", name="Undo").click()
    expect_answer(pad, "1")
    draw(pad, [arc(0.5, 0.5, 0.3, 0.35, 0, 360)])
    expect(pad.get_by_role("status")).not_to_have_text(re.compile("^1,"))
    pad.page.keyboard.press("Control+z")  # the paper has the focus after a stroke
    expect_answer(pad, "1")
    pad.get_by_role("button", name="Clear").click()
    expect(pad.locator(".digit-pad-digit")).not_to_have_text("1")


def test_a_cleared_pad_asks_for_a_digit(pad, shots):
    draw(pad, DIGITS["1"])
    expect_answer(pad, "1")
    pad.page.keyboard.press("Delete")
    expect(pad.get_by_role("status")).to_have_text("Draw one digit. 0 to 9, as large as you like.")
    expect(pad).to_have_attribute("data-state", "empty")
    assert percents(pad) == [0] * 10
    pad.screenshot(path=shots / "blank.png")
    draw(pad, DIGITS["7"])
    expect_answer(pad, "7")


@pytest.mark.parametrize(
    ("strokes", "headline", "sentence"),
    [
        ([[(0.15 + 0.7 * (i % 2), 0.15 + 0.07 * i) for i in range(11)]], "Not a digit", "It looks like none of the ten."),
        ([[(0.18, 0.29), (0.18, 0.71)], [(0.54, 0.29), (0.75, 0.29), (0.62, 0.71)]], "Several digits", "The pad reads one at a time."),
    ],
    ids=["not a digit", "two digits"],
)  # fmt: skip
def test_a_refusal_is_told_once_and_in_words(pad, shots, strokes, headline, sentence):
    draw(pad, strokes)
    expect(pad.get_by_role("status")).to_have_text(f"{headline}. {sentence}")
    expect(pad).to_have_attribute("data-state", "rejected")
    pad.screenshot(path=shots / f"{headline}.png")


def test_the_keyboard_draws(pad, shots):
    cells = "window.jupyterapp.shell.currentWidget.content.model.cells.length"
    before = pad.page.evaluate(cells)
    keyboard = pad.page.keyboard
    pad.get_by_role("button", name="Undo").focus()
    keyboard.press("Shift+Tab")
    expect(pad.locator("canvas")).to_be_focused()
    keyboard.press("Space")
    expect(pad.get_by_role("status")).to_have_text("Pen down")
    for _ in range(20):
        keyboard.press("ArrowDown")
    pad.screenshot(path=shots / "keyboard.png")
    keyboard.press("Space")
    expect_answer(pad, "1")
    for key in ("d", "d", "x", "a", "Escape"):  # to the notebook these would delete and insert cells
        keyboard.press(key)
    keyboard.press("Control+z")
    expect(pad.get_by_role("status")).to_have_text(re.compile("^Draw one digit"))
    assert pad.page.evaluate(cells) == before
    expect(pad.locator("canvas")).to_be_focused()


def test_every_control_has_a_name_and_a_role(pad):
    devtools = pad.page.context.new_cdp_session(pad.page)
    root = devtools.send("DOM.getDocument")["root"]["nodeId"]
    selector = ".digit-pad canvas, .digit-pad button, .digit-pad img, .digit-pad ol, .widget-upload"
    nodes = devtools.send("DOM.querySelectorAll", {"nodeId": root, "selector": selector})["nodeIds"]
    found = {}
    for node in nodes:
        [what] = devtools.send("Accessibility.getPartialAXTree", {"nodeId": node, "fetchRelatives": False})["nodes"]
        if not what["ignored"]:  # the picture is hidden while there is none
            found[what["name"]["value"]] = what["role"]["value"]
    assert "" not in found
    assert set(found.values()) >= {"application", "button", "list"}
    assert list(found.values()).count("button") == 3, found  # undo, clear, upload
    assert pad.locator("canvas").evaluate("canvas => document.getElementById(canvas.ariaDescribedByElements[0].id)"
                                          ".textContent").startswith("Draw with mouse")  # fmt: skip


def test_uploaded_pictures_are_shown_and_every_answer_stays(page, pad, shots, tmp_path):
    def upload(*files):
        with page.expect_file_chooser() as chooser:
            page.locator(".widget-upload").click()
        chooser.value.set_files(files)
        expect(pad.get_by_role("status")).to_have_text(re.compile(re.escape(files[-1].name)))

    (broken := tmp_path / "broken.jpg").write_bytes(b"no picture")
    samples = sorted((paths.DATA / "samples").glob("*.jpg"))[:3]
    blank = pad.locator("canvas").evaluate("canvas => canvas.toDataURL()")
    upload(samples[0])
    page.wait_for_function("blank => document.querySelector('.digit-pad canvas').toDataURL() !== blank", arg=blank)
    assert pad.locator(".digit-pad-uploads").is_hidden()
    pad.screenshot(path=shots / "uploaded.png")
    upload(samples[1], broken, samples[2])
    entries = pad.locator(".digit-pad-uploads li")
    expect(entries).to_have_count(4)
    texts = entries.all_inner_texts()
    assert all(file.name in text for file, text in zip([*samples[:2], broken, samples[2]], texts, strict=True))
    assert "Could not be read" in texts[2] and entries.locator("img").count() == 3
    pad.screenshot(path=shots / "uploads.png")
    draw(pad, DIGITS["1"])  # the paper is free again, the answers stay
    expect_answer(pad, "1")
    expect(entries).to_have_count(4)
    pad.get_by_role("button", name="Clear").click()
    expect(entries).to_have_count(0)


def test_dark_and_contrast_themes_and_narrow_screens(page, pad, shots):
    draw(pad, DIGITS["3"])
    expect_answer(pad, "3")
    page.screenshot(path=shots / "page_light.png")
    ink = "canvas => getComputedStyle(canvas).color"
    light = pad.locator("canvas").evaluate(ink)
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    assert pad.locator("canvas").evaluate(ink) != light
    page.screenshot(path=shots / "page_dark.png")
    pad.screenshot(path=shots / "dark.png")
    page.emulate_media(forced_colors="active")
    pad.screenshot(path=shots / "forced_colors.png")
    page.emulate_media(forced_colors="none")
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Light'})")
    page.set_viewport_size({"width": 640, "height": 900})
    pad.scroll_into_view_if_needed()
    pad.screenshot(path=shots / "narrow.png")
    assert pad.evaluate("pad => pad.scrollWidth <= pad.clientWidth")
    page.set_viewport_size({"width": 1200, "height": 900})
