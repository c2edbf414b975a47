"""Chromium as the browser tests drive it, and digits as strokes."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

BROWSER = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
).split()


def arc(x, y, rx, ry, start, end, n=24):
    """Points on an ellipse, angles in degrees, clockwise from the right as the y axis points down."""
    angles = [math.radians(start + (end - start) * i / n) for i in range(n + 1)]
    return [(x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles]


# Strokes as a hand makes them, in fractions of the paper.
DIGITS = {
    "1": [[(0.53, 0.18), (0.52, 0.5), (0.50, 0.82)]],
    "0": [arc(0.5, 0.5, 0.2, 0.32, -80, 285)],
    "7": [[(0.3, 0.22), (0.5, 0.21), (0.7, 0.2), (0.6, 0.45), (0.52, 0.65), (0.46, 0.83)]],
    "3": [arc(0.47, 0.34, 0.18, 0.15, -150, 90) + arc(0.47, 0.66, 0.2, 0.17, -90, 150)],
    "4": [
        [(0.42, 0.2), (0.36, 0.4), (0.3, 0.55), (0.5, 0.54), (0.72, 0.52)],
        [(0.6, 0.25), (0.59, 0.55), (0.58, 0.82)],
    ],
}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium without a window; fails with advice where it is missing."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.fail("Chromium is missing: install it (Debian: apt-get install chromium).")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER)
        yield browser
        browser.close()


def draw(canvas, strokes, lift=True):
    """Draws strokes with the mouse, at the speed of a hand; the last one stays unfinished without `lift`."""
    box, mouse = canvas.bounding_box(), canvas.page.mouse
    for stroke in strokes:
        points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        mouse.move(*points[0])
        mouse.down()
        for x, y in points[1:]:
            mouse.move(x, y, steps=4)
        if lift or stroke is not strokes[-1]:
            mouse.up()
