"""The command line: its output, its exit codes, and how it ends when it is interrupted or killed."""

import fcntl
import json
import os
import pty
import random
import signal
import struct
import subprocess
import sys
import termios

import psutil
import pytest
from commands import alive, command, encode, environment, rows_of, run, seven, wait_for, written

from helpers.predict import batch
from helpers.predict.results import COLUMNS

HEAVY = {"tensorflow", "keras", "pandas", "matplotlib", "sklearn", "scipy", "skimage", "IPython", "tqdm", "filelock"}
HEAVY |= {"multiprocessing.connection", "distributed", "dask"}


def test_one_picture_starts_fast(model, tmp_path):
    """Time is not asserted, on a busy machine it means nothing; what takes time is: heavy imports."""
    file = tmp_path / "7.png"
    file.write_bytes(encode(seven()))
    code = (
        "import sys; from helpers.predict.__main__ import main; code = main(sys.argv[1:]);"
        f"print(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file), "--model", str(model)],
        capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (0, "")
    header, row = done.stdout.splitlines()
    assert header.split() == list(COLUMNS) and row.startswith(str(file)) and row[len(str(file)) :].split()[1] == "7"


def test_rows_on_the_screen_keep_the_order_of_the_files(pictures, model):
    """Many files, so other processes read them; names with line breaks stay on one line."""
    done = run(pictures, "--model", model, "--json")
    files = [json.loads(line)["file"] for line in done.stdout.splitlines()]
    assert done.returncode == 0 and done.stderr == "" and files == batch.find_pictures([str(pictures)])[0]
    done = run(*files[-20:], "--model", model)
    assert len(done.stdout.splitlines()) == 21


def test_a_closed_pipe_ends_quietly(pictures, model):
    process = subprocess.Popen(
        command(pictures, "--model", model), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 1 and process.stderr.read() == b""


def test_a_bar_is_shown_on_a_terminal_only(pictures, model, tmp_path):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run(
        command(pictures, "--csv", tmp_path / "r.csv", "--model", model),
        stdout=subprocess.PIPE, stderr=theirs, env=environment(), text=True,
    )  # fmt: skip
    os.close(theirs)
    shown = os.read(ours, 10000).decode()
    os.close(ours)
    assert done.returncode == 0 and "300/300" in shown and "300 ok" in done.stdout


def kill_after(arguments, file, goal):
    """Starts a command and kills it outright when a CSV file has so many rows; its processes must go with it."""
    with open(file.with_suffix(".err"), "w+") as errors:
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=errors, env=environment())
    wait_for(lambda: process.poll() is not None or len(written(file)) >= goal)
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(child) for child in children))
    assert file.with_suffix(".err").read_text() == ""


def test_killed_at_random_moments_no_finished_row_is_lost(pictures, model, tmp_path):
    file, chance, kept = tmp_path / "r.csv", random.Random(0), 0
    arguments = command(pictures, "--csv", file, "--model", model)
    for _ in range(5):
        goal = kept + chance.randrange(1, 50)  # a moment while rows are being written
        kill_after(arguments, file, goal)
        kept = len(written(file))
        assert kept >= goal and set(written(file).values()) == {"ok"}
    assert kept < 300, "none of the kills came in time"
    done = run(pictures, "--csv", file, "--model", model)
    assert done.returncode == 0 and f"{kept:,} had a row already" in done.stdout
    assert sorted(row["file"] for row in rows_of(file)) == sorted(batch.find_pictures([str(pictures)])[0])


def test_ctrl_c_keeps_what_is_done(pictures, model, tmp_path):
    file = tmp_path / "r.csv"
    process = subprocess.Popen(
        command(pictures, "--csv", file, "--model", model),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: len(written(file)) >= 20)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the whole group
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.strip().startswith("Interrupted: the rows so far are in")
    assert 20 <= len(written(file)) < 300
    assert run(pictures, "--csv", file, "--model", model).returncode == 0
    assert len(rows_of(file)) == 300


@pytest.mark.parametrize("library", ["numpy", "cv2"])
def test_ctrl_c_at_the_start_is_quiet(pictures, model, tmp_path, library):
    """While libraries are loaded, before there is a row: one sentence, and no promise."""
    process = subprocess.Popen(
        command(pictures, "--csv", tmp_path / "r.csv", "--model", model), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: f"/{library}" in open(f"/proc/{process.pid}/maps").read())
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "") and err.strip().startswith("Interrupted")
    assert err.strip().count("\n") == 0 and ("the rows so far" in err) == bool(written(tmp_path / "r.csv"))


# Standard streams, working directory and foreign code ---------------------------------------------------------


@pytest.mark.parametrize("count", [2, batch.FEW + 4])
@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", ">/dev/full 2>/dev/full"])
def test_closed_and_full_streams(model, tmp_path, count, streams):
    for i in range(count):
        (tmp_path / f"{i}.png").write_bytes(encode(seven()))
    file = tmp_path / "r.csv"
    line = f"{sys.executable} -m helpers.predict {tmp_path} --model {model}"
    done = subprocess.run(f"{line} {streams}", shell=True, env=environment(), capture_output=True, text=True, cwd="/")
    full = "full" in streams
    assert done.returncode == full
    assert done.stderr == ("Error: The system refused: No space left on device.\n" if streams == ">/dev/full" else "")
    subprocess.run(f"{line} --csv {file} {streams}", shell=True, env=environment(), capture_output=True, cwd="/")
    assert len(rows_of(file)) == count and {row["status"] for row in rows_of(file)} == {"ok"}


@pytest.mark.parametrize("count", [1, batch.FEW + 4])
def test_no_code_of_the_folder_of_pictures_runs(model, tmp_path, count):
    ran = tmp_path / "ran"
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in "PIL cv2 numpy argparse lazy_loader multiprocessing filelock tqdm csv json".split():
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    (folder / "notebooks" / "params").mkdir(parents=True)  # it looks like the project, and has a model
    (folder / "outputs" / "reference").mkdir(parents=True)
    (folder / "outputs" / "reference" / "digits.tflite").write_text("no model")
    for i in range(count):
        (folder / f"{i}.png").write_bytes(encode(seven()))
    done = subprocess.run(command(".", "--json"), cwd=folder, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout.count('"text": "7"')) == (0, "", count)
    assert not ran.exists()


def test_from_a_folder_that_was_deleted(model, tmp_path):
    (tmp_path / "7.png").write_bytes(encode(seven()))
    (tmp_path / "gone").mkdir()
    line = f"cd {tmp_path / 'gone'} && rmdir {tmp_path / 'gone'} && {sys.executable} -m helpers.predict --model {model}"
    for file, code in ((tmp_path / "7.png", 0), ("7.png", 2)):
        done = subprocess.run(f"{line} {file}", shell=True, env=environment(), capture_output=True, text=True)
        assert done.returncode == code and "Traceback" not in done.stderr and done.stderr.count("\n") == (code > 0)
