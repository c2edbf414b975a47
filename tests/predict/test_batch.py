"""Many files: finding them, and reading each exactly once whatever happens to the processes that do it."""

import json
import os
import random
import struct
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import psutil
import pytest
from commands import encode, run, seven

from helpers import paths
from helpers.errors import UserError
from helpers.predict import batch
from helpers.predict import predictor as reading_module
from helpers.predict.__main__ import main


@pytest.fixture
def tree(tmp_path):
    """A folder full of snares; returns it and what is to be found, in order."""
    top = tmp_path / "tree"
    for folder in ("b.png/ü", "a", "a/.hidden"):
        (top / folder).mkdir(parents=True)
    found = ["10.JPG", "2.png", "a/z.heic", "b.png/1.tif", "b.png/ü/ж.webp"]
    for name in [*found, "notes.txt", ".2.png", "a/.hidden/3.png", "film.mp4"]:
        (top / name).touch()
    (top / "a" / "round").symlink_to(top)
    (top / "b.png" / "again").symlink_to(top / "a")
    (top / "loop.png").symlink_to("loop.png")
    found = ["10.JPG", "2.png", "loop.png", "a/z.heic", "b.png/1.tif", "b.png/ü/ж.webp"]
    return top, [str(top / name) for name in found]


def test_folders_are_searched_whole_sorted_and_once(tree):
    top, expected = tree
    assert batch.find_pictures([str(top)]) == (expected, [])
    assert batch.find_pictures([str(top / "film.mp4"), str(top), str(top / "2.png"), str(top / "b.png" / "ü")]) == (
        [str(top / "film.mp4"), *expected],
        [],
    )
    (top / "b.png" / "ü" / "ж.webp-0123.steps.png").touch()  # a strip of an earlier run
    assert batch.find_pictures([str(top)]) == (expected, [])


def test_nothing_to_read(tmp_path, capsys):
    (tmp_path / "x.png").mkdir()
    for name, words in (("x.png", "No pictures found in"), ("y.png", "does not exist")):
        assert main([str(tmp_path / name)]) == 2
        err = capsys.readouterr().err
        assert words in err and name in err and len(err.splitlines()) == 1
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2


def test_force_without_a_csv_file_is_told(tmp_path, capsys):
    assert main([str(tmp_path), "--force"]) == 2
    assert capsys.readouterr().err == "Error: --force starts a CSV file anew: name the file with --csv.\n"


def test_a_folder_that_may_not_be_opened_is_a_row(tree, model, monkeypatch, capsys):
    top, expected = tree
    scan = os.scandir

    def guarded(folder):
        if str(folder).endswith("b.png"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    files, (row,) = batch.find_pictures([str(top)])
    assert files == expected[:4] and row["file"] == str(top / "b.png") and "Permission denied" in row["reason"]
    assert main([str(top), "--json", "--model", str(model)]) == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == [str(top / "b.png"), *expected[:4]]


def bomb(side=60000):
    """A PNG file of a few bytes that says it has 3.6 thousand million pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(bytes(1000)), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )


@pytest.fixture
def hostile(tmp_path):
    """A folder of files that are no pictures, and one that is."""
    folder = tmp_path / "hostile"
    (folder / "x.png").mkdir(parents=True)
    whole = encode(np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8), ".jpg")
    contents = {
        "empty.png": b"",
        "cut.jpg": whole[: len(whole) // 2],
        "cut.png": encode(seven())[:400],
        "text.png": b"hello\n",
        "document.png": b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\n",
        "bomb.png": bomb(),
        "film.jpg": b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(5000),
        "zeros.gif": bytes(1000),
        "x.png/good.png": encode(seven()),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "x.png" / "round").symlink_to(folder)
    (folder / "self.png").symlink_to("self.png")
    (folder / "dangling.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")
    return folder


def test_hostile_files_are_rows_and_stop_nothing(hostile, model):
    done = run(hostile, "--json", "--model", model)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and done.stderr == "" and len(rows) == 12
    for row in rows:
        expected = "ok" if row["file"].endswith("good.png") else "error"
        assert row["status"] == expected and bool(row["reason"]) == (expected == "error"), row
        assert Path(row["file"]).name in row["reason"] or expected == "ok"


def test_an_unreadable_file_and_a_flaw_of_ours_are_rows(predictor, monkeypatch, tmp_path):
    file = tmp_path / "7.png"
    file.write_bytes(encode(seven()))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        row = batch.read_file(predictor, str(file), batch.Options())
        assert row["status"] == "error" and "Permission denied" in row["reason"]
    monkeypatch.setattr(reading_module, "find_candidates", lambda picture: 1 / 0)
    row = batch.read_file(predictor, str(file), batch.Options())
    assert row["status"] == "error" and "ZeroDivisionError" in row["reason"]


def test_what_many_processes_read_is_what_one_reads(pictures, model, predictor):
    files, _ = batch.find_pictures([str(pictures)])
    with batch.reader(len(files), str(model)) as read:
        rows = {row["file"]: row["text"] for row in read(files)}
    assert rows == {file: predictor.read(file).text for file in files}


@pytest.mark.parametrize("place", ["b", "b/steps"])
def test_steps_are_one_picture_per_file(model, tmp_path, place):
    for name in ("a/7.png", "b/7.png", "b/" + "é" * 100 + ".png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(encode(seven()))
    (tmp_path / "b" / "blank.png").write_bytes(encode(np.full((50, 60), 255, np.uint8)))
    for _ in range(2):  # the strips lie in a folder that is searched, and are not read themselves
        arguments = [str(tmp_path / "a"), str(tmp_path / "b"), "--steps", str(tmp_path / place), "--model", str(model)]
        assert main(arguments) == 0
    strips = [cv2.imread(str(path)) for path in (tmp_path / place).glob("*.steps.png")]
    assert len(strips) == 4 and all(strip.shape[0] == 184 for strip in strips)
    assert min(strip.shape[1] for strip in strips) == 168  # of the blank page there is the picture alone


def test_a_bad_place_for_steps(model, tmp_path, capsys):
    (tmp_path / "7.png").write_bytes(encode(seven()))
    assert main([str(tmp_path / "7.png"), "--steps", str(tmp_path / "7.png"), "--model", str(model)]) == 2
    err = capsys.readouterr().err
    assert "7.png" in err and len(err.splitlines()) == 1


def workers():
    """The processes that read."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has just ended
            found += [child] if "batch.serve" in " ".join(child.cmdline()) else []
    return found


def test_killed_workers_lose_nothing(pictures, model):
    """Many kills, since a moment at which a process holds something that others need may be short."""
    files, _ = batch.find_pictures([str(pictures)])
    chance, records, kills = random.Random(0), [], 0
    with batch.reader(len(files), str(model)) as read:
        for record in read(files):
            records.append(record)
            if len(records) % 20 == 0:
                time.sleep(chance.random() / 50)
                min(workers(), key=lambda process: process.create_time()).kill()  # hardly twice at one file
                kills += 1
    assert kills == len(files) // 20
    assert sorted(record["file"] for record in records) == sorted(files)
    given_up = [record["reason"] for record in records if record["status"] != "ok"]
    assert len(given_up) <= 3 and set(given_up) <= {batch.DIED}
    assert not workers()


def test_a_file_that_never_ends_is_an_error_and_the_others_are_read(pictures, model, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\n"
        "hang = lambda event, args: event == 'open' and str(args[0]).endswith('endless.png') and time.sleep(1000)\n"
        "sys.addaudithook(hang)\n"
    )
    (tmp_path / "endless.png").write_bytes(encode(seven()))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(paths.ROOT), str(tmp_path)]))
    files = [str(tmp_path / "endless.png"), *batch.find_pictures([str(pictures)])[0]]
    with batch.reader(len(files), str(model), time_limit=3) as read:
        records = {record["file"]: record for record in read(files)}
    assert list(records) != files and set(records) == set(files)
    assert [file for file in files if records[file]["status"] == "error"] == files[:1]
    assert "5 minutes" in records[files[0]]["reason"] and not workers()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_what_reads_keeps_memory_for_the_next_picture_even_below_a_dask_worker(pictures, model, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")  # as Dask's workers have it
    files, _ = batch.find_pictures([str(pictures)])
    with batch.reader(len(files), str(model)) as read:
        next(records := read(files))
        kept = [int(worker.environ()["MALLOC_TRIM_THRESHOLD_"]) for worker in workers()]
        assert kept and min(kept) > 50_000_000 and len(list(records)) == len(files) - 1  # a phone photo has 36 MB


def test_a_folder_that_vanishes_is_rows(model, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    for i in range(batch.FEW + 1):
        (folder / f"{i}.png").write_bytes(encode(seven()))
    files, _ = batch.find_pictures([str(folder)])
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with batch.reader(len(files), str(model)) as read:
        records = list(read(files))
    assert sorted(record["file"] for record in records) == sorted(files)
    assert {record["status"] for record in records} == {"error"}


def test_processes_that_cannot_start_end_the_run_with_one_sentence(pictures, model, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import os\nos._exit(1)\n")
    files, _ = batch.find_pictures([str(pictures)])
    with batch.reader(len(files), str(model)) as read:
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(paths.ROOT), str(tmp_path)]))
        with pytest.raises(UserError, match="die at once"):
            list(read(files))
    assert not workers()


def test_a_file_that_kills_its_process_is_an_error_and_the_others_are_read(pictures, model, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "kill = lambda event, args: event == 'open' and str(args[0]).endswith('deadly.png') and os.kill(os.getpid(), 9)\n"
        "sys.addaudithook(kill)\n"
    )
    for name in ("0_deadly.png", "9_deadly.png"):
        (tmp_path / name).write_bytes(encode(seven()))
    done = run(
        tmp_path / "0_deadly.png", pictures, tmp_path / "9_deadly.png", "--json", "--model", model,
        PYTHONPATH=os.pathsep.join([str(paths.ROOT), str(tmp_path)]),
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1 and done.stderr == "" and len(rows) == 302
    assert [row["status"] for row in rows] == ["error", *["ok"] * 300, "error"]
    assert "died" in rows[0]["reason"]


def test_workers_that_cannot_start_are_told_about(pictures, tmp_path, capsys):
    (tmp_path / "bad.tflite").write_text("not a model")
    assert main([str(pictures), "--model", str(tmp_path / "bad.tflite"), "--csv", str(tmp_path / "r.csv")]) == 2
    assert "bad.tflite" in capsys.readouterr().err and not (tmp_path / "r.csv").exists()


# A Dask cluster -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """A cluster of two processes; a file named deadly.png kills the process that opens it."""
    from distributed import LocalCluster

    folder = tmp_path_factory.mktemp("hook")
    (folder / "sitecustomize.py").write_text(
        "import os, sys\n"
        "kill = lambda event, args: event == 'open' and str(args[0]).endswith('deadly.png') and os._exit(1)\n"
        "sys.addaudithook(kill)\n"
    )
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(paths.ROOT), str(folder)])
    try:
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=60) as cluster:
            yield cluster.scheduler_address
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def same(record):
    return {name: value for name, value in record.items() if name != "seconds"}


@pytest.mark.parametrize("victim", ["reader", "worker"])
def test_a_cluster_reads_as_this_machine_does(pictures, model, scheduler, predictor, tmp_path, monkeypatch, victim):
    """A deadly file among them, a process killed meanwhile, and relative names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deadly.png").write_bytes(encode(seven()))
    files = [os.path.relpath(file) for file in batch.find_pictures([str(pictures)])[0]]
    files[100:100] = ["deadly.png"]
    records = {}
    with batch.reader(len(files), str(model), scheduler=scheduler) as read:
        for record in read(files):
            assert record["file"] not in records
            records[record["file"]] = same(record)
            if len(records) == 10:
                process = workers()[0]
                (process if victim == "reader" else process.parent()).kill()
    assert set(records) == set(files)
    assert records.pop("deadly.png")["reason"] == batch.DIED
    assert records == {
        file: same(batch.read_file(predictor, file, batch.Options())) for file in files if file != "deadly.png"
    }


def test_workers_with_another_model_or_without_the_folder_are_refused(pictures, model, scheduler, monkeypatch):
    files, _ = batch.find_pictures([str(pictures)])
    with batch.reader(len(files), str(model), scheduler=scheduler) as read:
        with pytest.raises(UserError, match="does not see the folder"):
            list(read([f"/nowhere/{i}.png" for i in range(20)]))
    monkeypatch.setattr(batch, "Predictor", lambda model: SimpleNamespace(network=SimpleNamespace(sha256="0" * 64)))
    with batch.reader(len(files), str(model), scheduler=scheduler) as read:
        with pytest.raises(UserError, match="another model"):
            list(read(files))


def test_without_a_scheduler_there_the_command_ends_in_a_sentence(pictures, model, capsys):
    arguments = [str(pictures), "--model", str(model), "--scheduler", "tcp://127.0.0.1:1"]
    assert main(arguments) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err
