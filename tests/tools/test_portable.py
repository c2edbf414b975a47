"""tools.portable: an older Keras reads the kept networks, and they answer as before. The older one: make colab."""

import io
import zipfile

import numpy as np
import pytest

from helpers import paths
from tools.portable import NEW, portable

KEPT = [paths.REFERENCE / "digits.keras", *sorted((paths.REFERENCE / "models").glob("*.keras"))]


def config(content):
    return zipfile.ZipFile(io.BytesIO(content)).read("config.json").decode()


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_what_is_kept_is_portable(file):
    content = file.read_bytes()
    assert portable(content) == content and not [name for name in NEW if f'"{name}"' in config(content)]


def test_the_answers_stay(tmp_path):
    import keras
    from keras import layers

    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.BatchNormalization()(layers.Dense(3)(inputs)))
    model.save(tmp_path / "new.keras")
    content = (tmp_path / "new.keras").read_bytes()
    (tmp_path / "old.keras").write_bytes(portable(content))
    x = np.ones((2, 4), "float32")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "old.keras")(x), model(x))
    assert "renorm" in config(content) and "renorm" not in config(portable(content))


def test_what_is_not_the_default_stays():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("config.json", '{"renorm": true, "layers": [{"renorm": false, "units": 3}]}')
    assert config(portable(content.getvalue())) == '{"renorm": true, "layers": [{"units": 3}]}'


def test_a_network_saved_later_leaves_the_same_bytes():
    def saved(year):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in (("metadata.json", f'{{"date_saved": "{year}"}}'), ("model.weights.h5", "weights")):
                archive.writestr(zipfile.ZipInfo(name, (year, 1, 1, 0, 0, 0)), text)
        return content.getvalue()

    assert saved(2025) != saved(2026) and portable(saved(2025)) == portable(saved(2026))
