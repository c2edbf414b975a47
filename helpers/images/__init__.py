"""Any picture of digits to MNIST-style 28×28 pixels, step by step. Knows no model."""

import lazy_loader

# What the room offers, by file; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["decode", "steps", "find_digit", "strokes", "mnist_form", "candidates", "measure", "page"],
    {
        "decode": ["flatten_alpha", "read_image"],
        "steps": ["WORK", "polarity_evidence", "remove_background", "resize", "stretch", "threshold", "to_grayscale"],
        "find_digit": ["find_digits", "remove_rules"],
        "strokes": ["crop", "normalise_stroke", "stroke_width"],
        "mnist_form": ["BOX", "FIELD", "STROKE", "centre_of_mass", "fit_box", "half_pixel_moves", "trace"],
        "candidates": ["find_candidates", "preprocess"],
        "measure": ["deskew", "properties"],
        "page": ["find_pieces", "find_rows", "prepare"],
    },
)
