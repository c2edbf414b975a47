"""How well simulated lines and pages of digits are read, by condition: python -m benchmarks.lines.

Simulates pictures of MNIST TEST digits (tools/simulate/lines.py), reads them with `Predictor.read(…, line=True)`, and
compares with what was written: the share of pictures and of rows read exactly right, and of characters
(1 - edit distance / length). Prints a table and writes outputs/reference/lines.json. Simulated pictures tell which
condition hurts; they do not tell how well real ones are read, and nothing may be chosen on them.
"""

import argparse
import operator
import sys
import time

import pandas as pd
from rapidfuzz.distance import Levenshtein

from helpers import paths
from helpers.console import command
from helpers.files import write_json
from helpers.notebook.run import environment
from helpers.predict.predictor import Predictor
from tools.simulate import lines
from tools.trainings import at_least_1

SHARES = {"exact": "pictures", "rows_exact": "rows", "characters": "characters"}  # and the titles of their columns


def measure(predictor: Predictor, condition: str, count: int, seed: int) -> dict[str, float]:
    """Reads the pictures of a condition: the SHARES, and milliseconds of processor time per picture and per digit."""
    found = []
    for picture, written in lines.pictures(condition, count, seed):
        start = time.process_time()
        read = predictor.read(picture, line=True).text
        seconds = time.process_time() - start
        rows, told = written.split(), read.split()
        right = sum(map(operator.eq, rows, told)) if len(rows) == len(told) else 0
        wrong = min(Levenshtein.distance(written, read), len(written))
        found.append((read == written, right, len(rows), wrong, len(written), seconds))
    exact, rows_right, rows, wrong, characters, seconds = map(sum, zip(*found, strict=True))
    pictures = len(found)
    return {
        "pictures": pictures,
        "exact": exact / pictures,
        "rows_exact": rows_right / rows,
        "characters": 1 - wrong / characters,
        "milliseconds": 1000 * seconds / pictures,
        "milliseconds_per_digit": 1000 * seconds / characters,
    }


@command
def main(argv: list[str] | None = None) -> None:
    """Measures all conditions, prints the table, writes the JSON file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lines", description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="a .tflite or .keras file (default: the shipped one)")
    parser.add_argument(
        "--per-condition", type=at_least_1, default=10, help="pictures per condition, pages a fifth (default: 10)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the simulation (default: 0)")
    parser.add_argument("--cuts", action="store_true", help="by cuts alone, without the second look; writes nothing")
    args = parser.parse_args(argv)
    predictor, table = Predictor(args.model), {}
    if args.cuts:
        predictor.look = None
    print(f"{'condition':16}" + "".join(f"{title:>12}" for title in SHARES.values()) + f"{'ms':>9}{'ms/digit':>10}")
    for condition in [*lines.CONDITIONS, "mean"]:
        if condition == "mean":
            row = pd.DataFrame(table.values()).mean().to_dict()
        else:
            row = table[condition] = measure(predictor, condition, args.per_condition, args.seed)
        shown = "".join(f"{row[name]:12.1%}" for name in SHARES)
        print(f"{condition:16}{shown}{row['milliseconds']:9.0f}{row['milliseconds_per_digit']:10.1f}", flush=True)
    if args.cuts:
        return
    settings = {"per_condition": args.per_condition, "seed": args.seed, "model": predictor.network.path.name}
    write_json(paths.REFERENCE / "lines.json", {**settings, **environment(), "conditions": table, "mean": row})


if __name__ == "__main__":
    sys.exit(main())
