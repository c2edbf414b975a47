"""python -m helpers.predict"""

import sys

from helpers.predict.batch import main

if __name__ == "__main__":
    sys.exit(main())
