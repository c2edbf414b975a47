"""How networks are trained and tuned, and the digits that our own code draws for them."""

import lazy_loader

# What the room offers, by file; each is imported when it is first used.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    ["fitting", "recipes", "drawn_digits"],
    {
        "fitting": ["fit", "one_cycle"],
        "recipes": ["FAST", "REFERENCE", "Recipe"],
        "drawn_digits": ["draw"],
    },
)
