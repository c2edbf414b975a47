"""How well a folder of labelled pictures is read: python -m benchmarks.real FOLDER [--show].

FOLDER holds any of singles/, rows/ and nondigits/, each with its pictures and a labels.csv. Its columns are `file`, the
truth (`label` of one digit; `text` of several, without spaces; nothing for a picture without a digit) and `note`; a
note that begins with HARD marks what is beyond handwriting, counted apart. Prints a table, and what was read wrong
with --show. Nothing of such a folder belongs into the repository, and nothing is trained on it.
"""

import argparse
import csv
import sys
import time
from collections import defaultdict
from pathlib import Path

from rapidfuzz.distance import Levenshtein

from helpers.console import command
from helpers.errors import UserError
from helpers.predict.predictor import Predictor

KINDS = {"singles": "label", "rows": "text", "nondigits": "label"}  # and the column that holds the truth
SURE = 0.9  # a wrong answer at least as confident as this is counted


def labelled(folder: Path, column: str) -> list[tuple[Path, str, str]]:
    """The pictures of a folder with their truth and note. Raises UserError if labels.csv is missing or lacks a column."""
    file = folder / "labels.csv"
    try:
        with open(file, encoding="utf-8", newline="") as text:
            return [(folder / row["file"], row[column] or "", row.get("note") or "") for row in csv.DictReader(text)]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{file} cannot be used ({error!r}): it needs the columns file, {column} and note.") from error


@command
def main(argv: list[str] | None = None) -> None:
    """Reads all pictures and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder with singles/, rows/ or nondigits/")
    parser.add_argument("--model", help="a .tflite or .keras file (default: the shipped one)")
    parser.add_argument("--show", action="store_true", help="print each wrong answer")
    args = parser.parse_args(argv)
    kinds = {kind: labelled(args.folder / kind, column) for kind, column in KINDS.items() if (args.folder / kind).is_dir()}  # fmt: skip
    if not kinds:
        raise UserError(f"{args.folder} holds none of {', '.join(KINDS)}: see python -m benchmarks.real --help.")
    predictor = Predictor(args.model)
    print(
        f"{'pictures':20}{'count':>6}{'right':>9}{'refused':>9}{'characters':>12}{f'wrong ≥ {SURE}':>12}{'s/picture':>11}"
    )
    for kind, pictures in kinds.items():
        tables = defaultdict(list)
        for path, truth, note in pictures:
            start = time.perf_counter()
            reading = predictor.read(path, line=kind == "rows")
            seconds = time.perf_counter() - start
            text = reading.text.replace(" ", "")
            right = text == truth if truth else reading.status != "ok"
            distance = min(Levenshtein.distance(truth, text), len(truth))
            sure = not right and (reading.confidence or 0.0) >= SURE
            tables[kind + ", hard" * note.startswith("HARD")].append(
                (right, reading.status != "ok", distance, len(truth), sure, seconds)
            )
            if args.show and not right:
                shown = reading.reason or f"{text} {reading.confidence:.2f}"
                print(f"  {path.name}: {truth or 'nothing'} → {shown}   ({note})", flush=True)
        for name, rows in sorted(tables.items()):
            right, refused, distance, length, sure, seconds = map(sum, zip(*rows, strict=True))
            characters = f"{1 - distance / length:.1%}" if length else ""
            count = len(rows)
            print(
                f"{name:20}{count:6}{right / count:9.1%}{refused:9}{characters:>12}{sure:12}{seconds / count:11.3f}",
                flush=True,
            )


if __name__ == "__main__":
    sys.exit(main())
