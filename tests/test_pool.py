"""helpers.pool: trainings in processes of their own, here or on a Dask cluster, whatever is killed meanwhile."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from helpers import paths, pool
from helpers.errors import UserError

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # other processes cannot import a test
ONE_WORKER = ("--nworkers", "1", "--nthreads", "2", "--no-dashboard", "--no-nanny")


def slow(item, folder):
    """Stands in for a training: its file grows, under its own process's number, until the test lets all but 0 end."""
    for _ in range(300):
        with open(Path(folder, f"{item}-{os.getpid()}"), "a") as file:
            file.write(".")
        time.sleep(0.1)
        if item == 0 or Path(folder, "end").exists():
            break
    return item * item


def deadly(item, folder):
    """Ends its process, the first time or always."""
    tries = Path(folder, f"tries-{item}")
    tries.touch()
    with open(tries, "a") as file:
        file.write(".")
    if item == "always" or len(tries.read_text()) == 1:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))
    return len(tries.read_text())


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)
    return found


def busy(folder):
    """Processes that are in the midst of `slow`, or were when they were killed."""
    return [int(file.name.split("-")[1]) for file in Path(folder).glob("[1-9]*-*")]


def assert_nothing_runs(folder):
    def size():
        return sum(file.stat().st_size for file in Path(folder).iterdir())

    def still():
        before = size()
        time.sleep(1)
        return size() == before

    wait_until(still, 8)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


# --- a process of its own


def test_a_fresh_process_answers_and_its_errors_come_back():
    def threads():
        print("this is no answer")
        return [os.environ[name] for name in pool.THREADS]

    assert pool.fresh(divmod, 7, 3) == (2, 1)
    assert pool.fresh(threads, threads=3) == ["3", "3", "3"]
    with pytest.raises(ValueError, match="invalid literal"):
        pool.fresh(int, "x")
    with pytest.raises(RuntimeError, match="AxisError: axis 3 is out of bounds"):
        pool.fresh(np.sum, np.zeros(2), 3)
    with pytest.raises(RuntimeError, match="died"):
        pool.fresh(os._exit, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is a signal")
def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    code = "import sys, cloudpickle; from helpers import pool; pool.fresh(*cloudpickle.load(sys.stdin.buffer))"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=paths.ROOT)
    parent.stdin.write(cloudpickle.dumps((slow, 1, tmp_path)))
    parent.stdin.close()
    wait_until(lambda: busy(tmp_path))
    parent.kill()
    parent.wait()
    assert_nothing_runs(tmp_path)


# --- on this machine


def test_trainings_run_side_by_side_and_wait_for_results(tmp_path):
    ended = []
    (tmp_path / "end").touch()

    def items():
        yield from (1, 2)
        while len(ended) < 2:
            yield None  # the third depends on the first two
        yield sum(ended)

    for item, future in pool.trainings(slow, items(), workers=2, data=(tmp_path,)):
        ended.append(future.result())
        assert future.result() == item * item
    assert sorted(ended) == [1, 4, 25]


def test_a_training_that_dies_is_tried_again_and_given_up_in_the_end(tmp_path):
    ended = dict(pool.trainings(deadly, ["once", "always"], workers=2, data=(tmp_path,)))
    assert ended["once"].result() == 2
    with pytest.raises(RuntimeError, match="died"):
        ended["always"].result()
    assert len((tmp_path / "tries-always").read_text()) == pool.TRIES


def test_trainings_that_are_not_wanted_any_more_end(tmp_path):
    trainings = pool.trainings(slow, range(9), workers=2, data=(tmp_path,))
    next(trainings)
    trainings.close()
    assert_nothing_runs(tmp_path)
    assert len(list(tmp_path.iterdir())) <= 3


# --- on a cluster


@pytest.fixture(scope="module")
def local():
    """Two workers of one thread each, in processes that are started again when they die."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local:
        yield local


@pytest.fixture
def cluster(local):
    """Their scheduler's address, once both are there."""
    local.wait_for_workers(2, timeout=180)
    return local.scheduler_address


@pytest.fixture
def start(tmp_path):
    """Starts `dask` with some arguments; whatever the test does, no process outlives it. For signals, no nanny."""
    started = []

    def launch(*arguments, root=paths.ROOT):
        command = [sys.executable, "-m", "dask", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(root)}
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **streams))
        return started[-1]

    yield launch
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(start, tmp_path):
    """A scheduler's process and file."""
    file = tmp_path / "scheduler.json"
    process = start(
        "scheduler", "--host", "127.0.0.1", "--port", 0, "--dashboard-address", ":0", "--scheduler-file", file
    )
    wait_until(lambda: file.exists() and file.read_text().endswith("}"))
    return process, str(file)


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def squares(scheduler, work, after_first=lambda: None, items=range(5)):
    """The results of `slow` on a cluster; calls `after_first` when the first is there and others are under way."""
    found = {}
    for item, future in pool.trainings(slow, items, scheduler=scheduler, data=(work,)):
        found[item] = future.result()
        if len(found) == 1:
            wait_until(lambda: busy(work))
            after_first()
            (work / "end").touch()
    return found


SQUARES = {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}


@pytest.mark.parametrize("victim", ["worker", "child"])
def test_a_cluster_finishes_what_a_killed_process_began(victim, cluster, work):
    from distributed import Client

    def strike():
        if victim == "child":
            return kill(busy(work)[0])
        with Client(cluster, set_as_default=False) as client:
            kill(next(iter(client.run(os.getpid).values())))

    assert squares(cluster, work, strike) == SQUARES
    assert_nothing_runs(work)
    assert len(list(work.glob("*-*"))) > len(SQUARES), "something was begun again"


def test_a_training_that_kills_every_process_is_given_up(cluster, work):
    ended = dict(pool.trainings(deadly, ["once", "always"], scheduler=cluster, data=(work,)))
    assert ended["once"].result() == 2
    with pytest.raises(RuntimeError, match="died"):
        ended["always"].result()


def test_a_scheduler_that_dies_is_told(scheduler, start, work):
    process, file = scheduler
    start("worker", "--scheduler-file", file, *ONE_WORKER, "--death-timeout", 1)
    with pytest.raises(UserError, match=r"is gone; the same command goes on from here\.$"):
        squares(file, work, process.kill)
    assert_nothing_runs(work)


def test_when_all_workers_die_patience_has_an_end(scheduler, start, work, monkeypatch):
    _, file = scheduler
    worker = start("worker", "--scheduler-file", file, *ONE_WORKER)
    with pool.cluster(file):  # the worker is there
        monkeypatch.setenv("PATIENCE", "3")
    with pytest.raises(UserError, match=r"No worker was there for 3 s: start some; the same command goes on"):
        squares(file, work, worker.kill)
    assert_nothing_runs(work)


def test_a_worker_with_other_code_is_refused(scheduler, start, tmp_path, work):
    for name in ("helpers", "notebooks/params"):
        shutil.copytree(paths.ROOT / name, tmp_path / "other" / name, ignore=shutil.ignore_patterns("__pycache__"))
    with open(tmp_path / "other/helpers/errors.py", "a") as file:
        file.write("# changed\n")
    start("worker", "--scheduler-file", scheduler[1], *ONE_WORKER, root=tmp_path / "other")
    with pytest.raises(UserError, match=r"Worker tcp://\S+ has this project \w+, and this command \w+: use the same"):
        squares(scheduler[1], work)
    assert not list(work.iterdir()), "no work was begun"


def test_a_worker_that_changes_or_joins_later_is_refused(cluster):
    def change():  # the whole answer at once: a version alone could be read, and kept, half-way through
        pool.kept, pool.identity = pool.identity, lambda: pool.kept() | {"tensorflow": "0.1"}

    def change_back():  # a restart would start other processes, which can take minutes beside other tests
        pool.identity = pool.kept

    with pool.cluster(cluster) as client:
        ended = pool.stream(client, abs, [-1, -2, -3], ahead=1, retries=0)
        assert next(ended)[1].result() > 0
        client.run(change)
        try:
            with pytest.raises(UserError, match="has tensorflow 0.1, and this command"):
                for _, future in pool.stream(client, abs, [-1, -2], retries=0):
                    future.result()
        finally:
            client.run(change_back)
        assert [future.result() for _, future in pool.stream(client, abs, [-3], retries=0)] == [3]


def test_a_stream_takes_what_it_needs_and_gives_what_it_has(cluster):
    taken = []

    def items():
        for i in range(40):
            taken.append(i)
            yield -i

    with pool.cluster(cluster) as client:
        found = []
        for item, future in pool.stream(client, abs, items(), ahead=3):
            found.append(future.result())
            assert found[-1] == -item and len(taken) - len(found) <= 2 * 3
        assert sorted(found) == list(range(40))
        [(_, future)] = pool.stream(client, int, ["x"], retries=1)
        assert isinstance(future.exception(), ValueError)


def test_where_no_scheduler_is_one_sentence_says_so(monkeypatch, tmp_path):
    assert 2 * pool.CONNECT <= 30
    monkeypatch.setattr(pool, "CONNECT", 1)
    (tmp_path / "wrong.json").write_text("[]")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        somebody = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        for address in (
            somebody,
            "tcp://127.0.0.1:9",
            "tls://localhost:9",
            tmp_path / "wrong.json",
            tmp_path / "no.json",
        ):
            with pytest.raises(UserError, match=r"There is no Dask scheduler to be used at [^\n]+\.$"):
                with pool.cluster(str(address)):
                    pass
    monkeypatch.setenv("PATIENCE", "-1")
    with pytest.raises(UserError, match="PATIENCE = '-1' must be a number of seconds above 0"):
        with pool.cluster("tcp://127.0.0.1:9"):
            pass


def test_a_scheduler_without_workers_is_told(scheduler, monkeypatch):
    monkeypatch.setenv("PATIENCE", "1")
    with pytest.raises(UserError, match="had no worker for 1 s"):
        with pool.cluster(scheduler[1]):
            pass


# --- the same everywhere


def train(seed, x, y):
    """A real training; returns a digest of its weights."""
    from tools import recipes

    model, history, _ = recipes.train(recipes.FAST, (x, y), seed)
    return hashlib.sha256(b"".join(w.tobytes() for w in model.get_weights())).hexdigest(), history["loss"]


def test_four_seeds_are_equal_to_the_bit_serially_side_by_side_and_on_a_cluster(cluster):
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (600, 28, 28), np.uint8), np.arange(600) % 10

    def weights(place):
        return {seed: future.result() for seed, future in pool.trainings(train, range(4), **place, data=data)}

    with ThreadPoolExecutor() as threads:  # all at once: the cores are shared, too
        serial, beside, dask = threads.map(weights, ({"workers": 1}, {"workers": 2}, {"scheduler": cluster}))
    assert serial == beside == dask
    assert len({digest for digest, _ in serial.values()}) == 4
