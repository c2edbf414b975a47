"""How good a classifier is, whether it knows when it errs, and what it does in a different world."""

import lazy_loader

# What the room offers, by file; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["metrics", "confidence", "classical", "corruptions", "robustness", "attacks", "explain"],
    {
        "metrics": [
            "confused_pairs",
            "mcnemar",
            "misclassified",
            "scores",
            "scores_per_class",
            "spread",
            "wilson_interval",
        ],
        "confidence": [
            "accuracy_at_coverage",
            "calibration",
            "confidences",
            "error_detection_auroc",
            "images_to_human",
            "probabilities",
            "reliability",
            "risk_coverage",
            "temperature",
        ],
        "classical": ["classical_models", "compare_classifiers"],
        "corruptions": ["CORRUPTIONS", "GEOMETRIC", "corrupt"],
        "robustness": ["other_hands"],
        "attacks": ["attack", "gradient"],
        "explain": ["grad_cam", "randomise"],
    },
)
