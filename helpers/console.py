"""Command lines: what they say and how they end, and what is kept from the terminal."""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from helpers.errors import UserError

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130  # exit codes, as shells know them


class WrongUsage(UserError):
    """A UserError that shows before any work has begun: the command line has to be changed."""


@contextmanager
def checking() -> Iterator[None]:
    """Turns a UserError inside into WrongUsage: for the part of a `command` that only checks what it was given."""
    try:
        yield
    except UserError as error:
        raise WrongUsage(str(error)) from error


def command(main: Callable[..., int | None]) -> Callable[..., int]:
    """Decorates the main function of a command line, which returns its exit code (None is 0).

    A UserError becomes one sentence on stderr and exit code 1, or 2 inside `checking`. Ctrl-C gives 130 and the
    sentence of the KeyboardInterrupt if it has one; a closed pipe ends quietly with 1. Closed standard streams lead
    nowhere, so that no file opened later takes their place.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> int:
        _open_streams()
        try:
            code = main(*args, **kwargs)
            sys.stdout.flush()
            return code or 0
        except WrongUsage as error:
            return _end(f"Error: {error}", WRONG_USAGE)
        except UserError as error:
            return _end(f"Error: {error}", FAILED)
        except KeyboardInterrupt as error:
            return _end(f"\n{error}" if error.args else "\nInterrupted.", INTERRUPTED)
        except BrokenPipeError:  # whoever read the output has seen enough, such as head
            return _end("", FAILED)
        except OSError as error:  # a full disk behind stdout, for one
            place = f" ({error.filename})" if error.filename else ""
            return _end(f"Error: The system refused: {error.strerror or error}{place}.", FAILED)

    return wrapped


def _open_streams() -> None:
    """Opens the null device in place of each standard stream that is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


def _end(sentence: str, code: int) -> int:
    """Says the last sentence. What stdout could not take is dropped, or Python would complain about it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if sentence:
        with suppress(OSError):
            print(sentence, file=sys.stderr, flush=True)
    return code


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Sends what C++ libraries write to file descriptor 2 nowhere; Python's own exceptions still surface.

    LiteRT and TensorFlow greet there, TensorFlow while it is imported, before any of its log settings count.
    """
    try:
        saved = os.dup(2)
    except OSError:  # closed: nobody would see it anyway
        yield
        return
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
