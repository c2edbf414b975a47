"""helpers.notebook.checks.notebook_09: right answers pass, plausible wrong ones do not."""

import numpy as np


def test_09_1_wants_the_kernel_in_fifteen_values(said):
    w = np.random.default_rng(0).normal(size=(5, 5, 3, 8)).astype("float32")
    scale = np.abs(w).max() / 7
    right = np.round(w / scale) * scale
    assert "correct" in said("09.1", right, w=w) and "correct" in said("09.1", right.tolist(), w=w)
    assert "whole numbers" in said("09.1", np.round(w / scale).astype("int8"), w=w)
    assert "not 8" in said("09.1", np.round(w / np.abs(w).max() * 8) * np.abs(w).max() / 8, w=w)
    assert "more than 15" in said("09.1", w, w=w)
    assert "more than 15" in said("09.1", np.round(w / np.abs(w).max() * 127) * np.abs(w).max() / 127, w=w)
    assert "shape" in said("09.1", right.ravel(), w=w)
    for wrong in (None, [], "coarse", 0 * w, np.floor(w / scale) * scale, np.round(w / scale / 2) * 2 * scale):
        assert "not yet" in said("09.1", wrong, w=w)


def test_09_2_wants_the_accuracy_after_careless_calibration(said):
    def export(model, representative_dataset, **options):
        return float(next(representative_dataset()).max())  # the file of this stand-in is what it was calibrated to

    def calibration(images):
        yield images

    def classify(file, x):
        return file, x.max()

    def share_right(answers, y):
        return {(255, 1): 0.4, (1, 1): 0.9, (255, 255): 0.8}[answers]

    ones = np.ones((300, 28, 28, 1))
    variables = {
        "export": export, "classify": classify, "share_right": share_right, "calibration": calibration, "integer": {},
        "tuned": None, "lite": {"int8": 1}, "x_train": ones, "x_val": ones, "y_val": None,
    }  # fmt: skip
    assert "correct" in said("09.2", np.float64(0.4), **variables)
    assert "with 0 to 1" in said("09.2", 0.9, **variables)
    assert "in use" in said("09.2", 0.8, **variables)
    for wrong in (40, 0, True, "0.4", None, [0.4]):
        assert "not yet" in said("09.2", wrong, **variables)


def test_09_3_wants_all_right_letters_and_no_other(said):
    assert "correct" in said("09.3", "abd") and "correct" in said("09.3", "D, A, B")
    for wrong in ("", "a", "ab", "abcd", "abde", "abcde", "cde", None, 2):
        assert "not yet" in said("09.3", wrong)


class Student:
    """Reads a share of the images right."""

    def __init__(self, right, parameters=2_799, outputs=10):
        self.right, self.parameters, self.output_shape = right, parameters, (None, outputs)

    def count_params(self):
        return self.parameters

    def predict(self, x, batch_size, verbose):
        return np.eye(10)[np.where(np.arange(len(x)) < self.right * len(x), 1, 0)]


def test_09_4_wants_a_small_network_nearly_as_good(said):
    variables = {"by_labels": Student(0.98), "num_classes": 10, "x_val": np.zeros(100), "y_val": np.ones(100)}
    for good in (Student(0.98), Student(0.95, 3_000), Student(1.0, 100)):
        assert "correct" in said("09.4", good, **variables)
    assert "more than 3,000" in said("09.4", Student(0.99, 3_001), **variables)
    assert "94.0%" in said("09.4", Student(0.94), **variables)
    assert "10 logits" in said("09.4", Student(0.98, outputs=128), **variables)
    for wrong in (None, 0.98, "small", []):
        assert "Keras network" in said("09.4", wrong, **variables)
