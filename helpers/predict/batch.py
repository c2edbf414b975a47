"""Many pictures, and the command line: finds files, reads them on all cores, keeps what is done.

Used as python -m helpers.predict. Memory holds the names of all files but the pixels of one picture a process.
Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import argparse
import csv
import hashlib
import io
import itertools
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import cv2
import numpy as np

from helpers import paths
from helpers.console import quiet_stderr
from helpers.errors import UserError
from helpers.predict.predictor import Predictor, Reading

# Files in folders are looked at if they are named so. HEIC cannot be read yet; a row that says so beats silence.
SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .mpo .webp .bmp .dib .tif .tiff .gif .ppm .pgm .pbm .pnm .heic .heif .avif".split()
)
COLUMNS = ("file", "status", "text", "confidence", "seconds", "reason")
FEW = 16  # so many files are read right here; other processes would take longer to start
AHEAD = 4  # files that a process has waiting, so that it never idles

Row = dict[str, object]
Read = Callable[[Iterable[str]], Iterator[Row]]


# Finding files ------------------------------------------------------------------------------------------------


def find_pictures(given: list[str], skip: Path | None = None) -> tuple[list[str], list[Row]]:
    """The files that are meant, each once, and a row for each folder that could not be opened.

    What is named is taken whatever its suffix. Folders are searched with all folders in them, sorted by name,
    links followed, hidden files and the folder `skip` left out. Raises UserError for a path that does not exist,
    and if nothing is found at all.
    """
    files: dict[str, None] = {}
    problems: list[Row] = []
    for name in given:
        if os.path.isdir(name):
            files |= dict.fromkeys(_walk(name, skip, problems))
        elif os.path.lexists(name):
            files[str(Path(name))] = None
        else:
            raise UserError(f"{printable(name)} does not exist: check the path.")
    if not files and not problems:
        raise UserError(f"No pictures found in {', '.join(printable(name) for name in given)}.")
    return list(files), problems


def _walk(top: str, skip: Path | None, problems: list[Row]) -> Iterator[str]:
    """The pictures in a folder and all below it; each real folder once, as links may lead round in a circle."""
    seen: set[tuple[int, int]] = set()

    def refused(error: OSError) -> None:
        """Notes a folder that may not be opened."""
        reason = f"The folder cannot be opened ({error.strerror})."
        problems.append(to_row(str(Path(error.filename)), Reading("error", reason=reason)))

    def is_new(folder: str) -> bool:
        """Whether a folder was not searched before: links may lead back to one."""
        try:
            entry = os.stat(folder)
        except OSError as error:
            refused(error)
            return False
        known = (entry.st_dev, entry.st_ino) in seen or (skip is not None and os.path.realpath(folder) == str(skip))
        seen.add((entry.st_dev, entry.st_ino))
        return not known

    is_new(top)
    for folder, below, names in os.walk(top, onerror=refused, followlinks=True):
        below[:] = [name for name in sorted(below) if name[0] != "." and is_new(os.path.join(folder, name))]
        for name in sorted(names):
            if name[0] != "." and os.path.splitext(name)[1].lower() in SUFFIXES:
                yield str(Path(folder, name))


# Rows ---------------------------------------------------------------------------------------------------------


def to_row(file: str, reading: Reading) -> Row:
    """A reading as plain values: the columns of the CSV file, and what only JSON shows."""
    row = {
        "file": file,
        "status": reading.status,
        "text": reading.text,
        "confidence": None if reading.confidence is None else round(reading.confidence, 4),
        "seconds": round(reading.seconds, 4),
        "reason": reading.reason,
    }
    if reading.probabilities is not None:
        row["probabilities"] = [round(float(p), 4) for p in reading.probabilities]
    if reading.characters:
        row["characters"] = [{"text": t, "confidence": round(c, 4), "box": b} for t, c, b in reading.characters]
    return row


def read_row(predictor: Predictor, file: str, line: bool = False, steps: str | None = None) -> Row:
    """Reads one file; whatever goes wrong becomes the row's reason. With `steps` writes its strip of steps there."""
    started = time.perf_counter()
    try:
        with quiet_stderr():  # what decoders note there about damaged files, the row says
            reading = predictor.read(Path(file), line=line)
        if steps and reading.steps:
            write_strip(Path(steps), file, reading)
        return to_row(file, reading)
    except UserError as error:
        reason = str(error)
    except Exception as error:  # one bad file must not stop the others, even where a library has a flaw
        reason = f"It could not be read ({type(error).__name__}: {error})."
    return to_row(file, Reading("error", reason=reason, seconds=time.perf_counter() - started))


def printable(text: str) -> str:
    """A text without control characters and undecodable bytes, which a terminal would act upon or choke on."""
    return "".join(c if c.isprintable() else "�" for c in text)


def to_line(row: Row, width: int) -> str:
    """A row as aligned text; `width` is that of the file names."""
    confidence = "" if row["confidence"] is None else f"{row['confidence']:.1%}"
    start = f"{printable(row['file']):<{width}}  {row['status']:<8}  {row['text']:<4}  {confidence:>10}"
    return f"{start}  {row['seconds']:>7.3f}  {printable(row['reason'])}".rstrip()


def in_order(rows: Iterable[Row], files: Iterable[str]) -> Iterator[Row]:
    """The rows in the order of `files`; those that come early wait."""
    early: dict[object, Row] = {}
    rows = iter(rows)
    for file in files:
        while file not in early:
            row = next(rows)
            early[row["file"]] = row
        yield early.pop(file)


# The CSV file -------------------------------------------------------------------------------------------------


class Results:
    """A CSV file to which rows are added one by one. `write` returns when the row is out of this process's hands.

    So a killed run keeps every row it finished; `finished` tells the next one which they are.
    """

    def __init__(self, path: Path, size: int):
        """Opens the file, cut to its first `size` bytes. Raises UserError if it cannot be written."""
        self.path = path
        try:
            self._file = open(path, "ab", buffering=0)
            self._file.truncate(size)
            if not size:
                self._write(COLUMNS)
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror}): choose another file.") from error

    def write(self, row: Row) -> None:
        """Adds a row. Raises UserError if the disk is full."""
        try:
            self._write(["" if row[column] is None else row[column] for column in COLUMNS])
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be written any more ({error.strerror}): free some space, then run the same "
                "command again; it goes on from here."
            ) from error

    def _write(self, values: Iterable[object]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(values)
        # A name that is no UTF-8 goes into the file as the bytes it has on disk.
        encoded = text.getvalue().encode("utf-8", "surrogateescape")
        while encoded:
            encoded = encoded[self._file.write(encoded) :]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def finished(path: Path) -> tuple[dict[str, str], int]:
    """The files that have a row in a CSV file, with their status, and how many bytes its whole rows take.

    What is after the last whole row was being written when a run was killed. Raises UserError if the file is not
    one that `Results` wrote.
    """
    try:
        if not os.path.lexists(path):
            return {}, 0
        if not path.is_file():
            raise UserError(f"{path} is no ordinary file: choose another one for the results.")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): choose another file.") from error
    size = content.rfind(b"\n") + 1
    while size and content[:size].count(b'"') % 2:  # a line break inside quotes, in the name of a file
        size = content.rfind(b"\n", 0, size - 1) + 1
    header = ",".join(COLUMNS)
    if not size and header.encode().startswith(content):
        return {}, 0
    try:
        lines = content[:size].decode("utf-8-sig", "surrogateescape").splitlines(keepends=True)
        rows = list(csv.reader(lines, strict=True))
    except (csv.Error, ValueError):
        rows = []
    if not rows or rows[0] != list(COLUMNS):
        raise UserError(f"{path} is there and holds no results of this program: choose another file.")
    return {row[0]: row[1] for row in rows[1:] if len(row) == len(COLUMNS)}, size


# Strips of steps ----------------------------------------------------------------------------------------------


def write_strip(folder: Path, file: str, reading: Reading) -> None:
    """Writes the steps of a reading side by side as one PNG, named after the file. UserError if that fails."""
    # Two files may have the same name in different folders, and a name may hold anything: a digest tells them apart.
    digest = hashlib.blake2b(os.fsencode(file), digest_size=6).hexdigest()
    name = re.sub(r"[^\w.-]", "_", printable(Path(file).name))[:40]
    target, partial = (folder / f"{start}{name}-{digest}.png" for start in ("", ".partial-"))
    _, encoded = cv2.imencode(".png", strip(reading, 640 if reading.characters else 160))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(encoded)
        os.replace(partial, target)
    except OSError as error:
        raise UserError(f"The steps cannot be written to {folder} ({error.strerror}).") from error


def strip(reading: Reading, side: int = 160) -> np.ndarray:
    """The steps of a reading side by side, each in `side`×`side` pixels with its name below: uint8 BGR."""
    panels = []
    for name, picture in reading.steps.items():
        scale = side / max(picture.shape[:2])
        height, width = (max(1, round(n * scale)) for n in picture.shape[:2])
        shown = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR if picture.ndim == 3 else cv2.COLOR_GRAY2BGR)
        shown = cv2.resize(shown, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
        panel = np.full((side + 24, side + 8, 3), 235, np.uint8)
        top, left = (side - height) // 2 + 4, (side - width) // 2 + 4
        panel[top : top + height, left : left + width] = shown
        label = name.replace("×", "x")  # OpenCV's own font has ASCII only
        cv2.putText(panel, label, (5, side + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
        panels.append(panel)
    return np.hstack(panels)


# Other processes ----------------------------------------------------------------------------------------------


@contextmanager
def reader(count: int, model: str | None = None, line: bool = False, steps: str | None = None) -> Iterator[Read]:
    """Yields a function that turns names of files into rows, as they are finished.

    `count` files are expected: many of them are read by one process a core, a few right here, in order.
    Raises UserError where the model cannot be used.
    """
    if count <= FEW:
        predictor = Predictor(model)
        yield lambda files: (read_row(predictor, file, line, steps) for file in files)
        return
    with closing(Workers({"model": model, "line": line, "steps": steps}, min(cores(), count))) as workers:
        yield workers.read


class Worker:
    """A process that reads pictures: names of files go in, rows come out, each a line of JSON.

    A plain child process with two pipes: it works from a notebook as from a script, on every system. It ends when
    its input ends, so also when its parent is killed.
    """

    def __init__(self, options: dict):
        """Starts the process. `options` are the arguments of `read_row` and the model."""
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(paths.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONSAFEPATH": "1",  # nothing from the folder of the pictures is imported
            "OMP_NUM_THREADS": "1",  # there is one process a core
            "OPENBLAS_NUM_THREADS": "1",
        }
        # Ctrl-C goes to a whole group of processes: here only the parent is to hear of it.
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"process_group": 0}
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from helpers import batch; batch.work()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="ascii", env=environment, **group,
        )  # fmt: skip
        self.send(options)

    def send(self, value: object) -> None:
        """Hands over a value. That the process is dead shows when its answer does not come."""
        try:
            print(json.dumps(value), file=self._process.stdin, flush=True)
        except OSError:
            pass

    def receive(self) -> dict | None:
        """The next answer; None if the process is dead."""
        line = self._process.stdout.readline()
        return json.loads(line) if line.endswith("\n") else None

    def stop(self) -> None:
        """Ends the process at once and frees what it held."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        try:
            self._process.stdin.close()
        except OSError:  # what was to be sent cannot be any more
            pass


def work() -> None:
    """What a `Worker` runs: reads options, then names of files, and answers with rows until its input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what a library prints must not come between the rows
    cv2.setNumThreads(1)

    def answer(value: object) -> None:
        """Sends a value to the parent, one line of JSON."""
        print(json.dumps(value), file=answers, flush=True)

    options = json.loads(sys.stdin.readline())
    try:
        predictor = Predictor(options.pop("model"))
    except UserError as error:
        return answer({"refused": str(error)})
    answer({"ready": True})
    try:
        for line in sys.stdin:
            answer(read_row(predictor, json.loads(line), **options))
    except BrokenPipeError:  # the parent was killed
        os._exit(1)


class Workers:
    """Some `Worker` processes and, for each, a thread that keeps it busy."""

    def __init__(self, options: dict, count: int):
        """Starts `count` processes. Raises UserError if they cannot work, such as without a model."""
        self._options = options
        self._workers: set[Worker] = set()
        self._lock = threading.Lock()
        self._stopped = False
        try:
            self._first = [self._ready(worker) for worker in [self._start() for _ in range(count)]]
        except BaseException:  # Ctrl-C too
            self.close()
            raise

    def _start(self) -> Worker:
        with self._lock:
            worker = Worker(self._options)
            self._workers.add(worker)
        return worker

    def _ready(self, worker: Worker) -> Worker:
        """Waits until a process, or another one in its place, is ready. Raises UserError if none is going to be."""
        for _ in range(3):
            state = worker.receive()
            if state and "refused" in state:
                raise UserError(state["refused"])
            if state or self._stopped:
                return worker
            worker = self._renew(worker)
        raise UserError("The processes that read pictures end at their start, perhaps for lack of memory.")

    def _renew(self, dead: Worker) -> Worker:
        """A new process in place of a dead one."""
        dead.stop()
        with self._lock:
            self._workers.discard(dead)
        return self._start()

    def read(self, files: Iterable[str]) -> Iterator[Row]:
        """The rows of files, as they are finished. May be called once.

        A file that kills its process (or whose process is killed) is tried again in a new one; if that dies too,
        its row says so, and the others go on.
        """
        waiting, rows = iter(files), queue.SimpleQueue()
        threads = [
            threading.Thread(target=self._serve, args=(worker, waiting, rows), daemon=True) for worker in self._first
        ]
        for thread in threads:
            thread.start()
        busy = len(threads)
        while busy:
            row = rows.get()
            if row is None:
                busy -= 1
            elif isinstance(row, BaseException):
                raise row
            else:
                yield row

    def _serve(self, worker: Worker, files: Iterator[str], rows: queue.SimpleQueue) -> None:
        """Gives one process files as long as there are any; puts rows, an exception, or None at the end."""
        try:
            sent: deque[str] = deque()
            suspect = None
            while not self._stopped:
                while len(sent) < AHEAD and (file := self._next(files)) is not None:
                    sent.append(file)
                    worker.send(file)
                if not sent:
                    break
                row = worker.receive()
                if row is None and not self._stopped:  # the process died on the first of the files it was sent
                    if suspect != sent[0]:
                        suspect = sent[0]
                    else:
                        reason = "The process that read it died twice, perhaps for lack of memory."
                        rows.put(to_row(sent.popleft(), Reading("error", reason=reason)))
                    worker = self._ready(self._renew(worker))
                    for file in sent:
                        worker.send(file)
                elif row is not None:
                    sent.popleft()
                    rows.put(row)
            rows.put(None)
        except BaseException as error:  # whatever it is, the thread that waits for rows has to hear of it
            rows.put(error)

    def _next(self, files: Iterator[str]) -> str | None:
        with self._lock:
            return next(files, None)

    def close(self) -> None:
        """Ends all processes."""
        self._stopped = True
        with self._lock:
            for worker in self._workers:
                worker.stop()


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# The command line ---------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 all read, 1 an error in some file, 2 wrong usage, 130 interrupted."""
    args = _arguments(argv)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character shows another
    started = False
    try:
        files, problems, done, size = _prepare(args)
        counts = Counter(done.values())
        with reader(len(files), args.model, args.line, args.steps) as read, _output(args, files, size) as put:
            started, before = True, time.perf_counter()
            rows = _progress(itertools.chain(problems, read(files)), len(problems) + len(files), args)
            # On the screen in the order of the files; in a CSV file at once, so that none can be lost.
            for row in rows if args.csv else in_order(rows, [row["file"] for row in problems] + files):
                put(row)
                counts[row["status"]] += 1
        if args.csv and not args.json:
            seconds = time.perf_counter() - before
            earlier = f"{len(done):,} had a row already. " if done else ""
            kinds = ", ".join(f"{counts[status]:,} {status}" for status in ("ok", "rejected", "error"))
            print(f"{counts.total() - len(done):,} files in {seconds:.1f} s. {earlier}{args.csv}: {kinds}.")
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1 if started else 2
    except KeyboardInterrupt:
        kept = f": the rows so far are in {args.csv}, and the same command goes on from there" if args.csv else ""
        print(f"\nInterrupted{kept}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the rows has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return 1 if counts["error"] else 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line taken apart; argparse itself ends the program, with code 2, where it cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m helpers.predict",
        description="Read the handwritten digit in each picture, or say why not. A row per picture: "
        f"{', '.join(COLUMNS)}. Status is ok, rejected (no digit: see reason) or error (no picture: see reason).",
        epilog="Exit code: 0 every file was read (rejected counts as read), 1 some file was an error, 2 wrong usage.",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="pictures, and folders that are searched for pictures at any depth"
    )
    parser.add_argument("--line", action="store_true", help="read all digits of a picture, not just one")
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="add the rows to this file as they are finished, not always in the order of the files; "
        "what has a row there already is skipped, so the same command goes on after an interruption",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="start the CSV file anew")
    parser.add_argument("--json", action="store_true", help="print rows as JSON, one object a line")
    parser.add_argument("--steps", metavar="DIR", help="write the steps of each picture there, as one PNG a picture")
    parser.add_argument("--model", metavar="FILE", help=".tflite or .keras file (default: the one that is shipped)")
    return parser.parse_args(argv)


def _prepare(args: argparse.Namespace) -> tuple[list[str], list[Row], dict[str, str], int]:
    """Checks everything before anything starts; raises UserError in one sentence.

    Returns the files to read, rows of problems with folders, the status of files read by an earlier run, and how
    many bytes of the CSV file are to be kept.
    """
    done, size = finished(args.csv) if args.csv else ({}, 0)
    if args.force:
        done, size = {}, 0
    files, problems = find_pictures(args.paths, Path(os.path.realpath(args.steps)) if args.steps else None)
    if args.steps:
        try:
            os.makedirs(args.steps, exist_ok=True)
        except OSError as error:
            raise UserError(f"--steps {args.steps}: the folder cannot be made ({error.strerror}).") from error
    names = {*files, *(row["file"] for row in problems)}
    done = {name: status for name, status in done.items() if name in names}
    todo = [name for name in files if name not in done]
    return todo, [row for row in problems if row["file"] not in done], done, size


@contextmanager
def _output(args: argparse.Namespace, files: list[str], size: int) -> Iterator[Callable[[Row], None]]:
    """Yields what takes a row: to the CSV file, as JSON, or as aligned text. Raises UserError for a bad CSV file."""
    width = min(60, max(len(name) for name in [*files, "file"]))
    results = Results(args.csv, size) if args.csv else None
    if not results and not args.json:
        print(f"{'file':<{width}}  status    text  confidence  seconds  reason")

    def put(row: Row) -> None:
        """Writes a row wherever rows are wanted."""
        if results:
            results.write(row)
        if args.json:
            print(json.dumps(row), flush=True)
        elif not results:
            print(to_line(row, width), flush=True)

    with closing(results) if results else nullcontext():
        yield put


def _progress(rows: Iterable[Row], total: int, args: argparse.Namespace) -> Iterable[Row]:
    """The rows, with a bar on the terminal if there are many and nothing else is written there."""
    rows_shown = (args.json or not args.csv) and sys.stdout.isatty()
    if total <= FEW or rows_shown or not sys.stderr.isatty():
        return rows
    from tqdm import tqdm  # takes longer to import than a picture to read

    return tqdm(rows, total=total, unit=" pictures")
