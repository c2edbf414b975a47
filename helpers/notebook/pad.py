"""What comes from the reader's hand: a pad to draw on, with a button to upload pictures. Predicts nothing itself.

The pad's other half, in the browser, is pad.js with pad.css. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING

import anywidget
import cv2
import numpy as np
import traitlets
from IPython import get_ipython
from IPython.display import display
from ipywidgets import FileUpload, VBox

if TYPE_CHECKING:
    from helpers.predict.predictor import Predictor, Reading

MAX_DRAWING = 1_000_000  # characters of base64; a drawing of the pad has some thousand


def drawing_pad(predictor: "Predictor") -> "DrawingPad | None":
    """Shows a pad to draw digits on, with an upload button below it.

    Under papermill, nbconvert and in tests nobody is there to draw, and a widget would only leave random ids in the
    output. Those run cells without standard input, which tells them from JupyterLab, VS Code and Colab.

    Args:
        predictor: answers what is drawn or uploaded; anything with a method `read(bytes) -> Reading`.

    Returns:
        The pad, or None where nobody is there.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or not kernel.get_parent("shell").get("content", {}).get("allow_stdin"):
        return None
    pad = DrawingPad(predictor)
    display(VBox([pad, pad.button]))
    return pad


class DrawingPad(anywidget.AnyWidget):
    """A pad to draw a digit on with mouse, finger, pen or keyboard, and what the predictor makes of it.

    The pad shows the answer with its confidence, or why there is none, the ten probabilities and the 28×28 pixels that
    went into the network; while drawing, too. What is uploaded with `button` is read and shown in the same way. In
    Colab anywidget itself switches on what foreign widgets need.
    """

    _esm = Path(__file__).with_name("pad.js")
    _css = Path(__file__).with_name("pad.css")
    # From the browser: a PNG as base64 text (a traitlets.Bytes would be dropped) and its number, set together.
    drawing = traitlets.Unicode().tag(sync=True, echo_update=False)
    number = traitlets.Int().tag(sync=True, echo_update=False)
    answer = traitlets.Dict().tag(sync=True)  # to the browser, see `_answer`

    def __init__(self, predictor: "Predictor"):
        super().__init__()
        self._predictor = predictor
        self.button = FileUpload(accept="image/*", multiple=True, description="Upload pictures")
        self.button.layout.width = "max-content"  # its label grows by the number of files
        if self.button.has_trait("tooltip"):  # from ipywidgets 8 on, which would say "null"
            self.button.tooltip = "Read digits in files of yours"
        self.button.observe(self._read_uploads, "value")
        self.observe(self._read_drawing, "number")

    def _read_drawing(self, change: object) -> None:
        """Answers the drawing that the browser has just sent."""
        if len(self.drawing) > MAX_DRAWING:
            answer = _failure("The drawing is too large: clear the pad and draw again.")
        else:
            try:
                answer = self._read(base64.b64decode(self.drawing, validate=True))
            except (binascii.Error, ValueError):
                answer = _failure("The drawing did not arrive whole: draw on, or clear the pad.")
        self.answer = {"number": self.number, "name": ""} | answer

    def _read_uploads(self, change: object) -> None:
        """Shows the answer for each file that was uploaded; the last one stays."""
        for name, content in uploaded_files(self.button):
            self.answer = {"number": -1, "name": name} | self._read(content)

    def _read(self, picture: bytes) -> dict:
        try:
            return _answer(self._predictor.read(picture))
        except Exception as error:  # the pad must tell: here an exception ends in a log that nobody opens
            return _failure(f"Reading failed ({type(error).__name__}: {error}).")


def uploaded_files(widget: FileUpload | DrawingPad | None) -> list[tuple[str, bytes]]:
    """Lists what was uploaded, whatever the version of ipywidgets.

    Args:
        widget: what `drawing_pad` returned, or a button; None has no files.

    Returns:
        Name and content of each file, in order.
    """
    if widget is None:
        return []
    value = getattr(widget, "button", widget).value
    if isinstance(value, dict):  # ipywidgets 7; from 8 on a tuple of dictionaries
        return [(name, bytes(file["content"])) for name, file in value.items()]
    return [(file["name"], bytes(file["content"])) for file in value]


def _answer(reading: "Reading") -> dict:
    """A reading as the browser gets it: plain values, of which the picture is a PNG as base64 text."""
    known = reading.probabilities is not None and np.isfinite(reading.probabilities).all()  # JSON has no NaN
    return {
        "status": reading.status,
        "text": reading.text,
        "confidence": reading.confidence,
        "reason": reading.reason,
        "probabilities": [round(float(p), 4) for p in reading.probabilities] if known else [],
        "seen": _png(list(reading.steps.values())[-1]) if known and reading.steps else "",
    }


def _failure(reason: str) -> dict:
    """An answer for a picture that could not be read."""
    return {"status": "error", "text": "", "confidence": None, "reason": reason, "probabilities": [], "seen": ""}


def _png(picture: np.ndarray) -> str:
    """A grey picture uint8 as the base64 text of a PNG file."""
    return base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode("ascii")
