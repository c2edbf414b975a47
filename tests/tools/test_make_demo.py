"""tools.make_demo: what a Keras file holds arrives in the page's files, and what the page cannot run is refused."""

import base64
import io
import json
import shutil
import zipfile

import numpy as np
import pytest

from helpers import paths
from helpers.errors import UserError
from tools import make_demo

DIGITS = paths.REFERENCE / "digits.keras"


def unpacked(packed):
    """What network.js makes of a packed array, in NumPy."""
    stream = np.unpackbits(np.frombuffer(base64.b64decode(packed["letters"]), np.uint8))
    bits, count = packed["bits"], int(np.prod(packed["shape"]))
    whole = stream[: count * bits].reshape(count, bits) @ (1 << np.arange(bits)[::-1]) - 2 ** (bits - 1)
    return whole.reshape(packed["shape"]) * np.array(packed["steps"])


@pytest.mark.parametrize("bits", [8, 9, 12])
def test_packed_weights_are_off_by_half_a_step_at_most(bits):
    array = np.random.default_rng(0).normal(size=(3, 3, 2, 5))
    array[..., 4] = 0  # a filter that never fires
    packed = make_demo.pack(array, bits)
    assert (np.abs(unpacked(packed) - array) <= np.array(packed["steps"]) * 0.501).all()


def test_the_shipped_network_is_read_whole():
    parameters, layers = make_demo.read_network(DIGITS).values()
    assert [layer["kind"] for layer in layers] == [
        "contrast", "convolution", "pooling", "normalisation", "convolution", "convolution", "pooling", "normalisation",
        "convolution", "convolution", "mean", "dense",
    ]  # fmt: skip
    assert [layer["weights"].shape for layer in layers if "weights" in layer][-1] == (128, 10)
    described = json.loads((paths.REFERENCE / "digits.json").read_text(encoding="utf-8"))["parameters"]
    assert (
        parameters - sum(2 * layer["outputs"] for layer in layers if layer["kind"] == "convolution") == described - 832
    )
    assert len(make_demo.shipped()["calibration"]["gate"]) == 2


def altered(tmp_path, change):
    """A copy of the shipped model whose configuration was changed."""
    path = tmp_path / "altered.keras"
    with zipfile.ZipFile(DIGITS) as old, zipfile.ZipFile(path, "w") as new:
        config = json.loads(old.read("config.json"))
        change(config["config"]["layers"])
        new.writestr("config.json", json.dumps(config))
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
    return path


def test_what_the_page_cannot_run_is_refused(tmp_path):
    def stride(layers):
        next(layer for layer in layers if layer["class_name"] == "Conv2D")["config"]["strides"] = [2, 2]

    def rename(layers):
        next(layer for layer in layers if layer["class_name"] == "ReLU")["class_name"] = "ELU"

    for change in (stride, rename):
        with pytest.raises(UserError, match="cannot run"):
            make_demo.read_network(altered(tmp_path, change))
    with pytest.raises(UserError, match="not a network for digits"):
        make_demo.read_network(altered(tmp_path, lambda layers: layers.__delitem__(slice(-2, None))))


def test_a_damaged_file_is_named(tmp_path):
    damaged = tmp_path / "damaged.keras"
    damaged.write_bytes(DIGITS.read_bytes()[:5000])
    with pytest.raises(UserError, match="damaged.keras cannot be read"):
        make_demo.read_network(damaged)
    with zipfile.ZipFile(damaged, "w") as file:
        file.writestr("config.json", '{"config": {"layers": []}}')
        file.writestr("model.weights.h5", io.BytesIO().getvalue())
    with pytest.raises(UserError, match="damaged.keras cannot be read"):
        make_demo.read_network(damaged)


def test_the_demo_shows_the_newest_report_network(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTPUTS_DIR", str(tmp_path))
    assert make_demo.newest_report() is None
    make_demo.make(tmp_path / "site", None)
    assert (tmp_path / "site/student.js").read_text() == "NETWORKS.student = null;\n"
    model = tmp_path / "latest/models/report.keras"
    model.parent.mkdir(parents=True)
    shutil.copy(DIGITS, model)
    assert make_demo.newest_report() == model
    make_demo.make(tmp_path / "site", model)
    assert '"title":"Your network of notebook 03"' in (tmp_path / "site/student.js").read_text()
    loaded = make_demo.sources_of(tmp_path / "site/inside.html")
    assert "student.js" in loaded and all((tmp_path / "site" / name).is_file() for name in loaded)
