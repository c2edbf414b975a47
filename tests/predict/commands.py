"""What tests of reading share: pictures, and the command line in a process of its own."""

import csv
import json
import os
import subprocess
import sys
import time

import cv2
import numpy as np
import psutil

from helpers import paths
from helpers.predict.results import Results


def encode(picture, suffix=".png"):
    return cv2.imencode(suffix, picture)[1].tobytes()


def seven(side=120):
    """A seven in dark ink on paper: uint8 RGB."""
    picture = np.full((side, side, 3), 230, np.uint8)
    points = np.array([[0.3, 0.25], [0.7, 0.25], [0.45, 0.8]]) * side
    cv2.polylines(picture, [points.astype(np.int32)], False, (40, 40, 60), max(1, side // 14), cv2.LINE_AA)
    return picture


def calibrate(model, **values):
    (model.parent / "calibration.json").write_text(json.dumps(values))


def command(*arguments):
    return [sys.executable, "-m", "helpers.predict", *map(str, arguments)]


def environment(**more):
    """This one's, but streams are buffered, as most people's are: it decides what is left to write at the exit."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return own | {"PYTHONPATH": str(paths.ROOT)} | more


def run(*arguments, **more):
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment(**more), timeout=180)


def rows_of(file):
    with open(file, newline="", encoding="utf-8", errors="surrogateescape") as lines:
        return list(csv.DictReader(lines))


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE  # init may take its time to bury it
    except psutil.NoSuchProcess:
        return False


def written(file):
    """The status of each file in a CSV file that may be being written."""
    lines = file.read_bytes().decode("utf-8", "surrogateescape") if file.exists() else ""
    return {
        row["file"]: row["status"]
        for row in csv.DictReader(lines.splitlines(keepends=True))
        if row["reason"] is not None
    }


def write_csv(file, records, again=()):
    """Adds records to a CSV file; returns what it held before."""
    results = Results(file)
    try:
        results.start(again)
        for record in records:
            results.write(record)
        return results.status
    finally:
        results.close()
