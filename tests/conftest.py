"""What all tests share: no test writes into the project's own outputs, and the slow ones have their place."""

import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")

import numpy as np
import pytest

# A shell starts background jobs with SIGINT ignored, and all their children inherit that; one test interrupts a child.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def outputs(tmp_path, monkeypatch):
    """A fresh outputs folder for every test; the path is one that careless code breaks on."""
    folder = tmp_path / "out puts é"
    monkeypatch.setenv("OUTPUTS_DIR", str(folder))
    return folder


@pytest.fixture
def arrays():
    """The four arrays of a small valid data set: 40 + 20 images of four classes."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (40, 28, 28), np.uint8),
        "y_train": np.arange(40, dtype=np.uint8) % 4,
        "x_test": rng.integers(0, 256, (20, 28, 28), np.uint8),
        "y_test": np.arange(20, dtype=np.uint8) % 4,
    }


def pytest_collection_modifyitems(config, items):
    """Cheap tests first: a mistake shows in seconds. In two processes the series first: it takes one of them to the end."""
    beside = hasattr(config, "workerinput")
    items.sort(key=lambda item: (item.get_closest_marker("series") is not None) != beside)
