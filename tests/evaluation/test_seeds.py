"""helpers.evaluation.seeds: figures as text."""

from helpers.evaluation.seeds import spread


def test_spread_is_in_percent():
    assert spread(0.9956, 0.0012) == "99.56 ± 0.12"
    assert spread(0.5) == "50.00" and spread(None, None) == "–"
