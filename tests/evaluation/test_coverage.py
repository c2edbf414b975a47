"""helpers.evaluation.confidence: known values."""

import numpy as np
import pytest

from helpers.evaluation import confidence


def test_risk_coverage_by_hand():
    curve = confidence.risk_coverage(np.array([0.2, 0.9, 0.5, 0.7]), np.array([True, True, False, True]))
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1]
    assert curve["accuracy"].tolist() == pytest.approx([1, 1, 2 / 3, 3 / 4])
    assert confidence.accuracy_at_coverage(curve, 0.5) == 1
    assert confidence.accuracy_at_coverage(curve, 1.0) == 0.75
    assert confidence.images_to_human(curve, 0.7) == 0
    assert confidence.images_to_human(curve, 0.99) == 2
    assert confidence.images_to_human(confidence.risk_coverage(np.ones(3), np.zeros(3, bool)), 0.5) == 3


def test_importing_it_leaves_tensorflow_out():
    import subprocess
    import sys

    code = "import helpers.evaluation, sys; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
