"""helpers.data: the shipped file, damage of every kind, other data sets, splits."""

import hashlib
import shutil
import sys
import types
import zipfile

import numpy as np
import pytest

from helpers import data
from helpers.errors import UserError
from helpers.files import sha256


@pytest.fixture(scope="module")
def mnist():
    return data.load()


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of mnist.npz in the place of the real one, for a test to damage."""
    path = tmp_path / "mnist.npz"
    shutil.copyfile(data.MNIST, path)
    monkeypatch.setattr(data, "MNIST", path)
    return path


def save(path, arrays, **changes):
    """Writes the arrays with some of them changed, or left out where the change is None."""
    kept = {name: array for name, array in (arrays | changes).items() if array is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **kept)
    return str(path)


def refused(dataset, *parts):
    """Asserts that loading fails with one sentence that holds all of `parts`."""
    with pytest.raises(UserError) as caught:
        data.load(dataset)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


# --- the shipped file


def test_mnist_is_complete(mnist):
    assert mnist.x_train.shape == (60000, 28, 28) and mnist.x_test.shape == (10000, 28, 28)
    assert mnist.x_train.dtype == np.uint8 and mnist.y_train.dtype == np.int64
    assert (mnist.x_train.min(), mnist.x_train.max()) == (0, 255)
    assert mnist.num_classes == 10 and mnist.is_mnist
    # The counts of the published set, classes 0 to 9.
    assert np.bincount(mnist.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_mnist_holds_the_original_pixels(mnist):
    # The IDX files are a 16-byte header and the pixels; their MD5 sums are published.
    for images, md5 in (
        (mnist.x_train, "6bbc9ace898e44ae57da46a324031adb"),
        (mnist.x_test, "2646ac647ad5339dbf082846283269ea"),
    ):
        header = b"".join(n.to_bytes(4, "big") for n in (2051, len(images), 28, 28))
        assert hashlib.md5(header + images.tobytes(), usedforsecurity=False).hexdigest() == md5


def test_digest_is_kept_for_the_manifest(mnist):
    assert mnist.sha256 == data.MNIST_SHA256 == sha256(data.MNIST) == data.digests["mnist"]


def test_known_label_errors_are_test_indices(mnist):
    assert len(set(data.KNOWN_LABEL_ERRORS)) == 15
    assert all(0 <= index < len(mnist.y_test) for index in data.KNOWN_LABEL_ERRORS)


# --- damage


def test_truncated_mnist(copy):
    copy.write_bytes(copy.read_bytes()[:5_000_000])
    refused("mnist", "mnist.npz", "damaged or altered", data.MNIST_SHA256[:12], "5,000,000 bytes", "git checkout")


def test_one_altered_byte(copy):
    content = bytearray(copy.read_bytes())
    content[6_000_000] ^= 1
    copy.write_bytes(content)
    refused("mnist", "mnist.npz", "damaged or altered", sha256(copy)[:12])


def test_empty_mnist(copy):
    copy.write_bytes(b"")
    refused("mnist", "mnist.npz", "damaged or altered", "0 bytes")


def test_valid_but_other_mnist(copy, arrays):
    save(copy, arrays)
    refused("mnist", "damaged or altered")


def test_missing_mnist_comes_from_keras(tmp_path, monkeypatch, capsys, arrays):
    monkeypatch.setattr(data, "MNIST", tmp_path / "gone.npz")
    fake_keras(monkeypatch, lambda: (
        (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    ))  # fmt: skip
    loaded = data.load("mnist")
    assert np.array_equal(loaded.x_train, arrays["x_train"]) and loaded.name == "mnist"
    note = capsys.readouterr().out
    assert note.startswith("Note:") and "gone.npz is missing" in note and "Keras downloads" in note


def test_missing_mnist_without_network(tmp_path, monkeypatch):
    def fail():
        raise Exception("URL fetch failure: no network")

    monkeypatch.setattr(data, "MNIST", tmp_path / "gone.npz")
    fake_keras(monkeypatch, fail)
    refused("mnist", "could not download mnist", "no network", ".npz")


def test_missing_mnist_without_keras(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MNIST", tmp_path / "gone.npz")
    monkeypatch.setitem(sys.modules, "keras", None)  # as where only reading is installed
    refused("mnist", "Keras, which is not installed", "pip install .[train]", "git checkout")


def fake_keras(monkeypatch, load_data):
    """Stands for Keras, whose import takes seconds and whose download needs a network."""
    source = types.SimpleNamespace(load_data=load_data)
    module = types.ModuleType("keras")
    module.datasets = types.SimpleNamespace(mnist=source, fashion_mnist=source)
    monkeypatch.setitem(sys.modules, "keras", module)


def test_fashion_mnist_comes_from_keras(monkeypatch, arrays):
    fake_keras(monkeypatch, lambda: (
        (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
    ))  # fmt: skip
    loaded = data.load("fashion_mnist")
    assert loaded.name == "fashion_mnist" and not loaded.is_mnist and len(loaded.sha256) == 64


# --- other .npz files


def test_own_file_in_an_awkward_folder(tmp_path, arrays):
    path = save(tmp_path / "données à moi" / "meine Ziffern ü 数字.npz", arrays)
    loaded = data.load(path)
    for name, array in arrays.items():
        assert np.array_equal(getattr(loaded, name), array)
    assert loaded.y_train.dtype == np.int64 and loaded.num_classes == 4 and not loaded.is_mnist
    assert loaded.sha256 == data.digests[path]


def test_relative_path_is_found_from_the_working_directory(tmp_path, monkeypatch, arrays):
    save(tmp_path / "mine.npz", arrays)
    monkeypatch.chdir(tmp_path)
    assert len(data.load("mine.npz").x_train) == 40


def test_relative_path_is_found_from_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert data.load("data/mnist.npz").is_mnist


def test_unknown_name():
    refused("minst", "'minst'", "neither mnist, fashion_mnist nor an existing .npz file")


def test_truncated_file(tmp_path, arrays):
    path = tmp_path / "half.npz"
    save(path, arrays)
    path.write_bytes(path.read_bytes()[:20_000])
    refused(str(path), "half.npz", "cannot be read", "truncated")


# NumPy allocates what a header asks for (here 713 TB) and parses it as Python, each with exceptions of its own.
HEADERS = {
    "huge": "{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999, 28, 28), }",
    "open": "((((",
    "no Python": "{'descr': ",
    "deep": "(" * 4000 + ")" * 4000,
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_absurd_array_header(tmp_path, arrays, header):
    path = tmp_path / "absurd.npz"
    save(path, arrays, x_train=None)
    text = header.encode() + b"\n"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    refused(str(path), "absurd.npz", "cannot be read")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 neither", b"\x93NUMPY"])
def test_file_of_another_kind(tmp_path, content):
    path = tmp_path / "odd.npz"
    path.write_bytes(content)
    refused(str(path), "odd.npz", "cannot be read")


def test_single_array_instead_of_an_archive(tmp_path):
    path = tmp_path / "one.npz"
    with open(path, "wb") as file:
        np.save(file, np.zeros((3, 28, 28), np.uint8))
    refused(str(path), "one.npz", "cannot be read")


def test_damage_inside_the_archive(tmp_path, arrays):
    path = tmp_path / "damaged.npz"
    save(path, arrays)
    content = bytearray(path.read_bytes())
    content[10_000] ^= 255  # in the middle of x_train: the ZIP's CRC tells
    path.write_bytes(content)
    refused(str(path), "damaged.npz", "cannot be read")


def test_missing_array(tmp_path, arrays):
    refused(save(tmp_path / "a.npz", arrays, y_test=None, x_test=None), "a.npz", "lacks x_test, y_test")


def test_pickled_objects_are_never_loaded(tmp_path, arrays):
    objects = np.array([{"any": "thing"}] * 40, dtype=object)
    refused(save(tmp_path / "p.npz", arrays, y_train=objects), "p.npz", "cannot be read")


WRONG = {
    "other size": ({"x_train": np.zeros((40, 32, 32), np.uint8)}, ["x_train", "(40, 32, 32)", "(N, 28, 28)"]),
    "flat": ({"x_test": np.zeros((20, 784), np.uint8)}, ["x_test", "(20, 784)"]),
    "with channels": ({"x_train": np.zeros((40, 28, 28, 1), np.uint8)}, ["x_train", "(40, 28, 28, 1)"]),
    "no images": ({"x_test": np.zeros((0, 28, 28), np.uint8), "y_test": np.zeros(0, int)}, ["x_test", "(0, 28, 28)"]),
    "floats": ({"x_train": np.zeros((40, 28, 28), np.float32)}, ["x_train", "float32", "uint8"]),
    "too few labels": ({"y_train": np.arange(39) % 4}, ["y_train", "(39,)", "(40,)"]),
    "one-hot labels": ({"y_train": np.eye(4, dtype=int)[np.arange(40) % 4]}, ["y_train", "(40, 4)"]),
    "labels as text": ({"y_train": np.array(list("0123") * 10)}, ["y_train", "<U1"]),
    "labels as floats": ({"y_train": np.arange(40) % 4 * 1.0}, ["y_train", "float64"]),
    "negative label": ({"y_test": np.arange(20) % 4 - 1}, ["y_test", "minimum -1"]),
    "a gap in the labels": ({"y_train": np.arange(40) % 4 * 2}, ["y_train", "every label", "[0, 2, 4, 6]"]),
    "labels from 1": ({"y_train": np.arange(40) % 4 + 1}, ["y_train", "every label"]),
    "one class": ({"y_train": np.zeros(40, int)}, ["y_train", "at least two"]),
    "unseen test label": ({"y_test": np.arange(20) % 5}, ["y_test", "label 4"]),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arrays(tmp_path, arrays, case):
    changes, parts = WRONG[case]
    refused(save(tmp_path / "wrong.npz", arrays, **changes), "wrong.npz", *parts)


# --- parts of the data


def test_split_is_stratified_disjoint_and_complete(mnist):
    x = np.arange(60000)  # each image's number stands for the image
    (x_train, y_train), (x_val, y_val) = data.split(x, mnist.y_train, 6000, seed=1)
    assert len(x_train) == 54000 and len(x_val) == 6000
    assert np.array_equal(np.sort(np.concatenate([x_train, x_val])), x)
    assert np.array_equal(mnist.y_train[x_val], y_val) and np.array_equal(mnist.y_train[x_train], y_train)
    assert np.abs(np.bincount(y_val) - np.bincount(mnist.y_train) / 10).max() <= 1


def test_the_reference_split_is_the_one_that_the_shipped_network_has_learned_from(mnist):
    (x, _), (x_val, y_val) = data.reference_split(mnist)
    assert len(x) == 54000 and len(x_val) == len(y_val) == 6000
    assert hashlib.sha256(x_val.tobytes()).hexdigest()[:16] == "79c5371072d8b9c9"


def test_split_depends_on_the_seed_alone(mnist):
    x = np.arange(60000)
    first, again, other = (data.split(x, mnist.y_train, 6000, seed=seed)[1][0] for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    # Random, not the first or last ones of each class.
    assert abs(first.mean() - 30000) < 1000


@pytest.mark.parametrize("size", [-1, 0, 40, 41])
def test_split_needs_two_parts(arrays, size):
    with pytest.raises(UserError, match=f"VALIDATION = {size} must lie between 1 and 39"):
        data.split(arrays["x_train"], arrays["y_train"], size)


def test_subset_keeps_proportions_and_pairs(mnist):
    x, y = data.subset(np.arange(60000), mnist.y_train, 777, seed=3)
    assert len(np.unique(x)) == 777 and np.array_equal(mnist.y_train[x], y)
    assert np.abs(np.bincount(y) - np.bincount(mnist.y_train) * 777 / 60000).max() <= 1
    assert np.array_equal(x, data.subset(np.arange(60000), mnist.y_train, 777, seed=3)[0])
    assert not np.array_equal(x, data.subset(np.arange(60000), mnist.y_train, 777, seed=4)[0])


def test_subset_of_everything_is_everything(arrays):
    x, y = data.subset(arrays["x_train"], arrays["y_train"], 1000)
    assert np.array_equal(x, arrays["x_train"]) and np.array_equal(y, arrays["y_train"])


def test_to_input():
    x = np.array([0, 51, 255], np.uint8).repeat(784).reshape(3, 28, 28)
    result = data.to_input(x)
    assert result.shape == (3, 28, 28, 1) and result.dtype == np.float32
    assert result[:, 0, 0, 0].tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("bad", [np.zeros((2, 28, 28)), np.zeros((28, 28), np.uint8), np.zeros((1, 32, 32), np.uint8)])
def test_to_input_refuses(bad):
    with pytest.raises(UserError, match="uint8 of shape"):
        data.to_input(bad)
