"""What comes from the reader's hand: a pad to draw on, with a button to upload pictures. Predicts nothing itself.

The pad's other half, in the browser, is pad.js with pad.css. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import base64
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
SHOWN = 280  # longest side in pixels at which an uploaded picture is sent back: that of the paper


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
    went into the network; while drawing, too. A picture that is uploaded with `button` appears on the paper; the answers
    of several stand in a list below. In Colab anywidget itself switches on what foreign widgets need.
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
            except ValueError:
                answer = _failure("The drawing did not arrive whole: draw on, or clear the pad.")
        self.answer = {"number": self.number, "name": ""} | answer | {"picture": ""}  # that the browser has

    def _read_uploads(self, change: object) -> None:
        """Sends the answer for each file that was uploaded; the browser lists them."""
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
    pictures = list(reading.steps.values())
    headline, reason = _in_words(reading)
    return {
        "status": reading.status,
        "text": reading.text,
        "confidence": reading.confidence,
        "headline": headline,
        "reason": reason,
        "probabilities": [round(float(p), 4) for p in reading.probabilities] if known else [],
        "seen": _encode(pictures[-1], ".png") if known and pictures else "",
        "picture": _encode(_small(pictures[0]), ".jpg") if pictures else "",
    }


def _in_words(reading: "Reading") -> tuple[str, str]:
    """Headline and sentence of an answer that is no digit; the reading's own reason is for programs and their logs."""
    if reading.status != "rejected":
        return "Could not be read" * (reading.status == "error"), reading.reason
    if reading.reason.startswith("several"):
        return "Several digits", "The pad reads one at a time."
    if reading.probabilities is not None:
        return "Not a digit", "It looks like none of the ten."
    return "Nothing to read", reading.reason


def _failure(reason: str) -> dict:
    """An answer for a picture that could not be read."""
    empty = {"status": "error", "text": "", "confidence": None, "probabilities": [], "seen": "", "picture": ""}
    return empty | {"headline": "Could not be read", "reason": reason}


def _small(picture: np.ndarray) -> np.ndarray:
    """A picture uint8, grey or RGB, with its longest side SHOWN at most, as OpenCV writes it: grey or BGR."""
    scale = min(1, SHOWN / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    return small[..., ::-1] if small.ndim == 3 else small


def _encode(picture: np.ndarray, kind: str) -> str:
    """A picture uint8 as the base64 text of a file of that kind."""
    return base64.b64encode(cv2.imencode(kind, picture)[1].tobytes()).decode("ascii")
