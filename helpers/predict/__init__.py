"""Reads the digits in pictures: `Predictor().read("photo.jpg")`, or python -m helpers.predict."""

import lazy_loader

# What the room offers, by file; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["predictor", "confidence", "network", "lines", "batch"],
    {
        "predictor": ["LAST", "SURE", "Predictor", "Reading"],
        "confidence": ["Calibration", "energy", "softmax"],
        "network": ["find_model"],
        "lines": ["Character"],
    },
)
