"""Command lines end in one sentence and the right exit code."""

import pytest

from helpers.console import checking, command
from helpers.errors import UserError


def fail(error):
    raise error


def check(error):
    with checking():
        raise error


@pytest.mark.parametrize(
    "ends, error, code, said",
    [
        (fail, UserError("It is broken."), 1, "Error: It is broken.\n"),
        (check, UserError("It is wrong."), 2, "Error: It is wrong.\n"),
        (check, FileExistsError(17, "File exists", "x"), 2, "Error: The system refused: File exists (x).\n"),
        (fail, OSError(28, "No space left on device"), 1, "Error: The system refused: No space left on device.\n"),
        (fail, KeyboardInterrupt(), 130, "\nInterrupted.\n"),
        (fail, KeyboardInterrupt("Stopped; go on."), 130, "\nStopped; go on.\n"),
        (fail, BrokenPipeError(), 1, ""),
    ],
)
def test_how_commands_end(capsys, ends, error, code, said):
    assert command(ends)(error) == code
    assert capsys.readouterr() == ("", said)


def test_what_a_command_returns_is_its_exit_code():
    assert command(lambda: None)() == 0 and command(lambda code: code)(3) == 3


def test_a_flaw_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        command(lambda: 1 / 0)()
