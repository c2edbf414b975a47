"""Mean and standard deviation of the series' results over seeds: python -m benchmarks.seeds [--seeds 3].

Runs notebooks 03 to 05 once per seed with default parameters, prints a table and writes outputs/reference/seeds.json.
Seed 0 is the default run, outputs/latest/; the others have folders of their own, outputs/seed-1/ and so on. What is
finished is kept, so an interrupted measurement goes on.
"""

import argparse
import sys

from helpers import paths
from helpers.console import command
from helpers.files import read_json, write_json
from helpers.notebook.run import environment
from helpers.series import runner
from tools.trainings import at_least_1, over_seeds

NOTEBOOKS = ("03", "04", "05")


@command
def main(argv: list[str] | None = None) -> int:
    """Runs the seeds and summarises every metric that is a number."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.seeds", description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=at_least_1, default=3, help="how many seeds, from 0 (default: 3)")
    count = parser.parse_args(argv).seeds
    rows = []
    for seed in range(count):
        run = f"seed-{seed}" if seed else "latest"
        if code := runner.main([*NOTEBOOKS, "--run", run, "-p", "SEED", str(seed)]):
            return code
        files = sorted((paths.outputs() / run / "metrics").glob("0[345]_*.json"))
        metrics = {f"{file.stem}/{name}": value for file in files for name, value in read_json(file).items()}
        rows.append({name: value for name, value in metrics.items() if isinstance(value, int | float)})
    found = over_seeds(rows)
    metrics = {name: {part: found[part][name] for part in found} for name in found["mean"]}
    write_json(paths.REFERENCE / "seeds.json", {"seeds": count, **environment(), "metrics": metrics})
    print(f"\n{'metric':60} {'mean':>12} {'sd':>10}   over {count} seeds")
    for name, row in metrics.items():
        print(f"{name:60} {row['mean']:12.5g} {row['sd'] or 0:10.2g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
