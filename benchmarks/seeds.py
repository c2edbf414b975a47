"""Mean and standard deviation of the series' results over seeds: python benchmarks/seeds.py [--seeds 3].

Runs notebooks 03 to 05 once a seed with default parameters, prints a table and writes outputs/reference/seeds.json.
Seed 0 is the default run, outputs/latest/; the others have folders of their own, outputs/seed-1/ and so on. What is
finished is kept, so an interrupted measurement goes on.
"""

import argparse
import statistics
import sys

from helpers import paths
from helpers.files import read_json, write_json
from helpers.notebook.run import environment
from helpers.series import runner as runner_

NOTEBOOKS = ("03", "04", "05")


def main() -> int:
    """Runs the seeds and summarises every metric that is a number."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 (default: 3)")
    count = parser.parse_args().seeds
    values: dict[str, list[float]] = {}
    for seed in range(count):
        run = f"seed-{seed}" if seed else "latest"
        if code := runner_.main([*NOTEBOOKS, "--run", run, "-p", "SEED", str(seed)]):
            return code
        for file in sorted((paths.outputs() / run / "metrics").glob("0[345]_*.json")):
            for name, value in read_json(file).items():
                values.setdefault(f"{file.stem}/{name}", []).append(value)
    summary = {
        name: {"mean": statistics.fmean(v), "sd": statistics.stdev(v) if len(v) > 1 else None, "values": v}
        for name, v in values.items()
        if all(isinstance(x, int | float) for x in v)
    }
    write_json(paths.REFERENCE / "seeds.json", {"seeds": count, **environment(), "metrics": summary})
    print(f"\n{'metric':60} {'mean':>12} {'sd':>10}   over {count} seeds")
    for name, row in summary.items():
        print(f"{name:60} {row['mean']:12.5g} {row['sd'] or 0:10.2g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
