"""What the tests of the exercises share."""

import pytest

from helpers.notebook import exercises


@pytest.fixture
def said(capsys, monkeypatch):
    """The verdict on an answer, given a notebook's variables."""

    def check(number, answer, **variables):
        monkeypatch.setattr(exercises, "variables", variables)
        exercises.check(number, answer)
        return capsys.readouterr().out

    return check
