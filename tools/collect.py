"""Reads the notebooks that a class returned and writes who solved what as a CSV table: python -m tools.collect DIR.

Nothing of theirs is executed: what counts is the sentence that `exercises.check` left under each exercise. Whoever can
edit a file can forge that. With --run each notebook is executed, and counts by what it prints then.
"""

import argparse
import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import nbformat

from helpers import paths
from helpers.console import FAILED, WrongUsage, command
from helpers.errors import UserError
from helpers.files import write_text
from helpers.predict.results import printable
from helpers.series import runner
from tools.render import exercise, exercises

COLUMNS = ("student", "notebook", "exercise", "result", "reason")
RESULTS = ("correct", "wrong", "not answered")  # of several tries at an exercise the first of these counts
MAX_BYTES = 30_000_000  # of a notebook; the longest of the series has 2 MB with its figures
MAX_REASON = 200  # characters
MEMORY = 8 * 2**30  # bytes that an executed notebook may have; the largest of the series takes 2 GB
SAID = re.compile(r"^Exercise (\d\d\.\d+): (correct|not yet|not answered yet|first run)\b[. ]*(.*)$", re.MULTILINE)
# A new network without devices, and a new process table: when its first process is killed, all in it are.
NO_NETWORK = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"]


def returned(folder: Path, names: list[str]) -> Iterator[tuple[str, str, bytes | UserError]]:
    """Student, file and content of each notebook below a folder, in zips too; or why it cannot be read.

    The student is the first folder, else the zip's or the notebook's name without that of the series' notebook.
    """
    for path in sorted(folder.rglob("*")):
        place, kind = path.relative_to(folder), path.suffix.lower()
        if kind not in (".ipynb", ".zip") or ".ipynb_checkpoints" in place.parts or path.is_symlink():
            continue
        own = re.sub("|".join(names), "", path.stem).strip(" _-.") or path.stem
        student = place.parts[0] if len(place.parts) > 1 else own
        try:
            if not path.is_file():
                raise UserError("it is no ordinary file")
            if kind == ".ipynb":
                with open(path, "rb") as file:
                    yield student, place.as_posix(), file.read(MAX_BYTES + 1)
                continue
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    if member.lower().endswith(".ipynb") and not re.search("__MACOSX|ipynb_checkpoints", member):
                        with archive.open(member) as file:
                            yield student, f"{place.as_posix()}/{member}", file.read(MAX_BYTES + 1)
        except Exception as error:  # zipfile raises many kinds over damaged and encrypted archives
            yield student, place.as_posix(), UserError(f"cannot be read: {error or type(error).__name__}")


def code_cells(content: bytes) -> list[dict]:
    """The code cells of a notebook but for tagged solutions. Raises UserError if it is none."""
    if len(content) > MAX_BYTES:
        raise UserError(f"is larger than {MAX_BYTES / 1e6:.0f} MB")
    try:
        cells = json.loads(content)["cells"]
        code = [cell for cell in cells if isinstance(cell, dict) and cell.get("cell_type") == "code"]
        # A complete notebook has solutions, which are not the student's.
        return [cell for cell in code if "solution" not in (dict(cell.get("metadata", {})).get("tags") or ())]
    except (ValueError, RecursionError, LookupError, TypeError) as error:
        raise UserError("is not a notebook") from error


def joined(value: object) -> str:
    """A text of a notebook, which may be kept as a list of lines; empty if it is anything else."""
    return "".join(filter(lambda line: isinstance(line, str), value if isinstance(value, list) else [value]))


def mark(cells: list[dict], series: dict[str, dict[str, str]]) -> tuple[str, dict[str, list[tuple[str, str]]]]:
    """Which notebook of the series these cells belong to, and the tries at each exercise: result and reason of each.

    A cell that checks it is a try, by the last sentence under it. Raises UserError if no cell checks any.
    """
    checks = [(exercise(joined(cell.get("source"))), cell) for cell in cells]
    votes = Counter(name for number, _ in checks for name, empty in series.items() if number in empty)
    if not votes:
        raise UserError("checks no exercise of the series")
    [(name, _)] = votes.most_common(1)
    gone = [("not answered", "its cell is gone")]
    return name, {
        number: [_mark(cell, number, empty) for found, cell in checks if found == number] or gone
        for number, empty in series[name].items()
    }


def _mark(cell: dict, number: str, empty: str) -> tuple[str, str]:
    """Result and reason of one cell that checks an exercise; `empty` is how it was handed out."""
    outputs = cell.get("outputs")
    outputs = [output for output in outputs if isinstance(output, dict)] if isinstance(outputs, list) else []
    text = "".join(joined(output.get("text")) for output in outputs if output.get("name") == "stdout")
    said = [(verdict, rest) for found, verdict, rest in SAID.findall(text) if found == number]
    if joined(cell.get("source")).strip() == empty.strip():
        forged = said and said[-1][0] == "correct"
        return "not answered", "'correct' stands under a cell without an answer" if forged else ""
    if said:
        verdict, rest = said[-1]
        reason = {"not yet": rest.split("A hint:")[0], "first run": f"first run {rest}"}.get(verdict, "")
        return {"correct": "correct", "not yet": "wrong"}.get(verdict, "not answered"), reason
    for output in outputs:
        if output.get("output_type") == "error":
            return "wrong", f"{joined(output.get('ename'))}: {joined(output.get('evalue'))}"
    return "not answered", "it was not run"


def execute(content: bytes, minutes: float, isolated: bool) -> bytes:
    """The notebook after a run in a process of its own, in a temporary folder, on the default run's models.

    Limited are time, processor time, memory and the size of files. Raises UserError if it does not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="collect-") as name:
        place = Path(name)
        (place / "returned.ipynb").write_bytes(content)
        options = ["--to=notebook", "--execute", "--allow-errors", "--ExecutePreprocessor.timeout=-1"]
        options += ["--ExecutePreprocessor.kernel_name=python3", "--output=executed.ipynb", "returned.ipynb"]
        if isolated:  # not even a network of its own: the kernel is spoken to through files
            options.append("--KernelManager.transport=ipc")
        own = {"PYTHONPATH": str(paths.ROOT), "OUTPUTS_DIR": str(place / "outputs"), "JUPYTER_RUNTIME_DIR": name}
        with open(place / "log", "wb") as log:
            try:
                subprocess.run(
                    [*(NO_NETWORK if isolated else []), sys.executable, "-m", "nbconvert", *options],
                    cwd=place, env=os.environ | own, stdout=log, stderr=log, timeout=60 * minutes, check=True,
                    preexec_fn=partial(_limit, 60 * minutes) if os.name == "posix" else None,
                )  # fmt: skip
                with open(place / "executed.ipynb", "rb") as file:
                    return file.read(MAX_BYTES + 1)
            except subprocess.TimeoutExpired:
                raise UserError(f"did not end within {minutes:g} minutes") from None
            except (subprocess.CalledProcessError, OSError) as error:
                lines = (place / "log").read_text("utf-8", "replace").strip().splitlines()
                raise UserError(f"could not be executed: {lines[-1] if lines else error}") from error


def _limit(seconds: float) -> None:
    """Limits the present process: the new one, before its program runs."""
    import resource  # POSIX only

    processor = int(seconds * (os.cpu_count() or 1)) + 1
    for kind, most in (("CPU", processor), ("DATA", MEMORY), ("FSIZE", 2**30), ("CORE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{kind}"), (most, most))


def network_can_be_cut() -> bool:
    """Whether this system lets an ordinary user start a process without a network (Linux, mostly)."""
    try:
        return subprocess.run([*NO_NETWORK, "true"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def field(text: str) -> str:
    """A text for a cell of a spreadsheet: on one line, not too long, and nothing that would be taken for a formula."""
    text = printable(text.strip())[:MAX_REASON]
    return f"'{text}" if text.lstrip()[:1] in tuple("=+-@＝＋－＠") else text


@command
def main(argv: list[str] | None = None) -> int | None:
    """The command line; exit code 0: all were read, 1: some file was not, 2: wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tools.collect", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="the returned notebooks, in folders or zips or not")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the table (default: outputs/marks/DIR.csv)")
    parser.add_argument("--run", action="store_true", help="execute them, with your rights: see docs/teaching.md")
    parser.add_argument("--minutes", type=float, default=60, help="with --run: the most for a notebook (default: 60)")
    args = parser.parse_args(argv)
    series = {}
    for name, notebook in runner.notebooks().items():
        series[name] = exercises(nbformat.read(notebook.path, as_version=4), "exercise")
    if not args.folder.is_dir():
        raise WrongUsage(f"{args.folder} is no folder: name the one that holds the returned notebooks.")
    if not 0 < args.minutes <= 1440:
        raise WrongUsage("--minutes must lie above 0, and at 1440 (a day) or below.")
    isolated = args.run and network_can_be_cut()
    tries: dict[tuple[str, str, str], list[tuple[str, str]]] = defaultdict(list)
    faults = []
    for student, file, content in returned(args.folder, list(series)):
        try:
            if isinstance(content, UserError):
                raise content
            name, marks = mark(code_cells(content), series)
            if args.run:
                print(f"{printable(file)} … runs", flush=True)
                done = execute(content, args.minutes, isolated)
                name, marks = mark(code_cells(done), {name: series[name]})
        except UserError as error:
            faults.append((student, file, "", "not read", str(error)))
            continue
        for number, found in marks.items():
            tries[student, name, number] = found + tries[student, name, number]
    if not tries and not faults:
        raise WrongUsage(f"{args.folder} holds no notebook (.ipynb) and no zip.")
    rows = [(*key, *min(found, key=lambda one: RESULTS.index(one[0]))) for key, found in tries.items()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *(map(field, row) for row in sorted(rows + faults))])
    target = args.csv or paths.outputs() / "marks" / f"{args.folder.resolve().name}.csv"
    write_text(target, "\ufeff" + text.getvalue())  # the mark tells spreadsheets that it is UTF-8
    counts = Counter(row[3] for row in rows)
    students, books = {student for student, *_ in tries}, {key[:2] for key in tries}
    results = ", ".join(f"{counts[result]} {result}" for result in RESULTS)
    print(f"{paths.display(target)}: {len(students)} students, {len(books)} notebooks; {results}.")
    if args.run and not isolated:
        print("This system could not cut the network off: the notebooks ran with it.")
    if not args.run:
        print("These are stored outputs, which can be forged; --run executes the notebooks.")
    for student, file, _, _, reason in faults:
        print(f"{printable(student)}: {printable(file)} {printable(reason)}.")
    return FAILED if faults else None


if __name__ == "__main__":
    raise SystemExit(main())
