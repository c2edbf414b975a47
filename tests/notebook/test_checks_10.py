"""helpers.notebook.checks.notebook_10: right answers pass, plausible wrong ones do not."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from helpers import evaluation


def test_10_1_wants_the_class_with_the_smallest_recall(said):
    other_y = np.repeat([0, 1, 2], 10)
    read = other_y.copy()
    read[10:14] = 0  # four 1s are read as 0: recall of 1 is 60 %, and precision of 0 71 %
    variables = {"answers": {"baseline": {"others": read}}, "other_y": other_y}
    for right in (1, np.int64(1), 1.0):
        assert "correct" in said("10.1", right, **variables)
    assert "smallest precision" in said("10.1", 0, **variables)
    assert "no class 7" in said("10.1", 7, **variables)
    for wrong in (2, 0.6, [0.6], "1", True, None):
        assert "not yet" in said("10.1", wrong, **variables)


def test_10_2_wants_all_right_letters_and_no_other(said):
    assert "correct" in said("10.2", "acd") and "correct" in said("10.2", ["D", "c", "a"])
    for wrong in ("", "a", "ac", "abcd", "acde", "b", None, 3):
        assert "not yet" in said("10.2", wrong)


def test_10_3_wants_four_dense_layers_with_biases(said):
    attention = SimpleNamespace(count_params=lambda: 4224)
    variables = {"transformer": lambda: SimpleNamespace(get_layer=lambda name: attention)}
    assert "correct" in said("10.3", 4 * (32 * 32 + 32), **variables)
    assert "biases" in said("10.3", 4 * 32 * 32, **variables)
    assert "brings the heads together" in said("10.3", 3 * (32 * 32 + 32), **variables)
    assert "both blocks" in said("10.3", 8448, **variables)
    for wrong in (49 * 4224, 0, True, "4224", None, [4224]):
        assert "not yet" in said("10.3", wrong, **variables)


class Model:
    """Reads as it was told."""

    def __init__(self, read):
        self.read = np.array(read)

    def predict(self, x):
        return self.read


def test_10_4_wants_a_better_recall_and_no_worse_f1(said):
    val_y = np.repeat([0, 9], 10)
    half = np.where(np.arange(20) < 15, 0, 9)  # five of ten 9s are found
    plain = {"accuracy": 75.0, "recall of the 9": 50.0, "precision of the 9": 100.0, "macro F1": 70.0}
    variables = {
        "rare": 9, "val_x": None, "val_y": val_y, "predicted": lambda model, x: model.read,
        "judged": {("as it is", 0): plain, ("as it is", 1): plain, ("oversampling", 0): plain | {"macro F1": 100.0}},
    }  # fmt: skip
    assert "correct" in said("10.4", Model(val_y), **variables)
    assert "recall of the 9 is 50.0 %; at least 52.0 %" in said("10.4", Model(half), **variables)
    assert "macro F1 of 33.3 % is below" in said("10.4", Model([9] * 20), **variables)
    assert "one class per image" in said("10.4", Model([9]), **variables)
    for wrong in (None, 0.9, "network", []):
        assert "A trained model is wanted" in said("10.4", wrong, **variables)


def test_10_5_wants_a_share_of_the_fields(said):
    # 1,000 fields; the least sure are wrong: four of 1,000 may be with 99.5 %, none but one with 99.9 %.
    sure = np.linspace(0, 1, 1000)
    table = pd.DataFrame({"sure": sure, "right": np.arange(1000) >= 20})
    alone = pd.DataFrame({"sure": sure, "right": np.arange(1000) >= 100})
    variables = {"results": {"with checks": table, "digits alone": alone}, "evaluation": evaluation}
    assert "correct" in said("10.5", 0.016, **variables)
    assert "from 0 to 1" in said("10.5", 1.6, **variables) and "from 0 to 1" in said("10.5", 16, **variables)
    assert "99.9 %" in said("10.5", 0.02, **variables)
    assert "without checks" in said("10.5", 0.096, **variables)
    for wrong in (0, 0.5, "0.016", None, [0.016], True):
        assert "not yet" in said("10.5", wrong, **variables)
