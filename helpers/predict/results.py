"""What is known of each file: rows of a CSV file that survives a kill, and lines on a terminal."""

import csv
import io
import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from helpers.errors import UserError
from helpers.files import atomic

COLUMNS = ("file", "status", "text", "confidence", "seconds", "reason")
STATUSES = ("ok", "rejected", "error")

Record = dict[str, object]  # COLUMNS, and what only JSON shows

# A row as `Results` writes it; line ends may be those of a spreadsheet. A field is in quotes or has none inside. The
# possessive *+ never tries a shorter match: the time is linear even where a quotation mark is never closed.
_FIELD = r'(?:"[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)'
_ROW = re.compile(rf"({_FIELD}),({'|'.join(STATUSES)})(?:,{_FIELD}){{{len(COLUMNS) - 2}}}\r?\n")
_HEADER = re.compile(rf"\ufeff?{','.join(COLUMNS)}\r?\n")


class Results:
    """A CSV file to which rows are added one by one, by one process at a time.

    A row is handed to the operating system before `write` returns, so a killed run keeps every row it finished;
    `status` (file: status) tells the next run which they are. The file is changed by `start` and `write` only.
    """

    def __init__(self, path: Path):
        """Locks and reads the file. Raises UserError if it is in use, damaged, or not a file of results."""
        import filelock  # takes longer to import than a picture to read

        self.path = path
        self._target = Path(os.path.realpath(path))  # not a link to it, which would be replaced
        self._file, self._lock = None, filelock.FileLock(self._target.with_name(f".{self._target.name}.lock"))
        try:
            if os.path.lexists(self._target) and not self._target.is_file():
                raise UserError(f"{path} is no ordinary file: choose another one for the results.")
            os.stat(self._target.parent)  # which the lock would make
            if self._target.exists():
                open(self._target, "r+b").close()  # says now whether it may be written
            self._lock.acquire(timeout=0)
            self.status = {name: status for name, status, _ in self._rows()}
        except filelock.Timeout as error:
            raise UserError(f"Another run is writing {path}: wait for it, or choose another file.") from error
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}): choose another file.") from error
        except UserError:
            self.close()
            raise

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        """File, status and text of each whole row; afterwards `_is_whole` tells whether there was nothing else.

        Only the row that a killed run was writing may follow the last whole one. Raises UserError if something else
        does: after a stray quotation mark, all rows are one that was never finished.
        """
        text = self._target.read_bytes().decode("utf-8", "surrogateescape") if self._target.exists() else ""
        header = _HEADER.match(text)
        self._is_whole = False
        if not header and not f"{','.join(COLUMNS)}\n".startswith(text):
            raise UserError(f"{self.path} is there and holds no results of this program: choose another file.")
        end = header.end() if header else len(text)
        while row := _ROW.match(text, end):
            name = row[1][1:-1].replace('""', '"') if row[1].startswith('"') else row[1]
            yield name.removeprefix("./"), row[2], row[0]
            end = row.end()
        rest = text[end:].lstrip("\r\n")
        lines = re.findall(r"[^\n]*\n", rest.replace('"', ""))
        # In a row that is not finished, a line break can only be part of a name in quotes.
        if lines and (rest[0] != '"' or any(_ROW.fullmatch(line) for line in lines)):
            line = text.count("\n", 0, end) + 1
            raise UserError(f"{self.path} is damaged at line {line}: mend or delete that line, then run again.")
        self._is_whole = bool(header) and not rest

    def start(self, again: Collection[str] | None) -> None:
        """Opens the file for new rows, without those of the files in `again`; None stands for all files.

        If it has to be changed for that, it is replaced whole. Raises UserError if it cannot be written.
        """
        if again is None or again or not self._is_whole:
            rows = self._rows() if again is not None else ()
            with atomic(self._target, "another file") as partial:
                with open(partial, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                    file.write(",".join(COLUMNS) + "\n")
                    file.writelines(text for name, _, text in rows if name not in again)
                if self._target.exists():
                    os.chmod(partial, os.stat(self._target).st_mode)
        self._file = open(self._target, "ab", buffering=0)

    def write(self, record: Record) -> None:
        """Adds a row. Raises UserError if the disk is full."""
        text = io.StringIO()
        # With this line end csv puts names in quotes that hold either of its characters, in all versions of Python.
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(["" if record[c] is None else _disarmed(record[c]) for c in COLUMNS])
        # A name that is no UTF-8 goes into the file as the bytes it has on disk.
        encoded = text.getvalue().removesuffix("\r\n").encode("utf-8", "surrogateescape") + b"\n"
        try:
            while encoded:
                encoded = encoded[self._file.write(encoded) :]
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written any more ({error.strerror}): free some space, then run the same "
                "command again; it goes on from here."
            ) from error

    def close(self) -> None:
        """Closes the file and lets others use it."""
        if self._file:
            self._file.close()
        self._lock.release()


def _disarmed(value: object) -> object:
    """A value that no spreadsheet takes for a formula: `./` before a name that begins like one leaves it valid."""
    return f"./{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def printable(text: str) -> str:
    """A text without control characters and undecodable bytes, which a terminal would act upon or choke on."""
    return "".join(c if c.isprintable() else "�" for c in text)


def percent(p: float) -> str:
    """A confidence 0..1 for people, as pad.js writes it too; nothing is 100 % sure."""
    return "> 99.9 %" if p > 0.999 else f"{100 * p:.1f} %"


def to_line(record: Record, width: int) -> str:
    """A record as aligned text; `width` is that of the file names."""
    confidence = "" if record["confidence"] is None else percent(record["confidence"])
    start = f"{printable(record['file']):<{width}}  {record['status']:<8}  {record['text']:<4}  {confidence:>10}"
    return f"{start}  {record['seconds']:>7.3f}  {record['reason']}".rstrip()


def in_order(records: Iterable[Record], files: Iterable[str]) -> Iterator[Record]:
    """The records in the order of `files`; those that come early wait."""
    early: dict[object, Record] = {}
    records = iter(records)
    for file in files:
        while file not in early:
            record = next(records)
            early[record["file"]] = record
        yield early.pop(file)
