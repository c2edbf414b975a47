"""How good a classifier is, whether its confidence can be trusted, and how robust it is."""

import lazy_loader

# What the room offers, by file; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["seeds", "confidence", "corruptions", "robustness"],
    {
        "seeds": ["spread"],
        "confidence": ["accuracy_at_coverage", "images_to_human", "risk_coverage"],
    },
)
