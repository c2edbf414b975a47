"""Command lines: what they say and how they end, and what is kept from the terminal."""

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from helpers.errors import UserError

if TYPE_CHECKING:
    import argparse

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130  # exit codes, as shells know them


class WrongUsage(UserError):
    """A UserError that shows before any work has begun: the command line has to be changed."""


@contextmanager
def checking() -> Iterator[None]:
    """Turns what fails inside into WrongUsage: for the part of a `command` that only checks what it was given."""
    try:
        yield
    except (UserError, OSError) as error:
        raise WrongUsage(_sentence(error)) from error


def command(main: Callable[..., int | None]) -> Callable[..., int]:
    """Decorates the main function of a command line, which returns its exit code (None is 0).

    A UserError becomes one sentence on stderr and exit code 1, or 2 inside `checking`. Ctrl-C gives 130 and the
    sentence of the KeyboardInterrupt if it has one; a closed pipe ends quietly with 1.
    """

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> int:
        """`main`, with what it raises as one sentence and an exit code."""
        _open_streams()
        try:
            code = main(*args, **kwargs) or 0
            sys.stdout.flush()
            return code
        except KeyboardInterrupt as error:
            sentence, code = f"\n{error if error.args else 'Interrupted.'}", INTERRUPTED
        except BrokenPipeError:  # whoever read the output has seen enough, such as head
            sentence, code = "", FAILED
        except (UserError, OSError) as error:  # such as a full disk behind stdout
            sentence, code = f"Error: {_sentence(error)}", WRONG_USAGE if isinstance(error, WrongUsage) else FAILED
        for number, stream, text in ((1, sys.stdout, ""), (2, sys.stderr, sentence and f"{sentence}\n")):
            try:
                print(text, end="", file=stream, flush=True)
            except OSError:  # Python would try again at its exit, and change the exit code
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        return code

    return wrapped


@contextmanager
def interrupted_after() -> Iterator[None]:
    """Ctrl-C waits until the imports inside have ended: OpenCV, for one, makes "install numpy" of one in the middle."""
    if threading.current_thread() is not threading.main_thread():  # where Python delivers no signals
        yield
        return
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt


def add_scheduler_option(parser: "argparse.ArgumentParser", note: str = "") -> None:
    """Adds `--scheduler`, for `helpers.pool`; its default is Dask's own variable DASK_SCHEDULER_ADDRESS, else None."""
    text = "run on a Dask cluster: tcp://HOST:PORT, tls://HOST:PORT or a scheduler file (DASK_SCHEDULER_ADDRESS)"
    default = os.environ.get("DASK_SCHEDULER_ADDRESS") or None
    parser.add_argument("--scheduler", metavar="ADDRESS", default=default, help=text + note)


def _sentence(error: UserError | OSError) -> str:
    if isinstance(error, UserError):
        return str(error)
    place = f" ({error.filename})" if error.filename else ""
    return f"The system refused: {error.strerror or error}{place}."


def _open_streams() -> None:
    """Opens the null device for each standard stream that is closed, or the next file opened would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)


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
