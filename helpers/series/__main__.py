"""python -m helpers.series"""

import sys

from helpers.series.runner import main

if __name__ == "__main__":
    sys.exit(main())
