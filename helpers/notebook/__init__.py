"""What every notebook shares: set-up, parameters, exercises, figures, the drawing pad."""

import lazy_loader

# What the room offers, by file; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["session", "run", "parameters", "exercises", "plots", "diagrams", "pad"],
    {"session": ["setup"], "run": ["Run"], "pad": ["DrawingPad", "drawing_pad", "uploaded_files"]},
)
