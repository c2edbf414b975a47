"""How networks are tuned, and the digits that our own code draws for them."""

import lazy_loader

# What the room offers, by file; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["drawn_digits"],
    {
        "drawn_digits": ["draw"],
    },
)
