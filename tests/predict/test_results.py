"""The CSV file: no row is lost or doubled, whatever is in it and however it was cut."""

import functools
import os
import resource
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from commands import command, encode, environment, rows_of, seven, write_csv

from helpers.errors import UserError
from helpers.predict import batch
from helpers.predict.__main__ import main
from helpers.predict.batch import to_record
from helpers.predict.predictor import Reading
from helpers.predict.results import Results, percent


def some_rows():
    odd = [f"a{c}b.png" for c in "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\t"]
    names = [
        "a.png",
        'say "7".png',
        "line\nbreak.png",
        'all, "of\nit"\n.png',
        "ünï.png",
        "bad\udce9byte.png",
        "\n",
        '"',
        *odd,
    ]
    return [to_record(name, Reading("ok", str(i), 0.5, "", 0.1)) for i, name in enumerate(names)]


def test_a_file_cut_at_any_byte_is_gone_on_with(tmp_path):
    file = tmp_path / "r.csv"
    rows = some_rows()
    write_csv(file, rows)
    whole = file.read_bytes()
    ends = []
    for i in range(len(rows) + 1):
        write_csv(tmp_path / "part.csv", rows[:i])
        ends.append((tmp_path / "part.csv").stat().st_size)
        (tmp_path / "part.csv").unlink()
    for length in range(len(whole) + 1):
        file.write_bytes(whole[:length])
        count = sum(length >= end for end in ends[1:])
        done = write_csv(file, rows[count:])
        assert list(done) == [row["file"] for row in rows[:count]] and set(done.values()) <= {"ok"}, length
        assert file.read_bytes() == whole, length


def test_any_name_has_one_row_however_often_the_command_runs(tmp_path, model):
    """Also what looks like a formula, which no spreadsheet must see."""
    names = [f"a{c}b.png" for c in "\n\r\x0b\x0c\x1c\x85\u2028\u2029\t\"',"] + [f"{c}1+1.png" for c in "=+-@\t\r "]
    names += [os.fsdecode(b"\xff.png"), "=2+3.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(encode(seven()) if name.endswith(".png") else b"")
    for code in (1, 1, 1):
        done = subprocess.run(
            [*command(), ".", "--csv", "r.csv", "--model", model], cwd=tmp_path, env=environment(), capture_output=True
        )
        assert (done.returncode, done.stderr) == (code, b"")
        rows = rows_of(tmp_path / "r.csv")
        assert sorted(os.path.normpath(row["file"]) for row in rows) == sorted(names)
    assert not any(value.startswith(tuple("=+-@\t\r")) for row in rows for value in row.values())
    (error,) = [row for row in rows if row["status"] == "error"]
    assert error["reason"].startswith("./=2+3.jpg")


@pytest.mark.parametrize("end", ["\n", "\r\n"])  # a spreadsheet may have saved it
def test_a_stray_quotation_mark_is_told_and_the_file_untouched(tmp_path, end):
    file, seen = tmp_path / "r.csv", set()
    write_csv(file, some_rows()[:3] + [to_record(f"{i}.png", Reading("ok", "1", 1.0)) for i in range(4)])
    whole = file.read_bytes().replace(b"\n", end.encode())
    ends = [i for i, byte in enumerate(whole) if byte == 10]
    for at in range(ends[0] + 1, len(whole) + 1):
        if whole[max(0, at - 1) : at + 1].strip(b"\r\n").find(b'"') >= 0 or at in ends[2:4]:
            continue  # beside a quotation mark or inside a name another one may be meant
        content = whole[:at] + b'"' + whole[at:]
        file.write_bytes(content)
        if at == len(whole):  # a row that was just begun
            assert len(write_csv(file, [])) == 7
            continue
        with pytest.raises(UserError, match=r"damaged at line \d+: mend or delete") as error:
            Results(file)
        seen.add(int(str(error.value).split("line ")[-1].split(":")[0]))
        assert file.read_bytes() == content
    assert seen == {2, 3, 4, 6, 7, 8, 9}  # the first line of each row


def test_a_large_damaged_file_takes_no_time(tmp_path):
    file = tmp_path / "r.csv"
    row = "scans/0001.png,ok,7,0.99,0.001,\n"
    for content in (f'file,status,text,confidence,seconds,reason\n"{row * 100_000}', '"' + "text\n" * 1_000_000):
        file.write_text(content)
        started = time.process_time()
        with pytest.raises(UserError):
            Results(file)
        assert time.process_time() - started < 2  # 0.1 s; quadratic, hours


def test_a_file_is_used_by_one_run_at_a_time(tmp_path, model, capsys):
    (tmp_path / "7.png").write_bytes(encode(seven()))
    results = Results(tmp_path / "r.csv")
    assert main([str(tmp_path), "--csv", str(tmp_path / "r.csv"), "--model", str(model)]) == 2
    assert "Another run is writing" in capsys.readouterr().err
    results.close()
    assert main([str(tmp_path), "--csv", str(tmp_path / "r.csv"), "--model", str(model)]) == 0


@pytest.mark.parametrize(
    "content", [b"my,own,table\n1,2,3\n", b"\x89PNG\r\n\0\0", b"file,status\n", b"text", b'"\n"\n']
)
def test_another_file_is_never_touched(tmp_path, content, capsys):
    file = tmp_path / "mine.csv"
    file.write_bytes(content)
    (tmp_path / "7.png").write_bytes(encode(seven()))
    for more in ([], ["--force"]):
        assert main([str(tmp_path / "7.png"), "--csv", str(file), *more]) == 2
        assert "choose another file" in capsys.readouterr().err and file.read_bytes() == content


def test_a_place_that_cannot_be_written(tmp_path, model, capsys):
    (tmp_path / "7.png").write_bytes(encode(seven()))
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("no folder/r.csv", "loop.csv", "pipe.csv", "."):
        assert main([str(tmp_path / "7.png"), "--csv", str(tmp_path / name), "--model", str(model)]) == 2, name
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_rows_there_are_skipped_unless_they_are_errors(tmp_path, model, capsys):
    file = tmp_path / "r.csv"
    names = [str(tmp_path / name) for name in ("7.png", "bad.png", "mended.png")]
    for name in names:
        Path(name).write_bytes(b"" if "bad" in name else encode(seven()))
    earlier = [to_record(name, Reading("error", reason="earlier")) for name in names[1:]]
    write_csv(file, [*earlier, to_record(names[0], Reading("ok", "1")), *some_rows()])
    os.chmod(file, 0o664)
    arguments = [str(tmp_path), "--csv", str(file), "--model", str(model)]
    for _ in range(2):
        assert main(arguments) == 1
        rows = {row["file"]: row for row in rows_of(file)}
        assert len(rows) == len(rows_of(file)) == 3 + len(some_rows())
        assert rows[names[0]]["text"] == "1" and rows[names[2]]["text"] == "7" and "earlier" not in str(rows)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("2 files in") and out[1].startswith("1 files in")
    assert out[1].endswith("2 had a row already. " + f"{file}: 2 ok, 0 rejected, 1 error.")
    assert file.stat().st_mode & 0o777 == 0o664
    assert main([*arguments, "--force", "--json"]) == 1
    assert sorted(row["file"] for row in rows_of(file)) == names
    assert len(capsys.readouterr().out.splitlines()) == 3


def limited(size):
    """For a process: no file may grow beyond so many bytes, as on a full disk."""
    return functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("count", [3, batch.FEW + 4])
def test_a_full_disk_is_told_and_loses_nothing(tmp_path, model, count):
    for i in range(count):
        (tmp_path / f"{i:02}.png").write_bytes(encode(seven()))
    arguments = command(tmp_path, "--csv", tmp_path / "r.csv", "--model", model)
    done = subprocess.run(arguments, preexec_fn=limited(200), env=environment(), capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "cannot be written any more" in done.stderr
    kept = Results(tmp_path / "r.csv").status
    assert 0 < len(kept) < 3
    assert subprocess.run(arguments, env=environment(), capture_output=True).returncode == 0
    assert [row["file"] for row in rows_of(tmp_path / "r.csv")][: len(kept)] == list(kept)
    assert len(rows_of(tmp_path / "r.csv")) == count


@pytest.mark.parametrize("count", [3, batch.FEW + 4])
def test_a_full_disk_for_the_steps_keeps_the_rows(tmp_path, model, count):
    for i in range(count):
        (tmp_path / f"{i:02}.png").write_bytes(encode(np.full((50, 60), 255, np.uint8)))  # whose strip is small
    (tmp_path / f"{count - 1:02}.png").write_bytes(encode(seven()))
    steps = tmp_path / "steps"
    arguments = command(tmp_path, "--csv", tmp_path / "r.csv", "--steps", steps, "--model", model)
    done = subprocess.run(arguments, preexec_fn=limited(5000), env=environment(), capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "another folder for --steps" in done.stderr
    kept = rows_of(tmp_path / "r.csv")
    assert 0 < len(kept) < count and {row["status"] for row in kept} == {"rejected"}
    assert all(strip.name.endswith(".steps.png") and strip.stat().st_size for strip in steps.iterdir())
    assert subprocess.run(arguments, env=environment(), capture_output=True).returncode == 0
    assert len(rows_of(tmp_path / "r.csv")) == len(list(steps.iterdir())) == count


@pytest.mark.parametrize(
    ("p", "text"),
    [(0, "0.0 %"), (0.5432, "54.3 %"), (0.999, "99.9 %"), (0.9991, "> 99.9 %"), (0.9996, "> 99.9 %"), (1, "> 99.9 %")],
)
def test_people_never_read_100_percent(p, text):
    assert percent(p) == text
