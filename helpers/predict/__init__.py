"""Reads the digits in pictures: `Predictor().read("photo.jpg")`, or the command `digits`."""

import os
import sys

# While `python -m` looks for this package, the working directory is the first place for all imports: whatever lies in a
# folder of pictures would run. (`digits` and `python -P -m` are safe by themselves.)
if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and not __file__.startswith(os.path.join(sys.path[0], "helpers")):
    del sys.path[0]

import lazy_loader  # noqa: E402

# What the room offers, by file; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["predictor", "confidence", "network", "lines", "strips", "batch", "results"],
    {
        "predictor": ["LAST", "SURE", "Predictor", "Reading"],
        "confidence": ["Calibration", "energy", "softmax"],
        "network": ["find_model"],
        "lines": ["Character", "row_strips"],
        "strips": ["strip_network"],
    },
)
