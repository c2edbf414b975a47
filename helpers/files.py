"""Files written whole or not at all, JSON, and checksums."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from helpers import paths
from helpers.errors import UserError

PARTIAL = ".partial-"

# SHA-256 of each data set that `data.load` has read in this process, by the name it was asked for; manifests record it.
digests: dict[str, str] = {}


@contextmanager
def atomic(path: Path, other: str = "") -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` when the block ends well, else deletes it.

    The temporary name keeps the suffix, since Keras and Matplotlib choose the format by it.
    Raises UserError where the folder cannot be written or the disk is full; it advises to choose `other`,
    or for the folder of runs another one.
    """
    path = Path(path)
    partial = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())  # on disk before the name is: a power cut must not leave an empty file
        os.replace(partial, path)
    except OSError as error:
        if not other and path.absolute().is_relative_to(paths.outputs()):
            other = "another folder with the variable OUTPUTS_DIR"
        advice = "free some space" + (f" or choose {other}" if other else "")
        reason = error.strerror or str(error)
        raise UserError(f"{paths.display(path)} could not be written ({reason}): {advice}.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)  # still there only if the block failed


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Writes `value` as readable JSON, atomically. NumPy numbers become plain ones."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=_plain) + "\n")


def _plain(value: object) -> object:
    """NumPy scalars and arrays, and paths, as JSON knows them."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def read_json(path: Path) -> dict:
    """Reads JSON; raises UserError that names the file if it is damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{paths.display(path)} cannot be read ({error}): delete it and run again.") from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
