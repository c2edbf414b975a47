"""helpers.notebook.checks.notebook_08: right answers pass, plausible wrong ones do not."""

import numpy as np
import pandas as pd

TABLE = pd.DataFrame(
    {"report": [0.99, 0.8, 0.5, 0.6, 0.95], "baseline": [0.99, 0.1, 0.9, 0.55, 0.1]},
    index=["clean", "fog", "translate", "stripe", "brightness"],
)


def test_08_1_wants_the_names_beyond_ten_points(said):
    for right in (["fog", "brightness"], pd.Index(["brightness", "fog"]), ("fog", "brightness")):
        assert "correct" in said("08.1", right, table=TABLE)
    assert "baseline leads" in said("08.1", ["translate"], table=TABLE)
    assert "less than 10" in said("08.1", ["fog", "brightness", "stripe"], table=TABLE)
    for wrong in ([], ["fog"], "fog", 2, None, list(TABLE.index)):
        assert "not yet" in said("08.1", wrong, table=TABLE)


def test_08_2_wants_half_the_sum_of_the_kernel(said):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 1, 32))
    sums = kernel.sum(axis=(0, 1, 2))
    assert "correct" in said("08.2", 0.5 * sums, kernel=kernel)
    assert "correct" in said("08.2", 0.5 * kernel.sum(axis=(0, 1)), kernel=kernel)
    assert "brightness 1" in said("08.2", sums, kernel=kernel)
    for wrong in (0.5 * kernel.mean(axis=(0, 1, 2)), 0.5 * kernel.sum(), 0.5 * kernel, np.zeros(32), [], "half", None):
        assert "not yet" in said("08.2", wrong, kernel=kernel)


def test_08_3_wants_all_pictures_read_with_the_statistics_of_the_1s(said):
    images, few_y = np.arange(10.0), np.array([1, 1, 1, 0, 0, 0, 0, 2, 2, 2])
    state = {"copy": None}

    def adaptable(model):
        def copy(x, training):
            state["copy"] = len(x)

        return copy

    def accuracy(model, x, y):
        return 0.7 if len(x) == 10 and state["copy"] == 3 else 0.9

    variables = {
        "adaptable": adaptable, "accuracy": accuracy, "baseline": None, "few_y": few_y, "table": TABLE,
        "changed": {"brightness": images}, "adapted": pd.DataFrame({"baseline": {"brightness": 0.99}}),
    }  # fmt: skip
    assert "correct" in said("08.3", np.float64(0.7), **variables)
    assert "all classes" in said("08.3", 0.99, **variables)
    assert "as trained" in said("08.3", 0.1, **variables)
    assert "1s alone" in said("08.3", 0.9, **variables)
    for wrong in (0.5, 70, 0, True, "0.7", None, [0.7]):
        assert "not yet" in said("08.3", wrong, **variables)


def test_08_4_wants_all_right_letters_and_no_other(said):
    assert "correct" in said("08.4", "ac") and "correct" in said("08.4", "C, A")
    for wrong in ("", "a", "c", "abc", "acd", "ace", "abcde", None, 2):
        assert "not yet" in said("08.4", wrong)


def test_08_5_wants_a_share_of_the_accepted(said):
    sure, answers = np.array([0.999, 0.999, 0.999, 0.999, 0.5]), [0, 0, 0, 1, 1]
    p = np.stack([np.where(np.array(answers) == k, sure, 1 - sure) for k in (0, 1)], axis=1)
    few_y = np.array([0, 1, 1, 1, 0])  # four accepted, two of them wrong
    assert "correct" in said("08.5", (0.8, 0.5), p=p, few_y=few_y)
    assert "of all pictures" in said("08.5", (0.8, 0.4), p=p, few_y=few_y)
    for wrong in ((0.5, 0.8), (80, 50), (0.8,), 0.8, (0.2, 0.5), (1.0, 0.6), (None, 0.5), "0.8 0.5", None):
        assert "not yet" in said("08.5", wrong, p=p, few_y=few_y)
    right = np.array([0, 0, 0, 0, 0])  # one of four wrong
    assert "that is right" in said("08.5", (0.8, 0.75), p=p, few_y=right)
    assert "correct" in said("08.5", (0.8, 0.25), p=p, few_y=right)


class Reader:
    """Reads a 3 where the first pixel is dark enough, else a 1."""

    def predict(self, images, verbose):
        return {"logits": np.eye(10)[np.where(images[:, 0, 0, 0] > 0.05, 3, 1)]}


def test_08_6_wants_more_threes_within_the_box(said):
    x = np.zeros((20, 28, 28, 1), "float32")
    x[:2, 0, 0, 0] = 0.06  # read as 3 from the start

    def downhill(network, images, target):
        return np.where(np.arange(28 * 28).reshape(28, 28, 1) == 0, -1.0, 0.0) + 0 * images

    variables = {"victims": (x, np.ones(20)), "network": Reader(), "target": np.full(20, 3), "gradient": downhill}
    forged = x.copy()
    forged[:, 0, 0, 0] = 0.09
    assert "correct" in said("08.6", forged, **variables)
    assert "Read as a 3: 10%. One step of the right kind reaches 100%" in said("08.6", x, **variables)
    assert "wrong way" in said("08.6", np.maximum(x - 0.05, 0), **variables)
    assert "more than 0.1" in said("08.6", forged + 0.1, **variables)
    assert "outside" in said("08.6", forged - 0.05, **variables)
    for wrong in (None, 3, [], x[..., 0], "forged"):
        assert "not yet" in said("08.6", wrong, **variables)
