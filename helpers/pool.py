"""Where work runs: in processes of this machine or, with `--scheduler`, on the workers of a Dask cluster.

A training always gets a Python process of its own with a fixed number of threads, so that its result does not depend
on where it ran. Dask is imported only where a scheduler is named.
"""

import asyncio
import contextlib
import functools
import hashlib
import importlib.metadata
import itertools
import json
import logging
import os
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING

from helpers import paths
from helpers.console import quiet_stderr
from helpers.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

CONNECT = 12  # seconds within which a scheduler must answer
TRIES = 3  # for a training whose process dies, perhaps for lack of memory
PACKAGES = ("tensorflow", "keras", "keras-tuner", "numpy", "ai-edge-litert")  # their versions decide results
THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")  # TensorFlow reads them at import
GOES_ON = "the same command goes on from here"


class Died(RuntimeError):
    """The process of a training ended without an answer."""


def patience() -> float:
    """Seconds without any worker after which a run ends: 60, or what the variable PATIENCE says."""
    text = os.environ.get("PATIENCE") or "60"
    if not text.replace(".", "", 1).isdecimal() or not float(text):
        raise UserError(f"PATIENCE = {text!r} must be a number of seconds above 0.")
    return float(text)


@contextlib.contextmanager
def cluster(scheduler: str) -> Iterator["Client"]:
    """A Dask client of the scheduler at an address or in a scheduler file, all of whose workers agree with this process.

    Raises UserError in one sentence: if no scheduler answers within 36 s, if it has no worker for `patience()`
    seconds, if a worker has other versions of a package, of this project or of MNIST, if the scheduler goes away.
    """
    longest = patience()
    # Versions that differ are refused below. Only large tasks make Dask warn otherwise, and `held` is one.
    warnings.filterwarnings("ignore", module=r"distributed\.client")
    try:
        from distributed import Client, Security
        from distributed.comm import CommClosedError, connect
    except ImportError as error:
        raise UserError("--scheduler needs Dask: install it with 'pip install distributed'.") from error
    try:
        for name in ("distributed", "distributed.client"):  # what they would print arrives here as an exception
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        file = Path(scheduler)
        address = json.loads(file.read_text(encoding="utf-8"))["address"] if file.is_file() else scheduler

        async def reach() -> None:  # first, because a client that cannot start leaves threads behind
            security = Security().get_connection_args("client")
            comm = await asyncio.wait_for(connect(address, timeout=CONNECT, **security), 2 * CONNECT)
            await comm.close()

        with ThreadPoolExecutor(1) as thread:  # a notebook's own has a running event loop
            thread.submit(asyncio.run, reach()).result()
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except Exception as error:  # whatever answers there, it may be no scheduler
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"There is no Dask scheduler to be used at {scheduler} ({reason}).") from error
    try:
        try:
            client.wait_for_workers(1, timeout=longest)
        except TimeoutError as error:
            raise UserError(f"The scheduler {scheduler} had no worker for {longest:g} s: start some.") from error
        for worker, theirs in client.run(identity, on_error="return").items():
            _compare(worker, theirs, identity())
        yield client
    except (OSError, CancelledError) as error:
        if client.status == "running" and not isinstance(error, (CommClosedError, CancelledError)):
            raise  # of the caller's own
        raise UserError(f"The scheduler {scheduler} is gone; {GOES_ON}.") from error
    finally:
        client.close(timeout=5)


@functools.cache
def identity() -> dict[str, str | None]:
    """What must agree for results to agree: versions of packages, digests of this project's code and of MNIST."""
    found = {"Python": ".".join(map(str, sys.version_info[:2]))} | dict.fromkeys(PACKAGES)
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    code = hashlib.sha256()
    for file in sorted(
        file for room in ("helpers", "tools", "benchmarks") for file in (paths.ROOT / room).rglob("*.py")
    ):
        code.update(file.read_text(encoding="utf-8").encode())  # as text: line endings may differ
    mnist = paths.DATA / "mnist.npz"
    digest = hashlib.sha256(mnist.read_bytes()).hexdigest()[:8] if mnist.is_file() else None
    return found | {"this project": code.hexdigest()[:8], "data/mnist.npz": digest}


def _compare(worker: str, theirs: dict | Exception, mine: dict) -> None:
    """Raises UserError if a worker differs from the client in what decides results, or cannot even tell."""
    if isinstance(theirs, Exception):
        theirs = {"Python": f"without this project ({theirs})"}
    for name, value in mine.items():
        if theirs.get(name) != value:
            raise UserError(
                f"Worker {worker} has {name} {theirs.get(name)}, and this command {value}: "
                "use the same checkout and the same constraints.txt on all machines."
            )


def _verified(mine: dict, function: Callable, *args):
    """function(*args) in a worker, which may have joined after the client asked all others."""
    from distributed import get_worker

    _compare(get_worker().address, identity(), mine)
    return function(*args)


def stream(
    client: "Client", function: Callable, items: Iterable, ahead=3, retries=2, pack: Callable = lambda x: x, *args
) -> Iterator[tuple[object, Future]]:
    """(item, future) of function(pack(item), *args) for all items as they end; `ahead` a thread are under way, no more.

    `function` must live in a module that workers can import, not in `__main__`. Dask tries an item again when its
    worker dies, and `retries` times when the function raises. Raises UserError if there is no worker for `patience()`
    seconds, or if one that joins later differs from this process.
    """
    executor, mine = client.get_executor(pure=False, retries=retries), identity()
    longest, seen = patience(), time.monotonic()

    def room() -> int:
        """How many calls may be under way; UserError where no worker was there for too long."""
        nonlocal seen
        threads = sum(client.nthreads().values()) if client.status == "running" else 0
        if threads:
            seen = time.monotonic()
        elif time.monotonic() - seen > longest:
            raise UserError(f"No worker was there for {longest:g} s: start some; {GOES_ON}.")
        return ahead * max(1, threads)

    try:
        yield from _as_finished(lambda item: executor.submit(_verified, mine, function, pack(item), *args), items, room)
    finally:
        if client.status == "running":
            executor.shutdown(wait=False)  # cancels what is under way


def _as_finished(submit: Callable, items: Iterable, room: Callable) -> Iterator[tuple[object, Future]]:
    """(item, future) of each item that `submit` takes, at most `room()` at a time."""
    running, items = {}, iter(items)
    while True:
        for item in itertools.islice(items, max(0, room() - len(running))):
            if item is None:
                break
            running[submit(item)] = item, 1
        if not running:
            return
        for future in wait(running, timeout=2, return_when=FIRST_COMPLETED).done:
            (item, tries), error = running.pop(future), future.exception()
            if isinstance(error, Died) and tries < TRIES:
                running[submit(item)] = item, tries + 1
                continue
            if type(error).__name__ == "KilledWorker":  # Dask's, which waits for four workers to die
                future = Future()
                future.set_exception(Died(f"it killed its workers: {error}"))
            yield item, future


def trainings(
    function: Callable, items: Iterable, scheduler: str | None = None, workers: int = 1, threads: int = 1, data=()
) -> Iterator[tuple[object, Future]]:
    """(item, future) of function(item, *data) for all items as they end, each in a process of its own (`fresh`).

    `workers` of them at a time run on this machine, or as many as the cluster of `scheduler` has threads. One whose
    process dies is tried again, TRIES times in all. `data` go to each worker of a cluster once. An item of None, from
    a generator, means that the next one depends on a result still awaited. Raises UserError as `stream` does.
    """
    import cloudpickle

    def call(item: object) -> bytes:
        """The pickled call, opened by the child alone: a Dask worker must not import TensorFlow."""
        return cloudpickle.dumps((function, (item,)))

    if scheduler:
        with cluster(scheduler) as client:
            # A task of its own, not scattered: should the only worker that holds it die, it is made anew.
            held = client.submit(tuple, data, pure=False)
            yield from stream(client, _in_child, items, 1, 0, call, threads, held)
        return
    executor, children, futures = ThreadPoolExecutor(workers), [], []

    def submit(item: object) -> Future:
        """Hands an item to the next free child process."""
        futures.append(executor.submit(_in_child, call(item), threads, data, children))
        return futures[-1]

    try:
        yield from _as_finished(submit, items, lambda: workers)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
        while wait(futures, timeout=0.1).not_done:
            for child in children:
                child.kill()


def fresh(function: Callable, *args, threads: int = 1):
    """function(*args) in a Python process of its own with a fixed number of threads, which ends with this one.

    Keras draws initial values from Python's `random`, from which the event loop of a Dask worker draws too (at each
    heartbeat): in its process no seed would be repeatable. What the function raises is raised here, as RuntimeError
    if its type belongs to another package; so is RuntimeError if the process dies.
    """
    import cloudpickle

    return _in_child(cloudpickle.dumps((function, args)), threads)


def _in_child(call: bytes, threads: int, data: tuple = (), children: list | None = None):
    """The answer of a new process to a pickled (function, arguments), to which `data` are added."""
    start = f"import sys; sys.path.insert(0, {str(paths.ROOT)!r}); from helpers.pool import _answer; _answer()"
    command, environment = [sys.executable, "-P", "-c", start], os.environ | dict.fromkeys(THREADS, str(threads))
    answer = b""
    with contextlib.suppress(BrokenPipeError):
        # Not by multiprocessing, which Dask's workers may not use. Ctrl-C is for this process, which ends the child.
        with Popen(command, stdin=PIPE, stdout=PIPE, env=environment, start_new_session=True) as child:
            if children is not None:
                children.append(child)
            try:
                child.stdin.write(call)
                pickle.dump(data, child.stdin)
                child.stdin.flush()  # and stays open: its end tells the child that its parent is gone
                answer = child.stdout.read()
            finally:
                child.kill()
    try:
        value, error = pickle.loads(answer)
    except (EOFError, pickle.UnpicklingError):
        raise Died("its process died, perhaps for lack of memory") from None
    if error is not None:
        raise error
    return value


def _answer() -> None:
    """The child's side."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints is no answer
    with quiet_stderr():  # TensorFlow greets while it is imported
        function, args = pickle.load(sys.stdin.buffer)
    data = pickle.load(sys.stdin.buffer)
    threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(1)), daemon=True).start()
    value = error = None
    try:
        value = function(*args, *data)
    except Exception as raised:
        known = type(raised).__module__ in ("builtins", UserError.__module__)  # others may not survive the way back
        error = raised if known else RuntimeError(f"{type(raised).__name__}: {raised}")
    pickle.dump((value, error), answers)
    answers.close()
    os._exit(0)  # at once: TensorFlow takes its time, and the parent has the answer
