"""What comes from the reader's hand: the drawing pad and the upload button. Predicts nothing itself.

The pad's other half, in the browser, is helpers/pad.js with helpers/pad.css.
Explained in notebooks/06_custom_image_prediction.ipynb.
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
    """Shows a pad to draw digits on, the upload button below it, and returns the pad; None where nobody is there.

    See `upload_button` for who is there, and `uploaded_files` for the files that come in by the button.
    """
    if not _is_watched():
        return None
    pad = DrawingPad(predictor)
    display(VBox([pad, pad.button]))
    return pad


class DrawingPad(anywidget.AnyWidget):
    """A pad to draw a digit on with mouse, finger, pen or keyboard, and what the predictor makes of it.

    `predictor` needs one method, `read(bytes) -> Reading`. The pad shows the answer with its confidence, or why there
    is none, the ten probabilities and the 28×28 pixels that went into the network; while drawing, too. What is
    uploaded with `button` is read and shown in the same way. In Colab anywidget itself switches on what foreign
    widgets need.
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
        self.button = _button()
        self.button.observe(self._read_uploads, "value")
        self.observe(self._read_drawing, "number")

    def _read_drawing(self, change: object) -> None:
        """Answers the drawing that the browser has just sent."""
        about = {"number": self.number, "name": ""}
        if len(self.drawing) > MAX_DRAWING:
            self.answer = about | _failure("The drawing is too large: clear the pad and draw again.")
            return
        try:
            picture = base64.b64decode(self.drawing, validate=True)
        except (binascii.Error, ValueError):
            self.answer = about | _failure("The drawing did not arrive whole: draw on, or clear the pad.")
            return
        self.answer = about | self._read(picture)

    def _read_uploads(self, change: object) -> None:
        """Shows the answer for each file that was uploaded; the last one stays."""
        for name, content in uploaded_files(self.button):
            self.answer = {"number": -1, "name": name} | self._read(content)

    def _read(self, picture: bytes) -> dict:
        try:
            return _answer(self._predictor.read(picture))
        except Exception as error:  # the pad must tell: here an exception ends in a log that nobody opens
            return _failure(f"Reading failed ({type(error).__name__}: {error}).")


def upload_button() -> FileUpload | None:
    """Shows a button that uploads pictures and returns it; None where nobody is there to press it.

    Under papermill, nbconvert and in tests no person watches: those run cells without standard input, which is how
    they are told from JupyterLab, VS Code and Colab. A widget there would only leave random ids in the output.
    """
    if not _is_watched():
        return None
    button = _button()
    display(button)
    return button


def uploaded_files(widget: FileUpload | DrawingPad | None) -> list[tuple[str, bytes]]:
    """Name and content of each uploaded file, in order; an empty list before any upload.

    `widget` is what `upload_button` or `drawing_pad` returned: None has no files. In ipywidgets 7 a button's value is
    a dictionary by name, from 8 on a tuple of dictionaries.
    """
    if widget is None:
        return []
    value = getattr(widget, "button", widget).value
    if isinstance(value, dict):
        return [(name, bytes(file["content"])) for name, file in value.items()]
    return [(file["name"], bytes(file["content"])) for file in value]


def _is_watched() -> bool:
    """Whether a person sees what a cell shows."""
    return bool(getattr(getattr(get_ipython(), "kernel", None), "_allow_stdin", False))


def _button() -> FileUpload:
    button = FileUpload(accept="image/*", multiple=True, description="Upload pictures")
    button.layout.width = "max-content"  # its label grows by the number of files
    if button.has_trait("tooltip"):  # from ipywidgets 8 on, which would say "null"
        button.tooltip = "Read digits in files of yours"
    return button


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
    """A gray picture uint8 as the base64 text of a PNG file."""
    return base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode("ascii")
