"""python -m helpers.series"""

import sys

from helpers.series.runner import main as run


def main() -> int:
    """Compares runs if the first word says so, else brings notebooks up to date."""
    if sys.argv[1:2] != ["compare"]:
        return run()
    from helpers.series.compare import main as compare  # here, because pandas, SciPy and Matplotlib take a second

    return compare(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
