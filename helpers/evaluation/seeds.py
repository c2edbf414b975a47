"""How figures over seeds are written. What one network's metrics mean is explained in notebooks/05_evaluation.ipynb."""


def spread(mean: float | None, sd: float | None = None) -> str:
    """A mean over seeds ± standard deviation as text in percent; a dash if there is none."""
    if mean is None:
        return "–"
    return f"{100 * mean:.2f}" + (f" ± {100 * sd:.2f}" if sd is not None else "")
