"""Many pictures: finds files and reads them here, on all cores, or on a Dask cluster.

Memory holds the names of all files, but the pixels of only one picture per process. The command line is in
helpers/predict/__main__.py. Explained in notebooks/06_custom_image_prediction.ipynb.
"""

import faulthandler
import functools
import hashlib
import itertools
import os
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from helpers.console import quiet_stderr
from helpers.errors import UserError
from helpers.files import atomic
from helpers.predict.predictor import Predictor, Reading
from helpers.predict.results import Record, printable

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from distributed import Client

# Files in folders are looked at if they are named so. HEIC cannot be read yet; a row that says so beats silence.
SUFFIXES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .mpo .webp .bmp .dib .tif .tiff .gif .ppm .pgm .pbm .pnm .heic .heif .avif".split()
)
STRIP = ".steps.png"  # how names of strips of steps end: they are not read as pictures later
FEW = 16  # so many files are read right here; other processes would take longer to start
AHEAD = 4  # files that a process has waiting, so that it never idles
CHUNK = 64  # files per task of a cluster: a task costs some milliseconds
TIME_LIMIT = 300.0  # seconds after which reading a file is given up
SLOW = 10.0  # seconds: more than the slowest picture took
STARTS = 3  # processes in a row that may die before they are ready
DIED = f"The process that read it died twice, for lack of memory or because it took over {TIME_LIMIT / 60:g} minutes."

# Every process has one core; and nothing that lies in the working directory is imported.
SAFE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}


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
    if not files and not problems:
        raise UserError(f"No pictures found in {', '.join(printable(name) for name in given)}.")
    return list(files), problems


def _walk(top: str, problems: list[Record]) -> Iterator[str]:
    """The pictures in a folder and all below it; each real folder once, as links may lead round in a circle."""
    seen: set[tuple[int, int]] = set()

    def refused(error: OSError) -> None:
        """Notes a folder that may not be opened."""
        reason = f"The folder cannot be opened ({error.strerror})."
        problems.append(to_record(str(Path(error.filename)), Reading("error", reason=reason)))

    def is_new(folder: str) -> bool:
        """Whether a folder was not searched before: links may lead back to one."""
        try:
            entry = os.stat(folder)
        except OSError as error:
            refused(error)
            return False
        known = (entry.st_dev, entry.st_ino) in seen
        seen.add((entry.st_dev, entry.st_ino))
        return not known

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
        record["characters"] = [{"text": t, "confidence": round(c, 4), "box": b} for t, c, b in reading.characters]
    return record


def read_file(
    predictor: Predictor, file: str, line: bool = False, steps: str | None = None, folder: str = ""
) -> Record:
    """Reads one file; whatever is wrong with it becomes the reason. With `steps` writes its strip of steps there.

    `folder` is where a relative name starts, if not in the working directory. Raises UserError if the strip cannot
    be written: the disk is full, and it would be for the next file too.
    """
    started = time.perf_counter()
    try:
        with quiet_stderr():  # what decoders note there about damaged files, the record says
            reading = predictor.read(Path(folder, file), line=line)
    except Exception as error:  # one bad file must not stop the others, even where a library has a flaw
        reason = f"It could not be read ({type(error).__name__}: {error})."
        reading = Reading("error", reason=reason, seconds=time.perf_counter() - started)
    if steps and reading.steps:
        write_strip(Path(steps), file, reading)
    return to_record(file, reading)


def write_strip(folder: Path, file: str, reading: Reading) -> None:
    """Writes the steps of a reading side by side as one PNG, named after the file. UserError if that fails."""
    # Two files may have the same name in different folders, and a name may hold anything: a digest tells them apart.
    digest = hashlib.blake2b(os.fsencode(file), digest_size=6).hexdigest()
    name = re.sub(r"[^\w.-]", "_", printable(Path(file).name))[:40]
    _, encoded = cv2.imencode(".png", strip(reading, 640 if reading.characters else 160))
    with atomic(folder / f"{name}-{digest}{STRIP}", "another folder for --steps") as partial:
        partial.write_bytes(encoded)


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
    count: int,
    model: str | None = None,
    line: bool = False,
    steps: str | None = None,
    scheduler: str | None = None,
    time_limit: float = TIME_LIMIT,
) -> Iterator[Callable[[Iterable[str]], Iterator[Record]]]:
    """Yields a function that turns names of files into records, as they are finished.

    `count` files are expected: a few are read right here, in order, many by one process per core or, with
    `scheduler`, by a Dask cluster. There, a file that kills its process or takes longer than `time_limit` seconds is
    tried again; after the second time its record says so, and the others go on. Raises UserError if the model or the
    cluster cannot be used, or if a strip of steps cannot be written.
    """
    predictor = Predictor(model)
    workers: list[Worker] = []
    if count <= FEW:
        yield lambda files: (read_file(predictor, file, line, steps) for file in files)
    elif scheduler:
        from helpers.pool import cluster

        paths = {name: value and os.path.abspath(value) for name, value in (("model", model), ("steps", steps))}
        options = {"folder": os.getcwd(), "line": line, "network": predictor.network.sha256, **paths}
        with cluster(scheduler) as client:
            yield functools.partial(_read_on_cluster, client, options)
    else:
        try:
            yield functools.partial(_read_in_processes, workers, min(cores(), count), (model, line, steps), time_limit)
        finally:
            for worker in workers:
                worker.stop()


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def _predictor(model: str | None) -> Predictor:
    """The one Predictor of a process that only reads; it has one core."""
    cv2.setNumThreads(1)
    return Predictor(model)


# Each process has a pipe of its own: one that is killed, at whatever moment, leaves no lock held and no message half
# written for the others. Pools with a shared queue cannot promise that (pebble's gave up after four kills).


class Worker:
    """A process that answers names of files with records, in order."""

    def __init__(self, options: tuple):
        """Starts the process; `options` are those of `_serve`."""
        self._options, self._process = options, None
        self.sent: deque[str] = deque()  # files that are not answered
        self.deaths = 0  # of processes that were reading the first of them
        self.start()

    def start(self) -> None:
        """Starts the process, or another one in place of a dead one, with the same files to read."""
        import multiprocessing

        self.stop()
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._options), daemon=True)
        with _inherited():
            self._process.start()
        theirs.close()  # so only the process holds that end, and its death is the end of the pipe
        self.is_ready, files, self.sent = False, self.sent, deque()
        for file in files:
            self.send(file)

    def send(self, file: str) -> None:
        """Hands over a file. That the process is dead shows when it is to answer."""
        if not self.sent:
            self.since = time.monotonic()
        self.sent.append(file)
        with suppress(OSError):
            self.pipe.send(file)

    def receive(self) -> Record | None:
        """The next record; None when the process has become ready. Raises UserError if it refuses, EOFError if dead."""
        try:
            answer = self.pipe.recv()
        except OSError as error:
            raise EOFError from error
        if isinstance(answer, UserError):
            raise answer
        self.is_ready, self.since = True, time.monotonic()
        if answer:
            self.sent.popleft()
            self.deaths = 0
        return answer

    def stop(self) -> None:
        """Ends the process."""
        if self._process:
            self._process.kill()
            self._process.join(1)  # not for ever: a dead network drive may hold it
            self.pipe.close()


@contextmanager
def _inherited() -> Iterator[None]:
    """What a process that is started meanwhile inherits: SAFE, and no Ctrl-C, which is for its parent alone."""
    before = {name: os.environ.get(name) for name in SAFE}
    os.environ.update(SAFE)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if os.name != "nt" else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _serve(pipe: "Connection", model: str | None, line: bool, steps: str | None) -> None:
    """What a `Worker` runs: sends None when it is ready, then a record for each name of a file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows it cannot be blocked
    with suppress(OSError):
        os.dup2(2, 1)  # what a library prints must not come between the rows
    try:
        predictor = _predictor(model)
        pipe.send(None)
        while True:
            pipe.send(read_file(predictor, pipe.recv(), line, steps))
    except UserError as error:
        pipe.send(error)
    except (EOFError, OSError):  # the parent has finished, or was killed
        pass


def _read_in_processes(
    workers: list[Worker], count: int, options: tuple, time_limit: float, files: Iterable[str]
) -> Iterator[Record]:
    """The records of files by `count` processes, which are added to `workers`."""
    from multiprocessing.connection import wait

    files, in_vain = iter(files), 0
    workers += [Worker(options) for _ in range(count)]
    while True:
        for worker in workers:
            for file in itertools.islice(files, AHEAD - len(worker.sent)):
                worker.send(file)
        busy = {worker.pipe: worker for worker in workers if worker.sent}
        if not busy:
            return
        ready = wait(busy, timeout=1)
        for pipe, worker in busy.items():
            if pipe not in ready:
                if time.monotonic() - worker.since < time_limit:
                    continue
                worker.stop()
            try:
                if record := worker.receive():
                    yield record
                in_vain = 0
            except EOFError:
                in_vain = 0 if worker.is_ready else in_vain + 1
                if in_vain == STARTS:
                    raise UserError("Processes that read pictures die at once, perhaps for lack of memory.") from None
                worker.deaths += worker.is_ready
                if worker.deaths == 2:
                    worker.deaths = 0
                    yield to_record(worker.sent.popleft(), Reading("error", reason=DIED))
                worker.start()


# A Dask cluster -----------------------------------------------------------------------------------------------


def _read_on_cluster(client: "Client", options: dict, files: Iterable[str]) -> Iterator[Record]:
    """The records of files in chunks. Files of a chunk that keeps killing its workers are read one by one."""
    from helpers.pool import stream

    files, again = iter(files), deque()

    def chunks() -> Iterator[tuple[str, ...] | None]:
        """Chunks of files, then the files of failed chunks; None while those under way may fail."""
        while True:
            yield tuple(itertools.islice(files, CHUNK)) or (again and (again.popleft(),)) or None

    for chunk, future in stream(client, functools.partial(read_chunk, **options), chunks()):
        error = future.exception()
        if error is None:
            yield from future.result()
        elif isinstance(error, UserError):
            raise error
        elif len(chunk) > 1:
            again += chunk
        else:
            yield to_record(chunk[0], Reading("error", reason=DIED))


def read_chunk(
    files: tuple[str, ...], folder: str, model: str | None, network: str, line: bool, steps: str | None
) -> list[Record]:
    """A task of a cluster: the records of some files, whose names start in `folder`.

    Raises UserError if this machine does not see the folder, or if its model is not that of the SHA-256 `network`.
    """
    predictor = _predictor(model)
    if predictor.network.sha256 != network:
        raise UserError("A worker has another model than this command: use the same checkout on all machines.")
    if not os.path.isdir(os.path.dirname(os.path.join(folder, files[0]))):
        raise UserError(f"A worker does not see the folder of {printable(files[0])}: share it, at the same path.")
    # Nothing else ends a decoder that hangs; the process is replaced, and the files are tried again.
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(TIME_LIMIT + SLOW * len(files), exit=True, file=nowhere)
        try:
            return [read_file(predictor, file, line, steps, folder) for file in files]
        finally:
            faulthandler.cancel_dump_traceback_later()
