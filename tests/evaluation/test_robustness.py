"""helpers.evaluation.robustness: the means that are reported."""

import pandas as pd
import pytest

from helpers.evaluation import robustness
from helpers.evaluation.corruptions import CORRUPTIONS, GEOMETRIC


def test_means_leave_out_identity_and_what_augmentation_shows():
    accuracy = pd.Series(dict.fromkeys(CORRUPTIONS, 0.5) | dict.fromkeys(GEOMETRIC, 1.0) | {"identity": 1.0})
    accuracy["fog"] = 0.2
    found = robustness.means(accuracy)
    assert found["mean"] == pytest.approx((4 + 10 * 0.5 + 0.2) / 15)
    assert found["mean_unseen"] == pytest.approx((10 * 0.5 + 0.2) / 11)
    assert found["lowest"] == 0.2
