"""Rows of digits beside general OCR: python -m benchmarks.ocr_peers [FOLDER].

Reads the same pictures with this project, RapidOCR (PP-OCR models, which come in its package) and Tesseract, one after
the other: simulated ones, or those of a folder as benchmarks/real.py takes it. Of what a peer reads only digits count,
since that is all it is asked for; each is run as installed and on the prepared picture, paper white and ink black.
What is not installed is left out: pip install rapidocr onnxruntime; apt install tesseract-ocr.
"""

import argparse
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from rapidfuzz.distance import Levenshtein

from benchmarks.real import labelled
from helpers.console import command
from helpers.errors import UserError
from helpers.images.decode import read_image
from helpers.images.grid import local_ink
from helpers.predict.predictor import Predictor
from tools.simulate import lines
from tools.trainings import at_least_1

Reader = Callable[[np.ndarray], str]  # uint8 RGB (H, W, 3) -> text


def rapidocr() -> Reader | None:
    """RapidOCR as installed; None where it is not."""
    if not importlib.util.find_spec("rapidocr"):
        return None
    engine = importlib.import_module("rapidocr").RapidOCR(params={"Global.log_level": "critical"})
    return lambda picture: " ".join(engine(picture[..., ::-1]).txts or ())


def tesseract() -> Reader | None:
    """Tesseract for a block of text, digits only; None where it is not installed."""
    if not shutil.which("tesseract"):
        return None

    def read(picture: np.ndarray) -> str:
        encoded = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
        asked = ["tesseract", "-", "-", "--psm", "6", "-c", "tessedit_char_whitelist=0123456789"]
        return subprocess.run(asked, input=encoded, capture_output=True, check=False).stdout.decode(errors="replace")

    return read


def prepared(picture: np.ndarray) -> np.ndarray:
    """The picture with even paper, ink black: uint8 RGB."""
    return np.dstack([np.round(255 * (1 - local_ink(picture))).astype(np.uint8)] * 3)


def pictures(folder: Path | None, count: int) -> Iterator[tuple[np.ndarray, str]]:
    """Pictures with the digits in them, without spaces: of a folder, or simulated."""
    if folder:
        for path, truth, note in labelled(folder / "rows", "text"):
            if not note.startswith("HARD"):
                yield read_image(path, 3000), truth
        return
    for condition in lines.CONDITIONS:
        for picture, text in lines.pictures(condition, count, 0):
            yield picture, text.replace(" ", "")


@command
def main(argv: list[str] | None = None) -> None:
    """Reads all pictures with each reader in turn and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ocr_peers", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="a folder with rows/ (default: simulated pictures)")
    parser.add_argument("--per-condition", type=at_least_1, default=3, help="simulated pictures of each (default: 3)")
    args = parser.parse_args(argv)
    predictor = Predictor()
    readers = {"ours": lambda picture: predictor.read(picture, line=True).text}
    for name, peer in {"RapidOCR": rapidocr(), "Tesseract": tesseract()}.items():
        if peer:
            readers |= {name: peer, f"{name}, prepared": lambda picture, read=peer: read(prepared(picture))}
        else:
            print(f"{name} is not installed.")
    if len(readers) < 2:
        raise UserError("No peer is installed: pip install rapidocr onnxruntime, or apt install tesseract-ocr.")
    rows = defaultdict(list)
    for picture, truth in pictures(args.folder, args.per_condition):
        for name, read in readers.items():
            start = time.perf_counter()
            text = re.sub(r"\D", "", read(picture))
            seconds = time.perf_counter() - start
            wrong = min(Levenshtein.distance(truth, text), len(truth))
            rows[name].append((text == truth, wrong, len(truth), seconds))
    print(f"{'reader':22}{'pictures':>10}{'exact':>9}{'characters':>12}{'s/picture':>11}")
    for name, found in rows.items():
        exact, wrong, length, seconds = map(sum, zip(*found, strict=True))
        count = len(found)
        print(f"{name:22}{count:10}{exact / count:9.1%}{1 - wrong / length:12.1%}{seconds / count:11.3f}")


if __name__ == "__main__":
    sys.exit(main())
