"""Network architectures and augmentation layers."""

import lazy_loader

# What the room offers, by file; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["networks", "augment"],
    {
        "networks": [
            "FusedBatchNormalization", "adapt_normalisation", "baseline_cnn", "forward", "local_contrast",
            "multiplications", "open_network", "reference_cnn", "report_cnn",
        ],
        "augment": ["RandomWarp", "augmentation"],
    },
)  # fmt: skip
