"""The network that reads numbers as a whole: its simulated strips, and a training that goes on after a stop."""

import keras
import numpy as np
import pytest

from helpers import paths
from helpers.predict import strips as reading
from tools import train_strips
from tools.simulate import strips as simulated


@pytest.fixture(autouse=True)
def few_glyphs(monkeypatch):
    """Drawing from a few hundred digits instead of thousands: their tracing takes more than a minute."""
    few = simulated.glyphs(300, 200)
    monkeypatch.setattr(simulated, "glyphs", lambda: few)


def test_strips_are_the_same_each_time_and_of_every_kind():
    x, texts = simulated.strips(300, 3)
    again = simulated.strips(300, 3)
    assert np.array_equal(x, again[0]) and texts == again[1]
    assert x.shape == (300, reading.HIGH, simulated.WIDE) and x.dtype == np.uint8
    assert not np.array_equal(x[:5], simulated.strips(5, 4)[0])
    lengths = np.array([len(text) for text in texts])
    assert (lengths == 0).sum() > 10 and lengths.max() <= train_strips.LONGEST and (lengths > 3).sum() > 50
    assert set("".join(texts)) == set("0123456789")
    written = x[lengths > 0].reshape(np.count_nonzero(lengths), -1)
    assert (written.max(axis=1) > 60).mean() > 0.97


def test_labels_are_what_ctc_expects():
    assert train_strips.labels(["", "09"]).tolist() == [[0] * 9, [1, 10] + [0] * 7]


@pytest.mark.thorough
def test_a_stopped_training_goes_on_to_the_same_network(tmp_path, monkeypatch):
    # A thread stands for the process that simulates, which the fixture above does not reach.
    futures = train_strips.concurrent.futures
    monkeypatch.setattr(futures, "ProcessPoolExecutor", lambda count, _: futures.ThreadPoolExecutor(count))
    monkeypatch.setattr(train_strips, "HELD_OUT", 20)
    monkeypatch.setattr(paths, "REFERENCE", tmp_path / "reference")

    def weights(name):
        return keras.models.load_model(tmp_path / name / "strip-training" / "strips.keras").get_weights()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        patch.setattr(train_strips.pool, "fresh", lambda convert, source, target: target.write_bytes(b""))
        assert train_strips.main(["--epochs", "2", "--per-epoch", "128"]) == 0
    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path / "stopped"))
    with monkeypatch.context() as patch:
        patch.setattr(train_strips, "score", killed)  # after the first epoch was kept
        assert train_strips.main(["--epochs", "2", "--per-epoch", "128"]) == 130
    assert train_strips.main(["--epochs", "2", "--per-epoch", "128"]) == 0
    assert all(np.array_equal(one, other) for one, other in zip(weights("whole"), weights("stopped"), strict=True))

    monkeypatch.setattr(reading, "FILE", tmp_path / "reference" / "strips.tflite")
    assert reading.StripNetwork().probabilities([np.zeros((reading.HIGH, 64), np.uint8)])[0].shape[1] == 11


def test_the_shipped_network_reads_new_strips():
    x, texts = simulated.strips(400, 77)
    read = reading.look(list(x))
    right = np.array([found.text == text for found, text in zip(read, texts, strict=True)])
    sure = np.array([found.probability(found.text) > 0.95 for found in read])
    assert right.mean() > 0.75 and sure.mean() > 0.4 and right[sure].mean() > 0.96
