"""The Python half of the drawing pad, without a browser; tests/e2e has the other half."""

import base64
import sys
from types import ModuleType, SimpleNamespace

import cv2
import ipywidgets
import nbformat
import numpy as np
import papermill
import pytest
from jupyter_client.manager import start_new_kernel
from nbconvert.preprocessors import ExecutePreprocessor

from helpers import images, paths
from helpers.errors import NoDigit, UserError
from helpers.notebook import pad
from helpers.predict.predictor import Predictor, Reading


class StandIn:
    """Reads as the Predictor does, by the real steps, but without a network: everything is a 7."""

    def read(self, picture):
        try:
            steps = images.preprocess(images.read_image(picture))
        except NoDigit as error:
            return Reading("rejected", reason=str(error))
        except UserError as error:
            return Reading("error", reason=str(error))
        probabilities = np.full(10, 0.01)
        probabilities[7] = 0.91
        return Reading("ok", text="7", confidence=0.91, probabilities=probabilities, steps=steps)


class Fixed:
    """Gives one reading whatever the picture, or raises it."""

    def __init__(self, reading):
        self.reading = reading

    def read(self, picture):
        if isinstance(self.reading, Exception):
            raise self.reading
        return self.reading


def encode(picture):
    return base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()


def sheet(*strokes):
    """The paper of the pad, white, with lines drawn as the browser does."""
    picture = np.full((280, 280, 3), 255, np.uint8)
    for start, end in strokes:
        cv2.line(picture, start, end, (0, 0, 0), 18, cv2.LINE_AA)
    return picture


def send(widget, drawing, number=1):
    """What a message from the browser does."""
    widget.set_state({"drawing": drawing, "number": number})
    return widget.answer


SEVEN = sheet(((80, 60), (200, 55)), ((200, 55), (130, 230)))


# --- a drawing comes in


def test_a_drawing_is_answered():
    answer = send(pad.DrawingPad(StandIn()), encode(SEVEN), number=5)
    assert {key: answer[key] for key in ("number", "status", "text", "confidence", "reason", "name")} == {
        "number": 5, "status": "ok", "text": "7", "confidence": 0.91, "reason": "", "name": ""}  # fmt: skip
    assert answer["probabilities"] == [0.01] * 7 + [0.91] + [0.01] * 2


def test_the_browser_gets_what_the_network_sees():
    answer = send(pad.DrawingPad(StandIn()), encode(SEVEN))
    seen = cv2.imdecode(np.frombuffer(base64.b64decode(answer["seen"]), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(seen, images.preprocess(SEVEN)["centred 28×28"])


def test_each_drawing_gets_an_answer_of_its_own():
    widget = pad.DrawingPad(StandIn())
    sent = []
    widget.observe(lambda change: sent.append(change.new), "answer")
    for number, picture in enumerate((SEVEN, sheet(), SEVEN), 1):
        send(widget, encode(picture), number)
    assert [(answer["number"], answer["status"]) for answer in sent] == [(1, "ok"), (2, "rejected"), (3, "ok")]


def test_a_blank_paper_is_rejected_with_a_reason():
    answer = send(pad.DrawingPad(StandIn()), encode(sheet()))
    assert answer["status"] == "rejected" and "blank" in answer["reason"]
    assert answer["probabilities"] == [] and answer["seen"] == "" and answer["confidence"] is None


@pytest.mark.parametrize("drawing", ["", "no base64!", "AAA", "ü", "AAAA", encode(SEVEN)[:400]])
def test_a_broken_drawing_is_an_error_with_a_reason(drawing):
    answer = send(pad.DrawingPad(StandIn()), drawing)
    assert answer["status"] == "error" and answer["reason"].endswith(".") and answer["number"] == 1


def test_a_huge_drawing_is_not_decoded():
    answer = send(pad.DrawingPad(Fixed(AssertionError("read"))), "A" * (pad.MAX_DRAWING + 1))
    assert answer["status"] == "error" and "too large" in answer["reason"]


def test_a_large_picture_in_a_small_file_is_answered():
    picture = cv2.resize(SEVEN, (4000, 4000), interpolation=cv2.INTER_NEAREST)
    assert send(pad.DrawingPad(StandIn()), encode(picture))["text"] == "7"


def test_a_failure_of_ours_is_shown_on_the_pad():
    answer = send(pad.DrawingPad(Fixed(RuntimeError("the network is gone"))), encode(SEVEN))
    assert answer["status"] == "error" and "the network is gone" in answer["reason"]


def test_a_rejected_drawing_keeps_its_probabilities():
    steps = {"centred 28×28": np.zeros((28, 28), np.uint8)}
    reading = Reading("rejected", reason="not a digit", probabilities=np.full(10, 0.1), steps=steps)
    answer = send(pad.DrawingPad(Fixed(reading)), encode(SEVEN))
    assert answer["probabilities"] == [0.1] * 10 and answer["seen"] and answer["text"] == ""


@pytest.mark.parametrize(
    ("status", "reason", "known", "expected"),
    [
        ("rejected", "not a digit (gate 0.0014, a digit has at least 0.057)", True, ("Not a digit", "It looks like none of the ten.")),
        ("rejected", "several digits (2): read them with --line", True, ("Several digits", "The pad reads one at a time.")),
        ("rejected", "No ink was found: the picture is blank.", False, ("Nothing to read", "No ink was found: the picture is blank.")),
        ("error", "a.jpg is damaged.", False, ("Could not be read", "a.jpg is damaged.")),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_words(status, reason, known, expected):
    reading = Reading(status, reason=reason, probabilities=np.full(10, 0.1) if known else None)
    answer = send(pad.DrawingPad(Fixed(reading)), encode(SEVEN))
    assert (answer["headline"], answer["reason"]) == expected


def test_the_predictors_own_refusals_are_known():
    """Its reasons are told apart by how they begin."""
    predictor = Predictor()
    two = sheet(((50, 80), (50, 200)), ((150, 80), (210, 80)), ((210, 80), (175, 200)))
    zigzag = [(40 + 200 * (i % 2), 40 + 20 * i) for i in range(11)]
    for picture, headline in (
        (two, "Several digits"), (sheet(*zip(zigzag, zigzag[1:], strict=False)), "Not a digit"), (sheet(), "Nothing to read")
    ):  # fmt: skip
        assert send(pad.DrawingPad(predictor), encode(picture))["headline"] == headline


def test_probabilities_that_are_none_do_not_reach_the_browser():
    reading = Reading("rejected", reason="not a digit", probabilities=np.full(10, np.nan))
    assert send(pad.DrawingPad(Fixed(reading)), encode(SEVEN))["probabilities"] == []  # JSON has no NaN


# --- where it is shown


def test_nothing_is_shown_outside_a_notebook(capsys):
    assert pad.drawing_pad(StandIn()) is None
    assert capsys.readouterr() == ("", "")


SHOW = """\
from helpers.notebook import pad
widget = pad.drawing_pad(None)
print(type(widget.button).__name__ if widget else "nobody")"""


def test_nothing_is_shown_where_nobody_watches(tmp_path):
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SHOW)])
    nbformat.write(nb, tmp_path / "in.ipynb")
    papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", kernel_name="python3", progress_bar=False)
    [output] = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[0].outputs
    assert output.text == "nobody\n"
    [output] = ExecutePreprocessor(kernel_name="python3").preprocess(nb)[0].cells[0].outputs
    assert output.text == "nobody\n"


def test_pad_and_button_are_shown_to_a_person():
    """A real kernel with a client that takes input, as JupyterLab's and VS Code's do."""
    shown = []
    manager, client = start_new_kernel(cwd=paths.ROOT)
    try:
        client.execute_interactive(SHOW, allow_stdin=True, output_hook=shown.append, timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert [message["content"]["text"] for message in shown if message["msg_type"] == "stream"] == ["FileUpload\n"]
    [box] = [message["content"]["data"] for message in shown if message["msg_type"] == "display_data"]
    assert "application/vnd.jupyter.widget-view+json" in box


def test_colab_is_told_to_allow_the_widget(monkeypatch):
    called = []
    output = ModuleType("google.colab.output")
    output.enable_custom_widget_manager = lambda: called.append(True)
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    pad.DrawingPad(StandIn())
    assert called == [True]


def test_what_the_browser_needs_is_complete():
    for name in ("pad.js", "pad.css"):
        text = (paths.ROOT / "helpers" / "notebook" / name).read_text(encoding="utf-8")
        assert "http" not in text and "import " not in text and "url(" not in text  # nothing comes from elsewhere
    widget = pad.DrawingPad(StandIn())
    assert "export default" in str(widget._esm) and ".digit-pad" in str(widget._css)


# --- uploads

FILES = [("a.png", b"one"), ("b é.png", b"two")]
FROM_8 = tuple({"name": name, "content": memoryview(content), "size": 3} for name, content in FILES)
IN_7 = {name: {"metadata": {"name": name}, "content": content} for name, content in FILES}


@pytest.mark.parametrize("value", [FROM_8, IN_7], ids=["ipywidgets 8", "ipywidgets 7"])
def test_uploaded_files(value):
    button = SimpleNamespace(value=value)
    assert pad.uploaded_files(button) == FILES
    assert pad.uploaded_files(SimpleNamespace(button=button)) == FILES  # a pad has its button


@pytest.mark.parametrize("value", [(), {}])
def test_no_uploaded_files(value):
    assert pad.uploaded_files(SimpleNamespace(value=value)) == []
    assert pad.uploaded_files(None) == []


def test_the_real_button_has_no_files_at_first():
    assert pad.uploaded_files(pad.DrawingPad(StandIn())) == []


@pytest.mark.parametrize("version", [7, 8])
def test_an_uploaded_picture_is_shown_on_the_pad(monkeypatch, version):
    content = cv2.imencode(".png", SEVEN)[1].tobytes()
    seven = {"metadata": {"name": "seven.png"}, "content": content}
    eight = {"name": "seven.png", "content": memoryview(content)}
    widget = pad.DrawingPad(StandIn())
    widget.button = SimpleNamespace(value={"seven.png": seven} if version == 7 else (eight,))
    widget._read_uploads(None)
    assert (widget.answer["name"], widget.answer["text"], widget.answer["number"]) == ("seven.png", "7", -1)


@pytest.mark.parametrize(
    ("height", "width", "shown"), [(280, 280, (280, 280)), (100, 50, (100, 50)), (1200, 600, (280, 140))]
)
def test_an_uploaded_picture_comes_back_small(height, width, shown):
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[:, : width // 2] = (0, 0, 255)  # red as OpenCV writes it
    reading = Reading("rejected", reason="blank", steps={"picture": picture[..., ::-1]})
    widget = pad.DrawingPad(Fixed(reading))
    widget.button = SimpleNamespace(value=({"name": "a.png", "content": b"x"},))
    widget._read_uploads(None)
    back = cv2.imdecode(np.frombuffer(base64.b64decode(widget.answer["picture"]), np.uint8), cv2.IMREAD_COLOR)
    assert back.shape[:2] == shown and abs(back[5, 5].astype(int) - (0, 0, 255)).max() < 30
    assert send(widget, encode(SEVEN))["picture"] == ""  # of a drawing the browser needs none


def test_the_button_of_this_version_reaches_the_pad():
    widget = pad.DrawingPad(StandIn())
    content = cv2.imencode(".png", SEVEN)[1].tobytes()
    if ipywidgets.__version__.startswith("7."):
        state = {"data": [memoryview(content)], "metadata": [{"name": "seven.png"}], "_counter": 1}
    else:
        info = {"name": "seven.png", "type": "image/png", "size": len(content), "last_modified": 0}
        state = {"value": [info | {"content": memoryview(content)}]}
    widget.button.set_state(state)
    assert widget.answer["name"] == "seven.png" and widget.answer["text"] == "7"
