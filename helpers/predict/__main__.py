"""The command line, `digits` or python -m helpers.predict: reads pictures and keeps what is done."""

import argparse
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path

from helpers.console import add_scheduler_option, checking, command, interrupted_after
from helpers.errors import UserError
from helpers.predict.results import COLUMNS, STATUSES, Record, Results, in_order, to_line


@command
def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 all read, 1 an error in some file, 2 wrong usage, 130 interrupted."""
    args = _arguments(argv)
    with interrupted_after():
        from helpers.predict import batch  # not above: it takes most of the start

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character shows another
    counts, results = Counter(), None
    try:
        with ExitStack() as stack:
            with checking():
                if args.force and not args.csv:
                    raise UserError("--force starts a CSV file anew: name the file with --csv.")
                if args.csv:
                    results = stack.enter_context(closing(Results(args.csv)))
                files, problems = batch.find_pictures(args.paths)
                for folder in filter(None, (args.steps, args.table)):
                    os.makedirs(folder, exist_ok=True)
                names = [record["file"] for record in problems] + files
                earlier = results.status if results and not args.force else {}
                done = {name: earlier[name] for name in names if earlier.get(name, "error") != "error"}
                todo = [name for name in files if name not in done]
                options = {"line": args.line, "steps": args.steps, "table": args.table}
                read = stack.enter_context(batch.reader(len(todo), args.model, args.scheduler, **options))
                if results:
                    results.start(None if args.force else {name for name in names if name in earlier} - done.keys())
            counts.update(done.values())
            started = time.perf_counter()
            found = itertools.chain(problems, read(todo))
            if len(todo) > batch.FEW:
                found = _progress(found, len(problems) + len(todo), args)
            # On the screen in the order of the files; in a CSV file at once, so that none can be lost.
            put = _output(results, args.json, names)
            for record in found if results else in_order(found, names):
                put(record)
                counts[record["status"]] += 1
            if results and not args.json:
                seconds = time.perf_counter() - started
                before = f"{len(done):,} had a row already. " if done else ""
                kinds = ", ".join(f"{counts[status]:,} {status}" for status in STATUSES)
                print(f"{counts.total() - len(done):,} files in {seconds:.1f} s. {before}{args.csv}: {kinds}.")
    except KeyboardInterrupt:
        kept = f": the rows so far are in {args.csv}, and the same command goes on from there" if results else ""
        raise KeyboardInterrupt(f"Interrupted{kept if counts else ''}.") from None
    return 1 if counts["error"] else 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line taken apart; argparse itself ends the program, with code 2, where it cannot be."""
    parser = argparse.ArgumentParser(
        prog="digits",
        description="Read the handwritten digit in each picture, or say why not. A row per picture: "
        f"{', '.join(COLUMNS)}. Status is ok, rejected (no digit: see reason) or error (no picture: see reason).",
        epilog="Exit code: 0 every file was read (rejected counts as read), 1 some file was an error, 2 wrong usage, "
        "130 interrupted.",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="pictures, and folders that are searched for pictures at any depth"
    )
    parser.add_argument("--line", action="store_true", help="read all digits of a picture, not just one")
    parser.add_argument(
        "--table", metavar="DIR", help="read rows and columns, with or without a grid, and write them there, as one CSV file per picture: *.table.csv"
    )  # fmt: skip
    parser.add_argument(
        "--csv", type=Path, metavar="FILE", help="add the rows to this file as they are finished, not always in the order of the files; "
        "what has a row there already is skipped unless that is an error, so the same command goes on after an interruption",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="start the CSV file anew")
    parser.add_argument("--json", action="store_true", help="print rows as JSON, one object per line")
    parser.add_argument(
        "--steps", metavar="DIR", help="write the steps of each picture there, as one PNG per picture: *.steps.png"
    )
    parser.add_argument("--model", metavar="FILE", help=".tflite or .keras file (default: the one that is shipped)")
    add_scheduler_option(parser, "; 16 files or fewer are read right here")
    return parser.parse_args(argv)


def _output(results: Results | None, as_json: bool, names: list[str]) -> Callable[[Record], None]:
    """A function that writes a record wherever records are wanted."""
    width = min(60, max(map(len, [*names, "file"])))
    if not results and not as_json:
        print(f"{'file':<{width}}  status    text  confidence  seconds  reason")

    def put(record: Record) -> None:
        """Writes one record."""
        if results:
            results.write(record)
        if as_json:
            print(json.dumps(record), flush=True)
        elif not results:
            print(to_line(record, width), flush=True)

    return put


def _progress(found: Iterable[Record], total: int, args: argparse.Namespace) -> Iterable[Record]:
    """The records, with a bar on the terminal unless rows are written there."""
    rows_shown = (args.json or not args.csv) and sys.stdout.isatty()
    if rows_shown or not sys.stderr.isatty():
        return found
    from tqdm import tqdm  # takes longer to import than a picture to read

    return tqdm(found, total=total, unit=" pictures")


if __name__ == "__main__":
    sys.exit(main())
