"""What goes to the terminal, and what is kept from it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


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
