"""Many pictures: finds files and reads them here, on all cores, or on a Dask cluster.

Memory holds the names of all files, but the pixels of only one picture per process. The command line is in
helpers/predict/__main__.py. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import faulthandler
import functools
import hashlib
import itertools
import os
import pickle
import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from helpers.console import quiet_stderr
from helpers.errors import UserError
from helpers.files import PARTIAL, atomic
from helpers.images.decode import pages
from helpers.predict.predictor import Predictor, Reading
from helpers.predict.results import Record, printable
from helpers.predict.tables import to_csv

if TYPE_CHECKING:
    from distributed import Client

# Files in folders are looked at if they are named so.
SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .mpo .webp .bmp .dib .tif .tiff .gif .ppm .pgm .pbm .pnm .heic .heif .avif .pdf".split()
)
STRIP = ".steps.png"  # how names of strips of steps end: they are not read as pictures later
TABLE = ".table.csv"  # how names of tables end
FEW = 16  # so many files are read right here; other processes would take longer to start
AHEAD = 4  # files that a process has waiting, so that it never idles
CHUNK = 64  # files per task of a cluster: a task costs some milliseconds
TIME_LIMIT = 300.0  # seconds after which reading a file is given up
STARTS = 10  # processes in a row that may die before they are ready; to give up ends everything
READY = "ready"
DIED = f"The process that read it died twice, for lack of memory or because it took over {TIME_LIMIT / 60:g} minutes."


# Finding files ------------------------------------------------------------------------------------------------


def find_pictures(given: list[str]) -> tuple[list[str], list[Record]]:
    """The files that are meant, each once, and a record for each folder that could not be opened.

    What is named is taken whatever its suffix. Folders are searched with all folders in them, sorted by name,
    links followed, hidden files and strips of steps left out. Raises UserError for a path that does not exist,
    and if nothing is found at all.
    """
    files: dict[str, None] = {}
    problems: list[Record] = []
    for name in given:
        if os.path.isdir(name):
            files |= dict.fromkeys(_walk(name, problems))
        elif os.path.lexists(name):
            files[str(Path(name))] = None
        else:
            raise UserError(f"{printable(name)} does not exist: check the path.")
    files = dict.fromkeys(page for name in files for page in _pages(name))
    if not files and not problems:
        raise UserError(f"No pictures found in {', '.join(printable(name) for name in given)}.")
    return list(files), problems


def _pages(name: str) -> list[str]:
    """The names of the pages of a PDF that has several, as `decode.read_image` takes them; of other files the name."""
    count = pages(name) if name.lower().endswith(".pdf") else 0
    return [f"{name}#{page}" for page in range(1, count + 1)] if count > 1 else [name]


def _walk(top: str, problems: list[Record]) -> Iterator[str]:
    """The pictures in a folder and all below it; each real folder once, as links may lead round in a circle."""
    seen: set[str] = set()

    def refused(error: OSError) -> None:
        """Notes a folder that may not be opened."""
        reason = f"The folder cannot be opened ({error.strerror})."
        problems.append(to_record(str(Path(error.filename)), Reading("error", reason=reason)))

    def is_new(folder: str) -> bool:
        """Whether a folder was not searched before: links may lead back to one."""
        known = len(seen)
        seen.add(os.path.realpath(folder))
        return len(seen) > known

    is_new(top)
    for folder, below, names in os.walk(top, onerror=refused, followlinks=True):
        below[:] = [name for name in sorted(below) if name[0] != "." and is_new(os.path.join(folder, name))]
        for name in sorted(names):
            is_picture = os.path.splitext(name)[1].lower() in SUFFIXES and not name.endswith(STRIP)
            if is_picture and name[0] != ".":
                yield str(Path(folder, name))


# One file -----------------------------------------------------------------------------------------------------


def to_record(file: str, reading: Reading) -> Record:
    """A reading as plain values: the columns of the CSV file, and what only JSON shows."""
    record = {
        "file": file,
        "status": reading.status,
        "text": reading.text,
        "confidence": None if reading.confidence is None else round(reading.confidence, 4),
        "seconds": round(reading.seconds, 4),
        "reason": printable(reading.reason),
    }
    if reading.probabilities is not None:
        record["probabilities"] = [round(float(p), 4) for p in reading.probabilities]
    if reading.characters:
        record["characters"] = [
            {"text": t, "confidence": round(c, 4), "box": b, "probabilities": [round(p, 4) for p in each]}
            for t, c, b, each in reading.characters
        ]
    if reading.cells:
        record["cells"] = [cell._asdict() | {"confidence": round(cell.confidence, 4)} for cell in reading.cells]
    return record


class Options(NamedTuple):
    """How a process is to read."""

    model: str | None = None
    line: bool = False
    steps: str | None = None  # the folder for strips of steps
    table: str | None = None  # the folder for tables; read as tables only if there is one
    time_limit: float = TIME_LIMIT  # in seconds, for one file
    network: str | None = None  # the SHA-256 of the model's file, by which a worker knows that its own is the same
    folder: str = ""  # where relative names start, if not in the working directory


def read_file(predictor: Predictor, file: str, options: Options) -> Record:
    """Reads one file, and writes its strip of steps and its table; whatever is wrong with it becomes the reason.

    Raises UserError if strip or table cannot be written: the disk is full, and it would be for the next file too.
    """
    steps, table = options.steps, options.table
    started = time.perf_counter()
    try:
        with quiet_stderr():  # what decoders note there about damaged files, the record says
            reading = predictor.read(Path(options.folder, file), line=options.line, table=bool(table))
    except Exception as error:  # one bad file must not stop the others, even where a library has a flaw
        reason = f"It could not be read ({type(error).__name__}: {error})."
        reading = Reading("error", reason=reason, seconds=time.perf_counter() - started)
    if steps and reading.steps:
        _, encoded = cv2.imencode(".png", strip(reading, 640 if reading.characters else 160))
        _write(Path(steps), file, STRIP, encoded, "another folder for --steps")
    if table and reading.cells:
        _write(Path(table), file, TABLE, to_csv(reading.cells).encode(), "another folder for --table")
    return to_record(file, reading)


def _write(folder: Path, file: str, suffix: str, content: bytes | np.ndarray, other: str) -> None:
    """Writes what belongs to a picture into a folder, named after it. Raises UserError, which names the `other` way."""
    # Two files may have the same name in different folders, and a name may hold anything: a digest tells them apart.
    digest = hashlib.blake2b(os.fsencode(file), digest_size=6).hexdigest()
    name = re.sub(r"[^\w.-]", "_", printable(Path(file).name))[:40]
    with atomic(folder / f"{name}-{digest}{suffix}", other) as partial:
        partial.write_bytes(content)


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


# Many files ---------------------------------------------------------------------------------------------------


@contextmanager
def reader(
    count: int, model: str | None = None, scheduler: str | None = None, **options
) -> Iterator[Callable[[Iterable[str]], Iterator[Record]]]:
    """Yields a function that turns names of files into records, as they are finished; `options` are those of `Options`.

    `count` files are expected: a few are read right here, in order, many by one process per core or, with
    `scheduler`, by the workers of a Dask cluster. There, a file that kills its process or takes longer than
    the time limit is tried again; after the second time its record says so, and the others go on. Raises
    UserError if the model or the cluster cannot be used, or if a strip or table cannot be written.
    """
    predictor = Predictor(model)
    options = Options(model, network=predictor.network.sha256, **options)
    if count <= FEW:
        yield lambda files: (read_file(predictor, file, options) for file in files)
    elif scheduler:
        from helpers.pool import cluster

        with cluster(scheduler) as client:
            yield functools.partial(_read_on_cluster, client, options)
    else:
        with ExitStack() as stack:
            workers = [stack.enter_context(closing(Worker(options))) for _ in range(min(cores(), count))]
            yield functools.partial(_read_in_processes, workers)


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """A child process that reads files, and is replaced when it dies. It ends with this process.

    A plain child with two pipes of its own. A process that is killed, at whatever moment, so leaves no lock held and
    no message half read for others, as in a pool with a shared queue (pebble's gave up after four kills); and it can
    be the child of a Dask worker, as multiprocessing's cannot.
    """

    def __init__(self, options: Options):
        """The process is started by `read`."""
        self._options, self._process, self._closed = options, None, False

    def read(self, files: Iterator[str]) -> Iterator[Record]:
        """The records of files, in order. Raises UserError if the process refuses, or cannot start."""
        sent: deque[str] = deque()
        deaths = 0  # of processes that were reading the first of `sent`
        try:
            while not self._closed:
                if not self._process:
                    self._start(sent)
                for file in itertools.islice(files, AHEAD - len(sent)):
                    sent.append(file)
                    self._send(file)
                if not sent:
                    return
                record = self._receive()
                if record is None:
                    self._stop()
                    deaths += 1
                    if deaths < 2:
                        continue
                    record = to_record(sent[0], Reading("error", reason=DIED))
                sent.popleft()
                deaths = 0
                yield record
        finally:
            if sent:  # its answers are not wanted any more
                self._stop()

    def close(self) -> None:
        """Ends the process for good."""
        self._closed = True
        self._stop()

    def _start(self, files: Iterable[str]) -> None:
        """Starts the process with its options and files, and waits until it is ready."""
        safe = {  # one core; and nothing that lies in the working directory is imported
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])),
            "PYTHONSAFEPATH": "1",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            # Memory of one picture is kept for the next. A Dask worker would have its children give it back at once,
            # which doubles the time of a phone photo.
            "MALLOC_MMAP_THRESHOLD_": str(2**25),
            "MALLOC_TRIM_THRESHOLD_": str(2**28),
        }
        # Ctrl-C goes to a whole group of processes: only this one is to hear of it.
        group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"process_group": 0}
        code = [sys.executable, "-c", "from helpers.predict import batch; batch.serve()"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        for _ in range(STARTS):
            self._process = subprocess.Popen(code, env=os.environ | safe, **pipes, **group)
            for value in (self._options, *files):
                self._send(value)
            if self._receive() == READY or self._closed:
                return
            self._stop()
        raise UserError("Processes that read pictures die at once, perhaps for lack of memory.")

    def _send(self, value: object) -> None:
        with suppress(OSError):  # that the process is dead shows when it does not answer
            pickle.dump(value, self._process.stdin)
            self._process.stdin.flush()

    def _receive(self) -> object:
        """The next answer of `serve`; None if the process is dead. Raises UserError if that is the answer."""
        answer = None
        with suppress(EOFError, OSError, ValueError, pickle.UnpicklingError):
            answer = pickle.load(self._process.stdout)
        if isinstance(answer, UserError):
            raise answer
        return answer

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            with suppress(OSError):
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):  # a dead network drive may hold it
                process.wait(1)
            for folder in filter(None, (self._options.steps, self._options.table)):
                for partial in Path(folder).glob(f"{PARTIAL}{process.pid}-*"):
                    partial.unlink(missing_ok=True)


def serve() -> None:
    """What the child of a `Worker` runs: takes Options, then names of files; answers READY, then with records."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the answers
    cv2.setNumThreads(1)
    options: Options = pickle.load(sys.stdin.buffer)
    nowhere = open(os.devnull, "w")

    def answer(value: object) -> None:
        """Sends a value to the parent."""
        pickle.dump(value, answers)
        answers.flush()

    with suppress(EOFError, BrokenPipeError):  # the parent has finished, or was killed
        try:
            predictor = Predictor(options.model)
            if predictor.network.sha256 != options.network:
                raise UserError("A worker has another model than this command: use the same checkout on all machines.")
            answer(READY)
            while True:
                file = pickle.load(sys.stdin.buffer)
                # Nothing else ends a decoder that hangs.
                faulthandler.dump_traceback_later(options.time_limit, exit=True, file=nowhere)
                answer(read_file(predictor, file, options))
                faulthandler.cancel_dump_traceback_later()
        except UserError as error:
            answer(error)


def _read_in_processes(workers: list[Worker], files: Iterable[str]) -> Iterator[Record]:
    """The records of files by several processes, each with a thread that keeps it busy."""
    files = list(files)
    waiting, answers = iter(files), queue.Queue(AHEAD * len(workers))

    def work(worker: Worker) -> None:
        """Passes on what one worker reads, or why it cannot."""
        try:
            for record in worker.read(waiting):
                answers.put(record)
        except BaseException as error:  # whatever it is, the thread that waits for records has to hear of it
            answers.put(error)

    for worker in workers:
        threading.Thread(target=work, args=(worker,), daemon=True).start()
    for _ in files:  # each has one answer
        answer = answers.get()
        if isinstance(answer, BaseException):
            raise answer
        yield answer


# A Dask cluster -----------------------------------------------------------------------------------------------


def _read_on_cluster(client: "Client", options: Options, files: Iterable[str]) -> Iterator[Record]:
    """The records of files, in chunks."""
    from helpers.pool import stream

    absolute = {name: os.path.abspath(path) for name in ("model", "steps", "table") if (path := getattr(options, name))}
    options, files = options._replace(folder=os.getcwd(), **absolute), iter(files)
    task = functools.partial(read_chunk, options=options)
    for chunk, future in stream(client, task, iter(lambda: tuple(itertools.islice(files, CHUNK)), ())):
        error = future.exception()
        if isinstance(error, UserError):
            raise error
        reason = f"The machines that were to read it went away ({type(error).__name__})."
        yield from (to_record(f, Reading("error", reason=reason)) for f in chunk) if error else future.result()


def read_chunk(files: tuple[str, ...], options: Options) -> list[Record]:
    """A task of a cluster: the records of some files. Raises UserError if they are out of sight, as `Worker.read`."""
    if not os.path.isdir(os.path.dirname(os.path.join(options.folder, files[0]))):
        raise UserError(f"A worker does not see the folder of {printable(files[0])}: share it, at the same path.")
    return list(_kept_worker(options, threading.get_ident()).read(iter(files)))


@functools.cache
def _kept_worker(options: Options, thread: int) -> Worker:
    """The child of one thread of a Dask worker, for all its tasks."""
    return Worker(options)
